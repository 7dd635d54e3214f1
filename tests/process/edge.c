#include "edge.h"

#include "program.h"

#include <netinet/tcp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define PAIRS_MAX 512U

/* ---------------------------------------------------------------------------------------------- nginx */

static const char *host_of(const struct edge *e)
{
    return e->host != NULL ? e->host : "127.0.0.1";
}

void edge_start(struct rig *r, struct edge *e, uint16_t exchange_port)
{
    char tls[160] = "";
    char http[1024];
    e->port = e->port == 0 ? program_port(r) : e->port;
    if (e->tls) {
        (void)snprintf(tls, sizeof tls,
                       "    ssl_certificate %s.pem;\n    ssl_certificate_key %s.key;\n", e->name,
                       e->name);
    }
    (void)snprintf(http, sizeof http,
                   "  access_log off;\n"
                   "  upstream exchange { server 127.0.0.1:%u; keepalive 256; }\n"
                   "  server {\n    listen %s:%u backlog=512%s;\n%s"
                   "    location / {\n      proxy_pass http://exchange;\n"
                   "      proxy_http_version 1.1;\n      proxy_set_header Connection \"\";\n"
                   "      proxy_next_upstream off;\n      proxy_ignore_client_abort on;\n    }\n"
                   "  }\n",
                   exchange_port, host_of(e), e->port, e->tls ? " ssl" : "", tls);
    /* With a master: it is what takes another certificate, and ends old connections, while it runs. */
    const struct program_nginx nginx = {
        .name = e->name, .err = "edge.err", .master = e->tls, .connections = 2048, .http = http};
    e->pid = program_nginx_start(r, &nginx);
    program_await(r, e->pid, host_of(e), e->port, "nginx", "edge.err");
}

void edge_signal(struct edge *e, int signal)
{
    (void)kill(-e->pid, signal);
    if (signal == SIGKILL) {
        (void)rig_wait(e->pid, 5000);
        e->pid = 0;
    }
}

static void pem_write(struct rig *r, const char *name, const char *suffix, X509 *x, EVP_PKEY *key)
{
    char path[160];
    (void)snprintf(path, sizeof path, "%s/%s%s", r->dir, name, suffix);
    FILE *f = fopen(path, "we");
    if (f == NULL ||
        (x != NULL ? PEM_write_X509(f, x)
                   : PEM_write_PrivateKey(f, key, NULL, NULL, 0, NULL, NULL)) != 1 ||
        fclose(f) != 0) {
        program_give_up(r, path);
    }
}

void edge_certificate(struct rig *r, const struct edge *e, const char *host)
{
    char ca[160];
    X509 *x = X509_new();
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509_NAME *name = x != NULL ? X509_get_subject_name(x) : NULL;
    X509_EXTENSION *alt = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, host);
    if (name == NULL || key == NULL || alt == NULL || X509_set_version(x, 2) != 1 ||
        ASN1_INTEGER_set(X509_get_serialNumber(x), 1) != 1 ||
        X509_gmtime_adj(X509_getm_notBefore(x), -7200) == NULL ||
        X509_gmtime_adj(X509_getm_notAfter(x), 86400) == NULL ||
        X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)host, -1, -1,
                                   0) != 1 ||
        X509_set_issuer_name(x, name) != 1 || X509_add_ext(x, alt, -1) != 1 ||
        X509_set_pubkey(x, key) != 1 || X509_sign(x, key, EVP_sha256()) == 0) {
        program_give_up(r, "certificate");
    }
    pem_write(r, e->name, ".pem", x, NULL);
    pem_write(r, e->name, ".key", NULL, key);
    (void)snprintf(ca, sizeof ca, "%s/%s.ca.pem", r->dir, e->name);
    if (access(ca, F_OK) != 0) {
        pem_write(r, e->name, ".ca.pem", x, NULL);
    }
    X509_EXTENSION_free(alt);
    X509_free(x);
    EVP_PKEY_free(key);
}

/* A kept connection, over which one call was made. */
static SSL *kept_connection(SSL_CTX *ctx, const struct edge *e)
{
    static const char ask[] = "GET /api/v3/ping HTTP/1.1\r\nHost: edge\r\n\r\n";
    char answer[4096];
    int fd = program_connect(host_of(e), e->port);
    SSL *ssl = fd >= 0 ? SSL_new(ctx) : NULL;
    if (ssl == NULL || SSL_set_fd(ssl, fd) != 1 || SSL_connect(ssl) != 1 ||
        SSL_write(ssl, ask, sizeof ask - 1) <= 0 || SSL_read(ssl, answer, sizeof answer) <= 0) {
        SSL_free(ssl);
        (void)close(fd);
        return NULL;
    }
    return ssl;
}

void edge_reload(struct rig *r, const struct edge *e)
{
    char rest[4096];
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    SSL *old = ctx != NULL ? kept_connection(ctx, e) : NULL;
    if (old == NULL) {
        program_give_up(r, "a connection to the edge");
    }
    (void)kill(e->pid, SIGHUP);
    while (SSL_read(old, rest, sizeof rest) > 0) { /* the end: it is the new one's from here on */
    }
    (void)close(SSL_get_fd(old));
    SSL_free(old);
    SSL_CTX_free(ctx);
}

/* ---------------------------------------------------------------------------------------------- the forwarder */

/* A connection of weir's and one to the edge. An answer that is late waits here. */
struct pair {
    int weir, edge;
    uint64_t due_ns;
    size_t held_bytes;
    char held[16384];
};

