/*
 * tls.c: whose certificate is believed, when no file can be opened any more.
 *
 * Oracle: OpenSSL's own server with certificates made here, and the count of requests that it read: a connection that is not believed carries none.
 */
#include "rig.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

enum { READ = 0, HANDSHAKES = 1 }; /* r->shared->count */

/* ---------------------------------------------------------------------------------------------- a server */

static void no(const char *what)
{
    (void)printf("could not set up: %s\n", what);
    (void)fflush(stdout);
    exit(99);
}

/* A certificate for `host` into PATH, and its key; it ends in so many seconds. Signed by itself, or by `issuer`. */
static X509 *certificate_for(const char *path, EVP_PKEY **key, const char *host, long ends_s,
                             X509 *issuer, EVP_PKEY *issuer_key)
{
    X509 *x = X509_new();
    *key = EVP_EC_gen("P-256");
    X509_NAME *name = x != NULL ? X509_get_subject_name(x) : NULL;
    X509_EXTENSION *alt = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, host);
    if (name == NULL || *key == NULL || alt == NULL || X509_set_version(x, 2) != 1 ||
        ASN1_INTEGER_set(X509_get_serialNumber(x), 1) != 1 ||
        X509_gmtime_adj(X509_getm_notBefore(x), -7200) == NULL ||
        X509_gmtime_adj(X509_getm_notAfter(x), ends_s) == NULL ||
        X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)path, -1, -1,
                                   0) != 1 ||
        X509_set_issuer_name(x, issuer != NULL ? X509_get_subject_name(issuer) : name) != 1 ||
        X509_add_ext(x, alt, -1) != 1 || X509_set_pubkey(x, *key) != 1 ||
        X509_sign(x, issuer_key != NULL ? issuer_key : *key, EVP_sha256()) == 0) {
        no("certificate");
    }
    X509_EXTENSION_free(alt);
    FILE *f = fopen(path, "we");
    if (f == NULL || PEM_write_X509(f, x) != 1 || fclose(f) != 0) {
        no(path);
    }
    return x;
}

static X509 *certificate_make(const char *path, EVP_PKEY **key)
{
    return certificate_for(path, key, "IP:127.0.0.1", 86400, NULL, NULL);
}

static void serve_one(struct rig_shared *shared, SSL_CTX *ctx, int fd)
{
    static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";
    char text[4096];
    size_t n = 0;
    SSL *ssl = SSL_new(ctx);
    if (ssl == NULL || SSL_set_fd(ssl, fd) != 1 || SSL_accept(ssl) != 1) {
        SSL_free(ssl);
        return;
    }
    (void)weir_fetch_add_u32(&shared->count[HANDSHAKES], 1);
    for (int got; (got = SSL_read(ssl, text + n, (int)(sizeof text - 1 - n))) > 0;) {
        n += (size_t)got;
        text[n] = '\0';
        if (strstr(text, "\r\n\r\n") != NULL) {
            (void)weir_fetch_add_u32(&shared->count[READ], 1);
            n = 0;
            if (SSL_write(ssl, answer, sizeof answer - 1) <= 0) {
                break;
            }
        }
    }
    SSL_free(ssl);
}

/* A process for each connection; all end with the test. */
static uint16_t server_start(struct rig *r, X509 *certificate, EVP_PKEY *key)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t bytes = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    if (fd < 0 || ctx == NULL || bind(fd, (const struct sockaddr *)&at, sizeof at) != 0 ||
        listen(fd, 64) != 0 || getsockname(fd, (struct sockaddr *)&at, &bytes) != 0 ||
        SSL_CTX_use_certificate(ctx, certificate) != 1 || SSL_CTX_use_PrivateKey(ctx, key) != 1) {
        no("server");
    }
    if (fork() == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        (void)signal(SIGCHLD, SIG_IGN);
        for (;;) {
            int one = accept(fd, NULL, NULL);
            if (one >= 0 && fork() == 0) {
                (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
                serve_one(r->shared, ctx, one);
                SSL_CTX_free(ctx);
                _exit(0);
            }
            (void)close(one);
        }
    }
    (void)close(fd);
    SSL_CTX_free(ctx);
    return ntohs(at.sin_port);
}

/* ---------------------------------------------------------------------------------------------- calls */

