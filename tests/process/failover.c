/*
 * failover.c: the endpoint that serves is struck by each of eight faults under 100 callers, and another one takes over. What is lost meanwhile, and for how long?
 *
 * Two real nginx (edge.h) in front of one weir-sim, which keeps the only book of orders. `balance: failover`, so that all calls are at the first one. The callers live in four
 * processes; each call in ten is an order. A fault strikes, stays for longer than any call's deadline, and ends; at the end orders that were stuck in it arrive, if they do.
 *
 * Oracle: the book. Each order ends exactly once, by a named outcome; what ended as done is in it, what ended as not sent is not; none is there twice. Of calls that may be made
 * twice SHARE_MIN end well. Times are printed; what is judged of them is bounded by seconds.
 *
 *   failover WEIR-SIM WEIRD NAMES-SO|- [SEED] [--long] [--rounds N] [--only FAULT]      --long: ten rounds, the table of docs/http.md
 */
#include "crowd.h"
#include "edge.h"
#include "scene.h"

#include "shm/weir_health.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define ROUNDS_MAX 32U
#define SHARE_MIN  0.9995
#define BEFORE_NS  (500 * WEIR_NS_PER_MS)
#define BOUND_NS   (3 * rig_slowness() * WEIR_NS_PER_S) /* of what is judged: this is no benchmark */

static struct {
    const char *names_so; /* NULL: not in this build */
    const char *only;
    unsigned rounds, hold_ms;
    bool is_long;
} plan;

/* ---------------------------------------------------------------------------------------------- the stage, and the faults */

struct stage {
    struct rig *r;
    struct weir *w; /* the test's own look at the board */
    uint16_t exchange_port;
    struct edge edge[2];
    struct forwarder forwarder;
    struct edge_names *names;
};

struct fault {
    const char *name;
    void (*strike)(struct stage *s);
    void (*end)(struct stage *s);
    bool tls, forwarded, named;
    const char *ttl; /* of the name; NULL: 1s */
    bool told;       /* it strikes when strike() returns, not when it is called */
};

static void killed(struct stage *s)
{
    edge_signal(&s->edge[0], SIGKILL);
}

static void started(struct stage *s)
{
    edge_start(s->r, &s->edge[0], s->exchange_port);
}

static void stopped(struct stage *s)
{
    edge_signal(&s->edge[0], SIGSTOP);
}

static void continued(struct stage *s)
{
    edge_signal(&s->edge[0], SIGCONT);
}

static void mode(struct stage *s, enum forward_mode m)
{
    weir_store_release_u32(s->forwarder.mode, m);
}

static void swallowed(struct stage *s)
{
    mode(s, FORWARD_NOTHING);
}

static void reset(struct stage *s)
{
    mode(s, FORWARD_RESET);
}

static void slowed(struct stage *s)
{
    mode(s, FORWARD_SLOW);
}

static void halved(struct stage *s)
{
    mode(s, FORWARD_HALF);
}

static void forwarded(struct stage *s)
{
    mode(s, FORWARD_ALL);
}

/* NAME.pem and NAME.key become good.pem and good.key, or (`back`) the other way round. */
static void certificate_move(const struct stage *s, bool back)
{
    static const char *const suffix[] = {"pem", "key"};
    for (unsigned i = 0; i < WEIR_ARRAY_CNT(suffix); i++) {
        char own[160];
        char good[160];
        (void)snprintf(own, sizeof own, "%s/a.%s", s->r->dir, suffix[i]);
        (void)snprintf(good, sizeof good, "%s/good.%s", s->r->dir, suffix[i]);
        (void)rename(back ? good : own, back ? own : good);
    }
}

/* The master takes the new certificate, and lets the old connections end. */
static void mistrusted(struct stage *s)
{
    certificate_move(s, false);
    edge_certificate(s->r, &s->edge[0], "IP:127.0.0.1");
    edge_reload(s->r, &s->edge[0]);
}

static void trusted(struct stage *s)
{
    certificate_move(s, true);
    edge_reload(s->r, &s->edge[0]);
}

static void named(struct stage *s, const char *address)
{
    (void)snprintf(s->names->address, sizeof s->names->address, "%s", address);
}

/* The name leads where nobody listens. It strikes when the worker has asked again, address_ttl later at most. */
static void renamed(struct stage *s)
{
    const struct weir_shm_endpoint *e =
        rig_board(s->w, WEIR_SECTION_ENDPOINT, sizeof(struct weir_shm_endpoint));
    named(s, "127.0.0.2");
    for (unsigned i = 0; i < 20000 && strcmp(e->address, "127.0.0.2") != 0; i++) {
        (void)usleep(200);
    }
}

