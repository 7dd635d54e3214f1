/*
 * test_reply_value.c: numbers, instants, members and texts out of hostile answers; and what says "stop".
 *
 * Oracle: written by hand from RFC 9110 and the exchanges' own texts (research/rate_limits.md 2.11).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "broker/reply_value.h"
#include "broker/throttle.h"
#include "shm/weir_base.h"

static struct reply_text text(const char *s)
{
    return (struct reply_text){s, strlen(s)};
}

static void test_numbers(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum reply_verdict verdict;
        uint64_t value;
        uint32_t decimals;
    } rows[] = {
        {"0", REPLY_VALUE, 0, 0},
        {"42", REPLY_VALUE, 42, 0},
        {" \t42 \r", REPLY_VALUE, 42, 0},
        {"12.50", REPLY_VALUE, 1250, 2},
        {"18446744073709551615", REPLY_VALUE, UINT64_MAX, 0},
        {"18446744073709551616", REPLY_GARBAGE, 0, 0}, /* 2^64 */
        {"-1", REPLY_NEGATIVE, 0, 0},
        {"-0", REPLY_NEGATIVE, 0, 0},
        {"", REPLY_GARBAGE, 0, 0},
        {"   ", REPLY_GARBAGE, 0, 0},
        {"-", REPLY_GARBAGE, 0, 0},
        {"+5", REPLY_GARBAGE, 0, 0},
        {".5", REPLY_GARBAGE, 0, 0},
        {"5.", REPLY_GARBAGE, 0, 0},
        {"1.2.3", REPLY_GARBAGE, 0, 0},
        {"1e9", REPLY_GARBAGE, 0, 0},
        {"0x10", REPLY_GARBAGE, 0, 0},
        {"NaN", REPLY_GARBAGE, 0, 0},
        {"inf", REPLY_GARBAGE, 0, 0},
        {"12 apples", REPLY_GARBAGE, 0, 0},
        {"1,200", REPLY_GARBAGE, 0, 0},
        {"000000000000000000000000000000001", REPLY_GARBAGE, 0, 0}, /* 33 bytes */
    };
    for (size_t i = 0; i < WEIR_ARRAY_CNT(rows); i++) {
        struct reply_number n = {0};
        assert_int_equal(reply_number(text(rows[i].text), &n), rows[i].verdict);
        assert_true(n.value == rows[i].value);
        assert_int_equal(n.decimals, rows[i].decimals);
    }
    char *huge = malloc(1 << 20); /* a header of 1 MB */
    assert_non_null(huge);
    memset(huge, '1', 1 << 20);
    struct reply_number n;
    assert_int_equal(reply_number((struct reply_text){huge, 1 << 20}, &n), REPLY_GARBAGE);
    free(huge);
}

static void test_units(void **state)
{
    (void)state;
    uint32_t u = 0;
    assert_int_equal(reply_units(text("12.5"), &u, true), REPLY_VALUE);
    assert_int_equal(u, 13); /* of what was used, a part counts as one */
    assert_int_equal(reply_units(text("12.5"), &u, false), REPLY_VALUE);
    assert_int_equal(u, 12);
    assert_int_equal(reply_units(text("4294967295"), &u, true), REPLY_VALUE);
    assert_int_equal(reply_units(text("4294967296"), &u, true), REPLY_GARBAGE);
    assert_int_equal(reply_units(text("0.0000000000000000000001"), &u, true), REPLY_GARBAGE);
    assert_int_equal(reply_units(text("-1"), &u, true), REPLY_NEGATIVE);
}

