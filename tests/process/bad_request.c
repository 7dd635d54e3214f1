/* Bad requests: each has its own error; nothing is sent, nothing is lost, nothing hangs. Oracle: the texts of errors.def, and the exchange's count. */
#include "rig.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct weir_request_spec spec_of(struct weir *w, const char *route)
{
    return (struct weir_request_spec){.struct_bytes = sizeof(struct weir_request_spec),
                                      .route = rig_route(w, route)};
}

static void error_is(struct rig *r, int line, int rc, int want, const char *text)
{
    rig_check(r, rc == want, __FILE__, line, "got %d (%s), wanted %d (%s)", rc, weir_strerror(rc),
              want, weir_strerror(want));
    rig_check(r, strcmp(weir_strerror(want), text) == 0, __FILE__, line, "text: %s",
              weir_strerror(want));
}
#define ERROR_IS(r, rc, want, text) error_is(r, __LINE__, rc, want, text)

static void paths(struct rig *r, struct weir *w)
{
    static const char *const bad[] = {"..",          "a/../b",   "%2e%2e/x", "a//b", "/etc",
                                      "http://x/y",  "//host/x", "a b",      "a\nb", "a\\b",
                                      "a?x=http://", "%zz",      "a#b"};
    static const char text[] = "the path holds what weir does not send: '..', '//', a host, or a "
                               "character outside RFC 3986";
    weir_ticket t;
    struct weir_request_spec s = spec_of(w, "sim.bytes");
    for (size_t i = 0; i < WEIR_ARRAY_CNT(bad); i++) {
        s.path_rest = bad[i];
        ERROR_IS(r, weir_submit(w, &s, &t), WEIR_E_PATH_INVALID, text);
    }
    s.path_rest = "10";
    s.query = "a=b c";
    ERROR_IS(r, weir_submit(w, &s, &t), WEIR_E_PATH_INVALID, text);
    s = spec_of(w, "sim.ping");
    s.path_rest = "more";
    ERROR_IS(r, weir_submit(w, &s, &t), WEIR_E_PATH_INVALID, text);
}

static void headers(struct rig *r, struct weir *w)
{
    static const char invalid[] = "a header name or value holds a byte that could end the header";
    static const char forbidden[] =
        "this header belongs to the broker, or the route does not list it";
    static const struct weir_header bad[] = {{"X-Test", "a\r\nX-Evil: 1"},
                                             {"X-Test", "a\nb"},
                                             {"X-Test", "a\rb"},
                                             {"X-Te\r\nst", "a"},
                                             {"X Test", "a"},
                                             {"", "a"},
                                             {"X-Test:", "a"}};
    static const struct weir_header owned[] = {
        {"Host", "evil"},  {"content-length", "1"}, {"Transfer-Encoding", "chunked"},
        {"Expect", "100"}, {"Connection", "close"}, {"Proxy-Authorization", "x"}};
    weir_ticket t;
    struct weir_response a;
    struct weir_request_spec s = spec_of(w, "sim.echo");
    s.header_cnt = 1;
    for (size_t i = 0; i < WEIR_ARRAY_CNT(bad); i++) {
        s.headers = &bad[i];
        ERROR_IS(r, weir_submit(w, &s, &t), WEIR_E_HEADER_INVALID, invalid);
    }
    for (size_t i = 0; i < WEIR_ARRAY_CNT(owned); i++) {
        s.headers = &owned[i];
        ERROR_IS(r, weir_submit(w, &s, &t), WEIR_E_HEADER_FORBIDDEN, forbidden);
    }
    /* Not in the route's list: the worker says so. */
    const struct weir_header unlisted = {"X-Other", "1"};
    s.headers = &unlisted;
    CHECK_INT(r, weir_call(w, &s, UINT64_MAX, &a), 0);
    CHECK_INT(r, a.result, WEIR_RESULT_REJECTED);
    CHECK_INT(r, a.error, WEIR_E_HEADER_FORBIDDEN);
    (void)weir_release(w, a.ticket);
    const struct weir_header listed = {"x-test", "yes"};
    s.headers = &listed;
    CHECK_INT(r, weir_call(w, &s, UINT64_MAX, &a), 0);
    CHECK_INT(r, a.result, WEIR_RESULT_DONE);
    CHECK(r, a.body != NULL && memmem(a.body, a.body_bytes, "\"yes\"", 5) != NULL, "it arrived");
    (void)weir_release(w, a.ticket);
}

