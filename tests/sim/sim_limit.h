/*
 * One counted rule of the exchange, and what was counted against it for one
 * caller. This is the oracle: the arithmetic is the exchanges' own published
 * rules, written without a look at weir's, in the plainest form.
 *
 *   fixed_window       windows are floor((server time - phase) / window), or a
 *                      day or month of the calendar; what arrives is added to
 *                      its window; the count starts at zero in the next one.
 *   fixed_from_first   the window opens with the first call after the last one
 *                      expired, and lasts window_ms.
 *   sliding_window     what arrived in (now - window, now], from an exact log.
 *   token_bucket       level = min(quota, level + elapsed * refill), starts
 *                      full; a call that finds less than its cost takes nothing.
 *   decay              a counter that starts at 0, falls by decay * step at
 *                      each tick of step, and must not pass the quota.
 *   concurrency        calls counted and not ended yet.
 *   bytes              bytes of answers in (now - window, now], added once they
 *                      are sent; a call is refused while they reach the quota.
 *
 * A call beyond the quota is a violation. Whether it counts all the same is
 * counts_refused: windows count it unless told otherwise, the others do not.
 */
#ifndef SIM_LIMIT_H
#define SIM_LIMIT_H

#include "sim_clock.h"
#include "sim_refusal.h"
#include "sim_usage.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    SIM_LIMIT_NAME_BYTES = 32,
    SIM_ZONE_BYTES = 63,
    SIM_PARAM_BYTES = 32,
    SIM_WINDOW_HISTORY_MAX = 256
};

/* The order of each enum is the order of its names in sim_config_limit.c. */
enum sim_limit_kind {
    SIM_FIXED_WINDOW,
    SIM_TOKEN_BUCKET,
    SIM_FIXED_FROM_FIRST,
    SIM_SLIDING_WINDOW,
    SIM_DECAY,
    SIM_CONCURRENCY,
    SIM_BYTES,
    SIM_LIMIT_KIND_CNT
};
enum sim_limit_scope { SIM_SCOPE_IP, SIM_SCOPE_KEY, SIM_SCOPE_ACCOUNT, SIM_SCOPE_ALL };
enum sim_limit_counts {
    SIM_COUNTS_WEIGHT,
    SIM_COUNTS_REQUESTS,
    SIM_COUNTS_ORDERS,
    SIM_COUNTS_LISTED,      /* only what a route's `costs` says */
    SIM_COUNTS_CONNECTIONS, /* the first call of a connection */
};
enum sim_limit_every { SIM_EVERY_WINDOW_MS, SIM_EVERY_DAY, SIM_EVERY_MONTH };
enum sim_limit_split { SIM_SPLIT_NONE, SIM_SPLIT_ENDPOINT, SIM_SPLIT_PARAM };

struct sim_limit_rule {
    char name[SIM_LIMIT_NAME_BYTES + 1];
    char header[SIM_HEADER_NAME_BYTES + 1]; /* usage header of the answer, "" for none */
    int kind;
    int scope;
    int counts;
    int64_t quota; /* token bucket: the burst; decay: the most that the counter may hold */
    int64_t window_ms;
    double refill_per_s;
    int every;                     /* fixed_window: a calendar period in place of window_ms */
    int64_t phase_ms;              /* fixed_window: start of a window, modulo window_ms */
    int64_t utc_offset_min;        /* calendar: local time - UTC */
    char zone[SIM_ZONE_BYTES + 1]; /* calendar: IANA name, "" for utc_offset_min */
    double decay_per_s;
    int64_t step_ms; /* decay: between two ticks of the monotonic clock, 0 = continuous */
    int split;       /* each endpoint, or each value of split_param, has its own count */
    char split_param[SIM_PARAM_BYTES + 1];
    bool counts_refused;
    bool bans; /* violations of this limit count towards a ban */
    struct sim_reports reports;
    struct sim_refusal refuse;
};

/* The number of a closed window that was opened again: it stands elsewhere. */
#define SIM_WINDOW_RESUMED INT64_MIN

struct sim_window {
    int64_t number;
    int64_t start_ms; /* server time */
    int64_t used;
};

/* What arrived within the last window, oldest first: a ring that grows. */
struct sim_log_entry {
    int64_t mono_ns;
    int64_t units;
};

struct sim_log {
    struct sim_log_entry *ring;
    size_t max;    /* a power of two, or 0 */
    int64_t first; /* sequence numbers: entry n lies in ring[n % max] */
    int64_t next;
    int64_t sum; /* of the units from first to next */
};

struct sim_limit_count {
    bool opened; /* a call was counted here */
    int64_t first_mono_ns;
    int64_t last_mono_ns;

