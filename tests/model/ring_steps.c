/* ring_steps.c: the algorithm and its mutants, step by step. One function makes at most one access to shared memory. */
#include "ring_steps.h"

const char *const ring_pc_names[] = {"idle",
                                     "put: load tail",
                                     "put: load cell",
                                     "put: load head",
                                     "help: CAS tail",
                                     "full: load tail",
                                     "publish: CAS cell",
                                     "advance: CAS tail",
                                     "take: load head",
                                     "take: load cell",
                                     "take: CAS head",
                                     "take: load tail",
                                     "recheck: load head",
                                     "poison: CAS cell",
                                     "repair: CAS tail",
                                     "dead"};

bool ring_is_producer(const struct config *c, uint32_t t)
{
    return t < c->producers;
}

static uint8_t cycle_of(const struct config *c, uint8_t pos)
{
    return (uint8_t)(pos / c->cells);
}

static struct cell *cell_of(const struct config *c, struct state *s, uint8_t pos)
{
    return &s->cell[pos & (c->cells - 1)];
}

static bool cell_same(struct cell a, struct cell b)
{
    return a.cycle == b.cycle && a.handle == b.handle;
}

uint8_t ring_ghost_inside(const struct state *s)
{
    return (uint8_t)(s->published - s->taken);
}

/* After each change of the ghost: which answers did it make true for calls under way? */
static void ghost_changed(const struct config *c, struct state *s)
{
    for (uint32_t t = 0; t < THREADS_MAX; t++) {
        struct thread *th = &s->thread[t];
        if (th->pc == PC_IDLE || th->pc == PC_DEAD) {
            continue;
        }
        bool refuse =
            th->pc >= PC_TAKE_HEAD ? ring_ghost_inside(s) == 0 : ring_ghost_inside(s) == c->cells;
        th->could_refuse |= refuse;
    }
}

static void ghost_publish(const struct config *c, struct state *s, uint8_t pos, uint8_t handle,
                          const char **why)
{
    if (pos != (uint8_t)(c->cells + s->published)) {
        *why = "published at a position that is not the next";
    } else if (ring_ghost_inside(s) >= c->cells) {
        *why = "published into a full ring: an entry is lost";
    } else {
        s->ghost[s->published++] = handle;
        ghost_changed(c, s);
    }
}

static void ghost_take(const struct config *c, struct state *s, uint8_t pos, uint8_t handle,
                       const char **why)
{
    if (ring_ghost_inside(s) == 0 || pos != (uint8_t)(c->cells + s->taken)) {
        *why = "took an entry twice, or one that nobody published";
    } else if (s->ghost[s->taken] != handle) {
        *why = "took another entry than the oldest";
    } else {
        s->taken++;
        ghost_changed(c, s);
    }
}

static void call_begin(const struct config *c, struct state *s, struct thread *th, enum pc pc)
{
    uint8_t inside = ring_ghost_inside(s);
    th->calls_left--;
    th->could_refuse = pc == PC_TAKE_HEAD ? inside == 0 : inside == c->cells;
    th->pc = (uint8_t)pc;
}

static void call_end(struct thread *th)
{
    *th = (struct thread){.calls_left = th->calls_left};
}

static void call_refused(struct thread *th, const char *what, const char **why)
{
    if (!th->could_refuse) {
        *why = what;
    }
    call_end(th);
}

/* Back to the top of the loop: what was seen is forgotten. */
static void call_retry(struct thread *th, enum pc pc)
{
    *th = (struct thread){
        .calls_left = th->calls_left, .could_refuse = th->could_refuse, .pc = (uint8_t)pc};
}

static void cas_tail(const struct config *c, struct state *s, uint8_t expected, uint8_t to)
{
    if (s->tail == expected || c->mutant == MUTANT_TAIL_STORE) {
        s->tail = to;
    }
}

