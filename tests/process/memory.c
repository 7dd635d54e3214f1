/*
 * The journal: what was used of a long window is remembered, whoever dies. kill -9 of the worker and of both, a clean stop, a reboot (the journal's boot
 * id edited, the runtime directory gone), journals that must be refused, a disk that fails. Oracle: the exchange's own count of the
 * window, which weir may be above by one ceiling step for each unclean end, and never below.
 * It goes through the instant memory:resolve: what a window of the journal becomes once the clock is known.
 */
#include "rig.h"

#include "shm/weir_attach.h"
#include "shm/weir_journal.h"
#include "shm/weir_pause.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { QUOTA = 300, STEP = 5, NEED_S = 240 };

static char state_dir[96];
static char journal_path[128];

/* A long window with enough of it ahead that nothing here meets its edge. */
static unsigned window_choose(void)
{
    static const unsigned minutes[] = {11, 13, 17, 19, 23};
    for (size_t i = 0; i < sizeof minutes / sizeof minutes[0]; i++) {
        unsigned s = minutes[i] * 60;
        if ((uint64_t)time(NULL) % s + NEED_S < s) {
            return minutes[i];
        }
    }
    return 29;
}

static void clock_wait(struct weir *w)
{
    uint64_t utc_ns;
    uint64_t error_ns;
    for (int i = 0; i < 1000 && weir_server_time(w, "sim", &utc_ns, &error_ns) != 0; i++) {
        rig_sleep_ms(5);
    }
}

/* What weir thinks was used. */
static int used(struct weir *w)
{
    struct weir_limit_info info;
    return weir_limit_get(w, 0, 0, &info) == 0 ? (int)info.used_units : -1;
}

/* What the exchange counted in the window. */
static int counted(struct rig *r)
{
    return (int)rig_report(r, "limits.0.highest");
}

/* How much weir counts too much. The clock's own question may come between the two: then look again. */
static int surplus(struct rig *r, struct weir *w)
{
    for (;;) {
        int before = counted(r);
        int mine = used(w);
        rig_sleep_ms(20);
        if (counted(r) == before && used(w) == mine) {
            return mine - before;
        }
    }
}

static unsigned calls(struct weir *w, unsigned cnt)
{
    const struct weir_request_spec spec = {.struct_bytes = sizeof spec,
                                           .route = rig_route(w, "sim.ping")};
    unsigned done = 0;
    for (unsigned i = 0; i < cnt; i++) {
        struct weir_response a;
        if (weir_call(w, &spec, weir_now_ns(w) + 2 * WEIR_NS_PER_S, &a) == 0) {
            done += a.result == WEIR_RESULT_DONE;
            (void)weir_release(w, a.ticket);
        }
    }
    return done;
}

static int permit(struct weir *w, struct weir_permit *p)
{
    return weir_permit_try(w, rig_route(w, "sim.own"), 0, NULL, WEIR_PRIORITY_CRITICAL, p);
}

static struct weir *start_blind(struct rig *r)
{
    (void)!truncate(r->log, 0);
    rig_weird_start(r);
    return rig_attach(r, WEIR_ROLE_TRADER);
}

static struct weir *start(struct rig *r)
{
    struct weir *w = start_blind(r);
    clock_wait(w);
    rig_sleep_ms(50); /* the second sample may still be counted */
    return w;
}

static void kill_both(struct rig *r)
{
    pid_t worker = rig_process(r, "weird-worker");
    (void)kill(r->weird, SIGSTOP);
    (void)kill(worker, SIGKILL);
    (void)kill(r->weird, SIGKILL);
    (void)rig_wait(r->weird, 2000);
    r->weird = 0;
}

static void file_remove(const char *dir, const char *name)
{
    char path[256];
    (void)snprintf(path, sizeof path, "%s/%s", dir, name);
    (void)unlink(path);
}

/* As after a boot: the directory of sockets lies in memory. */
static void runtime_forget(struct rig *r)
{
    char dir[128];
    (void)snprintf(dir, sizeof dir, "%s/rig", r->dir);
    file_remove(dir, "running");
    file_remove(dir, "state");
}

/* Edit every sound slot of the journal, and make its checksum right again. */
static void journal_edit(struct rig *r, void (*edit)(struct weir_journal_header *h))
{
    struct stat st;
    int fd = open(journal_path, O_RDWR | O_CLOEXEC);
    if (!CHECK(r, fd >= 0 && fstat(fd, &st) == 0, "a journal")) {
        return;
    }
    size_t bytes = (size_t)st.st_size;
    unsigned char *file = aligned_alloc(128, bytes);
    CHECK_INT(r, pread(fd, file, bytes, 0), bytes);
    unsigned sound = 0;
    for (unsigned i = 0; i < 2; i++) {
        struct weir_journal_header *h = (void *)(file + i * bytes / 2);
        if (weir_journal_slot_check(h, bytes / 2) == WEIR_JOURNAL_SOUND) {
            edit(h);
            struct weir_journal_writer w = {.slot = (void *)h,
                                            .slot_bytes = bytes / 2,
                                            .used_bytes = h->used_bytes,
                                            .record_cnt = h->record_cnt};
            if (h->used_bytes > sizeof *h) { /* else it is meant to stay broken */
                (void)weir_journal_end(&w);
            }
            sound++;
        }
    }
    CHECK(r, sound > 0, "a sound slot");
    CHECK_INT(r, pwrite(fd, file, bytes, 0), bytes);
    (void)close(fd);
    free(file);
}

