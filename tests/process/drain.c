/*
 * The end of a drain: what is still under way when its time is over ends by name, each once; also what waits for room that another's end gives back.
 *
 *   drain WEIR-SIM WEIRD [SEED]
 *
 * One client's first call has all the room for answers there is, and the exchange keeps it waiting; the calls behind it wait for that room, and meanwhile what they ask for has
 * come to others, so that it lies in the cache. SIGTERM: the last calls are let go first, and the end of the first one gives their room back, when nobody may look at them
 * any more.
 *
 * Oracle: each call's outcome; the board's count of calls that ended for this client, which is the number of its calls; the exchange's count; weird's exit status.
 */
#include "rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WAITERS 4U

static const char yaml[] =
    "broker: {name: rig, log: info, drain: 300ms}\n"
    "providers:\n"
    "  - name: sim\n"
    "    clock: {source: host, error: 30ms, max_jitter: 100ms}\n"
    "    limits:\n"
    "      - {name: wide, kind: token_bucket, quota: 10000, window: 1s}\n"
    "    endpoints:\n"
    "      - {name: a, url: \"http://127.0.0.1:$PORT\", connections: 16}\n"
    "    routes:\n"
    "      - {name: slow, method: POST, path: /api/v3/order, cost: {wide: 1}, timeout: 20s, "
    "max_response: 16KiB}\n"
    "      - {name: kept, method: GET, path: /api/v3/time, cost: {wide: 1}, timeout: 20s, "
    "max_response: 16KiB,\n"
    "         share: public, cache: 1h}\n";

static struct weir *attach(struct rig *r)
{
    /* Room for one answer of 16 KiB and its head, and not for two. */
    struct weir_open_opts opts = {
        .role = WEIR_ROLE_CALLER, .slots = 8, .response_bytes = UINT64_C(32) << 10};
    struct weir_diag diag = {0};
    int rc;
    struct weir *w = rig_attach_opts(r, &opts, &diag, &rc);
    if (!CHECK(r, w != NULL, "attach: %s", diag.text)) {
        rig_exit(1);
    }
    return w;
}

static weir_ticket submit(struct rig *r, struct weir *w, const char *route, const char *body)
{
    weir_ticket t = 0;
    const struct weir_request_spec spec = {.struct_bytes = sizeof spec,
                                           .route = rig_route(w, route),
                                           .body = body,
                                           .body_bytes = body != NULL ? strlen(body) : 0};
    CHECK_INT(r, weir_submit(w, &spec, &t), 0);
    return t;
}

static void state_wait(struct rig *r, struct weir *w, weir_ticket t, enum weir_slot_state want)
{
    const uint64_t *word = &w->at->mem.slot[(uint32_t)t].state;
    for (unsigned i = 0;
         i < 4000 && weir_slot_state(weir_load_acquire_u64(word)) != want; /* pair:slot A */
         i++) {
        rig_sleep_ms(1);
    }
    CHECK_INT(r, weir_slot_state(weir_load_acquire_u64(word)), want); /* pair:slot A */
}

static void ends(struct rig *r, struct weir *w, weir_ticket t, enum weir_result want)
{
    struct weir_response a = {0};
    CHECK_INT(r, weir_wait(w, t, weir_now_ns(w) + WEIR_NS_PER_S, &a), 0);
    CHECK_TEXT(r, weir_result_text(a.result), weir_result_text(want));
    CHECK_INT(r, a.error, WEIR_E_STALE);
    (void)weir_release(w, t);
}

int main(int argc, char **argv)
{
    struct rig r;
    weir_ticket wait[WAITERS];
    struct weir_response a = {0};
    rig_open(&r, "drain", argc, argv, 60);
    rig_sim_start(&r, "{\"limits\": [], \"latency_ms\": 1}");
    rig_config(&r, yaml, 0);
    rig_weird_start(&r);
    rig_fault(&r, "{\"kind\": \"stall\", \"method\": \"POST\"}");
    struct weir *w = attach(&r);
    struct weir *other = rig_attach(&r, WEIR_ROLE_CALLER);
    uint32_t index = w->at->client;
    weir_ticket first = submit(&r, w, "sim.slow", "newClientOrderId=o-1");
    state_wait(&r, w, first, WEIR_SLOT_SENDING);
    for (unsigned i = 0; i < WAITERS; i++) {
        wait[i] = submit(&r, w, "sim.kept", NULL);
        state_wait(&r, w, wait[i], WEIR_SLOT_CLAIMED);
    }
    const struct weir_request_spec spec = {.struct_bytes = sizeof spec,
                                           .route = rig_route(other, "sim.kept")};
    CHECK_INT(&r, weir_call(other, &spec, weir_now_ns(other) + 10 * WEIR_NS_PER_S, &a), 0);
    CHECK_INT(&r, a.result, WEIR_RESULT_DONE);
    CHECK_INT(&r, rig_board_client(w, index)->ended, 0);
    CHECK_INT(&r, rig_weird_stop(&r, 15000), 0);
    CHECK(&r, !rig_log_has(&r, "worker_died"), "the worker left by itself");
    CHECK_INT(&r, rig_board_client(w, index)->ended, 1 + WAITERS);
    ends(&r, w, first, WEIR_RESULT_OUTCOME_UNKNOWN);
    for (unsigned i = 0; i < WAITERS; i++) {
        ends(&r, w, wait[i], WEIR_RESULT_REJECTED);
    }
    CHECK_INT(&r, rig_report(&r, "arrivals"), 2);
    weir_close(w);
    weir_close(other);
    return rig_close(&r);
}
