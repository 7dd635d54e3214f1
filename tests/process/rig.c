#include "scene.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define START_MS 15000U /* long enough for the lease that an unclean end has to wait out */

static struct rig *the_rig; /* for the alarm */
static pid_t the_test;

uint64_t rig_now_ns(void)
{
    return weir_clock_monotonic_ns();
}

void rig_sleep_ms(unsigned ms)
{
    struct timespec left = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000L};
    while (nanosleep(&left, &left) != 0 && errno == EINTR) {
    }
}

unsigned rig_random(struct rig *r, unsigned below)
{
    r->seed = r->seed * 1664525U + 1013904223U;
    return (r->seed >> 8) % below;
}

static void judge(struct rig *r, bool good, const char *mark, const char *file, int line,
                  const char *format, va_list args)
{
    r->checks++;
    if (!good) {
        r->failures++;
        (void)printf("%s %s:%d: ", mark, strrchr(file, '/') != NULL ? strrchr(file, '/') + 1 : file,
                     line);
        (void)vprintf(format, args);
        (void)putchar('\n');
    }
    (void)fflush(stdout);
}

bool rig_check(struct rig *r, bool good, const char *file, int line, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    judge(r, good, "FAILED", file, line, format, args);
    va_end(args);
    return good;
}

bool rig_check_int(struct rig *r, long long got, long long want, const char *file, int line,
                   const char *what)
{
    return rig_check(r, got == want, file, line, "%s = %lld, wanted %lld", what, got, want);
}

bool rig_promise(struct rig *r, bool good, const char *file, int line, const char *format, ...)
{
    va_list args;
    if (!good) {
        (void)weir_fetch_add_u32(&r->shared->broken, 1);
    }
    va_start(args, format);
    judge(r, good, WEIR_PROMISE_MARK, file, line, format, args);
    va_end(args);
    return good;
}

bool rig_promise_int(struct rig *r, long long got, long long want, const char *file, int line,
                     const char *what)
{
    return got < 0 && want >= 0
               ? rig_check_int(r, got, want, file, line, what)
               : rig_promise(r, got == want, file, line, "%s = %lld, wanted %lld", what, got, want);
}

static bool sanitizer_spoke(const struct rig *r)
{
    return rig_log_has(r, "Sanitizer") || rig_log_has(r, "runtime error");
}

/* `status`, or that of a broken promise. */
static int status_of(const struct rig *r, int status)
{
    return weir_load_acquire_u32(&r->shared->broken) > 0 || sanitizer_spoke(r) ? WEIR_PROMISE_EXIT
                                                                               : status;
}

/* ---------------------------------------------------------------------------------------------- processes */

void rig_children_each(pid_t parent, void (*each)(pid_t pid, void *arg), void *arg)
{
    char path[64];
    int pid;
    (void)snprintf(path, sizeof path, "/proc/%d/task/%d/children", (int)parent, (int)parent);
    FILE *f = fopen(path, "re");
    if (f == NULL) {
        return;
    }
    while (fscanf(f, "%d", &pid) == 1) {
        each((pid_t)pid, arg);
    }
    (void)fclose(f);
}

static void kill_one(pid_t pid, void *arg)
{
    (void)arg;
    rig_children_each(pid, kill_one, NULL);
    (void)kill(pid, SIGCONT);
    (void)kill(pid, SIGKILL);
}

static void kill_all(void)
{
    /* A supervisor that dies leaves us its children: look until there are none. */
    for (int i = 0; i < 50; i++) {
        rig_children_each(getpid(), kill_one, NULL);
        while (waitpid(-1, NULL, WNOHANG) > 0) {
        }
        if (waitpid(-1, NULL, WNOHANG) < 0 && errno == ECHILD) {
            return;
        }
        rig_sleep_ms(10);
    }
}

struct search {
    const char *name;
    pid_t found;
};