static void named_well(struct stage *s)
{
    named(s, "127.0.0.1");
}

static const struct fault faults[] = {
    {.name = "kill -9", .strike = killed, .end = started},
    {.name = "SIGSTOP", .strike = stopped, .end = continued},
    {.name = "blackhole", .strike = swallowed, .end = forwarded, .forwarded = true},
    {.name = "RST", .strike = reset, .end = forwarded, .forwarded = true},
    {.name = "slow", .strike = slowed, .end = forwarded, .forwarded = true},
    {.name = "half-body", .strike = halved, .end = forwarded, .forwarded = true},
    {.name = "wrong TLS", .strike = mistrusted, .end = trusted, .tls = true, .told = true},
    {.name = "DNS change", .strike = renamed, .end = named_well, .named = true, .told = true},
};

/* The host moves: it dies where it was, and the name leads to where it is now. Its address counts for an hour: weir asks again because it does not get there. */
static void moved(struct stage *s)
{
    edge_signal(&s->edge[0], SIGKILL);
    s->edge[0].host = "127.0.0.2";
    named(s, "127.0.0.2");
    edge_start(s->r, &s->edge[0], s->exchange_port);
}

static void stays(struct stage *s)
{
    (void)s;
}

static const struct fault move = {
    .name = "host moves", .strike = moved, .end = stays, .named = true, .ttl = "1h"};

/* As somebody writes it who wants to go on trading. */
static void configure(struct stage *s, const struct fault *f)
{
    static const char yaml[] =
        "broker: {name: rig, log: info}\n"
        "providers:\n"
        "  - name: sim\n"
        "    clock: {source: host, error: 1ms, max_jitter: 10ms}\n"
        "    limits: [{name: bucket, kind: token_bucket, quota: 100000, window: 1s}]\n"
        "    balance: failover\n"
        "    breaker: {failures: 5, window: 10s, part: 50%%, open: 500ms, probes: 1}\n"
        "    retry: {attempts: 3, base: 10ms, factor: 2, jitter: 25%%, max: 200ms, budget: 20%%}\n"
        "    hedge: {after: p95, budget: 10%%}\n"
        "    health: {path: /api/v3/time, interval: 1s}\n"
        "    endpoints:\n"
        "      - {name: a, url: \"%s://%s:%u\", connections: 128, warm: 8%s}\n"
        "      - {name: b, url: \"%s://127.0.0.1:%u\", connections: 128, warm: 8%s}\n"
        "    routes:\n"
        "      - {name: ping, method: GET, path: /api/v3/ping, cost: {bucket: 1}, "
        "max_response: 4KiB}\n"
        "      - {name: ask, method: GET, path: /api/v3/order, cost: {bucket: 1}, "
        "max_response: 4KiB}\n"
        "      - name: order\n"
        "        method: POST\n"
        "        path: /api/v3/order\n"
        "        cost: {bucket: 1}\n"
        "        max_response: 4KiB\n"
        "        doubt: {id: newClientOrderId, in: form, route: ask, found: clientOrderId, "
        "patience: 500ms, interval: 50ms,\n"
        "          query: \"symbol={symbol}&origClientOrderId={id}\"}\n";
    static char text[4096];
    char ca[2][160] = {"", ""};
    const char *const scheme = f->tls ? "https" : "http";
    for (unsigned i = 0; f->tls && i < 2; i++) {
        (void)snprintf(ca[i], sizeof ca[i], ", ca_file: %s/%s.ca.pem", s->r->dir, s->edge[i].name);
    }
    if (f->named) {
        (void)snprintf(ca[0], sizeof ca[0], ", address_ttl: %s", f->ttl != NULL ? f->ttl : "1s");
    }
    (void)snprintf(text, sizeof text, yaml, scheme, f->named ? "edge.weir.test" : "127.0.0.1",
                   f->forwarded ? s->forwarder.port : s->edge[0].port, ca[0], scheme,
                   s->edge[1].port, ca[1]);
    rig_config(s->r, text, 0);
    (void)snprintf(text, sizeof text, "%s/rig/state", s->r->dir);
    (void)unlink(text);
}

