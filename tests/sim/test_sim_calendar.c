/*
 * Windows by server time, and the clock that gives it. Boundaries of real
 * zones were read off `date` with TZ set, not off this code.
 */
#include "sim_calendar.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static struct sim_span span_at(const struct sim_limit_rule *rule, int64_t utc_s)
{
    return sim_calendar_span(rule, utc_s * SIM_NS_PER_S);
}

static void assert_span(const struct sim_limit_rule *rule, int64_t from_s, int64_t until_s)
{
    const int64_t inside_s[] = {from_s, from_s + 1, from_s + (until_s - from_s) / 2, until_s - 1};
    struct sim_span before = span_at(rule, from_s - 1);

    for (size_t i = 0; i < sizeof(inside_s) / sizeof(inside_s[0]); i++) {
        struct sim_span span = span_at(rule, inside_s[i]);

        assert_int_equal(span.from_utc_ns / SIM_NS_PER_S, from_s);
        assert_int_equal(span.until_utc_ns / SIM_NS_PER_S, until_s);
        assert_int_equal(span.number, before.number + 1);
    }
    assert_int_equal(before.until_utc_ns / SIM_NS_PER_S, from_s);
}

static void test_unknown_zones(void **state)
{
    (void)state;
    assert_false(sim_calendar_zone_known("Mars/Olympus"));
    assert_false(sim_calendar_zone_known("America")); /* a folder */
    assert_false(sim_calendar_zone_known("../../../etc/passwd"));
    assert_false(sim_calendar_zone_known("/etc/passwd"));
    assert_false(sim_calendar_zone_known(""));
}

static void test_day_of_utc(void **state)
{
    struct sim_limit_rule rule = {.kind = SIM_FIXED_WINDOW, .every = SIM_EVERY_DAY};

    (void)state;
    assert_span(&rule, 1795305600, 1795392000); /* 2026-11-22 */
    assert_span(&rule, -86400, 0);              /* 1969-12-31 */
}

static void test_day_at_an_offset(void **state)
{
    struct sim_limit_rule hongkong = {
        .kind = SIM_FIXED_WINDOW, .every = SIM_EVERY_DAY, .utc_offset_min = 480};
    struct sim_limit_rule newfoundland = hongkong;

    (void)state;
    newfoundland.utc_offset_min = -210;
    assert_span(&hongkong, 1795305600 - 28800, 1795392000 - 28800);
    assert_span(&newfoundland, 1795305600 + 12600, 1795392000 + 12600);
}

/* New York: on 2026-03-08 a day of 23 hours, on 2026-11-01 one of 25. */
static void test_day_with_daylight_saving(void **state)
{
    struct sim_limit_rule rule = {
        .kind = SIM_FIXED_WINDOW, .every = SIM_EVERY_DAY, .zone = "America/New_York"};

    (void)state;
    if (!sim_calendar_zone_known(rule.zone)) {
        skip();
    }
    assert_span(&rule, 1772946000, 1772946000 + 23 * 3600);
    assert_span(&rule, 1793505600, 1793505600 + 25 * 3600);
    assert_span(&rule, 1795323600, 1795323600 + 24 * 3600);
}

/* Beirut leaves out midnight: 2026-03-29 begins at 01:00. */
static void test_day_without_a_midnight(void **state)
{
    struct sim_limit_rule rule = {
        .kind = SIM_FIXED_WINDOW, .every = SIM_EVERY_DAY, .zone = "Asia/Beirut"};

    (void)state;
    if (!sim_calendar_zone_known(rule.zone)) {
        skip();
    }
    assert_span(&rule, 1774735200, 1774735200 + 23 * 3600);
}

static void test_month(void **state)
{
    struct sim_limit_rule utc = {.kind = SIM_FIXED_WINDOW, .every = SIM_EVERY_MONTH};
    struct sim_limit_rule berlin = utc;

    (void)state;
    assert_span(&utc, 1769904000, 1772323200); /* February 2026 */
    assert_span(&utc, 1764547200, 1767225600); /* December, and the next year */
    strcpy(berlin.zone, "Europe/Berlin");
    if (sim_calendar_zone_known(berlin.zone)) {
        assert_span(&berlin, 1772319600, 1774994400); /* March: 31 days less an hour */
    }
}

static void test_month_is_one_window_of_the_counter(void **state)
{
    struct sim_limit_rule rule = {.kind = SIM_FIXED_WINDOW, .every = SIM_EVERY_MONTH, .quota = 2};
    struct sim_limit_count count = {0};
    struct sim_instant first = {.utc_ns = 1769904000 * SIM_NS_PER_S};
    struct sim_instant last = {.utc_ns = 1772323200 * SIM_NS_PER_S - 1};
    struct sim_instant next = {.utc_ns = 1772323200 * SIM_NS_PER_S};
    struct sim_limit_answer answer;

    (void)state;
    assert_false(sim_limit_count(&rule, &count, 2, first).refused);
    answer = sim_limit_count(&rule, &count, 1, last);
    assert_true(answer.refused);
    assert_int_equal(answer.retry_after_ns, 1);
    assert_false(sim_limit_count(&rule, &count, 2, next).refused);
    assert_int_equal(sim_limit_usage(&rule, &count, first).interval_ms, 28LL * 86400000);
}

