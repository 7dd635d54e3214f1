/*
 * rolling.h: what others use of one limit word whose count falls all the time (sliding_window, token_bucket), from the counts that the provider reports.
 *
 * feedback.h does it for fixed windows; the words are the same, with everything in units:
 *
 *   U         what a reply reported as used at the instant s at which its call was counted: no earlier than it was sent (t0), no later than its answer was here (t1)
 *   ours      what the limit word charges for our calls at an instant g: brokered and traders' together
 *   over      the part of it that is surely not counted after s: granted before a = t0 - J (those calls are over, or never left), the call of U
 *             itself, and brokered calls whose answers had come by t0
 *   proven    U - (all of ours that may have been counted by s): what we cannot have used ourselves
 *   possible  U - over: what others may have used at most. Never below `proven`
 *
 * The published usage is `proven` until others have been proven at all; from then on, for ROLLING_SHARED windows, it is `possible`. So whoever is alone
 * pays nothing for calls in flight, and whoever is not never exceeds it with what the server has already said:
 *
 * Theorem, sliding_window. Let grants at g keep ours(g) + possible(g) <= N, where ours(g) are the units stamped in the span S = W + J before g, and `over` counts
 * only those of them that are still in it: possible(g) falls when a reply comes, and rises as the calls of `over` age out of the span. Then U plus all of ours that is
 * counted after s is at most N, until U itself has aged out (t1 + W). Proof: ours(g) + possible(g) = U + (ours(g) - over(g)), and whatever of ours may be counted
 * after s and stands in one window with a call of g is in ours(g) and not in over(g). What U consists of is never asked. So it holds for servers that count
 * a rolling window, and for those whose windows begin anywhere and end at once, and it does not matter whether a trader's permit was used at all.
 *
 * It has a price: when the calls of `over` have aged out of the span they have left U as well, if the server's window rolls; but U stands until the next reply. Where the
 * configuration says that the window rolls (`rolls`), brokered calls that are certainly in U, sent after t1 - W and answered by t0, stay taken off: with them U is at most U less
 * what of them has left the window, and that is all that their leaving the span gives to others. Traders' calls do not, as nobody knows whether they were made.
 *
 * Theorem, token_bucket (a counter c that decays by 1/T; o is ours, by TAT). Let grants at g keep o(g) + possible <= B, with
 *   possible = U - o(a) - (granted since a and over) + (t1 - a)/T.
 * Then c(g) <= B. Proof: c(g) is the larger of U + X(s, g] - (g - s)/T and of what our calls alone make, X being what of ours is counted after s. X is at most
 * what was granted since a less what of it is over, and o(g) >= o(a) + (granted since a) + i/T - (g - a)/T: TAT loses only what is given back, which is taken off o(a), and i is the time
 * since a that our own bucket stood empty: nothing of ours drained then, and the server's went on falling. Subtract. So i is taken off `possible`: what of it was before the report at once,
 * the rest as it passes. Without the former one call of ours to an idle exchange would look like (J + round trip)/T units of others.
 *
 * Of i is known, at each look, the time from TAT (or from the last look) to now: nobody was granted anything after TAT. A trader who read the clock, slept, and charges behind a look takes as
 * many units once too often, as TAT begins at its reading and the look took that time for idle. It has J/2 to use its permit, and the tolerance of every grant is lowered by J, which no line
 * above needs.
 *
 * What others send after the newest reply nobody knows. `expect: adaptive` keeps free the most that a report in one of the last ROLLING_HISTORY windows was worth
 * when it came (token_bucket: the most by which it rose at once).
 *
 * Order. Of two replies whose spans [t0, t1] do not overlap the later one counts: it has seen whatever the earlier one saw and still matters. The earlier one is late,
 * and is dropped. Where they overlap nobody can tell: both stand, and the larger one counts. So late and reordered replies are harmless.
 *
 * None left. A provider that says how much is left says 0 as well where more was used than there is: by others, and by ours that they left no room for. So U may be
 * anything from the quota on (`least`), and less `over` it says too little. Such a report is added to what is known; it drops no report that told a number, and no such
 * report is late for its sake. What was known before it holds on, by the theorem of that report. What others used beyond it is told by the next number.
 *
 * How it ages. A report of a sliding window is over at t1 + W, widened by the drift; of a bucket when our bucket has been empty for as long as it takes to
 * drain. Nothing is refused for longer for its sake. `over` is worked out anew at each look of the worker (10 ms), for an instant a little ahead: while the worker is away for
 * longer, possible(g) does not rise, and as many units as age out meanwhile may be counted once too often.
 *
 * Claims: what a trader says that its own reply told. They stand beside the worker's own reports and only ever add to them: an own report drops older claims, a
 * later claim drops an older claim, and no claim drops an own report. They end after ROLLING_CLAIM_NS at the latest, and prove others only as long.
 *
 * Pure: no atomics, no I/O, one struct per limit word. Caller: the worker (reply_rolling.c). The next worker begins with what the words on the board say.
 * Sources: research/rate_limits.md 3.5; Bybit v5 X-Bapi-Limit-Status, Bitget x-mbx-used-remain-limit, HTX ratelimit-remaining, Finnhub and Questrade
 * X-RateLimit-Remaining (section 2.0).
 */
#ifndef WEIR_BROKER_ROLLING_H
#define WEIR_BROKER_ROLLING_H

#include "shm/weir_base.h"

#include <stdbool.h>
#include <stdint.h>

