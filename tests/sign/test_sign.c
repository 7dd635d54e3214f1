/*
 * test_sign.c: signatures against what exchanges and RFCs have printed, room that is kept, keys that are refused.
 *
 * Oracles: the examples of the exchanges' documentation, named at each; where one prints no result, the text that it says is signed, through HMAC of RFC 4231's
 * implementation in OpenSSL's command form (EVP_Q_mac) and through the public key. ccxt is the other judge: test_sign_ccxt.c.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <time.h>

#include <cmocka.h>
#include <openssl/core_names.h>
#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

#include "broker/sign/sign_digest.h"
#include "broker/sign/sign_text.h"
#include "sign_helper.h"

#define T_NS(ms) ((uint64_t)(ms)*1000000U)

static const unsigned char no_chance[SIGN_RANDOM_BYTES];

/* Keys of RFC 8037 A.1, RFC 7515 A.3 and one of our own, which open nothing. */
static const char ed25519_seed[] = "nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=";
static const char ed25519_pem[] =
    "-----BEGIN PRIVATE KEY-----\n"
    "MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n"
    "-----END PRIVATE KEY-----\n";
static char rsa_pem[4096];
static char p256_pem[1024];
static EVP_PKEY *rsa_pair;
static EVP_PKEY *p256_pair;

static struct sign_parts parts_of(enum sign_scheme scheme, const char *key, const char *secret)
{
    bool phrase = sign_wants_passphrase(scheme);
    return (struct sign_parts){.scheme = scheme,
                               .key = key,
                               .secret = secret,
                               .passphrase = phrase ? "phrase" : "",
                               .header = "",
                               .param = "",
                               .recv_window_ms = 5000,
                               .nonce_unit_ns = 1000000};
}

static struct sign_request request_of(const char *method, const char *path, const char *query,
                                      const char *body, uint64_t ms)
{
    return (struct sign_request){.method = method,
                                 .host = slice("api.example.com"),
                                 .path = slice(path),
                                 .query = slice(query),
                                 .body = slice(body),
                                 .utc_ns = T_NS(ms),
                                 .nonce_ns = T_NS(ms),
                                 .random = no_chance};
}

static void sign(struct signed_call *s, const struct sign_parts *parts,
                 const struct sign_request *request)
{
    assert_true(signed_open(s, parts, request));
    assert_true(signed_within(s));
}

/* HMAC by the other entrance of OpenSSL, in base64 or hex. */
static void hmac_text(const char *hash, const char *key, size_t key_bytes, const char *text,
                      bool hex, char out[160])
{
    unsigned char mac[64];
    size_t bytes = 0;
    assert_non_null(EVP_Q_mac(NULL, "HMAC", NULL, hash, NULL, key, key_bytes,
                              (const unsigned char *)text, strlen(text), mac, sizeof mac, &bytes));
    struct sign_text t = {.at = out, .cap_bytes = 159};
    if (hex) {
        sign_put_hex(&t, mac, bytes);
    } else {
        sign_put_base64(&t, mac, bytes);
    }
    out[t.bytes] = '\0';
}

/* ---------------------------------------------------------------------------------------------- Binance */

/*
 * developers.binance.com, Spot, "Request Security", "SIGNED request example (HMAC)": the ASCII and the non-ASCII symbol; and the mixed example 3 of the former page
 * "SIGNED Endpoint Examples for POST /api/v3/order".
 */
