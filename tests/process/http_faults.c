/* What an exchange can do to a call, by weir-sim's faults: each ends by its own name, in time, and is charged for every time it was sent. */
#include "rig.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static struct weir_response call(struct rig *r, struct weir *w, const char *route, const char *rest,
                                 uint64_t limit_ms, uint64_t *took_ms)
{
    static unsigned orders;
    char body[64];
    struct weir_response a = {0};
    bool order = strcmp(route, "sim.order") == 0;
    (void)snprintf(body, sizeof body, "newClientOrderId=f-%u", orders++);
    const struct weir_request_spec spec = {.struct_bytes = sizeof spec,
                                           .route = rig_route(w, route),
                                           .path_rest = rest,
                                           .body = order ? body : NULL,
                                           .body_bytes = order ? strlen(body) : 0};
    uint64_t began_ns = weir_now_ns(w);
    int rc = weir_call(w, &spec, began_ns + limit_ms * WEIR_NS_PER_MS, &a);
    *took_ms = (weir_now_ns(w) - began_ns) / WEIR_NS_PER_MS;
    rig_check(r, rc == 0, __FILE__, __LINE__, "%s: %s", route, weir_strerror(rc));
    (void)weir_release(w, a.ticket);
    return a;
}

/* A kept connection that dies under the request. curl re-sends by itself; every send costs a permit, and an order is not sent twice. */
static void dead_connection(struct rig *r, struct weir *w)
{
    uint64_t took_ms;
    struct weir_response a = call(r, w, "sim.ping", NULL, 2000, &took_ms);
    CHECK_INT(r, a.result, WEIR_RESULT_DONE);
    CHECK_INT(r, rig_http(r, "POST", "/sim/reset", "", NULL, 0), 200);
    uint32_t before = rig_used(w, "sim.weight", 0);
    rig_fault(
        r,
        "{\"kind\": \"reset\", \"reused_only\": true, \"count\": 1, \"path\": \"/api/v3/ping\"}");
    a = call(r, w, "sim.ping", NULL, 2000, &took_ms);
    CHECK_INT(r, a.result, WEIR_RESULT_DONE);
    CHECK_INT(r, a.sends, 2);
    CHECK_INT(r, rig_report(r, "by_path.GET /api/v3/ping"), 2);
    CHECK_INT(r, rig_used(w, "sim.weight", 0) - before, 2);
    rig_fault(
        r,
        "{\"kind\": \"reset\", \"reused_only\": true, \"count\": 1, \"path\": \"/api/v3/order\"}");
    a = call(r, w, "sim.order", NULL, 2000, &took_ms);
    CHECK_INT(r, a.result, WEIR_RESULT_OUTCOME_UNKNOWN);
    CHECK_INT(r, a.sends, 1);
    CHECK_INT(r, rig_report(r, "by_path.POST /api/v3/order"), 1);
    PROMISE_INT(r, rig_report(r, "orders.duplicates"), 0);
    rig_faults_clear(r);
}

static void stalls(struct rig *r, struct weir *w)
{
    uint64_t took_ms;
    rig_fault(r, "{\"kind\": \"stall\"}");
    struct weir_response a = call(r, w, "sim.ping", NULL, 400, &took_ms);
    CHECK_INT(r, a.result, WEIR_RESULT_TIMEOUT);
    rig_check(r, took_ms >= 399 && took_ms <= 400 + 50 * rig_slowness(), __FILE__, __LINE__,
              "ended after %llu of 400 ms", (unsigned long long)took_ms);
    a = call(r, w, "sim.order", NULL, 400, &took_ms);
    CHECK_INT(r, a.result, WEIR_RESULT_OUTCOME_UNKNOWN);
    rig_check(r, took_ms >= 399 && took_ms <= 400 + 50 * rig_slowness(), __FILE__, __LINE__,
              "ended after %llu of 400 ms", (unsigned long long)took_ms);
    rig_faults_clear(r);
    rig_fault(r, "{\"kind\": \"half_body\", \"count\": 2}");
    a = call(r, w, "sim.bytes", "2000", 2000, &took_ms);
    CHECK_INT(r, a.result, WEIR_RESULT_FAILED);
    a = call(r, w, "sim.order", NULL, 2000, &took_ms);
    CHECK_INT(r, a.result, WEIR_RESULT_OUTCOME_UNKNOWN);
    rig_faults_clear(r);
    rig_fault(r, "{\"kind\": \"status\", \"status\": 503, \"count\": 1, \"path\": "
                 "\"/api/v3/ping\"}"); /* not the broker's own question for the time */
    a = call(r, w, "sim.ping", NULL, 2000, &took_ms);
    CHECK_INT(r, a.result, WEIR_RESULT_DONE);
    CHECK_INT(r, a.status, 503);
    rig_faults_clear(r);
}

