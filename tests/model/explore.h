/*
 * explore.h: visits every state that a small concurrent program can reach.
 *
 * A model is a state of fixed size and a numbered set of actions; each action is one access to shared memory by one thread, or a
 * kill, or a store buffer's flush. The explorer tries every action in every state, breadth first, remembers each state once,
 * and stops at the first violation; the way there is then the shortest one, and explore_print_trace() prints it.
 *
 * WEIR_EXPLORE_STATES=N in the environment: no further than N states of each model, for valgrind, which is forty times slower. What was cut off there holds so far, and
 * proves nothing.
 *
 * Bytes of the state that mean nothing any more must be set to 0 by the model, or equal states look different.
 */
#ifndef WEIR_TESTS_EXPLORE_H
#define WEIR_TESTS_EXPLORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define EXPLORE_STATE_BYTES_MAX 128

struct explore_model {
    const char *name;
    size_t state_bytes; /* a multiple of 8, at most EXPLORE_STATE_BYTES_MAX */
    uint32_t action_cnt;
    const void *config; /* handed to the functions below */

    /* Does `action` in `state`. False: not possible here, `state` unchanged. `*why` set: a violation. */
    bool (*step)(const void *config, void *state, uint32_t action, const char **why);
    /* Looked at once for each new state. `*why` set: a violation. May be NULL. */
    void (*check)(const void *config, const void *state, const char **why);
    /* One line for the trace. */
    void (*print)(const void *config, uint32_t action, const void *after);
};

struct explore_result {
    uint64_t state_cnt;
    uint64_t transition_cnt;
    double wall_s;
    bool cut;            /* there are states that were not looked at */
    const char *why;     /* NULL: no violation in any reachable state */
    uint32_t trace_cnt;  /* actions of the shortest way to the violation */
    uint32_t trace[256]; /* the first 256 of them */
};

/* Visits everything reachable from `first`. Ends the program with 99 when there is no memory, or past `states_max`. */
void explore(const struct explore_model *model, const void *first, uint64_t states_max,
             struct explore_result *out);

/* Is this outcome not what was expected? Of a model that was cut off, only a violation where there should be none. */
bool explore_is_wrong(const struct explore_result *result, bool must_hold);

/* For people: the violation, "holds", or that it was cut off. */
const char *explore_outcome(const struct explore_result *result);

/* Prints the violation and the way to it. */
void explore_print_trace(const struct explore_model *model, const void *first,
                         const struct explore_result *result);

/*
 * Explores, prints one line, and the way to the violation where there should be none (or `trace`). Returns 1 if the outcome is not
 * `must_hold`, else 0: what main() counts.
 */
uint32_t explore_judge(const struct explore_model *model, const void *first, bool must_hold,
                       bool trace);

#endif
