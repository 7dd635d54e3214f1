/*
 * prop_permit.c: random schedules of permits against a simulated exchange.
 *
 * Each schedule draws limits, routes, jitter, clock error, headroom; then permits of all classes, refunds late and early, samples that
 * shrink or widen the clock's error, steps of the server's clock. At the places that WEIR_WEAVE names, another thread's permit, a
 * sample or a re-alignment happens in the middle of a permit, and time goes on. Who is too late at a full limit takes its charge back: sliding:withdrawn.
 *
 * Oracle, in plain arithmetic, knowing the true offset that the code under test does not know:
 *   window    the server counts at most N units in each of its windows; each call arrives within J of its permit's clock read
 *             (answers that prove which window counted their call give the other one of a straddle back)
 *   bucket    a server's bucket of B units and r = N/W never overflows (the same as B + r*t over all intervals), also where it decays in steps
 *   sliding   the server counts at most N units in any interval of length W
 *   flight    the server has at most N units in flight; it may count a call for a while after its answer, and longer where its maker died
 *   sum       a word holds exactly the units that were granted and not given back (schedules without re-alignment)
 *   classes   where a lower class was granted, a critical call passes before and after (routes of windows with headroom)
 *   room      a sliding window in cells refuses only where fewer cells are old than the call takes and leaves free (until somebody sleeps for a window amid a call)
 *   earliest  before the instant that a refusal promises, the same call is refused, if nobody gave back in between
 *   audit     finds every word sound (after a re-alignment a late CAS may stand ahead; nobody is granted over it)
 *
 * prop_permit [--seed N] [--schedules N] [--seconds N] [--kind enum weir_limit_kind]
 */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "fixture.h"
#include "prop_instants.h"
#include "prop_judge.h"
#include "prop_shrink.h"
#include "weir_straddle.h"
#include "weir_weave.h"

#define CALLS_MAX 4096
#define STEPS_MAX 64
#define TURNS     500U
#define VIEWS     4

struct call {
    struct weir_permit permit;
    uint64_t arrives_ns;    /* weir time; 0 = was never sent */
    uint64_t left_ns;       /* when the exchange had finished with it; UINT64_MAX: not yet */
    struct weir_cost count; /* what the exchange counts for it */
    bool settled;           /* sent, or given back */
    bool ended;
    bool answered;
};

static struct {
    struct fixture f;
    struct weir_permit_view
        view[VIEWS]; /* one per thread: a permit in the middle of another is another's */
    uint64_t now_ns;
    uint64_t random;
    uint64_t seed;
    struct weir_server_clock clock; /* as published */
    int64_t truth_ns[STEPS_MAX];    /* true offsets, and since when */
    uint64_t since_ns[STEPS_MAX];
    uint32_t step_cnt;
    struct call call[CALLS_MAX];
    uint32_t call_cnt;
    uint32_t depth;   /* inside a hook */
    bool moving;      /* the worker is at it: it is one thread */
    bool moved;       /* the windows were re-aligned in this schedule */
    uint64_t turn_ns; /* when the turn began */
    uint64_t
        stall_ns; /* the longest that anybody stood still amid a permit or its end: stamps are out of order by so much */
    bool wakeful; /* nobody sleeps for long */
    bool slept;   /* ... a window or longer: that may hide room */
    uint64_t widest_ns;
    uint64_t rest_ns;   /* of units in flight */
    uint64_t orphan_ns; /* ... of the dead */
    uint32_t only_kind; /* --kind: 0 = all of them */
    bool headroom;
} s;

static struct {
    uint64_t schedules, granted, refused, contended, refunds, ended, deaths, straddles, proven,
        realigns, woven;
    double used, room;
} total;

/* A violation, and what it takes to show it. */
static struct {
    jmp_buf back;
    const char *what;
    const uint8_t *keep; /* steps to do; NULL: all */
    uint64_t from_ns;
    bool tell;
} found;

static uint64_t below(uint64_t n)
{
    return n == 0 ? 0 : fixture_random_below(&s.random, n);
}

