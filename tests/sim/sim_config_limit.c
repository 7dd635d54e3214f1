/* `limits` of the configuration: which keys go with which kind. */
#include "sim_calendar.h"
#include "sim_config.h"

#include <stdio.h>
#include <string.h>

#define DAY_MS 86400000.0

static const char *const kind_names[] = {
    "fixed_window", "token_bucket", "fixed_from_first", "sliding_window", "decay", "concurrency",
    "bytes",        NULL,
};
static const char *const scope_names[] = {"ip", "key", "account", "all", NULL};
static const char *const counts_names[] = {"weight", "requests",    "orders",
                                           "listed", "connections", NULL};
static const char *const every_names[] = {"window_ms", "day", "month", NULL};
static const char *const split_names[] = {"none", "endpoint", "param", NULL};

const char *sim_limit_kind_name(int kind)
{
    return kind_names[kind];
}

const char *sim_limit_scope_name(int scope)
{
    return scope_names[scope];
}

const char *sim_limit_every_name(int every)
{
    return every_names[every];
}

/* Binance spot as read in July 2026; orders are counted per key, which stands
   for the account. */
#define BINANCE .kind = SIM_FIXED_WINDOW, .counts_refused = true, .bans = true

static const struct sim_limit_rule binance_limits[] = {
    {.name = "weight_1m",
     .header = "x-mbx-used-weight-1m",
     .scope = SIM_SCOPE_IP,
     .counts = SIM_COUNTS_WEIGHT,
     .quota = 6000,
     .window_ms = 60000,
     BINANCE},
    {.name = "raw_5m",
     .scope = SIM_SCOPE_IP,
     .counts = SIM_COUNTS_REQUESTS,
     .quota = 300000,
     .window_ms = 300000,
     BINANCE},
    {.name = "orders_10s",
     .header = "x-mbx-order-count-10s",
     .scope = SIM_SCOPE_KEY,
     .counts = SIM_COUNTS_ORDERS,
     .quota = 100,
     .window_ms = 10000,
     BINANCE},
    {.name = "orders_1d",
     .header = "x-mbx-order-count-1d",
     .scope = SIM_SCOPE_KEY,
     .counts = SIM_COUNTS_ORDERS,
     .quota = 200000,
     .window_ms = 86400000,
     BINANCE},
};

void sim_config_limits_default(struct sim_config *config)
{
    config->limit_cnt = sizeof(binance_limits) / sizeof(binance_limits[0]);
    memcpy(config->limits, binance_limits, sizeof(binance_limits));
}

struct limit_document {
    struct sim_limit_rule rule;
    const json_t *reports;
    const json_t *refuse;
};

#define LIMIT_AT(member) offsetof(struct limit_document, rule.member)

static const struct sim_field limit_fields[] = {
    {"name", SIM_FIELD_TEXT, LIMIT_AT(name), 1, SIM_LIMIT_NAME_BYTES, .required = true},
    {"kind", SIM_FIELD_NAME, LIMIT_AT(kind), .names = kind_names, .required = true},
    {"quota", SIM_FIELD_INTEGER, LIMIT_AT(quota), 1, 1e12, .required = true},
    {"window_ms", SIM_FIELD_INTEGER, LIMIT_AT(window_ms), 1, 366 * DAY_MS},
    {"phase_ms", SIM_FIELD_INTEGER, LIMIT_AT(phase_ms), 0, 366 * DAY_MS},
    {"every", SIM_FIELD_NAME, LIMIT_AT(every), .names = every_names},
    {"utc_offset_min", SIM_FIELD_INTEGER, LIMIT_AT(utc_offset_min), -14 * 60, 14 * 60},
    {"zone", SIM_FIELD_TEXT, LIMIT_AT(zone), 1, SIM_ZONE_BYTES},
    {"refill_per_s", SIM_FIELD_NUMBER, LIMIT_AT(refill_per_s), 1e-6, 1e9},
    {"decay_per_s", SIM_FIELD_NUMBER, LIMIT_AT(decay_per_s), 1e-6, 1e9},
    {"step_ms", SIM_FIELD_INTEGER, LIMIT_AT(step_ms), 0, DAY_MS},
    {"scope", SIM_FIELD_NAME, LIMIT_AT(scope), .names = scope_names},
    {"split", SIM_FIELD_NAME, LIMIT_AT(split), .names = split_names},
    {"split_param", SIM_FIELD_TEXT, LIMIT_AT(split_param), 1, SIM_PARAM_BYTES},
    {"counts", SIM_FIELD_NAME, LIMIT_AT(counts), .names = counts_names},
    {"counts_refused", SIM_FIELD_FLAG, LIMIT_AT(counts_refused)},
    {"bans", SIM_FIELD_FLAG, LIMIT_AT(bans)},
    {"header", SIM_FIELD_TEXT, LIMIT_AT(header), 0, SIM_HEADER_NAME_BYTES},
    {"reports", SIM_FIELD_JSON, offsetof(struct limit_document, reports)},
    {"report_delay_ms", SIM_FIELD_INTEGER, LIMIT_AT(reports.delay_ms), 0, 600000},
    {"refuse", SIM_FIELD_JSON, offsetof(struct limit_document, refuse)},
    {0},
};

enum {
    FIXED = 1 << SIM_FIXED_WINDOW,
    BUCKET = 1 << SIM_TOKEN_BUCKET,
    FROM_FIRST = 1 << SIM_FIXED_FROM_FIRST,
    SLIDING = 1 << SIM_SLIDING_WINDOW,
    DECAY = 1 << SIM_DECAY,
    BYTES = 1 << SIM_BYTES,
    ALL = (1 << SIM_LIMIT_KIND_CNT) - 1
};

