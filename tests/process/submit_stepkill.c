/*
 * submit_stepkill.c: a strategy dies at every single instruction of handing a call over, of taking its answer, of taking it back, of a permit and of settling it.
 *
 *   process_submit_stepkill SIM WEIRD [SEED] [--long | --step=N | --part=N]      every Nth instruction from one by the seed on; --long: each; --part: each, of one
 *                                                                            of the parts below, counted from 0
 *
 * Real weird, real weir-sim, real libweir. A victim attaches, does what comes before, and stops itself; it is stepped k instructions by ptrace and killed, for each k until
 * the call is over. In some parts the worker stands still meanwhile, so that it finds what a death left, and nothing else. Two others work on the same limits
 * all the time, and take all that these let through.
 *
 * Oracles, after each death: the victim's index and arena are free again, its units of concurrency too; the others go on. Its order, if it was handed over, has one end in
 * the audit, or the worker had not taken it and counts it as dropped; if it died on the way it has one or none. In the end: an order is at the exchange once if its end was `done`, and not at all without an end or with one that
 * says so; no violation at the exchange; worker and supervisor are the same and have no descriptor or mapping more; nothing is taken of any limit; nothing was damaged.
 */
#include "../crash/stepper.h"
#include "holdings.h"

#include "shm/weir_audit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#define STEP        97U
#define STEPS_MAX   60000U
#define AUDITED     50000U
#define BACK_MS     5000U
#define DEATHS_MAX  100000U
#define LIMITS_MAX  16U
#define CALL_LIMIT  (3 * WEIR_NS_PER_S)
#define KNOWN_LIMIT (5 * WEIR_NS_PER_S)
#define SOON        (40 * WEIR_NS_PER_MS)

enum { ROUTE_ORDER, ROUTE_KEPT, ROUTE_OWN, ROUTE_MIX, ROUTE_PAIR, ROUTE_FEW, ROUTE_CNT };
enum { PERMITS_ASKED, PERMITS_GOT, CALLS_ENDED, CALLS_DONE };
static const char *const route_names[ROUTE_CNT] = {"sim.order", "sim.kept",   "sim.own",
                                                   "units.mix", "units.pair", "units.few"};

static const char sim[] =
    "{\"latency_ms\": 2, \"jitter_ms\": 3, \"ban_after\": 3, \"limits\": ["
    "{\"name\": \"weight\", \"kind\": \"fixed_window\", \"quota\": 200, \"window_ms\": 1000},"
    "{\"name\": \"orders\", \"kind\": \"fixed_window\", \"quota\": 100, \"window_ms\": 1000, "
    "\"scope\": \"key\", \"counts\": \"orders\"}]}";

static const char yaml[] =
    "broker: {name: rig, wake: adaptive, audit: 50000, domains: [{clients: 40}]}\n"
    "providers:\n"
    "  - name: sim\n"
    "    clock: {source: host, error: 1ms, max_jitter: 100ms}\n"
    "    limits:\n"
    "      - {name: weight, kind: fixed_window, quota: 200, window: 1s, scope: ip, headroom: "
    "{critical: 40%}}\n"
    "      - {name: orders, kind: fixed_window, quota: 100, window: 1s, scope: account, headroom: "
    "{critical: 60%}}\n"
    "    endpoints:\n"
    "      - {name: a, url: \"http://127.0.0.1:$PORT\", connections: 16}\n"
    "    routes:\n"
    "      - {name: order, method: POST, path: /api/v3/order, cost: {weight: 1, orders: 1}, "
    "timeout: 3s}\n"
    "      - {name: kept, method: GET, path: /api/v3/time, cost: {weight: 1}, timeout: 3s, share: "
    "public, cache: 1h}\n"
    "      - {name: own, transport: own, cost: {weight: 1}}\n"
    "  - name: units\n"
    "    clock: {source: host, error: 1ms, max_jitter: 10ms}\n"
    "    limits:\n"
    "      - {name: cells, kind: sliding_window, quota: 100, window: 1s}\n"
    "      - {name: parts, kind: sliding_window, quota: 50000, window: 1s}\n"
    "      - {name: open, kind: concurrency, quota: 8}\n"
    "      - {name: wide, kind: fixed_window, quota: 500, window: 1s}\n"
    "      - {name: drops, kind: token_bucket, quota: 500, window: 1s, burst: 500}\n"
    "    endpoints:\n"
    "      - {name: b, url: \"http://127.0.0.1:$PORT\", connections: 1}\n"
    "    routes:\n"
    "      - {name: mix, transport: own, cost: {cells: 2, parts: 50, open: 1}}\n"
    "      - {name: few, transport: own, cost: {cells: 2, open: 1}}\n"
    "      - {name: pair, transport: own, cost: {wide: 1, drops: 2}}\n";

