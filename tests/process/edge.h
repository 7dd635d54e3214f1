/*
 * edge.h: hosts of one exchange, as weir's endpoints: real nginx in front of one weir-sim, which keeps the only book of orders. And what can befall them.
 *
 * An nginx can be killed, stopped, and given another certificate. What no real server does on demand a forwarder does, a process between weir and the edge: swallow, reset, delay, cut.
 * All files are in the rig's directory; all processes end with the rig.
 */
#ifndef WEIR_TESTS_PROCESS_EDGE_H
#define WEIR_TESTS_PROCESS_EDGE_H

#include "rig.h"

struct edge {
    const char *name; /* of its files */
    const char *host; /* where it listens; NULL: 127.0.0.1 */
    bool tls;         /* with the certificate NAME.pem, see edge_certificate */
    uint16_t port;    /* 0: any; kept over a restart */
    pid_t pid;        /* and of its process group */
};

/* Start it in front of the exchange at `exchange_port` and wait until it listens; the test ends with 99 if it does not. */
void edge_start(struct rig *r, struct edge *e, uint16_t exchange_port);
/* To all its processes. SIGKILL: waits for the end. */
void edge_signal(struct edge *e, int signal);
/* Write NAME.pem and NAME.key anew: for `host` ("IP:127.0.0.1"). The first one of a name is what weir believes: NAME.ca.pem. */
void edge_certificate(struct rig *r, const struct edge *e, const char *host);
/* Take what edge_certificate wrote, as `nginx -s reload` does, and wait until kept connections end: new ones were the new certificate's some 100 ms before. */
void edge_reload(struct rig *r, const struct edge *e);

enum forward_mode {
    FORWARD_ALL = 0,
    FORWARD_NOTHING, /* nothing is read, and nobody is let in: connections beyond the first hang, as packets that are dropped do */
    FORWARD_RESET,   /* all connections, and each new one */
    FORWARD_SLOW,    /* each answer FORWARD_DELAY_MS later */
    FORWARD_HALF,    /* each answer but for its last byte, then the end */
};
#define FORWARD_DELAY_MS 600U

struct forwarder {
    pid_t pid;
    uint16_t port;
    uint32_t *mode; /* enum forward_mode, shared */
};

/* To 127.0.0.1:`port`. */
void forwarder_start(struct rig *r, struct forwarder *f, uint16_t port);

/* Begin a connection and do not wait for it. Returns its descriptor. */
int forwarder_knock(const struct forwarder *f);

/* Where names lead: the page that tests/support/names.c reads inside weird. */
struct edge_names {
    char address[64];
};

#endif
