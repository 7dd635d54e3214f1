#include "weave_work.h"

#include "shm/weir_attach.h"
#include "shm/weir_hold.h"
#include "shm/weir_pause.h"
#include "shm/weir_window.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FLIGHT_MAX 8U
#define FLOOD_CNT  96U /* above the ring's 64 */
#define PATIENCE   (15 * WEIR_NS_PER_S)

static struct rig
    second; /* the exchange of `odd`: its clock jumps, and no promise is judged by it */

void work_add(struct rig *r, enum work_count which)
{
    (void)weir_fetch_add_u32(&r->shared->count[which], 1);
}

uint32_t work_at(const struct rig *r, enum work_count which)
{
    return weir_load_acquire_u32(&r->shared->count[which]);
}

bool work_moves(struct rig *r, enum work_count which, unsigned limit_ms)
{
    uint32_t before = work_at(r, which);
    for (unsigned i = 0; i < limit_ms && work_at(r, which) == before; i++) {
        rig_sleep_ms(1);
    }
    return work_at(r, which) != before;
}

static bool going(const struct rig *r)
{
    return weir_load_acquire_u32(&r->shared->stop) == 0;
}

/* Stale for good: opened anew, as a strategy would, as long as it takes for a broker to be there. */
static struct weir *lively(struct rig *r, struct weir *w, enum weir_role role)
{
    struct weir_open_opts opts = {.role = role};
    struct weir_diag diag;
    int rc;
    if (weir_check(w) != WEIR_E_STALE) {
        return w;
    }
    weir_close(w);
    work_add(r, WORK_LOST);
    while ((w = rig_attach_opts(r, &opts, &diag, &rc)) == NULL) {
        if (!going(r)) {
            exit(0); /* nobody to leave */
        }
        rig_sleep_ms(10);
    }
    return w;
}

/* ---------------------------------------------------------------------------------------------- the victim */

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

/* Where the exchange says stop, counts more than was asked for, and tells what it counted. */
static void by_odd(struct weir *w, weir_route_id odd, unsigned limits, unsigned turn)
{
    struct weir_permit p;
    const struct weir_told told = {.cnt = limits, .kind = {WEIR_TOLD_USED}, .units = {turn % 20}};
    const struct weir_cost more = {.cnt = limits, .units = {limits == 1 ? 9 : 2, 2, 2, 2}};
    const struct weir_outcome answered = {.kind = WEIR_OUTCOME_ANSWERED,
                                          .status = 200,
                                          .told = &told,
                                          .counted = turn % 3 == 0 ? &more : NULL};
    const struct weir_outcome unused = {.kind = WEIR_OUTCOME_NOT_SENT};
    const struct weir_outcome lost = {.kind = WEIR_OUTCOME_NO_ANSWER};
    const struct weir_outcome stop = {
        .kind = WEIR_OUTCOME_ANSWERED, .status = 429, .retry_after_ns = 20 * WEIR_NS_PER_MS};
    int rc = turn % 4 == 0 ? weir_permit_wait(w, odd, 0, NULL, WEIR_PRIORITY_MEDIUM,
                                              weir_now_ns(w) + 30 * WEIR_NS_PER_MS, &p)
                           : weir_permit_try(w, odd, 0, NULL, WEIR_PRIORITY_MEDIUM, &p);
    if (rc == WEIR_OK) {
        bool probe = (p.pause_generation & WEIR_HOLD_PROBE) != 0;
        (void)weir_permit_settle(w, &p,
                                 probe && turn % 2 == 0 ? &lost
                                 : turn % 16 == 7       ? &stop
                                 : turn % 4 == 1        ? &lost
                                 : turn % 4 == 2        ? &unused
                                                        : &answered);
    }
}

