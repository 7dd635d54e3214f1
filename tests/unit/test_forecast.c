/*
 * test_forecast.c: what a limit will do.
 *
 * Oracle: brute force. The kind's own test is stepped forward in time, a nanosecond at a time, until it passes; a consumer at the given pace is
 * played call by call until it is refused; permits are counted by the test itself. Each random case prints its seed when it fails.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "fixture.h"
#include "weir_forecast.h"

#define HOUR_NS (UINT64_C(3600) * WEIR_NS_PER_S)

static uint64_t seed;
static struct fixture venue;

static uint64_t below(uint64_t n)
{
    return fixture_random_below(&seed, n);
}

/* One limit at one instant. */
struct world {
    struct weir_shm_limit_row row;
    struct weir_server_clock clock;
    struct weir_shm_limit_word word;
    struct weir_shm_foreign foreign;
    uint64_t *cell;
    uint64_t now_ns;
};

static struct weir_limit_time time_at(const struct world *w, uint64_t at_ns)
{
    return (struct weir_limit_time){.now_ns = at_ns,
                                    .server = &w->clock,
                                    .error_ns = weir_server_clock_error_ns(&w->clock, at_ns)};
}

static bool passes_at(struct world *w, uint64_t at_ns, uint32_t units, unsigned priority)
{
    struct weir_limit_time t = time_at(w, at_ns);
    struct weir_limit_plan p = {.row = &w->row,
                                .word = &w->word,
                                .cell = w->cell,
                                .foreign = &w->foreign,
                                .units = units,
                                .priority = priority};
    return (w->cell != NULL ? weir_limit_plan_other(&p, &t) : weir_limit_plan(&p, &t)) ==
           WEIR_LIMIT_YES;
}

static uint64_t brute_earliest(struct world *w, uint64_t horizon_ns, uint32_t units,
                               unsigned priority)
{
    for (uint64_t t = w->now_ns; t < w->now_ns + horizon_ns; t++) {
        if (passes_at(w, t, units, priority)) {
            return t;
        }
    }
    return UINT64_MAX;
}

static uint64_t earliest(const struct world *w, uint32_t units, unsigned priority)
{
    struct weir_limit_time t = time_at(w, w->now_ns);
    struct weir_shm_limit_word word = w->word;
    struct weir_limit_place at = {&w->row, &word, w->cell};
    return weir_limit_earliest(&at, &w->foreign, &t, units, priority);
}

static void headroom_draw(struct fixture_limit *limit)
{
    for (unsigned p = 0; p < WEIR_PRIORITY_CNT; p++) {
        limit->headroom_ppm[p] = below(2) == 0 ? 0 : (uint32_t)below(150000);
    }
}

/* ---------------------------------------------------------------------------------------------- earliest */

static void window_draw(struct world *w)
{
    struct fixture_limit limit = {.kind = WEIR_LIMIT_FIXED_WINDOW,
                                  .quota = 1 + (uint32_t)below(24),
                                  .window_ns = 20 + below(300),
                                  .dearest = 1 + (uint32_t)below(3)};
    headroom_draw(&limit);
    uint64_t jitter_ns = below(4) == 0 ? below(3 * limit.window_ns) : below(limit.window_ns / 3);
    *w = (struct world){.now_ns = 1000000 + below(100000)};
    fixture_limit_row(&w->row, &limit, jitter_ns);
    w->clock = (struct weir_server_clock){
        .state = below(4) == 0 ? WEIR_CLOCK_UNKNOWN : WEIR_CLOCK_KNOWN,
        .offset_ns = (int64_t)below(5000) - 2500,
        .error_ns = below(3) == 0 ? below(2 * limit.window_ns) : below(20),
        .sampled_at_ns = w->now_ns - below(1000),
        .drift_ppb = below(3) == 0 ? below(50000000) : 0, /* up to 5 %, so that the cap moves */
        .jitter_ns = jitter_ns};
    struct weir_window_span span;
    struct weir_limit_time t = time_at(w, w->now_ns);
    weir_window_span_at(&span, &(struct weir_window_cache){0}, &w->row, &w->clock, t.error_ns,
                        w->now_ns);
    for (unsigned i = 0; i < 2; i++) {
        uint32_t k = span.first + i - (below(6) == 0 ? 2 : 0);
        w->word.word[k & 1] =
            below(5) == 0 ? 0 : weir_window_word(k, (uint32_t)below(w->row.quota + 1));
    }
    for (unsigned i = 0; i < 2 && below(2) == 0; i++) {
        uint32_t k = span.first + i;
        w->foreign.word[k & 1] = weir_window_word(k, (uint32_t)below(w->row.quota + 4));
    }
}