/* What the victim tells, on a page of both. */
static struct told {
    volatile uint32_t client; /* its index */
    volatile int32_t handed;  /* its order: 1 weir_submit has returned WEIR_OK; -1 it was refused */
    volatile uint32_t number; /* of its order */
    volatile int32_t taken_back; /* perhaps */
    volatile int32_t
        over; /* what is stepped has returned: 1 + what it returned, as a positive number */
    volatile int32_t unfit; /* what comes before did not succeed: another try */
} * told;

/* ---------------------------------------------------------------------------------------------- the victim */

static struct rig *the_rig;
static weir_route_id route[ROUTE_CNT];

static struct {
    struct weir *w;
    weir_ticket ticket;
    struct weir_response answer;
    struct weir_permit permit;
    struct weir_outcome outcome;
    struct weir_request_spec spec;
    char body[96];
} v;

static void unfit(void)
{
    told->unfit = 1;
    _exit(0);
}

/* An order that is ready to be handed over. It has a number from now on. */
static void order_make(void)
{
    uint32_t n = weir_fetch_add_u32(&the_rig->shared->order_next, 1);
    int bytes = snprintf(v.body, sizeof v.body, "symbol=BTCUSDT&side=BUY&newClientOrderId=o-%u", n);
    v.spec = (struct weir_request_spec){.struct_bytes = sizeof v.spec,
                                        .route = route[ROUTE_ORDER],
                                        .priority_set = true,
                                        .priority = WEIR_PRIORITY_CRITICAL,
                                        .body = v.body,
                                        .body_bytes = (size_t)bytes,
                                        .deadline_ns = weir_now_ns(v.w) + CALL_LIMIT};
    told->number = n;
    weir_store_release_u32(&the_rig->shared->order[n], RIG_ORDER_OUT);
}

static int order_submit(void)
{
    int rc = weir_submit(v.w, &v.spec, &v.ticket);
    told->handed = rc == WEIR_OK ? 1 : -1;
    return rc;
}

static void order_handed(void)
{
    order_make();
    if (order_submit() != WEIR_OK) {
        unfit();
    }
}

/* Its answer lies there, and nobody has looked at it. */
static void order_answered(void)
{
    uint64_t word = 0;
    order_handed();
    while (weir_ticket_slot(v.w, v.ticket, &word) != NULL &&
           weir_slot_state(word) != WEIR_SLOT_DONE) {
        (void)usleep(200);
    }
    (void)usleep(1000); /* the bells have been rung */
}

static void order_waited(void)
{
    order_handed();
    if (weir_wait(v.w, v.ticket, weir_now_ns(v.w) + KNOWN_LIMIT, &v.answer) != WEIR_OK) {
        unfit();
    }
}

/* The answer is on the board. */
static void kept_make(void)
{
    v.spec = (struct weir_request_spec){.struct_bytes = sizeof v.spec,
                                        .route = route[ROUTE_KEPT],
                                        .priority_set = true,
                                        .priority = WEIR_PRIORITY_CRITICAL,
                                        .query = "symbol=BTCUSDT"};
    for (unsigned i = 0; i < 50; i++) {
        if (weir_call(v.w, &v.spec, weir_now_ns(v.w) + CALL_LIMIT, &v.answer) == WEIR_OK) {
            (void)weir_release(v.w, v.answer.ticket);
            if (v.answer.source == WEIR_SOURCE_CACHE) {
                return;
            }
        }
    }
    unfit();
}

static int kept_submit(void)
{
    return weir_submit(v.w, &v.spec, &v.ticket);
}

static void kept_handed(void)
{
    kept_make();
    if (kept_submit() != WEIR_OK) {
        unfit();
    }
}

static int poll_step(void)
{
    return weir_poll(v.w, &v.answer);
}

static int wait_step(void)
{
    return weir_wait(v.w, v.ticket, weir_now_ns(v.w) + KNOWN_LIMIT, &v.answer);
}

static int release_step(void)
{
    return weir_release(v.w, v.ticket);
}

