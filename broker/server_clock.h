/*
 * server_clock.h: what the exchange's clock shows, with a bound on the error.
 *
 * Each sample is an interval that surely holds the offset (server UTC minus weir time): a reply that left us at t0 and was back at t1 and
 * bears the stamp s with granularity g was stamped in between, so the offset lies in [s - t1, s + g - t0]. Intervals of many samples are
 * intersected; the old one is first widened by what two quartz clocks may have drifted apart since. An empty intersection means that the
 * server's clock was stepped (or lied): the new sample stands alone, and windows are re-aligned.
 *
 * Pure arithmetic: no I/O, no atomics. Source: Cristian 1989; Marzullo & Owicki 1983; research/rate_limits.md 3.3.
 */
#ifndef WEIR_BROKER_SERVER_CLOCK_H
#define WEIR_BROKER_SERVER_CLOCK_H

#include "shm/weir_layout.h"

/* What two undisciplined clocks may drift apart. 50 ppm each is what cheap quartz promises. */
#define SERVER_CLOCK_DRIFT_PPB 100000U

struct server_clock {
    bool known;
    int64_t low_ns; /* the offset lies in [low, high] at sampled_at_ns */
    int64_t high_ns;
    uint64_t sampled_at_ns;
};

enum server_clock_step {
    SERVER_CLOCK_REFINED = 0,   /* the truth lies in the old interval and in the new one */
    SERVER_CLOCK_REALIGNED = 1, /* first sample, or a step: charges must be carried over */
    SERVER_CLOCK_REFUSED = 2,   /* the sample contradicts itself */
};

/* Take one sample. Times in weir ns, the stamp in UTC ns, granularity in ns. */
enum server_clock_step server_clock_sample(struct server_clock *clock, uint64_t sent_ns,
                                           uint64_t received_ns, uint64_t stamp_utc_ns,
                                           uint64_t granularity_ns);

/* What is published: centre and half-width. `jitter_ns` from the configuration. */
struct weir_server_clock server_clock_value(const struct server_clock *clock, uint64_t jitter_ns);

/* A clock that is this machine's own UTC, true within `error_ns`. */
struct weir_server_clock server_clock_host(uint64_t now_ns, uint64_t utc_ns, uint64_t error_ns,
                                           uint64_t jitter_ns);

/* A clock of which nothing is known: windows by this machine's UTC, with the reduced quota. */
struct weir_server_clock server_clock_unknown(uint64_t now_ns, uint64_t utc_ns, uint64_t jitter_ns);

#endif
