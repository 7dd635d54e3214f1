/*
 * config_secret.c: where the secrets of a configuration are: in its structs, and in the environment that they came from.
 */
#include <stdlib.h>
#include <string.h>

#include "broker/config/config.h"
#include "broker/config/config_reader.h"
#include "broker/config/config_schema.h"

typedef void each_fn(const char **text, void *arg);

/* Call `each` for every value whose row says that it is a secret. */
static void walk(const struct weir_config_section *section, char *base, each_fn *each, void *arg)
{
    for (size_t i = 0; i < section->row_cnt; i++) {
        const struct weir_config_row *row = &section->row[i];
        void *field = base + row->offset;
        if (row->type == WEIR_CONFIG_TYPE_SECRET) {
            each(field, arg);
        } else if (row->type == WEIR_CONFIG_TYPE_SECTION) {
            walk(row->section, field, each, arg);
        } else if (row->type == WEIR_CONFIG_TYPE_SECTIONS) {
            char *entry = *(char **)field;
            size_t cnt = *(const size_t *)(const void *)(base + row->cnt_offset);
            for (size_t k = 0; k < cnt; k++) {
                walk(row->section, entry + k * row->section->bytes, each, arg);
            }
        }
    }
}

static void add_bytes(const char **text, void *arg)
{
    size_t *bytes = arg;
    *bytes += (*text)[0] != '\0' ? strlen(*text) + 1 : 0;
}

size_t weir_config_secret_bytes(struct weir_config *config)
{
    size_t bytes = 0;
    walk(&weir_config_root, (char *)config, add_bytes, &bytes);
    return bytes;
}

static void move(const char **text, void *arg)
{
    char **to = arg;
    size_t bytes = strlen(*text) + 1;
    if (bytes == 1) {
        return;
    }
    memcpy(*to, *text, bytes);
    explicit_bzero((char *)(uintptr_t)*text, bytes); /* the configuration's own block */
    *text = *to;
    *to += bytes;
}

void weir_config_secret_move(struct weir_config *config, char *to)
{
    walk(&weir_config_root, (char *)config, move, &to);
}

void weir_config_secret_note(struct weir_config_reader *reader, const char *written)
{
    for (const char *at = written != NULL ? strchr(written, '$') : NULL; at != NULL;
         at = strchr(at, '$')) {
        if (at[1] != '{') { /* "$$" */
            at += 2;
            continue;
        }
        size_t bytes = strcspn(at + 2, ":}");
        struct weir_config_variable *variable = weir_config_keep(reader, sizeof(*variable));
        if (variable != NULL) {
            variable->name = weir_config_keep_text(reader, at + 2, bytes);
            variable->next = reader->variable;
            reader->variable = variable->name != NULL ? variable : reader->variable;
        }
        at += 2 + bytes;
    }
}

void weir_config_secret_env_wipe(const struct weir_config *config)
{
    for (const struct weir_config_variable *v = config->variable; v != NULL; v = v->next) {
        char *value = getenv(v->name);
        if (value != NULL) {
            explicit_bzero(value, strlen(value)); /* /proc/PID/environ is this memory */
            (void)unsetenv(v->name);
        }
    }
}
