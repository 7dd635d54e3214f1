#include "weir_limit_repair.h"

#include "weir_atomic.h"
#include "weir_cells.h"
#include "weir_weave.h"

#include <string.h>

static enum weir_limit_damage bucket_audit(const struct weir_shm_limit_row *row,
                                           struct weir_shm_limit_word *word,
                                           const struct weir_shm_limit_word *own,
                                           struct weir_clock *clock)
{
    uint64_t full_ns = (uint64_t)weir_limit_peak(row) * row->unit_ns;
    uint64_t seen[2];
    seen[1] = weir_load_acquire_u64(&word->word[1]); /* pair:limit A */
    seen[0] = weir_load_acquire_u64(&word->word[0]); /* pair:limit A */
    uint64_t tat = seen[0];
    uint64_t own_tat = weir_load_relaxed_u64(&own->word[0]); /* relaxed: this thread wrote it */
    uint64_t now_ns = weir_clock_now(clock);                 /* after the word */
    enum weir_limit_damage damage = WEIR_LIMIT_SOUND;
    if (!weir_bucket_legal(tat, now_ns, full_ns)) {
        damage = WEIR_LIMIT_AHEAD;
    } else if (own_tat > now_ns && tat + WEIR_NS_PER_MS < own_tat) {
        damage = WEIR_LIMIT_FORGOTTEN;
    }
    if (damage != WEIR_LIMIT_SOUND) {
        /* May move TAT backwards, so it counts as a refund does. */
        /* Never below what the worker itself took, or it would be found forgotten again and again. */
        const uint64_t mine = weir_min_u64(own_tat, weir_bucket_most(now_ns, full_ns));
        const uint64_t spent[2] = {weir_max_u64(now_ns + full_ns, mine), seen[1] + 1};
        WEIR_WEAVE("repair:bucket");
        (void)weir_cas_pair_u64(word->word, seen,
                                spent); /* pair:limit R; a lost race is judged next time */
    }
    return damage;
}

static void window_spend(const struct weir_shm_limit_row *row, struct weir_shm_limit_word *word,
                         const struct weir_server_clock *to, uint64_t now_ns);

/* The last window that an honest word can bear now: the one after that of the latest arrival, because a re-alignment fills two. */
static uint32_t window_last(const struct weir_shm_limit_row *row,
                            const struct weir_server_clock *server, uint64_t error_ns,
                            uint64_t now_ns)
{
    uint64_t into_ns;
    uint64_t reach_ns = server->state == WEIR_CLOCK_KNOWN ? server->jitter_ns + error_ns : 0;
    uint64_t high_ns = now_ns + (uint64_t)server->offset_ns + reach_ns + WEIR_LIMIT_AHEAD_NS;
    uint64_t length_ns;
    return (uint32_t)weir_window_find(row, high_ns, &into_ns, &length_ns) + 1;
}

