/*
 * endpoints.c: several servers of one provider, which are killed, fall ill and come back. Real weir-sims; what each of them saw is their own word.
 *
 * Oracle: what clients were told against what the servers counted, and the breaker's rules; times are only bounded by seconds.
 */
#include "rig.h"

#include "shm/weir_attach.h"
#include "shm/weir_health.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define SERVERS 3
#define CALLERS 4
#define ROUNDS  400

/* shared->count: */
enum { GOOD = 1, BAD, ORDERS_DONE, ORDERS_OPEN, TWICE, RUNNING };

static struct {
    pid_t pid;
    uint16_t port;
} server[SERVERS];

static const char sim_json[] =
    "{\"limits\": [{\"name\": \"weight\", \"kind\": \"fixed_window\", \"quota\": 1000000, "
    "\"window_ms\": 60000}]}";

static void server_start(struct rig *r, unsigned i)
{
    r->port = server[i].port; /* 0: any; else where it was before */
    rig_sim_start(r, sim_json);
    server[i].pid = r->sim;
    server[i].port = r->port;
}

static void server_kill(struct rig *r, unsigned i)
{
    (void)kill(server[i].pid, SIGKILL);
    (void)rig_wait(server[i].pid, 5000);
    r->sim = r->sim == server[i].pid ? 0 : r->sim;
    server[i].pid = 0;
}

/* The next report and fault are this server's. */
static void speak_to(struct rig *r, unsigned i)
{
    r->port = server[i].port;
    r->sim = server[i].pid;
}

static double seen(struct rig *r, unsigned i, const char *path)
{
    speak_to(r, i);
    return rig_report(r, path);
}

/* `cnt` endpoints a, b, c; `more`: keys of the provider; `routes`: more keys of the first route. */
static void config(struct rig *r, unsigned cnt, const char *of_endpoint, const char *more,
                   const char *of_route)
{
    static char text[4096];
    int n = snprintf(text, sizeof text,
                     "broker: {name: rig, log: info}\n"
                     "providers:\n"
                     "  - name: sim\n"
                     "    clock: {source: host}\n"
                     "    limits:\n"
                     "      - {name: bucket, kind: token_bucket, quota: 100000, window: 1s}\n"
                     "%s    endpoints:\n",
                     more);
    for (unsigned i = 0; i < cnt; i++) {
        n += snprintf(text + n, sizeof text - (size_t)n,
                      "      - {name: %c, url: \"http://127.0.0.1:%u\", connections: 64%s}\n",
                      'a' + (char)i, server[i].port, of_endpoint);
    }
    (void)snprintf(text + n, sizeof text - (size_t)n,
                   "    routes:\n"
                   "      - {name: ping, method: GET, path: /api/v3/ping, cost: {bucket: 1}, "
                   "timeout: 20s%s}\n"
                   "      - {name: time, method: GET, path: /api/v3/time, cost: {bucket: 1}}\n"
                   "      - {name: order, method: POST, path: /api/v3/order, cost: {bucket: 1}}\n",
                   of_route);
    rig_config(r, text, 0);
    (void)snprintf(text, sizeof text, "%s/rig/state", r->dir);
    (void)unlink(text); /* pauses of the part before are none of the next one's */
}

static struct weir_response call(struct weir *w, const char *route, unsigned limit_ms)
{
    struct weir_response a = {0};
    const struct weir_request_spec spec = {.struct_bytes = sizeof spec,
                                           .route = rig_route(w, route)};
    if (weir_call(w, &spec, weir_now_ns(w) + limit_ms * WEIR_NS_PER_MS, &a) == WEIR_OK) {
        (void)weir_release(w, a.ticket);
    }
    return a;
}

static struct weir_endpoint_health health(struct rig *r, struct weir *w, const char *name)
{
    struct weir_endpoint_health h = {0};
    uint32_t index = 0;
    CHECK_INT(r, weir_endpoint_find(w, name, &index), 0);
    CHECK_INT(r, weir_health_get(w, index, &h), 0);
    return h;
}

