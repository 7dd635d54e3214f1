/*
 * Kept answers: what each rule of docs/http.md says, one by one. Oracle: weir-sim's count of calls that reached it, and its own time in the answer's body.
 */
#include "scene.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MS WEIR_NS_PER_MS

static const char sim_json[] =
    "{\"latency_ms\": 1, \"ban_after\": 0, "
    "\"limits\": [{\"name\": \"weight\", \"kind\": \"token_bucket\", \"quota\": 100000, "
    "\"refill_per_s\": 100000}]}";

static const char weir_yaml[] =
    "broker: {name: rig, memory: 32MiB, domains: [{name: default, clients: 40}]}\n"
    "providers:\n"
    "  - name: sim\n"
    "    clock: {source: host, error: 30ms, max_jitter: 100ms}\n"
    "    limits:\n"
    "      - {name: wide, kind: token_bucket, quota: 10000, window: 1s}\n"
    "      - {name: one, kind: fixed_window, quota: 2, window: 1h}\n"
    "    endpoints:\n"
    "      - {name: a, url: \"http://127.0.0.1:$PORT\", connections: 16}\n"
    "    routes:\n"
    "      - {name: live, method: GET, path: /api/v3/time, cost: {wide: 1}, timeout: 5s}\n"
    "      - {name: long, method: GET, path: /api/v3/time, cost: {wide: 1}, timeout: 5s, share: "
    "public, cache: 1h}\n"
    "      - {name: short, method: GET, path: /api/v3/time, cost: {wide: 1}, timeout: 5s, share: "
    "public, cache: 1s}\n"
    "      - {name: kept, method: GET, path: /api/v3/time, cost: {wide: 1}, timeout: 5s, share: "
    "public,\n"
    "         cache: 200ms, stale: 1h}\n"
    "      - {name: soon, method: GET, path: /api/v3/time, cost: {wide: 1}, timeout: 5s, share: "
    "public,\n"
    "         cache: 200ms, stale: 1h, revalidate: 1h}\n"
    "      - {name: dear, method: GET, path: /api/v3/time, cost: {one: 1}, timeout: 5s, share: "
    "public,\n"
    "         cache: 1ms, stale: 1h}\n"
    "      - {name: depth, method: GET, path: /api/v3/depth, cost: {wide: 1}, timeout: 5s, share: "
    "public,\n"
    "         cache: 1h, negative: 1h}\n"
    "      - {name: rest, method: GET, path: /bytes/*, cost: {wide: 1}, timeout: 5s, share: "
    "public, cache: 1h,\n"
    "         max_response: 128KiB}\n"
    "      - {name: ask, method: POST, path: /echo, cost: {wide: 1}, timeout: 5s, share: public, "
    "cache: 1h, idempotent: true}\n";

static struct weir *w;

static int call(const char *route, const char *query, uint64_t for_ms, struct weir_response *out)
{
    const struct weir_request_spec spec = {
        .struct_bytes = sizeof spec, .route = rig_route(w, route), .query = query};
    return weir_call(w, &spec, weir_now_ns(w) + for_ms * MS, out);
}

/* One call; its source and status. The body goes to `body`. */
static uint32_t source_of(struct rig *r, const char *route, const char *query, uint32_t status,
                          char *body, size_t bytes)
{
    struct weir_response a;
    int rc = call(route, query, 4000, &a);
    CHECK_INT(r, rc, 0);
    CHECK_INT(r, a.result, WEIR_RESULT_DONE);
    CHECK_INT(r, a.status, status);
    if (body != NULL) {
        size_t n = a.body_bytes < bytes - 1 ? a.body_bytes : bytes - 1;
        memcpy(body, a.body, n);
        body[n] = '\0';
    }
    uint32_t source = a.source;
    CHECK_INT(r, weir_release(w, a.ticket), 0);
    return source;
}

static long arrivals(struct rig *r)
{
    return (long)rig_report(r, "arrivals");
}

static const struct weir_shm_cache_route *counts(const char *route)
{
    const struct weir_shm_cache_route *rows =
        rig_board(w, WEIR_SECTION_CACHE_ROUTE, sizeof(struct weir_shm_cache_route));
    return &rows[rig_route(w, route)];
}