static enum pc put_first(const struct config *c)
{
    return c->mutant == MUTANT_HEAD_BEFORE_TAIL ? PC_PUT_HEAD : PC_PUT_TAIL;
}

static void put_judge_full(const struct config *c, struct thread *th)
{
    uint8_t ahead = (uint8_t)(th->tail - th->head);
    bool full =
        c->mutant == MUTANT_UNSIGNED_FULL ? ahead >= c->cells : (int8_t)ahead >= (int8_t)c->cells;
    if (full && c->mutant != MUTANT_NO_FULL) {
        th->pc = PC_FULL;
    } else {
        th->pc = PC_PUBLISH;
    }
}

static void put_cell(const struct config *c, struct state *s, struct thread *th)
{
    uint8_t cycle = cycle_of(c, th->tail);
    th->seen = *cell_of(c, s, th->tail);
    if (th->seen.cycle == cycle) {
        if (c->mutant == MUTANT_NO_HELP) {
            call_retry(th, PC_PUT_TAIL);
        } else {
            th->pc = PC_HELP;
        }
    } else if ((uint8_t)(th->seen.cycle + 1) != cycle) {
        call_retry(th, put_first(c));
    } else if (c->mutant == MUTANT_HEAD_BEFORE_TAIL || c->mutant == SAME_HEAD_BEFORE_CELL) {
        put_judge_full(c, th);
    } else {
        th->pc = PC_PUT_HEAD;
    }
}

static void put_head(const struct config *c, struct state *s, struct thread *th)
{
    th->head = s->head;
    if (c->mutant == MUTANT_HEAD_BEFORE_TAIL) {
        th->pc = PC_PUT_TAIL;
    } else if (c->mutant == SAME_HEAD_BEFORE_CELL) {
        th->pc = PC_PUT_CELL;
    } else {
        put_judge_full(c, th);
    }
}

static void put_publish(const struct config *c, struct state *s, struct thread *th, uint8_t handle,
                        const char **why)
{
    struct cell *cell = cell_of(c, s, th->tail);
    if (c->mutant == MUTANT_PUBLISH_AFTER_TAIL) { /* the claim */
        if (s->tail != th->tail) {
            call_retry(th, PC_PUT_TAIL);
        } else {
            s->tail++;
            th->pc = PC_ADVANCE;
        }
        return;
    }
    if (!cell_same(*cell, th->seen) && c->mutant != MUTANT_PUBLISH_STORE) {
        call_retry(th, put_first(c));
        return;
    }
    *cell = (struct cell){.cycle = cycle_of(c, th->tail), .handle = handle};
    th->pc = PC_ADVANCE;
    ghost_publish(c, s, th->tail, handle, why);
}

static void put_advance(const struct config *c, struct state *s, struct thread *th, uint8_t handle,
                        const char **why)
{
    if (c->mutant == MUTANT_PUBLISH_AFTER_TAIL) { /* the late publication */
        *cell_of(c, s, th->tail) = (struct cell){.cycle = cycle_of(c, th->tail), .handle = handle};
        ghost_publish(c, s, th->tail, handle, why);
    } else {
        cas_tail(c, s, th->tail, (uint8_t)(th->tail + 1));
    }
    call_end(th);
}

static void step_put(const struct config *c, struct state *s, uint32_t t, const char **why)
{
    struct thread *th = &s->thread[t];
    if (th->pc == PC_IDLE) {
        call_begin(c, s, th, put_first(c));
    }
    uint8_t handle = (uint8_t)(t * 8 + th->calls_left + 1);
    switch (th->pc) {
    case PC_PUT_TAIL:
        th->tail = s->tail;
        th->pc = c->mutant == SAME_HEAD_BEFORE_CELL ? PC_PUT_HEAD : PC_PUT_CELL;
        break;
    case PC_PUT_CELL:
        put_cell(c, s, th);
        break;
    case PC_PUT_HEAD:
        put_head(c, s, th);
        break;
    case PC_HELP:
        cas_tail(c, s, th->tail, (uint8_t)(th->tail + 1));
        call_retry(th, put_first(c));
        break;
    case PC_FULL:
        if (s->tail == th->tail || c->mutant == SAME_FULL_ONE_LOOK) {
            call_refused(th, "FULL, but it was never full during the call", why);
        } else {
            call_retry(th, put_first(c));
        }
        break;
    case PC_PUBLISH:
        put_publish(c, s, th, handle, why);
        break;
    default:
        put_advance(c, s, th, handle, why);
        break;
    }
}