static bool until_breaker(struct rig *r, struct weir *w, const char *name,
                          enum weir_breaker_state state, unsigned limit_ms)
{
    for (unsigned i = 0; i < limit_ms; i += 5) {
        if (health(r, w, name).breaker == state) {
            return true;
        }
        rig_sleep_ms(5);
    }
    return false;
}

/* An operator's order without the program. Returns the answer's error, -1000 for none. */
static int operate(struct rig *r, enum weir_operation operation, const char *target,
                   enum weir_balance balance)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    struct weir_operated answer = {.error = -1000};
    struct weir_operate order = {.magic = WEIR_OPERATE_MAGIC,
                                 .version = WEIR_OPERATE_VERSION,
                                 .bytes = sizeof order,
                                 .operation = operation,
                                 .balance = balance};
    (void)snprintf(order.target, sizeof order.target, "%s", target);
    (void)snprintf(to.sun_path, sizeof to.sun_path, "%s/rig/default.sock", r->dir);
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (connect(fd, (const struct sockaddr *)&to, sizeof to) == 0 &&
        send(fd, &order, sizeof order, MSG_NOSIGNAL) == (ssize_t)sizeof order) {
        (void)recv(fd, &answer, sizeof answer, 0);
    }
    (void)close(fd);
    return answer.error;
}

/* ---------------------------------------------------------------------------------------------- a server is killed */

static void order(struct rig *r, struct weir *w, int caller, unsigned nr)
{
    char body[64];
    struct weir_response a = {0};
    (void)snprintf(body, sizeof body, "newClientOrderId=e-%d-%u", caller, nr);
    const struct weir_request_spec spec = {.struct_bytes = sizeof spec,
                                           .route = rig_route(w, "sim.order"),
                                           .body = body,
                                           .body_bytes = strlen(body)};
    if (weir_call(w, &spec, weir_now_ns(w) + 5 * WEIR_NS_PER_S, &a) != WEIR_OK) {
        (void)weir_fetch_add_u32(&r->shared->count[BAD], 1);
        return;
    }
    bool open = a.result == WEIR_RESULT_OUTCOME_UNKNOWN;
    bool unsent = a.result == WEIR_RESULT_NOT_SENT;
    (void)weir_fetch_add_u32(&r->shared->count[a.sends > 1 ? TWICE : 0], 1);
    (void)weir_fetch_add_u32(&r->shared->count[open || unsent ? ORDERS_OPEN : ORDERS_DONE],
                             unsent ? 0 : 1);
    if (a.result != WEIR_RESULT_DONE && !open && !unsent) {
        (void)weir_fetch_add_u32(&r->shared->count[BAD], 1);
    }
    (void)weir_release(w, a.ticket);
}

static int caller(struct rig *r, int arg)
{
    struct weir *w = rig_attach(r, WEIR_ROLE_CALLER);
    (void)weir_fetch_add_u32(&r->shared->count[RUNNING], 1);
    for (unsigned i = 0; i < ROUNDS; i++) {
        struct weir_response a = call(w, "sim.ping", 5000);
        bool good = a.result == WEIR_RESULT_DONE && a.status == 200;
        if (!good) {
            (void)printf("call %u of %d: %s, error %d, sends %u, endpoint %u\n", i, arg,
                         weir_result_text(a.result), a.error, a.sends, a.endpoint);
        }
        (void)weir_fetch_add_u32(&r->shared->count[good ? GOOD : BAD], 1);
        if (i % 4 == 0) {
            order(r, w, arg, i);
        }
        if (i % 8 == 0) {
            rig_sleep_ms(1);
        }
    }
    weir_close(w);
    return 0;
}

