/*
 * Servers that weir-sim is not: trailers, interim answers, large heads, redirects, answers above the cap, IPv6, names, dead endpoints. Oracle: what
 * the listener in this test wrote.
 */
#include "raw.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool answer(int fd, const char *path)
{
    static char big[16384];
    if (strcmp(path, "/r/trailer") == 0) {
        raw_say(fd, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-End\r\n\r\n"
                    "5\r\nhello\r\n6\r\n world\r\n0\r\nX-End: 0123456789\r\nHTTP/9: odd\r\n\r\n");
    } else if (strcmp(path, "/r/empty_trailer") == 0) {
        raw_say(fd, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-End: 1\r\n\r\n");
    } else if (strcmp(path, "/r/interim") == 0) {
        raw_say(fd, "HTTP/1.1 102 Processing\r\nX-No: 1\r\n\r\nHTTP/1.1 200 OK\r\nX-Yes: "
                    "1\r\nContent-Length: 2\r\n\r\nok");
    } else if (strcmp(path, "/r/redirect") == 0) {
        raw_say(fd, "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/other\r\nContent-Length: "
                    "0\r\n\r\n");
    } else if (strcmp(path, "/r/bighead") == 0) {
        memset(big, 'a', sizeof big - 1);
        raw_say(fd, "HTTP/1.1 200 OK\r\nX-Big: ");
        raw_say(fd, big);
        raw_say(fd, "\r\nContent-Length: 0\r\n\r\n");
    } else if (strcmp(path, "/r/manyhead") == 0) {
        raw_say(fd, "HTTP/1.1 200 OK\r\n");
        for (int i = 0; i < 1000; i++) {
            raw_say(fd, "X-Many: 0123456789\r\n");
        }
        raw_say(fd, "Content-Length: 0\r\n\r\n");
    } else if (strcmp(path, "/r/throttled_half") == 0) {
        raw_say(fd, "HTTP/1.1 429 Too Many\r\nRetry-After: 1\r\nContent-Length: 100\r\n\r\nslow "
                    "down");
        return false;
    } else {
        raw_say(fd, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    }
    return true;
}

static void config(struct rig *r, const char *endpoints, uint16_t port2)
{
    char text[4096];
    (void)snprintf(
        text, sizeof text,
        "broker: {name: rig}\n"
        "providers:\n"
        "  - name: raw\n"
        "    clock: {source: host}\n"
        "    limits:\n"
        "      - {name: l, kind: token_bucket, quota: 10000, window: 1s}\n"
        "    throttle: {status: [429, 418], retry_after: seconds, backoff: {factor: 1, jitter: "
        "0%%}}\n"
        "    endpoints:\n%s"
        "    routes:\n"
        "      - {name: get, method: GET, path: /r/*, cost: {l: 1}, timeout: 3s, max_response: "
        "1KiB}\n"
        "      - {name: post, method: POST, path: /r/*, cost: {l: 1}, timeout: 3s}\n",
        endpoints);
    rig_config(r, text, port2);
}

static struct weir_response call(struct rig *r, struct weir *w, const char *route, const char *rest)
{
    struct weir_response a = {0};
    const struct weir_request_spec spec = {
        .struct_bytes = sizeof spec, .route = rig_route(w, route), .path_rest = rest};
    int rc = weir_call(w, &spec, weir_now_ns(w) + 3 * WEIR_NS_PER_S, &a);
    rig_check(r, rc == 0, __FILE__, __LINE__, "%s %s: %s", route, rest, weir_strerror(rc));
    return a;
}

static bool holds(const void *at, size_t bytes, const char *text)
{
    return at != NULL && memmem(at, bytes, text, strlen(text)) != NULL;
}

static void answers(struct rig *r, struct weir *w)
{
    struct weir_response a = call(r, w, "raw.get", "trailer");
    CHECK_INT(r, a.result, WEIR_RESULT_DONE);
    rig_check(r, a.body_bytes == 11 && memcmp(a.body, "hello world", 11) == 0, __FILE__, __LINE__,
              "trailers changed the body: %.*s", (int)a.body_bytes, (const char *)a.body);
    CHECK(r, !holds(a.headers, a.headers_bytes, "X-End: "), "trailers are dropped");
    (void)weir_release(w, a.ticket);

    a = call(r, w, "raw.get", "empty_trailer");
    CHECK_INT(r, a.result, WEIR_RESULT_DONE);
    CHECK_INT(r, a.body_bytes, 0);
    CHECK(r, !holds(a.headers, a.headers_bytes, "X-End: "), "trailers are dropped");
    (void)weir_release(w, a.ticket);

    a = call(r, w, "raw.get", "interim");
    CHECK_INT(r, a.status, 200);
    CHECK(r,
          holds(a.headers, a.headers_bytes, "X-Yes") && !holds(a.headers, a.headers_bytes, "X-No"),
          "the last head counts");
    CHECK(r, a.body_bytes == 2 && memcmp(a.body, "ok", 2) == 0, "body");
    (void)weir_release(w, a.ticket);

    a = call(r, w, "raw.get", "redirect");
    CHECK_INT(r, a.result, WEIR_RESULT_DONE);
    CHECK_INT(r, a.status, 302);
    CHECK(r, holds(a.headers, a.headers_bytes, "Location: http://127.0.0.1:1/other\r\n"),
          "handed over");
    (void)weir_release(w, a.ticket);

    a = call(r, w, "raw.get", "bighead");
    CHECK_INT(r, a.result, WEIR_RESULT_TOO_LARGE);
    (void)weir_release(w, a.ticket);
    a = call(r, w, "raw.get", "manyhead");
    CHECK_INT(r, a.result, WEIR_RESULT_TOO_LARGE);
    (void)weir_release(w, a.ticket);
    a = call(r, w, "raw.get", "fine");
    CHECK_INT(r, a.result, WEIR_RESULT_DONE);
    (void)weir_release(w, a.ticket);

    /* A 429 whose body breaks off says stop all the same. */
    uint64_t before_ns = weir_now_ns(w);
    a = call(r, w, "raw.get", "throttled_half");
    CHECK_INT(r, a.result, WEIR_RESULT_FAILED);
    (void)weir_release(w, a.ticket);
    struct weir_permit p;
    CHECK_INT(r, weir_permit_try(w, rig_route(w, "raw.get"), 0, NULL, WEIR_PRIORITY_CRITICAL, &p),
              WEIR_DENIED);
    CHECK_INT(r, p.denial.reason, WEIR_REASON_PAUSED);
    a = call(r, w, "raw.get", "fine");
    CHECK_INT(r, a.result, WEIR_RESULT_DONE);
    uint64_t took_ms = (weir_now_ns(w) - before_ns) / WEIR_NS_PER_MS;
    rig_check(r, took_ms >= 950 && took_ms < 2500, __FILE__, __LINE__, "pause of 1 s took %llu ms",
              (unsigned long long)took_ms);
    (void)weir_release(w, a.ticket);
}

/* The first endpoint refuses connections: the next by role serves, and nothing is lost or charged twice. */
static void failover(struct rig *r, const struct raw *raw)
{
    char endpoints[512];
    (void)snprintf(endpoints, sizeof endpoints,
                   "      - {name: b, url: \"http://127.0.0.1:%u\", role: backup}\n"
                   "      - {name: a, url: \"http://127.0.0.1:$PORT2\", role: primary}\n",
                   raw->port);
    config(r, endpoints, raw_port_closed());
    rig_weird_start(r);
    struct weir *w = rig_attach(r, WEIR_ROLE_TRADER);
    uint32_t before = weir_load_acquire_u32(raw->requests);
    for (int i = 0; i < 20; i++) {
        struct weir_response a = call(r, w, i % 2 == 0 ? "raw.get" : "raw.post", "fine");
        CHECK_INT(r, a.result, WEIR_RESULT_DONE);
        CHECK_INT(r, a.sends, 1);
        CHECK_INT(r, a.endpoint, 0);
        (void)weir_release(w, a.ticket);
    }
    CHECK_INT(r, weir_load_acquire_u32(raw->requests) - before, 20);
    weir_close(w);
    CHECK_INT(r, rig_weird_stop(r, 5000), 0);

    /* Nobody serves: not sent, at once. */
    config(r, "      - {name: a, url: \"http://127.0.0.1:$PORT2\"}\n", raw_port_closed());
    rig_weird_start(r);
    w = rig_attach(r, WEIR_ROLE_TRADER);
    uint64_t began_ns = rig_now_ns();
    struct weir_response a = call(r, w, "raw.post", "fine");
    CHECK_INT(r, a.result, WEIR_RESULT_NOT_SENT);
    CHECK_INT(r, a.error, 7); /* CURLE_COULDNT_CONNECT */
    CHECK(r, rig_now_ns() - began_ns < WEIR_NS_PER_S, "at once");
    weir_close(w);
    CHECK_INT(r, rig_weird_stop(r, 5000), 0);
}

/* A host name goes through the resolver process, which may die. The environment's proxy is nobody's business. */
static void by_name(struct rig *r, const struct raw *raw)
{
    (void)setenv("HTTP_PROXY", "http://127.0.0.1:1", 1);
    (void)setenv("http_proxy", "http://127.0.0.1:1", 1);
    (void)setenv("ALL_PROXY", "http://127.0.0.1:1", 1);
    char endpoints[256];
    (void)snprintf(endpoints, sizeof endpoints,
                   "      - {name: a, url: \"http://localhost:%u\"}\n"
                   "      - {name: b, url: \"http://127.0.0.1:%u\", role: backup}\n",
                   raw->port, raw->port);
    config(r, endpoints, 0);
    rig_weird_start(r);
    struct weir *w = rig_attach(r, WEIR_ROLE_TRADER);
    rig_sleep_ms(100);
    for (int i = 0; i < 5; i++) {
        struct weir_response a = call(r, w, "raw.get", "fine");
        CHECK_INT(r, a.result, WEIR_RESULT_DONE);
        (void)weir_release(w, a.ticket);
    }
    pid_t resolver = rig_process(r, "weird-resolver");
    CHECK(r, resolver > 0, "there is a resolver");
    (void)kill(resolver, SIGKILL);
    pid_t next = rig_process_next(r, "weird-resolver", resolver, 2000);
    CHECK(r, next > 0, "it is started again");
    /* It parses what the network says: it must hold nothing of the clients'. */
    char path[64];
    char link[256];
    int held = 0;
    rig_sleep_ms(50);
    for (int fd = 3; fd < 128; fd++) {
        (void)snprintf(path, sizeof path, "/proc/%d/fd/%d", (int)next, fd);
        ssize_t n = readlink(path, link, sizeof link - 1);
        held += n > 0;
    }
    CHECK_INT(r, held, 1);
    struct weir_response a = call(r, w, "raw.get", "fine");
    CHECK_INT(r, a.result, WEIR_RESULT_DONE);
    weir_close(w);
    CHECK_INT(r, rig_weird_stop(r, 5000), 0);
    (void)unsetenv("HTTP_PROXY");
    (void)unsetenv("http_proxy");
    (void)unsetenv("ALL_PROXY");
}

int main(int argc, char **argv)
{
    struct rig r;
    struct raw raw;
    char endpoint[128];
    rig_open(&r, "http_raw", argc, argv, 80);
    raw_start(&r, &raw, answer);
    (void)snprintf(endpoint, sizeof endpoint, "      - {name: a, url: \"http://127.0.0.1:%u\"}\n",
                   raw.port);
    config(&r, endpoint, 0);
    rig_weird_start(&r);
    struct weir *w = rig_attach(&r, WEIR_ROLE_TRADER);
    answers(&r, w);
    weir_close(w);
    CHECK_INT(&r, rig_weird_stop(&r, 5000), 0);
    failover(&r, &raw);
    by_name(&r, &raw);
    raw_stop(&raw);
    return rig_close(&r);
}
