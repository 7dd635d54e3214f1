/*
 * test_doubt.c: who an order is, what is asked after it, what the answer says (broker/doubt_rule.h). Oracles: the exchanges' own forms of calls and answers,
 * written down here by hand; for bodies of random bytes: an id is printable ASCII that stands in the body, or there is none.
 */
#include "broker/doubt_rule.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

static struct weir_config_doubt config(enum weir_config_doubt_in in, const char *id,
                                       const char *query)
{
    static uint64_t not_found[] = {400, 404};
    return (struct weir_config_doubt){
        .id = id,
        .in = in,
        .route = "q",
        .path = "",
        .query = query,
        .body = "",
        .found = "clientOrderId",
        .absent = {.status = {not_found, 2}, .field = "code", .equals = "-2013", .empty = ""},
    };
}

/* The question after a call with this query and body; NULL: there is none. */
static const char *asked(const struct weir_config_doubt *c, const char *query, const char *body)
{
    static char text[WEIR_DOUBT_TEXT_BYTES + 1];
    struct doubt_question q;
    const struct weir_request_parts parts = {.path = "",
                                             .query = query,
                                             .query_bytes = (uint32_t)strlen(query),
                                             .body = body,
                                             .body_bytes = (uint32_t)strlen(body)};
    if (!doubt_compose(c, &parts, &q)) {
        return NULL;
    }
    (void)snprintf(text, sizeof text, "%.*s", (int)(q.path_bytes + q.query_bytes + q.body_bytes),
                   q.text);
    return text;
}

#define NONE(c, query, body) assert_null(asked(c, query, body))
#define IS(c, query, body, want)                  \
    do {                                          \
        const char *got_ = asked(c, query, body); \
        assert_non_null(got_);                    \
        assert_string_equal(got_, want);          \
    } while (0)

static void test_parameters(void **state)
{
    (void)state;
    static const char binance[] = "symbol={symbol}&origClientOrderId={id}";
    struct weir_config_doubt form = config(WEIR_CONFIG_DOUBT_FORM, "newClientOrderId", binance);
    IS(&form, "", "symbol=BTCUSDT&side=BUY&newClientOrderId=o-1",
       "symbol=BTCUSDT&origClientOrderId=o-1");
    IS(&form, "", "newClientOrderId=o-1&symbol=BTCUSDT", "symbol=BTCUSDT&origClientOrderId=o-1");
    /* Encoded by one, and encoded again for the question: one and the same id. */
    IS(&form, "", "newClientOrderId=a%3Ab%2f&symbol=B", "symbol=B&origClientOrderId=a%3Ab%2F");
    IS(&form, "", "newClientOrderId=a:b/&symbol=B", "symbol=B&origClientOrderId=a%3Ab%2F");
    IS(&form, "", "newClientOrderId=a%26orderId%3D1&symbol=B",
       "symbol=B&origClientOrderId=a%26orderId%3D1");
    /* The other place is not looked at. */
    NONE(&form, "newClientOrderId=o-1&symbol=B", "");
    IS(&form, "newClientOrderId=x", "newClientOrderId=o-1&symbol=B",
       "symbol=B&origClientOrderId=o-1");
    /* Not once, not whole, not plain. */
    NONE(&form, "", "");
    NONE(&form, "", "symbol=B");
    NONE(&form, "", "newClientOrderId=o-1"); /* the question needs a symbol */
    NONE(&form, "", "newClientOrderId=&symbol=B");
    NONE(&form, "", "newClientOrderId&symbol=B");
    NONE(&form, "", "newClientOrderId=a&newClientOrderId=a&symbol=B");
    NONE(&form, "", "newClientOrderId=a&newClient%4frderId=b&symbol=B");
    NONE(&form, "", "newClientOrderId=a&newClientOrderId&symbol=B");
    NONE(&form, "", "newClientOrderId=a+b&symbol=B");
    NONE(&form, "", "newClientOrderId=a%20b&symbol=B");
    NONE(&form, "", "newClientOrderId=a%00b&symbol=B");
    NONE(&form, "", "newClientOrderId=a%0ab&symbol=B");
    NONE(&form, "", "newClientOrderId=a%f0b&symbol=B");
    NONE(&form, "", "newClientOrderId=a%2&symbol=B");
    NONE(&form, "", "newClientOrderId=a%zz&symbol=B");
    NONE(&form, "", "newClientOrderId=a%&symbol=B");
    NONE(&form, "", "xnewClientOrderId=a&symbol=B");
    NONE(&form, "", "newClientOrderIdx=a&symbol=B");
    struct weir_config_doubt both =
        config(WEIR_CONFIG_DOUBT_PARAMETERS, "newClientOrderId", "c={id}");
    IS(&both, "newClientOrderId=q", "", "c=q");
    IS(&both, "", "newClientOrderId=f", "c=f");
    NONE(&both, "newClientOrderId=q", "newClientOrderId=q");
    struct weir_config_doubt query = config(WEIR_CONFIG_DOUBT_QUERY, "client_oid", "c={id}");
    IS(&query, "client_oid=6d5-9", "client_oid=x", "c=6d5-9");
}

