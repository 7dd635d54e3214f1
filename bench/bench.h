/*
 * bench.h: what all rows of weir-bench share.
 *
 * A row is one line of the table: a subject, mostly weir, against a floor, the least that anybody would have to pay for the same job on
 * this machine, or against a peer. rows.def says which rows there are and what each may cost; a file per topic measures them.
 */
#ifndef BENCH_BENCH_H
#define BENCH_BENCH_H

#include <stdbool.h>
#include <stdint.h>

#include "machine.h"
#include "shm/weir_base.h"

struct bench_opts {
    unsigned round_cnt;  /* pairs per row */
    double row_s;        /* time for one row */
    unsigned proc_cnt;   /* --procs: 0 = the N-process rows are left out */
    unsigned client_cnt; /* --clients: 0 = http_clients is left out */
    bool json;
    const char *only;  /* one row's name, or NULL */
    const char *weird; /* path of the broker, or NULL */
};

struct bench {
    struct bench_opts opts;
    struct machine machine;
};

/* What the budget speaks of. */
enum bench_judge {
    BENCH_UNJUDGED = 0,
    BENCH_RATIO_AT_MOST = 1,
    BENCH_RATIO_AT_LEAST = 2,
    BENCH_VALUE_AT_MOST = 3,
};

struct bench_result {
    bool measured;
    double value;
    bool has_floor;
    double floor;
    double ratio;
    unsigned pair_cnt; /* 0: not a row of pairs */
    bool has_best;
    double best;
    bool has_tail; /* percentiles of the subject, each operation timed */
    double p50, p99, p999;
    char note[320];
    char why[320]; /* where it could not be measured */
};

struct bench_row {
    const char *name;
    const char *topic; /* permit, ring, http, attach */
    const char *unit;
    enum bench_judge judge;
    double budget;
    int (*measure)(const struct bench *bench, struct bench_result *result);
    const char *what;
    const char *against; /* the floor or the peer, in words */
};

extern const struct bench_row bench_row[];
extern const unsigned bench_row_cnt;

/* Say why a row could not be measured; returns -1. */
int bench_fail(struct bench_result *result, const char *format, ...) WEIR_PRINTF(2, 3);

/* Does the row keep its budget? 1 yes, 0 no, -1 not judged: no budget, no figure, or fewer pairs than the rule asks for. */
int bench_holds(const struct bench_row *row, const struct bench_result *result);

/* The core for the measured side and the one for its partner; the same one where there is only one. */
int bench_core(const struct bench *bench, unsigned idx);

/* Length of one slice: the row's time is shared by all slices of both sides. */
double bench_slice_s(const struct bench *bench);

/* report.c */
void bench_print_head(const struct bench *bench);
void bench_print_row(const struct bench_row *row, const struct bench_result *result);
void bench_print_list(void);
int bench_print_json(const struct bench *bench, const struct bench_row *const *rows,
                     const struct bench_result *results, unsigned cnt);

#define BENCH_ROW(name, topic, unit, judge, budget, measure, what, against) \
    int measure(const struct bench *bench, struct bench_result *result);
#include "rows.def"
#undef BENCH_ROW

#endif
