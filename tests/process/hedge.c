/*
 * hedge.c: late calls are sent a second time, and calls that are taken back end at once (broker/hedge.h). Two real weir-sims; what each of them saw is their own word.
 *
 * Oracle: the answers, how often each call says that it was sent against what the servers counted, the board's counters against the budget's rule. Times are bounded by seconds:
 * what is slow is slow by more than that; and where a hedge must have been sent before something else happens, the scene is played again on a machine that was late (scene.h).
 */
#include "scene.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SLOW_MS "2500"
#define SLOW_NS (2500 * WEIR_NS_PER_MS)
#define PING    "by_path.GET /api/v3/ping"
#define TIME    "by_path.GET /api/v3/time"
#define ORDER   "by_path.POST /api/v3/order"

static struct {
    pid_t pid;
    uint16_t port;
} server[2];

static void speak_to(struct rig *r, unsigned i)
{
    r->port = server[i].port;
    r->sim = server[i].pid;
}

static void fault(struct rig *r, unsigned i, const char *json)
{
    speak_to(r, i);
    rig_fault(r, json);
}

static unsigned seen(struct rig *r, unsigned i, const char *path)
{
    speak_to(r, i);
    double n = rig_report(r, path);
    return n > 0 ? (unsigned)n : 0;
}

static void fresh(struct rig *r)
{
    for (unsigned i = 0; i < 2; i++) {
        speak_to(r, i);
        rig_faults_clear(r);
        CHECK_INT(r, rig_http(r, "POST", "/sim/reset", "", NULL, 0), 200);
    }
}

static void configure(struct rig *r, const char *balance, const char *more)
{
    static const char yaml[] =
        "broker: {name: rig, log: info}\n"
        "providers:\n"
        "  - name: sim\n"
        "    clock: {source: host, error: 1ms, max_jitter: %ums}\n"
        "    limits:\n"
        "      - {name: bucket, kind: token_bucket, quota: 100000, window: 1s}\n"
        "      - {name: scarce, kind: fixed_window, quota: 1, window: 1h}\n"
        "      - {name: few, kind: fixed_window, quota: 60, window: 1h}\n"
        "    throttle: {status: [429], retry_after: seconds}\n"
        "    balance: %s\n"
        "%s"
        "    endpoints:\n"
        "      - {name: a, url: \"http://127.0.0.1:%u\", connections: 64}\n"
        "      - {name: b, url: \"http://127.0.0.1:%u\", connections: 64}\n"
        "    routes:\n"
        "      - {name: ping, method: GET, path: /api/v3/ping, cost: {bucket: 1}, timeout: 20s}\n"
        "      - {name: plain, method: GET, path: /api/v3/ping, cost: {bucket: 1}, hedge: false}\n"
        "      - {name: rare, method: GET, path: /api/v3/ping, cost: {scarce: 1}, timeout: 20s}\n"
        "      - {name: few, method: GET, path: /api/v3/ping, cost: {few: 1}, timeout: 20s}\n"
        "      - {name: order, method: POST, path: /api/v3/order, cost: {bucket: 1}}\n"
        "  - name: soon\n" /* a hedge is made before anybody takes its endpoint for silent (50 ms at least): who waits for a call waits on */
        "    clock: {source: host, error: 1ms, max_jitter: %ums}\n"
        "    limits: [{name: bucket, kind: token_bucket, quota: 100000, window: 1s}]\n"
        "    balance: failover\n"
        "    hedge: {after: 20ms, budget: 10%%}\n"
        "    endpoints:\n"
        "      - {name: a, url: \"http://127.0.0.1:%u\", connections: 64}\n"
        "      - {name: b, url: \"http://127.0.0.1:%u\", connections: 64}\n"
        "    routes:\n"
        "      - {name: ping, method: GET, path: /api/v3/ping, cost: {bucket: 1}, timeout: 20s}\n"
        "      - {name: same, method: GET, path: /api/v3/time, cost: {bucket: 1}, timeout: 20s, "
        "share: public, cache: 5s}\n";
    const unsigned jitter_ms = 10 * rig_slowness();
    char text[4096];
    /* Longer than anything is kept waiting: a permit that grew too old is followed by another one, and both are charged. */
    (void)snprintf(text, sizeof text, yaml, jitter_ms, balance, more, server[0].port,
                   server[1].port, jitter_ms, server[0].port, server[1].port);
    rig_config(r, text, 0);
}

