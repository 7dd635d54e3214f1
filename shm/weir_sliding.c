/*
 * weir_sliding.c: plan, take, give and state of the kinds that live in cells: sliding_window in both forms. All accesses to the cells of
 * a sliding window are here (pair:limit).
 */
#include "weir_sliding.h"

#include "weir_cells.h"
#include "weir_weave.h"

/* So far is looked beyond cells of equal stamps: those of one permit, and of one more. */
#define HELP_MAX (2 * WEIR_SLIDING_UNITS_MAX)

/* How often a take plans again because a cell moved, before the whole permit starts over. */
#define TAKE_TRIES 16

/* A word may be so many parts ahead of our reading: other cores' clocks, and what the second reading allows. */
#define PART_AHEAD_MAX 3

/* ---------------------------------------------------------------------------------------------- form cells */

/* The cells that a permit is to take, and the stamps that they bore when they were found old. */
struct cells_pick {
    uint32_t at[WEIR_SLIDING_UNITS_MAX];
    uint64_t seen[WEIR_SLIDING_UNITS_MAX];
    bool aside; /* not those from the hint on */
};

static uint32_t cell_wrap(const struct weir_shm_limit_row *row, uint64_t index)
{
    return (uint32_t)(index < row->cell_cnt ? index : index - row->cell_cnt);
}

/* relaxed: the CAS of the take judges what was read here */
static uint64_t cell_load(const struct weir_limit_plan *p, uint32_t index)
{
    return weir_load_relaxed_u64(&p->cell[index]);
}

/*
 * From now on a cell may stand where its stamp is not in order: everybody who is refused counts, until the last of today's stamps is old. Called before what makes it so, for
 * whoever dies behind it. Twice the span: the reading may be as old as a span.
 */
static void cells_unsorted(const struct weir_shm_limit_row *row, struct weir_shm_limit_word *word,
                           uint64_t now_ns)
{
    uint64_t until_ns = now_ns + 2 * row->span_ns;
    uint64_t seen = weir_load_relaxed_u64(&word->unsorted_until_ns); /* relaxed: a hint */
    WEIR_WEAVE("sliding:unsorted");
    while (seen < until_ns &&
           !weir_cas_u64(&word->unsorted_until_ns, &seen, until_ns)) { /* pair:limit R; lock-free */
    }
}

/*
 * The cell that was stamped longest ago, as far as the hint knows. A young cell with an older one behind it was taken by somebody who did not come to move
 * the hint: help it on. Nothing is written where the stamps ascend, as they do for whoever is refused.
 */
static uint32_t cell_oldest(struct weir_limit_plan *p, uint64_t now_ns)
{
    const struct weir_shm_limit_row *row = p->row;
    uint64_t hint = weir_load_relaxed_u64(&p->word->word[0]); /* relaxed: a hint */
    uint32_t at = hint < row->cell_cnt ? (uint32_t)hint : 0;  /* whatever a stranger wrote */
    uint64_t stamp = cell_load(p, at);
    if (weir_sliding_old(stamp, now_ns, row->span_ns)) {
        return at;
    }
    for (uint32_t i = 1; i <= HELP_MAX; i++) {
        uint32_t next = cell_wrap(row, (uint64_t)at + i);
        uint64_t other = cell_load(p, next);
        if (other > stamp || next == at) {
            return at;
        }
        if (other < stamp) {
            cells_unsorted(row, p->word, now_ns);
            WEIR_WEAVE("sliding:help");
            (void)weir_cas_u64(&p->word->word[0], &hint, next); /* pair:limit R; a hint */
            return next;
        }
    }
    return at;
}

/* Are the permit's cells from `first` on old? If not `p->earliest_ns` is when they will be. */
static bool cells_run(struct weir_limit_plan *p, uint32_t first, uint64_t now_ns,
                      struct cells_pick *pick)
{
    const struct weir_shm_limit_row *row = p->row;
    bool free = true;
    p->earliest_ns = 0;
    for (uint32_t i = 0; i < p->units; i++) {
        pick->at[i] = cell_wrap(row, (uint64_t)first + i);
        pick->seen[i] = cell_load(p, pick->at[i]);
        if (!weir_sliding_old(pick->seen[i], now_ns, row->span_ns)) {
            p->earliest_ns = weir_max_u64(p->earliest_ns, pick->seen[i] + row->span_ns);
            free = false;
        }
    }
    return free;
}

