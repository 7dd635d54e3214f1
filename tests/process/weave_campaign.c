/*
 * Every named instant (WEIR_WEAVE) of a client and of the worker: the process is held there, and then killed, stopped or delayed.
 *
 *   process_weave SIM WEIRD [SEED] [--long | --only NAME]
 *
 * A victim does all that a strategy can: permits of every kind of limit, taken, used, settled and given back, orders and calls handed over, polled,
 * waited for, cancelled; handles dup'ed and closed. Which instants it and the worker pass is watched first. Then each of them, by each way to end, in random order;
 * --long goes round ten times, with later passages of the same instant; --only tries one instant 30 times in each process that passes it.
 *
 * Oracles: while somebody stands at an instant, the others go on (a held client: permits on the same words and calls; a held worker: permits).
 * After a kill of a client its index is free again in time; after a kill of the worker the next one answers. In the end: each order exactly once and with a
 * named outcome, nothing counted twice, no unit, slot or index left taken, no violation at the exchange.
 */
#include "rig.h"
#include "shm/weir_audit.h"
#include "weave.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PROGRESS_MS 3000U /* for one permit and one call of the others: busy machines, sanitizers */
#define REACH_MS    1500U
#define REAP_MS     3000U
#define FLIGHT_MAX  8U
#define AUDITED     50000U

enum count { CALLS, PERMITS, VICTIM, DONE, OTHERWISE };
enum whom { CLIENT, WORKER, WHOM_CNT };
enum ending { KILL, STOP, DELAY, ENDING_CNT };
static const char *const whom_text[] = {"client", "worker"};
static const char *const ending_text[] = {"killed", "stopped", "delayed"};

static struct weave_page *page;

struct tally {
    unsigned tried[WHOM_CNT][ENDING_CNT];
    unsigned missed;
    uint64_t reaped_worst_ns, back_worst_ns;
};

static void add(struct rig *r, enum count which)
{
    (void)weir_fetch_add_u32(&r->shared->count[which], 1);
}

static uint32_t now_at(const struct rig *r, enum count which)
{
    return weir_load_acquire_u32(&r->shared->count[which]);
}

/* ---------------------------------------------------------------------------------------------- strategies */

/* A permit of all kinds: used, refused by the exchange's own answer, or given back. */
static void by_permit(struct rig *r, struct weir *w, weir_route_id mix, unsigned turn)
{
    struct weir_permit p;
    struct weir_outcome o = {.kind = WEIR_OUTCOME_NOT_SENT};
    if (weir_permit_try(w, mix, 0, NULL, WEIR_PRIORITY_MEDIUM, &p) != WEIR_OK) {
        return;
    }
    if (turn % 3 != 0 && weir_now_ns(w) < p.use_by_ns) {
        long status = rig_http(r, "GET", "/k/mix", NULL, NULL, 0);
        o = (struct weir_outcome){.kind =
                                      status > 0 ? WEIR_OUTCOME_ANSWERED : WEIR_OUTCOME_NO_ANSWER,
                                  .status = (uint32_t)(status > 0 ? status : 0)};
    }
    (void)weir_permit_settle(w, &p, &o);
}

/* What a victim has handed over and not released. */
struct flight {
    unsigned cnt;
    uint32_t number_of[4096]; /* by slot: its order, or UINT32_MAX */
};

static void take_answers(struct rig *r, struct weir *w, struct flight *f)
{
    struct weir_response a;
    while (weir_poll(w, &a) == 0) {
        uint32_t n = f->number_of[(uint32_t)a.ticket & 4095U];
        if (n != UINT32_MAX) {
            rig_order_ended(r, n, &a);
        }
        (void)weir_release(w, a.ticket);
        f->cnt--;
    }
}

