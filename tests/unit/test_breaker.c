/*
 * test_breaker.c: the breaker, edge by edge. Oracle: the diagram and the rules at the top of broker/breaker.h, worked out by hand.
 */
#include "broker/breaker.h"
#include "shm/weir_health.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define S     WEIR_NS_PER_S
#define START (UINT64_C(1000) * S)

static const struct breaker_rule rule = {
    .failure_cnt = 5, .failed_ppm = 500000, .probe_cnt = 2, .window_ns = 10 * S, .open_ns = 30 * S};

static struct weir_shm_breaker b;

static void fresh(void)
{
    memset(&b, 0, sizeof b);
    breaker_restart(&b, &rule, START);
}

static struct breaker_ticket begin(uint64_t at_ns)
{
    uint64_t earliest_ns = 0;
    assert_int_not_equal(breaker_ask(&b, &rule, at_ns, &earliest_ns), BREAKER_REFUSE);
    return breaker_take(&b, &rule, at_ns, at_ns + S);
}

/* One call that begins and ends at this instant. */
static bool one(uint64_t at_ns, enum weir_call_class class)
{
    struct breaker_ticket t = begin(at_ns);
    return breaker_told(&b, &rule, at_ns, &t, class);
}

static void open_it(uint64_t at_ns)
{
    for (unsigned i = 0; i < 5; i++) {
        (void)one(at_ns, WEIR_CLASS_TRANSPORT);
    }
    assert_int_equal(b.state, WEIR_BREAKER_OPEN);
}

static void refused_until(uint64_t at_ns, uint64_t until_ns)
{
    uint64_t earliest_ns = 0;
    assert_int_equal(breaker_ask(&b, &rule, at_ns, &earliest_ns), BREAKER_REFUSE);
    assert_int_equal(earliest_ns, until_ns);
}

static void test_opens(void **state)
{
    (void)state;
    static const enum weir_call_class failure[] = {WEIR_CLASS_TRANSPORT, WEIR_CLASS_SERVER,
                                                   WEIR_CLASS_TIMEOUT};
    for (size_t f = 0; f < WEIR_ARRAY_CNT(failure); f++) {
        fresh();
        for (unsigned i = 0; i < 4; i++) {
            assert_false(one(START + i, failure[f]));
            assert_int_equal(b.state, WEIR_BREAKER_CLOSED);
        }
        assert_true(one(START + 4, failure[f]));
        assert_int_equal(b.state, WEIR_BREAKER_OPEN);
        assert_int_equal(b.cause, failure[f]);
        refused_until(START + 4, START + 4 + 30 * S);
        refused_until(START + 3 + 30 * S, START + 4 + 30 * S);
    }
}

/* Told to stop, wrong calls and calls that say nothing: however many, it stays closed. */
static void test_never_by_others(void **state)
{
    (void)state;
    static const enum weir_call_class other[] = {
        WEIR_CLASS_THROTTLE, WEIR_CLASS_BAN, WEIR_CLASS_BUSINESS, WEIR_CLASS_NONE, WEIR_CLASS_OK};
    fresh();
    for (unsigned i = 0; i < 5000; i++) {
        assert_false(one(START + i, other[i % WEIR_ARRAY_CNT(other)]));
    }
    assert_int_equal(b.state, WEIR_BREAKER_CLOSED);
    assert_int_equal(b.trips, 0);
}

static void test_window(void **state)
{
    (void)state;
    fresh();
    for (unsigned i = 0; i < 20; i++) { /* one failure each 3 s: four in any 10 s */
        assert_false(one(START + i * 3 * S, WEIR_CLASS_SERVER));
    }
    fresh();
    for (unsigned i = 0; i < 4; i++) {
        (void)one(START, WEIR_CLASS_SERVER);
    }
    assert_true(one(START + 8 * S, WEIR_CLASS_SERVER)); /* within 7/8 of the window at least */
    fresh();
    for (unsigned i = 0; i < 4; i++) {
        (void)one(START, WEIR_CLASS_SERVER);
    }
    assert_false(one(START + 10 * S, WEIR_CLASS_SERVER)); /* and not behind it */
}

