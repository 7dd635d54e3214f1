/*
 * quotas.c: what goes mad in one domain is refused by name, and another domain does not notice.
 *
 * Oracle: the count of attachments and answers that each process saw, and the exchange's count of calls. A fork bomb of 1000 processes that attach, connections that
 * say nothing, a flood of requests, and each quota at its edge.
 */
#include "rig.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define BOMB 1000

/* r->shared->count */
enum {
    ATTACHED = 0,
    REFUSED = 1,
    OTHERWISE = 2,
    NEIGHBOUR = 10,
    NEIGHBOUR_BAD = 11,
    MATE = 12,
    MATE_BAD = 13,
    SLOWEST_MS = 14
};

static const char yaml[] =
    "broker:\n"
    "  name: rig\n"
    "  wake: adaptive\n"
    "  memory: 128MiB\n"
    "  domains:\n"
    "    - {name: default, clients: 8, quota: {slots: 400, memory: 20MiB}}\n"
    "    - {name: good, clients: 16}\n"
    "    - {name: narrow, clients: 4, quota: {in_flight: 4, monitors: 1}}\n"
    "    - {name: slow, clients: 4, quota: {rate: 50}}\n"
    "    - {name: small, clients: 4, quota: {memory: 2MiB}}\n"
    "providers:\n"
    "  - name: sim\n"
    "    limits: [{name: l, kind: token_bucket, quota: 100000, window: 1s}]\n"
    "    endpoints: [{name: a, url: \"http://127.0.0.1:$PORT\", connections: 64}]\n"
    "    routes:\n"
    "      - {name: ping, method: GET, path: /api/v3/ping, cost: {l: 1}, timeout: 5s}\n"
    "      - {name: own, transport: own, cost: {l: 1}}\n";

static struct weir *attach(struct rig *r, const char *domain, enum weir_role role, uint32_t slots,
                           struct weir_diag *diag, int *rc)
{
    struct weir_open_opts opts = {
        .role = role, .domain = domain, .slots = slots, .patience_ns = 10 * WEIR_NS_PER_S};
    return rig_attach_opts(r, &opts, diag, rc);
}

static struct weir *must_attach(struct rig *r, const char *domain)
{
    struct weir_diag diag = {0};
    int rc;
    struct weir *w = attach(r, domain, WEIR_ROLE_TRADER, 0, &diag, &rc);
    if (w == NULL) {
        (void)printf("FAILED: %s: cannot attach: %s\n", domain, diag.text);
        (void)fflush(stdout);
        rig_exit(1);
    }
    return w;
}

/* ---------------------------------------------------------------------------------------------- the bomb */

/* Calls and permits, while others go mad. */
static int trades(struct rig *r, int arg)
{
    struct weir *w = must_attach(r, arg == NEIGHBOUR ? "good" : "default");
    const struct weir_request_spec spec = {.struct_bytes = sizeof spec,
                                           .route = rig_route(w, "sim.ping")};
    weir_route_id own = rig_route(w, "sim.own");
    (void)weir_fetch_add_u32(&r->shared->count[30], 1);
    while (weir_load_acquire_u32(&r->shared->stop) == 0) {
        struct weir_response a = {0};
        struct weir_permit p;
        uint64_t started_ns = rig_now_ns();
        int rc = weir_call(w, &spec, weir_now_ns(w) + 5 * WEIR_NS_PER_S, &a);
        bool good = rc == 0 && a.result == WEIR_RESULT_DONE && a.status == 200 &&
                    weir_permit_try(w, own, 0, NULL, WEIR_PRIORITY_MEDIUM, &p) == 0;
        (void)weir_release(w, a.ticket);
        (void)weir_fetch_add_u32(&r->shared->count[good ? arg : arg + 1], 1);
        uint32_t took_ms = (uint32_t)((rig_now_ns() - started_ns) / WEIR_NS_PER_MS);
        if (arg == NEIGHBOUR && took_ms > weir_load_relaxed_u32(&r->shared->count[SLOWEST_MS])) {
            weir_store_release_u32(&r->shared->count[SLOWEST_MS], took_ms);
        }
    }
    weir_close(w);
    return 0;
}

