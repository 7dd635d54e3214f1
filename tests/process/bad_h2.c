/*
 * Servers that break HTTP/2, or use it against whoever asks: resets and farewells before, in and behind an answer, windows that never open, heads that cannot be read, answers that were cut
 * short, floods, pushes. The same as bad_servers.c does for HTTP/1.
 *
 * Oracle: what the server in this test read and wrote. Each call ends once, in time, by the name in the table; no answer is DONE whose stream was not ended by its server (END_STREAM, RFC
 * 9113, 8.1); an order's head is read once at most, whatever was refused; each send is charged once, and there are not less of them than heads that arrived; nothing stays held of the limit of one in flight; the next call
 * has its own answer; the worker is the one that was there at the beginning, and has hardly grown.
 */
#include "bad_call.h"
#include "h2.h"
#include "tls_server.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define GROWN_MAX_KIB 16384L
#define FLOOD_BYTES   (UINT64_C(64) << 20)

enum { FAULT = 0, HEADS = 1, DROPPED = 2, AGAIN = 3, SERVED = 4 }; /* r->shared->count */

/* ---------------------------------------------------------------------------------------------- a server */

/* One connection of the server. */
struct peer {
    SSL *ssl;
    int fd;
    uint32_t stream; /* that is asked for now */
    bool hangs_up;   /* where the client says farewell, as real servers do */
    size_t got;
    uint8_t in[1U << 16];
    uint8_t out[1U << 16];
    size_t out_bytes;
};

static bool say(struct peer *p, const void *at, size_t bytes)
{
    return SSL_write(p->ssl, at, (int)bytes) > 0;
}

/* What was put together goes out as one. */
static bool flush(struct peer *p)
{
    bool good = p->out_bytes == 0 || say(p, p->out, p->out_bytes);
    p->out_bytes = 0;
    return good;
}

static void frame(struct peer *p, unsigned type, unsigned flags, uint32_t stream, const void *at,
                  size_t bytes)
{
    p->out_bytes += h2_frame(p->out + p->out_bytes, type, flags, stream, at, bytes);
}

/* "a=b;c=d" as a block of fields. */
static size_t block_of(uint8_t *to, const char *fields)
{
    char text[512];
    size_t n = 0;
    (void)snprintf(text, sizeof text, "%s", fields);
    char *rest = text;
    for (char *line; (line = strsep(&rest, ";")) != NULL && *line != '\0';) {
        char *value = strchr(line + 1, '=');
        *value = '\0';
        n += h2_field(to + n, line, value + 1);
    }
    return n;
}

static void head(struct peer *p, unsigned flags, const char *fields)
{
    uint8_t block[1024];
    size_t n = block_of(block, fields);
    frame(p, H2_HEADERS, H2_END_HEADERS | flags, p->stream, block, n);
}

static void data(struct peer *p, unsigned flags, const char *text)
{
    frame(p, H2_DATA, flags, p->stream, text, strlen(text));
}

static void fine(struct peer *p)
{
    head(p, 0, ":status=200;content-length=4");
    data(p, H2_END_STREAM, "fine");
    (void)flush(p);
}

static void reset(struct peer *p, uint32_t code)
{
    p->out_bytes += h2_number(p->out + p->out_bytes, H2_RST_STREAM, p->stream, code);
}

static void goaway(struct peer *p, uint32_t last, uint32_t error)
{
    p->out_bytes += h2_goaway(p->out + p->out_bytes, last, error);
}

/* With TLS' own farewell, or without; what was written arrives. */
static void leave(struct peer *p, bool politely)
{
    (void)flush(p);
    if (politely) {
        (void)SSL_shutdown(p->ssl);
    }
    (void)shutdown(p->fd, SHUT_WR);
}

/* The same again and again until nobody listens, or so much was taken. */
static void flood(struct peer *p, const uint8_t *at, size_t bytes, unsigned ms)
{
    for (uint64_t sent = 0; sent < FLOOD_BYTES && say(p, at, bytes); sent += bytes) {
        struct pollfd f = {.fd = p->fd, .events = POLLRDHUP};
        if (ms > 0 && poll(&f, 1, (int)ms) > 0) {
            return;
        }
    }
}

/* ---------------------------------------------------------------------------------------------- its faults */

#define HANGS_UP  8U
#define NO_LENGTH ":status=200"
#define LENGTH_10 ":status=200;content-length=10"

