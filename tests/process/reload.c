/*
 * SIGHUP: another configuration in the place of the one in force, under load, in both directions, with workers and supervisors killed (-9) at random moments of it.
 *
 *   reload WEIR-SIM WEIRD [SEED] [--long]     --long: 60 reloads under load instead of 8
 *
 * The oracle is weir-sim. It counts by the larger quota while a reload is under way, and by the new one as soon as weird has said `reloaded`: a raise is told to it
 * before, a cut behind. Violations 0, no 429, each order once and each call one outcome.
 *
 * Then: who waits for a window that is far away is woken by a raised quota; units in flight are let go after a reload as before it; what cannot change is refused with its
 * reason and changes nothing; a successor takes over from a broker that has reloaded.
 *
 * Of the named instants these are passed here, under load: reload:lease, reload:written, reload:named, reload:bucket, reload:cell, reload:owe, reload:leased, reload:rung
 * (weave_names.def).
 */
#include "rig.h"

#include <curl/curl.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FLIGHT 8U

/* Indices of rig_shared.count. */
enum {
    GOOD = 0,
    REFUSED = 1,
    OTHER = 2,
    PERMITS = 3,
    GAP_US = 4,
    WOKEN = 5,
    TRIES = 6,
    REFUSALS = 7
};

static const char sim[] =
    "{\"latency_ms\": 2, \"jitter_ms\": 6, \"ban_after\": 0, \"limits\": ["
    "{\"name\": \"weight\", \"kind\": \"fixed_window\", \"quota\": 400, \"window_ms\": 2000}, "
    "{\"name\": \"roll\", \"kind\": \"sliding_window\", \"quota\": 60, \"window_ms\": 2000, "
    "\"counts\": \"listed\"}, "
    "{\"name\": \"pail\", \"kind\": \"token_bucket\", \"quota\": 70, \"refill_per_s\": 50, "
    "\"counts\": \"listed\"}], "
    "\"routes\": [{\"path\": \"GET /roll\", \"weight\": 0, \"plays\": \"ok\", \"costs\": "
    "[{\"limit\": \"roll\", \"cost\": 1}]}, "
    "{\"path\": \"GET /pail\", \"weight\": 0, \"plays\": \"ok\", \"costs\": [{\"limit\": "
    "\"pail\", \"cost\": 1}]}]}";

struct quotas {
    unsigned weight, roll, burst, rate, open, far;
    const char *jitter, *last_good, *more, *rests;
};

/* max_jitter is large, because the exchange judges by arrivals, and this machine may be busy. */
static const struct quotas high = {400, 60, 70, 50, 12, 10, "500ms", "1h", "", ""};
static const struct quotas low = {120, 25, 25, 20, 12, 10, "500ms", "1h", "", ""};

/* `kind`: of the limit roll. */
static void configure_as(struct rig *r, const struct quotas *q, const char *broker,
                         const char *kind)
{
    static const char yaml[] =
        "broker: {name: rig, %s}\n"
        "providers:\n"
        "  - name: sim\n"
        "    clock: {path: /api/v3/time, field: serverTime, interval: 1s, max_jitter: %s}\n"
        "    limits:\n"
        "      - {name: weight, kind: fixed_window, quota: %u, window: 2s, scope: ip}\n"
        "      - {name: roll, kind: %s, quota: %u, window: 2s, scope: ip}\n"
        "      - {name: pail, kind: token_bucket, quota: %u, window: 1s, burst: %u, scope: ip}\n"
        "    endpoints:\n"
        "      - {name: a, url: \"http://127.0.0.1:$PORT\", connections: 16}\n"
        "    routes:\n"
        "      - {name: ping, method: GET, path: /api/v3/ping, cost: {weight: 1}, timeout: 3s}\n"
        "      - {name: order, method: POST, path: /api/v3/order, cost: {weight: 1}, timeout: 3s, "
        "priority: critical}\n"
        "      - {name: roll, method: GET, path: /roll, cost: {roll: 1}, timeout: 3s}\n"
        "      - {name: pail, method: GET, path: /pail, cost: {pail: 1}, timeout: 3s}\n"
        "      - {name: kept, method: GET, path: /api/v3/depth, cost: {weight: 1}, share: public, "
        "cache: 1s, last_good: %s}\n"
        "%s"
        "  - name: free\n"
        "    clock: {source: host, error: 1ms, max_jitter: 20ms}\n"
        "    limits:\n"
        "      - {name: flow, kind: token_bucket, quota: 1000000, window: 1s, burst: 100000}\n"
        "      - {name: far, kind: fixed_window, quota: %u, window: 10m}\n"
        "      - {name: open, kind: concurrency, quota: %u%s}\n"
        "    routes:\n"
        "      - {name: own, transport: own, cost: {flow: 1}}\n"
        "      - {name: far, transport: own, cost: {far: 1}}\n"
        "      - {name: open, transport: own, cost: {open: 1}}\n";
    char text[8192];
    (void)snprintf(text, sizeof text, yaml, broker, q->jitter, q->weight, kind, q->roll, q->rate,
                   q->burst, q->last_good, q->more, q->far, q->open, q->rests);
    rig_config(r, text, 0);
}

