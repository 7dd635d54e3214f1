/*
 * sign_in.h: sessions: what calls bear that weir has to fetch first, and who fetches it.
 *
 *   oauth2   an access token in "Authorization: Bearer", fetched with a refresh token that may be good for one use
 *   cookie   a cookie, and a crumb in the query that goes with it
 *
 * The worker is the only owner. There is one sign-in under way for a session, whoever wants it; it is begun ahead of the end of the one in force, and after an answer that
 * said that the token was not taken. Its calls go by configured routes and take permits like all others, as class critical.
 *
 * A refresh token goes through these steps. Each is on the disk, fsynced, before the next one begins (sign_in_rule.h, sign_in_file.h):
 *
 *   REST ---- it is time ----> INTENT: SPENDING is written ---> CALL: permit, connection, the gate (place.sent), the wire
 *     ^                                                          | 2xx with a token: KEEP: the new one is written as HELD; only then
 *     |                                                          |   its access token is used
 *     |                                                          | not sent, 429: UNDO: HELD is written again, tried later
 *     |                                                          | 400, 401, 403: KEEP: REFUSED is written. Nothing is tried again: a person has to give a token
 *     +----------------------------------------------------------+ all else: it may be spent. LOST, or sent again where second_use allows it, and says so
 *
 * So whoever dies, and the machine too, leaves a record that says what may be true. A worker that dies in INTENT, or in CALL before the gate, leaves SPENDING and a `place` that says
 * that nothing left: the next one goes on as if nothing had been. A worker that dies behind the gate leaves SPENDING alone: lost, by name.
 *
 * Calls that need a session wait in their queue while one is fetched, as for a permit, within their deadline; where none is to come in time they end as REFUSED with
 * WEIR_REASON_SIGN_IN.
 *
 * Tokens, cookies and answers lie in memory for keys (secret.h); libcurl's buffers have them while a call is made.
 */
#ifndef WEIR_BROKER_SIGN_IN_H
#define WEIR_BROKER_SIGN_IN_H

#include "broker/worker.h"

struct session;

/* Memory, and what lies on the disk. False with `text`. Caller: the worker before the cage, before signer_open, once. */
bool sign_in_open(struct worker *w, char *text, size_t text_bytes);

/* Routes, places on the board, the first sign-ins. Caller: the worker, once the rest is open. */
void sign_in_start(struct worker *w);

/* The session of a key; NULL: it has none. */
struct session *sign_in_of(uint32_t provider, size_t key);

void sign_in_turn(struct worker *w); /* each turn: what is due */
void sign_in_event(struct worker *w, const struct loop_event *e);

/* The worker is to make way: what was not sent is taken back, and nothing is begun any more. */
void sign_in_quiesce(struct worker *w);
/* Nobody takes over: as before. */
void sign_in_go_on(struct worker *w);
/* Is a refresh token under way, or the write of one? The next worker must not meet it. A cookie is fetched anew by each worker: nobody waits for it. */
bool sign_in_is_busy(const struct worker *w);

/* ---------------------------------------------------------------------------------------------- calls that need a session */

/* Is there nothing to send it with? Then c->denial says why, and until when. Caller: dispatch.c, before a permit is taken */
bool sign_in_waits(struct worker *w, struct call *c);

/* May it go to this endpoint? No, where the session names another one. Caller: choose.c */
bool sign_in_leads(const struct worker *w, const struct call *c, const struct endpoint *e);

/* What is sent with a call, at its gate. */
struct sign_in_proof {
    const char *
        line; /* header line, in memory that stays as long as the session; NULL: made by sign_in_cookies_for */
    const char *crumb;
    uint64_t generation;
};
/* False: there is nothing any more; the call has to wait again. */
bool sign_in_proof(struct worker *w, const struct session *s, struct sign_in_proof *proof);
/* The Cookie line for this endpoint. 0: none of the cookies is for it. */
size_t sign_in_cookies_for(const struct session *s, const struct endpoint *e, char *to,
                           size_t cap_bytes);

/*
 * An answer has come. True: it said that the token was not taken, and the call goes back to its queue, once; the answer is kept, and is the call's end if it comes to nothing.
 * Caller: exchange.c
 */
bool sign_in_again(struct worker *w, struct call *c);

/* ---------------------------------------------------------------------------------------------- the calls that sign in */

/* What the call of a session bears beside its body; texts in memory for keys. */
struct sign_in_request {
    const char *line;  /* NULL: none */
    const char *query; /* NULL: none */
};
struct sign_in_request sign_in_request(const struct call *c);

/* It is about to be written. Caller: the send gate */
void sign_in_sent(struct worker *w, struct call *c);

#endif
