/*
 * pause.c: one process is told to stop, and all stop; one tries, and all come back. With real processes and kills.
 *
 * Oracle: the order of events, told through shared words: whoever sees that the report was made and asks for a permit afterwards must not get one
 * before the pause is over. Times are only bounded by seconds.
 * A stop that a call of the broker's own was told goes through the instant pause:begin.
 */
#include "rig.h"

#include "shm/weir_attach.h"
#include "shm/weir_hold.h"

#include <signal.h>
#include <string.h>
#include <unistd.h>

#define STRATEGIES 8

/* shared->count: */
enum { READY = 1, REPORTED, AFTER, PROBES, BROKEN, HELD, LATER };

static const char yaml[] =
    "broker: {name: rig, log: info}\n"
    "providers:\n"
    "  - name: sim\n"
    "    clock: {source: host}\n"
    "    limits:\n"
    "      - {name: bucket, kind: token_bucket, quota: 100000, window: 1s}\n"
    "    throttle: {status: [429, 418, 403], ban: {status: [403], pause: 20m}, backoff: {jitter: "
    "0%, quiet: 1h, max: 3s}, reopen: {probe: "
    "2s, "
    "ramp: 80ms}}\n"
    "    endpoints:\n"
    "      - {name: a, url: \"http://127.0.0.1:$PORT\", connections: 64}\n"
    "    routes:\n"
    "      - {name: ping, method: GET, path: /api/v3/ping, cost: {bucket: 1}, timeout: 20s}\n"
    "      - {name: own, transport: own, cost: {bucket: 1}}\n";

static const struct weir_outcome fine = {.kind = WEIR_OUTCOME_ANSWERED, .status = 200};
static const struct weir_outcome stop = {
    .kind = WEIR_OUTCOME_ANSWERED, .status = 429, .retry_after_ns = WEIR_NS_PER_S};

static uint32_t seen(const struct rig *r, unsigned at)
{
    return weir_load_acquire_u32(&r->shared->count[at]);
}

static void note(struct rig *r, unsigned at)
{
    (void)weir_fetch_add_u32(&r->shared->count[at], 1);
}

static void counts_clear(struct rig *r)
{
    memset(r->shared->count, 0, sizeof r->shared->count);
    weir_store_release_u32(&r->shared->stop, 0);
}

static const struct weir_shm_provider *board_provider(const struct weir *w)
{
    return rig_board(w, WEIR_SECTION_PROVIDER, sizeof(struct weir_shm_provider));
}

static bool until_open(const struct weir *w, unsigned limit_ms)
{
    for (unsigned i = 0; i < limit_ms; i++) {
        if (weir_hold_open(weir_load_acquire_u64(&board_provider(w)->pause),
                           weir_load_acquire_u64(&w->at->pause[0].word))) {
            return true;
        }
        rig_sleep_ms(1);
    }
    return false;
}

/* ---------------------------------------------------------------------------------------------- a storm */

/* The first granted behind the pause holds its probe for a while: nobody else may pass. */
static void behind(struct rig *r, struct weir *w, struct weir_permit *p)
{
    if ((p->pause_generation & WEIR_HOLD_PROBE) != 0) {
        note(r, PROBES);
        rig_sleep_ms(300);
        if (seen(r, AFTER) != 0) {
            (void)printf("FAILED: %u granted beside the probe\n", seen(r, AFTER));
            note(r, BROKEN);
        }
    } else if (seen(r, HELD) == 0) {
        (void)printf("FAILED: granted before the probe was answered\n");
        note(r, BROKEN);
    }
    if ((p->pause_generation & WEIR_HOLD_PROBE) != 0) {
        note(r, HELD);
    } else {
        note(r, AFTER);
    }
    (void)weir_permit_settle(w, p, &fine);
}

static int strategy(struct rig *r, int arg)
{
    struct weir *w = rig_attach(r, WEIR_ROLE_TRADER);
    weir_route_id route = rig_route(w, "sim.own");
    struct weir_permit p;
    bool reporter = arg == 0;
    note(r, READY);
    while (weir_load_acquire_u32(&r->shared->stop) == 0) {
        bool reported = seen(r, REPORTED) != 0;
        int rc = weir_permit_try(w, route, 0, NULL, WEIR_PRIORITY_HIGH, &p);
        if (rc == WEIR_OK && reporter && seen(r, READY) == STRATEGIES) {
            reporter = false;
            CHECK_INT(r, weir_permit_settle(w, &p, &stop), 0);
            note(r, REPORTED); /* from here on nobody may be granted */
        } else if (rc == WEIR_OK && reported) {
            if (p.granted_at_ns < weir_pause_until_ns(w->at->pause[0].word)) {
                (void)printf("FAILED: granted after the report was made\n");
                note(r, BROKEN);
            }
            behind(r, w, &p);
        } else if (rc == WEIR_OK) {
            (void)weir_permit_settle(w, &p, &fine);
        } else {
            rig_sleep_ms(1);
        }
        if (seen(r, AFTER) > 2000) {
            break;
        }
    }
    weir_close(w);
    return r->failures != 0 || seen(r, BROKEN) != 0;
}

