/*
 * test_limit.c: the arithmetic of the limit kinds at its bounds, and what the worker does to their words.
 *
 * Oracle: / and % on 128 bits, and the sentences of weir_window.h, weir_bucket.h and weir_limit_repair.h, one by one.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "fixture.h"

#define DAY_NS (UINT64_C(86400) * WEIR_NS_PER_S)

static struct weir_shm_limit_row window_row(uint32_t quota, uint64_t window_ns)
{
    struct weir_shm_limit_row row;
    fixture_limit_row(&row,
                      &(struct fixture_limit){
                          .kind = WEIR_LIMIT_FIXED_WINDOW, .quota = quota, .window_ns = window_ns},
                      0);
    return row;
}

static struct weir_shm_limit_row bucket_row(uint32_t quota, uint64_t window_ns)
{
    struct weir_shm_limit_row row;
    fixture_limit_row(&row,
                      &(struct fixture_limit){
                          .kind = WEIR_LIMIT_TOKEN_BUCKET, .quota = quota, .window_ns = window_ns},
                      0);
    return row;
}

static const struct weir_server_clock exact = {.state = WEIR_CLOCK_KNOWN};

/* A thread's clock that stands at `now_ns`. */
static struct weir_clock clock_at(uint64_t now_ns)
{
    static const struct weir_shm_clock never;
    struct weir_clock c;
    weir_clock_init(&c, &never, 0);
    c.anchor.ns = now_ns;
    c.anchor_ticks_max = UINT64_MAX;
    c.seq = 0;
    return c;
}

static void test_division_is_exact(void **state)
{
    (void)state;
    uint64_t random = 11;
    static const uint64_t widths[] = {2,          3,      1000000,      999999937,
                                      1000000000, DAY_NS, 366 * DAY_NS, UINT64_C(1) << 61};
    for (int i = 0; i < 400000; i++) {
        uint64_t w = i % 2 == 0 ? widths[i / 2 % 8] : 2 + fixture_random(&random) % (400 * DAY_NS);
        uint64_t t = fixture_random(&random) >> (fixture_random(&random) % 40);
        t = i % 5 == 0 ? t / w * w - (i % 10 == 0) : t;
        uint64_t into;
        uint64_t k = weir_window_at(t, w, weir_window_inverse(w), &into);
        assert_int_equal(k, t / w);
        assert_int_equal(into, t % w);
    }
}

static void test_ids_wrap(void **state)
{
    (void)state;
    bool ahead;
    assert_int_equal(weir_window_units(weir_window_word(UINT32_MAX, 7), 0, &ahead), 0);
    assert_false(ahead);
    assert_int_equal(weir_window_units(weir_window_word(0, 7), UINT32_MAX, &ahead), 0);
    assert_true(ahead);
    assert_int_equal(weir_window_units(weir_window_word(5, 7), 5, &ahead), 7);
    assert_false(ahead);
    /* A word that was never used is empty for every id, on both sides of the sign. */
    assert_int_equal(weir_window_units(0, UINT32_C(0x80000001), &ahead), 0);
    assert_false(ahead);
    assert_true(weir_window_legal(0, UINT32_C(0x90000000), 5));
    assert_true(weir_window_legal(weir_window_word(8, 5), 7, 5));
    assert_false(weir_window_legal(weir_window_word(9, 5), 7, 5));
    assert_true(weir_window_legal(weir_window_word(7, 10), 7, 5)); /* overdrawn by a surcharge */
    assert_false(weir_window_legal(weir_window_word(7, 11), 7, 5));
}