/* One of two servers dies under four callers, and comes back: no call that may be made twice is lost, no order is made twice. */
static void killed(struct rig *r)
{
    pid_t child[CALLERS];
    memset(r->shared->count, 0, sizeof r->shared->count);
    config(r, 2, "", "", "");
    rig_weird_start(r);
    for (int i = 0; i < CALLERS; i++) {
        child[i] = rig_fork(r, caller, i);
    }
    for (unsigned i = 0; i < 5000 && weir_load_acquire_u32(&r->shared->count[GOOD]) < 200; i++) {
        rig_sleep_ms(1);
    }
    server_kill(r, 0);
    rig_sleep_ms(300);
    server_start(r, 0);
    for (int i = 0; i < CALLERS; i++) {
        CHECK_INT(r, rig_wait(child[i], 60000), 0);
    }
    const uint32_t *count = r->shared->count;
    CHECK_INT(r, count[GOOD], CALLERS * ROUNDS);
    CHECK_INT(r, count[BAD], 0);
    PROMISE_INT(r, count[TWICE], 0);
    CHECK(r, count[ORDERS_DONE] > 0);
    double duplicates = seen(r, 0, "orders.duplicates") + seen(r, 1, "orders.duplicates");
    PROMISE_INT(r, duplicates, 0);
    /* Each order that was answered stands in one book; the first server's of before its death went with it. */
    double books = seen(r, 0, "orders.accepted") + seen(r, 1, "orders.accepted");
    rig_promise(r, books <= count[ORDERS_DONE] + count[ORDERS_OPEN], __FILE__, __LINE__,
                "%.0f orders in the books, %u answered, %u unknown", books, count[ORDERS_DONE],
                count[ORDERS_OPEN]);
    (void)printf("killed: %u calls, %u orders answered, %u with unknown outcome\n", count[GOOD],
                 count[ORDERS_DONE], count[ORDERS_OPEN]);
    CHECK_INT(r, rig_weird_stop(r, 5000), 0);
}

/* ---------------------------------------------------------------------------------------------- a server stands still */

static int patient(struct rig *r, int arg)
{
    (void)arg;
    struct weir *w = rig_attach(r, WEIR_ROLE_CALLER);
    (void)weir_fetch_add_u32(&r->shared->count[RUNNING], 1);
    for (unsigned i = 0; i < ROUNDS / 2; i++) {
        struct weir_response a = call(w, "sim.ping", 1500);
        (void)weir_fetch_add_u32(&r->shared->count[a.result == WEIR_RESULT_DONE ? GOOD : BAD], 1);
        rig_sleep_ms(1);
    }
    weir_close(w);
    return 0;
}

/* It takes connections and answers nothing: only the calls that it holds are lost, the next ones go elsewhere long before those end. */
static void stopped(struct rig *r)
{
    pid_t child[CALLERS];
    memset(r->shared->count, 0, sizeof r->shared->count);
    config(r, 2, "", "", "");
    rig_weird_start(r);
    for (int i = 0; i < CALLERS; i++) {
        child[i] = rig_fork(r, patient, i);
    }
    const uint32_t *count = r->shared->count;
    for (unsigned i = 0; i < 5000 && weir_load_acquire_u32(&count[GOOD]) < 100; i++) {
        rig_sleep_ms(1);
    }
    (void)kill(server[0].pid, SIGSTOP);
    for (int i = 0; i < CALLERS; i++) {
        CHECK_INT(r, rig_wait(child[i], 60000), 0);
    }
    (void)kill(server[0].pid, SIGCONT);
    CHECK_INT(r, count[GOOD] + count[BAD], CALLERS * ROUNDS / 2);
    rig_check(r, count[BAD] <= 3 * CALLERS, __FILE__, __LINE__, "%u calls lost of %u", count[BAD],
              count[GOOD]);
    (void)printf("stopped: %u calls, %u lost\n", count[GOOD] + count[BAD], count[BAD]);
    CHECK_INT(r, rig_weird_stop(r, 5000), 0);
}