static void test_binance_hmac(void **state)
{
    (void)state;
    static const char key[] = "vmPUZE6mv9SD5VNHk4HlWFsOr6aKE2zvsw0MuIgwCIPy6utIco14y7Ju91duEh8A";
    static const char secret[] = "NhqPtmdSJYdKjVHjA7PZj4Mge3R5YNiP1e3UZjInClVN65XAbvqqM6A7H5fATj0j";
    static const struct {
        const char *query, *body, *signature;
    } example[] = {
        {"symbol=LTCBTC&side=BUY&type=LIMIT&timeInForce=GTC&quantity=1&price=0.1&recvWindow=5000"
         "&timestamp=1499827319559",
         "", "c8db56825ae71d6d79447849e617115f4a920fa2acdcab2b053c4b2838bd6b71"},
        {"symbol=%EF%BC%91%EF%BC%92%EF%BC%93%EF%BC%94%EF%BC%95%EF%BC%96&side=BUY&type=LIMIT"
         "&timeInForce=GTC&quantity=1&price=0.1&recvWindow=5000&timestamp=1499827319559",
         "", "e1353ec6b14d888f1164ae9af8228a3dbd508bc82eb867db8ab6046442f33ef3"},
        {"",
         "symbol=LTCBTC&side=BUY&type=LIMIT&timeInForce=GTC&quantity=1&price=0.1"
         "&recvWindow=5000&timestamp=1499827319559",
         "c8db56825ae71d6d79447849e617115f4a920fa2acdcab2b053c4b2838bd6b71"},
        {"symbol=LTCBTC&side=BUY&type=LIMIT&timeInForce=GTC",
         "quantity=1&price=0.1&recvWindow=5000&timestamp=1499827319559",
         "0fd168b8ddb4876a0358a8d14d0c9f3da0e9b20c5d52b2a00fcf7d1c602f9a77"},
    };
    const struct sign_parts parts = parts_of(SIGN_HMAC_SHA256_QUERY, key, secret);
    for (size_t i = 0; i < sizeof example / sizeof example[0]; i++) {
        const struct sign_request r =
            request_of("POST", "/api/v3/order", example[i].query, example[i].body, 1700000000000);
        struct signed_call s;
        char wanted[512];
        sign(&s, &parts, &r);
        bool body = example[i].body[0] != '\0';
        (void)snprintf(wanted, sizeof wanted, "%s&signature=%s",
                       body ? example[i].body : example[i].query, example[i].signature);
        const char *got = body ? s.result.body : s.result.query;
        assert_int_equal(body ? s.result.body_bytes : s.result.query_bytes, strlen(wanted));
        assert_memory_equal(got, wanted, strlen(wanted));
        assert_int_equal(s.room.query_bytes > 0, !body); /* what is not changed stays */
        assert_string_equal(signed_line(&s, "X-MBX-APIKEY"), key);
        signed_close(&s);
    }
}

/* What the caller left out is added, once, and what it wrote is left. */
static void test_binance_parameters(void **state)
{
    (void)state;
    static const struct {
        const char *query, *begins;
    } example[] = {
        {"", "timestamp=1700000000123&recvWindow=5000&signature="},
        {"symbol=A", "timestamp=1700000000123&symbol=A&recvWindow=5000&signature="},
        {"recvWindow=60&symbol=A", "timestamp=1700000000123&recvWindow=60&symbol=A&signature="},
        {"xtimestamp=1&timestampx=2",
         "timestamp=1700000000123&xtimestamp=1&timestampx=2&recvWindow=5000&signature="},
    };
    const struct sign_parts parts = parts_of(SIGN_HMAC_SHA256_QUERY, "k", "s");
    for (size_t i = 0; i < sizeof example / sizeof example[0]; i++) {
        const struct sign_request r = request_of("GET", "/a", example[i].query, "", 1700000000123);
        struct signed_call s;
        sign(&s, &parts, &r);
        assert_memory_equal(s.result.query, example[i].begins, strlen(example[i].begins));
        assert_int_equal(s.result.query_bytes, strlen(example[i].begins) + 64);
        assert_int_equal(s.result.query[s.result.query_bytes], 0);
        signed_close(&s);
    }
}

static size_t unescaped(const char *from, unsigned char *out)
{
    char base64[1024];
    struct sign_text t = {.at = base64, .cap_bytes = sizeof base64};
    sign_put_unpercent(&t, slice(from));
    long bytes = sign_base64_decode(sign_written(&t, 0), out, SIGN_SIGNATURE_MAX);
    assert_true(bytes > 0);
    return (size_t)bytes;
}

static bool verifies(EVP_PKEY *pair, const EVP_MD *md, const void *text, size_t text_bytes,
                     const unsigned char *signature, size_t bytes)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool ok = EVP_DigestVerifyInit(ctx, NULL, md, NULL, pair) == 1 &&
              EVP_DigestVerify(ctx, signature, bytes, text, text_bytes) == 1;
    EVP_MD_CTX_free(ctx);
    return ok;
}

