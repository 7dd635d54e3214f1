/*
 * calls.c: memory for calls, and what is kept back of `broker.worker_memory` for libcurl.
 *
 * Requests that wait may take all memory that there is, and then nobody's call can be made: libcurl finds none for a connection and its buffers, the call ends as not sent, and so does the
 * next one. So a piece is held back from the beginning. It is let go when libcurl finds no memory for a call of which nothing was written; that call is begun again, and no further request is
 * taken until there is a piece again, or half of the calls have ended. Who dies: the worker alone, and all of this with it.
 */
#include "broker/log.h"
#include "broker/worker.h"

#include <stdlib.h>
#include <string.h>

/* For some connections with their buffers (64 KiB in each direction) and TLS. What is had again may be smaller. */
#define RESERVE_BYTES     (1U << 20)
#define RESERVE_MIN_BYTES (1U << 18)
#define SLAB_CALLS        16U

/* What a former life left, but for the memory that is kept. */
static void call_clear(struct call *c)
{
    memset(c, 0, offsetof(struct call, permit));
    c->permit.state = WEIR_PERMIT_NONE;
    c->own_permit.state = WEIR_PERMIT_NONE;
    c->parts.path_bytes = c->parts.query_bytes = c->parts.body_bytes = c->parts.header_cnt = 0;
}

static struct call *call_link(struct worker *w, struct call *c)
{
    c->all_next = w->call_first;
    if (w->call_first != NULL) {
        w->call_first->all_prev = c;
    }
    w->call_first = c;
    w->call_cnt++;
    return c;
}

bool calls_open(struct worker *w)
{
    w->call_spare = calloc(1, sizeof *w->call_spare);
    w->reserve = malloc(RESERVE_BYTES);
    return w->call_spare != NULL && w->reserve != NULL;
}

/* Many at once, which stay: each by itself it would lie between two payloads, and what those leave could never become one piece. */
static void slab_take(struct worker *w)
{
    struct call *c = calloc(SLAB_CALLS, sizeof *c);
    for (unsigned i = 0; c != NULL && i < SLAB_CALLS; i++) {
        c[i].next = w->call_free;
        w->call_free = &c[i];
    }
}

struct call *call_make(struct worker *w)
{
    if (w->call_free == NULL) {
        slab_take(w);
    }
    struct call *c = w->call_free;
    if (c == NULL) {
        return NULL;
    }
    w->call_free = c->next;
    call_clear(c);
    return call_link(w, c);
}

struct call *call_refused(struct worker *w)
{
    struct call *c = w->call_spare;
    w->call_spare = NULL;
    if (w->now_ns >= w->memory_told_ns) { /* a flood of them is one event a second */
        w->memory_told_ns = w->now_ns + WEIR_NS_PER_S;
        log_error("no_memory", "s:s, s:i, s:s", "for", "call", "calls", (int)w->call_cnt,
                  "next_step",
                  "requests are refused until calls end: raise broker.worker_memory, or lower "
                  "quota.in_flight");
    }
    call_clear(c);
    return call_link(w, c);
}

bool calls_reserve_use(struct worker *w)
{
    if (w->reserve == NULL) {
        return false;
    }
    free(w->reserve);
    w->reserve = NULL;
    w->reserve_calls = w->call_cnt;
    log_warn(
        "reserve_used", "s:i, s:s", "calls", (int)w->call_cnt, "meaning",
        "libcurl found no memory for a call: requests are refused until there is a reserve again");
    return true;
}

bool calls_are_too_many(const struct worker *w)
{
    return w->reserve == NULL && w->call_cnt > w->reserve_calls / 2;
}

void calls_tick(struct worker *w)
{
    for (size_t bytes = RESERVE_BYTES; w->reserve == NULL && bytes >= RESERVE_MIN_BYTES;
         bytes /= 2) {
        w->reserve = malloc(bytes);
    }
}
