#include "sim_clock.h"

#include <time.h>

static int64_t host_now_ns(clockid_t id)
{
    struct timespec now;

    clock_gettime(id, &now);
    return (int64_t)now.tv_sec * SIM_NS_PER_S + now.tv_nsec;
}

void sim_clock_start(struct sim_clock *clock, int64_t offset_ms)
{
    clock->utc_minus_mono_ns = host_now_ns(CLOCK_REALTIME) - host_now_ns(CLOCK_MONOTONIC);
    clock->offset_ms = offset_ms;
}

void sim_clock_shift(struct sim_clock *clock, int64_t offset_ms)
{
    clock->offset_ms = offset_ms;
}

struct sim_instant sim_clock_now(const struct sim_clock *clock)
{
    struct sim_instant now = {.mono_ns = host_now_ns(CLOCK_MONOTONIC)};

    now.utc_ns = now.mono_ns + clock->utc_minus_mono_ns + clock->offset_ms * SIM_NS_PER_MS;
    return now;
}
