/*
 * loop.h: the worker's single wait point, one io_uring.
 *
 * Everything the worker waits for is a poll on this ring, and its time-outs are the wait's own time-out. Events come back with the
 * kind, the generation and the index that were given, so that one that belongs to a descriptor's former life is recognised.
 *
 * One-shot polls for whatever is read level-triggered (curl's sockets, control); multishot for doorbells, which are never read
 * (research/queues_curl_shm.md A3.5, B1: a multishot poll on a curl socket hangs uploads). A poll in flight pins its file, so it
 * is cancelled by user_data before the descriptor is closed.
 *
 * Only the thread that opened a loop may use it (SINGLE_ISSUER, DEFER_TASKRUN). liburing is used here and nowhere else.
 */
#ifndef WEIR_BROKER_LOOP_H
#define WEIR_BROKER_LOOP_H

#include "shm/weir_base.h"

#include <liburing.h>

enum loop_kind {
    LOOP_CURL = 1,     /* index: fd */
    LOOP_DOORBELL = 2, /* index: client */
    LOOP_PIDFD = 3,    /* index: client */
    LOOP_CONTROL = 4,
    LOOP_RESOLVER = 5,
    LOOP_CANCEL = 6,    /* the answer to a cancel: of no interest */
    LOOP_JOURNAL = 7,   /* index 0: the write, 1: its fsync */
    LOOP_HANDOVER = 8,  /* index 0: the listener, 1: who takes over */
    LOOP_LAST_GOOD = 9, /* index 0: the write, 1: its fsync */
    LOOP_SIGN_IN = 10,  /* index 2 * session: the write, and one more: its fsync */
};

struct loop {
    struct io_uring ring;
};

struct loop_event {
    enum loop_kind kind;
    uint32_t generation; /* 24 bits */
    uint32_t index;
    int result; /* poll mask, or -errno */
    bool more;  /* a multishot poll stays armed */
};

/*
 * Open the ring, restricted to what the functions below do: any other operation on it fails with EACCES, in this process and for whoever takes it over. Returns 0, or -errno with `text` saying which setting of this machine forbids io_uring and what to do.
 */
int loop_open(struct loop *loop, unsigned entries, char *text, size_t text_bytes);
void loop_close(struct loop *loop);

/* Arm a poll on `fd` for `events` (POLLIN, ...). It reaches the kernel with the next wait or submit. */
void loop_poll(struct loop *loop, enum loop_kind kind, uint32_t generation, uint32_t index, int fd,
               unsigned events, bool multishot);

/*
 * Write `bytes` at `off`, then fsync, linked: two events of kind LOOP_JOURNAL, index 0 and 1, results as of pwrite and fsync. `at` must stay as it is
 * until both have come. Only the journal uses it (broker/ceiling.h).
 */
void loop_write_sync(struct loop *loop, uint32_t generation, int fd, const void *at, uint32_t bytes,
                     uint64_t off);

/*
 * The same for the answers on disk (broker/last_good.h): events of kind LOOP_LAST_GOOD, and without `sync` only the write.
 */
void loop_write_answers(struct loop *loop, uint32_t generation, int fd, const void *at,
                        uint32_t bytes, uint64_t off, bool sync);

/*
 * The same for a session's token (broker/sign_in.h): events of kind LOOP_SIGN_IN.
 */
void loop_write_token(struct loop *loop, uint32_t generation, uint32_t session, int fd,
                      const void *at, uint32_t bytes, uint64_t off);

/* Take an armed poll back. */
void loop_poll_cancel(struct loop *loop, enum loop_kind kind, uint32_t generation, uint32_t index);

/* Copy out up to `max` events that have arrived. No system call. */
unsigned loop_take(struct loop *loop, struct loop_event *events, unsigned max);

/* Hand new polls to the kernel and let it post what is ready, without waiting. A system call only if there is something to do. */
void loop_pump(struct loop *loop);

/* The same, and wait for an event, for `timeout_ns` at most. */
void loop_wait(struct loop *loop, uint64_t timeout_ns);

/*
 * How many events the kernel had no memory to keep (a full completion queue alone loses none: the rest comes with the next pump or wait). Whoever waits for one of them
 * waits for ever, and nobody knows who that is: the worker leaves, and the next one arms everything anew.
 */
uint32_t loop_lost(const struct loop *loop);

#endif
