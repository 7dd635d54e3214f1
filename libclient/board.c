/*
 * board.c: how a client follows a takeover (shm/weir_handover.h).
 *
 * Permits, rings and arenas stay; the board is another one. The old broker names its successor on the old board and ends the lease there, so whoever asks for a
 * permit or hands a request over comes here, and nobody else pays. Two ways lead to the new board:
 *
 *   sent    the successor was handed the connection, and has sent a welcome with the new board on it
 *   rejoin  the connection has ended with its supervisor: a new one to the same socket, with a hello that says who we are
 *
 * Nothing here waits for a peer: a message that has not come yet is looked for again by the next call. One thread at a time looks; the others go on being
 * refused until it has found something, and then take it from `newest`.
 */
#include "handle.h"

#include "shm/weir_attach.h"
#include "shm/weir_weave.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* Between two connections that one client makes in vain. */
#define REJOIN_NS (10 * WEIR_NS_PER_MS)
/* The pause of a takeover is shorter than this; what is handed over waits it out. */
#define AWAIT_NS     (10 * WEIR_NS_PER_MS)
#define AWAIT_NAP_NS (100 * WEIR_NS_PER_US)
/* Takeovers that may lie unread on the connection. */
#define WELCOMES_MAX 64

/* ---------------------------------------------------------------------------------------------- the connection */

/* One message from the supervisor: 1 with its descriptor (-1: none that fits), 0 nothing there, -1 it is gone. */
static int welcome_take(struct weir_attachment *at, int *fd)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(WEIR_ATTACH_FDS_MAX * sizeof(int))];
    } room;
    struct weir_attach_welcome w = {.magic = 0};
    struct iovec data = {.iov_base = &w, .iov_len = sizeof w};
    struct msghdr m = {.msg_iov = &data,
                       .msg_iovlen = 1,
                       .msg_control = room.bytes,
                       .msg_controllen = sizeof room.bytes};
    ssize_t n = recvmsg(at->control_fd, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    *fd = -1;
    if (n <= 0) {
        return n < 0 && (errno == EAGAIN || errno == EINTR) ? 0 : -1;
    }
    if (n >= (ssize_t)offsetof(struct weir_attach_welcome, abi_major) &&
        w.magic == WEIR_ATTACH_MAGIC && w.error == WEIR_E_STALE) {
        at->rejoin_at_ns =
            UINT64_MAX; /* another broker listens there: it will not know us later either */
    }
    bool fits = n == (ssize_t)sizeof w && w.magic == WEIR_ATTACH_MAGIC && w.error == 0 &&
                w.client == at->client && w.broker_id == at->broker_id;
    if (fits) {
        WEIR_WEAVE("rejoin:welcomed");
        weir_store_release_u32(&at->rejoining, 0); /* pair:rejoining R */
    }
    for (struct cmsghdr *h = CMSG_FIRSTHDR(&m); h != NULL; h = CMSG_NXTHDR(&m, h)) {
        size_t cnt = h->cmsg_level == SOL_SOCKET && h->cmsg_type == SCM_RIGHTS
                         ? (h->cmsg_len - CMSG_LEN(0)) / sizeof(int)
                         : 0;
        for (size_t i = 0; i < cnt; i++) {
            int got;
            memcpy(&got, CMSG_DATA(h) + i * sizeof got, sizeof got);
            if (fits && *fd < 0) {
                *fd = got;
            } else {
                (void)close(got);
            }
        }
    }
    return 1;
}

/* A connection of our own to whoever listens now; -1 where nobody does, or not at once. */
static int rejoin_connect(const struct weir_attachment *at)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    const struct weir_attach_hello hello = {.magic = WEIR_ATTACH_MAGIC,
                                            .version = WEIR_ATTACH_VERSION,
                                            .bytes = sizeof hello,
                                            .abi_major = WEIR_ABI_MAJOR,
                                            .layout_hash = weir_layout_hash(),
                                            .role = at->role,
                                            .rejoin = at->client + 1,
                                            .broker_id = at->broker_id};
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    memcpy(to.sun_path, at->path, sizeof to.sun_path);
    if (fd >= 0 && (connect(fd, (const struct sockaddr *)&to, sizeof to) != 0 ||
                    send(fd, &hello, sizeof hello, MSG_NOSIGNAL) != (ssize_t)sizeof hello)) {
        (void)close(fd);
        fd = -1;
    }
    return fd;
}