static void config(struct rig *r, const uint16_t port[7])
{
    char text[8192];
    (void)snprintf(
        text, sizeof text,
        "broker: {name: rig, wake: sleep}\n"
        "providers:\n"
        "  - name: good\n"
        "    limits: [{name: l, kind: token_bucket, quota: 1000, window: 1s}]\n"
        "    endpoints: [{name: a, url: \"https://127.0.0.1:%u\", ca_file: %s/good.pem}]\n"
        "    routes: [{name: x, method: GET, path: /x, cost: {l: 1}, timeout: 3s}]\n"
        "  - name: other\n" /* another's certificate is trusted */
        "    limits: [{name: l, kind: token_bucket, quota: 1000, window: 1s}]\n"
        "    endpoints: [{name: b, url: \"https://127.0.0.1:%u/b\", ca_file: %s/other.pem}]\n"
        "    routes: [{name: x, method: POST, path: /x, cost: {l: 1}, timeout: 3s}]\n"
        "  - name: system\n"
        "    limits: [{name: l, kind: token_bucket, quota: 1000, window: 1s}]\n"
        "    endpoints: [{name: c, url: \"https://127.0.0.1:%u/c\"}]\n"
        "    routes: [{name: x, method: GET, path: /x, cost: {l: 1}, timeout: 3s}]\n"
        "  - name: missing\n"
        "    limits: [{name: l, kind: token_bucket, quota: 1000, window: 1s}]\n"
        "    endpoints: [{name: d, url: \"https://127.0.0.1:%u/d\", ca_file: %s/nothing.pem}]\n"
        "    routes: [{name: x, method: GET, path: /x, cost: {l: 1}, timeout: 3s}]\n"
        "  - name: expired\n"
        "    limits: [{name: l, kind: token_bucket, quota: 1000, window: 1h}]\n"
        "    endpoints: [{name: e, url: \"https://127.0.0.1:%u/e\", ca_file: %s/expired.pem}]\n"
        "    routes: [{name: x, method: GET, path: /x, cost: {l: 1}, timeout: 3s}]\n"
        "  - name: host\n"
        "    limits: [{name: l, kind: token_bucket, quota: 1000, window: 1h}]\n"
        "    endpoints: [{name: f, url: \"https://127.0.0.1:%u/f\", ca_file: %s/host.pem}]\n"
        "    routes: [{name: x, method: GET, path: /x, cost: {l: 1}, timeout: 3s}]\n"
        "  - name: unknown\n" /* signed by somebody whom nobody believes */
        "    limits: [{name: l, kind: token_bucket, quota: 1000, window: 1h}]\n"
        "    endpoints: [{name: g, url: \"https://127.0.0.1:%u/g\", ca_file: %s/good.pem}]\n"
        "    routes: [{name: x, method: GET, path: /x, cost: {l: 1}, timeout: 3s}]\n",
        port[0], r->dir, port[1], r->dir, port[2], port[3], r->dir, port[4], r->dir, port[5],
        r->dir, port[6], r->dir);
    rig_config(r, text, 0);
}

static enum weir_result call(struct rig *r, struct weir *w, const char *route)
{
    const struct weir_request_spec spec = {.struct_bytes = sizeof spec,
                                           .route = rig_route(w, route)};
    struct weir_response a = {0};
    CHECK_INT(r, weir_call(w, &spec, weir_now_ns(w) + 3 * WEIR_NS_PER_S, &a), 0);
    (void)weir_release(w, a.ticket);
    return a.result;
}

static void believes(struct rig *r, struct weir *w)
{
    /* Also behind each other on kept connections: one provider's trust must not be another's. */
    for (int i = 0; i < 3; i++) {
        uint32_t read = weir_load_acquire_u32(&r->shared->count[READ]);
        CHECK_INT(r, call(r, w, "good.x"), WEIR_RESULT_DONE);
        CHECK_INT(r, weir_load_acquire_u32(&r->shared->count[READ]), read + 1);
        CHECK_INT(r, call(r, w, "other.x"), WEIR_RESULT_NOT_SENT);
        CHECK_INT(r, call(r, w, "system.x"), WEIR_RESULT_NOT_SENT);
        CHECK_INT(r, call(r, w, "missing.x"), WEIR_RESULT_NOT_SENT);
        CHECK_INT(r, weir_load_acquire_u32(&r->shared->count[READ]), read + 1);
    }
}

