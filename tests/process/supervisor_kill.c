/*
 * kill -9 of the supervisor, of both, and the clean stop. What was used stays used: by the same words while the worker lives, as spent after an
 * unclean end, from the state after a clean one.
 */
#include "rig.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

static const char sim[] = "{\"latency_ms\": 2, \"limits\": [{\"name\": \"weight\", \"kind\": "
                          "\"fixed_window\", \"quota\": "
                          "40, \"window_ms\": 20000}]}";

/* Milliseconds of CPU that a process has used. */
static long cpu_ms(pid_t pid)
{
    char path[64];
    char text[1024];
    unsigned long user = 0;
    unsigned long system = 0;
    (void)snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    FILE *f = fopen(path, "re");
    size_t n = f != NULL ? fread(text, 1, sizeof text - 1, f) : 0;
    text[n] = '\0';
    if (f != NULL) {
        (void)fclose(f);
    }
    const char *at = strrchr(text, ')');
    if (at != NULL) {
        (void)sscanf(at + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system);
    }
    return (long)(user + system) * 1000 / sysconf(_SC_CLK_TCK);
}

static int ping(struct weir *w, struct weir_response *a)
{
    const struct weir_request_spec spec = {
        .struct_bytes = sizeof spec, .route = rig_route(w, "sim.ping"), .priority_set = 1};
    int rc = weir_call(w, &spec, weir_now_ns(w) + 3 * WEIR_NS_PER_S, a);
    if (rc == 0) {
        (void)weir_release(w, a->ticket);
    }
    return rc;
}

static int permit(struct weir *w, struct weir_permit *p)
{
    return weir_permit_try(w, rig_route(w, "sim.own"), 0, NULL, WEIR_PRIORITY_CRITICAL, p);
}

/* Enough of the exchange's window ahead that nothing here straddles its edge. */
static void window_begin(unsigned window_ms, unsigned need_ms)
{
    struct timespec ts;
    (void)clock_gettime(CLOCK_REALTIME, &ts);
    unsigned into_ms =
        (unsigned)((uint64_t)ts.tv_sec * 1000 % window_ms) + (unsigned)(ts.tv_nsec / 1000000);
    if (into_ms + need_ms > window_ms) {
        rig_sleep_ms(window_ms - into_ms + 150);
    } else if (into_ms < 150) {
        rig_sleep_ms(150);
    }
}

/* Wait until the first answer of the exchange's clock: only then the whole quota counts. */
static void clock_wait(struct weir *w)
{
    uint64_t utc_ns;
    uint64_t error_ns;
    for (int i = 0; i < 500 && weir_server_time(w, "sim", &utc_ns, &error_ns) != 0; i++) {
        rig_sleep_ms(5);
    }
}

static void supervisor_dies(struct rig *r)
{
    struct weir_response a;
    struct weir_permit p;
    struct weir *w = rig_attach(r, WEIR_ROLE_TRADER);
    pid_t worker = rig_process(r, "weird-worker");
    CHECK_INT(r, weir_check(w), 0);
    (void)kill(r->weird, SIGKILL);
    CHECK_INT(r, rig_wait(r->weird, 2000), 128 + SIGKILL);
    r->weird = 0;
    rig_sleep_ms(50);
    CHECK_INT(r, weir_check(w), WEIR_E_STALE);
    CHECK_INT(r, ping(w, &a), 0);
    CHECK_INT(r, a.result, WEIR_RESULT_DONE);
    CHECK_INT(r, permit(w, &p), 0);
    CHECK_INT(r, rig_process(r, "weird-worker"), worker);
    /* It waits, and does not spin on the closed sockets. */
    long before_ms = cpu_ms(worker);
    rig_sleep_ms(500);
    long used_ms = cpu_ms(worker) - before_ms;
    rig_check(r, used_ms < 200, __FILE__, __LINE__, "the idle worker used %ld of 500 ms", used_ms);
    struct weir_open_opts opts = {.role = WEIR_ROLE_CALLER};
    struct weir_diag diag = {0};
    int rc;
    CHECK(r, rig_attach_opts(r, &opts, &diag, &rc) == NULL, "nobody can attach");
    CHECK_INT(r, rc, WEIR_E_NO_BROKER);
    CHECK(r,
          strstr(diag.text, "the broker is dead and left its socket behind: start it again") !=
              NULL,
          "stale socket");
    CHECK_INT(r, permit(w, &p), 0);
    /* An operator can end it. */
    (void)kill(worker, SIGTERM);
    CHECK_INT(r, rig_wait(worker, 3000), 0);
    rig_sleep_ms(5);
    CHECK_INT(r, permit(w, &p), WEIR_DENIED);
    CHECK_INT(r, p.denial.reason, WEIR_REASON_LEASE_ENDED);
    weir_close(w);
}