static void stage_open(struct stage *s, const struct fault *f)
{
    struct rig *r = s->r;
    for (unsigned i = 0; i < 2; i++) {
        s->edge[i] = (struct edge){.name = i == 0 ? "a" : "b", .tls = f->tls};
        if (f->tls) {
            edge_certificate(r, &s->edge[i], "IP:127.0.0.1");
        }
        edge_start(r, &s->edge[i], s->exchange_port);
    }
    if (f->forwarded) {
        forwarder_start(r, &s->forwarder, s->edge[0].port);
    }
    named(s, "127.0.0.1");
    configure(s, f);
    if (f->named) {
        (void)setenv("LD_PRELOAD", plan.names_so, 1);
    }
    rig_weird_spawn(r);
    (void)unsetenv("LD_PRELOAD");
    s->w = rig_attach(r, WEIR_ROLE_MONITOR);
}

static void stage_close(struct stage *s, const struct fault *f)
{
    weir_close(s->w);
    CHECK_INT(s->r, rig_weird_stop(s->r, 10000), 0);
    if (f->forwarded) {
        (void)kill(s->forwarder.pid, SIGKILL);
        (void)rig_wait(s->forwarder.pid, 5000);
        (void)munmap(s->forwarder.mode, sizeof *s->forwarder.mode);
    }
    for (unsigned i = 0; i < 2; i++) {
        edge_signal(&s->edge[i], SIGKILL);
    }
}

/* ---------------------------------------------------------------------------------------------- what came of it */

/* One fault, from its strike to its end. */
struct round {
    uint64_t struck_ns, over_ns;
    uint64_t board_ns; /* the board says so first; 0: never */
};

struct judged {
    double detect_ms, switch_ms, back_ms, p99_ms;
    double wait_ms; /* the longest, of calls that may be made twice */
    unsigned calls, good, orders, found, unknown, unsent;
};

static bool is_good(const struct crowd_record *a)
{
    return a->result == WEIR_RESULT_DONE && a->status == 200;
}

static double ms_since(uint64_t from_ns, uint64_t at_ns)
{
    return at_ns == UINT64_MAX ? -1 : ((double)at_ns - (double)from_ns) / 1e6;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return x < y ? -1 : x > y;
}

/* Of `cnt` numbers, which are put in order: the one that `part` of them are not above. */
static double rank(double *of, unsigned cnt, double part)
{
    qsort(of, cnt, sizeof *of, by_value);
    unsigned at = cnt > 0 ? (unsigned)(part * cnt + 0.999999) : 0;
    return cnt > 0 ? of[at > 0 ? at - 1 : 0] : 0;
}

struct look {
    const struct round *round;
    struct judged j;
    uint64_t other_ns, good_ns, back_ns;
    double *before;
    unsigned before_cnt;
};

static void order_look(struct judged *j, const struct crowd_record *a)
{
    j->orders++;
    j->found += a->doubt == WEIR_DOUBT_FOUND;
    j->unknown += a->result == WEIR_RESULT_OUTCOME_UNKNOWN;
    j->unsent += a->sends == 0;
}

static void record_look(const struct crowd_record *a, void *arg)
{
    struct look *l = arg;
    const struct round *x = l->round;
    const double took_ms = (double)(a->ended_ns - a->began_ns) / 1e6;
    if (!a->order && a->ended_ns < x->struck_ns && a->ended_ns >= x->struck_ns - BEFORE_NS) {
        l->before[l->before_cnt++] = took_ms;
    }
    if (a->began_ns > x->over_ns && a->endpoint == 0 && is_good(a)) {
        l->back_ns = weir_min_u64(l->back_ns, a->ended_ns);
    }
    if (a->ended_ns < x->struck_ns || a->began_ns > x->over_ns) {
        return;
    }
    if (a->order) {
        order_look(&l->j, a);
        return;
    }
    l->j.calls++;
    l->j.good += is_good(a);
    l->j.wait_ms = took_ms > l->j.wait_ms ? took_ms : l->j.wait_ms;
    if (!is_good(a) && plan.is_long) {
        (void)printf("  lost: %s after %.0f ms, status %u, endpoint %u, sends %u, began %.0f ms\n",
                     weir_result_text(a->result), took_ms, a->status, a->endpoint, a->sends,
                     ((double)a->began_ns - (double)x->struck_ns) / 1e6);
    }
    if (a->began_ns >= x->struck_ns && a->endpoint == 1 && is_good(a)) {
        l->good_ns = weir_min_u64(l->good_ns, a->ended_ns);
        l->other_ns = a->sends == 1 ? weir_min_u64(l->other_ns, a->sent_ns) : l->other_ns;
    }
}

