/*
 * prop_late.c: random schedules of a token bucket whose exchange counts some calls long after J.
 *
 * Each schedule draws a bucket, J, headroom; a worker that looks at its open calls every few ms, as the broker's does (shm/weir_late.h), whose measure of J goes up and down, which
 * is killed at any of its steps and comes again; its calls, which the exchange counts at any time until they end, with fewer units than were reserved here and there; traders' calls, which are
 * counted within J; refunds; others, who use what is known of them at once, at any time. At the places that WEIR_WEAVE names others go on in the middle of a permit, or of the worker's steps.
 *
 * Oracle: a bucket of B units and r = N/W, in plain arithmetic (prop_judge.c), never overflows. And what is held is only what the rule says:
 *   let go    when no call is open, nothing is held but for J as it is measured
 *   floor     then every class is granted the dearest call, however slow the network is
 *
 * Others go on, and the worker dies, at all instants late:..., too.
 *
 * prop_late [--seed N] [--schedules N] [--seconds N]
 */
#include <inttypes.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fixture.h"
#include "prop_instants.h"
#include "prop_judge.h"
#include "weir_late.h"

#define CALLS_MAX 2048
#define TURNS     600U
#define VIEWS     4 /* the last one is the worker's */
#define WORKER    (VIEWS - 1)
#define DEAREST   3U

struct call {
    struct weir_permit permit;
    bool brokered;
    bool open;           /* brokered: sent, and has not ended */
    bool held;           /* its units are */
    uint64_t arrives_ns; /* 0: never */
    uint64_t ends_ns;    /* brokered */
    uint32_t count;      /* what the exchange counts of it */
    bool settled;
};

static struct {
    struct fixture f;
    struct weir_permit_view view[VIEWS];
    uint64_t now_ns;
    uint64_t random;
    uint64_t period_ns; /* of looks */
    uint64_t next_look_ns;
    uint64_t measured_ns; /* J, as answers show it */
    bool shared;          /* others are proven, now and then: slow is less then */
    struct weir_late late;
    uint32_t want; /* slow units that J as it is measured asks for */
    uint32_t others;
    uint64_t others_at_ns;
    uint32_t depth;
    bool busy;         /* the worker is at it: it is one thread */
    bool mortal;       /* ... and may be killed there */
    uint64_t stall_ns; /* 0: it never stands still */
    bool calm;         /* nothing changes any more */
    uint64_t lives;    /* it dies at one in so many steps; 0: never */
    jmp_buf dead;
    struct call call[CALLS_MAX];
    uint32_t call_cnt;
    uint32_t call_first; /* those before are over */
} s;

static struct {
    uint64_t schedules, granted, refused, late, held, deaths, falls, woven;
    double used, room;
} total;

static jmp_buf failed;
static const char *what;

static uint64_t below(uint64_t n)
{
    return n == 0 ? 0 : fixture_random_below(&s.random, n);
}

static bool one_in(uint64_t n)
{
    return below(n) == 0;
}

static void violated(const char *text)
{
    what = text;
    longjmp(failed, 1);
}

/* ------------------------------------------------------------------------------------------ the worker */

static const struct weir_shm_limit_row *row_of(void)
{
    return &s.view[0].tables.limit[0];
}

static struct weir_shm_foreign *board(void)
{
    return &s.f.memory->foreign[0];
}

static struct weir_limit_place place(void)
{
    return fixture_place(&s.f, &s.view[0], 0, false);
}

static void publish(void)
{
    (void)weir_late_publish(&s.late, row_of(), board(), s.now_ns);
}

static void spend(uint32_t units)
{
    const struct weir_limit_place at = place();
    if (units > 0) {
        weir_late_spend(&at, units, s.now_ns);
    }
}

