/*
 * weir_pause.h: "nobody may call until t", in one word.
 *
 *   until:40 (units of 2^20 ns, about 1.05 ms, rounded up) | cause:4 | generation:20
 *
 * Two words of this form stand for each provider: one in permits, which traders may extend by what they saw (at most 60 s ahead), and one
 * on the board, which only the worker writes (longer pauses: bans, operators). A permit is refused while either lies ahead. A word whose
 * instant is over is not 0 yet: the provider is being reopened (weir_reopen.h) until the worker clears it.
 *
 * The generation belongs to the word in permits. A permit remembers it. A pause that begins raises it, and so does a resume: an answer of 429
 * to a call that left before either is known for what it is, and does not pause again.
 *
 *   writers  traders and worker (permits), worker (board), by CAS        readers  every permit
 *   writer dies at any instruction   the word is whole: the pause holds or does not
 *
 * Source: Retry-After, RFC 9110 10.2.3; Binance spot "IP limits" (429, 418).
 */
#ifndef WEIR_PAUSE_H
#define WEIR_PAUSE_H

#include "weir_atomic.h"
#include "weir_base.h"
#include "weir_weave.h"

#define WEIR_PAUSE_TICK_BITS       20U
#define WEIR_PAUSE_GENERATION_BITS 20U
#define WEIR_PAUSE_GENERATION_MASK ((UINT64_C(1) << WEIR_PAUSE_GENERATION_BITS) - 1)
#define WEIR_PAUSE_UNTIL_SHIFT     24U
#define WEIR_PAUSE_UNTIL_MAX_NS    (((UINT64_C(1) << 40) - 1) << WEIR_PAUSE_TICK_BITS)

/* What a trader alone reports holds so long at most: one liar or one confused proxy must not stop everybody for hours. */
#define WEIR_PAUSE_TRADER_MAX_NS (60 * WEIR_NS_PER_S)

enum weir_pause_cause {
    WEIR_PAUSE_NONE = 0,
    WEIR_PAUSE_THROTTLED = 1, /* 429 or another configured status */
    WEIR_PAUSE_BANNED = 2,    /* 418, 403 */
    WEIR_PAUSE_OPERATOR = 3,
};

/* `until_ns` beyond WEIR_PAUSE_UNTIL_MAX_NS (36 years: "for ever") means that. */
static inline uint64_t weir_pause_make(uint64_t until_ns, uint32_t cause, uint32_t generation)
{
    until_ns = weir_min_u64(until_ns, WEIR_PAUSE_UNTIL_MAX_NS);
    uint64_t ticks = (until_ns + (UINT64_C(1) << WEIR_PAUSE_TICK_BITS) - 1) >> WEIR_PAUSE_TICK_BITS;
    return ticks << WEIR_PAUSE_UNTIL_SHIFT | (uint64_t)(cause & 15U) << WEIR_PAUSE_GENERATION_BITS |
           (generation & WEIR_PAUSE_GENERATION_MASK);
}

static inline uint64_t weir_pause_until_ns(uint64_t word)
{
    return word >> WEIR_PAUSE_UNTIL_SHIFT << WEIR_PAUSE_TICK_BITS;
}

static inline uint32_t weir_pause_cause(uint64_t word)
{
    return (uint32_t)(word >> WEIR_PAUSE_GENERATION_BITS) & 15U;
}

static inline uint32_t weir_pause_generation(uint64_t word)
{
    return (uint32_t)(word & WEIR_PAUSE_GENERATION_MASK);
}

static inline bool weir_pause_holds(uint64_t word, uint64_t now_ns)
{
    return WEIR_UNLIKELY(now_ns < weir_pause_until_ns(word));
}

/* What became of a report. */
enum weir_pause_told {
    WEIR_PAUSE_LATE =
        0, /* its call left before a pause or resume that is over: nothing was changed */
    WEIR_PAUSE_SAME =
        1, /* one of the burst that began the pause in force: at most that got longer */
    WEIR_PAUSE_BEGUN = 2, /* a new pause, and a new generation */
};

