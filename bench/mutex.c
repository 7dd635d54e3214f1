/*
 * mutex.c: the same job under a lock, which is how one would do it without weir.
 *
 * A robust, process-shared mutex in shared memory guards the limits, and under it runs weir's own permit path, compiled with plain loads and
 * stores (WEIR_UNSHARED): clock, lease, pauses, tables, the same bucket, counters, the filled permit. So what is compared is the lock against
 * the CAS and nothing else. Robust, because a peer that may be killed and then blocks everybody for ever would not be doing the same job.
 */
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>

#include "fixture.h"
#include "permit.h"
#include "shm/weir_clock.h"

/* As the bucket of the bench's configuration: 100000 a second, and a burst that never ends. */
#define QUOTA     INT32_MAX
#define WINDOW_NS ((uint64_t)QUOTA * 10000U)

struct locked_limit {
    pthread_mutex_t mutex;
} WEIR_ALIGN_LINE;

struct arena {
    const struct rig_weird *weird;
    struct locked_limit *limit;
    struct fixture fixture;
};

struct me {
    struct permit_client client;
    struct locked_limit *limit;
    struct weir_permit_view view;
    uint32_t granted[WEIR_PRIORITY_CNT];
    uint32_t refused[WEIR_PRIORITY_CNT];
    uint64_t units[1];
};

static int limit_init(struct locked_limit *limit)
{
    pthread_mutexattr_t attr;
    int rc = pthread_mutexattr_init(&attr);
    rc |= pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
    rc |= pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
    rc |= pthread_mutex_init(&limit->mutex, &attr);
    return rc;
}

static void *open_me(const void *arg, unsigned member, struct duel_why *why)
{
    static struct me me;
    const struct arena *arena = arg;
    (void)member;
    me.limit = arena->limit;
    fixture_view(&arena->fixture, &me.view, 0);
    weir_clock_init(&me.view.time, &arena->fixture.memory->clock, 0);
    me.view.meter.granted = me.granted;
    me.view.meter.refused = me.refused;
    me.view.meter.units = me.units;
    if (!permit_open(arena->weird, "bench.bucket", &me.client, why) ||
        permit_warm(&me.client, why) != 0) {
        return NULL;
    }
    return &me;
}

static int weir_side(void *self, uint32_t cnt, struct stats_hist *hist, struct duel_why *why)
{
    return permit_batch(&((struct me *)self)->client, 0, cnt, hist, why);
}

static inline bool locked_take(struct me *me, struct weir_permit *permit)
{
    int rc = pthread_mutex_lock(&me->limit->mutex);
    if (rc == EOWNERDEAD) { /* the words are whole: each store changed one or did not */
        pthread_mutex_consistent(&me->limit->mutex);
    } else if (rc != 0) {
        return false;
    }
    rc = weir_permit_take(&me->view, 0, WEIR_SCOPE_DEFAULT, NULL, WEIR_PRIORITY_MEDIUM, permit);
    pthread_mutex_unlock(&me->limit->mutex);
    return rc == WEIR_OK;
}

static int mutex_side(void *self, uint32_t cnt, struct stats_hist *hist, struct duel_why *why)
{
    struct me *me = self;
    struct weir_permit permit;
    uint32_t granted = 0;
    DUEL_LOOP(cnt, hist, { granted += locked_take(me, &permit); });
    return granted == cnt ? 0 : duel_fail(why, "the limit under the mutex is full");
}

/* The limit under the mutex, with anchors as a worker writes them. */
static void fixture_make(struct fixture *fixture)
{
    struct fixture_spec spec = {.limit_cnt = 1, .route_cnt = 1};
    spec.limit[0] = (struct fixture_limit){
        .kind = WEIR_LIMIT_TOKEN_BUCKET, .quota = QUOTA, .window_ns = WINDOW_NS};
    spec.route[0] = (struct fixture_route){.limit_cnt = 1, .cost = {1}};
    fixture_open(fixture, &spec);
}

/* A fresh anchor: the one before it is good for ten seconds, longer than a row. */
static void anchor_write(struct fixture *fixture)
{
    struct weir_clock_source source;
    weir_clock_source_init(&source, weir_clock_tsc_usable());
    weir_clock_anchor_publish(&source, &fixture->memory->clock);
    const struct timespec pause = {.tv_nsec = 50000000};
    nanosleep(&pause, NULL);
    weir_clock_anchor_publish(&source, &fixture->memory->clock);
}

static int measure(const struct bench *bench, unsigned cnt, double quantile,
                   struct bench_result *result)
{
    struct rig_weird weird;
    struct rig_weird_spec spec = {.wake = "sleep", .core = bench_core(bench, 1)};
    struct arena arena = {
        .weird = &weird,
    };
    fixture_make(&arena.fixture);
    anchor_write(&arena.fixture);
    struct duel_spec duel = {
        .member_cnt = cnt,
        .open = open_me,
        .batch = {weir_side, mutex_side},
        .batch_cnt = {256, 256},
        .quantile = quantile,
        .arg = &arena,
    };
    for (unsigned i = 0; i < cnt && i < DUEL_MEMBERS_MAX; i++) {
        duel.core[i] = bench_core(bench, i);
    }
    permit_note_cores(bench, cnt, result);
    arena.limit = duel_share(sizeof(*arena.limit));
    if (!arena.limit || limit_init(arena.limit) != 0) {
        return bench_fail(result, "no robust process-shared mutex");
    }
    int rc = rig_weird_start(bench, &weird, &spec, result);
    if (rc == 0) {
        rc = duel_run(bench, &duel, result);
        rig_weird_stop(&weird);
    }
    munmap(arena.limit, sizeof(*arena.limit));
    fixture_close(&arena.fixture);
    return rc;
}

int bench_mutex_1(const struct bench *bench, struct bench_result *result)
{
    return measure(bench, 1, 0, result);
}

int bench_mutex_2proc(const struct bench *bench, struct bench_result *result)
{
    return measure(bench, 2, 0, result);
}

int bench_mutex_nproc(const struct bench *bench, struct bench_result *result)
{
    return measure(bench, bench->opts.proc_cnt, 0, result);
}

/* Eight on two cores, whatever the machine has: what counts here is that a holder of the lock is put to sleep by the scheduler. */
int bench_mutex_8proc_p999(const struct bench *bench, struct bench_result *result)
{
    struct bench two = *bench;
    two.machine.core_cnt = two.machine.core_cnt < 2 ? two.machine.core_cnt : 2;
    return measure(&two, 8, 0.999, result);
}
