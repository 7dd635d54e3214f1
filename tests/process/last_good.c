/*
 * last_good WEIR-SIM WEIRD [SEED] [--only=NAME]      clean_stop, kills, writers, disk_fails or refused alone; each begins with an empty disk of its own then
 *
 * The last known good answers on disk (broker/last_good.h): a new broker gives what an earlier one had fetched, where nothing better is to be had. Ends of all sorts,
 * kill -9 in the middle of writes among them; files that must not be believed; a disk that fails; takeovers.
 *
 * Oracle: every body that the exchange ever gave for a question, and when. An answer from disk is one of those, whole, and at least as old as it is.
 */
#include "rig.h"

#include "broker/snapshot.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#define MS    WEIR_NS_PER_MS
#define KEYS  24
#define LARGE 40 /* answers of 60000 bytes, so that a write takes its time */
#define KILLS 8
#define LOG   20000

static char state_dir[128];
static char file_path[2][192];
static struct weir *w;

static const char weir_yaml[] =
    "broker: {name: rig, memory: 64MiB, cache: 8MiB, last_good_every: 100ms%s}\n"
    "providers:\n"
    "  - name: sim\n"
    "    clock: {source: host, error: 30ms, max_jitter: 100ms}\n"
    "    limits:\n"
    "      - {name: wide, kind: token_bucket, quota: 100000, window: 1s}\n"
    "    endpoints:\n"
    "      - {name: a, url: \"http://%s:$PORT\", connections: 16}\n"
    "    routes:\n"
    "      - {name: good, method: GET, path: /api/v3/time, cost: {wide: 1}, timeout: 3s, share: "
    "public,\n"
    "         cache: 1ms, last_good: 1h}\n"
    "      - {name: lost, method: GET, path: /api/v3/time, cost: {wide: 1}, timeout: 3s, share: "
    "public,\n"
    "         cache: 1ms, stale: 1h}\n"
    "      - {name: brief, method: GET, path: /api/v3/time, cost: {wide: 1}, timeout: 3s, share: "
    "public,\n"
    "         cache: 1ms, last_good: 1s}\n"
    "      - {name: large, method: GET, path: /bytes/*, cost: {wide: 1}, timeout: 3s, share: "
    "public, cache: 1ms,\n"
    "         last_good: 1h, max_response: 128KiB}\n";

static void configure(struct rig *r, const char *host)
{
    char text[4096];
    /* The test takes the disk away by prlimit: of another user's process only CAP_SYS_RESOURCE may, which containers lack. */
    (void)snprintf(text, sizeof text, weir_yaml, geteuid() == 0 ? ", user: root" : "", host);
    rig_config(r, text, 0);
}

/* ---------------------------------------------------------------------------------------------- what was ever answered */

static struct {
    int key;
    uint64_t body;    /* its hash */
    uint64_t came_ns; /* CLOCK_MONOTONIC: the exchange made it before */
} given[LOG];
static unsigned given_cnt;

static int call(const char *route, const char *rest, const char *query, struct weir_response *a)
{
    const struct weir_request_spec spec = {.struct_bytes = sizeof spec,
                                           .route = rig_route(w, route),
                                           .path_rest = rest,
                                           .query = query};
    /* libweir waits out a takeover's pause of 10 ms; a successor that gets no core in that time is waited for here */
    for (int i = 0; i < 300 && weir_check(w) == WEIR_E_LEASE; i++) {
        rig_sleep_ms(10);
    }
    return weir_call(w, &spec, weir_now_ns(w) + 3000 * MS, a);
}

