#include "weir_clock.h"

#include <cpuid.h>
#include <stdio.h>
#include <string.h>

/* A larger error than this is a step (suspend, a debugger, a migrated guest): slewing it would bend the rate too far. */
#define SLEW_MAX_NS (WEIR_NS_PER_MS)

void weir_clock_init(struct weir_clock *clock, const struct weir_shm_clock *shm,
                     int64_t namespace_offset_ns)
{
    *clock = (struct weir_clock){
        .shm = shm, .seq = UINT64_MAX, .namespace_offset_ns = namespace_offset_ns};
}

uint64_t weir_clock_now_slow(struct weir_clock *clock)
{
    uint64_t value[WEIR_CLOCK_ANCHOR_WORDS];
    uint64_t seq;
    if (clock->shm != NULL && weir_load_acquire_u64(&clock->shm->seq) != 0 && /* pair:latch A */
        weir_latch_read(&clock->shm->seq, clock->shm->anchor, value, WEIR_CLOCK_ANCHOR_WORDS,
                        &seq)) {
        struct weir_clock_anchor a = {.tsc = value[0], .ns = value[1], .mult_q32 = value[2]};
        uint64_t ticks = weir_clock_ticks() - a.tsc;
        uint64_t ticks_max = 0;
        if (a.mult_q32 != 0) {
            ticks_max =
                (uint64_t)(((unsigned __int128)WEIR_CLOCK_ANCHOR_MAX_NS << 32) / a.mult_q32);
        }
        clock->anchor = a;
        clock->anchor_ticks_max = ticks_max;
        clock->seq = seq;
        if (ticks < ticks_max) {
            return a.ns + (uint64_t)(((unsigned __int128)ticks * a.mult_q32) >> 32);
        }
        if ((int64_t)ticks < 0 && (int64_t)ticks > -(int64_t)ticks_max) {
            return a.ns; /* this core's TSC is a few ticks behind the worker's: now is the anchor */
        }
    }
    return weir_clock_monotonic_ns() + (uint64_t)clock->namespace_offset_ns;
}

bool weir_clock_tsc_usable(void)
{
    unsigned a, b, c, d;
    if ((unsigned)__get_cpuid_max(0x80000000U, NULL) < 0x80000007U) {
        return false;
    }
    __cpuid(0x80000007U, a, b, c, d);
    bool invariant =
        (d & (1U << 8)) != 0; /* Intel SDM vol. 3, 17.17.1; AMD APM vol. 3, Fn8000_0007 EDX */
    char list[256] = "";
    FILE *f = fopen("/sys/devices/system/clocksource/clocksource0/available_clocksource", "re");
    if (f != NULL) {
        if (fgets(list, sizeof list, f) == NULL) {
            list[0] = '\0';
        }
        (void)fclose(f);
    }
    /* The kernel takes "tsc" off this list when its watchdog finds it unstable. */
    return invariant && strstr(list, "tsc") != NULL;
}

void weir_clock_source_init(struct weir_clock_source *source, bool tsc_usable)
{
    *source = (struct weir_clock_source){.tsc_usable = tsc_usable};
}

struct weir_clock_anchor weir_clock_anchor_next(struct weir_clock_source *source, uint64_t tsc,
                                                uint64_t ns)
{
    struct weir_clock_anchor next = {.tsc = tsc, .ns = ns, .mult_q32 = 0};
    if (!source->tsc_usable || tsc <= source->base_tsc || source->base_tsc == 0) {
        return next;
    }
    /* Rate over the whole time since the first pair: the noise of one reading fades as the baseline grows. */
    uint64_t rate_q32 =
        (uint64_t)(((unsigned __int128)(ns - source->base_ns) << 32) / (tsc - source->base_tsc));
    next.mult_q32 = rate_q32;
    if (source->primed && source->last.mult_q32 != 0) {
        uint64_t shown =
            source->last.ns +
            (uint64_t)(((unsigned __int128)(tsc - source->last.tsc) * source->last.mult_q32) >> 32);
        int64_t ahead_ns = (int64_t)(shown - ns);
        if (ahead_ns < (int64_t)SLEW_MAX_NS && ahead_ns > -(int64_t)SLEW_MAX_NS) {
            next.ns =
                shown; /* go on where readers stand, and lose the error over the next second */
            int64_t bend = (int64_t)(((__int128)rate_q32 * ahead_ns) / (int64_t)WEIR_NS_PER_S);
            next.mult_q32 = (uint64_t)((int64_t)rate_q32 - bend);
        }
    }
    return next;
}

/* A {tsc, ns} pair read as close together as this core allows: the best of a few tries. */
static void pair_read(uint64_t *tsc, uint64_t *ns)
{
    uint64_t best = UINT64_MAX;
    for (int i = 0; i < 8; i++) {
        uint64_t t0 = weir_clock_ticks();
        uint64_t n = weir_clock_monotonic_ns();
        uint64_t t1 = weir_clock_ticks();
        if (t1 - t0 < best) {
            best = t1 - t0;
            *tsc = t0 + (t1 - t0) / 2;
            *ns = n;
        }
    }
}

void weir_clock_anchor_publish(struct weir_clock_source *source, struct weir_shm_clock *shm)
{
    uint64_t tsc = 0;
    uint64_t ns = 0;
    pair_read(&tsc, &ns);
    struct weir_clock_anchor next = weir_clock_anchor_next(source, tsc, ns);
    if (source->base_tsc == 0) {
        source->base_tsc = tsc;
        source->base_ns = ns;
    }
    const uint64_t value[WEIR_CLOCK_ANCHOR_WORDS] = {next.tsc, next.ns, next.mult_q32};
    weir_latch_write(&shm->seq, shm->anchor, value, WEIR_CLOCK_ANCHOR_WORDS);
    source->last = next;
    source->primed = true;
}
