/*
 * weir_cells.h: the steps of weir_limit.h for the kinds that live in cells. Called by weir_limit.c and weir_limit_repair.c, and by nobody else, but for
 * weir_sliding_stamped.
 */
#ifndef WEIR_CELLS_H
#define WEIR_CELLS_H

#include "weir_limit.h"

/*
 * sliding_window (weir_sliding.c). plan: pass 1, writes nothing but the hint. take: charges, or leaves nothing; on YES plan->window is the
 * first cell, or the part. give: once per charge, by the stamp or the part's id.
 */
enum weir_limit_verdict weir_sliding_plan(struct weir_limit_plan *plan,
                                          const struct weir_limit_time *time);
enum weir_limit_verdict weir_sliding_take(struct weir_limit_plan *plan,
                                          const struct weir_limit_time *time);
bool weir_sliding_give(const struct weir_shm_limit_row *row, struct weir_shm_limit_word *word,
                       uint64_t *cell, const struct weir_charge *charge,
                       const struct weir_limit_grant *grant);
/* Units whose call is still open count from `now_ns` on, as if they were granted then. Returns whether any did; `charge` then names the new part, or as many units as have a cell. */
bool weir_sliding_renew(const struct weir_shm_limit_row *row, struct weir_shm_limit_word *word,
                        uint64_t *cell, struct weir_charge *charge, uint64_t stamp_ns,
                        uint64_t now_ns);
/* Charge units whether they fit or not. */
void weir_sliding_add(const struct weir_shm_limit_row *row, struct weir_shm_limit_word *word,
                      uint64_t *cell, uint32_t units, uint64_t now_ns);
/*
 * Form parts: charge units that were granted `age_ns` before `now_ns`, as an earlier broker remembers them, of an earlier boot maybe; nothing where their span is
 * over. Oldest last: a word takes no older part. Caller: a broker at its start, alone.
 */
void weir_sliding_restore(const struct weir_shm_limit_row *row, uint64_t *cell, uint32_t units,
                          uint64_t age_ns, uint64_t now_ns);
/* Units granted within the last span; `*empty_at_ns` is when all are over. Reads every cell. */
uint32_t weir_sliding_used(const struct weir_shm_limit_row *row, const uint64_t *cell,
                           uint64_t now_ns, uint64_t *empty_at_ns);
/* Count as spent from `now_ns` on, whatever was there. Caller: the worker. */
void weir_sliding_spend(const struct weir_shm_limit_row *row, struct weir_shm_limit_word *word,
                        uint64_t *cell, uint64_t now_ns);
/* Is nothing ahead of what an honest process can have written by `now_ns`, `slack_ns` allowed? */
bool weir_sliding_sound(const struct weir_shm_limit_row *row, const uint64_t *cell, uint64_t now_ns,
                        uint64_t slack_ns);

/*
 * Units stamped in [from_ns, to_ns): those that surely are, or (`at_most`) all that may be, which is UINT64_MAX where their words may have been used again. Not older than
 * a span before `now_ns`. Reads every cell. Caller: the worker, for what others use (broker/rolling.h).
 */
uint64_t weir_sliding_stamped(const struct weir_shm_limit_row *row, const uint64_t *cell,
                              uint64_t now_ns, uint64_t from_ns, uint64_t to_ns, bool at_most);

/*
 * concurrency (weir_concurrency.c). take: on YES plan->window is the first unit taken, which holds plan->owner as all others do. let_go: `rest` says that the
 * server may still count the call for a while; without it the unit was never used and is free at once.
 */
enum weir_limit_verdict weir_units_plan(struct weir_limit_plan *plan,
                                        const struct weir_limit_time *time);
enum weir_limit_verdict weir_units_take(struct weir_limit_plan *plan,
                                        const struct weir_limit_time *time);
bool weir_units_let_go(const struct weir_limit_place *at, const struct weir_charge *charge,
                       uint64_t owner, uint64_t now_ns, bool rest);
/* Units that are held or rest; `*empty_at_ns` is when those that rest are free. */
uint32_t weir_units_used(const struct weir_shm_limit_row *row, const uint64_t *cell,
                         uint64_t now_ns, uint64_t *empty_at_ns);

#endif
