/*
 * hush.c: who makes noise in one domain costs the worker little, and its neighbours nothing (broker/hush.h).
 *
 * One process puts forged entries into its domain's ring as fast as it can, another rings its bell without end. Oracle: the board's own counts. The worker takes no more of the forged
 * entries than its ticks allow, which is some hundred thousand a second where it would take millions, and makes no more turns than that and the honest ones' calls
 * ask for; an honest process of another domain, and one of the forger's own, get every call answered; the log names the domain; a bell that was not listened to is heard again.
 */
#include "broker/hush.h"
#include "rig.h"

#include <stdio.h>
#include <unistd.h>

#define NOISE_MS 2000U
#define TICK_MS  10U

enum { GOOD = 0, MATE = 1, BAD = 2, ENTRIES = 3, BELLS = 4 };

static const char yaml[] =
    "broker:\n"
    "  name: rig\n"
    "  wake: sleep\n"
    "  domains: [{name: default, clients: 4}, {name: good, clients: 4}]\n"
    "providers:\n"
    "  - name: sim\n"
    "    limits: [{name: l, kind: token_bucket, quota: 100000, window: 1s}]\n"
    "    endpoints: [{name: a, url: \"http://127.0.0.1:$PORT\"}]\n"
    "    routes: [{name: ping, method: GET, path: /api/v3/ping, cost: {l: 1}, timeout: 10s}]\n";

static struct weir *attach(struct rig *r, const char *domain)
{
    struct weir_open_opts opts = {
        .role = WEIR_ROLE_CALLER, .domain = domain, .patience_ns = 10 * WEIR_NS_PER_S};
    int rc;
    return rig_attach_opts(r, &opts, NULL, &rc);
}

static bool is_over(const struct rig *r)
{
    return weir_load_acquire_u32(&r->shared->stop) != 0;
}

/* Handles of nobody's slots, at the lowest priority: the classes above it stay free for its mates. */
static int forger(struct rig *r, int arg)
{
    (void)arg;
    struct weir *w = attach(r, "default");
    while (w != NULL && !is_over(r)) {
        for (unsigned i = 0; i < 256; i++) {
            (void)weir_ring_put(&w->board->level[WEIR_PRIORITY_CNT - 1],
                                weir_handle_make(255, i, 0));
        }
        (void)weir_fetch_add_u32(&r->shared->count[ENTRIES], 256);
    }
    weir_close(w);
    return w == NULL;
}

static int ringer(struct rig *r, int arg)
{
    const uint64_t one = 1;
    (void)arg;
    struct weir *w = attach(r, "default");
    while (w != NULL && !is_over(r)) {
        ssize_t n = write(w->at->doorbell_fd, &one, sizeof one);
        (void)n;
        (void)weir_fetch_add_u32(&r->shared->count[BELLS], 1);
    }
    weir_close(w);
    return w == NULL;
}

/* Calls, one at a time. */
static int honest(struct rig *r, int which)
{
    struct weir *w = attach(r, which == GOOD ? "good" : "default");
    while (w != NULL && !is_over(r)) {
        const struct weir_request_spec spec = {.struct_bytes = sizeof spec,
                                               .route = rig_route(w, "sim.ping")};
        struct weir_response a = {0};
        int rc = weir_call(w, &spec, weir_now_ns(w) + 10 * WEIR_NS_PER_S, &a);
        bool done = rc == 0 && a.result == WEIR_RESULT_DONE && a.status == 200;
        (void)weir_fetch_add_u32(&r->shared->count[done ? (unsigned)which : BAD], 1);
        (void)weir_release(w, a.ticket);
        rig_sleep_ms(1);
    }
    weir_close(w);
    return w == NULL;
}

