#include "broker/region.h"

#include "broker/sign_in_file.h"
#include "broker/tables_build.h"
#include "broker/tables_follow.h"
#include "shm/weir_atomic.h"
#include "shm/weir_slot.h"
#include "shm/weir_weave.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define TABLES_BLOCKS 3U /* the current one, the one before it, and the one being written */

static int fail(char *text, size_t text_bytes, const char *what, int rc)
{
    (void)snprintf(
        text, text_bytes,
        "cannot create segment: kind=%s: %s: see memory and /proc/sys/vm/overcommit_memory", what,
        rc == WEIR_E_SYSTEM ? strerror(errno) : "no memory");
    return rc;
}

static int board_create(struct region *r, const struct weir_segment_spec *base)
{
    const struct weir_segment_part parts[] = {
        {WEIR_SECTION_GATE, 1, sizeof(struct weir_shm_gate)},
        {WEIR_SECTION_SUPERVISOR, 1, sizeof(struct weir_shm_supervisor)},
        {WEIR_SECTION_WORKER, 1, sizeof(struct weir_shm_worker)},
        {WEIR_SECTION_CLOCK, 1, sizeof(struct weir_shm_clock)},
        {WEIR_SECTION_NEED_WAKEUP, 1, sizeof(struct weir_shm_need_wakeup)},
        {WEIR_SECTION_BLOCK, 1, sizeof(struct weir_shm_block)},
        {WEIR_SECTION_PROVIDER, r->hold_cnt, sizeof(struct weir_shm_provider)},
        {WEIR_SECTION_FOREIGN, r->word_cnt, sizeof(struct weir_shm_foreign)},
        {WEIR_SECTION_LIMIT, r->limit_cnt, sizeof(struct weir_shm_limit_stats)},
        {WEIR_SECTION_ROUTE, r->route_cnt, sizeof(struct weir_shm_route_stats)},
        {WEIR_SECTION_ENDPOINT, r->endpoint_cnt, sizeof(struct weir_shm_endpoint)},
        {WEIR_SECTION_RING_HEAD, r->domain_cnt * WEIR_PRIORITY_CNT,
         sizeof(struct weir_shm_ring_head)},
        {WEIR_SECTION_CLIENT, WEIR_CLIENTS_MAX, sizeof(struct weir_shm_client)},
        {WEIR_SECTION_TABLES, TABLES_BLOCKS, r->tables_stride_bytes},
        {WEIR_SECTION_LIMIT_VIEW, r->word_cnt, sizeof(struct weir_shm_limit_view)},
        {WEIR_SECTION_PACE, r->word_cnt, sizeof(struct weir_shm_pace)},
        {WEIR_SECTION_TRIAL, r->trial_limit_cnt > 0 ? 1 : 0, sizeof(struct weir_shm_trial)},
        {WEIR_SECTION_TRIAL_LIMIT, r->trial_limit_cnt, sizeof(struct weir_shm_trial_limit)},
        {WEIR_SECTION_JOURNAL, 1, sizeof(struct weir_shm_journal)},
        {WEIR_SECTION_CLIENT_USE, WEIR_CLIENTS_MAX * r->limit_cnt,
         sizeof(struct weir_shm_client_use)},
        {WEIR_SECTION_AUDIT, r->audit_cnt > 0 ? 1 : 0, sizeof(struct weir_shm_audit)},
        {WEIR_SECTION_AUDIT_RECORD, r->audit_cnt, sizeof(struct weir_shm_audit_record)},
        {WEIR_SECTION_CACHE, r->cache_bytes > 0 ? 1 : 0, sizeof(struct weir_shm_cache)},
        {WEIR_SECTION_CACHE_ROUTE, r->cache_bytes > 0 ? r->route_cnt : 0,
         sizeof(struct weir_shm_cache_route)},
        {WEIR_SECTION_CACHE_HEAD, r->cache_head_cnt, sizeof(struct weir_shm_cache_head)},
        {WEIR_SECTION_CACHE_DATA, r->cache_bytes > 0 ? 1 : 0, r->cache_bytes},
        {WEIR_SECTION_HEALTH, r->endpoint_cnt + r->group_cnt, sizeof(struct weir_shm_health)},
        {WEIR_SECTION_SIGN_IN, r->session_cnt, sizeof(struct weir_shm_sign_in)},
    };
    struct weir_segment_spec spec = *base;
    spec.kind = WEIR_SEGMENT_BOARD;
    spec.part = parts;
    spec.part_cnt = WEIR_ARRAY_CNT(parts);
    spec.readers_only = true;
    int rc = weir_segment_create(&r->board, &spec);
    if (rc != WEIR_OK) {
        return rc;
    }
    const struct weir_segment *b = &r->board;
    r->gate = weir_segment_section(b, WEIR_SECTION_GATE, sizeof *r->gate, NULL, NULL);
    r->supervisor =
        weir_segment_section(b, WEIR_SECTION_SUPERVISOR, sizeof *r->supervisor, NULL, NULL);
    r->worker = weir_segment_section(b, WEIR_SECTION_WORKER, sizeof *r->worker, NULL, NULL);
    r->clock = weir_segment_section(b, WEIR_SECTION_CLOCK, sizeof *r->clock, NULL, NULL);
    r->need_wakeup =
        weir_segment_section(b, WEIR_SECTION_NEED_WAKEUP, sizeof *r->need_wakeup, NULL, NULL);
    r->block = weir_segment_section(b, WEIR_SECTION_BLOCK, sizeof *r->block, NULL, NULL);
    r->provider = weir_segment_section(b, WEIR_SECTION_PROVIDER, sizeof *r->provider, NULL, NULL);
    r->foreign = weir_segment_section(b, WEIR_SECTION_FOREIGN, sizeof *r->foreign, NULL, NULL);
    r->limit_stats =
        weir_segment_section(b, WEIR_SECTION_LIMIT, sizeof *r->limit_stats, NULL, NULL);
    r->limit_view =
        weir_segment_section(b, WEIR_SECTION_LIMIT_VIEW, sizeof *r->limit_view, NULL, NULL);
    r->pace = weir_segment_section(b, WEIR_SECTION_PACE, sizeof *r->pace, NULL, NULL);
    r->trial = weir_segment_section(b, WEIR_SECTION_TRIAL, sizeof *r->trial, NULL, NULL);
    r->trial_limit =
        weir_segment_section(b, WEIR_SECTION_TRIAL_LIMIT, sizeof *r->trial_limit, NULL, NULL);
    r->route_stats =
        weir_segment_section(b, WEIR_SECTION_ROUTE, sizeof *r->route_stats, NULL, NULL);
    r->endpoint = weir_segment_section(b, WEIR_SECTION_ENDPOINT, sizeof *r->endpoint, NULL, NULL);
    r->health = weir_segment_section(b, WEIR_SECTION_HEALTH, sizeof *r->health, NULL, NULL);
    r->sign_in_board =
        weir_segment_section(b, WEIR_SECTION_SIGN_IN, sizeof *r->sign_in_board, NULL, NULL);
    r->ring_head =
        weir_segment_section(b, WEIR_SECTION_RING_HEAD, sizeof *r->ring_head, NULL, NULL);
    r->client = weir_segment_section(b, WEIR_SECTION_CLIENT, sizeof *r->client, NULL, NULL);
    r->journal_board =
        weir_segment_section(b, WEIR_SECTION_JOURNAL, sizeof *r->journal_board, NULL, NULL);
    r->client_use =
        weir_segment_section(b, WEIR_SECTION_CLIENT_USE, sizeof *r->client_use, NULL, NULL);
    r->audit = weir_segment_section(b, WEIR_SECTION_AUDIT, sizeof *r->audit, NULL, NULL);
    r->audit_record =
        weir_segment_section(b, WEIR_SECTION_AUDIT_RECORD, sizeof *r->audit_record, NULL, NULL);
    r->cache = weir_segment_section(b, WEIR_SECTION_CACHE, sizeof *r->cache, NULL, NULL);
    r->cache_route =
        weir_segment_section(b, WEIR_SECTION_CACHE_ROUTE, sizeof *r->cache_route, NULL, NULL);
    r->cache_head =
        weir_segment_section(b, WEIR_SECTION_CACHE_HEAD, sizeof *r->cache_head, NULL, NULL);
    r->cache_data = weir_segment_section(b, WEIR_SECTION_CACHE_DATA, 1, NULL, NULL);
    if (r->cache != NULL) {
        r->cache->bytes = r->cache_bytes;
        r->cache->answer_max_bytes = r->cache_answer_max_bytes;
    }
    r->tables =
        weir_segment_section(b, WEIR_SECTION_TABLES, 1, &r->tables_cnt, &r->tables_stride_bytes);
    return WEIR_OK;
}

