/*
 * weird --takeover: a new broker goes on in the place of one that runs. Strategies do nothing for it: handles, arenas, descriptors and tickets stay valid, each order
 * ends once, permits stand still for some milliseconds, no limit is exceeded. What cannot be taken over is refused, and the old one goes on.
 */
#include "rig.h"

#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "broker/control.h"
#include "shm/weir_handover.h"

#define FLIGHT 8U

/* Indices of rig_shared.count. */
enum {
    ENDED = 0,
    UNKNOWN = 1,
    OTHER = 2,
    READS = 3,
    GRANTED = 10,
    GAP_US = 11, /* the longest between two grants of one trader */
    SUBMIT_ERRORS = 12,
    BAD = 13,
};

static const char sim[] =
    "{\"latency_ms\": 3, \"jitter_ms\": 10, \"ban_after\": 3, \"limits\": [{\"name\": \"weight\", "
    "\"kind\": \"fixed_window\", \"quota\": 4000, \"window_ms\": 2000}, {\"name\": \"orders\", "
    "\"kind\": \"fixed_window\", \"quota\": 1000, \"window_ms\": 2000, \"scope\": \"key\", "
    "\"counts\": "
    "\"orders\"}]}";

static void configure(struct rig *r, unsigned quota, const char *broker)
{
    static const char yaml[] =
        "broker: {name: rig, %s}\n"
        "providers:\n"
        "  - name: sim\n"
        "    clock: {path: /api/v3/time, field: serverTime, interval: 1s, max_jitter: 100ms}\n"
        "    limits:\n"
        "      - {name: weight, kind: fixed_window, quota: %u, window: 2s, scope: ip}\n"
        "      - {name: orders, kind: fixed_window, quota: 1000, window: 2s, scope: account}\n"
        "      - {name: open, kind: concurrency, quota: 12, scope: ip}\n"
        "    endpoints:\n"
        "      - {name: a, url: \"http://127.0.0.1:$PORT\", connections: 16}\n"
        "    routes:\n"
        "      - {name: ping, method: GET, path: /api/v3/ping, cost: {weight: 1}, timeout: 3s}\n"
        "      - {name: order, method: POST, path: /api/v3/order, cost: {weight: 1, orders: 1, "
        "open: 1}, "
        "timeout: 3s, priority: critical}\n"
        "      - {name: own, transport: own, cost: {weight: 1}}\n"
        "  - name: free\n"
        "    clock: {source: host, error: 1ms, max_jitter: 20ms}\n"
        "    limits:\n"
        "      - {name: flow, kind: token_bucket, quota: 1000000, window: 1s, burst: 100000}\n"
        "    routes:\n"
        "      - {name: own, transport: own, cost: {flow: 1}}\n";
    char text[8192];
    (void)snprintf(text, sizeof text, yaml, broker, quota);
    rig_config(r, text, 0);
}

static bool going(struct rig *r)
{
    return weir_load_acquire_u32(&r->shared->stop) == 0;
}

static void count_most(uint32_t *count, uint32_t value)
{
    uint32_t seen = weir_load_relaxed_u32(count);
    while (value > seen && !weir_cas_u32(count, &seen, value)) {
    }
}

/* ---------------------------------------------------------------------------------------------- strategies */

/* Permits as fast as they go: how long was there none? */
static int trades(struct rig *r, int arg)
{
    (void)arg;
    struct weir *w = rig_attach(r, WEIR_ROLE_TRADER);
    struct weir *second = NULL; /* another thread's handle must move too */
    weir_route_id flow = rig_route(w, "free.own");
    weir_route_id weight = rig_route(w, "sim.own");
    uint64_t last_ns = rig_now_ns();
    if (weir_dup(w, &second) != 0) {
        return 1;
    }
    for (unsigned n = 0; going(r); n++) {
        struct weir_permit p;
        int rc = weir_permit_try(n % 2 == 0 ? w : second, flow, 0, NULL, WEIR_PRIORITY_HIGH, &p);
        if (rc == 0) {
            uint64_t now_ns = rig_now_ns();
            count_most(&r->shared->count[GAP_US], (uint32_t)((now_ns - last_ns) / 1000));
            last_ns = now_ns;
            weir_fetch_add_u32(&r->shared->count[GRANTED], 1);
            const struct weir_outcome not_sent = {.kind = WEIR_OUTCOME_NOT_SENT};
            (void)weir_permit_settle(n % 2 == 0 ? w : second, &p, &not_sent);
        }
        if (n % 64 == 0 && weir_permit_try(w, weight, 0, NULL, WEIR_PRIORITY_LOW, &p) == 0) {
            const struct weir_outcome answered = {.kind = WEIR_OUTCOME_ANSWERED, .status = 200};
            (void)weir_permit_settle(w, &p, &answered);
        }
        (void)usleep(100);
    }
    weir_close(second);
    weir_close(w);
    return 0;
}

