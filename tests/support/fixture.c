#include "fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

static void window_row(struct weir_shm_limit_row *row, const struct fixture_limit *limit,
                       const uint64_t reserve[WEIR_PRIORITY_CNT], uint64_t jitter_ns)
{
    uint64_t w = limit->window_ns;
    uint32_t dearest = limit->dearest != 0 ? limit->dearest : 1;
    row->window_inverse = weir_window_inverse(w);
    row->quota_unaligned = (uint32_t)(limit->quota / (2 + (jitter_ns + w - 1) / w));
    for (unsigned p = 1; p < WEIR_PRIORITY_CNT && reserve[WEIR_PRIORITY_CNT - 1] != 0; p++) {
        row->reserve_min[p] = dearest + p - 1;
        row->release_q64[p] = (uint64_t)((((unsigned __int128)reserve[p] << 64) + w - 1) / w);
    }
}

static void bucket_row(struct weir_shm_limit_row *row, const struct fixture_limit *limit,
                       const uint64_t reserve[WEIR_PRIORITY_CNT], uint64_t jitter_ns)
{
    row->unit_ns = weir_bucket_unit_ns(limit->window_ns, limit->quota);
    for (unsigned p = 0; p < WEIR_PRIORITY_CNT; p++) {
        uint64_t all_ns = limit->quota * row->unit_ns;
        uint64_t kept_ns = reserve[p] * row->unit_ns + jitter_ns + limit->step_ns;
        row->tolerance_ns[p] = all_ns > kept_ns ? all_ns - kept_ns : 0;
    }
}

static void cells_row(struct weir_shm_limit_row *row, const struct fixture_limit *limit,
                      const uint64_t reserve[WEIR_PRIORITY_CNT], uint64_t jitter_ns)
{
    bool units = limit->kind == WEIR_LIMIT_CONCURRENCY;
    row->form = units ? WEIR_FORM_UNITS : limit->form != 0 ? limit->form : WEIR_FORM_CELLS;
    row->cell_cnt = row->form == WEIR_FORM_PARTS ? WEIR_SLIDING_WORDS : limit->quota;
    row->cell_stride = (row->cell_cnt + 15U) & ~15U;
    row->span_ns = units ? limit->rest_ns : weir_sliding_span_ns(limit->window_ns, jitter_ns);
    row->ahead_ns = limit->orphan_ns > limit->rest_ns ? limit->orphan_ns - limit->rest_ns : 0;
    row->part_ns = weir_sliding_part_ns(row->span_ns);
    row->part_inverse = row->part_ns > 1 ? weir_window_inverse(row->part_ns) : 0;
    for (unsigned p = 0; p < WEIR_PRIORITY_CNT; p++) {
        row->reserve_min[p] = (uint32_t)reserve[p];
    }
}

void fixture_limit_row(struct weir_shm_limit_row *row, const struct fixture_limit *limit,
                       uint64_t jitter_ns)
{
    uint64_t reserve[WEIR_PRIORITY_CNT] = {0};
    bool any = false;
    for (unsigned p = 1; p < WEIR_PRIORITY_CNT; p++) {
        any |= limit->headroom_ppm[p - 1] != 0;
        uint64_t more = ((uint64_t)limit->headroom_ppm[p - 1] * limit->quota + 999999) / 1000000;
        reserve[p] = reserve[p - 1] + (more == 0 && any ? 1 : more);
    }
    *row = (struct weir_shm_limit_row){
        .kind = limit->kind,
        .word_cnt = limit->scopes != 0 ? limit->scopes : 1,
        .scope_shift = 16 * WEIR_SCOPE_INSTRUMENT,
        .quota = limit->quota,
        .window_ns = limit->window_ns,
        .rate_window_ns = limit->window_ns,
        .rate_quota = limit->quota,
        .ceiling_step = limit->ceiling_step,
        .ceiling_ahead = limit->ceiling_ahead,
    };
    switch ((enum weir_limit_kind)limit->kind) {
    case WEIR_LIMIT_FIXED_WINDOW:
        window_row(row, limit, reserve, jitter_ns);
        break;
    case WEIR_LIMIT_TOKEN_BUCKET:
        bucket_row(row, limit, reserve, jitter_ns);
        break;
    case WEIR_LIMIT_SLIDING_WINDOW:
    case WEIR_LIMIT_CONCURRENCY:
        cells_row(row, limit, reserve, jitter_ns);
        break;
    case WEIR_LIMIT_UNSET:
        break;
    }
}

