/* The report: everything the oracle knows, as JSON. */
#include "sim_exchange.h"

#include <stdio.h>

/* A number is spelled json_int_t once here, not at every use. */
static void put(json_t *object, const char *key, int64_t value)
{
    json_object_set_new(object, key, json_integer((json_int_t)value));
}

static void put_real(json_t *object, const char *key, double value)
{
    json_object_set_new(object, key, json_real(value));
}

static json_t *window_json(struct sim_window window)
{
    json_t *object = json_object();

    put(object, "start_ms", window.start_ms);
    put(object, "used", window.used);
    return object;
}

static void windows_report(json_t *row, const struct sim_limit_rule *rule,
                           const struct sim_limit_count *count)
{
    size_t kept = SIM_WINDOW_HISTORY_MAX;
    size_t from = count->history_cnt > kept ? count->history_cnt - kept : 0;
    json_t *windows = json_array();

    for (size_t i = from; i < count->history_cnt; i++) {
        if (count->history[i % kept].number != SIM_WINDOW_RESUMED) {
            json_array_append_new(windows, window_json(count->history[i % kept]));
        }
    }
    json_array_append_new(windows, window_json(count->window));
    if (rule->every == SIM_EVERY_WINDOW_MS) {
        put(row, "window_ms", rule->window_ms);
    } else {
        json_object_set_new(row, "every", json_string(sim_limit_every_name(rule->every)));
    }
    put(row, "highest_start_ms", count->highest_start_ms);
    put(row, "windows_complete", count->complete_cnt);
    put(row, "used_in_complete_windows", count->complete_used);
    put(row, "granted_in_complete_windows", count->complete_granted);
    json_object_set_new(row, "windows", windows);
}

static void bucket_report(json_t *row, const struct sim_limit_rule *rule,
                          const struct sim_limit_count *count)
{
    put_real(row, "refill_per_s", rule->refill_per_s);
    put_real(row, "level_min", count->level_min);
    put_real(row, "deficit_max", count->deficit_max);
    put_real(row, "excess_max", count->excess_max);
}

static void decay_report(json_t *row, const struct sim_limit_rule *rule,
                         const struct sim_limit_count *count)
{
    put_real(row, "decay_per_s", rule->decay_per_s);
    put(row, "step_ms", rule->step_ms);
    put_real(row, "counter_max", count->level_max);
    put_real(row, "deficit_max", count->deficit_max);
}

static json_t *limit_report(const struct sim_limit_rule *rule, const struct sim_party *party,
                            const struct sim_limit_count *count)
{
    json_t *row = json_pack("{s:s, s:s, s:s, s:s}", "name", rule->name, "kind",
                            sim_limit_kind_name(rule->kind), "scope",
                            sim_limit_scope_name(rule->scope), "caller", party->name);

    put(row, "quota", rule->quota);
    put(row, "highest", count->highest);
    put(row, "violations", count->violation_cnt);
    put(row, "arrivals", count->arrival_cnt);
    put(row, "counted", count->counted);
    put(row, "granted", count->granted);
    put(row, "partial", count->partial_cnt);
    put(row, "corrected", count->corrected);
    put(row, "foreign", count->foreign);
    put_real(row, "span_s",
             (double)(count->last_mono_ns - count->first_mono_ns) / (double)SIM_NS_PER_S);
    put_real(row, "share", sim_limit_share(rule, count));
    switch (rule->kind) {
    case SIM_TOKEN_BUCKET:
        bucket_report(row, rule, count);
        break;
    case SIM_DECAY:
        decay_report(row, rule, count);
        break;
    case SIM_CONCURRENCY:
        put(row, "in_progress", count->in_progress);
        break;
    default:
        windows_report(row, rule, count);
        break;
    }
    return row;
}

