/*
 * retry_rule.h: what of retrying is arithmetic (retry.h says the whole rule). Pure.
 */
#ifndef WEIR_BROKER_RETRY_RULE_H
#define WEIR_BROKER_RETRY_RULE_H

#include "broker/config/config.h"

#include <stdbool.h>
#include <stdint.h>

#define RETRY_RESERVE 10U

struct retry_budget {
    uint64_t saved_ppm; /* millionths of a retry, at most RETRY_RESERVE whole ones */
};

/*
 * Does this status say that another attempt may do better (RFC 9110, 15.5.9 and 15.6)? `stop`: a rule of the provider says that the answer is a stop, and it is no
 * ban.
 */
bool retry_status(uint32_t status, bool stop);

/* How long to wait before attempt `attempt` (1: the second). `told_ns`: what the answer names, 0 if nothing. */
uint64_t retry_wait_ns(const struct weir_config_retry *config, uint32_t attempt, uint64_t told_ns,
                       uint64_t random);

void retry_budget_open(struct retry_budget *b);
/* A call ended. */
void retry_budget_call(struct retry_budget *b, uint64_t budget_ppm);
/* One retry. False: none is left. */
bool retry_budget_take(struct retry_budget *b);

#endif