static struct judged judge(const struct round *x)
{
    struct look l = {
        .round = x, .other_ns = UINT64_MAX, .good_ns = UINT64_MAX, .back_ns = UINT64_MAX};
    l.before = calloc((size_t)CROWD_PROCESSES * CROWD_RECORDS_MAX, sizeof *l.before);
    if (l.before == NULL) {
        exit(99);
    }
    if (x->board_ns != 0) {
        l.other_ns = x->board_ns;
    }
    crowd_each(record_look, &l);
    l.j.p99_ms = rank(l.before, l.before_cnt, 0.99);
    l.j.detect_ms = ms_since(x->struck_ns, l.other_ns);
    l.j.switch_ms = ms_since(x->struck_ns, l.good_ns);
    l.j.back_ms = ms_since(x->over_ns, l.back_ns);
    free(l.before);
    return l.j;
}

/* ---------------------------------------------------------------------------------------------- rounds */

static bool board_says(const struct stage *s)
{
    const struct weir_shm_health *h =
        rig_board(s->w, WEIR_SECTION_HEALTH, sizeof(struct weir_shm_health));
    /* relaxed: a picture */
    return (weir_load_relaxed_u32(&h->flags) &
            (WEIR_HEALTH_EJECTED | WEIR_HEALTH_DOWN | WEIR_HEALTH_SUSPECT)) != 0 ||
           weir_breaker_state_of(weir_load_relaxed_u64(&h->breaker)) != WEIR_BREAKER_CLOSED;
}

/* Wait until the last `BEFORE_NS` were all the first one's, but for hedges, and nothing speaks against it. */
static bool settled(const struct stage *s, unsigned limit_ms)
{
    uint64_t end_ns = rig_now_ns() + limit_ms * WEIR_NS_PER_MS;
    uint64_t since_ns = 0;
    while (rig_now_ns() < end_ns) {
        uint32_t good = 0;
        for (unsigned p = 0; p < CROWD_PROCESSES; p++) {
            const struct crowd_record *a = crowd_last(p);
            good += a != NULL && is_good(a) &&
                    (a->endpoint == 0 || a->sends > 1 || a->doubt != WEIR_DOUBT_NONE);
        }
        since_ns = good < CROWD_PROCESSES || board_says(s) ? 0
                   : since_ns == 0                         ? rig_now_ns()
                                                           : since_ns;
        if (since_ns != 0 && rig_now_ns() - since_ns > BEFORE_NS + 100 * WEIR_NS_PER_MS) {
            return true;
        }
        rig_sleep_ms(5);
    }
    return false;
}

static struct round strike(struct stage *s, const struct fault *f)
{
    struct round x = {.struck_ns = rig_now_ns()};
    f->strike(s);
    if (f->told) {
        x.struck_ns = rig_now_ns();
    }
    while (rig_now_ns() < x.struck_ns + plan.hold_ms * WEIR_NS_PER_MS) {
        x.board_ns = x.board_ns == 0 && board_says(s) ? rig_now_ns() : x.board_ns;
        (void)usleep(x.board_ns == 0 ? 200 : 2000);
    }
    x.over_ns = rig_now_ns();
    f->end(s);
    return x;
}

struct row {
    double detect_ms[ROUNDS_MAX], switch_ms[ROUNDS_MAX], back_ms[ROUNDS_MAX], p99_ms[ROUNDS_MAX];
    double wait_ms;
    unsigned cnt, calls, good, orders, found, unknown, unsent;
};

static void row_add(struct row *row, const struct judged *j)
{
    row->detect_ms[row->cnt] = j->detect_ms;
    row->switch_ms[row->cnt] = j->switch_ms;
    row->back_ms[row->cnt] = j->back_ms;
    row->p99_ms[row->cnt] = j->p99_ms;
    row->wait_ms = j->wait_ms > row->wait_ms ? j->wait_ms : row->wait_ms;
    row->cnt++;
    row->calls += j->calls;
    row->good += j->good;
    row->orders += j->orders;
    row->found += j->found;
    row->unknown += j->unknown;
    row->unsent += j->unsent;
}

static double share(const struct row *row)
{
    return row->calls > 0 ? (double)row->good / row->calls : 0;
}

