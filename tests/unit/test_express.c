/*
 * test_express.c: the short way of the permit path against the long one.
 *
 * Two memories live through the same random story: calls, refunds, clocks, pauses, blocks, reloads, damage, what others use. In one permits are taken by
 * weir_permit_take, which goes the short way where it can; in the other by weir_permit_take_long. Oracle: both answer the same, fill the same permit, and leave
 * the same words. The seed is printed; WEIR_TEST_SEED sets it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "fixture.h"

#define STORIES 300
#define TURNS   400
#define HELD    8

static struct fixture f[2];
static struct weir_permit_view view[2];
static uint32_t granted[2][FIXTURE_ROUTES * WEIR_PRIORITY_CNT];
static uint32_t refused[2][FIXTURE_LIMITS * WEIR_PRIORITY_CNT];
static uint64_t units[2][FIXTURE_LIMITS];
static uint64_t state;
static uint64_t story_seed;
static uint64_t now_ns;
static uint32_t generation;

static uint64_t below(uint64_t n)
{
    return fixture_random_below(&state, n);
}

static struct fixture_spec spec_make(void)
{
    struct fixture_spec s = {.limit_cnt = 6,
                             .route_cnt = 7,
                             .jitter_ns = below(3) * 5 * WEIR_NS_PER_MS,
                             .slack_ns = 2 * WEIR_NS_PER_MS,
                             .reopen_lease_ns = WEIR_NS_PER_S,
                             .reopen_step_ns = WEIR_NS_PER_S / 2};
    for (uint32_t i = 0; i < s.limit_cnt; i++) {
        s.limit[i] = (struct fixture_limit){
            .kind = i % 2 == 0 ? WEIR_LIMIT_FIXED_WINDOW : WEIR_LIMIT_TOKEN_BUCKET,
            .quota = 5 + (uint32_t)below(60),
            .window_ns = (1 + below(40)) * 25 * WEIR_NS_PER_MS,
            .scopes = i == 2 ? 3 : 1,
            .dearest = 2,
            .ceiling_step = i == 4 || (i == 3 && below(3) == 0) ? 5 : 0};
        if (below(2) == 0) {
            s.limit[i].headroom_ppm[0] = 50000;
            s.limit[i].headroom_ppm[1] = 100000;
        }
    }
    s.route[0] = (struct fixture_route){1, {0}, {1}};
    s.route[1] = (struct fixture_route){1, {1}, {2}};
    s.route[2] = (struct fixture_route){2, {2, 3}, {1, 1}};
    s.route[3] = (struct fixture_route){3, {0, 2, 1}, {2, 1, 1}};
    s.route[4] = (struct fixture_route){4, {0, 1, 2, 4}, {1, 1, 1, 1}};
    s.route[5] = (struct fixture_route){1, {4}, {1}};
    s.route[6] = (struct fixture_route){2, {1, 5}, {0, 1}}; /* a cost of 0 */
    return s;
}

static void clock_set(void)
{
    const struct weir_server_clock clock = {.offset_ns = (int64_t)below(WEIR_NS_PER_S),
                                            .error_ns = below(4) * WEIR_NS_PER_MS,
                                            .sampled_at_ns = now_ns,
                                            .drift_ppb = below(3) * 100000,
                                            .jitter_ns = f[0].spec.jitter_ns,
                                            .state = below(8) == 0 ? WEIR_CLOCK_CLOSED
                                                                   : 1 - (below(6) == 0)};
    for (int m = 0; m < 2; m++) {
        fixture_server_clock(&f[m], &clock);
    }
}

