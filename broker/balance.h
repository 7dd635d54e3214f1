/*
 * balance.h: which of several endpoints takes the next call. Candidates are those of one role that may be used now, in the order of the configuration.
 *
 *   failover               the first
 *   round_robin            the next one after the last
 *   weighted_round_robin   nginx' smooth form (commit 52327e0627): each candidate's current value grows by its weight, the largest one is chosen and pays
 *                          the sum of all: 5, 1, 1 becomes a a b a c a a, never a a a a a b c
 *   least_latency          the least peak EWMA * (calls under way + 1), as Finagle's; one that has never answered is tried first, but not by two at a time
 *   least_connections      the least calls under way for its weight; where they are equal, in turn
 *   two_choices            two at random by weight, the better of them by score / (calls under way + 1): M. Mitzenmacher, "The Power of Two Choices in
 *                          Randomized Load Balancing" (1996): nearly as even as looking at all, and no herd runs to the one that looks best
 *
 * Weights are effective ones: configured, times what slow start leaves. Pure: the random source is the caller's.
 */
#ifndef WEIR_BROKER_BALANCE_H
#define WEIR_BROKER_BALANCE_H

#include "shm/weir_base.h"
#include "shm/weir_types.h"

#define BALANCE_CANDIDATES_MAX 256U

/* One endpoint that may be used. */
struct balance_candidate {
    uint32_t place;  /* in the provider's order */
    uint32_t weight; /* at least 1: thousandths */
    uint32_t in_flight;
    uint32_t score;    /* 0..1000 */
    double latency_ns; /* 0: not known */
    int64_t *current;  /* weighted_round_robin's; the endpoint's own, kept between calls */
};

/* Of one provider. */
struct balance_state {
    uint32_t next; /* place from which the turn goes on */
};

/* splitmix64 */
uint64_t balance_random(uint64_t *state);

/* The index in `c` of the one that takes the call; `cnt` is 1 at least. */
uint32_t balance_pick(enum weir_balance kind, struct balance_state *state,
                      const struct balance_candidate *c, uint32_t cnt, uint64_t *random);

#endif
