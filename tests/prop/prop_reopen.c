/*
 * prop_reopen.c: random schedules of pauses and of the way back from them, with deaths and interleavings.
 *
 * Actors take permits, answer, give back, are told to stop, resume and clear, in one process: at each weave point of the permit path another one may run
 * (three deep), time may pass, or whoever stands there dies. The oracle keeps its own account of what was told and claimed, and knows the promise only:
 *   - no call that begins while a pause holds is granted;
 *   - behind a pause that an exchange asked for at most one probe is out at a time, for as long as its lease;
 *   - nobody else is granted anything before an answer to a call that left behind the pause;
 *   - in step k behind that answer at most 2^k are granted;
 *   - whatever died: after one lease somebody is granted again;
 *   - a stop that is told for a call that left before a pause or resume that is over changes nothing; one that left behind it does.
 *
 * prop_reopen [--seconds N] [--seed N]     exit 1: violated; the seed and the schedule's number are printed
 */
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "fixture.h"
#include "prop_instants.h"
#include "weir_weave.h"

#define TICK    (UINT64_C(1) << WEIR_PAUSE_TICK_BITS)
#define LEASE   (64 * TICK)
#define STEP    (16 * TICK)
#define PERMITS 24U
#define DEPTH   3U
#define OPS     120U

static struct fixture f;
static uint64_t rng;
static uint64_t now_ns;
static uint64_t schedule_nr;
static uint64_t claims_seen, deaths, grants, tells;

/* What the oracle knows. */
static struct {
    uint64_t until_ns;  /* end of the pause; 0: open */
    bool guessed;       /* an exchange asked for it */
    uint64_t told;      /* goes up with every pause that begins or grows, and every resume */
    uint64_t behind_ns; /* calls granted from here on are behind the last pause or resume */
    uint64_t probe_ns;  /* the one that is out */
    bool probing;
    uint64_t ramp_ns; /* the answer */
    bool ramping;
    uint32_t in_step[WEIR_REOPEN_STEPS];
} model;

static struct frame {
    jmp_buf death;
    struct weir_permit_view view;
    uint64_t told_at_judge;
    uint64_t claimed_ns; /* whole ticks */
    bool claimed, dying_allowed;
} frame[DEPTH];
static int depth = -1;
static bool calm;       /* nobody else runs */
static unsigned frozen; /* time stands still */

struct held {
    struct weir_permit permit;
    uint64_t told; /* model.told as it was granted */
    uint64_t claimed_ns;
    bool live;
};
static struct held held[PERMITS];

static void violated(const char *what)
{
    printf("VIOLATED in schedule %llu: %s; now=%llu until=%llu word=%016llx board=%016llx "
           "reopen=%016llx: repeat with --seed\n",
           (unsigned long long)schedule_nr, what, (unsigned long long)now_ns,
           (unsigned long long)model.until_ns, (unsigned long long)f.memory->pause.word,
           (unsigned long long)f.memory->provider.pause,
           (unsigned long long)f.memory->pause.reopen);
    exit(1);
}

static bool chance(unsigned percent)
{
    return fixture_random_below(&rng, 100) < percent;
}

static void pass_time(uint64_t most_ns)
{
    if (frozen > 0) {
        return;
    }
    now_ns += fixture_random_below(&rng, most_ns + 1);
    for (int d = 0; d <= depth; d++) {
        fixture_time_set(&frame[d].view, now_ns);
    }
}

static uint64_t floor_tick(uint64_t ns)
{
    return ns / TICK * TICK;
}

/* The oracle sees a claim the instant it is made. */
static void claim_seen(struct frame *me)
{
    me->claimed = true;
    me->claimed_ns = floor_tick(now_ns);
    claims_seen++;
    if (model.told != me->told_at_judge) {
        return; /* a pause began between the look and the claim: this call left beside it, and its claim belongs to the pause before */
    }
    if (now_ns < model.until_ns) {
        violated("claimed while a pause holds");
    }
    if (!model.ramping) {
        if (model.probing && now_ns < model.probe_ns + LEASE) {
            violated("a second probe beside the first");
        }
        model.probing = true;
        model.probe_ns = floor_tick(now_ns);
        return;
    }
    uint64_t step = (now_ns - model.ramp_ns) / STEP;
    if (step < WEIR_REOPEN_STEPS && ++model.in_step[step] > 1U << step) {
        violated("more than 2^k in step k");
    }
}

static void op(void);

void weir_weave_hook(const char *name)
{
    if (calm || !prop_instant(name)) {
        return;
    }
    struct frame *me = &frame[depth];
    if (strcmp(name, "reopen:judged") == 0) {
        me->told_at_judge = model.told;
    } else if (strcmp(name, "reopen:claimed") == 0) {
        claim_seen(me);
    }
    /* Time stands still between the look at the word and the claim, or the oracle would know another step than the claimer. */
    bool still = strcmp(name, "reopen:judged") == 0 || strcmp(name, "reopen:answered") == 0;
    if (!still && chance(5)) {
        pass_time(4 * TICK);
    }
    if (chance(30) && depth + 1 < (int)DEPTH) {
        frozen += still;
        op();
        frozen -= still;
    }
    if (me->dying_allowed && chance(3)) {
        deaths++;
        longjmp(me->death, 1);
    }
}

