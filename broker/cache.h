/*
 * cache.h: the worker's side of the answers on the board (shm/weir_cache.h).
 *
 *   cache.c     which answer lies where, and what goes when there is no room
 *   coalesce.c  what calls have of it: given at once, given stale, made once for many
 *   batch.c     ... made together with others (batch.h)
 *
 * The heads on the board are the truth; which granules are free, and what was touched of late, is private memory, made anew from the heads by a
 * restarted worker. Nothing that a client can write is read here but the counts and the touches in its meters, which decide about an eviction and
 * nothing else. What is kept is what the worker itself received from the network (hear.h), under a key made from its own checked copy of the request: a
 * client can neither put words into an answer nor have one kept under another call's name.
 *
 * Eviction. Second chance (CLOCK) over the heads: a touch since the hand passed last saves an answer once. Who touches: the worker with each answer that it gives, and
 * clients by a ring of 31 places in each thread's meter, looked at every 250 ms; so a hit stays free of shared writes, and what is taken often is surely seen. Monitors
 * have no meter, what they take saves nothing. What is behind its stale end goes first wherever it is met. Within a set of 8, where all are in use: the same order, then the one
 * that ends soonest.
 */
#ifndef WEIR_BROKER_CACHE_H
#define WEIR_BROKER_CACHE_H

#include "broker/worker.h"

#define CACHE_FLIGHTS 1024U /* buckets of calls in flight by key */

struct cache {
    struct weir_cache_view view; /* of our own mapping */
    struct pool pool;
    uint8_t *touched;        /* [head] */
    uint64_t *refresh_at_ns; /* [head]: it is not fetched again for those who get it stale before */
    uint32_t hand;
    struct call
        *flight[CACHE_FLIGHTS]; /* the call whose answer others of its key wait for, by key */
    struct batch *batch_first;  /* that gather or are under way (batch.h) */
    struct batch_plan **plan;   /* [route]; NULL: its calls join no batch */
    uint64_t follow_due_ns;     /* no call that waits for another's answer expires earlier */
    char clean[WEIR_CACHE_HEAD_MAX_BYTES]; /* a head without what belongs to one receiver */
};

/* The head that stands for `key`, whatever its age; NULL: none. Good until the next cache_put. */
struct weir_shm_cache_head *cache_look(struct worker *w, const struct weir_cache_key *key);

static inline uint32_t cache_index(const struct worker *w, const struct weir_shm_cache_head *head)
{
    return (uint32_t)(head - w->region->cache_head);
}

/* Its head and body, one behind the other. */
static inline const char *cache_bytes(const struct worker *w, const struct weir_shm_cache_head *h)
{
    return (const char *)w->region->cache_data + h->data_off_bytes;
}

/* Keep an answer: `as` without sequence and place. False: too large, or no room could be made. */
bool cache_put(struct worker *w, const struct weir_shm_cache_head *as, const char *head,
               const char *body);

/* How long an answer may be kept by what its head says; false: not at all. `age_ns` is what it says of itself. */
struct cache_directives {
    uint64_t max_age_ns; /* UINT64_MAX: it says nothing */
    uint64_t age_ns;
    bool must_revalidate; /* not to be given stale */
};
/* `honour`: by Cache-Control and Age; Vary: * forbids in any case, and so does a line that goes on in the next one. Pure. */
bool cache_directives(const char *head, size_t bytes, bool honour, struct cache_directives *out);

/* Copy `head` without Set-Cookie to `to`, which has room for all of it. Returns the bytes. Pure. */
size_t cache_head_clean(const char *head, size_t bytes, char *to);

#endif
