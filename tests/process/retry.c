/*
 * Trying again (broker/retry.h): what is safe is tried again in time, within its attempts and the provider's budget, each time with a permit; what is not safe
 * never is. Oracles: the exchange's own count of what arrived, the orders it holds, the instants of each answer, the rule's bound on the budget.
 */
#include "rig.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "raw.h"
#include "scene.h"

#define BASE_MS 40U

static void configure(struct rig *r, const char *retry, uint16_t dead_port)
{
    static const char yaml[] =
        "broker: {name: rig, log: info}\n"
        "providers:\n"
        "  - name: sim\n"
        "    clock: {source: host, error: 1ms, max_jitter: %ums}\n"
        "    limits:\n"
        "      - {name: weight, kind: token_bucket, quota: 1000, window: 1s}\n"
        "      - {name: scarce, kind: fixed_window, quota: 1, window: 1d}\n"
        "    throttle: {status: [429, 418], retry_after: seconds, backoff: {factor: 1, jitter: "
        "0%%}}\n"
        "    retry: %s\n"
        "    endpoints: [{name: a, url: \"http://127.0.0.1:$PORT\", connections: 64}]\n"
        "    routes:\n"
        "      - {name: ping, method: GET, path: /api/v3/ping, cost: {weight: 1}}\n"
        "      - {name: rare, method: GET, path: /api/v3/ping, cost: {scarce: 1}}\n"
        "      - {name: order, method: POST, path: /api/v3/order, cost: {weight: 1}}\n"
        "  - name: dead\n"
        "    clock: {source: host, error: 1ms, max_jitter: %ums}\n"
        "    limits: [{name: weight, kind: token_bucket, quota: 1000, window: 1s}]\n"
        "    retry: {attempts: 20, base: 40ms, factor: 1, budget: 100%%}\n"
        "    endpoints: [{name: d, url: \"http://127.0.0.1:$PORT2\"}]\n"
        "    routes:\n"
        "      - {name: order, method: POST, path: /order, cost: {weight: 1}}\n";
    char text[2048];
    /* Longer than anything is kept waiting: a permit that grew too old is followed by another one, and both are charged. */
    const unsigned jitter_ms = rig_slowness() > 1 ? 400 : 10;
    (void)snprintf(text, sizeof text, yaml, jitter_ms, retry, jitter_ms);
    rig_config(r, text, dead_port);
}

static struct weir_request_spec spec_of(struct weir *w, const char *route, char body[64])
{
    static unsigned orders;
    bool order = strstr(route, "order") != NULL;
    (void)snprintf(body, 64, "newClientOrderId=r-%d-%u", (int)getpid(), orders++);
    return (struct weir_request_spec){.struct_bytes = sizeof(struct weir_request_spec),
                                      .route = rig_route(w, route),
                                      .body = order ? body : NULL,
                                      .body_bytes = order ? strlen(body) : 0};
}

static struct weir_response call(struct rig *r, struct weir *w, const char *route,
                                 uint64_t limit_ms, uint64_t *took_ms)
{
    char body[64];
    struct weir_response a = {0};
    const struct weir_request_spec spec = spec_of(w, route, body);
    uint64_t began_ns = weir_now_ns(w);
    int rc = weir_call(w, &spec, began_ns + limit_ms * WEIR_NS_PER_MS, &a);
    *took_ms = (weir_now_ns(w) - began_ns) / WEIR_NS_PER_MS;
    rig_check(r, rc == 0, __FILE__, __LINE__, "%s: %s", route, weir_strerror(rc));
    (void)weir_release(w, a.ticket);
    return a;
}

static const struct weir_shm_route_stats *stats(struct weir *w, const char *route)
{
    const struct weir_shm_route_stats *all =
        rig_board(w, WEIR_SECTION_ROUTE, sizeof(struct weir_shm_route_stats));
    return &all[rig_route(w, route)];
}

static void begin(struct rig *r, const char *fault)
{
    rig_faults_clear(r);
    CHECK_INT(r, rig_http(r, "POST", "/sim/reset", "", NULL, 0), 200);
    rig_fault(r, fault);
}

