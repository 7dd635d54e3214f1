#include "broker/late.h"

#include "broker/clock_reply.h"
#include "broker/log.h"
#include "broker/pair.h"
#include "shm/weir_atomic.h"
#include "shm/weir_forecast.h"

#include <stdlib.h>

/* One limit that is a bucket. */
struct bucket {
    uint32_t limit;
    uint32_t dearest; /* of any route */
    /* that J as it is measured now asks for; a word has more until it has fallen. [1]: where others are proven */
    uint32_t slow_units[2];
};

/* Of `open_units` in a word: what was on its way when a worker died, and until when it may be counted. */
struct orphans {
    uint32_t units;
    uint64_t until_ns;
};

struct late {
    struct bucket *bucket;
    struct orphans *orphans; /* [limit word] */
    uint32_t bucket_cnt;
    struct weir_late *word; /* [limit word] */
    struct bucket **of;     /* [limit word]; NULL: of another kind */
    uint32_t word_cnt;
};

static const struct weir_shm_limit_row *row_of(const struct worker *w, const struct bucket *b)
{
    return &w->shared.tables.limit[b->limit];
}

static uint64_t floor_ns(const struct worker *w, const struct weir_shm_limit_row *row)
{
    return w->provider[row->provider].config->clock.max_jitter_ns;
}

static void publish(struct worker *w, const struct weir_shm_limit_row *row, uint32_t index)
{
    if (weir_late_publish(&w->late->word[index], row, &w->region->foreign[index], worker_now(w))) {
        weir_permit_bell(&w->shared.pause[row->provider]); /* there is room that nobody promised */
    }
}

/* Units are let go that are charged as of now, on both accounts. */
static void spend(struct worker *w, const struct weir_shm_limit_row *row, uint32_t index,
                  uint32_t units)
{
    const struct weir_limit_place own = {.row = row, .word = &w->region->own_word[index]};
    const struct weir_limit_place shared = {.row = row, .word = &w->region->word[index]};
    if (units == 0) {
        return;
    }
    pair_open_word(w, index);
    weir_late_spend(&own, units, worker_now(w));
    weir_late_spend(&shared, units, worker_now(w));
    pair_close(w);
}

/* ---------------------------------------------------------------------------------------------- start and end */

static bool limits_open(struct worker *w, struct late *late)
{
    const struct weir_tables *t = &w->shared.tables;
    late->bucket = calloc((size_t)t->limit_cnt + 1, sizeof *late->bucket);
    late->word = calloc((size_t)late->word_cnt + 1, sizeof *late->word);
    late->of = calloc((size_t)late->word_cnt + 1, sizeof(struct bucket *));
    late->orphans = calloc((size_t)late->word_cnt + 1, sizeof *late->orphans);
    if (late->bucket == NULL || late->word == NULL || late->of == NULL || late->orphans == NULL) {
        return false;
    }
    for (uint32_t i = 0; i < t->limit_cnt; i++) {
        const struct weir_shm_limit_row *row = &t->limit[i];
        if (row->kind != WEIR_LIMIT_TOKEN_BUCKET) {
            continue;
        }
        uint32_t route;
        struct bucket *b = &late->bucket[late->bucket_cnt++];
        *b = (struct bucket){.limit = i,
                             .dearest = weir_forecast_dearest(t->route, t->route_cnt, i, &route)};
        for (uint32_t k = row->word_first; k < row->word_first + row->word_cnt; k++) {
            late->of[k] = b;
            weir_late_restore(&late->word[k], &w->region->foreign[k], worker_now(w));
            if (!reply_counts(w, k)) {
                late->word[k].others_units = 0; /* nobody would take them back */
            }
        }
    }
    return true;
}

bool late_open(struct worker *w)
{
    w->late = calloc(1, sizeof *w->late);
    if (w->late == NULL) {
        return false;
    }
    w->late->word_cnt = w->region->word_cnt;
    return limits_open(w, w->late);
}

/* Is the way longer than the bucket's floor allows for? Then for how long after a death something may still be counted; else 0. */
static uint64_t orphans_for_ns(const struct worker *w, const struct weir_shm_limit_row *row)
{
    uint64_t jitter_ns = clock_jitter_ns(&w->provider[row->provider]);
    return jitter_ns > floor_ns(w, row) ? jitter_ns : 0;
}

