/*
 * What a strategy may do to itself: die with units, slots and queued calls; die with an order on the wire; be stopped for a while and go on; fork, exec, and hand its
 * descriptors to somebody else. Each has one answer, and the others do not notice.
 *
 *   client_life WEIR-SIM WEIRD [SEED] [--long]     --long: stopped for a minute, 200 deaths
 */
#include "rig.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define UNITS       4U
#define QUEUED      8U
#define DEATHS      20U
#define LONG_DEATHS 200U

enum { READY = 0, INDEX = 1, ROUNDS = 2, BAD = 3, ANSWER = 4 };

static const char yaml[] =
    "broker: {name: rig, log: info}\n"
    "providers:\n"
    "  - name: sim\n"
    "    clock: {path: /api/v3/time, field: serverTime, interval: 1s, max_jitter: 10ms}\n"
    "    limits:\n"
    "      - {name: weight, kind: fixed_window, quota: 1000, window: 1s, scope: ip}\n"
    "      - {name: open, kind: concurrency, quota: 4, scope: ip}\n"
    "      - {name: orders, kind: concurrency, quota: 3, orphan_rest: 900ms, scope: ip}\n"
    "    endpoints:\n"
    "      - {name: a, url: \"http://127.0.0.1:$PORT\", connections: 16}\n"
    "    routes:\n"
    "      - {name: order, method: POST, path: /api/v3/order, cost: {weight: 1}, timeout: 3s}\n"
    "      - {name: hold, transport: own, cost: {open: 1}}\n"
    "      - {name: own, transport: own, cost: {weight: 1}}\n"
    "      - {name: place, transport: own, cost: {orders: 1}}\n"
    "  - name: shut\n" /* paused: what is handed over waits */
    "    clock: {source: host, error: 1ms, max_jitter: 20ms}\n"
    "    throttle: {status: [429], retry_after: seconds}\n"
    "    limits:\n"
    "      - {name: flow, kind: token_bucket, quota: 1000, window: 1s, burst: 1000}\n"
    "    endpoints:\n"
    "      - {name: b, url: \"http://127.0.0.1:$PORT\", connections: 16}\n"
    "    routes:\n"
    "      - {name: order, method: POST, path: /api/v3/order, cost: {flow: 1}, timeout: 100s}\n"
    "      - {name: own, transport: own, cost: {flow: 1}}\n";

static void shared_wait(struct rig *r, unsigned at, uint32_t value)
{
    for (int i = 0; i < 1000 && weir_load_acquire_u32(&r->shared->count[at]) != value; i++) {
        rig_sleep_ms(5);
    }
    CHECK_INT(r, weir_load_acquire_u32(&r->shared->count[at]), value);
}

static void shared_set(struct rig *r, unsigned at, uint32_t value)
{
    weir_store_release_u32(&r->shared->count[at], value);
}

/* Until the row of this client has the state. */
static uint64_t state_wait(struct rig *r, const struct weir *looks, uint32_t index,
                           enum weir_client_state state)
{
    uint64_t began_ns = rig_now_ns();
    const uint32_t *at = &rig_board_client(looks, index)->state;
    while (weir_load_acquire_u32(at) != (uint32_t)state &&
           rig_now_ns() - began_ns < 5 * WEIR_NS_PER_S) {
        (void)usleep(200);
    }
    CHECK_INT(r, weir_load_acquire_u32(at), state);
    return rig_now_ns() - began_ns;
}

