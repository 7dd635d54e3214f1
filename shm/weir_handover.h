/*
 * weir_handover.h: how one broker takes over from another.
 *
 * Two processes, maybe of two versions. The giver is the supervisor of the broker that runs, or its worker where the supervisor has died. It listens at
 * RUNTIME_DIR/NAME/handover.sock (SOCK_SEQPACKET, for its own uid and root). The taker is a new `weird`; it asks, the giver answers:
 *
 *   taker            giver
 *   HELLO        ->                            ABI, layout, who it is
 *                <-  HELLO                     0 and {board (to look at), permits, ledger, lock, this listening socket, [journal, its lock]}; or an error with its text
 *   PIECE d      ->                            for each domain
 *                <-  PIECE                     {ring, [listening socket]}
 *   CLIENT i     ->                            from index i on
 *                <-  CLIENT                    the next client and {arena, shadow, doorbell, bell, pidfd, [its connection]}; client 255: no more
 *   READY        ->                            {the new board}: mapped, and nobody has it yet
 *                                              the giver's worker takes nothing new, follows what is on the wire, leaves. Permits flow
 *                                              then: successor named, clocks closed, lease ended, doorbell wanted, all on the old board
 *                <-  GO                        the clocks as they were
 *   copies the board, writes the lease there   permits flow again
 *   TAKEN        ->                            the giver leaves
 *
 * The end of the connection at any step says that the other one is gone. Before GO the giver goes on as if nothing had been. After GO and before TAKEN
 * the taker is dead (whoever hangs there is killed): where its board bears no lease nobody was granted anything by it, and the giver takes all
 * back; where it bears one the giver leaves too, and permits stop with that lease. A taker whose giver ends before GO gives up and has changed nothing. So at
 * no instant two boards bear a lease that holds.
 *
 * What may differ: the binary, and of the configuration what is in no table (times, logs, keys). Limits, routes, endpoints, domains and the ring's size
 * must be those in force, which a reload may have changed (broker/reload.h), or the taker refuses.
 */
#ifndef WEIR_HANDOVER_H
#define WEIR_HANDOVER_H

#include "weir_layout.h"

#define WEIR_HANDOVER_MAGIC   UINT32_C(0x6f486557) /* "WeHo" */
#define WEIR_HANDOVER_VERSION 1U
#define WEIR_HANDOVER_SOCKET  "handover.sock"
#define WEIR_HANDOVER_FDS_MAX 7

enum weir_handover_kind {
    WEIR_HANDOVER_HELLO = 1,
    WEIR_HANDOVER_PIECE = 2,
    WEIR_HANDOVER_CLIENT = 3,
    WEIR_HANDOVER_READY = 4,
    WEIR_HANDOVER_GO = 5,
    WEIR_HANDOVER_TAKEN = 6,
};

/* The taker's HELLO: only from a worker whose supervisor is dead (a start without --takeover). */
#define WEIR_HANDOVER_ORPHANS_ONLY 1U
/* The giver's HELLO: it is such a worker. */
#define WEIR_HANDOVER_ORPHAN 2U

struct weir_handover_hello {
    uint32_t abi_major;
    uint32_t abi_minor;
    uint64_t layout_hash;
    uint32_t flags;
    uint32_t pid;
    /* the giver's: what its segments are made for */
    uint64_t broker_id;
    uint32_t domain_cnt;
    uint32_t ring_order;
    uint64_t ledger_bytes;
    uint32_t restarts; /* of workers so far */
    uint32_t journal;  /* 1: a journal is kept */
    uint64_t journal_slot_bytes;
    uint64_t journal_generation;
    char journal_dir[256]; /* for people: cut where it is longer */
};

struct weir_handover_client {
    uint32_t index; /* WEIR_CLIENTS_MAX: no more */
    uint32_t domain;
    uint32_t role;
    uint32_t pid;
    uint32_t uid;
    uint32_t slot_cnt;
    uint32_t request_bytes;
    uint32_t gone;
    uint64_t response_bytes;
    uint64_t attached_ns;
    char name[WEIR_NAME_BYTES];
};

/* A provider's clock as it was before it was closed on the old board. */
struct weir_handover_clock {
    uint64_t known; /* 0: it was never published, or could not be read */
    uint64_t epoch;
    struct weir_server_clock clock;
};

struct weir_handover {
    uint32_t magic;
    uint32_t version;
    uint32_t bytes;
    uint32_t kind;  /* enum weir_handover_kind */
    int32_t error;  /* 0, or enum weir_error; then `text` says why, and the connection ends */
    uint32_t index; /* PIECE: the domain. CLIENT: look from here on */
    union {
        struct weir_handover_hello hello;
        struct weir_handover_client client;
        struct {
            uint32_t provider_cnt;
            uint32_t reserved;
            uint64_t ended_at_ns; /* when the lease ended on the old board */
            struct weir_handover_clock clock[WEIR_PROVIDERS_MAX];
        } go;
        char text[320];
    };
};

#endif
