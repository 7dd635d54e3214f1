/*
 * trust.h: whose certificates are believed, read before the cage closes.
 *
 * Once the worker is in its cage no file can be opened (cage.h), so the certificates of each `ca_file`, and the system's where an https endpoint names none,
 * are read at its start into stores that all connections share. That is also less work: libcurl would read and parse the system's bundle
 * for each new connection.
 *
 * A file that cannot be read leaves an empty store: no connection to its endpoints is believed then, and the log says why.
 *
 * Owned by the worker, one thread, never freed: it lives as long as its connections.
 */
#ifndef WEIR_BROKER_TRUST_H
#define WEIR_BROKER_TRUST_H

#include "broker/config/config.h"

struct trust;

/* Read what the https endpoints of `config` need. False without memory. Caller: the worker, once, behind curl_global_init. */
bool trust_open(const struct weir_config *config);

/* The store for `ca_file`, "" = the system's; NULL where no endpoint asked for it. */
const struct trust *trust_find(const char *ca_file);

/* Believe these certificates in a connection to come. `ssl_ctx` is OpenSSL's SSL_CTX. Caller: http.c, from curl's callback. */
void trust_apply(const struct trust *trust, void *ssl_ctx);

/* Why a certificate was refused, by CURLINFO_SSL_VERIFYRESULT, in OpenSSL's words. 0 and 1: the certificate is another host's. */
const char *trust_reason(long verdict);

#endif