/* The backup serves while no primary works, and no longer. */
static void roles(struct rig *r)
{
    static char text[1024];
    (void)snprintf(text, sizeof text,
                   "broker: {name: rig, log: info}\n"
                   "providers:\n"
                   "  - name: sim\n"
                   "    clock: {source: host}\n"
                   "    limits: [{name: l, kind: token_bucket, quota: 100000, window: 1s}]\n"
                   "    endpoints:\n"
                   "      - {name: spare, url: \"http://127.0.0.1:%u\", role: backup}\n"
                   "      - {name: main, url: \"http://127.0.0.1:%u\"}\n"
                   "    routes: [{name: ping, method: GET, path: /api/v3/ping, cost: {l: 1}}]\n",
                   server[0].port, server[1].port);
    rig_config(r, text, 0);
    rig_weird_start(r);
    struct weir *w = rig_attach(r, WEIR_ROLE_CALLER);
    for (unsigned i = 0; i < 20; i++) {
        CHECK_INT(r, call(w, "sim.ping", 3000).endpoint, 1);
    }
    server_kill(r, 1);
    for (unsigned i = 0; i < 20; i++) {
        struct weir_response a = call(w, "sim.ping", 3000);
        CHECK_INT(r, a.result, WEIR_RESULT_DONE);
        CHECK_INT(r, a.endpoint, 0);
    }
    server_start(r, 1);
    unsigned back = 0;
    for (unsigned i = 0; i < 2000 && back == 0; i++) {
        back = call(w, "sim.ping", 3000).endpoint == 1;
        rig_sleep_ms(5);
    }
    CHECK_INT(r, back, 1);
    weir_close(w);
    CHECK_INT(r, rig_weird_stop(r, 5000), 0);
}

/* One of forty works, and it is the last: a call that was not sent finds it, one by one. */
static void many(struct rig *r)
{
    static char text[8192];
    int n = snprintf(text, sizeof text,
                     "broker: {name: rig, log: info}\n"
                     "providers:\n"
                     "  - name: sim\n"
                     "    clock: {source: host}\n"
                     "    balance: failover\n"
                     "    limits: [{name: l, kind: token_bucket, quota: 100000, window: 1s}]\n"
                     "    routes: [{name: ping, method: GET, path: /api/v3/ping, cost: {l: 1}}]\n"
                     "    endpoints:\n");
    for (unsigned i = 0; i < 40; i++) { /* nobody listens at port 1 */
        n += snprintf(text + n, sizeof text - (size_t)n,
                      "      - {name: e%u, url: \"http://127.0.0.1:%u\"}\n", i,
                      i < 39 ? 1U : server[0].port);
    }
    rig_config(r, text, 0);
    rig_weird_start(r);
    struct weir *w = rig_attach(r, WEIR_ROLE_CALLER);
    struct weir_response a = call(w, "sim.ping", 5000);
    CHECK_INT(r, a.result, WEIR_RESULT_DONE);
    CHECK_INT(r, a.endpoint, 39);
    CHECK_INT(r, a.sends, 1);
    weir_close(w);
    CHECK_INT(r, rig_weird_stop(r, 5000), 0);
}

/* A name whose address the configuration does not name is not connected to. */
static void address(struct rig *r)
{
    static char text[1024];
    (void)snprintf(text, sizeof text,
                   "broker: {name: rig, log: info}\n"
                   "providers:\n"
                   "  - name: sim\n"
                   "    clock: {source: host}\n"
                   "    limits: [{name: l, kind: token_bucket, quota: 100000, window: 1s}]\n"
                   "    endpoints:\n"
                   "      - {name: a, url: \"http://localhost:%u\", addresses: [203.0.113.0/24]}\n"
                   "    routes: [{name: ping, method: GET, path: /api/v3/ping, cost: {l: 1}}]\n",
                   server[0].port);
    rig_config(r, text, 0);
    rig_weird_start(r);
    struct weir *w = rig_attach(r, WEIR_ROLE_CALLER);
    double before = seen(r, 0, "arrivals");
    struct weir_response a = call(w, "sim.ping", 400);
    CHECK_INT(r, a.sends, 0);
    CHECK_INT(r, a.result, WEIR_RESULT_EXPIRED);
    CHECK_INT(r, seen(r, 0, "arrivals"), before);
    CHECK(r, rig_log_has(r, "\"endpoint_address_refused\""));
    weir_close(w);
    CHECK_INT(r, rig_weird_stop(r, 5000), 0);
}

/* ---------------------------------------------------------------------------------------------- breaker */

#define BREAKER "    breaker: {failures: 3, window: 10s, open: 1s, probes: 1}\n"

