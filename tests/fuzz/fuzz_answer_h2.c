/*
 * fuzz_answer_h2.c: a server of HTTP/2 over TLS that does what the input says, before all of the broker (answer_world.h): a real worker, libcurl and its nghttp2, OpenSSL at both ends.
 *
 * First byte: the route (bits 0 to 2); TLS 1.2 (bit 3) and HTTP/1.1 (bit 4) for connections to come; the rest are bytes as they stand, not steps (bit 5); another thread's order comes beside it (bit
 * 7). Second byte: what the server does behind its last step (bits 0 and 1: close with TLS' farewell, without, reset, wait); it leaves when it is told to (bit 2). The rest are steps, at the
 * arrival of a request: frames well made and not, heads, bytes into TLS and beneath it, its tickets, keys and renegotiations.
 *
 * Oracle: answer_world's; DONE over HTTP/2 only where a connection's bytes, read again by tests/support/h2.c, hold an END_STREAM of that call's stream, with a body of that length before it; the unit of a limit of
 * one in flight comes back; not more connections at a time than the endpoint may have.
 */
#include "answer_world.h"
#include "h2.h"
#include "shm/weir_attach.h"
#include "shm/weir_types.h"
#include "stage.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

#define CONNECTIONS 16U
#define INPUT_MAX   65536U

enum { HOW_TLS12 = 8, HOW_HTTP1 = 16, HOW_RAW = 32, HOW_OPERATED = 128 };
enum { END_CLOSE = 0, END_CUT = 1, END_RESET = 2, END_WAIT = 3, END_MASK = 3, LEAVES = 4 };

struct connection {
    SSL *ssl; /* NULL: none */
    int fd;
    bool is_h2, stands, greeted;
    bool served;     /* this input's answer was written to it */
    uint32_t stream; /* that was asked for last */
    uint8_t in[8192];
    size_t in_bytes;
    uint8_t said[INPUT_MAX]; /* behind the handshake, frames */
    size_t said_bytes;
    uint8_t out[INPUT_MAX]; /* of the next TLS record */
    size_t out_bytes;
};

/* `lock` guards all of it. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct connection connections[CONNECTIONS];
static uint8_t input[INPUT_MAX]; /* a copy: a late request finds it when its input is gone */
static size_t input_bytes;
static uint8_t how, manner;
static int listener;
static SSL_CTX *ctx;

/* ---------------------------------------------------------------------------------------------- what it writes */

static void close_one(struct connection *c, unsigned end)
{
    const struct linger hard = {.l_onoff = 1};
    if (end == END_CLOSE && c->stands) {
        (void)SSL_shutdown(c->ssl);
    } else if (end == END_RESET) {
        (void)setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
    }
    (void)close(c->fd);
    SSL_free(c->ssl);
    c->ssl = NULL;
    c->fd = -1;
}

static void flush(struct connection *c)
{
    if (c->out_bytes > 0 && SSL_write(c->ssl, c->out, (int)c->out_bytes) > 0) {
        size_t n = c->out_bytes < sizeof c->said - c->said_bytes ? c->out_bytes
                                                                 : sizeof c->said - c->said_bytes;
        memcpy(c->said + c->said_bytes, c->out, n);
        c->said_bytes += n;
    }
    c->out_bytes = 0;
}

static void put(struct connection *c, const void *at, size_t bytes)
{
    if (c->out_bytes + bytes > sizeof c->out) {
        flush(c);
    }
    memcpy(c->out + c->out_bytes, at, bytes);
    c->out_bytes += bytes;
}

static void frame(struct connection *c, unsigned type, unsigned flags, uint32_t stream,
                  const void *at, size_t bytes)
{
    uint8_t whole[H2_HEAD_BYTES + 4096];
    put(c, whole, h2_frame(whole, type, flags, stream, at, bytes));
}

/* Heads that servers send, and some that they should not. */
static const char *const heads[][6] = {
    {":status", "200", "content-length", "4"},
    {":status", "200"},
    {":status", "429", "retry-after", "0"},
    {":status", "503"},
    {":status", "103", "link", "x"},
    {":status", "204"},
    {":status", "304", "content-length", "9"},
    {":status", "200", "content-length", "4", "x-used", "3"},
    {":status", "200", "x-stop", "1"},
    {":status", "200", "content-encoding", "gzip"},
    {":status", "200", "cache-control", "max-age=1", "vary", "*"},
    {":status", "101"},
    {"x-trailer", "1"},
    {":status", "999", "content-length", "5000"},
    {":status", "200", "content-length", "4", "content-length", "5"},
    {":status", "407", "transfer-encoding", "chunked"},
};