static void call_ends(struct call *c)
{
    const struct weir_limit_place at = place();
    const uint32_t units = c->permit.charge[0].units;
    const struct weir_cost counted = {.cnt = 1, .units = {c->count}};
    c->open = false;
    c->settled = true;
    if (weir_permit_end(&s.view[WORKER], &c->permit, &counted) != WEIR_OK) {
        violated("an end");
    }
    if (!c->held) {
        return;
    }
    if (c->count > 0) {
        weir_late_move(&at, c->count, c->permit.granted_at_ns, s.now_ns - c->permit.granted_at_ns,
                       weir_late_jitter_ns(row_of(), s.late.slow_units, s.f.spec.jitter_ns),
                       s.now_ns);
    }
    s.late.open_units -= units;
    c->held = false;
    publish();
}

/* As late_rise, late_look, late_fall of the broker. */
static void look(void)
{
    const uint64_t ahead_ns = 3 * s.period_ns;
    const struct weir_shm_limit_row *row = row_of();
    if (!s.calm && one_in(40)) {
        s.measured_ns = one_in(3) ? 0 : s.f.spec.jitter_ns + below(12 * row->unit_ns + 1);
    }
    s.shared ^= !s.calm && one_in(60);
    s.want = weir_late_slow(row, s.f.spec.jitter_ns, s.measured_ns, DEAREST, s.shared);
    if (s.late.slow_units < s.want) {
        s.late.slow_units = s.want;
        publish();
    }
    while (s.call_first < s.call_cnt && s.call[s.call_first].settled &&
           !s.call[s.call_first].open) {
        s.call_first++;
    }
    for (uint32_t i = s.call_first; i < s.call_cnt; i++) {
        struct call *c = &s.call[i];
        if (c->open && c->ends_ns <= s.now_ns) {
            call_ends(c);
        }
        if (c->open && !c->held &&
            weir_late_due(row, s.want, s.f.spec.jitter_ns, c->permit.granted_at_ns,
                          s.now_ns + ahead_ns)) {
            c->held = true;
            s.late.open_units += c->permit.charge[0].units;
            publish();
            total.held++;
        }
    }
    if (s.late.slow_units > s.want) {
        spend(s.late.slow_units - s.want);
        s.late.slow_units = s.want;
        total.falls++;
    }
    publish();
}

/* Its calls' connections close: each has been counted, or never will be. The next one finds the board. */
static void worker_dies(void)
{
    for (uint32_t i = 0; i < s.call_cnt; i++) {
        struct call *c = &s.call[i];
        if (c->open || (c->brokered && !c->settled)) {
            c->arrives_ns = c->arrives_ns <= s.now_ns ? c->arrives_ns : one_in(2) ? s.now_ns : 0;
            c->open = false;
            c->held = false;
            c->settled = true;
        }
    }
    total.deaths++;
    s.measured_ns = 0;
    s.want = 0;
}

static void worker_comes(void)
{
    weir_late_restore(&s.late, board(), s.now_ns);
    if (s.late.others_units < s.others) {
        violated("what others use was forgotten with the worker");
    }
    s.late.others_units = s.others; /* a death between two stores may have left more */
    spend(weir_late_held(&s.late));
    s.late.open_units = 0;
    publish();
}

static void worker_turn(void)
{
    s.busy = true;
    s.mortal = !s.calm;
    const uint32_t depth = s.depth;
    for (bool over = false; !over;) {
        if (setjmp(s.dead) == 0) {
            if (!s.calm && s.lives > 0 && one_in(s.lives)) {
                worker_dies();
                worker_comes();
            }
            look();
            over = true;
        } else {
            s.depth = depth;
            worker_dies();
            if (setjmp(s.dead) == 0) {
                worker_comes();
            } else {
                s.depth = depth;
                worker_dies();
                s.mortal = false; /* the third one lives */
                worker_comes();
                s.mortal = true;
            }
        }
    }
    s.mortal = false;
    s.busy = false;
    s.next_look_ns = s.now_ns + s.period_ns;
}

