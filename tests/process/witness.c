/*
 * A real server as the witness of what left this machine: nginx stands before the simulator, and brokered orders and reads go through it, each with a number of its
 * own in its query. Meanwhile clients, the worker and the supervisor are killed (-9) at random, and weird is taken over and started again.
 *
 *   witness WEIR-SIM WEIRD [SEED] [--long | --rounds=N]     --long: 8 rounds instead of one, three minutes
 *
 * The oracle is nginx's access log, one line per request that it read, also where the one who sent it died before the answer. What must hold, by number:
 *
 *   an order   done: 1 line. Outcome unknown, or a client that died or lost its broker before it heard: 0 or 1. Anything else (refused, expired, cancelled,
 *              rejected, not sent, no room): 0. Never 2
 *   a read     done: 1 line at least; its outcome is never unknown. At most as many as the answer's `sends`: each passage of the send gate writes once. A read is repeated only by a new worker
 *              that finds it under way within its deadline, and by curl on a connection that died; nginx lets none die here
 *   nobody's   a line without a number, or with one that was never handed over: none
 *
 * And by sums, against what weir says of itself:
 *
 *   lines <= `sent` of the endpoint on the board. Where no worker is killed they are equal; else they differ by no more than the calls that a new worker
 *         found under way (event call_recovered) and what was in flight when both were killed
 *   ENDED records of the audit, by route: as many `done` as lines where no worker is killed; else done <= lines, and orders: lines <= done + unknown + in
 *         flight when both were killed
 *   permits that the audit shows (GRANTED less GIVEN_BACK) >= lines: nothing left without one
 *   orders that the simulator behind nginx took = lines of orders; duplicates 0, violations 0
 */
#include "judge.h"

#include "shm/weir_audit.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define NUMBERS_MAX 400000U
#define RECORDS     120000U
#define SURVIVORS   2U
#define VICTIMS     4U
#define STRATEGIES  (SURVIVORS + VICTIMS)
#define FLIGHT      5U
#define LONG_ROUNDS 8U
#define PATIENCE_NS ((rig_slowness() > 1 ? 15 : 4) * WEIR_NS_PER_S) /* until both count as dead */

/* What became of a number, as its strategy heard: 0 never handed over, else a result, or one of these. */
enum { NOT_HEARD = 100, BROKER_LOST = 101 };

struct told {
    uint32_t state;
    uint32_t sends;
    uint32_t is_order;
};

static struct told *told; /* shared by all */

/* Indices of rig_shared.count. */
enum { NEXT = 0, REOPENED = 1, DONE = 2, UNKNOWN = 3, OTHER = 4, LOST = 5, REPEATED = 6 };

static const char yaml[] =
    "broker: {name: rig, log: info, wake: adaptive, audit: 120000, domains: [{clients: 16}]}\n"
    "providers:\n"
    "  - name: sim\n"
    "    clock: {source: host, error: 1ms, max_jitter: 100ms}\n" /* no call of weird's own: every line is a client's */
    "    limits:\n"
    "      - {name: weight, kind: fixed_window, quota: 4000, window: 2s, scope: ip}\n"
    "      - {name: orders, kind: fixed_window, quota: 2000, window: 2s, scope: account}\n"
    "    endpoints:\n"
    "      - {name: nginx, url: \"http://127.0.0.1:$PORT2\", connections: 24}\n"
    "    routes:\n"
    "      - {name: ping, method: GET, path: /api/v3/ping, cost: {weight: 1}, timeout: 3s}\n"
    "      - {name: order, method: POST, path: /api/v3/order, cost: {weight: 1, orders: 1}, "
    "timeout: 3s, priority: critical}\n";
enum { PING, ORDER, ROUTES };

static const char sim[] =
    "{\"latency_ms\": 2, \"jitter_ms\": 8, \"ban_after\": 3, \"limits\": [{\"name\": \"weight\", "
    "\"kind\": \"fixed_window\", \"quota\": 4000, \"window_ms\": 2000}, {\"name\": \"orders\", "
    "\"kind\": \"fixed_window\", \"quota\": 2000, \"window_ms\": 2000, \"scope\": \"key\", "
    "\"counts\": \"orders\"}]}";

/* ---------------------------------------------------------------------------------------------- strategies */