static void breaker(struct rig *r)
{
    config(r, 1, "",
           BREAKER "    throttle: {default: 1ms, backoff: {max: 1ms}, reopen: {ramp: 80ms}}\n", "");
    rig_weird_start(r);
    struct weir *w = rig_attach(r, WEIR_ROLE_CALLER);
    CHECK_INT(r, health(r, w, "sim.a").breaker, WEIR_BREAKER_CLOSED);
    speak_to(r, 0);
    /* told to stop, again and again: that is the pause's business */
    rig_fault(r, "{\"kind\": \"status\", \"status\": 429, \"path\": \"/api/v3/ping\"}");
    for (unsigned i = 0; i < 12; i++) {
        struct weir_response a = call(w, "sim.ping", 3000);
        CHECK_INT(r, a.result, WEIR_RESULT_DONE);
        CHECK_INT(r, a.status, 429);
    }
    CHECK_INT(r, health(r, w, "sim.a").breaker, WEIR_BREAKER_CLOSED);
    for (unsigned i = 0; i < 200 && health(r, w, "sim.a").score >= 700; i++) {
        rig_sleep_ms(5);
    }
    CHECK(r, health(r, w, "sim.a").score < 700, "stops count in the score");
    rig_faults_clear(r);
    rig_sleep_ms(50);
    rig_fault(r, "{\"kind\": \"status\", \"status\": 503, \"path\": \"/api/v3/ping\"}");
    unsigned failed = 0;
    while (failed < 40 && health(r, w, "sim.a").breaker == WEIR_BREAKER_CLOSED) {
        CHECK_INT(r, call(w, "sim.ping", 3000).status, 503);
        failed++;
    }
    CHECK_INT(r, failed, 3);
    struct weir_endpoint_health h = health(r, w, "sim.a");
    CHECK_INT(r, h.breaker, WEIR_BREAKER_OPEN);
    CHECK_INT(r, h.cause, WEIR_CLASS_SERVER);
    double before = rig_report(r, "by_path.GET /api/v3/ping");
    struct weir_response a = call(w, "sim.ping", 20); /* before it may be tried: at once */
    CHECK_INT(r, a.result, WEIR_RESULT_REFUSED);
    CHECK_INT(r, a.denial.reason, WEIR_REASON_BREAKER);
    CHECK_INT(r, a.sends, 0);
    CHECK_TEXT(r, weir_reason_text(a.denial.reason), "breaker");
    CHECK_INT(r, rig_report(r, "by_path.GET /api/v3/ping"), before); /* it saw nothing */
    CHECK(r, a.denial.earliest_ns + 1000 >= h.breaker_until_ns, "the board rounds up to 1 us");
    a = call(w, "sim.ping", 5000); /* waits for its instant, and is the probe: fails */
    CHECK_INT(r, a.status, 503);
    CHECK_INT(r, health(r, w, "sim.a").breaker, WEIR_BREAKER_OPEN);
    rig_faults_clear(r);
    a = call(w, "sim.ping", 5000);
    CHECK_INT(r, a.status, 200);
    CHECK_INT(r, health(r, w, "sim.a").breaker, WEIR_BREAKER_CLOSED);
    weir_close(w);
    CHECK_INT(r, rig_weird_stop(r, 5000), 0);
}

static void breaker_open_it(struct rig *r, struct weir *w)
{
    speak_to(r, 0);
    rig_fault(r, "{\"kind\": \"status\", \"status\": 500, \"path\": \"/api/v3/ping\"}");
    for (unsigned i = 0; i < 10 && health(r, w, "sim.a").breaker == WEIR_BREAKER_CLOSED; i++) {
        (void)call(w, "sim.ping", 3000);
    }
    rig_faults_clear(r);
    CHECK_INT(r, health(r, w, "sim.a").breaker, WEIR_BREAKER_OPEN);
}