static void clock_set(uint64_t now_ns)
{
    s.now_ns = now_ns;
    for (uint32_t i = 0; i < VIEWS; i++) {
        fixture_time_set(&s.view[i], now_ns);
    }
}

/* Time goes on, and the worker looks when it is due. While it is at it itself, by a period at most. */
static void time_pass(uint64_t ns)
{
    uint64_t until_ns = s.now_ns + ns;
    if (s.busy) {
        until_ns = weir_min_u64(until_ns, weir_max_u64(s.next_look_ns + s.period_ns, s.now_ns));
    }
    while (!s.busy && s.next_look_ns <= until_ns) {
        clock_set(weir_max_u64(s.next_look_ns, s.now_ns));
        s.depth++;
        worker_turn();
        s.depth--;
    }
    clock_set(weir_max_u64(until_ns, s.now_ns));
}

/* ------------------------------------------------------------------------------------------ calls */

static void sent(struct call *c)
{
    const struct weir_permit *p = &c->permit;
    const uint64_t jitter_ns = s.f.spec.jitter_ns;
    c->arrives_ns = s.now_ns + below(p->granted_at_ns + jitter_ns - s.now_ns + 1);
    c->settled = !c->brokered;
    if (!c->brokered) {
        return;
    }
    if (one_in(2)) { /* as late as it likes */
        const uint64_t wide_ns = (one_in(2) ? 3 : 20) * row_of()->unit_ns + 4 * jitter_ns;
        c->arrives_ns = s.now_ns + below(wide_ns);
        if (s.stall_ns > 0) { /* the exchange stands still, and then counts all that waits for it */
            c->arrives_ns += s.stall_ns - c->arrives_ns % s.stall_ns;
        }
        total.late += c->arrives_ns > p->granted_at_ns + jitter_ns;
    }
    c->open = true;
    c->ends_ns = c->arrives_ns + (one_in(2) ? 0 : below(jitter_ns + row_of()->unit_ns));
    c->count = one_in(5) ? (uint32_t)below(c->count + 1) : c->count;
}

static void take(uint32_t v)
{
    struct weir_permit p;
    const bool brokered = v == WORKER;
    const uint32_t route = (uint32_t)below(s.f.spec.route_cnt);
    s.busy |= brokered;
    int rc = weir_permit_take(&s.view[v], route, 0, NULL, (unsigned)below(WEIR_PRIORITY_CNT), &p);
    if (rc == WEIR_OK) {
        struct call *c = &s.call[s.call_cnt++];
        *c = (struct call){.permit = p, .brokered = brokered, .count = p.charge[0].units};
        if (s.now_ns <= p.use_by_ns && !one_in(8)) {
            sent(c);
        }
        total.granted++;
    } else if (rc == WEIR_DENIED) {
        total.refused++;
    } else if (rc != WEIR_CONTENDED && rc != WEIR_E_COST) {
        violated("a permit ended with an error");
    }
    s.busy = brokered ? false : s.busy;
}

static void give_one(uint32_t v)
{
    for (uint32_t tries = 0; tries < 4 && s.call_cnt > 0; tries++) {
        struct call *c = &s.call[s.call_cnt - 1 - below(weir_min_u64(s.call_cnt, 30))];
        if (!c->settled && !c->open) {
            c->settled = true;
            if (weir_permit_give(&s.view[v], &c->permit) != WEIR_OK) {
                violated("a refund");
            }
            return;
        }
    }
}

void weir_weave_hook(const char *name)
{
    if (!prop_instant(name)) {
        return;
    }
    if (s.mortal && s.busy && s.lives > 0 && one_in(s.lives)) {
        longjmp(s.dead, 1);
    }
    if (s.depth > 3 || !one_in(5) || s.call_cnt >= CALLS_MAX - 8) {
        return;
    }
    s.depth++;
    total.woven++;
    const bool mortal = s.mortal;
    s.mortal = false; /* what follows is of others */
    if (one_in(3)) {
        time_pass(below(s.period_ns));
    } else if (one_in(20)) {
        time_pass(below(4 * row_of()->unit_ns)); /* it slept */
    } else if (one_in(3)) {
        give_one((uint32_t)below(VIEWS - 1));
    } else {
        take((uint32_t)below(VIEWS - 1));
    }
    s.mortal = mortal;
    s.depth--;
}

