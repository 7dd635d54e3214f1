/*
 * pool.h: room for answers inside one client's arena.
 *
 * The worker alone decides who holds which bytes; the map is private memory, so nothing that a client writes can make two answers share
 * room. Granules of POOL_GRANULE_BYTES, first fit from a moving hint. After a worker's death the map is rebuilt from the shadows.
 */
#ifndef WEIR_BROKER_POOL_H
#define WEIR_BROKER_POOL_H

#include "shm/weir_base.h"

#define POOL_GRANULE_BYTES 256U

struct pool {
    uint8_t *used; /* one byte per granule: simple, and 64 KiB of answers cost 256 bytes */
    uint32_t granules;
    uint32_t hint;
};

/* Returns false without memory. */
bool pool_init(struct pool *pool, uint64_t bytes);
void pool_free(struct pool *pool);

/* Hold `bytes`; `*off_bytes` is where. False when no run is long enough. */
bool pool_hold(struct pool *pool, uint32_t bytes, uint32_t *off_bytes);

/* Give [off, off + bytes) back; both as held, or what pool_trim left. */
void pool_release(struct pool *pool, uint32_t off_bytes, uint32_t bytes);

/* Keep only the first `keep_bytes` of a held run; returns what is still held, whole granules. */
uint32_t pool_trim(struct pool *pool, uint32_t off_bytes, uint32_t bytes, uint32_t keep_bytes);

/* Mark a run as held (rebuild). False if it lies outside or overlaps another: the caller's record is damaged. */
bool pool_claim(struct pool *pool, uint32_t off_bytes, uint32_t bytes);

#endif
