/*
 * cage.h: what is left to a process that reads what others send.
 *
 * Worker and resolver enter the cage once they are set up, and before the first byte of the network or of a client; the parser (parser.h) before it looks at the
 * configuration. From then on the process
 *
 *   is another user      broker.user, where weird runs as root
 *   has no capability    nor can it get one: empty bounding set, no new privileges
 *   shows its memory to nobody   no core, no ptrace, no /proc/PID/mem for others of its user (PR_SET_DUMPABLE 0)
 *   has limits           RLIMIT_DATA (broker.worker_memory), no core; the parser of processor time, files and memory besides
 *   makes few calls      a seccomp filter made from cage_calls.def; the worker's io_uring was restricted when it was opened (loop.c), because a
 *                        ring does its work around any filter
 *
 * There is no way out, and nothing in here can be undone by the process itself.
 *
 *   the worker makes another call    it ends by SIGSYS, without the call having been made; the supervisor's log names the call and the worker is
 *                                    started again, with the delay of a crash
 *   the resolver makes another one   it fails with EPERM
 *   the parser makes another one     it ends by SIGSYS; the configuration is refused
 *
 * Files that are needed later are opened before (journal, log); certificates are read before (trust.h).
 */
#ifndef WEIR_BROKER_CAGE_H
#define WEIR_BROKER_CAGE_H

#include "broker/secret.h"
#include "shm/weir_base.h"

#include <stdio.h>
#include <sys/types.h>

enum cage_mode {
    CAGE_ENFORCE = 0,
    CAGE_LOG =
        1, /* a call that is not listed is made, and the kernel's log names it (SECCOMP_RET_LOG). Diagnosis only */
    CAGE_OFF = 2, /* user, capabilities and limits, but no filter. Diagnosis only */
};

enum cage_who { CAGE_WORKER = 1, CAGE_RESOLVER = 2, CAGE_PARSER = 3 };

/* The user to become. */
struct cage_identity {
    bool change; /* false: stay as weird was started */
    uid_t uid;
    gid_t gid;
    char name[32];
};

/* Where a process writes why the filter ended it: one page, shared by the supervisor and its children, by nobody else. */
struct cage_report {
    uint32_t call; /* the system call's number + 1; 0: none */
    uint32_t reserved;
    uint64_t at; /* the instruction that made it */
};

struct cage {
    enum cage_mode mode;
    bool hide; /* never be dumpable, in any mode: the configuration has secrets */
    bool core; /* broker.core wants a core of the worker: it can be dumped then, unless `hide` */
    uint64_t memory_max_bytes; /* of the worker: RLIMIT_DATA; 0: none */
    struct cage_identity identity;
    const struct secret_area
        *secrets; /* the worker locks its view, the resolver loses it; NULL: there are none */
    struct cage_report *report;
};

/*
 * Find the user of the worker. `user` is broker.user; "" as root: the user weir, else nobody. Returns 0, or -1 with `text`: what, why, next step. Caller: the supervisor
 * before it forks, and weird --check.
 */
int cage_identity_find(struct cage_identity *identity, const char *user, char *text,
                       size_t text_bytes);

/*
 * Make the page of the report, and try the whole cage in a child that is thrown away: what this system refuses is said once and at the start. Returns 0, or -1 with `text`.
 * Caller: the supervisor.
 */
int cage_open(struct cage *cage, char *text, size_t text_bytes);

/* Go in. Returns 0, or -1 with `text` and errno: then the process must end. Caller: worker, resolver, parser; one thread. */
int cage_enter(const struct cage *cage, enum cage_who who, char *text, size_t text_bytes);

/* What the supervisor does to itself: it holds secrets and maps every segment. */
void cage_hide(void);

/*
 * Keep of the capabilities that this process has those that a supervisor needs for the next worker, and none of the others; no new privileges, an empty bounding set.
 *
 *   CAP_SETUID, CAP_SETGID   a new worker or resolver becomes broker.user   } only where that is
 *   CAP_KILL                 to end them, also by their parent's death      } another user
 *   CAP_IPC_LOCK             the pages of the keys are locked anew in each worker, above `ulimit -l`
 *
 * What is opened later by its name must then be this user's by the file system: no capability overrides that. Returns 0, or -1 with `text`. Caller: the supervisor, before
 * it opens the first file of its own.
 */
int cage_supervisor_enter(const struct cage *cage, char *text, size_t text_bytes);

/* The call that ended a process, by name, and forget it; NULL: none is noted. `name` holds it. */
const char *cage_report_take(struct cage *cage, char *name, size_t name_bytes, uint64_t *at);

/* cage_filter.c: install the filter alone. Caller: cage_enter, tests. Returns 0 or -1 with errno. */
int cage_filter_install(enum cage_mode mode, enum cage_who who, struct cage_report *report);

/* "enforce", "log", "off". False: it is none of them. */
bool cage_mode_read(const char *text, enum cage_mode *mode);
const char *cage_mode_name(enum cage_mode mode);

#endif
