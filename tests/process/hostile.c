/*
 * A client that writes random bytes over everything it can: its arena (header, slots, requests, wake words), its ring, and as a trader the limit
 * words. The worker is the same one afterwards, another client's calls end right, and the exchange sees no call too many.
 */
#include "rig.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

#define RUN_MS 3000U

static void scribble(struct rig *r, void *base, size_t bytes, unsigned writes)
{
    uint64_t *words = base;
    for (unsigned i = 0; i < writes; i++) {
        size_t at = ((size_t)rig_random(r, 1U << 23) * 8191U) % (bytes / 8);
        uint64_t low = rig_random(r, 1U << 24);
        uint64_t value =
            rig_random(r, 3) == 0 ? low : low << 40 | (uint64_t)rig_random(r, 1U << 24) << 16 | low;
        ((volatile uint64_t *)words)[at] = value;
    }
}

/* Everything at random, and now and then slot words that look right. */
static int scribbler(struct rig *r, int arg)
{
    struct weir *w = rig_attach(r, arg == 1 ? WEIR_ROLE_TRADER : WEIR_ROLE_CALLER);
    struct weir_attachment *at = w->at;
    /* Nobody can attach to a ring whose header is damaged: both are there before they begin. */
    weir_fetch_add_u32(&r->shared->count[4], 1);
    while (weir_load_acquire_u32(&r->shared->count[4]) < 2) {
        rig_sleep_ms(1);
    }
    weir_route_id ping = rig_route(w, "sim.ping");
    const struct weir_request_spec spec = {.struct_bytes = sizeof spec, .route = ping};
    uint64_t end_ns = rig_now_ns() + RUN_MS * WEIR_NS_PER_MS;
    while (rig_now_ns() < end_ns) {
        weir_ticket t;
        (void)weir_submit(w, &spec, &t);
        scribble(r, at->arena.base, at->arena.bytes, 200);
        scribble(r, at->arena.base, 16384, 50);
        if (rig_random(r, 4) == 0) {
            scribble(r, at->ring.base, at->ring.bytes, 20);
        }
        for (uint32_t i = 0; i < at->mem.slot_cnt; i++) {
            struct weir_shm_slot *s = &at->mem.slot[i];
            s->request.route = rig_random(r, 12);
            s->request.priority = (uint8_t)rig_random(r, 6);
            s->state =
                weir_slot_word(rig_random(r, 1U << 20), (enum weir_slot_state)rig_random(r, 8), 0);
            (void)weir_ring_put(&at->level[rig_random(r, 5)],
                                weir_handle_make(at->client, i, rig_random(r, 4096)));
        }
        if (arg == 1) {
            for (uint32_t i = 0; i < w->view.bounds.word_cnt; i++) {
                at->word[i].word[rig_random(r, 2)] =
                    rig_random(r, 2) == 0 ? 0 : (uint64_t)rig_random(r, 1U << 24) << 40;
            }
            at->pause[0].changed++;
        }
        weir_doorbell(w, true);
        rig_sleep_ms(1);
    }
    return 0; /* without a close: it dies as it lived */
}

