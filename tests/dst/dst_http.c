/*
 * dst_http.c: broker/http.h over connections that exist only here, and the way of a strategy's own calls.
 *
 * Kept from libcurl 7.88: connections are kept and reused, the last first; a reused one that dies before a byte of the answer is replaced and the
 * request sent again, whatever its method, through the gate once more; a gate that says no ends the transfer with CURLE_ABORTED_BY_CALLBACK.
 *
 * The way between is dst_flight.c's.
 */
#include "dst_flight.h"
#include "dst_session.h"

#include "broker/http.h"
#include "broker/worker.h"

#include "shm/weir_clock.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>

#define XFERS_MAX   256U
#define CONNS_MAX   256U
#define PIECES_MAX  8U
#define RESENDS_MAX 5U

struct conn {
    bool used, busy, alive;
    unsigned provider;
    const struct http_target *target;
    const char *source; /* the address that its socket has; NULL: the host's choice */
    uint64_t order;     /* when it became idle */
};

struct xfer {
    bool used, done, connected, started;
    uint32_t generation;
    struct http_transfer *t;
    char path[128];
    int conn;
    bool reused;
    unsigned resends;
    size_t bytes_in;
    struct flight *flight;
    struct flight *answered; /* the same, once its answer is whole */
    enum piece piece[PIECES_MAX];
    size_t piece_bytes[PIECES_MAX]; /* BODY: up to this byte */
    unsigned piece_cnt;
};

struct http {
    struct loop *loop;
};

static struct xfer xfer[XFERS_MAX];
static struct conn conn[CONNS_MAX];
static uint64_t conn_order;
static int kicked[XFERS_MAX];
static unsigned kicked_cnt;
static unsigned done_cnt;

/* ---------------------------------------------------------------------------------------------- transfers */

void dst_http_piece(int index, enum piece p, size_t bytes)
{
    struct xfer *x = &xfer[index];
    if (x->piece_cnt == PIECES_MAX) {
        dst_broken("simulator", "too many pieces");
    }
    x->piece[x->piece_cnt] = p;
    x->piece_bytes[x->piece_cnt++] = bytes;
    dst_loop_post(LOOP_CURL, x->generation, (uint32_t)index, POLLIN, false);
}

static void conn_close(struct xfer *x)
{
    if (x->conn >= 0) {
        if (x->t->target->connections > 0) {
            x->t->target->connections--;
        }
        conn[x->conn].used = false;
        x->conn = -1;
    }
    if (x->flight != NULL) {
        dst_flight_orphan(x->flight);
        x->flight = NULL;
    }
}

static void xfer_free(struct xfer *x)
{
    done_cnt -= x->done;
    x->used = false;
    x->done = false;
    x->generation++;
    x->piece_cnt = 0;
}

static void finish(struct xfer *x, CURLcode code)
{
    if (code == CURLE_OK && x->conn >= 0) {
        conn[x->conn].busy = false;
        conn[x->conn].order = ++conn_order;
        x->conn = -1;
        if (x->flight != NULL) {
            x->flight->kept = true;
            x->answered = x->flight;
            x->flight = NULL;
        }
    } else {
        conn_close(x);
    }
    x->t->code = code;
    x->done = true;
    done_cnt++;
}