static int by_size(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a;
    uint64_t y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static void figures_print(const char *what, uint64_t *ns, unsigned cnt)
{
    qsort(ns, cnt, sizeof ns[0], by_size);
    (void)printf("%s: p50 %.2f ms, p99 %.2f ms, worst %.2f ms of %u\n", what,
                 (double)ns[cnt / 2] / 1e6, (double)ns[cnt * 99 / 100] / 1e6,
                 (double)ns[cnt - 1] / 1e6, cnt);
}

/* ---------------------------------------------------------------------------------------------- death */

/* Holds all units, and has calls queued that want them. */
static int holder(struct rig *r, int arg)
{
    (void)arg;
    struct weir *w = rig_attach(r, WEIR_ROLE_TRADER);
    struct weir_permit p[UNITS];
    for (unsigned i = 0; i < UNITS; i++) {
        if (weir_permit_wait(w, rig_route(w, "sim.hold"), 0, NULL, WEIR_PRIORITY_CRITICAL,
                             weir_now_ns(w) + WEIR_NS_PER_S, &p[i]) != 0) {
            (void)printf("FAILED: unit %u: %s\n", i, weir_reason_text(p[i].denial.reason));
            return 1;
        }
    }
    for (unsigned i = 0; i < QUEUED; i++) {
        weir_ticket t;
        uint32_t n;
        if (rig_order_submit(r, w, rig_route(w, "shut.order"), weir_now_ns(w) + 90 * WEIR_NS_PER_S,
                             &t, &n) != 0) {
            (void)printf("FAILED: order %u\n", i);
            return 1;
        }
    }
    while (rig_board_client(w, w->at->client)->in_flight < QUEUED) {
        rig_sleep_ms(1); /* taken, and waiting */
    }
    shared_set(r, INDEX, w->at->client);
    shared_set(r, READY, 1);
    (void)pause();
    return 0;
}

static uint64_t units_reaped(const struct weir *looks)
{
    const struct weir_shm_limit_stats *s =
        rig_board(looks, WEIR_SECTION_LIMIT, sizeof(struct weir_shm_limit_stats));
    return s[1].units_reaped;
}

static void deaths(struct rig *r, unsigned cnt)
{
    static uint64_t units_ns[LONG_DEATHS];
    static uint64_t slots_ns[LONG_DEATHS];
    struct weir *w = rig_attach(r, WEIR_ROLE_TRADER);
    weir_route_id hold = rig_route(w, "sim.hold");
    const struct weir_shm_worker *worker = rig_board_worker(w);
    uint64_t reaped = worker->client_reaped;
    uint64_t slots = worker->slot_reaped;
    uint64_t units = units_reaped(w);
    struct weir_permit last;
    const struct weir_outcome stop = {
        .kind = WEIR_OUTCOME_ANSWERED, .status = 429, .retry_after_ns = 60 * WEIR_NS_PER_S};
    CHECK_INT(
        r, weir_permit_try(w, rig_route(w, "shut.own"), 0, NULL, WEIR_PRIORITY_CRITICAL, &last), 0);
    CHECK_INT(r, weir_permit_settle(w, &last, &stop), 0);
    for (unsigned i = 0; i < cnt; i++) {
        struct weir_permit p;
        shared_set(r, READY, 0);
        pid_t pid = rig_fork(r, holder, (int)i);
        shared_wait(r, READY, 1);
        CHECK_INT(r, weir_permit_try(w, hold, 0, NULL, WEIR_PRIORITY_CRITICAL, &p), WEIR_DENIED);
        uint64_t at_ns = rig_now_ns();
        (void)kill(pid, SIGKILL);
        (void)state_wait(r, w, weir_load_acquire_u32(&r->shared->count[INDEX]), WEIR_CLIENT_FREE);
        slots_ns[i] = rig_now_ns() - at_ns;
        int rc = weir_permit_wait(w, hold, 0, NULL, WEIR_PRIORITY_CRITICAL,
                                  weir_now_ns(w) + 2 * WEIR_NS_PER_S, &p);
        units_ns[i] = rig_now_ns() -
                      at_ns; /* they rest for max_jitter first: its last call may still arrive */
        CHECK_INT(r, rc, 0);
        const struct weir_outcome not_sent = {.kind = WEIR_OUTCOME_NOT_SENT};
        (void)weir_permit_settle(w, &p, &not_sent);
        CHECK_INT(r, rig_wait(pid, 2000), 128 + SIGKILL);
    }
    figures_print("death to its units for another (10 ms of rest)", units_ns, cnt);
    figures_print("death to its index and arena for another", slots_ns, cnt);
    CHECK(r, units_ns[cnt / 2] < WEIR_NS_PER_S && slots_ns[cnt / 2] < WEIR_NS_PER_S, "in time");
    CHECK(r, worker->client_reaped - reaped >= cnt, "all reaped"); /* and who attached before */
    CHECK_INT(r, worker->slot_reaped - slots, (uint64_t)cnt * QUEUED);
    CHECK_INT(r, units_reaped(w) - units, (uint64_t)cnt * UNITS);
    weir_close(w);
}

#define ORPHAN_NS (900 * WEIR_NS_PER_MS)

/* Has two orders open at the exchange, and does not live to see their ends. */
static int places(struct rig *r, int arg)
{
    struct weir_permit p;
    struct weir *w = rig_attach(r, WEIR_ROLE_TRADER);
    for (int i = 0; i < 2; i++) {
        if (weir_permit_wait(w, rig_route(w, "sim.place"), 0, NULL, WEIR_PRIORITY_CRITICAL,
                             weir_now_ns(w) + 5 * WEIR_NS_PER_S, &p) != 0) {
            (void)printf("FAILED: order %d: %s\n", i, weir_reason_text(p.denial.reason));
            return 1;
        }
    }
    shared_set(r, INDEX, w->at->client);
    shared_set(r, READY, 1);
    if (arg != 0) {
        weir_close(w); /* it leaves, and settles nothing */
        return 0;
    }
    (void)pause();
    return 0;
}

/* A unit of `route`, if there is one before `wait_ns` are over; and how long it took. It goes back as if never used, or as of an order that has ended. */
static int place_wait(struct rig *r, struct weir *w, uint64_t wait_ns, bool sent)
{
    struct weir_permit p;
    const struct weir_outcome end = {.kind = sent ? WEIR_OUTCOME_ANSWERED : WEIR_OUTCOME_NOT_SENT,
                                     .status = 200};
    int rc = weir_permit_wait(w, rig_route(w, "sim.place"), 0, NULL, WEIR_PRIORITY_CRITICAL,
                              weir_now_ns(w) + wait_ns, &p);
    if (rc == 0) {
        CHECK_INT(r, weir_permit_settle(w, &p, &end), 0);
    }
    return rc;
}

/* What the dead held rests for orphan_rest; what is settled beside it, for rest. */
static void orders_of_the_dead(struct rig *r)
{
    struct weir *w = rig_attach(r, WEIR_ROLE_TRADER);
    weir_route_id place = rig_route(w, "sim.place");
    struct weir_permit p[3];
    for (int leaves = 0; leaves < 2; leaves++) {
        shared_set(r, READY, 0);
        pid_t pid = rig_fork(r, places, leaves);
        shared_wait(r, READY, 1);
        uint64_t at_ns = rig_now_ns();
        if (leaves == 0) {
            (void)kill(pid, SIGKILL);
        }
        (void)state_wait(r, w, weir_load_acquire_u32(&r->shared->count[INDEX]), WEIR_CLIENT_FREE);
        unsigned settled = 0;
        while (rig_now_ns() - at_ns < ORPHAN_NS / 2) { /* the third one comes and goes */
            settled += place_wait(r, w, 200 * WEIR_NS_PER_MS, true) == 0;
        }
        CHECK(r, settled >= 4, "%u settled ones came back at once", settled);
        CHECK_INT(r, place_wait(r, w, 200 * WEIR_NS_PER_MS, false), 0);
        CHECK_INT(r, weir_permit_try(w, place, 0, NULL, WEIR_PRIORITY_CRITICAL, &p[0]), 0);
        CHECK_INT(r, weir_permit_try(w, place, 0, NULL, WEIR_PRIORITY_CRITICAL, &p[1]),
                  WEIR_DENIED);
        CHECK(r, p[1].denial.earliest_ns > weir_now_ns(w) + ORPHAN_NS / 8, "it says when");
        CHECK_INT(r,
                  weir_permit_wait(w, place, 0, NULL, WEIR_PRIORITY_CRITICAL,
                                   weir_now_ns(w) + 5 * WEIR_NS_PER_S, &p[1]),
                  0);
        uint64_t rested_ns = rig_now_ns() - at_ns;
        (void)printf("%s to its units for another: %.0f ms\n", leaves == 0 ? "death" : "close",
                     (double)rested_ns / 1e6);
        CHECK(r, rested_ns >= ORPHAN_NS - (leaves == 0 ? 0 : 100 * WEIR_NS_PER_MS),
              "it rests for all of orphan_rest");
        for (int i = 0; i < 2; i++) {
            const struct weir_outcome not_sent = {.kind = WEIR_OUTCOME_NOT_SENT};
            CHECK_INT(r, weir_permit_settle(w, &p[i], &not_sent), 0);
        }
        CHECK_INT(r, rig_wait(pid, 2000), leaves == 0 ? 128 + SIGKILL : 0);
    }
    weir_close(w);
}

/* One order, on the wire when its client dies. */
static int orders_once(struct rig *r, int arg)
{
    (void)arg;
    struct weir *w = rig_attach(r, WEIR_ROLE_CALLER);
    weir_ticket t;
    uint32_t n;
    if (rig_order_submit(r, w, rig_route(w, "sim.order"), weir_now_ns(w) + 3 * WEIR_NS_PER_S, &t,
                         &n) != 0) {
        return 1;
    }
    while (weir_slot_state(weir_load_acquire_u64(&w->at->mem.slot[(uint32_t)t].state)) !=
           WEIR_SLOT_SENDING) {
        rig_sleep_ms(1);
    }
    shared_set(r, INDEX, w->at->client);
    shared_set(r, READY, 1);
    (void)pause();
    return 0;
}

static void order_of_the_dead(struct rig *r)
{
    struct weir *looks = rig_attach(r, WEIR_ROLE_MONITOR);
    rig_fault(r, "{\"kind\": \"slow_first_byte\", \"path\": \"/api/v3/order\", \"delay_ms\": 700}");
    shared_set(r, READY, 0);
    pid_t pid = rig_fork(r, orders_once, 0);
    shared_wait(r, READY, 1);
    uint32_t index = weir_load_acquire_u32(&r->shared->count[INDEX]);
    (void)kill(pid, SIGKILL);
    (void)rig_wait(pid, 2000);
    (void)state_wait(r, looks, index,
                     WEIR_CLIENT_GONE); /* its arena lives: the answer goes there */
    (void)state_wait(r, looks, index, WEIR_CLIENT_FREE);
    rig_faults_clear(r);
    CHECK(r, rig_log_has(r, "\"event\":\"call_ended\""), "its end is in the log");
    CHECK(r,
          rig_log_has(
              r, "\"result\":\"done\",\"status\":200,\"error\":0,\"sends\":1,\"client_gone\":true"),
          "with the outcome");
    weir_close(looks);
}

/* ---------------------------------------------------------------------------------------------- stopped */

/* Orders and permits, round after round. */
static int works(struct rig *r, int arg)
{
    (void)arg;
    struct weir *w = rig_attach(r, WEIR_ROLE_TRADER);
    weir_route_id own = rig_route(w, "sim.own");
    shared_set(r, INDEX, w->at->client);
    while (weir_load_acquire_u32(&r->shared->stop) == 0) {
        struct weir_permit p;
        struct weir_response a;
        weir_ticket t;
        uint32_t n;
        if (weir_permit_try(w, own, 0, NULL, WEIR_PRIORITY_LOW, &p) == 0) {
            struct weir_outcome o = {.kind = WEIR_OUTCOME_NOT_SENT};
            if (weir_now_ns(w) < p.use_by_ns) { /* a stopped process must look again */
                o.kind = WEIR_OUTCOME_ANSWERED;
                o.status = (uint32_t)rig_http(r, "GET", "/api/v3/ping", NULL, NULL, 0);
            }
            (void)weir_permit_settle(w, &p, &o);
        }
        if (rig_order_submit(r, w, rig_route(w, "sim.order"), weir_now_ns(w) + WEIR_NS_PER_S, &t,
                             &n) == 0) {
            int rc = weir_wait(w, t, weir_now_ns(w) + 4 * WEIR_NS_PER_S, &a);
            if (rc != 0) {
                (void)printf("FAILED: wait: %s\n", weir_strerror(rc));
                weir_fetch_add_u32(&r->shared->count[BAD], 1);
                continue;
            }
            rig_order_ended(r, n, &a);
            (void)weir_release(w, t);
        }
        weir_fetch_add_u32(&r->shared->count[ROUNDS], 1);
    }
    weir_close(w);
    return 0;
}

static void stopped(struct rig *r, unsigned stop_ms)
{
    struct weir *looks = rig_attach(r, WEIR_ROLE_MONITOR);
    pid_t pid = rig_fork(r, works, 0);
    pid_t other = rig_fork(r, works, 1);
    for (unsigned i = 0; i < 3; i++) {
        rig_sleep_ms(200 + rig_random(r, 100));
        uint64_t reaped = rig_board_worker(looks)->client_reaped;
        (void)kill(pid, SIGSTOP);
        uint32_t before = weir_load_acquire_u32(&r->shared->count[ROUNDS]);
        rig_sleep_ms(stop_ms);
        CHECK(r, weir_load_acquire_u32(&r->shared->count[ROUNDS]) > before + 10,
              "the other one goes on");
        CHECK_INT(r, rig_board_worker(looks)->client_reaped, reaped); /* it is not dead */
        (void)kill(other, SIGSTOP);
        rig_sleep_ms(20);
        (void)kill(pid, SIGCONT);
        before = weir_load_acquire_u32(&r->shared->count[ROUNDS]);
        rig_sleep_ms(500);
        CHECK(r, weir_load_acquire_u32(&r->shared->count[ROUNDS]) > before, "it goes on");
        (void)kill(other, SIGCONT);
    }
    weir_store_release_u32(&r->shared->stop, 1);
    CHECK_INT(r, rig_wait(pid, 8000), 0);
    CHECK_INT(r, rig_wait(other, 8000), 0);
    CHECK_INT(r, weir_load_acquire_u32(&r->shared->count[BAD]), 0);
    weir_close(looks);
}

/* ---------------------------------------------------------------------------------------------- fork, exec, descriptors */

/* A child that keeps everything open, and uses what is not its own. */
static int child_of(struct weir *w)
{
    struct weir *dup = NULL;
    struct weir_permit p;
    struct weir_response a;
    weir_ticket t;
    const struct weir_request_spec spec = {.struct_bytes = sizeof spec, .route = 0};
    bool all = weir_check(w) == WEIR_E_FORKED && weir_dup(w, &dup) == WEIR_E_FORKED &&
               weir_permit_try(w, 0, 0, NULL, WEIR_PRIORITY_CRITICAL, &p) == WEIR_E_FORKED &&
               weir_submit(w, &spec, &t) == WEIR_E_FORKED && weir_poll(w, &a) == WEIR_E_FORKED &&
               weir_fd(w) == WEIR_E_FORKED;
    return all ? 0 : 1;
}

static void forks(struct rig *r)
{
    struct weir *looks = rig_attach(r, WEIR_ROLE_MONITOR);
    struct weir *w = rig_attach(r, WEIR_ROLE_TRADER);
    uint32_t index = w->at->client;
    int ready[2];
    char byte = 0;
    CHECK_INT(r, pipe2(ready, O_CLOEXEC), 0);
    pid_t pid = fork();
    if (pid == 0) {
        byte = (char)child_of(w);
        weir_close(w);
        weir_close(looks);
        (void)!write(ready[1], &byte, 1);
        _exit(byte);
    }
    CHECK_INT(r, rig_wait(pid, 3000), 0);
    CHECK_INT(r, weir_check(w), 0); /* the child's close is its own */
    /* A child that never closes must not keep its parent alive. */
    pid = fork();
    if (pid == 0) {
        (void)pause();
        _exit(0);
    }
    weir_close(w);
    (void)printf("closed, with a forked child that holds every descriptor: back after %.2f ms\n",
                 (double)state_wait(r, looks, index, WEIR_CLIENT_FREE) / 1e6);
    (void)kill(pid, SIGKILL);
    (void)rig_wait(pid, 2000);
    (void)close(ready[0]);
    (void)close(ready[1]);
    weir_close(looks);
}

/* Dies, while a child of it holds every descriptor. */
static int dies_with_child(struct rig *r, int arg)
{
    (void)arg;
    struct weir *w = rig_attach(r, WEIR_ROLE_TRADER);
    shared_set(r, INDEX, w->at->client);
    pid_t pid = fork();
    if (pid == 0) {
        (void)alarm(20);
        (void)pause();
        _exit(0);
    }
    shared_set(r, ANSWER, (uint32_t)pid);
    shared_set(r, READY, 1);
    (void)pause();
    return 0;
}

static int execs(struct rig *r, int arg)
{
    (void)arg;
    struct weir *w = rig_attach(r, WEIR_ROLE_TRADER);
    shared_set(r, INDEX, w->at->client);
    shared_set(r, READY, 1);
    rig_sleep_ms(100);
    (void)execl("/bin/sh", "sh", "-c", "exec sleep 10", (char *)NULL);
    return 1;
}

static void execs_and_heirs(struct rig *r)
{
    char path[64];
    struct weir *looks = rig_attach(r, WEIR_ROLE_MONITOR);
    shared_set(r, READY, 0);
    pid_t pid = rig_fork(r, execs, 0);
    shared_wait(r, READY, 1);
    uint32_t index = weir_load_acquire_u32(&r->shared->count[INDEX]);
    (void)printf("exec: back after %.2f ms, of which 100 before it\n",
                 (double)state_wait(r, looks, index, WEIR_CLIENT_FREE) / 1e6);
    CHECK_INT(r, kill(pid, 0), 0); /* the process lives; it is somebody else now */
    unsigned left = 1;
    for (int i = 0; i < 200 && left > 0;
         i++) { /* the connection goes first, the rest in the next microseconds */
        left = 0;
        for (int fd = 3; fd < 64; fd++) {
            char link[64] = "";
            (void)snprintf(path, sizeof path, "/proc/%d/fd/%d", (int)pid, fd);
            left += readlink(path, link, sizeof link - 1) > 0 && strstr(link, "memfd:weir") != NULL;
        }
        rig_sleep_ms(left > 0 ? 5 : 0);
    }
    CHECK_INT(r, left, 0);
    (void)kill(pid, SIGKILL);
    (void)rig_wait(pid, 2000);
    shared_set(r, READY, 0);
    pid = rig_fork(r, dies_with_child, 0);
    shared_wait(r, READY, 1);
    index = weir_load_acquire_u32(&r->shared->count[INDEX]);
    (void)kill(pid, SIGKILL);
    (void)rig_wait(pid, 2000);
    (void)printf("dead, with an heir that holds every descriptor: back after %.2f ms\n",
                 (double)state_wait(r, looks, index, WEIR_CLIENT_FREE) / 1e6);
    (void)kill((pid_t)weir_load_acquire_u32(&r->shared->count[ANSWER]), SIGKILL);
    weir_close(looks);
}

/* Its arena and connection in the hands of another process: they stay good for as long as the client lives, and not longer. */
static void passes(struct rig *r)
{
    struct weir *looks = rig_attach(r, WEIR_ROLE_MONITOR);
    struct weir *w = rig_attach(r, WEIR_ROLE_TRADER);
    uint32_t index = w->at->client;
    int arena = fcntl(w->at->arena.fd, F_DUPFD_CLOEXEC, 0); /* as SCM_RIGHTS makes them */
    int control = fcntl(w->at->control_fd, F_DUPFD_CLOEXEC, 0);
    weir_close(w);
    (void)state_wait(r, looks, index, WEIR_CLIENT_FREE);
    /* The pages are gone: what is read there is nothing, and no memory of the broker's is held. */
    uint64_t words[8] = {1};
    for (unsigned i = 0; i < 1000 && words[0] != 0;
         i++) { /* the supervisor does it when it hears of the end */
        CHECK_INT(r, pread(arena, words, sizeof words, 0), sizeof words);
        rig_sleep_ms(1);
    }
    CHECK(r, words[0] == 0, "punched out");
    char byte;
    CHECK_INT(r, recv(control, &byte, 1, MSG_DONTWAIT), 0); /* ended, whoever holds a copy */
    w = rig_attach(r, WEIR_ROLE_TRADER);                    /* the index may be used again */
    CHECK_INT(r, weir_check(w), 0);
    weir_close(w);
    (void)close(arena);
    (void)close(control);
    weir_close(looks);
}

/* A handle of a broker that is gone is closed behind a new one's attachment, which has the same index: that must not take the new one along. */
static void former_broker(struct rig *r)
{
    const struct weir_request_spec spec = {.struct_bytes = sizeof spec, .route = WEIR_ROUTE_NOP};
    struct weir *old = rig_attach(r, WEIR_ROLE_CALLER);
    CHECK_INT(r, rig_weird_stop(r, 15000), 0);
    uint64_t stopped_ns = rig_now_ns();
    rig_weird_start(r);
    struct weir *trader = rig_attach(r, WEIR_ROLE_TRADER);
    CHECK_INT(r, place_wait(r, trader, 5 * WEIR_NS_PER_S, false), 0);
    CHECK(r, rig_now_ns() - stopped_ns >= ORPHAN_NS,
          "whose orders are open is not known: all rest");
    weir_close(trader);
    struct weir *w = rig_attach(r, WEIR_ROLE_CALLER);
    struct weir *first = w; /* who looked whether the broker is up may still have the first place */
    for (int i = 0; i < 4 && w->at->client != old->at->client; i++) {
        w = rig_attach(r, WEIR_ROLE_CALLER);
    }
    CHECK_INT(r, w->at->client, old->at->client);
    weir_close(old);
    for (int i = 0; i < 20; i++) {
        struct weir_response a = {0};
        CHECK_INT(r, weir_call(w, &spec, weir_now_ns(w) + 10 * WEIR_NS_PER_S, &a), 0);
        CHECK_INT(r, a.result, WEIR_RESULT_DONE);
        (void)weir_release(w, a.ticket);
        rig_sleep_ms(5);
    }
    CHECK_INT(r, rig_board_client(w, w->at->client)->state, WEIR_CLIENT_LIVE);
    weir_close(w);
    if (first != w) {
        weir_close(first);
    }
}

int main(int argc, char **argv)
{
    struct rig r;
    bool all = argc > 3 && strcmp(argv[argc - 1], "--long") == 0;
    rig_open(&r, "client_life", argc - (all ? 1 : 0), argv, all ? 400 : 60);
    rig_sim_start(
        &r, "{\"latency_ms\": 2, \"jitter_ms\": 4, \"ban_after\": 3, \"limits\": [{\"name\": "
            "\"weight\", \"kind\": \"fixed_window\", \"quota\": 1000, \"window_ms\": 1000}]}");
    rig_config(&r, yaml, 0);
    rig_weird_start(&r);
    former_broker(&r);
    deaths(&r, all ? LONG_DEATHS : DEATHS);
    orders_of_the_dead(&r);
    order_of_the_dead(&r);
    forks(&r);
    execs_and_heirs(&r);
    passes(&r);
    stopped(&r, all ? 60000 : 1500);
    rig_orders_check(&r, true);
    PROMISE_INT(&r, rig_report(&r, "violations"), 0);
    CHECK_INT(&r, rig_weird_stop(&r, 15000), 0);
    return rig_close(&r);
}
