/*
 * Named instants of a broker's own life: how it starts, stops and gives way. Who comes first to the instant is held there, and then killed, stopped or delayed.
 *
 *   process_weave_lives SIM WEIRD [SEED] [--long | --part=K/N]     --long: every name by all three ways; --part: of the Kth of N names;
 *                                                              else each by one of them
 *
 * Scenes: a start, a stop (SIGTERM), a takeover (--takeover) in which the new broker, the old one or its worker is held, and a takeover that a held client follows.
 *
 * Oracles, as of process_takeover_kill: one broker at most is left, and either it serves or the next start does; permits and calls go on for whoever was attached or attaches
 * anew; in the end each order once and with a named outcome, no violation at the exchange. A name at which nobody was held fails the test.
 */
#include "weave.h"
#include "weave_work.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define REACH_MS 6000U
#define AGAIN_MS 12000U /* a lease may be waited out, a window may count as spent */

enum scene { START, STOP, TAKEOVER, BACK, FOLLOWED };
enum ending { ENDING_KILL, ENDING_STOP, ENDING_DELAY, ENDING_CNT };
static const char *const ending_text[] = {"killed", "stopped", "delayed"};

static const struct life {
    enum scene scene;
    const char *name;
} lives[] = {
#define LIFE(scene, name)          {scene, name},
#define ELSEWHERE(name, test, why) /* not ours */
#include "weave_names.def"
#undef LIFE
#undef ELSEWHERE
};

static struct weave_page *page;
static pid_t victim;
static unsigned tried[ENDING_CNT];

/* ---------------------------------------------------------------------------------------------- who lives */

static bool is_running(pid_t pid)
{
    return pid > 0 && waitpid(pid, NULL, WNOHANG) == 0;
}

static void again(struct rig *r, const struct life *l)
{
    for (unsigned i = 0; i < 2; i++) { /* the second one began when the first was over */
        rig_check(r, work_moves(r, WORK_PERMITS, AGAIN_MS), __FILE__, __LINE__, "permits after %s",
                  l->name);
        rig_check(r, work_moves(r, WORK_CALLS, AGAIN_MS), __FILE__, __LINE__, "calls after %s",
                  l->name);
    }
}

/* It stands at the instant. Returns whether it was killed. */
static bool end(struct rig *r, pid_t pid, enum ending how)
{
    tried[how]++;
    if (how == ENDING_KILL) {
        (void)kill(pid, SIGKILL);
        return true;
    }
    rig_sleep_ms(20 + rig_random(r, 60));
    if (how == ENDING_STOP) {
        (void)kill(pid, SIGSTOP);
        weave_go(page);
        rig_sleep_ms(20 + rig_random(r, 60));
        (void)kill(pid, SIGCONT);
    } else {
        weave_go(page);
    }
    return false;
}

static bool reached(struct rig *r, pid_t pid, const struct life *l)
{
    return rig_check(r, pid > 0, __FILE__, __LINE__, "nobody was held at %s", l->name);
}

/* ---------------------------------------------------------------------------------------------- scenes */

static void start(struct rig *r, const struct life *l, enum ending how)
{
    CHECK_INT(r, rig_weird_stop(r, 15000), 0);
    weave_arm(page, WEAVE_ANYBODY, l->name, 0);
    rig_weird_spawn(r);
    pid_t pid = weave_await(page, REACH_MS);
    if (reached(r, pid, l) && end(r, pid, how)) {
        CHECK_INT(r, rig_wait(r->weird, 5000), 128 + SIGKILL);
        rig_weird_start(r);
    }
}

static void stop(struct rig *r, const struct life *l, enum ending how)
{
    weave_arm(page, WEAVE_ANYBODY, l->name, 0);
    (void)kill(r->weird, SIGTERM);
    pid_t pid = weave_await(page, REACH_MS);
    bool killed = reached(r, pid, l) && end(r, pid, how);
    CHECK_INT(r, rig_wait(r->weird, 15000), killed ? 128 + SIGKILL : 0);
    r->weird = 0;
    rig_weird_start(r);
}

/* Both brokers have done what they do: r->weird is the one that serves. */
static void settle(struct rig *r, pid_t giver, pid_t taker, const struct life *l)
{
    bool old = true;
    bool new = true;
    for (int i = 0; i < 600 && old && new; i++) {
        rig_sleep_ms(10);
        old = old && is_running(giver);
        new = new &&is_running(taker);
    }
    for (int i = 0; i < 30 && (old || new); i++) { /* the other one may be leaving too */
        rig_sleep_ms(10);
        old = old && is_running(giver);
        new = new &&is_running(taker);
    }
    rig_check(r, !old || !new, __FILE__, __LINE__, "one at most after %s", l->name);
    r->weird = old ? giver : taker;
    if (!old && !new) {
        rig_weird_start(r);
    }
}

