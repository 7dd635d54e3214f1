/*
 * test_rolling.c: what others use of a limit whose count falls all the time, from replies that come late, out of order, or not at all.
 *
 * Property: random schedules of brokered calls, traders' permits and foreign calls against four servers: a rolling window, windows that begin with
 * their first call, a bucket that is filled lazily, a counter that decays in steps. Each brokered call's reply bears the count after it, and is delivered after a random time;
 * some are lost; some permits are never used and never given back. Permits are granted as the permit path does: ours + published + cost <= N.
 *
 * Oracle, counting what really happened, which the code under test does not know:
 *   phantom   while nobody else calls, nothing is ever published
 *   proven    is never more than what others had in the server's count
 *   safe      after each grant while others are proven: of what the newest delivered reply counted, and all of ours that was or will be counted after it, the
 *             server's rule never sees more than N
 *   over      when nobody has called for a window (bucket: until it has drained), nothing is published
 * The seed is printed; WEIR_TEST_SEED sets it.
 *
 * Mutations of rolling.c that it was seen to catch: only what is proven is published; no J before a; answers that came after the call was sent are over; late replies kept;
 * a bucket's report without (t1 - a)/T; idle time that was busy, or is not taken off reports; every answered call stays taken off where the window rolls. Not caught by chance, it is too rare: a bucket's refunds ignored.
 */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "broker/rolling.h"

#define MS    WEIR_NS_PER_MS
#define W     (1000 * MS)
#define J     (60 * MS)
#define S     (W + J)
#define AHEAD (12 * MS)
#define T0    (100000 * MS)
#define TURNS 12000U /* of 1 ms */
#define CALLS 4000U

static uint64_t random_state;

static uint64_t below(uint64_t n)
{
    random_state += UINT64_C(0x9e3779b97f4a7c15); /* splitmix64 */
    uint64_t z = random_state;
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return n == 0 ? 0 : (z ^ (z >> 31)) % n;
}

/* ---------------------------------------------------------------------------------------------- by hand */

/* Ours: units at instants. */
struct log {
    uint32_t cnt;
    struct {
        uint64_t at_ns;
        uint32_t units;
    } entry[32];
};

static uint64_t log_stamped(const void *arg, uint64_t from_ns, uint64_t to_ns)
{
    const struct log *l = arg;
    uint64_t units = 0;
    for (uint32_t i = 0; i < l->cnt; i++) {
        bool in = l->entry[i].at_ns >= from_ns && l->entry[i].at_ns < to_ns;
        units += in ? l->entry[i].units : 0;
    }
    return units;
}

static void log_add(struct log *l, uint64_t at_ns, uint32_t units)
{
    l->entry[l->cnt].at_ns = at_ns;
    l->entry[l->cnt++].units = units;
}

static struct rolling sliding_of(uint32_t quota, bool expect)
{
    struct rolling r;
    rolling_init(
        &r, &(struct rolling_rule){.quota = quota, .window_ns = W, .span_ns = S, .expect = expect});
    return r;
}

static uint32_t shown(struct rolling *r, const struct log *l, uint64_t at_ns)
{
    return rolling_foreign(r, at_ns, 0, log_stamped, l).units;
}

static bool told(struct rolling *r, uint64_t sent_ns, uint64_t seen_ns, uint32_t used,
                 uint64_t most)
{
    return rolling_report(
        r,
        &(struct rolling_report){
            .sent_ns = sent_ns, .seen_ns = seen_ns, .jitter_ns = J, .used = used, .most = most},
        seen_ns);
}

static void test_alone_nothing_is_foreign(void **state)
{
    (void)state;
    struct rolling r = sliding_of(100, false);
    struct log l = {0};
    for (uint32_t i = 0; i < 5; i++) {
        log_add(&l, T0 + i * MS, 5);
    }
    for (uint32_t i = 5; i >= 1; i--) { /* in reverse, all in flight at once */
        assert_true(told(&r, T0 + i * MS, T0 + 40 * MS, 5 * i, 25));
        assert_int_equal(shown(&r, &l, T0 + 40 * MS), 0);
    }
}

