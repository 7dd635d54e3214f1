/*
 * settle.h: what the exchange counted of a call that the broker made, where its answer says so.
 *
 * A route's `settle` says by which numbers of the answer a charge is corrected: a header or a member of the JSON body that names the cost, the
 * entries of a list that were done (Bybit grants batches in part), the bytes that came (Solana's public RPC counts them afterwards). `ok` tells
 * success from failure where the status is 200 in both cases.
 *
 * What is not there, is garbage, or does not fit corrects nothing: the rules `success` and `failure` hold, or the charge stays. An answer can so
 * never make weir believe that less was counted than the configuration says it may claim; and a lie can at most give back what the route was charged.
 *
 * Pure functions on the answer's bytes. Caller: the worker (exchange.c), before the call ends. Source: research/rate_limits.md 2.7, 2.9, 2.11.
 */
#ifndef WEIR_BROKER_SETTLE_H
#define WEIR_BROKER_SETTLE_H

#include "broker/config/config.h"

struct settle_answer {
    uint32_t status;
    uint64_t answer_bytes; /* head and body, whole */
    const char *head;      /* of these what is looked into (hear.h) */
    size_t head_bytes;
    const char *body;
    size_t body_bytes;
};

/* Does the answer have to be looked into for this route? */
static inline bool settle_asks(const struct weir_config_settle *config)
{
    return config->counted_cnt > 0 || *config->ok.field != '\0';
}

/* Did the exchange do what was asked: a status of 2xx, and `ok` where the route has it? */
bool settle_success(const struct weir_config_settle *config, const struct settle_answer *answer);

/* Put what the answer says into `units`, which holds what the rules say; an entry's place is that of its limit in the route's cost. */
void settle_counted(const struct weir_config_route *route, const struct settle_answer *answer,
                    struct weir_cost *units);

#endif