/* `units` of a word's open ones are orphans. */
static void orphans_add(struct worker *w, uint32_t k, uint32_t units, uint64_t for_ns)
{
    struct orphans *o = &w->late->orphans[k];
    o->units += units;
    o->until_ns = worker_now(w) + for_ns;
    w->late->word[k].open_until_ns = weir_max_u64(w->late->word[k].open_until_ns, o->until_ns);
}

/* All that is held in each word is charged as of now; `wait`: what may still be counted is held on. */
static uint32_t let_go(struct worker *w, bool wait)
{
    uint32_t cnt = 0;
    for (uint32_t k = 0; k < w->late->word_cnt; k++) {
        struct weir_late *late = &w->late->word[k];
        if (w->late->of[k] == NULL || weir_late_held(late) == 0) {
            continue;
        }
        uint64_t for_ns = wait ? orphans_for_ns(w, row_of(w, w->late->of[k])) : 0;
        if (for_ns > 0) {
            orphans_add(w, k, late->open_units, for_ns);
            cnt++;
            continue;
        }
        const struct weir_shm_limit_row *row = row_of(w, w->late->of[k]);
        spend(w, row, k, weir_late_held(late));
        late->slow_units = 0;
        late->open_units = 0;
        w->late->orphans[k].units = 0;
        late->open_until_ns = 0;
        publish(w, row, k);
        cnt++;
    }
    return cnt;
}

void late_start(struct worker *w)
{
    uint32_t cnt = let_go(w, true);
    if (cnt > 0) {
        log_info("late_charged", "s:i", "limits", (int)cnt);
    }
}

void late_leave(struct worker *w)
{
    (void)let_go(w, false);
}

void late_orphan(struct worker *w, uint32_t route, uint64_t scope, const uint32_t *units)
{
    const struct weir_shm_route_row *row = &w->shared.tables.route[route];
    for (uint32_t i = 0; i < row->limit_cnt; i++) {
        const struct weir_shm_limit_row *limit = &w->shared.tables.limit[row->limit[i]];
        uint32_t k;
        uint64_t for_ns = limit->kind == WEIR_LIMIT_TOKEN_BUCKET ? orphans_for_ns(w, limit) : 0;
        if (for_ns == 0 || weir_permit_word(&w->shared, row->limit[i], scope, &k) == NULL) {
            continue;
        }
        uint32_t cnt =
            units != NULL ? (uint32_t)weir_max_u64(units[i], row->cost[i]) : row->cost[i];
        w->late->word[k].open_units += cnt;
        orphans_add(w, k, cnt, for_ns);
        publish(w, limit, k);
    }
}

/* ---------------------------------------------------------------------------------------------- each tick */

/* What slow is to be of word `k`. */
static uint32_t slow_of(const struct worker *w, const struct bucket *b, uint32_t k)
{
    return b->slow_units[reply_shared(w, k) ? 1 : 0];
}

void late_rise(struct worker *w)
{
    for (uint32_t i = 0; i < w->late->bucket_cnt; i++) {
        struct bucket *b = &w->late->bucket[i];
        const struct weir_shm_limit_row *row = row_of(w, b);
        uint64_t jitter_ns = clock_jitter_ns(&w->provider[row->provider]);
        for (unsigned shared = 0; shared < 2; shared++) {
            b->slow_units[shared] =
                weir_late_slow(row, floor_ns(w, row), jitter_ns, b->dearest, shared == 1);
        }
        for (uint32_t k = row->word_first; k < row->word_first + row->word_cnt; k++) {
            struct weir_late *late = &w->late->word[k];
            const uint32_t units = slow_of(w, b, k);
            if (late->slow_units < units) {
                late->slow_units = units;
                publish(w, row, k);
            }
        }
    }
}