/* One call of a key; what comes from disk is held against what was given. Returns its source, 0 where there is no answer. */
static uint32_t ask(struct rig *r, const char *route, int key)
{
    char query[32];
    struct weir_response a;
    (void)snprintf(query, sizeof query, "k=%d", key);
    bool large = strcmp(route, "sim.large") == 0;
    int rc = call(route, large ? "60000" : NULL, query, &a);
    if (!CHECK(r, rc == 0, "a named end: %d", rc)) {
        return 0;
    }
    uint32_t source = a.result == WEIR_RESULT_DONE && a.status == 200 ? a.source : 0;
    uint64_t hash = XXH3_64bits(a.body, a.body_bytes);
    int id = key + (large ? 1000 : strcmp(route, "sim.brief") == 0 ? 2000 : 0);
    uint64_t now_ns = rig_now_ns();
    if ((source == WEIR_SOURCE_LIVE || source == WEIR_SOURCE_CACHE) && given_cnt < LOG) {
        given[given_cnt].key = id;
        given[given_cnt].came_ns = now_ns;
        given[given_cnt++].body = hash;
    } else if (source == WEIR_SOURCE_DISK) {
        bool found = false;
        uint64_t least_ns = UINT64_MAX;
        for (unsigned i = 0; i < given_cnt; i++) {
            if (given[i].key == id && given[i].body == hash) {
                found = true;
                least_ns = weir_min_u64(least_ns, now_ns - given[i].came_ns);
            }
        }
        /* A large one is always the same: as old as the last of them, at least. The call itself took some time. */
        CHECK(r, found, "%s %d: an answer that the exchange gave", route, key);
        CHECK(r, !found || a.age_ns + 3500 * MS > least_ns, "no younger than it is: %llu < %llu",
              (unsigned long long)a.age_ns, (unsigned long long)least_ns);
        CHECK(r, a.age_ns < 3600 * WEIR_NS_PER_S, "and not too old");
    }
    (void)weir_release(w, a.ticket);
    return source;
}

/* ---------------------------------------------------------------------------------------------- brokers */

static void exchange_down(struct rig *r)
{
    rig_fault(r, "{\"kind\": \"reset\", \"path\": \"/api/v3/time\"}");
    rig_fault(r, "{\"kind\": \"reset\", \"path\": \"/bytes/60000\"}");
}

static void start(struct rig *r)
{
    rig_log_clear(r);
    rig_weird_start(r);
    w = rig_attach(r, WEIR_ROLE_TRADER);
}

static void stop(struct rig *r)
{
    weir_close(w);
    CHECK_INT(r, rig_weird_stop(r, 8000), 0);
}

/* So that nobody waits for the lease of who died: nothing tells of it. */
static void runtime_forget(struct rig *r)
{
    char path[192];
    (void)snprintf(path, sizeof path, "%s/rig/running", r->dir);
    (void)unlink(path);
    (void)snprintf(path, sizeof path, "%s/rig/state", r->dir);
    (void)unlink(path);
    (void)snprintf(path, sizeof path, "%s/rig/journal", state_dir);
    (void)unlink(path);
}

static void kill_both(struct rig *r)
{
    pid_t worker = rig_process(r, "weird-worker");
    weir_close(w);
    (void)kill(r->weird, SIGSTOP);
    (void)kill(worker, SIGKILL);
    (void)kill(r->weird, SIGKILL);
    (void)rig_wait(r->weird, 3000);
    r->weird = 0;
    runtime_forget(r);
}

/* The largest number that a header on disk bears. */
static uint64_t sequence(void)
{
    uint64_t most = 0;
    for (int i = 0; i < 2; i++) {
        struct snapshot_header h;
        int fd = open(file_path[i], O_RDONLY | O_CLOEXEC);
        if (fd >= 0 && pread(fd, &h, sizeof h, 0) == sizeof h) {
            most = weir_max_u64(most, h.sequence);
        }
        if (fd >= 0) {
            (void)close(fd);
        }
    }
    return most;
}

/* Until a snapshot is on disk that was begun from here on: the second one from now. */
static bool written(struct rig *r)
{
    uint64_t from = sequence();
    for (int i = 0; i < 1000 && sequence() < from + 3; i++) {
        (void)ask(r, "sim.good", 0);
        rig_sleep_ms(10);
    }
    return sequence() >= from + 3;
}