/* ------------------------------------------------------------------------------------------ a schedule */

static void spec_draw(struct fixture_spec *spec)
{
    struct fixture_limit *l = &spec->limit[0];
    *spec = (struct fixture_spec){.limit_cnt = 1, .route_cnt = DEAREST};
    *l = (struct fixture_limit){.kind = WEIR_LIMIT_TOKEN_BUCKET, .dearest = DEAREST};
    l->quota = 8 + (uint32_t)below(24);
    static const uint64_t units_ms[] = {4, 20, 20, 100};
    l->window_ns =
        l->quota * (units_ms[below(WEIR_ARRAY_CNT(units_ms))] * WEIR_NS_PER_MS + below(1000));
    spec->jitter_ns = one_in(6) ? 0 : below(l->window_ns / 3);
    spec->slack_ns = spec->jitter_ns / 2;
    for (uint32_t p = 0; p + 1 < WEIR_PRIORITY_CNT && one_in(2); p++) {
        l->headroom_ppm[p] = (uint32_t)below(40000);
    }
    for (uint32_t i = 0; i < spec->route_cnt; i++) {
        spec->route[i] = (struct fixture_route){.limit_cnt = 1, .limit = {0}, .cost = {1 + i}};
    }
}

static void judge(void)
{
    static struct arrival a[CALLS_MAX + 1];
    const struct fixture_limit *l = &s.f.spec.limit[0];
    uint32_t cnt = 0;
    for (uint32_t i = 0; i < s.call_cnt; i++) {
        if (s.call[i].arrives_ns != 0) {
            a[cnt++] = (struct arrival){.at_ns = s.call[i].arrives_ns, .units = s.call[i].count};
            total.used += s.call[i].count;
        }
    }
    if (s.others > 0) {
        a[cnt++] = (struct arrival){.at_ns = s.others_at_ns, .units = s.others};
    }
    if (!judge_bucket(a, cnt, l->quota, l->window_ns, 0)) {
        violated("the server's bucket overflowed");
    }
}

/* All calls have ended, and the bucket is full again. */
static void rest_check(void)
{
    const struct weir_shm_limit_row *row = row_of();
    uint64_t last_ns = s.now_ns;
    for (uint32_t i = 0; i < s.call_cnt; i++) {
        last_ns = s.call[i].open ? weir_max_u64(last_ns, s.call[i].ends_ns) : last_ns;
    }
    s.depth = 8; /* nobody else comes */
    time_pass(last_ns - s.now_ns + 2 * s.period_ns);
    s.calm = true;
    time_pass(3 * row->quota * row->unit_ns);
    if (s.late.open_units != 0 || s.late.slow_units != s.want ||
        weir_foreign_rolling(board()->word[1], s.now_ns) != weir_late_held(&s.late)) {
        violated("something is held for nobody");
    }
    for (unsigned p = 0; p < WEIR_PRIORITY_CNT && s.others == 0; p++) {
        struct weir_permit permit;
        if (row->tolerance_ns[WEIR_PRIORITY_CNT - 1] >= DEAREST * row->unit_ns &&
            weir_permit_look(&s.view[0], DEAREST - 1, 0, NULL, p, &permit) != WEIR_OK) {
            violated("a slow network has closed the bucket");
        }
    }
}

