/*
 * config_env.c: ${VAR} and ${VAR:default} inside a value.
 */
#include "broker/config/config_env.h"

#include <stdlib.h>
#include <string.h>

#include "broker/config/config_reader.h"

#define VARIABLE_BYTES 128

/* An output that remembers that it was too small. */
struct sink {
    char *out;
    size_t bytes;
    size_t at;
    bool is_full;
};

static void sink_put(struct sink *sink, const char *text, size_t bytes)
{
    if (bytes >= sink->bytes - sink->at) {
        sink->is_full = true;
        return;
    }
    memcpy(sink->out + sink->at, text, bytes);
    sink->at += bytes;
}

static bool is_variable_name(const char *name)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_";
    if (!*name || !strchr(letters, *name)) {
        return false;
    }
    size_t letter_cnt = strspn(name, letters);
    while (name[letter_cnt] >= '0' && name[letter_cnt] <= '9') {
        letter_cnt += 1 + strspn(name + letter_cnt + 1, letters);
    }
    return name[letter_cnt] == '\0';
}

/* `inner` is what stands between the braces. */
static bool put_variable(struct weir_config_reader *reader, const char *inner, size_t bytes,
                         uint32_t line, uint32_t column, struct sink *sink)
{
    const char *colon = memchr(inner, ':', bytes);
    size_t name_bytes = colon ? (size_t)(colon - inner) : bytes;
    char name[VARIABLE_BYTES] = "";
    if (name_bytes < sizeof(name)) {
        memcpy(name, inner, name_bytes);
    }
    if (!is_variable_name(name)) {
        weir_config_error_at(reader, line, column,
                             "${%.*s}: not a variable's name: use letters, digits and '_', at most "
                             "%d, the first no digit",
                             (int)weir_min_u64(name_bytes, 40), inner, VARIABLE_BYTES - 1);
        return false;
    }
    const char *value = getenv(name);
    if (value) {
        sink_put(sink, value, strlen(value));
    } else if (colon) {
        sink_put(sink, colon + 1, bytes - name_bytes - 1);
    } else {
        weir_config_error_at(reader, line, column,
                             "${%s}: the environment has no such variable: export it, or write "
                             "${%s:default}",
                             name, name);
        return false;
    }
    return true;
}

bool weir_config_env_expand(struct weir_config_reader *reader, const char *text, uint32_t line,
                            uint32_t column, char *out, size_t out_bytes)
{
    struct sink sink = {.out = out, .bytes = out_bytes};
    while (*text && !sink.is_full) {
        size_t plain_bytes = strcspn(text, "$");
        sink_put(&sink, text, plain_bytes);
        text += plain_bytes;
        if (text[0] == '\0') {
            break;
        }
        if (text[1] == '$') {
            sink_put(&sink, "$", 1);
            text += 2;
            continue;
        }
        const char *end = text[1] == '{' ? strchr(text, '}') : NULL;
        if (!end) {
            weir_config_error_at(reader, line, column,
                                 text[1] == '{' ? "'${' has no '}': write ${VAR} or ${VAR:default}"
                                                : "'$' begins nothing: write $$ for a '$', or "
                                                  "${VAR} for a variable");
            return false;
        }
        if (!put_variable(reader, text + 2, (size_t)(end - text - 2), line, column, &sink)) {
            return false;
        }
        text = end + 1;
    }
    if (sink.is_full) {
        weir_config_error_at(reader, line, column, "the value is too long: at most %zu bytes",
                             out_bytes - 1);
        return false;
    }
    out[sink.at] = '\0';
    return true;
}