static int waits(struct rig *r, int arg)
{
    (void)arg;
    struct weir *w = rig_attach(r, WEIR_ROLE_TRADER);
    weir_route_id own = rig_route(w, "sim.own");
    while (going(r)) {
        struct weir_permit p;
        int rc = weir_permit_wait(w, own, 0, NULL, WEIR_PRIORITY_MEDIUM,
                                  weir_now_ns(w) + 3 * WEIR_NS_PER_S, &p);
        if (rc != 0) {
            (void)printf("FAILED: permit_wait: %d %s\n", rc, weir_reason_text(p.denial.reason));
            weir_fetch_add_u32(&r->shared->count[BAD], 1);
        }
        rig_sleep_ms(5);
    }
    weir_close(w);
    return 0;
}

static int orders(struct rig *r, int arg)
{
    struct weir *w = rig_attach(r, WEIR_ROLE_CALLER);
    weir_route_id route = rig_route(w, "sim.order");
    int bad = 0;
    while (going(r)) {
        weir_ticket ticket[FLIGHT];
        uint32_t number[FLIGHT];
        unsigned cnt = 0;
        for (; cnt < FLIGHT; cnt++) {
            int rc = rig_order_submit(r, w, route, weir_now_ns(w) + 2 * WEIR_NS_PER_S, &ticket[cnt],
                                      &number[cnt]);
            if (rc != 0) {
                (void)printf("submit: %s\n", weir_strerror(rc));
                weir_fetch_add_u32(&r->shared->count[SUBMIT_ERRORS], 1);
                break;
            }
        }
        struct pollfd p = {.fd = arg % 2 == 0 ? weir_fd(w) : -1, .events = POLLIN};
        for (unsigned i = 0; i < cnt; i++) {
            struct weir_response a;
            (void)(arg % 2 == 0 && i == 0 ? poll(&p, 1, 3000) : 0);
            int rc = weir_wait(w, ticket[i], weir_now_ns(w) + 4 * WEIR_NS_PER_S, &a);
            if (rc != 0) {
                (void)printf("FAILED: wait: %s\n", weir_strerror(rc));
                bad = 1;
                continue;
            }
            rig_order_ended(r, number[i], &a);
            weir_fetch_add_u32(&r->shared->count[a.result == WEIR_RESULT_DONE              ? ENDED
                                                 : a.result == WEIR_RESULT_OUTCOME_UNKNOWN ? UNKNOWN
                                                                                           : OTHER],
                               1);
            (void)weir_release(w, ticket[i]);
        }
    }
    weir_close(w);
    return bad;
}

static int reads(struct rig *r, int arg)
{
    (void)arg;
    struct weir *w = rig_attach(r, WEIR_ROLE_CALLER);
    const struct weir_request_spec spec = {.struct_bytes = sizeof spec,
                                           .route = rig_route(w, "sim.ping")};
    int bad = 0;
    while (going(r)) {
        struct weir_response a;
        int rc = weir_call(w, &spec, weir_now_ns(w) + 3 * WEIR_NS_PER_S, &a);
        if (rc != 0 || (a.result != WEIR_RESULT_DONE && a.result != WEIR_RESULT_REFUSED)) {
            (void)printf("FAILED: read: %d %s\n", rc,
                         rc == 0 ? weir_result_text(a.result) : weir_strerror(rc));
            bad = 1;
        }
        weir_fetch_add_u32(&r->shared->count[READS], 1);
        (void)(rc == 0 ? weir_release(w, a.ticket) : 0);
    }
    weir_close(w);
    return bad;
}

