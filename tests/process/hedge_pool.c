/*
 * hedge_pool.c: hedges go out by another member of the pool (broker/hedge.h, egress.h): another source address, another key. Two real weir-sims, which count by the address that a connection
 * comes from and by the key that they read.
 *
 * Oracle: the counts of both servers together, by caller, against what weir charged to that caller and against its quota; the members that answers name; the board's counters. Times are bounded by
 * seconds: what is slow is slow by more than that.
 */
#include "member_pool.h"
#include "scene.h"

#include "shm/weir_attach.h"

#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define SLOW_MS "2500"
#define SLOW_NS (2500 * WEIR_NS_PER_MS)
#define SLOW    "{\"kind\": \"slow_first_byte\", \"delay_ms\": " SLOW_MS ", \"count\": 1}"

static struct {
    pid_t pid;
    uint16_t port;
} server[2];

static const char sim[] = "{\"limits\": [" POOL_SIM_ADDRESS ", " POOL_SIM_KEY "]}";

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

/* What the servers counted for one caller of a limit, together. */
static unsigned counted(struct rig *r, const char *limit, const char *caller)
{
    unsigned sum = 0;
    for (unsigned s = 0; s < 2; s++) {
        speak_to(r, s);
        long long n = pool_counted(r, limit, caller);
        sum += n > 0 ? (unsigned)n : 0;
    }
    return sum;
}

static unsigned seen(struct rig *r, unsigned i)
{
    speak_to(r, i);
    double n = rig_report(r, "by_path.GET /api/v3/ping");
    return n > 0 ? (unsigned)n : 0;
}

static void configure(struct rig *r)
{
    static const char yaml[] =
        "broker: {name: rig, wake: sleep, log: info}\n"
        "providers:\n" POOL_PROVIDER
        "      - {name: two, kind: sliding_window, quota: 2, window: 90s, scope: ip}\n"
        "    throttle: {status: [429], scope: ip, default: 60s}\n"
        "    hedge: {after: 60ms, budget: 50%%}\n"
        "    balance: failover\n"
        "    endpoints:\n"
        "      - {name: a, url: \"http://127.0.0.1:%u\", connections: 8}\n"
        "      - {name: b, url: \"http://127.0.0.1:%u\", connections: 8}\n"
        "    routes:\n"
        "      - {name: ping, method: GET, path: /api/v3/ping, cost: {w: 1}, timeout: 20s}\n"
        "      - {name: tight, method: GET, path: /api/v3/ping, cost: {two: 1}, timeout: 20s}\n"
        "      - {name: keyed, method: GET, path: /api/v3/ping, cost: {w: 0, k: 1}, timeout: 20s, "
        "signed: true, hedge: true, any_key: true}\n"
        "      - {name: private, method: GET, path: /api/v3/ping, cost: {w: 0, k: 1}, timeout: "
        "20s, "
        "signed: true, hedge: true}\n"
        "  - name: alone\n" /* one host: all that can be another is the address */
        "    clock: {source: none, max_jitter: 20ms}\n"
        "    scopes: {ip: [a, b]}\n"
        "    egress: [{ip: a, address: 127.0.0.2}, {ip: b, address: 127.0.0.3}]\n"
        "    limits: [{name: w, kind: sliding_window, quota: 100, window: 90s, scope: ip}]\n"
        "    hedge: {after: 10ms, budget: 50%%}\n"
        "    endpoints: [{name: a, url: \"http://127.0.0.1:%u\", connections: 8}]\n"
        "    routes: [{name: ping, method: GET, path: /api/v3/ping, cost: {w: 1}, timeout: 20s}]\n";
    char text[4096];
    (void)snprintf(text, sizeof text, yaml, server[0].port, server[1].port, server[0].port);
    rig_config(r, text, 0);
}

static weir_ticket submit(struct rig *r, struct weir *w, const char *route, const char *scope)
{
    weir_ticket t = 0;
    struct weir_request_spec spec = {.struct_bytes = sizeof spec,
                                     .route = rig_route(w, route),
                                     .deadline_ns = weir_now_ns(w) + 20 * WEIR_NS_PER_S};
    if (scope != NULL) {
        CHECK_INT(r, weir_scope_find(w, "sim", scope, &spec.scope), 0);
    }
    CHECK_INT(r, weir_submit(w, &spec, &t), 0);
    return t;
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
    return wait(r, w, submit(r, w, route, NULL));
}

static struct weir_shm_route_stats stats(struct weir *w, const char *route)
{
    const struct weir_shm_route_stats *all =
        rig_board(w, WEIR_SECTION_ROUTE, sizeof(struct weir_shm_route_stats));
    return all[rig_route(w, route)];
}

