/*
 * The audit under kill -9: strategies by permit and by call, two of which are killed again and again, then the worker. What the records say of those who live is what
 * they counted themselves, each grant once, and what the account of `weir limits --by client` says; of all together, no less than the simulator
 * saw arrive. A strategy that takes faster than anybody could write down: what is missing is counted.
 */
#include "rig.h"

#include "shm/weir_audit.h"

#include <curl/curl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RECORDS 200000U
#define VICTIMS 2
#define KILLS   24U
#define FLIGHT  6U

enum { STEADY, CALLER, VICTIM, GREEDY };
/* The route that takes nothing of limit 0. */
enum { FAST = 1 };
/* In shared->count */
enum { GRANTED = 0, GIVEN = 1, CALLED = 2, DONE = 3, TAKEN = 4, REFUSED = 5, IDLE = 16 };

static const char *const names[] = {"steady", "caller", "victim", "greedy"};

static const char config[] =
    "broker: {name: rig, audit: 200000}\n"
    "providers:\n"
    "  - name: sim\n"
    "    clock: {path: /api/v3/time, field: serverTime, interval: 1s, max_jitter: 100ms}\n"
    "    limits:\n"
    "      - {name: weight, kind: fixed_window, quota: 400, window: 2s}\n"
    "      - {name: fast, kind: token_bucket, quota: 1000000, window: 1s}\n"
    "    endpoints:\n"
    "      - {name: a, url: \"http://127.0.0.1:$PORT\", connections: 32}\n"
    "    routes:\n"
    "      - {name: ping, method: GET, path: /api/v3/ping, cost: {weight: 1}, timeout: 3s}\n"
    "      - {name: fast, transport: own, cost: {fast: 1}}\n";

static size_t nothing(char *at, size_t one, size_t bytes, void *arg)
{
    (void)at;
    (void)arg;
    return one * bytes;
}

static struct weir *open_as(struct rig *r, int who, enum weir_role role)
{
    struct weir_open_opts opts = {
        .role = role, .patience_ns = 8 * WEIR_NS_PER_S, .client_name = names[who]};
    int rc;
    struct weir *w = rig_attach_opts(r, &opts, NULL, &rc);
    if (w == NULL) {
        (void)printf("FAILED: cannot attach: %d\n", rc);
        rig_exit(1);
    }
    return w;
}

static bool stopped(struct rig *r)
{
    return weir_load_acquire_u32(&r->shared->stop) != 0;
}

static bool idle(struct rig *r)
{
    bool is = weir_load_acquire_u32(&r->shared->count[IDLE]) != 0;
    if (is) {
        rig_sleep_ms(5);
    }
    return is;
}

static CURL *transport(struct rig *r)
{
    char url[96];
    CURL *e = curl_easy_init();
    (void)snprintf(url, sizeof url, "http://127.0.0.1:%u/api/v3/ping", r->port);
    (void)curl_easy_setopt(e, CURLOPT_URL, url);
    (void)curl_easy_setopt(e, CURLOPT_PROXY, "");
    (void)curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
    (void)curl_easy_setopt(e, CURLOPT_TIMEOUT, 3L);
    (void)curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, nothing);
    return e;
}

/* One permit: some are given back unsent. */
static void trade(struct rig *r, struct weir *w, CURL *e, weir_route_id route, bool count)
{
    struct weir_permit p;
    if (weir_permit_wait(w, route, 0, NULL, WEIR_PRIORITY_MEDIUM,
                         weir_now_ns(w) + 100 * WEIR_NS_PER_MS, &p) != 0) {
        return;
    }
    bool late = weir_now_ns(w) > p.use_by_ns || rig_random(r, 4) == 0;
    long status = 0;
    bool ok = !late && curl_easy_perform(e) == CURLE_OK &&
              curl_easy_getinfo(e, CURLINFO_RESPONSE_CODE, &status) == CURLE_OK;
    const struct weir_outcome o = {.kind = late ? WEIR_OUTCOME_NOT_SENT
                                           : ok ? WEIR_OUTCOME_ANSWERED
                                                : WEIR_OUTCOME_NO_ANSWER,
                                   .status = (uint32_t)status};
    (void)weir_permit_settle(w, &p, &o);
    if (count) {
        weir_fetch_add_u32(&r->shared->count[GRANTED], 1);
        weir_fetch_add_u32(&r->shared->count[GIVEN], late ? 1 : 0);
    }
}

