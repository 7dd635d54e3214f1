/*
 * config_row.c: what a row allows, in words.
 */
#include <stdio.h>
#include <string.h>

#include "broker/config/config_schema.h"

static void range_write(enum weir_config_type type, uint64_t min, uint64_t max, char *out,
                        size_t bytes)
{
    char low[WEIR_CONFIG_NUMBER_BYTES];
    char high[WEIR_CONFIG_NUMBER_BYTES];
    weir_config_number_write(type, min, low);
    weir_config_number_write(type, max, high);
    snprintf(out, bytes, "%s..%s", low, high);
}

static void choices_write(const struct weir_config_choice *choice, char *out, size_t bytes)
{
    size_t at = (size_t)snprintf(out, bytes, "one of");
    const char *joint = " ";
    for (; choice->text; choice++) {
        if (!choice->refused && at < bytes) {
            at += (size_t)snprintf(out + at, bytes - at, "%s%s", joint, choice->text);
            joint = ", ";
        }
    }
}

static void value_allowed(const struct weir_config_row *row, enum weir_config_type type, char *out,
                          size_t bytes)
{
    if (weir_config_type_is_number(type)) {
        range_write(type, row->min, row->max, out, bytes);
    } else if (type == WEIR_CONFIG_TYPE_BOOLEAN) {
        snprintf(out, bytes, "true or false");
    } else if (type == WEIR_CONFIG_TYPE_ENUM) {
        choices_write(row->choice, out, bytes);
    } else {
        snprintf(out, bytes, "%s; %llu..%llu bytes", weir_config_text_form(type),
                 (unsigned long long)row->min, (unsigned long long)row->max);
    }
}

void weir_config_row_allowed(const struct weir_config_row *row, char *out, size_t bytes)
{
    char item[WEIR_CONFIG_ALLOWED_BYTES / 2];
    unsigned long long cnt_min = row->cnt_min;
    unsigned long long cnt_max = row->cnt_max;
    switch (row->type) {
    case WEIR_CONFIG_TYPE_LIST:
        value_allowed(row, row->item, item, sizeof(item));
        snprintf(out, bytes, "a list of %llu..%llu entries, each %s", cnt_min, cnt_max, item);
        return;
    case WEIR_CONFIG_TYPE_UNITS:
        value_allowed(row, WEIR_CONFIG_TYPE_INTEGER, item, sizeof(item));
        snprintf(out, bytes, "a map of %llu..%llu limits, each %s", cnt_min, cnt_max, item);
        return;
    case WEIR_CONFIG_TYPE_SECTION:
        snprintf(out, bytes, "a map of keys");
        return;
    case WEIR_CONFIG_TYPE_SECTIONS:
        snprintf(out, bytes, "a list of %llu..%llu maps", cnt_min, cnt_max);
        return;
    default:
        value_allowed(row, row->type, out, bytes);
    }
}
