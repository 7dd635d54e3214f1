/*
 * kill -9 at each step of a takeover. The test stands between the two brokers as a proxy: it passes on their messages, and kills one of them, or the old one's
 * worker, just before a message of a given name goes on. Whatever dies: no two brokers grant (the exchange counts every call, and its limit is always asked
 * for in full), each order ends once, and afterwards either broker serves, or both are dead and the next one starts.
 * Where the old one dies before it told its clients of the next, they look for it themselves: the instants rejoin:connected and rejoin:marked.
 *
 *   takeover_kill WEIR-SIM WEIRD [SEED] [--long]     --long: every victim at every step; else each step with one of them
 */
#include "rig.h"

#include "broker/control.h"
#include "shm/weir_handover.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

enum { GRANTED = 0, DONE = 1, UNKNOWN = 2, OTHER = 3, REOPENED = 4 };

static const char sim[] =
    "{\"latency_ms\": 2, \"jitter_ms\": 4, \"ban_after\": 3, \"limits\": [{\"name\": "
    "\"weight\", \"kind\": \"fixed_window\", \"quota\": 60, \"window_ms\": 1000}]}";

static const char yaml[] =
    "broker: {name: rig, log: info, drain: 1s}\n"
    "providers:\n"
    "  - name: sim\n"
    "    clock: {path: /api/v3/time, field: serverTime, interval: 1s, max_jitter: 100ms}\n"
    "    limits:\n"
    "      - {name: weight, kind: fixed_window, quota: 60, window: 1s, scope: ip, headroom: "
    "{critical: 5%}}\n"
    "    endpoints:\n"
    "      - {name: a, url: \"http://127.0.0.1:$PORT\", connections: 16}\n"
    "    routes:\n"
    "      - {name: order, method: POST, path: /api/v3/order, cost: {weight: 1}, timeout: 3s}\n"
    "      - {name: own, transport: own, cost: {weight: 1}}\n";

struct step {
    const char *name;
    uint32_t kind; /* of the message before which it happens */
    bool from_taker;
};

static const struct step steps[] = {
    {"hello asked", WEIR_HANDOVER_HELLO, true},   {"hello answered", WEIR_HANDOVER_HELLO, false},
    {"piece asked", WEIR_HANDOVER_PIECE, true},   {"piece answered", WEIR_HANDOVER_PIECE, false},
    {"client asked", WEIR_HANDOVER_CLIENT, true}, {"client answered", WEIR_HANDOVER_CLIENT, false},
    {"ready", WEIR_HANDOVER_READY, true},         {"go", WEIR_HANDOVER_GO, false},
    {"taken", WEIR_HANDOVER_TAKEN, true},
};

enum victim { VICTIM_TAKER, VICTIM_GIVER, VICTIM_WORKER, VICTIM_BOTH, VICTIM_CNT };
static const char *const victims[] = {"the new one", "the old one", "the old one's worker", "both"};

/* ---------------------------------------------------------------------------------------------- strategies */

static bool going(struct rig *r)
{
    return weir_load_acquire_u32(&r->shared->stop) == 0;
}

/* A handle that is stale for good is opened anew, as a strategy would. */
static bool is_lost(struct weir *w, uint64_t since_ns)
{
    return weir_check(w) == WEIR_E_STALE && rig_now_ns() - since_ns > 300 * WEIR_NS_PER_MS;
}

static struct weir *reopen(struct rig *r, struct weir *w, enum weir_role role)
{
    struct weir_open_opts opts = {.role = role};
    struct weir_diag diag;
    int rc;
    weir_close(w);
    weir_fetch_add_u32(&r->shared->count[REOPENED], 1);
    while ((w = rig_attach_opts(r, &opts, &diag, &rc)) == NULL && going(r)) {
        rig_sleep_ms(10);
    }
    return w;
}

/* Takes what it can get and calls the exchange with it. */
static int trades(struct rig *r, int arg)
{
    (void)arg;
    struct weir *w = rig_attach(r, WEIR_ROLE_TRADER);
    weir_route_id own = rig_route(w, "sim.own");
    uint64_t good_ns = rig_now_ns();
    while (going(r)) {
        struct weir_permit p;
        int rc = weir_permit_try(w, own, 0, NULL, WEIR_PRIORITY_CRITICAL, &p);
        if (rc == 0) {
            struct weir_outcome o = {.kind = WEIR_OUTCOME_NOT_SENT};
            if (weir_now_ns(w) < p.use_by_ns) {
                o.kind = WEIR_OUTCOME_ANSWERED;
                o.status = (uint32_t)rig_http(r, "GET", "/api/v3/ping", NULL, NULL, 0);
                weir_fetch_add_u32(&r->shared->count[GRANTED], 1);
            }
            (void)weir_permit_settle(w, &p, &o);
            good_ns = rig_now_ns();
        } else if (is_lost(w, good_ns) && (w = reopen(r, w, WEIR_ROLE_TRADER)) == NULL) {
            return 0;
        } else {
            rig_sleep_ms(1);
        }
    }
    weir_close(w);
    return 0;
}

