/*
 * test_feedback.c: what others use, from replies that come late, out of order, or not at all.
 *
 * Property: random schedules of brokered calls, traders' permits and foreign calls against a counter with windows. Each brokered call's reply
 * bears the count after it, and is delivered after a random time, so replies overtake each other, and some are lost. Permits are granted as
 * the permit path does: charged + published + cost <= N, a straddle to both windows.
 *
 * Oracle, counting what really happened, which the code under test does not know:
 *   phantom   while nobody else calls, nothing is ever published
 *   proven    is never more than others really used in that window
 *   safe      after each grant in a window in which others have been proven: the highest count delivered, plus everything of ours that was or
 *             will be counted after it, is at most N
 * The seed is printed; WEIR_TEST_SEED sets it.
 *
 * Mutations of feedback.c that it was seen to catch: only what is proven is published; `answered` counts a call twice; traders' charges are
 * over at once, or without looking at what they gave back; `proven` without brokered charges, or without traders'; the last count instead of the
 * highest; reports of older windows taken.
 */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "broker/feedback.h"
#include "shm/weir_base.h"

#define W       UINT64_C(1000) /* one window, in ticks of 1 ms */
#define J       UINT64_C(60)
#define WINDOWS 12U
#define CALLS   4000U

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

static void charge(struct feedback *f, uint32_t charged[2], uint32_t id, uint32_t units)
{
    charged[id & 1] += units;
    feedback_charged(f, id, units, false);
}

static void look(struct feedback *f, uint32_t id, const uint32_t by_parity[2], uint64_t now)
{
    const uint32_t charged[2] = {by_parity[id & 1], by_parity[(id + 1) & 1]};
    feedback_look(f, id, charged, now, 2 * J);
}

static void report(struct feedback *f, uint32_t id, uint32_t used, uint32_t units)
{
    (void)feedback_report(f, &(struct feedback_report){.id = id, .used = used, .units = units});
}

static void test_alone_nothing_is_foreign(void **state)
{
    (void)state;
    struct feedback f;
    uint32_t word[2] = {0, 0};
    feedback_init(&f, 100, false);
    for (uint32_t i = 1; i <= 5; i++) {
        charge(&f, word, 7, 5);
    }
    look(&f, 7, word, 10);
    for (uint32_t i = 5; i >= 1; i--) { /* in reverse */
        report(&f, 7, 5 * i, 5);
        assert_int_equal(feedback_foreign(&f, 7), 0);
    }
}

static void test_others_are_seen_and_stay(void **state)
{
    (void)state;
    struct feedback f;
    uint32_t word[2] = {0, 0};
    feedback_init(&f, 100, false);
    charge(&f, word, 7, 5);
    charge(&f, word, 7, 5);
    look(&f, 7, word, 10);
    report(&f, 7, 35, 5);
    assert_int_equal(f.window[1].proven, 25);
    assert_int_equal(feedback_foreign(&f, 7), 30); /* the other call may be counted after it */
    report(&f, 7, 30, 5);                          /* it was counted before: 35 - 10 */
    assert_int_equal(feedback_foreign(&f, 7), 25);
    report(&f, 7, 0, 0); /* nonsense, or very late: what was used stays used */
    assert_int_equal(feedback_foreign(&f, 7), 25);
    assert_int_equal(feedback_foreign(&f, 8), 0);
}

/* "0 left" is said of more than there is, too: it takes nothing from what a number said. */
static void test_none_left(void **state)
{
    (void)state;
    struct feedback f;
    uint32_t word[2] = {0, 0};
    feedback_init(&f, 20, false);
    look(&f, 7, word, 10);
    report(&f, 7, 11, 0); /* others' */
    assert_int_equal(feedback_foreign(&f, 7), 11);
    charge(&f, word, 7, 12); /* 23 of 20: nobody knew of all of them when these were granted */
    look(&f, 7, word, 11);
    for (uint32_t i = 0; i < 4; i++) { /* four of ours are answered, and each time none is left */
        assert_true(feedback_report(
            &f, &(struct feedback_report){.id = 7, .used = 20, .units = 3, .least = true}));
        assert_true(feedback_foreign(&f, 7) >= 11);
    }
    assert_int_equal(feedback_foreign(&f, 7), 11); /* 20 - 12 would be 8 */
    /* Where it is all that is known, it says what it can: 20 less the 12 that it answered. */
    feedback_init(&f, 20, false);
    memset(word, 0, sizeof word);
    feedback_restore(&f, 7, 1);
    charge(&f, word, 7, 12);
    look(&f, 7, word, 10);
    assert_true(feedback_report(
        &f, &(struct feedback_report){.id = 7, .used = 20, .units = 12, .least = true}));
    assert_int_equal(feedback_foreign(&f, 7), 8);
}