static struct weir_request_spec spec_of(struct weir *w, const char *route)
{
    return (struct weir_request_spec){.struct_bytes = sizeof(struct weir_request_spec),
                                      .route = rig_route(w, route),
                                      .deadline_ns = weir_now_ns(w) + 20 * WEIR_NS_PER_S};
}

static weir_ticket submit_query(struct rig *r, struct weir *w, const char *route, const char *query)
{
    weir_ticket t = 0;
    struct weir_request_spec spec = spec_of(w, route);
    spec.query = query;
    CHECK_INT(r, weir_submit(w, &spec, &t), 0);
    return t;
}

static weir_ticket submit(struct rig *r, struct weir *w, const char *route)
{
    return submit_query(r, w, route, NULL);
}

static struct weir_response wait(struct rig *r, struct weir *w, weir_ticket t)
{
    struct weir_response a = {0};
    CHECK_INT(r, weir_wait(w, t, weir_now_ns(w) + 25 * WEIR_NS_PER_S, &a), 0);
    CHECK_INT(r, weir_release(w, t), 0);
    return a;
}

static struct weir_response call(struct rig *r, struct weir *w, const char *route)
{
    return wait(r, w, submit(r, w, route));
}

static struct weir_shm_route_stats stats(struct weir *w, const char *route)
{
    const struct weir_shm_route_stats *all =
        rig_board(w, WEIR_SECTION_ROUTE, sizeof(struct weir_shm_route_stats));
    return all[rig_route(w, route)];
}

/* So that the budget has saved what it may. On a machine that is late some of these are hedged too, and spend it: then once more. */
static void save_up_for(struct rig *r, struct weir *w, const char *route)
{
    unsigned hedges = 60;
    for (unsigned n = 0; n < 10 && hedges > 1; n++) {
        unsigned sends = 0;
        fresh(r);
        for (unsigned i = 0; i < 60; i++) {
            sends += call(r, w, route).sends;
        }
        hedges = sends - 60;
        /* What lost is not to be seen behind the reset. It may have been stopped before it was read, then it never is. */
        for (unsigned i = 0; i < 100 && seen(r, 0, PING) + seen(r, 1, PING) < sends; i++) {
            rig_sleep_ms(5);
        }
    }
    fresh(r);
}

static void save_up(struct rig *r, struct weir *w)
{
    save_up_for(r, w, "sim.ping");
}

static void until_seen(struct rig *r, unsigned i, const char *path, unsigned cnt)
{
    for (unsigned n = 0; n < 1000 && seen(r, i, path) < cnt; n++) {
        rig_sleep_ms(5);
    }
}

/* Until the worker has taken so many calls to this route: each of them is on its way by then, or waits for another one. */
static void until_taken(struct weir *w, const char *route, uint64_t cnt)
{
    for (unsigned n = 0; n < 10000 && stats(w, route).calls < cnt; n++) {
        rig_sleep_ms(1);
    }
}

/* ---------------------------------------------------------------------------------------------- one call */

/* The first server is slow: the second one's answer is the call's, and both have seen it. */
static void won(struct rig *r, struct weir *w)
{
    save_up(r, w);
    /* Behind it: one of those calls may have had a permit for a hedge that was not sent any more, because its answer came. */
    struct weir_shm_route_stats before = stats(w, "sim.ping");
    fault(r, 0, "{\"kind\": \"slow_first_byte\", \"delay_ms\": " SLOW_MS ", \"count\": 1}");
    uint64_t began_ns = weir_now_ns(w);
    struct weir_response a = call(r, w, "sim.ping");
    CHECK(r, weir_now_ns(w) - began_ns < SLOW_NS, "not as slow as the first");
    CHECK_INT(r, a.result, WEIR_RESULT_DONE);
    CHECK_INT(r, a.status, 200);
    CHECK_INT(r, a.sends, 2);
    CHECK_INT(r, seen(r, 0, PING), 1);
    CHECK_INT(r, seen(r, 1, PING), 1);
    struct weir_shm_route_stats now = stats(w, "sim.ping");
    CHECK(r, now.hedges > before.hedges && now.hedges_won > before.hedges_won, "counted");
    CHECK_INT(r, now.granted[WEIR_PRIORITY_LOW] - before.granted[WEIR_PRIORITY_LOW],
              now.hedges - before.hedges);
    /* What the route leaves out is sent once. */
    fresh(r);
    fault(r, 0, "{\"kind\": \"slow_first_byte\", \"delay_ms\": 500, \"count\": 1}");
    a = call(r, w, "sim.plain");
    CHECK_INT(r, a.sends, 1);
    CHECK_INT(r, seen(r, 1, PING), 0);
}