/* A long fixed window, whose ceiling is on disk. */
static void by_half(struct weir *w, weir_route_id half)
{
    struct weir_permit p;
    const struct weir_outcome answered = {.kind = WEIR_OUTCOME_ANSWERED, .status = 200};
    if (weir_permit_try(w, half, 0, NULL, WEIR_PRIORITY_MEDIUM, &p) == WEIR_OK) {
        (void)weir_permit_settle(w, &p, &answered);
    }
}

/* What a victim has handed over and not released. */
struct flight {
    unsigned cnt;
    unsigned wild_cnt;        /* beside them */
    uint32_t number_of[4096]; /* by slot: its order, or one of these: */
#define NO_ORDER UINT32_MAX
#define WILD     (UINT32_MAX - 1)
};

static void take_answers(struct rig *r, struct weir *w, struct flight *f)
{
    struct weir_response a;
    while (weir_poll(w, &a) == 0) {
        uint32_t n = f->number_of[(uint32_t)a.ticket & 4095U];
        if (n < WILD) {
            rig_order_ended(r, n, &a);
        }
        (void)weir_release(w, a.ticket);
        f->cnt -= n != WILD;
        f->wild_cnt -= n == WILD;
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
        f->number_of[(uint32_t)t & 4095U] = NO_ORDER;
        bool gone = turn % 2 == 0
                        ? weir_cancel(w, t) == 0
                        : weir_wait(w, t, weir_now_ns(w) + 20 * WEIR_NS_PER_MS, &a) == 0 &&
                              weir_release(w, t) == 0;
        f->cnt += !gone;
    }
    take_answers(r, w, f);
}

/*
 * Answers that are kept and shared, calls that are signed with a nonce, and an exchange that fails half of the time: tried again, and behind a breaker. No promise is judged
 * here.
 */
static void by_wild(struct weir *w, const weir_route_id route[3], unsigned turn, struct flight *f)
{
    for (unsigned i = 0; i < 4 && f->wild_cnt < FLIGHT_MAX; i++) {
        weir_ticket t;
        const struct weir_request_spec spec = {.struct_bytes = sizeof spec,
                                               .route = route[i < 2 ? 0 : i - 1],
                                               .query = i < 2 ? "symbol=BTCUSDT" : NULL};
        if ((i < 2 || (turn + i) % 2 == 0) &&
            weir_submit_until(w, &spec, weir_now_ns(w) + 200 * WEIR_NS_PER_MS, &t) == 0) {
            f->number_of[(uint32_t)t & 4095U] = WILD;
            f->wild_cnt++;
        }
    }
}

/* More calls than the ring holds; whatever was taken in is taken back. */
static void flood(struct rig *r, struct weir *w, weir_route_id mix)
{
    weir_ticket t[FLOOD_CNT];
    unsigned cnt = 0;
    const struct weir_request_spec spec = {.struct_bytes = sizeof spec, .route = mix};
    while (cnt < FLOOD_CNT &&
           weir_submit_until(w, &spec, weir_now_ns(w) + WEIR_NS_PER_S, &t[cnt]) == 0) {
        cnt++;
    }
    for (unsigned i = 0; i < cnt; i++) {
        struct weir_response a;
        if (weir_cancel(w, t[i]) != 0) {
            (void)weir_wait(w, t[i], weir_now_ns(w) + 4 * WEIR_NS_PER_S, &a);
            (void)weir_release(w, t[i]);
        }
    }
    rig_sleep_ms(1);
    work_add(r, WORK_VICTIM);
}