static void test_length(void **state)
{
    (void)state;
    char body[256];
    char want[256];
    struct weir_config_doubt form = config(WEIR_CONFIG_DOUBT_FORM, "id", "c={id}");
    for (unsigned n = 1; n <= 70; n++) {
        (void)snprintf(
            body, sizeof body, "id=%.*s", (int)n,
            "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa");
        (void)snprintf(want, sizeof want, "c=%s", body + 3);
        if (n <= WEIR_DOUBT_ID_BYTES) {
            IS(&form, "", body, want);
        } else {
            NONE(&form, "", body);
        }
    }
    /* What fits decoded, but not encoded. */
    struct weir_config_doubt twice = config(WEIR_CONFIG_DOUBT_FORM, "id", "c={id}&d={id}");
    (void)memset(body, 0, sizeof body);
    (void)strcpy(body, "id=");
    (void)memset(body + 3, '/', 31);
    assert_non_null(asked(&twice, "", body));
    (void)memset(body + 3, '/', 32);
    NONE(&twice, "", body);
}

static void test_json(void **state)
{
    (void)state;
    struct weir_config_doubt okx =
        config(WEIR_CONFIG_DOUBT_JSON, "clOrdId", "instId={instId}&clOrdId={id}");
    IS(&okx, "", "{\"instId\": \"BTC-USDT\", \"clOrdId\": \"b15\", \"sz\": \"2\"}",
       "instId=BTC-USDT&clOrdId=b15");
    IS(&okx, "", "{\"instId\": \"A\", \"clOrdId\": 15}", "instId=A&clOrdId=15");
    /* A value cannot become a second parameter, nor end the query. */
    IS(&okx, "", "{\"instId\": \"A&x=1#\", \"clOrdId\": \"a\\u0021\"}",
       "instId=A%26x%3D1%23&clOrdId=a%21");
    static const char *const none[] = {
        "",
        "{}",
        "[]",
        "null",
        "{\"instId\": \"A\"}",
        "{\"clOrdId\": \"a\"}",
        "{\"instId\": \"A\", \"clOrdId\": \"\"}",
        "{\"instId\": \"A\", \"clOrdId\": null}",
        "{\"instId\": \"A\", \"clOrdId\": true}",
        "{\"instId\": \"A\", \"clOrdId\": 1.5}",
        "{\"instId\": \"A\", \"clOrdId\": [\"a\"]}",
        "{\"instId\": \"A\", \"clOrdId\": {\"a\": \"a\"}}",
        "{\"instId\": \"A\", \"clOrdId\": \"a b\"}",
        "{\"instId\": \"A\", \"clOrdId\": \"a\\u0000b\"}",
        "{\"instId\": \"A\", \"clOrdId\": \"\\u00e4\"}",
        "{\"instId\": \"A\", \"clOrdId\": \"a\", \"clOrdId\": \"b\"}",
        "{\"instId\": \"A\", \"clOrdId\": \"a\"",
        "{\"instId\": \"A\", \"clOrdId\": \"a\"} x",
        "clOrdId=a&instId=A",
    };
    for (size_t i = 0; i < WEIR_ARRAY_CNT(none); i++) {
        NONE(&okx, "", none[i]);
    }
    struct weir_config_doubt deep = config(WEIR_CONFIG_DOUBT_JSON, "order.id", "c={id}");
    IS(&deep, "", "{\"order\": {\"id\": \"x\"}}", "c=x");
    NONE(&deep, "", "{\"order.id\": \"x\"}");
}

