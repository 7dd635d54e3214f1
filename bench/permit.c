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

#define FLOOR_LINES 6U /* lease and tables, block, two pauses, clock, the limit's word */

struct line {
    uint64_t word;
    uint64_t reserved[15];
} WEIR_ALIGN_LINE;

struct crowd {
    const struct rig_weird *weird;
    const char *route;
    struct line *line; /* shared by all members */
    int expected;
};

struct me {
    struct permit_client client;
    struct line *line;
    int expected;
};

static void *open_me(const void *arg, unsigned member, struct duel_why *why)
{
    static struct me me; /* one per process */
    const struct crowd *crowd = arg;
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
    struct me *me = self;
    return permit_batch(&me->client, me->expected, cnt, hist, why);
}

/* The clock's value goes into the word, as TAT does: the CAS cannot start before the clock is read. */
static inline void take(uint64_t *word, uint64_t now)
{
    uint64_t old = weir_load_relaxed_u64(word);
    while (!weir_cas_u64(word, &old, (old > now ? old : now) + 1)) {
    }
}

static int floor_one(void *self, uint32_t cnt, struct stats_hist *hist, struct duel_why *why)
{
    struct line *line = ((struct me *)self)->line;
    (void)why;
    DUEL_LOOP(cnt, hist, take(&line[0].word, weir_clock_ticks()));
    return 0;
}

static int floor_three(void *self, uint32_t cnt, struct stats_hist *hist, struct duel_why *why)
{
    struct line *line = ((struct me *)self)->line;
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
    const struct line *line = ((struct me *)self)->line;
    uint64_t granted = 0;
    DUEL_LOOP(cnt, hist, {
        uint64_t now = weir_clock_ticks();
        uint64_t until = UINT64_MAX;
        for (unsigned i = 0; i < FLOOR_LINES; i++) {
            until = weir_min_u64(until, weir_load_relaxed_u64(&line[i].word) - 1);
        }
        granted += now > until;
    });
    return granted ? duel_fail(why, "the floor's words were changed") : 0;
}

static int floor_crowd(void *self, uint32_t cnt, struct stats_hist *hist, struct duel_why *why)
{
    struct line *line = ((struct me *)self)->line;
    (void)why;
    DUEL_LOOP(cnt, hist, {
        uint64_t old = weir_load_relaxed_u64(&line[0].word);
        while (!weir_cas_u64(&line[0].word, &old, old + 1)) {
        }
    });
    return 0;
}

static int measure(const struct bench *bench, struct crowd *crowd, duel_batch floor, unsigned cnt,
                   struct bench_result *result)
{
    struct rig_weird weird;
    /* The broker does nothing while permits are taken; it renews its lease on the partner's core. */
    struct rig_weird_spec spec = {.wake = "sleep", .core = bench_core(bench, 1)};
    struct duel_spec duel = {
        .member_cnt = cnt,
        .open = open_me,
        .batch = {floor, subject},
        .batch_cnt = {256, 256},
        .arg = crowd,
    };
    for (unsigned i = 0; i < cnt && i < DUEL_MEMBERS_MAX; i++) {
        duel.core[i] = bench_core(bench, i);
    }
    crowd->line = duel_share(FLOOR_LINES * sizeof(struct line));
    if (!crowd->line) {
        return bench_fail(result, "no memory for the floor");
    }
    int rc = rig_weird_start(bench, &weird, &spec, result);
    if (rc == 0) {
        crowd->weird = &weird;
        rc = duel_run(bench, &duel, result);
        rig_weird_stop(&weird);
    }
    munmap(crowd->line, FLOOR_LINES * sizeof(struct line));
    return rc;
}

int bench_permit_1(const struct bench *bench, struct bench_result *result)
{
    struct crowd crowd = {.route = "bench.bucket"};
    return measure(bench, &crowd, floor_one, 1, result);
}

int bench_permit_1_window(const struct bench *bench, struct bench_result *result)
{
    struct crowd crowd = {.route = "bench.window"};
    return measure(bench, &crowd, floor_one, 1, result);
}

int bench_permit_3(const struct bench *bench, struct bench_result *result)
{
    struct crowd crowd = {.route = "bench.three"};
    return measure(bench, &crowd, floor_three, 1, result);
}

int bench_refusal(const struct bench *bench, struct bench_result *result)
{
    struct crowd crowd = {.route = "bench.full", .expected = WEIR_DENIED};
    return measure(bench, &crowd, floor_loads, 1, result);
}

static int measure_crowd(const struct bench *bench, unsigned cnt, struct bench_result *result)
{
    struct crowd crowd = {.route = "bench.bucket"};
    permit_note_cores(bench, cnt, result);
    return measure(bench, &crowd, floor_crowd, cnt, result);
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