static enum weir_limit_damage window_audit(const struct weir_shm_limit_row *row,
                                           struct weir_shm_limit_word *word,
                                           const struct weir_shm_limit_word *own,
                                           const struct weir_server_clock *server,
                                           struct weir_clock *clock)
{
    uint64_t seen[2];
    seen[0] = weir_load_acquire_u64(&word->word[0]); /* pair:limit A */
    seen[1] = weir_load_acquire_u64(&word->word[1]); /* pair:limit A */
    uint64_t now_ns = weir_clock_now(clock);         /* after the words */
    uint64_t error_ns = weir_server_clock_error_ns(server, now_ns);
    uint32_t last = window_last(row, server, error_ns, now_ns);
    struct weir_window_span span;
    weir_window_span_at(&span, &(struct weir_window_cache){0}, row, server, error_ns, now_ns);
    enum weir_limit_damage worst = WEIR_LIMIT_SOUND;
    for (uint32_t w = 0; w < 2; w++) {
        uint32_t k = span.first + w;
        uint64_t mine =
            weir_load_relaxed_u64(&own->word[k & 1]); /* relaxed: this thread wrote it */
        bool ahead;
        bool own_ahead;
        uint32_t units = weir_window_units(seen[k & 1], k, &ahead);
        uint32_t own_units = weir_window_units(mine, k, &own_ahead);
        bool current = weir_window_diff(weir_window_id(seen[k & 1]), last) <= 0;
        enum weir_limit_damage damage = WEIR_LIMIT_SOUND;
        if (ahead && (!current || (weir_window_id(seen[k & 1]) & 1) != (k & 1))) {
            damage = WEIR_LIMIT_AHEAD;
        } else if (units > weir_window_most(weir_limit_peak(row))) {
            damage = WEIR_LIMIT_ABOVE;
        } else if (!ahead && units < own_units) {
            damage = WEIR_LIMIT_FORGOTTEN;
        }
        if (damage == WEIR_LIMIT_AHEAD) {
            /* Nobody knows which window it stood for: every one that may be current counts as spent. */
            window_spend(row, word, server, now_ns);
            if (span.windows == 1 && w == 1) {
                /* The next window's word was not among them: it would be found again and again. An honest charge that came meanwhile stays. */
                WEIR_WEAVE("repair:next");
                (void)weir_cas_u64(
                    &word->word[k & 1], &seen[k & 1],
                    weir_window_word(k - 2, weir_limit_peak(row))); /* pair:limit R */
            }
            return damage;
        }
        if (damage != WEIR_LIMIT_SOUND) {
            WEIR_WEAVE("repair:window");
            (void)weir_cas_u64(&word->word[k & 1], &seen[k & 1],
                               weir_window_word(k, weir_limit_peak(row))); /* pair:limit R */
            worst = damage;
        }
    }
    return worst;
}

static enum weir_limit_damage sliding_audit(const struct weir_limit_place *at,
                                            struct weir_clock *clock)
{
    /* The clock is read before the cells, so an honest stamp made meanwhile may lie ahead, if we slept: look twice before it is called damage. */
    if (weir_sliding_sound(at->row, at->cell, weir_clock_now(clock), WEIR_LIMIT_AHEAD_NS)) {
        return WEIR_LIMIT_SOUND;
    }
    if (weir_sliding_sound(at->row, at->cell, weir_clock_now(clock), WEIR_LIMIT_AHEAD_NS)) {
        return WEIR_LIMIT_SOUND;
    }
    weir_sliding_spend(at->row, at->word, at->cell, weir_clock_now(clock));
    return WEIR_LIMIT_AHEAD;
}

enum weir_limit_damage weir_limit_audit(const struct weir_limit_place *at,
                                        const struct weir_limit_place *own,
                                        const struct weir_server_clock *server,
                                        struct weir_clock *clock)
{
    const struct weir_shm_limit_row *row = at->row;
    switch ((enum weir_limit_kind)row->kind) {
    case WEIR_LIMIT_TOKEN_BUCKET:
        return bucket_audit(row, at->word, own->word, clock);
    case WEIR_LIMIT_FIXED_WINDOW:
        return window_audit(row, at->word, own->word, server, clock);
    case WEIR_LIMIT_SLIDING_WINDOW:
        return sliding_audit(at, clock);
    case WEIR_LIMIT_CONCURRENCY: /* weir_units_reap, which knows who lives */
    case WEIR_LIMIT_UNSET:
        break;
    }
    return WEIR_LIMIT_SOUND;
}

void weir_server_clock_publish(struct weir_shm_provider *provider,
                               const struct weir_server_clock *clock)
{
    uint64_t value[WEIR_SERVER_CLOCK_WORDS];
    memcpy(value, clock, sizeof value);
    weir_latch_write(&provider->clock_seq, provider->clock, value, WEIR_SERVER_CLOCK_WORDS);
    if (clock->state == WEIR_CLOCK_CLOSED) {
        WEIR_WEAVE("realign:closed");
        (void)weir_fetch_add_u64(&provider->clock_epoch, 1); /* pair:epoch R */
    }
}