/* Where a body is cut: in front of the head, behind it, in the body; with a length, and without. */
static void cut_begin(struct peer *p, unsigned where)
{
    if (where > 0) {
        head(p, 0, where % 2 == 1 ? LENGTH_10 : NO_LENGTH);
    }
    if (where > 2) {
        data(p, 0, "hal");
    }
}

static void f_reset(struct peer *p, unsigned where, unsigned code)
{
    cut_begin(p, where);
    if (where > 2) { /* the body is on its way already */
        (void)flush(p);
        rig_sleep_ms(5);
    }
    reset(p, code);
    (void)flush(p);
}

static void f_reset_together(struct peer *p, unsigned where, unsigned code)
{
    cut_begin(p, where);
    reset(p, code);
    (void)flush(p);
}

/* And the connection ends with it. */
static void f_reset_close(struct peer *p, unsigned where, unsigned code)
{
    f_reset_together(p, where, code);
    leave(p, true);
}

static void f_close(struct peer *p, unsigned where, unsigned politely)
{
    cut_begin(p, where);
    leave(p, politely != 0);
}

static void f_goaway_close(struct peer *p, unsigned where, unsigned code)
{
    goaway(p, p->stream, code);
    f_close(p, where, true);
}

static void f_goaway_reset_close(struct peer *p, unsigned where, unsigned code)
{
    goaway(p, p->stream, H2_NO_ERROR);
    f_reset_close(p, where, code);
}

/* It did not see the stream, and says so. */
static void f_goaway_before(struct peer *p, unsigned where, unsigned code)
{
    (void)where;
    goaway(p, p->stream - 2 < p->stream ? p->stream - 2 : 0, code);
    (void)flush(p);
}

static void f_goaway_then_fine(struct peer *p, unsigned where, unsigned code)
{
    (void)where;
    goaway(p, p->stream, code);
    fine(p);
}

static void f_fine_then_goaway(struct peer *p, unsigned where, unsigned code)
{
    head(p, 0, where == 0 ? NO_LENGTH : ":status=200;content-length=4");
    data(p, H2_END_STREAM, "fine");
    goaway(p, p->stream, code);
    leave(p, true);
}

/* A frame that must not be. `where` & HANGS_UP: and the server leaves when it is told so. */
static void f_broken_frame(struct peer *p, unsigned where, unsigned which)
{
    static const uint8_t zeros[32];
    cut_begin(p, where & ~HANGS_UP);
    p->hangs_up = (where & HANGS_UP) != 0;
    switch (which) {
    case 0:
        frame(p, H2_DATA, 0, 0, "x", 1);
        break;
    case 1:
        frame(p, H2_SETTINGS, 0, 0, zeros, 5);
        break;
    case 2:
        frame(p, H2_PING, 0, 0, zeros, 7);
        break;
    case 3:
        frame(p, H2_WINDOW_UPDATE, 0, 0, zeros, 4); /* by 0 */
        break;
    case 4:
        frame(p, H2_CONTINUATION, H2_END_HEADERS, p->stream, zeros, 0);
        break;
    case 5:
        frame(p, H2_HEADERS, H2_END_HEADERS, p->stream + 2, "\x88", 1); /* nobody asked that */
        break;
    case 6:
        frame(p, H2_PUSH_PROMISE, H2_END_HEADERS, p->stream, "\0\0\0\2\x88", 5);
        break;
    case 7:
        frame(p, H2_HEADERS, H2_END_HEADERS, p->stream, "\x80", 1); /* HPACK: index 0 */
        break;
    case 8:
        frame(p, H2_HEADERS, H2_END_HEADERS, p->stream, "\xff\xff\xff\xff\xff\xff\x7f", 7);
        break;
    case 9: /* longer than a frame may be */
        p->out_bytes += h2_frame(p->out + p->out_bytes, H2_DATA, 0, p->stream, NULL, 0);
        p->out[p->out_bytes - 8] = 0x80;
        (void)flush(p);
        flood(p, zeros, sizeof zeros, 0);
        break;
    default: /* a setting that cannot be */
        p->out_bytes += h2_setting(p->out + p->out_bytes, H2_WINDOW, 0xffffffffU);
        break;
    }
    (void)flush(p);
}