/* The worker dies with the probe that it has out: the next one tries again, and is not held up by the dead one's lease. */
static void prober_killed(struct rig *r)
{
    weir_ticket t;
    config(r, 1, "", BREAKER, "");
    rig_weird_start(r);
    struct weir *w = rig_attach(r, WEIR_ROLE_CALLER);
    breaker_open_it(r, w);
    rig_fault(r, "{\"kind\": \"stall\", \"delay_ms\": 60000, \"path\": \"/api/v3/ping\"}");
    const struct weir_request_spec spec = {.struct_bytes = sizeof spec,
                                           .route = rig_route(w, "sim.ping"),
                                           .deadline_ns = weir_now_ns(w) + 15 * WEIR_NS_PER_S};
    CHECK_INT(r, weir_submit(w, &spec, &t), 0);
    CHECK(r, until_breaker(r, w, "sim.a", WEIR_BREAKER_HALF_OPEN, 5000));
    struct weir_response other = call(w, "sim.time", 100);
    CHECK(r, other.result != WEIR_RESULT_DONE, "one probe at a time");
    CHECK_INT(r, other.sends, 0);
    rig_faults_clear(r);
    pid_t worker = rig_process(r, "weird-worker");
    (void)kill(worker, SIGKILL);
    CHECK(r, rig_process_next(r, "weird-worker", worker, 10000) != 0);
    struct weir_response a = {0};
    CHECK_INT(r, weir_wait(w, t, weir_now_ns(w) + 20 * WEIR_NS_PER_S, &a), 0);
    CHECK_INT(r, a.result, WEIR_RESULT_DONE); /* it may be made twice, and was */
    (void)weir_release(w, t);
    CHECK(r, until_breaker(r, w, "sim.a", WEIR_BREAKER_CLOSED, 5000));
    breaker_open_it(r, w); /* ... and an open one stays open over a death */
    worker = rig_process(r, "weird-worker");
    (void)kill(worker, SIGKILL);
    CHECK(r, rig_process_next(r, "weird-worker", worker, 10000) != 0);
    CHECK_INT(r, call(w, "sim.ping", 10000).status, 200);
    CHECK(r, until_breaker(r, w, "sim.a", WEIR_BREAKER_CLOSED, 5000));
    weir_close(w);
    CHECK_INT(r, rig_weird_stop(r, 5000), 0);
}

/* A part of the API is ill: its group's calls are refused, the others go on. */
static void group(struct rig *r)
{
    /* the endpoint's own breaker must not open: half of what ends is well, and two thirds are asked for */
    config(r, 1, "", "    breaker: {failures: 4, window: 10s, part: 60%, open: 2s, probes: 1}\n",
           ", group: slow");
    rig_weird_start(r);
    struct weir *w = rig_attach(r, WEIR_ROLE_CALLER);
    speak_to(r, 0);
    rig_fault(r, "{\"kind\": \"status\", \"status\": 500, \"path\": \"/api/v3/ping\"}");
    for (unsigned i = 0; i < 4; i++) {
        CHECK_INT(r, call(w, "sim.time", 3000).status, 200);
        CHECK_INT(r, call(w, "sim.ping", 3000).status, 500);
    }
    CHECK_INT(r, health(r, w, "sim.slow").breaker, WEIR_BREAKER_OPEN);
    CHECK_INT(r, health(r, w, "sim.a").breaker, WEIR_BREAKER_CLOSED);
    struct weir_response a = call(w, "sim.ping", 20);
    CHECK_INT(r, a.result, WEIR_RESULT_REFUSED);
    CHECK_INT(r, a.denial.reason, WEIR_REASON_BREAKER);
    CHECK_INT(r, call(w, "sim.time", 3000).status, 200);
    rig_faults_clear(r);
    CHECK_INT(r, call(w, "sim.ping", 6000).status, 200);
    CHECK_INT(r, health(r, w, "sim.slow").breaker, WEIR_BREAKER_CLOSED);
    weir_close(w);
    CHECK_INT(r, rig_weird_stop(r, 5000), 0);
}

/* ---------------------------------------------------------------------------------------------- balance, ejection, checks */

static void spread(struct rig *r, struct weir *w, unsigned calls, unsigned of[SERVERS])
{
    memset(of, 0, SERVERS * sizeof *of);
    for (unsigned i = 0; i < calls; i++) {
        struct weir_response a = call(w, "sim.ping", 5000);
        rig_check(r, a.result == WEIR_RESULT_DONE && a.endpoint < SERVERS, __FILE__, __LINE__,
                  "call %u: %s", i, weir_result_text(a.result));
        of[a.endpoint % SERVERS]++;
    }
}