static bool one_in(uint64_t n)
{
    return below(n) == 0;
}

static void violated(const char *what)
{
    found.what = what;
    longjmp(found.back, 1);
}

/* A line of the shrunk schedule. */
static void tell(const char *format, ...)
{
    va_list args;
    if (found.tell) {
        va_start(args, format);
        printf("  %9.3f ms  ", (double)(s.now_ns - found.from_ns) / 1e6);
        (void)vprintf(format, args);
        (void)putchar('\n');
        va_end(args);
    }
}

static int64_t truth_now(void)
{
    return s.truth_ns[s.step_cnt - 1];
}

static void time_pass(uint64_t ns)
{
    s.now_ns += ns;
    for (uint32_t i = 0; i < VIEWS; i++) {
        fixture_time_set(&s.view[i], s.now_ns);
    }
}

/* ------------------------------------------------------------------------------------------ the worker */

static struct weir_server_clock clock_draw(void)
{
    static const uint64_t percents[] = {0, 2, 5, 12, 30, 60, 150};
    struct weir_server_clock c = {
        .sampled_at_ns = s.now_ns, .jitter_ns = s.f.spec.jitter_ns, .state = WEIR_CLOCK_KNOWN};
    c.error_ns = s.widest_ns / 100 * percents[below(WEIR_ARRAY_CNT(percents))];
    c.drift_ppb = one_in(3) ? below(200 * 1000 * 1000) : 0;
    c.offset_ns = truth_now() + (int64_t)below(2 * c.error_ns + 1) - (int64_t)c.error_ns;
    if (one_in(6)) {
        c.state = WEIR_CLOCK_UNKNOWN;
        c.offset_ns = truth_now() + (int64_t)below(10 * WEIR_NS_PER_S) - 5000000000;
    }
    return c;
}

static void clock_move(const struct weir_server_clock *next)
{
    const struct weir_tables *t = &s.view[0].tables;
    struct weir_server_clock to = *next;
    bool any = false;
    if (s.moving) {
        return;
    }
    s.moving = true;
    for (uint32_t i = 0; i < t->limit_cnt; i++) {
        any |= weir_limit_realign_needed(&t->limit[i], &s.clock, &to, s.now_ns);
    }
    if (any) {
        struct weir_server_clock closed = s.clock;
        closed.state = WEIR_CLOCK_CLOSED;
        fixture_server_clock(&s.f, &closed);
        for (uint32_t i = 0; i < t->limit_cnt; i++) {
            weir_limit_realign(&t->limit[i], &s.f.memory->word[t->limit[i].word_first], &s.clock,
                               &to, s.now_ns);
        }
        s.moved = true;
        total.realigns++;
    }
    s.clock = to;
    fixture_server_clock(&s.f, &to);
    tell("clock: state %u, error %.3f ms, off by %.3f ms%s", (unsigned)to.state,
         (double)to.error_ns / 1e6, (double)(to.offset_ns - truth_now()) / 1e6,
         any ? ", re-aligned" : "");
    s.moving = false;
}

/* The server's clock jumps, and the worker learns it at once. */
static void server_step(void)
{
    if (s.step_cnt == STEPS_MAX) {
        return;
    }
    int64_t by = (int64_t)(2 * s.widest_ns + below(one_in(2) ? s.widest_ns : 12 * s.widest_ns));
    s.truth_ns[s.step_cnt] = truth_now() + (one_in(2) ? by : -by);
    s.since_ns[s.step_cnt++] = s.now_ns;
    struct weir_server_clock next = clock_draw();
    uint64_t both_ns = next.error_ns + weir_server_clock_error_ns(&s.clock, s.now_ns);
    if (next.state == WEIR_CLOCK_KNOWN && 2 * both_ns >= (uint64_t)by) {
        s.step_cnt--; /* nobody could tell such a step from a bad sample */
        return;
    }
    clock_move(&next);
}