static void test_header(void **state)
{
    (void)state;
    struct weir_config_doubt c = config(WEIR_CONFIG_DOUBT_HEADER, "x-client-id", "");
    c.path = "client:{id}";
    struct doubt_question q;
    struct weir_request_parts parts = {
        .path = "",
        .query = "",
        .body = "",
        .header_cnt = 2,
        .header = {{"Accept", "*/*", 6, 3}, {"X-Client-Id", "a-1", 11, 3}}};
    assert_true(doubt_compose(&c, &parts, &q));
    assert_int_equal(q.path_bytes, 10);
    assert_int_equal(q.query_bytes, 0);
    assert_memory_equal(q.text, "client:a-1", 10);
    assert_string_equal(q.id, "a-1");
    parts.header[0] = (struct weir_request_header){"x-client-id", "a-2", 11, 3};
    assert_false(doubt_compose(&c, &parts, &q));
    /* Nothing leaves its segment: what a server would decode to one is refused. */
    static const char *const bad[] = {"..", "a/..", "a/b", "a\\b", "a b", "a\tb", ""};
    parts.header_cnt = 1;
    c.path = "{id}";
    for (size_t i = 0; i < WEIR_ARRAY_CNT(bad); i++) {
        parts.header[0].value = bad[i];
        parts.header[0].value_bytes = (uint32_t)strlen(bad[i]);
        assert_false(doubt_compose(&c, &parts, &q));
    }
}

static enum doubt_verdict said(const struct weir_config_doubt *c, uint32_t status, const char *body)
{
    return doubt_read(c, "o-1", status, body, strlen(body));
}