/* One "stop" is everybody's, for as long as it says; and then it is over. */
static void throttle(struct rig *r, struct weir *w, int status)
{
    char fault[128];
    uint64_t took_ms;
    struct weir_permit p;
    (void)snprintf(fault, sizeof fault,
                   "{\"kind\": \"status\", \"status\": %d, \"retry_after_s\": 1, \"count\": 1, "
                   "\"path\": \"/api/v3/ping\"}",
                   status);
    rig_fault(r, fault);
    struct weir_response a = call(r, w, "sim.ping", NULL, 2000, &took_ms);
    CHECK_INT(r, a.status, status);
    uint64_t paused_ns = weir_now_ns(w);
    CHECK_INT(r, weir_permit_try(w, rig_route(w, "sim.own"), 0, NULL, WEIR_PRIORITY_CRITICAL, &p),
              WEIR_DENIED);
    CHECK_INT(r, p.denial.reason, WEIR_REASON_PAUSED);
    a = call(r, w, "sim.ping", NULL, 300, &took_ms); /* it cannot make it: told at once */
    CHECK_INT(r, a.result, WEIR_RESULT_REFUSED);
    CHECK_INT(r, a.denial.reason, WEIR_REASON_PAUSED);
    CHECK(r, took_ms < 100 * rig_slowness(), "at once");
    CHECK_INT(r,
              weir_permit_wait(w, rig_route(w, "sim.own"), 0, NULL, WEIR_PRIORITY_CRITICAL,
                               weir_now_ns(w) + 3 * WEIR_NS_PER_S, &p),
              0);
    uint64_t after_ms = (weir_now_ns(w) - paused_ns) / WEIR_NS_PER_MS;
    rig_check(r, after_ms >= 980 && after_ms < 1000 + 100 * rig_slowness(), __FILE__, __LINE__,
              "paused for %llu ms", (unsigned long long)after_ms);
    /* We are the one that tries; the answer lets the others in. */
    const struct weir_outcome fine = {.kind = WEIR_OUTCOME_ANSWERED, .status = 200};
    CHECK_INT(r, weir_permit_settle(w, &p, &fine), 0);
    a = call(r, w, "sim.ping", NULL, 1000, &took_ms);
    CHECK_INT(r, a.result, WEIR_RESULT_DONE);
    rig_faults_clear(r);
}

/* Connections are kept: many calls, few connects. */
static void keep_alive(struct rig *r, struct weir *w)
{
    uint64_t took_ms;
    const struct weir_shm_endpoint *e =
        rig_board(w, WEIR_SECTION_ENDPOINT, sizeof(struct weir_shm_endpoint));
    rig_sleep_ms(30);
    uint64_t before = e->connects;
    for (int i = 0; i < 20; i++) {
        struct weir_response a = call(r, w, "sim.ping", NULL, 2000, &took_ms);
        CHECK_INT(r, a.result, WEIR_RESULT_DONE);
    }
    rig_sleep_ms(30);
    rig_check(r, e->connects - before <= 1, __FILE__, __LINE__, "%llu connects for 20 calls",
              (unsigned long long)(e->connects - before));
}

/* One account has used up its orders: the other's calls on the same route pass, and are not refused by the first one's limit. */
static void scopes(struct rig *r)
{
    struct weir_response a;
    weir_scope_id one;
    weir_scope_id two;
    weir_ticket t[8];
    char text[1024];
    static const char yaml[] =
        "broker: {name: rig}\n"
        "providers:\n"
        "  - name: sim\n"
        "    scopes: {account: [one, two]}\n"
        "    limits:\n"
        "      - {name: l, kind: token_bucket, quota: 2, window: %us, scope: account}\n"
        "    clock: {source: host, max_jitter: 1ms}\n"
        "    endpoints:\n"
        "      - {name: a, url: \"http://127.0.0.1:$PORT\"}\n"
        "    routes:\n"
        "      - {name: ping, method: GET, path: /api/v3/ping, cost: {l: 1}, timeout: 1m}\n";
    (void)snprintf(text, sizeof text, yaml, rig_slowness());
    rig_config(r, text, 0);
    rig_weird_start(r);
    struct weir *w = rig_attach(r, WEIR_ROLE_CALLER);
    CHECK_INT(r, weir_scope_find(w, "sim", "account=one", &one), 0);
    CHECK_INT(r, weir_scope_find(w, "sim", "account=two", &two), 0);
    struct weir_request_spec s = {
        .struct_bytes = sizeof s, .route = rig_route(w, "sim.ping"), .scope = one};
    uint64_t began_ns = weir_now_ns(w);
    for (int i = 0; i < 6; i++) {
        s.scope = i < 5 ? one : two;
        s.deadline_ns = began_ns + (i < 5 ? 4000 : 300) * rig_slowness() * WEIR_NS_PER_MS;
        CHECK_INT(r, weir_submit(w, &s, &t[i]), 0);
    }
    CHECK_INT(r, weir_wait(w, t[5], UINT64_MAX, &a), 0);
    CHECK_INT(r, a.result, WEIR_RESULT_DONE);
    CHECK(r, weir_now_ns(w) - began_ns < 250 * rig_slowness() * WEIR_NS_PER_MS,
          "not behind the other account");
    for (int i = 0; i < 5; i++) {
        CHECK_INT(r, weir_wait(w, t[i], UINT64_MAX, &a), 0);
        CHECK_INT(r, a.result, WEIR_RESULT_DONE);
        (void)weir_release(w, t[i]);
    }
    weir_close(w);
    CHECK_INT(r, rig_weird_stop(r, 5000), 0);
}

