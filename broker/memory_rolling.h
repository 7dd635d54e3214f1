/*
 * memory_rolling.h: memory.h for limits that know no windows of an exchange: token_bucket, and sliding_window in parts.
 *
 * What is kept. Of a bucket the TAT that may have been reached (weir_bucket.h); of a sliding window the units of each part, of shared words and private ones the
 * larger, and the units that may have been granted since they were read (weir_sliding.h). No clock of the exchange is needed, so nothing waits for one.
 *
 * Restore. In the same boot weir time has gone on: words become what they were, and what may have come since is charged at the instant of the restore. In
 * another boot weir time began anew: what was written is as old as it was then, and older by what has surely passed since (memory_passed_ns).
 */
#ifndef WEIR_BROKER_MEMORY_ROLLING_H
#define WEIR_BROKER_MEMORY_ROLLING_H

#include "broker/memory.h"

/* Does the limit go without windows? */
static inline bool memory_is_rolling(const struct weir_shm_limit_row *row)
{
    return row->kind != WEIR_LIMIT_FIXED_WINDOW;
}

/* Kind of the record that a long limit has. */
enum weir_journal_kind memory_record_kind(const struct weir_shm_limit_row *row);

/* Units of surcharges that the journal is ahead of the board: the dearest by the rules of routes, or the most that were seen. Of windows too. */
uint32_t memory_ahead(const struct weir_shm_memory *m, const struct weir_shm_limit_row *row);

/*
 * A bucket's TAT, the larger of the two accounts and no more than honest ones can reach, as it would be if what is held for late calls (weir_late.h) were charged now: a broker that dies lets
 * go of that. Caller: the worker.
 */
uint64_t memory_tat(const struct region *r, const struct weir_shm_limit_row *row, uint32_t word,
                    uint64_t now_ns);

/* Fill a record, but for what all records of limits have: with `raise` where it raises, as things stand where it is NULL or does not. */
void memory_rolling_fill(const struct region *region, const struct weir_shm_limit_row *row,
                         uint32_t word, const struct memory_raise *raise, uint64_t now_ns,
                         struct weir_journal_record *record);

/* Say that the journal covers the words as they stand, and nothing more. */
void memory_rolling_exact(const struct region *region, const struct weir_shm_limit_row *row,
                          uint32_t word);

/* How far a ceiling may have been ahead by the quota of a record, which may have been another one. Of windows too. */
uint32_t memory_step(const struct weir_shm_limit_row *row, uint32_t quota);

/* What is known of the time between a journal and the broker that reads it. */
struct memory_since {
    const struct weir_journal_header *header;
    bool same_boot;
    bool torn;          /* the other slot was: one step more may have been granted */
    uint64_t now_ns;    /* weir time */
    uint64_t passed_ns; /* other boot: since the header was written, at least */
};

/* Bring the words of a long limit, shared and private, to what its record says. Caller: the supervisor; nobody else has this memory yet. */
void memory_rolling_restore(const struct region *region, const struct weir_shm_limit_row *row,
                            uint32_t word, const struct memory_since *since,
                            const struct weir_journal_record *record);

/*
 * Time that has surely passed between two readings of UTC, each true within its error (UINT64_MAX: nobody knows); 0 where that cannot be said. A machine
 * whose clock was set between them, or lost while it was off, has an error that the kernel does not know: then nothing has passed.
 */
uint64_t memory_passed_ns(uint64_t from_utc_ns, uint64_t from_error_ns, uint64_t to_utc_ns,
                          uint64_t to_error_ns);

#endif
