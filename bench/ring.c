/*
 * ring.c: what the way to the broker and back costs, without anything being done there.
 *
 * The route "weir.nop" is answered by the worker at once. Spinning, the floor is one line of memory that goes to the other core and back; asleep,
 * it is what the kernel needs to wake one process through an eventfd and the other through a futex.
 *
 * A spinning worker would share its core with the floor's partner, so it is stopped (SIGSTOP) for the floor's slices. That is far
 * shorter than the lease, and nobody waits for it meanwhile.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "duel.h"
#include "rig_weird.h"
#include "shm/weir_atomic.h"
#include "shm/weir_clock.h"
#include "shm/weir_futex.h"

#define STOPPED_PATIENCE_NS (1 * WEIR_NS_PER_S)
#define CALL_PATIENCE_NS    (2 * WEIR_NS_PER_S)

/* Line 0 goes to and fro; line 1 gets the partner out of bed; line 2 is where the client sleeps. */
struct table {
    uint32_t ball WEIR_ALIGN_LINE;     /* odd: the partner's turn */
    uint32_t awake WEIR_ALIGN_LINE;    /* futex: goes up for each batch */
    uint32_t ball_cnt;                 /* of this batch */
    uint32_t answered WEIR_ALIGN_LINE; /* futex: goes up at each answer */
};

struct match {
    const struct bench *bench;
    const struct rig_weird *weird;
    bool spins;
    pid_t worker;
};

struct me {
    struct weir *weir;
    weir_route_id nop;
    struct table *table;
    int eventfd;
};

/* -------------------------------------------------------------------------------- the floor's partner */

static _Noreturn void partner_spin(struct table *table)
{
    uint32_t seen = 0;
    for (;;) {
        while (weir_load_acquire_u32(&table->awake) == seen) {
            weir_futex_wait_until(&table->awake, seen, UINT64_MAX / 2);
        }
        seen++;
        uint32_t ball_cnt = table->ball_cnt;
        for (uint32_t i = 0; i < ball_cnt; i++) {
            uint32_t ball;
            while (((ball = weir_load_acquire_u32(&table->ball)) & 1) == 0) {
                weir_cpu_relax();
            }
            weir_store_release_u32(&table->ball, ball + 1);
        }
    }
}

static _Noreturn void partner_sleep(struct table *table, int eventfd)
{
    uint64_t rung;
    while (read(eventfd, &rung, sizeof(rung)) == (ssize_t)sizeof(rung)) {
        weir_fetch_add_u32(&table->answered, 1);
        weir_futex_wake(&table->answered, 1);
    }
    _exit(1);
}

static int partner_fork(const struct match *match, struct me *me, struct duel_why *why)
{
    pid_t pid = fork();
    if (pid < 0) {
        return duel_fail(why, "cannot fork the floor's partner");
    }
    if (pid > 0) {
        return 0;
    }
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (duel_pin(bench_core(match->bench, 1)) != 0) {
        _exit(1);
    }
    if (match->spins) {
        partner_spin(me->table);
    }
    partner_sleep(me->table, me->eventfd);
}

static void *open_me(const void *arg, unsigned member, struct duel_why *why)
{
    static struct me me;
    const struct match *match = arg;
    struct weir_diag diag = {0};
    struct weir_open_opts opts = rig_weird_opts(match->weird);
    (void)member;
    opts.spin_ns = match->spins ? WEIR_NS_PER_S : 1; /* 1 ns: park at once */
    me.table = duel_share(sizeof(*me.table));
    me.eventfd = eventfd(0, EFD_CLOEXEC);
    if (!me.table || me.eventfd < 0) {
        duel_fail(why, "no memory or no eventfd for the floor");
        return NULL;
    }
    if (partner_fork(match, &me, why) != 0) {
        return NULL;
    }
    if (weir_open(&me.weir, "bench", &opts, &diag) != 0) {
        duel_fail(why, "cannot attach: %s", diag.text);
        return NULL;
    }
    int rc = weir_route_find(me.weir, "weir.nop", &me.nop);
    if (rc != 0) {
        duel_fail(why, "weir.nop: %s", weir_strerror(rc));
        return NULL;
    }
    return &me;
}

/* -------------------------------------------------------------------------------- floors */

static int floor_spin(void *self, uint32_t cnt, struct stats_hist *hist, struct duel_why *why)
{
    struct table *table = ((struct me *)self)->table;
    (void)why;
    /* One ball more than is timed: it is lost in getting the partner out of its futex. */
    table->ball_cnt = cnt + 1;
    weir_fetch_add_u32(&table->awake, 1);
    weir_futex_wake(&table->awake, 1);
    uint32_t ball = weir_load_relaxed_u32(&table->ball) + 1;
    weir_store_release_u32(&table->ball, ball);
    while (weir_load_acquire_u32(&table->ball) == ball) {
        weir_cpu_relax();
    }
    DUEL_LOOP(cnt, hist, {
        ball += 2;
        weir_store_release_u32(&table->ball, ball);
        while (weir_load_acquire_u32(&table->ball) == ball) {
            weir_cpu_relax();
        }
    });
    return 0;
}

