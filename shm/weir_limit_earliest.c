/*
 * weir_limit_earliest.c: when could a call pass, if nobody else came?
 *
 * The answer comes from the test that grants (weir_limit_plan) on a copy of the word, asked at instants to come, so the two cannot disagree. What is
 * added here is only where to look: between which instants the test goes from no to yes once and never back, so that bisecting finds the first yes; or, where
 * there are none such, all the instants at which it may change.
 */
#include "weir_limit.h"

#include <string.h>

/* What is asked at instants to come. */
struct inquiry {
    const struct weir_shm_limit_row *row;
    const struct weir_server_clock *server;
    struct weir_window_cache cache;
    struct weir_shm_limit_word word; /* a copy: nobody comes in between */
    uint64_t *cell;                  /* the live ones: read, never written */
    struct weir_shm_foreign foreign;
    uint32_t units;
    unsigned priority;
};

static struct weir_limit_time time_at(const struct inquiry *q, uint64_t at_ns)
{
    struct weir_limit_time t = {.now_ns = at_ns, .server = q->server};
    t.error_ns = q->server != NULL ? weir_server_clock_error_ns(q->server, at_ns) : 0;
    return t;
}

static bool passes(struct inquiry *q, uint64_t at_ns)
{
    const struct weir_limit_time t = time_at(q, at_ns);
    struct weir_shm_limit_word word = q->word; /* a test may move a hint: each stands for itself */
    struct weir_limit_plan p = {.row = q->row,
                                .word = &word,
                                .cell = q->cell,
                                .foreign = &q->foreign,
                                .units = q->units,
                                .priority = q->priority};
    /* The cells are at hand: straight to the plan of their kinds, which would look for them. */
    enum weir_limit_verdict v =
        weir_limit_in_cells(q->row) ? weir_limit_plan_other(&p, &t) : weir_limit_plan(&p, &t);
    return v == WEIR_LIMIT_YES ||
           v ==
               WEIR_LIMIT_JOURNAL; /* its ceiling is raised in milliseconds, whenever it is asked */
}

/* The first instant in (no_ns, yes_ns] that passes: it does not at no_ns, it does at yes_ns, and changes once in between. */
static uint64_t first_yes(struct inquiry *q, uint64_t no_ns, uint64_t yes_ns)
{
    while (yes_ns - no_ns > 1) { /* halves each time */
        uint64_t middle_ns = no_ns + (yes_ns - no_ns) / 2;
        if (passes(q, middle_ns)) {
            yes_ns = middle_ns;
        } else {
            no_ns = middle_ns;
        }
    }
    return yes_ns;
}

/* ---------------------------------------------------------------------------------------------- token_bucket */

/* When a word of what stands beside the charges is forgotten (weir_foreign_rolling); now_ns where there is nothing. */
static uint64_t forgotten_ns(uint64_t word, uint64_t now_ns)
{
    if (weir_foreign_rolling(word, now_ns) == 0) {
        return now_ns;
    }
    uint32_t left = (uint32_t)(word >> 32) - (uint32_t)(now_ns >> WEIR_FOREIGN_TICK_BITS);
    return ((now_ns >> WEIR_FOREIGN_TICK_BITS) + left) << WEIR_FOREIGN_TICK_BITS;
}

/* ... what others use */
static uint64_t foreign_until_ns(const struct inquiry *q, uint64_t now_ns)
{
    return forgotten_ns(q->foreign.word[0], now_ns);
}

/*
 * Kinds whose room only grows while nobody comes: the test goes from no to yes once, but that what others use is forgotten at one instant: once before it and
 * once from it on. `last_ns`: from here on nothing changes any more.
 */
static uint64_t growing_earliest(struct inquiry *q, uint64_t now_ns, uint64_t last_ns)
{
    uint64_t until_ns = foreign_until_ns(q, now_ns);
    if (passes(q, now_ns)) {
        return now_ns;
    }
    if (until_ns > now_ns && passes(q, until_ns - 1)) {
        return first_yes(q, now_ns, until_ns - 1);
    }
    if (passes(q, until_ns)) {
        return until_ns;
    }
    last_ns = weir_max_u64(last_ns, until_ns);
    return passes(q, last_ns) ? first_yes(q, until_ns, last_ns) : UINT64_MAX;
}

