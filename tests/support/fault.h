/*
 * fault.h: make a named call of libc fail in a program that was not built for it.
 *
 * weir_fault.so is loaded before libc (LD_PRELOAD) and stands before the calls listed in fault.c. A page shared with the test says which of
 * them fails, the how-manieth time, with which errno, in which process. What the kernel does by itself (a full disk, a file size limit) tests bring about by
 * the kernel's own means; this is for what cannot be brought about.
 *
 * FAULT_SHORT in place of an errno: the call moves half of its bytes and says so. "cq_lost" is no call: the kernel says that it had no memory for a completion.
 *
 *   writers  the test; `seen`, `failed`, `made`: whoever makes the call
 */
#ifndef WEIR_TESTS_SUPPORT_FAULT_H
#define WEIR_TESTS_SUPPORT_FAULT_H

#include <stdint.h>

#define FAULT_ENV       "WEIR_FAULT_PAGE"

#define FAULT_SHORT     9999

#define FAULT_CALLS_MAX 48

/* How often a call was made while the page says `counting`. */
struct fault_made {
    char call[32];
    uint32_t cnt;
};

struct fault_page {
    char call[32];  /* "" : none fails */
    int32_t error;  /* errno */
    uint32_t after; /* so many pass before */
    uint32_t times; /* so many fail */
    uint32_t pid;   /* 0: of any process */
    uint32_t seen;  /* so many of them were made */
    uint32_t failed;
    uint32_t counting;
    struct fault_made made[FAULT_CALLS_MAX];
    int64_t utc_step_ns; /* added to CLOCK_REALTIME */
};

#endif