/* rank() puts in order: one call of it at a time. */
static void row_print(const char *name, struct row *row)
{
    const double p99_ms = rank(row->p99_ms, row->cnt, 0.5);
    const double detect_ms = rank(row->detect_ms, row->cnt, 0.5);
    const double half_ms = rank(row->switch_ms, row->cnt, 0.5);
    const double most_ms = rank(row->switch_ms, row->cnt, 0.99);
    const double back_ms = rank(row->back_ms, row->cnt, 0.5);
    (void)printf("| %s | %.0f | %.1f | %.1f | %.1f | %u | %.3f %% | %.0f | %u | 0 | %u | %u | %.0f "
                 "|\n",
                 name, p99_ms, detect_ms, half_ms, most_ms, row->calls, 100 * share(row),
                 row->wait_ms, row->orders, row->found, row->unknown, back_ms);
    (void)fflush(stdout);
}

static void row_head(void)
{
    (void)printf(
        "| fault | p99 before, ms | seen, ms | first good answer, p50 | p99 | calls | good "
        "| longest, ms | orders | doubled | found | unknown | back, ms |\n"
        "|--|--|--|--|--|--|--|--|--|--|--|--|--|\n");
}

static void fault_run(struct stage *s, const struct fault *f, struct row *row)
{
    struct rig *r = s->r;
    struct round x[ROUNDS_MAX];
    unsigned cnt = 0;
    stage_open(s, f);
    crowd_start(r);
    while (cnt < plan.rounds) {
        if (!settled(s, 30000)) {
            rig_check(r, false, __FILE__, __LINE__, "%s: round %u: the first is not used", f->name,
                      cnt);
            break;
        }
        x[cnt++] = strike(s, f);
    }
    if (plan.is_long) {
        (void)settled(s, 30000);
    }
    crowd_stop(s->r);
    for (unsigned i = 0; i < cnt; i++) {
        const struct judged j = judge(&x[i]);
        row_add(row, &j);
    }
    stage_close(s, f);
}

static void fault_judge(struct rig *r, const struct fault *f, struct row *row)
{
    rig_check(r, share(row) >= SHARE_MIN, __FILE__, __LINE__, "%s: %u of %u calls were good",
              f->name, row->good, row->calls);
    CHECK(r, row->calls > 0 && row->orders > 0, "%s", f->name);
    for (unsigned i = 0; i < row->cnt; i++) {
        rig_check(r, row->switch_ms[i] >= 0 && row->switch_ms[i] * 1e6 < (double)BOUND_NS, __FILE__,
                  __LINE__, "%s: %.0f ms to the first good answer", f->name, row->switch_ms[i]);
    }
    rig_orders_check(r, false); /* the exchange's book against what the callers were told */
}

/* Back at its new address in seconds, though the old one counts for an hour; nothing is lost meanwhile. */
static void move_run(struct stage *s)
{
    static struct row row;
    struct rig *r = s->r;
    row = (struct row){.cnt = 0};
    stage_open(s, &move);
    crowd_start(r);
    CHECK(r, settled(s, 30000));
    struct round x = strike(s, &move);
    CHECK(r, settled(s, 30000), "it is found where it is now");
    (void)printf("host moves: used again %.1f s after it died\n",
                 (double)(rig_now_ns() - x.struck_ns) / 1e9);
    crowd_stop(s->r);
    const struct judged j = judge(&x);
    row_add(&row, &j);
    stage_close(s, &move);
    fault_judge(r, &move, &row);
}

/*
 * Kept connections are gone, and new ones hang: the host has left the network. What was not written may go elsewhere whatever it is, so an order does, long before its deadline and
 * before 3 s, which is what a connection has where there is nobody else.
 */
static void vanished(struct stage *s)
{
    static const struct fault vanish = {.name = "host vanishes", .forwarded = true};
    struct rig *r = s->r;
    int own[4];
    stage_open(s, &vanish);
    struct weir *w = rig_attach(r, WEIR_ROLE_CALLER);
    for (unsigned i = 0; i < 6; i++) {
        struct weir_response a = {0};
        weir_ticket t = 0;
        uint32_t number = 0;
        if (i == 5) {
            mode(s, FORWARD_RESET);
            rig_sleep_ms(20);
            mode(s, FORWARD_NOTHING);
            rig_sleep_ms(20);
            for (unsigned k = 0; k < WEIR_ARRAY_CNT(own); k++) {
                own[k] =
                    forwarder_knock(&s->forwarder); /* the queue of those to be let in is full */
            }
        }
        const uint64_t began_ns = weir_now_ns(w);
        CHECK_INT(r,
                  rig_order_submit(r, w, rig_route(w, "sim.order"),
                                   began_ns + 2500 * WEIR_NS_PER_MS, &t, &number),
                  0);
        CHECK_INT(r, weir_wait(w, t, began_ns + 20 * WEIR_NS_PER_S, &a), 0);
        rig_order_ended(r, number, &a);
        CHECK_TEXT(r, weir_result_text(a.result), weir_result_text(WEIR_RESULT_DONE));
        CHECK_INT(r, a.sends, 1);
        CHECK_INT(r, a.endpoint, i == 5);
        (void)weir_release(w, t);
        if (i == 5) {
            (void)printf("host vanishes: an order is elsewhere after %.0f ms\n",
                         (double)(a.delivered_ns - began_ns) / 1e6);
        }
    }
    for (unsigned k = 0; k < WEIR_ARRAY_CNT(own); k++) {
        (void)close(own[k]);
    }
    weir_close(w);
    stage_close(s, &vanish);
    rig_orders_check(r, false);
}

