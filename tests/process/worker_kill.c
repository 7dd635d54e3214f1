/*
 * kill -9 of the worker at random moments, many times, and SIGSTOP for a while: strategies go on without doing anything, each request ends exactly
 * once with a named outcome, no order is doubled, permits flow meanwhile, no violation.
 *
 *   worker_kill WEIR-SIM WEIRD [SEED] [--long | --kills=N]     --long: 1000 kills, a minute and a half; at most so many
 */
#include "rig.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define KILLS      25U
#define LONG_KILLS 1000U
#define FLIGHT     8U

enum { ENDED = 0, UNKNOWN = 1, OTHER = 2, GRANTED = 10, DENIED = 11, LEASE = 12, LATE_MAX_MS = 20 };

/* Orders by wait. Every one must end by itself within its time. */
static int by_wait(struct rig *r, int arg)
{
    (void)arg;
    struct weir *w = rig_attach(r, WEIR_ROLE_CALLER);
    weir_route_id route = rig_route(w, "sim.order");
    weir_ticket ticket[FLIGHT];
    uint32_t number[FLIGHT];
    int bad = 0;
    while (weir_load_acquire_u32(&r->shared->stop) == 0) {
        unsigned cnt = 0;
        for (; cnt < FLIGHT; cnt++) {
            if (rig_order_submit(r, w, route, weir_now_ns(w) + WEIR_NS_PER_S, &ticket[cnt],
                                 &number[cnt]) != 0) {
                break;
            }
        }
        for (unsigned i = 0; i < cnt; i++) {
            struct weir_response a;
            int rc =
                weir_wait(w, ticket[i], weir_now_ns(w) + 4 * rig_slowness() * WEIR_NS_PER_S, &a);
            if (rc != 0) {
                (void)printf("FAILED: wait: %s\n", weir_strerror(rc));
                bad = 1;
                continue;
            }
            rig_order_ended(r, number[i], &a);
            weir_fetch_add_u32(&r->shared->count[a.result == WEIR_RESULT_DONE              ? ENDED
                                                 : a.result == WEIR_RESULT_OUTCOME_UNKNOWN ? UNKNOWN
                                                                                           : OTHER],
                               1);
            (void)weir_release(w, ticket[i]);
        }
    }
    weir_close(w);
    return bad;
}

/* Orders by descriptor and poll: an answer whose bell died with the worker must still come. */
static int by_fd(struct rig *r, int arg)
{
    (void)arg;
    struct weir *w = rig_attach(r, WEIR_ROLE_CALLER);
    weir_route_id route = rig_route(w, "sim.order");
    uint32_t number_of[4096] = {0};
    unsigned out = 0;
    uint64_t last_ns = rig_now_ns();
    while (weir_load_acquire_u32(&r->shared->stop) == 0 || out > 0) {
        while (out < FLIGHT && weir_load_acquire_u32(&r->shared->stop) == 0) {
            weir_ticket t;
            uint32_t n;
            if (rig_order_submit(r, w, route, weir_now_ns(w) + WEIR_NS_PER_S, &t, &n) != 0) {
                break;
            }
            number_of[(uint32_t)t & 4095U] = n;
            out++;
        }
        struct pollfd p = {.fd = weir_fd(w), .events = POLLIN};
        struct weir_response a;
        while (weir_poll(w, &a) == 0) {
            rig_order_ended(r, number_of[(uint32_t)a.ticket & 4095U], &a);
            (void)weir_release(w, a.ticket);
            last_ns = rig_now_ns();
            out--;
        }
        (void)poll(&p, 1, 4000);
        if (rig_now_ns() - last_ns > 6 * rig_slowness() * WEIR_NS_PER_S) {
            (void)printf("FAILED: %u requests never ended\n", out);
            return 1;
        }
    }
    weir_close(w);
    return 0;
}

/* GETs: sent again by a new worker, with a permit of their own. */
static int reads(struct rig *r, int arg)
{
    (void)arg;
    struct weir *w = rig_attach(r, WEIR_ROLE_CALLER);
    const struct weir_request_spec spec = {.struct_bytes = sizeof spec,
                                           .route = rig_route(w, "sim.ping")};
    int bad = 0;
    while (weir_load_acquire_u32(&r->shared->stop) == 0) {
        struct weir_response a;
        int rc = weir_call(w, &spec, weir_now_ns(w) + 2 * WEIR_NS_PER_S, &a);
        if (rc != 0 || a.result == WEIR_RESULT_UNSET || a.result == WEIR_RESULT_OUTCOME_UNKNOWN) {
            (void)printf("FAILED: read: %d %s\n", rc,
                         rc == 0 ? weir_result_text(a.result) : weir_strerror(rc));
            bad = 1;
        }
        weir_fetch_add_u32(&r->shared->count[rc == 0 && a.result == WEIR_RESULT_DONE ? 20 : 21], 1);
        if (rc == 0 && a.sends > 1) {
            weir_fetch_add_u32(&r->shared->count[22], 1);
        }
        (void)weir_release(w, a.ticket);
    }
    weir_close(w);
    return bad;
}