static void test_straddle_at_the_boundary(void **state)
{
    (void)state;
    struct weir_shm_limit_row row = window_row(100, WEIR_NS_PER_S);
    struct weir_server_clock c = {.state = WEIR_CLOCK_KNOWN, .jitter_ns = 1000, .error_ns = 50};
    struct weir_window_span span;
    uint64_t end = 7 * WEIR_NS_PER_S;
    /* [now - E, now + J + E] reaches the boundary, or stops one ns before it. */
    weir_window_span_at(&span, &(struct weir_window_cache){0}, &row, &c, 50, end - 1000 - 50 - 1);
    assert_int_equal(span.windows, 1);
    assert_int_equal(span.first, 6);
    weir_window_span_at(&span, &(struct weir_window_cache){0}, &row, &c, 50, end - 1000 - 50);
    assert_int_equal(span.windows, 2);
    weir_window_span_at(&span, &(struct weir_window_cache){0}, &row, &c, 50, end + 49);
    assert_int_equal(span.first, 6);
    assert_int_equal(span.windows, 2);
    weir_window_span_at(&span, &(struct weir_window_cache){0}, &row, &c, 50, end + 50);
    assert_int_equal(span.first, 7);
    assert_int_equal(span.windows, 1);
    assert_int_equal(span.left_ns, WEIR_NS_PER_S);
}

static void test_caps(void **state)
{
    (void)state;
    struct weir_shm_limit_row row;
    fixture_limit_row(&row,
                      &(struct fixture_limit){.kind = WEIR_LIMIT_FIXED_WINDOW,
                                              .quota = 120,
                                              .window_ns = WEIR_NS_PER_S},
                      WEIR_NS_PER_S + 1);
    assert_int_equal(row.quota_unaligned, 120 / 4); /* 2 + ceil(1.000000001) */
    struct weir_server_clock c = {.state = WEIR_CLOCK_UNKNOWN};
    assert_int_equal(weir_window_cap(&row, &c, 0), 30);
    c.state = WEIR_CLOCK_KNOWN;
    assert_int_equal(weir_window_cap(&row, &c, WEIR_NS_PER_S), 120);
    assert_int_equal(weir_window_cap(&row, &c, WEIR_NS_PER_S + 1), 120 / 2);
    assert_int_equal(weir_window_cap(&row, &c, 2 * WEIR_NS_PER_S + 1), 120 / 3);
    /* The cap never grows with the width. */
    uint32_t last = 120;
    for (uint64_t width = 0; width < 9 * WEIR_NS_PER_S; width += WEIR_NS_PER_S / 8) {
        uint32_t cap = weir_window_cap(&row, &c, width);
        assert_true(cap <= last);
        last = cap;
    }
}

static void test_headroom(void **state)
{
    (void)state;
    struct weir_shm_limit_row row;
    fixture_limit_row(&row,
                      &(struct fixture_limit){.kind = WEIR_LIMIT_FIXED_WINDOW,
                                              .quota = 1000,
                                              .window_ns = WEIR_NS_PER_S,
                                              .headroom_ppm = {100000, 50000, 0, 0},
                                              .dearest = 10},
                      0);
    static const uint32_t whole[] = {0, 100, 150, 151, 152};
    for (unsigned p = 0; p < WEIR_PRIORITY_CNT; p++) {
        uint32_t last = UINT32_MAX;
        for (uint64_t left = WEIR_NS_PER_S; left > 0; left -= WEIR_NS_PER_S / 1000) {
            uint32_t reserve = weir_window_reserve(&row, p, left, row.quota);
            assert_true(reserve <= last);
            assert_true(reserve >= row.reserve_min[p]);
            assert_true(p == 0 || reserve >= weir_window_reserve(&row, p - 1, left, row.quota));
            last = reserve;
        }
        assert_in_range(weir_window_reserve(&row, p, WEIR_NS_PER_S, row.quota), whole[p],
                        whole[p] + (p > 0));
        assert_int_equal(weir_window_reserve(&row, p, 0, row.quota), p == 0 ? 0 : 10 + p - 1);
    }
}