static void audit(void)
{
    const struct weir_tables *t = &s.view[0].tables;
    for (uint32_t i = 0; i < t->limit_cnt; i++) {
        const struct weir_limit_place at = fixture_place(&s.f, &s.view[0], i, false);
        const struct weir_limit_place own = fixture_place(&s.f, &s.view[0], i, true);
        enum weir_limit_damage damage = weir_limit_audit(&at, &own, &s.clock, &s.view[0].time);
        /* A permit that stood before its CAS through a whole re-alignment may meet the value that it expected, and write its old window. */
        if (damage != WEIR_LIMIT_SOUND && !(s.moved && damage == WEIR_LIMIT_AHEAD)) {
            violated("the audit found damage where there was none");
        }
    }
}

/* ------------------------------------------------------------------------------------------ the traders */

static bool windows_only(uint32_t route)
{
    const struct weir_shm_route_row *r = &s.view[0].tables.route[route];
    for (uint32_t i = 0; i < r->limit_cnt; i++) {
        if (s.view[0].tables.limit[r->limit[i]].kind != WEIR_LIMIT_FIXED_WINDOW) {
            return false;
        }
    }
    return true;
}

static void earliest_check(struct weir_permit_view *view, uint32_t route, unsigned priority,
                           const struct weir_denial *d)
{
    if (d->reason != WEIR_REASON_LIMIT_FULL || s.clock.drift_ppb != 0 || s.depth != 0 ||
        (s.view[0].tables.limit[d->limit].form != WEIR_FORM_NONE &&
         s.view[0].tables.limit[d->limit].form != WEIR_FORM_CELLS)) {
        return; /* parts end together; whoever holds a unit lets it go when it likes */
    }
    if (d->earliest_ns <= s.now_ns) {
        violated("a refusal promises an instant that is over");
    }
    struct weir_permit p;
    uint64_t sure_ns = s.view[0].tables.limit[d->limit].form == WEIR_FORM_CELLS ? s.stall_ns : 0;
    if (sure_ns >= d->earliest_ns - s.now_ns) {
        return;
    }
    fixture_time_set(view, s.now_ns + below(d->earliest_ns - sure_ns - s.now_ns));
    int rc = weir_permit_look(view, route, 0, NULL, priority, &p);
    fixture_time_set(view, s.now_ns);
    if (rc == WEIR_OK) {
        violated("a refusal promised an instant that is too late");
    }
}

/* Whatever happened meanwhile: is it refused now, with nobody else about, and rightly? */
static void room_check(struct weir_permit_view *view, uint32_t route, unsigned priority)
{
    struct weir_permit p;
    s.depth += 8;
    int rc = weir_permit_look(view, route, 0, NULL, priority, &p);
    s.depth -= 8;
    if (rc != WEIR_DENIED || p.denial.reason != WEIR_REASON_LIMIT_FULL || s.slept) {
        return;
    }
    const struct weir_limit_place at = fixture_place(&s.f, view, p.denial.limit, false);
    const struct fixture_route *r = &s.f.spec.route[route];
    if (at.row->form != WEIR_FORM_CELLS) {
        return;
    }
    uint64_t room = 0;
    for (uint32_t i = 0; i < at.row->cell_cnt; i++) {
        const uint64_t at_ns = at.cell[i];
        room += at_ns == 0 || at_ns + at.row->span_ns <= s.now_ns;
    }
    uint64_t need = at.row->reserve_min[priority];
    for (uint32_t k = 0; k < r->limit_cnt; k++) {
        need += r->limit[k] == p.denial.limit ? r->cost[k] : 0;
    }
    if (room >= need) {
        violated("a sliding window refused a call that it has room for");
    }
}

