/*
 * handover.h: the giver's side of a takeover (shm/weir_handover.h has the protocol): a broker that runs, for the one that comes after it.
 *
 * The supervisor listens from its start; the worker inherits the socket by fork and uses it only when its supervisor has died. Up to READY the giver answers
 * questions between its other events and changes nothing; handover_finish is the one step that blocks, for some milliseconds, because permits
 * stand still then and nothing else matters.
 */
#ifndef WEIR_BROKER_HANDOVER_H
#define WEIR_BROKER_HANDOVER_H

#include "broker/control.h"
#include "broker/region.h"
#include "shm/weir_handover.h"

enum handover_stage {
    HANDOVER_NONE = 0,  /* nobody takes over */
    HANDOVER_ASKS = 1,  /* somebody has connected */
    HANDOVER_READY = 2, /* it has all it needs, and our worker is leaving */
};

struct handover {
    int listener; /* -1: none */
    int socket;   /* -1: nobody takes over */
    enum handover_stage stage;
    uint64_t since_ns; /* of the stage, or of the last question */
    uint32_t taker_pid;
    uint32_t owner_uid;        /* of the broker: the worker may run as somebody else */
    struct weir_segment board; /* the taker's, to look at */
    struct weir_handover_clock clock[WEIR_PROVIDERS_MAX];
    /* what a taker gets that is in no region */
    int lock_fd;
    uint32_t restarts;
    char path[108]; /* of the listener */
};

/* What the giver knows of its clients: the supervisor by its table, a worker by its own. */
struct handover_clients {
    /* The first client at `from` or behind it, its descriptors valid here, and its connection (-1: none); NULL: no more. */
    const struct client_info *(*next)(void *arg, uint32_t from, int *socket);
    void *arg;
    const int *listener; /* [domain], or NULL */
};

/* Listen on the socket of the broker of DIR that was taken over from. */
void handover_adopt(struct handover *h, const char *dir, int listener, int lock_fd);

/* A clean end: nobody can take over any more. */
void handover_close(struct handover *h);

/* Bind DIR/handover.sock. `h->lock_fd` is what the lock of the directory is held by. Returns -1 with `text`. Caller: the supervisor. */
int handover_listen(struct handover *h, const char *dir, int lock_fd, char *text,
                    size_t text_bytes);

/* Somebody connects. Returns whether h->socket is new: watch it. One at a time, of the broker's own uid or root; others are closed at once. */
bool handover_accept(struct handover *h);

enum handover_event {
    HANDOVER_NOTHING = 0,
    HANDOVER_IS_READY = 1, /* send the worker away, then handover_finish */
    HANDOVER_LOST = 2,     /* it is gone, or was refused: h->socket is closed, go on */
};

/* The taker's socket is readable: answer what it asks. */
enum handover_event handover_read(struct handover *h, struct region *r,
                                  const struct handover_clients *clients);

/* Nobody takes over any more: go on as before. */
void handover_drop(struct handover *h);
/* ... and the taker is told why. */
void handover_refuse(struct handover *h, const char *why);

/* Is somebody asking, so that no new client may be let in? */
static inline bool handover_is_on(const struct handover *h)
{
    return h->stage != HANDOVER_NONE;
}

enum handover_end {
    HANDOVER_GIVEN = 0, /* the successor grants: leave, and touch nothing */
    HANDOVER_BACK =
        1, /* it died before it could: everything is ours again, and the lease is to be written */
    HANDOVER_BURNT =
        2, /* it died with a lease on its board: nobody may grant until that has ended. Leave as after a crash */
};

/*
 * No worker of ours lives, or it is the caller, and nothing is on the wire: end the lease, name the successor, and wait until it has taken over or is
 * dead. A taker that hangs is killed. Blocks for 2 s at most, some milliseconds where all is well.
 */
enum handover_end handover_finish(struct handover *h, struct region *r);

#endif