/* The worker died: the next one goes on with what the board says. */
static void test_restored(void **state)
{
    (void)state;
    struct feedback f;
    const uint32_t word[2] = {0, 0};
    feedback_init(&f, 100, false);
    feedback_restore(&f, 8, 0);
    feedback_restore(&f, 7, 25);
    look(&f, 7, word, 10);
    assert_int_equal(feedback_foreign(&f, 7), 25);
    report(&f, 7, 20, 0);
    assert_int_equal(feedback_foreign(&f, 7), 25);
    report(&f, 7, 30, 0);
    assert_int_equal(feedback_foreign(&f, 7), 30);
    assert_int_equal(feedback_foreign(&f, 8), 0);
    /* Others are proven from then on: 10 of what is told may be ours, in flight, and may be theirs. */
    uint32_t next[2] = {0, 0};
    charge(&f, next, 8, 10);
    look(&f, 8, next, 20);
    report(&f, 8, 10, 0);
    assert_int_equal(feedback_foreign(&f, 8), 10);
}

static void test_older_windows_are_dropped(void **state)
{
    (void)state;
    struct feedback f;
    const uint32_t word[2] = {0, 0};
    feedback_init(&f, 100, false);
    look(&f, 7, word, 10);
    look(&f, 8, word, 1010);
    assert_true(feedback_report(&f, &(struct feedback_report){.id = 8, .used = 3}));
    assert_false(feedback_report(&f, &(struct feedback_report){.id = 7, .used = 90}));
    assert_false(feedback_report(&f, &(struct feedback_report){.id = 6, .used = 90}));
    assert_int_equal(feedback_foreign(&f, 8), 3);
    feedback_charged(&f, 7, 50, false); /* of a window that is over: no harm */
    assert_int_equal(feedback_foreign(&f, 8), 3);
}

/* 2^32 - 1 of a quota of 100, ids that wrap, refunds that were never charged. */
static void test_extremes(void **state)
{
    (void)state;
    struct feedback f;
    const uint32_t word[2] = {0, 0};
    feedback_init(&f, 100, true);
    look(&f, UINT32_MAX, word, 10);
    report(&f, UINT32_MAX, UINT32_MAX, 0);
    assert_int_equal(feedback_foreign(&f, UINT32_MAX), 100);
    look(&f, 0, word, 1010);
    assert_int_equal(feedback_foreign(&f, 0), 100); /* expected */
    report(&f, 0, 5, 0);
    feedback_charged(&f, 0, UINT32_MAX, true);
    assert_int_equal(feedback_foreign(&f, 1), 100);
    feedback_realigned(&f);
    assert_int_equal(feedback_foreign(&f, 12345), 100); /* what to expect is kept */
    look(&f, 12345, word, 2010);
    assert_int_equal(feedback_foreign(&f, 12345), 100);
    assert_int_equal(feedback_foreign(&f, 12348), 100);
    assert_int_equal(feedback_foreign(&f, 12349),
                     0); /* as long as if it had been the window before */
}

