/*
 * Foreign traffic: somebody beside weir calls the same exchange from the same address, and only the exchange's headers tell. Oracle: weir-sim,
 * which counts all of it.
 *
 * In each window of the server the others send OTHERS calls at its start, while strategies (callers and a trader) want more than the rest. Once
 * the first windows have shown what the others use, nobody exceeds: 0 violations, and the quota is used.
 */
#include "rig.h"

#include <curl/curl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define QUOTA     200
#define OTHERS    30
#define WINDOW_MS 2000U
#define OFFSET_MS 300U
#define LEARN_MS  7000U
#define RUN_MS    8000U

static const char sim_json[] =
    "{\"clock_offset_ms\": 300, \"latency_ms\": 2, \"jitter_ms\": 6, \"count_jitter_ms\": 5, "
    "\"ban_after\": 0, \"limits\": [{\"name\": \"weight\", \"kind\": \"fixed_window\", "
    "\"quota\": 200, \"window_ms\": 2000, \"header\": \"x-used\"}]}";

static const char weir_yaml[] =
    "broker: {name: rig}\n"
    "providers:\n"
    "  - name: sim\n"
    "    clock: {path: /api/v3/time, field: serverTime, header: date, interval: 1s, "
    "max_jitter: 100ms}\n"
    "    limits:\n"
    "      - {name: weight, kind: fixed_window, quota: 200, window: 2s, foreign: {expect: "
    "adaptive}}\n"
    "    feedback:\n"
    "      - {header: x-used, limit: weight, reports: used}\n"
    "    throttle: {status: [429, 418], default: 10ms, retry_after: none}\n"
    "    endpoints:\n"
    "      - {name: a, url: \"http://127.0.0.1:$PORT\", connections: 16}\n"
    "    routes:\n"
    "      - {name: ping, method: GET, path: /api/v3/ping, cost: {weight: 1}, timeout: 3s}\n"
    "      - {name: own, transport: own, cost: {weight: 1}}\n";