/* What is used beside the cells: by others, and by surcharges that found no cell. */
static uint64_t beside_units(const struct weir_limit_plan *p, uint64_t now_ns)
{
    /* relaxed: an estimate, newer is better, older is legal */
    uint64_t others = weir_foreign_rolling(weir_load_relaxed_u64(&p->foreign->word[0]), now_ns);
    return others +
           weir_foreign_rolling(weir_load_acquire_u64(&p->word->owed), now_ns); /* pair:limit A */
}

/* Keep the smallest stamps in their order. `*cnt`: how many there are. */
static void stamps_keep(uint64_t smallest[WEIR_SLIDING_UNITS_MAX], uint32_t *cnt, uint64_t stamp)
{
    uint32_t i = *cnt;
    if (i == WEIR_SLIDING_UNITS_MAX && stamp >= smallest[i - 1]) {
        return;
    }
    *cnt = i < WEIR_SLIDING_UNITS_MAX ? i + 1 : i;
    for (i = *cnt - 1; i > 0 && smallest[i - 1] > stamp; i--) {
        smallest[i] = smallest[i - 1];
    }
    smallest[i] = stamp;
}

/*
 * Are `need` cells old, wherever they are? The first of them are picked. Where too few are, `p->earliest_ns` is when enough will be: where very many are to stay free, when
 * WEIR_SLIDING_UNITS_MAX more will be. Reads each, at worst.
 */
static bool cells_search(struct weir_limit_plan *p, uint32_t first, uint64_t need, uint64_t now_ns,
                         struct cells_pick *pick)
{
    const struct weir_shm_limit_row *row = p->row;
    uint64_t next[WEIR_SLIDING_UNITS_MAX];
    uint32_t next_cnt = 0;
    uint64_t old = 0;
    for (uint32_t i = 0; i < row->cell_cnt && old < need; i++) {
        uint32_t at = cell_wrap(row, (uint64_t)first + i);
        uint64_t stamp = cell_load(p, at);
        if (!weir_sliding_old(stamp, now_ns, row->span_ns)) {
            stamps_keep(next, &next_cnt, stamp);
            continue;
        }
        if (old < p->units) {
            pick->at[old] = at;
            pick->seen[old] = stamp;
        }
        old++;
    }
    if (old < need) { /* as many at least are young */
        p->earliest_ns = next[weir_min_u64(need - old, next_cnt) - 1] + row->span_ns;
    }
    return old >= need;
}

/* In order the cell behind those that stay free says all: where it is old, so are those before it. What was given back comes first, for the next give-back overwrites `freed`. */
static bool cells_near(struct weir_limit_plan *p, uint32_t first, uint64_t kept, uint64_t now_ns,
                       struct cells_pick *pick)
{
    const struct weir_shm_limit_row *row = p->row;
    uint64_t freed = weir_load_relaxed_u64(&p->word->word[1]); /* relaxed: a hint */
    uint32_t at = (uint32_t)(freed >> 32);
    uint64_t last = (uint64_t)first + p->units - 1 + kept;
    uint64_t behind = kept == 0 ? 0 : cell_load(p, cell_wrap(row, last));
    if (!weir_sliding_old(behind, now_ns, row->span_ns)) {
        p->earliest_ns = behind + row->span_ns;
        return false;
    }
    return ((uint32_t)freed >= p->units && at < row->cell_cnt && cells_run(p, at, now_ns, pick)) ||
           cells_run(p, first, now_ns, pick);
}

