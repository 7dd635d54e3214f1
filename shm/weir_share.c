/*
 * weir_share.c: who may take what a limit has. All accesses to the words of shares are here (pair:share).
 */
#include "weir_share.h"

#include "weir_weave.h"

#include <string.h>

#define WHOLE_PPM 1000000U

/* How often a word is tried because somebody else charged it: then this call goes uncounted. */
#define TAKE_TRIES 16

/* One limit word as a call finds it. Units for windows, ns for buckets. */
struct judge {
    const struct weir_share_ask *ask;
    const struct weir_shm_share_row *entry;
    uint64_t cap;                   /* window: units that it may hold */
    uint64_t used;                  /* window: units; bucket: its TAT */
    uint64_t others;                /* bucket: what others use, in ns */
    uint64_t depth;                 /* bucket: of which shares are parts */
    uint64_t need;                  /* of this call */
    uint64_t have[WEIR_SHARES_MAX]; /* window: units; bucket: TAT */
};

static uint64_t part_of(uint64_t whole, uint32_t ppm)
{
    return (uint64_t)((unsigned __int128)whole * ppm / WHOLE_PPM);
}

/* What a part of the rate takes for what the whole does in `ns`; rounded up, so that part_of gives no less back. */
static uint64_t stretch(uint64_t ns, uint32_t ppm)
{
    unsigned __int128 wide = ((unsigned __int128)ns * WHOLE_PPM + ppm - 1) / ppm;
    return wide > UINT64_MAX / 4 ? UINT64_MAX / 4 : (uint64_t)wide;
}

uint64_t weir_share_depth_ns(const struct weir_shm_limit_row *row,
                             const struct weir_shm_share_row *entry, uint32_t cnt)
{
    uint64_t high_ns = row->tolerance_ns[WEIR_PRIORITY_HIGH];
    uint64_t floors_ns = 0;
    for (uint32_t e = 0; e < cnt; e++) {
        floors_ns += entry[e].kind == WEIR_SHARE_CLASS ? part_of(high_ns, entry[e].part_ppm) : 0;
    }
    return weir_min_u64(row->tolerance_ns[WEIR_PRIORITY_BACKGROUND], high_ns - floors_ns);
}

static bool is_own(const struct judge *j, uint32_t e)
{
    return j->entry[e].kind == WEIR_SHARE_CLASS ? j->entry[e].priority == j->ask->priority
                                                : e + 1 == j->ask->member;
}

/* ---------------------------------------------------------------------------------------------- windows */

static uint64_t window_claim(const struct judge *j, uint32_t e, uint64_t whole, uint64_t left_ns)
{
    const struct weir_shm_limit_row *row = j->ask->row;
    uint64_t part = part_of(whole, j->entry[e].part_ppm);
    uint64_t unused = part > j->have[e] ? part - j->have[e] : 0;
    if (left_ns >= row->window_ns) {
        return unused;
    }
    return weir_min_u64(unused, (uint64_t)((unsigned __int128)part * left_ns / row->window_ns));
}

/* The claims of others of one sort. */
static uint64_t window_claims(const struct judge *j, bool floors, uint64_t whole, uint64_t left_ns)
{
    uint64_t sum = 0;
    for (uint32_t e = 0; e < j->ask->row->share_cnt; e++) {
        if ((j->entry[e].kind == WEIR_SHARE_CLASS) == floors && !is_own(j, e)) {
            sum += window_claim(j, e, whole, left_ns);
        }
    }
    return sum;
}

/* Does the call stay within the part of an entry of this sort that it belongs to? */
static bool window_within(const struct judge *j, bool floors, uint64_t whole)
{
    for (uint32_t e = 0; e < j->ask->row->share_cnt; e++) {
        if ((j->entry[e].kind == WEIR_SHARE_CLASS) == floors && is_own(j, e) &&
            j->have[e] + j->need <= part_of(whole, j->entry[e].part_ppm)) {
            return true;
        }
    }
    return false;
}

