/* The control paths: how a test asks, resets, shifts and spoils. */
#include "sim_request.h"

#include <string.h>

static void done_answer(struct sim_request *request)
{
    sim_answer_json(request, 200, json_pack("{s:b}", "done", 1));
}

static void bad_answer(struct sim_request *request, const struct sim_error *error)
{
    sim_answer_error(request, 400, -1, "%s", error->text);
}

/* NULL when the body is no JSON: then the answer says so. */
static json_t *body_parse(struct sim_request *request)
{
    json_error_t syntax;
    json_t *root = json_loadb(request->body ? request->body : "", request->body_bytes,
                              JSON_REJECT_DUPLICATES, &syntax);

    if (!root) {
        sim_answer_error(request, 400, -1, "body: line %d, column %d: not JSON: %s", syntax.line,
                         syntax.column, syntax.text);
    }
    return root;
}

static void report_get(struct sim_request *request)
{
    struct sim *sim = request->sim;

    sim_answer_json(request, 200, sim_report(&sim->exchange, sim_clock_now(&sim->clock)));
}

static void orders_get(struct sim_request *request)
{
    sim_answer_json(request, 200, sim_order_log_json(&request->sim->exchange.orders));
}

static void reset_post(struct sim_request *request)
{
    struct sim *sim = request->sim;

    sim_exchange_reset(&sim->exchange, sim_clock_now(&sim->clock));
    done_answer(request);
}

/* What is not in the body keeps this value. */
static const int64_t unset = INT64_MIN;

struct clock_change {
    int64_t offset_ms;
    int64_t drift_ppm;
    int64_t step_ms;
    int64_t after_ms;
};

static bool clock_change(struct sim_clock *clock, const struct clock_change *change,
                         struct sim_error *error)
{
    bool steps = change->step_ms != unset;

    if (change->offset_ms == unset && change->drift_ppm == unset && !steps) {
        return sim_error_set(error, "one of offset_ms, drift_ppm and step_ms must be given");
    }
    if (change->after_ms != unset && !steps) {
        return sim_error_set(error, "after_ms: only step_ms waits: take it out");
    }
    if (steps &&
        !sim_clock_step(clock, change->step_ms, change->after_ms == unset ? 0 : change->after_ms)) {
        return sim_error_set(error, "step_ms: %d steps are waiting already", SIM_CLOCK_STEP_MAX);
    }
    if (change->offset_ms != unset) {
        sim_clock_shift(clock, change->offset_ms);
    }
    if (change->drift_ppm != unset) {
        sim_clock_drift(clock, change->drift_ppm);
    }
    return true;
}

static void clock_post(struct sim_request *request)
{
    static const double decade_ms = 3660.0 * 86400000;
    const struct sim_field fields[] = {
        {"offset_ms", SIM_FIELD_INTEGER, offsetof(struct clock_change, offset_ms), -decade_ms,
         decade_ms},
        {"drift_ppm", SIM_FIELD_INTEGER, offsetof(struct clock_change, drift_ppm), -100000, 100000},
        {"step_ms", SIM_FIELD_INTEGER, offsetof(struct clock_change, step_ms), -decade_ms,
         decade_ms},
        {"after_ms", SIM_FIELD_INTEGER, offsetof(struct clock_change, after_ms), 0, 86400000},
        {0},
    };
    struct clock_change change = {unset, unset, unset, unset};
    struct sim_error error;
    json_t *root = body_parse(request);

    if (!root) {
        return;
    }
    if (sim_json_read(root, "", fields, &change, &error) &&
        clock_change(&request->sim->clock, &change, &error)) {
        done_answer(request);
    } else {
        bad_answer(request, &error);
    }
    json_decref(root);
}

struct use {
    char limit[SIM_LIMIT_NAME_BYTES + 1];
    char caller[SIM_PARTY_BYTES];
    int64_t units;
};

/* NULL: ERROR says so. */
static struct sim_limit_rule *limit_named(struct sim *sim, const char *name,
                                          struct sim_error *error)
{
    for (size_t i = 0; i < sim->config.limit_cnt; i++) {
        if (strcmp(sim->config.limits[i].name, name) == 0) {
            return &sim->config.limits[i];
        }
    }
    sim_error_set(error, "limit=\"%s\": no limit has this name", name);
    return NULL;
}

static bool use_apply(struct sim *sim, const struct use *use, struct sim_error *error)
{
    const struct sim_limit_rule *rule = limit_named(sim, use->limit, error);
    bool gives_back;

    if (!rule) {
        return false;
    }
    if (rule->kind == SIM_CONCURRENCY) {
        return sim_error_set(error, "limit=\"%s\": calls in progress cannot be made up",
                             use->limit);
    }
    gives_back =
        rule->kind == SIM_FIXED_WINDOW || rule->kind == SIM_TOKEN_BUCKET || rule->kind == SIM_DECAY;
    if (use->units < 0 && !gives_back) {
        return sim_error_set(error,
                             "units=%lld: only a fixed_window, token_bucket or decay gives back",
                             (long long)use->units);
    }
    sim_exchange_use(&sim->exchange, (size_t)(rule - sim->config.limits), use->caller, use->units,
                     sim_clock_now(&sim->clock));
    return true;
}