/* An answer that is no good is not taken while the other one is on its way, whichever is which. */
static void no_good(struct rig *r, struct weir *w)
{
    save_up(r, w);
    fault(r, 0, "{\"kind\": \"status\", \"status\": 503, \"delay_ms\": 400, \"count\": 1}");
    fault(r, 1, "{\"kind\": \"slow_first_byte\", \"delay_ms\": 1500, \"count\": 1}");
    struct weir_response a = call(r, w, "sim.ping");
    CHECK_INT(r, a.status, 200);
    CHECK_INT(r, a.sends, 2);
    save_up(r, w);
    fault(r, 0, "{\"kind\": \"slow_first_byte\", \"delay_ms\": 1500, \"count\": 1}");
    fault(r, 1, "{\"kind\": \"status\", \"status\": 503, \"count\": 1}");
    a = call(r, w, "sim.ping");
    CHECK_INT(r, a.status, 200);
    CHECK_INT(r, a.sends, 2);
    save_up(r, w);
    fault(r, 0, "{\"kind\": \"half_body\", \"delay_ms\": 400, \"count\": 1}");
    fault(r, 1, "{\"kind\": \"slow_first_byte\", \"delay_ms\": 1500, \"count\": 1}");
    a = call(r, w, "sim.ping");
    CHECK_INT(r, a.status, 200);
    CHECK_INT(r, a.sends, 2);
    /* Both: the call ends as one attempt would, with an answer that came. */
    save_up(r, w);
    fault(r, 0, "{\"kind\": \"status\", \"status\": 503, \"delay_ms\": 400, \"count\": 1}");
    fault(r, 1, "{\"kind\": \"status\", \"status\": 502, \"delay_ms\": 800, \"count\": 1}");
    a = call(r, w, "sim.ping");
    CHECK_INT(r, a.result, WEIR_RESULT_DONE);
    CHECK(r, a.status == 502 || a.status == 503, "status %u", a.status);
    CHECK_INT(r, a.sends, 2);
    CHECK_INT(r, seen(r, 0, PING) + seen(r, 1, PING), 2);
}

/* No permit now: no hedge, and nobody waits for one. An order is never sent again. */
static void never(struct rig *r, struct weir *w)
{
    save_up(r, w);
    fault(r, 0, "{\"kind\": \"slow_first_byte\", \"delay_ms\": 1500, \"count\": 1}");
    struct weir_response a = call(r, w, "sim.rare");
    CHECK_INT(r, a.status, 200);
    CHECK_INT(r, a.sends, 1);
    CHECK_INT(r, stats(w, "sim.rare").hedges, 0);
    CHECK_INT(r, stats(w, "sim.rare").hedges_refused, 1);
    CHECK_INT(r, seen(r, 0, PING) + seen(r, 1, PING), 1);
    fresh(r);
    for (unsigned i = 0; i < 10; i++) {
        char body[64];
        weir_ticket t;
        struct weir_request_spec spec = spec_of(w, "sim.order");
        fault(r, 0, "{\"kind\": \"slow_first_byte\", \"delay_ms\": 200, \"count\": 1}");
        (void)snprintf(body, sizeof body, "newClientOrderId=h-%u", i);
        spec.body = body;
        spec.body_bytes = strlen(body);
        CHECK_INT(r, weir_submit(w, &spec, &t), 0);
        CHECK_INT(r, wait(r, w, t).sends, 1);
    }
    CHECK_INT(r, seen(r, 0, ORDER) + seen(r, 1, ORDER), 10);
    CHECK_INT(r, stats(w, "sim.order").hedges, 0);
}

