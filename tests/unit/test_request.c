/*
 * test_request.c: what a request may contain, as tables of good and bad. The oracle is RFC 3986, RFC 9110, and weir_request.h.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "weir_request.h"

struct text {
    const char *at;
    size_t bytes;
};
#define TEXT(s)          \
    {                    \
        s, sizeof(s) - 1 \
    }

static void test_paths(void **state)
{
    (void)state;
    static const struct text good[] = {TEXT(""),          TEXT("a"),
                                       TEXT("a/"),        TEXT("a/b/c"),
                                       TEXT("..."),       TEXT("a..b"),
                                       TEXT(".a"),        TEXT("BTC-USDT"),
                                       TEXT("a:b@c"),     TEXT("a;v=1,2"),
                                       TEXT("%20"),       TEXT("a%2Bb"),
                                       TEXT("%E2%82%AC"), TEXT("v3/order(1)*'!$&+=~_")};
    static const struct text bad[] = {TEXT("/"),
                                      TEXT("/a"),
                                      TEXT("//evil.example/x"),
                                      TEXT("a//b"),
                                      TEXT("a/b//"),
                                      TEXT("."),
                                      TEXT(".."),
                                      TEXT("../a"),
                                      TEXT("a/../b"),
                                      TEXT("a/.."),
                                      TEXT("a/./b"),
                                      TEXT("%2e"),
                                      TEXT("%2e%2e"),
                                      TEXT("%2E%2e/a"),
                                      TEXT(".%2e"),
                                      TEXT("a/%2E."),
                                      TEXT("..%2fadmin"),
                                      TEXT("..%2Fadmin"),
                                      TEXT("..%5cadmin"),
                                      TEXT("..%5Cadmin"),
                                      TEXT("a%2fb"),
                                      TEXT("a%00"),
                                      TEXT("a%0d%0aHost:x"),
                                      TEXT("a%1f"),
                                      TEXT("a%7F"),
                                      TEXT("%"),
                                      TEXT("%2"),
                                      TEXT("a%zz"),
                                      TEXT("a%-1"),
                                      TEXT("a b"),
                                      TEXT("a\rb"),
                                      TEXT("a\nb"),
                                      TEXT("a\tb"),
                                      TEXT("a\0b"),
                                      TEXT("\0"),
                                      TEXT("a?b"),
                                      TEXT("a#b"),
                                      TEXT("a\\b"),
                                      TEXT("http://evil/x"),
                                      TEXT("a[0]"),
                                      TEXT("a\x80"),
                                      TEXT("\xff"),
                                      TEXT("a\x7f"),
                                      TEXT("a\"b"),
                                      TEXT("a<b>"),
                                      TEXT("a|b"),
                                      TEXT("a^b"),
                                      TEXT("a`b"),
                                      TEXT("{a}")};
    for (size_t i = 0; i < WEIR_ARRAY_CNT(good); i++) {
        assert_int_equal(weir_request_path_check(good[i].at, good[i].bytes), WEIR_OK);
    }
    for (size_t i = 0; i < WEIR_ARRAY_CNT(bad); i++) {
        if (weir_request_path_check(bad[i].at, bad[i].bytes) != WEIR_E_PATH_INVALID) {
            print_error("passes as a path: \"%s\"\n", bad[i].at);
            fail();
        }
    }
}

static void test_queries(void **state)
{
    (void)state;
    static const struct text good[] = {
        TEXT(""),     TEXT("a=1&b=2"), TEXT("?/"), TEXT("a=%5B1%5D"), TEXT("url=https://x/..//y"),
        TEXT("a=%0a")};
    static const struct text bad[] = {TEXT("a b"),   TEXT("a#b"),     TEXT("a=\r\nHost: x"),
                                      TEXT("a=[1]"), TEXT("a=\"1\""), TEXT("a=%"),
                                      TEXT("a=%4"),  TEXT("a=\0"),    TEXT("a=\xc3\xa9")};
    for (size_t i = 0; i < WEIR_ARRAY_CNT(good); i++) {
        assert_int_equal(weir_request_query_check(good[i].at, good[i].bytes), WEIR_OK);
    }
    for (size_t i = 0; i < WEIR_ARRAY_CNT(bad); i++) {
        assert_int_equal(weir_request_query_check(bad[i].at, bad[i].bytes), WEIR_E_PATH_INVALID);
    }
}

static void test_headers(void **state)
{
    (void)state;
    static const struct {
        struct text name, value;
        int answer;
    } cases[] = {
        {TEXT("X-MBX-APIKEY"), TEXT("abc"), WEIR_OK},
        {TEXT("accept"), TEXT(""), WEIR_OK},
        {TEXT("x"), TEXT("a\tb"), WEIR_OK},
        {TEXT("x"), TEXT("\xc3\xa9"), WEIR_OK},
        {TEXT("hos"), TEXT("x"), WEIR_OK},
        {TEXT("prox"), TEXT("x"), WEIR_OK},
        {TEXT(""), TEXT("x"), WEIR_E_HEADER_INVALID},
        {TEXT("a:b"), TEXT("x"), WEIR_E_HEADER_INVALID},
        {TEXT("a b"), TEXT("x"), WEIR_E_HEADER_INVALID},
        {TEXT("a\r\n"), TEXT("x"), WEIR_E_HEADER_INVALID},
        {TEXT("a\0"), TEXT("x"), WEIR_E_HEADER_INVALID},
        {TEXT("\x80"), TEXT("x"), WEIR_E_HEADER_INVALID},
        {TEXT("a"), TEXT("x\r\nHost: evil"), WEIR_E_HEADER_INVALID},
        {TEXT("a"), TEXT("x\n"), WEIR_E_HEADER_INVALID},
        {TEXT("a"), TEXT("x\r"), WEIR_E_HEADER_INVALID},
        {TEXT("a"), TEXT("x\0y"), WEIR_E_HEADER_INVALID},
        {TEXT("a"), TEXT("\x7f"), WEIR_E_HEADER_INVALID},
        {TEXT("Host"), TEXT("evil"), WEIR_E_HEADER_FORBIDDEN},
        {TEXT("hOST"), TEXT("evil"), WEIR_E_HEADER_FORBIDDEN},
        {TEXT("Content-Length"), TEXT("0"), WEIR_E_HEADER_FORBIDDEN},
        {TEXT("Transfer-Encoding"), TEXT("chunked"), WEIR_E_HEADER_FORBIDDEN},
        {TEXT("Connection"), TEXT("close"), WEIR_E_HEADER_FORBIDDEN},
        {TEXT("TE"), TEXT("trailers"), WEIR_E_HEADER_FORBIDDEN},
        {TEXT("Upgrade"), TEXT("h2c"), WEIR_E_HEADER_FORBIDDEN},
        {TEXT("Expect"), TEXT("100-continue"), WEIR_E_HEADER_FORBIDDEN},
        {TEXT("Proxy-Authorization"), TEXT("x"), WEIR_E_HEADER_FORBIDDEN},
        {TEXT("proxy-"), TEXT("x"), WEIR_E_HEADER_FORBIDDEN},
        {TEXT("Forwarded"), TEXT("for=1"), WEIR_E_HEADER_FORBIDDEN},
    };
    for (size_t i = 0; i < WEIR_ARRAY_CNT(cases); i++) {
        int rc = weir_request_header_check(cases[i].name.at, cases[i].name.bytes, cases[i].value.at,
                                           cases[i].value.bytes);
        if (rc != cases[i].answer) {
            print_error("header \"%s\": \"%s\" gives %d\n", cases[i].name.at, cases[i].value.at,
                        rc);
            fail();
        }
    }
    char long_name[257];
    memset(long_name, 'a', sizeof long_name);
    assert_int_equal(weir_request_header_check(long_name, 256, "", 0), WEIR_OK);
    assert_int_equal(weir_request_header_check(long_name, 257, "", 0), WEIR_E_HEADER_INVALID);
}

static void test_payloads(void **state)
{
    (void)state;
    char payload[256] = "pathq=1";
    size_t at = 7;
    at += weir_request_header_put(payload + at, sizeof payload - at, "A", 1, "one", 3);
    at += weir_request_header_put(payload + at, sizeof payload - at, "B", 1, "", 0);
    memcpy(payload + at, "body", 4);
    struct weir_shm_request r = {.path_bytes = 4,
                                 .query_bytes = 3,
                                 .headers_bytes = (uint32_t)(at - 7),
                                 .header_cnt = 2,
                                 .body_bytes = 4};
    struct weir_request_parts parts;
    assert_int_equal(weir_request_parse(&r, payload, at + 4, &parts), WEIR_OK);
    assert_memory_equal(parts.query, "q=1", 3);
    assert_int_equal(parts.header_cnt, 2);
    assert_memory_equal(parts.header[0].value, "one", 3);
    assert_int_equal(parts.header[1].value_bytes, 0);
    assert_memory_equal(parts.body, "body", 4);
    assert_int_equal(weir_request_parse(&r, payload, at + 3, &parts), WEIR_E_BODY_TOO_LARGE);
    r.header_cnt = 1; /* bytes left over */
    assert_int_equal(weir_request_parse(&r, payload, at + 4, &parts), WEIR_E_HEADER_INVALID);
    r.header_cnt = 3; /* one that is not there */
    assert_int_equal(weir_request_parse(&r, payload, at + 4, &parts), WEIR_E_HEADER_INVALID);
    r.header_cnt = WEIR_REQUEST_HEADERS_MAX + 1;
    assert_int_equal(weir_request_parse(&r, payload, at + 4, &parts), WEIR_E_HEADER_INVALID);
    r.header_cnt = 2;
    payload[7] = 100; /* a name longer than what is left */
    assert_int_equal(weir_request_parse(&r, payload, at + 4, &parts), WEIR_E_HEADER_INVALID);
    r = (struct weir_shm_request){.path_bytes = UINT32_MAX,
                                  .query_bytes = UINT32_MAX,
                                  .headers_bytes = UINT32_MAX,
                                  .body_bytes = 4}; /* a sum that would wrap in 32 bits */
    assert_int_equal(weir_request_parse(&r, payload, sizeof payload, &parts),
                     WEIR_E_BODY_TOO_LARGE);
    assert_int_equal(weir_request_header_put(payload, 5, "A", 1, "b", 1), 0);
    assert_int_equal(weir_request_header_put(payload, 6, "A", 1, "b", 1), 6);
    assert_int_equal(weir_request_header_put(payload, sizeof payload, "A", 1, "b", 65536), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_paths), cmocka_unit_test(test_queries),
                                       cmocka_unit_test(test_headers),
                                       cmocka_unit_test(test_payloads)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