static bool same_source(const char *a, const char *b)
{
    return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

static int conn_idle(const struct http_target *target, const char *source)
{
    int best = -1;
    for (int i = 0; i < (int)CONNS_MAX; i++) {
        if (conn[i].used && !conn[i].busy && conn[i].target == target &&
            same_source(conn[i].source, source) && (best < 0 || conn[i].order > conn[best].order)) {
            best = i;
        }
    }
    return best;
}

static unsigned provider_of(const struct http_target *target)
{
    unsigned port = 0;
    const char *at = strrchr(target->base, ':');
    if (at == NULL || sscanf(at, ":%u", &port) != 1) {
        dst_broken("simulator", "base %s", target->base);
    }
    return (port - 8000) / 10;
}

struct connecting {
    int xfer;
    uint32_t generation;
};

static void connect_event(void *arg, uint64_t a, uint64_t b)
{
    struct xfer *x = &xfer[a >> 32];
    (void)arg;
    if (x->used && x->generation == (uint32_t)a && x->piece_cnt < PIECES_MAX) {
        x->piece[x->piece_cnt] = (enum piece)b;
        x->piece_bytes[x->piece_cnt++] = 0;
        dst_loop_post(LOOP_CURL, x->generation, (uint32_t)(a >> 32), POLLOUT, false);
    }
}

/* Find it a connection: one that stands, or a new one. */
static void connect_to(struct xfer *x)
{
    unsigned provider = provider_of(x->t->target);
    uint64_t me = (uint64_t)(x - xfer) << 32 | x->generation;
    x->conn = conn_idle(x->t->target, x->t->source);
    x->reused = x->conn >= 0;
    x->bytes_in = 0;
    if (x->reused) {
        conn[x->conn].busy = true;
        kicked[kicked_cnt++] = (int)(x - xfer);
        return;
    }
    int i = 0;
    while (i < (int)CONNS_MAX && conn[i].used) {
        i++;
    }
    if (i == (int)CONNS_MAX) {
        dst_broken("simulator", "too many connections");
    }
    conn[i] = (struct conn){.used = true,
                            .busy = true,
                            .alive = true,
                            .provider = provider,
                            .target = x->t->target,
                            .source = x->t->source};
    x->conn = i;
    x->t->target->connections++;
    x->t->target->connects++;
    x->connected = true;
    if (dst_fault(DST_CONNECT_HUNG, dst_world.mix.hung)) {
        return;
    }
    enum piece what = dst_fault(DST_CONNECT_REFUSED, dst_world.mix.refused) ? REFUSED : CONNECTED;
    dst_at(dst_now + dst_transit(provider), connect_event, NULL, me, what);
}

/* What the exchange sees of the caller: the address of the connection, and the key in the head. */
static dst_maker maker_of(const struct xfer *x)
{
    unsigned address = 0;
    unsigned key = 0;
    const char *source = conn[x->conn].source;
    if (source != NULL && sscanf(source, HTTP_SOURCE_PREFIX "127.0.0.%u", &address) != 1) {
        dst_broken("simulator", "a source %s", source);
    }
    for (const struct curl_slist *h = x->t->headers; h != NULL; h = h->next) {
        (void)sscanf(h->data, "x-key: key-%u", &key);
    }
    return DST_MAKER(address > 0 ? address - 1 : 0, key);
}

/* The connection stands: ask the gate, and write. */
static void request_write(struct xfer *x)
{
    uint32_t generation = x->generation;
    dst_worker_process.steady = true;
    bool go = x->t->gate(x->t);
    dst_worker_process.steady = false;
    if (!x->used || x->generation != generation) {
        dst_broken("simulator", "a gate ended its transfer");
    }
    if (!go) {
        finish(x, CURLE_ABORTED_BY_CALLBACK);
        return;
    }
    unsigned provider = provider_of(x->t->target);
    dst_maker who = maker_of(x);
    const struct call *c = (const void *)x->t; /* its transfer stands first in it */
    dst_check_gate(provider, who);
    dst_check_payer(c, who);
    if (c->hedge_of != NULL) {
        (void)dst_fault(DST_HEDGED, 1);
    }
    const char *path = x->t->request_target != NULL ? x->t->request_target : x->path;
    const struct dst_bears bears = dst_session_bears(x->t, path);
    x->flight = dst_flight_send(provider, who, path, &bears, x->reused);
    x->flight->xfer = (int)(x - xfer);
    x->flight->generation = x->generation;
    dst_trace("sent", provider, (uint64_t)(x - xfer), x->resends);
    if (dst_chance(dst_world.mix.kill_after)) {
        dst_worker_process.kill_in = (long)dst_log_uniform(1, 400);
    }
}

static bool head_give(struct xfer *x, const struct dst_reply *r)
{
    const char *at = r->head;
    while (*at != '\0') {
        const char *end = strchr(at, '\n');
        size_t bytes = (size_t)(end - at) + 1;
        x->bytes_in += bytes;
        if (!x->t->head(x->t, at, bytes)) {
            finish(x, CURLE_WRITE_ERROR);
            return false;
        }
        at += bytes;
    }
    return true;
}

static void piece_take(struct xfer *x, enum piece p, size_t bytes, size_t *body_at)
{
    struct flight *f = x->flight;
    switch (p) {
    case CONNECTED:
        request_write(x);
        break;
    case REFUSED:
        finish(x, CURLE_COULDNT_CONNECT);
        break;
    case HEAD:
        x->t->status = f->reply.status;
        if (head_give(x, &f->reply) && f->reply.retry_after_s > 0) {
            dst_check_told_stop(f->provider, f->who, f->sent_at,
                                dst_now + f->reply.retry_after_s * DST_S - 5 * DST_MS);
        }
        break;
    case BODY:
        x->bytes_in++;
        if (bytes > *body_at) {
            size_t cnt = bytes - *body_at;
            if (x->t->data(x->t, f->reply.body + *body_at, cnt) != cnt) {
                finish(x, CURLE_WRITE_ERROR);
                return;
            }
            *body_at = bytes;
        }
        break;
    case END:
        finish(x, CURLE_OK);
        break;
    case RESET:
        if (x->reused && x->bytes_in == 0 && x->resends < RESENDS_MAX) {
            conn_close(x);
            x->resends++;
            x->piece_cnt = 0;
            connect_to(x);
        } else {
            finish(x, x->bytes_in > 0 ? CURLE_RECV_ERROR : CURLE_GOT_NOTHING);
        }
        break;
    }
}

struct http *http_open(struct loop *loop)
{
    static struct http http;
    http.loop = loop;
    return &http;
}

bool http_start(struct http *http, struct http_transfer *t)
{
    (void)http;
    unsigned i = 0;
    while (i < XFERS_MAX && xfer[i].used) {
        i++;
    }
    if (i == XFERS_MAX) {
        return false;
    }
    uint32_t generation = xfer[i].generation + 1;
    xfer[i] = (struct xfer){.used = true, .generation = generation & 0xffffffU, .t = t, .conn = -1};
    t->easy = (struct http_easy *)(void *)&xfer[i];
    t->code = CURLE_OK;
    t->status = 0;
    t->connected = false;
    (void)snprintf(xfer[i].path, sizeof xfer[i].path, "%s", t->path_query);
    const struct call *c = (const void *)t;
    if (c->hedge_of != NULL) {
        dst_check_beside(c);
    }
    connect_to(&xfer[i]);
    return true;
}

static void xfer_end(struct xfer *x)
{
    conn_close(x);
    x->t->easy = NULL;
    x->answered = NULL;
    xfer_free(x);
}

void http_stop(struct http *http, struct http_transfer *t)
{
    (void)http;
    struct xfer *x = (struct xfer *)(void *)t->easy;
    if (x != NULL && x->answered != NULL) { /* whole, and not taken in */
        x->answered->kept = false;
        dst_flight_settle(x->answered);
    }
    if (x != NULL) {
        xfer_end(x);
    }
}

static size_t body_at[XFERS_MAX];

void http_event(struct http *http, const struct loop_event *event)
{
    (void)http;
    struct xfer *x = &xfer[event->index % XFERS_MAX];
    if (!x->used || x->done || (x->generation & 0xffffffU) != event->generation) {
        return;
    }
    while (x->piece_cnt > 0 && !x->done) {
        enum piece p = x->piece[0];
        size_t bytes = x->piece_bytes[0];
        x->piece_cnt--;
        memmove(x->piece, x->piece + 1, x->piece_cnt * sizeof x->piece[0]);
        memmove(x->piece_bytes, x->piece_bytes + 1, x->piece_cnt * sizeof x->piece_bytes[0]);
        if (p == HEAD) {
            body_at[event->index] = 0;
        }
        piece_take(x, p, bytes, &body_at[event->index]);
    }
}

static bool collect(void)
{
    bool any = false;
    for (unsigned i = 0; i < XFERS_MAX && done_cnt > 0; i++) {
        struct xfer *x = &xfer[i];
        if (x->used && x->done) {
            struct http_transfer *t = x->t;
            struct flight *f = x->answered;
            t->connected = x->connected;
            xfer_end(x);
            if (f != NULL) {
                dst_exchange_told(f->provider, f->path, &f->bears, &f->reply);
            }
            t->done(t);
            if (f != NULL) {
                dst_exchange_heard(f->provider, f->who, f->path, true, f->sent_at, &f->reply);
                f->kept = false;
                dst_flight_settle(f);
            }
            any = true;
        }
    }
    return any;
}

void http_turn(struct http *http, uint64_t now_ns)
{
    (void)http;
    (void)now_ns;
    for (int i = 0; i < 16; i++) {
        while (kicked_cnt > 0) {
            struct xfer *x = &xfer[kicked[--kicked_cnt]];
            if (x->used && !x->done && x->reused && x->flight == NULL) {
                request_write(x);
            }
        }
        if (!collect() && kicked_cnt == 0) {
            return;
        }
        (void)weir_clock_monotonic_ns();
    }
}

uint64_t http_next_ns(const struct http *http)
{
    (void)http;
    return kicked_cnt > 0 ? 0 : UINT64_MAX;
}

void http_target_close(struct http_target *target)
{
    (void)target;
}

unsigned dst_http_open_cnt(void)
{
    unsigned cnt = 0;
    for (unsigned i = 0; i < XFERS_MAX; i++) {
        cnt += xfer[i].used;
    }
    return cnt;
}

void dst_http_worker_died(void)
{
    for (unsigned i = 0; i < XFERS_MAX; i++) {
        struct xfer *x = &xfer[i];
        if (x->used && x->flight != NULL) {
            dst_flight_orphan(x->flight);
        }
        if (x->used) {
            x->flight = NULL;
            xfer_free(x);
        }
    }
    dst_flight_untaken();
    dst_count_forget();
    memset(conn, 0, sizeof conn);
    kicked_cnt = 0;
    done_cnt = 0;
}

void dst_http_reset(void)
{
    dst_flight_reset();
    for (unsigned i = 0; i < XFERS_MAX; i++) {
        xfer[i] = (struct xfer){0};
    }
    memset(conn, 0, sizeof conn);
    kicked_cnt = 0;
    done_cnt = 0;
}
