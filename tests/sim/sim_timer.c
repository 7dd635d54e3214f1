#include "sim_timer.h"

#include <stdlib.h>

bool sim_timer_add(struct sim_timers *timers, int64_t due_mono_ns, void *what)
{
    size_t at = timers->cnt;

    if (timers->cnt == timers->max) {
        size_t max = timers->max ? timers->max * 2 : 64;
        struct sim_timer *heap = realloc(timers->heap, max * sizeof(*heap));

        if (!heap) {
            return false;
        }
        timers->heap = heap;
        timers->max = max;
    }
    timers->cnt++;
    /* Parents later than the new one move down; it takes the hole. */
    while (at > 0 && timers->heap[(at - 1) / 2].due_mono_ns > due_mono_ns) {
        timers->heap[at] = timers->heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    timers->heap[at] = (struct sim_timer){due_mono_ns, what};
    return true;
}

void *sim_timer_take(struct sim_timers *timers, int64_t now_mono_ns)
{
    struct sim_timer last;
    size_t at = 0;
    void *what;

    if (timers->cnt == 0 || timers->heap[0].due_mono_ns > now_mono_ns) {
        return NULL;
    }
    what = timers->heap[0].what;
    last = timers->heap[--timers->cnt];
    for (;;) { /* the earlier child moves up until the last one fits */
        size_t child = 2 * at + 1;

        if (child + 1 < timers->cnt &&
            timers->heap[child + 1].due_mono_ns < timers->heap[child].due_mono_ns) {
            child++;
        }
        if (child >= timers->cnt || timers->heap[child].due_mono_ns >= last.due_mono_ns) {
            break;
        }
        timers->heap[at] = timers->heap[child];
        at = child;
    }
    timers->heap[at] = last;
    return what;
}

int64_t sim_timer_next_mono_ns(const struct sim_timers *timers)
{
    return timers->cnt ? timers->heap[0].due_mono_ns : INT64_MAX;
}

void sim_timers_close(struct sim_timers *timers)
{
    free(timers->heap);
    *timers = (struct sim_timers){0};
}
