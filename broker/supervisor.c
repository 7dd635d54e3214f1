#include "broker/supervisor.h"

#include "broker/admission.h"
#include "broker/aftermath.h"
#include "broker/cage_make.h"
#include "broker/crash.h"
#include "broker/dry_run.h"
#include "broker/handover.h"
#include "broker/journal.h"
#include "broker/log.h"
#include "broker/loop.h"
#include "broker/resolver.h"
#include "broker/rlimits.h"
#include "broker/takeover.h"
#include "broker/worker.h"
#include "shm/weir_atomic.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define BEAT_MS        200
#define BACKOFF_MIN_NS (1 * WEIR_NS_PER_S)
#define BACKOFF_MAX_NS (60 * WEIR_NS_PER_S)
/* A taker that asks nothing for so long hangs; so does a worker that is so much later than it should have been quiet. */
#define TAKER_MAX_NS (10 * WEIR_NS_PER_S)
#define QUIET_MAX_NS (3 * WEIR_NS_PER_S)

/* What an epoll event belongs to: kind in the high half, index in the low half. */
enum watch {
    WATCH_SIGNAL = 1,
    WATCH_LISTENER,
    WATCH_PEER,
    WATCH_CLIENT,
    WATCH_WORKER,
    WATCH_HANDOVER, /* index 0: the listener, 1: who takes over */
};

struct supervisor {
    const struct weir_config *config;
    struct region region;
    struct admission admission;
    struct journal journal;
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
    bool quiesce_told;
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

static void watch(struct supervisor *s, int fd, enum watch kind, uint32_t index)
{
    struct epoll_event e = {.events = EPOLLIN, .data.u64 = (uint64_t)kind << 32 | index};
    (void)epoll_ctl(s->epoll_fd, EPOLL_CTL_ADD, fd, &e);
}

/* ---------------------------------------------------------------------------------------------- children */

/* What a child must not keep: connections whose end means something, and what only the supervisor uses. */
static void child_forget(struct supervisor *s, bool keep_lock)
{
    sigset_t none;
    for (uint32_t i = 0; i < PEERS_MAX; i++) {
        if (s->admission.peer[i].socket >= 0) {
            (void)close(s->admission.peer[i].socket);
        }
    }
    for (uint32_t d = 0; d < s->region.domain_cnt; d++) {
        (void)close(s->admission.listener[d]);
    }
    (void)close(s->epoll_fd);
    (void)close(s->signal_fd);
    handover_drop(
        &s->handover); /* our copy of the connection; the listener stays, for a worker without us */
    if (!keep_lock) {
        (void)close(s->lock_fd);
        journal_close(&s->journal);
    }
    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
}

static void resolver_start(struct supervisor *s)
{
    pid_t pid = fork();
    if (pid == 0) {
        int fd = s->resolver_theirs;
        child_forget(s, false);
        region_destroy(&s->region); /* it has no business in shared memory */
        if (s->region.shadow != NULL) {
            dry_run_close(s->region.shadow);
        }
        resolver_run(fd, &s->cage); /* closes every other descriptor */
    }
    s->resolver_pid = pid;
}

/* The clients as a new worker finds them: fork copies this table, and with it every descriptor. */
static uint32_t clients_list(const struct supervisor *s, struct client_info *out)
{
    uint32_t cnt = 0;
    for (uint32_t i = 0; i < WEIR_CLIENTS_MAX; i++) {
        if (s->admission.used[i]) {
            out[cnt++] = s->admission.client[i];
        }
    }
    return cnt;
}

static void worker_start(struct supervisor *s)
{
    static struct client_info clients[WEIR_CLIENTS_MAX];
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) != 0) {
        log_error("worker_not_started", "s:s", "reason", strerror(errno));
        s->restart_at_ns = weir_clock_monotonic_ns() + BACKOFF_MIN_NS;
        return;
    }
    crash_ring_clear(s->last_lines);
    pid_t pid = fork();
    if (pid == 0) {
        log_keep(s->last_lines);
        crash_core_limit(s->config->broker.core_max_bytes);
        child_forget(s, true); /* the lock: a second broker must not start while we live */
        (void)close(pair[0]);
        (void)close(s->resolver_theirs);
        uint32_t cnt = clients_list(s, clients);
        _exit(worker_run(s->config, &s->region, clients, cnt, pair[1], s->resolver_ours));
    }
    (void)close(pair[1]);
    if (pid < 0) {
        (void)close(pair[0]);
        s->restart_at_ns = weir_clock_monotonic_ns() + BACKOFF_MIN_NS;
        return;
    }
    s->worker_pid = pid;
    s->worker_control = pair[0];
    s->worker_started_ns = weir_clock_monotonic_ns();
    s->restart_at_ns = 0;
    watch(s, pair[0], WATCH_WORKER, 0);
}

