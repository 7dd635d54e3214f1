#include "duel.h"

#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "shm/weir_atomic.h"
#include "shm/weir_clock.h"
#include "shm/weir_futex.h"

/* A slice that takes so much longer than asked for is a hang, not a slow machine. */
#define PATIENCE_NS (20 * WEIR_NS_PER_S)
#define LOOK_NS     (100 * WEIR_NS_PER_MS)

enum order { ORDER_RUN = 0, ORDER_QUIT = 1 };

/* Writer: the member. Read by the parent after `done` says so. */
struct member {
    uint64_t op_cnt;
    uint64_t ticks;
    uint32_t failed;
    struct duel_why why;
    struct stats_hist hist;
} WEIR_ALIGN_LINE;

struct stage {
    uint32_t turn WEIR_ALIGN_LINE; /* futex: goes up at each order. Writer: parent */
    uint32_t order;
    uint32_t side;
    uint32_t is_timed;
    uint64_t slice_ticks;
    uint32_t done WEIR_ALIGN_LINE; /* futex: members that carried out the order. Writers: members */
    struct member member[];
};

struct duel {
    const struct bench *bench;
    const struct duel_spec *spec;
    struct bench_result *result;
    struct stage *stage;
    size_t stage_bytes;
    pid_t pid[DUEL_MEMBERS_MAX];
    unsigned forked_cnt;
};

int duel_fail(struct duel_why *why, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(why->text, sizeof(why->text), format, args);
    va_end(args);
    return -1;
}

int duel_pin(int core)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET((size_t)core, &set);
    return sched_setaffinity(0, sizeof(set), &set);
}

void *duel_share(size_t bytes)
{
    void *at =
        mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    return at == MAP_FAILED ? NULL : at;
}

static void member_done(struct stage *stage)
{
    weir_fetch_add_u32(&stage->done, 1); /* releases the member's figures */
    weir_futex_wake(&stage->done, 1);
}

static void member_slice(const struct duel_spec *spec, struct stage *stage, struct member *me,
                         void *self)
{
    uint32_t side = stage->side;
    struct stats_hist *hist = stage->is_timed ? &me->hist : NULL;
    if (hist) {
        memset(hist, 0, sizeof(*hist));
    }
    uint64_t op_cnt = 0;
    uint64_t start = weir_clock_ticks();
    uint64_t ticks = 0;
    while (ticks < stage->slice_ticks) {
        if (spec->batch[side](self, spec->batch_cnt[side], hist, &me->why) != 0) {
            me->failed = 1;
            break;
        }
        op_cnt += spec->batch_cnt[side];
        ticks = weir_clock_ticks() - start;
    }
    me->op_cnt = op_cnt;
    me->ticks = ticks;
}

static _Noreturn void member_live(const struct duel_spec *spec, struct stage *stage, unsigned idx)
{
    struct member *me = &stage->member[idx];
    uint32_t seen = 0;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (duel_pin(spec->core[idx]) != 0) {
        duel_fail(&me->why, "cannot pin to core %d", spec->core[idx]);
        me->failed = 1;
    }
    void *self = me->failed ? NULL : spec->open(spec->arg, idx, &me->why);
    if (!self) {
        me->failed = 1;
    }
    member_done(stage);
    while (!me->failed) {
        while (weir_load_acquire_u32(&stage->turn) == seen) {
            weir_futex_wait_until(&stage->turn, seen, UINT64_MAX / 2);
        }
        seen++;
        if (stage->order == ORDER_QUIT) {
            break;
        }
        member_slice(spec, stage, me, self);
        member_done(stage);
    }
    _exit(me->failed ? 1 : 0);
}

/* Has a member failed or died? Its text goes to the result. */
static int members_check(struct duel *duel)
{
    for (unsigned i = 0; i < duel->forked_cnt; i++) {
        const struct member *member = &duel->stage->member[i];
        if (member->failed) {
            return bench_fail(duel->result, "%s", member->why.text);
        }
        int status;
        if (waitpid(duel->pid[i], &status, WNOHANG) == duel->pid[i]) {
            duel->pid[i] = 0;
            return bench_fail(duel->result, "process %u died: status 0x%x", i, (unsigned)status);
        }
    }
    return 0;
}

static int members_wait(struct duel *duel)
{
    uint64_t end_ns =
        weir_clock_monotonic_ns() + PATIENCE_NS + (uint64_t)(bench_slice_s(duel->bench) * 1e9);
    for (;;) {
        uint32_t done = weir_load_acquire_u32(&duel->stage->done);
        if (done == duel->spec->member_cnt) {
            return members_check(duel);
        }
        uint64_t now_ns = weir_clock_monotonic_ns();
        weir_futex_wait_until(&duel->stage->done, done, now_ns + LOOK_NS);
        if (weir_load_acquire_u32(&duel->stage->done) == done && members_check(duel) != 0) {
            return -1;
        }
        if (now_ns > end_ns) {
            return bench_fail(duel->result, "%u of %u processes finished in time", done,
                              duel->spec->member_cnt);
        }
    }
}

