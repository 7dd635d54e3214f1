#include "broker/log.h"
#include "broker/worker.h"
#include "shm/weir_atomic.h"
#include "shm/weir_limit_repair.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#define PROBE_TIMEOUT_NS (2 * WEIR_NS_PER_S)
#define PROBE_AGAIN_NS   (1 * WEIR_NS_PER_S) /* after a failure, and for the second sample */

/* Does any limit of the provider ask that its charges be carried over? */
static bool realign_needed(struct worker *w, uint32_t provider,
                           const struct weir_server_clock *next, uint64_t now_ns)
{
    const struct weir_shm_provider_row *row = &w->shared.tables.provider[provider];
    for (uint32_t i = 0; i < row->limit_cnt; i++) {
        if (weir_limit_realign_needed(&w->shared.tables.limit[row->limit_first + i],
                                      &w->provider[provider].published, next, now_ns)) {
            return true;
        }
    }
    return false;
}

/* Close, carry the charges over, and let the caller open: every permit that is under way is either counted or undoes itself. */
static void realign(struct worker *w, uint32_t provider, const struct weir_server_clock *next)
{
    const struct weir_shm_provider_row *row = &w->shared.tables.provider[provider];
    const struct weir_server_clock *from = &w->provider[provider].published;
    struct weir_server_clock closed = *from;
    closed.state = WEIR_CLOCK_CLOSED;
    weir_server_clock_publish(&w->region->provider[provider], &closed);
    weir_fence_full(); /* CLOSED is visible before the words are read */
    uint64_t now_ns = worker_now(w);
    for (uint32_t i = 0; i < row->limit_cnt; i++) {
        const struct weir_shm_limit_row *l = &w->shared.tables.limit[row->limit_first + i];
        for (uint32_t k = l->word_first; k < l->word_first + l->word_cnt; k++) {
            weir_limit_realign(l, &w->region->word[k], from, next, now_ns);
            weir_limit_realign(l, &w->region->own_word[k], from, next, now_ns);
        }
    }
    board_add(&w->region->provider[provider].clock_realigned, 1);
    log_info("clock_realigned", "s:s, s:I, s:I, s:I", "provider",
             w->provider[provider].config->name, "offset_before_ns", (long long)from->offset_ns,
             "offset_ns", (long long)next->offset_ns, "error_ns", (long long)next->error_ns);
}

void probe_publish(struct worker *w, uint32_t provider, const struct weir_server_clock *next)
{
    struct provider *p = &w->provider[provider];
    if (realign_needed(w, provider, next, worker_now(w))) {
        realign(w, provider, next);
    }
    weir_server_clock_publish(&w->region->provider[provider], next);
    p->published = *next;
}

/* The member `field` of a JSON answer; "a.b" looks inside. 0 when it is not there or not a number. */
static uint64_t field_get(const char *body, size_t bytes, const char *field)
{
    json_error_t error;
    json_t *root = json_loadb(body, bytes, JSON_REJECT_DUPLICATES, &error);
    const json_t *at = root;
    char part[64];
    while (at != NULL && *field != '\0') {
        size_t n = strcspn(field, ".");
        if (n >= sizeof part) {
            at = NULL;
            break;
        }
        memcpy(part, field, n);
        part[n] = '\0';
        at = json_object_get(at, part);
        field += n + (field[n] == '.');
    }
    uint64_t value = 0;
    if (json_is_integer(at) && json_integer_value(at) > 0) {
        value = (uint64_t)json_integer_value(at);
    } else if (json_is_string(at)) {
        value = strtoull(json_string_value(at), NULL, 10); /* some exchanges send numbers as text */
    }
    json_decref(root);
    return value;
}

/* Seconds, milliseconds, microseconds or nanoseconds? Their magnitudes do not overlap before the year 5138. */
static uint64_t unit_of(uint64_t stamp)
{
    if (stamp < UINT64_C(100000000000)) {
        return WEIR_NS_PER_S;
    }
    if (stamp < UINT64_C(100000000000000)) {
        return WEIR_NS_PER_MS;
    }
    return stamp < UINT64_C(100000000000000000) ? WEIR_NS_PER_US : 1;
}

