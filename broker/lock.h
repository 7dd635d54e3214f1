/*
 * lock.h: one broker at a time, by flock(2): held by whoever has the descriptor, its forked workers too, and gone with the last of them.
 */
#ifndef WEIR_BROKER_LOCK_H
#define WEIR_BROKER_LOCK_H

#include <errno.h>
#include <sys/file.h>

/* Lock `fd` for this process and its children. 0, or -1 with errno: EWOULDBLOCK is somebody else's lock, anything else a fault of the file system. */
static inline int lock_now(int fd)
{
    int rc;
    do {
        rc = flock(fd, LOCK_EX | LOCK_NB);
    } while (rc != 0 && errno == EINTR);
    return rc;
}

#endif