static void storm(struct rig *r, struct weir *w)
{
    pid_t pid[STRATEGIES];
    counts_clear(r);
    for (int i = 0; i < STRATEGIES; i++) {
        pid[i] = rig_fork(r, strategy, i);
    }
    for (int i = 0; i < STRATEGIES; i++) {
        CHECK_INT(r, rig_wait(pid[i], 20000), 0);
    }
    CHECK_INT(r, seen(r, PROBES), 1);
    CHECK(r, seen(r, AFTER) > 2000, "the full rate again");
    CHECK(r, until_open(w, 5000), "cleared by the worker");
    CHECK_INT(r, board_provider(w)->backoff_steps, 1);
    CHECK_INT(r, rig_board_worker(w)->permit_reports, 1);
}

/* ---------------------------------------------------------------------------------------------- late answers */

static void late(struct rig *r, struct weir *w)
{
    struct weir_permit p[4];
    weir_route_id own = rig_route(w, "sim.own");
    for (unsigned i = 0; i < 4; i++) {
        CHECK_INT(r, weir_permit_try(w, own, 0, NULL, WEIR_PRIORITY_HIGH, &p[i]), 0);
    }
    uint64_t steps = board_provider(w)->backoff_steps;
    CHECK_INT(r, weir_permit_settle(w, &p[0], &stop), 0);
    rig_sleep_ms(50);
    CHECK_INT(r, board_provider(w)->backoff_steps, (long long)steps + 1);
    CHECK_INT(r, weir_permit_settle(w, &p[1], &stop), 0); /* of the same burst */
    rig_sleep_ms(50);
    CHECK_INT(r, board_provider(w)->backoff_steps, (long long)steps + 1);
    CHECK_INT(r, rig_operate(r, WEIR_OPERATION_RESUME, "sim", 0), 0);
    struct weir_permit q;
    CHECK_INT(r, weir_permit_try(w, own, 0, NULL, WEIR_PRIORITY_HIGH, &q), 0);
    CHECK_INT(r, weir_permit_settle(w, &p[2], &stop), 0); /* late */
    CHECK_INT(r, weir_permit_settle(w, &q, &fine), 0);
    rig_sleep_ms(50);
    CHECK_INT(r, weir_permit_try(w, own, 0, NULL, WEIR_PRIORITY_HIGH, &q), 0);
    CHECK_INT(r, board_provider(w)->backoff_steps, (long long)steps + 1);
    /* One that left behind the resume is heard. */
    CHECK_INT(r, weir_permit_settle(w, &q, &stop), 0);
    CHECK_INT(r, weir_permit_try(w, own, 0, NULL, WEIR_PRIORITY_HIGH, &q), WEIR_DENIED);
    CHECK_INT(r, q.denial.reason, WEIR_REASON_PAUSED);
    CHECK_INT(r, rig_operate(r, WEIR_OPERATION_RESUME, "sim", 0), 0);
    CHECK_INT(r, weir_permit_settle(w, &p[3], &fine), 0);
}

/* Many calls of the broker's in flight, all told to stop: one step. */
static void burst(struct rig *r, struct weir *w)
{
    weir_ticket ticket[20];
    struct weir_response a;
    const struct weir_request_spec spec = {.struct_bytes = sizeof spec,
                                           .route = rig_route(w, "sim.ping")};
    uint64_t steps = board_provider(w)->backoff_steps;
    uint64_t throttled = board_provider(w)->throttled;
    uint32_t told = 0;
    char fault[128];
    (void)snprintf(
        fault, sizeof fault,
        "{\"kind\": \"status\", \"status\": 429, \"retry_after_s\": 1, \"delay_ms\": %u}",
        600 * rig_slowness());
    rig_fault(r, fault);
    for (unsigned i = 0; i < 20; i++) {
        CHECK_INT(r, weir_submit(w, &spec, &ticket[i]), 0);
    }
    rig_sleep_ms(
        300 *
        rig_slowness()); /* what has not left by now comes behind the pause, and is not to be told again */
    rig_faults_clear(r);
    for (unsigned i = 0; i < 20; i++) {
        CHECK_INT(r, weir_wait(w, ticket[i], weir_now_ns(w) + 20 * WEIR_NS_PER_S, &a), 0);
        CHECK(r, a.status == 429 || a.status == 200, "answered");
        told += a.status == 429;
        (void)weir_release(w, a.ticket);
        if (told == 1) {
            rig_sleep_ms(50);
        }
    }
    CHECK(r, told > 1, "a burst");
    CHECK_INT(r, board_provider(w)->throttled - throttled, told);
    CHECK_INT(r, board_provider(w)->backoff_steps - steps, 1);
}

