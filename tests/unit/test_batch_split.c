/*
 * test_batch_split.c: answers that stand for many, taken apart; names, and the texts of calls.
 *
 * Oracle: written by hand; the answers of Binance, Bybit and Kraken as their documentation has them. At the end random damage: what is found must be what jansson finds in the whole.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "broker/batch_split.h"
#include "broker/batch_text.h"
#include "broker/reply_value.h"
#include "shm/weir_base.h"

static void want(const char *body, const char *list, const char *item, const char *name,
                 const char *element)
{
    struct split s;
    bool ok = split_make(&s, body, strlen(body), list, item);
    const struct split_element *e = ok ? split_find(&s, name, strlen(name)) : NULL;
    if (element == NULL) {
        assert_null(e);
    } else {
        assert_non_null(e);
        assert_int_equal(e->bytes, strlen(element));
        assert_memory_equal(body + e->at, element, e->bytes);
    }
    split_free(&s);
}

static void test_forms(void **state)
{
    (void)state;
    static const char binance[] = "[{\"symbol\":\"LTCBTC\",\"price\":\"4.00000200\"},\n"
                                  " {\"symbol\":\"ETHBTC\", \"price\":\"0.07946600\"} ]\n";
    want(binance, "", "symbol", "LTCBTC", "{\"symbol\":\"LTCBTC\",\"price\":\"4.00000200\"}");
    want(binance, "", "symbol", "ETHBTC", "{\"symbol\":\"ETHBTC\", \"price\":\"0.07946600\"}");
    want(binance, "", "symbol", "ETHBT", NULL);
    static const char bybit[] =
        "{\"retCode\":0,\"result\":{\"category\":\"linear\",\"list\":[{\"symbol\":\"BTCUSDT\","
        "\"lastPrice\":\"1\"},{\"symbol\":\"ETHUSDT\"}]},\"retExtInfo\":{},\"time\":167}";
    want(bybit, "result.list", "symbol", "BTCUSDT", "{\"symbol\":\"BTCUSDT\",\"lastPrice\":\"1\"}");
    want(bybit, "result", "symbol", "BTCUSDT", NULL);
    want(bybit, "result.nothing", "symbol", "BTCUSDT", NULL);
    static const char kraken[] =
        "{\"error\":[],\"result\":{\"XXBTZUSD\":{\"a\":[\"1.0\"]} , \"X\\u0041\" : [ 1 ]}}";
    want(kraken, "result", "", "XXBTZUSD", "{\"a\":[\"1.0\"]}");
    want(kraken, "result", "", "XA", "[ 1 ]");
    static const char bitfinex[] = "[[\"tBTCUSD\",1.5,-2],[\"tETHUSD\",3],[7,1e3]]";
    want(bitfinex, "", "0", "tETHUSD", "[\"tETHUSD\",3]");
    want(bitfinex, "", "0", "7", "[7,1e3]");
    want("[]", "", "s", "A", NULL);
    want(" { } ", "", "", "A", NULL);
}

/* Bytes of the element are those that came: spaces, escapes, digits that no double holds. */
static void test_as_they_stand(void **state)
{
    (void)state;
    want("[ {\"s\" : \"A\",\t\"p\":0.1000000000000000000000001,\"e\":\"\\u0022\\/\"} ]", "", "s",
         "A", "{\"s\" : \"A\",\t\"p\":0.1000000000000000000000001,\"e\":\"\\u0022\\/\"}");
    want("{\"A\":1.50 ,\"B\":-0,\"C\":\"x\",\"D\":true}", "", "", "A", "1.50");
    want("{\"A\":1.50 ,\"B\":-0,\"C\":\"x\",\"D\":true}", "", "", "B", "-0");
    want("{\"A\":1.50 ,\"B\":-0,\"C\":\"x\",\"D\":true}", "", "", "C", "\"x\"");
    want("{\"A\":1.50 ,\"B\":-0,\"C\":\"x\",\"D\":true}", "", "", "D", "true");
    want("[{\"s\":\"q\\\"u\\\\o%te\"}]", "", "s", "q\"u\\o%te", "{\"s\":\"q\\\"u\\\\o%te\"}");
}

