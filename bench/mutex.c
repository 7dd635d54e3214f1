/*
 * mutex.c: the same job under a lock, which is how one would do it without weir.
 *
 * A robust, process-shared mutex in shared memory guards the same limit: GCRA on one word, thresholds for five priorities, a counter. It
 * gets the cheapest clock there is, so that what is compared is the lock. Robust, because a peer that may be killed and then blocks
 * everybody for ever would not be doing the same job.
 */
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>

#include "permit.h"
#include "shm/weir_clock.h"

#define UNIT_NS \
    10001U /* as the bucket of the bench's configuration: 100000 a second, less the drift allowance */
#define TOLERANCE_NS ((uint64_t)INT32_MAX * UNIT_NS)

struct locked_limit {
    pthread_mutex_t mutex;
    uint64_t tat_ns;
    uint64_t tolerance_ns[WEIR_PRIORITY_CNT];
    uint64_t granted;
    uint64_t refused;
} WEIR_ALIGN_LINE;

struct arena {
    const struct rig_weird *weird;
    struct locked_limit *limit;
    uint64_t ns_per_tick_q32;
};

struct me {
    struct permit_client client;
    struct locked_limit *limit;
    uint64_t ns_per_tick_q32;
};

static int limit_init(struct locked_limit *limit)
{
    pthread_mutexattr_t attr;
    int rc = pthread_mutexattr_init(&attr);
    rc |= pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
    rc |= pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
    rc |= pthread_mutex_init(&limit->mutex, &attr);
    for (unsigned i = 0; i < WEIR_PRIORITY_CNT; i++) {
        limit->tolerance_ns[i] = TOLERANCE_NS;
    }
    return rc;
}

static void *open_me(const void *arg, unsigned member, struct duel_why *why)
{
    static struct me me;
    const struct arena *arena = arg;
    (void)member;
    me.limit = arena->limit;
    me.ns_per_tick_q32 = arena->ns_per_tick_q32;
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

static inline bool locked_take(struct locked_limit *limit, uint64_t now_ns, unsigned priority)
{
    int rc = pthread_mutex_lock(&limit->mutex);
    if (rc == EOWNERDEAD) { /* the word is whole: one store changed it or did not */
        pthread_mutex_consistent(&limit->mutex);
    } else if (rc != 0) {
        return false;
    }
    uint64_t start = limit->tat_ns > now_ns ? limit->tat_ns : now_ns;
    uint64_t after = start + UNIT_NS;
    bool granted = after - now_ns <= limit->tolerance_ns[priority];
    if (granted) {
        limit->tat_ns = after;
        limit->granted++;
    } else {
        limit->refused++;
    }
    pthread_mutex_unlock(&limit->mutex);
    return granted;
}

static int mutex_side(void *self, uint32_t cnt, struct stats_hist *hist, struct duel_why *why)
{
    struct me *me = self;
    uint32_t granted = 0;
    DUEL_LOOP(cnt, hist, {
        uint64_t now_ns =
            (uint64_t)(((unsigned __int128)weir_clock_ticks() * me->ns_per_tick_q32) >> 32);
        granted += locked_take(me->limit, now_ns, WEIR_PRIORITY_MEDIUM);
    });
    return granted == cnt ? 0 : duel_fail(why, "the limit under the mutex is full");
}

static int measure(const struct bench *bench, unsigned cnt, double quantile,
                   struct bench_result *result)
{
    struct rig_weird weird;
    struct rig_weird_spec spec = {.wake = "sleep", .core = bench_core(bench, 1)};
    struct arena arena = {
        .weird = &weird,
        .ns_per_tick_q32 = (uint64_t)(bench->machine.ns_per_tick * 4294967296.0),
    };
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