/* Of the server's current window: which, and how long it has lasted. */
static uint64_t window_now(uint64_t *into_ms)
{
    struct timespec ts;
    (void)clock_gettime(CLOCK_REALTIME, &ts);
    uint64_t ms = (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000 + OFFSET_MS;
    *into_ms = ms % WINDOW_MS;
    return ms / WINDOW_MS;
}

static int others(struct rig *r, int arg)
{
    uint64_t done = 0;
    (void)arg;
    while (weir_load_acquire_u32(&r->shared->stop) == 0) {
        uint64_t into_ms;
        uint64_t k = window_now(&into_ms);
        if (k == done || into_ms < 20) {
            rig_sleep_ms(2);
            continue;
        }
        done = k;
        for (int i = 0; i < OTHERS && window_now(&into_ms) == k && into_ms < WINDOW_MS / 3; i++) {
            bool good = rig_http(r, "GET", "/api/v3/ping", NULL, NULL, 0) == 200;
            weir_fetch_add_u32(&r->shared->count[good ? 0 : 1], 1);
        }
    }
    return 0;
}

static int caller(struct rig *r, int arg)
{
    struct weir *w = rig_attach(r, WEIR_ROLE_CALLER);
    const weir_route_id route = rig_route(w, "sim.ping");
    (void)arg;
    while (weir_load_acquire_u32(&r->shared->stop) == 0) {
        struct weir_response a;
        const struct weir_request_spec spec = {.struct_bytes = sizeof spec, .route = route};
        if (weir_call(w, &spec, weir_now_ns(w) + 2900 * WEIR_NS_PER_MS, &a) == 0) {
            bool good = a.result == WEIR_RESULT_DONE && a.status == 200;
            weir_fetch_add_u32(&r->shared->count[good ? 2 : 3], 1);
            (void)weir_release(w, a.ticket);
        }
        rig_sleep_ms(10 + rig_random(r, 20));
    }
    weir_close(w);
    return 0;
}

static int trader(struct rig *r, int arg)
{
    struct weir *w = rig_attach(r, WEIR_ROLE_TRADER);
    const weir_route_id route = rig_route(w, "sim.own");
    (void)arg;
    while (weir_load_acquire_u32(&r->shared->stop) == 0) {
        struct weir_permit p;
        uint64_t deadline_ns = weir_now_ns(w) + 100 * WEIR_NS_PER_MS;
        if (weir_permit_wait(w, route, WEIR_SCOPE_DEFAULT, NULL, WEIR_PRIORITY_MEDIUM, deadline_ns,
                             &p) != 0) {
            continue;
        }
        struct weir_outcome o = {.kind = WEIR_OUTCOME_NOT_SENT};
        if (weir_now_ns(w) < p.use_by_ns) {
            o.status = (uint32_t)rig_http(r, "GET", "/api/v3/ping", NULL, NULL, 0);
            o.kind = o.status != 0 ? WEIR_OUTCOME_ANSWERED : WEIR_OUTCOME_NO_ANSWER;
            weir_fetch_add_u32(&r->shared->count[o.status == 200 ? 4 : 5], 1);
        }
        (void)weir_permit_settle(w, &p, &o);
        rig_sleep_ms(20 + rig_random(r, 20));
    }
    weir_close(w);
    return 0;
}

/* Used of the quota, by all, over the windows since `from` windows ago. */
static double share_of(struct rig *r, size_t last)
{
    json_t *report = rig_json(r, "/sim/report");
    json_t *row = json_array_get(json_object_get(report, "limits"), 0);
    const json_t *windows = json_object_get(row, "windows");
    size_t cnt = json_array_size(windows);
    double used = 0;
    for (size_t i = cnt - 1 - last; cnt > last + 1 && i < cnt - 1; i++) {
        used += json_number_value(json_object_get(json_array_get(windows, i), "used"));
    }
    json_decref(report);
    return used / ((double)last * QUOTA);
}

/* One call after another, alone: those near a window's edge are charged to both, and their answers prove which it was. */
static void straddles(struct rig *r, struct weir *w, const struct weir_shm_provider *p)
{
    const weir_route_id route = rig_route(w, "sim.ping");
    uint64_t end_ns = rig_now_ns() + 20 * WEIR_NS_PER_S;
    while (weir_load_relaxed_u64(&p->straddle_given) == 0 && rig_now_ns() < end_ns) {
        struct weir_response a;
        const struct weir_request_spec spec = {.struct_bytes = sizeof spec, .route = route};
        if (weir_call(w, &spec, weir_now_ns(w) + 2900 * WEIR_NS_PER_MS, &a) == 0) {
            (void)weir_release(w, a.ticket);
        }
        rig_sleep_ms(15);
    }
    CHECK(r, weir_load_relaxed_u64(&p->straddle_given) > 0, "a straddle was given back");
    const struct weir_shm_foreign *f =
        rig_board(w, WEIR_SECTION_FOREIGN, sizeof(struct weir_shm_foreign));
    CHECK(r,
          (uint32_t)(weir_load_relaxed_u64(&f->word[0]) | weir_load_relaxed_u64(&f->word[1])) == 0,
          "alone, nobody else is seen");
}

int main(int argc, char **argv)
{
    struct rig r;
    pid_t pid[6];
    rig_open(&r, "feedback", argc, argv, 100);
    rig_sim_start(&r, sim_json);
    rig_config(&r, weir_yaml, 0);
    rig_weird_start(&r);
    struct weir *w = rig_attach(&r, WEIR_ROLE_CALLER);
    const struct weir_shm_provider *p =
        rig_board(w, WEIR_SECTION_PROVIDER, sizeof(struct weir_shm_provider));
    straddles(&r, w, p);
    pid[0] = rig_fork(&r, others, 0);
    for (int i = 1; i < 5; i++) {
        pid[i] = rig_fork(&r, caller, i);
    }
    pid[5] = rig_fork(&r, trader, 5);
    rig_sleep_ms(LEARN_MS);
    double learnt = rig_report(&r, "violations");
    rig_sleep_ms(RUN_MS);
    double after = rig_report(&r, "violations") - learnt;
    double share = share_of(&r, 3);
    const struct weir_shm_foreign *f =
        rig_board(w, WEIR_SECTION_FOREIGN, sizeof(struct weir_shm_foreign));
    uint32_t seen = (uint32_t)weir_load_relaxed_u64(&f->word[0]);
    uint32_t other = (uint32_t)weir_load_relaxed_u64(&f->word[1]);
    seen = seen > other ? seen : other;
    weir_store_release_u32(&r.shared->stop, 1);
    for (size_t i = 0; i < WEIR_ARRAY_CNT(pid); i++) {
        CHECK_INT(&r, rig_wait(pid[i], 8000), 0);
    }
    uint32_t *c = r.shared->count;
    (void)printf("others: %u answered, %u refused; calls: %u and %u; permits: %u and %u\n", c[0],
                 c[1], c[2], c[3], c[4], c[5]);
    (void)printf("violations while learning %.0f, afterwards %.0f; others seen: %u; share %.3f; "
                 "reports %llu (%llu ignored), straddles given back %llu, stamps %llu (%llu "
                 "ignored)\n",
                 learnt, after, seen, share, (unsigned long long)p->reports,
                 (unsigned long long)p->reports_ignored, (unsigned long long)p->straddle_given,
                 (unsigned long long)p->clock_samples, (unsigned long long)p->clock_ignored);
    CHECK_INT(&r, after, 0); /* no promise: others may come faster than ever before */
    CHECK(&r, c[0] > OTHERS && c[2] > 100, "both sides took part");
    CHECK(&r, seen > 0 && seen <= QUOTA, "others were seen");
    CHECK(&r, p->reports > 100, "answers were heeded");
    CHECK(&r, p->clock_samples > 100, "every answer was a sample");
    weir_close(w);
    CHECK_INT(&r, rig_weird_stop(&r, 15000), 0);
    return rig_close(&r);
}
