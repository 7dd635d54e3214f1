#include "broker/reload.h"

#include "broker/memory.h"
#include "broker/tables_follow.h"
#include "shm/weir_latch.h"
#include "shm/weir_limit_repair.h"
#include "shm/weir_share.h"
#include "shm/weir_weave.h"

#include <stdlib.h>
#include <string.h>

static struct weir_server_clock clock_of(const struct region *r, uint32_t provider)
{
    struct weir_server_clock clock = {.state = WEIR_CLOCK_UNKNOWN};
    uint64_t value[WEIR_SERVER_CLOCK_WORDS];
    uint64_t seq = 0;
    if (weir_latch_read(&r->provider[provider].clock_seq, r->provider[provider].clock, value,
                        WEIR_SERVER_CLOCK_WORDS, &seq) &&
        seq != 0) {
        memcpy(&clock, value, sizeof clock);
    }
    return clock;
}

static const struct weir_shm_tables *block_at(const struct region *r, uint32_t index)
{
    return (const void *)(r->tables + index % r->tables_cnt * r->tables_stride_bytes);
}

const struct weir_shm_tables *reload_tables(const struct region *r)
{
    /* pair:tables A */
    return block_at(r, (uint32_t)weir_load_acquire_u64(&r->gate->tables));
}

/* ---------------------------------------------------------------------------------------------- words */

/* How far the critical class stays away from the whole bucket: by max_jitter and the server's step. */
static uint64_t bucket_kept_ns(const struct weir_shm_limit_row *row)
{
    return (uint64_t)row->quota * row->unit_ns - row->tolerance_ns[WEIR_PRIORITY_CRITICAL];
}

static bool bucket_same(const struct weir_shm_limit_row *old, const struct weir_shm_limit_row *row)
{
    return old->unit_ns == row->unit_ns && old->quota == row->quota &&
           bucket_kept_ns(old) <= bucket_kept_ns(row);
}

/*
 * What is owed, in ns of the new row. The same T: a smaller burst keeps what is owed; of a larger one the exchange may fill up the new part at its rate only, so what is left stays. Another T, or less
 * kept: the whole bucket is owed, and what was owed where that is more, whatever the exchange counts by.
 */
static uint64_t bucket_owed_ns(const struct weir_shm_limit_row *old,
                               const struct weir_shm_limit_row *row, uint64_t tat, uint64_t now_ns)
{
    /* What is beyond the reach of the old row is damage, which must not wrap either. */
    uint64_t reach_ns = weir_bucket_reach((uint64_t)weir_limit_peak(old) * old->unit_ns);
    uint64_t owed_ns = tat > now_ns ? weir_min_u64(tat - now_ns, reach_ns) : 0;
    if (old->unit_ns == row->unit_ns && bucket_kept_ns(old) <= bucket_kept_ns(row)) {
        uint64_t more = row->quota > old->quota ? row->quota - old->quota : 0;
        return owed_ns + more * row->unit_ns;
    }
    uint64_t units = (owed_ns + old->unit_ns - 1) / old->unit_ns;
    units = weir_min_u64(units, 2 * (uint64_t)weir_limit_peak(row));
    return weir_max_u64(units, row->quota) * row->unit_ns;
}

static void bucket_convert(const struct weir_limit_place *at, const struct weir_shm_limit_row *old,
                           uint64_t now_ns)
{
    uint64_t seen[2];
    uint64_t next[2];
    if (bucket_same(old, at->row)) {
        return;
    }
    uint64_t most_ns =
        weir_bucket_most(now_ns, (uint64_t)weir_limit_peak(at->row) * at->row->unit_ns);
    seen[1] = weir_load_acquire_u64(&at->word->word[1]); /* pair:limit A */
    seen[0] = weir_load_acquire_u64(&at->word->word[0]); /* pair:limit A */
    do { /* lock-free; may move TAT backwards, so it counts as a refund does */
        next[0] = weir_min_u64(now_ns + bucket_owed_ns(old, at->row, seen[0], now_ns), most_ns);
        next[1] = seen[1] + 1;
        WEIR_WEAVE("reload:bucket");
    } while (!weir_cas_pair_u64(at->word->word, seen, next)); /* pair:limit R */
}

