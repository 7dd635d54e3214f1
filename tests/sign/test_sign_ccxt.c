/*
 * test_sign_ccxt.c: byte for byte what ccxt sends for the same call at the same time, and what the exchanges' own SDKs make of keys that ccxt has no way for.
 *
 * Oracles: ccxt_golden.json, written by ccxt.mjs (ccxt's own sign(), offline); test `sign_ccxt_live` writes it again where node and ccxt are there.
 * sdk_golden.json, whose first line says which SDKs.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>
#include <jansson.h>

#include "sign_helper.h"

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
        .scheme = scheme_named(text_of(call, "scheme")),
        .key = text_of(call, "key"),
        .secret = text_of(call, "secret"),
        .passphrase = text_of(call, "passphrase"),
        .header = "",
        .param = "",
        .recv_window_ms = (uint64_t)json_integer_value(json_object_get(call, "recv_window_ms")),
        .nonce_unit_ns = 1000000,
    };
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

static void check_all(const char *path, size_t call_cnt, size_t seen[SIGN_SCHEME_CNT])
{
    json_t *root = json_load_file(path, 0, NULL);
    json_t *calls = json_object_get(root, "calls");
    assert_true(json_array_size(calls) >= call_cnt);
    for (size_t i = 0; i < json_array_size(calls); i++) {
        const json_t *call = json_array_get(calls, i);
        check(call);
        seen[scheme_named(text_of(call, "scheme"))]++;
    }
    json_decref(root);
}

/* What ccxt has no way for, the exchanges' own SDKs made; both sorts of Coinbase's tokens are in test_sign.c, where ES256 bears chance. */
static void test_golden(void **state)
{
    (void)state;
    size_t seen[SIGN_SCHEME_CNT] = {0};
    check_all(SIGN_FOLDER "/ccxt_golden.json", 30, seen);
    assert_int_equal(seen[SIGN_BITGET_RSA] + seen[SIGN_HTX_ED25519], 0);
    check_all(SIGN_FOLDER "/sdk_golden.json", 4, seen);
    for (unsigned k = 1; k < SIGN_OAUTH2; k++) {
        bool elsewhere = k == SIGN_API_KEY || k == SIGN_BEARER || k == SIGN_COINBASE_ES256;
        assert_true(elsewhere || seen[k] > 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_golden)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
