#include "stage.h"

#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

void stage_must(bool good)
{
    if (!good) {
        abort();
    }
}

/* ---------------------------------------------------------------------------------------------- input */

uint8_t stage_byte(struct stage_input *in)
{
    if (in->left == 0) {
        return 0;
    }
    in->left--;
    return *in->at++;
}

uint32_t stage_u32(struct stage_input *in)
{
    uint32_t v = 0;
    for (int i = 0; i < 4; i++) {
        v = v << 8 | stage_byte(in);
    }
    return v;
}

void stage_edit(struct stage_input *in, void *what, size_t bytes, size_t head)
{
    unsigned cnt = stage_byte(in) & 7U;
    for (unsigned i = 0; i < cnt && in->left > 0 && bytes > 0; i++) {
        size_t at = (size_t)stage_byte(in) << 8;
        at |= stage_byte(in);
        at = at >= 0x8000 ? at % bytes : at % (head < bytes ? head : bytes);
        ((unsigned char *)what)[at] = stage_byte(in);
    }
}

/* ---------------------------------------------------------------------------------------------- messages */

void stage_send(int socket, const struct stage_message *m)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(STAGE_FDS_MAX * sizeof(int))];
    } room;
    struct iovec iov = {.iov_base = (void *)(uintptr_t)m->body, .iov_len = m->bytes};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
    if (m->fd_cnt > 0) {
        memset(&room, 0, sizeof room);
        msg.msg_control = &room;
        msg.msg_controllen = CMSG_SPACE(m->fd_cnt * sizeof(int));
        struct cmsghdr *h = CMSG_FIRSTHDR(&msg);
        h->cmsg_level = SOL_SOCKET;
        h->cmsg_type = SCM_RIGHTS;
        h->cmsg_len = CMSG_LEN(m->fd_cnt * sizeof(int));
        memcpy(CMSG_DATA(h), m->fd, m->fd_cnt * sizeof(int));
    }
    (void)sendmsg(socket, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
}

ssize_t stage_take(int socket, void *body, size_t bytes, size_t *fd_cnt)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(STAGE_FDS_MAX * sizeof(int))];
    } room;
    struct iovec iov = {.iov_base = body, .iov_len = bytes};
    struct msghdr msg = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &room, .msg_controllen = sizeof room};
    ssize_t n = recvmsg(socket, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    *fd_cnt = 0;
    for (struct cmsghdr *h = n > 0 ? CMSG_FIRSTHDR(&msg) : NULL; h != NULL;
         h = CMSG_NXTHDR(&msg, h)) {
        size_t cnt = (h->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < cnt; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(h) + i * sizeof fd, sizeof fd);
            (void)close(fd);
        }
        *fd_cnt += cnt;
    }
    return n;
}

/* ---------------------------------------------------------------------------------------------- descriptors */

/* Not of the protocols: a pipe leads to the symbolizer that a sanitizer starts when it wants to. */
static bool is_ours(const char *name)
{
    char path[320];
    char what[8] = "";
    (void)snprintf(path, sizeof path, "/proc/self/fd/%s", name);
    return readlink(path, what, sizeof what - 1) > 0 && strncmp(what, "pipe:", 5) != 0;
}

/* Count the descriptors from `from` on, or close them. */
static unsigned fds_each(int from, bool closes)
{
    unsigned cnt = 0;
    const struct dirent *e;
    DIR *d = opendir("/proc/self/fd");
    stage_must(d != NULL);
    while ((e = readdir(d)) != NULL) {
        int fd = atoi(e->d_name);
        if (e->d_name[0] == '.' || fd < from || fd == dirfd(d) || !is_ours(e->d_name)) {
            continue;
        }
        cnt++;
        if (closes) {
            (void)close(fd);
        }
    }
    (void)closedir(d);
    return cnt;
}

unsigned stage_fds(void)
{
    return fds_each(0, false);
}

void stage_fds_check(unsigned cnt)
{
    unsigned now = stage_fds();
    if (now == cnt) {
        return;
    }
    (void)fprintf(stderr, "%u descriptors are open, and %u before:\n", now, cnt);
    char path[64];
    char what[256];
    for (int fd = 0; fd < 256; fd++) { /* what is open, for whoever looks into this */
        (void)snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        ssize_t n = readlink(path, what, sizeof what - 1);
        if (n > 0) {
            what[n] = '\0';
            (void)fprintf(stderr, "%d %s\n", fd, what);
        }
    }
    abort();
}

void stage_fds_close(int from)
{
    (void)fds_each(from, true);
}

/* ---------------------------------------------------------------------------------------------- once */

struct weir_config *stage_config(const char *yaml)
{
    static struct weir_config_diag diag;
    struct weir_config *config = weir_config_parse(yaml, strlen(yaml), "fuzz", &diag);
    if (config == NULL) {
        weir_config_diag_print(stderr, &diag);
        abort();
    }
    return config;
}

void stage_region(struct region *r, const struct weir_config *config)
{
    char text[512] = "";
    if (region_create(r, config, text, sizeof text) != WEIR_OK) {
        (void)fprintf(stderr, "%s\n", text);
        abort();
    }
}

static char dir[64];

static void dir_remove(void)
{
    char path[400];
    DIR *d = opendir(dir);
    const struct dirent *e;
    while (d != NULL && (e = readdir(d)) != NULL) {
        (void)snprintf(path, sizeof path, "%s/%.250s", dir, e->d_name);
        (void)unlink(path);
    }
    if (d != NULL) {
        (void)closedir(d);
    }
    (void)rmdir(dir);
}

const char *stage_dir(void)
{
    if (dir[0] == '\0') {
        (void)signal(SIGPIPE, SIG_IGN);
        (void)snprintf(dir, sizeof dir, "/tmp/weir-fuzz-XXXXXX");
        stage_must(mkdtemp(dir) != NULL && atexit(dir_remove) == 0);
    }
    return dir;
}

int stage_listen(const char *path)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    stage_must(strlen(path) < sizeof at.sun_path && fd >= 0);
    memcpy(at.sun_path, path, strlen(path));
    stage_must(bind(fd, (const struct sockaddr *)&at, sizeof at) == 0 && listen(fd, 8) == 0);
    return fd;
}

/* ---------------------------------------------------------------------------------------------- liar */

static void *lie(void *arg)
{
    struct stage_liar *l = arg;
    struct pollfd p = {.fd = l->listener, .events = POLLIN};
    int fd = poll(&p, 1, 2000) > 0 ? accept4(l->listener, NULL, NULL, SOCK_CLOEXEC) : -1;
    for (size_t i = 0; i < l->cnt && fd >= 0; i++) {
        stage_send(fd, &l->message[i]);
    }
    if (fd >= 0 && !l->keep) {
        (void)close(fd);
        fd = -1;
    }
    l->socket = fd;
    return NULL;
}

void stage_liar_begin(struct stage_liar *l)
{
    int old;
    while ((old = accept4(l->listener, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
        (void)close(old); /* of an input before */
    }
    l->socket = -1;
    stage_must(pthread_create(&l->thread, NULL, lie, l) == 0);
}

void stage_liar_end(struct stage_liar *l)
{
    (void)pthread_join(l->thread, NULL);
    if (l->socket >= 0) {
        (void)close(l->socket);
        l->socket = -1;
    }
}
