/*
 * Orders in doubt (broker/doubt.h): what got no answer is asked after by its client order id. Oracle: the exchange's own book of orders (weir-sim, which knows only what it
 * accepted and when). Never "absent" for what is in the book, never "done" for what is not, never two in the book, each order ends once.
 * A worker killed in the middle leaves them to the next one, which goes through the instant recover:doubt.
 *
 *   doubt WEIR-SIM WEIRD [SEED]
 */
#include "scene.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SETTLED_MS 1200U
#define LATE_MS    500U

/* rig_shared.count: those that ended, by enum weir_doubt */
enum { BY_DOUBT = 0 };

static void configure(struct rig *r)
{
    static const char yaml[] =
        "broker: {name: rig, log: info}\n"
        "providers:\n"
        "  - name: sim\n"
        "    clock: {source: host, error: 1ms, max_jitter: 10ms}\n"
        "    auth: {kind: hmac_sha256_query, key: desk, secret: hidden, recv_window: 1s}\n"
        "    limits:\n"
        "      - {name: weight, kind: token_bucket, quota: 100000, window: 1s}\n"
        "    endpoints: [{name: a, url: \"http://127.0.0.1:$PORT\", connections: 64}]\n"
        "    routes:\n"
        "      - {name: ask, method: GET, path: /api/v3/order, signed: true, timeout: 2s,\n"
        "         cost: {weight: 4}}\n"
        "      - {name: order, method: POST, path: /api/v3/order, signed: true, cost: {weight: "
        "1},\n"
        "         doubt: {id: newClientOrderId, in: form, route: ask, found: clientOrderId,\n"
        "           query: \"symbol={symbol}&origClientOrderId={id}\",\n"
        "           absent: {status: [400], field: code, equals: \"-2013\"},\n"
        "           settled_after: 1200ms, patience: 20s, interval: 40ms, unsure: [503]}}\n"
        "      - {name: again, method: POST, path: /api/v3/order, signed: true, cost: {weight: "
        "1},\n"
        "         doubt: {id: newClientOrderId, in: form, route: ask, found: clientOrderId,\n"
        "           query: \"symbol={symbol}&origClientOrderId={id}\",\n"
        "           absent: {status: [400], field: code, equals: \"-2013\"},\n"
        "           settled_after: 1200ms, patience: 20s, interval: 40ms, resend: true}}\n"
        "      - {name: short, method: POST, path: /api/v3/order, signed: true, cost: {weight: "
        "1},\n"
        "         doubt: {id: newClientOrderId, in: form, route: ask, found: clientOrderId,\n"
        "           query: \"symbol={symbol}&origClientOrderId={id}\",\n"
        "           absent: {status: [400], field: code, equals: \"-2013\"},\n"
        "           settled_after: 1200ms, patience: 1300ms, interval: 40ms, unsure: [503]}}\n"
        "      - {name: seldom, method: POST, path: /api/v3/order, signed: true, cost: {weight: "
        "1},\n"
        "         doubt: {id: newClientOrderId, in: form, route: ask, found: clientOrderId,\n"
        "           query: \"symbol={symbol}&origClientOrderId={id}\", patience: 400ms, interval: "
        "60s}}\n";
    rig_config(r, yaml, 0);
}

static weir_ticket submit(struct rig *r, struct weir *w, const char *route, const char *form,
                          uint64_t limit_ms)
{
    weir_ticket t = 0;
    const struct weir_request_spec spec = {.struct_bytes = sizeof spec,
                                           .route = rig_route(w, route),
                                           .body = form,
                                           .body_bytes = strlen(form),
                                           .deadline_ns =
                                               weir_now_ns(w) + limit_ms * WEIR_NS_PER_MS};
    CHECK_INT(r, weir_submit(w, &spec, &t), 0);
    return t;
}

/* Named anew each time, so that no test meets another's. With a window of its own, so that it is the book that decides what comes late, and not the signature. */
static const char *form_new(char form[96])
{
    static unsigned n;
    (void)snprintf(form, 96, "recvWindow=60000&symbol=BTCUSDT&newClientOrderId=d-%u", n++);
    return form;
}

static struct weir_response ended(struct rig *r, struct weir *w, weir_ticket t)
{
    struct weir_response a = {0};
    CHECK_INT(r, weir_wait(w, t, weir_now_ns(w) + 30 * WEIR_NS_PER_S, &a), 0);
    return a;
}

