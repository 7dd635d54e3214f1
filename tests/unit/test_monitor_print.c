/* test_monitor_print.c: numbers, durations, tables and exit codes as people and scripts see them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "command.h"
#include "exit_codes.h"
#include "show_call.h"
#include "show_limits.h"
#include "weir_hold.h"

static void durations_have_three_digits(void **state)
{
    (void)state;
    static const struct {
        uint64_t ns;
        const char *text;
    } rows[] = {
        {0, "0 ns"},
        {853, "853 ns"},
        {1000, "1.00 us"},
        {12400, "12.4 us"},
        {999499, "999 us"},
        {999999, "1.00 ms"},
        {3210000, "3.21 ms"},
        {999999999, "1.00 s"},
        {1250000000, "1.25 s"},
        {59999999999, "60.0 s"},
        {125 * WEIR_NS_PER_S, "2 min 5 s"},
        {11520 * WEIR_NS_PER_S, "3 h 12 min"},
        {187200 * WEIR_NS_PER_S, "2 d 4 h"},
        {UINT64_MAX, "213503 d 23 h"},
    };
    for (size_t i = 0; i < WEIR_ARRAY_CNT(rows); i++) {
        char text[DURATION_BYTES];
        assert_string_equal(print_duration(text, rows[i].ns), rows[i].text);
    }
    char text[DURATION_BYTES];
    assert_string_equal(print_offset(text, -1840000), "-1.84 ms");
    assert_string_equal(print_offset(text, INT64_MIN), "-106751 d 23 h");
}

static void paces_and_instants_read_at_a_glance(void **state)
{
    (void)state;
    static const struct {
        uint64_t micro;
        const char *text;
    } paces[] = {{0, "0/s"},           {95200000, "95.2/s"}, {1000000, "1.00/s"},
                 {200000, "12.0/min"}, {1000, "3.60/h"},     {20, "1.73/d"},
                 {1, "0.09/d"},        {454600000, "455/s"}, {UINT64_MAX, "18446744073710/s"}};
    for (size_t i = 0; i < WEIR_ARRAY_CNT(paces); i++) {
        char text[DURATION_BYTES];
        assert_string_equal(print_pace(text, paces[i].micro), paces[i].text);
    }
    const uint64_t day_ns = 86400 * WEIR_NS_PER_S;
    const uint64_t now_ns = 20000 * day_ns + 12 * 3600 * WEIR_NS_PER_S; /* 2024-10-04 12:00 */
    char text[DURATION_BYTES];
    assert_string_equal(print_utc(text, now_ns + 19920 * WEIR_NS_PER_S, now_ns), "17:32 UTC");
    assert_string_equal(print_utc(text, now_ns + 5 * WEIR_NS_PER_S, now_ns), "12:00:05 UTC");
    assert_string_equal(print_utc(text, now_ns + day_ns / 2, now_ns), "Oct 05 00:00 UTC");
}

static void windows_are_exact(void **state)
{
    (void)state;
    static const struct {
        uint64_t ns;
        const char *text;
    } rows[] = {{60 * WEIR_NS_PER_S, "1m"},
                {10 * WEIR_NS_PER_S, "10s"},
                {90 * WEIR_NS_PER_S, "90s"},
                {250 * WEIR_NS_PER_MS, "250ms"},
                {86400 * WEIR_NS_PER_S, "1d"},
                {1, "1ns"},
                {0, "0ns"}};
    for (size_t i = 0; i < WEIR_ARRAY_CNT(rows); i++) {
        char text[DURATION_BYTES];
        assert_string_equal(print_window(text, rows[i].ns), rows[i].text);
    }
}

static void durations_are_parsed_or_refused(void **state)
{
    (void)state;
    uint64_t ns;
    assert_true(duration_parse("2s", &ns) && ns == 2 * WEIR_NS_PER_S);
    assert_true(duration_parse("500ms", &ns) && ns == 500 * WEIR_NS_PER_MS);
    assert_true(duration_parse("1.5", &ns) && ns == 1500 * WEIR_NS_PER_MS);
    static const char *const wrong[] = {"", "0", "-1s", "inf", "nan", "2 s", "2x", "1e9d", "1e300"};
    for (size_t i = 0; i < WEIR_ARRAY_CNT(wrong); i++) {
        assert_false(duration_parse(wrong[i], &ns));
    }
}

static void tables_line_up(void **state)
{
    (void)state;
    static const struct column columns[] = {{"NAME", -4}, {"N", 3}, {"LAST", -4}};
    struct table table;
    char *text = NULL;
    size_t bytes;
    FILE *out = open_memstream(&text, &bytes);
    table_init(&table, columns, WEIR_ARRAY_CNT(columns));
    table_cell(&table, "a");
    table_cell(&table, "%d", 7);
    table_cell(&table, "x");
    table_cell(&table, "longer");
    table_cell(&table, "%d", 12345);
    table_cell(&table, "y");
    table_cell(&table, "half");
    table_print(&table, out, "  ");
    (void)fclose(out);
    assert_string_equal(text, "  NAME        N  LAST\n"
                              "  a           7  x\n"
                              "  longer  12345  y\n");
    free(text);
}

