/* The kinds that live in cells, calendar windows, and what an outcome does to a charge: exact cases, one thread. Random schedules are tests/prop. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "fixture.h"
#include "weir_age.h"
#include "weir_overdue.h"

#define NOW UINT64_C(1000000000000)
#define MS  WEIR_NS_PER_MS

static struct fixture f;
static struct weir_permit_view view;

static void open_orphans(uint32_t kind, uint32_t form, uint32_t quota, uint32_t cost,
                         uint64_t orphan_ns)
{
    const struct fixture_spec spec = {
        .jitter_ns = 10 * MS,
        .slack_ns = 5 * MS,
        .limit_cnt = 1,
        .route_cnt = 2,
        .limit = {{.kind = kind,
                   .form = form,
                   .quota = quota,
                   .window_ns = WEIR_NS_PER_S,
                   .rest_ns = 10 * MS,
                   .orphan_ns = orphan_ns}},
        .route = {{.limit_cnt = 1, .cost = {cost}}, {.limit_cnt = 1, .cost = {1}}}};
    fixture_open(&f, &spec);
    fixture_view(&f, &view, NOW);
}

static void open_with(uint32_t kind, uint32_t form, uint32_t quota, uint32_t cost)
{
    open_orphans(kind, form, quota, cost, 0);
}

static uint32_t used(void)
{
    struct weir_limit_state state;
    const struct weir_limit_place at = fixture_place(&f, &view, 0, false);
    const struct weir_server_clock clock = {.state = WEIR_CLOCK_KNOWN, .jitter_ns = 10 * MS};
    const struct weir_limit_time time = {.now_ns = weir_clock_now(&view.time), .server = &clock};
    weir_limit_state_get(&state, &at, &f.memory->foreign[0], &time);
    assert_int_equal(state.left[0], state.used < state.quota ? state.quota - state.used : 0);
    return state.used;
}

static int take(uint32_t route, struct weir_permit *permit)
{
    return weir_permit_take(&view, route, 0, NULL, 0, permit);
}

/* Both forms: N at once, none before the span is over, all of them then. */
static void sliding_bound(uint32_t form)
{
    struct weir_permit p[8];
    open_with(WEIR_LIMIT_SLIDING_WINDOW, form, 7, 2);
    const uint64_t span_ns = view.tables.limit[0].span_ns;
    const uint64_t part_ns = form == WEIR_FORM_PARTS ? view.tables.limit[0].part_ns : 0;
    assert_int_equal(span_ns, WEIR_NS_PER_S + 210 * WEIR_NS_PER_US + 10 * MS); /* 210 ppm */
    for (uint32_t i = 0; i < 3; i++) {
        assert_int_equal(take(0, &p[i]), WEIR_OK);
    }
    assert_int_equal(take(0, &p[3]), WEIR_DENIED); /* 2 do not fit, 1 does */
    assert_int_equal(p[3].denial.reason, WEIR_REASON_LIMIT_FULL);
    assert_in_range(p[3].denial.earliest_ns, NOW + span_ns - part_ns, NOW + span_ns + 2 * part_ns);
    assert_int_equal(take(1, &p[4]), WEIR_OK);
    assert_int_equal(take(1, &p[5]), WEIR_DENIED);
    assert_int_equal(used(), 7);
    fixture_time_set(&view, NOW + span_ns - 1 - part_ns);
    assert_int_equal(take(1, &p[5]), WEIR_DENIED);
    fixture_time_set(&view, NOW + span_ns + 2 * part_ns);
    assert_int_equal(used(), 0);
    for (uint32_t i = 0; i < 7; i++) {
        assert_int_equal(take(1, &p[i]), WEIR_OK);
    }
    assert_int_equal(take(1, &p[7]), WEIR_DENIED);
    fixture_close(&f);
}

static void test_sliding_bound(void **state)
{
    (void)state;
    sliding_bound(WEIR_FORM_CELLS);
    sliding_bound(WEIR_FORM_PARTS);
}

static void sliding_refund(uint32_t form)
{
    struct weir_permit p[8];
    open_with(WEIR_LIMIT_SLIDING_WINDOW, form, 6, 3);
    assert_int_equal(take(0, &p[0]), WEIR_OK);
    fixture_time_set(&view, NOW + 100 * MS);
    assert_int_equal(take(0, &p[1]), WEIR_OK);
    assert_int_equal(take(1, &p[2]), WEIR_DENIED);
    assert_int_equal(weir_permit_give(&view, &p[0]), WEIR_OK);
    assert_int_equal(weir_permit_give(&view, &p[0]), WEIR_E_SETTLED);
    assert_int_equal(used(), 3);
    assert_int_equal(take(1, &p[2]), WEIR_OK);
    assert_int_equal(take(1, &p[3]), WEIR_OK);
    assert_int_equal(take(1, &p[4]), WEIR_OK);
    assert_int_equal(take(1, &p[5]), WEIR_DENIED);
    /* Two of three counted: one comes back, and only one. */
    const struct weir_cost two = {.cnt = 1, .units = {2}};
    assert_int_equal(weir_permit_end(&view, &p[1], &two), WEIR_OK);
    assert_int_equal(used(), 5);
    assert_int_equal(take(1, &p[5]), WEIR_OK);
    assert_int_equal(take(1, &p[6]), WEIR_DENIED);
    /* What was given back once it was granted anew is not given back again by its first owner. */
    struct weir_permit stale = p[0];
    stale.state = WEIR_PERMIT_GRANTED;
    (void)weir_permit_give(&view, &stale);
    assert_int_equal(used(), 6);
    fixture_close(&f);
}