/* ---------------------------------------------------------------------------------------------- taken back */

static uint64_t cancel(struct rig *r, struct weir *w, weir_ticket t, struct weir_response *a)
{
    uint64_t began_ns = weir_now_ns(w);
    CHECK_INT(r, weir_cancel(w, t), WEIR_E_CANCEL_LATE);
    *a = wait(r, w, t);
    return weir_now_ns(w) - began_ns;
}

static void taken_back(struct rig *r, struct weir *w)
{
    struct weir_response a;
    fresh(r);
    fault(r, 0, "{\"kind\": \"slow_first_byte\", \"delay_ms\": " SLOW_MS "}");
    fault(r, 1, "{\"kind\": \"slow_first_byte\", \"delay_ms\": " SLOW_MS "}");
    weir_ticket t = submit(r, w, "sim.plain");
    until_seen(r, 0, PING, 1);
    CHECK(r, cancel(r, w, t, &a) < SLOW_NS, "at once");
    CHECK_INT(r, a.result, WEIR_RESULT_CANCELLED);
    CHECK_INT(r, a.sends, 1);
    CHECK_INT(r, a.status, 0);
    /* with its hedge */
    t = submit(r, w, "sim.ping");
    until_seen(r, 1, PING, 1);
    CHECK(r, cancel(r, w, t, &a) < SLOW_NS, "both at once");
    CHECK_INT(r, a.result, WEIR_RESULT_CANCELLED);
    CHECK_INT(r, a.sends, 2);
    /* An order is followed: only its answer says what became of it. */
    fresh(r);
    fault(r, 0, "{\"kind\": \"slow_first_byte\", \"delay_ms\": 800, \"count\": 1}");
    struct weir_request_spec spec = spec_of(w, "sim.order");
    spec.body = "newClientOrderId=c-1";
    spec.body_bytes = strlen(spec.body);
    CHECK_INT(r, weir_submit(w, &spec, &t), 0);
    until_seen(r, 0, ORDER, 1);
    (void)cancel(r, w, t, &a);
    CHECK_INT(r, a.result, WEIR_RESULT_DONE);
    CHECK_INT(r, a.status, 200);
    CHECK_INT(r, a.sends, 1);
}

/* ---------------------------------------------------------------------------------------------- many */

static uint64_t joined(struct weir *w)
{
    const struct weir_shm_cache_route *all =
        rig_board(w, WEIR_SECTION_CACHE_ROUTE, sizeof(struct weir_shm_cache_route));
    return weir_load_relaxed_u64(
        &all[rig_route(w, "soon.same")].coalesced); /* relaxed: as monitors read it */
}

/* No call before asked so: its answer is not at hand. */
static const char *new_query(void)
{
    static unsigned cnt;
    static char query[32];
    (void)snprintf(query, sizeof query, "scene=%u", cnt++);
    return query;
}

/* Others wait for the one that is late: its hedge is theirs. */
static void coalesced(struct rig *r, struct weir *w)
{
    weir_ticket t[3];
    save_up_for(r, w, "soon.ping");
    const char *query = new_query();
    uint64_t before = joined(w);
    fault(r, 0, "{\"kind\": \"slow_first_byte\", \"delay_ms\": " SLOW_MS ", \"count\": 1}");
    uint64_t began_ns = weir_now_ns(w);
    for (unsigned i = 0; i < 3; i++) {
        t[i] = submit_query(r, w, "soon.same", query);
    }
    for (unsigned i = 0; i < 3; i++) {
        struct weir_response a = wait(r, w, t[i]);
        CHECK_INT(r, a.status, 200);
        CHECK(r, strstr(a.body != NULL ? (const char *)a.body : "", "serverTime") != NULL, "whole");
    }
    CHECK(r, weir_now_ns(w) - began_ns < SLOW_NS, "not as slow as the first");
    CHECK_INT(r, joined(w) - before, 2);
    CHECK_INT(r, seen(r, 0, TIME) + seen(r, 1, TIME), 2);
}

