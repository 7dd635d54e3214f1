#include "weir_limit.h"

#include "weir_atomic.h"
#include "weir_weave.h"

#include <string.h>

/* ---------------------------------------------------------------------------------------------- token_bucket */

static enum weir_limit_verdict bucket_plan(struct weir_limit_plan *p,
                                           const struct weir_limit_time *time, uint64_t tat)
{
    const struct weir_shm_limit_row *row = p->row;
    uint64_t tolerance_ns = row->tolerance_ns[p->priority];
    uint64_t n_ns = (uint64_t)p->units * row->unit_ns;
    p->windows = 1;
    p->word_at[0] = 0;
    p->seen[0] = tat;
    if (WEIR_UNLIKELY(!weir_bucket_legal(tat, time->now_ns, (uint64_t)row->quota * row->unit_ns))) {
        return WEIR_LIMIT_AGAIN; /* or this thread slept since it read the clock */
    }
    if (!weir_bucket_test(tat, time->now_ns, n_ns, tolerance_ns, &p->next[0], &p->earliest_ns)) {
        return p->earliest_ns == UINT64_MAX ? WEIR_LIMIT_NEVER : WEIR_LIMIT_NO;
    }
    p->calls_left = (double)(tolerance_ns - (p->next[0] - time->now_ns)) / (double)(n_ns + 1);
    return WEIR_LIMIT_YES;
}

/* ---------------------------------------------------------------------------------------------- fixed_window */

/*
 * When would a window that ends at `end_ns` and holds `used` have room for this call alone, if nobody else came? Its headroom is released
 * before it ends: reserve(left) <= room, solved for left. Rare path: only after a refusal.
 */
static uint64_t window_earliest(const struct weir_limit_plan *p, uint32_t cap, uint64_t used,
                                uint64_t end_ns)
{
    const struct weir_shm_limit_row *row = p->row;
    uint64_t need = used + p->units;
    if (need > cap || cap - need < row->reserve_min[p->priority] ||
        row->release_q64[p->priority] == 0) {
        return end_ns;
    }
    unsigned __int128 room = (unsigned __int128)(cap - need) << 64;
    uint64_t left_ns = (uint64_t)(room / row->release_q64[p->priority]);
    return end_ns - weir_min_u64(left_ns, row->window_ns) +
           (left_ns > 0 && left_ns < row->window_ns);
}

static enum weir_limit_verdict window_plan(struct weir_limit_plan *p,
                                           const struct weir_limit_time *time,
                                           const uint64_t word[2])
{
    const struct weir_shm_limit_row *row = p->row;
    struct weir_window_span span;
    weir_window_span_at(&span, row, time->server, time->error_ns, time->now_ns);
    uint64_t foreign = weir_load_relaxed_u64(
        &p->foreign->word); /* relaxed: an estimate, newer is better, older is legal */
    p->windows = span.windows;
    p->window = span.first;
    p->calls_left = 0;
    for (uint32_t w = 0; w < span.windows; w++) {
        uint32_t k = span.first + w;
        bool ahead;
        uint32_t own = weir_window_units(word[k & 1], k, &ahead);
        if (WEIR_UNLIKELY(ahead)) {
            return WEIR_LIMIT_AGAIN;
        }
        uint64_t used = own;
        if (weir_window_id(foreign) == k) {
            used += (uint32_t)foreign;
        }
        uint32_t reserve =
            weir_window_reserve(row, p->priority, w == 0 ? span.left_ns : row->window_ns);
        if (used + p->units + reserve > span.cap) {
            if ((uint64_t)p->units + row->reserve_min[p->priority] > row->quota) {
                return WEIR_LIMIT_NEVER;
            }
            p->earliest_ns =
                window_earliest(p, span.cap, used, span.end_ns + (w == 0 ? 0 : row->window_ns));
            return WEIR_LIMIT_NO;
        }
        p->word_at[w] = k & 1;
        p->seen[w] = word[k & 1];
        p->next[w] = weir_window_word(k, own + p->units);
        if (w == 0) {
            p->calls_left = (double)(span.cap - used - p->units - reserve) / (double)p->units;
        }
    }
    return WEIR_LIMIT_YES;
}

