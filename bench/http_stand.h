/*
 * http_stand.h: nginx, a broker and a client of it, for the rows about calls.
 *
 * Worker on core 0, nginx on core 1, the client on core 2, or beside the worker where there are only two (it runs while the worker
 * waits), or beside nginx where the worker spins.
 */
#ifndef BENCH_HTTP_STAND_H
#define BENCH_HTTP_STAND_H

#include "http_floor.h"
#include "rig_weird.h"

#define HTTP_IN_FLIGHT 64U

struct http_stand {
    const struct bench *bench;
    struct rig_dir dir;
    struct rig_nginx nginx;
    struct rig_weird weird;
    struct weir *weir;
    weir_route_id route;
    clockid_t worker_clock;
    int client_core;
};

/* `wake` is the worker's, `spin_ns` the client's. Returns 0 or -1; on -1 nothing is left running. */
int http_stand_make(const struct bench *bench, struct http_stand *stand, const char *wake,
                    uint64_t spin_ns, bool is_caged, struct bench_result *result);
void http_stand_end(struct http_stand *stand);

/* The same as http_floor_run, through weir, by a client with an event loop; at most HTTP_IN_FLIGHT. */
int http_weir_run(struct http_stand *stand, unsigned in_flight, double slice_s,
                  struct http_count *count, struct bench_result *result);

/* Is it nginx's file, whole? 0, or -1 with a text. */
int http_answer_check(const struct weir_response *response, struct bench_result *result);

#endif
