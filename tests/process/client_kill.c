/*
 * kill -9 of strategies at random under load: the others go on, the worker is the same one, indices come back, and an order of a dead strategy is
 * at the exchange once or not at all.
 */
#include "rig.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define VICTIMS 4
#define KILLS   60U
#define FLIGHT  8U

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
        if (arg % 2 == 0) {
            (void)weir_permit_try(w, own, 0, NULL, WEIR_PRIORITY_HIGH, &p);
        }
        while (weir_poll(w, &a) == 0) {
            rig_order_ended(r, number_of[(uint32_t)a.ticket & 4095U], &a);
            (void)weir_release(w, a.ticket);
        }
        rig_sleep_ms(rig_random(r, 3));
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

static unsigned live_clients(const struct weir *w)
{
    unsigned cnt = 0;
    for (uint32_t i = 0; i < WEIR_CLIENTS_MAX; i++) {
        cnt += rig_board_client(w, i)->state != WEIR_CLIENT_FREE;
    }
    return cnt;
}

static unsigned descriptors_of(pid_t pid)
{
    char path[64];
    unsigned cnt = 0;
    for (int fd = 0; fd < 1024; fd++) {
        char link[64];
        (void)snprintf(path, sizeof path, "/proc/%d/fd/%d", (int)pid, fd);
        cnt += readlink(path, link, sizeof link) > 0;
    }
    return cnt;
}

static void run(struct rig *r)
{
    pid_t victims[VICTIMS];
    struct weir *look = rig_attach(r, WEIR_ROLE_MONITOR);
    pid_t worker = rig_process(r, "weird-worker");
    rig_sleep_ms(300); /* the spare arena is there */
    for (int i = 0; i < 400 && live_clients(look) > 0; i++) {
        rig_sleep_ms(10); /* whoever saw that the broker is up */
    }
    uint64_t reaped = rig_board_worker(look)->client_reaped;
    unsigned fds = descriptors_of(worker);
    unsigned supervisor_fds = descriptors_of(r->weird);
    pid_t other = rig_fork(r, survivor, 100);
    for (int i = 0; i < VICTIMS; i++) {
        victims[i] = rig_fork(r, victim, i);
    }
    for (unsigned k = 0; k < KILLS; k++) {
        unsigned i = rig_random(r, VICTIMS);
        rig_sleep_ms(rig_random(r, 120));
        (void)kill(victims[i], SIGKILL);
        CHECK_INT(r, rig_wait(victims[i], 2000), 128 + SIGKILL);
        victims[i] = rig_fork(r, victim, (int)(VICTIMS + k));
    }
    for (int i = 0; i < VICTIMS; i++) {
        (void)kill(victims[i], SIGKILL);
        (void)rig_wait(victims[i], 2000);
    }
    weir_store_release_u32(&r->shared->stop, 1);
    CHECK_INT(r, rig_wait(other, 8000), 0);
    for (int i = 0; i < 400 && live_clients(look) > 0; i++) {
        rig_sleep_ms(10); /* what is in flight is followed to its end */
    }
    CHECK_INT(r, live_clients(look), 0);
    CHECK_INT(r, rig_process(r, "weird-worker"), worker);
    /* A strategy that was killed before it attached is none. */
    uint64_t seen = rig_board_worker(look)->client_reaped - reaped;
    (void)printf(
        "%u killed, %llu reaped, %llu slots of dead clients; the survivor: %llu done, %llu "
        "otherwise\n",
        KILLS + VICTIMS, (unsigned long long)seen,
        (unsigned long long)rig_board_worker(look)->slot_reaped,
        (unsigned long long)r->shared->count[0], (unsigned long long)r->shared->count[1]);
    CHECK(r, seen >= KILLS / 2 && seen <= KILLS + VICTIMS + 1, "reaped");
    rig_sleep_ms(300);
    CHECK(r, descriptors_of(worker) <= fds + 40, "connections at most, no client's descriptors");
    CHECK(r, descriptors_of(r->weird) <= supervisor_fds, "no descriptor is left");
    weir_close(look);
}

int main(int argc, char **argv)
{
    struct rig r;
    rig_open(&r, "client_kill", argc, argv, 80);
    rig_sim_start(&r, "{\"latency_ms\": 3, \"jitter_ms\": 10, \"ban_after\": 3, \"limits\": ["
                      "{\"name\": \"weight\", \"kind\": \"fixed_window\", \"quota\": 4000, "
                      "\"window_ms\": 2000}, {\"name\": \"orders\", \"kind\": \"fixed_window\", "
                      "\"quota\": 1000, \"window_ms\": 2000, \"scope\": \"key\", \"counts\": "
                      "\"orders\"}]}");
    rig_config_limits(&r, "wake: adaptive, domains: [{clients: 8}]", 4000, "2s");
    rig_weird_start(&r);
    run(&r);
    rig_orders_check(&r, true);
    CHECK_INT(&r, rig_report(&r, "violations"), 0);
    CHECK(&r, r.shared->count[0] > 100, "the survivor worked");
    CHECK_INT(&r, rig_weird_stop(&r, 15000), 0);
    return rig_close(&r);
}
