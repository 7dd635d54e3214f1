#include "sim_config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DAY_MS 86400000.0

void sim_config_default(struct sim_config *config)
{
    *config = (struct sim_config){
        .ban =
            {.after = 10, .window_ms = 60000, .first_ms = 120000, .max_ms = 259200000, .growth = 2},
        .key_header = "X-MBX-APIKEY",
        .seed = 1,
    };
    sim_config_limits_default(config);
    for (int route = 0; route < SIM_ROUTE_CNT; route++) {
        config->weights.of[route] = SIM_WEIGHT_DEFAULT;
    }
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

static bool paths_read(const json_t *list, struct sim_config *config, struct sim_error *error)
{
    size_t cnt = json_array_size(list);

    if (!json_is_array(list) || cnt > SIM_PATH_MAX) {
        return sim_error_set(error, "routes: must be a list of at most %d routes", SIM_PATH_MAX);
    }
    for (size_t i = 0; i < cnt; i++) {
        char where[32];

        snprintf(where, sizeof(where), "routes[%zu]", i);
        if (!sim_path_read(json_array_get(list, i), where, config->limits, config->limit_cnt,
                           &config->paths[i], error)) {
            return false;
        }
        for (size_t before = 0; before < i; before++) {
            if (strcmp(config->paths[before].name, config->paths[i].name) == 0) {
                return sim_error_set(error, "%s.path=\"%s\": already the path of routes[%zu]",
                                     where, config->paths[i].name, before);
            }
        }
    }
    config->path_cnt = cnt;
    return true;
}

/* {"key-1": "desk", "key-2": "desk"} */
static bool accounts_read(const json_t *object, struct sim_config *config, struct sim_error *error)
{
    const char *key;
    json_t *account;

    if (!json_is_object(object) || json_object_size(object) > SIM_ACCOUNT_MAX) {
        return sim_error_set(error,
                             "accounts: must be an object {\"key\": \"account\"} of at most %d",
                             SIM_ACCOUNT_MAX);
    }
    json_object_foreach((json_t *)(uintptr_t)object, key, account)
    {
        struct sim_account *row = &config->accounts[config->account_cnt];
        const char *name = json_string_value(account);

        if (!name || !*name || strlen(name) > SIM_KEY_BYTES || strlen(key) > SIM_KEY_BYTES) {
            return sim_error_set(error,
                                 "accounts[\"%.60s\"]: key and account must be texts of at most %d "
                                 "bytes",
                                 key, SIM_KEY_BYTES);
        }
        snprintf(row->key, sizeof(row->key), "%s", key);
        snprintf(row->account, sizeof(row->account), "%s", name);
        config->account_cnt++;
    }
    return true;
}

/* The top of the document: plain values go straight into the configuration,
   the parts with a form of their own are kept for their readers. */
struct document {
    struct sim_config config;
    const json_t *limits;
    const json_t *weights;
    const json_t *faults;
    const json_t *routes;
    const json_t *times;
    const json_t *accounts;
    const json_t *ban_refuse;
    const json_t *signature;
    const json_t *session;
};

static const char *const ban_scope_names[] = {"ip", "key", NULL};

#define TOP_AT(member) offsetof(struct document, config.member)

static const struct sim_field top_fields[] = {
    {"clock_offset_ms", SIM_FIELD_INTEGER, TOP_AT(clock_offset_ms), -3660 * DAY_MS, 3660 * DAY_MS},
    {"clock_drift_ppm", SIM_FIELD_INTEGER, TOP_AT(clock_drift_ppm), -100000, 100000},
    {"clock_drift_spans", SIM_FIELD_FLAG, TOP_AT(clock_drift_spans)},
    {"limits", SIM_FIELD_JSON, offsetof(struct document, limits)},
    {"ban_after", SIM_FIELD_INTEGER, TOP_AT(ban.after), 0, 1e9},
    {"ban_window_ms", SIM_FIELD_INTEGER, TOP_AT(ban.window_ms), 1, DAY_MS},
    {"ban_first_ms", SIM_FIELD_INTEGER, TOP_AT(ban.first_ms), 1, 366 * DAY_MS},
    {"ban_max_ms", SIM_FIELD_INTEGER, TOP_AT(ban.max_ms), 1, 366 * DAY_MS},
    {"ban_growth", SIM_FIELD_NUMBER, TOP_AT(ban.growth), 1, 1000},
    {"ban_extend", SIM_FIELD_FLAG, TOP_AT(ban.extend)},
    {"ban_scope", SIM_FIELD_NAME, TOP_AT(ban_scope), .names = ban_scope_names},
    {"ban_refuse", SIM_FIELD_JSON, offsetof(struct document, ban_refuse)},
    {"weights", SIM_FIELD_JSON, offsetof(struct document, weights)},
    {"trust_sim_ip", SIM_FIELD_FLAG, TOP_AT(trust_sim_ip)},
    {"key_header", SIM_FIELD_TEXT, TOP_AT(key_header), 1, SIM_HEADER_NAME_BYTES},
    {"key_param", SIM_FIELD_TEXT, TOP_AT(key_param), 1, SIM_PARAM_BYTES},
    {"accounts", SIM_FIELD_JSON, offsetof(struct document, accounts)},
    {"signature", SIM_FIELD_JSON, offsetof(struct document, signature)},
    {"session", SIM_FIELD_JSON, offsetof(struct document, session)},
    {"routes", SIM_FIELD_JSON, offsetof(struct document, routes)},
    {"times", SIM_FIELD_JSON, offsetof(struct document, times)},
    {"latency_ms", SIM_FIELD_INTEGER, TOP_AT(latency_ms), 0, 600000},
    {"jitter_ms", SIM_FIELD_INTEGER, TOP_AT(jitter_ms), 0, 600000},
    {"count_delay_ms", SIM_FIELD_INTEGER, TOP_AT(count_delay_ms), 0, 600000},
    {"count_jitter_ms", SIM_FIELD_INTEGER, TOP_AT(count_jitter_ms), 0, 600000},
    {"seed", SIM_FIELD_INTEGER, TOP_AT(seed), 0, 1e15},
    {"faults", SIM_FIELD_JSON, offsetof(struct document, faults)},
    {0},
};

static bool lists_read(const struct document *document, struct sim_config *config,
                       struct sim_error *error)
{
    /* Routes name limits: those come first. */
    return (!document->limits || sim_config_limits_read(document->limits, config, error)) &&
           (!document->weights || weights_read(document->weights, config, error)) &&
           (!document->faults || faults_read(document->faults, config, error)) &&
           (!document->routes || paths_read(document->routes, config, error)) &&
           (!document->times || sim_stamps_read(document->times, &config->times, error)) &&
           (!document->accounts || accounts_read(document->accounts, config, error)) &&
           (!document->session || sim_session_read(document->session, &config->session, error)) &&
           (!document->signature ||
            sim_signature_read(document->signature, &config->signature, error)) &&
           (!document->ban_refuse ||
            sim_refusal_read(document->ban_refuse, "ban_refuse", &config->ban_refuse, error));
}

static bool document_check(const struct sim_config *config, struct sim_error *error)
{
    if (config->ban.max_ms < config->ban.first_ms) {
        return sim_error_set(error, "ban_max_ms=%lld: must be at least ban_first_ms=%lld",
                             (long long)config->ban.max_ms, (long long)config->ban.first_ms);
    }
    if (strspn(config->key_header,
               "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-") !=
        strlen(config->key_header)) {
        return sim_error_set(error, "key_header=\"%s\": must be of letters, digits and '-'",
                             config->key_header);
    }
    return true;
}

/* On the heap: it is too large for a stack. */
static bool document_read(const json_t *root, struct sim_config *config, struct sim_error *error)
{
    struct document *document = calloc(1, sizeof(*document));
    bool good;

    if (!document) {
        return sim_error_set(error, "out of memory");
    }
    sim_config_default(&document->config);
    good = sim_json_read(root, "", top_fields, document, error) &&
           lists_read(document, &document->config, error) &&
           document_check(&document->config, error);
    if (good) {
        *config = document->config;
    }
    free(document);
    return good;
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