/* A status that means a ban of known length, which the answer does not name: longer than any backoff, and who asks is told its end. */
static void banned(struct rig *r, struct weir *w)
{
    struct weir_response a;
    struct weir_permit p;
    const struct weir_request_spec spec = {.struct_bytes = sizeof spec,
                                           .route = rig_route(w, "sim.ping")};
    CHECK(r, until_open(w, 10000), "open before");
    rig_fault(r, "{\"kind\": \"status\", \"status\": 403, \"count\": 1}");
    uint64_t before_ns = weir_now_ns(w);
    CHECK_INT(r, weir_call(w, &spec, weir_now_ns(w) + 20 * WEIR_NS_PER_S, &a), 0);
    CHECK_INT(r, a.status, 403);
    (void)weir_release(w, a.ticket);
    rig_faults_clear(r);
    uint64_t until_ns = weir_pause_until_ns(board_provider(w)->pause);
    CHECK(r, until_ns >= before_ns + 20 * 60 * WEIR_NS_PER_S, "as long as configured");
    CHECK_INT(r, weir_pause_cause(board_provider(w)->pause), WEIR_PAUSE_BANNED);
    CHECK_INT(r, weir_permit_try(w, rig_route(w, "sim.own"), 0, NULL, WEIR_PRIORITY_HIGH, &p),
              WEIR_DENIED);
    CHECK_INT(r, p.denial.reason, WEIR_REASON_PAUSED);
    CHECK(r, p.denial.earliest_ns == until_ns, "and its end is told");
    CHECK_INT(r, rig_operate(r, WEIR_OPERATION_RESUME, "sim", 0), 0);
    CHECK(r, until_open(w, 5000), "an operator knows better");
}

/* ---------------------------------------------------------------------------------------------- deaths */

static void worker_dies(struct rig *r, struct weir *w)
{
    struct weir_permit p;
    CHECK(r, until_open(w, 10000), "open before");
    CHECK_INT(r, weir_permit_try(w, rig_route(w, "sim.own"), 0, NULL, WEIR_PRIORITY_HIGH, &p), 0);
    CHECK_INT(r, weir_permit_settle(w, &p, &stop), 0);
    rig_sleep_ms(
        100); /* ten looks of the worker: it has put it on the board, longer than the trader did */
    uint64_t until_ns = weir_pause_until_ns(board_provider(w)->pause);
    uint32_t level = board_provider(w)->backoff_level;
    CHECK(r, until_ns > weir_pause_until_ns(w->at->pause[0].word), "it escalated");
    pid_t old = rig_process(r, "weird-worker");
    (void)kill(old, SIGKILL);
    CHECK(r, rig_process_next(r, "weird-worker", old, 5000) != 0, "a new worker");
    if (weir_now_ns(w) < until_ns) { /* on a machine that is not too slow for words */
        int rc = weir_permit_try(w, rig_route(w, "sim.own"), 0, NULL, WEIR_PRIORITY_HIGH, &p);
        CHECK(r, rc == WEIR_DENIED || weir_now_ns(w) >= until_ns, "paused all the time");
    }
    CHECK_INT(r, weir_pause_until_ns(board_provider(w)->pause), until_ns);
    CHECK_INT(r, board_provider(w)->backoff_level, level);
    /* The next worker goes on: a probe is answered, and all is open again. */
    struct weir_response a;
    const struct weir_request_spec spec = {.struct_bytes = sizeof spec,
                                           .route = rig_route(w, "sim.ping")};
    CHECK_INT(r, weir_call(w, &spec, weir_now_ns(w) + 30 * WEIR_NS_PER_S, &a), 0);
    CHECK_INT(r, a.result, WEIR_RESULT_DONE);
    CHECK_INT(r, a.status, 200);
    CHECK(r, a.sent_ns >= until_ns, "not before its end");
    (void)weir_release(w, a.ticket);
    CHECK(r, until_open(w, 5000), "open");
}

