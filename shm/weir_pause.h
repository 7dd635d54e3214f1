/*
 * weir_pause.h: "nobody may call until t", in one word.
 *
 *   until:40 (units of 2^20 ns, about 1.05 ms, rounded up) | cause:4 | generation:20
 *
 * Two words of this form stand for each provider: one in permits, which traders may extend by what they saw (at most 60 s ahead), and one
 * on the board, which only the worker writes (longer pauses: bans, operators). A permit is refused while either lies ahead.
 *
 * The generation belongs to the word in permits. A permit remembers it; an outcome extends the pause only while the word still
 * bears it. A resume raises it, so an answer of 429 to a call that left before the resume does not pause again.
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

/*
 * Extend the pause to `until_ns` if the word still bears `generation`; never shortens it. Returns whether the word says so now.
 * Callers: whoever settles. Traders cap `until_ns` at now + WEIR_PAUSE_TRADER_MAX_NS. Order: release, so that a permit that sees it sees
 * what led to it (pair:pause).
 */
static inline bool weir_pause_extend(uint64_t *word, uint64_t until_ns, uint32_t cause,
                                     uint32_t generation)
{
    until_ns = weir_min_u64(until_ns, WEIR_PAUSE_UNTIL_MAX_NS);
    uint64_t seen = weir_load_acquire_u64(word); /* pair:pause A */
    for (;;) { /* bounded: each failed CAS means that another one extended or resumed */
        if (weir_pause_generation(seen) != (generation & WEIR_PAUSE_GENERATION_MASK)) {
            return false;
        }
        if (weir_pause_until_ns(seen) >= until_ns) {
            return true;
        }
        if (weir_cas_u64(word, &seen,
                         weir_pause_make(until_ns, cause, generation))) { /* pair:pause R */
            return true;
        }
    }
}

/* End the pause and open a new generation. Caller: the worker. */
static inline void weir_pause_resume(uint64_t *word)
{
    uint64_t seen = weir_load_acquire_u64(word); /* pair:pause A */
    while (!weir_cas_u64(word, &seen,
                         weir_pause_make(0, WEIR_PAUSE_NONE, weir_pause_generation(seen) + 1U))) {
    } /* pair:pause R */
}

#endif