static int cancel_step(void)
{
    told->taken_back = 1; /* before: behind its CAS it may die */
    int rc = weir_cancel(v.w, v.ticket);
    told->taken_back = rc == WEIR_OK;
    return rc == WEIR_E_CANCEL_LATE ? WEIR_OK : rc;
}

static int permit_try(unsigned which)
{
    return weir_permit_try(v.w, route[which], 0, NULL, WEIR_PRIORITY_CRITICAL, &v.permit);
}

/* A permit of the route, once there is one. */
static void permit_have(unsigned which)
{
    for (unsigned i = 0; permit_try(which) != WEIR_OK; i++) {
        if (i == 2000) {
            unfit();
        }
        (void)usleep(1000);
    }
}

/* The call is known to its thread: the next permit goes the short way. */
static void permit_learnt(unsigned which)
{
    const struct weir_outcome unused = {.kind = WEIR_OUTCOME_NOT_SENT};
    permit_have(which);
    (void)weir_permit_settle(v.w, &v.permit, &unused);
    (void)weir_now_ns(v.w);
}

/*
 * Not a thread's first permit, which finds the tables; nor one of a limit in parts, which sums them up: some 20 000 instructions that write nothing which is
 * shared. Parts are stepped through by cells_stepkill.
 */
static void few_learnt(void)
{
    permit_learnt(ROUTE_FEW);
}

static void own_learnt(void)
{
    permit_learnt(ROUTE_OWN);
}

static void pair_learnt(void)
{
    permit_learnt(ROUTE_PAIR);
}

static int few_try(void)
{
    return permit_try(ROUTE_FEW);
}

static int own_try(void)
{
    return permit_try(ROUTE_OWN);
}

static int pair_try(void)
{
    return permit_try(ROUTE_PAIR);
}

static void mix_unused(void)
{
    permit_have(ROUTE_MIX);
    v.outcome = (struct weir_outcome){.kind = WEIR_OUTCOME_NOT_SENT};
}

static void mix_lost(void)
{
    permit_have(ROUTE_MIX);
    v.outcome = (struct weir_outcome){.kind = WEIR_OUTCOME_NO_ANSWER};
}

/* The exchange counted less cells and more parts than the permit, and told what it has counted. */
static void mix_answered(void)
{
    static const struct weir_cost counted = {.cnt = 3, .units = {1, 70, 1}};
    static const struct weir_told said = {
        .cnt = 3, .kind = {WEIR_TOLD_USED, WEIR_TOLD_USED}, .units = {3, 100}};
    permit_have(ROUTE_MIX);
    v.outcome = (struct weir_outcome){
        .kind = WEIR_OUTCOME_ANSWERED, .status = 200, .counted = &counted, .told = &said};
}

static void pair_answered(void)
{
    permit_have(ROUTE_PAIR);
    v.outcome = (struct weir_outcome){.kind = WEIR_OUTCOME_ANSWERED, .status = 200};
}

static void pair_unused(void)
{
    permit_have(ROUTE_PAIR);
    v.outcome = (struct weir_outcome){.kind = WEIR_OUTCOME_NOT_SENT};
}

static int settle_step(void)
{
    return weir_permit_settle(v.w, &v.permit, &v.outcome);
}

static const struct part {
    const char *name;
    void (*before)(void);
    int (*step)(void);
    bool alone; /* the worker stands still while it is stepped */
} parts[] = {
    {"submit", order_make, order_submit, false},
    {"submit, the worker looks later", order_make, order_submit, true},
    {"poll, an answer there", order_answered, poll_step, false},
    {"wait, the answer to come", order_handed, wait_step, false},
    {"release", order_waited, release_step, false},
    {"cancel, taken already", order_handed, cancel_step, false},
    {"submit from the cache", kept_make, kept_submit, false},
    {"poll from the cache", kept_handed, poll_step, false},
    {"release from the cache", kept_handed, release_step, false},
    {"permit, the long way", few_learnt, few_try, false},
    {"permit, short, a window", own_learnt, own_try, false},
    {"permit, short, two limits", pair_learnt, pair_try, false},
    {"settle: not sent", mix_unused, settle_step, false},
    {"settle: no answer", mix_lost, settle_step, false},
    {"settle: counted otherwise", mix_answered, settle_step, false},
    {"settle short: answered", pair_answered, settle_step, false},
    {"settle short: not sent", pair_unused, settle_step, false},
    {"submit and cancel, untaken", order_make, NULL, true},
};

