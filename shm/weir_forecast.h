/*
 * weir_forecast.h: what a limit will do if what was seen goes on. Arithmetic on private values only.
 *
 *   reading   what a limit's word says at one instant; two of them say how much was taken in between
 *   pace      millionths of a unit per second
 *   forecast  left, exhausted at, earliest, at the reset, budget burn
 *
 * Exactness. `earliest_ns` is exact by the kind's rule (weir_limit_earliest). What was taken between two readings is exact in a window, but for what was
 * charged to a window after its last reading (so read often: the worker does every 10 ms); a call charged to two windows counts once. A
 * bucket that was empty of charges in between hides when its calls came: then the middle of what is possible is taken, wrong by half of what comes back
 * between two readings at most, and exact where less than one unit does. A sliding window's stamps tell it exactly. Everything else extrapolates a straight line.
 */
#ifndef WEIR_FORECAST_H
#define WEIR_FORECAST_H

#include "weir_share.h"

/* The reading of a word at time->now_ns. `epoch` is the provider's clock_epoch, or 0 where nothing is counted by it. */
struct weir_limit_reading weir_limit_reading_take(const struct weir_limit_place *at,
                                                  const struct weir_limit_time *time,
                                                  uint64_t epoch);

/*
 * Millionths of a unit taken between two readings of the same limit and scope, less what was given back in between (so it may be negative). 0
 * where they cannot be compared: another epoch, the wrong order, nothing read; and for concurrency, where units are held and not used up. A
 * sliding window is asked at once after `now`, and knows no more than its last span.
 */
int64_t weir_limit_taken_micro(const struct weir_limit_place *at,
                               const struct weir_limit_reading *before,
                               const struct weir_limit_reading *now);

/* An average that forgets with a time constant, and knows how much of it has been filled. Private to its writer. */
struct weir_pace {
    double units_per_s; /* of what was filled so far */
    double filled;      /* 0..1 */
};

/* Count `taken_micro` over `step_ns` into an average over about `over_ns`. */
void weir_pace_step(struct weir_pace *pace, int64_t taken_micro, uint64_t step_ns,
                    uint64_t over_ns);

/* The pace in millionths of a unit per second; 0 where more was given back than taken. */
uint64_t weir_pace_micro(const struct weir_pace *pace);

/* What a forecast is about. */
struct weir_forecast_for {
    const struct weir_limit_place *at;
    const struct weir_shm_foreign *foreign;
    const struct weir_limit_time *time;
    uint32_t units;
    unsigned priority;
    uint64_t pace_micro;
    uint64_t pace_over_ns;
    bool
        shares; /* the limit's shares and floors are looked at (weir_share.h), as for whoever has entry `member` */
    uint32_t member; /* + 1; 0: it has none */
};

/*
 * The first instant at which limit and shares both let the call pass, if nobody else came. Each is asked from the other's answer on until they agree: a
 * promise of a limit that a share then breaks would send strategies away at the wrong time. UINT64_MAX: one of them never does as things are.
 */
uint64_t weir_forecast_earliest(const struct weir_forecast_for *about);

/* Fill `*out` but for its reading. `state` is that of weir_limit_state_get at the same instant. */
void weir_forecast_make(struct weir_forecast *out, const struct weir_forecast_for *about,
                        const struct weir_limit_state *state);

/* The dearest configured cost of any route on `limit`; `*route` is the first that has it, UINT32_MAX where none takes from it. */
uint32_t weir_forecast_dearest(const struct weir_shm_route_row *row, uint32_t row_cnt,
                               uint32_t limit, uint32_t *route);

#endif
