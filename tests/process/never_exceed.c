/*
 * Several strategies of several priorities against an exchange whose clock is off, half by permit with their own transport, half by call: no
 * violation, no 429, no 418, at least 95 % of the quota used, every order exactly once.
 */
#include "rig.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RUN_MS  9000U
#define FLIGHT  12U
#define CLIENTS 6

static size_t nothing(char *at, size_t one, size_t bytes, void *arg)
{
    (void)at;
    (void)arg;
    return one * bytes;
}

/* One call by our own transport, written before use_by_ns. */
static int own_call(struct rig *r, CURL *e, const char *path, const char *body)
{
    char url[160];
    long status = 0;
    (void)snprintf(url, sizeof url, "http://127.0.0.1:%u%s", r->port, path);
    (void)curl_easy_setopt(e, CURLOPT_URL, url);
    if (body != NULL) {
        (void)curl_easy_setopt(e, CURLOPT_POSTFIELDS, body);
    } else {
        (void)curl_easy_setopt(e, CURLOPT_HTTPGET, 1L);
    }
    CURLcode code = curl_easy_perform(e);
    (void)curl_easy_getinfo(e, CURLINFO_RESPONSE_CODE, &status);
    return code == CURLE_OK ? (int)status : -1;
}

static void own_step(struct rig *r, struct weir *w, CURL *e, const weir_route_id route[3], int kind)
{
    static const char *const path[] = {"/api/v3/ping", "/api/v3/depth?symbol=BTCUSDT",
                                       "/api/v3/order"};
    static const enum weir_priority priority[] = {WEIR_PRIORITY_LOW, WEIR_PRIORITY_MEDIUM,
                                                  WEIR_PRIORITY_CRITICAL};
    struct weir_permit p;
    char body[96];
    uint32_t n = 0;
    if (weir_permit_wait(w, route[kind], 0, NULL, priority[kind],
                         weir_now_ns(w) + 100 * WEIR_NS_PER_MS, &p) != 0) {
        return;
    }
    if (kind == 2) {
        n = weir_fetch_add_u32(&r->shared->order_next, 1);
        (void)snprintf(body, sizeof body, "symbol=BTCUSDT&newClientOrderId=o-%u", n);
        weir_store_release_u32(&r->shared->order[n], RIG_ORDER_OUT);
    }
    if (weir_now_ns(w) > p.use_by_ns) {
        const struct weir_outcome late = {.kind = WEIR_OUTCOME_NOT_SENT};
        (void)weir_permit_settle(w, &p, &late);
        if (kind == 2) {
            weir_store_release_u32(&r->shared->order[n], WEIR_RESULT_REFUSED);
        }
        return;
    }
    int status = own_call(r, e, path[kind], kind == 2 ? body : NULL);
    const struct weir_outcome o = {.kind =
                                       status > 0 ? WEIR_OUTCOME_ANSWERED : WEIR_OUTCOME_NO_ANSWER,
                                   .status = status > 0 ? (uint32_t)status : 0};
    (void)weir_permit_settle(w, &p, &o);
    if (kind == 2) {
        const struct weir_response done = {.result = status > 0 ? WEIR_RESULT_DONE
                                                                : WEIR_RESULT_OUTCOME_UNKNOWN,
                                           .status = status > 0 ? (uint32_t)status : 0};
        rig_order_ended(r, n, &done);
    }
    weir_fetch_add_u32(&r->shared->count[status == 200 ? 0 : 1], 1);
}

static int by_permit(struct rig *r, int arg)
{
    (void)arg;
    struct weir *w = rig_attach(r, WEIR_ROLE_TRADER);
    const weir_route_id route[] = {rig_route(w, "sim.ping"), rig_route(w, "sim.depth"),
                                   rig_route(w, "sim.order")};
    CURL *e = curl_easy_init();
    (void)curl_easy_setopt(e, CURLOPT_PROXY, "");
    (void)curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
    (void)curl_easy_setopt(e, CURLOPT_TIMEOUT, 3L);
    (void)curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, nothing);
    while (weir_load_acquire_u32(&r->shared->stop) == 0) {
        own_step(r, w, e, route, (int)rig_random(r, 3));
    }
    curl_easy_cleanup(e);
    weir_close(w);
    return 0;
}

struct flight {
    weir_ticket ticket;
    uint32_t number;
    bool order;
};

static void call_start(struct rig *r, struct weir *w, const weir_route_id route[3],
                       struct flight *f)
{
    unsigned kind = rig_random(r, 3);
    uint64_t deadline_ns = weir_now_ns(w) + 2900 * WEIR_NS_PER_MS;
    int rc;
    if (kind == 2) {
        rc = rig_order_submit(r, w, route[2], deadline_ns, &f->ticket, &f->number);
    } else {
        const struct weir_request_spec spec = {.struct_bytes = sizeof spec,
                                               .route = route[kind],
                                               .query = kind == 1 ? "symbol=BTCUSDT" : NULL,
                                               .deadline_ns = deadline_ns};
        rc = weir_submit(w, &spec, &f->ticket);
    }
    f->order = kind == 2;
    f->ticket = rc == 0 ? f->ticket : 0;
}

static void call_end(struct rig *r, struct weir *w, struct flight *f)
{
    struct weir_response a;
    if (f->ticket == 0 || weir_wait(w, f->ticket, weir_now_ns(w) + 5 * WEIR_NS_PER_S, &a) != 0) {
        rig_sleep_ms(1);
        return;
    }
    bool good = a.result == WEIR_RESULT_DONE && a.status == 200;
    bool refused = a.result == WEIR_RESULT_REFUSED || a.result == WEIR_RESULT_EXPIRED;
    weir_fetch_add_u32(&r->shared->count[good ? 2 : refused ? 3 : 4], 1);
    if (f->order) {
        rig_order_ended(r, f->number, &a);
    }
    (void)weir_release(w, a.ticket);
    f->ticket = 0;
}