void late_look(struct worker *w, struct call *c, uint64_t ahead_ns)
{
    for (uint32_t i = 0; i < c->permit.charge_cnt && i < WEIR_PERMIT_LIMITS_MAX; i++) {
        const struct weir_charge *charge = &c->permit.charge[i];
        const struct bucket *b =
            charge->word < w->late->word_cnt ? w->late->of[charge->word] : NULL;
        if (b == NULL || charge->units == 0 || (c->late >> i & 1U) != 0) {
            continue;
        }
        const struct weir_shm_limit_row *row = row_of(w, b);
        struct weir_late *late = &w->late->word[charge->word];
        /* J as it will be once it has fallen, if it is about to */
        if (!weir_late_due(row, slow_of(w, b, charge->word), floor_ns(w, row),
                           c->permit.granted_at_ns, w->now_ns + ahead_ns)) {
            continue;
        }
        c->late |= 1U << i;
        late->open_units += charge->units;
        late->open_until_ns = weir_max_u64(late->open_until_ns, c->deadline_ns);
        publish(w, row, charge->word);
        board_add(&w->region->provider[row->provider].overdue_charged, 1);
    }
}

void late_fall(struct worker *w)
{
    for (uint32_t k = 0; k < w->late->word_cnt; k++) {
        const struct bucket *b = w->late->of[k];
        struct weir_late *late = &w->late->word[k];
        if (b == NULL || (weir_late_held(late) == 0 && late->others_units == 0)) {
            continue;
        }
        const struct weir_shm_limit_row *row = row_of(w, b);
        struct orphans *o = &w->late->orphans[k];
        if (o->units > 0 && w->now_ns >= o->until_ns) {
            spend(w, row, k, o->units);
            late->open_units -= o->units;
            late->open_until_ns = late->open_units > 0 ? late->open_until_ns : 0;
            o->units = 0;
        }
        const uint32_t units = slow_of(w, b, k);
        if (late->slow_units > units) {
            spend(w, row, k, late->slow_units - units);
            late->slow_units = units;
        }
        publish(w, row, k);
    }
}

/* ---------------------------------------------------------------------------------------------- a call's end */

static void move(struct worker *w, const struct call *c, const struct weir_charge *charge,
                 uint32_t units)
{
    const uint32_t k = charge->word;
    const struct weir_shm_limit_row *row = row_of(w, w->late->of[k]);
    const struct weir_limit_place own = {.row = row, .word = &w->region->own_word[k]};
    const struct weir_limit_place shared = {.row = row, .word = &w->region->word[k]};
    const uint64_t from_ns = c->permit.granted_at_ns;
    const uint64_t jitter_ns =
        weir_late_jitter_ns(row, w->late->word[k].slow_units, floor_ns(w, row));
    /* Whatever came of the answer, the call was counted before. */
    const uint64_t end_ns = c->first_byte_ns != 0 ? c->first_byte_ns : worker_now(w);
    const uint64_t age_ns = end_ns > from_ns ? end_ns - from_ns : 0;
    pair_open_word(w, k);
    weir_late_move(&own, units, from_ns, age_ns, jitter_ns, worker_now(w));
    weir_late_move(&shared, units, from_ns, age_ns, jitter_ns, worker_now(w));
    pair_close(w);
}

void late_end(struct worker *w, struct call *c, const struct weir_cost *counted)
{
    for (uint32_t i = 0; c->late != 0 && i < WEIR_PERMIT_LIMITS_MAX; i++) {
        const struct weir_charge *charge = &c->permit.charge[i];
        if ((c->late >> i & 1U) == 0) {
            continue;
        }
        struct weir_late *late = &w->late->word[charge->word];
        uint32_t units = charge->units;
        if (counted != NULL && i < counted->cnt && counted->units[i] < units) {
            units = counted->units[i];
        }
        if (units > 0) {
            move(w, c, charge, units);
        }
        c->late &= ~(1U << i);
        late->open_units -= charge->units;
        late->open_until_ns = late->open_units > 0 ? late->open_until_ns : 0;
        publish(w, row_of(w, w->late->of[charge->word]), charge->word);
    }
}

/* ---------------------------------------------------------------------------------------------- others */

void late_others(struct worker *w, uint32_t index, uint32_t units, uint64_t until_ns)
{
    struct weir_late *late = &w->late->word[index];
    late->others_units = units;
    late->others_until_ns = until_ns;
    publish(w, row_of(w, w->late->of[index]), index);
}

uint64_t late_open_units(const struct worker *w, uint32_t index)
{
    return w->late->word[index].open_units;
}

uint64_t late_jitter_ns(const struct worker *w, uint32_t index)
{
    const struct weir_shm_limit_row *row = row_of(w, w->late->of[index]);
    return weir_late_jitter_ns(row, w->late->word[index].slow_units, floor_ns(w, row));
}
