/*
 * permit.c: what a permit costs, alone and in a crowd.
 *
 * The floor does what no limiter can do without: it reads a clock, it loads the limit's state, and where it grants it changes that
 * state by one locked instruction a limit. weir does the same through weir_permit_try, with everything on: lease, block, pauses, priorities,
 * server's clock, counters.
 */
#include "permit.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "shm/weir_atomic.h"
#include "shm/weir_clock.h"

#define WARM_NS (5 * WEIR_NS_PER_S)

void *permit_open(const struct rig_weird *weird, const char *route, struct permit_client *client,
                  struct duel_why *why)
{
    struct weir_diag diag = {0};
    struct weir_open_opts opts = rig_weird_opts(weird);
    if (weir_open(&client->weir, "bench", &opts, &diag) != 0) {
        duel_fail(why, "cannot attach: %s", diag.text);
        return NULL;
    }
    int rc = weir_route_find(client->weir, route, &client->route);
    if (rc != 0) {
        duel_fail(why, "route %s: %s", route, weir_strerror(rc));
        return NULL;
    }
    return client;
}

/* The provider's clock may take a moment to be known; nothing is granted meanwhile. */
int permit_warm(struct permit_client *client, struct duel_why *why)
{
    int rc = weir_permit_wait(client->weir, client->route, WEIR_SCOPE_DEFAULT, NULL,
                              WEIR_PRIORITY_MEDIUM, weir_now_ns(client->weir) + WARM_NS,
                              &client->permit);
    if (rc != 0) {
        return duel_fail(why, "no first permit within 5 s: answer %d, %s", rc,
                         rc < 0 ? weir_strerror(rc)
                                : weir_reason_text(client->permit.denial.reason));
    }
    return 0;
}

int permit_batch(struct permit_client *client, int expected, uint32_t cnt, struct stats_hist *hist,
                 struct duel_why *why)
{
    int rc = 0;
    int wrong = 0;
    /* WEIR_CONTENDED means "ask again at once": asking again is part of the price. */
    DUEL_LOOP(cnt, hist, {
        do {
            rc = weir_permit_try(client->weir, client->route, WEIR_SCOPE_DEFAULT, NULL,
                                 WEIR_PRIORITY_MEDIUM, &client->permit);
        } while (rc == WEIR_CONTENDED);
        wrong |= rc ^ expected;
    });
    if (wrong) {
        return duel_fail(why, "weir_permit_try answered %d, not %d: %s", rc, expected,
                         rc < 0 ? weir_strerror(rc)
                                : weir_reason_text(client->permit.denial.reason));
    }
    return 0;
}

static void *open_me(const void *arg, unsigned member, struct duel_why *why)
{
    static struct permit_member me; /* one per process */
    const struct permit_crowd *crowd = arg;
    (void)member;
    me.line = crowd->line;
    me.expected = crowd->expected;
    if (!permit_open(crowd->weird, crowd->route, &me.client, why)) {
        return NULL;
    }
    if (crowd->expected == 0 && permit_warm(&me.client, why) != 0) {
        return NULL;
    }
    if (crowd->expected == WEIR_DENIED) {
        struct duel_why denied;
        while (permit_warm(&me.client, &denied) ==
               0) { /* empty it: jitter lets a second one in later */
        }
    }
    return &me;
}

static int subject(void *self, uint32_t cnt, struct stats_hist *hist, struct duel_why *why)
{
    struct permit_member *me = self;
    return permit_batch(&me->client, me->expected, cnt, hist, why);
}

/* The clock's value goes into the word, as TAT does: the CAS cannot start before the clock is read. */
static inline void take(uint64_t *word, uint64_t now)
{
    uint64_t old = weir_load_relaxed_u64(word);
    while (!weir_cas_u64(word, &old, (old > now ? old : now) + 1)) {
    }
}

int permit_floor_one(void *self, uint32_t cnt, struct stats_hist *hist, struct duel_why *why)
{
    struct permit_line *line = ((struct permit_member *)self)->line;
    (void)why;
    DUEL_LOOP(cnt, hist, take(&line[0].word, weir_clock_ticks()));
    return 0;
}

int permit_floor_two(void *self, uint32_t cnt, struct stats_hist *hist, struct duel_why *why)
{
    struct permit_line *line = ((struct permit_member *)self)->line;
    (void)why;
    DUEL_LOOP(cnt, hist, {
        take(&line[0].word, weir_clock_ticks());
        take(&line[0].word, weir_clock_ticks());
    });
    return 0;
}

