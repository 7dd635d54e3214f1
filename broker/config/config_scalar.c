/*
 * config_scalar.c: one scalar of the file into one field of a struct.
 */
#include "broker/config/config_scalar.h"

#include <string.h>

#include "broker/config/config_reader.h"
#include "broker/config/config_schema.h"

static bool refuse(struct weir_config_reader *reader, const struct weir_config_row *row,
                   const struct weir_config_place *place)
{
    char allowed[WEIR_CONFIG_ALLOWED_BYTES];
    weir_config_row_allowed(row, allowed, sizeof(allowed));
    weir_config_error(reader, place, "must be %s", allowed);
    return false;
}

static bool read_number(struct weir_config_reader *reader, const struct weir_config_row *row,
                        enum weir_config_type type, const struct weir_config_place *place,
                        uint64_t *number)
{
    char low[WEIR_CONFIG_NUMBER_BYTES];
    char high[WEIR_CONFIG_NUMBER_BYTES];
    weir_config_number_write(type, row->min, low);
    weir_config_number_write(type, row->max, high);
    uint64_t read = 0;
    if (!weir_config_number_read(type, place->node->text, &read)) {
        weir_config_error(reader, place, "must be %s: %s..%s", weir_config_number_form(type), low,
                          high);
        return false;
    }
    if (read < row->min || read > row->max) {
        weir_config_error(reader, place, "must be %s..%s", low, high);
        return false;
    }
    *number = read;
    return true;
}

static bool read_boolean(struct weir_config_reader *reader, const struct weir_config_row *row,
                         const struct weir_config_place *place, bool *field)
{
    *field = strcmp(place->node->text, "true") == 0;
    return *field || strcmp(place->node->text, "false") == 0 || refuse(reader, row, place);
}

static bool read_enum(struct weir_config_reader *reader, const struct weir_config_row *row,
                      const struct weir_config_place *place, unsigned *field)
{
    const struct weir_config_choice *choice = row->choice;
    while (choice->text && strcmp(choice->text, place->node->text) != 0) {
        choice++;
    }
    if (!choice->text) {
        return refuse(reader, row, place);
    }
    if (choice->refused) {
        weir_config_error(reader, place, "%s", choice->refused);
        return false;
    }
    if (choice->later) {
        weir_config_warn_once(reader, place, choice->later);
    }
    *field = choice->value;
    return true;
}

/* Names that HTTP and DNS compare without regard to case are kept in one. */
static void make_lower(char *text)
{
    for (; *text; text++) {
        if (*text >= 'A' && *text <= 'Z') {
            *text = (char)(*text + ('a' - 'A'));
        }
    }
}

static bool read_url(struct weir_config_reader *reader, const struct weir_config_place *place,
                     struct weir_config_url *url)
{
    const char *text = place->node->text;
    struct weir_config_url_parts parts;
    const char *rule = weir_config_url_split(text, &parts);
    if (rule) {
        /* A user part or a query may hold a password or a key. */
        struct weir_config_place shown = *place;
        shown.is_secret = strpbrk(text, "@?#") != NULL;
        weir_config_error(reader, &shown, "must be %s", rule);
        return false;
    }
    char *host = weir_config_keep_text(reader, parts.host, parts.host_bytes);
    if (host) {
        make_lower(host);
    }
    url->text = weir_config_keep_text(reader, text, strlen(text));
    url->host = host;
    url->base_path = weir_config_keep_text(reader, parts.base_path, parts.base_path_bytes);
    url->port = parts.port;
    url->tls = parts.tls;
    url->ipv6 = parts.ipv6;
    return url->text && url->host && url->base_path;
}

static bool read_text(struct weir_config_reader *reader, const struct weir_config_row *row,
                      enum weir_config_type type, const struct weir_config_place *place,
                      void *field)
{
    const char *text = place->node->text;
    size_t bytes = strlen(text);
    if (bytes < row->min || bytes > row->max) {
        weir_config_error(reader, place, "must be %llu..%llu bytes long",
                          (unsigned long long)row->min, (unsigned long long)row->max);
        return false;
    }
    if (type == WEIR_CONFIG_TYPE_URL) {
        return read_url(reader, place, field);
    }
    const char *rule = weir_config_text_fault(type, text);
    if (rule) {
        weir_config_error(reader, place, "must be %s", rule);
        return false;
    }
    if (type == WEIR_CONFIG_TYPE_NAME) {
        memcpy(field, text, bytes + 1); /* the row's max is below WEIR_NAME_BYTES */
        return true;
    }
    if (type == WEIR_CONFIG_TYPE_SECRET) {
        weir_config_secret_note(reader, place->node->written);
    }
    char *kept = weir_config_keep_text(reader, text, bytes);
    if (kept && type == WEIR_CONFIG_TYPE_HEADER) {
        make_lower(kept);
    }
    *(const char **)field = kept ? kept : "";
    return kept != NULL;
}

bool weir_config_scalar_read(struct weir_config_reader *reader, const struct weir_config_row *row,
                             enum weir_config_type type, const struct weir_config_place *place,
                             void *field)
{
    if (place->node->kind != WEIR_CONFIG_NODE_SCALAR) {
        char allowed[WEIR_CONFIG_ALLOWED_BYTES];
        weir_config_row_allowed(row, allowed, sizeof(allowed));
        weir_config_error(reader, place, "must be one value: %s", allowed);
        return false;
    }
    switch (type) {
    case WEIR_CONFIG_TYPE_BOOLEAN:
        return read_boolean(reader, row, place, field);
    case WEIR_CONFIG_TYPE_ENUM:
        return read_enum(reader, row, place, field);
    default:
        return weir_config_type_is_number(type) ? read_number(reader, row, type, place, field)
                                                : read_text(reader, row, type, place, field);
    }
}