static void drop(struct pair *p, bool reset)
{
    const struct linger now = {.l_onoff = 1, .l_linger = 0};
    if (reset) {
        (void)setsockopt(p->weir, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    }
    (void)close(p->weir);
    (void)close(p->edge);
    p->weir = -1;
}

static bool pass(int to, const char *bytes, size_t cnt)
{
    while (cnt > 0) {
        ssize_t n = send(to, bytes, cnt, MSG_NOSIGNAL);
        if (n <= 0) {
            return false;
        }
        bytes += n;
        cnt -= (size_t)n;
    }
    return true;
}

/* Something came from one side. False: the pair is over. */
static bool relay(struct pair *p, bool answer, uint32_t mode)
{
    char *at = p->held + p->held_bytes;
    size_t room = sizeof p->held - p->held_bytes;
    char ask[16384];
    ssize_t n = recv(answer ? p->edge : p->weir, answer ? at : ask, answer ? room : sizeof ask, 0);
    if (n <= 0) {
        return false;
    }
    if (!answer) {
        return pass(p->edge, ask, (size_t)n);
    }
    if (mode == FORWARD_HALF) {
        (void)pass(p->weir, at, (size_t)n - 1);
        return false;
    }
    if (mode == FORWARD_SLOW) {
        p->due_ns =
            p->held_bytes == 0 ? rig_now_ns() + FORWARD_DELAY_MS * WEIR_NS_PER_MS : p->due_ns;
        p->held_bytes += (size_t)n;
        return p->held_bytes < sizeof p->held;
    }
    return pass(p->weir, at, (size_t)n);
}

static void let_in(struct pair *pair, int fd, uint16_t port, uint32_t mode)
{
    const int one = 1;
    int weir = accept(fd, NULL, NULL);
    for (unsigned i = 0; weir >= 0 && i < PAIRS_MAX; i++) {
        if (pair[i].weir >= 0) {
            continue;
        }
        pair[i].weir = weir;
        pair[i].held_bytes = 0;
        pair[i].edge = program_connect("127.0.0.1", port);
        (void)setsockopt(weir, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        (void)setsockopt(pair[i].edge, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        if (pair[i].edge < 0 || mode == FORWARD_RESET) {
            drop(&pair[i], true);
        }
        return;
    }
    (void)close(weir);
}

/* What is late and due goes on. Returns for how long there is nothing to do, in ms, 2 at most: the mode may change. */
static int flush(struct pair *pair)
{
    for (unsigned i = 0; i < PAIRS_MAX; i++) {
        struct pair *p = &pair[i];
        if (p->weir >= 0 && p->held_bytes > 0 && rig_now_ns() >= p->due_ns) {
            bool good = pass(p->weir, p->held, p->held_bytes);
            p->held_bytes = 0;
            if (!good) {
                drop(p, false);
            }
        }
    }
    return 2;
}

static void reset_all(struct pair *pair)
{
    for (unsigned i = 0; i < PAIRS_MAX; i++) {
        if (pair[i].weir >= 0) {
            drop(&pair[i], true);
        }
    }
}

/* One look at all connections. */
static void turn(struct pair *pair, int fd, uint16_t port, uint32_t mode)
{
    static struct pollfd at[2 * PAIRS_MAX + 1];
    static unsigned of[2 * PAIRS_MAX + 1];
    nfds_t cnt = 1;
    at[0] = (struct pollfd){.fd = fd, .events = POLLIN};
    for (unsigned i = 0; i < PAIRS_MAX; i++) {
        if (pair[i].weir >= 0) {
            of[cnt] = of[cnt + 1] = i;
            at[cnt++] = (struct pollfd){.fd = pair[i].weir, .events = POLLIN};
            at[cnt++] = (struct pollfd){.fd = pair[i].edge, .events = POLLIN};
        }
    }
    if (poll(at, cnt, flush(pair)) <= 0) {
        return;
    }
    for (nfds_t k = 1; k < cnt; k++) {
        struct pair *p = &pair[of[k]];
        if (at[k].revents != 0 && p->weir >= 0 && !relay(p, k % 2 == 0, mode)) {
            drop(p, false);
        }
    }
    if (at[0].revents != 0) {
        let_in(pair, fd, port, mode);
    }
}

static _Noreturn void forward(int fd, uint16_t port, uint32_t *mode)
{
    static struct pair pair[PAIRS_MAX];
    uint32_t was = FORWARD_ALL;
    for (unsigned i = 0; i < PAIRS_MAX; i++) {
        pair[i].weir = -1;
    }
    for (;;) {
        uint32_t is = weir_load_acquire_u32(mode);
        if (is != was) {
            (void)listen(fd, is == FORWARD_NOTHING ? 0 : 512); /* Linux: takes effect at once */
            was = is;
            if (is == FORWARD_RESET) {
                reset_all(pair);
            }
        }
        if (is == FORWARD_NOTHING) {
            rig_sleep_ms(1);
        } else {
            turn(pair, fd, port, is);
        }
    }
}

void forwarder_start(struct rig *r, struct forwarder *f, uint16_t port)
{
    int fd = program_socket(r, &f->port);
    f->mode =
        mmap(NULL, sizeof *f->mode, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (f->mode == MAP_FAILED || listen(fd, 512) != 0) {
        program_give_up(r, "forwarder");
    }
    (void)fflush(stdout);
    f->pid = fork();
    if (f->pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        (void)alarm(0);
        forward(fd, port, f->mode);
    }
    (void)close(fd);
}

int forwarder_knock(const struct forwarder *f)
{
    const struct sockaddr_in to = program_loopback(f->port);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    (void)connect(fd, (const struct sockaddr *)&to, sizeof to);
    return fd;
}
