/*
 * weir_clock.h: weir time, one timeline for every process.
 *
 * Weir time is the broker's CLOCK_MONOTONIC in nanoseconds. Reading it through the vDSO costs about 25 ns, reading the TSC 10 ns,
 * so the worker writes an anchor {tsc, ns, mult} to the board once a second and readers interpolate. The TSC is never a
 * timeline of its own: an anchor that is missing, older than WEIR_CLOCK_ANCHOR_MAX_NS, or marked unusable (mult 0: the TSC is
 * not invariant, or the kernel does not trust it) means clock_gettime, plus the offset of this process' time namespace.
 *
 *   writer   the worker, once a second (weir_clock_anchor_publish)
 *   readers  every process, each through its own struct weir_clock
 *   worker dies   readers go on with the last anchor, then with clock_gettime: same timeline, a few ns dearer
 *
 * The worker slews: each new anchor starts where the old one stands now and bends the rate so that the error is gone a
 * second later. So time does not step back for a reader that stays on one core; across cores the TSC's own skew (tens of ns)
 * remains. Every rule that compares instants allows for it.
 */
#ifndef WEIR_CLOCK_H
#define WEIR_CLOCK_H

#include "weir_latch.h"

#include <time.h>

/* An anchor older than this is not interpolated: with 1 ppm of rate error it is wrong by 10 us. */
#define WEIR_CLOCK_ANCHOR_MAX_NS (10 * WEIR_NS_PER_S)

/* The value behind the latch: three words. */
struct weir_clock_anchor {
    uint64_t tsc;
    uint64_t ns;
    uint64_t mult_q32; /* ns per tick, as 32.32 fixed point; 0 = do not use the TSC */
};
#define WEIR_CLOCK_ANCHOR_WORDS 3

/* On the board: one line, written by the worker. */
struct weir_shm_clock {
    uint64_t seq;
    uint64_t anchor[2 * WEIR_CLOCK_ANCHOR_WORDS];
    uint64_t reserved[9];
} WEIR_ALIGN_LINE;

/* One reader. Private to a thread; small enough to be copied. */
struct weir_clock {
    const struct weir_shm_clock
        *shm; /* NULL: clock_gettime always (the worker before its first anchor, tests) */
    uint64_t anchor_ticks_max; /* WEIR_CLOCK_ANCHOR_MAX_NS in ticks, from the cached anchor */
    uint64_t seq;              /* the sequence of the cached anchor; UINT64_MAX = none cached */
    struct weir_clock_anchor anchor;
    int64_t namespace_offset_ns; /* broker's CLOCK_MONOTONIC minus this process' */
};

static inline uint64_t weir_clock_monotonic_ns(void)
{
    struct timespec ts;
    (void)clock_gettime(CLOCK_MONOTONIC, &ts); /* cannot fail with a constant clock id */
    return (uint64_t)ts.tv_sec * WEIR_NS_PER_S + (uint64_t)ts.tv_nsec;
}

static inline uint64_t weir_clock_realtime_ns(void)
{
    struct timespec ts;
    (void)clock_gettime(CLOCK_REALTIME, &ts);
    return (uint64_t)ts.tv_sec * WEIR_NS_PER_S + (uint64_t)ts.tv_nsec;
}

static inline uint64_t weir_clock_ticks(void)
{
    return __builtin_ia32_rdtsc();
}

/* Start a reader. `namespace_offset_ns` is 0 unless attach measured another time namespace. */
void weir_clock_init(struct weir_clock *clock, const struct weir_shm_clock *shm,
                     int64_t namespace_offset_ns);

/* The slow path of weir_clock_now: caches a new anchor, or answers by clock_gettime. */
uint64_t weir_clock_now_slow(struct weir_clock *clock);

/* The fast half of weir_clock_now: false where the cached anchor does not hold. Cost: rdtsc, one load, one multiplication. */
static inline bool weir_clock_now_fast(const struct weir_clock *clock, uint64_t *now_ns)
{
    if (WEIR_UNLIKELY(clock->shm == NULL)) {
        return false;
    }
    uint64_t ticks = weir_clock_ticks() - clock->anchor.tsc;
    *now_ns =
        clock->anchor.ns + (uint64_t)(((unsigned __int128)ticks * clock->anchor.mult_q32) >> 32);
    /* relaxed: a stale sequence only means one more reading by the old anchor, which is still right */
    return WEIR_LIKELY(weir_load_relaxed_u64(&clock->shm->seq) == clock->seq) &&
           WEIR_LIKELY(ticks < clock->anchor_ticks_max);
}

/* Weir time now. Caller: the thread that owns `clock`. */
static inline uint64_t weir_clock_now(struct weir_clock *clock)
{
    uint64_t now_ns;
    return WEIR_LIKELY(weir_clock_now_fast(clock, &now_ns)) ? now_ns : weir_clock_now_slow(clock);
}

/*
 * Virtual time: the reader stands at `now_ns` until it is set again. `clock->shm` must be a line that nobody publishes to. For replays and tests; weir_clock_now
 * runs as in production.
 */
static inline void weir_clock_stand(struct weir_clock *clock, uint64_t now_ns)
{
    clock->anchor = (struct weir_clock_anchor){.ns = now_ns}; /* at rate 0 */
    clock->anchor_ticks_max = UINT64_MAX;
    clock->seq = 0; /* that of a line never published */
}

/* The worker's side: private state from which anchors are made. */
struct weir_clock_source {
    bool tsc_usable;
    bool primed;                   /* an anchor has been published */
    struct weir_clock_anchor last; /* what was published last */
    uint64_t base_tsc;             /* first pair seen, for a rate over a long baseline */
    uint64_t base_ns;
};

/* May the TSC be used? Asks the CPU (invariant) and the kernel (still among its clocksources). */
bool weir_clock_tsc_usable(void);

void weir_clock_source_init(struct weir_clock_source *source, bool tsc_usable);

/* Take a {tsc, ns} pair and publish the next anchor. Caller: the worker, about once a second. */
void weir_clock_anchor_publish(struct weir_clock_source *source, struct weir_shm_clock *shm);

/* Pure part, for tests: the anchor that follows `last` when the clocks read (tsc, ns). */
struct weir_clock_anchor weir_clock_anchor_next(struct weir_clock_source *source, uint64_t tsc,
                                                uint64_t ns);

#endif