/* As a process that was killed and that the kernel has not quite ended: its descriptors are open, the supervisor that signed is gone. */
static int dies_slowly(struct rig *r, int fd)
{
    (void)r;
    rig_sleep_ms(300);
    (void)close(fd);
    return 0;
}

/* Hand the lock of the dead broker to a process that keeps it for 300 ms. */
static pid_t lock_linger(struct rig *r)
{
    char path[160];
    (void)snprintf(path, sizeof path, "%s/rig/lock", r->dir);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    CHECK(r, fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0, "nobody has the lock");
    pid_t pid = rig_fork(r, dies_slowly, fd);
    (void)close(fd);
    return pid;
}

/* The broker before did not stop cleanly: this one waits a lease, and what may have been used counts as used. */
static void after_both(struct rig *r)
{
    struct weir_permit p;
    uint64_t began_ns = rig_now_ns();
    window_begin(20000, 12000);
    pid_t lingers = lock_linger(r);
    rig_weird_start(r);
    CHECK_INT(r, rig_wait(lingers, 2000), 0);
    struct weir *w = rig_attach(r, WEIR_ROLE_TRADER);
    CHECK(r, rig_now_ns() - began_ns > 4900 * WEIR_NS_PER_MS, "a lease was waited for");
    CHECK(r, rig_log_has(r, "limits_counted_as_spent"), "it says so");
    clock_wait(w);
    CHECK_INT(r, permit(w, &p), WEIR_DENIED);
    CHECK_INT(r, p.denial.reason, WEIR_REASON_LIMIT_FULL);
    CHECK(r, p.denial.earliest_ns > weir_now_ns(w), "a promised instant");
    /* Both at once. */
    pid_t worker = rig_process(r, "weird-worker");
    (void)kill(r->weird, SIGSTOP);
    (void)kill(worker, SIGKILL);
    (void)kill(r->weird, SIGKILL);
    (void)rig_wait(r->weird, 2000);
    r->weird = 0;
    CHECK_INT(r, weir_check(w), WEIR_E_STALE);
    weir_close(w);
}

/* The lease ends for those who stay; a new broker takes them when they open again. */
static void lease_ends(struct rig *r)
{
    struct weir_permit p;
    struct weir_response a;
    struct weir *w;
    rig_weird_start(r);
    w = rig_attach(r, WEIR_ROLE_TRADER);
    (void)kill(r->weird, SIGSTOP);
    (void)kill(rig_process(r, "weird-worker"), SIGKILL);
    (void)kill(r->weird, SIGKILL);
    (void)rig_wait(r->weird, 2000);
    r->weird = 0;
    CHECK(r, permit(w, &p) == 0 || p.denial.reason == WEIR_REASON_LIMIT_FULL, "within the lease");
    rig_sleep_ms(5200);
    CHECK_INT(r, permit(w, &p), WEIR_DENIED);
    CHECK_INT(r, p.denial.reason, WEIR_REASON_LEASE_ENDED);
    CHECK_INT(r, ping(w, &a), WEIR_E_STALE);
    weir_close(w);
    rig_weird_start(r);
    w = rig_attach(r, WEIR_ROLE_TRADER);
    CHECK_INT(r, weir_check(w), 0);
    weir_close(w);
    CHECK_INT(r, rig_weird_stop(r, 5000), 0);
}

