/*
 * http.c: what a call through the broker costs more than the same call made by hand.
 *
 * A real nginx answers on a core of its own. http_cpu_64 and http_throughput_64 come from the same slices: 64 calls in flight, first by the bare
 * loop of http_floor.c on the worker's core, then by a client through weir. http_added looks at one call at a time and takes nginx out of the sum.
 */
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "duel.h"
#include "http_floor.h"
#include "rig_weird.h"
#include "shm/weir_clock.h"

#define IN_FLIGHT      64U
#define HANG_NS        (5 * WEIR_NS_PER_S)
#define ADDED_WARM_CNT 200U

/* All that runs for the rows of this file. */
struct stand {
    const struct bench *bench;
    struct rig_dir dir;
    struct rig_nginx nginx;
    struct rig_weird weird;
    struct weir *weir;
    weir_route_id route;
    clockid_t worker_clock;
    int client_core;
};

/* Both rows read the same pairs; whichever is asked for first makes them. */
static struct {
    bool made;
    int rc;
    struct bench_result failure;
    struct stats_pairs cpu;
    struct stats_pairs rate;
    double client_cpu_ns;
} both;

static void stand_end(struct stand *stand)
{
    weir_close(stand->weir);
    if (stand->weird.child.pid) {
        rig_weird_stop(&stand->weird);
    }
    rig_stop(&stand->nginx.child);
    rig_dir_remove(&stand->dir);
    (void)duel_pin(bench_core(stand->bench, 0));
}

static int stand_attach(struct stand *stand, uint64_t spin_ns, struct bench_result *result)
{
    struct weir_diag diag = {0};
    struct weir_open_opts opts = rig_weird_opts(&stand->weird);
    opts.slots = 2 * IN_FLIGHT;
    opts.response_bytes = 2U << 20;
    opts.spin_ns = spin_ns;
    if (weir_open(&stand->weir, "bench", &opts, &diag) != 0) {
        return bench_fail(result, "cannot attach: %s", diag.text);
    }
    int rc = weir_route_find(stand->weir, "bench.file", &stand->route);
    if (rc != 0) {
        return bench_fail(result, "route bench.file: %s", weir_strerror(rc));
    }
    pid_t worker = rig_weird_worker(&stand->weird);
    if (worker == 0 || clock_getcpuclockid(worker, &stand->worker_clock) != 0) {
        return bench_fail(result, "cannot find the worker's CPU clock");
    }
    return 0;
}

/*
 * Worker on core 0, nginx on core 1, the client on core 2, or beside the worker where there are only two (it runs while the worker
 * waits), or beside nginx where the worker spins.
 */
static int stand_make(const struct bench *bench, struct stand *stand, const char *wake,
                      uint64_t spin_ns, struct bench_result *result)
{
    memset(stand, 0, sizeof(*stand));
    stand->bench = bench;
    /* A worker that spins leaves nothing of its core to anybody. */
    unsigned shared = strcmp(wake, "spin") == 0 ? 1 : 0;
    stand->client_core = bench_core(bench, bench->machine.core_cnt > 2 ? 2 : shared);
    if (bench->machine.core_cnt < 2) {
        return bench_fail(result, "needs two cores");
    }
    struct rig_weird_spec spec = {.wake = wake, .core = bench_core(bench, 0)};
    if (rig_dir_make(&stand->dir, result) != 0 ||
        rig_nginx_start(&stand->nginx, &stand->dir, bench_core(bench, 1), result) != 0) {
        stand_end(stand);
        return -1;
    }
    spec.port = stand->nginx.port;
    if (rig_weird_start(bench, &stand->weird, &spec, result) != 0 ||
        stand_attach(stand, spin_ns, result) != 0) {
        stand_end(stand);
        return -1;
    }
    return 0;
}

static double clock_ns(clockid_t clock)
{
    struct timespec ts = {0};
    clock_gettime(clock, &ts);
    return (double)ts.tv_sec * 1e9 + (double)ts.tv_nsec;
}

static int answer_check(const struct weir_response *response, struct bench_result *result)
{
    if (response->result != WEIR_RESULT_DONE || response->status != 200 ||
        response->body_bytes != RIG_BODY_BYTES) {
        return bench_fail(result, "a call ended as %s, error %d, status %u, %zu bytes",
                          weir_result_text(response->result), response->error, response->status,
                          response->body_bytes);
    }
    return 0;
}

