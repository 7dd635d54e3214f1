#include "broker/memory_rolling.h"

#include "shm/weir_atomic.h"
#include "shm/weir_bucket.h"
#include "shm/weir_cells.h"
#include "shm/weir_weave.h"

#include <string.h>

enum weir_journal_kind memory_record_kind(const struct weir_shm_limit_row *row)
{
    switch ((enum weir_limit_kind)row->kind) {
    case WEIR_LIMIT_TOKEN_BUCKET:
        return WEIR_JOURNAL_BUCKET;
    case WEIR_LIMIT_SLIDING_WINDOW:
        return WEIR_JOURNAL_ROLLING;
    case WEIR_LIMIT_FIXED_WINDOW:
    case WEIR_LIMIT_CONCURRENCY: /* never long */
    case WEIR_LIMIT_UNSET:
        break;
    }
    return WEIR_JOURNAL_LIMIT;
}

uint32_t memory_ahead(const struct weir_shm_memory *m, const struct weir_shm_limit_row *row)
{
    return (uint32_t)weir_min_u64(weir_max_u64(row->ceiling_ahead, m->ahead), row->quota);
}

uint32_t memory_step(const struct weir_shm_limit_row *row, uint32_t quota)
{
    return (uint32_t)weir_max_u64(row->ceiling_step, ((uint64_t)quota + 199) / 200);
}

/* ---------------------------------------------------------------------------------------------- compose */

/* The larger TAT of the two accounts. */
static uint64_t tat_of(const struct region *r, uint32_t word)
{
    uint64_t shared = weir_load_acquire_u64(&r->word[word].word[0]);  /* pair:limit A */
    uint64_t own = weir_load_relaxed_u64(&r->own_word[word].word[0]); /* relaxed: our own */
    return weir_max_u64(shared, own);
}

uint64_t memory_tat(const struct region *r, const struct weir_shm_limit_row *row, uint32_t word,
                    uint64_t now_ns)
{
    uint64_t held = weir_foreign_rolling(
        weir_load_relaxed_u64(&r->foreign[word].word[1]), /* relaxed: our own */
        now_ns);
    /* A stranger's TAT is not believed beyond what honest ones can reach. */
    uint64_t most_ns = weir_bucket_most(now_ns, (uint64_t)weir_limit_peak(row) * row->unit_ns);
    uint64_t tat = weir_min_u64(tat_of(r, word), most_ns);
    return held > 0 ? weir_max_u64(tat, now_ns) + held * row->unit_ns : tat;
}

static void bucket_fill(const struct region *region, const struct weir_shm_limit_row *row,
                        uint32_t word, const struct memory_raise *raise, uint64_t now_ns,
                        struct weir_journal_bucket *b)
{
    const struct weir_shm_memory *m = &region->memory[word];
    uint64_t covered_ns = raise != NULL ? raise->disk : m->rolling;
    bool granted = raise != NULL || weir_load_relaxed_u64(&region->foreign[word].ceiling[0]) !=
                                        0; /* relaxed: our own */
    b->unit_ns = row->unit_ns;
    b->ahead = granted ? memory_ahead(m, row) : 0;
    b->tat_ns = weir_max_u64(covered_ns, memory_tat(region, row, word, now_ns));
}

/* One word of the parts: the later part of the two accounts, of one part the larger count. */
static uint64_t part_larger(uint64_t a, uint64_t b)
{
    if (a == 0 || b == 0) {
        return a | b;
    }
    int32_t diff = weir_window_diff(weir_window_id(a), weir_window_id(b));
    return diff > 0 || (diff == 0 && a > b) ? a : b;
}

