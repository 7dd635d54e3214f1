#include "broker/throttle.h"

#include "shm/weir_base.h"

#include <string.h>

#define UNTIL_MAX_NS (UINT64_C(366) * 86400 * WEIR_NS_PER_S)

enum throttle_by throttle_head(const struct weir_config_throttle *config, uint32_t status,
                               const char *head, size_t bytes)
{
    for (size_t i = 0; i < config->status.cnt; i++) {
        if (config->status.number[i] == status) {
            return THROTTLE_BY_STATUS;
        }
    }
    struct reply_text value;
    if (config->header[0] != '\0' &&
        reply_header(head, bytes, config->header, &value) == REPLY_VALUE) {
        return THROTTLE_BY_HEADER;
    }
    return THROTTLE_NOT;
}

uint64_t throttle_ban_ns(const struct weir_config_throttle *config, uint32_t status)
{
    for (size_t i = 0; i < config->ban.status.cnt; i++) {
        if (config->ban.status.number[i] == status) {
            return config->ban.pause_ns;
        }
    }
    return 0;
}

enum reply_verdict throttle_retry_after(const struct weir_config_throttle *config,
                                        struct reply_text text, uint64_t *for_ns)
{
    if (config->retry_after == WEIR_CONFIG_RETRY_AFTER_NONE) {
        return REPLY_ABSENT;
    }
    struct reply_instant span;
    enum reply_unit unit =
        config->retry_after == WEIR_CONFIG_RETRY_AFTER_MS ? REPLY_UNIT_MS : REPLY_UNIT_S;
    enum reply_verdict v = reply_span(text, unit, &span);
    if (v == REPLY_VALUE && span.ns > UNTIL_MAX_NS) {
        return REPLY_GARBAGE;
    }
    *for_ns = v == REPLY_VALUE ? span.ns : *for_ns;
    return v;
}

/* Could any listed value stand in this body? Cheaper than reading it as JSON, which few answers then need. */
static bool body_possible(const struct weir_config_throttle *config, const char *body, size_t bytes)
{
    for (size_t i = 0; i < config->body_cnt; i++) {
        const char *equals = config->body[i].equals;
        if (memmem(body, bytes, equals, strlen(equals)) != NULL) {
            return true;
        }
    }
    return false;
}

static bool body_says(const struct weir_config_throttle *config, const char *body, size_t bytes)
{
    if (bytes > REPLY_JSON_MAX_BYTES || !body_possible(config, body, bytes)) {
        return false;
    }
    json_t *root = reply_json(body, bytes);
    bool says = false;
    for (size_t i = 0; i < config->body_cnt && !says; i++) {
        const struct weir_config_throttle_body *rule = &config->body[i];
        char buffer[40];
        struct reply_text value;
        says = reply_member(root, rule->field, buffer, &value) == REPLY_VALUE &&
               value.bytes == strlen(rule->equals) &&
               memcmp(value.at, rule->equals, value.bytes) == 0;
    }
    json_decref(root);
    return says;
}

enum throttle_by throttle_body(const struct weir_config_throttle *config, const char *body,
                               size_t bytes)
{
    for (size_t i = 0; i < config->text.cnt; i++) {
        const char *text = config->text.text[i];
        if (reply_find(body, bytes, text, strlen(text)) != NULL) {
            return THROTTLE_BY_TEXT;
        }
    }
    return config->body_cnt > 0 && body_says(config, body, bytes) ? THROTTLE_BY_BODY : THROTTLE_NOT;
}

bool throttle_until(const struct weir_config_throttle *config, const char *body, size_t bytes,
                    uint64_t now_utc_ns, uint64_t *until_utc_ns)
{
    static const char mark[] = "{time}";
    const char *place = strstr(config->until_text, mark);
    if (place == NULL) {
        return false;
    }
    size_t before = (size_t)(place - config->until_text);
    const char *at = reply_find(body, bytes, config->until_text, before);
    if (at == NULL) {
        return false;
    }
    at += before;
    size_t left = bytes - (size_t)(at - body);
    size_t n = 0;
    while (n < left && n < 32 && at[n] >= '0' && at[n] <= '9') {
        n++;
    }
    struct reply_instant until;
    if (reply_instant((struct reply_text){at, n}, REPLY_UNIT_AUTO, &until) != REPLY_VALUE ||
        until.ns <= now_utc_ns || until.ns - now_utc_ns > UNTIL_MAX_NS) {
        return false;
    }
    *until_utc_ns = until.ns + until.granularity_ns;
    return true;
}

const char *throttle_by_name(enum throttle_by by)
{
    static const char *const names[] = {"nothing", "status", "header", "body", "text"};
    return names[by];
}
