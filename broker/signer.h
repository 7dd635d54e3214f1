/*
 * signer.h: the worker's keys, and the signed form of its calls.
 *
 * Whoever hands a call to a route with `signed: true` over sees nothing of this: the request in shared memory stays as it was written, and the signed form is private
 * memory of the worker, wiped when the call ends. It is made in the send gate, behind the permit and in front of the first byte, so that its instant is fresh, and
 * anew for each time that a call is sent. By then curl has been told the length of the body and which header lines there are, so those are fixed at the start
 * (sign_room) and filled here.
 *
 * Instants are the exchange's clock, or this machine's where that is not known. Nonces are UTC in the key's unit, or one more than the last one of any key,
 * whichever is larger; the last one is in the ledger, which outlives workers and goes over to a successor (weird --takeover). A broker that begins with a new ledger
 * goes on from UTC: its nonces are larger as long as UTC was not set back by more than the time in between.
 */
#ifndef WEIR_BROKER_SIGNER_H
#define WEIR_BROKER_SIGNER_H

#include "broker/worker.h"

/* Read all keys into memory for keys. False with `text`. Caller: the worker before the cage, behind provider_headers_open, once. */
bool signer_open(const struct weir_config *config, char *text, size_t text_bytes);

/* The session of calls of this scope; NULL: they need none. The generation of what `c` was sent with. */
struct session *signer_session(const struct worker *w, uint32_t route, uint64_t scope);
uint64_t signer_generation(const struct call *c);

/* May a call of this scope be made? WEIR_OK, or WEIR_E_KEY_MISSING. */
int signer_admit(const struct worker *w, uint32_t route, uint64_t scope);

/* Is this header the signature's? Then a client may not send it. */
bool signer_sends(const struct worker *w, uint32_t route, const char *name, size_t bytes);

/* Room for the signed form of a call whose endpoint is known. Nothing where its route is not signed. False without memory. */
bool signer_start(struct worker *w, struct call *c);

/* What curl is told at the start: the lines behind the call's own, and the body. */
struct curl_slist *signer_headers(
    const struct call *c); /* those of the provider, where nothing is signed */
void signer_body(const struct call *c, struct http_transfer *t);

/* Sign, now. Caller: the send gate. False: it cannot be sent; `*waits`: before its session is there again. */
bool signer_sign(struct worker *w, struct call *c, uint64_t nonce_utc_ns, bool *waits);

/* Wipe and free. */
void signer_end(struct call *c);

#endif
