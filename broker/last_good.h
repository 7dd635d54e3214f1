/*
 * last_good.h: the last known good answers on disk, for a later broker.
 *
 * STATE_DIR/NAME/
 *   last_good.0, last_good.1   one snapshot each (snapshot.h), written in turn: while one is written the other one is whole
 *
 * What is in it: the kept answers of status 200 (cache.h) of routes with `last_good`, however old within that; also those that an earlier broker fetched and nobody
 * has got a newer one of. Public answers only: others are not kept. Mode 0600 all the same.
 *
 *   who writes   the worker, every broker.last_good_every where an answer was kept since, bit by bit through its io_uring: some answers a tick into the image, then 64 KiB a
 *                turn of its loop into the file that is not the newest on disk, then fsync. Nobody waits for it: what fails is said once and tried again
 *                a period later. At a clean stop the supervisor, when the worker has left and the state was written
 *   who reads    the supervisor, at a start with nobody here, before there is a worker. What it believes it puts into the cache on the board, with source
 *                DISK and no time in which it is fresh. A file that it does not believe costs nothing but its answers
 *   one writer   the journal's lock is theirs too. A worker is dead only when what it had asked the kernel to write is over, so its successor meets nobody; who takes a
 *                broker over opens the files once the other one's worker has left
 *
 * Which file is the newest is in memory that supervisor and workers share, with the image. A worker that dies in a write leaves a torn file and the other
 * one whole. What a route's answers are good for is its identity: provider, name, method, path, hosts and their paths, names of instruments; answers of
 * another one are left where they are.
 */
#ifndef WEIR_BROKER_LAST_GOOD_H
#define WEIR_BROKER_LAST_GOOD_H

#include "broker/loop.h"
#include "broker/region.h"
#include "broker/snapshot.h"

struct worker;

/* Shared by a supervisor and its workers, one after the other. Writer: whoever lives of the workers, else the supervisor. */
struct last_good_place {
    uint64_t file;     /* the newest on disk is this one */
    uint64_t sequence; /* ... and bears this number; 0: none is known */
};

struct last_good {
    const struct weir_config *config;
    const struct journal *journal; /* whose directory and lock it uses */
    int fd[2];                     /* -1: nothing is written */
    uint64_t longest_ns;           /* of all routes */
    uint64_t image_bytes;
    unsigned char *image;
    struct last_good_place *place;
    uint64_t kept_ns[WEIR_ROUTES_MAX + 2 * WEIR_PROVIDERS_MAX]; /* [route]: 0 none of it */
    uint64_t identity[WEIR_ROUTES_MAX + 2 * WEIR_PROVIDERS_MAX][2];
    const struct weir_config_route *route[WEIR_ROUTES_MAX + 2 * WEIR_PROVIDERS_MAX];
};

/* What must be the same for an answer of `route` to be an answer of it still. Pure. */
void last_good_identity(const struct weir_config_provider *provider,
                        const struct weir_config_route *route, uint64_t out[2]);

/*
 * Open both files, if a route wants it and a journal is kept. `restore`: bring what they hold to the board; else (a takeover: the board was copied) only
 * learn which one is the newest. Never fails a start: what does not work is logged. Sets region->last_good, NULL: nothing is kept. Caller: the supervisor, the
 * journal open, no worker alive.
 */
void last_good_open(struct last_good *g, const struct weir_config *config,
                    const struct journal *journal, struct region *region, bool restore);

/* Put the sound snapshot `header`, whose ages have grown by `passed_ns`, into the empty cache of `region`. Returns how many answers went in. Caller: last_good_open, tests. */
uint32_t last_good_restore(const struct last_good *g, struct region *region,
                           const struct snapshot_header *header, uint64_t passed_ns,
                           uint64_t now_ns);

/* The configuration was read again: the one before goes. What last_good.h knows of routes is the same in both (supervisor_reload.c). Caller: the supervisor, no worker alive. */
void last_good_follow(struct region *region, const struct weir_config *config);

/* A process that has no business with it lets the memory go; the descriptors it closes itself. Caller: the resolver's. */
void last_good_forget(struct last_good *g);

/* Write what the board holds, and fsync; blocks. Caller: the supervisor at a clean stop, no worker alive. */
void last_good_leave(struct last_good *g, const struct region *region);

/* ---------------------------------------------------------------------------------------------- for the two who write */

/* A walk over the heads, some at a time. */
struct last_good_walk {
    struct snapshot_writer writer;
    uint32_t next; /* head */
    uint64_t began_ns;
};

/* Begin an image that stands for now. `now_ns` 0: read here, behind the stamp, so that whoever is stopped between the two says too old and not too young. */
void last_good_begin(const struct last_good *g, struct last_good_walk *walk, uint64_t now_ns);
/* Take the next heads, of some `budget_bytes` of answers. True: the image is whole; its bytes are walk->writer.used_bytes. */
bool last_good_go_on(const struct last_good *g, const struct region *region,
                     struct last_good_walk *walk, uint64_t budget_bytes);
/* The file to be written next. */
static inline uint64_t last_good_next(const struct last_good *g)
{
    return (g->place->file & 1U) ^ 1U; /* a worker that went wrong may have written anything */
}
/* It is on disk. */
void last_good_written(const struct last_good *g, uint64_t file);

/* last_good_write.c, the worker's. `last_good_start` with the cage still open or not: it opens nothing. Returns false without memory. */
bool last_good_start(struct worker *w);
/* An answer of `route` was kept. */
void last_good_changed(struct worker *w, uint32_t route);
void last_good_turn(struct worker *w); /* each tick */
void last_good_event(struct worker *w, const struct loop_event *e);
/* Is a write under way? The next worker must not meet it. */
bool last_good_is_writing(const struct worker *w);

#endif
