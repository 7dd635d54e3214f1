/*
 * test_shares.c: shares and floors step by step, with numbers worked out by hand from the rule of shm/weir_share.h. Random schedules: prop_shares.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "fixture.h"
#include "weir_forecast.h"

#define START (UINT64_C(1000) * WEIR_NS_PER_S)

/* 100 units a second: 40 % for mm, 20 % for uid 7, a floor of 10 % for background. */
static const struct fixture_spec spec = {
    .slack_ns = WEIR_NS_PER_MS,
    .limit_cnt = 1,
    .route_cnt = 1,
    .limit = {{.kind = WEIR_LIMIT_FIXED_WINDOW,
               .quota = 100,
               .window_ns = WEIR_NS_PER_S,
               .share_cnt = 3,
               .share = {{.kind = WEIR_SHARE_CLIENT, .part_ppm = 400000, .name = "mm"},
                         {.kind = WEIR_SHARE_UID, .part_ppm = 200000, .uid = 7},
                         {.kind = WEIR_SHARE_CLASS, .part_ppm = 100000, .priority = 4}}}},
    .route = {{.limit_cnt = 1, .limit = {0}, .cost = {1}}},
};

static struct fixture f;
static struct weir_permit_view mm, seven, other;

static int setup(void **state)
{
    (void)state;
    fixture_open(&f, &spec);
    struct weir_permit_view *views[] = {&mm, &seven, &other};
    static const char *const names[] = {"mm", "x", "other"};
    for (uint32_t i = 0; i < 3; i++) {
        fixture_view(&f, views[i], START);
        fixture_self(views[i], names[i], i == 1 ? 7 : 1);
    }
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    fixture_close(&f);
    return 0;
}

static uint32_t take_all(struct weir_permit_view *view, unsigned priority, struct weir_permit *p)
{
    struct weir_permit last = {0};
    uint32_t n = 0;
    while (weir_permit_take(view, 0, 0, NULL, priority, p) == WEIR_OK) {
        last = *p;
        n++;
    }
    last.denial = p->denial;
    *p = last;
    return n;
}

static void each_gets_its_part(void **state)
{
    (void)state;
    struct weir_permit p;
    assert_int_equal(mm.member[0], 1);
    assert_int_equal(seven.member[0], 2);
    assert_int_equal(other.member[0], 0);
    /* 100 - floor 10 = 90, of which 36 and 18 are kept for the shares. */
    assert_int_equal(take_all(&other, WEIR_PRIORITY_MEDIUM, &p), 36);
    assert_int_equal(p.denial.reason, WEIR_REASON_SHARE);
    assert_int_equal(p.denial.limit, 0);
    assert_true(p.denial.earliest_ns > START && p.denial.earliest_ns < START + WEIR_NS_PER_S);
    assert_int_equal(take_all(&seven, WEIR_PRIORITY_MEDIUM, &p), 18);
    assert_int_equal(take_all(&mm, WEIR_PRIORITY_LOW, &p), 36);
    assert_int_equal(take_all(&other, WEIR_PRIORITY_HIGH, &p), 0);
    assert_int_equal(take_all(&other, WEIR_PRIORITY_BACKGROUND, &p), 10);
    assert_int_equal(p.denial.reason, WEIR_REASON_LIMIT_FULL);
}

static void critical_takes_all(void **state)
{
    (void)state;
    struct weir_permit p;
    assert_int_equal(take_all(&other, WEIR_PRIORITY_CRITICAL, &p), 100);
    assert_int_equal(p.denial.reason, WEIR_REASON_LIMIT_FULL);
    assert_int_equal(take_all(&mm, WEIR_PRIORITY_MEDIUM, &p), 0);
}

static void lent_as_the_window_ends(void **state)
{
    (void)state;
    struct weir_permit p;
    assert_int_equal(take_all(&other, WEIR_PRIORITY_MEDIUM, &p), 36);
    fixture_time_set(&other, START + WEIR_NS_PER_S / 2);
    /* Half of each claim: 100 - 5 = 95, of which 19 and 9 are kept. */
    assert_int_equal(take_all(&other, WEIR_PRIORITY_MEDIUM, &p), 95 - 19 - 9 - 36);
    fixture_time_set(&other, START + WEIR_NS_PER_S - 1);
    assert_int_equal(take_all(&other, WEIR_PRIORITY_MEDIUM, &p), 100 - 67);
    /* A new window: all parts are whole again. */
    fixture_time_set(&other, START + WEIR_NS_PER_S);
    assert_int_equal(take_all(&other, WEIR_PRIORITY_MEDIUM, &p), 36);
}

