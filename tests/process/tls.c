/*
 * tls.c: whose certificate is believed, when no file can be opened any more.
 *
 * Oracle: OpenSSL's own server with certificates made here, and the count of requests that it read: a connection that is not believed carries none.
 */
#include "tls_server.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

enum { READ = 0, HANDSHAKES = 1 }; /* r->shared->count */

/* ---------------------------------------------------------------------------------------------- a server */

/* To "/cut" and "/ended": an answer without a length, which the connection's end ends; with TLS' farewell only the second. */
static bool answer_unsaid(SSL *ssl, int fd, const char *request)
{
    static const char answer[] = "HTTP/1.1 200 OK\r\n\r\nhalf";
    bool cut = strncmp(request, "GET /cut", 8) == 0;
    if (!cut && strncmp(request, "GET /ended", 10) != 0) {
        return false;
    }
    (void)SSL_write(ssl, answer, sizeof answer - 1);
    if (!cut) {
        (void)SSL_shutdown(ssl);
    }
    (void)shutdown(fd, SHUT_RDWR);
    return true;
}

static void serve(struct rig *r, SSL *ssl, int fd)
{
    static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";
    char text[4096];
    size_t n = 0;
    (void)weir_fetch_add_u32(&r->shared->count[HANDSHAKES], 1);
    for (int got; (got = SSL_read(ssl, text + n, (int)(sizeof text - 1 - n))) > 0;) {
        n += (size_t)got;
        text[n] = '\0';
        if (strstr(text, "\r\n\r\n") != NULL) {
            (void)weir_fetch_add_u32(&r->shared->count[READ], 1);
            n = 0;
            if (answer_unsaid(ssl, fd, text) || SSL_write(ssl, answer, sizeof answer - 1) <= 0) {
                break;
            }
        }
    }
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
        "    routes:\n"
        "      - {name: x, method: GET, path: /x, cost: {l: 1}, timeout: 3s}\n"
        "      - {name: cut, method: GET, path: /cut, cost: {l: 1}, timeout: 3s}\n"
        "      - {name: ended, method: GET, path: /ended, cost: {l: 1}, timeout: 3s}\n"
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
        CHECK_INT(r, all[i].limit != NULL ? rig_used(w, all[i].limit, 0) : 0, 0);
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
    X509 *good = tls_certificate_make(path, &key);
    (void)snprintf(path, sizeof path, "%s/other.pem", r.dir);
    X509 *other = tls_certificate_make(path, &unused);
    EVP_PKEY *keys[3];
    (void)snprintf(path, sizeof path, "%s/expired.pem", r.dir);
    X509 *expired = tls_certificate_for(path, &keys[0], "IP:127.0.0.1", -3600, NULL, NULL);
    (void)snprintf(path, sizeof path, "%s/host.pem", r.dir);
    X509 *host = tls_certificate_for(path, &keys[1], "DNS:elsewhere.example", 86400, NULL, NULL);
    (void)snprintf(path, sizeof path, "%s/unknown.pem", r.dir);
    X509 *unknown = tls_certificate_for(path, &keys[2], "IP:127.0.0.1", 86400, other, unused);
    uint16_t port[7];
    for (size_t i = 0; i < 4; i++) {
        port[i] = tls_server_start(&r, good, key, NULL, 0, serve);
    }
    port[4] = tls_server_start(&r, expired, keys[0], NULL, 0, serve);
    port[5] = tls_server_start(&r, host, keys[1], NULL, 0, serve);
    port[6] = tls_server_start(&r, unknown, keys[2], NULL, 0, serve);
    config(&r, port);
    rig_weird_start(&r);
    struct weir *w = rig_attach(&r, WEIR_ROLE_TRADER);
    believes(&r, w);
    refuses(&r, w);
    /* Whoever stands between can close a connection, but cannot say farewell in TLS: an answer that only its end would end is whole with that alone. */
    CHECK_INT(&r, call(&r, w, "good.cut"), WEIR_RESULT_FAILED);
    CHECK_INT(&r, call(&r, w, "good.ended"), WEIR_RESULT_DONE);
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
