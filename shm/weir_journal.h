/*
 * weir_journal.h: the format of the journal on disk, which says how much of each long limit may have been used.
 *
 *   file    two slots of the same size, slot i at i * (file size / 2); each write goes to the slot that is not the last one on disk
 *   slot    header | record | record | ... ; zeros up to the slot's end
 *   record  kind:16 | 0:16 | bytes:32 | what the kind has. A reader skips kinds that it does not know, and reads what it knows of longer ones.
 *
 * The checksum (XXH3-64) covers header and records, so a slot of which any byte is of another write is refused as torn. Of two sound
 * slots the one with the higher sequence counts. Numbers are little endian, as they lie in memory.
 *
 * A LIMIT record names its limit word by provider, limit and scope value, never by an index: a changed configuration finds it again, and
 * what it no longer knows is dropped. It holds, for up to four windows, the units that may have been charged there: ids of the exchange's
 * windows. `floating` units were charged while the exchange's clock was unknown: they may count in whatever window was current.
 *
 * A BUCKET record holds the TAT that may have been reached, a ROLLING record the units of a sliding window by parts of its span and, in `extra`, those that may have
 * been granted since: both by the weir time of the boot that the header names. In another boot they are as old as they were when it was written, and
 * older by what UTC says has passed since, less what UTC may be off at both ends (utc_error_ns): no older where nobody keeps this machine's UTC right.
 *
 * Version 1 knew neither, and a file of it says nothing of them: it is refused (OLDER), and everything counts as spent, once.
 *
 * Another fact to remember gets a kind of its own: its writer in broker/memory.c, its reader beside providers_restore. Older versions skip it.
 *
 * Pure: no I/O, no clock. Writers: weird's worker, its supervisor at start and at a clean stop. Readers: weird at its start, weir inspect.
 */
#ifndef WEIR_JOURNAL_H
#define WEIR_JOURNAL_H

#include "weir_layout_ledger.h"

#define WEIR_JOURNAL_MAGIC          UINT64_C(0x314c4e4a52494557) /* "WEIRJNL1" */
#define WEIR_JOURNAL_VERSION        2U
#define WEIR_JOURNAL_SLOTS          2U
#define WEIR_JOURNAL_SLOT_MIN_BYTES 65536U
#define WEIR_JOURNAL_SLOT_MAX_BYTES (UINT64_C(1) << 28)
#define WEIR_JOURNAL_BOOT_ID_BYTES  40U

/* Longer than the longest window: nothing of an older journal can still count. */
#define WEIR_JOURNAL_STALE_NS (367 * UINT64_C(86400) * WEIR_NS_PER_S)

enum weir_journal_flag {
    WEIR_JOURNAL_CLEAN =
        1U << 0, /* the broker stopped: counts are exact, and nothing was granted since */
};

struct weir_journal_header {
    uint64_t magic;
    uint32_t version;
    uint32_t header_bytes;
    uint64_t checksum; /* of used_bytes, this field taken as 0 */
    uint64_t used_bytes;
    uint64_t sequence;   /* of this write */
    uint64_t generation; /* starts of brokers on this journal */
    uint64_t broker_id;  /* of the one that wrote */
    uint64_t host;       /* hash of the machine's id; 0 = it has none */
    uint64_t utc_ns;     /* when it was written */
    uint64_t monotonic_ns;
    uint32_t flags; /* enum weir_journal_flag */
    uint32_t record_cnt;
    char name[WEIR_NAME_BYTES]; /* of the broker */
    char boot_id[WEIR_JOURNAL_BOOT_ID_BYTES];
    uint64_t utc_error_ns; /* utc_ns is true within this; UINT64_MAX: nobody knows */
    uint64_t reserved[7];
};

enum weir_journal_kind {
    WEIR_JOURNAL_LIMIT = 1,
    WEIR_JOURNAL_PROVIDER = 2,
    WEIR_JOURNAL_BACKOFF = 3,
    WEIR_JOURNAL_BUCKET = 4,
    WEIR_JOURNAL_ROLLING = 5,
};

/* What every record begins with; `bytes` holds the whole record, a multiple of 8. */
struct weir_journal_record {
    uint16_t kind; /* enum weir_journal_kind */
    uint16_t reserved;
    uint32_t bytes;
};

struct weir_journal_limit {
    struct weir_journal_record head;
    uint64_t identity; /* weir_journal_identity */
    uint64_t shape;    /* the row's: ids of another shape say nothing */
    uint32_t quota;    /* for people */
    uint32_t floating;
    uint32_t window[WEIR_MEMORY_WINDOWS]; /* an entry with 0 units says nothing */
    uint32_t units[WEIR_MEMORY_WINDOWS];
    uint32_t ahead; /* units that surcharges may have added since, in whatever window was current */
    uint32_t reserved;
    char provider[WEIR_NAME_BYTES];
    char limit[WEIR_NAME_BYTES];
    char scope[WEIR_NAME_BYTES]; /* the scope value; "" where it has no name */
};

/* What the records of limits begin with. */
struct weir_journal_named {
    struct weir_journal_record head;
    uint64_t identity;
    uint64_t shape;
    uint32_t quota; /* for people */
};

struct weir_journal_bucket {
    struct weir_journal_record head;
    uint64_t identity;
    uint64_t shape;
    uint32_t quota; /* the burst by which it was filled */
    uint32_t ahead; /* units that surcharges may have added to it, at any instant since */
    uint64_t unit_ns;
    uint64_t tat_ns;
    char provider[WEIR_NAME_BYTES];
    char limit[WEIR_NAME_BYTES];
    char scope[WEIR_NAME_BYTES];
};

