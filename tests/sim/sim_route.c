#include "sim_route.h"

#include <stdlib.h>
#include <string.h>

struct route {
    const char *name;
    const char *method; /* NULL = any */
    const char *path;
    bool prefix;    /* the path goes on with a number */
    bool free;      /* a tool for tests of HTTP clients: costs nothing unless configured */
    int64_t weight; /* Binance's, for the plain form of the call */
};

static const struct route routes[SIM_ROUTE_CNT] = {
    [SIM_ROUTE_PING] = {"GET /api/v3/ping", "GET", "/api/v3/ping", false, false, 1},
    [SIM_ROUTE_TIME] = {"GET /api/v3/time", "GET", "/api/v3/time", false, false, 1},
    [SIM_ROUTE_EXCHANGE_INFO] = {"GET /api/v3/exchangeInfo", "GET", "/api/v3/exchangeInfo", false,
                                 false, 20},
    [SIM_ROUTE_DEPTH] = {"GET /api/v3/depth", "GET", "/api/v3/depth", false, false, 5},
    [SIM_ROUTE_TICKER_PRICE] = {"GET /api/v3/ticker/price", "GET", "/api/v3/ticker/price", false,
                                false, 2},
    [SIM_ROUTE_TICKER_24HR] = {"GET /api/v3/ticker/24hr", "GET", "/api/v3/ticker/24hr", false,
                               false, 2},
    [SIM_ROUTE_ORDER_PLACE] = {"POST /api/v3/order", "POST", "/api/v3/order", false, false, 1},
    [SIM_ROUTE_ORDER_CANCEL] = {"DELETE /api/v3/order", "DELETE", "/api/v3/order", false, false, 1},
    [SIM_ROUTE_ORDER_QUERY] = {"GET /api/v3/order", "GET", "/api/v3/order", false, false, 4},
    [SIM_ROUTE_ECHO] = {"ANY /echo", NULL, "/echo", false, true, 0},
    [SIM_ROUTE_BYTES] = {"GET /bytes/", "GET", "/bytes/", true, true, 0},
    [SIM_ROUTE_CHUNKED] = {"GET /chunked/", "GET", "/chunked/", true, true, 0},
    [SIM_ROUTE_OTHER] = {"other", NULL, "", true, false, 1},
};

static bool path_matches(const struct route *route, const char *path)
{
    return route->prefix ? strncmp(path, route->path, strlen(route->path)) == 0
                         : strcmp(path, route->path) == 0;
}

enum sim_route sim_route_find(const char *method, const char *path)
{
    enum sim_route route = 0;

    /* The last row matches everything. */
    while (!path_matches(&routes[route], path) ||
           (routes[route].method && strcmp(routes[route].method, method) != 0)) {
        route++;
    }
    return route;
}

const char *sim_route_name(enum sim_route route)
{
    return routes[route].name;
}

bool sim_route_named(const char *name, enum sim_route *out)
{
    for (enum sim_route route = 0; route < SIM_ROUTE_CNT; route++) {
        if (strcmp(routes[route].name, name) == 0) {
            *out = route;
            return true;
        }
    }
    return false;
}

static int64_t depth_weight(const char *depth_limit)
{
    long limit = depth_limit ? strtol(depth_limit, NULL, 10) : 100;

    if (limit <= 100) {
        return 5;
    }
    if (limit <= 500) {
        return 25;
    }
    return limit <= 1000 ? 50 : 250;
}

static int64_t published_weight(enum sim_route route, const char *symbol, const char *depth_limit)
{
    switch (route) {
    case SIM_ROUTE_DEPTH:
        return depth_weight(depth_limit);
    case SIM_ROUTE_TICKER_PRICE:
        return symbol ? 2 : 4;
    case SIM_ROUTE_TICKER_24HR:
        return symbol ? 2 : 80;
    default:
        return routes[route].weight;
    }
}

struct sim_cost sim_route_cost(const struct sim_weights *weights, enum sim_route route,
                               const char *symbol, const char *depth_limit)
{
    struct sim_cost cost = {.weight = weights->of[route]};

    if (cost.weight == SIM_WEIGHT_DEFAULT) {
        cost.weight = published_weight(route, symbol, depth_limit);
    }
    cost.requests = routes[route].free && cost.weight == 0 ? 0 : 1;
    cost.orders = route == SIM_ROUTE_ORDER_PLACE ? 1 : 0;
    return cost;
}

const char *sim_route_rest(enum sim_route route, const char *path)
{
    return path + strlen(routes[route].path);
}