static void configure(struct rig *r, const struct quotas *q)
{
    configure_as(r, q, "log: info", "sliding_window");
}

static bool going(struct rig *r)
{
    return weir_load_acquire_u32(&r->shared->stop) == 0;
}

static void sim_quotas(struct rig *r, const struct quotas *q)
{
    const struct {
        const char *limit;
        unsigned quota;
    } all[] = {{"weight", q->weight}, {"roll", q->roll}, {"pail", q->burst}};
    for (size_t i = 0; i < WEIR_ARRAY_CNT(all); i++) {
        char body[96];
        (void)snprintf(body, sizeof body, "{\"limit\": \"%s\", \"quota\": %u}", all[i].limit,
                       all[i].quota);
        CHECK_INT(r, rig_http(r, "POST", "/sim/limit", body, NULL, 0), 200);
    }
}

/* How many lines of the log hold `text`; `*last` gets the number behind `"key":` of the last one. */
static unsigned log_count(const struct rig *r, const char *text, const char *key, long *last)
{
    char line[8192];
    unsigned cnt = 0;
    FILE *f = fopen(r->log, "re");
    while (f != NULL && fgets(line, sizeof line, f) != NULL) {
        const char *at = strstr(line, text) != NULL && key != NULL ? strstr(line, key) : NULL;
        cnt += strstr(line, text) != NULL;
        if (at != NULL && last != NULL) {
            *last = strtol(at + strlen(key), NULL, 10);
        }
    }
    if (f != NULL) {
        (void)fclose(f);
    }
    return cnt;
}

#define DONE    "\"event\":\"reloaded\""
#define CHANGED "\"event\":\"tables_changed\""
#define REFUSAL "\"event\":\"reload_refused\""

/* One more of these lines than `before`. */
static bool log_wait(const struct rig *r, const char *text, unsigned before, unsigned limit_ms)
{
    for (unsigned ms = 0; ms < limit_ms; ms += 5) {
        if (log_count(r, text, NULL, NULL) > before) {
            return true;
        }
        rig_sleep_ms(5);
    }
    return false;
}

/* ---------------------------------------------------------------------------------------------- strategies */

struct flight {
    weir_ticket ticket;
    uint32_t number;
    bool order;
};

static void call_start(struct rig *r, struct weir *w, const weir_route_id route[4],
                       struct flight *f)
{
    unsigned kind = rig_random(r, 4);
    uint64_t deadline_ns = weir_now_ns(w) + 2500 * WEIR_NS_PER_MS;
    f->order = kind == 1;
    int rc;
    if (f->order) {
        rc = rig_order_submit(r, w, route[1], deadline_ns, &f->ticket, &f->number);
    } else {
        const struct weir_request_spec spec = {
            .struct_bytes = sizeof spec, .route = route[kind], .deadline_ns = deadline_ns};
        rc = weir_submit(w, &spec, &f->ticket);
    }
    f->ticket = rc == 0 ? f->ticket : 0;
}

