/*
 * weir_window.h: limit kind fixed_window, counted on the server's clock.
 *
 * Window k of length W holds the server's instants [k*W, (k+1)*W). Two words, chosen by the parity of k, hold {window id:32 | units:32}; a word
 * that bears an older id counts as empty. Ids are the low 32 bits of k and are compared by signed difference.
 *
 * A call whose permit was granted at server time s (our estimate, true within E) is counted by the server in [s - E, s + J + E], where J is the
 * slack until it is written plus the longest way until it is counted. If both ends lie in one window, it is charged to that one,
 * otherwise to both ("straddle", research/rate_limits.md 3.4).
 *
 * Theorem. If every call arrives within J of its permit's clock read and |offset error| <= E, the server counts at most N units per
 * window. Proof: whatever the server counts in window k was charged to k, and charges of k are at most N by the CAS. Condition: J + 2E <= W, so
 * that a call touches at most two windows.
 *
 * Beyond it ("wide") a call granted in window k may fall into k .. k + m, m = floor((J+2E)/W) + 1. It is charged to k and k + 1 all the same, and the
 * cap is floor(N / g): calls that may fall into one window come from m + 1 windows, and each two neighbours among these share a charged
 * word, so g = ceil((m+1)/2) groups of at most the cap make at most N. (The code takes one window more, for the instant at which m grows.)
 * The cap may shrink at any time, by the age of a sample or by a worse one: windows that were charged more stay closed, and a
 * grant never falls behind a window that bears a later id. Where it would grow, charges are carried over (weir_limit_realign_needed).
 *
 * While the offset is unknown, windows are cut by a convention, one is charged, and the cap is floor(N / (2 + ceil(J/W))): a window
 * of the server overlaps at most that many.
 *
 * Windows of a calendar (days of a time zone, months) differ in length. Their edges stand in the tables as server UTC, so nothing else changes: the
 * theorem asks of a window only that it is the server's, and that J + 2E is below the shortest (the row's window_ns). Where the edges end, the
 * last window goes on for ever: it fills up, and the broker says long before that it must be restarted.
 *
 * Memory. A window above 10 min is remembered on disk ahead of its grants (broker/ceiling.h): a grant also needs own charges + cost <= the ceiling of
 * that window, and a ceiling is published only after the journal that holds it was fsynced. So whatever dies, the journal's ceiling is never
 * below what was charged, and a broker that starts with count := ceiling charges every later call on top of all earlier ones: the theorem holds
 * across it, and what is lost is at most the step by which ceilings are raised.
 *
 * Giving back: only while the word still bears the window's id, and never below zero.
 *
 * A concurrent reader sees whole words. A writer that dies between the two words of a straddle leaves one charge too many, never one too
 * few. Legal range: id <= current + 1, units <= 2 N; beyond it the word is damaged. Grants stop at N; a surcharge (weir_limit_add) goes in whether it
 * fits or not. Were it cut off at N, what others give back later would make room that the server does not have; they can give back N at most. A word that is 0 was never used and counts as empty
 * for every window: half of all ids lie "behind" 0.
 *
 * Source: Binance spot API, "Rate limits are accounted by intervals" (windows aligned to the clock, reset to zero).
 */
#ifndef WEIR_WINDOW_H
#define WEIR_WINDOW_H

#include "weir_layout.h"

/* Windows above this are remembered on disk; shorter ones count as spent after an unclean end, which is over soon. */
#define WEIR_WINDOW_LONG_NS (600 * WEIR_NS_PER_S)

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

/* The edges of the windows of a calendar: server UTC, ns, ascending; window calendar_id + i lies between edge i and edge i + 1. */
static inline const uint64_t *weir_window_calendar(const struct weir_shm_limit_row *limit)
{
    return (const uint64_t *)(const void *)((const char *)limit + limit->calendar_off_bytes);
}

/*
 * The window of a calendar at server time `t_ns`: its number, how far into it, how long it is. Before the first edge and behind the last one a window
 * has no end that anybody knows: it counts as one that goes on, so nothing is given anew there. Rare path: the cache holds it.
 */
