#include "stats.h"

#include <stdlib.h>
#include <string.h>

void stats_pairs_add(struct stats_pairs *pairs, double floor, double subject)
{
    if (pairs->cnt < STATS_PAIRS_MAX) {
        pairs->floor[pairs->cnt] = floor;
        pairs->subject[pairs->cnt] = subject;
        pairs->cnt++;
    }
}

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return (x > y) - (x < y);
}

double stats_median(const double *values, size_t cnt)
{
    double sorted[STATS_PAIRS_MAX];
    if (cnt == 0 || cnt > STATS_PAIRS_MAX) {
        return 0;
    }
    memcpy(sorted, values, cnt * sizeof(sorted[0]));
    qsort(sorted, cnt, sizeof(sorted[0]), compare_doubles);
    size_t mid = cnt / 2;
    return cnt % 2 ? sorted[mid] : (sorted[mid - 1] + sorted[mid]) / 2;
}

double stats_pairs_floor(const struct stats_pairs *pairs)
{
    return stats_median(pairs->floor, pairs->cnt);
}

double stats_pairs_subject(const struct stats_pairs *pairs)
{
    return stats_median(pairs->subject, pairs->cnt);
}

double stats_pairs_ratio(const struct stats_pairs *pairs)
{
    double ratio[STATS_PAIRS_MAX];
    size_t cnt = 0;
    for (size_t i = 0; i < pairs->cnt; i++) {
        if (pairs->floor[i] > 0) {
            ratio[cnt++] = pairs->subject[i] / pairs->floor[i];
        }
    }
    return stats_median(ratio, cnt);
}

double stats_pairs_best(const struct stats_pairs *pairs)
{
    double best = pairs->cnt ? pairs->subject[0] : 0;
    for (size_t i = 1; i < pairs->cnt; i++) {
        best = pairs->subject[i] < best ? pairs->subject[i] : best;
    }
    return best;
}

uint32_t stats_hist_bucket(uint64_t value)
{
    const uint32_t sub = 1U << STATS_HIST_SUB_BITS;
    if (value < sub) {
        return (uint32_t)value;
    }
    if (value >> STATS_HIST_TOP_BITS) {
        return STATS_HIST_BUCKETS - 1;
    }
    uint32_t top = 63U - (uint32_t)__builtin_clzll(value);
    uint32_t shift = top - STATS_HIST_SUB_BITS;
    return (shift + 1) * sub + (uint32_t)(value >> shift) - sub;
}

uint64_t stats_hist_edge(uint32_t bucket)
{
    const uint32_t sub = 1U << STATS_HIST_SUB_BITS;
    if (bucket < sub) {
        return bucket;
    }
    if (bucket >= STATS_HIST_BUCKETS - 1) {
        return UINT64_C(1) << STATS_HIST_TOP_BITS;
    }
    uint32_t shift = bucket / sub - 1;
    uint64_t part = bucket % sub + sub;
    return ((part + 1) << shift) - 1;
}

void stats_hist_add(struct stats_hist *hist, uint64_t value)
{
    hist->cnt++;
    hist->bucket[stats_hist_bucket(value)]++;
}

void stats_hist_merge(struct stats_hist *into, const struct stats_hist *from)
{
    into->cnt += from->cnt;
    for (uint32_t i = 0; i < STATS_HIST_BUCKETS; i++) {
        into->bucket[i] += from->bucket[i];
    }
}

double stats_hist_quantile(const struct stats_hist *hist, double q)
{
    if (hist->cnt == 0) {
        return 0;
    }
    double wanted = q * (double)hist->cnt;
    uint64_t seen = 0;
    for (uint32_t i = 0; i < STATS_HIST_BUCKETS; i++) {
        seen += hist->bucket[i];
        if (seen > 0 && (double)seen >= wanted) {
            return (double)stats_hist_edge(i);
        }
    }
    return (double)stats_hist_edge(STATS_HIST_BUCKETS - 1);
}