/* Changed while it runs, and kept when the worker dies. */
static void balance(struct rig *r)
{
    unsigned of[SERVERS];
    config(r, 3, "", "    balance: failover\n", "");
    rig_weird_start(r);
    struct weir *w = rig_attach(r, WEIR_ROLE_CALLER);
    spread(r, w, 30, of);
    CHECK_INT(r, of[0], 30);
    CHECK_INT(r, operate(r, WEIR_OPERATION_BALANCE, "sim", WEIR_BALANCE_ROUND_ROBIN), 0);
    spread(r, w, 30, of);
    for (unsigned i = 0; i < SERVERS; i++) {
        CHECK_INT(r, of[i], 10);
    }
    pid_t worker = rig_process(r, "weird-worker");
    (void)kill(worker, SIGKILL);
    CHECK(r, rig_process_next(r, "weird-worker", worker, 10000) != 0);
    spread(r, w, 30, of);
    for (unsigned i = 0; i < SERVERS; i++) {
        CHECK_INT(r, of[i], 10);
    }
    for (unsigned kind = 1; kind < WEIR_BALANCE_CNT; kind++) {
        CHECK_INT(r, operate(r, WEIR_OPERATION_BALANCE, "sim", (enum weir_balance)kind), 0);
        spread(r, w, 12, of);
        bool turns =
            kind == WEIR_BALANCE_ROUND_ROBIN || kind == WEIR_BALANCE_WEIGHTED_ROUND_ROBIN ||
            kind == WEIR_BALANCE_LEAST_CONNECTIONS; /* the others go by what they measure */
        rig_check(r, !turns || (of[0] == 4 && of[1] == 4 && of[2] == 4), __FILE__, __LINE__,
                  "balance %u: %u %u %u", kind, of[0], of[1], of[2]);
    }
    CHECK_INT(r, operate(r, WEIR_OPERATION_BALANCE, "sim", WEIR_BALANCE_UNSET), 0);
    spread(r, w, 30, of);
    CHECK_INT(r, of[0], 30);
    CHECK_INT(r, operate(r, WEIR_OPERATION_BALANCE, "sim", (enum weir_balance)99),
              WEIR_E_UNSUPPORTED);
    CHECK_INT(r, operate(r, WEIR_OPERATION_BALANCE, "nobody", WEIR_BALANCE_ROUND_ROBIN),
              WEIR_E_SCOPE_UNKNOWN);
    CHECK_INT(r, operate(r, WEIR_OPERATION_CHECK, "sim", 0), WEIR_E_UNSUPPORTED); /* no health */
    weir_close(w);
    CHECK_INT(r, rig_weird_stop(r, 5000), 0);
}

/* One of two answers 503 all the time: after five of them it is left out, without any breaker. */
static void ejected(struct rig *r)
{
    unsigned bad = 0;
    config(r, 2, "", "    balance: round_robin\n", "");
    rig_weird_start(r);
    struct weir *w = rig_attach(r, WEIR_ROLE_CALLER);
    speak_to(r, 1);
    rig_fault(r, "{\"kind\": \"status\", \"status\": 503, \"path\": \"/api/v3/ping\"}");
    for (unsigned i = 0; i < 60; i++) {
        bad += call(w, "sim.ping", 3000).status == 503;
    }
    CHECK_INT(r, bad, 5);
    CHECK(r, health(r, w, "sim.b").ejected);
    CHECK(r, !health(r, w, "sim.a").ejected);
    for (unsigned i = 0; i < 200 && health(r, w, "sim.b").score >= health(r, w, "sim.a").score;
         i++) {
        rig_sleep_ms(5); /* scores are worked out every 10 ms */
    }
    CHECK(r, health(r, w, "sim.b").score < health(r, w, "sim.a").score);
    /* now the other one too: somebody must take the calls */
    speak_to(r, 0);
    rig_fault(r, "{\"kind\": \"status\", \"status\": 503, \"path\": \"/api/v3/ping\"}");
    for (unsigned i = 0; i < 30; i++) {
        CHECK_INT(r, call(w, "sim.ping", 3000).status, 503);
    }
    CHECK(r, !health(r, w, "sim.a").ejected, "never all");
    for (unsigned i = 0; i < 2; i++) {
        speak_to(r, i);
        rig_faults_clear(r);
    }
    weir_close(w);
    CHECK_INT(r, rig_weird_stop(r, 5000), 0);
}

