/*
 * weir_atomic.h: the only door to the atomics.
 *
 * Every access to a word that two threads or two processes share goes through this file, and the order is in the name:
 *
 *   weir_load_relaxed_*   no order; the comment at the call says why none is needed
 *   weir_load_acquire_*   later accesses stay after it; its partner is a release store or a CAS
 *   weir_store_release_*  earlier accesses stay before it; its partner is an acquire load
 *   weir_cas_*            acquire and release on success, acquire on failure; `*expected` gets the value seen
 *   weir_cas_pair_u64     the same for two words side by side
 *   weir_xchg_*, weir_fetch_add_*, weir_fetch_or_*, weir_fetch_and_*   acquire and release
 *   weir_count_*          more in a word that no other thread writes: no order, and no locked instruction; whoever loads it sees whole words
 *   weir_fence_full       orders an earlier store with a later load (Dekker)
 *   weir_fence_after_rmw  the same behind a CAS, xchg or fetch: free on x86, where a locked instruction is that fence already
 *
 * Each ordered access carries a tag, `pair:NAME R` (releases) or `pair:NAME A` (acquires), in a comment at its line;
 * tests/lint/pairs.py fails on a tag that has no partner.
 *
 * Three implementations stand behind the names:
 *   - ck_pr (default): on x86-64 CK knows that the machine is TSO, so acquire and release cost a compiler barrier. The fences are written as for a weakly ordered
 *     machine. But a CAS is the compiler's own builtin: the same locked instruction, whose answer stays in the flags, while CK's has to outlive the barrier behind it.
 *   - C11 __atomic builtins (-Dchecked=true): ThreadSanitizer cannot see through CK's inline assembly (it reports false races
 *     on ck_pr_cas_64); the builtins carry the order on the operation itself, which it understands.
 *
 *   - plain loads and stores (-DWEIR_UNSHARED): weir-bench compiles the permit path once more for memory that a mutex guards, to see what the
 *     same job costs under a lock. For nothing else.
 *
 * Only naturally aligned words of at most 8 bytes are loaded and stored. A 16-byte atomic load is a locked write on x86 and faults on
 * the read-only mapping of a monitor.
 */
#ifndef WEIR_ATOMIC_H
#define WEIR_ATOMIC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if !defined(WEIR_UNSHARED)
#include <ck_pr.h>
#endif

#if !defined(WEIR_UNSHARED)
/* One for both doors. */
#define WEIR_ATOMIC_DEFINE_CAS(bits, type)                                                \
    static inline bool weir_cas_u##bits(type *p, type *expected, type desired)            \
    {                                                                                     \
        return __atomic_compare_exchange_n(p, expected, desired, false, __ATOMIC_ACQ_REL, \
                                           __ATOMIC_ACQUIRE);                             \
    }
#endif

#if defined(WEIR_CHECKED)

#define WEIR_ATOMIC_DEFINE(bits, type)                             \
    static inline type weir_load_relaxed_u##bits(const type *p)    \
    {                                                              \
        return __atomic_load_n(p, __ATOMIC_RELAXED);               \
    }                                                              \
    static inline type weir_load_acquire_u##bits(const type *p)    \
    {                                                              \
        return __atomic_load_n(p, __ATOMIC_ACQUIRE);               \
    }                                                              \
    static inline void weir_store_relaxed_u##bits(type *p, type v) \
    {                                                              \
        __atomic_store_n(p, v, __ATOMIC_RELAXED);                  \
    }                                                              \
    static inline void weir_store_release_u##bits(type *p, type v) \
    {                                                              \
        __atomic_store_n(p, v, __ATOMIC_RELEASE);                  \
    }                                                              \
    static inline type weir_xchg_u##bits(type *p, type v)          \
    {                                                              \
        return __atomic_exchange_n(p, v, __ATOMIC_ACQ_REL);        \
    }                                                              \
    static inline type weir_fetch_add_u##bits(type *p, type v)     \
    {                                                              \
        return __atomic_fetch_add(p, v, __ATOMIC_ACQ_REL);         \
    }

#define WEIR_ATOMIC_DEFINE_BITS(bits, type)               \
    static inline void weir_or_u##bits(type *p, type v)   \
    {                                                     \
        (void)__atomic_fetch_or(p, v, __ATOMIC_ACQ_REL);  \
    }                                                     \
    static inline void weir_and_u##bits(type *p, type v)  \
    {                                                     \
        (void)__atomic_fetch_and(p, v, __ATOMIC_ACQ_REL); \
    }

