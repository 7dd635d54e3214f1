/*
 * test_permit.c: each answer of the permit path, and what is left in memory after it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "fixture.h"
#include "weir_overdue.h"
#include "weir_straddle.h"

#define START (UINT64_C(1000) * WEIR_NS_PER_S)

static const struct fixture_spec two_limits = {
    .jitter_ns = 2 * WEIR_NS_PER_MS,
    .slack_ns = WEIR_NS_PER_MS,
    .limit_cnt = 2,
    .route_cnt = 2,
    .limit =
        {{.kind = WEIR_LIMIT_FIXED_WINDOW, .quota = 10, .window_ns = WEIR_NS_PER_S},
         {.kind = WEIR_LIMIT_TOKEN_BUCKET, .quota = 5, .window_ns = WEIR_NS_PER_S, .scopes = 2}},
    .route = {{.limit_cnt = 2, .limit = {0, 1}, .cost = {1, 1}},
              {.limit_cnt = 1, .limit = {1}, .cost = {1}}},
};

static struct fixture f;
static struct weir_permit_view view;
static struct weir_permit permit;

static int setup(void **state)
{
    (void)state;
    fixture_open(&f, &two_limits);
    fixture_view(&f, &view, START);
    memset(&permit, 0, sizeof permit);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    fixture_close(&f);
    return 0;
}

static int take(uint32_t route)
{
    return weir_permit_take(&view, route, WEIR_SCOPE_DEFAULT, NULL, WEIR_PRIORITY_CRITICAL,
                            &permit);
}

static void expect_denied(uint32_t reason, uint64_t earliest_ns)
{
    struct weir_shm_limit_word before[2] = {f.memory->word[0], f.memory->word[1]};
    assert_int_equal(take(0), WEIR_DENIED);
    assert_int_equal(permit.denial.reason, reason);
    assert_true(permit.denial.earliest_ns == earliest_ns);
    assert_int_equal(permit.state, WEIR_PERMIT_NONE);
    assert_memory_equal(before, f.memory->word, sizeof before);
}

static void test_all_or_nothing(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 4; i++) { /* the bucket holds 5 less the jitter */
        assert_int_equal(take(0), WEIR_OK);
        assert_int_equal(permit.granted_at_ns, START);
        assert_int_equal(permit.use_by_ns, START + WEIR_NS_PER_MS);
        assert_int_equal(permit.charge_cnt, 2);
        assert_int_equal((uint32_t)f.memory->word[0].word[0], i + 1);
    }
    assert_int_equal(take(0), WEIR_DENIED);
    assert_int_equal(permit.denial.limit, 1);
    assert_int_equal(permit.denial.reason, WEIR_REASON_LIMIT_FULL);
    assert_int_equal((uint32_t)f.memory->word[0].word[0], 4);
    fixture_time_set(&view, permit.denial.earliest_ns - 1);
    assert_int_equal(take(0), WEIR_DENIED);
    fixture_time_set(&view, permit.denial.earliest_ns);
    assert_int_equal(take(0), WEIR_OK);
}

static void test_gates(void **state)
{
    (void)state;
    f.memory->gate.lease_until_ns = START;
    expect_denied(WEIR_REASON_LEASE_ENDED, UINT64_MAX);
    f.memory->gate.lease_until_ns = START + 1;
    assert_int_equal(take(0), WEIR_OK);
    f.memory->gate.block_all = 1;
    expect_denied(WEIR_REASON_BLOCKED, UINT64_MAX);
    f.memory->gate.block_all = 0;
    f.memory->block.client[0] = 1;
    expect_denied(WEIR_REASON_BLOCKED, UINT64_MAX);
    f.memory->block.client[0] = 0;
    f.memory->pause.word = weir_pause_make(START + 1, WEIR_PAUSE_THROTTLED, 3);
    expect_denied(WEIR_REASON_PAUSED, weir_pause_until_ns(f.memory->pause.word));
    f.memory->pause.word = 0;
    f.memory->provider.pause = weir_pause_make(UINT64_MAX, WEIR_PAUSE_OPERATOR, 0);
    expect_denied(WEIR_REASON_PAUSED, UINT64_MAX); /* somebody's decision */
    f.memory->provider.pause = 0;
    fixture_server_clock(&f, &(struct weir_server_clock){.state = WEIR_CLOCK_CLOSED});
    expect_denied(WEIR_REASON_CLOCK_MOVING, START + WEIR_NS_PER_MS);
    assert_int_equal(take(1), WEIR_OK); /* a route of buckets does not ask for the server's clock */
}

static void test_damage(void **state)
{
    (void)state;
    f.memory->word[0].word[0] = weir_window_word(1002, 0);
    expect_denied(WEIR_REASON_LIMIT_DAMAGED, START + 10 * WEIR_NS_PER_MS);
    f.memory->word[0].word[0] = 0;
    f.memory->word[1].word[0] = UINT64_MAX;
    expect_denied(WEIR_REASON_LIMIT_DAMAGED, START + 10 * WEIR_NS_PER_MS);
}