/* TAT stands still while time goes on: once it is behind, the bucket is full. */
static uint64_t bucket_earliest(struct inquiry *q, uint64_t now_ns)
{
    return growing_earliest(q, now_ns, weir_max_u64(now_ns, q->word.word[0]));
}

/* ---------------------------------------------------------------------------------------------- kinds in cells */

/* The first instant behind `at_ns` at which a stamp's span ends; UINT64_MAX: there is none. */
static uint64_t next_over_ns(const struct inquiry *q, uint64_t at_ns)
{
    const struct weir_shm_limit_row *row = q->row;
    uint64_t next_ns = UINT64_MAX;
    for (uint32_t i = 0; i < row->cell_cnt; i++) {
        uint64_t stamp = weir_load_acquire_u64(&q->cell[i]); /* pair:limit A */
        if (stamp != 0 && stamp + row->span_ns > at_ns) {
            next_ns = weir_min_u64(next_ns, stamp + row->span_ns);
        }
    }
    return next_ns;
}

/*
 * Form cells: the test changes only when a stamp grows old, or when what others use, or what is owed, is forgotten: it is asked at each of these instants, in their order.
 * As many as there are cells, and two.
 */
static uint64_t stamps_earliest(struct inquiry *q, uint64_t now_ns)
{
    const uint64_t until_ns[] = {foreign_until_ns(q, now_ns), forgotten_ns(q->word.owed, now_ns)};
    uint64_t at_ns = now_ns;
    for (uint32_t i = 0; i < q->row->cell_cnt + 3U; i++) {
        if (passes(q, at_ns)) {
            return at_ns;
        }
        uint64_t next_ns = next_over_ns(q, at_ns);
        for (unsigned k = 0; k < WEIR_ARRAY_CNT(until_ns); k++) {
            next_ns = until_ns[k] > at_ns ? weir_min_u64(next_ns, until_ns[k]) : next_ns;
        }
        if (next_ns == UINT64_MAX) {
            break;
        }
        at_ns = next_ns;
    }
    return UINT64_MAX;
}

/* Parts and rests stand still while time goes on, and the test counts all of them. What is held may come free, but that is its holder's decision. */
static uint64_t cells_earliest(struct inquiry *q, const struct weir_limit_place *at,
                               uint64_t now_ns)
{
    uint64_t empty_at_ns = now_ns;
    if (at->row->form == WEIR_FORM_CELLS) {
        return stamps_earliest(q, now_ns);
    }
    (void)weir_limit_cells_used(at, now_ns, &empty_at_ns);
    /* Form parts looks a little further back than its span, and no instant behind the last change is too late to end at. */
    uint64_t last_ns = weir_max_u64(empty_at_ns, now_ns) + at->row->span_ns + 1;
    return growing_earliest(q, now_ns, last_ns + 2 * at->row->part_ns);
}

/* A monitor's view of them: {used, free again}. */
static uint64_t view_earliest(const struct inquiry *q, uint64_t now_ns)
{
    const struct weir_shm_limit_row *row = q->row;
    uint64_t kept = (uint64_t)q->units + row->reserve_min[q->priority];
    uint64_t others = weir_foreign_rolling(q->foreign.word[0], now_ns);
    if (kept > row->quota) {
        return UINT64_MAX;
    }
    if (q->word.word[0] + kept + others <= row->quota) {
        return now_ns;
    }
    if (row->kind == WEIR_LIMIT_CONCURRENCY) {
        return UINT64_MAX; /* held or resting: the view does not tell them apart */
    }
    return weir_max_u64(weir_max_u64(q->word.word[1], foreign_until_ns(q, now_ns)), now_ns);
}

/* ---------------------------------------------------------------------------------------------- fixed_window */

/*
 * As long as the first window charged, the number of windows and the cap stay the same, what is wanted only falls (the headroom is released), so the
 * test goes from no to yes at most once. Such a stretch is a step. Two windows ahead nothing is charged yet and the cap only shrinks: if the call
 * passes in none of the steps up to there, it passes in none.
 */
