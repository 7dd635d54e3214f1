/*
 * dst_points.h: a point at each access that other processes can see.
 *
 * The build of weir-dst includes this before every source of shm/, broker/ and libclient/. It needs nothing of them: each function of
 * the atomics' door becomes a macro of the same name that passes a point first. At a point the scheduler may let another process run, stop
 * this one for a while, or kill it, so a seed decides between which two stores a worker dies.
 */
#ifndef DST_POINTS_H
#define DST_POINTS_H

#include "shm/weir_atomic.h"

extern long dst_fuse;
void dst_point_slow(void);

static inline void dst_point(void)
{
    if (__builtin_expect(--dst_fuse <= 0, 0)) {
        dst_point_slow();
    }
}

#define weir_store_relaxed_u32(...) (dst_point(), weir_store_relaxed_u32(__VA_ARGS__))
#define weir_store_release_u32(...) (dst_point(), weir_store_release_u32(__VA_ARGS__))
#define weir_load_acquire_u32(...)  (dst_point(), weir_load_acquire_u32(__VA_ARGS__))
#define weir_cas_u32(...)           (dst_point(), weir_cas_u32(__VA_ARGS__))
#define weir_xchg_u32(...)          (dst_point(), weir_xchg_u32(__VA_ARGS__))
#define weir_fetch_add_u32(...)     (dst_point(), weir_fetch_add_u32(__VA_ARGS__))
#define weir_or_u32(...)            (dst_point(), weir_or_u32(__VA_ARGS__))
#define weir_and_u32(...)           (dst_point(), weir_and_u32(__VA_ARGS__))
#define weir_store_relaxed_u64(...) (dst_point(), weir_store_relaxed_u64(__VA_ARGS__))
#define weir_store_release_u64(...) (dst_point(), weir_store_release_u64(__VA_ARGS__))
#define weir_load_acquire_u64(...)  (dst_point(), weir_load_acquire_u64(__VA_ARGS__))
#define weir_cas_u64(...)           (dst_point(), weir_cas_u64(__VA_ARGS__))
#define weir_xchg_u64(...)          (dst_point(), weir_xchg_u64(__VA_ARGS__))
#define weir_fetch_add_u64(...)     (dst_point(), weir_fetch_add_u64(__VA_ARGS__))
#define weir_or_u64(...)            (dst_point(), weir_or_u64(__VA_ARGS__))
#define weir_and_u64(...)           (dst_point(), weir_and_u64(__VA_ARGS__))
#define weir_fence_full()           (dst_point(), weir_fence_full())
#define weir_cpu_relax()            (dst_point(), weir_cpu_relax())

#endif