static void test_expectation(void **state)
{
    (void)state;
    struct feedback f;
    const uint32_t word[2] = {0, 0};
    feedback_init(&f, 100, true);
    for (uint32_t id = 10; id < 14; id++) {
        look(&f, id, word, id * W);
        report(&f, id, id == 11 ? 40 : 10, 0);
    }
    assert_int_equal(feedback_expected(&f, 14), 40); /* the most of the last windows */
    assert_int_equal(feedback_foreign(&f, 14), 40);
    look(&f, 14, word, 14 * W);
    report(&f, 14, 4, 0);
    assert_int_equal(feedback_foreign(&f, 14), 40); /* to the window's end: they may come late */
    report(&f, 14, 50, 0);
    assert_int_equal(feedback_foreign(&f, 14), 50);
    for (uint32_t id = 15; id < 21; id++) {
        look(&f, id, word, id * W);
        report(&f, id, 2, 0);
    }
    assert_int_equal(feedback_expected(&f, 21), 2); /* what is long ago is forgotten */
    assert_int_equal(feedback_expected(&f, 24), 2);
    assert_int_equal(feedback_expected(&f, 25), 0); /* reported or not */
}

/* Others took all of a window. Nobody of ours can call then, so no answer tells that they have gone: it must end by itself. */
static void test_expectation_ends(void **state)
{
    (void)state;
    struct feedback f;
    const uint32_t word[2] = {0, 0};
    feedback_init(&f, 100, true);
    look(&f, 10, word, 10 * W);
    report(&f, 10, 100, 0);
    for (uint32_t id = 11; id < 40; id++) {
        for (uint64_t ms = 0; ms < 1000; ms += 10) {
            look(&f, id, word, id * W + ms);
            assert_int_equal(feedback_foreign(&f, id), id <= 14 ? 100 : 0);
        }
    }
}

/* A trader's charge is not ours to see answered: it counts as over once it is older than J. */
static void test_traders(void **state)
{
    (void)state;
    struct feedback f;
    uint32_t word[2] = {20, 20};
    feedback_init(&f, 100, false);
    word[1] = 20;
    word[0] = 0;
    look(&f, 7, word, 100);
    (void)feedback_report(&f, &(struct feedback_report){.id = 7, .used = 30, .settled_ns = 99});
    assert_int_equal(feedback_foreign(&f, 7), 30); /* 10 are proven; the 20 may come yet */
    look(&f, 7, word, 200);
    (void)feedback_report(&f, &(struct feedback_report){.id = 7, .used = 30, .settled_ns = 100});
    assert_int_equal(feedback_foreign(&f, 7), 10);
    word[1] = 15; /* one was given back: it had not been counted */
    look(&f, 7, word, 300);
    (void)feedback_report(&f, &(struct feedback_report){.id = 7, .used = 31, .settled_ns = 200});
    assert_int_equal(feedback_foreign(&f, 7), 16);
}

/* What traders say adds, for a minute, and is not looked back on. */
static void test_claims(void **state)
{
    (void)state;
    struct feedback f;
    uint32_t word[2] = {0, 0};
    feedback_init(&f, 100, true);
    charge(&f, word, 7, 5);
    look(&f, 7, word, 10);
    assert_true(feedback_claim(&f, 7, 45));
    assert_int_equal(feedback_foreign(&f, 7), 40); /* 5 are ours */
    assert_int_equal(feedback_claimed(&f, 7), 40);
    assert_true(feedback_claim(&f, 7, 6)); /* lowers nothing */
    assert_int_equal(feedback_foreign(&f, 7), 40);
    report(&f, 7, 30, 5); /* our own: less of it is a claim */
    assert_int_equal(feedback_foreign(&f, 7), 40);
    assert_int_equal(feedback_claimed(&f, 7), 15);
    assert_true(feedback_claim(&f, 7, UINT32_MAX));
    assert_int_equal(feedback_foreign(&f, 7), 100);
    look(&f, 7, word, 10 + FEEDBACK_CLAIM_NS);
    assert_int_equal(feedback_foreign(&f, 7), 25);
    assert_int_equal(feedback_claimed(&f, 7), 0);
    look(&f, 8, word, 20 + FEEDBACK_CLAIM_NS);
    assert_int_equal(feedback_expected(&f, 8), 25);
    look(&f, 9, word, 30 + FEEDBACK_CLAIM_NS);
    assert_false(feedback_claim(&f, 7, 90)); /* late */
}

/* ---------------------------------------------------------------------------------------------- by chance */

enum kind { BROKERED, TRADER, OTHERS };

struct call {
    enum kind kind;
    uint32_t units;
    uint64_t granted, sent, counted, answered; /* 0: never */
    uint32_t charged_first, charged_cnt;
    uint32_t used; /* the count after it */
    bool in_count, replied, given;
};