static void test_others_are_seen_and_age_out(void **state)
{
    (void)state;
    struct rolling r = sliding_of(100, false);
    struct log l = {0};
    log_add(&l, T0 - 200 * MS, 10);
    assert_true(told(&r, T0, T0 + 5 * MS, 35, 10));
    assert_int_equal(shown(&r, &l, T0 + 5 * MS), 25);
    /* The 10 leave our span, and nobody knows whether the server counts windows that roll. */
    assert_int_equal(shown(&r, &l, T0 - 200 * MS + S), 25);
    assert_int_equal(shown(&r, &l, T0 - 200 * MS + S + 1), 35);
    assert_int_equal(shown(&r, &l, T0 + 5 * MS + W - 1), 35);
    assert_int_equal(shown(&r, &l, T0 + 5 * MS + W), 0); /* a window later: over */
}

static void test_in_flight_is_ours(void **state)
{
    (void)state;
    struct rolling r = sliding_of(100, false);
    struct log l = {0};
    log_add(&l, T0 - 200 * MS, 10);
    log_add(&l, T0 - 10 * MS, 7);
    /* The 7 may be counted after it, or be in it: not proven, but possible. */
    assert_true(told(&r, T0, T0 + 5 * MS, 35, 17));
    assert_int_equal(r.point[0].proven, 18);
    assert_int_equal(shown(&r, &l, T0 + 5 * MS), 25);
    rolling_answered(&r, T0 - 10 * MS, T0 - 5 * MS, T0 + 6 * MS, 7);
    assert_true(told(&r, T0 + 10 * MS, T0 + 15 * MS, 35, 17));
    assert_int_equal(shown(&r, &l, T0 + 15 * MS), 18); /* they were answered before it was sent */
}

static void test_late_and_reordered(void **state)
{
    (void)state;
    struct rolling r = sliding_of(100, false);
    const struct log l = {0};
    assert_true(told(&r, T0 + 50 * MS, T0 + 60 * MS, 30, 0));
    assert_false(told(&r, T0, T0 + 50 * MS, 90, 0)); /* counted before the other was sent */
    assert_int_equal(shown(&r, &l, T0 + 60 * MS), 30);
    assert_true(told(&r, T0, T0 + 70 * MS, 40, 0)); /* nobody can tell: the larger one */
    assert_int_equal(shown(&r, &l, T0 + 70 * MS), 40);
    assert_true(told(&r, T0 + 55 * MS, T0 + 71 * MS, 10, 0));
    assert_int_equal(shown(&r, &l, T0 + 71 * MS), 40);
    assert_true(told(&r, T0 + 80 * MS, T0 + 90 * MS, 12, 0)); /* it has seen all of them */
    assert_int_equal(shown(&r, &l, T0 + 90 * MS), 12);
    assert_false(told(&r, T0 + 95 * MS, T0 + 94 * MS, 90, 0)); /* no such span */
    for (uint32_t i = 0; i < 40; i++) {                        /* more than are kept apart */
        assert_true(told(&r, T0 + 91 * MS, T0 + (100 + i) * MS, i, 0));
    }
    assert_int_equal(shown(&r, &l, T0 + 140 * MS), 39);
}

/* 2^32 - 1 of a quota of 100; what is not known; instants near 0 and near the end. */
static void test_extremes(void **state)
{
    (void)state;
    struct rolling r = sliding_of(100, true);
    const struct log l = {0};
    assert_true(told(&r, 0, 0, UINT32_MAX, 0));
    assert_int_equal(shown(&r, &l, 1), 100);
    assert_true(told(&r, T0, T0 + 1, UINT32_MAX, UINT64_MAX));
    assert_int_equal(shown(&r, &l, T0 + 1), 0); /* proves nothing; the other one is over */
    struct rolling b;
    rolling_init(&b, &(struct rolling_rule){.quota = UINT32_MAX / 2, .unit_ns = 1, .window_ns = 1});
    assert_true(told(&b, T0, T0 + 1, UINT32_MAX, 0));
    assert_true(shown(&b, &l, T0 + 1) <= UINT32_MAX / 2);
    assert_true(told(&r, UINT64_MAX - 5 * W, UINT64_MAX - 5 * W, 7, 0));
    assert_int_equal(shown(&r, &l, UINT64_MAX - 5 * W), 7);
}