static void bucket_restored(const struct weir_limit_place *at, const struct weir_shm_limit_row *old,
                            uint64_t now_ns)
{
    struct weir_shm_limit_row row = *at->row;
    const struct weir_limit_place place = {&row, at->word, at->cell};
    memory_peak_raise(&row, weir_limit_peak(old)); /* nothing is cut while it is brought over */
    bucket_convert(&place, old, now_ns);
    uint64_t tat = weir_load_relaxed_u64(&at->word->word[0]); /* relaxed: nobody else has it yet */
    uint64_t owed_ns = tat > now_ns ? tat - now_ns : 0;
    uint64_t units = owed_ns / row.unit_ns + (owed_ns % row.unit_ns != 0);
    memory_peak_raise(at->row, weir_min_u64(units, weir_limit_peak(&row)));
}

void reload_bucket_restored(const struct weir_limit_place *at, const struct weir_limit_place *own,
                            const struct weir_shm_limit_row *old, uint64_t now_ns)
{
    uint64_t tat = weir_load_relaxed_u64(&at->word->word[0]); /* relaxed: nobody else has it yet */
    bool legal = weir_bucket_legal(tat, now_ns, (uint64_t)weir_limit_peak(old) * old->unit_ns);
    bucket_restored(at, old, now_ns);
    bucket_restored(own, old, now_ns);
    if (!legal) { /* not to be brought over, and told at the worker's first look (weir_limit_audit) */
        memory_peak_raise(at->row, weir_limit_peak(old));
        weir_store_relaxed_u64(&at->word->word[0], UINT64_MAX); /* relaxed: as above */
    }
}

static int stamp_order(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a;
    uint64_t right = *(const uint64_t *)b;
    return left < right ? -1 : left > right;
}

/*
 * Stamps that found no cell stand beside the cells until the last of them is old: a later reload may raise the quota again. They are older than all that have a cell, so they hold up nobody
 * meanwhile.
 */
static void cells_owe(const struct weir_limit_place *at, const uint64_t *stamp, uint32_t cnt,
                      uint64_t now_ns)
{
    const uint64_t span_ns = at->row->span_ns;
    uint32_t young = 0;
    while (young < cnt && !weir_sliding_old(stamp[cnt - 1 - young], now_ns, span_ns)) {
        young++;
    }
    if (young == 0) {
        return;
    }
    uint64_t until_ns = stamp[cnt - 1] + span_ns;
    uint64_t seen = weir_load_acquire_u64(&at->word->owed); /* pair:limit A */
    uint64_t next;
    do { /* lock-free */
        uint64_t sum = (uint64_t)young + weir_foreign_rolling(seen, now_ns);
        next = weir_foreign_make(until_ns, (uint32_t)weir_min_u64(sum, UINT32_MAX));
        if (weir_foreign_rolling(seen, until_ns) > 0) {
            next = (seen & ~(uint64_t)UINT32_MAX) | (uint32_t)next; /* what was owed ends later */
        }
        WEIR_WEAVE("reload:owe");
    } while (!weir_cas_u64(&at->word->owed, &seen, next)); /* pair:limit R */
}

/*
 * Another number of cells: the latest stamps stay, in their order, and cells that are new were never taken. All that was granted stands in the cells that are read here. Whoever charges or
 * undoes by the old row meanwhile finds a cell that it knows, which was old by that row, or none; its stamp, by which nobody is granted anything, takes the place of one that is
 * no younger.
 */
