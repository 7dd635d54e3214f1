/*
 * dst_http.c: broker/http.h over connections that exist only here, and the way of a strategy's own calls.
 *
 * Kept from libcurl 7.88: connections are kept and reused, the last first; a reused one that dies before a byte of the answer is replaced and the
 * request sent again, whatever its method, through the gate once more; a gate that says no ends the transfer with CURLE_ABORTED_BY_CALLBACK.
 *
 * A request that was written arrives within J/2, or never: what the theorem asks of the network. A connection that is closed reaches the exchange
 * within the same time.
 */
#include "dst.h"

#include "broker/http.h"

#include "shm/weir_clock.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>

#define XFERS_MAX   256U
#define CONNS_MAX   256U
#define FLIGHTS_MAX 2048U
#define PIECES_MAX  8U
#define RESENDS_MAX 5U

enum piece { CONNECTED = 1, REFUSED, HEAD, BODY, END, RESET };

struct conn {
    bool used, busy, alive;
    unsigned provider;
    const struct http_target *target;
    uint64_t order; /* when it became idle */
};

struct flight;

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
    enum piece piece[PIECES_MAX];
    size_t piece_bytes[PIECES_MAX]; /* BODY: up to this byte */
    unsigned piece_cnt;
};

struct flight {
    bool used;
    bool arrived, over, orphan, delivered;
    unsigned provider;
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

struct http {
    struct loop *loop;
};

static struct xfer xfer[XFERS_MAX];
static struct conn conn[CONNS_MAX];
static struct flight *flight[FLIGHTS_MAX];
static uint64_t conn_order;
static int kicked[XFERS_MAX];
static unsigned kicked_cnt;
static unsigned done_cnt;

/* ---------------------------------------------------------------------------------------------- flights */

static struct flight *flight_new(void)
{
    for (unsigned i = 0; i < FLIGHTS_MAX; i++) {
        if (flight[i] == NULL) {
            flight[i] = __real_calloc(1, sizeof *flight[i]);
        }
        if (!flight[i]->used) {
            memset(flight[i], 0, offsetof(struct flight, reply));
            flight[i]->used = true;
            flight[i]->xfer = -1;
            return flight[i];
        }
    }
    dst_broken("simulator", "too many requests on their way");
}

static void flight_settle(struct flight *f)
{
    if (f->events == 0 && (f->orphan || f->delivered)) {
        f->used = false;
    }
}

static void flight_over(struct flight *f)
{
    if (f->arrived && !f->over) {
        dst_exchange_over(f->provider, f->path, f->brokered);
    }
    f->over = true;
}

static uint64_t transit(unsigned provider)
{
    uint64_t most = dst_world.provider[provider].jitter_ns / 2 - 4 * DST_MS;
    return dst_log_uniform(50 * DST_US, most);
}

static void closed_event(void *arg, uint64_t a, uint64_t b)
{
    struct flight *f = arg;
    (void)a;
    (void)b;
    f->events--;
    flight_over(f);
    flight_settle(f);
}

/* Nobody waits for it any more: its connection is closed. */
static void flight_orphan(struct flight *f)
{
    if (f->orphan) {
        return;
    }
    f->orphan = true;
    f->xfer = -1;
    f->events++;
    dst_at(dst_now + transit(f->provider) +
               (f->arrived ? 0 : dst_world.provider[f->provider].jitter_ns / 2),
           closed_event, f, 0, 0);
}

static void deliver(struct flight *f, enum piece p, size_t bytes)
{
    if (f->orphan) {
        return;
    }
    if (f->trader != NULL) {
        if (p == END || p == RESET) {
            f->delivered = true;
            f->word = p == END ? 1 : 2;
            dst_wake_word(&f->word, 1);
        }
        return;
    }
    struct xfer *x = &xfer[f->xfer];
    if (x->piece_cnt == PIECES_MAX) {
        dst_broken("simulator", "too many pieces");
    }
    x->piece[x->piece_cnt] = p;
    x->piece_bytes[x->piece_cnt++] = bytes;
    dst_loop_post(LOOP_CURL, x->generation, (uint32_t)f->xfer, POLLIN, false);
    if (p == END || p == RESET) {
        f->delivered = true;
    }
}

static void piece_event(void *arg, uint64_t a, uint64_t b)
{
    struct flight *f = arg;
    f->events--;
    deliver(f, (enum piece)a, b);
    if (f->orphan) {
        flight_settle(f);
    }
}

static void piece_at(struct flight *f, uint64_t at, enum piece p, size_t bytes)
{
    f->events++;
    dst_at(at, piece_event, f, p, bytes);
}

/* The exchange has written its answer. */
static void written_event(void *arg, uint64_t a, uint64_t b)
{
    struct flight *f = arg;
    (void)a;
    (void)b;
    f->events--;
    flight_over(f);
    uint64_t at = dst_now + transit(f->provider);
    size_t whole = f->reply.body_bytes;
    if (f->fate == DST_ANSWER_CUT) {
        piece_at(f, at, HEAD, 0);
        piece_at(f, at, BODY, dst_below(whole + 1) / 2);
        piece_at(f, at + dst_below(5 * DST_MS), RESET, 0);
        return;
    }
    piece_at(f, at, HEAD, 0);
    if (whole > 100 && dst_chance(0.3)) {
        piece_at(f, at, BODY, whole / 2);
        at += dst_below(3 * DST_MS);
    }
    piece_at(f, at, BODY, whole);
    piece_at(f, at, END, 0);
}

static void arrive_event(void *arg, uint64_t a, uint64_t b)
{
    struct flight *f = arg;
    (void)a;
    (void)b;
    f->events--;
    f->arrived = true;
    dst_exchange_arrive(f->provider, f->path, f->brokered, false, &f->reply);
    if (f->fate == DST_RESET_SEEN) {
        flight_over(f);
        piece_at(f, dst_now + transit(f->provider), RESET, 0);
        return;
    }
    if (f->fate == DST_ANSWER_LOST) {
        return; /* until the caller loses patience */
    }
    uint64_t service = f->fate == DST_ANSWER_SLOW ? dst_log_uniform(100 * DST_MS, 4 * DST_S)
                                                  : dst_log_uniform(50 * DST_US, 10 * DST_MS);
    f->events++;
    dst_at(dst_now + service, written_event, f, 0, 0);
}

static enum dst_fault fate_draw(bool reused)
{
    const struct dst_mix *m = &dst_world.mix;
    if (reused && dst_fault(DST_DEAD_REUSED, m->dead_reused)) {
        return DST_DEAD_REUSED;
    }
    const struct {
        enum dst_fault fate;
        double p;
    } all[] = {{DST_RESET_UNSEEN, m->unseen},
               {DST_RESET_SEEN, m->seen},
               {DST_ANSWER_LOST, m->lost},
               {DST_ANSWER_CUT, m->cut},
               {DST_ANSWER_SLOW, m->slow}};
    for (unsigned i = 0; i < sizeof all / sizeof all[0]; i++) {
        if (dst_fault(all[i].fate, all[i].p)) {
            return all[i].fate;
        }
    }
    return DST_FAULT_CNT;
}

/* A request is written to a connection now. */
static struct flight *flight_send(unsigned provider, const char *path, bool brokered, bool reused)
{
    struct flight *f = flight_new();
    f->provider = provider;
    f->brokered = brokered;
    f->sent_at = dst_now;
    f->fate = fate_draw(reused);
    (void)snprintf(f->path, sizeof f->path, "%s", path);
    uint64_t at = dst_now + transit(provider);
    if (f->fate == DST_DEAD_REUSED || f->fate == DST_RESET_UNSEEN) {
        piece_at(f, at, RESET, 0);
    } else if (f->fate == DST_ANSWER_LOST && dst_chance(0.3)) {
        return f; /* lost on its way there */
    } else {
        f->events++;
        dst_at(at, arrive_event, f, 0, 0);
    }
    return f;
}

bool dst_trader_call(unsigned provider, const char *path, uint64_t patience_ns,
                     struct dst_reply *out)
{
    struct flight *f = flight_send(provider, path, false, false);
    uint64_t end = dst_now + patience_ns;
    f->trader = dst_cur;
    f->trader_life = dst_cur->life;
    while (f->word == 0 && dst_now < end) {
        dst_block(end, &f->word);
    }
    if (f->word == 1) {
        *out = f->reply;
    } else {
        flight_orphan(f);
        return false;
    }
    flight_settle(f);
    return true;
}

/* ---------------------------------------------------------------------------------------------- transfers */

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
        flight_orphan(x->flight);
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
            flight_settle(x->flight);
            x->flight = NULL;
        }
    } else {
        conn_close(x);
    }
    x->t->code = code;
    x->done = true;
    done_cnt++;
}

