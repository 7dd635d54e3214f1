/*
 * cells_stepkill.c: a trader dies at every single instruction of a permit that counts in cells, of giving it back, and of ending it by what the
 * exchange counted: sliding windows in cells and in parts, and units in flight.
 *
 * One kind at a time. The child holds several units by one permit, so it also dies between two of them.
 *
 * Oracle, after each death:
 *   - what is charged is between what the child was granted and one permit; nobody's words are damaged (the audit finds them sound);
 *   - another trader gets exactly what is left, at once, and then a refusal that names the limit: never more than N;
 *   - it can give all of it back, and the rest is as the dead one left it;
 *   - weir_units_reap lets go what the dead one held, and nothing of a living one;
 *   - one span (or rest) later all N units are to be had.
 *
 * cells_stepkill [--step N]      1 = every instruction (default)
 */
#include "stepper.h"

#include "fixture.h"
#include "weir_cells.h"

#define NOW       (UINT64_C(1020) * WEIR_NS_PER_S)
#define QUOTA     6U
#define COST      3U
#define KILL_STEP 61U /* killed in truth at each so manyth */

enum op { OP_TAKE, OP_GIVE, OP_END_LESS, OP_END_MORE, OP_CNT };

static const char *const op_names[OP_CNT] = {"take", "give", "end that counted less",
                                             "end that counted more"};

static struct fixture f;
static struct shared {
    struct weir_permit permit;
    volatile int32_t answer; /* of the victim's call; -1: it did not end */
} * shared;
static enum op op;
static uint32_t leaked;
static uint64_t checks;

static void violated(const char *what, uint32_t k)
{
    printf("VIOLATED at k=%u of a %s: %s\n", k, op_names[op], what);
    exit(1);
}

static void trader(struct weir_permit_view *view, uint32_t who, uint64_t now_ns)
{
    fixture_view(&f, view, now_ns);
    view->owner = weir_owner_make(who, 7);
}

static int32_t operate(struct weir_permit_view *view, struct weir_permit *permit)
{
    const struct weir_cost counted = {.cnt = 1, .units = {op == OP_END_LESS ? COST - 1 : COST + 1}};
    switch (op) {
    case OP_TAKE:
        return weir_permit_take(view, 0, 0, NULL, 0, permit);
    case OP_GIVE:
        return weir_permit_give(view, permit);
    default:
        return weir_permit_end(view, permit, &counted);
    }
}

static void victim(void)
{
    static struct weir_permit_view view;
    trader(&view, 1, NOW);
    stepper_ready();
    shared->answer = operate(&view, &shared->permit);
}

static uint32_t used(struct weir_permit_view *view)
{
    uint64_t empty_at_ns;
    const struct weir_limit_place at = fixture_place(&f, view, 0, false);
    return weir_limit_cells_used(&at, weir_clock_now(&view->time), &empty_at_ns);
}

static bool second_lives(uint64_t cell, const void *arg)
{
    (void)arg;
    return weir_owner_of(cell) == 2;
}

/* One unit each, as many as there are; then a refusal. */
static void expect_room(struct weir_permit_view *view, uint32_t room,
                        struct weir_permit permit[QUOTA], uint32_t k)
{
    struct weir_permit over;
    for (uint32_t i = 0; i < room; i++) {
        if (weir_permit_take(view, 1, 0, NULL, 0, &permit[i]) != WEIR_OK) {
            violated("another trader is refused where there is room", k);
        }
    }
    if (weir_permit_take(view, 1, 0, NULL, 0, &over) != WEIR_DENIED ||
        over.denial.reason != WEIR_REASON_LIMIT_FULL) {
        violated("more than the limit was granted", k);
    }
}

static void expect_others_proceed(uint32_t kind, uint32_t left, uint32_t k)
{
    static struct weir_permit_view view;
    struct weir_permit permit[QUOTA];
    trader(&view, 2, NOW);
    const struct weir_limit_place at = fixture_place(&f, &view, 0, false);
    const struct weir_limit_place own = fixture_place(&f, &view, 0, true);
    const struct weir_server_clock clock = {.state = WEIR_CLOCK_KNOWN};
    if (weir_limit_audit(&at, &own, &clock, &view.time) != WEIR_LIMIT_SOUND) {
        violated("a word is damaged", k);
    }
    expect_room(&view, QUOTA - left, permit, k);
    if (kind == WEIR_LIMIT_CONCURRENCY) {
        (void)weir_units_reap(at.row, at.cell, NOW, second_lives, NULL);
        if (used(&view) != QUOTA) {
            violated("the reaper took units of the living, or left them without a rest", k);
        }
    }
    for (uint32_t i = 0; i < QUOTA - left; i++) {
        if (weir_permit_give(&view, &permit[i]) != WEIR_OK) {
            violated("a permit cannot be given back", k);
        }
    }
    if (used(&view) != left) {
        violated("giving back did not restore what the dead one left", k);
    }
    fixture_time_set(&view, NOW + at.row->span_ns * 21 / 20);
    expect_room(&view, QUOTA, permit, k);
    checks++;
}