static void by_call(struct rig *r, struct weir *w, weir_route_id order, weir_route_id mix,
                    unsigned turn, struct flight *f)
{
    weir_ticket t;
    uint32_t n;
    struct weir_response a;
    const struct weir_request_spec spec = {.struct_bytes = sizeof spec, .route = mix};
    if (f->cnt < FLIGHT_MAX &&
        rig_order_submit(r, w, order, weir_now_ns(w) + 2 * WEIR_NS_PER_S, &t, &n) == 0) {
        f->number_of[(uint32_t)t & 4095U] = n;
        f->cnt++;
    }
    if (f->cnt < FLIGHT_MAX &&
        weir_submit_until(w, &spec, weir_now_ns(w) + 2 * WEIR_NS_PER_S, &t) == 0) {
        f->number_of[(uint32_t)t & 4095U] = UINT32_MAX;
        bool gone = turn % 2 == 0
                        ? weir_cancel(w, t) == 0
                        : weir_wait(w, t, weir_now_ns(w) + 20 * WEIR_NS_PER_MS, &a) == 0 &&
                              weir_release(w, t) == 0;
        f->cnt += !gone;
    }
    take_answers(r, w, f);
}

static int victim(struct rig *r, int arg)
{
    static struct flight f;
    struct weir *w = rig_attach(r, WEIR_ROLE_TRADER);
    weir_route_id order = rig_route(w, "sim.order");
    weir_route_id mix = rig_route(w, "sim.mix");
    for (unsigned turn = (unsigned)arg; weir_load_acquire_u32(&r->shared->stop) == 0; turn++) {
        by_permit(r, w, mix, turn);
        by_call(r, w, order, mix, turn, &f);
        if (turn % 4 == 0) {
            struct weir *more = NULL;
            if (weir_dup(w, &more) == 0) {
                weir_close(more);
            }
            (void)weir_fd(w);
        }
        add(r, VICTIM);
        rig_sleep_ms(1);
    }
    weir_close(w);
    return 0;
}

/* Permits on the very words that the victim stands at. */
static int neighbour_by_permit(struct rig *r, int arg)
{
    (void)arg;
    struct weir *w = rig_attach(r, WEIR_ROLE_TRADER);
    weir_route_id mix = rig_route(w, "sim.mix");
    while (weir_load_acquire_u32(&r->shared->stop) == 0) {
        struct weir_permit p;
        const struct weir_outcome unused = {.kind = WEIR_OUTCOME_NOT_SENT};
        if (weir_permit_try(w, mix, 0, NULL, WEIR_PRIORITY_HIGH, &p) == WEIR_OK) {
            add(r, PERMITS);
            (void)weir_permit_settle(w, &p, &unused);
        }
        rig_sleep_ms(2);
    }
    weir_close(w);
    return 0;
}

/* Orders that are all waited for: none of them may end without a name. */
static int neighbour_by_call(struct rig *r, int arg)
{
    (void)arg;
    struct weir *w = rig_attach(r, WEIR_ROLE_CALLER);
    weir_route_id order = rig_route(w, "sim.order");
    int bad = 0;
    while (weir_load_acquire_u32(&r->shared->stop) == 0) {
        weir_ticket t;
        uint32_t n;
        struct weir_response a;
        if (rig_order_submit(r, w, order, weir_now_ns(w) + 4 * WEIR_NS_PER_S, &t, &n) != 0) {
            rig_sleep_ms(1);
            continue;
        }
        int rc = weir_wait(w, t, weir_now_ns(w) + 15 * WEIR_NS_PER_S, &a);
        if (rc != 0) {
            (void)printf("FAILED: the neighbour waits in vain: %s\n", weir_strerror(rc));
            bad = 1;
            break;
        }
        rig_order_ended(r, n, &a);
        add(r, CALLS);
        add(r, a.result == WEIR_RESULT_DONE ? DONE : OTHERWISE);
        (void)weir_release(w, t);
        rig_sleep_ms(2);
    }
    weir_close(w);
    return bad;
}

/* ---------------------------------------------------------------------------------------------- the campaign */

