#include "sim_config.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static const char *const kind_names[] = {"fixed_window", "token_bucket", NULL};
static const char *const scope_names[] = {"ip", "key", NULL};
static const char *const counts_names[] = {"weight", "requests", "orders", NULL};

const char *sim_limit_kind_name(int kind)
{
    return kind_names[kind];
}

const char *sim_limit_scope_name(int scope)
{
    return scope_names[scope];
}

/* Binance spot as read in July 2026; orders are counted per key, which stands
   for the account. */
static const struct sim_limit_rule binance_limits[] = {
    {"weight_1m", "x-mbx-used-weight-1m", SIM_FIXED_WINDOW, SIM_SCOPE_IP, SIM_COUNTS_WEIGHT, 6000,
     60000, 0},
    {"raw_5m", "", SIM_FIXED_WINDOW, SIM_SCOPE_IP, SIM_COUNTS_REQUESTS, 300000, 300000, 0},
    {"orders_10s", "x-mbx-order-count-10s", SIM_FIXED_WINDOW, SIM_SCOPE_KEY, SIM_COUNTS_ORDERS, 100,
     10000, 0},
    {"orders_1d", "x-mbx-order-count-1d", SIM_FIXED_WINDOW, SIM_SCOPE_KEY, SIM_COUNTS_ORDERS,
     200000, 86400000, 0},
};

void sim_config_default(struct sim_config *config)
{
    *config = (struct sim_config){
        .limit_cnt = sizeof(binance_limits) / sizeof(binance_limits[0]),
        .ban = {.after = 10, .window_ms = 60000, .first_ms = 120000, .max_ms = 259200000},
        .seed = 1,
    };
    memcpy(config->limits, binance_limits, sizeof(binance_limits));
    for (int route = 0; route < SIM_ROUTE_CNT; route++) {
        config->weights.of[route] = SIM_WEIGHT_DEFAULT;
    }
}

#define DAY_MS           86400000.0
#define LIMIT_AT(member) offsetof(struct sim_limit_rule, member)

static const struct sim_field limit_fields[] = {
    {"name", SIM_FIELD_TEXT, LIMIT_AT(name), 1, SIM_LIMIT_NAME_BYTES, .required = true},
    {"kind", SIM_FIELD_NAME, LIMIT_AT(kind), .names = kind_names, .required = true},
    {"quota", SIM_FIELD_INTEGER, LIMIT_AT(quota), 1, 1e12, .required = true},
    {"window_ms", SIM_FIELD_INTEGER, LIMIT_AT(window_ms), 1, 366 * DAY_MS},
    {"refill_per_s", SIM_FIELD_NUMBER, LIMIT_AT(refill_per_s), 1e-6, 1e9},
    {"scope", SIM_FIELD_NAME, LIMIT_AT(scope), .names = scope_names},
    {"counts", SIM_FIELD_NAME, LIMIT_AT(counts), .names = counts_names},
    {"header", SIM_FIELD_TEXT, LIMIT_AT(header), 0, SIM_HEADER_NAME_BYTES},
    {0},
};

static bool limit_check(const struct sim_limit_rule *rule, const char *where,
                        struct sim_error *error)
{
    bool bucket = rule->kind == SIM_TOKEN_BUCKET;