/* What weir says is used of a limit by one member. */
static unsigned used(struct rig *r, struct weir *w, const char *limit, const char *scope)
{
    weir_scope_id id = 0;
    CHECK_INT(r, weir_scope_find(w, "sim", scope, &id), 0);
    return rig_used(w, limit, id);
}

/* Nothing is slow, and the budget has saved what it may. Weir goes on counting; what servers saw begins anew. */
static void fresh(struct rig *r, struct weir *w, const char *route)
{
    for (unsigned i = 0; i < 2; i++) {
        speak_to(r, i);
        rig_faults_clear(r);
    }
    for (unsigned i = 0; i < 12; i++) {
        CHECK_INT(r, call(r, w, route).status, 200);
    }
    for (unsigned i = 0; i < 2; i++) {
        speak_to(r, i);
        CHECK_INT(r, rig_http(r, "POST", "/sim/reset", "", NULL, 0), 200);
    }
}

static void until_seen(struct rig *r, unsigned i, unsigned cnt)
{
    for (unsigned n = 0; n < 1000 && seen(r, i) < cnt; n++) {
        rig_sleep_ms(5);
    }
}

/* ---------------------------------------------------------------------------------------------- who pays */

/* What each member was charged and what servers counted, since `tally_begin`. */
struct tally {
    const char *limit, *of; /* weir's limit, and the servers' */
    unsigned cnt;
    const char *const *names, *const *callers;
    unsigned before[POOL_ADDRESSES];
};

static struct tally tally_begin(struct rig *r, struct weir *w, const char *limit, bool by_key)
{
    struct tally t = {.limit = limit,
                      .of = by_key ? "k" : "w",
                      .cnt = by_key ? POOL_KEYS : POOL_ADDRESSES,
                      .names = by_key ? pool_key_name : pool_address_name,
                      .callers = by_key ? pool_key : pool_address};
    for (unsigned i = 0; i < t.cnt; i++) {
        t.before[i] = used(r, w, limit, t.names[i]);
    }
    return t;
}

/* Each member paid for what it sent, once; with `dead` at least. How many members sent something? */
static unsigned tally_end(struct rig *r, struct weir *w, const struct tally *t, bool dead)
{
    unsigned senders = 0;
    for (unsigned i = 0; i < t->cnt; i++) {
        unsigned charged = used(r, w, t->limit, t->names[i]) - t->before[i];
        unsigned n = counted(r, t->of, t->callers[i]);
        rig_check(r, dead ? charged >= n : charged == n, __FILE__, __LINE__,
                  "%s %s: %u charged, %u counted", t->limit, t->names[i], charged, n);
        senders += n > 0;
    }
    return senders;
}

/* ---------------------------------------------------------------------------------------------- one call */

/* The other members are full: the hedge is made by the one that has something left, and where nobody has there is none. */
static void others_full(struct rig *r, struct weir *w)
{
    fresh(r, w, "sim.ping");
    struct tally t = tally_begin(r, w, "sim.two", false);
    for (unsigned i = 0; i < POOL_ADDRESSES; i++) { /* 6 units in all: each of these takes two */
        fault(r, 0, SLOW);
        struct weir_response a = call(r, w, "sim.tight");
        CHECK_INT(r, a.status, 200);
        CHECK_INT(r, a.sends, 2);
        for (unsigned k = 0; k < 2; k++) {
            speak_to(r, k);
            rig_faults_clear(r);
        }
    }
    CHECK_INT(r, tally_end(r, w, &t, false), POOL_ADDRESSES);
    for (unsigned i = 0; i < POOL_ADDRESSES; i++) {
        CHECK_INT(r, counted(r, "w", pool_address[i]), 2);
    }
    struct weir_response a = call(r, w, "sim.tight");
    CHECK_INT(r, a.result, WEIR_RESULT_REFUSED);
}

/* One unit is left, and the first attempt takes it. */
static void nothing_left(struct rig *r, struct weir *w)
{
    for (unsigned i = 0; i < 5; i++) {
        CHECK_INT(r, call(r, w, "sim.tight").status, 200);
    }
    fresh(r, w, "sim.ping");
    struct weir_shm_route_stats before = stats(w, "sim.tight");
    struct tally t = tally_begin(r, w, "sim.two", false);
    fault(r, 0, "{\"kind\": \"slow_first_byte\", \"delay_ms\": 600, \"count\": 1}");
    struct weir_response a = call(r, w, "sim.tight");
    CHECK_INT(r, a.status, 200);
    CHECK_INT(r, a.sends, 1);
    CHECK_INT(r, stats(w, "sim.tight").hedges_refused - before.hedges_refused, 1);
    CHECK_INT(r, tally_end(r, w, &t, false), 1);
}

