/*
 * The journal of limits that know no windows: a sliding window of 11 min and a bucket that takes 30 min to drain. kill -9 of all of weird while a strategy calls
 * as fast as it may, in the same boot and as if the host had gone (boot id edited, runtime directory gone); a journal of the version before. Oracle: the exchange's
 * own counts. weir may be above them by one step for each unclean end (and the call that was under way), and never below; what was lost is printed.
 */
#include "rig.h"

#include "shm/weir_journal.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* STEP: 0.5 % of the quota; in the bucket a quarter more, and it is shown in whole units. OPEN: calls that may be under way. */
enum { QUOTA = 300, STEP = 2, BUCKET_STEP = 4, OPEN = 2, ROLLS = 0, SLOW = 1 };

static char state_dir[96];
static char journal_path[128];
static uint64_t began_ns;

static int used(struct weir *w, uint32_t limit)
{
    struct weir_limit_info info;
    return weir_limit_get(w, limit, 0, &info) == 0 ? (int)info.used_units : -1;
}

static int counted(struct rig *r)
{
    return (int)rig_report(r, "limits.0.highest");
}

static unsigned calls(struct weir *w, unsigned cnt)
{
    const struct weir_request_spec spec = {.struct_bytes = sizeof spec,
                                           .route = rig_route(w, "sim.ping")};
    unsigned done = 0;
    for (unsigned i = 0; i < cnt; i++) {
        struct weir_response a;
        if (weir_call(w, &spec, weir_now_ns(w) + rig_slowness() * WEIR_NS_PER_S / 4, &a) == 0) {
            done += a.result == WEIR_RESULT_DONE;
            (void)weir_release(w, a.ticket);
        }
    }
    return done;
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

/* A strategy calls without a pause; once the exchange has counted `cnt`, all of weird is killed. */
static void kill_in_traffic(struct rig *r, int cnt)
{
    (void)fflush(stdout);
    pid_t strategy = fork();
    if (strategy == 0) {
        struct weir *w = rig_attach(r, WEIR_ROLE_TRADER);
        for (;;) {
            (void)calls(w, 1);
        }
    }
    for (int i = 0; i < 5000 && counted(r) < cnt; i++) {
        rig_sleep_ms(1);
    }
    kill_both(r);
    (void)kill(strategy, SIGKILL);
    (void)rig_wait(strategy, 2000);
    rig_sleep_ms(50); /* what was on the wire is counted */
    CHECK(r, counted(r) >= cnt, "there was traffic");
}

/* As after a boot. */
static void runtime_forget(struct rig *r)
{
    static const char *const names[] = {"running", "state"};
    for (unsigned i = 0; i < 2; i++) {
        char path[128];
        (void)snprintf(path, sizeof path, "%s/rig/%s", r->dir, names[i]);
        (void)unlink(path);
    }
}

static void edit_boot(struct weir_journal_header *h)
{
    h->boot_id[0] = h->boot_id[0] == 'x' ? 'y' : 'x';
}

static void journal_edit(struct rig *r, bool older)
{
    static unsigned char file[2 * WEIR_JOURNAL_SLOT_MIN_BYTES] __attribute__((aligned(128)));
    int fd = open(journal_path, O_RDWR | O_CLOEXEC);
    CHECK_INT(r, pread(fd, file, sizeof file, 0), sizeof file);
    for (unsigned i = 0; i < 2; i++) {
        struct weir_journal_header *h = (void *)(file + i * sizeof file / 2);
        if (weir_journal_slot_check(h, sizeof file / 2) != WEIR_JOURNAL_SOUND) {
            continue;
        }
        struct weir_journal_writer w = {.slot = (void *)h,
                                        .slot_bytes = sizeof file / 2,
                                        .used_bytes = h->used_bytes,
                                        .record_cnt = h->record_cnt};
        edit_boot(h);
        h->version -= older;
        (void)weir_journal_end(&w);
    }
    CHECK_INT(r, pwrite(fd, file, sizeof file, 0), sizeof file);
    (void)close(fd);
}

static struct weir *start(struct rig *r)
{
    rig_log_clear(r);
    rig_weird_start(r);
    return rig_attach(r, WEIR_ROLE_TRADER);
}

/* After an unclean end: no less than the exchange counted, no more than a step above what was lost before. Returns what is lost by now. */
static int check(struct rig *r, struct weir *w, const char *what, int lost)
{
    int count = counted(r);
    int more = used(w, ROLLS) - count;
    int slow = used(w, SLOW) - count;
    int drained = (int)((rig_now_ns() - began_ns) / (6 * WEIR_NS_PER_S)) + 1;
    (void)printf("%s: exchange %d, sliding window +%d, bucket %+d\n", what, count, more, slow);
    CHECK(r, rig_log_has(r, "limits_from_journal"), "said");
    rig_check(r, more >= 0 && more <= lost + STEP + OPEN, __FILE__, __LINE__,
              "%s: sliding window: %d counted too much, before %d", what, more, lost);
    rig_check(r, slow >= -drained && slow <= 2 * (lost + BUCKET_STEP + OPEN), __FILE__, __LINE__,
              "%s: bucket: %d counted too much", what, slow);
    return more;
}

static void older(struct rig *r)
{
    struct weir_permit p;
    CHECK_INT(r, rig_weird_stop(r, 5000), 0);
    runtime_forget(r);
    journal_edit(r, true);
    struct weir *w = start(r);
    CHECK(r, rig_log_has(r, "\"older\""), "refused as older");
    CHECK(r, rig_log_has(r, "limits_counted_as_spent"), "spent");
    for (int i = 0; i < 50; i++) {
        CHECK_INT(r, weir_permit_try(w, rig_route(w, "sim.own"), 0, NULL, 0, &p), WEIR_DENIED);
        rig_sleep_ms(2);
    }
    weir_close(w);
}

int main(int argc, char **argv)
{
    struct rig r;
    rig_open(&r, "memory_rolling", argc, argv, 80);
    (void)snprintf(state_dir, sizeof state_dir, "%s/var/lib", r.dir);
    (void)snprintf(journal_path, sizeof journal_path, "%s/rig/journal", state_dir);
    r.state_dir = state_dir;
    rig_sim_start(
        &r, "{\"ban_after\": 0, \"limits\": [{\"name\": \"rolls\", \"counts\": \"listed\", "
            "\"kind\": \"sliding_window\", \"quota\": 300, \"window_ms\": 660000}, {\"name\": "
            "\"slow\", \"counts\": \"listed\", \"kind\": \"token_bucket\", \"quota\": 300, "
            "\"refill_per_s\": 0.16666666}], \"routes\": [{\"path\": \"GET /k\", \"plays\": "
            "\"ok\", \"costs\": [{\"limit\": \"rolls\", \"cost\": 1}, {\"limit\": \"slow\", "
            "\"cost\": 1}]}]}");
    rig_config(&r,
               "broker: {name: rig, log: info}\n"
               "providers:\n"
               "  - name: sim\n"
               "    clock: {source: none, max_jitter: 20ms}\n"
               "    limits:\n"
               "      - {name: rolls, kind: sliding_window, quota: 300, window: 11m}\n"
               "      - {name: slow, kind: token_bucket, quota: 300, window: 30m, burst: 300}\n"
               "    endpoints:\n"
               "      - {name: a, url: \"http://127.0.0.1:$PORT\", connections: 4}\n"
               "    routes:\n"
               "      - {name: ping, method: GET, path: /k, cost: {rolls: 1, slow: 1}}\n"
               "      - {name: own, transport: own, cost: {rolls: 1, slow: 1}}\n",
               0);
    r.option = "--fresh";
    struct weir *w = start(&r);
    r.option = NULL;
    began_ns = rig_now_ns();
    CHECK_INT(&r, calls(w, 20), 20);
    /* A call that a busy machine kept past its permit's use_by_ns takes another one, and the first charge stays. */
    CHECK(&r, used(w, ROLLS) >= counted(&r) && used(w, ROLLS) <= counted(&r) + 5,
          "what was counted");
    weir_close(w);
    kill_in_traffic(&r, 80);
    w = start(&r);
    int lost = check(&r, w, "both killed", 0);
    weir_close(w);
    kill_in_traffic(&r, 160);
    runtime_forget(&r);
    journal_edit(&r, false);
    w = start(&r);
    lost = check(&r, w, "host died", lost);
    /* To the end: the exchange refuses nothing. */
    while (calls(w, 10) > 0) {
    }
    (void)printf("at the end: exchange %d of %d, lost %d by two deaths\n", counted(&r), QUOTA,
                 lost);
    PROMISE(&r, counted(&r) <= QUOTA, "%d", counted(&r));
    rig_check(&r, counted(&r) <= QUOTA && counted(&r) >= QUOTA - 2 * (BUCKET_STEP + OPEN) - OPEN,
              __FILE__, __LINE__, "the exchange counted %d", counted(&r));
    weir_close(w);
    older(&r);
    PROMISE_INT(&r, rig_report(&r, "violations"), 0);
    CHECK_INT(&r, rig_report(&r, "by_status.429"), -1);
    CHECK_INT(&r, rig_weird_stop(&r, 5000), 0);
    return rig_close(&r);
}