/* The same page's RSA and Ed25519 examples, whose private keys are not printed: what they sign, checked by the public key. The body is signed too, in its place. */
static void test_binance_pairs(void **state)
{
    (void)state;
    static const char query[] =
        "symbol=BTCUSDT&side=SELL&type=LIMIT&timeInForce=GTC&quantity=1&price=0.2"
        "&timestamp=1668481559918&recvWindow=5000";
    static const char body[] = "a=1&b=2";
    EVP_PKEY *ed = sign_pair_read(SIGN_PAIR_ED25519, slice(ed25519_pem));
    for (unsigned i = 0; i < 4; i++) {
        bool rsa = (i & 1) != 0;
        const struct sign_parts parts =
            parts_of(rsa ? SIGN_RSA_QUERY : SIGN_ED25519_QUERY, "k", rsa ? rsa_pem : ed25519_pem);
        const struct sign_request r =
            request_of("POST", "/api/v3/order", query, i < 2 ? "" : body, 1700000000000);
        struct signed_call s;
        sign(&s, &parts, &r);
        char text[512];
        (void)snprintf(text, sizeof text, "%s&signature=", query);
        assert_memory_equal(s.result.query, text, strlen(text));
        unsigned char signature[SIGN_SIGNATURE_MAX];
        size_t bytes = unescaped(s.result.query + strlen(text), signature);
        assert_null(strpbrk(s.result.query + strlen(text), "+/=")); /* percent-encoded */
        (void)snprintf(text, sizeof text, "%s%s", query, i < 2 ? "" : body);
        assert_true(verifies(rsa ? rsa_pair : ed, rsa ? EVP_sha256() : NULL, text, strlen(text),
                             signature, bytes));
        assert_int_equal(s.room.body_bytes, 0);
        signed_close(&s);
    }
    sign_pair_free(ed);
}

/* ---------------------------------------------------------------------------------------------- texts that are signed */

/*
 * Bybit: docs/v5/guide, "Create A Request": "1658384314791XXXXXXXXXX5000category=option&symbol=BTC-29JUL22-25000-C" and the POST of the same page.
 * OKX: docs-v5, "Making Requests": timestamp + 'GET' + '/api/v5/account/balance?ccy=BTC', SecretKey 22582BD0CFF14C41EDBF1AB98506286D.
 * Bitget: api-doc, "Signature": '16273667805456GET/api/mix/v2/market/depth?limit=20&symbol=BTCUSDT' (its instant has a digit too many; ours has 13).
 * Coinbase Exchange: "Signing a Message": timestamp + method + requestPath + body by the decoded secret.
 */
static void test_prehash(void **state)
{
    (void)state;
    static const char decoded[] = "\x91\x01\xf9\x1do\xfc\xa7[";
    static const struct {
        enum sign_scheme scheme;
        const char *method, *path, *query, *body;
        uint64_t ms;
        const char *text, *line, *instant_line, *instant;
    } example[] = {
        {SIGN_BYBIT, "GET", "/v5/order/realtime", "category=option&symbol=BTC-29JUL22-25000-C", "",
         1658384314791, "1658384314791XXXXXXXXXX5000category=option&symbol=BTC-29JUL22-25000-C",
         "X-BAPI-SIGN", "X-BAPI-TIMESTAMP", "1658384314791"},
        {SIGN_BYBIT, "POST", "/v5/order/create", "", "{\"category\": \"option\"}", 1658385579423,
         "1658385579423XXXXXXXXXX5000{\"category\": \"option\"}", "X-BAPI-SIGN",
         "X-BAPI-RECV-WINDOW", "5000"},
        {SIGN_OKX, "GET", "/api/v5/account/balance", "ccy=BTC", "", 1607418537715,
         "2020-12-08T09:08:57.715ZGET/api/v5/account/balance?ccy=BTC", "OK-ACCESS-SIGN",
         "OK-ACCESS-TIMESTAMP", "2020-12-08T09:08:57.715Z"},
        {SIGN_OKX, "POST", "/api/v5/trade/order", "", "{\"instId\":\"BTC-USDT\",\"lever\":\"5\"}",
         1607418537715,
         "2020-12-08T09:08:57.715ZPOST/api/v5/trade/order{\"instId\":\"BTC-USDT\",\"lever\":\"5\"}",
         "OK-ACCESS-SIGN", "OK-ACCESS-PASSPHRASE", "phrase"},
        {SIGN_BITGET, "GET", "/api/mix/v2/market/depth", "limit=20&symbol=BTCUSDT", "",
         1627366780545, "1627366780545GET/api/mix/v2/market/depth?limit=20&symbol=BTCUSDT",
         "ACCESS-SIGN", "ACCESS-TIMESTAMP", "1627366780545"},
        {SIGN_COINBASE_EXCHANGE, "POST", "/orders", "", "{\"price\":\"1.0\"}", 1700000000999,
         "1700000000POST/orders{\"price\":\"1.0\"}", "CB-ACCESS-SIGN", "CB-ACCESS-TIMESTAMP",
         "1700000000"},
    };
    for (size_t i = 0; i < sizeof example / sizeof example[0]; i++) {
        bool base64 = example[i].scheme == SIGN_COINBASE_EXCHANGE;
        const char *secret = base64 ? "kQH5HW/8p1s=" : "22582BD0CFF14C41EDBF1AB98506286D";
        const struct sign_parts parts = parts_of(example[i].scheme, "XXXXXXXXXX", secret);
        const struct sign_request r = request_of(example[i].method, example[i].path,
                                                 example[i].query, example[i].body, example[i].ms);
        struct signed_call s;
        char wanted[160];
        sign(&s, &parts, &r);
        hmac_text("SHA256", base64 ? decoded : secret, base64 ? 8 : strlen(secret), example[i].text,
                  example[i].scheme == SIGN_BYBIT, wanted);
        assert_string_equal(signed_line(&s, example[i].line), wanted);
        assert_string_equal(signed_line(&s, example[i].instant_line), example[i].instant);
        assert_int_equal(s.room.query_bytes + s.room.body_bytes, 0);
        signed_close(&s);
    }
}

