#include "prop_judge.h"

#include <stdlib.h>

static int by_time(const void *a, const void *b)
{
    const struct arrival *x = a;
    const struct arrival *y = b;
    return x->at_ns < y->at_ns ? -1 : x->at_ns > y->at_ns;
}

static int by_window(const void *a, const void *b)
{
    const struct arrival *x = a;
    const struct arrival *y = b;
    return x->window < y->window ? -1 : x->window > y->window;
}

bool judge_windows(struct arrival *a, uint32_t cnt, uint64_t quota)
{
    uint64_t sum = 0;
    qsort(a, cnt, sizeof a[0], by_window);
    for (uint32_t i = 0; i < cnt; i++) {
        sum = (i > 0 && a[i].window == a[i - 1].window ? sum : 0) + a[i].units;
        if (sum > quota) {
            return false;
        }
    }
    return true;
}

/* The counter of an exchange that lets it decay `quota` in `window_ns`: every instant, or at the ticks of its own clock. */
bool judge_bucket(struct arrival *a, uint32_t cnt, uint64_t quota, uint64_t window_ns,
                  uint64_t step_ns)
{
    unsigned __int128 level = 0; /* units * window_ns */
    uint64_t last_ns = 0;
    qsort(a, cnt, sizeof a[0], by_time);
    for (uint32_t i = 0; i < cnt; i++) {
        uint64_t now_ns = step_ns == 0 ? a[i].at_ns : a[i].at_ns / step_ns * step_ns;
        unsigned __int128 fallen = (unsigned __int128)(now_ns - last_ns) * quota;
        level = level > fallen ? level - fallen : 0;
        level += (unsigned __int128)a[i].units * window_ns;
        last_ns = now_ns;
        if (level > (unsigned __int128)quota * window_ns) {
            return false;
        }
    }
    return true;
}

bool judge_sliding(struct arrival *a, uint32_t cnt, uint64_t quota, uint64_t window_ns)
{
    uint64_t sum = 0;
    uint32_t from = 0;
    qsort(a, cnt, sizeof a[0], by_time);
    for (uint32_t i = 0; i < cnt; i++) {
        sum += a[i].units;
        while (a[i].at_ns - a[from].at_ns >= window_ns) {
            sum -= a[from++].units;
        }
        if (sum > quota) {
            return false;
        }
    }
    return true;
}

bool judge_flight(struct arrival *a, uint32_t cnt, uint64_t quota)
{
    for (uint32_t i = 0; i < cnt; i++) {
        uint64_t sum = 0;
        for (uint32_t k = 0; k < cnt; k++) {
            bool there = a[k].at_ns <= a[i].at_ns && a[i].at_ns < a[k].left_ns;
            sum += there ? a[k].units : 0;
        }
        if (sum > quota) {
            return false;
        }
    }
    return true;
}