static int by_call(struct rig *r, int arg)
{
    struct flight flight[FLIGHT] = {0};
    struct weir *w = rig_attach(r, arg % 2 == 0 ? WEIR_ROLE_CALLER : WEIR_ROLE_TRADER);
    const weir_route_id route[] = {rig_route(w, "sim.ping"), rig_route(w, "sim.depth"),
                                   rig_route(w, "sim.order")};
    for (unsigned i = 0; weir_load_acquire_u32(&r->shared->stop) == 0; i = (i + 1) % FLIGHT) {
        call_end(r, w, &flight[i]);
        call_start(r, w, route, &flight[i]);
    }
    for (unsigned i = 0; i < FLIGHT; i++) {
        call_end(r, w, &flight[i]);
    }
    weir_close(w);
    return 0;
}

/*
 * Used of what was allowed, over complete windows. The first three are left out: what was granted before the exchange's clock was known is
 * charged to every window that it could have fallen into.
 */
static double share_of(const json_t *row)
{
    const json_t *windows = json_object_get(row, "windows");
    double used = 0;
    size_t cnt = json_array_size(windows);
    for (size_t i = 3; i + 1 < cnt; i++) {
        used += json_number_value(json_object_get(json_array_get(windows, i), "used"));
    }
    return cnt > 4 ? used / ((double)(cnt - 4) * json_number_value(json_object_get(row, "quota")))
                   : 0;
}

/* The limits' rows: nothing above the quota, and the scarce ones well used. */
static void limits_check(struct rig *r)
{
    json_t *report = rig_json(r, "/sim/report");
    size_t i;
    const json_t *row;
    json_array_foreach(json_object_get(report, "limits"), i, row)
    {
        const char *name = json_string_value(json_object_get(row, "name"));
        double share = share_of(row);
        (void)printf("limit %s: quota %lld, highest %lld, share of settled windows %.3f\n",
                     name != NULL ? name : "?", json_integer_value(json_object_get(row, "quota")),
                     json_integer_value(json_object_get(row, "highest")), share);
        /* Orders are not what runs out here: the weight is. */
        rig_check(r, share >= 0.95 || strcmp(name, "orders") == 0, __FILE__, __LINE__,
                  "share of %s is %.3f, wanted 0.95", name, share);
    }
    json_t *status = json_object_get(json_object_get(report, "by_status"), "429");
    CHECK_INT(r, status == NULL ? 0 : json_integer_value(status), 0);
    CHECK_INT(r, json_object_get(json_object_get(report, "by_status"), "418") == NULL, 1);
    PROMISE_INT(r, json_integer_value(json_object_get(report, "violations")), 0);
    json_decref(report);
}

static void run(struct rig *r, int offset_ms)
{
    char sim[512];
    pid_t pid[CLIENTS];
    (void)printf("clock offset %+d ms\n", offset_ms);
    (void)snprintf(
        sim, sizeof sim,
        "{\"clock_offset_ms\": %d, \"latency_ms\": 2, \"jitter_ms\": 8, \"count_jitter_ms\": 10, "
        "\"ban_after\": 3, \"limits\": ["
        "{\"name\": \"weight\", \"kind\": \"fixed_window\", \"quota\": 200, \"window_ms\": 2000},"
        "{\"name\": \"orders\", \"kind\": \"fixed_window\", \"quota\": 50, \"window_ms\": 2000, "
        "\"scope\": \"key\", \"counts\": \"orders\"}]}",
        offset_ms);
    memset(r->shared, 0, sizeof *r->shared);
    r->port = 0;
    rig_sim_start(r, sim);
    rig_config_usual(r, "wake: adaptive");
    rig_weird_start(r);
    for (int i = 0; i < CLIENTS; i++) {
        pid[i] = rig_fork(r, i < CLIENTS / 2 ? by_permit : by_call, i);
    }
    rig_sleep_ms(RUN_MS);
    weir_store_release_u32(&r->shared->stop, 1);
    for (int i = 0; i < CLIENTS; i++) {
        CHECK_INT(r, rig_wait(pid[i], 8000), 0);
    }
    uint32_t *c = r->shared->count;
    (void)printf("by permit: %llu answered, %llu not 200; by call: %llu answered, %llu refused, "
                 "%llu otherwise\n",
                 (unsigned long long)c[0], (unsigned long long)c[1], (unsigned long long)c[2],
                 (unsigned long long)c[3], (unsigned long long)c[4]);
    limits_check(r);
    rig_orders_check(r, false);
    CHECK_INT(r, c[1], 0);
    /* A permit may come a moment before the deadline, and then the answer is late: a time-out, an outcome unknown. */
    CHECK(r, c[4] * 20 <= c[2], "few late answers");
    /* Who is faster takes more: three that wait one permit at a time get what 36 calls in flight leave. */
    CHECK(r, c[0] > 10 && c[2] > 50, "both kinds took part");
    CHECK_INT(r, rig_weird_stop(r, 15000), 0);
    rig_sim_stop(r);
    rig_sleep_ms(1);
}

int main(int argc, char **argv)
{
    struct rig r;
    rig_open(&r, "never_exceed", argc, argv, 90);
    run(&r, 300);
    run(&r, -700);
    return rig_close(&r);
}
