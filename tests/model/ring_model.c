/*
 * ring_model.c: every interleaving of shm/weir_ring.c on small rings, one shared access at a time, with kills at any step.
 *
 * Every write of the ring is a locked CAS, so on x86-TSO it behaves as under sequential consistency, and that is what is
 * explored here.
 *
 * Oracle: a ghost queue, changed in the same step as the linearization points of weir_ring.h.
 *   - an entry is published at the ghost's end and never while n are inside; a take gets the ghost's front: no loss, no
 *     duplicate, FIFO;
 *   - FULL and EMPTY are answered only if the ghost was full, empty, at an instant within the call;
 *   - honest producers never make a consumer poison a cell or repair tail, whoever is killed where;
 *   - in every reachable state each live thread, running alone, ends its call within SOLO_STEPS_MAX accesses;
 *   - in every reachable state, if all threads die there, a new consumer takes exactly what the ghost holds and a new producer
 *     puts exactly n entries before FULL.
 * Mutants: the algorithm with one thing wrong. Each must break the oracle; one that survives fails the test. Two changes are
 * known not to matter and must survive, so that nobody takes those lines for the load-bearing ones.
 *
 * ring_model [--big] [--trace]
 */
#include <stdio.h>
#include <string.h>

#include "explore.h"
#include "ring_steps.h"

#define SOLO_STEPS_MAX 10

static uint32_t solo_steps_seen;

static bool runnable(const struct thread *th)
{
    return th->pc != PC_DEAD && (th->pc != PC_IDLE || th->calls_left > 0);
}

/* Actions: 0.. one access by thread t; then a kill of thread t. */
static bool step(const void *config, void *state, uint32_t action, const char **why)
{
    const struct config *c = config;
    struct state *s = state;
    uint32_t threads = (uint32_t)c->producers + c->consumers;
    struct thread *th = &s->thread[action % threads];
    if (!runnable(th)) {
        return false;
    }
    if (action < threads) {
        ring_step(c, s, action, why);
        return true;
    }
    if (s->kills_left == 0) {
        return false;
    }
    s->kills_left--;
    *th = (struct thread){.pc = PC_DEAD};
    return true;
}

/* Runs thread t alone until its call ends. False: it did not within the bound. */
static bool run_alone(const struct config *c, struct state *s, uint32_t t, const char **why)
{
    uint32_t steps_max = c->mutant == MUTANT_NONE ? SOLO_STEPS_MAX : 2 * SOLO_STEPS_MAX;
    for (uint32_t i = 1; i <= steps_max; i++) {
        ring_step(c, s, t, why);
        if (*why != NULL || s->thread[t].pc == PC_IDLE) {
            if (c->mutant == MUTANT_NONE && i > solo_steps_seen) {
                solo_steps_seen = i;
            }
            return true;
        }
    }
    return false;
}

/* Everybody dies; a new consumer empties the ring, then a new producer fills it. */
static void check_after_all_died(const struct config *c, const struct state *at, const char **why)
{
    struct state s = *at;
    uint32_t consumer = c->producers; /* the first consumer's place, for the new one */
    for (uint32_t t = 0; t < THREADS_MAX; t++) {
        s.thread[t] = (struct thread){.calls_left = 2 * CELLS_MAX};
    }
    for (uint32_t left = ring_ghost_inside(&s) + 1u; left > 0 && *why == NULL; left--) {
        if (!run_alone(c, &s, consumer, why)) {
            *why = "after a death, a take does not end";
        }
    }
    if (*why == NULL && ring_ghost_inside(&s) != 0) {
        *why = "after a death, entries stay in the ring";
    }
    for (uint32_t i = 0; i <= c->cells && *why == NULL; i++) {
        if (!run_alone(c, &s, 0, why)) {
            *why = "after a death, a put does not end";
        }
    }
    if (*why == NULL && ring_ghost_inside(&s) != c->cells) {
        *why = "after a death, the ring cannot be filled";
    }
}

static void check(const void *config, const void *state, const char **why)
{
    const struct config *c = config;
    const struct state *at = state;
    for (uint32_t t = 0; t < (uint32_t)c->producers + c->consumers && *why == NULL; t++) {
        if (at->thread[t].pc == PC_IDLE || at->thread[t].pc == PC_DEAD) {
            continue;
        }
        struct state s = *at;
        if (!run_alone(c, &s, t, why)) {
            *why = "a call that runs alone does not end";
        }
    }
    if (*why == NULL) {
        check_after_all_died(c, at, why);
    }
}

static void print(const void *config, uint32_t action, const void *after)
{
    const struct config *c = config;
    const struct state *s = after;
    uint32_t threads = (uint32_t)c->producers + c->consumers;
    uint32_t t = action % threads;
    printf("%s%u %-9s next: %-20s tail %u head %u inside %u\n", ring_is_producer(c, t) ? "P" : "C",
           t, action < threads ? "" : "is killed", ring_pc_names[s->thread[t].pc], s->tail, s->head,
           ring_ghost_inside(s));
}

static struct state first_state(const struct config *c)
{
    struct state s = {.tail = c->cells, .head = c->cells, .kills_left = c->kills};
    for (uint32_t t = 0; t < (uint32_t)c->producers + c->consumers; t++) {
        s.thread[t].calls_left = ring_is_producer(c, t) ? c->puts : c->takes;
    }
    return s;
}

