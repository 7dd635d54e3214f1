/*
 * weir_histogram.h: latencies in few bytes.
 *
 * Log-linear: each power of two of nanoseconds is cut into 8 equal parts, so a value is known to 12.5 %. Below 1 us everything is in
 * bucket 0; above 2^37 ns (137 s) everything is in the last. Counts are 32 bits wide and wrap; a reader that wants a rate
 * subtracts two copies modulo 2^32.
 *
 *   writer   the worker (relaxed stores, own lines)
 *   readers  monitors, on a read-only mapping; a copy may be one event out of step between buckets, which no percentile notices
 */
#ifndef WEIR_HISTOGRAM_H
#define WEIR_HISTOGRAM_H

#include "weir_atomic.h"
#include "weir_base.h"

#define WEIR_HISTOGRAM_LOW_BITS  10U /* first bucket ends at 2^10 ns */
#define WEIR_HISTOGRAM_HIGH_BITS 37U
#define WEIR_HISTOGRAM_BUCKETS   (1U + (WEIR_HISTOGRAM_HIGH_BITS - WEIR_HISTOGRAM_LOW_BITS) * 8U + 1U)

struct weir_shm_histogram {
    uint32_t count[WEIR_HISTOGRAM_BUCKETS + 2U]; /* padded to 8 bytes; the last two stay 0 */
};

/* The bucket of a duration. */
static inline uint32_t weir_histogram_bucket(uint64_t ns)
{
    if (ns < (UINT64_C(1) << WEIR_HISTOGRAM_LOW_BITS)) {
        return 0;
    }
    if (ns >= (UINT64_C(1) << WEIR_HISTOGRAM_HIGH_BITS)) {
        return WEIR_HISTOGRAM_BUCKETS - 1;
    }
    uint32_t top = 63U - (uint32_t)__builtin_clzll(ns);
    uint32_t part = (uint32_t)(ns >> (top - 3U)) & 7U;
    return 1U + (top - WEIR_HISTOGRAM_LOW_BITS) * 8U + part;
}

/* The upper edge of a bucket: what a percentile reports, so that it never flatters. */
static inline uint64_t weir_histogram_edge_ns(uint32_t bucket)
{
    if (bucket == 0) {
        return UINT64_C(1) << WEIR_HISTOGRAM_LOW_BITS;
    }
    uint32_t top = WEIR_HISTOGRAM_LOW_BITS + (bucket - 1U) / 8U;
    uint64_t part = (bucket - 1U) % 8U;
    return (UINT64_C(1) << top) + ((part + 1U) << (top - 3U));
}

/* Count one duration. Caller: the one writer. Relaxed: statistics. */
static inline void weir_histogram_add(struct weir_shm_histogram *h, uint64_t ns)
{
    uint32_t *count = &h->count[weir_histogram_bucket(ns)];
    weir_store_relaxed_u32(count, weir_load_relaxed_u32(count) + 1U);
}

/* The duration below which `ppm` millionths of the counts lie; 0 when there are none. `total` may be NULL. */
static inline uint64_t weir_histogram_percentile_ns(const struct weir_shm_histogram *h,
                                                    uint32_t ppm, uint64_t *total)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < WEIR_HISTOGRAM_BUCKETS; i++) {
        sum += weir_load_relaxed_u32(&h->count[i]);
    }
    if (total != NULL) {
        *total = sum;
    }
    if (sum == 0) {
        return 0;
    }
    uint64_t rank = (sum * ppm + 999999U) / 1000000U;
    uint64_t seen = 0;
    for (uint32_t i = 0; i < WEIR_HISTOGRAM_BUCKETS; i++) {
        seen += weir_load_relaxed_u32(&h->count[i]);
        if (seen >= rank && seen > 0) {
            return weir_histogram_edge_ns(i);
        }
    }
    return weir_histogram_edge_ns(WEIR_HISTOGRAM_BUCKETS - 1);
}

#endif
