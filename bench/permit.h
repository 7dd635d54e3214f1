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
