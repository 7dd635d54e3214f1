/*
 * Each kind of limit by sequences computed by hand from the exchanges' rules,
 * unhappy ones first. Time is made by hand.
 */
#include "sim_limit.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static struct sim_limit_count counter;

static int counter_clear(void **state)
{
    (void)state;
    sim_limit_close(&counter);
    counter = (struct sim_limit_count){0};
    return 0;
}

/* Server time is a day ahead of the monotonic clock, so that a mix-up shows. */
static struct sim_instant at_ms(int64_t ms)
{
    return (struct sim_instant){.utc_ns = (ms + 86400000) * SIM_NS_PER_MS,
                                .mono_ns = ms * SIM_NS_PER_MS};
}

static bool passes(const struct sim_limit_rule *rule, int64_t cost, int64_t ms)
{
    return !sim_limit_count(rule, &counter, cost, at_ms(ms)).refused;
}

static int64_t used_at(const struct sim_limit_rule *rule, int64_t ms)
{
    return sim_limit_usage(rule, &counter, at_ms(ms)).used;
}

static int64_t reset_in_ms(const struct sim_limit_rule *rule, int64_t ms)
{
    struct sim_instant now = at_ms(ms);

    return (sim_limit_usage(rule, &counter, now).reset_utc_ns - now.utc_ns) / SIM_NS_PER_MS;
}

/* ---- fixed_window ---- */

static void test_phase_moves_the_boundary(void **state)
{
    struct sim_limit_rule rule = {
        .kind = SIM_FIXED_WINDOW, .quota = 2, .window_ms = 1000, .phase_ms = 300};

    (void)state;
    assert_true(passes(&rule, 2, 5299));
    assert_false(passes(&rule, 1, 5299));
    assert_true(passes(&rule, 2, 5300)); /* windows begin at …,300 */
    assert_int_equal(reset_in_ms(&rule, 5301), 999);
    assert_int_equal(counter.window.start_ms, 86400000 + 5300);
    assert_int_equal(used_at(&rule, 6299), 2);
    assert_int_equal(used_at(&rule, 6300), 0);
}

static void test_refused_counts_where_it_is_said(void **state)
{
    struct sim_limit_rule rule = {.kind = SIM_FIXED_WINDOW, .quota = 10, .window_ms = 1000};

    (void)state;
    assert_true(passes(&rule, 8, 100));
    assert_false(passes(&rule, 5, 200));
    assert_true(passes(&rule, 2, 300)); /* the 5 took nothing */
    assert_int_equal(counter.highest, 10);
    counter_clear(state);
    rule.counts_refused = true;
    assert_true(passes(&rule, 8, 100));
    assert_false(passes(&rule, 5, 200));
    assert_false(passes(&rule, 2, 300)); /* 13 are used */
    assert_int_equal(counter.highest, 15);
    assert_int_equal(counter.violation_cnt, 2);
}

/* The clock went back: the exchange counts in the window that it now has. */
static void test_clock_that_goes_back_opens_another_window(void **state)
{
    struct sim_limit_rule rule = {.kind = SIM_FIXED_WINDOW, .quota = 1, .window_ms = 1000};

    (void)state;
    assert_true(passes(&rule, 1, 5000));
    assert_true(passes(&rule, 1, 4000));
    assert_false(passes(&rule, 1, 4500));
    assert_int_equal(counter.complete_cnt, 0);
}

/* Back over a boundary and forward again: each window has one count, and a
   quota is not to be had twice. */
static void test_clock_that_goes_back_finds_its_window_again(void **state)
{
    struct sim_limit_rule rule = {.kind = SIM_FIXED_WINDOW, .quota = 10, .window_ms = 1000};

    (void)state;
    assert_true(passes(&rule, 1, 3900)); /* the run begins inside */
    assert_true(passes(&rule, 7, 4900));
    assert_true(passes(&rule, 9, 5100));
    assert_true(passes(&rule, 3, 4950)); /* 10 in the window of 4000 */
    assert_false(passes(&rule, 1, 4960));
    assert_true(passes(&rule, 1, 5200)); /* 10 in that of 5000 */
    assert_false(passes(&rule, 1, 5300));
    assert_true(passes(&rule, 1, 8000)); /* 6000 and 7000 had none */
    assert_int_equal(counter.complete_cnt, 4);
    assert_int_equal(counter.complete_used, 20);
    assert_false(passes(&rule, 1, 4999));
    assert_true(passes(&rule, 1, 9000));
    assert_int_equal(counter.complete_cnt, 5); /* 4000 … 8000 */
    assert_int_equal(counter.complete_used, 21);
    assert_true(passes(&rule, 5, 6500)); /* it was empty before */
    assert_true(passes(&rule, 1, 10000));
    assert_int_equal(counter.complete_cnt, 6);
    assert_int_equal(counter.complete_used, 27);
}