static void take(struct weir_permit_view *view)
{
    struct weir_permit p = {
        .owner = 0}; /* a permit says whose it is only where that matters; owner_dies asks all */
    struct weir_permit look;
    uint32_t route = (uint32_t)below(s.f.spec.route_cnt);
    unsigned priority = (unsigned)below(WEIR_PRIORITY_CNT);
    bool alone = s.depth == 0 && s.headroom && priority > 0 && windows_only(route);
    int before = alone ? weir_permit_look(view, route, 0, NULL, 0, &look) : WEIR_OK;
    s.depth += alone ? 8 : 0; /* the class oracle wants nobody in between */
    int rc = weir_permit_take(view, route, 0, NULL, priority, &p);
    s.depth -= alone ? 8 : 0;
    if (rc == WEIR_DENIED) {
        total.refused++;
        room_check(view, route, priority);
        earliest_check(view, route, priority, &p.denial);
        return;
    }
    if (rc == WEIR_CONTENDED || rc == WEIR_E_COST) {
        total.contended += rc == WEIR_CONTENDED;
        return;
    }
    if (rc != WEIR_OK || s.call_cnt == CALLS_MAX) {
        violated("a permit ended with an error");
    }
    if (alone &&
        (before != WEIR_OK || weir_permit_look(view, route, 0, NULL, 0, &look) != WEIR_OK)) {
        violated("a lower class passed where a critical call does not");
    }
    tell("route %u class %u granted at %.3f ms, use by %.3f", route, priority,
         (double)(p.granted_at_ns - found.from_ns) / 1e6,
         (double)(p.use_by_ns - found.from_ns) / 1e6);
    struct call *c = &s.call[s.call_cnt++];
    *c = (struct call){.permit = p, .left_ns = UINT64_MAX};
    c->count.cnt = p.charge_cnt;
    for (uint32_t k = 0; k < p.charge_cnt; k++) {
        c->count.units[k] = p.charge[k].units;
    }
    if (!one_in(5) && s.now_ns <= p.use_by_ns) {
        uint64_t latest_ns = p.granted_at_ns + s.f.spec.jitter_ns;
        c->arrives_ns = one_in(3) ? latest_ns : s.now_ns + below(latest_ns - s.now_ns + 1);
        c->settled = true;
    }
    total.granted++;
    total.straddles += p.charge[0].windows == 2;
}

static void settle_one(struct weir_permit_view *view)
{
    for (uint32_t tries = 0; tries < 4 && s.call_cnt > 0; tries++) {
        uint32_t back = (uint32_t)below(weir_min_u64(s.call_cnt, one_in(3) ? 400 : 40));
        struct call *c = &s.call[s.call_cnt - 1 - back];
        if (!c->settled) {
            c->settled = true;
            if (weir_permit_give(view, &c->permit) != WEIR_OK ||
                weir_permit_give(view, &c->permit) != WEIR_E_SETTLED) {
                violated("a settle");
            }
            total.refunds++;
            tell("call %u given back", s.call_cnt - 1 - back);
            return;
        }
    }
}

/* An answer came. Some calls count for less than was reserved; units in flight are let go, while the exchange may still count them for a while. */
static void end_one(struct weir_permit_view *view)
{
    for (uint32_t tries = 0; tries < 4 && s.call_cnt > 0; tries++) {
        uint32_t back = (uint32_t)below(weir_min_u64(s.call_cnt, 60));
        struct call *c = &s.call[s.call_cnt - 1 - back];
        if (!c->settled || c->ended || c->arrives_ns == 0 || c->arrives_ns > s.now_ns) {
            continue;
        }
        c->ended = true;
        const uint64_t answered_ns =
            s.now_ns; /* time may pass in the end itself, where others are woven in */
        for (uint32_t k = 0; k < c->permit.charge_cnt; k++) {
            bool less = one_in(4) && c->permit.charge[k].kind != WEIR_LIMIT_CONCURRENCY;
            c->count.units[k] = less ? (uint32_t)below(c->count.units[k] + 1) : c->count.units[k];
        }
        if (weir_permit_end(view, &c->permit, &c->count) != WEIR_OK ||
            weir_permit_end(view, &c->permit, &c->count) != WEIR_E_SETTLED) {
            violated("an end");
        }
        c->left_ns = weir_min_u64(c->left_ns, answered_ns + below(s.rest_ns + 1));
        total.ended++;
        tell("call %u ended, counts %u of %u", s.call_cnt - 1 - back, c->count.units[0],
             c->permit.charge[0].units);
        return;
    }
}