static int floor_three(void *self, uint32_t cnt, struct stats_hist *hist, struct duel_why *why)
{
    struct permit_line *line = ((struct permit_member *)self)->line;
    (void)why;
    DUEL_LOOP(cnt, hist, {
        uint64_t now = weir_clock_ticks();
        take(&line[0].word, now);
        take(&line[1].word, now);
        take(&line[2].word, now);
    });
    return 0;
}

/* Everything a refusal must look at, and nothing written. */
static int floor_loads(void *self, uint32_t cnt, struct stats_hist *hist, struct duel_why *why)
{
    const struct permit_line *line = ((struct permit_member *)self)->line;
    uint64_t granted = 0;
    DUEL_LOOP(cnt, hist, {
        uint64_t now = weir_clock_ticks();
        uint64_t until = UINT64_MAX;
        for (unsigned i = 0; i < PERMIT_LINES; i++) {
            until = weir_min_u64(until, weir_load_relaxed_u64(&line[i].word) - 1);
        }
        granted += now > until;
    });
    return granted ? duel_fail(why, "the floor's words were changed") : 0;
}

int permit_floor_crowd(void *self, uint32_t cnt, struct stats_hist *hist, struct duel_why *why)
{
    struct permit_line *line = ((struct permit_member *)self)->line;
    (void)why;
    DUEL_LOOP(cnt, hist, {
        uint64_t old = weir_load_relaxed_u64(&line[0].word);
        while (!weir_cas_u64(&line[0].word, &old, old + 1)) {
        }
    });
    return 0;
}

int permit_measure(const struct bench *bench, struct permit_crowd *crowd,
                   struct bench_result *result)
{
    struct rig_weird weird;
    /* The broker does nothing while permits are taken; it renews its lease on the partner's core. */
    struct rig_weird_spec spec = {
        .wake = "sleep", .core = bench_core(bench, 1), .audit_cnt = crowd->audit_cnt};
    struct duel_spec duel = {
        .member_cnt = crowd->cnt,
        .open = open_me,
        .batch = {crowd->floor, crowd->subject},
        .batch_cnt = {256, 256},
        .arg = crowd,
    };
    for (unsigned i = 0; i < crowd->cnt && i < DUEL_MEMBERS_MAX; i++) {
        duel.core[i] = bench_core(bench, i);
    }
    crowd->line = duel_share(PERMIT_LINES * sizeof(struct permit_line));
    if (!crowd->line) {
        return bench_fail(result, "no memory for the floor");
    }
    int rc = rig_weird_start(bench, &weird, &spec, result);
    if (rc == 0) {
        crowd->weird = &weird;
        rc = duel_run(bench, &duel, result);
        rig_weird_stop(&weird);
    }
    munmap(crowd->line, PERMIT_LINES * sizeof(struct permit_line));
    return rc;
}

static int measure(const struct bench *bench, const char *route, duel_batch floor, int expected,
                   struct bench_result *result)
{
    struct permit_crowd crowd = {
        .route = route, .floor = floor, .subject = subject, .expected = expected, .cnt = 1};
    return permit_measure(bench, &crowd, result);
}

int bench_permit_1(const struct bench *bench, struct bench_result *result)
{
    return measure(bench, "bench.bucket", permit_floor_one, 0, result);
}

int bench_permit_1_window(const struct bench *bench, struct bench_result *result)
{
    return measure(bench, "bench.window", permit_floor_one, 0, result);
}

int bench_permit_3(const struct bench *bench, struct bench_result *result)
{
    return measure(bench, "bench.three", floor_three, 0, result);
}

int bench_refusal(const struct bench *bench, struct bench_result *result)
{
    return measure(bench, "bench.full", floor_loads, WEIR_DENIED, result);
}

static int measure_crowd(const struct bench *bench, unsigned cnt, struct bench_result *result)
{
    struct permit_crowd crowd = {
        .route = "bench.bucket", .floor = permit_floor_crowd, .subject = subject, .cnt = cnt};
    permit_note_cores(bench, cnt, result);
    return permit_measure(bench, &crowd, result);
}

void permit_note_cores(const struct bench *bench, unsigned cnt, struct bench_result *result)
{
    unsigned core_cnt = bench->machine.core_cnt;
    snprintf(result->note, sizeof(result->note), "%u processes on %u cores%s", cnt,
             cnt < core_cnt ? cnt : core_cnt, cnt > core_cnt ? ": they take turns" : "");
}

int bench_permit_2proc(const struct bench *bench, struct bench_result *result)
{
    return measure_crowd(bench, 2, result);
}

int bench_permit_nproc(const struct bench *bench, struct bench_result *result)
{
    return measure_crowd(bench, bench->opts.proc_cnt, result);
}

int bench_contended_8_oversubscribed(const struct bench *bench, struct bench_result *result)
{
    return measure_crowd(bench, 8, result);
}