/* Permits for a route without calls: the lease must never end. */
static int permits(struct rig *r, int arg)
{
    (void)arg;
    struct weir *w = rig_attach(r, WEIR_ROLE_TRADER);
    weir_route_id route = rig_route(w, "sim.own");
    while (weir_load_acquire_u32(&r->shared->stop) == 0) {
        struct weir_permit p;
        int rc = weir_permit_try(w, route, 0, NULL, WEIR_PRIORITY_LOW, &p);
        unsigned at = rc == 0                                                           ? GRANTED
                      : rc == WEIR_DENIED && p.denial.reason == WEIR_REASON_LEASE_ENDED ? LEASE
                                                                                        : DENIED;
        weir_fetch_add_u32(&r->shared->count[at], 1);
        rig_sleep_ms(2);
    }
    weir_close(w);
    return 0;
}

static int by_size(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a;
    uint64_t y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

/* Median, 99th percentile and worst of `cnt` figures, in ms. */
static void figures_print(const char *what, uint64_t *ns, unsigned cnt)
{
    qsort(ns, cnt, sizeof ns[0], by_size);
    (void)printf("%s: p50 %.1f ms, p99 %.1f ms, worst %.1f ms of %u\n", what,
                 (double)ns[cnt / 2] / 1e6, (double)ns[cnt * 99 / 100] / 1e6,
                 (double)ns[cnt - 1] / 1e6, cnt);
}

/* Each kill strikes in mid-traffic; what is measured: until a new worker runs, and until a request is answered again. */
static void kills(struct rig *r, unsigned cnt)
{
    static uint64_t answer_ns[LONG_KILLS];
    static uint64_t start_ns[LONG_KILLS];
    struct weir *w = rig_attach(r, WEIR_ROLE_CALLER);
    const struct weir_request_spec nop = {.struct_bytes = sizeof nop,
                                          .route = rig_route(w, "weir.nop")};
    const struct weir_shm_worker *board = rig_board_worker(w);
    pid_t worker = rig_process(r, "weird-worker");
    uint32_t granted = 0;
    unsigned spread_ms = cnt > KILLS ? 80 : 230;
    for (unsigned i = 0; i < cnt; i++) {
        struct weir_response a;
        rig_sleep_ms((20 + rig_random(r, spread_ms)) * rig_slowness());
        uint32_t before = weir_load_acquire_u32(&r->shared->count[GRANTED]);
        uint64_t at_ns = rig_now_ns();
        (void)kill(worker, SIGKILL);
        int rc = weir_call(w, &nop, weir_now_ns(w) + 3 * rig_slowness() * WEIR_NS_PER_S, &a);
        answer_ns[i] = rig_now_ns() - at_ns;
        granted += weir_load_acquire_u32(&r->shared->count[GRANTED]) - before;
        uint64_t started_ns = weir_load_relaxed_u64(&board->started_ns);
        start_ns[i] = started_ns > at_ns ? started_ns - at_ns : 0;
        CHECK_INT(r, rc, 0);
        (void)weir_release(w, a.ticket);
        worker = rig_process_next(r, "weird-worker", worker, 3000 * rig_slowness());
        CHECK(r, worker > 0, "a worker again");
    }
    figures_print("kill to a new worker", start_ns, cnt);
    figures_print("kill to the next answer", answer_ns, cnt);
    (void)printf("permits granted between a kill and the next answer: %u in all\n", granted);
    CHECK(r, answer_ns[cnt / 2] < 200 * rig_slowness() * WEIR_NS_PER_MS, "back in time");
    for (unsigned i = 0; i < 2; i++) {
        (void)kill(worker, SIGSTOP);
        rig_sleep_ms(1000 + 500 * i);
        (void)kill(worker, SIGCONT);
        rig_sleep_ms(300);
    }
    CHECK_INT(r, rig_process(r, "weird-worker"), worker);
    weir_close(w);
}

/* In a window of one call: a read that was sent, waited for its second permit when the next worker died too, and had no time left when the third one came: it is a read, and never "unknown". */
static void read_without_time(struct rig *r)
{
    static const char yaml[] =
        "broker: {name: rig}\n"
        "providers:\n"
        "  - name: slow\n"
        "    clock: {source: host, error: 1ms, max_jitter: 100ms}\n"
        "    limits:\n"
        "      - {name: once, kind: fixed_window, quota: 1, window: 2s}\n"
        "    endpoints:\n"
        "      - {name: a, url: \"http://127.0.0.1:$PORT\"}\n"
        "    routes:\n"
        "      - {name: ping, method: GET, path: /api/v3/ping, cost: {once: 1}, timeout: "
        "2500ms}\n";
    rig_config(r, yaml, 0);
    rig_weird_start(r);
    rig_fault(r, "{\"kind\": \"slow_first_byte\", \"path\": \"/api/v3/ping\", \"delay_ms\": 3000}");
    struct weir *w = rig_attach(r, WEIR_ROLE_CALLER);
    const struct weir_request_spec spec = {.struct_bytes = sizeof spec,
                                           .route = rig_route(w, "slow.ping")};
    struct timespec ts;
    (void)clock_gettime(CLOCK_REALTIME, &ts);
    rig_sleep_ms((unsigned)(2400 - (ts.tv_sec % 2 * 1000 + ts.tv_nsec / 1000000)) % 2000);
    weir_ticket t;
    struct weir_response a;
    CHECK_INT(r, weir_submit(w, &spec, &t), 0);
    const uint64_t *word = &w->at->mem.slot[(uint32_t)t].state;
    for (int n = 0; n < 2000 && weir_slot_state(weir_load_acquire_u64(word)) != WEIR_SLOT_SENDING;
         n++) {
        rig_sleep_ms(1);
    }
    (void)kill(rig_process(r, "weird-worker"), SIGKILL);
    for (int n = 0; n < 1000 && !rig_log_has(r, "\"incarnation\":2"); n++) {
        rig_sleep_ms(1);
    }
    (void)kill(r->weird, SIGSTOP);
    (void)kill(rig_process(r, "weird-worker"), SIGKILL);
    rig_sleep_ms(2600);
    (void)kill(r->weird, SIGCONT);
    CHECK_INT(r, weir_wait(w, t, weir_now_ns(w) + 5 * WEIR_NS_PER_S, &a), 0);
    CHECK_TEXT(r, weir_result_text(a.result), weir_result_text(WEIR_RESULT_TIMEOUT));
    CHECK(r, a.sends > 0, "it was sent");
    (void)weir_release(w, t);
    weir_close(w);
    rig_faults_clear(r);
    CHECK_INT(r, rig_weird_stop(r, 15000), 0);
}

int main(int argc, char **argv)
{
    static int (*const role[])(struct rig *, int) = {by_wait, by_fd, reads, permits};
    struct rig r;
    pid_t pid[4];
    const char *last = argv[argc - 1];
    bool more = argc > 3 && strncmp(last, "--", 2) == 0;
    unsigned cnt = strncmp(last, "--kills=", 8) == 0 ? (unsigned)strtoul(last + 8, NULL, 10)
                   : more                            ? LONG_KILLS
                                                     : KILLS;
    rig_open(&r, "worker_kill", argc - (more ? 1 : 0), argv, more ? 600 : 80);
    if (!CHECK(&r, cnt > 0 && cnt <= LONG_KILLS, "--kills=1 to %u", LONG_KILLS)) {
        return rig_close(&r);
    }
    rig_sim_start(&r, "{\"latency_ms\": 3, \"jitter_ms\": 10, \"ban_after\": 3, \"limits\": ["
                      "{\"name\": \"weight\", \"kind\": \"fixed_window\", \"quota\": 2000, "
                      "\"window_ms\": 2000}, {\"name\": \"orders\", \"kind\": \"fixed_window\", "
                      "\"quota\": 500, \"window_ms\": 2000, \"scope\": \"key\", \"counts\": "
                      "\"orders\"}]}");
    read_without_time(&r);
    rig_config_limits(&r, "wake: adaptive", 2000, "2s");
    rig_weird_start(&r);
    for (int i = 0; i < 4; i++) {
        pid[i] = rig_fork(&r, role[i], i);
    }
    rig_sleep_ms(300);
    kills(&r, cnt);
    weir_store_release_u32(&r.shared->stop, 1);
    for (int i = 0; i < 4; i++) {
        CHECK_INT(&r, rig_wait(pid[i], 8000 * rig_slowness()), 0);
    }
    uint32_t *c = r.shared->count;
    (void)printf(
        "orders waited for: %llu done, %llu unknown, %llu otherwise; reads: %llu done, %llu "
        "otherwise, %llu sent again; permits: %llu, denied %llu\n",
        (unsigned long long)c[ENDED], (unsigned long long)c[UNKNOWN], (unsigned long long)c[OTHER],
        (unsigned long long)c[20], (unsigned long long)c[21], (unsigned long long)c[22],
        (unsigned long long)c[GRANTED], (unsigned long long)c[DENIED]);
    CHECK_INT(&r, c[LEASE], 0);
    CHECK(&r, c[ENDED] > 100 && c[20] > 100 && c[GRANTED] > 100, "all took part");
    rig_orders_check(&r, false);
    PROMISE_INT(&r, rig_report(&r, "violations"), 0);
    CHECK_INT(&r, rig_report(&r, "by_status.429"), -1);
    CHECK_INT(&r, rig_weird_stop(&r, 15000), 0);
    return rig_close(&r);
}