/* ---- fixed_from_first: HTX, 100 per 2 s ---- */

static void test_window_from_the_first_call(void **state)
{
    struct sim_limit_rule rule = {.kind = SIM_FIXED_FROM_FIRST, .quota = 100, .window_ms = 2000};

    (void)state;
    assert_true(passes(&rule, 60, 1500)); /* 1500 … 3500 */
    assert_true(passes(&rule, 40, 3000));
    assert_int_equal(reset_in_ms(&rule, 3000), 500);
    assert_false(passes(&rule, 1, 3499));
    assert_int_equal(used_at(&rule, 3500), 0);
    assert_int_equal(reset_in_ms(&rule, 3500), 0); /* none is open */
    assert_true(passes(&rule, 100, 7000));         /* not 3500: the first call opens it */
    assert_false(passes(&rule, 1, 8999));
    assert_true(passes(&rule, 1, 9000));
    assert_int_equal(counter.highest, 100);
    assert_int_equal(counter.complete_cnt, 2);
    assert_true(sim_limit_share(&rule, &counter) == 1.0);
}

/* ---- sliding_window: Bybit, Jupiter ---- */

static void test_sliding_window_is_half_open(void **state)
{
    struct sim_limit_rule rule = {.kind = SIM_SLIDING_WINDOW, .quota = 3, .window_ms = 1000};

    (void)state;
    assert_true(passes(&rule, 1, 0));
    assert_true(passes(&rule, 1, 400));
    assert_true(passes(&rule, 1, 800));
    struct sim_limit_answer answer = sim_limit_count(&rule, &counter, 1, at_ms(999));
    assert_true(answer.refused);
    assert_int_equal(answer.retry_after_ns, SIM_NS_PER_MS);
    assert_true(passes(&rule, 1, 1000)); /* the call of 0 left exactly now */
    assert_false(passes(&rule, 1, 1399));
    assert_true(passes(&rule, 1, 1400));
    assert_int_equal(counter.highest, 3);
    assert_int_equal(counter.highest_start_ms, 86400000 - 200); /* first seen in (-200, 800] */
    assert_int_equal(counter.violation_cnt, 2);
}

/* A fixed window would let 2 * 3 pass around a boundary: a log does not. */
static void test_sliding_window_has_no_boundary(void **state)
{
    struct sim_limit_rule rule = {.kind = SIM_SLIDING_WINDOW, .quota = 3, .window_ms = 1000};

    (void)state;
    assert_true(passes(&rule, 3, 950));
    assert_false(passes(&rule, 1, 1050));
    assert_false(passes(&rule, 1, 1949));
    assert_true(passes(&rule, 3, 1950));
}

static void test_sliding_window_may_count_what_it_refuses(void **state)
{
    struct sim_limit_rule rule = {
        .kind = SIM_SLIDING_WINDOW, .quota = 2, .window_ms = 1000, .counts_refused = true};

    (void)state;
    assert_true(passes(&rule, 2, 0));
    assert_false(passes(&rule, 1, 900));
    assert_true(passes(&rule, 1, 1000));
    assert_false(passes(&rule, 1, 1001)); /* the refused one of 900 fills it */
    assert_int_equal(counter.highest, 3);
}

static void test_sliding_reset_is_now_unless_exceeded(void **state)
{
    struct sim_limit_rule rule = {.kind = SIM_SLIDING_WINDOW, .quota = 2, .window_ms = 1000};

    (void)state;
    assert_true(passes(&rule, 1, 100));
    assert_int_equal(reset_in_ms(&rule, 300), 0);
    assert_true(passes(&rule, 1, 300));
    assert_int_equal(reset_in_ms(&rule, 300), 800);
    assert_int_equal(used_at(&rule, 1100), 1);
}