static void cells_convert(const struct weir_limit_place *at, const struct weir_shm_limit_row *old,
                          uint64_t now_ns)
{
    static uint64_t stamp[WEIR_SLIDING_CELLS_MAX]; /* of the one thread */
    uint32_t was = old->cell_cnt;
    uint32_t is = at->row->cell_cnt;
    uint32_t all = was > is ? was : is;
    if (was == is) {
        return;
    }
    memset(stamp, 0, sizeof stamp);
    for (uint32_t i = 0; i < was; i++) {
        stamp[i] = weir_load_acquire_u64(&at->cell[i]); /* pair:limit A */
    }
    qsort(stamp, all, sizeof stamp[0], stamp_order); /* those never taken come first */
    cells_owe(at, stamp, all - is, now_ns);
    for (uint32_t i = 0; i < is; i++) {
        WEIR_WEAVE("reload:cell");
        weir_store_release_u64(&at->cell[i], stamp[all - is + i]); /* pair:limit R */
    }
    weir_store_relaxed_u64(&at->word->word[0], 0); /* relaxed, all three: hints */
    weir_store_relaxed_u64(&at->word->word[1], 0);
    weir_store_relaxed_u64(&at->word->unsorted_until_ns, now_ns + 2 * at->row->span_ns);
}

bool reload_windows_begin(const struct weir_shm_limit_row *old,
                          const struct weir_shm_limit_row *row,
                          const struct weir_server_clock *clock, uint64_t now_ns)
{
    if (row->kind != WEIR_LIMIT_FIXED_WINDOW) {
        return false;
    }
    uint64_t width_ns = clock->jitter_ns + 2 * weir_server_clock_error_ns(clock, now_ns);
    bool exact = clock->state == WEIR_CLOCK_KNOWN && width_ns <= row->window_ns;
    return old->shape != row->shape || (row->quota < old->quota && !exact);
}

/* As a re-alignment empties them: ids of another length must not stand beside those of today. */
static void windows_spend(const struct weir_limit_place *at, const struct weir_server_clock *clock,
                          uint64_t now_ns)
{
    for (uint32_t i = 0; i < 2; i++) {
        uint64_t seen = weir_load_acquire_u64(&at->word->word[i]); /* pair:limit A */
        WEIR_WEAVE("reload:window");
        while (!weir_cas_u64(&at->word->word[i], &seen, 0)) { /* pair:limit R */
        }
    }
    weir_limit_spend(at, clock, now_ns);
}

/* Which client has which share, and of how much, may be another thing: fairness begins anew. */
static void shares_begin(const struct weir_limit_place *at, const struct weir_shm_limit_row *old)
{
    const struct weir_shm_limit_row *row = at->row;
    size_t bytes = row->share_cnt * sizeof(struct weir_shm_share_row);
    bool same = row->share_cnt == old->share_cnt && row->quota == old->quota &&
                row->unit_ns == old->unit_ns && row->shape == old->shape &&
                (bytes == 0 || memcmp(weir_share_rows(row), weir_share_rows(old), bytes) == 0);
    for (uint32_t i = 0; !same && i < row->cell_stride; i++) {
        weir_store_relaxed_u64(&at->cell[i], 0); /* relaxed: no limit leans on it */
    }
}

void reload_convert(const struct weir_limit_place *at, const struct weir_shm_limit_row *old,
                    const struct weir_server_clock *clock, bool begin, uint64_t now_ns)
{
    const struct weir_shm_limit_row *row = at->row;
    switch ((enum weir_limit_kind)row->kind) {
    case WEIR_LIMIT_TOKEN_BUCKET:
        bucket_convert(at, old, now_ns);
        shares_begin(at, old);
        break;
    case WEIR_LIMIT_FIXED_WINDOW: /* units are units */
        if (begin) {
            windows_spend(at, clock, now_ns);
        }
        shares_begin(at, old);
        break;
    case WEIR_LIMIT_SLIDING_WINDOW: /* stamps are instants; parts keep their length */
        if (row->form == WEIR_FORM_CELLS) {
            cells_convert(at, old, now_ns);
        }
        break;
    case WEIR_LIMIT_CONCURRENCY: /* cells that are new are free; for the others, units_keep */
    case WEIR_LIMIT_UNSET:
        break;
    }
}

/* ---------------------------------------------------------------------------------------------- the board */

/* The clocks as they were, and which of them are CLOSED for the change. */
struct clocks {
    struct weir_server_clock clock[WEIR_PROVIDERS_MAX];
    bool begin[WEIR_LIMITS_MAX]; /* [limit] its windows begin anew */
    bool closed[WEIR_PROVIDERS_MAX];
    bool later[WEIR_PROVIDERS_MAX]; /* calls may be later than its clock says */
};

