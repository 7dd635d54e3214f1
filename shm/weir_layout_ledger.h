/*
 * weir_layout_ledger.h: what is in the ledger and the shadows, the memory that a worker leaves to the next one. weir_layout.h has the rules, and which section is where.
 *
 *   writer, reader   the worker; the supervisor where none lives      never leaves the broker      who dies: the next worker goes on from it (broker/aftermath.h)
 */
#ifndef WEIR_LAYOUT_LEDGER_H
#define WEIR_LAYOUT_LEDGER_H

#include "weir_layout.h"

/* The worker's own truth about one slot of one client. Never shared with clients; survives the worker. */
struct weir_shm_shadow {
    uint32_t generation;
    /* enum weir_slot_state: what the worker knows, whatever the client's word says */
    uint32_t state;
    uint32_t pool_off_bytes; /* room held in the response pool */
    uint32_t pool_bytes;     /* 0 = none */
    uint32_t route;
    uint32_t sends;
    uint64_t deadline_ns;
    uint64_t taken_ns;
    uint64_t sent_ns;
    uint64_t correlation;
    uint16_t idempotent;
    uint16_t on_wire; /* in SENDING: of its sends, how many may still be counted; 2 with a hedge */
    uint32_t member;  /* of the pool: who makes it, as of the last sending (weir_member.h) */
    uint32_t
        hedge_member; /* ... and who makes its hedge; written before on_wire says that there is one */
    uint32_t reserved;
};

#define WEIR_DOUBT_ID_BYTES   64U
#define WEIR_DOUBT_TEXT_BYTES 192U

/*
 * What the worker would ask the exchange if the call in this slot got no answer (broker/doubt.h): the question whole, because whoever asks it after the worker's
 * death must not read it where a client can write. One for each shadow; never shared with clients. Written before the shadow says SENDING.
 */
struct weir_shm_doubt {
    uint32_t generation; /* of the slot's life that it is about */
    uint32_t named;      /* 0: that call bore no id */
    uint32_t route;      /* of the question; index in the tables */
    uint32_t priority;
    uint64_t scope;
    uint32_t resent;                              /* it was sent again: never a third time */
    uint32_t path_bytes, query_bytes, body_bytes; /* of `text`, in this order */
    uint64_t reserved[3];
    char id[WEIR_DOUBT_ID_BYTES]; /* decoded; ends with a NUL where it is shorter */
    char text[WEIR_DOUBT_TEXT_BYTES];
};

/* Worker counters that outlive it. */
struct weir_shm_ledger {
    uint64_t correlation_next;
    uint64_t journal_sequence; /* of the last write that reached the disk */
    uint64_t journal_slot;     /* where it lies: the next write goes to the other slot */
    uint64_t
        nonce_ns; /* of the last signed call that bore one, whatever the key: the next is larger (broker/signer.h) */
    uint64_t reserved[12];
    /*
     * What the private account said before the charge that is being made on both accounts (broker/pair.h): a worker that dies between the two
     * leaves them here, and its successor puts them back. `undo_cnt` last when it opens, first when it closes.
     */
    uint32_t undo_cnt;
    uint32_t undo_word[WEIR_PERMIT_LIMITS_MAX]; /* indices of limit words */
    uint32_t undo_reserved[7];
    uint64_t undo[WEIR_PERMIT_LIMITS_MAX][2];
    uint64_t undo_rest[8];
} WEIR_ALIGN_LINE;

#define WEIR_MEMORY_WINDOWS 4U

/*
 * What the journal on disk says of one limit word (weir_journal.h, broker/ceiling.h). Writer: worker; the supervisor before the first
 * worker starts. Entry k & 3 of an array is about window k.
 */
struct weir_shm_memory {
    uint32_t window[WEIR_MEMORY_WINDOWS]; /* ceilings on disk, by the ids of the timeline in use */
    uint32_t units[WEIR_MEMORY_WINDOWS];
    /* what an earlier broker may have used, by ids of the exchange's windows; waits until the clock is known */
    uint32_t base_window[WEIR_MEMORY_WINDOWS];
    uint32_t base_units[WEIR_MEMORY_WINDOWS];
    uint32_t base_floating; /* ... and this in whatever window was current */
    uint32_t reserved0;
    uint64_t base_at_ns;    /* everything of the base was granted before */
    uint64_t base_until_ns; /* no window that it may count in is current any more; 0 = no base */
    uint64_t
        rolling; /* kinds without windows: what the journal covers: a bucket's TAT, or units taken */
    uint64_t
        added; /* sliding_window: units added beside permits, when the journal was last written */
    uint32_t ahead; /* the most that surcharges were seen to pass a ceiling by */
    uint32_t reserved1;
    uint64_t reserved[2];
} WEIR_ALIGN_LINE;

/*
 * Per provider: what the broker remembers of being told to stop (broker/backoff.h). Writer: worker. A worker that dies in the middle leaves whole
 * words: at worst the step that it was just counting is lost in part. The next worker restores the board's pause from here.
 */
struct weir_shm_backoff {
    uint64_t until_ns;           /* end of the last pause that a throttle began; 0 = never one */
    uint64_t last_ns;            /* when the last step was counted */
    uint64_t resumed_ns;         /* the last resume by an operator */
    uint64_t operator_until_ns;  /* end of an operator's pause; 0 = none */
    uint64_t steps;              /* counted in all */
    uint32_t level;              /* of the backoff; 0 = it begins at its base */
    uint32_t cause;              /* enum weir_pause_cause, of `until_ns` */
    uint32_t generation;         /* goes up at each step and each resume */
    uint32_t traders_generation; /* of the pause word in permits, as last looked at */
    uint64_t reserved[9];
} WEIR_ALIGN_LINE;

#endif