static void test_sliding_wait_adds_up_what_leaves(void **state)
{
    struct sim_limit_rule rule = {.kind = SIM_SLIDING_WINDOW, .quota = 10, .window_ms = 1000};

    (void)state;
    assert_true(passes(&rule, 2, 0));
    assert_true(passes(&rule, 3, 100));
    assert_true(passes(&rule, 4, 200));
    /* 9 used: a call of 6 lacks 5, which the calls of 0 and 100 free */
    assert_int_equal(sim_limit_count(&rule, &counter, 6, at_ms(300)).retry_after_ns,
                     800 * SIM_NS_PER_MS);
}

/* Tiles of one window from the first call: 3 of 3, 2 of 3, 0 of 3, then open. */
static void test_sliding_share_is_of_whole_tiles(void **state)
{
    struct sim_limit_rule rule = {.kind = SIM_SLIDING_WINDOW, .quota = 3, .window_ms = 1000};

    (void)state;
    assert_true(passes(&rule, 3, 500));
    assert_true(sim_limit_share(&rule, &counter) == 0.0);
    assert_true(passes(&rule, 2, 1500));
    assert_true(passes(&rule, 3, 3600));
    assert_int_equal(counter.complete_cnt, 3);
    assert_true(sim_limit_share(&rule, &counter) == 5.0 / 9.0);
}

/* Against the definition: for each arrival, the sum over the log of all. */
static void test_sliding_window_against_brute_force(void **state)
{
    enum { CALL_CNT = 4000, SEED = 20261122 };
    static int64_t times_ms[CALL_CNT];
    static int64_t costs[CALL_CNT];
    struct sim_limit_rule rule = {.kind = SIM_SLIDING_WINDOW, .quota = 20, .window_ms = 50};
    int64_t highest = 0;
    int64_t now_ms = 0;
    int taken_cnt = 0;
    unsigned seed = SEED;

    (void)state;
    printf("seed %u\n", seed);
    for (int i = 0; i < CALL_CNT; i++) {
        int64_t cost = 1 + rand_r(&seed) % 5;
        int64_t sum = 0;

        now_ms += rand_r(&seed) % 12;
        for (int j = 0; j < taken_cnt; j++) {
            sum += times_ms[j] > now_ms - 50 ? costs[j] : 0;
        }
        assert_int_equal(passes(&rule, cost, now_ms), sum + cost <= 20);
        if (sum + cost <= 20) {
            times_ms[taken_cnt] = now_ms;
            costs[taken_cnt++] = cost;
            highest = sum + cost > highest ? sum + cost : highest;
        }
    }
    assert_int_equal(counter.highest, highest);
    assert_true(counter.violation_cnt > 100);
    assert_true(taken_cnt > 100);
}

/* ---- decay: Kraken ---- */

/* Starter: 15, 0.33 per s, reduced every 2 s. */
static void test_decay_falls_in_steps(void **state)
{
    struct sim_limit_rule rule = {
        .kind = SIM_DECAY, .quota = 15, .decay_per_s = 0.33, .step_ms = 2000};
    struct sim_limit_answer answer;

    (void)state;
    assert_true(passes(&rule, 15, 1000));
    answer = sim_limit_count(&rule, &counter, 1, at_ms(1999));
    assert_true(answer.refused); /* no step has come: a continuous counter were at 14.67 */
    /* 1 is missing, a step takes 0.66: the second step, at 4000 */
    assert_int_equal(answer.retry_after_ns, 2001 * SIM_NS_PER_MS);
    assert_false(passes(&rule, 1, 2000)); /* 14.34 + 1 */
    assert_false(passes(&rule, 1, 3999));
    assert_true(passes(&rule, 1, 4000)); /* 13.68 + 1 = 14.68 */
    assert_int_equal(counter.violation_cnt, 3);
    assert_true(counter.level_max == 15.0);
    assert_true(fabs(counter.level - 14.68) < 1e-9);
    assert_int_equal(used_at(&rule, 4000), 15); /* as a whole number, rounded up */
}