static inline uint64_t weir_window_calendar_at(const struct weir_shm_limit_row *limit,
                                               uint64_t t_ns, uint64_t *into_ns,
                                               uint64_t *length_ns)
{
    const uint64_t *edge = weir_window_calendar(limit);
    uint32_t low = 0;
    uint32_t high = limit->calendar_cnt - 1;
    *length_ns = UINT64_C(1) << 62;
    if (t_ns < edge[0]) {
        *into_ns = 0;
        *length_ns = edge[0] - t_ns;
        return limit->calendar_id - 1;
    }
    if (t_ns >= edge[high]) {
        *into_ns = t_ns - edge[high];
        return limit->calendar_id + high;
    }
    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;
        *(t_ns >= edge[middle] ? &low : &high) = middle;
    }
    *into_ns = t_ns - edge[low];
    *length_ns = edge[high] - edge[low];
    return limit->calendar_id + low;
}

/* The window at server time `t_ns`, of a calendar or of fixed length. */
static inline uint64_t weir_window_find(const struct weir_shm_limit_row *limit, uint64_t t_ns,
                                        uint64_t *into_ns, uint64_t *length_ns)
{
    if (WEIR_UNLIKELY(limit->calendar_cnt != 0)) {
        return weir_window_calendar_at(limit, t_ns, into_ns, length_ns);
    }
    *length_ns = limit->window_ns;
    return weir_window_at(t_ns, limit->window_ns, limit->window_inverse, into_ns);
}

/*
 * The window that a thread looked up last. Most permits fall into the same one, and a guess that the CPU predicts right lets it load the
 * word before the clock reading has come through two multiplications. Absolute server time, so a moved offset needs no care; emptied with each reload.
 */
struct weir_window_cache {
    uint64_t start_ns;
    uint64_t length_ns; /* 0: nothing cached */
    uint64_t k;
};

/* weir_window_find through the cache. `*into_ns` < cache->length_ns afterwards. */
static inline uint64_t weir_window_find_cached(struct weir_window_cache *cache,
                                               const struct weir_shm_limit_row *limit,
                                               uint64_t t_ns, uint64_t *into_ns)
{
    uint64_t into = t_ns - cache->start_ns;
    if (WEIR_LIKELY(into < cache->length_ns)) {
        *into_ns = into;
        return cache->k;
    }
    cache->k = weir_window_find(limit, t_ns, into_ns, &cache->length_ns);
    cache->start_ns = t_ns - *into_ns;
    return cache->k;
}

/* Where a call granted now falls: what one permit must charge. */
struct weir_window_span {
    uint32_t first;   /* id of the first window charged */
    uint32_t windows; /* 1 or 2 */
    uint32_t cap;     /* units that may be charged in all, before headroom */
    uint64_t left_ns; /* until the first window ends */
    /* weir time at which the span's first window is surely over, for a denial's earliest_ns */
    uint64_t end_ns;
};

/* Error of the server clock at `now_ns`: grows with age, so it keeps growing while the worker is dead. */
static inline uint64_t weir_server_clock_error_ns(const struct weir_server_clock *clock,
                                                  uint64_t now_ns)
{
    uint64_t age = now_ns > clock->sampled_at_ns ? now_ns - clock->sampled_at_ns : 0;
    /* age * ppb / 1e9 without a division: ppb as a Q64 fraction, rounded up; right for ppb < 1e9 */
    return clock->error_ns + weir_mulhi_u64(age, clock->drift_ppb * UINT64_C(18446744074)) +
           (clock->drift_ppb != 0);
}

/* Units that one window may hold for calls whose arrival is known within `width_ns` = J + 2E. */
static inline uint32_t weir_window_cap(const struct weir_shm_limit_row *limit,
                                       const struct weir_server_clock *clock, uint64_t width_ns)
{
    if (WEIR_UNLIKELY(clock->state != WEIR_CLOCK_KNOWN)) {
        return limit->quota_unaligned;
    }
    if (WEIR_LIKELY(width_ns <= limit->window_ns)) {
        return limit->quota;
    }
    uint64_t from = 2 + (width_ns + limit->window_ns - 1) / limit->window_ns;
    return (uint32_t)(limit->quota / ((from + 1) / 2));
}

/* The server time from which a window is looked up: of the earliest arrival, or of a convention. */
static inline uint64_t weir_window_low_ns(const struct weir_server_clock *clock, uint64_t error_ns,
                                          uint64_t now_ns)
{
    uint64_t server_ns = now_ns + (uint64_t)clock->offset_ns;
    return clock->state == WEIR_CLOCK_KNOWN ? server_ns - error_ns : server_ns;
}

/*
 * Fill `span` for a call granted at `now_ns`. `error_ns` from weir_server_clock_error_ns; `cache` is the caller's own (zeroed at first).
 */
