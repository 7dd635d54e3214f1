/*
 * What the exchange remembers: per address, key and account what was counted,
 * who is banned, which orders were accepted, and totals. Knows no HTTP.
 *
 * One rule decides everything: what arrives counts, whatever the answer. A
 * call refused by one limit, or sent under a ban, still counts to all that it
 * costs. An exchange may count less (an order only once it is accepted); a
 * route of the configuration can say so, and then the outcome corrects the
 * charge. Without one the simulator errs on the strict side.
 */
#ifndef SIM_EXCHANGE_H
#define SIM_EXCHANGE_H

#include "sim_config.h"
#include "sim_order_log.h"

enum {
    SIM_CALLER_BYTES = 128,
    SIM_SPLIT_BYTES = SIM_PATH_NAME_BYTES + 1,
    SIM_PARTY_BYTES = SIM_CALLER_BYTES + SIM_SPLIT_BYTES + 1,
    SIM_STATUS_MAX = 600,
    SIM_NOT_COUNTED = -1
};

struct sim_caller {
    char ip[SIM_CALLER_BYTES];
    char key[SIM_CALLER_BYTES]; /* "(none)" without */
};

/* One address, key or account, or a part of it for a split limit, with a count
   for each limit (used for those that count it). */
struct sim_party {
    struct sim_party *next;
    int scope;
    char name[SIM_PARTY_BYTES];
    struct sim_ban ban; /* addresses and keys */
    struct sim_limit_count counts[];
};

/* A call as the exchange sees it. */
struct sim_call {
    struct sim_caller caller;
    enum sim_route route;
    const struct sim_path *path; /* a route of the configuration comes before `route` */
    bool opens;                  /* the first counted call of its connection */
    struct sim_limit_ask asks[SIM_LIMIT_MAX]; /* cost 0: not counted */
    char splits[SIM_LIMIT_MAX][SIM_SPLIT_BYTES];
};

struct sim_charge {
    struct sim_party *party;
    int64_t taken;
    int64_t receipt;
};

struct sim_verdict {
    int status;                  /* 200 = goes on, 429, 418: in Binance's terms */
    int refused_by;              /* 429: index of the limit */
    bool counts_to_ban;          /* a refusal by a limit that bans */
    int64_t retry_after_s;       /* 429, 418: rounded up */
    int64_t banned_until_utc_ms; /* 418 */
    int64_t used[SIM_LIMIT_MAX]; /* after this call; SIM_NOT_COUNTED where it costs nothing */
    int64_t piece_cnt;           /* of a batch: so many of its items pass; INT64_MAX = all */
    uint64_t generation;         /* charges of an exchange that was reset mean nothing */
    struct sim_charge charges[SIM_LIMIT_MAX];
};

struct sim_exchange {
    const struct sim_config *config;
    uint64_t generation; /* grows with each reset */
    struct sim_party *parties;
    struct sim_order_log orders;
    struct sim_signatures signatures;
    struct sim_session session;
    struct sim_instant started;
    int64_t arrival_cnt;
    int64_t by_route[SIM_ROUTE_CNT];
    int64_t by_path[SIM_PATH_MAX];
    int64_t by_status[SIM_STATUS_MAX];
    int64_t unanswered_cnt; /* connections cut by a fault */
};

void sim_exchange_open(struct sim_exchange *exchange, const struct sim_config *config,
                       struct sim_instant now);
void sim_exchange_close(struct sim_exchange *exchange);

/* Forgets everything. Calls in progress no longer count. */
void sim_exchange_reset(struct sim_exchange *exchange, struct sim_instant now);

/* Counts one arrival and judges it. */
struct sim_verdict sim_exchange_count(struct sim_exchange *exchange, const struct sim_call *call,
                                      struct sim_instant now);

/* The outcome of a call that was let through: it costs FINAL units of a limit
   in place of what was taken. */
void sim_exchange_correct(struct sim_exchange *exchange, struct sim_verdict *verdict, size_t limit,
                          int64_t final, struct sim_instant now);

/* An answer of so many bytes goes out. */
void sim_exchange_sent(struct sim_exchange *exchange, const struct sim_verdict *verdict,
                       int64_t bytes, struct sim_instant now);

/* The call is over: it is no longer in progress. CONNECTIONS: its connection is
   closed, which ends what connections hold, and nothing else. */
void sim_exchange_end(struct sim_exchange *exchange, const struct sim_verdict *verdict,
                      bool connections, struct sim_instant now);

/* What the exchange reports of a limit to the caller of CALL, as it was AGO_NS
   before NOW, as far back as states are kept; 0: as it is. */
struct sim_usage sim_exchange_usage(const struct sim_exchange *exchange,
                                    const struct sim_call *call, size_t limit, int64_t ago_ns,
                                    struct sim_instant now);

/* Use by somebody else (UNITS > 0), or what a fill gives back (< 0). PARTY: as
   the report spells its caller. */
void sim_exchange_use(struct sim_exchange *exchange, size_t limit, const char *party, int64_t units,
                      struct sim_instant now);

/* STATUS 0: the connection was cut without an answer. */
void sim_exchange_answered(struct sim_exchange *exchange, int status);

/* The whole of /sim/report. */
json_t *sim_report(const struct sim_exchange *exchange, struct sim_instant now);

#endif
