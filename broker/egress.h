/*
 * egress.h: from which address of this host, and with which key, a call is made. Part of the worker.
 *
 * A call names both by its scope, or leaves them to the provider's pool (shm/weir_member.h): then each attempt asks for the member with the most headroom, and if that one
 * is refused, paused, or has no connection free, for the next. The choice is made before the endpoint, since connections are counted for each source address, and
 * holds until the attempt has ended: what curl sends again by itself goes from the same address, with the same key.
 *
 *   c->scope    the scope that is charged: what the client asked for, with the values of the members
 *   c->member   who they are; in the shadow while the call may be on the wire, and in the response
 *   c->source   the address that the socket is bound to; NULL: the kernel's choice
 *
 * curl binds (CURLOPT_INTERFACE), and looks at the address when it picks a connection to use again; the send gate compares what the socket says (http.h).
 */
#ifndef WEIR_BROKER_EGRESS_H
#define WEIR_BROKER_EGRESS_H

#include "broker/worker.h"
#include "shm/weir_member.h"

#define EGRESS_SOURCE_BYTES 64 /* "host!" and an address, as curl wants it */

/* A source address, by its value of scopes.ip. */
struct egress_source {
    char text[EGRESS_SOURCE_BYTES]; /* "": no address is for this value */
    uint32_t index;                 /* its value */
};

/* One attempt to start a call. */
struct egress_turn {
    struct weir_member_choice choice;
    struct weir_denial denial; /* the earliest of those who were refused */
    bool is_denied;
    bool is_busy; /* somebody had no connection free */
};

bool egress_open(struct worker *w);

/* May a call of this scope be made at all? WEIR_OK, WEIR_E_SCOPE_UNKNOWN or WEIR_E_KEY_MISSING. */
int egress_admit(const struct worker *w, uint32_t route, uint64_t scope);

/* Choose for this attempt. */
void egress_begin(struct worker *w, struct call *c, struct egress_turn *t);

/* Choose for a call that is made beside one of `member`: another address, and another key, where the pool has them and they are not named. False: there is nobody else. */
bool egress_begin_beside(struct worker *w, struct call *c, uint32_t member, struct egress_turn *t);

/* The choice was refused by c->denial: is there another one? If not c->denial is the earliest of all. */
bool egress_denied(struct worker *w, struct call *c, struct egress_turn *t);

/* No connection is free from its address: is there another one? */
bool egress_busy(struct worker *w, struct call *c, struct egress_turn *t);

/* It was told to stop: might another member go on meanwhile? */
bool egress_other(const struct worker *w, const struct call *c);

#endif