static enum weir_limit_verdict cells_plan(struct weir_limit_plan *p, uint64_t now_ns,
                                          struct cells_pick *pick)
{
    const struct weir_shm_limit_row *row = p->row;
    uint64_t beside = beside_units(p, now_ns);
    uint64_t kept = beside + row->reserve_min[p->priority];
    if (p->units > WEIR_SLIDING_UNITS_MAX ||
        (uint64_t)p->units + row->reserve_min[p->priority] > row->cell_cnt) {
        return WEIR_LIMIT_NEVER;
    }
    if (p->units + kept > row->cell_cnt) {
        p->earliest_ns = now_ns + row->span_ns; /* others fill it: their use is forgotten then */
        return WEIR_LIMIT_NO;
    }
    uint32_t first = cell_oldest(p, now_ns);
    bool found = cells_near(p, first, kept, now_ns, pick);
    /* relaxed: a hint */
    bool sorted = weir_load_relaxed_u64(&p->word->unsorted_until_ns) <= now_ns;
    /* Out of order the one cell says nothing of those before it. And of others' units we are certain only where all are counted. */
    bool certain = found ? kept == 0 || (sorted && beside == 0) : sorted;
    if (!(certain ? found : cells_search(p, first, p->units + kept, now_ns, pick))) {
        return WEIR_LIMIT_NO;
    }
    p->window = pick->at[0];
    pick->aside = pick->at[0] != first ||
                  pick->at[p->units - 1] != cell_wrap(row, (uint64_t)first + p->units - 1);
    /* How much is left cannot be said without looking at all cells: a quarter of them, or just this. */
    uint64_t quarter = row->cell_cnt / 4U;
    uint64_t probe = cell_load(p, cell_wrap(row, (uint64_t)first + quarter));
    p->room = weir_sliding_old(probe, now_ns, row->span_ns) ? quarter : 0;
    p->price = p->units;
    return WEIR_LIMIT_YES;
}

/* Let go the first `cnt` cells of a take that failed: they bear the stamps again that they had. */
static void cells_undo(struct weir_limit_plan *p, uint32_t cnt, uint64_t stamp_ns,
                       const struct cells_pick *pick)
{
    for (uint32_t i = 0; i < cnt; i++) {
        uint64_t mine = stamp_ns;
        WEIR_WEAVE("sliding:undo");
        (void)weir_cas_u64(&p->cell[pick->at[i]], &mine, pick->seen[i]); /* pair:limit R */
    }
}

/* All of them were taken: the hint passes them, unless somebody helped it on. What was given back and is taken now is no longer to be found there. */
static void cells_taken(struct weir_limit_plan *p, const struct cells_pick *pick)
{
    uint64_t hint = p->window;
    uint64_t freed = weir_load_relaxed_u64(&p->word->word[1]); /* relaxed: a hint */
    WEIR_WEAVE("sliding:hint");
    if (!pick->aside) {
        (void)weir_cas_u64(&p->word->word[0], &hint,
                           cell_wrap(p->row, hint + p->units)); /* pair:limit R */
    }
    if ((uint32_t)freed >= p->units && freed >> 32 == p->window) {
        WEIR_WEAVE("sliding:shrink");
        (void)weir_cas_u64(&p->word->word[1], &freed,
                           weir_sliding_freed(p->window + p->units, (uint32_t)freed - p->units));
    }
}

/* Nor is it in order from cell `at` on if whoever had the cell before it read the clock after us. */
static bool cell_overtaken(const struct weir_limit_plan *p, uint32_t at, uint64_t now_ns)
{
    return cell_load(p, cell_wrap(p->row, (uint64_t)at + p->row->cell_cnt - 1)) > now_ns;
}

static enum weir_limit_verdict cells_take(struct weir_limit_plan *p, uint64_t now_ns)
{
    struct cells_pick pick;
    for (int tries = 0; tries < TAKE_TRIES; tries++) {
        enum weir_limit_verdict v = cells_plan(p, now_ns, &pick);
        if (v != WEIR_LIMIT_YES) {
            return v;
        }
        uint32_t taken = 0;
        if (pick.aside || cell_overtaken(p, p->window, now_ns)) {
            cells_unsorted(p->row, p->word, now_ns);
        }
        while (taken < p->units) {
            uint64_t old = pick.seen[taken];
            WEIR_WEAVE("sliding:planned");
            if (!weir_cas_u64(&p->cell[pick.at[taken]], &old, now_ns)) { /* pair:limit R */
                break;
            }
            WEIR_WEAVE("sliding:charged");
            taken++;
        }
        if (taken == p->units) {
            cells_taken(p, &pick);
            return WEIR_LIMIT_YES;
        }
        cells_undo(p, taken, now_ns, &pick);
    }
    return WEIR_LIMIT_AGAIN;
}

/*
 * The next cell that bears the permit's stamp, at most `*left` cells on from `*at`; false: none. They need not lie side by side. Units of one stamp may stand for one
 * another, whoever took them, for they are old at the same instant; so long as no charge claims more units than it has cells.
 */
