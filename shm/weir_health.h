/*
 * weir_health.h: the breaker's word on the board: state, cause and instant in one 8-byte word, so that whoever looks sees all three of one instant.
 *
 *   until_us:56 | cause:4 (enum weir_call_class) | state:4 (enum weir_breaker_state)
 *
 * The instant is weir time in microseconds, rounded up: open until then; half-open: the leases of the probes under way end then. One writer, the worker
 * (struct weir_shm_health); readers need no retry. When a breaker is open and its instant has passed, the next call is a probe.
 */
#ifndef WEIR_HEALTH_H
#define WEIR_HEALTH_H

#include "weir_base.h"
#include "weir_types.h"

#define WEIR_BREAKER_UNTIL_MAX_NS ((UINT64_C(1) << 56) - 1)

static inline uint64_t weir_breaker_make(unsigned state, unsigned cause, uint64_t until_ns)
{
    uint64_t us = weir_min_u64(until_ns, WEIR_BREAKER_UNTIL_MAX_NS * 255) / WEIR_NS_PER_US;
    us += until_ns % WEIR_NS_PER_US != 0 ? 1 : 0;
    return us << 8 | (cause & 15U) << 4 | (state & 15U);
}

static inline unsigned weir_breaker_state_of(uint64_t word)
{
    return (unsigned)(word & 15U);
}

static inline unsigned weir_breaker_cause_of(uint64_t word)
{
    return (unsigned)(word >> 4 & 15U);
}

static inline uint64_t weir_breaker_until_ns(uint64_t word)
{
    return (word >> 8) * WEIR_NS_PER_US;
}

#endif
