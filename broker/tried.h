/*
 * tried.h: which endpoints of its provider a call has tried: a bit for each that a configuration may have, so that none passes for another one.
 *
 * A member of struct call; the worker's alone. Index: struct endpoint.bit.
 */
#ifndef WEIR_BROKER_TRIED_H
#define WEIR_BROKER_TRIED_H

#include "broker/config/config.h"

#include <stdbool.h>
#include <stdint.h>

#define TRIED_WORD_BITS 64U
#define TRIED_WORDS     (WEIR_CONFIG_ENDPOINT_MAX / TRIED_WORD_BITS)

_Static_assert(WEIR_CONFIG_ENDPOINT_MAX % TRIED_WORD_BITS == 0, "a bit for each endpoint");

struct tried {
    uint64_t word[TRIED_WORDS];
};

/* Nobody yet. */
static inline struct tried tried_none(void)
{
    return (struct tried){{0}};
}

static inline void tried_add(struct tried *t, uint32_t index)
{
    t->word[index / TRIED_WORD_BITS] |= UINT64_C(1) << (index % TRIED_WORD_BITS);
}

static inline bool tried_has(const struct tried *t, uint32_t index)
{
    return (t->word[index / TRIED_WORD_BITS] >> (index % TRIED_WORD_BITS) & 1U) != 0;
}

static inline bool tried_any(const struct tried *t)
{
    uint64_t any = 0;
    for (uint32_t i = 0; i < TRIED_WORDS; i++) {
        any |= t->word[i];
    }
    return any != 0;
}

#endif