/* docs.kraken.com/api/docs/guides/spot-rest-auth: the example with its API-Sign. The body is built around the nonce. */
static void test_kraken(void **state)
{
    (void)state;
    static const char secret[] =
        "kQH5HW/8p1uGOVjbgWA7FunAmGO8lsSUXNsu3eow76sz84Q18fWxnyRzBHCd3pd5nE9qa99HAZtuZuj6F1huXg==";
    static const char wanted[] =
        "nonce=1616492376594&ordertype=limit&pair=XBTUSD&price=37500&type=buy&volume=1.25";
    const struct sign_parts parts = parts_of(SIGN_KRAKEN, "k", secret);
    struct sign_request r =
        request_of("POST", "/0/private/AddOrder", "", strchr(wanted, '&') + 1, 1616492376594);
    struct signed_call s;
    sign(&s, &parts, &r);
    assert_int_equal(s.result.body_bytes, strlen(wanted));
    assert_memory_equal(s.result.body, wanted, strlen(wanted));
    assert_string_equal(
        signed_line(&s, "API-Sign"),
        "4/dpxb3iT4tp/ZCVEwSnEsLxx0bqyhLpdfOpc6fn7OR8+UClSV5n9E6aSS8MPtnRfp32bAb0nmbRn6H8ndwLUQ==");
    signed_close(&s);
    static const struct {
        const char *body, *wanted;
        uint64_t unit_ns;
    } form[] = {
        {"", "nonce=1616492376594000", 1000},
        {"a=b", "nonce=1616492376594000000&a=b", 1},
        {"{}", "{\"nonce\":\"1616492376594\"}", 1000000},
        {"{ \n}", "{\"nonce\":\"1616492376594\" \n}", 1000000},
        {"{\"a\":[1]}", "{\"nonce\":\"1616492376594000\",\"a\":[1]}", 1000},
    };
    for (size_t i = 0; i < sizeof form / sizeof form[0]; i++) {
        struct sign_parts unit = parts;
        unit.nonce_unit_ns = form[i].unit_ns;
        r.body = slice(form[i].body);
        sign(&s, &unit, &r);
        assert_int_equal(s.result.body_bytes, strlen(form[i].wanted));
        assert_memory_equal(s.result.body, form[i].wanted, strlen(form[i].wanted));
        signed_close(&s);
    }
}

/*
 * HTX, "Authentication": the example's parameters and the text before the signature. The signature that the page prints has lost a character, so HMAC of that text
 * is the oracle.
 */
static void test_htx(void **state)
{
    (void)state;
    static const char secret[] = "b0xxxxxx-c6xxxxxx-94xxxxxx-dxxxx";
    static const char own[] =
        "AccessKeyId=e2xxxxxx-99xxxxxx-84xxxxxx-7xxxx&SignatureMethod=HmacSHA256"
        "&SignatureVersion=2&Timestamp=2017-05-11T15%3A19%3A30&order-id=1234567890";
    const struct sign_parts parts = parts_of(SIGN_HTX, "e2xxxxxx-99xxxxxx-84xxxxxx-7xxxx", secret);
    struct sign_request r =
        request_of("GET", "/v1/order/orders", "order-id=1234567890", "", 1494515970000);
    r.host = slice("api.huobi.pro");
    struct signed_call s;
    char text[512];
    char mac[160];
    sign(&s, &parts, &r);
    (void)snprintf(text, sizeof text, "GET\napi.huobi.pro\n/v1/order/orders\n%s", own);
    hmac_text("SHA256", secret, strlen(secret), text, false, mac);
    assert_memory_equal(s.result.query, own, strlen(own));
    unsigned char signature[SIGN_SIGNATURE_MAX];
    assert_memory_equal(s.result.query + strlen(own), "&Signature=", 11);
    assert_int_equal(unescaped(s.result.query + strlen(own) + 11, signature), 32);
    unsigned char wanted[64];
    assert_int_equal(sign_base64_decode(slice(mac), wanted, sizeof wanted), 32);
    assert_memory_equal(signature, wanted, 32);
    signed_close(&s);
    /* Sorted by bytes: capitals first, a prefix before what it begins. */
    r.query = slice("symbol=b&Symbol=a&sym=c&&Zeta=1");
    sign(&s, &parts, &r);
    static const char sorted[] =
        "Symbol=a&Timestamp=2017-05-11T15%3A19%3A30&Zeta=1&sym=c&symbol=b&Signature=";
    assert_non_null(strstr(s.result.query, sorted));
    signed_close(&s);
    /* More than can be sorted is not sent. */
    char many[4 * SIGN_PARAMETERS_MAX + 1] = "";
    for (size_t i = 0; i < SIGN_PARAMETERS_MAX; i++) {
        memcpy(many + 4 * i, "a=b&", 4);
    }
    r.query = (struct sign_slice){many, 4 * SIGN_PARAMETERS_MAX};
    assert_false(signed_open(&s, &parts, &r));
    signed_close(&s);
}