static void test_window_earliest_is_brute_force(void **state)
{
    (void)state;
    unsigned later = 0;
    unsigned never = 0;
    for (uint64_t i = 0; i < 8000; i++) {
        struct world w;
        seed = i;
        window_draw(&w);
        uint32_t units = 1 + (uint32_t)below(w.row.quota);
        unsigned priority = (unsigned)below(WEIR_PRIORITY_CNT);
        uint64_t wanted = brute_earliest(&w, 7 * w.row.window_ns, units, priority);
        uint64_t got = earliest(&w, units, priority);
        if (got != wanted) {
            print_error("seed %llu: %lld ns instead of %lld ns from now, window %llu ns\n",
                        (unsigned long long)i, (long long)(got - w.now_ns),
                        (long long)(wanted - w.now_ns), (unsigned long long)w.row.window_ns);
            fail();
        }
        never += wanted == UINT64_MAX;
        later += wanted != UINT64_MAX && wanted > w.now_ns;
    }
    /* the cases are cases */
    assert_true(later > 1500 && never > 200);
}

static void test_bucket_earliest_is_brute_force(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < 5000; i++) {
        seed = i;
        struct fixture_limit limit = {.kind = WEIR_LIMIT_TOKEN_BUCKET,
                                      .quota = 1 + (uint32_t)below(12),
                                      .window_ns = 10 + below(400)};
        headroom_draw(&limit);
        struct world w = {.now_ns = 100000 + below(1000)};
        fixture_limit_row(&w.row, &limit, below(20));
        w.word.word[0] = w.now_ns - 50 + below(60 + (uint64_t)w.row.quota * w.row.unit_ns);
        uint32_t units = 1 + (uint32_t)below(w.row.quota);
        unsigned priority = (unsigned)below(WEIR_PRIORITY_CNT);
        uint64_t wanted =
            brute_earliest(&w, 2 * (uint64_t)w.row.quota * w.row.unit_ns + 100, units, priority);
        if (earliest(&w, units, priority) != wanted) {
            print_error("seed %llu\n", (unsigned long long)i);
            fail();
        }
    }
}

/* What others use of a bucket is forgotten at one instant, at a tick of 2^24 ns: looked for around it and around the bucket's own. */
static void test_bucket_with_others(void **state)
{
    (void)state;
    unsigned waited = 0;
    for (uint64_t i = 0; i < 3000; i++) {
        seed = i;
        struct fixture_limit limit = {.kind = WEIR_LIMIT_TOKEN_BUCKET,
                                      .quota = 2 + (uint32_t)below(30),
                                      .window_ns = 100 * WEIR_NS_PER_MS};
        struct world w = {.now_ns = 5 * WEIR_NS_PER_S + below(WEIR_NS_PER_S)};
        fixture_limit_row(&w.row, &limit, 0);
        w.word.word[0] = w.now_ns + below((uint64_t)w.row.quota * w.row.unit_ns);
        w.foreign.word[0] = weir_foreign_make(w.now_ns + below(100 * WEIR_NS_PER_MS),
                                              (uint32_t)below(w.row.quota + 3));
        uint32_t units = 1 + (uint32_t)below(w.row.quota);
        uint64_t got = earliest(&w, units, 0);
        assert_true(got != UINT64_MAX);
        assert_true(passes_at(&w, got, units, 0));
        /* and nowhere before: at random, just before, and at each tick */
        for (uint64_t t = w.now_ns; t < got; t = ((t >> 24) + 1) << 24) {
            assert_false(passes_at(&w, t, units, 0));
        }
        for (int k = 0; k < 40 && got > w.now_ns; k++) {
            assert_false(
                passes_at(&w, got - 1 - below(weir_min_u64(got - w.now_ns, 1000)), units, 0));
            assert_false(passes_at(&w, w.now_ns + below(got - w.now_ns), units, 0));
        }
        waited += got > w.now_ns;
    }
    assert_true(waited > 1000);
}

static bool nobody_lives(uint64_t cell, const void *arg)
{
    (void)cell;
    (void)arg;
    return false;
}