static int prober(struct rig *r, int arg)
{
    (void)arg;
    struct weir *w = rig_attach(r, WEIR_ROLE_TRADER);
    struct weir_permit p;
    int rc = weir_permit_wait(w, rig_route(w, "sim.own"), 0, NULL, WEIR_PRIORITY_HIGH,
                              weir_now_ns(w) + 30 * WEIR_NS_PER_S, &p);
    note(r, rc == 0 && (p.pause_generation & WEIR_HOLD_PROBE) != 0 ? HELD : BROKEN);
    (void)raise(SIGSTOP); /* until it is killed */
    return 0;
}

static void prober_dies(struct rig *r, struct weir *w)
{
    struct weir_permit p;
    weir_route_id own = rig_route(w, "sim.own");
    counts_clear(r);
    CHECK_INT(r, weir_permit_try(w, own, 0, NULL, WEIR_PRIORITY_HIGH, &p), 0);
    CHECK_INT(r, weir_permit_settle(w, &p, &stop), 0);
    pid_t pid = rig_fork(r, prober, 0);
    for (unsigned i = 0; i < 60000 && seen(r, HELD) == 0; i++) {
        rig_sleep_ms(1);
    }
    CHECK_INT(r, seen(r, HELD), 1);
    uint64_t held_ns = weir_reopen_since_ns(weir_load_acquire_u64(&w->at->pause[0].reopen));
    (void)kill(pid, SIGKILL);
    int rc = weir_permit_try(w, own, 0, NULL, WEIR_PRIORITY_HIGH, &p);
    CHECK(r, rc == WEIR_DENIED || weir_now_ns(w) >= held_ns + 2 * WEIR_NS_PER_S,
          "its probe is out");
    /* A waiter sleeps to the end of the lease, and is the next to try. */
    CHECK_INT(r,
              weir_permit_wait(w, own, 0, NULL, WEIR_PRIORITY_HIGH,
                               weir_now_ns(w) + 30 * WEIR_NS_PER_S, &p),
              0);
    CHECK(r, p.granted_at_ns >= held_ns + 2 * WEIR_NS_PER_S, "not before the lease has ended");
    CHECK(r, (p.pause_generation & WEIR_HOLD_PROBE) != 0, "one more probe");
    CHECK_INT(r, weir_permit_settle(w, &p, &fine), 0);
    CHECK(r, until_open(w, 5000), "open");
}

/* ---------------------------------------------------------------------------------------------- waiters, operators */

/* Sleeps through the pause. The first is the probe and lets the others wait for its answer. */
static int sleeper(struct rig *r, int arg)
{
    (void)arg;
    struct weir *w = rig_attach(r, WEIR_ROLE_TRADER);
    struct weir_permit p;
    note(r, READY);
    int rc = weir_permit_wait(w, rig_route(w, "sim.own"), 0, NULL, WEIR_PRIORITY_HIGH,
                              weir_now_ns(w) + 60 * WEIR_NS_PER_S, &p);
    if (rc == 0 && (p.pause_generation & WEIR_HOLD_PROBE) != 0) {
        rig_sleep_ms(300);
        note(r, seen(r, LATER) == 0 ? HELD : BROKEN);
        rc = weir_permit_settle(w, &p, &fine); /* rings */
        note(r, AFTER);
    } else if (rc == 0) {
        note(r, LATER);
        rc = weir_permit_settle(w, &p, &fine);
    }
    weir_close(w);
    return rc;
}

static void sleepers(struct rig *r, struct weir *w)
{
    struct weir_permit p;
    pid_t pid[6];
    counts_clear(r);
    CHECK_INT(r, weir_permit_try(w, rig_route(w, "sim.own"), 0, NULL, WEIR_PRIORITY_HIGH, &p), 0);
    CHECK_INT(r, weir_permit_settle(w, &p, &stop), 0);
    for (unsigned i = 0; i < 6; i++) {
        pid[i] = rig_fork(r, sleeper, 0);
    }
    for (unsigned i = 0; i < 6; i++) {
        CHECK_INT(r, rig_wait(pid[i], 30000), 0);
    }
    CHECK_INT(r, seen(r, HELD), 1);
    CHECK_INT(r, seen(r, BROKEN), 0);
    CHECK_INT(r, seen(r, LATER), 5);
    CHECK(r, until_open(w, 5000), "open");
}

