/*
 * config_print.c: the configuration in force, as YAML that loads to the same.
 */
#include <stdio.h>
#include <string.h>

#include "broker/config/config.h"
#include "broker/config/config_schema.h"

#define INDENT 2

static void print_section(FILE *out, const struct weir_config_section *section, const void *base,
                          size_t depth, bool is_item);

/* Double quotes with the escapes that our texts can need; '$' doubled, so that it is not a variable. */
static void print_text(FILE *out, const char *text)
{
    putc('"', out);
    for (; *text; text++) {
        if (*text == '"' || *text == '\\') {
            putc('\\', out);
        } else if (*text == '$') {
            putc('$', out);
        }
        putc(*text, out);
    }
    putc('"', out);
}

static const char *choice_of(const struct weir_config_row *row, unsigned value)
{
    const struct weir_config_choice *choice = row->choice;
    while (choice->text && choice->value != value) {
        choice++;
    }
    return choice->text;
}

static void print_number(FILE *out, enum weir_config_type type, uint64_t number)
{
    char text[WEIR_CONFIG_NUMBER_BYTES];
    weir_config_number_write(type, number, text);
    fputs(text, out);
}

static void print_list(FILE *out, const struct weir_config_row *row, const void *field)
{
    bool is_number = weir_config_type_is_number(row->item);
    const struct weir_config_numbers *numbers = field;
    const struct weir_config_strings *strings = field;
    size_t cnt = is_number ? numbers->cnt : strings->cnt;
    putc('[', out);
    /* A scope's value without a name, before others, stands for its pool: nobody wrote it. */
    size_t first = !is_number && cnt > 1 && strings->text[0][0] == '\0' ? 1 : 0;
    for (size_t i = first; i < cnt; i++) {
        fputs(i > first ? ", " : "", out);
        if (is_number) {
            print_number(out, row->item, numbers->number[i]);
        } else {
            print_text(out, strings->text[i]);
        }
    }
    putc(']', out);
}

static void print_units(FILE *out, const struct weir_config_row *row, const void *base)
{
    const struct weir_config_cost *cost =
        *(struct weir_config_cost *const *)((const char *)base + row->offset);
    size_t cnt = *(const size_t *)((const char *)base + row->cnt_offset);
    putc('{', out);
    for (size_t i = 0; i < cnt; i++) {
        /* Quoted: a limit may be called "1" or "true". */
        fprintf(out, "%s\"%s\": ", i ? ", " : "", cost[i].limit);
        print_number(out, WEIR_CONFIG_TYPE_INTEGER, cost[i].units);
    }
    putc('}', out);
}

static void print_value(FILE *out, const struct weir_config_row *row, const void *base)
{
    const void *field = (const char *)base + row->offset;
    switch (row->type) {
    case WEIR_CONFIG_TYPE_BOOLEAN:
        fputs(*(const bool *)field ? "true" : "false", out);
        return;
    case WEIR_CONFIG_TYPE_ENUM:
        fputs(choice_of(row, *(const unsigned *)field), out);
        return;
    case WEIR_CONFIG_TYPE_NAME:
        print_text(out, field);
        return;
    case WEIR_CONFIG_TYPE_SECRET:
        print_text(out, **(const char *const *)field ? "***" : "");
        return;
    case WEIR_CONFIG_TYPE_URL:
        print_text(out, ((const struct weir_config_url *)field)->text);
        return;
    case WEIR_CONFIG_TYPE_LIST:
        print_list(out, row, field);
        return;
    case WEIR_CONFIG_TYPE_UNITS:
        print_units(out, row, base);
        return;
    default:
        if (weir_config_type_is_number(row->type)) {
            print_number(out, row->type, *(const uint64_t *)field);
        } else {
            print_text(out, *(const char *const *)field);
        }
    }
}

static bool is_empty_list(const struct weir_config_row *row, const void *field)
{
    if (weir_config_type_is_number(row->item)) {
        return ((const struct weir_config_numbers *)field)->cnt == 0;
    }
    const struct weir_config_strings *strings = field;
    /* The one value of a scope that nobody listed has no name. */
    return strings->cnt == 0 || (strings->cnt == 1 && !strings->text[0][0]);
}

static bool is_nothing(const struct weir_config_row *row, const void *base)
{
    const void *field = (const char *)base + row->offset;
    switch (row->type) {
    case WEIR_CONFIG_TYPE_BOOLEAN:
        return false;
    case WEIR_CONFIG_TYPE_NAME:
        return *(const char *)field == '\0'; /* of a section that is not there */
    case WEIR_CONFIG_TYPE_URL:
        return ((const struct weir_config_url *)field)->text == NULL;
    case WEIR_CONFIG_TYPE_ENUM:
        return !choice_of(row, *(const unsigned *)field);
    case WEIR_CONFIG_TYPE_LIST:
        return is_empty_list(row, field);
    case WEIR_CONFIG_TYPE_UNITS:
    case WEIR_CONFIG_TYPE_SECTIONS:
        return *(const size_t *)((const char *)base + row->cnt_offset) == 0;
    case WEIR_CONFIG_TYPE_SECTION:
        for (size_t i = 0; i < row->section->row_cnt; i++) {
            if (!is_nothing(&row->section->row[i], field)) {
                return false;
            }
        }
        return true;
    default:
        return weir_config_type_is_number(row->type) ? *(const uint64_t *)field == 0
                                                     : **(const char *const *)field == '\0';
    }
}

static void print_indent(FILE *out, size_t depth)
{
    fprintf(out, "%*s", (int)(depth * INDENT), "");
}

static void print_sections(FILE *out, const struct weir_config_row *row, const void *base,
                           size_t depth)
{
    const char *entry = *(const char *const *)((const char *)base + row->offset);
    size_t cnt = *(const size_t *)((const char *)base + row->cnt_offset);
    for (size_t i = 0; i < cnt; i++) {
        print_indent(out, depth);
        fputs("- ", out);
        print_section(out, row->section, entry + i * row->section->bytes, depth + 1, true);
    }
}

/* `is_item`: the first line's indent is there already, as "- ". */
static void print_section(FILE *out, const struct weir_config_section *section, const void *base,
                          size_t depth, bool is_item)
{
    for (size_t i = 0; i < section->row_cnt; i++) {
        const struct weir_config_row *row = &section->row[i];
        /* Only what may be absent is left out; a default that is nothing, such as 0s, is a value. */
        if (row->def && !row->def[0] && is_nothing(row, base)) {
            continue;
        }
        if (row->type == WEIR_CONFIG_TYPE_SECTION && is_nothing(row, base)) {
            continue;
        }
        if (!is_item) {
            print_indent(out, depth);
        }
        is_item = false;
        fprintf(out, "%s:", row->key);
        if (row->type == WEIR_CONFIG_TYPE_SECTION) {
            putc('\n', out);
            print_section(out, row->section, (const char *)base + row->offset, depth + 1, false);
        } else if (row->type == WEIR_CONFIG_TYPE_SECTIONS) {
            putc('\n', out);
            print_sections(out, row, base, depth + 1);
        } else {
            putc(' ', out);
            print_value(out, row, base);
            putc('\n', out);
        }
    }
}

void weir_config_print(FILE *out, const struct weir_config *config)
{
    print_section(out, &weir_config_root, config, 0, false);
}