static bool body_has(const struct weir_response *a, const char *text)
{
    return a->body != NULL && memmem(a->body, a->body_bytes, text, strlen(text)) != NULL;
}

static void begin(struct rig *r, const char *fault)
{
    rig_faults_clear(r);
    CHECK_INT(r, rig_http(r, "POST", "/sim/reset", "", NULL, 0), 200);
    rig_fault(r, fault);
}

static struct weir_response one(struct rig *r, struct weir *w, const char *route, uint64_t limit_ms,
                                const char *fault)
{
    char form[96];
    begin(r, fault);
    struct weir_response a = ended(r, w, submit(r, w, route, form_new(form), limit_ms));
    if (a.result == WEIR_RESULT_DONE && a.doubt == WEIR_DOUBT_FOUND) {
        CHECK(r, body_has(&a, strstr(form, "d-")), "the answer is about this order");
    }
    (void)weir_release(w, a.ticket);
    return a;
}

#define ENDS(r, a, want_result, want_doubt)                                         \
    do {                                                                            \
        CHECK_TEXT(r, weir_result_text((a).result), weir_result_text(want_result)); \
        CHECK_INT(r, (a).doubt, want_doubt);                                        \
    } while (0)

static void book(struct rig *r, int distinct, int duplicates)
{
    CHECK_INT(r, rig_report(r, "orders.distinct"), distinct);
    PROMISE_INT(r, rig_report(r, "orders.duplicates"), duplicates);
}

static const struct weir_shm_route_stats *stats(struct weir *w, const char *route)
{
    const struct weir_shm_route_stats *all =
        rig_board(w, WEIR_SECTION_ROUTE, sizeof(struct weir_shm_route_stats));
    return &all[rig_route(w, route)];
}

static void found(struct rig *r, struct weir *w)
{
    struct weir_response a =
        one(r, w, "sim.order", 5000, "{\"kind\": \"reset\", \"method\": \"POST\"}");
    ENDS(r, a, WEIR_RESULT_DONE, WEIR_DOUBT_FOUND);
    CHECK_INT(r, a.status, 200);
    CHECK_INT(r, a.sends, 1);
    book(r, 1, 0);
    CHECK_INT(r, rig_report(r, "signatures.bad"), 0);
    a = one(r, w, "sim.order", 5000, "{\"kind\": \"half_body\", \"method\": \"POST\"}");
    ENDS(r, a, WEIR_RESULT_DONE, WEIR_DOUBT_FOUND);
    /* Its deadline cut it off: asked after beyond that. */
    a = one(r, w, "sim.order", 300, "{\"kind\": \"stall\", \"method\": \"POST\"}");
    ENDS(r, a, WEIR_RESULT_DONE, WEIR_DOUBT_FOUND);
    book(r, 1, 0);
    /* A 503 that proves nothing; on a route that does not say so it is the answer. */
    a = one(r, w, "sim.order", 5000, "{\"kind\": \"status\", \"method\": \"POST\"}");
    ENDS(r, a, WEIR_RESULT_DONE, WEIR_DOUBT_FOUND);
    CHECK_INT(r, a.status, 200);
    a = one(r, w, "sim.again", 5000, "{\"kind\": \"status\", \"method\": \"POST\"}");
    ENDS(r, a, WEIR_RESULT_DONE, WEIR_DOUBT_NONE);
    CHECK_INT(r, a.status, 503);
    /* Not there when it is asked for the first time. */
    a = one(r, w, "sim.order", 5000,
            "{\"kind\": \"accept_late\", \"method\": \"POST\", \"delay_ms\": 500}");
    ENDS(r, a, WEIR_RESULT_DONE, WEIR_DOUBT_FOUND);
    CHECK(r, a.done_ns - a.sent_ns >= LATE_MS * WEIR_NS_PER_MS / 2, "not before it was there");
    CHECK(r, rig_report(r, "by_path.GET /api/v3/order") > 1, "asked more than once");
    book(r, 1, 0);
}

