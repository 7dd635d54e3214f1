#include "rig_weird.h"

#include <ctype.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shm/weir_clock.h"

#define START_PATIENCE_NS (5 * WEIR_NS_PER_S)
#define CONFIG_BYTES      (256U << 10)

struct text {
    char *at;
    size_t used;
};

static void WEIR_PRINTF(2, 3) say(struct text *text, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int wrote = vsnprintf(text->at + text->used, CONFIG_BYTES - text->used, format, args);
    va_end(args);
    text->used += (size_t)wrote;
}

/*
 * The limits must not fill while they are measured. A bucket of INT32_MAX units lasts 60 s at 30 million permits a second; windows of
 * INT32_MAX units last as long each.
 */
static void say_bench_provider(struct text *text, unsigned port, unsigned port2)
{
    say(text, "  - name: bench\n"
              "    clock: {source: host, error: 1ms, max_jitter: 5ms}\n"
              "    limits:\n"
              "      - {name: bucket, kind: token_bucket, quota: 100000, window: 1s, "
              "burst: 2147483647}\n"
              "      - {name: short, kind: fixed_window, quota: 2147483647, window: 1s}\n"
              "      - {name: middle, kind: fixed_window, quota: 2147483647, window: 10s}\n"
              "      - {name: long, kind: fixed_window, quota: 2147483647, window: 1m}\n"
              "      - {name: full, kind: token_bucket, quota: 1, window: 1h, burst: 2}\n"
              "      - {name: cells, kind: sliding_window, quota: 4096, window: 1s}\n"
              "      - {name: parts, kind: sliding_window, quota: 2147483647, window: 1s}\n"
              "      - {name: units, kind: concurrency, quota: 64, rest: 1us}\n"
              "      - {name: paced, kind: token_bucket, quota: 1000, window: 1s, burst: 8}\n"
              "      - {name: busy, kind: token_bucket, quota: 20000, window: 1s, burst: 256}\n");
    if (port) {
        say(text,
            "    endpoints:\n"
            "      - {name: nginx, url: \"http://127.0.0.1:%u\", connections: 64}\n",
            port);
    }
    if (port2) {
        say(text,
            "      - {name: second, url: \"http://127.0.0.1:%u\", connections: 64}\n"
            "    balance: failover\n"
            "    health: {path: /file.json, interval: 1s}\n",
            port2);
    }
    say(text,
        "    routes:\n"
        "      - {name: bucket, transport: own, cost: {bucket: 1}}\n"
        "      - {name: window, transport: own, cost: {long: 1}}\n"
        "      - {name: three, transport: own, cost: {short: 1, middle: 1, long: 1}}\n"
        "      - {name: full, transport: own, cost: {full: 1}}\n"
        "      - {name: cells, transport: own, cost: {cells: 1}}\n"
        "      - {name: parts, transport: own, cost: {parts: 1}}\n"
        "      - {name: units, transport: own, cost: {units: 1}}\n"
        "      - {name: free, transport: own, cost: {bucket: 1}, settle: {success: {bucket: 0}}}\n"
        "      - {name: paced, transport: own, cost: {paced: 1}}\n"
        "      - {name: busy, transport: own, cost: {busy: 1}}\n");
    if (port) {
        say(text, "      - {name: file, method: GET, path: /file.json, cost: {bucket: 1}, "
                  "max_response: 4KiB}\n"
                  "      - {name: kept, method: GET, path: /file.json, cost: {bucket: 1}, "
                  "max_response: 4KiB, share: public, cache: 1h}\n");
    }
}

/* DESIGN.md section 9, "region": what a trader with many venues has. Three limits and two endpoints each. */
static void say_large_providers(struct text *text)
{
    for (unsigned i = 0; i < 16; i++) {
        say(text,
            "  - name: venue%u\n"
            "    clock: {source: host}\n"
            "    limits:\n"
            "      - {name: weight, kind: fixed_window, quota: 6000, window: 1m}\n"
            "      - {name: orders, kind: fixed_window, quota: 100, window: 10s, scope: account}\n"
            "      - {name: smooth, kind: token_bucket, quota: 100, window: 1s}\n"
            "    endpoints:\n"
            "      - {name: a, url: \"http://127.0.0.1:9\", role: primary}\n"
            "      - {name: b, url: \"http://127.0.0.2:9\", role: backup}\n"
            "    routes:\n",
            i);
        for (unsigned k = 0; k < 20; k++) {
            say(text,
                "      - {name: route%u, method: GET, path: /api/route%u, "
                "cost: {weight: 2, orders: 1, smooth: 1}}\n",
                k, k);
        }
    }
}

static int write_config(const struct rig_weird *weird, const struct rig_weird_spec *spec,
                        char *path, size_t bytes, struct bench_result *result)
{
    struct text text = {.at = malloc(CONFIG_BYTES)};
    if (!text.at) {
        return bench_fail(result, "no memory for a configuration");
    }
    say(&text,
        "broker: {name: bench, wake: %s, log: warn, drain: 1s, state_dir: none, audit: %u, "
        "runtime_dir: \"%s\"%s}\nproviders:\n",
        spec->wake, spec->audit_cnt, weird->runtime_dir,
        spec->is_crowd ? ", memory: 512MiB, domains: [{clients: 255, slots: 4096}]" : "");
    if (spec->is_large) {
        say_large_providers(&text);
    } else {
        say_bench_provider(&text, spec->port, spec->port2);
    }
    int rc = rig_file(&weird->dir, "weir.yaml", text.at, path, bytes, result);
    free(text.at);
    return rc;
}