static int submit(struct stand *stand, struct bench_result *result)
{
    weir_ticket ticket;
    struct weir_request_spec spec = {.struct_bytes = sizeof(spec), .route = stand->route};
    int rc = weir_submit(stand->weir, &spec, &ticket);
    return rc == 0 ? 0 : bench_fail(result, "weir_submit: %s", weir_strerror(rc));
}

/* Take answers until there are none (weir_fd is armed only then), and until `end_ns` ask anew for each. */
static int answers_take(struct stand *stand, uint64_t end_ns, unsigned *running_cnt,
                        struct http_count *count, struct bench_result *result)
{
    struct weir_response response;
    while (weir_poll(stand->weir, &response) == 0) {
        if (answer_check(&response, result) != 0) {
            return -1;
        }
        weir_release(stand->weir, response.ticket);
        count->request_cnt++;
        (*running_cnt)--;
        if (weir_clock_monotonic_ns() < end_ns) {
            if (submit(stand, result) != 0) {
                return -1;
            }
            (*running_cnt)++;
        }
    }
    return 0;
}

/* The same as http_floor_run, through weir, by a client with an event loop. */
static int weir_run(struct stand *stand, double slice_s, struct http_count *count,
                    struct bench_result *result)
{
    unsigned running_cnt = 0;
    memset(count, 0, sizeof(*count));
    struct pollfd ready = {.fd = weir_fd(stand->weir), .events = POLLIN};
    if (ready.fd < 0) {
        return bench_fail(result, "weir_fd: %s", weir_strerror(ready.fd));
    }
    uint64_t start_ns = weir_clock_monotonic_ns();
    uint64_t end_ns = start_ns + (uint64_t)(slice_s * 1e9);
    double worker_ns = clock_ns(stand->worker_clock);
    double client_ns = clock_ns(CLOCK_THREAD_CPUTIME_ID);
    while (running_cnt < IN_FLIGHT) {
        if (submit(stand, result) != 0) {
            return -1;
        }
        running_cnt++;
    }
    uint64_t now_ns = start_ns;
    while (running_cnt > 0) {
        if (answers_take(stand, end_ns, &running_cnt, count, result) != 0) {
            return -1;
        }
        if (running_cnt > 0 && poll(&ready, 1, 100) < 0) {
            return bench_fail(result, "poll failed");
        }
        now_ns = weir_clock_monotonic_ns();
        if (now_ns > end_ns + HANG_NS) {
            return bench_fail(result, "%u calls hang", running_cnt);
        }
    }
    count->wall_ns = (double)(now_ns - start_ns);
    count->cpu_ns = clock_ns(stand->worker_clock) - worker_ns;
    count->client_cpu_ns = clock_ns(CLOCK_THREAD_CPUTIME_ID) - client_ns;
    return 0;
}

static int both_rounds(struct stand *stand, struct http_floor *loop, struct bench_result *result)
{
    const struct bench *bench = stand->bench;
    double client_ns[STATS_PAIRS_MAX];
    for (unsigned i = 0; i <= bench->opts.round_cnt; i++) {
        struct http_count floor;
        struct http_count weir;
        if (duel_pin(bench_core(bench, 0)) != 0 ||
            http_floor_run(loop, bench_slice_s(bench), &floor, result) != 0 ||
            duel_pin(stand->client_core) != 0 ||
            weir_run(stand, bench_slice_s(bench), &weir, result) != 0) {
            return -1;
        }
        if (i == 0) { /* connections are made in the first */
            continue;
        }
        double floor_cnt = (double)floor.request_cnt;
        double weir_cnt = (double)weir.request_cnt;
        client_ns[both.cpu.cnt] = weir.client_cpu_ns / weir_cnt;
        stats_pairs_add(&both.cpu, floor.cpu_ns / floor_cnt, weir.cpu_ns / weir_cnt);
        stats_pairs_add(&both.rate, floor_cnt / floor.wall_ns * 1e9, weir_cnt / weir.wall_ns * 1e9);
    }
    both.client_cpu_ns = stats_median(client_ns, both.cpu.cnt);
    return 0;
}