/* Inside a zone the span is what it says, at every instant looked at; also while the error grows fast. Oracle: weir_window_span_at. */
static void test_zones(void **state)
{
    (void)state;
    uint64_t seed = 7;
    uint32_t found = 0;
    for (int i = 0; i < 20000; i++) {
        uint64_t w = 1000 + fixture_random_below(&seed, 100 * WEIR_NS_PER_MS);
        struct weir_shm_limit_row row = window_row(100, w);
        const struct weir_server_clock clock = {
            .offset_ns = (int64_t)fixture_random_below(&seed, WEIR_NS_PER_S),
            .error_ns = fixture_random_below(&seed, w / 4),
            .sampled_at_ns = fixture_random_below(&seed, WEIR_NS_PER_S),
            .drift_ppb = fixture_random_below(&seed, i % 2 == 0 ? 1000 : 900000000),
            .jitter_ns = fixture_random_below(&seed, w / 2),
            .state = i % 5 == 0 ? WEIR_CLOCK_UNKNOWN : WEIR_CLOCK_KNOWN};
        uint64_t now_ns = WEIR_NS_PER_S + fixture_random_below(&seed, w);
        struct weir_window_zone zone;
        weir_window_zone_make(&zone, &row, &clock, now_ns);
        found += zone.length_ns > 0;
        for (int n = 0; n < 4 && zone.length_ns > 0; n++) {
            uint64_t in_ns =
                n == 0 ? zone.length_ns - 1 : fixture_random_below(&seed, zone.length_ns);
            uint64_t error_ns = weir_server_clock_error_ns(&clock, now_ns + in_ns);
            struct weir_window_span span;
            weir_window_span_at(&span, &(struct weir_window_cache){0}, &row, &clock, error_ns,
                                now_ns + in_ns);
            assert_int_equal(span.windows, 1);
            assert_int_equal(span.first, zone.first);
            assert_int_equal(span.cap, zone.cap);
            assert_int_equal(zone.end_ns - weir_window_low_ns(&clock, error_ns, now_ns + in_ns),
                             span.left_ns);
        }
    }
    assert_true(found > 2000);
}

static void test_overflow_extremes(void **state)
{
    (void)state;
    struct weir_shm_limit_row row = window_row(INT32_MAX, 366 * DAY_NS);
    struct weir_shm_limit_word word = {.word = {0}};
    struct weir_shm_foreign foreign = {0};
    struct weir_limit_time time = {.now_ns = UINT64_C(1) << 62, .server = &exact};
    struct weir_limit_plan plan = {
        .row = &row, .word = &word, .foreign = &foreign, .units = INT32_MAX};
    assert_int_equal(weir_limit_plan(&plan, &time), WEIR_LIMIT_YES);
    assert_int_equal(weir_limit_take_again(&plan, &time, false), WEIR_LIMIT_YES);
    plan.units = 1;
    assert_int_equal(weir_limit_plan(&plan, &time), WEIR_LIMIT_NO);
    plan.units = 0; /* takes nothing, asks nothing */
    assert_int_equal(weir_limit_plan(&plan, &time), WEIR_LIMIT_YES);
    plan.units = (uint32_t)INT32_MAX + 1;
    assert_int_equal(weir_limit_plan(&plan, &time), WEIR_LIMIT_NEVER);
    uint32_t current = (uint32_t)(time.now_ns / row.window_ns);
    foreign.word[current & 1] = weir_window_word(current, UINT32_MAX);
    plan.units = 1;
    assert_int_equal(weir_limit_plan(&plan, &time), WEIR_LIMIT_NO); /* own + foreign > 2^32 */

    /* Others of a bucket count until an instant; those of a window mean nothing here. */
    row = bucket_row(INT32_MAX, 366 * DAY_NS);
    word.word[0] = 0;
    plan.units = 2;
    foreign.word[0] = weir_foreign_make(time.now_ns + WEIR_NS_PER_S, INT32_MAX - 1);
    assert_int_equal(weir_limit_plan(&plan, &time), WEIR_LIMIT_NO);
    plan.units = 1;
    assert_int_equal(weir_limit_plan(&plan, &time), WEIR_LIMIT_YES);
    foreign.word[0] = weir_foreign_make(time.now_ns + WEIR_NS_PER_S, UINT32_MAX);
    assert_int_equal(weir_limit_plan(&plan, &time), WEIR_LIMIT_NO);
    foreign.word[0] = weir_foreign_make(time.now_ns - WEIR_NS_PER_S, UINT32_MAX);
    plan.units = INT32_MAX;
    assert_int_equal(weir_limit_plan(&plan, &time), WEIR_LIMIT_YES);
    assert_int_equal(weir_limit_take_again(&plan, &time, false), WEIR_LIMIT_YES);
    plan.units = 1;
    assert_int_equal(weir_limit_plan(&plan, &time), WEIR_LIMIT_NO);
    assert_int_equal(plan.earliest_ns, time.now_ns + row.unit_ns);
    word.word[0] = UINT64_MAX;
    assert_int_equal(weir_limit_plan(&plan, &time), WEIR_LIMIT_AGAIN);
}

