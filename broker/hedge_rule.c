#include "broker/hedge_rule.h"

#include <string.h>

#define WHOLE_PPM UINT64_C(1000000)

void hedge_latency_add(struct hedge_latency *l, uint64_t waited_ns, uint64_t now_ns)
{
    if (l->total[l->slice] >= HEDGE_SAMPLES_MIN && now_ns >= l->since_ns + HEDGE_SLICE_NS) {
        l->slice = (l->slice + 1) % HEDGE_SLICES;
        memset(l->count[l->slice], 0, sizeof l->count[l->slice]);
        l->total[l->slice] = 0;
        l->since_ns = now_ns;
    }
    l->count[l->slice][weir_histogram_bucket(waited_ns)]++;
    l->total[l->slice]++;
}

uint64_t hedge_latency_ns(const struct hedge_latency *l, uint32_t ppm)
{
    uint64_t total = 0;
    for (uint32_t s = 0; s < HEDGE_SLICES; s++) {
        total += l->total[s];
    }
    if (total < HEDGE_SAMPLES_MIN) {
        return UINT64_MAX;
    }
    uint64_t rank = (total * ppm + WHOLE_PPM - 1) / WHOLE_PPM;
    uint64_t seen = 0;
    for (uint32_t i = 0; i < WEIR_HISTOGRAM_BUCKETS; i++) {
        for (uint32_t s = 0; s < HEDGE_SLICES; s++) {
            seen += l->count[s][i];
        }
        if (seen >= rank) {
            return weir_histogram_edge_ns(i);
        }
    }
    return UINT64_MAX;
}

void hedge_budget_call(struct hedge_budget *b, uint64_t budget_ppm)
{
    b->saved_ppm = weir_min_u64(b->saved_ppm + budget_ppm, HEDGE_RESERVE * WHOLE_PPM);
}

bool hedge_budget_has(const struct hedge_budget *b)
{
    return b->saved_ppm >= WHOLE_PPM;
}

void hedge_budget_take(struct hedge_budget *b)
{
    b->saved_ppm -= weir_min_u64(b->saved_ppm, WHOLE_PPM);
}
