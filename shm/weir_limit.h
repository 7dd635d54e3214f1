/*
 * weir_limit.h: one limit of one permit, whatever its kind.
 *
 * The permit path (weir_permit.c) knows only these four steps; the arithmetic of a kind stands in its own header (weir_bucket.h,
 * weir_window.h, weir_sliding.h, weir_concurrency.h). A new kind adds a header, its case in the four steps, and its row in docs/architecture.md. Every
 * switch over the kinds is without default, so that the compiler lists what a new one owes.
 *
 *   plan    read the words, say yes or no, write nothing                      (pass 1)
 *   take    CAS what was planned; plan again if somebody was faster           (pass 2)
 *   give    undo a charge, by the kind's refund rule                          (rollback, settle)
 *   left    what could be taken now, for monitors; earliest: from when on
 *
 * All atomic accesses to limit words are here, in weir_limit_repair.c, and to cells in weir_sliding.c and weir_concurrency.c (pair:limit).
 */
#ifndef WEIR_LIMIT_H
#define WEIR_LIMIT_H

#include "weir_atomic.h"
#include "weir_bucket.h"
#include "weir_concurrency.h"
#include "weir_sliding.h"
#include "weir_weave.h"
#include "weir_window.h"

enum weir_limit_verdict {
    WEIR_LIMIT_YES = 0,
    WEIR_LIMIT_NO = 1,      /* full: `earliest_ns` says until when */
    WEIR_LIMIT_AGAIN = 2,   /* the word is ahead of our clock reading: read the clock again */
    WEIR_LIMIT_DAMAGED = 3, /* outside the legal range, however often the clock was read */
    WEIR_LIMIT_NEVER = 4,   /* the cost is above what this class may ever take */
    WEIR_LIMIT_JOURNAL = 5, /* the journal on disk does not cover it yet */
    WEIR_LIMIT_KEPT = 6,    /* it has room, which is kept for the shares of others (weir_share.h) */
};

/*
 * The timeline that a charge's window ids belong to. They are given back, or overwritten, only while `*now` is still `seen`: an id of the
 * timeline before may be that of a window now, full of others' charges.
 */
struct weir_limit_epoch {
    const uint64_t *now; /* the provider's clock_epoch */
    uint64_t seen;
};

/* What the clock says, read once per attempt. */
struct weir_limit_time {
    uint64_t now_ns;
    uint64_t error_ns;                      /* of the server clock, at now */
    const struct weir_server_clock *server; /* NULL where no limit of the route counts by windows */
    struct weir_limit_epoch epoch;          /* set where `server` is, for pass 2 */
    struct weir_clock *clock;               /* to read once more; only pass 2 needs it */
};

struct weir_limit_plan {
    const struct weir_shm_limit_row *row;
    struct weir_shm_limit_word *word;
    uint64_t *
        cell; /* the first of this scope value; kinds that live in cells: filled from the next two by whoever needs it */
    uint64_t *cell_base;
    uint32_t index; /* of the word */
    const struct weir_shm_foreign *foreign;
    uint64_t owner; /* who holds what is taken (concurrency) */
    uint32_t units;
    uint32_t priority;
    /* filled by plan */
    uint32_t
        windows; /* words to change: 1, or 2 for a straddle; 0: nothing, or a kind that weir_limit_take knows how to take */
    uint32_t window;
    uint64_t *at[2]; /* the words */
    uint64_t seen[2];
    uint64_t next[2];
    uint64_t earliest_ns;
    uint64_t room; /* what is left after this call, in units or ns */
    uint64_t
        price; /* what such a call takes, in the same measure: the smallest room / price is the scarcest */
};

/*
 * What others use of a limit that has no windows: the foreign word holds {until:32 | units:32}, until in ticks of 2^24 ns (about 17 ms) of weir
 * time. It counts in full until then, and not at all afterwards. Of a bucket's, word[1] says in the same form how much of it is held for calls of ours
 * that are counted late (weir_late.h).
 */
#define WEIR_FOREIGN_TICK_BITS 24U

