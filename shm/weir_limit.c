#include "weir_limit.h"

#include "weir_cells.h"
#include "weir_weave.h"

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
        WEIR_WEAVE("limit:give");
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
    WEIR_WEAVE("limit:plan_again");
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

enum weir_limit_verdict weir_limit_plan_other(struct weir_limit_plan *plan,
                                              const struct weir_limit_time *time)
{
    plan->windows = 0;
    plan->window = 0;
    plan->at[0] = &plan->word->word[0];
    plan->seen[0] = 0;
    plan->next[0] = 0;
    switch ((enum weir_limit_kind)plan->row->kind) {
    case WEIR_LIMIT_SLIDING_WINDOW:
        return weir_sliding_plan(plan, time);
    case WEIR_LIMIT_CONCURRENCY:
        return weir_units_plan(plan, time);
    case WEIR_LIMIT_TOKEN_BUCKET: /* both were asked in weir_limit_plan */
    case WEIR_LIMIT_FIXED_WINDOW:
    case WEIR_LIMIT_UNSET:
        break;
    }
    return WEIR_LIMIT_DAMAGED; /* tables are checked: no row of another kind is ever used */
}

enum weir_limit_verdict weir_limit_take_cells(struct weir_limit_plan *plan,
                                              const struct weir_limit_time *time)
{
    enum weir_limit_verdict v = plan->row->kind == WEIR_LIMIT_CONCURRENCY
                                    ? weir_units_take(plan, time)
                                    : weir_sliding_take(plan, time);
    plan->windows = 0;
    return v;
}

/* ---------------------------------------------------------------------------------------------- corrections */

/*
 * Note what is about to be given back, so that the worker knows how much of what stood charged at an earlier instant stands no more (broker/rolling.h). Before the word
 * changes: who dies in between has noted too much, which errs against the user.
 */
static void bucket_given(struct weir_shm_limit_word *word, uint64_t ns)
{
    uint64_t seen = weir_load_relaxed_u64(&word->owed); /* relaxed: the CAS judges it */
    WEIR_WEAVE("bucket:note");
    while (!weir_cas_u64(&word->owed, &seen, seen + ns)) { /* pair:limit R; lock-free */
    }
}

static bool bucket_give(const struct weir_limit_place *at, uint32_t units,
                        const struct weir_limit_grant *grant)
{
    bool noted = false;
    uint64_t n_ns = (uint64_t)units * at->row->unit_ns;
    uint64_t seen[2];
    seen[1] = weir_load_acquire_u64(
        &at->word->word[1]); /* pair:limit A; before the TAT: see weir_bucket.h */
    seen[0] = weir_load_acquire_u64(&at->word->word[0]); /* pair:limit A */
    for (;;) { /* lock-free: each failed CAS is somebody's progress */
        /* After the word, as with windows: it is of the tables that `seen` names, or the CAS fails. (pair:tables A) */
        if (grant->tables != NULL && weir_load_acquire_u64(grant->tables) != grant->tables_seen) {
            return false;
        }
        /* After the word: whoever slept between the two would give back what others have taken since, by the time that passed. */
        WEIR_WEAVE("bucket:loaded");
        const uint64_t next[2] = {
            weir_bucket_refund(seen[0], weir_clock_now(grant->clock), n_ns, grant->granted_at_ns),
            seen[1] + 1};
        if (next[0] == seen[0]) {
            return false;
        }
        if (!noted) { /* once: time only makes it less */
            bucket_given(at->word, seen[0] - next[0]);
            noted = true;
        }
        WEIR_WEAVE("bucket:judged");
        if (weir_cas_pair_u64(at->word->word, seen, next)) { /* pair:limit R */
            return true;
        }
    }
}

bool weir_limit_give(const struct weir_limit_place *at, const struct weir_charge *charge,
                     const struct weir_limit_grant *grant)
{
    bool changed = false;
    if (charge->units == 0) {
        return false;
    }
    switch ((enum weir_limit_kind)charge->kind) {
    case WEIR_LIMIT_TOKEN_BUCKET:
        return bucket_give(at, charge->units, grant);
    case WEIR_LIMIT_FIXED_WINDOW:
        for (uint32_t w = 0; w < charge->windows; w++) {
            changed |= window_give(at->word, charge->window + w, charge->units, &grant->epoch);
        }
        return changed;
    case WEIR_LIMIT_SLIDING_WINDOW:
        return weir_sliding_give(at->row, at->word, at->cell, charge, grant);
    case WEIR_LIMIT_CONCURRENCY:
        return weir_units_let_go(at, charge, grant->owner, grant->now_ns, false);
    case WEIR_LIMIT_UNSET:
        break;
    }
    return false;
}

bool weir_limit_end(const struct weir_limit_place *at, const struct weir_charge *charge,
                    const struct weir_limit_grant *grant)
{
    return charge->kind == WEIR_LIMIT_CONCURRENCY && charge->units > 0 &&
           weir_units_let_go(at, charge, grant->owner, grant->now_ns, true);
}