/* After SIGSEGV or SIGABRT the restart waits, doubling: forked workers share one address layout, and guessing it should cost time. */
static uint64_t restart_delay(struct supervisor *s, int status, uint64_t now_ns)
{
    bool crashed =
        WIFSIGNALED(status) &&
        (WTERMSIG(status) == SIGSEGV || WTERMSIG(status) == SIGABRT || WTERMSIG(status) == SIGBUS ||
         WTERMSIG(status) == SIGILL || WTERMSIG(status) == SIGSYS);
    bool failed_at_once = WIFEXITED(status) && now_ns - s->worker_started_ns < WEIR_NS_PER_S;
    if (!crashed && !failed_at_once) {
        s->backoff_ns = 0;
        s->crashes = 0;
        return 0;
    }
    if (now_ns - s->worker_started_ns > BACKOFF_MAX_NS) {
        s->backoff_ns = 0; /* it had run well for a minute */
        s->crashes = 0;
    }
    s->crashes++;
    s->backoff_ns =
        s->backoff_ns == 0 ? BACKOFF_MIN_NS : weir_min_u64(2 * s->backoff_ns, BACKOFF_MAX_NS);
    return s->backoff_ns;
}

/* Our worker has left the field: give all to the successor. */
static void handover_end(struct supervisor *s)
{
    enum handover_end end = handover_finish(&s->handover, &s->region);
    s->left = end != HANDOVER_BACK;
    s->left_status = end == HANDOVER_GIVEN ? 0 : 1;
    if (!s->left) {
        weir_store_release_u64(&s->region.gate->lease_until_ns, /* no partner: compared with time */
                               weir_clock_monotonic_ns() + LEASE_NS);
        worker_start(s);
    }
}

/* For people: on the board, and in the log. */
static void death_show(struct supervisor *s, int status, uint64_t now_ns, uint64_t delay_ns)
{
    struct weir_shm_supervisor *b = s->region.supervisor;
    int signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    weir_store_relaxed_u32(&b->worker_restarts, s->restarts); /* relaxed: for people, all */
    weir_store_relaxed_u64(&b->worker_died_ns, now_ns);
    weir_store_relaxed_u64(&b->worker_starts_at_ns, delay_ns != 0 ? s->restart_at_ns : 0);
    weir_store_relaxed_u32(&b->worker_crashes, s->crashes);
    weir_store_relaxed_u32(&b->worker_signal, (uint32_t)signal);
    log_warn("worker_died", "s:i, s:i, s:i, s:i, s:I", "signal", signal, "status",
             WIFEXITED(status) ? WEXITSTATUS(status) : 0, "restarts", (int)s->restarts,
             "crashes_in_a_row", (int)s->crashes, "restart_in_ms",
             (long long)(delay_ns / WEIR_NS_PER_MS));
}

static void worker_died(struct supervisor *s, int status)
{
    pid_t pid = s->worker_pid;
    uint64_t now_ns = weir_clock_monotonic_ns();
    (void)close(s->worker_control);
    s->worker_control = -1;
    s->worker_pid = 0;
    admission_operations_lost(&s->admission);
    if (s->stopping) {
        return;
    }
    if (s->handover.stage == HANDOVER_READY) {
        handover_end(s);
        return;
    }
    cage_report_log(&s->cage);
    uint64_t delay_ns = restart_delay(s, status, now_ns);
    s->restarts++;
    s->handover.restarts = s->restarts;
    s->restart_at_ns = now_ns + delay_ns;
    death_show(s, status, now_ns, delay_ns);
    const struct crash crash = {.pid = pid,
                                .status = status,
                                .restarts = s->restarts,
                                .uptime_ns = now_ns - s->worker_started_ns};
    static struct crash_ring lines; /* large; the next worker writes into the other one */
    if (s->last_lines != NULL) {
        memcpy(&lines, s->last_lines, sizeof lines);
    }
    if (delay_ns == 0) {
        worker_start(s);
    }
    crash_write(s->dir, &lines, &crash);
}

