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

/* A self-signed certificate for 127.0.0.1 into PATH, and its key. */
static X509 *certificate_make(const char *path, EVP_PKEY **key)
{
    X509 *x = X509_new();
    *key = EVP_EC_gen("P-256");
    X509_NAME *name = x != NULL ? X509_get_subject_name(x) : NULL;
    X509_EXTENSION *alt = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, "IP:127.0.0.1");
    if (name == NULL || *key == NULL || alt == NULL || X509_set_version(x, 2) != 1 ||
        ASN1_INTEGER_set(X509_get_serialNumber(x), 1) != 1 ||
        X509_gmtime_adj(X509_getm_notBefore(x), -3600) == NULL ||
        X509_gmtime_adj(X509_getm_notAfter(x), 86400) == NULL ||
        X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)path, -1, -1,
                                   0) != 1 ||
        X509_set_issuer_name(x, name) != 1 || X509_add_ext(x, alt, -1) != 1 ||
        X509_set_pubkey(x, *key) != 1 || X509_sign(x, *key, EVP_sha256()) == 0) {
        no("certificate");
    }
    X509_EXTENSION_free(alt);
    FILE *f = fopen(path, "we");
    if (f == NULL || PEM_write_X509(f, x) != 1 || fclose(f) != 0) {
        no(path);
    }
    return x;
}

static void serve_one(struct rig_shared *shared, SSL_CTX *ctx, int fd)
{
    static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";
    char text[4096];
    size_t n = 0;
    SSL *ssl = SSL_new(ctx);
    if (ssl == NULL || SSL_set_fd(ssl, fd) != 1 || SSL_accept(ssl) != 1) {
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

static void config(struct rig *r, const uint16_t port[4])
{
    char text[4096];
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
        "    routes: [{name: x, method: GET, path: /x, cost: {l: 1}, timeout: 3s}]\n",
        port[0], r->dir, port[1], r->dir, port[2], port[3], r->dir);
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
    uint16_t port[4];
    for (size_t i = 0; i < WEIR_ARRAY_CNT(port); i++) {
        port[i] = server_start(&r, good, key);
    }
    config(&r, port);
    rig_weird_start(&r);
    struct weir *w = rig_attach(&r, WEIR_ROLE_CALLER);
    believes(&r, w);
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
    EVP_PKEY_free(key);
    EVP_PKEY_free(unused);
    return rig_close(&r);
}