/* ---------------------------------------------------------------------------------------------- takeovers */

/* The old one leaves with 0, and the new one serves: r->weird is the new one. */
static bool take_over(struct rig *r, const char *option, bool orphan)
{
    pid_t old = r->weird;
    pid_t new = rig_weird_another(r, option);
    int rc = orphan ? 0 : rig_wait(old, 20000);
    r->weird = new;
    CHECK_INT(r, rc, 0);
    return CHECK(r, rig_process_next(r, "weird-worker", 0, 5000) > 0, "a worker");
}

static double log_pause_ms(const struct rig *r)
{
    char line[8192];
    double most = 0;
    FILE *f = fopen(r->log, "re");
    while (f != NULL && fgets(line, sizeof line, f) != NULL) {
        const char *at = strstr(line, "\"pause_us\":");
        double ms = at != NULL ? atof(at + strlen("\"pause_us\":")) / 1000 : 0;
        most = ms > most ? ms : most;
    }
    if (f != NULL) {
        (void)fclose(f);
    }
    return most;
}

static void under_load(struct rig *r, unsigned times)
{
    static int (*const role[])(struct rig *, int) = {trades, trades, waits, orders, orders, reads};
    pid_t pid[WEIR_ARRAY_CNT(role)];
    uint32_t *c = r->shared->count;
    weir_store_release_u32(&r->shared->stop, 0);
    for (size_t i = 0; i < WEIR_ARRAY_CNT(role); i++) {
        pid[i] = rig_fork(r, role[i], (int)i);
    }
    struct weir *idle = rig_attach(r, WEIR_ROLE_TRADER); /* asks nothing meanwhile */
    struct weir *looks = rig_attach(r, WEIR_ROLE_MONITOR);
    rig_sleep_ms(700);
    unsigned quiet_us = weir_xchg_u32(&c[GAP_US], 0);
    for (unsigned i = 0; i < times; i++) {
        (void)take_over(r, "--takeover", false);
        CHECK_INT(r, weir_check(looks), WEIR_E_STALE);
        weir_close(looks);
        looks = rig_attach(r, WEIR_ROLE_MONITOR);
        rig_sleep_ms(200 + rig_random(r, 400));
        if (i % 2 == 1) { /* the new one's worker is mortal as any */
            rig_worker_kill(r);
        }
    }
    struct weir_permit p;
    CHECK_INT(r, weir_check(idle), 0);
    CHECK_INT(
        r, weir_permit_try(idle, rig_route(idle, "free.own"), 0, NULL, WEIR_PRIORITY_HIGH, &p), 0);
    weir_store_release_u32(&r->shared->stop, 1);
    for (size_t i = 0; i < WEIR_ARRAY_CNT(role); i++) {
        CHECK_INT(r, rig_wait(pid[i], 10000), 0);
    }
    weir_close(idle);
    weir_close(looks);
    (void)printf(
        "%u takeovers: permits stood still %.2f ms at most by the broker's account; longest "
        "between two "
        "grants of a trader %.1f ms (before: %.1f ms); %u permits; orders: %u done, %u unknown, %u "
        "otherwise, %u not taken; %u reads\n",
        times, log_pause_ms(r), c[GAP_US] / 1000.0, quiet_us / 1000.0, c[GRANTED], c[ENDED],
        c[UNKNOWN], c[OTHER], c[SUBMIT_ERRORS], c[READS]);
    CHECK_INT(r, c[SUBMIT_ERRORS], 0);
    CHECK_INT(r, c[BAD], 0);
    CHECK(r, c[ENDED] > 20 && c[READS] > 20 && c[GRANTED] > 1000, "all took part");
    CHECK(r, log_pause_ms(r) < 500, "a pause of milliseconds"); /* on a busy machine */
}

/* ---------------------------------------------------------------------------------------------- refusals */

