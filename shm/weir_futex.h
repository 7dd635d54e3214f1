/*
 * weir_futex.h: futex(2) on words that processes share.
 *
 * Only wait and wake, never the PRIVATE forms, never locks: a lock's owner could die. A wait always has an end.
 */
#ifndef WEIR_FUTEX_H
#define WEIR_FUTEX_H

#include <errno.h>
#include <linux/futex.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* Sleep while *word == expected, until weir_futex_wake or `until_ns` of CLOCK_MONOTONIC of this process. Works on a read-only mapping. */
static inline int weir_futex_wait_until(const uint32_t *word, uint32_t expected, uint64_t until_ns)
{
    const struct timespec ts = {.tv_sec = (time_t)(until_ns / UINT64_C(1000000000)),
                                .tv_nsec = (long)(until_ns % UINT64_C(1000000000))};
    /* FUTEX_WAIT_BITSET takes an absolute time, FUTEX_WAIT a relative one. */
    long rc =
        syscall(SYS_futex, word, FUTEX_WAIT_BITSET, expected, &ts, NULL, FUTEX_BITSET_MATCH_ANY);
    return rc == 0 ? 0 : errno;
}

/* Wake up to `cnt` sleepers. Never blocks. */
static inline void weir_futex_wake(uint32_t *word, int cnt)
{
    (void)syscall(SYS_futex, word, FUTEX_WAKE, cnt, NULL, NULL, 0);
}

#endif