/* Keys that not every kind has: who needs them, who may have them. */
static const struct {
    const char *key;
    int needed;
    int allowed;
} key_kinds[] = {
    {"window_ms", FIXED | FROM_FIRST | SLIDING | BYTES, FIXED | FROM_FIRST | SLIDING | BYTES},
    {"refill_per_s", BUCKET, BUCKET},
    {"decay_per_s", DECAY, DECAY},
    {"step_ms", DECAY, DECAY},
    {"phase_ms", 0, FIXED},
    {"every", 0, FIXED},
    {"utc_offset_min", 0, FIXED},
    {"zone", 0, FIXED},
    {"counts_refused", 0, FIXED | FROM_FIRST | SLIDING | DECAY},
    {"counts", 0, ALL & ~BYTES},
    {"header", 0, ALL},
};

static bool given(const json_t *object, const char *key)
{
    return json_object_get(object, key) != NULL;
}

static bool keys_check(const struct sim_limit_rule *rule, const json_t *object, const char *where,
                       struct sim_error *error)
{
    const char *kind = kind_names[rule->kind];
    int bit = 1 << rule->kind;

    for (size_t i = 0; i < sizeof(key_kinds) / sizeof(key_kinds[0]); i++) {
        const char *key = key_kinds[i].key;
        bool by_calendar = rule->every != SIM_EVERY_WINDOW_MS && strcmp(key, "window_ms") == 0;

        if ((key_kinds[i].needed & bit) && !given(object, key) && !by_calendar) {
            return sim_error_set(error, "%s.%s: missing: a %s needs it", where, key, kind);
        }
        if (!(key_kinds[i].allowed & bit) && given(object, key)) {
            return sim_error_set(error, "%s.%s: a %s has none: take it out", where, key, kind);
        }
    }
    return true;
}

static bool calendar_check(const struct sim_limit_rule *rule, const json_t *object,
                           const char *where, struct sim_error *error)
{
    static const char *const of_calendar[] = {"utc_offset_min", "zone"};
    static const char *const of_length[] = {"window_ms", "phase_ms"};
    bool calendar = rule->every != SIM_EVERY_WINDOW_MS;

    for (size_t i = 0; i < 2; i++) {
        if (!calendar && given(object, of_calendar[i])) {
            return sim_error_set(error, "%s.%s: only every=\"day\" or \"month\" has one", where,
                                 of_calendar[i]);
        }
        if (calendar && given(object, of_length[i])) {
            return sim_error_set(error, "%s.%s: every=\"%s\" says it already: take it out", where,
                                 of_length[i], every_names[rule->every]);
        }
    }
    if (given(object, "zone") && given(object, "utc_offset_min")) {
        return sim_error_set(error, "%s.zone: utc_offset_min says it already: take one out", where);
    }
    if (*rule->zone && !sim_calendar_zone_known(rule->zone)) {
        return sim_error_set(error,
                             "%s.zone=\"%s\": must be a zone of this machine's tz database, such "
                             "as \"America/New_York\"",
                             where, rule->zone);
    }
    if (!calendar && rule->phase_ms > 0 && rule->phase_ms >= rule->window_ms) {
        return sim_error_set(error, "%s.phase_ms=%lld: must be below window_ms=%lld", where,
                             (long long)rule->phase_ms, (long long)rule->window_ms);
    }
    return true;
}

static bool limit_check(const struct sim_limit_rule *rule, const json_t *object, const char *where,
                        struct sim_error *error)
{
    if (!keys_check(rule, object, where, error) || !calendar_check(rule, object, where, error)) {
        return false;
    }
    if ((rule->split == SIM_SPLIT_PARAM) != given(object, "split_param")) {
        return sim_error_set(error, "%s.split_param: goes with split=\"param\"%s", where,
                             rule->split == SIM_SPLIT_PARAM ? ": missing" : ": take it out");
    }
    if (rule->counts == SIM_COUNTS_CONNECTIONS && rule->split != SIM_SPLIT_NONE) {
        return sim_error_set(error, "%s.split: connections carry calls of all sorts: take it out",
                             where);
    }
    return sim_header_check(where, "header", rule->header, error);
}

static bool limit_read(const json_t *object, const char *where, struct sim_limit_rule *out,
                       struct sim_error *error)
{
    struct limit_document read = {.rule = {.bans = true}};
    struct sim_limit_rule *rule = &read.rule;
    char place[64];

    if (!sim_json_read(object, where, limit_fields, &read, error) ||
        !limit_check(rule, object, where, error)) {
        return false;
    }
    if (!given(object, "counts_refused")) {
        rule->counts_refused = ((1 << rule->kind) & (FIXED | FROM_FIRST | SLIDING)) != 0;
    }
    snprintf(place, sizeof(place), "%s.reports", where);
    if (read.reports && !sim_reports_read(read.reports, place, &rule->reports, error)) {
        return false;
    }
    snprintf(place, sizeof(place), "%s.refuse", where);
    if (read.refuse && !sim_refusal_read(read.refuse, place, &rule->refuse, error)) {
        return false;
    }
    *out = *rule;
    return true;
}

bool sim_config_limits_read(const json_t *list, struct sim_config *config, struct sim_error *error)
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
        if (!limit_read(json_array_get(list, i), where, rule, error)) {
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