static void absent(struct rig *r, struct weir *w)
{
    uint64_t before = stats(w, "sim.order")->doubts_absent;
    struct weir_response a =
        one(r, w, "sim.order", 8000, "{\"kind\": \"reset_before_count\", \"method\": \"POST\"}");
    ENDS(r, a, WEIR_RESULT_ABSENT, WEIR_DOUBT_ABSENT);
    CHECK_INT(r, a.status, 0);
    CHECK_INT(r, a.sends, 1);
    CHECK(r, a.done_ns - a.sent_ns >= SETTLED_MS * WEIR_NS_PER_MS, "not before it is sure");
    CHECK_INT(r, stats(w, "sim.order")->doubts_absent - before, 1);
    book(r, 0, 0);
}

static void not_known(struct rig *r, struct weir *w)
{
    char form[2][96];
    uint64_t unnamed = stats(w, "sim.order")->doubts_unnamed;
    begin(r, "{\"kind\": \"reset\", \"method\": \"POST\"}");
    /* Nothing to ask by: as before. */
    struct weir_response a = ended(r, w, submit(r, w, "sim.order", "symbol=BTCUSDT", 5000));
    ENDS(r, a, WEIR_RESULT_OUTCOME_UNKNOWN, WEIR_DOUBT_NONE);
    (void)weir_release(w, a.ticket);
    a = ended(r, w,
              submit(r, w, "sim.order", "symbol=B&newClientOrderId=a&newClientOrderId=b", 5000));
    ENDS(r, a, WEIR_RESULT_OUTCOME_UNKNOWN, WEIR_DOUBT_NONE);
    (void)weir_release(w, a.ticket);
    CHECK_INT(r, stats(w, "sim.order")->doubts_unnamed - unnamed, 2);
    /* The exchange does not say. */
    begin(r, "{\"kind\": \"reset\", \"method\": \"POST\", \"count\": 1}");
    rig_fault(r, "{\"kind\": \"status\", \"method\": \"POST\", \"count\": 1}");
    rig_fault(r, "{\"kind\": \"status\", \"method\": \"GET\", \"status\": 500}");
    weir_ticket t = submit(r, w, "sim.short", form_new(form[0]), 600);
    for (int i = 0; i < 500 && rig_report(r, "by_path.POST /api/v3/order") < 1; i++) {
        rig_sleep_ms(5);
    }
    weir_ticket t2 = submit(r, w, "sim.short", form_new(form[1]), 600);
    a = ended(r, w, t);
    ENDS(r, a, WEIR_RESULT_OUTCOME_UNKNOWN, WEIR_DOUBT_UNKNOWN);
    CHECK(r, a.error > 0, "what broke the connection");
    (void)weir_release(w, a.ticket);
    a = ended(r, w, t2);
    ENDS(r, a, WEIR_RESULT_DONE, WEIR_DOUBT_UNKNOWN);
    CHECK_INT(r, a.status, 503);
    (void)weir_release(w, a.ticket);
    book(r, 2, 0);
    /* Asked once, and the next question would be a minute away: it ends when its patience does. Alone, since any other's question would have it looked at too. */
    begin(r, "{\"kind\": \"reset\", \"method\": \"POST\"}");
    rig_fault(r, "{\"kind\": \"status\", \"method\": \"GET\", \"status\": 500}");
    a = ended(r, w, submit(r, w, "sim.seldom", form_new(form[0]), 300));
    ENDS(r, a, WEIR_RESULT_OUTCOME_UNKNOWN, WEIR_DOUBT_UNKNOWN);
    CHECK_INT(r, stats(w, "sim.seldom")->doubts_asked, 1);
    (void)weir_release(w, a.ticket);
    book(r, 1, 0);
}