static void query_is_percent_encoded(void **state)
{
    (void)state;
    char out[64];
    size_t n = query_encode(out, "a b&c=d/\xc3\xa4-._~", 14);
    out[n] = '\0';
    assert_string_equal(out, "a%20b%26c%3Dd%2F%C3%A4-._~");
}

static void exit_codes_tell_unsent_from_unknown(void **state)
{
    (void)state;
    static const struct {
        enum weir_result result;
        uint32_t status;
        int code;
    } rows[] = {
        {WEIR_RESULT_DONE, 200, EXIT_OK},
        {WEIR_RESULT_DONE, 429, EXIT_HTTP_ERROR},
        {WEIR_RESULT_REFUSED, 0, EXIT_NOT_SENT},
        {WEIR_RESULT_EXPIRED, 0, EXIT_NOT_SENT},
        {WEIR_RESULT_CANCELLED, 0, EXIT_NOT_SENT},
        {WEIR_RESULT_REJECTED, 0, EXIT_NOT_SENT},
        {WEIR_RESULT_NOT_SENT, 0, EXIT_NOT_SENT},
        {WEIR_RESULT_NO_ROOM, 0, EXIT_NOT_SENT},
        {WEIR_RESULT_FAILED, 0, EXIT_NO_ANSWER},
        {WEIR_RESULT_TOO_LARGE, 0, EXIT_NO_ANSWER},
        {WEIR_RESULT_TIMEOUT, 0, EXIT_NO_ANSWER},
        {WEIR_RESULT_OUTCOME_UNKNOWN, 0, EXIT_OUTCOME_UNKNOWN},
        {(enum weir_result)99, 0, EXIT_OUTCOME_UNKNOWN},
    };
    for (size_t i = 0; i < WEIR_ARRAY_CNT(rows); i++) {
        struct weir_response r = {.result = rows[i].result, .status = rows[i].status};
        assert_int_equal(call_exit_code(&r), rows[i].code);
    }
}

static void names_are_checked(void **state)
{
    (void)state;
    assert_true(board_name_ok("prod-1.a_b"));
    assert_false(board_name_ok(""));
    assert_false(board_name_ok(".."));
    assert_false(board_name_ok("a/b"));
    assert_false(board_name_ok("12345678901234567890123456789012"));
}

static void expect_hold(const struct weir_shm_provider *p, uint64_t now_ns, const char *wanted)
{
    char text[HOLD_BYTES];
    assert_int_equal(hold_text(text, p, now_ns), wanted != NULL);
    if (wanted != NULL) {
        assert_string_equal(text, wanted);
    }
}

static void holds_are_told(void **state)
{
    (void)state;
    const uint64_t until_ns = UINT64_C(1000) << 30;
    const uint64_t tick = UINT64_C(1) << WEIR_PAUSE_TICK_BITS;
    struct weir_shm_provider p = {0};
    expect_hold(&p, until_ns, NULL);
    p.traders_pause = weir_pause_make(until_ns, WEIR_PAUSE_THROTTLED, 1);
    expect_hold(&p, until_ns - 2 * WEIR_NS_PER_S,
                "2.00 s more: throttled by the server (set by traders)");
    p.pause = weir_pause_make(until_ns + tick, WEIR_PAUSE_BANNED, 1);
    expect_hold(&p, until_ns + tick - WEIR_NS_PER_S,
                "1.00 s more: banned by the server (set by broker)");
    expect_hold(&p, until_ns + tick + WEIR_NS_PER_S,
                "over for 1.00 s: one call tries, the others wait for it");
    p.reopen = weir_reopen_make(until_ns + 2 * tick, 3, 5, WEIR_REOPEN_RAMPING);
    expect_hold(&p, until_ns + tick + WEIR_NS_PER_S,
                "over for 1.00 s: calls come back, step 4 of 8");
    p.traders_pause = 0;
    p.pause = weir_pause_make(until_ns, WEIR_PAUSE_OPERATOR, 1);
    expect_hold(&p, until_ns, NULL);
    p.pause = weir_pause_make(UINT64_MAX, WEIR_PAUSE_OPERATOR, 1);
    expect_hold(&p, until_ns, "until it is resumed: by an operator (set by broker)");
    p.pause = UINT64_MAX; /* whatever stands there: words, not a crash */
    expect_hold(&p, until_ns, "until it is resumed: unknown cause (set by broker)");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(holds_are_told),
        cmocka_unit_test(durations_have_three_digits),
        cmocka_unit_test(paces_and_instants_read_at_a_glance),
        cmocka_unit_test(windows_are_exact),
        cmocka_unit_test(durations_are_parsed_or_refused),
        cmocka_unit_test(tables_line_up),
        cmocka_unit_test(query_is_percent_encoded),
        cmocka_unit_test(exit_codes_tell_unsent_from_unknown),
        cmocka_unit_test(names_are_checked),
    };
    return cmocka_run_group_tests_name("monitor_print", tests, NULL, NULL);
}
