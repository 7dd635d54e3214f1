/*
 * late.h: what token buckets hold for calls that are counted later than their permits allow for (shm/weir_late.h has the rule and its proof).
 *
 * The worker's side of it: which of its calls are open for too long, how late answers are of late (clock_spread.h), and the two accounts, which a death in the middle
 * leaves whole (pair.h). All words of the buckets that it knows; nothing is ever held in another kind's.
 */
#ifndef WEIR_BROKER_LATE_H
#define WEIR_BROKER_LATE_H

#include "broker/worker.h"
#include "shm/weir_late.h"

/* Room for it, and what a worker before us had published. Before any call. */
bool late_open(struct worker *w);
/*
 * ... is held on for J as it was measured, and charged anew then: its connections ended with it, and what was on its way may still be counted. Where J is the floor it
 * is charged at once. Once, behind pair_undo.
 */
void late_start(struct worker *w);
/* A call that was sent is found in a client's shadow, and its connection is gone: held as above. `units`: of the route's limits; NULL: what the route says. */
void late_orphan(struct worker *w, uint32_t route, uint64_t scope, const uint32_t *units);
/* Nothing is held any more: no calls are left, and the next broker measures anew. */
void late_leave(struct worker *w);

/* Every 10 ms, in this order: J in force may rise; each open call is looked at (late_look); it may fall. Then all is published. */
void late_rise(struct worker *w);
void late_look(struct worker *w, struct call *c, uint64_t ahead_ns);
void late_fall(struct worker *w);

/* A call that was sent is over, or it is sent anew by another permit. `counted`: what the exchange counted of its charges; NULL: not known, all. Behind what settles them. */
void late_end(struct worker *w, struct call *c, const struct weir_cost *counted);

/* What others use of a bucket's word, until when. Caller: reply_rolling.c */
void late_others(struct worker *w, uint32_t index, uint32_t units, uint64_t until_ns);

/* Units of calls that are open for longer than J in force, and held for it. */
uint64_t late_open_units(const struct worker *w, uint32_t index);

/* J in force in a bucket's word. */
uint64_t late_jitter_ns(const struct worker *w, uint32_t index);

#endif
