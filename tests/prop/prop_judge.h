/*
 * prop_judge.h: what the exchange would say, in plain arithmetic that shares nothing with shm/.
 *
 * Each judge takes the calls that reached the exchange, in any order, and returns whether its published rule was kept. Brute force: sorts, sums.
 */
#ifndef WEIR_TESTS_PROP_JUDGE_H
#define WEIR_TESTS_PROP_JUDGE_H

#include <stdbool.h>
#include <stdint.h>

struct arrival {
    uint64_t at_ns;
    uint64_t left_ns; /* when the exchange had finished with it; UINT64_MAX: never */
    uint64_t
        window; /* the server's, with the number of its clock's steps before it in the high bits */
    uint64_t units;
};

/* fixed_window: at most `quota` units with the same `window`. */
bool judge_windows(struct arrival *a, uint32_t cnt, uint64_t quota);

/* token_bucket: a bucket of `quota` units that refills in `window_ns` never overflows; its level falls in steps of `step_ns` (0: all the time). */
bool judge_bucket(struct arrival *a, uint32_t cnt, uint64_t quota, uint64_t window_ns,
                  uint64_t step_ns);

/* sliding_window: at most `quota` units in any [t, t + window_ns). */
bool judge_sliding(struct arrival *a, uint32_t cnt, uint64_t quota, uint64_t window_ns);

/* concurrency: at most `quota` units between at and left. */
bool judge_flight(struct arrival *a, uint32_t cnt, uint64_t quota);

#endif
