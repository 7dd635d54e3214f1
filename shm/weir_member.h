/*
 * weir_member.h: a provider's pool, and which of its members makes a call.
 *
 * A pool is source addresses, keys, or both; the exchange counts each by itself, so each has words of its own in the limits of its kind. In a scope id the
 * value 0 of a kind that has a pool stands for "whichever", and is no value of any limit (weir_shm_limit_row.value_first). Here it becomes one:
 *
 *   headroom of a member   the least, over the limits of the route that count by its kind, of (left - cost) / quota; `left` is what the call's class may
 *                          still take now, others' usage and headroom off
 *   choice                 the most headroom; of equals the next one in turn
 *   refused                by a limit, or a pause, of its kind: the next best, until one passes or all were asked
 *
 * Addresses and keys are chosen apart: a limit counts by one kind, so the best pair is the best address with the best key; and an address that a limit of
 * addresses refuses is refused with every key. What a call names itself is never changed; an account, or a key, that it does not name is only chosen where
 * `any_key` says that any will do.
 *
 * Pure looks: nothing is written. Callers: the worker for brokered calls, weir_scope_best for traders.
 */
#ifndef WEIR_MEMBER_H
#define WEIR_MEMBER_H

#include "weir_types.h"

#include <stdbool.h>
#include <stddef.h>

struct weir_permit_view;
struct weir_tables;

#define WEIR_MEMBER_HALF_MAX 64U /* addresses, or keys, of one provider */
#define WEIR_MEMBERS_MAX     (2 * WEIR_MEMBER_HALF_MAX)

enum weir_member_half {
    WEIR_MEMBER_ADDRESS = 0,
    WEIR_MEMBER_KEY = 1,
};

/* The members of one call: 1 + its place among the provider's, of the address in the low 16 bits, of the key in the high ones; 0: none. */
typedef uint32_t weir_member_pair;

static inline uint32_t weir_member_of(weir_member_pair pair, enum weir_member_half half)
{
    return half == WEIR_MEMBER_ADDRESS ? pair & 0xffffU : pair >> 16;
}

/* One call's way through the pool. */
struct weir_member_choice {
    weir_scope_id asked;
    weir_scope_id scope;   /* the choice: with the values of its members */
    weir_member_pair pair; /* ... and who they are */
    uint32_t route;
    bool chooses[2];   /* by half: something is to be chosen */
    uint64_t open[2];  /* ... bit per candidate that was not refused */
    uint32_t first[2]; /* ... where its candidates begin among the provider's members */
};

/* `asked` with the values of `pair` in the places that it leaves open. Places that are not there change nothing. */
weir_scope_id weir_member_scope(const struct weir_tables *tables, uint32_t provider,
                                weir_scope_id asked, weir_member_pair pair);

/*
 * Which members may make a call on `route` under `asked`? `route` is a route of the view's tables, which are current. Where nothing is to be chosen `scope` is the
 * answer already. What stays 0 in it is for the caller to refuse: no limit has such a value.
 */
void weir_member_begin(struct weir_member_choice *choice, const struct weir_permit_view *view,
                       weir_route_id route, weir_scope_id asked, bool any_key);

/* The best of those that were not refused. False: none is left. `turn` decides between equals. Reads the limit words of each candidate: some tens of ns each. */
bool weir_member_next(struct weir_member_choice *choice, struct weir_permit_view *view,
                      const struct weir_cost *units, unsigned priority, uint32_t turn);

/* It was refused so: is there another who might pass? */
bool weir_member_refused(struct weir_member_choice *choice, const struct weir_permit_view *view,
                         const struct weir_denial *denial);

/* This half's member cannot: is there another? */
bool weir_member_skip(struct weir_member_choice *choice, enum weir_member_half half);

/* "ip=a,key=b": the names of a scope's values, "" where none has one. Returns `text`, cut off where it is too short. */
const char *weir_member_text(const struct weir_tables *tables, uint32_t provider,
                             weir_scope_id scope, char *text, size_t bytes);

#endif