/* ---------------------------------------------------------------------------------------------- the tests */

static void test_clean_stop(struct rig *r)
{
    char to[4096];
    struct weir_response a;
    struct weir_request_spec spec = {.struct_bytes = sizeof spec, .query = "k=1"};
    start(r);
    for (int k = 0; k < KEYS; k++) {
        CHECK_INT(r, ask(r, "sim.good", k), WEIR_SOURCE_LIVE);
    }
    CHECK_INT(r, ask(r, "sim.lost", 1), WEIR_SOURCE_LIVE);
    CHECK_INT(r, ask(r, "sim.brief", 1), WEIR_SOURCE_LIVE);
    stop(r);
    rig_sleep_ms(1100);
    start(r);
    CHECK(r, rig_log_has(r, "last_good_restored"), "said");
    /* the exchange works: nobody is given anything from disk unasked */
    CHECK_INT(r, ask(r, "sim.good", 0), WEIR_SOURCE_LIVE);
    spec.route = rig_route(w, "sim.good");
    CHECK_INT(r, weir_cache_get(w, &spec, 0, to, sizeof to, &a), WEIR_EMPTY);
    CHECK_INT(r, weir_cache_get(w, &spec, 500 * MS, to, sizeof to, &a), WEIR_EMPTY);
    CHECK_INT(r, weir_cache_get(w, &spec, 3600 * WEIR_NS_PER_S, to, sizeof to, &a), 0);
    CHECK_INT(r, a.source, WEIR_SOURCE_DISK);
    CHECK(r, a.age_ns > 1000 * MS);
    exchange_down(r);
    for (int k = 1; k < KEYS; k++) {
        CHECK_INT(r, ask(r, "sim.good", k), WEIR_SOURCE_DISK);
    }
    CHECK_INT(r, ask(r, "sim.good", KEYS), 0); /* never asked before */
    CHECK_INT(r, ask(r, "sim.lost", 1), 0);    /* its route keeps none on disk */
    CHECK_INT(r, ask(r, "sim.brief", 1), 0);   /* too old */
    const struct weir_shm_cache_route *row = rig_board(w, WEIR_SECTION_CACHE_ROUTE, sizeof *row);
    CHECK_INT(r, row[rig_route(w, "sim.good")].disk, KEYS - 1);
    CHECK_INT(r, row[rig_route(w, "sim.good")].stale, 0);
    rig_faults_clear(r);
    CHECK_INT(r, ask(r, "sim.good", 1), WEIR_SOURCE_LIVE);
    /* what nobody has got anew goes on to the broker after the next */
    stop(r);
    start(r);
    exchange_down(r);
    CHECK_INT(r, ask(r, "sim.good", 2), WEIR_SOURCE_DISK);
    rig_faults_clear(r);
    stop(r);
}

/* kill -9 of the broker while it writes. */
static void test_kills(struct rig *r)
{
    unsigned disk = 0;
    unsigned torn = 0;
    start(r);
    CHECK_INT(r, ask(r, "sim.good", 100), WEIR_SOURCE_LIVE); /* never asked again */
    CHECK(r, written(r), "a snapshot");
    for (int n = 0; n < KILLS; n++) {
        uint64_t end_ns = rig_now_ns() + (200 + rig_random(r, 500)) * MS;
        for (int i = 0; rig_now_ns() < end_ns; i++) {
            (void)ask(r, "sim.good", i % KEYS);
            (void)ask(r, "sim.large", i % LARGE);
        }
        if (n % 4 !=
            3) { /* a header is the first of its file: what follows is under way, some of it not written yet */
            uint64_t seen = sequence();
            end_ns = rig_now_ns() + 3 * WEIR_NS_PER_S;
            while (sequence() == seen && rig_now_ns() < end_ns) {
            }
        }
        kill_both(r);
        start(r);
        torn += rig_log_has(r, "\"torn\"");
        exchange_down(r);
        CHECK_INT(r, ask(r, "sim.good", 100), WEIR_SOURCE_DISK);
        for (int k = 0; k < KEYS; k++) {
            disk += ask(r, "sim.good", k) == WEIR_SOURCE_DISK;
        }
        for (int k = 0; k < LARGE; k++) {
            disk += ask(r, "sim.large", k) == WEIR_SOURCE_DISK;
        }
        rig_faults_clear(r);
    }
    (void)printf("%d kills: %u answers came back, %u files were torn\n", KILLS, disk, torn);
    CHECK(r, disk > KEYS, "%u", disk);
    stop(r);
}

