/*
 * control.h: what supervisor, worker and resolver say to each other.
 *
 * Socketpairs of type SOCK_SEQPACKET: a message arrives whole or not at all. The supervisor writes without blocking, so a worker that hangs cannot
 * hang it. A worker that is forked inherits the supervisor's table of clients in memory; only what happens later comes as messages.
 */
#ifndef WEIR_BROKER_CONTROL_H
#define WEIR_BROKER_CONTROL_H

#include "shm/weir_attach.h"

#include <sys/types.h>

enum control_kind {
    /* supervisor: a client came; with 5 descriptors: arena, shadow, doorbell, bell, pidfd */
    CONTROL_ATTACH = 1,
    CONTROL_GONE = 2,    /* supervisor: it left or died */
    CONTROL_REAPED = 3,  /* worker: nothing of it is left; the index may be used again */
    CONTROL_DRAIN = 4,   /* supervisor: end what is in flight, take nothing new */
    CONTROL_DRAINED = 5, /* worker: done, exiting */
    CONTROL_OPERATE =
        6, /* supervisor: an operator's order; the worker answers OPERATED with the same ticket */
    CONTROL_OPERATED = 7,
    CONTROL_QUIESCE =
        8, /* supervisor: a successor is ready: take nothing new, follow what is on the wire, leave */
    CONTROL_GO_ON = 9, /* supervisor: it is gone: as before */
};

#define CONTROL_FDS 5

/* One attached client, as the supervisor knows it and the worker maps it. */
struct client_info {
    uint32_t index; /* 0..WEIR_CLIENTS_MAX-1 */
    uint32_t domain;
    uint32_t role;
    uint32_t pid;
    uint32_t uid;
    uint32_t slot_cnt;
    uint32_t request_bytes;
    uint32_t gone; /* dead or left; waits for the worker to say REAPED */
    uint64_t response_bytes;
    uint64_t attached_ns;
    char name[WEIR_NAME_BYTES];
    int arena_fd, shadow_fd, doorbell_fd, bell_fd,
        pidfd; /* valid in the process that holds this copy */
};

/* An operator's order on its way to the worker, and its answer on the way back. */
struct control_operation {
    uint64_t ticket; /* the supervisor's: who waits for the answer */
    uint32_t uid;
    uint32_t pid;
    union {
        struct weir_operate asked;
        struct weir_operated answer;
    };
};

struct control_message {
    uint32_t kind;
    uint32_t reserved;
    struct client_info client;
    struct control_operation operation;
};

/* Send one message, with `fd_cnt` descriptors. Never blocks. Returns 0 or -1 with errno. */
int control_send(int socket, const void *message, size_t bytes, const int *fds, size_t fd_cnt);

/*
 * Receive one message. `*fd_cnt` is in: room, out: received; the descriptors are close-on-exec. Returns the bytes, 0 at the end, -1 with errno.
 */
ssize_t control_receive(int socket, void *message, size_t bytes, int *fds, size_t *fd_cnt);

#endif
