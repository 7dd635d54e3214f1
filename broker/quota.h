/*
 * quota.h: what one domain may take of what all share: places, memory, calls under way, and the worker's time.
 *
 * A domain is one trust group; whatever goes mad in it (a loop that attaches, a flood of requests) meets a named refusal here, and the other domains go on. Two
 * halves with one configuration (`domains[].quota`):
 *
 *   supervisor   clients, slots and bytes of arenas, monitors, connections that have not said who they are: at the attach (admission.c)
 *   worker       calls under way, requests a second: when it takes a request from a ring (intake.c)
 *
 * Private memory of each; a new worker starts with a full bucket and with the calls it found. Nothing here is shared.
 */
#ifndef WEIR_BROKER_QUOTA_H
#define WEIR_BROKER_QUOTA_H

#include "broker/config/config.h"
#include "shm/weir_base.h"

/* What the clients of a domain have. Written by the supervisor. */
struct quota_held {
    uint32_t client_cnt;
    uint64_t slot_cnt;
    uint64_t bytes; /* of arenas */
};

/* May one more client with so many slots and bytes come? WEIR_OK, or the error with `text`. */
int quota_attach(const struct weir_config_domain *domain, const struct quota_held *held,
                 uint32_t slot_cnt, uint64_t bytes, char *text, size_t text_bytes);

/* What the requests of a domain have. Written by the worker. */
struct quota_flow {
    uint64_t in_flight;
    uint64_t full_at_ns; /* the bucket of `rate` is full again then */
};

/* May one more request be taken now? WEIR_OK and counted, or the error. */
int quota_submit(const struct weir_config_quota *quota, struct quota_flow *flow, uint64_t now_ns);

/* It has ended. For each request that was counted in `in_flight`, once. */
static inline void quota_ended(struct quota_flow *flow)
{
    flow->in_flight--;
}

#endif
