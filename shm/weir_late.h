/*
 * weir_late.h: calls that a token bucket's exchange counts later than J after their permits.
 *
 * Theorem. In any interval [s, t] the exchange counts at most B + (t - s)/T units, if a call whose end somebody sees (the broker's own) is counted between its permit
 * and its end, whenever that is, and any other one within J0 of its permit. J0 is the configured max_jitter, which the row's tolerance is lowered by.
 *
 * Rule. Beside what others use, the board's word says what is held for lateness: slow + open units. Every permit has so much less room.
 *   slow    J in force is J0 + slow*T. Where answers take longer than J0, slow grows; before it falls by k, k*T is added to TAT
 *   open    the units of all calls whose permit is J in force old, or older, and which have not ended. When such a call ends, and before its units are let go,
 *           its charge is moved on to the instant e - J: as if it had been granted then (weir_late_move)
 *
 * Proof. Invariant of weir_bucket.h: for every a, the units stamped at a or later (by the clock reading of their grant), times T, are at most TAT - a.
 * Moving n units from g to r = e - J keeps it, TAT rising to max(TAT + min(n*T, r - g), r + n*T). a <= g: the same units, and TAT rises. g < a <= r: all n come to
 * those stamped from a on. Those before were at most (TAT - a)/T, so n*T is enough; they were also at most (TAT - g)/T less n, so r - g >= a - g is enough. What falling slow adds
 * is as good as units stamped at that instant.
 *
 *   Let g be the latest clock reading among the grants of the calls counted in [s, t], and slow and open what its permit saw: TAT - g + open*T <= B*T - J with
 *   J = J0 + slow*T. Let a = min(s, g) - J. Each call counted in [s, t] was granted by g. If it was granted before a and has not ended, it was J old at g, and is in `open`. If it has
 *   ended, it was counted by then, so e >= s; its stamp is e - J(e) or later, J(e) being in force at e. Where J(e) > J, slow has fallen since by J(e) - J, and so much stands in TAT,
 *   stamped at s or later. So with K*T for all such falls since s, everything else is stamped at a - K*T or later, and by the invariant at a - K*T, K*T
 *   of which are the falls', at most (TAT - a)/T. Together: (TAT - a)/T + open <= B + (g - J - a)/T = B + (g - min(s, g))/T <= B + (t - s)/T.
 *
 * Order. A permit reads the clock, then TAT, then the board, and its CAS fails if TAT has moved. So what is held must be on the board when a call comes to be J old: the
 * worker looks every 10 ms, some ms ahead. What is let go must stand in TAT before. Nothing more: a TAT that came back to the same value holds all that was added to it.
 *
 * With what others are seen to use (broker/rolling.h) it is added up. That theorem takes calls for over that were granted J before a reply's call was sent. Those that were open are held, or
 * have been moved on; so the sum of TAT, `possible` and what is held covers them. The larger of the two would not: they are different units.
 *
 * A floor: slow leaves every class the dearest call of any route, so a slow network never closes a bucket; and a quarter of its room, as with one unit whoever comes a unit's time
 * late has lost it for all; and half where others are proven to use it, for what may be theirs stands beside it: with one unit left after a stall, as little as one of theirs closed
 * buckets for as long as others were thought to be there. What J in force does not cover then is held while it is open, which may close it for so long: nothing else is safe. slow is 0 while J is above J0 by 1/64 of T at most: there to move the charges costs less than a unit of the burst.
 *
 *   writer   the worker. Dies: word[1] of the board says how much it held. Its connections died with it, but what was on its way may still be counted, and nobody sees it any more: within
 *            J as it was measured of its sending, as calls are. So the next worker, where that is longer than J0, holds on what was held and what clients' shadows say was sent, for so long,
 *            then charges all of it anew (weir_late_spend) on both accounts and lets it go; else at once. Until then it stands on the board, at least until the
 *            calls' deadlines and 60 s from its last look. A death between charging and letting go charges twice. Between the two words word[1] is the smaller: what is let go is charged by then, what begins to be held was not relied on yet, and others'
 *            usage (word[0] less word[1]) is at worst taken for more.
 *   taken over   the board is copied, so the next broker's worker finds it as after a death.
 *   a trader     with a transport of its own tells nobody when its call ends, if ever: J in force is what it has, from its permit on. Its use-by (J0 / 2) only bounds when it is sent.
 *
 * A reader sees two whole words; between them it may take some of what is held for others' usage.
 */
#ifndef WEIR_LATE_H
#define WEIR_LATE_H

#include "weir_limit.h"

/* What is held outlives its worker by so much: the longest that a broken worker is waited for. */
#define WEIR_LATE_KEEP_NS (60 * WEIR_NS_PER_S)

/* What the worker knows of one bucket's word. */
struct weir_late {
    uint32_t slow_units;
    uint32_t open_units;
    uint64_t open_until_ns; /* the last deadline of those calls */
    uint32_t others_units;  /* what others use (broker/rolling.h), and until when it stands */
    uint64_t others_until_ns;
};

static inline uint32_t weir_late_held(const struct weir_late *late)
{
    return (uint32_t)weir_min_u64((uint64_t)late->slow_units + late->open_units, UINT32_MAX);
}

/* J in force while `slow_units` are held. `floor_ns` is J0. */
static inline uint64_t weir_late_jitter_ns(const struct weir_shm_limit_row *row,
                                           uint32_t slow_units, uint64_t floor_ns)
{
    return floor_ns + (uint64_t)slow_units * row->unit_ns;
}

/* Is a call whose permit is of `granted_at_ns`, and which is open, to be held at `at_ns`? */
static inline bool weir_late_due(const struct weir_shm_limit_row *row, uint32_t slow_units,
                                 uint64_t floor_ns, uint64_t granted_at_ns, uint64_t at_ns)
{
    return at_ns >= granted_at_ns + weir_late_jitter_ns(row, slow_units, floor_ns);
}

/* How many units J as it was measured asks for; as many as leave every class `dearest` units, and a quarter of its room, half where others are proven (`shared`). */
uint32_t weir_late_slow(const struct weir_shm_limit_row *row, uint64_t floor_ns, uint64_t jitter_ns,
                        uint32_t dearest, bool shared);

/* TAT once `n_ns` = n*T of a grant at `granted_at_ns` are moved on by `by_ns`. */
static inline uint64_t weir_late_moved(uint64_t tat, uint64_t n_ns, uint64_t granted_at_ns,
                                       uint64_t by_ns)
{
    return weir_max_u64(tat + weir_min_u64(n_ns, by_ns), granted_at_ns + by_ns + n_ns);
}

/*
 * A call that took `units` has ended, `age_ns` after its permit, which is more than `jitter_ns`, J in force: move its charge on. One account; the worker's
 * own first. Order: CAS (pair:limit).
 */
void weir_late_move(const struct weir_limit_place *at, uint32_t units, uint64_t granted_at_ns,
                    uint64_t age_ns, uint64_t jitter_ns, uint64_t now_ns);

/* `units` are let go whose stamp is not known better than now: slow has fallen, or a worker died. One account. */
void weir_late_spend(const struct weir_limit_place *at, uint32_t units, uint64_t now_ns);

/* Publish what is held, and others' usage beside it. Returns whether there is more room than before. Caller: the worker, for its words, every 10 ms. */
bool weir_late_publish(const struct weir_late *late, const struct weir_shm_limit_row *row,
                       struct weir_shm_foreign *board, uint64_t now_ns);

/* What a worker before us had published. All that it held is in `open_units`. */
void weir_late_restore(struct weir_late *late, const struct weir_shm_foreign *board,
                       uint64_t now_ns);

#endif