struct campaign {
    struct rig *r;
    struct weir *look; /* a monitor */
    pid_t victim, worker;
    struct tally tally;
    struct {
        char name[WEAVE_NAME_BYTES];
        enum whom whom;
    } at[2 * WEAVE_NAMES_MAX];
    unsigned cnt;
    unsigned rounds;
    const char *only; /* NULL: all */
};

static bool moves(struct rig *r, enum count which, unsigned limit_ms)
{
    uint32_t before = now_at(r, which);
    for (unsigned i = 0; i < limit_ms && now_at(r, which) == before; i++) {
        rig_sleep_ms(1);
    }
    return now_at(r, which) != before;
}

static bool known(const struct campaign *c, enum whom whom, const char *name)
{
    unsigned i = 0;
    while (i < c->cnt && (c->at[i].whom != whom || strcmp(c->at[i].name, name) != 0)) {
        i++;
    }
    return i < c->cnt;
}

/* Which instants this process passes. */
static void survey(struct campaign *c, enum whom whom, pid_t pid, unsigned ms)
{
    page->seen_cnt = 0;
    memset(page->seen, 0, sizeof page->seen);
    weave_watch(page, pid, ms);
    for (uint32_t i = 0; i < page->seen_cnt; i++) {
        if (!known(c, whom, page->seen[i].name)) {
            c->at[c->cnt].whom = whom;
            memcpy(c->at[c->cnt++].name, page->seen[i].name, WEAVE_NAME_BYTES);
        }
    }
}

static bool anywhere(const struct campaign *c, const char *name)
{
    return known(c, CLIENT, name) || known(c, WORKER, name);
}

/* Names that this program has and nobody passed. They are printed: other tests are theirs (unit/test_weave, prop, model, crash). */
static unsigned unreached(const struct campaign *c)
{
    const char *const *names;
    unsigned cnt = 0;
    uint32_t n = weave_names(&names);
    for (uint32_t i = 0; i < n; i++) {
        bool again = false;
        for (uint32_t k = 0; k < i && !again; k++) {
            again = strcmp(names[k], names[i]) == 0;
        }
        if (!again && !anywhere(c, names[i])) {
            (void)printf("%s %s", cnt++ == 0 ? "not on these processes' way:" : ",", names[i]);
        }
    }
    (void)printf("%s", cnt > 0 ? "\n" : "");
    return cnt;
}

static void victim_reborn(struct campaign *c)
{
    struct rig *r = c->r;
    uint64_t reaped = rig_board_worker(c->look)->client_reaped;
    uint64_t from_ns = rig_now_ns();
    (void)kill(c->victim, SIGKILL);
    CHECK_INT(r, rig_wait(c->victim, 5000), 128 + SIGKILL);
    while (rig_board_worker(c->look)->client_reaped == reaped &&
           rig_now_ns() - from_ns < REAP_MS * WEIR_NS_PER_MS) {
        rig_sleep_ms(1);
    }
    uint64_t took_ns = rig_now_ns() - from_ns;
    CHECK(r, took_ns < REAP_MS * WEIR_NS_PER_MS, "the victim's index came back");
    c->tally.reaped_worst_ns = weir_max_u64(c->tally.reaped_worst_ns, took_ns);
    c->victim = rig_fork(r, victim, (int)rig_random(r, 1000));
    CHECK(r, moves(r, VICTIM, PROGRESS_MS), "a new victim works");
}

static void worker_reborn(struct campaign *c)
{
    struct rig *r = c->r;
    uint64_t from_ns = rig_now_ns();
    (void)kill(c->worker, SIGKILL);
    c->worker = rig_process_next(r, "weird-worker", c->worker, 5000);
    CHECK(r, c->worker > 0, "a worker again");
    CHECK(r, moves(r, CALLS, 2 * PROGRESS_MS), "calls end again");
    c->tally.back_worst_ns = weir_max_u64(c->tally.back_worst_ns, rig_now_ns() - from_ns);
}