static struct {
    uint64_t seed;
    uint32_t quota;
    bool alone;
    bool expect;
    struct feedback f;
    uint32_t word[WINDOWS + 4]; /* charged, by window */
    uint32_t count[WINDOWS + 4];
    uint32_t others[WINDOWS + 4];
    uint32_t most_told[WINDOWS + 4];
    uint64_t most_at[WINDOWS + 4];
    struct call call[CALLS];
    uint32_t call_cnt;
    uint64_t granted, reports, foreign_seen, straddled;
} s;

static void violated(const char *what, uint64_t now)
{
    fail_msg("%s at %" PRIu64 ": WEIR_TEST_SEED=%" PRIu64, what, now, s.seed);
}

static void look_now(uint64_t now)
{
    uint32_t id = (uint32_t)(now / W);
    const uint32_t charged[2] = {s.word[id], s.word[id + 1]};
    feedback_look(&s.f, id, charged, now, 2 * J);
}

/* Whatever of ours is, or may yet be, counted in window `id` after its highest delivered count. */
static void safe_check(uint32_t id, uint64_t now)
{
    const struct feedback_window *w = &s.f.window[id & 1];
    if (!w->live || w->id != id || !w->reported || !s.f.shared || w->proven == 0) {
        return;
    }
    uint64_t sum = s.most_told[id];
    for (uint32_t i = 0; i < s.call_cnt; i++) {
        const struct call *c = &s.call[i];
        if (c->kind != OTHERS && c->counted / W == id && c->counted != 0 &&
            c->counted > s.most_at[id]) {
            sum += c->units;
        }
    }
    if (sum > s.quota) {
        violated("what was told and what is to come exceed the quota", now);
    }
}

static void grant(enum kind kind, uint64_t now)
{
    uint32_t id = (uint32_t)(now / W);
    uint32_t cnt = (now + J) / W > id ? 2 : 1;
    uint32_t units = 1 + (uint32_t)below(5);
    if (s.call_cnt == CALLS) {
        return;
    }
    for (uint32_t k = id; k < id + cnt; k++) {
        if (s.word[k] + feedback_foreign(&s.f, k) + units > s.quota) {
            return;
        }
    }
    struct call *c = &s.call[s.call_cnt++];
    *c = (struct call){.kind = kind, .units = units, .granted = now};
    c->charged_first = id;
    c->charged_cnt = cnt;
    for (uint32_t k = id; k < id + cnt; k++) {
        s.word[k] += units;
        if (kind == BROKERED) {
            feedback_charged(&s.f, k, units, false);
        }
    }
    if (below(12) != 0) { /* else it is never sent */
        c->sent = now + below(J / 2 + 1);
        c->counted = c->sent + 1 + below(J / 2);
        bool lost = below(40) == 0;
        c->answered = lost ? 0 : c->counted + 1 + below(below(10) == 0 ? 3 * W : 150);
    }
    s.granted++;
    s.straddled += cnt == 2;
    safe_check(id, now);
}

/* The exchange counts what has arrived, in its order. */
static void count_now(uint64_t now)
{
    for (uint32_t i = 0; i < s.call_cnt; i++) {
        struct call *c = &s.call[i];
        if (c->counted == now && !c->in_count) {
            uint32_t id = (uint32_t)(now / W);
            c->in_count = true;
            s.count[id] += c->units;
            s.others[id] += c->kind == OTHERS ? c->units : 0;
            c->used = s.count[id];
        }
    }
}