/* --weird, else the one that was built beside this bench, else the one in PATH. */
static void find_weird(const struct bench *bench, char *path, size_t bytes)
{
    if (bench->opts.weird) {
        snprintf(path, bytes, "%s", bench->opts.weird);
        return;
    }
    char self[400];
    ssize_t len = readlink("/proc/self/exe", self, sizeof(self) - 1);
    self[len > 0 ? len : 0] = '\0';
    char *slash = strrchr(self, '/');
    if (slash) {
        *slash = '\0';
        snprintf(path, bytes, "%s/../broker/weird", self);
        if (access(path, X_OK) == 0) {
            return;
        }
    }
    snprintf(path, bytes, "weird");
}

struct weir_open_opts rig_weird_opts(const struct rig_weird *weird)
{
    return (struct weir_open_opts){
        .struct_bytes = sizeof(struct weir_open_opts),
        .role = WEIR_ROLE_TRADER,
        .runtime_dir = weird->runtime_dir,
        .client_name = "weir-bench",
        .patience_ns = START_PATIENCE_NS,
    };
}

/* Attach once: the broker is ready when a client is in. Asks in short turns, so that a broker that ended is noticed at once. */
static int await_broker(struct rig_weird *weird, struct bench_result *result)
{
    struct weir_diag diag = {0};
    uint64_t end_ns = weir_clock_monotonic_ns() + START_PATIENCE_NS;
    do {
        struct weir *w;
        struct weir_open_opts opts = rig_weird_opts(weird);
        opts.patience_ns = WEIR_NS_PER_S / 10;
        if (weir_open(&w, "bench", &opts, &diag) == 0) {
            weir_close(w);
            return 0;
        }
        if (rig_alive(&weird->child, "weird", result) != 0) {
            return -1;
        }
    } while (weir_clock_monotonic_ns() < end_ns);
    return bench_fail(result, "weird lets nobody in within 5 s: %s", diag.text);
}

int rig_weird_start(const struct bench *bench, struct rig_weird *weird,
                    const struct rig_weird_spec *spec, struct bench_result *result)
{
    char program[512];
    char config[128];
    memset(weird, 0, sizeof(*weird));
    find_weird(bench, program, sizeof(program));
    const char *const argv[] = {
        program, "--config", config, "--cage", spec->is_uncaged ? "off" : "enforce", NULL};
    if (rig_dir_make(&weird->dir, result) != 0) {
        return -1;
    }
    snprintf(weird->runtime_dir, sizeof(weird->runtime_dir), "%s/run", weird->dir.path);
    if (mkdir(weird->runtime_dir, 0700) != 0) {
        bench_fail(result, "cannot make %s", weird->runtime_dir);
    } else if (write_config(weird, spec, config, sizeof(config), result) == 0 &&
               rig_spawn(&weird->child, &weird->dir, "weird", spec->core, argv, result) == 0 &&
               await_broker(weird, result) == 0) {
        return 0;
    }
    rig_weird_stop(weird);
    return -1;
}

void rig_weird_stop(struct rig_weird *weird)
{
    rig_stop(&weird->child);
    rig_dir_remove(&weird->dir);
}

/* The parent's pid of `pid`, from /proc; 0 if it cannot be read. */
static pid_t parent_of(pid_t pid)
{
    char path[64];
    char stat[512];
    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    FILE *file = fopen(path, "re");
    if (!file) {
        return 0;
    }
    size_t len = fread(stat, 1, sizeof(stat) - 1, file);
    fclose(file);
    stat[len] = '\0';
    char *after_name = strrchr(stat, ')'); /* the name may hold spaces and brackets */
    int parent = 0;
    if (!after_name || sscanf(after_name + 1, " %*c %d", &parent) != 1) {
        return 0;
    }
    return parent;
}

unsigned rig_weird_pids(const struct rig_weird *weird, pid_t pids[RIG_WEIRD_CHILDREN_MAX])
{
    unsigned cnt = 0;
    pids[cnt++] = weird->child.pid;
    DIR *proc = opendir("/proc");
    for (struct dirent *entry; proc && (entry = readdir(proc)) && cnt < RIG_WEIRD_CHILDREN_MAX;) {
        pid_t pid = isdigit((unsigned char)entry->d_name[0]) ? atoi(entry->d_name) : 0;
        if (pid > 0 && parent_of(pid) == weird->child.pid) {
            pids[cnt++] = pid;
        }
    }
    if (proc) {
        closedir(proc);
    }
    return cnt;
}

static bool holds_uring(pid_t pid)
{
    char path[64];
    char target[64];
    bool found = false;
    snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
    DIR *fds = opendir(path);
    for (struct dirent *entry; fds && !found && (entry = readdir(fds));) {
        ssize_t len = readlinkat(dirfd(fds), entry->d_name, target, sizeof(target) - 1);
        target[len > 0 ? len : 0] = '\0';
        found = strcmp(target, "anon_inode:[io_uring]") == 0;
    }
    if (fds) {
        closedir(fds);
    }
    return found;
}

pid_t rig_weird_worker(const struct rig_weird *weird)
{
    pid_t pids[RIG_WEIRD_CHILDREN_MAX];
    unsigned cnt = rig_weird_pids(weird, pids);
    for (unsigned i = 1; i < cnt; i++) {
        if (holds_uring(pids[i])) {
            return pids[i];
        }
    }
    return 0;
}
