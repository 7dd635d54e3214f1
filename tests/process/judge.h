/*
 * judge.h: servers by other people that limit by rules of their own: nginx and HAProxy, on the loopback, with their files in the rig's directory.
 *
 * Each logs one line per call, "STATUS SECONDS.MILLISECONDS" on its own clock, also for calls whose client was killed: what it let pass and what it
 * refused is counted there, not by those who asked.
 */
#ifndef WEIR_TESTS_PROCESS_JUDGE_H
#define WEIR_TESTS_PROCESS_JUDGE_H

#include "rig.h"

struct judge {
    pid_t pid;
    uint16_t port;
    char log[96];
};

/* What it counted from `from_ms` to `to_ms` (milliseconds of UTC). */
struct judge_count {
    unsigned passed;
    unsigned refused;
    unsigned other; /* neither 200 nor 429: 499 is a client that was killed before its answer */
    int64_t first_ms, last_ms; /* UTC, of all lines */
};

/* Start it and wait until it listens; the test ends with 99 if it does not. */
void judge_nginx_start(struct rig *r, struct judge *j, unsigned rate_per_s, unsigned burst);
/* `sum_max`: calls in `period_s` that its estimate may reach. */
void judge_haproxy_start(struct rig *r, struct judge *j, unsigned sum_max, unsigned period_s);
/* No limits: it stands before the server on `port`, and asks that whatever becomes of its own client. Lines end with " METHOD NUMBER", of the query's id. */
void judge_nginx_front(struct rig *r, struct judge *j, uint16_t port);
void judge_stop(struct judge *j);

struct judge_count judge_read(const struct judge *j, int64_t from_ms, int64_t to_ms);
int64_t judge_now_ms(void);

/* One attempt of a test with a judge: strategies against it, with random kills of them and of the worker. */
struct judge_round {
    const char *limit;      /* weir's limit, as YAML */
    unsigned max_jitter_ms; /* of weir's provider */
    unsigned strategies;    /* the last one hands its calls over, the others take permits */
    unsigned calls;         /* of each, at once */
    unsigned warm_ms;       /* until the judge's bucket is down to what comes in */
    unsigned run_ms;        /* behind it */
    double rate_per_s;      /* the judge's */
    double share_min;
};

/*
 * Run it against `j`, which serves /file, and judge: no refusal, and at least `share_min` of the rate passed. True: good. A machine that was so busy
 * that calls took longer than max_jitter, or that nobody ran, proves nothing: then it answers false, and says so, and `*again` is set.
 */
bool judge_round(struct rig *r, const struct judge *j, const struct judge_round *round,
                 bool *again);

#endif
