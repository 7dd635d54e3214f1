/*
 * http_floor.h: the least that HTTP costs with the parts that weir uses: one curl multi on one io_uring, and nothing else.
 *
 * No permit, no ring, no shared memory, no deadline, no check. weir's worker is allowed a quarter more CPU per request than this.
 */
#ifndef BENCH_HTTP_FLOOR_H
#define BENCH_HTTP_FLOOR_H

#include "bench.h"
#include "stats.h"

struct http_floor;

/* What a slice did. */
struct http_count {
    uint64_t request_cnt;
    double wall_ns;
    double cpu_ns;        /* of the one that does the HTTP */
    double client_cpu_ns; /* of the one that asks for it; 0 where that is the same */
};

/* `in_flight` transfers of `url`. NULL with a text in `result`. */
struct http_floor *http_floor_open(const char *url, unsigned in_flight, size_t body_bytes,
                                   struct bench_result *result);
void http_floor_close(struct http_floor *loop);

/* Count into `hist` how long libcurl takes from a transfer's start to where it would write the request on a kept connection: weir's send gate. NULL: no more. */
void http_floor_gate(struct http_floor *loop, struct stats_hist *hist);

/* Keep all transfers busy for `slice_s`, then let them end. Every answer is checked: status 200 and the body's length. */
int http_floor_run(struct http_floor *loop, double slice_s, struct http_count *count,
                   struct bench_result *result);

#endif
