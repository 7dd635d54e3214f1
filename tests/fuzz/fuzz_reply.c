/*
 * fuzz_reply.c: any bytes as an answer: head, blank line, body. Oracle: ASan and UBSan, and what is read is what reply_value.h and throttle.h
 * promise: every text lies in the answer or in the buffer, numbers fit, an instant stays below 2^62, a ban's end lies ahead and within 366 days, and
 * reading twice says the same.
 */
#include "broker/throttle.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static const char *texts[] = {"Thank you for using", "slow down"};
static struct weir_config_throttle_body bodies[] = {{"retCode", "10006"}, {"a.b.0", "x"}};
static uint64_t statuses[] = {429};
static const struct weir_config_throttle rules = {.status = {statuses, 1},
                                                  .header = "x-stop",
                                                  .body = bodies,
                                                  .body_cnt = 2,
                                                  .text = {texts, 2},
                                                  .until_text = "until {time}"};

static void must(bool good)
{
    if (!good) {
        abort();
    }
}

static void value_look(struct reply_text text)
{
    struct reply_number n;
    struct reply_instant at;
    uint32_t up = 0;
    uint32_t down = 0;
    enum reply_verdict number = reply_number(text, &n);
    const struct weir_config_throttle seconds = {.retry_after = WEIR_CONFIG_RETRY_AFTER_SECONDS};
    uint64_t for_ns = 0;
    if (throttle_retry_after(&seconds, text, &for_ns) == REPLY_VALUE) {
        must(number == REPLY_VALUE && for_ns <= UINT64_C(31622400000000000)); /* 366 days */
    }
    if (reply_units(text, &up, true) == REPLY_VALUE) {
        must(number == REPLY_VALUE && reply_units(text, &down, false) == REPLY_VALUE);
        must(up >= down && up - down <= 1);
    }
    for (enum reply_unit u = REPLY_UNIT_AUTO; u <= REPLY_UNIT_NS; u++) {
        if (reply_instant(text, u, &at) == REPLY_VALUE) {
            must(at.ns < UINT64_C(1) << 62 && at.granularity_ns >= 1 &&
                 at.granularity_ns <= UINT64_C(1000000001));
        }
        if (reply_span(text, u, &at) == REPLY_VALUE) {
            must(number == REPLY_VALUE && at.ns < UINT64_C(1) << 62);
        }
    }
}

static void member_look(const json_t *root, const char *path)
{
    char buffer[40];
    struct reply_text text;
    if (reply_member(root, path, buffer, &text) == REPLY_VALUE) {
        must(text.at != NULL);
        value_look(text);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    static const char *const names[] = {"date", "x-used", "x-stop", ""};
    static const char *const paths[] = {"a", "a.b", "a.b.0", "retCode", "list.1.x", "."};
    const char *all = (const char *)data;
    const char *blank = memmem(all, bytes, "\r\n\r\n", 4);
    size_t head = blank != NULL ? (size_t)(blank + 4 - all) : bytes;
    const char *body = all + head;
    size_t body_bytes = bytes - head;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        struct reply_text text;
        if (reply_header(all, head, names[i], &text) == REPLY_VALUE) {
            must(text.at >= all && text.at + text.bytes <= all + head);
            value_look(text);
        }
    }
    json_t *root = reply_json(body, body_bytes);
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        member_look(root, paths[i]);
    }
    json_decref(root);
    must(throttle_head(&rules, 200, all, head) == throttle_head(&rules, 200, all, head));
    must(throttle_body(&rules, body, body_bytes) == throttle_body(&rules, body, body_bytes));
    const uint64_t now = UINT64_C(1659146000000000000);
    uint64_t until;
    if (throttle_until(&rules, body, body_bytes, now, &until)) {
        must(until > now && until - now <= UINT64_C(367) * 86400 * 1000000000);
    }
    return 0;
}
