/*
 * weave_work.h: what runs while process_weave and process_weave_lives hold somebody at an instant.
 *
 * Five providers. `sim`: calls and permits of every kind of limit; all promises are judged there. `odd`: shares, pauses, surcharges, a journal. `torn`: its words are
 * overwritten by a trader, so that the worker has something to repair; nobody calls it. `wild`: answers that are kept, signed calls. `ill`: retries, a breaker, checks.
 */
#ifndef WEIR_TESTS_PROCESS_WEAVE_WORK_H
#define WEIR_TESTS_PROCESS_WEAVE_WORK_H

#include "rig.h"

/* shared->count: */
enum work_count {
    WORK_CALLS,   /* of the neighbour that calls */
    WORK_PERMITS, /* of the neighbour that takes permits */
    WORK_VICTIM,  /* turns of the victim */
    WORK_DONE,    /* calls of the neighbour by their end */
    WORK_OTHERWISE,
    WORK_FLOOD, /* not 0: the victim hands over calls until the ring is full */
    WORK_GONE, /* not 0: both brokers may be dead at a time, and what was under way is lost to its strategy */
    WORK_LOST, /* handles of neighbours that had to be opened anew */
};

void work_add(struct rig *r, enum work_count which);
uint32_t work_at(const struct rig *r, enum work_count which);
/* Does this count move within `limit_ms`? */
bool work_moves(struct rig *r, enum work_count which, unsigned limit_ms);

/* Simulator and configuration. `state_dir`: room for the journal's path; r->state_dir points there. */
void work_configure(struct rig *r, char *state_dir, size_t bytes);

/* For rig_fork. The victim does all that a strategy can. */
int work_victim(struct rig *r, int arg);
int work_by_permit(struct rig *r, int arg);
int work_by_call(struct rig *r, int arg);
/* Operators' orders, a clock that jumps, torn words. */
int work_trouble(struct rig *r, int arg);

#endif