static void children_reap(struct supervisor *s)
{
    int status;
    pid_t pid;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        if (pid == s->worker_pid) {
            worker_died(s, status);
        } else if (pid == s->resolver_pid) {
            s->resolver_pid = 0;
            if (!s->stopping) {
                log_warn("resolver_died", "");
                resolver_start(s);
            }
        }
    }
}

/* ---------------------------------------------------------------------------------------------- events */

/* Tell the worker what it has to know. What finds no room (it may be stopped) is said again with the next beat. */
static void tell(struct supervisor *s)
{
    const struct control_message drain = {.kind = CONTROL_DRAIN};
    for (uint32_t i = 0; i < WEIR_CLIENTS_MAX && s->worker_control >= 0; i++) {
        const struct control_message m = {.kind = CONTROL_GONE, .client = {.index = i}};
        if (s->untold[i]) {
            s->untold[i] = control_send(s->worker_control, &m, sizeof m, NULL, 0) != 0;
        }
    }
    const struct control_message quiesce = {.kind = CONTROL_QUIESCE};
    if (s->handover.stage == HANDOVER_READY && !s->quiesce_told && s->worker_control >= 0) {
        s->quiesce_told = control_send(s->worker_control, &quiesce, sizeof quiesce, NULL, 0) == 0;
    }
    if (s->stopping && !s->drain_told && s->worker_control >= 0) {
        s->drain_told = control_send(s->worker_control, &drain, sizeof drain, NULL, 0) == 0;
    }
}

static void client_left(struct supervisor *s, uint32_t index)
{
    if (index >= WEIR_CLIENTS_MAX || !s->admission.used[index] || s->admission.client[index].gone) {
        return;
    }
    s->admission.client[index].gone = 1; /* a new worker must know it too */
    s->untold[index] = true;
    tell(s);
}

static void on_peer(struct supervisor *s, uint32_t index)
{
    struct peer *p = &s->admission.peer[index];
    uint32_t client = UINT32_MAX;
    if (p->socket < 0) {
        return;
    }
    /* While somebody takes over the table of clients stands still. */
    bool closed = s->stopping || handover_is_on(&s->handover);
    switch (admission_read(&s->admission, p, closed ? -1 : s->worker_control, &client)) {
    case ADMISSION_ATTACHED:
        if (client != UINT32_MAX) {
            watch(s, s->admission.client[client].pidfd, WATCH_CLIENT, client);
        }
        break;
    case ADMISSION_LEFT:
        client_left(s, client);
        break;
    default:
        break;
    }
}

static void on_worker(struct supervisor *s)
{
    struct control_message m;
    while (s->worker_control >= 0 &&
           control_receive(s->worker_control, &m, sizeof m, NULL, NULL) == (ssize_t)sizeof m) {
        if (m.kind == CONTROL_REAPED && m.client.index < WEIR_CLIENTS_MAX &&
            s->admission.used[m.client.index]) {
            /* Named, not left to close: while a child of ours holds a copy, epoll would go on reporting it. */
            (void)epoll_ctl(s->epoll_fd, EPOLL_CTL_DEL, s->admission.client[m.client.index].pidfd,
                            NULL);
            s->untold[m.client.index] = false;
            admission_reaped(&s->admission, m.client.index);
        } else if (m.kind == CONTROL_OPERATED) {
            admission_operated(&s->admission, &m.operation);
        }
    }
    children_reap(s); /* an end of file is its death: SIGCHLD may come a moment later */
}

/* ---- a successor */