static json_t *limits_report(const struct sim_exchange *exchange, int64_t *violation_cnt)
{
    const struct sim_config *config = exchange->config;
    json_t *rows = json_array();

    for (size_t i = 0; i < config->limit_cnt; i++) {
        for (struct sim_party *party = exchange->parties; party; party = party->next) {
            if (party->counts[i].opened) {
                *violation_cnt += party->counts[i].violation_cnt;
                json_array_append_new(rows,
                                      limit_report(&config->limits[i], party, &party->counts[i]));
            }
        }
    }
    return rows;
}

static json_t *bans_report(const struct sim_exchange *exchange, struct sim_instant now,
                           double *banned_s)
{
    json_t *rows = json_array();

    for (struct sim_party *party = exchange->parties; party; party = party->next) {
        const struct sim_ban *ban = &party->ban;
        double spent_s = (double)sim_ban_spent_ns(ban, now.mono_ns) / (double)SIM_NS_PER_S;
        json_t *row;

        if (ban->ban_cnt == 0) {
            continue;
        }
        row = json_pack("{s:s, s:b, s:f}", sim_limit_scope_name(party->scope), party->name,
                        "banned_now", sim_ban_holds(ban, now.mono_ns), "banned_s", spent_s);
        put(row, "bans", ban->ban_cnt);
        put(row, "refused_while_banned", ban->refused_cnt);
        json_array_append_new(rows, row);
        *banned_s += spent_s;
    }
    return rows;
}

static json_t *by_route_report(const struct sim_exchange *exchange)
{
    const struct sim_config *config = exchange->config;
    json_t *object = json_object();

    for (size_t i = 0; i < config->path_cnt; i++) {
        if (exchange->by_path[i] > 0) {
            put(object, config->paths[i].name, exchange->by_path[i]);
        }
    }
    for (enum sim_route route = 0; route < SIM_ROUTE_CNT; route++) {
        if (exchange->by_route[route] > 0) {
            put(object, sim_route_name(route), exchange->by_route[route]);
        }
    }
    return object;
}

static json_t *by_status_report(const struct sim_exchange *exchange)
{
    json_t *object = json_object();
    char key[16];

    for (int status = 0; status < SIM_STATUS_MAX; status++) {
        if (exchange->by_status[status] > 0) {
            snprintf(key, sizeof(key), "%d", status);
            put(object, key, exchange->by_status[status]);
        }
    }
    put(object, "none", exchange->unanswered_cnt);
    return object;
}

static json_t *orders_report(const struct sim_order_log *orders)
{
    json_t *object = json_object();

    put(object, "accepted", orders->accepted_cnt);
    put(object, "distinct", (int64_t)orders->cnt);
    put(object, "duplicates", orders->duplicate_cnt);
    json_object_set(object, "duplicate_ids", orders->duplicates);
    return object;
}

json_t *sim_report(const struct sim_exchange *exchange, struct sim_instant now)
{
    json_t *report = json_object();
    int64_t violation_cnt = 0;
    double banned_s = 0;

    put(report, "server_time_ms", now.utc_ns / SIM_NS_PER_MS);
    put(report, "started_ms", exchange->started.utc_ns / SIM_NS_PER_MS);
    put(report, "arrivals", exchange->arrival_cnt);
    json_object_set_new(report, "limits", limits_report(exchange, &violation_cnt));
    put(report, "violations", violation_cnt);
    json_object_set_new(report, "bans", bans_report(exchange, now, &banned_s));
    json_object_set_new(report, "banned_s", json_real(banned_s));
    json_object_set_new(report, "by_path", by_route_report(exchange));
    json_object_set_new(report, "by_status", by_status_report(exchange));
    json_object_set_new(report, "orders", orders_report(&exchange->orders));
    if (exchange->config->signature.path_cnt > 0) {
        json_object_set_new(report, "signatures", sim_signatures_report(&exchange->signatures));
    }
    if (*exchange->config->session.token || *exchange->config->session.cookie) {
        json_object_set_new(report, "session", sim_session_report(&exchange->session));
    }
    return report;
}
