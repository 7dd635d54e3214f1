#include "broker/resolver.h"

#include "broker/cage.h"
#include "broker/log.h"

#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <netdb.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

bool resolver_is_numeric(const char *host)
{
    unsigned char address[sizeof(struct in6_addr)];
    return inet_pton(AF_INET, host, address) == 1 || inet_pton(AF_INET6, host, address) == 1;
}

static void answer(const struct resolver_question *q, struct resolver_answer *a)
{
    struct addrinfo hints = {
        .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG};
    struct addrinfo *found = NULL;
    *a = (struct resolver_answer){.id = q->id};
    memcpy(a->host, q->host, sizeof a->host);
    a->error = getaddrinfo(q->host, NULL, &hints, &found);
    if (a->error == EAI_NONAME || a->error == EAI_ADDRFAMILY) {
        /* AI_ADDRCONFIG hides loopback names on a machine with no other address. */
        hints.ai_flags = 0;
        a->error = getaddrinfo(q->host, NULL, &hints, &found);
    }
    if (a->error == 0) {
        a->error = getnameinfo(found->ai_addr, found->ai_addrlen, a->address, sizeof a->address,
                               NULL, 0, NI_NUMERICHOST);
        freeaddrinfo(found);
    }
}

_Noreturn void resolver_run(int socket, const struct cage *cage)
{
    char text[200];
    (void)prctl(PR_SET_NAME, "weird-resolver");
    (void)signal(SIGINT, SIG_IGN); /* a terminal's; the supervisor ends us */
    (void)signal(SIGHUP, SIG_IGN);
    /* It parses what the network says, and a copy of a client's descriptor would outlive the client: keep the socket and stderr. */
    if (socket > STDERR_FILENO + 1) {
        (void)close_range(STDERR_FILENO + 1, (unsigned)socket - 1, 0);
    }
    (void)close_range((unsigned)socket + 1, UINT_MAX, 0);
    (void)prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (cage_enter(cage, CAGE_RESOLVER, text, sizeof text) != 0) {
        log_error("resolver_not_started", "s:s", "reason", text);
        _exit(2);
    }
    for (;;) {
        struct resolver_question q;
        struct resolver_answer a;
        ssize_t n = recv(socket, &q, sizeof q, 0);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            _exit(0); /* nobody asks any more */
        }
        if (n != (ssize_t)sizeof q || memchr(q.host, '\0', sizeof q.host) == NULL) {
            continue;
        }
        answer(&q, &a);
        (void)send(socket, &a, sizeof a, MSG_NOSIGNAL);
    }
}