static void sent_again(struct rig *r, struct weir *w)
{
    struct weir_response a =
        one(r, w, "sim.again", 8000,
            "{\"kind\": \"reset_before_count\", \"method\": \"POST\", \"count\": 1}");
    ENDS(r, a, WEIR_RESULT_DONE, WEIR_DOUBT_RESENT);
    CHECK_INT(r, a.status, 200);
    CHECK_INT(r, a.sends, 2);
    book(r, 1, 0);
    /* Once, and no more. */
    a = one(r, w, "sim.again", 8000, "{\"kind\": \"reset_before_count\", \"method\": \"POST\"}");
    ENDS(r, a, WEIR_RESULT_ABSENT, WEIR_DOUBT_ABSENT);
    CHECK_INT(r, a.sends, 2);
    book(r, 0, 0);
    /* Not behind its deadline. */
    a = one(r, w, "sim.again", 700, "{\"kind\": \"reset_before_count\", \"method\": \"POST\"}");
    ENDS(r, a, WEIR_RESULT_ABSENT, WEIR_DOUBT_ABSENT);
    CHECK_INT(r, a.sends, 1);
    /* There after all, and the exchange refuses the second one for its id: the order is there, and that is said. */
    char form[96];
    begin(r, "{\"kind\": \"accept_late\", \"method\": \"POST\", \"count\": 1, \"delay_ms\": 1500}");
    rig_fault(r,
              "{\"kind\": \"accept_late\", \"method\": \"POST\", \"count\": 1, \"delay_ms\": 900}");
    a = ended(r, w, submit(r, w, "sim.again", form_new(form), 8000));
    ENDS(r, a, WEIR_RESULT_DONE, WEIR_DOUBT_FOUND);
    CHECK_INT(r, a.sends, 2);
    (void)weir_release(w, a.ticket);
    rig_sleep_ms(1500);
    book(r, 1, 1); /* the second arrival was refused */
    begin(r, "{\"kind\": \"reset_before_count\", \"method\": \"POST\", \"count\": 1}");
    rig_fault(r, "{\"kind\": \"status\", \"method\": \"POST\", \"status\": 400, \"count\": 1}");
    a = ended(r, w, submit(r, w, "sim.again", form_new(form), 8000));
    ENDS(r, a, WEIR_RESULT_DONE, WEIR_DOUBT_FOUND);
    CHECK_INT(r, a.status, 200);
    (void)weir_release(w, a.ticket);
    book(r, 1, 0);
}

static weir_ticket on_the_wire(struct rig *r, struct weir *w, const char *route, const char *form)
{
    weir_ticket t = submit(r, w, route, form, 8000);
    const uint64_t *word = &w->at->mem.slot[(uint32_t)t].state;
    for (int n = 0; n < 2000 && weir_slot_state(weir_load_acquire_u64(word)) != WEIR_SLOT_SENDING;
         n++) {
        rig_sleep_ms(1);
    }
    rig_sleep_ms(100); /* the exchange has it, or will not */
    return t;
}

static void worker_dies(struct rig *r, struct weir *w)
{
    char form[96];
    begin(r, "{\"kind\": \"stall\", \"method\": \"POST\"}");
    weir_ticket t = on_the_wire(r, w, "sim.order", form_new(form));
    /* Whatever the client writes over its request: the next worker asks what the dead one would have. */
    struct weir_shm_slot *slot = &w->at->mem.slot[(uint32_t)t];
    slot->request.scope = UINT64_MAX;
    slot->request.priority = 77;
    slot->request.body_bytes = UINT32_MAX;
    (void)memset(w->at->mem.request + (uint32_t)t * w->at->mem.request_stride_bytes, 'x',
                 strlen(form));
    rig_worker_kill(r);
    struct weir_response a = ended(r, w, t);
    ENDS(r, a, WEIR_RESULT_DONE, WEIR_DOUBT_FOUND);
    CHECK(r, body_has(&a, strstr(form, "d-")), "the answer is about this order");
    (void)weir_release(w, a.ticket);
    book(r, 1, 0);
    /* It never came: absent, and not sent again by a worker that has not seen it. */
    begin(r, "{\"kind\": \"reset_before_count\", \"method\": \"POST\", \"delay_ms\": 60000}");
    t = on_the_wire(r, w, "sim.again", form_new(form));
    rig_worker_kill(r);
    a = ended(r, w, t);
    ENDS(r, a, WEIR_RESULT_ABSENT, WEIR_DOUBT_ABSENT);
    CHECK_INT(r, a.sends, 1);
    (void)weir_release(w, a.ticket);
    book(r, 0, 0);
    /* Twice dead, the second time while it asks. */
    begin(r, "{\"kind\": \"accept_late\", \"method\": \"POST\", \"delay_ms\": 700}");
    t = submit(r, w, "sim.order", form_new(form), 8000);
    rig_sleep_ms(200);
    rig_worker_kill(r);
    rig_sleep_ms(200);
    rig_worker_kill(r);
    a = ended(r, w, t);
    ENDS(r, a, WEIR_RESULT_DONE, WEIR_DOUBT_FOUND);
    (void)weir_release(w, a.ticket);
    book(r, 1, 0);
}

