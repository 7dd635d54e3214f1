#include "sim_clock.h"

#include <time.h>

static int64_t host_now_ns(clockid_t id)
{
    struct timespec now;

    clock_gettime(id, &now);
    return (int64_t)now.tv_sec * SIM_NS_PER_S + now.tv_nsec;
}

/* ppm = ns gained per ms: whole ms first, so that years do not overflow. */
static int64_t drifted_ns(const struct sim_clock *clock, int64_t mono_ns)
{
    int64_t since_ns = mono_ns - clock->drift_from_mono_ns;

    return since_ns / SIM_NS_PER_MS * clock->drift_ppm +
           since_ns % SIM_NS_PER_MS * clock->drift_ppm / SIM_NS_PER_MS;
}

static void drift_settle(struct sim_clock *clock, int64_t mono_ns)
{
    clock->offset_ns += drifted_ns(clock, mono_ns);
    clock->span_gained_ns += drifted_ns(clock, mono_ns);
    clock->drift_from_mono_ns = mono_ns;
}

void sim_clock_start(struct sim_clock *clock, int64_t offset_ms, int64_t drift_ppm,
                     bool drifts_spans)
{
    int64_t mono_ns = host_now_ns(CLOCK_MONOTONIC);

    *clock = (struct sim_clock){
        .utc_minus_mono_ns = host_now_ns(CLOCK_REALTIME) - mono_ns,
        .offset_ns = offset_ms * SIM_NS_PER_MS,
        .drift_ppm = drift_ppm,
        .drifts_spans = drifts_spans,
        .drift_from_mono_ns = mono_ns,
    };
}

void sim_clock_shift(struct sim_clock *clock, int64_t offset_ms)
{
    drift_settle(clock, host_now_ns(CLOCK_MONOTONIC));
    clock->offset_ns = offset_ms * SIM_NS_PER_MS;
}

void sim_clock_drift(struct sim_clock *clock, int64_t drift_ppm)
{
    drift_settle(clock, host_now_ns(CLOCK_MONOTONIC));
    clock->drift_ppm = drift_ppm;
}

bool sim_clock_step(struct sim_clock *clock, int64_t step_ms, int64_t after_ms)
{
    if (clock->step_cnt == SIM_CLOCK_STEP_MAX) {
        return false;
    }
    clock->steps[clock->step_cnt++] =
        (struct sim_clock_step){host_now_ns(CLOCK_MONOTONIC) + after_ms * SIM_NS_PER_MS, step_ms};
    return true;
}

struct sim_instant sim_clock_at(struct sim_clock *clock, int64_t mono_ns)
{
    int64_t drifted;

    for (int i = 0; i < clock->step_cnt;) {
        if (clock->steps[i].at_mono_ns <= mono_ns) {
            clock->offset_ns += clock->steps[i].step_ms * SIM_NS_PER_MS;
            clock->steps[i] = clock->steps[--clock->step_cnt];
        } else {
            i++;
        }
    }
    drifted = drifted_ns(clock, mono_ns);
    return (struct sim_instant){
        .utc_ns = mono_ns + clock->utc_minus_mono_ns + clock->offset_ns + drifted,
        .mono_ns = mono_ns + (clock->drifts_spans ? clock->span_gained_ns + drifted : 0),
    };
}

struct sim_instant sim_clock_now(struct sim_clock *clock)
{
    return sim_clock_at(clock, host_now_ns(CLOCK_MONOTONIC));
}