static const struct client_info *client_next(void *arg, uint32_t from, int *socket)
{
    struct supervisor *s = arg;
    for (uint32_t i = from; i < WEIR_CLIENTS_MAX; i++) {
        if (s->admission.used[i]) {
            *socket = admission_socket(&s->admission, i);
            return &s->admission.client[i];
        }
    }
    return NULL;
}

/* Nobody takes over: the worker goes on. */
static void handover_lost(struct supervisor *s)
{
    const struct control_message go_on = {.kind = CONTROL_GO_ON};
    if (s->quiesce_told && s->worker_control >= 0) {
        (void)control_send(s->worker_control, &go_on, sizeof go_on, NULL, 0);
    }
    s->quiesce_told = false;
}

static void on_handover(struct supervisor *s, uint32_t index)
{
    const struct handover_clients clients = {
        .next = client_next, .arg = s, .listener = s->admission.listener};
    if (index == 0) {
        if (handover_accept(&s->handover)) {
            s->quiesce_told = false;
            watch(s, s->handover.socket, WATCH_HANDOVER, 1);
        }
        return;
    }
    switch (handover_is_on(&s->handover) ? handover_read(&s->handover, &s->region, &clients)
                                         : HANDOVER_NOTHING) {
    case HANDOVER_LOST:
        handover_lost(s);
        break;
    case HANDOVER_IS_READY:
        if (s->worker_control < 0) {
            handover_end(s); /* no worker lives: there is nothing to wait for */
        } else {
            tell(s);
        }
        break;
    case HANDOVER_NOTHING:
    default:
        break;
    }
}

/* Whoever hangs while we wait for it. */
static void handover_beat(struct supervisor *s, uint64_t now_ns)
{
    struct handover *h = &s->handover;
    if (h->stage == HANDOVER_ASKS && now_ns - h->since_ns > TAKER_MAX_NS) {
        log_warn("takeover_hangs", "s:i", "taker", (int)h->taker_pid);
        handover_drop(h);
    } else if (h->stage == HANDOVER_READY && s->worker_pid > 0 &&
               now_ns - h->since_ns > s->config->broker.drain_ns + QUIET_MAX_NS) {
        log_warn("worker_hangs", "s:s", "meaning", "it is killed, and the successor goes on");
        (void)kill(s->worker_pid, SIGKILL);
    }
}

static void stop_begin(struct supervisor *s)
{
    if (s->stopping) {
        return;
    }
    if (handover_is_on(&s->handover)) {
        handover_drop(&s->handover);
        handover_lost(s);
    }
    s->stopping = true;
    log_info("stopping", "");
    tell(s);
}

static void on_signal(struct supervisor *s)
{
    struct signalfd_siginfo info;
    while (read(s->signal_fd, &info, sizeof info) == (ssize_t)sizeof info) {
        if (info.ssi_signo == SIGCHLD) {
            children_reap(s);
        } else if (info.ssi_signo != SIGHUP) {
            stop_begin(s);
        }
    }
}

/* An event of this batch may belong to the index's former client: the descriptor of today has the last word. */
static bool is_readable(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    return poll(&p, 1, 0) > 0;
}

static void on_event(struct supervisor *s, const struct epoll_event *e)
{
    uint32_t index = (uint32_t)e->data.u64;
    struct peer *p;
    switch ((enum watch)(e->data.u64 >> 32)) {
    case WATCH_SIGNAL:
        on_signal(s);
        break;
    case WATCH_HANDOVER:
        on_handover(s, index);
        break;
    case WATCH_LISTENER:
        p = handover_is_on(&s->handover) ? NULL : admission_accept(&s->admission, index);
        if (p != NULL) {
            watch(s, p->socket, WATCH_PEER, (uint32_t)(p - s->admission.peer));
        } else {
            /* No descriptors left, or somebody takes over: the listener would stay readable and spin us. The next beat watches it again. */
            (void)epoll_ctl(s->epoll_fd, EPOLL_CTL_DEL, s->admission.listener[index], NULL);
            s->deaf |= 1U << index;
        }
        break;
    case WATCH_PEER:
        on_peer(s, index);
        break;
    case WATCH_CLIENT:
        if (s->admission.used[index] && is_readable(s->admission.client[index].pidfd)) {
            client_left(s, index);
            (void)epoll_ctl(s->epoll_fd, EPOLL_CTL_DEL, s->admission.client[index].pidfd,
                            NULL); /* it stays readable */
        }
        break;
    case WATCH_WORKER:
        on_worker(s);
        break;
    }
}