    struct sim_window window; /* the open one; sliding: the running tile, see sim_kind.h */
    int64_t window_from_ns;   /* fixed_window: server time; else monotonic */
    int64_t window_until_ns;
    bool went_back;           /* the server's clock came to an earlier window */
    int64_t newest;           /* the highest number that a window had */
    int64_t first_window;     /* fixed_window: of the first arrival; it began before the run */
    int64_t complete_cnt;     /* windows that began and ended between first and last arrival */
    int64_t complete_used;    /* counted in them */
    int64_t complete_granted; /* counted in them within the quota */
    int64_t highest_start_ms; /* of the window where `highest` was seen */
    struct sim_log log;

    double level;             /* token bucket: left now; decay: the counter */
    int64_t level_at_mono_ns; /* when it was so */
    double level_min;         /* token bucket: least ever left */
    double level_max;         /* decay: highest the counter ever was */
    double deficit_max;       /* most that an arrival lacked */
    double debt_level;        /* token bucket that grants everything: goes below zero */
    double excess_max;        /* most that arrivals passed quota + refill * t, over any t */

    int64_t in_progress;
    int64_t busy_unit_ns; /* concurrency: in_progress summed over time until busy_at */
    int64_t busy_at_mono_ns;

    int64_t highest;       /* most ever used at once */
    int64_t violation_cnt; /* arrivals beyond the quota */
    int64_t partial_cnt;   /* of them: granted in part */
    int64_t arrival_cnt;   /* arrivals that cost something here */
    int64_t counted;       /* what they cost together, corrections included */
    int64_t granted;       /* of that: not refused */
    int64_t corrected;     /* what corrections added, or took back when negative */
    int64_t foreign;       /* used by somebody else: in no other sum */
    struct sim_window history[SIM_WINDOW_HISTORY_MAX]; /* closed windows, the oldest goes first */
    size_t history_cnt; /* ever closed; the last SIM_WINDOW_HISTORY_MAX are kept */
    struct sim_usage_past past;
};

/* What a call wants. */
struct sim_limit_ask {
    int64_t cost;
    int64_t piece; /* > 0: may be granted in part, in whole pieces of this cost */
    bool forced;   /* never refused: it may take the count beyond the quota */
};

struct sim_limit_answer {
    bool refused; /* wholly or in part: a violation */
    int64_t taken;
    int64_t granted;        /* refused: 0, or the pieces that fitted */
    int64_t used;           /* after this arrival, as the usage header says it */
    int64_t retry_after_ns; /* refused: until an equal call can pass */
    int64_t receipt;        /* for sim_limit_correct */
};

/* Counts an arrival of COST (> 0) at NOW, all or nothing. */
struct sim_limit_answer sim_limit_count(const struct sim_limit_rule *rule,
                                        struct sim_limit_count *count, int64_t cost,
                                        struct sim_instant now);

/* The same in full. Under `bytes` the cost is not used: the answer brings it. */
struct sim_limit_answer sim_limit_ask(const struct sim_limit_rule *rule,
                                      struct sim_limit_count *count, struct sim_limit_ask ask,
                                      struct sim_instant now);

/* The outcome changes a charge: UNITS < 0 is taken back from the window that
   RECEIPT names, if that still counts; UNITS > 0 is charged now, never refused. */
void sim_limit_correct(const struct sim_limit_rule *rule, struct sim_limit_count *count,
                       int64_t receipt, int64_t units, struct sim_instant now);

/* Bytes sent. */
void sim_limit_add(const struct sim_limit_rule *rule, struct sim_limit_count *count, int64_t units,
                   struct sim_instant now);

/* Use by somebody else (UNITS > 0), or what a fill gives back (UNITS < 0: of the
   open window or the level; not where each call is kept by itself). */
void sim_limit_use(const struct sim_limit_rule *rule, struct sim_limit_count *count, int64_t units,
                   struct sim_instant now);

/* Concurrency: UNITS are no longer in progress. */
void sim_limit_end(struct sim_limit_count *count, int64_t units, struct sim_instant now);

/* What the exchange would report at NOW. Changes nothing; COUNT may be NULL. */
struct sim_usage sim_limit_usage(const struct sim_limit_rule *rule,
                                 const struct sim_limit_count *count, struct sim_instant now);

void sim_limit_close(struct sim_limit_count *count);

/* Granted share of what the rule allowed: over the complete windows (fixed and
   sliding), or from the first arrival to the last (bucket: quota + refill * t;
   decay alike; concurrency: the mean in progress). 0 when there is none. */
double sim_limit_share(const struct sim_limit_rule *rule, const struct sim_limit_count *count);

/* Which window UTC_NS lies in: counts up by one from window to window. */
int64_t sim_window_number(const struct sim_limit_rule *rule, int64_t utc_ns);

#endif
