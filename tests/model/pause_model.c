/*
 * pause_model.c: the pause word of a provider (shm/weir_pause.h) with reporters, a worker that resumes, kills, and preemption at each access, while time
 * runs.
 *
 *   permit   weir_permit.c gate_check: the clock, then one load; refused while it holds, else it remembers the generation
 *   report   weir_pause_extend: load, CAS; only under the generation of the permit, never shorter
 *   resume   weir_pause_resume: load, CAS to the next generation
 *
 * Oracle
 *   holds    whoever looks after a report was taken in, at a time before its end, is refused, unless somebody resumed since
 *   late     what was permitted before a resume does not pause again after it
 *   alone    in every reachable state each live process ends its call by itself within ALONE_STEPS_MAX accesses
 *
 * pause_model [--trace]
 */
#include <stdio.h>
#include <string.h>

#include "explore.h"

#define PROCS           3
#define ALONE_STEPS_MAX 12

enum mutant {
    MUTANT_NONE,
    MUTANT_STORE,           /* a report is stored, not CAS */
    MUTANT_ANY_GENERATION,  /* a report does not ask under which generation it was permitted */
    MUTANT_SHORTENS,        /* a report with an earlier end replaces one with a later */
    MUTANT_SAME_GENERATION, /* a resume does not raise the generation */
    MUTANT_RESUME_STORE, /* a resume is stored over what was reported since it looked, of a later generation too */
    MUTANT_ONE_TRY, /* a report that loses its CAS is dropped */
};

struct config {
    const char *name;
    enum mutant mutant;
    bool must_hold;
    uint8_t procs;
    uint8_t calls;
    uint8_t resumes;
    uint8_t resumers;
    uint8_t kills;
    uint8_t time_max;
};

enum pc { PC_IDLE, PC_CLOCK, PC_LOOK, PC_HELD, PC_LOAD, PC_CAS, PC_DEAD };

static const char *const pc_names[] = {"idle", "clock", "look", "held", "load", "cas", "dead"};

struct word {
    uint8_t until;
    uint8_t generation;
};

struct proc {
    uint8_t pc;
    uint8_t calls_left;
    uint8_t now;
    uint8_t generation; /* of its permit */
    uint8_t until;      /* that it reports */
    struct word seen;
    uint8_t rsv;
};

struct state {
    uint8_t time;
    struct word word;
    uint8_t kills_left;
    uint8_t resumes_left;
    uint8_t resumer[2]; /* PC_IDLE, PC_CAS: two of them, an old worker and its successor */
    struct word resumer_seen[2];
    uint8_t must_hold_until; /* ghost: taken in since the last resume */
    uint8_t resumed;         /* how often */
    uint8_t since[PROCS];    /* how often somebody had resumed when this one looked */
    struct proc proc[PROCS];
};
_Static_assert(sizeof(struct state) % 8 == 0, "explore.h");

static bool same(struct word a, struct word b)
{
    return a.until == b.until && a.generation == b.generation;
}

static void done(struct proc *p)
{
    *p = (struct proc){.calls_left = p->calls_left};
}

/* The report is at its end; `in`: the word says so now. */
static void reported(struct state *s, struct proc *p, bool in)
{
    if (in && p->until > s->must_hold_until) {
        s->must_hold_until = p->until;
    }
    s->since[p - s->proc] = 0;
    done(p);
}

static void report(const struct config *c, struct state *s, struct proc *p, const char **why)
{
    if (p->pc == PC_LOAD) {
        p->seen = s->word;
        p->pc = PC_CAS;
        return;
    }
    if (p->seen.generation != p->generation && c->mutant != MUTANT_ANY_GENERATION) {
        reported(s, p, false);
    } else if (p->seen.until >= p->until && c->mutant != MUTANT_SHORTENS) {
        reported(s, p, same(p->seen, s->word));
    } else if (same(p->seen, s->word) || c->mutant == MUTANT_STORE) {
        if (s->since[p - s->proc] != s->resumed) {
            *why = "an answer to a call from before the resume pauses again";
        }
        s->word = (struct word){p->until, c->mutant == MUTANT_ANY_GENERATION ? s->word.generation
                                                                             : p->generation};
        reported(s, p, true);
    } else if (c->mutant == MUTANT_ONE_TRY) {
        reported(s, p, true);
    } else {
        p->seen = s->word;
    }
}

static void access_step(const struct config *c, struct state *s, struct proc *p, const char **why)
{
    switch (p->pc) {
    case PC_CLOCK:
        p->now = s->time;
        p->pc = PC_LOOK;
        break;
    case PC_LOOK:
        if (p->now < s->word.until) {
            done(p);
            break;
        }
        if (p->now < s->must_hold_until) {
            *why = "permitted while a reported pause holds";
        }
        p->generation = s->word.generation;
        s->since[p - s->proc] = s->resumed;
        p->now = 0;
        p->pc = PC_HELD;
        break;
    default:
        report(c, s, p, why);
    }
}

static bool resume(const struct config *c, struct state *s, uint32_t i)
{
    struct word next = {0, (uint8_t)(s->resumer_seen[i].generation +
                                     (c->mutant == MUTANT_SAME_GENERATION ? 0 : 1))};
    if (s->resumer[i] == PC_IDLE) {
        if (s->resumes_left == 0) {
            return false;
        }
        s->resumes_left--;
        s->resumer_seen[i] = s->word;
        s->resumer[i] = PC_CAS;
    } else if (same(s->word, s->resumer_seen[i]) || c->mutant == MUTANT_RESUME_STORE) {
        s->word = next;
        s->must_hold_until = 0;
        s->resumed++;
        s->resumer[i] = PC_IDLE;
        s->resumer_seen[i] = (struct word){0, 0};
    } else {
        s->resumer_seen[i] = s->word;
    }
    return true;
}

