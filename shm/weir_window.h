/*
 * weir_window.h: limit kind fixed_window, counted on the server's clock.
 *
 * Window k of length W holds the server's instants [k*W, (k+1)*W). Two words, chosen by the parity of k, hold {window id:32 | units:32}; a word
 * that bears an older id counts as empty. Ids are the low 32 bits of k and are compared by signed difference.
 *
 * A call whose permit was granted at server time s (our estimate, true within E) is counted by the server in [s - E, s + J + E], where J is the
 * slack until it is written plus the spread of the delay until it is counted. If both ends lie in one window, it is charged to that one,
 * otherwise to both ("straddle", research/rate_limits.md 3.4).
 *
 * Theorem. If every call arrives within J of its permit's clock read and |offset error| <= E, the server counts at most N units per
 * window. Proof: whatever the server counts in window k was charged to k, and charges of k are at most N by the CAS. Condition: J + 2E <= W, so
 * that a call touches at most two windows. Otherwise, and while the offset is unknown, only one local window is charged and the quota is
 * floor(N / (2 + ceil((J+2E)/W))): a server window overlaps at most that many local ones.
 *
 * When E grows past the condition, nothing has to be done: the window charged is then that of the earliest arrival, so a window that was
 * charged to N before stays closed, and each later one gets at most its share. When E shrinks back below it, calls may be under way into windows
 * that they were not charged to: the worker re-aligns (weir_limit_realign_needed).
 *
 * Giving back: only while the word still bears the window's id, and never below zero.
 *
 * A concurrent reader sees whole words. A writer that dies between the two words of a straddle leaves one charge too many, never one too
 * few. Legal range: id <= current + 1; beyond it the word is damaged. A word that is 0 was never used and counts as empty
 * for every window: half of all ids lie "behind" 0.
 *
 * Source: Binance spot API, "Rate limits are accounted by intervals" (windows aligned to the clock, reset to zero).
 */
#ifndef WEIR_WINDOW_H
#define WEIR_WINDOW_H

#include "weir_layout.h"

static inline uint64_t weir_window_word(uint32_t window, uint32_t units)
{
    return (uint64_t)window << 32 | units;
}

static inline uint32_t weir_window_id(uint64_t word)
{
    return (uint32_t)(word >> 32);
}

/* a - b for ids that wrap. */
static inline int32_t weir_window_diff(uint32_t a, uint32_t b)
{
    return (int32_t)(a - b);
}

/* Units that `word` holds for window `k`; `*ahead` says that it already bears a later window. */
static inline uint32_t weir_window_units(uint64_t word, uint32_t k, bool *ahead)
{
    int32_t diff = weir_window_diff(weir_window_id(word), k);
    *ahead = diff > 0 && word != 0;
    return diff == 0 ? (uint32_t)word : 0;
}

/* floor(2^64 / W); W >= 2. */
static inline uint64_t weir_window_inverse(uint64_t window_ns)
{
    return (uint64_t)(((unsigned __int128)1 << 64) / window_ns);
}

/* `t_ns` / W and `t_ns` mod W by one multiplication: the estimate is low by one at most. */
static inline uint64_t weir_window_at(uint64_t t_ns, uint64_t window_ns, uint64_t inverse,
                                      uint64_t *into_ns)
{
    uint64_t k = weir_mulhi_u64(t_ns, inverse);
    uint64_t rest = t_ns - k * window_ns;
    while (rest >= window_ns) {
        rest -= window_ns;
        k++;
    }
    *into_ns = rest;
    return k;
}

/* Where a call granted now falls: what one permit must charge. */
struct weir_window_span {
    uint32_t first;   /* id of the first window charged */
    uint32_t windows; /* 1 or 2 */
    uint32_t cap;     /* units that may be charged in all, before headroom */
    uint64_t left_ns; /* until the first window ends */
    uint64_t
        end_ns; /* weir time at which the span's first window is surely over, for a denial's earliest_ns */
};

/* Error of the server clock at `now_ns`: grows with age, so it keeps growing while the worker is dead. */
static inline uint64_t weir_server_clock_error_ns(const struct weir_server_clock *clock,
                                                  uint64_t now_ns)
{
    uint64_t age = now_ns > clock->sampled_at_ns ? now_ns - clock->sampled_at_ns : 0;
    return clock->error_ns + weir_muldiv_u64(age, clock->drift_ppb, WEIR_NS_PER_S);
}

/*
 * Fill `span` for a call granted at `now_ns`. `error_ns` from weir_server_clock_error_ns. Cost: two multiplications.
 */
static inline void weir_window_span_at(struct weir_window_span *span,
                                       const struct weir_shm_limit_row *limit,
                                       const struct weir_server_clock *clock, uint64_t error_ns,
                                       uint64_t now_ns)
{
    uint64_t width_ns = clock->jitter_ns + 2 * error_ns;
    uint64_t server_ns = now_ns + (uint64_t)clock->offset_ns;
    uint64_t into_ns;
    bool known = clock->state == WEIR_CLOCK_KNOWN;
    uint64_t low_ns = known ? server_ns - error_ns : server_ns;
    uint64_t k = weir_window_at(low_ns, limit->window_ns, limit->window_inverse, &into_ns);
    span->first = (uint32_t)k;
    span->left_ns = limit->window_ns - into_ns;
    if (WEIR_LIKELY(known && width_ns <= limit->window_ns)) {
        span->windows = into_ns + width_ns >= limit->window_ns ? 2 : 1;
        span->cap = limit->quota;
    } else {
        span->windows = 1;
        span->cap = limit->quota_unaligned;
        if (known) {
            uint64_t overlaps = 2 + (width_ns + limit->window_ns - 1) / limit->window_ns;
            span->cap = (uint32_t)(limit->quota / overlaps);
        }
    }
    span->end_ns = now_ns + span->left_ns;
}

/* What stays free for the classes above `priority` with `left_ns` of the window to go: released linearly, never below the floor. */
static inline uint32_t weir_window_reserve(const struct weir_shm_limit_row *limit,
                                           unsigned priority, uint64_t left_ns)
{
    if (limit->release_q64[priority] == 0 && limit->reserve_min[priority] == 0) {
        return 0;
    }
    uint64_t reserve = weir_mulhi_u64(left_ns, limit->release_q64[priority]) + 1;
    return reserve > limit->reserve_min[priority] ? (uint32_t)reserve
                                                  : limit->reserve_min[priority];
}

/* Is the word in its legal range when the window `now` is current? */
static inline bool weir_window_legal(uint64_t word, uint32_t now, uint32_t quota)
{
    return (weir_window_diff(weir_window_id(word), now) <= 1 || word == 0) &&
           (uint32_t)word <= quota;
}

#endif