struct weir_limit_place fixture_place(const struct fixture *f, const struct weir_permit_view *view,
                                      uint32_t limit, bool own)
{
    const struct weir_shm_limit_row *row = &view->tables.limit[limit];
    uint64_t *cell = own ? f->memory->own_cell : f->memory->cell;
    struct weir_shm_limit_word *word = own ? f->memory->own : f->memory->word;
    return (struct weir_limit_place){row, &word[row->word_first],
                                     weir_limit_cells(cell, row, row->word_first)};
}

static void route_row(struct weir_shm_route_row *row, const struct fixture_route *route,
                      const struct fixture_spec *spec, uint32_t index)
{
    *row = (struct weir_shm_route_row){.limit_cnt = route->limit_cnt};
    memset(row->settle_success, 0xff, sizeof row->settle_success); /* WEIR_SETTLE_AS_CHARGED */
    memset(row->settle_failure, 0xff, sizeof row->settle_failure);
    for (uint32_t i = 0; i < route->limit_cnt; i++) {
        row->limit[i] = (uint16_t)route->limit[i];
        row->cost[i] = route->cost[i];
        uint32_t kind = spec->limit[route->limit[i]].kind;
        row->flags |= kind == WEIR_LIMIT_FIXED_WINDOW ? WEIR_ROUTE_NEEDS_CLOCK : 0U;
        row->flags |= spec->limit[route->limit[i]].share_cnt > 0 ? WEIR_ROUTE_SHARED : 0U;
        row->flags |= kind == WEIR_LIMIT_CONCURRENCY || kind == WEIR_LIMIT_SLIDING_WINDOW
                          ? WEIR_ROUTE_IN_CELLS
                          : 0U;
    }
    (void)snprintf(row->name, sizeof row->name, "route_%u", index);
}

void fixture_tables_publish(struct fixture *f, uint32_t generation)
{
    const struct fixture_spec *spec = &f->spec;
    uint8_t *at = f->memory->tables;
    memset(at, 0, sizeof f->memory->tables);
    struct weir_shm_tables *block = (void *)at;
    uint32_t off = sizeof *block;
    block->generation = generation;
    block->provider_cnt = 1;
    block->provider_off_bytes = off;
    struct weir_shm_provider_row *provider = (void *)(at + off);
    off += sizeof *provider;
    *provider = (struct weir_shm_provider_row){.name = "venue",
                                               .limit_cnt = spec->limit_cnt,
                                               .route_cnt = spec->route_cnt,
                                               .jitter_ns = spec->jitter_ns,
                                               .slack_ns = spec->slack_ns,
                                               .reopen_lease_ns = spec->reopen_lease_ns,
                                               .reopen_step_ns = spec->reopen_step_ns};
    block->limit_cnt = spec->limit_cnt;
    block->limit_off_bytes = off;
    uint32_t word = 0;
    uint32_t cell = 0;
    for (uint32_t i = 0; i < spec->limit_cnt; i++) {
        struct weir_shm_limit_row *row = (void *)(at + off);
        fixture_limit_row(row, &spec->limit[i], spec->jitter_ns);
        row->share_cnt = spec->limit[i].share_cnt;
        row->share_min = spec->limit[i].dearest != 0 ? spec->limit[i].dearest : 1;
        if (row->share_cnt > 0) {
            row->cell_cnt = row->share_cnt * WEIR_SHARE_CELLS;
            row->cell_stride = (row->cell_cnt + 15U) & ~15U;
        }
        row->word_first = word;
        word += row->word_cnt;
        row->cell_first = cell;
        cell += row->word_cnt * row->cell_stride;
        (void)snprintf(row->name, sizeof row->name, "limit_%u", i);
        off += sizeof *row;
    }
    block->route_cnt = spec->route_cnt;
    block->route_off_bytes = off;
    for (uint32_t i = 0; i < spec->route_cnt; i++) {
        route_row((void *)(at + off), &spec->route[i], spec, i);
        off += sizeof(struct weir_shm_route_row);
    }
    block->endpoint_off_bytes = off;
    block->scope_off_bytes = off;
    block->member_off_bytes = off;
    block->scope_cnt = 1;
    struct weir_shm_scope_row *scope = (void *)(at + off);
    *scope = (struct weir_shm_scope_row){.name = "BTC-USDT", .kind = WEIR_SCOPE_INSTRUMENT};
    off += sizeof *scope;
    for (uint32_t i = 0; i < spec->limit_cnt; i++) {
        struct weir_shm_limit_row *row = (void *)(at + block->limit_off_bytes + i * sizeof *row);
        row->share_off_bytes = (uint32_t)((const char *)at + off - (const char *)row);
        memcpy(at + off, spec->limit[i].share, row->share_cnt * sizeof spec->limit[i].share[0]);
        off += row->share_cnt * (uint32_t)sizeof spec->limit[i].share[0];
    }
    block->used_bytes = off;
    block->checksum = weir_tables_checksum(block);
    f->memory->gate.tables = (uint64_t)generation << 32;
}