static void takeover(struct rig *r, const struct life *l, enum ending how)
{
    pid_t giver = r->weird;
    weave_arm(page, WEAVE_ANYBODY, l->name, 0);
    pid_t taker = rig_weird_another(r, "--takeover");
    pid_t pid = weave_await(page, REACH_MS);
    if (reached(r, pid, l)) {
        (void)end(r, pid, how);
    }
    settle(r, giver, taker, l);
}

/* The new broker dies before it granted anything: the old one goes on, by this instant. */
static void back(struct rig *r, const struct life *l, enum ending how)
{
    pid_t giver = r->weird;
    weave_arm(page, WEAVE_ANYBODY, "takeover:copied", 0);
    pid_t taker = rig_weird_another(r, "--takeover");
    CHECK_INT(r, weave_await(page, REACH_MS), taker);
    weave_arm(page, (uint32_t)giver, l->name, 0);
    (void)kill(taker, SIGKILL);
    pid_t pid = weave_await(page, REACH_MS);
    if (reached(r, pid, l)) {
        (void)end(r, pid, how);
    }
    settle(r, giver, taker, l);
}

static void followed(struct rig *r, const struct life *l, enum ending how)
{
    pid_t giver = r->weird;
    CHECK(r, work_moves(r, WORK_VICTIM, AGAIN_MS), "the victim works");
    weave_arm(page, (uint32_t)victim, l->name, 0);
    pid_t taker = rig_weird_another(r, "--takeover");
    pid_t pid = weave_await(page, REACH_MS);
    if (reached(r, pid, l)) {
        rig_check(r, work_moves(r, WORK_PERMITS, AGAIN_MS) && work_moves(r, WORK_CALLS, AGAIN_MS),
                  __FILE__, __LINE__, "others go on while a client stands at %s", l->name);
        if (end(r, pid, how)) {
            CHECK_INT(r, rig_wait(victim, 5000), 128 + SIGKILL);
            victim = rig_fork(r, work_victim, (int)rig_random(r, 1000));
        }
    }
    settle(r, giver, taker, l);
    CHECK(r, work_moves(r, WORK_VICTIM, AGAIN_MS), "the victim follows");
}

int main(int argc, char **argv)
{
    static void (*const scene[])(struct rig *, const struct life *,
                                 enum ending) = {start, stop, takeover, back, followed};
    struct rig r;
    char path[96];
    char state[96];
    unsigned part = 1;
    unsigned parts = 1;
    bool one_part = argc > 3 && sscanf(argv[argc - 1], "--part=%u/%u", &part, &parts) == 2;
    bool all = one_part || (argc > 3 && strcmp(argv[argc - 1], "--long") == 0);
    rig_open(&r, "weave_lives", argc - all, argv, all ? 900 : 580);
    (void)snprintf(path, sizeof path, "%s/weave", r.dir);
    page = weave_open(path);
    if (page == NULL) {
        perror(path);
        return 99;
    }
    work_configure(&r, state, sizeof state);
    r.option = "--fresh"; /* the first start only */
    rig_weird_start(&r);
    r.option = NULL;
    pid_t neighbour[2] = {rig_fork(&r, work_by_permit, 0), rig_fork(&r, work_by_call, 1)};
    victim = rig_fork(&r, work_victim, 2);
    CHECK(&r, work_moves(&r, WORK_VICTIM, AGAIN_MS), "all work");
    unsigned first = rig_random(&r, ENDING_CNT);
    for (unsigned i = 0; i < WEIR_ARRAY_CNT(lives) && r.failures == 0; i++) {
        for (unsigned how = 0; how < ENDING_CNT && r.failures == 0; how++) {
            uint64_t began_ns = rig_now_ns();
            if (one_part && i % parts + 1 != part) {
                continue;
            }
            if (!all && how != (first + i) % ENDING_CNT) {
                continue;
            }
            scene[lives[i].scene](&r, &lives[i], (enum ending)how);
            again(&r, &lives[i]);
            (void)printf("%-20s %-8s %.1f s\n", lives[i].name, ending_text[how],
                         (double)(rig_now_ns() - began_ns) / 1e9);
        }
    }
    weir_store_release_u32(&r.shared->stop, 1);
    CHECK_INT(&r, rig_wait(victim, 10000), 0);
    CHECK_INT(&r, rig_wait(neighbour[0], 10000), 0);
    CHECK_INT(&r, rig_wait(neighbour[1], 20000), 0);
    (void)printf("%u killed, %u stopped, %u delayed; handles opened anew: %u\n", tried[0], tried[1],
                 tried[2], work_at(&r, WORK_LOST));
    rig_orders_check(&r, true);
    PROMISE_INT(&r, rig_report(&r, "violations"), 0);
    CHECK(&r, work_at(&r, WORK_DONE) > 50, "the neighbour's calls were made");
    CHECK_INT(&r, rig_weird_stop(&r, 15000), 0);
    return rig_close(&r);
}