static bool cell_mine(const struct weir_shm_limit_row *row, const uint64_t *cell, uint32_t *at,
                      uint32_t *left, uint64_t stamp_ns)
{
    for (; *left > 0; *left -= 1, *at = cell_wrap(row, (uint64_t)*at + 1)) {
        if (weir_load_relaxed_u64(&cell[*at]) == stamp_ns) { /* relaxed: the CAS judges it */
            return true;
        }
    }
    return false;
}

static bool cells_give(const struct weir_shm_limit_row *row, struct weir_shm_limit_word *word,
                       uint64_t *cell, const struct weir_charge *charge,
                       const struct weir_limit_grant *grant)
{
    uint32_t at = charge->window;
    uint32_t left = at < row->cell_cnt ? row->cell_cnt : 0;
    uint32_t first = at;
    uint32_t given = 0;
    bool run = true;
    cells_unsorted(row, word, grant->now_ns);
    while (given < charge->units && cell_mine(row, cell, &at, &left, grant->stamp_ns)) {
        uint64_t mine = grant->stamp_ns;
        WEIR_WEAVE("sliding:give");
        if (weir_cas_u64(&cell[at], &mine, 0)) { /* pair:limit R */
            first = given == 0 ? at : first;
            run &= at == cell_wrap(row, (uint64_t)first + given);
            given++;
        }
    }
    if (given > 0 && run) {
        weir_store_relaxed_u64(&word->word[1],
                               weir_sliding_freed(first, given)); /* relaxed: a hint */
    }
    return given > 0;
}

/* Note units that found no cell: they stand beside the cells for a span from `now_ns` on, and what was noted before stands as long. */
static void cells_owe(struct weir_limit_plan *p, uint64_t units, uint64_t now_ns)
{
    uint64_t seen = weir_load_acquire_u64(&p->word->owed); /* pair:limit A */
    uint64_t next;
    do { /* lock-free */
        uint64_t sum = weir_min_u64(units + weir_foreign_rolling(seen, now_ns), UINT32_MAX);
        next = weir_foreign_make(now_ns + p->row->span_ns, (uint32_t)sum);
        if (weir_foreign_rolling(seen, now_ns + p->row->span_ns) > 0) {
            next = (seen & ~(uint64_t)UINT32_MAX) | sum; /* by a later clock: theirs stays */
        }
        WEIR_WEAVE("sliding:owe");
    } while (!weir_cas_u64(&p->word->owed, &seen, next)); /* pair:limit R */
}

/*
 * Units that a call turned out to cost besides. Each takes an old cell, and what finds none is owed; returns how many found one. A young cell is never overwritten: the unit it stands for would
 * be forgotten, and granted anew as soon as another one is given back. What is taken behind a young one that was passed is out of order: another one takes cells beside us, and
 * neither of us moves the hint over both.
 */
static uint32_t cells_add(struct weir_limit_plan *p, uint64_t now_ns)
{
    const struct weir_shm_limit_row *row = p->row;
    const uint32_t wanted = p->units < row->cell_cnt ? p->units : row->cell_cnt;
    uint32_t left = wanted;
    uint32_t at = cell_oldest(p, now_ns);
    bool aside = cell_overtaken(p, at, now_ns);
    for (uint32_t n = 0; n < row->cell_cnt && left > 0; n++) {
        uint64_t seen = cell_load(p, at);
        uint32_t next = cell_wrap(row, (uint64_t)at + 1);
        bool old = weir_sliding_old(seen, now_ns, row->span_ns);
        if (old && aside) {
            cells_unsorted(row, p->word, now_ns);
        }
        WEIR_WEAVE("sliding:planned");
        if (old && weir_cas_u64(&p->cell[at], &seen, now_ns)) { /* pair:limit R */
            uint64_t hint = at;
            (void)weir_cas_u64(&p->word->word[0], &hint, next); /* pair:limit R; a hint */
            left--;
        } else {
            aside = true;
        }
        at = next;
    }
    if (left > 0) {
        cells_owe(p, left, now_ns);
    }
    return wanted - left;
}

/*
 * Stamp the charge's cells anew; those that were taken by others since, because nobody came for a span, are charged once more. It then claims as many as bear its stamp, and
 * no more: by its stamp alone it will give back.
 */