static void head(struct connection *c, unsigned flags, uint32_t stream, unsigned which)
{
    uint8_t block[512];
    size_t n = 0;
    const char *const *field = heads[which % (sizeof heads / sizeof *heads)];
    for (unsigned i = 0; i < 6 && field[i] != NULL; i += 2) {
        n += h2_field(block + n, field[i], field[i + 1]);
    }
    frame(c, H2_HEADERS, flags, stream, block, n);
}

/* What TLS itself can be made to do. */
static void tls_step(struct connection *c, unsigned which)
{
    flush(c);
    switch (which & 3U) {
    case 0:
        (void)SSL_key_update(c->ssl, (which & 4U) != 0 ? SSL_KEY_UPDATE_REQUESTED
                                                       : SSL_KEY_UPDATE_NOT_REQUESTED);
        break;
    case 1:
        (void)SSL_new_session_ticket(c->ssl);
        break;
    case 2:
        (void)SSL_renegotiate(c->ssl);
        break;
    default:
        break;
    }
    (void)SSL_do_handshake(c->ssl);
}

/* One step of the input. */
static void step(struct connection *c, struct stage_input *in)
{
    uint8_t op = stage_byte(in);
    uint8_t flags = stage_byte(in);
    uint32_t stream = (flags & 0x40U) != 0 ? 0 : c->stream + ((flags & 0x80U) != 0 ? 2U : 0U);
    uint8_t at[256];
    size_t n = 0;
    flags &= 0x2f;
    if ((op & 15U) <= 2 || (op & 15U) >= 9) {
        n = stage_byte(in);
        n = n < in->left ? n : in->left;
        memcpy(at, in->at, n);
    }
    switch (op & 15U) {
    case 0:
        frame(c, H2_DATA, flags, stream, at, n);
        break;
    case 1:
        head(c, flags, stream, (unsigned)n);
        n = 0;
        break;
    case 2:
        frame(c, H2_HEADERS, flags, stream, at, n);
        break;
    case 3:
        put(c, at, h2_number(at, H2_RST_STREAM, stream, stage_byte(in)));
        break;
    case 4:
        put(c, at, h2_setting(at, stage_byte(in), stage_u32(in)));
        break;
    case 5:
        frame(c, H2_PUSH_PROMISE, flags, stream, "\0\0\0\2\x82\x84\x87\x41\1x", 10);
        break;
    case 6:
        frame(c, H2_PING, flags, (flags & 2U) != 0 ? stream : 0, "12345678", 8);
        break;
    case 7:
        put(c, at, h2_goaway(at, (flags & 2U) != 0 ? 0 : stream, stage_byte(in)));
        break;
    case 8:
        put(c, at, h2_number(at, H2_WINDOW_UPDATE, stream, stage_u32(in)));
        break;
    case 9:
        frame(c, H2_CONTINUATION, flags, stream, at, n);
        break;
    case 10: /* any frame */
        frame(c, op >> 4, flags, stream, at, n);
        break;
    case 11:
        flush(c);
        n = 0;
        break;
    case 12: /* bytes where a frame should begin */
        put(c, at, n);
        break;
    case 13: /* beneath TLS */
        flush(c);
        (void)send(c->fd, at, n, MSG_NOSIGNAL | MSG_DONTWAIT);
        break;
    case 14:
        tls_step(c, (unsigned)n);
        n = 0;
        break;
    default: {
        const struct timespec nap = {.tv_nsec = 50000};
        flush(c);
        (void)nanosleep(&nap, NULL);
        n = 0;
        break;
    }
    }
    in->at += n;
    in->left -= n;
}

static void answer_write(struct connection *c)
{
    struct stage_input in = {input, input_bytes};
    c->served = true;
    if (!c->is_h2 || (how & HOW_RAW) != 0) {
        put(c, input, input_bytes);
    } else {
        for (unsigned i = 0; i < 256 && in.left > 0; i++) {
            step(c, &in);
        }
    }
    flush(c);
    if ((manner & END_MASK) != END_WAIT) {
        close_one(c, manner & END_MASK);
    }
}

/* ---------------------------------------------------------------------------------------------- what it reads */