/* Who was told to stop is no hedge, nor a probe of its own way back. */
static void others_paused(struct rig *r, struct weir *w)
{
    char first[64];
    char next[64];
    fresh(r, w, "sim.ping");
    fault(r, 0, "{\"kind\": \"status\", \"status\": 429, \"count\": 1}");
    struct weir_response stopped = call(r, w, "sim.ping");
    CHECK_INT(r, stopped.status, 429);
    (void)pool_member(r, w, &stopped, first);
    fresh(r, w, "sim.ping");
    struct tally t = tally_begin(r, w, "sim.w", false);
    fault(r, 0, SLOW);
    struct weir_response a = call(r, w, "sim.ping");
    CHECK_INT(r, a.sends, 2);
    CHECK_INT(r, tally_end(r, w, &t, false), 2);
    for (unsigned i = 0; i < POOL_ADDRESSES; i++) {
        CHECK(r, strcmp(pool_address_name[i], first) != 0 || counted(r, "w", pool_address[i]) == 0,
              "%s was told to stop", first);
    }
    CHECK(r, strcmp(pool_member(r, w, &a, next), first) != 0, "%s answered", first);
    CHECK_INT(r, rig_operate(r, WEIR_OPERATION_RESUME, "sim", 0), 0);
}

/* The hedge wins: the answer is its member's, both have paid, each for itself. */
static void won(struct rig *r, struct weir *w)
{
    char name[64];
    fresh(r, w, "sim.ping");
    struct tally t = tally_begin(r, w, "sim.w", false);
    fault(r, 0, SLOW);
    uint64_t began_ns = weir_now_ns(w);
    struct weir_response a = call(r, w, "sim.ping");
    CHECK(r, weir_now_ns(w) - began_ns < SLOW_NS, "not as slow as the first");
    CHECK_INT(r, a.status, 200);
    CHECK_INT(r, a.sends, 2);
    CHECK_INT(r, seen(r, 0), 1);
    CHECK_INT(r, seen(r, 1), 1);
    CHECK_INT(r, tally_end(r, w, &t, false), 2);
    /* The second server saw the winner alone. */
    (void)pool_member(r, w, &a, name);
    speak_to(r, 1);
    json_t *report = rig_json(r, "/sim/report");
    size_t i;
    json_t *row;
    json_array_foreach(json_object_get(report, "limits"), i, row)
    {
        const char *caller = json_string_value(json_object_get(row, "caller"));
        for (unsigned k = 0; k < POOL_ADDRESSES; k++) {
            CHECK(r,
                  strcmp(caller, pool_address[k]) != 0 || strcmp(name, pool_address_name[k]) == 0,
                  "%s answered, %s asked", name, caller);
        }
    }
    json_decref(report);
}

/* The hedge loses: the answer is the first one's. */
static void lost(struct rig *r, struct weir *w)
{
    fresh(r, w, "sim.ping");
    struct tally t = tally_begin(r, w, "sim.w", false);
    fault(r, 0, "{\"kind\": \"slow_first_byte\", \"delay_ms\": 400, \"count\": 1}");
    fault(r, 1, SLOW);
    struct weir_response a = call(r, w, "sim.ping");
    CHECK_INT(r, a.status, 200);
    CHECK_INT(r, a.sends, 2);
    CHECK_INT(r, tally_end(r, w, &t, false), 2);
}

/* ---------------------------------------------------------------------------------------------- keys */

/* The other key signs its own, and pays its own. */
static void by_key(struct rig *r, struct weir *w)
{
    fresh(r, w, "sim.keyed");
    struct tally t = tally_begin(r, w, "sim.k", true);
    fault(r, 0, SLOW);
    struct weir_response a = call(r, w, "sim.keyed");
    CHECK_INT(r, a.status, 200);
    CHECK_INT(r, a.sends, 2);
    CHECK_INT(r, tally_end(r, w, &t, false), 2);
    /* A call that names its key has both by that one. */
    fresh(r, w, "sim.keyed");
    t = tally_begin(r, w, "sim.k", true);
    fault(r, 0, SLOW);
    a = wait(r, w, submit(r, w, "sim.private", "key=k2"));
    CHECK_INT(r, a.status, 200);
    CHECK_INT(r, a.sends, 2);
    CHECK_INT(r, tally_end(r, w, &t, false), 1);
    CHECK_INT(r, counted(r, "k", "key-2"), 2);
}

