/*
 * no_memory.c: requests use up `broker.worker_memory`, and the worker refuses by name what it has no memory for, instead of ending.
 *
 * The exchange is slow and has one connection, so requests of 20 KiB pile up until there is no memory for one more; small ones behind them need memory too, for their call
 * alone. Then the worker is killed, and its successor finds more requests than it has memory for.
 *
 * Oracle: each request ends once, by one of few results; the worker's pid; the supervisor's log; and calls are made again when memory is back.
 */
#include "rig.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SLOTS      4096U
#define BIG        3500U /* of them: 70 MB where 64 MiB are allowed */
#define BODY_BYTES 20000U

static const char yaml[] =
    "broker:\n"
    "  name: rig\n"
    "  wake: sleep\n"
    "  memory: 256MiB\n"
    "  ring: 8192\n"
    "  worker_memory: 64MiB\n"
    "  domains: [{name: default, clients: 2, slots: 4096, arena: 160MiB}]\n"
    "providers:\n"
    "  - name: sim\n"
    "    limits: [{name: l, kind: token_bucket, quota: 100000, window: 1s}]\n"
    "    endpoints: [{name: a, url: \"http://127.0.0.1:$PORT\", connections: 1}]\n"
    "    routes:\n"
    "      - {name: ping, method: GET, path: /api/v3/ping, cost: {l: 1}, timeout: 8s, "
    "max_response: 4KiB}\n"
    "      - {name: large, method: POST, path: /bytes/10, cost: {l: 1}, idempotent: true, timeout: "
    "8s, max_response: "
    "4KiB}\n";

/* How requests ended. */
struct ends {
    unsigned done, no_memory, not_in_time, starved, unknown, otherwise;
};

static weir_ticket ticket[SLOTS];

static struct weir *attach(struct rig *r)
{
    struct weir_open_opts opts = {.role = WEIR_ROLE_CALLER,
                                  .slots = SLOTS,
                                  .request_bytes = 24576,
                                  .response_bytes = 32U << 20,
                                  .patience_ns = 10 * WEIR_NS_PER_S};
    struct weir_diag diag = {0};
    int rc;
    struct weir *w = rig_attach_opts(r, &opts, &diag, &rc);
    if (!CHECK(r, w != NULL, "attach: %s", diag.text)) {
        rig_exit(1);
    }
    return w;
}

static void submit_all(struct rig *r, struct weir *w)
{
    static char body[BODY_BYTES];
    const uint64_t deadline_ns = weir_now_ns(w) + 7 * WEIR_NS_PER_S;
    const struct weir_request_spec big = {.struct_bytes = sizeof big,
                                          .route = rig_route(w, "sim.large"),
                                          .body = body,
                                          .body_bytes = sizeof body,
                                          .deadline_ns = deadline_ns};
    const struct weir_request_spec small = {.struct_bytes = sizeof small,
                                            .route = rig_route(w, "sim.ping"),
                                            .deadline_ns = deadline_ns};
    memset(body, 'x', sizeof body);
    for (unsigned i = 0; i < SLOTS; i++) {
        CHECK_INT(r, weir_submit(w, i < BIG ? &big : &small, &ticket[i]), 0);
    }
}

