/*
 * pause.h: who stops a provider, and who lets it go again. Part of the worker.
 *
 * One entry for all that hear "stop": pause_throttled. It counts the step (backoff.h), puts the pause on the board, and raises the generation in
 * permits, so that what is left of the burst is known for what it is. Traders put their pause in permits themselves (shm/weir_hold.h), before the
 * worker knows; pause_turn finds it within 10 ms, counts it as one step, and puts it on the board, at most 60 s long: from then on no trader can
 * take it away.
 *
 *   line      a provider's, or that of a scope value that is held apart (weir_hold.h): each is paused by itself, operators pause and resume all of a provider
 *   state     struct weir_shm_backoff in the ledger; survives the worker; pause_open puts the board right from it
 *   clearing  pause_turn, once a pause is over and its ramp too. Until then permits look at both words and at the ramp; without a worker they go
 *             on doing so, and nothing is held up
 */
#ifndef WEIR_BROKER_PAUSE_H
#define WEIR_BROKER_PAUSE_H

#include "broker/backoff.h"
#include "shm/weir_hold.h"

struct worker;
struct call;

/* "Stop", as heard from an exchange. Times are weir time. */
struct throttle_heard {
    enum weir_pause_cause cause; /* THROTTLED or BANNED */
    uint64_t left_ns; /* when the call was written, or its permit granted where that is not known */
    uint64_t for_ns;  /* Retry-After as a duration, or throttle.ban's; 0 = none */
    uint64_t until_ns; /* "banned until"; 0 = none. The later of both counts */
    uint32_t status;   /* for the log; 0 = it was not the status that said so */
    bool again;        /* the body of an answer that was heard already: not counted anew */
};

/*
 * The exchange told this call of the worker's to stop. Everybody pauses before the next permit of anyone; where throttle.scope holds scope values apart, of anyone with
 * the value of this call.
 */
void pause_throttled(struct worker *w, const struct call *c, const struct throttle_heard *heard);

/* 418 and 403 are bans, all else that is configured means "too many". */
enum weir_pause_cause pause_cause_of(uint32_t status);

/* At start: what a worker before us, or the broker before this one, left in the ledger holds on. */
void pause_open(struct worker *w);

/* Every 10 ms: what traders reported, what is over, what monitors see. */
void pause_turn(struct worker *w);

/*
 * What an operator decides (`weir ctl`). pause: at least until then, UINT64_MAX = until resume; a longer pause stays. resume: ends whatever pause there is, bans
 * too, at once and without a probe; what left before says nothing any more; the backoff keeps its level.
 */
void pause_operator(struct worker *w, uint32_t provider, uint64_t until_ns);
void pause_resume(struct worker *w, uint32_t provider);

#endif