/* Take back `units` from window `k`, only while the word still bears it, and never below zero. */
static bool window_give(struct weir_shm_limit_word *word, uint32_t k, uint32_t units,
                        const struct weir_limit_epoch *epoch)
{
    uint64_t *at = &word->word[k & 1];
    uint64_t seen = weir_load_acquire_u64(at); /* pair:limit A */
    for (;;) { /* lock-free: each failed CAS is somebody's progress */
        if (weir_window_id(seen) != k || (uint32_t)seen == 0) {
            return false;
        }
        /* Between the load and the CAS: what was loaded is of the timeline that `seen` names, or the CAS fails. (pair:epoch A) */
        if (weir_load_acquire_u64(epoch->now) != epoch->seen) {
            return false;
        }
        uint32_t have = (uint32_t)seen;
        uint32_t rest = have > units ? have - units : 0;
        if (weir_cas_u64(at, &seen, weir_window_word(k, rest))) { /* pair:limit R */
            return true;
        }
    }
}

/* ---------------------------------------------------------------------------------------------- the four steps */

enum weir_limit_verdict weir_limit_plan(struct weir_limit_plan *plan,
                                        const struct weir_limit_time *time)
{
    /* A cost of zero takes nothing and asks nothing. */
    if (WEIR_UNLIKELY(plan->units == 0)) {
        plan->windows = 0;
        plan->window = 0;
        plan->calls_left = 1e300;
        return WEIR_LIMIT_YES;
    }
    if (WEIR_UNLIKELY(plan->units > plan->row->quota)) {
        return WEIR_LIMIT_NEVER; /* also keeps units * unit_ns inside 64 bits */
    }
    uint64_t word[2];
    word[0] = weir_load_acquire_u64(&plan->word->word[0]); /* pair:limit A */
    if (plan->row->kind == WEIR_LIMIT_TOKEN_BUCKET) {
        return bucket_plan(plan, time, word[0]);
    }
    word[1] = weir_load_acquire_u64(&plan->word->word[1]); /* pair:limit A */
    return window_plan(plan, time, word);
}

/* How often one limit is planned again because its word moved, before the whole permit starts over. */
#define TAKE_TRIES 16

enum weir_limit_verdict weir_limit_take(struct weir_limit_plan *plan,
                                        const struct weir_limit_time *time)
{
    for (int i = 0; i < TAKE_TRIES && plan->windows > 0; i++) {
        WEIR_WEAVE("limit:planned");
        uint64_t seen = plan->seen[0];
        if (WEIR_LIKELY(weir_cas_u64(&plan->word->word[plan->word_at[0]], &seen,
                                     plan->next[0]))) { /* pair:limit R */
            WEIR_WEAVE("limit:charged");
            if (WEIR_LIKELY(plan->windows == 1)) {
                return WEIR_LIMIT_YES;
            }
            seen = plan->seen[1];
            if (weir_cas_u64(&plan->word->word[plan->word_at[1]], &seen,
                             plan->next[1])) { /* pair:limit R */
                WEIR_WEAVE("limit:charged_both");
                return WEIR_LIMIT_YES;
            }
            (void)window_give(plan->word, plan->window, plan->units, &time->epoch);
        }
        enum weir_limit_verdict v = weir_limit_plan(plan, time);
        if (v != WEIR_LIMIT_YES) {
            return v;
        }
        /* The word may have been re-aligned: ids of the old timeline must not overwrite the new one's. (pair:epoch A) */
        if (time->epoch.now != NULL && weir_load_acquire_u64(time->epoch.now) != time->epoch.seen) {
            return WEIR_LIMIT_AGAIN;
        }
    }
    return plan->windows == 0 ? WEIR_LIMIT_YES : WEIR_LIMIT_AGAIN;
}

