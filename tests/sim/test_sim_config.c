/* The configuration: what is taken, and the exact words when it is not. */
#include "sim_config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static struct sim_config config;
static struct sim_error error;

static void assert_refused(const char *text, const char *why)
{
    assert_false(sim_config_read(text, &config, &error));
    assert_string_equal(error.text, why);
}

static void test_default_is_binance(void **state)
{
    (void)state;
    assert_true(sim_config_read("{}", &config, &error));
    assert_int_equal(config.limit_cnt, 4);
    assert_string_equal(config.limits[0].name, "weight_1m");
    assert_int_equal(config.limits[0].quota, 6000);
    assert_int_equal(config.limits[3].counts, SIM_COUNTS_ORDERS);
    assert_false(config.trust_sim_ip);
}

static void test_all_keys(void **state)
{
    (void)state;
    assert_true(sim_config_read(
        "{\"clock_offset_ms\": -250, \"ban_after\": 2, \"ban_window_ms\": 5, \"ban_first_ms\": 6,"
        " \"ban_max_ms\": 7, \"trust_sim_ip\": true, \"latency_ms\": 8, \"jitter_ms\": 9,"
        " \"count_delay_ms\": 10, \"count_jitter_ms\": 11, \"seed\": 12,"
        " \"weights\": {\"GET /api/v3/depth\": 3},"
        " \"faults\": [{\"kind\": \"stall\", \"path\": \"/echo\", \"count\": 4}],"
        " \"limits\": [{\"name\": \"b\", \"kind\": \"token_bucket\", \"quota\": 10,"
        "   \"refill_per_s\": 2.5, \"scope\": \"key\", \"counts\": \"requests\"},"
        "  {\"name\": \"w\", \"kind\": \"fixed_window\", \"quota\": 1, \"window_ms\": 1}]}",
        &config, &error));
    assert_int_equal(config.clock_offset_ms, -250);
    assert_int_equal(config.ban.max_ms, 7);
    assert_int_equal(config.count_jitter_ms, 11);
    assert_int_equal(config.weights.of[SIM_ROUTE_DEPTH], 3);
    assert_int_equal(config.weights.of[SIM_ROUTE_PING], SIM_WEIGHT_DEFAULT);
    assert_int_equal(config.faults.cnt, 1);
    assert_int_equal(config.faults.list[0].count, 4);
    assert_int_equal(config.limit_cnt, 2);
    assert_true(config.limits[0].refill_per_s == 2.5);
    assert_int_equal(config.limits[0].scope, SIM_SCOPE_KEY);
    assert_int_equal(config.limits[1].counts, SIM_COUNTS_WEIGHT);
}

static void test_wrong_values(void **state)
{
    (void)state;
    assert_refused("{\"latency_ms\": -1}", "latency_ms=-1: must be an integer from 0 to 600000");
    assert_refused("{\"latency_ms\": 1.5}", "latency_ms=1.5: must be an integer from 0 to 600000");
    assert_refused("{\"trust_sim_ip\": \"yes\"}", "trust_sim_ip=\"yes\": must be true or false");
    assert_refused("{\"ban_first_ms\": 9, \"ban_max_ms\": 8}",
                   "ban_max_ms=8: must be at least ban_first_ms=9");
    assert_refused("[]", "the document: must be an object {…}");
    assert_refused("{\"limits\": {}}", "limits: must be a list of at most 16 limits");
    assert_refused("{\"faults\": [{\"kind\": \"fire\"}]}",
                   "faults[0].kind=\"fire\": must be one of \"reset\", \"reset_before_count\", "
                   "\"stall\", \"half_body\", \"status\", \"slow_first_byte\", \"close_idle\", "
                   "\"accept_late\"");
}

static void test_unknown_keys(void **state)
{
    (void)state;
    assert_refused("{\"limits\": [{\"qouta\": 1}]}",
                   "limits[0].qouta: unknown key: allowed are name, kind, quota, window_ms, "
                   "phase_ms, every, utc_offset_min, zone, refill_per_s, decay_per_s, step_ms, "
                   "scope, split, split_param, counts, counts_refused, bans, header, reports, "
                   "report_delay_ms, refuse");
    assert_refused(
        "{\"weights\": {\"GET /nowhere\": 1}}",
        "weights[\"GET /nowhere\"]: unknown route: allowed are GET /api/v3/ping, GET "
        "/api/v3/time, GET /api/v3/exchangeInfo, GET /api/v3/depth, GET "
        "/api/v3/ticker/price, GET /api/v3/ticker/24hr, POST /api/v3/order, DELETE "
        "/api/v3/order, GET /api/v3/order, ANY /echo, GET /bytes/, GET /chunked/, other");
    assert_refused("{\"weights\": {\"ANY /echo\": -2}}",
                   "weights[\"ANY /echo\"]: must be an integer from 0 to 1000000");
}

static void test_wrong_limits(void **state)
{
    (void)state;
    assert_refused("{\"limits\": [{\"name\": \"w\", \"kind\": \"fixed_window\", \"quota\": 0}]}",
                   "limits[0].quota=0: must be an integer from 1 to 1000000000000");
    assert_refused("{\"limits\": [{\"kind\": \"fixed_window\", \"quota\": 1}]}",
                   "limits[0].name: missing: must be a text of 1 to 32 bytes");
    assert_refused("{\"limits\": [{\"name\": \"w\", \"kind\": \"fixed_window\", \"quota\": 1}]}",
                   "limits[0].window_ms: missing: a fixed_window needs it");
    assert_refused("{\"limits\": [{\"name\": \"b\", \"kind\": \"token_bucket\", \"quota\": 1,"
                   " \"refill_per_s\": 1, \"window_ms\": 1}]}",
                   "limits[0].window_ms: a token_bucket has none: take it out");
    assert_refused("{\"limits\": [{\"name\": \"w\", \"kind\": \"fixed_window\", \"quota\": 1,"
                   " \"window_ms\": 1, \"header\": \"a: b\"}]}",
                   "limits[0].header=\"a: b\": must be of letters, digits and '-'");
    assert_refused(
        "{\"limits\": ["
        "{\"name\": \"w\", \"kind\": \"fixed_window\", \"quota\": 1, \"window_ms\": 1},"
        "{\"name\": \"w\", \"kind\": \"fixed_window\", \"quota\": 1, \"window_ms\": 1}]}",
        "limits[1].name=\"w\": already the name of limits[0]");
}