static void edit_boot(struct weir_journal_header *h)
{
    h->boot_id[0] = h->boot_id[0] == 'x' ? 'y' : 'x';
}

static void edit_version(struct weir_journal_header *h)
{
    h->version++;
}

static void edit_older(struct weir_journal_header *h)
{
    h->version = 1;
}

static void edit_name(struct weir_journal_header *h)
{
    (void)snprintf(h->name, sizeof h->name, "other");
}

static void edit_torn(struct weir_journal_header *h)
{
    h->used_bytes = 1; /* below the header: no checksum helps */
}

static void edit_host(struct weir_journal_header *h)
{
    edit_boot(h);
    h->host ^= 2;
}

static void edit_broker(struct weir_journal_header *h)
{
    h->broker_id ^= 2;
}

/* ---------------------------------------------------------------------------------------------- cases */

static void first_start(struct rig *r)
{
    struct weir_permit p;
    char out[1024];
    struct weir *w = start_blind(r);
    CHECK(r, rig_log_has(r, "\"journal_absent\""), "said");
    CHECK(r, rig_log_has(r, "limits_counted_as_spent"), "unknown past");
    for (int i = 0; i < 100; i++) {
        CHECK_INT(r, permit(w, &p), WEIR_DENIED);
        rig_sleep_ms(2);
    }
    weir_close(w);
    CHECK_INT(r, rig_weird_stop(r, 5000), 0);
    CHECK_INT(r, rig_weird_run(r, "--fresh", out, sizeof out), 1);
    rig_check(r, strstr(out, "cannot start with --fresh") != NULL, __FILE__, __LINE__, "%s", out);
    runtime_forget(r);
    CHECK_INT(r, unlink(journal_path), 0);
}

/* Somebody vouches for the past. Then workers die while calls are made. */
static int worker_dies(struct rig *r)
{
    r->option = "--fresh";
    struct weir *w = start(r);
    r->option = NULL;
    CHECK_INT(r, calls(w, 20), 20);
    CHECK_INT(r, surplus(r, w), 0);
    for (int i = 0; i < 4; i++) {
        pid_t worker = rig_process(r, "weird-worker");
        (void)calls(w, 3);
        (void)kill(worker, SIGKILL);
        (void)calls(w, 3);
        CHECK(r, rig_process_next(r, "weird-worker", worker, 3000) > 0, "a worker again");
    }
    rig_sleep_ms(50);
    int more = surplus(r, w);
    /* Each death may leave one charge of a call that was never sent, and one of a question for the time. */
    rig_check(r, more >= 0 && more <= 8, __FILE__, __LINE__, "surplus %d", more);
    weir_close(w);
    return more;
}

static int both_die(struct rig *r, int before)
{
    struct weir *w = rig_attach(r, WEIR_ROLE_TRADER);
    (void)calls(w, 13);
    kill_both(r);
    weir_close(w);
    w = start(r);
    CHECK(r, rig_log_has(r, "limits_from_journal"), "said");
    int more = surplus(r, w);
    rig_check(r, more >= before && more <= before + STEP, __FILE__, __LINE__,
              "after both died: surplus %d, before %d", more, before);
    CHECK_INT(r, calls(w, 10), 10);
    CHECK_INT(r, surplus(r, w), more);
    weir_close(w);
    return more;
}

static int clean_stop(struct rig *r, int before, bool reboot)
{
    CHECK_INT(r, rig_weird_stop(r, 5000), 0);
    if (reboot) {
        runtime_forget(r);
        journal_edit(r, edit_boot);
    }
    struct weir *w = start(r);
    CHECK(r, rig_log_has(r, reboot ? "limits_from_journal" : "limits_restored"), "said");
    int more = surplus(r, w);
    rig_check(r, more == before, __FILE__, __LINE__, "after a clean stop%s: surplus %d, before %d",
              reboot ? " and a reboot" : "", more, before);
    CHECK_INT(r, calls(w, 5), 5);
    weir_close(w);
    return more;
}

