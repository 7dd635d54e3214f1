/*
 * weir_share.h: who of those that use one limit gets how much of it. Parts for clients (shares) and for classes (floors).
 *
 * A limit has up to WEIR_SHARES_MAX entries; each keeps a part of the limit for its members: the clients of a name or a uid (a share), or all calls of
 * one class (a floor). What an entry's members have not used of their part is its claim; others leave claims free, and the claims of the idle are
 * lent. Shares only say who may take what the limit has. They never make it more: the limit words are charged by their own rule, before.
 *
 * Rule, for a call of c units by class p. R(p) is the headroom kept against p, F the claims of floors of other classes, S the claims of other shares:
 *   critical          only the limit counts
 *   within its floor  used + c + R(high) <= N: the headroom of high, medium and low does not take the floor; critical's does
 *   within its share  used + c <= A, A = N - max(R(p), R(high) + F)
 *   otherwise         used + c + S <= A
 *
 * Window. An entry's word is {window:32 | units:32} by parity, U its units in the window, P = part * A (floor: part * N). Its claim is
 * min(P - U, P * left / W): released linearly as the window ends. Whoever has used less than its part evenly spread has lent the difference.
 * Theorem (share). If nobody calls with another class's headroom, a client whose U never falls behind P * elapsed / W is never refused within P while the limit's
 * own rule lets its class pass. Proof: used + sum of claims <= A holds at the window's start, since the parts are at most 1. A call within its share
 * moves c from a claim to used; any other call is granted only where the sum fits afterwards; time only releases.
 * Theorem (floor, bounded wait). A class whose floor holds F units waits for c <= F units at most W * c / F: its claim is below c only in the last c / F of a
 * window, and whole again when the next one begins. Only critical calls, and others outside weir, can take it.
 *
 * Bucket. An entry's word is a TAT of its own, for a bucket of the part's rate: one unit costs T / part, its depth D is the least A that there can be. While TAT > now the claim is
 * part * (D - (TAT - now)); once the entry is idle (TAT <= now) it falls again, as long as it rose, to `share_min` (the dearest cost), so that
 * who comes back gets its first call at once and its rate from then on. Theorem: calls of c units that come no faster than c * T / part are never
 * refused for shares. Proof: used falls by t in time t, the claims rise by at most t together.
 *
 * An entry's word is charged after the permit's limits were, outside its passes: a writer that dies between leaves fairness one call off, never the limit. So
 * does a race of two that were judged by the same words. A concurrent reader sees whole words. Damage here costs fairness until the window ends.
 *
 * Who is whom: a trader says its own name. Shares are between strategies that cooperate; a caller's is what the broker knows of it.
 */
#ifndef WEIR_SHARE_H
#define WEIR_SHARE_H

#include "weir_limit.h"

/* Cells per entry and limit word. */
#define WEIR_SHARE_CELLS 2U

/* One call, for one limit. */
struct weir_share_ask {
    const struct weir_shm_limit_row *row;
    const struct weir_shm_limit_word *word;
    uint64_t *cell;
    const struct weir_shm_foreign *foreign;
    uint32_t units;
    uint32_t priority;
    uint32_t member; /* the caller's entry + 1; 0: it has none */
};

/*
 * May this call be made as far as shares go? YES: plan it as class `*judged` (its own, or high within its floor). NO: `*earliest_ns` is when it could pass
 * if nobody came first; UINT64_MAX: not while others have claims. AGAIN: the words are ahead of the clock reading. Writes nothing.
 */
enum weir_limit_verdict weir_share_judge(const struct weir_share_ask *ask,
                                         const struct weir_limit_time *time, unsigned *judged,
                                         uint64_t *earliest_ns);

/* Count the charge for the entries it belongs to. `at->cell` as for weir_limit_give; so in the next two. */
void weir_share_take(const struct weir_limit_place *at, const struct weir_charge *charge,
                     uint32_t member, uint32_t priority, uint64_t now_ns);

/* The charge was corrected: `units` less, of a grant made at `granted_at_ns`. */
void weir_share_give(const struct weir_limit_place *at, const struct weir_charge *charge,
                     uint32_t units, uint32_t member, uint32_t priority, uint64_t granted_at_ns,
                     uint64_t now_ns);

/* Bucket: the time of which shares are parts: what the lowest class may use, and what floors leave. Floors are parts of what class high may use. */
uint64_t weir_share_depth_ns(const struct weir_shm_limit_row *row,
                             const struct weir_shm_share_row *entry, uint32_t cnt);

/* The entry of `row` + 1 that a client of this name and uid has: the first that fits; 0: none. */
uint32_t weir_share_member(const struct weir_shm_limit_row *row, const char *name, uint32_t uid);

static inline const struct weir_shm_share_row *weir_share_rows(
    const struct weir_shm_limit_row *limit)
{
    return (const struct weir_shm_share_row *)(const void *)((const char *)limit +
                                                             limit->share_off_bytes);
}

#endif
