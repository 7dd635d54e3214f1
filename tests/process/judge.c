#include "judge.h"

#include "sender.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define START_MS 10000U
/* Their clocks are read once per turn of their loop, in whole ms, nginx's from CLOCK_MONOTONIC_COARSE: 4 ms at HZ=250, 10 at 100. */
#define JUDGE_CLOCK_MS 11U

int64_t judge_now_ms(void)
{
    struct timespec ts;
    (void)clock_gettime(CLOCK_REALTIME, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static void give_up(struct rig *r, const char *what)
{
    (void)printf("could not set up: %s: %s\n", what, strerror(errno));
    (void)rig_close(r);
    exit(99);
}

static uint16_t port_free(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t bytes = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool good = fd >= 0 && bind(fd, (const struct sockaddr *)&at, bytes) == 0 &&
                getsockname(fd, (struct sockaddr *)&at, &bytes) == 0;
    (void)close(fd);
    return good ? ntohs(at.sin_port) : 0;
}

static void file_make(struct rig *r, const char *name, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static void file_make(struct rig *r, const char *name, const char *format, ...)
{
    char path[128];
    va_list args;
    (void)snprintf(path, sizeof path, "%s/%s", r->dir, name);
    FILE *f = fopen(path, "we");
    if (f == NULL) {
        give_up(r, path);
    }
    va_start(args, format);
    bool good = vfprintf(f, format, args) >= 0;
    va_end(args);
    if (fclose(f) != 0 || !good) {
        give_up(r, path);
    }
}

/* Run a program of ours alone; its stdout goes to `out` in the rig's directory, its stderr to judge.err. */
static pid_t spawn(struct rig *r, const char *out, const char *const argv[8])
{
    char *copy[8]; /* execv does not write to them, and yet will not have them const */
    memcpy(copy, argv, sizeof copy);
    (void)fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        (void)alarm(0);
        if (chdir(r->dir) == 0) {
            (void)dup2(open(out, O_WRONLY | O_CREAT | O_APPEND, 0600), STDOUT_FILENO);
            (void)dup2(open("judge.err", O_WRONLY | O_CREAT | O_APPEND, 0600), STDERR_FILENO);
            (void)execv(copy[0], copy);
        }
        _exit(127);
    }
    return pid;
}

static bool listens(uint16_t port)
{
    const struct sockaddr_in to = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool good = fd >= 0 && connect(fd, (const struct sockaddr *)&to, sizeof to) == 0;
    (void)close(fd);
    return good;
}

static void await(struct rig *r, struct judge *j, const char *program)
{
    uint64_t end_ns = rig_now_ns() + START_MS * WEIR_NS_PER_MS;
    while (!listens(j->port)) {
        if (waitpid(j->pid, NULL, WNOHANG) != 0 || rig_now_ns() > end_ns) {
            char line[512];
            (void)snprintf(line, sizeof line, "%s/judge.err", r->dir);
            FILE *f = fopen(line, "re");
            while (f != NULL && fgets(line, sizeof line, f) != NULL) {
                (void)fputs(line, stdout);
            }
            (void)printf("%s does not start: scripts/setup.sh test installs it\n", program);
            give_up(r, program);
        }
        rig_sleep_ms(5);
    }
}

/* Start it with this form of a log line, and with these lines in the map `http`, which end in one server. */
static void nginx_start(struct rig *r, struct judge *j, const char *line, const char *http)
{
    char conf[128];
    const char *const argv[8] = {"/usr/sbin/nginx", "-p", r->dir, "-c", conf, "-e", "judge.err"};
    (void)snprintf(conf, sizeof conf, "%s/nginx.conf", r->dir);
    (void)snprintf(j->log, sizeof j->log, "%s/judge.log", r->dir);
    (void)unlink(j->log);
    file_make(r, "nginx.conf",
              "%sdaemon off;\nmaster_process off;\npid nginx.pid;\nerror_log judge.err emerg;\n"
              "events { worker_connections 1024; }\n"
              "http {\n"
              "  log_format judge '%s';\n"
              "  access_log judge.log judge;\n"
              "  keepalive_requests 1000000000;\n  keepalive_timeout 1h;\n  tcp_nodelay on;\n"
              "  client_body_temp_path t1; proxy_temp_path t2; fastcgi_temp_path t3;\n"
              "  uwsgi_temp_path t4; scgi_temp_path t5;\n%s}\n",
              geteuid() == 0 ? "user root;\n" : "", line, http);
    j->pid = spawn(r, "judge.out", argv);
    await(r, j, "nginx");
}

/* `return` would answer before the phase in which limit_req counts, so it serves a file. */
void judge_nginx_start(struct rig *r, struct judge *j, unsigned rate_per_s, unsigned burst)
{
    char http[512];
    j->port = port_free();
    file_make(r, "file", "ok\n");
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
    j->port = port_free();
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
    j->port = port_free();
    (void)snprintf(j->log, sizeof j->log, "%s/judge.log", r->dir);
    (void)unlink(j->log);
    file_make(r, "haproxy.cfg",
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
    j->pid = spawn(r, "judge.log", argv);
    await(r, j, "haproxy");
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
