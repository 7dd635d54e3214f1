/*
 * batch.h: one call for many single ones of a route (`batch` of its configuration).
 *
 *   batch.c        who joins which batch, when it is made, and when it is not
 *   batch_give.c   its end: the answer is cut up, kept by element, and given to whoever waits
 *   batch_text.c   names, and the texts of calls (pure); batch_split.c: the answer's form (pure)
 *
 * A batch is a call of the worker's own on the batch's route, with a permit of that route's cost. Whoever joins follows it (CALL_FOLLOW, coalesce.c): by its own deadline, without a permit, never
 * sent. So a worker's death leaves them CLAIMED and the next worker begins again; a cancel or a deadline takes one out, and the batch goes on.
 *
 *   (open: CALL_GATHER) --- gather over, or full ---> (queued, running like any call) ---> end
 *         |                                             |
 *         | nobody waits, or not cheaper: ends          | nobody waits any more: ends before it takes a permit
 *
 * Every end answers every waiter once: with its element, or it makes its own call (`alone`: it joins no batch again). Its own call it makes where
 *
 *   the batch failed in whatever way, was not cheaper, or its answer is not of the stated form
 *   the answer has no element of its name, or two
 *   the element does not fit the room of a single answer, or the answer forbids to share it
 *   it joined when the batch was sent already, and the answer is older than `cache` and `stale` together
 *   the batch has no permit, and will have none before the deadline of who waits; or a breaker holds the batch up
 *   the batch was made, and has not answered when half of the time is over that who waits had left when it had gathered (coalesce.c, follow.c): the other half is for the own call
 *
 * What keeps one caller from spoiling it for all: a name that the exchange refused by itself joins no batch for a minute; after a batch that failed there is none for a second, doubling to a minute. A
 * call whose time is shorter than batches take of late is made by itself.
 */
#ifndef WEIR_BROKER_BATCH_H
#define WEIR_BROKER_BATCH_H

#include "broker/batch_text.h"
#include "broker/cache.h"

#define BATCH_BAD_MAX 64U

struct batch {
    struct batch *next;
    struct call
        *call;      /* the worker's own; its followers wait for elements, or for the whole answer */
    uint32_t route; /* of the single calls */
    uint64_t scope;
    bool open; /* it gathers */
    bool late; /* somebody has waited for it in vain: nobody joins it any more */
    uint64_t close_ns;
    struct batch_want with;     /* of the first: what is passed on */
    struct batch_name *name;    /* [cnt] what is asked for ... */
    struct weir_cache_key *key; /* ... by calls of these keys */
    uint32_t cnt, room;
    /* once it is answered */
    struct split split;
    struct cache_directives say;
    const char *body; /* the call's own room */
    uint32_t body_bytes;
    char head[512];
    uint32_t head_bytes; /* 0: nothing to give */
};

/* What is remembered of a route whose calls join batches. */
struct batch_plan {
    uint64_t took_ns;       /* how long batches took: a peak, sinking ... */
    uint64_t took_at_ns;    /* ... as of this instant */
    uint64_t not_before_ns; /* one failed */
    uint32_t failures;      /* in a row */
    uint32_t bad_next;
    struct batch_bad {
        uint64_t key, until_ns;
    } bad[BATCH_BAD_MAX];
};

/* What is known of how long they take is worth half as much after so long: who is kept from them by it makes none that would say better. */
#define BATCH_TOOK_HALF_NS (5 * WEIR_NS_PER_S)

static inline uint64_t batch_took_ns(const struct batch_plan *plan, uint64_t now_ns)
{
    uint64_t age_ns = now_ns > plan->took_at_ns ? now_ns - plan->took_at_ns : 0;
    return plan->took_ns >> weir_min_u64(age_ns / BATCH_TOOK_HALF_NS, 63);
}

/* False: no memory. Caller: cache_open, once. */
bool batch_open(struct worker *w);

/* `c` waits for nothing yet, and its answer is not to be had. True: it follows a batch now. */
bool batch_join(struct worker *w, struct call *c);

/* Is an answer to this key on its way in a batch? */
bool batch_brings(const struct worker *w, uint32_t route, const struct weir_cache_key *key);

/* Make, or dissolve, those whose gathering is over. Caller: the turn, before calls are started. */
void batch_turn(struct worker *w);

/* A batch that nobody waits for any more ends before it takes a permit: true, and it has ended. */
bool batch_is_idle(struct worker *w, struct call *c);

/* The exchange refused this call by itself: it would spoil a batch. */
void batch_refused(struct worker *w, const struct call *c);

/* batch_give.c. The internal_done of a batch. */
void batch_ended(struct worker *w, struct call *c, enum weir_result result);
/* Make `c`'s element of the batch `lead` its answer; false: it is to make its own call. */
bool batch_give(struct worker *w, struct call *c, const struct call *lead);
void batch_free(struct call *lead);
/* batch.c: it is taken out of the list: nobody joins it any more. */
void batch_leave(struct worker *w, struct batch *b);

#endif
