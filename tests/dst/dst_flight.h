/* dst_flight.h: a request on its way, for the two ends of the network: dst_flight.c (the way, and the exchange's side of it), dst_http.c (the worker's). */
#ifndef DST_FLIGHT_H
#define DST_FLIGHT_H

#include "dst.h"

enum piece { CONNECTED = 1, REFUSED, HEAD, BODY, END, RESET };

struct flight {
    bool used;
    bool arrived, over, orphan, delivered, late;
    bool kept; /* its answer is being taken in */
    unsigned provider;
    dst_maker who;
    struct dst_bears bears;
    bool brokered;
    char path[128];
    uint64_t sent_at;
    int xfer; /* -1: nobody waits */
    uint32_t generation;
    struct dst_process *trader;
    uint64_t trader_life;
    enum dst_fault fate; /* DST_FAULT_CNT: all is well */
    uint32_t events;     /* that still name it */
    uint32_t word;       /* a trader sleeps on it */
    struct dst_reply reply;
};

uint64_t dst_transit(unsigned provider); /* ns, one way */
/* A request is written to a connection now. */
/* `bears` NULL: a trader's, who signs in elsewhere. */
struct flight *dst_flight_send(unsigned provider, dst_maker who, const char *path,
                               const struct dst_bears *bears, bool reused);
/* Nobody waits for it any more: its connection is closed. */
void dst_flight_orphan(struct flight *f);
void dst_flight_settle(struct flight *f); /* ... and it is forgotten, once nothing names it */
void dst_flight_untaken(void);
void dst_flight_reset(void);
void dst_http_piece(int index, enum piece p, size_t bytes); /* reaches the transfer that waits */

#endif