/* Checks in the background and on demand; they keep connections warm, take permits, and end an ejection. */
static void checks(struct rig *r)
{
    config(r, 2, ", warm: 3",
           "    health: {path: /api/v3/time, interval: 1s, height: serverTime}\n", "");
    rig_weird_start(r);
    struct weir *w = rig_attach(r, WEIR_ROLE_CALLER);
    const struct weir_shm_endpoint *e =
        rig_board(w, WEIR_SECTION_ENDPOINT, sizeof(struct weir_shm_endpoint));
    for (unsigned i = 0; i < 2000 && health(r, w, "sim.b").height == 0; i++) {
        rig_sleep_ms(5);
    }
    struct weir_endpoint_health h = health(r, w, "sim.b");
    CHECK(r, h.checked_ns > 0);
    CHECK(r, h.height > 1000000000, "the server's time stands in for a slot");
    for (unsigned i = 0; i < 2000 && (e[0].connections < 3 || e[1].connections < 3); i++) {
        rig_sleep_ms(5);
    }
    CHECK(r, e[0].connections >= 3 && e[1].connections >= 3, "warm without any call");
    speak_to(r, 1);
    rig_fault(r, "{\"kind\": \"status\", \"status\": 503, \"path\": \"/api/v3/ping\"}");
    for (unsigned i = 0; i < 200 && !health(r, w, "sim.b").ejected; i++) {
        (void)call(w, "sim.ping", 3000);
    }
    rig_faults_clear(r);
    CHECK_INT(r, operate(r, WEIR_OPERATION_CHECK, "sim", 0), 0);
    for (unsigned i = 0; i < 600 && health(r, w, "sim.b").ejected; i++) {
        rig_sleep_ms(5);
    }
    CHECK(r, !health(r, w, "sim.b").ejected, "an answered check ends it");
    weir_close(w);
    CHECK_INT(r, rig_weird_stop(r, 5000), 0);
}

/* Who asks for what is not there, and who may look. */
static void looking(struct rig *r)
{
    struct weir_endpoint_health h;
    uint32_t index = 77;
    config(r, 1, "", "", "");
    rig_weird_start(r);
    struct weir *w = rig_attach(r, WEIR_ROLE_MONITOR);
    CHECK_INT(r, weir_endpoint_find(w, "sim.a", &index), 0);
    CHECK_INT(r, weir_health_get(w, index, &h), 0);
    CHECK_INT(r, h.breaker, WEIR_BREAKER_NONE);
    CHECK_INT(r, h.score, 1000);
    static const char *const wrong[] = {"sim.b", "sim", "", ".", "sim.", "other.a", "sim.a.b"};
    for (size_t i = 0; i < WEIR_ARRAY_CNT(wrong); i++) {
        CHECK_INT(r, weir_endpoint_find(w, wrong[i], &index), WEIR_E_SCOPE_UNKNOWN);
    }
    CHECK_INT(r, weir_endpoint_find(w, NULL, &index), WEIR_E_ARGUMENT);
    CHECK_INT(r, weir_health_get(w, 1, &h), WEIR_E_SCOPE_UNKNOWN);
    CHECK_INT(r, weir_health_get(w, UINT32_MAX, &h), WEIR_E_SCOPE_UNKNOWN);
    CHECK_INT(r, weir_health_get(w, 0, NULL), WEIR_E_ARGUMENT);
    weir_close(w);
    CHECK_INT(r, rig_weird_stop(r, 5000), 0);
}

int main(int argc, char **argv)
{
    struct rig r;
    rig_open(&r, "endpoints", argc, argv, 110);
    for (unsigned i = 0; i < SERVERS; i++) {
        server_start(&r, i);
    }
    looking(&r);
    breaker(&r);
    prober_killed(&r);
    group(&r);
    balance(&r);
    ejected(&r);
    checks(&r);
    killed(&r);
    stopped(&r);
    roles(&r);
    many(&r);
    address(&r);
    for (unsigned i = 0; i < SERVERS; i++) {
        server_kill(&r, i);
    }
    r.sim = 0;
    return rig_close(&r);
}