static void cells_renew(const struct weir_shm_limit_row *row, struct weir_shm_limit_word *word,
                        uint64_t *cell, struct weir_charge *charge, uint64_t stamp_ns,
                        uint64_t now_ns)
{
    uint32_t at = charge->window;
    uint32_t left = at < row->cell_cnt && stamp_ns != now_ns ? row->cell_cnt : 0;
    uint32_t renewed = stamp_ns != now_ns ? 0 : charge->units;
    cells_unsorted(row, word, now_ns);
    while (renewed < charge->units && cell_mine(row, cell, &at, &left, stamp_ns)) {
        uint64_t mine = stamp_ns;
        WEIR_WEAVE("sliding:renew");
        renewed += weir_cas_u64(&cell[at], &mine, now_ns); /* pair:limit R */
    }
    if (renewed < charge->units) {
        struct weir_limit_plan p = {
            .row = row, .word = word, .cell = cell, .units = charge->units - renewed};
        charge->units = renewed + cells_add(&p, now_ns);
    }
}

static uint32_t cells_used(const struct weir_shm_limit_row *row, const uint64_t *cell,
                           uint64_t now_ns, uint64_t *last_ns)
{
    uint32_t used = 0;
    for (uint32_t i = 0; i < row->cell_cnt; i++) {
        uint64_t stamp = weir_load_relaxed_u64(&cell[i]); /* relaxed: for display */
        if (!weir_sliding_old(stamp, now_ns, row->span_ns)) {
            used++;
            *last_ns = weir_max_u64(*last_ns, stamp);
        }
    }
    return used;
}

/* ---------------------------------------------------------------------------------------------- form parts */

static uint32_t part_of(const struct weir_shm_limit_row *row, uint64_t now_ns)
{
    uint64_t into_ns;
    return weir_sliding_part(row, now_ns, &into_ns);
}

static uint64_t *part_word(const struct weir_limit_plan *p, uint32_t part)
{
    return &p->cell[part % WEIR_SLIDING_WORDS];
}

/* Units of all parts that may lie in one span with `part`. False: a word bears a part that cannot have begun. */
static bool parts_sum(const uint64_t *cell, uint32_t part, uint64_t *sum)
{
    *sum = 0;
    for (uint32_t i = 0; i < WEIR_SLIDING_WORDS; i++) {
        uint64_t word = weir_load_acquire_u64(&cell[i]); /* pair:limit A */
        int32_t diff = weir_window_diff(weir_window_id(word), part);
        if (diff > PART_AHEAD_MAX && word != 0) {
            return false;
        }
        *sum += diff >= -(int32_t)WEIR_SLIDING_PARTS && word != 0 ? (uint32_t)word : 0;
    }
    return true;
}

/* When enough parts have left the span for `need` units to go: looked for from the oldest on. */
static uint64_t parts_earliest(const struct weir_limit_plan *p, uint32_t part, uint64_t need,
                               uint64_t now_ns)
{
    uint64_t gone = 0;
    uint64_t into_ns;
    (void)weir_sliding_part(p->row, now_ns, &into_ns);
    uint32_t n = 0; /* parts that must have left: those of the span, oldest first */
    while (n <= WEIR_SLIDING_PARTS && gone < need) {
        uint32_t oldest = part - WEIR_SLIDING_PARTS + n;
        uint64_t word = weir_load_relaxed_u64(part_word(p, oldest)); /* relaxed: for a promise */
        gone += weir_window_id(word) == oldest ? (uint32_t)word : 0;
        n++;
    }
    return now_ns - into_ns + n * p->row->part_ns;
}

/* Does a sum that holds the call's own units fit? */
static enum weir_limit_verdict parts_judge(struct weir_limit_plan *p, uint32_t part, uint64_t sum,
                                           uint64_t now_ns)
{
    uint64_t wanted = sum + beside_units(p, now_ns) + p->row->reserve_min[p->priority];
    if ((uint64_t)p->units + p->row->reserve_min[p->priority] > p->row->quota) {
        return WEIR_LIMIT_NEVER;
    }
    if (wanted > p->row->quota) {
        p->earliest_ns = parts_earliest(p, part, wanted - p->row->quota, now_ns);
        return WEIR_LIMIT_NO;
    }
    p->room = p->row->quota - wanted;
    p->price = p->units;
    return WEIR_LIMIT_YES;
}

/*
 * Units charged since the start, `units` more than `before`: does the journal on disk cover them? Both count round the clock: only their difference
 * says something, so a stranger's numbers do no more harm than any others.
 */
