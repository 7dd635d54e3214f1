/*
 * weir_concurrency.c: plan, take and let go of units in flight. All accesses to the cells of a limit of this kind are here (pair:limit).
 */
#include "weir_concurrency.h"

#include "weir_cells.h"
#include "weir_weave.h"

/* How often a take looks for other units because somebody was faster, before the whole permit starts over. */
#define TAKE_TRIES 16

static uint64_t unit_load(const uint64_t *cell, uint32_t i)
{
    return weir_load_relaxed_u64(&cell[i]); /* relaxed: the CAS of the take judges what was read */
}

/*
 * Look for `need` free units, beginning where one was let go of late. Returns how many there are, at most `need`; `*first` is the first one. Where
 * there are too few, `*earliest_ns` is when the next one has rested; UINT64_MAX: when its holder lets it go.
 */
static uint32_t units_find(const struct weir_limit_plan *p, uint64_t now_ns, uint64_t need,
                           uint32_t *first, uint64_t *earliest_ns)
{
    const struct weir_shm_limit_row *row = p->row;
    uint64_t hint = weir_load_relaxed_u64(&p->word->word[0]); /* relaxed: a hint */
    uint32_t at = hint < row->cell_cnt ? (uint32_t)hint : 0;
    uint32_t found = 0;
    *earliest_ns = UINT64_MAX;
    for (uint32_t n = 0; n < row->cell_cnt && found < need; n++) {
        uint64_t cell = unit_load(p->cell, at);
        if (weir_unit_free(cell, now_ns, row->span_ns)) {
            *first = found == 0 ? at : *first;
            found++;
        } else if (!weir_unit_held(cell)) {
            *earliest_ns = weir_min_u64(*earliest_ns, cell + row->span_ns);
        }
        at = at + 1 < row->cell_cnt ? at + 1 : 0;
    }
    return found;
}

enum weir_limit_verdict weir_units_plan(struct weir_limit_plan *p,
                                        const struct weir_limit_time *time)
{
    const struct weir_shm_limit_row *row = p->row;
    uint64_t kept = (uint64_t)row->reserve_min[p->priority] +
                    weir_foreign_rolling(weir_load_relaxed_u64(&p->foreign->word[0]),
                                         time->now_ns); /* relaxed: an estimate */
    if ((uint64_t)p->units + row->reserve_min[p->priority] > row->cell_cnt) {
        return WEIR_LIMIT_NEVER;
    }
    uint64_t need = p->units + kept;
    if (units_find(p, time->now_ns, need, &p->window, &p->earliest_ns) < need) {
        /* A time that is over: its unit was free, but too few others were. */
        p->earliest_ns = p->earliest_ns <= time->now_ns ? UINT64_MAX : p->earliest_ns;
        return WEIR_LIMIT_NO;
    }
    p->room = 0; /* not known without looking at all of them: take it first */
    p->price = 1;
    return WEIR_LIMIT_YES;
}

/* Let go every unit that bears `owner`, looking at `cnt` cells from `first` on. */
static uint32_t owner_let_go(const struct weir_shm_limit_row *row, uint64_t *cell, uint32_t first,
                             uint32_t cnt, uint64_t owner, uint64_t next)
{
    uint32_t gone = 0;
    uint32_t at = first < row->cell_cnt ? first : 0;
    for (uint32_t n = 0; n < row->cell_cnt && gone < cnt; n++) {
        uint64_t seen = owner;
        /* Looked at first: a failed CAS would take the line from its holder. */
        if (unit_load(cell, at) == owner) {
            WEIR_WEAVE("units:let_go");
            gone += weir_cas_u64(&cell[at], &seen, next); /* pair:limit R */
        }
        at = at + 1 < row->cell_cnt ? at + 1 : 0;
    }
    return gone;
}

enum weir_limit_verdict weir_units_take(struct weir_limit_plan *p,
                                        const struct weir_limit_time *time)
{
    const struct weir_shm_limit_row *row = p->row;
    for (int tries = 0; tries < TAKE_TRIES; tries++) {
        enum weir_limit_verdict v = weir_units_plan(p, time);
        if (v != WEIR_LIMIT_YES) {
            return v;
        }
        uint32_t taken = 0;
        uint32_t at = p->window;
        uint32_t last = at;
        WEIR_WEAVE("units:planned");
        for (uint32_t n = 0; n < row->cell_cnt && taken < p->units; n++) {
            uint64_t seen = unit_load(p->cell, at);
            if (weir_unit_free(seen, time->now_ns, row->span_ns) &&
                weir_cas_u64(&p->cell[at], &seen, p->owner)) { /* pair:limit R */
                p->window = taken == 0 ? at : p->window;
                last = at;
                taken++;
                WEIR_WEAVE("units:taken");
            }
            at = at + 1 < row->cell_cnt ? at + 1 : 0;
        }
        if (taken == p->units) {
            weir_store_relaxed_u64(&p->word->word[0],
                                   last + 1 < row->cell_cnt ? last + 1 : 0); /* relaxed: a hint */
            return WEIR_LIMIT_YES;
        }
        (void)owner_let_go(row, p->cell, p->window, taken, p->owner, 0);
    }
    return WEIR_LIMIT_AGAIN;
}

