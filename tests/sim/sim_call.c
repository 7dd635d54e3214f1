/* What a call costs, before and after: from its parameters, by its outcome. */
#include "sim_request.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PARAM_TEXT_BYTES = 128 };

const json_t *sim_request_items(const struct sim_request *request)
{
    const char *field = request->call.path->items;
    const json_t *list = *field ? json_object_get(request->json, field) : request->json;

    return json_is_array(list) ? list : NULL;
}

const char *sim_request_item_id(const struct sim_request *request, const json_t *item)
{
    return json_is_string(item) ? json_string_value(item)
                                : json_string_value(json_object_get(item, request->call.path->id));
}

static bool batch(const struct sim_path *path)
{
    return path->plays == SIM_PLAYS_BATCH_PLACE || path->plays == SIM_PLAYS_BATCH_CANCEL;
}

static size_t age_add(const struct sim_request *request, const char *client_id, int64_t *ages_ms,
                      size_t cnt)
{
    const struct sim_order_log *orders = &request->sim->exchange.orders;
    int64_t now_mono_ns = sim_clock_now(&request->sim->clock).mono_ns;
    int64_t age_ms =
        client_id ? sim_order_age_ms(orders, sim_order_find(orders, client_id, 0), now_mono_ns)
                  : -1;

    if (age_ms < 0) {
        return cnt; /* refused by the exchange: only the fixed part is charged */
    }
    ages_ms[cnt] = age_ms;
    return cnt + 1;
}

/* Ages of the open orders that the call names, malloc'd. */
static int64_t *ages_collect(const struct sim_request *request, size_t *age_cnt)
{
    const struct sim_path *path = request->call.path;
    const json_t *items = batch(path) ? sim_request_items(request) : NULL;
    size_t item_cnt = json_array_size(items);
    int64_t *ages_ms = malloc((item_cnt + 1) * sizeof(*ages_ms));
    char client_id[SIM_ORDER_ID_BYTES + 1];

    *age_cnt = 0;
    if (!ages_ms || !*path->id) {
        return ages_ms;
    }
    for (size_t i = 0; i < item_cnt; i++) {
        const char *id = sim_request_item_id(request, json_array_get(items, i));

        *age_cnt = age_add(request, id, ages_ms, *age_cnt);
    }
    if (!batch(path) && sim_request_param(request, path->id, client_id, sizeof(client_id))) {
        *age_cnt = age_add(request, client_id, ages_ms, 0);
    }
    return ages_ms;
}

/* A batch that cannot be read is charged as one order. */
static int64_t items_count(const struct sim_request *request)
{
    size_t cnt = batch(request->call.path) ? json_array_size(sim_request_items(request)) : 0;

    return cnt > 0 ? (int64_t)cnt : 1;
}

static struct sim_cost plain_cost(const struct sim_request *request)
{
    const struct sim_path *path = request->call.path;
    bool known = !path || request->call.route != SIM_ROUTE_OTHER;
    struct sim_cost cost = {.weight = 1, .requests = 1};

    if (known) {
        cost = sim_route_cost(&request->sim->config.weights, request->call.route,
                              sim_request_query(request, "symbol"),
                              sim_request_query(request, "limit"));
    }
    if (path) {
        cost.requests = 1;
        cost.weight = path->weight == SIM_PATH_UNSET ? cost.weight : path->weight;
        cost.orders = path->orders == SIM_PATH_UNSET ? cost.orders : path->orders;
    }
    return cost;
}

static int64_t counted(const struct sim_request *request, const struct sim_limit_rule *rule,
                       const struct sim_cost *cost)
{
    if (rule->kind == SIM_BYTES) {
        return 1; /* it applies; the answer says how much */
    }
    switch (rule->counts) {
    case SIM_COUNTS_WEIGHT:
        return cost->weight;
    case SIM_COUNTS_REQUESTS:
        return cost->requests;
    case SIM_COUNTS_ORDERS:
        return cost->orders;
    case SIM_COUNTS_CONNECTIONS:
        return request->call.opens;
    default:
        return 0;
    }
}

/* The report is JSON, which cannot carry a value of arbitrary bytes. */
static void split_fill(struct sim_request *request, size_t limit)
{
    const struct sim_limit_rule *rule = &request->sim->config.limits[limit];
    char *out = request->call.splits[limit];

    if (rule->split == SIM_SPLIT_ENDPOINT) {
        snprintf(out, SIM_SPLIT_BYTES, "%s",
                 request->call.path ? request->call.path->name
                                    : sim_route_name(request->call.route));
    } else if (rule->split == SIM_SPLIT_PARAM) {
        if (!sim_request_param(request, rule->split_param, out, SIM_SPLIT_BYTES) || !*out) {
            snprintf(out, SIM_SPLIT_BYTES, "(none)");
        }
        for (const char *c = out; *c; c++) {
            if (*c <= ' ' || *c >= 127) {
                snprintf(out, SIM_SPLIT_BYTES, "(unprintable)");
                break;
            }
        }
    }
}