static void test_sliding_refund(void **state)
{
    (void)state;
    sliding_refund(WEIR_FORM_CELLS);
    sliding_refund(WEIR_FORM_PARTS);
}

/* Each third permit is given back at once, all through a burst: the whole quota is used all the same. Before, only the last one was found again. */
static void test_sliding_refunds(void **state)
{
    struct weir_permit p;
    (void)state;
    open_with(WEIR_LIMIT_SLIDING_WINDOW, WEIR_FORM_CELLS, 300, 2);
    const uint64_t span_ns = view.tables.limit[0].span_ns;
    for (unsigned burst = 0; burst < 5; burst++) {
        unsigned kept = 0;
        fixture_time_set(&view, NOW + burst * (span_ns + 1));
        for (unsigned i = 1; take(0, &p) == WEIR_OK; i++) {
            if (i % 3 == 0) {
                assert_int_equal(weir_permit_give(&view, &p), WEIR_OK);
            } else {
                kept++;
            }
        }
        assert_int_equal(kept, 150);
    }
    fixture_close(&f);
}

static uint32_t cells_old(uint64_t now_ns)
{
    const struct weir_limit_place at = fixture_place(&f, &view, 0, false);
    uint32_t old = 0;
    for (uint32_t i = 0; i < at.row->cell_cnt; i++) {
        old += at.cell[i] == 0 || at.cell[i] + at.row->span_ns <= now_ns;
    }
    return old;
}

/*
 * Granted exactly where there is room, wherever it lies: takes of three and of one, give-backs, ends that count less or more, calls that stay open, and pauses of
 * several spans, which leave gaps for long. Before, cells given back and taken anew hid what lay behind them: a cost of two was refused for 0.7 s beside free cells.
 */
static void test_sliding_room(void **state)
{
    struct weir_permit held[64];
    uint32_t cnt = 0;
    uint64_t random = 20261123;
    uint64_t now_ns = NOW;
    unsigned granted = 0;
    unsigned refused = 0;
    (void)state;
    open_with(WEIR_LIMIT_SLIDING_WINDOW, WEIR_FORM_CELLS, 12, 3);
    const uint64_t span_ns = view.tables.limit[0].span_ns;
    for (unsigned i = 0; i < 200000; i++) {
        struct weir_permit p;
        uint64_t step_ns = fixture_random_below(&random, 20) == 0 ? 4 * span_ns : span_ns / 8;
        now_ns += fixture_random_below(&random, 2) * fixture_random_below(&random, step_ns);
        fixture_time_set(&view, now_ns);
        uint32_t route = (uint32_t)fixture_random_below(&random, 2);
        uint32_t owed = weir_foreign_rolling(f.memory->word[0].owed, now_ns);
        bool room = cells_old(now_ns) >= (route == 0 ? 3U : 1U) + owed;
        int rc = take(route, &p);
        assert_int_equal(rc, room ? WEIR_OK : WEIR_DENIED);
        if (!room && owed == 0) { /* what it promises holds, however the cells lie */
            const struct weir_limit_place at = fixture_place(&f, &view, 0, false);
            const struct weir_limit_time time = {.now_ns = now_ns};
            assert_int_equal(
                p.denial.earliest_ns,
                weir_limit_earliest(&at, &f.memory->foreign[0], &time, route == 0 ? 3 : 1, 0));
        }
        granted += room;
        refused += !room;
        if (rc == WEIR_OK && cnt < WEIR_ARRAY_CNT(held)) {
            held[cnt++] = p;
        }
        for (; cnt > 0 && fixture_random_below(&random, 3) == 0; cnt--) {
            const struct weir_cost counts = {.cnt = 1,
                                             .units = {(uint32_t)fixture_random_below(&random, 5)}};
            uint32_t which = (uint32_t)fixture_random_below(&random, cnt);
            p = held[which];
            held[which] = held[cnt - 1];
            if (fixture_random_below(&random, 2) == 0) {
                uint32_t back = p.stamp_ns + span_ns > now_ns ? p.charge[0].units : 0;
                back += cells_old(now_ns);
                assert_int_equal(weir_permit_give(&view, &p), WEIR_OK);
                assert_int_equal(cells_old(now_ns), back); /* all of them, wherever they lie */
            } else {
                p.state = WEIR_PERMIT_SENT;
                const uint64_t owes = f.memory->word[0].owed;
                const uint32_t units = p.charge[0].units;
                (void)weir_overdue_charge(&view, &p, 0);
                if (f.memory->word[0].owed ==
                    owes) { /* however late: all of its units stand there again */
                    uint32_t bear = 0;
                    for (uint32_t k = 0; k < 12; k++) {
                        bear += f.memory->cell[k] == now_ns;
                    }
                    assert_true(bear >= units && p.charge[0].units == units);
                }
                assert_int_equal(weir_permit_end(&view, &p, &counts), WEIR_OK);
            }
        }
    }
    assert_true(granted > 10000 && refused > 10000);
    fixture_close(&f);
}