static uint32_t used(struct weir *w, const char *limit)
{
    uint32_t index = 0;
    struct weir_limit_info info = {0};
    (void)weir_limit_find(w, limit, &index);
    while (weir_limit_get(w, index, 0, &info) == WEIR_CONTENDED) {
    }
    return info.used_units;
}

/* Each with its own words for the operator, and nothing charged. */
static void refuses(struct rig *r, struct weir *w)
{
    static const struct {
        const char *route, *limit, *end, *reason;
    } all[] = {
        {"expired.x", "expired.l", "/e", "certificate has expired"},
        {"host.x", "host.l", "/f", "it is for another host"},
        {"unknown.x", "unknown.l", "/g", "unable to get local issuer certificate"},
        {"other.x", NULL, "/b", "self-signed certificate"},
    };
    uint32_t read = weir_load_acquire_u32(&r->shared->count[READ]);
    for (size_t i = 0; i < WEIR_ARRAY_CNT(all); i++) {
        char text[128];
        CHECK_INT(r, call(r, w, all[i].route), WEIR_RESULT_NOT_SENT);
        CHECK_INT(r, all[i].limit != NULL ? used(w, all[i].limit) : 0, 0);
        (void)snprintf(text, sizeof text, "%s\",\"reason\":\"%s\"", all[i].end, all[i].reason);
        rig_check(r, rig_log_has(r, text), __FILE__, __LINE__, "the log has no %s", text);
    }
    CHECK_INT(r, weir_load_acquire_u32(&r->shared->count[READ]), read);
}

int main(int argc, char **argv)
{
    static struct rig r;
    char path[96];
    EVP_PKEY *key;
    EVP_PKEY *unused;
    rig_open(&r, "tls", argc, argv, 60);
    (void)snprintf(path, sizeof path, "%s/good.pem", r.dir);
    X509 *good = certificate_make(path, &key);
    (void)snprintf(path, sizeof path, "%s/other.pem", r.dir);
    X509 *other = certificate_make(path, &unused);
    EVP_PKEY *keys[3];
    (void)snprintf(path, sizeof path, "%s/expired.pem", r.dir);
    X509 *expired = certificate_for(path, &keys[0], "IP:127.0.0.1", -3600, NULL, NULL);
    (void)snprintf(path, sizeof path, "%s/host.pem", r.dir);
    X509 *host = certificate_for(path, &keys[1], "DNS:elsewhere.example", 86400, NULL, NULL);
    (void)snprintf(path, sizeof path, "%s/unknown.pem", r.dir);
    X509 *unknown = certificate_for(path, &keys[2], "IP:127.0.0.1", 86400, other, unused);
    uint16_t port[7];
    for (size_t i = 0; i < 4; i++) {
        port[i] = server_start(&r, good, key);
    }
    port[4] = server_start(&r, expired, keys[0]);
    port[5] = server_start(&r, host, keys[1]);
    port[6] = server_start(&r, unknown, keys[2]);
    config(&r, port);
    rig_weird_start(&r);
    struct weir *w = rig_attach(&r, WEIR_ROLE_CALLER);
    believes(&r, w);
    refuses(&r, w);
    pid_t worker = rig_process(&r, "weird-worker");
    (void)kill(worker, SIGKILL);
    CHECK(&r, rig_process_next(&r, "weird-worker", worker, 5000) > 0, "a next worker");
    believes(&r, w);
    weir_close(w);
    CHECK_INT(&r, rig_weird_stop(&r, 10000), 0);
    CHECK(&r, rig_log_has(&r, "\"event\":\"certificates_not_read\""),
          "the log says what is missing");
    CHECK(&r, rig_log_has(&r, "/nothing.pem\",\"reason\":\"No such file or directory\""),
          "by name and reason");
    X509_free(good);
    X509_free(other);
    X509_free(expired);
    X509_free(host);
    X509_free(unknown);
    EVP_PKEY_free(key);
    EVP_PKEY_free(unused);
    for (size_t i = 0; i < WEIR_ARRAY_CNT(keys); i++) {
        EVP_PKEY_free(keys[i]);
    }
    return rig_close(&r);
}