/* Five failures among many answers mean nothing; half of all do. */
static void test_part(void **state)
{
    (void)state;
    fresh();
    for (unsigned i = 0; i < 1000; i++) {
        assert_false(one(START + i, i % 10 == 0 ? WEIR_CLASS_SERVER : WEIR_CLASS_OK));
    }
    fresh();
    bool opened = false;
    for (unsigned i = 0; i < 10; i++) {
        opened = one(START + i, i % 2 == 0 ? WEIR_CLASS_OK : WEIR_CLASS_SERVER);
    }
    assert_true(opened); /* the fifth of ten */
}

static void test_closes(void **state)
{
    (void)state;
    fresh();
    open_it(START);
    uint64_t half = START + 30 * S;
    struct breaker_ticket first = begin(half);
    assert_true(first.probe);
    assert_int_equal(b.state, WEIR_BREAKER_HALF_OPEN);
    struct breaker_ticket second = begin(half);
    refused_until(half, half + S); /* two probes are out */
    assert_false(breaker_told(&b, &rule, half + 1, &first, WEIR_CLASS_OK));
    refused_until(half + 1, half + S); /* one passed, one out */
    assert_true(breaker_told(&b, &rule, half + 2, &second, WEIR_CLASS_BUSINESS));
    assert_int_equal(b.state, WEIR_BREAKER_CLOSED);
    assert_false(one(half + 3, WEIR_CLASS_SERVER)); /* the window is empty again */
}

static void test_probe_fails(void **state)
{
    (void)state;
    fresh();
    open_it(START);
    uint64_t half = START + 30 * S;
    struct breaker_ticket first = begin(half);
    struct breaker_ticket second = begin(half);
    assert_true(breaker_told(&b, &rule, half + 1, &first, WEIR_CLASS_TIMEOUT));
    refused_until(half + 1, half + 1 + 30 * S);
    assert_false(breaker_told(&b, &rule, half + 2, &second, WEIR_CLASS_OK)); /* of a former life */
    assert_int_equal(b.state, WEIR_BREAKER_OPEN);
    assert_int_equal(b.trips, 2);
}

/* A probe that is told to stop, or never sent, only gives its lease back. */
static void test_probe_says_nothing(void **state)
{
    (void)state;
    fresh();
    open_it(START);
    uint64_t half = START + 30 * S;
    static const enum weir_call_class nothing[] = {WEIR_CLASS_NONE, WEIR_CLASS_THROTTLE,
                                                   WEIR_CLASS_BAN};
    for (unsigned i = 0; i < 300; i++) {
        struct breaker_ticket t = begin(half + i);
        assert_true(t.probe);
        assert_false(breaker_told(&b, &rule, half + i, &t, nothing[i % 3]));
        assert_int_equal(b.leased, 0);
    }
    assert_int_equal(b.state, WEIR_BREAKER_HALF_OPEN);
}

/* Probers that never come back hold the others up until their leases end; when they do come, they say nothing. */
static void test_dead_prober(void **state)
{
    (void)state;
    fresh();
    open_it(START);
    uint64_t half = START + 30 * S;
    struct breaker_ticket lost = begin(half);
    (void)begin(half);
    refused_until(half + S - 1, half + S);
    struct breaker_ticket next = begin(half + S);
    assert_true(next.probe);
    assert_int_equal(b.leased, 1);
    assert_false(breaker_told(&b, &rule, half + S, &lost, WEIR_CLASS_TRANSPORT));
    assert_int_equal(b.state, WEIR_BREAKER_HALF_OPEN);
    assert_int_equal(b.leased, 1);
    assert_false(breaker_told(&b, &rule, half + S, &next, WEIR_CLASS_OK));
    assert_true(one(half + S, WEIR_CLASS_OK));
    assert_int_equal(b.state, WEIR_BREAKER_CLOSED);
}

static void test_lease_is_bounded(void **state)
{
    (void)state;
    fresh();
    open_it(START);
    uint64_t half = START + 30 * S;
    (void)breaker_take(&b, &rule, half, UINT64_MAX);
    (void)breaker_take(&b, &rule, half, 0);
    refused_until(half, half + BREAKER_LEASE_MAX_NS);
}

