/*
 * crowd.h: 100 callers, in CROWD_PROCESSES processes, who ask, wait for the end and ask again; each tenth call is an order. What each of them was told stays on record.
 *
 * Routes: sim.ping, which may be made twice, and sim.order. A call that ends twice, or that nobody made, fails the test (rig_orders_check).
 */
#ifndef WEIR_TESTS_PROCESS_CROWD_H
#define WEIR_TESTS_PROCESS_CROWD_H

#include "rig.h"

#define CROWD_PROCESSES   4U
#define CROWD_CALLERS     25U     /* of each */
#define CROWD_RECORDS_MAX 262144U /* of each: later ones are not kept */

/* One call that ended. */
struct crowd_record {
    uint64_t began_ns, sent_ns, ended_ns;
    uint32_t result, status, endpoint, sends, doubt;
    bool order;
};

/* Once. `think_ms`: between the end of a call and the next one's begin, half to one and a half times that. */
void crowd_open(uint64_t deadline_ns, unsigned think_ms);
/* Forget what is on record, and begin. */
void crowd_start(struct rig *r);
/* No more calls; returns when all have ended. */
void crowd_stop(struct rig *r);

/* Each record so far, and the last one of a process; NULL: none. */
void crowd_each(void (*each)(const struct crowd_record *a, void *arg), void *arg);
const struct crowd_record *crowd_last(unsigned process);

#endif
