/*
 * What stands in a request, byte by byte: its first line, where it goes, who asks. libcurl gets address and path apart, so each is looked at where they may be put together
 * wrongly: behind a base path, on a handle that asked for something else before, where libcurl sends a second time, through a proxy that forwards. Oracle: the
 * listener gives the head that it read back as its answer.
 */
#include "raw.h"

#include <stdio.h>
#include <string.h>

/* A path with "once" on a connection that has served before: it closes, as a server does that was tired of waiting. */
static bool answer(int fd, const char *path)
{
    static unsigned served;
    char text[9000];
    if (strstr(path, "/once") != NULL && served > 0) {
        return false;
    }
    served++;
    (void)snprintf(text, sizeof text, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n%s",
                   strlen(raw_head()), raw_head());
    raw_say(fd, text);
    return true;
}

/* Two providers, of which one says itself who asks. */
static void config(struct rig *r, uint16_t port)
{
    char text[4096];
    char routes[512];
    (void)snprintf(routes, sizeof routes,
                   "    clock: {source: host}\n"
                   "    limits: [{name: l, kind: token_bucket, quota: 10000, window: 1s}]\n"
                   "    routes:\n"
                   "      - {name: get, method: GET, path: /r/*, cost: {l: 1}, timeout: 3s, "
                   "headers: [User-Agent, X-Own]}\n"
                   "      - {name: post, method: POST, path: /r/*, cost: {l: 1}, timeout: 3s, "
                   "idempotent: true}\n");
    (void)snprintf(text, sizeof text,
                   "broker: {name: rig}\n"
                   "providers:\n"
                   "  - name: plain\n"
                   "    endpoints: [{name: a, url: \"http://127.0.0.1:%u/base%%7e\"}]\n%s"
                   "  - name: named\n"
                   "    headers: [{name: x-key, value: k}, {name: user-agent, value: somebody}]\n"
                   "    endpoints: [{name: b, url: \"http://127.0.0.1:%u\"}]\n%s"
                   "  - name: proxied\n"
                   "    endpoints: [{name: c, url: \"http://exchange.test:8080/base\", proxy: "
                   "\"http://127.0.0.1:%u\"}]\n%s"
                   "  - name: usual\n"
                   "    endpoints: [{name: d, url: \"http://exchange.test/\", proxy: "
                   "\"http://127.0.0.1:%u\"}]\n%s",
                   port, routes, port, routes, port, routes, port, routes);
    rig_config(r, text, 0);
}

struct line {
    const char *route;
    const char *rest;
    const char *query;
    struct weir_header header; /* name NULL: none */
    const char *first;         /* the first line of the request */
    const char *agent;         /* its only line that begins with User-Agent, in any case */
    const char *more;          /* another line; NULL: any */
};

/* How many lines of the head begin with `name`, in any case; `*at` is the last of them. */
static unsigned lines_of(const char *head, const char *name, const char **at)
{
    unsigned cnt = 0;
    for (const char *l = head; l != NULL; l = strstr(l, "\r\n")) {
        l += l == head ? 0 : 2;
        if (strncasecmp(l, name, strlen(name)) == 0) {
            *at = l;
            cnt++;
        }
    }
    return cnt;
}

static bool begins(const char *text, const char *line)
{
    size_t bytes = strlen(line);
    return strncmp(text, line, bytes) == 0 && strncmp(text + bytes, "\r\n", 2) == 0;
}

static void look(struct rig *r, struct weir *w, const struct line *x, unsigned sends)
{
    char head[8192];
    const char *at = "";
    struct weir_response a = {0};
    const struct weir_request_spec spec = {.struct_bytes = sizeof spec,
                                           .route = rig_route(w, x->route),
                                           .path_rest = x->rest,
                                           .query = x->query,
                                           .headers = &x->header,
                                           .header_cnt = x->header.name != NULL ? 1 : 0};
    int rc = weir_call(w, &spec, weir_now_ns(w) + 3 * WEIR_NS_PER_S, &a);
    (void)snprintf(head, sizeof head, "%.*s", rc == 0 ? (int)a.body_bytes : 0,
                   (const char *)a.body);
    rig_check(r, rc == 0 && a.result == WEIR_RESULT_DONE && a.sends == sends, __FILE__, __LINE__,
              "%s %s: %d, %s, %u sends", x->route, x->rest, rc, weir_result_text(a.result),
              a.sends);
    rig_check(r, begins(head, x->first), __FILE__, __LINE__, "wanted %s in:\n%s", x->first, head);
    rig_check(r, lines_of(head, "user-agent", &at) == 1 && begins(at, x->agent), __FILE__, __LINE__,
              "wanted %s, once, in:\n%s", x->agent, head);
    rig_check(r, x->more == NULL || (lines_of(head, x->more, &at) == 1 && begins(at, x->more)),
              __FILE__, __LINE__, "wanted %s in:\n%s", x->more, head);
    (void)weir_release(w, a.ticket);
}

