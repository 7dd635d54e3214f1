/*
 * The calls that the exchange knows and what each costs. Names are as the
 * configuration's `weights` and the report spell them: "GET /api/v3/depth".
 */
#ifndef SIM_ROUTE_H
#define SIM_ROUTE_H

#include <stdbool.h>
#include <stdint.h>

enum sim_route {
    SIM_ROUTE_PING,
    SIM_ROUTE_TIME,
    SIM_ROUTE_EXCHANGE_INFO,
    SIM_ROUTE_DEPTH,
    SIM_ROUTE_TICKER_PRICE,
    SIM_ROUTE_TICKER_24HR,
    SIM_ROUTE_ORDER_PLACE,
    SIM_ROUTE_ORDER_CANCEL,
    SIM_ROUTE_ORDER_QUERY,
    SIM_ROUTE_ECHO,
    SIM_ROUTE_BYTES,
    SIM_ROUTE_CHUNKED,
    SIM_ROUTE_OTHER, /* whatever else is asked for: 404, and it costs like a ping */
    SIM_ROUTE_CNT
};

/* Weights set by the configuration; SIM_WEIGHT_DEFAULT keeps Binance's. */
enum { SIM_WEIGHT_DEFAULT = -1 };

struct sim_weights {
    int64_t of[SIM_ROUTE_CNT];
};

/* What one arrival takes from limits that count weight, requests, orders. */
struct sim_cost {
    int64_t weight;
    int64_t requests;
    int64_t orders;
};

enum sim_route sim_route_find(const char *method, const char *path);
const char *sim_route_name(enum sim_route route);

/* False: there is no route of that name. */
bool sim_route_named(const char *name, enum sim_route *out);

/* SYMBOL and DEPTH_LIMIT are the query's, NULL when absent: Binance's weight
   depends on them. */
struct sim_cost sim_route_cost(const struct sim_weights *weights, enum sim_route route,
                               const char *symbol, const char *depth_limit);

/* What follows the route's path: "512" for /bytes/512. */
const char *sim_route_rest(enum sim_route route, const char *path);

#endif
