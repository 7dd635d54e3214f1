/*
 * kinds.h: the table of kinds.c: what weir and weir-sim are told of each kind of limit, and how its share is measured.
 */
#ifndef WEIR_TESTS_PROCESS_KINDS_H
#define WEIR_TESTS_PROCESS_KINDS_H

#include "rig.h"

#define KINDS_CNT   7U
#define SAMPLES_MAX 4096U

enum measure {
    MEASURE_RATE,   /* granted per second, of what refills */
    MEASURE_WINDOW, /* fixed: used in whole windows */
    MEASURE_ROLL,   /* sliding: granted in whole spans W + J */
    MEASURE_BUSY,   /* concurrency: how many at once */
};

struct kind {
    const char *name; /* of the limit, in both configurations, and of the route */
    const char *weir; /* the rest of the limit's keys, YAML; $N and $W as in struct run */
    const char *sim;  /* the same, JSON */
    unsigned cost;
    enum measure measure;
    double per_s;       /* MEASURE_RATE: units per second; MEASURE_ROLL: quota / window */
    double slower_by;   /* MEASURE_ROLL: the form's own loss, as a part of the span */
    const char *judges; /* what is tried */
};
extern const struct kind kinds[KINDS_CNT];

/* One run: all kinds at once, so many strategies, one network, one clock. */
struct run {
    unsigned strategies;
    unsigned calls; /* of each, on each route, at once */
    int offset_ms, drift_ppm;
    unsigned way_ms;        /* delay until counting 0..way, and of the answer 0..way */
    unsigned max_jitter_ms; /* as weir is told */
    unsigned
        fixed_ms; /* length of the fixed window, at least 50 * max_jitter where its share is judged */
    unsigned calm_ms;  /* nothing is killed */
    unsigned chaos_ms; /* then kills and stops */
};

/* What the simulator had granted at an instant, of each kind. */
struct sample {
    double at_s;
    double server_ms;
    double granted[KINDS_CNT];
};
struct samples {
    unsigned cnt;
    struct sample at[SAMPLES_MAX];
};

/* Shares between two instants, and the best of them; -1 where it was too short for one. */
struct share {
    double mean, best;
};

/* `provider`: another name for each run, because weird keeps what was used across a clean stop. */
void kinds_configure(struct rig *r, const struct run *x, const char *provider);
void kinds_sim_start(struct rig *r, const struct run *x);

/*
 * A simulator and a configuration of one limit: `quota` a day of a time zone, whose midnight comes in `before_ms`. Midnight of some zone is at every full hour, and
 * the simulator's clock is set so that the next one is near. The route is "calendar.day", GET /k/day.
 */
void kinds_calendar_start(struct rig *r, unsigned quota, unsigned before_ms);

/* The quota of the fixed window of this run. */
unsigned kinds_fixed_quota(const struct run *x);

/* Ask the simulator how far it is. Returns false when it does not answer. */
bool kinds_sample(struct rig *r, struct samples *s);
struct share kinds_share(const struct kind *k, const struct run *x, const struct samples *s,
                         const json_t *report, double from_s, double to_s);
/* The least that is wanted of it. */
double kinds_share_min(const struct kind *k, const struct run *x);

const json_t *kinds_limit_row(const json_t *report, const char *name);

#endif
