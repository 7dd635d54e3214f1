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

    sim_exchange_close(&sim->exchange);
    sim_exchange_open(&sim->exchange, &sim->config, sim_clock_now(&sim->clock));
    done_answer(request);
}

static void clock_post(struct sim_request *request)
{
    static const struct sim_field fields[] = {
        {"offset_ms", SIM_FIELD_INTEGER, 0, -3660.0 * 86400000, 3660.0 * 86400000,
         .required = true},
        {0},
    };
    struct sim_error error;
    int64_t offset_ms = 0;
    json_t *root = body_parse(request);

    if (!root) {
        return;
    }
    if (sim_json_read(root, "", fields, &offset_ms, &error)) {
        sim_clock_shift(&request->sim->clock, offset_ms);
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

static const struct {
    const char *method;
    const char *path;
    void (*run)(struct sim_request *request);
} controls[] = {
    {"GET", "/sim/report", report_get},     {"GET", "/sim/orders", orders_get},
    {"POST", "/sim/reset", reset_post},     {"POST", "/sim/clock", clock_post},
    {"GET", "/sim/fault", fault_get},       {"POST", "/sim/fault", fault_post},
    {"DELETE", "/sim/fault", fault_delete},
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
                     "/sim/reset, POST /sim/clock, GET, POST and DELETE /sim/fault",
                     request->method, request->path);
}