/* One of a thousand. Whoever gets in stays in. */
static int attaches(struct rig *r, int arg)
{
    (void)arg;
    struct weir_diag diag = {0};
    int rc;
    struct weir *w = attach(r, "default", WEIR_ROLE_CALLER, 4, &diag, &rc);
    bool clear = rc == WEIR_E_TOO_MANY_CLIENTS &&
                 strstr(diag.text, "all 8 places of domain default are taken") != NULL;
    (void)weir_fetch_add_u32(&r->shared->count[w != NULL ? ATTACHED
                                               : clear   ? REFUSED
                                                         : OTHERWISE],
                             1);
    if (w == NULL && !clear) {
        (void)printf("FAILED: %d %s\n", rc, diag.text);
    }
    while (w != NULL && weir_load_acquire_u32(&r->shared->stop) == 0) {
        rig_sleep_ms(5);
    }
    weir_close(w);
    return 0;
}

static void bomb(struct rig *r)
{
    static pid_t pid[BOMB];
    weir_store_release_u32(&r->shared->stop, 0);
    memset(r->shared->count, 0, sizeof r->shared->count);
    pid_t neighbour = rig_fork(r, trades, NEIGHBOUR);
    pid_t mate = rig_fork(r, trades, MATE);
    for (int i = 0; i < 500 && weir_load_acquire_u32(&r->shared->count[30]) < 2; i++) {
        rig_sleep_ms(10); /* both are in before it begins */
    }
    for (int i = 0; i < BOMB; i++) {
        pid[i] = rig_fork(r, attaches, i);
        CHECK(r, pid[i] > 0, "fork %d: %s", i, strerror(errno));
        if (i == BOMB / 2) {
            uint64_t started_ns = rig_now_ns();
            struct weir *w = must_attach(r, "good"); /* in its middle */
            CHECK(r, rig_now_ns() - started_ns < 5 * WEIR_NS_PER_S, "another domain lets in");
            weir_close(w);
        }
    }
    const uint32_t *n = r->shared->count;
    for (int i = 0;
         i < 3000 && weir_load_acquire_u32(&n[ATTACHED]) + weir_load_acquire_u32(&n[REFUSED]) +
                             weir_load_acquire_u32(&n[OTHERWISE]) <
                         BOMB;
         i++) {
        rig_sleep_ms(10);
    }
    uint32_t before = weir_load_acquire_u32(&n[NEIGHBOUR]);
    rig_sleep_ms(300);
    CHECK(r, weir_load_acquire_u32(&n[NEIGHBOUR]) > before, "the neighbour goes on");
    CHECK_INT(r, n[ATTACHED], 7); /* and its mate, who was there before */
    CHECK_INT(r, n[REFUSED], BOMB - 7);
    CHECK_INT(r, n[OTHERWISE], 0);
    weir_store_release_u32(&r->shared->stop, 1);
    for (int i = 0; i < BOMB; i++) {
        CHECK_INT(r, rig_wait(pid[i], 20000), 0);
    }
    CHECK_INT(r, rig_wait(neighbour, 10000), 0);
    CHECK_INT(r, rig_wait(mate, 10000), 0);
    CHECK_INT(r, n[NEIGHBOUR_BAD], 0);
    CHECK_INT(r, n[MATE_BAD], 0);
    CHECK(r, n[MATE] > 10 && n[NEIGHBOUR] > 10, "%u and %u calls", n[MATE], n[NEIGHBOUR]);
    (void)printf("bomb of %d: %u attached, %u refused; meanwhile %u calls of a neighbour, the "
                 "slowest %u ms, and %u of the same domain\n",
                 BOMB, n[ATTACHED], n[REFUSED], n[NEIGHBOUR], n[SLOWEST_MS], n[MATE]);
    struct weir *w = must_attach(r, "default"); /* the places come back */
    weir_close(w);
}