/* Heartbeat; the lease and the worker's rebirth while there is none. */
static void beat(struct supervisor *s)
{
    uint64_t now_ns = weir_clock_monotonic_ns();
    weir_store_relaxed_u64(&s->region.supervisor->heartbeat_ns, now_ns); /* relaxed: for people */
    if (s->worker_control < 0 && !s->stopping) {
        weir_store_release_u64(&s->region.gate->lease_until_ns,
                               now_ns +
                                   LEASE_NS); /* permits flow on; no partner: compared with time */
        if (s->restart_at_ns != 0 && now_ns >= s->restart_at_ns) {
            worker_start(s);
        }
    }
    tell(s);
    handover_beat(s, now_ns);
    takeover_tell(&s->takeover, &s->admission);
    admission_idle(&s->admission, now_ns);
    for (uint32_t d = 0; !handover_is_on(&s->handover) && d < s->region.domain_cnt; d++) {
        if ((s->deaf >> d & 1U) != 0) {
            watch(s, s->admission.listener[d], WATCH_LISTENER, d);
        }
    }
    s->deaf = handover_is_on(&s->handover) ? s->deaf : 0;
}

/* ---------------------------------------------------------------------------------------------- start and stop */

static int fail(const char *text)
{
    (void)fprintf(stderr, "weird: %s\n", text);
    return 1;
}

static int directory_make(struct supervisor *s, const char *runtime_dir, char *text,
                          size_t text_bytes)
{
    (void)mkdir(runtime_dir, 0755);
    (void)snprintf(s->dir, sizeof s->dir, "%s/%s", runtime_dir, s->config->broker.name);
    if (mkdir(s->dir, 0755) != 0 && errno != EEXIST) {
        (void)snprintf(
            text, text_bytes,
            "cannot make: path=%.300s: %s: choose another broker.runtime_dir or --runtime-dir",
            s->dir, strerror(errno));
        return -1;
    }
    return 0;
}

static int signals_open(struct supervisor *s)
{
    sigset_t set;
    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGTERM);
    (void)sigaddset(&set, SIGINT);
    (void)sigaddset(&set, SIGHUP);
    (void)sigaddset(&set, SIGCHLD);
    (void)sigprocmask(SIG_BLOCK, &set, NULL);
    (void)signal(SIGPIPE, SIG_IGN);
    s->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    s->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (s->signal_fd < 0 || s->epoll_fd < 0) {
        return -1;
    }
    watch(s, s->signal_fd, WATCH_SIGNAL, 0);
    return 0;
}

/* Say at the start, and once, what the worker would die of again and again. */
static int uring_check(char *text, size_t text_bytes)
{
    struct loop probe;
    if (loop_open(&probe, 8, text, text_bytes) != 0) {
        return -1;
    }
    loop_close(&probe);
    return 0;
}

/* What the broker before this one left, into the region. */
static int remember(struct supervisor *s, bool fresh, char *text, size_t text_bytes)
{
    enum aftermath found;
    if (aftermath_enter(s->dir, &s->region, fresh, &found, text, text_bytes) != 0) {
        return -1;
    }
    uint32_t verdict = s->region.journal_board->found;
    if (verdict == WEIR_JOURNAL_OFF) {
        log_warn("journal_off", "s:s", "meaning", weir_journal_verdict_text(verdict));
    } else if (verdict == WEIR_JOURNAL_ABSENT) {
        log_warn("journal_absent", "s:s, s:s, s:s", "why", weir_journal_verdict_text(verdict),
                 "path", s->journal.dir, "next_step",
                 "if nobody has used these limits: stop, remove this directory and the one of the "
                 "sockets, start with --fresh");
    } else if (verdict != WEIR_JOURNAL_SOUND) {
        log_warn("journal_refused", "s:s, s:s, s:s", "reason", weir_journal_verdict_name(verdict),
                 "why", weir_journal_verdict_text(verdict), "path", s->journal.dir);
    }
    if (found == AFTERMATH_SPENT) {
        log_warn("limits_counted_as_spent", "s:s", "why",
                 "the broker before this one did not stop cleanly, or nothing is known of it");
    } else if (found == AFTERMATH_JOURNAL) {
        log_warn("limits_from_journal", "s:b, s:s", "clean",
                 (int)s->region.journal_board->found_clean, "meaning",
                 "windows above 10 min go on at their ceilings, the others count as spent");
    } else if (found == AFTERMATH_RESTORED) {
        log_info("limits_restored", "");
    }
    return 0;
}

