/*
 * units.c: whose units in flight come back (shm/weir_concurrency.h). A trader's return when it dies or leaves, ours when a worker before us died.
 */
#include "broker/log.h"
#include "broker/worker.h"
#include "shm/weir_limit_repair.h"

/*
 * Does whoever holds this unit live? Of clients that we do not know nothing is said: one may just be attaching. An index that is live belongs to
 * nobody else, so another life under it is over.
 */
static bool owner_lives(uint64_t cell, const void *arg)
{
    const struct worker *w = arg;
    uint32_t owner = weir_owner_of(cell);
    if ((owner & WEIR_OWNER_WORKER) != 0) {
        return owner == weir_owner_of(w->shared.owner);
    }
    if (owner == 0 || owner > WEIR_CLIENTS_MAX) {
        return false; /* nobody: scribbled */
    }
    const struct client *c = &w->client[owner - 1];
    return !c->live || (!c->gone && weir_owner_life(cell) == c->unit_life);
}

void units_sweep(struct worker *w)
{
    struct region *r = w->region;
    for (uint32_t i = 0; i < w->shared.tables.limit_cnt; i++) {
        const struct weir_shm_limit_row *l = &w->shared.tables.limit[i];
        uint32_t gone = 0;
        if (l->kind != WEIR_LIMIT_CONCURRENCY) {
            continue;
        }
        for (uint32_t k = l->word_first; k < l->word_first + l->word_cnt; k++) {
            uint64_t now_ns = worker_now(w);
            gone += weir_units_reap(l, weir_limit_cells(r->cell, l, k), now_ns, owner_lives, w);
            (void)weir_units_reap(l, weir_limit_cells(r->own_cell, l, k), now_ns, owner_lives, w);
        }
        if (gone > 0) {
            board_add(&r->limit_stats[i].units_reaped, gone);
            weir_permit_bell(&r->pause[l->provider]);
            log_info("units_reaped", "s:s, s:i", "limit", l->name, "units", (int)gone);
        }
    }
}
