/* What a reload makes of limit words (broker/reload.h), and which tables may follow which (broker/tables_follow.h). */
#include "broker/memory.h"
#include "broker/reload.h"
#include "broker/tables_build.h"
#include "broker/tables_follow.h"
#include "shm/weir_cells.h"
#include "shm/weir_tables.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define NOW_NS    (1000 * WEIR_NS_PER_S)
#define CELLS     64U
#define GRANTS    20000U
#define ROUNDS    200U
#define WINDOW_NS WEIR_NS_PER_S

static uint32_t random_below(uint64_t *state, uint32_t below)
{
    *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)((*state >> 33) % below);
}

/* ---------------------------------------------------------------------------------------------- sliding windows in cells */

static struct weir_shm_limit_row cells_row(uint32_t quota)
{
    return (struct weir_shm_limit_row){.kind = WEIR_LIMIT_SLIDING_WINDOW,
                                       .word_cnt = 1,
                                       .quota = quota,
                                       .window_ns = WINDOW_NS,
                                       .form = WEIR_FORM_CELLS,
                                       .cell_cnt = quota,
                                       .cell_stride = CELLS,
                                       .span_ns = WINDOW_NS};
}

/*
 * Oracle: all grants, by brute force. Whatever was in force before, a unit is granted only where the window that ends now holds less than today's quota. (Lowered and raised again within a
 * window, the first version forgot what had no cell.)
 */
static void sliding_never_exceeds(void **arg)
{
    (void)arg;
    for (uint64_t seed = 1; seed <= ROUNDS; seed++) {
        uint64_t state = seed;
        static uint64_t grant[GRANTS];
        uint32_t cnt = 0;
        uint64_t cell[CELLS] = {0};
        struct weir_shm_limit_word word = {.owed = 0};
        const struct weir_shm_foreign foreign = {.word = {0}};
        struct weir_shm_limit_row row = cells_row(1 + random_below(&state, CELLS));
        uint64_t now_ns = NOW_NS;
        for (unsigned n = 0; n < 600; n++) {
            now_ns += random_below(&state, 40) * WEIR_NS_PER_MS / (1 + random_below(&state, 8));
            if (random_below(&state, 12) == 0) {
                const struct weir_shm_limit_row old = row;
                row = cells_row(1 + random_below(&state, CELLS));
                const struct weir_limit_place at = {&row, &word, cell};
                const struct weir_server_clock clock = {.state = WEIR_CLOCK_UNKNOWN};
                reload_convert(&at, &old, &clock, false, now_ns);
            }
            struct weir_limit_plan p = {
                .row = &row, .word = &word, .cell = cell, .foreign = &foreign, .units = 1};
            const struct weir_limit_time time = {.now_ns = now_ns};
            uint32_t used = 0;
            for (uint32_t i = cnt; i-- > 0 && now_ns - grant[i] < WINDOW_NS;) {
                used++;
            }
            if (weir_limit_take_cells(&p, &time) == WEIR_LIMIT_YES) {
                if (used + 1 > row.quota) {
                    fail_msg("seed %llu: grant %u of %u", (unsigned long long)seed, used + 1,
                             row.quota);
                }
                grant[cnt++] = now_ns;
            }
        }
        assert_true(cnt > 10); /* it is not only refused */
    }
}

/* What a reload keeps can be used: a raise within the window gives exactly what is new. */
static void sliding_raise_is_exact(void **arg)
{
    (void)arg;
    uint64_t cell[CELLS] = {0};
    struct weir_shm_limit_word word = {.owed = 0};
    const struct weir_shm_foreign foreign = {.word = {0}};
    struct weir_shm_limit_row row = cells_row(10);
    const struct weir_server_clock clock = {.state = WEIR_CLOCK_UNKNOWN};
    uint32_t got = 0;
    for (unsigned step = 0; step < 2; step++) {
        for (unsigned i = 0; i < 40; i++) {
            struct weir_limit_plan p = {
                .row = &row, .word = &word, .cell = cell, .foreign = &foreign, .units = 1};
            const struct weir_limit_time time = {.now_ns = NOW_NS + i};
            got += weir_limit_take_cells(&p, &time) == WEIR_LIMIT_YES;
        }
        assert_int_equal(got, step == 0 ? 10 : 25);
        const struct weir_shm_limit_row old = row;
        row = cells_row(25);
        const struct weir_limit_place at = {&row, &word, cell};
        reload_convert(&at, &old, &clock, false, NOW_NS + 50);
    }
}