/* One instant, one way to end. */
static void at_instant(struct campaign *c, enum whom whom, const char *name, enum ending how)
{
    struct rig *r = c->r;
    pid_t pid = whom == CLIENT ? c->victim : c->worker;
    if (!weave_hold(page, pid, name, rig_random(r, 3), REACH_MS)) {
        c->tally.missed++;
        return;
    }
    c->tally.tried[whom][how]++;
    rig_check(r, moves(r, PERMITS, PROGRESS_MS), __FILE__, __LINE__,
              "permits go on while the %s stands at %s", whom_text[whom], name);
    if (whom == CLIENT) {
        rig_check(r, moves(r, CALLS, PROGRESS_MS), __FILE__, __LINE__,
                  "calls go on while the client stands at %s", name);
    }
    if (how == KILL) {
        whom == CLIENT ? victim_reborn(c) : worker_reborn(c);
        return;
    }
    if (how == STOP) {
        (void)kill(pid, SIGSTOP);
        weave_go(page);
        rig_sleep_ms(20 + rig_random(r, 60));
        (void)kill(pid, SIGCONT);
    } else {
        rig_sleep_ms(20 + rig_random(r, 60));
        weave_go(page);
    }
    rig_check(r, moves(r, whom == CLIENT ? VICTIM : CALLS, PROGRESS_MS), __FILE__, __LINE__,
              "the %s goes on behind %s", whom_text[whom], name);
}

static void all_instants(struct campaign *c)
{
    unsigned order[2 * WEAVE_NAMES_MAX * ENDING_CNT];
    unsigned cnt = c->cnt * ENDING_CNT;
    for (unsigned i = 0; i < cnt; i++) {
        unsigned k = rig_random(c->r, i + 1);
        order[i] = order[k];
        order[k] = i;
    }
    for (unsigned i = 0; i < cnt && c->r->failures == 0; i++) {
        unsigned which = order[i] / ENDING_CNT;
        if (c->only != NULL && strcmp(c->at[which].name, c->only) != 0) {
            continue;
        }
        at_instant(c, c->at[which].whom, c->at[which].name, (enum ending)(order[i] % ENDING_CNT));
    }
}

/* Nobody is attached but the one who looks, and nothing is held any more. */
/* Each entry of each ring is on the board once, in its order, whoever died between writing and taking it. */
static void audited_once(struct campaign *c)
{
    static uint32_t next[WEIR_CLIENTS_MAX + 1][WEIR_THREADS_MAX]; /* place of the next, + 1 */
    static uint16_t life[WEIR_CLIENTS_MAX + 1];
    const struct weir_shm_audit *head = rig_board(c->look, WEIR_SECTION_AUDIT, sizeof *head);
    const struct weir_shm_audit_record *record =
        rig_board(c->look, WEIR_SECTION_AUDIT_RECORD, sizeof *record);
    uint64_t written = weir_load_acquire_u64(&head->written);
    uint64_t cnt = written < AUDITED ? written : AUDITED;
    unsigned twice = 0;
    unsigned holes = 0;
    for (uint64_t k = written - cnt; k < written; k++) {
        const struct weir_shm_audit_record *a = &record[k % AUDITED];
        bool own = a->reporter == WEIR_AUDIT_BY_BROKER;
        uint32_t who = own ? WEIR_CLIENTS_MAX : a->client;
        holes += a->number != k + 1;
        if (a->kind > WEIR_AUDIT_SETTLED || who > WEIR_CLIENTS_MAX) {
            continue;
        }
        if (!own && life[who] != a->life) {
            memset(next[who], 0, sizeof next[who]);
            life[who] = a->life;
        }
        uint32_t *n = &next[who][a->thread % WEIR_THREADS_MAX];
        twice += a->place + 1 <= *n;
        *n = a->place + 1;
    }
    (void)printf("%llu records of the audit\n", (unsigned long long)written);
    CHECK_INT(c->r, holes, 0);
    CHECK_INT(c->r, twice, 0);
}

