/*
 * cage_filter.c: from cage_calls.def to a seccomp filter.
 */
#include "broker/cage.h"

#include <errno.h>
#include <fcntl.h>
#include <seccomp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef SYS_SECCOMP
#define SYS_SECCOMP 1 /* si_code */
#endif

#ifndef F_GET_SEALS
#define F_GET_SEALS 1034
#endif

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#else
#define SANITIZED 0
#endif

enum condition {
    ANY,
    NOT_EXECUTABLE,
    INTERNET,
    LOCAL,
    ROUTING,
    ITSELF,
    NOTHING_NAMED,
    TO_READ,
    FLAGS,
    NON_BLOCKING,
    REFUSED,
    SANITIZER,
};

struct row {
    enum cage_who who;
    int call;
    enum condition condition;
};

static const struct row table[] = {
#define CALL(who, call, condition, reason) {CAGE_##who, SCMP_SYS(call), condition},
#include "broker/cage_calls.def"
#undef CALL
};

/* ---------------------------------------------------------------------------------------------- what happens to the others */

static struct cage_report *noted;

/*
 * The call was not made. Note it, and make another one that is not listed: SIGSYS is blocked in here, and the kernel then ends the process by it. Nothing in here may
 * be more than a store: the process may be in any state.
 */
static void on_forbidden(int signal, siginfo_t *info, void *context)
{
    (void)signal;
    (void)context;
    if (noted != NULL && info->si_code == SYS_SECCOMP) { /* else somebody sent the signal */
        noted->at = (uint64_t)(uintptr_t)info->si_call_addr;
        noted->call = (uint32_t)info->si_syscall + 1U;
    }
    (void)syscall(SYS_reboot, 0, 0, 0,
                  NULL); /* all of its arguments are wrong, should there be no filter */
    _exit(1);
}

static int handler_set(struct cage_report *report)
{
    struct sigaction action = {.sa_sigaction = on_forbidden, .sa_flags = SA_SIGINFO};
    noted = report;
    (void)sigfillset(&action.sa_mask);
    return sigaction(SIGSYS, &action, NULL);
}

static uint32_t verdict(enum cage_mode mode, enum cage_who who)
{
    return mode == CAGE_LOG     ? SCMP_ACT_LOG
           : who == CAGE_WORKER ? SCMP_ACT_TRAP
           : who == CAGE_PARSER ? SCMP_ACT_KILL_PROCESS
                                : SCMP_ACT_ERRNO(EPERM);
}

/* ---------------------------------------------------------------------------------------------- rules */

static int allow_values(scmp_filter_ctx filter, int call, unsigned argument, const uint64_t *value,
                        size_t cnt)
{
    int rc = 0;
    for (size_t i = 0; i < cnt && rc == 0; i++) {
        rc = seccomp_rule_add(filter, SCMP_ACT_ALLOW, call, 1,
                              SCMP_CMP64(argument, SCMP_CMP_EQ, value[i]));
    }
    return rc;
}

/* The kernel looks at the low 32 bits of these arguments only, so the filter must too: what stands above them is ignored. */
static int allow_int(scmp_filter_ctx filter, int call, unsigned argument, uint64_t mask,
                     uint64_t value)
{
    return seccomp_rule_add(filter, SCMP_ACT_ALLOW, call, 1,
                            SCMP_CMP64(argument, SCMP_CMP_MASKED_EQ, mask, value));
}

static int allow(scmp_filter_ctx filter, const struct row *row)
{
    static const uint64_t flags[] = {F_GETFL, F_SETFL, F_GETFD, F_SETFD, F_GET_SEALS};
    static const uint64_t non_blocking[] = {FIONBIO, FIONREAD};
    int rc;
    switch (row->condition) {
    case ANY:
        return seccomp_rule_add(filter, SCMP_ACT_ALLOW, row->call, 0);
    case NOT_EXECUTABLE:
        return allow_int(filter, row->call, 2, PROT_EXEC, 0);
    case INTERNET:
        rc = allow_int(filter, row->call, 0, UINT32_MAX, AF_INET);
        return rc != 0 ? rc : allow_int(filter, row->call, 0, UINT32_MAX, AF_INET6);
    case LOCAL:
        return allow_int(filter, row->call, 0, UINT32_MAX, AF_UNIX);
    case ROUTING:
        return allow_int(filter, row->call, 0, UINT32_MAX, AF_NETLINK);
    case ITSELF:
        return allow_int(filter, row->call, 0, UINT32_MAX, (uint64_t)getpid());
    case NOTHING_NAMED:
        return allow_int(filter, row->call, 3, UINT32_MAX, AT_EMPTY_PATH);
    case TO_READ:
        return allow_int(filter, row->call, 2, O_ACCMODE | O_CREAT | O_TRUNC, O_RDONLY);
    case FLAGS:
        return allow_values(filter, row->call, 1, flags, WEIR_ARRAY_CNT(flags));
    case NON_BLOCKING:
        return allow_values(filter, row->call, 1, non_blocking, WEIR_ARRAY_CNT(non_blocking));
    case REFUSED:
        return seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), row->call, 0);
    case SANITIZER:
        return SANITIZED ? seccomp_rule_add(filter, SCMP_ACT_ALLOW, row->call, 0) : 0;
    }
    return -EINVAL;
}

static int fill(scmp_filter_ctx filter, enum cage_who who)
{
    int rc = seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
    /* A binary search over the calls, where this libseccomp can. */
    (void)seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2);
    for (size_t i = 0; i < WEIR_ARRAY_CNT(table) && rc == 0; i++) {
        if (table[i].who == who) {
            rc = allow(filter, &table[i]);
        }
    }
    return rc;
}

int cage_filter_install(enum cage_mode mode, enum cage_who who, struct cage_report *report)
{
    if (mode == CAGE_OFF) {
        return 0;
    }
    scmp_filter_ctx filter = seccomp_init(verdict(mode, who));
    if (filter == NULL) {
        errno = ENOMEM;
        return -1;
    }
    int rc = fill(filter, who);
    if (rc == 0 && mode == CAGE_ENFORCE && who == CAGE_WORKER) {
        rc = handler_set(report) == 0 ? 0 : -errno;
    }
    rc = rc == 0 ? seccomp_load(filter) : rc;
    seccomp_release(filter);
    errno = -rc;
    return rc == 0 ? 0 : -1;
}

const char *cage_report_take(struct cage *cage, char *name, size_t name_bytes, uint64_t *at)
{
    struct cage_report *report = cage->report;
    if (report == NULL || report->call == 0) {
        return NULL;
    }
    int call = (int)(report->call - 1);
    char *known = seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, call);
    if (known != NULL) {
        (void)snprintf(name, name_bytes, "%s", known);
    } else {
        (void)snprintf(name, name_bytes, "%d", call);
    }
    free(known);
    *at = report->at;
    *report = (struct cage_report){0};
    return name;
}
