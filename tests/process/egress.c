/*
 * egress.c: a pool of source addresses and keys. Calls leave from the member with the most headroom; each member has its own limits.
 *
 * Oracle: weir-sim, which counts by the address that a connection really comes from and by the key that it reads from the
 * call. Windows are so long that none ends while a part of the test runs, so the sum of the quotas is a number and not a rate: no member may have more than its own,
 * and what is missing of all together is only what dead processes took along. Workers and strategies are killed meanwhile, and one address is banned.
 */
#include "member_pool.h"

#include "shm/weir_atomic.h"
#include "shm/weir_attach.h"

#include <curl/curl.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { DONE = 0, THROTTLED = 1, REFUSED = 2, OTHER = 3 }; /* r->shared->count */

#define SIM_HEAD                                                                         \
    "{\"latency_ms\": 1, \"jitter_ms\": 3, \"ban_after\": 3, \"ban_first_ms\": 600000, " \
    "\"ban_max_ms\": 600000, \"limits\": ["

/* It counts each call by its address and by its key, "" where there is none. */
static const char *const by_address = SIM_HEAD POOL_SIM_ADDRESS "]}";
static const char *const by_key = SIM_HEAD POOL_SIM_KEY "]}";
static const char *const by_both = SIM_HEAD POOL_SIM_ADDRESS ", " POOL_SIM_KEY "]}";

static void config(struct rig *r)
{
    rig_config(
        r,
        "broker: {name: rig, wake: sleep, log: info, audit: 256}\n"
        "providers:\n" POOL_PROVIDER "    throttle: {status: [429, 418], scope: ip, default: 60s}\n"
        "    retry: {attempts: 3, base: 1ms}\n"
        "    endpoints: [{name: e, url: \"http://127.0.0.1:$PORT\", connections: 4}]\n"
        "    routes:\n"
        "      - {name: ping, method: GET, path: /api/v3/ping, cost: {w: 1}, timeout: 10s}\n"
        "      - {name: keyed, method: GET, path: /api/v3/ping, cost: {w: 0, k: 1}, timeout: 10s, "
        "signed: true, any_key: true, headers: [accept]}\n"
        "      - {name: private, method: GET, path: /api/v3/ping, cost: {w: 0, k: 1}, timeout: "
        "10s, "
        "signed: true, headers: [accept]}\n"
        "      - {name: own, transport: own, cost: {w: 1}}\n",
        0);
}

static struct weir_response call(struct weir *w, const char *route, const char *scope)
{
    struct weir_request_spec spec = {.struct_bytes = sizeof spec, .route = rig_route(w, route)};
    struct weir_response a = {0};
    int rc = scope != NULL ? weir_scope_find(w, "sim", scope, &spec.scope) : 0;
    rc = rc != 0 ? rc : weir_call(w, &spec, weir_now_ns(w) + 8 * WEIR_NS_PER_S, &a);
    if (rc != 0) {
        a.result = WEIR_RESULT_UNSET;
        a.error = rc;
    } else {
        (void)weir_release(w, a.ticket);
    }
    return a;
}

/* Another exchange, another broker: nothing is used of any limit. */
static void fresh(struct rig *r, const char *sim)
{
    pool_forget(r);
    rig_sim_stop(r);
    rig_sim_start(r, sim);
    config(r);
    rig_weird_start(r);
}

/* ---------------------------------------------------------------------------------------------- the sum of all quotas */

