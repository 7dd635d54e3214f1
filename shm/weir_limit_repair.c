#include "weir_limit_repair.h"

#include "weir_atomic.h"
#include "weir_weave.h"

#include <string.h>

static enum weir_limit_damage bucket_audit(const struct weir_shm_limit_row *row,
                                           struct weir_shm_limit_word *word,
                                           const struct weir_shm_limit_word *own,
                                           struct weir_clock *clock)
{
    uint64_t full_ns = (uint64_t)row->quota * row->unit_ns;
    uint64_t tat = weir_load_acquire_u64(&word->word[0]);    /* pair:limit A */
    uint64_t own_tat = weir_load_relaxed_u64(&own->word[0]); /* relaxed: this thread wrote it */
    uint64_t now_ns = weir_clock_now(clock);                 /* after the word */
    enum weir_limit_damage damage = WEIR_LIMIT_SOUND;
    if (!weir_bucket_legal(tat, now_ns, full_ns)) {
        damage = WEIR_LIMIT_AHEAD;
    } else if (own_tat > now_ns && tat + WEIR_NS_PER_MS < own_tat) {
        damage = WEIR_LIMIT_FORGOTTEN;
    }
    if (damage != WEIR_LIMIT_SOUND) {
        (void)weir_cas_u64(&word->word[0], &tat,
                           now_ns + full_ns); /* pair:limit R; a lost race is judged next time */
    }
    return damage;
}

/* The last window that an honest word can bear now: the one after that of the latest arrival, because a re-alignment fills two. */
static uint32_t window_last(const struct weir_shm_limit_row *row,
                            const struct weir_server_clock *server, uint64_t error_ns,
                            uint64_t now_ns)
{
    uint64_t into_ns;
    uint64_t reach_ns = server->state == WEIR_CLOCK_KNOWN ? server->jitter_ns + error_ns : 0;
    uint64_t high_ns = now_ns + (uint64_t)server->offset_ns + reach_ns + WEIR_LIMIT_AHEAD_NS;
    return (uint32_t)weir_window_at(high_ns, row->window_ns, row->window_inverse, &into_ns) + 1;
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
    weir_window_span_at(&span, row, server, error_ns, now_ns);
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
        } else if (units > row->quota) {
            damage = WEIR_LIMIT_ABOVE;
        } else if (!ahead && units < own_units) {
            damage = WEIR_LIMIT_FORGOTTEN;
        }
        if (damage != WEIR_LIMIT_SOUND) {
            (void)weir_cas_u64(&word->word[k & 1], &seen[k & 1],
                               weir_window_word(k, row->quota)); /* pair:limit R */
            worst = damage;
        }
    }
    return worst;
}