static void refused(struct rig *r)
{
    char out[2048];
    char want[512];
    struct weir *w = rig_attach(r, WEIR_ROLE_TRADER);
    pid_t worker = rig_process(r, "weird-worker");
    /* Other limits. */
    configure(r, 3000, "log: info");
    CHECK_INT(r, rig_weird_run(r, "--takeover", out, sizeof out), 1);
    (void)snprintf(want, sizeof want,
                   "weird: cannot take over: pid=%d: the configuration means other limits, routes, "
                   "endpoints, domains or ring than those in force: start with the configuration "
                   "that it runs with\n",
                   (int)r->weird);
    CHECK_TEXT(r, out, want);
    configure(r, 4000, "log: info, domains: [{name: default}, {name: other}]");
    CHECK_INT(r, rig_weird_run(r, "--takeover", out, sizeof out), 1);
    CHECK_TEXT(r, out, want);
    configure(r, 4000, "log: info");
    /* Another place for the journal. */
    r->state_dir = r->dir;
    CHECK_INT(r, rig_weird_run(r, "--takeover", out, sizeof out), 1);
    (void)snprintf(want, sizeof want,
                   "weird: cannot take over: pid=%d: its journal is in no directory, this one's "
                   "would be in %s: give --state-dir as it has it\n",
                   (int)r->weird, r->dir);
    CHECK_TEXT(r, out, want);
    r->state_dir = NULL;
    /* Without the option: a second broker would grant beside the first. */
    CHECK_INT(r, rig_weird_run(r, NULL, out, sizeof out), 1);
    (void)snprintf(want, sizeof want,
                   "weird: cannot start: another broker, or the worker of one, runs here: "
                   "path=%s/rig/lock pid=%d: stop it first, give --takeover to go on in its place, "
                   "or choose another broker.name\n",
                   r->dir, (int)r->weird);
    CHECK_TEXT(r, out, want);
    CHECK_INT(r, rig_process(r, "weird-worker"), worker);
    CHECK_INT(r, weir_check(w), 0);
    weir_close(w);
}

static int taker_connect(const struct rig *r)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    (void)snprintf(to.sun_path, sizeof to.sun_path, "%s/rig/" WEIR_HANDOVER_SOCKET, r->dir);
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (const struct sockaddr *)&to, sizeof to) != 0) {
        return -1;
    }
    return fd;
}

static struct weir_handover taker_hello(void)
{
    struct weir_handover m;
    memset(&m, 0, sizeof m);
    m.magic = WEIR_HANDOVER_MAGIC;
    m.version = WEIR_HANDOVER_VERSION;
    m.bytes = sizeof m;
    m.kind = WEIR_HANDOVER_HELLO;
    m.hello.abi_major = WEIR_ABI_MAJOR;
    m.hello.layout_hash = weir_layout_hash();
    return m;
}

/* A weird of another ABI, and whoever else may connect there. */
static void other_abi(struct rig *r)
{
    static struct weir_handover m;
    for (int what = 0; what < 4; what++) {
        struct weir_handover q = taker_hello();
        int fd = taker_connect(r);
        CHECK(r, fd >= 0, "connected");
        q.hello.abi_major += what == 0;
        q.hello.layout_hash += what == 1;
        q.magic += what == 2;
        (void)send(fd, &q, what == 3 ? 7 : sizeof q, MSG_NOSIGNAL);
        struct pollfd p = {.fd = fd, .events = POLLIN};
        (void)poll(&p, 1, 3000);
        memset(&m, 0, sizeof m);
        ssize_t n = recv(fd, &m, sizeof m, 0);
        if (what < 2) {
            CHECK_INT(r, m.error, what == 0 ? WEIR_E_ABI : WEIR_E_LAYOUT);
            CHECK(r,
                  strstr(m.text,
                         "stop it and start the other one; what it has used is remembered") != NULL,
                  "the next step");
        } else {
            CHECK_INT(r, n, 0);
        }
        (void)close(fd);
    }
    CHECK(r, rig_log_has(r, "takeover_refused"), "it says so");
}