static void match_one(pid_t pid, void *arg)
{
    struct search *s = arg;
    char path[64];
    char comm[32] = "";
    (void)snprintf(path, sizeof path, "/proc/%d/comm", (int)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return;
    }
    ssize_t n = read(fd, comm, sizeof comm - 1);
    (void)close(fd);
    if (n > 0 && comm[n - 1] == '\n') {
        comm[n - 1] = '\0';
    }
    if (strcmp(comm, s->name) == 0) {
        s->found = pid;
    }
}

pid_t rig_process(const struct rig *r, const char *name)
{
    struct search s = {.name = name};
    rig_children_each(getpid(), match_one, &s);
    if (r->weird > 0) {
        rig_children_each(r->weird, match_one, &s);
    }
    return s.found;
}

pid_t rig_process_next(const struct rig *r, const char *name, pid_t old, unsigned limit_ms)
{
    uint64_t end_ns = rig_now_ns() + limit_ms * WEIR_NS_PER_MS;
    do {
        pid_t pid = rig_process(r, name);
        if (pid != 0 && pid != old) {
            return pid;
        }
        rig_sleep_ms(1);
    } while (rig_now_ns() < end_ns);
    return 0;
}

pid_t rig_fork(struct rig *r, int (*run)(struct rig *r, int arg), int arg)
{
    (void)fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        (void)alarm(0);
        (void)signal(SIGTERM, SIG_DFL);
        r->seed ^= (unsigned)arg * 2654435761U;
        int rc = run(r, arg);
        (void)fflush(stdout);
        _exit(rc);
    }
    return pid;
}

