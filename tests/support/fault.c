/* Loaded before libc: no header of weir, nothing that allocates. */
#undef _FILE_OFFSET_BITS /* both names of a call with an offset are wanted, each as itself */
#include "fault.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))

static struct fault_page *the_page;
static uint32_t the_pid;

static void *next(const char *name)
{
    return dlsym(RTLD_NEXT, name);
}

static void pid_set(void)
{
    the_pid = (uint32_t)getpid();
}

__attribute__((constructor)) static void fault_start(void)
{
    const char *path = getenv(FAULT_ENV);
    int (*real_open)(const char *, int, ...) = (int (*)(const char *, int, ...))next("open");
    void *(*real_mmap)(void *, size_t, int, int, int, off_t) =
        (void *(*)(void *, size_t, int, int, int, off_t))next("mmap");
    int fd = path != NULL ? real_open(path, O_RDWR | O_CLOEXEC) : -1;
    if (fd < 0) {
        return;
    }
    void *at = real_mmap(NULL, sizeof *the_page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    (void)close(fd);
    (void)pthread_atfork(NULL, NULL, pid_set);
    pid_set();
    the_page = at != MAP_FAILED ? at : NULL;
}

/* Two processes that count the same call for the first time at once may lose one of it. */
static void count(struct fault_page *p, const char *call)
{
    unsigned i = 0;
    while (i < FAULT_CALLS_MAX - 1 && p->made[i].call[0] != '\0' &&
           strcmp(p->made[i].call, call) != 0) {
        i++;
    }
    (void)strncpy(p->made[i].call, call, sizeof p->made[i].call - 1);
    (void)__atomic_fetch_add(&p->made[i].cnt, 1, __ATOMIC_RELAXED);
}

/* Shall this call fail? Then errno is set. */
static bool due(const char *call)
{
    struct fault_page *p = the_page;
    if (p != NULL && p->counting != 0) {
        count(p, call);
    }
    if (p == NULL || strcmp(p->call, call) != 0 || (p->pid != 0 && p->pid != the_pid)) {
        return false;
    }
    uint32_t n = __atomic_fetch_add(&p->seen, 1, __ATOMIC_RELAXED);
    if (n < p->after || n - p->after >= p->times) {
        return false;
    }
    (void)__atomic_fetch_add(&p->failed, 1, __ATOMIC_RELAXED);
    errno = p->error;
    return true;
}

/* One stand-in: `name` as `call` on the page, because 64-bit file offsets give some calls two names. */
#define STAND_IN(type, name, call, params, args, failure) \
    EXPORT type name params;                              \
    EXPORT type name params                               \
    {                                                     \
        if (due(call)) {                                  \
            return failure;                               \
        }                                                 \
        static type(*real) params;                        \
        if (real == NULL) {                               \
            real = (type(*) params)next(#name);           \
        }                                                 \
        return real args;                                 \
    }

/* The same for calls whose third argument `c` is a number of bytes: FAULT_SHORT moves half of them. */
#define HALVED(type, name, call, params, args)    \
    EXPORT type name params;                      \
    EXPORT type name params                       \
    {                                             \
        if (due(call)) {                          \
            if (the_page->error != FAULT_SHORT) { \
                return -1;                        \
            }                                     \
            c -= c / 2;                           \
        }                                         \
        static type(*real) params;                \
        if (real == NULL) {                       \
            real = (type(*) params)next(#name);   \
        }                                         \
        return real args;                         \
    }

STAND_IN(int, memfd_create, "memfd_create", (const char *a, unsigned b), (a, b), -1)
STAND_IN(int, ftruncate, "ftruncate", (int a, off_t b), (a, b), -1)
STAND_IN(int, ftruncate64, "ftruncate", (int a, off64_t b), (a, b), -1)
STAND_IN(int, posix_fallocate, "fallocate", (int a, off_t b, off_t c), (a, b, c), errno)
STAND_IN(int, posix_fallocate64, "fallocate", (int a, off64_t b, off64_t c), (a, b, c), errno)
STAND_IN(int, fallocate, "fallocate", (int a, int b, off_t c, off_t d), (a, b, c, d), -1)
STAND_IN(int, fallocate64, "fallocate", (int a, int b, off64_t c, off64_t d), (a, b, c, d), -1)
STAND_IN(void *, mmap, "mmap", (void *a, size_t b, int c, int d, int e, off_t f),
         (a, b, c, d, e, f), MAP_FAILED)
STAND_IN(void *, mmap64, "mmap", (void *a, size_t b, int c, int d, int e, off64_t f),
         (a, b, c, d, e, f), MAP_FAILED)
STAND_IN(int, socket, "socket", (int a, int b, int c), (a, b, c), -1)
STAND_IN(int, socketpair, "socketpair", (int a, int b, int c, int d[2]), (a, b, c, d), -1)
STAND_IN(int, bind, "bind", (int a, const struct sockaddr *b, socklen_t c), (a, b, c), -1)
STAND_IN(int, listen, "listen", (int a, int b), (a, b), -1)
STAND_IN(int, accept4, "accept4", (int a, struct sockaddr *b, socklen_t *c, int d), (a, b, c, d),
         -1)
STAND_IN(int, getsockopt, "getsockopt", (int a, int b, int c, void *d, socklen_t *e),
         (a, b, c, d, e), -1)
STAND_IN(ssize_t, sendmsg, "sendmsg", (int a, const struct msghdr *b, int c), (a, b, c), -1)
STAND_IN(ssize_t, recvmsg, "recvmsg", (int a, struct msghdr *b, int c), (a, b, c), -1)
HALVED(ssize_t, send, "send", (int a, const void *b, size_t c, int d), (a, b, c, d))
STAND_IN(int, eventfd, "eventfd", (unsigned a, int b), (a, b), -1)
STAND_IN(pid_t, fork, "fork", (void), (), -1)
STAND_IN(int, mkdir, "mkdir", (const char *a, mode_t b), (a, b), -1)
STAND_IN(int, fsync, "fsync", (int a), (a), -1)
STAND_IN(int, rename, "rename", (const char *a, const char *b), (a, b), -1)
STAND_IN(int, madvise, "madvise", (void *a, size_t b, int c), (a, b, c), -1)

HALVED(ssize_t, read, "read", (int a, void *b, size_t c), (a, b, c))
HALVED(ssize_t, write, "write", (int a, const void *b, size_t c), (a, b, c))
HALVED(ssize_t, pwrite, "pwrite", (int a, const void *b, size_t c, off_t d), (a, b, c, d))
HALVED(ssize_t, pwrite64, "pwrite", (int a, const void *b, size_t c, off64_t d), (a, b, c, d))
HALVED(ssize_t, recv, "recv", (int a, void *b, size_t c, int d), (a, b, c, d))
STAND_IN(int, connect, "connect", (int a, const struct sockaddr *b, socklen_t c), (a, b, c), -1)
STAND_IN(int, setsockopt, "setsockopt", (int a, int b, int c, const void *d, socklen_t e),
         (a, b, c, d, e), -1)
STAND_IN(int, unlink, "unlink", (const char *a), (a), -1)
STAND_IN(int, flock, "flock", (int a, int b), (a, b), -1)
STAND_IN(int, poll, "poll", (struct pollfd * a, nfds_t b, int c), (a, b, c), -1)
STAND_IN(int, epoll_wait, "epoll_wait", (int a, struct epoll_event *b, int c, int d), (a, b, c, d),
         -1)
STAND_IN(int, signalfd, "signalfd", (int a, const sigset_t *b, int c), (a, b, c), -1)

STAND_IN(int, io_uring_queue_init_params, "io_uring_queue_init",
         (unsigned a, struct io_uring *b, struct io_uring_params *c), (a, b, c), -errno)
STAND_IN(int, io_uring_submit, "io_uring_submit", (struct io_uring * a), (a), -errno)

/* Each wait of the worker comes by here. */
EXPORT int io_uring_submit_and_wait_timeout(struct io_uring *ring, struct io_uring_cqe **cqe,
                                            unsigned cnt, struct __kernel_timespec *ts,
                                            sigset_t *mask)
{
    static int (*real)(struct io_uring *, struct io_uring_cqe **, unsigned,
                       struct __kernel_timespec *, sigset_t *);
    if (real == NULL) {
        real = (int (*)(struct io_uring *, struct io_uring_cqe **, unsigned,
                        struct __kernel_timespec *,
                        sigset_t *))next("io_uring_submit_and_wait_timeout");
    }
    if (due("cq_lost")) {
        ++*ring->cq.koverflow;
    }
    return real(ring, cqe, cnt, ts, mask);
}

/* Those with a variable list. */
static int open_as(const char *name, const char *path, int flags, mode_t mode)
{
    if (due("open")) {
        return -1;
    }
    int (*real)(const char *, int, ...) = (int (*)(const char *, int, ...))next(name);
    return real(path, flags, mode);
}

EXPORT int open(const char *path, int flags, ...)
{
    va_list args;
    va_start(args, flags);
    mode_t mode = (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(args, mode_t) : 0;
    va_end(args);
    return open_as("open", path, flags, mode);
}

EXPORT int open64(const char *path, int flags, ...)
{
    va_list args;
    va_start(args, flags);
    mode_t mode = (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(args, mode_t) : 0;
    va_end(args);
    return open_as("open64", path, flags, mode);
}

EXPORT int clock_gettime(clockid_t id, struct timespec *at)
{
    static int (*real)(clockid_t, struct timespec *);
    if (real == NULL) {
        real = (int (*)(clockid_t, struct timespec *))next("clock_gettime");
    }
    int rc = real(id, at);
    if (rc == 0 && id == CLOCK_REALTIME && the_page != NULL) {
        int64_t ns = at->tv_sec * INT64_C(1000000000) + at->tv_nsec + the_page->utc_step_ns;
        at->tv_sec = (time_t)(ns / 1000000000);
        at->tv_nsec = (long)(ns % 1000000000);
    }
    return rc;
}