static inline uint64_t weir_foreign_make(uint64_t until_ns, uint32_t units)
{
    return (uint64_t)(uint32_t)((until_ns >> WEIR_FOREIGN_TICK_BITS) + 1) << 32 | units;
}

static inline uint32_t weir_foreign_rolling(uint64_t word, uint64_t now_ns)
{
    if (WEIR_LIKELY((uint32_t)word == 0)) {
        return 0;
    }
    int32_t left = (int32_t)((uint32_t)(word >> 32) - (uint32_t)(now_ns >> WEIR_FOREIGN_TICK_BITS));
    return left > 0 ? (uint32_t)word : 0;
}

/* ---------------------------------------------------------------------------------------------- token_bucket */

/* What one kind of call asks of a bucket: all that is known before the clock is read. */
struct weir_bucket_ask {
    uint64_t n_ns;           /* n*T */
    uint64_t tolerance_ns;   /* of its class */
    uint64_t reach_ns;       /* no legal word is further ahead of now */
    const uint64_t *ceiling; /* on the board, where the journal has to cover it; else NULL */
};

static inline struct weir_bucket_ask weir_bucket_ask_make(const struct weir_shm_limit_row *row,
                                                          const struct weir_shm_foreign *board,
                                                          uint32_t units, uint32_t priority)
{
    return (struct weir_bucket_ask){
        .n_ns = (uint64_t)units * row->unit_ns,
        .tolerance_ns = row->tolerance_ns[priority],
        .reach_ns = weir_bucket_reach((uint64_t)weir_limit_peak(row) * row->unit_ns),
        .ceiling = row->ceiling_step != 0 ? &board->ceiling[0] : NULL};
}

/* The kind's whole test. `foreign` is the board's word of what others use. On YES `*next` and `*room` are filled, on NO `*earliest_ns`. */
WEIR_INLINE enum weir_limit_verdict weir_bucket_judge(const struct weir_bucket_ask *ask,
                                                      const struct weir_shm_limit_row *row,
                                                      uint64_t tat, uint64_t foreign,
                                                      uint64_t now_ns, uint64_t *next,
                                                      uint64_t *room, uint64_t *earliest_ns)
{
    uint64_t tolerance_ns = ask->tolerance_ns;
    uint64_t others = weir_foreign_rolling(foreign, now_ns);
    if (WEIR_UNLIKELY(others != 0)) {
        uint64_t others_ns = weir_min_u64(others, row->quota) * row->unit_ns;
        tolerance_ns = tolerance_ns > others_ns ? tolerance_ns - others_ns : 0;
    }
    if (WEIR_LIKELY(weir_bucket_test(tat, now_ns, ask->n_ns, tolerance_ns, next, earliest_ns))) {
        *room = tolerance_ns - (*next - now_ns);
        /* A yes says that the word is legal: no tolerance reaches as far. relaxed: the ceiling only grows; a grant below an older one is as safe */
        return WEIR_UNLIKELY(ask->ceiling != NULL) &&
                       WEIR_UNLIKELY(*next > weir_load_relaxed_u64(ask->ceiling))
                   ? WEIR_LIMIT_JOURNAL
                   : WEIR_LIMIT_YES;
    }
    if (WEIR_UNLIKELY(tat > now_ns + ask->reach_ns)) {
        return WEIR_LIMIT_AGAIN; /* or this thread slept since it read the clock */
    }
    if (ask->n_ns > ask->tolerance_ns) {
        return WEIR_LIMIT_NEVER;
    }
    if (ask->n_ns > tolerance_ns) {
        *earliest_ns = now_ns + row->unit_ns; /* as soon as others are gone */
    }
    return WEIR_LIMIT_NO;
}

/*
 * How far ahead of now the bucket may be, less one, for weir_bucket_judge to say YES while `foreign` is the board's word: TAT - now < room, or TAT <= now. The word becomes
 * max(now, TAT) + n*T then. A word from beyond the legal range is further ahead. 0: it has to be asked each time. What others use is held against it for good here.
 */
