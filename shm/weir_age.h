/*
 * weir_age.h: what a call costs whose cost depends on the age of what it touches (Kraken: cancel and amend of a young order).
 *
 * Brackets of a route: age below `age_below_ns[i]` costs `age_units[i]` of the limit at place `age_slot`, the first that fits; behind the last
 * one the route's own cost. The exchange measures the age when the call arrives there, from the order's creation or last amendment there; both are
 * known to us only within the provider's max_jitter J. So the cost is the dearest of all brackets that an age in [age - J, age + J] touches.
 *
 * Theorem. The exchange charges no more than that. Proof: the true age lies in the interval, and the cost of an age is that of its bracket.
 *
 * Pure. Source: Kraken "Trading rate limits" (add 1; cancel 8, 6, 5, 4, 2, 1 below 5, 10, 15, 45, 90, 300 s), research/rate_limits.md 2.6.
 */
#ifndef WEIR_AGE_H
#define WEIR_AGE_H

#include "weir_layout.h"

/* Units for an age that is known exactly. */
static inline uint32_t weir_age_exact(const struct weir_shm_route_row *route, uint64_t age_ns)
{
    for (uint32_t i = 0; i < route->age_cnt; i++) {
        if (age_ns < route->age_below_ns[i]) {
            return route->age_units[i];
        }
    }
    return route->cost[route->age_slot];
}

/* Units for an age that is true within `jitter_ns`: of every bracket that it may lie in the dearest. */
static inline uint32_t weir_age_units(const struct weir_shm_route_row *route, uint64_t age_ns,
                                      uint64_t jitter_ns)
{
    uint64_t low_ns = age_ns > jitter_ns ? age_ns - jitter_ns : 0;
    uint64_t high_ns = age_ns + jitter_ns < age_ns ? UINT64_MAX : age_ns + jitter_ns;
    uint32_t units = weir_age_exact(route, low_ns);
    for (uint32_t i = 0; i < route->age_cnt; i++) {
        if (route->age_below_ns[i] > low_ns && route->age_below_ns[i] <= high_ns) {
            uint32_t behind = weir_age_exact(route, route->age_below_ns[i]);
            units = behind > units ? behind : units;
        }
    }
    return units;
}

/* The age from which on the call is cheaper than at `age_ns`; UINT64_MAX: it never is. "The cheapest moment", one bracket at a time. */
static inline uint64_t weir_age_cheaper(const struct weir_shm_route_row *route, uint64_t age_ns,
                                        uint64_t jitter_ns)
{
    uint32_t now = weir_age_units(route, age_ns, jitter_ns);
    for (uint32_t i = 0; i < route->age_cnt; i++) {
        uint64_t from_ns = route->age_below_ns[i] + jitter_ns;
        if (from_ns > age_ns && weir_age_units(route, from_ns, jitter_ns) < now) {
            return from_ns;
        }
    }
    return UINT64_MAX;
}

#endif