/* ---------------------------------------------------------------------------------------------- tokens */

/* RFC 8037 A.4: the payload "Example of Ed25519 signing" under {"alg":"EdDSA"}. The key as seed, as seed and public key, and as PEM. */
static void test_ed25519(void **state)
{
    (void)state;
    static const char message[] = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc";
    static const char wanted[] =
        "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
    static const char both[] =
        "nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2DXWpgBgrEKt9VL/tPJZAc6DuFy89qmIyWvAhpo9wdRGg==";
    static const char one_line[] =
        "-----BEGIN PRIVATE KEY-----\\nMC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7"
        "rAMcrn9g\\n-----END PRIVATE KEY-----\\n";
    static const char *const form[] = {ed25519_seed, both, ed25519_pem, one_line};
    for (size_t i = 0; i < sizeof form / sizeof form[0]; i++) {
        unsigned char signature[SIGN_SIGNATURE_MAX];
        char text[128];
        struct sign_text t = {.at = text, .cap_bytes = sizeof text};
        void *pair = sign_pair_read(SIGN_PAIR_ED25519, slice(form[i]));
        assert_non_null(pair);
        assert_int_equal(sign_pair_sign(SIGN_PAIR_ED25519, pair, slice(message), signature), 64);
        sign_put_base64url(&t, signature, 64);
        assert_int_equal(t.bytes, strlen(wanted));
        assert_memory_equal(text, wanted, t.bytes);
        sign_pair_free(pair);
    }
}

/* docs.cdp.coinbase.com, "JWT Authentication": claims sub, iss, nbf, exp, uri; header kid, nonce; ES256 by curve P-256. */
static void test_es256(void **state)
{
    (void)state;
    static const char wanted[] = "{\"iss\":\"cdp\",\"nbf\":1700000000,\"exp\":1700000120,\"sub\":"
                                 "\"organizations/o/apiKeys/k\","
                                 "\"uri\":\"GET api.coinbase.com/api/v3/brokerage/accounts\"}";
    static const char header[] =
        "{\"alg\":\"ES256\",\"typ\":\"JWT\",\"kid\":\"organizations/o/apiKeys/k\","
        "\"nonce\":\"00000000000000000000000000000000\"}";
    const struct sign_parts parts =
        parts_of(SIGN_COINBASE_ES256, "organizations/o/apiKeys/k", p256_pem);
    struct sign_request r =
        request_of("GET", "/api/v3/brokerage/accounts", "limit=5", "", 1700000000999);
    r.host = slice("api.coinbase.com");
    struct signed_call s;
    sign(&s, &parts, &r);
    const char *token = signed_line(&s, "Authorization");
    assert_memory_equal(token, "Bearer ", 7);
    token += 7;
    char expected[1024];
    struct sign_text t = {.at = expected, .cap_bytes = sizeof expected};
    sign_put_base64url(&t, (const unsigned char *)header, strlen(header));
    sign_put_text(&t, ".");
    sign_put_base64url(&t, (const unsigned char *)wanted, strlen(wanted));
    assert_memory_equal(token, expected, t.bytes);
    assert_int_equal(token[t.bytes], '.');
    char base64[128];
    unsigned char raw[80];
    size_t n = 0;
    for (const char *at = token + t.bytes + 1; *at != '\0'; at++) {
        base64[n++] = (char)(*at == '-' ? '+' : *at == '_' ? '/' : *at);
    }
    assert_int_equal(sign_base64_decode((struct sign_slice){base64, n}, raw, sizeof raw), 64);
    ECDSA_SIG *sig = ECDSA_SIG_new();
    assert_int_equal(ECDSA_SIG_set0(sig, BN_bin2bn(raw, 32, NULL), BN_bin2bn(raw + 32, 32, NULL)),
                     1);
    unsigned char *der = NULL;
    int der_bytes = i2d_ECDSA_SIG(sig, &der);
    assert_true(verifies(p256_pair, EVP_sha256(), token, t.bytes, der, (size_t)der_bytes));
    OPENSSL_free(der);
    ECDSA_SIG_free(sig);
    signed_close(&s);
}

