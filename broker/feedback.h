/*
 * feedback.h: what others use of one limit word, from the counts that the provider reports.
 *
 * For one window k of the server's clock, with everything in units:
 *
 *   U         the most that any reply reported as used. It includes the call that it answers
 *   charged   what the limit word holds for k: our charges, brokered calls and traders' together
 *   brokered  the part of it that the worker charged, less what it gave back
 *   answered  the part of `brokered` whose own replies, with a count, have come: counted in k, and not after U. (A counter that only grows puts its
 *             replies in order: the one with the highest count was counted last. So late and reordered replies need no time stamps.)
 *   over      traders' charges that were older than J when the call of U was sent: those calls are over, or never left (weir_window.h)
 *
 *   proven    max over replies of U - (charged by then): what we cannot have used ourselves. Never falls within the window
 *   possible  U - answered - over: what others may have used at most. Falls when what was in flight is answered
 *
 * The published usage is `proven` until others have been proven at all; from then on, for SHARED_WINDOWS windows, it is max(proven, possible).
 * So whoever is alone on a limit pays nothing for calls in flight, and whoever is not never exceeds it with what the server has already said:
 *
 * Theorem. At a reply that reports U, charged + possible = U + (charged - answered - over) = U + what of ours may still be counted after it. Grants
 * keep charged + published <= N, so U plus all that may yet come from us stays <= N. What others send after the newest reply nobody knows:
 * for that, `expect: adaptive` keeps free what they used in the last FEEDBACK_HISTORY windows, whether they were reported or not: whoever keeps all of it free makes no call that could
 * report how little they use now.
 *
 * None left. A provider that says how much is left says 0 as well where more was used than there is. Such a U is the least that was used (`least`), and less what was answered
 * it says too little. It has an account of its own, with its own `answered` and `over`: what it makes possible is added to what the numbers say, and changes nothing of it.
 *
 * Only what lies wholly in one window is believed: the caller says which window a call was counted in, and does not report at all where that is
 * ambiguous. Older windows' reports are dropped. A limit is moved only by reports that name it, in the call's own scope.
 *
 * Pure: no atomics, no I/O, one struct per limit word. Caller: the worker (reply.c). The next worker begins with what the words on the board
 * say. Source: research/rate_limits.md 3.5.
 */
#ifndef WEIR_BROKER_FEEDBACK_H
#define WEIR_BROKER_FEEDBACK_H

#include "shm/weir_base.h"

#include <stdbool.h>
#include <stdint.h>

#define FEEDBACK_PAST           8U
#define FEEDBACK_HISTORY        4 /* windows that `expect` looks back on */
#define FEEDBACK_SHARED_WINDOWS 16
#define FEEDBACK_CLAIM_NS       (60 * WEIR_NS_PER_S)

struct feedback_window {
    uint32_t id;
    bool live;
    bool reported;
    uint32_t most; /* U */
    uint32_t answered;
    uint32_t brokered;
    uint32_t over;
    uint32_t least; /* U of reports that tell only the least; the next two are theirs */
    uint32_t least_answered;
    uint32_t least_over;
    uint32_t traders_peak; /* most that traders were ever seen to have charged */
    uint32_t proven;
    uint32_t claimed; /* as `proven`, by what traders say */
    uint64_t claimed_until_ns;
};

/* What traders had charged at one look. */
struct feedback_past {
    uint64_t at_ns; /* 0: none */
    uint32_t id[2];
    uint32_t traders[2];
};

struct feedback {
    uint32_t quota;
    bool expect;
    bool shared; /* others have been proven; until window `shared_until` */
    uint32_t shared_until;
    struct feedback_window window[2]; /* by parity */
    uint64_t looked_ns;
    struct feedback_past past[FEEDBACK_PAST];
    uint32_t past_next;
    /* what others used in windows that are over; one that nobody reported has no entry */
    struct {
        uint32_t id, units;
    } history[FEEDBACK_HISTORY];
    uint32_t history_cnt;
    bool
        history_moved; /* the timeline was: all of it is of the window before the next one that is looked at */
};

void feedback_init(struct feedback *f, uint32_t quota, bool expect);

/* A worker before us had published `units` for window `id`: they count as proven there, and others as proven from then on. Caller: once, at the start, for what the board holds. */
void feedback_restore(struct feedback *f, uint32_t id, uint32_t units);

/* The timeline was re-aligned: ids mean other windows now. What others were found to use is kept for `expect`. */
void feedback_realigned(struct feedback *f);

/* The worker charged `units` to window `id`, or (`given`) gave such a charge back because the call was not counted there. */
void feedback_charged(struct feedback *f, uint32_t id, uint32_t units, bool given);

/*
 * Look at the limit word: what is charged to windows `id` and `id + 1` at `now_ns`. Caller: every 10 ms or so, and before each report.
 * `keep_ns`: how far back looks are needed, J and a round trip.
 */
void feedback_look(struct feedback *f, uint32_t id, const uint32_t charged[2], uint64_t now_ns,
                   uint64_t keep_ns);

/* A reply's count. */
struct feedback_report {
    uint32_t id;   /* the window in which the call was surely counted */
    uint32_t used; /* U */
    bool least;    /* none is left: U or more was used */
    uint32_t
        units; /* what the call itself took from this word in that window; 0: not known to be counted */
    uint64_t
        settled_ns; /* permits granted before this instant were over when the call was sent: sent - J */
};

/* Take one report. Returns false where it is of an older window. */
bool feedback_report(struct feedback *f, const struct feedback_report *r);

/*
 * A trader says that its own reply told `used` in window `id`: what cannot be ours of it counts as others' usage for FEEDBACK_CLAIM_NS at most, and is not looked back on. It
 * never lowers anything. After a look. Returns false where it is of an older window.
 */
bool feedback_claim(struct feedback *f, uint32_t id, uint32_t used);

/* Of what feedback_foreign says, so much rests on claims alone. */
uint32_t feedback_claimed(const struct feedback *f, uint32_t id);

/* What to publish as foreign usage of window `id`: 0..quota. */
uint32_t feedback_foreign(const struct feedback *f, uint32_t id);

/* What others are expected to use in a window of which nothing is known yet; 0 without `expect`. */
uint32_t feedback_expected(const struct feedback *f, uint32_t id);

#endif
