/*
 * weir_express.h: the short way of the permit path, for calls as they usually are.
 *
 * Most permits are of a few kinds of calls, on limits that are buckets or fixed windows, while nothing is paused and no window is about to end. What such a call
 * asks is worked out once, kept by its thread, and found again by route, class and scope. Then a permit is: the tables' word, the clock, the gate, one look at each
 * limit word, one CAS each, the clock's sequence once more, and the permit filled in.
 *
 * Each limit is asked in short: what others use is what it was, and less than `room` stands in the word. How much room that is say weir_bucket_room and weir_window_room,
 * next to the kinds' whole rules, and never more than these would grant. Where the answer is not yes, the limits are asked in full.
 *
 * The rules are not told a second time. Each check of weir_permit.c is made here too, by the same functions (weir_bucket_judge, weir_window_judge, weir_hold_open),
 * but with one answer to whatever is not as usual: the long way, from its beginning, which knows the reasons. Nothing has been written then, or it has been given
 * back. Only what a full bucket refuses is told from here (weir_bucket_full), because who is refused asks often.
 *
 *   writer, reader   the thread that owns the view          dies at any instruction   as on the long way: too many charges, never too few
 *
 * An entry holds for one word of the tables, which each permit compares; rows lie in immutable blocks, so nothing else in it can grow old but which windows are
 * current, and that bears the clock's sequence and an end (weir_window_zone).
 */
#ifndef WEIR_EXPRESS_H
#define WEIR_EXPRESS_H

#include "weir_limit.h"

/* Kinds of calls that a thread keeps; calls that fall on the same entry drive each other out. A power of two. */
#define WEIR_EXPRESS_CNT 16U
/* Routes with more limits go the long way. */
#define WEIR_EXPRESS_LIMITS 4U
/* No crowd takes as many calls out of a limit between the two passes of one permit. */
#define WEIR_EXPRESS_AMPLE_CNT 64U

/* What one limit is asked, in the order of charging: the scarcest when that was last looked at stands first. */
struct weir_express_limit {
    uint64_t *at;            /* the word that is charged */
    const uint64_t *foreign; /* what others use, beside it */
    /* The short question: `*foreign` is still `others`, and less than `room` stands above the window's base, or the bucket's now. Yes: the word goes up by `step`. */
    uint64_t others;
    uint64_t base; /* of the current window: its word without units */
    uint64_t room; /* 0: it is asked in full each time */
    uint64_t step; /* window: units; bucket: their time */
    uint64_t units;
    uint64_t limit;
    bool is_bucket;
    bool keeps;         /* window: something stays free for the classes above */
    uint8_t place;      /* in the route */
    uint8_t room_shift; /* bucket: brings its room below 2^32 */
    uint32_t window;    /* its number, what may be charged in it, its end in server time */
    uint32_t cap;
    uint64_t end_ns;
    uint64_t price; /* what the call takes of the room; bucket: shifted likewise */
    struct weir_bucket_ask bucket;
    const struct weir_shm_limit_row *row;
    struct weir_shm_limit_word *word;
    const struct weir_shm_foreign *board;
};

struct weir_express;
struct weir_permit_view;

/* weir_permit_take for so many limits, by their kinds. */
typedef int weir_express_way(struct weir_permit_view *view, struct weir_express *e,
                             struct weir_permit *permit);

/* As weir_permit_take_long. */
typedef int weir_long_way(struct weir_permit_view *view, weir_route_id route, weir_scope_id scope,
                          const struct weir_cost *units, unsigned priority,
                          struct weir_permit *permit);

/* What one kind of call asks. */
struct weir_express {
    uint64_t tables; /* the gate's word that the rows are of */
    uint64_t scope;
    uint32_t route;
    uint32_t priority;
    uint32_t limit_cnt; /* 0: an empty entry */
    bool needs_clock;
    weir_express_way *way;
    /* all windows are what their limits say from then on, for so long, under this publication of the clock; without windows: for ever */
    uint64_t from_ns;
    uint64_t length_ns;
    uint64_t seq;
    const uint64_t *clock_seq;
    const struct weir_shm_pause *pause; /* both words of its pause */
    const uint64_t *board_pause;
    uint64_t slack_ns;
    uint64_t state;   /* the permit's, with the epoch */
    uint64_t granted; /* its counter */
    const struct weir_shm_provider *board;
    uint64_t epoch;   /* 0: no window */
    uint64_t lost_ns; /* when somebody was faster last */
    uint32_t provider;
    struct weir_charge
        charge[WEIR_EXPRESS_LIMITS]; /* as the permit bears them, in the route's order */
    struct weir_express_limit limit[WEIR_EXPRESS_LIMITS];
};

/* Does the entry keep this kind of call, by these tables? */
static inline bool weir_express_keeps(const struct weir_express *e, uint64_t tables, uint32_t route,
                                      uint64_t scope, unsigned priority)
{
    return e->tables == tables && e->route == route && e->priority == priority &&
           e->scope == scope && e->limit_cnt != 0;
}

/* Where a kind of call is kept. */
static inline uint32_t weir_express_slot(uint32_t route, uint64_t scope, unsigned priority)
{
    /* the top bits of a product: scope values lie in four places (Knuth, multiplicative hashing) */
    uint32_t mixed = (uint32_t)((scope * UINT64_C(0x9e3779b97f4a7c15)) >> 48);
    return (route + 3 * priority + mixed) & (WEIR_EXPRESS_CNT - 1U);
}

/*
 * Keep this kind of call where it may go the short way, or bring it up to the window that is current; `priority` and `scope` are checked. Caller: the long
 * way, which is gone because the short one did not know the call, or not any more.
 */
void weir_express_learn(struct weir_permit_view *view, uint32_t route, uint64_t scope,
                        unsigned priority, uint64_t now_ns);

#endif
