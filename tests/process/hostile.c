/*
 * Clients that lie in every way that their mappings allow, beside an honest one in another domain.
 *
 *   process_hostile SIM WEIRD [SEED] [--long]
 *
 *   scribbler  random bytes over arena, ring and, as a trader, limit words and pauses
 *   racer      hands over good requests, while its other thread flips their words between the worker's check and its use
 *   forger     fills all five levels of its ring with handles of everybody's slots
 *   liar       requests with lengths, costs, routes and priorities that no libweir makes
 *   flooder    hands over as fast as it can, fills its completion queue, and never reads
 *
 * What is in their rings then brings the worker to the instants ring:repair-tail and ring:poison.
 *
 * Who is shut out or damaged attaches again. All run at the lowest scheduling class, so that what the others feel is what weir does, not who has the core. First the
 * honest ones work alone; then beside as many processes that spin and do nothing to weir, which is what the machine costs them; then beside all who may only call: 4 s, or 10 minutes with --long. At last the scribbler who is a trader joins them, for 2 s or a minute: whoever may take
 * permits can use up a limit, and a damaged word counts as spent, so what others wait for then is room in that limit.
 *
 * Oracles: the worker is the same one from the first to the last; the honest one's calls all end, each order once; the exchange counts no call too many;
 * no hostile client ever finds in its own mappings what the honest ones send and get; the liar is quarantined, and the log names it; the worker takes no more of the
 * forged entries than it has ticks for (broker/hush.h). The honest echoes' p50 and p99 in each of the four are printed, and what part of a core the worker had.
 */
#include "broker/hush.h"
#include "rig.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#define ATTACK_MS      4000U
#define ATTACK_LONG_MS 600000U
#define QUIET_MS       2000U
#define QUIET_LONG_MS  30000U
#define TRADER_MS      2000U
#define TRADER_LONG_MS 60000U
#define ROUND_MS       1500U /* of one attachment */
#define MARK           "HONEST-BYTES-"

/* Who is there beside the honest ones. */
enum phase { NOBODY, SPINNERS, CALLERS, TRADER_TOO, PHASE_CNT };
static const char *const phase_text[PHASE_CNT] = {
    "alone", "beside processes that spin", "beside hostile callers", "and beside a hostile trader"};

enum {
    DONE,
    OTHERWISE,
    WRECKED,
    WRECK_END,
    LEAKED,
    ATTACHED,
    BLOCKED,
    SAMPLES,
    PHASE = SAMPLES + PHASE_CNT
};

/* Latencies of the honest one, us; the reader looks when it has ended. */
#define SAMPLES_MAX 200000U
static uint32_t *samples[PHASE_CNT];

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

/* ---------------------------------------------------------------------------------------------- attacks */

struct attack {
    struct rig *r;
    struct weir *w;
    uint64_t end_ns;
    volatile bool over;
};

/* Shut out, or its attachment is of no use any more. */
static bool is_out(const struct attack *a)
{
    return weir_load_relaxed_u32(a->w->view.block) != WEIR_BLOCK_NONE;
}

/* Everything at random, and now and then slot words that look right. */
static void scribbler(struct attack *a)
{
    struct rig *r = a->r;
    struct weir_attachment *at = a->w->at;
    const struct weir_request_spec spec = {.struct_bytes = sizeof spec, .route = rig_random(r, 4)};
    weir_ticket t;
    (void)weir_submit(a->w, &spec, &t);
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
        (void)weir_ring_put(&a->w->board->level[rig_random(r, 5)],
                            weir_handle_make(at->client, i, rig_random(r, 4096)));
    }
    if (a->w->role == WEIR_ROLE_TRADER) {
        for (uint32_t i = 0; i < a->w->view.bounds.word_cnt; i++) {
            at->word[i].word[rig_random(r, 2)] =
                rig_random(r, 2) == 0 ? 0 : (uint64_t)rig_random(r, 1U << 24) << 40;
        }
        at->pause[0].changed++;
    }
    weir_doorbell(a->w, true);
    rig_sleep_ms(1);
}

