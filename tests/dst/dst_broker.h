/* dst_broker.h: what dst_broker.c and dst_attach.c share: the broker's lives, and its clients. */
#ifndef DST_BROKER_H
#define DST_BROKER_H

#include "dst.h"

#include "broker/supervisor_inside.h"
#include "broker/worker.h"

#include <string.h>

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define INBOX_MAX 256U

struct attached {
    bool used;
    unsigned client; /* of dst_clients */
    uint64_t life;
    struct client_info info;
    bool rung, closed;
    bool linked;             /* it has its connection to whoever is the supervisor */
    bool welcome;            /* ... and a board lies on it, unread */
    bool stale;              /* ... or the word that nobody knows it */
    uint64_t welcome_at;     /* since then */
    int arena_fd, shadow_fd; /* in its own process */
    bool taken;              /* a taker knows it */
    bool sent;               /* ... and holds its connection */
    struct client_info theirs;
};

/* What a supervisor holds; its successor has another. */
struct side {
    struct supervisor s; /* region, journal, handover, takeover, reload, and what they look at */
    bool left;           /* given away, or burnt */
};

struct dst_broker {
    bool up;  /* clients may attach */
    bool ran; /* a broker has run on this host's disk before */
    bool stopping, drain_told;
    bool clean;      /* it has stopped, and its state is written */
    bool unattended; /* its supervisor died, and nobody looks */
    bool hangup;     /* SIGHUP came, and the supervisor has not looked */
    uint64_t life;
    struct side side[2];
    unsigned now; /* the side in power */
    struct attached attached[WEIR_CLIENTS_MAX];
    struct control_message inbox[INBOX_MAX];
    unsigned inbox_first, inbox_cnt;
    uint64_t restart_at;
    uint64_t worker_since;
    uint64_t worker_lives;
    uint64_t backoff;
    unsigned attach_number;
    uint64_t ticket;
    int rejoining; /* a client's index that knocks; -1 */
};

extern struct dst_broker dst_broker;
#define b       dst_broker
#define my_side (&b.side[b.now])

void dst_tell_worker(const struct control_message *m);
int dst_copy_for(struct dst_process *p, int fd);
void dst_client_left(uint32_t index);
bool dst_doorbell_rung(int fd);
void dst_worker_start(void);

/* dst_reload.c */
void dst_reload_adopt(struct side *side); /* its supervisor begins */
void dst_reload_turn(void);               /* of whoever is in power */
void dst_reload_lost(void);               /* somebody takes over, or it stops */
void dst_reload_died(void);
void dst_reload_edit(void);                /* before a start: somebody may have */
struct weir_config *dst_reload_read(void); /* what a start finds on disk */
void dst_reload_begun(bool known); /* ... and goes by; `known`: a clean stop was before it */
void dst_reload_reset(void);

#endif
