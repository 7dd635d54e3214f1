/*
 * test_server_clock.c: the interval of the server's clock, and J.
 *
 * Property: random true offsets that drift by up to 200 ppm, random round trips and granularities, and one lying reply anywhere behind the
 * first. Oracle: the truth, which the schedule knows: it lies in the interval in force at every instant. The seed is printed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "broker/clock_spread.h"
#include "broker/server_clock.h"

#define MS  WEIR_NS_PER_MS
#define SEC WEIR_NS_PER_S
#define UTC UINT64_C(1700000000000000000)

static uint64_t random_state;

static uint64_t below(uint64_t n)
{
    random_state += UINT64_C(0x9e3779b97f4a7c15); /* splitmix64 */
    uint64_t z = random_state;
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return n == 0 ? 0 : (z ^ (z >> 31)) % n;
}

static void interval_is(const struct server_clock *c, uint64_t now_ns, int64_t low, int64_t high)
{
    int64_t l;
    int64_t h;
    server_clock_interval(c, now_ns, &l, &h);
    assert_true(l == low);
    assert_true(h == high);
}

static void test_one_sample_then_two(void **state)
{
    (void)state;
    struct server_clock c = {0};
    assert_int_equal(server_clock_sample(&c, 100, 300, 1000, 10), SERVER_CLOCK_REALIGNED);
    interval_is(&c, 300, 700, 910); /* alone: all there is */
    /* A finer one is not believed alone: what both allow stands. */
    assert_int_equal(server_clock_sample(&c, 200, 300, 1050, 10), SERVER_CLOCK_REFINED);
    interval_is(&c, 300, 700, 910);
    /* The third confirms the second as far as it goes. */
    assert_int_equal(server_clock_sample(&c, 200, 300, 1040, 10), SERVER_CLOCK_REFINED);
    interval_is(&c, 300, 740, 860);
}

static void test_one_liar_moves_nothing(void **state)
{
    (void)state;
    struct server_clock c = {0};
    for (int i = 0; i < 3; i++) {
        (void)server_clock_sample(&c, 1000, 3000, UTC, 100);
    }
    struct server_clock before = c;
    /* Outside: doubted, and dropped at the next that agrees with us. */
    assert_int_equal(server_clock_sample(&c, 1000, 3000, UTC + SEC, 100), SERVER_CLOCK_DOUBTED);
    interval_is(&c, 3000, before.low[1].ns, before.high[1].ns);
    assert_int_equal(server_clock_sample(&c, 1000, 3000, UTC, 100), SERVER_CLOCK_REFINED);
    assert_false(c.doubted);
    assert_int_equal(server_clock_sample(&c, 1000, 3000, UTC + SEC, 100), SERVER_CLOCK_DOUBTED);
    /* Inside, and much too fine: the interval stays. */
    assert_int_equal(server_clock_sample(&c, 2999, 3000, UTC + 1100, 1), SERVER_CLOCK_REFINED);
    interval_is(&c, 3000, before.low[1].ns, before.high[1].ns);
    /* Two that disagree with us and with each other. */
    assert_int_equal(server_clock_sample(&c, 1000, 3000, UTC + 2 * SEC, 100), SERVER_CLOCK_DOUBTED);
    assert_int_equal(server_clock_sample(&c, 1000, 3000, UTC - 2 * SEC, 100), SERVER_CLOCK_DOUBTED);
    interval_is(&c, 3000, before.low[1].ns, before.high[1].ns);
}

static void test_a_step_needs_two(void **state)
{
    (void)state;
    struct server_clock c = {0};
    (void)server_clock_sample(&c, 1000, 2000, UTC, 1);
    (void)server_clock_sample(&c, 3000, 4000, UTC + 2000, 1);
    assert_int_equal(server_clock_sample(&c, 5000, 6000, UTC + SEC, 1), SERVER_CLOCK_DOUBTED);
    assert_int_equal(server_clock_sample(&c, 7000, 8000, UTC + SEC + 2000, 1),
                     SERVER_CLOCK_REALIGNED);
    int64_t low;
    int64_t high;
    server_clock_interval(&c, 8000, &low, &high);
    assert_true(low <= (int64_t)(UTC + SEC - 5500) && high >= (int64_t)(UTC + SEC - 5500));
    assert_true(high - low < 2100);
}

