/*
 * What a call on a configured route takes from one limit: a base, plus so much
 * per item of a batch, plus a bracket of a parameter, plus a bracket of the
 * age of each order that it names; and what the outcome makes of it. Knows no
 * HTTP.
 */
#ifndef SIM_COST_H
#define SIM_COST_H

#include "sim_json.h"
#include "sim_limit.h"

enum { SIM_BRACKET_MAX = 16, SIM_COST_MAX = 8, SIM_IF_BYTES = 64, SIM_COST_SAME = -1 };

struct sim_bracket {
    int64_t upto;
    int64_t cost;
};

struct sim_brackets {
    struct sim_bracket list[SIM_BRACKET_MAX]; /* upto grows */
    size_t cnt;
};

struct sim_cost_rule {
    char limit_name[SIM_LIMIT_NAME_BYTES + 1];
    size_t limit;                       /* its index */
    char if_param[SIM_PARAM_BYTES + 1]; /* charged only where this parameter */
    char if_value[SIM_IF_BYTES + 1];    /* has this value: the method of a JSON-RPC call */
    int64_t cost;
    int64_t per_item;
    bool partial;       /* items that do not fit are refused, the first ones pass */
    bool never_refused; /* Kraken's batch cancel: it may pass the maximum */
    char param[SIM_PARAM_BYTES + 1];
    struct sim_brackets by_param; /* value <= upto; dearest when it is no such number */
    int64_t absent_cost;          /* without the parameter */
    struct sim_brackets by_age;   /* age < upto, in ms; free beyond the last */
    int64_t success_cost;         /* in place of the whole; SIM_COST_SAME */
    int64_t failure_cost;
    int64_t actual_min; /* drawn when the call has succeeded; SIM_COST_SAME */
    int64_t actual_max;
    char field[SIM_FIELD_PATH_BYTES + 1]; /* of the answer: says the final cost */
};

/* What a call says that its cost depends on. */
struct sim_cost_facts {
    const char *param;    /* text of the rule's parameter, NULL when absent */
    const char *if_param; /* the same of if_param */
    int64_t item_cnt;
    const int64_t *ages_ms; /* of the open orders that it names */
    size_t age_cnt;
};

/* LIMITS, LIMIT_CNT: what `limit` may name. */
bool sim_cost_read(const json_t *object, const char *where, const struct sim_limit_rule *limits,
                   size_t limit_cnt, struct sim_cost_rule *out, struct sim_error *error);

struct sim_limit_ask sim_cost_ask(const struct sim_cost_rule *rule,
                                  const struct sim_cost_facts *facts);

/* What a call of COST that was let through costs in the end. CHANCE is uniform in [0, 1). */
int64_t sim_cost_final(const struct sim_cost_rule *rule, int64_t cost, bool success, double chance);

#endif
