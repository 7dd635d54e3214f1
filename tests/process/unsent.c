/*
 * A connection that died while it was idle: what passed the send gate for it, and was never written, is as if it had not passed. Oracle: the requests that the exchange, a script of the test's own, has
 * read.
 */
#include "raw.h"

#include <stdio.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

/* The exchange of tokens answers late, so that the connection is dead when the renewed call is made. */
static const char sim_json[] =
    "{\"ban_after\": 0, \"limits\": [{\"name\": \"w\", \"kind\": \"sliding_window\", \"quota\": "
    "100000, \"window_ms\": 1000}], \"routes\": [{\"path\": \"ANY /oauth2/token\", \"plays\": "
    "\"ok\"}], \"session\": {\"token\": \"POST /oauth2/token\", \"first\": \"first-token\", "
    "\"lasts_s\": 1000, \"paths\": []}}";

static const char weir_yaml[] =
    "broker: {name: rig, wake: sleep}\n"
    "providers:\n"
    "  - name: login\n"
    "    limits: [{name: l, kind: sliding_window, quota: 100, window: 2s}]\n"
    "    endpoints: [{name: login, url: \"http://127.0.0.1:$PORT\"}]\n"
    "    routes:\n"
    "      - {name: token, method: POST, path: /oauth2/token, cost: {l: 1}, timeout: 5s}\n"
    "  - name: p\n"
    "    auth: {kind: oauth2, refresh_token: first-token,\n"
    "           sign_in: {route: login.token, margin: 1s}}\n"
    "    limits: [{name: b, kind: token_bucket, quota: 10000, window: 1s}]\n"
    "    endpoints: [{name: e, url: \"http://127.0.0.1:$PORT2\", connections: 4}]\n"
    "    routes:\n"
    "      - {name: order, method: POST, path: /v1/orders, cost: {b: 1}, timeout: 5s, signed: "
    "true}\n";

static volatile int *expired; /* so many answers say that the token is not taken */

static bool answer(int fd, const char *path)
{
    const struct linger reset = {.l_onoff = 1, .l_linger = 0};
    (void)path;
    if (*expired == 0) {
        raw_say(fd, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone");
        return true;
    }
    --*expired;
    raw_say(fd, "HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\nno");
    (void)usleep(50000); /* it was read by then */
    (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    return false;
}

int main(int argc, char **argv)
{
    static struct rig r;
    struct raw raw;
    char dir[128];
    rig_open(&r, "process_unsent", argc, argv, 60);
    (void)snprintf(dir, sizeof dir, "%s/state", r.dir);
    (void)mkdir(dir, 0700);
    r.state_dir = dir;
    expired = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    raw_start(&r, &raw, answer);
    rig_sim_start(&r, sim_json);
    rig_config(&r, weir_yaml, raw.port);
    rig_weird_start(&r);
    struct weir *w = rig_attach(&r, WEIR_ROLE_CALLER);
    const struct weir_request_spec spec = {.struct_bytes = sizeof spec,
                                           .route = rig_route(w, "p.order"),
                                           .body = "a=1",
                                           .body_bytes = 3};
    struct weir_response a;
    for (int i = 0; i < 2; i++) {
        bool late = i == 1;
        if (late) {
            rig_fault(&r, "{\"kind\": \"slow_first_byte\", \"delay_ms\": 600, \"path\": "
                          "\"/oauth2/token\"}");
            *expired = 1;
        }
        uint32_t before = *raw.requests;
        CHECK_INT(&r, weir_call(w, &spec, weir_now_ns(w) + 5 * WEIR_NS_PER_S, &a), 0);
        CHECK_INT(&r, a.result, WEIR_RESULT_DONE);
        CHECK_INT(&r, a.status, 200);
        CHECK_INT(&r, *raw.requests - before, late ? 2 : 1);
        CHECK_INT(&r, weir_release(w, a.ticket), 0);
    }
    weir_close(w);
    raw_stop(&raw);
    return rig_close(&r);
}
