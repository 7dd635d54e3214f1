/*
 * settle.c: reserve, then settle, against the exchange's own count: what an order weighs when it succeeds, what a batch of which a part was taken counts, a cost that
 * the answer names, bytes. By calls of the broker and by permits. Oracle: weir-sim, which charges on arrival and corrects when it answers.
 *
 * First alone: after each step weir's count is the exchange's, and more is done than what was reserved would have let through. Then strategies and the worker are killed while it goes on: no
 * violation. All windows are 5 min, and the exchange's clock is set so that none ends on the way.
 */
#include "rig.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define ORDERS \
    60U /* by call, and as many by permit; of a window's weight 25 would fit, were it not given back */
#define FAILURES 4U
#define QUERIES  30U /* at 100 reserved 20 would fit */
#define ACTUAL   20U
#define CHAOS_MS 4000U

static const char sim_json[] =
    "{\"clock_offset_ms\": %lld, \"latency_ms\": 1, \"jitter_ms\": 3, \"count_jitter_ms\": 3, "
    "\"ban_after\": 0, "
    "\"limits\": ["
    "{\"name\": \"weight\", \"kind\": \"fixed_window\", \"quota\": 100, \"window_ms\": 300000, "
    "\"counts\": \"listed\"}, "
    "{\"name\": \"points\", \"kind\": \"fixed_window\", \"quota\": 2000, \"window_ms\": 300000, "
    "\"counts\": \"listed\"}, "
    "{\"name\": \"batch\", \"kind\": \"sliding_window\", \"quota\": 10, \"window_ms\": 300000, "
    "\"counts\": \"listed\", "
    "\"counts_refused\": false}, "
    "{\"name\": \"bytes\", \"kind\": \"bytes\", \"quota\": 4000000, \"window_ms\": 300000}], "
    "\"routes\": ["
    "{\"path\": \"POST /order\", \"plays\": \"place\", \"id\": \"id\", "
    "\"costs\": [{\"limit\": \"weight\", \"cost\": 4, \"success_cost\": 0}]}, "
    "{\"path\": \"POST /query\", \"plays\": \"ok\", \"costs\": [{\"limit\": \"points\", \"cost\": "
    "100, "
    "\"actual\": [20, 20], \"field\": \"cost.actual\"}]}, "
    "{\"path\": \"POST /batch\", \"plays\": \"batch_place\", \"items\": \"request\", \"id\": "
    "\"id\", "
    "\"costs\": [{\"limit\": \"batch\", \"per_item\": 1, \"partial\": true}]}]}";

static const char weir_yaml[] =
    "broker: {name: rig}\n"
    "providers:\n"
    "  - name: sim\n"
    "    clock: {path: /api/v3/time, field: serverTime, interval: 1s, max_jitter: 200ms}\n"
    "    limits:\n"
    "      - {name: weight, kind: fixed_window, quota: 100, window: 5m}\n"
    "      - {name: points, kind: fixed_window, quota: 2000, window: 5m}\n"
    "      - {name: batch, kind: sliding_window, quota: 10, window: 5m}\n"
    "      - {name: kib, kind: sliding_window, quota: 3906, window: 5m}\n"
    "      - {name: asked, kind: token_bucket, quota: 1000, window: 1s}\n"
    "    throttle: {status: [429], default: 10ms, retry_after: none}\n"
    "    endpoints:\n"
    "      - {name: a, url: \"http://127.0.0.1:$PORT\", connections: 16}\n"
    "    routes:\n"
    "      - {name: time, method: GET, path: /api/v3/time, cost: {asked: 1}}\n"
    "      - {name: order, method: POST, path: /order, cost: {weight: 4}, settle: {success: "
    "{weight: 0}}, timeout: 20s}\n"
    "      - {name: own, transport: own, cost: {weight: 4}, settle: {success: {weight: 0}}}\n"
    "      - {name: query, method: POST, path: /query, cost: {points: 100}, timeout: 20s,\n"
    "         settle: {counted: [{limit: points, field: cost.actual}]}}\n"
    "      - {name: own_query, transport: own, cost: {points: 100}}\n"
    "      - {name: batch, method: POST, path: /batch, cost: {batch: 8}, headers: [content-type], "
    "timeout: 20s,\n"
    "         settle: {counted: [{limit: batch, list: retExtInfo.list, item: code, equals: "
    "\"0\"}]}}\n"
    "      - {name: book, method: GET, path: /api/v3/depth, cost: {kib: 100}, timeout: 20s,\n"
    "         settle: {counted: [{limit: kib, per_bytes: 1KiB}]}}\n";

/* A row of the exchange's report, by name: the order of rows is that of the first calls. */
static double counted(struct rig *r, const char *limit)
{
    json_t *report = rig_json(r, "/sim/report");
    double units = 0;
    size_t i;
    const json_t *row;
    json_array_foreach(json_object_get(report, "limits"), i, row)
    {
        const char *name = json_string_value(json_object_get(row, "name"));
        if (name != NULL && strcmp(name, limit) == 0) {
            units += json_number_value(json_object_get(row, "counted"));
        }
    }
    json_decref(report);
    return units;
}