/* A surcharge whose reading is older than the stamp before its cell is old first, behind a young one: it has said so. */
static void test_sliding_surcharge_overtaken(void **state)
{
    (void)state;
    struct weir_permit p;
    open_with(WEIR_LIMIT_SLIDING_WINDOW, WEIR_FORM_CELLS, 4, 2);
    const struct weir_limit_place at = fixture_place(&f, &view, 0, false);
    const struct weir_limit_time read = {.now_ns = NOW + 10 * MS};
    assert_int_equal(take(1, &p), WEIR_OK);
    fixture_time_set(&view, NOW + 20 * MS);
    assert_int_equal(take(0, &p), WEIR_OK);
    weir_limit_add(&at, &(struct weir_charge){0}, 1, &(struct weir_limit_grant){0}, &read);
    fixture_time_set(&view, NOW + 10 * MS + at.row->span_ns);
    assert_int_equal(cells_old(NOW + 10 * MS + at.row->span_ns), 2);
    assert_int_equal(take(0, &p), WEIR_OK);
    fixture_close(&f);
}

static void sliding_surcharge(uint32_t form)
{
    struct weir_permit p[4];
    open_with(WEIR_LIMIT_SLIDING_WINDOW, form, 6, 2);
    const struct weir_cost five = {.cnt = 1, .units = {5}};
    assert_int_equal(take(0, &p[0]), WEIR_OK);
    assert_int_equal(weir_permit_end(&view, &p[0], &five), WEIR_OK);
    assert_int_equal(used(), 5);
    assert_int_equal(take(0, &p[1]), WEIR_DENIED);
    assert_int_equal(take(1, &p[1]), WEIR_OK);
    /* More than there is: the limit is closed for a span, no longer. */
    const struct weir_cost many = {.cnt = 1, .units = {1000}};
    assert_int_equal(weir_permit_end(&view, &p[1], &many), WEIR_OK);
    assert_int_equal(take(1, &p[2]), WEIR_DENIED);
    fixture_time_set(&view, NOW + view.tables.limit[0].span_ns * 102 / 100);
    assert_int_equal(take(1, &p[2]), WEIR_OK);
    fixture_close(&f);
}

/* A call that stays open counts from the last look on, and is given back from there. */
static void sliding_open_call(uint32_t form)
{
    struct weir_permit p;
    struct weir_permit q;
    open_with(WEIR_LIMIT_SLIDING_WINDOW, form, 6, 2);
    const uint64_t span_ns = view.tables.limit[0].span_ns;
    assert_int_equal(take(0, &p), WEIR_OK);
    assert_int_equal(take(1, &q), WEIR_OK);
    p.state = WEIR_PERMIT_SENT;
    fixture_time_set(&view, NOW + 500 * MS);
    assert_int_equal(weir_overdue_charge(&view, &p, 30 * MS), 1);
    assert_int_equal(used(), 3);
    fixture_time_set(&view, NOW + span_ns * 102 / 100);
    assert_int_equal(used(), 2); /* the other one is over */
    for (uint32_t i = 0; i < 4; i++) {
        assert_int_equal(take(1, &q), WEIR_OK);
    }
    assert_int_equal(take(1, &q), WEIR_DENIED);
    const struct weir_cost one = {.cnt = 1, .units = {1}};
    assert_int_equal(weir_permit_end(&view, &p, &one), WEIR_OK);
    assert_int_equal(used(), 5);
    fixture_time_set(&view, NOW + 500 * MS + span_ns * 102 / 100);
    assert_int_equal(used(), 4);
    fixture_close(&f);
}

static void test_sliding_open_call(void **state)
{
    (void)state;
    sliding_open_call(WEIR_FORM_CELLS);
    sliding_open_call(WEIR_FORM_PARTS);
}

static void test_sliding_surcharge(void **state)
{
    (void)state;
    sliding_surcharge(WEIR_FORM_CELLS);
    sliding_surcharge(WEIR_FORM_PARTS);
}

/* A process that died between its CAS and the hint; a hint that a stranger wrote. */
static void test_sliding_hint(void **state)
{
    (void)state;
    struct weir_permit p;
    open_with(WEIR_LIMIT_SLIDING_WINDOW, WEIR_FORM_CELLS, 5, 1);
    f.memory->cell[0] = NOW;
    f.memory->cell[1] = NOW;
    for (uint32_t i = 0; i < 3; i++) {
        assert_int_equal(take(1, &p), WEIR_OK);
    }
    assert_int_equal(take(1, &p), WEIR_DENIED);
    f.memory->word[0].word[0] = UINT64_MAX;
    f.memory->word[0].word[1] = UINT64_MAX;
    assert_int_equal(take(1, &p), WEIR_DENIED);
    fixture_time_set(&view, NOW + 2 * WEIR_NS_PER_S);
    for (uint32_t i = 0; i < 5; i++) {
        assert_int_equal(take(1, &p), WEIR_OK);
    }
    assert_int_equal(take(1, &p), WEIR_DENIED);
    fixture_close(&f);
}