/* NULL: the call has none. Too long to be a number is as good as no number. */
static const char *param_text(const struct sim_request *request, const char *name,
                              char out[PARAM_TEXT_BYTES])
{
    if (!*name || !sim_request_has(request, name)) {
        return NULL;
    }
    return sim_request_param(request, name, out, PARAM_TEXT_BYTES) ? out : "";
}

static void listed_ask(struct sim_request *request)
{
    const struct sim_path *path = request->call.path;
    struct sim_cost_facts facts = {.item_cnt = items_count(request)};
    int64_t *ages_ms = ages_collect(request, &facts.age_cnt);
    char param[PARAM_TEXT_BYTES];
    char if_param[PARAM_TEXT_BYTES];

    facts.ages_ms = ages_ms;
    for (size_t i = 0; i < path->cost_cnt; i++) {
        const struct sim_cost_rule *rule = &path->costs[i];
        facts.param = param_text(request, rule->param, param);
        facts.if_param = param_text(request, rule->if_param, if_param);
        request->call.asks[rule->limit] = sim_cost_ask(rule, &facts);
    }
    free(ages_ms);
}

void sim_call_ask(struct sim_request *request)
{
    const struct sim_config *config = &request->sim->config;
    struct sim_cost cost;

    if (request->counts_body && request->body_bytes > 0) {
        request->json = json_loadb(request->body, request->body_bytes, 0, NULL);
    }
    cost = plain_cost(request);
    for (size_t i = 0; i < config->limit_cnt; i++) {
        request->call.asks[i] =
            (struct sim_limit_ask){.cost = counted(request, &config->limits[i], &cost)};
        split_fill(request, i);
    }
    if (request->call.path) {
        listed_ask(request);
    }
}

static void binance_refuse(struct sim_request *request)
{
    const struct sim_verdict *verdict = &request->verdict;
    const struct sim_limit_rule *rule =
        &request->sim->config.limits[verdict->status == 429 ? verdict->refused_by : 0];

    if (verdict->status == 418) {
        sim_answer_error(request, 418, -1003,
                         "Way too much request weight used; IP banned until %lld. Please use "
                         "WebSocket Streams for live updates to avoid bans.",
                         (long long)verdict->banned_until_utc_ms);
    } else if (rule->counts == SIM_COUNTS_ORDERS) {
        sim_answer_error(request, 429, -1015, "Too many new orders; limit %s is %lld.", rule->name,
                         (long long)rule->quota);
    } else {
        sim_answer_error(request, 429, -1003,
                         "Too much request weight used; limit %s is %lld. Please use WebSocket "
                         "Streams for live updates to avoid polling the API.",
                         rule->name, (long long)rule->quota);
    }
}

void sim_call_refuse(struct sim_request *request)
{
    const struct sim_config *config = &request->sim->config;
    const struct sim_verdict *verdict = &request->verdict;
    const struct sim_limit_rule *rule =
        verdict->status == 429 ? &config->limits[verdict->refused_by] : NULL;
    const struct sim_refusal *refuse = rule ? &rule->refuse : &config->ban_refuse;
    int64_t now_utc_ms = sim_clock_now(&request->sim->clock).utc_ns / SIM_NS_PER_MS;
    struct sim_refusal_facts facts = {
        .limit = rule ? rule->name : "ban",
        .quota = rule ? rule->quota : 0,
        .retry_s = verdict->retry_after_s,
        .until_utc_ms =
            rule ? now_utc_ms + verdict->retry_after_s * 1000 : verdict->banned_until_utc_ms,
        .now_utc_ms = now_utc_ms,
    };
    char *body;

    if (refuse->status == 0) {
        binance_refuse(request);
        return;
    }
    body = sim_refusal_body(refuse, &facts);
    sim_answer_text(request, (int)refuse->status,
                    refuse->json ? "application/json;charset=UTF-8" : "text/plain;charset=UTF-8",
                    body, body ? strlen(body) : 0);
}

void sim_call_settle(struct sim_request *request)
{
    struct sim *sim = request->sim;
    const struct sim_path *path = request->call.path;
    bool success = !request->failed && request->answer.status < 300;

    if (!path || request->verdict.status != 200) {
        return;
    }
    for (size_t i = 0; i < path->cost_cnt; i++) {
        const struct sim_cost_rule *rule = &path->costs[i];
        bool drawn = success && rule->actual_min != SIM_COST_SAME;
        int64_t taken = request->verdict.charges[rule->limit].taken;
        int64_t final = sim_cost_final(rule, taken, success, drawn ? sim_random_draw(sim) : 0.0);

        sim_exchange_correct(&sim->exchange, &request->verdict, rule->limit, final,
                             sim_clock_now(&sim->clock));
    }
}