static bool window_fits(const struct judge *j, uint64_t left_ns)
{
    const struct weir_shm_limit_row *row = j->ask->row;
    if (window_within(j, true, j->cap)) {
        return true;
    }
    uint64_t high = weir_window_reserve(row, WEIR_PRIORITY_HIGH, left_ns, (uint32_t)j->cap);
    uint64_t own = weir_window_reserve(row, j->ask->priority, left_ns, (uint32_t)j->cap);
    uint64_t kept = weir_max_u64(own, high + window_claims(j, true, j->cap, left_ns));
    uint64_t whole = j->cap > kept ? j->cap - kept : 0;
    uint64_t claims = window_within(j, false, whole) ? 0 : window_claims(j, false, whole, left_ns);
    return j->used + j->need + claims <= whole;
}

/* A promise is late by one part in 2^20 of what is looked through at most, never early. */
#define PROMISE_SHIFT 20

/* How long after the instant with `left_ns` to go it fits; the whole window where it does not before it ends. */
static uint64_t window_wait(const struct judge *j, uint64_t left_ns)
{
    uint64_t no = 0;
    uint64_t yes = left_ns;
    if (window_fits(j, left_ns)) {
        return 0;
    }
    while (yes - no > (left_ns >> PROMISE_SHIFT) + 1) { /* halves it 21 times at most */
        uint64_t middle = no + (yes - no) / 2;
        *(window_fits(j, left_ns - middle) ? &yes : &no) = middle;
    }
    return yes;
}

/* Fill what window `k` holds. False: a word is ahead of our clock. */
static bool window_read(struct judge *j, const struct weir_window_span *span, uint32_t k)
{
    const struct weir_share_ask *ask = j->ask;
    uint64_t foreign = weir_load_relaxed_u64(&ask->foreign->word[k & 1]); /* relaxed: an estimate */
    bool ahead;
    j->used = weir_window_units(weir_load_relaxed_u64(&ask->word->word[k & 1]), k,
                                &ahead); /* relaxed: the CAS of the take judges */
    j->used += weir_window_id(foreign) == k ? (uint32_t)foreign : 0;
    j->cap = span->cap;
    for (uint32_t e = 0; e < ask->row->share_cnt; e++) {
        uint64_t word = weir_load_relaxed_u64(
            &ask->cell[WEIR_SHARE_CELLS * e +
                       (k & 1)]); /* relaxed: fairness, one call off at most */
        j->have[e] = weir_window_id(word) == k ? (uint32_t)word : 0;
    }
    return !ahead;
}

/* The first instant in a window that nobody has used yet. */
static uint64_t window_fresh(struct judge *j, uint64_t from_ns)
{
    j->used = 0;
    memset(j->have, 0, sizeof j->have);
    uint64_t wait_ns = window_wait(j, j->ask->row->window_ns);
    return wait_ns < j->ask->row->window_ns || window_fits(j, 0) ? from_ns + wait_ns : UINT64_MAX;
}

static enum weir_limit_verdict window_judge(struct judge *j, const struct weir_limit_time *time,
                                            unsigned *judged, uint64_t *earliest_ns)
{
    struct weir_window_span span;
    weir_window_span_at(&span, &(struct weir_window_cache){0}, j->ask->row, time->server,
                        time->error_ns, time->now_ns);
    bool floor = true;
    for (uint32_t w = 0; w < span.windows; w++) {
        uint64_t left_ns = w == 0 ? span.left_ns : j->ask->row->window_ns;
        if (!window_read(j, &span, span.first + w)) {
            return WEIR_LIMIT_AGAIN;
        }
        floor = floor && window_within(j, true, j->cap);
        uint64_t wait_ns = window_wait(j, left_ns);
        if (wait_ns > 0) {
            uint64_t from_ns = w == 0 ? time->now_ns : span.end_ns;
            *earliest_ns = wait_ns < left_ns || window_fits(j, 0)
                               ? from_ns + wait_ns
                               : window_fresh(j, from_ns + left_ns);
            return WEIR_LIMIT_NO;
        }
    }
    *judged = floor ? WEIR_PRIORITY_HIGH : j->ask->priority;
    return WEIR_LIMIT_YES;
}

