/*
 * test_late.c: what a bucket holds for calls that are counted late. Oracle: the sentences of weir_late.h, one by one. Schedules: tests/prop/prop_late.c.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "fixture.h"
#include "weir_late.h"

#define MS WEIR_NS_PER_MS
#define T  (100 * MS)
#define J0 (50 * MS)
#define G  (UINT64_C(1000000) * MS)

static struct weir_shm_limit_row row_make(void)
{
    struct weir_shm_limit_row row = {.kind = WEIR_LIMIT_TOKEN_BUCKET, .quota = 10, .unit_ns = T};
    for (unsigned c = 0; c < WEIR_PRIORITY_CNT; c++) {
        row.tolerance_ns[c] = 10 * T - J0 - c * T / 2;
    }
    return row;
}

static void test_slow(void **state)
{
    (void)state;
    struct weir_shm_limit_row row = row_make(); /* the lowest class has 7.5 units */
    assert_int_equal(weir_late_slow(&row, J0, 0, 2, false), 0);
    assert_int_equal(weir_late_slow(&row, J0, J0, 2, false), 0);
    assert_int_equal(weir_late_slow(&row, J0, J0 + T / 64, 2, false), 0); /* not worth a unit */
    assert_int_equal(weir_late_slow(&row, J0, J0 + T / 64 + 1, 2, false), 1);
    assert_int_equal(weir_late_slow(&row, J0, J0 + T, 2, false), 1);
    assert_int_equal(weir_late_slow(&row, J0, J0 + T + T / 64 + 1, 2, false), 2);
    assert_int_equal(weir_late_slow(&row, J0, J0 + 60 * WEIR_NS_PER_S, 2, false), 5); /* 7.5 - 2 */
    assert_int_equal(weir_late_slow(&row, J0, J0 + 60 * WEIR_NS_PER_S, 7, false), 0);
    assert_int_equal(weir_late_slow(&row, J0, UINT64_MAX, 8, false), 0);
    /* a quarter of the 7 is left, and half with others, for what may be theirs */
    assert_int_equal(weir_late_slow(&row, J0, J0 + 60 * WEIR_NS_PER_S, 0, false), 6);
    assert_int_equal(weir_late_slow(&row, J0, J0 + T, 2, true), 1);
    assert_int_equal(weir_late_slow(&row, J0, J0 + 60 * WEIR_NS_PER_S, 2, true), 4);
    assert_int_equal(weir_late_slow(&row, J0, J0 + 60 * WEIR_NS_PER_S, 5, true), 2);
    assert_int_equal(weir_late_slow(&row, J0, UINT64_MAX, 8, true), 0);
}

static void test_due(void **state)
{
    (void)state;
    struct weir_shm_limit_row row = row_make();
    assert_false(weir_late_due(&row, 0, J0, G, G + J0 - 1));
    assert_true(weir_late_due(&row, 0, J0, G, G + J0));
    assert_false(weir_late_due(&row, 3, J0, G, G + J0 + 3 * T - 1));
    assert_true(weir_late_due(&row, 3, J0, G, G + J0 + 3 * T));
}

static void test_moved(void **state)
{
    (void)state;
    /* by less than what is left of it: so much and no more; by more: the whole call anew */
    assert_int_equal(weir_late_moved(G + 5 * T, T, G, 10 * MS), G + 5 * T + 10 * MS);
    assert_int_equal(weir_late_moved(G + 5 * T, T, G, T), G + 6 * T);
    assert_int_equal(weir_late_moved(G + 5 * T, T, G, 3 * T), G + 6 * T);
    /* a bucket that stood empty meanwhile: as if it were granted then */
    assert_int_equal(weir_late_moved(G + T, T, G, 3 * T), G + 4 * T);
    struct weir_shm_limit_row row = row_make();
    struct weir_shm_limit_word word = {.word = {G + 2 * T, 0}};
    const struct weir_limit_place at = {.row = &row, .word = &word};
    weir_late_move(&at, 1, G, J0, J0, G + J0); /* it was in time */
    assert_int_equal(word.word[0], G + 2 * T);
    weir_late_move(&at, 1, G, J0 + 20 * MS, J0, G + J0 + 20 * MS);
    assert_int_equal(word.word[0], G + 2 * T + 20 * MS);
    /* cut where a surcharge is */
    word.word[0] = G + 20 * T;
    weir_late_move(&at, 10, G, J0 + T, J0, G);
    assert_int_equal(word.word[0], G + 20 * T);
    assert_int_equal(word.word[1], 0); /* nothing went backwards */
}

