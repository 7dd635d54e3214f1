/*
 * test_tables.c: a tables block that is damaged in any way is refused, or is as good as a sound one; nothing crashes.
 *
 * Oracle for random damage: the resolver's answer. Where it says yes, every permit over every route must still end with an answer.
 * With `checksum again` the damage gets past the checksum, so the checks of the rows stand alone.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "fixture.h"

static const struct fixture_spec spec = {
    .limit_cnt = 3,
    .route_cnt = 2,
    .limit = {{.kind = WEIR_LIMIT_FIXED_WINDOW,
               .quota = 10,
               .window_ns = WEIR_NS_PER_S,
               .share_cnt = 2,
               .share = {{.kind = WEIR_SHARE_CLIENT, .part_ppm = 300000, .name = "mm"},
                         {.kind = WEIR_SHARE_CLASS, .part_ppm = 100000, .priority = 4}}},
              {.kind = WEIR_LIMIT_TOKEN_BUCKET,
               .quota = 5,
               .window_ns = WEIR_NS_PER_S,
               .share_cnt = 1,
               .share = {{.kind = WEIR_SHARE_UID, .part_ppm = 400000, .uid = 7}}},
              {.kind = WEIR_LIMIT_FIXED_WINDOW, .quota = 90, .window_ns = 60 * WEIR_NS_PER_S}},
    .route = {{.limit_cnt = 3, .limit = {0, 1, 2}, .cost = {1, 1, 2}},
              {.limit_cnt = 1, .limit = {1}, .cost = {1}}},
};

static struct fixture f;
static struct weir_permit_view view;

static int setup(void **state)
{
    (void)state;
    fixture_open(&f, &spec);
    fixture_view(&f, &view, WEIR_NS_PER_S);
    fixture_self(&view, "mm", 7);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    fixture_close(&f);
    return 0;
}

static struct weir_shm_tables *block(void)
{
    return (void *)f.memory->tables;
}

static int resolve(void)
{
    view.tables.word = 0;
    return weir_permit_refresh(&view);
}

static void seal(void)
{
    block()->checksum = weir_tables_checksum(block());
}

static void test_refuses_each_lie(void **state)
{
    (void)state;
    struct weir_shm_limit_row *limit = (void *)(f.memory->tables + block()->limit_off_bytes);
    struct weir_shm_share_row *share = (void *)((char *)limit + limit->share_off_bytes);
    struct weir_shm_route_row *route = (void *)(f.memory->tables + block()->route_off_bytes);
    struct weir_shm_provider_row *provider =
        (void *)(f.memory->tables + block()->provider_off_bytes);
    assert_int_equal(resolve(), WEIR_OK);
#define LIE(field, value)                            \
    do {                                             \
        __typeof__(field) honest = (field);          \
        (field) = (__typeof__(field))(value);        \
        seal();                                      \
        assert_int_equal(resolve(), WEIR_E_CORRUPT); \
        (field) = honest;                            \
        seal();                                      \
        assert_int_equal(resolve(), WEIR_OK);        \
    } while (0)
    LIE(limit[0].window_inverse, limit[0].window_inverse - 1); /* an endless division */
    LIE(limit[0].kind, WEIR_LIMIT_CONCURRENCY);
    LIE(limit[0].quota, 0);
    LIE(limit[0].window_ns, 0);
    LIE(limit[0].word_cnt, 0);
    LIE(limit[0].word_cnt, FIXTURE_WORDS + 1);
    LIE(limit[0].word_first, FIXTURE_WORDS);
    LIE(limit[0].word_first, UINT32_MAX);
    LIE(limit[0].scope_shift, 8);
    LIE(limit[0].scope_shift, 64);
    LIE(limit[0].provider, 1);
    LIE(limit[0].quota_unaligned, 11);
    LIE(limit[0].share_cnt, 3); /* more than it has words */
    LIE(limit[0].share_cnt, WEIR_SHARES_MAX + 1);
    LIE(limit[0].share_off_bytes, limit[0].share_off_bytes + 1);
    LIE(limit[0].share_off_bytes, sizeof f.memory->tables);
    LIE(limit[0].cell_stride, 2);
    LIE(share[0].part_ppm, 0);
    LIE(share[0].part_ppm, 900001); /* with the other one above the whole */
    LIE(share[0].kind, 0);
    LIE(share[1].priority, WEIR_PRIORITY_CNT);
    LIE(route[0].flags, route[0].flags ^ (uint32_t)WEIR_ROUTE_SHARED);
    LIE(limit[1].unit_ns, 0);
    LIE(limit[1].unit_ns, UINT64_MAX / 5);
    LIE(limit[1].tolerance_ns[0], UINT64_MAX);
    LIE(limit[1].tolerance_ns[4], limit[1].tolerance_ns[3] + 1); /* a lower class above a higher */
    LIE(route[0].flags, 0);                                      /* a window without a clock */
    LIE(route[0].limit[1], 3);
    LIE(route[0].limit_cnt, WEIR_PERMIT_LIMITS_MAX + 1);
    LIE(route[0].priority, WEIR_PRIORITY_CNT);
    LIE(route[0].provider, 7);
    LIE(provider->limit_cnt, 4);
    LIE(provider->route_first, UINT32_MAX);
    LIE(block()->limit_off_bytes, block()->limit_off_bytes + 8); /* not on a line */
    LIE(block()->limit_cnt, FIXTURE_LIMITS + 1);
    LIE(block()->scope_cnt, UINT32_MAX);
    LIE(block()->scope_off_bytes, 0);
    LIE(block()->member_off_bytes, 0);
    LIE(block()->member_cnt, UINT32_MAX);
    LIE(provider->member_cnt, 1); /* one that is not there */
    LIE(provider->hold_kind, WEIR_SCOPE_KIND_CNT + 1);
    LIE(limit[0].value_first, limit[0].word_cnt);
