#include "broker/reply_rolling.h"

#include "broker/late.h"
#include "shm/weir_atomic.h"
#include "shm/weir_cells.h"

#include <stdlib.h>

/* How far back looks at a bucket reach at least, beyond J. */
#define LOOK_MIN_NS (100 * WEIR_NS_PER_MS)

/* What is published holds for grants until so much later: a look, and a turn that comes late. The longer, the more is kept in vain. */
#define AHEAD_MIN_NS (12 * WEIR_NS_PER_MS)
#define AHEAD_MAX_NS (30 * WEIR_NS_PER_MS)

/* One limit word, as its cells are looked at. */
struct place {
    const struct weir_shm_limit_row *row;
    const uint64_t *cell;
    uint64_t now_ns;
};

static struct place place_of(const struct worker *w, const struct weir_shm_limit_row *row,
                             uint32_t index, uint64_t now_ns)
{
    return (struct place){row, weir_limit_cells(w->shared.cell, row, index), now_ns};
}

static uint64_t stamped(const void *arg, uint64_t from_ns, uint64_t to_ns)
{
    const struct place *p = arg;
    return weir_sliding_stamped(p->row, p->cell, p->now_ns, from_ns, to_ns, false);
}

/* J as it is believed now: what is configured, or what answers showed; of a bucket, what calls are not held for while they are open (shm/weir_late.h). */
static uint64_t jitter_ns(const struct worker *w, const struct weir_shm_limit_row *row,
                          uint32_t index)
{
    const struct provider *p = &w->provider[row->provider];
    uint64_t ns = weir_max_u64(p->config->clock.max_jitter_ns, p->published.jitter_ns);
    return row->kind == WEIR_LIMIT_TOKEN_BUCKET ? weir_max_u64(ns, late_jitter_ns(w, index)) : ns;
}

/* Token bucket: look at what is ours. */
static void look(struct worker *w, struct rolling *r, const struct weir_shm_limit_row *row,
                 uint32_t index)
{
    if (row->kind != WEIR_LIMIT_TOKEN_BUCKET) {
        return;
    }
    const struct weir_shm_limit_word *word = &w->region->word[index];
    uint64_t now_ns = worker_now(w);                         /* before the word */
    uint64_t given_ns = weir_load_acquire_u64(&word->owed);  /* pair:limit A */
    uint64_t tat_ns = weir_load_acquire_u64(&word->word[0]); /* pair:limit A */
    rolling_look(r, now_ns, tat_ns, given_ns, 2 * jitter_ns(w, row, index) + LOOK_MIN_NS);
}

static uint32_t publish(struct worker *w, struct rolling *r, const struct weir_shm_limit_row *row,
                        uint32_t index)
{
    uint64_t now_ns = worker_now(w);
    uint64_t ahead_ns = row->window_ns / 64;
    ahead_ns = weir_min_u64(weir_max_u64(ahead_ns, AHEAD_MIN_NS), AHEAD_MAX_NS);
    const struct place place = place_of(w, row, index, now_ns);
    const struct rolling_foreign f = rolling_foreign(r, now_ns, ahead_ns, stamped, &place);
    if (row->kind ==
        WEIR_LIMIT_TOKEN_BUCKET) { /* its word also bears what is held for late calls */
        late_others(w, index, f.units, f.until_ns);
        return f.claimed;
    }
    uint64_t *board = &w->region->foreign[index].word[0];
    uint64_t before = weir_load_relaxed_u64(board); /* relaxed: this thread is its writer */
    uint64_t next = f.units > 0 ? weir_foreign_make(f.until_ns, f.units) : 0;
    if (next != before) {
        weir_store_relaxed_u64(board, next); /* relaxed: readers take any whole word */
    }
    if (f.units < (uint32_t)before) {                      /* ... or it has ended by itself since */
        weir_permit_bell(&w->shared.pause[row->provider]); /* there is room that nobody promised */
    }
    return f.claimed;
}

/* Do all entries that name this limit say that its window rolls? */
static bool rolls(const struct weir_config_provider *config, size_t limit)
{
    bool all = true;
    for (size_t i = 0; i < config->feedback_cnt; i++) {
        const struct weir_config_feedback *f = &config->feedback[i];
        all &= f->limit_idx != limit || f->rolls;
    }
    return all;
}