/* Stamps and parts that nobody can have written yet: refused, and spent by the audit. */
static void sliding_damage(uint32_t form)
{
    struct weir_permit p;
    open_with(WEIR_LIMIT_SLIDING_WINDOW, form, 5, 1);
    const struct weir_limit_place at = fixture_place(&f, &view, 0, false);
    const struct weir_limit_place own = fixture_place(&f, &view, 0, true);
    assert_int_equal(take(1, &p), WEIR_OK);
    assert_int_equal(weir_limit_audit(&at, &own, NULL, &view.time), WEIR_LIMIT_SOUND);
    f.memory->cell[3] = UINT64_MAX >> 1;
    assert_int_equal(weir_limit_audit(&at, &own, NULL, &view.time), WEIR_LIMIT_AHEAD);
    assert_int_equal(weir_limit_audit(&at, &own, NULL, &view.time), WEIR_LIMIT_SOUND);
    assert_int_equal(take(1, &p), WEIR_DENIED);
    fixture_time_set(&view, NOW + view.tables.limit[0].span_ns * 102 / 100);
    assert_int_equal(take(1, &p), WEIR_OK);
    fixture_close(&f);
}

static void test_sliding_damage(void **state)
{
    (void)state;
    sliding_damage(WEIR_FORM_CELLS);
    sliding_damage(WEIR_FORM_PARTS);
}

static void test_sliding_others(void **state)
{
    (void)state;
    struct weir_permit p;
    for (uint32_t form = WEIR_FORM_CELLS; form <= WEIR_FORM_PARTS; form++) {
        open_with(WEIR_LIMIT_SLIDING_WINDOW, form, 5, 6);
        assert_int_equal(take(0, &p), WEIR_E_COST); /* above the quota */
        f.memory->foreign[0].word[0] = weir_foreign_make(NOW + 100 * MS, 4);
        assert_int_equal(take(1, &p), WEIR_OK);
        assert_int_equal(take(1, &p), WEIR_DENIED);
        assert_int_equal(used(), 5);
        fixture_time_set(&view, NOW + 200 * MS); /* what others used is forgotten by then */
        assert_int_equal(take(1, &p), WEIR_OK);
        fixture_close(&f);
    }
}

static bool lives_none(uint64_t cell, const void *arg)
{
    (void)cell;
    (void)arg;
    return false;
}

static bool lives_all(uint64_t cell, const void *arg)
{
    (void)cell;
    (void)arg;
    return true;
}

static void test_concurrency(void **state)
{
    (void)state;
    struct weir_permit p[6];
    open_with(WEIR_LIMIT_CONCURRENCY, WEIR_FORM_UNITS, 5, 2);
    assert_int_equal(take(0, &p[0]), WEIR_OK);
    assert_int_equal(take(0, &p[1]), WEIR_OK);
    assert_int_equal(take(0, &p[2]), WEIR_DENIED);
    assert_true(p[2].denial.earliest_ns == UINT64_MAX); /* somebody must end first */
    assert_int_equal(take(1, &p[3]), WEIR_OK);
    assert_int_equal(take(1, &p[4]), WEIR_DENIED);
    /* Not sent: free at once. */
    assert_int_equal(weir_permit_give(&view, &p[3]), WEIR_OK);
    assert_int_equal(take(1, &p[3]), WEIR_OK);
    /* Ended: it rests, because the exchange may still count it. What it cost does not matter. */
    const struct weir_cost seven = {.cnt = 1, .units = {7}};
    assert_int_equal(weir_permit_end(&view, &p[0], &seven), WEIR_OK);
    assert_int_equal(weir_permit_end(&view, &p[0], NULL), WEIR_E_SETTLED);
    assert_int_equal(take(1, &p[4]), WEIR_DENIED);
    assert_int_equal(p[4].denial.earliest_ns, NOW + 10 * MS);
    fixture_time_set(&view, NOW + 10 * MS);
    assert_int_equal(take(0, &p[4]), WEIR_OK);
    /* A stale copy of the first permit owns nothing any more. */
    p[0].state = WEIR_PERMIT_GRANTED;
    assert_int_equal(weir_permit_end(&view, &p[0], NULL), WEIR_OK);
    assert_int_equal(used(), 5);
    assert_int_equal(take(1, &p[5]), WEIR_DENIED);
    /* The owner dies: all five come back, after their rest. */
    const struct weir_limit_place at = fixture_place(&f, &view, 0, false);
    assert_int_equal(weir_units_reap(at.row, at.cell, NOW + 10 * MS, lives_none, NULL), 5);
    assert_int_equal(take(1, &p[5]), WEIR_DENIED);
    fixture_time_set(&view, NOW + 20 * MS);
    assert_int_equal(used(), 0);
    assert_int_equal(take(0, &p[5]), WEIR_OK);
    fixture_close(&f);
}

/* A clock that reads behind the moment of the release does not shorten the rest; scribbled cells heal. */
static void test_concurrency_scribbled(void **state)
{
    (void)state;
    struct weir_permit p;
    open_with(WEIR_LIMIT_CONCURRENCY, WEIR_FORM_UNITS, 2, 1);
    f.memory->cell[0] = NOW + 5; /* let go on a core that is 5 ns ahead */
    f.memory->cell[1] = UINT64_MAX >> 1;
    assert_int_equal(take(1, &p), WEIR_DENIED);
    const struct weir_limit_place at = fixture_place(&f, &view, 0, false);
    assert_int_equal(weir_units_reap(at.row, at.cell, NOW, lives_none, NULL), 1);
    fixture_time_set(&view, NOW + 10 * MS);
    assert_int_equal(take(1, &p), WEIR_OK);
    fixture_close(&f);
}