static struct ends wait_all(struct rig *r, struct weir *w)
{
    struct ends e = {0};
    for (unsigned i = 0; i < SLOTS; i++) {
        struct weir_response a = {0};
        CHECK_INT(r, weir_wait(w, ticket[i], weir_now_ns(w) + 20 * WEIR_NS_PER_S, &a), 0);
        if (a.result == WEIR_RESULT_DONE) {
            e.done++;
        } else if ((a.result == WEIR_RESULT_REJECTED || a.result == WEIR_RESULT_NOT_SENT) &&
                   a.error == WEIR_E_MEMORY) {
            e.no_memory++;
            CHECK_INT(r, a.sends, 0);
        } else if (a.result == WEIR_RESULT_EXPIRED || a.result == WEIR_RESULT_TIMEOUT ||
                   (a.result == WEIR_RESULT_NO_ROOM && a.sends == 0)) {
            e.not_in_time++;
        } else if ((a.result == WEIR_RESULT_NOT_SENT || a.result == WEIR_RESULT_FAILED) &&
                   a.error > 0) {
            e.starved++; /* it had its turn, and curl found no memory: CURLE_OUT_OF_MEMORY, or a connection that never came */
        } else if (a.result == WEIR_RESULT_OUTCOME_UNKNOWN) {
            e.unknown++;
        } else {
            e.otherwise++;
            (void)printf("request %u: result %d error %d\n", i, (int)a.result, a.error);
        }
        CHECK_INT(r, weir_release(w, ticket[i]), 0);
    }
    (void)printf("%u done, %u without memory, %u not in time, %u starved, %u unknown\n", e.done,
                 e.no_memory, e.not_in_time, e.starved, e.unknown);
    CHECK(r, e.starved <= 4, "%u starved on one connection", e.starved);
    CHECK_INT(r, e.otherwise, 0);
    return e;
}

/* Memory is back: whoever asks now is served. */
static void served(struct rig *r, struct weir *w)
{
    const struct weir_request_spec spec = {.struct_bytes = sizeof spec,
                                           .route = rig_route(w, "sim.ping")};
    struct weir_response a = {0};
    CHECK_INT(r, weir_call(w, &spec, weir_now_ns(w) + 8 * WEIR_NS_PER_S, &a), 0);
    CHECK_INT(r, a.result, WEIR_RESULT_DONE);
    CHECK_INT(r, a.status, 200);
    (void)weir_release(w, a.ticket);
}

static void slow(struct rig *r)
{
    rig_fault(r, "{\"kind\": \"slow_first_byte\", \"path\": \"/bytes/10\", \"delay_ms\": 1000, "
                 "\"count\": 1000}");
}

static void flood(struct rig *r, struct weir *w)
{
    pid_t worker = rig_process(r, "weird-worker");
    slow(r);
    submit_all(r, w);
    struct ends e = wait_all(r, w);
    rig_faults_clear(r);
    /* All of the small ones but a few, and some of the large ones. */
    CHECK(r, e.no_memory > SLOTS - BIG, "%u without memory", e.no_memory);
    CHECK(r, e.not_in_time > 1000, "%u waited until their deadline", e.not_in_time);
    CHECK_INT(r, e.unknown, 0);
    CHECK_INT(r, rig_process(r, "weird-worker"), worker);
    CHECK(r, rig_log_has(r, "\"event\":\"no_memory\""), "the log says so");
    CHECK(r, !rig_log_has(r, "worker_died"), "nobody died of it");
    served(r, w);
}

static void successor(struct rig *r, struct weir *w)
{
    pid_t worker = rig_process(r, "weird-worker");
    slow(r);
    submit_all(r, w);
    rig_sleep_ms(500);
    (void)kill(worker, SIGKILL);
    pid_t next = rig_process_next(r, "weird-worker", worker, 5000);
    CHECK(r, next > 0, "a next worker");
    struct ends e = wait_all(r, w);
    rig_faults_clear(r);
    CHECK(r, e.no_memory > 0, "%u without memory", e.no_memory);
    CHECK(r, e.unknown <= 1, "%u were on the only connection", e.unknown);
    CHECK_INT(r, rig_process(r, "weird-worker"), next);
    served(r, w);
}

int main(int argc, char **argv)
{
    static struct rig r;
    rig_open(&r, "no_memory", argc, argv, 100);
    rig_sim_start(&r, "{}");
    rig_config(&r, yaml, 0);
    rig_weird_start(&r);
    struct weir *w = attach(&r);
    flood(&r, w);
    successor(&r, w);
    weir_close(w);
    CHECK_INT(&r, rig_weird_stop(&r, 10000), 0);
    return rig_close(&r);
}
