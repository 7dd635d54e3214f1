/*
 * retry.h: trying a call again, where that is safe, cheap enough and in time.
 *
 * Safe (RFC 9110, 9.2.2): what never left this machine, whatever its method; and what did, if it is idempotent and got no answer, or one by which the server says
 * that it failed or is busy (408, 500, 502, 503, 504, or a stop that is no ban). A ban and any other answer are the client's to judge. A call that is not
 * idempotent and may have been written is never sent again.
 *
 * When: after the longer of what the answer names (Retry-After: RFC 9110, 10.2.3) and base * factor^n give or take the jitter (broker/backoff.h), if that leaves
 * the deadline time for an answer. Each attempt takes a permit of its own, so a pause holds it up and every limit counts it.
 *
 * How many: `attempts` in all for one call, and no more than a budget for all calls of a provider. Each call that ends puts `budget` of a retry aside, up to
 * RETRY_RESERVE; each retry takes a whole one. So of any n calls in a row at most budget * n + RETRY_RESERVE are tried again, and when everything fails at
 * once load grows by the budget only (Finagle's retry budget; gRPC A6).
 *
 * What a client gets: the answer of the last attempt that got one, if nothing was written since; a retry that finds no permit in time does not make a 503 a refusal.
 * The worker dies: what waits here is claimed, or idempotent and sent, and the next worker makes it at once; the count of attempts begins anew, the deadline does not.
 */
#ifndef WEIR_BROKER_RETRY_H
#define WEIR_BROKER_RETRY_H

#include <stdbool.h>

struct worker;
struct call;

/* What became of the attempt that ended. */
enum retry_why {
    RETRY_UNSENT = 1,   /* nothing was written, at any endpoint */
    RETRY_BROKEN = 2,   /* written, and the connection ended without an answer */
    RETRY_ANSWERED = 3, /* an answer stands in the call */
};

/*
 * An attempt of `c` has ended. True: it will be tried again, and is nobody's but retry_turn's until then; its permit is settled, an answer kept. False: end it.
 * Caller: whoever would end it otherwise.
 */
bool retry_later(struct worker *w, struct call *c, enum retry_why why);

/* The answer that came stays in the room until another attempt is written, and is delivered if nothing better follows. */
void retry_answer_keep(struct call *c);

/* Back to the queues with those whose time has come. Caller: each turn. */
void retry_turn(struct worker *w);

#endif
