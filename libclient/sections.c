/*
 * sections.c: map what the supervisor handed over, and find every section before anything is used.
 *
 * Nothing is taken on trust that can be checked once here, so that the paths behind it need not look again: kinds, one broker in all
 * segments, strides equal to what this library was compiled with, counts that cover every index that tables or the welcome can name.
 */
#include "handle.h"

#include "shm/weir_cache.h"
#include "shm/weir_error.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

/* The order of descriptors in a welcome (shm/weir_attach.h). */
enum { FD_BOARD, FD_RING, FD_ARENA, FD_DOORBELL, FD_BELL, FD_PERMITS };

/* Looks for sections and remembers the first that is not as it must be. */
struct finder {
    const char *bad;
};

/* An array of `bytes` each; absent is legal where `cnt_min` is 0, and then NULL with `*cnt` 0. */
static void *array_of(struct finder *f, const struct weir_segment *segment,
                      enum weir_section_kind kind, size_t bytes, uint32_t cnt_min, uint32_t *cnt)
{
    uint32_t n = 0;
    uint64_t stride_bytes = bytes;
    void *at = weir_segment_section(segment, kind, bytes, &n, &stride_bytes);
    if ((n < cnt_min || stride_bytes != bytes) && f->bad == NULL) {
        f->bad = weir_section_name(kind);
    }
    if (cnt != NULL) {
        *cnt = n;
    }
    return at;
}

/* A section whose stride is chosen by the broker: at least `bytes_min`, aligned so that each element is. */
static void *blocks_of(struct finder *f, const struct weir_segment *segment,
                       enum weir_section_kind kind, size_t bytes_min, uint32_t cnt_min,
                       uint64_t *stride_bytes, uint32_t *cnt)
{
    uint32_t n = 0;
    *stride_bytes = 0;
    void *at = weir_segment_section(segment, kind, bytes_min, &n, stride_bytes);
    bool lines = kind == WEIR_SECTION_METER || kind == WEIR_SECTION_TABLES ||
                 kind == WEIR_SECTION_AUDIT_RING;
    if ((n < cnt_min || (lines && *stride_bytes % WEIR_LINE_BYTES != 0)) && f->bad == NULL) {
        f->bad = weir_section_name(kind);
    }
    if (cnt != NULL) {
        *cnt = n;
    }
    return at;
}

/* Heads and bytes of kept answers, or neither. */
static void cache_find(struct weir_board *o, struct finder *f)
{
    const struct weir_segment *b = &o->segment;
    uint32_t head_cnt;
    uint64_t data_bytes;
    uint32_t data_cnt;
    const struct weir_shm_cache *cache = array_of(f, b, WEIR_SECTION_CACHE, sizeof *cache, 0, NULL);
    const void *head = array_of(f, b, WEIR_SECTION_CACHE_HEAD, sizeof(struct weir_shm_cache_head),
                                cache != NULL ? WEIR_CACHE_HEADS_MIN : 0, &head_cnt);
    const void *data = blocks_of(f, b, WEIR_SECTION_CACHE_DATA, 1, 0, &data_bytes, &data_cnt);
    if (!weir_cache_view_open(&o->cache, cache != NULL ? head : NULL, head_cnt, data,
                              data_cnt > 0 ? data_bytes : 0) &&
        f->bad == NULL) {
        f->bad = weir_section_name(WEIR_SECTION_CACHE_HEAD);
    }
    o->cache_answer_max_bytes =
        cache != NULL ? weir_min_u64(cache->answer_max_bytes, data_bytes) : 0;
}