static void test_absurd_samples(void **state)
{
    (void)state;
    struct server_clock c = {0};
    assert_int_equal(server_clock_sample(&c, 300, 100, 1000, 1), SERVER_CLOCK_REFUSED);
    assert_int_equal(server_clock_sample(&c, 100, 300, UINT64_MAX, 1), SERVER_CLOCK_REFUSED);
    assert_int_equal(server_clock_sample(&c, 100, 300, 1000, UINT64_MAX), SERVER_CLOCK_REFUSED);
    assert_int_equal(server_clock_sample(&c, 0, UINT64_C(1) << 63, 1000, 1), SERVER_CLOCK_REFUSED);
    assert_int_equal(server_clock_sample(&c, 0, SERVER_CLOCK_SPAN_MAX_NS + 1, 1000, 1),
                     SERVER_CLOCK_REFUSED);
    assert_false(c.known);
}

static void test_restored(void **state)
{
    (void)state;
    const struct weir_server_clock published = {.offset_ns = (int64_t)UTC,
                                                .error_ns = 500,
                                                .sampled_at_ns = 1000,
                                                .state = WEIR_CLOCK_KNOWN};
    struct server_clock c;
    server_clock_restore(&c, &published);
    struct weir_server_clock v = server_clock_value(&c, 1000, 7);
    assert_true(v.offset_ns == published.offset_ns && v.jitter_ns == 7);
    assert_in_range(v.error_ns, 500, 501);
    v = server_clock_value(&c, 1000 + 10 * SEC, 7); /* ten seconds at 210 ppm, on both sides */
    assert_in_range(v.error_ns, 500 + 2 * MS, 510 + 2 * MS + MS / 10);
}

/* One schedule: honest samples of a drifting clock, and one lie. */
static void schedule(uint64_t seed, bool lies)
{
    random_state = seed;
    struct server_clock c = {0};
    uint64_t now = 10 * SEC;
    int64_t truth = (int64_t)(UTC + below(SEC));
    uint64_t liar = lies ? 1 + below(30) : UINT64_MAX;
    for (uint64_t i = 0; i < 40; i++) {
        uint64_t pass = below(below(2) != 0 ? 100 * MS : 100 * SEC);
        int64_t drift = (int64_t)(pass / 5000) + 1; /* 200 ppm */
        now += pass;
        truth += (int64_t)below(2 * (uint64_t)drift - 1) - drift + 1;
        uint64_t round = below(below(4) != 0 ? 20 * MS : SEC) + 1;
        uint64_t stamped = now + below(round);
        uint64_t granularity = below(3) == 0 ? SEC : below(2) != 0 ? MS : 1;
        uint64_t server = stamped + (uint64_t)truth;
        uint64_t stamp = server / granularity * granularity;
        if (i == liar) {
            stamp += below(2) != 0 ? below(30 * MS) : below(10 * SEC);
            stamp -= below(2) != 0 ? below(30 * MS) : 0;
            granularity = 1;
        }
        (void)server_clock_sample(&c, now, now + round, stamp, granularity);
        now += round;
        struct weir_server_clock v = server_clock_value(&c, now, 0);
        int64_t off = truth - v.offset_ns;
        if ((uint64_t)(off < 0 ? -off : off) > v.error_ns) {
            fail_msg("sample %d: the truth lies outside: seed %llu", (int)i,
                     (unsigned long long)seed);
        }
    }
}

static void test_the_truth_stays_inside(void **state)
{
    (void)state;
    const char *text = getenv("WEIR_TEST_SEED");
    uint64_t first = text != NULL ? strtoull(text, NULL, 10) : 20260901;
    print_message("seed %llu, oracle: the true offset\n", (unsigned long long)first);
    for (uint64_t seed = first; seed < first + 20000; seed++) {
        schedule(seed, seed % 4 != 0);
    }
}

/* Many honest samples narrow it: the error is of the order of the granularity, not of one sample's width. */
static void test_it_narrows(void **state)
{
    (void)state;
    random_state = 7;
    struct server_clock c = {0};
    uint64_t now = SEC;
    for (int i = 0; i < 2000; i++) {
        uint64_t round = 5 * MS + below(5 * MS);
        uint64_t stamp = (UTC + now + below(round)) / SEC * SEC; /* a Date header */
        (void)server_clock_sample(&c, now, now + round, stamp, SEC);
        now += 10 * MS + round + below(MS);
    }
    assert_true(server_clock_value(&c, now, 0).error_ns < 25 * MS);
}

/* ---------------------------------------------------------------------------------------------- J */

