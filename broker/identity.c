#include "broker/identity.h"

#include "broker/log.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SECURE_HEAP_BYTES 65536U
#define SECURE_BLOCK_MIN  32U

struct identity {
    const char *cert_file, *key_file; /* of the configuration */
    X509 *leaf;                       /* NULL: the pair is not usable */
    STACK_OF(X509) * chain;
    EVP_PKEY *key;
    struct identity *next;
};

static struct identity *first;

const struct identity *identity_find(const struct weir_config_endpoint *endpoint)
{
    const struct identity *i = first;
    while (i != NULL && (strcmp(i->cert_file, endpoint->client_cert) != 0 ||
                         strcmp(i->key_file, endpoint->client_key) != 0)) {
        i = i->next;
    }
    return i;
}

bool identity_apply(const struct identity *identity, void *ssl_ctx)
{
    if (identity->leaf == NULL || SSL_CTX_use_certificate(ssl_ctx, identity->leaf) != 1 ||
        SSL_CTX_use_PrivateKey(ssl_ctx, identity->key) != 1) { /* each takes a reference */
        return false;
    }
    return SSL_CTX_set1_chain(ssl_ctx, identity->chain) == 1;
}

/* Nobody is there to be asked. */
static int no_pass_phrase(char *buffer, int bytes, int writes, void *arg)
{
    (void)buffer;
    (void)bytes;
    (void)writes;
    (void)arg;
    return -1;
}

static const char *cert_read(struct identity *i)
{
    FILE *f = fopen(i->cert_file, "re");
    if (f == NULL) {
        return strerror(errno);
    }
    i->leaf = PEM_read_X509(f, NULL, no_pass_phrase, NULL);
    for (X509 *x; i->leaf != NULL && (x = PEM_read_X509(f, NULL, no_pass_phrase, NULL)) != NULL;) {
        if (sk_X509_push(i->chain, x) == 0) {
            X509_free(x);
            break;
        }
    }
    (void)fclose(f);
    return i->leaf == NULL ? "it holds no certificate in PEM form" : NULL;
}

static const char *key_read(struct identity *i)
{
    FILE *f = fopen(i->key_file, "re");
    if (f == NULL) {
        return strerror(errno);
    }
    (void)setvbuf(f, NULL, _IONBF, 0); /* no copy of the key in stdio's buffer */
    i->key = PEM_read_PrivateKey(f, NULL, no_pass_phrase, NULL);
    (void)fclose(f);
    return i->key == NULL ? "it holds no private key in PEM form that opens without a pass phrase"
                          : NULL;
}

static void refuse(struct identity *i, const char *path, const char *reason)
{
    log_error("client_certificate_not_read", "s:s, s:s, s:s", "path", path, "reason", reason,
              "meaning", "no connection is made to its endpoints, so none of their calls is made");
    X509_free(i->leaf);
    i->leaf = NULL;
}

static void fill(struct identity *i)
{
    const char *wrong = cert_read(i);
    if (wrong != NULL) {
        refuse(i, i->cert_file, wrong);
    } else if ((wrong = key_read(i)) != NULL) {
        refuse(i, i->key_file, wrong);
    } else if (X509_check_private_key(i->leaf, i->key) != 1) {
        refuse(i, i->key_file, "it is not the key of the certificate");
    }
    ERR_clear_error();
}

static bool add(const struct weir_config_endpoint *endpoint)
{
    if (endpoint->client_cert[0] == '\0' || identity_find(endpoint) != NULL) {
        return true;
    }
    struct identity *i = calloc(1, sizeof *i);
    STACK_OF(X509) *chain = sk_X509_new_null();
    if (i == NULL || chain == NULL) {
        free(i);
        sk_X509_free(chain);
        return false;
    }
    *i = (struct identity){.cert_file = endpoint->client_cert,
                           .key_file = endpoint->client_key,
                           .chain = chain,
                           .next = first};
    first = i;
    fill(i);
    return true;
}

static bool any_named(const struct weir_config *config)
{
    for (size_t p = 0; p < config->provider_cnt; p++) {
        for (size_t e = 0; e < config->provider[p].endpoint_cnt; e++) {
            if (config->provider[p].endpoint[e].client_cert[0] != '\0') {
                return true;
            }
        }
    }
    return false;
}

bool identity_open(const struct weir_config *config, char *text, size_t text_bytes)
{
    if (!any_named(config)) {
        return true;
    }
    /* There is one for the process: where calls are signed by private keys it was made for both (sign/sign_digest.c). */
    if (CRYPTO_secure_malloc_initialized() == 0 &&
        CRYPTO_secure_malloc_init(SECURE_HEAP_BYTES, SECURE_BLOCK_MIN) != 1) {
        (void)snprintf(text, text_bytes,
                       "no %u bytes of memory for private keys can be locked: raise the limit of "
                       "locked memory (ulimit -l, LimitMEMLOCK=)",
                       SECURE_HEAP_BYTES);
        return false;
    }
    for (size_t p = 0; p < config->provider_cnt; p++) {
        for (size_t e = 0; e < config->provider[p].endpoint_cnt; e++) {
            if (!add(&config->provider[p].endpoint[e])) {
                (void)snprintf(text, text_bytes, "no memory for client certificates");
                return false;
            }
        }
    }
    return true;
}