/* One who takes its call back takes it from nobody who waits for it. */
static void coalesced_taken_back(struct rig *r, struct weir *w)
{
    weir_ticket t[2];
    save_up_for(r, w, "soon.ping");
    const char *query = new_query();
    uint64_t taken = stats(w, "soon.same").calls;
    fault(r, 0, "{\"kind\": \"slow_first_byte\", \"delay_ms\": 900}");
    fault(r, 1, "{\"kind\": \"slow_first_byte\", \"delay_ms\": 900}");
    t[0] = submit_query(r, w, "soon.same", query);
    until_seen(r, 0, TIME, 1);
    until_seen(r, 1, TIME, 1);
    t[1] = submit_query(r, w, "soon.same", query);
    until_taken(w, "soon.same", taken + 2);
    CHECK_INT(r, weir_cancel(w, t[0]), WEIR_E_CANCEL_LATE);
    CHECK_INT(r, wait(r, w, t[1]).status, 200);
    CHECK_INT(r, wait(r, w, t[0]).result, WEIR_RESULT_DONE);
    CHECK_INT(r, seen(r, 0, TIME) + seen(r, 1, TIME), 2);
}

/* The worker dies with both on the wire: one outcome, and no more than one call of the next worker's. */
static void worker_dies(struct rig *r, struct weir *w)
{
    save_up(r, w);
    fault(r, 0, "{\"kind\": \"slow_first_byte\", \"delay_ms\": " SLOW_MS ", \"count\": 1}");
    fault(r, 1, "{\"kind\": \"slow_first_byte\", \"delay_ms\": " SLOW_MS ", \"count\": 1}");
    weir_ticket t = submit(r, w, "sim.ping");
    until_seen(r, 1, PING, 1);
    rig_worker_kill(r);
    struct weir_response a = wait(r, w, t);
    CHECK_INT(r, a.result, WEIR_RESULT_DONE);
    CHECK_INT(r, a.status, 200);
    CHECK_INT(r, a.sends, 3);
    CHECK_INT(r, seen(r, 0, PING) + seen(r, 1, PING), 3);
}

enum { CALLS = 480, AT_ONCE = 16 };

/* How many of CALLS took as long as the fault makes them. */
static unsigned crowd(struct rig *r, struct weir *w, const char *route, unsigned *sends)
{
    static weir_ticket t[AT_ONCE];
    unsigned slow = 0;
    *sends = 0;
    for (unsigned i = 0; i < CALLS; i += AT_ONCE) {
        uint64_t began_ns = weir_now_ns(w);
        for (unsigned k = 0; k < AT_ONCE; k++) {
            t[k] = submit(r, w, route);
        }
        for (unsigned k = 0; k < AT_ONCE; k++) {
            struct weir_response a = wait(r, w, t[k]);
            slow += a.done_ns - began_ns >= 700 * WEIR_NS_PER_MS;
            *sends += a.sends;
            CHECK_INT(r, a.result, WEIR_RESULT_DONE);
        }
    }
    return slow;
}

/* A few calls of either server are slow: with hedges fewer callers see it, and the budget is kept. */
static void tail(struct rig *r, struct weir *w)
{
    static const char some[] = "{\"kind\": \"slow_first_byte\", \"delay_ms\": 700, "
                               "\"probability\": 0.02}";
    unsigned sends;
    fresh(r);
    fault(r, 0, some);
    fault(r, 1, some);
    unsigned without = crowd(r, w, "sim.plain", &sends);
    CHECK_INT(r, sends, CALLS);
    save_up(r, w);
    fault(r, 0, some);
    fault(r, 1, some);
    struct weir_shm_route_stats before = stats(w, "sim.ping");
    unsigned with = crowd(r, w, "sim.ping", &sends);
    struct weir_shm_route_stats now = stats(w, "sim.ping");
    unsigned hedges = (unsigned)(now.hedges - before.hedges);
    (void)printf("tail: %u of %u slow, with hedges %u; %u hedges, %u won\n", without, CALLS, with,
                 hedges, (unsigned)(now.hedges_won - before.hedges_won));
    CHECK(r, with * 2 <= without, "half of them at most");
    CHECK(r, hedges - (now.hedges_stalled - before.hedges_stalled) <= CALLS / 10 + 5, "the budget");
    CHECK_INT(r, sends, CALLS + hedges);
    CHECK_INT(r, seen(r, 0, PING) + seen(r, 1, PING), sends);
}