static bool other_life(uint64_t cell, const void *arg)
{
    const struct weir_permit_view *dead = arg;
    return cell >> WEIR_OWNER_THREAD_SHIFT != dead->owner >> WEIR_OWNER_THREAD_SHIFT;
}

/*
 * The one behind `view` dies: the exchange ends its calls by and by, the reaper lets go its units, and somebody else begins in its place. What it settles afterwards (it
 * was only asleep) must not touch what others hold by now.
 */
static void owner_dies(struct weir_permit_view *view)
{
    const struct weir_tables *t = &s.view[0].tables;
    for (uint32_t i = 0; i < s.call_cnt; i++) {
        struct call *c = &s.call[i];
        if (c->permit.owner >> WEIR_OWNER_THREAD_SHIFT == view->owner >> WEIR_OWNER_THREAD_SHIFT) {
            c->left_ns = weir_min_u64(c->left_ns, s.now_ns + below(s.orphan_ns + 1));
        }
    }
    for (uint32_t i = 0; i < t->limit_cnt; i++) {
        if (t->limit[i].kind == WEIR_LIMIT_CONCURRENCY) {
            const struct weir_limit_place at = fixture_place(&s.f, &s.view[0], i, false);
            (void)weir_units_reap(at.row, at.cell, s.now_ns, other_life, view);
        }
    }
    view->owner += UINT64_C(1) << 32; /* another life */
    total.deaths++;
}

/* An answer is here: the call was counted between its permit and now. What that proves is given back, and the server judges at the end. */
static void answer_one(struct weir_permit_view *view)
{
    for (uint32_t tries = 0; tries < 4 && s.call_cnt > 0; tries++) {
        uint32_t back = (uint32_t)below(weir_min_u64(s.call_cnt, one_in(3) ? 400 : 20));
        struct call *c = &s.call[s.call_cnt - 1 - back];
        if (c->arrives_ns != 0 && c->arrives_ns <= s.now_ns && !c->answered && !c->ended) {
            const struct weir_straddle_span span = {
                .from_ns = c->arrives_ns - below(c->arrives_ns - c->permit.granted_at_ns + 1),
                .to_ns = c->arrives_ns + below(s.now_ns - c->arrives_ns + 1)};
            uint32_t given = weir_straddle_give(view, &c->permit, &span);
            if (given != 0 && weir_straddle_give(view, &c->permit, &span) != 0) {
                violated("a window was given back twice");
            }
            c->answered = true;
            total.proven += given != 0;
            return;
        }
    }
}

/* Time passes while somebody is amid a permit or its end: at the most since the turn began. */
static void stall(uint64_t ns)
{
    time_pass(ns);
    s.stall_ns = weir_max_u64(s.stall_ns, s.now_ns - s.turn_ns);
    for (uint32_t i = 0; i < s.f.spec.limit_cnt; i++) {
        s.slept |= s.now_ns - s.turn_ns >= s.f.spec.limit[i].window_ns;
    }
}

void weir_weave_hook(const char *name)
{
    if (s.depth > 2 || !prop_instant(name) || !one_in(6)) {
        return;
    }
    s.depth++;
    total.woven++;
    if (windows_only(0) && one_in(6)) {
        answer_one(&s.view[s.depth]);
    }
    if (one_in(4)) {
        stall(below(s.f.spec.jitter_ns / 4 + 1));
    } else if (!s.wakeful && one_in(40)) {
        stall(below(3 * s.widest_ns)); /* it slept */
    }
    if (one_in(10)) {
        struct weir_server_clock next = clock_draw();
        clock_move(&next);
    } else if (one_in(3)) {
        settle_one(&s.view[s.depth]);
    } else if (one_in(4)) {
        end_one(&s.view[s.depth]);
    } else {
        for (uint64_t n = one_in(4) ? below(5) : 1; n > 0 && s.call_cnt < CALLS_MAX - 8; n--) {
            take(&s.view[s.depth]);
        }
    }
    s.depth--;
}

