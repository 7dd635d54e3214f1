/*
 * test_clock.c: weir time, the latch behind it, and the pause word.
 *
 * Oracle for the latch: every word of a published value is the same number, so a torn copy shows itself. For the clock: time shown
 * through the anchors never steps back, and follows the true clock within the stated error.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "fixture.h"

#define WORDS 6

static struct {
    uint64_t seq;
    uint64_t copies[2 * WORDS];
    uint32_t stop;
} latch;

static void *latch_writer(void *arg)
{
    for (uint64_t i = 1; weir_load_acquire_u32(&latch.stop) == 0; i++) {
        const uint64_t value[WORDS] = {i, i, i, i, i, i};
        weir_latch_write(&latch.seq, latch.copies, value, WORDS);
    }
    return arg;
}

static void test_latch_is_never_torn(void **state)
{
    (void)state;
    pthread_t writer;
    uint64_t last = 0;
    uint64_t misses = 0;
    assert_int_equal(pthread_create(&writer, NULL, latch_writer, NULL), 0);
    for (int i = 0; i < 300000; i++) {
        uint64_t value[WORDS];
        uint64_t seq;
        if (!weir_latch_read(&latch.seq, latch.copies, value, WORDS, &seq)) {
            misses++;
            continue;
        }
        for (int w = 1; w < WORDS; w++) {
            assert_int_equal(value[w], value[0]);
        }
        assert_int_equal(value[0], seq); /* the sequence counts publications */
        assert_true(value[0] >= last);
        last = value[0];
    }
    weir_store_release_u32(&latch.stop, 1);
    assert_int_equal(pthread_join(writer, NULL), 0);
    assert_true(misses < 30000);
}

static void test_latch_of_a_dead_writer(void **state)
{
    (void)state;
    uint64_t seq = 0;
    uint64_t copies[4] = {0};
    uint64_t value[2] = {7, 7};
    uint64_t got[2];
    uint64_t seen;
    weir_latch_write(&seq, copies, value, 2);
    copies[0] = 99; /* it died while it filled the other copy */
    assert_true(weir_latch_read(&seq, copies, got, 2, &seen));
    assert_int_equal(got[0], 7);
    value[0] = 8;
    weir_latch_write(&seq, copies, value, 2); /* the next one just writes on */
    assert_true(weir_latch_read(&seq, copies, got, 2, &seen));
    assert_int_equal(got[0], 8);
    assert_int_equal(got[1], 7);
}

/* A worker that reads its clocks with some noise, once a second; a reader that looks all the time. */
static void slew(double tick_hz, int64_t noise_ns, uint64_t seed)
{
    struct weir_clock_source source;
    weir_clock_source_init(&source, true);
    uint64_t shown = 0;
    struct weir_clock_anchor a = {0};
    for (uint64_t second = 1; second < 200; second++) {
        uint64_t ns = second * WEIR_NS_PER_S;
        uint64_t tsc = (uint64_t)((double)ns * tick_hz / 1e9);
        uint64_t read_ns = ns + fixture_random_below(&seed, 2 * (uint64_t)noise_ns + 1);
        a = weir_clock_anchor_next(&source, tsc, read_ns);
        if (source.base_tsc == 0) {
            source.base_tsc = tsc;
            source.base_ns = read_ns;
        }
        source.last = a;
        source.primed = true;
        for (uint64_t part = 0; part <= 1000 && a.mult_q32 != 0; part++) {
            uint64_t ticks = (uint64_t)(tick_hz / 1000.0 * (double)part);
            uint64_t now = a.ns + (uint64_t)(((unsigned __int128)ticks * a.mult_q32) >> 32);
            uint64_t truth = ns + (uint64_t)((double)ticks * 1e9 / tick_hz);
            assert_true(now + 2 >= shown); /* at the seam of two anchors ticks are rounded */
            shown = now;
            if (second > 5) {
                assert_in_range(now + WEIR_NS_PER_S - truth,
                                WEIR_NS_PER_S - 4 * (uint64_t)noise_ns - 10,
                                WEIR_NS_PER_S + 6 * (uint64_t)noise_ns + 10);
            }
        }
    }
}

static void test_slewing_never_steps_back(void **state)
{
    (void)state;
    slew(2.1e9, 500, 1);
    slew(3.7e9, 20000, 2);
    slew(1.0e9, 1, 3);
}

