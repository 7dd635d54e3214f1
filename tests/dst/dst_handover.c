/*
 * dst_handover.c: sockets of a takeover that exist only here: the connection between giver and taker, its messages with their descriptors, and a client's
 * way to a new board (libclient/board.c). What is sent arrives some microseconds later, in order; the end of a process closes its end. At each message
 * somebody may be condemned: giver, taker, or the worker.
 */
#include "dst.h"

#include "broker/control.h"
#include "shm/weir_handover.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define QUEUE_MAX 4U

enum end { TAKER_END = 0, GIVER_END = 1 };

struct message {
    struct weir_handover body;
    size_t bytes;
    int fd
        [WEIR_HANDOVER_FDS_MAX]; /* real ones are ours; numbers that exist only here are as they were */
    size_t fd_cnt;
    uint64_t at; /* not to be seen before */
};

static struct {
    bool waits; /* the taker has connected, and nobody has accepted */
    bool open[2];
    struct dst_process *owner[2];
    struct message queue[2][QUEUE_MAX]; /* to that end */
    unsigned first[2], cnt[2];
} wire;

static uint64_t ended_at; /* permits stood still from here on */

uint64_t dst_handover_ended_at(void)
{
    return ended_at;
}

int __real_close(int fd);

/* ---------------------------------------------------------------------------------------------- the connection */

static void message_free(struct message *m)
{
    for (size_t i = 0; i < m->fd_cnt; i++) {
        if (m->fd[i] >= 0 && m->fd[i] < DST_FD_FIRST) {
            (void)__real_close(m->fd[i]);
        }
    }
    m->fd_cnt = 0;
}

static void changed(enum end end)
{
    if (wire.owner[end] == NULL && (!wire.waits || end == TAKER_END)) {
        return;
    }
    struct dst_process *p = wire.owner[end];
    if (p == NULL) { /* nobody has accepted: whoever listens */
        p = dst_supervisor_process.live ? &dst_supervisor_process : &dst_worker_process;
    }
    dst_wake_process(p);
    if (p == &dst_worker_process) {
        dst_loop_handover();
    }
}

static void changed_event(void *arg, uint64_t end, uint64_t b)
{
    (void)arg;
    (void)b;
    changed((enum end)end);
}

static void end_close(enum end end)
{
    if (!wire.open[end]) {
        return;
    }
    wire.open[end] = false;
    for (; wire.cnt[end] > 0; wire.cnt[end]--) {
        message_free(&wire.queue[end][wire.first[end]]);
        wire.first[end] = (wire.first[end] + 1) % QUEUE_MAX;
    }
    dst_at(dst_now + dst_log_uniform(DST_US, 50 * DST_US), changed_event, NULL, 1U - end, 0);
    if (!wire.open[0] && !wire.open[1]) {
        wire.waits = false;
        wire.owner[0] = wire.owner[1] = NULL;
    }
}

void dst_handover_died(const struct dst_process *p)
{
    for (unsigned end = 0; end < 2; end++) {
        if (wire.open[end] && wire.owner[end] == p) {
            end_close((enum end)end);
        }
    }
    if (wire.waits && !dst_supervisor_process.live && !dst_worker_process.live) {
        end_close(GIVER_END); /* nobody listens any more */
    }
}

void dst_handover_reset(void)
{
    end_close(GIVER_END);
    end_close(TAKER_END);
    memset(&wire, 0, sizeof wire);
}

bool dst_handover_waits(void)
{
    return wire.waits;
}

static bool end_of(int fd, enum end *end)
{
    *end = fd == DST_FD_GIVER ? GIVER_END : TAKER_END;
    return fd == DST_FD_GIVER || fd == DST_FD_TAKER;
}

bool dst_handover_close(int fd)
{
    enum end end;
    if (!end_of(fd, &end)) {
        return false;
    }
    if (wire.open[end] && (wire.owner[end] == dst_cur || dst_cur == NULL)) {
        end_close(end);
    }
    return true;
}

