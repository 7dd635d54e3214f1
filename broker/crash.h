/*
 * crash.h: what is kept of a worker that died unasked: its last log lines, and how it ended.
 *
 * The worker's lines go to standard error as always, and into a ring in memory that supervisor and worker share. When the worker dies the supervisor writes
 *
 *   RUNTIME_DIR/NAME/crash.K     K from 0 to 7, the oldest is written over
 *
 * one JSON object {at, pid, signal, status, core, core_pattern, build_id, version, restarts, uptime_ms, lines} and then the lines. What the log never holds (secrets, bodies)
 * is not in it either. Cores are written where broker.core allows it, by the kernel's own rule (core(5)).
 *
 * The ring's writer may die at any instruction and may have scribbled: the reader trusts no number and no end of a line in it.
 */
#ifndef WEIR_BROKER_CRASH_H
#define WEIR_BROKER_CRASH_H

#include "shm/weir_base.h"

#include <sys/types.h>

#define CRASH_LINES      64U
#define CRASH_LINE_BYTES 1024U
#define CRASH_FILES      8U

struct crash_ring {
    uint32_t next; /* of the line to be written; goes round */
    uint32_t reserved[31];
    char line[CRASH_LINES][CRASH_LINE_BYTES]; /* cut, NUL-terminated */
};

/* Memory that a fork shares; NULL without memory: then no lines are kept. Caller: the supervisor, once. */
struct crash_ring *crash_ring_open(void);

/* Forget the former worker's lines. Caller: the supervisor, before each fork. */
void crash_ring_clear(struct crash_ring *ring);

/* Caller: log.c. Cost: one copy. */
void crash_ring_put(struct crash_ring *ring, const char *text, size_t bytes);

struct crash {
    pid_t pid;
    int status; /* of waitpid */
    uint32_t restarts;
    uint64_t uptime_ns;
};

/* Write the file of this death and log `worker_crashed`, or why it could not be written. Caller: the supervisor, after the next worker is on its way. */
void crash_write(const char *dir, const struct crash_ring *ring, const struct crash *crash);

/* The build id of this program in hex, "" where it has none. */
void crash_build_id(char *out, size_t bytes);

/* Let the worker leave a core of so many bytes at most; 0: none. Caller: the worker's process. */
void crash_core_limit(uint64_t bytes);

#endif