/* The other key is revoked: its 401 is no answer to a call whose own key is good; nor does a first one's keep the other's from being heard. */
static void revoked(struct rig *r, struct weir *w)
{
    fresh(r, w, "sim.keyed");
    struct tally t = tally_begin(r, w, "sim.k", true);
    fault(r, 0, "{\"kind\": \"slow_first_byte\", \"delay_ms\": 600, \"count\": 1}");
    fault(r, 1, "{\"kind\": \"status\", \"status\": 401, \"count\": 1}");
    struct weir_response a = call(r, w, "sim.keyed");
    CHECK_INT(r, a.status, 200);
    CHECK_INT(r, a.sends, 2);
    (void)tally_end(r, w, &t, true);
    fresh(r, w, "sim.keyed");
    fault(r, 0, "{\"kind\": \"status\", \"status\": 401, \"delay_ms\": 300, \"count\": 1}");
    fault(r, 1, "{\"kind\": \"slow_first_byte\", \"delay_ms\": 900, \"count\": 1}");
    a = call(r, w, "sim.keyed");
    CHECK_INT(r, a.status, 200);
    CHECK_INT(r, a.sends, 2);
    /* Both: the call has an answer that came. */
    fresh(r, w, "sim.keyed");
    fault(r, 0, "{\"kind\": \"status\", \"status\": 401, \"delay_ms\": 300, \"count\": 1}");
    fault(r, 1, "{\"kind\": \"status\", \"status\": 401, \"delay_ms\": 600, \"count\": 1}");
    a = call(r, w, "sim.keyed");
    CHECK_INT(r, a.result, WEIR_RESULT_DONE);
    CHECK_INT(r, a.status, 401);
    CHECK_INT(r, a.sends, 2);
}

/* One host: the hedge goes there too, from another address. */
static void one_host(struct rig *r, struct weir *w)
{
    fresh(r, w, "alone.ping");
    fault(r, 0, SLOW);
    uint64_t began_ns = weir_now_ns(w);
    struct weir_response a = call(r, w, "alone.ping");
    CHECK_INT(r, a.status, 200);
    CHECK_INT(r, a.sends, 2);
    CHECK(r, weir_now_ns(w) - began_ns < SLOW_NS, "not as slow as the first");
    CHECK_INT(r, seen(r, 0), 2);
    CHECK_INT(r, counted(r, "w", pool_address[0]), 1);
    CHECK_INT(r, counted(r, "w", pool_address[1]), 1);
}

/* The worker dies with both on the wire: each member stays charged for its own, and the call is made once, anew. */
static void worker_dies(struct rig *r, struct weir *w)
{
    fresh(r, w, "sim.ping");
    struct tally t = tally_begin(r, w, "sim.w", false);
    fault(r, 0, SLOW);
    fault(r, 1, SLOW);
    weir_ticket call = submit(r, w, "sim.ping", NULL);
    until_seen(r, 1, 1);
    rig_worker_kill(r);
    struct weir_response a = wait(r, w, call);
    CHECK_INT(r, a.status, 200);
    CHECK_INT(r, a.sends, 3);
    CHECK_INT(r, seen(r, 0) + seen(r, 1), 3);
    CHECK(r, tally_end(r, w, &t, true) >= 2, "of two members at least");
}

static void broker_start(struct rig *r)
{
    configure(r);
    rig_weird_start(r);
}

/* Another broker: nothing is used of any limit. */
static struct weir *broker_again(struct rig *r, struct weir *w)
{
    weir_close(w);
    pool_forget(r);
    broker_start(r);
    return rig_attach(r, WEIR_ROLE_TRADER);
}

static void (*const scenes[])(struct rig *r, struct weir *w) = {
    others_full, nothing_left, others_paused, won, lost, by_key, revoked, one_host, worker_dies};

int main(int argc, char **argv)
{
    struct rig r;
    rig_open(&r, "hedge_pool", argc, argv, 110);
    for (unsigned i = 0; i < 2; i++) {
        r.port = 0;
        rig_sim_start(&r, sim);
        server[i].pid = r.sim;
        server[i].port = r.port;
    }
    broker_start(&r);
    struct weir *w = rig_attach(&r, WEIR_ROLE_TRADER);
    for (size_t i = 0; i < WEIR_ARRAY_CNT(scenes); i++) {
        RIG_SCENE (&r, 100) /* a hedge has to be out before something else happens */
        {
            w = broker_again(&r, w);
            scenes[i](&r, w);
        }
    }
    weir_close(w);
    CHECK_INT(&r, rig_weird_stop(&r, 10000), 0);
    (void)kill(server[0].pid, SIGKILL);
    return rig_close(&r);
}
