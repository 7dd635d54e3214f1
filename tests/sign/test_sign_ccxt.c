/*
 * test_sign_ccxt.c: byte for byte what ccxt sends for the same call at the same time.
 *
 * Oracle: ccxt_golden.json, written by ccxt.mjs (ccxt's own sign(), offline); test `sign_ccxt_live` writes it again where node and ccxt are there.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>
#include <jansson.h>

#include "sign_helper.h"

static const char *const scheme_name[SIGN_SCHEME_CNT] = {
    [SIGN_HMAC_SHA256_QUERY] = "hmac_sha256_query",
    [SIGN_ED25519_QUERY] = "ed25519_query",
    [SIGN_RSA_QUERY] = "rsa_query",
    [SIGN_BYBIT] = "bybit",
    [SIGN_BYBIT_RSA] = "bybit_rsa",
    [SIGN_OKX] = "okx",
    [SIGN_BITGET] = "bitget",
    [SIGN_COINBASE_EXCHANGE] = "coinbase_exchange",
    [SIGN_COINBASE_ED25519] = "coinbase_ed25519",
    [SIGN_HTX] = "htx",
    [SIGN_KRAKEN] = "kraken",
    [SIGN_KRAKEN_FUTURES] = "kraken_futures",
};

static const char *text_of(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));
    assert_non_null(text);
    return text;
}

static struct sign_slice slice_of(const json_t *object, const char *name)
{
    return slice(text_of(object, name));
}

static void random_read(const char *hex, unsigned char *out)
{
    for (size_t i = 0; i < SIGN_RANDOM_BYTES; i++) {
        unsigned byte = 0;
        assert_int_equal(sscanf(hex + 2 * i, "%2x", &byte), 1);
        out[i] = (unsigned char)byte;
    }
}

static void texts_equal(const char *name, const char *what, struct sign_slice got, const char *want)
{
    if (got.bytes != strlen(want) || memcmp(got.at, want, got.bytes) != 0) {
        fail_msg("%s: %s\n  got:    %.*s\n  wanted: %s", name, what, (int)got.bytes, got.at, want);
    }
}

static void check(const json_t *call)
{
    const char *name = text_of(call, "name");
    unsigned char random[SIGN_RANDOM_BYTES];
    uint64_t ms = (uint64_t)json_integer_value(json_object_get(call, "utc_ms"));
    struct sign_parts parts = {
        .scheme = SIGN_NONE,
        .key = text_of(call, "key"),
        .secret = text_of(call, "secret"),
        .passphrase = text_of(call, "passphrase"),
        .header = "",
        .param = "",
        .recv_window_ms = (uint64_t)json_integer_value(json_object_get(call, "recv_window_ms")),
        .nonce_unit_ns = 1000000,
    };
    for (unsigned i = 1; i < SIGN_OAUTH2; i++) {
        if (scheme_name[i] != NULL && strcmp(scheme_name[i], text_of(call, "scheme")) == 0) {
            parts.scheme = (enum sign_scheme)i;
        }
    }
    random_read(text_of(call, "random"), random);
    const struct sign_request request = {
        .method = text_of(call, "method"),
        .host = slice_of(call, "host"),
        .path = slice_of(call, "path"),
        .query = slice_of(call, "query"),
        .body = slice_of(call, "body"),
        .utc_ns = ms * 1000000 + 456789, /* below what is written */
        .nonce_ns = ms * 1000000,
        .random = random,
    };
    struct signed_call s;
    assert_true(signed_open(&s, &parts, &request));
    assert_true(signed_within(&s));
    const json_t *sent = json_object_get(call, "sent");
    struct sign_slice query = request.query;
    struct sign_slice body = request.body;
    if (s.room.query_bytes > 0) {
        query = (struct sign_slice){s.result.query, s.result.query_bytes};
    }
    if (s.room.body_bytes > 0) {
        body = (struct sign_slice){s.result.body, s.result.body_bytes};
    }
    bool moved = json_is_true(json_object_get(call, "in_query"));
    texts_equal(name, "query", query, text_of(sent, moved ? "body" : "query"));
    texts_equal(name, "body", body, moved ? "" : text_of(sent, "body"));
    texts_equal(name, "path", request.path, text_of(sent, "path"));
    const char *header;
    json_t *value;
    size_t cnt = 0;
    json_object_foreach(json_object_get(sent, "headers"), header, value)
    {
        const char *got = signed_line(&s, header);
        texts_equal(name, header, slice(got != NULL ? got : "(none)"), json_string_value(value));
        cnt++;
    }
    assert_int_equal(s.result.line_cnt + s.key.fixed_cnt, cnt);
    signed_close(&s);
}

static void test_golden(void **state)
{
    (void)state;
    json_t *root = json_load_file(SIGN_GOLDEN, 0, NULL);
    json_t *calls = json_object_get(root, "calls");
    size_t seen[SIGN_SCHEME_CNT] = {0};
    assert_true(json_array_size(calls) >= 30);
    for (size_t i = 0; i < json_array_size(calls); i++) {
        const json_t *call = json_array_get(calls, i);
        check(call);
        for (unsigned k = 1; k < SIGN_OAUTH2; k++) {
            seen[k] +=
                scheme_name[k] != NULL && strcmp(scheme_name[k], text_of(call, "scheme")) == 0;
        }
    }
    for (unsigned k = 1; k < SIGN_OAUTH2; k++) {
        assert_true(scheme_name[k] == NULL || seen[k] > 0);
    }
    json_decref(root);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_golden)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