/* Cells, parts and units in flight, charged by the permit path itself; then time is stepped until the kind's test passes. */
static void cells_case(uint32_t kind, uint32_t form, uint64_t i, unsigned *later, unsigned *never)
{
    struct weir_permit_view view;
    struct weir_permit permit[64];
    seed = i * 4 + kind * 2 + form;
    struct fixture_limit limit = {.kind = kind,
                                  .form = form,
                                  .quota = 1 + (uint32_t)below(12),
                                  .window_ns = 400 + below(400),
                                  .rest_ns = below(300)};
    limit.orphan_ns = limit.rest_ns + below(1000);
    if (below(3) == 0) {
        limit.headroom_ppm[0] = 100000;
    }
    fixture_open(&venue, &(struct fixture_spec){.jitter_ns = below(50),
                                                .limit_cnt = 1,
                                                .route_cnt = 1,
                                                .limit[0] = limit,
                                                .route[0] = {.limit_cnt = 1, .cost[0] = 1}});
    uint64_t now_ns = 100000;
    fixture_view(&venue, &view, now_ns);
    for (int n = 0; n < 40; n++) {
        struct weir_cost cost = {.cnt = 1, .units = {1 + (uint32_t)below(2)}};
        now_ns += below(60);
        fixture_time_set(&view, now_ns);
        permit[n].state = WEIR_PERMIT_NONE;
        if (below(3) > 0) {
            (void)weir_permit_take(&view, 0, 0, &cost, 0, &permit[n]);
        }
        int back = (int)below((uint64_t)n + 1);
        if (below(4) == 0 && permit[back].state == WEIR_PERMIT_GRANTED) {
            (void)(below(2) == 0 ? weir_permit_give(&view, &permit[back])
                                 : weir_permit_end(&view, &permit[back], NULL));
        }
    }
    struct weir_limit_place at = fixture_place(&venue, &view, 0, false);
    if (kind == WEIR_LIMIT_CONCURRENCY && below(2) == 0) { /* the owner dies, with what it holds */
        (void)weir_units_reap(at.row, at.cell, now_ns, nobody_lives, NULL);
    }
    struct world w = {.row = *at.row, .word = *at.word, .cell = at.cell, .now_ns = now_ns};
    w.row = *at.row;
    uint32_t units = 1 + (uint32_t)below(w.row.quota < 8 ? w.row.quota : 8);
    unsigned priority = (unsigned)below(WEIR_PRIORITY_CNT);
    uint64_t wanted = UINT64_MAX;
    for (uint64_t t = now_ns; t < now_ns + 3000 && wanted == UINT64_MAX; t++) {
        struct world copy = w; /* the test may move a hint: each instant is asked for itself */
        wanted = passes_at(&copy, t, units, priority) ? t : UINT64_MAX;
    }
    uint64_t got = earliest(&w, units, priority);
    if (got != wanted) {
        print_error("kind %u form %u case %llu: %lld instead of %lld ns from now\n", kind, form,
                    (unsigned long long)i, (long long)(got - now_ns), (long long)(wanted - now_ns));
        fail();
    }
    *later += wanted != UINT64_MAX && wanted > now_ns;
    *never += wanted == UINT64_MAX;
    fixture_close(&venue);
}

static void test_cells_earliest_is_brute_force(void **state)
{
    (void)state;
    unsigned later = 0;
    unsigned never = 0;
    for (uint64_t i = 0; i < 600; i++) {
        cells_case(WEIR_LIMIT_SLIDING_WINDOW, WEIR_FORM_CELLS, i, &later, &never);
        cells_case(WEIR_LIMIT_SLIDING_WINDOW, WEIR_FORM_PARTS, i, &later, &never);
        cells_case(WEIR_LIMIT_CONCURRENCY, WEIR_FORM_UNITS, i, &later, &never);
    }
    assert_true(later > 200 && never > 100);
}

/* A monitor sees {used, free again}: at the latest then. */
static void test_earliest_of_a_view(void **state)
{
    (void)state;
    struct world w = {.now_ns = 1000};
    struct fixture_limit limit = {
        .kind = WEIR_LIMIT_SLIDING_WINDOW, .quota = 10, .window_ns = WEIR_NS_PER_S};
    fixture_limit_row(&w.row, &limit, 0);
    w.word.word[0] = 8;
    w.word.word[1] = 5000;
    assert_int_equal(earliest(&w, 2, 0), 1000);
    assert_int_equal(earliest(&w, 3, 0), 5000);
    w.row.kind = WEIR_LIMIT_CONCURRENCY;
    assert_true(earliest(&w, 3, 0) == UINT64_MAX);
}

