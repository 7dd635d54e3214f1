#include "sim_cost.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COST_HIGHEST 1e9
#define UPTO_HIGHEST 1e12

struct cost_document {
    struct sim_cost_rule rule;
    const json_t *brackets;
    const json_t *ages;
    const json_t *actual;
};

#define COST_AT(member) offsetof(struct cost_document, member)

static const struct sim_field cost_fields[] = {
    {"limit", SIM_FIELD_TEXT, COST_AT(rule.limit_name), 1, SIM_LIMIT_NAME_BYTES, .required = true},
    {"if_param", SIM_FIELD_TEXT, COST_AT(rule.if_param), 1, SIM_PARAM_BYTES},
    {"if_value", SIM_FIELD_TEXT, COST_AT(rule.if_value), 1, SIM_IF_BYTES},
    {"cost", SIM_FIELD_INTEGER, COST_AT(rule.cost), 0, COST_HIGHEST},
    {"per_item", SIM_FIELD_INTEGER, COST_AT(rule.per_item), 0, COST_HIGHEST},
    {"partial", SIM_FIELD_FLAG, COST_AT(rule.partial)},
    {"never_refused", SIM_FIELD_FLAG, COST_AT(rule.never_refused)},
    {"param", SIM_FIELD_TEXT, COST_AT(rule.param), 1, SIM_PARAM_BYTES},
    {"brackets", SIM_FIELD_JSON, COST_AT(brackets)},
    {"absent_cost", SIM_FIELD_INTEGER, COST_AT(rule.absent_cost), 0, COST_HIGHEST},
    {"age_brackets", SIM_FIELD_JSON, COST_AT(ages)},
    {"success_cost", SIM_FIELD_INTEGER, COST_AT(rule.success_cost), 0, COST_HIGHEST},
    {"failure_cost", SIM_FIELD_INTEGER, COST_AT(rule.failure_cost), 0, COST_HIGHEST},
    {"actual", SIM_FIELD_JSON, COST_AT(actual)},
    {"field", SIM_FIELD_TEXT, COST_AT(rule.field), 1, SIM_FIELD_PATH_BYTES},
    {0},
};

static bool within(const json_t *value, double highest)
{
    return json_is_integer(value) && json_integer_value(value) >= 0 &&
           (double)json_integer_value(value) <= highest;
}

/* [[100, 5], [500, 25]]: upper edges that grow, and their costs. */
static bool brackets_read(const json_t *list, const char *where, const char *key,
                          struct sim_brackets *out, struct sim_error *error)
{
    size_t cnt = json_array_size(list);

    if (!json_is_array(list) || cnt == 0 || cnt > SIM_BRACKET_MAX) {
        return sim_error_set(error, "%s.%s: must be a list of 1 to %d pairs [upto, cost]", where,
                             key, SIM_BRACKET_MAX);
    }
    for (size_t i = 0; i < cnt; i++) {
        const json_t *pair = json_array_get(list, i);
        const json_t *upto = json_array_get(pair, 0);
        const json_t *cost = json_array_get(pair, 1);

        if (json_array_size(pair) != 2 || !within(upto, UPTO_HIGHEST) ||
            !within(cost, COST_HIGHEST)) {
            return sim_error_set(error,
                                 "%s.%s[%zu]: must be [upto, cost], integers from 0 to %.0f and "
                                 "%.0f",
                                 where, key, i, UPTO_HIGHEST, COST_HIGHEST);
        }
        out->list[i] = (struct sim_bracket){json_integer_value(upto), json_integer_value(cost)};
        if (i > 0 && out->list[i].upto <= out->list[i - 1].upto) {
            return sim_error_set(error, "%s.%s[%zu]: %lld: must be above %lld of the pair before",
                                 where, key, i, (long long)out->list[i].upto,
                                 (long long)out->list[i - 1].upto);
        }
    }
    out->cnt = cnt;
    return true;
}

static bool actual_read(const json_t *pair, const char *where, struct sim_cost_rule *rule,
                        struct sim_error *error)
{
    const json_t *low = json_array_get(pair, 0);
    const json_t *high = json_array_get(pair, 1);

    if (json_array_size(pair) != 2 || !within(low, COST_HIGHEST) || !within(high, COST_HIGHEST) ||
        json_integer_value(low) > json_integer_value(high)) {
        return sim_error_set(error, "%s.actual: must be [least, most], integers from 0 to %.0f",
                             where, COST_HIGHEST);
    }
    rule->actual_min = json_integer_value(low);
    rule->actual_max = json_integer_value(high);
    return true;
}

/* What contradicts itself, each with its own text. */
static bool cost_check(const struct sim_cost_rule *rule, int kind, const char *where,
                       struct sim_error *error)
{
    bool corrected = rule->success_cost != SIM_COST_SAME || rule->failure_cost != SIM_COST_SAME ||
                     rule->actual_min != SIM_COST_SAME;

