/*
 * test_monitor_board.c: the monitor on a right board, and on boards that somebody has damaged.
 *
 * Oracle: a right board has no finding; a damaged one never crashes the monitor (run under ASan and UBSan) and is refused or looked at
 * to the end; named damage gives its finding. Seeds are printed with a failure.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "board_fixture.h"
#include "exit_codes.h"
#include "show_limits.h"

static unsigned char *right;
static uint64_t size;
static FILE *sink;

static int setup(void **state)
{
    (void)state;
    right = board_fixture_make(&size);
    sink = fopen("/dev/null", "w");
    const char *save = getenv("WEIR_FIXTURE_SAVE"); /* for looking at the printers by hand */
    if (right != NULL && save != NULL) {
        FILE *file = fopen(save, "w");
        (void)fwrite(right, 1, size, file);
        (void)fclose(file);
    }
    return right == NULL || sink == NULL;
}

static int teardown(void **state)
{
    (void)state;
    free(right);
    return fclose(sink);
}

static void image_make(struct image *image, struct findings *findings)
{
    *image = (struct image){.view.fd = -1};
    *findings = (struct findings){0};
    assert_int_equal(image_alloc(image, size), WEIR_OK);
    memcpy(image->bytes, right, size);
    image->now_ns = FIXTURE_NOW_NS;
    assert_int_equal(image_open(image, findings), WEIR_OK);
}

static void *element(struct image *image, enum weir_section_kind kind)
{
    return weir_segment_section(&image->view, kind, 1, NULL, NULL);
}

static void right_board_has_no_finding(void **state)
{
    (void)state;
    struct image image;
    static struct findings findings;
    image_make(&image, &findings);
    image_check(&image, &findings);
    for (uint32_t i = 0; i < findings.cnt; i++) {
        print_message("%s\n", findings.text[i]);
    }
    assert_int_equal(findings.cnt, 0);
    image_free(&image);
    assert_int_equal(board_fixture_look(right, size, sink), WEIR_OK);
}

static void limits_are_read_from_the_view(void **state)
{
    (void)state;
    struct image image;
    struct weir_limit_state s;
    static struct findings findings;
    image_make(&image, &findings);
    assert_true(limit_state(&image, 0, 0, &s));
    assert_int_equal(s.used, 1300); /* 1234 of ours, 66 of others */
    assert_int_equal(s.foreign, 66);
    assert_int_equal(s.quota, 6000);
    assert_int_equal(s.left[WEIR_PRIORITY_CRITICAL], 4700);
    assert_true(limit_state(&image, 1, 1, &s));
    assert_int_equal(s.used, 7);
    assert_true(limit_state(&image, 2, 0, &s));
    assert_int_equal(s.used, 25);
    assert_int_equal(s.reset_ns, FIXTURE_NOW_NS + WEIR_NS_PER_S / 2);
    char scope[TEXT_BYTES];
    assert_string_equal(limit_scope(&image, 1, 1, scope), "account=hedge");
    assert_string_equal(limit_scope(&image, 0, 0, scope), "ip");
    image_free(&image);
}

static void forecasts_are_made_from_the_view(void **state)
{
    (void)state;
    struct image image;
    struct weir_forecast f;
    struct limit_dearest dearest;
    uint64_t window_micro;
    static struct findings findings;
    image_make(&image, &findings);
    assert_true(limit_forecast(&image, 0, 0, &dearest, &f, &window_micro));
    assert_true(f.used_units == 1300 && f.quota_units == 6000);
    assert_true(f.pace_micro == 95200000 && f.pace_over_ns == WEIR_PACE_SHORT_NS);
    assert_true(window_micro == 60000000);
    assert_true(dearest.units > 0 && dearest.route != UINT32_MAX);
    assert_true(f.earliest_ns == f.now_ns); /* 4700 are left */
    uint64_t left_ns = f.reset_ns - f.now_ns;
    assert_int_equal(f.at_reset_units, 1300 + 952 * (left_ns / 1000) / 10000000);
    /* the bucket was measured for four seconds: it says so */
    assert_true(limit_forecast(&image, 2, 0, &dearest, &f, &window_micro));
    assert_true(f.pace_over_ns == 4 * WEIR_NS_PER_S && f.gone_ppm == 0);
    /* no pace on the board: nothing is known, and nothing is guessed */
    assert_true(limit_forecast(&image, 1, 1, &dearest, &f, &window_micro));
    assert_true(f.pace_over_ns == 0);
    image_free(&image);
}

