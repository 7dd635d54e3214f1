/*
 * weir_limit_repair.h: what only the worker does to limit words: set damaged ones right, and move windows to a new clock.
 *
 * Nothing in permits is trusted. Every 10 ms the worker looks at each word: outside its legal range (weir_bucket.h, weir_window.h), or below
 * what the worker itself has charged (its private account in the ledger), it is set to spent, counted and named. Errors go
 * against the user for one window, never against the exchange.
 */
#ifndef WEIR_LIMIT_REPAIR_H
#define WEIR_LIMIT_REPAIR_H

#include "weir_limit.h"

enum weir_limit_damage {
    WEIR_LIMIT_SOUND = 0,
    WEIR_LIMIT_AHEAD = 1, /* bears a window or a time that nobody honest could have written yet */
    WEIR_LIMIT_ABOVE = 2, /* more units than the limit has */
    WEIR_LIMIT_FORGOTTEN = 3, /* less than the worker's own charges */
};

/*
 * Look at one limit word beside the worker's private one; repair it if it is damaged. Returns what was found. `time->server` must be set
 * for windows. Caller: the worker. Order: CAS, so that an honest charge made meanwhile is judged in the next round (pair:limit).
 */
enum weir_limit_damage weir_limit_audit(const struct weir_shm_limit_row *row,
                                        struct weir_shm_limit_word *word,
                                        const struct weir_shm_limit_word *own,
                                        const struct weir_limit_time *time);

/*
 * Carry the charges of `word` from the timeline of `from` to that of `to` at `now_ns`. Every old window that may overlap a new one is
 * counted into it, so the sum errs against the user. Caller: the worker, while the provider's clock says CLOSED; then every permit
 * that was under way either is seen here or undoes itself (weir_permit.c).
 */
void weir_limit_realign(const struct weir_shm_limit_row *row, struct weir_shm_limit_word *word,
                        const struct weir_server_clock *from, const struct weir_server_clock *to,
                        uint64_t now_ns);

/*
 * Count the current window (and the next, which a straddle may have touched) or the whole bucket as spent: nobody knows what was charged.
 * Callers: a broker that starts after an unclean end, a worker whose predecessor died while it re-aligned.
 */
void weir_limit_spend(const struct weir_shm_limit_row *row, struct weir_shm_limit_word *word,
                      const struct weir_server_clock *clock, uint64_t now_ns);

#endif