/* A segment of this spec: a new one, or (`fd` >= 0) one that is taken over; `nth` says where its private header goes. */
static int segment_open(struct region *r, struct weir_segment *out,
                        const struct weir_segment_spec *spec, int fd, uint32_t nth)
{
    return fd < 0 ? weir_segment_create(out, spec)
                  : weir_segment_map_spec(out, fd, spec, &r->known[nth]);
}

static int permits_open(struct region *r, const struct weir_segment_spec *base, int fd)
{
    const struct weir_segment_part parts[] = {
        {WEIR_SECTION_LIMIT_WORD, r->word_cnt, sizeof(struct weir_shm_limit_word)},
        {WEIR_SECTION_CELL, r->cell_cnt, sizeof(uint64_t)},
        {WEIR_SECTION_PAUSE, r->hold_cnt, sizeof(struct weir_shm_pause)},
    };
    struct weir_segment_spec spec = *base;
    spec.kind = WEIR_SEGMENT_PERMITS;
    spec.part = parts;
    spec.part_cnt = WEIR_ARRAY_CNT(parts);
    int rc = segment_open(r, &r->permits, &spec, fd, 0);
    if (rc == WEIR_OK) {
        r->word =
            weir_segment_section(&r->permits, WEIR_SECTION_LIMIT_WORD, sizeof *r->word, NULL, NULL);
        r->cell = weir_segment_section(&r->permits, WEIR_SECTION_CELL, sizeof *r->cell, NULL, NULL);
        r->pause =
            weir_segment_section(&r->permits, WEIR_SECTION_PAUSE, sizeof *r->pause, NULL, NULL);
    }
    return rc;
}