static void run(const struct config *c, bool trace, struct explore_result *result)
{
    struct state first = first_state(c);
    struct explore_model model = {
        .name = c->name,
        .state_bytes = sizeof(first),
        .action_cnt = 2u * ((uint32_t)c->producers + c->consumers),
        .config = c,
        .step = step,
        .check = check,
        .print = print,
    };
    explore(&model, &first, 60000000, result);
    printf("%-44s n=%u %uPx%u %uCx%u kills=%u  %9llu states %10llu steps %5.1f s  %s\n", c->name,
           c->cells, c->producers, c->puts, c->consumers, c->takes, c->kills,
           (unsigned long long)result->state_cnt, (unsigned long long)result->transition_cnt,
           result->wall_s, explore_outcome(result));
    if (result->why != NULL && trace) {
        explore_print_trace(&model, &first, result);
    }
    fflush(stdout);
}

/* name, mutant, cells, producers, puts, consumers, takes, kills */
static const struct config honest[] = {
    {"ring", MUTANT_NONE, 1, 2, 2, 1, 3, 2}, {"ring", MUTANT_NONE, 2, 2, 2, 1, 3, 1},
    {"ring", MUTANT_NONE, 1, 3, 1, 1, 2, 2}, {"ring", MUTANT_NONE, 1, 2, 1, 2, 2, 1},
    {"ring", MUTANT_NONE, 2, 2, 2, 2, 1, 1}, {"ring", MUTANT_NONE, 4, 2, 3, 1, 2, 1},
    {"ring", MUTANT_NONE, 2, 3, 1, 2, 1, 2}, {"ring", MUTANT_NONE, 2, 2, 2, 2, 2, 1},
};
static const struct config honest_big[] = {
    {"ring", MUTANT_NONE, 1, 3, 2, 1, 3, 2},
    {"ring", MUTANT_NONE, 2, 3, 2, 1, 3, 1},
    {"ring", MUTANT_NONE, 4, 2, 3, 2, 2, 1},
};
static const struct config mutants[] = {
    {"mutant: full compared unsigned", MUTANT_UNSIGNED_FULL, 2, 2, 2, 1, 2, 0},
    {"mutant: no full test", MUTANT_NO_FULL, 2, 2, 2, 1, 1, 0},
    {"mutant: tail judged before head again", MUTANT_JUDGE_FIRST, 1, 2, 2, 2, 2, 0},
    {"mutant: tail stored, not CAS", MUTANT_TAIL_STORE, 2, 2, 2, 1, 3, 0},
    {"mutant: head loaded before tail", MUTANT_HEAD_BEFORE_TAIL, 2, 2, 3, 1, 2, 0},
    {"mutant: nobody helps", MUTANT_NO_HELP, 2, 2, 1, 1, 1, 1},
    {"mutant: cell stored, not CAS", MUTANT_PUBLISH_STORE, 2, 2, 1, 1, 1, 0},
    {"mutant: claim first, publish later", MUTANT_PUBLISH_AFTER_TAIL, 2, 2, 1, 1, 1, 1},
    {"mutant: head stored, not CAS", MUTANT_TAKE_STORE, 2, 1, 2, 2, 1, 0},
    {"mutant: poison stored, not CAS", MUTANT_POISON_STORE, 2, 1, 1, 1, 1, 0},
    {"mutant: judged without head again", MUTANT_EMPTY_ONE_LOOK, 1, 2, 2, 2, 2, 0},
};
static const struct config harmless[] = {
    {"same: head loaded before cell", SAME_HEAD_BEFORE_CELL, 1, 2, 2, 1, 3, 1},
    {"same: head loaded before cell", SAME_HEAD_BEFORE_CELL, 2, 2, 2, 1, 3, 1},
    {"same: FULL after one look at tail", SAME_FULL_ONE_LOOK, 1, 2, 2, 1, 3, 1},
    {"same: FULL after one look at tail", SAME_FULL_ONE_LOOK, 2, 2, 2, 1, 3, 1},
};

static uint32_t run_all(const struct config *list, size_t cnt, bool must_hold, bool trace)
{
    uint32_t wrong = 0;
    for (size_t i = 0; i < cnt; i++) {
        struct explore_result result;
        run(&list[i], trace || must_hold, &result);
        wrong += explore_is_wrong(&result, must_hold);
    }
    return wrong;
}

int main(int argc, char **argv)
{
    bool big = false;
    bool trace = false;
    for (int i = 1; i < argc; i++) {
        big |= strcmp(argv[i], "--big") == 0;
        trace |= strcmp(argv[i], "--trace") == 0;
    }
    printf("no seed: every interleaving is visited\n");
    uint32_t wrong = run_all(honest, sizeof(honest) / sizeof(honest[0]), true, trace);
    if (big) {
        wrong += run_all(honest_big, sizeof(honest_big) / sizeof(honest_big[0]), true, trace);
    }
    printf("a call that runs alone ends within %u accesses (bound %u)\n", solo_steps_seen,
           SOLO_STEPS_MAX);
    wrong += run_all(mutants, sizeof(mutants) / sizeof(mutants[0]), false, trace);
    wrong += run_all(harmless, sizeof(harmless) / sizeof(harmless[0]), true, trace);
    printf("%u wrong\n", wrong);
    return wrong == 0 ? 0 : 1;
}
