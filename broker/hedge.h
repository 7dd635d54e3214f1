/*
 * hedge.h: the same call a second time, beside the first, where its answer is late.
 *
 * A few calls take much longer than the rest, for reasons of one server's own. Whoever asks another one once a call has taken longer than nearly all do, and takes the answer that
 * comes first, cuts the tail off for some hundredths of load (J. Dean, L. A. Barroso, "The Tail at Scale", 2013; Finagle's BackupRequestFilter; gRPC A6).
 *
 * Which     calls of clients to routes with `hedge` (config: idempotent; GET and HEAD that are not signed, unless the route says so). Once for a call, whatever its retries do.
 *           Never an order, never the worker's own call.
 * When      it was written, and no byte of an answer came for `after` (hedge_rule.h); there is time for an answer before its deadline.
 * Where     to an endpoint that the call has not tried, in good state and with room. Never as a breaker's probe, never while the provider is paused or being reopened.
 * How many  `budget` of the calls (hedge_rule.h).
 * Beyond    that budget: a call that it does not pay for is stuck. Once its endpoint is suspect (nothing heard of it for 4 times its peak EWMA, 50 ms at least), it has a second
 *           one like any other, at the call's own class: it is as lost as if its connection had broken, and goes elsewhere as it would then. Looked at every 10 ms until somebody has
 *           room and a permit is free. All calls that a dead server holds leave it so; an endpoint that answers anybody is not suspect, so mere slowness costs `budget` and no more.
 * At what   a permit of its own, of the call's class, but of low at most: where headroom is configured a hedge never takes what a first attempt of a higher class could have.
 *           None free now: no hedge. It never waits, and, but for stuck ones, is never asked about again.
 *
 * The hedge is a call of the worker's without a slot (`hedge_of`), with its own permit, transfer and room. Who ends how:
 *
 *   the first good answer    wins. The other one is stopped, and settled as what it was: sent, hence charged; its answer, if it comes, is nobody's
 *   no good answer (408, 500, 502, 503, 504, a stop, a connection that broke) while the other one is on its way: it is settled, and the other one is waited for (CALL_HEDGED)
 *   ... and the other one is over already, or was not made: the call goes on as with one attempt: another endpoint, a retry, or its end
 *   the call itself ends (deadline, cancel, a drain)      the hedge with it
 *
 * So there is one outcome, by the one way out (call_end). A stopped request's connection is closed. Who is stopped late by its endpoint's own standards counts as that
 * endpoint's timeout: hedges must not hide a dead server from its breaker.
 *
 * The worker dies: the ledger says in the call's own shadow how often it was sent and how many of that are on the wire (`on_wire`); there is no second entry, so nothing can be
 * doubled. The next worker holds what both may still be charged, and makes the call once, anew.
 */
#ifndef WEIR_BROKER_HEDGE_H
#define WEIR_BROKER_HEDGE_H

#include <stdbool.h>

struct worker;
struct call;

/* Room for the routes that are hedged. Behind the routes. False without memory. */
bool hedge_open(struct worker *w);

/* The gate let `c` pass, its own attempt or a hedge. */
void hedge_sent(struct worker *w, struct call *c);
/* The first byte of its answer came. */
void hedge_heard(struct worker *w, struct call *c);
/* Its attempt is over, or will be stopped now: it waits for nothing. */
void hedge_over(struct worker *w, struct call *c);
/* A client's call ended: it pays into the budget. */
void hedge_paid(struct worker *w, const struct call *c);

/* Send those that are late. Caller: each turn, but while quiescing. */
void hedge_turn(struct worker *w);

/*
 * An attempt has ended, and its endpoint was told. True: the other one of its call is waited for. False: `*at` is the call that goes on, with what its last
 * attempt brought. Caller: on_done.
 */
bool hedge_ended(struct worker *w, struct call **at);

/* Stop the hedge of `c`, if there is one. */
void hedge_drop(struct worker *w, struct call *c);
/* `hedge` was not written and is given up: its call goes on without it. */
void hedge_back(struct worker *w, struct call *hedge);

#endif
