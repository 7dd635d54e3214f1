#include "broker/log.h"
#include "broker/worker.h"
#include "shm/weir_atomic.h"
#include "shm/weir_limit_repair.h"

#include <stdlib.h>
#include <string.h>

#define PROBE_TIMEOUT_NS (2 * WEIR_NS_PER_S)
#define PROBE_AGAIN_NS   (1 * WEIR_NS_PER_S) /* after a failure, and for the second sample */
#define PROBE_DOUBT_NS \
    (WEIR_NS_PER_S / 10) /* after an answer that disagrees: a second one decides */

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
    reply_realigned(w, provider);
    ceiling_realigned(w, provider, next, now_ns);
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
    p->published_at_ns = worker_now(w);
    trial_clocks(w);
}

static void on_probe_done(struct worker *w, struct call *c, enum weir_result result)
{
    uint32_t provider = w->route[c->route].provider;
    struct provider *p = &w->provider[provider];
    bool good = result == WEIR_RESULT_DONE && c->transfer.status == 200;
    p->probing = false; /* what its answer says was taken with that of every answer (reply.c) */
    uint64_t samples =
        weir_load_relaxed_u64(&w->region->provider[provider].clock_samples); /* relaxed: our own */
    p->probe_at_ns = w->now_ns + (p->clock.doubted      ? PROBE_DOUBT_NS
                                  : good && samples > 1 ? p->config->clock.interval_ns
                                                        : PROBE_AGAIN_NS);
}

static void probe_start(struct worker *w, uint32_t provider)
{
    struct provider *p = &w->provider[provider];
    uint32_t room_bytes =
        w->shared.tables.route[p->clock_route].response_max_bytes + CALL_HEAD_MAX_BYTES;
    char *room = malloc(room_bytes);
    struct call *c = room != NULL ? call_make(w) : NULL;
    if (c == NULL) { /* the clock's error grows meanwhile, and so do all bounds */
        free(room);
        p->probe_at_ns = w->now_ns + PROBE_AGAIN_NS;
        return;
    }
    c->route = p->clock_route;
    c->room_bytes = room_bytes;
    c->room = room;
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
    struct weir_server_clock next = server_clock_host(
        now_ns, weir_clock_realtime_ns(), p->config->clock.error_ns, clock_jitter_ns(p));
    int64_t moved = next.offset_ns - p->published.offset_ns;
    uint64_t distance = (uint64_t)(moved < 0 ? -moved : moved);
    if (p->published.state != WEIR_CLOCK_KNOWN || distance > WEIR_NS_PER_MS / 10 ||
        next.jitter_ns != p->published.jitter_ns) {
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