    if (!*rule->if_param != !*rule->if_value) {
        return sim_error_set(error, "%s.%s: missing: if_param and if_value go together", where,
                             *rule->if_param ? "if_value" : "if_param");
    }
    if ((*rule->param != 0) != (rule->by_param.cnt > 0)) {
        return sim_error_set(error, "%s.%s: missing: param and brackets go together", where,
                             *rule->param ? "brackets" : "param");
    }
    if (rule->partial && (rule->per_item == 0 || rule->cost > 0 || rule->by_param.cnt > 0 ||
                          rule->by_age.cnt > 0 || corrected || rule->never_refused)) {
        return sim_error_set(error, "%s.partial: needs per_item, and no other cost beside it",
                             where);
    }
    if (rule->success_cost != SIM_COST_SAME && rule->actual_min != SIM_COST_SAME) {
        return sim_error_set(error, "%s.actual: success_cost says it already: take one out", where);
    }
    if (corrected && rule->cost + rule->per_item == 0) {
        return sim_error_set(error, "%s.cost: must be at least 1 where the outcome changes it",
                             where);
    }
    if (kind == SIM_BYTES) {
        return sim_error_set(error,
                             "%s.limit=\"%s\": a bytes limit counts answers: no call has a "
                             "cost for it",
                             where, rule->limit_name);
    }
    if (kind == SIM_CONCURRENCY && (corrected || rule->partial)) {
        return sim_error_set(error,
                             "%s.limit=\"%s\": a concurrency limit takes its units back by "
                             "itself: only cost, per_item and brackets are allowed",
                             where, rule->limit_name);
    }
    return true;
}

bool sim_cost_read(const json_t *object, const char *where, const struct sim_limit_rule *limits,
                   size_t limit_cnt, struct sim_cost_rule *out, struct sim_error *error)
{
    struct cost_document read = {.rule = {.success_cost = SIM_COST_SAME,
                                          .failure_cost = SIM_COST_SAME,
                                          .actual_min = SIM_COST_SAME}};
    struct sim_cost_rule *rule = &read.rule;

    if (!sim_json_read(object, where, cost_fields, &read, error) ||
        (read.brackets &&
         !brackets_read(read.brackets, where, "brackets", &rule->by_param, error)) ||
        (read.ages && !brackets_read(read.ages, where, "age_brackets", &rule->by_age, error)) ||
        (read.actual && !actual_read(read.actual, where, rule, error))) {
        return false;
    }
    while (rule->limit < limit_cnt && strcmp(limits[rule->limit].name, rule->limit_name) != 0) {
        rule->limit++;
    }
    if (rule->limit == limit_cnt) {
        return sim_error_set(error, "%s.limit=\"%s\": no limit has this name", where,
                             rule->limit_name);
    }
    if (!cost_check(rule, limits[rule->limit].kind, where, error)) {
        return false;
    }
    *out = *rule;
    return true;
}

static int64_t dearest(const struct sim_brackets *brackets)
{
    int64_t cost = 0;

    for (size_t i = 0; i < brackets->cnt; i++) {
        cost = brackets->list[i].cost > cost ? brackets->list[i].cost : cost;
    }
    return cost;
}

/* What is no whole number, or lies beyond the last edge, is taken for the
   dearest: an exchange that refuses it still charges. */
static int64_t param_cost(const struct sim_cost_rule *rule, const char *text)
{
    const struct sim_brackets *brackets = &rule->by_param;
    long long value;
    char *end;

    if (brackets->cnt == 0 || !text) {
        return brackets->cnt ? rule->absent_cost : 0;
    }
    errno = 0;
    value = strtoll(text, &end, 10);
    for (size_t i = 0; i < brackets->cnt && *text && !*end && errno == 0 && value >= 0; i++) {
        if (value <= brackets->list[i].upto) {
            return brackets->list[i].cost;
        }
    }
    return dearest(brackets);
}

static int64_t age_cost(const struct sim_brackets *brackets, int64_t age_ms)
{
    for (size_t i = 0; i < brackets->cnt; i++) {
        if (age_ms < brackets->list[i].upto) {
            return brackets->list[i].cost;
        }
    }
    return 0;
}

struct sim_limit_ask sim_cost_ask(const struct sim_cost_rule *rule,
                                  const struct sim_cost_facts *facts)
{
    struct sim_limit_ask ask = {.forced = rule->never_refused};

    if (*rule->if_param && (!facts->if_param || strcmp(facts->if_param, rule->if_value) != 0)) {
        return (struct sim_limit_ask){0};
    }
    ask.cost = rule->cost + rule->per_item * facts->item_cnt + param_cost(rule, facts->param);
    for (size_t i = 0; i < facts->age_cnt; i++) {
        ask.cost += age_cost(&rule->by_age, facts->ages_ms[i]);
    }
    ask.piece = rule->partial ? rule->per_item : 0;
    return ask;
}

int64_t sim_cost_final(const struct sim_cost_rule *rule, int64_t cost, bool success, double chance)
{
    int64_t set = success ? rule->success_cost : rule->failure_cost;

    if (success && rule->actual_min != SIM_COST_SAME) {
        double span = (double)(rule->actual_max - rule->actual_min + 1);

        set = rule->actual_min + (int64_t)(chance * span);
    }
    return set == SIM_COST_SAME ? cost : set;
}