static void test_earliest_at_its_bounds(void **state)
{
    (void)state;
    struct world w;
    seed = 1;
    window_draw(&w);
    assert_true(earliest(&w, 0, 0) == w.now_ns);
    assert_true(earliest(&w, w.row.quota + 1, 0) == UINT64_MAX);
    assert_true(earliest(&w, 1, WEIR_PRIORITY_CNT) == UINT64_MAX);
    w.row.kind = WEIR_LIMIT_UNSET;
    assert_true(earliest(&w, 1, 0) == UINT64_MAX);
    /* a word from windows to come, as a trader might scribble it: it stays shut until that window has come, or says never */
    window_draw(&w);
    w.clock = (struct weir_server_clock){.state = WEIR_CLOCK_KNOWN};
    w.word.word[0] = weir_window_word(UINT32_MAX / 2, 1);
    w.word.word[1] = weir_window_word(UINT32_MAX / 2 + 1, 1);
    assert_true(earliest(&w, 1, 0) == UINT64_MAX);
}

/* A real minute and a real day: bisecting must do what stepping could not. */
static void test_earliest_of_long_windows(void **state)
{
    (void)state;
    struct world w = {.now_ns = 100 * HOUR_NS, .clock = {.state = WEIR_CLOCK_KNOWN}};
    /* 10 % for critical: a lower class gets it back bit by bit */
    struct fixture_limit limit = {.kind = WEIR_LIMIT_FIXED_WINDOW,
                                  .quota = 1000,
                                  .window_ns = 24 * HOUR_NS,
                                  .headroom_ppm = {100000}};
    fixture_limit_row(&w.row, &limit, 0);
    uint32_t k = (uint32_t)(100 / 24);
    w.word.word[k & 1] = weir_window_word(k, 950);
    /* 4 h of the day are over: reserve 100 * 20/24 + 1; 950 + 10 + 40 <= 1000 once floor(100 * left/24 h) + 1 <= 40 */
    uint64_t got = earliest(&w, 10, WEIR_PRIORITY_HIGH);
    assert_false(passes_at(&w, got - 1, 10, WEIR_PRIORITY_HIGH));
    assert_true(passes_at(&w, got, 10, WEIR_PRIORITY_HIGH));
    uint64_t left_ns = 24 * HOUR_NS * 40 / 100;
    assert_in_range(got, 120 * HOUR_NS - left_ns - WEIR_NS_PER_S,
                    120 * HOUR_NS - left_ns + WEIR_NS_PER_S);
    assert_true(earliest(&w, 10, WEIR_PRIORITY_CRITICAL) == w.now_ns);
    assert_true(earliest(&w, 51, WEIR_PRIORITY_CRITICAL) == 120 * HOUR_NS);
}

/* ---------------------------------------------------------------------------------------------- what was taken */

static struct weir_limit_reading reading_of(struct weir_permit_view *view, uint32_t limit)
{
    uint64_t seq;
    struct weir_limit_time t = {.now_ns = weir_clock_now(&view->time)};
    t.server = weir_permit_server_clock(view, 0, &seq);
    t.error_ns = weir_server_clock_error_ns(t.server, t.now_ns);
    const struct weir_limit_place at = fixture_place(&venue, view, limit, false);
    return weir_limit_reading_take(&at, &t, venue.memory->provider.clock_epoch);
}

static void venue_open(uint32_t kind, uint32_t quota, uint64_t window_ns, uint64_t jitter_ns)
{
    fixture_open(&venue, &(struct fixture_spec){
                             .jitter_ns = jitter_ns,
                             .limit_cnt = 1,
                             .route_cnt = 1,
                             .limit[0] = {.kind = kind, .quota = quota, .window_ns = window_ns},
                             .route[0] = {.limit_cnt = 1, .cost[0] = 1}});
}