void fixture_open(struct fixture *f, const struct fixture_spec *spec)
{
    void *base =
        mmap(NULL, sizeof *f->memory, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (base == MAP_FAILED) {
        perror("broken harness: mmap");
        exit(99);
    }
    *f = (struct fixture){.memory = base, .spec = *spec};
    f->memory->gate.lease_until_ns = UINT64_MAX;
    fixture_tables_publish(f, 1);
    fixture_server_clock(
        f, &(struct weir_server_clock){.state = WEIR_CLOCK_KNOWN, .jitter_ns = spec->jitter_ns});
}

void fixture_close(struct fixture *f)
{
    (void)munmap(f->memory, sizeof *f->memory);
    f->memory = NULL;
}

void fixture_view(const struct fixture *f, struct weir_permit_view *view, uint64_t now_ns)
{
    struct fixture_memory *m = f->memory;
    memset(view, 0, sizeof *view);
    view->gate = &m->gate;
    view->block = &m->block.client[0];
    view->provider = &m->provider;
    view->foreign = m->foreign;
    view->word = m->word;
    view->cell = m->cell;
    view->owner = weir_owner_make(1, 7);
    view->pause = &m->pause;
    view->tables_base = m->tables;
    view->tables_cnt = 1;
    view->tables_stride_bytes = sizeof m->tables;
    view->bounds = (struct weir_tables_bounds){.provider_cnt = 1,
                                               .hold_cnt = 1,
                                               .limit_cnt = FIXTURE_LIMITS,
                                               .route_cnt = FIXTURE_ROUTES,
                                               .endpoint_cnt = 1,
                                               .word_cnt = FIXTURE_WORDS,
                                               .cell_cnt = FIXTURE_CELLS};
    weir_clock_init(&view->time, &m->clock, 0);
    fixture_time_set(view, now_ns);
    if (weir_permit_refresh(view) != WEIR_OK) {
        fprintf(stderr, "broken harness: the fixture's tables do not resolve\n");
        exit(99);
    }
}

void fixture_self(struct weir_permit_view *view, const char *name, uint32_t uid)
{
    view->self = (struct weir_permit_self){.known = true, .uid = uid};
    (void)snprintf(view->self.name, sizeof view->self.name, "%s", name);
    weir_permit_self_find(&view->self, &view->tables);
    view->member = view->self.member;
}

void fixture_time_set(struct weir_permit_view *view, uint64_t now_ns)
{
    weir_clock_stand(&view->time, now_ns); /* the fixture's clock line is never published */
}

void fixture_server_clock(const struct fixture *f, const struct weir_server_clock *clock)
{
    weir_server_clock_publish(&f->memory->provider, clock);
}

uint64_t fixture_random(uint64_t *state)
{
    uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

uint64_t fixture_random_below(uint64_t *state, uint64_t n)
{
    return fixture_random(state) % n;
}
