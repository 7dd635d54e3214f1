#include "weir_limit.h"

#include <string.h>

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

/* How often one limit is planned again because its word moved, before the whole permit starts over. */
#define TAKE_TRIES 16

/* One try of what is planned. `*half`: the first window of a straddle is charged, the second was not to be had. */
static bool take_once(struct weir_limit_plan *plan, bool *half)
{
    uint64_t seen = plan->seen[0];
    *half = false;
    if (!weir_cas_u64(plan->at[0], &seen, plan->next[0])) { /* pair:limit R */
        return false;
    }
    WEIR_WEAVE("limit:charged");
    seen = plan->seen[1];
    if (plan->windows == 1 || weir_cas_u64(plan->at[1], &seen, plan->next[1])) { /* pair:limit R */
        return true;
    }
    *half = true;
    return false;
}

enum weir_limit_verdict weir_limit_take_again(struct weir_limit_plan *plan,
                                              const struct weir_limit_time *time, bool half)
{
    for (int i = 0; i < TAKE_TRIES; i++) {
        if (half) {
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
        if (take_once(plan, &half)) {
            return WEIR_LIMIT_YES;
        }
    }
    if (half) {
        (void)window_give(plan->word, plan->window, plan->units, &time->epoch);
    }
    return WEIR_LIMIT_AGAIN;
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
    weir_window_span_at(&span, &(struct weir_window_cache){0}, row, time->server, time->error_ns,
                        time->now_ns);
    bool ahead;
    uint32_t own = weir_window_units(word[span.first & 1], span.first, &ahead);
    s->damaged = ahead || !weir_window_legal(word[(span.first + 1) & 1], span.first, row->quota);
    s->quota = span.cap;
    s->foreign = weir_window_id(foreign) == span.first ? (uint32_t)foreign : 0;
    uint64_t used = (uint64_t)own + s->foreign;
    s->used = (uint32_t)weir_min_u64(used, UINT32_MAX);
    s->reset_ns = span.end_ns;
    for (unsigned c = 0; c < WEIR_PRIORITY_CNT; c++) {
        uint64_t taken = used + weir_window_reserve(row, c, span.left_ns, span.cap);
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