static void bucket_add(const struct weir_limit_place *at, uint32_t units, uint64_t now_ns)
{
    const struct weir_shm_limit_row *row = at->row;
    uint64_t full_ns = (uint64_t)weir_limit_peak(row) * row->unit_ns;
    uint64_t n_ns = weir_min_u64(units, weir_limit_peak(row)) * row->unit_ns;
    uint64_t seen = weir_load_acquire_u64(&at->word->word[0]); /* pair:limit A */
    uint64_t next;
    do { /* lock-free */
        next = weir_min_u64(weir_max_u64(seen, now_ns) + n_ns, weir_bucket_most(now_ns, full_ns));
        WEIR_WEAVE("limit:add_bucket");
    } while (next > seen && !weir_cas_u64(&at->word->word[0], &seen, next)); /* pair:limit R */
}

bool weir_limit_window_add(const struct weir_limit_place *at, uint32_t k, uint32_t units,
                           const struct weir_limit_epoch *epoch)
{
    uint64_t *word = &at->word->word[k & 1];
    uint64_t seen = weir_load_acquire_u64(word); /* pair:limit A */
    for (;;) {                                   /* lock-free */
        bool ahead;
        uint64_t have = weir_window_units(seen, k, &ahead);
        /* As in window_give: what was loaded is of the timeline that `k` belongs to, or the CAS fails. (pair:epoch A) */
        if (ahead || weir_load_acquire_u64(epoch->now) != epoch->seen) {
            return false;
        }
        uint64_t sum = weir_max_u64(
            weir_min_u64(have + units, weir_window_most(weir_limit_peak(at->row))), have);
        WEIR_WEAVE("limit:add_window");
        if (weir_cas_u64(word, &seen, weir_window_word(k, (uint32_t)sum))) { /* pair:limit R */
            return true;
        }
    }
}

/* Into the charged windows that may still be counted in; and into the current one where the charge does not reach it. */
static void windows_add(const struct weir_limit_place *at, const struct weir_charge *charge,
                        uint32_t units, const struct weir_limit_epoch *epoch,
                        const struct weir_limit_time *time)
{
    struct weir_window_span span;
    weir_window_span_at(&span, &(struct weir_window_cache){0}, at->row, time->server,
                        time->error_ns, time->now_ns);
    for (uint32_t w = 0; w < charge->windows; w++) {
        uint32_t k = charge->window + w;
        if (weir_window_diff(k, span.first) >= 0) {
            (void)weir_limit_window_add(at, k, units, epoch);
        }
    }
    uint32_t last = charge->window + charge->windows - 1;
    for (uint32_t w = 0; w < span.windows; w++) {
        if (charge->windows == 0 || weir_window_diff(span.first + w, last) > 0) {
            (void)weir_limit_window_add(at, span.first + w, units, epoch);
        }
    }
}

void weir_limit_add(const struct weir_limit_place *at, const struct weir_charge *charge,
                    uint32_t units, const struct weir_limit_grant *grant,
                    const struct weir_limit_time *time)
{
    if (units == 0) {
        return;
    }
    switch ((enum weir_limit_kind)at->row->kind) {
    case WEIR_LIMIT_TOKEN_BUCKET:
        bucket_add(at, units, time->now_ns);
        break;
    case WEIR_LIMIT_FIXED_WINDOW:
        windows_add(at, charge, units, &grant->epoch, time);
        break;
    case WEIR_LIMIT_SLIDING_WINDOW:
        weir_sliding_add(at->row, at->word, at->cell, units, time->now_ns);
        break;
    case WEIR_LIMIT_CONCURRENCY: /* a call is in flight once, whatever it turned out to cost */
    case WEIR_LIMIT_UNSET:
        break;
    }
}

/* ---------------------------------------------------------------------------------------------- state */

static void bucket_state(struct weir_limit_state *s, const struct weir_shm_limit_row *row,
                         uint64_t tat, const struct weir_shm_foreign *foreign, uint64_t now_ns)
{
    uint64_t used_ns = tat > now_ns ? tat - now_ns : 0;
    s->damaged = !weir_bucket_legal(tat, now_ns, (uint64_t)weir_limit_peak(row) * row->unit_ns);
    s->quota = row->quota;
    uint32_t others = weir_foreign_rolling(weir_load_relaxed_u64(&foreign->word[0]),
                                           now_ns); /* relaxed, both: an estimate */
    uint32_t late = weir_foreign_rolling(weir_load_relaxed_u64(&foreign->word[1]), now_ns);
    s->late = late < others ? late : others;
    s->foreign = others - s->late;
    uint64_t used = (used_ns + row->unit_ns - 1) / row->unit_ns + others;
    s->used = (uint32_t)weir_min_u64(used, row->quota);
    s->reset_ns = weir_max_u64(tat, now_ns);
    uint64_t others_ns = weir_min_u64(others, row->quota) * row->unit_ns;
    for (unsigned c = 0; c < WEIR_PRIORITY_CNT; c++) {
        uint64_t tolerance_ns =
            row->tolerance_ns[c] > others_ns ? row->tolerance_ns[c] - others_ns : 0;
        s->left[c] = weir_bucket_left(tat, now_ns, row->unit_ns, tolerance_ns);
    }
}

