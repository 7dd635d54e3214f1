/*
 * admission.h: who may attach, as what, and with which pieces.
 *
 * One listening socket per domain. The kernel names the peer (SO_PEERCRED, SO_PEERPIDFD); the domain's configuration says which uids and gids may
 * come and how large a role they get. What is handed out is exactly what the role needs (weir_attach.h).
 *
 * The supervisor owns the table of clients. An index is used again only after the worker has said REAPED, because ring entries and
 * arena of the former client may still be in use.
 */
#ifndef WEIR_BROKER_ADMISSION_H
#define WEIR_BROKER_ADMISSION_H

#include "broker/control.h"
#include "broker/quota.h"
#include "broker/region.h"

#include <sys/socket.h>

#define MONITORS_MAX 64U /* of one domain */
#define WAITING_MAX  32U /* connections of one domain that have not been answered yet */

/* One accepted connection. */
struct peer {
    int socket; /* -1 = free */
    bool attached;
    uint64_t operation; /* ticket of the operator's order whose answer it waits for; 0 = none */
    uint32_t domain;
    uint32_t client;         /* UINT32_MAX: monitor, or not attached yet */
    uint64_t accepted_at_ns; /* a connection that says no hello for a second is closed */
};

/* No domain can take another's place. */
#define PEERS_MAX (WEIR_CLIENTS_MAX + WEIR_DOMAINS_MAX * (MONITORS_MAX + WAITING_MAX))

struct admission {
    const struct weir_config *config;
    struct region *region;
    int listener[WEIR_DOMAINS_MAX];
    char path[WEIR_DOMAINS_MAX][108];
    struct peer peer[PEERS_MAX];
    struct client_info client[WEIR_CLIENTS_MAX];
    bool used[WEIR_CLIENTS_MAX];
    struct quota_held held[WEIR_DOMAINS_MAX];
    uint64_t memory_bytes; /* of all arenas */
    /* An arena of the default size made ahead, because populating it takes most of an attach. */
    struct weir_segment spare_arena, spare_shadow;
    bool spare;
    uint64_t operations; /* tickets given out */
};

/* Bind the sockets in `dir`; `listener` (NULL: none): those of a broker that is taken over from, -1 where it has none. Returns -1 with `text`. */
int admission_open(struct admission *a, const struct weir_config *config, struct region *region,
                   const char *dir, const int *listener, char *text, size_t text_bytes);

/* A client of the broker that is taken over from, with its connection (-1: it has lost it, and rejoins). */
void admission_restore(struct admission *a, const struct client_info *info, int socket);

/* Its connection, or -1. */
int admission_socket(const struct admission *a, uint32_t index);

/* Send the board of this broker to a client that was restored. Returns whether there was room for the message. */
bool admission_board_send(struct admission *a, uint32_t index);
void admission_close(struct admission *a);

/* A listener is readable: accept. Returns the peer or NULL. */
struct peer *admission_accept(struct admission *a, uint32_t domain);

/* What a readable peer means. */
enum admission_event {
    ADMISSION_NOTHING = 0,
    ADMISSION_ATTACHED = 1, /* `*index` is a new client (UINT32_MAX: a monitor) */
    ADMISSION_LEFT = 2,     /* the connection ended; `*index` was its client, or UINT32_MAX */
};

/* Read from a peer: its hello, or its end. `worker` is the control socket. Frees the peer on ADMISSION_LEFT. */
enum admission_event admission_read(struct admission *a, struct peer *p, int worker,
                                    uint32_t *index);

/* The worker's answer to an operator's order: pass it on and end the connection. */
void admission_operated(struct admission *a, const struct control_operation *operation);

/* The worker died: nobody will answer the orders that it was given. */
void admission_operations_lost(struct admission *a);

/* operate.c: an operator's order, as it came from `p`. Returns false when the peer is to be closed: it was refused, and told so. */
bool operate_take(struct admission *a, struct peer *p, const struct ucred *cred,
                  struct weir_operate *asked, size_t bytes, int worker);

/* The worker is done with this client: its index and memory are free again. */
void admission_reaped(struct admission *a, uint32_t index);

/* Close connections that have said nothing; make the spare arena. Called when there is nothing else to do. */
void admission_idle(struct admission *a, uint64_t now_ns);

#endif