/* The shadow configuration's limits and what both ways of starting need. */
static int open_rest(struct supervisor *s, char *text, size_t text_bytes)
{
    int pair[2];
    s->region.journal = &s->journal;
    s->region.handover = &s->handover;
    s->region.cage = &s->cage;
    if (s->config->shadow != NULL) {
        static struct dry_run shadow; /* large; zeroed; the workers inherit it */
        if (dry_run_open(&shadow, s->config->shadow, text, text_bytes) != WEIR_OK) {
            return -1;
        }
        s->region.shadow = &shadow;
    }
    if (signals_open(s) != 0 || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0) {
        (void)snprintf(text, text_bytes, "cannot open descriptors: %s: raise ulimit -n",
                       strerror(errno));
        return -1;
    }
    s->resolver_ours = pair[0];
    s->resolver_theirs = pair[1];
    return 0;
}

/* The usual start: with nobody here, by what is remembered. */
static int open_new(struct supervisor *s, bool fresh, char *text, size_t text_bytes)
{
    if (region_create(&s->region, s->config, text, text_bytes) != WEIR_OK ||
        open_rest(s, text, text_bytes) != 0 ||
        journal_open(&s->journal, s->config->broker.state_dir, s->config->broker.name, text,
                     text_bytes) != 0 ||
        remember(s, fresh, text, text_bytes) != 0 ||
        handover_listen(&s->handover, s->dir, s->lock_fd, text, text_bytes) != 0) {
        return -1;
    }
    return admission_open(&s->admission, s->config, &s->region, s->dir, NULL, text, text_bytes);
}

/* In the place of a broker that runs, or of a worker that is left of one: segments, clients and locks are its own. */
static int open_takeover(struct supervisor *s, char *text, size_t text_bytes)
{
    struct takeover *t = &s->takeover;
    s->lock_fd = t->lock_fd;
    if (open_rest(s, text, text_bytes) != 0 ||
        admission_open(&s->admission, s->config, &s->region, s->dir, t->listener, text,
                       text_bytes) != 0 ||
        takeover_clients(t, &s->admission, text, text_bytes) != 0 ||
        takeover_finish(t, &s->region, s->config->broker.drain_ns, text, text_bytes) != 0) {
        return -1;
    }
    takeover_tell(t, &s->admission);
    s->restarts = t->giver.restarts;
    handover_adopt(&s->handover, s->dir, t->handover_listener, s->lock_fd);
    s->handover.restarts = s->restarts;
    aftermath_lock_sign(s->lock_fd);
    for (uint32_t i = 0; i < WEIR_CLIENTS_MAX; i++) {
        if (s->admission.used[i]) {
            watch(s, s->admission.client[i].pidfd, WATCH_CLIENT, i);
        }
    }
    for (uint32_t i = 0; i < PEERS_MAX; i++) {
        if (s->admission.peer[i].socket >= 0) {
            watch(s, s->admission.peer[i].socket, WATCH_PEER, i);
        }
    }
    return 0;
}

/* From here on files are this user's or not, also for root. A stop that cannot write costs the next start all limits: better no start. */
static int privileges_drop(struct supervisor *s, char *text, size_t text_bytes)
{
    if (cage_supervisor_enter(&s->cage, text, text_bytes) != 0) {
        return -1;
    }
    if (access(s->dir, W_OK | X_OK) != 0) {
        (void)snprintf(text, text_bytes,
                       "cannot write: path=%.300s: %s: weird keeps no capability over files: make "
                       "the directory belong to the user that starts it (uid %u)",
                       s->dir, strerror(errno), (unsigned)geteuid());
        return -1;
    }
    return 0;
}

