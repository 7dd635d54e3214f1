/*
 * fuzz_answer.c: any bytes as the answer of an exchange, through all of the broker: a real worker (broker/worker.c, http.c, libcurl, exchange.c, answer.c, reply.c, cache.c, retry.c) in a thread of
 * this process, a real connection, libweir at the other end.
 *
 * First byte: the route (bits 0 to 2) and whether another thread's order comes beside it (bit 7: a pause, a resume and so on, made of the second byte). Second byte: what the server does behind its
 * last byte (bits 0 and 1: close, end its side, reset, wait) and in how many pieces it writes (bits 2 to 4). The rest is what it writes. Oracle: the sanitizers; each call ends with a named
 * outcome before its deadline and a little; DONE only with a status that HTTP has; a body within the route's cap; its unit of a limit of one in flight comes back, or
 * the next call could not go; a connection whose call ended otherwise than DONE bears no other one; the worker lives.
 */
#include "answer_world.h"
#include "shm/weir_attach.h"
#include "shm/weir_types.h"
#include "stage.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

#define CONNECTIONS 16U

enum { END_CLOSE = 0, END_SHUTDOWN = 1, END_RESET = 2, END_WAIT = 3 };

struct connection {
    int fd;       /* -1: none */
    bool served;  /* this input's answer was written to it */
    bool tainted; /* its call did not end well: nothing more may come */
};

/* The server's; `lock` guards all of it. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct connection connections[CONNECTIONS];
static uint8_t answer[65536]; /* a copy: a late request finds it when its input is gone */
static size_t answer_bytes;
static uint8_t manner;
static int listener;

/* ---------------------------------------------------------------------------------------------- server */

static void close_one(struct connection *c, bool reset)
{
    const struct linger hard = {.l_onoff = 1};
    if (reset) {
        (void)setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
    }
    (void)close(c->fd);
    *c = (struct connection){.fd = -1};
}

static void answer_write(struct connection *c)
{
    size_t pieces = 1U + (manner >> 2 & 7U);
    size_t piece = answer_bytes / pieces + 1;
    for (size_t at = 0; at < answer_bytes; at += piece) {
        size_t n = answer_bytes - at < piece ? answer_bytes - at : piece;
        (void)send(c->fd, answer + at, n, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (pieces > 1) {
            const struct timespec nap = {.tv_nsec = 50000};
            (void)nanosleep(&nap, NULL);
        }
    }
    c->served = true;
    switch (manner & 3) {
    case END_CLOSE:
        close_one(c, false);
        break;
    case END_SHUTDOWN:
        (void)shutdown(c->fd, SHUT_WR);
        break;
    case END_RESET:
        close_one(c, true);
        break;
    default:
        break;
    }
}

/* A request is small and comes in one piece; what was read before its blank line is of no interest. */
static void readable(struct connection *c)
{
    char text[8192];
    ssize_t n = recv(c->fd, text, sizeof text, MSG_DONTWAIT);
    if (n < 0 && errno == EAGAIN) {
        return;
    }
    if (n <= 0) {
        close_one(c, false);
        return;
    }
    stage_must(!c->tainted);
    if (memmem(text, (size_t)n, "\r\n\r\n", 4) != NULL) {
        answer_write(c);
    }
}

static void *serve(void *arg)
{
    (void)arg;
    for (;;) {
        struct pollfd p[CONNECTIONS + 1];
        p[CONNECTIONS] = (struct pollfd){.fd = listener, .events = POLLIN};
        (void)pthread_mutex_lock(&lock);
        for (unsigned i = 0; i < CONNECTIONS; i++) {
            p[i] = (struct pollfd){.fd = connections[i].fd, .events = POLLIN};
        }
        (void)pthread_mutex_unlock(&lock);
        (void)poll(p, CONNECTIONS + 1, 1000);
        (void)pthread_mutex_lock(&lock);
        for (unsigned i = 0; i < CONNECTIONS; i++) {
            if (p[i].revents != 0 && connections[i].fd == p[i].fd && p[i].fd >= 0) {
                readable(&connections[i]);
            }
        }
        if (p[CONNECTIONS].revents != 0) {
            unsigned i = 0;
            while (i < CONNECTIONS && connections[i].fd >= 0) {
                i++;
            }
            int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
            stage_must(i < CONNECTIONS); /* more than the endpoint may have: something leaks */
            const int yes = 1;
            (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
            connections[i] = (struct connection){.fd = fd};
        }
        (void)pthread_mutex_unlock(&lock);
    }
    return NULL;
}

static void begin(void)
{
    char endpoint[64];
    unsigned port;
    listener = world_listen(&port);
    for (unsigned i = 0; i < CONNECTIONS; i++) {
        connections[i].fd = -1;
    }
    (void)snprintf(endpoint, sizeof endpoint, "url: \"http://127.0.0.1:%u\"", port);
    world_open(endpoint, serve);
}

/* ---------------------------------------------------------------------------------------------- a call */

/* Everything of this call is over on the server's side, too. */
static void connections_settle(bool well)
{
    (void)pthread_mutex_lock(&lock);
    for (unsigned i = 0; i < CONNECTIONS; i++) {
        struct connection *c = &connections[i];
        c->tainted = c->tainted || (c->fd >= 0 && c->served && !well);
        c->served = false;
    }
    (void)pthread_mutex_unlock(&lock);
}

static struct weir_response call(unsigned which, const uint8_t *data, size_t bytes, uint8_t how)
{
    (void)pthread_mutex_lock(&lock);
    answer_bytes = bytes < sizeof answer ? bytes : sizeof answer;
    memcpy(answer, data, answer_bytes);
    manner = how;
    (void)pthread_mutex_unlock(&lock);
    struct weir_response a = world_call(which, (how & 3) == END_WAIT);
    connections_settle(a.result == WEIR_RESULT_DONE);
    return a;
}

/* The limit of one in flight was full: whoever holds it lets it go in time. */
static void goes_on(void)
{
    static const char fine[] = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    for (int i = 0; i < 5; i++) {
        world_go_on();
        if (call(0, (const uint8_t *)fine, sizeof fine - 1, END_CLOSE).result == WEIR_RESULT_DONE) {
            return;
        }
    }
    abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    if (!world_is_open()) {
        begin();
    }
    if (bytes < 2) {
        return 0;
    }
    world_go_on();
    if ((data[0] & 0x80) != 0) {
        world_operate(1U + data[1] % 6U, "p", data + 2, bytes - 2);
        world_operate(WEIR_OPERATION_UNBLOCK, "0", NULL, 0); /* it may have been us */
        world_go_on();
    }
    struct weir_response a = call(data[0] & 7U, data + 2, bytes - 2, data[1]);
    if (world_is_full(&a)) {
        goes_on();
    }
    return 0;
}