/* Each of those who may write goes, and another one goes on. */
static void test_writers(struct rig *r)
{
    start(r);
    CHECK_INT(r, ask(r, "sim.good", 201), WEIR_SOURCE_LIVE);
    CHECK(r, written(r), "by the first");
    pid_t worker = rig_process(r, "weird-worker");
    CHECK_INT(r, kill(worker, SIGKILL), 0);
    worker = rig_process_next(r, "weird-worker", worker, 5000);
    CHECK_INT(r, ask(r, "sim.good", 202), WEIR_SOURCE_LIVE);
    CHECK(r, written(r), "by the next worker");
    pid_t old = r->weird;
    r->weird = rig_weird_another(r, "--takeover");
    CHECK_INT(r, rig_wait(old, 20000), 0);
    CHECK_INT(r, ask(r, "sim.good", 203), WEIR_SOURCE_LIVE);
    CHECK(r, written(r), "by who took over");
    /* an orphan writes on, and somebody takes over from it */
    CHECK_INT(r, kill(r->weird, SIGKILL), 0);
    (void)rig_wait(r->weird, 3000);
    CHECK_INT(r, ask(r, "sim.good", 204), WEIR_SOURCE_LIVE);
    CHECK(r, written(r), "by a worker without a supervisor");
    rig_weird_start(r);
    weir_close(
        w); /* its connection ended with the supervisor; that it finds the new one is tests/process/takeover.c's */
    w = rig_attach(r, WEIR_ROLE_TRADER);
    CHECK_INT(r, ask(r, "sim.good", 205), WEIR_SOURCE_LIVE);
    CHECK(r, written(r), "by who took over from it");
    kill_both(r);
    start(r);
    exchange_down(r);
    for (int k = 201; k <= 205; k++) {
        CHECK_INT(r, ask(r, "sim.good", k), WEIR_SOURCE_DISK);
    }
    /* on the board of a successor they are still from disk */
    old = r->weird;
    r->weird = rig_weird_another(r, "--takeover");
    CHECK_INT(r, rig_wait(old, 20000), 0);
    CHECK_INT(r, ask(r, "sim.good", 203), WEIR_SOURCE_DISK);
    rig_faults_clear(r);
    stop(r);
}

static bool soon(struct rig *r, const char *text)
{
    for (int i = 0; i < 800 && !rig_log_has(r, text); i++) {
        (void)ask(r, "sim.good", 0);
        rig_sleep_ms(10);
    }
    return rig_log_has(r, text);
}

static void test_disk_fails(struct rig *r)
{
    /* The log is a file too: it fits, the snapshot does not. */
    struct rlimit none = {.rlim_cur = 300000, .rlim_max = RLIM_INFINITY};
    struct rlimit old;
    start(r);
    pid_t worker = rig_process(r, "weird-worker");
    for (int k = 0; k < 10; k++) {
        CHECK_INT(r, ask(r, "sim.large", k), WEIR_SOURCE_LIVE);
    }
    CHECK(r, written(r), "a snapshot");
    CHECK_INT(r, prlimit(worker, RLIMIT_FSIZE, &none, &old), 0);
    CHECK(r, soon(r, "last_good_not_written"), "said");
    for (int i = 0; i < 60; i++) {
        bool answered = ask(r, "sim.good", i % KEYS) != 0;
        CHECK(r, answered, "calls go on");
        rig_sleep_ms(10);
    }
    CHECK_INT(r, rig_log_count(r, "last_good_not_written"), 1);
    CHECK_INT(r, prlimit(worker, RLIMIT_FSIZE, &old, NULL), 0);
    CHECK(r, soon(r, "last_good_written_again"), "said when it works again");
    CHECK_INT(r, rig_process(r, "weird-worker"), worker);
    stop(r);
}