static bool parts_covered(const struct weir_limit_plan *p, uint64_t before, uint64_t units)
{
    uint64_t ceiling = weir_load_relaxed_u64(
        &p->foreign->ceiling[0]); /* relaxed: the word alone decides; an older one is lower */
    return (int64_t)(ceiling - (before + units)) >= 0;
}

static enum weir_limit_verdict parts_plan(struct weir_limit_plan *p, uint64_t now_ns)
{
    uint64_t sum;
    p->window = part_of(p->row, now_ns);
    if (!parts_sum(p->cell, p->window, &sum)) {
        return WEIR_LIMIT_AGAIN;
    }
    enum weir_limit_verdict v = parts_judge(p, p->window, sum + p->units, now_ns);
    if (v == WEIR_LIMIT_YES && p->row->ceiling_step != 0 &&
        !parts_covered(p, weir_load_relaxed_u64(&p->word->word[0]), /* relaxed: the take decides */
                       p->units)) {
        return WEIR_LIMIT_JOURNAL;
    }
    return v;
}

/* Units that were charged to the parts are counted for the journal: afterwards, for whoever reads the count reads the parts behind it. */
static uint64_t parts_count(const struct weir_shm_limit_row *row, struct weir_shm_limit_word *word,
                            uint32_t units)
{
    WEIR_WEAVE("sliding:counts");
    return row->ceiling_step != 0 ? weir_fetch_add_u64(&word->word[0], units)
                                  : 0; /* pair:taken R */
}

/* ... and those that no permit asked for once more: by so much the ceilings must stay ahead. */
static void parts_count_added(const struct weir_shm_limit_row *row,
                              struct weir_shm_limit_word *word, uint32_t units)
{
    (void)parts_count(row, word, units);
    if (row->ceiling_step != 0) {
        WEIR_WEAVE("sliding:count_added");
        (void)weir_fetch_add_u64(&word->word[1], units); /* pair:taken R */
    }
}

/* Take `units` back from part `part`, only while the word still bears it. */
static bool part_give(uint64_t *at, uint32_t part, uint32_t units)
{
    uint64_t seen = weir_load_acquire_u64(at);                    /* pair:limit A */
    while (weir_window_id(seen) == part && (uint32_t)seen != 0) { /* lock-free */
        uint32_t rest = (uint32_t)seen > units ? (uint32_t)seen - units : 0;
        WEIR_WEAVE("sliding:part_give");
        if (weir_cas_u64(at, &seen, weir_window_word(part, rest))) { /* pair:limit R */
            return true;
        }
    }
    return false;
}

/* Add `units` to part `part`. False: its word bears a later part already. */
static bool part_charge(uint64_t *at, uint32_t part, uint32_t units)
{
    uint64_t seen = weir_load_acquire_u64(at); /* pair:limit A */
    for (;;) { /* lock-free: each failed CAS is somebody's progress */
        bool ahead;
        uint64_t have = weir_window_units(seen, part, &ahead);
        if (ahead) {
            return false;
        }
        uint64_t next = weir_min_u64(have + units, UINT32_MAX);
        WEIR_WEAVE("sliding:part_charge");
        if (weir_cas_u64(at, &seen, weir_window_word(part, (uint32_t)next))) { /* pair:limit R */
            return true;
        }
    }
}

static enum weir_limit_verdict parts_take(struct weir_limit_plan *p, uint64_t now_ns,
                                          struct weir_clock *clock)
{
    uint32_t part = part_of(p->row, now_ns);
    uint64_t *at = part_word(p, part);
    uint64_t sum;
    p->window = part;
    WEIR_WEAVE("sliding:planned");
    if (!part_charge(at, part, p->units)) {
        return WEIR_LIMIT_AGAIN;
    }
    WEIR_WEAVE("sliding:charged");
    bool sane = parts_sum(p->cell, part, &sum);
    WEIR_WEAVE("sliding:summed");
    /* The second reading: were the words that we read still those of our span? The acquire loads above keep it behind them. */
    uint32_t moved = part_of(p->row, weir_clock_now(clock)) - part;
    enum weir_limit_verdict v =
        sane && moved <= 1 ? parts_judge(p, part, sum, now_ns) : WEIR_LIMIT_AGAIN;
    if (v == WEIR_LIMIT_YES && p->row->ceiling_step != 0 &&
        !parts_covered(p, parts_count(p->row, p->word, p->units), p->units)) {
        v = WEIR_LIMIT_JOURNAL;
    }
    if (v != WEIR_LIMIT_YES) {
        (void)part_give(at, part, p->units);
        WEIR_WEAVE("sliding:withdrawn");
    }
    return v;
}