static void nothing_left(struct campaign *c)
{
    struct rig *r = c->r;
    struct weir *w = rig_attach(r, WEIR_ROLE_TRADER);
    struct weir_limit_info info;
    unsigned live = 0;
    bool found = false;
    rig_sleep_ms(500); /* a unit that was let go stays taken for max_jitter */
    for (uint32_t i = 0; i < w->view.tables.limit_cnt; i++) {
        CHECK_INT(r, weir_limit_get(w, i, 0, &info), 0);
        if (info.kind == WEIR_LIMIT_CONCURRENCY) {
            found = true;
            CHECK_INT(r, info.used_units, 0);
        }
    }
    CHECK(r, found, "the units were looked at");
    /* Nobody lied: what an honest death leaves is no damage, and costs nobody a window. */
    CHECK_INT(r, rig_board_worker(c->look)->limit_damaged, 0);
    CHECK_INT(r, rig_board_worker(c->look)->ring_repaired, 0);
    weir_close(w);
    for (int i = 0; i < 300; i++, rig_sleep_ms(10)) {
        live = 0;
        for (uint32_t k = 0; k < WEIR_CLIENTS_MAX; k++) {
            live += rig_board_client(c->look, k)->state != WEIR_CLIENT_FREE;
        }
        if (live == 0) {
            break;
        }
    }
    CHECK_INT(r, live, 0);
}

static void configure(struct rig *r)
{
    rig_sim_start(
        r,
        "{\"latency_ms\": 1, \"jitter_ms\": 2, \"ban_after\": 3, \"limits\": ["
        "{\"name\": \"weight\", \"kind\": \"fixed_window\", \"quota\": 2000, \"window_ms\": 1000},"
        "{\"name\": \"orders\", \"kind\": \"fixed_window\", \"quota\": 1000, \"window_ms\": 1000, "
        "\"scope\": \"key\", \"counts\": \"orders\"},"
        "{\"name\": \"bucket\", \"counts\": \"listed\", \"kind\": \"token_bucket\", \"quota\": "
        "600, \"refill_per_s\": 1000},"
        "{\"name\": \"cells\", \"counts\": \"listed\", \"kind\": \"sliding_window\", \"quota\": "
        "1000, \"window_ms\": 1000},"
        "{\"name\": \"parts\", \"counts\": \"listed\", \"kind\": \"sliding_window\", \"quota\": "
        "50000, \"window_ms\": 1000},"
        "{\"name\": \"flight\", \"counts\": \"listed\", \"kind\": \"concurrency\", \"quota\": 32}"
        "], \"routes\": [{\"path\": \"GET /k/mix\", \"plays\": \"ok\", \"costs\": ["
        "{\"limit\": \"bucket\", \"cost\": 1}, {\"limit\": \"cells\", \"cost\": 2}, "
        "{\"limit\": \"parts\", \"cost\": 50}, {\"limit\": \"flight\", \"cost\": 1}]}]}");
    rig_config(
        r,
        "broker: {name: rig, wake: sleep, audit: 50000, domains: [{clients: 16}]}\n"
        "providers:\n"
        "  - name: sim\n"
        "    clock: {path: /api/v3/time, field: serverTime, interval: 1s, max_jitter: 100ms}\n"
        "    limits:\n"
        "      - {name: weight, kind: fixed_window, quota: 2000, window: 1s, scope: ip}\n"
        "      - {name: orders, kind: fixed_window, quota: 1000, window: 1s, scope: account}\n"
        "      - {name: bucket, kind: token_bucket, quota: 1000, window: 1s, burst: 600, scope: "
        "account}\n"
        "      - {name: cells, kind: sliding_window, quota: 1000, window: 1s, scope: account}\n"
        "      - {name: parts, kind: sliding_window, quota: 50000, window: 1s, scope: account}\n"
        "      - {name: flight, kind: concurrency, quota: 32, scope: account}\n"
        "    endpoints:\n"
        "      - {name: a, url: \"http://127.0.0.1:$PORT\", connections: 16}\n"
        "    routes:\n"
        "      - {name: order, method: POST, path: /api/v3/order, cost: {weight: 1, orders: 1}, "
        "timeout: 3s}\n"
        "      - {name: mix, method: GET, path: /k/mix, timeout: 3s, max_response: 4KiB, "
        "cost: {weight: 1, bucket: 1, cells: 2, parts: 50, flight: 1}}\n",
        0);
}

