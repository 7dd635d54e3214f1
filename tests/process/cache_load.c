/*
 * One workload that many share: 16 processes ask for 200 symbols, the popular ones far more often (Zipf), four ways: each call made, equal calls in flight made once, answers kept, and
 * one call for many. Oracle: weir-sim, which counts the calls that reach it and writes symbol and its time into each answer.
 *
 *   - with answers kept at least 80 % fewer calls reach the exchange than without, for the same number of asked ones; with batches no more than that;
 *   - each answer is of the symbol that was asked for;
 *   - no answer is older than `cache` and `stale` allow, by the exchange's own time in it, and none older than it says itself (age_ns);
 *   - each request ends exactly once with a named result;
 *   - the same while the worker and clients are killed (kill -9) again and again, and while the exchange fails for some time.
 *
 * --long: three times as many, for the tables in docs/http.md and docs/benchmarks.md.
 */
#include "rig.h"

#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define PROCESSES  16
#define SYMBOLS    200
#define ASKS       400U /* of each process */
#define LONG_TIMES 3U

static const char sim_json[] =
    "{\"latency_ms\": 5, \"jitter_ms\": 5, \"ban_after\": 0, "
    "\"limits\": [{\"name\": \"weight\", \"kind\": \"token_bucket\", \"quota\": 100000, "
    "\"refill_per_s\": 100000}], \"routes\": [{\"path\": \"GET /quotes\", \"plays\": \"quotes\"}]}";

#define ROUTE "method: GET, path: /quotes, cost: {wide: 2}, timeout: 5s, max_response: "

static const char weir_yaml[] =
    "broker: {name: rig, memory: 64MiB, domains: [{name: default, clients: 60}]}\n"
    "providers:\n"
    "  - name: sim\n"
    "    clock: {source: host, error: 30ms, max_jitter: 100ms}\n"
    "    limits: [{name: wide, kind: token_bucket, quota: 40000, window: 1s}]\n"
    "    endpoints: [{name: a, url: \"http://127.0.0.1:$PORT\", connections: 16}]\n"
    "    routes:\n"
    "      - {name: live, " ROUTE "4KiB}\n"
    "      - {name: once, " ROUTE "4KiB, share: public, cache: 1ms, stale: 1s}\n"
    "      - {name: kept, " ROUTE
    "4KiB, share: public, cache: %ums, stale: %us, revalidate: %ums}\n"
    "      - {name: many, " ROUTE
    "4KiB, share: public, cache: %ums, stale: %us, revalidate: %ums,\n"
    "         batch: {route: quotes, param: symbol, item: symbol, gather: 1ms}}\n"
    "      - {name: quotes, method: GET, path: /quotes, cost: {wide: 4}, timeout: 5s}\n";

/* The ways, and how old an answer may be in them. */
static struct way {
    const char *route, *text;
    int cache_ms, stale_ms;
} ways[] = {
    {"sim.live", "each call made", 0, 0},
    {"sim.once", "equal ones in flight made once", 1, 1000},
    {"sim.kept", "and kept for 250 ms", 250, 1000},
    {"sim.many", "and one call for many", 250, 1000},
};
enum { WAY_LIVE = 0, WAY_KEPT = 2, WAY_MANY = 3, WAYS = 4 };

static unsigned asks = ASKS;

enum {
    ASKED = 0,
    LIVE = 1,
    CACHED = 2,
    STALE = 3,
    NOT_DONE = 4,
    OLD = 5,
    LIED = 6,
    OLDEST_MS = 7,
    WRONG = 8
};

static double weight[SYMBOLS]; /* cumulative */

static void zipf_make(void)
{
    double sum = 0;
    for (int i = 0; i < SYMBOLS; i++) {
        sum += 1.0 / (i + 1);
        weight[i] = sum;
    }
    for (int i = 0; i < SYMBOLS; i++) {
        weight[i] /= sum;
    }
}

static unsigned zipf(struct rig *r)
{
    double at = rig_random(r, 1000000) / 1e6;
    unsigned i = 0;
    while (i < SYMBOLS - 1 && weight[i] < at) {
        i++;
    }
    return i;
}