/* ---------------------------------------------------------------------------------------------- plain keys */

static void test_plain(void **state)
{
    (void)state;
    struct sign_parts parts = parts_of(SIGN_API_KEY, "a key+1", "");
    const struct sign_request r = request_of("GET", "/q", "symbol=A", "", 1700000000000);
    const struct sign_request bare = request_of("GET", "/q", "", "", 1700000000000);
    struct signed_call s;
    parts.header = "x-finnhub-token";
    sign(&s, &parts, &r);
    assert_string_equal(signed_line(&s, "x-finnhub-token"), "a key+1");
    assert_int_equal(s.room.query_bytes + s.room.body_bytes + s.result.line_cnt, 0);
    signed_close(&s);
    parts.header = "";
    parts.param = "token";
    sign(&s, &parts, &r);
    assert_string_equal(s.result.query, "symbol=A&token=a%20key%2B1");
    assert_int_equal(s.key.fixed_cnt, 0);
    signed_close(&s);
    sign(&s, &parts, &bare);
    assert_string_equal(s.result.query, "token=a%20key%2B1");
    signed_close(&s);
    parts = parts_of(SIGN_BEARER, "t0ken", "");
    sign(&s, &parts, &r);
    assert_string_equal(signed_line(&s, "Authorization"), "Bearer t0ken");
    signed_close(&s);
}

/* ---------------------------------------------------------------------------------------------- room, again, refusals */

static const char *secret_for(enum sign_scheme scheme)
{
    switch (scheme) {
    case SIGN_ED25519_QUERY:
    case SIGN_COINBASE_ED25519:
    case SIGN_HTX_ED25519:
        return ed25519_pem;
    case SIGN_RSA_QUERY:
    case SIGN_BYBIT_RSA:
    case SIGN_BITGET_RSA:
        return rsa_pem;
    case SIGN_COINBASE_ES256:
        return p256_pem;
    case SIGN_COINBASE_EXCHANGE:
    case SIGN_KRAKEN:
    case SIGN_KRAKEN_FUTURES:
        return "c2VjcmV0LXNlY3JldC1zZWNyZXQ=";
    case SIGN_API_KEY:
    case SIGN_BEARER:
        return "";
    default:
        return "secret";
    }
}

static uint32_t random_state;

static uint32_t chance(uint32_t below)
{
    random_state = random_state * 1664525U + 1013904223U;
    return (uint32_t)((uint64_t)random_state * below >> 32);
}

static size_t text_make(char *out, size_t max, const char *letters)
{
    size_t bytes = chance(4) == 0 ? 0 : chance((uint32_t)max);
    for (size_t i = 0; i < bytes; i++) {
        out[i] = letters[chance((uint32_t)strlen(letters))];
    }
    return bytes;
}

/* Whatever is sent: it fits the room that was asked before, the body exactly, and it comes out the same a second time, where chance has no part in it. */
static void test_room(void **state)
{
    (void)state;
    static const char letters[] = "abcTR=&%2F+-_.{}\" \ntimestamprecvWindow";
    random_state = (uint32_t)time(NULL);
    (void)printf("seed %u\n", random_state);
    for (unsigned i = 0; i < 4000; i++) {
        enum sign_scheme scheme = (enum sign_scheme)(1 + i % (SIGN_OAUTH2 - 1));
        bool rare = sign_has_pair(scheme); /* slow ones */
        if (rare && i % 5 != 0) {
            continue;
        }
        char query[400];
        char body[700];
        char key[80];
        size_t key_bytes = 1 + text_make(key, 60, "abc/:123");
        key[key_bytes - 1] = 'k';
        key[key_bytes] = '\0';
        struct sign_parts parts = parts_of(scheme, key, secret_for(scheme));
        parts.param = scheme == SIGN_API_KEY ? "token" : "";
        parts.recv_window_ms = 1 + chance(60000);
        parts.nonce_unit_ns = chance(2) == 0 ? 1 : 1000;
        struct sign_request r = request_of(chance(2) == 0 ? "GET" : "POST", "/a/b", "", "",
                                           1000000000000 + (uint64_t)chance(UINT32_MAX) * 2000);
        r.query = (struct sign_slice){query, text_make(query, sizeof query, letters)};
        r.body = (struct sign_slice){body, text_make(body, sizeof body, letters)};
        struct signed_call s;
        sign(&s, &parts, &r);
        struct sign_result again = s.result;
        assert_true(sign_call(&s.key, &r, &again));
        assert_true(signed_within(&s));
        assert_int_equal(again.query_bytes, s.result.query_bytes);
        assert_int_equal(again.body_bytes, s.result.body_bytes);
        signed_close(&s);
    }
}

