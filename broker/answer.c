#include "broker/log.h"
#include "broker/pause.h"
#include "broker/worker.h"

#include <string.h>
#include <time.h>

#define RETRY_AFTER_MAX_NS (UINT64_C(366) * 86400 * WEIR_NS_PER_S)

/* An HTTP date in any of its three forms, RFC 9110 5.6.7. One that is over asks for nothing. */
static enum reply_verdict retry_date(struct reply_text value, uint64_t *for_ns)
{
    char text[64];
    if (value.bytes == 0 || value.bytes >= sizeof text || value.at[0] < 'A' || value.at[0] > 'Z') {
        return REPLY_GARBAGE;
    }
    memcpy(text, value.at, value.bytes);
    text[value.bytes] = '\0';
    time_t at = curl_getdate(text, NULL);
    time_t now = time(NULL);
    if (at < 0 || (at > now && (uint64_t)(at - now) > RETRY_AFTER_MAX_NS / WEIR_NS_PER_S)) {
        return REPLY_GARBAGE;
    }
    *for_ns = at > now ? (uint64_t)(at - now) * WEIR_NS_PER_S : 0;
    return REPLY_VALUE;
}

/* Retry-After: a number (RFC 9110 10.2.3: seconds; or as configured) or a date. Said twice, the longer one counts. */
static void retry_after(struct worker *w, struct call *c, struct reply_text value)
{
    const struct weir_config_provider *p = w->provider[w->route[c->route].provider].config;
    uint64_t for_ns = 0;
    enum reply_verdict v = throttle_retry_after(&p->throttle, value, &for_ns);
    v = v == REPLY_GARBAGE ? retry_date(value, &for_ns) : v;
    if (v == REPLY_VALUE) {
        c->retry_after_ns = weir_max_u64(c->retry_after_ns, for_ns);
    } else if (v != REPLY_ABSENT &&
               throttle_head(&p->throttle, c->head_status, "", 0) == THROTTLE_BY_STATUS) {
        log_warn("retry_after_ignored", "s:s, s:i, s:s", "provider", p->name, "status",
                 (int)c->head_status, "why",
                 v == REPLY_NEGATIVE ? "it is negative"
                                     : "it is no number and no date, or above 366 days");
    }
}

static void head_look(struct worker *w, struct call *c, const char *line, size_t bytes)
{
    static const char name[] = "retry-after:";
    if (bytes > sizeof name - 1 && strncasecmp(line, name, sizeof name - 1) == 0) {
        const char *at = line + sizeof name - 1;
        size_t left = bytes - (sizeof name - 1);
        while (left > 0 && (*at == ' ' || *at == '\t')) {
            at++;
            left--;
        }
        while (left > 0 && (at[left - 1] == '\r' || at[left - 1] == '\n' || at[left - 1] == ' ')) {
            left--;
        }
        retry_after(w, c, (struct reply_text){at, left});
    }
}

/* When the call left: behind a resume that its permit is older than, too, if its connection took so long. */
static uint64_t left_ns(const struct call *c)
{
    return weir_max_u64(c->permit.granted_at_ns, c->sent_ns);
}

void answer_throttled(struct worker *w, struct call *c, enum throttle_by by)
{
    uint32_t p = w->route[c->route].provider;
    if (by == THROTTLE_NOT || c->throttled) {
        return; /* one answer is one stop, however many ways it says so */
    }
    c->throttled = true;
    if (by != THROTTLE_BY_STATUS) {
        log_warn("throttled", "s:s, s:s, s:i", "provider", w->provider[p].config->name, "by",
                 throttle_by_name(by), "status", (int)c->head_status);
    }
    uint64_t ban_ns = throttle_ban_ns(&w->provider[p].config->throttle, c->head_status);
    const struct throttle_heard heard = {.cause = pause_cause_of(c->head_status),
                                         .left_ns = left_ns(c),
                                         .for_ns = weir_max_u64(c->retry_after_ns, ban_ns),
                                         .status = by == THROTTLE_BY_STATUS ? c->head_status : 0};
    pause_throttled(w, c, &heard);
}

void answer_banned_until(struct worker *w, struct call *c, uint64_t until_utc_ns)
{
    uint32_t p = w->route[c->route].provider;
    uint64_t now_utc_ns = clock_server_utc_ns(w, p);
    if (until_utc_ns > now_utc_ns) {
        const struct throttle_heard heard = {.cause = pause_cause_of(c->head_status),
                                             .left_ns = left_ns(c),
                                             .until_ns = worker_now(w) + until_utc_ns - now_utc_ns,
                                             .status = c->head_status,
                                             .again = true};
        pause_throttled(w, c, &heard);
    }
}

/* The number in "HTTP/1.1 429 Too Many Requests"; 0 if there is none. */
static uint32_t status_of(const char *line, size_t bytes)
{
    const char *at = memchr(line, ' ', bytes);
    size_t left = at != NULL ? bytes - (size_t)(at + 1 - line) : 0;
    uint32_t status = 0;
    for (size_t i = 0; i < left && i < 3 && at[i + 1] >= '0' && at[i + 1] <= '9'; i++) {
        status = 10 * status + (uint32_t)(at[i + 1] - '0');
    }
    return status;
}

/*
 * The head that counts is the last one: interim answers (1xx) come before it, and trailers behind the body, which lies where a longer head
 * would go. Trailers are dropped: curl vouches for the whole answer, and nobody asked for them.
 */
bool answer_head(struct worker *w, struct call *c, const char *line, size_t bytes)
{
    bool status_line = bytes > 9 && memcmp(line, "HTTP/", 5) == 0;
    if (c->head == CALL_HEAD_WHOLE) {
        return true;
    }
    if (c->first_byte_ns == 0) {
        c->first_byte_ns = worker_now(w);
    }
    if (c->head == CALL_HEAD_NONE && status_line) {
        c->head_status = status_of(line, bytes);
        c->head = c->head_status / 100 == 1 ? CALL_HEAD_INTERIM : CALL_HEAD_FINAL;
        c->head_bytes = 0;
        c->retry_after_ns = 0;
        hear_begin(&c->hear);
    }
    if (c->head_bytes + bytes > CALL_HEAD_MAX_BYTES) {
        return false;
    }
    memcpy(c->room + c->head_bytes, line, bytes);
    hear_head(&c->hear, line, bytes);
    c->head_bytes += (uint32_t)bytes;
    head_look(w, c, line, bytes);
    if (line[0] == '\r' || line[0] == '\n') {
        c->head = c->head == CALL_HEAD_INTERIM ? CALL_HEAD_NONE : CALL_HEAD_WHOLE;
    }
    if (c->head == CALL_HEAD_WHOLE) {
        uint32_t p = w->route[c->route].provider;
        answer_throttled(
            w, c,
            throttle_head(&w->provider[p].config->throttle, c->head_status, hear_head_at(&c->hear),
                          c->hear.head_bytes)); /* what becomes of its body does not matter */
    }
    return true;
}

bool answer_data(struct worker *w, struct call *c, const char *bytes, size_t cnt)
{
    /* Counted before it is copied. The room is the cap and the head's, so what passes the first test fits. */
    if (c->body_bytes + cnt > w->shared.tables.route[c->route].response_max_bytes) {
        return false;
    }
    memcpy(c->room + c->head_bytes + c->body_bytes, bytes, cnt);
    hear_body(&c->hear, bytes, cnt);
    c->body_bytes += (uint32_t)cnt;
    return true;
}
