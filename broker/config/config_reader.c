/*
 * config_reader.c: messages that name a place three times, and memory that complains by itself.
 */
#include "broker/config/config_reader.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "broker/config/config_mem.h"

#define PATH_BYTES  160
#define VALUE_BYTES 64

/* Kept free behind a value that is cut: an escape, "..." and a quote. */
#define ENDING_BYTES 10

struct weir_config_place weir_config_place_key(const struct weir_config_place *up, const char *key)
{
    return (struct weir_config_place){
        .up = up, .key = key, .node = weir_config_node_find(up->node, key)};
}

struct weir_config_place weir_config_place_item(const struct weir_config_place *up, size_t idx)
{
    return (struct weir_config_place){
        .up = up, .idx = idx, .node = weir_config_node_at(up->node, idx)};
}

/* Text from outside must not move the terminal's cursor or end the line. */
static void make_printable(char *text)
{
    for (; *text; text++) {
        if (*text < ' ' || *text > '~') {
            *text = '?';
        }
    }
}

static void say(struct weir_config_message *message, const char *name, uint32_t line,
                uint32_t column, const char *text)
{
    message->line = line;
    message->column = column;
    const size_t size = sizeof(message->text);
    const int len = line ? snprintf(message->text, size, "%s:%u:%u: %s", name, line, column, text)
                         : snprintf(message->text, size, "%s: %s", name, text);
    if (len < 0 || (size_t)len >= size) { /* a reader of it should know that more was said */
        static const char more[] = " ...";
        snprintf(message->text + size - sizeof(more), sizeof(more), "%s", more);
    }
    make_printable(message->text);
}

static void add_error(struct weir_config_reader *reader, uint32_t line, uint32_t column,
                      const char *text)
{
    struct weir_config_diag *diag = reader->diag;
    if (diag->error_cnt < WEIR_CONFIG_ERROR_MAX) {
        say(&diag->error[diag->error_cnt], reader->name, line, column, text);
    }
    diag->error_cnt++;
}

void weir_config_error_at(struct weir_config_reader *reader, uint32_t line, uint32_t column,
                          const char *format, ...)
{
    char text[WEIR_CONFIG_TEXT_BYTES];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    add_error(reader, line, column, text);
}

/* What is not in the file is said of the nearest part around it that is. */
static const struct weir_config_node *nearest_node(const struct weir_config_place *place)
{
    while (!place->node && place->up) {
        place = place->up;
    }
    return place->node;
}

static size_t path_write(const struct weir_config_place *place, char *path, size_t bytes)
{
    if (!place->up) {
        path[0] = '\0';
        return 0;
    }
    size_t at = path_write(place->up, path, bytes);
    int more = place->key ? snprintf(path + at, bytes - at, "%s%.*s", at ? "." : "",
                                     WEIR_NAME_BYTES, place->key)
                          : snprintf(path + at, bytes - at, "[%zu]", place->idx);
    at += (size_t)more;
    return at < bytes ? at : bytes - 1;
}

static void value_write(const struct weir_config_place *place, char *value, size_t bytes)
{
    const struct weir_config_node *node = place->node;
    value[0] = '\0';
    if (!node || node->kind != WEIR_CONFIG_NODE_SCALAR || place->is_secret) {
        return;
    }
    size_t at = (size_t)snprintf(value, bytes, " = \"");
    const char *text = node->text;
    for (; *text && at < bytes - ENDING_BYTES; text++) {
        /* Bytes that nobody can see are often the fault itself. */
        bool is_visible = *text >= ' ' && *text <= '~';
        at += (size_t)snprintf(value + at, bytes - at, is_visible ? "%c" : "\\x%02x",
                               (unsigned char)*text);
    }
    snprintf(value + at, bytes - at, "%s\"", *text ? "..." : "");
}

void weir_config_error(struct weir_config_reader *reader, const struct weir_config_place *place,
                       const char *format, ...)
{
    char why[WEIR_CONFIG_TEXT_BYTES];
    va_list args;
    va_start(args, format);
    vsnprintf(why, sizeof(why), format, args);
    va_end(args);

    char path[PATH_BYTES];
    char value[VALUE_BYTES];
    char text[WEIR_CONFIG_TEXT_BYTES + PATH_BYTES + VALUE_BYTES];
    const char *joint = path_write(place, path, sizeof(path)) ? ": " : "";
    value_write(place, value, sizeof(value));
    reader->fault_cnt++;
    snprintf(text, sizeof(text), "%s%s%s%s", path, value, joint, why);

    const struct weir_config_node *node = nearest_node(place);
    add_error(reader, node ? node->line : 0, node ? node->column : 0, text);
}

void weir_config_warn_once(struct weir_config_reader *reader, const struct weir_config_place *place,
                           const char *text)
{
    for (size_t i = 0; i < reader->warned_cnt; i++) {
        if (strcmp(reader->warned[i], text) == 0) {
            return;
        }
    }
    if (reader->warned_cnt < WEIR_CONFIG_WARNING_MAX) {
        reader->warned[reader->warned_cnt++] = text;
    }

    struct weir_config_diag *diag = reader->diag;
    const struct weir_config_node *node = nearest_node(place);
    if (diag->warning_cnt < WEIR_CONFIG_WARNING_MAX) {
        char path[PATH_BYTES];
        char line[WEIR_CONFIG_TEXT_BYTES];
        path_write(place, path, sizeof(path));
        snprintf(line, sizeof(line), "%s: %s", path, text);
        say(&diag->warning[diag->warning_cnt], reader->name, node ? node->line : 0,
            node ? node->column : 0, line);
    }
    diag->warning_cnt++;
}

static void *or_complain(struct weir_config_reader *reader, void *memory)
{
    if (!memory) {
        weir_config_error_at(reader, 0, 0, "the system gave no memory: free some and try again");
    }
    return memory;
}

void *weir_config_keep(struct weir_config_reader *reader, size_t bytes)
{
    return or_complain(reader, weir_config_mem_get(&reader->blocks, bytes));
}

char *weir_config_keep_text(struct weir_config_reader *reader, const char *text, size_t bytes)
{
    return or_complain(reader, weir_config_mem_copy(&reader->blocks, text, bytes));
}

void *weir_config_scratch(struct weir_config_reader *reader, size_t bytes)
{
    return or_complain(reader, weir_config_mem_get(&reader->scratch, bytes));
}

char *weir_config_scratch_text(struct weir_config_reader *reader, const char *text, size_t bytes)
{
    return or_complain(reader, weir_config_mem_copy(&reader->scratch, text, bytes));
}

static void print_messages(FILE *out, const struct weir_config_message *message, size_t cnt,
                           size_t max, const char *what)
{
    for (size_t i = 0; i < cnt && i < max; i++) {
        fprintf(out, "%s: %s\n", what, message[i].text);
    }
    if (cnt > max) {
        fprintf(out, "%s: and %zu more\n", what, cnt - max);
    }
}

void weir_config_diag_print(FILE *out, const struct weir_config_diag *diag)
{
    print_messages(out, diag->error, diag->error_cnt, WEIR_CONFIG_ERROR_MAX, "error");
    print_messages(out, diag->warning, diag->warning_cnt, WEIR_CONFIG_WARNING_MAX, "warning");
}