/* ---------------------------------------------------------------------------------------------- buckets */

static struct weir_shm_limit_row bucket_row(uint32_t burst, uint64_t unit_ns)
{
    struct weir_shm_limit_row row = {
        .kind = WEIR_LIMIT_TOKEN_BUCKET, .word_cnt = 1, .quota = burst, .unit_ns = unit_ns};
    for (unsigned c = 0; c < WEIR_PRIORITY_CNT; c++) {
        row.tolerance_ns[c] = burst * unit_ns - unit_ns / 2; /* half a unit for jitter */
    }
    return row;
}

/* Owed before in ns, the two rows; owed behind. */
static uint64_t bucket_after(uint64_t owed_ns, const struct weir_shm_limit_row *old,
                             const struct weir_shm_limit_row *row)
{
    struct weir_shm_limit_word word = {.word = {NOW_NS + owed_ns, 7}};
    const struct weir_server_clock clock = {.state = WEIR_CLOCK_UNKNOWN};
    const struct weir_limit_place at = {row, &word, NULL};
    reload_convert(&at, old, &clock, false, NOW_NS);
    return word.word[0] > NOW_NS ? word.word[0] - NOW_NS : 0;
}

static void bucket_begins_safely(void **arg)
{
    (void)arg;
    const uint64_t ms = WEIR_NS_PER_MS;
    const struct weir_shm_limit_row a = bucket_row(10, 100 * ms);
    struct weir_shm_limit_row larger = bucket_row(16, 100 * ms);
    struct weir_shm_limit_row smaller = bucket_row(4, 100 * ms);
    struct weir_shm_limit_row faster = bucket_row(10, 10 * ms);
    struct weir_shm_limit_row slower = bucket_row(3, 1000 * ms);
    smaller.quota_peak = 10;
    slower.quota_peak = 10;
    assert_int_equal(bucket_after(300 * ms, &a, &a), 300 * ms);
    assert_int_equal(bucket_after(300 * ms, &a, &larger), 900 * ms); /* what was left is left */
    assert_int_equal(bucket_after(700 * ms, &a, &smaller), 700 * ms);
    assert_int_equal(bucket_after(700 * ms, &a, &faster), 100 * ms);  /* all of the bucket */
    assert_int_equal(bucket_after(700 * ms, &a, &slower), 7000 * ms); /* seven units are owed */
    assert_int_equal(bucket_after(0, &a, &slower), 3000 * ms);
}

/* ---------------------------------------------------------------------------------------------- windows */

static struct weir_shm_limit_row window_row(uint32_t quota, uint64_t window_ns)
{
    return (struct weir_shm_limit_row){.kind = WEIR_LIMIT_FIXED_WINDOW,
                                       .word_cnt = 1,
                                       .quota = quota,
                                       .window_ns = window_ns,
                                       .window_inverse = weir_window_inverse(window_ns),
                                       .shape = window_ns << 4 | WEIR_LIMIT_FIXED_WINDOW};
}

