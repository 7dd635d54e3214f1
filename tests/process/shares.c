/*
 * Three strategies that want more than there is: one with a share of 40 % (three traders of one name, each with its own transport), a caller with one of 25 %, and one without that asks most. Each gets its
 * part; once the trader is idle its part is lent; a class with a floor is served all the while; no violation. The simulator counts, and
 * `weir limits --by client` agrees with what the strategies saw.
 */
#include "rig.h"

#include <curl/curl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define QUOTA      300
#define WINDOW_MS  3000U
#define MEASURED   2 /* windows */
#define FLIGHT_MAX 48U
#define TRADERS \
    3 /* one permit at a time each: together more than their part, also on a busy machine */

enum { TRADER, CALLER, GREEDY, FLOORED, STRATEGIES };
/* In shared->count: per strategy, and a switch. */
enum { ANSWERED = 0, ODD = 8, IDLE = 16, LATE = 24, EXPIRED = 32 };
enum { TRADER_IDLE = 1, ALL_IDLE = 2 };

static const char *const names[STRATEGIES] = {"mm", "arb", "other", "other"};

static const char config[] =
    "broker: {name: rig}\n"
    "providers:\n"
    "  - name: sim\n"
    "    clock: {path: /api/v3/time, field: serverTime, interval: 1s, max_jitter: 100ms}\n"
    "    limits:\n"
    "      - {name: weight, kind: fixed_window, quota: 300, window: 3s, floor: {background: 5%},\n"
    "         shares: [{client: mm, part: 40%}, {client: arb, part: 25%}]}\n"
    "    endpoints:\n"
    "      - {name: a, url: \"http://127.0.0.1:$PORT\", connections: 32}\n"
    "    routes:\n"
    "      - {name: ping, method: GET, path: /api/v3/ping, cost: {weight: 1}, timeout: 3s}\n";

static size_t nothing(char *at, size_t one, size_t bytes, void *arg)
{
    (void)at;
    (void)arg;
    return one * bytes;
}

static struct weir *open_as(struct rig *r, int who)
{
    struct weir_open_opts opts = {.role = who == TRADER ? WEIR_ROLE_TRADER : WEIR_ROLE_CALLER,
                                  .patience_ns = 5 * WEIR_NS_PER_S,
                                  .client_name = names[who]};
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

static void trade(struct rig *r, struct weir *w, CURL *e, weir_route_id route)
{
    struct weir_permit p;
    long status = 0;
    if (weir_permit_wait(w, route, 0, NULL, WEIR_PRIORITY_MEDIUM,
                         weir_now_ns(w) + 200 * WEIR_NS_PER_MS, &p) != 0) {
        return;
    }
    if (weir_now_ns(w) > p.use_by_ns) {
        const struct weir_outcome late = {.kind = WEIR_OUTCOME_NOT_SENT};
        (void)weir_permit_settle(w, &p, &late);
        return;
    }
    bool ok = curl_easy_perform(e) == CURLE_OK &&
              curl_easy_getinfo(e, CURLINFO_RESPONSE_CODE, &status) == CURLE_OK;
    const struct weir_outcome o = {.kind = ok ? WEIR_OUTCOME_ANSWERED : WEIR_OUTCOME_NO_ANSWER,
                                   .status = (uint32_t)status};
    (void)weir_permit_settle(w, &p, &o);
    weir_fetch_add_u32(&r->shared->count[(status == 200 ? ANSWERED : ODD) + TRADER], 1);
}

static int trader(struct rig *r, int who)
{
    struct weir *w = open_as(r, who);
    weir_route_id route = rig_route(w, "sim.ping");
    char url[96];
    CURL *e = curl_easy_init();
    (void)snprintf(url, sizeof url, "http://127.0.0.1:%u/api/v3/ping", r->port);
    (void)curl_easy_setopt(e, CURLOPT_URL, url);
    (void)curl_easy_setopt(e, CURLOPT_PROXY, "");
    (void)curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
    (void)curl_easy_setopt(e, CURLOPT_TIMEOUT, 3L);
    (void)curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, nothing);
    while (!stopped(r)) {
        if (weir_load_acquire_u32(&r->shared->count[IDLE]) != 0) {
            rig_sleep_ms(20);
        } else {
            trade(r, w, e, route);
        }
    }
    curl_easy_cleanup(e);
    weir_close(w);
    return 0;
}