static void test_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {"",
                                      " ",
                                      "[",
                                      "[{\"s\":\"A\"}",
                                      "[{\"s\":\"A\"}]]",
                                      "[{\"s\":\"A\"}] x",
                                      "[{\"s\":\"A\"},]",
                                      "[,{\"s\":\"A\"}]",
                                      "[{\"s\":\"A\"} {\"s\":\"B\"}]",
                                      "{\"s\":\"A\"}",
                                      "null",
                                      "\"A\"",
                                      "[{\"s\":\"A\",\"s\":\"B\"}]",
                                      "[{\"s\":\"A\"}\0]",
                                      "[{\"s\":\"A\"},{\"s\":\"B\\u00\"}]",
                                      "[{\"s\":\"A\"},{\"x\":1e999}]",
                                      "[{\"s\":\"A\"},nul]",
                                      "\xef\xbb\xbf[{\"s\":\"A\"}]",
                                      "[{\"s\":\"A\"},{\"s\":\"\xff\"}]"};
    for (size_t i = 0; i < WEIR_ARRAY_CNT(bad); i++) {
        want(bad[i], "", "s", "A", NULL);
    }
    /* jansson steps over a NUL behind a number, and says that the value ends a byte earlier (found by the fuzzer) */
    static const char nul[] = "[{\"s\":\"A\",\"p\":2\0},{\"s\":\"B\"}]";
    struct split s;
    assert_false(split_make(&s, nul, sizeof nul - 1, "", "s"));
    split_free(&s);
    /* twice: which one? */
    want("[{\"s\":\"A\"},{\"s\":\"A\",\"p\":1},{\"s\":\"B\"}]", "", "s", "A", NULL);
    want("[{\"s\":\"A\"},{\"s\":\"A\"},{\"s\":\"A\"},{\"s\":\"B\"}]", "", "s", "A", NULL);
    want("[{\"s\":\"A\"},{\"s\":\"A\"},{\"s\":\"B\"}]", "", "s", "B", "{\"s\":\"B\"}");
    want("{\"A\":1,\"A\":2,\"B\":3}", "", "", "A", NULL);
    want("{\"l\":[{\"s\":\"A\"}],\"l\":[]}", "l", "s", "A", NULL);
    /* without a name, or with one that is none: passed over */
    want("[{\"s\":null},{\"s\":[]},{\"p\":1},7,{\"s\":\"\"},{\"s\":\"A\"}]", "", "s", "A",
         "{\"s\":\"A\"}");
    char deep[8000];
    memset(deep, '[', sizeof deep - 1);
    deep[sizeof deep - 1] = '\0';
    want(deep, "", "s", "A", NULL);
}

static void test_bounds(void **state)
{
    (void)state;
    size_t room = (size_t)SPLIT_BODY_MAX_BYTES + 64;
    char *body = malloc(room);
    assert_non_null(body);
    memset(body, ' ', room);
    memcpy(body, "[{\"s\":\"A\"}]", 11);
    struct split s;
    assert_true(split_make(&s, body, SPLIT_BODY_MAX_BYTES, "", "s"));
    split_free(&s);
    assert_false(split_make(&s, body, SPLIT_BODY_MAX_BYTES + 1, "", "s"));
    split_free(&s);
    for (uint32_t more = 0; more < 2; more++) {
        size_t n = 0;
        body[n++] = '{';
        for (uint32_t i = 0; i < SPLIT_ELEMENTS_MAX + more; i++) {
            n += (size_t)sprintf(body + n, "%s\"S%u\":%u", i > 0 ? "," : "", i, i);
        }
        body[n++] = '}';
        assert_int_equal(split_make(&s, body, n, "", ""), more == 0);
        if (more == 0) {
            const struct split_element *e = split_find(&s, "S777", 4);
            assert_non_null(e);
            assert_memory_equal(body + e->at, "777", 3);
        }
        split_free(&s);
    }
    char name[160];
    for (uint32_t bytes = SPLIT_NAME_MAX_BYTES; bytes < SPLIT_NAME_MAX_BYTES + 2; bytes++) {
        memset(name, 'x', sizeof name);
        size_t n = (size_t)sprintf(body, "{\"%.*s\":1}", (int)bytes, name);
        assert_true(split_make(&s, body, n, "", ""));
        assert_int_equal(split_find(&s, name, bytes) != NULL, bytes == SPLIT_NAME_MAX_BYTES);
        split_free(&s);
    }
    free(body);
}

