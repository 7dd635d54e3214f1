/*
 * usage.c: who took how much of which limit, from the meters of traders and from the broker's own permits to the board. Every 250 ms; a meter is the
 * trader's own word for it.
 */
#include "broker/worker.h"
#include "shm/weir_atomic.h"
#include "shm/weir_window.h"

#include <stdlib.h>
#include <string.h>

/* `recent` counts by windows of at least so long, else by minutes. */
#define WINDOW_MIN_NS WEIR_NS_PER_S
#define MINUTE_NS     (60 * WEIR_NS_PER_S)

bool usage_open(struct worker *w)
{
    w->own_units = calloc(w->region->limit_cnt + 1UL, sizeof *w->own_units);
    w->shared.meter.units = w->own_units;
    return w->own_units != NULL;
}

/* The units that a thread has counted, and what was seen of them. */
static const uint64_t *thread_units(const struct worker *w, const struct client *c, uint32_t t,
                                    uint64_t **seen)
{
    uint64_t off = t * c->meter_stride_bytes +
                   weir_meter_units_off_bytes(w->region->route_cnt, w->region->limit_cnt);
    *seen = (void *)((char *)c->meter_seen + off);
    return (const void *)(c->meter + off);
}

void usage_attach(struct worker *w, struct client *c, bool recovered)
{
    struct weir_shm_client_use *use = &w->region->client_use[c->info.index * w->region->limit_cnt];
    c->brokered_seen = c->brokered + w->region->limit_cnt;
    for (uint32_t t = 0; t < WEIR_THREADS_MAX; t++) { /* what was claimed before is not news */
        const struct weir_shm_meter_head *head =
            (const void *)(c->meter + t * c->meter_stride_bytes);
        c->claim_seen[t] = weir_load_relaxed_u32(&head->claim_cnt); /* relaxed: the thread's own */
    }
    if (!recovered) {
        memset(use, 0, w->region->limit_cnt * sizeof *use);
    }
}

/* When the window began that counts as recent, and how long it is. */
static uint64_t recent_from_ns(const struct worker *w, const struct weir_shm_limit_row *row,
                               uint64_t *length_ns)
{
    uint64_t into_ns;
    if (row->kind == WEIR_LIMIT_FIXED_WINDOW && row->window_ns >= WINDOW_MIN_NS) {
        const struct weir_server_clock *clock = &w->provider[row->provider].published;
        (void)weir_window_find(row, w->now_ns + (uint64_t)clock->offset_ns, &into_ns, length_ns);
    } else {
        *length_ns = MINUTE_NS;
        into_ns = w->now_ns % MINUTE_NS;
    }
    return w->now_ns > into_ns ? w->now_ns - into_ns : 0;
}

static void use_add(const struct worker *w, struct weir_shm_client_use *use,
                    const struct weir_shm_limit_row *row, uint64_t traded, uint64_t brokered)
{
    uint64_t length_ns;
    uint64_t from_ns = recent_from_ns(w, row, &length_ns);
    /* relaxed, all: this thread is the only writer; a measured offset moves a window's beginning a little */
    uint64_t moved_ns = from_ns - weir_load_relaxed_u64(&use->recent_from_ns) + length_ns / 2;
    if (moved_ns >= length_ns) {
        weir_store_relaxed_u64(&use->recent, 0);
        weir_store_relaxed_u64(&use->recent_from_ns, from_ns);
    }
    int64_t recent = (int64_t)(weir_load_relaxed_u64(&use->recent) + traded + brokered);
    weir_store_relaxed_u64(&use->recent, recent > 0 ? (uint64_t)recent : 0);
    board_add(&use->traded, traded);
    board_add(&use->brokered, brokered);
}

void usage_fold(struct worker *w, struct client *c)
{
    const struct region *r = w->region;
    struct weir_shm_client_use *use = &r->client_use[c->info.index * r->limit_cnt];
    for (uint32_t l = 0; l < r->limit_cnt && l < w->shared.tables.limit_cnt; l++) {
        uint64_t traded = 0;
        for (uint32_t t = 0; t < WEIR_THREADS_MAX; t++) {
            uint64_t *seen;
            const uint64_t *units = thread_units(w, c, t, &seen);
            uint64_t now = weir_load_relaxed_u64(&units[l]); /* relaxed: the thread's own count */
            traded += now - seen[l];
            seen[l] = now;
        }
        uint64_t brokered = c->brokered[l] - c->brokered_seen[l];
        if ((traded | brokered) != 0) {
            use_add(w, &use[l], &w->shared.tables.limit[l], traded, brokered);
        }
        c->brokered_seen[l] = c->brokered[l];
    }
}
