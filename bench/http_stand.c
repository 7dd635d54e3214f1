#include "http_stand.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "duel.h"
#include "shm/weir_clock.h"

#define HANG_NS (5 * WEIR_NS_PER_S)

void http_stand_end(struct http_stand *stand)
{
    weir_close(stand->weir);
    if (stand->weird.child.pid) {
        rig_weird_stop(&stand->weird);
    }
    rig_stop(&stand->nginx.child);
    rig_dir_remove(&stand->dir);
    (void)duel_pin(bench_core(stand->bench, 0));
}

static int stand_attach(struct http_stand *stand, uint64_t spin_ns, struct bench_result *result)
{
    struct weir_diag diag = {0};
    struct weir_open_opts opts = rig_weird_opts(&stand->weird);
    opts.slots = 2 * HTTP_IN_FLIGHT;
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

int http_stand_make(const struct bench *bench, struct http_stand *stand, const char *wake,
                    uint64_t spin_ns, bool is_caged, struct bench_result *result)
{
    memset(stand, 0, sizeof(*stand));
    stand->bench = bench;
    /* A worker that spins leaves nothing of its core to anybody. */
    unsigned shared = strcmp(wake, "spin") == 0 ? 1 : 0;
    stand->client_core = bench_core(bench, bench->machine.core_cnt > 2 ? 2 : shared);
    if (bench->machine.core_cnt < 2) {
        return bench_fail(result, "needs two cores");
    }
    struct rig_weird_spec spec = {
        .wake = wake, .core = bench_core(bench, 0), .is_crowd = true, .is_uncaged = !is_caged};
    if (rig_dir_make(&stand->dir, result) != 0 ||
        rig_nginx_start(&stand->nginx, &stand->dir, bench_core(bench, 1), result) != 0) {
        http_stand_end(stand);
        return -1;
    }
    spec.port = stand->nginx.port;
    if (rig_weird_start(bench, &stand->weird, &spec, result) != 0 ||
        stand_attach(stand, spin_ns, result) != 0) {
        http_stand_end(stand);
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

int http_answer_check(const struct weir_response *response, struct bench_result *result)
{
    if (response->result != WEIR_RESULT_DONE || response->status != 200 ||
        response->body_bytes != RIG_BODY_BYTES) {
        return bench_fail(result, "a call ended as %s, error %d, status %u, %zu bytes",
                          weir_result_text(response->result), response->error, response->status,
                          response->body_bytes);
    }
    return 0;
}

static int submit(struct http_stand *stand, struct bench_result *result)
{
    weir_ticket ticket;
    struct weir_request_spec spec = {.struct_bytes = sizeof(spec), .route = stand->route};
    int rc = weir_submit(stand->weir, &spec, &ticket);
    return rc == 0 ? 0 : bench_fail(result, "weir_submit: %s", weir_strerror(rc));
}

/* Take answers until there are none (weir_fd is armed only then), and until `end_ns` ask anew for each. */
static int answers_take(struct http_stand *stand, uint64_t end_ns, unsigned *running_cnt,
                        struct http_count *count, struct bench_result *result)
{
    struct weir_response response;
    while (weir_poll(stand->weir, &response) == 0) {
        if (http_answer_check(&response, result) != 0) {
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

int http_weir_run(struct http_stand *stand, unsigned in_flight, double slice_s,
                  struct http_count *count, struct bench_result *result)
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
    while (running_cnt < in_flight) {
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
