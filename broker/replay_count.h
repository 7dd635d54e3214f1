/*
 * replay_count.h: what an exchange would have counted, by the published rule of each kind, and in which windows calls were refused.
 *
 * Shares no code with the permit path: windows are cut by division, buckets hold units, rolling windows remember every call. Times are the log's UTC and
 * never go back. A concurrency limit cannot be judged from a log of instants: its calls are counted, nothing else.
 */
#ifndef WEIR_BROKER_REPLAY_COUNT_H
#define WEIR_BROKER_REPLAY_COUNT_H

#include "shm/weir_layout.h"

#include <stdio.h>

/* A window in which something was refused or above the quota. */
struct replay_window {
    uint64_t start_utc_ns;
    uint32_t scope; /* value of the limit's scope */
    uint64_t calls; /* as logged */
    uint64_t units; /* as logged */
    uint64_t refused;
    uint64_t over; /* calls that went above the quota when they were counted */
};

/* Windows kept of one limit; what comes after is only counted. */
#define REPLAY_WINDOWS_KEPT 100000U

/* One call of a rolling window. */
struct replay_event {
    uint64_t utc_ns;
    uint64_t units;
};

/* One limit under one scope value. */
struct replay_word {
    struct replay_window now;   /* the window that is being filled; calls 0: none */
    uint64_t counted_units;     /* fixed window: in it */
    unsigned __int128 tat;      /* bucket: when it is full again, in 1/quota ns */
    struct replay_event *event; /* rolling window: a ring */
    size_t event_first, event_cnt, event_capacity;
    uint64_t event_units;
};

struct replay_limit {
    const struct weir_shm_limit_row *row;
    struct replay_word *word; /* [scope value] */
    uint64_t calls, units;    /* that asked it */
    uint64_t granted;
    uint64_t refused[WEIR_PRIORITY_CNT];
    uint64_t never; /* of the refused: their cost is above what the class may ever take */
    uint64_t over[WEIR_PRIORITY_CNT];
    uint64_t windows; /* in which a call was made */
    uint64_t bad_windows;
    struct replay_window *bad; /* the first of them */
    size_t bad_cnt, bad_capacity;
};

/* A call asked this limit. False without memory. */
bool replay_asked(struct replay_limit *l, uint32_t scope, uint64_t utc_ns, uint64_t units);
/* ... and was refused by it. */
void replay_refused(struct replay_limit *l, uint32_t scope, uint32_t priority, bool never);
/* ... and reached the exchange. False without memory. */
bool replay_counted(struct replay_limit *l, uint32_t scope, uint64_t utc_ns, uint64_t units,
                    uint32_t priority);
/* The log has ended: close every window. False without memory. */
bool replay_closed(struct replay_limit *l);
void replay_limit_free(struct replay_limit *l);

/* What a replay did, over all limits. */
struct replay_report {
    const char *log;
    const char *config;
    bool as_sent;
    uint64_t lines, calls, granted, refused, unjudged;
    uint64_t unreadable, unknown_route, unordered, several;
    uint64_t missing; /* records that an audit says it lacks */
    uint64_t first_utc_ns, last_utc_ns;
    struct replay_limit *limit; /* [limit of the tables] */
    uint32_t limit_cnt;
    const struct weir_shm_provider_row *provider;
    const struct weir_shm_scope_row *scope;
    uint32_t scope_cnt;
};

void replay_text(FILE *out, const struct replay_report *r);
/* Returns false where it cannot be made or written. */
bool replay_json(FILE *out, const struct replay_report *r);

#endif