/* Two handles by turns, each with a ring of its own. */
static int trader(struct rig *r, int who)
{
    struct weir *w[2] = {open_as(r, who, WEIR_ROLE_TRADER), NULL};
    weir_route_id route = rig_route(w[0], "sim.ping");
    CURL *e = transport(r);
    if (weir_dup(w[0], &w[1]) != 0) {
        return 1;
    }
    for (unsigned i = 0; !stopped(r); i++) {
        if (!idle(r)) {
            trade(r, w[i % 2], e, route, who == STEADY);
        }
    }
    curl_easy_cleanup(e);
    weir_close(w[1]);
    weir_close(w[0]);
    return 0;
}

static int caller(struct rig *r, int who)
{
    struct weir *w = open_as(r, who, WEIR_ROLE_CALLER);
    weir_ticket ticket[FLIGHT] = {0};
    const struct weir_request_spec spec = {.struct_bytes = sizeof spec,
                                           .route = rig_route(w, "sim.ping")};
    for (uint32_t i = 0; !stopped(r); i = (i + 1) % FLIGHT) {
        struct weir_response a;
        if (ticket[i] != 0 &&
            weir_wait(w, ticket[i], weir_now_ns(w) + 5 * WEIR_NS_PER_S, &a) == 0) {
            if (who == CALLER) {
                weir_fetch_add_u32(&r->shared->count[CALLED], 1);
                weir_fetch_add_u32(&r->shared->count[DONE], a.result == WEIR_RESULT_DONE);
            }
            (void)weir_release(w, ticket[i]);
        }
        ticket[i] = 0;
        if (!idle(r) && weir_submit(w, &spec, &ticket[i]) != 0) {
            ticket[i] = 0;
        }
    }
    weir_close(w);
    return 0;
}

static int victim(struct rig *r, int arg)
{
    return arg % 2 == 0 ? trader(r, VICTIM) : caller(r, VICTIM);
}

/* Far more than its rings hold between two looks of the worker. */
static int greedy(struct rig *r, int who)
{
    struct weir *w = open_as(r, who, WEIR_ROLE_TRADER);
    weir_route_id route = rig_route(w, "sim.fast");
    uint64_t until_ns = weir_now_ns(w) + 300 * WEIR_NS_PER_MS;
    struct weir_permit p;
    while (weir_now_ns(w) < until_ns) {
        int rc = weir_permit_try(w, route, 0, NULL, WEIR_PRIORITY_HIGH, &p);
        bool full = rc == WEIR_DENIED && p.denial.reason == WEIR_REASON_LIMIT_FULL;
        weir_fetch_add_u32(&r->shared->count[TAKEN], rc == 0);
        weir_fetch_add_u32(&r->shared->count[REFUSED], full);
    }
    weir_close(w);
    return 0;
}

/* ---------------------------------------------------------------------------------------------- what the records say */

struct sums {
    uint64_t granted, given, settled, ended, done, refused, missing, damaged, wrong, twice;
    int64_t units; /* of limit 0 */
};