static inline uint64_t weir_bucket_room(const struct weir_bucket_ask *ask,
                                        const struct weir_shm_limit_row *row, uint64_t foreign)
{
    uint64_t others_ns = weir_min_u64((uint32_t)foreign, row->quota) * row->unit_ns;
    bool any = ask->ceiling == NULL && others_ns <= ask->tolerance_ns &&
               ask->n_ns <= ask->tolerance_ns - others_ns;
    return any ? ask->tolerance_ns - others_ns - ask->n_ns + 1 : 0;
}

/*
 * The usual NO of weir_bucket_judge, by the `room` of a time at which others used nothing, as now: the bucket is full until `*earliest_ns`. False: it has to be asked.
 */
static inline bool weir_bucket_full(const struct weir_bucket_ask *ask, uint64_t room,
                                    uint64_t now_ns, uint64_t tat, uint64_t *earliest_ns)
{
    uint64_t ahead_ns = weir_max_u64(tat, now_ns) - now_ns;
    *earliest_ns = tat - (room - 1);
    return room != 0 && ahead_ns >= room && ahead_ns <= ask->reach_ns;
}

WEIR_INLINE enum weir_limit_verdict weir_bucket_plan(struct weir_limit_plan *p,
                                                     const struct weir_limit_time *time)
{
    const struct weir_bucket_ask ask =
        weir_bucket_ask_make(p->row, p->foreign, p->units, p->priority);
    uint64_t tat = weir_load_relaxed_u64(
        &p->word->word[0]); /* relaxed: the CAS of pass 2 judges what was read here */
    /* relaxed: an estimate, newer is better, older is legal */
    uint64_t foreign = weir_load_relaxed_u64(&p->foreign->word[0]);
    p->windows = 1;
    p->window = 0;
    p->at[0] = &p->word->word[0];
    p->seen[0] = tat;
    p->price = ask.n_ns;
    return weir_bucket_judge(&ask, p->row, tat, foreign, time->now_ns, &p->next[0], &p->room,
                             &p->earliest_ns);
}

/* ---------------------------------------------------------------------------------------------- fixed_window */

/*
 * When would a window that ends at `end_ns` and holds `used` have room for this call alone, if nobody else came? Its headroom is released
 * before it ends: reserve(left) <= room, solved for left. Rare path: only after a refusal.
 */
static inline uint64_t weir_window_earliest(const struct weir_limit_plan *p, uint32_t cap,
                                            uint64_t used, uint64_t end_ns)
{
    const struct weir_shm_limit_row *row = p->row;
    uint64_t need = used + p->units;
    if (need > cap || cap - need < row->reserve_min[p->priority] ||
        row->release_q64[p->priority] == 0) {
        return end_ns;
    }
    uint64_t units = cap - need;
    if (cap < row->quota) {
        units = (units + 1) * row->quota / cap; /* weir_window_reserve, the other way round */
    }
    unsigned __int128 room = (unsigned __int128)units << 64;
    uint64_t left_ns = (uint64_t)(room / row->release_q64[p->priority]);
    return end_ns - weir_min_u64(left_ns, row->window_ns) +
           (left_ns > 0 && left_ns < row->window_ns);
}

/* How often the worker looks whether a ceiling must be raised: what a refusal for want of one promises. */
#define WEIR_LIMIT_CEILING_NS (10 * WEIR_NS_PER_MS)

/* Units of window `k` that the journal on disk covers. relaxed: it only grows while k is current; a grant below an older one is as safe. */
WEIR_INLINE uint32_t weir_window_ceiling(const struct weir_shm_foreign *board, uint32_t k)
{
    uint64_t word = weir_load_relaxed_u64(&board->ceiling[k & 1]);
    return weir_window_id(word) == k ? (uint32_t)word : 0;
}

/*
 * The kind's whole test, for window `k` of which `kept` units stay free and `cap` may be charged in all; `word` and `foreign` are its words. On YES `*next` and
 * `*room` are filled. NO: the caller says until when, or that it is never.
 */
