/*
 * shadow.c: a second configuration judged beside the live one, and the pace of limits, with real processes and a worker that is killed.
 *
 * Oracle: the test's own count. The live limits are wide open; of the shadow's narrow ones every call beyond the quota must be counted as one that would
 * have been refused, and none of them may be refused.
 */
#include "rig.h"

#include <signal.h>
#include <string.h>

#define CALLS      30U
#define PERMITS    500U
#define SHADOW_IP  12U /* units a day for brokered calls, in the shadow */
#define SHADOW_OWN 100U

/* max_jitter: longer than anything is kept waiting. A permit that grew too old is followed by another one, and both are counted. */
static const char *const live_yaml =
    "broker: {name: rig, memory: 64MiB, shadow: $SHADOW}\n"
    "providers:\n"
    "  - name: sim\n"
    "    clock: {source: host, error: 10ms, max_jitter: 1s}\n"
    "    limits:\n"
    "      - {name: calls, kind: fixed_window, quota: 100000, window: 1d}\n"
    "      - {name: own, kind: token_bucket, quota: 100000, window: 1h, scope: account}\n"
    "    scopes: {account: [main, sub]}\n"
    "    endpoints: [{name: api, url: \"http://127.0.0.1:$PORT\"}]\n"
    "    routes:\n"
    "      - {name: ping, method: GET, path: /api/v3/ping, cost: {calls: 1}}\n"
    "      - {name: new, method: GET, path: /api/v3/ping, cost: {calls: 1}}\n"
    "      - {name: order, transport: own, cost: {own: 1}, priority: critical}\n";

/* Other quotas, another order, and no route `new`. */
static const char *const shadow_yaml =
    "providers:\n"
    "  - name: sim\n"
    "    clock: {source: host, error: 10ms, max_jitter: 1s}\n"
    "    limits:\n"
    "      - {name: own, kind: fixed_window, quota: 100, window: 1d, scope: account}\n"
    "      - {name: calls, kind: fixed_window, quota: 12, window: 1d}\n"
    "    scopes: {account: [sub, main]}\n"
    "    endpoints: [{name: api, url: \"http://127.0.0.1:1\"}]\n"
    "    routes:\n"
    "      - {name: order, transport: own, cost: {own: 1}, priority: critical}\n"
    "      - {name: ping, method: GET, path: /api/v3/ping, cost: {calls: 1}}\n";

static void file_write(struct rig *r, const char *path, const char *text)
{
    FILE *f = fopen(path, "we");
    if (f == NULL || fputs(text, f) < 0 || fclose(f) != 0) {
        (void)printf("broken harness: cannot write %s\n", path);
        exit(99);
    }
    (void)r;
}

static void config_write(struct rig *r)
{
    char shadow[120];
    char yaml[4096];
    const char *at = strstr(live_yaml, "$SHADOW");
    (void)snprintf(shadow, sizeof shadow, "%s/shadow.yaml", r->dir);
    file_write(r, shadow, shadow_yaml);
    (void)snprintf(yaml, sizeof yaml, "%.*s%s%s", (int)(at - live_yaml), live_yaml, shadow,
                   at + strlen("$SHADOW"));
    rig_config(r, yaml, 0);
}

static const struct weir_shm_trial *head_of(struct weir *w)
{
    return rig_board(w, WEIR_SECTION_TRIAL, sizeof(struct weir_shm_trial));
}

/* The shadow's own limits, in its own order: 0 own, 1 calls. */
static const struct weir_shm_trial_limit *limit_of(struct weir *w, uint32_t i)
{
    const struct weir_shm_trial_limit *l =
        rig_board(w, WEIR_SECTION_TRIAL_LIMIT, sizeof(struct weir_shm_trial_limit));
    return &l[i];
}

static void calls_make(struct rig *r, struct weir *w, const char *name, unsigned cnt)
{
    const struct weir_request_spec spec = {.struct_bytes = sizeof spec,
                                           .route = rig_route(w, name)};
    for (unsigned i = 0; i < cnt; i++) {
        struct weir_response a;
        CHECK_INT(r, weir_call(w, &spec, weir_now_ns(w) + 5 * WEIR_NS_PER_S, &a), 0);
        CHECK_INT(r, a.result, WEIR_RESULT_DONE); /* nothing is refused for the shadow */
        (void)weir_release(w, a.ticket);
    }
}

static void brokered_calls_are_exact(struct rig *r, struct weir *w)
{
    calls_make(r, w, "sim.ping", CALLS);
    calls_make(r, w, "sim.new", 3);
    CHECK_INT(r, head_of(w)->exact, CALLS);
    CHECK_INT(r, head_of(w)->exact_refused, CALLS - SHADOW_IP);
    CHECK_INT(r, limit_of(w, 1)->exact_refused[WEIR_PRIORITY_MEDIUM], CALLS - SHADOW_IP);
    CHECK_INT(r, head_of(w)->no_route, 3);
    CHECK_INT(r, limit_of(w, 0)->exact_refused[WEIR_PRIORITY_CRITICAL], 0);
    CHECK_TEXT(r, limit_of(w, 1)->name, "calls");
    CHECK_INT(r, limit_of(w, 1)->live, 0);
    CHECK_INT(r, limit_of(w, 0)->live, 1);
}