static void test_named_errors(void **state)
{
    (void)state;
    struct weir_cost cost = {.cnt = 2, .units = {11, 0}};
    assert_int_equal(take(2), WEIR_E_ROUTE_UNKNOWN);
    assert_int_equal(weir_permit_take(&view, 0, 0, NULL, WEIR_PRIORITY_CNT, &permit),
                     WEIR_E_PRIORITY);
    assert_int_equal(weir_permit_take(&view, 0, 0, &cost, 0, &permit), WEIR_E_COST);
    assert_int_equal(permit.denial.limit, 0);
    cost.cnt = 1;
    assert_int_equal(weir_permit_take(&view, 0, 0, &cost, 0, &permit), WEIR_E_ARGUMENT);
    assert_int_equal(weir_permit_take(&view, 0, UINT64_C(2) << 48, NULL, 0, &permit),
                     WEIR_E_SCOPE_UNKNOWN);
    assert_int_equal(weir_permit_take(&view, 1, UINT64_C(1) << 48, NULL, 0, &permit), WEIR_OK);
    assert_int_equal(permit.charge[0].word, 2); /* the second instrument's own word */
    assert_int_equal(f.memory->word[1].word[0], 0);
    /* An error ends whatever grant stood in the same memory: it cannot be given back by mistake. */
    assert_int_equal(take(2), WEIR_E_ROUTE_UNKNOWN);
    permit.state = WEIR_PERMIT_NONE;
    assert_int_equal(weir_permit_give(&view, &permit), WEIR_E_ARGUMENT);
}

static void test_cost_of_zero_and_of_all(void **state)
{
    (void)state;
    struct weir_cost cost = {.cnt = 2, .units = {10, 0}};
    assert_int_equal(weir_permit_take(&view, 0, 0, &cost, 0, &permit), WEIR_OK);
    assert_int_equal((uint32_t)f.memory->word[0].word[0], 10);
    assert_int_equal(f.memory->word[1].word[0], 0);
    assert_int_equal(weir_permit_give(&view, &permit), WEIR_OK);
    assert_int_equal((uint32_t)f.memory->word[0].word[0], 0);
    assert_int_equal(weir_permit_give(&view, &permit), WEIR_E_SETTLED);
    cost.units[0] = 0;
    assert_int_equal(weir_permit_take(&view, 0, 0, &cost, 0, &permit), WEIR_OK);
    assert_int_equal(weir_permit_give(&view, &permit), WEIR_OK);
}

static void test_give_back_only_where_it_was_taken(void **state)
{
    (void)state;
    assert_int_equal(take(0), WEIR_OK);
    struct weir_permit second = permit;
    fixture_tables_publish(&f, 2); /* a reload: units may mean something else now */
    assert_int_equal(weir_permit_give(&view, &permit), WEIR_OK);
    assert_int_equal((uint32_t)f.memory->word[0].word[0], 1);
    assert_int_not_equal(f.memory->word[1].word[0], 0);
    second.tables_generation = 2;
    fixture_server_clock(&f, &(struct weir_server_clock){.state = WEIR_CLOCK_CLOSED});
    fixture_server_clock(&f, &(struct weir_server_clock){.state = WEIR_CLOCK_KNOWN});
    assert_int_equal(weir_permit_give(&view, &second), WEIR_OK);
    assert_int_equal((uint32_t)f.memory->word[0].word[0], 1); /* another timeline: stays */
    assert_int_equal(f.memory->word[1].word[0], START);       /* a bucket knows no timeline */
}

static void test_foreign_usage(void **state)
{
    (void)state;
    f.memory->foreign[0].word[0] = weir_window_word(1000, 9);
    assert_int_equal(take(0), WEIR_OK);
    assert_int_equal((uint32_t)f.memory->word[0].word[0], 1); /* others' usage is not ours */
    assert_int_equal(take(0), WEIR_DENIED);
    assert_int_equal(permit.denial.earliest_ns, START + WEIR_NS_PER_S);
    f.memory->foreign[0].word[0] = weir_window_word(998, 9); /* an old window's */
    assert_int_equal(take(0), WEIR_OK);
}