static int submit_and_cancel(void)
{
    int rc = order_submit();
    return rc == WEIR_OK ? cancel_step() : rc;
}

static int victim(struct rig *r, int arg)
{
    const struct part *p = &parts[arg];
    v.w = rig_attach(r, WEIR_ROLE_TRADER);
    told->client = v.w->at->client;
    /* The worker knows it: until then its row is free, as it is again after its death. */
    const struct weir_shm_client *row = rig_board_client(v.w, told->client);
    while (weir_load_acquire_u32(&row->state) != WEIR_CLIENT_LIVE ||
           row->pid != (uint32_t)getpid()) {
        (void)usleep(100);
    }
    p->before();
    stepper_ready();
    told->over = 1 + (p->step != NULL ? p->step() : submit_and_cancel());
    while (told->over != 0) { /* it is killed here */
        weir_cpu_relax();
    }
    return 0;
}

/* ---------------------------------------------------------------------------------------------- the others */

static bool going(const struct rig *r)
{
    return weir_load_acquire_u32(&r->shared->stop) == 0;
}

/* All the weight that a class below the victim's may have, and calls with it in truth. */
static int by_permit(struct rig *r, int arg)
{
    (void)arg;
    struct weir *w = rig_attach(r, WEIR_ROLE_TRADER);
    while (going(r)) {
        struct weir_permit p;
        struct weir_outcome o = {.kind = WEIR_OUTCOME_NOT_SENT};
        weir_fetch_add_u32(&r->shared->count[PERMITS_ASKED], 1);
        if (weir_permit_try(w, route[ROUTE_OWN], 0, NULL, WEIR_PRIORITY_LOW, &p) != WEIR_OK) {
            rig_sleep_ms(1);
            continue;
        }
        weir_fetch_add_u32(&r->shared->count[PERMITS_GOT], 1);
        if (weir_now_ns(w) < p.use_by_ns) {
            long status = rig_http(r, "GET", "/api/v3/ping", NULL, NULL, 0);
            o = (struct weir_outcome){.kind = status > 0 ? WEIR_OUTCOME_ANSWERED
                                                         : WEIR_OUTCOME_NO_ANSWER,
                                      .status = (uint32_t)(status > 0 ? status : 0)};
        }
        (void)weir_permit_settle(w, &p, &o);
    }
    weir_close(w);
    return 0;
}

/* Orders, each waited for: done, or refused where the limit is full. */
static int by_call(struct rig *r, int arg)
{
    (void)arg;
    struct weir *w = rig_attach(r, WEIR_ROLE_CALLER);
    int bad = 0;
    while (going(r)) {
        weir_ticket t;
        uint32_t n;
        struct weir_response an;
        if (rig_order_submit(r, w, route[ROUTE_ORDER], weir_now_ns(w) + SOON, &t, &n) != 0) {
            rig_sleep_ms(1);
            continue;
        }
        if (weir_wait(w, t, weir_now_ns(w) + KNOWN_LIMIT, &an) != WEIR_OK) {
            (void)printf("FAILED: an order of the others has no end\n");
            bad = 1;
            break;
        }
        rig_order_ended(r, n, &an);
        weir_fetch_add_u32(&r->shared->count[CALLS_ENDED], 1);
        weir_fetch_add_u32(&r->shared->count[CALLS_DONE], an.result == WEIR_RESULT_DONE);
        (void)weir_release(w, t);
    }
    weir_close(w);
    return bad;
}

/* ---------------------------------------------------------------------------------------------- after a death */

static struct account {
    struct weir *look;
    pid_t worker;
    uint64_t audited; /* records that were looked at */
    uint64_t index_ns[DEATHS_MAX], units_ns[DEATHS_MAX];
    uint64_t slots_reaped;
    uint32_t deaths, handed, ended, dropped, never, missed;
    uint32_t permits_seen, calls_seen;
    uint32_t by_result[WEIR_RESULT_TIMEOUT + 1];
} a;

/* Until `done`; how long it took, or UINT64_MAX. */
static uint64_t until(bool (*done)(const void *arg), const void *arg)
{
    uint64_t from_ns = rig_now_ns();
    while (!done(arg)) {
        if (rig_now_ns() - from_ns > BACK_MS * WEIR_NS_PER_MS) {
            return UINT64_MAX;
        }
        (void)usleep(200);
    }
    return rig_now_ns() - from_ns;
}