/* ---------------------------------------------------------------------------------------------- both */

enum weir_limit_verdict weir_sliding_plan(struct weir_limit_plan *p,
                                          const struct weir_limit_time *time)
{
    struct cells_pick pick;
    return p->row->form == WEIR_FORM_CELLS ? cells_plan(p, time->now_ns, &pick)
                                           : parts_plan(p, time->now_ns);
}

enum weir_limit_verdict weir_sliding_take(struct weir_limit_plan *p,
                                          const struct weir_limit_time *time)
{
    return p->row->form == WEIR_FORM_CELLS ? cells_take(p, time->now_ns)
                                           : parts_take(p, time->now_ns, time->clock);
}

bool weir_sliding_give(const struct weir_shm_limit_row *row, struct weir_shm_limit_word *word,
                       uint64_t *cell, const struct weir_charge *charge,
                       const struct weir_limit_grant *grant)
{
    return row->form == WEIR_FORM_CELLS ? cells_give(row, word, cell, charge, grant)
                                        : part_give(&cell[charge->window % WEIR_SLIDING_WORDS],
                                                    charge->window, charge->units);
}

bool weir_sliding_renew(const struct weir_shm_limit_row *row, struct weir_shm_limit_word *word,
                        uint64_t *cell, struct weir_charge *charge, uint64_t stamp_ns,
                        uint64_t now_ns)
{
    if (row->form == WEIR_FORM_CELLS) {
        cells_renew(row, word, cell, charge, stamp_ns, now_ns);
        return true;
    }
    bool changed = false;
    uint32_t part = part_of(row, now_ns);
    /* The new part first: in between they count twice, never not at all. */
    if (part != charge->window &&
        part_charge(&cell[part % WEIR_SLIDING_WORDS], part, charge->units)) {
        parts_count_added(row, word, charge->units);
        (void)part_give(&cell[charge->window % WEIR_SLIDING_WORDS], charge->window, charge->units);
        charge->window = part;
        changed = true;
    }
    return changed;
}

void weir_sliding_add(const struct weir_shm_limit_row *row, struct weir_shm_limit_word *word,
                      uint64_t *cell, uint32_t units, uint64_t now_ns)
{
    struct weir_limit_plan p = {.row = row, .word = word, .cell = cell, .units = units};
    if (row->form == WEIR_FORM_CELLS) {
        (void)cells_add(&p, now_ns);
        return;
    }
    uint32_t part = part_of(row, now_ns);
    for (uint32_t i = 0; i <= PART_AHEAD_MAX; i++) { /* a later part is as good: it leaves later */
        if (part_charge(part_word(&p, part + i), part + i, units)) {
            parts_count_added(row, word, units);
            return;
        }
    }
}

void weir_sliding_restore(const struct weir_shm_limit_row *row, uint64_t *cell, uint32_t units,
                          uint64_t age_ns, uint64_t now_ns)
{
    uint64_t into_ns;
    uint32_t part = weir_sliding_part(row, now_ns, &into_ns);
    uint64_t back =
        age_ns > into_ns ? (age_ns - into_ns + row->part_ns - 1) / row->part_ns : UINT64_C(0);
    if (back <= WEIR_SLIDING_PARTS && units > 0) {
        part -= (uint32_t)back;
        (void)part_charge(&cell[part % WEIR_SLIDING_WORDS], part, units);
    }
}

uint32_t weir_sliding_used(const struct weir_shm_limit_row *row, const uint64_t *cell,
                           uint64_t now_ns, uint64_t *empty_at_ns)
{
    uint64_t last_ns = 0;
    uint64_t used = 0;
    if (row->form == WEIR_FORM_CELLS) {
        used = cells_used(row, cell, now_ns, &last_ns);
    } else {
        uint32_t part = part_of(row, now_ns);
        for (uint32_t back = 0; back <= WEIR_SLIDING_PARTS; back++) {
            uint64_t word = weir_load_relaxed_u64(
                &cell[(part - back) % WEIR_SLIDING_WORDS]); /* relaxed: for display */
            uint32_t units = weir_window_id(word) == part - back ? (uint32_t)word : 0;
            last_ns = units > 0 && last_ns == 0 ? now_ns - back * row->part_ns : last_ns;
            used += units;
        }
    }
    *empty_at_ns = used > 0 ? last_ns + row->span_ns : now_ns;
    return (uint32_t)weir_min_u64(used, UINT32_MAX);
}

