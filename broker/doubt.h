/*
 * doubt.h: what became of an order that was written and got no answer.
 *
 * Routes with `doubt` say where a call bears its client order id, and by which other route the exchange is asked after it. A call whose attempt ended in doubt (its connection
 * died, curl wanted to write it twice, its deadline passed, a status of `unsure`, its worker died) is not ended then, but waits (CALL_DOUBT) while the worker asks:
 *
 *   the answer bears the id            FOUND: the call ends as DONE with that answer
 *   the answer says there is none      asked less than `settled_after` after the attempt had ended, it may still be on its way: asked again. Later: surely absent
 *       resend: false                  ABSENT
 *       resend: true                   within its deadline it is sent again, once in its life, with the same id; else ABSENT
 *   anything else, or none             asked again
 *   `patience` after the deadline (or after it fell into doubt, where a worker stood still)
 *                                      OUTCOME_UNKNOWN, or the answer of status `unsure`
 *
 * A call that was sent again and got an answer that is no success is asked after once more: the first sending may have been late after all, and then the exchange
 * refuses the second one for its id. So what is delivered is never "refused" for an order that is in the book.
 *
 * A question is a call of the worker's own: idempotent, with a permit of its own route, of the order's class and scope, signed for its account, charged to the share of
 * the order's client. No permit is held by the call that waits. The worker alone decides: id and question were taken from the checked copy of the request, and the answer is
 * read in private memory.
 *
 * Who dies: the client - it is asked after to the end all the same, for the log; nothing is sent again for it. The worker - the question whole lies in the ledger since before
 * the first byte was written (weir_shm_doubt), and its successor asks; `settled_after` counts from its start. It sends nothing again: the request lies where its client
 * can write. Killed between absence and the second sending: the successor asks and finds none. Killed behind the gate: it asks, as after the first time.
 * In each case the call ends once, by call_end.
 *
 * Why absence is believed late only, and which exchanges refuse an id twice: docs/http.md, "Orders in doubt".
 */
#ifndef WEIR_BROKER_DOUBT_H
#define WEIR_BROKER_DOUBT_H

#include "broker/worker.h"

/* A checked call: has it an id to ask by? Caller: intake.c */
void doubt_admit(struct worker *w, struct call *c);

/* May the send gate let a call pass that was written before and is not idempotent? */
static inline bool doubt_may_resend(const struct call *c)
{
    return c->doubt.may_resend;
}

/* It is about to be written: what would be asked stands in the ledger from here on. Caller: the send gate, before SENDING. */
void doubt_sending(struct worker *w, struct call *c);

/* It was not written after all. `resend`: the passage of the send gate was that of a call that is surely absent, and stays so. Caller: exchange.c */
void doubt_unsent(struct call *c, bool resend);

/*
 * The attempt has ended, and nobody knows what became of it (`result` as an attempt without an answer ends). True: the call is doubt.c's now, its permit is settled. False: it is
 * the caller's to end, as it bears no id.
 */
bool doubt_begin(struct worker *w, struct call *c, int error);

/* An answer came. True: it says nothing of what became of the call, which is doubt.c's now; the answer is kept for its end. */
bool doubt_answered(struct worker *w, struct call *c);

/* After a worker's death: fill a call that was sent from the ledger. False: there is nothing to ask by. Caller: intake_recover, which says doubt_begin then. */
bool doubt_recover(struct worker *w, struct call *c);

/* The call ends: a question under way is nobody's. Caller: call_end, first. */
void doubt_forget(struct call *c);

/* Ask, end, send again: whatever is due. Caller: each turn, not while a successor is awaited. */
void doubt_turn(struct worker *w);

#endif