static bool going(struct rig *r)
{
    return weir_load_acquire_u32(&r->shared->stop) == 0;
}

static void count(struct rig *r, unsigned what)
{
    weir_fetch_add_u32(&r->shared->count[what], 1);
}

static struct weir *attach(struct rig *r, int arg)
{
    struct weir_open_opts opts = {.role = arg % 2 == 0 ? WEIR_ROLE_CALLER : WEIR_ROLE_TRADER,
                                  .patience_ns = 20 * WEIR_NS_PER_S};
    struct weir_diag diag = {0};
    int rc;
    struct weir *w = rig_attach_opts(r, &opts, &diag, &rc);
    if (w == NULL && going(r)) {
        (void)printf("FAILED: cannot attach: %d %s\n", rc, diag.text);
    }
    return w;
}

/* Hand over one call with a number of its own. Its row says so before, because we may be killed behind it. */
static int submit(struct rig *r, struct weir *w, const weir_route_id route[ROUTES],
                  weir_ticket *ticket, uint32_t *number)
{
    char query[32];
    char body[64];
    uint32_t n = weir_fetch_add_u32(&r->shared->count[NEXT], 1);
    bool order = rig_random(r, 2) == 0;
    if (n >= NUMBERS_MAX) {
        return WEIR_E_MEMORY;
    }
    (void)snprintf(query, sizeof query, "id=%u", n);
    int bytes = snprintf(body, sizeof body, "symbol=BTCUSDT&side=BUY&newClientOrderId=o-%u", n);
    const struct weir_request_spec spec = {.struct_bytes = sizeof spec,
                                           .route = route[order ? ORDER : PING],
                                           .query = query,
                                           .body = order ? body : NULL,
                                           .body_bytes = order ? (size_t)bytes : 0,
                                           .deadline_ns = weir_now_ns(w) + 2 * WEIR_NS_PER_S};
    *number = n;
    told[n].is_order = order;
    weir_store_release_u32(&told[n].state, NOT_HEARD);
    int rc = weir_submit(w, &spec, ticket);
    if (rc != 0) {
        weir_store_release_u32(&told[n].state, 0);
    }
    return rc;
}

static void heard(struct rig *r, uint32_t n, int rc, const struct weir_response *a)
{
    uint32_t state = rc == 0 ? (uint32_t)a->result : BROKER_LOST;
    told[n].sends = rc == 0 ? a->sends : 0;
    if (weir_xchg_u32(&told[n].state, state) != NOT_HEARD) {
        (void)printf("FAILED: %u ended twice\n", n);
        count(r, REPEATED);
    }
    count(r, state == WEIR_RESULT_DONE              ? DONE
             : state == WEIR_RESULT_OUTCOME_UNKNOWN ? UNKNOWN
             : state == BROKER_LOST                 ? LOST
                                                    : OTHER);
    if (state == WEIR_RESULT_REFUSED) {
        rig_sleep_ms(1); /* a full window refuses at once */
    }
}

/* Rounds of calls until the test says stop, or the broker is lost: then once more from the beginning. */
static int rounds(struct rig *r, struct weir *w)
{
    const weir_route_id route[ROUTES] = {
        [PING] = rig_route(w, "sim.ping"), [ORDER] = rig_route(w, "sim.order")};
    uint64_t well_ns = rig_now_ns();
    while (going(r)) {
        weir_ticket ticket[FLIGHT];
        uint32_t number[FLIGHT];
        unsigned cnt = 0;
        while (cnt < FLIGHT && submit(r, w, route, &ticket[cnt], &number[cnt]) == 0) {
            cnt++;
        }
        for (unsigned i = 0; i < cnt; i++) {
            struct weir_response a;
            int rc =
                weir_wait(w, ticket[i], weir_now_ns(w) + 6 * rig_slowness() * WEIR_NS_PER_S, &a);
            if (rc != 0 && rc != WEIR_E_STALE) {
                (void)printf("FAILED: wait: %d %s\n", rc,
                             rc > 0 ? "it goes on" : weir_strerror(rc));
                return -1;
            }
            heard(r, number[i], rc, &a);
            (void)weir_release(w, ticket[i]);
        }
        if (weir_check(w) == 0) {
            well_ns = rig_now_ns();
        } else if (rig_now_ns() - well_ns > PATIENCE_NS) {
            return 1; /* nobody took over: both are dead */
        }
        rig_sleep_ms(cnt == FLIGHT ? 0 : 5);
    }
    return 0;
}

