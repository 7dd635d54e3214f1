#include "broker/h2_end.h"

#include <dlfcn.h>
#include <openssl/ssl.h>
#include <stdlib.h>

#define HEAD_BYTES 9U

/* Frames and flags that matter here: RFC 9113, 6. */
enum { FRAME_DATA = 0, FRAME_HEADERS = 1, FRAME_RST_STREAM = 3 };
enum { FLAG_END_STREAM = 1, FLAG_PADDED = 8 };

struct h2_reader {
    unsigned refs;
    uint32_t past;   /* the highest stream that was answered before the request under way */
    uint32_t stream; /* of the answer; 0: nothing of it came */
    bool ended;      /* END_STREAM, and the whole frame that bears it */
    bool reset;
    uint64_t body_bytes;
    /* the frame under way */
    uint8_t head[HEAD_BYTES];
    uint32_t head_bytes;     /* of it, that came */
    uint32_t left_bytes;     /* of its payload, that did not come */
    uint32_t idle_cnt;       /* frames of this call that were no part of a body */
    bool pads;               /* the payload begins with the number of bytes that are none */
    void (*told)(void *arg); /* whom the end is told */
    void *arg;
};

enum { MARK_END = 0, MARK_FRAMES = 1 };
static char marks[2]; /* their addresses count */

static int (*real_read)(SSL *ssl, void *buffer, int bytes);
static int ctx_index = -1; /* what is read along on its connections: one of `marks` */
static int ssl_index = -1; /* a connection's reader */

/* ---------------------------------------------------------------------------------------------- frames */

struct h2_reader *h2_reader_make(void)
{
    struct h2_reader *r = calloc(1, sizeof *r);
    if (r != NULL) {
        r->refs = 1;
    }
    return r;
}

static uint32_t stream_of(const struct h2_reader *r)
{
    return ((uint32_t)r->head[5] << 24 | (uint32_t)r->head[6] << 16 | (uint32_t)r->head[7] << 8 |
            r->head[8]) &
           0x7fffffffU;
}

/* The frame's payload is there. */
static void frame_over(struct h2_reader *r)
{
    uint32_t stream = stream_of(r);
    uint8_t type = r->head[3];
    r->head_bytes = 0;
    if (stream == 0 || stream != r->stream || r->ended) {
        return;
    }
    r->reset = r->reset || type == FRAME_RST_STREAM;
    r->ended = !r->reset && (type == FRAME_DATA || type == FRAME_HEADERS) &&
               (r->head[4] & FLAG_END_STREAM) != 0;
    if (r->ended && r->told != NULL) {
        r->told(r->arg);
    }
}

/* The nine bytes of its head are there. */
static void frame_begins(struct h2_reader *r)
{
    uint32_t stream = stream_of(r);
    uint8_t type = r->head[3];
    r->left_bytes = (uint32_t)r->head[0] << 16 | (uint32_t)r->head[1] << 8 | r->head[2];
    r->pads = false;
    r->idle_cnt++;
    if (r->stream == 0 && type == FRAME_HEADERS && stream > r->past) {
        r->stream = stream; /* the head of the answer */
    }
    if (type == FRAME_DATA && stream == r->stream && !r->ended && !r->reset) {
        r->body_bytes += r->left_bytes;
        r->idle_cnt -= r->left_bytes > 0;
        r->pads = (r->head[4] & FLAG_PADDED) != 0 && r->left_bytes > 0;
    }
    if (r->left_bytes == 0) {
        frame_over(r);
    }
}

bool h2_reader_take(struct h2_reader *r, const uint8_t *at, size_t bytes)
{
    while (bytes > 0) { /* each turn takes one at least */
        size_t n = 1;
        if (r->head_bytes < HEAD_BYTES) {
            r->head[r->head_bytes++] = *at;
            if (r->head_bytes == HEAD_BYTES) {
                frame_begins(r);
            }
        } else {
            if (r->pads) {
                uint64_t none = 1U + *at; /* more than there is: nghttp2 refuses that */
                r->body_bytes -= none < r->left_bytes ? none : r->left_bytes;
                r->idle_cnt += none >= r->left_bytes; /* padding alone brings nothing */
                r->pads = false;
            }
            n = bytes < r->left_bytes ? bytes : r->left_bytes;
            r->left_bytes -= (uint32_t)n;
            if (r->left_bytes == 0) {
                frame_over(r);
            }
        }
        at += n;
        bytes -= n;
    }
    return r->idle_cnt <= H2_IDLE_FRAMES_MAX;
}