/* Permits at random instants, many of them charged to two windows; read after each: every one counts once, what is given back counts back. */
static void test_window_taken_counts_each_once(void **state)
{
    (void)state;
    struct weir_permit_view view;
    venue_open(WEIR_LIMIT_FIXED_WINDOW, 1000, WEIR_NS_PER_S, WEIR_NS_PER_S / 3);
    uint64_t now_ns = 50 * WEIR_NS_PER_S;
    fixture_view(&venue, &view, now_ns);
    const struct weir_limit_place place = fixture_place(&venue, &view, 0, false);
    struct weir_limit_reading before = reading_of(&view, 0);
    int64_t counted = 0;
    int64_t granted = 0;
    seed = 7;
    for (int i = 0; i < 20000; i++) {
        struct weir_permit permit;
        now_ns += below(2 * WEIR_NS_PER_MS) + 1;
        fixture_time_set(&view, now_ns);
        struct weir_limit_reading first = reading_of(&view, 0); /* the window may have changed */
        counted += weir_limit_taken_micro(&place, &before, &first);
        if (weir_permit_take(&view, 0, 0, NULL, 0, &permit) == WEIR_OK) {
            granted++;
            before = first;
            fixture_time_set(&view, ++now_ns);
            first = reading_of(&view, 0);
            counted += weir_limit_taken_micro(&place, &before, &first);
            if (below(10) == 0) {
                before = first;
                granted--;
                assert_int_equal(weir_permit_give(&view, &permit), WEIR_OK);
                fixture_time_set(&view, ++now_ns);
                first = reading_of(&view, 0);
                counted += weir_limit_taken_micro(&place, &before, &first);
            }
        }
        before = first;
    }
    assert_true(granted > 10000);
    assert_int_equal(counted, granted * (int64_t)WEIR_MILLION);
    fixture_close(&venue);
}

/* 20/s, read every 10 ms: less than a unit comes back between two readings, so each counts exactly, idle or not. */
static void test_bucket_taken_is_exact_for_slow_buckets(void **state)
{
    (void)state;
    struct weir_permit_view view;
    venue_open(WEIR_LIMIT_TOKEN_BUCKET, 20, WEIR_NS_PER_S, 0);
    uint64_t now_ns = 50 * WEIR_NS_PER_S;
    fixture_view(&venue, &view, now_ns);
    const struct weir_limit_place place = fixture_place(&venue, &view, 0, false);
    struct weir_limit_reading before = reading_of(&view, 0);
    int64_t counted = 0;
    int64_t granted = 0;
    seed = 8;
    for (int i = 0; i < 50000; i++) {
        struct weir_permit permit;
        uint64_t into_ns = below(9 * WEIR_NS_PER_MS);
        fixture_time_set(&view, now_ns + into_ns);
        uint64_t calls = below(12) == 0 ? below(15) : 0;
        for (uint64_t c = 0; c < calls; c++) {
            granted += weir_permit_take(&view, 0, 0, NULL, 0, &permit) == WEIR_OK;
        }
        now_ns += 10 * WEIR_NS_PER_MS;
        fixture_time_set(&view, now_ns);
        struct weir_limit_reading now = reading_of(&view, 0);
        counted += weir_limit_taken_micro(&place, &before, &now);
        before = now;
    }
    assert_true(granted > 5000);
    /* the drift allowance in T leaves a rest of 100 ppm */
    assert_in_range(counted, granted * 999000, granted * 1001000);
    fixture_close(&venue);
}

/* Both forms of a sliding window, read every now and then: every unit counts once. */
static void test_sliding_taken_counts_each_once(void **state)
{
    (void)state;
    for (uint32_t form = WEIR_FORM_CELLS; form <= WEIR_FORM_PARTS; form++) {
        struct weir_permit_view view;
        fixture_open(&venue, &(struct fixture_spec){.limit_cnt = 1,
                                                    .route_cnt = 1,
                                                    .limit[0] = {.kind = WEIR_LIMIT_SLIDING_WINDOW,
                                                                 .form = form,
                                                                 .quota = 300,
                                                                 .window_ns = WEIR_NS_PER_S},
                                                    .route[0] = {.limit_cnt = 1, .cost[0] = 1}});
        uint64_t now_ns = 50 * WEIR_NS_PER_S;
        fixture_view(&venue, &view, now_ns);
        const struct weir_limit_place place = fixture_place(&venue, &view, 0, false);
        struct weir_limit_reading before = reading_of(&view, 0);
        int64_t counted = 0;
        int64_t granted = 0;
        seed = 12;
        for (int i = 0; i < 8000; i++) {
            struct weir_permit permit;
            now_ns += 1 + below(2 * WEIR_NS_PER_MS);
            fixture_time_set(&view, now_ns);
            granted += weir_permit_take(&view, 0, 0, NULL, 0, &permit) == WEIR_OK;
            if (below(10) == 0) {
                struct weir_limit_reading now = reading_of(&view, 0);
                counted += weir_limit_taken_micro(&place, &before, &now);
                before = now;
            }
        }
        struct weir_limit_reading last = reading_of(&view, 0);
        counted += weir_limit_taken_micro(&place, &before, &last);
        assert_true(granted > 2000);
        assert_int_equal(counted, granted * (int64_t)WEIR_MILLION);
        fixture_close(&venue);
    }
}