static void call_end(struct rig *r, struct weir *w, struct flight *f)
{
    struct weir_response a;
    if (f->ticket == 0) {
        return;
    }
    if (weir_wait(w, f->ticket, weir_now_ns(w) + 10 * WEIR_NS_PER_S, &a) != 0) {
        weir_fetch_add_u32(&r->shared->count[OTHER], 1);
        f->ticket = 0;
        return;
    }
    bool good = a.result == WEIR_RESULT_DONE && a.status == 200;
    bool refused = a.result == WEIR_RESULT_REFUSED || a.result == WEIR_RESULT_EXPIRED;
    weir_fetch_add_u32(&r->shared->count[good ? GOOD : refused ? REFUSED : OTHER], 1);
    if (f->order) {
        rig_order_ended(r, f->number, &a);
    }
    (void)weir_release(w, a.ticket);
    f->ticket = 0;
}

static int by_call(struct rig *r, int arg)
{
    (void)arg;
    struct flight flight[FLIGHT] = {0};
    struct weir *w = rig_attach(r, WEIR_ROLE_CALLER);
    const weir_route_id route[] = {rig_route(w, "sim.ping"), rig_route(w, "sim.order"),
                                   rig_route(w, "sim.roll"), rig_route(w, "sim.pail")};
    for (unsigned i = 0; going(r); i = (i + 1) % FLIGHT) {
        call_end(r, w, &flight[i]);
        call_start(r, w, route, &flight[i]);
    }
    for (unsigned i = 0; i < FLIGHT; i++) {
        call_end(r, w, &flight[i]);
    }
    weir_close(w);
    return 0;
}

static size_t nothing(char *at, size_t one, size_t bytes, void *arg)
{
    (void)at;
    (void)arg;
    return one * bytes;
}

/* By permit, with a transport of our own. */
static int by_permit(struct rig *r, int arg)
{
    static const char *const path[] = {"/api/v3/ping", "/roll", "/pail"};
    static const char *const name[] = {"sim.ping", "sim.roll", "sim.pail"};
    struct weir *w = rig_attach(r, WEIR_ROLE_TRADER);
    weir_route_id route = rig_route(w, name[arg]);
    CURL *e = curl_easy_init();
    char url[160];
    (void)snprintf(url, sizeof url, "http://127.0.0.1:%u%s", r->port, path[arg]);
    (void)curl_easy_setopt(e, CURLOPT_PROXY, "");
    (void)curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
    (void)curl_easy_setopt(e, CURLOPT_TIMEOUT, 3L);
    (void)curl_easy_setopt(e, CURLOPT_URL, url);
    (void)curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, nothing);
    while (going(r)) {
        struct weir_permit p;
        long status = 0;
        if (weir_permit_wait(w, route, 0, NULL, WEIR_PRIORITY_HIGH,
                             weir_now_ns(w) + 200 * WEIR_NS_PER_MS, &p) != 0) {
            continue;
        }
        if (weir_now_ns(w) > p.use_by_ns) {
            const struct weir_outcome late = {.kind = WEIR_OUTCOME_NOT_SENT};
            (void)weir_permit_settle(w, &p, &late);
            continue;
        }
        bool answered = curl_easy_perform(e) == CURLE_OK;
        (void)curl_easy_getinfo(e, CURLINFO_RESPONSE_CODE, &status);
        const struct weir_outcome o = {.kind = answered ? WEIR_OUTCOME_ANSWERED
                                                        : WEIR_OUTCOME_NO_ANSWER,
                                       .status = (uint32_t)status};
        (void)weir_permit_settle(w, &p, &o);
        weir_fetch_add_u32(&r->shared->count[PERMITS], 1);
    }
    curl_easy_cleanup(e);
    weir_close(w);
    return 0;
}

