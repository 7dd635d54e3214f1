/*
 * test_reopen.c: the way back from a pause, through the permit path. Oracle: the promise of weir_reopen.h, counted here by hand.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "fixture.h"

#define MS    WEIR_NS_PER_MS
#define S     WEIR_NS_PER_S
#define TICK  (UINT64_C(1) << WEIR_PAUSE_TICK_BITS)
#define START (UINT64_C(1000) << 30) /* a whole number of ticks, so that instants below are exact */
#define LEASE (512 * TICK)
#define STEP  (128 * TICK)
#define UNTIL (START + 1024 * TICK)

static struct fixture f;
static struct weir_permit_view view;
static struct weir_permit permit;

static int setup(void **state)
{
    (void)state;
    static const struct fixture_spec spec = {
        .slack_ns = MS,
        .reopen_lease_ns = LEASE,
        .reopen_step_ns = STEP,
        .limit_cnt = 1,
        .route_cnt = 1,
        .limit = {{.kind = WEIR_LIMIT_TOKEN_BUCKET, .quota = 1000, .window_ns = MS}},
        .route = {{.limit_cnt = 1, .limit = {0}, .cost = {1}}}};
    fixture_open(&f, &spec);
    fixture_view(&f, &view, START);
    f.memory->pause.word = weir_pause_make(UNTIL, WEIR_PAUSE_THROTTLED, 7);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    fixture_close(&f);
    return 0;
}

static int take_at(uint64_t now_ns)
{
    fixture_time_set(&view, now_ns);
    return weir_permit_take(&view, 0, 0, NULL, 0, &permit);
}

static void expect_wait(uint64_t now_ns, uint64_t earliest_ns)
{
    uint64_t bucket = f.memory->word[0].word[0];
    assert_int_equal(take_at(now_ns), WEIR_DENIED);
    assert_int_equal(permit.denial.reason, WEIR_REASON_REOPENING);
    assert_int_equal(permit.denial.earliest_ns, earliest_ns);
    assert_int_equal(f.memory->word[0].word[0], bucket); /* a refusal charges nothing */
}

static void probe_at(uint64_t now_ns)
{
    assert_int_equal(take_at(now_ns), WEIR_OK);
    assert_true((permit.pause_generation & WEIR_HOLD_PROBE) != 0);
    assert_int_equal(permit.pause_generation & WEIR_PAUSE_GENERATION_MASK, 7);
}

static void test_one_probe(void **state)
{
    (void)state;
    assert_int_equal(take_at(UNTIL - 1), WEIR_DENIED);
    assert_int_equal(permit.denial.reason, WEIR_REASON_PAUSED);
    assert_int_equal(permit.denial.earliest_ns, UNTIL);
    probe_at(UNTIL);
    for (unsigned i = 0; i < 100; i++) {
        expect_wait(UNTIL + i * MS, UNTIL + LEASE);
    }
    /* It never answered: exactly one more, at the instant that was promised. */
    expect_wait(UNTIL + LEASE - 1, UNTIL + LEASE);
    probe_at(UNTIL + LEASE);
    expect_wait(UNTIL + LEASE, UNTIL + 2 * LEASE);
}

static void test_ramp(void **state)
{
    (void)state;
    probe_at(UNTIL);
    const struct weir_permit probe = permit;
    fixture_time_set(&view, UNTIL + 8 * TICK);
    weir_hold_answered(&view, 0, &probe);
    weir_hold_answered(&view, 0, &probe); /* once */
    uint64_t began_ns = UNTIL + 8 * TICK;
    for (unsigned k = 0; k < WEIR_REOPEN_STEPS; k++) {
        uint64_t at_ns = began_ns + k * STEP;
        for (unsigned n = 0; n < 1U << k; n++) {
            assert_int_equal(take_at(at_ns + (n > 0 ? MS : 0)), WEIR_OK);
            assert_true((permit.pause_generation & WEIR_HOLD_PROBE) == 0);
        }
        if (k + 1 < WEIR_REOPEN_STEPS) {
            expect_wait(at_ns + STEP - 1, at_ns + STEP);
            fixture_time_set(&view, at_ns + STEP - 1);
            weir_hold_answered(&view, 0, &permit); /* does not begin it again */
        }
    }
    for (unsigned n = 0; n < 500;
         n++) { /* the full rate, though nobody has cleared the words yet */
        assert_int_equal(take_at(began_ns + WEIR_REOPEN_STEPS * STEP), WEIR_OK);
    }
    assert_true(weir_reopen_over(&(struct weir_reopen_rule){LEASE, STEP}, f.memory->pause.reopen,
                                 UNTIL, began_ns + WEIR_REOPEN_STEPS * STEP));
    /* A place that was skipped is not saved up. */
    assert_int_equal(f.memory->pause.reopen & 3U, WEIR_REOPEN_RAMPING);
}

/* What the limits refuse, and what only looks, takes no place. */
static void test_no_place_for_nothing(void **state)
{
    (void)state;
    fixture_time_set(&view, UNTIL);
    assert_int_equal(weir_permit_look(&view, 0, 0, NULL, 0, &permit), WEIR_OK);
    assert_int_equal(f.memory->pause.reopen, 0);
    f.memory->word[0].word[0] = UNTIL + MS; /* the bucket is empty */
    assert_int_equal(take_at(UNTIL), WEIR_DENIED);
    assert_int_equal(permit.denial.reason, WEIR_REASON_LIMIT_FULL);
    assert_int_equal(f.memory->pause.reopen, 0);
}