static void test_refunds(void **state)
{
    (void)state;
    struct weir_shm_limit_row row = window_row(10, WEIR_NS_PER_S);
    uint64_t now_epoch = 3;
    struct weir_limit_epoch epoch = {.now = &now_epoch, .seen = 3};
    struct weir_charge c = {.units = 4, .window = 6, .windows = 1, .kind = WEIR_LIMIT_FIXED_WINDOW};
    struct weir_shm_limit_word word = {.word = {weir_window_word(6, 3), weir_window_word(7, 5)}};
    const struct weir_limit_place at = {&row, &word, NULL};
    const struct weir_limit_grant grant = {.epoch = epoch};
    assert_true(weir_limit_give(&at, &c, &grant));
    assert_int_equal((uint32_t)word.word[0], 0);            /* never below zero */
    assert_int_equal(word.word[1], weir_window_word(7, 5)); /* the other is not touched */
    assert_false(weir_limit_give(&at, &c, &grant));         /* nothing left to give */
    c.window = 5;
    assert_false(weir_limit_give(&at, &c, &grant)); /* 7 is not 5 */
    c.window = 7;
    now_epoch = 4;
    assert_false(weir_limit_give(&at, &c, &grant)); /* another timeline's 7 */
    assert_int_equal(word.word[1], weir_window_word(7, 5));
    assert_int_equal(weir_bucket_refund(1000, 100, 50, 80), 1000 - 30);
    assert_int_equal(weir_bucket_refund(1000, 130, 50, 80), 1000);
    assert_int_equal(weir_bucket_refund(10, 80, 50, 80), 0);
    assert_int_equal(weir_bucket_refund(1000, 70, 50, 80), 950); /* a clock behind the grant's */
}

static enum weir_limit_damage audit(const struct weir_shm_limit_row *row,
                                    struct weir_shm_limit_word *word,
                                    struct weir_shm_limit_word *own,
                                    const struct weir_server_clock *server,
                                    struct weir_clock *clock)
{
    const struct weir_limit_place at = {row, word, NULL};
    const struct weir_limit_place mine = {row, own, NULL};
    return weir_limit_audit(&at, &mine, server, clock);
}

static void test_audit_windows(void **state)
{
    (void)state;
    struct weir_shm_limit_row row = window_row(10, WEIR_NS_PER_S);
    struct weir_clock clock = clock_at(20 * WEIR_NS_PER_S + 500 * WEIR_NS_PER_MS);
    static const struct {
        uint64_t word, own;
        enum weir_limit_damage damage;
    } cases[] = {
        {0, 0, WEIR_LIMIT_SOUND},
        {UINT64_C(20) << 32 | 10, 0, WEIR_LIMIT_SOUND},
        {UINT64_C(20) << 32 | 20, 0, WEIR_LIMIT_SOUND},
        {UINT64_C(20) << 32 | 21, 0, WEIR_LIMIT_ABOVE},
        {UINT64_C(22) << 32 | 1, 0, WEIR_LIMIT_AHEAD},
        {UINT64_C(1020) << 32, 0, WEIR_LIMIT_AHEAD},
        {UINT64_C(18) << 32 | 9, 0, WEIR_LIMIT_SOUND},
        {UINT64_C(20) << 32 | 3, UINT64_C(20) << 32 | 4, WEIR_LIMIT_FORGOTTEN},
        {UINT64_C(20) << 32 | 4, UINT64_C(20) << 32 | 4, WEIR_LIMIT_SOUND},
        {UINT64_C(18) << 32 | 9, UINT64_C(20) << 32 | 1, WEIR_LIMIT_FORGOTTEN},
    };
    for (size_t i = 0; i < WEIR_ARRAY_CNT(cases); i++) {
        struct weir_shm_limit_word word = {.word = {cases[i].word, 0}};
        struct weir_shm_limit_word own = {.word = {cases[i].own, 0}};
        assert_int_equal(audit(&row, &word, &own, &exact, &clock), cases[i].damage);
        assert_int_equal(word.word[0], cases[i].damage == WEIR_LIMIT_SOUND
                                           ? cases[i].word
                                           : weir_window_word(20, 10));
    }
    /* Damage in the next window's word is found once, not at every look until that window begins. */
    struct weir_shm_limit_word next = {.word = {weir_window_word(20, 3), weir_window_word(23, 1)}};
    struct weir_shm_limit_word none = {.word = {0}};
    assert_int_equal(audit(&row, &next, &none, &exact, &clock), WEIR_LIMIT_AHEAD);
    assert_int_equal(next.word[0], weir_window_word(20, 10));
    assert_int_equal(next.word[1], weir_window_word(19, 10));
    assert_int_equal(audit(&row, &next, &none, &exact, &clock), WEIR_LIMIT_SOUND);
    /* In the last 10 ms a word of the window after next may be a faster trader's: its charges must not be wiped out. */
    clock = clock_at(21 * WEIR_NS_PER_S - 5 * WEIR_NS_PER_MS);
    struct weir_shm_limit_word word = {.word = {weir_window_word(22, 6), weir_window_word(21, 2)}};
    struct weir_shm_limit_word own = {.word = {0}};
    assert_int_equal(audit(&row, &word, &own, &exact, &clock), WEIR_LIMIT_SOUND);
    assert_int_equal(word.word[0], weir_window_word(22, 6));
}

