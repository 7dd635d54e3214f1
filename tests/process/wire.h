/*
 * wire.h: a strategy's own transport: HTTP/1.1 over one kept connection, one call at a time, without a library.
 *
 * Between the last look at the clock and the system call that writes there are a few instructions, so a process that is stopped or pushed off its core
 * hardly ever writes after its permit's `use_by_ns`. One thread; nothing is shared.
 */
#ifndef WEIR_TESTS_PROCESS_WIRE_H
#define WEIR_TESTS_PROCESS_WIRE_H

#include "rig.h"

struct wire {
    int fd; /* -1: not connected */
    uint16_t port;
    size_t got_bytes;
    char answer[4096];
};

enum wire_sent { WIRE_SENT, WIRE_LATE, WIRE_BROKEN };

/* Connect to 127.0.0.1. False: nobody listens. */
bool wire_open(struct wire *x, uint16_t port);
void wire_close(struct wire *x);

/* Write a whole request if it is not later than `use_by_ns`. WIRE_LATE: no byte was written. WIRE_BROKEN: unknown. */
enum wire_sent wire_send(struct wire *x, struct weir *w, uint64_t use_by_ns, const char *request,
                         size_t bytes);

/* Read what is there: the answer's status once it is whole, 0 before, -1 when the connection ended. Never waits. */
int wire_read(struct wire *x);

#endif
