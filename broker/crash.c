#include "broker/crash.h"

#include "broker/log.h"
#include "shm/weir_atomic.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <link.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* ---------------------------------------------------------------------------------------------- the ring */

struct crash_ring *crash_ring_open(void)
{
    void *at = mmap(NULL, sizeof(struct crash_ring), PROT_READ | PROT_WRITE,
                    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return at != MAP_FAILED ? at : NULL;
}

void crash_ring_clear(struct crash_ring *ring)
{
    if (ring != NULL) {
        memset(ring, 0, sizeof *ring);
    }
}

void crash_ring_put(struct crash_ring *ring, const char *text, size_t bytes)
{
    if (ring == NULL) {
        return;
    }
    char *line = ring->line[ring->next % CRASH_LINES];
    size_t n = weir_min_u64(bytes, CRASH_LINE_BYTES - 1);
    memcpy(line, text, n);
    line[n] = '\0';
    ring->next++; /* last: whoever dies before leaves a line that is not counted */
}

/* ---------------------------------------------------------------------------------------------- facts */

static int note_find(struct dl_phdr_info *info, size_t bytes, void *arg)
{
    char *out = arg;
    (void)bytes;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *p = &info->dlpi_phdr[i];
        if (p->p_type != PT_NOTE) {
            continue;
        }
        const char *at = (const char *)(info->dlpi_addr + p->p_vaddr);
        const char *end = at + p->p_memsz;
        while (end - at >= (ptrdiff_t)sizeof(ElfW(Nhdr))) {
            const ElfW(Nhdr) *n = (const void *)at;
            const char *name = at + sizeof *n;
            const unsigned char *id = (const void *)(name + weir_round_up(n->n_namesz, 4));
            if (n->n_type == NT_GNU_BUILD_ID && n->n_namesz == 4 && memcmp(name, "GNU", 4) == 0) {
                for (uint32_t b = 0; b < n->n_descsz && b < 32; b++) {
                    (void)snprintf(out + 2UL * b, 3, "%02x", id[b]);
                }
                return 1;
            }
            at = (const char *)id + weir_round_up(n->n_descsz, 4);
        }
    }
    return 1; /* the first object is the program itself */
}

void crash_build_id(char *out, size_t bytes)
{
    char text[65] = "";
    (void)dl_iterate_phdr(note_find, text);
    (void)snprintf(out, bytes, "%s", text);
}

static void core_pattern(char *out, size_t bytes)
{
    int fd = open("/proc/sys/kernel/core_pattern", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, out, bytes - 1) : 0;
    if (fd >= 0) {
        (void)close(fd);
    }
    out[n > 0 ? n : 0] = '\0';
    for (char *c = out; *c != '\0'; c++) {
        *c = *c == '\n' ? '\0' : *c < 0x20 || *c > 0x7e || *c == '"' || *c == '\\' ? '_' : *c;
    }
}

void crash_core_limit(uint64_t bytes)
{
    struct rlimit now;
    if (getrlimit(RLIMIT_CORE, &now) == 0) {
        now.rlim_cur = weir_min_u64(bytes, now.rlim_max);
        (void)setrlimit(RLIMIT_CORE, &now);
    }
}

/* ---------------------------------------------------------------------------------------------- the file */

static uint32_t lines_write(FILE *f, const struct crash_ring *ring)
{
    uint32_t next = ring->next;
    uint32_t cnt = 0;
    for (uint32_t i = 0; i < CRASH_LINES; i++) {
        const char *line = ring->line[(next + i) % CRASH_LINES]; /* the oldest first */
        size_t n = strnlen(line, CRASH_LINE_BYTES);
        if (n > 0) {
            (void)fwrite(line, 1, n, f);
            (void)(line[n - 1] != '\n' ? fputc('\n', f) : 0);
            cnt++;
        }
    }
    return cnt;
}

static bool file_write(const char *path, const struct crash_ring *ring, const struct crash *c,
                       const char *build_id, const char *pattern)
{
    char at[40];
    struct tm tm;
    time_t now = time(NULL);
    (void)gmtime_r(&now, &tm);
    (void)strftime(at, sizeof at, "%Y-%m-%dT%H:%M:%SZ", &tm);
    (void)unlink(path); /* never through a link that somebody put there */
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    FILE *f = fd >= 0 ? fdopen(fd, "w") : NULL;
    if (f == NULL) {
        if (fd >= 0) {
            (void)close(fd);
        }
        return false;
    }
    (void)fprintf(
        f,
        "{\"at\":\"%s\",\"pid\":%d,\"signal\":%d,\"status\":%d,\"core\":%s,\"core_pattern\":"
        "\"%s\",\"build_id\":\"%s\",\"version\":\"" WEIR_VERSION
        "\",\"restarts\":%u,\"uptime_ms\":%llu}\n",
        at, (int)c->pid, WIFSIGNALED(c->status) ? WTERMSIG(c->status) : 0,
        WIFEXITED(c->status) ? WEXITSTATUS(c->status) : 0,
        WIFSIGNALED(c->status) && WCOREDUMP(c->status) ? "true" : "false", pattern, build_id,
        c->restarts, (unsigned long long)(c->uptime_ns / WEIR_NS_PER_MS));
    (void)(ring != NULL ? lines_write(f, ring) : 0);
    bool ok = ferror(f) == 0;
    return fclose(f) == 0 && ok;
}

void crash_write(const char *dir, const struct crash_ring *ring, const struct crash *crash)
{
    char path[PATH_MAX];
    char build_id[72];
    char pattern[256];
    crash_build_id(build_id, sizeof build_id);
    core_pattern(pattern, sizeof pattern);
    int n = snprintf(path, sizeof path, "%s/crash.%u", dir, crash->restarts % CRASH_FILES);
    bool ok = n > 0 && (size_t)n < sizeof path && file_write(path, ring, crash, build_id, pattern);
    int reason = errno;
    log_warn("worker_crashed", "s:i, s:i, s:b, s:s, s:s, s:s, s:s", "worker_pid", (int)crash->pid,
             "signal", WIFSIGNALED(crash->status) ? WTERMSIG(crash->status) : 0, "core",
             WIFSIGNALED(crash->status) && WCOREDUMP(crash->status), "core_pattern", pattern,
             "build_id", build_id, "last_lines", ok ? path : "not written", "reason",
             ok ? "" : strerror(reason));
}