static int caller(struct rig *r, int who)
{
    struct weir *w = open_as(r, who);
    weir_ticket ticket[FLIGHT_MAX] = {0};
    uint32_t flight = who == GREEDY ? FLIGHT_MAX : who == CALLER ? 12 : 1;
    const struct weir_request_spec spec = {.struct_bytes = sizeof spec,
                                           .route = rig_route(w, "sim.ping"),
                                           .priority = who == FLOORED ? WEIR_PRIORITY_BACKGROUND
                                                                      : WEIR_PRIORITY_MEDIUM,
                                           .priority_set = 1};
    for (uint32_t i = 0; !stopped(r); i = (i + 1) % flight) {
        struct weir_response a;
        if (ticket[i] != 0 &&
            weir_wait(w, ticket[i], weir_now_ns(w) + 5 * WEIR_NS_PER_S, &a) == 0) {
            bool good = a.result == WEIR_RESULT_DONE && a.status == 200;
            /* A permit may come a moment before the deadline: then the call is late, or not made, and its units may stay charged. */
            int what = good                              ? ANSWERED
                       : a.result == WEIR_RESULT_TIMEOUT ? LATE
                       : a.result == WEIR_RESULT_EXPIRED ? EXPIRED
                                                         : ODD;
            weir_fetch_add_u32(&r->shared->count[what + who],
                               a.result == WEIR_RESULT_REFUSED ? 0 : 1);
            (void)weir_release(w, ticket[i]);
        }
        ticket[i] = 0;
        if (weir_load_acquire_u32(&r->shared->count[IDLE]) == ALL_IDLE) {
            rig_sleep_ms(1);
        } else if (weir_submit(w, &spec, &ticket[i]) != 0) {
            ticket[i] = 0;
        }
    }
    weir_close(w);
    return 0;
}

/* What each was answered within `ms`. */
static void measure(struct rig *r, unsigned ms, uint32_t got[STRATEGIES])
{
    uint32_t before[STRATEGIES];
    for (int i = 0; i < STRATEGIES; i++) {
        before[i] = weir_load_acquire_u32(&r->shared->count[ANSWERED + i]);
    }
    rig_sleep_ms(ms);
    for (int i = 0; i < STRATEGIES; i++) {
        got[i] = weir_load_acquire_u32(&r->shared->count[ANSWERED + i]) - before[i];
    }
}

/* The board, beside what the strategies counted, once nothing is in flight. */
static void board_check(struct rig *r)
{
    struct weir_open_opts opts = {.role = WEIR_ROLE_CALLER, .client_name = "look"};
    int rc;
    struct weir *w = rig_attach_opts(r, &opts, NULL, &rc);
    if (!CHECK_INT(r, rc, 0)) {
        return;
    }
    rig_sleep_ms(600); /* two folds */
    const struct weir_shm_client *client =
        rig_board(w, WEIR_SECTION_CLIENT, sizeof(struct weir_shm_client));
    const struct weir_shm_client_use *use =
        rig_board(w, WEIR_SECTION_CLIENT_USE, sizeof(struct weir_shm_client_use));
    for (int who = TRADER; who <= CALLER; who++) {
        uint64_t units = 0;
        uint64_t wrong = 0;
        for (uint32_t c = 0; c < WEIR_CLIENTS_MAX; c++) {
            if (client[c].state == WEIR_CLIENT_LIVE && strcmp(client[c].name, names[who]) == 0) {
                units += who == TRADER ? use[c].traded : use[c].brokered;
                wrong += who == TRADER ? use[c].brokered : use[c].traded;
            }
        }
        uint64_t counted = weir_load_acquire_u32(&r->shared->count[ANSWERED + who]);
        uint64_t perhaps = (uint64_t)weir_load_acquire_u32(&r->shared->count[LATE + who]) +
                           weir_load_acquire_u32(&r->shared->count[EXPIRED + who]);
        (void)printf("%s: the board says %llu units, it counted %llu and perhaps %llu\n",
                     names[who], (unsigned long long)units, (unsigned long long)counted,
                     (unsigned long long)perhaps);
        PROMISE_INT(r, wrong, 0);
        CHECK(r, units >= counted && units <= counted + perhaps, "no unit too many or too few");
    }
    weir_close(w);
}

/* What a trader has taken, by its row and by its use of the limit. */
static void trader_read(const struct weir *w, uint64_t *granted, uint64_t *units)
{
    const struct weir_shm_client *client =
        rig_board(w, WEIR_SECTION_CLIENT, sizeof(struct weir_shm_client));
    const struct weir_shm_client_use *use =
        rig_board(w, WEIR_SECTION_CLIENT_USE, sizeof(struct weir_shm_client_use));
    for (uint32_t c = 0; c < WEIR_CLIENTS_MAX; c++) {
        if (client[c].state == WEIR_CLIENT_LIVE && strcmp(client[c].name, names[TRADER]) == 0) {
            *granted += weir_load_relaxed_u64(&client[c].granted);
            *units += weir_load_relaxed_u64(&use[c].traded);
        }
    }
}