/* Connections that say nothing hold few places, and only their own domain's. */
static void silence(struct rig *r)
{
    enum { MANY = 120 };
    int fd[MANY];
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    (void)snprintf(sa.sun_path, sizeof sa.sun_path, "%s/rig/default.sock", r->dir);
    for (int i = 0; i < MANY; i++) {
        fd[i] = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        (void)connect(fd[i], (const struct sockaddr *)&sa, sizeof sa);
    }
    uint64_t started_ns = rig_now_ns();
    struct weir *w = must_attach(r, "good");
    uint64_t took_ms = (rig_now_ns() - started_ns) / WEIR_NS_PER_MS;
    CHECK(r, took_ms < 3000, "another domain lets in after %llu ms", (unsigned long long)took_ms);
    weir_close(w);
    w = must_attach(r, "default"); /* they are sent away after a second each */
    weir_close(w);
    for (int i = 0; i < MANY; i++) {
        (void)close(fd[i]);
    }
}

/* ---------------------------------------------------------------------------------------------- each at its edge */

static void refused(struct rig *r, const char *domain, enum weir_role role, uint32_t slots,
                    int error, const char *text)
{
    struct weir_diag diag = {0};
    int rc;
    struct weir *w = attach(r, domain, role, slots, &diag, &rc);
    CHECK(r, w == NULL, "%s: refused", domain);
    CHECK_INT(r, rc, error);
    CHECK(r, strstr(diag.text, text) != NULL, "wanted: %s\n  got: %s", text, diag.text);
    weir_close(w);
}

static void slots_and_memory(struct rig *r)
{
    struct weir_diag diag = {0};
    int rc;
    struct weir *first = attach(r, "default", WEIR_ROLE_CALLER, 300, &diag, &rc);
    CHECK(r, first != NULL, "300 slots: %s", diag.text);
    refused(r, "default", WEIR_ROLE_CALLER, 101, WEIR_E_QUOTA_SLOTS,
            "101 slots asked; domain default has 400 together, of which 300 are taken");
    struct weir *second = attach(r, "default", WEIR_ROLE_CALLER, 100, &diag, &rc);
    CHECK(r, second != NULL, "the last 100 slots: %s", diag.text);
    weir_close(first);
    weir_close(second);
    first = must_attach(r, "small");
    second = must_attach(r, "small");
    refused(r, "small", WEIR_ROLE_CALLER, 256, WEIR_E_QUOTA_MEMORY,
            "domain small has 2097152 together, of which ");
    weir_close(first);
    rig_sleep_ms(300);
    first = must_attach(r, "small"); /* what left is free again */
    weir_close(first);
    weir_close(second);
    /* Monitors. */
    first = attach(r, "narrow", WEIR_ROLE_MONITOR, 0, &diag, &rc);
    CHECK(r, first != NULL, "a monitor: %s", diag.text);
    refused(r, "narrow", WEIR_ROLE_MONITOR, 0, WEIR_E_TOO_MANY_CLIENTS,
            "all places for monitors of the domain are taken");
    weir_close(first);
    rig_sleep_ms(300);
    first = attach(r, "narrow", WEIR_ROLE_MONITOR, 0, &diag, &rc);
    CHECK(r, first != NULL, "a monitor again: %s", diag.text);
    weir_close(first);
}

/* Submit `cnt` at once and wait for all: how many were done, how many ended by `error`. */
static unsigned flood(struct rig *r, struct weir *w, const char *route, unsigned cnt, int error,
                      unsigned *rejected)
{
    static weir_ticket ticket[1024];
    const struct weir_request_spec spec = {.struct_bytes = sizeof spec,
                                           .route = rig_route(w, route),
                                           .deadline_ns = weir_now_ns(w) + 5 * WEIR_NS_PER_S};
    unsigned done = 0;
    *rejected = 0;
    for (unsigned i = 0; i < cnt; i++) {
        CHECK_INT(r, weir_submit(w, &spec, &ticket[i]), 0);
    }
    for (unsigned i = 0; i < cnt; i++) {
        struct weir_response a = {0};
        CHECK_INT(r, weir_wait(w, ticket[i], weir_now_ns(w) + 10 * WEIR_NS_PER_S, &a), 0);
        done += a.result == WEIR_RESULT_DONE;
        *rejected += a.result == WEIR_RESULT_REJECTED && a.error == error;
        (void)weir_release(w, ticket[i]);
    }
    CHECK_INT(r, done + *rejected, cnt);
    return done;
}