/* Heads of an answer that HTTP/2 forbids, or that do not fit. */
static const char *const heads[] = {
    ":status=200;content-length=2",                  /* the body has four */
    ":status=200;content-length=40",                 /* the same */
    ":status=200;content-length=2;content-length=4", /* which one? */
    ":status=200;content-length=-1",                 /* none */
    "content-length=4",                              /* no status */
    ":status=two",                                   /* none, either */
    ":status=200;:status=404",                       /* two */
    ":status=200;Upper-Case=x",                      /* RFC 9113, 8.2 */
    ":status=200;connection=close",                  /* 8.2.2 */
    ":status=200;transfer-encoding=chunked",         /* the same */
    ":status=200;x=a\r\n\r\nHTTP/1.1 200 OK",        /* 8.2.1 */
    ":status=101",                                   /* 8.6 */
    ":status=200;:path=/x",                          /* 8.3.2 */
    "x=a;:status=200",                               /* a pseudo field behind others */
    ":status=0200",                                  /* four digits */
};

static void f_head(struct peer *p, unsigned where, unsigned which)
{
    (void)where;
    head(p, 0, heads[which]);
    data(p, H2_END_STREAM, "evil");
    (void)flush(p);
}

static void f_no_length(struct peer *p, unsigned where, unsigned which)
{
    (void)where;
    head(p, 0, NO_LENGTH);
    data(p, 0, "fi");
    if (which == 1) {
        (void)flush(p);
        rig_sleep_ms(5);
    }
    data(p, 0, "ne");
    if (which == 2) { /* trailers */
        head(p, H2_END_STREAM, "x-checksum=7");
    } else {
        data(p, H2_END_STREAM, "");
    }
    (void)flush(p);
}

/* An answer before the call was read to its end, which RFC 9113, 8.1 allows. */
static void f_interim(struct peer *p, unsigned where, unsigned which)
{
    (void)where;
    head(p, 0, which == 0 ? ":status=103;link=x" : ":status=100");
    fine(p);
}

static void f_interims(struct peer *p, unsigned where, unsigned which)
{
    uint8_t block[64];
    uint8_t at[128];
    (void)where;
    (void)which;
    size_t n = block_of(block, ":status=103;link=x");
    n = h2_frame(at, H2_HEADERS, H2_END_HEADERS, p->stream, block, n);
    flood(p, at, n, 0);
}

/* Behind its end: more of the same stream, and of one that comes later. */
static void f_more(struct peer *p, unsigned where, unsigned which)
{
    uint8_t block[64];
    (void)where;
    head(p, 0, ":status=200;content-length=4");
    data(p, H2_END_STREAM, "fine");
    if (which == 0) {
        data(p, H2_END_STREAM, "evil");
    } else {
        size_t n = block_of(block, ":status=200");
        frame(p, H2_HEADERS, H2_END_HEADERS, p->stream + 2, block, n);
        frame(p, H2_DATA, H2_END_STREAM, p->stream + 2, "evil", 4);
    }
    (void)flush(p);
}

enum {
    FLOOD_BODY,
    FLOOD_HEAD,
    FLOOD_CONTINUATION,
    FLOOD_FIELDS,
    FLOOD_EMPTY,
    FLOOD_PING,
    FLOOD_SETTINGS,
    FLOOD_RESET,
    FLOOD_WINDOW,
    FLOOD_PADDING
};

static void f_flood(struct peer *p, unsigned where, unsigned which)
{
    static uint8_t big[16384];
    static uint8_t at[2 * sizeof big];
    static const unsigned types[] = {
        [FLOOD_PING] = H2_PING, [FLOOD_SETTINGS] = H2_SETTINGS, [FLOOD_WINDOW] = H2_WINDOW_UPDATE};
    size_t n = 0;
    (void)where;
    memset(big, 'x', sizeof big);
    switch (which) {
    case FLOOD_BODY:
        head(p, 0, NO_LENGTH);
        n = h2_frame(at, H2_DATA, 0, p->stream, big, sizeof big);
        break;
    case FLOOD_HEAD: /* one line of a head, in as many frames as it takes */
        frame(p, H2_HEADERS, 0, p->stream, "\x88\0\1x\x7f\xff\xff\xff\x0f", 9);
        n = h2_frame(at, H2_CONTINUATION, 0, p->stream, big, sizeof big);
        break;
    case FLOOD_CONTINUATION: /* empty ones: CVE-2024-27316 and its kind */
        frame(p, H2_HEADERS, 0, p->stream, "\x88", 1);
        n = h2_frame(at, H2_CONTINUATION, 0, p->stream, "", 0);
        break;
    case FLOOD_FIELDS:
        frame(p, H2_HEADERS, 0, p->stream, "\x88", 1);
        for (size_t i = 0; i + 64 < sizeof big; i += h2_field(big + i, "x-more", "0123456789")) {
            n = i;
        }
        n = h2_frame(at, H2_CONTINUATION, 0, p->stream, big, n);
        break;
    case FLOOD_EMPTY:
        head(p, 0, NO_LENGTH);
        n = h2_frame(at, H2_DATA, 0, p->stream, "", 0);
        break;
    case FLOOD_PADDING:
        head(p, 0, NO_LENGTH);
        n = h2_frame(at, H2_DATA, H2_PADDED, p->stream, "\2\0\0", 3);
        break;
    case FLOOD_RESET: /* pushes that nobody asked for, each taken back */
        n = h2_number(at, H2_RST_STREAM, 2, H2_CANCEL);
        break;
    default:
        n = h2_frame(at, types[which], 0, 0,
                     which == FLOOD_WINDOW ? "\0\0\0\1" : "\0\0\0\0\0\0\0\0",
                     which == FLOOD_SETTINGS ? 0
                     : which == FLOOD_PING   ? 8
                                             : 4);
        break;
    }
    if (flush(p)) {
        flood(p, at, n, 0);
    }
}

