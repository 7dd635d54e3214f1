/* The counting rules: windows, buckets, bans. Time is made by hand. */
#include "sim_ban.h"
#include "sim_limit.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static struct sim_instant at_ms(double ms)
{
    int64_t ns = (int64_t)(ms * (double)SIM_NS_PER_MS);

    return (struct sim_instant){.utc_ns = ns, .mono_ns = ns};
}

static const struct sim_limit_rule window_rule = {
    .name = "w", .kind = SIM_FIXED_WINDOW, .quota = 10, .window_ms = 1000, .counts_refused = true};
static const struct sim_limit_rule bucket_rule = {
    .name = "b", .kind = SIM_TOKEN_BUCKET, .quota = 10, .refill_per_s = 5};

static void test_window_refuses_beyond_quota(void **state)
{
    struct sim_limit_count count = {0};
    struct sim_limit_answer answer;

    (void)state;
    answer = sim_limit_count(&window_rule, &count, 10, at_ms(5200));
    assert_false(answer.refused);
    assert_int_equal(answer.used, 10);
    answer = sim_limit_count(&window_rule, &count, 1, at_ms(5300));
    assert_true(answer.refused);
    assert_int_equal(answer.retry_after_ns, 700 * SIM_NS_PER_MS);
    assert_int_equal(count.violation_cnt, 1);
    assert_int_equal(count.highest, 11); /* what arrives counts, refused or not */
}

static void test_window_starts_at_zero_at_the_boundary(void **state)
{
    struct sim_limit_count count = {0};
    struct sim_instant last = {.utc_ns = 6 * SIM_NS_PER_S - 1};
    struct sim_instant first = {.utc_ns = 6 * SIM_NS_PER_S};

    (void)state;
    assert_false(sim_limit_count(&window_rule, &count, 10, last).refused);
    assert_false(sim_limit_count(&window_rule, &count, 10, first).refused);
    assert_int_equal(count.violation_cnt, 0);
    assert_int_equal(count.highest, 10);
}

static void test_window_is_a_floor_before_the_epoch(void **state)
{
    (void)state;
    assert_int_equal(sim_window_number(&window_rule, -1), -1);
    assert_int_equal(sim_window_number(&window_rule, -SIM_NS_PER_S), -1);
    assert_int_equal(sim_window_number(&window_rule, -SIM_NS_PER_S - 1), -2);
    assert_int_equal(sim_window_number(&window_rule, 0), 0);
}

static void test_share_is_of_complete_windows_only(void **state)
{
    struct sim_limit_count count = {0};

    (void)state;
    sim_limit_count(&window_rule, &count, 9, at_ms(5900)); /* the run begins inside: left out */
    assert_true(sim_limit_share(&window_rule, &count) == 0.0);
    sim_limit_count(&window_rule, &count, 8, at_ms(6500));
    sim_limit_count(&window_rule, &count, 12, at_ms(8500)); /* 7000 had none */
    sim_limit_count(&window_rule, &count, 1, at_ms(9000));  /* still open: left out */
    assert_int_equal(count.complete_cnt, 3);
    assert_int_equal(count.complete_used, 20);
    assert_int_equal(count.complete_granted, 18); /* 12 were asked, 10 granted */
    assert_true(sim_limit_share(&window_rule, &count) == 18.0 / 30.0);
    assert_int_equal(count.history_cnt, 3);
    assert_int_equal(count.history[2].used, 12);
}

static void test_bucket_starts_full_and_fills_at_its_rate(void **state)
{
    struct sim_limit_count count = {0};
    struct sim_limit_answer answer;

    (void)state;
    assert_false(sim_limit_count(&bucket_rule, &count, 10, at_ms(0)).refused);
    answer = sim_limit_count(&bucket_rule, &count, 2, at_ms(200)); /* 1 has come back */
    assert_true(answer.refused);
    assert_int_equal(answer.retry_after_ns, 200 * SIM_NS_PER_MS);
    assert_true(count.deficit_max == 1.0);
    assert_false(sim_limit_count(&bucket_rule, &count, 2, at_ms(400)).refused);
    assert_true(count.level_min == 0.0);
    assert_int_equal(count.violation_cnt, 1);
}

static void test_bucket_never_holds_more_than_its_burst(void **state)
{
    struct sim_limit_count count = {0};

    (void)state;
    sim_limit_count(&bucket_rule, &count, 1, at_ms(0));
    assert_false(sim_limit_count(&bucket_rule, &count, 10, at_ms(3600000)).refused);
    assert_true(sim_limit_count(&bucket_rule, &count, 1, at_ms(3600000)).refused);
    assert_int_equal(count.highest, 10);
}

/* A hundred thousand fills must not drift into a refusal. */
static void test_bucket_forgives_rounding_only(void **state)
{
    struct sim_limit_rule rule = {.kind = SIM_TOKEN_BUCKET, .quota = 1, .refill_per_s = 3};
    struct sim_limit_count count = {0};

    (void)state;
    for (int64_t i = 0; i < 100000; i++) { /* every third of a second, rounded up */
        struct sim_instant now = {.mono_ns = (i * SIM_NS_PER_S + 2) / 3};

        assert_false(sim_limit_count(&rule, &count, 1, now).refused);
    }
}