/* A reply is here: what the worker does with it (broker/reply.c). */
static void reply_take(struct call *c, uint64_t now)
{
    uint32_t id = (uint32_t)(c->counted / W);
    c->replied = true;
    if (c->sent / W != c->answered / W || c->charged_first > id) {
        return; /* no certain window */
    }
    if (c->charged_cnt == 2) { /* proven: the other window's charge goes back */
        uint32_t other = id == c->charged_first ? id + 1 : c->charged_first;
        s.word[other] -= c->units;
        feedback_charged(&s.f, other, c->units, true);
        c->charged_first = id;
        c->charged_cnt = 1;
    }
    look_now(now);
    struct feedback_report r = {.id = id,
                                .used = c->used,
                                .units = c->units,
                                .settled_ns = c->sent > J ? c->sent - J - 1 : 0};
    if (!feedback_report(&s.f, &r)) {
        return;
    }
    s.reports++;
    if (c->used > s.most_told[id]) {
        s.most_told[id] = c->used;
        s.most_at[id] = c->counted;
    }
    const struct feedback_window *w = &s.f.window[id & 1];
    if (w->proven > s.others[id]) {
        violated("others are said to have used more than they did", now);
    }
    s.foreign_seen += w->proven;
}

static void step(uint64_t now, uint64_t pace)
{
    uint32_t id = (uint32_t)(now / W);
    count_now(now);
    for (uint32_t i = 0; i < s.call_cnt; i++) {
        struct call *c = &s.call[i];
        if (c->kind == BROKERED && c->answered == now && !c->replied) {
            reply_take(c, now);
        }
        /* Never sent: given back before its use-by. */
        if (c->sent == 0 && c->kind != OTHERS && !c->given && now == c->granted + J / 2 &&
            below(2) == 0) {
            c->given = true;
            for (uint32_t k = c->charged_first; k < c->charged_first + c->charged_cnt; k++) {
                s.word[k] -= c->units;
                if (c->kind == BROKERED) {
                    feedback_charged(&s.f, k, c->units, true);
                }
            }
        }
    }
    if (now % 10 == 0) {
        look_now(now);
    }
    if (s.alone && (feedback_foreign(&s.f, id) != 0 || feedback_foreign(&s.f, id + 1) != 0)) {
        violated("foreign usage where nobody else calls", now);
    }
    if (below(pace) == 0) {
        grant(below(3) == 0 ? TRADER : BROKERED, now);
    }
    if (!s.alone && below(3 * pace) == 0 && s.call_cnt < CALLS) {
        s.call[s.call_cnt++] =
            (struct call){.kind = OTHERS, .units = 1 + (uint32_t)below(4), .counted = now + 1};
    }
}

static void schedule(uint64_t seed)
{
    uint64_t granted = s.granted, reports = s.reports, seen = s.foreign_seen;
    uint64_t straddled = s.straddled;
    memset(&s, 0, offsetof(__typeof__(s), call));
    s.call_cnt = 0;
    s.granted = granted;
    s.reports = reports;
    s.foreign_seen = seen;
    s.straddled = straddled;
    s.seed = seed;
    random_state = seed;
    s.alone = below(3) == 0;
    s.expect = below(2) == 0;
    s.quota = 20 + (uint32_t)below(200);
    feedback_init(&s.f, s.quota, s.expect);
    uint64_t pace = 1 + below(30);
    for (uint64_t now = W; now < WINDOWS * W; now++) {
        step(now, pace);
    }
}

static void test_schedules(void **state)
{
    (void)state;
    const char *text = getenv("WEIR_TEST_SEED");
    uint64_t first = text != NULL ? strtoull(text, NULL, 10) : 20260902;
    print_message("seed %" PRIu64 ", oracle: what was really counted\n", first);
    for (uint64_t seed = first; seed < first + (text != NULL ? 1 : 60); seed++) {
        schedule(seed);
    }
    print_message("%" PRIu64 " granted (%" PRIu64 " straddled), %" PRIu64 " reports, %" PRIu64
                  " units of others proven\n",
                  s.granted, s.straddled, s.reports, s.foreign_seen);
    assert_true(text != NULL || (s.reports > 1000 && s.foreign_seen > 1000));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_alone_nothing_is_foreign),
        cmocka_unit_test(test_others_are_seen_and_stay),
        cmocka_unit_test(test_none_left),
        cmocka_unit_test(test_restored),
        cmocka_unit_test(test_older_windows_are_dropped),
        cmocka_unit_test(test_extremes),
        cmocka_unit_test(test_expectation),
        cmocka_unit_test(test_expectation_ends),
        cmocka_unit_test(test_traders),
        cmocka_unit_test(test_claims),
        cmocka_unit_test(test_schedules),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