static void *flipper(void *arg)
{
    struct attack *a = arg;
    const struct weir_client_arena *m = &a->w->at->mem;
    uint32_t x = 1;
    while (!a->over) {
        x = x * 1664525U + 1013904223U;
        struct weir_shm_slot *s = &m->slot[(x >> 8) % m->slot_cnt];
        volatile struct weir_shm_request *q = &s->request;
        q->body_bytes ^= x >> 4;
        q->path_bytes ^= x >> 20;
        q->headers_bytes += 3;
        q->route = x >> 28;
        q->priority = (uint8_t)(x >> 13);
        q->unit_cnt = x >> 29;
        ((volatile char *)m->request)[(x >> 6) % m->request_stride_bytes] ^= (char)x;
        s->response.body_off_bytes = x;
        s->response.body_bytes = ~x;
        q->body_bytes = 0;
        q->path_bytes = 0;
        q->headers_bytes = 0;
        q->unit_cnt = 0;
        q->route = 0;
    }
    return NULL;
}

static void racer(struct attack *a)
{
    const struct weir_request_spec spec = {.struct_bytes = sizeof spec,
                                           .route = rig_route(a->w, "sim.ping")};
    pthread_t thread;
    struct weir_response answer;
    a->over = pthread_create(&thread, NULL, flipper, a) != 0;
    if (a->over) {
        return;
    }
    while (rig_now_ns() < a->end_ns && !is_out(a)) {
        weir_ticket t;
        for (unsigned i = 0; i < 16; i++) {
            (void)weir_submit(a->w, &spec, &t);
        }
        while (weir_poll(a->w, &answer) == 0) {
            (void)weir_release(a->w, answer.ticket);
        }
    }
    a->over = true;
    (void)pthread_join(thread, NULL);
}

static void forger(struct attack *a)
{
    for (unsigned i = 0; i < 256; i++) {
        (void)weir_ring_put(&a->w->board->level[rig_random(a->r, 5)],
                            weir_handle_make(rig_random(a->r, 256), rig_random(a->r, 4096),
                                             rig_random(a->r, 4096)));
    }
    weir_doorbell(a->w, true);
}

/* One request by hand. */
static void liar(struct attack *a)
{
    static const uint32_t lengths[] = {0, 1, 65535, 65536, INT32_MAX, UINT32_MAX, 0x80000000U};
    struct rig *r = a->r;
    const struct weir_client_arena *m = &a->w->at->mem;
    uint32_t i = rig_random(r, m->slot_cnt);
    struct weir_shm_slot *s = &m->slot[i];
    uint32_t gen = weir_slot_gen(s->state) + 1;
    struct weir_shm_request q = {.route = rig_random(r, 4),
                                 .priority = (uint8_t)rig_random(r, 8),
                                 .method = (uint8_t)rig_random(r, 8),
                                 .header_cnt = (uint16_t)rig_random(r, 70000),
                                 .deadline_ns = rig_random(r, 2) == 0 ? UINT64_MAX : 1,
                                 .path_bytes = lengths[rig_random(r, 7)],
                                 .query_bytes = lengths[rig_random(r, 7)],
                                 .headers_bytes = lengths[rig_random(r, 7)],
                                 .body_bytes = lengths[rig_random(r, 7)],
                                 .unit_cnt = rig_random(r, 12)};
    s->request = q;
    weir_store_release_u64(&s->state, weir_slot_word(gen, WEIR_SLOT_SUBMITTED, 0));
    (void)weir_ring_put(&a->w->board->level[rig_random(r, 5)],
                        weir_handle_make(a->w->at->client, i, gen & 4095U));
    weir_doorbell(a->w, true);
    rig_sleep_ms(1);
}

static void flooder(struct attack *a)
{
    const struct weir_request_spec spec = {.struct_bytes = sizeof spec,
                                           .route = rig_route(a->w, "sim.ping")};
    weir_ticket t;
    while (weir_submit(a->w, &spec, &t) == 0) {
    }
    /* As if all were released: the worker must not take the word of a slot for its own shadow. */
    for (uint32_t i = 0; i < a->w->at->mem.slot_cnt; i++) {
        uint64_t word = a->w->at->mem.slot[i].state;
        a->w->at->mem.slot[i].state = weir_slot_word(weir_slot_gen(word) + 1, WEIR_SLOT_FREE, 0);
    }
}

