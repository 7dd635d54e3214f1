/*
 * weir_tables.h: one process' view of the configuration tables on the board.
 *
 * The gate's `tables` word names the current block; a reader resolves it once into pointers and afterwards compares one word per
 * permit. A block is checked (checksum, every index in range) before any of its rows is used, so the permit path follows
 * indices without looking again.
 */
#ifndef WEIR_TABLES_H
#define WEIR_TABLES_H

#include "weir_layout.h"

struct weir_tables {
    uint64_t word; /* the gate's word that was resolved; 0 = none yet */
    uint32_t provider_cnt, limit_cnt, route_cnt, endpoint_cnt, scope_cnt, member_cnt;
    const struct weir_shm_provider_row *provider;
    const struct weir_shm_limit_row *limit;
    const struct weir_shm_route_row *route;
    const struct weir_shm_endpoint_row *endpoint;
    const struct weir_shm_scope_row *scope;
    const struct weir_shm_member_row *member;
};

/* Bounds that rows are checked against: what the segments hold. */
struct weir_tables_bounds {
    uint32_t provider_cnt, limit_cnt, route_cnt, endpoint_cnt, word_cnt, cell_cnt;
    uint32_t
        hold_cnt; /* lines of pauses: the providers', then those of scope values that are held apart */
};

/*
 * Resolve block `index` of the section at `base` (`block_cnt` blocks, `stride_bytes` apart) into `*tables`. Returns 0, or WEIR_E_CORRUPT
 * with `*tables` untouched. Cost: reads the block once; no allocation. Caller: any reader.
 */
int weir_tables_resolve(struct weir_tables *tables, uint64_t gate_word, const void *base,
                        uint32_t block_cnt, uint64_t stride_bytes,
                        const struct weir_tables_bounds *bounds);

/* The checksum of a block's used bytes, but for the checksum itself. */
uint64_t weir_tables_checksum(const struct weir_shm_tables *block);

/*
 * Find "provider.route". Returns WEIR_OK with the index, or WEIR_E_ROUTE_UNKNOWN. `name` "weir.nop" gives WEIR_ROUTE_NOP.
 */
int weir_tables_route_find(const struct weir_tables *tables, const char *name, weir_route_id *out);

/* Find "provider.limit". Returns WEIR_OK with the index, or WEIR_E_LIMIT_UNKNOWN. */
int weir_tables_limit_find(const struct weir_tables *tables, const char *name, uint32_t *out);

/*
 * Parse "account=a,instrument=BTC-USDT" for `provider`; kinds left out take their first value. Returns WEIR_OK,
 * WEIR_E_SCOPE_UNKNOWN, or WEIR_E_ARGUMENT where the text is not kind=value pairs.
 */
int weir_tables_scope_find(const struct weir_tables *tables, const char *provider,
                           const char *scope, weir_scope_id *out);

/* The name of a scope kind: "ip", "key", "account", "instrument". */
const char *weir_scope_kind_name(unsigned kind);

#endif
