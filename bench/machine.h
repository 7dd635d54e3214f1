/*
 * machine.h: on what the figures were taken. A figure without its machine says nothing.
 */
#ifndef BENCH_MACHINE_H
#define BENCH_MACHINE_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#define MACHINE_CORES_MAX 256U

struct machine {
    char cpu[96];
    unsigned cores_online;
    unsigned core_cnt; /* cores that this process may use */
    int core[MACHINE_CORES_MAX];
    bool is_guest; /* the CPU says that it runs under a hypervisor */
    char kernel[96];
    char governor[32];
    char clocksource[32];
    bool tsc_invariant;
    double tsc_mhz; /* measured against CLOCK_MONOTONIC */
    double ns_per_tick;
    double load; /* of the last minute, before the first row */
};

/* Ask /proc, /sys and the clocks; takes 50 ms for the TSC. What cannot be found reads "unknown". */
void machine_read(struct machine *machine);

void machine_print(const struct machine *machine, FILE *out);

/* The same as one JSON object; NULL when memory is out. */
json_t *machine_json(const struct machine *machine);

#endif