static int strategy(struct rig *r, int arg)
{
    int rc = 1;
    while (rc == 1 && going(r)) {
        struct weir *w = attach(r, arg);
        if (w == NULL) {
            return going(r) ? 1 : 0;
        }
        rc = rounds(r, w);
        weir_close(w);
        count(r, REOPENED);
    }
    return rc < 0 ? 1 : 0;
}

/* ---------------------------------------------------------------------------------------------- what weir says of itself */

struct account {
    uint64_t sent;
    uint64_t done[ROUTES], unknown[ROUTES], other[ROUTES]; /* ENDED records */
    uint64_t counted_done[ROUTES];                         /* route counters */
    int64_t permits;                                       /* GRANTED less GIVEN_BACK */
    uint64_t missing;                                      /* records that are not there */
    uint64_t struck;                                       /* found under way by a new worker */
    uint64_t cut;                                          /* at most: in flight when both died */
};

static void ended_add(struct account *a, const struct weir_shm_audit_record *x)
{
    uint32_t result = x->detail & 0xffffU;
    a->done[x->route] += result == WEIR_RESULT_DONE;
    a->unknown[x->route] += result == WEIR_RESULT_OUTCOME_UNKNOWN;
    a->other[x->route] += result != WEIR_RESULT_DONE && result != WEIR_RESULT_OUTCOME_UNKNOWN;
}

/* Add what a board says whose broker has ended. The mapping outlives it. */
static void account_add(struct rig *r, const struct weir *looks, struct account *a)
{
    const struct weir_shm_endpoint *e =
        rig_board(looks, WEIR_SECTION_ENDPOINT, sizeof(struct weir_shm_endpoint));
    const struct weir_shm_route_stats *route =
        rig_board(looks, WEIR_SECTION_ROUTE, sizeof(struct weir_shm_route_stats));
    const struct weir_shm_audit *head = rig_board(looks, WEIR_SECTION_AUDIT, sizeof *head);
    const struct weir_shm_audit_record *record =
        rig_board(looks, WEIR_SECTION_AUDIT_RECORD, sizeof *record);
    uint64_t written = weir_load_acquire_u64(&head->written);
    CHECK(r, written <= RECORDS, "%llu records: the test counts all", (unsigned long long)written);
    a->sent += weir_load_relaxed_u64(&e[0].sent);
    for (unsigned i = 0; i < ROUTES; i++) {
        a->counted_done[i] += weir_load_relaxed_u64(&route[i].results[WEIR_RESULT_DONE]);
    }
    for (uint64_t k = 0; k < written && k < RECORDS; k++) {
        const struct weir_shm_audit_record *x = &record[k];
        a->permits += x->kind == WEIR_AUDIT_GRANTED;
        a->permits -= x->kind == WEIR_AUDIT_GIVEN_BACK;
        a->missing += x->kind == WEIR_AUDIT_DROPPED || x->kind == WEIR_AUDIT_DAMAGED ? x->count : 0;
        if (x->kind == WEIR_AUDIT_ENDED && x->route < ROUTES) {
            ended_add(a, x);
        }
    }
}

/* Calls that a new worker found written, or about to be: weir names each. */
static uint64_t struck_since(const struct rig *r, long from)
{
    char line[4096];
    uint64_t cnt = 0;
    FILE *f = fopen(r->log, "re");
    if (f != NULL && fseek(f, from, SEEK_SET) == 0) {
        while (fgets(line, sizeof line, f) != NULL) {
            cnt +=
                strstr(line, "\"call_recovered\"") != NULL && strstr(line, "\"sent\":true") != NULL;
        }
    }
    if (f != NULL) {
        (void)fclose(f);
    }
    return cnt;
}

static long file_bytes(const char *path)
{
    long bytes = 0;
    FILE *f = fopen(path, "re");
    if (f != NULL) {
        (void)fseek(f, 0, SEEK_END);
        bytes = ftell(f);
        (void)fclose(f);
    }
    return bytes;
}

/* ---------------------------------------------------------------------------------------------- deaths */

enum blow { CLIENT, WORKER, SUPERVISOR, TAKEOVER, BOTH, BLOWS };
static const char *const blow_names[] = {"clients", "workers", "supervisors", "takeovers", "both"};