static int orders(struct rig *r, int arg)
{
    (void)arg;
    struct weir *w = rig_attach(r, WEIR_ROLE_CALLER);
    weir_route_id route = rig_route(w, "sim.order");
    uint64_t good_ns = rig_now_ns();
    while (going(r)) {
        weir_ticket t;
        uint32_t n;
        struct weir_response a;
        int rc = rig_order_submit(r, w, route, weir_now_ns(w) + WEIR_NS_PER_S, &t, &n);
        if (rc == 0) {
            rc = weir_wait(w, t, weir_now_ns(w) + 4 * WEIR_NS_PER_S, &a);
        }
        if (rc == 0) {
            rig_order_ended(r, n, &a);
            weir_fetch_add_u32(&r->shared->count[a.result == WEIR_RESULT_DONE              ? DONE
                                                 : a.result == WEIR_RESULT_OUTCOME_UNKNOWN ? UNKNOWN
                                                                                           : OTHER],
                               1);
            (void)weir_release(w, t);
            good_ns = rig_now_ns();
        } else if (is_lost(w, good_ns) && (w = reopen(r, w, WEIR_ROLE_CALLER)) == NULL) {
            return 0; /* an order that both brokers took with them stays out: its strategy knows that it does not know */
        } else {
            rig_sleep_ms(1);
        }
    }
    weir_close(w);
    return 0;
}

/* ---------------------------------------------------------------------------------------------- the proxy */

static int socket_at(const char *path, bool listens)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    (void)snprintf(at.sun_path, sizeof at.sun_path, "%s", path);
    int rc = listens ? bind(fd, (struct sockaddr *)&at, sizeof at)
                     : connect(fd, (struct sockaddr *)&at, sizeof at);
    if (rc != 0 || (listens && listen(fd, 4) != 0)) {
        (void)close(fd);
        return -1;
    }
    return fd;
}

struct duel {
    const struct step *step;
    enum victim victim;
    pid_t giver, taker, worker;
    bool struck;
};

static void strike(struct duel *d)
{
    d->struck = true;
    if (d->victim == VICTIM_TAKER || d->victim == VICTIM_BOTH) {
        (void)kill(d->taker, SIGKILL);
    }
    if (d->victim == VICTIM_GIVER || d->victim == VICTIM_BOTH) {
        (void)kill(d->giver, SIGKILL);
    }
    if ((d->victim == VICTIM_WORKER || d->victim == VICTIM_BOTH) && d->worker > 0) {
        (void)kill(d->worker, SIGKILL);
    }
}

/* Pass one message on. Returns false at the end. */
static bool pass(struct duel *d, int from, int to, bool from_taker)
{
    static struct weir_handover m;
    int fds[8];
    size_t cnt = 8;
    ssize_t n = control_receive(from, &m, sizeof m, fds, &cnt);
    if (n <= 0) {
        return n < 0 && errno == EAGAIN;
    }
    if (!d->struck && m.kind == d->step->kind && from_taker == d->step->from_taker) {
        strike(d);
        rig_sleep_ms(5); /* it is dead when the message goes on */
    }
    (void)control_send(to, &m, (size_t)n, fds, cnt);
    for (size_t i = 0; i < cnt; i++) {
        (void)close(fds[i]);
    }
    return true;
}

static void proxy(struct duel *d, int listener, const char *real)
{
    struct pollfd wait = {.fd = listener, .events = POLLIN};
    if (poll(&wait, 1, 5000 * (int)rig_slowness()) <= 0) {
        return;
    }
    int taker = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    int giver = socket_at(real, false);
    struct pollfd p[2] = {{.fd = taker, .events = POLLIN}, {.fd = giver, .events = POLLIN}};
    while (giver >= 0 && poll(p, 2, 15000) > 0) {
        if ((p[0].revents != 0 && !pass(d, taker, giver, true)) ||
            (p[1].revents != 0 && !pass(d, giver, taker, false))) {
            break;
        }
    }
    (void)close(taker);
    if (giver >= 0) {
        (void)close(giver);
    }
}

/* ---------------------------------------------------------------------------------------------- cases */

