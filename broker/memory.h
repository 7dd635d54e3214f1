/*
 * memory.h: what is remembered of each long limit, and how a later broker counts it again. Here windows; kinds without them: memory_rolling.h.
 *
 * A limit word is long where its row has a ceiling_step: a window, or time to drain, above 10 min, with a journal. The ledger's struct weir_shm_memory says what the
 * journal on disk covers; memory_compose writes it into a slot.
 *
 * Restore. What an earlier broker may have used is the base: units by ids of the exchange's windows, and floating units, which were charged while
 * the exchange's clock was unknown and may count in whatever window was current. Where the clock is known, each base entry is added to
 * the word of its window (memory_resolve): count := ceiling, and every later call is charged on top. This machine's UTC decides nothing, so a
 * wrong one after a reboot costs nothing.
 *
 * Until the clock is known the base waits. Let c be the most that one window of the base holds, with the floating units. Ceilings are then raised by at
 * most N - c in all, so whichever window the exchange is in, it counts at most c + (N - c) = N. The base ends when no window that
 * it may count in can be current any more: one window after it, or two where a second one had units, and two jitters.
 *
 * Condition: the exchange's clock is not stepped backwards or forwards between the last write and the first sample after the restore.
 */
#ifndef WEIR_BROKER_MEMORY_H
#define WEIR_BROKER_MEMORY_H

#include "broker/region.h"
#include "shm/weir_journal.h"

/* A raise on its way to the disk: up to two windows of one word. */
struct memory_raise {
    uint32_t limit, word;
    uint32_t cnt; /* 0: none. A kind without windows: 1 */
    uint32_t window[2];
    uint32_t units[2];
    uint64_t epoch; /* of the timeline that the ids belong to */
    /* kinds without windows */
    uint64_t disk,
        board; /* a sliding window's journal is ahead of the board by room for surcharges */
    uint64_t taken, own_taken, added; /* sliding_window: the counts when it was composed */
};

/* Call `each` for every long word. */
void memory_each(const struct weir_tables *t,
                 void (*each)(const struct weir_shm_limit_row *row, uint32_t limit, uint32_t word,
                              void *arg),
                 void *arg);

/* How many there are; the bytes of a slot that holds them. */
uint32_t memory_cnt(const struct weir_tables *t);
uint64_t memory_slot_bytes(const struct weir_tables *t);

/*
 * Compose a slot: what the ledger holds, as of the instant behind the last word read, with `raise_cnt` raises on top (in the order of memory_each; NULL: none). Returns the used bytes; 0 where
 * the slot is too small. Callers: worker; supervisor while no worker lives.
 */
uint64_t memory_compose(const struct region *region, const struct weir_tables *t,
                        const struct memory_raise *raise, const struct weir_journal_header *facts,
                        void *slot, uint64_t slot_bytes);

/* The clock of a provider as the board has it; nothing known where there is none yet. */
struct weir_server_clock memory_clock(const struct region *region, uint32_t provider);

/* Ceiling on disk of window `k`. */
uint32_t memory_ceiling(const struct weir_shm_memory *m, uint32_t k);

/* The most that a window of the base may hold; 0 without a base. */
uint32_t memory_base_most(const struct weir_shm_memory *m, uint32_t quota);

/* Add the base to the windows of the KNOWN clock `clock`, in the shared word and the worker's own; the base ends. Caller: as memory_compose, CLOSED. */
void memory_resolve(const struct region *region, const struct weir_shm_limit_row *row,
                    uint32_t word, const struct weir_server_clock *clock, uint64_t now_ns);

/* The timeline of this word ended: its ceilings, on the board and in the ledger, belong to no window any more. The journal on disk stays. */
void memory_realigned(const struct region *region, uint32_t word);

/* Say in the ledger that the words as they stand are covered: the next compose writes exact counts. Caller: the supervisor. */
void memory_exact(const struct region *region, const struct weir_tables *t);

/* When a journal is read. */
struct memory_when {
    uint64_t now_ns;       /* weir time */
    uint64_t utc_ns;       /* moves pauses, and tells how old a journal of another boot is */
    uint64_t utc_error_ns; /* UINT64_MAX: nobody knows */
};

/*
 * Take over what a sound journal says: clocks (same boot only), pauses, and each long word that it names: the base of a window, resolved where the clock is known;
 * the words themselves of other kinds. `keep_words`: a clean stop of this boot has restored words and clocks already; only windows whose clock is unknown
 * take their base from here. A long limit that the journal does not name is counted as spent, unless its writer stopped cleanly. Rows bear in their quota_peak what was granted
 * by a larger quota than theirs: memory_sign comes behind it. What was counted as spent stands in guessed_ns. Caller: the supervisor.
 */
void memory_restore(struct region *region, const struct weir_tables *t,
                    const struct weir_journal_view *view, const char *boot_id, bool keep_words,
                    const struct memory_when *when);

/* The row bears so many units, whatever its quota is. Then memory_sign. Caller: the supervisor, before anybody has the tables. */
void memory_peak_raise(const struct weir_shm_limit_row *row, uint64_t units);

/* A word of windows that was restored bears what it has (a bucket's: reload.h). Then memory_sign. Caller: as memory_peak_raise. */
void memory_peak(const struct weir_shm_limit_row *row, const uint64_t word[2]);

/* The rows in force are as they shall be: their block is signed anew. Caller: as memory_peak. */
void memory_sign(const struct region *region);

#endif