static void clocks_close(struct region *r, const struct weir_shm_tables *was,
                         const struct weir_shm_tables *next, struct clocks *c)
{
    uint64_t now_ns = weir_clock_monotonic_ns();
    for (uint32_t p = 0; p < r->provider_cnt; p++) {
        uint64_t jitter_ns = tables_providers(next)[p].jitter_ns;
        c->clock[p] = clock_of(r, p);
        c->closed[p] = false;
        c->later[p] = c->clock[p].sampled_at_ns != 0 && c->clock[p].jitter_ns < jitter_ns;
        c->clock[p].jitter_ns = c->later[p] ? jitter_ns : c->clock[p].jitter_ns;
    }
    for (uint32_t i = 0; i < next->limit_cnt; i++) {
        const struct weir_shm_limit_row *row = &tables_limits(next)[i];
        c->begin[i] =
            reload_windows_begin(&tables_limits(was)[i], row, &c->clock[row->provider], now_ns);
        if (c->begin[i] && !c->closed[row->provider]) {
            struct weir_server_clock closed = c->clock[row->provider];
            closed.state = WEIR_CLOCK_CLOSED;
            c->closed[row->provider] = true;
            weir_server_clock_publish(&r->provider[row->provider], &closed);
        }
    }
}

static void clocks_open(struct region *r, const struct clocks *c)
{
    for (uint32_t p = 0; p < r->provider_cnt; p++) {
        if (c->closed[p] || c->later[p]) {
            weir_server_clock_publish(&r->provider[p], &c->clock[p]);
        }
    }
}

/* Write the block and name it. Whoever reads the one that was left longest ago, asleep since, reads rows of the same places either way, and grants nothing by them. */
static void tables_name(struct region *r, const struct weir_shm_tables *next)
{
    uint64_t word = weir_load_relaxed_u64(&r->gate->tables); /* relaxed: no other writer lives */
    uint32_t index = ((uint32_t)word + 1) % r->tables_cnt;
    memcpy(r->tables + index * r->tables_stride_bytes, next, next->used_bytes);
    WEIR_WEAVE("reload:written");
    weir_store_release_u64(&r->gate->tables,
                           (uint64_t)next->generation << 32 | index); /* pair:tables R */
    weir_fence_full(); /* the name, then the looks at words: a permit charges, then looks at the name */
    WEIR_WEAVE("reload:named");
}

/* Cells forget what is older than their window, and a cell that was given back forgets whose place it took: by a longer window that may count again. */
static bool is_longer(const struct weir_shm_limit_row *old, const struct weir_shm_limit_row *row)
{
    return row->kind == WEIR_LIMIT_SLIDING_WINDOW && row->span_ns > old->span_ns;
}

void reload_guessed(struct region *r, bool kept, uint64_t now_ns)
{
    const struct weir_shm_tables *t = reload_tables(r);
    for (uint32_t i = 0; i < t->limit_cnt; i++) {
        bool is_kept = tables_limits(t)[i].ceiling_step != 0;
        r->guessed_ns[i] = is_kept == kept ? now_ns : r->guessed_ns[i];
    }
}

bool reload_raise_is_blind(const struct region *r, uint32_t limit,
                           const struct weir_shm_limit_row *old,
                           const struct weir_shm_limit_row *row, uint64_t now_ns)
{
    uint64_t guessed_ns = r->guessed_ns[limit];
    bool fixed = row->kind == WEIR_LIMIT_FIXED_WINDOW;
    /* Of a calendar the row has the shortest window; by a convention the next one may be the exchange's of then. */
    uint64_t reach_ns = fixed ? 2 * (row->window_ns + row->window_ns / 4) : row->span_ns;
    bool reaches = guessed_ns != 0 && now_ns - guessed_ns < reach_ns;
    if (!fixed && row->kind != WEIR_LIMIT_SLIDING_WINDOW) {
        return false;
    }
    return is_longer(old, row) ||
           (reaches && row->quota > (fixed ? weir_limit_peak(old) : old->quota));
}

