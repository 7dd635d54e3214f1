/*
 * duel.h: floor and subject in turns, by one or more pinned processes.
 *
 * The parent forks the members, pins each to its core, and from then on only says whose turn it is: a slice of the floor, a slice of the
 * subject, a slice of the floor, and so on. Members sleep on a futex between slices, so the cores are free of them; the parent sleeps while they
 * run. A member runs batches until its slice is over and leaves its counts in memory shared with the parent.
 *
 * A member that dies or reports a failure ends the duel with its text; nobody waits for ever.
 */
#ifndef BENCH_DUEL_H
#define BENCH_DUEL_H

#include "bench.h"
#include "stats.h"

#define DUEL_MEMBERS_MAX 64U

enum duel_side { DUEL_FLOOR = 0, DUEL_SUBJECT = 1 };

/* Where a member leaves its text when it cannot go on. */
struct duel_why {
    char text[256];
};

/*
 * Run `cnt` operations. With `hist` each operation's duration is added to it, in ticks. Returns 0, or -1 with a text.
 * Called in the member.
 */
typedef int (*duel_batch)(void *self, uint32_t cnt, struct stats_hist *hist, struct duel_why *why);

struct duel_spec {
    unsigned member_cnt;
    int core[DUEL_MEMBERS_MAX];
    /* In the member, once: connect, attach. Returns its state, or NULL with a text. */
    void *(*open)(const void *arg, unsigned member, struct duel_why *why);
    duel_batch batch[2];   /* by enum duel_side */
    uint32_t batch_cnt[2]; /* operations per batch: small against a slice */
    double quantile;       /* what a slice is judged by; 0: the mean time per operation */
    void (*turn)(const void *arg,
                 enum duel_side side); /* in the parent before each slice; may be NULL */
    const void *arg;
};

/* Run the pairs, then one more slice of the subject with each operation timed. Fills `result`, values in ns. Returns 0 or -1. */
int duel_run(const struct bench *bench, const struct duel_spec *spec, struct bench_result *result);

/* Pin the calling process. Returns 0 or -1. */
int duel_pin(int core);

/* Zeroed memory that children share with this process; NULL when there is none. Given back by munmap. */
void *duel_share(size_t bytes);

/* A text for the member's failure; returns -1. */
int duel_fail(struct duel_why *why, const char *format, ...) WEIR_PRINTF(2, 3);

/* Run `body` cnt times, timing each where there is a histogram. Two loops, so that the untimed one carries no test. */
#define DUEL_LOOP(cnt, hist, body)                                        \
    do {                                                                  \
        if (hist) {                                                       \
            for (uint32_t duel_i_ = 0; duel_i_ < (cnt); duel_i_++) {      \
                uint64_t duel_start_ = weir_clock_ticks();                \
                body;                                                     \
                stats_hist_add((hist), weir_clock_ticks() - duel_start_); \
            }                                                             \
        } else {                                                          \
            for (uint32_t duel_i_ = 0; duel_i_ < (cnt); duel_i_++) {      \
                body;                                                     \
            }                                                             \
        }                                                                 \
    } while (0)

#endif