static int64_t utc_ms(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* The exchange made the answer at its time in the body; both clocks are this machine's. */
static void age_check(struct rig *r, const struct way *way, const struct weir_response *a,
                      int64_t before_ms, unsigned symbol)
{
    char body[128];
    char name[16];
    size_t n = a->body_bytes < sizeof body - 1 ? a->body_bytes : sizeof body - 1;
    memcpy(body, a->body, n);
    body[n] = '\0';
    (void)snprintf(name, sizeof name, "\"S%u\"", symbol);
    const char *at = strstr(body, "\"time\":");
    if (a->status != 200) {
        return;
    }
    if (at == NULL || strstr(body, name) == NULL) {
        (void)printf("FAILED: asked for %s, got %s\n", name, body);
        weir_fetch_add_u32(&r->shared->count[WRONG], 1);
        return;
    }
    /* It was given at `before_ms` at the earliest: older than that the answer was not. */
    int64_t age_ms = before_ms - atoll(at + 7);
    bool old = a->source == WEIR_SOURCE_STALE || way->cache_ms < 10; /* the latter: nothing fresh */
    int64_t most_ms = way->cache_ms + (old ? way->stale_ms : 0);
    if (age_ms > most_ms + 2) {
        (void)printf("FAILED: source %u is %lld ms old\n", a->source, (long long)age_ms);
        weir_fetch_add_u32(&r->shared->count[OLD], 1);
    }
    if (age_ms > (int64_t)(a->age_ns / WEIR_NS_PER_MS) + 3 && a->source != WEIR_SOURCE_LIVE) {
        (void)printf("FAILED: source %u is %lld ms old and says %llu\n", a->source,
                     (long long)age_ms, (unsigned long long)(a->age_ns / WEIR_NS_PER_MS));
        weir_fetch_add_u32(&r->shared->count[LIED], 1);
    }
    if (age_ms > 0 && (uint32_t)age_ms > weir_load_relaxed_u32(&r->shared->count[OLDEST_MS])) {
        weir_store_relaxed_u32(&r->shared->count[OLDEST_MS], (uint32_t)age_ms);
    }
}

static int strategy(struct rig *r, int arg)
{
    const struct way *way = &ways[arg];
    struct weir *w = rig_attach(r, WEIR_ROLE_CALLER);
    weir_route_id route = rig_route(w, way->route);
    r->seed += (unsigned)getpid();
    for (unsigned i = 0; i < asks && weir_load_acquire_u32(&r->shared->stop) == 0; i++) {
        char query[32];
        struct weir_response a;
        unsigned symbol = zipf(r);
        (void)snprintf(query, sizeof query, "symbol=S%u", symbol);
        const struct weir_request_spec spec = {
            .struct_bytes = sizeof spec, .route = route, .query = query};
        int64_t before_ms = utc_ms();
        int rc = weir_call(w, &spec, weir_now_ns(w) + 5 * WEIR_NS_PER_S, &a);
        if (rc != 0) {
            (void)printf("FAILED: call: %s\n", weir_strerror(rc));
            return 1;
        }
        weir_fetch_add_u32(&r->shared->count[ASKED], 1);
        if (a.result != WEIR_RESULT_DONE) {
            weir_fetch_add_u32(&r->shared->count[NOT_DONE], 1);
        } else {
            weir_fetch_add_u32(&r->shared->count[a.source == WEIR_SOURCE_LIVE    ? LIVE
                                                 : a.source == WEIR_SOURCE_CACHE ? CACHED
                                                                                 : STALE],
                               1);
            age_check(r, way, &a, before_ms, symbol);
        }
        if (weir_release(w, a.ticket) != 0) {
            return 1;
        }
        (void)usleep(500 + rig_random(r, 1000));
    }
    weir_close(w);
    return 0;
}

static long arrivals(struct rig *r)
{
    return (long)rig_report(r, "arrivals");
}

/* Returns the calls that reached the exchange. */
static long run(struct rig *r, int way, bool kills)
{
    pid_t pid[PROCESSES];
    bool killed[PROCESSES] = {false};
    memset(r->shared->count, 0, sizeof r->shared->count);
    long before = arrivals(r);
    for (int i = 0; i < PROCESSES; i++) {
        pid[i] = rig_fork(r, strategy, way);
    }
    for (unsigned n = 0; kills && n < 8; n++) {
        rig_sleep_ms(60 + rig_random(r, 80));
        pid_t worker = rig_process(r, "weird-worker");
        if (worker > 0) {
            (void)kill(worker, SIGKILL);
            CHECK(r, rig_process_next(r, "weird-worker", worker, 10000) > 0);
        }
        if (n < 4) {
            killed[n] = true;
            (void)kill(pid[n], SIGKILL);
        }
        if (n == 5) {
            rig_fault(r, "{\"kind\": \"status\", \"status\": 503, \"path\": \"/quotes\"}");
        }
        if (n == 6) {
            rig_faults_clear(r);
        }
    }
    for (int i = 0; i < PROCESSES; i++) {
        int status = rig_wait(pid[i], 60000);
        CHECK(r, status == 0 || (killed[i] && status == 128 + SIGKILL), "%d", status);
    }
    const uint32_t *n = r->shared->count;
    long calls = arrivals(r) - before;
    (void)printf("| %s%s | %u | %ld | %.1f %% | %u | %u | %u | %u | %u ms |\n", ways[way].text,
                 kills ? "; `kill -9` all the while" : "", n[ASKED], calls,
                 100.0 - 100.0 * (double)calls / (double)n[ASKED], n[LIVE], n[CACHED], n[STALE],
                 n[NOT_DONE], n[OLDEST_MS]);
    CHECK_INT(r, n[OLD], 0);
    CHECK_INT(r, n[LIED], 0);
    PROMISE_INT(r, n[WRONG], 0);
    return calls;
}

/* Where all of it is slower (valgrind) answers are kept longer, so that as many ask for one while it is there. */
static void configure(struct rig *r)
{
    char text[sizeof weir_yaml + 64];
    const unsigned slow = rig_slowness();
    (void)snprintf(text, sizeof text, weir_yaml, 250 * slow, slow, 100 * slow, 250 * slow, slow,
                   100 * slow);
    rig_config(r, text, 0);
    for (int i = WAY_KEPT; i < WAYS; i++) {
        ways[i].cache_ms *= (int)slow;
        ways[i].stale_ms *= (int)slow;
    }
}

int main(int argc, char **argv)
{
    struct rig r;
    bool is_long = argc > 1 && strcmp(argv[argc - 1], "--long") == 0;
    long calls[WAYS];
    rig_open(&r, "process_cache_load", argc - is_long, argv, is_long ? 900 : 110);
    asks *= is_long ? LONG_TIMES : 1;
    zipf_make();
    rig_sim_start(&r, sim_json);
    configure(&r);
    rig_weird_start(&r);
    (void)printf("| %d processes, %d symbols | asked | calls | fewer | live | cache | stale | "
                 "not done | oldest |\n|--|--|--|--|--|--|--|--|--|\n",
                 PROCESSES, SYMBOLS);
    for (int i = 0; i < WAYS; i++) {
        calls[i] = run(&r, i, false);
        CHECK_INT(&r, r.shared->count[ASKED], PROCESSES * asks);
        CHECK_INT(&r, r.shared->count[NOT_DONE], 0);
    }
    CHECK_INT(&r, calls[WAY_LIVE], PROCESSES * asks);
    CHECK(&r, calls[1] <= calls[WAY_LIVE], "%ld", calls[1]);
    CHECK(&r, calls[WAY_KEPT] * 5 <= calls[WAY_LIVE], "%ld were left", calls[WAY_KEPT]);
    CHECK(&r, calls[WAY_MANY] * 5 <= calls[WAY_LIVE] && calls[WAY_MANY] <= calls[WAY_KEPT],
          "%ld were left", calls[WAY_MANY]);
    /* slower, so more of them per ask */
    CHECK(&r, run(&r, WAY_KEPT, true) * 3 <= calls[WAY_LIVE]);
    CHECK(&r, run(&r, WAY_MANY, true) * 3 <= calls[WAY_LIVE]);
    return rig_close(&r);
}
