/*
 * The kinds of limits behind sim_limit.h, one file each. Only sim_limit.c and
 * those files include this.
 *
 * The share of a sliding window is measured over tiles: windows laid end to
 * end from the first arrival, so that the first is complete. No tile can hold
 * more than the quota without a violation.
 */
#ifndef SIM_KIND_H
#define SIM_KIND_H

#include "sim_limit.h"

/* Lazy filling adds many small doubles: a call that comes exactly in time must
   not be refused for their rounding. Far below one unit, so nothing hides. */
#define SIM_LEVEL_ROUNDING 1e-9

struct sim_kind {
    /* Once, before the first call is counted. */
    void (*open)(const struct sim_limit_rule *rule, struct sim_limit_count *count,
                 struct sim_instant now);
    /* Counted against the quota at NOW. Changes nothing. */
    double (*used)(const struct sim_limit_rule *rule, const struct sim_limit_count *count,
                   struct sim_instant now);
    /* Adds UNITS >= 0; brings windows and levels up to NOW. Returns the receipt. */
    int64_t (*add)(const struct sim_limit_rule *rule, struct sim_limit_count *count, int64_t units,
                   struct sim_instant now);
    /* Takes UNITS back from what RECEIPT names. */
    void (*take_back)(const struct sim_limit_rule *rule, struct sim_limit_count *count,
                      int64_t receipt, int64_t units, struct sim_instant now);
    /* Until MISSING units are free, if nothing else arrives. */
    int64_t (*wait_ns)(const struct sim_limit_rule *rule, const struct sim_limit_count *count,
                       double missing, struct sim_instant now);
    /* Until the reset that the exchange reports. */
    int64_t (*reset_ns)(const struct sim_limit_rule *rule, const struct sim_limit_count *count,
                        struct sim_instant now);
    /* What the rule allowed from the first arrival to the last; NULL: by windows. */
    double (*allowed)(const struct sim_limit_rule *rule, const struct sim_limit_count *count);
};

extern const struct sim_kind sim_kind_fixed_window;     /* sim_kind_window.c */
extern const struct sim_kind sim_kind_fixed_from_first; /* sim_kind_window.c */
extern const struct sim_kind sim_kind_sliding_window;   /* sim_kind_sliding.c: bytes too */
extern const struct sim_kind sim_kind_token_bucket;     /* sim_kind_level.c */
extern const struct sim_kind sim_kind_decay;            /* sim_kind_level.c */
extern const struct sim_kind sim_kind_concurrency;      /* sim_kind_concurrency.c */

/* Ends the open window, and the empty ones between it and NEXT. */
void sim_window_turn(const struct sim_limit_rule *rule, struct sim_limit_count *count,
                     struct sim_window next);

/* Adds to the open window, and notes it when it is the fullest so far. */
void sim_window_add(struct sim_limit_count *count, int64_t units);

/* Takes back from the window NUMBER, open or closed. */
void sim_window_take_back(const struct sim_limit_rule *rule, struct sim_limit_count *count,
                          int64_t number, int64_t units);

#endif
