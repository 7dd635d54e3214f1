/* What answers say: usage, refusals, time; and what the configuration may ask of them. */
#include "sim_config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct sim_config config;
static struct sim_error error;

static bool limit_read(const char *keys)
{
    char text[1024];

    snprintf(text, sizeof(text),
             "{\"limits\": [{\"name\": \"w\", \"kind\": \"fixed_window\", \"quota\": 10, "
             "\"window_ms\": 1500, %s}]}",
             keys);
    return sim_config_read(text, &config, &error);
}

static void assert_limit_refused(const char *keys, const char *why)
{
    assert_false(limit_read(keys));
    assert_string_equal(error.text, why);
}

static void test_values(void **state)
{
    /* 7 of 10 used, reset at 2000.000001 s, asked at 1999.2 s */
    struct sim_usage usage = {.used = 7,
                              .remaining = 3,
                              .limit = 10,
                              .interval_ms = 1500,
                              .reset_utc_ns = 2000 * SIM_NS_PER_S + 1000};
    int64_t now_ns = 1999200 * SIM_NS_PER_MS;

    (void)state;
    assert_int_equal(sim_usage_value(&usage, SIM_REPORT_USED, now_ns), 7);
    assert_int_equal(sim_usage_value(&usage, SIM_REPORT_REMAINING, now_ns), 3);
    assert_int_equal(sim_usage_value(&usage, SIM_REPORT_LIMIT, now_ns), 10);
    assert_int_equal(sim_usage_value(&usage, SIM_REPORT_RESET_S, now_ns), 2001);
    assert_int_equal(sim_usage_value(&usage, SIM_REPORT_RESET_MS, now_ns), 2000001);
    assert_int_equal(sim_usage_value(&usage, SIM_REPORT_RESET_IN_S, now_ns), 1);
    assert_int_equal(sim_usage_value(&usage, SIM_REPORT_RESET_IN_MS, now_ns), 801);
    assert_int_equal(sim_usage_value(&usage, SIM_REPORT_INTERVAL_S, now_ns), 2);
    assert_int_equal(sim_usage_value(&usage, SIM_REPORT_INTERVAL_MS, now_ns), 1500);
    assert_int_equal(sim_usage_value(&usage, SIM_REPORT_RESET_IN_MS, 3000 * SIM_NS_PER_S), 0);
}

static void test_shown_where_it_fits(void **state)
{
    struct sim_report_rule rule = {.on = SIM_ON_COUNTED};
    int64_t value = 5;

    (void)state;
    assert_true(sim_report_shown(&rule, true, true, false, 1, 1, &value));
    assert_false(sim_report_shown(&rule, false, true, false, 1, 1, &value));
    rule.on = SIM_ON_EVERY;
    assert_true(sim_report_shown(&rule, false, false, false, 1, 1, &value));
    rule.on = SIM_ON_SUCCESS;
    assert_false(sim_report_shown(&rule, true, false, false, 1, 1, &value));
    assert_true(sim_report_shown(&rule, true, true, false, 1, 1, &value));
    rule.on = SIM_ON_REFUSED;
    assert_false(sim_report_shown(&rule, true, true, false, 1, 1, &value));
    assert_true(sim_report_shown(&rule, true, false, true, 1, 1, &value));
    assert_int_equal(value, 5);
}

static void test_missing_and_minus_one(void **state)
{
    struct sim_report_rule rule = {.missing = 0.25, .minus_one = 0.5};
    int64_t value = 5;

    (void)state;
    assert_false(sim_report_shown(&rule, true, true, false, 0.24, 1, &value));
    assert_true(sim_report_shown(&rule, true, true, false, 0.25, 0.5, &value));
    assert_int_equal(value, 5);
    assert_true(sim_report_shown(&rule, true, true, false, 0.25, 0.49, &value));
    assert_int_equal(value, -1);
}

static void test_late_reports_quote_the_past(void **state)
{
    static struct sim_usage_past past;
    struct sim_usage usage = {0};

    (void)state;
    assert_null(sim_usage_at(&past, 100));
    for (int64_t i = 1; i <= SIM_USAGE_PAST_MAX + 8; i++) {
        usage.used = i;
        sim_usage_note(&past, &usage, i * 10);
    }
    assert_int_equal(sim_usage_at(&past, 1000)->used, SIM_USAGE_PAST_MAX + 8);
    assert_int_equal(sim_usage_at(&past, 200)->used, 20);
    assert_int_equal(sim_usage_at(&past, 199)->used, 19);
    assert_int_equal(sim_usage_at(&past, 5)->used, 9); /* the oldest that is kept */
}

static void test_fields_are_set_by_path(void **state)
{
    json_t *body = json_pack("{s:i, s:{s:i}}", "a", 1, "b", "c", 2);

    (void)state;
    assert_true(sim_field_set(body, "b.d.e", json_integer(3)));
    assert_false(sim_field_set(body, "a.x", json_integer(4))); /* a is a number */
    char *text = json_dumps(body, JSON_COMPACT | JSON_SORT_KEYS);
    assert_string_equal(text, "{\"a\":1,\"b\":{\"c\":2,\"d\":{\"e\":3}}}");
    free(text);
    json_decref(body);
}