struct rolling *reply_rolling_open(struct worker *w, const struct weir_shm_limit_row *row,
                                   uint32_t index)
{
    const struct weir_config_provider *config = w->provider[row->provider].config;
    const struct weir_config_limit *limit =
        &config->limit[(uint32_t)(row - w->shared.tables.limit) -
                       w->shared.tables.provider[row->provider].limit_first];
    bool bucket = row->kind == WEIR_LIMIT_TOKEN_BUCKET;
    const struct rolling_rule rule = {
        .quota = row->quota,
        .unit_ns = bucket ? row->unit_ns : 0,
        .window_ns =
            bucket ? (uint64_t)row->quota * row->unit_ns : weir_sliding_span_ns(row->window_ns, 0),
        .span_ns = row->span_ns,
        .part_ns = row->form == WEIR_FORM_PARTS ? row->part_ns : 0,
        .step_ns = limit->step_ns,
        .rolls = rolls(config, (size_t)(limit - config->limit)),
        .expect = limit->foreign.expect == WEIR_CONFIG_EXPECT_ADAPTIVE,
    };
    struct rolling *r = malloc(sizeof *r);
    if (r != NULL) {
        struct weir_late before;
        uint64_t now_ns = worker_now(w);
        rolling_init(r, &rule);
        weir_late_restore(&before, &w->region->foreign[index], now_ns);
        rolling_restore(r, now_ns, before.others_until_ns, before.others_units);
    }
    return r;
}

/* What the call took from this word and, as things are, will not get back when it is settled; 0 where that is not sure. */
static uint32_t units_kept(const struct worker *w, const struct call *c, uint32_t index)
{
    const struct weir_config_route *config = w->route[c->route].config;
    const struct weir_permit *p = &c->permit;
    if (config == NULL ||
        config->settle.success_cnt + config->settle.failure_cnt + config->settle.counted_cnt == 0) {
        for (uint32_t i = 0; i < p->charge_cnt && i < WEIR_PERMIT_LIMITS_MAX; i++) {
            if (p->charge[i].word == index) {
                return p->charge[i].units;
            }
        }
    }
    return 0;
}

static uint64_t stamp_of(const struct rolling *r, const struct call *c)
{
    return r->rule.unit_ns != 0 ? c->permit.granted_at_ns : c->permit.stamp_ns;
}

/* Fill in what is ours, and take it. */
static bool take(struct worker *w, struct rolling *r, struct rolling_report *q,
                 const struct weir_shm_limit_row *row, uint32_t index)
{
    uint64_t now_ns = worker_now(w);
    q->jitter_ns = jitter_ns(w, row, index);
    q->late_ns =
        row->kind == WEIR_LIMIT_TOKEN_BUCKET ? late_open_units(w, index) * row->unit_ns : 0;
    look(w, r, row, index);
    if (row->kind == WEIR_LIMIT_SLIDING_WINDOW) {
        const struct place at = place_of(w, row, index, now_ns);
        uint64_t from_ns = q->sent_ns > row->span_ns ? q->sent_ns - row->span_ns : 0;
        uint64_t owed = weir_foreign_rolling(weir_load_acquire_u64(&w->region->word[index].owed),
                                             q->sent_ns); /* pair:limit A */
        q->most = weir_sliding_stamped(row, at.cell, now_ns, from_ns, UINT64_MAX, true);
        q->most = q->most > UINT64_MAX - owed ? UINT64_MAX : q->most + owed;
    }
    bool taken = rolling_report(r, q, now_ns);
    if (taken) {
        (void)publish(w, r, row, index);
    }
    return taken;
}

bool reply_rolling_report(struct worker *w, struct rolling *r, const struct call *c,
                          const struct weir_shm_limit_row *row, uint32_t index, uint32_t used,
                          bool least)
{
    struct rolling_report q = {.sent_ns = c->sent_ns,
                               .seen_ns = c->first_byte_ns,
                               .used = used,
                               .least = least,
                               .units = units_kept(w, c, index),
                               .stamp_ns = stamp_of(r, c)};
    return take(w, r, &q, row, index);
}

bool reply_rolling_claim(struct worker *w, struct rolling *r, const struct weir_shm_claim *c,
                         const struct weir_shm_limit_row *row, uint32_t index)
{
    struct rolling_report q = {.sent_ns = c->sent_ns,
                               .seen_ns = c->seen_ns,
                               .used = (uint32_t)c->what,
                               .least = (uint32_t)c->what >=
                                        row->quota, /* it may have been told that none is left */
                               .claim = true};
    return take(w, r, &q, row, index);
}

void reply_rolling_answered(struct worker *w, struct rolling *r, const struct call *c,
                            uint32_t index)
{
    uint32_t units = units_kept(w, c, index);
    if (units > 0) {
        rolling_answered(r, stamp_of(r, c), c->sent_ns, c->first_byte_ns, units);
    }
}

uint32_t reply_rolling_tick(struct worker *w, struct rolling *r,
                            const struct weir_shm_limit_row *row, uint32_t index)
{
    look(w, r, row, index);
    return publish(w, r, row, index);
}
