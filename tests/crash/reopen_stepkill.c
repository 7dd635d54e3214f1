/*
 * reopen_stepkill.c: kills a trader at every single instruction of a permit behind a pause, and of telling that its probe was answered.
 *
 * A child stops itself just before; the parent steps it k instructions by ptrace and kills it there, for each k until it is over.
 *
 * Oracle, after each death, in the same instant and one lease later:
 *   take     either the dead one had the probe and nobody else gets it, or it had not and exactly one other gets it; one lease later exactly one does
 *   answer   either the ramp has begun and exactly one passes in its first step, or the probe is still out and nobody does; one lease later
 *            exactly one does (another probe), or the ramp's step of then lets its places through
 *   both     a limit holds at most one permit of the dead one
 *
 * reopen_stepkill [--step N]      1 = every instruction (default)
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fixture.h"
#include "stepper.h"

#define STEPS_MAX 20000
#define TICK      (UINT64_C(1) << WEIR_PAUSE_TICK_BITS)
#define UNTIL     (UINT64_C(1000) << 30)
#define NOW       (UNTIL + 3 * TICK)
#define LEASE     (100 * TICK)
#define QUOTA     64U
#define UNIT_NS   weir_bucket_unit_ns(WEIR_NS_PER_S, QUOTA)

static const struct fixture_spec spec = {
    .slack_ns = WEIR_NS_PER_MS,
    .reopen_lease_ns = LEASE,
    .reopen_step_ns = 1000 * TICK,
    .limit_cnt = 1,
    .route_cnt = 1,
    .limit = {{.kind = WEIR_LIMIT_TOKEN_BUCKET, .quota = QUOTA, .window_ns = WEIR_NS_PER_S}},
    .route = {{.limit_cnt = 1, .limit = {0}, .cost = {1}}}};

static struct fixture f;
static struct shared {
    struct weir_permit permit;
    volatile int32_t answer; /* of the victim's call; -1: it did not end */
} * shared;
static uint64_t checks;

static void violated(const char *what, uint32_t k)
{
    printf("VIOLATED at k=%u: %s; reopen=%016llx\n", k, what,
           (unsigned long long)f.memory->pause.reopen);
    exit(1);
}

static bool telling; /* what the victim does */

static void victim(void)
{
    struct weir_permit_view view;
    fixture_view(&f, &view, NOW);
    stepper_ready();
    if (telling) {
        weir_hold_answered(&view, 0, &shared->permit);
        shared->answer = WEIR_OK;
    } else {
        shared->answer = weir_permit_take(&view, 0, 0, NULL, 0, &shared->permit);
    }
}

/* How many of 5 others are granted a permit at this instant. */
static uint32_t others_granted(uint64_t now_ns, uint32_t k)
{
    struct weir_permit_view view;
    struct weir_permit p;
    uint32_t cnt = 0;
    fixture_view(&f, &view, now_ns);
    for (unsigned i = 0; i < 5; i++) {
        int rc = weir_permit_take(&view, 0, 0, NULL, 0, &p);
        cnt += rc == WEIR_OK;
        if (rc != WEIR_OK && (rc != WEIR_DENIED || p.denial.reason != WEIR_REASON_REOPENING)) {
            violated("refused for another reason", k);
        }
    }
    return cnt;
}

static void expect_take(uint32_t k, bool over)
{
    bool claimed = (f.memory->pause.reopen & 3U) == WEIR_REOPEN_PROBING;
    uint64_t tat = f.memory->word[0].word[0];
    if (tat > NOW + UNIT_NS) {
        violated("more than one permit is charged", k);
    }
    if (claimed && tat <= NOW) {
        violated("the probe is out, and nothing was charged for it", k);
    }
    if (over && !claimed) {
        violated("granted without the probe", k);
    }
    if (others_granted(NOW, k) != (claimed ? 0U : 1U)) {
        violated("not exactly one probe", k);
    }
    if (others_granted(NOW + LEASE, k) != 1) {
        violated("the dead prober's lease does not end", k);
    }
}

static void expect_tell(uint32_t k, bool over)
{
    bool ramping = (f.memory->pause.reopen & 3U) == WEIR_REOPEN_RAMPING;
    if (over && !ramping) {
        violated("told, and the ramp has not begun", k);
    }
    if (others_granted(NOW + TICK, k) != (ramping ? 1U : 0U)) {
        violated("not what this phase lets through", k);
    }
    if (others_granted(NOW + LEASE, k) !=
        (ramping ? 0U : 1U)) { /* the step is longer than the lease */
        violated("not what this phase lets through one lease later", k);
    }
}

static void kill_everywhere(bool tell, uint32_t step)
{
    for (uint32_t k = 0; k < STEPS_MAX; k += step) {
        memset(f.memory->word, 0, sizeof f.memory->word);
        f.memory->pause.reopen = 0;
        memset(&shared->permit, 0, sizeof shared->permit);
        if (tell) {
            struct weir_permit_view view;
            fixture_view(&f, &view, NOW);
            if (weir_permit_take(&view, 0, 0, NULL, 0, &shared->permit) != WEIR_OK) {
                stepper_broken("take");
            }
        }
        shared->answer = -1;
        telling = tell;
        stepper_kill(stepper_start(victim), k);
        bool over = shared->answer != -1;
        if (over && shared->answer != WEIR_OK) {
            violated("the call's answer is wrong", k);
        }
        if (tell) {
            expect_tell(k, over);
        } else {
            expect_take(k, over);
        }
        checks++;
        if (over) {
            printf("killed at each %s of %u instructions of %s\n", step == 1 ? "one" : "n-th", k,
                   tell ? "an answer" : "a take");
            return;
        }
    }
    stepper_broken("the call does not end");
}

int main(int argc, char **argv)
{
    uint32_t step =
        argc == 3 && strcmp(argv[1], "--step") == 0 ? (uint32_t)strtoul(argv[2], NULL, 10) : 1;
    if (step == 0) {
        fprintf(stderr, "reopen_stepkill: --step=0: give 1 or more\n");
        return 1;
    }
    fixture_open(&f, &spec);
    f.memory->pause.word = weir_pause_make(UNTIL, WEIR_PAUSE_THROTTLED, 3);
    shared = (void *)(f.memory->tables + sizeof f.memory->tables - sizeof(struct shared));
    printf("no seed: instructions are visited in order, every %u\n", step);
    kill_everywhere(false, step);
    kill_everywhere(true, step);
    printf("%llu deaths verified, 0 violations\n", (unsigned long long)checks);
    fixture_close(&f);
    return 0;
}
