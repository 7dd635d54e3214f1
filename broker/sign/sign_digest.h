/*
 * sign_digest.h: what OpenSSL computes. The only file of this folder that knows it.
 */
#ifndef WEIR_BROKER_SIGN_DIGEST_H
#define WEIR_BROKER_SIGN_DIGEST_H

#include "broker/sign/sign.h"

enum sign_hash { SIGN_SHA256 = 0, SIGN_SHA512 = 1 };
#define SIGN_SHA256_BYTES 32U
#define SIGN_SHA512_BYTES 64U

/* HMAC over the parts one behind the other; `out` has the hash's bytes. */
bool sign_hmac(enum sign_hash hash, struct sign_slice key, const struct sign_slice *part,
               size_t part_cnt, unsigned char *out);
bool sign_sha256(const struct sign_slice *part, size_t part_cnt, unsigned char *out);

/* What a private key is for. */
enum sign_pair { SIGN_PAIR_NONE = 0, SIGN_PAIR_ED25519, SIGN_PAIR_RSA, SIGN_PAIR_P256 };

/*
 * Read a private key: PEM (PKCS#8, PKCS#1, SEC 1; line ends may be written as "\n"), or for Ed25519 the base64 of the seed, alone or with the public key behind it.
 * NULL: it is none of that kind.
 */
void *sign_pair_read(enum sign_pair kind, struct sign_slice text);
void sign_pair_free(void *pair);

/* What such a text is, where it is not what was wanted. */
enum sign_sort {
    SIGN_SORT_NONE = 0, /* no key that could be read */
    SIGN_SORT_ED25519,
    SIGN_SORT_RSA, /* of any length */
    SIGN_SORT_P256,
    SIGN_SORT_OTHER,     /* another curve, another algorithm */
    SIGN_SORT_PUBLIC,    /* the half that the exchange has */
    SIGN_SORT_ENCRYPTED, /* under a password */
};
enum sign_sort sign_pair_sort(struct sign_slice text);

/* Sign `message`: Ed25519 as it is, RSA (PKCS#1 v1.5) and P-256 by SHA-256; P-256 as r and s of 32 bytes. Bytes written to `out` of SIGN_SIGNATURE_MAX; 0: no. */
size_t sign_pair_sign(enum sign_pair kind, void *pair, struct sign_slice message,
                      unsigned char *out);
/* The length of each signature of this key. */
size_t sign_pair_bytes(enum sign_pair kind, void *pair);

/* Memory for the private keys of `cnt` pairs, locked. */
bool sign_pair_memory(size_t cnt);

/* Wipe: the compiler cannot leave it out. */
void sign_wipe(void *at, size_t bytes);

#endif