static int ledger_open(struct region *r, const struct weir_segment_spec *base, int fd)
{
    const struct weir_segment_part parts[] = {
        {WEIR_SECTION_LEDGER, 1, sizeof(struct weir_shm_ledger)},
        {WEIR_SECTION_LIMIT_WORD, r->word_cnt, sizeof(struct weir_shm_limit_word)},
        {WEIR_SECTION_CELL, r->cell_cnt, sizeof(uint64_t)},
        {WEIR_SECTION_BACKOFF, r->hold_cnt, sizeof(struct weir_shm_backoff)},
        {WEIR_SECTION_MEMORY, r->word_cnt, sizeof(struct weir_shm_memory)},
        {WEIR_SECTION_AUDIT_RING, r->audit_cnt > 0 ? 1 : 0,
         weir_audit_ring_bytes(WEIR_AUDIT_OWN_CNT)},
        {WEIR_SECTION_BREAKER, r->endpoint_cnt + r->group_cnt, sizeof(struct weir_shm_breaker)},
    };
    struct weir_segment_spec spec = *base;
    spec.kind = WEIR_SEGMENT_LEDGER;
    spec.part = parts;
    spec.part_cnt = WEIR_ARRAY_CNT(parts);
    int rc = segment_open(r, &r->ledger, &spec, fd, 1);
    if (rc == WEIR_OK) {
        r->own = weir_segment_section(&r->ledger, WEIR_SECTION_LEDGER, sizeof *r->own, NULL, NULL);
        r->own_cell =
            weir_segment_section(&r->ledger, WEIR_SECTION_CELL, sizeof *r->own_cell, NULL, NULL);
        r->own_word = weir_segment_section(&r->ledger, WEIR_SECTION_LIMIT_WORD, sizeof *r->own_word,
                                           NULL, NULL);
        r->backoff =
            weir_segment_section(&r->ledger, WEIR_SECTION_BACKOFF, sizeof *r->backoff, NULL, NULL);
        r->breaker =
            weir_segment_section(&r->ledger, WEIR_SECTION_BREAKER, sizeof *r->breaker, NULL, NULL);
        r->memory =
            weir_segment_section(&r->ledger, WEIR_SECTION_MEMORY, sizeof *r->memory, NULL, NULL);
        r->audit_ring = weir_segment_section(&r->ledger, WEIR_SECTION_AUDIT_RING,
                                             sizeof *r->audit_ring, NULL, NULL);
    }
    return rc;
}