static void answered(struct rig *r, struct weir *w)
{
    uint64_t took_ms;
    struct weir_response a = call(r, w, "sim.ping", 5000, &took_ms); /* the slowest of a worker */
    uint64_t granted = stats(w, "sim.ping")->granted[WEIR_PRIORITY_MEDIUM];
    begin(r, "{\"kind\": \"status\", \"status\": 503, \"count\": 1, \"path\": \"/api/v3/ping\"}");
    a = call(r, w, "sim.ping", 5000, &took_ms);
    CHECK_INT(r, a.result, WEIR_RESULT_DONE);
    CHECK_INT(r, a.status, 200);
    CHECK_INT(r, a.sends, 2);
    CHECK(r, took_ms >= BASE_MS * 3 / 4, "waited");
    CHECK_INT(r, rig_report(r, "by_path.GET /api/v3/ping"), 2);
    CHECK_INT(r, stats(w, "sim.ping")->granted[WEIR_PRIORITY_MEDIUM] - granted, 2);
    CHECK_INT(r, stats(w, "sim.ping")->retries, 1);
    /* Three attempts in all; the last answer is the client's. */
    begin(r, "{\"kind\": \"status\", \"status\": 502, \"path\": \"/api/v3/ping\"}");
    a = call(r, w, "sim.ping", 5000, &took_ms);
    CHECK_INT(r, a.result, WEIR_RESULT_DONE);
    CHECK_INT(r, a.status, 502);
    CHECK_INT(r, a.sends, 3);
    CHECK(r, took_ms >= (BASE_MS + 2 * BASE_MS) * 3 / 4, "waited twice");
    CHECK_INT(r, rig_report(r, "by_path.GET /api/v3/ping"), 3);
    /* Not when the deadline leaves no time for it: told at once. */
    begin(r, "{\"kind\": \"status\", \"status\": 503, \"path\": \"/api/v3/ping\", "
             "\"retry_after_s\": 2}");
    a = call(r, w, "sim.ping", 1500, &took_ms);
    CHECK_INT(r, a.status, 503);
    CHECK_INT(r, a.sends, 1);
    CHECK(r, took_ms < 1000, "at once");
    /* What the answer names is waited for. */
    begin(r, "{\"kind\": \"status\", \"status\": 503, \"path\": \"/api/v3/ping\", \"count\": 1, "
             "\"retry_after_s\": 1}");
    a = call(r, w, "sim.ping", 20000, &took_ms);
    CHECK_INT(r, a.status, 200);
    CHECK_INT(r, a.sends, 2);
    CHECK(r, took_ms >= 1000, "waited %llu ms", (unsigned long long)took_ms);
    /* The client's to judge. */
    begin(r, "{\"kind\": \"status\", \"status\": 404, \"path\": \"/api/v3/ping\"}");
    a = call(r, w, "sim.ping", 5000, &took_ms);
    CHECK_INT(r, a.status, 404);
    CHECK_INT(r, a.sends, 1);
}

static void stopped(struct rig *r, struct weir *w)
{
    uint64_t took_ms;
    begin(r, "{\"kind\": \"status\", \"status\": 429, \"path\": \"/api/v3/ping\", \"count\": 1, "
             "\"retry_after_s\": 1}");
    struct weir_response a = call(r, w, "sim.ping", 20000, &took_ms);
    CHECK_INT(r, a.status, 200);
    CHECK_INT(r, a.sends, 2);
    CHECK(r, took_ms >= 1000, "after the pause, not through it");
    begin(r, "{\"kind\": \"status\", \"status\": 418, \"path\": \"/api/v3/ping\", \"count\": 1, "
             "\"retry_after_s\": 1}");
    a = call(r, w, "sim.ping", 20000, &took_ms);
    CHECK_INT(r, a.status, 418);
    CHECK_INT(r, a.sends, 1);
    rig_sleep_ms(1100); /* the ban */
}

