/* The permit path stopped at a named instant (WEIR_WEAVE) while others go on: exact cases, one thread. Found by tests/model; each was a fault. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "fixture.h"

#define NOW UINT64_C(1000000000000)

static struct fixture f;
static struct weir_permit_view view;
static struct weir_permit_view other;
static const char *stop_at; /* the instant; NULL: none */
static void (*meanwhile)(void);
static struct weir_permit others;

void weir_weave_hook(const char *name)
{
    if (stop_at != NULL && strcmp(name, stop_at) == 0) {
        stop_at = NULL;
        meanwhile();
    }
}

static void open_with(uint32_t kind, uint32_t quota)
{
    const struct fixture_spec spec = {
        .limit_cnt = 1,
        .route_cnt = 1,
        .limit = {{.kind = kind, .quota = quota, .window_ns = WEIR_NS_PER_S}},
        .route = {{.limit_cnt = 1, .cost = {1}}}};
    fixture_open(&f, &spec);
    fixture_view(&f, &view, NOW);
    fixture_view(&f, &other, NOW);
}

static int take(struct weir_permit_view *v, struct weir_permit *permit)
{
    return weir_permit_take(v, 0, 0, NULL, 0, permit);
}

/* The bucket has refilled, and another takes what came back. */
static void second_later(void)
{
    struct weir_permit permit;
    fixture_time_set(&view, NOW + 2 * WEIR_NS_PER_S);
    fixture_time_set(&other, NOW + 2 * WEIR_NS_PER_S);
    assert_int_equal(take(&other, &permit), WEIR_OK);
}

/* Others give back, take, and give back again, until the word is as it was: but it is a unit later. */
static void same_word_again(void)
{
    struct weir_permit permit;
    uint64_t unit_ns = view.tables.limit[0].unit_ns;
    uint64_t half_ns = unit_ns / 2;
    uint64_t before = f.memory->word[0].word[0];
    fixture_time_set(&other, NOW + half_ns);
    assert_int_equal(weir_permit_give(&other, &others), WEIR_OK);
    assert_int_equal(take(&other, &permit), WEIR_OK);
    fixture_time_set(&other, NOW + unit_ns);
    fixture_time_set(&view, NOW + unit_ns);
    assert_int_equal(weir_permit_give(&other, &permit), WEIR_OK);
    assert_int_equal(f.memory->word[0].word[0], before);
}

/* Whoever sleeps between its clock and its CAS gives back nothing either, though it finds the very same word. */
static void test_refund_of_the_same_word(void **state)
{
    (void)state;
    struct weir_permit permit;
    open_with(WEIR_LIMIT_TOKEN_BUCKET, 2);
    assert_int_equal(take(&view, &permit), WEIR_OK);
    assert_int_equal(take(&other, &others), WEIR_OK);
    uint64_t before = f.memory->word[0].word[0];
    meanwhile = same_word_again;
    stop_at = "bucket:judged";
    assert_int_equal(weir_permit_give(&view, &permit), WEIR_OK);
    assert_null(stop_at);
    assert_int_equal(f.memory->word[0].word[0],
                     before); /* a unit's time is over: it was back already */
    fixture_close(&f);
}

/* Whoever sleeps within a refund gives back nothing that time has given back: not by the clock it read before it slept. */
static void test_refund_after_sleep(void **state)
{
    (void)state;
    struct weir_permit permit;
    open_with(WEIR_LIMIT_TOKEN_BUCKET, 1);
    assert_int_equal(take(&view, &permit), WEIR_OK);
    stop_at = "bucket:loaded";
    meanwhile = second_later;
    assert_int_equal(weir_permit_give(&view, &permit), WEIR_OK);
    assert_null(stop_at);
    assert_int_equal(take(&other, &permit), WEIR_DENIED);
    fixture_close(&f);
}

static jmp_buf dead;

static void die(void)
{
    longjmp(dead, 1);
}

/* A strategy that dies at `at`, inside a permit: what its ring shows afterwards. */
static uint64_t entries_after(const char *at)
{
    static _Alignas(WEIR_LINE_BYTES) char
        ring[sizeof(struct weir_shm_audit_ring) + 4 * sizeof(struct weir_shm_audit_entry)];
    struct weir_permit permit;
    memset(ring, 0, sizeof ring);
    open_with(WEIR_LIMIT_TOKEN_BUCKET, 5);
    assert_true(weir_audit_open(&view.audit, ring, sizeof ring));
    stop_at = at;
    meanwhile = die;
    if (setjmp(dead) == 0) {
        (void)take(&view, &permit);
        fail(); /* it has died */
    }
    fixture_close(&f);
    return ((struct weir_shm_audit_ring *)(void *)ring)->head;
}

/* Half an entry never shows; a published one does. Dead before it: the charge is there, and nothing says whose it was. */
static void test_audit_of_the_dead(void **state)
{
    (void)state;
    assert_int_equal(entries_after("limit:charged"), 0);
    assert_int_equal(entries_after("audit:filled"), 0);
    assert_int_equal(entries_after("audit:published"), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refund_after_sleep),
        cmocka_unit_test(test_audit_of_the_dead),
        cmocka_unit_test(test_refund_of_the_same_word),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