/* Call until nobody of the pool has anything left. */
static int flood(struct rig *r, int keyed)
{
    struct weir *w = rig_attach(r, WEIR_ROLE_CALLER);
    const struct weir_request_spec spec = {.struct_bytes = sizeof spec,
                                           .route = rig_route(w, keyed ? "sim.keyed" : "sim.ping")};
    bool on = true;
    while (on) {
        struct weir_response a = {0};
        int rc = weir_call(w, &spec, weir_now_ns(w) + 8 * WEIR_NS_PER_S, &a);
        if (rc != 0) {
            return 1;
        }
        on = a.result != WEIR_RESULT_REFUSED;
        weir_fetch_add_u32(&r->shared->count[a.result == WEIR_RESULT_REFUSED ? REFUSED
                                             : a.result != WEIR_RESULT_DONE  ? OTHER
                                             : a.status == 200               ? DONE
                                                                             : THROTTLED],
                           1);
        (void)weir_release(w, a.ticket);
    }
    weir_close(w);
    return 0;
}

/* Strategies flood while one of them and two workers are killed. */
static void flooded(struct rig *r, int keyed)
{
    pid_t pid[3];
    memset(r->shared->count, 0, sizeof r->shared->count);
    for (unsigned i = 0; i < 3; i++) {
        pid[i] = rig_fork(r, flood, keyed);
    }
    rig_sleep_ms(60);
    rig_worker_kill(r);
    (void)kill(pid[0], SIGKILL);
    rig_sleep_ms(40);
    rig_worker_kill(r);
    (void)rig_wait(pid[0], 1000);
    CHECK_INT(r, rig_wait(pid[1], 60000), 0);
    CHECK_INT(r, rig_wait(pid[2], 60000), 0);
    CHECK_INT(r, r->shared->count[THROTTLED], 0);
    CHECK(r, r->shared->count[REFUSED] > 0, "used up in the end");
}

static void sums(struct rig *r)
{
    long long sum = 0;
    flooded(r, 1);
    for (unsigned i = 0; i < POOL_KEYS; i++) {
        long long n = pool_counted(r, "k", pool_key[i]);
        (void)printf("%s: %lld of %d\n", pool_key[i], n, POOL_QUOTA);
        CHECK(r, n > 0);
        PROMISE(r, n <= POOL_QUOTA, "no key beyond its own");
        sum += n;
    }
    CHECK(r, 100 * sum >= 95 * POOL_KEYS * POOL_QUOTA, "%lld calls by all keys", sum);
    PROMISE_INT(r, rig_report(r, "violations"), 0);

    fresh(r, by_address);
    flooded(r, 0);
    sum = 0;
    for (unsigned i = 0; i < POOL_ADDRESSES; i++) {
        long long n = pool_counted(r, "w", pool_address[i]);
        (void)printf("%s: %lld of %d\n", pool_address[i], n, POOL_QUOTA);
        CHECK(r, n > 0);
        PROMISE(r, n <= POOL_QUOTA, "no address beyond its own");
        sum += n;
    }
    CHECK(r, 100 * sum >= 95 * POOL_ADDRESSES * POOL_QUOTA, "%lld calls from all addresses", sum);
    CHECK_INT(r, pool_counted(r, "w", "127.0.0.1"), -1);
    PROMISE_INT(r, rig_report(r, "violations"), 0);
}

/* ---------------------------------------------------------------------------------------------- who makes it */