/* "0 left" is said of more than there is, too: it drops no number, and is dropped by the next one. */
static void test_none_left(void **state)
{
    (void)state;
    for (unsigned bucket = 0; bucket < 2; bucket++) {
        struct rolling r = sliding_of(20, false);
        struct log l = {0};
        if (bucket) {
            rolling_init(&r, &(struct rolling_rule){
                                 .quota = 20, .unit_ns = 100 * MS, .window_ns = 20 * 100 * MS});
        }
        assert_true(told(&r, T0, T0 + MS, 11, 0)); /* 11 are others' */
        uint32_t others = shown(&r, &l, T0 + MS);
        assert_true(others >= 11);
        /* Ours and theirs are 23 of 20 when we are told that none is left; 12 of them are ours, and answered. */
        log_add(&l, T0 + 2 * MS, 12);
        rolling_answered(&r, T0 + 2 * MS, T0 + 2 * MS, T0 + 3 * MS, 12);
        struct rolling_report q = {.sent_ns = T0 + 4 * MS,
                                   .seen_ns = T0 + 5 * MS,
                                   .jitter_ns = J,
                                   .used = 20,
                                   .most = 12,
                                   .least = true};
        assert_true(rolling_report(&r, &q, q.seen_ns));
        assert_true(shown(&r, &l, q.seen_ns) >= others);
        /* A number that was counted before, and comes later, is heard as well. */
        assert_true(told(&r, T0 + 2 * MS, T0 + 3 * MS, 15, 12));
        assert_true(shown(&r, &l, q.seen_ns) >= 15);
        q.sent_ns += 2 * MS; /* of two of them the later one stands */
        q.seen_ns += 2 * MS;
        assert_true(rolling_report(&r, &q, q.seen_ns));
        assert_true(told(&r, T0 + 8 * MS, T0 + 9 * MS, 14, 12)); /* it has seen all of them */
        assert_true(shown(&r, &l, T0 + 9 * MS) <= 3);
        for (uint32_t i = 0; i < 40; i++) { /* no room is made for it by what was told */
            assert_true(told(&r, T0 + 10 * MS, T0 + (20 + i) * MS, 16, 12));
            q.sent_ns = T0 + 10 * MS;
            q.seen_ns = T0 + (20 + i) * MS;
            assert_true(rolling_report(&r, &q, q.seen_ns));
        }
        assert_true(shown(&r, &l, T0 + 60 * MS) >= 4);
    }
}

static void test_restored(void **state)
{
    (void)state;
    struct rolling r = sliding_of(100, false);
    const struct log l = {0};
    rolling_restore(&r, T0, T0, 25);
    assert_int_equal(shown(&r, &l, T0), 0); /* over */
    rolling_restore(&r, T0, T0 + 500 * MS, 25);
    assert_int_equal(shown(&r, &l, T0 + 499 * MS), 25);
    assert_int_equal(shown(&r, &l, T0 + 500 * MS), 0);
    /* Others are proven from then on: what may be theirs counts, though all of it may be ours in flight. */
    assert_true(told(&r, T0 + 501 * MS, T0 + 502 * MS, 15, 15));
    assert_int_equal(shown(&r, &l, T0 + 502 * MS), 15);
}

static void test_expectation(void **state)
{
    (void)state;
    struct rolling r = sliding_of(100, true);
    const struct log l = {0};
    assert_true(told(&r, T0, T0 + MS, 40, 0));
    assert_int_equal(shown(&r, &l, T0 + MS), 40);
    assert_true(told(&r, T0 + 100 * MS, T0 + 101 * MS, 3, 0));
    assert_int_equal(shown(&r, &l, T0 + 101 * MS), 40); /* the most of the last windows */
    assert_int_equal(shown(&r, &l, T0 + 3 * W), 40);
    assert_int_equal(shown(&r, &l, T0 + 4 * W), 0);
}

