/* show_stat.h: `weir stat`: the broker as a whole, its endpoints, routes and clients. */
#ifndef WEIR_MONITOR_SHOW_STAT_H
#define WEIR_MONITOR_SHOW_STAT_H

#include "command.h"

/* Sums over all routes. */
struct stat_totals {
    uint64_t permits;
    uint64_t calls;
    uint64_t units_reaped; /* in flight, of dead clients */
};

void stat_totals_get(const struct image *image, struct stat_totals *totals);

/* Permits granted on one route, in all classes. */
uint64_t stat_granted(const struct weir_shm_route_stats *stats);

/* cache_stat.c: kept answers; nothing, and null, where no route keeps any. `before`: the hit rate since then */
void cache_text(FILE *out, const struct image *image, const struct image *before);
json_t *cache_json(const struct image *image);
json_t *cache_route_json(const struct image *image, uint32_t r);

void stat_text(FILE *out, const struct image *image, const struct image *before,
               const struct options *options);
json_t *stat_json(const struct image *image, const struct image *before,
                  const struct options *options);

#endif
