/*
 * kill -9 of strategies at random under load: the others go on, the worker is the same one, indices come back, and an order of a dead strategy is
 * at the exchange once or not at all.
 *
 *   client_kill WEIR-SIM WEIRD [SEED] [--long | --kills=N]     --long: 10 000 kills, about three minutes
 *
 * The oracle is weir-sim: what came, how often, and whether a limit was passed. Of weir itself: after the last death nobody has an index, a slot, a unit in flight, an
 * arena or a descriptor, in the worker or in the supervisor; each call that was taken has ended by name; and orders that weir calls done are those at the exchange.
 */
#include "holdings.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define VICTIMS_MAX 12U
#define KILLS       60U
#define LONG_KILLS  10000U
#define FLIGHT      8U
#define UNITS       40U /* of the concurrency limit */

static const char yaml[] =
    "broker: {name: rig, wake: adaptive, domains: [{clients: 40}]}\n"
    "providers:\n"
    "  - name: sim\n"
    "    clock: {path: /api/v3/time, field: serverTime, interval: 1s, max_jitter: 100ms}\n"
    "    limits:\n"
    "      - {name: weight, kind: fixed_window, quota: 4000, window: 2s, scope: ip, headroom: "
    "{critical: 5%}}\n"
    "      - {name: orders, kind: fixed_window, quota: 1000, window: 2s, scope: account}\n"
    "      - {name: open, kind: concurrency, quota: 40, scope: ip}\n"
    "    endpoints:\n"
    "      - {name: a, url: \"http://127.0.0.1:$PORT\", connections: 16}\n"
    "    routes:\n"
    "      - {name: order, method: POST, path: /api/v3/order, cost: {weight: 1, orders: 1, open: "
    "1}, timeout: 3s, priority: critical}\n"
    "      - {name: own, transport: own, cost: {weight: 1, open: 1}}\n";
enum { ORDER, OWN, WEIGHT = 0, ORDERS = 1, OPEN = 2 };

static unsigned kills = KILLS;
static unsigned victims = 4;

/* Orders, reads and permits as fast as they go, with a queue: half of the time something is under way everywhere. */
static int victim(struct rig *r, int arg)
{
    struct weir *w = rig_attach(r, arg % 2 == 0 ? WEIR_ROLE_TRADER : WEIR_ROLE_CALLER);
    weir_route_id order = rig_route(w, "sim.order");
    weir_route_id own = rig_route(w, "sim.own");
    uint32_t number_of[4096] = {0};
    while (weir_load_acquire_u32(&r->shared->stop) == 0) { /* it is killed before */
        weir_ticket t;
        uint32_t n;
        struct weir_permit p;
        struct weir_response a;
        if (rig_order_submit(r, w, order, weir_now_ns(w) + WEIR_NS_PER_S, &t, &n) == 0) {
            number_of[(uint32_t)t & 4095U] = n;
        }
        if (arg % 2 == 0 && weir_permit_try(w, own, 0, NULL, WEIR_PRIORITY_HIGH, &p) == 0 &&
            rig_random(r, 4) != 0) { /* now and then it keeps its unit until it dies */
            const struct weir_outcome answered = {.kind = WEIR_OUTCOME_ANSWERED, .status = 200};
            (void)weir_permit_settle(w, &p, &answered);
        }
        while (weir_poll(w, &a) == 0) {
            rig_order_ended(r, number_of[(uint32_t)a.ticket & 4095U], &a);
            (void)weir_release(w, a.ticket);
        }
        rig_sleep_ms(rig_random(r, kills > KILLS ? 12 : 3));
    }
    return 0;
}