#define ROLLING_POINTS   4U
#define ROLLING_ANSWERS  640U /* more than the grains of a window */
#define ROLLING_GRAINS   512U
#define ROLLING_PAST     16U
#define ROLLING_HISTORY  4U
#define ROLLING_SHARED   16U
#define ROLLING_CLAIM_NS (60 * WEIR_NS_PER_S)
/* A bucket's word on the board outlives its worker by so much: the longest that a broken worker is waited for. */
#define ROLLING_KEEP_NS (60 * WEIR_NS_PER_S)

/* What is counted, and how. */
struct rolling_rule {
    uint32_t quota;     /* N; bucket: B */
    uint64_t unit_ns;   /* bucket: T; 0: a sliding window */
    uint64_t window_ns; /* W, widened by the drift; bucket: B*T */
    uint64_t span_ns;   /* sliding: S */
    uint64_t part_ns;   /* sliding: units are stamped no finer than this; 0: exactly */
    uint64_t step_ns;   /* bucket: the server decays in such steps */
    bool rolls;         /* sliding: the server's window surely rolls */
    bool expect;
};

/* Units of ours stamped in [from_ns, to_ns), surely: only of a sliding window. */
typedef uint64_t rolling_stamped(const void *arg, uint64_t from_ns, uint64_t to_ns);

/* One count that still matters. */
struct rolling_point {
    uint64_t sent_ns, seen_ns; /* t0, t1 */
    uint64_t until_ns;         /* 0: none */
    uint64_t since_ns;         /* a */
    uint32_t used;             /* U */
    uint64_t own;              /* units of the call itself */
    uint64_t stamp_ns;         /* ... and of what instant */
    uint64_t proven;           /* bucket: ns of units, both */
    uint64_t possible;         /* bucket only */
    bool claim;
    bool least; /* U or more */
    bool fresh; /* nothing was published since it came */
};

struct rolling {
    struct rolling_rule rule;
    struct rolling_point point[2 * ROLLING_POINTS]; /* own reports, then claims */
    /* brokered calls whose answers are here, those of about the same time in one */
    struct rolling_answers {
        uint64_t stamp_ns, stamp_last_ns; /* of their grants */
        uint64_t sent_ns;                 /* of the first that was sent */
        uint64_t done_ns;                 /* of the last answer */
        uint64_t units;
    } answers[ROLLING_ANSWERS];
    uint32_t answers_cnt;
    /* bucket: what was charged at one look */
    struct {
        uint64_t at_ns, full_ns; /* full_ns: TAT, no earlier than at_ns */
        uint64_t given_ns;       /* given back, ever, at the look before */
        uint64_t idle_ns;        /* empty, ever, at this look */
    } past[ROLLING_PAST];
    uint32_t past_next;
    uint64_t looked_ns;
    uint64_t given_ns; /* at the last look, both */
    uint64_t idle_ns;
    uint64_t shared_until_ns;
    uint64_t claimed_until_ns; /* others are proven by a claim until then */
    /* the most in each of the last windows, by window mod ROLLING_HISTORY; bucket: ns */
    struct {
        uint64_t window, most;
    } history[ROLLING_HISTORY];
};

/* A reply's count. */
struct rolling_report {
    uint64_t sent_ns, seen_ns;
    uint64_t jitter_ns; /* J */
    uint32_t used;      /* U */
    uint32_t units;    /* of the call itself, while they are charged as they were granted; else 0 */
    uint64_t stamp_ns; /* ... and of what instant */
    uint64_t
        most; /* sliding: units of ours that may have been counted by s; UINT64_MAX: not known */
    uint64_t
        late_ns; /* bucket: ours that may be counted by s though TAT has drained of them (weir_late.h) */
    bool claim;
    bool least; /* none is left: U or more was used */
};

void rolling_init(struct rolling *r, const struct rolling_rule *rule);

/* A worker before us had published `units` until `until_ns`: others are proven. Caller: once, at the start, for what the board holds. */
void rolling_restore(struct rolling *r, uint64_t now_ns, uint64_t until_ns, uint32_t units);

/* The answer of a brokered call that took `units` at `stamp_ns` and was sent at `sent_ns` came at `done_ns`. Only where they stay charged as they are. */
void rolling_answered(struct rolling *r, uint64_t stamp_ns, uint64_t sent_ns, uint64_t done_ns,
                      uint32_t units);

/*
 * Bucket: our own charges are drained at `tat_ns`, which is over where it stands empty, and `given_ns` of units were ever given back. `now_ns` is read before both. Caller: every
 * 10 ms or so, and before each report. `keep_ns`: how far back looks are needed, J and a round trip.
 */
void rolling_look(struct rolling *r, uint64_t now_ns, uint64_t tat_ns, uint64_t given_ns,
                  uint64_t keep_ns);

/* Take one report. Returns false where a later one is here already. */
bool rolling_report(struct rolling *r, const struct rolling_report *report, uint64_t now_ns);

/* Are others proven at `now_ns`, by our own reports or by claims? */
bool rolling_shared(const struct rolling *r, uint64_t now_ns);

/* What is to be published. */
struct rolling_foreign {
    uint32_t units;    /* 0..quota */
    uint32_t claimed;  /* of them by claims alone */
    uint64_t until_ns; /* 0 where units is */
};

/*
 * As of `now_ns`, for grants until `ahead_ns` later. `stamped` is asked in sliding windows only. Notes what new reports are worth, for `expect`.
 */
struct rolling_foreign rolling_foreign(struct rolling *r, uint64_t now_ns, uint64_t ahead_ns,
                                       rolling_stamped *stamped, const void *arg);

#endif