void weir_sliding_spend(const struct weir_shm_limit_row *row, struct weir_shm_limit_word *word,
                        uint64_t *cell, uint64_t now_ns)
{
    if (row->form == WEIR_FORM_CELLS) {
        for (uint32_t i = 0; i < row->cell_cnt; i++) {
            uint64_t seen = weir_load_acquire_u64(&cell[i]); /* pair:limit A */
            WEIR_WEAVE("spend:cell");
            /* Stamps that nobody can have made yet go too; an honest one of this very moment is as good as ours. */
            while ((seen < now_ns || seen - now_ns > WEIR_NS_PER_S) &&
                   !weir_cas_u64(&cell[i], &seen, now_ns)) { /* pair:limit R */
            }
        }
        weir_store_relaxed_u64(&word->word[1], 0); /* relaxed: a hint */
        return;
    }
    uint32_t part = part_of(row, now_ns);
    for (uint32_t i = 0; i < WEIR_SLIDING_WORDS; i++) {
        uint64_t seen = weir_load_acquire_u64(&cell[i]); /* pair:limit A */
        bool current = i == part % WEIR_SLIDING_WORDS;
        bool ahead = weir_window_diff(weir_window_id(seen), part) > PART_AHEAD_MAX && seen != 0;
        uint64_t next = current ? weir_window_word(part, weir_limit_peak(row)) : 0;
        WEIR_WEAVE("spend:part");
        while ((current || ahead) && !weir_cas_u64(&cell[i], &seen, next)) { /* pair:limit R */
        }
    }
}

bool weir_sliding_sound(const struct weir_shm_limit_row *row, const uint64_t *cell, uint64_t now_ns,
                        uint64_t slack_ns)
{
    uint32_t part = row->form == WEIR_FORM_PARTS ? part_of(row, now_ns + slack_ns) : 0;
    for (uint32_t i = 0; i < row->cell_cnt; i++) {
        uint64_t word = weir_load_acquire_u64(&cell[i]); /* pair:limit A */
        if (row->form == WEIR_FORM_CELLS
                ? word > now_ns + slack_ns
                : word != 0 && weir_window_diff(weir_window_id(word), part) > PART_AHEAD_MAX) {
            return false;
        }
    }
    return true;
}

/* Form parts. `*back`: how many parts before the current one `id` is; false: nothing that a span can hold. */
static bool part_back(uint32_t id, uint32_t part, int32_t *back)
{
    *back = weir_window_diff(part, id);
    return *back >= -PART_AHEAD_MAX && *back < (int32_t)WEIR_SLIDING_WORDS;
}

uint64_t weir_sliding_stamped(const struct weir_shm_limit_row *row, const uint64_t *cell,
                              uint64_t now_ns, uint64_t from_ns, uint64_t to_ns, bool at_most)
{
    uint64_t units = 0;
    uint64_t into_ns = 0;
    uint32_t part = 0;
    if (row->form == WEIR_FORM_PARTS) {
        part = weir_sliding_part(row, now_ns, &into_ns);
        uint64_t reach_ns = (WEIR_SLIDING_PARTS + 2U) * row->part_ns;
        if (at_most && from_ns + reach_ns < now_ns) {
            return UINT64_MAX; /* their words may bear later parts already */
        }
    }
    for (uint32_t i = 0; i < row->cell_cnt; i++) {
        uint64_t word = weir_load_relaxed_u64(&cell[i]); /* relaxed: a look at what others do */
        int32_t back;
        if (row->form == WEIR_FORM_CELLS) {
            units += word != 0 && word >= from_ns && word < to_ns;
        } else if (word != 0 && part_back(weir_window_id(word), part, &back)) {
            uint64_t begin_ns = now_ns - into_ns - (uint64_t)((int64_t)row->part_ns * back);
            uint64_t end_ns = begin_ns + row->part_ns;
            bool in = at_most ? end_ns > from_ns && begin_ns < to_ns
                              : begin_ns >= from_ns && end_ns <= to_ns;
            units += in ? (uint32_t)word : 0;
        }
    }
    return units;
}
