/*
 * http.c: what a call through the broker costs more than the same call made by hand.
 *
 * A real nginx answers on a core of its own. http_cpu_64 and http_throughput_64 come from the same slices: 64 calls in flight, first by the bare
 * loop of http_floor.c on the worker's core, then by a client through weir. http_cage lets two workers take turns, one of them without its
 * cage. http_added looks at one call at a time and takes nginx out of the sum.
 */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "duel.h"
#include "http_stand.h"
#include "shm/weir_clock.h"

#define HANG_NS        (5 * WEIR_NS_PER_S)
#define ADDED_WARM_CNT 200U
#define ADDED_FLOOR_S  1.0

/* Both rows read the same pairs; whichever is asked for first makes them. */
static struct {
    bool made;
    int rc;
    struct bench_result failure;
    struct stats_pairs cpu;
    struct stats_pairs rate;
    double client_cpu_ns;
} both;

static int both_rounds(struct http_stand *stand, struct http_floor *loop,
                       struct bench_result *result)
{
    const struct bench *bench = stand->bench;
    double client_ns[STATS_PAIRS_MAX];
    for (unsigned i = 0; i <= bench->opts.round_cnt; i++) {
        struct http_count floor;
        struct http_count weir;
        if (duel_pin(bench_core(bench, 0)) != 0 ||
            http_floor_run(loop, bench_slice_s(bench), &floor, result) != 0 ||
            duel_pin(stand->client_core) != 0 ||
            http_weir_run(stand, HTTP_IN_FLIGHT, bench_slice_s(bench), &weir, result) != 0) {
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
    struct http_stand stand;
    char url[64];
    if (both.made) {
        snprintf(result->why, sizeof(result->why), "%s", both.failure.why);
        return both.rc;
    }
    both.made = true;
    both.rc = http_stand_make(bench, &stand, "sleep", 1, true, &both.failure);
    if (both.rc == 0) {
        snprintf(url, sizeof(url), "http://127.0.0.1:%u/file.json", stand.nginx.port);
        struct http_floor *loop =
            http_floor_open(url, HTTP_IN_FLIGHT, RIG_BODY_BYTES, &both.failure);
        both.rc = loop ? both_rounds(&stand, loop, &both.failure) : -1;
        if (loop) {
            http_floor_close(loop);
        }
        http_stand_end(&stand);
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

/* stand[0] is the one without a cage. */
static int cage_rounds(struct http_stand stand[2], struct stats_pairs *pairs,
                       struct bench_result *result)
{
    const struct bench *bench = stand[0].bench;
    for (unsigned i = 0; i <= bench->opts.round_cnt; i++) {
        struct http_count count[2];
        if (duel_pin(stand[0].client_core) != 0) {
            return bench_fail(result, "cannot pin the client");
        }
        for (unsigned k = 0; k < 2; k++) {
            if (http_weir_run(&stand[k], HTTP_IN_FLIGHT, bench_slice_s(bench), &count[k], result) !=
                0) {
                return -1;
            }
        }
        if (i > 0) { /* connections are made in the first */
            stats_pairs_add(pairs, count[0].cpu_ns / (double)count[0].request_cnt,
                            count[1].cpu_ns / (double)count[1].request_cnt);
        }
    }
    return 0;
}

int bench_http_cage(const struct bench *bench, struct bench_result *result)
{
    struct http_stand stand[2];
    struct stats_pairs pairs = {0};
    if (http_stand_make(bench, &stand[0], "sleep", 1, false, result) != 0) {
        return -1;
    }
    int rc = http_stand_make(bench, &stand[1], "sleep", 1, true, result);
    if (rc == 0) {
        rc = cage_rounds(stand, &pairs, result);
        http_stand_end(&stand[1]);
    }
    http_stand_end(&stand[0]);
    if (rc != 0) {
        return -1;
    }
    both_conclude(&pairs, result);
    snprintf(result->note, sizeof(result->note),
             "what the filter of system calls costs; the ring is restricted in both");
    return 0;
}

enum { ADDED_TAKEN, ADDED_PERMITTED, ADDED_SENT, ADDED_DELIVERED, ADDED_ALL, ADDED_CNT };

/* Where the time of one call went, and the sum. */
static void added_count(struct stats_hist *hist, const struct weir_response *r)
{
    stats_hist_add(&hist[ADDED_TAKEN], r->taken_ns - r->submitted_ns);
    stats_hist_add(&hist[ADDED_PERMITTED], r->permitted_ns - r->taken_ns);
    stats_hist_add(&hist[ADDED_SENT], r->sent_ns - r->permitted_ns);
    stats_hist_add(&hist[ADDED_DELIVERED], r->delivered_ns - r->done_ns);
    stats_hist_add(&hist[ADDED_ALL], r->sent_ns - r->submitted_ns + r->delivered_ns - r->done_ns);
}

static int added_run(struct http_stand *stand, struct stats_hist *hist, struct bench_result *result)
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
        if (http_answer_check(&response, result) != 0) {
            return -1;
        }
        if (i >= ADDED_WARM_CNT) {
            added_count(hist, &response);
        }
        weir_release(stand->weir, response.ticket);
    }
    return 0;
}

/* What libcurl itself takes of that, on the worker's core while the worker is stopped: far shorter than the lease. */
static int added_floor(struct http_stand *stand, struct stats_hist *hist,
                       struct bench_result *result)
{
    char url[128];
    struct http_count count;
    pid_t worker = rig_weird_worker(&stand->weird);
    snprintf(url, sizeof(url), "http://127.0.0.1:%u/file.json", stand->nginx.port);
    struct http_floor *loop = http_floor_open(url, 1, RIG_BODY_BYTES, result);
    if (!loop) {
        return -1;
    }
    kill(worker, SIGSTOP);
    int rc = duel_pin(bench_core(stand->bench, 0)) == 0
                 ? http_floor_run(loop, ADDED_FLOOR_S / 4, &count, result) /* connects */
                 : bench_fail(result, "cannot pin the bare loop");
    http_floor_gate(loop, hist);
    rc = rc == 0 ? http_floor_run(loop, ADDED_FLOOR_S, &count, result) : rc;
    kill(worker, SIGCONT);
    http_floor_close(loop);
    return rc;
}

int bench_http_added(const struct bench *bench, struct bench_result *result)
{
    static struct stats_hist libcurl;
    static struct stats_hist hist[ADDED_CNT];
    struct http_stand stand;
    memset(hist, 0, sizeof(hist));
    if (http_stand_make(bench, &stand, "spin", 1, true, result) != 0) {
        return -1;
    }
    int rc = duel_pin(stand.client_core) == 0 ? added_run(&stand, hist, result)
                                              : bench_fail(result, "cannot pin the client");
    memset(&libcurl, 0, sizeof(libcurl));
    rc = rc == 0 ? added_floor(&stand, &libcurl, result) : rc;
    http_stand_end(&stand);
    if (rc != 0) {
        return -1;
    }
    result->measured = true;
    result->has_floor = true;
    result->floor = stats_hist_quantile(&libcurl, 0.5) / 1e3;
    result->has_tail = true;
    result->p50 = stats_hist_quantile(&hist[ADDED_ALL], 0.5) / 1e3;
    result->p99 = stats_hist_quantile(&hist[ADDED_ALL], 0.99) / 1e3;
    result->p999 = stats_hist_quantile(&hist[ADDED_ALL], 0.999) / 1e3;
    result->value = result->p50;
    result->ratio = result->value / result->floor;
    snprintf(result->note, sizeof(result->note),
             "%llu calls; worker spinning, client parked; p50 of taken %.0f ns, permit %.0f, gate "
             "%.0f, delivered %.0f",
             (unsigned long long)hist[ADDED_ALL].cnt, stats_hist_quantile(&hist[ADDED_TAKEN], 0.5),
             stats_hist_quantile(&hist[ADDED_PERMITTED], 0.5),
             stats_hist_quantile(&hist[ADDED_SENT], 0.5),
             stats_hist_quantile(&hist[ADDED_DELIVERED], 0.5));
    return 0;
}