#define OURS "User-Agent: weir/" WEIR_VERSION

static const struct line plain[] = {
    {"plain.get", "a", NULL, {0}, "GET /base%7e/r/a HTTP/1.1", OURS, NULL},
    {"plain.get",
     "a",
     "x=%5b1%5D&y=%2f",
     {0},
     "GET /base%7e/r/a?x=%5b1%5D&y=%2f HTTP/1.1",
     OURS,
     NULL},
    {"plain.get", "", "", {0}, "GET /base%7e/r/ HTTP/1.1", OURS, NULL},
    {"plain.get",
     "b;c=~'(!*)",
     "a?b/c",
     {0},
     "GET /base%7e/r/b;c=~'(!*)?a?b/c HTTP/1.1",
     OURS,
     NULL},
    {"plain.get", "own", NULL, {"X-Own", "1"}, "GET /base%7e/r/own HTTP/1.1", OURS, "X-Own: 1"},
    {"plain.get",
     "who",
     NULL,
     {"user-AGENT", "me"},
     "GET /base%7e/r/who HTTP/1.1",
     "user-AGENT: me",
     NULL},
    {"plain.get", "a", NULL, {0}, "GET /base%7e/r/a HTTP/1.1", OURS, NULL},
    {"plain.post", "a", "z", {0}, "POST /base%7e/r/a?z HTTP/1.1", OURS, "Content-Length: 0"},
    {"named.get", "a", "q", {0}, "GET /r/a?q HTTP/1.1", "user-agent: somebody", "x-key: k"},
    {"named.get",
     "b",
     "q",
     {"X-Own", "2"},
     "GET /r/b?q HTTP/1.1",
     "user-agent: somebody",
     "X-Own: 2"},
    {"proxied.get",
     "a",
     "q=%2F",
     {0},
     "GET http://exchange.test:8080/base/r/a?q=%2F HTTP/1.1",
     OURS,
     "Host: exchange.test:8080"},
    {"proxied.get", "b", NULL, {0}, "GET http://exchange.test:8080/base/r/b HTTP/1.1", OURS, NULL},
    {"usual.get",
     "c",
     NULL,
     {0},
     "GET http://exchange.test/r/c HTTP/1.1",
     OURS,
     "Host: exchange.test"},
};

/* On a kept connection: libcurl sends a second time by itself, and must not fall back on what the handle asked for before. */
static const struct line again[] = {
    {"plain.get", "once", "n=1", {0}, "GET /base%7e/r/once?n=1 HTTP/1.1", OURS, NULL},
    {"plain.post",
     "once",
     "n=2",
     {0},
     "POST /base%7e/r/once?n=2 HTTP/1.1",
     OURS,
     "Content-Length: 0"},
    {"proxied.get",
     "once",
     "n=3",
     {0},
     "GET http://exchange.test:8080/base/r/once?n=3 HTTP/1.1",
     OURS,
     NULL},
};

int main(int argc, char **argv)
{
    struct rig r;
    struct raw raw;
    rig_open(&r, "http_lines", argc, argv, 80);
    raw_start(&r, &raw, answer);
    config(&r, raw.port);
    rig_weird_start(&r);
    struct weir *w = rig_attach(&r, WEIR_ROLE_TRADER);
    for (size_t i = 0; i < WEIR_ARRAY_CNT(plain); i++) {
        look(&r, w, &plain[i], 1);
    }
    for (size_t i = 0; i < WEIR_ARRAY_CNT(again); i++) {
        look(&r, w, &again[i], 2);
    }
    weir_close(w);
    CHECK_INT(&r, rig_weird_stop(&r, 5000), 0);
    raw_stop(&raw);
    return rig_close(&r);
}
