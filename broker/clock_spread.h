/*
 * clock_spread.h: how long the way to the exchange takes of late: the measured part of J.
 *
 * A call is counted somewhere between its writing and the first byte of its answer. How the round trip divides is unknown, so all of it is the bound:
 * half would be a guess. What is published is J = max(configured max_jitter, slack + q), where slack is the time that a permit may wait until it
 * is written (max_jitter / 2, weir_permit.c) and q a high quantile of the round trips: at most one in a thousand was longer.
 *
 * One slow answer does not move q (a stall behind the counter is the usual cause, and one reply may lie); two do, at once. Weights are halved
 * each minute, so J shrinks again slowly. What a token bucket makes of it: shm/weir_late.h. Never below the configured floor, never above CLOCK_JITTER_MAX_NS.
 *
 * Buckets are an eighth of an octave wide, from 64 us to 64 s; q is a bucket's upper edge, so it errs by at most 13 % and upwards. Pure.
 */
#ifndef WEIR_BROKER_CLOCK_SPREAD_H
#define WEIR_BROKER_CLOCK_SPREAD_H

#include <stdint.h>

#define CLOCK_SPREAD_BUCKETS 160U
#define CLOCK_JITTER_MAX_NS  UINT64_C(60000000000)

struct clock_spread {
    uint64_t halved_at_ns;
    uint64_t total;
    uint32_t weight[CLOCK_SPREAD_BUCKETS];
};

/* One answered call: `round_ns` from the send gate to the first byte. */
void clock_spread_add(struct clock_spread *s, uint64_t round_ns, uint64_t now_ns);

/* The quantile; 0 while fewer than two calls were answered. */
uint64_t clock_spread_quantile_ns(const struct clock_spread *s);

/*
 * What a worker before us had published as J: as if two calls had just taken so long, so that a death does not make a slow network a fast one. It is forgotten like
 * others. Nothing where J was the floor.
 */
void clock_spread_go_on(struct clock_spread *s, uint64_t jitter_ns, uint64_t max_jitter_ns,
                        uint64_t now_ns);

/* J, from the configured floor. */
uint64_t clock_spread_jitter_ns(const struct clock_spread *s, uint64_t max_jitter_ns);

#endif
