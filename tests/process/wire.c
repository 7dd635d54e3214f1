#include "wire.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

bool wire_open(struct wire *x, uint16_t port)
{
    const struct sockaddr_in to = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const int one = 1;
    x->port = port;
    x->got_bytes = 0;
    x->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (x->fd >= 0 && connect(x->fd, (const struct sockaddr *)&to, sizeof to) == 0) {
        (void)setsockopt(x->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        return true;
    }
    wire_close(x);
    return false;
}

void wire_close(struct wire *x)
{
    if (x->fd >= 0) {
        (void)close(x->fd);
    }
    x->fd = -1;
}

enum wire_sent wire_send(struct wire *x, struct weir *w, uint64_t use_by_ns, const char *request,
                         size_t bytes)
{
    x->got_bytes = 0;
    if (weir_now_ns(w) > use_by_ns) {
        return WIRE_LATE;
    }
    return send(x->fd, request, bytes, MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)bytes ? WIRE_SENT
                                                                                      : WIRE_BROKEN;
}

/* The status, once head and body are there. Every server of these tests names a length. */
static int whole(const struct wire *x)
{
    static const char name[] = "\r\nContent-Length:";
    const char *end = strstr(x->answer, "\r\n\r\n");
    if (end == NULL || strncmp(x->answer, "HTTP/1.1 ", 9) != 0) {
        return 0;
    }
    size_t body_bytes = 0;
    for (const char *line = x->answer; line < end; line++) {
        if (strncasecmp(line, name, sizeof name - 1) == 0) {
            body_bytes = strtoul(line + sizeof name - 1, NULL, 10);
        }
    }
    size_t have = x->got_bytes - (size_t)(end + 4 - x->answer);
    return have >= body_bytes ? atoi(x->answer + 9) : 0;
}

int wire_read(struct wire *x)
{
    size_t room = sizeof x->answer - 1 - x->got_bytes;
    ssize_t n = recv(x->fd, x->answer + x->got_bytes, room, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        return 0;
    }
    if (n <= 0) {
        return -1;
    }
    x->got_bytes += (size_t)n;
    x->answer[x->got_bytes] = '\0';
    return whole(x);
}