    if (bucket ? rule->refill_per_s == 0 : rule->window_ms == 0) {
        return sim_error_set(error, "%s.%s: missing: a %s needs it", where,
                             bucket ? "refill_per_s" : "window_ms", kind_names[rule->kind]);
    }
    if (bucket ? rule->window_ms != 0 : rule->refill_per_s != 0) {
        return sim_error_set(error, "%s.%s: a %s has none: take it out", where,
                             bucket ? "window_ms" : "refill_per_s", kind_names[rule->kind]);
    }
    if (strspn(rule->header, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-") !=
        strlen(rule->header)) {
        return sim_error_set(error, "%s.header=\"%s\": must be of letters, digits and '-'", where,
                             rule->header);
    }
    return true;
}

static bool limits_read(const json_t *list, struct sim_config *config, struct sim_error *error)
{
    size_t cnt = json_array_size(list);

    if (!json_is_array(list) || cnt > SIM_LIMIT_MAX) {
        return sim_error_set(error, "limits: must be a list of at most %d limits", SIM_LIMIT_MAX);
    }
    memset(config->limits, 0, sizeof(config->limits));
    for (size_t i = 0; i < cnt; i++) {
        struct sim_limit_rule *rule = &config->limits[i];
        char where[32];

        snprintf(where, sizeof(where), "limits[%zu]", i);
        if (!sim_json_read(json_array_get(list, i), where, limit_fields, rule, error) ||
            !limit_check(rule, where, error)) {
            return false;
        }
        for (size_t before = 0; before < i; before++) {
            if (strcmp(config->limits[before].name, rule->name) == 0) {
                return sim_error_set(error, "%s.name=\"%s\": already the name of limits[%zu]",
                                     where, rule->name, before);
            }
        }
    }
    config->limit_cnt = cnt;
    return true;
}

static bool weight_unknown(const char *name, struct sim_error *error)
{
    char names[SIM_ERROR_BYTES - 160];
    size_t used = 0;

    for (int route = 0; route < SIM_ROUTE_CNT && used < sizeof(names); route++) {
        used += (size_t)snprintf(names + used, sizeof(names) - used, "%s%s", route ? ", " : "",
                                 sim_route_name(route));
    }
    return sim_error_set(error, "weights[\"%.60s\"]: unknown route: allowed are %s", name, names);
}

static bool weights_read(const json_t *object, struct sim_config *config, struct sim_error *error)
{
    const char *name;
    json_t *value;

    if (!json_is_object(object)) {
        return sim_error_set(error, "weights: must be an object {\"GET /api/v3/depth\": 5, …}");
    }
    json_object_foreach((json_t *)(uintptr_t)object, name, value)
    {
        json_int_t weight = json_integer_value(value);
        enum sim_route route;

        if (!sim_route_named(name, &route)) {
            return weight_unknown(name, error);
        }
        if (!json_is_integer(value) || weight < 0 || weight > 1000000) {
            return sim_error_set(error, "weights[\"%s\"]: must be an integer from 0 to 1000000",
                                 name);
        }
        config->weights.of[route] = weight;
    }
    return true;
}

static bool faults_read(const json_t *list, struct sim_config *config, struct sim_error *error)
{
    if (!json_is_array(list) || json_array_size(list) > SIM_FAULT_MAX) {
        return sim_error_set(error, "faults: must be a list of at most %d faults", SIM_FAULT_MAX);
    }
    for (size_t i = 0; i < json_array_size(list); i++) {
        struct sim_fault fault;
        char where[32];

        snprintf(where, sizeof(where), "faults[%zu]", i);
        if (!sim_fault_read(json_array_get(list, i), where, &fault, error)) {
            return false;
        }
        sim_fault_add(&config->faults, &fault);
    }
    return true;
}

/* The top of the document: plain values go straight into the configuration,
   the three parts with a form of their own are kept for their readers. */
struct document {
    struct sim_config config;
    const json_t *limits;
    const json_t *weights;
    const json_t *faults;
};

#define TOP_AT(member) offsetof(struct document, config.member)

static const struct sim_field top_fields[] = {
    {"clock_offset_ms", SIM_FIELD_INTEGER, TOP_AT(clock_offset_ms), -3660 * DAY_MS, 3660 * DAY_MS},
    {"limits", SIM_FIELD_JSON, offsetof(struct document, limits)},
    {"ban_after", SIM_FIELD_INTEGER, TOP_AT(ban.after), 0, 1e9},
    {"ban_window_ms", SIM_FIELD_INTEGER, TOP_AT(ban.window_ms), 1, DAY_MS},
    {"ban_first_ms", SIM_FIELD_INTEGER, TOP_AT(ban.first_ms), 1, 366 * DAY_MS},
    {"ban_max_ms", SIM_FIELD_INTEGER, TOP_AT(ban.max_ms), 1, 366 * DAY_MS},
    {"weights", SIM_FIELD_JSON, offsetof(struct document, weights)},
    {"trust_sim_ip", SIM_FIELD_FLAG, TOP_AT(trust_sim_ip)},
    {"latency_ms", SIM_FIELD_INTEGER, TOP_AT(latency_ms), 0, 600000},
    {"jitter_ms", SIM_FIELD_INTEGER, TOP_AT(jitter_ms), 0, 600000},
    {"count_delay_ms", SIM_FIELD_INTEGER, TOP_AT(count_delay_ms), 0, 600000},
    {"count_jitter_ms", SIM_FIELD_INTEGER, TOP_AT(count_jitter_ms), 0, 600000},
    {"seed", SIM_FIELD_INTEGER, TOP_AT(seed), 0, 1e15},
    {"faults", SIM_FIELD_JSON, offsetof(struct document, faults)},
    {0},
};

static bool document_read(const json_t *root, struct sim_config *config, struct sim_error *error)
{
    struct document document = {0};
    struct sim_config *read = &document.config;

    sim_config_default(read);
    if (!sim_json_read(root, "", top_fields, &document, error) ||
        (document.limits && !limits_read(document.limits, read, error)) ||
        (document.weights && !weights_read(document.weights, read, error)) ||
        (document.faults && !faults_read(document.faults, read, error))) {
        return false;
    }
    if (read->ban.max_ms < read->ban.first_ms) {
        return sim_error_set(error, "ban_max_ms=%lld: must be at least ban_first_ms=%lld",
                             (long long)read->ban.max_ms, (long long)read->ban.first_ms);
    }
    *config = *read;
    return true;
}

static bool parsed(json_t *root, const json_error_t *syntax, struct sim_config *config,
                   struct sim_error *error)
{
    bool good;

    if (!root) {
        return sim_error_set(error, "line %d, column %d: not JSON: %s", syntax->line,
                             syntax->column, syntax->text);
    }
    good = document_read(root, config, error);
    json_decref(root);
    return good;
}

bool sim_config_read(const char *text, struct sim_config *config, struct sim_error *error)
{
    json_error_t syntax;

    return parsed(json_loads(text, JSON_REJECT_DUPLICATES, &syntax), &syntax, config, error);
}

bool sim_config_load(const char *path, struct sim_config *config, struct sim_error *error)
{
    FILE *file = fopen(path, "re");
    json_error_t syntax;
    json_t *root;

    if (!file) {
        return sim_error_set(error, "cannot be read: %s", strerror(errno));
    }
    root = json_loadf(file, JSON_REJECT_DUPLICATES, &syntax);
    fclose(file);
    return parsed(root, &syntax, config, error);
}