static int both_make(const struct bench *bench, struct bench_result *result)
{
    struct stand stand;
    char url[64];
    if (both.made) {
        snprintf(result->why, sizeof(result->why), "%s", both.failure.why);
        return both.rc;
    }
    both.made = true;
    both.rc = stand_make(bench, &stand, "sleep", 1, &both.failure);
    if (both.rc == 0) {
        snprintf(url, sizeof(url), "http://127.0.0.1:%u/file.json", stand.nginx.port);
        struct http_floor *loop = http_floor_open(url, IN_FLIGHT, RIG_BODY_BYTES, &both.failure);
        both.rc = loop ? both_rounds(&stand, loop, &both.failure) : -1;
        if (loop) {
            http_floor_close(loop);
        }
        stand_end(&stand);
    }
    snprintf(result->why, sizeof(result->why), "%s", both.failure.why);
    return both.rc;
}

static void both_conclude(const struct stats_pairs *pairs, struct bench_result *result)
{
    result->measured = true;
    result->value = stats_pairs_subject(pairs);
    result->has_floor = true;
    result->floor = stats_pairs_floor(pairs);
    result->ratio = stats_pairs_ratio(pairs);
    result->pair_cnt = (unsigned)pairs->cnt;
}

int bench_http_cpu_64(const struct bench *bench, struct bench_result *result)
{
    if (both_make(bench, result) != 0) {
        return -1;
    }
    both_conclude(&both.cpu, result);
    result->has_best = true;
    result->best = stats_pairs_best(&both.cpu);
    snprintf(result->note, sizeof(result->note),
             "CPU of the worker alone; the client, an event loop, uses %.0f ns more",
             both.client_cpu_ns);
    return 0;
}

int bench_http_throughput_64(const struct bench *bench, struct bench_result *result)
{
    if (both_make(bench, result) != 0) {
        return -1;
    }
    both_conclude(&both.rate, result);
    snprintf(result->note, sizeof(result->note), "worker on core %d, nginx on %d, client on %d",
             bench_core(bench, 0), bench_core(bench, 1),
             bench_core(bench, bench->machine.core_cnt > 2 ? 2 : 0));
    return 0;
}

static int added_run(struct stand *stand, struct stats_hist *hist, struct bench_result *result)
{
    struct weir_request_spec spec = {.struct_bytes = sizeof(spec), .route = stand->route};
    struct weir_response response;
    uint64_t end_ns =
        weir_clock_monotonic_ns() + (uint64_t)(stand->bench->opts.row_s * (double)WEIR_NS_PER_S);
    for (unsigned i = 0; i < ADDED_WARM_CNT || weir_clock_monotonic_ns() < end_ns; i++) {
        int rc = weir_call(stand->weir, &spec, weir_now_ns(stand->weir) + HANG_NS, &response);
        if (rc != 0) {
            return bench_fail(result, "weir_call answered %d", rc);
        }
        if (answer_check(&response, result) != 0) {
            return -1;
        }
        if (i >= ADDED_WARM_CNT) {
            stats_hist_add(hist, response.sent_ns - response.submitted_ns + response.delivered_ns -
                                     response.done_ns);
        }
        weir_release(stand->weir, response.ticket);
    }
    return 0;
}

int bench_http_added(const struct bench *bench, struct bench_result *result)
{
    static struct stats_hist hist;
    struct stand stand;
    memset(&hist, 0, sizeof(hist));
    if (stand_make(bench, &stand, "spin", 1, result) != 0) {
        return -1;
    }
    int rc = duel_pin(stand.client_core) == 0 ? added_run(&stand, &hist, result)
                                              : bench_fail(result, "cannot pin the client");
    stand_end(&stand);
    if (rc != 0) {
        return -1;
    }
    result->measured = true;
    result->has_tail = true;
    result->p50 = stats_hist_quantile(&hist, 0.5) / 1e3;
    result->p99 = stats_hist_quantile(&hist, 0.99) / 1e3;
    result->p999 = stats_hist_quantile(&hist, 0.999) / 1e3;
    result->value = result->p50;
    snprintf(result->note, sizeof(result->note), "%llu calls; worker spinning, client parked",
             (unsigned long long)hist.cnt);
    return 0;
}