/* Tick by tick, in hundredths: Kraken Intermediate, 125 and 2.34 per second. */
static void test_decay_against_brute_force(void **state)
{
    enum { CALL_CNT = 3000, SEED = 20261124, MOST = 12500, PER_TICK = 234 };
    struct sim_limit_rule rule = {
        .kind = SIM_DECAY, .quota = 125, .decay_per_s = 2.34, .step_ms = 1000};
    int64_t hundredths = 0;
    int64_t now_ms = 12345;
    int64_t refused_cnt = 0;
    unsigned seed = SEED;

    (void)state;
    printf("seed %u\n", seed);
    for (int i = 0; i < CALL_CNT; i++) {
        int64_t cost = rand_r(&seed) % 9 + 1;

        for (int64_t wait = rand_r(&seed) % 4000; wait > 0; wait--) {
            now_ms++;
            if (now_ms % 1000 == 0) {
                hundredths = hundredths > PER_TICK ? hundredths - PER_TICK : 0;
            }
        }
        bool fits = hundredths + cost * 100 <= MOST;
        assert_int_equal(passes(&rule, cost, now_ms), fits);
        hundredths += fits ? cost * 100 : 0;
        refused_cnt += !fits;
        assert_true(fabs(counter.level - (double)hundredths / 100) < 1e-6);
    }
    assert_int_equal(counter.violation_cnt, refused_cnt);
    assert_true(refused_cnt > 50 && refused_cnt < CALL_CNT / 2);
}

static void test_decay_stops_at_zero(void **state)
{
    struct sim_limit_rule rule = {
        .kind = SIM_DECAY, .quota = 60, .decay_per_s = 1, .step_ms = 1000};

    (void)state;
    assert_true(passes(&rule, 5, 0));
    assert_int_equal(reset_in_ms(&rule, 500), 4500);
    assert_int_equal(used_at(&rule, 4999), 1);
    assert_int_equal(used_at(&rule, 3600000), 0);
    assert_true(passes(&rule, 60, 3600000));
    assert_false(passes(&rule, 1, 3600000));
}

static void test_decay_without_steps_is_a_bucket(void **state)
{
    struct sim_limit_rule rule = {.kind = SIM_DECAY, .quota = 10, .decay_per_s = 5};
    struct sim_limit_answer answer;

    (void)state;
    assert_true(passes(&rule, 10, 0));
    answer = sim_limit_count(&rule, &counter, 2, at_ms(200));
    assert_true(answer.refused);
    assert_int_equal(answer.retry_after_ns, 200 * SIM_NS_PER_MS);
    assert_true(passes(&rule, 2, 400));
}

/* "A batch cancel that passes the maximum is still accepted." */
static void test_forced_call_passes_the_maximum(void **state)
{
    struct sim_limit_rule rule = {
        .kind = SIM_DECAY, .quota = 60, .decay_per_s = 1, .step_ms = 1000};
    struct sim_limit_answer answer;

    (void)state;
    assert_true(passes(&rule, 50, 0));
    answer = sim_limit_ask(&rule, &counter, (struct sim_limit_ask){.cost = 24, .forced = true},
                           at_ms(100));
    assert_false(answer.refused);
    assert_int_equal(answer.used, 74);
    assert_int_equal(counter.violation_cnt, 0);
    assert_false(passes(&rule, 1, 14999)); /* 60 + 1 */
    assert_true(passes(&rule, 1, 15000));  /* 59 + 1 */
}

/* ---- token_bucket: Coinbase ---- */

/* Most over B + r t, over all intervals: refused calls included. */
static void test_bucket_excess(void **state)
{
    struct sim_limit_rule rule = {.kind = SIM_TOKEN_BUCKET, .quota = 15, .refill_per_s = 10};

    (void)state;
    assert_true(passes(&rule, 15, 0));
    assert_true(counter.excess_max == 0.0);
    assert_false(passes(&rule, 3, 100)); /* 18 came in 0.1 s: 15 + 1 were allowed */
    assert_true(fabs(counter.excess_max - 2.0) < 1e-9);
    assert_false(passes(&rule, 3, 200)); /* 21 in 0.2 s: 17 */
    assert_true(fabs(counter.excess_max - 4.0) < 1e-9);
    assert_true(passes(&rule, 1, 2000));
    assert_true(fabs(counter.excess_max - 4.0) < 1e-9);
}

