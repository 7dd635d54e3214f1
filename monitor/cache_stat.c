/* What `weir stat` says of kept answers: one row per route that keeps any, and how full the memory is. */
#include "print.h"
#include "show_stat.h"
#include "weir_cache.h"

#include <inttypes.h>

static const struct column columns[] = {
    {"ROUTE", -20}, {"HITS", 9},   {"BY CLIENT", 9}, {"STALE", 6}, {"SHARED", 6},    {"BATCHED", 7},
    {"BATCHES", 7}, {"MISSES", 7}, {"HIT RATE", 8},  {"KEPT", 6},  {"REFRESHED", 9},
};

static bool row_get(const struct image *image, uint32_t r, struct weir_shm_cache_route *row)
{
    return r < image->tables.route_cnt && (image->tables.route[r].flags & WEIR_ROUTE_CACHED) != 0 &&
           image_get(image, WEIR_SECTION_CACHE_ROUTE, r, row, sizeof *row);
}

/* Calls that needed none of their own. */
static uint64_t saved(const struct weir_shm_cache_route *row)
{
    return row->hits_client + row->hits + row->stale + row->disk + row->coalesced + row->batched;
}

/* In percent, of what was asked since `then`; negative: nothing was. */
static double hit_rate(const struct weir_shm_cache_route *now,
                       const struct weir_shm_cache_route *then)
{
    double hit = (double)(saved(now) - saved(then));
    double all = hit + (double)(now->misses - then->misses);
    return all > 0 ? 100 * hit / all : -1;
}

void cache_text(FILE *out, const struct image *image, const struct image *before)
{
    struct weir_shm_cache cache;
    struct table table;
    char provider[TEXT_BYTES];
    char name[TEXT_BYTES];
    if (!image_get(image, WEIR_SECTION_CACHE, 0, &cache, sizeof cache)) {
        return;
    }
    table_init(&table, columns, WEIR_ARRAY_CNT(columns));
    for (uint32_t r = 0; r < image->tables.route_cnt; r++) {
        struct weir_shm_cache_route now;
        struct weir_shm_cache_route then = {0};
        if (!row_get(image, r, &now)) {
            continue;
        }
        if (before != NULL) {
            (void)row_get(before, r, &then);
        }
        double rate = hit_rate(&now, &then);
        const struct weir_shm_route_row *row = &image->tables.route[r];
        table_cell(&table, "%s.%s",
                   PRINT_TEXT(provider, image->tables.provider[row->provider].name),
                   PRINT_TEXT(name, row->name));
        table_cell(&table, "%" PRIu64, now.hits + now.hits_client);
        table_cell(&table, "%" PRIu64, now.hits_client);
        table_cell(&table, "%" PRIu64, now.stale);
        table_cell(&table, "%" PRIu64, now.coalesced);
        table_cell(&table, "%" PRIu64, now.batched);
        table_cell(&table, "%" PRIu64, now.batches);
        table_cell(&table, "%" PRIu64, now.misses);
        if (rate < 0) {
            table_cell(&table, "-");
        } else {
            table_cell(&table, "%.1f%%", rate);
        }
        table_cell(&table, "%" PRIu64, now.stored + now.stored_negative);
        table_cell(&table, "%" PRIu64, now.refreshed);
    }
    (void)fprintf(
        out, "\ncache: %" PRIu64 " answers, %" PRIu64 " of %" PRIu64 " KiB, %" PRIu64 " evicted\n",
        cache.answers, cache.answers_bytes >> 10, cache.bytes >> 10, cache.evicted);
    table_print(&table, out, "  ");
}

json_t *cache_json(const struct image *image)
{
    struct weir_shm_cache cache;
    if (!image_get(image, WEIR_SECTION_CACHE, 0, &cache, sizeof cache)) {
        return json_null();
    }
    json_t *o = json_object();
    (void)json_object_set_new(o, "bytes", json_u64(cache.bytes));
    (void)json_object_set_new(o, "answer_max_bytes", json_u64(cache.answer_max_bytes));
    (void)json_object_set_new(o, "answers", json_u64(cache.answers));
    (void)json_object_set_new(o, "answers_bytes", json_u64(cache.answers_bytes));
    (void)json_object_set_new(o, "evicted", json_u64(cache.evicted));
    (void)json_object_set_new(o, "expired", json_u64(cache.expired));
    return o;
}

json_t *cache_route_json(const struct image *image, uint32_t r)
{
    static const struct weir_shm_cache_route none;
    struct weir_shm_cache_route row;
    if (!row_get(image, r, &row)) {
        return json_null();
    }
    double rate = hit_rate(&row, &none);
    json_t *o = json_object();
    (void)json_object_set_new(o, "hits", json_u64(row.hits));
    (void)json_object_set_new(o, "hits_client", json_u64(row.hits_client));
    (void)json_object_set_new(o, "stale", json_u64(row.stale));
    (void)json_object_set_new(o, "disk", json_u64(row.disk));
    (void)json_object_set_new(o, "coalesced", json_u64(row.coalesced));
    (void)json_object_set_new(o, "batched", json_u64(row.batched));
    (void)json_object_set_new(o, "batches", json_u64(row.batches));
    (void)json_object_set_new(o, "batches_failed", json_u64(row.batches_failed));
    (void)json_object_set_new(o, "misses", json_u64(row.misses));
    (void)json_object_set_new(o, "stored", json_u64(row.stored));
    (void)json_object_set_new(o, "stored_negative", json_u64(row.stored_negative));
    (void)json_object_set_new(o, "refreshed", json_u64(row.refreshed));
    (void)json_object_set_new(o, "not_kept", json_u64(row.not_kept));
    (void)json_object_set_new(o, "hit_rate_percent", rate < 0 ? json_null() : json_real(rate));
    return o;
}