static void test_readings_that_cannot_be_compared(void **state)
{
    (void)state;
    struct world w;
    seed = 3;
    window_draw(&w);
    const struct weir_limit_place place = {&w.row, &w.word, NULL};
    struct weir_limit_reading a = {.at_ns = 5, .word = {weir_window_word(8, 3)}, .window = 8};
    struct weir_limit_reading b = a;
    b.at_ns = 9;
    b.word[0] += 4;
    assert_int_equal(weir_limit_taken_micro(&place, &a, &b), 4 * WEIR_MILLION);
    b.epoch = 1; /* re-aligned in between */
    assert_int_equal(weir_limit_taken_micro(&place, &a, &b), 0);
    b.epoch = 0;
    b.at_ns = 5;
    assert_int_equal(weir_limit_taken_micro(&place, &a, &b), 0);
    assert_int_equal(weir_limit_taken_micro(&place, &(struct weir_limit_reading){0}, &a), 0);
}

static void test_pace_forgets_and_starts_right(void **state)
{
    (void)state;
    struct weir_pace pace = {0};
    assert_int_equal(weir_pace_micro(&pace), 0);
    /* 1 unit each 10 ms: right from the first step on, not only after ten seconds */
    for (int i = 0; i < 5000; i++) {
        weir_pace_step(&pace, WEIR_MILLION, 10 * WEIR_NS_PER_MS, 10 * WEIR_NS_PER_S);
        assert_in_range(weir_pace_micro(&pace), 99999999, 100000001);
    }
    for (int i = 0; i < 1000; i++) {
        weir_pace_step(&pace, 0, 10 * WEIR_NS_PER_MS, 10 * WEIR_NS_PER_S);
    }
    assert_in_range(weir_pace_micro(&pace), 36000000,
                    38000000); /* 1/e of it after one time constant */
    weir_pace_step(&pace, -1000000 * (int64_t)WEIR_MILLION, WEIR_NS_PER_S, 10 * WEIR_NS_PER_S);
    assert_int_equal(weir_pace_micro(&pace), 0);     /* more given back than taken */
    weir_pace_step(&pace, 1, 0, 10 * WEIR_NS_PER_S); /* no time, no pace */
}

/* ---------------------------------------------------------------------------------------------- exhausted */

static void forecast_of(struct world *w, struct weir_forecast *out, uint32_t units,
                        unsigned priority, uint64_t pace_micro)
{
    struct weir_limit_state state;
    struct weir_limit_time t = time_at(w, w->now_ns);
    const struct weir_limit_place at = {&w->row, &w->word, w->cell};
    weir_limit_state_get(&state, &at, &w->foreign, &t);
    weir_forecast_make(out,
                       &(struct weir_forecast_for){.at = &at,
                                                   .foreign = &w->foreign,
                                                   .time = &t,
                                                   .units = units,
                                                   .priority = priority,
                                                   .pace_micro = pace_micro,
                                                   .pace_over_ns = 1},
                       &state);
}

/* Others take one unit each 1/pace; when is our call refused for the first time? */
static uint64_t brute_empty(struct world w, uint32_t units, unsigned priority, uint64_t every_ns,
                            uint64_t end_ns)
{
    uint32_t k = weir_window_id(w.word.word[0]);
    for (uint64_t t = w.now_ns; t < end_ns; t++) {
        if (t > w.now_ns && (t - w.now_ns) % every_ns == 0) {
            if (w.row.kind == WEIR_LIMIT_TOKEN_BUCKET) {
                w.word.word[0] = weir_max_u64(w.word.word[0], t) + w.row.unit_ns;
            } else {
                w.word.word[0] = weir_window_word(k, (uint32_t)w.word.word[0] + 1);
            }
        }
        if (!passes_at(&w, t, units, priority)) {
            return t;
        }
    }
    return UINT64_MAX;
}