/* ---------------------------------------------------------------------------------------------- buckets */

/* How far an entry's TAT stands ahead of `now_ns`, once idleness is folded back into it. */
static uint64_t bucket_ahead(const struct weir_shm_limit_row *row,
                             const struct weir_shm_share_row *entry, uint64_t tat, uint64_t now_ns,
                             uint64_t depth_ns)
{
    if (tat > now_ns) {
        return tat - now_ns;
    }
    uint64_t least_ns = stretch((uint64_t)row->share_min * row->unit_ns, entry->part_ppm);
    return weir_min_u64(now_ns - tat, depth_ns > least_ns ? depth_ns - least_ns : 0);
}

static uint64_t bucket_claim(const struct judge *j, uint32_t e, uint64_t now_ns, uint64_t depth_ns)
{
    uint64_t ahead_ns = bucket_ahead(j->ask->row, &j->entry[e], j->have[e], now_ns, depth_ns);
    return ahead_ns < depth_ns ? part_of(depth_ns - ahead_ns, j->entry[e].part_ppm) : 0;
}

static uint64_t bucket_claims(const struct judge *j, bool floors, uint64_t now_ns,
                              uint64_t depth_ns)
{
    uint64_t sum = 0;
    for (uint32_t e = 0; e < j->ask->row->share_cnt; e++) {
        if ((j->entry[e].kind == WEIR_SHARE_CLASS) == floors && !is_own(j, e)) {
            sum += bucket_claim(j, e, now_ns, depth_ns);
        }
    }
    return sum;
}

static bool bucket_within(const struct judge *j, bool floors, uint64_t now_ns, uint64_t depth_ns)
{
    for (uint32_t e = 0; e < j->ask->row->share_cnt; e++) {
        if ((j->entry[e].kind == WEIR_SHARE_CLASS) == floors && is_own(j, e) &&
            j->need <= bucket_claim(j, e, now_ns, depth_ns)) {
            return true;
        }
    }
    return false;
}

static bool bucket_fits(const struct judge *j, uint64_t now_ns)
{
    uint64_t used = j->used > now_ns ? j->used - now_ns : 0;
    uint64_t high_ns = j->ask->row->tolerance_ns[WEIR_PRIORITY_HIGH];
    used += j->others + j->need;
    if (bucket_within(j, true, now_ns, high_ns)) {
        return used <= high_ns;
    }
    uint64_t floors_ns = bucket_claims(j, true, now_ns, high_ns);
    uint64_t whole_ns =
        weir_min_u64(j->ask->row->tolerance_ns[j->ask->priority], high_ns - floors_ns);
    uint64_t claims_ns =
        bucket_within(j, false, now_ns, j->depth) ? 0 : bucket_claims(j, false, now_ns, j->depth);
    return used + claims_ns <= whole_ns;
}