static void windows_keep_or_begin(void **arg)
{
    (void)arg;
    const struct weir_server_clock exact = {.state = WEIR_CLOCK_KNOWN, .jitter_ns = WEIR_NS_PER_MS};
    const struct weir_server_clock unknown = {.state = WEIR_CLOCK_UNKNOWN};
    const struct weir_shm_limit_row a = window_row(100, 10 * WEIR_NS_PER_S);
    struct weir_shm_limit_row less = window_row(40, 10 * WEIR_NS_PER_S);
    const struct weir_shm_limit_row more = window_row(200, 10 * WEIR_NS_PER_S);
    struct weir_shm_limit_row other = window_row(100, 60 * WEIR_NS_PER_S);
    assert_false(reload_windows_begin(&a, &more, &exact, NOW_NS));
    assert_false(reload_windows_begin(&a, &more, &unknown, NOW_NS));
    assert_false(reload_windows_begin(&a, &less, &exact, NOW_NS));
    assert_true(reload_windows_begin(&a, &less, &unknown, NOW_NS));
    assert_true(reload_windows_begin(&a, &other, &exact, NOW_NS));
    /* A word above the smaller quota stays, is no damage, and is all that the larger one counts later. */
    struct weir_shm_limit_word word = {.word = {weir_window_word(100, 90), 0}};
    const struct weir_limit_place at = {&less, &word, NULL};
    less.quota_peak = 100;
    reload_convert(&at, &a, &exact, false, NOW_NS);
    assert_int_equal((uint32_t)word.word[0], 90);
    assert_int_equal(weir_limit_peak(&less), 100);
    /* Another length (reload:window): every window that may be current is spent, and what bore other ids is gone. */
    const struct weir_limit_place longer = {&other, &word, NULL};
    reload_convert(&longer, &a, &exact, true, NOW_NS);
    uint32_t k = (uint32_t)(NOW_NS / other.window_ns);
    assert_int_equal(weir_window_id(word.word[k & 1]), k);
    assert_int_equal((uint32_t)word.word[k & 1], 100);
    assert_int_equal(word.word[(k + 1) & 1], 0);
}

/* ---------------------------------------------------------------------------------------------- tables */

static struct weir_shm_tables *tables_of(const char *limits, const char *routes)
{
    char yaml[2048];
    char text[256] = "";
    struct tables_size size;
    static struct weir_config_diag diag;
    (void)snprintf(yaml, sizeof yaml,
                   "broker: {name: t, state_dir: none}\nproviders:\n  - name: p\n"
                   "    clock: {source: host, error: 1ms, max_jitter: 20ms}\n"
                   "    limits:\n%s    routes:\n%s",
                   limits, routes);
    struct weir_config *config = weir_config_parse(yaml, strlen(yaml), "t", &diag);
    if (config == NULL) {
        fail_msg("%s", diag.error[0].text);
    }
    tables_measure(config, &size);
    struct weir_shm_tables *block = aligned_alloc(WEIR_LINE_BYTES, size.bytes);
    assert_non_null(block);
    memset(block, 0, size.bytes);
    if (tables_build(config, &size, 1, block, text, sizeof text) != WEIR_OK) {
        fail_msg("%s", text);
    }
    weir_config_free(config);
    return block;
}

#define A_LIMITS                                                       \
    "      - {name: w, kind: fixed_window, quota: 100, window: 1s}\n"  \
    "      - {name: s, kind: sliding_window, quota: 20, window: 1s}\n" \
    "      - {name: u, kind: concurrency, quota: 8}\n"
#define A_ROUTES                                              \
    "      - {name: a, transport: own, cost: {w: 1, s: 1}}\n" \
    "      - {name: b, transport: own, cost: {u: 1}}\n"

static void follows(const char *limits, const char *routes, const char *refusal)
{
    char text[512] = "";
    struct weir_shm_tables *was = tables_of(A_LIMITS, A_ROUTES);
    struct weir_shm_tables *next = tables_of(limits, routes);
    int rc = tables_follow(was, next, text, sizeof text);
    if (refusal == NULL) {
        assert_string_equal(text, "");
        assert_int_equal(rc, WEIR_OK);
        assert_int_equal(next->generation, 2);
        assert_int_equal(tables_cell_cnt(next), tables_cell_cnt(was));
        assert_int_equal(next->checksum, weir_tables_checksum(next));
    } else {
        assert_int_equal(rc, WEIR_E_ARGUMENT);
        if (strstr(text, refusal) == NULL) {
            fail_msg("\"%s\" is not in \"%s\"", refusal, text);
        }
    }
    free(was);
    free(next);
}

