/*
 * What the exchange remembers: per address and per key what was counted, who
 * is banned, which orders were accepted, and totals. Knows no HTTP.
 *
 * One rule decides everything: what arrives counts, whatever the answer. A
 * call refused by one limit, or sent under a ban, still counts to all that it
 * costs. An exchange may count less (an order only once it is accepted), so
 * the simulator errs on the strict side.
 */
#ifndef SIM_EXCHANGE_H
#define SIM_EXCHANGE_H

#include "sim_config.h"
#include "sim_order_log.h"

enum { SIM_CALLER_BYTES = 128, SIM_STATUS_MAX = 600, SIM_NOT_COUNTED = -1 };

struct sim_caller {
    char ip[SIM_CALLER_BYTES];
    char key[SIM_CALLER_BYTES]; /* X-MBX-APIKEY, "(none)" without */
};

/* One address or one key, with a count for each limit (used for those of its
   scope). */
struct sim_party {
    struct sim_party *next;
    int scope;
    char name[SIM_CALLER_BYTES];
    struct sim_ban ban; /* addresses only */
    struct sim_limit_count counts[];
};

struct sim_exchange {
    const struct sim_config *config;
    struct sim_party *parties;
    struct sim_order_log orders;
    struct sim_instant started;
    int64_t arrival_cnt;
    int64_t by_route[SIM_ROUTE_CNT];
    int64_t by_status[SIM_STATUS_MAX];
    int64_t unanswered_cnt; /* connections cut by a fault */
};

struct sim_verdict {
    int status;                  /* 200 = goes on, 429, 418 */
    int refused_by;              /* 429: index of the limit */
    int64_t retry_after_s;       /* 429, 418: rounded up */
    int64_t banned_until_utc_ms; /* 418 */
    int64_t used[SIM_LIMIT_MAX]; /* after this call; SIM_NOT_COUNTED where it costs nothing */
};

void sim_exchange_open(struct sim_exchange *exchange, const struct sim_config *config,
                       struct sim_instant now);
void sim_exchange_close(struct sim_exchange *exchange);

/* Counts one arrival and judges it. */
struct sim_verdict sim_exchange_count(struct sim_exchange *exchange,
                                      const struct sim_caller *caller, enum sim_route route,
                                      struct sim_cost cost, struct sim_instant now);

/* STATUS 0: the connection was cut without an answer. */
void sim_exchange_answered(struct sim_exchange *exchange, int status);

/* The whole of /sim/report. */
json_t *sim_report(const struct sim_exchange *exchange, struct sim_instant now);

#endif
