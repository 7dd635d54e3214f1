/*
 * fuzz_batch.c: answers that stand for many, and calls that name one of them, from whoever writes them.
 *
 * The first two bytes choose the form and cut the rest in two: an answer, and a query. Beside memory: an element lies inside the answer and is JSON by itself; one that is found bears the name
 * that was asked for; a batch's query is one that weir would send.
 */
#include "broker/batch_split.h"
#include "broker/batch_text.h"
#include "broker/reply_value.h"
#include "shm/weir_request.h"

#include <stdlib.h>
#include <string.h>

static void must(bool what)
{
    if (!what) {
        abort();
    }
}

static void answer(const char *body, size_t bytes, unsigned form)
{
    static const char *const list[] = {"", "r", "r.l", ""};
    static const char *const item[] = {"s", "s", "", "0"};
    struct split s;
    if (split_make(&s, body, bytes, list[form], item[form])) {
        for (uint32_t i = 0; i < s.cnt; i++) {
            const struct split_element *e = &s.element[i];
            json_error_t error;
            must(e->from >= s.first && e->from <= e->at && e->at + (size_t)e->bytes <= s.end &&
                 s.end <= bytes);
            json_t *v = json_loadb(body + e->at, e->bytes, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES,
                                   &error);
            must(v != NULL);
            json_decref(v);
            const struct split_element *found = split_find(&s, e->name, e->name_bytes);
            must(e->twice ? found == NULL : found == e);
        }
    }
    split_free(&s);
}

static void call(const char *query, size_t bytes, unsigned form)
{
    static const char *with[] = {"c", "d"};
    const struct weir_config_batch config = {.param = form % 2 == 0 ? "s" : "",
                                             .names_param = "n",
                                             .names = WEIR_CONFIG_BATCH_ALL + form % 3,
                                             .with = {.text = with, .cnt = 2}};
    struct batch_want want;
    size_t half = form % 2 == 0 ? 0 : bytes / 2;
    if (weir_request_query_check(query, bytes) == 0 &&
        batch_want_read(&config, query, half, query + half, bytes - half, &want)) {
        size_t n;
        char *text = batch_query_make(&config, &want, &want.name, 1, &n);
        must(text != NULL && weir_request_query_check(text, n) == 0);
        free(text);
        char single[BATCH_CALL_MAX_BYTES];
        (void)batch_call_make(&config, &want, want.name.text, want.name.bytes, single, &n);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    if (bytes < 2) {
        return 0;
    }
    const char *text = (const char *)data + 2;
    size_t cut = (bytes - 2) * data[1] / 255;
    char head[96];
    answer(text, cut, data[0] % 4);
    call(text + cut, bytes - 2 - cut, data[0] / 4 % 6);
    (void)batch_head_make(text, bytes - 2, head, sizeof head);
    return 0;
}