/* As fast as it goes, on a limit that no reload touches: how long was there none? */
static int spins(struct rig *r, int arg)
{
    (void)arg;
    struct weir *w = rig_attach(r, WEIR_ROLE_TRADER);
    weir_route_id flow = rig_route(w, "free.own");
    uint64_t last_ns = rig_now_ns();
    while (going(r)) {
        struct weir_permit p;
        int rc = weir_permit_try(w, flow, 0, NULL, WEIR_PRIORITY_HIGH, &p);
        weir_fetch_add_u32(&r->shared->count[rc == 0 ? TRIES : REFUSALS], 1);
        if (rc == 0) {
            uint64_t now_ns = rig_now_ns();
            uint32_t gap_us = (uint32_t)((now_ns - last_ns) / 1000);
            if (gap_us > r->shared->count[GAP_US]) {
                weir_store_relaxed_u32(&r->shared->count[GAP_US], gap_us);
            }
            last_ns = now_ns;
            const struct weir_outcome not_sent = {.kind = WEIR_OUTCOME_NOT_SENT};
            (void)weir_permit_settle(w, &p, &not_sent);
        }
        rig_sleep_ms(1);
    }
    weir_close(w);
    return 0;
}

/* ---------------------------------------------------------------------------------------------- under load */

/* One reload to `q`; `kills`: the worker may die at a random moment of it. */
static void reload_to(struct rig *r, const struct quotas *q, bool raise, bool kills)
{
    unsigned before = log_count(r, DONE, NULL, NULL);
    if (raise) {
        sim_quotas(r, q);
    }
    configure(r, q);
    (void)kill(r->weird, SIGHUP);
    if (kills) {
        rig_sleep_ms(rig_random(r, 60));
        pid_t worker = rig_process(r, "weird-worker");
        if (worker > 0) {
            (void)kill(worker, SIGKILL);
        }
    }
    CHECK(r, log_wait(r, DONE, before, 20000), "a reload is done");
    if (!raise) {
        sim_quotas(r, q);
    }
}

/* What the exchange has counted, where something is wrong. */
static void report_show(struct rig *r)
{
    json_t *report = rig_json(r, "/sim/report");
    char *text = json_dumps(report, JSON_INDENT(1));
    printf("%s\n", text != NULL ? text : "no report");
    free(text);
    json_decref(report);
}

static void under_load(struct rig *r, unsigned reloads)
{
    long pause_us = 0;
    long most_us = 0;
    pid_t child[6];
    r->shared->stop = 0;
    child[0] = rig_fork(r, by_call, 0);
    child[1] = rig_fork(r, by_call, 1);
    for (int i = 0; i < 3; i++) {
        child[2 + i] = rig_fork(r, by_permit, i);
    }
    child[5] = rig_fork(r, spins, 0);
    rig_sleep_ms(1200);
    for (unsigned n = 0; n < reloads; n++) {
        reload_to(r, n % 2 == 0 ? &low : &high, n % 2 != 0, n % 4 >= 2);
        (void)log_count(r, CHANGED, "\"pause_us\":", &pause_us);
        most_us = pause_us > most_us ? pause_us : most_us;
        rig_sleep_ms(200 + rig_random(r, 500));
    }
    weir_store_release_u32(&r->shared->stop, 1);
    for (int i = 0; i < 6; i++) {
        CHECK_INT(r, rig_wait(child[i], 15000), 0);
    }
    printf("%u reloads: permits stood still for %ld us at most (%u us between two permits of a "
           "strategy that sleeps 1 ms, %u of its %u tries refused); calls %u done, %u refused or "
           "late, %u other; permits %u\n",
           reloads, most_us, r->shared->count[GAP_US], r->shared->count[REFUSALS],
           r->shared->count[TRIES] + r->shared->count[REFUSALS], r->shared->count[GOOD],
           r->shared->count[REFUSED], r->shared->count[OTHER], r->shared->count[PERMITS]);
    CHECK(r, most_us < 1000000, "pause %ld us", most_us);
    CHECK(r, r->shared->count[GOOD] > 10, "calls were made");
    CHECK(r, r->shared->count[PERMITS] > 100, "permits were used");
    rig_orders_check(r, false);
    if (!PROMISE_INT(r, rig_report(r, "violations"), 0)) {
        report_show(r);
    }
    CHECK_INT(r, rig_report(r, "by_status.429"), -1);
}