/* A worker that stood still through deadline and patience asks all the same: what it does not know then it could know. */
static void worker_stands_still(struct rig *r, struct weir *w)
{
    char form[96];
    begin(r, "{\"kind\": \"stall\", \"method\": \"POST\"}");
    weir_ticket t = submit(r, w, "sim.seldom", form_new(form), 600);
    const uint64_t *word = &w->at->mem.slot[(uint32_t)t].state;
    for (int n = 0; n < 500 && weir_slot_state(weir_load_acquire_u64(word)) != WEIR_SLOT_SENDING;
         n++) {
        rig_sleep_ms(1);
    }
    rig_sleep_ms(30);
    pid_t worker = rig_process(r, "weird-worker");
    (void)kill(worker, SIGSTOP);
    rig_sleep_ms(1500);
    (void)kill(worker, SIGCONT);
    struct weir_response a = ended(r, w, t);
    ENDS(r, a, WEIR_RESULT_DONE, WEIR_DOUBT_FOUND);
    (void)weir_release(w, a.ticket);
    book(r, 1, 0);
}

/* Whoever asks to stop is followed all the same; it is not sent again then. */
static void cancelled(struct rig *r, struct weir *w)
{
    char form[96];
    begin(r, "{\"kind\": \"reset_before_count\", \"method\": \"POST\"}");
    uint64_t asked = stats(w, "sim.again")->doubts_asked;
    weir_ticket t = submit(r, w, "sim.again", form_new(form), 8000);
    for (int n = 0; n < 2500 && stats(w, "sim.again")->doubts_asked == asked; n++) {
        rig_sleep_ms(2);
    }
    CHECK_INT(r, weir_cancel(w, t), WEIR_E_CANCEL_LATE);
    struct weir_response a = ended(r, w, t);
    ENDS(r, a, WEIR_RESULT_ABSENT, WEIR_DOUBT_ABSENT);
    CHECK_INT(r, a.sends, 1);
    (void)weir_release(w, a.ticket);
}

/* ---------------------------------------------------------------------------------------------- many at once */

#define FLIGHT 16U

static int trade(struct rig *r, int arg)
{
    struct weir *w = rig_attach(r, WEIR_ROLE_CALLER);
    weir_route_id route = rig_route(w, arg == 0 ? "sim.order" : "sim.again");
    int bad = 0;
    while (weir_load_acquire_u32(&r->shared->stop) == 0) {
        weir_ticket t[FLIGHT];
        uint32_t number[FLIGHT];
        unsigned cnt = 0;
        while (cnt < FLIGHT && rig_order_submit(r, w, route, weir_now_ns(w) + 4 * WEIR_NS_PER_S,
                                                &t[cnt], &number[cnt]) == 0) {
            cnt++;
            rig_sleep_ms(3);
        }
        for (unsigned i = 0; i < cnt; i++) {
            struct weir_response a;
            int rc = weir_wait(w, t[i], weir_now_ns(w) + 40 * WEIR_NS_PER_S, &a);
            if (rc != 0) {
                (void)printf("FAILED: wait: %s\n", weir_strerror(rc));
                bad = 1;
                continue;
            }
            rig_order_ended(r, number[i], &a);
            weir_fetch_add_u32(&r->shared->count[BY_DOUBT + a.doubt], 1);
            (void)weir_release(w, t[i]);
        }
    }
    weir_close(w);
    return bad;
}