static void given_back_counts_for_the_share(void **state)
{
    (void)state;
    struct weir_permit p;
    struct weir_permit q;
    assert_int_equal(take_all(&other, WEIR_PRIORITY_MEDIUM, &q), 36);
    assert_int_equal(take_all(&mm, WEIR_PRIORITY_MEDIUM, &p), 36);
    assert_int_equal(weir_permit_give(&mm, &p), WEIR_OK);
    assert_int_equal(take_all(&other, WEIR_PRIORITY_MEDIUM, &q), 0);
    assert_int_equal(take_all(&mm, WEIR_PRIORITY_MEDIUM, &p), 1);
    /* Settled as dearer: its part is used up by so much. */
    const struct weir_cost counted = {.cnt = 1, .units = {5}};
    assert_int_equal(weir_permit_end(&mm, &p, &counted), WEIR_OK);
    assert_int_equal(f.memory->cell[0] + f.memory->cell[1] - (START / WEIR_NS_PER_S << 32), 40);
}

/* The private account of the worker is one user of the limit. */
static void no_member_no_shares(void **state)
{
    (void)state;
    struct weir_permit p;
    other.member = NULL;
    assert_int_equal(take_all(&other, WEIR_PRIORITY_MEDIUM, &p), 100);
    assert_int_equal(f.memory->cell[0] | f.memory->cell[1], 0);
}

/* What a forecast promises `view` for one call of class medium. */
static uint64_t forecast(struct weir_permit_view *view, uint64_t now_ns)
{
    const struct weir_limit_place at = fixture_place(&f, view, 0, false);
    uint64_t seq;
    struct weir_limit_time time = {.now_ns = now_ns,
                                   .server = weir_permit_server_clock(view, 0, &seq)};
    time.error_ns = weir_server_clock_error_ns(time.server, now_ns);
    const struct weir_forecast_for about = {.at = &at,
                                            .foreign = &view->foreign[0],
                                            .time = &time,
                                            .units = 1,
                                            .priority = WEIR_PRIORITY_MEDIUM,
                                            .shares = view->member != NULL,
                                            .member = view->member != NULL ? view->member[0] : 0};
    return weir_forecast_earliest(&about);
}

/* A forecast asks shares as a permit does: true at its instant, and not much before. */
static void forecast_keeps_its_word(void **state)
{
    (void)state;
    struct weir_permit p;
    assert_int_equal(forecast(&other, START), START);
    const uint64_t now_ns = START + WEIR_NS_PER_S / 4;
    fixture_time_set(&other, now_ns);
    assert_true(take_all(&other, WEIR_PRIORITY_MEDIUM, &p) > 36); /* what is lent by now too */
    assert_int_equal(forecast(&mm, now_ns), now_ns);              /* its own part is untouched */
    uint64_t at_ns = forecast(&other, now_ns);
    assert_true(at_ns > now_ns && at_ns < START + WEIR_NS_PER_S);
    fixture_time_set(&other, now_ns + (at_ns - now_ns) * 999 / 1000);
    assert_int_equal(weir_permit_look(&other, 0, 0, NULL, WEIR_PRIORITY_MEDIUM, &p), WEIR_DENIED);
    fixture_time_set(&other, at_ns);
    assert_int_equal(weir_permit_look(&other, 0, 0, NULL, WEIR_PRIORITY_MEDIUM, &p), WEIR_OK);
    /* Where shares are not looked at, the limit alone speaks. */
    other.member = NULL;
    assert_int_equal(forecast(&other, START), START);
}

/* The share has room, the limit has none: the limit's instant, at which the share still agrees. */
static void forecast_needs_both(void **state)
{
    (void)state;
    struct weir_permit p;
    assert_int_equal(take_all(&mm, WEIR_PRIORITY_CRITICAL, &p), 100);
    uint64_t at_ns = forecast(&seven, START);
    assert_true(at_ns >= START + WEIR_NS_PER_S && at_ns < START + 2 * WEIR_NS_PER_S);
    fixture_time_set(&seven, at_ns);
    assert_int_equal(weir_permit_look(&seven, 0, 0, NULL, WEIR_PRIORITY_MEDIUM, &p), WEIR_OK);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(each_gets_its_part),      CASE(critical_takes_all),
        CASE(lent_as_the_window_ends), CASE(given_back_counts_for_the_share),
        CASE(no_member_no_shares),     CASE(forecast_keeps_its_word),
        CASE(forecast_needs_both),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