static int ring_open(struct region *r, const struct weir_segment_spec *base, uint32_t domain,
                     int fd)
{
    const struct weir_segment_part parts[] = {
        {WEIR_SECTION_RING, WEIR_PRIORITY_CNT,
         weir_round_up(weir_ring_bytes(r->ring_order), WEIR_LINE_BYTES)},
    };
    struct weir_segment_spec spec = *base;
    spec.kind = WEIR_SEGMENT_RING;
    spec.part = parts;
    spec.part_cnt = WEIR_ARRAY_CNT(parts);
    int rc = segment_open(r, &r->ring[domain], &spec, fd, 2 + domain);
    if (rc != WEIR_OK) {
        return rc;
    }
    r->ring_base[domain] =
        weir_segment_section(&r->ring[domain], WEIR_SECTION_RING, 1, NULL, &r->ring_stride_bytes);
    for (uint32_t p = 0; fd < 0 && p < WEIR_PRIORITY_CNT; p++) {
        rc = weir_ring_format(r->ring_base[domain] + p * r->ring_stride_bytes,
                              &r->ring_head[domain * WEIR_PRIORITY_CNT + p], r->ring_order,
                              weir_ring_start(r->ring_order));
        if (rc != WEIR_OK) {
            return rc;
        }
    }
    return WEIR_OK;
}

static uint32_t order_of(uint64_t cnt)
{
    return 63U - (uint32_t)__builtin_clzll(cnt);
}

static int tables_publish(struct region *r, const struct weir_config *config,
                          const struct tables_size *size, char *text, size_t text_bytes)
{
    if (size->bytes > r->tables_stride_bytes) {
        (void)snprintf(text, text_bytes, "the tables take %u bytes, there is room for %llu",
                       size->bytes, (unsigned long long)r->tables_stride_bytes);
        return WEIR_E_ARGUMENT;
    }
    int rc = tables_build(config, size, 1, (void *)r->tables, text, text_bytes);
    if (rc == WEIR_OK) {
        WEIR_WEAVE("tables:built");
        weir_store_release_u64(&r->gate->tables,
                               UINT64_C(1) << 32); /* pair:tables R: generation 1, block 0 */
    }
    return rc;
}

/* `fds` NULL: all are made anew; else only the board. */
static int segments_open(struct region *r, const struct weir_config *config,
                         const struct tables_size *size, const struct region_fds *fds, char *text,
                         size_t text_bytes)
{
    const struct weir_segment_spec base = {.name = config->broker.name, .broker_id = r->broker_id};
    int rc = board_create(r, &base);
    if (rc != WEIR_OK) {
        return fail(text, text_bytes, "board", rc);
    }
    rc = permits_open(r, &base, fds != NULL ? fds->permits : -1);
    if (rc != WEIR_OK) {
        return fail(text, text_bytes, "permits", rc);
    }
    rc = ledger_open(r, &base, fds != NULL ? fds->ledger : -1);
    if (rc != WEIR_OK) {
        return fail(text, text_bytes, "ledger", rc);
    }
    for (uint32_t d = 0; d < r->domain_cnt; d++) {
        rc = ring_open(r, &base, d, fds != NULL ? fds->ring[d] : -1);
        if (rc != WEIR_OK) {
            return fail(text, text_bytes, "ring", rc);
        }
    }
    uint64_t sum =
        r->board.bytes + r->permits.bytes + r->ledger.bytes + r->domain_cnt * r->ring[0].bytes;
    if (sum > config->broker.memory_max_bytes) {
        (void)snprintf(
            text, text_bytes,
            "broker.memory = %llu bytes: the segments take %llu: raise it or lower broker.ring%s",
            (unsigned long long)config->broker.memory_max_bytes, (unsigned long long)sum,
            r->audit_cnt > 0     ? " or broker.audit"
            : r->cache_bytes > 0 ? " or broker.cache"
                                 : "");
        return WEIR_E_MEMORY;
    }
    return tables_publish(r, config, size, text, text_bytes);
}

/* A head for each 512 bytes of answers: most answers are longer, so sets fill up after the room does. */
static uint32_t cache_heads(uint64_t bytes)
{
    if (bytes == 0) {
        return 0;
    }
    uint64_t cnt = weir_min_u64(bytes / 512, WEIR_CACHE_HEADS_MAX);
    uint32_t heads = 1U << order_of(cnt);
    return heads > WEIR_CACHE_HEADS_MIN ? heads : WEIR_CACHE_HEADS_MIN;
}

