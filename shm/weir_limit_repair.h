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
    WEIR_LIMIT_ABOVE = 2, /* more units than grants and surcharges can have charged */
    WEIR_LIMIT_FORGOTTEN = 3, /* less than the worker's own charges */
};

/* A word may be so far ahead of the worker's view before it counts as damaged: the offset moves a little with each sample. */
#define WEIR_LIMIT_AHEAD_NS (10 * WEIR_NS_PER_MS)

/*
 * Look at one limit word beside the worker's private one; repair it if it is damaged. Returns what was found. `server` is the provider's
 * clock as published (NULL for buckets; not CLOSED). The time is read from `clock` after the word: a worker that slept between the two
 * must not take an honest trader's newer window for damage and wipe its charges out. Caller: the worker. Order: CAS, so that an honest
 * charge made meanwhile is judged in the next round (pair:limit).
 */
enum weir_limit_damage weir_limit_audit(const struct weir_limit_place *at,
                                        const struct weir_limit_place *own,
                                        const struct weir_server_clock *server,
                                        struct weir_clock *clock);

/*
 * Publish a provider's clock. With CLOSED the epoch of its timeline goes up after the latch, so no permit of the old timeline gives back
 * or overwrites a window of the new one. Caller: the worker.
 */
void weir_server_clock_publish(struct weir_shm_provider *provider,
                               const struct weir_server_clock *clock);

/*
 * Must windows be carried over when the published clock goes from `from` to `to`? Yes unless both are KNOWN, their intervals share an
 * instant, and the cap does not grow (weir_window.h, "wide"). Pure. Caller: the worker, for each window limit.
 */
bool weir_limit_realign_needed(const struct weir_shm_limit_row *row,
                               const struct weir_server_clock *from,
                               const struct weir_server_clock *to, uint64_t now_ns);

/*
 * Carry the charges of `word` from the timeline of `from` to that of `to` at `now_ns`. Every old window that may overlap a new one is
 * counted into it, so the sum errs against the user. Caller: the worker, after it published CLOSED; then every permit that was under way
 * either is seen here or is refused (weir_permit.c). `to` is published afterwards. A permit that stood before its CAS all the while may find the
 * very value it expected and write a window of the old timeline: it is refused, the window stands ahead, and the audit sets it to spent.
 *
 * A worker that dies in here leaves empty words and a clock that says CLOSED. So: a worker that finds CLOSED when it starts publishes
 * CLOSED again, calls weir_limit_spend on every window limit, and only then publishes what it knows.
 */
void weir_limit_realign(const struct weir_shm_limit_row *row, struct weir_shm_limit_word *word,
                        const struct weir_server_clock *from, const struct weir_server_clock *to,
                        uint64_t now_ns);

/*
 * Set the current window and the next of timeline `to`, or the whole bucket, to spent, whatever the word said: nobody knows what was
 * charged. Callers: a broker that starts after an unclean end, a worker whose predecessor died while it re-aligned.
 */
void weir_limit_spend(const struct weir_limit_place *at, const struct weir_server_clock *to,
                      uint64_t now_ns);

#endif