static bool is_running(pid_t pid)
{
    return pid > 0 && waitpid(pid, NULL, WNOHANG) == 0;
}

/* One takeover in which somebody dies. Afterwards r->weird serves. */
static void duel(struct rig *r, const struct step *step, enum victim victim)
{
    char path[160];
    char real[170];
    (void)snprintf(path, sizeof path, "%s/rig/" WEIR_HANDOVER_SOCKET, r->dir);
    (void)snprintf(real, sizeof real, "%s.real", path);
    (void)rename(path, real);
    int listener = socket_at(path, true);
    struct duel d = {.step = step,
                     .victim = victim,
                     .giver = r->weird,
                     .worker = rig_process(r, "weird-worker")};
    uint64_t began_ns = rig_now_ns();
    uint32_t granted = weir_load_acquire_u32(&r->shared->count[GRANTED]);
    d.taker = rig_weird_another(r, "--takeover");
    proxy(&d, listener, real);
    (void)close(listener);
    (void)rename(real, path); /* whoever serves has the listener: it goes from broker to broker */
    CHECK(r, d.struck, "at %s", step->name);
    /* Who is left? Both leave by themselves where they must; a taker that gave up is gone soon. */
    bool old = true;
    bool new = true;
    for (unsigned i = 0; i < 300 * rig_slowness() && old && new; i++) {
        rig_sleep_ms(10);
        old = old && is_running(d.giver);
        new = new &&is_running(d.taker);
    }
    for (unsigned i = 0; i < 30 * rig_slowness() && (old || new);
         i++) { /* the other one may be leaving too */
        rig_sleep_ms(10);
        old = old && is_running(d.giver);
        new = new &&is_running(d.taker);
    }
    CHECK(r, !old || !new, "one at most at %s", step->name);
    const char *serves = old   ? "the old one goes on"
                         : new ? "the new one goes on"
                               : "a third one starts";
    r->weird = old ? d.giver : d.taker;
    if (!old && !new) {
        rig_weird_start(r); /* from the worker that is left, or after the lease */
    }
    (void)rig_process_next(r, "weird-worker", 0, 3000);
    /* Permits flow again. */
    for (int i = 0; i < 1000 && weir_load_acquire_u32(&r->shared->count[GRANTED]) < granted + 5;
         i++) {
        rig_sleep_ms(10);
    }
    CHECK(r, weir_load_acquire_u32(&r->shared->count[GRANTED]) >= granted + 5,
          "permits flow after %s", step->name);
    (void)printf("%-16s %-22s died: %s, %.1f s\n", step->name, victims[victim], serves,
                 (double)(rig_now_ns() - began_ns) / 1e9);
    (void)fflush(stdout);
}

int main(int argc, char **argv)
{
    static int (*const role[])(struct rig *, int) = {trades, trades, orders, orders};
    pid_t pid[WEIR_ARRAY_CNT(role)];
    struct rig r;
    bool all = argc > 3 && strcmp(argv[argc - 1], "--long") == 0;
    rig_open(&r, "takeover_kill", argc - (all ? 1 : 0), argv, all ? 600 : 170);
    rig_sim_start(&r, sim);
    rig_config(&r, yaml, 0);
    rig_weird_start(&r);
    for (size_t i = 0; i < WEIR_ARRAY_CNT(role); i++) {
        pid[i] = rig_fork(&r, role[i], (int)i);
    }
    rig_sleep_ms(300);
    unsigned first = rig_random(&r, VICTIM_CNT);
    for (size_t s = 0; s < WEIR_ARRAY_CNT(steps); s++) {
        for (unsigned v = 0; v < VICTIM_CNT; v++) {
            if (all || v == (first + s) % VICTIM_CNT) {
                duel(&r, &steps[s], (enum victim)v);
            }
        }
    }
    weir_store_release_u32(&r.shared->stop, 1);
    for (size_t i = 0; i < WEIR_ARRAY_CNT(role); i++) {
        CHECK_INT(&r, rig_wait(pid[i], 10000), 0);
    }
    uint32_t *c = r.shared->count;
    (void)printf(
        "%u permits used; orders: %u done, %u unknown, %u otherwise; handles opened anew: %u\n",
        c[GRANTED], c[DONE], c[UNKNOWN], c[OTHER], c[REOPENED]);
    rig_orders_check(&r, true);
    PROMISE_INT(&r, rig_report(&r, "violations"), 0);
    CHECK_INT(&r, rig_report(&r, "by_status.429"), -1);
    CHECK_INT(&r, rig_weird_stop(&r, 15000), 0);
    return rig_close(&r);
}