static void noise(struct rig *r, const struct weir *look)
{
    const struct weir_shm_worker *b = rig_board_worker(look);
    const uint32_t *c = r->shared->count;
    pid_t pid[] = {rig_fork(r, honest, GOOD), rig_fork(r, honest, MATE), rig_fork(r, forger, 0),
                   rig_fork(r, ringer, 0)};
    uint64_t began_ns = rig_now_ns();
    uint64_t cycles = weir_load_relaxed_u64(&b->loop_cycles);
    uint64_t dropped = weir_load_relaxed_u64(&b->ring_dropped);
    rig_sleep_ms(NOISE_MS * rig_slowness());
    cycles = weir_load_relaxed_u64(&b->loop_cycles) - cycles;
    dropped = weir_load_relaxed_u64(&b->ring_dropped) - dropped;
    uint64_t calls = c[GOOD] + c[MATE];
    uint64_t ticks = (rig_now_ns() - began_ns) / (TICK_MS * WEIR_NS_PER_MS) + 2;
    weir_store_release_u32(&r->shared->stop, 1);
    for (unsigned i = 0; i < WEIR_ARRAY_CNT(pid); i++) {
        CHECK_INT(r, rig_wait(pid[i], 15000), 0);
    }
    (void)printf("noise: %u entries tried, %u bells rung; the worker took %llu entries and made %llu "
                 "turns in %llu ticks; "
                 "%u calls of a neighbour, %u of the same domain\n",
                 c[ENTRIES], c[BELLS], (unsigned long long)dropped, (unsigned long long)cycles,
                 (unsigned long long)ticks, c[GOOD], c[MATE]);
    CHECK_INT(r, c[BAD], 0);
    CHECK(r, c[GOOD] > 20 && c[MATE] > 20, "%u and %u calls", c[GOOD], c[MATE]);
    CHECK(r, c[BELLS] > 4 * ticks * HUSH_BELLS_MAX, "the ringer rang");
    CHECK(r, dropped >= HUSH_ENTRIES_MAX, "the forger forged");
    CHECK(r, dropped <= ticks * HUSH_ENTRIES_MAX, "%llu entries in %llu ticks",
          (unsigned long long)dropped, (unsigned long long)ticks);
    /* A call costs a turn or some (submitted, connected, sent, answered), a bell one. */
    CHECK(r, cycles <= ticks * (HUSH_BELLS_MAX + HUSH_ENTRIES_MAX / 16) + calls * 32,
          "%llu turns in %llu ticks, for %llu calls", (unsigned long long)cycles,
          (unsigned long long)ticks, (unsigned long long)calls);
    CHECK(r, rig_log_has(r, "\"domain_hushed\""), "and named");
    weir_store_release_u32(&r->shared->stop, 0);
}

/* Its bell was left alone: with the next tick it is listened to. The worker sleeps, so without it the request would wait for a sweep. */
static void heard_again(struct rig *r)
{
    struct weir *w = attach(r, "default");
    const uint64_t one = 1;
    struct weir_response a = {0};
    const struct weir_request_spec spec = {.struct_bytes = sizeof spec, .route = WEIR_ROUTE_NOP};
    CHECK(r, w != NULL, "attached");
    for (unsigned i = 0; w != NULL && i < 20000; i++) {
        ssize_t n = write(w->at->doorbell_fd, &one, sizeof one);
        (void)n;
    }
    for (unsigned i = 0; w != NULL && i < 5; i++) {
        CHECK_INT(r, weir_call(w, &spec, weir_now_ns(w) + 10 * WEIR_NS_PER_S, &a), 0);
        CHECK_INT(r, a.result, WEIR_RESULT_DONE);
        (void)weir_release(w, a.ticket);
    }
    weir_close(w);
}

int main(int argc, char **argv)
{
    struct rig r;
    rig_open(&r, "hush", argc, argv, 60);
    rig_sim_start(&r, "{\"latency_ms\": 1}");
    rig_config(&r, yaml, 0);
    rig_weird_start(&r);
    struct weir *look = rig_attach(&r, WEIR_ROLE_MONITOR);
    pid_t worker = rig_process(&r, "weird-worker");
    noise(&r, look);
    heard_again(&r);
    CHECK_INT(&r, rig_process(&r, "weird-worker"), worker);
    weir_close(look);
    CHECK_INT(&r, rig_weird_stop(&r, 15000), 0);
    return rig_close(&r);
}