static void tables_follow_or_not(void **arg)
{
    (void)arg;
    follows(A_LIMITS, A_ROUTES, NULL);
    follows(
        "      - {name: w, kind: fixed_window, quota: 7, window: 5s, headroom: {critical: 10%}}\n"
        "      - {name: s, kind: sliding_window, quota: 32, window: 3s}\n"
        "      - {name: u, kind: concurrency, quota: 16}\n",
        "      - {name: a, transport: own, cost: {w: 3, s: 2}, priority: low}\n"
        "      - {name: b, transport: own, cost: {u: 1, w: 1}}\n",
        NULL);
    follows("      - {name: w, kind: sliding_window, quota: 100, window: 1s}\n"
            "      - {name: s, kind: sliding_window, quota: 20, window: 1s}\n"
            "      - {name: u, kind: concurrency, quota: 8}\n",
            A_ROUTES, "limit w counts in another way");
    follows("      - {name: w, kind: fixed_window, quota: 100, window: 1s}\n"
            "      - {name: s, kind: sliding_window, quota: 200, window: 1s}\n"
            "      - {name: u, kind: concurrency, quota: 8}\n",
            A_ROUTES, "limit s has cells 200, it had 20: so many were not set aside");
    follows("      - {name: w, kind: fixed_window, quota: 100, window: 1s}\n"
            "      - {name: s, kind: sliding_window, quota: 20, window: 1s}\n"
            "      - {name: u, kind: concurrency, quota: 7}\n",
            A_ROUTES, "limit u has quota 7, it had 8: nobody who holds a unit");
    follows("      - {name: s, kind: sliding_window, quota: 20, window: 1s}\n"
            "      - {name: w, kind: fixed_window, quota: 100, window: 1s}\n"
            "      - {name: u, kind: concurrency, quota: 8}\n",
            A_ROUTES, "limit s stands where w was");
    follows(A_LIMITS "      - {name: n, kind: fixed_window, quota: 1, window: 1s}\n", A_ROUTES,
            "limit n is new");
    follows(A_LIMITS, "      - {name: a, transport: own, cost: {w: 1, s: 1}}\n",
            "route b is missing");
    follows(A_LIMITS,
            "      - {name: a, transport: own, cost: {s: 1, w: 1}}\n"
            "      - {name: b, transport: own, cost: {u: 1}}\n",
            "route a takes from its limits in another order");
}

static uint64_t ahead_of(const struct weir_shm_tables *block)
{
    return tables_limits(block)[0].ahead_ns;
}

/* Rests of a concurrency limit from the file to its row, and how far ahead of the clock a unit may stand whatever came before. */
static void rests_follow(void **arg)
{
    (void)arg;
    static const char route[] = "      - {name: a, transport: own, cost: {u: 1}}\n";
    static const struct {
        const char *limit;
        uint64_t ahead_ms, peak_ms;
    } turn[] = {
        {"      - {name: u, kind: concurrency, quota: 8, rest: 1s, orphan_rest: 61s}\n", 60000, 0},
        {"      - {name: u, kind: concurrency, quota: 8, rest: 1s, orphan_rest: 61s}\n", 60000, 0},
        {"      - {name: u, kind: concurrency, quota: 8, rest: 4s}\n", 0, 60000},
        {"      - {name: u, kind: concurrency, quota: 8, rest: 3s, orphan_rest: 3s}\n", 0, 61000},
        {"      - {name: u, kind: concurrency, quota: 8, orphan_rest: 2m}\n", 119980, 0},
        {"      - {name: u, kind: concurrency, quota: 8}\n", 0, 119980},
    };
    struct weir_shm_tables *was = tables_of(turn[0].limit, route);
    assert_int_equal(ahead_of(was), turn[0].ahead_ms * WEIR_NS_PER_MS);
    for (size_t i = 1; i < WEIR_ARRAY_CNT(turn); i++) {
        char text[512] = "";
        struct weir_shm_tables *next = tables_of(turn[i].limit, route);
        assert_int_equal(tables_follow(was, next, text, sizeof text), WEIR_OK);
        assert_int_equal(ahead_of(next), turn[i].ahead_ms * WEIR_NS_PER_MS);
        assert_int_equal(tables_limits(next)[0].ahead_peak_ns, turn[i].peak_ms * WEIR_NS_PER_MS);
        free(was);
        was = next;
    }
    free(was);
}

