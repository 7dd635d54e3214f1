/*
 * reload.h: other tables in the place of those in force, on the same board, while clients run.
 *
 * Called where no worker lives. In this order, each step whole before the next one begins:
 *
 *   lease := 0              nobody is granted anything who looks from here on
 *   clocks CLOSED           of providers with windows that begin anew: the epoch is raised, charges of the timeline before are never given back
 *   units that rest         where the rest becomes shorter: they keep the longer one (weir_units_follow)
 *   tables := the new ones  pair:tables. A permit looks at this word once more behind its charges, so whoever is still under way by the old rows grants nothing: it
 *                           starts over. What it charged stays, but for units in flight, which it lets go
 *   words converted         by CAS, shared and private account
 *   clocks as they were, lease := now + 5 s, the bell of every provider: who waits asks again
 *
 * Why nothing is exceeded (docs/architecture.md, "Reload", has the whole of it). A charge that grants something stands before its permit's second look at the tables, which saw the
 * old word; so it stands before the store of the new one, and the conversion, which reads the limit word behind a full fence, has it. What comes later by old rows is never granted: it
 * is a charge too many. A charge that is taken back by an old row is looked at again behind the limit word (bucket: the tables; window: the epoch), so it is taken back from a
 * word that still means what it meant, or not at all.
 *
 * Who dies: the supervisor is the only writer, and no worker lives. What it leaves has no lease, so nobody is granted anything until the next start, which counts all as
 * spent.
 */
#ifndef WEIR_BROKER_RELOAD_H
#define WEIR_BROKER_RELOAD_H

#include "broker/region.h"
#include "shm/weir_limit.h"

/* The block that the gate names. */
const struct weir_shm_tables *reload_tables(const struct region *region);

/*
 * Put `next` in force, which follows reload_tables (tables_follow.h) and has room in a block. Returns how long permits stood still. Caller: the supervisor, while no worker lives.
 */
uint64_t reload_switch(struct region *region, const struct weir_shm_tables *next);

/*
 * Bring the words of one scope value from the meaning of `old` to that of `row`: at->row is the new row. `clock` is the provider's, which is CLOSED where `begin`: windows count as spent. Caller:
 * reload_switch, tests.
 */
void reload_convert(const struct weir_limit_place *at, const struct weir_shm_limit_row *old,
                    const struct weir_server_clock *clock, bool begin, uint64_t now_ns);

/*
 * The same of a bucket's words that a start has restored as they were at a clean stop, shared and private, by numbers that the state has of `old`: quota, quota_peak, unit_ns, and how far the critical class goes. The
 * row of the start bears in its quota_peak what is owed by a larger burst than its own, but no more than `old` bore: what was damaged at the stop is found damaged. Then memory_sign. Caller:
 * the supervisor, before anybody has the row and the word.
 */
void reload_bucket_restored(const struct weir_limit_place *at, const struct weir_limit_place *own,
                            const struct weir_shm_limit_row *old, uint64_t now_ns);

/* Must the windows of a limit count as spent? Another length; or a smaller quota while calls are charged to more windows than they are counted in, or by a convention. */
bool reload_windows_begin(const struct weir_shm_limit_row *old,
                          const struct weir_shm_limit_row *row,
                          const struct weir_server_clock *clock, uint64_t now_ns);

/*
 * Does a higher quota count as spent in windows that reach back to a start that knew nothing? That start spent the quota which it had; the exchange may have counted more, by one that was
 * in force before. So does all of a sliding window that becomes longer: its cells have forgotten what was old by the shorter one.
 */
bool reload_raise_is_blind(const struct region *region, uint32_t limit,
                           const struct weir_shm_limit_row *old,
                           const struct weir_shm_limit_row *row, uint64_t now_ns);

/* Nobody knows what was used of any limit that a journal keeps (`kept`), or of any other one. Caller: the supervisor, at its start. */
void reload_guessed(struct region *region, bool kept, uint64_t now_ns);

/* No call that was permitted by the former tables arrives later than so long after the switch. */
uint64_t reload_settled_ns(const struct region *region, uint64_t now_ns);

#endif
