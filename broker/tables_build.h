/*
 * tables_build.h: from the configuration to the rows that the permit path reads.
 *
 * All policy of limits is decided here, once, so that a permit only compares numbers: how headroom becomes a reserve per class, how jitter
 * becomes tolerance, what the quota is while the server's clock is unknown. docs/architecture.md and weir_window.h, weir_bucket.h have the rules.
 */
#ifndef WEIR_BROKER_TABLES_BUILD_H
#define WEIR_BROKER_TABLES_BUILD_H

#include "broker/config/config.h"
#include "shm/weir_tables.h"

/* How much the rows of a configuration take. */
struct tables_size {
    uint32_t provider_cnt, limit_cnt, route_cnt, endpoint_cnt, scope_cnt, word_cnt, cell_cnt;
    uint32_t member_cnt; /* of all pools */
    uint32_t
        hold_cnt; /* lines of pauses: the providers', then those of values that are held apart */
    uint32_t group_cnt; /* of routes, for breakers */
    uint32_t edge_cnt;  /* of calendars */
    uint32_t share_cnt; /* shares and floors of all limits */
    uint32_t bytes;     /* of one block */
};

void tables_measure(const struct weir_config *config, struct tables_size *size);

/*
 * Build one block at `block` (size->bytes, zeroed). Returns WEIR_OK, or WEIR_E_ARGUMENT with `text` naming what cannot be expressed.
 */
int tables_build(const struct weir_config *config, const struct tables_size *size,
                 uint32_t generation, struct weir_shm_tables *block, char *text, size_t text_bytes);

/*
 * Every provider with `clock: {path}` has one route that the configuration does not name: the worker's own question for the time, at index
 * (provider's last route of its own); every one with `health` one more behind it, for the checks of its endpoints. They cost what a configured GET route of the same path costs, else 1 unit of each limit that counts by ip.
 */
#define TABLES_CLOCK_ROUTE "weir-clock"
#define TABLES_CHECK_ROUTE "weir-check"

#endif