/* The status; 0 where it did not end with an answer. `answer_bytes`: its head and body, if not NULL. */
static uint32_t call(struct weir *w, const char *route, const char *query, const char *body,
                     size_t *answer_bytes)
{
    static const struct weir_header json = {"content-type", "application/json"};
    struct weir_response a = {0};
    const struct weir_request_spec spec = {.struct_bytes = sizeof spec,
                                           .route = rig_route(w, route),
                                           .query = query,
                                           .headers = &json,
                                           .header_cnt = body != NULL ? 1 : 0,
                                           .body = body,
                                           .body_bytes = body != NULL ? strlen(body) : 0};
    int rc = weir_call(w, &spec, weir_now_ns(w) + 20 * WEIR_NS_PER_S, &a);
    uint32_t status = rc == 0 && a.result == WEIR_RESULT_DONE ? a.status : 0;
    if (answer_bytes != NULL) {
        *answer_bytes = (size_t)a.headers_bytes + a.body_bytes;
    }
    if (rc == 0) {
        (void)weir_release(w, a.ticket);
    }
    return status;
}

/* With the strategy's own transport; `units`: what it says that was counted, UINT32_MAX: the route's rules say it. */
static uint32_t by_permit(struct rig *r, struct weir *w, const char *route, const char *path,
                          uint32_t units)
{
    struct weir_permit p;
    const struct weir_cost said = {.cnt = 1, .units = {units}};
    struct weir_outcome o = {.kind = WEIR_OUTCOME_NOT_SENT};
    if (weir_permit_wait(w, rig_route(w, route), WEIR_SCOPE_DEFAULT, NULL, WEIR_PRIORITY_MEDIUM,
                         weir_now_ns(w) + 20 * WEIR_NS_PER_S, &p) != 0) {
        return 0;
    }
    if (weir_now_ns(w) < p.use_by_ns) {
        o.status = (uint32_t)rig_http(r, "POST", path, "", NULL, 0);
        o.kind = o.status != 0 ? WEIR_OUTCOME_ANSWERED : WEIR_OUTCOME_NO_ANSWER;
        o.counted = units != UINT32_MAX ? &said : NULL;
    }
    (void)weir_permit_settle(w, &p, &o);
    return o.status;
}

static void orders(struct rig *r, struct weir *w)
{
    char text[64];
    unsigned good = 0;
    for (unsigned i = 0; i < ORDERS; i++) {
        (void)snprintf(text, sizeof text, "id=c-%u", i);
        good += call(w, "sim.order", text, NULL, NULL) == 200;
        (void)snprintf(text, sizeof text, "/order?id=p-%u", i);
        good += by_permit(r, w, "sim.own", text, UINT32_MAX) == 200;
    }
    CHECK_INT(r, good, 2 * ORDERS);
    CHECK_INT(r, rig_report(r, "orders.accepted"), 2 * ORDERS);
    CHECK_INT(r, counted(r, "weight"), 0);
    CHECK_INT(r, rig_used(w, "sim.weight", 0), 0);
    /* The same ids once more: they fail, and pay. */
    for (unsigned i = 0; i < FAILURES; i++) {
        (void)snprintf(text, sizeof text, "id=c-%u", i);
        CHECK_INT(r, call(w, "sim.order", text, NULL, NULL), 400);
        (void)snprintf(text, sizeof text, "/order?id=p-%u", i);
        CHECK_INT(r, by_permit(r, w, "sim.own", text, UINT32_MAX), 400);
    }
    CHECK_INT(r, counted(r, "weight"), 2 * FAILURES * 4);
    CHECK_INT(r, rig_used(w, "sim.weight", 0), 2 * FAILURES * 4);
}

static void queries(struct rig *r, struct weir *w)
{
    for (unsigned i = 0; i < QUERIES; i++) {
        CHECK_INT(r, call(w, "sim.query", NULL, NULL, NULL), 200);
        CHECK_INT(r, by_permit(r, w, "sim.own_query", "/query", ACTUAL), 200);
    }
    CHECK_INT(r, counted(r, "points"), 2 * QUERIES * ACTUAL);
    CHECK_INT(r, rig_used(w, "sim.points", 0), 2 * QUERIES * ACTUAL);
}

/* Bytes: 100 KiB are reserved for an answer of any size. The exchange counts all that it sends, so answers about the time too. */
static void bytes(struct rig *r, struct weir *w)
{
    uint32_t kib = 0;
    size_t have = 0;
    double before = counted(r, "bytes");
    for (unsigned i = 0; i < 4; i++) {
        const char *query = i % 2 ? "symbol=BTCUSDT&limit=5" : "symbol=BTCUSDT&limit=1000";
        CHECK_INT(r, call(w, "sim.book", query, NULL, &have), 200);
        kib += (uint32_t)((have + 1023) / 1024);
    }
    double sent = counted(r, "bytes") - before;
    CHECK(r, kib > 4 && kib < 400, "answers of several sizes");
    CHECK_INT(r, rig_used(w, "sim.kib", 0), kib);
    CHECK(r, sent <= kib * 1024.0 + 4096, "the exchange counted %.0f of %u KiB", sent, kib);
}