/* Rolling windows over a clean stop: what was used is still used, what was not is not (a full span of silence would cost a day where the window is one). */
static void clean_stop_rolling(struct rig *r)
{
    static const char yaml[] =
        "broker: {name: rig, log: info, state_dir: none}\n"
        "providers:\n"
        "  - name: sim\n"
        "    clock: {source: host, error: 1ms, max_jitter: 20ms}\n"
        "    limits:\n"
        "      - {name: cells, kind: sliding_window, quota: 10, window: 1h}\n"
        "      - {name: parts, kind: sliding_window, quota: 100000, window: 1h}\n"
        "    routes:\n"
        "      - {name: own, transport: own, cost: {cells: 1, parts: 9}}\n";
    struct weir_permit p;
    struct weir_limit_info info;
    uint32_t limit;
    char path[160];
    rig_config(r, yaml, 0);
    (void)snprintf(path, sizeof path, "%s/rig/state", r->dir);
    (void)unlink(path);
    for (unsigned life = 0; life < 3; life++) {
        rig_weird_start(r);
        struct weir *w = rig_attach(r, WEIR_ROLE_TRADER);
        for (unsigned i = 0; i < (life < 2 ? 5 : 0); i++) {
            int rc = permit(w, &p);
            rig_check(r, rc == 0, __FILE__, __LINE__, "life %u: got %d: %s", life, rc,
                      weir_reason_text(p.denial.reason));
        }
        if (life > 0) {
            CHECK_INT(r, permit(w, &p), WEIR_DENIED);
        }
        CHECK_INT(r, weir_limit_find(w, "sim.parts", &limit), 0);
        CHECK_INT(r, weir_limit_get(w, limit, WEIR_SCOPE_DEFAULT, &info), 0);
        CHECK_INT(r, info.used_units, life == 0 ? 45 : 90);
        weir_close(w);
        CHECK_INT(r, rig_weird_stop(r, 5000), 0);
    }
}

#define CLEAN_STOP_MS 8000U /* what is left of the window then */

/* Use up a window, stop, start: still used up. The same limit with another window: spent, for the old count says nothing of it. */
static void clean_stop(struct rig *r)
{
    struct weir_permit p;
    char path[160];
    unsigned granted = 0;
    (void)snprintf(path, sizeof path, "%s/rig/state", r->dir);
    (void)unlink(path);
    window_begin(20000, CLEAN_STOP_MS);
    uint64_t began_ns = rig_now_ns();
    rig_weird_start(r);
    struct weir *w = rig_attach(r, WEIR_ROLE_TRADER);
    clock_wait(w);
    while (permit(w, &p) == 0) {
        granted++;
    }
    rig_check(r, granted >= 30 && granted <= 40, __FILE__, __LINE__, "granted %u of 40", granted);
    weir_close(w);
    CHECK_INT(r, rig_weird_stop(r, 5000), 0);
    rig_weird_start(r);
    CHECK(r, rig_log_has(r, "limits_restored"), "it says so");
    w = rig_attach(r, WEIR_ROLE_TRADER);
    clock_wait(w);
    int rc = permit(w, &p);
    CHECK(r,
          (rc == WEIR_DENIED && p.denial.reason == WEIR_REASON_LIMIT_FULL) ||
              rig_now_ns() - began_ns > CLEAN_STOP_MS * WEIR_NS_PER_MS,
          "still used up, unless the window has ended: got %d", rc);
    weir_close(w);
    CHECK_INT(r, rig_weird_stop(r, 5000), 0);
    /* Longer, then shorter: each time the old numbers would read as something else. */
    static const char *const window[] = {"10m", "30s"};
    for (int i = 0; i < 2; i++) {
        rig_config_limits(r, "log: info", 40, window[i]);
        window_begin(30000, 5000);
        rig_weird_start(r);
        w = rig_attach(r, WEIR_ROLE_TRADER);
        clock_wait(w);
        rig_check(r, permit(w, &p) == WEIR_DENIED && p.denial.reason == WEIR_REASON_LIMIT_FULL,
                  __FILE__, __LINE__, "window %s after another: denied as %s", window[i],
                  weir_reason_text(p.denial.reason));
        weir_close(w);
        CHECK_INT(r, rig_weird_stop(r, 5000), 0);
    }
}