/* The one that lives: every order of it ends. */
static int survivor(struct rig *r, int arg)
{
    (void)arg;
    struct weir *w = rig_attach(r, WEIR_ROLE_CALLER);
    weir_route_id order = rig_route(w, "sim.order");
    int bad = 0;
    while (weir_load_acquire_u32(&r->shared->stop) == 0) {
        weir_ticket t[FLIGHT];
        uint32_t n[FLIGHT];
        unsigned cnt = 0;
        while (cnt < FLIGHT && rig_order_submit(r, w, order, weir_now_ns(w) + 3 * WEIR_NS_PER_S,
                                                &t[cnt], &n[cnt]) == 0) {
            cnt++;
        }
        for (unsigned i = 0; i < cnt; i++) {
            struct weir_response a;
            if (weir_wait(w, t[i], weir_now_ns(w) + 5 * WEIR_NS_PER_S, &a) != 0) {
                bad = 1;
                continue;
            }
            rig_order_ended(r, n[i], &a);
            weir_fetch_add_u32(&r->shared->count[a.result == WEIR_RESULT_DONE ? 0 : 1], 1);
            (void)weir_release(w, t[i]);
        }
    }
    weir_close(w);
    return bad;
}

static void live_await(const struct weir *look)
{
    for (int i = 0; i < 400 && holdings_clients(look) > 0; i++) {
        rig_sleep_ms(10);
    }
}

/* The killing itself. Returns when the last one is dead and the survivor has left. */
static void strike(struct rig *r)
{
    pid_t pid[VICTIMS_MAX];
    pid_t other = rig_fork(r, survivor, 100);
    for (unsigned i = 0; i < victims; i++) {
        pid[i] = rig_fork(r, victim, (int)i);
    }
    for (unsigned k = 0; k < kills; k++) {
        unsigned i = rig_random(r, victims);
        rig_sleep_ms(rig_random(r, kills > KILLS ? 20 : 120));
        (void)kill(pid[i], SIGKILL);
        CHECK_INT(r, rig_wait(pid[i], 2000), 128 + SIGKILL);
        pid[i] = rig_fork(r, victim, (int)(victims + k));
        if (k % 1000 == 999) {
            (void)printf("%u killed\n", k + 1);
        }
    }
    for (unsigned i = 0; i < victims; i++) {
        (void)kill(pid[i], SIGKILL);
        (void)rig_wait(pid[i], 2000);
    }
    weir_store_release_u32(&r->shared->stop, 1);
    CHECK_INT(r, rig_wait(other, 8000), 0);
}

/* What the board says once all are dead: every call that was taken has a name for its end, and those that may have left are at the exchange. */
static void ends_check(struct rig *r, const struct weir *look)
{
    const struct weir_shm_route_stats *route =
        rig_board(look, WEIR_SECTION_ROUTE, sizeof(struct weir_shm_route_stats));
    const struct weir_shm_limit_stats *limit =
        rig_board(look, WEIR_SECTION_LIMIT, sizeof(struct weir_shm_limit_stats));
    const struct weir_shm_endpoint *endpoint =
        rig_board(look, WEIR_SECTION_ENDPOINT, sizeof(struct weir_shm_endpoint));
    uint64_t ended = 0;
    for (unsigned i = 0; i < WEIR_ARRAY_CNT(route[ORDER].results); i++) {
        ended += route[ORDER].results[i];
    }
    uint64_t done = route[ORDER].results[WEIR_RESULT_DONE];
    uint64_t unknown = route[ORDER].results[WEIR_RESULT_OUTCOME_UNKNOWN];
    uint64_t came = (uint64_t)rig_report(r, "orders.accepted");
    (void)printf(
        "orders taken %llu, ended %llu: done %llu, unknown %llu; at the exchange %llu; units "
        "of dead clients: %llu\n",
        (unsigned long long)route[ORDER].calls, (unsigned long long)ended, (unsigned long long)done,
        (unsigned long long)unknown, (unsigned long long)came,
        (unsigned long long)limit[OPEN].units_reaped);
    CHECK_INT(r, ended, route[ORDER].calls);
    PROMISE(r, came >= done && came <= done + unknown, "an order without an outcome");
    CHECK(r, limit[OPEN].units_reaped > 0, "some died with units");
    PROMISE_INT(r, limit[WEIGHT].damaged + limit[ORDERS].damaged + limit[OPEN].damaged, 0);
    CHECK_INT(r, endpoint[0].in_flight, 0);
}