static void test_answers(void **state)
{
    (void)state;
    struct weir_config_doubt c = config(WEIR_CONFIG_DOUBT_FORM, "newClientOrderId", "c={id}");
    assert_int_equal(said(&c, 200, "{\"clientOrderId\": \"o-1\", \"status\": \"NEW\"}"),
                     DOUBT_FOUND);
    assert_int_equal(said(&c, 200, "{\"clientOrderId\": \"o-11\"}"), DOUBT_NOTHING);
    assert_int_equal(said(&c, 200, "{\"clientOrderId\": null}"), DOUBT_NOTHING);
    assert_int_equal(said(&c, 404, "{\"clientOrderId\": \"o-1\"}"), DOUBT_NOTHING);
    assert_int_equal(said(&c, 400, "{\"code\": -2013, \"msg\": \"Order does not exist.\"}"),
                     DOUBT_ABSENT);
    assert_int_equal(said(&c, 404, "{\"code\": \"-2013\"}"), DOUBT_ABSENT);
    assert_int_equal(said(&c, 400, "{\"code\": -1021}"), DOUBT_NOTHING);
    assert_int_equal(said(&c, 200, "{\"code\": -2013}"), DOUBT_NOTHING);
    assert_int_equal(said(&c, 503, "{\"code\": -2013}"), DOUBT_NOTHING);
    static const char *const nothing[] = {"", "x", "<html>404</html>", "{\"code\": -2013", "[]"};
    for (size_t i = 0; i < WEIR_ARRAY_CNT(nothing); i++) {
        assert_int_equal(said(&c, 404, nothing[i]), DOUBT_NOTHING);
        assert_int_equal(said(&c, 200, nothing[i]), DOUBT_NOTHING);
    }
    /* Lists and maps with names that nobody knows; a list that is empty. */
    static uint64_t ok[] = {200};
    struct weir_config_doubt bybit = c;
    bybit.found = "result.list.*.orderLinkId";
    bybit.absent = (struct weir_config_doubt_absent){
        .status = {ok, 1}, .field = "retCode", .equals = "0", .empty = "result.list"};
    assert_int_equal(said(&bybit, 200,
                          "{\"retCode\": 0, \"result\": {\"list\": [{\"orderLinkId\": \"x\"}, "
                          "{\"orderLinkId\": \"o-1\"}]}}"),
                     DOUBT_FOUND);
    assert_int_equal(said(&bybit, 200, "{\"retCode\": 0, \"result\": {\"list\": []}}"),
                     DOUBT_ABSENT);
    assert_int_equal(said(&bybit, 200, "{\"retCode\": 10006, \"result\": {\"list\": []}}"),
                     DOUBT_NOTHING);
    assert_int_equal(said(&bybit, 200, "{\"retCode\": 0, \"result\": {}}"), DOUBT_NOTHING);
    assert_int_equal(
        said(&bybit, 200, "{\"retCode\": 0, \"result\": {\"list\": [{\"orderLinkId\": \"x\"}]}}"),
        DOUBT_NOTHING);
    struct weir_config_doubt kraken = c;
    kraken.found = "result.open.*.cl_ord_id";
    kraken.absent.status.cnt = 0;
    assert_int_equal(
        said(&kraken, 200, "{\"result\": {\"open\": {\"OQ-1\": {\"cl_ord_id\": \"o-1\"}}}}"),
        DOUBT_FOUND);
    assert_int_equal(said(&kraken, 200, "{\"result\": {\"open\": {}}}"), DOUBT_NOTHING);
}

static void test_unsure(void **state)
{
    (void)state;
    static uint64_t status[] = {500, 503};
    struct weir_config_doubt c = config(WEIR_CONFIG_DOUBT_FORM, "id", "c={id}");
    assert_false(doubt_is_unsure(&c, 503));
    c.unsure = (struct weir_config_numbers){status, 2};
    assert_true(doubt_is_unsure(&c, 503));
    assert_false(doubt_is_unsure(&c, 502));
    assert_false(doubt_is_unsure(&c, 200));
}

/* Bytes of any kind: no fault, and what is called an id stands in printable letters and is asked for once. */
static void test_any_bytes(void **state)
{
    (void)state;
    unsigned seed = (unsigned)time(NULL);
    static const char letters[] = "id==&&%%+2{}\"':,[]ab \\/\x01\xc3\xa4";
    (void)printf("seed %u\n", seed);
    for (unsigned n = 0; n < 200000; n++) {
        char body[64];
        struct doubt_question q;
        unsigned bytes = (unsigned)rand_r(&seed) % sizeof body;
        for (unsigned i = 0; i < bytes; i++) {
            body[i] = letters[(unsigned)rand_r(&seed) % (sizeof letters - 1)];
        }
        struct weir_config_doubt c = config((enum weir_config_doubt_in)(1 + n % 4), "id", "c={id}");
        const struct weir_request_parts parts = {
            .path = "", .query = body, .query_bytes = bytes, .body = body, .body_bytes = bytes};
        if (!doubt_compose(&c, &parts, &q)) {
            continue;
        }
        assert_in_range(strlen(q.id), 1, WEIR_DOUBT_ID_BYTES);
        for (const char *at = q.id; *at != '\0'; at++) {
            assert_true(*at > ' ' && *at <= '~');
        }
        assert_int_equal(weir_request_query_check(q.text, q.query_bytes), 0);
        assert_null(memchr(q.text, '&', q.query_bytes));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parameters), cmocka_unit_test(test_length),
        cmocka_unit_test(test_json),       cmocka_unit_test(test_header),
        cmocka_unit_test(test_answers),    cmocka_unit_test(test_unsure),
        cmocka_unit_test(test_any_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
