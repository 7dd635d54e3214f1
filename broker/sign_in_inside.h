/*
 * sign_in_inside.h: a session as it runs. Only for sign_in.c (what all have, and the disk), sign_in_token.c (oauth2), sign_in_cookie.c and sign_in_call.c (who needs it).
 */
#ifndef WEIR_BROKER_SIGN_IN_INSIDE_H
#define WEIR_BROKER_SIGN_IN_INSIDE_H

#include "broker/sign_in.h"
#include "broker/sign_in_file.h"
#include "shm/weir_sign_in.h"

#define SIGN_IN_AGAIN_NS     WEIR_NS_PER_S /* after a failure, doubling ... */
#define SIGN_IN_AGAIN_MAX_NS (60 * WEIR_NS_PER_S)
/* A token that no disk has taken, of a worker that is to leave: whoever waits for it ends it in the end, and the token with it. */
#define SIGN_IN_LEAVING_NS   (100 * WEIR_NS_PER_MS)
#define SIGN_IN_RENEW_NS     (60 * WEIR_NS_PER_S) /* between two that answers asked for, doubling ... */
#define SIGN_IN_RENEW_MAX_NS (3600 * WEIR_NS_PER_S)

enum session_step {
    STEP_REST = 0,
    STEP_INTENT, /* SPENDING is being written */
    STEP_CALL,
    STEP_KEEP,   /* what the answer brought is being written ... */
    STEP_UNKEPT, /* ... or is to be, again, at due_ns */
    STEP_UNDO,   /* HELD is being written again */
};

/* All in one area of memory for keys; pieces that a kind does not need are not there. */
struct session_secret {
    struct sign_in_record *
        image; /* the token in hand, as it is on the disk or on its way there: untouched while a write is under way */
    struct sign_in_answer *answer;
    char *form;
    size_t form_room_bytes, form_bytes;
    char *line; /* "Authorization: Bearer ...", in force */
    struct sign_in_jar *jar, *jar_next;
    char *cookie_line; /* of the crumb's call */
    char *crumb;
    char *room; /* for an answer's head and body */
    size_t room_bytes;
};

struct session {
    const struct weir_config_auth *auth;
    const struct weir_config_sign_in *config;
    uint32_t provider, nth;
    size_t key;
    uint32_t route, crumb_route; /* in the tables */
    struct sign_parts parts;
    struct session_secret secret;
    struct weir_shm_sign_in *board;
    struct sign_in_place *place;
    /* the disk */
    int fd;
    uint32_t slot; /* that of the newest record on it */
    uint64_t sequence;
    uint32_t life, events;
    int32_t result[2];
    enum session_step step;
    enum weir_sign_in_state state;
    enum weir_sign_in_why why;
    uint32_t status; /* of the last answer */
    uint64_t due_ns; /* UINT64_MAX: never by itself */
    uint64_t again_ns;
    uint64_t renew_ns, renew_not_before_ns;
    uint64_t asked_ns; /* when the call under way was sent */
    struct call *call;
    /* in force */
    uint64_t generation; /* 0: nothing was yet */
    uint64_t good_until_ns;
    char server[SIGN_IN_HOST_BYTES];
};

static inline bool session_is_token(const struct session *s)
{
    return s->auth->kind == SIGN_OAUTH2;
}

/* Nothing is begun any more by this worker. */
static inline bool session_is_leaving(const struct worker *w)
{
    return w->draining || w->quiesce_asked;
}

/* sign_in.c */
void session_board(struct session *s);
/* A call of its own, by `route`; `done` frees nothing. False: there is no memory. */
bool session_ask(struct worker *w, struct session *s, uint32_t route, size_t body_bytes,
                 void (*done)(struct worker *w, struct call *c, enum weir_result result));
/* What `done` does first: the call's answer is in s->secret.room, and no longer the call's. Returns whether a whole one came. */
bool session_answered(struct session *s, struct call *c, enum weir_result result);
/* ... and last: the room is wiped. */
void session_room_wipe(struct session *s);
/* Something new is in force, for `lasts_ns` from when it was asked for. */
void session_ready(struct worker *w, struct session *s, uint64_t lasts_ns);
/* It did not work: again in a while, not before `told_ns` from now. */
void session_failed(struct worker *w, struct session *s, enum weir_sign_in_why why,
                    uint64_t told_ns);

/* sign_in_token.c */
bool token_load(struct worker *w, struct session *s);
void token_begin(struct worker *w, struct session *s);
void token_write_again(struct worker *w, struct session *s);
void token_written(struct worker *w, struct session *s, int error);

/* sign_in_cookie.c */
void cookie_begin(struct worker *w, struct session *s);

/* All sessions. */
struct session *sign_in_first(void);
uint32_t sign_in_session_cnt(void);
struct session *sign_in_of_call(const struct worker *w, const struct call *c);

#endif