static int conn_idle(const struct http_target *target)
{
    int best = -1;
    for (int i = 0; i < (int)CONNS_MAX; i++) {
        if (conn[i].used && !conn[i].busy && conn[i].target == target &&
            (best < 0 || conn[i].order > conn[best].order)) {
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
    x->conn = conn_idle(x->t->target);
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
    conn[i] = (struct conn){
        .used = true, .busy = true, .alive = true, .provider = provider, .target = x->t->target};
    x->conn = i;
    x->t->target->connections++;
    x->t->target->connects++;
    x->connected = true;
    if (dst_fault(DST_CONNECT_HUNG, dst_world.mix.hung)) {
        return;
    }
    enum piece what = dst_fault(DST_CONNECT_REFUSED, dst_world.mix.refused) ? REFUSED : CONNECTED;
    dst_at(dst_now + transit(provider), connect_event, NULL, me, what);
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
    dst_check_gate(provider);
    x->flight = flight_send(provider, x->path, true, x->reused);
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
        if (head_give(x, &f->reply) && f->reply.retry_after_s > 0) {
            dst_check_told_stop(f->provider, f->sent_at,
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
        x->t->status = f->reply.status;
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
    connect_to(&xfer[i]);
    return true;
}

static void xfer_end(struct xfer *x)
{
    conn_close(x);
    x->t->easy = NULL;
    xfer_free(x);
}

void http_stop(struct http *http, struct http_transfer *t)
{
    (void)http;
    if (t->easy != NULL) {
        xfer_end((struct xfer *)(void *)t->easy);
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
            t->connected = x->connected;
            xfer_end(x);
            t->done(t);
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
            flight_orphan(x->flight);
        }
        if (x->used) {
            x->flight = NULL;
            xfer_free(x);
        }
    }
    memset(conn, 0, sizeof conn);
    kicked_cnt = 0;
    done_cnt = 0;
}

void dst_http_client_died(const struct dst_process *p);

void dst_http_client_died(const struct dst_process *p)
{
    for (unsigned i = 0; i < FLIGHTS_MAX && flight[i] != NULL; i++) {
        if (flight[i]->used && flight[i]->trader == p && flight[i]->trader_life == p->life) {
            flight_orphan(flight[i]);
        }
    }
}

void dst_http_reset(void)
{
    for (unsigned i = 0; i < FLIGHTS_MAX && flight[i] != NULL; i++) {
        flight[i]->used = false;
    }
    for (unsigned i = 0; i < XFERS_MAX; i++) {
        xfer[i] = (struct xfer){0};
    }
    memset(conn, 0, sizeof conn);
    kicked_cnt = 0;
    done_cnt = 0;
}