static void demands(struct rig *r, struct weir *w)
{
    static char big[8192];
    weir_ticket t;
    weir_route_id id;
    struct weir_response a;
    memset(big, 'x', sizeof big);
    ERROR_IS(r, weir_route_find(w, "sim.nothing", &id), WEIR_E_ROUTE_UNKNOWN,
             "the configuration has no such route");
    struct weir_request_spec s = spec_of(w, "sim.ping");
    s.route = 4000;
    ERROR_IS(r, weir_submit(w, &s, &t), WEIR_E_ROUTE_UNKNOWN,
             "the configuration has no such route");
    s = spec_of(w, "sim.ping");
    const struct weir_cost dear = {.cnt = 1, .units = {201}};
    s.units = &dear;
    ERROR_IS(r, weir_submit(w, &s, &t), WEIR_E_COST,
             "the cost can never be granted: it is above what the limit leaves to this priority");
    struct weir_permit p;
    ERROR_IS(r, weir_permit_try(w, s.route, 0, &dear, WEIR_PRIORITY_CRITICAL, &p), WEIR_E_COST,
             "the cost can never be granted: it is above what the limit leaves to this priority");
    s = spec_of(w, "sim.order");
    s.body = big;
    s.body_bytes = sizeof big;
    ERROR_IS(r, weir_submit(w, &s, &t), WEIR_E_BODY_TOO_LARGE, "the request does not fit its slot");
    s = spec_of(w, "sim.own");
    ERROR_IS(r, weir_submit(w, &s, &t), WEIR_E_TRANSPORT,
             "this route has its own transport: weir grants permits for it and makes no calls");
    s = spec_of(w, "sim.ping");
    s.deadline_ns = weir_now_ns(w) - 1;
    ERROR_IS(r, weir_submit(w, &s, &t), WEIR_E_DEADLINE, "the deadline has passed");
    s = spec_of(w, "sim.ping");
    s.scope = 7;
    ERROR_IS(r, weir_submit(w, &s, &t), WEIR_E_SCOPE_UNKNOWN, "there is no such provider or scope");
    s = spec_of(w, "sim.ping");
    s.priority_set = 1;
    s.priority = (enum weir_priority)9;
    ERROR_IS(r, weir_submit(w, &s, &t), WEIR_E_PRIORITY, "there is no such priority");
    /* Above the cap, with a length and without one. */
    s = spec_of(w, "sim.bytes");
    s.path_rest = "4097";
    CHECK_INT(r, weir_call(w, &s, UINT64_MAX, &a), 0);
    CHECK_INT(r, a.result, WEIR_RESULT_TOO_LARGE);
    (void)weir_release(w, a.ticket);
    s.path_rest = "4096";
    CHECK_INT(r, weir_call(w, &s, UINT64_MAX, &a), 0);
    CHECK_INT(r, a.result, WEIR_RESULT_DONE);
    CHECK_INT(r, a.body_bytes, 4096);
    (void)weir_release(w, a.ticket);
    s = spec_of(w, "sim.chunked");
    s.path_rest = "100000";
    CHECK_INT(r, weir_call(w, &s, UINT64_MAX, &a), 0);
    CHECK_INT(r, a.result, WEIR_RESULT_TOO_LARGE);
    CHECK_INT(r, a.body_bytes, 0);
    (void)weir_release(w, a.ticket);
}

static void roles(struct rig *r)
{
    weir_ticket t;
    struct weir_permit p;
    struct weir *w = rig_attach(r, WEIR_ROLE_CALLER);
    ERROR_IS(r, weir_permit_try(w, rig_route(w, "sim.ping"), 0, NULL, WEIR_PRIORITY_LOW, &p),
             WEIR_E_NOT_TRADER, "this role may not take permits itself");
    weir_close(w);
    w = rig_attach(r, WEIR_ROLE_MONITOR);
    struct weir_request_spec s = spec_of(w, "sim.ping");
    ERROR_IS(r, weir_submit(w, &s, &t), WEIR_E_NOT_CALLER, "this role may not hand over requests");
    weir_close(w);
    /* No room for an answer of the route's cap: now, not at the deadline. */
    struct weir_open_opts opts = {.role = WEIR_ROLE_CALLER, .response_bytes = 4096};
    struct weir_response a;
    int rc;
    w = rig_attach_opts(r, &opts, NULL, &rc);
    CHECK_INT(r, rc, 0);
    uint64_t began_ns = rig_now_ns();
    s = spec_of(w, "sim.ping");
    CHECK_INT(r, weir_call(w, &s, UINT64_MAX, &a), 0);
    CHECK_INT(r, a.result, WEIR_RESULT_NO_ROOM);
    CHECK_INT(r, a.error, WEIR_E_ARENA_TOO_LARGE);
    CHECK(r, rig_now_ns() - began_ns < WEIR_NS_PER_S, "at once");
    weir_close(w);
}