static void test_fresh(struct rig *r)
{
    char first[256];
    char second[256];
    long before = arrivals(r);
    CHECK_INT(r, source_of(r, "sim.long", "symbol=A&limit=5", 200, first, sizeof first),
              WEIR_SOURCE_LIVE);
    CHECK_INT(r, source_of(r, "sim.long", "limit=5&symbol=A", 200, second, sizeof second),
              WEIR_SOURCE_CACHE);
    CHECK_TEXT(r, second, first);
    CHECK_INT(r, arrivals(r) - before, 1);
    CHECK_INT(r, source_of(r, "sim.long", "symbol=B", 200, NULL, 0), WEIR_SOURCE_LIVE);
    CHECK_INT(r, source_of(r, "sim.live", "symbol=A", 200, NULL, 0), WEIR_SOURCE_LIVE);
    CHECK_INT(r, source_of(r, "sim.live", "symbol=A", 200, NULL, 0), WEIR_SOURCE_LIVE);
    CHECK_INT(r, arrivals(r) - before, 4);
    /* It ends by itself. */
    CHECK_INT(r, source_of(r, "sim.short", "", 200, NULL, 0), WEIR_SOURCE_LIVE);
    rig_sleep_ms(1050);
    CHECK_INT(r, source_of(r, "sim.short", "", 200, NULL, 0), WEIR_SOURCE_LIVE);
}

/* weir_cache_get, by a monitor too, and by a caller whose buffer is too small. */
static void test_get(struct rig *r)
{
    char to[4096];
    struct weir_response a;
    struct weir *m = rig_attach(r, WEIR_ROLE_MONITOR);
    struct weir_request_spec spec = {
        .struct_bytes = sizeof spec, .route = rig_route(w, "sim.long"), .query = "get=1"};
    CHECK_INT(r, weir_cache_get(w, &spec, 0, to, sizeof to, &a), WEIR_EMPTY);
    CHECK_INT(r, source_of(r, "sim.long", "get=1", 200, NULL, 0), WEIR_SOURCE_LIVE);
    CHECK_INT(r, weir_cache_get(m, &spec, 0, to, sizeof to, &a), 0);
    CHECK_INT(r, a.source, WEIR_SOURCE_CACHE);
    CHECK(r, a.body_bytes > 10 && memmem(a.body, a.body_bytes, "serverTime", 10) != NULL);
    CHECK(r, a.age_ns > 0 && a.age_ns < 5 * WEIR_NS_PER_S);
    CHECK_INT(r, weir_cache_get(w, &spec, 0, to, 10, &a), WEIR_E_BODY_TOO_LARGE);
    CHECK(r, a.body_bytes > 10 && a.headers_bytes > 10);
    CHECK_INT(r, weir_cache_get(w, &spec, 1, to, sizeof to, &a), WEIR_EMPTY); /* older than 1 ns */
    spec.route = rig_route(w, "sim.live");
    CHECK_INT(r, weir_cache_get(w, &spec, 0, to, sizeof to, &a), WEIR_EMPTY);
    spec.route = 100000;
    CHECK_INT(r, weir_cache_get(w, &spec, 0, to, sizeof to, &a), WEIR_E_ROUTE_UNKNOWN);
    CHECK_INT(r, weir_cache_get(w, NULL, 0, to, sizeof to, &a), WEIR_E_ARGUMENT);
    weir_close(m);
}