static void test_window_empty_is_brute_force(void **state)
{
    (void)state;
    unsigned found = 0;
    for (uint64_t i = 0; i < 3000; i++) {
        seed = i;
        struct fixture_limit limit = {.kind = WEIR_LIMIT_FIXED_WINDOW,
                                      .quota = 20 + (uint32_t)below(200),
                                      .window_ns = 5000,
                                      .dearest = 1};
        headroom_draw(&limit);
        uint32_t k = 200; /* even: word 0 */
        struct world w = {.now_ns = k * UINT64_C(5000) + below(4000),
                          .clock = {.state = WEIR_CLOCK_KNOWN}};
        fixture_limit_row(&w.row, &limit, 0);
        w.word.word[0] = weir_window_word(k, (uint32_t)below(w.row.quota));
        uint64_t every_ns = 10 + below(300);
        unsigned priority = (unsigned)below(WEIR_PRIORITY_CNT);
        uint32_t units = 1 + (uint32_t)below(3);
        struct weir_forecast f;
        forecast_of(&w, &f, units, priority, WEIR_MILLION * WEIR_NS_PER_S / every_ns);
        uint64_t wanted = brute_empty(w, units, priority, every_ns, f.reset_ns);
        uint64_t off_ns = wanted > f.empty_ns ? wanted - f.empty_ns : f.empty_ns - wanted;
        /* a line is not a staircase: at its foot and at the window's end it may be a call off */
        bool edge = (wanted == UINT64_MAX && f.reset_ns - f.empty_ns <= 2 * every_ns) ||
                    (f.empty_ns == UINT64_MAX && f.reset_ns - wanted <= 2 * every_ns);
        /* two lines that nearly run side by side meet within two units of room: as long as these last */
        double net = 1.0 / (double)every_ns - (double)w.row.release_q64[priority] / 0x1p64;
        double tolerance_ns = net > 0 ? 2.0 / net + 60 : 5000.0;
        if ((double)off_ns > tolerance_ns && !edge) {
            print_error("seed %llu: %lld instead of %lld\n", (unsigned long long)i,
                        (long long)(f.empty_ns - w.now_ns), (long long)(wanted - w.now_ns));
            fail();
        }
        found += wanted != UINT64_MAX;
    }
    assert_true(found > 500);
}

static void test_bucket_empty_is_brute_force(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < 500; i++) {
        seed = i;
        struct fixture_limit limit = {
            .kind = WEIR_LIMIT_TOKEN_BUCKET, .quota = 5 + (uint32_t)below(50), .window_ns = 5000};
        struct world w = {.now_ns = 100000};
        fixture_limit_row(&w.row, &limit, 0);
        w.word.word[0] = w.now_ns + below(3000);
        /* faster than it refills by a fifth at least, or slower: near the balance a line and a staircase part */
        uint64_t every_ns = below(2) == 0
                                ? w.row.unit_ns * 8 / 10 + 1 - below(w.row.unit_ns / 4 + 1)
                                : w.row.unit_ns + 1 + below(50);
        struct weir_forecast f;
        forecast_of(&w, &f, 1, 0, WEIR_MILLION * WEIR_NS_PER_S / every_ns);
        uint64_t wanted = brute_empty(w, 1, 0, every_ns, w.now_ns + 12 * 5000);
        uint64_t off_ns = wanted > f.empty_ns ? wanted - f.empty_ns : f.empty_ns - wanted;
        if (off_ns > 8 * every_ns) {
            print_error("seed %llu: every %llu of %llu: %lld instead of %lld\n",
                        (unsigned long long)i, (unsigned long long)every_ns,
                        (unsigned long long)w.row.unit_ns, (long long)(f.empty_ns - w.now_ns),
                        (long long)(wanted - w.now_ns));
            fail();
        }
    }
}

/* 100 a second, 40 of them used. At 160/s: 60 of room, and 160 come in for 40 that go: after half a second. */
static void test_rolling_empty_by_hand(void **state)
{
    (void)state;
    struct world w = {.now_ns = 1000000};
    struct fixture_limit limit = {
        .kind = WEIR_LIMIT_SLIDING_WINDOW, .quota = 101, .window_ns = WEIR_NS_PER_S};
    fixture_limit_row(&w.row, &limit, 0);
    w.word.word[0] = 40; /* a view's */
    w.word.word[1] = w.now_ns + 1000;
    struct weir_forecast f;
    forecast_of(&w, &f, 1, 0, 160 * WEIR_MILLION);
    assert_in_range(f.empty_ns - w.now_ns, 495 * WEIR_NS_PER_MS, 505 * WEIR_NS_PER_MS);
    assert_in_range(f.burn_ppm, 1580000, 1590000);
    forecast_of(&w, &f, 1, 0, 99 * WEIR_MILLION);
    assert_true(f.empty_ns == UINT64_MAX); /* it lasts at that pace for ever */
    forecast_of(&w, &f, 62, 0, 0);
    assert_true(f.empty_ns == w.now_ns);
    w.row.kind = WEIR_LIMIT_CONCURRENCY;
    forecast_of(&w, &f, 1, 0, 160 * WEIR_MILLION);
    assert_true(f.empty_ns == UINT64_MAX && f.pace_over_ns == 0 && f.pace_micro == 0);
}