static int region_open(struct region *region, const struct weir_config *config,
                       const struct region_fds *fds, char *text, size_t text_bytes)
{
    struct tables_size size;
    tables_measure(config, &size);
    uint64_t block_bytes = size.bytes;
    if (fds != NULL) {
        size.cell_cnt = tables_cell_cnt(fds->tables);
        block_bytes = fds->tables_stride_bytes;
    }
    *region = (struct region){
        .domain_cnt = (uint32_t)config->broker.domain_cnt,
        .provider_cnt = size.provider_cnt,
        .hold_cnt = size.hold_cnt,
        .limit_cnt = size.limit_cnt,
        .route_cnt = size.route_cnt,
        .endpoint_cnt = size.endpoint_cnt,
        .group_cnt = size.group_cnt,
        .session_cnt = sign_in_cnt(config),
        .word_cnt = size.word_cnt,
        .cell_cnt = size.cell_cnt,
        .ring_order = order_of(config->broker.ring_cnt),
        .audit_cnt = (uint32_t)config->broker.audit_cnt,
        .tables_stride_bytes = block_bytes,
    };
    region->cache_bytes = weir_round_up(
        weir_config_cache_bytes(config, &region->cache_answer_max_bytes), WEIR_CACHE_GRANULE_BYTES);
    region->cache_head_cnt = cache_heads(region->cache_bytes);
    if (config->shadow != NULL) {
        struct tables_size shadow;
        tables_measure(config->shadow, &shadow);
        region->trial_limit_cnt = shadow.limit_cnt;
    }
    if (region->domain_cnt > WEIR_DOMAINS_MAX ||
        size.route_cnt > WEIR_ROUTES_MAX + 2 * WEIR_PROVIDERS_MAX) {
        (void)snprintf(text, text_bytes, "broker.domains: %u: at most %u: split the broker",
                       region->domain_cnt, WEIR_DOMAINS_MAX);
        return WEIR_E_ARGUMENT;
    }
    if (fds != NULL) {
        region->broker_id = fds->broker_id;
        region->known =
            aligned_alloc(WEIR_LINE_BYTES, (2 + WEIR_DOMAINS_MAX) * sizeof *region->known);
        if (region->known == NULL) {
            return fail(text, text_bytes, "headers", WEIR_E_MEMORY);
        }
    } else if (getrandom(&region->broker_id, sizeof region->broker_id, 0) !=
               sizeof region->broker_id) {
        (void)snprintf(text, text_bytes, "cannot read random bytes: getrandom: %s",
                       strerror(errno));
        return WEIR_E_SYSTEM;
    }
    region->broker_id |= 1; /* 0 means "any" */
    return segments_open(region, config, &size, fds, text, text_bytes);
}

int region_create(struct region *region, const struct weir_config *config, char *text,
                  size_t text_bytes)
{
    int rc = region_open(region, config, NULL, text, text_bytes);
    if (rc != WEIR_OK) {
        region_destroy(region);
    }
    return rc;
}

int region_adopt(struct region *region, const struct weir_config *config,
                 const struct region_fds *fds, char *text, size_t text_bytes)
{
    return region_open(region, config, fds, text, text_bytes); /* on failure the process ends */
}

void region_destroy(struct region *region)
{
    struct weir_segment *all[] = {&region->board, &region->permits, &region->ledger};
    for (size_t i = 0; i < WEIR_ARRAY_CNT(all); i++) {
        if (all[i]->base != NULL) {
            weir_segment_unmap(all[i]);
        }
    }
    for (uint32_t d = 0; d < WEIR_DOMAINS_MAX; d++) {
        if (region->ring[d].base != NULL) {
            weir_segment_unmap(&region->ring[d]);
        }
    }
    free(region->known);
    region->known = NULL;
}