/* What may be charged when it died there. */
static void expect_charged(uint32_t kind, bool over, uint32_t left, uint32_t k)
{
    bool parts = f.spec.limit[0].form == WEIR_FORM_PARTS;
    uint32_t before = op == OP_TAKE ? 0 : COST;
    uint32_t after = op == OP_TAKE       ? COST
                     : op == OP_GIVE     ? 0
                     : op == OP_END_LESS ? COST - 1
                                         : COST + 1;
    if (kind == WEIR_LIMIT_CONCURRENCY && op >= OP_END_LESS) {
        after = COST; /* in flight once, whatever it cost; it rests */
    }
    bool granted = op == OP_TAKE && shared->permit.state == WEIR_PERMIT_GRANTED;
    if ((over || granted) && left != after) {
        violated("over, and charged otherwise than said", k);
    }
    if (left < weir_min_u64(before, after) || left > weir_max_u64(before, after) ||
        (parts && left != before && left != after)) {
        violated("charged less or more than the permit ever was", k);
    }
}

static void open_kind(uint32_t kind, uint32_t form)
{
    const struct fixture_spec spec = {
        .jitter_ns = 5 * WEIR_NS_PER_MS,
        .slack_ns = WEIR_NS_PER_MS,
        .limit_cnt = 1,
        .route_cnt = 2,
        .limit = {{.kind = kind,
                   .form = form,
                   .quota = QUOTA,
                   .window_ns = WEIR_NS_PER_S,
                   .rest_ns = 5 * WEIR_NS_PER_MS}},
        .route = {{.limit_cnt = 1, .cost = {COST}}, {.limit_cnt = 1, .cost = {1}}},
    };
    fixture_open(&f, &spec);
    shared = (void *)(f.memory->tables + sizeof f.memory->tables - sizeof(struct shared));
}

/* The memory before the operation. */
static void prepare(void)
{
    static struct weir_permit_view view;
    memset(f.memory->word, 0, sizeof f.memory->word);
    memset(f.memory->cell, 0, sizeof f.memory->cell);
    memset(&shared->permit, 0, sizeof shared->permit);
    trader(&view, 1, NOW);
    if (op != OP_TAKE && weir_permit_take(&view, 0, 0, NULL, 0, &shared->permit) != WEIR_OK) {
        stepper_broken("take");
    }
    shared->answer = -1;
}

/* It stands, or died, behind instruction `k`. Returns whether the operation was over. */
static bool verify(uint32_t k)
{
    static struct weir_permit_view view;
    bool over = shared->answer != -1;
    if (over && shared->answer != WEIR_OK) {
        violated("the call's answer is wrong", k);
    }
    trader(&view, 1, NOW);
    uint32_t left = used(&view);
    expect_charged(f.spec.limit[0].kind, over, left, k);
    leaked += op == OP_TAKE && left > 0 && shared->permit.state != WEIR_PERMIT_GRANTED;
    expect_others_proceed(f.spec.limit[0].kind, left, k);
    return over;
}

static void kill_everywhere(const char *name, uint32_t step)
{
    leaked = 0;
    prepare();
    uint32_t cnt = stepper_walk(victim, step, verify, f.memory, sizeof *f.memory);
    printf(
        "%s: stands at every %u of %u instructions of a %s: charge left without an owner at %u\n",
        name, step, cnt, op_names[op], leaked);
    for (uint32_t k = 0; k < cnt; k += KILL_STEP * step) {
        prepare();
        stepper_kill(stepper_start(victim), k);
        (void)verify(k);
    }
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        uint32_t kind, form;
    } kinds[] = {{"cells", WEIR_LIMIT_SLIDING_WINDOW, WEIR_FORM_CELLS},
                 {"units", WEIR_LIMIT_CONCURRENCY, WEIR_FORM_NONE},
                 {"parts", WEIR_LIMIT_SLIDING_WINDOW, WEIR_FORM_PARTS}};
    uint32_t step =
        argc == 3 && strcmp(argv[1], "--step") == 0 ? (uint32_t)strtoul(argv[2], NULL, 10) : 1;
    if (step == 0) {
        fprintf(stderr, "cells_stepkill: --step=0: give 1 or more\n");
        return 1;
    }
    printf("no seed: instructions are visited in order, every %u\n", step);
    for (uint32_t i = 0; i < WEIR_ARRAY_CNT(kinds); i++) {
        open_kind(kinds[i].kind, kinds[i].form);
        for (op = OP_TAKE; op < OP_CNT; op++) {
            kill_everywhere(kinds[i].name, step);
        }
        fixture_close(&f);
    }
    printf("%llu instants verified, 0 violations\n", (unsigned long long)checks);
    return 0;
}