static void model_pause(uint64_t until_ns, bool guessed, bool begun)
{
    model.until_ns = weir_max_u64(model.until_ns, until_ns);
    model.guessed |= guessed;
    model.told++;
    model.probing = false;
    model.ramping = false;
    if (begun) {
        model.behind_ns = now_ns;
    }
    memset(model.in_step, 0, sizeof model.in_step);
}

/* Is everything the oracle knows of over: open, or the ramp at its end? */
static bool model_open(void)
{
    return now_ns >= model.until_ns &&
           (!model.guessed || model.until_ns == 0 ||
            (model.ramping && now_ns - model.ramp_ns >= WEIR_REOPEN_STEPS * STEP));
}

static void op_take(struct frame *me)
{
    struct held *h = &held[fixture_random_below(&rng, PERMITS)];
    struct weir_permit p = {0};
    uint64_t told = model.told;
    bool paused = now_ns < model.until_ns;
    bool open = model_open();
    int rc = weir_permit_take(&me->view, 0, 0, NULL, 0, &p);
    bool same = told == model.told;
    if (rc == WEIR_OK) {
        grants++;
        if (same && paused && p.granted_at_ns < model.until_ns) {
            violated("granted while a pause holds");
        }
        if (same && !open && !me->claimed && !model_open()) {
            violated("granted without a place");
        }
        *h = (struct held){.permit = p,
                           .told = told,
                           .claimed_ns = me->claimed ? me->claimed_ns : 0,
                           .live = same};
    } else if (rc == WEIR_DENIED && p.denial.reason == WEIR_REASON_REOPENING && same &&
               p.denial.earliest_ns > now_ns + LEASE + STEP) {
        violated("the earliest instant is too late");
    }
}

static struct held *any_held(void)
{
    for (unsigned n = 0; n < 4; n++) {
        struct held *h = &held[fixture_random_below(&rng, PERMITS)];
        if (h->live) {
            return h;
        }
    }
    return NULL;
}

static void op_answer(struct frame *me)
{
    struct held *h = any_held();
    if (h == NULL) {
        return;
    }
    uint64_t told = model.told;
    bool was = model.ramping;
    bool mine = h->permit.granted_at_ns >= model.until_ns && model.until_ns != 0 && model.guessed;
    weir_hold_answered(&me->view, 0, &h->permit);
    h->live = false;
    uint64_t word = f.memory->pause.reopen;
    bool ramps = weir_reopen_phase(word, model.until_ns, now_ns) == WEIR_REOPEN_RAMPING;
    if (told != model.told) {
        return;
    }
    if (ramps && model.until_ns != 0 && !was && !model.ramping) {
        if (!mine) {
            violated("an answer from before the pause opened the ramp");
        }
        model.ramping = true;
        model.ramp_ns = weir_reopen_since_ns(word);
        memset(model.in_step, 0, sizeof model.in_step);
    }
    if (mine && !model.ramping && !model_open()) {
        violated("an answer from behind the pause did not open the ramp");
    }
}

static void op_give(struct frame *me)
{
    struct held *h = any_held();
    if (h == NULL) {
        return;
    }
    uint64_t before = f.memory->pause.reopen;
    struct weir_permit p = h->permit;
    h->live = false;
    weir_hold_unanswered(&me->view, 0, &p);
    if (before != f.memory->pause.reopen && f.memory->pause.reopen == 0 &&
        weir_reopen_phase(before, model.until_ns, now_ns) == WEIR_REOPEN_PROBING) {
        if (h->claimed_ns != weir_reopen_since_ns(before)) {
            violated("gave back the probe of another");
        }
        model.probing = false;
    }
}

static void op_tell(struct frame *me)
{
    struct held *h = any_held();
    if (h == NULL) {
        return;
    }
    uint64_t until_ns = now_ns + TICK + fixture_random_below(&rng, 200 * TICK);
    bool behind = h->told == model.told;
    bool holds = weir_pause_holds(f.memory->pause.word, now_ns);
    uint64_t word = f.memory->pause.word;
    enum weir_pause_told t =
        weir_hold_throttled(&me->view, 0, &h->permit, until_ns, WEIR_PAUSE_THROTTLED);
    h->live = false;
    tells++;
    if (t == WEIR_PAUSE_LATE && behind) {
        violated("a stop from behind the pause was not heard");
    }
    if (t == WEIR_PAUSE_BEGUN && h->permit.granted_at_ns < model.behind_ns) {
        violated("a late stop paused again");
    }
    if (t == WEIR_PAUSE_SAME && !holds) {
        violated("a late stop made a pause longer that is over");
    }
    if (word != f.memory->pause.word) {
        model_pause(weir_pause_until_ns(f.memory->pause.word), true, t == WEIR_PAUSE_BEGUN);
    }
}

