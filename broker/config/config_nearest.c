/*
 * config_nearest.c: what someone may have meant by an unknown word.
 */
#include "broker/config/config_nearest.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "broker/config/config_schema.h"
#include "shm/weir_base.h"

#define WORD_MAX_BYTES 31

/* Levenshtein's distance: single characters put in, taken out or exchanged. Both words obey WORD_MAX_BYTES. */
static size_t distance(const char *a, const char *b)
{
    size_t b_bytes = strlen(b);
    size_t row[WORD_MAX_BYTES + 1];
    for (size_t j = 0; j <= b_bytes; j++) {
        row[j] = j;
    }
    for (size_t i = 0; a[i]; i++) {
        size_t diagonal = row[0];
        row[0] = i + 1;
        for (size_t j = 0; j < b_bytes; j++) {
            size_t exchanged = diagonal + (a[i] != b[j]);
            diagonal = row[j + 1];
            row[j + 1] = weir_min_u64(exchanged, weir_min_u64(row[j], diagonal) + 1);
        }
    }
    return row[b_bytes];
}

/* How far the nearest key is; more than a third of the word, or no such word at all, is not near. */
static size_t nearest_distance(const struct weir_config_section *section, const char *key)
{
    size_t nearest = strlen(key) / 3 + 2;
    for (size_t i = 0; i < section->row_cnt; i++) {
        nearest = weir_min_u64(nearest, distance(section->row[i].key, key));
    }
    return nearest <= strlen(key) / 3 + 1 ? nearest : SIZE_MAX;
}

void weir_config_nearest_key(const struct weir_config_section *section, const char *key, char *out,
                             size_t bytes)
{
    size_t nearest = strlen(key) <= WORD_MAX_BYTES ? nearest_distance(section, key) : SIZE_MAX;
    bool is_near = nearest != SIZE_MAX;
    const char *joint = "";
    size_t at = (size_t)snprintf(out, bytes, is_near ? "did you mean " : "the keys here are ");
    for (size_t i = 0; i < section->row_cnt && at < bytes; i++) {
        const char *known = section->row[i].key;
        if (!is_near || distance(known, key) == nearest) {
            at += (size_t)snprintf(out + at, bytes - at, "%s%s", joint, known);
            joint = is_near ? " or " : ", ";
        }
    }
    if (is_near && at < bytes) {
        snprintf(out + at, bytes - at, "?");
    }
}
