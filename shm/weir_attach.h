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
 * Both structs begin with {magic, version, bytes}, so that either side can name a mismatch instead of misreading it. They only grow.
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
    uint32_t reserved;
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

#endif