static void test_jitter_floor_and_growth(void **state)
{
    (void)state;
    struct clock_spread s = {0};
    const uint64_t floor = 50 * MS;
    assert_int_equal(clock_spread_jitter_ns(&s, floor), floor);
    for (uint64_t i = 0; i < 100; i++) {
        clock_spread_add(&s, 10 * MS, SEC + i * MS);
    }
    assert_int_equal(clock_spread_jitter_ns(&s, floor), floor); /* 25 + 10 is below it */
    clock_spread_add(&s, 2 * SEC, 2 * SEC);
    assert_int_equal(clock_spread_jitter_ns(&s, floor), floor); /* one stall is not the network */
    clock_spread_add(&s, 200 * MS, 2 * SEC);
    assert_in_range(clock_spread_jitter_ns(&s, floor), 225 * MS, 252 * MS);
}

static void test_jitter_shrinks_slowly(void **state)
{
    (void)state;
    struct clock_spread s = {0};
    for (uint64_t i = 0; i < 8; i++) {
        clock_spread_add(&s, 400 * MS, SEC);
    }
    assert_in_range(clock_spread_jitter_ns(&s, 0), 400 * MS, 452 * MS);
    clock_spread_add(&s, MS, 50 * SEC);
    assert_in_range(clock_spread_jitter_ns(&s, 0), 400 * MS, 452 * MS);
    clock_spread_add(&s, MS, 62 * SEC); /* halved once: still four times a fresh one */
    assert_in_range(clock_spread_jitter_ns(&s, 0), 400 * MS, 452 * MS);
    for (uint64_t i = 0; i < 10; i++) {
        clock_spread_add(&s, MS, (70 + 60 * i) * SEC);
    }
    assert_in_range(clock_spread_jitter_ns(&s, 0), MS, 2 * MS);
}

/* Worker after worker: J stays what it was, neither the floor nor a bucket more with each death; and it is forgotten. */
static void test_jitter_survives(void **state)
{
    (void)state;
    const uint64_t floor = 50 * MS;
    struct clock_spread s = {0};
    clock_spread_add(&s, 2 * SEC, SEC);
    clock_spread_add(&s, 2 * SEC, SEC);
    const uint64_t jitter = clock_spread_jitter_ns(&s, floor);
    assert_true(jitter >= 2 * SEC);
    for (uint64_t i = 0; i < 100; i++) {
        uint64_t last = clock_spread_jitter_ns(&s, floor);
        s = (struct clock_spread){0};
        clock_spread_go_on(&s, last, floor, SEC + i);
        assert_int_equal(clock_spread_jitter_ns(&s, floor), jitter);
    }
    for (uint64_t i = 0; i < 10; i++) {
        clock_spread_add(&s, MS, (70 + 60 * i) * SEC);
    }
    assert_int_equal(clock_spread_jitter_ns(&s, floor), floor);
    s = (struct clock_spread){0};
    clock_spread_go_on(&s, floor, floor, SEC);
    assert_int_equal(s.total, 0);
}

static void test_jitter_extremes(void **state)
{
    (void)state;
    struct clock_spread s = {0};
    clock_spread_add(&s, UINT64_MAX, 1);
    clock_spread_add(&s, UINT64_MAX, 1);
    assert_int_equal(clock_spread_jitter_ns(&s, 0), CLOCK_JITTER_MAX_NS);
    memset(&s, 0, sizeof s);
    clock_spread_add(&s, 0, 5);
    clock_spread_add(&s, 0, 3); /* time that goes back is no time */
    assert_in_range(clock_spread_quantile_ns(&s), 1, 100000);
}

/* Each bucket's upper edge is above what falls into it, by at most an eighth. */
static void test_quantile_bounds_from_above(void **state)
{
    (void)state;
    random_state = 3;
    for (int i = 0; i < 20000; i++) {
        struct clock_spread s = {0};
        uint64_t ns = (UINT64_C(1) << (16 + below(20))) + below(UINT64_C(1) << (16 + below(20)));
        clock_spread_add(&s, ns, 1);
        clock_spread_add(&s, ns, 1);
        uint64_t q = clock_spread_quantile_ns(&s);
        assert_true(q > ns && q <= ns + ns / 8 + 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_sample_then_two),
        cmocka_unit_test(test_one_liar_moves_nothing),
        cmocka_unit_test(test_a_step_needs_two),
        cmocka_unit_test(test_absurd_samples),
        cmocka_unit_test(test_restored),
        cmocka_unit_test(test_the_truth_stays_inside),
        cmocka_unit_test(test_it_narrows),
        cmocka_unit_test(test_jitter_floor_and_growth),
        cmocka_unit_test(test_jitter_shrinks_slowly),
        cmocka_unit_test(test_jitter_survives),
        cmocka_unit_test(test_jitter_extremes),
        cmocka_unit_test(test_quantile_bounds_from_above),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