static void test_instants(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t ns, granularity_ns;
    } rows[] = {
        {"1700000000", UINT64_C(1700000000000000000), WEIR_NS_PER_S},
        {"1700000000123", UINT64_C(1700000000123000000), WEIR_NS_PER_MS},
        {"1700000000123456", UINT64_C(1700000000123456000), WEIR_NS_PER_US},
        {"1700000000123456789", UINT64_C(1700000000123456789), 1},
        {"1700000000.123", UINT64_C(1700000000123000000), WEIR_NS_PER_MS},
        {"Sun, 06 Nov 1994 08:49:37 GMT", UINT64_C(784111777000000000), WEIR_NS_PER_S},
        {"Thu, 29 Feb 2024 23:59:59 GMT", UINT64_C(1709251199000000000), WEIR_NS_PER_S},
        {"Fri, 01 Mar 2024 00:00:00 GMT", UINT64_C(1709251200000000000), WEIR_NS_PER_S},
        {"Thu, 01 Jan 1970 00:00:00 GMT", 0, WEIR_NS_PER_S},
        {"Mon, 01 Mar 2100 00:00:00 GMT", UINT64_C(4107542400000000000), WEIR_NS_PER_S},
    };
    for (size_t i = 0; i < WEIR_ARRAY_CNT(rows); i++) {
        struct reply_instant at = {0};
        assert_int_equal(reply_instant(text(rows[i].text), REPLY_UNIT_AUTO, &at), REPLY_VALUE);
        assert_true(at.ns == rows[i].ns);
        assert_in_range(at.granularity_ns, rows[i].granularity_ns, rows[i].granularity_ns + 1);
    }
    static const char *const bad[] = {
        "",
        "-1700000000",
        "18446744073709551616",
        "18446744073709551615", /* fits, but no instant that arithmetic could bear */
        "Sunday, 06-Nov-94 08:49:37 GMT",
        "Sun Nov  6 08:49:37 1994",
        "Sun, 06 Nov 1994 08:49:37 CET",
        "Sun, 06 Nov 1994 24:49:37 GMT",
        "Sun, 00 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 9994 08:49:37 GMT",
        "Sun, 06 Jan 2136 08:49:37 GMT", /* 2^62 ns are 146 years: found by fuzz_reply */
        "Sun, 06 Foo 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 08:49:37 GM",
        "Sun, 06 Nov 1994 08:49:37 GMTX",
        "GMT",
    };
    for (size_t i = 0; i < WEIR_ARRAY_CNT(bad); i++) {
        struct reply_instant at;
        assert_int_not_equal(reply_instant(text(bad[i]), REPLY_UNIT_AUTO, &at), REPLY_VALUE);
    }
    struct reply_instant at;
    assert_int_equal(reply_instant(text("1700000000"), REPLY_UNIT_MS, &at), REPLY_VALUE);
    assert_true(at.ns == UINT64_C(1700000000) * WEIR_NS_PER_MS);
    assert_int_equal(reply_span(text("1.5"), REPLY_UNIT_AUTO, &at), REPLY_VALUE);
    assert_true(at.ns == 1500 * WEIR_NS_PER_MS);
}

static void test_headers(void **state)
{
    (void)state;
    static const char head[] = "HTTP/1.1 200 OK\r\nDate: now\r\nX-Used:  7 \r\nX-Used-1m: 8\r\n"
                               "x-used: 9\r\nEmpty:\r\nno colon\r\n\r\n";
    struct reply_text v;
    assert_int_equal(reply_header(head, sizeof head - 1, "x-used", &v), REPLY_VALUE);
    assert_true(v.bytes == 1 && v.at[0] == '7'); /* the first */
    assert_int_equal(reply_header(head, sizeof head - 1, "x-used-1m", &v), REPLY_VALUE);
    assert_true(v.at[0] == '8');
    assert_int_equal(reply_header(head, sizeof head - 1, "empty", &v), REPLY_VALUE);
    assert_int_equal(v.bytes, 0);
    assert_int_equal(reply_header(head, sizeof head - 1, "used", &v), REPLY_ABSENT);
    assert_int_equal(reply_header(head, sizeof head - 1, "no colon", &v), REPLY_ABSENT);
    assert_int_equal(reply_header(head, 20, "date", &v), REPLY_ABSENT); /* cut off */
    assert_int_equal(reply_header(head, 0, "date", &v), REPLY_ABSENT);
}

static void test_members(void **state)
{
    (void)state;
    static const char body[] =
        "{\"a\":{\"b\":7,\"c\":null,\"d\":[1,{\"e\":\"x\"}]},\"f\":1.5,\"g\":true,"
        "\"h\":-1}";
    char buffer[40];
    struct reply_text v;
    json_t *root = reply_json(body, sizeof body - 1);
    assert_non_null(root);
    assert_int_equal(reply_member(root, "a.b", buffer, &v), REPLY_VALUE);
    assert_true(v.bytes == 1 && v.at[0] == '7');
    assert_int_equal(reply_member(root, "a.d.1.e", buffer, &v), REPLY_VALUE);
    assert_true(v.at[0] == 'x');
    assert_int_equal(reply_member(root, "f", buffer, &v), REPLY_VALUE);
    uint32_t units;
    assert_int_equal(reply_units(v, &units, true), REPLY_VALUE);
    assert_int_equal(units, 2);
    assert_int_equal(reply_member(root, "h", buffer, &v), REPLY_VALUE);
    assert_int_equal(reply_units(v, &units, true), REPLY_NEGATIVE);
    assert_int_equal(reply_member(root, "a.c", buffer, &v), REPLY_GARBAGE);
    assert_int_equal(reply_member(root, "g", buffer, &v), REPLY_GARBAGE);
    assert_int_equal(reply_member(root, "a", buffer, &v), REPLY_GARBAGE);
    static const char *const absent[] = {"x", "a.x", "a.b.c", "a.d.9", "a.d.x", "a..b", ".", "a."};
    for (size_t i = 0; i + 1 < WEIR_ARRAY_CNT(absent); i++) {
        assert_int_equal(reply_member(root, absent[i], buffer, &v), REPLY_ABSENT);
    }
    json_decref(root);
    assert_null(reply_json("{\"a\": 99999999999999999999}", 26)); /* beyond 64 bits */
    assert_null(reply_json("{\"a\":1,\"a\":2}", 13));
    assert_null(reply_json("{\"a\":NaN}", 9));
    char *deep = malloc(REPLY_JSON_MAX_BYTES + 1);
    assert_non_null(deep);
    memset(deep, '[', REPLY_JSON_MAX_BYTES + 1);
    assert_null(reply_json(deep, REPLY_JSON_MAX_BYTES)); /* too deep */
    memset(deep, ' ', REPLY_JSON_MAX_BYTES + 1);
    memcpy(deep, "{}", 2);
    json_t *most = reply_json(deep, REPLY_JSON_MAX_BYTES);
    assert_non_null(most);
    json_decref(most);
    assert_null(reply_json(deep, REPLY_JSON_MAX_BYTES + 1)); /* too long */
    free(deep);
}

