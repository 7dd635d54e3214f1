#include "broker/sign/sign_digest.h"

#include "broker/sign/sign_text.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#define DER_MAX_BYTES     4096U
#define SEED_BYTES        32U
#define PAIR_BYTES        (16U << 10) /* of OpenSSL's secure heap, for one RSA key of 4096 bits */
#define CLIENT_KEYS_BYTES (64U << 10) /* ... and for those of client certificates, identity.c */
#define RSA_BITS_MIN      2048
#define P256_BYTES        32

void sign_wipe(void *at, size_t bytes)
{
    OPENSSL_cleanse(at, bytes);
}

bool sign_pair_memory(size_t cnt)
{
    size_t bytes = CLIENT_KEYS_BYTES;
    if (cnt == 0 || CRYPTO_secure_malloc_initialized() == 1) {
        return true;
    }
    while (bytes < CLIENT_KEYS_BYTES + cnt * PAIR_BYTES) {
        bytes *= 2;
    }
    return CRYPTO_secure_malloc_init(bytes, 16) == 1; /* 2: it is there, and not locked */
}

bool sign_hmac(enum sign_hash hash, struct sign_slice key, const struct sign_slice *part,
               size_t part_cnt, unsigned char *out)
{
    static EVP_MAC *mac; /* as long as the process */
    static char name[][8] = {"SHA256", "SHA512"};
    const OSSL_PARAM param[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, name[hash], 0),
        OSSL_PARAM_construct_end()};
    mac = mac != NULL ? mac : EVP_MAC_fetch(NULL, "HMAC", NULL);
    EVP_MAC_CTX *ctx = mac != NULL ? EVP_MAC_CTX_new(mac) : NULL;
    size_t want = hash == SIGN_SHA256 ? SIGN_SHA256_BYTES : SIGN_SHA512_BYTES;
    size_t got = 0;
    bool ok =
        ctx != NULL && EVP_MAC_init(ctx, (const unsigned char *)key.at, key.bytes, param) == 1;
    for (size_t i = 0; ok && i < part_cnt; i++) {
        ok = EVP_MAC_update(ctx, (const unsigned char *)part[i].at, part[i].bytes) == 1;
    }
    ok = ok && EVP_MAC_final(ctx, out, &got, want) == 1 && got == want;
    EVP_MAC_CTX_free(ctx); /* wipes what the key became */
    return ok;
}

bool sign_sha256(const struct sign_slice *part, size_t part_cnt, unsigned char *out)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool ok = ctx != NULL && EVP_DigestInit_ex(ctx, EVP_sha256(), NULL) == 1;
    for (size_t i = 0; ok && i < part_cnt; i++) {
        ok = EVP_DigestUpdate(ctx, part[i].at, part[i].bytes) == 1;
    }
    ok = ok && EVP_DigestFinal_ex(ctx, out, NULL) == 1;
    EVP_MD_CTX_free(ctx);
    return ok;
}

/* ---------------------------------------------------------------------------------------------- private keys */

/*
 * The base64 between the lines of a PEM text, as DER. OpenSSL's own reader would leave copies on the heap that nobody wipes. Returns its length, -1: none.
 */
static long der_read(struct sign_slice text, unsigned char *der)
{
    static const char begin[] = "-----BEGIN ";
    static const char dashes[] = "-----";
    char base64[DER_MAX_BYTES + DER_MAX_BYTES / 2];
    const char *end = text.at + text.bytes;
    const char *at = memmem(text.at, text.bytes, begin, strlen(begin));
    at = at != NULL ? memmem(at + strlen(begin), (size_t)(end - at) - strlen(begin), dashes, 5)
                    : NULL;
    const char *stop = at != NULL ? memmem(at + 5, (size_t)(end - at) - 5, dashes, 5) : NULL;
    if (stop == NULL) {
        return -1;
    }
    size_t n = 0;
    for (at += 5; at < stop && n < sizeof base64; at++) {
        if (at[0] == '\\' && at + 1 < stop && at[1] == 'n') {
            at++; /* a line end that somebody wrote on one line */
        } else if (strchr("\r\n\t ", *at) == NULL) {
            base64[n++] = *at;
        }
    }
    long bytes = n > 0 && n < sizeof base64
                     ? sign_base64_decode((struct sign_slice){base64, n}, der, DER_MAX_BYTES)
                     : -1;
    sign_wipe(base64, sizeof base64);
    return bytes;
}

static EVP_PKEY *ed25519_read(struct sign_slice text)
{
    unsigned char seed[2 * SEED_BYTES]; /* the public key may stand behind it */
    EVP_PKEY *pair = NULL;
    long bytes = sign_base64_decode(text, seed, sizeof seed);
    if (bytes == SEED_BYTES || bytes == 2 * SEED_BYTES) {
        pair = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, seed, SEED_BYTES);
    }
    sign_wipe(seed, sizeof seed);
    return pair;
}