WEIR_INLINE enum weir_limit_verdict weir_window_judge(const struct weir_shm_foreign *board,
                                                      bool journaled, uint32_t k, uint64_t word,
                                                      uint64_t foreign, uint32_t units,
                                                      uint32_t kept, uint32_t cap, uint64_t *next,
                                                      uint64_t *room)
{
    bool ahead;
    uint32_t own = weir_window_units(word, k, &ahead);
    if (WEIR_UNLIKELY(ahead)) {
        return WEIR_LIMIT_AGAIN;
    }
    uint64_t wanted = (uint64_t)own + units + kept;
    if (WEIR_UNLIKELY(weir_window_id(foreign) == k)) {
        wanted += (uint32_t)foreign;
    }
    if (WEIR_UNLIKELY(wanted > cap)) {
        return WEIR_LIMIT_NO;
    }
    if (WEIR_UNLIKELY(journaled) &&
        WEIR_UNLIKELY((uint64_t)own + units > weir_window_ceiling(board, k))) {
        return WEIR_LIMIT_JOURNAL;
    }
    *next = weir_window_word(k, own + units);
    *room = cap - wanted;
    return WEIR_LIMIT_YES;
}

/*
 * The same for weir_window_judge, of window `k`: it says YES where the word less that of an empty window k is below the room, and the word becomes word + units. A word of
 * another window lies further away; so does one that is damaged.
 */
static inline uint64_t weir_window_room(const struct weir_shm_limit_row *row, uint32_t k,
                                        uint64_t foreign, uint32_t units, uint32_t kept,
                                        uint32_t cap)
{
    uint64_t others = weir_window_id(foreign) == k ? (uint32_t)foreign : 0;
    uint64_t taken = others + units + kept;
    return row->ceiling_step == 0 && taken <= cap ? cap - taken + 1 : 0;
}

/* One window of a span: window `k`, of which `left_ns` are left. Fills entry `w` of the plan. */
WEIR_INLINE enum weir_limit_verdict weir_window_fit(struct weir_limit_plan *p,
                                                    const struct weir_window_span *span, uint32_t w,
                                                    uint64_t left_ns)
{
    const struct weir_shm_limit_row *row = p->row;
    uint32_t k = span->first + w;
    uint64_t *at = &p->word->word[k & 1];
    uint64_t word =
        weir_load_relaxed_u64(at); /* relaxed: the CAS of pass 2 judges what was read here */
    uint64_t foreign = weir_load_relaxed_u64(
        &p->foreign->word[k & 1]); /* relaxed: an estimate, newer is better, older is legal */
    uint32_t kept = weir_window_reserve(row, p->priority, left_ns, span->cap);
    p->at[w] = at;
    p->seen[w] = word;
    /* room: of the later window, where there are two */
    enum weir_limit_verdict v =
        weir_window_judge(p->foreign, row->ceiling_step != 0, k, word, foreign, p->units, kept,
                          span->cap, &p->next[w], &p->room);
    if (WEIR_LIKELY(v != WEIR_LIMIT_NO)) {
        return v;
    }
    if ((uint64_t)p->units + row->reserve_min[p->priority] > row->quota) {
        return WEIR_LIMIT_NEVER;
    }
    bool ahead;
    uint64_t used = weir_window_units(word, k, &ahead);
    used += weir_window_id(foreign) == k ? (uint32_t)foreign : 0;
    uint64_t promise_ns =
        weir_window_earliest(p, span->cap, used, span->end_ns + (w == 0 ? 0 : row->window_ns));
    /* The scaled headroom is rounded in favour of asking early; an instant that is over would be no promise. */
    p->earliest_ns = weir_max_u64(promise_ns, span->end_ns - span->left_ns + 1);
    return WEIR_LIMIT_NO;
}