static void board_find(const struct weir_attachment *at, struct weir_board *o, struct finder *f)
{
    const struct weir_segment *b = &o->segment;
    o->gate = array_of(f, b, WEIR_SECTION_GATE, sizeof *o->gate, 1, NULL);
    o->clock = array_of(f, b, WEIR_SECTION_CLOCK, sizeof *o->clock, 1, NULL);
    o->need_wakeup = array_of(f, b, WEIR_SECTION_NEED_WAKEUP, sizeof *o->need_wakeup, 1, NULL);
    const struct weir_shm_block *block =
        array_of(f, b, WEIR_SECTION_BLOCK, sizeof(struct weir_shm_block), 1, NULL);
    o->block = block != NULL ? &block->client[at->client % 256U] : NULL;
    o->provider =
        array_of(f, b, WEIR_SECTION_PROVIDER, sizeof *o->provider, 0, &o->bounds.hold_cnt);
    o->foreign = array_of(f, b, WEIR_SECTION_FOREIGN, sizeof *o->foreign, 0, &o->bounds.word_cnt);
    o->pace = array_of(f, b, WEIR_SECTION_PACE, sizeof *o->pace, 0, &o->pace_cnt);
    o->health = array_of(f, b, WEIR_SECTION_HEALTH, sizeof *o->health, 0, &o->health_cnt);
    (void)array_of(f, b, WEIR_SECTION_LIMIT, sizeof(struct weir_shm_limit_stats), 0,
                   &o->bounds.limit_cnt);
    (void)array_of(f, b, WEIR_SECTION_ROUTE, sizeof(struct weir_shm_route_stats), 0,
                   &o->bounds.route_cnt);
    (void)array_of(f, b, WEIR_SECTION_ENDPOINT, sizeof(struct weir_shm_endpoint), 0,
                   &o->bounds.endpoint_cnt);
    o->tables_base = blocks_of(f, b, WEIR_SECTION_TABLES, sizeof(struct weir_shm_tables), 1,
                               &o->tables_stride_bytes, &o->tables_cnt);
    cache_find(o, f);
    o->bounds.cell_cnt = UINT32_MAX; /* who has no permits segment never looks into a cell */
    if (at->role == WEIR_ROLE_TRADER) {
        /* The tables may name an index only where both segments have it. */
        o->bounds.cell_cnt = at->cell_cnt;
        o->bounds.word_cnt = (uint32_t)weir_min_u64(o->bounds.word_cnt, at->word_cnt);
        o->bounds.hold_cnt = (uint32_t)weir_min_u64(o->bounds.hold_cnt, at->pause_cnt);
    }
    /* The view caches one clock per provider. */
    o->bounds.provider_cnt = (uint32_t)weir_min_u64(o->bounds.hold_cnt, WEIR_PROVIDERS_MAX);
}

static void permits_find(struct weir_attachment *at, struct finder *f)
{
    at->word =
        array_of(f, &at->permits, WEIR_SECTION_LIMIT_WORD, sizeof *at->word, 0, &at->word_cnt);
    at->cell = array_of(f, &at->permits, WEIR_SECTION_CELL, sizeof *at->cell, 0, &at->cell_cnt);
    at->pause = array_of(f, &at->permits, WEIR_SECTION_PAUSE, sizeof *at->pause, 0, &at->pause_cnt);
}

static void ring_find(const struct weir_attachment *at, struct weir_board *o, struct finder *f)
{
    size_t bytes = weir_ring_bytes(at->ring_order); /* 0 for an order outside its range */
    uint32_t first = at->domain * WEIR_PRIORITY_CNT;
    if (bytes == 0 || at->domain >= WEIR_DOMAINS_MAX) {
        f->bad = weir_section_name(WEIR_SECTION_RING);
        return;
    }
    const struct weir_shm_ring_head *head = array_of(f, &o->segment, WEIR_SECTION_RING_HEAD,
                                                     sizeof *head, first + WEIR_PRIORITY_CNT, NULL);
    char *ring = array_of(f, &at->ring, WEIR_SECTION_RING, bytes, WEIR_PRIORITY_CNT, NULL);
    for (uint32_t p = 0; f->bad == NULL && p < WEIR_PRIORITY_CNT; p++) {
        if (weir_ring_attach(&o->level[p], ring + p * bytes, &head[first + p], at->ring_order) !=
            WEIR_OK) {
            f->bad = weir_section_name(WEIR_SECTION_RING);
        }
    }
}

const char *weir_board_find(const struct weir_attachment *at, struct weir_board *b)
{
    struct finder f = {.bad = NULL};
    board_find(at, b, &f);
    if (f.bad == NULL && at->role != WEIR_ROLE_MONITOR) {
        ring_find(at, b, &f);
    }
    return f.bad;
}

/* Each thread's counters must hold every route and limit that the board can hold, because permits do not look again. */
static void meters_check(struct weir_attachment *at, struct finder *f)
{
    struct weir_client_arena *m = &at->mem;
    const struct weir_shm_meter_head *head = (const void *)m->meter;
    const struct weir_tables_bounds *bounds = &weir_board_newest(at)->bounds;
    m->meter_route_cnt = head->route_cnt;
    m->meter_limit_cnt = head->limit_cnt;
    if (m->meter_route_cnt < bounds->route_cnt || m->meter_limit_cnt < bounds->limit_cnt ||
        weir_meter_all_bytes(m->meter_route_cnt, m->meter_limit_cnt) > m->meter_stride_bytes) {
        f->bad = weir_section_name(WEIR_SECTION_METER);
    }
}

/* A ring for each thread, or none at all. */
static void audit_find(struct weir_attachment *at, struct finder *f)
{
    struct weir_client_arena *m = &at->mem;
    struct weir_audit audit;
    uint32_t cnt;
    m->audit = blocks_of(f, &at->arena, WEIR_SECTION_AUDIT_RING, sizeof(struct weir_shm_audit_ring),
                         0, &m->audit_stride_bytes, &cnt);
    if (m->audit != NULL && f->bad == NULL &&
        (cnt < WEIR_THREADS_MAX || !weir_audit_open(&audit, m->audit, m->audit_stride_bytes))) {
        f->bad = weir_section_name(WEIR_SECTION_AUDIT_RING);
    }
}

