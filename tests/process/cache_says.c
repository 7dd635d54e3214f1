/*
 * What answers say of themselves, and what a client may not say in their name. The exchange is a script of the test's own; oracle: the requests that it read.
 */
#include "raw.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const char weir_yaml[] =
    "broker: {name: rig, memory: 32MiB}\n"
    "providers:\n"
    "  - name: sim\n"
    "    clock: {source: host, error: 30ms, max_jitter: 100ms}\n"
    "    limits: [{name: wide, kind: token_bucket, quota: 10000, window: 1s}]\n"
    "    endpoints: [{name: a, url: \"http://127.0.0.1:$PORT2\", connections: 4}]\n"
    "    routes:\n"
    "      - {name: plain, method: GET, path: /*, cost: {wide: 1}, timeout: 5s, share: public, "
    "cache: 1h}\n"
    "      - {name: says, method: GET, path: /*, cost: {wide: 1}, timeout: 5s, share: public, "
    "cache: 1h, cache_control: honour}\n";

static bool answer(int fd, const char *path)
{
    static const char end[] = "Content-Length: 4\r\n\r\nbody";
    raw_say(fd, "HTTP/1.1 200 OK\r\n");
    raw_say(fd, strstr(path, "nostore") != NULL   ? "Cache-Control: no-store\r\n"
                : strstr(path, "private") != NULL ? "Cache-Control: max-age=60, private\r\n"
                : strstr(path, "maxage") != NULL  ? "Cache-Control: max-age=1\r\n"
                : strstr(path, "aged") != NULL    ? "Cache-Control: max-age=60\r\nAge: 30\r\n"
                : strstr(path, "old") != NULL     ? "Cache-Control: max-age=60\r\nAge: 60\r\n"
                : strstr(path, "vary") != NULL    ? "Vary: *\r\n"
                                                  : "Set-Cookie: who=you\r\nX-Kept: yes\r\n");
    if (strstr(path, "slow") != NULL) {
        raw_say(fd, "Content-Length: 100\r\n\r\n");
        for (int i = 0; i < 10; i++) {
            raw_say(fd, "0123456789");
            (void)usleep(60000);
        }
    } else {
        raw_say(fd, end);
    }
    return true;
}

static struct weir *w;

static int call(struct rig *r, const char *route, const char *path, struct weir_response *a)
{
    const struct weir_request_spec spec = {
        .struct_bytes = sizeof spec, .route = rig_route(w, route), .path_rest = path};
    CHECK_INT(r, weir_call(w, &spec, weir_now_ns(w) + 4 * WEIR_NS_PER_S, a), 0);
    CHECK_INT(r, a->status, 200);
    CHECK_INT(r, weir_release(w, a->ticket), 0); /* the answer's memory is read by nobody here */
    return (int)a->source;
}

/* Twice each: is the second one kept? */
static void test_directives(struct rig *r, const struct raw *raw)
{
    static const struct {
        const char *route, *path;
        enum weir_source source;
    } row[] = {
        {"sim.plain", "nostore", WEIR_SOURCE_CACHE}, {"sim.says", "nostore", WEIR_SOURCE_LIVE},
        {"sim.plain", "private", WEIR_SOURCE_CACHE}, {"sim.says", "private", WEIR_SOURCE_LIVE},
        {"sim.plain", "old", WEIR_SOURCE_CACHE},     {"sim.says", "old", WEIR_SOURCE_LIVE},
        {"sim.plain", "vary", WEIR_SOURCE_LIVE},     {"sim.says", "maxage", WEIR_SOURCE_CACHE},
    };
    for (size_t i = 0; i < sizeof row / sizeof row[0]; i++) {
        struct weir_response a;
        uint32_t before = *raw->requests;
        CHECK_INT(r, call(r, row[i].route, row[i].path, &a), WEIR_SOURCE_LIVE);
        int source = call(r, row[i].route, row[i].path, &a);
        rig_check(r, source == (int)row[i].source, __FILE__, __LINE__, "%s %s: source %d",
                  row[i].route, row[i].path, source);
        CHECK_INT(r, *raw->requests - before, row[i].source == WEIR_SOURCE_LIVE ? 2 : 1);
    }
    struct weir_response a;
    rig_sleep_ms(1100);
    CHECK_INT(r, call(r, "sim.says", "maxage", &a), WEIR_SOURCE_LIVE); /* a second, not an hour */
}

