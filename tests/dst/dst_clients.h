/*
 * dst_clients.h: a strategy from inside. Only for dst_clients.c (a life, and requests), dst_permits.c (its own calls) and dst_outcome.c (what it is told).
 */
#ifndef WEIR_TESTS_DST_CLIENTS_H
#define WEIR_TESTS_DST_CLIENTS_H

#include "dst.h"

#include "libclient/handle.h"

#define OPEN_MAX 40U
#define SLOTS    48U

struct outstanding {
    bool used;
    weir_ticket ticket;
    uint64_t id;
    bool alone; /* nothing else has been open beside it */
};

struct client {
    struct weir *w;
    unsigned me;
    weir_route_id route[DST_PROVIDERS_MAX][DST_ROUTES_MAX];
    struct outstanding open[OPEN_MAX];
    unsigned open_cnt;
    uint64_t broker_life;
    bool trader;
    bool attentive; /* it looks whether the broker lives; others learn it from their calls only */
    bool refused;   /* a call of it was refused for good: there is no broker any more */
};

/* Whom a call names: where nobody may choose its key surely one, else now and then. */
weir_scope_id dst_client_naming(struct client *c, unsigned provider, unsigned route,
                                dst_maker *named);
/* A number for a call that is about to be made. */
uint64_t dst_client_call(struct client *c, unsigned provider, unsigned route, bool brokered,
                         uint64_t deadline_ns);
void dst_client_choose(unsigned *provider, unsigned *route);

/* Take a permit, make the call, settle it; or die in between. */
void dst_client_trade(struct client *c);

/* Judge what it was told of call `id`. */
void dst_outcome(struct weir *w, uint64_t id, const struct weir_response *r);
/* Call `id` must never arrive from here on. */
void dst_unsendable(uint64_t id, const char *why);

#endif
