/*
 * Routes of the configuration: other exchanges' paths, what they cost, and
 * which part the simulator plays on them. They come before the built-in ones
 * of sim_route.h.
 */
#ifndef SIM_PATH_H
#define SIM_PATH_H

#include "sim_cost.h"
#include "sim_route.h"

enum {
    SIM_PATH_MAX = 64,
    SIM_PATH_NAME_BYTES = 136, /* "DELETE /…" */
    SIM_PATH_BODY_BYTES = 1024,
    SIM_PATH_UNSET = -1
};

/* The order is that of the names in sim_path.c. */
enum sim_path_answer {
    SIM_PLAYS_BUILT_IN, /* what the path does without a route of the configuration */
    SIM_PLAYS_OK,       /* 200 and `body` */
    SIM_PLAYS_PLACE,
    SIM_PLAYS_AMEND,
    SIM_PLAYS_CANCEL,
    SIM_PLAYS_QUERY,
    SIM_PLAYS_BATCH_PLACE,
    SIM_PLAYS_BATCH_CANCEL,
    SIM_PLAYS_QUOTES /* what is made up of 200 symbols, each with the instant of the answer */
};

struct sim_path {
    char name[SIM_PATH_NAME_BYTES + 1]; /* "POST /v5/order/create", as it was given */
    char method[8];                     /* "" = any */
    char path[SIM_PATH_NAME_BYTES + 1];
    bool prefix; /* it ended with '*' */
    int plays;
    int64_t weight; /* SIM_PATH_UNSET: the built-in one, else 1 */
    int64_t orders; /* SIM_PATH_UNSET: the built-in one, else 0 */
    struct sim_cost_rule costs[SIM_COST_MAX];
    size_t cost_cnt;
    char id[SIM_PARAM_BYTES + 1];    /* the parameter that holds the client's order id */
    char items[SIM_PARAM_BYTES + 1]; /* the body's field with the list of a batch; "" = the body */
    char body[SIM_PATH_BODY_BYTES + 1]; /* of success; "" = by what it plays */
    int64_t fail_status;                /* of an order that cannot be */
};

bool sim_path_read(const json_t *object, const char *where, const struct sim_limit_rule *limits,
                   size_t limit_cnt, struct sim_path *out, struct sim_error *error);

/* The first of PATHS that matches; NULL = none. */
const struct sim_path *sim_path_find(const struct sim_path *paths, size_t path_cnt,
                                     const char *method, const char *path);

#endif
