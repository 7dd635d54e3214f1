/*
 * attach.c: from a broker's name to a set of checked mappings.
 *
 * One connection, one hello, one welcome with descriptors (shm/weir_attach.h). Whatever goes wrong has its own text: the person who
 * reads it should know what to do without reading this file.
 */
#include "handle.h"

#include "shm/weir_attach.h"
#include "shm/weir_error.h"
#include "shm/weir_weave.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* A supervisor that does not answer for so long hangs: a named error instead of a program that never starts. */
#define ANSWER_S 5
/* Between two tries while `patience_ns` lasts. */
#define RETRY_NS (10 * WEIR_NS_PER_MS)
/* Clocks of one time namespace agree to the nanosecond; the slack covers only the order of the two readings. */
#define NAMESPACE_SLACK_NS WEIR_NS_PER_MS
/* Room for more descriptors than any role gets, so that surplus ones arrive and can be closed. */
#define FDS_ROOM 16

_Static_assert(sizeof(((struct weir_attach_context *)0)->path) ==
                   sizeof(((struct sockaddr_un *)0)->sun_path),
               "the longest path that a socket can have");

/* What came with the welcome. */
struct answer {
    struct weir_attach_welcome welcome;
    size_t bytes;
    int fd[FDS_ROOM];
    size_t fd_cnt;
    bool fds_cut; /* MSG_CTRUNC: some could not be installed */
    uint64_t before_ns, after_ns;
};

int weir_attach_fail(const struct weir_attach_context *c, int error, const char *hint,
                     const char *cause, ...)
{
    if (c->diag == NULL) {
        return error;
    }
    char text[256];
    va_list args;
    va_start(args, cause);
    (void)vsnprintf(text, sizeof text, cause, args);
    va_end(args);
    c->diag->error = error;
    (void)snprintf(c->diag->text, sizeof c->diag->text, "cannot attach: name=%s path=%s: %s: %s",
                   c->plan->name, c->path, text, hint != NULL ? hint : weir_error_hint(error));
    return error;
}

/* ---------------------------------------------------------------------------------------------- where */

static bool directory_exists(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

static bool join(char *out, size_t bytes, const char *dir, const char *middle, const char *name,
                 const char *end)
{
    int n = snprintf(out, bytes, "%s%s/%s%s", dir, middle, name, end);
    return n > 0 && (size_t)n < bytes;
}

/*
 * RUNTIME_DIR/NAME into `out`: the options' directory, else the environment's; without either, the system's broker if it has one of
 * this name, else the user's own.
 */
static bool broker_directory(const struct weir_attach_plan *plan, char *out, size_t bytes)
{
    const char *dir = plan->runtime_dir != NULL ? plan->runtime_dir : getenv("WEIR_RUNTIME_DIR");
    if (dir != NULL && dir[0] != '\0') {
        return join(out, bytes, dir, "", plan->name, "");
    }
    if (!join(out, bytes, "/run", "/weir", plan->name, "")) {
        return false;
    }
    const char *user = getenv("XDG_RUNTIME_DIR");
    if (directory_exists(out) || user == NULL || user[0] == '\0') {
        return true;
    }
    return join(out, bytes, user, "/weir", plan->name, "");
}

static int socket_path(struct weir_attach_context *c, char *directory, size_t bytes)
{
    if (broker_directory(c->plan, directory, bytes) &&
        join(c->path, sizeof c->path, directory, "", c->plan->domain, ".sock")) {
        return WEIR_OK;
    }
    (void)snprintf(c->path, sizeof c->path, "?");
    return weir_attach_fail(c, WEIR_E_ARGUMENT, "choose a shorter runtime directory",
                            "the socket's path is longer than %zu bytes", sizeof c->path - 1);
}

/* ---------------------------------------------------------------------------------------------- connect */

static int connect_failed(const struct weir_attach_context *c, const char *directory, int reason)
{
    switch (reason) {
    case ENOENT:
    case ENOTDIR:
        if (!directory_exists(directory)) {
            return weir_attach_fail(
                c, WEIR_E_NO_BROKER,
                "start it (weird --config FILE), or set WEIR_RUNTIME_DIR to its directory",
                "no broker of this name was started here");
        }
        return weir_attach_fail(c, WEIR_E_NO_BROKER,
                                "start it (weird --config FILE), or name one of its domains",
                                "the broker has no socket for domain %s", c->plan->domain);
    case ECONNREFUSED:
        return weir_attach_fail(c, WEIR_E_NO_BROKER, "start it again: weird --config FILE",
                                "the broker is dead and left its socket behind");
    case EACCES:
    case EPERM:
        return weir_attach_fail(c, WEIR_E_PERMISSION, NULL, "uid %u may not attach to domain %s",
                                (unsigned)geteuid(), c->plan->domain);
    case EAGAIN:
        return weir_attach_fail(c, WEIR_E_NOT_READY, "see its log: it is starting, or it hangs",
                                "the broker did not take the connection within %d s", ANSWER_S);
    default:
        return weir_attach_fail(c, WEIR_E_SYSTEM, "see the system's reason before this",
                                "connect failed: %s", strerrordesc_np(reason));
    }
}

static int connect_to(const struct weir_attach_context *c, const char *directory, int *out)
{
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return weir_attach_fail(c, WEIR_E_SYSTEM, "see the system's reason before this",
                                "no socket: %s", strerrordesc_np(errno));
    }
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    memcpy(to.sun_path, c->path, sizeof to.sun_path);
    const struct timeval limit = {.tv_sec = ANSWER_S};
    /* Both ways: a connect waits for a full backlog under the send limit. They cannot fail on a fresh socket. */
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    int rc;
    do {
        rc = connect(fd, (const struct sockaddr *)&to, sizeof to);
    } while (rc != 0 && errno == EINTR);
    if (rc != 0) {
        int reason = errno;
        (void)close(fd);
        return connect_failed(c, directory, reason);
    }
    *out = fd;
    return WEIR_OK;
}