/* ------------------------------------------------------------------------------------------ the oracle */

static uint32_t arrivals_of(uint32_t limit, struct arrival *out)
{
    uint32_t cnt = 0;
    uint64_t window_ns = s.f.spec.limit[limit].window_ns;
    for (uint32_t i = 0; i < s.call_cnt; i++) {
        const struct call *c = &s.call[i];
        for (uint32_t k = 0; c->arrives_ns != 0 && k < c->permit.charge_cnt; k++) {
            if (c->permit.charge[k].limit == limit) {
                uint32_t step = s.step_cnt - 1;
                while (step > 0 && s.since_ns[step] > c->arrives_ns) {
                    step--;
                }
                out[cnt].at_ns = c->arrives_ns;
                out[cnt].left_ns = c->left_ns;
                out[cnt].window =
                    (uint64_t)step << 48 | (c->arrives_ns + (uint64_t)s.truth_ns[step]) / window_ns;
                out[cnt++].units = c->count.units[k];
            }
        }
    }
    return cnt;
}

static bool server_agrees(const struct fixture_limit *l, struct arrival *a, uint32_t cnt)
{
    switch ((enum weir_limit_kind)l->kind) {
    case WEIR_LIMIT_FIXED_WINDOW:
        return judge_windows(a, cnt, l->quota);
    case WEIR_LIMIT_TOKEN_BUCKET:
        return judge_bucket(a, cnt, l->quota, l->window_ns, l->step_ns);
    case WEIR_LIMIT_SLIDING_WINDOW:
        return judge_sliding(a, cnt, l->quota, l->window_ns);
    case WEIR_LIMIT_CONCURRENCY:
        return judge_flight(a, cnt, l->quota);
    case WEIR_LIMIT_UNSET:
        break;
    }
    return false;
}

static void server_judges(uint32_t limit)
{
    static struct arrival a[CALLS_MAX * 2];
    static const char *const what[] = {
        "?", "the server's bucket overflowed", "the server counted more than N in one window",
        "the server counted more than N in some interval of one window's length",
        "the server had more than N in flight"};
    const struct fixture_limit *l = &s.f.spec.limit[limit];
    if (!server_agrees(l, a, arrivals_of(limit, a))) {
        violated(what[l->kind]);
    }
}

/* Each word holds what was granted in its window and not given back. */
static void sums_check(void)
{
    for (uint32_t l = 0; l < s.f.spec.limit_cnt && !s.moved; l++) {
        for (uint32_t w = 0; w < 2 && s.f.spec.limit[l].kind == WEIR_LIMIT_FIXED_WINDOW; w++) {
            uint64_t word = s.f.memory->word[l].word[w];
            uint64_t sum = 0;
            for (uint32_t i = 0; i < s.call_cnt; i++) {
                const struct weir_permit *p = &s.call[i].permit;
                for (uint32_t k = 0;
                     k < p->charge_cnt && (p->state == WEIR_PERMIT_GRANTED || s.call[i].ended);
                     k++) {
                    uint32_t first = p->charge[k].window;
                    uint32_t off = weir_window_id(word) - first;
                    sum += p->charge[k].limit == l && off < p->charge[k].windows
                               ? s.call[i].count.units[k]
                               : 0;
                }
            }
            if (sum != (uint32_t)word) {
                violated("a word is not the sum of its charges");
            }
        }
    }
}

/* ------------------------------------------------------------------------------------------ a schedule */

