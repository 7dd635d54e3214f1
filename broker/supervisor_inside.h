/*
 * supervisor_inside.h: what the supervisor's parts share. One process, one thread; nobody else includes it.
 *
 *   supervisor.c        the loop, the children, the clients
 *   supervisor_open.c   the start: new, or in the place of a predecessor
 *   supervisor_give.c   the end of a broker that hands over to a successor (handover.h has the protocol)
 *   supervisor_reload.c another configuration (reload.h)
 */
#ifndef WEIR_BROKER_SUPERVISOR_INSIDE_H
#define WEIR_BROKER_SUPERVISOR_INSIDE_H

#include "broker/admission.h"
#include "broker/cage.h"
#include "broker/handover.h"
#include "broker/journal.h"
#include "broker/last_good.h"
#include "broker/region.h"
#include "broker/sign_in_file.h"
#include "broker/supervisor.h"
#include "broker/takeover.h"

#include <limits.h>
#include <sys/types.h>

/* What an epoll event belongs to: kind in the high half, index in the low half. */
enum watch {
    WATCH_SIGNAL = 1,
    WATCH_LISTENER,
    WATCH_PEER,
    WATCH_CLIENT,
    WATCH_WORKER,
    WATCH_HANDOVER, /* index 0: the listener, 1: who takes over */
};

/* A reload that waits for the worker to leave, and what the last one still waits for. */
struct reload {
    struct weir_config *config;     /* NULL: none */
    struct weir_shm_tables *tables; /* its own, judged */
    uint64_t asked_ns;
    uint64_t settled_at_ns; /* 0: nothing of the tables before is on its way */
    bool again;             /* SIGHUP came meanwhile */
    bool slow;              /* the worker was killed for it */
};

struct supervisor {
    const struct weir_config *config;
    struct region region;
    struct admission admission;
    struct journal journal;
    struct last_good last_good;
    struct sign_in_files sign_in;
    struct cage cage; /* what worker and resolver go into */
    char dir[PATH_MAX];
    uint32_t deaf; /* bit per domain: its listener is not watched until the next beat */
    int lock_fd, epoll_fd, signal_fd;
    int resolver_ours,
        resolver_theirs; /* the worker's end and the resolver's: kept, so that either may be started again */
    pid_t resolver_pid, worker_pid;
    int worker_control; /* -1: no worker */
    bool stopping, drain_told;
    struct handover handover; /* to a successor */
    bool quiesce_told;        /* for a successor, or for a reload */
    uint64_t at_stake_ns;     /* when a sign-in was last seen under way meanwhile */
    const struct supervisor_reload *reloading; /* NULL: SIGHUP means nothing */
    struct reload reload;
    struct takeover takeover; /* from a predecessor; done before anything else */
    bool left;                /* somebody else is the broker, or nobody may be: touch nothing */
    int left_status;
    bool untold[WEIR_CLIENTS_MAX]; /* gone, and the worker does not know it yet */
    uint64_t restart_at_ns;        /* when to start a worker; 0 = one runs */
    uint64_t backoff_ns;
    uint64_t worker_started_ns;
    uint32_t restarts;
    uint32_t crashes;              /* in a row */
    struct crash_ring *last_lines; /* of the worker's log */
};

/* supervisor.c: report `fd` as `kind` and `index`. */
void supervisor_watch(struct supervisor *s, int fd, enum watch kind, uint32_t index);
/* Tell the worker what it has to know. What finds no room (it may be stopped) is said again with the next beat. */
void supervisor_tell(struct supervisor *s);
void supervisor_worker_start(struct supervisor *s);

/* supervisor_open.c: everything up to the first child. Returns 0, or -1 with `text`: what, why, next step. */
int supervisor_open(struct supervisor *s, const struct supervisor_options *options, char *text,
                    size_t text_bytes);

/* supervisor_quiet.c: what becomes of a worker that was told to make way at `since_ns` and lives. */
enum quiet {
    QUIET_WAIT = 0,
    QUIET_KILL = 1,    /* it is much later than it should have been */
    QUIET_GIVE_UP = 2, /* a token is in its memory alone, and no disk takes it: it has to go on */
};
/* Caller: each beat */
enum quiet quiet_judge(struct supervisor *s, uint64_t since_ns, uint64_t now_ns);

/* supervisor_give.c: the listener (index 0) or the successor (1) is to be read. */
void giver_event(struct supervisor *s, uint32_t index);
/* Whoever hangs while we wait for it. */
void giver_beat(struct supervisor *s, uint64_t now_ns);
/* Our worker has left the field: give all to the successor. */
void giver_end(struct supervisor *s);
/* Nobody takes over: the worker goes on. */
void giver_lost(struct supervisor *s);

/* supervisor_reload.c: SIGHUP came. */
void reload_ask(struct supervisor *s);
/* Our worker has left the field, or none lives: change the tables, start another one. */
void reload_end(struct supervisor *s);
/* There will be none: weird stops, or a successor comes. */
void reload_lost(struct supervisor *s);
/* What is due: that the last one is settled, a worker that hangs, another SIGHUP. */
void reload_beat(struct supervisor *s, uint64_t now_ns);

static inline bool reload_is_on(const struct supervisor *s)
{
    return s->reload.config != NULL;
}

#endif