/* ---------------------------------------------------------------------------------------------- files that are not believed */

static struct {
    char *at;
    size_t bytes;
} original[2];

static void files_read(struct rig *r)
{
    for (int i = 0; i < 2; i++) {
        struct stat st;
        int fd = open(file_path[i], O_RDONLY | O_CLOEXEC);
        CHECK(r, fd >= 0 && fstat(fd, &st) == 0, "%s", file_path[i]);
        CHECK_INT(r, st.st_mode & 07777, 0600);
        original[i].bytes = (size_t)st.st_size;
        original[i].at = aligned_alloc(64, (original[i].bytes + 63) / 64 * 64);
        CHECK_INT(r, read(fd, original[i].at, original[i].bytes), original[i].bytes);
        (void)close(fd);
    }
}

/* The sum again, so that something else is wrong with it. */
static void seal(struct snapshot_header *h)
{
    uint64_t sum = 0;
    for (const struct snapshot_record *k = snapshot_next(h, NULL); k != NULL;
         k = snapshot_next(h, k)) {
        sum = XXH3_64bits_withSeed(k, k->bytes, sum);
    }
    h->sum = 0;
    h->sum = XXH3_64bits_withSeed(h, sizeof *h, sum);
}

enum edit { NOTHING, FLIP, CUT, EMPTY, NEWER, NAME, BACK, AGAIN, OLD, BIG, LINK };

static const struct {
    enum edit edit;
    const char *reason; /* NULL: it is believed */
} cases[] = {
    {NOTHING, NULL},      {FLIP, "\"torn\""},     {CUT, "\"torn\""},       {EMPTY, ""},
    {NEWER, "\"newer\""}, {NAME, "foreign_name"}, {BACK, "\"future\""},    {AGAIN, "unproven"},
    {OLD, "\"stale\""},   {BIG, "\"oversized\""}, {LINK, "last_good_off"}, {NOTHING, NULL},
};

static void files_write(struct rig *r, enum edit edit)
{
    for (int i = 0; i < 2; i++) {
        size_t bytes = original[i].bytes;
        char *copy = aligned_alloc(64, (bytes + 63) / 64 * 64);
        memcpy(copy, original[i].at, bytes);
        struct snapshot_header *h = (void *)copy;
        bool sealed = edit == NEWER || edit == NAME || edit == BACK || edit == AGAIN || edit == OLD;
        switch (edit) {
        case FLIP:
            copy[sizeof *h + rig_random(r, (unsigned)(h->used_bytes - sizeof *h))] ^= 1;
            break;
        case CUT:
            bytes = rig_random(r, (unsigned)h->used_bytes - 1) + 1;
            break;
        case EMPTY:
            bytes = 0;
            break;
        case NEWER:
            h->version++;
            break;
        case NAME:
            h->name[0] = 'q';
            break;
        case BACK:
            h->boot_id[0] ^= 1;
            h->utc_ns += 7200 * WEIR_NS_PER_S;
            h->utc_error_ns = 0;
            break;
        case AGAIN:
            h->boot_id[0] ^= 1;
            h->utc_error_ns = UINT64_MAX;
            break;
        case OLD:
            h->utc_ns -= 7200 * WEIR_NS_PER_S;
            break;
        case NOTHING:
        case BIG:
        case LINK:
            break;
        }
        if (sealed) {
            seal(h);
        }
        (void)unlink(file_path[i]);
        if (edit == LINK) {
            CHECK_INT(r, symlink("/dev/null", file_path[i]), 0);
        } else {
            int fd = open(file_path[i], O_RDWR | O_CREAT | O_CLOEXEC, 0600);
            CHECK_INT(r, write(fd, copy, bytes), bytes);
            CHECK_INT(r, edit == BIG ? ftruncate(fd, (off_t)SNAPSHOT_MAX_BYTES + 1) : 0, 0);
            (void)close(fd);
        }
        free(copy);
    }
}