/* A second handle, closed with a call on its way: its index stays taken until the call has ended. */
static void by_other_handles(struct rig *r, struct weir *w, weir_route_id mix, weir_route_id slow,
                             unsigned turn)
{
    struct weir *more = NULL;
    weir_ticket t;
    bool open = turn % 256 == 0; /* so long that its charges are renewed: not taken back */
    const struct weir_request_spec spec = {.struct_bytes = sizeof spec, .route = open ? slow : mix};
    if (weir_dup(w, &more) == 0) {
        int rc = weir_submit_until(more, &spec, weir_now_ns(w) + 4 * WEIR_NS_PER_S, &t);
        if (rc == 0 && open) {
            rig_sleep_ms(5); /* until it is on the wire: it stays open behind its handle */
        } else if (rc == 0 && turn % 8 == 0) {
            rig_sleep_ms(1);
            (void)weir_cancel(more, t); /* mostly too late */
        }
        weir_close(more);
    }
    (void)weir_fd(w);
    if (turn % 32 == 0) {
        struct weir_open_opts opts = {.role = WEIR_ROLE_TRADER};
        struct weir_diag diag;
        int rc;
        more = rig_attach_opts(r, &opts, &diag, &rc);
        if (more != NULL) {
            (void)weir_fd(more);
            (void)weir_check(more);
            weir_close(more);
        }
    }
}

int work_victim(struct rig *r, int arg)
{
    static struct flight f;
    struct weir *w = rig_attach(r, WEIR_ROLE_TRADER);
    weir_route_id order = rig_route(w, "sim.order");
    weir_route_id mix = rig_route(w, "sim.mix");
    weir_route_id odd = rig_route(w, "odd.own");
    weir_route_id few = rig_route(w, "odd.few"); /* full at once: surcharges are owed */
    weir_route_id half = rig_route(w, "odd.half");
    weir_route_id rest = rig_route(w, "odd.rest"); /* while the clock is being judged */
    weir_route_id slow = rig_route(w, "sim.slow");
    const weir_route_id wild[] = {rig_route(w, "wild.kept"), rig_route(w, "wild.signed"),
                                  rig_route(w, "ill.read")};
    for (unsigned turn = (unsigned)arg; going(r); turn++) {
        if (work_at(r, WORK_FLOOD) != 0) {
            flood(r, w, mix);
            continue;
        }
        by_permit(r, w, mix, turn);
        by_odd(w, odd, 4, turn);
        by_odd(w, rest, 3, turn + 1);
        by_odd(w, few, 1, turn);
        by_half(w, half);
        by_call(r, w, order, mix, turn, &f);
        by_wild(w, wild, turn, &f);
        if (turn % 4 == 0) {
            by_other_handles(r, w, mix, slow, turn);
        }
        if (weir_check(w) == WEIR_E_STALE) { /* what was handed over went with it */
            f.cnt = f.wild_cnt = 0;
            w = lively(r, w, WEIR_ROLE_TRADER);
        }
        work_add(r, WORK_VICTIM);
        rig_sleep_ms(1);
    }
    weir_close(w);
    return 0;
}

/* ---------------------------------------------------------------------------------------------- neighbours */

/* Permits on the very words that the victim stands at. */
int work_by_permit(struct rig *r, int arg)
{
    (void)arg;
    struct weir *w = rig_attach(r, WEIR_ROLE_TRADER);
    weir_route_id mix = rig_route(w, "sim.mix");
    weir_route_id still = rig_route(w, "sim.still");
    while (going(r)) {
        struct weir_permit p;
        const struct weir_outcome unused = {.kind = WEIR_OUTCOME_NOT_SENT};
        /* While the worker re-aligns windows nobody is let into them; and while it stands, its open calls are held in buckets, and J grows by them: then by what knows no
         * windows, with a burst that no J fills. */
        if (weir_permit_try(w, mix, 0, NULL, WEIR_PRIORITY_HIGH, &p) == WEIR_OK ||
            weir_permit_try(w, still, 0, NULL, WEIR_PRIORITY_HIGH, &p) == WEIR_OK) {
            work_add(r, WORK_PERMITS);
            (void)weir_permit_settle(w, &p, &unused);
        } else {
            w = lively(r, w, WEIR_ROLE_TRADER);
        }
        rig_sleep_ms(2);
    }
    weir_close(w);
    return 0;
}