int rig_wait(pid_t pid, unsigned limit_ms)
{
    uint64_t end_ns = rig_now_ns() + limit_ms * WEIR_NS_PER_MS;
    int status = 0;
    siginfo_t ended = {.si_pid = 0};
    while (waitid(P_PID, (id_t)pid, &ended, WEXITED | WNOHANG | WNOWAIT) == 0 &&
           ended.si_pid == 0) {
        if (rig_now_ns() > end_ns) {
            (void)kill(pid, SIGKILL);
            (void)waitpid(pid, &status, 0);
            return -1;
        }
        rig_sleep_ms(1);
    }
    rig_late_keep(pid);
    (void)waitpid(pid, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* ---------------------------------------------------------------------------------------------- open, close */

static void give_up(const char *what)
{
    (void)printf("could not set up: %s: %s\n", what, strerror(errno));
    (void)fflush(stdout);
    kill_all();
    _exit(99);
}

static void on_alarm(int signal)
{
    static const char text[] = "FAILED: the test took too long\n";
    (void)signal;
    int status = 1;
    if (getpid() == the_test) {
        (void)!write(STDOUT_FILENO, text, sizeof text - 1);
        if (the_rig != NULL && the_rig->shared != NULL) {
            rig_log_show(the_rig, "");
            status = status_of(the_rig, 1);
        }
        kill_all();
    }
    _exit(status);
}

void rig_open(struct rig *r, const char *test, int argc, char **argv, unsigned limit_s)
{
    if (argc < 3) {
        (void)fprintf(stderr, "usage: %s PATH-TO-weir-sim PATH-TO-weird [SEED]\n", argv[0]);
        exit(99);
    }
    *r = (struct rig){.test = test, .sim_path = argv[1], .weird_path = argv[2]};
    r->seed = argc > 3 ? (unsigned)strtoul(argv[3], NULL, 0) : 20240607U;
    the_rig = r;
    the_test = getpid();
    (void)prctl(PR_SET_CHILD_SUBREAPER, 1);
    (void)signal(SIGPIPE, SIG_IGN);
    (void)signal(SIGALRM, on_alarm);
    (void)signal(SIGTERM, on_alarm); /* meson's own limit */
    (void)alarm(getenv("WEIR_TEST_SLOW") != NULL ? 4 * limit_s : limit_s);
    (void)snprintf(r->dir, sizeof r->dir, "/tmp/weir-%.20s-XXXXXX", test);
    if (mkdtemp(r->dir) == NULL) {
        give_up("mkdtemp");
    }
    (void)snprintf(r->conf, sizeof r->conf, "%s/weir.yaml", r->dir);
    (void)snprintf(r->log, sizeof r->log, "%s/weird.log", r->dir);
    (void)snprintf(r->sim_conf, sizeof r->sim_conf, "%s/sim.json", r->dir);
    r->shared =
        mmap(NULL, sizeof *r->shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (r->shared == MAP_FAILED) {
        give_up("mmap");
    }
    (void)printf("%s: oracle: weir-sim; seed %u\n", test, r->seed);
    (void)fflush(stdout);
}

void rig_exit(int status)
{
    exit(the_rig != NULL && the_rig->shared != NULL ? status_of(the_rig, status) : status);
}

static void remove_tree(const char *path)
{
    DIR *d = opendir(path);
    struct dirent *e;
    while (d != NULL && (e = readdir(d)) != NULL) {
        char inner[512];
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) {
            continue;
        }
        (void)snprintf(inner, sizeof inner, "%.200s/%s", path, e->d_name);
        if (unlink(inner) != 0) {
            remove_tree(inner);
        }
    }
    if (d != NULL) {
        (void)closedir(d);
    }
    (void)rmdir(path);
}

int rig_close(struct rig *r)
{
    kill_all();
    rig_promise(r, !sanitizer_spoke(r), __FILE__, __LINE__, "a sanitizer spoke in the broker");
    if (r->failures > 0) {
        rig_log_show(r, "");
    }
    int status = status_of(r, r->failures == 0 ? 0 : 1);
    if (getenv("WEIR_TEST_KEEP") == NULL) {
        remove_tree(r->dir);
    }
    (void)printf("%s: %u checks, %u failed\n", r->test, r->checks, r->failures);
    (void)fflush(stdout);
    return status;
}

/* ---------------------------------------------------------------------------------------------- sim, weird */

static void file_write(const char *path, const char *text)
{
    FILE *f = fopen(path, "we");
    if (f == NULL || fputs(text, f) < 0 || fclose(f) != 0) {
        give_up(path);
    }
}

void rig_sim_start(struct rig *r, const char *json)
{
    int out[2];
    char line[128] = "";
    char listen[32];
    file_write(r->sim_conf, json);
    (void)snprintf(listen, sizeof listen, "127.0.0.1:%u", r->port);
    if (pipe2(out, O_CLOEXEC) != 0) {
        give_up("pipe");
    }
    r->sim = fork();
    if (r->sim == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        (void)dup2(out[1], STDOUT_FILENO);
        (void)execl(r->sim_path, "weir-sim", "--config", r->sim_conf, "--listen", listen,
                    (char *)NULL);
        _exit(127);
    }
    (void)close(out[1]);
    ssize_t n = read(out[0], line, sizeof line - 1); /* one line, flushed whole */
    (void)close(out[0]);
    const char *colon = n > 0 ? strrchr(line, ':') : NULL;
    if (colon == NULL) {
        give_up("weir-sim");
    }
    r->port = (uint16_t)atoi(colon + 1);
}

void rig_sim_stop(struct rig *r)
{
    (void)kill(r->sim, SIGTERM);
    (void)rig_wait(r->sim, 5000);
    r->sim = 0;
}

void rig_config(struct rig *r, const char *yaml, uint16_t port2)
{
    static char text[32768];
    size_t n = 0;
    for (const char *at = yaml; *at != '\0' && n < sizeof text - 8;) {
        bool second = strncmp(at, "$PORT2", 6) == 0;
        if (second || strncmp(at, "$PORT", 5) == 0) {
            n += (size_t)snprintf(text + n, sizeof text - n, "%u", second ? port2 : r->port);
            at += second ? 6 : 5;
        } else {
            text[n++] = *at++;
        }
    }
    text[n] = '\0';
    file_write(r->conf, text);
}

void rig_config_limits(struct rig *r, const char *broker, unsigned quota, const char *window)
{
    static const char yaml[] =
        "broker: {name: rig, %s}\n"
        "providers:\n"
        "  - name: sim\n"
        "    clock: {path: /api/v3/time, field: serverTime, interval: %s, max_jitter: 100ms}\n"
        "    limits:\n"
        "      - {name: weight, kind: fixed_window, quota: %u, window: %s, scope: ip, headroom: "
        "{critical: 5%%}}\n"
        "      - {name: orders, kind: fixed_window, quota: %u, window: %s, scope: account}\n"
        "    throttle: {status: [429, 418], retry_after: seconds, backoff: {factor: 1, jitter: "
        "0%%},\n"
        "      reopen: {probe: 1s, ramp: 80ms}}\n"
        "    endpoints:\n"
        "      - {name: a, url: \"http://127.0.0.1:$PORT\", connections: 16}\n"
        "    routes:\n"
        "      - {name: ping, method: GET, path: /api/v3/ping, cost: {weight: 1}, timeout: 3s, "
        "priority: low}\n"
        "      - {name: depth, method: GET, path: /api/v3/depth, cost: {weight: 5}, timeout: 3s}\n"
        "      - {name: order, method: POST, path: /api/v3/order, cost: {weight: 1, orders: 1}, "
        "timeout: 3s, priority: critical}\n"
        "      - {name: echo, method: POST, path: /echo, cost: {weight: 1}, idempotent: true, "
        "headers: [X-Test], timeout: 3s}\n"
        "      - {name: bytes, method: GET, path: /bytes/*, cost: {weight: 1}, max_response: 4KiB, "
        "timeout: 3s}\n"
        "      - {name: chunked, method: GET, path: /chunked/*, cost: {weight: 1}, max_response: "
        "4KiB, timeout: 3s}\n"
        "      - {name: own, transport: own, cost: {weight: 1}}\n";
    char text[8192];
    (void)snprintf(text, sizeof text, yaml, broker, r->clock != NULL ? r->clock : "1s", quota,
                   window, quota / 4 > 0 ? quota / 4 : 1, window);
    rig_config(r, text, 0);
}

void rig_config_usual(struct rig *r, const char *broker)
{
    rig_config_limits(r, broker, 200, "2s");
}

pid_t rig_weird_another(struct rig *r, const char *option)
{
    (void)fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        int fd = open(r->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        (void)dup2(fd, STDERR_FILENO);
        (void)execl(r->weird_path, "weird", "--config", r->conf, "--runtime-dir", r->dir,
                    "--state-dir", r->state_dir != NULL ? r->state_dir : "none", option,
                    (char *)NULL);
        _exit(127);
    }
    return pid;
}

void rig_weird_spawn(struct rig *r)
{
    r->weird = rig_weird_another(r, r->option);
}

void rig_weird_start(struct rig *r)
{
    rig_weird_spawn(r);
    struct weir *w = NULL;
    uint64_t end_ns = rig_now_ns() + rig_slowness() * START_MS * WEIR_NS_PER_MS;
    const struct weir_open_opts opts = {
        .struct_bytes = sizeof opts, .role = WEIR_ROLE_CALLER, .runtime_dir = r->dir};
    while (weir_open(&w, "rig", &opts, NULL) != 0) {
        if (waitpid(r->weird, NULL, WNOHANG) != 0 || rig_now_ns() > end_ns) {
            bool forbidden = rig_log_has(r, "io_uring");
            rig_log_show(r, "");
            (void)printf("%s\n", forbidden ? "skipped: no io_uring" : "could not start weird");
            (void)fflush(stdout);
            kill_all();
            _exit(forbidden ? 77 : 99);
        }
        rig_sleep_ms(2);
    }
    weir_close(w);
}

int rig_weird_run(struct rig *r, const char *option, char *out, size_t out_bytes)
{
    int err[2];
    int status = 0;
    size_t n = 0;
    ssize_t got;
    if (pipe2(err, O_CLOEXEC) != 0) {
        give_up("pipe");
    }
    pid_t pid = fork();
    if (pid == 0) {
        (void)dup2(err[1], STDERR_FILENO);
        (void)dup2(err[1], STDOUT_FILENO);
        (void)execl(r->weird_path, "weird", "--config", r->conf, "--runtime-dir", r->dir,
                    "--state-dir", r->state_dir != NULL ? r->state_dir : "none", option,
                    (char *)NULL);
        _exit(127);
    }
    (void)close(err[1]);
    while (n < out_bytes - 1 && (got = read(err[0], out + n, out_bytes - 1 - n)) > 0) {
        n += (size_t)got;
    }
    out[n] = '\0';
    (void)close(err[0]);
    (void)waitpid(pid, &status, 0);
    PROMISE(r, strstr(out, "Sanitizer") == NULL && strstr(out, "runtime error") == NULL, "%s", out);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int rig_weird_stop(struct rig *r, unsigned limit_ms)
{
    rig_late_keep_below(r->weird);
    (void)kill(r->weird, SIGTERM);
    int rc = rig_wait(r->weird, limit_ms);
    r->weird = 0;
    return rc;
}

void rig_worker_kill(struct rig *r)
{
    pid_t worker = rig_process_next(r, "weird-worker", 0, 5000);
    if (CHECK(r, worker > 0, "a worker")) {
        rig_late_keep(worker);
        (void)kill(worker, SIGKILL);
        CHECK(r, rig_process_next(r, "weird-worker", worker, 5000) > 0, "a worker again");
    }
}

long rig_worker_kib(const struct rig *r, const char *what)
{
    char path[64];
    char line[128];
    long kib = -1;
    (void)snprintf(path, sizeof path, "/proc/%d/status", (int)rig_process(r, "weird-worker"));
    FILE *f = fopen(path, "re");
    while (f != NULL && fgets(line, sizeof line, f) != NULL) {
        if (strncmp(line, what, strlen(what)) == 0) {
            kib = strtol(line + strlen(what), NULL, 10);
        }
    }
    if (f != NULL) {
        (void)fclose(f);
    }
    return kib;
}

/* ---------------------------------------------------------------------------------------------- log */

/* Up to `most` lines with this text. */
static unsigned log_count(const struct rig *r, const char *text, unsigned most)
{
    char line[8192];
    unsigned cnt = 0;
    FILE *f = fopen(r->log, "re");
    while (f != NULL && cnt < most && fgets(line, sizeof line, f) != NULL) {
        cnt += strstr(line, text) != NULL;
    }
    if (f != NULL) {
        (void)fclose(f);
    }
    return cnt;
}

void rig_log_clear(struct rig *r)
{
    PROMISE(r, !sanitizer_spoke(r), "a sanitizer spoke in the broker");
    (void)!truncate(r->log, 0);
}

bool rig_log_has(const struct rig *r, const char *text)
{
    return log_count(r, text, 1) > 0;
}

unsigned rig_log_count(const struct rig *r, const char *text)
{
    return log_count(r, text, UINT_MAX);
}

void rig_log_show(const struct rig *r, const char *pattern)
{
    char line[8192];
    long skip = 0;
    FILE *f = fopen(r->log, "re");
    while (f != NULL && fgets(line, sizeof line, f) != NULL) {
        skip++;
    }
    if (f != NULL) {
        rewind(f);
        while (fgets(line, sizeof line, f) != NULL) {
            if (skip-- <= 60 && strstr(line, pattern) != NULL) {
                (void)fputs(line, stdout);
            }
        }
        (void)fclose(f);
    }
    (void)fflush(stdout);
}