static void window_state(struct weir_limit_state *s, const struct weir_shm_limit_row *row,
                         const uint64_t word[2], const struct weir_shm_foreign *others,
                         const struct weir_limit_time *time)
{
    struct weir_window_span span;
    weir_window_span_at(&span, &(struct weir_window_cache){0}, row, time->server, time->error_ns,
                        time->now_ns);
    bool ahead;
    uint32_t own = weir_window_units(word[span.first & 1], span.first, &ahead);
    s->damaged =
        ahead || !weir_window_legal(word[(span.first + 1) & 1], span.first, weir_limit_peak(row));
    s->quota = span.cap;
    uint64_t foreign =
        weir_load_relaxed_u64(&others->word[span.first & 1]); /* relaxed: an estimate */
    s->foreign = weir_window_id(foreign) == span.first ? (uint32_t)foreign : 0;
    foreign = weir_load_relaxed_u64(&others->word[(span.first + 1) & 1]); /* relaxed: an estimate */
    s->foreign_next = weir_window_id(foreign) == span.first + 1 ? (uint32_t)foreign : 0;
    uint64_t used = (uint64_t)own + s->foreign;
    s->used = (uint32_t)weir_min_u64(used, UINT32_MAX);
    s->reset_ns = span.end_ns;
    for (unsigned c = 0; c < WEIR_PRIORITY_CNT; c++) {
        uint64_t taken = used + weir_window_reserve(row, c, span.left_ns, span.cap);
        s->left[c] = taken < span.cap ? (uint32_t)(span.cap - taken) : 0;
    }
}

/* Kinds that live in cells: from the cells, or from a monitor's view of them. */
static void cells_state(struct weir_limit_state *s, const struct weir_limit_place *at,
                        const struct weir_shm_foreign *foreign, uint64_t now_ns)
{
    const struct weir_shm_limit_row *row = at->row;
    uint64_t empty_at_ns = 0;
    uint64_t used = 0;
    if (at->cell != NULL) {
        used = weir_limit_cells_used(at, now_ns, &empty_at_ns);
    } else {
        used = weir_min_u64(weir_load_relaxed_u64(&at->word->word[0]),
                            row->quota); /* relaxed: a view, for display; so is the next */
        empty_at_ns = weir_load_relaxed_u64(&at->word->word[1]);
    }
    s->quota = row->quota;
    s->foreign = weir_foreign_rolling(weir_load_relaxed_u64(&foreign->word[0]),
                                      now_ns); /* relaxed: an estimate */
    used += s->foreign;
    s->used = (uint32_t)weir_min_u64(used, UINT32_MAX);
    s->reset_ns = weir_max_u64(empty_at_ns, now_ns);
    for (unsigned c = 0; c < WEIR_PRIORITY_CNT; c++) {
        uint64_t taken = used + row->reserve_min[c];
        s->left[c] = taken < row->quota ? (uint32_t)(row->quota - taken) : 0;
    }
}

uint32_t weir_limit_cells_used(const struct weir_limit_place *at, uint64_t now_ns,
                               uint64_t *empty_at_ns)
{
    return at->row->kind == WEIR_LIMIT_CONCURRENCY
               ? weir_units_used(at->row, at->cell, now_ns, empty_at_ns)
               : weir_sliding_used(at->row, at->cell, now_ns, empty_at_ns);
}

void weir_limit_state_get(struct weir_limit_state *state, const struct weir_limit_place *at,
                          const struct weir_shm_foreign *foreign,
                          const struct weir_limit_time *time)
{
    uint64_t w[2];
    memset(state, 0, sizeof *state);
    switch ((enum weir_limit_kind)at->row->kind) {
    case WEIR_LIMIT_TOKEN_BUCKET:
        bucket_state(state, at->row, weir_load_acquire_u64(&at->word->word[0]), foreign,
                     time->now_ns); /* pair:limit A */
        break;
    case WEIR_LIMIT_FIXED_WINDOW:
        w[0] = weir_load_acquire_u64(&at->word->word[0]); /* pair:limit A */
        w[1] = weir_load_acquire_u64(&at->word->word[1]); /* pair:limit A */
        window_state(state, at->row, w, foreign, time);
        break;
    case WEIR_LIMIT_SLIDING_WINDOW:
    case WEIR_LIMIT_CONCURRENCY:
        cells_state(state, at, foreign, time->now_ns);
        break;
    case WEIR_LIMIT_UNSET:
        break;
    }
}
