/*
 * identity.h: who we are to a server that asks (mutual TLS), read before the cage closes.
 *
 * As trust.h: once the worker is in its cage no file can be opened, so each `client_cert` and `client_key` is read at its start. What OpenSSL takes from its secure heap
 * for a private key is locked in memory and wiped; the rest of a key's form lies on the worker's heap, which leaves no core (cage.h).
 *
 * A pair that cannot be read, or whose halves do not belong together, is named in the log; no connection is made without it: the call ends as not sent.
 *
 * Owned by the worker, one thread, never freed.
 */
#ifndef WEIR_BROKER_IDENTITY_H
#define WEIR_BROKER_IDENTITY_H

#include "broker/config/config.h"

struct identity;

/* Read what the endpoints of `config` name. False, with `text`, without memory that can be locked. Caller: the worker, once, behind curl_global_init. */
bool identity_open(const struct weir_config *config, char *text, size_t text_bytes);

/* The pair of `endpoint`; NULL where it names none. */
const struct identity *identity_find(const struct weir_config_endpoint *endpoint);

/* Show it in a connection to come. False: it could not be read. `ssl_ctx` is OpenSSL's SSL_CTX. Caller: http.c, from curl's callback. */
bool identity_apply(const struct identity *identity, void *ssl_ctx);

#endif