/* A byte now and then. */
static void f_drip(struct peer *p, unsigned where, unsigned which)
{
    uint8_t at[64];
    (void)where;
    size_t n = h2_frame(at, which == 0 ? H2_PING : H2_DATA, 0, which == 0 ? 0 : p->stream,
                        "abcdefgh", which == 0 ? 8 : 1);
    if (which == 1) {
        head(p, 0, NO_LENGTH);
        (void)flush(p);
    }
    flood(p, at, n, 100);
}

/* HTTP/1.1 where HTTP/2 was agreed upon. */
static void f_http1(struct peer *p, unsigned where, unsigned which)
{
    static const char old[] = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil";
    (void)where;
    (void)which;
    (void)say(p, old, sizeof old - 1);
}

/* ---------------------------------------------------------------------------------------------- what becomes of calls */

#define GOOD    WEIR_RESULT_DONE, WEIR_RESULT_DONE
#define FAILS   WEIR_RESULT_FAILED, WEIR_RESULT_OUTCOME_UNKNOWN
#define LATE    WEIR_RESULT_TIMEOUT, WEIR_RESULT_OUTCOME_UNKNOWN
#define LARGE   WEIR_RESULT_TOO_LARGE, WEIR_RESULT_TOO_LARGE
#define ANY_MS  3000
#define LATE_MS 300

enum { FAREWELL = 1 };

/* setting, value: what a connection begins with. */
static const struct fault {
    const char *name;
    void (*act)(struct peer *p, unsigned where, unsigned which);
    unsigned where, which;
    enum weir_result get, post;
    uint32_t status;
    unsigned limit_ms;
    uint16_t setting;
    uint32_t value;
} faults[] = {
    {"fine", NULL, 0, 0, GOOD, 200, ANY_MS, 0, 0},
    [FAREWELL] = {"and gone", f_fine_then_goaway, 1, 0, GOOD, 200, ANY_MS, 0, 0},
#include "bad_h2.def"
};

/* ---------------------------------------------------------------------------------------------- the rest of the server */

static struct rig rig;

static void act(struct peer *p)
{
    const struct fault *f = &faults[weir_load_acquire_u32(&rig.shared->count[FAULT])];
    if (f->act == NULL) {
        fine(p);
        return;
    }
    f->act(p, f->where, f->which);
    (void)weir_fetch_add_u32(&rig.shared->count[SERVED], 1);
}

/* A whole frame of the client. */
static void frame_take(struct peer *p, const struct h2_frame *f, const uint8_t *at)
{
    if (f->type == H2_SETTINGS && (f->flags & H2_ACK) == 0) {
        frame(p, H2_SETTINGS, H2_ACK, 0, NULL, 0);
        (void)flush(p);
    } else if (f->type == H2_PING && (f->flags & H2_ACK) == 0) {
        frame(p, H2_PING, H2_ACK, 0, at, f->bytes);
        (void)flush(p);
    } else if (f->type == H2_GOAWAY && p->hangs_up) {
        leave(p, true);
    } else if (f->type == H2_HEADERS) {
        p->stream = f->stream;
        (void)weir_fetch_add_u32(&rig.shared->count[HEADS], 1);
    }
    if ((f->type == H2_HEADERS || f->type == H2_DATA) && (f->flags & H2_END_STREAM) != 0) {
        act(p);
    }
}

