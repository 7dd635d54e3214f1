/*
 * weir_bucket.h: limit kind token_bucket, as GCRA on one word.
 *
 * The word is the theoretical arrival time TAT in ns of weir time: the instant at which the bucket is full again. Taking n units
 * moves it:  TAT' = max(now, TAT) + n*T,  allowed if  TAT' - now <= tolerance,  tolerance = B*T - headroom - J.
 *
 * Theorem. In any interval of length t the grants are at most B + t/T. Proof sketch: TAT never falls behind now at a grant, so the
 * units granted in [a, b] times T are at most TAT(b) - max(a, TAT(a)) <= b + B*T - a. With J, the slack and spread of the delays,
 * taken from the tolerance, the same holds for the arrivals at the server: an interval t of arrivals holds grants of an interval t + J.
 * Calls that are counted later than J: weir_late.h.
 * T is rounded up and widened by WEIR_BUCKET_DRIFT_PPM, because the server's clock may run slower than ours.
 *
 * Giving back n units of a grant made at g:  TAT' = TAT - max(0, n*T - (now - g)).  What time gave back is not given back again; plain
 * TAT -= n*T broke the bound in 15 904 of 20 000 random schedules (research/pitfalls.md 3). Once per grant.
 *
 * Why, and with which clock reading. Invariant: for every a, if units of grants read at a or later are kept, they times T are at most TAT - a.
 *   Grant of n read at r. a <= r: the left side grows by n*T, TAT by as much at least, and it is r + n*T at least. a > r: TAT does not fall.
 *   Refund of n read at g, c = n*T - (now - g) > 0. a <= g: the left side falls by n*T >= c. g < a <= now: the n were not among those kept from a on, so these times T
 *   are at most TAT - g - n*T = TAT - c - now <= TAT - c - a. a > now: nothing is kept, if `now` is no older than the reading of any grant in the word.
 *   Bound: of the grants in [a, b] look at the one charged last: TAT - its reading <= B*T, so all times T are at most B*T + b - a.
 * So a refund reads the clock behind the word, and its CAS must fail if anybody charged since. To compare TAT does not do: charges and refunds of others may bring
 * the very same value back. But only refunds, and the worker's repair of a damaged word, move TAT backwards. Each counts itself in word[1], by one CAS over both
 * words: where the count (read before TAT) and TAT are as they were, nothing came in between. Grants need none of it: all of the above holds for whatever reading they took.
 *
 * Memory. A bucket that takes more than 10 min to drain is remembered on disk ahead of its grants: a grant also needs TAT' <= the ceiling on the board, which is
 * published once the journal that holds it was fsynced. Who restores begins at TAT := ceiling, never below what any grant made of it: TAT only falls by what is given back,
 * and by so much less, for the ceiling does not. It errs by the step that ceilings are raised by. While nobody asks the ceiling is moved on with the clock.
 *
 * A concurrent reader sees one whole word. A writer that dies before its CAS changed nothing; after it, n units are spent.
 * Legal range: TAT <= now + 2*B*T. Grants stop at B*T; a surcharge (weir_limit_add) goes in whether it fits or not. Were it cut off at B*T, what others
 * give back later would make room that the server does not have; they can give back B*T at most. Beyond the range the word is damaged.
 *
 * Source: ITU-T I.371 (GCRA); ATM Forum TM 4.0.
 */
#ifndef WEIR_BUCKET_H
#define WEIR_BUCKET_H

#include "weir_base.h"

/*
 * The server's clock and ours may run apart by so much; without the allowance a bucket that is always empty would overrun the server's by a second's worth in
 * an hour. 200 ppm are promised (issue 3, "How it is shown"), which is 200.04 of our time where the server is the slow one; the rest is for rounding.
 */
#define WEIR_BUCKET_DRIFT_PPM 210U

/* The time one unit takes to come back: window/quota, widened by the drift allowance, rounded up. */
static inline uint64_t weir_bucket_unit_ns(uint64_t window_ns, uint32_t quota)
{
    unsigned __int128 wide = (unsigned __int128)window_ns * (1000000U + WEIR_BUCKET_DRIFT_PPM);
    unsigned __int128 per = (unsigned __int128)quota * 1000000U;
    return (uint64_t)((wide + per - 1) / per);
}

/*
 * Would `n_ns` (= n*T) pass at `now_ns`? On yes `*next` is the new word; on no `*earliest_ns` is when it would, if nobody came first
 * (UINT64_MAX: never, the cost is above the tolerance).
 */
static inline bool weir_bucket_test(uint64_t tat, uint64_t now_ns, uint64_t n_ns,
                                    uint64_t tolerance_ns, uint64_t *next, uint64_t *earliest_ns)
{
    uint64_t start = weir_max_u64(tat, now_ns);
    /* No sum that could wrap: a word from beyond the legal range is refused here like a full one. */
    if (WEIR_LIKELY(n_ns <= tolerance_ns) && WEIR_LIKELY(start - now_ns <= tolerance_ns - n_ns)) {
        *next = start + n_ns;
        return true;
    }
    *earliest_ns = n_ns > tolerance_ns ? UINT64_MAX : start - (tolerance_ns - n_ns);
    return false;
}

/* The word after giving back `n_ns` granted at `granted_at_ns`. `now_ns` is read after `tat` was: by an older reading too much is given back. */
static inline uint64_t weir_bucket_refund(uint64_t tat, uint64_t now_ns, uint64_t n_ns,
                                          uint64_t granted_at_ns)
{
    uint64_t elapsed = now_ns > granted_at_ns ? now_ns - granted_at_ns : 0;
    uint64_t credit = n_ns > elapsed ? n_ns - elapsed : 0;
    return tat > credit ? tat - credit : 0;
}

/* The furthest that a surcharge may overdraw a bucket of `full_ns` = B*T. */
static inline uint64_t weir_bucket_most(uint64_t now_ns, uint64_t full_ns)
{
    return now_ns + 2 * full_ns;
}

/* How far ahead of now a word may legally be. `full_ns` = B*T; one ms of slack for clocks that are read on two cores. */
static inline uint64_t weir_bucket_reach(uint64_t full_ns)
{
    return 2 * full_ns + WEIR_NS_PER_MS;
}

/* Is the word in its legal range? */
static inline bool weir_bucket_legal(uint64_t tat, uint64_t now_ns, uint64_t full_ns)
{
    return tat <= now_ns + weir_bucket_reach(full_ns);
}

/* Units that class with `tolerance_ns` could take now. */
static inline uint32_t weir_bucket_left(uint64_t tat, uint64_t now_ns, uint64_t unit_ns,
                                        uint64_t tolerance_ns)
{
    uint64_t used = tat > now_ns ? tat - now_ns : 0;
    uint64_t left = used < tolerance_ns ? (tolerance_ns - used) / unit_ns : 0;
    return left > UINT32_MAX ? UINT32_MAX : (uint32_t)left;
}

#endif