/* By the definition: over all pairs of arrivals, in whole thousandths. */
static void test_bucket_excess_against_brute_force(void **state)
{
    enum { CALL_CNT = 600, SEED = 20261123, BURST = 15, PER_S = 10 };
    static int64_t times_ms[CALL_CNT];
    static int64_t costs[CALL_CNT];
    struct sim_limit_rule rule = {.kind = SIM_TOKEN_BUCKET, .quota = BURST, .refill_per_s = PER_S};
    int64_t excess_max = 0;
    unsigned seed = SEED;

    (void)state;
    printf("seed %u\n", seed);
    for (int i = 0; i < CALL_CNT; i++) {
        int64_t sum = 0;

        times_ms[i] = (i ? times_ms[i - 1] : 0) + rand_r(&seed) % 600;
        costs[i] = 1 + rand_r(&seed) % 6;
        sim_limit_count(&rule, &counter, costs[i], at_ms(times_ms[i]));
        for (int from = i; from >= 0; from--) {
            int64_t excess;

            sum += costs[from] * 1000;
            excess = sum - BURST * 1000 - PER_S * (times_ms[i] - times_ms[from]);
            excess_max = excess > excess_max ? excess : excess_max;
        }
        assert_true(fabs(counter.excess_max - (double)excess_max / 1000) < 1e-6);
    }
    assert_true(excess_max > 1000);
}

static void test_bucket_share(void **state)
{
    struct sim_limit_rule rule = {.kind = SIM_TOKEN_BUCKET, .quota = 10, .refill_per_s = 5};

    (void)state;
    assert_true(passes(&rule, 10, 0));
    assert_true(passes(&rule, 5, 2000)); /* 15 of 10 + 5 * 2 */
    assert_true(fabs(sim_limit_share(&rule, &counter) - 0.75) < 1e-9);
}

/* ---- concurrency ---- */

static void test_concurrency_counts_what_is_in_progress(void **state)
{
    struct sim_limit_rule rule = {.kind = SIM_CONCURRENCY, .quota = 2};

    (void)state;
    assert_true(passes(&rule, 1, 0));
    assert_true(passes(&rule, 1, 100));
    assert_false(passes(&rule, 1, 1000000));    /* time frees nothing */
    sim_limit_end(&counter, 0, at_ms(1000000)); /* the refused one took nothing */
    sim_limit_end(&counter, 1, at_ms(1000100));
    assert_true(passes(&rule, 1, 1000100));
    assert_int_equal(counter.highest, 2);
    assert_int_equal(counter.violation_cnt, 1);
    assert_int_equal(counter.in_progress, 2);
}

static void test_concurrency_share_is_the_mean(void **state)
{
    struct sim_limit_rule rule = {.kind = SIM_CONCURRENCY, .quota = 4};

    (void)state;
    assert_true(passes(&rule, 1, 0));
    assert_true(passes(&rule, 2, 1000));     /* 1 for 1 s */
    sim_limit_end(&counter, 3, at_ms(2000)); /* 3 for 1 s */
    assert_true(fabs(sim_limit_share(&rule, &counter) - 0.5) < 1e-9);
}

/* ---- bytes: Solana, 100 MB per 30 s ---- */

static void test_bytes_are_paid_afterwards(void **state)
{
    struct sim_limit_rule rule = {.kind = SIM_BYTES, .quota = 1000, .window_ms = 30000};

    (void)state;
    assert_true(passes(&rule, 1, 0));
    sim_limit_add(&rule, &counter, 999, at_ms(100));
    assert_true(passes(&rule, 1, 200)); /* one byte is left */
    sim_limit_add(&rule, &counter, 1, at_ms(250));
    assert_false(passes(&rule, 1, 260)); /* none is */
    sim_limit_add(&rule, &counter, 5000, at_ms(300));
    assert_int_equal(counter.highest, 6000);
    assert_false(passes(&rule, 1, 400));
    assert_false(passes(&rule, 1, 30100)); /* the 999 are gone, the 5000 are not */
    assert_true(passes(&rule, 1, 30300));
    assert_int_equal(counter.violation_cnt, 3);
    assert_int_equal(counter.counted, 6000);
}