static int slice(struct duel *duel, enum duel_side side, bool is_timed)
{
    struct stage *stage = duel->stage;
    if (duel->spec->turn) {
        duel->spec->turn(duel->spec->arg, side);
    }
    stage->order = ORDER_RUN;
    stage->side = side;
    stage->is_timed = is_timed;
    stage->slice_ticks =
        (uint64_t)(bench_slice_s(duel->bench) * 1e9 / duel->bench->machine.ns_per_tick);
    weir_store_release_u32(&stage->done, 0);
    weir_fetch_add_u32(&stage->turn, 1); /* releases the order */
    weir_futex_wake(&stage->turn, INT32_MAX);
    return members_wait(duel);
}

static void merge(const struct duel *duel, struct stats_hist *hist)
{
    memset(hist, 0, sizeof(*hist));
    for (unsigned i = 0; i < duel->spec->member_cnt; i++) {
        stats_hist_merge(hist, &duel->stage->member[i].hist);
    }
}

/* ns per operation of the slice just run, or its quantile. */
static double slice_value(const struct duel *duel)
{
    static struct stats_hist hist; /* 17 KiB: not on the stack */
    if (duel->spec->quantile > 0) {
        merge(duel, &hist);
        return stats_hist_quantile(&hist, duel->spec->quantile) * duel->bench->machine.ns_per_tick;
    }
    double ticks = 0;
    double op_cnt = 0;
    for (unsigned i = 0; i < duel->spec->member_cnt; i++) {
        ticks += (double)duel->stage->member[i].ticks;
        op_cnt += (double)duel->stage->member[i].op_cnt;
    }
    return ticks / op_cnt * duel->bench->machine.ns_per_tick;
}

static int rounds(struct duel *duel, struct stats_pairs *pairs)
{
    bool is_timed = duel->spec->quantile > 0;
    for (unsigned i = 0; i <= duel->bench->opts.round_cnt; i++) {
        if (slice(duel, DUEL_FLOOR, is_timed) != 0) {
            return -1;
        }
        double floor = slice_value(duel);
        if (slice(duel, DUEL_SUBJECT, is_timed) != 0) {
            return -1;
        }
        if (i > 0) { /* the first pair warms caches and clocks */
            stats_pairs_add(pairs, floor, slice_value(duel));
        }
    }
    return slice(duel, DUEL_SUBJECT, true);
}

static void conclude(const struct duel *duel, const struct stats_pairs *pairs)
{
    static struct stats_hist hist;
    struct bench_result *result = duel->result;
    double ns_per_tick = duel->bench->machine.ns_per_tick;
    merge(duel, &hist);
    result->measured = true;
    result->value = stats_pairs_subject(pairs);
    result->has_floor = true;
    result->floor = stats_pairs_floor(pairs);
    result->ratio = stats_pairs_ratio(pairs);
    result->pair_cnt = (unsigned)pairs->cnt;
    result->has_best = true;
    result->best = stats_pairs_best(pairs);
    result->has_tail = true;
    result->p50 = stats_hist_quantile(&hist, 0.5) * ns_per_tick;
    result->p99 = stats_hist_quantile(&hist, 0.99) * ns_per_tick;
    result->p999 = stats_hist_quantile(&hist, 0.999) * ns_per_tick;
}

static int members_fork(struct duel *duel)
{
    fflush(NULL); /* or each child would print the parent's buffers once more */
    for (unsigned i = 0; i < duel->spec->member_cnt; i++) {
        duel->pid[i] = fork();
        if (duel->pid[i] < 0) {
            return bench_fail(duel->result, "cannot fork process %u", i);
        }
        if (duel->pid[i] == 0) {
            member_live(duel->spec, duel->stage, i);
        }
        duel->forked_cnt++;
    }
    return members_wait(duel);
}

static void members_end(struct duel *duel, bool is_well)
{
    duel->stage->order = ORDER_QUIT;
    weir_fetch_add_u32(&duel->stage->turn, 1);
    weir_futex_wake(&duel->stage->turn, INT32_MAX);
    for (unsigned i = 0; i < duel->forked_cnt; i++) {
        if (duel->pid[i] > 0) {
            if (!is_well) {
                kill(duel->pid[i], SIGKILL); /* may hang in what it measures */
            }
            waitpid(duel->pid[i], NULL, 0);
        }
    }
}

int duel_run(const struct bench *bench, const struct duel_spec *spec, struct bench_result *result)
{
    static struct stats_pairs pairs;
    struct duel duel = {.bench = bench, .spec = spec, .result = result};
    memset(&pairs, 0, sizeof(pairs));
    if (spec->member_cnt == 0 || spec->member_cnt > DUEL_MEMBERS_MAX) {
        return bench_fail(result, "%u processes: must be 1..%u", spec->member_cnt,
                          DUEL_MEMBERS_MAX);
    }
    duel.stage_bytes = sizeof(struct stage) + spec->member_cnt * sizeof(struct member);
    duel.stage = duel_share(duel.stage_bytes);
    if (!duel.stage) {
        return bench_fail(result, "no memory for %u processes", spec->member_cnt);
    }
    int rc = members_fork(&duel);
    if (rc == 0) {
        rc = rounds(&duel, &pairs);
    }
    members_end(&duel, rc == 0);
    if (rc == 0) {
        conclude(&duel, &pairs);
    }
    munmap(duel.stage, duel.stage_bytes);
    return rc;
}
