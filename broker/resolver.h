/*
 * resolver.h: names to numeric addresses, in a process of its own.
 *
 * getaddrinfo blocks, opens files and sockets, and in libcurl it would stop the worker for seconds (research/queues_curl_shm.md B3). So the
 * worker asks a small process over a socketpair and goes on; curl only ever sees numbers.
 *
 *   asker    worker          answerer  resolver
 *   resolver dies   the supervisor forks a new one on the same socketpair; a question that is lost is asked again by its age
 *   worker dies     the next one asks anew
 */
#ifndef WEIR_BROKER_RESOLVER_H
#define WEIR_BROKER_RESOLVER_H

#include "shm/weir_base.h"

#define RESOLVER_HOST_BYTES    256
#define RESOLVER_ADDRESS_BYTES 48

struct resolver_question {
    uint32_t id; /* comes back in the answer */
    uint32_t reserved;
    char host[RESOLVER_HOST_BYTES];
};

struct resolver_answer {
    uint32_t id;
    int32_t error; /* EAI_*, 0 = found */
    char host[RESOLVER_HOST_BYTES];
    char address[RESOLVER_ADDRESS_BYTES]; /* numeric; IPv6 without brackets */
};

struct cage;

/* The resolver's whole life, in the cage: answers questions on `socket` until its other end closes. Does not return. */
_Noreturn void resolver_run(int socket, const struct cage *cage);

/* Is `host` already a numeric address? */
bool resolver_is_numeric(const char *host);

#endif