/* ---------------------------------------------------------------------------------------------- hello, welcome */

static void answer_close(struct answer *a)
{
    for (size_t i = 0; i < a->fd_cnt; i++) {
        (void)close(a->fd[i]);
    }
    a->fd_cnt = 0;
}

static void take_descriptors(struct answer *a, struct msghdr *m)
{
    for (struct cmsghdr *h = CMSG_FIRSTHDR(m); h != NULL; h = CMSG_NXTHDR(m, h)) {
        if (h->cmsg_level != SOL_SOCKET || h->cmsg_type != SCM_RIGHTS) {
            continue;
        }
        size_t cnt = (h->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < cnt && a->fd_cnt < FDS_ROOM; i++) {
            memcpy(&a->fd[a->fd_cnt++], CMSG_DATA(h) + i * sizeof(int), sizeof(int));
        }
    }
    a->fds_cut = (m->msg_flags & MSG_CTRUNC) != 0;
}

static int receive(const struct weir_attach_context *c, int control, struct answer *a)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(FDS_ROOM * sizeof(int))];
    } room;
    struct iovec data = {.iov_base = &a->welcome, .iov_len = sizeof a->welcome};
    struct msghdr m = {.msg_iov = &data,
                       .msg_iovlen = 1,
                       .msg_control = room.bytes,
                       .msg_controllen = sizeof room.bytes};
    ssize_t n;
    do {
        n = recvmsg(control, &m, MSG_CMSG_CLOEXEC);
    } while (n < 0 && errno == EINTR);
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
        return weir_attach_fail(c, WEIR_E_NOT_READY, "see its log: it is starting, or it hangs",
                                "the broker did not answer within %d s", ANSWER_S);
    }
    if (n == 0 || (n < 0 && errno == ECONNRESET)) {
        return weir_attach_fail(c, WEIR_E_NOT_READY, "see its log: it is starting or stopping",
                                "the broker closed the connection without an answer");
    }
    if (n < 0) {
        return weir_attach_fail(c, WEIR_E_SYSTEM, "see the system's reason before this",
                                "no answer: %s", strerrordesc_np(errno));
    }
    a->bytes = (size_t)n;
    a->after_ns = weir_clock_monotonic_ns();
    take_descriptors(a, &m);
    return WEIR_OK;
}