static void parts_fill(const struct region *region, const struct weir_shm_limit_row *row,
                       uint32_t word, uint64_t covered, struct weir_journal_rolling *l)
{
    const uint64_t *cell = weir_limit_cells(region->cell, row, word);
    const uint64_t *own = weir_limit_cells(region->own_cell, row, word);
    /* The count before the parts: what it counts is in them. */
    uint64_t taken = weir_load_acquire_u64(&region->word[word].word[0]); /* pair:taken A */
    WEIR_WEAVE("journal:counted");
    int64_t extra = (int64_t)(covered - taken);
    l->extra =
        extra > 0 ? (uint32_t)weir_min_u64((uint64_t)extra, weir_window_most(row->quota)) : 0;
    l->part_ns = row->part_ns;
    for (uint32_t i = 0; i < WEIR_JOURNAL_PARTS; i++) {
        uint64_t shared = weir_load_acquire_u64(&cell[i]);                /* pair:limit A */
        l->part[i] = part_larger(shared, weir_load_relaxed_u64(&own[i])); /* relaxed: our own */
    }
}

void memory_rolling_fill(const struct region *region, const struct weir_shm_limit_row *row,
                         uint32_t word, const struct memory_raise *raise, uint64_t now_ns,
                         struct weir_journal_record *record)
{
    raise = raise != NULL && raise->cnt > 0 ? raise : NULL;
    if (record->kind == WEIR_JOURNAL_BUCKET) {
        bucket_fill(region, row, word, raise, now_ns, (void *)record);
    } else {
        uint64_t covered = raise != NULL ? raise->disk : region->memory[word].rolling;
        parts_fill(region, row, word, covered, (void *)record);
    }
}

void memory_rolling_exact(const struct region *region, const struct weir_shm_limit_row *row,
                          uint32_t word)
{
    struct weir_shm_memory *m = &region->memory[word];
    weir_store_relaxed_u64(&region->foreign[word].ceiling[0], 0); /* relaxed: as its load */
    m->rolling = row->kind == WEIR_LIMIT_TOKEN_BUCKET
                     ? tat_of(region, word)
                     : weir_load_acquire_u64(&region->word[word].word[0]); /* pair:taken A */
    m->added = weir_load_relaxed_u64(&region->word[word].word[1]); /* relaxed: nobody adds now */
}

/* ---------------------------------------------------------------------------------------------- restore */

uint64_t memory_passed_ns(uint64_t from_utc_ns, uint64_t from_error_ns, uint64_t to_utc_ns,
                          uint64_t to_error_ns)
{
    uint64_t between_ns = to_utc_ns > from_utc_ns ? to_utc_ns - from_utc_ns : 0;
    uint64_t error_ns = weir_min_u64(from_error_ns, between_ns);
    error_ns += weir_min_u64(to_error_ns, between_ns - error_ns);
    return between_ns - error_ns;
}

/* What was on its way at `then_ns` of the writer's weir time, from now on. */
static uint64_t left_ns(const struct memory_since *since, uint64_t then_ns)
{
    uint64_t from_ns = since->same_boot ? since->now_ns : since->header->monotonic_ns;
    uint64_t left = then_ns > from_ns ? then_ns - from_ns : 0;
    uint64_t passed_ns = since->same_boot ? 0 : since->passed_ns;
    return left > passed_ns ? left - passed_ns : 0;
}

/* Units of `unit_ns` in `debt_ns`, a part of one as a whole one. */
static uint64_t units_in(uint64_t debt_ns, uint64_t unit_ns)
{
    return debt_ns / unit_ns + (debt_ns % unit_ns != 0);
}

static void bucket_restore(const struct region *region, const struct weir_shm_limit_row *row,
                           uint32_t word, const struct memory_since *since,
                           const struct weir_journal_bucket *b)
{
    uint64_t debt_ns = weir_min_u64(left_ns(since, b->tat_ns), UINT64_C(1) << 62);
    struct weir_shm_limit_row had = *row; /* the most that was in force */
    memory_peak_raise(&had, b->quota);
    const uint64_t peak = weir_limit_peak(&had);
    if (b->unit_ns != row->unit_ns && b->unit_ns != 0) {
        /* the configuration gave it another rate: as after a reload, all of the bucket is owed */
        uint64_t units = weir_min_u64(units_in(debt_ns, b->unit_ns), 2 * peak);
        debt_ns = weir_max_u64(units, row->quota) * row->unit_ns;
    } else if (row->quota > b->quota) { /* a larger burst: what was left is left */
        debt_ns += (uint64_t)(row->quota - b->quota) * row->unit_ns;
    }
    uint64_t more = (uint64_t)b->ahead + (since->torn ? memory_step(row, b->quota) : 0);
    debt_ns += weir_min_u64(more, peak) * row->unit_ns;
    debt_ns = weir_min_u64(debt_ns, 2 * peak * row->unit_ns);
    memory_peak_raise(row, weir_min_u64(units_in(debt_ns, row->unit_ns), peak));
    region->word[word].word[0] = since->now_ns + debt_ns;
    region->own_word[word].word[0] = since->now_ns + debt_ns;
}