static const struct {
    const char *name;
    const char *domain;
    void (*step)(struct attack *a);
    enum weir_role role;
} attacks[] = {
    {"scribbler, trader", "default", scribbler, WEIR_ROLE_TRADER}, /* the first: it comes last */
    {"scribbler", "a1", scribbler, WEIR_ROLE_CALLER},
    {"racer", "a2", racer, WEIR_ROLE_CALLER},
    {"forger", "a3", forger, WEIR_ROLE_CALLER},
    {"liar", "a4", liar, WEIR_ROLE_CALLER},
    {"flooder", "a5", flooder, WEIR_ROLE_CALLER},
};
#define ATTACKS WEIR_ARRAY_CNT(attacks)

/* What the honest one sends and gets must not be found here. */
static void look_for_others(const struct attack *a)
{
    const struct weir_attachment *at = a->w->at;
    if (memmem(at->arena.base, at->arena.bytes, MARK, strlen(MARK)) != NULL ||
        memmem(at->ring.base, at->ring.bytes, MARK, strlen(MARK)) != NULL) {
        (void)weir_fetch_add_u32(&a->r->shared->count[LEAKED], 1);
    }
}

static int attacker(struct rig *r, int which)
{
    const struct sched_param none = {0};
    (void)sched_setscheduler(0, SCHED_IDLE, &none);
    (void)setpriority(PRIO_PROCESS, 0, 19);
    while (weir_load_acquire_u32(&r->shared->stop) == 0) {
        /* Each in a domain of its own: damage to a ring's header stays, and keeps everybody else out of that domain. */
        struct weir_open_opts opts = {.role = attacks[which].role, .domain = attacks[which].domain};
        int rc;
        struct attack a = {.r = r, .end_ns = rig_now_ns() + ROUND_MS * WEIR_NS_PER_MS};
        a.w = rig_attach_opts(r, &opts, NULL, &rc);
        if (a.w == NULL) {
            rig_sleep_ms(20); /* it has damaged its own domain, or all indices are taken */
            continue;
        }
        (void)weir_fetch_add_u32(&r->shared->count[ATTACHED], 1);
        while (rig_now_ns() < a.end_ns && weir_load_acquire_u32(&r->shared->stop) == 0 &&
               !is_out(&a)) {
            attacks[which].step(&a);
        }
        (void)weir_fetch_add_u32(&r->shared->count[BLOCKED], is_out(&a));
        look_for_others(&a);
        weir_close(a.w);
    }
    return 0;
}

/* ---------------------------------------------------------------------------------------------- the honest one */

static void sample(struct rig *r, uint64_t took_ns)
{
    unsigned phase = weir_load_acquire_u32(&r->shared->count[PHASE]);
    uint32_t n = weir_fetch_add_u32(&r->shared->count[SAMPLES + phase], 1);
    if (n < SAMPLES_MAX) {
        samples[phase][n] = (uint32_t)weir_min_u64(took_ns / 1000, UINT32_MAX);
    }
}

/* In another domain: its ring is its own. Echoes with a mark, on a limit that no caller has reason to use up. */
static int echoes(struct rig *r, int arg)
{
    (void)arg;
    struct weir_open_opts opts = {.role = WEIR_ROLE_CALLER, .domain = "good"};
    int rc;
    struct weir *w = rig_attach_opts(r, &opts, NULL, &rc);
    int bad = w == NULL;
    while (w != NULL && weir_load_acquire_u32(&r->shared->stop) == 0) {
        const struct weir_request_spec echo = {.struct_bytes = sizeof echo,
                                               .route = rig_route(w, "sim.echo"),
                                               .body = MARK "0123456789abcdef",
                                               .body_bytes = sizeof MARK + 15};
        struct weir_response a;
        uint64_t from_ns = rig_now_ns();
        rc = weir_call(w, &echo, weir_now_ns(w) + 2500 * WEIR_NS_PER_MS, &a);
        sample(r, rig_now_ns() - from_ns);
        if (rc != 0 || a.result != WEIR_RESULT_DONE || a.status != 200 ||
            memmem(a.body, a.body_bytes, MARK, strlen(MARK)) == NULL) {
            PROMISE(r, rc != 0 || a.result != WEIR_RESULT_DONE || a.status != 200,
                    "an honest echo's own bytes");
            (void)printf("FAILED: an honest echo: %s, %s, status %u\n", weir_strerror(rc),
                         rc == 0 ? weir_result_text(a.result) : "-", rc == 0 ? a.status : 0);
            bad = 1;
            break;
        }
        (void)weir_release(w, a.ticket);
        rig_sleep_ms(2);
    }
    weir_close(w);
    return bad;
}

