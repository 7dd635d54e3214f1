/*
 * journal.h: the journal's file: where it lies, who may write it, how it comes to the disk.
 *
 * STATE_DIR/NAME/
 *   lock      held (flock) by the supervisor and, by inheritance, by its worker: two brokers never write one journal, wherever their sockets are
 *   journal   two slots (shm/weir_journal.h)
 *
 * The supervisor opens both and keeps the descriptors; a worker inherits them by fork and writes through its io_uring (broker/ceiling.h). A write
 * goes to the slot that is not the last one on disk, so one whole journal lies there at every instant.
 *
 * At each start the file is made anew under another name, filled with what was restored, fsynced and renamed over the old one: a broker
 * that dies before the rename has changed nothing.
 */
#ifndef WEIR_BROKER_JOURNAL_H
#define WEIR_BROKER_JOURNAL_H

#include "shm/weir_journal.h"

#include <limits.h>

struct region;

struct journal {
    int fd; /* -1: no journal is kept */
    int lock_fd;
    uint64_t slot_bytes;
    uint64_t generation; /* of this broker: one above the journal's it found */
    uint64_t host;
    char dir[PATH_MAX - 64];
    char name[WEIR_NAME_BYTES];
    char boot_id[WEIR_JOURNAL_BOOT_ID_BYTES];
    void *copy; /* of the file found at start, until journal_forget */
};

/* The state directory that means "keep none". */
#define JOURNAL_NONE "none"

/* This machine's UTC, and within what the kernel takes it for true: UINT64_MAX where nobody keeps it right (adjtimex(2): not synchronised). */
uint64_t journal_utc_ns(uint64_t *error_ns);

/* This boot's id; empty where the kernel does not say. */
void journal_boot_id(char out[WEIR_JOURNAL_BOOT_ID_BYTES]);

/*
 * Make STATE_DIR/NAME if it is not there, and lock it. `state_dir` JOURNAL_NONE: keep none. Returns 0, or -1 with `text`: what failed, why, the next
 * step. Caller: the supervisor, once.
 */
int journal_open(struct journal *j, const char *state_dir, const char *name, char *text,
                 size_t text_bytes);

/*
 * Go on with the journal of a broker that is taken over from: its file and its lock (-1: it kept none), which `j` owns from here on. Caller: the supervisor, instead of
 * journal_open and journal_create.
 */
void journal_adopt(struct journal *j, const char *state_dir, const char *name, int fd, int lock_fd);

/*
 * Read the file that is there and judge it. `broker_id` as in struct weir_journal_owner. Fills `*view` on SOUND; it leads into
 * j->copy. Caller: the supervisor, before journal_create.
 */
enum weir_journal_verdict journal_read(struct journal *j, uint64_t broker_id,
                                       struct weir_journal_view *view);
void journal_forget(struct journal *j);

/*
 * Make this broker's file, holding what the region remembers, in both slots. A file that was refused (`found`) is kept as journal.refused, for people. Returns 0, or -1
 * with `text`. Caller: the supervisor.
 */
int journal_create(struct journal *j, struct region *region, enum weir_journal_verdict found,
                   char *text, size_t text_bytes);

/* The header's facts of a write now. */
void journal_facts(const struct journal *j, const struct region *region, uint64_t sequence,
                   uint32_t flags, struct weir_journal_header *out);

/* Write one slot with what the region remembers, and fsync; blocks. Returns 0 or -1 with errno. Caller: the supervisor, no worker lives. */
int journal_write(struct journal *j, struct region *region, uint32_t flags);

void journal_close(struct journal *j);

#endif
