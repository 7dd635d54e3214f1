/*
 * snapshot.h: the form of a file of kept answers, for a later broker (last_good.h has who writes and reads it, and when).
 *
 *   header    magic, version, whose it is, when it was written, how many records, one sum over all
 *   record    of which route, the call's key, how old; then the answer's head and body; a multiple of 8 bytes
 *   ...
 *
 * The sum is XXH3-64, chained: of each record with the sum before it as its seed, then of the header (its own sum taken as 0). So a file of which any part is missing, of
 * an older write or altered by chance is torn. It is no signature: who can write the directory can write any answer.
 *
 * Age. A record says how old its answer was at the header's instants. What has passed since is added by the reader: in the same boot the larger of CLOCK_BOOTTIME
 * (nobody can set it) and UTC; in another one UTC with both its errors, and only where adjtimex(2) called it synchronised at both ends. An instant behind the reader's
 * own is of a clock that was set back, and then nobody knows: the file is refused. So no answer ever looks younger than it is.
 *
 * Everything here is pure, and takes the bytes for a stranger's (fuzz_snapshot).
 */
#ifndef WEIR_BROKER_SNAPSHOT_H
#define WEIR_BROKER_SNAPSHOT_H

#include "shm/weir_cache.h"
#include "shm/weir_journal.h"

#define SNAPSHOT_MAGIC     UINT64_C(0x646f6f6772696577) /* "weirgood" */
#define SNAPSHOT_VERSION   1U
#define SNAPSHOT_MAX_BYTES (UINT64_C(72) << 20) /* the largest broker.cache, and its records */

struct snapshot_header {
    uint64_t magic;
    uint32_t version;
    uint32_t record_cnt;
    uint64_t used_bytes; /* of header and records */
    uint64_t sequence;   /* of two files the larger one is the newer */
    uint64_t utc_ns;
    uint64_t utc_error_ns; /* UINT64_MAX: nobody kept it right */
    uint64_t boottime_ns;
    uint64_t host; /* as in the journal; 0: unknown */
    char name[WEIR_NAME_BYTES];
    char boot_id[WEIR_JOURNAL_BOOT_ID_BYTES];
    uint64_t reserved[4];
    uint64_t sum;
};

struct snapshot_record {
    uint32_t bytes; /* of the record, its answer and what fills up the last 8 */
    uint32_t body_bytes;
    uint16_t head_bytes;
    uint16_t status;
    uint32_t reserved;
    uint64_t route[2]; /* last_good_identity */
    uint64_t key[2];
    uint64_t age_ns; /* at the header's instants */
};

/* What an answer of so many bytes takes in the file. */
static inline uint64_t snapshot_record_bytes(uint64_t answer_bytes)
{
    return weir_round_up(sizeof(struct snapshot_record) + answer_bytes, sizeof(uint64_t));
}

struct snapshot_writer {
    unsigned char *image;
    uint64_t image_bytes;
    uint64_t used_bytes;
    uint64_t sum;
    uint32_t record_cnt;
};

/* Begin an image of at most `image_bytes` (at least a header), aligned to 8. `facts`: all that is not counted. */
void snapshot_begin(struct snapshot_writer *w, void *image, uint64_t image_bytes,
                    const struct snapshot_header *facts);

/* Append an answer: `as` but for its `bytes`, then head and body as they lie one behind the other. False, and nothing: there is no room for it. */
bool snapshot_add(struct snapshot_writer *w, const struct snapshot_record *as, const void *answer);

/* The image is whole. Returns its bytes. */
uint64_t snapshot_end(struct snapshot_writer *w);

enum snapshot_verdict {
    SNAPSHOT_SOUND = 0,
    SNAPSHOT_ABSENT = 1,
    SNAPSHOT_UNREADABLE = 2,
    SNAPSHOT_OVERSIZED = 3,
    SNAPSHOT_TORN = 4,
    SNAPSHOT_NEWER = 5,
    SNAPSHOT_OLDER = 6,
    SNAPSHOT_FOREIGN_NAME = 7,
    SNAPSHOT_FOREIGN_HOST = 8,
    SNAPSHOT_FUTURE = 9,
    SNAPSHOT_UNPROVEN = 10,
    SNAPSHOT_STALE = 11,
};
const char *snapshot_verdict_name(enum snapshot_verdict v);
const char *snapshot_verdict_text(enum snapshot_verdict v);

/* Are these bytes (aligned to 8) a whole snapshot of this version? SOUND: header and records may be read. */
enum snapshot_verdict snapshot_look(const void *image, uint64_t bytes);

/* Who reads it, and when. */
struct snapshot_reader {
    const char *name;
    const char *boot_id;
    uint64_t host;
    uint64_t utc_ns, utc_error_ns, boottime_ns;
    uint64_t longest_ns; /* no route wants an older answer */
};

/* May this reader believe a snapshot that snapshot_look found sound? Then `*passed_ns` is what its ages have grown by. */
enum snapshot_verdict snapshot_judge(const struct snapshot_header *header,
                                     const struct snapshot_reader *reader, uint64_t *passed_ns);

/* The record behind `record` (NULL: the first) of a sound snapshot; NULL: no more. Its answer lies behind it, inside the snapshot. */
const struct snapshot_record *snapshot_next(const struct snapshot_header *header,
                                            const struct snapshot_record *record);

#endif