bool weir_limit_give(const struct weir_shm_limit_row *row, struct weir_shm_limit_word *word,
                     const struct weir_charge *charge, uint64_t granted_at_ns, uint64_t now_ns,
                     const struct weir_limit_epoch *epoch)
{
    if (charge->units == 0) {
        return false;
    }
    if (charge->kind == WEIR_LIMIT_FIXED_WINDOW) {
        bool changed = false;
        for (uint32_t w = 0; w < charge->windows; w++) {
            changed |= window_give(word, charge->window + w, charge->units, epoch);
        }
        return changed;
    }
    uint64_t n_ns = (uint64_t)charge->units * row->unit_ns;
    uint64_t seen = weir_load_acquire_u64(&word->word[0]); /* pair:limit A */
    for (;;) { /* lock-free: each failed CAS is somebody's progress */
        uint64_t next = weir_bucket_refund(seen, now_ns, n_ns, granted_at_ns);
        if (next == seen) {
            return false;
        }
        if (weir_cas_u64(&word->word[0], &seen, next)) { /* pair:limit R */
            return true;
        }
    }
}

static void bucket_state(struct weir_limit_state *s, const struct weir_shm_limit_row *row,
                         uint64_t tat, uint64_t now_ns)
{
    uint64_t full_ns = (uint64_t)row->quota * row->unit_ns;
    uint64_t used_ns = tat > now_ns ? tat - now_ns : 0;
    s->damaged = !weir_bucket_legal(tat, now_ns, full_ns);
    s->quota = row->quota;
    s->used = (uint32_t)weir_min_u64((used_ns + row->unit_ns - 1) / row->unit_ns, row->quota);
    s->reset_ns = weir_max_u64(tat, now_ns);
    for (unsigned c = 0; c < WEIR_PRIORITY_CNT; c++) {
        s->left[c] = weir_bucket_left(tat, now_ns, row->unit_ns, row->tolerance_ns[c]);
    }
}

static void window_state(struct weir_limit_state *s, const struct weir_shm_limit_row *row,
                         const uint64_t word[2], uint64_t foreign,
                         const struct weir_limit_time *time)
{
    struct weir_window_span span;
    weir_window_span_at(&span, row, time->server, time->error_ns, time->now_ns);
    bool ahead;
    uint32_t own = weir_window_units(word[span.first & 1], span.first, &ahead);
    s->damaged = ahead || !weir_window_legal(word[(span.first + 1) & 1], span.first, row->quota);
    s->quota = span.cap;
    s->foreign = weir_window_id(foreign) == span.first ? (uint32_t)foreign : 0;
    uint64_t used = (uint64_t)own + s->foreign;
    s->used = (uint32_t)weir_min_u64(used, UINT32_MAX);
    s->reset_ns = span.end_ns;
    for (unsigned c = 0; c < WEIR_PRIORITY_CNT; c++) {
        uint64_t taken = used + weir_window_reserve(row, c, span.left_ns);
        s->left[c] = taken < span.cap ? (uint32_t)(span.cap - taken) : 0;
    }
}

void weir_limit_state_get(struct weir_limit_state *state, const struct weir_shm_limit_row *row,
                          const struct weir_shm_limit_word *word,
                          const struct weir_shm_foreign *foreign,
                          const struct weir_limit_time *time)
{
    memset(state, 0, sizeof *state);
    uint64_t w[2];
    w[0] = weir_load_acquire_u64(&word->word[0]); /* pair:limit A */
    w[1] = weir_load_acquire_u64(&word->word[1]); /* pair:limit A */
    if (row->kind == WEIR_LIMIT_TOKEN_BUCKET) {
        bucket_state(state, row, w[0], time->now_ns);
    } else {
        window_state(state, row, w, weir_load_relaxed_u64(&foreign->word),
                     time); /* relaxed: an estimate */
    }
}