static void broken(struct rig *r, struct weir *w)
{
    uint64_t took_ms;
    begin(r, "{\"kind\": \"half_body\", \"path\": \"/api/v3/ping\", \"count\": 1}");
    struct weir_response a = call(r, w, "sim.ping", 5000, &took_ms);
    CHECK_INT(r, a.result, WEIR_RESULT_DONE);
    CHECK_INT(r, a.status, 200);
    CHECK_INT(r, a.sends, 2);
    /* An order that left is not sent again, whatever came back. */
    begin(r, "{\"kind\": \"half_body\", \"path\": \"/api/v3/order\"}");
    a = call(r, w, "sim.order", 5000, &took_ms);
    CHECK_INT(r, a.result, WEIR_RESULT_OUTCOME_UNKNOWN);
    CHECK_INT(r, a.sends, 1);
    CHECK_INT(r, rig_report(r, "by_path.POST /api/v3/order"), 1);
    begin(r, "{\"kind\": \"status\", \"status\": 503, \"path\": \"/api/v3/order\"}");
    a = call(r, w, "sim.order", 5000, &took_ms);
    CHECK_INT(r, a.result, WEIR_RESULT_DONE);
    CHECK_INT(r, a.status, 503);
    CHECK_INT(r, a.sends, 1);
    CHECK_INT(r, rig_report(r, "by_path.POST /api/v3/order"), 1);
}

/* A later misfortune does not take an answer away: neither a limit nor a cancel. */
static void kept(struct rig *r, struct weir *w)
{
    uint64_t took_ms;
    char body[64];
    weir_ticket t;
    begin(r, "{\"kind\": \"status\", \"status\": 503, \"path\": \"/api/v3/ping\"}");
    struct weir_response a = call(r, w, "sim.rare", 5000, &took_ms);
    CHECK_INT(r, a.result, WEIR_RESULT_DONE);
    CHECK_INT(r, a.status, 503);
    CHECK_INT(r, a.sends, 1);
    CHECK_INT(r, rig_report(r, "by_path.GET /api/v3/ping"), 1);
    begin(r, "{\"kind\": \"status\", \"status\": 503, \"path\": \"/api/v3/ping\", "
             "\"retry_after_s\": 30}");
    struct weir_request_spec spec = spec_of(w, "sim.ping", body);
    spec.deadline_ns = weir_now_ns(w) + 60 * WEIR_NS_PER_S;
    CHECK_INT(r, weir_submit(w, &spec, &t), 0);
    for (int i = 0; i < 500 && rig_report(r, "by_path.GET /api/v3/ping") < 1; i++) {
        rig_sleep_ms(10);
    }
    rig_sleep_ms(50);
    CHECK_INT(r, weir_cancel(w, t), WEIR_E_CANCEL_LATE);
    CHECK_INT(r, weir_wait(w, t, weir_now_ns(w) + 5 * WEIR_NS_PER_S, &a), 0);
    CHECK_INT(r, a.result, WEIR_RESULT_DONE);
    CHECK_INT(r, a.status, 503);
    (void)weir_release(w, t);
}

/* When all fails, load grows by the budget. */
static void budget(struct rig *r, struct weir *w)
{
    enum { CALLS = 150 };
    static weir_ticket t[CALLS];
    uint64_t before = stats(w, "sim.ping")->retries;
    begin(r, "{\"kind\": \"status\", \"status\": 500, \"path\": \"/api/v3/ping\"}");
    for (unsigned i = 0; i < CALLS; i++) {
        char body[64];
        struct weir_response a;
        struct weir_request_spec spec = spec_of(w, "sim.ping", body);
        spec.deadline_ns = weir_now_ns(w) + 10 * WEIR_NS_PER_S;
        CHECK_INT(r, weir_submit(w, &spec, &t[i]), 0);
        if (i % 16 == 15 || i == CALLS - 1) {
            for (unsigned k = i - i % 16; k <= i; k++) {
                CHECK_INT(r, weir_wait(w, t[k], UINT64_MAX, &a), 0);
                CHECK_INT(r, a.status, 500);
                (void)weir_release(w, t[k]);
            }
        }
    }
    uint64_t retries = stats(w, "sim.ping")->retries - before;
    rig_check(r, retries <= CALLS / 5 + 10 && retries >= CALLS / 5, __FILE__, __LINE__,
              "%llu of %d calls tried again", (unsigned long long)retries, CALLS);
    CHECK(r, stats(w, "sim.ping")->retries_unaffordable > 0, "and it was counted");
    CHECK_INT(r, rig_report(r, "by_path.GET /api/v3/ping"), CALLS + retries);
}