/* A call that began while it was closed and ends when it is half-open. */
static void test_late_answer(void **state)
{
    (void)state;
    fresh();
    struct breaker_ticket late = begin(START);
    struct breaker_ticket later = begin(START);
    open_it(START);
    assert_false(breaker_told(&b, &rule, START + S, &late, WEIR_CLASS_OK));
    uint64_t half = START + 30 * S;
    struct breaker_ticket probe = begin(half);
    assert_false(breaker_told(&b, &rule, half, &later, WEIR_CLASS_TRANSPORT));
    assert_int_equal(b.state, WEIR_BREAKER_HALF_OPEN);
    assert_int_equal(b.leased, 1);
    assert_false(breaker_told(&b, &rule, half, &probe, WEIR_CLASS_OK));
    assert_false(
        breaker_told(&b, &rule, half, &probe, WEIR_CLASS_OK)); /* a second end says nothing */
    assert_int_equal(b.passed, 1);
}

static void test_restart(void **state)
{
    (void)state;
    fresh();
    open_it(START);
    breaker_restart(&b, &rule, START + 10 * S);
    refused_until(START + 10 * S, START + 30 * S); /* open stays open, not longer */
    uint64_t half = START + 30 * S;
    struct breaker_ticket dead = begin(half);
    (void)begin(half);
    breaker_restart(&b, &rule, half + 1); /* killed with its probes: others may try at once */
    assert_int_equal(b.state, WEIR_BREAKER_HALF_OPEN);
    assert_int_equal(b.leased, 0);
    assert_false(breaker_told(&b, &rule, half + 1, &dead, WEIR_CLASS_TRANSPORT));
    assert_false(one(half + 1, WEIR_CLASS_OK));
    assert_true(one(half + 1, WEIR_CLASS_OK));
    for (unsigned i = 0; i < 4; i++) {
        (void)one(half + 2, WEIR_CLASS_SERVER);
    }
    breaker_restart(&b, &rule, half + 3);
    assert_true(one(half + 4, WEIR_CLASS_SERVER)); /* what was counted counts on */
}

/* What a dead writer, or another rule, may leave. */
static void test_restart_from_garbage(void **state)
{
    (void)state;
    struct breaker_rule off = rule;
    off.failure_cnt = 0;
    memset(&b, 0xff, sizeof b);
    breaker_restart(&b, &rule, START);
    assert_int_equal(b.state, WEIR_BREAKER_CLOSED);
    memset(&b, 0xff, sizeof b);
    b.state = WEIR_BREAKER_OPEN;
    breaker_restart(&b, &rule, START);
    refused_until(START, START + 30 * S);
    memset(&b, 0xff, sizeof b);
    b.state = WEIR_BREAKER_HALF_OPEN; /* more passed than the rule asks for */
    breaker_restart(&b, &rule, START);
    assert_int_equal(b.state, WEIR_BREAKER_CLOSED);
    uint64_t earliest_ns = 0;
    breaker_restart(&b, &off, START);
    assert_int_equal(b.state, WEIR_BREAKER_NONE);
    assert_int_equal(breaker_ask(&b, &off, START, &earliest_ns), BREAKER_PASS);
    struct breaker_ticket t = breaker_take(&b, &off, START, START);
    assert_false(t.held);
    assert_false(breaker_told(&b, &off, START, &t, WEIR_CLASS_TRANSPORT));
}

static void test_word(void **state)
{
    (void)state;
    uint64_t word = weir_breaker_make(WEIR_BREAKER_OPEN, WEIR_CLASS_TIMEOUT, START + 1);
    assert_int_equal(weir_breaker_state_of(word), WEIR_BREAKER_OPEN);
    assert_int_equal(weir_breaker_cause_of(word), WEIR_CLASS_TIMEOUT);
    assert_int_equal(weir_breaker_until_ns(word), START + 1000); /* rounded up */
    assert_int_equal(weir_breaker_until_ns(weir_breaker_make(WEIR_BREAKER_CLOSED, 0, 0)), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_opens),
        cmocka_unit_test(test_never_by_others),
        cmocka_unit_test(test_window),
        cmocka_unit_test(test_part),
        cmocka_unit_test(test_closes),
        cmocka_unit_test(test_probe_fails),
        cmocka_unit_test(test_probe_says_nothing),
        cmocka_unit_test(test_dead_prober),
        cmocka_unit_test(test_lease_is_bounded),
        cmocka_unit_test(test_late_answer),
        cmocka_unit_test(test_restart),
        cmocka_unit_test(test_restart_from_garbage),
        cmocka_unit_test(test_word),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