void h2_reader_begin(struct h2_reader *r)
{
    r->past = r->stream > r->past ? r->stream : r->past;
    r->stream = 0;
    r->ended = false;
    r->reset = false;
    r->body_bytes = 0;
    r->idle_cnt = 0;
}

bool h2_end_is_whole(const struct h2_reader *reader, uint64_t body_bytes)
{
    return reader != NULL && reader->ended && reader->body_bytes == body_bytes;
}

void h2_reader_free(struct h2_reader *reader)
{
    if (reader != NULL && --reader->refs == 0) {
        free(reader);
    }
}

void h2_end_drop(struct h2_reader *reader)
{
    if (reader != NULL) {
        reader->told = NULL;
        h2_reader_free(reader);
    }
}

/* ---------------------------------------------------------------------------------------------- connections */

/* Its prototype is OpenSSL's. The definition that the dynamic linker finds first, for libcurl too: the linker exports it because libcurl asks for it. */
__attribute__((visibility("default"))) int SSL_read(SSL *ssl, void *buffer, int bytes)
{
    if (real_read == NULL) { /* a program that never asked for HTTP/2 */
        *(void **)&real_read = dlsym(RTLD_NEXT, "SSL_read");
    }
    int got = real_read(ssl, buffer, bytes);
    const char *mark = ssl_index >= 0 ? SSL_CTX_get_ex_data(SSL_get_SSL_CTX(ssl), ctx_index) : NULL;
    if (got == 0 && mark != NULL && SSL_get_error(ssl, 0) == SSL_ERROR_SYSCALL) {
        return -1; /* the connection is gone, and TLS did not say so: curl takes 0 for an end */
    }
    if (got > 0 && mark == &marks[MARK_FRAMES]) {
        struct h2_reader *r = SSL_get_ex_data(ssl, ssl_index);
        if (r == NULL) {
            r = h2_reader_make(); /* without memory nothing is seen, so nothing is whole */
            if (r != NULL && SSL_set_ex_data(ssl, ssl_index, r) != 1) {
                h2_reader_free(r);
                r = NULL;
            }
        }
        if (r != NULL && !h2_reader_take(r, buffer, (size_t)got)) {
            SSL_set_shutdown(ssl, SSL_RECEIVED_SHUTDOWN); /* what is read next is the end */
        }
    }
    return got;
}

/* The connection is gone. */
static void on_free(void *parent, void *reader, CRYPTO_EX_DATA *ad, int index, long argl,
                    void *argp)
{
    (void)parent;
    (void)ad;
    (void)index;
    (void)argl;
    (void)argp;
    h2_reader_free(reader);
}

bool h2_end_open(void)
{
    if (ssl_index >= 0) {
        return true;
    }
    *(void **)&real_read = dlsym(RTLD_NEXT, "SSL_read");
    if (real_read == NULL || dlsym(RTLD_DEFAULT, "SSL_read") != (void *)(uintptr_t)SSL_read) {
        return false;
    }
    ctx_index = SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, NULL);
    ssl_index = SSL_get_ex_new_index(0, NULL, NULL, NULL, on_free);
    return ctx_index >= 0 && ssl_index >= 0;
}

bool h2_end_watch(void *ssl_ctx, bool http2)
{
    char *mark = &marks[http2 ? MARK_FRAMES : MARK_END];
    return ctx_index < 0 || SSL_CTX_set_ex_data(ssl_ctx, ctx_index, mark) == 1;
}

struct h2_reader *h2_end_begin(void *ssl, void (*ended)(void *arg), void *arg)
{
    if (ssl == NULL || ssl_index < 0 ||
        SSL_CTX_get_ex_data(SSL_get_SSL_CTX(ssl), ctx_index) != &marks[MARK_FRAMES]) {
        return NULL;
    }
    struct h2_reader *r = SSL_get_ex_data(ssl, ssl_index);
    if (r == NULL) { /* nothing was read from it yet */
        r = h2_reader_make();
        if (r == NULL || SSL_set_ex_data(ssl, ssl_index, r) != 1) {
            h2_reader_free(r);
            return NULL;
        }
    }
    h2_reader_begin(r);
    r->told = ended;
    r->arg = arg;
    r->refs++;
    return r;
}