/* Put a new connection under the old number: other threads look at it, too. */
static void rejoin(struct weir_attachment *at)
{
    uint64_t now_ns = weir_clock_monotonic_ns();
    if (now_ns < at->rejoin_at_ns) {
        return;
    }
    at->rejoin_at_ns = now_ns + REJOIN_NS;
    int fd = rejoin_connect(at);
    if (fd >= 0) {
        WEIR_WEAVE("rejoin:connected");
        weir_store_release_u32(
            &at->rejoining,
            1); /* first: nobody shall take the new connection for the old one. pair:rejoining R */
        WEIR_WEAVE("rejoin:marked");
        (void)dup3(fd, at->control_fd, O_CLOEXEC);
        (void)close(fd);
    }
}

void weir_board_leave(struct weir_attachment *at)
{
    if (at->role != WEIR_ROLE_MONITOR && at->control_fd >= 0 && weir_attachment_ended(at)) {
        int fd = rejoin_connect(at);
        if (fd >= 0) {
            (void)close(fd); /* its end says that we leave */
        }
    }
}

/* ---------------------------------------------------------------------------------------------- the board */

static struct weir_board *board_open(const struct weir_attachment *at, int fd)
{
    struct weir_board *b = calloc(1, sizeof *b);
    if (b == NULL) {
        (void)close(fd);
        return NULL;
    }
    if (weir_segment_map(&b->segment, fd, WEIR_SEGMENT_BOARD, at->broker_id, WEIR_MAP_READ) !=
        WEIR_OK) {
        (void)close(fd);
        free(b);
        return NULL;
    }
    const struct weir_tables_bounds *was = &weir_board_newest(at)->bounds;
    /* Whoever takes over has the same tables; one that has not would index our meters out of bounds. */
    if (weir_board_find(at, b) != NULL || memcmp(&b->bounds, was, sizeof *was) != 0 ||
        weir_load_acquire_u64(&b->gate->tables) == 0) { /* pair:tables A */
        weir_segment_unmap(&b->segment);
        free(b);
        return NULL;
    }
    return b;
}

/* What the successor has sent, the latest of it; else ask for it where the connection has ended. */
static struct weir_board *board_fetch(struct weir_attachment *at)
{
    int latest = -1;
    int got = 1;
    for (int i = 0; got == 1 && i < WELCOMES_MAX; i++) {
        int fd;
        got = welcome_take(at, &fd);
        if (fd >= 0) {
            if (latest >= 0) {
                (void)close(latest);
            }
            latest = fd;
        }
    }
    if (latest < 0 && got < 0) {
        rejoin(at);
    }
    return latest >= 0 ? board_open(at, latest) : NULL;
}

bool weir_board_follow(struct weir *w)
{
    struct weir_attachment *at = w->at;
    struct weir_board *b = weir_board_newest(at);
    uint32_t nobody = 0;
    if (b == w->board) {
        if (w->role == WEIR_ROLE_MONITOR ||
            !weir_cas_u32(&at->following, &nobody, 1)) { /* pair:following A */
            return false;
        }
        WEIR_WEAVE("board:follow");
        struct weir_board *before = weir_board_newest(at); /* another thread may have been faster */
        b = before != w->board ? before : board_fetch(at);
        if (b != NULL && b != before) {
            b->before = before;
            WEIR_WEAVE("board:found");
            weir_store_release_u64(&at->newest, (uint64_t)(uintptr_t)b); /* pair:board R */
        }
        WEIR_WEAVE("board:looked");
        weir_store_release_u32(&at->following, 0); /* pair:following R */
    }
    return b != NULL && weir_board_enter(w, b) == WEIR_OK;
}

bool weir_board_await(struct weir *w)
{
    const struct timespec nap = {.tv_nsec = (long)AWAIT_NAP_NS};
    uint64_t end_ns = weir_clock_monotonic_ns() + AWAIT_NS;
    for (;;) { /* ends by the clock */
        if (weir_board_follow(w)) {
            /* relaxed: time alone decides */
            return weir_now_ns(w) < weir_load_relaxed_u64(&w->view.gate->lease_until_ns);
        }
        if (!weir_board_left(w) || weir_clock_monotonic_ns() >= end_ns) {
            return false;
        }
        (void)nanosleep(&nap, NULL);
    }
}