/* ---- partial grants and corrections ---- */

/* Bybit's own example: 5 left, 8 sent: 5 succeed, 3 are refused. */
static void test_partial_grant(void **state)
{
    struct sim_limit_rule rule = {.kind = SIM_SLIDING_WINDOW, .quota = 20, .window_ms = 1000};
    struct sim_limit_ask eight = {.cost = 8, .piece = 1};
    struct sim_limit_answer answer;

    (void)state;
    assert_true(passes(&rule, 15, 0));
    answer = sim_limit_ask(&rule, &counter, eight, at_ms(100));
    assert_true(answer.refused);
    assert_int_equal(answer.granted, 5);
    assert_int_equal(answer.used, 20);
    answer = sim_limit_ask(&rule, &counter, eight, at_ms(200));
    assert_int_equal(answer.granted, 0); /* none is left: wholly refused */
    assert_int_equal(counter.partial_cnt, 1);
    assert_int_equal(counter.violation_cnt, 2);
    assert_int_equal(counter.granted, 20);
}

static void test_partial_grant_in_whole_pieces(void **state)
{
    struct sim_limit_rule rule = {.kind = SIM_FIXED_WINDOW, .quota = 10, .window_ms = 1000};
    struct sim_limit_ask four_threes = {.cost = 12, .piece = 3};

    (void)state;
    assert_int_equal(sim_limit_ask(&rule, &counter, four_threes, at_ms(0)).granted, 9);
    assert_int_equal(used_at(&rule, 0), 9);
}

/* Binance since 2026-04: an order that succeeded costs nothing. */
static void test_correction_of_a_fixed_window(void **state)
{
    struct sim_limit_rule rule = {.kind = SIM_FIXED_WINDOW, .quota = 10, .window_ms = 1000};
    struct sim_limit_answer first = sim_limit_count(&rule, &counter, 4, at_ms(1500));

    (void)state;
    struct sim_limit_answer second = sim_limit_count(&rule, &counter, 6, at_ms(2500));
    sim_limit_correct(&rule, &counter, second.receipt, -6, at_ms(2600));
    assert_int_equal(used_at(&rule, 2600), 0);
    assert_true(passes(&rule, 10, 2700));
    /* A refund of a window that is over frees nothing in the open one. */
    sim_limit_correct(&rule, &counter, first.receipt, -4, at_ms(2800));
    assert_int_equal(used_at(&rule, 2800), 10);
    assert_int_equal(counter.history[0].used, 0);
    assert_int_equal(counter.corrected, -10);
    assert_int_equal(counter.highest, 10);
}

static void test_correction_of_a_closed_window_lowers_the_share(void **state)
{
    struct sim_limit_rule rule = {.kind = SIM_FIXED_WINDOW, .quota = 10, .window_ms = 1000};
    struct sim_limit_answer answer;

    (void)state;
    passes(&rule, 1, 1500);
    answer = sim_limit_count(&rule, &counter, 8, at_ms(2500));
    passes(&rule, 1, 3500);
    assert_true(sim_limit_share(&rule, &counter) == 0.8);
    sim_limit_correct(&rule, &counter, answer.receipt, -8, at_ms(3600));
    assert_true(sim_limit_share(&rule, &counter) == 0.0);
}

static void test_correction_of_a_sliding_window(void **state)
{
    struct sim_limit_rule rule = {.kind = SIM_SLIDING_WINDOW, .quota = 10, .window_ms = 1000};
    struct sim_limit_answer first = sim_limit_count(&rule, &counter, 4, at_ms(0));
    struct sim_limit_answer second = sim_limit_count(&rule, &counter, 6, at_ms(500));

    (void)state;
    sim_limit_correct(&rule, &counter, second.receipt, -5, at_ms(600));
    assert_int_equal(used_at(&rule, 600), 5);
    assert_true(passes(&rule, 5, 1000));
    sim_limit_correct(&rule, &counter, first.receipt, -4, at_ms(1100)); /* it left at 1000 */
    assert_int_equal(used_at(&rule, 1100), 6);
    sim_limit_correct(&rule, &counter, second.receipt, 7, at_ms(1200)); /* a surcharge: now */
    assert_int_equal(used_at(&rule, 1200), 13);
    assert_int_equal(counter.highest, 13);
    assert_int_equal(used_at(&rule, 2000), 7);
}

