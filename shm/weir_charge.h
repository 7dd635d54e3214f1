/*
 * weir_charge.h: a permit and its charges as words. The permit path composes them in registers: fewer stores, and whole words for whoever reads them back.
 */
#ifndef WEIR_CHARGE_H
#define WEIR_CHARGE_H

#include "weir_base.h"
#include "weir_types.h"

#include <string.h>

/* First half of a charge: units:32 | index of the word:32. */
static inline uint64_t weir_charge_take(uint32_t units, uint32_t word)
{
    return (uint64_t)units << 32 | word;
}

/* Second half: kind:8 | windows:8 | limit:16 | window:32. */
static inline uint64_t weir_charge_where(uint32_t kind, uint32_t windows, uint32_t limit,
                                         uint32_t window)
{
    return (uint64_t)kind << 56 | (uint64_t)windows << 48 | (uint64_t)limit << 32 | window;
}

WEIR_INLINE void weir_charge_fill(struct weir_charge *c, uint64_t take, uint64_t where)
{
    _Static_assert(
        offsetof(struct weir_charge, units) == 4 && offsetof(struct weir_charge, window) == 8 &&
            offsetof(struct weir_charge, limit) == 12 &&
            offsetof(struct weir_charge, windows) == 14 && offsetof(struct weir_charge, kind) == 15,
        "take and where are a charge as it lies in memory, little endian");
    memcpy(c, &take, sizeof take);
    memcpy((char *)c + sizeof take, &where, sizeof where);
}

#define WEIR_PERMIT_EPOCH_SHIFT 48

/* A granted permit's state, but for the epoch: epoch:16 | generation:16 | limits:16 | priority:8 | state:8. */
static inline uint64_t weir_permit_state_word(uint64_t tables_word, uint32_t limit_cnt,
                                              unsigned priority, uint32_t state)
{
    return (tables_word >> 32 & 0xffffU) << 32 | (uint64_t)limit_cnt << 16 |
           (uint64_t)priority << 8 | state;
}

/* Fill a granted permit's head. `state` is whole, with the epoch. */
WEIR_INLINE void weir_permit_head_fill(struct weir_permit *permit, uint64_t now_ns,
                                       uint64_t slack_ns, uint32_t route, uint32_t generation,
                                       uint64_t state)
{
    _Static_assert(
        offsetof(struct weir_permit, pause_generation) == offsetof(struct weir_permit, route) + 4 &&
            offsetof(struct weir_permit, priority) == offsetof(struct weir_permit, state) + 1 &&
            offsetof(struct weir_permit, charge_cnt) == offsetof(struct weir_permit, state) + 2 &&
            offsetof(struct weir_permit, tables_generation) ==
                offsetof(struct weir_permit, state) + 4 &&
            offsetof(struct weir_permit, clock_epoch) == offsetof(struct weir_permit, state) + 6,
        "as composed above, little endian");
    const uint64_t whose = (uint64_t)generation << 32 | route;
    permit->denial.reason = WEIR_REASON_NONE;
    permit->granted_at_ns = now_ns;
    permit->use_by_ns = now_ns + slack_ns;
    memcpy((char *)permit + offsetof(struct weir_permit, route), &whose, sizeof whose);
    memcpy((char *)permit + offsetof(struct weir_permit, state), &state, sizeof state);
}

#endif
