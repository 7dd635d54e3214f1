/*
 * weir_audit.h: who used what, record by record, with ns stamps.
 *
 * Every permit and every correction of one is an entry in a ring of whoever took it: a trader's thread in its own arena, the worker in its
 * ledger. The worker takes the entries every 10 ms, checks those of traders like all that comes from an arena, adds whose they are (which it knows from the
 * attach, whatever the entry says), and writes records on the board, where monitors read them and nobody else writes. What happens millions of times a second, a
 * refusal, is no entry: the worker counts the meters' and writes one record for a client, limit and class that was refused since the last look.
 *
 *   entries  one writer (a thread), one reader (the worker). A full ring: the entry is dropped and counted; the writer never waits
 *   records  one writer (the worker), any number of readers, which never disturb it: the oldest is overwritten. It announces a record (`begun`), writes it,
 *            and publishes it (`written`). Whoever copies reads `begun` last: what may have been overwritten meanwhile is lost, and it knows how many
 *            (the idea of Aeron's broadcast buffer)
 *
 * Who dies: a client before `head` is stored leaves no entry, for at most one permit that its words and its meter already have; what was
 * published is taken after its death, before its index is given away. A worker in the middle of a record leaves it announced and not published; the next one writes
 * that place anew, and finds by `place` which entries its predecessor has put on the board and not yet marked as taken: none is there twice. Entries stay
 * in their rings meanwhile.
 *
 * Sums: units of GRANTED, GIVEN_BACK and SETTLED records together are what `weir limits --by client` says the client took, once the worker has looked at both and unless
 * records are missing, which DROPPED and DAMAGED records say. Not promised: an order across clients finer than 10 ms (records bear the instant, readers sort).
 * A trader can lie about what it did itself and, by lying often, push others' records out of the ring; not about who it is.
 */
#ifndef WEIR_AUDIT_H
#define WEIR_AUDIT_H

#include "weir_atomic.h"
#include "weir_layout.h"

/* What a record of the audit says (weir_audit.h). */
enum weir_audit_kind {
    WEIR_AUDIT_GRANTED = 1,    /* a permit: units of each limit of its route */
    WEIR_AUDIT_GIVEN_BACK = 2, /* its call was not made: less units */
    WEIR_AUDIT_SETTLED = 3,    /* the exchange counted something else: more or less units */
    WEIR_AUDIT_ENDED = 4,      /* a call that was handed to the broker: its result */
    WEIR_AUDIT_REFUSED = 5,    /* by a limit, `count` times since the last such record */
    WEIR_AUDIT_DROPPED = 6,    /* `count` records are missing: the client's ring was full */
    WEIR_AUDIT_DAMAGED = 7, /* `count` entries of the client's ring were none that libweir writes */
    WEIR_AUDIT_WORKER = 8,  /* a worker began; `count` is its incarnation */
};

enum weir_audit_reporter {
    WEIR_AUDIT_BY_BROKER = 1,
    WEIR_AUDIT_BY_TRADER = 2, /* the client's own word for it */
};

/* The client of a record that is about none: the worker's own calls. */
#define WEIR_AUDIT_NOBODY 255U

/*
 * One event as whoever took or corrected the permit writes it down: a trader in its arena, the worker in its ledger. Half of a line, so that it costs
 * the permit path one line each second time.
 */
struct weir_shm_audit_entry {
    uint64_t at_ns;         /* weir time */
    uint64_t granted_at_ns; /* of the permit: by it a correction finds its grant */
    uint64_t scope;         /* weir_scope_id, of the kinds that its limits count by */
    /* by limit of the route: taken, or more (less) than it was charged, at most INT32_MAX */
    int32_t units[WEIR_PERMIT_LIMITS_MAX];
    uint16_t route;
    uint16_t generation; /* of the tables whose indices these are, modulo 2^16 */
    uint8_t kind;        /* GRANTED, GIVEN_BACK, SETTLED */
    uint8_t priority;
    uint8_t unit_cnt;
    uint8_t client; /* the worker's ring: for whom. A trader's is not looked at */
};

/* One writer's entries: the ring is [cnt], a power of two, behind this. Line 0: its writer; line 1: the worker, which takes them. */
struct weir_shm_audit_ring {
    uint64_t head;    /* entries written, ever; released behind the entry (pair:audit) */
    uint64_t dropped; /* entries for which there was no room */
    uint64_t reserved[14];
    /* line 1 */
    uint64_t taken;         /* entries that need not be kept any more (pair:audit_taken) */
    uint64_t dropped_taken; /* of `dropped`: on the board */
    uint64_t reserved2[14];
} WEIR_ALIGN_LINE;