enum weir_limit_damage weir_limit_audit(const struct weir_shm_limit_row *row,
                                        struct weir_shm_limit_word *word,
                                        const struct weir_shm_limit_word *own,
                                        const struct weir_server_clock *server,
                                        struct weir_clock *clock)
{
    if (row->kind == WEIR_LIMIT_TOKEN_BUCKET) {
        return bucket_audit(row, word, own, clock);
    }
    return window_audit(row, word, own, server, clock);
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

/*
 * Can a call that was charged to old window `old` (timeline `from`) be counted in new window `new` (timeline `to`)? `slack_ns` is what lies
 * between a charge and its count on either side: the jitter and both errors. `back_ns` lets the new window begin earlier.
 */
static bool windows_overlap(int64_t from_offset_ns, int64_t to_offset_ns, uint64_t slack_ns,
                            uint64_t window_ns, uint64_t old_k, uint64_t new_k, uint64_t back_ns)
{
    /* Instants in weir time; signed, because a window may have begun before the machine. */
    __int128 old_start = (__int128)old_k * window_ns - from_offset_ns;
    __int128 new_start = (__int128)new_k * window_ns - to_offset_ns;
    __int128 reach = (__int128)window_ns + slack_ns;
    return old_start < new_start + reach && new_start - back_ns < old_start + reach;
}

/* The window of the earliest arrival of a call granted now, as weir_window_span_at has it. */
static uint64_t window_first(const struct weir_shm_limit_row *row,
                             const struct weir_server_clock *clock, uint64_t now_ns)
{
    uint64_t into_ns;
    uint64_t error_ns =
        clock->state == WEIR_CLOCK_KNOWN ? weir_server_clock_error_ns(clock, now_ns) : 0;
    return weir_window_at(now_ns + (uint64_t)clock->offset_ns - error_ns, row->window_ns,
                          row->window_inverse, &into_ns);
}

/* What lies between a charge under `clock` and its count; 0 error while the offset is a convention. */
static uint64_t slack_of(const struct weir_server_clock *clock, uint64_t now_ns)
{
    return clock->state == WEIR_CLOCK_UNKNOWN ? 0 : weir_server_clock_error_ns(clock, now_ns);
}

void weir_limit_spend(const struct weir_shm_limit_row *row, struct weir_shm_limit_word *word,
                      const struct weir_server_clock *to, uint64_t now_ns)
{
    if (row->kind == WEIR_LIMIT_TOKEN_BUCKET) {
        uint64_t seen = weir_load_acquire_u64(&word->word[0]); /* pair:limit A */
        while (!weir_cas_u64(&word->word[0], &seen, now_ns + (uint64_t)row->quota * row->unit_ns)) {
        } /* pair:limit R */
        return;
    }
    uint64_t first = window_first(row, to, now_ns);
    for (uint32_t w = 0; w < 2; w++) {
        uint64_t *at = &word->word[(first + w) & 1];
        uint64_t seen = weir_load_acquire_u64(at); /* pair:limit A */
        while (!weir_cas_u64(at, &seen, weir_window_word((uint32_t)(first + w), row->quota))) {
        } /* pair:limit R */
    }
}

void weir_limit_realign(const struct weir_shm_limit_row *row, struct weir_shm_limit_word *word,
                        const struct weir_server_clock *from, const struct weir_server_clock *to,
                        uint64_t now_ns)
{
    if (row->kind != WEIR_LIMIT_FIXED_WINDOW) {
        return;
    }
    uint64_t into_ns;
    uint64_t old_now = weir_window_at(now_ns + (uint64_t)from->offset_ns, row->window_ns,
                                      row->window_inverse, &into_ns);
    uint64_t new_first = window_first(row, to, now_ns);
    uint64_t slack_ns = weir_max_u64(from->jitter_ns, to->jitter_ns) + slack_of(from, now_ns) +
                        slack_of(to, now_ns);
    if (slack_ns >= row->window_ns) {
        weir_limit_spend(row, word, to, now_ns); /* two words do not reach back far enough */
        return;
    }
    /* Empty both words, keeping what they held. A trader that charges meanwhile fails its CAS and then sees CLOSED. */
    uint64_t old[2];
    for (uint32_t i = 0; i < 2; i++) {
        old[i] = weir_load_acquire_u64(&word->word[i]);     /* pair:limit A */
        while (!weir_cas_u64(&word->word[i], &old[i], 0)) { /* pair:limit R */
        }
        WEIR_WEAVE("realign:emptied");
    }
    for (uint32_t w = 0; w < 2; w++) {
        uint64_t new_k = new_first + w;
        uint64_t units = 0;
        /* A grid that is a convention may begin in the middle of the server's window: what that one counted must not be lost. */
        uint64_t back_ns = w == 0 && to->state == WEIR_CLOCK_UNKNOWN ? row->window_ns : 0;
        for (uint32_t i = 0; i < 2; i++) {
            uint64_t old_k = old_now + (uint64_t)(int64_t)weir_window_diff(weir_window_id(old[i]),
                                                                           (uint32_t)old_now);
            if (windows_overlap(from->offset_ns, to->offset_ns, slack_ns, row->window_ns, old_k,
                                new_k, back_ns)) {
                units += (uint32_t)old[i];
            }
        }
        /* A trader that lost its CAS above may have planned again on the empty word before it sees CLOSED: count that too. */
        uint64_t seen = weir_load_acquire_u64(&word->word[new_k & 1]); /* pair:limit A */
        uint64_t next;
        do {
            uint64_t sum = units + (uint32_t)seen;
            next = weir_window_word((uint32_t)new_k, sum > row->quota ? row->quota : (uint32_t)sum);
        } while (!weir_cas_u64(&word->word[new_k & 1], &seen, next)); /* pair:limit R */
    }
}