/* What each was told against what the exchange has. */
static void judge(struct rig *r)
{
    unsigned wrong = 0;
    unsigned unknown = 0;
    uint32_t cnt = weir_load_acquire_u32(&r->shared->order_next);
    uint8_t *seen = calloc(cnt + 1, 1);
    json_t *list = rig_json(r, "/sim/orders");
    size_t i;
    const json_t *row;
    json_array_foreach(list, i, row)
    {
        const char *id = json_string_value(json_object_get(row, "client_order_id"));
        unsigned long n = strncmp(id, "o-", 2) == 0 ? strtoul(id + 2, NULL, 10) : cnt;
        seen[n < cnt ? n : cnt]++;
        PROMISE_INT(r, json_integer_value(json_object_get(row, "times")), 1);
    }
    json_decref(list);
    for (uint32_t n = 0; n < cnt; n++) {
        unsigned result = weir_load_acquire_u32(&r->shared->order[n]);
        unsigned status = weir_load_acquire_u32(&r->shared->order_status[n]);
        bool there = seen[n] != 0;
        bool said = result == WEIR_RESULT_DONE && status == 200;
        unknown += result == WEIR_RESULT_OUTCOME_UNKNOWN;
        if (result != RIG_ORDER_NONE && result != WEIR_RESULT_OUTCOME_UNKNOWN && said != there) {
            (void)printf("FAILED: order o-%u: %s, status %u, %s the book\n", n,
                         weir_result_text(result), status, there ? "in" : "not in");
            wrong++;
        }
    }
    free(seen);
    PROMISE_INT(r, wrong, 0);
    CHECK_INT(r, unknown, 0);
    PROMISE_INT(r, rig_report(r, "orders.duplicates"), 0);
    PROMISE_INT(r, weir_load_acquire_u32(&r->shared->count[63]), 0);
    CHECK_INT(r, rig_report(r, "signatures.bad"), 0);
    uint32_t *c = r->shared->count;
    (void)printf("orders: %u, of them in doubt: %u found, %u absent, %u sent again, %u unknown\n",
                 cnt, c[WEIR_DOUBT_FOUND], c[WEIR_DOUBT_ABSENT], c[WEIR_DOUBT_RESENT],
                 c[WEIR_DOUBT_UNKNOWN]);
    CHECK(r, c[WEIR_DOUBT_FOUND] > 20 && c[WEIR_DOUBT_ABSENT] > 2 && c[WEIR_DOUBT_RESENT] > 0,
          "all took part");
}

static void campaign(struct rig *r)
{
    static const char *const fault[] = {
        "{\"kind\": \"reset\", \"method\": \"POST\", \"probability\": 0.1}",
        "{\"kind\": \"reset_before_count\", \"method\": \"POST\", \"probability\": 0.2}",
        "{\"kind\": \"accept_late\", \"method\": \"POST\", \"delay_ms\": 500, \"probability\": "
        "0.3}",
        "{\"kind\": \"half_body\", \"method\": \"POST\", \"probability\": 0.4}",
        "{\"kind\": \"reset\", \"method\": \"GET\", \"probability\": 0.2}",
    };
    pid_t pid[3];
    rig_faults_clear(r);
    CHECK_INT(r, rig_http(r, "POST", "/sim/reset", "", NULL, 0), 200);
    for (size_t i = 0; i < WEIR_ARRAY_CNT(fault); i++) {
        rig_fault(r, fault[i]);
    }
    for (int i = 0; i < 3; i++) {
        pid[i] = rig_fork(r, trade, i);
    }
    rig_sleep_ms(4000);
    for (unsigned i = 0; i < 6; i++) {
        rig_sleep_ms(100 + rig_random(r, 900));
        rig_worker_kill(r);
    }
    rig_sleep_ms(2500);
    weir_store_release_u32(&r->shared->stop, 1);
    for (int i = 0; i < 3; i++) {
        CHECK_INT(r, rig_wait(pid[i], 40000), 0);
    }
    rig_sleep_ms(LATE_MS + 500);
    judge(r);
}

int main(int argc, char **argv)
{
    struct rig r;
    rig_open(&r, "doubt", argc, argv, 110);
    rig_sim_start(&r, "{\"limits\": [], \"latency_ms\": 2, \"jitter_ms\": 5, \"signature\": "
                      "{\"secrets\": {\"desk\": \"hidden\"}, \"paths\": [\"POST /api/v3/order\", "
                      "\"GET /api/v3/order\"]}}");
    configure(&r);
    rig_weird_start(&r);
    struct weir *w = rig_attach(&r, WEIR_ROLE_CALLER);
    found(&r, w);
    absent(&r, w);
    not_known(&r, w);
    sent_again(&r, w);
    static void (*const struck[])(struct rig * r, struct weir * w) = {cancelled, worker_dies,
                                                                      worker_stands_still};
    for (size_t i = 0; i < WEIR_ARRAY_CNT(struck); i++) {
        RIG_SCENE (&r, 100) /* what strikes does so while something else waits for an answer */
        {
            struck[i](&r, w);
        }
    }
    weir_close(w);
    campaign(&r);
    CHECK_INT(&r, rig_weird_stop(&r, 15000), 0);
    return rig_close(&r);
}