/* The log goes into a pipe that nobody reads: it fills, and calls go on. */
static void stuck_log(struct rig *r)
{
    char real[sizeof r->log];
    uint64_t took_ms;
    memcpy(real, r->log, sizeof real);
    (void)snprintf(r->log, sizeof r->log, "%s/pipe", r->dir);
    (void)mkfifo(r->log, 0600);
    int fd = open(r->log, O_RDWR | O_CLOEXEC);
    rig_config_limits(r, "log: debug", 100000, "1m");
    rig_weird_start(r);
    struct weir *w = rig_attach(r, WEIR_ROLE_CALLER);
    for (int i = 0; i < 600; i++) {
        struct weir_response a = call(r, w, "sim.echo", NULL, 2000, &took_ms);
        if (a.result != WEIR_RESULT_DONE) {
            CHECK_INT(r, a.result, WEIR_RESULT_DONE);
            break;
        }
    }
    weir_close(w);
    CHECK_INT(r, rig_weird_stop(r, 5000), 0);
    (void)close(fd);
    memcpy(r->log, real, sizeof real);
}

/* Submit to done in each way of waiting; what an idle worker costs is printed, not judged. */
static void wakes(struct rig *r)
{
    static const char *const mode[] = {"wake: spin", "wake: sleep", "wake: adaptive"};
    char state[160];
    for (int m = 0; m < 3; m++) {
        (void)snprintf(state, sizeof state, "%s/rig/state", r->dir);
        (void)unlink(state); /* what was used of another window's length would count as spent */
        rig_config_usual(r, mode[m]);
        rig_weird_start(r);
        struct weir *w = rig_attach(r, WEIR_ROLE_CALLER);
        const struct weir_request_spec nop = {.struct_bytes = sizeof nop,
                                              .route = rig_route(w, "weir.nop")};
        uint64_t best_ns = UINT64_MAX;
        uint64_t wakes_before = rig_board_worker(w)->wakes;
        for (int i = 0; i < 50; i++) {
            struct weir_response a;
            uint64_t began_ns = rig_now_ns();
            CHECK_INT(r, weir_call(w, &nop, UINT64_MAX, &a), 0);
            best_ns = weir_min_u64(best_ns, rig_now_ns() - began_ns);
            CHECK_INT(r, a.result, WEIR_RESULT_DONE);
            (void)weir_release(w, a.ticket);
            rig_sleep_ms(i % 4 == 0 ? 2 : 0);
        }
        uint64_t took_ms;
        struct weir_response a = call(r, w, "sim.ping", NULL, 2000, &took_ms);
        CHECK_INT(r, a.result, WEIR_RESULT_DONE);
        (void)printf("%s: built-in route best %llu ns, worker slept %llu times\n", mode[m],
                     (unsigned long long)best_ns,
                     (unsigned long long)(rig_board_worker(w)->wakes - wakes_before));
        weir_close(w);
        CHECK_INT(r, rig_weird_stop(r, 5000), 0);
    }
}

int main(int argc, char **argv)
{
    struct rig r;
    rig_open(&r, "http_faults", argc, argv, 80);
    rig_sim_start(&r, "{\"limits\": [{\"name\": \"weight\", \"kind\": \"fixed_window\", \"quota\": "
                      "200, \"window_ms\": 60000}]}");
    r.clock =
        "1m"; /* behind the first two: each is charged, and what calls are charged is compared */
    rig_config_limits(&r, "log: info", 200, "10m");
    rig_weird_start(&r);
    struct weir *w = rig_attach(&r, WEIR_ROLE_TRADER);
    for (int i = 0; i < 500 && rig_report(&r, "by_path.GET /api/v3/time") < 2; i++) {
        rig_sleep_ms(10);
    }
    dead_connection(&r, w);
    stalls(&r, w);
    throttle(&r, w, 429);
    throttle(&r, w, 418);
    keep_alive(&r, w);
    rig_sleep_ms(200); /* the ramp is over: the next broker begins at the full rate */
    weir_close(w);
    CHECK_INT(&r, rig_weird_stop(&r, 5000), 0);
    scopes(&r);
    stuck_log(&r);
    wakes(&r);
    return rig_close(&r);
}
