/*
 * stats.h: medians of paired ratios and percentiles, nothing else.
 *
 * A pair is one slice of the floor and one slice of the subject, taken one after the other on the same cores. The ratio is judged
 * per pair, so that whatever slows the machine for a second slows both sides of the same pair; the median over the pairs then
 * ignores the pairs in which it hit one side only.
 *
 * Nothing here allocates or touches shared memory by itself; a histogram may lie in memory that one process writes and another reads
 * after the writer has stopped.
 */
#ifndef BENCH_STATS_H
#define BENCH_STATS_H

#include <stddef.h>
#include <stdint.h>

#define STATS_PAIRS_MAX 1024U

/* The verdict of DESIGN.md section 9 needs so many pairs. */
#define STATS_PAIRS_MIN 15U

struct stats_pairs {
    size_t cnt;
    double floor[STATS_PAIRS_MAX];
    double subject[STATS_PAIRS_MAX];
};

/* Note one pair; more than STATS_PAIRS_MAX are dropped, which the option parser makes impossible. */
void stats_pairs_add(struct stats_pairs *pairs, double floor, double subject);

double stats_pairs_floor(const struct stats_pairs *pairs);   /* median */
double stats_pairs_subject(const struct stats_pairs *pairs); /* median */
double stats_pairs_ratio(
    const struct stats_pairs *pairs); /* median of subject / floor, pair by pair */
double stats_pairs_best(const struct stats_pairs *pairs); /* the least subject */

/* Median of `cnt` values (the mean of the middle two for an even count); 0 for none. At most STATS_PAIRS_MAX. */
double stats_median(const double *values, size_t cnt);

/*
 * Log-linear histogram: below 64 every value has its own bucket, above it each power of two has 64. So a percentile is known to
 * 1.6 %. Values from 2^40 on are in the last bucket.
 */
#define STATS_HIST_SUB_BITS 6U
#define STATS_HIST_TOP_BITS 40U
#define STATS_HIST_BUCKETS \
    ((STATS_HIST_TOP_BITS - STATS_HIST_SUB_BITS + 1U) * (1U << STATS_HIST_SUB_BITS) + 1U)

struct stats_hist {
    uint64_t cnt;
    uint64_t bucket[STATS_HIST_BUCKETS];
};

uint32_t stats_hist_bucket(uint64_t value);
uint64_t stats_hist_edge(uint32_t bucket); /* the largest value that falls into it */
void stats_hist_add(struct stats_hist *hist, uint64_t value);
void stats_hist_merge(struct stats_hist *into, const struct stats_hist *from);

/* The value that `q` (0..1) of all do not exceed, as the bucket's upper edge: it never flatters. 0 for an empty histogram. */
double stats_hist_quantile(const struct stats_hist *hist, double q);

#endif
