/*
 * backoff.h: for how long to be quiet when the exchange says stop. Pure arithmetic on struct weir_shm_backoff.
 *
 * The pause is the longest of what the answer names (Retry-After, "banned until") and the backoff: base * factor^level, give or take the jitter, at
 * most `max_ns`. The level is that of the last step; a step more for each time that the exchange says stop to a call that left behind the last
 * pause, a step less for each `quiet_ns` that passed since that pause ended.
 *
 * What left before the last pause ended is no step: it is the rest of the burst that began it. While the pause holds it can make it longer; when it is
 * over it changes nothing, unless it brings a ban with its end. What left before an operator's resume is over in any case.
 *
 * Why the jitter: several machines behind one address must not come back at the same instant. Uniform; the caller draws.
 */
#ifndef WEIR_BROKER_BACKOFF_H
#define WEIR_BROKER_BACKOFF_H

#include "shm/weir_layout_ledger.h"

#define BACKOFF_WHOLE_PPM 1000000U
#define BACKOFF_LEVEL_MAX 63U

struct backoff_rule {
    uint64_t base_ns;
    uint64_t factor;
    uint64_t jitter_ppm; /* of the pause, up and down; at most BACKOFF_WHOLE_PPM */
    uint64_t max_ns;
    uint64_t quiet_ns; /* above 0 */
};

/* Somebody was told to stop. Times are weir time. */
struct backoff_event {
    uint64_t now_ns;
    uint64_t left_ns;       /* when the call was written */
    uint64_t told_until_ns; /* what the answer names; 0 = nothing */
    uint64_t
        most_ns;    /* the pause is at most so long; 0 = no such bound. For what only traders say */
    uint32_t cause; /* enum weir_pause_cause */
    uint64_t random; /* uniform over 64 bits */
};

enum backoff_step {
    BACKOFF_LATE = 0, /* of a pause or before a resume that is over: nothing changed */
    BACKOFF_SAME = 1, /* of the burst that began the pause in force: at most that got longer */
    BACKOFF_NEW = 2,  /* a step: a pause begins */
};

/* base * factor^level without jitter, at most max. */
uint64_t backoff_nominal_ns(const struct backoff_rule *rule, uint32_t level);

/* With it: uniform in nominal * (1 -+ jitter), at most max. */
uint64_t backoff_pause_ns(const struct backoff_rule *rule, uint32_t level, uint64_t random);

/* The level that the next step would stand on: falls with every quiet_ns since the last pause ended; 0 if there never was one. */
uint32_t backoff_next_level(const struct weir_shm_backoff *state, const struct backoff_rule *rule,
                            uint64_t now_ns);

/* Take the event into account; state->until_ns is the end of the pause then. */
enum backoff_step backoff_tell(struct weir_shm_backoff *state, const struct backoff_rule *rule,
                               const struct backoff_event *event);

#endif