static void test_claims(void **state)
{
    (void)state;
    struct rolling r = sliding_of(100, false);
    const struct log l = {0};
    struct rolling_report q = {
        .sent_ns = T0, .seen_ns = T0 + MS, .jitter_ns = J, .used = 50, .claim = true};
    assert_true(rolling_report(&r, &q, T0 + MS));
    struct rolling_foreign f = rolling_foreign(&r, T0 + MS, 0, log_stamped, &l);
    assert_int_equal(f.units, 50);
    assert_int_equal(f.claimed, 50);
    assert_true(told(&r, T0 + 2 * MS, T0 + 3 * MS, 30, 0)); /* our own, and newer: it stands */
    f = rolling_foreign(&r, T0 + 3 * MS, 0, log_stamped, &l);
    assert_int_equal(f.units, 30);
    assert_int_equal(f.claimed, 0);
    q.sent_ns = T0 + 4 * MS;
    q.seen_ns = T0 + 5 * MS;
    q.used = 1; /* lowers nothing */
    assert_true(rolling_report(&r, &q, q.seen_ns));
    assert_int_equal(shown(&r, &l, q.seen_ns), 30);
    q.sent_ns = T0;
    q.seen_ns = T0 + MS;
    q.used = 90; /* late */
    assert_false(rolling_report(&r, &q, q.seen_ns));
    q.sent_ns = T0 + 6 * MS;
    q.seen_ns = T0 + 7 * MS;
    q.used = UINT32_MAX;
    assert_true(rolling_report(&r, &q, q.seen_ns));
    assert_int_equal(shown(&r, &l, q.seen_ns), 100);
    /* A long window: a claim is over after a minute all the same. */
    struct rolling day;
    rolling_init(&day, &(struct rolling_rule){
                           .quota = 100, .window_ns = 86400 * W, .span_ns = 86400 * W + J});
    assert_true(rolling_report(&day, &q, q.seen_ns));
    assert_int_equal(shown(&day, &l, q.seen_ns + ROLLING_CLAIM_NS - 1), 100);
    assert_int_equal(shown(&day, &l, q.seen_ns + ROLLING_CLAIM_NS), 0);
}

/* A bucket of 30 that refills 10 a second. */
static void test_bucket(void **state)
{
    (void)state;
    struct rolling r;
    const struct log l = {0};
    rolling_init(&r,
                 &(struct rolling_rule){.quota = 30, .unit_ns = 100 * MS, .window_ns = 3000 * MS});
    for (uint64_t t = T0; t <= T0 + 200 * MS; t += 10 * MS) { /* 10 of ours all the time */
        rolling_look(&r, t, t + 1000 * MS, 0, 2 * J + 100 * MS);
    }
    uint64_t t = T0 + 200 * MS;
    assert_true(told(&r, t - 5 * MS, t, 11, 0));
    assert_int_equal(shown(&r, &l, t), 0); /* one may be ours */
    assert_true(told(&r, t - 4 * MS, t, 25, 0));
    assert_int_equal(r.point[1].proven / MS, 2400 - 1064);
    assert_int_equal(shown(&r, &l, t), 16);                          /* 15 and J */
    rolling_look(&r, t + 10 * MS, t + 10 * MS, 0, 2 * J + 100 * MS); /* ours was given back */
    assert_int_equal(shown(&r, &l, t + 10 * MS), 16);
    rolling_look(&r, t + 510 * MS, t + 10 * MS, 0, 2 * J + 100 * MS); /* idle for half a second */
    assert_int_equal(shown(&r, &l, t + 510 * MS), 11);
    rolling_look(&r, t + 3510 * MS, t + 10 * MS, 0, 2 * J + 100 * MS);
    assert_int_equal(shown(&r, &l, t + 3510 * MS), 0);
}

/*
 * A bucket of 50 that refills 50 a second, others proven, and then nobody but one call of ours now and then, whose exchange has answered late before: J is long. The call's own reply must not
 * look like others' use of all that an idle bucket refills in J and a round trip: kept free for windows to come, it closed the bucket, and each next call said so again.
 */