/* Whether `seen` speaks of a longer pause than one that ends at `until_ns`, and then why it does. */
static inline uint64_t weir_pause_longer(uint64_t seen, uint64_t until_ns, uint32_t cause,
                                         uint32_t generation)
{
    bool kept = weir_pause_until_ns(seen) >= until_ns;
    return weir_pause_make(kept ? weir_pause_until_ns(seen) : until_ns,
                           kept ? weir_pause_cause(seen) : cause, generation);
}

/*
 * The exchange said stop to a call whose permit bears `generation`: pause until `until_ns`. A pause that begins raises the generation. So
 * of a burst of answers to calls that left together one begins the pause; the others bear the generation before it, and can only make it
 * longer while it holds; those that come when it is over change nothing. Never shortens.
 * Callers: whoever settles. Traders cap `until_ns` at now + WEIR_PAUSE_TRADER_MAX_NS. Order: release, so that a permit that sees it sees
 * what led to it (pair:pause).
 */
static inline enum weir_pause_told weir_pause_tell(uint64_t *word, uint64_t until_ns,
                                                   uint32_t cause, uint32_t generation,
                                                   uint64_t now_ns)
{
    uint64_t seen = weir_load_acquire_u64(word); /* pair:pause A */
    until_ns = weir_min_u64(until_ns, WEIR_PAUSE_UNTIL_MAX_NS);
    generation &= WEIR_PAUSE_GENERATION_MASK;
    for (;;) { /* bounded: each failed CAS means that another one told or resumed */
        uint32_t now_at = weir_pause_generation(seen);
        bool begins = now_at == generation;
        bool same = now_at == ((generation + 1U) & WEIR_PAUSE_GENERATION_MASK) &&
                    weir_pause_holds(seen, now_ns);
        if (!begins && !same) {
            return WEIR_PAUSE_LATE;
        }
        if (same && weir_pause_until_ns(seen) >= until_ns) {
            return WEIR_PAUSE_SAME;
        }
        WEIR_WEAVE("pause:tell");
        if (weir_cas_u64(word, &seen,
                         weir_pause_longer(seen, until_ns, cause,
                                           begins ? now_at + 1U : now_at))) { /* pair:pause R */
            return begins ? WEIR_PAUSE_BEGUN : WEIR_PAUSE_SAME;
        }
    }
}

/* Begin a pause whatever the word bears, or make it longer; raises the generation, which is returned. Caller: the worker. */
static inline uint32_t weir_pause_begin(uint64_t *word, uint64_t until_ns, uint32_t cause)
{
    uint64_t seen = weir_load_acquire_u64(word); /* pair:pause A */
    for (;;) {                                   /* bounded: as above */
        uint32_t next = (weir_pause_generation(seen) + 1U) & WEIR_PAUSE_GENERATION_MASK;
        WEIR_WEAVE("pause:begin");
        if (weir_cas_u64(word, &seen,
                         weir_pause_longer(seen, until_ns, cause, next))) { /* pair:pause R */
            return next;
        }
    }
}

/* End the pause and open a new generation, which is returned. Caller: the worker. */
static inline uint32_t weir_pause_resume(uint64_t *word)
{
    uint64_t seen = weir_load_acquire_u64(word); /* pair:pause A */
    for (;;) {                                   /* bounded: as above */
        uint32_t next = (weir_pause_generation(seen) + 1U) & WEIR_PAUSE_GENERATION_MASK;
        WEIR_WEAVE("pause:resume");
        if (weir_cas_u64(word, &seen,
                         weir_pause_make(0, WEIR_PAUSE_NONE, next))) { /* pair:pause R */
            return next;
        }
    }
}

/*
 * Take away a pause that is over and reopened, if the word is still `seen`: permits have nothing to look at any more. The generation stays: it
 * was raised as the pause began. Caller: the worker.
 */
static inline bool weir_pause_clear(uint64_t *word, uint64_t seen)
{
    WEIR_WEAVE("pause:clear");
    return weir_cas_u64(
        word, &seen,
        weir_pause_make(0, WEIR_PAUSE_NONE, weir_pause_generation(seen))); /* pair:pause R */
}

#endif
