/* tls_server.h: certificates that are made here, and a server of TLS whose connections are a test's own functions. */
#ifndef WEIR_TESTS_PROCESS_TLS_SERVER_H
#define WEIR_TESTS_PROCESS_TLS_SERVER_H

#include "rig.h"

#include <openssl/pem.h>
#include <openssl/ssl.h>

/* A certificate for `host` into PATH, and its key; it ends in so many seconds. Signed by itself, or by `issuer`. Ends the test where that cannot be. */
X509 *tls_certificate_for(const char *path, EVP_PKEY **key, const char *host, long ends_s,
                          X509 *issuer, EVP_PKEY *issuer_key);
/* For 127.0.0.1, signed by itself. */
X509 *tls_certificate_make(const char *path, EVP_PKEY **key);

/*
 * Serve in a child, one process for each connection; all end with the test. `serve` has a connection whose handshake is over, and its descriptor, which it may close. `agree`: the protocols that
 * may be agreed upon (ALPN), each with its length before it; NULL: none. `highest`: the latest version of TLS; 0: any.
 */
uint16_t tls_server_start(struct rig *r, X509 *certificate, EVP_PKEY *key, const char *agree,
                          int highest, void (*serve)(struct rig *r, SSL *ssl, int fd));

#endif