static void test_refused(struct rig *r)
{
    start(r);
    CHECK_INT(r, ask(r, "sim.good", 400), WEIR_SOURCE_LIVE);
    CHECK(r, written(r), "a snapshot");
    stop(r);
    files_read(r);
    for (size_t i = 0; i < WEIR_ARRAY_CNT(cases); i++) {
        files_write(r, cases[i].edit);
        start(r);
        exchange_down(r);
        bool believed = ask(r, "sim.good", 400) == WEIR_SOURCE_DISK;
        CHECK(r, believed == (cases[i].reason == NULL), "case %zu", i);
        CHECK(r, cases[i].reason == NULL || rig_log_has(r, cases[i].reason), "case %zu: %s", i,
              cases[i].reason);
        rig_faults_clear(r);
        CHECK_INT(r, ask(r, "sim.good", 401), WEIR_SOURCE_LIVE); /* it starts all the same */
        char aside[256];
        (void)snprintf(aside, sizeof aside, "%s.refused", file_path[0]);
        bool kept = cases[i].edit == NEWER || cases[i].edit == NAME;
        CHECK_INT(r, access(aside, F_OK) == 0, kept);
        (void)unlink(aside);
        stop(r);
    }
    /* one of two: the other one is taken */
    files_write(r, NOTHING);
    CHECK_INT(r, truncate(file_path[rig_random(r, 2)], 300), 0);
    start(r);
    exchange_down(r);
    CHECK_INT(r, ask(r, "sim.good", 400), WEIR_SOURCE_DISK);
    rig_faults_clear(r);
    stop(r);
    /* another host */
    files_write(r, NOTHING);
    configure(r, "localhost");
    start(r);
    exchange_down(r);
    CHECK_INT(r, ask(r, "sim.good", 400), 0);
    rig_faults_clear(r);
    stop(r);
    free(original[0].at);
    free(original[1].at);
}

static const struct {
    const char *name;
    void (*run)(struct rig *r);
} tests[] = {{"clean_stop", test_clean_stop},
             {"kills", test_kills},
             {"writers", test_writers},
             {"disk_fails", test_disk_fails},
             {"refused", test_refused}};

int main(int argc, char **argv)
{
    struct rig r;
    const char *only =
        argc > 3 && strncmp(argv[argc - 1], "--only=", 7) == 0 ? argv[argc - 1] + 7 : NULL;
    unsigned ran = 0;
    rig_open(&r, "last_good", argc - (only != NULL), argv, 110);
    (void)snprintf(state_dir, sizeof state_dir, "%s/var", r.dir);
    for (int i = 0; i < 2; i++) {
        (void)snprintf(file_path[i], sizeof file_path[i], "%s/rig/last_good.%d", state_dir, i);
    }
    r.state_dir = state_dir;
    rig_sim_start(&r, "{\"latency_ms\": 1, \"ban_after\": 0, \"limits\": [{\"name\": \"weight\", "
                      "\"kind\": \"token_bucket\", \"quota\": 1000000, \"refill_per_s\": "
                      "1000000}]}");
    configure(&r, "127.0.0.1");
    for (size_t i = 0; i < WEIR_ARRAY_CNT(tests); i++) {
        if (only == NULL || strcmp(only, tests[i].name) == 0) {
            tests[i].run(&r);
            ran++;
        }
    }
    CHECK(&r, ran > 0, "--only=%s: no such test", only);
    return rig_close(&r);
}
