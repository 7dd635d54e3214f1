/*
 * One counted rule of the exchange, and what was counted against it for one
 * caller. This is the oracle: the arithmetic is the exchange's own published
 * rule, written without a look at weir's, in the plainest form.
 *
 *   fixed_window   windows are floor(server time / window); every arrival is
 *                  added to its window, refused or not; the count starts at
 *                  zero in the next window.
 *   token_bucket   level = min(quota, level + elapsed * refill), starts full;
 *                  an arrival that finds less than its cost takes nothing.
 *
 * An arrival beyond the quota is a violation.
 */
#ifndef SIM_LIMIT_H
#define SIM_LIMIT_H

#include "sim_clock.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SIM_LIMIT_NAME_BYTES = 32, SIM_HEADER_NAME_BYTES = 64, SIM_WINDOW_HISTORY_MAX = 256 };

/* The order of each enum is the order of its names in sim_config.c. */
enum sim_limit_kind { SIM_FIXED_WINDOW, SIM_TOKEN_BUCKET };
enum sim_limit_scope { SIM_SCOPE_IP, SIM_SCOPE_KEY };
enum sim_limit_counts { SIM_COUNTS_WEIGHT, SIM_COUNTS_REQUESTS, SIM_COUNTS_ORDERS };

struct sim_limit_rule {
    char name[SIM_LIMIT_NAME_BYTES + 1];
    char header[SIM_HEADER_NAME_BYTES + 1]; /* usage header of the answer, "" for none */
    int kind;
    int scope;
    int counts;
    int64_t quota; /* token bucket: the burst */
    int64_t window_ms;
    double refill_per_s;
};

struct sim_window {
    int64_t number; /* floor(server time / window) */
    int64_t used;
};

struct sim_limit_count {
    struct sim_window window; /* the open one */
    int64_t first_window;     /* the one of the first arrival: it began before the run */
    int64_t complete_cnt;     /* windows that began and ended between first and last arrival */
    int64_t complete_used;    /* counted in them */
    int64_t complete_granted; /* counted in them within the quota */
    int64_t highest_window;   /* where `highest` was seen */
    double level;             /* token bucket: left now */
    int64_t level_at_mono_ns; /* when it was so */
    double level_min;         /* token bucket: least ever left */
    double deficit_max;       /* token bucket: most that an arrival lacked */
    int64_t highest;          /* most ever used at once */
    int64_t violation_cnt;    /* arrivals beyond the quota */
    int64_t arrival_cnt;      /* arrivals that cost something here */
    int64_t counted;          /* what they cost together */
    struct sim_window history[SIM_WINDOW_HISTORY_MAX]; /* closed windows, the oldest goes first */
    size_t history_cnt; /* ever closed; the last SIM_WINDOW_HISTORY_MAX are kept */
};

struct sim_limit_answer {
    bool refused;
    int64_t used;           /* after this arrival, as the usage header says it */
    int64_t retry_after_ns; /* refused: until an equal call can pass */
};

/* Counts an arrival of COST (> 0) at NOW. */
struct sim_limit_answer sim_limit_count(const struct sim_limit_rule *rule,
                                        struct sim_limit_count *count, int64_t cost,
                                        struct sim_instant now);

int64_t sim_window_number(const struct sim_limit_rule *rule, int64_t utc_ns);

/* Granted share of the quota over the complete windows; 0 when there is none. */
double sim_limit_share(const struct sim_limit_rule *rule, const struct sim_limit_count *count);

#endif
