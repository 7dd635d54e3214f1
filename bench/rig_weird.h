/*
 * rig_weird.h: a broker of the bench's own, with a configuration made for measuring.
 *
 * Whatever is measured goes through <weir.h> alone. Beside it the bench knows only what any process can see: which children the broker
 * has, what CPU time they used, which memfds they hold.
 */
#ifndef BENCH_RIG_WEIRD_H
#define BENCH_RIG_WEIRD_H

#include "rig.h"
#include "weir.h"

#define RIG_WEIRD_CHILDREN_MAX 8U

struct rig_weird_spec {
    const char *wake;   /* spin, sleep, adaptive */
    int core;           /* of supervisor, worker and resolver; -1: any */
    unsigned audit_cnt; /* records of an audit; 0: none */
    unsigned port;      /* of nginx, for bench.file and bench.kept; 0: no such routes */
    bool is_crowd;      /* up to 255 clients with up to 4096 slots */
    unsigned port2;     /* of a second one, which takes over when the first fails; 0: none */
    bool is_uncaged;    /* --cage off: no filter of system calls */
    bool is_large;      /* 16 providers with 20 routes each, instead of the provider bench */
};

/*
 * Routes of the provider bench; all are permits only, but for bench.file.
 *   bench.bucket  1 from a bucket that does not run dry      bench.window  1 from a window that does not fill
 *   bench.three   1 from each of three windows               bench.full    1 of 1 an hour: granted once
 *   bench.cells   1 of 4096 a second, rolling, by cells      bench.parts   1 from a rolling window that does not fill, by parts
 *   bench.units   1 of 64 in flight, each rests 1 us         bench.free    as bench.bucket, but a success counts for nothing
 *   bench.paced   1 of 1000 a second                         bench.busy    1 of 20 000 a second
 */
struct rig_weird {
    struct rig_dir dir; /* of this broker alone */
    char runtime_dir[80];
    struct rig_child child; /* the supervisor */
};

/* Start it and wait until it lets a client in. Returns 0 or -1; on -1 nothing is left running. */
int rig_weird_start(const struct bench *bench, struct rig_weird *weird,
                    const struct rig_weird_spec *spec, struct bench_result *result);
void rig_weird_stop(struct rig_weird *weird);

/* The options that every client of the bench starts from. */
struct weir_open_opts rig_weird_opts(const struct rig_weird *weird);

/* Supervisor first, then its children; returns how many. */
unsigned rig_weird_pids(const struct rig_weird *weird, pid_t pids[RIG_WEIRD_CHILDREN_MAX]);

/* The child that holds an io_uring; 0 if there is none. */
pid_t rig_weird_worker(const struct rig_weird *weird);

#endif