/* Of the clients of this name, NULL: of all. */
static struct sums sums_of(struct rig *r, struct weir *w, const char *name)
{
    struct sums s = {0};
    const struct weir_shm_audit *head = rig_board(w, WEIR_SECTION_AUDIT, sizeof *head);
    const struct weir_shm_audit_record *record =
        rig_board(w, WEIR_SECTION_AUDIT_RECORD, sizeof *record);
    uint64_t written = weir_load_acquire_u64(&head->written);
    uint64_t last_ns[2] = {0};
    CHECK(r, written <= RECORDS, "%llu records: the test counts all", (unsigned long long)written);
    for (uint64_t k = 0; k < written; k++) {
        const struct weir_shm_audit_record *a = &record[k];
        if (name != NULL && strcmp(a->name, name) != 0) {
            continue;
        }
        s.wrong += a->number != k + 1;
        s.granted += a->kind == WEIR_AUDIT_GRANTED;
        s.given += a->kind == WEIR_AUDIT_GIVEN_BACK;
        s.settled += a->kind == WEIR_AUDIT_SETTLED;
        s.ended += a->kind == WEIR_AUDIT_ENDED;
        s.done += a->kind == WEIR_AUDIT_ENDED && (a->detail & 0xffffU) == WEIR_RESULT_DONE;
        s.refused += a->kind == WEIR_AUDIT_REFUSED ? a->count : 0;
        s.missing += a->kind == WEIR_AUDIT_DROPPED ? a->count : 0;
        s.damaged += a->kind == WEIR_AUDIT_DAMAGED ? a->count : 0;
        s.units += a->kind <= WEIR_AUDIT_SETTLED && a->route != FAST ? a->units[0] : 0;
        /* one thread takes one permit after the other */
        if (a->kind == WEIR_AUDIT_GRANTED && a->reporter == WEIR_AUDIT_BY_TRADER && a->thread < 2 &&
            name != NULL) {
            s.twice += a->at_ns <= last_ns[a->thread];
            last_ns[a->thread] = a->at_ns;
        }
    }
    (void)printf("%-7s granted %llu, given back %llu, ended %llu, units %lld, missing %llu\n",
                 name != NULL ? name : "all", (unsigned long long)s.granted,
                 (unsigned long long)s.given, (unsigned long long)s.ended, (long long)s.units,
                 (unsigned long long)s.missing);
    return s;
}

/* What `weir limits --by client` says of one: its own permits and calls for it, of limit 0. */
static void account_of(struct weir *w, const char *name, uint64_t *traded, uint64_t *brokered)
{
    const struct weir_shm_client *client = rig_board(w, WEIR_SECTION_CLIENT, sizeof *client);
    const struct weir_shm_client_use *use = rig_board(w, WEIR_SECTION_CLIENT_USE, sizeof *use);
    for (uint32_t c = 0; c < WEIR_CLIENTS_MAX; c++) {
        if (client[c].state == WEIR_CLIENT_LIVE && strcmp(client[c].name, name) == 0) {
            *traded = weir_load_relaxed_u64(&use[2 * c].traded);
            *brokered = weir_load_relaxed_u64(&use[2 * c].brokered);
        }
    }
}

static uint32_t counted(const struct rig *r, int what)
{
    return weir_load_acquire_u32(&r->shared->count[what]);
}

/* Let all come to rest: calls end, two folds. */
static void rest(struct rig *r)
{
    weir_store_release_u32(&r->shared->count[IDLE], 1);
    rig_sleep_ms(2500);
}

static void steady_check(struct rig *r, struct weir *w)
{
    struct sums s = sums_of(r, w, names[STEADY]);
    CHECK_INT(r, s.granted, counted(r, GRANTED));
    CHECK_INT(r, s.given, counted(r, GIVEN));
    CHECK_INT(r, s.units, counted(r, GRANTED) - counted(r, GIVEN));
    CHECK_INT(r, s.wrong + s.missing + s.damaged, 0);
    PROMISE_INT(r, s.twice, 0);
}

static void accounts_check(struct rig *r, struct weir *w)
{
    uint64_t traded = 0;
    uint64_t brokered = 0;
    struct sums s = sums_of(r, w, names[STEADY]);
    account_of(w, names[STEADY], &traded, &brokered);
    CHECK(r, traded > 0, "it traded");
    CHECK_INT(r, s.units, traded);
    CHECK_INT(r, brokered, 0);
    s = sums_of(r, w, names[CALLER]);
    account_of(w, names[CALLER], &traded, &brokered);
    CHECK(r, brokered > 0, "it called");
    CHECK_INT(r, s.units, brokered);
    CHECK_INT(r, s.ended, counted(r, CALLED));
    CHECK_INT(r, s.done, counted(r, DONE));
    CHECK_INT(r, s.wrong + s.missing + s.damaged, 0);
}

