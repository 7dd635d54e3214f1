#include "broker/loop.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static uint64_t user_data(enum loop_kind kind, uint32_t generation, uint32_t index)
{
    return (uint64_t)kind << 56 | (uint64_t)(generation & 0xffffffU) << 32 | index;
}

/* Which setting forbids io_uring? The kernel only says "no". */
static void explain(int error, char *text, size_t text_bytes)
{
    int disabled = 0;
    FILE *f = fopen("/proc/sys/kernel/io_uring_disabled", "re");
    if (f != NULL) {
        if (fscanf(f, "%d", &disabled) != 1) {
            disabled = 0;
        }
        (void)fclose(f);
    }
    if (disabled != 0) {
        (void)snprintf(text, text_bytes,
                       "cannot open io_uring: %s: kernel.io_uring_disabled = %d: set it to 0 "
                       "(sysctl kernel.io_uring_disabled=0)",
                       strerror(error), disabled);
    } else if (error == EPERM || error == ENOSYS || error == EACCES) {
        (void)snprintf(text, text_bytes,
                       "cannot open io_uring: %s: a seccomp filter (container runtime, systemd "
                       "SystemCallFilter=) or an old kernel "
                       "forbids io_uring_setup: allow io_uring_setup, io_uring_enter and "
                       "io_uring_register, or use Linux 6.1 or later",
                       strerror(error));
    } else if (error == ENOMEM) {
        (void)snprintf(
            text, text_bytes,
            "cannot open io_uring: %s: raise the limit of locked memory (ulimit -l, LimitMEMLOCK=)",
            strerror(error));
    } else {
        (void)snprintf(text, text_bytes, "cannot open io_uring: %s: use Linux 6.1 or later",
                       strerror(error));
    }
}

/*
 * What a ring may do is settled before it can do anything: it polls, takes polls back, writes and fsyncs (the journal), and links two of these. A ring works around
 * system-call filters, so one that could open or connect would be a way out of the cage (broker/cage.h). liburing.so 2.3 does not export the
 * helpers.
 */
static int restrict_and_enable(struct loop *loop)
{
    static const uint8_t operation[] = {IORING_OP_POLL_ADD, IORING_OP_ASYNC_CANCEL, IORING_OP_WRITE,
                                        IORING_OP_FSYNC};
    struct io_uring_restriction rule[WEIR_ARRAY_CNT(operation) + 2] = {
        {.opcode = IORING_RESTRICTION_SQE_FLAGS_ALLOWED, .sqe_flags = IOSQE_IO_LINK},
        {.opcode = IORING_RESTRICTION_REGISTER_OP, .register_op = IORING_UNREGISTER_RING_FDS},
    };
    for (size_t i = 0; i < WEIR_ARRAY_CNT(operation); i++) {
        rule[2 + i].opcode = IORING_RESTRICTION_SQE_OP;
        rule[2 + i].sqe_op = operation[i];
    }
    int fd = loop->ring.ring_fd;
    if (syscall(SYS_io_uring_register, fd, IORING_REGISTER_RESTRICTIONS, rule,
                WEIR_ARRAY_CNT(rule)) != 0) {
        return -errno;
    }
    (void)io_uring_register_ring_fd(
        &loop->ring); /* saves a lookup per system call; works without. Still allowed: rules hold from the next line on */
    return syscall(SYS_io_uring_register, fd, IORING_REGISTER_ENABLE_RINGS, NULL, 0) != 0 ? -errno
                                                                                          : 0;
}

int loop_open(struct loop *loop, unsigned entries, char *text, size_t text_bytes)
{
    struct io_uring_params p = {
        .flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_SUBMIT_ALL |
                 IORING_SETUP_TASKRUN_FLAG | IORING_SETUP_CQSIZE | IORING_SETUP_R_DISABLED,
        .cq_entries = entries * 4,
    };
    int rc = io_uring_queue_init_params(entries, &loop->ring, &p);
    if (rc < 0) {
        explain(-rc, text, text_bytes);
        return rc;
    }
    rc = restrict_and_enable(loop);
    if (rc != 0) {
        io_uring_queue_exit(&loop->ring);
        explain(-rc, text, text_bytes);
    }
    return rc;
}

void loop_close(struct loop *loop)
{
    io_uring_queue_exit(&loop->ring);
}

/* A free submission entry; a full queue is submitted first. */
static struct io_uring_sqe *sqe_get(struct loop *loop)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(&loop->ring);
    while (sqe == NULL) {
        (void)io_uring_submit(&loop->ring);
        sqe = io_uring_get_sqe(&loop->ring);
    }
    return sqe;
}