/* Somebody else took 5 of 10: of eight orders five are taken, and five count. */
static void batch(struct rig *r, struct weir *w)
{
    char body[512] = "{\"request\": [";
    for (unsigned i = 0; i < 8; i++) {
        size_t n = strlen(body);
        (void)snprintf(body + n, sizeof body - n, "%s{\"id\": \"b-%u\"}", i > 0 ? "," : "", i);
    }
    (void)strcat(body, "]}");
    double before = rig_report(r, "violations");
    CHECK_INT(r,
              rig_http(r, "POST", "/sim/use",
                       "{\"limit\": \"batch\", \"caller\": \"127.0.0.1\", \"units\": 5}", NULL, 0),
              200);
    CHECK_INT(r, call(w, "sim.batch", NULL, body, NULL), 200);
    CHECK_INT(r, rig_used(w, "sim.batch", 0), 5);
    CHECK_INT(r, rig_report(r, "violations") - before,
              1); /* the exchange calls a part a violation; nobody had told weir of the others */
}

/* Whatever fits, for ever: new orders, some twice, and queries. */
static int strategy(struct rig *r, int arg)
{
    struct weir *w = rig_attach(r, WEIR_ROLE_TRADER);
    char text[64];
    while (weir_load_acquire_u32(&r->shared->stop) == 0) {
        unsigned n = weir_fetch_add_u32(&r->shared->order_next, 1);
        unsigned id = n - rig_random(r, 16) / 15; /* now and then one that is there */
        (void)snprintf(text, sizeof text, arg % 2 ? "id=x-%u" : "/order?id=x-%u", id);
        uint32_t status = arg % 2 ? call(w, "sim.order", text, NULL, NULL)
                                  : by_permit(r, w, "sim.own", text, UINT32_MAX);
        if (status == 0) {
            rig_sleep_ms(5); /* the window is used up, or nobody is there to ask */
        }
        weir_fetch_add_u32(&r->shared->count[status == 200 ? 0 : status == 400 ? 1 : 2], 1);
    }
    weir_close(w);
    return 0;
}

static void chaos(struct rig *r)
{
    pid_t pid[5];
    for (int i = 0; i < 5; i++) {
        pid[i] = rig_fork(r, strategy, i);
    }
    uint64_t end_ns = rig_now_ns() + CHAOS_MS * WEIR_NS_PER_MS;
    for (unsigned turn = 0; rig_now_ns() < end_ns; turn++) {
        rig_sleep_ms(200 + rig_random(r, 300));
        unsigned i = rig_random(r, 5);
        if (turn % 4 == 3) {
            rig_worker_kill(r);
        } else {
            (void)kill(pid[i], SIGKILL);
            CHECK_INT(r, rig_wait(pid[i], 5000), 128 + SIGKILL);
            pid[i] = rig_fork(r, strategy, (int)i);
        }
    }
    weir_store_release_u32(&r->shared->stop, 1);
    for (int i = 0; i < 5; i++) {
        int status = rig_wait(pid[i], 30000);
        CHECK(r, status == 0 || status == 1, "ended by itself: %d",
              status); /* 1: no worker to attach to */
    }
    const uint32_t *c = r->shared->count;
    (void)printf("while killed: %u orders taken, %u failed, %u without an answer\n", c[0], c[1],
                 c[2]);
    CHECK(r, c[0] > 0, "orders were taken");
}

int main(int argc, char **argv)
{
    static struct rig r;
    char sim[2048];
    struct timespec ts;
    rig_open(&r, "settle", argc, argv, 110);
    (void)clock_gettime(CLOCK_REALTIME, &ts);
    long long into_ms = (long long)ts.tv_sec % 300 * 1000 + ts.tv_nsec / 1000000;
    (void)snprintf(sim, sizeof sim, sim_json, 302000 - into_ms); /* 2 s into a window */
    rig_sim_start(&r, sim);
    rig_config(&r, weir_yaml, 0);
    rig_weird_start(&r);
    struct weir *w = rig_attach(&r, WEIR_ROLE_TRADER);
    uint64_t utc_ns;
    uint64_t error_ns;
    for (int i = 0; i < 1000 && weir_server_time(w, "sim", &utc_ns, &error_ns) != 0; i++) {
        rig_sleep_ms(5);
    }
    orders(&r, w);
    queries(&r, w);
    bytes(&r, w);
    CHECK_INT(&r, rig_report(&r, "violations"), 0);
    batch(&r, w);
    double before = rig_report(&r, "violations");
    chaos(&r);
    CHECK_INT(&r, rig_report(&r, "violations") - before, 0);
    weir_close(w);
    CHECK_INT(&r, rig_weird_stop(&r, 15000), 0);
    return rig_close(&r);
}