static bool index_free(const void *arg)
{
    return weir_load_acquire_u32(&rig_board_client(a.look, *(const uint32_t *)arg)->state) ==
           WEIR_CLIENT_FREE;
}

static bool units_free(const void *arg)
{
    struct weir_limit_info info;
    for (uint32_t i = 0; i < a.look->view.tables.limit_cnt; i++) {
        if (weir_limit_get(a.look, i, WEIR_SCOPE_DEFAULT, &info) != WEIR_OK ||
            ((info.kind == WEIR_LIMIT_CONCURRENCY || arg != NULL) && info.used_units != 0)) {
            return false;
        }
    }
    return true;
}

static bool others_went_on(const void *arg)
{
    const struct rig *r = arg;
    return weir_load_acquire_u32(&r->shared->count[PERMITS_ASKED]) != a.permits_seen &&
           weir_load_acquire_u32(&r->shared->count[CALLS_ENDED]) != a.calls_seen;
}

/* Ends of orders of `pid` in the audit since the last look; the last one's detail. */
static unsigned ends_of(pid_t pid, uint32_t *detail)
{
    const struct weir_shm_audit *head =
        rig_board(a.look, WEIR_SECTION_AUDIT, sizeof(struct weir_shm_audit));
    const struct weir_shm_audit_record *record =
        rig_board(a.look, WEIR_SECTION_AUDIT_RECORD, sizeof(struct weir_shm_audit_record));
    uint64_t written = weir_load_acquire_u64(&head->written);
    unsigned cnt = 0;
    for (uint64_t k = a.audited; k < written; k++) {
        const struct weir_shm_audit_record *e = &record[k % AUDITED];
        if (e->kind == WEIR_AUDIT_ENDED && e->pid == (uint32_t)pid &&
            e->route == route[ROUTE_ORDER]) {
            *detail = e->detail;
            cnt++;
        }
    }
    return cnt;
}

struct wanted {
    pid_t pid;
    uint32_t detail;
};

static bool has_ended(const void *arg)
{
    struct wanted w = *(const struct wanted *)arg;
    return ends_of(w.pid, &w.detail) > 0;
}

/* Its order, by the audit: handed over and ended once; or on the way, and ended at most once. The exchange is asked in the end. */
static void order_check(struct rig *r, pid_t pid, const char *name, uint32_t k)
{
    struct wanted w = {.pid = pid};
    if (told->number == UINT32_MAX) {
        return;
    }
    /* Of the dead: what nobody had taken when the client was reaped, and what ended later. The row is written before the index is given back. */
    uint64_t reaped = rig_board_worker(a.look)->slot_reaped;
    bool dropped = reaped != a.slots_reaped;
    a.slots_reaped = reaped;
    if (told->handed == 1 && told->taken_back == 0 && !dropped) {
        (void)until(has_ended, &w);
    }
    unsigned cnt = ends_of(pid, &w.detail);
    uint32_t result = cnt > 0 ? w.detail & 0xffffU : 0;
    rig_check(r, cnt <= 1, __FILE__, __LINE__, "%s, instruction %u: %u ends", name, k, cnt);
    rig_check(r, cnt == 1 || told->handed != 1 || told->taken_back != 0 || dropped, __FILE__,
              __LINE__, "%s, instruction %u: handed over, and no end", name, k);
    rig_check(r, result <= WEIR_RESULT_TIMEOUT, __FILE__, __LINE__, "result %u", result);
    weir_store_release_u32(&r->shared->order[told->number], cnt > 0 ? result : RIG_ORDER_NONE);
    weir_store_release_u32(&r->shared->order_status[told->number], w.detail >> 16);
    a.handed += told->handed == 1;
    a.ended += cnt;
    a.dropped += cnt == 0 && dropped;
    a.never += cnt == 0 && !dropped;
    a.by_result[cnt > 0 && result <= WEIR_RESULT_TIMEOUT ? result : 0]++;
}