static void nobody(struct rig *r)
{
    char out[1024];
    char want[256];
    CHECK_INT(r, rig_weird_run(r, "--takeover", out, sizeof out), 1);
    (void)snprintf(want, sizeof want,
                   "weird: cannot take over: path=%s/rig: no broker runs here: start without "
                   "--takeover\n",
                   r->dir);
    CHECK_TEXT(r, out, want);
}

/* ---------------------------------------------------------------------------------------------- without a supervisor */

/* The supervisor dies; a usual start goes on with its worker's memory, and clients come back to it by themselves. */
static void orphan(struct rig *r)
{
    struct weir_permit p;
    struct weir_response a;
    struct weir *w = rig_attach(r, WEIR_ROLE_TRADER);
    struct weir *leaver = rig_attach(r, WEIR_ROLE_CALLER);
    weir_route_id flow = rig_route(w, "free.own");
    const struct weir_request_spec ping = {.struct_bytes = sizeof ping,
                                           .route = rig_route(w, "sim.ping")};
    (void)kill(r->weird, SIGKILL);
    CHECK_INT(r, rig_wait(r->weird, 2000), 128 + SIGKILL);
    CHECK_INT(r, weir_check(w), WEIR_E_STALE);
    CHECK_INT(r, weir_permit_try(w, flow, 0, NULL, WEIR_PRIORITY_HIGH, &p), 0);
    pid_t worker = rig_process(r, "weird-worker");
    uint64_t began_ns = rig_now_ns();
    (void)take_over(r, NULL, true);
    CHECK_INT(r, rig_wait(worker, 5000), 0);
    /* It is asked at once: clients do not wait for whatever else a start has patience with. */
    CHECK(r, rig_now_ns() - began_ns < 1900 * rig_slowness() * WEIR_NS_PER_MS,
          "taken over after %.1f s", (double)(rig_now_ns() - began_ns) / 1e9);
    for (int i = 0; i < 500 && !rig_log_has(r, "\"orphan\":true"); i++) {
        rig_sleep_ms(5);
    }
    CHECK(r, rig_log_has(r, "\"orphan\":true"), "it says so");
    int rc = WEIR_E_STALE;
    for (int i = 0; i < 300 && rc != 0; i++) {
        rc = weir_permit_try(w, flow, 0, NULL, WEIR_PRIORITY_HIGH, &p);
        rig_sleep_ms(10);
    }
    CHECK_INT(r, rc, 0);
    CHECK_INT(r, weir_check(w), 0);
    CHECK_INT(r, weir_call(w, &ping, weir_now_ns(w) + 2 * WEIR_NS_PER_S, &a), 0);
    CHECK_INT(r, a.result, WEIR_RESULT_DONE);
    (void)weir_release(w, a.ticket);
    /* Another one closes without having asked for anything since: the new broker must hear of it. */
    uint32_t index = leaver->at->client;
    weir_close(leaver);
    struct weir *looks = rig_attach(r, WEIR_ROLE_MONITOR);
    for (int i = 0; i < 300 && rig_board_client(looks, index)->state != WEIR_CLIENT_FREE; i++) {
        rig_sleep_ms(10);
    }
    CHECK_INT(r, rig_board_client(looks, index)->state, WEIR_CLIENT_FREE);
    weir_close(looks);
    weir_close(w);
}

/* Nobody lives that could hand over: the next broker waits the lease out. */
static void worker_dead(struct rig *r)
{
    struct weir_permit p;
    struct weir *w = rig_attach(r, WEIR_ROLE_TRADER);
    /* The worker alone: its supervisor hands over. */
    (void)kill(rig_process(r, "weird-worker"), SIGABRT); /* no sanitizer takes it for its own */
    for (int i = 0; i < 3000 && rig_process(r, "weird-worker") != 0; i++) {
        rig_sleep_ms(1);
    }
    CHECK_INT(r, rig_process(r, "weird-worker"),
              0); /* it waits a second before it starts another one */
    (void)take_over(r, "--takeover", false);
    int rc = weir_permit_try(w, rig_route(w, "free.own"), 0, NULL, WEIR_PRIORITY_HIGH, &p);
    CHECK_INT(r, rc, 0);
    weir_close(w);
}