/* Damaged answers: whatever is found stands there as jansson reads the whole, which must be an array. */
static void test_damage(void **state)
{
    (void)state;
    static const char good[] = "[{\"symbol\":\"AB\",\"p\":\"1\"},{\"symbol\":\"C\\\"D\",\"p\":[1,2."
                               "5e3,{}]},{\"symbol\":5}]";
    unsigned seed = (unsigned)time(NULL);
    print_message("seed %u\n", seed);
    srandom(seed);
    unsigned found = 0;
    for (unsigned n = 0; n < 100000; n++) {
        char body[sizeof good];
        memcpy(body, good, sizeof good);
        size_t bytes = sizeof good - 1;
        for (long k = random() % 4; k > 0; k--) {
            static const char some[] = "[]{}\",:0\\ a";
            body[(size_t)random() % bytes] = some[(size_t)random() % (sizeof some - 1)];
        }
        struct split s;
        json_error_t error;
        bool ok = split_make(&s, body, bytes, "", "symbol");
        json_t *whole = json_loadb(body, bytes, JSON_REJECT_DUPLICATES, &error);
        assert_int_equal(ok, json_is_array(whole));
        size_t at = 0;
        for (uint32_t i = 0; ok && i < s.cnt; i++, at++) {
            char text[40];
            struct reply_text name;
            json_t *e =
                json_loadb(body + s.element[i].at, s.element[i].bytes, JSON_DECODE_ANY, &error);
            while (!json_equal(json_array_get(whole, at), e)) {
                assert_true(at++ < json_array_size(whole));
            }
            assert_int_equal(reply_member(e, "symbol", text, &name), REPLY_VALUE);
            assert_int_equal(name.bytes, s.element[i].name_bytes);
            assert_memory_equal(name.at, s.element[i].name, name.bytes);
            json_decref(e);
            found++;
        }
        json_decref(whole);
        split_free(&s);
    }
    assert_true(found > 1000);
}

/* ---------------------------------------------------------------------------------------------- texts */

static const char *const with_text[] = {"category", "type"};

static struct weir_config_batch config_make(const char *param, enum weir_config_batch_names names)
{
    return (struct weir_config_batch){
        .param = param,
        .names_param = "symbols",
        .names = names,
        .with = {.text = (const char **)(uintptr_t)with_text, .cnt = 2}};
}

static void name_is(const struct weir_config_batch *config, const char *path, const char *query,
                    const char *name, const char *with)
{
    struct batch_want w;
    bool ok = batch_want_read(config, path, strlen(path), query, strlen(query), &w);
    assert_int_equal(ok, name != NULL);
    if (ok && name != NULL) {
        assert_int_equal(w.name.bytes, strlen(name));
        assert_memory_equal(w.name.text, name, w.name.bytes);
        assert_int_equal(w.with_bytes, strlen(with));
        assert_memory_equal(w.with, with, w.with_bytes);
    }
}