/* Units into both accounts: the private one then holds what traders took too, which errs against the user. */
static void units_restore(const struct region *region, const struct weir_shm_limit_row *row,
                          uint32_t word, uint32_t units, uint64_t age_ns, uint64_t now_ns)
{
    weir_sliding_restore(row, weir_limit_cells(region->cell, row, word), units, age_ns, now_ns);
    weir_sliding_restore(row, weir_limit_cells(region->own_cell, row, word), units, age_ns, now_ns);
}

/*
 * How long ago the units of a part were granted, at least; false: longer than anything can still matter. By a lower max_jitter the span is shorter, but these units arrived by the longer one: they
 * are younger by as much.
 */
static bool part_age_ns(const struct weir_shm_limit_row *row, const struct memory_since *since,
                        const struct weir_journal_rolling *l, uint64_t part, uint64_t *age_ns)
{
    uint64_t span_ns =
        weir_min_u64(l->part_ns, UINT64_MAX / WEIR_SLIDING_PARTS) * WEIR_SLIDING_PARTS;
    uint64_t late_ns = span_ns > row->part_ns * WEIR_SLIDING_PARTS ? span_ns - row->span_ns : 0;
    uint64_t then_ns = since->header->monotonic_ns; /* read behind the parts: none is younger */
    uint64_t last = then_ns / l->part_ns + WEIR_SLIDING_PART_FIRST;
    int32_t back = weir_window_diff((uint32_t)last, weir_window_id(part));
    if (back > (int32_t)WEIR_SLIDING_WORDS) {
        return false;
    }
    uint64_t behind_ns = back > 0 ? then_ns % l->part_ns + 1 + (uint64_t)(back - 1) * l->part_ns
                                  : 0; /* since the part's last instant */
    uint64_t passed_ns = since->same_boot ? (since->now_ns > then_ns ? since->now_ns - then_ns : 0)
                                          : since->passed_ns;
    *age_ns = behind_ns + passed_ns;
    *age_ns -= weir_min_u64(*age_ns, late_ns);
    return true;
}

static void parts_restore(const struct region *region, const struct weir_shm_limit_row *row,
                          uint32_t word, const struct memory_since *since,
                          const struct weir_journal_rolling *l)
{
    for (uint32_t i = 0; i < 2; i++) {
        region->word[word].word[i] = 0; /* units are counted anew */
        region->own_word[word].word[i] = 0;
    }
    for (uint32_t i = 0; i < WEIR_JOURNAL_PARTS && l->part_ns > 1; i++) {
        uint64_t age_ns = 0;
        uint32_t units = (uint32_t)l->part[i];
        if (units != 0 && part_age_ns(row, since, l, l->part[i], &age_ns)) {
            units_restore(region, row, word, units, age_ns, since->now_ns);
        }
    }
    uint32_t quota = row->quota > l->quota ? row->quota : l->quota;
    uint64_t extra = (uint64_t)l->extra + (since->torn ? memory_step(row, l->quota) : 0);
    /* with surcharges, as a window */
    extra = weir_min_u64(extra, weir_window_most(quota));
    units_restore(region, row, word, (uint32_t)extra, 0, since->now_ns);
}

void memory_rolling_restore(const struct region *region, const struct weir_shm_limit_row *row,
                            uint32_t word, const struct memory_since *since,
                            const struct weir_journal_record *record)
{
    if (record->kind == WEIR_JOURNAL_BUCKET) {
        bucket_restore(region, row, word, since, (const void *)record);
    } else {
        parts_restore(region, row, word, since, (const void *)record);
    }
}