WEIR_INLINE enum weir_limit_verdict weir_window_plan(struct weir_limit_plan *p,
                                                     const struct weir_limit_time *time)
{
    struct weir_window_span span;
    weir_window_span_at(&span, &(struct weir_window_cache){0}, p->row, time->server, time->error_ns,
                        time->now_ns);
    p->windows = span.windows;
    p->window = span.first;
    p->price = p->units;
    p->at[1] = NULL;
    p->seen[1] = 0;
    p->next[1] = 0;
    enum weir_limit_verdict v = weir_window_fit(p, &span, 0, span.left_ns);
    if (WEIR_UNLIKELY(span.windows == 2 && v == WEIR_LIMIT_YES)) {
        return weir_window_fit(p, &span, 1, p->row->window_ns);
    }
    return v;
}

/* Does the kind count in cells? */
static inline bool weir_limit_in_cells(const struct weir_shm_limit_row *row)
{
    return row->form != WEIR_FORM_NONE;
}

/* The cells of limit word `index` of `row` in the section at `base`; `base` itself where the kind has none. */
WEIR_INLINE uint64_t *weir_limit_cells(uint64_t *base, const struct weir_shm_limit_row *row,
                                       uint32_t index)
{
    /* Not as a pointer: `base` is NULL where there is no section, and then the sum is never looked at. */
    uint64_t at = row->cell_first + (uint64_t)(index - row->word_first) * row->cell_stride;
    return (uint64_t *)((uintptr_t)base + at * sizeof *base);
}

/* Pass 1 of the kinds that live in cells; out of line, so that the others stay short. */
enum weir_limit_verdict weir_limit_plan_other(struct weir_limit_plan *plan,
                                              const struct weir_limit_time *time);

/* Pass 1. Pure but for the loads of the words; in a header so that the permit path keeps it in registers. */
WEIR_INLINE enum weir_limit_verdict weir_limit_plan(struct weir_limit_plan *plan,
                                                    const struct weir_limit_time *time)
{
    /* A cost of zero takes nothing and asks nothing. */
    if (WEIR_UNLIKELY(plan->units == 0)) {
        plan->windows = 0;
        plan->window = 0;
        plan->at[0] = &plan->word->word[0];
        plan->seen[0] = 0;
        plan->next[0] = 0;
        plan->room = UINT64_MAX;
        plan->price = 1;
        return WEIR_LIMIT_YES;
    }
    if (WEIR_UNLIKELY(plan->units > plan->row->quota)) {
        return WEIR_LIMIT_NEVER; /* also keeps units * unit_ns inside 64 bits */
    }
    /* Asked one after the other, the two that are hot first; weir_limit_plan_other is the switch without default. */
    if (WEIR_LIKELY(plan->row->kind == WEIR_LIMIT_TOKEN_BUCKET)) {
        return weir_bucket_plan(plan, time);
    }
    if (WEIR_LIKELY(plan->row->kind == WEIR_LIMIT_FIXED_WINDOW)) {
        return weir_window_plan(plan, time);
    }
    /* A copy: what a function out of line may see cannot stay in registers for the other kinds. */
    struct weir_limit_plan out_of_line = *plan;
    out_of_line.cell = weir_limit_cells(plan->cell_base, plan->row, plan->index);
    enum weir_limit_verdict v = weir_limit_plan_other(&out_of_line, time);
    *plan = out_of_line;
    return v;
}

/* Pass 2 of a kind that lives in cells: charges, or leaves nothing. On YES `plan->window` says where. */
enum weir_limit_verdict weir_limit_take_cells(struct weir_limit_plan *plan,
                                              const struct weir_limit_time *time);

/*
 * Pass 2 where somebody was faster: undoes a half-taken straddle (`plan->window` is its first window), plans again, tries again. YES:
 * charged as the plan now says. Anything else: nothing of this limit is charged. (The first try is in weir_permit.c, for speed.)
 */
enum weir_limit_verdict weir_limit_take_again(struct weir_limit_plan *plan,
                                              const struct weir_limit_time *time, bool half);

