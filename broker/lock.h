/*
 * lock.h: one broker at a time, by flock(2): held by whoever has the descriptor, its forked workers too, and gone with the last of them.
 */
#ifndef WEIR_BROKER_LOCK_H
#define WEIR_BROKER_LOCK_H

#include "shm/weir_clock.h"

#include <errno.h>
#include <sys/file.h>
#include <time.h>

/* How long the kernel may take to end killed processes: io_uring and large mappings are taken down before their descriptors are closed. */
#define LOCK_PATIENCE_NS (2 * WEIR_NS_PER_S)

/* Lock `fd` for this process and its children. 0, or -1 with errno: EWOULDBLOCK is somebody else's lock, anything else a fault of the file system. */
static inline int lock_now(int fd)
{
    int rc;
    do {
        rc = flock(fd, LOCK_EX | LOCK_NB);
    } while (rc != 0 && errno == EINTR);
    return rc;
}

/* As lock_now, after a broker that was killed a moment ago: its processes are dead for everybody but the kernel, which still ends them. Waits for that, LOCK_PATIENCE_NS at most. */
static inline int lock_soon(int fd)
{
    const struct timespec pause = {.tv_nsec = 5 * (long)WEIR_NS_PER_MS};
    uint64_t end_ns = weir_clock_monotonic_ns() + LOCK_PATIENCE_NS;
    int rc;
    while ((rc = lock_now(fd)) != 0 && errno == EWOULDBLOCK && weir_clock_monotonic_ns() < end_ns) {
        (void)nanosleep(&pause, NULL);
        errno = EWOULDBLOCK;
    }
    return rc;
}

#endif
