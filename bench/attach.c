/*
 * attach.c: what weir costs before anybody calls: time to attach, memory of the segments, memory of an idle worker.
 */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "duel.h"
#include "rig_weird.h"
#include "shm/weir_clock.h"

#define ATTACH_MAX   500U
#define IDLE_US      2000000U
#define SEGMENTS_MAX 64U

int bench_attach(const struct bench *bench, struct bench_result *result)
{
    static struct stats_hist hist;
    struct rig_weird weird;
    struct rig_weird_spec spec = {.wake = "sleep", .core = bench_core(bench, 1)};
    struct weir_diag diag = {0};
    int rc = 0;
    memset(&hist, 0, sizeof(hist));
    if (rig_weird_start(bench, &weird, &spec, result) != 0) {
        return -1;
    }
    (void)duel_pin(bench_core(bench, 0));
    uint64_t end_ns =
        weir_clock_monotonic_ns() + (uint64_t)(bench->opts.row_s * (double)WEIR_NS_PER_S);
    for (unsigned i = 0; rc == 0 && i < ATTACH_MAX; i++) {
        struct weir *w;
        struct weir_open_opts opts = rig_weird_opts(&weird);
        uint64_t start_ns = weir_clock_monotonic_ns();
        rc = weir_open(&w, "bench", &opts, &diag);
        stats_hist_add(&hist, weir_clock_monotonic_ns() - start_ns);
        if (rc == 0) {
            weir_close(w);
        }
        if (weir_clock_monotonic_ns() > end_ns) {
            break;
        }
    }
    rig_weird_stop(&weird);
    if (rc != 0) {
        return bench_fail(result, "weir_open: %s", diag.text);
    }
    result->measured = true;
    result->has_tail = true;
    result->p50 = stats_hist_quantile(&hist, 0.5) / 1e3;
    result->p99 = stats_hist_quantile(&hist, 0.99) / 1e3;
    result->p999 = stats_hist_quantile(&hist, 0.999) / 1e3;
    result->value = result->p50;
    snprintf(result->note, sizeof(result->note), "%llu times weir_open, role trader, arena 1 MiB",
             (unsigned long long)hist.cnt);
    return 0;
}

struct segments {
    ino_t seen[SEGMENTS_MAX];
    unsigned cnt;
    double bytes;
    char names[200];
};

/* One descriptor: a segment of weir that was not counted yet, and that does not belong to a client? */
static void segment_count(struct segments *segments, int dir, const char *name)
{
    char target[128];
    struct stat stat;
    static const char prefix[] = "/memfd:weir:";
    ssize_t len = readlinkat(dir, name, target, sizeof(target) - 1);
    target[len > 0 ? len : 0] = '\0';
    if (strncmp(target, prefix, sizeof(prefix) - 1) != 0 || fstatat(dir, name, &stat, 0) != 0) {
        return;
    }
    char *kind = target + sizeof(prefix) - 1;
    kind[strcspn(kind, " ")] = '\0'; /* " (deleted)" */
    if (strcmp(kind, "arena") == 0 || strcmp(kind, "shadow") == 0) {
        return; /* one for each client */
    }
    for (unsigned i = 0; i < segments->cnt; i++) {
        if (segments->seen[i] == stat.st_ino) {
            return;
        }
    }
    if (segments->cnt < SEGMENTS_MAX) {
        size_t used = strlen(segments->names);
        segments->seen[segments->cnt++] = stat.st_ino;
        segments->bytes += (double)stat.st_size;
        snprintf(segments->names + used, sizeof(segments->names) - used, "%s%s %lld KiB",
                 used ? ", " : "", kind, (long long)stat.st_size / 1024);
    }
}

static void segments_of(struct segments *segments, pid_t pid)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
    DIR *fds = opendir(path);
    for (struct dirent *entry; fds && (entry = readdir(fds));) {
        segment_count(segments, dirfd(fds), entry->d_name);
    }
    if (fds) {
        closedir(fds);
    }
}

int bench_region(const struct bench *bench, struct bench_result *result)
{
    struct rig_weird weird;
    struct segments segments = {0};
    pid_t pids[RIG_WEIRD_CHILDREN_MAX];
    struct rig_weird_spec spec = {.wake = "sleep", .core = -1, .is_large = true};
    if (rig_weird_start(bench, &weird, &spec, result) != 0) {
        return -1;
    }
    unsigned cnt = rig_weird_pids(&weird, pids);
    for (unsigned i = 0; i < cnt; i++) {
        segments_of(&segments, pids[i]);
    }
    rig_weird_stop(&weird);
    if (segments.cnt == 0) {
        return bench_fail(result, "no process of weird holds a memfd named weir:");
    }
    result->measured = true;
    result->value = segments.bytes / (1U << 20);
    snprintf(result->note, sizeof(result->note), "%s", segments.names);
    return 0;
}

/* A line "Name:   123 kB" of /proc/PID/status, in KiB; -1 if it is not there. */
static long status_kib(pid_t pid, const char *name)
{
    char path[64];
    char line[256];
    long kib = -1;
    snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
    FILE *file = fopen(path, "re");
    while (file && kib < 0 && fgets(line, sizeof(line), file)) {
        if (strncmp(line, name, strlen(name)) == 0) {
            kib = strtol(line + strlen(name), NULL, 10);
        }
    }
    if (file) {
        fclose(file);
    }
    return kib;
}

/*
 * Anonymous pages and pages of files (program and libraries), without shared memory. The pages of libraries count although others may
 * map the same ones: what an operator sees is what is judged.
 */
int bench_idle_rss(const struct bench *bench, struct bench_result *result)
{
    struct rig_weird weird;
    struct rig_weird_spec spec = {.wake = "sleep", .core = -1};
    if (rig_weird_start(bench, &weird, &spec, result) != 0) {
        return -1;
    }
    usleep(IDLE_US); /* what start-up needs is not idle */
    pid_t worker = rig_weird_worker(&weird);
    long anon = worker ? status_kib(worker, "RssAnon:") : -1;
    long file = worker ? status_kib(worker, "RssFile:") : -1;
    long shared = worker ? status_kib(worker, "RssShmem:") : -1;
    rig_weird_stop(&weird);
    if (anon < 0 || file < 0) {
        return bench_fail(result, "cannot read the worker's /proc/PID/status");
    }
    result->measured = true;
    result->value = (double)(anon + file) / 1024;
    snprintf(result->note, sizeof(result->note),
             "RssAnon %ld KiB + RssFile %ld KiB; RssShmem %ld KiB is not counted", anon, file,
             shared);
    return 0;
}
