/*
 * weir_attach.h: how a client meets the broker.
 *
 * One unix socket (SOCK_SEQPACKET) per domain: RUNTIME_DIR/NAME/DOMAIN.sock. The client sends one hello, the supervisor answers one
 * welcome with the file descriptors of the role, in this order, by SCM_RIGHTS:
 *
 *   monitor  board
 *   caller   board, ring, arena, doorbell (eventfd), bell (socket)
 *   trader   board, ring, arena, doorbell, bell, permits
 *
 * The connection then stays open: its end means "the supervisor is gone" to the client, and "the client left" to the supervisor. (It is
 * not the sign of death: a forked child would keep it open. The supervisor also watches a pidfd.)
 *
 * A broker that has taken over says another welcome on the connections that it was handed, with the new board as its only descriptor; the
 * library takes it when the lease on the old board ends (libclient/board.c).
 *
 * An operator (`weir ctl`) says one struct weir_operate instead of the hello, gets one struct weir_operated, and the connection ends. Allowed to the
 * broker's own uid and to the uids of broker.operators, whatever the domain says.
 *
 * All structs begin with {magic, version, bytes}, so that either side can name a mismatch instead of misreading it. They only grow.
 */
#ifndef WEIR_ATTACH_H
#define WEIR_ATTACH_H

#include "weir_types.h"

#define WEIR_ATTACH_MAGIC   UINT32_C(0x72696557) /* "Weir" */
#define WEIR_ATTACH_VERSION 1U
#define WEIR_ATTACH_FDS_MAX 6

struct weir_attach_hello {
    uint32_t magic;
    uint32_t version;
    uint32_t bytes;
    uint32_t abi_major;
    uint64_t layout_hash;
    uint32_t role;          /* enum weir_role */
    uint32_t slot_cnt;      /* request slots wanted; 0 = 64 */
    uint32_t request_bytes; /* bytes per request wanted; 0 = 2048 */
    /*
     * 0 = a new client. Else the index + 1 of a client of this process that lost its connection (its supervisor died, or was taken over from): the welcome brings the
     * board alone, and this connection stands for the client from now on.
     */
    uint32_t rejoin;
    uint64_t broker_id; /* rejoin: of whom it was a client; indices of another broker are others' */
    uint64_t response_bytes; /* response pool wanted; 0 = what makes the arena 1 MiB */
    char client_name[WEIR_NAME_BYTES];
};

struct weir_attach_welcome {
    uint32_t magic;
    uint32_t version;
    uint32_t bytes;
    int32_t error; /* 0, or enum weir_error: then no descriptors come, and `text` says why */
    uint32_t abi_major;
    uint32_t abi_minor;
    uint64_t layout_hash;
    uint64_t broker_id;
    uint32_t client; /* index of this client; UINT32_MAX for a monitor */
    uint32_t domain;
    uint32_t fd_cnt;
    uint32_t ring_order;
    /* the supervisor's CLOCK_MONOTONIC as it answered: shows a time namespace */
    uint64_t monotonic_ns;
    char text[160];
};

#define WEIR_OPERATE_MAGIC   UINT32_C(0x706f6557) /* "Weop" */
#define WEIR_OPERATE_VERSION 2U                   /* 2: balance, check */
#define WEIR_REASON_BYTES    96

enum weir_operation {
    WEIR_OPERATION_PAUSE = 1,
    WEIR_OPERATION_RESUME = 2,
    WEIR_OPERATION_BLOCK = 3,
    WEIR_OPERATION_UNBLOCK = 4,
    WEIR_OPERATION_BALANCE =
        5, /* how calls are spread over the provider's endpoints, until another order or the broker's end */
    WEIR_OPERATION_CHECK = 6, /* ask the provider's endpoints how they are, now */
};

struct weir_operate {
    uint32_t magic;
    uint32_t version;
    uint32_t bytes;
    uint32_t operation;   /* enum weir_operation */
    uint64_t duration_ns; /* pause: so long; 0 = until a resume */
    /* pause, resume, balance, check: a provider. block, unblock: a client by its index or name (all of that name), or "all" */
    char target[WEIR_NAME_BYTES];
    char reason[WEIR_REASON_BYTES]; /* for the log; "" = none */
    uint32_t balance;               /* enum weir_balance; 0 = as configured */
    uint32_t reserved;
};

struct weir_operated {
    uint32_t magic;
    uint32_t version;
    uint32_t bytes;
    int32_t error; /* 0, or enum weir_error */
    uint32_t cnt;  /* providers or clients that it reached */
    uint32_t reserved;
    char text[160]; /* what happened, or what failed: a clause for people, without a line end */
};

/* A client's name as the broker keeps it: it goes to logs and screens. Shares are found by it, on both sides. */
static inline void weir_attach_name(char out[WEIR_NAME_BYTES], const char *name)
{
    size_t i = 0;
    for (; i < WEIR_NAME_BYTES - 1 && name[i] != '\0'; i++) {
        out[i] = (char)(name[i] > 0x20 && name[i] < 0x7f ? name[i] : '_');
    }
    for (; i < WEIR_NAME_BYTES; i++) {
        out[i] = '\0';
    }
}

#endif