/* A worker that is started again counts nothing twice. */
static void restart_check(struct rig *r)
{
    struct weir_open_opts opts = {.role = WEIR_ROLE_CALLER, .client_name = "look"};
    uint64_t before[2] = {0};
    uint64_t after[2] = {0};
    int rc;
    weir_store_release_u32(&r->shared->count[IDLE], ALL_IDLE);
    rig_sleep_ms(4000); /* longer than a call can take */
    board_check(r);
    struct weir *w = rig_attach_opts(r, &opts, NULL, &rc);
    if (!CHECK_INT(r, rc, 0)) {
        return;
    }
    trader_read(w, &before[0], &before[1]);
    pid_t old = rig_process(r, "weird-worker");
    CHECK_INT(r, kill(old, SIGKILL), 0);
    CHECK(r, rig_process_next(r, "weird-worker", old, 8000) > 0, "another worker");
    rig_sleep_ms(1000);
    trader_read(w, &after[0], &after[1]);
    CHECK(r, before[0] > 0 && before[1] > 0, "it traded");
    CHECK_INT(r, after[0], before[0]);
    CHECK_INT(r, after[1], before[1]);
    weir_close(w);
}

static void parts_check(struct rig *r, const uint32_t got[STRATEGIES], double windows)
{
    double of = windows * QUOTA / 100;
    (void)printf("of the quota in %%: mm %.1f, arb %.1f, other %.1f, background %.1f\n",
                 got[TRADER] / of, got[CALLER] / of, got[GREEDY] / of, got[FLOORED] / of);
    (void)r;
}

int main(int argc, char **argv)
{
    struct rig r;
    uint32_t got[STRATEGIES];
    pid_t pid[STRATEGIES + TRADERS - 1];
    rig_open(&r, "shares", argc, argv, 80);
    rig_sim_start(
        &r, "{\"latency_ms\": 2, \"jitter_ms\": 8, \"count_jitter_ms\": 10, \"ban_after\": 3, "
            "\"limits\": [{\"name\": \"weight\", \"kind\": \"fixed_window\", \"quota\": "
            "300, \"window_ms\": 3000}]}");
    rig_config(&r, config, 0);
    rig_weird_start(&r);
    for (int i = 0; i < STRATEGIES + TRADERS - 1; i++) {
        bool trades = i == TRADER || i >= STRATEGIES;
        pid[i] = rig_fork(&r, trades ? trader : caller, trades ? TRADER : i);
    }
    rig_sleep_ms(2 * WINDOW_MS);
    measure(&r, MEASURED * WINDOW_MS, got);
    parts_check(&r, got, MEASURED);
    uint32_t all = got[TRADER] + got[CALLER] + got[GREEDY] + got[FLOORED];
    CHECK(&r, all * 100 >= 94 * MEASURED * QUOTA, "all of it is used");
    CHECK(&r, got[TRADER] * 100 >= 34 * MEASURED * QUOTA, "40 %% less the floor's part of it");
    CHECK(&r, got[CALLER] * 100 >= 21 * MEASURED * QUOTA, "25 %% less the floor's part of it");
    CHECK(&r, got[FLOORED] * 100 >= 3 * MEASURED * QUOTA, "the floor is 5 %%");
    weir_store_release_u32(&r.shared->count[IDLE], TRADER_IDLE);
    rig_sleep_ms(WINDOW_MS);
    measure(&r, MEASURED * WINDOW_MS, got);
    parts_check(&r, got, MEASURED);
    all = got[TRADER] + got[CALLER] + got[GREEDY] + got[FLOORED];
    CHECK(&r, all * 100 >= 95 * MEASURED * QUOTA, "an idle share is lent");
    restart_check(&r);
    weir_store_release_u32(&r.shared->stop, 1);
    for (int i = 0; i < STRATEGIES + TRADERS - 1; i++) {
        CHECK_INT(&r, rig_wait(pid[i], 8000), 0);
    }
    for (int i = 0; i < STRATEGIES; i++) {
        CHECK_INT(&r, r.shared->count[ODD + i], 0);
        CHECK(&r, r.shared->count[LATE + i] * 20 <= r.shared->count[ANSWERED + i], "few late");
    }
    PROMISE_INT(&r, rig_report(&r, "violations"), 0);
    CHECK_INT(&r, rig_weird_stop(&r, 15000), 0);
    rig_sim_stop(&r);
    return rig_close(&r);
}