/* The exchange changes a tier, or announces another quota. */
static void limit_post(struct sim_request *request)
{
    struct {
        char limit[SIM_LIMIT_NAME_BYTES + 1];
        int64_t quota;
    } change = {.quota = 0};
    const struct sim_field fields[] = {
        {"limit", SIM_FIELD_TEXT, offsetof(__typeof__(change), limit), 1, SIM_LIMIT_NAME_BYTES,
         .required = true},
        {"quota", SIM_FIELD_INTEGER, offsetof(__typeof__(change), quota), 1, 1e12,
         .required = true},
        {0},
    };
    struct sim_limit_rule *rule = NULL;
    struct sim_error error;
    json_t *root = body_parse(request);

    if (!root) {
        return;
    }
    if (sim_json_read(root, "", fields, &change, &error)) {
        rule = limit_named(request->sim, change.limit, &error);
    }
    if (rule) {
        rule->quota = change.quota;
        done_answer(request);
    } else {
        bad_answer(request, &error);
    }
    json_decref(root);
}

static void use_post(struct sim_request *request)
{
    static const struct sim_field fields[] = {
        {"limit", SIM_FIELD_TEXT, offsetof(struct use, limit), 1, SIM_LIMIT_NAME_BYTES,
         .required = true},
        {"caller", SIM_FIELD_TEXT, offsetof(struct use, caller), 1, SIM_PARTY_BYTES - 1,
         .required = true},
        {"units", SIM_FIELD_INTEGER, offsetof(struct use, units), -1e9, 1e9, .required = true},
        {0},
    };
    struct use use = {0};
    struct sim_error error;
    json_t *root = body_parse(request);

    if (!root) {
        return;
    }
    if (sim_json_read(root, "", fields, &use, &error) && use_apply(request->sim, &use, &error)) {
        done_answer(request);
    } else {
        bad_answer(request, &error);
    }
    json_decref(root);
}

static void fault_get(struct sim_request *request)
{
    sim_answer_json(request, 200, sim_faults_json(&request->sim->faults));
}

static void fault_post(struct sim_request *request)
{
    struct sim_error error;
    struct sim_fault fault;
    json_t *root = body_parse(request);

    if (!root) {
        return;
    }
    if (!sim_fault_read(root, "", &fault, &error)) {
        bad_answer(request, &error);
    } else if (!sim_fault_add(&request->sim->faults, &fault)) {
        sim_answer_error(request, 400, -1,
                         "%d faults are set already: clear with DELETE /sim/fault", SIM_FAULT_MAX);
    } else {
        done_answer(request);
    }
    json_decref(root);
}

static void fault_delete(struct sim_request *request)
{
    request->sim->faults.cnt = 0;
    done_answer(request);
}

static void token_post(struct sim_request *request)
{
    struct sim *sim = request->sim;

    sim_answer_json(request, 200,
                    json_pack("{s:s}", "refresh_token",
                              sim_session_issue(&sim->exchange.session, &sim->config.session)));
}

static void revoke_post(struct sim_request *request)
{
    sim_session_revoke(&request->sim->exchange.session);
    done_answer(request);
}

static const struct {
    const char *method;
    const char *path;
    void (*run)(struct sim_request *request);
} controls[] = {
    {"GET", "/sim/report", report_get},     {"GET", "/sim/orders", orders_get},
    {"POST", "/sim/reset", reset_post},     {"POST", "/sim/clock", clock_post},
    {"GET", "/sim/fault", fault_get},       {"POST", "/sim/fault", fault_post},
    {"DELETE", "/sim/fault", fault_delete}, {"POST", "/sim/use", use_post},
    {"POST", "/sim/limit", limit_post},     {"POST", "/sim/revoke", revoke_post},
    {"POST", "/sim/token", token_post},
};

void sim_control_answer(struct sim_request *request)
{
    for (size_t i = 0; i < sizeof(controls) / sizeof(controls[0]); i++) {
        if (strcmp(controls[i].method, request->method) == 0 &&
            strcmp(controls[i].path, request->path) == 0) {
            controls[i].run(request);
            return;
        }
    }
    sim_answer_error(request, 404, -1,
                     "%s %.80s: no such control: there are GET /sim/report, GET /sim/orders, POST "
                     "/sim/reset, POST /sim/clock, POST /sim/use, POST /sim/limit, POST "
                     "/sim/revoke, POST /sim/token, GET, "
                     "POST and DELETE /sim/fault",
                     request->method, request->path);
}