static void names(struct rig *r, struct weir *w)
{
    char text[64];
    /* An address that is named is the one, though others have more left. */
    for (unsigned i = 0; i < 10; i++) {
        struct weir_response a = call(w, "sim.ping", "ip=b");
        CHECK_INT(r, a.status, 200);
        CHECK_TEXT(r, pool_member(r, w, &a, text), "ip=b");
    }
    CHECK_INT(r, pool_counted(r, "w", "127.0.0.3"), 10);
    CHECK_INT(r, pool_counted(r, "w", "127.0.0.2"), -1);
    /* The others until they are level, each in its turn; connections are kept by address: b's four are free all the time. */
    for (unsigned i = 0; i < 20; i++) {
        struct weir_response a = call(w, "sim.ping", NULL);
        CHECK_INT(r, a.status, 200);
        CHECK(r, strcmp(pool_member(r, w, &a, text), "ip=b") != 0, "b has the least headroom");
    }
    CHECK_INT(r, pool_counted(r, "w", "127.0.0.2"), 10);
    CHECK_INT(r, pool_counted(r, "w", "127.0.0.3"), 10);
    CHECK_INT(r, pool_counted(r, "w", "127.0.0.4"), 10);
    /* A call that is somebody's is never moved, and not made where nobody says whose it is. */
    struct weir_response a = call(w, "sim.private", NULL);
    CHECK_INT(r, a.result, WEIR_RESULT_REJECTED);
    CHECK_INT(r, a.error, WEIR_E_KEY_MISSING);
    for (unsigned i = 0; i < 6; i++) {
        a = call(w, "sim.private", "key=k2");
        CHECK_INT(r, a.status, 200);
        CHECK(r, strstr(pool_member(r, w, &a, text), "key=k2") != NULL, "%s", text);
    }
    CHECK_INT(r, pool_counted(r, "k", "key-2"), 6);
    CHECK_INT(r, pool_counted(r, "k", "key-1"), -1);
    /* ... while any key will do there: the one with more left. */
    a = call(w, "sim.keyed", NULL);
    CHECK(r, strstr(pool_member(r, w, &a, text), "key=k1") != NULL, "%s", text);
    CHECK_INT(r, weir_scope_find(w, "sim", "ip=d", &(weir_scope_id){0}), WEIR_E_SCOPE_UNKNOWN);
}

/* A trader asks who has most, and takes the permit there. */
static void trader(struct rig *r)
{
    struct weir *w = rig_attach(r, WEIR_ROLE_TRADER);
    weir_route_id own = rig_route(w, "sim.own");
    unsigned granted = 0;
    unsigned of_b = 0;
    struct weir_permit p;
    weir_scope_id scope;
    char text[64];
    CHECK_INT(r, weir_permit_try(w, own, 0, NULL, WEIR_PRIORITY_HIGH, &p), WEIR_E_SCOPE_UNKNOWN);
    while (weir_scope_best(w, own, 0, NULL, WEIR_PRIORITY_HIGH, &scope) == 0 &&
           weir_permit_try(w, own, scope, NULL, WEIR_PRIORITY_HIGH, &p) == 0 && granted < 1000) {
        granted++;
        CHECK_INT(r, weir_scope_text(w, own, scope, text, sizeof text), 0);
        of_b += strcmp(text, "ip=b") == 0;
    }
    CHECK_INT(r, granted, POOL_ADDRESSES * (POOL_QUOTA - 10)); /* ten were used of each */
    CHECK_INT(r, of_b, POOL_QUOTA - 10);
    CHECK_INT(r, weir_scope_best(w, own, 0, NULL, WEIR_PRIORITY_HIGH, &scope), WEIR_DENIED);
    CHECK_INT(r, weir_permit_try(w, own, scope, NULL, WEIR_PRIORITY_HIGH, &p), WEIR_DENIED);
    CHECK_INT(r, p.denial.reason, WEIR_REASON_LIMIT_FULL);
    weir_close(w);
}

/* ---------------------------------------------------------------------------------------------- one is told to stop */

static size_t swallow(char *at, size_t one, size_t bytes, void *arg)
{
    (void)at;
    (void)arg;
    return one * bytes;
}

/* Somebody else on this host gets 127.0.0.3 banned. Returns the last status. */
static long ban(struct rig *r)
{
    char url[64];
    long status = 0;
    CURL *curl = curl_easy_init();
    (void)snprintf(url, sizeof url, "http://127.0.0.1:%u/api/v3/ping", r->port);
    (void)curl_easy_setopt(curl, CURLOPT_URL, url);
    (void)curl_easy_setopt(curl, CURLOPT_INTERFACE, "host!127.0.0.3");
    (void)curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, swallow);
    for (unsigned i = 0; i < POOL_QUOTA + 20 && status != 418; i++) {
        (void)curl_easy_perform(curl);
        (void)curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    }
    curl_easy_cleanup(curl);
    return status;
}

