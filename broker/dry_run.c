#include "broker/dry_run.h"

#include "shm/weir_atomic.h"
#include "shm/weir_limit_repair.h"

#include <string.h>

int dry_run_open(struct dry_run *run, const struct weir_config *config, char *text,
                 size_t text_bytes)
{
    run->config = config;
    struct weir_config alone = *config;
    alone.broker.audit_cnt = 0; /* nobody is attached, and nobody asks */
    int rc = region_create(&run->region, &alone, text, text_bytes);
    if (rc != WEIR_OK) {
        return rc;
    }
    run->region.gate->lease_until_ns = UINT64_MAX;
    region_permit_view(&run->region, &run->view, false);
    run->view.owner = weir_owner_make(WEIR_OWNER_WORKER | 1U, 0);
    return weir_permit_refresh(&run->view);
}

void dry_run_close(struct dry_run *run)
{
    region_destroy(&run->region);
}

void dry_run_let_go(struct dry_run *run, struct weir_permit *permit)
{
    const struct weir_limit_grant grant = {.granted_at_ns = permit->granted_at_ns,
                                           .stamp_ns = permit->stamp_ns,
                                           .now_ns = weir_clock_now(&run->view.time),
                                           .owner = permit->owner};
    for (uint32_t i = 0; i < permit->charge_cnt; i++) {
        const struct weir_charge *c = &permit->charge[i];
        const struct weir_shm_limit_row *row = &run->view.tables.limit[c->limit];
        const struct weir_limit_place at = {row, &run->region.word[c->word],
                                            weir_limit_cells(run->region.cell, row, c->word)};
        if (c->kind == WEIR_LIMIT_CONCURRENCY) {
            (void)weir_limit_give(&at, c, &grant);
        }
    }
}

static bool nobody_lives(uint64_t cell, const void *arg)
{
    (void)cell;
    (void)arg;
    return false;
}

void dry_run_reap(struct dry_run *run)
{
    const struct weir_tables *t = &run->view.tables;
    for (uint32_t i = 0; i < t->limit_cnt; i++) {
        const struct weir_shm_limit_row *l = &t->limit[i];
        for (uint32_t k = 0; k < l->word_cnt && l->kind == WEIR_LIMIT_CONCURRENCY; k++) {
            (void)weir_units_reap(l, weir_limit_cells(run->region.cell, l, l->word_first + k),
                                  weir_clock_now(&run->view.time), nobody_lives, NULL);
        }
    }
}

void dry_run_time_set(struct dry_run *run, uint64_t now_ns)
{
    weir_clock_stand(&run->view.time, now_ns);
}

void dry_run_clock_set(struct dry_run *run, uint32_t provider, const struct weir_server_clock *to,
                       uint64_t now_ns)
{
    struct weir_shm_provider *at = &run->region.provider[provider];
    const struct weir_shm_provider_row *row = &run->view.tables.provider[provider];
    uint64_t seq;
    const struct weir_server_clock *last = weir_permit_server_clock(&run->view, provider, &seq);
    if (last != NULL && seq != 0) {
        struct weir_server_clock from = *last; /* the cache moves below */
        struct weir_server_clock closed = from;
        bool needed = false;
        for (uint32_t i = 0; i < row->limit_cnt; i++) {
            needed |= weir_limit_realign_needed(&run->view.tables.limit[row->limit_first + i],
                                                &from, to, now_ns);
        }
        closed.state = WEIR_CLOCK_CLOSED;
        if (needed) {
            weir_server_clock_publish(at, &closed); /* raises the epoch: old charges stay */
        }
        for (uint32_t i = 0; needed && i < row->limit_cnt; i++) {
            const struct weir_shm_limit_row *l = &run->view.tables.limit[row->limit_first + i];
            for (uint32_t k = 0; k < l->word_cnt; k++) {
                weir_limit_realign(l, &run->region.word[l->word_first + k], &from, to, now_ns);
            }
        }
    }
    weir_server_clock_publish(at, to);
}