static struct edge_names *names_open(struct rig *r)
{
    char path[160];
    (void)snprintf(path, sizeof path, "%s/names", r->dir);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    void *at =
        fd >= 0 && ftruncate(fd, sizeof(struct edge_names)) == 0
            ? mmap(NULL, sizeof(struct edge_names), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0)
            : MAP_FAILED;
    (void)close(fd);
    (void)setenv("WEIR_TEST_NAMES", path, 1);
    if (at == MAP_FAILED) {
        exit(99);
    }
    return at;
}

static char **options(int *argc, char **argv)
{
    static char *left[16];
    int cnt = 0;
    for (int i = 0; i < *argc && cnt < 15; i++) {
        if (strcmp(argv[i], "--long") == 0) {
            plan.is_long = true;
        } else if (strcmp(argv[i], "--rounds") == 0 && i + 1 < *argc) {
            plan.rounds = (unsigned)atoi(argv[++i]);
        } else if (strcmp(argv[i], "--only") == 0 && i + 1 < *argc) {
            plan.only = argv[++i];
        } else if (i == 3) {
            plan.names_so = strcmp(argv[i], "-") != 0 ? argv[i] : NULL;
        } else {
            left[cnt++] = argv[i];
        }
    }
    *argc = cnt;
    return left;
}

int main(int argc, char **argv)
{
    static struct rig r;
    static struct stage s;
    static struct row row[WEIR_ARRAY_CNT(faults)];
    char **left = options(&argc, argv);
    plan.rounds = plan.rounds > 0 && plan.rounds < ROUNDS_MAX ? plan.rounds : plan.is_long ? 10 : 1;
    const uint64_t deadline_ns = (rig_sanitized() || rig_slowness() > 1 ? 3 : 1) * WEIR_NS_PER_S;
    plan.hold_ms = (unsigned)(deadline_ns / WEIR_NS_PER_MS) + 200;
    rig_open(&r, "failover", argc, left, plan.is_long ? 3000 : 110);
    /* Not more than a slow worker can do: connections over TLS that are given up at the deadline, and begun again, are all it did then. */
    crowd_open(deadline_ns, (plan.is_long ? 20 : 60) * rig_slowness());
    s.r = &r;
    s.names = names_open(&r);
    rig_sim_start(&r, "{\"limits\": [], \"latency_ms\": 15, \"jitter_ms\": 10}");
    s.exchange_port = r.port;
    for (size_t i = 0; i < WEIR_ARRAY_CNT(faults); i++) {
        if ((plan.only != NULL && strcmp(plan.only, faults[i].name) != 0) ||
            (faults[i].named && plan.names_so == NULL)) {
            continue;
        }
        RIG_SCENE (&r, 300) {
            row[i] = (struct row){.cnt = 0};
            fault_run(&s, &faults[i], &row[i]);
            fault_judge(&r, &faults[i], &row[i]);
        }
        row_head();
        row_print(faults[i].name, &row[i]);
    }
    if (plan.only == NULL || strcmp(plan.only, "host vanishes") == 0) {
        RIG_SCENE (&r, 100) {
            vanished(&s);
        }
    }
    if (plan.names_so != NULL && (plan.only == NULL || strcmp(plan.only, move.name) == 0)) {
        RIG_SCENE (&r, 300) {
            move_run(&s);
        }
    }
    if (plan.only == NULL) {
        (void)printf("\n");
        row_head();
        for (size_t i = 0; i < WEIR_ARRAY_CNT(faults); i++) {
            if (row[i].cnt > 0) {
                row_print(faults[i].name, &row[i]);
            }
        }
    }
    return rig_close(&r);
}
