/*
 * test_backoff.c: for how long to be quiet. Oracle: the rule's own words, worked out by hand or counted anew here.
 */
#include "broker/backoff.h"
#include "shm/weir_pause.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define S WEIR_NS_PER_S

static const struct backoff_rule usual = {
    .base_ns = 1 * S, .factor = 2, .jitter_ppm = 250000, .max_ns = 300 * S, .quiet_ns = 60 * S};
static const struct backoff_rule exact = {
    .base_ns = 1 * S, .factor = 2, .max_ns = 300 * S, .quiet_ns = 60 * S};

static uint64_t seed = UINT64_C(20261122);

static uint64_t draw(void)
{
    uint64_t z = (seed += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static void test_nominal(void **state)
{
    (void)state;
    static const uint64_t s[] = {1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300};
    for (uint32_t n = 0; n < WEIR_ARRAY_CNT(s); n++) {
        assert_int_equal(backoff_nominal_ns(&usual, n), s[n] * S);
    }
    assert_int_equal(backoff_nominal_ns(&usual, UINT32_MAX), 300 * S);
    struct backoff_rule r = usual;
    r.factor = 1;
    assert_int_equal(backoff_nominal_ns(&r, UINT32_MAX), 1 * S); /* and it ends */
    r.factor = 10;
    r.max_ns = UINT64_MAX;
    assert_int_equal(backoff_nominal_ns(&r, 60), UINT64_MAX); /* no overflow into something short */
    r.base_ns = 400 * S;
    r.max_ns = 300 * S;
    assert_int_equal(backoff_nominal_ns(&r, 0), 300 * S);
}

/* Bounds of the jitter, and that it fills them evenly. */
static void test_jitter(void **state)
{
    (void)state;
    assert_int_equal(backoff_pause_ns(&usual, 2, 0), 3 * S);
    assert_in_range(backoff_pause_ns(&usual, 2, UINT64_MAX), 5 * S - 1, 5 * S);
    assert_int_equal(backoff_pause_ns(&exact, 2, draw()), 4 * S);
    struct backoff_rule whole = usual;
    whole.jitter_ppm = BACKOFF_WHOLE_PPM;
    assert_int_equal(backoff_pause_ns(&whole, 0, 0), 0);
    assert_in_range(backoff_pause_ns(&whole, 0, UINT64_MAX), 2 * S - 1, 2 * S);
    unsigned bin[8] = {0};
    for (unsigned i = 0; i < 80000; i++) {
        uint64_t ns = backoff_pause_ns(&usual, 2, draw());
        assert_in_range(ns, 3 * S, 5 * S);
        bin[(ns - 3 * S) / (2 * S / 8 + 1)]++;
    }
    for (unsigned b = 0; b < 8; b++) {
        assert_in_range(bin[b], 9500, 10500); /* 10 000 each, 5 standard deviations */
    }
    for (unsigned i = 0; i < 1000; i++) {
        assert_in_range(backoff_pause_ns(&usual, 20, draw()), 225 * S,
                        300 * S); /* never above max */
    }
}

static struct backoff_event told(uint64_t now_ns, uint64_t left_ns, uint64_t for_ns)
{
    return (struct backoff_event){.now_ns = now_ns,
                                  .left_ns = left_ns,
                                  .told_until_ns = for_ns > 0 ? now_ns + for_ns : 0,
                                  .cause = WEIR_PAUSE_THROTTLED,
                                  .random = draw()};
}

/* A stop that left behind the last pause; returns the new pause's length. */
static uint64_t step(struct weir_shm_backoff *s, uint64_t now_ns)
{
    struct backoff_event e = told(now_ns, now_ns, 0);
    assert_int_equal(backoff_tell(s, &exact, &e), BACKOFF_NEW);
    return s->until_ns - now_ns;
}

static void test_escalates_and_decays(void **state)
{
    (void)state;
    struct weir_shm_backoff s = {0};
    uint64_t now_ns = 1000 * S;
    static const uint64_t pause[] = {1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300};
    for (unsigned i = 0; i < WEIR_ARRAY_CNT(pause); i++) {
        assert_int_equal(step(&s, now_ns), pause[i] * S);
        assert_int_equal(s.steps, i + 1);
        assert_int_equal(s.generation, i + 1);
        now_ns = s.until_ns; /* the probe is told to stop at once */
    }
    assert_int_equal(s.level,
                     9); /* where the pause is the longest it stays: 2^9 is the first above 300 */
    assert_int_equal(step(&s, s.until_ns + 60 * S - 1), 300 * S);
    assert_int_equal(step(&s, s.until_ns + 60 * S), 256 * S); /* one quiet minute: one factor */
    assert_int_equal(step(&s, s.until_ns + 4 * 60 * S), 32 * S);
    assert_int_equal(step(&s, s.until_ns + 1000 * 60 * S), 1 * S);
    assert_int_equal(backoff_next_level(&(struct weir_shm_backoff){0}, &exact, UINT64_MAX), 0);
}

/* 50 calls left together: one step, whatever the order of their answers. */
static void test_burst(void **state)
{
    (void)state;
    struct weir_shm_backoff s = {0};
    for (unsigned i = 0; i < 50; i++) {
        struct backoff_event e = told(1000 * S + i, 999 * S + i, 0);
        assert_int_equal(backoff_tell(&s, &exact, &e), i == 0 ? BACKOFF_NEW : BACKOFF_SAME);
    }
    assert_int_equal(s.until_ns, 1001 * S);
    assert_int_equal(s.steps, 1);
    /* One of them names a longer pause: that holds, and is no step. */
    struct backoff_event e = told(1000 * S + 60, 999 * S, 7 * S);
    assert_int_equal(backoff_tell(&s, &exact, &e), BACKOFF_SAME);
    assert_int_equal(s.until_ns, 1007 * S + 60);
    e = told(1000 * S + 70, 999 * S, 2 * S); /* never shorter */
    assert_int_equal(backoff_tell(&s, &exact, &e), BACKOFF_SAME);
    assert_int_equal(s.until_ns, 1007 * S + 60);
    /* The last of the burst comes when it is over: nothing, unless it is a ban that says until when. */
    e = told(1008 * S, 999 * S, 30 * S);
    assert_int_equal(backoff_tell(&s, &exact, &e), BACKOFF_LATE);
    assert_int_equal(s.until_ns, 1007 * S + 60);
    e.cause = WEIR_PAUSE_BANNED;
    assert_int_equal(backoff_tell(&s, &exact, &e), BACKOFF_SAME);
    assert_int_equal(s.until_ns, 1038 * S);
    assert_int_equal(s.cause, WEIR_PAUSE_BANNED);
    assert_int_equal(s.steps, 1);
}

static void test_resume(void **state)
{
    (void)state;
    struct weir_shm_backoff s = {0};
    (void)step(&s, 1000 * S);
    s.resumed_ns = 1000 * S + 5;
    s.until_ns = 1000 * S + 5;
    struct backoff_event e = told(1000 * S + 6, 1000 * S + 4, 30 * S);
    e.cause = WEIR_PAUSE_BANNED;
    assert_int_equal(backoff_tell(&s, &exact, &e), BACKOFF_LATE); /* even a ban: a person decided */
    e = told(1000 * S + 7, 1000 * S + 5, 0);
    assert_int_equal(backoff_tell(&s, &exact, &e), BACKOFF_NEW);
    assert_int_equal(s.until_ns - e.now_ns, 2 * S);
}

/* The longest of what is told and the backoff. */
static void test_longest(void **state)
{
    (void)state;
    struct weir_shm_backoff s = {0};
    struct backoff_event e = told(1000 * S, 1000 * S, 5 * S);
    assert_int_equal(backoff_tell(&s, &exact, &e), BACKOFF_NEW);
    assert_int_equal(s.until_ns, 1005 * S);
    e = told(1005 * S, 1005 * S, 1);
    assert_int_equal(backoff_tell(&s, &exact, &e), BACKOFF_NEW);
    assert_int_equal(s.until_ns, 1007 * S);
    e = told(1007 * S, 1007 * S, 3 * 86400 * S); /* a ban of days: above max, because it is told */
    e.cause = WEIR_PAUSE_BANNED;
    assert_int_equal(backoff_tell(&s, &exact, &e), BACKOFF_NEW);
    assert_int_equal(s.until_ns, 1007 * S + 3 * 86400 * S);
}

/* What only traders say holds 60 s at most, and leaves no level behind that would make another's step longer than that. */
static void test_traders(void **state)
{
    (void)state;
    struct weir_shm_backoff s = {0};
    uint64_t now_ns = 1000 * S;
    for (unsigned i = 0; i < 40; i++) {
        struct backoff_event e = told(now_ns, now_ns, 3600 * S);
        e.most_ns = WEIR_PAUSE_TRADER_MAX_NS;
        assert_int_equal(backoff_tell(&s, &usual, &e), BACKOFF_NEW);
        assert_int_equal(s.until_ns, now_ns + 60 * S);
        assert_true(backoff_nominal_ns(&usual, s.level) <= 60 * S);
        now_ns = s.until_ns;
    }
    assert_int_equal(s.level, 5);
    assert_int_equal(step(&s, now_ns), 64 * S);
}

int main(void)
{
    printf("seed %llu\n", (unsigned long long)seed);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nominal),
        cmocka_unit_test(test_jitter),
        cmocka_unit_test(test_escalates_and_decays),
        cmocka_unit_test(test_burst),
        cmocka_unit_test(test_resume),
        cmocka_unit_test(test_longest),
        cmocka_unit_test(test_traders),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