static void stopped(struct rig *r, struct weir *w)
{
    char text[64];
    unsigned banned = 0;
    CHECK_INT(r, ban(r), 418);
    for (unsigned i = 0; i < 60; i++) {
        struct weir_response a = call(w, "sim.ping", NULL);
        bool is_b = strcmp(pool_member(r, w, &a, text), "ip=b") == 0;
        CHECK_INT(r, a.status, is_b ? 418 : 200);
        banned += is_b;
        if (i == 30) {
            rig_worker_kill(r); /* the pause is in the ledger, by address */
        }
    }
    CHECK_INT(r, banned, 1);
    CHECK(r, rig_log_has(r, "sim ip=b"), "the log says who is paused");
    /* Who names it is refused, with the reason; a trader sees the same pause. */
    struct weir_response a = call(w, "sim.ping", "ip=b");
    CHECK_INT(r, a.result, WEIR_RESULT_REFUSED);
    CHECK_INT(r, a.denial.reason, WEIR_REASON_PAUSED);
    /* A 429 with Retry-After: the next attempt is another member's, and need not wait for it. */
    rig_fault(r, "{\"kind\": \"status\", \"status\": 429, \"retry_after_s\": 50, \"count\": 1}");
    a = call(w, "sim.ping", NULL);
    CHECK_INT(r, a.status, 200);
    CHECK_INT(r, a.sends, 2);
    (void)pool_member(r, w, &a, text);
    for (unsigned i = 0; i < 10; i++) {
        char other[64];
        a = call(w, "sim.ping", NULL);
        CHECK_INT(r, a.status, 200);
        CHECK_TEXT(r, pool_member(r, w, &a, other), text);
    }
    /* An operator lets all of them go again. */
    CHECK_INT(r, rig_operate(r, WEIR_OPERATION_RESUME, "sim", 0), 0);
    a = call(w, "sim.ping", "ip=a");
    CHECK_INT(r, a.status, 200);
    a = call(w, "sim.ping", "ip=c");
    CHECK_INT(r, a.status, 200);
}

/* An address that this host has not: said when weird starts, and by --check. */
static void refused_start(struct rig *r)
{
    char out[4096];
    rig_config(r,
               "broker: {name: rig}\n"
               "providers:\n"
               "  - name: sim\n"
               "    clock: {source: none}\n"
               "    scopes: {ip: [a, b]}\n"
               "    egress:\n"
               "      - {ip: a, address: 127.0.0.2}\n"
               "      - {ip: b, address: 203.0.113.77}\n"
               "    limits: [{name: w, kind: token_bucket, quota: 10, window: 1s, scope: ip}]\n"
               "    endpoints: [{name: e, url: \"http://127.0.0.1:$PORT\"}]\n"
               "    routes: [{name: p, method: GET, path: /p, cost: {w: 1}}]\n",
               0);
    CHECK_INT(r, rig_weird_run(r, "--check", out, sizeof out), 2);
    CHECK(r,
          strstr(out, ":8:26: providers[0].egress[1].address = \"203.0.113.77\": no call can leave "
                      "from there: Cannot assign requested address: see the addresses of this "
                      "host by: ip addr") != NULL,
          "%s", out);
}

int main(int argc, char **argv)
{
    struct rig r;
    rig_open(&r, "egress", argc, argv, 100);
    rig_sim_start(&r, by_key);
    refused_start(&r);
    config(&r);
    rig_weird_start(&r);
    sums(&r);
    fresh(&r, by_both);
    struct weir *w = rig_attach(&r, WEIR_ROLE_CALLER);
    names(&r, w);
    trader(&r);
    weir_close(w);
    fresh(&r, by_address);
    w = rig_attach(&r, WEIR_ROLE_CALLER);
    stopped(&r, w);
    weir_close(w);
    return rig_close(&r);
}
