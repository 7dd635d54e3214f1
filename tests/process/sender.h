/*
 * sender.h: strategies that always want more: as many calls on some routes as weir lets them make, until the test says stop.
 *
 * One kind takes permits and makes its calls by its own transport (wire.h), many at once; the other hands its calls to the broker. Both ask again when the
 * refusal says that it could pass. They may be killed and stopped anywhere.
 */
#ifndef WEIR_TESTS_PROCESS_SENDER_H
#define WEIR_TESTS_PROCESS_SENDER_H

#include "rig.h"

#define SENDER_ROUTES_MAX 8U
#define SENDER_CALLS_MAX  320U /* of one strategy at once, on all routes together */

/* Set by the test before it forks. */
struct sender_plan {
    unsigned route_cnt;
    struct {
        const char *name; /* "provider.route" */
        const char *path;
    } route[SENDER_ROUTES_MAX];
    unsigned calls;      /* at once, on each route */
    unsigned give_back;  /* of so many permits one is not used; 0: all are */
    uint64_t overdue_ns; /* grant to answer: above it nobody knows whether the call was in time */
    uint16_t port;       /* of the server */
};
extern struct sender_plan sender_plan;

/* Indices of rig_shared.count. */
enum sender_count {
    SENDER_GOOD = 0,    /* by permit: answered 200 */
    SENDER_REFUSED = 1, /* by permit or call: 429, 418, 403 */
    SENDER_OTHER = 2,   /* any other status, or none */
    SENDER_LATE = 3,    /* permits given back because their time was over */
    SENDER_GIVEN = 4,   /* permits given back at random */
    SENDER_OVERDUE = 5, /* answers later than plan.overdue_ns */
    SENDER_CALLED = 6,  /* by call: answered 200 */
    SENDER_WAITED = 7,  /* by call: weir refused, or the deadline passed */
    SENDER_TROUBLE =
        8, /* not a count: set by the test while permits shall be given back at random */
};

/* For rig_fork: `arg` only tells the strategies apart. */
int sender_by_permit(struct rig *r, int arg);
int sender_by_call(struct rig *r, int arg);

/* One line of what all strategies counted. */
void sender_print(const struct rig *r);

#endif
