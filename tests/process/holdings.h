/*
 * holdings.h: what a process has open and mapped, so that a test sees what it did not give back.
 */
#ifndef WEIR_TESTS_PROCESS_HOLDINGS_H
#define WEIR_TESTS_PROCESS_HOLDINGS_H

#include "rig.h"

/* Descriptors of all kinds, of memory and of processes; mappings of weir's segments. */
struct holdings {
    unsigned fds, memory, processes, mappings;
};

struct holdings holdings_of(pid_t pid);

/* It has no more than it had, but `connections` descriptors. */
void holdings_check(struct rig *r, const char *who, const struct holdings *was, pid_t pid,
                    unsigned connections);

/* How many clients the board has. */
unsigned holdings_clients(const struct weir *w);

#endif
