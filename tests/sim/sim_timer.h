/*
 * Calls that wait, by the instant at which they go on. A binary heap: the
 * loop asks for the earliest, nothing is ever taken out of the middle.
 */
#ifndef SIM_TIMER_H
#define SIM_TIMER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sim_timer {
    int64_t due_mono_ns;
    void *what;
};

struct sim_timers {
    struct sim_timer *heap;
    size_t cnt;
    size_t max;
};

/* False: no memory. */
bool sim_timer_add(struct sim_timers *timers, int64_t due_mono_ns, void *what);

/* The earliest one that is due, or NULL. INT64_MAX as now takes any. */
void *sim_timer_take(struct sim_timers *timers, int64_t now_mono_ns);

/* When the earliest is due; INT64_MAX when none waits. */
int64_t sim_timer_next_mono_ns(const struct sim_timers *timers);

void sim_timers_close(struct sim_timers *timers);

#endif