static int exchange(const struct weir_attach_context *c, int control, struct answer *a)
{
    const struct weir_attach_plan *p = c->plan;
    struct weir_attach_hello hello = {.magic = WEIR_ATTACH_MAGIC,
                                      .version = WEIR_ATTACH_VERSION,
                                      .bytes = sizeof hello,
                                      .abi_major = WEIR_ABI_MAJOR,
                                      .layout_hash = weir_layout_hash(),
                                      .role = p->role,
                                      .slot_cnt = p->slots,
                                      .request_bytes = p->request_bytes,
                                      .response_bytes = p->response_bytes};
    memcpy(hello.client_name, p->client_name, sizeof hello.client_name);
    a->before_ns = weir_clock_monotonic_ns();
    ssize_t n;
    do {
        n = send(control, &hello, sizeof hello, MSG_NOSIGNAL);
    } while (n < 0 && errno == EINTR);
    /* A broker that refuses may have answered and closed already: EPIPE, with its words still to be read. */
    if (n < 0 && errno != EPIPE && errno != ECONNRESET) {
        return weir_attach_fail(c, WEIR_E_SYSTEM, "see the system's reason before this",
                                "the hello was not sent: %s", strerrordesc_np(errno));
    }
    return receive(c, control, a);
}

static size_t descriptors_of(enum weir_role role)
{
    return role == WEIR_ROLE_MONITOR ? 1 : role == WEIR_ROLE_CALLER ? 5 : 6;
}

static int versions_differ(const struct weir_attach_context *c, const struct weir_attach_welcome *w)
{
    if (w->version != WEIR_ATTACH_VERSION || w->abi_major != WEIR_ABI_MAJOR) {
        return weir_attach_fail(
            c, WEIR_E_ABI, NULL,
            "the broker speaks ABI %u.%u (attach %u), this libweir %u.%u (attach %u)", w->abi_major,
            w->abi_minor, w->version, WEIR_ABI_MAJOR, WEIR_ABI_MINOR, WEIR_ATTACH_VERSION);
    }
    if (w->layout_hash != weir_layout_hash()) {
        return weir_attach_fail(c, WEIR_E_LAYOUT, NULL,
                                "the broker's memory has layout %016llx, this libweir's %016llx",
                                (unsigned long long)w->layout_hash,
                                (unsigned long long)weir_layout_hash());
    }
    return WEIR_OK;
}

/* Everything that the welcome itself can say. */
static int judge(const struct weir_attach_context *c, struct answer *a)
{
    struct weir_attach_welcome *w = &a->welcome;
    if (a->bytes < offsetof(struct weir_attach_welcome, abi_major) ||
        w->magic != WEIR_ATTACH_MAGIC) {
        return weir_attach_fail(c, WEIR_E_ABI, "see which program listens on this socket",
                                "the answer of %zu bytes is not a broker's", a->bytes);
    }
    if (a->bytes < sizeof *w) { /* an older broker: its struct ends earlier, the rest stays 0 */
        memset((char *)w + a->bytes, 0, sizeof *w - a->bytes);
    }
    w->text[sizeof w->text - 1] = '\0';
    if (w->error == 0 || w->error == WEIR_E_ABI || w->error == WEIR_E_LAYOUT) {
        int rc = versions_differ(c, w);
        if (rc != WEIR_OK) {
            return rc;
        }
    }
    if (w->error != 0) {
        int error = w->error < 0 ? w->error : WEIR_E_CORRUPT;
        return weir_attach_fail(c, error, NULL, "%s",
                                w->text[0] != '\0' ? w->text : weir_error_text(error));
    }
    if (a->bytes < sizeof *w) {
        return weir_attach_fail(c, WEIR_E_ABI, NULL, "the answer ends after %zu of %zu bytes",
                                a->bytes, sizeof *w);
    }
    size_t wanted = descriptors_of(c->plan->role);
    if (a->fds_cut) {
        return weir_attach_fail(c, WEIR_E_SYSTEM,
                                "raise this process' limit of open files (ulimit -n)",
                                "only %zu of %zu descriptors arrived", a->fd_cnt, wanted);
    }
    if (a->fd_cnt != wanted || w->fd_cnt != wanted) {
        return weir_attach_fail(c, WEIR_E_CORRUPT, NULL,
                                "%zu descriptors arrived, the broker named %u, role %s needs %zu",
                                a->fd_cnt, w->fd_cnt, weir_role_name(c->plan->role), wanted);
    }
    return WEIR_OK;
}

/* Broker's CLOCK_MONOTONIC minus ours: 0 unless one of us lives in another time namespace. */
static int64_t namespace_offset(const struct answer *a)
{
    uint64_t theirs_ns = a->welcome.monotonic_ns;
    if (theirs_ns + NAMESPACE_SLACK_NS >= a->before_ns &&
        theirs_ns <= a->after_ns + NAMESPACE_SLACK_NS) {
        return 0;
    }
    return (int64_t)(theirs_ns - (a->before_ns + (a->after_ns - a->before_ns) / 2));
}