/* Orders that are all waited for: none of them may end without a name. */
int work_by_call(struct rig *r, int arg)
{
    struct weir *w = rig_attach(r, WEIR_ROLE_CALLER);
    weir_route_id order = rig_route(w, "sim.order");
    int bad = 0;
    while (going(r) && bad == 0) {
        weir_ticket t;
        uint32_t n;
        struct weir_response a;
        if (rig_order_submit(r, w, order, weir_now_ns(w) + 4 * WEIR_NS_PER_S, &t, &n) != 0) {
            w = lively(r, w, WEIR_ROLE_CALLER);
            rig_sleep_ms(1);
            continue;
        }
        int rc = weir_wait(w, t, weir_now_ns(w) + PATIENCE, &a);
        if (rc == WEIR_E_STALE &&
            (arg != 0 ||
             work_at(r, WORK_GONE) !=
                 0)) { /* both brokers died with it: its strategy knows that it does not know */
            w = lively(r, w, WEIR_ROLE_CALLER);
            continue;
        }
        if (rc != 0) {
            (void)printf("FAILED: the neighbour waits in vain: %s\n", weir_strerror(rc));
            bad = 1;
            break;
        }
        rig_order_ended(r, n, &a);
        work_add(r, WORK_CALLS);
        work_add(r, a.result == WEIR_RESULT_DONE ? WORK_DONE : WORK_OTHERWISE);
        (void)weir_release(w, t);
        rig_sleep_ms(2);
    }
    weir_close(w);
    return bad;
}

/* ---------------------------------------------------------------------------------------------- trouble */

/* One word of a limit of `torn`, as nobody honest leaves it. */
static void tear(struct rig *r, struct weir *w, const struct weir_shm_limit_row *row)
{
    uint32_t k = row->word_first;
    uint64_t *word = w->at->word[k].word;
    uint64_t *cell = weir_limit_cells(w->at->cell, row, k);
    uint64_t now_ns = weir_now_ns(w);
    unsigned half = rig_random(r, 2);
    if (row->kind == WEIR_LIMIT_TOKEN_BUCKET) {
        weir_store_release_u64(&word[0], now_ns + 3600 * WEIR_NS_PER_S);
    } else if (row->kind == WEIR_LIMIT_FIXED_WINDOW) {
        uint64_t seen = weir_load_acquire_u64(&word[half]);
        uint32_t id = weir_window_id(seen) + (rig_random(r, 2) == 0 ? 0 : 1000);
        weir_store_release_u64(&word[half], weir_window_word(id, UINT32_MAX));
    } else if (row->form == WEIR_FORM_CELLS) {
        weir_store_release_u64(&cell[rig_random(r, row->cell_cnt)], now_ns + 3600 * WEIR_NS_PER_S);
    } else {
        uint32_t at = rig_random(r, row->cell_cnt);
        uint32_t id = (uint32_t)(now_ns / row->part_ns) + 100000;
        weir_store_release_u64(&cell[at], weir_window_word(id, 1));
    }
}

static void tear_all(struct rig *r, struct weir *w)
{
    for (uint32_t i = 0; i < w->view.tables.limit_cnt; i++) {
        const struct weir_shm_limit_row *row = &w->view.tables.limit[i];
        if (row->provider == 2 && rig_random(r, 2) == 0) {
            tear(r, w, row);
        }
    }
    if (rig_random(r, 4) == 0) {
        weir_store_release_u64(&w->at->pause[2].word,
                               weir_pause_make(weir_now_ns(w) + 3600 * WEIR_NS_PER_S,
                                               WEIR_PAUSE_THROTTLED, rig_random(r, 100)));
    }
}