/* What a dead owner held rests longer than what is settled. Two units each: one is settled, one dies. */
static void test_orphans(void **state)
{
    (void)state;
    struct weir_permit p[3];
    uint64_t empty_ns;
    open_orphans(WEIR_LIMIT_CONCURRENCY, WEIR_FORM_UNITS, 4, 2, 300 * MS);
    const struct weir_limit_place at = fixture_place(&f, &view, 0, false);
    assert_int_equal(take(0, &p[0]), WEIR_OK);
    assert_int_equal(take(0, &p[1]), WEIR_OK);
    assert_int_equal(weir_permit_end(&view, &p[0], NULL), WEIR_OK);
    assert_int_equal(weir_units_reap(at.row, at.cell, NOW, lives_none, NULL), 2);
    assert_int_equal(take(0, &p[2]), WEIR_DENIED);
    assert_int_equal(p[2].denial.earliest_ns, NOW + 10 * MS);
    assert_int_equal(weir_limit_cells_used(&at, NOW, &empty_ns), 4);
    assert_int_equal(empty_ns, NOW + 300 * MS);
    fixture_time_set(&view, NOW + 10 * MS);
    assert_int_equal(used(), 2);
    assert_int_equal(take(0, &p[0]), WEIR_OK);
    assert_int_equal(take(0, &p[2]), WEIR_DENIED);
    assert_int_equal(p[2].denial.earliest_ns, NOW + 300 * MS);
    const struct weir_limit_time time = {.now_ns = NOW + 10 * MS};
    assert_int_equal(weir_limit_earliest(&at, &f.memory->foreign[0], &time, 2, 0), NOW + 300 * MS);
    /* The reaper finds its own stamps sound, as often as it looks; further ahead nobody writes. */
    assert_int_equal(weir_units_reap(at.row, at.cell, NOW + 10 * MS, lives_none, NULL), 2);
    assert_int_equal(weir_units_reap(at.row, at.cell, NOW, lives_none, NULL), 0);
    fixture_time_set(&view, NOW + 300 * MS - 1);
    assert_int_equal(take(0, &p[2]), WEIR_DENIED);
    fixture_time_set(&view, NOW + 300 * MS);
    assert_int_equal(take(0, &p[2]), WEIR_OK);
    assert_int_equal(take(0, &p[0]), WEIR_DENIED); /* p[0] died 10 ms later */
    assert_int_equal(p[0].denial.earliest_ns, NOW + 310 * MS);
    at.cell[0] = at.cell[1] = NOW + 300 * MS + 290 * MS + WEIR_NS_PER_S + 1;
    assert_int_equal(weir_units_reap(at.row, at.cell, NOW + 300 * MS, lives_all, NULL), 2);
    fixture_time_set(&view, NOW + 600 * MS);
    assert_int_equal(take(0, &p[0]), WEIR_OK);
    /* A start cannot know whose calls are open: all rest as those of the dead. */
    weir_limit_spend(&at, NULL, NOW + 600 * MS);
    assert_int_equal(take(1, &p[0]), WEIR_DENIED);
    assert_int_equal(p[0].denial.earliest_ns, NOW + 900 * MS);
    fixture_time_set(&view, NOW + 900 * MS);
    assert_int_equal(used(), 0);
    fixture_close(&f);
}

/*
 * A unit is settled, or its owner dies, and reloads change both rests while it rests. Oracle: when it may be free again, by the rests that were in force when it was let go; not before, by whichever row
 * somebody reads. It is free then, unless a rest became longer, and never called damaged.
 */
static void orphan_reloads(uint64_t *random)
{
    uint64_t now_ns = NOW;
    struct weir_shm_limit_row row = {.cell_cnt = 1,
                                     .span_ns = fixture_random_below(random, 2000000000)};
    row.ahead_ns = fixture_random_below(random, 5000000000);
    uint64_t cell = WEIR_UNIT_HELD;
    bool dies = fixture_random_below(random, 3) > 0;
    const uint64_t due_ns = now_ns + row.span_ns + (dies ? row.ahead_ns : 0);
    uint64_t longer_ns = 0;
    cell = dies ? cell : now_ns;
    assert_int_equal(weir_units_reap(&row, &cell, now_ns, lives_none, NULL), dies);
    while (now_ns < due_ns) {
        const struct weir_shm_limit_row old = row;
        row.span_ns = fixture_random_below(random, 2000000000);
        row.ahead_ns = fixture_random_below(random, 5000000000);
        row.ahead_peak_ns = weir_units_ahead_peak(&row, &old);
        weir_units_follow(&row, &old, &cell);
        longer_ns += row.span_ns > old.span_ns ? row.span_ns - old.span_ns : 0;
        assert_false(weir_unit_free(cell, due_ns - 1, old.span_ns));
        assert_false(weir_unit_free(cell, due_ns - 1, row.span_ns));
        assert_true(weir_unit_free(cell, due_ns + longer_ns, row.span_ns));
        assert_int_equal(weir_units_reap(&row, &cell, now_ns, lives_all, NULL), 0);
        now_ns += 1 + fixture_random_below(random, due_ns - now_ns);
    }
}

static void test_orphans_reload(void **state)
{
    (void)state;
    uint64_t random = 1;
    for (int i = 0; i < 20000; i++) {
        orphan_reloads(&random);
    }
}

