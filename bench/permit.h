/*
 * permit.h: one process that takes permits from a broker of the bench; also the yardstick of mutex.c and redis.c.
 */
#ifndef BENCH_PERMIT_H
#define BENCH_PERMIT_H

#include "duel.h"
#include "rig_weird.h"

struct permit_client {
    struct weir *weir;
    weir_route_id route;
    struct weir_permit permit;
};

/* A line of memory that all members of a crowd share: what the floors change. */
struct permit_line {
    uint64_t word;
    uint64_t reserved[15];
} WEIR_ALIGN_LINE;

/* A member of a crowd, as its batches see it. */
struct permit_member {
    struct permit_client client;
    struct permit_line *line; /* PERMIT_LINES */
    int expected;             /* of weir_permit_try */
};

#define PERMIT_LINES 6U /* lease and tables, block, two pauses, clock, the limit's word */

struct permit_crowd {
    const char *route;
    duel_batch floor, subject; /* self: struct permit_member */
    int expected;              /* 0 or WEIR_DENIED */
    unsigned cnt;              /* members */
    unsigned audit_cnt;        /* records that the broker keeps; 0: none */
    /* filled by permit_measure */
    const struct rig_weird *weird;
    struct permit_line *line;
};

/* Start a broker and run floor against subject. Returns 0 or -1. */
int permit_measure(const struct bench *bench, struct permit_crowd *crowd,
                   struct bench_result *result);

/* Floors: the clock's value goes into so many words, by one locked instruction each. */
int permit_floor_one(void *self, uint32_t cnt, struct stats_hist *hist, struct duel_why *why);
int permit_floor_two(void *self, uint32_t cnt, struct stats_hist *hist, struct duel_why *why);
/* Load and CAS until it succeeds, on one word of all. */
int permit_floor_crowd(void *self, uint32_t cnt, struct stats_hist *hist, struct duel_why *why);

/* Attach and find the route. Called in the member. Returns `client`, or NULL with a text. */
void *permit_open(const struct rig_weird *weird, const char *route, struct permit_client *client,
                  struct duel_why *why);

/* Wait for the first permit; 0 or -1 with a text. */
int permit_warm(struct permit_client *client, struct duel_why *why);

/* Ask `cnt` times; an answer other than `expected` is a failure. */
int permit_batch(struct permit_client *client, int expected, uint32_t cnt, struct stats_hist *hist,
                 struct duel_why *why);

/* Say in the note how many processes share how many cores. */
void permit_note_cores(const struct bench *bench, unsigned cnt, struct bench_result *result);

#endif