static void test_names(void **state)
{
    (void)state;
    const struct weir_config_batch by_query = config_make("symbol", WEIR_CONFIG_BATCH_COMMA);
    const struct weir_config_batch by_path = config_make("", WEIR_CONFIG_BATCH_ALL);
    name_is(&by_query, "", "symbol=BTCUSDT", "BTCUSDT", "");
    name_is(&by_query, "", "type=1&symbol=A&category=x", "A", "category=x&type=1");
    name_is(&by_query, "", "symbol=%41%22%5c%25b", "A\"\\%b", "");
    name_is(&by_query, "", "symbol=%E5%B8%81", "\xe5\xb8\x81", "");
    static const char *const none[] = {"",
                                       "symbol",
                                       "symbol=",
                                       "symbol=A&symbol=A",
                                       "symbol=A&limit=5",
                                       "symbol=A&type=1&type=1",
                                       "symbol=A&&",
                                       "symbol=A+B",
                                       "symbol=A%2CB",
                                       "symbol=%",
                                       "symbol=%4",
                                       "symbol=%4x",
                                       "symbol=%00",
                                       "symbol=%0a",
                                       "symbol=%7f",
                                       "symbol=%ff",
                                       "symbol=%C0%AF",
                                       "symbols=A",
                                       "Symbol=A"};
    for (size_t i = 0; i < WEIR_ARRAY_CNT(none); i++) {
        name_is(&by_query, "", none[i], NULL, "");
    }
    name_is(&by_query, "x", "symbol=A", NULL, "");
    name_is(&by_path, "A%2DB", "category=y", "A-B", "category=y");
    name_is(&by_path, "a,b", "", "a,b", "");
    name_is(&by_path, "", "", NULL, "");
    name_is(&by_path, "a/b", "", NULL, "");
    name_is(&by_path, "a", "symbol=b", NULL, "");
    char longest[100] = "symbol=";
    memset(longest + 7, 'x', 63);
    name_is(&by_query, "", longest, longest + 7, "");
    memset(longest + 7, 'x', 64);
    name_is(&by_query, "", longest, NULL, "");
}

static void query_is(const struct weir_config_batch *config, const char *with, const char *expected)
{
    static const struct batch_name name[] = {{3, "A\"\\"}, {1, "B"}, {1, "B"}, {1, "%"}};
    struct batch_want w = {.with_bytes = (uint8_t)strlen(with)};
    memcpy(w.with, with, w.with_bytes);
    size_t bytes;
    char *query = batch_query_make(config, &w, name, WEIR_ARRAY_CNT(name), &bytes);
    assert_non_null(query);
    assert_int_equal(bytes, strlen(expected));
    assert_memory_equal(query, expected, bytes);
    free(query);
}

static void test_queries(void **state)
{
    (void)state;
    const struct weir_config_batch all = config_make("symbol", WEIR_CONFIG_BATCH_ALL);
    const struct weir_config_batch json = config_make("symbol", WEIR_CONFIG_BATCH_JSON);
    const struct weir_config_batch comma = config_make("symbol", WEIR_CONFIG_BATCH_COMMA);
    query_is(&all, "", "");
    query_is(&all, "category=linear", "category=linear");
    query_is(&json, "",
             "symbols=%5B%22A%5C%22%5C%5C%22%2C%22B%22%2C%22%25%22%5D"); /* ["A\"\\","B","%"] */
    query_is(&comma, "", "symbols=A%22%5C,B,%25");
    query_is(&comma, "type=1", "type=1&symbols=A%22%5C,B,%25");
}

static void test_heads(void **state)
{
    (void)state;
    static const char head[] = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\nDATE: x\r\nETag: y\r\n"
                               "Content-Type: application/json\r\nSet-Cookie: z\r\n\r\n";
    static const char kept[] =
        "HTTP/1.1 200 OK\r\nDATE: x\r\nContent-Type: application/json\r\n\r\n";
    char to[128];
    assert_int_equal(batch_head_make(head, sizeof head - 1, to, sizeof to), sizeof kept - 1);
    assert_memory_equal(to, kept, sizeof kept - 1);
    assert_int_equal(batch_head_make(head, sizeof head - 1, to, sizeof kept - 2), 0);
    assert_int_equal(batch_head_make("", 0, to, sizeof to), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_forms),   cmocka_unit_test(test_as_they_stand),
        cmocka_unit_test(test_refused), cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_damage),  cmocka_unit_test(test_names),
        cmocka_unit_test(test_queries), cmocka_unit_test(test_heads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
