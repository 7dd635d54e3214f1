/*
 * test_hedge.c: the arithmetic of hedging. Oracle: nearest rank over all that was put in, sorted anew here; the budget's own words (broker/hedge_rule.h).
 */
#include "broker/hedge_rule.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define MS WEIR_NS_PER_MS
#define S  WEIR_NS_PER_S

static struct hedge_latency l;

static int ascending(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a;
    uint64_t y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static void test_unknown(void **state)
{
    (void)state;
    memset(&l, 0, sizeof l);
    assert_int_equal(hedge_latency_ns(&l, 950000), UINT64_MAX);
    for (unsigned i = 0; i < HEDGE_SAMPLES_MIN - 1; i++) {
        hedge_latency_add(&l, 5 * MS, S);
        assert_int_equal(hedge_latency_ns(&l, 950000), UINT64_MAX);
    }
    hedge_latency_add(&l, 5 * MS, S);
    assert_true(hedge_latency_ns(&l, 950000) >= 5 * MS);
    assert_true(hedge_latency_ns(&l, 950000) <= 5 * MS * 9 / 8 + 1);
}

/* Never earlier than the percentile, and by an eighth later at most. */
static void test_percentile(void **state)
{
    (void)state;
    static uint64_t all[5000];
    srandom(20261122);
    for (unsigned run = 0; run < 50; run++) {
        unsigned cnt = HEDGE_SAMPLES_MIN + (unsigned)random() % (WEIR_ARRAY_CNT(all) - 20);
        memset(&l, 0, sizeof l);
        for (unsigned i = 0; i < cnt; i++) {
            all[i] = 2000U + (uint64_t)random() % (1U << (10 + random() % 20));
            hedge_latency_add(&l, all[i], S);
        }
        qsort(all, cnt, sizeof all[0], ascending);
        for (uint32_t percent = 50; percent < 100; percent += 7) {
            uint64_t want = all[(cnt * percent + 99) / 100 - 1];
            uint64_t got = hedge_latency_ns(&l, percent * 10000);
            assert_true(got >= want);
            assert_true(got <= want + want / 8 + 1);
        }
    }
}

/* What is older than three slices counts no more; a quiet route keeps what it has. */
static void test_of_late(void **state)
{
    (void)state;
    uint64_t now = S;
    memset(&l, 0, sizeof l);
    for (unsigned i = 0; i < 1000; i++) {
        hedge_latency_add(&l, S, now);
    }
    for (unsigned i = 0; i < 5; i++, now += 60 * S) {
        hedge_latency_add(&l, MS, now); /* one a minute: hours of it end no slice of 20 */
    }
    assert_true(hedge_latency_ns(&l, 950000) >= S);
    for (unsigned i = 0; i < 41 * 60; i++, now += S / 2) {
        hedge_latency_add(&l, MS, now);
    }
    assert_true(hedge_latency_ns(&l, 990000) < 2 * MS);
}

/* Those that were stopped count as waiting longer, so hedges that win do not pull the percentile down: it stays where it was. */
static void test_stopped(void **state)
{
    (void)state;
    uint64_t now = S;
    memset(&l, 0, sizeof l);
    uint64_t late = UINT64_MAX;
    srandom(7);
    for (unsigned i = 0; i < 200000; i++, now += 10 * MS) {
        /* one in ten takes a second, the others 5 to 10 ms */
        uint64_t took = random() % 10 == 0 ? S : 5 * MS + (uint64_t)random() % (5 * MS);
        hedge_latency_add(&l, took > late ? late + MS : took, now);
        late = i % 10 == 0 ? hedge_latency_ns(&l, 850000) : late;
    }
    assert_true(late >= 9 * MS && late <= 12 * MS);
}

static void test_budget(void **state)
{
    (void)state;
    static const uint64_t budgets_ppm[] = {1000, 50000, 333333, 500000};
    srandom(20261122);
    for (size_t k = 0; k < WEIR_ARRAY_CNT(budgets_ppm); k++) {
        struct hedge_budget b = {0};
        uint64_t calls = 0;
        uint64_t hedges = 0;
        int64_t sum = 0;
        int64_t least = 0;
        assert_false(hedge_budget_has(&b));
        for (unsigned i = 0; i < 100000; i++) {
            if ((i / 1000) % 2 == 0 || random() % 2 == 0) {
                hedge_budget_call(&b, budgets_ppm[k]);
                calls++;
                sum -= (int64_t)budgets_ppm[k];
                least = sum < least ? sum : least;
            } else if (hedge_budget_has(&b)) {
                hedge_budget_take(&b);
                hedges++;
                sum += 1000000;
                assert_true(hedges * 1000000 <= calls * budgets_ppm[k]); /* of all so far */
                assert_true(sum - least <= (int64_t)HEDGE_RESERVE * 1000000);
            }
        }
        assert_true(hedges > 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_unknown), cmocka_unit_test(test_percentile),
        cmocka_unit_test(test_of_late), cmocka_unit_test(test_stopped),
        cmocka_unit_test(test_budget),
    };
    return cmocka_run_group_tests_name("hedge", tests, NULL, NULL);
}
