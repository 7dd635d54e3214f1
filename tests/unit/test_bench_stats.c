/*
 * test_bench_stats.c: the arithmetic by which weir-bench judges. A wrong median would pass or fail a budget unseen.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "bench/stats.h"

static void test_median(void **state)
{
    (void)state;
    const double odd[] = {9, 1, 5};
    const double even[] = {4, 1, 3, 2};
    assert_true(stats_median(odd, 3) == 5);
    assert_true(stats_median(even, 4) == 2.5);
    assert_true(stats_median(odd, 1) == 9);
    assert_true(stats_median(odd, 0) == 0);
}

/* A disturbance that slows one whole pair tenfold moves neither the ratio nor the median. */
static void test_pairs_ignore_noise(void **state)
{
    (void)state;
    static struct stats_pairs pairs;
    memset(&pairs, 0, sizeof(pairs));
    for (int i = 0; i < 15; i++) {
        double slow = i % 4 == 0 ? 10 : 1;
        stats_pairs_add(&pairs, 10 * slow, 20 * slow);
    }
    assert_int_equal(pairs.cnt, 15);
    assert_true(stats_pairs_ratio(&pairs) == 2);
    assert_true(stats_pairs_floor(&pairs) == 10);
    assert_true(stats_pairs_subject(&pairs) == 20);
    assert_true(stats_pairs_best(&pairs) == 20);
}

/* The ratio is the median of ratios, not the ratio of medians. */
static void test_pairs_ratio_is_paired(void **state)
{
    (void)state;
    static struct stats_pairs pairs;
    memset(&pairs, 0, sizeof(pairs));
    stats_pairs_add(&pairs, 1, 3);
    stats_pairs_add(&pairs, 10, 20);
    stats_pairs_add(&pairs, 100, 100);
    assert_true(stats_pairs_ratio(&pairs) == 2);
}

static void test_pairs_full(void **state)
{
    (void)state;
    static struct stats_pairs pairs;
    memset(&pairs, 0, sizeof(pairs));
    for (unsigned i = 0; i < STATS_PAIRS_MAX + 5; i++) {
        stats_pairs_add(&pairs, 1, 1);
    }
    assert_int_equal(pairs.cnt, STATS_PAIRS_MAX);
    assert_true(stats_pairs_ratio(&pairs) == 1);
}

/* Buckets grow without gaps, every value lies at or below its edge, and the edge is at most 1.6 % above it. */
static void test_hist_buckets(void **state)
{
    (void)state;
    uint32_t before = 0;
    for (uint64_t value = 0; value < (UINT64_C(1) << 41); value += 1 + value / 200) {
        uint32_t bucket = stats_hist_bucket(value);
        assert_true(bucket == before || bucket == before + 1);
        assert_true(bucket < STATS_HIST_BUCKETS);
        if (value < (UINT64_C(1) << STATS_HIST_TOP_BITS)) {
            assert_true(stats_hist_edge(bucket) >= value);
            assert_true((double)stats_hist_edge(bucket) <= (double)value * 1.016);
        }
        before = bucket;
    }
    assert_int_equal(stats_hist_bucket(UINT64_MAX), STATS_HIST_BUCKETS - 1);
    assert_int_equal(stats_hist_bucket((UINT64_C(1) << STATS_HIST_TOP_BITS) - 1),
                     STATS_HIST_BUCKETS - 2);
}

static void test_hist_quantile(void **state)
{
    (void)state;
    static struct stats_hist one;
    static struct stats_hist both;
    memset(&one, 0, sizeof(one));
    memset(&both, 0, sizeof(both));
    assert_true(stats_hist_quantile(&one, 0.5) == 0);
    for (uint64_t i = 0; i < 999; i++) {
        stats_hist_add(&one, 10);
    }
    stats_hist_merge(&both, &one);
    stats_hist_add(&both, 50);
    assert_int_equal(both.cnt, 1000);
    assert_true(stats_hist_quantile(&both, 0.5) == 10);
    assert_true(stats_hist_quantile(&both, 0.999) == 10);
    assert_true(stats_hist_quantile(&both, 1) == 50);
    assert_true(stats_hist_quantile(&both, 0) == 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_median),
        cmocka_unit_test(test_pairs_ignore_noise),
        cmocka_unit_test(test_pairs_ratio_is_paired),
        cmocka_unit_test(test_pairs_full),
        cmocka_unit_test(test_hist_buckets),
        cmocka_unit_test(test_hist_quantile),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