int work_trouble(struct rig *r, int arg)
{
    (void)arg;
    struct weir *w = rig_attach(r, WEIR_ROLE_TRADER);
    for (unsigned turn = 0; going(r); turn++) {
        w = lively(r, w, WEIR_ROLE_TRADER);
        tear_all(r, w);
        if (turn % 5 == 0) {
            (void)rig_operate(r, WEIR_OPERATION_PAUSE, "odd", 15 * WEIR_NS_PER_MS);
            rig_sleep_ms(5);
            (void)rig_operate(r, WEIR_OPERATION_RESUME, "odd", 0);
        }
        if (turn % 80 == 40) {
            (void)rig_http(&second, "POST", "/sim/clock",
                           turn % 160 == 40 ? "{\"step_ms\": 700}" : "{\"step_ms\": -700}", NULL,
                           0);
        }
        rig_sleep_ms(40);
    }
    weir_close(w);
    return 0;
}

/* ---------------------------------------------------------------------------------------------- configuration */

static const char sim[] =
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
    "{\"limit\": \"parts\", \"cost\": 50}, {\"limit\": \"flight\", \"cost\": 1}]}, "
    "{\"path\": \"GET /k/slow\", \"plays\": \"ok\", \"costs\": [{\"limit\": \"cells\", \"cost\": "
    "1}]}]}";

/*
 * The question for the time costs one of each limit whose scope is ip. So of `odd` only those are that are free again within a second, whoever dies in a re-alignment: that spends
 * all fixed windows, and until the half hour was over nobody could ask for the time.
 */
static const char yaml[] =
    "broker: {name: rig, wake: sleep, audit: 50000, ring: 64, domains: [{clients: 64}]}\n"
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
    "      - {name: wide, kind: token_bucket, quota: 1000, window: 1s, burst: 500000, scope: "
    "account}\n"
    "    endpoints:\n"
    "      - {name: a, url: \"http://127.0.0.1:$PORT\", connections: 16}\n"
    "    routes:\n"
    "      - {name: order, method: POST, path: /api/v3/order, cost: {weight: 1, orders: 1}, "
    "timeout: 3s}\n"
    "      - {name: mix, method: GET, path: /k/mix, timeout: 3s, max_response: 4KiB, "
    "cost: {weight: 1, bucket: 1, cells: 2, parts: 50, flight: 1}}\n"
    "      - {name: still, transport: own, cost: {wide: 1, flight: 1}}\n"
    "      - {name: slow, method: GET, path: /k/slow, timeout: 5s, max_response: 4KiB, idempotent: "
    "true, cost: {cells: 1}}\n"
    "  - name: odd\n"
    "    clock: {path: /api/v3/time, field: serverTime, interval: 1s, max_jitter: 100ms}\n"
    "    throttle: {default: 20ms, backoff: {factor: 1, jitter: 0%, max: 60ms, quiet: 1s}, reopen: "
    "{probe: 50ms, ramp: 40ms}}\n"
    "    limits:\n"
    "      - {name: window, kind: fixed_window, quota: 2000, window: 1s, scope: ip, shares: [{uid: "
    "$UID, part: 50%}]}\n"
    "      - {name: drops, kind: token_bucket, quota: 2000, window: 1s, burst: 1000, shares: "
    "[{uid: $UID, part: 50%}]}\n"
    "      - {name: half_hour, kind: fixed_window, quota: 1000000, window: 30m, scope: account}\n"
    "      - {name: few, kind: sliding_window, quota: 4, window: 1s, scope: account}\n"
    "      - {name: rolls, kind: sliding_window, quota: 10000000, window: 11m, scope: account}\n"
    "      - {name: slow, kind: token_bucket, quota: 10000000, window: 30m, burst: 10000000, "
    "scope: account}\n"
    "    feedback:\n"
    "      - {header: X-Used, limit: window, reports: used}\n"
    "    endpoints:\n"
    "      - {name: b, url: \"http://127.0.0.1:$PORT2\", connections: 4}\n"
    "    routes:\n"
    "      - {name: own, transport: own, cost: {window: 1, drops: 1, rolls: 1, slow: "
    "1}}\n"
    "      - {name: few, transport: own, cost: {few: 1}}\n"
    "      - {name: half, transport: own, cost: {half_hour: 1}}\n"
    "      - {name: rest, transport: own, cost: {drops: 1, rolls: 1, slow: 1}}\n"
    "  - name: torn\n"
    "    clock: {source: host}\n"
    "    limits:\n"
    "      - {name: t_window, kind: fixed_window, quota: 2000, window: 1s, scope: ip}\n"
    "      - {name: t_bucket, kind: token_bucket, quota: 1000, window: 1s, burst: 600}\n"
    "      - {name: t_cells, kind: sliding_window, quota: 100, window: 1s}\n"
    "      - {name: t_parts, kind: sliding_window, quota: 50000, window: 1s}\n"
    "    endpoints:\n"
    "      - {name: c, url: \"http://127.0.0.1:$PORT\", connections: 1}\n"
    "    routes:\n"
    "      - {name: own, transport: own, cost: {t_window: 1, t_bucket: 1, t_cells: 1, t_parts: "
    "1}}\n"
    "  - name: wild\n"
    "    clock: {source: host}\n"
    "    auth: {kind: kraken, key: name, secret: \"c2VjcmV0\"}\n"
    "    limits: [{name: w_bucket, kind: token_bucket, quota: 100000, window: 1s}]\n"
    "    endpoints:\n"
    "      - {name: d, url: \"http://127.0.0.1:$PORT2\", connections: 8}\n"
    "    routes:\n"
    "      - {name: kept, method: GET, path: /api/v3/time, cost: {w_bucket: 1}, timeout: 1s, "
    "share: "
    "public, cache: 5ms, stale: 1s}\n"
    "      - {name: signed, method: POST, path: /echo, cost: {w_bucket: 1}, timeout: 1s, signed: "
    "true}\n"
    "  - name: ill\n"
    "    clock: {source: host}\n"
    "    breaker: {failures: 3, window: 1s, part: 20%, open: 100ms, probes: 1}\n"
    "    health: {path: /api/v3/ping, interval: 1s}\n"
    "    retry: {attempts: 3, base: 2ms, budget: 100%}\n"
    "    limits: [{name: i_bucket, kind: token_bucket, quota: 100000, window: 1s}]\n"
    "    endpoints:\n"
    "      - {name: e, url: \"http://127.0.0.1:$PORT2\", connections: 8}\n"
    "    routes:\n"
    "      - {name: read, method: GET, path: /api/v3/depth, cost: {i_bucket: 1}, timeout: 1s}\n";