static void after_death(struct rig *r, pid_t pid, const char *name, uint32_t k)
{
    uint32_t index = told->client;
    uint64_t index_ns = until(index_free, &index);
    uint64_t units_ns = until(units_free, NULL);
    rig_check(r, index_ns != UINT64_MAX, __FILE__, __LINE__, "%s, instruction %u: its index", name,
              k);
    rig_check(r, units_ns != UINT64_MAX, __FILE__, __LINE__, "%s, instruction %u: its units", name,
              k);
    order_check(r, pid, name, k);
    a.audited =
        weir_load_acquire_u64(&((const struct weir_shm_audit *)rig_board(
                                    a.look, WEIR_SECTION_AUDIT, sizeof(struct weir_shm_audit)))
                                   ->written);
    rig_check(r, until(others_went_on, r) != UINT64_MAX, __FILE__, __LINE__,
              "%s, instruction %u: the others go on", name, k);
    a.permits_seen = weir_load_acquire_u32(&r->shared->count[PERMITS_ASKED]);
    a.calls_seen = weir_load_acquire_u32(&r->shared->count[CALLS_ENDED]);
    if (a.deaths < DEATHS_MAX) {
        a.index_ns[a.deaths] = index_ns;
        a.units_ns[a.deaths++] = units_ns;
    }
}

/* ---------------------------------------------------------------------------------------------- one death */

/* A victim that stands before what is stepped. 0: what comes before did not succeed. */
static pid_t victim_ready(struct rig *r, unsigned part)
{
    int status = 0;
    *told = (struct told){.client = UINT32_MAX, .number = UINT32_MAX};
    pid_t pid = rig_fork(r, victim, (int)part);
    if (waitpid(pid, &status, 0) != pid) {
        stepper_broken("waitpid");
    }
    if (WIFSTOPPED(status)) {
        return pid;
    }
    if (WIFEXITED(status) && WEXITSTATUS(status) == 77) {
        (void)printf("skipped: ptrace is forbidden here\n");
        exit(77);
    }
    CHECK(r, told->unfit != 0, "the victim ends before its part: %s", parts[part].name);
    return 0;
}

/* It dies behind `k` instructions. Returns whether what is stepped was over. */
static bool death(struct rig *r, unsigned part, uint32_t k, int32_t *answer)
{
    pid_t pid = victim_ready(r, part);
    if (pid == 0) {
        a.missed++;
        rig_sleep_ms(20);
        CHECK(r, a.missed < 100, "the limits let it through");
        return r->failures > 0;
    }
    if (parts[part].alone) {
        (void)kill(a.worker, SIGSTOP);
    }
    stepper_kill(pid, k);
    if (parts[part].alone) {
        (void)kill(a.worker, SIGCONT);
    }
    *answer = told->over - 1;
    after_death(r, pid, parts[part].name, k);
    return told->over != 0;
}

static void everywhere(struct rig *r, unsigned part, uint32_t step)
{
    uint32_t first = step > 1 ? rig_random(r, step) : 0;
    uint32_t deaths = a.deaths;
    uint32_t handed = a.handed;
    uint32_t ended = a.ended;
    int32_t answer = -1;
    uint32_t k = first;
    while (!death(r, part, k, &answer) && r->failures == 0) {
        if (k > STEPS_MAX) {
            stepper_broken("the call does not end");
        }
        k += step;
    }
    (void)printf("%-32s up to instruction %5u: %4u deaths, %4u orders handed over before, %4u "
                 "ended\n",
                 parts[part].name, k, a.deaths - deaths, a.handed - handed, a.ended - ended);
    (void)fflush(stdout);
    CHECK(r, r->failures > 0 || answer >= 0, "%s: the last answer was %d", parts[part].name,
          (int)answer);
}

/* ---------------------------------------------------------------------------------------------- all of it */

static int by_size(const void *x, const void *y)
{
    uint64_t left = *(const uint64_t *)x;
    uint64_t right = *(const uint64_t *)y;
    return left < right ? -1 : left > right;
}

static void figures(const char *what, uint64_t *ns)
{
    qsort(ns, a.deaths, sizeof ns[0], by_size);
    (void)printf("%s: p50 %.1f ms, p99 %.1f ms, worst %.1f ms\n", what,
                 (double)ns[a.deaths / 2] / 1e6, (double)ns[a.deaths * 99 / 100] / 1e6,
                 (double)ns[a.deaths - 1] / 1e6);
}