static enum sign_sort sort_of(EVP_PKEY *pair)
{
    char group[32] = "";
    if (EVP_PKEY_is_a(pair, "ED25519") == 1) {
        return SIGN_SORT_ED25519;
    }
    if (EVP_PKEY_is_a(pair, "RSA") == 1) {
        return SIGN_SORT_RSA;
    }
    bool is_p256 = EVP_PKEY_is_a(pair, "EC") == 1 &&
                   EVP_PKEY_get_group_name(pair, group, sizeof group, NULL) == 1 &&
                   strcmp(group, "prime256v1") == 0;
    return is_p256 ? SIGN_SORT_P256 : SIGN_SORT_OTHER;
}

static bool is_of_kind(enum sign_pair kind, EVP_PKEY *pair)
{
    switch (kind) {
    case SIGN_PAIR_ED25519:
        return sort_of(pair) == SIGN_SORT_ED25519;
    case SIGN_PAIR_RSA:
        return sort_of(pair) == SIGN_SORT_RSA && EVP_PKEY_get_bits(pair) >= RSA_BITS_MIN &&
               EVP_PKEY_get_size(pair) <= (int)SIGN_SIGNATURE_MAX;
    case SIGN_PAIR_P256:
        return sort_of(pair) == SIGN_SORT_P256;
    default:
        return false;
    }
}

static EVP_PKEY *pem_read(struct sign_slice text)
{
    unsigned char der[DER_MAX_BYTES];
    long bytes = der_read(text, der);
    const unsigned char *at = der;
    EVP_PKEY *pair = bytes > 0 ? d2i_AutoPrivateKey(NULL, &at, bytes) : NULL;
    sign_wipe(der, sizeof der);
    return pair;
}

static bool has(struct sign_slice text, const char *wanted)
{
    return memmem(text.at, text.bytes, wanted, strlen(wanted)) != NULL;
}

void *sign_pair_read(enum sign_pair kind, struct sign_slice text)
{
    EVP_PKEY *pair = NULL;
    if (has(text, "PRIVATE KEY")) {
        pair = pem_read(text);
    } else if (kind == SIGN_PAIR_ED25519) {
        pair = ed25519_read(text);
    }
    ERR_clear_error();
    if (pair != NULL && !is_of_kind(kind, pair)) {
        EVP_PKEY_free(pair);
        pair = NULL;
    }
    return pair;
}

enum sign_sort sign_pair_sort(struct sign_slice text)
{
    if (!has(text, "-----BEGIN ")) {
        return SIGN_SORT_NONE;
    }
    if (has(text, "PUBLIC KEY-----")) {
        return SIGN_SORT_PUBLIC;
    }
    if (has(text, "BEGIN ENCRYPTED") || has(text, ",ENCRYPTED")) { /* PKCS#8, or the older form */
        return SIGN_SORT_ENCRYPTED;
    }
    EVP_PKEY *pair = pem_read(text);
    enum sign_sort sort = pair != NULL ? sort_of(pair) : SIGN_SORT_NONE;
    EVP_PKEY_free(pair);
    ERR_clear_error();
    return sort;
}

void sign_pair_free(void *pair)
{
    EVP_PKEY_free(pair);
}

size_t sign_pair_bytes(enum sign_pair kind, void *pair)
{
    return kind == SIGN_PAIR_RSA ? (size_t)EVP_PKEY_get_size(pair) : 64;
}

/* DER {r, s} into 32 bytes each. */
static bool p256_flatten(unsigned char *signature, size_t bytes)
{
    const unsigned char *at = signature;
    ECDSA_SIG *sig = d2i_ECDSA_SIG(NULL, &at, (long)bytes);
    bool ok = sig != NULL && BN_bn2binpad(ECDSA_SIG_get0_r(sig), signature, P256_BYTES) > 0 &&
              BN_bn2binpad(ECDSA_SIG_get0_s(sig), signature + P256_BYTES, P256_BYTES) > 0;
    ECDSA_SIG_free(sig);
    return ok;
}

size_t sign_pair_sign(enum sign_pair kind, void *pair, struct sign_slice message,
                      unsigned char *out)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    size_t bytes = SIGN_SIGNATURE_MAX;
    bool ok =
        ctx != NULL &&
        EVP_DigestSignInit(ctx, NULL, kind == SIGN_PAIR_ED25519 ? NULL : EVP_sha256(), NULL,
                           pair) == 1 &&
        EVP_DigestSign(ctx, out, &bytes, (const unsigned char *)message.at, message.bytes) == 1;
    EVP_MD_CTX_free(ctx);
    if (ok && kind == SIGN_PAIR_P256) {
        ok = p256_flatten(out, bytes);
        bytes = 64;
    }
    if (!ok) {
        ERR_clear_error();
    }
    return ok ? bytes : 0;
}