/* Something happens that the short way may not know. */
static void event(void)
{
    uint64_t what = below(9);
    uint32_t word = (uint32_t)below(8);
    uint64_t value = fixture_random(&state);
    uint64_t w = f[0].spec.limit[0].window_ns;
    for (int m = 0; m < 2; m++) {
        struct fixture_memory *at = f[m].memory;
        uint32_t k = (uint32_t)(at->word[word].word[value & 1] >> 32);
        switch (what) {
        case 0:
            at->gate.block_all = value % 4 == 0;
            break;
        case 1:
            at->gate.lease_until_ns = value % 4 == 0 ? now_ns + w : UINT64_MAX;
            break;
        case 2: /* others use it */
            at->foreign[word].word[value & 1] = weir_window_word(k, (uint32_t)value % 8);
            break;
        case 3:
            at->foreign[word].word[0] = weir_foreign_make(now_ns + w, (uint32_t)value % 8);
            break;
        case 4:
            at->foreign[word].ceiling[value & 1] = weir_window_word(k, (uint32_t)value % 20);
            break;
        case 5: /* damage, and its repair */
            at->word[word].word[value & 1] = value % 3 == 0   ? value
                                             : value % 3 == 1 ? UINT64_MAX
                                                              : 0;
            break;
        case 6:
            at->pause.word =
                value % 2 == 0 ? 0 : weir_pause_make(now_ns + w, WEIR_PAUSE_OPERATOR, value & 7U);
            break;
        case 7:
            at->pause.word = weir_pause_make(0, 0, value & 0xfffffU);
            at->provider.pause = 0;
            break;
        default:
            fixture_tables_publish(&f[m], generation + 1);
        }
    }
    generation += what == 8;
}

static void same(const struct weir_permit *a, const struct weir_permit *b, int rc)
{
    if (rc == WEIR_OK) {
        assert_memory_equal(a, b, offsetof(struct weir_permit, denial));
        assert_memory_equal(&a->route, &b->route,
                            offsetof(struct weir_permit, charge) -
                                offsetof(struct weir_permit, route));
        assert_memory_equal(a->charge, b->charge, a->charge_cnt * sizeof a->charge[0]);
    } else if (rc == WEIR_DENIED) {
        assert_memory_equal(&a->denial, &b->denial, sizeof a->denial);
        assert_int_equal(a->state, b->state);
    }
    assert_memory_equal(f[0].memory->word, f[1].memory->word, sizeof f[0].memory->word);
    assert_memory_equal(granted[0], granted[1], sizeof granted[0]);
    assert_memory_equal(refused[0], refused[1], sizeof refused[0]);
    assert_memory_equal(units[0], units[1], sizeof units[0]);
}

static void story(uint32_t *passed)
{
    static struct weir_permit held[2][HELD];
    const struct fixture_spec spec = spec_make();
    memset(held, 0, sizeof held);
    now_ns = WEIR_NS_PER_S * (10 + below(1000));
    generation = 1;
    for (int m = 0; m < 2; m++) {
        fixture_open(&f[m], &spec);
        fixture_view(&f[m], &view[m], now_ns);
        memset(granted[m], 0, sizeof granted[m]);
        memset(refused[m], 0, sizeof refused[m]);
        memset(units[m], 0, sizeof units[m]);
        view[m].meter =
            (struct weir_meter){.granted = granted[m], .refused = refused[m], .units = units[m]};
    }
    for (int turn = 0; turn < TURNS; turn++) {
        now_ns += below(3) == 0 ? below(40 * WEIR_NS_PER_MS) : below(WEIR_NS_PER_US);
        uint32_t slot = (uint32_t)below(HELD);
        uint32_t route = (uint32_t)below(spec.route_cnt);
        unsigned priority = (unsigned)below(WEIR_PRIORITY_CNT + (below(50) == 0));
        weir_scope_id scope = below(4) == 0 ? below(4) << (16 * WEIR_SCOPE_INSTRUMENT) : 0;
        int rc[2];
        if (below(25) == 0) {
            clock_set();
        }
        if (below(12) == 0) {
            event();
        }
        bool give = below(3) == 0 && held[0][slot].state == WEIR_PERMIT_GRANTED;
        for (int m = 0; m < 2; m++) {
            fixture_time_set(&view[m], now_ns);
            struct weir_permit *p = &held[m][slot];
            rc[m] = give     ? weir_permit_give(&view[m], p)
                    : m == 0 ? weir_permit_take(&view[m], route, scope, NULL, priority, p)
                             : weir_permit_take_long(&view[m], route, scope, NULL, priority, p);
        }
        assert_int_equal(rc[0], rc[1]);
        same(&held[0][slot], &held[1][slot], give ? WEIR_CONTENDED : rc[0]);
        *passed += !give && rc[0] == WEIR_OK;
    }
    fixture_close(&f[0]);
    fixture_close(&f[1]);
}