#define WEIR_AUDIT_RING_CNT 512U  /* entries of a trader's thread */
#define WEIR_AUDIT_OWN_CNT  2048U /* of the worker */

/* The audit as it stands. Writer: worker. */
struct weir_shm_audit {
    /* records that were begun: who copies looks here last; what is `cnt` or more older may be torn (pair:audit_begun) */
    uint64_t begun;
    uint64_t written;      /* whole ones (pair:audit_written) */
    int64_t utc_offset_ns; /* this machine's UTC minus weir time, every 10 ms */
    uint64_t dropped;      /* sum of all records DROPPED */
    uint64_t damaged;      /* ... DAMAGED */
    uint64_t reserved[11];
} WEIR_ALIGN_LINE;

/* Record n (from 1 on) lies at (n - 1) % cnt. Writer: worker. Whose it is, is the broker's knowledge; what it did is `reporter`'s. */
struct weir_shm_audit_record {
    uint64_t number;
    uint64_t at_ns;
    uint64_t granted_at_ns; /* 0: of no permit */
    uint64_t scope;
    int32_t units[WEIR_PERMIT_LIMITS_MAX];
    char name[WEIR_NAME_BYTES];
    uint16_t route; /* UINT16_MAX: none */
    uint16_t generation;
    uint8_t kind;     /* enum weir_audit_kind */
    uint8_t priority; /* of REFUSED, too */
    uint8_t unit_cnt;
    uint8_t reporter; /* enum weir_audit_reporter */
    uint32_t uid;
    uint32_t pid;
    uint8_t client; /* index; WEIR_AUDIT_NOBODY: the broker itself */
    uint8_t thread;
    uint16_t life; /* of the client, modulo 2^16 */
    uint32_t
        place; /* in the ring that it came from, modulo 2^32: a restarted worker goes on behind it */
    uint32_t count;
    uint32_t detail; /* ENDED: status:16 | enum weir_result:16; REFUSED: limit */
} WEIR_ALIGN_LINE;

/* The bytes of a ring of `cnt` entries. */
static inline uint64_t weir_audit_ring_bytes(uint32_t cnt)
{
    return sizeof(struct weir_shm_audit_ring) + cnt * sizeof(struct weir_shm_audit_entry);
}

static inline struct weir_shm_audit_entry *weir_audit_entries(struct weir_shm_audit_ring *ring)
{
    return (void *)(ring + 1);
}

/* The writer's side of a ring; private to the thread. */
struct weir_audit {
    struct weir_shm_audit_ring *ring; /* NULL: no audit is kept */
    uint64_t head;  /* our own count: what stands in the ring is never read back */
    uint64_t taken; /* as last read */
    uint32_t cnt;   /* a power of two */
    uint8_t client; /* for whom, where the writer is the worker */
};

/* Go on where the ring's writer before us stopped. `bytes` of a ring; false, and no audit, where they hold no power of two of entries. */
bool weir_audit_open(struct weir_audit *audit, void *ring, uint64_t bytes);

/*
 * For whoever copies a board: each word by weir_audit_word in ascending order, so that what `written` says is there lies behind it; then `begun` by
 * weir_audit_begun, which replaces the copy's.
 */
static inline uint64_t weir_audit_word(const uint64_t *at)
{
    return weir_load_acquire_u64(at); /* pair:audit_written A */
}

static inline uint64_t weir_audit_begun(const struct weir_shm_audit *live)
{
    weir_fence_acquire();                       /* the records' loads stay before it */
    return weir_load_acquire_u64(&live->begun); /* pair:audit_begun A */
}

struct weir_permit_view;

/* A permit was granted. Caller: the thread that owns `view`, which keeps an audit; weir_permit.c alone. Cost: some ns, one line of memory at most. */
void weir_audit_granted(struct weir_permit_view *view, const struct weir_permit *permit);

/* It counts as something else: `units` (NULL: as charged); not `made`: as nothing. Writes nothing where that is the same. */
void weir_audit_corrected(struct weir_permit_view *view, const struct weir_permit *permit,
                          bool made, const struct weir_cost *units, uint64_t now_ns);

#endif