/* The exchange's side of it: a call arrives with a permit that is written down. Each kill may leave permits of which nothing arrived. */
static void arrivals_check(struct rig *r, struct weir *w)
{
    struct sums s = sums_of(r, w, NULL);
    double arrivals = rig_report(r, "arrivals");
    (void)printf("the simulator saw %.0f arrive\n", arrivals);
    CHECK_INT(r, s.wrong + s.missing + s.damaged, 0);
    CHECK(r, s.units >= (int64_t)arrivals, "%lld units, %.0f arrived", (long long)s.units,
          arrivals);
    CHECK(r, s.units <= (int64_t)arrivals + KILLS * (FLIGHT + 1), "%lld units, %.0f arrived",
          (long long)s.units, arrivals);
}

static void victims_kill(struct rig *r)
{
    pid_t pid[VICTIMS];
    for (int i = 0; i < VICTIMS; i++) {
        pid[i] = rig_fork(r, victim, i);
    }
    for (unsigned k = 0; k < KILLS; k++) {
        rig_sleep_ms(60 + rig_random(r, 120));
        int i = (int)(k % VICTIMS);
        (void)kill(pid[i], SIGKILL);
        CHECK_INT(r, rig_wait(pid[i], 5000), 128 + SIGKILL);
        pid[i] = k + VICTIMS < KILLS ? rig_fork(r, victim, i) : 0;
    }
}

static void workers_kill(struct rig *r)
{
    weir_store_release_u32(&r->shared->count[IDLE], 0);
    for (int i = 0; i < 3; i++) {
        rig_sleep_ms(400 + rig_random(r, 400));
        pid_t old = rig_process(r, "weird-worker");
        CHECK_INT(r, kill(old, SIGKILL), 0);
        CHECK(r, rig_process_next(r, "weird-worker", old, 8000) > 0, "another worker");
    }
    rig_sleep_ms(500);
    rest(r);
}

static void greedy_check(struct rig *r, struct weir *w)
{
    CHECK_INT(r, rig_wait(rig_fork(r, greedy, GREEDY), 10000), 0);
    rig_sleep_ms(600); /* its index comes back */
    struct sums s = sums_of(r, w, names[GREEDY]);
    CHECK(r, s.missing > 0, "nobody writes down so many");
    CHECK_INT(r, s.granted + s.missing, counted(r, TAKEN));
    CHECK_INT(r, s.refused, counted(r, REFUSED));
    CHECK_INT(r, s.damaged, 0);
}

int main(int argc, char **argv)
{
    struct rig r;
    rig_open(&r, "audit", argc, argv, 80);
    rig_sim_start(
        &r, "{\"latency_ms\": 2, \"jitter_ms\": 6, \"count_jitter_ms\": 10, \"ban_after\": 3, "
            "\"limits\": [{\"name\": \"weight\", \"kind\": \"fixed_window\", \"quota\": "
            "400, \"window_ms\": 2000}]}");
    rig_config(&r, config, 0);
    rig_weird_start(&r);
    pid_t steady = rig_fork(&r, trader, STEADY);
    pid_t calls = rig_fork(&r, caller, CALLER);
    victims_kill(&r);
    rest(&r);
    struct weir_open_opts opts = {.role = WEIR_ROLE_CALLER, .client_name = "look"};
    int rc;
    struct weir *w = rig_attach_opts(&r, &opts, NULL, &rc);
    if (CHECK_INT(&r, rc, 0)) {
        steady_check(&r, w);
        accounts_check(&r, w);
        arrivals_check(&r, w);
        workers_kill(&r);
        steady_check(&r, w);
        greedy_check(&r, w);
        weir_close(w);
    }
    weir_store_release_u32(&r.shared->stop, 1);
    CHECK_INT(&r, rig_wait(steady, 8000), 0);
    CHECK_INT(&r, rig_wait(calls, 8000), 0);
    PROMISE_INT(&r, rig_report(&r, "violations"), 0);
    CHECK_INT(&r, rig_weird_stop(&r, 15000), 0);
    rig_sim_stop(&r);
    return rig_close(&r);
}