#define WINDOWS_AHEAD 3
#define STEPS_MAX     64 /* a window has two steps, and one more for each change of a wide cap */

static struct weir_window_span span_at(struct inquiry *q, uint64_t at_ns)
{
    struct weir_window_span span;
    const struct weir_limit_time t = time_at(q, at_ns);
    weir_window_span_at(&span, &q->cache, q->row, t.server, t.error_ns, at_ns);
    return span;
}

static bool same_step(const struct weir_window_span *a, const struct weir_window_span *b)
{
    return a->first == b->first && a->windows == b->windows && a->cap == b->cap;
}

/* The first instant behind at_ns's step, or one inside it where a growing error stretches the window: the caller goes on from there. */
static uint64_t step_end(struct inquiry *q, uint64_t at_ns, const struct weir_window_span *here)
{
    uint64_t in_ns = at_ns;
    uint64_t out_ns = at_ns + here->left_ns + 1;
    struct weir_window_span span = span_at(q, out_ns);
    if (same_step(&span, here)) {
        return out_ns;
    }
    while (out_ns - in_ns > 1) { /* halves each time */
        uint64_t middle_ns = in_ns + (out_ns - in_ns) / 2;
        span = span_at(q, middle_ns);
        if (same_step(&span, here)) {
            in_ns = middle_ns;
        } else {
            out_ns = middle_ns;
        }
    }
    return out_ns;
}

static uint64_t window_earliest(struct inquiry *q, uint64_t now_ns)
{
    if (passes(q, now_ns)) {
        return now_ns;
    }
    const struct weir_window_span first = span_at(q, now_ns);
    uint64_t at_ns = now_ns;
    for (int i = 0; i < STEPS_MAX; i++) {
        const struct weir_window_span here = span_at(q, at_ns);
        if (weir_window_diff(here.first, first.first) > WINDOWS_AHEAD) {
            break;
        }
        uint64_t end_ns = step_end(q, at_ns, &here);
        if (passes(q, at_ns)) {
            return at_ns;
        }
        if (passes(q, end_ns - 1)) {
            return first_yes(q, at_ns, end_ns - 1);
        }
        at_ns = end_ns;
    }
    return UINT64_MAX;
}

/* ---------------------------------------------------------------------------------------------- any kind */

uint64_t weir_limit_earliest(const struct weir_limit_place *at,
                             const struct weir_shm_foreign *foreign,
                             const struct weir_limit_time *time, uint32_t units, unsigned priority)
{
    const struct weir_shm_limit_row *row = at->row;
    if (units == 0) {
        return time->now_ns;
    }
    if (units > row->quota || priority >= WEIR_PRIORITY_CNT) {
        return UINT64_MAX;
    }
    struct inquiry q = {
        .row = row, .server = time->server, .cell = at->cell, .units = units, .priority = priority};
    q.word.word[0] = weir_load_acquire_u64(&at->word->word[0]); /* pair:limit A */
    q.word.word[1] = weir_load_acquire_u64(&at->word->word[1]); /* pair:limit A */
    q.word.owed = weir_load_acquire_u64(&at->word->owed);       /* pair:limit A */
    q.word.unsorted_until_ns =
        weir_load_relaxed_u64(&at->word->unsorted_until_ns); /* relaxed: a hint */
    for (unsigned i = 0; i < 2; i++) {
        q.foreign.word[i] = weir_load_relaxed_u64(&foreign->word[i]); /* relaxed: an estimate */
    }
    switch ((enum weir_limit_kind)row->kind) {
    case WEIR_LIMIT_TOKEN_BUCKET:
        return bucket_earliest(&q, time->now_ns);
    case WEIR_LIMIT_FIXED_WINDOW:
        return window_earliest(&q, time->now_ns);
    case WEIR_LIMIT_SLIDING_WINDOW:
    case WEIR_LIMIT_CONCURRENCY:
        return at->cell != NULL ? cells_earliest(&q, at, time->now_ns)
                                : view_earliest(&q, time->now_ns);
    case WEIR_LIMIT_UNSET:
        break;
    }
    return UINT64_MAX;
}
