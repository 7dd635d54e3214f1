#include "broker/supervisor_inside.h"

#include "broker/aftermath.h"
#include "broker/cage_make.h"
#include "broker/crash.h"
#include "broker/dry_run.h"
#include "broker/log.h"
#include "broker/resolver.h"
#include "broker/worker.h"
#include "shm/weir_atomic.h"
#include "shm/weir_weave.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define BEAT_MS        200
#define BACKOFF_MIN_NS (1 * WEIR_NS_PER_S)
#define BACKOFF_MAX_NS (60 * WEIR_NS_PER_S)

void supervisor_watch(struct supervisor *s, int fd, enum watch kind, uint32_t index)
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
        last_good_forget(&s->last_good);
        sign_in_files_forget(&s->sign_in);
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

void supervisor_worker_start(struct supervisor *s)
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
    supervisor_watch(s, pair[0], WATCH_WORKER, 0);
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
        giver_end(s);
        return;
    }
    if (reload_is_on(s)) {
        reload_end(s);
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
        supervisor_worker_start(s);
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

void supervisor_tell(struct supervisor *s)
{
    const struct control_message drain = {.kind = CONTROL_DRAIN};
    for (uint32_t i = 0; i < WEIR_CLIENTS_MAX && s->worker_control >= 0; i++) {
        const struct control_message m = {.kind = CONTROL_GONE, .client = {.index = i}};
        if (s->untold[i]) {
            s->untold[i] = control_send(s->worker_control, &m, sizeof m, NULL, 0) != 0;
        }
    }
    const struct control_message quiesce = {.kind = CONTROL_QUIESCE};
    bool rest = s->handover.stage == HANDOVER_READY || reload_is_on(s);
    if (rest && !s->quiesce_told && s->worker_control >= 0) {
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
    supervisor_tell(s);
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
            supervisor_watch(s, s->admission.client[client].pidfd, WATCH_CLIENT, client);
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

static void stop_begin(struct supervisor *s)
{
    if (s->stopping) {
        return;
    }
    if (handover_is_on(&s->handover)) {
        handover_drop(&s->handover);
        giver_lost(s);
    }
    reload_lost(s);
    s->stopping = true;
    log_info("stopping", "");
    supervisor_tell(s);
}

static void on_signal(struct supervisor *s)
{
    struct signalfd_siginfo info;
    while (read(s->signal_fd, &info, sizeof info) == (ssize_t)sizeof info) {
        if (info.ssi_signo == SIGCHLD) {
            children_reap(s);
        } else if (info.ssi_signo == SIGHUP) {
            reload_ask(s);
        } else {
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
        giver_event(s, index);
        break;
    case WATCH_LISTENER:
        p = handover_is_on(&s->handover) ? NULL : admission_accept(&s->admission, index);
        if (p != NULL) {
            supervisor_watch(s, p->socket, WATCH_PEER, (uint32_t)(p - s->admission.peer));
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
        WEIR_WEAVE("lease:supervisor");
        weir_store_release_u64(&s->region.gate->lease_until_ns,
                               now_ns +
                                   LEASE_NS); /* permits flow on; no partner: compared with time */
        if (s->restart_at_ns != 0 && now_ns >= s->restart_at_ns) {
            supervisor_worker_start(s);
        }
    }
    supervisor_tell(s);
    giver_beat(s, now_ns);
    reload_beat(s, now_ns);
    takeover_tell(&s->takeover, &s->admission);
    admission_idle(&s->admission, now_ns);
    for (uint32_t d = 0; !handover_is_on(&s->handover) && d < s->region.domain_cnt; d++) {
        if ((s->deaf >> d & 1U) != 0) {
            supervisor_watch(s, s->admission.listener[d], WATCH_LISTENER, d);
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
    WEIR_WEAVE("lease:end");
    weir_store_release_u64(&s->region.gate->lease_until_ns, 0); /* no partner: compared with time */
    (void)usleep(1000); /* a permit between its look at the lease and its charge is done by now */
    if (aftermath_leave(s->dir, &s->region) != 0) {
        log_error("state_not_written", "s:s", "meaning",
                  "the next broker counts every limit as spent");
        return 1;
    }
    last_good_leave(&s->last_good, &s->region);
    log_info("stopped", "");
    return 0;
}

int supervisor_run(const struct weir_config *config, const struct supervisor_options *options)
{
    static struct supervisor supervisor; /* large; zeroed */
    struct supervisor *s = &supervisor;
    char text[512] = "";
    s->config = config;
    s->reloading = options->reload;
    s->worker_control = -1;
    s->last_lines = crash_ring_open();
    log_open(config->broker.log, "supervisor");
    if (supervisor_open(s, options, text, sizeof text) != 0) {
        return fail(text);
    }
    cage_made_log(&s->cage);
    s->region.supervisor->pid = (uint32_t)getpid();
    s->region.supervisor->started_ns = weir_clock_monotonic_ns();
    resolver_start(s);
    supervisor_worker_start(s);
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