/* Tickets of kept answers: poll, wait, cancel, release, each in its order and once. */
static void test_tickets(struct rig *r)
{
    const struct weir_request_spec spec = {
        .struct_bytes = sizeof spec, .route = rig_route(w, "sim.long"), .query = "get=1"};
    weir_ticket ticket[3];
    struct weir_response a;
    for (int i = 0; i < 3; i++) {
        CHECK_INT(r, weir_submit(w, &spec, &ticket[i]), 0);
    }
    CHECK_INT(r, weir_cancel(w, ticket[0]), WEIR_E_CANCEL_LATE);
    CHECK_INT(r, weir_wait(w, ticket[1], 0, &a), 0);
    CHECK_INT(r, a.source, WEIR_SOURCE_CACHE);
    CHECK_INT(r, weir_poll(w, &a), 0);
    CHECK(r, a.ticket == ticket[0] || a.ticket == ticket[2]);
    CHECK_INT(r, weir_poll(w, &a), 0);
    CHECK_INT(r, weir_poll(w, &a), WEIR_EMPTY);
    for (int i = 0; i < 3; i++) {
        CHECK_INT(r, weir_release(w, ticket[i]), 0);
        CHECK_INT(r, weir_release(w, ticket[i]), WEIR_E_TICKET);
        CHECK_INT(r, weir_wait(w, ticket[i], 0, &a), WEIR_E_TICKET);
    }
    /* More than there are slots: each comes back. A handle that closes with some unreleased leaves nothing behind. */
    struct weir *other;
    CHECK_INT(r, weir_dup(w, &other), 0);
    for (int i = 0; i < 20; i++) {
        CHECK_INT(r, weir_submit(other, &spec, &ticket[0]), 0);
    }
    weir_close(other);
    for (int i = 0; i < 200; i++) {
        CHECK_INT(r, weir_submit(w, &spec, &ticket[0]), 0);
        CHECK_INT(r, weir_release(w, ticket[0]), 0);
    }
    CHECK_INT(r, weir_poll(w, &a), WEIR_EMPTY);
}

/* With a descriptor the worker answers, so that it rings; the exchange is not asked. */
static void test_fd(struct rig *r)
{
    struct weir *mine = w;
    struct weir_response a;
    weir_ticket ticket;
    long before = arrivals(r);
    w = rig_attach(r, WEIR_ROLE_CALLER);
    struct pollfd fd = {.fd = weir_fd(w), .events = POLLIN};
    const struct weir_request_spec spec = {
        .struct_bytes = sizeof spec, .route = rig_route(w, "sim.long"), .query = "get=1"};
    CHECK_INT(r, weir_poll(w, &a), WEIR_EMPTY);
    CHECK_INT(r, weir_submit(w, &spec, &ticket), 0);
    CHECK_INT(r, poll(&fd, 1, 4000), 1);
    CHECK_INT(r, weir_poll(w, &a), 0);
    CHECK_INT(r, a.source, WEIR_SOURCE_CACHE);
    CHECK_INT(r, weir_release(w, a.ticket), 0);
    weir_close(w);
    w = mine;
    CHECK_INT(r, arrivals(r) - before, 0);
}

static void test_more_calls(struct rig *r)
{
    struct weir_response a;
    long before = arrivals(r);
    /* negative */
    CHECK_INT(r, source_of(r, "sim.depth", "symbol=NONE", 400, NULL, 0), WEIR_SOURCE_LIVE);
    CHECK_INT(r, source_of(r, "sim.depth", "symbol=NONE", 400, NULL, 0), WEIR_SOURCE_CACHE);
    CHECK_INT(r, counts("sim.depth")->stored_negative, 1);
    /* an answer of 100 KiB, by a path of the client's own */
    for (int i = 0; i < 2; i++) {
        const struct weir_request_spec spec = {
            .struct_bytes = sizeof spec, .route = rig_route(w, "sim.rest"), .path_rest = "100000"};
        CHECK_INT(r, weir_call(w, &spec, weir_now_ns(w) + 4000 * MS, &a), 0);
        CHECK_INT(r, a.body_bytes, 100000);
        CHECK_INT(r, a.source, i == 0 ? WEIR_SOURCE_LIVE : WEIR_SOURCE_CACHE);
        CHECK_INT(r, weir_release(w, a.ticket), 0);
    }
    /* a POST that only asks: its body is part of the question */
    static const char *const body[] = {"{\"a\":1}", "{\"a\":1}", "{\"a\":2}"};
    for (int i = 0; i < 3; i++) {
        const struct weir_request_spec spec = {.struct_bytes = sizeof spec,
                                               .route = rig_route(w, "sim.ask"),
                                               .body = body[i],
                                               .body_bytes = strlen(body[i])};
        CHECK_INT(r, weir_call(w, &spec, weir_now_ns(w) + 4000 * MS, &a), 0);
        CHECK_INT(r, a.source, i == 1 ? WEIR_SOURCE_CACHE : WEIR_SOURCE_LIVE);
        CHECK_INT(r, weir_release(w, a.ticket), 0);
    }
    CHECK_INT(r, arrivals(r) - before, 4);
}

/* ---------------------------------------------------------------------------------------------- stale */