static bool frames_read(struct connection *c)
{
    struct h2_frame f;
    size_t at = 0;
    bool asked = false;
    bool farewell = false;
    if (!c->greeted && c->in_bytes >= H2_PREFACE_BYTES) {
        c->greeted = true;
        at = H2_PREFACE_BYTES;
        frame(c, H2_SETTINGS, 0, 0, NULL, 0);
    }
    for (size_t n; c->greeted && (n = h2_read(c->in + at, c->in_bytes - at, &f)) > 0; at += n) {
        if (f.type == H2_HEADERS) {
            c->stream = f.stream;
        } else if (f.type == H2_SETTINGS && (f.flags & H2_ACK) == 0) {
            frame(c, H2_SETTINGS, H2_ACK, 0, NULL, 0);
        }
        farewell = farewell || f.type == H2_GOAWAY;
        asked = asked ||
                ((f.type == H2_HEADERS || f.type == H2_DATA) && (f.flags & H2_END_STREAM) != 0);
    }
    memmove(c->in, c->in + at, c->in_bytes - at);
    c->in_bytes -= at;
    flush(c);
    if (farewell && (manner & LEAVES) != 0) {
        close_one(c, END_CLOSE);
        return false;
    }
    return asked;
}

static void readable(struct connection *c)
{
    if (!c->stands) {
        int rc = SSL_accept(c->ssl);
        if (rc != 1 && SSL_get_error(c->ssl, rc) == SSL_ERROR_WANT_READ) {
            return;
        }
        const unsigned char *name;
        unsigned bytes;
        SSL_get0_alpn_selected(c->ssl, &name, &bytes);
        c->is_h2 = bytes == 2;
        c->stands = rc == 1;
        if (rc != 1) {
            close_one(c, END_CUT);
            return;
        }
    }
    int n;
    while (c->ssl != NULL && c->in_bytes < sizeof c->in &&
           (n = SSL_read(c->ssl, c->in + c->in_bytes, (int)(sizeof c->in - c->in_bytes))) > 0) {
        c->in_bytes += (size_t)n;
        if (c->is_h2 ? frames_read(c) : memmem(c->in, c->in_bytes, "\r\n\r\n", 4) != NULL) {
            c->in_bytes = c->is_h2 ? c->in_bytes : 0;
            answer_write(c);
        }
    }
    if (c->ssl != NULL &&
        (c->in_bytes == sizeof c->in || SSL_get_error(c->ssl, n) != SSL_ERROR_WANT_READ)) {
        close_one(c, END_CUT);
    }
}

static void arrive(void)
{
    unsigned i = 0;
    const int yes = 1;
    while (i < CONNECTIONS && connections[i].ssl != NULL) {
        i++;
    }
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    stage_must(i < CONNECTIONS); /* more than the endpoint may have: something leaks */
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    struct connection *c = &connections[i];
    c->fd = fd;
    c->ssl = SSL_new(ctx);
    c->is_h2 = c->stands = c->greeted = c->served = false;
    c->stream = 0;
    c->in_bytes = c->said_bytes = c->out_bytes = 0;
    stage_must(c->ssl != NULL && SSL_set_fd(c->ssl, fd) == 1);
    if ((how & HOW_TLS12) != 0) {
        stage_must(SSL_set_max_proto_version(c->ssl, TLS1_2_VERSION) == 1);
    }
}

static void *serve(void *arg)
{
    (void)arg;
    for (;;) {
        struct pollfd p[CONNECTIONS + 1];
        p[CONNECTIONS] = (struct pollfd){.fd = listener, .events = POLLIN};
        (void)pthread_mutex_lock(&lock);
        for (unsigned i = 0; i < CONNECTIONS; i++) {
            p[i] = (struct pollfd){.fd = connections[i].ssl != NULL ? connections[i].fd : -1,
                                   .events = POLLIN};
        }
        (void)pthread_mutex_unlock(&lock);
        (void)poll(p, CONNECTIONS + 1, 1000);
        (void)pthread_mutex_lock(&lock);
        for (unsigned i = 0; i < CONNECTIONS; i++) {
            if (p[i].revents != 0 && connections[i].ssl != NULL && connections[i].fd == p[i].fd) {
                readable(&connections[i]);
            }
        }
        if (p[CONNECTIONS].revents != 0) {
            arrive();
        }
        (void)pthread_mutex_unlock(&lock);
    }
    return NULL;
}

/* ---------------------------------------------------------------------------------------------- once */

static int on_agree(SSL *ssl, const unsigned char **out, unsigned char *bytes,
                    const unsigned char *in, unsigned in_bytes, void *arg)
{
    static const unsigned char h2[] = "\2h2";
    (void)ssl;
    (void)in;
    (void)in_bytes;
    (void)arg;
    if ((how & HOW_HTTP1) != 0) {
        return SSL_TLSEXT_ERR_NOACK;
    }
    *out = h2 + 1;
    *bytes = 2;
    return SSL_TLSEXT_ERR_OK;
}

