#include "weir_overdue.h"

#include "weir_cells.h"

/* One charge. `fresh`: what it names belongs to a timeline that is over. */
static bool charge_move(struct weir_permit_view *view, struct weir_charge *c,
                        const struct weir_server_clock *clock, const struct weir_limit_epoch *epoch,
                        bool fresh, uint64_t now_ns, uint64_t ahead_ns)
{
    const struct weir_shm_limit_row *row = &view->tables.limit[c->limit];
    uint64_t error_ns = weir_server_clock_error_ns(clock, now_ns);
    uint64_t low_ns = now_ns + (uint64_t)clock->offset_ns - error_ns;
    uint64_t into_ns;
    uint64_t length_ns;
    uint64_t first = weir_window_find(row, low_ns, &into_ns, &length_ns);
    /* Within one window's length, the shortest of them: at most two. */
    if (error_ns > row->window_ns || 2 * error_ns + ahead_ns >= row->window_ns) {
        return false;
    }
    uint32_t cnt = into_ns + 2 * error_ns + ahead_ns >= length_ns ? 2 : 1;
    const struct weir_limit_place at = {.row = row, .word = &view->word[c->word]};
    bool changed = false;
    for (uint32_t k = (uint32_t)first; k != (uint32_t)first + cnt; k++) {
        if (fresh || k - c->window >= (uint32_t)c->windows) {
            (void)weir_limit_window_add(&at, k, c->units, epoch);
            changed = true;
        }
    }
    if (changed) {
        c->window = (uint32_t)first;
        c->windows = (uint8_t)cnt;
    }
    return changed;
}

/* The units of one sliding window, as if they were granted now. */
static bool sliding_renew(struct weir_permit_view *view, const struct weir_permit *permit,
                          struct weir_charge *c, uint64_t now_ns)
{
    if (c->units == 0 || c->limit >= view->tables.limit_cnt || c->word >= view->bounds.word_cnt) {
        return false;
    }
    const struct weir_shm_limit_row *row = &view->tables.limit[c->limit];
    if (row->kind != WEIR_LIMIT_SLIDING_WINDOW || c->word - row->word_first >= row->word_cnt) {
        return false;
    }
    return weir_sliding_renew(row, &view->word[c->word], weir_limit_cells(view->cell, row, c->word),
                              c, permit->stamp_ns, now_ns);
}

uint32_t weir_overdue_charge(struct weir_permit_view *view, struct weir_permit *permit,
                             uint64_t ahead_ns)
{
    uint32_t changed = 0;
    bool stamped = false;
    if ((permit->state != WEIR_PERMIT_GRANTED && permit->state != WEIR_PERMIT_SENT) ||
        permit->charge_cnt > WEIR_PERMIT_LIMITS_MAX || weir_permit_refresh(view) != WEIR_OK ||
        permit->tables_generation != (uint16_t)(view->tables.word >> 32)) {
        return 0;
    }
    uint64_t now_ns = weir_clock_now(&view->time);
    uint16_t epoch_seen = permit->clock_epoch;
    for (uint32_t i = 0; i < permit->charge_cnt; i++) {
        struct weir_charge *c = &permit->charge[i];
        if (c->kind == WEIR_LIMIT_SLIDING_WINDOW && sliding_renew(view, permit, c, now_ns)) {
            changed |= 1U << i;
            stamped = true;
        }
        if (c->kind != WEIR_LIMIT_FIXED_WINDOW || c->units == 0 || c->windows == 0 ||
            c->limit >= view->tables.limit_cnt || c->word >= view->bounds.word_cnt) {
            continue;
        }
        uint32_t provider = view->tables.limit[c->limit].provider;
        struct weir_limit_epoch epoch = {.now = &view->provider[provider].clock_epoch};
        epoch.seen = weir_load_acquire_u64(epoch.now); /* pair:epoch A */
        uint64_t seq;
        const struct weir_server_clock *clock = weir_permit_server_clock(view, provider, &seq);
        bool fresh = (uint16_t)epoch.seen != permit->clock_epoch;
        if (clock == NULL || clock->state != WEIR_CLOCK_KNOWN) {
            continue;
        }
        if (charge_move(view, c, clock, &epoch, fresh, now_ns, ahead_ns)) {
            changed |= 1U << i;
        } else if (fresh) {
            c->windows = 0; /* its ids are the old timeline's: nothing may be taken back by them */
        }
        epoch_seen = (uint16_t)epoch.seen;
    }
    permit->stamp_ns =
        stamped ? now_ns : permit->stamp_ns; /* of all its cells: they are renewed together */
    permit->clock_epoch = epoch_seen;
    return changed;
}