/* ---- the clock ---- */

static int64_t offset_at_ns(struct sim_clock *clock, int64_t mono_ns)
{
    struct sim_instant now = sim_clock_at(clock, mono_ns);

    return now.utc_ns - now.mono_ns - clock->utc_minus_mono_ns;
}

static void test_clock_drifts(void **state)
{
    struct sim_clock clock;
    int64_t began_ns;

    (void)state;
    sim_clock_start(&clock, 250, 200, false);
    began_ns = clock.drift_from_mono_ns;
    assert_int_equal(offset_at_ns(&clock, began_ns), 250 * SIM_NS_PER_MS);
    assert_int_equal(offset_at_ns(&clock, began_ns + SIM_NS_PER_S), 250200000);
    assert_int_equal(offset_at_ns(&clock, began_ns + 3600 * SIM_NS_PER_S), 970000000);
    /* ten years at the highest drift: no overflow */
    clock.drift_ppm = 100000;
    assert_int_equal(offset_at_ns(&clock, began_ns + 315360000 * SIM_NS_PER_S),
                     250 * SIM_NS_PER_MS + 31536000 * SIM_NS_PER_S);
}

static void test_clock_shift_forgets_what_drifted(void **state)
{
    struct sim_clock clock;
    int64_t shifted_ns;

    (void)state;
    sim_clock_start(&clock, 0, 100000, false);
    clock.drift_from_mono_ns -= 1000 * SIM_NS_PER_S; /* 100 s have drifted */
    sim_clock_shift(&clock, -40);
    shifted_ns = clock.drift_from_mono_ns;
    assert_int_equal(offset_at_ns(&clock, shifted_ns), -40 * SIM_NS_PER_MS);
    sim_clock_drift(&clock, 0);
    clock.drift_ppm = 100000;
    clock.drift_from_mono_ns -= 1000 * SIM_NS_PER_S;
    sim_clock_drift(&clock, 0); /* another drift keeps what has drifted */
    assert_true(offset_at_ns(&clock, shifted_ns) > 99 * SIM_NS_PER_S);
    sim_clock_shift(&clock, -40);
    assert_true(offset_at_ns(&clock, shifted_ns + 3600 * SIM_NS_PER_S) < -30 * SIM_NS_PER_MS);
}

/* A slow oscillator: a second of the exchange lasts longer, for sliding windows too. */
static void test_clock_may_drift_its_spans(void **state)
{
    struct sim_limit_rule rule = {.kind = SIM_SLIDING_WINDOW, .quota = 1, .window_ms = 1000};
    struct sim_limit_count count = {0};
    struct sim_clock clock;
    int64_t began_ns;

    (void)state;
    sim_clock_start(&clock, 0, -200, true);
    began_ns = clock.drift_from_mono_ns;
    assert_false(sim_limit_count(&rule, &count, 1, sim_clock_at(&clock, began_ns)).refused);
    assert_true(
        sim_limit_count(&rule, &count, 1, sim_clock_at(&clock, began_ns + 1000000000)).refused);
    assert_false(
        sim_limit_count(&rule, &count, 1, sim_clock_at(&clock, began_ns + 1000200041)).refused);
    sim_limit_close(&count);
    /* What was gained stays, or the exchange's own time would jump. */
    clock.drift_from_mono_ns -= 1000 * SIM_NS_PER_S;
    began_ns = sim_clock_at(&clock, began_ns).mono_ns;
    sim_clock_drift(&clock, 0);
    assert_true(sim_clock_at(&clock, clock.drift_from_mono_ns).mono_ns >= began_ns);
    assert_true(clock.span_gained_ns < -199000000);
}

static void test_clock_steps_when_it_is_time(void **state)
{
    struct sim_clock clock;
    int64_t at_ns;

    (void)state;
    sim_clock_start(&clock, 0, 0, false);
    assert_true(sim_clock_step(&clock, -500, 3000));
    assert_true(sim_clock_step(&clock, 700, 5000));
    at_ns = clock.steps[0].at_mono_ns;
    assert_int_equal(offset_at_ns(&clock, at_ns - 1), 0);
    assert_int_equal(offset_at_ns(&clock, at_ns), -500 * SIM_NS_PER_MS);
    assert_int_equal(offset_at_ns(&clock, at_ns + 3 * SIM_NS_PER_S), 200 * SIM_NS_PER_MS);
    assert_int_equal(clock.step_cnt, 0);
    for (int i = 0; i < SIM_CLOCK_STEP_MAX; i++) {
        assert_true(sim_clock_step(&clock, 1, 60000));
    }
    assert_false(sim_clock_step(&clock, 1, 60000));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_unknown_zones),
        cmocka_unit_test(test_day_of_utc),
        cmocka_unit_test(test_day_at_an_offset),
        cmocka_unit_test(test_day_with_daylight_saving),
        cmocka_unit_test(test_day_without_a_midnight),
        cmocka_unit_test(test_month),
        cmocka_unit_test(test_month_is_one_window_of_the_counter),
        cmocka_unit_test(test_clock_drifts),
        cmocka_unit_test(test_clock_shift_forgets_what_drifted),
        cmocka_unit_test(test_clock_may_drift_its_spans),
        cmocka_unit_test(test_clock_steps_when_it_is_time),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