static void test_lone_calls_stay_ours(void **state)
{
    (void)state;
    const uint64_t unit = 20 * MS, jitter = 1000 * MS;
    struct rolling r;
    const struct log l = {0};
    rolling_init(&r, &(struct rolling_rule){
                         .quota = 50, .unit_ns = unit, .window_ns = 50 * unit, .expect = true});
    uint64_t now = T0, tat = T0;
    struct rolling_report q = {.jitter_ns = jitter};
    rolling_look(&r, now, tat, 0, 2 * jitter);
    q.sent_ns = now;
    q.seen_ns = now + MS;
    q.used = 60; /* they have overdrawn it */
    assert_true(rolling_report(&r, &q, q.seen_ns));
    assert_true(rolling_shared(&r, q.seen_ns));
    for (uint32_t i = 1; i < 1000; i++) {
        now += 10 * MS;
        rolling_look(&r, now, tat, 0, 2 * jitter);
        uint32_t units = shown(&r, &l, now);
        assert_true(i < 700 ||
                    units <= 3); /* windows later nothing but the last call is in doubt */
        if (i >= 400 && i % 50 == 0) {
            tat = now + unit;
            q = (struct rolling_report){.sent_ns = now + MS,
                                        .seen_ns = now + 8 * MS,
                                        .jitter_ns = jitter,
                                        .used = 1,
                                        .units = 1,
                                        .stamp_ns = now};
            rolling_look(&r, q.seen_ns, tat, 0, 2 * jitter);
            assert_true(rolling_report(&r, &q, q.seen_ns));
            rolling_answered(&r, now, q.sent_ns, q.seen_ns, 1);
            assert_true(rolling_shared(&r, now));
        }
    }
}

/* Traders come and are gone again between two looks: of that time the bucket stood empty only as long as TAT tells. */
static void test_between_looks(void **state)
{
    (void)state;
    struct rolling r;
    const struct log l = {0};
    rolling_init(&r, &(struct rolling_rule){.quota = 50, .unit_ns = MS, .window_ns = 50 * MS});
    rolling_look(&r, T0, 0, 0, 100 * MS);
    const struct rolling_report q = {.sent_ns = T0, .seen_ns = T0, .used = 40};
    assert_true(rolling_report(&r, &q, T0));
    uint32_t others = shown(&r, &l, T0);
    assert_int_equal(others, 40);
    for (uint64_t t = T0 + 10 * MS; t <= T0 + 40 * MS; t += 10 * MS) {
        rolling_look(&r, t, t - 2 * MS, 0, 100 * MS); /* five units each time, by 2 ms ago */
        others -= 2;
        assert_int_equal(shown(&r, &l, t), others);
    }
    rolling_look(&r, T0 + 50 * MS, T0 + 38 * MS, 0, 100 * MS); /* nobody */
    assert_int_equal(shown(&r, &l, T0 + 50 * MS), others - 10);
}

/* ---------------------------------------------------------------------------------------------- by chance */

enum who { BROKERED, TRADER, OTHERS };
enum server { ROLLS, FROM_FIRST, LAZY, STEPS, SERVERS };

struct call {
    enum who who;
    uint32_t units;
    uint64_t granted, sent, counted, seen; /* 0: never */
    uint64_t given;
    uint32_t used;   /* the count after it */
    uint32_t others; /* in it */
    bool in_count, replied;
};

static struct {
    uint64_t seed;
    enum server server;
    uint32_t quota;
    uint64_t unit_ns, step_ns, part_ns;
    bool alone;
    bool bursts; /* for two thirds of the time hardly anybody asks */
    struct rolling r;
    struct rolling_foreign word;
    uint64_t tat, given, window_began;
    double level; /* bucket: the server's */
    uint64_t level_at;
    const struct call *newest; /* of the delivered replies, by when they were counted */
    struct call call[CALLS];
    uint32_t call_cnt;
    uint64_t granted, reports, seen, checked, refused;
} s;

static void violated(const char *what, uint64_t now)
{
    fail_msg("%s at %" PRIu64 " ms: server %d, WEIR_TEST_SEED=%" PRIu64, what, (now - T0) / MS,
             (int)s.server, s.seed);
}

