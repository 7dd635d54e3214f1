#include "broker/clock_spread.h"

#include "shm/weir_base.h"

#define FRESH        16U /* the weight of one answer; four halvings until it is forgotten */
#define FIRST_OCTAVE 16U /* 2^16 ns: about 64 us */
#define HALF_LIFE_NS (60 * WEIR_NS_PER_S)

static uint32_t bucket_of(uint64_t ns)
{
    if (ns < UINT64_C(1) << FIRST_OCTAVE) {
        return 0;
    }
    uint32_t octave = 63U - (uint32_t)__builtin_clzll(ns);
    uint32_t part = (uint32_t)(ns >> (octave - 3U)) & 7U;
    return (uint32_t)weir_min_u64((octave - FIRST_OCTAVE) * 8U + part, CLOCK_SPREAD_BUCKETS - 1U);
}

static uint64_t upper_edge_ns(uint32_t bucket)
{
    uint32_t octave = FIRST_OCTAVE + bucket / 8U;
    return (UINT64_C(9) + bucket % 8U) << (octave - 3U);
}

static void halve(struct clock_spread *s, uint64_t now_ns)
{
    uint64_t age_ns = now_ns > s->halved_at_ns ? now_ns - s->halved_at_ns : 0;
    uint32_t times = (uint32_t)weir_min_u64(age_ns / HALF_LIFE_NS, 31);
    if (times == 0) {
        return;
    }
    s->halved_at_ns = now_ns;
    s->total = 0;
    for (uint32_t i = 0; i < CLOCK_SPREAD_BUCKETS; i++) {
        s->weight[i] >>= times;
        s->total += s->weight[i];
    }
}

void clock_spread_add(struct clock_spread *s, uint64_t round_ns, uint64_t now_ns)
{
    if (s->halved_at_ns == 0) {
        s->halved_at_ns = now_ns;
    }
    halve(s, now_ns);
    uint32_t *weight = &s->weight[bucket_of(round_ns)];
    if (*weight < UINT32_MAX - FRESH) {
        *weight += FRESH;
        s->total += FRESH;
    }
}

uint64_t clock_spread_quantile_ns(const struct clock_spread *s)
{
    /* More than one fresh answer, and more than one in a thousand, must have been as slow. */
    uint64_t above = weir_max_u64(FRESH + 1U, s->total / 1000U + 1U);
    uint64_t sum = 0;
    for (uint32_t i = CLOCK_SPREAD_BUCKETS; i-- > 0;) {
        sum += s->weight[i];
        if (sum >= above) {
            return upper_edge_ns(i);
        }
    }
    return 0;
}

void clock_spread_go_on(struct clock_spread *s, uint64_t jitter_ns, uint64_t max_jitter_ns,
                        uint64_t now_ns)
{
    if (jitter_ns > max_jitter_ns) {
        uint64_t round_ns = jitter_ns - max_jitter_ns / 2 - 1; /* below the edge that it was */
        clock_spread_add(s, round_ns, now_ns);
        clock_spread_add(s, round_ns, now_ns);
    }
}

uint64_t clock_spread_jitter_ns(const struct clock_spread *s, uint64_t max_jitter_ns)
{
    uint64_t seen_ns = max_jitter_ns / 2 + clock_spread_quantile_ns(s);
    return weir_min_u64(weir_max_u64(max_jitter_ns, seen_ns), CLOCK_JITTER_MAX_NS);
}
