#include "sim_refusal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const words[] = {"limit",   "quota",  "retry_s", "until_ms",
                                    "until_s", "now_ms", "now_s"};
enum { WORD_CNT = sizeof(words) / sizeof(words[0]), WORD_LIMIT = 0 };

/* The length of %word% at TEXT, 0 when none stands there; *WORD: which one,
   WORD_CNT for one that nobody knows. */
static size_t word_at(const char *text, size_t *word)
{
    size_t bytes = strspn(text + (*text == '%'), "abcdefghijklmnopqrstuvwxyz_");

    if (*text != '%' || bytes == 0 || text[1 + bytes] != '%') {
        return 0;
    }
    for (*word = 0; *word < WORD_CNT; ++*word) {
        if (strlen(words[*word]) == bytes && strncmp(words[*word], text + 1, bytes) == 0) {
            break;
        }
    }
    return bytes + 2;
}

static bool body_take(const json_t *body, const char *where, struct sim_refusal *out,
                      struct sim_error *error)
{
    char *text = json_is_string(body) ? strdup(json_string_value(body))
                                      : json_dumps(body, JSON_COMPACT | JSON_ENCODE_ANY);
    bool fits = text && strlen(text) <= SIM_REFUSAL_BODY_BYTES;
    size_t word;

    out->json = !json_is_string(body);
    if (fits) {
        snprintf(out->body, sizeof(out->body), "%s", text);
    }
    free(text);
    if (!fits) {
        return sim_error_set(error, "%s.body: must be JSON or a text of at most %d bytes", where,
                             SIM_REFUSAL_BODY_BYTES);
    }
    for (const char *c = out->body; *c; c++) {
        size_t bytes = word_at(c, &word);

        if (bytes > 0 && word == WORD_CNT) {
            return sim_error_set(error,
                                 "%s.body: %.*s: unknown word: allowed are %%limit%%, %%quota%%, "
                                 "%%retry_s%%, %%until_ms%%, %%until_s%%, %%now_ms%%, %%now_s%%",
                                 where, (int)bytes, c);
        }
    }
    return true;
}

struct refusal_document {
    struct sim_refusal refusal;
    const json_t *body;
};

#define REFUSAL_AT(member) offsetof(struct refusal_document, member)

static const struct sim_field refusal_fields[] = {
    {"status", SIM_FIELD_INTEGER, REFUSAL_AT(refusal.status), 200, 599, .required = true},
    {"retry_after", SIM_FIELD_FLAG, REFUSAL_AT(refusal.retry_after)},
    {"body", SIM_FIELD_ANY, REFUSAL_AT(body), .required = true},
    {0},
};

bool sim_refusal_read(const json_t *object, const char *where, struct sim_refusal *out,
                      struct sim_error *error)
{
    struct refusal_document read = {0};

    if (!sim_json_read(object, where, refusal_fields, &read, error) ||
        !body_take(read.body, where, &read.refusal, error)) {
        return false;
    }
    if (!json_object_get(object, "retry_after")) {
        read.refusal.retry_after = read.refusal.status != 200;
    }
    *out = read.refusal;
    return true;
}

char *sim_refusal_body(const struct sim_refusal *refusal, const struct sim_refusal_facts *facts)
{
    const int64_t numbers[WORD_CNT] = {0,
                                       facts->quota,
                                       facts->retry_s,
                                       facts->until_utc_ms,
                                       facts->until_utc_ms / 1000,
                                       facts->now_utc_ms,
                                       facts->now_utc_ms / 1000};
    size_t body_bytes = 0;
    char *body = NULL;
    FILE *out = open_memstream(&body, &body_bytes);

    if (!out) {
        return NULL;
    }
    for (const char *c = refusal->body; *c;) {
        size_t word;
        size_t bytes = word_at(c, &word);

        if (bytes == 0 || word == WORD_CNT) {
            fputc(*c++, out);
            continue;
        }
        if (word == WORD_LIMIT) {
            fputs(facts->limit, out);
        } else {
            fprintf(out, "%lld", (long long)numbers[word]);
        }
        c += bytes;
    }
    fclose(out);
    return body;
}