static void sample(struct worker *w, uint32_t provider, const struct call *c)
{
    struct provider *p = &w->provider[provider];
    uint64_t stamp = field_get(c->room + c->head_bytes, c->body_bytes, p->config->clock.field);
    if (stamp == 0) {
        log_warn("clock_sample_refused", "s:s, s:s", "provider", p->config->name, "field_absent",
                 p->config->clock.field);
        return;
    }
    uint64_t unit_ns = unit_of(stamp);
    /* The stamp was made after our request was written and before the first byte of the answer came. */
    enum server_clock_step step =
        server_clock_sample(&p->clock, c->sent_ns, c->first_byte_ns, stamp * unit_ns, unit_ns);
    if (step == SERVER_CLOCK_REFUSED) {
        return;
    }
    struct weir_server_clock next = server_clock_value(&p->clock, p->config->clock.max_jitter_ns);
    board_add(&w->region->provider[provider].clock_samples, 1);
    probe_publish(w, provider, &next);
}

static void on_probe_done(struct worker *w, struct call *c, enum weir_result result)
{
    uint32_t provider = w->route[c->route].provider;
    struct provider *p = &w->provider[provider];
    bool good = result == WEIR_RESULT_DONE && c->transfer.status == 200;
    p->probing = false;
    if (good) {
        sample(w, provider, c);
    }
    uint64_t samples =
        weir_load_relaxed_u64(&w->region->provider[provider].clock_samples); /* relaxed: our own */
    p->probe_at_ns =
        w->now_ns + (good && samples > 1 ? p->config->clock.interval_ns : PROBE_AGAIN_NS);
}

static void probe_start(struct worker *w, uint32_t provider)
{
    struct provider *p = &w->provider[provider];
    struct call *c = call_make(w);
    c->route = p->clock_route;
    c->room_bytes = w->shared.tables.route[c->route].response_max_bytes + CALL_HEAD_MAX_BYTES;
    c->room = malloc(c->room_bytes);
    if (c->room == NULL) {
        abort(); /* as in call_make */
    }
    c->priority =
        WEIR_PRIORITY_CRITICAL; /* no headroom may keep us from learning the time: it is what shrinks the quota */
    c->idempotent = true;
    c->request.submitted_ns = w->now_ns;
    c->taken_ns = w->now_ns;
    c->deadline_ns = w->now_ns + PROBE_TIMEOUT_NS;
    c->parts.path = c->parts.query = c->parts.body = "";
    c->internal_done = on_probe_done;
    p->probing = true;
    dispatch_enter(w, c);
}

static void host_clock(struct worker *w, uint32_t provider)
{
    struct provider *p = &w->provider[provider];
    uint64_t now_ns = worker_now(w);
    struct weir_server_clock next =
        server_clock_host(now_ns, weir_clock_realtime_ns(), p->config->clock.error_ns,
                          p->config->clock.max_jitter_ns);
    int64_t moved = next.offset_ns - p->published.offset_ns;
    uint64_t distance = (uint64_t)(moved < 0 ? -moved : moved);
    if (p->published.state != WEIR_CLOCK_KNOWN || distance > WEIR_NS_PER_MS / 10) {
        probe_publish(w, provider, &next);
    }
    p->probe_at_ns = w->now_ns + WEIR_NS_PER_S;
}

void probe_turn(struct worker *w)
{
    for (uint32_t i = 0; i < w->region->provider_cnt; i++) {
        struct provider *p = &w->provider[i];
        if (p->probing || w->now_ns < p->probe_at_ns || w->draining) {
            continue;
        }
        if (p->config->clock.source == WEIR_CONFIG_CLOCK_HOST) {
            host_clock(w, i);
        } else if (p->clock_route != UINT32_MAX) {
            probe_start(w, i);
        } else {
            p->probe_at_ns = UINT64_MAX;
        }
    }
}
