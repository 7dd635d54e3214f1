#include "broker/pool.h"

#include <stdlib.h>
#include <string.h>

static uint32_t granules_of(uint32_t bytes)
{
    return (bytes + POOL_GRANULE_BYTES - 1) / POOL_GRANULE_BYTES;
}

bool pool_init(struct pool *pool, uint64_t bytes)
{
    uint64_t granules = bytes / POOL_GRANULE_BYTES;
    *pool =
        (struct pool){.granules = granules > UINT32_MAX / 2 ? UINT32_MAX / 2 : (uint32_t)granules};
    pool->used = calloc(pool->granules > 0 ? pool->granules : 1, 1);
    return pool->used != NULL;
}

void pool_free(struct pool *pool)
{
    free(pool->used);
    *pool = (struct pool){0};
}

/* A free run of `need` granules in [from, to); UINT32_MAX if there is none. */
static uint32_t run_find(const struct pool *pool, uint32_t from, uint32_t to, uint32_t need)
{
    uint32_t run = 0;
    for (uint32_t i = from; i < to; i++) {
        run = pool->used[i] != 0 ? 0 : run + 1;
        if (run == need) {
            return i + 1 - need;
        }
    }
    return UINT32_MAX;
}

bool pool_hold(struct pool *pool, uint32_t bytes, uint32_t *off_bytes)
{
    uint32_t need = granules_of(bytes);
    if (need == 0 || need > pool->granules) {
        return false;
    }
    uint32_t at = run_find(pool, pool->hint, pool->granules, need);
    if (at == UINT32_MAX) {
        at = run_find(pool, 0, pool->granules, need);
    }
    if (at == UINT32_MAX) {
        return false;
    }
    memset(pool->used + at, 1, need);
    pool->hint = at + need < pool->granules ? at + need : 0;
    *off_bytes = at * POOL_GRANULE_BYTES;
    return true;
}

void pool_release(struct pool *pool, uint32_t off_bytes, uint32_t bytes)
{
    uint32_t at = off_bytes / POOL_GRANULE_BYTES;
    uint32_t cnt = granules_of(bytes);
    if (at <= pool->granules && cnt <= pool->granules - at) {
        memset(pool->used + at, 0, cnt);
    }
}

uint32_t pool_trim(struct pool *pool, uint32_t off_bytes, uint32_t bytes, uint32_t keep_bytes)
{
    uint32_t keep = granules_of(keep_bytes);
    uint32_t have = granules_of(bytes);
    if (keep < have) {
        pool_release(pool, off_bytes + keep * POOL_GRANULE_BYTES,
                     (have - keep) * POOL_GRANULE_BYTES);
        /* The next answer may start right behind: recently touched memory. */
        pool->hint = off_bytes / POOL_GRANULE_BYTES + keep;
    }
    return keep * POOL_GRANULE_BYTES;
}

bool pool_claim(struct pool *pool, uint32_t off_bytes, uint32_t bytes)
{
    uint32_t at = off_bytes / POOL_GRANULE_BYTES;
    uint32_t cnt = granules_of(bytes);
    if (off_bytes % POOL_GRANULE_BYTES != 0 || at > pool->granules || cnt > pool->granules - at) {
        return false;
    }
    for (uint32_t i = 0; i < cnt; i++) {
        if (pool->used[at + i] != 0) {
            return false;
        }
    }
    memset(pool->used + at, 1, cnt);
    return true;
}