static void test_settle_windows(void **state)
{
    (void)state;
    struct weir_permit p[4];
    open_with(WEIR_LIMIT_FIXED_WINDOW, 0, 10, 4);
    fixture_time_set(&view, NOW + 500 * MS);
    const struct weir_cost none = {.cnt = 1, .units = {0}};
    const struct weir_cost six = {.cnt = 1, .units = {6}};
    const struct weir_cost many = {.cnt = 1, .units = {4000000000U}};
    assert_int_equal(take(0, &p[0]), WEIR_OK);
    assert_int_equal(weir_permit_end(&view, &p[0], &none), WEIR_OK); /* it counted for nothing */
    assert_int_equal(used(), 0);
    assert_int_equal(take(0, &p[0]), WEIR_OK);
    assert_int_equal(weir_permit_end(&view, &p[0], &six), WEIR_OK);
    assert_int_equal(used(), 6);
    /* The window of the charge is over: what it cost besides may have been counted in this one. */
    assert_int_equal(take(0, &p[1]), WEIR_OK);
    fixture_time_set(&view, NOW + 1500 * MS);
    assert_int_equal(weir_permit_end(&view, &p[1], &six), WEIR_OK);
    assert_int_equal(used(), 2);
    assert_int_equal(take(0, &p[2]), WEIR_OK);
    assert_int_equal(weir_permit_end(&view, &p[2], &many), WEIR_OK);
    assert_int_equal(used(), 20); /* as much as the word may hold: closed, whatever is given back */
    const struct weir_limit_place at = fixture_place(&f, &view, 0, false);
    const struct weir_limit_place own = fixture_place(&f, &view, 0, true);
    const struct weir_server_clock clock = {.state = WEIR_CLOCK_KNOWN, .jitter_ns = 10 * MS};
    assert_int_equal(weir_limit_audit(&at, &own, &clock, &view.time), WEIR_LIMIT_SOUND);
    fixture_close(&f);
}

static void test_settle_buckets(void **state)
{
    (void)state;
    struct weir_permit p;
    open_with(WEIR_LIMIT_TOKEN_BUCKET, 0, 100, 10);
    const struct weir_cost four = {.cnt = 1, .units = {4}};
    const struct weir_cost twelve = {.cnt = 1, .units = {12}};
    const struct weir_cost many = {.cnt = 1, .units = {4000000000U}};
    assert_int_equal(take(0, &p), WEIR_OK);
    assert_int_equal(weir_permit_end(&view, &p, &four), WEIR_OK);
    assert_int_equal(f.memory->word[0].word[0], NOW + 4 * view.tables.limit[0].unit_ns);
    assert_int_equal(take(0, &p), WEIR_OK);
    assert_int_equal(weir_permit_end(&view, &p, &twelve), WEIR_OK);
    assert_int_equal(f.memory->word[0].word[0], NOW + 16 * view.tables.limit[0].unit_ns);
    assert_int_equal(take(0, &p), WEIR_OK);
    assert_int_equal(weir_permit_end(&view, &p, &many), WEIR_OK);
    assert_int_equal(f.memory->word[0].word[0], NOW + 126 * view.tables.limit[0].unit_ns);
    assert_int_equal(take(1, &p), WEIR_DENIED);
    fixture_close(&f);
}

/*
 * Four of four are charged; one of them turns out to cost two, one was never sent and comes back. The exchange has counted four: nothing is left. Were
 * the surcharge cut off at the quota, what comes back would be granted anew.
 */
static void surcharge_when_full(uint32_t kind, uint32_t form)
{
    struct weir_permit p[5];
    open_with(kind, form, kind == WEIR_LIMIT_TOKEN_BUCKET ? 5 : 4,
              1); /* a bucket gives up one for the jitter */
    fixture_time_set(&view, NOW + 500 * MS);
    for (uint32_t i = 0; i < 4; i++) {
        assert_int_equal(take(0, &p[i]), WEIR_OK);
    }
    const struct weir_cost two = {.cnt = 1, .units = {2}};
    assert_int_equal(weir_permit_end(&view, &p[0], &two), WEIR_OK);
    assert_int_equal(weir_permit_give(&view, &p[1]), WEIR_OK);
    assert_int_equal(take(0, &p[4]), WEIR_DENIED);
    assert_int_equal(weir_permit_give(&view, &p[2]), WEIR_OK);
    assert_int_equal(take(0, &p[4]), WEIR_OK);
    assert_int_equal(take(0, &p[4]), WEIR_DENIED);
    fixture_close(&f);
}

static void test_surcharge_when_full(void **state)
{
    (void)state;
    surcharge_when_full(WEIR_LIMIT_TOKEN_BUCKET, 0);
    surcharge_when_full(WEIR_LIMIT_FIXED_WINDOW, 0);
    surcharge_when_full(WEIR_LIMIT_SLIDING_WINDOW, WEIR_FORM_PARTS);
    surcharge_when_full(WEIR_LIMIT_SLIDING_WINDOW, WEIR_FORM_CELLS);
}