static void test_correction_of_levels(void **state)
{
    struct sim_limit_rule bucket = {.kind = SIM_TOKEN_BUCKET, .quota = 10, .refill_per_s = 1};
    struct sim_limit_rule decay = {.kind = SIM_DECAY, .quota = 10, .decay_per_s = 1};

    (void)state;
    passes(&bucket, 4, 0);
    sim_limit_correct(&bucket, &counter, 0, -9, at_ms(0)); /* never more than full */
    assert_int_equal(used_at(&bucket, 0), 0);
    sim_limit_correct(&bucket, &counter, 0, 12, at_ms(0)); /* a surcharge makes a debt */
    assert_int_equal(used_at(&bucket, 0), 12);
    assert_false(passes(&bucket, 1, 2999));
    assert_true(passes(&bucket, 1, 3000));
    counter_clear(state);
    passes(&decay, 4, 0);
    sim_limit_correct(&decay, &counter, 0, -9, at_ms(0)); /* never below zero */
    assert_int_equal(used_at(&decay, 0), 0);
}

static void test_foreign_use_is_no_violation(void **state)
{
    struct sim_limit_rule rule = {.kind = SIM_FIXED_WINDOW, .quota = 10, .window_ms = 1000};

    (void)state;
    sim_limit_use(&rule, &counter, 9, at_ms(100));
    assert_int_equal(counter.arrival_cnt, 0);
    assert_int_equal(counter.violation_cnt, 0);
    assert_false(passes(&rule, 2, 200));
    sim_limit_use(&rule, &counter, -5, at_ms(300)); /* as a fill does to Binance's order count */
    assert_int_equal(used_at(&rule, 300), 4);
    assert_true(passes(&rule, 6, 400));
    assert_int_equal(counter.foreign, 4);
}

#define ON_COUNTER(test) cmocka_unit_test_teardown(test, counter_clear)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_COUNTER(test_phase_moves_the_boundary),
        ON_COUNTER(test_refused_counts_where_it_is_said),
        ON_COUNTER(test_clock_that_goes_back_opens_another_window),
        ON_COUNTER(test_clock_that_goes_back_finds_its_window_again),
        ON_COUNTER(test_window_from_the_first_call),
        ON_COUNTER(test_sliding_window_is_half_open),
        ON_COUNTER(test_sliding_window_has_no_boundary),
        ON_COUNTER(test_sliding_window_may_count_what_it_refuses),
        ON_COUNTER(test_sliding_reset_is_now_unless_exceeded),
        ON_COUNTER(test_sliding_wait_adds_up_what_leaves),
        ON_COUNTER(test_sliding_share_is_of_whole_tiles),
        ON_COUNTER(test_sliding_window_against_brute_force),
        ON_COUNTER(test_decay_falls_in_steps),
        ON_COUNTER(test_decay_against_brute_force),
        ON_COUNTER(test_decay_stops_at_zero),
        ON_COUNTER(test_decay_without_steps_is_a_bucket),
        ON_COUNTER(test_forced_call_passes_the_maximum),
        ON_COUNTER(test_bucket_excess),
        ON_COUNTER(test_bucket_excess_against_brute_force),
        ON_COUNTER(test_bucket_share),
        ON_COUNTER(test_concurrency_counts_what_is_in_progress),
        ON_COUNTER(test_concurrency_share_is_the_mean),
        ON_COUNTER(test_bytes_are_paid_afterwards),
        ON_COUNTER(test_partial_grant),
        ON_COUNTER(test_partial_grant_in_whole_pieces),
        ON_COUNTER(test_correction_of_a_fixed_window),
        ON_COUNTER(test_correction_of_a_closed_window_lowers_the_share),
        ON_COUNTER(test_correction_of_a_sliding_window),
        ON_COUNTER(test_correction_of_levels),
        ON_COUNTER(test_foreign_use_is_no_violation),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