bool weir_units_let_go(const struct weir_limit_place *at, const struct weir_charge *charge,
                       uint64_t owner, uint64_t now_ns, bool rest)
{
    /* Never used: it may have rested but for this permit, so it is as free as before. A rest of 0 would say "never". */
    uint64_t next = rest ? weir_max_u64(now_ns, 1) : 0;
    if (!weir_unit_held(owner) ||
        owner_let_go(at->row, at->cell, charge->window, charge->units, owner, next) == 0) {
        return false;
    }
    weir_store_relaxed_u64(&at->word->word[0], charge->window); /* relaxed: a hint */
    return true;
}

uint32_t weir_units_used(const struct weir_shm_limit_row *row, const uint64_t *cell,
                         uint64_t now_ns, uint64_t *empty_at_ns)
{
    uint32_t used = 0;
    *empty_at_ns = now_ns;
    for (uint32_t i = 0; i < row->cell_cnt; i++) {
        uint64_t seen = unit_load(cell, i);
        if (!weir_unit_free(seen, now_ns, row->span_ns)) {
            used++;
            *empty_at_ns = weir_unit_held(seen) ? *empty_at_ns
                                                : weir_max_u64(*empty_at_ns, seen + row->span_ns);
        }
    }
    return used;
}

uint32_t weir_units_reap(const struct weir_shm_limit_row *row, uint64_t *cell, uint64_t now_ns,
                         bool (*lives)(uint64_t cell, const void *arg), const void *arg)
{
    const uint64_t next = weir_max_u64(now_ns + row->ahead_ns, 1);
    const uint64_t latest_ns =
        now_ns + weir_max_u64(row->ahead_ns, row->ahead_peak_ns) + WEIR_NS_PER_S;
    uint32_t gone = 0;
    for (uint32_t i = 0; i < row->cell_cnt; i++) {
        uint64_t seen = weir_load_acquire_u64(&cell[i]); /* pair:limit A */
        bool dead = weir_unit_held(seen) ? !lives(seen, arg) : seen > latest_ns;
        if (dead) {
            WEIR_WEAVE("units:reap");
            gone += weir_cas_u64(&cell[i], &seen, next); /* pair:limit R */
        }
    }
    return gone;
}

void weir_units_rest(const struct weir_shm_limit_row *row, uint64_t *cell, uint64_t now_ns)
{
    const uint64_t next = weir_max_u64(now_ns + row->ahead_ns, 1);
    for (uint32_t i = 0; i < row->cell_cnt; i++) {
        weir_store_relaxed_u64(&cell[i], next); /* relaxed: nobody else has it yet */
    }
}

void weir_units_follow(const struct weir_shm_limit_row *row, const struct weir_shm_limit_row *old,
                       uint64_t *cell)
{
    for (uint32_t i = 0; i < old->cell_cnt && row->span_ns < old->span_ns; i++) {
        uint64_t seen = weir_load_acquire_u64(&cell[i]); /* pair:limit A */
        if (seen != 0 && !weir_unit_held(seen)) {
            WEIR_WEAVE("units:follow");
            /* Whoever takes it meanwhile knows that it was free. */
            (void)weir_cas_u64(&cell[i], &seen,
                               seen + (old->span_ns - row->span_ns)); /* pair:limit R */
        }
    }
}

uint64_t weir_units_ahead_peak(const struct weir_shm_limit_row *row,
                               const struct weir_shm_limit_row *old)
{
    uint64_t moved_ns = old->span_ns > row->span_ns ? old->span_ns - row->span_ns : 0;
    uint64_t peak_ns = weir_max_u64(old->ahead_ns, old->ahead_peak_ns) + moved_ns;
    return peak_ns > row->ahead_ns ? peak_ns
                                   : 0; /* 0 as at the start: the same tables are the same bytes */
}
