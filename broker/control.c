#include "broker/control.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#define FDS_MAX 8

int control_send(int socket, const void *message, size_t bytes, const int *fds, size_t fd_cnt)
{
    union {
        char bytes[CMSG_SPACE(FDS_MAX * sizeof(int))];
        struct cmsghdr align;
    } control;
    struct iovec iov = {.iov_base = (void *)(uintptr_t)message, .iov_len = bytes};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
    if (fd_cnt > FDS_MAX) {
        errno = EINVAL;
        return -1;
    }
    if (fd_cnt > 0) {
        memset(&control, 0, sizeof control);
        msg.msg_control = &control;
        msg.msg_controllen = CMSG_SPACE(fd_cnt * sizeof(int));
        struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(fd_cnt * sizeof(int));
        memcpy(CMSG_DATA(c), fds, fd_cnt * sizeof(int));
    }
    ssize_t n;
    do {
        n = sendmsg(socket, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
    } while (n < 0 && errno == EINTR);
    return n == (ssize_t)bytes ? 0 : -1;
}

/* Take the descriptors out of a message; what finds no room is closed, so that a peer cannot fill our table. */
static size_t fds_take(struct msghdr *msg, int *fds, size_t room)
{
    size_t cnt = 0;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c != NULL; c = CMSG_NXTHDR(msg, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) {
            continue;
        }
        size_t got = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < got; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof fd);
            if (cnt < room) {
                fds[cnt++] = fd;
            } else {
                (void)close(fd);
            }
        }
    }
    return cnt;
}

ssize_t control_receive(int socket, void *message, size_t bytes, int *fds, size_t *fd_cnt)
{
    union {
        char bytes[CMSG_SPACE(FDS_MAX * sizeof(int))];
        struct cmsghdr align;
    } control;
    struct iovec iov = {.iov_base = message, .iov_len = bytes};
    struct msghdr msg = {.msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = &control,
                         .msg_controllen = sizeof control};
    ssize_t n;
    do {
        n = recvmsg(socket, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    } while (n < 0 && errno == EINTR);
    size_t room = fd_cnt != NULL ? *fd_cnt : 0;
    size_t cnt = n >= 0 ? fds_take(&msg, fds, room) : 0;
    if (fd_cnt != NULL) {
        *fd_cnt = cnt;
    }
    return n;
}
