/*
 * A network that is far worse than configured: calls are counted up to 2.5 s after they were sent, where 100 ms were allowed for. Oracle: weir-sim.
 *
 * Two things keep the promise: while a call is open, each window that comes is charged for it (in a rolling one its units are renewed, in a bucket they are held), and
 * after a few answers J has grown. So nothing exceeds, from the first call on; how much of the quota that leaves is printed. In the last run the worker is killed again
 * and again: what it held for open calls is charged by the next one.
 */
#include "rig.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

#define CALLERS     6
#define FLIGHT      8
#define RUN_MS      9000U
#define KILLS_MS    14000U
#define MEASURED_MS 6000U

static const char sim_json[] =
    "{\"latency_ms\": 1, \"count_jitter_ms\": 2500, \"ban_after\": 0, "
    "\"limits\": [{\"name\": \"weight\", \"kind\": \"%s\", \"quota\": %u, "
    "%s}]}";

static const char weir_yaml[] =
    "broker: {name: rig}\n"
    "providers:\n"
    "  - name: sim\n"
    "    clock: {source: host, error: 30ms, max_jitter: 100ms}\n"
    "    limits:\n"
    "      - {name: weight, kind: %s, quota: %u, window: %ums}\n"
    "    throttle: {status: [429, 418], default: 10ms, retry_after: none}\n"
    "    endpoints:\n"
    "      - {name: a, url: \"http://127.0.0.1:$PORT\", connections: 64}\n"
    "    routes:\n"
    "      - {name: ping, method: GET, path: /api/v3/ping, cost: {weight: 1}, timeout: 5s}\n";

static int caller(struct rig *r, int arg)
{
    struct weir *w = rig_attach(r, WEIR_ROLE_CALLER);
    const weir_route_id route = rig_route(w, "sim.ping");
    weir_ticket ticket[FLIGHT] = {0};
    (void)arg;
    for (unsigned i = 0; weir_load_acquire_u32(&r->shared->stop) == 0; i = (i + 1) % FLIGHT) {
        struct weir_response a;
        const struct weir_request_spec spec = {.struct_bytes = sizeof spec,
                                               .route = route,
                                               .deadline_ns = weir_now_ns(w) + 4 * WEIR_NS_PER_S};
        if (ticket[i] != 0 &&
            weir_wait(w, ticket[i], weir_now_ns(w) + 5 * WEIR_NS_PER_S, &a) == 0) {
            bool good = a.result == WEIR_RESULT_DONE && a.status == 200;
            weir_fetch_add_u32(&r->shared->count[good ? 0 : 1], 1);
            (void)weir_release(w, a.ticket);
        }
        ticket[i] = weir_submit(w, &spec, &ticket[i]) == 0 ? ticket[i] : 0;
        rig_sleep_ms(5 + rig_random(r, 60));
    }
    weir_close(w);
    return 0;
}

/* Kill the worker from time to time until the run is over. */
static void run_on(struct rig *r, bool kills)
{
    uint64_t until_ns = weir_clock_monotonic_ns() + (kills ? KILLS_MS : RUN_MS) * WEIR_NS_PER_MS;
    pid_t worker = 0;
    rig_sleep_ms(kills ? MEASURED_MS
                       : 0); /* what a dead worker had sent is held for J as it was measured */
    while (kills && weir_clock_monotonic_ns() + WEIR_NS_PER_S < until_ns) {
        rig_sleep_ms(500 + rig_random(r, 1000));
        worker = rig_process_next(r, "weird-worker", worker, 10000);
        CHECK(r, worker > 0, "a worker runs");
        CHECK_INT(r, kill(worker, SIGKILL), 0);
    }
    uint64_t now_ns = weir_clock_monotonic_ns();
    rig_sleep_ms(now_ns < until_ns ? (unsigned)((until_ns - now_ns) / WEIR_NS_PER_MS) : 0);
}

static void run(struct rig *r, const char *kind, bool kills)
{
    pid_t pid[CALLERS];
    char json[1024];
    char yaml[2048];
    bool bucket = strcmp(kind, "token_bucket") == 0;
    unsigned quota =
        bucket ? 4 : 16; /* the smaller the burst, the sooner it shows: 8 a second in all kinds */
    (void)snprintf(json, sizeof json, sim_json, kind, quota,
                   bucket ? "\"refill_per_s\": 8" : "\"window_ms\": 2000");
    (void)snprintf(yaml, sizeof yaml, weir_yaml, kind, quota, 125 * quota);
    memset(r->shared->count, 0, sizeof r->shared->count);
    r->shared->stop = 0;
    rig_sim_start(r, json);
    rig_config(r, yaml, 0);
    rig_weird_start(r);
    struct weir *w = rig_attach(r, WEIR_ROLE_MONITOR);
    const struct weir_shm_provider *p =
        rig_board(w, WEIR_SECTION_PROVIDER, sizeof(struct weir_shm_provider));
    for (int i = 0; i < CALLERS; i++) {
        pid[i] = rig_fork(r, caller, i);
    }
    run_on(r, kills);
    weir_store_release_u32(&r->shared->stop, 1);
    for (int i = 0; i < CALLERS; i++) {
        CHECK_INT(r, rig_wait(pid[i], 10000), 0);
    }
    (void)printf("%s%s: %u answered, %u otherwise; charged or held %llu times for open calls\n",
                 kind, kills ? ", killed" : "", r->shared->count[0], r->shared->count[1],
                 (unsigned long long)weir_load_relaxed_u64(&p->overdue_charged));
    PROMISE_INT(r, rig_report(r, "violations"), 0);
    if (strcmp(kind, "sliding_window") != 0) {
        CHECK(r, weir_load_relaxed_u64(&p->overdue_charged) > 0,
              "open calls were charged on, or held");
    }
    CHECK(r, r->shared->count[0] > (kills ? 2 : 6), "calls were made");
    weir_close(w);
    CHECK_INT(r, rig_weird_stop(r, 15000), 0);
    rig_sim_stop(r);
}

int main(int argc, char **argv)
{
    struct rig r;
    rig_open(&r, "late", argc, argv, 100);
    run(&r, "fixed_window", false);
    run(&r, "sliding_window", false);
    run(&r, "token_bucket", false);
    run(&r, "token_bucket", true);
    return rig_close(&r);
}