/* SIGTERM: what is on the wire ends, what waits for a permit ends by name, new requests are refused by name. */
static void drain(struct rig *r)
{
    char path[160];
    weir_ticket slow;
    weir_ticket queued;
    struct weir_response a;
    (void)snprintf(path, sizeof path, "%s/rig/state", r->dir);
    (void)unlink(path);
    rig_config_limits(r, "drain: 2s", 40, "10m");
    rig_weird_start(r);
    struct weir *w = rig_attach(r, WEIR_ROLE_TRADER);
    clock_wait(w);
    rig_fault(r, "{\"kind\": \"slow_first_byte\", \"path\": \"/api/v3/ping\", \"delay_ms\": 600}");
    struct weir_request_spec spec = {.struct_bytes = sizeof spec,
                                     .route = rig_route(w, "sim.ping")};
    double pings = rig_report(r, "by_path.GET /api/v3/ping");
    CHECK_INT(r, weir_submit(w, &spec, &slow), 0);
    for (int i = 0; i < 1000 && rig_report(r, "by_path.GET /api/v3/ping") <= pings; i++) {
        rig_sleep_ms(5);
    }
    /* A pause: what is handed over now waits. */
    struct weir_permit p;
    CHECK_INT(r, permit(w, &p), 0);
    const struct weir_outcome stop = {
        .kind = WEIR_OUTCOME_ANSWERED, .status = 429, .retry_after_ns = 2500 * WEIR_NS_PER_MS};
    CHECK_INT(r, weir_permit_settle(w, &p, &stop), 0);
    CHECK_INT(r, weir_submit(w, &spec, &queued), 0);
    rig_sleep_ms(50);
    (void)kill(r->weird, SIGTERM);
    rig_sleep_ms(50);
    CHECK_INT(r, weir_call(w, &spec, weir_now_ns(w) + WEIR_NS_PER_S, &a), 0);
    CHECK_INT(r, a.result, WEIR_RESULT_REJECTED);
    CHECK_INT(r, a.error, WEIR_E_STALE);
    CHECK_INT(r, weir_wait(w, slow, weir_now_ns(w) + 2 * WEIR_NS_PER_S, &a), 0);
    CHECK_INT(r, a.result, WEIR_RESULT_DONE);
    CHECK_INT(r, weir_wait(w, queued, weir_now_ns(w) + 2 * WEIR_NS_PER_S, &a), 0);
    CHECK_INT(r, a.result, WEIR_RESULT_REJECTED);
    CHECK_INT(r, a.error, WEIR_E_STALE);
    CHECK_INT(r, rig_wait(r->weird, 8000), 0);
    r->weird = 0;
    weir_close(w);
}

/* Without a supervisor, a client that closes and lives on is seen by its end of the bell: the worker leaves, so that a new broker can start. */
static void closes_and_lives(struct rig *r)
{
    rig_weird_start(r);
    struct weir *w = rig_attach(r, WEIR_ROLE_TRADER);
    pid_t worker = rig_process(r, "weird-worker");
    (void)kill(r->weird, SIGKILL);
    CHECK_INT(r, rig_wait(r->weird, 2000), 128 + SIGKILL);
    r->weird = 0;
    rig_sleep_ms(600);
    CHECK_INT(r, rig_process(r, "weird-worker"), worker);
    weir_close(w);
    CHECK_INT(r, rig_wait(worker, 3000), 0);
}

int main(int argc, char **argv)
{
    struct rig r;
    rig_open(&r, "supervisor_kill", argc, argv, 100);
    rig_sim_start(&r, sim);
    rig_config_limits(&r, "log: info", 40, "20s");
    rig_weird_start(&r);
    supervisor_dies(&r);
    after_both(&r);
    lease_ends(&r);
    clean_stop(&r);
    drain(&r);
    clean_stop_rolling(&r);
    closes_and_lives(&r);
    PROMISE_INT(&r, rig_report(&r, "violations"), 0);
    return rig_close(&r);
}