/* All is slow: load grows by the budget, and limits hold with hedges as without. */
static void budget(struct rig *r, struct weir *w)
{
    static const char all[] = "{\"kind\": \"slow_first_byte\", \"delay_ms\": 150}";
    unsigned sends = 0;
    save_up(r, w);
    fault(r, 0, all);
    fault(r, 1, all);
    struct weir_shm_route_stats before = stats(w, "sim.ping");
    for (unsigned i = 0; i < 8; i++) {
        weir_ticket t[AT_ONCE];
        for (unsigned k = 0; k < AT_ONCE; k++) {
            t[k] = submit(r, w, "sim.ping");
        }
        for (unsigned k = 0; k < AT_ONCE; k++) {
            (void)wait(r, w, t[k]);
        }
    }
    struct weir_shm_route_stats now = stats(w, "sim.ping");
    /* but for those whose endpoint had stopped answering, which is what 150 ms are to one that took 1 */
    uint64_t paid = now.hedges - before.hedges - (now.hedges_stalled - before.hedges_stalled);
    CHECK(r, paid <= 8 * AT_ONCE / 10 + 5, "the budget");
    CHECK(r, now.hedges - before.hedges <= 3 * AT_ONCE, "an endpoint that answers teaches");
    CHECK(r, now.hedges_unaffordable > before.hedges_unaffordable, "and it was counted");
    fresh(r);
    fault(r, 0, all);
    fault(r, 1, all);
    for (unsigned i = 0; i < 5; i++) {
        weir_ticket t[AT_ONCE];
        for (unsigned k = 0; k < AT_ONCE; k++) {
            struct weir_request_spec spec = spec_of(w, "sim.few");
            spec.deadline_ns = weir_now_ns(w) + 2 * WEIR_NS_PER_S;
            CHECK_INT(r, weir_submit(w, &spec, &t[k]), 0);
        }
        for (unsigned k = 0; k < AT_ONCE; k++) {
            sends += wait(r, w, t[k]).sends;
        }
    }
    unsigned arrived = seen(r, 0, PING) + seen(r, 1, PING);
    PROMISE(r, arrived <= 60, "%u of 60 units arrived", arrived);
    /* A hedge, or whom it overtook, may have been stopped before the server read it. */
    CHECK(r, arrived <= sends && arrived + stats(w, "sim.few").hedges >= sends, "%u of %u", arrived,
          sends);
}

int main(int argc, char **argv)
{
    struct rig r;
    rig_open(&r, "hedge", argc, argv, 110);
    for (unsigned i = 0; i < 2; i++) {
        r.port = 0;
        rig_sim_start(&r, "{\"limits\": []}");
        server[i].pid = r.sim;
        server[i].port = r.port;
    }
    configure(&r, "failover", "    hedge: {after: 60ms, budget: 10%}\n");
    rig_weird_start(&r);
    struct weir *w = rig_attach(&r, WEIR_ROLE_TRADER);
    RIG_SCENE (&r, 200) {
        won(&r, w);
    }
    RIG_SCENE (&r, 100) {
        no_good(&r, w);
    }
    never(&r, w);
    RIG_SCENE (&r, 100) {
        taken_back(&r, w);
    }
    RIG_SCENE (&r, 20) {
        coalesced(&r, w);
    }
    RIG_SCENE (&r, 100) {
        coalesced_taken_back(&r, w);
    }
    RIG_SCENE (&r, 40) {
        worker_dies(&r, w);
    }
    budget(&r, w);
    weir_close(w);
    CHECK_INT(&r, rig_weird_stop(&r, 10000), 0);
    configure(&r, "round_robin", "    hedge: {after: p95, budget: 10%}\n");
    rig_weird_start(&r);
    w = rig_attach(&r, WEIR_ROLE_TRADER);
    RIG_SCENE (&r, 200) {
        tail(&r, w);
    }
    weir_close(w);
    CHECK_INT(&r, rig_weird_stop(&r, 10000), 0);
    (void)kill(server[0].pid, SIGKILL);
    return rig_close(&r);
}