bool weir_limit_realign_needed(const struct weir_shm_limit_row *row,
                               const struct weir_server_clock *from,
                               const struct weir_server_clock *to, uint64_t now_ns)
{
    if (row->kind != WEIR_LIMIT_FIXED_WINDOW ||
        (from->state == WEIR_CLOCK_UNKNOWN && to->state == WEIR_CLOCK_UNKNOWN &&
         from->offset_ns == to->offset_ns)) {
        return false;
    }
    if (from->state != WEIR_CLOCK_KNOWN || to->state != WEIR_CLOCK_KNOWN) {
        return true;
    }
    uint64_t from_error_ns = weir_server_clock_error_ns(from, now_ns);
    uint64_t to_error_ns = weir_server_clock_error_ns(to, now_ns);
    __int128 moved = (__int128)to->offset_ns - from->offset_ns;
    bool apart = (moved < 0 ? -moved : moved) > (__int128)from_error_ns + to_error_ns;
    return apart || weir_window_cap(row, from, from->jitter_ns + 2 * from_error_ns) <
                        weir_window_cap(row, to, to->jitter_ns + 2 * to_error_ns);
}

/* The window of the earliest arrival of a call granted now, as weir_window_span_at has it. */
static uint64_t window_first(const struct weir_shm_limit_row *row,
                             const struct weir_server_clock *clock, uint64_t now_ns)
{
    uint64_t into_ns;
    uint64_t error_ns =
        clock->state == WEIR_CLOCK_KNOWN ? weir_server_clock_error_ns(clock, now_ns) : 0;
    uint64_t length_ns;
    return weir_window_find(row, now_ns + (uint64_t)clock->offset_ns - error_ns, &into_ns,
                            &length_ns);
}

/* The error of the offset at `now_ns`; 0 while it is a convention, by which windows are cut exactly. */
static uint64_t offset_error_ns(const struct weir_server_clock *clock, uint64_t now_ns)
{
    return clock->state == WEIR_CLOCK_UNKNOWN ? 0 : weir_server_clock_error_ns(clock, now_ns);
}

/*
 * The last window that a call granted before now may still be counted in. Where a call is surely charged to all windows that it may touch (KNOWN, and
 * no wider than a window) that is the window of the latest arrival; otherwise the one after the first at least, because there windows are cut
 * by a convention, or more of them are touched than are charged.
 */
static uint64_t window_latest(const struct weir_shm_limit_row *row,
                              const struct weir_server_clock *clock, uint64_t first,
                              uint64_t now_ns)
{
    uint64_t into_ns;
    uint64_t error_ns = offset_error_ns(clock, now_ns);
    uint64_t length_ns;
    uint64_t latest =
        weir_window_find(row, now_ns + (uint64_t)clock->offset_ns + error_ns + clock->jitter_ns,
                         &into_ns, &length_ns);
    bool exact =
        clock->state == WEIR_CLOCK_KNOWN && clock->jitter_ns + 2 * error_ns <= row->window_ns;
    return exact ? latest : weir_max_u64(latest, first + 1);
}

/* All windows that may be current count as spent. */
static void window_spend(const struct weir_shm_limit_row *row, struct weir_shm_limit_word *word,
                         const struct weir_server_clock *to, uint64_t now_ns)
{
    /* Any window between the earliest and the latest arrival may be current. Two words hold the last two; a permit for an earlier one is refused. */
    uint64_t first = window_first(row, to, now_ns);
    uint64_t last = window_latest(row, to, first, now_ns);
    for (uint64_t k = weir_max_u64(first, last - 1); k <= last; k++) {
        uint64_t *at = &word->word[k & 1];
        uint64_t seen = weir_load_acquire_u64(at); /* pair:limit A */
        WEIR_WEAVE("spend:window");
        while (!weir_cas_u64(at, &seen, weir_window_word((uint32_t)k, weir_limit_peak(row)))) {
        } /* pair:limit R */
    }
}