static inline void weir_fence_full(void)
{
#if defined(__SANITIZE_THREAD__)
    /* gcc refuses fences under TSan. A locked operation on a word of one's own is the same barrier on x86, and hides no race. */
    uint32_t own = 0;
    (void)__atomic_fetch_add(&own, 1, __ATOMIC_SEQ_CST);
#else
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
#endif
}

static inline void weir_fence_after_rmw(void)
{
    weir_fence_full(); /* C11 promises this only with a fence */
}

/* Orders earlier loads with later loads; used where a relaxed load must not sink below another one. */
static inline void weir_fence_acquire(void)
{
#if !defined(__SANITIZE_THREAD__)
    /* gcc's TSan refuses fences; the acquire loads around it carry the order there. */
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
#endif
}

#elif defined(WEIR_UNSHARED)

#define WEIR_ATOMIC_DEFINE(bits, type)                             \
    static inline type weir_load_relaxed_u##bits(const type *p)    \
    {                                                              \
        return *p;                                                 \
    }                                                              \
    static inline type weir_load_acquire_u##bits(const type *p)    \
    {                                                              \
        return *p;                                                 \
    }                                                              \
    static inline void weir_store_relaxed_u##bits(type *p, type v) \
    {                                                              \
        *p = v;                                                    \
    }                                                              \
    static inline void weir_store_release_u##bits(type *p, type v) \
    {                                                              \
        *p = v;                                                    \
    }                                                              \
    static inline type weir_xchg_u##bits(type *p, type v)          \
    {                                                              \
        type old = *p;                                             \
        *p = v;                                                    \
        return old;                                                \
    }                                                              \
    static inline type weir_fetch_add_u##bits(type *p, type v)     \
    {                                                              \
        type old = *p;                                             \
        *p = (type)(old + v);                                      \
        return old;                                                \
    }

#define WEIR_ATOMIC_DEFINE_BITS(bits, type)              \
    static inline void weir_or_u##bits(type *p, type v)  \
    {                                                    \
        *p |= v;                                         \
    }                                                    \
    static inline void weir_and_u##bits(type *p, type v) \
    {                                                    \
        *p &= v;                                         \
    }

#define WEIR_ATOMIC_DEFINE_CAS(bits, type)                                     \
    static inline bool weir_cas_u##bits(type *p, type *expected, type desired) \
    {                                                                          \
        type seen = *p;                                                        \
        *p = seen == *expected ? desired : seen;                               \
        bool done = seen == *expected;                                         \
        *expected = seen;                                                      \
        return done;                                                           \
    }

static inline void weir_fence_full(void) {}

static inline void weir_fence_after_rmw(void) {}

static inline void weir_fence_acquire(void) {}

#else

#define WEIR_ATOMIC_DEFINE(bits, type)                             \
    static inline type weir_load_relaxed_u##bits(const type *p)    \
    {                                                              \
        return ck_pr_load_##bits(p);                               \
    }                                                              \
    static inline type weir_load_acquire_u##bits(const type *p)    \
    {                                                              \
        type v = ck_pr_load_##bits(p);                             \
        ck_pr_fence_acquire();                                     \
        return v;                                                  \
    }                                                              \
    static inline void weir_store_relaxed_u##bits(type *p, type v) \
    {                                                              \
        ck_pr_store_##bits(p, v);                                  \
    }                                                              \
    static inline void weir_store_release_u##bits(type *p, type v) \
    {                                                              \
        ck_pr_fence_release();                                     \
        ck_pr_store_##bits(p, v);                                  \
    }                                                              \
    static inline type weir_xchg_u##bits(type *p, type v)          \
    {                                                              \
        ck_pr_fence_release();                                     \
        type old = ck_pr_fas_##bits(p, v);                         \
        ck_pr_fence_acquire();                                     \
        return old;                                                \
    }                                                              \
    static inline type weir_fetch_add_u##bits(type *p, type v)     \
    {                                                              \
        ck_pr_fence_release();                                     \
        type old = ck_pr_faa_##bits(p, v);                         \
        ck_pr_fence_acquire();                                     \
        return old;                                                \
    }

#define WEIR_ATOMIC_DEFINE_BITS(bits, type)              \
    static inline void weir_or_u##bits(type *p, type v)  \
    {                                                    \
        ck_pr_fence_release();                           \
        ck_pr_or_##bits(p, v);                           \
        ck_pr_fence_acquire();                           \
    }                                                    \
    static inline void weir_and_u##bits(type *p, type v) \
    {                                                    \
        ck_pr_fence_release();                           \
        ck_pr_and_##bits(p, v);                          \
        ck_pr_fence_acquire();                           \
    }