static const char *texts[] = {"Thank you for using Alpha Vantage"};
static struct weir_config_throttle_body bodies[] = {{"retCode", "10006"}, {"error.code", "50011"}};
static uint64_t statuses[] = {429, 418};
static const struct weir_config_throttle rules = {
    .status = {statuses, 2},
    .header = "x-stop",
    .body = bodies,
    .body_cnt = 2,
    .text = {texts, 1},
    .until_text = "banned until {time}",
};

static enum throttle_by body_of(const char *body)
{
    return throttle_body(&rules, body, strlen(body));
}

static void test_stops(void **state)
{
    (void)state;
    static const char head[] = "HTTP/1.1 200 OK\r\nX-Stop: 1\r\n\r\n";
    assert_int_equal(throttle_head(&rules, 418, "", 0), THROTTLE_BY_STATUS);
    assert_int_equal(throttle_head(&rules, 200, "", 0), THROTTLE_NOT);
    assert_int_equal(throttle_head(&rules, 200, head, sizeof head - 1), THROTTLE_BY_HEADER);
    assert_int_equal(body_of("{\"retCode\":10006,\"retMsg\":\"Too many visits!\"}"),
                     THROTTLE_BY_BODY);
    assert_int_equal(body_of("{\"retCode\":\"10006\"}"), THROTTLE_BY_BODY);
    assert_int_equal(body_of("{\"error\":{\"code\":\"50011\"}}"), THROTTLE_BY_BODY);
    /* The number elsewhere says nothing. */
    assert_int_equal(body_of("{\"retCode\":0,\"price\":\"10006\"}"), THROTTLE_NOT);
    assert_int_equal(body_of("{\"retCode\":110006}"), THROTTLE_NOT);
    assert_int_equal(body_of("retCode 10006"), THROTTLE_NOT);
    assert_int_equal(body_of("{\"retCode\":10006"), THROTTLE_NOT); /* cut off: no JSON */
    assert_int_equal(body_of(""), THROTTLE_NOT);
    assert_int_equal(
        body_of("{\"Note\": \"Thank you for using Alpha Vantage! Our standard API rate limit is 25 "
                "requests per day.\"}"),
        THROTTLE_BY_TEXT);
    char *far = malloc(REPLY_TEXT_MAX_BYTES + 64);
    assert_non_null(far);
    memset(far, ' ', REPLY_TEXT_MAX_BYTES + 64);
    memcpy(far + REPLY_TEXT_MAX_BYTES - 10, texts[0], strlen(texts[0]));
    assert_int_equal(throttle_body(&rules, far, REPLY_TEXT_MAX_BYTES + 64), THROTTLE_NOT);
    memcpy(far + REPLY_TEXT_MAX_BYTES - strlen(texts[0]), texts[0], strlen(texts[0]));
    assert_int_equal(throttle_body(&rules, far, REPLY_TEXT_MAX_BYTES + 64), THROTTLE_BY_TEXT);
    free(far);
}

static bool until_of(const char *body, uint64_t *until)
{
    return throttle_until(&rules, body, strlen(body), UINT64_C(1659146000000000000), until);
}

static void test_banned_until(void **state)
{
    (void)state;
    uint64_t until = 0;
    assert_true(
        until_of("{\"code\":-1003,\"msg\":\"Way too much request weight used; IP banned until "
                 "1659146400000. Please use WebSocket Streams for live updates to avoid "
                 "bans.\"}",
                 &until));
    assert_in_range(until, UINT64_C(1659146400000000000), UINT64_C(1659146400002000000));
    assert_false(until_of("IP banned until tomorrow", &until));
    assert_false(until_of("IP banned until ", &until));
    assert_false(until_of("IP banned until", &until));
    assert_false(until_of("banned until 1659145000000", &until));        /* over */
    assert_false(until_of("banned until 4102444800000", &until));        /* the year 2100 */
    assert_false(until_of("banned until 99999999999999999999", &until)); /* beyond 64 bits */
    assert_false(until_of("banned until 18446744073709551615", &until));
    assert_false(until_of("banned until -1659146400000", &until));
    assert_false(until_of("1659146400000", &until));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_numbers),      cmocka_unit_test(test_units),
        cmocka_unit_test(test_instants),     cmocka_unit_test(test_headers),
        cmocka_unit_test(test_members),      cmocka_unit_test(test_stops),
        cmocka_unit_test(test_banned_until),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