/* ---------------------------------------------------------------------------------------------- one by one */

static unsigned take_all(struct weir *w, weir_route_id route, struct weir_permit *p, unsigned max)
{
    unsigned n = 0;
    while (n < max && weir_permit_try(w, route, 0, NULL, WEIR_PRIORITY_HIGH, &p[n]) == 0) {
        n++;
    }
    return n;
}

static int waits(struct rig *r, int arg)
{
    (void)arg;
    struct weir *w = rig_attach(r, WEIR_ROLE_TRADER);
    struct weir_permit p;
    int rc = weir_permit_wait(w, rig_route(w, "free.far"), 0, NULL, WEIR_PRIORITY_HIGH,
                              weir_now_ns(w) + 3600 * WEIR_NS_PER_S, &p);
    weir_store_release_u32(&r->shared->count[WOKEN], rc == 0 ? 1 : 2);
    weir_close(w);
    return rc == 0 ? 0 : 1;
}

/* A window of 10 min is full; more quota, and who waits for the next window need not. Units in flight are let go by a permit of the tables before. */
static void waiter_and_units(struct rig *r)
{
    struct weir_permit p[32];
    struct weir_permit far[32];
    struct quotas q = low;
    struct weir *w = rig_attach(r, WEIR_ROLE_TRADER);
    weir_route_id open = rig_route(w, "free.open");
    reload_to(r, &low, false, false);
    unsigned held = take_all(w, open, p, 32);
    unsigned gone = take_all(w, rig_route(w, "free.far"), far, 32);
    CHECK_INT(r, held, 12);
    CHECK_INT(r, gone, 10);
    pid_t child = rig_fork(r, waits, 0);
    rig_sleep_ms(300);
    CHECK_INT(r, weir_load_acquire_u32(&r->shared->count[WOKEN]), 0);
    q.far = 13;
    q.open = 16;
    uint64_t began_ns = rig_now_ns();
    unsigned before = log_count(r, CHANGED, NULL, NULL);
    configure(r, &q);
    (void)kill(r->weird, SIGHUP);
    CHECK_INT(r, rig_wait(child, 10000), 0);
    CHECK_INT(r, weir_load_acquire_u32(&r->shared->count[WOKEN]), 1);
    CHECK(r, rig_now_ns() - began_ns < 8 * WEIR_NS_PER_S, "woken, not at the window's end");
    CHECK(r, log_wait(r, CHANGED, before, 10000), "reloaded");
    unsigned more = take_all(w, open, p + held, 32 - held);
    CHECK_INT(r, held + more, 16);
    for (unsigned i = 0; i < held + more; i++) {
        const struct weir_outcome not_sent = {.kind = WEIR_OUTCOME_NOT_SENT};
        CHECK_INT(r, weir_permit_settle(w, &p[i], &not_sent), 0);
    }
    CHECK_INT(r, take_all(w, open, p, 32), 16);
    weir_close(w);
}

static int dies_with_units(struct rig *r, int arg)
{
    (void)arg;
    struct weir *w = rig_attach(r, WEIR_ROLE_TRADER);
    struct weir_permit p[32];
    unsigned held = 0;
    for (int i = 0; i < 1000 && held < 16; i++) { /* of whoever had them before, they may rest */
        held += take_all(w, rig_route(w, "free.open"), p + held, 32 - held);
        rig_sleep_ms(5);
    }
    weir_store_release_u32(&r->shared->count[WOKEN], held);
    (void)pause();
    return 0;
}