static void test_clock_sources(void **state)
{
    (void)state;
    struct weir_shm_clock shm = {0};
    struct weir_clock clock;
    weir_clock_init(&clock, NULL, 1000000);
    uint64_t before = weir_clock_monotonic_ns();
    assert_true(weir_clock_now(&clock) >=
                before + 1000000); /* no anchor: the system's, of the broker's namespace */
    weir_clock_init(&clock, &shm, 0);
    assert_true(weir_clock_now(&clock) >= before); /* never published */
    struct weir_clock_source source;
    weir_clock_source_init(&source, false);
    weir_clock_anchor_publish(&source, &shm);
    weir_clock_anchor_publish(&source, &shm);
    assert_int_equal(source.last.mult_q32, 0); /* a TSC that may not be used */
    assert_true(weir_clock_now(&clock) >= before);
    weir_clock_source_init(&source, true);
    weir_clock_anchor_publish(&source, &shm);
    weir_clock_anchor_publish(&source, &shm);
    uint64_t now = weir_clock_now(&clock);
    uint64_t real = weir_clock_monotonic_ns();
    assert_in_range(now, real - 50 * WEIR_NS_PER_MS, real + WEIR_NS_PER_MS);
    const uint64_t old[WEIR_CLOCK_ANCHOR_WORDS] = {weir_clock_ticks() - (UINT64_C(1) << 40), 5,
                                                   UINT64_C(1) << 31};
    weir_latch_write(&shm.seq, shm.anchor, old, WEIR_CLOCK_ANCHOR_WORDS);
    assert_true(weir_clock_now(&clock) >= real); /* too old to be interpolated */
    const uint64_t ahead[WEIR_CLOCK_ANCHOR_WORDS] = {
        weir_clock_ticks() + (UINT64_C(1) << 33), 77,
        UINT64_C(1) << 31}; /* seconds, so that the test may be slow */
    weir_latch_write(&shm.seq, shm.anchor, ahead, WEIR_CLOCK_ANCHOR_WORDS);
    assert_int_equal(weir_clock_now(&clock), 77); /* another core's TSC is a little behind */
}

static void test_pause(void **state)
{
    (void)state;
    uint64_t word = weir_pause_make(0, WEIR_PAUSE_NONE, 5);
    uint64_t t = 100 * WEIR_NS_PER_S;
    /* A late 429: its permit bears an older generation, and no pause holds. */
    assert_int_equal(weir_pause_tell(&word, t, WEIR_PAUSE_THROTTLED, 4, 1), WEIR_PAUSE_LATE);
    assert_int_equal(weir_pause_tell(&word, t, WEIR_PAUSE_THROTTLED, 5, 1), WEIR_PAUSE_BEGUN);
    assert_int_equal(weir_pause_generation(word), 6);
    assert_true(weir_pause_holds(word, t - 1));
    assert_in_range(weir_pause_until_ns(word), t, t + (UINT64_C(1) << WEIR_PAUSE_TICK_BITS));
    /* The rest of the burst: never shorter, perhaps longer, and no new generation. */
    uint64_t held = word;
    assert_int_equal(weir_pause_tell(&word, t - 1, WEIR_PAUSE_BANNED, 5, 2), WEIR_PAUSE_SAME);
    assert_true(word == held);
    assert_int_equal(weir_pause_tell(&word, 2 * t, WEIR_PAUSE_BANNED, 5, 2), WEIR_PAUSE_SAME);
    assert_in_range(weir_pause_until_ns(word), 2 * t, 2 * t + (1U << WEIR_PAUSE_TICK_BITS));
    assert_int_equal(weir_pause_cause(word), WEIR_PAUSE_BANNED);
    assert_int_equal(weir_pause_generation(word), 6);
    /* When it is over, what is left of the burst changes nothing; a call that left behind it does. */
    assert_int_equal(weir_pause_tell(&word, 9 * t, WEIR_PAUSE_BANNED, 5, 3 * t), WEIR_PAUSE_LATE);
    assert_int_equal(weir_pause_tell(&word, 4 * t, WEIR_PAUSE_THROTTLED, 6, 3 * t),
                     WEIR_PAUSE_BEGUN);
    assert_int_equal(weir_pause_generation(word), 7);
    assert_int_equal(weir_pause_begin(&word, UINT64_MAX, WEIR_PAUSE_OPERATOR), 8);
    assert_int_equal(weir_pause_until_ns(word), WEIR_PAUSE_UNTIL_MAX_NS);
    assert_int_equal(weir_pause_cause(word), WEIR_PAUSE_OPERATOR);
    assert_int_equal(weir_pause_begin(&word, t, WEIR_PAUSE_BANNED), 9); /* shorter: as it was */
    assert_int_equal(weir_pause_cause(word), WEIR_PAUSE_OPERATOR);
    word = weir_pause_make(t, WEIR_PAUSE_THROTTLED, 5);
    held = word;
    word = weir_pause_make(t, WEIR_PAUSE_THROTTLED, 6);
    assert_false(weir_pause_clear(&word, held)); /* somebody was told meanwhile */
    held = word;
    assert_true(weir_pause_clear(&word, held));
    assert_true(word == weir_pause_make(0, WEIR_PAUSE_NONE, 6));
    word = weir_pause_make(t, WEIR_PAUSE_THROTTLED, 5);
    weir_pause_resume(&word);
    assert_false(weir_pause_holds(word, 0));
    assert_int_equal(weir_pause_generation(word), 6);
    word = weir_pause_make(t, WEIR_PAUSE_BANNED, WEIR_PAUSE_GENERATION_MASK);
    weir_pause_resume(&word); /* the generation wraps into nothing else */
    assert_true(word == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_latch_is_never_torn),
        cmocka_unit_test(test_latch_of_a_dead_writer),
        cmocka_unit_test(test_slewing_never_steps_back),
        cmocka_unit_test(test_clock_sources),
        cmocka_unit_test(test_pause),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