/* Without the room nothing is written behind the end, and it says so. */
static void test_too_small(void **state)
{
    (void)state;
    for (unsigned k = 1; k < SIGN_OAUTH2; k++) {
        enum sign_scheme scheme = (enum sign_scheme)k;
        struct sign_parts parts = parts_of(scheme, "key", secret_for(scheme));
        parts.param = scheme == SIGN_API_KEY ? "token" : "";
        const struct sign_request r = request_of("POST", "/a", "b=c", "d=e", 1700000000000);
        struct signed_call s;
        sign(&s, &parts, &r);
        size_t *caps[] = {&s.result.lines_cap_bytes, &s.result.query_cap_bytes,
                          &s.result.body_cap_bytes};
        for (size_t i = 0; i < 3; i++) {
            size_t whole = *caps[i];
            for (size_t cap = 0; cap + 1 < whole; cap += 1 + whole / 16) {
                *caps[i] = cap;
                char *at = s.memory[i];
                at[cap] = 'G';
                (void)sign_call(&s.key, &r, &s.result);
                assert_int_equal(at[cap], 'G');
            }
            *caps[i] = whole;
        }
        signed_close(&s);
    }
}

/* Always larger, in the key's unit too, whatever UTC does and whichever unit the last one had. */
static void test_nonces(void **state)
{
    (void)state;
    static const uint64_t unit_ns[] = {1, 1000, 1000000};
    uint64_t last_ns = 0;
    uint64_t utc_ns = T_NS(1700000000123) + 456789;
    random_state = (uint32_t)time(NULL);
    (void)printf("seed %u\n", random_state);
    for (unsigned i = 0; i < 100000; i++) {
        uint64_t unit = unit_ns[chance(3)];
        uint64_t next_ns = sign_nonce(last_ns, utc_ns, unit);
        assert_true(next_ns > last_ns && next_ns / unit > last_ns / unit && next_ns % unit == 0);
        assert_true(next_ns <= (last_ns > utc_ns ? last_ns : utc_ns) + unit);
        last_ns = next_ns;
        utc_ns += chance(3000);
        utc_ns -= chance(1000) == 0 ? chance(100000000) : 0; /* somebody sets the clock back */
    }
}

static void test_instants(void **state)
{
    (void)state;
    const struct sign_parts parts = parts_of(SIGN_HMAC_SHA256_QUERY, "k", "s");
    static const uint64_t bad_ms[] = {0, 999999999999, 10000000000000};
    for (size_t i = 0; i < sizeof bad_ms / sizeof bad_ms[0]; i++) {
        const struct sign_request r = request_of("GET", "/a", "", "", bad_ms[i]);
        struct signed_call s;
        assert_false(signed_open(&s, &parts, &r));
        signed_close(&s);
    }
}

