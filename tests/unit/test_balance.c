/*
 * test_balance.c: who takes the next call. Oracle: the rules at the top of broker/balance.h; nginx' own example for the smooth form; for two choices the
 * counts of a long seeded run.
 */
#include "broker/balance.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static int64_t current[8];
static struct balance_candidate c[8];
static struct balance_state state;
static uint64_t seed;

static void fresh(uint32_t cnt)
{
    memset(current, 0, sizeof current);
    memset(&state, 0, sizeof state);
    seed = UINT64_C(20261122);
    for (uint32_t i = 0; i < cnt; i++) {
        c[i] = (struct balance_candidate){
            .place = i, .weight = 1000, .score = 1000, .current = &current[i]};
    }
}

static uint32_t pick(enum weir_balance kind, uint32_t cnt)
{
    return balance_pick(kind, &state, c, cnt, &seed);
}

/* "abca" for a, b, c, a */
static void expect(enum weir_balance kind, uint32_t cnt, const char *order)
{
    char got[32] = "";
    for (size_t i = 0; i < strlen(order); i++) {
        got[i] = (char)('a' + (char)c[pick(kind, cnt)].place);
    }
    assert_string_equal(got, order);
}

static void test_failover(void **s)
{
    (void)s;
    fresh(3);
    expect(WEIR_BALANCE_FAILOVER, 3, "aaaa");
}

static void test_round_robin(void **s)
{
    (void)s;
    fresh(3);
    expect(WEIR_BALANCE_ROUND_ROBIN, 3, "abcabca");
    c[0] = c[2]; /* "a" is out: its turn is nobody's */
    c[1].place = 1;
    struct balance_candidate swap = c[0];
    c[0] = c[1];
    c[1] = swap;
    expect(WEIR_BALANCE_ROUND_ROBIN, 2, "bcbc");
}

static void test_smooth(void **s)
{
    (void)s;
    fresh(3);
    c[0].weight = 5000;
    expect(WEIR_BALANCE_WEIGHTED_ROUND_ROBIN, 3, "aabacaaaabacaa");
    fresh(2);
    c[1].weight = 100; /* slow start */
    unsigned b = 0;
    for (unsigned i = 0; i < 1100; i++) {
        b += pick(WEIR_BALANCE_WEIGHTED_ROUND_ROBIN, 2);
    }
    assert_int_equal(b, 100);
}

static void test_least_latency(void **s)
{
    (void)s;
    fresh(3);
    c[0].latency_ns = 9e6;
    c[1].latency_ns = 3e6;
    c[2].latency_ns = 5e6;
    expect(WEIR_BALANCE_LEAST_LATENCY, 3, "bbb");
    c[1].in_flight = 1; /* 6 against 5 */
    expect(WEIR_BALANCE_LEAST_LATENCY, 3, "c");
    c[0].latency_ns = 0; /* never asked: it is tried, by one */
    expect(WEIR_BALANCE_LEAST_LATENCY, 3, "a");
    c[0].in_flight = 1;
    expect(WEIR_BALANCE_LEAST_LATENCY, 3, "cc");
    fresh(2);
    expect(WEIR_BALANCE_LEAST_LATENCY, 2, "abab"); /* nothing known of either */
}

static void test_least_connections(void **s)
{
    (void)s;
    fresh(3);
    c[0].in_flight = 3;
    c[1].in_flight = 2;
    c[2].in_flight = 4;
    expect(WEIR_BALANCE_LEAST_CONNECTIONS, 3, "bb");
    c[2].weight = 4000; /* 4 of a weight of 4 is less than 2 of 1 */
    expect(WEIR_BALANCE_LEAST_CONNECTIONS, 3, "c");
    fresh(3);
    expect(WEIR_BALANCE_LEAST_CONNECTIONS, 3, "abcabc");
}

static void count(uint32_t cnt, unsigned draws, unsigned *of)
{
    memset(of, 0, cnt * sizeof *of);
    for (unsigned i = 0; i < draws; i++) {
        of[pick(WEIR_BALANCE_TWO_CHOICES, cnt)]++;
    }
}

static void test_two_choices(void **s)
{
    (void)s;
    unsigned of[8];
    fresh(2);
    count(2, 10000, of);
    assert_in_range(of[0], 4800, 5200); /* equals share; of two, both are always looked at */
    c[1].score = 999;
    count(2, 10000, of);
    assert_int_equal(of[0], 10000);
    c[0].in_flight = 1; /* 500 against 999 */
    count(2, 10000, of);
    assert_int_equal(of[1], 10000);
    fresh(4);
    c[3].score = 100;
    count(4, 30000, of);
    assert_int_equal(of[3], 0); /* whoever is drawn beside it is better */
    assert_in_range(of[0], 9500, 10500);
    fresh(3);
    c[2].weight = 100; /* slow start: seldom drawn */
    c[2].score = 1000;
    count(3, 30000, of);
    assert_in_range(of[2], 500, 3500);
}

/* The point of two choices: calls that stay under way spread evenly, though no one looks at all. */
static void test_even(void **s)
{
    (void)s;
    fresh(8);
    for (unsigned i = 0; i < 800; i++) {
        c[pick(WEIR_BALANCE_TWO_CHOICES, 8)].in_flight++;
    }
    for (unsigned i = 0; i < 8; i++) {
        assert_in_range(c[i].in_flight, 94, 106);
    }
}

static void test_one(void **s)
{
    (void)s;
    for (unsigned kind = 0; kind < WEIR_BALANCE_CNT; kind++) {
        fresh(1);
        assert_int_equal(pick((enum weir_balance)kind, 1), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_failover),
        cmocka_unit_test(test_round_robin),
        cmocka_unit_test(test_smooth),
        cmocka_unit_test(test_least_latency),
        cmocka_unit_test(test_least_connections),
        cmocka_unit_test(test_two_choices),
        cmocka_unit_test(test_even),
        cmocka_unit_test(test_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