/* What is owed beside the cells is forgotten at one instant, and a forecast knows it. */
static void test_surcharge_forecast(void **state)
{
    (void)state;
    struct weir_permit p;
    const struct weir_cost many = {.cnt = 1, .units = {9}};
    open_with(WEIR_LIMIT_SLIDING_WINDOW, WEIR_FORM_CELLS, 4, 1);
    assert_int_equal(take(0, &p), WEIR_OK);
    fixture_time_set(&view, NOW + 200 * MS);
    assert_int_equal(weir_permit_end(&view, &p, &many), WEIR_OK);
    const struct weir_limit_place at = fixture_place(&f, &view, 0, false);
    const struct weir_limit_time time = {.now_ns = NOW + 200 * MS};
    const uint64_t free_ns = weir_limit_earliest(&at, &f.memory->foreign[0], &time, 1, 0);
    assert_in_range(free_ns, NOW + 200 * MS + at.row->span_ns, NOW + 250 * MS + at.row->span_ns);
    fixture_time_set(&view, free_ns - 1);
    assert_int_equal(take(0, &p), WEIR_DENIED);
    fixture_time_set(&view, free_ns);
    assert_int_equal(take(0, &p), WEIR_OK);
    fixture_close(&f);
}

/* A surcharge takes a cell that was given back rather than the oldest, whose unit still counts. */
static void test_surcharge_beside_free_cell(void **state)
{
    (void)state;
    struct weir_permit p[4];
    const struct weir_cost two = {.cnt = 1, .units = {2}};
    open_with(WEIR_LIMIT_SLIDING_WINDOW, WEIR_FORM_CELLS, 4, 1);
    for (uint32_t i = 0; i < 4; i++) {
        fixture_time_set(&view, NOW + i);
        assert_int_equal(take(0, &p[i]), WEIR_OK);
    }
    assert_int_equal(weir_permit_give(&view, &p[2]), WEIR_OK);
    assert_int_equal(weir_permit_end(&view, &p[3], &two), WEIR_OK);
    assert_int_equal(used(), 4);
    assert_int_equal(take(0, &p[2]), WEIR_DENIED);
    fixture_close(&f);
}

/* What others use is kept free, however the cells lie: two of eight given back in the middle do not make room for six and four. */
static void test_given_back_beside_foreign(void **state)
{
    (void)state;
    struct weir_permit p[9];
    open_with(WEIR_LIMIT_SLIDING_WINDOW, WEIR_FORM_CELLS, 8, 1);
    for (uint32_t i = 0; i < 8; i++) {
        fixture_time_set(&view, NOW + i);
        assert_int_equal(take(0, &p[i]), WEIR_OK);
    }
    assert_int_equal(weir_permit_give(&view, &p[5]), WEIR_OK);
    assert_int_equal(weir_permit_give(&view, &p[4]), WEIR_OK);
    f.memory->foreign[0].word[0] = weir_foreign_make(NOW + WEIR_NS_PER_S, 4);
    assert_int_equal(take(0, &p[8]), WEIR_DENIED);
    assert_true(p[8].denial.earliest_ns > NOW + 8);
    f.memory->foreign[0].word[0] = 0;
    assert_int_equal(take(0, &p[8]), WEIR_OK);
    fixture_close(&f);
}

/* A call that stays open comes on top of a window that was overdrawn: nothing of what stands there is cut off. */
static void test_open_call_overdrawn(void **state)
{
    (void)state;
    struct weir_permit open;
    struct weir_permit p;
    open_with(WEIR_LIMIT_FIXED_WINDOW, 0, 10, 4);
    fixture_time_set(&view, NOW + 500 * MS);
    assert_int_equal(take(1, &open), WEIR_OK);
    open.state = WEIR_PERMIT_SENT;
    fixture_time_set(&view, NOW + 1500 * MS);
    const struct weir_cost twelve = {.cnt = 1, .units = {12}};
    assert_int_equal(take(0, &p), WEIR_OK);
    assert_int_equal(weir_permit_end(&view, &p, &twelve), WEIR_OK);
    const uint64_t word = f.memory->word[0].word[1001 & 1];
    assert_int_equal((uint32_t)word, 12);
    assert_int_equal(weir_overdue_charge(&view, &open, 30 * MS), 1);
    assert_int_equal((uint32_t)f.memory->word[0].word[1001 & 1], 13);
    fixture_close(&f);
}

/* A charge that a stranger made up is refused before anything is touched. */
static void test_settle_forged(void **state)
{
    (void)state;
    struct weir_permit p;
    open_with(WEIR_LIMIT_FIXED_WINDOW, 0, 10, 4);
    assert_int_equal(take(0, &p), WEIR_OK);
    const struct weir_permit good = p;
    p.charge[0].kind = WEIR_LIMIT_CONCURRENCY;
    assert_int_equal(weir_permit_end(&view, &p, NULL), WEIR_E_ARGUMENT);
    p = good;
    p.charge[0].word = FIXTURE_WORDS - 1;
    assert_int_equal(weir_permit_give(&view, &p), WEIR_E_ARGUMENT);
    p = good;
    p.charge_cnt = WEIR_PERMIT_LIMITS_MAX + 1;
    assert_int_equal(weir_permit_end(&view, &p, NULL), WEIR_E_ARGUMENT);
    p = good;
    p.charge[0].window = 12345;
    assert_int_equal(weir_permit_give(&view, &p), WEIR_OK);
    assert_int_equal(used(), 4);
    fixture_close(&f);
}

