/*
 * test_retry.c: the arithmetic of trying again. Oracle: the rule's own words (broker/retry.h), counted anew here.
 */
#include "broker/backoff.h"
#include "broker/retry_rule.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define S WEIR_NS_PER_S

static const struct weir_config_retry usual = {.attempt_max = 3,
                                               .base_ns = 1 * S,
                                               .factor = 2,
                                               .jitter_ppm = 250000,
                                               .max_ns = 300 * S,
                                               .budget_ppm = 200000};

static void test_status(void **state)
{
    (void)state;
    static const uint32_t again[] = {408, 500, 502, 503, 504};
    for (uint32_t status = 0; status < 1000; status++) {
        bool want = false;
        for (size_t i = 0; i < WEIR_ARRAY_CNT(again); i++) {
            want |= status == again[i];
        }
        assert_int_equal(retry_status(status, false), want);
        assert_true(retry_status(status, true));
    }
}

static void test_wait(void **state)
{
    (void)state;
    uint64_t nominal_ns = 1 * S;
    for (uint32_t attempt = 1; attempt < 20; attempt++) {
        uint64_t low = retry_wait_ns(&usual, attempt, 0, 0);
        uint64_t high = retry_wait_ns(&usual, attempt, 0, UINT64_MAX);
        assert_int_equal(low, nominal_ns - nominal_ns / 4);
        assert_int_equal(high, nominal_ns + nominal_ns / 4 < 300 * S ? nominal_ns + nominal_ns / 4
                                                                     : 300 * S);
        nominal_ns = nominal_ns * 2 < 300 * S ? nominal_ns * 2 : 300 * S;
    }
    /* What the answer names is the least, and no bound of ours makes it shorter. */
    assert_int_equal(retry_wait_ns(&usual, 1, 7 * S, 0), 7 * S);
    assert_int_equal(retry_wait_ns(&usual, 1, 4000 * S, 0), 4000 * S);
    assert_int_equal(retry_wait_ns(&usual, 4, 1, 0), 6 * S);
}

/* Of any n calls in a row at most budget * n + RETRY_RESERVE are tried again, however they are spread. */
static void test_budget(void **state)
{
    (void)state;
    static const uint64_t budgets_ppm[] = {0, 1, 1000, 200000, 333333, 1000000};
    srandom(20261122);
    for (size_t k = 0; k < WEIR_ARRAY_CNT(budgets_ppm); k++) {
        struct retry_budget b;
        uint64_t base = 0; /* the least of retries - budget * calls so far, in millionths */
        int64_t sum = 0;
        int64_t least = 0;
        retry_budget_open(&b);
        for (unsigned i = 0; i < 100000; i++) {
            /* quiet stretches, in which credit heaps up, and storms */
            if ((i / 1000) % 2 == 0 || random() % 2 == 0) {
                retry_budget_call(&b, budgets_ppm[k]);
                sum -= (int64_t)budgets_ppm[k];
                least = sum < least ? sum : least;
            } else if (retry_budget_take(&b)) {
                sum += BACKOFF_WHOLE_PPM;
                base++;
                assert_true(sum - least <= (int64_t)RETRY_RESERVE * BACKOFF_WHOLE_PPM);
            }
        }
        assert_true(base >= RETRY_RESERVE); /* and it is not stingier than that */
        assert_true(budgets_ppm[k] < 200000 || base > 5000);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_status),
        cmocka_unit_test(test_wait),
        cmocka_unit_test(test_budget),
    };
    return cmocka_run_group_tests_name("retry", tests, NULL, NULL);
}