static uint32_t units_at(uint64_t word, uint64_t now_ns)
{
    return weir_foreign_rolling(word, now_ns);
}

static void test_publish(void **state)
{
    (void)state;
    struct weir_shm_limit_row row = row_make();
    struct weir_shm_foreign board = {0};
    struct weir_late late = {0};
    assert_false(weir_late_publish(&late, &row, &board, G));
    assert_int_equal(board.word[0], 0);
    /* held and others add up; both outlive the worker */
    late = (struct weir_late){.slow_units = 1,
                              .open_units = 2,
                              .open_until_ns = G + 90 * WEIR_NS_PER_S,
                              .others_units = 4,
                              .others_until_ns = G + WEIR_NS_PER_S};
    assert_false(weir_late_publish(&late, &row, &board, G));
    assert_int_equal(units_at(board.word[0], G), 7);
    assert_int_equal(units_at(board.word[1], G), 3);
    assert_int_equal(units_at(board.word[0], G + 90 * WEIR_NS_PER_S + 3 * T), 7);
    assert_int_equal(units_at(board.word[0], G + 91 * WEIR_NS_PER_S), 0);
    struct weir_late next;
    weir_late_restore(&next, &board, G);
    assert_int_equal(next.open_units, 3);
    assert_int_equal(next.slow_units, 0);
    assert_int_equal(next.others_units, 4);
    weir_late_restore(&next, &board, G + 91 * WEIR_NS_PER_S);
    assert_int_equal(weir_late_held(&next), 0);
    assert_int_equal(next.others_units, 0);
    /* less is more room */
    late.open_units = 0;
    assert_true(weir_late_publish(&late, &row, &board, G));
    assert_int_equal(units_at(board.word[0], G), 5);
    late.slow_units = 0;
    assert_true(weir_late_publish(&late, &row, &board, G));
    assert_int_equal(board.word[1], 0);
    assert_int_equal(board.word[0], weir_foreign_make(late.others_until_ns, 4)); /* as without */
    late.open_units = UINT32_MAX;
    late.slow_units = UINT32_MAX;
    late.others_units = UINT32_MAX;
    assert_false(weir_late_publish(&late, &row, &board, G));
    assert_int_equal(units_at(board.word[0], G), UINT32_MAX);
    assert_int_equal(units_at(board.word[1], G), row.quota);
}

/* Monitors: what is held is used, and not others'. Permits: it is room that nobody has. */
static void test_state(void **state)
{
    (void)state;
    struct weir_shm_limit_row row = row_make();
    struct weir_shm_foreign board = {0};
    struct weir_shm_limit_word word = {.word = {G + T, 0}};
    const struct weir_limit_place at = {.row = &row, .word = &word};
    const struct weir_limit_time time = {.now_ns = G};
    const struct weir_late late = {
        .open_units = 3, .others_units = 2, .others_until_ns = G + WEIR_NS_PER_S};
    struct weir_limit_state s;
    (void)weir_late_publish(&late, &row, &board, G);
    weir_limit_state_get(&s, &at, &board, &time);
    assert_int_equal(s.foreign, 2);
    assert_int_equal(s.late, 3);
    assert_int_equal(s.used, 6);
    assert_int_equal(s.left[0], 3); /* 9.5 - 6 */
    struct weir_limit_plan plan = {
        .row = &row, .word = &word, .foreign = &board, .units = 4, .priority = 0};
    assert_int_equal(weir_limit_plan(&plan, &time), WEIR_LIMIT_NO);
    plan.units = 3;
    assert_int_equal(weir_limit_plan(&plan, &time), WEIR_LIMIT_YES);
    /* between the two stores of a publication */
    board.word[1] = weir_foreign_make(G + WEIR_NS_PER_S, 9);
    weir_limit_state_get(&s, &at, &board, &time);
    assert_int_equal(s.foreign, 0);
    assert_int_equal(s.late, 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_slow),    cmocka_unit_test(test_due),   cmocka_unit_test(test_moved),
        cmocka_unit_test(test_publish), cmocka_unit_test(test_state),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