/* An open call is charged to each window that comes, once, and to no other. */
static void test_overdue(void **state)
{
    (void)state;
    const uint64_t ahead = 30 * WEIR_NS_PER_MS;
    assert_int_equal(take(0), WEIR_OK);
    fixture_time_set(&view, START + 500 * WEIR_NS_PER_MS);
    assert_int_equal(weir_overdue_charge(&view, &permit, ahead), 0); /* this window has it */
    fixture_time_set(&view, START + 980 * WEIR_NS_PER_MS);
    assert_int_equal(weir_overdue_charge(&view, &permit, ahead), 1); /* before the edge */
    assert_int_equal(weir_overdue_charge(&view, &permit, ahead), 0);
    assert_true(f.memory->word[0].word[0] == weir_window_word(1000, 1));
    assert_true(f.memory->word[0].word[1] == weir_window_word(1001, 1));
    fixture_time_set(&view, START + 1500 * WEIR_NS_PER_MS);
    assert_int_equal(weir_overdue_charge(&view, &permit, ahead), 0);
    fixture_time_set(&view, START + 5500 * WEIR_NS_PER_MS); /* the worker slept */
    assert_int_equal(weir_overdue_charge(&view, &permit, ahead), 1);
    assert_int_equal(permit.charge[0].windows, 1);
    assert_true(f.memory->word[0].word[1] == weir_window_word(1005, 1));
    f.memory->word[0].word[0] = weir_window_word(
        1006, 10); /* full: overdrawn, or a refund would make room that is not there */
    fixture_time_set(&view, START + 5990 * WEIR_NS_PER_MS);
    assert_int_equal(weir_overdue_charge(&view, &permit, ahead), 1);
    assert_true(f.memory->word[0].word[0] == weir_window_word(1006, 11));
    /* Another timeline: charged anew, where it may be counted now. */
    fixture_server_clock(&f, &(struct weir_server_clock){.state = WEIR_CLOCK_CLOSED});
    assert_int_equal(weir_overdue_charge(&view, &permit, ahead), 0);
    fixture_server_clock(&f, &(struct weir_server_clock){.state = WEIR_CLOCK_KNOWN,
                                                         .jitter_ns = 2 * WEIR_NS_PER_MS});
    fixture_time_set(&view, START + 8500 * WEIR_NS_PER_MS);
    assert_int_equal(weir_overdue_charge(&view, &permit, ahead), 1);
    assert_true(f.memory->word[0].word[0] == weir_window_word(1008, 1));
    assert_int_equal(weir_overdue_charge(&view, &permit, ahead), 0);
    permit.state = WEIR_PERMIT_NONE;
    fixture_time_set(&view, START + 9500 * WEIR_NS_PER_MS);
    assert_int_equal(weir_overdue_charge(&view, &permit, ahead), 0);
}

static void test_straddle_given_back(void **state)
{
    (void)state;
    const uint64_t at = START + 999 * WEIR_NS_PER_MS; /* J is 2 ms */
    struct weir_straddle_span span = {.from_ns = at, .to_ns = at + WEIR_NS_PER_MS / 2};
    fixture_time_set(&view, at);
    assert_int_equal(take(0), WEIR_OK);
    assert_int_equal(permit.charge[0].windows, 2);
    fixture_time_set(&view, at + 5 * WEIR_NS_PER_MS);
    struct weir_permit copy = permit;
    /* Over the edge, in no order, in the future, or against the server's own stamp: nothing is proven. */
    span.to_ns = at + WEIR_NS_PER_MS;
    assert_int_equal(weir_straddle_give(&view, &copy, &span), 0);
    span.to_ns = at - 1;
    assert_int_equal(weir_straddle_give(&view, &copy, &span), 0);
    span.to_ns = at + 6 * WEIR_NS_PER_MS;
    assert_int_equal(weir_straddle_give(&view, &copy, &span), 0);
    span.to_ns = at + WEIR_NS_PER_MS / 2;
    span.stamp_utc_ns = at + 3 * WEIR_NS_PER_MS;
    assert_int_equal(weir_straddle_give(&view, &copy, &span), 0);
    span.stamp_utc_ns = at - WEIR_NS_PER_S + WEIR_NS_PER_MS;
    span.granularity_ns = WEIR_NS_PER_S;
    assert_int_equal(weir_straddle_give(&view, &copy, &span), 1);
    assert_int_equal(copy.charge[0].windows, 1);
    assert_true(f.memory->word[0].word[0] == weir_window_word(1000, 1));
    assert_true(f.memory->word[0].word[1] == weir_window_word(1001, 0));
    assert_int_equal(weir_straddle_give(&view, &copy, &span), 0);
    /* Not KNOWN: no proof. */
    assert_int_equal(take(0), WEIR_OK);
    fixture_server_clock(&f, &(struct weir_server_clock){.state = WEIR_CLOCK_UNKNOWN});
    assert_int_equal(weir_straddle_give(&view, &permit, &span), 0);
}

static void test_look_takes_nothing(void **state)
{
    (void)state;
    assert_int_equal(weir_permit_look(&view, 0, 0, NULL, 0, &permit), WEIR_OK);
    assert_int_equal(f.memory->word[0].word[0] | f.memory->word[1].word[0], 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        CASE(test_all_or_nothing),
        CASE(test_gates),
        CASE(test_damage),
        CASE(test_named_errors),
        CASE(test_cost_of_zero_and_of_all),
        CASE(test_give_back_only_where_it_was_taken),
        CASE(test_foreign_usage),
        CASE(test_overdue),
        CASE(test_straddle_given_back),
        CASE(test_look_takes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
