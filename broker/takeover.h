/*
 * takeover.h: the taker's side of a takeover (shm/weir_handover.h has the protocol): a new `weird` in the place of one that runs.
 *
 * It serves nobody before it has taken over, so it simply asks and waits. Until takeover_finish nothing has changed for anybody, and a failure ends
 * this process with the reason.
 */
#ifndef WEIR_BROKER_TAKEOVER_H
#define WEIR_BROKER_TAKEOVER_H

#include "broker/admission.h"
#include "broker/journal.h"
#include "shm/weir_handover.h"

struct takeover {
    int socket;     /* -1: none */
    bool broke_off; /* the last question had no answer but the end of the connection */
    int lock_fd;
    int handover_listener;
    int listener[WEIR_DOMAINS_MAX]; /* -1: bind anew */
    struct weir_segment board;      /* of the old broker, to look at */
    struct weir_handover_hello giver;
    bool unsent[WEIR_CLIENTS_MAX]; /* clients that could not be sent the new board yet */
};

enum takeover_found {
    TAKEOVER_READY = 0,
    TAKEOVER_NOBODY =
        1, /* nobody listens there; or where only orphans were wanted, it ended before it answered */
    TAKEOVER_FAILED = 2, /* refused, or broken off: `text` says why */
    TAKEOVER_ALIVE = 3,  /* its supervisor lives, and only orphans were wanted */
};

/*
 * Ask the broker of DIR for all it has: fills `region` (with a new board), `journal` and t->lock_fd. `orphans_only`: take from a worker whose supervisor is dead, and from
 * nobody else. Configurations that mean other limits are refused. Caller: the supervisor at its start.
 */
enum takeover_found takeover_begin(struct takeover *t, const char *dir,
                                   const struct weir_config *config, bool orphans_only,
                                   struct region *region, struct journal *journal, char *text,
                                   size_t text_bytes);

/* Fetch the clients into `admission`, which is open with t->listener. Returns -1 with `text`. */
int takeover_clients(struct takeover *t, struct admission *admission, char *text,
                     size_t text_bytes);

/*
 * Say that we are ready, wait until the old broker has let go, and be it: when this returns 0 permits flow by our board. Waits for what is on the wire, and a sign-in
 * before that: `drain_ns` and some seconds at most. Returns -1 with `text`: the old one goes on, or all is lost and the text says so.
 */
int takeover_finish(struct takeover *t, struct region *region, uint64_t drain_ns, char *text,
                    size_t text_bytes);

/* Send the new board to the clients that have not got it. Caller: the supervisor, after takeover_finish and with each beat. Cheap when nothing is left. */
void takeover_tell(struct takeover *t, struct admission *admission);

#endif