/* What is ours; the rest is the rig's. */
static void arguments(struct campaign *c, int *argc, char **argv)
{
    c->rounds = 1;
    if (*argc > 3 && strcmp(argv[*argc - 1], "--long") == 0) {
        c->rounds = 10;
        *argc -= 1;
    } else if (*argc > 4 && strcmp(argv[*argc - 2], "--only") == 0) {
        c->rounds = 30;
        c->only = argv[*argc - 1];
        *argc -= 2;
    }
}

int main(int argc, char **argv)
{
    struct rig r;
    static struct campaign c;
    c.r = &r;
    char path[96];
    pid_t neighbour[2];
    arguments(&c, &argc, argv);
    rig_open(&r, "weave", argc, argv, c.rounds > 1 ? 3600 : 280);
    (void)snprintf(path, sizeof path, "%s/weave", r.dir);
    page = weave_open(path);
    if (page == NULL) {
        perror(path);
        return 99;
    }
    configure(&r);
    rig_weird_start(&r);
    c.look = rig_attach(&r, WEIR_ROLE_MONITOR);
    neighbour[0] = rig_fork(&r, neighbour_by_permit, 0);
    neighbour[1] = rig_fork(&r, neighbour_by_call, 1);
    c.victim = rig_fork(&r, victim, 0);
    c.worker = rig_process(&r, "weird-worker");
    CHECK(&r, moves(&r, VICTIM, PROGRESS_MS) && moves(&r, CALLS, PROGRESS_MS), "all work");
    survey(&c, CLIENT, c.victim, 1500);
    survey(&c, WORKER, c.worker, 1500);
    (void)printf("%u instants on the way of a client and of the worker\n", c.cnt);
    (void)unreached(&c);
    CHECK(&r, c.cnt > 50, "the survey found them");
    for (unsigned round = 0; round < c.rounds; round++) {
        all_instants(&c);
    }
    weir_store_release_u32(&r.shared->stop, 1);
    CHECK_INT(&r, rig_wait(c.victim, 10000), 0);
    CHECK_INT(&r, rig_wait(neighbour[0], 10000), 0);
    CHECK_INT(&r, rig_wait(neighbour[1], 20000), 0);
    for (unsigned w = 0; w < WHOM_CNT; w++) {
        for (unsigned e = 0; e < ENDING_CNT; e++) {
            (void)printf("%s %s: %u\n", whom_text[w], ending_text[e], c.tally.tried[w][e]);
        }
    }
    (void)printf("%u not reached in time; a dead client's index back after %.1f ms at worst, calls "
                 "after a worker's death %.1f ms at worst\n",
                 c.tally.missed, (double)c.tally.reaped_worst_ns / 1e6,
                 (double)c.tally.back_worst_ns / 1e6);
    CHECK(&r, c.tally.missed * 5 < c.cnt * ENDING_CNT * c.rounds, "most instants were reached");
    nothing_left(&c);
    audited_once(&c);
    rig_orders_check(&r, true);
    CHECK_INT(&r, rig_report(&r, "violations"), 0);
    CHECK(&r, now_at(&r, DONE) > 100, "the neighbour's calls were made");
    weir_close(c.look);
    CHECK_INT(&r, rig_weird_stop(&r, 15000), 0);
    return rig_close(&r);
}