struct campaign {
    const char *name;
    unsigned blows;
    unsigned weight[BLOWS]; /* how often each, of their sum; BOTH: so many in all, in the middle */
    unsigned spread_ms;
};

struct scene {
    struct weir *looks;
    struct account account;
    pid_t pid[STRATEGIES];
    unsigned struck[BLOWS];
};

static void look_again(struct rig *r, struct scene *s)
{
    weir_close(s->looks);
    s->looks = rig_attach(r, WEIR_ROLE_MONITOR);
}

static void client_dies(struct rig *r, struct scene *s)
{
    unsigned i = SURVIVORS + rig_random(r, VICTIMS);
    (void)kill(s->pid[i], SIGKILL);
    CHECK_INT(r, rig_wait(s->pid[i], 3000), 128 + SIGKILL);
    s->pid[i] = rig_fork(r, strategy, (int)(STRATEGIES + rig_random(r, 1U << 20)));
}

/* A usual start goes on with the orphan's memory. */
static void supervisor_dies(struct rig *r, struct scene *s)
{
    pid_t worker = rig_process(r, "weird-worker");
    (void)kill(r->weird, SIGKILL);
    CHECK_INT(r, rig_wait(r->weird, 3000), 128 + SIGKILL);
    r->weird = 0;
    rig_sleep_ms(rig_random(r, 150));
    rig_weird_start(r);
    CHECK_INT(r, rig_wait(worker, 10000), 0);
    look_again(r, s);
}

static void taken_over(struct rig *r, struct scene *s)
{
    pid_t old = r->weird;
    pid_t new = rig_weird_another(r, "--takeover");
    CHECK_INT(r, rig_wait(old, 20000), 0);
    r->weird = new;
    CHECK(r, rig_process_next(r, "weird-worker", 0, 5000) > 0, "a worker");
    look_again(r, s);
}

/* Nobody is left who knows: the next broker waits the lease out and begins anew. What the board said until then stays on it. */
static void both_die(struct rig *r, struct scene *s)
{
    pid_t worker = rig_process(r, "weird-worker");
    (void)kill(r->weird, SIGSTOP);
    (void)kill(worker, SIGKILL);
    (void)kill(r->weird, SIGKILL);
    CHECK_INT(r, rig_wait(r->weird, 3000), 128 + SIGKILL);
    CHECK_INT(r, rig_wait(worker, 3000), 128 + SIGKILL);
    r->weird = 0;
    account_add(r, s->looks, &s->account);
    s->account.cut += (uint64_t)STRATEGIES * FLIGHT;
    rig_weird_start(r);
    look_again(r, s);
}

static enum blow draw(struct rig *r, const struct campaign *c)
{
    unsigned sum = 0;
    for (unsigned b = 0; b < BOTH; b++) {
        sum += c->weight[b];
    }
    unsigned n = rig_random(r, sum);
    unsigned b = 0;
    while (n >= c->weight[b]) {
        n -= c->weight[b++];
    }
    return (enum blow)b;
}

static void strike(struct rig *r, struct scene *s, enum blow b)
{
    s->struck[b]++;
    switch (b) {
    case CLIENT:
        client_dies(r, s);
        break;
    case WORKER:
        rig_worker_kill(r);
        break;
    case SUPERVISOR:
        supervisor_dies(r, s);
        break;
    case TAKEOVER:
        taken_over(r, s);
        break;
    case BOTH:
    case BLOWS:
        both_die(r, s);
        break;
    }
}

/* ---------------------------------------------------------------------------------------------- what nginx says */

struct lines {
    uint8_t *of; /* by number */
    uint64_t orders, reads, nobodys;
};

/* Every answer of nginx is written; one that the dead will not read is still to be fetched from the simulator. */
static void lines_await(const struct judge *j)
{
    long before = -1;
    for (int i = 0; i < 50 && before != file_bytes(j->log); i++) {
        before = file_bytes(j->log);
        rig_sleep_ms(300);
    }
}