static bool is_bucket(void)
{
    return s.server == LAZY || s.server == STEPS;
}

static bool stamped_in(const struct call *c, uint64_t from, uint64_t to, bool at_most)
{
    uint64_t begin = s.part_ns != 0 ? c->granted - c->granted % s.part_ns : c->granted;
    uint64_t end = s.part_ns != 0 ? begin + s.part_ns : begin + 1;
    return at_most ? end > from && begin < to : begin >= from && end <= to;
}

static uint64_t ours(uint64_t from, uint64_t to, bool at_most)
{
    uint64_t units = 0;
    for (uint32_t i = 0; i < s.call_cnt; i++) {
        const struct call *c = &s.call[i];
        bool counts = c->who != OTHERS && c->given == 0 && stamped_in(c, from, to, at_most);
        units += counts ? c->units : 0;
    }
    return units;
}

static uint64_t ours_stamped(const void *arg, uint64_t from, uint64_t to)
{
    (void)arg;
    return ours(from, to, false);
}

/* How far a level has fallen by `now`. */
static double fallen(double level, uint64_t from, uint64_t now)
{
    double by = s.server == STEPS ? (double)(now / s.step_ns - from / s.step_ns) * (double)s.step_ns
                                  : (double)(now - from);
    by /= (double)s.unit_ns;
    return level > by ? level - by : 0;
}

/* What the server's rule counts at `at`, of calls of ours that exist now and of others' up to `others_until`; `*others`: of them. */
static uint32_t count_at(uint64_t at, uint64_t others_until, uint32_t *others)
{
    uint32_t all = 0;
    *others = 0;
    for (uint32_t i = 0; i < s.call_cnt; i++) {
        const struct call *c = &s.call[i];
        uint64_t from = s.server == FROM_FIRST ? s.window_began : at > W ? at - W + 1 : 0;
        if (c->counted != 0 && c->counted <= at && c->counted >= from &&
            (c->who != OTHERS || c->counted <= others_until)) {
            all += c->units;
            *others += c->who == OTHERS ? c->units : 0;
        }
    }
    return all;
}

/* Windows: whatever the newest reply counted, and all of ours that is to come. */
static void safe_window(uint64_t now)
{
    uint64_t began = s.window_began;
    for (uint32_t i = 0; i < s.call_cnt; i++) {
        const struct call *c = &s.call[i];
        uint32_t others;
        if (c->who == OTHERS || c->counted < now) {
            continue;
        }
        if (s.server == FROM_FIRST && c->counted >= began + W) {
            continue; /* begins anew: the others' are forgotten there */
        }
        if (count_at(c->counted, s.newest->counted, &others) > s.quota) {
            violated("what was told and what is to come exceed the quota", now);
        }
        s.checked++;
    }
}

/* Buckets: from the newest reply's level on, with all of ours that is counted after it. */
static void safe_bucket(uint64_t now)
{
    double level = (double)s.newest->used;
    uint64_t at = s.newest->counted;
    for (uint64_t t = at + MS; t <= now + J; t += MS) {
        for (uint32_t i = 0; i < s.call_cnt; i++) {
            const struct call *c = &s.call[i];
            if (c->who != OTHERS && c->counted == t) {
                level = fallen(level, at, t) + c->units;
                at = t;
            }
        }
        if (t >= now && at == t && level > (double)s.quota + 1e-6) {
            violated("what was told and what is to come exceed the bucket", now);
        }
    }
    s.checked++;
}

static void publish(uint64_t now)
{
    s.word = rolling_foreign(&s.r, now, AHEAD, ours_stamped, NULL);
    if (s.alone && s.word.units != 0) {
        violated("foreign usage where nobody else calls", now);
    }
}

static void look(uint64_t now)
{
    if (is_bucket()) {
        rolling_look(&s.r, now, s.tat, s.given, 2 * J + 100 * MS);
    }
}

static bool fits(uint32_t units, uint64_t now)
{
    uint32_t others = s.word.until_ns > now ? s.word.units : 0;
    if (is_bucket()) {
        /* J is not kept: nothing of the theorem rests on it */
        uint64_t kept = s.step_ns + others * s.unit_ns;
        uint64_t after = (s.tat > now ? s.tat : now) + units * s.unit_ns;
        return after - now + kept <= s.quota * s.unit_ns;
    }
    return ours(now - S + 1, UINT64_MAX, true) + others + units <= s.quota;
}