/* All units are free again once they have rested; and as many clients as ever may come. */
static void all_back(struct rig *r)
{
    struct weir *w = rig_attach(r, WEIR_ROLE_TRADER);
    struct weir_limit_info info = {.used_units = UNITS};
    for (int i = 0; i < 300 && info.used_units > 0; i++) {
        (void)weir_limit_get(w, OPEN, WEIR_SCOPE_DEFAULT, &info);
        rig_sleep_ms(info.used_units > 0 ? 10 : 0);
    }
    PROMISE_INT(r, info.used_units, 0);
    CHECK_INT(r, info.quota_units, UNITS);
    struct weir *more[39];
    for (unsigned i = 0; i < WEIR_ARRAY_CNT(more); i++) {
        more[i] = rig_attach(r, WEIR_ROLE_CALLER);
    }
    for (unsigned i = 0; i < WEIR_ARRAY_CNT(more); i++) {
        weir_close(more[i]);
    }
    weir_close(w);
}

static void run(struct rig *r)
{
    struct weir *look = rig_attach(r, WEIR_ROLE_MONITOR);
    pid_t worker = rig_process(r, "weird-worker");
    rig_sleep_ms(300); /* the spare arena is there */
    live_await(look);  /* whoever saw that the broker is up */
    const struct weir_shm_worker *board = rig_board_worker(look);
    uint64_t reaped = board->client_reaped;
    struct holdings by_worker = holdings_of(worker);
    struct holdings by_supervisor = holdings_of(r->weird);
    strike(r);
    live_await(look); /* what is in flight is followed to its end */
    CHECK_INT(r, holdings_clients(look), 0);
    CHECK_INT(r, rig_process(r, "weird-worker"), worker);
    /* A strategy that was killed before it attached is none. */
    uint64_t seen = board->client_reaped - reaped;
    (void)printf("%u killed, %llu reaped, %llu slots of dead clients; the survivor: %u done, %u "
                 "otherwise\n",
                 kills + victims, (unsigned long long)seen, (unsigned long long)board->slot_reaped,
                 r->shared->count[0], r->shared->count[1]);
    CHECK(r, seen >= kills / 2 && seen <= kills + victims + 1, "reaped");
    rig_sleep_ms(300);
    ends_check(r, look);
    holdings_check(r, "worker", &by_worker, worker, 40); /* connections at most */
    holdings_check(r, "supervisor", &by_supervisor, r->weird, 0);
    all_back(r);
    weir_close(look);
}

int main(int argc, char **argv)
{
    struct rig r;
    const char *last = argv[argc - 1];
    bool more = argc > 3 && strncmp(last, "--", 2) == 0;
    if (more) {
        kills =
            strncmp(last, "--kills=", 8) == 0 ? (unsigned)strtoul(last + 8, NULL, 10) : LONG_KILLS;
        victims = VICTIMS_MAX;
    }
    rig_open(&r, "client_kill", argc - (more ? 1 : 0), argv, 80 + kills / 20);
    rig_sim_start(&r, "{\"latency_ms\": 3, \"jitter_ms\": 10, \"ban_after\": 3, \"limits\": ["
                      "{\"name\": \"weight\", \"kind\": \"fixed_window\", \"quota\": 4000, "
                      "\"window_ms\": 2000}, {\"name\": \"orders\", \"kind\": \"fixed_window\", "
                      "\"quota\": 1000, \"window_ms\": 2000, \"scope\": \"key\", \"counts\": "
                      "\"orders\"}]}");
    rig_config(&r, yaml, 0);
    rig_weird_start(&r);
    run(&r);
    rig_orders_check(&r, true);
    PROMISE_INT(&r, rig_report(&r, "violations"), 0);
    CHECK(&r, r.shared->count[0] > 100, "the survivor worked");
    CHECK_INT(&r, rig_weird_stop(&r, 15000), 0);
    return rig_close(&r);
}