static int waiter(struct rig *r, int arg)
{
    (void)arg;
    struct weir *w = rig_attach(r, WEIR_ROLE_TRADER);
    struct weir_permit p;
    note(r, READY);
    int rc =
        weir_permit_wait(w, rig_route(w, "sim.own"), 0, NULL, WEIR_PRIORITY_HIGH, UINT64_MAX, &p);
    note(r, LATER);
    weir_close(w);
    return rc;
}

static void operators(struct rig *r, struct weir *w)
{
    struct weir_permit p;
    weir_route_id own = rig_route(w, "sim.own");
    pid_t pid[4];
    counts_clear(r);
    CHECK_INT(r, rig_operate(r, WEIR_OPERATION_PAUSE, "sim", 0), 0);
    CHECK_INT(r, weir_permit_try(w, own, 0, NULL, WEIR_PRIORITY_HIGH, &p), WEIR_DENIED);
    CHECK(r, p.denial.earliest_ns == UINT64_MAX, "somebody's decision");
    for (unsigned i = 0; i < 4; i++) {
        pid[i] = rig_fork(r, waiter, 0);
    }
    for (unsigned i = 0; i < 20000 && seen(r, READY) < 4; i++) {
        rig_sleep_ms(1);
    }
    CHECK_INT(r, seen(r, LATER), 0);
    CHECK_INT(r, rig_operate(r, WEIR_OPERATION_RESUME, "sim", 0), 0);
    for (unsigned i = 0; i < 4; i++) {
        CHECK_INT(r, rig_wait(pid[i], 10000), 0);
    }
    CHECK_INT(r, rig_operate(r, WEIR_OPERATION_PAUSE, "sim", 200 * WEIR_NS_PER_MS), 0);
    CHECK_INT(r, weir_permit_wait(w, own, 0, NULL, WEIR_PRIORITY_HIGH, UINT64_MAX, &p), 0);
    CHECK(r, (p.pause_generation & WEIR_HOLD_PROBE) == 0, "a decision is no guess");
    CHECK_INT(r, rig_operate(r, WEIR_OPERATION_PAUSE, "nobody", 0), WEIR_E_SCOPE_UNKNOWN);
    CHECK_INT(r, rig_operate(r, WEIR_OPERATION_BLOCK, "nobody", 0), WEIR_E_CLIENT_UNKNOWN);
    CHECK_INT(r, rig_operate(r, (enum weir_operation)99, "sim", 0), WEIR_E_UNSUPPORTED);
    CHECK_INT(r, rig_operate(r, WEIR_OPERATION_BLOCK, "all", 0), 0);
    CHECK_INT(r, weir_permit_try(w, own, 0, NULL, WEIR_PRIORITY_HIGH, &p), WEIR_DENIED);
    CHECK_INT(r, p.denial.reason, WEIR_REASON_BLOCKED);
    CHECK_INT(r, rig_operate(r, WEIR_OPERATION_UNBLOCK, "all", 0), 0);
    CHECK_INT(r, weir_permit_try(w, own, 0, NULL, WEIR_PRIORITY_HIGH, &p), 0);
    char index[16];
    (void)snprintf(index, sizeof index, "%u", w->at->client);
    CHECK_INT(r, rig_operate(r, WEIR_OPERATION_BLOCK, index, 0), 0);
    CHECK_INT(r, weir_permit_try(w, own, 0, NULL, WEIR_PRIORITY_HIGH, &p), WEIR_DENIED);
    CHECK_INT(r, rig_operate(r, WEIR_OPERATION_UNBLOCK, index, 0), 0);
    CHECK(r, rig_log_has(r, "\"event\":\"operated\"") && rig_log_has(r, "\"reason\":\"the test\""),
          "an audit event with its reason");
}

int main(int argc, char **argv)
{
    static struct rig r;
    rig_open(&r, "pause", argc, argv, 100);
    rig_sim_start(&r, "{\"limits\": [{\"name\": \"weight\", \"kind\": \"fixed_window\", \"quota\": "
                      "1000000, \"window_ms\": 60000}]}");
    rig_config(&r, yaml, 0);
    rig_weird_start(&r);
    struct weir *w = rig_attach(&r, WEIR_ROLE_TRADER);
    storm(&r, w);
    late(&r, w);
    burst(&r, w);
    banned(&r, w);
    worker_dies(&r, w);
    prober_dies(&r, w);
    sleepers(&r, w);
    operators(&r, w);
    weir_close(w);
    CHECK_INT(&r, rig_weird_stop(&r, 15000), 0);
    return rig_close(&r);
}