#undef LIE
    block()->used_bytes = sizeof f.memory->tables + 1;
    assert_int_equal(resolve(), WEIR_E_CORRUPT);
    block()->used_bytes = 8;
    assert_int_equal(resolve(), WEIR_E_CORRUPT);
    f.memory->gate.tables = UINT64_C(2) << 32 | 1; /* a block that is not there */
    assert_int_equal(resolve(), WEIR_E_CORRUPT);
    f.memory->gate.tables = 0;
    view.tables.word = 1;
    assert_int_equal(weir_permit_refresh(&view), WEIR_E_CORRUPT);
}

static void test_random_damage(void **state)
{
    (void)state;
    uint64_t random = 42;
    static uint8_t honest[sizeof f.memory->tables];
    uint32_t used = block()->used_bytes;
    memcpy(honest, f.memory->tables, sizeof honest);
    uint32_t accepted = 0;
    for (int i = 0; i < 60000; i++) {
        memcpy(f.memory->tables, honest, used);
        for (uint64_t n = 1 + fixture_random_below(&random, 3); n > 0; n--) {
            uint64_t r = fixture_random(&random);
            f.memory->tables[8 + r % (used - 8)] ^= (uint8_t)(r >> 56 | 1);
        }
        bool again = i % 8 != 0;
        if (again && block()->used_bytes >= sizeof *block() &&
            block()->used_bytes <= sizeof honest) {
            seal();
        }
        if (resolve() != WEIR_OK) {
            continue;
        }
        assert_true(again);
        accepted++;
        for (uint32_t route = 0; route < view.tables.route_cnt; route++) {
            struct weir_permit p;
            memset(f.memory->word, 0, sizeof f.memory->word);
            if (weir_permit_take(&view, route, 0, NULL, (unsigned)i % 5, &p) == WEIR_OK) {
                (void)weir_permit_give(&view, &p);
            }
        }
    }
    assert_true(accepted > 100);
}

static void test_names(void **state)
{
    (void)state;
    uint32_t id = 0;
    weir_scope_id scope = 0;
    assert_int_equal(weir_tables_route_find(&view.tables, "venue.route_1", &id), WEIR_OK);
    assert_int_equal(id, 1);
    assert_int_equal(weir_tables_route_find(&view.tables, "weir.nop", &id), WEIR_OK);
    assert_int_equal(id, WEIR_ROUTE_NOP);
    static const char *const unknown[] = {
        "", ".", "venue", "venue.", "route_1", "other.route_1", "venue.route_11", "venue.route_1 "};
    for (size_t i = 0; i < WEIR_ARRAY_CNT(unknown); i++) {
        assert_int_equal(weir_tables_route_find(&view.tables, unknown[i], &id),
                         WEIR_E_ROUTE_UNKNOWN);
    }
    assert_int_equal(weir_tables_limit_find(&view.tables, "venue.limit_2", &id), WEIR_OK);
    assert_int_equal(id, 2);
    assert_int_equal(weir_tables_limit_find(&view.tables, "venue.limit_3", &id),
                     WEIR_E_LIMIT_UNKNOWN);
    assert_int_equal(weir_tables_scope_find(&view.tables, "venue", "", &scope), WEIR_OK);
    assert_int_equal(weir_tables_scope_find(&view.tables, "venue", "instrument=BTC-USDT", &scope),
                     WEIR_OK);
    assert_int_equal(scope, 0);
    assert_int_equal(weir_tables_scope_find(&view.tables, "venue", "instrument=ETH", &scope),
                     WEIR_E_SCOPE_UNKNOWN);
    assert_int_equal(weir_tables_scope_find(&view.tables, "nobody", "", &scope),
                     WEIR_E_SCOPE_UNKNOWN);
    assert_int_equal(weir_tables_scope_find(&view.tables, "venue", "BTC-USDT", &scope),
                     WEIR_E_ARGUMENT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_refuses_each_lie, setup, teardown),
        cmocka_unit_test_setup_teardown(test_random_damage, setup, teardown),
        cmocka_unit_test_setup_teardown(test_names, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