/* Who took what; a client without use is not listed, and use of nobody neither. */
static void use_is_listed_by_client(void **state)
{
    (void)state;
    struct image image;
    static struct findings findings;
    static const struct options options = {.command = "limits"};
    char *text = NULL;
    size_t bytes = 0;
    image_make(&image, &findings);
    FILE *out = open_memstream(&text, &bytes);
    by_client_text(out, &image, NULL, &options);
    (void)fclose(out);
    assert_non_null(strstr(text, "maker-btc"));
    assert_non_null(strstr(text, "1234"));
    assert_non_null(strstr(text, "4000"));
    free(text);
    json_t *o = by_client_json(&image, NULL, &options);
    const json_t *uses = json_object_get(o, "uses");
    assert_int_equal(json_array_size(uses), 1);
    const json_t *use = json_array_get(uses, 0);
    assert_string_equal(json_string_value(json_object_get(use, "client")), "maker-btc");
    assert_int_equal(json_integer_value(json_object_get(use, "recent_units")), 1234);
    assert_int_equal(json_integer_value(json_object_get(use, "brokered_units")), 800);
    assert_int_equal(json_integer_value(json_object_get(use, "traded_units")), 3200);
    assert_int_equal(json_integer_value(json_object_get(use, "share_ppm")), 0);
    json_decref(o);
    image_free(&image);
}

static void health_names_what_is_wrong(void **state)
{
    (void)state;
    struct image image;
    struct image_health health;
    static struct findings findings;
    char text[FINDING_TEXT_BYTES];
    image_make(&image, &findings);
    struct weir_shm_supervisor *supervisor = element(&image, WEIR_SECTION_SUPERVISOR);
    struct weir_shm_worker *worker = element(&image, WEIR_SECTION_WORKER);
    image_health_get(&image, &health);
    assert_int_equal(image_health_text(&health, text, sizeof text), EXIT_OK);
    assert_string_equal(text, "");

    supervisor->worker_died_ns = FIXTURE_NOW_NS - 1200 * WEIR_NS_PER_MS;
    supervisor->worker_restarts = 3;
    image_health_get(&image, &health);
    assert_int_equal(image_health_text(&health, text, sizeof text), EXIT_OK);
    assert_string_equal(text, "worker is down since 1.20 s (restarts 3): requests wait, permits go "
                              "on: see weird's log");

    supervisor->worker_crashes = 2;
    supervisor->worker_signal = 11;
    supervisor->worker_starts_at_ns = FIXTURE_NOW_NS + 800 * WEIR_NS_PER_MS;
    image_health_get(&image, &health);
    assert_int_equal(image_health_text(&health, text, sizeof text), EXIT_OK);
    assert_string_equal(
        text, "worker is down since 1.20 s (restarts 3, crashes in a row 2, signal 11, the "
              "next start in 800 ms): requests wait, permits go on: see weird's log and "
              "crash.N beside the sockets");

    supervisor->worker_died_ns = 0;
    worker->heartbeat_ns = FIXTURE_NOW_NS - 5 * WEIR_NS_PER_S;
    image_health_get(&image, &health);
    assert_int_equal(image_health_text(&health, text, sizeof text), EXIT_STALE);
    assert_string_equal(
        text, "worker heartbeat 5.00 s old (pid 4200): it is stopped or stuck: see weird's log");

    supervisor->heartbeat_ns = FIXTURE_NOW_NS - 7200 * WEIR_NS_PER_MS;
    image_health_get(&image, &health);
    assert_int_equal(image_health_text(&health, text, sizeof text), EXIT_STALE);
    assert_string_equal(text,
                        "supervisor heartbeat 7.20 s old: pid 4121 is dead or stopped, nobody "
                        "can attach: start weird again");
    image_free(&image);
}

static void a_row_that_never_ends_is_refused(void **state)
{
    (void)state;
    struct image image;
    struct weir_limit_state s;
    static struct findings findings;
    image_make(&image, &findings);
    struct weir_shm_limit_row row = image.tables.limit[0];
    row.window_inverse = 0; /* the division by multiplication would step by one window, for ever */
    assert_false(limit_row_usable(&row));
    image.tables.limit = &row;
    assert_false(limit_state(&image, 0, 0, &s));
    image_free(&image);
}

static void hostile_names_do_not_reach_the_terminal(void **state)
{
    (void)state;
    char text[TEXT_BYTES];
    const char name[8] = {'a', '\033', '[', '2', 'J', '\n', (char)0x9b, 'z'}; /* not ended */
    assert_string_equal(PRINT_TEXT(text, name), "a?[2J??z");
}

/* xorshift64*: small, and the same everywhere. */
static uint64_t random_next(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * UINT64_C(0x2545f4914f6cdd1d);
}

