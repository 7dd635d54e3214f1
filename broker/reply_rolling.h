/*
 * reply_rolling.h: what answers tell of limits without windows (rolling.h), between the worker's words and its arithmetic.
 *
 * Caller: reply.c, one struct rolling per limit word that feedback names. Writes the word's foreign usage on the board (weir_foreign_make), where it
 * changed, and wakes who waits for room where it fell.
 */
#ifndef WEIR_BROKER_REPLY_ROLLING_H
#define WEIR_BROKER_REPLY_ROLLING_H

#include "broker/rolling.h"
#include "broker/worker.h"

/* The account of word `index` of a limit; NULL: no memory. Begins with what a worker before us had published. */
struct rolling *reply_rolling_open(struct worker *w, const struct weir_shm_limit_row *row,
                                   uint32_t index);

/* An answer says that `used` units are used, or that many at least (`least`: none is left). False: a later one was here before. */
bool reply_rolling_report(struct worker *w, struct rolling *r, const struct call *c,
                          const struct weir_shm_limit_row *row, uint32_t index, uint32_t used,
                          bool least);

/* The answer is here, whatever it told. After its report. */
void reply_rolling_answered(struct worker *w, struct rolling *r, const struct call *c,
                            uint32_t index);

/* A trader says that its reply told so. False: an answer of our own, or a later claim, was here before. */
bool reply_rolling_claim(struct worker *w, struct rolling *r, const struct weir_shm_claim *c,
                         const struct weir_shm_limit_row *row, uint32_t index);

/* Every 10 ms. Returns the units published that rest on claims alone. */
uint32_t reply_rolling_tick(struct worker *w, struct rolling *r,
                            const struct weir_shm_limit_row *row, uint32_t index);

#endif
