/*
 * weir_concurrency.h: limit kind concurrency, at most N units in flight at once.
 *
 * One cell per unit. It says who holds the unit, or when it was last let go:
 *   bit 63 set     held:  1 | owner:15 | life:16 | serial:32   (weir_owner_*)
 *   bit 63 clear   free since this instant of weir time; 0: never used
 * A free unit may be taken by CAS once it has been free for J (the row's `span_ns`): the server may still count the former call for as long as
 * its answer and the news of its end are on the way.
 *
 * Theorem. At any instant the server has at most N units in flight, if each call ends there within J of the settle of its permit. Proof: a call
 * in flight at the server is either held, or was let go less than J ago; each such call has a cell of its own, and there are N cells.
 *
 * Unlike other kinds a charge is held until the permit is settled, by any outcome. A unit of a dead owner returns: whoever reaps the client (the
 * worker, by pidfd) lets go all cells that bear its {client, life}; the worker's own cells bear its incarnation, and the next worker lets them
 * go. The serial tells the permits of one owner apart, so that a stale settle lets go nothing that another permit holds.
 *
 * What a dead owner began may end later than what somebody settled: open orders stay until the exchange's dead man's switch cancels them. So its units rest for
 * O >= J from its death on. The reaper writes an instant O - J (the row's `ahead_ns`) ahead of its clock; whoever wants a unit knows of J only, and finds it
 * free after O. The theorem holds if such a call ends within O of its owner's death. What stands further ahead than `ahead_peak_ns` was written by nobody honest.
 *
 * A reload with a shorter J moves what rests ahead by as much, before anybody knows of it: it is free when it would have been. By a longer J it rests
 * longer, from when it was let go. Either way `ahead_peak_ns` has it.
 *
 * A new broker with another one before it begins with all units resting for O: what was in flight for that one counts as its owner's death at the start of the
 * new one, after the lease of the old has ended. It cannot know which calls of former permits are still open. So whoever keeps calls across a broker's end, which its
 * lease tells, ends them within O of that, or takes permits for them again before it takes others: the theorem's condition, for them.
 *
 * A concurrent reader sees whole words. A writer that dies between two units of one permit leaves units that the reaper finds.
 *
 * Source: Solana public RPC "40 connections", Kraken open orders; Little's law is no help here: it is counted, not averaged.
 */
#ifndef WEIR_CONCURRENCY_H
#define WEIR_CONCURRENCY_H

#include "weir_base.h"

#define WEIR_CONCURRENCY_UNITS_MAX 1024U /* a permit may have to look at each */

#define WEIR_UNIT_HELD             (UINT64_C(1) << 63)
#define WEIR_OWNER_WORKER          0x4000U /* owner: this bit, and the low bits of the incarnation */
/* serial: thread:3 | count:29 */
#define WEIR_OWNER_THREAD_SHIFT 29U
#define WEIR_OWNER_SERIAL_MASK  ((UINT64_C(1) << WEIR_OWNER_THREAD_SHIFT) - 1)

/* The owner's part of a cell. `owner`: a client's index + 1, or WEIR_OWNER_WORKER | incarnation. */
static inline uint64_t weir_owner_make(uint32_t owner, uint32_t life)
{
    return WEIR_UNIT_HELD | (uint64_t)(owner & 0x7fffU) << 48 | (uint64_t)(life & 0xffffU) << 32;
}

static inline uint32_t weir_owner_of(uint64_t cell)
{
    return (uint32_t)(cell >> 48) & 0x7fffU;
}

static inline uint32_t weir_owner_life(uint64_t cell)
{
    return (uint32_t)(cell >> 32) & 0xffffU;
}

static inline bool weir_unit_held(uint64_t cell)
{
    return (cell & WEIR_UNIT_HELD) != 0;
}

/* May this cell be taken at `now_ns`? A time ahead of ours is another core's: not yet. */
static inline bool weir_unit_free(uint64_t cell, uint64_t now_ns, uint64_t rest_ns)
{
    return cell == 0 || (!weir_unit_held(cell) && now_ns >= cell && now_ns - cell >= rest_ns);
}

struct weir_shm_limit_row;

/*
 * Let go every held unit whose owner lives no more (and what stands further in the future than anybody honest wrote). Returns how many. Caller: the worker. A unit
 * whose holder lives is never touched. `now_ns` is read after what `lives` knows was known: each unit rests for O from then on, at least from the death on.
 */
uint32_t weir_units_reap(const struct weir_shm_limit_row *row, uint64_t *cell, uint64_t now_ns,
                         bool (*lives)(uint64_t cell, const void *arg), const void *arg);

/* Let go every unit, whoever held it: each rests for O from `now_ns` on. Caller: a broker at its start, alone, where there was one before it. */
void weir_units_rest(const struct weir_shm_limit_row *row, uint64_t *cell, uint64_t now_ns);

/*
 * Before tables with `row` take the place of those with `old`: where they say a shorter J, what rests is free no sooner for it. Readers of either row find it free when it
 * would have been, or later. Caller: a reload.
 */
void weir_units_follow(const struct weir_shm_limit_row *row, const struct weir_shm_limit_row *old,
                       uint64_t *cell);

/* How far ahead of the clock a unit may stand when `row` has taken the place of `old`, with what weir_units_follow did: the row's `ahead_peak_ns`. */
uint64_t weir_units_ahead_peak(const struct weir_shm_limit_row *row,
                               const struct weir_shm_limit_row *old);

#endif