static enum weir_limit_verdict bucket_judge(struct judge *j, const struct weir_limit_time *time,
                                            unsigned *judged, uint64_t *earliest_ns)
{
    const struct weir_share_ask *ask = j->ask;
    const struct weir_shm_limit_row *row = ask->row;
    uint64_t foreign = weir_foreign_rolling(weir_load_relaxed_u64(&ask->foreign->word[0]),
                                            time->now_ns); /* relaxed: an estimate */
    j->others = weir_min_u64(foreign, row->quota) * row->unit_ns;
    j->need = (uint64_t)ask->units * row->unit_ns;
    j->depth = weir_share_depth_ns(row, j->entry, row->share_cnt);
    j->used = weir_load_relaxed_u64(&ask->word->word[0]); /* relaxed: the CAS of the take judges */
    for (uint32_t e = 0; e < row->share_cnt; e++) {
        j->have[e] = weir_load_relaxed_u64(
            &ask->cell[WEIR_SHARE_CELLS * e]); /* relaxed: fairness, one call off at most */
    }
    if (bucket_fits(j, time->now_ns)) {
        bool floor = bucket_within(j, true, time->now_ns, row->tolerance_ns[WEIR_PRIORITY_HIGH]);
        *judged = floor ? WEIR_PRIORITY_HIGH : ask->priority;
        return WEIR_LIMIT_YES;
    }
    /* By then everything is full, and every claim has fallen as far as it does. */
    uint64_t no = time->now_ns;
    uint64_t yes = no + 3 * (uint64_t)row->quota * row->unit_ns;
    if (!bucket_fits(j, yes)) {
        *earliest_ns = UINT64_MAX;
        return WEIR_LIMIT_NO;
    }
    uint64_t near_ns = ((yes - no) >> PROMISE_SHIFT) + 1;
    while (yes - no > near_ns) { /* halves it 21 times at most */
        uint64_t middle = no + (yes - no) / 2;
        *(bucket_fits(j, middle) ? &yes : &no) = middle;
    }
    *earliest_ns = yes;
    return WEIR_LIMIT_NO;
}

enum weir_limit_verdict weir_share_judge(const struct weir_share_ask *ask,
                                         const struct weir_limit_time *time, unsigned *judged,
                                         uint64_t *earliest_ns)
{
    struct judge j = {.ask = ask, .entry = weir_share_rows(ask->row), .need = ask->units};
    *judged = ask->priority;
    if (ask->priority == WEIR_PRIORITY_CRITICAL || ask->units == 0 ||
        ask->units > ask->row->quota) { /* the last: the plan says so, by its own name */
        return WEIR_LIMIT_YES;
    }
    return ask->row->kind == WEIR_LIMIT_TOKEN_BUCKET ? bucket_judge(&j, time, judged, earliest_ns)
                                                     : window_judge(&j, time, judged, earliest_ns);
}

/* ---------------------------------------------------------------------------------------------- charges */

/* `units` more, or less, in window `k`. A window that another one has followed stays as it is; one of another timeline is overwritten. */
static void window_change(uint64_t *cell, uint32_t k, uint32_t units, bool more)
{
    uint64_t *at = &cell[k & 1];
    uint64_t seen = weir_load_acquire_u64(at); /* pair:share A */
    for (int i = 0; i < TAKE_TRIES; i++) {
        int32_t ahead = weir_window_diff(weir_window_id(seen), k);
        uint64_t have = ahead == 0 ? (uint32_t)seen : 0;
        if ((ahead > 0 && ahead <= 2) || (!more && ahead != 0)) {
            return;
        }
        uint64_t next =
            more ? weir_min_u64(have + units, UINT32_MAX) : have - weir_min_u64(have, units);
        if (weir_cas_u64(at, &seen, weir_window_word(k, (uint32_t)next))) { /* pair:share R */
            WEIR_WEAVE("share:charged");
            return;
        }
    }
}

static void bucket_take(const struct weir_shm_limit_row *row,
                        const struct weir_shm_share_row *entry, uint64_t *at, uint32_t units,
                        uint64_t depth_ns, uint64_t now_ns)
{
    uint64_t n_ns = stretch((uint64_t)units * row->unit_ns, entry->part_ppm);
    uint64_t seen = weir_load_acquire_u64(at); /* pair:share A */
    for (int i = 0; i < TAKE_TRIES; i++) {
        uint64_t ahead_ns = bucket_ahead(row, entry, seen, now_ns, depth_ns);
        /* What was borrowed is no debt: the entry's own rate begins at once. */
        uint64_t next = weir_max_u64(seen, now_ns + weir_min_u64(ahead_ns + n_ns, depth_ns));
        if (weir_cas_u64(at, &seen, next)) { /* pair:share R */
            WEIR_WEAVE("share:charged");
            return;
        }
    }
}