/* Each kind has its keys, and no others. */
static void test_wrong_kinds(void **state)
{
#define LIMIT(keys) "{\"limits\": [{\"name\": \"l\", \"quota\": 1, " keys "}]}"
    (void)state;
    assert_refused(LIMIT("\"kind\": \"sliding_window\""),
                   "limits[0].window_ms: missing: a sliding_window needs it");
    assert_refused(LIMIT("\"kind\": \"fixed_from_first\""),
                   "limits[0].window_ms: missing: a fixed_from_first needs it");
    assert_refused(LIMIT("\"kind\": \"bytes\""), "limits[0].window_ms: missing: a bytes needs it");
    assert_refused(LIMIT("\"kind\": \"decay\", \"step_ms\": 1000"),
                   "limits[0].decay_per_s: missing: a decay needs it");
    assert_refused(LIMIT("\"kind\": \"decay\", \"decay_per_s\": 1"),
                   "limits[0].step_ms: missing: a decay needs it");
    assert_refused(LIMIT("\"kind\": \"concurrency\", \"window_ms\": 1"),
                   "limits[0].window_ms: a concurrency has none: take it out");
    assert_refused(LIMIT("\"kind\": \"bytes\", \"window_ms\": 1, \"counts\": \"weight\""),
                   "limits[0].counts: a bytes has none: take it out");
    assert_refused(LIMIT("\"kind\": \"token_bucket\", \"refill_per_s\": 1, "
                         "\"counts_refused\": true"),
                   "limits[0].counts_refused: a token_bucket has none: take it out");
    assert_refused(LIMIT("\"kind\": \"sliding_window\", \"window_ms\": 9, \"phase_ms\": 1"),
                   "limits[0].phase_ms: a sliding_window has none: take it out");
    assert_refused(LIMIT("\"kind\": \"fixed_window\", \"window_ms\": 9, \"phase_ms\": 9"),
                   "limits[0].phase_ms=9: must be below window_ms=9");
    assert_refused(LIMIT("\"kind\": \"fixed_window\", \"window_ms\": 9, \"split\": \"param\""),
                   "limits[0].split_param: goes with split=\"param\": missing");
    assert_refused(LIMIT("\"kind\": \"fixed_window\", \"window_ms\": 9, "
                         "\"split_param\": \"instId\""),
                   "limits[0].split_param: goes with split=\"param\": take it out");
    assert_refused(LIMIT("\"kind\": \"concurrency\", \"counts\": \"connections\", "
                         "\"split\": \"endpoint\""),
                   "limits[0].split: connections carry calls of all sorts: take it out");
}

static void test_wrong_calendars(void **state)
{
#define WINDOW(keys) LIMIT("\"kind\": \"fixed_window\", " keys)
    (void)state;
    assert_refused(WINDOW("\"every\": \"week\""),
                   "limits[0].every=\"week\": must be one of \"window_ms\", \"day\", \"month\"");
    assert_refused(WINDOW("\"every\": \"day\", \"window_ms\": 1"),
                   "limits[0].window_ms: every=\"day\" says it already: take it out");
    assert_refused(WINDOW("\"every\": \"month\", \"phase_ms\": 1"),
                   "limits[0].phase_ms: every=\"month\" says it already: take it out");
    assert_refused(WINDOW("\"window_ms\": 1, \"utc_offset_min\": 60"),
                   "limits[0].utc_offset_min: only every=\"day\" or \"month\" has one");
    assert_refused(WINDOW("\"every\": \"day\", \"utc_offset_min\": 841"),
                   "limits[0].utc_offset_min=841: must be an integer from -840 to 840");
    assert_refused(WINDOW("\"every\": \"day\", \"utc_offset_min\": 0, \"zone\": \"UTC\""),
                   "limits[0].zone: utc_offset_min says it already: take one out");
    assert_refused(WINDOW("\"every\": \"day\", \"zone\": \"Mars/Olympus\""),
                   "limits[0].zone=\"Mars/Olympus\": must be a zone of this machine's tz database, "
                   "such as \"America/New_York\"");
}

static void test_not_json(void **state)
{
    (void)state;
    assert_refused("{\n \"seed\" 1}", "line 2, column 9: not JSON: ':' expected near '1'");
    assert_refused("{\"seed\": 1, \"seed\": 2}",
                   "line 1, column 18: not JSON: duplicate object key near '\"seed\"'");
    assert_false(sim_config_load("/nonexistent/sim.json", &config, &error));
    assert_string_equal(error.text, "cannot be read: No such file or directory");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_default_is_binance), cmocka_unit_test(test_all_keys),
        cmocka_unit_test(test_wrong_values),       cmocka_unit_test(test_unknown_keys),
        cmocka_unit_test(test_wrong_limits),       cmocka_unit_test(test_wrong_kinds),
        cmocka_unit_test(test_wrong_calendars),    cmocka_unit_test(test_not_json),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