static int floor_sleep(void *self, uint32_t cnt, struct stats_hist *hist, struct duel_why *why)
{
    struct me *me = self;
    const uint64_t one = 1;
    int wrong = 0;
    DUEL_LOOP(cnt, hist, {
        uint32_t before = weir_load_relaxed_u32(&me->table->answered);
        wrong |= write(me->eventfd, &one, sizeof(one)) != (ssize_t)sizeof(one);
        while (!wrong && weir_load_acquire_u32(&me->table->answered) == before) {
            weir_futex_wait_until(&me->table->answered, before, UINT64_MAX / 2);
        }
    });
    return wrong ? duel_fail(why, "eventfd: %s", strerror(errno)) : 0;
}

/* -------------------------------------------------------------------------------- weir */

static int nop_failed(const struct weir_response *response, int rc, struct duel_why *why)
{
    return duel_fail(why, "weir.nop: answer %d (%s), result %s", rc,
                     rc < 0 ? weir_strerror(rc) : "-", weir_result_text(response->result));
}

/* Hand over, look until it is there, release. */
static int subject_spin(void *self, uint32_t cnt, struct stats_hist *hist, struct duel_why *why)
{
    struct me *me = self;
    struct weir_request_spec spec = {.struct_bytes = sizeof(spec), .route = me->nop};
    struct weir_response response = {0};
    weir_ticket ticket;
    int rc = 0;
    uint64_t end_ns = weir_clock_monotonic_ns() + CALL_PATIENCE_NS;
    DUEL_LOOP(cnt, hist, {
        rc |= weir_submit(me->weir, &spec, &ticket);
        uint32_t looked = 0;
        while (rc == 0 && weir_poll(me->weir, &response) == WEIR_EMPTY) {
            weir_cpu_relax();
            if (++looked % 65536 == 0 && weir_clock_monotonic_ns() > end_ns) {
                rc = WEIR_PENDING; /* the worker is gone or hangs */
            }
        }
        rc |= rc ? 0 : weir_release(me->weir, response.ticket);
    });
    return rc == 0 && response.result == WEIR_RESULT_DONE ? 0 : nop_failed(&response, rc, why);
}

static int subject_sleep(void *self, uint32_t cnt, struct stats_hist *hist, struct duel_why *why)
{
    struct me *me = self;
    struct weir_request_spec spec = {.struct_bytes = sizeof(spec), .route = me->nop};
    struct weir_response response = {0};
    int rc = 0;
    uint64_t end_ns = weir_now_ns(me->weir) + CALL_PATIENCE_NS;
    DUEL_LOOP(cnt, hist, {
        rc |= rc ? 0 : weir_call(me->weir, &spec, end_ns, &response);
        rc |= rc ? 0 : weir_release(me->weir, response.ticket);
    });
    return rc == 0 && response.result == WEIR_RESULT_DONE ? 0 : nop_failed(&response, rc, why);
}

/* -------------------------------------------------------------------------------- rows */

static bool is_stopped(pid_t pid)
{
    char path[64];
    char line[256];
    bool stopped = false;
    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    FILE *file = fopen(path, "re");
    if (file && fgets(line, sizeof(line), file)) {
        const char *after_name = strrchr(line, ')');
        stopped = after_name && after_name[1] == ' ' && after_name[2] == 'T';
    }
    if (file) {
        fclose(file);
    }
    return stopped;
}

/* The spinning worker makes room for the floor's partner. */
static void turn(const void *arg, enum duel_side side)
{
    const struct match *match = arg;
    if (side == DUEL_SUBJECT) {
        kill(match->worker, SIGCONT);
        return;
    }
    uint64_t end_ns = weir_clock_monotonic_ns() + STOPPED_PATIENCE_NS;
    kill(match->worker, SIGSTOP);
    while (!is_stopped(match->worker) && weir_clock_monotonic_ns() < end_ns) {
        usleep(100);
    }
}

static int measure(const struct bench *bench, bool spins, struct bench_result *result)
{
    struct rig_weird weird;
    struct rig_weird_spec spec = {
        .wake = spins ? "spin" : "sleep",
        .core = bench_core(bench, 1),
    };
    struct match match = {.bench = bench, .weird = &weird, .spins = spins};
    struct duel_spec duel = {
        .member_cnt = 1,
        .core = {bench_core(bench, 0)},
        .open = open_me,
        .batch = {spins ? floor_spin : floor_sleep, spins ? subject_spin : subject_sleep},
        .batch_cnt = {spins ? 256 : 16, spins ? 256 : 16},
        .quantile = 0.5,
        .turn = spins ? turn : NULL,
        .arg = &match,
    };
    if (bench->machine.core_cnt < 2) {
        return bench_fail(result, "needs two cores");
    }
    snprintf(result->note, sizeof(result->note), "client on core %d, worker on core %d",
             bench_core(bench, 0), bench_core(bench, 1));
    if (rig_weird_start(bench, &weird, &spec, result) != 0) {
        return -1;
    }
    int rc = -1;
    match.worker = rig_weird_worker(&weird);
    if (spins && match.worker == 0) {
        bench_fail(result, "no child of weird holds an io_uring: which one is the worker?");
    } else {
        rc = duel_run(bench, &duel, result);
    }
    if (match.worker > 0) {
        kill(match.worker, SIGCONT); /* a failed floor slice leaves it stopped */
    }
    rig_weird_stop(&weird);
    return rc;
}

int bench_ring_rtt_spin(const struct bench *bench, struct bench_result *result)
{
    return measure(bench, true, result);
}

int bench_wake_rtt_sleep(const struct bench *bench, struct bench_result *result)
{
    return measure(bench, false, result);
}