/* `text` with every $UID replaced by ours. */
static void uid_put(const char *text, char *out, size_t bytes)
{
    size_t n = 0;
    for (const char *at = text; *at != '\0' && n + 16 < bytes;) {
        if (strncmp(at, "$UID", 4) == 0) {
            n += (size_t)snprintf(out + n, bytes - n, "%u", (unsigned)getuid());
            at += 4;
        } else {
            out[n++] = *at++;
        }
    }
    out[n] = '\0';
}

void work_configure(struct rig *r, char *state_dir, size_t bytes)
{
    char text[sizeof yaml + 128];
    (void)snprintf(state_dir, bytes, "%s/state", r->dir);
    r->state_dir = state_dir;
    rig_sim_start(r, sim);
    rig_fault(r, "{\"kind\": \"slow_first_byte\", \"path\": \"/k/slow\", \"delay_ms\": 1300}");
    second = *r;
    second.port = 0;
    /* No ban: it is asked as often as the victim goes round. */
    rig_sim_start(&second,
                  "{\"latency_ms\": 1, \"ban_after\": 0, \"limits\": [{\"name\": \"weight\", "
                  "\"kind\": \"token_bucket\", \"quota\": 1000000, \"refill_per_s\": "
                  "1000000}]}");
    rig_fault(&second, "{\"kind\": \"status\", \"status\": 503, \"path\": \"/api/v3/depth\", "
                       "\"probability\": 0.5}");
    uid_put(yaml, text, sizeof text);
    rig_config(r, text, second.port);
}