static inline void weir_window_span_at(struct weir_window_span *span,
                                       struct weir_window_cache *cache,
                                       const struct weir_shm_limit_row *limit,
                                       const struct weir_server_clock *clock, uint64_t error_ns,
                                       uint64_t now_ns)
{
    bool known = clock->state == WEIR_CLOCK_KNOWN;
    uint64_t width_ns = clock->jitter_ns + 2 * error_ns;
    uint64_t low_ns = weir_window_low_ns(clock, error_ns, now_ns);
    uint64_t into_ns;
    uint64_t k = weir_window_find_cached(cache, limit, low_ns, &into_ns);
    span->first = (uint32_t)k;
    span->windows = known && into_ns + width_ns >= cache->length_ns ? 2 : 1;
    span->cap = weir_window_cap(limit, clock, width_ns);
    span->left_ns = cache->length_ns - into_ns;
    span->end_ns = now_ns + span->left_ns;
}

/*
 * Where calls fall for a while: from some instant on for `length_ns` of weir time, under one publication of the clock, weir_window_span_at says one window,
 * `first`, and the same cap. So whoever is inside need not ask it.
 */
struct weir_window_zone {
    uint64_t length_ns; /* 0: none */
    uint64_t end_ns;    /* of the window, in server time */
    uint32_t first;
    uint32_t cap;
};

/*
 * Make the zone that begins now; length 0 where a call is charged to two windows. Proof that the span is the same up to its end: the error E grows with time, by
 * at most as much as time does, so the earliest arrival never falls back; the latest, now + offset + E + J, is before the window's end until now + E has
 * grown by what is left of it, and E(now + d) <= E(now + left) for all d up to there. The cap changes only with the width, which is looked at for the largest E.
 */
static inline void weir_window_zone_make(struct weir_window_zone *zone,
                                         const struct weir_shm_limit_row *limit,
                                         const struct weir_server_clock *clock, uint64_t now_ns)
{
    struct weir_window_span span;
    uint64_t error_ns = weir_server_clock_error_ns(clock, now_ns);
    weir_window_span_at(&span, &(struct weir_window_cache){0}, limit, clock, error_ns, now_ns);
    uint64_t length_ns = span.windows == 1 ? span.left_ns : 0;
    if (length_ns > 0 && clock->state == WEIR_CLOCK_KNOWN) {
        length_ns -= clock->jitter_ns + 2 * error_ns; /* span.windows 1: there is as much */
        uint64_t last_ns = weir_server_clock_error_ns(clock, now_ns + length_ns);
        uint64_t grown_ns = last_ns - error_ns;
        length_ns = length_ns > grown_ns && clock->jitter_ns + 2 * last_ns <= limit->window_ns
                        ? length_ns - grown_ns
                        : 0;
    }
    *zone = (struct weir_window_zone){.length_ns = length_ns,
                                      .end_ns = weir_window_low_ns(clock, error_ns, now_ns) +
                                                span.left_ns,
                                      .first = span.first,
                                      .cap = span.cap};
}

/*
 * What stays free for the classes above `priority` with `left_ns` of the window to go: released linearly, never below the floor. Where the cap
 * is below the quota (an unknown or wide clock), the headroom shrinks with it: its share stays what was configured.
 */
static inline uint32_t weir_window_reserve(const struct weir_shm_limit_row *limit,
                                           unsigned priority, uint64_t left_ns, uint32_t cap)
{
    if (limit->release_q64[priority] == 0 && limit->reserve_min[priority] == 0) {
        return 0;
    }
    uint64_t reserve = weir_mulhi_u64(left_ns, limit->release_q64[priority]) + 1;
    if (WEIR_UNLIKELY(cap < limit->quota)) {
        reserve = reserve * cap / limit->quota;
    }
    return reserve > limit->reserve_min[priority] ? (uint32_t)reserve
                                                  : limit->reserve_min[priority];
}

/* The most units that words of the limit were ever filled up to: its quota, or that of an earlier configuration. What stands there is never cut below it. */
static inline uint32_t weir_limit_peak(const struct weir_shm_limit_row *row)
{
    return row->quota_peak > row->quota ? row->quota_peak : row->quota;
}

/* Units that a window may bear: a surcharge may overdraw it by as much again as grants can take. `quota`: weir_limit_peak. */
static inline uint64_t weir_window_most(uint32_t quota)
{
    return 2 * (uint64_t)quota;
}

/* Is the word in its legal range when the window `now` is current? */
static inline bool weir_window_legal(uint64_t word, uint32_t now, uint32_t quota)
{
    return (weir_window_diff(weir_window_id(word), now) <= 1 || word == 0) &&
           (uint32_t)word <= weir_window_most(quota);
}

#endif