static void test_wrong_reports(void **state)
{
    (void)state;
    assert_limit_refused("\"reports\": {}",
                         "limits[0].reports: must be a list of at most 8 reports");
    assert_limit_refused("\"reports\": [{\"what\": \"used\"}]",
                         "limits[0].reports[0]: must name either a header or a field");
    assert_limit_refused("\"reports\": [{\"what\": \"used\", \"header\": \"h\", \"field\": \"f\"}]",
                         "limits[0].reports[0]: must name either a header or a field");
    assert_limit_refused("\"reports\": [{\"what\": \"left\", \"header\": \"h\"}]",
                         "limits[0].reports[0].what=\"left\": must be one of \"used\", "
                         "\"remaining\", \"limit\", \"reset_s\", \"reset_ms\", \"reset_in_s\", "
                         "\"reset_in_ms\", \"interval_s\", \"interval_ms\"");
    assert_limit_refused("\"reports\": [{\"what\": \"used\", \"header\": \"h\", \"missing\": 1.5}]",
                         "limits[0].reports[0].missing=1.5: must be a number from 0 to 1");
    assert_limit_refused("\"reports\": [{\"what\": \"used\", \"header\": \"a b\"}]",
                         "limits[0].reports[0].header=\"a b\": must be of letters, digits and '-'");
    assert_limit_refused("\"reports\": [{\"what\": \"used\", \"header\": \"h\", \"text\": true}]",
                         "limits[0].reports[0].text: a header is always text: take it out");
}

static void test_refusal_fills_in_its_words(void **state)
{
    struct sim_refusal_facts facts = {.limit = "w",
                                      .quota = 10,
                                      .retry_s = 2,
                                      .until_utc_ms = 1700000002500,
                                      .now_utc_ms = 1700000000500};
    char *body;

    (void)state;
    assert_true(limit_read("\"refuse\": {\"status\": 200, \"body\": {\"error\": "
                           "[\"EService: Throttled: %until_s%\", \"100% %limit%/%quota%\"]}}"));
    assert_true(config.limits[0].refuse.json);
    assert_false(config.limits[0].refuse.retry_after); /* no refusal by its status */
    body = sim_refusal_body(&config.limits[0].refuse, &facts);
    assert_string_equal(body, "{\"error\":[\"EService: Throttled: 1700000002\",\"100% w/10\"]}");
    free(body);
    assert_true(limit_read("\"refuse\": {\"status\": 403, \"body\": \"in %retry_s% s, %until_ms%, "
                           "%now_ms%, %now_s%\"}"));
    assert_false(config.limits[0].refuse.json);
    assert_true(config.limits[0].refuse.retry_after);
    body = sim_refusal_body(&config.limits[0].refuse, &facts);
    assert_string_equal(body, "in 2 s, 1700000002500, 1700000000500, 1700000000");
    free(body);
}

static void test_wrong_refusals(void **state)
{
    (void)state;
    assert_limit_refused("\"refuse\": {\"status\": 429}",
                         "limits[0].refuse.body: missing: must be any JSON");
    assert_limit_refused("\"refuse\": {\"status\": 99, \"body\": {}}",
                         "limits[0].refuse.status=99: must be an integer from 200 to 599");
    assert_limit_refused("\"refuse\": {\"status\": 429, \"body\": \"%soon%\"}",
                         "limits[0].refuse.body: %soon%: unknown word: allowed are %limit%, "
                         "%quota%, %retry_s%, %until_ms%, %until_s%, %now_ms%, %now_s%");
}

static void test_stamps_are_cut_off(void **state)
{
    struct sim_stamp_rule rule = {.unit = 0};
    const int64_t wanted[] = {1700000000, 1700000000999, 1700000000999999, 1700000000999999999};

    (void)state;
    for (rule.unit = 0; rule.unit < 4; rule.unit++) {
        assert_int_equal(sim_stamp_value(&rule, 1700000000999999999), wanted[rule.unit]);
    }
    rule.unit = 0;
    assert_int_equal(sim_stamp_value(&rule, -1), -1);
}

static void assert_top_refused(const char *text, const char *why)
{
    assert_false(sim_config_read(text, &config, &error));
    assert_string_equal(error.text, why);
}

static void test_wrong_times_and_callers(void **state)
{
    (void)state;
    assert_top_refused("{\"times\": [{\"field\": \"t\"}]}",
                       "times[0].unit: missing: must be one of \"s\", \"ms\", \"us\", \"ns\"");
    assert_top_refused("{\"times\": [{\"unit\": \"s\"}]}",
                       "times[0]: must name either a header or a field");
    assert_top_refused("{\"times\": [{\"unit\": \"s\", \"header\": \"t\", \"path\": \"x\"}]}",
                       "times[0].path=\"x\": must begin with '/'");
    assert_top_refused("{\"key_header\": \"a:\"}",
                       "key_header=\"a:\": must be of letters, digits and '-'");
    assert_top_refused("{\"accounts\": {\"k\": 1}}",
                       "accounts[\"k\"]: key and account must be texts of at most 127 bytes");
    assert_top_refused("{\"ban_scope\": \"all\"}",
                       "ban_scope=\"all\": must be one of \"ip\", \"key\"");
    assert_top_refused("{\"ban_growth\": 0.5}", "ban_growth=0.5: must be a number from 1 to 1000");
    assert_top_refused("{\"clock_drift_ppm\": 100001}",
                       "clock_drift_ppm=100001: must be an integer from -100000 to 100000");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_shown_where_it_fits),
        cmocka_unit_test(test_missing_and_minus_one),
        cmocka_unit_test(test_late_reports_quote_the_past),
        cmocka_unit_test(test_fields_are_set_by_path),
        cmocka_unit_test(test_wrong_reports),
        cmocka_unit_test(test_refusal_fills_in_its_words),
        cmocka_unit_test(test_wrong_refusals),
        cmocka_unit_test(test_stamps_are_cut_off),
        cmocka_unit_test(test_wrong_times_and_callers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