/* A worker that stands still: the ring fills, slots run out, a cancel comes in time. Afterwards everything that was taken ends. */
static void standstill(struct rig *r)
{
    weir_ticket ticket[512];
    unsigned cnt = 0;
    int rc = 0;
    struct weir_open_opts opts = {.role = WEIR_ROLE_CALLER, .slots = 100};
    struct weir *w = rig_attach_opts(r, &opts, NULL, &rc);
    struct weir_request_spec s = spec_of(w, "sim.ping");
    s.priority_set = 1;
    s.priority = WEIR_PRIORITY_HIGH;
    pid_t worker = rig_process(r, "weird-worker");
    (void)kill(worker, SIGSTOP);
    rig_sleep_ms(20);
    while (cnt < 200 && (rc = weir_submit(w, &s, &ticket[cnt])) == 0) {
        cnt++;
    }
    ERROR_IS(r, rc, WEIR_E_RING_FULL, "the broker's ring is full");
    CHECK_INT(r, cnt, 64);
    CHECK_INT(r, weir_cancel(w, ticket[0]), 0); /* certainly never sent */
    ERROR_IS(r, weir_cancel(w, ticket[0]), WEIR_E_TICKET,
             "this ticket names no request of this handle");
    s.priority = WEIR_PRIORITY_LOW; /* another ring */
    while (cnt < 200 && (rc = weir_submit(w, &s, &ticket[cnt])) == 0) {
        cnt++;
    }
    ERROR_IS(r, rc, WEIR_E_NO_SLOT, "all request slots of this attachment are in use");
    (void)kill(worker, SIGCONT);
    unsigned done = 0;
    for (unsigned i = 1; i < cnt; i++) {
        struct weir_response a;
        if (weir_wait(w, ticket[i], weir_now_ns(w) + 4 * WEIR_NS_PER_S, &a) == 0) {
            done += a.result == WEIR_RESULT_DONE;
            (void)weir_release(w, ticket[i]);
        }
    }
    CHECK_INT(r, done, cnt - 1);
    weir_close(w);
}

/* Cancel while it is on the wire: too late to be unmade, and its own outcome comes. */
static void cancel_late(struct rig *r, struct weir *w)
{
    weir_ticket t;
    struct weir_response a;
    struct weir_request_spec s = spec_of(w, "sim.ping");
    rig_fault(r, "{\"kind\": \"slow_first_byte\", \"path\": \"/api/v3/ping\", \"delay_ms\": 200, "
                 "\"count\": 1}");
    CHECK_INT(r, weir_submit(w, &s, &t), 0);
    rig_sleep_ms(60);
    ERROR_IS(r, weir_cancel(w, t), WEIR_E_CANCEL_LATE,
             "the broker has the request already: it stops it now, but for an order that was written");
    CHECK_INT(r, weir_wait(w, t, UINT64_MAX, &a), 0);
    CHECK(r, (a.result == WEIR_RESULT_CANCELLED && a.sends <= 1) || a.result == WEIR_RESULT_DONE,
          "%s, sent %u times", weir_result_text(a.result), a.sends);
    CHECK_INT(r, weir_release(w, t), 0);
    CHECK_INT(r, weir_release(w, t), WEIR_E_TICKET);
}

int main(int argc, char **argv)
{
    struct rig r;
    rig_open(&r, "bad_request", argc, argv, 60);
    rig_sim_start(&r, "{\"limits\": [{\"name\": \"weight\", \"kind\": \"fixed_window\", \"quota\": "
                      "200, \"window_ms\": 2000}]}");
    rig_config_usual(&r, "wake: sleep, ring: 64");
    rig_weird_start(&r);
    struct weir *w = rig_attach(&r, WEIR_ROLE_TRADER);
    paths(&r, w);
    headers(&r, w);
    demands(&r, w);
    cancel_late(&r, w);
    CHECK_INT(&r, rig_report(&r, "by_path.GET /api/v3/ping"), 1);
    roles(&r);
    standstill(&r);
    weir_close(w);
    PROMISE_INT(&r, rig_report(&r, "violations"), 0);
    CHECK_INT(&r, rig_weird_stop(&r, 5000), 0);
    return rig_close(&r);
}