static int open_all(struct supervisor *s, const struct supervisor_options *options, char *text,
                    size_t text_bytes)
{
    bool takeover = options->takeover;
    char why[512] = "";
    int rc;
    if (rlimits_check(s->config, text, text_bytes) != 0 || uring_check(text, text_bytes) != 0 ||
        cage_make(&s->cage, options->cage, &s->config->broker, options->secrets, text,
                  text_bytes) != 0 ||
        directory_make(s, options->runtime_dir, text, text_bytes) != 0 ||
        privileges_drop(s, text, text_bytes) != 0) {
        return -1;
    }
    s->lock_fd = takeover ? -1 : aftermath_lock(s->dir, text, text_bytes);
    if (s->lock_fd >= 0) {
        rc = open_new(s, options->fresh, text, text_bytes);
    } else {
        enum takeover_found found = takeover_begin(&s->takeover, s->dir, s->config, !takeover,
                                                   &s->region, &s->journal, why, sizeof why);
        if (found != TAKEOVER_READY) {
            if (takeover || found == TAKEOVER_FAILED) {
                (void)snprintf(text, text_bytes, "%s", why);
            }
            if (takeover && found == TAKEOVER_NOBODY) {
                (void)snprintf(text, text_bytes,
                               "cannot take over: path=%.300s: no broker runs here: start without "
                               "--takeover",
                               s->dir);
            }
            return -1;
        }
        rc = open_takeover(s, text, text_bytes);
    }
    if (rc != 0) {
        return -1;
    }
    watch(s, s->handover.listener, WATCH_HANDOVER, 0);
    for (uint32_t d = 0; d < s->region.domain_cnt; d++) {
        watch(s, s->admission.listener[d], WATCH_LISTENER, d);
    }
    return 0;
}

static void resolver_stop(struct supervisor *s)
{
    int status = 0;
    if (s->resolver_pid > 0) { /* 0 would be all of our process group */
        (void)kill(s->resolver_pid, SIGTERM);
        (void)waitpid(s->resolver_pid, &status, 0);
    }
}

/* Sockets, locks and state are the successor's, or of a broker that counts as crashed. */
static int give_way(struct supervisor *s)
{
    resolver_stop(s);
    log_info("left", "s:i", "successor", (int)s->handover.taker_pid);
    return s->left_status;
}

static int stop_end(struct supervisor *s)
{
    admission_close(&s->admission);
    handover_close(&s->handover);
    resolver_stop(s);
    weir_store_release_u64(&s->region.gate->lease_until_ns, 0); /* no partner: compared with time */
    (void)usleep(1000); /* a permit between its look at the lease and its charge is done by now */
    if (aftermath_leave(s->dir, &s->region) != 0) {
        log_error("state_not_written", "s:s", "meaning",
                  "the next broker counts every limit as spent");
        return 1;
    }
    log_info("stopped", "");
    return 0;
}

int supervisor_run(const struct weir_config *config, const struct supervisor_options *options)
{
    static struct supervisor supervisor; /* large; zeroed */
    struct supervisor *s = &supervisor;
    char text[512] = "";
    s->config = config;
    s->worker_control = -1;
    s->last_lines = crash_ring_open();
    log_open(config->broker.log, "supervisor");
    if (open_all(s, options, text, sizeof text) != 0) {
        return fail(text);
    }
    cage_made_log(&s->cage);
    s->region.supervisor->pid = (uint32_t)getpid();
    s->region.supervisor->started_ns = weir_clock_monotonic_ns();
    resolver_start(s);
    worker_start(s);
    log_info("broker_started", "s:s, s:s, s:i", "name", config->broker.name, "directory", s->dir,
             "domains", (int)s->region.domain_cnt);
    while (!s->left && (!s->stopping || s->worker_pid != 0)) {
        struct epoll_event events[64];
        int n = epoll_wait(s->epoll_fd, events, 64, BEAT_MS);
        for (int i = 0; i < n && !s->left; i++) {
            on_event(s, &events[i]);
        }
        if (!s->left) {
            beat(s);
        }
    }
    return s->left ? give_way(s) : stop_end(s);
}