static struct message *visible(enum end end)
{
    struct message *m = &wire.queue[end][wire.first[end]];
    return wire.cnt[end] > 0 && m->at <= dst_now ? m : NULL;
}

/* Is there something to read, or the end? */
bool dst_handover_ready(int fd)
{
    enum end end;
    return end_of(fd, &end) ? visible(end) != NULL ||
                                  (wire.cnt[end] == 0 && (!wire.open[1U - end] || !wire.open[end]))
                            : fd == DST_FD_LISTENER && wire.waits;
}

/* Somebody dies at a message. */
static void condemn(void)
{
    if (!dst_fault(DST_TAKEOVER_KILLED, dst_world.mix.takeover_kill)) {
        return;
    }
    struct dst_process *who[] = {&dst_supervisors[0], &dst_supervisors[1], &dst_worker_process};
    struct dst_process *p = who[dst_below(3)];
    if (p->live && p->kill_in == 0) {
        p->kill_in = (long)dst_log_uniform(1, 600);
    }
}

int dst_handover_send(int fd, const void *message, size_t bytes, const int *fds, size_t fd_cnt)
{
    enum end to;
    (void)end_of(fd, &to);
    to = to == GIVER_END ? TAKER_END : GIVER_END;
    if (!wire.open[to] || !wire.open[1U - to]) {
        errno = EPIPE;
        return -1;
    }
    if (wire.cnt[to] == QUEUE_MAX || bytes > sizeof(struct weir_handover)) {
        dst_broken("simulator", "a message of %zu bytes, or too many", bytes);
    }
    struct message *m = &wire.queue[to][(wire.first[to] + wire.cnt[to]++) % QUEUE_MAX];
    memcpy(&m->body, message, bytes);
    m->bytes = bytes;
    m->fd_cnt = fd_cnt;
    for (size_t i = 0; i < fd_cnt; i++) {
        m->fd[i] = fds[i] >= 0 && fds[i] < DST_FD_FIRST ? dup(fds[i]) : fds[i];
    }
    m->at = dst_now + dst_log_uniform(5 * DST_US, 300 * DST_US);
    if (wire.cnt[to] > 1) {
        const struct message *before =
            &wire.queue[to][(wire.first[to] + wire.cnt[to] - 2) % QUEUE_MAX];
        m->at = m->at > before->at ? m->at : before->at;
    }
    if (m->body.kind == WEIR_HANDOVER_GO) {
        ended_at = m->body.go.ended_at_ns;
    }
    dst_trace("handover", m->body.kind, to, m->body.index);
    dst_at(m->at, changed_event, NULL, to, 0);
    condemn();
    return 0;
}

ssize_t dst_handover_receive(int fd, void *message, size_t bytes, int *fds, size_t *fd_cnt)
{
    enum end end;
    size_t room = fds != NULL ? *fd_cnt : 0;
    (void)end_of(fd, &end);
    struct message *m = visible(end);
    if (fd_cnt != NULL) {
        *fd_cnt = 0;
    }
    if (m == NULL) {
        errno = EAGAIN; /* the end comes behind what was sent before it */
        return wire.cnt[end] > 0 || (wire.open[1U - end] && wire.open[end]) ? -1 : 0;
    }
    size_t n = m->bytes < bytes ? m->bytes : bytes;
    memcpy(message, &m->body, n);
    for (size_t i = 0; i < m->fd_cnt && i < room; i++) {
        fds[(*fd_cnt)++] = m->fd[i];
        dst_process_fd(dst_cur, m->fd[i]);
        m->fd[i] = -1;
    }
    message_free(m);
    wire.first[end] = (wire.first[end] + 1) % QUEUE_MAX;
    wire.cnt[end]--;
    condemn();
    return (ssize_t)n;
}

