#include "weir_straddle.h"

/* The error that covers every instant from `from_ns` to `now_ns`: a sample taken meanwhile has drifted backwards too. */
static uint64_t error_over(const struct weir_server_clock *clock, uint64_t from_ns, uint64_t now_ns)
{
    struct weir_server_clock older = *clock;
    older.sampled_at_ns = weir_min_u64(clock->sampled_at_ns, from_ns);
    return weir_server_clock_error_ns(&older, now_ns);
}

bool weir_straddle_window(const struct weir_shm_limit_row *row,
                          const struct weir_server_clock *clock,
                          const struct weir_straddle_span *span, uint64_t now_ns, uint32_t *window)
{
    if (row->kind != WEIR_LIMIT_FIXED_WINDOW || clock->state != WEIR_CLOCK_KNOWN ||
        span->from_ns == 0 || span->to_ns < span->from_ns || now_ns < span->to_ns) {
        return false;
    }
    uint64_t error_ns = error_over(clock, span->from_ns, now_ns);
    if (error_ns > row->window_ns || clock->jitter_ns + 2 * error_ns > row->window_ns) {
        return false;
    }
    uint64_t low_ns = span->from_ns + (uint64_t)clock->offset_ns - error_ns;
    uint64_t high_ns = span->to_ns + (uint64_t)clock->offset_ns + error_ns;
    if (high_ns - low_ns >= row->window_ns) {
        return false;
    }
    if (span->stamp_utc_ns != 0 &&
        (span->stamp_utc_ns > high_ns || span->stamp_utc_ns + span->granularity_ns < low_ns)) {
        return false;
    }
    uint64_t into_ns;
    uint64_t length_ns;
    uint64_t k = weir_window_find(row, low_ns, &into_ns, &length_ns);
    *window = (uint32_t)k;
    return into_ns + (high_ns - low_ns) < length_ns;
}

/* One charge. Returns whether a window was given back. */
static bool charge_give(struct weir_permit_view *view, const struct weir_permit *permit,
                        struct weir_charge *c, const struct weir_straddle_span *span,
                        uint64_t now_ns)
{
    if (c->kind != WEIR_LIMIT_FIXED_WINDOW || c->windows != 2 || c->units == 0 ||
        c->limit >= view->tables.limit_cnt || c->word >= view->bounds.word_cnt) {
        return false;
    }
    const struct weir_shm_limit_row *row = &view->tables.limit[c->limit];
    struct weir_limit_epoch epoch = {.now = &view->provider[row->provider].clock_epoch};
    epoch.seen = weir_load_acquire_u64(epoch.now); /* pair:epoch A */
    uint64_t seq;
    const struct weir_server_clock *clock = weir_permit_server_clock(view, row->provider, &seq);
    uint32_t counted;
    if ((uint16_t)epoch.seen != permit->clock_epoch || clock == NULL ||
        !weir_straddle_window(row, clock, span, now_ns, &counted) ||
        (counted != c->window && counted != c->window + 1)) {
        return false;
    }
    struct weir_charge other = *c;
    other.windows = 1;
    other.window = counted == c->window ? c->window + 1 : c->window;
    c->windows = 1;
    c->window = counted;
    const struct weir_limit_place at = {.row = row, .word = &view->word[c->word]};
    const struct weir_limit_grant grant = {
        .granted_at_ns = permit->granted_at_ns, .now_ns = now_ns, .epoch = epoch};
    if (row->share_cnt > 0 && view->member != NULL) {
        const struct weir_limit_place share = {.row = row,
                                               .cell = weir_limit_cells(view->cell, row, c->word)};
        weir_share_give(&share, &other, other.units, view->member[c->limit], permit->priority,
                        permit->granted_at_ns, now_ns);
    }
    if (weir_limit_give(&at, &other, &grant)) {
        weir_permit_bell(&view->pause[row->provider]);
    }
    return true;
}

uint32_t weir_straddle_give(struct weir_permit_view *view, struct weir_permit *permit,
                            const struct weir_straddle_span *span)
{
    uint32_t given = 0;
    if ((permit->state != WEIR_PERMIT_GRANTED && permit->state != WEIR_PERMIT_SENT) ||
        permit->charge_cnt > WEIR_PERMIT_LIMITS_MAX || weir_permit_refresh(view) != WEIR_OK ||
        permit->tables_generation != (uint16_t)(view->tables.word >> 32)) {
        return 0;
    }
    uint64_t now_ns = weir_clock_now(&view->time);
    for (uint32_t i = 0; i < permit->charge_cnt; i++) {
        if (charge_give(view, permit, &permit->charge[i], span, now_ns)) {
            given |= 1U << i;
        }
    }
    return given;
}