static void take_over(struct weir_attachment *at, const struct weir_attach_plan *plan, int control,
                      const struct answer *a)
{
    at->role = plan->role;
    at->spin_ns = plan->spin_ns;
    at->client = a->welcome.client;
    at->domain = a->welcome.domain;
    at->ring_order = a->welcome.ring_order;
    at->broker_id = a->welcome.broker_id;
    at->namespace_offset_ns = namespace_offset(a);
    at->control_fd = control;
}

static int attach_once(struct weir_attachment *at, struct weir_attach_context *c)
{
    char directory[sizeof c->path];
    struct answer a = {.fd_cnt = 0};
    int control = -1;
    *at = (struct weir_attachment){.control_fd = -1,
                                   .doorbell_fd = -1,
                                   .bell_fd = -1,
                                   .permits.fd = -1,
                                   .ring.fd = -1,
                                   .arena.fd = -1};
    int rc = socket_path(c, directory, sizeof directory);
    rc = rc != WEIR_OK ? rc : connect_to(c, directory, &control);
    if (rc != WEIR_OK) {
        return rc;
    }
    rc = exchange(c, control, &a);
    rc = rc != WEIR_OK ? rc : judge(c, &a);
    if (rc != WEIR_OK) {
        answer_close(&a);
        (void)close(control);
        return rc;
    }
    take_over(at, c->plan, control, &a);
    memcpy(at->path, c->path, sizeof at->path);
    struct weir_board *board = calloc(1, sizeof *board);
    if (board == NULL) {
        answer_close(&a);
        weir_attachment_close(at);
        return weir_attach_fail(c, WEIR_E_MEMORY, NULL, "no memory for the board");
    }
    board->segment.fd = -1;
    WEIR_WEAVE("attach:board");
    weir_store_release_u64(&at->newest, (uint64_t)(uintptr_t)board); /* pair:board R */
    rc = weir_attachment_map(at, c, a.fd, a.fd_cnt); /* owns the descriptors from here on */
    if (rc != WEIR_OK) {
        weir_attachment_close(at);
    }
    return rc;
}

int weir_attachment_open(struct weir_attachment *at, const struct weir_attach_plan *plan,
                         struct weir_diag *diag)
{
    weir_attach_name(at->client_name, plan->client_name);
    at->uid = (uint32_t)geteuid(); /* what the broker sees of us */
    struct weir_attach_context c = {.plan = plan, .diag = diag};
    uint64_t started_ns = weir_clock_monotonic_ns();
    for (;;) {
        int rc = attach_once(at, &c);
        if ((rc != WEIR_E_NO_BROKER && rc != WEIR_E_NOT_READY) ||
            weir_clock_monotonic_ns() - started_ns >= plan->patience_ns) {
            return rc;
        }
        const struct timespec nap = {.tv_nsec = (long)RETRY_NS};
        (void)nanosleep(&nap, NULL); /* woken early by a signal: tries early */
    }
}

static void fd_close(int *fd)
{
    if (*fd >= 0) {
        (void)close(*fd);
        *fd = -1;
    }
}

void weir_attachment_close(struct weir_attachment *at)
{
    weir_segment_unmap(&at->arena);
    weir_segment_unmap(&at->ring);
    weir_segment_unmap(&at->permits);
    for (struct weir_board *b = weir_board_newest(at), *before; b != NULL; b = before) {
        before = b->before;
        weir_segment_unmap(&b->segment);
        free(b);
    }
    WEIR_WEAVE("attach:leave");
    weir_store_release_u64(&at->newest, 0); /* pair:board R */
    fd_close(&at->doorbell_fd);
    fd_close(&at->bell_fd);
    fd_close(&at->control_fd); /* last: it tells the supervisor that we left */
}

bool weir_attachment_ended(const struct weir_attachment *at)
{
    struct pollfd p = {.fd = at->control_fd, .events = POLLRDHUP};
    if (weir_load_acquire_u32(&at->rejoining) != 0) { /* pair:rejoining A */
        return true;
    }
    return poll(&p, 1, 0) > 0 && (p.revents & (POLLRDHUP | POLLHUP | POLLERR | POLLNVAL)) != 0;
}
