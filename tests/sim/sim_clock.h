/*
 * The exchange's clock. It starts at the host's CLOCK_REALTIME plus an offset
 * and then follows CLOCK_MONOTONIC, so that a step of the host's clock is no
 * step of the exchange's: windows never go back unless a test asks for it.
 */
#ifndef SIM_CLOCK_H
#define SIM_CLOCK_H

#include <stdint.h>

#define SIM_NS_PER_MS INT64_C(1000000)
#define SIM_NS_PER_S  INT64_C(1000000000)

/* One reading: calendar time decides windows, monotonic time decides spans. */
struct sim_instant {
    int64_t utc_ns;
    int64_t mono_ns;
};

struct sim_clock {
    int64_t utc_minus_mono_ns;
    int64_t offset_ms;
};

void sim_clock_start(struct sim_clock *clock, int64_t offset_ms);
void sim_clock_shift(struct sim_clock *clock, int64_t offset_ms);
struct sim_instant sim_clock_now(const struct sim_clock *clock);

#endif
