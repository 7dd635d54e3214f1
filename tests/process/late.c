/*
 * A network that is far worse than configured: calls are counted up to 2.5 s after they were sent, where 100 ms were allowed for. Oracle: weir-sim.
 *
 * Two things keep the promise: while a call is open, each window that comes is charged for it (in a rolling one its units are renewed), and after a few
 * answers J has grown. So nothing exceeds, from the first call on; how much of the quota that leaves is printed.
 */
#include "rig.h"

#include <stdio.h>
#include <string.h>

#define CALLERS 6
#define FLIGHT  8
#define RUN_MS  9000U

static const char sim_json[] =
    "{\"latency_ms\": 1, \"count_jitter_ms\": 2500, \"ban_after\": 0, "
    "\"limits\": [{\"name\": \"weight\", \"kind\": \"%s\", \"quota\": 16, "
    "\"window_ms\": 2000}]}";

static const char weir_yaml[] =
    "broker: {name: rig}\n"
    "providers:\n"
    "  - name: sim\n"
    "    clock: {source: host, error: 30ms, max_jitter: 100ms}\n"
    "    limits:\n"
    "      - {name: weight, kind: %s, quota: 16, window: 2s}\n"
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

static void run(struct rig *r, const char *kind)
{
    pid_t pid[CALLERS];
    char json[1024];
    char yaml[2048];
    (void)snprintf(json, sizeof json, sim_json, kind);
    (void)snprintf(yaml, sizeof yaml, weir_yaml, kind);
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
    rig_sleep_ms(RUN_MS);
    weir_store_release_u32(&r->shared->stop, 1);
    for (int i = 0; i < CALLERS; i++) {
        CHECK_INT(r, rig_wait(pid[i], 10000), 0);
    }
    (void)printf("%s: %u answered, %u otherwise; %llu windows charged for open calls\n", kind,
                 r->shared->count[0], r->shared->count[1],
                 (unsigned long long)weir_load_relaxed_u64(&p->overdue_charged));
    CHECK_INT(r, rig_report(r, "violations"), 0);
    if (strcmp(kind, "fixed_window") == 0) {
        CHECK(r, weir_load_relaxed_u64(&p->overdue_charged) > 0, "open calls were charged on");
    }
    CHECK(r, r->shared->count[0] > 10, "calls were made");
    weir_close(w);
    CHECK_INT(r, rig_weird_stop(r, 15000), 0);
    rig_sim_stop(r);
}

int main(int argc, char **argv)
{
    struct rig r;
    rig_open(&r, "late", argc, argv, 100);
    run(&r, "fixed_window");
    run(&r, "sliding_window");
    return rig_close(&r);
}