/* Who waits for an equal call is told how old its answer called itself. */
static void test_aged(struct rig *r)
{
    weir_ticket ticket[2];
    struct weir_response a;
    const struct weir_request_spec spec = {
        .struct_bytes = sizeof spec, .route = rig_route(w, "sim.says"), .path_rest = "aged-slow"};
    for (int i = 0; i < 2; i++) {
        CHECK_INT(r, weir_submit(w, &spec, &ticket[i]), 0);
    }
    for (int i = 0; i < 2; i++) {
        CHECK_INT(r, weir_wait(w, ticket[i], weir_now_ns(w) + 4 * WEIR_NS_PER_S, &a), 0);
        CHECK_INT(r, a.source, i == 0 ? WEIR_SOURCE_LIVE : WEIR_SOURCE_CACHE);
        CHECK(r, i == 0 || a.age_ns >= 30 * WEIR_NS_PER_S, "%llu", (unsigned long long)a.age_ns);
        CHECK_INT(r, weir_release(w, ticket[i]), 0);
    }
}

/* What belongs to one receiver is not given to another. */
static void test_cookie(struct rig *r)
{
    char to[4096];
    struct weir_response a;
    const struct weir_request_spec spec = {
        .struct_bytes = sizeof spec, .route = rig_route(w, "sim.plain"), .path_rest = "cookie"};
    CHECK_INT(r, weir_call(w, &spec, weir_now_ns(w) + 4 * WEIR_NS_PER_S, &a), 0);
    CHECK(r, memmem(a.headers, a.headers_bytes, "Set-Cookie", 10) != NULL);
    CHECK_INT(r, weir_release(w, a.ticket), 0);
    CHECK_INT(r, weir_cache_get(w, &spec, 0, to, sizeof to, &a), 0);
    CHECK(r, memmem(a.headers, a.headers_bytes, "Set-Cookie", 10) == NULL);
    CHECK(r, memmem(a.headers, a.headers_bytes, "X-Kept: yes", 11) != NULL);
    CHECK(r, a.body_bytes == 4 && memcmp(a.body, "body", 4) == 0);
}

/* The client whose call it is writes into its own arena while the answer comes: what is kept for others is what the exchange said. */
static void test_scribble(struct rig *r)
{
    char to[4096];
    struct weir_response a;
    weir_ticket ticket;
    const struct weir_request_spec spec = {
        .struct_bytes = sizeof spec, .route = rig_route(w, "sim.plain"), .path_rest = "slow"};
    char *pool = (char *)(uintptr_t)w->at->mem.pool;
    CHECK_INT(r, weir_submit(w, &spec, &ticket), 0);
    int rc = WEIR_PENDING;
    for (int i = 0; i < 4000 && rc == WEIR_PENDING; i++) {
        memset(pool, 'X', (size_t)w->at->mem.pool_bytes);
        rc = weir_wait(w, ticket, weir_now_ns(w) + WEIR_NS_PER_MS, &a);
    }
    CHECK_INT(r, rc, 0);
    CHECK_INT(r, a.source, WEIR_SOURCE_LIVE);
    CHECK_INT(r, weir_release(w, ticket), 0);
    CHECK_INT(r, weir_cache_get(w, &spec, 0, to, sizeof to, &a), 0);
    CHECK_INT(r, a.body_bytes, 100);
    bool same = true;
    for (size_t i = 0; i < a.body_bytes; i++) {
        same = same && ((const char *)a.body)[i] == (char)('0' + i % 10);
    }
    CHECK(r, same);
    CHECK(r, memchr(a.headers, '\r', a.headers_bytes) != NULL &&
                 memcmp(a.headers, "HTTP/1.1 200 OK", 15) == 0);
}

int main(int argc, char **argv)
{
    struct rig r;
    struct raw raw;
    rig_open(&r, "process_cache_says", argc, argv, 60);
    raw_start(&r, &raw, answer);
    rig_config(&r, weir_yaml, raw.port);
    rig_weird_start(&r);
    w = rig_attach(&r, WEIR_ROLE_CALLER);
    test_directives(&r, &raw);
    test_aged(&r);
    test_cookie(&r);
    test_scribble(&r);
    weir_close(w);
    raw_stop(&raw);
    return rig_close(&r);
}