#define WEIR_JOURNAL_PARTS 104U /* WEIR_SLIDING_WORDS */

struct weir_journal_rolling {
    struct weir_journal_record head;
    uint64_t identity;
    uint64_t shape;
    uint32_t quota;
    uint32_t extra; /* units that may have been granted after the parts were read */
    uint64_t part_ns;
    char provider[WEIR_NAME_BYTES];
    char limit[WEIR_NAME_BYTES];
    char scope[WEIR_NAME_BYTES];
    uint64_t part[WEIR_JOURNAL_PARTS]; /* part id:32 | units:32, as in the cells (weir_sliding.h) */
};

struct weir_journal_provider {
    struct weir_journal_record head;
    struct weir_server_clock clock; /* of the boot that the header names */
    int64_t utc_offset_ns; /* the exchange's UTC minus this machine's, when written; for people */
    uint64_t pause_until_utc_ns; /* 0 = no pause; the board's word, which may be long */
    uint64_t pause;              /* the same word as it is (weir_pause.h), for the same boot */
    char provider[WEIR_NAME_BYTES];
};

/* What struct weir_shm_backoff remembers of being told to stop; times as this machine's UTC when written, 0 = none. */
struct weir_journal_backoff {
    struct weir_journal_record head;
    uint64_t until_utc_ns;
    uint64_t last_utc_ns;
    uint64_t operator_until_utc_ns;
    uint64_t steps;
    uint32_t level;
    uint32_t cause;
    char provider[WEIR_NAME_BYTES];
};

/* What a journal is worth. Order: the first that holds. */
enum weir_journal_verdict {
    WEIR_JOURNAL_SOUND = 0,
    WEIR_JOURNAL_OFF = 1,          /* none is kept: broker.state_dir: none */
    WEIR_JOURNAL_ABSENT = 2,       /* no file, or an empty one */
    WEIR_JOURNAL_NEWER = 3,        /* a later version wrote it */
    WEIR_JOURNAL_TORN = 4,         /* no slot is whole */
    WEIR_JOURNAL_FOREIGN_NAME = 5, /* of a broker of another name */
    WEIR_JOURNAL_FOREIGN_HOST = 6, /* written on another machine */
    WEIR_JOURNAL_STALE = 7,        /* a broker has run without it since, or it is too old */
    WEIR_JOURNAL_UNREADABLE = 8,   /* the file could not be read */
    WEIR_JOURNAL_OLDER =
        9, /* an earlier version wrote it, which did not know all that this one must */
};

/* A slot that was found sound. Pointers lead into the caller's copy of the file. */
struct weir_journal_view {
    const struct weir_journal_header *header;
    uint32_t slot;
    bool other_torn; /* the other slot holds something that is not whole */
};

/* Whom a journal must belong to. */
struct weir_journal_owner {
    const char *name;
    uint64_t host;      /* 0: compare no host */
    uint64_t broker_id; /* of the one known to have run last in this boot; 0: none is */
    const char *boot_id;
    uint64_t utc_ns;
};

/* The identity of a limit word by names; all texts end with 0. */
uint64_t weir_journal_identity(const char *provider, const char *limit, uint32_t scope_kind,
                               const char *scope);

/*
 * Write a slot. begin: clear `slot_bytes` at `slot` and copy the header's facts; add: append a record, NULL when there is no room; end: fill counts and
 * checksum, return the used bytes. Caller: one thread, on its own buffer (aligned to 8).
 */
struct weir_journal_writer {
    unsigned char *slot;
    uint64_t slot_bytes;
    uint64_t used_bytes;
    uint32_t record_cnt;
};

void weir_journal_begin(struct weir_journal_writer *w, void *slot, uint64_t slot_bytes,
                        const struct weir_journal_header *facts);
void *weir_journal_add(struct weir_journal_writer *w, enum weir_journal_kind kind, uint32_t bytes);
uint64_t weir_journal_end(struct weir_journal_writer *w);

/* Bytes of a record; of a slot that has room for `record_bytes` of them. */
uint32_t weir_journal_record_bytes(enum weir_journal_kind kind);
uint64_t weir_journal_slot_bytes(uint64_t record_bytes);

/* Is this slot whole? SOUND, ABSENT (zeros), NEWER, OLDER or TORN. `slot` aligned to 8. */
enum weir_journal_verdict weir_journal_slot_check(const void *slot, uint64_t slot_bytes);

/*
 * Find the newest sound slot of a file in memory (aligned to 8). Fills `*view` on SOUND. A slot of another version condemns the file: whoever wrote it may
 * have granted since what the other slot knows.
 */
enum weir_journal_verdict weir_journal_find(struct weir_journal_view *view, const void *file,
                                            uint64_t file_bytes);

/* Whose is it, and is it of now? SOUND or the reason against it. */
enum weir_journal_verdict weir_journal_judge(const struct weir_journal_header *header,
                                             const struct weir_journal_owner *owner);

/* The record after `*at` (NULL: the first) in a sound slot, or NULL. Skips what is malformed or shorter than its kind. */
const struct weir_journal_record *weir_journal_next(const struct weir_journal_header *header,
                                                    const struct weir_journal_record *at);

/* Where the names of a limit's record lie, WEIR_NAME_BYTES each: provider, limit, scope value. NULL: a record of something else. */
const char *weir_journal_names(const struct weir_journal_record *r);

/* "sound", "torn", ... and a sentence on what it means; "?" for an unknown one. */
const char *weir_journal_verdict_name(unsigned verdict);
const char *weir_journal_verdict_text(unsigned verdict);

#endif
