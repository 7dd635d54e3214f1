/*
 * Calls that wait for an equal one: what holds the first up must not hold up those whom it does not concern (docs/http.md, "One call for many"). Oracle: how each call ended and when, and weir-sim's
 * count of what reached it.
 */
#include "raw.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define MS WEIR_NS_PER_MS

static const char sim_json[] =
    "{\"latency_ms\": 1, \"ban_after\": 0, "
    "\"limits\": [{\"name\": \"weight\", \"kind\": \"token_bucket\", \"quota\": 100000, "
    "\"refill_per_s\": 100000}]}";

/* quote: two calls in three seconds for each account. soft: a retry three seconds after a failure. */
static const char weir_yaml[] =
    "broker: {name: rig, memory: 32MiB, domains: [{name: default, clients: 40}]}\n"
    "providers:\n"
    "  - name: sim\n"
    "    clock: {source: host, error: 1ms, max_jitter: 10ms}\n"
    "    scopes: {account: [a, b]}\n"
    "    limits:\n"
    "      - {name: wide, kind: token_bucket, quota: 10000, window: 1s}\n"
    "      - {name: own, kind: sliding_window, quota: 2, window: 3s, scope: account}\n"
    "    endpoints: [{name: a, url: \"http://127.0.0.1:$PORT\", connections: 16}]\n"
    "    retry: {attempts: 3, base: 3s, factor: 1, jitter: 0%, budget: 100%}\n"
    "    routes:\n"
    "      - {name: quote, method: GET, path: /api/v3/time, cost: {own: 1}, timeout: 8s, share: "
    "public, cache: 1ms}\n"
    "      - {name: soft, method: GET, path: /api/v3/ping, cost: {wide: 1}, timeout: 8s, share: "
    "public, cache: 800ms}\n"
    "  - name: two\n"
    "    clock: {source: host, error: 1ms, max_jitter: 10ms}\n"
    "    limits: [{name: wide, kind: token_bucket, quota: 10000, window: 1s}]\n"
    "    endpoints:\n"
    "      - {name: near, url: \"http://127.0.0.1:$PORT2\", role: primary, connections: 16}\n"
    "      - {name: far, url: \"http://127.0.0.1:$PORT\", role: backup, connections: 16}\n"
    "    routes:\n"
    "      - {name: time, method: GET, path: /api/v3/time, cost: {wide: 1}, timeout: 8s, share: "
    "public, cache: 1ms}\n"
    "      - {name: all, method: GET, path: /api/v3/exchangeInfo, cost: {wide: 1}, timeout: 8s}\n"
    "      - {name: one, method: GET, path: /api/v3/time, cost: {wide: 1}, timeout: 8s, share: "
    "public, cache: 1ms,\n"
    "         batch: {route: all, param: symbol, item: symbol, when: always}}\n";

static struct raw near;
static volatile int *silent; /* shared with the endpoint's processes */

