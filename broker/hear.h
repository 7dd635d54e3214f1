/*
 * hear.h: the worker's own copy of what an exchange answered.
 *
 * The answer goes into the arena of the client that asked, where that client can write. What the worker decides by (the server's clock, others' usage,
 * stops, what was counted) must not be read there: a caller could tell us, in the exchange's name, that its call cost nothing. So the head, and as
 * much of the body as is ever looked into, is copied once more as it comes from the network, for routes where anything asks for it.
 *
 * Private memory of the call, kept when the call object is used again. Caller: the worker (answer.c writes, reply.c and settle.c read).
 */
#ifndef WEIR_BROKER_HEAR_H
#define WEIR_BROKER_HEAR_H

#include "broker/config/config.h"
#include "broker/reply_value.h"

#define HEAR_HEAD_MAX_BYTES 8192U /* of an answer's head; more is TOO_LARGE */

/* What of a route's answers is looked into. */
enum hear_what {
    HEAR_NOTHING = 0,
    HEAR_HEAD = 1,
    HEAR_BODY = 2,  /* and the head */
    HEAR_WHOLE = 3, /* head and body, however long: it is kept for others (cache.h) */
};

struct hear {
    char *at; /* head, then from HEAR_HEAD_MAX_BYTES on the body */
    size_t room_bytes;
    uint32_t head_bytes;
    uint32_t
        body_bytes; /* at most what hear_reserve asked for: one more than is looked into says that it was longer */
};

/* What the configuration asks of answers to `route` (NULL: the worker's own question for the time). */
enum hear_what hear_wanted(const struct weir_config_provider *provider,
                           const struct weir_config_route *route);

/* Room for what will be heard of an answer of at most `body_max_bytes`, before anything is sent: an answer that cannot be kept must not come. False: no memory. The room is kept for the next call. */
bool hear_reserve(struct hear *hear, enum hear_what what, size_t body_max_bytes);

/* A new answer begins. */
void hear_begin(struct hear *hear);

/* `bytes` of the head, whose total is bounded by the caller; of the body. */
void hear_head(struct hear *hear, const char *bytes, size_t cnt);
void hear_body(struct hear *hear, const char *bytes, size_t cnt);

static inline const char *hear_head_at(const struct hear *hear)
{
    return hear->at != NULL ? hear->at : "";
}

static inline const char *hear_body_at(const struct hear *hear)
{
    return hear->room_bytes > HEAR_HEAD_MAX_BYTES ? hear->at + HEAR_HEAD_MAX_BYTES : "";
}

#endif
