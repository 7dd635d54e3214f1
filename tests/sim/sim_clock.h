/*
 * The exchange's clock. It starts at the host's CLOCK_REALTIME plus an offset
 * and then follows CLOCK_MONOTONIC, so that a step of the host's clock is no
 * step of the exchange's: windows never go back unless a test asks for it. It
 * may run fast or slow (drift), and step at an instant chosen before.
 */
#ifndef SIM_CLOCK_H
#define SIM_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

#define SIM_NS_PER_MS INT64_C(1000000)
#define SIM_NS_PER_S  INT64_C(1000000000)

enum { SIM_CLOCK_STEP_MAX = 16 };

/* One reading: calendar time decides windows, monotonic time decides spans. */
struct sim_instant {
    int64_t utc_ns;
    int64_t mono_ns;
};

struct sim_clock_step {
    int64_t at_mono_ns;
    int64_t step_ms;
};

struct sim_clock {
    int64_t utc_minus_mono_ns;  /* of the host, at start */
    int64_t offset_ns;          /* of the exchange to the host at drift_from_mono_ns */
    int64_t drift_ppm;          /* ns gained in 1 ms of the host */
    bool drifts_spans;          /* its monotonic clock drifts, too: one oscillator for both */
    int64_t span_gained_ns;     /* by that clock until drift_from_mono_ns */
    int64_t drift_from_mono_ns; /* of the host */
    struct sim_clock_step steps[SIM_CLOCK_STEP_MAX]; /* to come, in no order */
    int step_cnt;
};

void sim_clock_start(struct sim_clock *clock, int64_t offset_ms, int64_t drift_ppm,
                     bool drifts_spans);

/* Sets the offset anew, from now on: what drift and steps have done is gone. */
void sim_clock_shift(struct sim_clock *clock, int64_t offset_ms);

/* From now on; what has drifted until now stays. */
void sim_clock_drift(struct sim_clock *clock, int64_t drift_ppm);

/* Adds STEP_MS once AFTER_MS have passed. False: SIM_CLOCK_STEP_MAX are waiting. */
bool sim_clock_step(struct sim_clock *clock, int64_t step_ms, int64_t after_ms);

struct sim_instant sim_clock_now(struct sim_clock *clock);

/* The reading at an instant of the host's CLOCK_MONOTONIC, not before the last
   reading: sim_clock_now is this at the present. */
struct sim_instant sim_clock_at(struct sim_clock *clock, int64_t mono_ns);

#endif