static void lines_read(const struct judge *j, struct lines *l, uint32_t numbers)
{
    char line[512];
    FILE *f = fopen(j->log, "re");
    while (f != NULL && fgets(line, sizeof line, f) != NULL) {
        char method[16];
        unsigned n;
        bool known = sscanf(line, "%*d %*f %15s %u", method, &n) == 2 && n < numbers &&
                     (strcmp(method, "POST") == 0) == (told[n].is_order != 0);
        if (!known) {
            (void)printf("nobody's: %s", line);
            l->nobodys++;
            continue;
        }
        l->of[n] = (uint8_t)(l->of[n] + (l->of[n] < UINT8_MAX));
        l->orders += told[n].is_order != 0;
        l->reads += told[n].is_order == 0;
    }
    if (f != NULL) {
        (void)fclose(f);
    }
}

/* The rule of the file's head, for one number. */
static bool number_good(const struct told *t, unsigned lines)
{
    bool open = t->state == NOT_HEARD || t->state == BROKER_LOST;
    bool sent = t->state == WEIR_RESULT_DONE || t->state == WEIR_RESULT_OUTCOME_UNKNOWN ||
                t->state == WEIR_RESULT_TIMEOUT || t->state == WEIR_RESULT_FAILED;
    if (t->is_order) {
        return t->state == WEIR_RESULT_DONE ? lines == 1 : lines <= (open || sent ? 1U : 0U);
    }
    if (open) {
        return true; /* repeats are the account's to bound */
    }
    if (t->state == WEIR_RESULT_OUTCOME_UNKNOWN) {
        return false;
    }
    return lines <= (sent ? t->sends : 0) && (t->state != WEIR_RESULT_DONE || lines >= 1);
}

static void numbers_check(struct rig *r, const struct lines *l, uint32_t from, uint32_t to)
{
    unsigned wrong = 0;
    for (uint32_t n = from; n < to; n++) {
        if (!number_good(&told[n], l->of[n]) && wrong++ < 10) {
            (void)printf("%s %u: %s, sends %u: %u lines\n", told[n].is_order ? "order" : "read", n,
                         told[n].state == NOT_HEARD     ? "not heard"
                         : told[n].state == BROKER_LOST ? "broker lost"
                                                        : weir_result_text(told[n].state),
                         told[n].sends, l->of[n]);
        }
    }
    PROMISE_INT(r, wrong, 0);
    PROMISE_INT(r, l->nobodys, 0);
}

static void account_check(struct rig *r, const struct account *a, const struct lines *l, bool exact)
{
    const uint64_t lines[ROUTES] = {[PING] = l->reads, [ORDER] = l->orders};
    const uint64_t all = l->reads + l->orders;
    (void)printf("  nginx: %llu orders, %llu reads; weir: sent %llu, ended done %llu + %llu, order "
                 "outcomes unknown %llu, permits %lld; under way at a worker's death: %llu\n",
                 (unsigned long long)l->orders, (unsigned long long)l->reads,
                 (unsigned long long)a->sent, (unsigned long long)a->done[ORDER],
                 (unsigned long long)a->done[PING], (unsigned long long)a->unknown[ORDER],
                 (long long)a->permits, (unsigned long long)a->struck);
    PROMISE(r, all <= a->sent, "more left than weir counts as sent");
    CHECK(r, a->sent <= all + a->struck + a->cut, "sent more than left, and nobody died");
    PROMISE(r, a->permits + (int64_t)a->cut >= (int64_t)all, "nothing leaves without a permit");
    CHECK_INT(r, a->missing, 0);
    for (unsigned i = 0; i < ROUTES; i++) {
        PROMISE(r, a->done[i] <= lines[i], "route %u: done without a line", i);
        if (exact) {
            CHECK_INT(r, a->done[i], lines[i]);
            CHECK_INT(r, a->counted_done[i], lines[i]);
        }
    }
    PROMISE(r, l->orders <= a->done[ORDER] + a->unknown[ORDER] + a->cut, "an order left unnamed");
    if (exact) {
        CHECK_INT(r, a->sent, all);
        CHECK_INT(r, a->struck + a->unknown[ORDER], 0);
    }
}

/* ---------------------------------------------------------------------------------------------- a campaign */

static void blows(struct rig *r, struct scene *s, const struct campaign *c)
{
    for (unsigned i = 0; i < c->blows; i++) {
        rig_sleep_ms(20 + rig_random(r, c->spread_ms));
        strike(r, s, i == c->blows / 2 && c->weight[BOTH] > 0 ? BOTH : draw(r, c));
    }
    rig_sleep_ms(200);
}