static void grant(enum who who, uint64_t now)
{
    uint32_t units = 1 + (uint32_t)below(4);
    if (s.call_cnt == CALLS) {
        return;
    }
    if (!fits(units, now)) {
        s.refused++;
        return;
    }
    struct call *c = &s.call[s.call_cnt++];
    *c = (struct call){.who = who, .units = units, .granted = now};
    if (is_bucket()) {
        s.tat = (s.tat > now ? s.tat : now) + units * s.unit_ns;
    }
    if (below(15) != 0) { /* else it is never used */
        c->sent = now + below(J / MS / 2) * MS;
        c->counted = c->sent + (1 + below(J / MS / 2)) * MS;
        bool lost = below(30) == 0;
        c->seen = lost ? 0 : c->counted + (1 + below(below(10) == 0 ? 2000 : 40)) * MS;
    }
    s.granted++;
    if (s.r.shared_until_ns > now && s.newest != NULL) {
        if (is_bucket()) {
            safe_bucket(now);
        } else if (s.word.until_ns > now) {
            safe_window(now);
        }
    }
}

/* The exchange counts what arrives now. */
static void count_now(uint64_t now)
{
    for (uint32_t i = 0; i < s.call_cnt; i++) {
        struct call *c = &s.call[i];
        if (c->counted != now || c->in_count) {
            continue;
        }
        c->in_count = true;
        if (is_bucket()) {
            s.level = fallen(s.level, s.level_at, now);
            s.level_at = now;
            s.level +=
                s.level + c->units <= s.quota ? c->units : 0; /* what is refused does not count */
            c->used = (uint32_t)s.level + (s.level > (uint32_t)s.level);
        } else {
            if (now >= s.window_began + W) {
                s.window_began = now;
            }
            c->used = count_at(now, now, &c->others);
        }
    }
}

static void reply_take(struct call *c, uint64_t now)
{
    c->replied = true;
    look(now);
    struct rolling_report q = {.sent_ns = c->sent,
                               .seen_ns = now,
                               .jitter_ns = J,
                               .used = c->used,
                               .units = c->units,
                               .stamp_ns = c->granted,
                               .most = ours(c->sent - S, UINT64_MAX, true)};
    bool taken = rolling_report(&s.r, &q, now);
    rolling_answered(&s.r, c->granted, c->sent, now, c->units);
    if (!taken) {
        return;
    }
    s.reports++;
    if (s.newest == NULL || c->counted > s.newest->counted) {
        s.newest = c;
    }
    for (uint32_t i = 0; i < ROLLING_POINTS && !is_bucket(); i++) {
        const struct rolling_point *p = &s.r.point[i];
        bool apart = p->seen_ns == now && p->sent_ns == c->sent && p->used == c->used;
        if (p->until_ns > now && apart && p->proven == q.used - q.most && p->proven > c->others) {
            violated("others are said to have used more than they did", now);
        }
        s.seen += p->until_ns > now ? p->proven : 0;
    }
    publish(now);
}

static void give(struct call *c, uint64_t now)
{
    c->given = now;
    if (is_bucket()) {
        uint64_t back = c->units * s.unit_ns;
        uint64_t gone = now - c->granted;
        s.given += back > gone ? back - gone : 0;
        s.tat -= back > gone ? back - gone : 0;
    }
}

static void step(uint64_t now, uint64_t pace, bool others)
{
    count_now(now);
    for (uint32_t i = 0; i < s.call_cnt; i++) {
        struct call *c = &s.call[i];
        if (c->who == BROKERED && c->seen == now && !c->replied) {
            reply_take(c, now);
        }
        /* Never sent: given back before its use-by. */
        if (c->sent == 0 && c->who != OTHERS && c->given == 0 && now == c->granted + J / 2 &&
            below(2) == 0) {
            give(c, now);
        }
    }
    if (now % (10 * MS) == 0) {
        look(now);
        publish(now);
    }
    bool quiet = s.bursts && now / (200 * MS) % 3 != 0;
    if (below(quiet ? 20 * pace : pace) == 0) {
        grant(below(3) == 0 ? TRADER : BROKERED, now);
    }
    if (others && below(3 * pace) == 0 && s.call_cnt < CALLS) {
        s.call[s.call_cnt++] =
            (struct call){.who = OTHERS, .units = 1 + (uint32_t)below(5), .counted = now + MS};
    }
}