/* ---------------------------------------------------------------------------------------------- the C library's part of it */

int __wrap_socket(int domain, int type, int protocol);
int __wrap_connect(int fd, const struct sockaddr *to, socklen_t bytes);
int __wrap_accept4(int fd, struct sockaddr *from, socklen_t *bytes, int flags);
int __wrap_getsockopt(int fd, int level, int name, void *value, socklen_t *bytes);
int __wrap_kill(pid_t pid, int signal_number);
pid_t __wrap_getpid(void);
int __wrap_stat(const char *path, struct stat *st);
ssize_t __wrap_recvmsg(int fd, struct msghdr *m, int flags);
int __wrap_dup3(int fd, int as, int flags);

static bool supervisor_is(const struct dst_process *p)
{
    return p >= dst_supervisors && p < dst_supervisors + 2;
}

int __wrap_socket(int domain, int type, int protocol)
{
    (void)domain;
    (void)type;
    (void)protocol;
    return supervisor_is(dst_cur) ? DST_FD_TAKER : DST_FD_REJOIN;
}

int __wrap_connect(int fd, const struct sockaddr *to, socklen_t bytes)
{
    (void)to;
    (void)bytes;
    if (fd == DST_FD_REJOIN) {
        return dst_broker_up() ? 0 : -1;
    }
    bool listens = dst_broker_up() || dst_worker_process.live;
    if (!listens || wire.open[0] || wire.open[1]) {
        errno = ECONNREFUSED;
        return -1;
    }
    wire.open[0] = wire.open[1] = wire.waits = true;
    wire.owner[TAKER_END] = dst_cur;
    wire.owner[GIVER_END] = NULL;
    changed(GIVER_END);
    return 0;
}

int __wrap_accept4(int fd, struct sockaddr *from, socklen_t *bytes, int flags)
{
    (void)fd;
    (void)from;
    (void)bytes;
    (void)flags;
    if (!wire.waits) {
        errno = EAGAIN;
        return -1;
    }
    wire.waits = false;
    wire.owner[GIVER_END] = dst_cur;
    return DST_FD_GIVER;
}

static pid_t pid_of(const struct dst_process *p)
{
    return p == &dst_worker_process ? 3000
           : supervisor_is(p)       ? 2000 + (pid_t)(p - dst_supervisors)
                                    : 4000;
}

int __wrap_getsockopt(int fd, int level, int name, void *value, socklen_t *bytes)
{
    enum end end;
    (void)level;
    (void)name;
    (void)bytes;
    const struct dst_process *p = end_of(fd, &end) ? wire.owner[1U - end] : NULL;
    *(struct ucred *)value = (struct ucred){.pid = pid_of(p), .uid = geteuid()};
    return 0;
}

int __wrap_kill(pid_t pid, int signal_number)
{
    dst_trace("kill", (uint64_t)pid, (uint64_t)signal_number, 0);
    if (pid >= 2000 && pid < 2002 && signal_number == SIGKILL) {
        dst_kill(&dst_supervisors[pid - 2000]);
    } else if (pid == 3000 && signal_number == SIGKILL) {
        dst_kill(&dst_worker_process);
    }
    return 0;
}

pid_t __wrap_getpid(void)
{
    return pid_of(dst_cur);
}

int __wrap_stat(const char *path, struct stat *st)
{
    memset(st, 0, sizeof *st);
    st->st_ino = (ino_t)dst_disk_inode(path) + 1;
    return st->st_ino != 0 ? 0 : -1;
}

ssize_t __wrap_recvmsg(int fd, struct msghdr *m, int flags)
{
    (void)flags;
    return dst_broker_welcome(fd, m);
}

int __wrap_dup3(int fd, int as, int flags)
{
    (void)fd;
    (void)flags;
    dst_broker_rejoined(as);
    return as;
}

__asm__(".globl __wrap_stat64\n.set __wrap_stat64, __wrap_stat\n");