static const struct sim_ban_rule ban_rule = {
    .after = 3, .window_ms = 1000, .first_ms = 2000, .max_ms = 5000, .growth = 2};

static int64_t ban_bring(struct sim_ban *ban, int64_t now_ns)
{
    assert_false(sim_ban_violation(&ban_rule, ban, now_ns));
    assert_false(sim_ban_violation(&ban_rule, ban, now_ns));
    assert_true(sim_ban_violation(&ban_rule, ban, now_ns));
    return ban->until_mono_ns - now_ns;
}

static void test_ban_doubles_up_to_its_bound(void **state)
{
    struct sim_ban ban = {0};

    (void)state;
    assert_false(sim_ban_holds(&ban, 0));
    assert_int_equal(ban_bring(&ban, 10 * SIM_NS_PER_S), 2 * SIM_NS_PER_S);
    assert_true(sim_ban_holds(&ban, 12 * SIM_NS_PER_S - 1));
    assert_false(sim_ban_holds(&ban, 12 * SIM_NS_PER_S));
    assert_int_equal(ban_bring(&ban, 20 * SIM_NS_PER_S), 4 * SIM_NS_PER_S);
    assert_int_equal(sim_ban_spent_ns(&ban, 21 * SIM_NS_PER_S), 3 * SIM_NS_PER_S);
    assert_int_equal(ban_bring(&ban, 30 * SIM_NS_PER_S), 5 * SIM_NS_PER_S);
    assert_int_equal(sim_ban_spent_ns(&ban, 99 * SIM_NS_PER_S), 11 * SIM_NS_PER_S);
}

static void test_ban_grows_by_its_factor_and_no_further(void **state)
{
    struct sim_ban_rule rule = ban_rule;
    struct sim_ban ban = {0};

    (void)state;
    rule.after = 1;
    rule.growth = 1.5;
    sim_ban_violation(&rule, &ban, 10 * SIM_NS_PER_S);
    assert_int_equal(ban.until_mono_ns, 12 * SIM_NS_PER_S);
    sim_ban_violation(&rule, &ban, 20 * SIM_NS_PER_S);
    assert_int_equal(ban.until_mono_ns, 23 * SIM_NS_PER_S);
    rule.growth = 1;
    sim_ban_violation(&rule, &ban, 30 * SIM_NS_PER_S);
    assert_int_equal(ban.until_mono_ns, 32 * SIM_NS_PER_S);
}

static void test_ban_may_start_anew_with_each_call(void **state)
{
    struct sim_ban_rule rule = ban_rule;
    struct sim_ban ban = {0};

    (void)state;
    ban_bring(&ban, 10 * SIM_NS_PER_S); /* until 12 s */
    sim_ban_refuse(&rule, &ban, 11 * SIM_NS_PER_S);
    assert_int_equal(ban.until_mono_ns, 12 * SIM_NS_PER_S);
    rule.extend = true;
    sim_ban_refuse(&rule, &ban, 11 * SIM_NS_PER_S);
    assert_int_equal(ban.until_mono_ns, 13 * SIM_NS_PER_S);
    assert_int_equal(ban.refused_cnt, 2);
    assert_int_equal(sim_ban_spent_ns(&ban, 99 * SIM_NS_PER_S), 3 * SIM_NS_PER_S);
}

static void test_ban_needs_its_violations_within_the_span(void **state)
{
    struct sim_ban ban = {0};

    (void)state;
    for (int64_t i = 1; i < 20; i++) { /* two in each span, never three */
        assert_false(sim_ban_violation(&ban_rule, &ban, i * 500 * SIM_NS_PER_MS));
    }
}

static void test_ban_can_be_off(void **state)
{
    struct sim_ban_rule off = ban_rule;
    struct sim_ban ban = {0};

    (void)state;
    off.after = 0;
    for (int i = 0; i < 100; i++) {
        assert_false(sim_ban_violation(&off, &ban, SIM_NS_PER_S));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_window_refuses_beyond_quota),
        cmocka_unit_test(test_window_starts_at_zero_at_the_boundary),
        cmocka_unit_test(test_window_is_a_floor_before_the_epoch),
        cmocka_unit_test(test_share_is_of_complete_windows_only),
        cmocka_unit_test(test_bucket_starts_full_and_fills_at_its_rate),
        cmocka_unit_test(test_bucket_never_holds_more_than_its_burst),
        cmocka_unit_test(test_bucket_forgives_rounding_only),
        cmocka_unit_test(test_ban_doubles_up_to_its_bound),
        cmocka_unit_test(test_ban_grows_by_its_factor_and_no_further),
        cmocka_unit_test(test_ban_may_start_anew_with_each_call),
        cmocka_unit_test(test_ban_needs_its_violations_within_the_span),
        cmocka_unit_test(test_ban_can_be_off),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