/* The worker: its own pauses, resumes, and clearing. */
static void op_worker(void)
{
    if (chance(30)) {
        uint64_t until_ns = now_ns + fixture_random_below(&rng, 100 * TICK);
        bool operator_s = chance(30);
        uint64_t next = weir_pause_longer(f.memory->provider.pause, until_ns,
                                          operator_s ? WEIR_PAUSE_OPERATOR : WEIR_PAUSE_BANNED, 0);
        if (next != f.memory->provider.pause) {
            f.memory->provider.pause = next;
            (void)weir_pause_begin(&f.memory->pause.word, operator_s ? 0 : until_ns,
                                   WEIR_PAUSE_BANNED);
            model_pause(weir_pause_until_ns(next), !operator_s, true);
            model.guessed = weir_pause_cause(f.memory->provider.pause) != WEIR_PAUSE_OPERATOR ||
                            weir_pause_until_ns(f.memory->pause.word) != 0;
        }
    } else if (chance(10)) {
        (void)weir_pause_resume(&f.memory->pause.word);
        f.memory->provider.pause = 0;
        model.until_ns = 0;
        model.guessed = false;
        model_pause(0, false, true);
    } else if (model_open() && model.until_ns != 0 &&
               weir_pause_clear(&f.memory->pause.word, f.memory->pause.word)) {
        f.memory->provider.pause = 0;
        model.until_ns = 0;
        model.guessed = false;
    }
}

static void op(void)
{
    depth++;
    struct frame *me = &frame[depth];
    me->claimed = false;
    fixture_time_set(&me->view, now_ns);
    if (setjmp(me->death) == 0) {
        me->dying_allowed = true;
        switch (fixture_random_below(&rng, 10)) {
        case 0:
        case 1:
        case 2:
        case 3:
        case 4:
            op_take(me);
            break;
        case 5:
        case 6:
            op_answer(me);
            break;
        case 7:
            op_give(me);
            break;
        case 8:
            op_tell(me);
            break;
        default:
            op_worker();
            break;
        }
    }
    depth = (int)(me - frame) - 1;
    if (depth < 0) {
        pass_time(chance(20) ? 40 * TICK : 2 * TICK);
    }
}

/* However it was left: one lease behind the pause somebody is granted. */
static void expect_alive(void)
{
    struct weir_permit p = {0};
    depth = 0;
    now_ns = weir_max_u64(now_ns, model.until_ns) + LEASE;
    fixture_time_set(&frame[0].view, now_ns);
    calm = true;
    int rc = WEIR_DENIED;
    for (unsigned i = 0; i < 3 && rc != WEIR_OK; i++) { /* a ramp's step may be used up */
        rc = weir_permit_take(&frame[0].view, 0, 0, NULL, 0, &p);
        now_ns += STEP;
        fixture_time_set(&frame[0].view, now_ns);
    }
    if (rc != WEIR_OK) {
        violated("nobody is granted anything one lease later");
    }
    calm = false;
    depth = -1;
}

static void schedule(void)
{
    memset(&model, 0, sizeof model);
    memset(held, 0, sizeof held);
    f.memory->pause.word = weir_pause_make(0, WEIR_PAUSE_NONE, (uint32_t)fixture_random(&rng));
    f.memory->provider.pause = 0;
    f.memory->pause.reopen = chance(50) ? 0 : fixture_random(&rng);
    memset(f.memory->word, 0, sizeof f.memory->word);
    now_ns += 1000 * TICK;
    for (unsigned i = 0; i < OPS; i++) {
        op();
    }
    expect_alive();
}

int main(int argc, char **argv)
{
    uint64_t seed = UINT64_C(20261122);
    unsigned long seconds = 4;
    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--seed") == 0) {
            seed = strtoull(argv[i + 1], NULL, 10);
        } else if (strcmp(argv[i], "--seconds") == 0) {
            seconds = strtoul(argv[i + 1], NULL, 10);
        }
    }
    static const struct fixture_spec spec = {
        .slack_ns = WEIR_NS_PER_MS,
        .reopen_lease_ns = LEASE,
        .reopen_step_ns = STEP,
        .limit_cnt = 1,
        .route_cnt = 1,
        .limit = {{.kind = WEIR_LIMIT_TOKEN_BUCKET, .quota = 1000000, .window_ns = WEIR_NS_PER_MS}},
        .route = {{.limit_cnt = 1, .limit = {0}, .cost = {1}}}};
    printf("prop_reopen: seed %llu; oracle: its own account of what was told and claimed\n",
           (unsigned long long)seed);
    fixture_open(&f, &spec);
    for (unsigned d = 0; d < DEPTH; d++) {
        fixture_view(&f, &frame[d].view, now_ns);
    }
    rng = seed;
    time_t end = time(NULL) + (time_t)seconds;
    do {
        for (unsigned i = 0; i < 200; i++, schedule_nr++) {
            schedule();
        }
    } while (time(NULL) < end);
    printf("%llu schedules, %llu grants, %llu claims, %llu stops told, %llu deaths: 0 violations\n",
           (unsigned long long)schedule_nr, (unsigned long long)grants,
           (unsigned long long)claims_seen, (unsigned long long)tells, (unsigned long long)deaths);
    return 0;
}
