#include "weir_limit_repair.h"

#include "weir_atomic.h"
#include "weir_weave.h"

static enum weir_limit_damage bucket_audit(const struct weir_shm_limit_row *row,
                                           struct weir_shm_limit_word *word,
                                           const struct weir_shm_limit_word *own, uint64_t now_ns)
{
    uint64_t full_ns = (uint64_t)row->quota * row->unit_ns;
    uint64_t tat = weir_load_acquire_u64(&word->word[0]);    /* pair:limit A */
    uint64_t own_tat = weir_load_relaxed_u64(&own->word[0]); /* relaxed: this thread wrote it */
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

static enum weir_limit_damage window_audit(const struct weir_shm_limit_row *row,
                                           struct weir_shm_limit_word *word,
                                           const struct weir_shm_limit_word *own,
                                           const struct weir_limit_time *time)
{
    struct weir_window_span span;
    weir_window_span_at(&span, row, time->server, time->error_ns, time->now_ns);
    enum weir_limit_damage worst = WEIR_LIMIT_SOUND;
    for (uint32_t w = 0; w < 2; w++) {
        uint32_t k = span.first + w;
        uint64_t *at = &word->word[k & 1];
        uint64_t seen = weir_load_acquire_u64(at); /* pair:limit A */
        uint64_t mine =
            weir_load_relaxed_u64(&own->word[k & 1]); /* relaxed: this thread wrote it */
        bool ahead;
        uint32_t units = weir_window_units(seen, k, &ahead);
        bool own_ahead;
        uint32_t own_units = weir_window_units(mine, k, &own_ahead);
        enum weir_limit_damage damage = WEIR_LIMIT_SOUND;
        if (ahead) {
            damage = WEIR_LIMIT_AHEAD;
        } else if (units > row->quota) {
            damage = WEIR_LIMIT_ABOVE;
        } else if (units < own_units) {
            damage = WEIR_LIMIT_FORGOTTEN;
        }
        if (damage != WEIR_LIMIT_SOUND) {
            (void)weir_cas_u64(at, &seen, weir_window_word(k, row->quota)); /* pair:limit R */
            worst = damage;
        }
    }
    return worst;
}

enum weir_limit_damage weir_limit_audit(const struct weir_shm_limit_row *row,
                                        struct weir_shm_limit_word *word,
                                        const struct weir_shm_limit_word *own,
                                        const struct weir_limit_time *time)
{
    if (row->kind == WEIR_LIMIT_TOKEN_BUCKET) {
        return bucket_audit(row, word, own, time->now_ns);
    }
    return window_audit(row, word, own, time);
}

/* Do old window `old` (timeline `from`) and new window `new` (timeline `to`) share an instant, give or take the jitter? */
static bool windows_overlap(int64_t from_offset_ns, int64_t to_offset_ns, uint64_t jitter_ns,
                            uint64_t window_ns, uint64_t old_k, uint64_t new_k)
{
    /* Instants in weir time; signed, because a window may have begun before the machine. */
    __int128 old_start = (__int128)old_k * window_ns - from_offset_ns;
    __int128 new_start = (__int128)new_k * window_ns - to_offset_ns;
    return old_start < new_start + (__int128)window_ns &&
           new_start < old_start + (__int128)(window_ns + jitter_ns);
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
    uint64_t error_ns = weir_server_clock_error_ns(to, now_ns);
    uint64_t new_first = weir_window_at(now_ns + (uint64_t)to->offset_ns - error_ns, row->window_ns,
                                        row->window_inverse, &into_ns);
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
        for (uint32_t i = 0; i < 2; i++) {
            uint64_t old_k = old_now + (uint64_t)(int64_t)weir_window_diff(weir_window_id(old[i]),
                                                                           (uint32_t)old_now);
            if (windows_overlap(from->offset_ns, to->offset_ns, to->jitter_ns + 2 * error_ns,
                                row->window_ns, old_k, new_k)) {
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

static void word_set(uint64_t *at, uint64_t value)
{
    uint64_t seen = weir_load_acquire_u64(at); /* pair:limit A */
    while (!weir_cas_u64(at, &seen, value)) {  /* pair:limit R */
    }
}

void weir_limit_spend(const struct weir_shm_limit_row *row, struct weir_shm_limit_word *word,
                      const struct weir_server_clock *clock, uint64_t now_ns)
{
    if (row->kind == WEIR_LIMIT_TOKEN_BUCKET) {
        word_set(&word->word[0], now_ns + (uint64_t)row->quota * row->unit_ns);
        return;
    }
    uint64_t into_ns;
    uint64_t error_ns = weir_server_clock_error_ns(clock, now_ns);
    uint64_t k = weir_window_at(now_ns + (uint64_t)clock->offset_ns - error_ns, row->window_ns,
                                row->window_inverse, &into_ns);
    for (uint32_t w = 0; w < 2; w++) {
        word_set(&word->word[(k + w) & 1], weir_window_word((uint32_t)(k + w), row->quota));
    }
}
