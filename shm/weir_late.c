#include "weir_late.h"

/* Below this part of a unit J is not worth a unit of the burst. */
#define SLOW_PART 64U

/* Slow leaves such a part of the room: to whoever comes some ms late for a unit, and for what may be others'. */
#define SPARE_ALONE  4U
#define SPARE_SHARED 2U

uint32_t weir_late_slow(const struct weir_shm_limit_row *row, uint64_t floor_ns, uint64_t jitter_ns,
                        uint32_t dearest, bool shared)
{
    uint64_t most = UINT64_MAX;
    for (unsigned c = 0; c < WEIR_PRIORITY_CNT; c++) {
        most = weir_min_u64(most, row->tolerance_ns[c] / row->unit_ns);
    }
    const uint64_t part = most - most / (shared ? SPARE_SHARED : SPARE_ALONE);
    most = most > dearest ? most - dearest : 0;
    most = weir_min_u64(most, part);
    uint64_t more_ns = jitter_ns > floor_ns ? jitter_ns - floor_ns : 0;
    uint64_t spare_ns = row->unit_ns / SLOW_PART;
    more_ns = more_ns > spare_ns ? more_ns - spare_ns : 0;
    return (uint32_t)weir_min_u64((more_ns + row->unit_ns - 1) / row->unit_ns, most);
}

void weir_late_move(const struct weir_limit_place *at, uint32_t units, uint64_t granted_at_ns,
                    uint64_t age_ns, uint64_t jitter_ns, uint64_t now_ns)
{
    const uint64_t full_ns = (uint64_t)weir_limit_peak(at->row) * at->row->unit_ns;
    const uint64_t n_ns = weir_min_u64(units, weir_limit_peak(at->row)) * at->row->unit_ns;
    const uint64_t most_ns = weir_bucket_most(now_ns, full_ns);
    uint64_t *tat = &at->word->word[0];
    uint64_t seen = weir_load_acquire_u64(tat); /* pair:limit A */
    uint64_t next;
    if (age_ns <= jitter_ns) {
        return;
    }
    do { /* lock-free: each failed CAS is somebody's progress */
        next =
            weir_min_u64(weir_late_moved(seen, n_ns, granted_at_ns, age_ns - jitter_ns), most_ns);
        WEIR_WEAVE("late:judged");
    } while (next > seen && !weir_cas_u64(tat, &seen, next)); /* pair:limit R */
    WEIR_WEAVE("late:moved");
}

void weir_late_spend(const struct weir_limit_place *at, uint32_t units, uint64_t now_ns)
{
    const struct weir_limit_time time = {.now_ns = now_ns};
    weir_limit_add(at, &(struct weir_charge){0}, units, &(struct weir_limit_grant){0}, &time);
    WEIR_WEAVE("late:spent");
}

bool weir_late_publish(const struct weir_late *late, const struct weir_shm_limit_row *row,
                       struct weir_shm_foreign *board, uint64_t now_ns)
{
    const uint64_t held = weir_min_u64(weir_late_held(late), row->quota);
    const uint64_t sum = weir_min_u64(held + late->others_units, UINT32_MAX);
    uint64_t until_ns = weir_max_u64(now_ns + WEIR_LATE_KEEP_NS, late->open_until_ns);
    until_ns += held * row->unit_ns;
    const uint64_t mine = held > 0 ? weir_foreign_make(until_ns, (uint32_t)held) : 0;
    until_ns = held > 0 ? weir_max_u64(until_ns, late->others_until_ns) : late->others_until_ns;
    const uint64_t all = sum > 0 ? weir_foreign_make(until_ns, (uint32_t)sum) : 0;
    /* relaxed, all: this thread is the writer, and readers take any whole word. What was let go stands in TAT by a locked instruction before: a permit that reads
     * the new word has its CAS on the newer TAT, or none. */
    const uint64_t before = weir_load_relaxed_u64(&board->word[0]);
    const bool less = held < weir_foreign_rolling(weir_load_relaxed_u64(&board->word[1]), now_ns);
    if (less) {
        weir_store_relaxed_u64(&board->word[1], mine);
    }
    WEIR_WEAVE("late:half_said");
    if (all != before) {
        weir_store_relaxed_u64(&board->word[0], all);
    }
    WEIR_WEAVE("late:said");
    if (!less) {
        weir_store_relaxed_u64(&board->word[1], mine);
    }
    return sum < (uint32_t)before;
}

/* The instant at which a word of the board ends. */
static uint64_t until_ns(uint64_t word, uint64_t now_ns)
{
    int32_t left = (int32_t)((uint32_t)(word >> 32) - (uint32_t)(now_ns >> WEIR_FOREIGN_TICK_BITS));
    return left > 0 ? now_ns + ((uint64_t)left << WEIR_FOREIGN_TICK_BITS) : now_ns;
}

void weir_late_restore(struct weir_late *late, const struct weir_shm_foreign *board,
                       uint64_t now_ns)
{
    const uint64_t all =
        weir_load_relaxed_u64(&board->word[0]); /* relaxed, both: of a writer that is dead */
    const uint64_t mine = weir_load_relaxed_u64(&board->word[1]);
    const uint32_t sum = weir_foreign_rolling(all, now_ns);
    const uint32_t held = weir_foreign_rolling(mine, now_ns);
    *late = (struct weir_late){.open_units = held,
                               .open_until_ns = held > 0 ? until_ns(mine, now_ns) : 0,
                               .others_units = sum > held ? sum - held : 0,
                               .others_until_ns = sum > held ? until_ns(all, now_ns) : 0};
}