static void serve(struct rig *r, SSL *ssl, int fd)
{
    static struct peer p;
    struct h2_frame f;
    const struct fault *now = &faults[weir_load_acquire_u32(&r->shared->count[FAULT])];
    p = (struct peer){.ssl = ssl, .fd = fd};
    if (now->setting != 0) {
        p.out_bytes = h2_setting(p.out, now->setting, now->value);
    } else {
        frame(&p, H2_SETTINGS, 0, 0, NULL, 0);
    }
    (void)flush(&p);
    bool greeted = false;
    for (int n; (n = SSL_read(ssl, p.in + p.got, (int)(sizeof p.in - p.got))) > 0;) {
        size_t at = 0;
        p.got += (size_t)n;
        if (!greeted && p.got >= H2_PREFACE_BYTES) {
            greeted = true;
            at = H2_PREFACE_BYTES;
        }
        for (size_t m; greeted && (m = h2_read(p.in + at, p.got - at, &f)) > 0; at += m) {
            frame_take(&p, &f, p.in + at + H2_HEAD_BYTES);
        }
        memmove(p.in, p.in + at, p.got - at);
        p.got -= at;
    }
    (void)weir_fetch_add_u32(&r->shared->count[DROPPED], 1);
}

/* ---------------------------------------------------------------------------------------------- calls */

/* A connection is made for a fault of its settings, and they have arrived. */
static void settle_on(struct rig *r, struct weir *w, const struct bad_call *c, uint32_t which)
{
    struct bad_call first = *c;
    first.limit_ms = LATE_MS;
    weir_store_release_u32(&r->shared->count[FAULT], FAREWELL);
    (void)bad_call(r, w, &first);
    weir_store_release_u32(&r->shared->count[FAULT], which);
    first.post = false;
    (void)bad_call(r, w, &first);
    weir_store_release_u32(&r->shared->count[HEADS], 0);
}

static void one(struct rig *r, struct weir *w, uint32_t which, bool post)
{
    const struct fault *f = &faults[which];
    const struct bad_call c = {
        .post = post, .rest = "x", .order = "order", .limit_ms = f->limit_ms};
    for (unsigned i = HEADS; i <= SERVED; i++) {
        weir_store_release_u32(&r->shared->count[i], 0);
    }
    if (f->setting != 0) {
        settle_on(r, w, &c, which);
    }
    weir_store_release_u32(&r->shared->count[FAULT], which);
    const struct bad_end end = bad_call(r, w, &c);
    bad_judge(r, f->name, &c, &end, post ? f->post : f->get, f->status);
    uint32_t arrived = weir_load_acquire_u32(&r->shared->count[HEADS]);
    uint32_t sends = end.answer.sends;
    rig_check(r, sends >= arrived && end.charged == sends, __FILE__, __LINE__,
              "%s %s: %u sends, %u charged, %u arrived", post ? "POST" : "GET", f->name, sends,
              end.charged, arrived);
    rig_check(r, !post || (arrived <= 1 && sends <= 1), __FILE__, __LINE__,
              "POST %s: %u arrived, %u sends", f->name, arrived, sends);
    weir_store_release_u32(&r->shared->count[FAULT], 0);
    struct bad_call next = c;
    next.limit_ms = ANY_MS;
    bad_fine(r, w, f->name, &next);
}

int main(int argc, char **argv)
{
    struct rig *r = &rig;
    char path[512];
    char endpoint[512];
    EVP_PKEY *key;
    rig_open(r, "bad_h2", argc, argv, 110);
    (void)snprintf(path, sizeof path, "%s/good.pem", r->dir);
    X509 *good = tls_certificate_make(path, &key);
    (void)snprintf(endpoint, sizeof endpoint,
                   "url: \"https://127.0.0.1:%u\", http: 2, ca_file: %s/good.pem",
                   tls_server_start(r, good, key, "\2h2", 0, serve), r->dir);
    bad_config(r, endpoint);
    rig_weird_start(r);
    struct weir *w = rig_attach(r, WEIR_ROLE_TRADER);
    one(r, w, 0, false);
    const struct bad_worker before = bad_worker_look(r);
    for (uint32_t i = 0; i < WEIR_ARRAY_CNT(faults); i++) {
        one(r, w, i, false);
        one(r, w, i, true);
    }
    (void)printf("%zu faults\n", WEIR_ARRAY_CNT(faults));
    bad_worker_judge(r, &before, GROWN_MAX_KIB);
    weir_close(w);
    CHECK_INT(r, rig_weird_stop(r, 5000), 0);
    X509_free(good);
    EVP_PKEY_free(key);
    return rig_close(r);
}