/* judged_empty() of weir_ring.c, once its loads are done. */
static void take_judge(const struct config *c, struct thread *th, const char **why)
{
    int8_t ahead = (int8_t)(uint8_t)(th->tail - th->head);
    bool behind = (uint8_t)(th->seen.cycle + 1) == cycle_of(c, th->head);
    if (!behind) {
        th->pc = PC_POISON;
    } else if (ahead < -1 || ahead > (int8_t)c->cells) {
        th->pc = PC_REPAIR;
    } else if (ahead > 0) {
        th->pc = PC_POISON;
    } else {
        call_refused(th, "EMPTY, but it was never empty during the call", why);
    }
}

static void take_take(const struct config *c, struct state *s, struct thread *th, const char **why)
{
    if (s->head != th->head && c->mutant != MUTANT_TAKE_STORE) {
        call_retry(th, PC_TAKE_HEAD);
        return;
    }
    s->head = (uint8_t)(th->head + 1);
    uint8_t pos = th->head;
    uint8_t handle = th->seen.handle;
    call_end(th);
    ghost_take(c, s, pos, handle, why);
}

static void take_tail(const struct config *c, struct state *s, struct thread *th, const char **why)
{
    th->tail = s->tail;
    int8_t ahead = (int8_t)(uint8_t)(th->tail - th->head);
    if (c->mutant == MUTANT_JUDGE_FIRST && (ahead < -1 || ahead > (int8_t)c->cells)) {
        th->pc = PC_REPAIR;
    } else if (c->mutant == MUTANT_EMPTY_ONE_LOOK) {
        take_judge(c, th, why);
    } else {
        th->pc = PC_RECHECK;
    }
}

static void step_take(const struct config *c, struct state *s, uint32_t t, const char **why)
{
    struct thread *th = &s->thread[t];
    if (th->pc == PC_IDLE) {
        call_begin(c, s, th, PC_TAKE_HEAD);
    }
    switch (th->pc) {
    case PC_TAKE_HEAD:
        th->head = s->head;
        th->pc = PC_TAKE_CELL;
        break;
    case PC_TAKE_CELL:
        th->seen = *cell_of(c, s, th->head);
        th->pc = th->seen.cycle == cycle_of(c, th->head) ? PC_TAKE : PC_TAKE_TAIL;
        break;
    case PC_TAKE:
        take_take(c, s, th, why);
        break;
    case PC_TAKE_TAIL:
        take_tail(c, s, th, why);
        break;
    case PC_RECHECK:
        if (s->head != th->head) {
            call_retry(th, PC_TAKE_HEAD);
        } else {
            take_judge(c, th, why);
        }
        break;
    case PC_POISON:
        if (cell_same(*cell_of(c, s, th->head), th->seen) || c->mutant == MUTANT_POISON_STORE) {
            *why = "poisoned a cell though everybody is honest";
        }
        call_retry(th, PC_TAKE_HEAD);
        break;
    default: /* PC_REPAIR */
        if (s->tail == th->tail) {
            *why = "dragged tail back though everybody is honest";
        }
        call_retry(th, PC_TAKE_HEAD);
        break;
    }
}

void ring_step(const struct config *c, struct state *s, uint32_t t, const char **why)
{
    if (ring_is_producer(c, t)) {
        step_put(c, s, t, why);
    } else {
        step_take(c, s, t, why);
    }
}