/* What the board says once all are dead. */
static void nothing_left(struct rig *r)
{
    const struct weir_shm_limit_stats *limit =
        rig_board(a.look, WEIR_SECTION_LIMIT, sizeof(struct weir_shm_limit_stats));
    uint64_t damaged = 0;
    for (uint32_t i = 0; i < a.look->view.tables.limit_cnt; i++) {
        damaged += limit[i].damaged;
    }
    PROMISE_INT(r, damaged, 0);
    PROMISE_INT(r, rig_board_worker(a.look)->ring_repaired, 0);
    PROMISE(r, until(units_free, r) != UINT64_MAX, "nothing is taken of any limit");
    for (uint32_t i = 0; i < a.look->view.tables.limit_cnt; i++) {
        struct weir_limit_info info = {0};
        CHECK_INT(r, weir_limit_get(a.look, i, WEIR_SCOPE_DEFAULT, &info), 0);
        rig_promise(r, info.used_units == 0, __FILE__, __LINE__, "%u of %s are taken",
                    info.used_units, info.name);
    }
    CHECK_INT(r, holdings_clients(a.look), 1);
    CHECK_INT(r, rig_process(r, "weird-worker"), a.worker);
}

static void campaign(struct rig *r, uint32_t step, unsigned first, unsigned cnt)
{
    a.look = rig_attach(r, WEIR_ROLE_TRADER);
    a.worker = rig_process(r, "weird-worker");
    for (unsigned i = 0; i < ROUTE_CNT; i++) {
        route[i] = rig_route(a.look, route_names[i]);
    }
    pid_t others[2] = {rig_fork(r, by_permit, 0), rig_fork(r, by_call, 1)};
    CHECK(r, until(others_went_on, r) != UINT64_MAX, "all work");
    rig_sleep_ms(200);
    struct holdings by_worker = holdings_of(a.worker);
    struct holdings by_supervisor = holdings_of(r->weird);
    for (unsigned part = first; part < first + cnt && r->failures == 0; part++) {
        everywhere(r, part, step);
    }
    weir_store_release_u32(&r->shared->stop, 1);
    CHECK_INT(r, rig_wait(others[0], 8000), 0);
    CHECK_INT(r, rig_wait(others[1], 8000), 0);
    rig_sleep_ms(300);
    nothing_left(r);
    holdings_check(r, "worker", &by_worker, a.worker, 40);
    holdings_check(r, "supervisor", &by_supervisor, r->weird, 0);
}

static void summary(struct rig *r)
{
    (void)printf(
        "%u deaths; orders of the dead: %u handed over before, %u never; %u ended by name, "
        "%u dropped untaken:",
        a.deaths, a.handed, a.never, a.ended, a.dropped);
    for (uint32_t i = 1; i <= WEIR_RESULT_TIMEOUT; i++) {
        if (a.by_result[i] > 0) {
            (void)printf(" %u %s", a.by_result[i], weir_result_text(i));
        }
    }
    (void)printf("; the others: %u permits, %u orders done\n", r->shared->count[PERMITS_GOT],
                 r->shared->count[CALLS_DONE]);
    if (a.deaths > 0) {
        figures("death to index and arena free", a.index_ns);
        figures("then to its units free", a.units_ns);
    }
}

int main(int argc, char **argv)
{
    static struct rig r;
    uint32_t step = STEP;
    unsigned first = 0;
    unsigned cnt = WEIR_ARRAY_CNT(parts);
    const char *last = argc > 3 ? argv[argc - 1] : "";
    if (strcmp(last, "--long") == 0) {
        step = 1;
    } else if (strncmp(last, "--step=", 7) == 0) {
        step = (uint32_t)strtoul(last + 7, NULL, 10);
    } else if (strncmp(last, "--part=", 7) == 0) {
        first = (unsigned)strtoul(last + 7, NULL, 10);
        step = 1;
        cnt = 1;
    }
    if (step == 0 || first + cnt > WEIR_ARRAY_CNT(parts)) {
        (void)fprintf(stderr, "submit_stepkill: %s: 1 or more steps; parts are 0 to %u\n", last,
                      (unsigned)WEIR_ARRAY_CNT(parts) - 1);
        return 1;
    }
    the_rig = &r;
    rig_open(&r, "submit_stepkill", argc - (strncmp(last, "--", 2) == 0), argv,
             step == 1 ? 3600 : 180);
    told = mmap(NULL, sizeof *told, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (told == MAP_FAILED) {
        stepper_broken("mmap");
    }
    rig_sim_start(&r, sim);
    rig_config(&r, yaml, 0);
    rig_weird_start(&r);
    campaign(&r, step, first, cnt);
    summary(&r);
    rig_orders_check(&r, false);
    PROMISE_INT(&r, rig_report(&r, "violations"), 0);
    weir_close(a.look);
    CHECK_INT(&r, rig_weird_stop(&r, 15000), 0);
    return rig_close(&r);
}