void loop_poll(struct loop *loop, enum loop_kind kind, uint32_t generation, uint32_t index, int fd,
               unsigned events, bool multishot)
{
    struct io_uring_sqe *sqe = sqe_get(loop);
    if (multishot) {
        io_uring_prep_poll_multishot(sqe, fd, events);
    } else {
        io_uring_prep_poll_add(sqe, fd, events);
    }
    io_uring_sqe_set_data64(sqe, user_data(kind, generation, index));
}

static void write_prepare(struct loop *loop, enum loop_kind kind, uint32_t generation,
                          uint32_t index, int fd, const void *at, uint32_t bytes, uint64_t off,
                          bool sync)
{
    while (io_uring_sq_space_left(&loop->ring) < 2) { /* a link must not be cut by a submission */
        (void)io_uring_submit(&loop->ring);
    }
    struct io_uring_sqe *sqe = sqe_get(loop);
    io_uring_prep_write(sqe, fd, at, bytes, off);
    io_uring_sqe_set_data64(sqe, user_data(kind, generation, index));
    if (!sync) {
        return;
    }
    io_uring_sqe_set_flags(sqe, IOSQE_IO_LINK); /* a short or failed write cancels the fsync */
    sqe = sqe_get(loop);
    io_uring_prep_fsync(sqe, fd, IORING_FSYNC_DATASYNC);
    io_uring_sqe_set_data64(sqe, user_data(kind, generation, index + 1));
}

void loop_write_sync(struct loop *loop, uint32_t generation, int fd, const void *at, uint32_t bytes,
                     uint64_t off)
{
    write_prepare(loop, LOOP_JOURNAL, generation, 0, fd, at, bytes, off, true);
}

void loop_write_answers(struct loop *loop, uint32_t generation, int fd, const void *at,
                        uint32_t bytes, uint64_t off, bool sync)
{
    write_prepare(loop, LOOP_LAST_GOOD, generation, 0, fd, at, bytes, off, sync);
}

void loop_write_token(struct loop *loop, uint32_t generation, uint32_t session, int fd,
                      const void *at, uint32_t bytes, uint64_t off)
{
    write_prepare(loop, LOOP_SIGN_IN, generation, 2 * session, fd, at, bytes, off, true);
}

void loop_poll_cancel(struct loop *loop, enum loop_kind kind, uint32_t generation, uint32_t index)
{
    struct io_uring_sqe *sqe = sqe_get(loop);
    /* Not poll_remove: that fails (-EALREADY) while a wake-up of the poll is on its way, and whoever rings without end keeps one there. */
    io_uring_prep_cancel64(sqe, user_data(kind, generation, index), 0);
    io_uring_sqe_set_data64(sqe, user_data(LOOP_CANCEL, 0, 0));
}

unsigned loop_take(struct loop *loop, struct loop_event *events, unsigned max)
{
    unsigned head;
    unsigned cnt = 0;
    struct io_uring_cqe *cqe;
    io_uring_for_each_cqe(&loop->ring, head, cqe)
    {
        if (cnt == max) {
            break;
        }
        uint64_t data = cqe->user_data;
        events[cnt++] = (struct loop_event){
            .kind = (enum loop_kind)(data >> 56),
            .generation = (uint32_t)(data >> 32) & 0xffffffU,
            .index = (uint32_t)data,
            .result = cqe->res,
            .more = (cqe->flags & IORING_CQE_F_MORE) != 0,
        };
    }
    io_uring_cq_advance(&loop->ring, cnt);
    return cnt;
}

void loop_pump(struct loop *loop)
{
    /* With DEFER_TASKRUN the kernel posts completions only when asked; TASKRUN_FLAG says when asking is worth a system call. */
    unsigned flags = IO_URING_READ_ONCE(*loop->ring.sq.kflags);
    if (io_uring_sq_ready(&loop->ring) > 0 ||
        (flags & (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW)) != 0) {
        (void)io_uring_submit_and_get_events(&loop->ring);
    }
}

void loop_wait(struct loop *loop, uint64_t timeout_ns)
{
    struct __kernel_timespec ts = {.tv_sec = (long long)(timeout_ns / WEIR_NS_PER_S),
                                   .tv_nsec = (long long)(timeout_ns % WEIR_NS_PER_S)};
    struct io_uring_cqe *cqe;
    (void)io_uring_submit_and_wait_timeout(&loop->ring, &cqe, 1, &ts,
                                           NULL); /* ETIME and EINTR are normal */
}

uint32_t loop_lost(const struct loop *loop)
{
    return IO_URING_READ_ONCE(*loop->ring.cq.koverflow);
}