static inline void weir_fence_full(void)
{
    ck_pr_fence_memory();
}

static inline void weir_fence_after_rmw(void)
{
    ck_pr_fence_atomic_load();
}

static inline void weir_fence_acquire(void)
{
    ck_pr_fence_acquire();
}

#endif

/*
 * Copy `bytes` of memory that somebody may be writing: each byte is one that was there at some instant of the copy, and no more is promised. Whoever calls judges the copy
 * by a sequence before and behind it (weir_cache.h). A plain copy between two barriers to the compiler, because a loop of single loads costs several times as much; words in the
 * checking build, so that ThreadSanitizer sees what it is.
 */
static inline void weir_copy_relaxed(void *to, const uint64_t *from, size_t bytes)
{
#if defined(WEIR_CHECKED)
    for (size_t at = 0; at < bytes; at += sizeof(uint64_t)) {
        uint64_t word = __atomic_load_n(&from[at / sizeof word], __ATOMIC_RELAXED);
        memcpy((char *)to + at, &word, bytes - at < sizeof word ? bytes - at : sizeof word);
    }
#else
    __asm__ volatile("" : : : "memory");
    memcpy(to, from, bytes);
    __asm__ volatile("" : : : "memory");
#endif
}

/*
 * Compare and change two words that stand side by side, 16-byte aligned: one locked instruction (cmpxchg16b), whole for readers of either. `expected` gets what
 * was seen. For corrections only: it costs more than a word's CAS, and there is no load of both. In the checking build too it is CK's: ThreadSanitizer's 16-byte
 * CAS takes a lock of its own, which the 8-byte accesses to the same words do not.
 */
#if defined(WEIR_UNSHARED)
static inline bool weir_cas_pair_u64(uint64_t p[2], uint64_t expected[2], const uint64_t desired[2])
{
    bool done = p[0] == expected[0] && p[1] == expected[1];
    expected[0] = p[0];
    expected[1] = p[1];
    p[0] = done ? desired[0] : p[0];
    p[1] = done ? desired[1] : p[1];
    return done;
}
#else
static inline bool weir_cas_pair_u64(uint64_t p[2], uint64_t expected[2], const uint64_t desired[2])
{
    uint64_t compare[2] = {expected[0], expected[1]};
    uint64_t set[2] = {desired[0], desired[1]};
    ck_pr_fence_release();
    bool done = ck_pr_cas_64_2_value(p, compare, set, expected);
    ck_pr_fence_acquire();
    return done;
}
#endif

WEIR_ATOMIC_DEFINE(8, uint8_t)
WEIR_ATOMIC_DEFINE(32, uint32_t)
WEIR_ATOMIC_DEFINE(64, uint64_t)
WEIR_ATOMIC_DEFINE_CAS(32, uint32_t)
WEIR_ATOMIC_DEFINE_CAS(64, uint64_t)
WEIR_ATOMIC_DEFINE_BITS(32, uint32_t)
WEIR_ATOMIC_DEFINE_BITS(64, uint64_t)

/*
 * Ask for a line that will be read and then changed by CAS, in one transaction between the cores instead of two. Only a hint (PREFETCHW; a
 * no-op where the CPU does not know it).
 */
static inline void weir_prefetch_write(const void *p)
{
    __asm__ volatile("prefetchw %0" : : "m"(*(const char *)p));
}

/* More in a counter of this thread's own. relaxed: statistics, and nobody else writes it. One instruction: an addition to memory. */
#if defined(WEIR_CHECKED) || defined(WEIR_UNSHARED)
static inline void weir_count_u32(uint32_t *p, uint32_t n)
{
    weir_store_relaxed_u32(p, weir_load_relaxed_u32(p) + n);
}

static inline void weir_count_u64(uint64_t *p, uint64_t n)
{
    weir_store_relaxed_u64(p, weir_load_relaxed_u64(p) + n);
}
#else
static inline void weir_count_u32(uint32_t *p, uint32_t n)
{
    __asm__ volatile("addl %1, %0" : "+m"(*p) : "ir"(n) : "cc");
}

static inline void weir_count_u64(uint64_t *p, uint64_t n)
{
    __asm__ volatile("addq %1, %0" : "+m"(*p) : "er"(n) : "cc");
}
#endif

/* One step of a spin loop: tells the core that a wait is on. */
static inline void weir_cpu_relax(void)
{
    __builtin_ia32_pause();
}

#undef WEIR_ATOMIC_DEFINE
#undef WEIR_ATOMIC_DEFINE_BITS

#endif