static void arena_find(struct weir_attachment *at, struct finder *f)
{
    struct weir_client_arena *m = &at->mem;
    const struct weir_segment *s = &at->arena;
    m->wake = array_of(f, s, WEIR_SECTION_WAKE, sizeof *m->wake, 1, NULL);
    m->meter = blocks_of(f, s, WEIR_SECTION_METER, sizeof(struct weir_shm_meter_head),
                         WEIR_THREADS_MAX, &m->meter_stride_bytes, NULL);
    audit_find(at, f);
    m->slot = array_of(f, s, WEIR_SECTION_SLOT, sizeof *m->slot, 1, &m->slot_cnt);
    m->request =
        blocks_of(f, s, WEIR_SECTION_REQUEST, 1, m->slot_cnt, &m->request_stride_bytes, NULL);
    m->pool = blocks_of(f, s, WEIR_SECTION_RESPONSE, 1, 1, &m->pool_bytes, NULL);
    if (f->bad == NULL && (m->slot_cnt > WEIR_SLOTS_MAX || at->client >= WEIR_CLIENTS_MAX)) {
        f->bad = weir_section_name(WEIR_SECTION_SLOT);
    }
    if (f->bad == NULL) {
        meters_check(at, f);
    }
}

static int segment_map(struct weir_attachment *at, const struct weir_attach_context *c,
                       struct weir_segment *out, int fd, enum weir_segment_kind kind)
{
    const char *what = weir_segment_name(kind);
    /* Any broker at first, so that pieces of two brokers get their own text. */
    int rc = weir_segment_map(out, fd, kind, 0,
                              kind == WEIR_SEGMENT_BOARD ? WEIR_MAP_READ : WEIR_MAP_WRITE);
    if (rc == WEIR_E_SYSTEM) {
        int reason = errno;
        return weir_attach_fail(c, rc, "see the system's reason before this",
                                "segment %s cannot be mapped: %s", what, strerrordesc_np(reason));
    }
    if (rc != WEIR_OK) {
        return weir_attach_fail(c, rc, NULL, "segment %s: %s", what, weir_error_text(rc));
    }
    if (out->header->broker_id != at->broker_id) {
        return weir_attach_fail(
            c, WEIR_E_CORRUPT, NULL,
            "segment %s belongs to broker %016llx, the answer came from %016llx", what,
            (unsigned long long)out->header->broker_id, (unsigned long long)at->broker_id);
    }
    return WEIR_OK;
}

static int map_all(struct weir_attachment *at, const struct weir_attach_context *c, const int *fd)
{
    struct weir_segment *board = &weir_board_newest(at)->segment;
    int rc = segment_map(at, c, board, fd[FD_BOARD], WEIR_SEGMENT_BOARD);
    if (at->role != WEIR_ROLE_MONITOR) {
        rc = rc != WEIR_OK ? rc : segment_map(at, c, &at->ring, fd[FD_RING], WEIR_SEGMENT_RING);
        rc = rc != WEIR_OK ? rc : segment_map(at, c, &at->arena, fd[FD_ARENA], WEIR_SEGMENT_ARENA);
    }
    if (at->role == WEIR_ROLE_TRADER) {
        rc = rc != WEIR_OK ? rc
                           : segment_map(at, c, &at->permits, fd[FD_PERMITS], WEIR_SEGMENT_PERMITS);
    }
    return rc;
}

int weir_attachment_map(struct weir_attachment *at, const struct weir_attach_context *c,
                        const int *fd, size_t fd_cnt)
{
    struct finder f = {.bad = NULL};
    /* From here on each descriptor has its owner, also where mapping stops half-way. */
    struct weir_board *b = weir_board_newest(at);
    b->segment.fd = fd[FD_BOARD];
    if (fd_cnt > FD_BELL) {
        at->ring.fd = fd[FD_RING];
        at->arena.fd = fd[FD_ARENA];
        at->doorbell_fd = fd[FD_DOORBELL];
        at->bell_fd = fd[FD_BELL];
    }
    if (fd_cnt > FD_PERMITS) {
        at->permits.fd = fd[FD_PERMITS];
    }
    int rc = map_all(at, c, fd);
    if (rc != WEIR_OK) {
        return rc;
    }
    if (at->role == WEIR_ROLE_TRADER) {
        permits_find(at, &f);
    }
    f.bad = f.bad != NULL ? f.bad : weir_board_find(at, b);
    if (f.bad == NULL && at->role != WEIR_ROLE_MONITOR) {
        arena_find(at, &f);
    }
    if (f.bad != NULL) {
        return weir_attach_fail(c, WEIR_E_CORRUPT, NULL,
                                "section %s is missing, too small or of another shape", f.bad);
    }
    if (weir_load_acquire_u64(&b->gate->tables) == 0) { /* pair:tables A */
        return weir_attach_fail(c, WEIR_E_NOT_READY, NULL, "%s", weir_error_text(WEIR_E_NOT_READY));
    }
    return WEIR_OK;
}