/* There too: orders, on a limit that the racer and the flooder use up. */
static int orders(struct rig *r, int arg)
{
    (void)arg;
    struct weir_open_opts opts = {.role = WEIR_ROLE_CALLER, .domain = "good"};
    int rc;
    struct weir *w = rig_attach_opts(r, &opts, NULL, &rc);
    int bad = w == NULL;
    while (w != NULL && weir_load_acquire_u32(&r->shared->stop) == 0) {
        struct weir_response a;
        weir_ticket t;
        uint32_t n;
        if (rig_order_submit(r, w, rig_route(w, "sim.order"),
                             weir_now_ns(w) + 2500 * WEIR_NS_PER_MS, &t, &n) == 0) {
            rc = weir_wait(w, t, weir_now_ns(w) + 5 * WEIR_NS_PER_S, &a);
            bad |= rc != 0;
            if (rc == 0) {
                rig_order_ended(r, n, &a);
                bool done = a.result == WEIR_RESULT_DONE && a.status == 200;
                (void)weir_fetch_add_u32(&r->shared->count[done ? DONE : OTHERWISE], 1);
                (void)weir_release(w, t);
            }
        }
        rig_sleep_ms(20);
    }
    weir_close(w);
    return bad;
}

static int by_size(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a;
    uint32_t y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

static void latencies(const struct rig *r)
{
    double p99[PHASE_CNT] = {0};
    for (unsigned i = 0; i < PHASE_CNT; i++) {
        uint32_t cnt = (uint32_t)weir_min_u64(r->shared->count[SAMPLES + i], SAMPLES_MAX);
        qsort(samples[i], cnt, sizeof *samples[i], by_size);
        if (cnt > 0) {
            p99[i] = samples[i][cnt * 99 / 100];
            (void)printf("honest echoes, %s: %u calls, p50 %.2f ms, p99 %.2f ms: %.2f of alone, "
                         "%.2f of spinning\n",
                         phase_text[i], cnt, samples[i][cnt / 2] / 1e3, p99[i] / 1e3,
                         p99[NOBODY] > 0 ? p99[i] / p99[NOBODY] : 0,
                         p99[SPINNERS] > 0 ? p99[i] / p99[SPINNERS] : 0);
        }
    }
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
    weir_store_release_u32(&r->shared->count[WRECKED], 1);
    while (weir_load_acquire_u32(&r->shared->count[WRECK_END]) == 0) {
        rig_sleep_ms(5);
    }
    return 0;
}

static void wrecked_header(struct rig *r, const struct weir *look)
{
    pid_t pid = rig_fork(r, header_wrecker, 0);
    for (int i = 0; i < 500 && weir_load_acquire_u32(&r->shared->count[WRECKED]) == 0; i++) {
        rig_sleep_ms(5);
    }
    rig_worker_kill(r);
    rig_sleep_ms(50);
    CHECK_INT(r, live_clients(look), 1);
    weir_store_release_u32(&r->shared->count[WRECK_END], 1);
    CHECK_INT(r, rig_wait(pid, 3000), 0);
    for (int i = 0; i < 200 && live_clients(look) > 0; i++) {
        rig_sleep_ms(10);
    }
    CHECK_INT(r, live_clients(look), 0);
    CHECK(r, !rig_log_has(r, "client_not_mapped"), "served all the same");
}

static void configure(struct rig *r)
{
    rig_sim_start(r, "{\"latency_ms\": 1, \"ban_after\": 3, \"weights\": {\"ANY /echo\": 0}, "
                     "\"limits\": [{\"name\": \"weight\", \"kind\": \"fixed_window\", "
                     "\"quota\": 300, \"window_ms\": 1000}]}");
    rig_config(
        r,
        "broker: {name: rig, log: warn, domains: [{name: default, clients: 16}, {name: good, "
        "clients: 16}, "
        "{name: a1, clients: 16}, {name: a2, clients: 16}, {name: a3, clients: 16}, {name: a4, "
        "clients: 16}, {name: a5, clients: 16}]}\n"
        "providers:\n"
        "  - name: sim\n"
        "    clock: {path: /api/v3/time, field: serverTime, interval: 1s, max_jitter: "
        "100ms}\n"
        "    limits:\n"
        "      - {name: weight, kind: fixed_window, quota: 300, window: 1s, scope: ip}\n"
        "      - {name: calm, kind: token_bucket, quota: 100000, window: 1s, burst: 100000}\n"
        "    endpoints:\n"
        "      - {name: a, url: \"http://127.0.0.1:$PORT\", connections: 16}\n"
        "    routes:\n"
        "      - {name: ping, method: GET, path: /api/v3/ping, cost: {weight: 1}, timeout: "
        "3s, priority: low}\n"
        "      - {name: depth, method: GET, path: /api/v3/depth, cost: {weight: 5}, "
        "timeout: 3s}\n"
        "      - {name: order, method: POST, path: /api/v3/order, cost: {weight: 1}, "
        "timeout: 3s, priority: critical}\n"
        "      - {name: echo, method: POST, path: /echo, cost: {calm: 1}, idempotent: true, "
        "timeout: 3s, priority: critical}\n",
        0);
    rig_weird_start(r);
}

static void verdict(struct rig *r, const struct weir *look)
{
    const struct weir_shm_worker *b = rig_board_worker(look);
    const uint32_t *c = r->shared->count;
    latencies(r);
    (void)printf(
        "attachments of hostile clients: %u, %u of them shut out; %llu quarantined, %llu "
        "limit words repaired, %llu ring entries dropped, %llu cells and tails set right\n",
        c[ATTACHED], c[BLOCKED], (unsigned long long)b->client_quarantined,
        (unsigned long long)b->limit_damaged, (unsigned long long)b->ring_dropped,
        (unsigned long long)b->ring_repaired);
    (void)printf("honest orders: %u done, %u otherwise; highest at the exchange %.0f of 300\n",
                 c[DONE], c[OTHERWISE], rig_report(r, "limits.0.highest"));
    PROMISE_INT(r, c[LEAKED], 0);
    CHECK(r, c[SAMPLES + NOBODY] > 20 && c[SAMPLES + CALLERS] > 20, "the honest one worked");
    CHECK(r, b->limit_damaged > 0, "damage was seen and repaired");
    CHECK(r, b->client_quarantined > 0, "the liar was shut out");
    CHECK(r, rig_log_has(r, "\"client_quarantined\""), "and named");
    PROMISE_INT(r, rig_report(r, "violations"), 0);
}

/*
 * Takes a core for as long as nobody else wants it, and does not enter the kernel: one that preempts lazily gives the core to whoever wakes at the next tick only. The attackers too spend most
 * of their time in user space.
 */
static int spinner(struct rig *r, int arg)
{
    (void)arg;
    const struct sched_param none = {0};
    (void)sched_setscheduler(0, SCHED_IDLE, &none);
    (void)setpriority(PRIO_PROCESS, 0, 19);
    while (weir_load_acquire_u32(&r->shared->count[PHASE]) == SPINNERS) {
        weir_cpu_relax();
    }
    return 0;
}

/* CPU time of a process, ms. */
static unsigned long cpu_ms(pid_t pid)
{
    char path[64];
    unsigned long user = 0;
    unsigned long kernel = 0;
    (void)snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    FILE *f = fopen(path, "re");
    if (f != NULL) {
        (void)fscanf(f, "%*d %*s %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user,
                     &kernel);
        (void)fclose(f);
    }
    return (user + kernel) * 1000 / (unsigned long)sysconf(_SC_CLK_TCK);
}

/* Let the attack go on for so long, and look at what it costs the worker. */
static void noise(struct rig *r, const struct weir *look, pid_t worker, uint32_t ms)
{
    const struct weir_shm_worker *b = rig_board_worker(look);
    uint64_t began_ns = rig_now_ns();
    unsigned long cpu = cpu_ms(worker);
    uint64_t dropped = weir_load_relaxed_u64(&b->ring_dropped);
    rig_sleep_ms(ms);
    cpu = cpu_ms(worker) - cpu;
    dropped = weir_load_relaxed_u64(&b->ring_dropped) - dropped;
    uint64_t ticks = (rig_now_ns() - began_ns) / (10 * WEIR_NS_PER_MS) + 2;
    (void)printf("beside hostile callers the worker had %lu %% of a core\n", cpu * 100 / ms);
    CHECK(r, dropped <= (ATTACKS + 1) * ticks * HUSH_ENTRIES_MAX, "%llu entries in %llu ticks",
          (unsigned long long)dropped, (unsigned long long)ticks);
}

static void phase_begin(struct rig *r, enum phase phase)
{
    weir_store_release_u32(&r->shared->count[PHASE], phase);
}

int main(int argc, char **argv)
{
    struct rig r;
    pid_t pid[ATTACKS];
    bool everything = argc > 3 && strcmp(argv[argc - 1], "--long") == 0;
    uint32_t attack_ms = everything ? ATTACK_LONG_MS : ATTACK_MS;
    rig_open(&r, "hostile", everything ? argc - 1 : argc, argv, attack_ms / 1000 + 160);
    for (unsigned i = 0; i < PHASE_CNT; i++) {
        samples[i] = mmap(NULL, SAMPLES_MAX * sizeof *samples[i], PROT_READ | PROT_WRITE,
                          MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    }
    configure(&r);
    struct weir *look = rig_attach(&r, WEIR_ROLE_MONITOR);
    pid_t worker = rig_process(&r, "weird-worker");
    const pid_t good[] = {rig_fork(&r, echoes, 0), rig_fork(&r, orders, 0)};
    rig_sleep_ms(everything ? QUIET_LONG_MS : QUIET_MS);
    phase_begin(&r, SPINNERS);
    for (unsigned i = 1; i < ATTACKS; i++) {
        pid[i] = rig_fork(&r, spinner, 0);
    }
    rig_sleep_ms(everything ? QUIET_LONG_MS : QUIET_MS);
    phase_begin(&r, CALLERS);
    for (unsigned i = 1; i < ATTACKS; i++) {
        CHECK_INT(&r, rig_wait(pid[i], 5000), 0);
    }
    for (unsigned i = 1; i < ATTACKS; i++) {
        pid[i] = rig_fork(&r, attacker, (int)i);
    }
    noise(&r, look, worker, attack_ms);
    phase_begin(&r, TRADER_TOO);
    pid[0] = rig_fork(&r, attacker, 0);
    rig_sleep_ms(everything ? TRADER_LONG_MS : TRADER_MS);
    weir_store_release_u32(&r.shared->stop, 1);
    for (unsigned i = 0; i < ATTACKS; i++) {
        rig_check(&r, rig_wait(pid[i], 15000) == 0, __FILE__, __LINE__, "the %s ends",
                  attacks[i].name);
    }
    CHECK_INT(&r, rig_wait(good[0], 6000), 0);
    CHECK_INT(&r, rig_wait(good[1], 6000), 0);
    CHECK_INT(&r, rig_process(&r, "weird-worker"), worker);
    for (int i = 0; i < 600 && live_clients(look) > 0; i++) {
        rig_sleep_ms(10);
    }
    CHECK_INT(&r, live_clients(look), 0);
    verdict(&r, look);
    rig_orders_check(&r, false);
    wrecked_header(&r, look);
    weir_close(look);
    CHECK_INT(&r, rig_weird_stop(&r, 15000), 0);
    return rig_close(&r);
}