static void test_faults(void **state)
{
    (void)state;
    static const struct {
        enum sign_scheme scheme;
        const char *key, *secret, *passphrase;
        enum sign_part part;
        const char *begins;
    } bad[] = {
        {SIGN_HMAC_SHA256_QUERY, "", "s", "", SIGN_PART_KEY, "missing: the key's public name"},
        {SIGN_HMAC_SHA256_QUERY, "k\n", "s", "", SIGN_PART_KEY, "must hold no control character"},
        {SIGN_HMAC_SHA256_QUERY, "k", "", "", SIGN_PART_SECRET, "missing: this kind signs with it"},
        {SIGN_HMAC_SHA256_QUERY, "k", "s\n", "", SIGN_PART_SECRET, "must hold no control"},
        {SIGN_HMAC_SHA256_QUERY, "k", "s", "p", SIGN_PART_PASSPHRASE, "has no use with this kind"},
        {SIGN_OKX, "k", "s", "", SIGN_PART_PASSPHRASE, "missing: this kind sends it"},
        {SIGN_API_KEY, "k", "s", "", SIGN_PART_SECRET, "has no use with this kind, which signs"},
        {SIGN_KRAKEN, "k", "no base64!", "", SIGN_PART_SECRET, "must be base64"},
        {SIGN_KRAKEN, "k", "abcde", "", SIGN_PART_SECRET, "must be base64"},
        {SIGN_ED25519_QUERY, "k", "c2hvcnQ=", "", SIGN_PART_SECRET,
         "must be an Ed25519 private key"},
        {SIGN_ED25519_QUERY, "k", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
         "", SIGN_PART_SECRET, "must be an Ed25519 private key"},
        {SIGN_ED25519_QUERY, "k", "-----BEGIN PRIVATE KEY-----", "", SIGN_PART_SECRET,
         "must be an Ed25519 private key"},
        {SIGN_RSA_QUERY, "k", ed25519_pem, "", SIGN_PART_SECRET, "must be an RSA private key"},
        {SIGN_COINBASE_ES256, "k", ed25519_pem, "", SIGN_PART_SECRET,
         "must be a private key of curve P-256"},
        {SIGN_COINBASE_ED25519, "a\"b", ed25519_pem, "", SIGN_PART_KEY, "must be printable ASCII"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct sign_parts parts = parts_of(bad[i].scheme, bad[i].key, bad[i].secret);
        enum sign_part part;
        parts.passphrase = bad[i].passphrase;
        const char *fault = sign_key_fault(&parts, &part);
        assert_non_null(fault);
        assert_memory_equal(fault, bad[i].begins, strlen(bad[i].begins));
        assert_int_equal(part, bad[i].part);
        char *memory = calloc(1, sign_key_bytes(&parts));
        struct sign_key key;
        assert_false(sign_key_open(&key, &parts, memory));
        sign_key_close(&key);
        free(memory);
    }
}

static void test_base64(void **state)
{
    (void)state;
    unsigned char out[8];
    assert_int_equal(sign_base64_decode(slice("Zm9vYmFy"), out, sizeof out), 6);
    assert_memory_equal(out, "foobar", 6);
    assert_int_equal(sign_base64_decode(slice("Zm9vYg=="), out, sizeof out), 4);
    assert_int_equal(sign_base64_decode(slice("Zm9v\r\nYg==\n"), out, sizeof out), 4);
    assert_int_equal(sign_base64_decode(slice("Zm9vYg"), out, sizeof out), 4);
    assert_int_equal(sign_base64_decode(slice("Zm9vYh=="), out, sizeof out), -1); /* bits left */
    assert_int_equal(sign_base64_decode(slice("Zm9vY"), out, sizeof out), -1);
    assert_int_equal(sign_base64_decode(slice("Zm=v"), out, sizeof out), -1);
    assert_int_equal(sign_base64_decode(slice("Zm9vYmFyZm9v"), out, sizeof out), -1); /* too long */
    assert_int_equal(sign_base64_decode(slice(""), out, sizeof out), 0);
}

static int pairs_make(void **state)
{
    (void)state;
    rsa_pair = EVP_RSA_gen(2048);
    p256_pair = EVP_EC_gen("P-256");
    BIO *out = BIO_new(BIO_s_mem());
    if (rsa_pair == NULL || p256_pair == NULL || out == NULL ||
        PEM_write_bio_PrivateKey(out, rsa_pair, NULL, NULL, 0, NULL, NULL) != 1 ||
        BIO_read(out, rsa_pem, sizeof rsa_pem - 1) <= 0 ||
        PEM_write_bio_PrivateKey_traditional(out, p256_pair, NULL, NULL, 0, NULL, NULL) != 1 ||
        BIO_read(out, p256_pem, sizeof p256_pem - 1) <= 0) {
        return -1;
    }
    BIO_free(out);
    return sign_open(4) ? 0 : -1;
}

static int pairs_free(void **state)
{
    (void)state;
    EVP_PKEY_free(rsa_pair);
    EVP_PKEY_free(p256_pair);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_binance_hmac),  cmocka_unit_test(test_binance_parameters),
        cmocka_unit_test(test_binance_pairs), cmocka_unit_test(test_prehash),
        cmocka_unit_test(test_kraken),        cmocka_unit_test(test_htx),
        cmocka_unit_test(test_ed25519),       cmocka_unit_test(test_es256),
        cmocka_unit_test(test_plain),         cmocka_unit_test(test_room),
        cmocka_unit_test(test_too_small),     cmocka_unit_test(test_instants),
        cmocka_unit_test(test_nonces),        cmocka_unit_test(test_faults),
        cmocka_unit_test(test_base64),
    };
    return cmocka_run_group_tests(tests, pairs_make, pairs_free);
}
