/*
 * tables_follow.h: may these tables come after those, in the same segments?
 *
 * Clients have resolved names to indices, and words mean what the rows say. So what a reload (reload.h) or a successor (takeover.h) builds from its configuration must have every
 * provider, limit, route, endpoint and scope value at the same place, by the same name, and must count each limit in the same words and cells. Numbers may differ.
 *
 * What is refused, because no conversion of a word that others charge at this moment is proven: another kind or form; a sliding window kept in parts whose span changes;
 * fewer units of a concurrency limit (who holds one cannot be told to let go); a lower max_jitter (what was granted by the higher one may still be so late); another window or
 * rate of a limit whose ceilings lie on the disk; more cells than were set aside.
 */
#ifndef WEIR_BROKER_TABLES_FOLLOW_H
#define WEIR_BROKER_TABLES_FOLLOW_H

#include "shm/weir_layout.h"

/*
 * Bring the built block `next` in line with `was`, which is in force: the same cells, the peaks of quotas and of rests, the next generation, its checksum. WEIR_OK, or WEIR_E_ARGUMENT with `text`: what
 * differs, and what it was. Both blocks are whole and checked.
 */
int tables_follow(const struct weir_shm_tables *was, struct weir_shm_tables *next, char *text,
                  size_t text_bytes);

/* Cells that the limits of `block` take, from the first to behind the last: what the segments of its configuration must have at least. */
uint32_t tables_cell_cnt(const struct weir_shm_tables *block);

/* Rows of a whole block. */
static inline const struct weir_shm_limit_row *tables_limits(const struct weir_shm_tables *block)
{
    return (const void *)((const char *)block + block->limit_off_bytes);
}

static inline const struct weir_shm_provider_row *tables_providers(
    const struct weir_shm_tables *block)
{
    return (const void *)((const char *)block + block->provider_off_bytes);
}

#endif