/* Units of a dead strategy rest, and a reload makes both rests shorter (units:follow): they rest for as long as they were to. */
static void shorter_rests(struct rig *r)
{
    struct weir_permit p[32];
    struct quotas q = low;
    struct weir *w = rig_attach(r, WEIR_ROLE_TRADER);
    weir_route_id open = rig_route(w, "free.open");
    q.open = 16;
    q.rests = ", rest: 2s, orphan_rest: 4s";
    reload_to(r, &q, false, false);
    weir_store_release_u32(&r->shared->count[WOKEN], 0);
    pid_t child = rig_fork(r, dies_with_units, 0);
    for (int i = 0; i < 2000 && weir_load_acquire_u32(&r->shared->count[WOKEN]) == 0; i++) {
        rig_sleep_ms(5);
    }
    CHECK_INT(r, weir_load_acquire_u32(&r->shared->count[WOKEN]), 16);
    unsigned reaped = log_count(r, "\"event\":\"units_reaped\"", NULL, NULL);
    uint64_t died_ns = rig_now_ns();
    (void)kill(child, SIGKILL);
    CHECK_INT(r, rig_wait(child, 2000), 128 + SIGKILL);
    CHECK(r, log_wait(r, "\"event\":\"units_reaped\"", reaped, 5000), "reaped");
    q.rests = ", rest: 1ms, orphan_rest: 2ms";
    reload_to(r, &q, false, false);
    CHECK(r, rig_now_ns() - died_ns < 3500 * WEIR_NS_PER_MS, "the reload is not too late to tell");
    CHECK_INT(r,
              weir_permit_wait(w, open, 0, NULL, WEIR_PRIORITY_HIGH,
                               weir_now_ns(w) + 10 * WEIR_NS_PER_S, &p[0]),
              0);
    CHECK(r, rig_now_ns() - died_ns >= 4 * WEIR_NS_PER_S, "free after %llu ms",
          (unsigned long long)((rig_now_ns() - died_ns) / WEIR_NS_PER_MS));
    CHECK_INT(r, 1 + take_all(w, open, p + 1, 31), 16);
    CHECK_INT(r, log_count(r, "\"event\":\"units_reaped\"", NULL, NULL), reaped + 1);
    weir_close(w);
}

/* What cannot change: `text` says why, and all goes on as it was. */
static void refuses(struct rig *r, struct weir *w, const char *text)
{
    struct weir_permit p;
    unsigned before = log_count(r, REFUSAL, NULL, NULL);
    uint64_t tables = weir_load_acquire_u64(&w->view.gate->tables);
    pid_t worker = rig_process(r, "weird-worker");
    (void)kill(r->weird, SIGHUP);
    CHECK(r, log_wait(r, REFUSAL, before, 10000), "refused: %s", text);
    CHECK(r, rig_log_has(r, text), "the log says \"%s\"", text);
    CHECK(r, weir_load_acquire_u64(&w->view.gate->tables) == tables, "no other tables");
    CHECK_INT(r, rig_process(r, "weird-worker"), worker);
    CHECK_INT(r, weir_permit_try(w, rig_route(w, "free.own"), 0, NULL, WEIR_PRIORITY_HIGH, &p), 0);
}

static void refusals(struct rig *r)
{
    struct quotas q = high;
    struct weir *w = rig_attach(r, WEIR_ROLE_TRADER);
    rig_config(r, "broker: {name: rig\n", 0);
    refuses(r, w, "weir.yaml:");
    configure_as(r, &q, "log: loud", "sliding_window");
    refuses(r, w, "log");
    configure_as(r, &q, "log: info, domains: [{name: default}, {name: other}]", "sliding_window");
    refuses(r, w, "of broker only wake, spin, log, drain and operators change by a reload");
    configure_as(r, &q, "log: info", "fixed_window");
    refuses(r, w, "limit roll counts in another way");
    q.more = "      - {name: more, method: GET, path: /more, cost: {weight: 1}}\n";
    configure(r, &q);
    refuses(r, w, "more");
    q = high;
    q.jitter = "250ms";
    configure(r, &q);
    refuses(r, w, "provider sim has a lower clock.max_jitter");
    q = high;
    q.last_good = "2h";
    configure(r, &q);
    refuses(r, w, "route sim.kept: last_good, and where such a route leads, stays as it is");
    q = high;
    q.open = 3;
    configure(r, &q);
    refuses(r, w, "nobody who holds a unit can be told to let it go");
    q = high;
    q.roll = 4000;
    configure(r, &q);
    refuses(r, w, "so many were not set aside for it");
    weir_close(w);
}

