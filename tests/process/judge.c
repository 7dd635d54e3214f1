#include "judge.h"

#include "program.h"
#include "sender.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* Their clocks are read once per turn of their loop, in whole ms, nginx's from CLOCK_MONOTONIC_COARSE: 4 ms at HZ=250, 10 at 100. */
#define JUDGE_CLOCK_MS 11U

int64_t judge_now_ms(void)
{
    struct timespec ts;
    (void)clock_gettime(CLOCK_REALTIME, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* Start it with this form of a log line, and with these lines in the map `http`, which end in one server. */
static void nginx_start(struct rig *r, struct judge *j, const char *line, const char *servers)
{
    char http[1024];
    (void)snprintf(j->log, sizeof j->log, "%s/judge.log", r->dir);
    (void)unlink(j->log);
    (void)snprintf(http, sizeof http, "  log_format judge '%s';\n  access_log judge.log judge;\n%s",
                   line, servers);
    const struct program_nginx nginx = {
        .name = "nginx", .err = "judge.err", .connections = 1024, .http = http};
    j->pid = program_nginx_start(r, &nginx);
    program_await(r, j->pid, "127.0.0.1", j->port, "nginx", "judge.err");
}

/* `return` would answer before the phase in which limit_req counts, so it serves a file. */
void judge_nginx_start(struct rig *r, struct judge *j, unsigned rate_per_s, unsigned burst)
{
    char http[512];
    j->port = program_port(r);
    program_file(r, "file", "ok\n");
    (void)snprintf(http, sizeof http,
                   "  limit_req_zone $binary_remote_addr zone=judge:1m rate=%ur/s;\n"
                   "  server {\n    listen 127.0.0.1:%u backlog=512;\n    root .;\n"
                   "    limit_req zone=judge burst=%u nodelay;\n    limit_req_status 429;\n  }\n",
                   rate_per_s, j->port, burst);
    nginx_start(r, j, "$status $msec", http);
}

void judge_nginx_front(struct rig *r, struct judge *j, uint16_t port)
{
    char http[512];
    j->port = program_port(r);
    (void)snprintf(http, sizeof http,
                   "  proxy_next_upstream off;\n  proxy_ignore_client_abort on;\n"
                   "  server {\n    listen 127.0.0.1:%u backlog=512;\n"
                   "    location / { proxy_pass http://127.0.0.1:%u; }\n  }\n",
                   j->port, port);
    nginx_start(r, j, "$status $msec $request_method $arg_id", http);
}

void judge_haproxy_start(struct rig *r, struct judge *j, unsigned sum_max, unsigned period_s)
{
    const char *const argv[8] = {"/usr/sbin/haproxy", "-db", "-f", "haproxy.cfg"};
    j->port = program_port(r);
    (void)snprintf(j->log, sizeof j->log, "%s/judge.log", r->dir);
    (void)unlink(j->log);
    program_file(r, "haproxy.cfg",
                 "global\n  maxconn 512\n  nbthread 1\n  log stdout format raw local0 info\n"
                 "defaults\n  mode http\n  timeout client 1h\n  timeout http-keep-alive 1h\n"
                 "  timeout connect 5s\n  timeout server 5s\n"
                 "frontend judge\n  bind 127.0.0.1:%u backlog 512\n  log global\n"
                 "  log-format \"%%ST %%Ts.%%ms\"\n"
                 "  stick-table type ip size 1k expire 1h store http_req_rate(%us)\n"
                 "  http-request track-sc0 src\n"
                 "  http-request deny deny_status 429 if { sc_http_req_rate(0) gt %u }\n"
                 "  http-request return status 200 content-type text/plain string ok\n",
                 j->port, period_s, sum_max);
    j->pid = program_start(r, "judge.log", "judge.err", argv);
    program_await(r, j->pid, "127.0.0.1", j->port, "haproxy", "judge.err");
}

void judge_stop(struct judge *j)
{
    (void)kill(j->pid, SIGTERM);
    (void)rig_wait(j->pid, 5000);
}

struct judge_count judge_read(const struct judge *j, int64_t from_ms, int64_t to_ms)
{
    struct judge_count c = {0};
    char line[256];
    FILE *f = fopen(j->log, "re");
    while (f != NULL && fgets(line, sizeof line, f) != NULL) {
        int status;
        double at_s;
        if (sscanf(line, "%d %lf", &status, &at_s) != 2) {
            continue; /* what HAProxy says when it starts */
        }
        int64_t at_ms = (int64_t)(at_s * 1000.0 + 0.5);
        c.first_ms = c.first_ms == 0 ? at_ms : c.first_ms;
        c.last_ms = at_ms;
        if (at_ms >= from_ms && at_ms < to_ms) {
            c.passed += status == 200 || status == 499;
            c.refused += status == 429;
            c.other += status != 200 && status != 429;
        }
    }
    if (f != NULL) {
        (void)fclose(f);
    }
    return c;
}

/* ---------------------------------------------------------------------------------------------- a round */

/* A provider of its own for each round: what weird keeps of one across a clean stop (a backoff, a spent bucket) is none of the next one's business. */
static void configure(struct rig *r, const struct judge *j, const struct judge_round *x)
{
    static unsigned rounds;
    static char route[32];
    char yaml[1024];
    rounds++;
    (void)snprintf(yaml, sizeof yaml,
                   "broker: {name: rig}\n"
                   "providers:\n"
                   "  - name: judge%u\n"
                   "    clock: {source: none, max_jitter: %ums}\n"
                   "    limits:\n"
                   "      - %s\n"
                   "    endpoints:\n"
                   "      - {name: a, url: \"http://127.0.0.1:%u\", connections: 16}\n"
                   "    routes:\n"
                   "      - {name: file, method: GET, path: /file, cost: {judged: 1}, "
                   "max_response: 4KiB}\n",
                   rounds, x->max_jitter_ms, x->limit, j->port);
    rig_config(r, yaml, 0);
    (void)snprintf(route, sizeof route, "judge%u.file", rounds);
    sender_plan.route[0].name = route;
}

static pid_t strategy(struct rig *r, const struct judge_round *x, unsigned i)
{
    return rig_fork(r, i + 1 == x->strategies ? sender_by_call : sender_by_permit, (int)i);
}

/* kill -9 of a strategy or of the worker, every 200 to 600 ms. Returns how many. */
static unsigned kills(struct rig *r, const struct judge_round *x, pid_t *pid, uint64_t end_ns)
{
    unsigned cnt = 0;
    for (;; cnt++) {
        uint64_t left_ms = end_ns > rig_now_ns() ? (end_ns - rig_now_ns()) / WEIR_NS_PER_MS : 0;
        unsigned pause_ms = 200 + rig_random(r, 400);
        rig_sleep_ms(left_ms < pause_ms ? (unsigned)left_ms : pause_ms);
        if (left_ms < pause_ms) {
            return cnt;
        }
        unsigned i = rig_random(r, x->strategies + 1);
        if (i == x->strategies) {
            pid_t worker = rig_process(r, "weird-worker");
            if (worker > 0) {
                (void)kill(worker, SIGKILL);
            }
        } else {
            (void)kill(pid[i], SIGKILL);
            CHECK_INT(r, rig_wait(pid[i], 2000), 128 + SIGKILL);
            pid[i] = strategy(r, x, i);
        }
    }
}

/* Was a call under way for longer than weir was told it may be? */
static bool busy(const struct rig *r)
{
    return r->shared->count[SENDER_OVERDUE] > 0;
}

static bool verdict(struct rig *r, const struct judge *j, const struct judge_round *x,
                    unsigned killed, bool *again)
{
    const struct judge_count all = judge_read(j, 0, INT64_MAX);
    int64_t from_ms = all.first_ms + x->warm_ms;
    const struct judge_count c = judge_read(j, from_ms, from_ms + x->run_ms);
    double share = c.passed / (x->rate_per_s * x->run_ms / 1000.0);
    (void)printf(
        "%6.0f/s: %u passed in %.1f s, %.2f %% of the judge's rate; in all %u passed, %u refused; "
        "%u kills\n        ",
        x->rate_per_s, c.passed, x->run_ms / 1000.0, 100 * share, all.passed, all.refused, killed);
    sender_print(r);
    bool good = all.refused == 0 && share >= x->share_min;
    *again = !good && (all.refused > 0 ? busy(r) : true);
    if (*again) {
        (void)printf("        no judgement: %s\n",
                     all.refused > 0 ? "calls were under way for longer than max_jitter"
                                     : "too little was asked for");
    }
    return good;
}

bool judge_round(struct rig *r, const struct judge *j, const struct judge_round *x, bool *again)
{
    pid_t pid[16];
    memset(r->shared, 0, sizeof *r->shared);
    sender_plan =
        (struct sender_plan){.route_cnt = 1,
                             .route = {{.path = "/file"}},
                             .calls = x->calls,
                             .give_back = 16,
                             .overdue_ns = (x->max_jitter_ms - JUDGE_CLOCK_MS) * WEIR_NS_PER_MS,
                             .port = j->port};
    weir_store_release_u32(&r->shared->count[SENDER_TROUBLE], 1);
    configure(r, j, x);
    rig_weird_start(r);
    for (unsigned i = 0; i < x->strategies; i++) {
        pid[i] = strategy(r, x, i);
    }
    unsigned killed =
        kills(r, x, pid, rig_now_ns() + (x->warm_ms + x->run_ms + 300) * WEIR_NS_PER_MS);
    weir_store_release_u32(&r->shared->stop, 1);
    for (unsigned i = 0; i < x->strategies; i++) {
        CHECK_INT(r, rig_wait(pid[i], 8000), 0);
    }
    CHECK_INT(r, rig_weird_stop(r, 15000), 0);
    CHECK_INT(r, r->shared->count[SENDER_OTHER], 0);
    return verdict(r, j, x, killed, again);
}