/* Values at which arithmetic breaks. */
static uint64_t random_value(uint64_t *state)
{
    static const uint64_t edges[] = {0,
                                     1,
                                     2,
                                     UINT64_MAX,
                                     UINT64_MAX - 1,
                                     INT64_MAX,
                                     UINT32_MAX,
                                     INT32_MAX,
                                     0x8000000080000000ULL,
                                     UINT16_MAX,
                                     0xffffULL << 48};
    uint64_t r = random_next(state);
    return (r & 3) != 0 ? edges[(r >> 8) % WEIR_ARRAY_CNT(edges)] : random_next(state);
}

static void damage(unsigned char *bytes, uint64_t seed)
{
    uint64_t random = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
    uint64_t cnt = 1 + random_next(&random) % 8;
    for (uint64_t i = 0; i < cnt; i++) {
        uint64_t r = random_next(&random);
        /* half of the hits on the header and the tables, where the structure is */
        uint64_t range = (r & 1) != 0 ? sizeof(struct weir_shm_header) : size;
        uint64_t at = (r >> 8) % range / 4 * 4;
        uint64_t value = random_value(&random);
        memcpy(bytes + at, &value, (r & 2) != 0 && at + 8 <= size ? 8 : 4);
    }
    if ((seed & 1) != 0) {
        /* spare the header's first words, so that most boards get past them */
        memcpy(bytes, right, offsetof(struct weir_shm_header, section));
    }
    board_fixture_seal(bytes, size);
}

static void damaged_boards_are_survived(void **state)
{
    (void)state;
    unsigned char *bytes = aligned_alloc(WEIR_LINE_BYTES, size);
    assert_non_null(bytes);
    unsigned opened = 0;
    for (uint64_t seed = 1; seed <= 3000; seed++) {
        memcpy(bytes, right, size);
        damage(bytes, seed);
        opened += board_fixture_look(bytes, size, sink) == WEIR_OK;
        if (seed % 4 == 0) {
            (void)board_fixture_watch(bytes, right, size,
                                      sink); /* and beside a right one, now and the turn before */
            (void)board_fixture_watch(right, bytes, size, sink);
        }
    }
    free(bytes);
    print_message("3000 seeds, %u opened\n", opened);
    assert_in_range(opened, 100, 3000); /* else the test looks at nothing */
}

static void tables_are_damaged_too(void **state)
{
    (void)state;
    unsigned char *bytes = aligned_alloc(WEIR_LINE_BYTES, size);
    assert_non_null(bytes);
    struct weir_segment view = {.base = bytes, .bytes = size, .fd = -1, .header = (void *)bytes};
    uint64_t stride;
    memcpy(bytes, right, size);
    const unsigned char *tables =
        weir_segment_section(&view, WEIR_SECTION_TABLES, 1, NULL, &stride);
    const uint64_t from = (uint64_t)(tables - bytes) + stride;
    unsigned opened = 0;
    for (uint64_t at = 0; at + 4 <= stride; at += 4) { /* every field of every row */
        uint64_t random = at + 1;
        for (unsigned i = 0; i < 4; i++) {
            uint32_t value = (uint32_t)random_value(&random);
            memcpy(bytes, right, size);
            memcpy(bytes + from + at, &value, sizeof value);
            board_fixture_seal(bytes, size);
            opened += board_fixture_look(bytes, size, sink) == WEIR_OK;
        }
    }
    free(bytes);
    assert_in_range(opened, 100, UINT32_MAX);
}

static void short_files_are_refused(void **state)
{
    (void)state;
    struct image image = {.view.fd = -1};
    assert_int_equal(image_alloc(&image, 0), WEIR_E_ARGUMENT);
    assert_int_equal(image_alloc(&image, sizeof(struct weir_shm_header) - 1), WEIR_E_ARGUMENT);
    assert_int_equal(image_alloc(&image, UINT64_MAX), WEIR_E_ARGUMENT);
    for (uint64_t cut = sizeof(struct weir_shm_header); cut < size; cut += 4097) {
        assert_int_not_equal(board_fixture_look(right, cut, sink), WEIR_OK);
    }
    assert_int_equal(image_load(&image, "/nonexistent"), WEIR_E_SYSTEM);
    assert_int_equal(image_load(&image, "/dev/null"), WEIR_E_ARGUMENT);
    image_free(&image);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(right_board_has_no_finding),
        cmocka_unit_test(limits_are_read_from_the_view),
        cmocka_unit_test(forecasts_are_made_from_the_view),
        cmocka_unit_test(use_is_listed_by_client),
        cmocka_unit_test(health_names_what_is_wrong),
        cmocka_unit_test(a_row_that_never_ends_is_refused),
        cmocka_unit_test(hostile_names_do_not_reach_the_terminal),
        cmocka_unit_test(short_files_are_refused),
        cmocka_unit_test(tables_are_damaged_too),
        cmocka_unit_test(damaged_boards_are_survived),
    };
    return cmocka_run_group_tests_name("monitor_board", tests, setup, teardown);
}