void weir_limit_spend(const struct weir_limit_place *at, const struct weir_server_clock *to,
                      uint64_t now_ns)
{
    const struct weir_shm_limit_row *row = at->row;
    switch ((enum weir_limit_kind)row->kind) {
    case WEIR_LIMIT_TOKEN_BUCKET: {
        uint64_t seen[2];
        uint64_t spent[2] = {now_ns + (uint64_t)weir_limit_peak(row) * row->unit_ns, 0};
        seen[1] = weir_load_acquire_u64(&at->word->word[1]); /* pair:limit A */
        seen[0] = weir_load_acquire_u64(&at->word->word[0]); /* pair:limit A */
        do { /* lock-free; may move TAT backwards, so it counts as a refund does */
            spent[1] = seen[1] + 1;
            WEIR_WEAVE("spend:bucket");
        } while (!weir_cas_pair_u64(at->word->word, seen, spent)); /* pair:limit R */
        break;
    }
    case WEIR_LIMIT_FIXED_WINDOW:
        window_spend(row, at->word, to, now_ns);
        break;
    case WEIR_LIMIT_SLIDING_WINDOW:
        weir_sliding_spend(row, at->word, at->cell, now_ns);
        break;
    case WEIR_LIMIT_CONCURRENCY: /* whoever held them, of whom nothing is known any more, lets them go now */
        weir_units_rest(row, at->cell, now_ns);
        break;
    case WEIR_LIMIT_UNSET:
        break;
    }
}

/*
 * What of the old words may have been counted in a window that is current now: the units of all windows that can still matter, or the whole
 * quota where a word that mattered may have been overwritten.
 *
 * Calls granted before now - W - J are over. KNOWN and narrow: whatever the server's current window counted was charged to that
 * window, and its word stands. UNKNOWN: charged by the grid of a convention, so up to W + J back; the window before the last shares
 * its word with the current one, and matters only within J after a boundary. KNOWN and wide: charged by earliest arrivals under several
 * offsets, so anything may have been overwritten.
 */
static uint64_t carry_of(const struct weir_shm_limit_row *row, const uint64_t old[2],
                         const struct weir_server_clock *from, uint64_t now_ns)
{
    uint64_t error_ns = offset_error_ns(from, now_ns);
    uint64_t width_ns = from->jitter_ns + 2 * error_ns;
    uint64_t into_ns;
    uint64_t length_ns;
    uint64_t k =
        weir_window_find(row, now_ns + (uint64_t)from->offset_ns - error_ns, &into_ns, &length_ns);
    bool wide = width_ns > row->window_ns;
    int32_t back = wide ? 3 + (int32_t)weir_min_u64(width_ns / row->window_ns, 1000) : 1;
    uint64_t units = 0;
    bool recent = false;
    for (uint32_t i = 0; i < 2; i++) {
        if (weir_window_diff(weir_window_id(old[i]), (uint32_t)k) >= -back && old[i] != 0) {
            units += (uint32_t)old[i];
            recent =
                true; /* even with no units left: it may have overwritten a word that had some */
        }
    }
    bool overwritten = wide || (from->state == WEIR_CLOCK_UNKNOWN && into_ns < from->jitter_ns);
    return overwritten && recent ? weir_limit_peak(row) : units;
}

void weir_limit_realign(const struct weir_shm_limit_row *row, struct weir_shm_limit_word *word,
                        const struct weir_server_clock *from, const struct weir_server_clock *to,
                        uint64_t now_ns)
{
    if (row->kind != WEIR_LIMIT_FIXED_WINDOW) {
        return;
    }
    /* Empty both words, keeping what they held. A trader that charges meanwhile fails its CAS and then sees CLOSED. */
    uint64_t old[2];
    for (uint32_t i = 0; i < 2; i++) {
        old[i] = weir_load_acquire_u64(&word->word[i]); /* pair:limit A */
        WEIR_WEAVE("realign:empty");
        while (!weir_cas_u64(&word->word[i], &old[i], 0)) { /* pair:limit R */
        }
        WEIR_WEAVE("realign:emptied");
    }
    uint64_t carry = carry_of(row, old, from, now_ns);
    uint64_t first = window_first(row, to, now_ns);
    uint64_t last = window_latest(row, to, first, now_ns);
    for (uint64_t k = weir_max_u64(first, last - 1); k <= last; k++) {
        /* A trader that lost its CAS above may have planned again on the empty word before it sees CLOSED: count that too. */
        uint64_t seen = weir_load_acquire_u64(&word->word[k & 1]); /* pair:limit A */
        uint64_t next;
        do {
            uint64_t sum = weir_min_u64(carry + (uint32_t)seen, weir_limit_peak(row));
            next = weir_window_word((uint32_t)k, (uint32_t)sum);
            WEIR_WEAVE("realign:carry");
        } while (!weir_cas_u64(&word->word[k & 1], &seen, next)); /* pair:limit R */
    }
}
