#include "broker/hush.h"
#include "broker/last_good.h"
#include "broker/log.h"
#include "broker/pause.h"
#include "broker/worker.h"
#include "shm/weir_atomic.h"
#include "shm/weir_limit_repair.h"
#include "shm/weir_weave.h"

#define TICK_NS (10 * WEIR_NS_PER_MS) /* audits, views, sweeps */
#define FOLD_NS (250 * WEIR_NS_PER_MS)

void keeper_lease(struct worker *w, uint64_t until_ns)
{
    WEIR_WEAVE("lease:worker");
    weir_store_release_u64(&w->region->gate->lease_until_ns,
                           until_ns); /* readers compare it with their clock: no partner */
}

/* Show one limit to monitors. */
static void view_show(const struct weir_limit_place *at, struct weir_shm_limit_view *view,
                      uint64_t now_ns)
{
    uint64_t word[2] = {weir_load_relaxed_u64(&at->word->word[0]), /* relaxed: for display */
                        weir_load_relaxed_u64(&at->word->word[1])};
    if (weir_limit_in_cells(at->row)) {
        word[0] = weir_limit_cells_used(at, now_ns, &word[1]);
    }
    for (unsigned p = 0; p < 2; p++) {
        weir_store_relaxed_u64(&view->word[p], word[p]); /* relaxed: for display */
    }
}

/* Set damaged limit words to spent, and show all of them to monitors. */
static void audit(struct worker *w)
{
    struct region *r = w->region;
    for (uint32_t i = 0; i < w->shared.tables.limit_cnt; i++) {
        const struct weir_shm_limit_row *l = &w->shared.tables.limit[i];
        const struct weir_server_clock *server = &w->provider[l->provider].published;
        for (uint32_t k = l->word_first; k < l->word_first + l->word_cnt; k++) {
            const struct weir_limit_place at = {l, &r->word[k], weir_limit_cells(r->cell, l, k)};
            const struct weir_limit_place own = {l, &r->own_word[k],
                                                 weir_limit_cells(r->own_cell, l, k)};
            enum weir_limit_damage d = weir_limit_audit(&at, &own, server, &w->shared.time);
            if (d != WEIR_LIMIT_SOUND) {
                board_add(&r->worker->limit_damaged, 1);
                board_add(&r->limit_stats[i].damaged, 1);
                log_warn("limit_damaged", "s:s, s:i, s:i", "limit", l->name, "scope_value",
                         (int)(k - l->word_first), "damage", (int)d);
            }
            view_show(&at, &r->limit_view[k], w->now_ns);
        }
    }
    weir_store_relaxed_u64(&r->worker->limit_view_ns, w->now_ns); /* relaxed: for display */
}

static void clients_look(struct worker *w)
{
    for (uint32_t i = 0; i < WEIR_CLIENTS_MAX; i++) {
        struct client *c = &w->client[i];
        if (!c->live) {
            if (c->info.slot_cnt > 0) {
                client_retry(w, c);
            }
            continue;
        }
        bool damaged = (w->sweep_domains >> c->info.domain & 1U) != 0;
        /* relaxed: a hint */
        if (!c->gone &&
            (damaged || weir_load_relaxed_u32(&c->wake->submitted) != c->submitted_seen)) {
            intake_sweep(w, c);
        }
        if (c->live && c->in_flight > 0) {
            weir_store_relaxed_u64(&w->region->client[i].in_flight,
                                   c->in_flight); /* relaxed: statistics */
            dispatch_cancel_flags(w, c);
        } else if (c->live) {
            weir_store_relaxed_u64(&w->region->client[i].in_flight, 0); /* relaxed: statistics */
        }
    }
    w->sweep_domains = 0;
}

static void endpoints_show(struct worker *w)
{
    for (uint32_t i = 0; i < w->region->endpoint_cnt; i++) {
        const struct endpoint *e = &w->endpoint[i];
        struct weir_shm_endpoint *b = &w->region->endpoint[e->index];
        weir_store_relaxed_u32(&b->in_flight, e->in_flight); /* relaxed: statistics, all three */
        weir_store_relaxed_u32(&b->connections, e->target.connections);
        weir_store_relaxed_u64(&b->connects, e->target.connects);
    }
}

static void tick(struct worker *w)
{
    audit(w);
    units_sweep(w);
    pause_turn(w);
    reply_tick(w);
    pace_turn(w);
    trial_turn(w);
    audit_turn(w);
    dispatch_expire(w);
    calls_tick(w);
    hush_tick(w);
    clients_look(w);
    endpoint_turn(w);
    endpoints_show(w);
    choose_turn(w);
    check_turn(w);
    last_good_turn(w);
    uint64_t repaired = 0;
    for (uint32_t d = 0; d < w->region->domain_cnt; d++) {
        for (unsigned p = 0; p < WEIR_PRIORITY_CNT; p++) {
            repaired += w->ring[d][p].tail_repaired + w->ring[d][p].cell_poisoned;
        }
    }
    weir_store_relaxed_u64(&w->region->worker->ring_repaired,
                           repaired); /* relaxed: statistics, all three */
    weir_store_relaxed_u32(&w->region->worker->in_flight, w->call_cnt);
    weir_store_relaxed_u64(&w->region->worker->heartbeat_ns, w->now_ns);
}

void keeper_turn(struct worker *w)
{
    if (w->now_ns >= w->second_at_ns) {
        weir_clock_anchor_publish(&w->clock_source, w->region->clock);
        keeper_lease(w, w->now_ns + LEASE_NS);
        choose_second(w);
        /* The first anchor has no rate yet; the second follows at once, the others every second. */
        w->second_at_ns =
            w->now_ns + (w->clock_source.last.mult_q32 == 0 && w->clock_source.tsc_usable
                             ? TICK_NS
                             : WEIR_NS_PER_S);
    }
    if (w->now_ns >= w->tick_at_ns) {
        tick(w);
        w->tick_at_ns = w->now_ns + TICK_NS;
    }
    if (w->now_ns >= w->fold_at_ns) {
        if (w->control < 0) {
            clients_closed(w);
        }
        for (uint32_t i = 0; i < WEIR_CLIENTS_MAX; i++) {
            if (w->client[i].live) {
                client_fold_meters(w, &w->client[i]);
            }
        }
        w->fold_at_ns = w->now_ns + FOLD_NS;
    }
    worker_due(w, w->tick_at_ns);
}