/* Kraken's cancel: the published table, and the dearer bracket wherever the age is not known well enough. */
static void test_age(void **state)
{
    (void)state;
    const struct weir_shm_route_row row = {
        .limit_cnt = 1,
        .cost = {0},
        .age_cnt = 6,
        .age_below_ns = {5 * WEIR_NS_PER_S, 10 * WEIR_NS_PER_S, 15 * WEIR_NS_PER_S,
                         45 * WEIR_NS_PER_S, 90 * WEIR_NS_PER_S, 300 * WEIR_NS_PER_S},
        .age_units = {8, 6, 5, 4, 2, 1}};
    static const struct {
        uint64_t age_ms, jitter_ms;
        uint32_t units;
    } cases[] = {{0, 0, 8},       {4999, 0, 8},      {5000, 0, 6},    {9999, 0, 6},
                 {10000, 0, 5},   {44999, 0, 4},     {89999, 0, 2},   {90000, 0, 1},
                 {300000, 0, 0},  {5049, 50, 8},     {5050, 50, 6},   {5051, 50, 6},
                 {4950, 50, 8},   {20000, 15000, 6}, {300049, 50, 1}, {300050, 50, 0},
                 {100, 400000, 8}};
    for (size_t i = 0; i < WEIR_ARRAY_CNT(cases); i++) {
        assert_int_equal(weir_age_units(&row, cases[i].age_ms * MS, cases[i].jitter_ms * MS),
                         cases[i].units);
    }
    assert_int_equal(weir_age_cheaper(&row, 0, 50 * MS), 5050 * MS);
    assert_int_equal(weir_age_cheaper(&row, 5050 * MS, 50 * MS), 10050 * MS);
    assert_int_equal(weir_age_cheaper(&row, 300000 * MS, 50 * MS), 300050 * MS);
    assert_true(weir_age_cheaper(&row, 300050 * MS, 50 * MS) == UINT64_MAX);
    /* A table that grows dearer with age: the dearest of all that the age may touch. */
    const struct weir_shm_route_row odd = {
        .limit_cnt = 1, .cost = {9}, .age_cnt = 2, .age_below_ns = {10, 20}, .age_units = {1, 5}};
    assert_int_equal(weir_age_units(&odd, 9, 0), 1);
    assert_int_equal(weir_age_units(&odd, 9, 1), 5);
    assert_int_equal(weir_age_units(&odd, 9, 11), 9);
}

/* Windows of unequal length: February, a day of 23 hours; before and behind the edges nothing is given anew. */
static void test_calendar(void **state)
{
    (void)state;
    struct {
        struct weir_shm_limit_row row;
        uint64_t edge[4];
    } block = {.row = {.kind = WEIR_LIMIT_FIXED_WINDOW,
                       .quota = 10,
                       .window_ns = 23,
                       .calendar_id = 100,
                       .calendar_cnt = 4},
               .edge = {1000, 1024, 1047, 1072}};
    block.row.calendar_off_bytes = offsetof(__typeof__(block), edge);
    static const struct {
        uint64_t t, id, into, length;
    } cases[] = {{1000, 100, 0, 24},  {1023, 100, 23, 24},    {1024, 101, 0, 23},
                 {1046, 101, 22, 23}, {1047, 102, 0, 25},     {1071, 102, 24, 25},
                 {1072, 103, 0, 0},   {99999, 103, 98927, 0}, {999, 99, 0, 1},
                 {0, 99, 0, 1000}};
    struct weir_window_cache cache = {0};
    for (size_t i = 0; i < WEIR_ARRAY_CNT(cases); i++) {
        uint64_t into;
        uint64_t length;
        assert_int_equal(weir_window_find(&block.row, cases[i].t, &into, &length), cases[i].id);
        assert_int_equal(into, cases[i].into);
        if (cases[i].length != 0) {
            assert_int_equal(length, cases[i].length);
        } else {
            assert_true(length > UINT64_C(1) << 60);
        }
        assert_int_equal(weir_window_find_cached(&cache, &block.row, cases[i].t, &into),
                         cases[i].id);
        assert_int_equal(into, cases[i].into);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sliding_bound),
        cmocka_unit_test(test_sliding_refund),
        cmocka_unit_test(test_sliding_refunds),
        cmocka_unit_test(test_sliding_room),
        cmocka_unit_test(test_sliding_surcharge),
        cmocka_unit_test(test_sliding_surcharge_overtaken),
        cmocka_unit_test(test_sliding_hint),
        cmocka_unit_test(test_sliding_damage),
        cmocka_unit_test(test_sliding_others),
        cmocka_unit_test(test_concurrency),
        cmocka_unit_test(test_concurrency_scribbled),
        cmocka_unit_test(test_orphans),
        cmocka_unit_test(test_orphans_reload),
        cmocka_unit_test(test_settle_windows),
        cmocka_unit_test(test_settle_buckets),
        cmocka_unit_test(test_surcharge_when_full),
        cmocka_unit_test(test_surcharge_beside_free_cell),
        cmocka_unit_test(test_surcharge_forecast),
        cmocka_unit_test(test_given_back_beside_foreign),
        cmocka_unit_test(test_settle_forged),
        cmocka_unit_test(test_calendar),
        cmocka_unit_test(test_age),
        cmocka_unit_test(test_sliding_open_call),
        cmocka_unit_test(test_open_call_overdrawn),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
