/*
 * A worker that crashes again and again (by signals that no sanitizer takes for its own): the wait before the next one doubles, permits flow meanwhile, board and log say so, and what the worker had said last is kept with
 * signal, build id and what became of the core.
 */
#include "rig.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct weir_shm_supervisor *supervisor_of(const struct weir *w)
{
    return rig_board(w, WEIR_SECTION_SUPERVISOR, sizeof(struct weir_shm_supervisor));
}

static unsigned permits_for(struct rig *r, struct weir *w, unsigned ms)
{
    weir_route_id own = rig_route(w, "sim.own");
    uint64_t end_ns = rig_now_ns() + ms * WEIR_NS_PER_MS;
    unsigned granted = 0;
    while (rig_now_ns() < end_ns) {
        struct weir_permit p;
        int rc = weir_permit_try(w, own, 0, NULL, WEIR_PRIORITY_LOW, &p);
        granted += rc == 0;
        CHECK(r, rc == 0 || p.denial.reason == WEIR_REASON_LIMIT_FULL, "reason %s",
              weir_reason_text(p.denial.reason));
        rig_sleep_ms(10);
    }
    return granted;
}

static void file_text(char *out, size_t bytes, const char *format, ...) WEIR_PRINTF(3, 4);

static void file_text(char *out, size_t bytes, const char *format, ...)
{
    char path[200];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(path, sizeof path, format, args);
    va_end(args);
    FILE *f = fopen(path, "re");
    size_t n = f != NULL ? fread(out, 1, bytes - 1, f) : 0;
    out[n] = '\0';
    if (f != NULL) {
        (void)fclose(f);
    }
}

/* The limit of a process as /proc says it, "" where there is none of this name. */
static void core_limit(pid_t pid, char *out, size_t bytes)
{
    char text[4096];
    file_text(text, sizeof text, "/proc/%d/limits", (int)pid);
    const char *at = strstr(text, "Max core file size");
    out[0] = '\0';
    if (at != NULL) {
        char word[32];
        (void)sscanf(at + strlen("Max core file size"), "%31s", word);
        (void)snprintf(out, bytes, "%s", word);
    }
}

/* Has this worker said that it is there? */
static bool said(struct rig *r, pid_t worker)
{
    char want[64];
    (void)snprintf(want, sizeof want, "\"pid\":%d,\"event\":\"worker_started\"", (int)worker);
    return rig_log_has(r, want);
}

static void loop(struct rig *r)
{
    static char text[1 << 17];
    struct weir *w = rig_attach(r, WEIR_ROLE_TRADER);
    uint64_t wait_ms = 1000;
    for (unsigned n = 1; n <= 2; n++, wait_ms *= 2) {
        pid_t worker = rig_process(r, "weird-worker");
        for (int i = 0;
             i < 500 && !(rig_board_worker(w)->pid == (uint32_t)worker && said(r, worker)); i++) {
            rig_sleep_ms(10); /* it has said something */
        }
        /*
         * Its first samples of the clock may re-align windows. Killed in the middle of that, it leaves them shut until the next worker, as it should; and a window that had begun less than
         * J before counts as spent. Not the matter here.
         */
        rig_sleep_ms(500);
        for (int i = 0; i < 400 && permits_for(r, w, 1) == 0; i++) {
            rig_sleep_ms(10);
        }
        core_limit(worker, text, sizeof text);
        CHECK_TEXT(r, text, "0");
        (void)kill(worker, n == 1 ? SIGILL : SIGABRT);
        uint64_t at_ns = rig_now_ns();
        const struct weir_shm_supervisor *s = supervisor_of(w);
        for (int i = 0; i < 400 && s->worker_crashes < n;
             i++) { /* a large process takes a while to end */
            rig_sleep_ms(2);
        }
        rig_sleep_ms(150);
        CHECK_INT(r, s->worker_crashes, n);
        CHECK_INT(r, s->worker_signal, n == 1 ? SIGILL : SIGABRT);
        CHECK(r, s->worker_starts_at_ns > s->worker_died_ns + (wait_ms - 1) * WEIR_NS_PER_MS,
              "it waits %llu ms", (unsigned long long)wait_ms);
        CHECK_INT(r, rig_process(r, "weird-worker"), 0);
        unsigned granted = permits_for(r, w, (unsigned)wait_ms / 2);
        CHECK(r, granted >= wait_ms / 200, "permits while it is down: %u",
              granted); /* 50 or 100, were nobody late */
        CHECK(r, rig_process_next(r, "weird-worker", worker, 10000) > 0, "a worker again");
        uint64_t took_ms = (rig_now_ns() - at_ns) / WEIR_NS_PER_MS;
        CHECK(r, took_ms >= wait_ms, "after %llu ms", (unsigned long long)took_ms);
        (void)printf("crash %u: next start after %llu ms, %u permits meanwhile\n", n,
                     (unsigned long long)took_ms, granted);
        /* What is kept of it. */
        file_text(text, sizeof text, "%s/rig/crash.%u", r->dir, s->worker_restarts % 8);
        char want[128];
        (void)snprintf(want, sizeof want, "\"pid\":%d,\"signal\":%d,\"status\":0,\"core\":false,",
                       (int)worker, n == 1 ? SIGILL : SIGABRT);
        CHECK(r, strstr(text, want) != NULL, "head: %.300s", text);
        (void)snprintf(want, sizeof want, "\"pid\":%d,\"event\":\"worker_started\"", (int)worker);
        CHECK(r, strstr(text, want) != NULL, "its last lines: %.2000s", text);
        const char *id = strstr(text, "\"build_id\":\"");
        CHECK(r, id != NULL && strspn(id + 12, "0123456789abcdef") >= 16, "a build id");
    }
    CHECK(r, rig_log_has(r, "\"crashes_in_a_row\":2,\"restart_in_ms\":2000"), "the log says so");
    CHECK(r, rig_log_has(r, "\"event\":\"worker_crashed\""), "and where the rest is");
    /* Killed is not crashed. */
    pid_t worker = rig_process(r, "weird-worker");
    (void)kill(worker, SIGKILL);
    CHECK(r, rig_process_next(r, "weird-worker", worker, 3000) > 0, "at once");
    CHECK_INT(r, supervisor_of(w)->worker_crashes, 0);
    weir_close(w);
}

int main(int argc, char **argv)
{
    struct rig r;
    char text[32];
    rig_open(&r, "crash_loop", argc, argv, 45);
    rig_sim_start(&r, "{\"limits\": []}");
    rig_config_limits(&r, "log: info", 2000, "2s");
    rig_weird_start(&r);
    loop(&r);
    CHECK_INT(&r, rig_weird_stop(&r, 15000), 0);
    rig_config_usual(&r, "core: 64MiB");
    rig_weird_start(&r);
    core_limit(rig_process(&r, "weird-worker"), text, sizeof text);
    CHECK(&r, strcmp(text, "67108864") == 0 || strcmp(text, "0") == 0, "core limit %s", text);
    CHECK_INT(&r, rig_weird_stop(&r, 15000), 0);
    return rig_close(&r);
}