/* The worker dies while a call waits: the next one makes it, without asking anybody. */
static void worker_dies(struct rig *r, struct weir *w)
{
    char body[64];
    weir_ticket t;
    struct weir_response a;
    rig_sleep_ms(200);
    begin(r, "{\"kind\": \"status\", \"status\": 503, \"path\": \"/api/v3/ping\", \"count\": 1, "
             "\"retry_after_s\": 8}");
    struct weir_request_spec spec = spec_of(w, "sim.ping", body);
    spec.deadline_ns = weir_now_ns(w) + 30 * WEIR_NS_PER_S;
    CHECK_INT(r, weir_submit(w, &spec, &t), 0);
    for (int i = 0; i < 500 && rig_report(r, "by_path.GET /api/v3/ping") < 1; i++) {
        rig_sleep_ms(10);
    }
    rig_sleep_ms(100);
    pid_t worker = rig_process(r, "weird-worker");
    (void)kill(worker, SIGKILL);
    CHECK(r, rig_process_next(r, "weird-worker", worker, 3000) > 0, "a worker again");
    CHECK_INT(r, weir_wait(w, t, weir_now_ns(w) + 20 * WEIR_NS_PER_S, &a), 0);
    CHECK_INT(r, a.result, WEIR_RESULT_DONE);
    CHECK_INT(r, a.status, 200);
    CHECK_INT(r, rig_report(r, "by_path.GET /api/v3/ping"), 2);
    (void)weir_release(w, t);
}

static bool order_taken(int fd, const char *path)
{
    (void)path;
    raw_say(fd, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}");
    return true;
}

/* Nobody listens: nothing is written, so an order too is tried until somebody does; it arrives once. */
static void unsent(struct rig *r, struct weir *w, struct raw *late)
{
    char body[64];
    weir_ticket t;
    struct weir_response a;
    struct weir_request_spec spec = spec_of(w, "dead.order", body);
    spec.deadline_ns = weir_now_ns(w) + 20 * WEIR_NS_PER_S;
    CHECK_INT(r, weir_submit(w, &spec, &t), 0);
    for (int i = 0; i < 500 && stats(w, "dead.order")->retries < 2; i++) {
        rig_sleep_ms(10);
    }
    CHECK_INT(r, weir_wait(w, t, 1, &a), WEIR_PENDING);
    raw_start_at(r, late, late->port, order_taken);
    CHECK_INT(r, weir_wait(w, t, UINT64_MAX, &a), 0);
    CHECK_INT(r, a.result, WEIR_RESULT_DONE);
    CHECK_INT(r, a.status, 200);
    CHECK_INT(r, a.sends, 1);
    CHECK_INT(r, *late->requests, 1);
    (void)weir_release(w, t);
    raw_stop(late);
}

int main(int argc, char **argv)
{
    struct rig r;
    struct raw late = {.port = raw_port_closed()};
    rig_open(&r, "retry", argc, argv, 110);
    rig_sim_start(&r, "{\"limits\": []}");
    configure(&r, "{attempts: 3, base: 40ms, factor: 2, budget: 100%}", late.port);
    rig_weird_start(&r);
    struct weir *w = rig_attach(&r, WEIR_ROLE_TRADER);
    answered(&r, w);
    stopped(&r, w);
    broken(&r, w);
    RIG_SCENE (&r, 20) /* between its answer and its next attempt somebody cancels, or dies */
    {
        kept(&r, w);
    }
    unsent(&r, w, &late);
    RIG_SCENE (&r, 50) {
        worker_dies(&r, w);
    }
    weir_close(w);
    CHECK_INT(&r, rig_weird_stop(&r, 10000), 0);
    configure(&r, "{attempts: 2, base: 10ms, factor: 1, budget: 20%}", late.port);
    rig_weird_start(&r);
    w = rig_attach(&r, WEIR_ROLE_TRADER);
    budget(&r, w);
    weir_close(w);
    CHECK_INT(&r, rig_weird_stop(&r, 10000), 0);
    return rig_close(&r);
}