/* Printed behind a failure too. */
static int seed_print(void **unused)
{
    (void)unused;
    printf("last story: WEIR_TEST_SEED=%llu\n", (unsigned long long)story_seed);
    return 0;
}

static void test_same_answers(void **unused)
{
    (void)unused;
    const char *given = getenv("WEIR_TEST_SEED");
    uint64_t seed = given != NULL ? strtoull(given, NULL, 10) : 1;
    uint32_t passed = 0;
    for (uint64_t s = seed; s < seed + STORIES; s++) {
        state = story_seed = s;
        story(&passed);
    }
    printf("%u stories, %u permits\n", STORIES, passed);
    assert_true(passed > STORIES * TURNS / 10);
}

/* The short question about a window, against its meaning word by word: words of this window, of others, damaged ones. */
static void test_window_room(void **unused)
{
    (void)unused;
    state = 1;
    for (uint32_t i = 0; i < 200000; i++) {
        const struct weir_shm_limit_row row = {.ceiling_step = below(20) == 0};
        uint32_t k = (uint32_t)fixture_random(&state);
        uint32_t at[2];
        uint64_t word[2];
        for (uint32_t n = 0; n < 2; n++) {
            at[n] = below(4) == 0 ? k + 1 - (uint32_t)below(3) : k;
            word[n] = below(20) == 0 ? fixture_random(&state)
                                     : weir_window_word(at[n], (uint32_t)below(120));
            at[n] = weir_window_id(word[n]);
        }
        uint32_t cap = (uint32_t)below(120);
        uint32_t cost = (uint32_t)below(5);
        uint32_t kept = below(2) == 0 ? (uint32_t)below(20) : 0;
        uint64_t others = at[1] == k ? (uint32_t)word[1] : 0;
        bool fits =
            row.ceiling_step == 0 && at[0] == k && (uint32_t)word[0] + others + cost + kept <= cap;
        uint64_t room = weir_window_room(&row, k, word[1], cost, kept, cap);
        assert_int_equal(word[0] - weir_window_word(k, 0) < room, fits);
    }
}

/* The same of a bucket, against the whole test: a yes is one, a no is one where others use nothing, and until the same instant. */
static void test_bucket_room(void **unused)
{
    (void)unused;
    state = 1;
    uint32_t no_cnt = 0;
    for (uint32_t i = 0; i < 200000; i++) {
        const struct weir_shm_limit_row row = {
            .quota = 1 + (uint32_t)below(60), .unit_ns = 1 + below(1000), .ceiling_step = 1};
        struct weir_shm_foreign board = {.ceiling = {below(WEIR_NS_PER_S)}};
        struct weir_bucket_ask ask =
            weir_bucket_ask_make(&row, &board, 1 + (uint32_t)below(row.quota), 0);
        ask.ceiling = below(20) == 0 ? ask.ceiling : NULL;
        ask.tolerance_ns = below((uint64_t)row.quota * row.unit_ns + 1);
        uint64_t now = WEIR_NS_PER_S + below(WEIR_NS_PER_S);
        uint64_t tat = below(20) == 0 ? fixture_random(&state) : now - 20000 + below(100000);
        uint64_t others = below(2) == 0 ? 0 : weir_foreign_make(now + 1, (uint32_t)below(70));
        uint64_t next = 0;
        uint64_t left = 0;
        uint64_t until = 0;
        uint64_t full_until = 0;
        enum weir_limit_verdict v =
            weir_bucket_judge(&ask, &row, tat, others, now, &next, &left, &until);
        uint64_t room = weir_bucket_room(&ask, &row, others);
        uint64_t start = weir_max_u64(tat, now);
        bool fits = start - now < room;
        assert_true(fits == (v == WEIR_LIMIT_YES && ask.ceiling == NULL));
        assert_true(!fits || next == start + ask.n_ns);
        if (others == 0 && weir_bucket_full(&ask, room, now, tat, &full_until)) {
            assert_int_equal(v, WEIR_LIMIT_NO);
            assert_int_equal(full_until, until);
            no_cnt++;
        }
    }
    assert_true(no_cnt > 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_same_answers),
                                       cmocka_unit_test(test_window_room),
                                       cmocka_unit_test(test_bucket_room)};
    return cmocka_run_group_tests(tests, NULL, seed_print);
}