static void schedule(uint64_t seed)
{
    uint64_t granted = s.granted, reports = s.reports, seen = s.seen, checked = s.checked;
    uint64_t refused = s.refused;
    memset(&s, 0, offsetof(__typeof__(s), call));
    s.call_cnt = 0;
    s.granted = granted;
    s.reports = reports;
    s.seen = seen;
    s.checked = checked;
    s.refused = refused;
    s.seed = seed;
    random_state = seed;
    s.server = (enum server)below(SERVERS);
    s.alone = below(4) == 0;
    s.bursts = below(2) == 0;
    s.quota = 20 + (uint32_t)below(120);
    s.unit_ns = is_bucket() ? 5 * MS + below(60) * MS : 0;
    s.step_ns = s.server == STEPS ? 50 * MS : 0;
    s.part_ns = !is_bucket() && below(2) == 0 ? S / 100 + 1 : 0;
    s.level_at = T0;
    rolling_init(&s.r, &(struct rolling_rule){.quota = s.quota,
                                              .unit_ns = s.unit_ns,
                                              .window_ns = is_bucket() ? s.quota * s.unit_ns : W,
                                              .span_ns = S,
                                              .part_ns = s.part_ns,
                                              .step_ns = s.step_ns,
                                              .rolls = s.server == ROLLS && below(2) == 0,
                                              .expect = !s.alone && below(2) == 0});
    uint64_t pace = 1 + below(25);
    uint64_t now = T0;
    for (uint32_t i = 0; i < TURNS && s.call_cnt < CALLS; i++, now += MS) {
        step(now, pace, !s.alone && i % 6000 < 4000);
    }
    /* Nobody calls any more. */
    uint64_t end = now + 6 * (is_bucket() ? s.quota * s.unit_ns : W) + 6 * W;
    for (; now < end; now += MS) {
        if (now % (10 * MS) == 0) {
            look(now);
            publish(now);
        }
    }
    if (s.word.units != 0) {
        violated("what others used stays for ever", now);
    }
}

static void test_schedules(void **state)
{
    (void)state;
    const char *text = getenv("WEIR_TEST_SEED");
    uint64_t first = text != NULL ? strtoull(text, NULL, 10) : 20261122;
    const char *many = getenv("WEIR_TEST_SCHEDULES");
    uint64_t cnt = text != NULL ? 1 : many != NULL ? strtoull(many, NULL, 10) : 40;
    print_message("seed %" PRIu64 ", oracle: what was really counted\n", first);
    for (uint64_t seed = first; seed < first + cnt; seed++) {
        schedule(seed);
    }
    print_message("%" PRIu64 " granted, %" PRIu64 " refused, %" PRIu64 " reports, %" PRIu64
                  " units of others proven, %" PRIu64 " sums checked\n",
                  s.granted, s.refused, s.reports, s.seen, s.checked);
    assert_true(text != NULL || (s.reports > 1000 && s.seen > 1000 && s.checked > 1000));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_alone_nothing_is_foreign),
        cmocka_unit_test(test_others_are_seen_and_age_out),
        cmocka_unit_test(test_in_flight_is_ours),
        cmocka_unit_test(test_late_and_reordered),
        cmocka_unit_test(test_extremes),
        cmocka_unit_test(test_none_left),
        cmocka_unit_test(test_restored),
        cmocka_unit_test(test_expectation),
        cmocka_unit_test(test_claims),
        cmocka_unit_test(test_bucket),
        cmocka_unit_test(test_lone_calls_stay_ours),
        cmocka_unit_test(test_between_looks),
        cmocka_unit_test(test_schedules),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