static int host_dies(struct rig *r, int before)
{
    struct weir *w = rig_attach(r, WEIR_ROLE_TRADER);
    (void)calls(w, 17);
    kill_both(r);
    weir_close(w);
    runtime_forget(r);
    journal_edit(r, edit_boot);
    uint64_t began_ns = rig_now_ns();
    w = start(r);
    CHECK(r, rig_now_ns() - began_ns < 4 * rig_slowness() * WEIR_NS_PER_S,
          "nobody is left to wait for");
    int more = surplus(r, w);
    rig_check(r, more >= before && more <= before + STEP, __FILE__, __LINE__,
              "after the host died: surplus %d, before %d", more, before);
    weir_close(w);
    return more;
}

/* The disk fails: what it holds is granted, then nothing; when it works again, everything. */
static void disk_fails(struct rig *r)
{
    struct weir *w = rig_attach(r, WEIR_ROLE_TRADER);
    struct rlimit none = {.rlim_cur = 1, .rlim_max = RLIM_INFINITY};
    struct rlimit old;
    struct weir_permit p;
    pid_t worker = rig_process(r, "weird-worker");
    char out[1024];
    CHECK_INT(r, prlimit(worker, RLIMIT_FSIZE, &none, &old), 0);
    int before = used(w);
    int granted = 0;
    for (int i = 0; i < 300; i++) {
        int rc = permit(w, &p);
        granted += rc == 0;
        CHECK(r, rc == 0 || p.denial.reason == WEIR_REASON_JOURNAL, "refused for the journal");
        rig_sleep_ms(1);
    }
    CHECK_INT(r, permit(w, &p), WEIR_DENIED);
    CHECK(r, p.denial.earliest_ns > weir_now_ns(w), "an instant to ask again");
    rig_check(r, granted <= 2 * STEP, __FILE__, __LINE__, "granted %d without a disk", granted);
    CHECK_INT(r, prlimit(worker, RLIMIT_FSIZE, &old, NULL), 0);
    int rc = weir_permit_wait(w, rig_route(w, "sim.own"), 0, NULL, WEIR_PRIORITY_CRITICAL,
                              weir_now_ns(w) + 5 * WEIR_NS_PER_S, &p);
    CHECK_INT(r, rc, 0);
    CHECK_INT(r, rig_process(r, "weird-worker"), worker);
    for (int i = 0; i < 200 && !rig_log_has(r, "journal_written_again"); i++) {
        rig_sleep_ms(10); /* the board says it before the log */
    }
    CHECK(r, rig_log_has(r, "journal_written_again"), "said when it works again");
    CHECK(r, used(w) > before, "counted");
    /* Another broker on the same journal, with sockets elsewhere. */
    char other[128];
    char dir[sizeof r->dir];
    (void)snprintf(other, sizeof other, "%s/other", r->dir);
    (void)mkdir(other, 0700);
    memcpy(dir, r->dir, sizeof dir);
    (void)snprintf(r->dir, sizeof r->dir, "%.56s/o", dir);
    (void)mkdir(r->dir, 0700);
    CHECK_INT(r, rig_weird_run(r, NULL, out, sizeof out), 1);
    memcpy(r->dir, dir, sizeof dir);
    rig_check(r, strstr(out, "writes this journal") != NULL, __FILE__, __LINE__, "%s", out);
    weir_close(w);
}

/* For how long the provider stays paused, and why. */
static void check_paused(struct rig *r, struct weir *w, uint64_t end_utc_ns)
{
    const struct weir_shm_provider *p =
        rig_board(w, WEIR_SECTION_PROVIDER, sizeof(struct weir_shm_provider));
    struct weir_permit permitted;
    CHECK_INT(r, permit(w, &permitted), WEIR_DENIED);
    CHECK_INT(r, permitted.denial.reason, WEIR_REASON_PAUSED);
    int64_t off_ns = (int64_t)(weir_clock_realtime_ns() +
                               (permitted.denial.earliest_ns - weir_now_ns(w)) - end_utc_ns);
    CHECK(r, off_ns > -2 * (int64_t)WEIR_NS_PER_S && off_ns < 2 * (int64_t)WEIR_NS_PER_S,
          "the pause ends %lld ms off", (long long)off_ns / 1000000);
    for (int i = 0; i < 5000 && weir_load_relaxed_u64(&p->backoff_last_ns) == 0; i++) {
        rig_sleep_ms(1); /* the pause is there before its worker, who shows the rest */
    }
    CHECK(r, weir_load_relaxed_u64(&p->backoff_last_ns) != 0, "the backoff knows of it");
    CHECK_INT(r, weir_pause_cause(weir_load_acquire_u64(&p->pause)), WEIR_PAUSE_BANNED);
}

