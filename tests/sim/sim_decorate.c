/* What the exchange adds to its answers: usage, costs, the time. */
#include "sim_request.h"

#include <stdlib.h>
#include <string.h>

static bool refused(const struct sim_request *request)
{
    return request->verdict.status != 200;
}

static bool success(const struct sim_request *request)
{
    return !refused(request) && !request->failed && request->answer.status < 300;
}

/* False: this answer does not carry it. Draws chances only where there are any. */
static bool report_value(struct sim_request *request, size_t limit,
                         const struct sim_report_rule *rule, int64_t *value)
{
    struct sim *sim = request->sim;
    struct sim_instant now = sim_clock_now(&sim->clock);
    struct sim_usage usage = sim_exchange_usage(&sim->exchange, &request->call, limit,
                                                request->report_ago_ns[limit], now);

    *value = sim_usage_value(&usage, rule->what, now.utc_ns);
    return sim_report_shown(rule, request->verdict.used[limit] != SIM_NOT_COUNTED, success(request),
                            refused(request), rule->missing > 0 ? sim_random_draw(sim) : 1.0,
                            rule->minus_one > 0 ? sim_random_draw(sim) : 1.0, value);
}

/* A time that a path is asked for is part of its answer, not of a refusal. */
static bool stamp_fits(const struct sim_request *request, const struct sim_stamp_rule *rule)
{
    return !*rule->path || (!refused(request) && strcmp(rule->path, request->path) == 0);
}

static json_t *number_json(int64_t value, bool text)
{
    return text ? json_sprintf("%lld", (long long)value) : json_integer((json_int_t)value);
}

static void costs_set(const struct sim_request *request, json_t *body)
{
    const struct sim_path *path = request->call.path;

    for (size_t i = 0; path && !refused(request) && i < path->cost_cnt; i++) {
        const struct sim_cost_rule *rule = &path->costs[i];

        if (*rule->field) {
            sim_field_set(body, rule->field,
                          number_json(request->verdict.charges[rule->limit].taken, false));
        }
    }
}

static void reports_set(struct sim_request *request, json_t *body)
{
    const struct sim_config *config = &request->sim->config;
    int64_t value;

    for (size_t i = 0; i < config->limit_cnt; i++) {
        const struct sim_reports *reports = &config->limits[i].reports;

        for (size_t j = 0; j < reports->cnt; j++) {
            const struct sim_report_rule *rule = &reports->list[j];

            if (*rule->field && report_value(request, i, rule, &value)) {
                sim_field_set(body, rule->field, number_json(value, rule->text));
            }
        }
    }
}

static void stamps_set(const struct sim_request *request, json_t *body)
{
    const struct sim_stamps *times = &request->sim->config.times;
    int64_t utc_ns = sim_clock_now(&request->sim->clock).utc_ns;

    for (size_t i = 0; i < times->cnt; i++) {
        const struct sim_stamp_rule *rule = &times->list[i];

        if (*rule->field && stamp_fits(request, rule)) {
            sim_field_set(body, rule->field,
                          number_json(sim_stamp_value(rule, utc_ns), rule->text));
        }
    }
}

/* Books of 5000 levels are not parsed for nothing. */
static bool fields_wanted(const struct sim_request *request)
{
    const struct sim_config *config = &request->sim->config;
    const struct sim_path *path = request->call.path;
    bool wanted = false;

    for (size_t i = 0; path && i < path->cost_cnt; i++) {
        wanted = wanted || *path->costs[i].field;
    }
    for (size_t i = 0; i < config->times.cnt; i++) {
        wanted =
            wanted || (*config->times.list[i].field && stamp_fits(request, &config->times.list[i]));
    }
    for (size_t i = 0; i < config->limit_cnt; i++) {
        for (size_t j = 0; j < config->limits[i].reports.cnt; j++) {
            wanted = wanted || *config->limits[i].reports.list[j].field;
        }
    }
    return wanted;
}

static void ago_draw(struct sim_request *request)
{
    struct sim *sim = request->sim;

    for (size_t i = 0; i < sim->config.limit_cnt; i++) {
        int64_t delay_ns = sim->config.limits[i].reports.delay_ms * SIM_NS_PER_MS;

        if (delay_ns > 0) {
            request->report_ago_ns[i] = (int64_t)(sim_random_draw(sim) * (double)delay_ns);
        }
    }
}

void sim_decorate_body(struct sim_request *request)
{
    struct sim_answer *answer = &request->answer;
    json_t *body;

    ago_draw(request);
    if (!answer->body || !fields_wanted(request)) {
        return;
    }
    body = json_loadb(answer->body, (size_t)answer->body_bytes, 0, NULL);
    if (json_is_object(body)) {
        costs_set(request, body);
        reports_set(request, body);
        stamps_set(request, body);
        sim_answer_json(request, answer->status, json_incref(body));
    }
    json_decref(body);
}

void sim_decorate_headers(struct sim_request *request,
                          void (*add)(void *context, const char *name, int64_t value),
                          void *context)
{
    const struct sim_config *config = &request->sim->config;
    int64_t utc_ns = sim_clock_now(&request->sim->clock).utc_ns;
    int64_t value;

    for (size_t i = 0; i < config->limit_cnt; i++) {
        const struct sim_reports *reports = &config->limits[i].reports;

        for (size_t j = 0; j < reports->cnt; j++) {
            const struct sim_report_rule *rule = &reports->list[j];

            if (*rule->header && report_value(request, i, rule, &value)) {
                add(context, rule->header, value);
            }
        }
    }
    for (size_t i = 0; i < config->times.cnt; i++) {
        const struct sim_stamp_rule *rule = &config->times.list[i];

        if (*rule->header && stamp_fits(request, rule)) {
            add(context, rule->header, sim_stamp_value(rule, utc_ns));
        }
    }
}