static void test_stale(struct rig *r)
{
    char first[256];
    char second[256];
    CHECK_INT(r, source_of(r, "sim.kept", "", 200, first, sizeof first), WEIR_SOURCE_LIVE);
    rig_sleep_ms(250);
    rig_fault(r, "{\"kind\": \"status\", \"status\": 503, \"path\": \"/api/v3/time\"}");
    CHECK_INT(r, source_of(r, "sim.kept", "", 200, second, sizeof second), WEIR_SOURCE_STALE);
    CHECK_TEXT(r, second, first);
    CHECK_INT(r, source_of(r, "sim.live", "", 503, NULL, 0), WEIR_SOURCE_LIVE);
    rig_faults_clear(r);
    rig_fault(r, "{\"kind\": \"reset\", \"path\": \"/api/v3/time\"}");
    CHECK_INT(r, source_of(r, "sim.kept", "", 200, NULL, 0), WEIR_SOURCE_STALE);
    rig_faults_clear(r);
    rig_fault(r, "{\"kind\": \"stall\", \"path\": \"/api/v3/time\"}");
    struct weir_response a;
    uint64_t from_ns = rig_now_ns();
    CHECK_INT(r, call("sim.kept", "", 300, &a), 0); /* at the deadline */
    CHECK_INT(r, a.result, WEIR_RESULT_DONE);
    CHECK_INT(r, a.source, WEIR_SOURCE_STALE);
    CHECK(r, rig_now_ns() - from_ns < 3 * WEIR_NS_PER_S);
    CHECK_INT(r, weir_release(w, a.ticket), 0);
    rig_faults_clear(r);
    CHECK_INT(r, source_of(r, "sim.kept", "", 200, NULL, 0), WEIR_SOURCE_LIVE);
    CHECK_INT(r, counts("sim.kept")->stale, 3);
}

/* The budget is gone: what is kept, at once and not at the deadline. */
static void test_budget(struct rig *r)
{
    CHECK_INT(r, source_of(r, "sim.dear", "", 200, NULL, 0), WEIR_SOURCE_LIVE);
    uint64_t from_ns = rig_now_ns();
    uint32_t stale = 0;
    for (int i = 0; i < 6; i++) {
        rig_sleep_ms(3);
        stale += source_of(r, "sim.dear", "", 200, NULL, 0) == WEIR_SOURCE_STALE;
    }
    CHECK(r, stale >= 5, "%u of 6", stale);
    CHECK(r, rig_now_ns() - from_ns < 3 * WEIR_NS_PER_S);
    struct weir_response a;
    CHECK_INT(r, call("sim.dear", "never=1", 300, &a), 0); /* nothing is kept of that one */
    CHECK_INT(r, a.result, WEIR_RESULT_REFUSED);
    CHECK_INT(r, a.source, WEIR_SOURCE_UNSET);
    CHECK_INT(r, weir_release(w, a.ticket), 0);
}

static void test_revalidate(struct rig *r)
{
    char first[256];
    char second[256];
    CHECK_INT(r, source_of(r, "sim.soon", "", 200, first, sizeof first), WEIR_SOURCE_LIVE);
    rig_sleep_ms(250);
    long before = arrivals(r);
    CHECK_INT(r, source_of(r, "sim.soon", "", 200, second, sizeof second), WEIR_SOURCE_STALE);
    CHECK_TEXT(r, second, first);
    for (int i = 0; i < 800 && weir_load_relaxed_u64(&counts("sim.soon")->stored) < 2; i++) {
        rig_sleep_ms(5);
    }
    CHECK_INT(r, arrivals(r) - before, 1); /* the worker's own */
    CHECK_INT(r, counts("sim.soon")->refreshed, 1);
    uint32_t source = source_of(r, "sim.soon", "", 200, second, sizeof second);
    CHECK(r,
          source == WEIR_SOURCE_CACHE || source == WEIR_SOURCE_STALE); /* stale on a slow machine */
    CHECK(r, strcmp(first, second) != 0);
}

/* ---------------------------------------------------------------------------------------------- one call for many */

enum { LIVE = 0, CACHED = 1, EXPIRED = 2, CANCELLED = 3, OTHER = 4, READY = 5 };