static void campaign_end(struct rig *r, struct scene *s)
{
    weir_store_release_u32(&r->shared->stop, 1);
    for (unsigned i = 0; i < STRATEGIES; i++) {
        CHECK_INT(r, rig_wait(s->pid[i], 15000), 0);
    }
    CHECK_INT(r, rig_weird_stop(r, 15000), 0);
    account_add(r, s->looks, &s->account);
    weir_close(s->looks);
}

static void campaign_run(struct rig *r, const struct campaign *c)
{
    struct scene s = {0};
    struct judge nginx;
    uint32_t from = weir_load_acquire_u32(&r->shared->count[NEXT]);
    long log_from = file_bytes(r->log);
    double orders_before = rig_report(r, "orders.accepted");
    judge_nginx_front(r, &nginx, r->port);
    rig_config(r, yaml, nginx.port);
    weir_store_release_u32(&r->shared->stop, 0);
    rig_weird_start(r);
    s.looks = rig_attach(r, WEIR_ROLE_MONITOR);
    for (unsigned i = 0; i < STRATEGIES; i++) {
        s.pid[i] = rig_fork(r, strategy, (int)i);
    }
    blows(r, &s, c);
    campaign_end(r, &s);
    uint32_t to = weir_load_acquire_u32(&r->shared->count[NEXT]);
    CHECK(r, to <= NUMBERS_MAX, "%u calls: the test has numbers for %u", to, NUMBERS_MAX);
    struct lines l = {.of = calloc(NUMBERS_MAX, 1)};
    lines_await(&nginx);
    lines_read(&nginx, &l, to);
    s.account.struck = struck_since(r, log_from);
    (void)printf("%s:", c->name);
    for (unsigned b = 0; b < BLOWS; b++) {
        (void)printf(" %u %s", s.struck[b], blow_names[b]);
    }
    (void)printf("; %u calls\n", to - from);
    numbers_check(r, &l, from, to);
    account_check(r, &s.account, &l, s.struck[WORKER] + s.struck[BOTH] == 0);
    CHECK_INT(r, rig_report(r, "orders.accepted") - orders_before, l.orders);
    CHECK(r, l.orders > 100 && l.reads > 100, "both kinds took part");
    free(l.of);
    judge_stop(&nginx);
}

int main(int argc, char **argv)
{
    static const struct campaign exact = {
        .name = "clients, and the broker in order",
        .blows = 30,
        .weight = {[CLIENT] = 12, [SUPERVISOR] = 1, [TAKEOVER] = 2},
        .spread_ms = 100,
    };
    static const struct campaign all = {
        .name = "everybody",
        .blows = 40,
        .weight = {[CLIENT] = 8, [WORKER] = 8, [SUPERVISOR] = 2, [TAKEOVER] = 2, [BOTH] = 1},
        .spread_ms = 120,
    };
    struct rig r;
    const char *last = argv[argc - 1];
    bool more = argc > 3 && strncmp(last, "--", 2) == 0;
    unsigned rounds = strncmp(last, "--rounds=", 9) == 0 ? (unsigned)strtoul(last + 9, NULL, 10)
                      : more                             ? LONG_ROUNDS
                                                         : 1;
    rig_open(&r, "witness", argc - (more ? 1 : 0), argv, more ? 600 : 110);
    told = mmap(NULL, NUMBERS_MAX * sizeof *told, PROT_READ | PROT_WRITE,
                MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (told == MAP_FAILED) {
        return 99;
    }
    (void)printf("here the oracle is nginx's access log\n");
    rig_sim_start(&r, sim);
    for (unsigned i = 0; i < rounds; i++) {
        campaign_run(&r, &exact);
        campaign_run(&r, &all);
    }
    const uint32_t *c = r.shared->count;
    (void)printf("heard: %u done, %u unknown, %u otherwise, %u by nobody: the broker was lost; "
                 "%u attachments\n",
                 c[DONE], c[UNKNOWN], c[OTHER], c[LOST], c[REOPENED]);
    PROMISE_INT(&r, c[REPEATED], 0);
    PROMISE_INT(&r, rig_report(&r, "orders.duplicates"), 0);
    PROMISE_INT(&r, rig_report(&r, "violations"), 0);
    return rig_close(&r);
}