static void test_given_back(void **state)
{
    (void)state;
    probe_at(UNTIL);
    struct weir_permit first = permit;
    assert_int_equal(weir_permit_give(&view, &permit), WEIR_OK);
    probe_at(UNTIL + MS * 5);
    struct weir_permit second = permit;
    weir_hold_unanswered(&view, 0, &first); /* not its probe any more */
    expect_wait(UNTIL + 6 * MS, weir_reopen_since_ns(f.memory->pause.reopen) + LEASE);
    weir_hold_unanswered(&view, 0, &second);
    probe_at(UNTIL + 6 * MS);
    /* An answer to a call that left before the pause says nothing about what comes behind it. */
    first.granted_at_ns = UNTIL - 1;
    weir_hold_answered(&view, 0, &first);
    assert_int_equal(f.memory->pause.reopen & 3U, WEIR_REOPEN_PROBING);
    assert_true(weir_hold_before(&view, 0, &first));
    assert_false(weir_hold_before(&view, 0, &second));
}

static void test_failed_probe(void **state)
{
    (void)state;
    probe_at(UNTIL);
    const struct weir_permit probe = permit;
    fixture_time_set(&view, UNTIL + MS);
    assert_int_equal(
        weir_hold_throttled(&view, 0, &probe, UNTIL + 2048 * TICK, WEIR_PAUSE_THROTTLED),
        WEIR_PAUSE_BEGUN);
    /* A late answer of it does not open the next one. */
    assert_int_equal(take_at(UNTIL + 2048 * TICK - 1), WEIR_DENIED);
    assert_int_equal(permit.denial.reason, WEIR_REASON_PAUSED);
    fixture_time_set(&view, UNTIL + 2048 * TICK);
    weir_hold_answered(&view, 0, &probe);
    assert_int_equal(take_at(UNTIL + 2048 * TICK), WEIR_OK);
    assert_int_equal(permit.pause_generation & WEIR_PAUSE_GENERATION_MASK, 8);
    expect_wait(UNTIL + 2048 * TICK, UNTIL + 2048 * TICK + LEASE);
    /* The same 429 again, late: nothing. */
    assert_int_equal(
        weir_hold_throttled(&view, 0, &probe, UNTIL + 9000 * TICK, WEIR_PAUSE_THROTTLED),
        WEIR_PAUSE_LATE);
}

/* A person's decision needs no guess; and the longer of both words counts. */
static void test_operator(void **state)
{
    (void)state;
    f.memory->pause.word = 0;
    f.memory->provider.pause = weir_pause_make(UNTIL, WEIR_PAUSE_OPERATOR, 0);
    assert_int_equal(take_at(UNTIL - 1), WEIR_DENIED);
    assert_int_equal(take_at(UNTIL), WEIR_OK);
    assert_int_equal(take_at(UNTIL), WEIR_OK);
    f.memory->pause.word = weir_pause_make(UNTIL - 4 * TICK, WEIR_PAUSE_BANNED, 7);
    probe_at(UNTIL + TICK);
    expect_wait(UNTIL + 2 * TICK, UNTIL + TICK + LEASE);
}

/* The worker's private account keeps to pauses, and leaves the places to the shared words. */
static void test_account(void **state)
{
    (void)state;
    view.account_only = true;
    assert_int_equal(take_at(UNTIL - 1), WEIR_DENIED);
    for (unsigned i = 0; i < 10; i++) {
        assert_int_equal(take_at(UNTIL), WEIR_OK);
    }
    assert_int_equal(f.memory->pause.reopen, 0);
}

/* Whatever a trader scribbles there: one probe a lease at most lets everybody on in the end, and nothing hangs. */
static void test_scribbles(void **state)
{
    (void)state;
    const uint64_t far = weir_reopen_make(UNTIL + 3600 * S, 0, 0, WEIR_REOPEN_PROBING);
    const uint64_t forms[] = {UINT64_MAX, far, far | 3U, UNTIL << 4 | 3U,
                              weir_reopen_make(UNTIL + 3600 * S, 63, 0xffff, WEIR_REOPEN_RAMPING)};
    for (unsigned i = 0; i < WEIR_ARRAY_CNT(forms); i++) {
        f.memory->pause.reopen = forms[i];
        probe_at(UNTIL + i * TICK);
    }
    /* A step ahead of us refuses, and for one step only. */
    f.memory->pause.reopen = weir_reopen_make(UNTIL, 3, 0, WEIR_REOPEN_RAMPING);
    expect_wait(UNTIL + STEP, UNTIL + 2 * STEP);
    assert_int_equal(take_at(UNTIL + 3 * STEP), WEIR_OK);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_one_probe),  TEST(test_ramp),      TEST(test_no_place_for_nothing),
        TEST(test_given_back), TEST(test_operator),  TEST(test_failed_probe),
        TEST(test_account),    TEST(test_scribbles),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
