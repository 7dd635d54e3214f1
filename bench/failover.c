/*
 * failover.c: how long a strategy is without answers when the server that serves it dies.
 *
 * Two real nginx, balance: failover, so all calls are at the first. 16 idempotent calls are kept in flight; then master and worker of the first are killed. What counts is
 * the time from the kill to the end of the first good answer that was given by the second, and that no call is lost. Then the first is started again, and calls must come
 * back to it before the next round.
 */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "duel.h"
#include "rig_weird.h"
#include "shm/weir_clock.h"

#define CALLS   16U
#define HANG_NS (5 * WEIR_NS_PER_S)
#define BACK_NS (20 * WEIR_NS_PER_S)
#define AFTER_NS \
    (200 *       \
     WEIR_NS_PER_MS) /* a round goes on for so long behind the kill: no call may be lost meanwhile */
#define ROUNDS_MAX 15U

struct stand {
    struct rig_dir dir[2];
    struct rig_nginx nginx[2];
    struct rig_weird weird;
    struct weir *weir;
    weir_route_id route;
    unsigned running, lost;
};

static void stand_end(const struct bench *bench, struct stand *s)
{
    weir_close(s->weir);
    if (s->weird.child.pid) {
        rig_weird_stop(&s->weird);
    }
    for (unsigned i = 0; i < 2; i++) {
        rig_stop(&s->nginx[i].child);
        rig_dir_remove(&s->dir[i]);
    }
    (void)duel_pin(bench_core(bench, 0));
}

static int stand_make(const struct bench *bench, struct stand *s, struct bench_result *result)
{
    struct rig_weird_spec spec = {.wake = "adaptive", .core = bench_core(bench, 0)};
    struct weir_diag diag = {0};
    for (unsigned i = 0; i < 2; i++) {
        if (rig_dir_make(&s->dir[i], result) != 0 ||
            rig_nginx_start(&s->nginx[i], &s->dir[i], bench_core(bench, 1), result) != 0) {
            return -1;
        }
    }
    spec.port = s->nginx[0].port;
    spec.port2 = s->nginx[1].port;
    if (rig_weird_start(bench, &s->weird, &spec, result) != 0) {
        return -1;
    }
    struct weir_open_opts opts = rig_weird_opts(&s->weird);
    if (weir_open(&s->weir, "bench", &opts, &diag) != 0) {
        return bench_fail(result, "cannot attach: %s", diag.text);
    }
    int rc = weir_route_find(s->weir, "bench.file", &s->route);
    return rc == 0 ? 0 : bench_fail(result, "route bench.file: %s", weir_strerror(rc));
}

/* Keep the calls in flight and take one answer. Returns the endpoint that gave a good one, 2 for a lost call, -1 where all hang. */
static int one_answer(struct stand *s, uint64_t *at_ns)
{
    struct weir_request_spec spec = {.struct_bytes = sizeof(spec), .route = s->route};
    struct weir_response a;
    weir_ticket t;
    struct pollfd ready = {.fd = weir_fd(s->weir), .events = POLLIN};
    spec.deadline_ns = weir_now_ns(s->weir) + HANG_NS;
    while (s->running < CALLS && weir_submit(s->weir, &spec, &t) == 0) {
        s->running++;
    }
    uint64_t until_ns = weir_clock_monotonic_ns() + 2 * HANG_NS;
    while (weir_poll(s->weir, &a) != 0) {
        if (weir_clock_monotonic_ns() > until_ns) {
            return -1;
        }
        (void)poll(&ready, 1, 100);
    }
    *at_ns = a.delivered_ns;
    bool good = a.result == WEIR_RESULT_DONE && a.status == 200;
    int endpoint = good ? (int)a.endpoint : 2;
    weir_release(s->weir, a.ticket);
    s->running--;
    s->lost += good ? 0 : 1;
    return endpoint;
}

/* Wait until the first endpoint serves. */
static int settle(struct stand *s, struct bench_result *result)
{
    uint64_t until_ns = weir_now_ns(s->weir) + BACK_NS;
    uint64_t at_ns = 0;
    unsigned row = 0;
    while (row < 4 * CALLS) {
        int endpoint = one_answer(s, &at_ns);
        row = endpoint == 0 ? row + 1 : 0;
        if (endpoint < 0 || weir_now_ns(s->weir) > until_ns) {
            return bench_fail(result, "the first endpoint is not used again");
        }
    }
    return 0;
}

static int round_run(const struct bench *bench, struct stand *s, double *ms,
                     struct bench_result *result)
{
    uint64_t at_ns = 0;
    uint64_t first_ns = 0;
    if (settle(s, result) != 0) {
        return -1;
    }
    uint64_t killed_ns = weir_now_ns(s->weir);
    rig_nginx_crash(&s->nginx[0]);
    while (first_ns == 0 || at_ns < killed_ns + AFTER_NS) {
        int endpoint = one_answer(s, &at_ns);
        if (endpoint < 0) {
            return bench_fail(result, "all calls hang after the crash");
        }
        first_ns = first_ns == 0 && endpoint == 1 ? at_ns : first_ns;
    }
    *ms = (double)(first_ns - killed_ns) / 1e6;
    return rig_nginx_start(&s->nginx[0], &s->dir[0], bench_core(bench, 1), result);
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return x < y ? -1 : x > y;
}

int bench_failover_ms(const struct bench *bench, struct bench_result *result)
{
    struct stand s = {0};
    double ms[ROUNDS_MAX];
    unsigned cnt = 0;
    if (bench->machine.core_cnt < 2) {
        return bench_fail(result, "needs two cores");
    }
    int rc = stand_make(bench, &s, result);
    while (rc == 0 && cnt < ROUNDS_MAX && cnt < bench->opts.round_cnt) {
        rc = round_run(bench, &s, &ms[cnt], result);
        cnt += rc == 0 ? 1 : 0;
    }
    unsigned lost = s.lost;
    stand_end(bench, &s);
    if (rc != 0) {
        return -1;
    }
    qsort(ms, cnt, sizeof(*ms), by_value);
    result->measured = true;
    result->has_tail = true;
    result->p50 = ms[cnt / 2];
    result->p99 = ms[cnt - 1];
    result->p999 = ms[cnt - 1];
    result->value = result->p50;
    snprintf(result->note, sizeof(result->note), "%u crashes, %u calls lost; p99 is the longest",
             cnt, lost);
    return 0;
}