void region_permit_view(const struct region *region, struct weir_permit_view *view, bool own)
{
    static const uint32_t never_blocked =
        0; /* blocks are for clients; the worker refuses a blocked client's calls itself */
    memset(view, 0, sizeof *view);
    view->gate = region->gate;
    view->block = &never_blocked;
    view->provider = region->provider;
    view->foreign = region->foreign;
    view->word = own ? region->own_word : region->word;
    view->cell = own ? region->own_cell : region->cell;
    view->pause = region->pause;
    view->account_only = own;
    view->tables_base = region->tables;
    view->tables_cnt = region->tables_cnt;
    view->tables_stride_bytes = region->tables_stride_bytes;
    view->bounds = (struct weir_tables_bounds){.provider_cnt = region->provider_cnt,
                                               .hold_cnt = region->hold_cnt,
                                               .limit_cnt = region->limit_cnt,
                                               .route_cnt = region->route_cnt,
                                               .endpoint_cnt = region->endpoint_cnt,
                                               .word_cnt = region->word_cnt,
                                               .cell_cnt = region->cell_cnt};
    weir_clock_init(&view->time, region->clock, 0);
}

uint64_t meter_stride_bytes(const struct region *region)
{
    return weir_round_up(weir_meter_all_bytes(region->route_cnt, region->limit_cnt),
                         WEIR_LINE_BYTES);
}

#define ARENA_PARTS 6

uint64_t arena_audit_bytes(const struct region *region, const struct arena_spec *spec)
{
    bool kept = region->audit_cnt > 0 && spec->role == WEIR_ROLE_TRADER;
    return kept ? WEIR_THREADS_MAX * weir_audit_ring_bytes(WEIR_AUDIT_RING_CNT) : 0;
}

static size_t arena_parts(const struct region *region, const struct arena_spec *spec,
                          struct weir_segment_part parts[ARENA_PARTS])
{
    uint64_t audit_bytes = arena_audit_bytes(region, spec);
    parts[0] = (struct weir_segment_part){WEIR_SECTION_WAKE, 1, sizeof(struct weir_shm_wake)};
    parts[1] = (struct weir_segment_part){WEIR_SECTION_METER, WEIR_THREADS_MAX,
                                          meter_stride_bytes(region)};
    parts[2] =
        (struct weir_segment_part){WEIR_SECTION_AUDIT_RING, audit_bytes > 0 ? WEIR_THREADS_MAX : 0,
                                   audit_bytes / WEIR_THREADS_MAX};
    parts[3] =
        (struct weir_segment_part){WEIR_SECTION_SLOT, spec->slot_cnt, sizeof(struct weir_shm_slot)};
    parts[4] =
        (struct weir_segment_part){WEIR_SECTION_REQUEST, spec->slot_cnt, spec->request_bytes};
    parts[5] = (struct weir_segment_part){WEIR_SECTION_RESPONSE, 1, spec->response_bytes};
    return ARENA_PARTS;
}

uint64_t arena_bytes(const struct region *region, const struct arena_spec *spec)
{
    struct weir_segment_part parts[ARENA_PARTS];
    return weir_segment_bytes(parts, arena_parts(region, spec, parts));
}

int arena_create(const struct region *region, const char *name, const struct arena_spec *spec,
                 struct weir_segment *arena, struct weir_segment *shadow)
{
    struct weir_segment_part parts[ARENA_PARTS];
    struct weir_segment_spec s = {
        .name = name, .broker_id = region->broker_id, .kind = WEIR_SEGMENT_ARENA, .part = parts};
    s.part_cnt = arena_parts(region, spec, parts);
    int rc = weir_segment_create(arena, &s);
    if (rc != WEIR_OK) {
        return rc;
    }
    uint64_t stride;
    char *meter = weir_segment_section(arena, WEIR_SECTION_METER, 1, NULL, &stride);
    for (uint32_t t = 0; t < WEIR_THREADS_MAX; t++) {
        struct weir_shm_meter_head *head = (void *)(meter + t * stride);
        head->route_cnt = region->route_cnt;
        head->limit_cnt = region->limit_cnt;
    }
    const struct weir_segment_part shadow_parts[] = {
        {WEIR_SECTION_SHADOW, spec->slot_cnt, sizeof(struct weir_shm_shadow)},
        {WEIR_SECTION_DOUBT, spec->slot_cnt, sizeof(struct weir_shm_doubt)}};
    s.kind = WEIR_SEGMENT_SHADOW;
    s.part = shadow_parts;
    s.part_cnt = WEIR_ARRAY_CNT(shadow_parts);
    rc = weir_segment_create(shadow, &s);
    if (rc != WEIR_OK) {
        weir_segment_unmap(arena);
    }
    return rc;
}