static void bucket_give(const struct weir_shm_limit_row *row,
                        const struct weir_shm_share_row *entry, uint64_t *at, uint32_t units,
                        uint64_t granted_at_ns, uint64_t now_ns)
{
    uint64_t n_ns = stretch((uint64_t)units * row->unit_ns, entry->part_ppm);
    uint64_t seen = weir_load_acquire_u64(at); /* pair:share A */
    for (int i = 0; i < TAKE_TRIES; i++) {
        uint64_t next = weir_bucket_refund(seen, now_ns, n_ns, granted_at_ns);
        WEIR_WEAVE("share:give");
        if (weir_cas_u64(at, &seen, next)) { /* pair:share R */
            return;
        }
    }
}

/* Is entry `e` one that a call of this client and class belongs to? */
static bool belongs(const struct weir_shm_share_row *entry, uint32_t e, uint32_t member,
                    uint32_t priority)
{
    return entry[e].kind == WEIR_SHARE_CLASS ? entry[e].priority == priority : e + 1 == member;
}

void weir_share_take(const struct weir_limit_place *at, const struct weir_charge *charge,
                     uint32_t member, uint32_t priority, uint64_t now_ns)
{
    const struct weir_shm_limit_row *row = at->row;
    const struct weir_shm_share_row *entry = weir_share_rows(row);
    for (uint32_t e = 0; e < row->share_cnt && charge->units > 0; e++) {
        uint64_t *cell = &at->cell[WEIR_SHARE_CELLS * e];
        if (!belongs(entry, e, member, priority)) {
            continue;
        }
        if (row->kind == WEIR_LIMIT_TOKEN_BUCKET) {
            uint64_t depth_ns = entry[e].kind == WEIR_SHARE_CLASS
                                    ? row->tolerance_ns[WEIR_PRIORITY_HIGH]
                                    : weir_share_depth_ns(row, entry, row->share_cnt);
            bucket_take(row, &entry[e], cell, charge->units, depth_ns, now_ns);
        }
        for (uint32_t w = 0; row->kind == WEIR_LIMIT_FIXED_WINDOW && w < charge->windows; w++) {
            window_change(cell, charge->window + w, charge->units, true);
        }
    }
}

void weir_share_give(const struct weir_limit_place *at, const struct weir_charge *charge,
                     uint32_t units, uint32_t member, uint32_t priority, uint64_t granted_at_ns,
                     uint64_t now_ns)
{
    const struct weir_shm_limit_row *row = at->row;
    const struct weir_shm_share_row *entry = weir_share_rows(row);
    for (uint32_t e = 0; e < row->share_cnt && units > 0; e++) {
        uint64_t *cell = &at->cell[WEIR_SHARE_CELLS * e];
        if (!belongs(entry, e, member, priority)) {
            continue;
        }
        if (row->kind == WEIR_LIMIT_TOKEN_BUCKET) {
            bucket_give(row, &entry[e], cell, units, granted_at_ns, now_ns);
        }
        for (uint32_t w = 0; row->kind == WEIR_LIMIT_FIXED_WINDOW && w < charge->windows; w++) {
            window_change(cell, charge->window + w, units, false);
        }
    }
}

uint32_t weir_share_member(const struct weir_shm_limit_row *row, const char *name, uint32_t uid)
{
    const struct weir_shm_share_row *entry = weir_share_rows(row);
    for (uint32_t e = 0; e < row->share_cnt; e++) {
        if ((entry[e].kind == WEIR_SHARE_CLIENT &&
             strncmp(entry[e].name, name, WEIR_NAME_BYTES) == 0) ||
            (entry[e].kind == WEIR_SHARE_UID && entry[e].uid == uid)) {
            return e + 1;
        }
    }
    return 0;
}