static bool answer(int fd, const char *path)
{
    (void)path;
    for (int i = 0; *silent != 0 && i < 1000; i++) {
        (void)usleep(10000);
    }
    raw_say(fd, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nnear");
    return true;
}

static struct weir *w;

static weir_ticket submit(struct rig *r, const char *route, const char *query, const char *scope,
                          enum weir_priority priority, unsigned for_ms)
{
    weir_ticket ticket = 0;
    struct weir_request_spec spec = {.struct_bytes = sizeof spec,
                                     .route = rig_route(w, route),
                                     .query = query,
                                     .priority = priority,
                                     .deadline_ns = weir_now_ns(w) + for_ms * MS};
    if (scope != NULL) {
        CHECK_INT(r, weir_scope_find(w, "sim", scope, &spec.scope), 0);
    }
    CHECK_INT(r, weir_submit(w, &spec, &ticket), 0);
    return ticket;
}

/* How it ended. */
static struct weir_response ended(struct rig *r, weir_ticket ticket)
{
    struct weir_response a = {.result = 0};
    CHECK_INT(r, weir_wait(w, ticket, weir_now_ns(w) + 9000 * MS, &a), 0);
    CHECK_INT(r, weir_release(w, ticket), 0);
    return a;
}

/* An account whose limit is spent holds up nobody of another one; who cannot wait so long learns so at once. */
static void test_refused_lead(struct rig *r)
{
    for (unsigned i = 0; i < 2; i++) {
        CHECK_INT(
            r,
            ended(r, submit(r, "sim.quote", i == 0 ? "i=0" : "i=1", "account=a", 2, 2000)).status,
            200);
    }
    uint64_t began_ns = weir_now_ns(w);
    weir_ticket first = submit(r, "sim.quote", "i=2", "account=a", WEIR_PRIORITY_MEDIUM, 6000);
    rig_sleep_ms(100);
    weir_ticket other = submit(r, "sim.quote", "i=2", "account=b", WEIR_PRIORITY_MEDIUM, 1000);
    struct weir_response a = ended(r, other);
    CHECK_INT(r, a.result, WEIR_RESULT_DONE);
    CHECK_INT(r, a.status, 200);
    CHECK(r, weir_now_ns(w) - began_ns < 1500 * MS, "the other account did not wait");
    /* The first has found that answer, or waits on; either way it ends well. */
    CHECK_INT(r, ended(r, first).result, WEIR_RESULT_DONE);

    for (unsigned i = 0; i < 2; i++) { /* whatever is left of it */
        (void)ended(r, submit(r, "sim.quote", i == 0 ? "j=0" : "j=1", "account=a", 2, 100));
    }
    first = submit(r, "sim.quote", "j=2", "account=a", WEIR_PRIORITY_MEDIUM, 6000);
    rig_sleep_ms(50);
    began_ns = weir_now_ns(w);
    a = ended(r, submit(r, "sim.quote", "j=2", "account=a", WEIR_PRIORITY_MEDIUM, 900));
    if (a.result != WEIR_RESULT_DONE) { /* nothing was left */
        CHECK_INT(r, a.result, WEIR_RESULT_REFUSED);
        CHECK_INT(r, a.denial.reason, WEIR_REASON_LIMIT_FULL);
        CHECK(r, weir_now_ns(w) - began_ns < 700 * MS, "it was told at once");
    }
    CHECK_INT(r, ended(r, first).result, WEIR_RESULT_DONE);
}

/* The first waits three seconds for its next attempt: those who came before that, or come now, and have less time, make their own. */
static void test_lead_waits_for_a_retry(struct rig *r)
{
    rig_fault(r, "{\"kind\": \"status\", \"status\": 503, \"path\": \"/api/v3/ping\", \"count\": "
                 "1, \"delay_ms\": 500}");
    uint64_t began_ns = weir_now_ns(w);
    weir_ticket first = submit(r, "sim.soft", "symbol=A", NULL, WEIR_PRIORITY_LOW, 7000);
    weir_ticket same = submit(r, "sim.soft", "symbol=A", NULL, WEIR_PRIORITY_LOW, 7000);
    weir_ticket before = submit(r, "sim.soft", "symbol=A", NULL, WEIR_PRIORITY_LOW, 1500);
    rig_sleep_ms(700);
    weir_ticket later = submit(r, "sim.soft", "symbol=A", NULL, WEIR_PRIORITY_LOW, 1000);
    struct weir_response a = ended(r, before);
    CHECK_INT(r, a.result, WEIR_RESULT_DONE);
    CHECK_INT(r, a.status, 200);
    a = ended(r, later);
    CHECK_INT(r, a.result, WEIR_RESULT_DONE);
    CHECK_INT(r, a.status, 200);
    CHECK(r, weir_now_ns(w) - began_ns < 3200 * MS, "neither waited for the retry");
    CHECK_INT(r, ended(r, first).status, 200);
    CHECK_INT(r, ended(r, same).status, 200);
    rig_faults_clear(r);
}

/* The first has no time for the attempt that its 503 would have had: who waits for it has, and makes it. Who has no more time than the first gets the 503. */
static void test_short_lead(struct rig *r)
{
    long before = (long)rig_report(r, "arrivals");
    rig_fault(r, "{\"kind\": \"status\", \"status\": 503, \"path\": \"/api/v3/ping\", \"count\": "
                 "1, \"delay_ms\": 400}");
    weir_ticket first = submit(r, "sim.soft", "symbol=B", NULL, WEIR_PRIORITY_LOW, 1000);
    weir_ticket equal = submit(r, "sim.soft", "symbol=B", NULL, WEIR_PRIORITY_LOW, 1000);
    weir_ticket longer = submit(r, "sim.soft", "symbol=B", NULL, WEIR_PRIORITY_LOW, 7000);
    CHECK_INT(r, ended(r, first).status, 503);
    CHECK_INT(r, ended(r, equal).status, 503);
    CHECK_INT(r, ended(r, longer).status, 200);
    CHECK_INT(r, (long)rig_report(r, "arrivals") - before, 2);
    rig_faults_clear(r);
}

/* The same, for whom a batch is on its way. */
static void test_stalled_batch(struct rig *r)
{
    weir_ticket waits[3];
    for (unsigned i = 0; i < 30; i++) {
        CHECK_INT(r, ended(r, submit(r, "two.time", "", NULL, 2, 2000)).status, 200);
    }
    uint32_t before = *near.requests;
    *silent = 1;
    uint64_t began_ns = weir_now_ns(w);
    for (unsigned i = 0; i < 3; i++) {
        waits[i] = submit(r, "two.one",
                          i == 0   ? "symbol=A"
                          : i == 1 ? "symbol=B"
                                   : "symbol=C",
                          NULL, 2, 5000);
    }
    for (unsigned i = 0; i < 3; i++) {
        struct weir_response a = ended(r, waits[i]);
        CHECK_INT(r, a.result, WEIR_RESULT_DONE);
        CHECK_INT(r, a.status, 200);
    }
    CHECK(r, weir_now_ns(w) - began_ns < 3000 * MS, "they did not wait for the silent one");
    CHECK_INT(r, *near.requests - before, 1); /* the batch */
    *silent = 0;
}

/* The endpoint that has the first one goes silent: those who wait for it, and were never sent, go to the other one, and so does who comes now. */
static void test_stalled_lead(struct rig *r)
{
    for (unsigned i = 0; i < 30; i++) {
        CHECK_INT(r, ended(r, submit(r, "two.time", "", NULL, 2, 2000)).status, 200);
    }
    long before = (long)rig_report(r, "arrivals");
    *silent = 1;
    uint64_t began_ns = weir_now_ns(w);
    weir_ticket first = submit(r, "two.time", "x=1", NULL, 2, 5000);
    rig_sleep_ms(5);
    weir_ticket waits[3];
    for (unsigned i = 0; i < 3; i++) {
        waits[i] = submit(r, "two.time", "x=1", NULL, 2, 5000);
    }
    for (unsigned i = 0; i < 3; i++) {
        struct weir_response a = ended(r, waits[i]);
        CHECK_INT(r, a.result, WEIR_RESULT_DONE);
        CHECK_INT(r, a.status, 200);
    }
    CHECK(r, weir_now_ns(w) - began_ns < 3000 * MS, "they did not wait for the silent one");
    CHECK_INT(r, (long)rig_report(r, "arrivals") - before, 1); /* one call for the three */
    CHECK_INT(r, ended(r, first).result, WEIR_RESULT_TIMEOUT);
    *silent = 0;
}

int main(int argc, char **argv)
{
    static struct rig r;
    rig_open(&r, "process_flight", argc, argv, 100);
    rig_sim_start(&r, sim_json);
    silent = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    raw_start(&r, &near, answer);
    rig_config(&r, weir_yaml, near.port);
    rig_weird_start(&r);
    w = rig_attach(&r, WEIR_ROLE_CALLER);
    test_refused_lead(&r);
    test_lead_waits_for_a_retry(&r);
    test_short_lead(&r);
    test_stalled_lead(&r);
    test_stalled_batch(&r);
    weir_close(w);
    raw_stop(&near);
    return rig_close(&r);
}