static void count_end(struct rig *r, const struct weir_response *a)
{
    unsigned i = a->result == WEIR_RESULT_EXPIRED     ? EXPIRED
                 : a->result == WEIR_RESULT_CANCELLED ? CANCELLED
                 : a->result != WEIR_RESULT_DONE      ? OTHER
                 : a->source == WEIR_SOURCE_LIVE      ? LIVE
                 : a->source == WEIR_SOURCE_CACHE     ? CACHED
                                                      : OTHER;
    weir_fetch_add_u32(&r->shared->count[i], 1);
}

static const char *many_query;

/* `arg`: how long it waits, in ms. */
static int asker(struct rig *r, int arg)
{
    struct weir_response a;
    w = rig_attach(r, WEIR_ROLE_CALLER);
    const struct weir_request_spec spec = {
        .struct_bytes = sizeof spec, .route = rig_route(w, "sim.long"), .query = many_query};
    weir_fetch_add_u32(&r->shared->count[READY], 1);
    weir_ticket ticket;
    struct weir_request_spec s = spec;
    s.deadline_ns = weir_now_ns(w) + (uint64_t)arg * MS;
    if (weir_submit(w, &s, &ticket) != 0 ||
        weir_wait(w, ticket, s.deadline_ns + 4 * WEIR_NS_PER_S, &a) != 0) {
        return 1;
    }
    count_end(r, &a);
    (void)weir_release(w, ticket);
    weir_close(w);
    return 0;
}

#define MANY 12

/* The first asker is the one whose call is made; the last one is impatient. `first_ms`: how long the first one waits. */
static void many(struct rig *r, const char *query, bool kill_first, int first_ms)
{
    pid_t pid[MANY];
    many_query = query;
    memset(r->shared->count, 0, sizeof r->shared->count);
    rig_fault(r, "{\"kind\": \"slow_first_byte\", \"delay_ms\": 1500, \"path\": \"/api/v3/time\"}");
    long before = arrivals(r);
    for (int i = 0; i < MANY; i++) {
        pid[i] = rig_fork(r, asker, i == 0 ? first_ms : i == MANY - 1 ? 300 : 8000);
        for (int n = 0; i == 0 && n < 2000 && arrivals(r) == before; n++) {
            rig_sleep_ms(2); /* the others wait for this one's */
        }
    }
    if (kill_first) {
        (void)kill(pid[0], SIGKILL);
    }
    for (int i = 0; i < MANY; i++) {
        CHECK_INT(r, rig_wait(pid[i], 15000), i == 0 && kill_first ? 128 + SIGKILL : 0);
    }
    rig_faults_clear(r);
    const uint32_t *n = r->shared->count;
    (void)printf("%s: live %u, cached %u, expired %u, other %u; calls %ld\n", query, n[LIVE],
                 n[CACHED], n[EXPIRED], n[OTHER], arrivals(r) - before);
}

static void test_coalesce(struct rig *r)
{
    static unsigned played;
    const uint32_t *n = r->shared->count;
    long before = arrivals(r);
    uint64_t coalesced = counts("sim.long")->coalesced;
    char query[32]; /* nothing is kept of it */
    (void)snprintf(query, sizeof query, "all=%u", ++played);
    many(r, query, false, 8000);
    CHECK_INT(r, arrivals(r) - before, 1);
    CHECK_INT(r, n[LIVE], 1);
    CHECK_INT(r, n[CACHED], MANY - 2);
    CHECK_INT(r, n[EXPIRED], 1);
    CHECK_INT(r, counts("sim.long")->coalesced - coalesced, MANY - 2);
    /* Who asked first is killed while its call is on the wire: the call is followed to its end, and the others have the answer. */
    before = arrivals(r);
    (void)snprintf(query, sizeof query, "killed=%u", played);
    many(r, query, true, 8000);
    CHECK_INT(r, arrivals(r) - before, 1);
    CHECK_INT(r, n[LIVE], 0);
    CHECK_INT(r, n[CACHED], MANY - 2);
    CHECK_INT(r, n[EXPIRED], 1);
    /* Its deadline is its own: another one is made for the rest. */
    before = arrivals(r);
    (void)snprintf(query, sizeof query, "short=%u", played);
    many(r, query, false, 700);
    CHECK_INT(r, arrivals(r) - before, 2);
    CHECK_INT(r, n[LIVE], 1);
    CHECK_INT(r, n[CACHED], MANY - 3);
    CHECK_INT(r, n[EXPIRED], 1);
    CHECK_INT(r, n[OTHER], 1); /* TIMEOUT: it was sent */
}