/* By hand: 350 of 1000 used, a quarter of a day gone: 1.4x, and 650 more last 650/350 * 6 h = 11 h 8 min 34 s. */
static void test_budget_by_hand(void **state)
{
    (void)state;
    struct world w = {.now_ns = (24 * 5 + 6) * HOUR_NS, .clock = {.state = WEIR_CLOCK_KNOWN}};
    struct fixture_limit limit = {
        .kind = WEIR_LIMIT_FIXED_WINDOW, .quota = 1000, .window_ns = 24 * HOUR_NS};
    fixture_limit_row(&w.row, &limit, 0);
    w.word.word[1] = weir_window_word(5, 350);
    struct weir_forecast f;
    forecast_of(&w, &f, 1, 0, WEIR_MILLION / 100); /* of late: 36 an hour */
    assert_int_equal(f.used_units, 350);
    assert_int_equal(f.gone_ppm, 250000);
    assert_int_equal(f.used_ppm, 350000);
    assert_int_equal(f.burn_ppm, 1400000);
    assert_true(f.reset_ns == 6 * 24 * HOUR_NS);
    uint64_t lasts_ns = 6 * HOUR_NS / 350 * 650;
    assert_in_range(f.burn_empty_ns - w.now_ns, lasts_ns - WEIR_NS_PER_S, lasts_ns + WEIR_NS_PER_S);
    assert_int_equal(f.at_reset_units, 350 + 18 * 36);
    assert_true(f.empty_ns == UINT64_MAX); /* at the pace of late it lasts: 998 */
    assert_true(f.earliest_ns == w.now_ns);

    w.word.word[1] = weir_window_word(5, 200);
    forecast_of(&w, &f, 1, 0, 0);
    assert_int_equal(f.burn_ppm, 800000);
    assert_true(f.burn_empty_ns == UINT64_MAX && f.empty_ns == UINT64_MAX);
    assert_int_equal(f.at_reset_units, 200);

    w.word.word[1] = weir_window_word(5, 1000);
    forecast_of(&w, &f, 1, 0, WEIR_MILLION);
    assert_true(f.burn_empty_ns == w.now_ns && f.empty_ns == w.now_ns);
    assert_true(f.earliest_ns == f.reset_ns);

    w.now_ns = 5 * 24 * HOUR_NS + 60 * WEIR_NS_PER_S; /* a minute into the day: too early to say */
    w.word.word[1] = weir_window_word(5, 10);
    forecast_of(&w, &f, 1, 0, 0);
    assert_int_equal(f.burn_ppm, 0);
}

static void test_dearest(void **state)
{
    (void)state;
    const struct weir_shm_route_row row[] = {
        {.limit_cnt = 1, .limit = {0}, .cost = {5}},
        {.limit_cnt = 2, .limit = {0, 1}, .cost = {20, 1}},
        {.limit_cnt = 1, .limit = {0}, .cost = {20}},
    };
    uint32_t route;
    assert_int_equal(weir_forecast_dearest(row, 3, 0, &route), 20);
    assert_int_equal(route, 1);
    assert_int_equal(weir_forecast_dearest(row, 3, 2, &route), 0);
    assert_int_equal(route, UINT32_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_window_earliest_is_brute_force),
        cmocka_unit_test(test_bucket_earliest_is_brute_force),
        cmocka_unit_test(test_bucket_with_others),
        cmocka_unit_test(test_cells_earliest_is_brute_force),
        cmocka_unit_test(test_earliest_of_a_view),
        cmocka_unit_test(test_earliest_at_its_bounds),
        cmocka_unit_test(test_earliest_of_long_windows),
        cmocka_unit_test(test_window_taken_counts_each_once),
        cmocka_unit_test(test_bucket_taken_is_exact_for_slow_buckets),
        cmocka_unit_test(test_sliding_taken_counts_each_once),
        cmocka_unit_test(test_readings_that_cannot_be_compared),
        cmocka_unit_test(test_pace_forgets_and_starts_right),
        cmocka_unit_test(test_window_empty_is_brute_force),
        cmocka_unit_test(test_bucket_empty_is_brute_force),
        cmocka_unit_test(test_rolling_empty_by_hand),
        cmocka_unit_test(test_budget_by_hand),
        cmocka_unit_test(test_dearest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
