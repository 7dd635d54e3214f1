/*
 * ceiling.h: the worker keeps the journal ahead of the grants.
 *
 * A permit on a long window needs charges + cost <= the window's ceiling on the board (weir_window.h). Here a ceiling is raised: the journal with the
 * higher ceiling is written and fsynced through the loop, and only then the board says it. So the journal is never behind what was granted, and a host that
 * dies forgets nothing; what it counts too much is at most the step.
 *
 *   when    every 10 ms, at the kick of a refused trader, and after each write: where less than half a step is left below the ceiling
 *   by      0.5 % of the quota, at least the route's dearest call; more where a permit was refused that costs more
 *   next    the window after the current one gets its first ceiling while the current one is in its second half, so nobody waits at the edge
 *   fails   the ceiling stays, long windows stop at it, the log says so once and then every minute, and it is tried again every second
 *
 * One write is under way at most. A worker that dies meanwhile leaves the slot that was not the last one on disk torn, or a step ahead.
 */
#ifndef WEIR_BROKER_CEILING_H
#define WEIR_BROKER_CEILING_H

#include "broker/loop.h"
#include "broker/memory.h"

struct worker;

/* Prepare; nothing where no journal is kept. Returns false without memory. Caller: the worker at its start, providers open. */
bool ceiling_open(struct worker *w);

/* Look whether a ceiling must be raised, and hand the write to the loop. Cost where there is nothing to do: one comparison. */
void ceiling_turn(struct worker *w);

/* Is a write under way? Its slot is nobody's until it has ended. */
bool ceiling_is_writing(const struct worker *w);

/* A write or its fsync ended. */
void ceiling_event(struct worker *w, const struct loop_event *e);

/*
 * The windows of a provider are being moved to the timeline of `to` (NULL: nobody knows what they held): old ceilings end, and where `to` is KNOWN what an earlier
 * broker may have used is added to the words. Caller: the worker, between CLOSED and the publication of `to`, after weir_limit_realign.
 */
void ceiling_realigned(struct worker *w, uint32_t provider, const struct weir_server_clock *to,
                       uint64_t now_ns);

#endif