static void in_flight(struct rig *r)
{
    struct weir *w = must_attach(r, "narrow");
    unsigned rejected;
    rig_fault(r, "{\"kind\": \"slow_first_byte\", \"path\": \"/api/v3/ping\", \"delay_ms\": 300, "
                 "\"count\": 1000}");
    unsigned done = flood(r, w, "sim.ping", 20, WEIR_E_QUOTA_IN_FLIGHT, &rejected);
    CHECK_INT(r, done, 4);
    CHECK_INT(r, rejected, 16);
    CHECK_INT(r, flood(r, w, "sim.ping", 4, WEIR_E_QUOTA_IN_FLIGHT, &rejected),
              4); /* they ended: there is room again */
    pid_t worker = rig_process(r, "weird-worker");
    (void)kill(worker, SIGKILL);
    CHECK(r, rig_process_next(r, "weird-worker", worker, 5000) > 0, "a next worker");
    done = flood(r, w, "sim.ping", 20, WEIR_E_QUOTA_IN_FLIGHT, &rejected);
    CHECK(r, done >= 4, "%u done behind a restart", done);
    rig_faults_clear(r);
    weir_close(w);
}

static void rate(struct rig *r)
{
    struct weir *w = must_attach(r, "slow");
    struct weir *other = must_attach(r, "good");
    unsigned rejected;
    uint64_t started_ns = rig_now_ns();
    unsigned done = flood(r, w, "weir.nop", 60, WEIR_E_QUOTA_RATE, &rejected);
    done += flood(r, w, "weir.nop", 60, WEIR_E_QUOTA_RATE, &rejected);
    done += flood(r, w, "weir.nop", 60, WEIR_E_QUOTA_RATE, &rejected);
    uint64_t took_ms = (rig_now_ns() - started_ns) / WEIR_NS_PER_MS;
    CHECK(r, done >= 50 && done <= 50 + 50 * (took_ms + 1) / 1000 + 1, "%u of 180 in %llu ms", done,
          (unsigned long long)took_ms);
    CHECK_INT(r, flood(r, other, "weir.nop", 60, WEIR_E_QUOTA_RATE, &rejected), 60);
    rig_sleep_ms(1100);
    CHECK_INT(r, flood(r, w, "weir.nop", 50, WEIR_E_QUOTA_RATE, &rejected), 50); /* full again */
    weir_close(w);
    weir_close(other);
}

/* ---------------------------------------------------------------------------------------------- limits of the process */

static int few_files(struct rig *r, int arg)
{
    static char out[8192];
    const struct rlimit few = {(rlim_t)arg, (rlim_t)arg};
    if (setrlimit(RLIMIT_NOFILE, &few) != 0) {
        return 77;
    }
    /* 36 clients x 6 + 5 x (1 + 32) + monitors 4 x 64 + 1 + 64 */
    CHECK_INT(r, rig_weird_run(r, NULL, out, sizeof out), 1);
    CHECK(
        r,
        strstr(out,
               "weird: the limit of open files is 500 (ulimit -Hn), and the clients, monitors and "
               "connections of this configuration can need 702: raise it (LimitNOFILE=), or "
               "lower clients, quota.monitors or connections\n") != NULL,
        "%s", out);
    return r->failures == 0 ? 0 : 1;
}

int main(int argc, char **argv)
{
    static struct rig r;
    rig_open(&r, "quotas", argc, argv, 85);
    rig_sim_start(&r, "{\"limits\": [{\"name\": \"weight\", \"kind\": \"fixed_window\", \"quota\": "
                      "100000000, \"window_ms\": 60000}]}");
    rig_config(&r, yaml, 0);
    if (getenv("WEIR_UNDER") ==
        NULL) { /* valgrind lets nobody lower the hard limit of open files */
        CHECK_INT(&r, rig_wait(rig_fork(&r, few_files, 500), 10000), 0);
    }
    rig_weird_start(&r);
    rig_sleep_ms(500); /* who looked whether it is there has left */
    slots_and_memory(&r);
    in_flight(&r);
    rate(&r);
    silence(&r);
    bomb(&r);
    CHECK_INT(&r, rig_weird_stop(&r, 10000), 0);
    return rig_close(&r);
}