static void test_audit_buckets(void **state)
{
    (void)state;
    struct weir_shm_limit_row row = bucket_row(10, WEIR_NS_PER_S);
    uint64_t now = 20 * WEIR_NS_PER_S;
    uint64_t full = 10 * row.unit_ns;
    struct weir_clock clock = clock_at(now);
    struct weir_shm_limit_word word = {.word = {now + 2 * full + WEIR_NS_PER_MS, 0}};
    struct weir_shm_limit_word own = {.word = {0}};
    assert_int_equal(audit(&row, &word, &own, NULL, &clock), WEIR_LIMIT_SOUND);
    word.word[0]++;
    assert_int_equal(audit(&row, &word, &own, NULL, &clock), WEIR_LIMIT_AHEAD);
    assert_int_equal(word.word[0], now + full);
    word.word[0] = 5;
    own.word[0] = now + 2 * row.unit_ns;
    assert_int_equal(audit(&row, &word, &own, NULL, &clock), WEIR_LIMIT_FORGOTTEN);
    assert_int_equal(word.word[0], now + full);
}

static void test_realign(void **state)
{
    (void)state;
    struct weir_shm_limit_row row = window_row(10, WEIR_NS_PER_S);
    uint64_t now = 20 * WEIR_NS_PER_S + 400 * WEIR_NS_PER_MS;
    struct weir_server_clock to = exact;
    struct weir_shm_limit_word word = {.word = {weir_window_word(20, 6), weir_window_word(19, 7)}};
    /* A step: the last two old windows may both matter, and each new one that may be current gets them all; the one after it cannot be reached yet. */
    to.offset_ns = 3000000000;
    weir_limit_realign(&row, &word, &exact, &to, now);
    assert_int_equal(word.word[1], weir_window_word(23, 10));
    assert_int_equal(word.word[0], 0);
    /* ... unless a call that is under way may still be counted there. */
    word = (struct weir_shm_limit_word){.word = {weir_window_word(20, 6), weir_window_word(19, 7)}};
    to.jitter_ns = 700 * WEIR_NS_PER_MS;
    weir_limit_realign(&row, &word, &exact, &to, now);
    assert_int_equal(word.word[1], weir_window_word(23, 10));
    assert_int_equal(word.word[0], weir_window_word(24, 10));
    to.jitter_ns = 0;
    /* What is older than that is over. */
    word = (struct weir_shm_limit_word){.word = {weir_window_word(20, 3), weir_window_word(17, 7)}};
    to.offset_ns = -600000000;
    weir_limit_realign(&row, &word, &exact, &to, now);
    assert_int_equal(word.word[1], weir_window_word(19, 3));
    assert_int_equal(word.word[0], 0);
    /* Nothing known before: a word that was overwritten within J after a boundary may hide a full window. */
    struct weir_server_clock unknown = {.state = WEIR_CLOCK_UNKNOWN,
                                        .jitter_ns = WEIR_NS_PER_S / 2};
    word = (struct weir_shm_limit_word){.word = {weir_window_word(20, 1), weir_window_word(19, 1)}};
    weir_limit_realign(&row, &word, &unknown, &exact, now);
    assert_int_equal(word.word[0], weir_window_word(20, 10));
    unknown.jitter_ns = WEIR_NS_PER_S / 4;
    word = (struct weir_shm_limit_word){.word = {weir_window_word(20, 1), weir_window_word(19, 1)}};
    weir_limit_realign(&row, &word, &unknown, &exact, now);
    assert_int_equal(word.word[0], weir_window_word(20, 2));
    /* Errors wider than a window: everything recent may have been overwritten, even by a charge that was given back. */
    struct weir_server_clock wide = {.state = WEIR_CLOCK_KNOWN, .error_ns = WEIR_NS_PER_S};
    word = (struct weir_shm_limit_word){.word = {weir_window_word(20, 0), 0}};
    weir_limit_realign(&row, &word, &wide, &exact, now);
    assert_int_equal(word.word[0], weir_window_word(20, 10));
    /* And where the new error is wide, the last windows that may be current are marked. */
    word = (struct weir_shm_limit_word){.word = {weir_window_word(20, 4), 0}};
    weir_limit_realign(&row, &word, &exact, &wide, now);
    assert_int_equal(word.word[0], weir_window_word(20, 4));
    assert_int_equal(word.word[1], weir_window_word(21, 4));
    to.offset_ns = -600000000;
    weir_limit_spend(&(struct weir_limit_place){&row, &word, NULL}, &to, now);
    assert_int_equal(word.word[1], weir_window_word(19, 10));
    to.state =
        WEIR_CLOCK_UNKNOWN; /* cut by a convention: the next one overlaps what was charged before, too */
    weir_limit_spend(&(struct weir_limit_place){&row, &word, NULL}, &to, now);
    assert_int_equal(word.word[1], weir_window_word(19, 10));
    assert_int_equal(word.word[0], weir_window_word(20, 10));
    to.state = WEIR_CLOCK_KNOWN;
    /* A bucket (spend:bucket): full for as long as all of it takes to drain, whatever it held. */
    const struct weir_shm_limit_row bucket = {
        .kind = WEIR_LIMIT_TOKEN_BUCKET, .quota = 10, .unit_ns = 1000};
    struct weir_shm_limit_word held = {.word = {now + 3, 7}};
    weir_limit_spend(&(struct weir_limit_place){&bucket, &held, NULL}, &to, now);
    assert_int_equal(held.word[0], now + (uint64_t)weir_limit_peak(&bucket) * bucket.unit_ns);
    assert_int_equal(weir_limit_peak(&bucket), 10);
    assert_int_equal(held.word[1], 8);

    struct weir_server_clock a = {.state = WEIR_CLOCK_KNOWN, .error_ns = 100};
    struct weir_server_clock b = {.state = WEIR_CLOCK_KNOWN, .error_ns = 100, .offset_ns = 200};
    assert_false(weir_limit_realign_needed(&row, &a, &b, 0)); /* the intervals touch */
    b.offset_ns = 201;
    assert_true(weir_limit_realign_needed(&row, &a, &b, 0));
    b.offset_ns = 0;
    b.error_ns = WEIR_NS_PER_S;
    assert_false(weir_limit_realign_needed(&row, &a, &b, 0)); /* the cap shrinks */
    assert_true(weir_limit_realign_needed(&row, &b, &a, 0));  /* the cap grows */
    b.state = WEIR_CLOCK_UNKNOWN;
    assert_true(weir_limit_realign_needed(&row, &a, &b, 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_division_is_exact),
        cmocka_unit_test(test_ids_wrap),
        cmocka_unit_test(test_straddle_at_the_boundary),
        cmocka_unit_test(test_caps),
        cmocka_unit_test(test_headroom),
        cmocka_unit_test(test_zones),
        cmocka_unit_test(test_overflow_extremes),
        cmocka_unit_test(test_refunds),
        cmocka_unit_test(test_audit_windows),
        cmocka_unit_test(test_audit_buckets),
        cmocka_unit_test(test_realign),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
