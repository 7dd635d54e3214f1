/*
 * dry_run.h: limits of their own, compiled from a configuration, on which nothing real depends.
 *
 * A dry run is the same memory and the same permit path as a broker's, with nobody attached: what a permit answers here is what it would have answered
 * there. Replays judge recorded calls with it in virtual time; shadow mode judges the live calls with it in real time. Memory is shared, so that it
 * outlives the worker that was forked from its maker; only one process uses it at a time.
 */
#ifndef WEIR_BROKER_DRY_RUN_H
#define WEIR_BROKER_DRY_RUN_H

#include "broker/region.h"

struct dry_run {
    const struct weir_config *config;
    struct region region;
    struct weir_permit_view view;
};

/* Compile the limits of `config`, which must outlive the run. The lease never ends. Returns WEIR_OK, or an error with `text` as region_create has it. */
int dry_run_open(struct dry_run *run, const struct weir_config *config, char *text,
                 size_t text_bytes);
void dry_run_close(struct dry_run *run);

/*
 * Let go at once what a granted permit holds until the end of its call (concurrency): where nobody says when the call ended, as in a log. The other charges
 * stay.
 */
void dry_run_let_go(struct dry_run *run, struct weir_permit *permit);

/* Let go everything that is held: who held it is dead. */
void dry_run_reap(struct dry_run *run);

/* Let the run's time stand at `now_ns`: virtual time from here on. */
void dry_run_time_set(struct dry_run *run, uint64_t now_ns);

/* Publish a provider's clock at `now_ns`, carrying charges over as a broker does where that is needed. */
void dry_run_clock_set(struct dry_run *run, uint32_t provider, const struct weir_server_clock *to,
                       uint64_t now_ns);

#endif
