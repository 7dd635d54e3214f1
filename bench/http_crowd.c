/*
 * http_crowd.c: many at once. http_inflight_10k: ten thousand calls handed over and none ended, what that costs in memory and until the last one has its answer.
 * http_clients: as many processes as --clients says, one call at a time each, for as long as --seconds says.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "duel.h"
#include "http_stand.h"
#include "shm/weir_clock.h"
#include "stats.h"

#define CALLS       10000U
#define HANDLES     4U /* a client has at most 4096 slots */
#define ARENA_BYTES (4U << 20)
#define PATIENCE_NS (30 * WEIR_NS_PER_S)

/* Resident memory of a process that is not shared with anybody, in KiB; 0 if it cannot be read. */
static long private_kib(pid_t pid)
{
    char path[64];
    char line[128];
    long anon_kib = 0;
    snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
    FILE *file = fopen(path, "re");
    while (file && fgets(line, sizeof(line), file)) {
        if (sscanf(line, "RssAnon: %ld kB", &anon_kib) == 1) {
            break;
        }
    }
    if (file) {
        fclose(file);
    }
    return anon_kib;
}

static double clock_s(clockid_t clock)
{
    struct timespec ts = {0};
    clock_gettime(clock, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* ---------------------------------------------------------------------------------------------- ten thousand */

struct flood {
    struct weir *handle[HANDLES];
    uint64_t began_ns;
    uint64_t accepted_ns; /* until the last one was handed over */
    uint64_t ended_ns;
    long before_kib, most_kib;
};

static int flood_open(struct flood *flood, const struct http_stand *stand,
                      struct bench_result *result)
{
    for (unsigned i = 0; i < HANDLES; i++) {
        struct weir_diag diag = {0};
        struct weir_open_opts opts = rig_weird_opts(&stand->weird);
        opts.slots = CALLS / HANDLES;
        opts.request_bytes = 1024;
        opts.response_bytes = ARENA_BYTES;
        if (weir_open(&flood->handle[i], "bench", &opts, &diag) != 0) {
            return bench_fail(result, "cannot attach: %s", diag.text);
        }
    }
    return 0;
}

static int flood_submit(struct flood *flood, const struct http_stand *stand,
                        struct bench_result *result)
{
    for (unsigned i = 0; i < CALLS; i++) {
        weir_ticket ticket;
        struct weir *w = flood->handle[i % HANDLES];
        struct weir_request_spec spec = {.struct_bytes = sizeof(spec),
                                         .route = stand->route,
                                         .deadline_ns = weir_now_ns(w) + PATIENCE_NS};
        int rc;
        while ((rc = weir_submit(w, &spec, &ticket)) == WEIR_E_RING_FULL) {
            usleep(50); /* the worker takes them in turns */
        }
        if (rc != 0) {
            return bench_fail(result, "call %u: weir_submit: %s", i, weir_strerror(rc));
        }
    }
    return 0;
}

static int flood_collect(struct flood *flood, pid_t worker, struct stats_hist *hist,
                         struct bench_result *result)
{
    uint64_t until_ns = flood->began_ns + PATIENCE_NS + WEIR_NS_PER_S;
    for (unsigned ended = 0; ended < CALLS;) {
        unsigned before = ended;
        for (unsigned i = 0; i < HANDLES; i++) {
            struct weir_response response;
            while (weir_poll(flood->handle[i], &response) == 0) {
                if (http_answer_check(&response, result) != 0) {
                    return -1;
                }
                stats_hist_add(hist, (response.delivered_ns - response.submitted_ns) / 1000);
                weir_release(flood->handle[i], response.ticket);
                ended++;
            }
        }
        if (ended == before) {
            long kib = private_kib(worker);
            flood->most_kib = kib > flood->most_kib ? kib : flood->most_kib;
            usleep(500);
        }
        if (weir_clock_monotonic_ns() > until_ns) {
            return bench_fail(result, "%u of %u calls hang", CALLS - ended, CALLS);
        }
    }
    flood->ended_ns = weir_clock_monotonic_ns();
    return 0;
}

static int flood_run(struct flood *flood, const struct http_stand *stand, struct stats_hist *hist,
                     struct bench_result *result)
{
    pid_t worker = rig_weird_worker(&stand->weird);
    if (flood_open(flood, stand, result) != 0) {
        return -1;
    }
    flood->before_kib = private_kib(worker);
    flood->began_ns = weir_clock_monotonic_ns();
    if (flood_submit(flood, stand, result) != 0) {
        return -1;
    }
    flood->accepted_ns = weir_clock_monotonic_ns();
    flood->most_kib = private_kib(worker);
    return flood_collect(flood, worker, hist, result);
}

int bench_http_inflight_10k(const struct bench *bench, struct bench_result *result)
{
    static struct stats_hist hist;
    struct http_stand stand;
    struct flood flood = {0};
    memset(&hist, 0, sizeof(hist));
    if (http_stand_make(bench, &stand, "adaptive", 0, true, result) != 0) {
        return -1;
    }
    int rc = duel_pin(stand.client_core) == 0 ? flood_run(&flood, &stand, &hist, result)
                                              : bench_fail(result, "cannot pin the client");
    for (unsigned i = 0; i < HANDLES; i++) {
        weir_close(flood.handle[i]);
    }
    http_stand_end(&stand);
    if (rc != 0) {
        return -1;
    }
    double all_s = (double)(flood.ended_ns - flood.began_ns) / 1e9;
    result->measured = true;
    result->has_tail = true;
    result->p50 = stats_hist_quantile(&hist, 0.5) / 1e3;
    result->p99 = stats_hist_quantile(&hist, 0.99) / 1e3;
    result->p999 = stats_hist_quantile(&hist, 0.999) / 1e3;
    result->value = result->p50;
    snprintf(result->note, sizeof(result->note),
             "%u calls handed over in %.0f ms by one thread, the last one answered after %.0f ms "
             "(%.0f/s); the "
             "worker's own memory grew from %ld to %ld KiB: %.0f KiB per 1000 calls",
             CALLS, (double)(flood.accepted_ns - flood.began_ns) / 1e6, all_s * 1e3, CALLS / all_s,
             flood.before_kib, flood.most_kib,
             (double)(flood.most_kib - flood.before_kib) * 1000 / CALLS);
    return 0;
}

/* ---------------------------------------------------------------------------------------------- a crowd */

/* Of one process, in memory shared with the parent; written by it alone, read when it has ended. */
struct crowd_member {
    uint64_t good_cnt, bad_cnt;
    struct stats_hist hist; /* us */
};

static void crowd_calls(struct weir *w, weir_route_id route, uint64_t end_ns,
                        struct crowd_member *me)
{
    const struct weir_request_spec spec = {.struct_bytes = sizeof(spec), .route = route};
    while (weir_clock_monotonic_ns() < end_ns) {
        struct weir_response response;
        uint64_t began_ns = weir_clock_monotonic_ns();
        int rc = weir_call(w, &spec, weir_now_ns(w) + PATIENCE_NS, &response);
        bool good = rc == 0 && response.result == WEIR_RESULT_DONE && response.status == 200 &&
                    response.body_bytes == RIG_BODY_BYTES;
        stats_hist_add(&me->hist, (weir_clock_monotonic_ns() - began_ns) / 1000);
        *(good ? &me->good_cnt : &me->bad_cnt) += 1;
        if (rc == 0) {
            weir_release(w, response.ticket);
        }
    }
}

static _Noreturn void crowd_child(const struct http_stand *stand, uint64_t end_ns,
                                  struct crowd_member *me)
{
    struct weir *w;
    weir_route_id route;
    struct weir_open_opts opts = rig_weird_opts(&stand->weird);
    opts.slots = 2;
    opts.response_bytes = 64U << 10;
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (weir_open(&w, "bench", &opts, NULL) != 0 || weir_route_find(w, "bench.file", &route) != 0) {
        _exit(1);
    }
    crowd_calls(w, route, end_ns, me);
    _exit(0);
}

/* Returns how many did not end well. */
static unsigned crowd_run(const struct http_stand *stand, struct crowd_member *members, pid_t *pids,
                          unsigned cnt, uint64_t end_ns)
{
    unsigned lost = 0;
    for (unsigned i = 0; i < cnt; i++) {
        pids[i] = fork();
        if (pids[i] == 0) {
            crowd_child(stand, end_ns, &members[i]);
        }
    }
    for (unsigned i = 0; i < cnt; i++) {
        int status = 1;
        lost += pids[i] < 0 || waitpid(pids[i], &status, 0) != pids[i] || status != 0;
    }
    return lost;
}

static void crowd_conclude(const struct crowd_member *members, unsigned cnt, double wall_s,
                           double cpu_s, long rss_kib, struct bench_result *result)
{
    static struct stats_hist hist;
    uint64_t good = 0;
    uint64_t bad = 0;
    memset(&hist, 0, sizeof(hist));
    for (unsigned i = 0; i < cnt; i++) {
        good += members[i].good_cnt;
        bad += members[i].bad_cnt;
        stats_hist_merge(&hist, &members[i].hist);
    }
    result->measured = true;
    result->value = (double)good / wall_s;
    snprintf(result->note, sizeof(result->note),
             "%u clients for %.0f s: %.4f %% of %llu calls good; p50 %.2f ms, p95 %.2f, p99 %.2f; "
             "the worker: %.0f %% of a core, %.1f MiB of its own",
             cnt, wall_s, 100.0 * (double)good / (double)(good + bad),
             (unsigned long long)(good + bad), stats_hist_quantile(&hist, 0.5) / 1e3,
             stats_hist_quantile(&hist, 0.95) / 1e3, stats_hist_quantile(&hist, 0.99) / 1e3,
             100.0 * cpu_s / wall_s, (double)rss_kib / 1024);
}

int bench_http_clients(const struct bench *bench, struct bench_result *result)
{
    unsigned cnt = bench->opts.client_cnt;
    size_t bytes = cnt * sizeof(struct crowd_member);
    struct http_stand stand;
    if (http_stand_make(bench, &stand, "adaptive", 0, true, result) != 0) {
        return -1;
    }
    struct crowd_member *members = duel_share(bytes);
    pid_t *pids = calloc(cnt, sizeof(*pids));
    int rc = members && pids ? 0 : bench_fail(result, "no memory");
    if (rc == 0) {
        pid_t worker = rig_weird_worker(&stand.weird);
        double cpu_s = clock_s(stand.worker_clock);
        uint64_t began_ns = weir_clock_monotonic_ns();
        uint64_t end_ns = began_ns + (uint64_t)(bench->opts.row_s * (double)WEIR_NS_PER_S);
        unsigned lost = crowd_run(&stand, members, pids, cnt, end_ns);
        double wall_s = (double)(weir_clock_monotonic_ns() - began_ns) / 1e9;
        cpu_s = clock_s(stand.worker_clock) - cpu_s;
        rc = lost == 0 ? 0 : bench_fail(result, "%u of %u clients could not attach", lost, cnt);
        if (rc == 0) {
            crowd_conclude(members, cnt, wall_s, cpu_s, private_kib(worker), result);
        }
    }
    free(pids);
    if (members) {
        munmap(members, bytes);
    }
    http_stand_end(&stand);
    return rc;
}