/* The exchange hangs up on the one that is made: all that waited are told the same. */
static void test_coalesce_failure(struct rig *r)
{
    pid_t pid[MANY];
    many_query = "reset=1";
    memset(r->shared->count, 0, sizeof r->shared->count);
    rig_fault(r, "{\"kind\": \"reset\", \"delay_ms\": 1500, \"path\": \"/api/v3/time\"}");
    long before = arrivals(r);
    for (int i = 0; i < MANY; i++) {
        pid[i] = rig_fork(r, asker, 8000);
    }
    for (int i = 0; i < MANY; i++) {
        CHECK_INT(r, rig_wait(pid[i], 15000), 0);
    }
    rig_faults_clear(r);
    /* libcurl sends a GET once more by itself on a connection that was kept; on a slow machine a late one is made anew */
    CHECK(r, arrivals(r) - before <= 4, "%ld", arrivals(r) - before);
    CHECK_INT(r, r->shared->count[OTHER], MANY);
}

/* The worker dies: what is kept stays, for clients at once and for its successor. */
static void test_worker_death(struct rig *r)
{
    CHECK_INT(r, source_of(r, "sim.long", "death=1", 200, NULL, 0), WEIR_SOURCE_LIVE);
    uint64_t stored = counts("sim.long")->stored;
    const struct weir_shm_cache *cache = rig_board(w, WEIR_SECTION_CACHE, sizeof *cache);
    uint64_t answers = cache->answers;
    uint64_t answers_bytes = cache->answers_bytes;
    long before = arrivals(r);
    pid_t worker = rig_process(r, "weird-worker");
    CHECK_INT(r, kill(worker, SIGKILL), 0);
    CHECK_INT(r, source_of(r, "sim.long", "death=1", 200, NULL, 0), WEIR_SOURCE_CACHE);
    CHECK(r, rig_process_next(r, "weird-worker", worker, 5000) > 0);
    CHECK_INT(r, source_of(r, "sim.long", "death=1", 200, NULL, 0), WEIR_SOURCE_CACHE);
    CHECK_INT(r, arrivals(r) - before, 0);
    test_fd(r); /* the successor's own look */
    CHECK_INT(r, cache->answers, answers);
    CHECK_INT(r, cache->answers_bytes, answers_bytes);
    CHECK_INT(r, source_of(r, "sim.long", "death=2", 200, NULL, 0), WEIR_SOURCE_LIVE);
    CHECK_INT(r, counts("sim.long")->stored, stored + 1);
    CHECK_INT(r, cache->answers, answers + 1);
}

/* Another broker takes over: its board begins with what was kept, its worker goes on with it. */
static void test_takeover(struct rig *r)
{
    CHECK_INT(r, source_of(r, "sim.long", "over=1", 200, NULL, 0), WEIR_SOURCE_LIVE);
    long before = arrivals(r);
    pid_t old = r->weird;
    r->weird = rig_weird_another(r, "--takeover");
    CHECK_INT(r, rig_wait(old, 20000), 0);
    CHECK_INT(r, source_of(r, "sim.long", "over=1", 200, NULL, 0), WEIR_SOURCE_CACHE);
    test_fd(r); /* the new worker's own look, on the new board */
    CHECK_INT(r, arrivals(r) - before, 0);
}

int main(int argc, char **argv)
{
    struct rig r;
    rig_open(&r, "process_cache", argc, argv, 110);
    rig_sim_start(&r, sim_json);
    rig_config(&r, weir_yaml, 0);
    rig_weird_start(&r);
    w = rig_attach(&r, WEIR_ROLE_TRADER);
    test_fresh(&r);
    test_get(&r);
    test_tickets(&r);
    test_fd(&r);
    test_more_calls(&r);
    test_stale(&r);
    test_budget(&r);
    test_revalidate(&r);
    RIG_SCENE (&r, 200) {
        test_coalesce(&r);
    }
    test_coalesce_failure(&r);
    test_worker_death(&r);
    test_takeover(&r);
    weir_close(w);
    return rig_close(&r);
}