static bool folded(struct weir *w, uint64_t cnt)
{
    for (int i = 0; i < 200; i++) {
        if (weir_load_relaxed_u64(&head_of(w)->folded) >= cnt) {
            return true;
        }
        rig_sleep_ms(50);
    }
    return false;
}

static void traders_are_counted_apart(struct rig *r, struct weir *w)
{
    weir_route_id order = rig_route(w, "sim.order");
    for (unsigned i = 0; i < PERMITS; i++) {
        struct weir_permit p;
        CHECK_INT(r, weir_permit_try(w, order, 0, NULL, WEIR_PRIORITY_CRITICAL, &p), 0);
    }
    CHECK(r, folded(w, PERMITS), "judged within ten seconds: %llu of %u",
          (unsigned long long)head_of(w)->folded, PERMITS);
    CHECK_INT(r, head_of(w)->folded, PERMITS);
    CHECK_INT(r, head_of(w)->folded_refused, PERMITS - SHADOW_OWN);
    CHECK_INT(r, limit_of(w, 0)->folded_refused[WEIR_PRIORITY_CRITICAL], PERMITS - SHADOW_OWN);
    CHECK_INT(r, head_of(w)->exact, CALLS);
}

/* 500 permits within moments: the worker's pace of this word must know them, and nothing of the other scope value. */
static void pace_is_on_the_board(struct rig *r, struct weir *w)
{
    struct weir_forecast f;
    uint32_t limit;
    weir_scope_id sub;
    CHECK_INT(r, weir_limit_find(w, "sim.calls", &limit), 0);
    unsigned more = 0;
    /* the worker measures each 10 ms; what came in the one in which it first knew the provider's time cannot be told */
    for (; more < 200; more++) {
        CHECK_INT(r, weir_limit_forecast(w, limit, 0, NULL, &f), 0);
        if (f.pace_micro > 0) {
            break;
        }
        calls_make(r, w, "sim.new", 1);
        rig_sleep_ms(10);
    }
    CHECK_INT(r, f.used_units, CALLS + 3 + more);
    CHECK(r, f.pace_over_ns > 0 && f.pace_micro > 0, "a pace: %llu over %llu ns",
          (unsigned long long)f.pace_micro, (unsigned long long)f.pace_over_ns);
    CHECK(r, f.earliest_ns == f.now_ns, "there is room");
    CHECK_INT(r, weir_limit_find(w, "sim.own", &limit), 0);
    CHECK_INT(r, weir_scope_find(w, "sim", "account=sub", &sub), 0);
    CHECK_INT(r, weir_limit_forecast(w, limit, sub, NULL, &f), 0);
    CHECK_INT(r, f.pace_micro, 0);
    CHECK(r, f.empty_ns == UINT64_MAX, "nobody takes, so it lasts");
}

/* The counts and the shadow's own charges outlive the worker. */
static void worker_dies(struct rig *r, struct weir *w)
{
    pid_t old = rig_process(r, "weird-worker");
    CHECK(r, old > 0, "a worker");
    (void)kill(old, SIGKILL);
    CHECK(r, rig_process_next(r, "weird-worker", old, 5000) > 0, "another worker");
    calls_make(r, w, "sim.ping", 5);
    CHECK_INT(r, head_of(w)->exact, CALLS + 5);
    CHECK_INT(r, head_of(w)->exact_refused, CALLS - SHADOW_IP + 5);
}

static void broken_shadow_is_refused(struct rig *r)
{
    char path[120];
    char out[1024];
    (void)snprintf(path, sizeof path, "%s/shadow.yaml", r->dir);
    file_write(r, path, "providers: []\n");
    CHECK_INT(r, rig_weird_run(r, NULL, out, sizeof out), 2);
    CHECK(r, strstr(out, "shadow.yaml:1:") != NULL, "names the shadow's file and line: %s", out);
    CHECK_INT(r, rig_weird_run(r, "--check", out, sizeof out), 2);
    (void)unlink(path);
    CHECK_INT(r, rig_weird_run(r, NULL, out, sizeof out), 2);
    CHECK(r, strstr(out, "cannot be read") != NULL, "says that it cannot be read: %s", out);
}

int main(int argc, char **argv)
{
    struct rig r;
    rig_open(&r, "shadow", argc, argv, 80);
    rig_sim_start(&r, "{}");
    config_write(&r);
    rig_weird_start(&r);
    struct weir *w = rig_attach(&r, WEIR_ROLE_TRADER);
    brokered_calls_are_exact(&r, w);
    pace_is_on_the_board(&r, w);
    traders_are_counted_apart(&r, w);
    worker_dies(&r, w);
    weir_close(w);
    CHECK_INT(&r, rig_weird_stop(&r, 10000), 0);
    broken_shadow_is_refused(&r);
    return rig_close(&r);
}