/* The journal goes over too: the next clean start finds it sound and exact. A client that is left by all does not knock for ever. */
static void journal(struct rig *r)
{
    char path[160];
    struct weir_permit p;
    static const char yaml[] = "broker: {name: rig, log: info}\n"
                               "providers:\n"
                               "  - name: sim\n"
                               "    clock: {source: host, error: 1ms, max_jitter: 20ms}\n"
                               "    limits:\n"
                               "      - {name: day, kind: fixed_window, quota: 1000, window: 24h}\n"
                               "    routes:\n"
                               "      - {name: own, transport: own, cost: {day: 1}}\n";
    struct weir_limit_info info;
    char state_dir[96];
    (void)snprintf(state_dir, sizeof state_dir, "%s/disk", r->dir);
    r->state_dir = state_dir;
    (void)snprintf(path, sizeof path, "%s/rig/state", r->dir);
    (void)unlink(path);
    rig_config(r, yaml, 0);
    /* The limits of this name are new: somebody vouches that nothing was used. */
    r->option = "--fresh";
    rig_weird_start(r);
    r->option = NULL;
    struct weir *w = rig_attach(r, WEIR_ROLE_TRADER);
    for (unsigned i = 0; i < 12; i++) {
        CHECK_INT(r,
                  weir_permit_wait(w, rig_route(w, "sim.own"), 0, NULL, WEIR_PRIORITY_HIGH,
                                   weir_now_ns(w) + 2 * WEIR_NS_PER_S, &p),
                  0);
        if (i == 5) {
            (void)take_over(r, "--takeover", false);
        }
    }
    CHECK_INT(r, weir_limit_get(w, 0, WEIR_SCOPE_DEFAULT, &info), 0);
    CHECK_INT(r, info.used_units, 12);
    CHECK_INT(r, rig_weird_stop(r, 5000), 0);
    (void)snprintf(path, sizeof path, "%s/rig/" WEIR_HANDOVER_SOCKET, r->dir);
    CHECK(r, access(path, F_OK) != 0, "no stale socket after a clean stop");
    rig_weird_start(r);
    CHECK(r, rig_log_has(r, "limits_restored"), "exact");
    CHECK_INT(r, weir_permit_try(w, 0, 0, NULL, WEIR_PRIORITY_HIGH, &p), WEIR_DENIED);
    for (int i = 0; i < 200; i++) {
        CHECK_INT(r, weir_check(w), WEIR_E_STALE);
        rig_sleep_ms(2);
    }
    weir_close(w);
    w = rig_attach(r, WEIR_ROLE_TRADER);
    CHECK_INT(r, weir_limit_get(w, 0, WEIR_SCOPE_DEFAULT, &info), 0);
    CHECK_INT(r, info.used_units, 12);
    weir_close(w);
    unsigned refused = 0;
    char line[8192];
    FILE *f = fopen(r->log, "re");
    while (f != NULL && fgets(line, sizeof line, f) != NULL) {
        refused += strstr(line, "this broker does not know that client") != NULL;
    }
    if (f != NULL) {
        (void)fclose(f);
    }
    CHECK(r, refused <= 2, "knocked %u times", refused);
    CHECK_INT(r, rig_weird_stop(r, 5000), 0);
    r->state_dir = NULL;
}

int main(int argc, char **argv)
{
    struct rig r;
    rig_open(&r, "takeover", argc, argv, 85);
    rig_sim_start(&r, sim);
    configure(&r, 4000, "log: info");
    rig_weird_start(&r);
    under_load(&r, 4);
    refused(&r);
    other_abi(&r);
    orphan(&r);
    worker_dead(&r);
    rig_orders_check(&r, false);
    PROMISE_INT(&r, rig_report(&r, "violations"), 0);
    CHECK_INT(&r, rig_report(&r, "by_status.429"), -1);
    CHECK_INT(&r, rig_weird_stop(&r, 15000), 0);
    CHECK(&r, rig_log_has(&r, "\"event\":\"stopped\""), "a clean stop");
    nobody(&r);
    journal(&r);
    return rig_close(&r);
}