static void schedule(uint64_t seed)
{
    struct fixture_spec spec;
    memset(&s, 0, offsetof(__typeof__(s), call));
    s.random = seed;
    spec_draw(&spec);
    s.depth = 8; /* nobody is there yet */
    fixture_open(&s.f, &spec);
    s.now_ns = UINT64_C(1000000000000) + below(WEIR_NS_PER_S);
    for (uint32_t i = 0; i < VIEWS; i++) {
        fixture_view(&s.f, &s.view[i], s.now_ns);
    }
    const uint64_t from_ns = s.now_ns;
    const uint64_t pace_ns = weir_max_u64(row_of()->unit_ns / (1 + below(6)), 1);
    s.period_ns = (row_of()->unit_ns + spec.jitter_ns) / (one_in(2) ? 12 : 3) + 1;
    s.lives = one_in(2) ? 0 : 50 + below(one_in(3) ? 100 : 5000);
    s.stall_ns = one_in(2) ? 1 + 3 * spec.jitter_ns / 2 + below(8 * row_of()->unit_ns) : 0;
    s.others = one_in(3) ? (uint32_t)below(spec.limit[0].quota / 3) : 0;
    s.others_at_ns = s.now_ns + below(TURNS / 4 * pace_ns);
    s.late = (struct weir_late){.others_units = s.others, .others_until_ns = s.now_ns * 2};
    s.call_cnt = 0;
    s.call_first = 0;
    bool rush = false;
    publish();
    s.depth = 0;
    worker_turn();
    for (uint32_t i = 0; i < TURNS && s.call_cnt < CALLS_MAX - 16; i++) {
        rush = one_in(40) ? !rush && one_in(2) : rush;
        if (one_in(100)) { /* nobody asks for a while */
            time_pass(below(2 * spec.limit[0].quota * row_of()->unit_ns));
        } else if (!rush && one_in(2)) {
            time_pass(below(pace_ns));
        }
        uint64_t x = below(10);
        if (x < 4) {
            take(WORKER);
        } else if (x < 8) {
            take((uint32_t)below(VIEWS - 1));
        } else if (x < 9) {
            give_one((uint32_t)below(VIEWS));
        }
    }
    rest_check();
    judge();
    total.room +=
        spec.limit[0].quota * (1 + (double)(s.now_ns - from_ns) / (double)spec.limit[0].window_ns);
    fixture_close(&s.f);
    total.schedules++;
}

/* Is the schedule of this seed kept? */
static bool holds(uint64_t seed)
{
    if (setjmp(failed) != 0) {
        return false;
    }
    schedule(seed);
    return true;
}

int main(int argc, char **argv)
{
    uint64_t seed = 1;
    uint64_t schedules = UINT64_MAX;
    uint64_t seconds = 5;
    for (int i = 1; i + 1 < argc; i += 2) {
        uint64_t v = strtoull(argv[i + 1], NULL, 10);
        seed = strcmp(argv[i], "--seed") == 0 ? v : seed;
        schedules = strcmp(argv[i], "--schedules") == 0 ? v : schedules;
        seconds = strcmp(argv[i], "--seconds") == 0 ? v : seconds;
    }
    printf("seed %" PRIu64 "\n", seed);
    (void)fflush(stdout);
    const uint64_t until_ns = weir_clock_monotonic_ns() + seconds * WEIR_NS_PER_S;
    for (uint64_t i = 0; i < schedules && weir_clock_monotonic_ns() < until_ns; i++) {
        if (!holds(seed + i)) {
            printf("VIOLATED: %s: repeat with --seed %" PRIu64 " --schedules 1\n", what, seed + i);
            return 1;
        }
    }
    printf("%" PRIu64 " schedules, %" PRIu64 " granted, %" PRIu64 " refused, %" PRIu64
           " counted beyond J, %" PRIu64 " held, %" PRIu64 " falls of J, %" PRIu64
           " deaths, %" PRIu64 " woven in, 0 violations\n",
           total.schedules, total.granted, total.refused, total.late, total.held, total.falls,
           total.deaths, total.woven);
    return 0;
}