/* What the exchange said about stopping holds on whoever dies: the pause to its instant, and what the backoff counts from. */
static void pause_kept(struct rig *r)
{
    struct weir *w = rig_attach(r, WEIR_ROLE_TRADER);
    rig_fault(r, "{\"kind\": \"status\", \"status\": 418, \"retry_after_s\": 3000, \"count\": 1}");
    CHECK_INT(r, calls(w, 1), 1);
    rig_faults_clear(r);
    uint64_t end_utc_ns = weir_clock_realtime_ns() + 3000 * WEIR_NS_PER_S;
    check_paused(r, w, end_utc_ns);
    weir_close(w);
    for (unsigned reboot = 0; reboot < 2; reboot++) {
        CHECK_INT(r, rig_weird_stop(r, 5000), 0);
        if (reboot) {
            runtime_forget(r);
            journal_edit(r, edit_boot);
        }
        w = start_blind(r); /* the question for the time has to wait too */
        check_paused(r, w, end_utc_ns);
        weir_close(w);
    }
    kill_both(r);
    w = start_blind(r);
    check_paused(r, w, end_utc_ns);
    CHECK_INT(r, rig_operate(r, WEIR_OPERATION_RESUME, "sim", 0), 0);
    clock_wait(w);
    weir_close(w);
}

/* To the end of the quota: the exchange refuses nothing. */
static void use_up(struct rig *r)
{
    struct weir *w = rig_attach(r, WEIR_ROLE_TRADER);
    int more = surplus(r, w);
    unsigned done;
    do {
        done = calls(w, 20);
    } while (done > 0);
    int count = counted(r);
    rig_check(r, count <= QUOTA && used(w) >= QUOTA - 20, __FILE__, __LINE__,
              "at the end: exchange %d, weir %d, surplus before %d", count, used(w), more);
    weir_close(w);
}

static void refused(struct rig *r)
{
    static const struct {
        void (*edit)(struct weir_journal_header *h);
        const char *name;
        bool unclean;
    } cases[] = {
        {edit_version, "newer", false},     {edit_older, "older", false},
        {edit_name, "foreign_name", false}, {edit_torn, "torn", false},
        {edit_host, "foreign_host", false}, {edit_broker, "stale", true},
        {edit_broker, "stale", false},
    };
    struct weir_permit p;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[64];
        if (access("/etc/machine-id", R_OK) != 0 && cases[i].edit == edit_host) {
            continue; /* a machine without an id has nothing to compare */
        }
        if (cases[i].unclean) {
            kill_both(r);
        } else {
            CHECK_INT(r, rig_weird_stop(r, 5000), 0);
            if (cases[i].edit !=
                edit_broker) { /* else: the state of a clean stop, and a journal of another run */
                runtime_forget(r);
            }
        }
        journal_edit(r, cases[i].edit);
        struct weir *w = start_blind(r); /* nothing is left to ask the time with */
        (void)snprintf(text, sizeof text, "\"reason\": \"%s\"", cases[i].name);
        rig_check(r, rig_log_has(r, text) || rig_log_has(r, cases[i].name), __FILE__, __LINE__,
                  "refused as %s", cases[i].name);
        CHECK(r, rig_log_has(r, "limits_counted_as_spent"), "spent");
        CHECK_INT(r, permit(w, &p), WEIR_DENIED);
        weir_close(w);
    }
}

int main(int argc, char **argv)
{
    struct rig r;
    char sim[256];
    char window[16];
    rig_open(&r, "memory", argc, argv, 150);
    (void)snprintf(state_dir, sizeof state_dir, "%s/var/lib", r.dir);
    (void)snprintf(journal_path, sizeof journal_path, "%s/rig/journal", state_dir);
    r.state_dir = state_dir;
    unsigned minutes = window_choose();
    (void)snprintf(window, sizeof window, "%um", minutes);
    (void)snprintf(sim, sizeof sim,
                   "{\"latency_ms\": 1, \"limits\": [{\"name\": \"weight\", \"kind\": "
                   "\"fixed_window\", \"quota\": %d, \"window_ms\": %u}]}",
                   QUOTA, minutes * 60000);
    (void)printf("window %s\n", window);
    rig_sim_start(&r, sim);
    /* The test takes the disk away by prlimit: of another user's process only CAP_SYS_RESOURCE may, which containers lack. */
    rig_config_limits(&r, geteuid() == 0 ? "log: info, user: root" : "log: info", QUOTA, window);
    first_start(&r);
    int more = worker_dies(&r);
    more = both_die(&r, more);
    more = clean_stop(&r, more, false);
    more = clean_stop(&r, more, true);
    more = host_dies(&r, more);
    disk_fails(&r);
    pause_kept(&r);
    use_up(&r);
    refused(&r);
    CHECK_INT(&r, rig_report(&r, "violations"), 0);
    CHECK_INT(&r, rig_report(&r, "by_status.429"), -1);
    CHECK_INT(&r, rig_weird_stop(&r, 5000), 0);
    return rig_close(&r);
}
