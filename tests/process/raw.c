#include "raw.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* `*port` 0: any. */
static int listen_any(uint16_t *port)
{
    struct sockaddr_in sa = {
        .sin_family = AF_INET, .sin_port = htons(*port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t bytes = sizeof sa;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&sa, sizeof sa) != 0 || listen(fd, 64) != 0 ||
        getsockname(fd, (struct sockaddr *)&sa, &bytes) != 0) {
        perror("listen");
        exit(99);
    }
    *port = ntohs(sa.sin_port);
    return fd;
}

uint16_t raw_port_closed(void)
{
    uint16_t port = 0;
    int fd = listen_any(&port);
    (void)close(fd);
    return port;
}

void raw_say(int fd, const char *text)
{
    size_t bytes = strlen(text);
    while (bytes > 0) {
        ssize_t n = send(fd, text, bytes, MSG_NOSIGNAL);
        if (n <= 0) {
            return;
        }
        text += n;
        bytes -= (size_t)n;
    }
}

static char head[8192]; /* of the request that is answered; a connection has a process of its own */

const char *raw_head(void)
{
    return head;
}

/* Read one request's head; what follows it (a body) is read once and dropped. */
static bool read_path(int fd, char *path, size_t bytes)
{
    size_t n = 0;
    while (n < sizeof head - 1) {
        ssize_t got = recv(fd, head + n, sizeof head - 1 - n, 0);
        if (got <= 0) {
            return false;
        }
        n += (size_t)got;
        head[n] = '\0';
        if (strstr(head, "\r\n\r\n") != NULL) {
            const char *at = strchr(head, ' ');
            (void)snprintf(path, bytes, "%.*s", at != NULL ? (int)strcspn(at + 1, " ") : 0,
                           at != NULL ? at + 1 : "");
            return true;
        }
    }
    return false;
}

static void connection(int fd, uint32_t *requests, bool (*answer)(int fd, const char *path))
{
    char path[512];
    bool open = true;
    while (open && read_path(fd, path, sizeof path)) {
        weir_fetch_add_u32(requests, 1);
        open = answer(fd, path);
    }
    (void)close(fd);
}

void raw_start(struct rig *r, struct raw *raw, bool (*answer)(int fd, const char *path))
{
    raw_start_at(r, raw, 0, answer);
}

void raw_start_at(struct rig *r, struct raw *raw, uint16_t port,
                  bool (*answer)(int fd, const char *path))
{
    (void)r;
    raw->port = port;
    int fd = listen_any(&raw->port);
    raw->requests = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    raw->pid = fork();
    if (raw->pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        (void)signal(SIGCHLD, SIG_IGN);
        for (;;) {
            int c = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
            if (c >= 0 &&
                fork() == 0) { /* one process per connection: a stalled one stops nobody */
                (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
                connection(c, raw->requests, answer);
                _exit(0);
            }
            (void)close(c);
        }
    }
    (void)close(fd);
}

void raw_stop(struct raw *raw)
{
    (void)kill(raw->pid, SIGKILL);
    (void)waitpid(raw->pid, NULL, 0);
}