/* A server for 127.0.0.1 that signs for itself; its certificate lies at `path`. */
static void tls_open(const char *path)
{
    X509 *x = X509_new();
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509_NAME *name = X509_get_subject_name(x);
    X509_EXTENSION *alt = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, "IP:127.0.0.1");
    FILE *f = fopen(path, "we");
    stage_must(alt != NULL && f != NULL && X509_set_version(x, 2) == 1 &&
               ASN1_INTEGER_set(X509_get_serialNumber(x), 1) == 1 &&
               X509_gmtime_adj(X509_getm_notBefore(x), -7200) != NULL &&
               X509_gmtime_adj(X509_getm_notAfter(x), 864000) != NULL &&
               X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)"fuzz",
                                          -1, -1, 0) == 1 &&
               X509_set_issuer_name(x, name) == 1 && X509_add_ext(x, alt, -1) == 1 &&
               X509_set_pubkey(x, key) == 1 && X509_sign(x, key, EVP_sha256()) > 0 &&
               PEM_write_X509(f, x) == 1 && fclose(f) == 0);
    ctx = SSL_CTX_new(TLS_server_method());
    stage_must(ctx != NULL && SSL_CTX_use_certificate(ctx, x) == 1 &&
               SSL_CTX_use_PrivateKey(ctx, key) == 1);
    SSL_CTX_set_alpn_select_cb(ctx, on_agree, NULL);
    X509_EXTENSION_free(alt);
    X509_free(x);
    EVP_PKEY_free(key);
}

static void begin(void)
{
    char path[96];
    char endpoint[192];
    unsigned port;
    listener = world_listen(&port);
    (void)snprintf(path, sizeof path, "%s/ca.pem", stage_dir());
    tls_open(path);
    (void)snprintf(endpoint, sizeof endpoint, "url: \"https://127.0.0.1:%u\", http: 2, ca_file: %s",
                   port, path);
    world_open(endpoint, serve);
}

/* ---------------------------------------------------------------------------------------------- a call */

/* Did this connection say, to its end, an answer of this length? To any of its calls: an earlier one's may be the best that there is. */
static bool has_said(const struct connection *c, uint64_t body_bytes)
{
    for (uint32_t stream = 1; c->served && stream <= c->stream; stream += 2) {
        struct h2_said said = {.stream = stream};
        h2_judge(&said, c->said, c->said_bytes);
        if (said.ended && said.data_bytes == body_bytes) {
            return true;
        }
    }
    return c->served && !c->is_h2;
}

static bool was_said(uint64_t body_bytes)
{
    bool found = false;
    (void)pthread_mutex_lock(&lock);
    for (unsigned i = 0; i < CONNECTIONS; i++) {
        found = found || has_said(&connections[i], body_bytes);
    }
    (void)pthread_mutex_unlock(&lock);
    return found;
}

static struct weir_response call(unsigned which, const uint8_t *data, size_t bytes, uint8_t h,
                                 uint8_t m)
{
    (void)pthread_mutex_lock(&lock);
    input_bytes = bytes < sizeof input ? bytes : sizeof input;
    memcpy(input, data, input_bytes);
    how = h;
    manner = m;
    for (unsigned i = 0; i < CONNECTIONS; i++) {
        connections[i].served = false;
        if (connections[i].said_bytes > sizeof connections[i].said / 2 &&
            connections[i].ssl != NULL) {
            close_one(&connections[i], END_CLOSE); /* what it says next must fit, too */
        }
    }
    (void)pthread_mutex_unlock(&lock);
    struct weir_response a = world_call(which, (m & END_MASK) == END_WAIT);
    if (a.result == WEIR_RESULT_DONE && !was_said(a.body_bytes)) {
        (void)fprintf(stderr, "route %u: status %u, %zu bytes: nobody ended that\n", which,
                      a.status, a.body_bytes);
        abort();
    }
    return a;
}

/* The limit of one in flight was full: whoever holds it lets it go in time. */
static void goes_on(void)
{
    static const uint8_t fine[] = {1, H2_END_HEADERS | H2_END_STREAM, 5}; /* 204 */
    for (int i = 0; i < 5; i++) {
        world_go_on();
        if (call(0, fine, sizeof fine, 0, END_CLOSE).result == WEIR_RESULT_DONE) {
            return;
        }
    }
    abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    if (!world_is_open()) {
        begin();
    }
    if (bytes < 2) {
        return 0;
    }
    world_go_on();
    if ((data[0] & HOW_OPERATED) != 0) {
        world_operate(1U + data[1] % 6U, "p", data + 2, bytes - 2);
        world_operate(WEIR_OPERATION_UNBLOCK, "0", NULL, 0); /* it may have been us */
        world_go_on();
    }
    struct weir_response a = call(data[0] & 7U, data + 2, bytes - 2, data[0], data[1]);
    if (world_is_full(&a)) {
        goes_on();
    }
    return 0;
}