/* Lowered, started anew, raised again within the window: what the larger quota had granted is still there. */
static void restarts_keep_the_peak(void **arg)
{
    (void)arg;
    struct weir_shm_limit_row row = {
        .kind = WEIR_LIMIT_FIXED_WINDOW, .quota = 68, .window_ns = WINDOW_NS};
    const uint64_t few[2] = {weir_window_word(7, 60), 0};
    const uint64_t many[2] = {weir_window_word(7, 82), weir_window_word(8, 3)};
    memory_peak(&row, few);
    assert_int_equal(weir_limit_peak(&row), 68);
    memory_peak(&row, many);
    assert_int_equal(weir_limit_peak(&row), 82);
    row.kind = WEIR_LIMIT_TOKEN_BUCKET; /* its word is no count */
    row.quota_peak = 0;
    memory_peak(&row, many);
    assert_int_equal(weir_limit_peak(&row), 68);
}

/* A start that knew nothing has spent its own quota: a larger one gives no room before what was current then is over. */
static void raise_after_a_guess(void **arg)
{
    (void)arg;
    static struct region r; /* large */
    const struct weir_shm_limit_row old = {
        .kind = WEIR_LIMIT_FIXED_WINDOW, .quota = 68, .window_ns = WINDOW_NS};
    struct weir_shm_limit_row row = old;
    row.quota = 100;
    assert_false(reload_raise_is_blind(&r, 3, &old, &row, NOW_NS));
    r.guessed_ns[3] = NOW_NS;
    assert_true(reload_raise_is_blind(&r, 3, &old, &row, NOW_NS + WINDOW_NS));
    assert_false(reload_raise_is_blind(&r, 3, &old, &row, NOW_NS + 3 * WINDOW_NS));
    assert_false(
        reload_raise_is_blind(&r, 2, &old, &row, NOW_NS + WINDOW_NS)); /* another limit's */
    const struct weir_shm_limit_row cells = cells_row(20);
    const struct weir_shm_limit_row more = cells_row(21);
    assert_true(reload_raise_is_blind(&r, 3, &cells, &more, NOW_NS + WINDOW_NS / 2));
    assert_false(reload_raise_is_blind(&r, 3, &more, &cells, NOW_NS + WINDOW_NS / 2));
    assert_false(reload_raise_is_blind(&r, 3, &cells, &more, NOW_NS + WINDOW_NS));
    struct weir_shm_limit_row longer = more; /* what the cells have forgotten is young by it */
    longer.span_ns = 2 * WINDOW_NS;
    assert_true(reload_raise_is_blind(&r, 3, &cells, &longer, NOW_NS + 9 * WINDOW_NS));
    assert_true(reload_raise_is_blind(&r, 3, &more, &longer, NOW_NS + 9 * WINDOW_NS));
    assert_false(reload_raise_is_blind(&r, 3, &longer, &more, NOW_NS + 9 * WINDOW_NS));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sliding_never_exceeds), cmocka_unit_test(sliding_raise_is_exact),
        cmocka_unit_test(bucket_begins_safely),  cmocka_unit_test(windows_keep_or_begin),
        cmocka_unit_test(tables_follow_or_not),  cmocka_unit_test(restarts_keep_the_peak),
        cmocka_unit_test(raise_after_a_guess),   cmocka_unit_test(rests_follow),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