/* ---------------------------------------------------------------------------------------------- both may die */

static bool starts(struct rig *r)
{
    unsigned refusal = log_count(r, "means other limits", NULL, NULL);
    rig_weird_spawn(r);
    for (unsigned i = 0; i < 1000; i++) {
        struct weir_open_opts opts = {.struct_bytes = sizeof opts, .role = WEIR_ROLE_MONITOR};
        struct weir_diag diag;
        int rc = -1;
        struct weir *w = log_count(r, "means other limits", NULL, NULL) > refusal
                             ? NULL
                             : rig_attach_opts(r, &opts, &diag, &rc);
        if (w != NULL) {
            weir_close(w);
            return true;
        }
        if (log_count(r, "means other limits", NULL, NULL) > refusal) {
            (void)rig_wait(r->weird, 5000);
            return false;
        }
        rig_sleep_ms(10);
    }
    return false;
}

/* The supervisor dies at a random moment of a reload. By the larger of both quotas nothing is exceeded, and a broker comes back by one of both files. */
static void supervisor_dies(struct rig *r, unsigned rounds)
{
    sim_quotas(r, &high);
    for (unsigned n = 0; n < rounds; n++) {
        const struct quotas *to = n % 2 == 0 ? &low : &high;
        const struct quotas *was = n % 2 == 0 ? &high : &low;
        r->shared->stop = 0;
        pid_t child[] = {rig_fork(r, by_permit, 0), rig_fork(r, by_permit, 1),
                         rig_fork(r, by_permit, 2)};
        rig_sleep_ms(500);
        configure(r, to);
        (void)kill(r->weird, SIGHUP);
        rig_sleep_ms(rig_random(r, 50));
        (void)kill(r->weird, SIGKILL);
        (void)rig_wait(r->weird, 5000);
        rig_sleep_ms(300);
        bool up = starts(r);
        if (!up) { /* its worker goes on by the tables before: so must who takes over from it */
            configure(r, was);
            up = starts(r);
            CHECK(r, up, "taken over from the orphan");
            reload_to(r, to, false, false);
            sim_quotas(r, &high);
        }
        CHECK(r, up, "a broker is back");
        rig_sleep_ms(500);
        weir_store_release_u32(&r->shared->stop, 1);
        for (size_t i = 0; i < WEIR_ARRAY_CNT(child); i++) {
            CHECK_INT(r, rig_wait(child[i], 15000), 0);
        }
    }
    PROMISE_INT(r, rig_report(r, "violations"), 0);
}

int main(int argc, char **argv)
{
    struct rig r;
    bool all = argc > 1 && strcmp(argv[argc - 1], "--long") == 0;
    rig_open(&r, "reload", argc, argv, all ? 600 : 110);
    rig_sim_start(&r, sim);
    configure(&r, &high);
    rig_weird_start(&r);
    under_load(&r, all ? 60 : 8);
    CHECK_INT(&r, rig_weird_stop(&r, 15000), 0);
    configure(&r, &low);
    rig_weird_start(&r);
    waiter_and_units(&r);
    shorter_rests(&r);
    CHECK_INT(&r, rig_weird_stop(&r, 15000), 0);
    configure(&r, &high);
    rig_weird_start(&r);
    refusals(&r);
    configure(&r, &high);
    unsigned taken = log_count(&r, "\"event\":\"taken_over\"", NULL, NULL);
    unsigned before = log_count(&r, DONE, NULL, NULL);
    (void)kill(r.weird, SIGHUP); /* the same again */
    CHECK(&r, log_wait(&r, DONE, before, 10000), "the same configuration");
    pid_t successor = rig_weird_another(&r, "--takeover");
    CHECK(&r, log_wait(&r, "\"event\":\"taken_over\"", taken, 10000), "after a reload");
    CHECK_INT(&r, rig_wait(r.weird, 5000), 0);
    r.weird = successor;
    supervisor_dies(&r, all ? 12 : 2);
    CHECK_INT(&r, rig_weird_stop(&r, 15000), 0);
    return rig_close(&r);
}