static void spec_draw(struct fixture_spec *spec)
{
    static const uint64_t widths[] = {50, 100, 500, 1000};
    static const uint32_t kinds[] = {WEIR_LIMIT_FIXED_WINDOW,   WEIR_LIMIT_FIXED_WINDOW,
                                     WEIR_LIMIT_TOKEN_BUCKET,   WEIR_LIMIT_SLIDING_WINDOW,
                                     WEIR_LIMIT_SLIDING_WINDOW, WEIR_LIMIT_CONCURRENCY};
    memset(spec, 0, sizeof *spec);
    spec->limit_cnt = 1 + (uint32_t)below(3);
    spec->route_cnt = 1 + (uint32_t)below(3);
    spec->jitter_ns = one_in(6) ? 0 : below(60 * WEIR_NS_PER_MS);
    spec->slack_ns = spec->jitter_ns / 2;
    s.rest_ns = one_in(4) ? 0 : below(40 * WEIR_NS_PER_MS);
    s.orphan_ns = s.rest_ns + (one_in(2) ? 0 : below(400 * WEIR_NS_PER_MS));
    s.widest_ns = 0;
    s.headroom = one_in(2);
    s.wakeful = one_in(2);
    for (uint32_t i = 0; i < spec->limit_cnt; i++) {
        struct fixture_limit *l = &spec->limit[i];
        l->kind = s.only_kind != 0 ? s.only_kind : kinds[below(WEIR_ARRAY_CNT(kinds))];
        l->form = one_in(2) ? WEIR_FORM_CELLS : WEIR_FORM_PARTS;
        l->rest_ns = s.rest_ns;
        l->orphan_ns = s.orphan_ns;
        l->quota = 8 + (uint32_t)below(one_in(3) ? 10 : 60);
        l->window_ns = widths[below(WEIR_ARRAY_CNT(widths))] * WEIR_NS_PER_MS + below(7);
        l->step_ns = one_in(3) ? below(l->window_ns / 8) : 0;
        l->dearest = 3;
        s.widest_ns = weir_max_u64(s.widest_ns, l->window_ns);
        for (uint32_t p = 0; p + 1 < WEIR_PRIORITY_CNT && s.headroom; p++) {
            l->headroom_ppm[p] = (uint32_t)below(150000);
        }
        l->headroom_ppm[0] += s.headroom;
    }
    for (uint32_t i = 0; i < spec->route_cnt; i++) {
        struct fixture_route *r = &spec->route[i];
        uint32_t from = (uint32_t)below(spec->limit_cnt);
        r->limit_cnt = 1 + (uint32_t)below(spec->limit_cnt);
        for (uint32_t k = 0; k < r->limit_cnt; k++) {
            r->limit[k] = (from + k) % spec->limit_cnt;
            r->cost[k] = 1 + (uint32_t)below(3);
        }
    }
}

static void utilisation_add(uint64_t from_ns)
{
    for (uint32_t l = 0; l < s.f.spec.limit_cnt && s.f.spec.limit_cnt == 1; l++) {
        for (uint32_t i = 0; i < s.call_cnt; i++) {
            total.used += s.call[i].arrives_ns != 0 ? s.call[i].permit.charge[0].units : 0;
        }
        total.room += (double)s.f.spec.limit[l].quota * (double)(s.now_ns - from_ns) /
                      (double)s.f.spec.limit[l].window_ns;
    }
}

/* One turn of a schedule. */
static void turn(bool calm, uint64_t pace_ns)
{
    if (one_in(3)) {
        time_pass(below(pace_ns));
    }
    s.turn_ns = s.now_ns;
    uint64_t what = below(100);
    if (what < 80) {
        take(&s.view[0]);
    } else if (what < 88) {
        settle_one(&s.view[0]);
    } else if (what < 95) {
        end_one(&s.view[0]);
    } else if (what < 96) {
        audit();
    } else if (what < 97) {
        owner_dies(&s.view[below(VIEWS)]);
    } else if (!calm || one_in(8)) {
        struct weir_server_clock next = clock_draw();
        clock_move(&next);
        if (!calm && one_in(3)) {
            server_step();
        }
    }
    if (windows_only(0) && one_in(6)) {
        answer_one(&s.view[0]);
    }
    if (one_in(16)) {
        sums_check();
    }
}

