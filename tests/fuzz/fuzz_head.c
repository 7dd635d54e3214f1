/*
 * fuzz_head.c: what an answer's head says of keeping it and of asking again: Cache-Control, Age, Vary, Set-Cookie, Retry-After, the status line.
 *
 * The input is a head. Oracle: the sanitizers; spans stay within their caps; `no-store`, `no-cache` and `private` as directives of their own are never overlooked, nor is `Vary: *`, judged
 * by a reader of its own; a cleaned head is a part of the head in its order, without Set-Cookie, and cleaning it again changes nothing; reading twice says the same.
 */
#include "broker/cache.h"
#include "stage.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

/* Its functions are static. */
#include "../../broker/answer.c"

#define YEAR_NS (UINT64_C(366) * 86400 * WEIR_NS_PER_S)
#define AGE_NS  ((UINT64_C(1) << 31) * WEIR_NS_PER_S)

/* Does a line `name` of the head hold `word` as an element of its list, by a simple reader? */
static bool lists(const char *head, size_t bytes, const char *name, const char *word)
{
    size_t n = strlen(name);
    size_t w = strlen(word);
    for (size_t at = 0; at < bytes;) {
        const char *end = memchr(head + at, '\n', bytes - at);
        size_t next = end != NULL ? (size_t)(end - head) + 1 : bytes;
        size_t to = end != NULL ? next - 1 : bytes;
        while (to > at && head[to - 1] == '\r') {
            to--;
        }
        if (to - at > n && strncasecmp(head + at, name, n) == 0) {
            for (size_t i = at + n; i + w <= to; i++) {
                char before = head[i - 1];
                char after = i + w < to ? head[i + w] : ',';
                if (strncasecmp(head + i, word, w) == 0 && strchr(":, \t", before) != NULL &&
                    before != '\0' && after == ',') {
                    /* an element is what stands between commas: only blanks may lie before it */
                    size_t from = i;
                    while (from > at + n && (head[from - 1] == ' ' || head[from - 1] == '\t')) {
                        from--;
                    }
                    if (from == at + n || head[from - 1] == ',') {
                        return true;
                    }
                }
            }
        }
        at = next;
    }
    return false;
}

static void keep_look(const char *head, size_t bytes)
{
    struct cache_directives first, second;
    for (int honour = 0; honour < 2; honour++) {
        bool kept = cache_directives(head, bytes, honour != 0, &first);
        stage_must(cache_directives(head, bytes, honour != 0, &second) == kept);
        stage_must(!kept ||
                   (first.max_age_ns == second.max_age_ns && first.age_ns == second.age_ns &&
                    first.must_revalidate == second.must_revalidate));
        if (!kept) {
            continue;
        }
        stage_must(!lists(head, bytes, "vary:", "*"));
        stage_must(first.max_age_ns == UINT64_MAX || first.max_age_ns <= AGE_NS);
        stage_must(first.age_ns <= AGE_NS);
        stage_must(honour == 0 || (!lists(head, bytes, "cache-control:", "no-store") &&
                                   !lists(head, bytes, "cache-control:", "no-cache") &&
                                   !lists(head, bytes, "cache-control:", "private")));
        stage_must(honour != 0 || (first.max_age_ns == UINT64_MAX && first.age_ns == 0));
    }
}

static void clean_look(const char *head, size_t bytes)
{
    char *to = malloc(bytes + 1);
    char *again = malloc(bytes + 1);
    size_t n = cache_head_clean(head, bytes, to);
    stage_must(n <= bytes);
    for (size_t at = 0; at < n;) {
        const char *end = memchr(to + at, '\n', n - at);
        size_t line = end != NULL ? (size_t)(end - to) - at + 1 : n - at;
        stage_must(line < 11 || strncasecmp(to + at, "set-cookie:", 11) != 0);
        stage_must(line < 12 || strncasecmp(to + at, "set-cookie2:", 12) != 0);
        stage_must(memmem(head, bytes, to + at, line) != NULL);
        at += line;
    }
    stage_must(cache_head_clean(to, n, again) == n && memcmp(to, again, n) == 0);
    free(to);
    free(again);
}

static void again_look(const char *value, size_t bytes)
{
    for (int unit = WEIR_CONFIG_RETRY_AFTER_SECONDS; unit <= WEIR_CONFIG_RETRY_AFTER_NONE; unit++) {
        const struct weir_config_throttle rule = {.retry_after =
                                                      (enum weir_config_retry_after)unit};
        uint64_t ns = 0;
        enum reply_verdict v = throttle_retry_after(&rule, (struct reply_text){value, bytes}, &ns);
        stage_must(ns <= YEAR_NS && (v == REPLY_VALUE || ns == 0));
        stage_must(unit != WEIR_CONFIG_RETRY_AFTER_NONE || v == REPLY_ABSENT);
    }
    uint64_t ns = 0;
    enum reply_verdict v = retry_date((struct reply_text){value, bytes}, &ns);
    stage_must(ns <= YEAR_NS && (v == REPLY_VALUE || ns == 0));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    char *head = malloc(bytes + 1); /* of its exact size, so that no reader can look behind it */
    char *exact = realloc(head, bytes > 0 ? bytes : 1);
    memcpy(exact, data, bytes);
    keep_look(exact, bytes);
    clean_look(exact, bytes);
    stage_must(status_of(exact, bytes) < 1000);
    for (size_t at = 0;
         at < bytes;) { /* each line as the value of a Retry-After, and as one of its lines */
        const char *end = memchr(exact + at, '\n', bytes - at);
        size_t to = end != NULL ? (size_t)(end - exact) : bytes;
        again_look(exact + at, to - at);
        at = to + 1;
    }
    free(exact);
    return 0;
}