/* A shorter rest must not free what began by the longer one, nor for a moment: before the new row has a name. */
static void units_keep(struct region *r, const struct weir_shm_tables *was,
                       const struct weir_shm_tables *next)
{
    for (uint32_t i = 0; i < next->limit_cnt; i++) {
        const struct weir_shm_limit_row *row = &tables_limits(next)[i];
        const struct weir_shm_limit_row *old = &tables_limits(was)[i];
        for (uint32_t w = row->word_first;
             row->kind == WEIR_LIMIT_CONCURRENCY && w < row->word_first + row->word_cnt; w++) {
            weir_units_follow(row, old, weir_limit_cells(r->cell, row, w));
            weir_units_follow(row, old, weir_limit_cells(r->own_cell, row, w));
        }
    }
}

static void words_convert(struct region *r, const struct weir_shm_tables *was,
                          const struct weir_shm_tables *next, const struct clocks *c)
{
    for (uint32_t i = 0; i < next->limit_cnt; i++) {
        const struct weir_shm_limit_row *row = &tables_limits(next)[i];
        const struct weir_shm_limit_row *old = &tables_limits(was)[i];
        const struct weir_server_clock *clock = &c->clock[row->provider];
        for (uint32_t v = 0; v < row->word_cnt; v++) {
            uint32_t word = row->word_first + v;
            uint64_t now_ns = weir_clock_monotonic_ns();
            const struct weir_limit_place shared = {row, &r->word[word],
                                                    weir_limit_cells(r->cell, row, word)};
            const struct weir_limit_place own = {row, &r->own_word[word],
                                                 weir_limit_cells(r->own_cell, row, word)};
            reload_convert(&shared, old, clock, c->begin[i], now_ns);
            reload_convert(&own, old, clock, c->begin[i], now_ns);
            if (reload_raise_is_blind(r, i, old, row, now_ns)) {
                weir_limit_spend(&shared, clock, now_ns);
                weir_limit_spend(&own, clock, now_ns);
            }
            if (c->begin[i]) { /* what others used of windows that have other ids; all is spent */
                weir_store_relaxed_u64(&r->foreign[word].word[0], 0); /* relaxed, both: estimates */
                weir_store_relaxed_u64(&r->foreign[word].word[1], 0);
            }
        }
        if (is_longer(old, row)) { /* a later raise must not take for free what is forgotten */
            r->guessed_ns[i] = weir_clock_monotonic_ns();
        }
    }
}

uint64_t reload_switch(struct region *r, const struct weir_shm_tables *next)
{
    static struct clocks clocks; /* of the one thread */
    const struct weir_shm_tables *was = reload_tables(r);
    uint64_t begun_ns = weir_clock_monotonic_ns();
    WEIR_WEAVE("reload:lease");
    weir_store_release_u64(&r->gate->lease_until_ns, 0); /* no partner: compared with time */
    clocks_close(r, was, next, &clocks);
    units_keep(r, was, next);
    tables_name(r, next);
    words_convert(r, was, block_at(r, (uint32_t)weir_load_relaxed_u64(&r->gate->tables)), &clocks);
    clocks_open(r, &clocks);
    uint64_t now_ns = weir_clock_monotonic_ns();
    WEIR_WEAVE("reload:leased");
    weir_store_release_u64(&r->gate->lease_until_ns, /* no partner: compared with time */
                           now_ns + LEASE_NS);
    for (uint32_t p = 0; p < r->provider_cnt; p++) {
        weir_permit_bell(&r->pause[p]);
    }
    WEIR_WEAVE("reload:rung");
    return now_ns - begun_ns;
}

uint64_t reload_settled_ns(const struct region *r, uint64_t now_ns)
{
    uint64_t most_ns = 0;
    for (uint32_t p = 0; p < r->provider_cnt; p++) {
        const struct weir_server_clock clock = clock_of(r, p);
        uint64_t late_ns = clock.jitter_ns + weir_server_clock_error_ns(&clock, now_ns);
        most_ns = weir_max_u64(most_ns, tables_providers(reload_tables(r))[p].jitter_ns);
        most_ns = weir_max_u64(most_ns, clock.state == WEIR_CLOCK_KNOWN ? late_ns : 0);
    }
    return most_ns;
}