/* What is known of the grant whose charges are corrected. */
struct weir_limit_grant {
    uint64_t granted_at_ns;
    uint64_t stamp_ns; /* of its cells (sliding_window) */
    uint64_t now_ns;
    uint64_t owner; /* of units that are held (concurrency) */
    struct weir_limit_epoch epoch;
    /* token_bucket: T is that of the tables `tables_seen`; looked at again behind each look at the word (broker/reload.h). NULL: nothing changes them */
    const uint64_t *tables;
    uint64_t tables_seen;
    /* token_bucket: read anew behind each look at the word. A refund by an older reading gives back what time gave back since. */
    struct weir_clock *clock;
};

/* The words of one limit for one scope value. */
struct weir_limit_place {
    const struct weir_shm_limit_row *row;
    struct weir_shm_limit_word *word;
    uint64_t *cell;
};

/*
 * Give a charge back, by the kind's rule: the call was not made, or the exchange does not count it. Returns whether anything changed; a window's charge
 * stays once its timeline is over. Concurrency: the unit is free at once.
 */
bool weir_limit_give(const struct weir_limit_place *at, const struct weir_charge *charge,
                     const struct weir_limit_grant *grant);

/*
 * Charge `units` more than the permit took, whether they fit or not: the exchange has counted them. A word that cannot hold so much holds all it can,
 * which closes the limit until it has room again. Windows: the charged ones while they last, else the current one; `charge->windows` 0 where the charged
 * ones are of another timeline. `grant->epoch` is that of `time`.
 */
void weir_limit_add(const struct weir_limit_place *at, const struct weir_charge *charge,
                    uint32_t units, const struct weir_limit_grant *grant,
                    const struct weir_limit_time *time);

/*
 * Add to window `k`, up to what a surcharge may overdraw it; what stands there is never cut off. False: its word bears a later window, or the timeline
 * is over. Callers: surcharges, and calls that stay open (weir_overdue.h).
 */
bool weir_limit_window_add(const struct weir_limit_place *at, uint32_t k, uint32_t units,
                           const struct weir_limit_epoch *epoch);

/* Let go what is held until the end of the call (concurrency); other kinds: nothing. Returns whether anything changed. */
bool weir_limit_end(const struct weir_limit_place *at, const struct weir_charge *charge,
                    const struct weir_limit_grant *grant);

/* For monitors and weir_limit_get: the state of one limit word at one instant. */
struct weir_limit_state {
    uint32_t quota; /* units the limit has now (reduced while the clock is unknown) */
    uint32_t used;  /* own charges and foreign usage */
    uint32_t foreign;
    uint32_t late; /* bucket: of `used`, held for calls that are counted late (weir_late.h) */
    uint32_t foreign_next; /* windows: what others are expected to use in the next one */
    uint32_t left[WEIR_PRIORITY_CNT];
    uint64_t reset_ns; /* weir time at which used falls to 0 if nothing more is taken */
    bool damaged;
};

/* `at->cell` NULL: a monitor's, whose word is a limit view: {used, free again} for kinds that live in cells. */
void weir_limit_state_get(struct weir_limit_state *state, const struct weir_limit_place *at,
                          const struct weir_shm_foreign *foreign,
                          const struct weir_limit_time *time);

/* What a limit view shows of a kind that lives in cells: units used, and when they are all free again. Reads every cell. */
uint32_t weir_limit_cells_used(const struct weir_limit_place *at, uint64_t now_ns,
                               uint64_t *empty_at_ns);

/*
 * The first instant from time->now_ns on at which `units` would pass at `priority`, if nobody else came and nothing were given back: exact, by
 * the kind's own test (weir_limit_plan), which is asked at instants to come. The server clock's error goes on growing with its age. UINT64_MAX: never as
 * things are (the cost is above what the class may ever take, or above the quota while the clock is unknown; a kind whose room depends on
 * others). Not on the permit path: some hundred tests. A new kind adds its case in weir_limit_earliest.c. A monitor's view of a kind that lives in cells
 * (`at->cell` NULL) says only when all is free: there the answer is an instant at which it passes at the latest.
 */
uint64_t weir_limit_earliest(const struct weir_limit_place *at,
                             const struct weir_shm_foreign *foreign,
                             const struct weir_limit_time *time, uint32_t units, unsigned priority);

#endif