static void schedule(uint64_t seed)
{
    struct fixture_spec spec;
    uint32_t only_kind = s.only_kind;
    memset(&s, 0, offsetof(__typeof__(s), call));
    s.only_kind = only_kind;
    s.seed = seed;
    s.random = seed;
    s.call_cnt = 0;
    s.depth = 8; /* nobody is there yet */
    s.moving = false;
    s.moved = false;
    s.slept = false;
    s.stall_ns = 0;
    spec_draw(&spec);
    fixture_open(&s.f, &spec);
    s.now_ns = UINT64_C(1000000000000) + below(WEIR_NS_PER_S);
    uint64_t from_ns = s.now_ns;
    for (uint32_t i = 0; i < VIEWS; i++) {
        fixture_view(&s.f, &s.view[i], s.now_ns);
        s.view[i].owner |= (uint64_t)i << WEIR_OWNER_THREAD_SHIFT;
    }
    s.truth_ns[0] = (int64_t)(UINT64_C(1700000000000000000) + below(UINT64_C(1) << 58));
    s.step_cnt = 1;
    s.clock = clock_draw();
    fixture_server_clock(&s.f, &s.clock);
    bool calm = one_in(2); /* no steps and few samples */
    uint64_t pace_ns = weir_max_u64(s.widest_ns / (4 + below(60)), 1);
    found.from_ns = s.now_ns;
    s.depth = 0;
    for (uint32_t i = 0; i < TURNS && s.call_cnt < CALLS_MAX - 16; i++) {
        s.random =
            seed + i * UINT64_C(0xd1342543de82ef95); /* of its own: the others can be left out */
        (void)fixture_random(&s.random);
        if (found.keep == NULL || found.keep[i] != 0) {
            turn(calm, pace_ns);
        }
    }
    for (uint32_t l = 0; l < spec.limit_cnt; l++) {
        server_judges(l);
    }
    utilisation_add(from_ns);
    fixture_close(&s.f);
    total.schedules++;
}

/* Does the schedule fail, with these turns of it? */
static bool fails(const uint8_t *keep)
{
    uint64_t seed = s.seed;
    found.keep = keep;
    if (setjmp(found.back) != 0) {
        fixture_close(&s.f);
        return true;
    }
    schedule(seed);
    return false;
}

static int shrink_and_tell(uint64_t seed)
{
    static uint8_t keep[TURNS];
    memset(keep, 1, sizeof keep);
    s.seed = seed;
    uint32_t left = prop_shrink(keep, TURNS, fails);
    printf("the fewest turns that show it, %u of %u:\n", left, TURNS);
    found.tell = true;
    s.seed = seed;
    bool again = fails(keep);
    printf("VIOLATED: %s: repeat with --seed %" PRIu64 " --schedules 1%s\n", found.what, seed,
           again ? "" : " (not by the shrunk schedule)");
    return 1;
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
        s.only_kind = strcmp(argv[i], "--kind") == 0 ? (uint32_t)v : s.only_kind;
    }
    printf("seed %" PRIu64 "\n", seed);
    (void)fflush(stdout);
    uint64_t until_ns = weir_clock_monotonic_ns() + seconds * WEIR_NS_PER_S;
    for (uint64_t i = 0; i < schedules && weir_clock_monotonic_ns() < until_ns; i++) {
        s.seed = seed + i;
        if (fails(NULL)) {
            return shrink_and_tell(seed + i);
        }
    }
    printf("%" PRIu64 " schedules, %" PRIu64 " granted (%" PRIu64 " straddled, %" PRIu64
           " proven), %" PRIu64 " refused, %" PRIu64 " contended, %" PRIu64 " given back, %" PRIu64
           " ended, %" PRIu64 " deaths, %" PRIu64 " re-alignments, %" PRIu64
           " woven in, 0 violations\n",
           total.schedules, total.granted, total.straddles, total.proven, total.refused,
           total.contended, total.refunds, total.ended, total.deaths, total.realigns, total.woven);
    printf("utilisation of single limits at this load: %.1f %%\n",
           total.room > 0 ? 100.0 * total.used / total.room : 0.0);
    return 0;
}