/* An honest client in another domain: its ring is its own. */
static int honest(struct rig *r, int arg)
{
    (void)arg;
    struct weir_open_opts opts = {.role = WEIR_ROLE_CALLER, .domain = "good"};
    int rc;
    struct weir *w = rig_attach_opts(r, &opts, NULL, &rc);
    weir_route_id order = w != NULL ? rig_route(w, "sim.order") : 0;
    int bad = w == NULL;
    while (w != NULL && weir_load_acquire_u32(&r->shared->stop) == 0) {
        weir_ticket t;
        uint32_t n;
        struct weir_response a;
        if (rig_order_submit(r, w, order, weir_now_ns(w) + 2500 * WEIR_NS_PER_MS, &t, &n) != 0 ||
            weir_wait(w, t, weir_now_ns(w) + 5 * WEIR_NS_PER_S, &a) != 0) {
            bad = 1;
            break;
        }
        rig_order_ended(r, n, &a);
        weir_fetch_add_u32(
            &r->shared->count[a.result == WEIR_RESULT_DONE && a.status == 200 ? 0 : 1], 1);
        (void)weir_release(w, t);
        rig_sleep_ms(5);
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

/* It damages its arena's header before a new worker looks: that one must serve the others, and reap it when it goes. */
static int header_wrecker(struct rig *r, int arg)
{
    (void)arg;
    /* Not in the scribblers' domain: damage to a ring stays inside its domain, and there it stays. */
    struct weir_open_opts opts = {.role = WEIR_ROLE_CALLER, .domain = "good"};
    int rc;
    struct weir *w = rig_attach_opts(r, &opts, NULL, &rc);
    if (w == NULL) {
        return 1;
    }
    memset(w->at->arena.base, 0xff, 4096);
    weir_store_release_u32(&r->shared->count[2], 1);
    while (weir_load_acquire_u32(&r->shared->count[3]) == 0) {
        rig_sleep_ms(5);
    }
    return 0;
}

static void wrecked_header(struct rig *r, const struct weir *look)
{
    pid_t pid = rig_fork(r, header_wrecker, 0);
    for (int i = 0; i < 500 && weir_load_acquire_u32(&r->shared->count[2]) == 0; i++) {
        rig_sleep_ms(5);
    }
    pid_t worker = rig_process(r, "weird-worker");
    (void)kill(worker, SIGKILL);
    CHECK(r, rig_process_next(r, "weird-worker", worker, 3000) > 0, "a worker again");
    rig_sleep_ms(50);
    CHECK_INT(r, live_clients(look), 1);
    weir_store_release_u32(&r->shared->count[3], 1);
    CHECK_INT(r, rig_wait(pid, 3000), 0);
    for (int i = 0; i < 200 && live_clients(look) > 0; i++) {
        rig_sleep_ms(10);
    }
    CHECK_INT(r, live_clients(look), 0);
    CHECK(r, !rig_log_has(r, "client_not_mapped"), "served all the same");
}

int main(int argc, char **argv)
{
    struct rig r;
    pid_t pid[3];
    rig_open(&r, "hostile", argc, argv, 80);
    rig_sim_start(&r, "{\"latency_ms\": 1, \"ban_after\": 3, \"limits\": [{\"name\": \"weight\", "
                      "\"kind\": \"fixed_window\", \"quota\": 300, \"window_ms\": 1000}]}");
    rig_config_limits(&r, "log: warn, domains: [{name: default}, {name: good}]", 300, "1s");
    rig_weird_start(&r);
    struct weir *look = rig_attach(&r, WEIR_ROLE_MONITOR);
    pid_t worker = rig_process(&r, "weird-worker");
    pid[0] = rig_fork(&r, honest, 0);
    pid[1] = rig_fork(&r, scribbler, 1); /* a trader */
    pid[2] = rig_fork(&r, scribbler, 2); /* a caller */
    CHECK_INT(&r, rig_wait(pid[1], RUN_MS + 10000), 0);
    CHECK_INT(&r, rig_wait(pid[2], RUN_MS + 10000), 0);
    weir_store_release_u32(&r.shared->stop, 1);
    CHECK_INT(&r, rig_wait(pid[0], 6000), 0);
    CHECK_INT(&r, rig_process(&r, "weird-worker"), worker);
    for (int i = 0; i < 400 && live_clients(look) > 0; i++) {
        rig_sleep_ms(10);
    }
    CHECK_INT(&r, live_clients(look), 0);
    const struct weir_shm_worker *b = rig_board_worker(look);
    (void)printf("honest: %llu done, %llu refused; damaged limit words repaired: %llu; entries "
                 "dropped: %llu; "
                 "highest at the exchange: %.0f of 300\n",
                 (unsigned long long)r.shared->count[0], (unsigned long long)r.shared->count[1],
                 (unsigned long long)b->limit_damaged, (unsigned long long)b->ring_dropped,
                 rig_report(&r, "limits.0.highest"));
    CHECK(&r, r.shared->count[0] > 0, "the honest one worked");
    CHECK(&r, b->limit_damaged > 0, "damage was seen and repaired");
    CHECK_INT(&r, rig_report(&r, "violations"), 0);
    rig_orders_check(&r, false);
    wrecked_header(&r, look);
    weir_close(look);
    CHECK_INT(&r, rig_weird_stop(&r, 15000), 0);
    return rig_close(&r);
}