/* Actions: per process a step (a held permit's call is answered well), a kill, a report of a short and of a long pause; then a tick, and the resumers. */
enum { VERB_STEP, VERB_KILL, VERB_SHORT, VERB_LONG, VERBS };

static bool step(const void *config, void *state, uint32_t action, const char **why)
{
    const struct config *c = config;
    struct state *s = state;
    uint32_t last = VERBS * (uint32_t)c->procs;
    if (action >= last) {
        s->time = (uint8_t)(s->time + (action == last));
        return action == last ? s->time <= c->time_max : resume(c, s, action - last - 1);
    }
    struct proc *p = &s->proc[action / VERBS];
    uint32_t verb = action % VERBS;
    if (verb == VERB_KILL) {
        if (p->pc == PC_DEAD || p->pc == PC_IDLE || s->kills_left == 0) {
            return false;
        }
        s->kills_left--;
        s->since[action / VERBS] = 0;
        *p = (struct proc){.pc = PC_DEAD};
        return true;
    }
    if (verb != VERB_STEP) {
        if (p->pc != PC_HELD) {
            return false;
        }
        p->until = (uint8_t)(s->time + (verb == VERB_SHORT ? 1 : 3));
        p->pc = PC_LOAD;
        return true;
    }
    if (p->pc == PC_DEAD || (p->pc == PC_IDLE && p->calls_left == 0)) {
        return false;
    }
    if (p->pc == PC_HELD) {
        s->since[action / VERBS] = 0;
        done(p);
    } else if (p->pc == PC_IDLE) {
        p->calls_left--;
        p->pc = PC_CLOCK;
    } else {
        access_step(c, s, p, why);
    }
    return true;
}

static void check(const void *config, const void *state, const char **why)
{
    const struct config *c = config;
    for (uint32_t i = 0; i < c->procs && *why == NULL; i++) {
        struct state s = *(const struct state *)state;
        struct proc *p = &s.proc[i];
        const char *other = NULL;
        uint32_t n = 0;
        while (p->pc != PC_IDLE && p->pc != PC_HELD && p->pc != PC_DEAD && n++ < ALONE_STEPS_MAX) {
            access_step(c, &s, p, &other);
        }
        *why = n > ALONE_STEPS_MAX ? "a call that runs alone does not end" : NULL;
    }
}

static void print(const void *config, uint32_t action, const void *after)
{
    static const char *const verbs[VERBS] = {"", "is killed", "reports 1", "reports 3"};
    const struct config *c = config;
    const struct state *s = after;
    if (action < VERBS * (uint32_t)c->procs) {
        printf("P%u %-9s next %-6s", action / VERBS, verbs[action % VERBS],
               pc_names[s->proc[action / VERBS].pc]);
    } else {
        printf("%-24s", action == VERBS * (uint32_t)c->procs ? "tick" : "resume");
    }
    printf("  time %u, until %u, generation %u\n", s->time, s->word.until, s->word.generation);
}

/* name, mutant, must hold, processes, calls each, resumes, resumers, kills, last tick */
static const struct config configs[] = {
    {"pause: 2 processes, 2 resumes", MUTANT_NONE, true, 2, 2, 2, 1, 1, 4},
    {"pause: 3 processes", MUTANT_NONE, true, 3, 1, 1, 1, 1, 3},
    {"pause: two workers resume at once", MUTANT_NONE, true, 2, 2, 3, 2, 0, 3},
    {"mutant: reported by a store", MUTANT_STORE, false, 2, 1, 1, 1, 0, 2},
    {"mutant: reported under any generation", MUTANT_ANY_GENERATION, false, 2, 1, 1, 1, 0, 2},
    {"mutant: a report shortens", MUTANT_SHORTENS, false, 3, 1, 0, 1, 0, 2},
    {"mutant: a resume in the same generation", MUTANT_SAME_GENERATION, false, 2, 1, 1, 1, 0, 2},
    {"mutant: two workers resume by a store", MUTANT_RESUME_STORE, false, 2, 1, 3, 2, 0, 2},
    {"mutant: a report that loses its CAS is dropped", MUTANT_ONE_TRY, false, 3, 1, 0, 1, 0, 2},
};

int main(int argc, char **argv)
{
    bool trace = argc > 1 && strcmp(argv[1], "--trace") == 0;
    uint32_t wrong = 0;
    printf("no seed: every interleaving is visited\n");
    for (size_t i = 0; i < sizeof(configs) / sizeof(configs[0]); i++) {
        const struct config *c = &configs[i];
        struct state first = {.kills_left = c->kills, .resumes_left = c->resumes};
        for (uint32_t p = 0; p < c->procs; p++) {
            first.proc[p].calls_left = c->calls;
        }
        struct explore_model model = {
            c->name, sizeof(first), VERBS * (uint32_t)c->procs + 1U + c->resumers, c, step,
            check,   print};
        wrong += explore_judge(&model, &first, c->must_hold, trace);
    }
    printf("%u wrong\n", wrong);
    return wrong == 0 ? 0 : 1;
}
