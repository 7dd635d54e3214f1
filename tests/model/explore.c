/* explore.c: breadth first over a flat array of states, found again by an open-addressing table of their indices. */
#include "explore.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct visited {
    size_t state_bytes;
    uint8_t *states;
    uint32_t *parent; /* the state it was first reached from */
    uint8_t *action;  /* and by which action */
    uint64_t cnt;
    uint64_t max;
    uint32_t *table; /* index + 1; 0 = free */
    uint64_t table_max;
};

static void *grown(void *p, size_t bytes)
{
    void *grown_p = realloc(p, bytes);
    if (grown_p == NULL) {
        fprintf(stderr, "explore: no memory: %zu bytes: give a smaller model\n", bytes);
        exit(99);
    }
    return grown_p;
}

static uint64_t hash_state(const uint8_t *state, size_t bytes)
{
    uint64_t h = 0x9e3779b97f4a7c15u;
    for (size_t i = 0; i < bytes; i += 8) {
        uint64_t word;
        memcpy(&word, state + i, 8);
        h = (h ^ word) * 0xff51afd7ed558ccdu;
        h ^= h >> 32;
    }
    return h;
}

static uint8_t *state_at(const struct visited *v, uint64_t i)
{
    return v->states + i * v->state_bytes;
}

static uint32_t *table_place(const struct visited *v, const uint8_t *state)
{
    uint64_t i = hash_state(state, v->state_bytes) & (v->table_max - 1);
    while (v->table[i] != 0 && memcmp(state_at(v, v->table[i] - 1), state, v->state_bytes) != 0) {
        i = (i + 1) & (v->table_max - 1);
    }
    return &v->table[i];
}

static void visited_grow(struct visited *v)
{
    v->max = v->max == 0 ? 1 << 14 : v->max * 2;
    v->states = grown(v->states, v->max * v->state_bytes);
    v->parent = grown(v->parent, v->max * sizeof(*v->parent));
    v->action = grown(v->action, v->max);
    v->table_max = v->max * 2;
    v->table = grown(v->table, v->table_max * sizeof(*v->table));
    memset(v->table, 0, v->table_max * sizeof(*v->table));
    for (uint64_t i = 0; i < v->cnt; i++) {
        *table_place(v, state_at(v, i)) = (uint32_t)(i + 1);
    }
}

/* True: it was not known before. */
static bool visited_add(struct visited *v, const uint8_t *state, uint64_t parent, uint32_t action)
{
    if (v->cnt == v->max) {
        visited_grow(v);
    }
    uint32_t *place = table_place(v, state);
    if (*place != 0) {
        return false;
    }
    memcpy(state_at(v, v->cnt), state, v->state_bytes);
    v->parent[v->cnt] = (uint32_t)parent;
    v->action[v->cnt] = (uint8_t)action;
    v->cnt++;
    *place = (uint32_t)v->cnt;
    return true;
}

/* The way from the first state to state `from`, then `last` (UINT32_MAX: none). */
static void trace_fill(const struct visited *v, uint64_t from, uint32_t last,
                       struct explore_result *out)
{
    uint32_t depth = 0;
    for (uint64_t i = from; i != 0; i = v->parent[i]) {
        depth++;
    }
    out->trace_cnt = depth + (last != UINT32_MAX ? 1 : 0);
    uint32_t at = depth;
    for (uint64_t i = from; i != 0; i = v->parent[i]) {
        at--;
        if (at < 256) {
            out->trace[at] = v->action[i];
        }
    }
    if (last != UINT32_MAX && depth < 256) {
        out->trace[depth] = last;
    }
}

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void expand(const struct explore_model *model, struct visited *v, uint64_t i,
                   struct explore_result *out)
{
    _Alignas(8) uint8_t next[EXPLORE_STATE_BYTES_MAX];
    for (uint32_t action = 0; action < model->action_cnt && out->why == NULL; action++) {
        memcpy(next, state_at(v, i), model->state_bytes);
        if (!model->step(model->config, next, action, &out->why)) {
            continue;
        }
        out->transition_cnt++;
        if (out->why != NULL) {
            trace_fill(v, i, action, out);
            return;
        }
        if (!visited_add(v, next, i, action) || model->check == NULL) {
            continue;
        }
        model->check(model->config, next, &out->why);
        if (out->why != NULL) {
            trace_fill(v, v->cnt - 1, UINT32_MAX, out);
        }
    }
}

/* The end of an exploration that is to be short; UINT64_MAX: none. */
static uint64_t states_enough(void)
{
    const char *text = getenv("WEIR_EXPLORE_STATES");
    return text != NULL ? strtoull(text, NULL, 10) : UINT64_MAX;
}

bool explore_is_wrong(const struct explore_result *result, bool must_hold)
{
    return result->why == NULL ? !must_hold && !result->cut : must_hold;
}

const char *explore_outcome(const struct explore_result *result)
{
    return result->why != NULL ? result->why : result->cut ? "cut off" : "holds";
}

void explore(const struct explore_model *model, const void *first, uint64_t states_max,
             struct explore_result *out)
{
    struct visited v = {.state_bytes = model->state_bytes};
    memset(out, 0, sizeof(*out));
    double begin_s = now_s();
    uint64_t enough = states_enough();
    visited_add(&v, first, 0, 0);
    for (uint64_t i = 0; i < v.cnt && out->why == NULL; i++) {
        if (v.cnt > enough) {
            out->cut = true;
            break;
        }
        if (v.cnt > states_max) {
            fprintf(stderr, "explore: %s: more than %llu states: give a smaller model\n",
                    model->name, (unsigned long long)states_max);
            exit(99);
        }
        expand(model, &v, i, out);
    }
    out->state_cnt = v.cnt;
    out->wall_s = now_s() - begin_s;
    free(v.states);
    free(v.parent);
    free(v.action);
    free(v.table);
}

void explore_print_trace(const struct explore_model *model, const void *first,
                         const struct explore_result *result)
{
    _Alignas(8) uint8_t state[EXPLORE_STATE_BYTES_MAX];
    const char *why = NULL;
    memcpy(state, first, model->state_bytes);
    for (uint32_t i = 0; i < result->trace_cnt && i < 256; i++) {
        (void)model->step(model->config, state, result->trace[i], &why);
        printf("    %3u  ", i + 1);
        model->print(model->config, result->trace[i], state);
    }
    printf("    =>   %s\n", result->why);
}

uint32_t explore_judge(const struct explore_model *model, const void *first, bool must_hold,
                       bool trace)
{
    struct explore_result result;
    explore(model, first, 20000000, &result);
    printf("%-58s %8llu states %9llu steps %5.1f s  %s\n", model->name,
           (unsigned long long)result.state_cnt, (unsigned long long)result.transition_cnt,
           result.wall_s, explore_outcome(&result));
    if (result.why != NULL && (trace || must_hold)) {
        explore_print_trace(model, first, &result);
    }
    (void)fflush(stdout);
    return explore_is_wrong(&result, must_hold);
}
