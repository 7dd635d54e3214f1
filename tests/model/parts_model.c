/*
 * parts_model.c: a sliding window in parts (shm/weir_sliding.h, "parts"), few and short ones, with refunds, surcharges, kills and preemption at each access,
 * while time runs so far that the words of a preempted checker are used again.
 *
 *   take       weir_sliding.c parts_take: part_charge (load, CAS), parts_sum (a load per word), the clock again, parts_judge; part_give where it says no
 *   give       part_give: load, CAS, only while the word bears the part
 *   surcharge  weir_sliding_add: part_charge, whether it fits or not
 * In truth there are K + 4 words and an id may be 3 ahead; here K + `spare` and spare - 1. (parts_plan, pass 1, only saves the charge.)
 *
 * Oracle: units per instant of the grants' clock readings, of calls that may have been made, and nothing of the words.
 *   bound    at each grant: no interval of length S holds more than N units; surcharges count that were over when the taker read its clock
 *   refunds  without a kill, whenever nobody is within a call, each word of the span holds exactly what is granted and not given back
 *   alone    in every reachable state each live process ends its call by itself within ALONE_STEPS_MAX accesses
 *
 * parts_model [--trace]
 */
#include <stdio.h>
#include <string.h>

#include "explore.h"

#define PROCS           3
#define WORDS_MAX       6
#define TIME_END        12
#define ALONE_STEPS_MAX 24

enum mutant {
    MUTANT_NONE,
    MUTANT_SUM_FIRST, /* sums, then charges: write skew */
    MUTANT_NO_CLOCK_AHEAD, /* neither the second reading of the clock nor the look at ids ahead: recycled words are not seen */
    MUTANT_NO_CLOCK,       /* only the look at ids: enough while all clocks agree */
    MUTANT_NO_AHEAD,       /* only the second reading: enough as well */
    MUTANT_NO_SUM,         /* what pass 1 saw is enough */
    MUTANT_FORGETS_OLDEST, /* sums K parts instead of K + 1 */
    MUTANT_NO_FASTER,      /* does not count parts that later readings began */
    MUTANT_OVERWRITES,     /* charges over a word that bears a later part */
    MUTANT_GIVE_ANY,       /* gives back whatever part the word bears */
    MUTANT_GIVE_STORE,     /* gives back by a store */
    MUTANT_NO_WITHDRAWAL,  /* a charge that does not fit stays */
};

struct config {
    const char *name;
    enum mutant mutant;
    bool must_hold;
    uint8_t procs;
    uint8_t calls;
    uint8_t quota;
    uint8_t parts;  /* K */
    uint8_t length; /* of a part, in ticks */
    uint8_t spare;
    uint8_t kills;
    uint8_t gives;
    uint8_t adds;
    uint8_t time_max;
};

enum pc {
    PC_IDLE,
    PC_CLOCK,
    PC_LOAD,
    PC_CAS,
    PC_SUM,
    PC_CLOCK_AGAIN,
    PC_BACK_LOAD,
    PC_BACK_CAS,
    PC_HELD,
    PC_GIVE_LOAD,
    PC_GIVE_CAS,
    PC_ADD_CLOCK,
    PC_ADD_LOAD,
    PC_ADD_CAS,
    PC_DEAD
};

static const char *const pc_names[] = {"idle",     "clock",       "load",      "cas",
                                       "sum",      "clock again", "back:load", "back:cas",
                                       "held",     "give:load",   "give:cas",  "add:clock",
                                       "add:load", "add:cas",     "dead"};

struct word {
    uint8_t part;
    uint8_t units;
};

struct proc {
    uint8_t pc;
    uint8_t calls_left;
    uint8_t now;
    uint8_t i;
    uint8_t sum;
    uint8_t insane;
    uint8_t knows;
    uint8_t rsv;
    struct word seen;
    uint8_t pad[6];
};

struct state {
    uint8_t time;
    uint8_t kills_left;
    uint8_t gives_left;
    uint8_t adds_left;
    uint8_t killed;    /* ghost, from here on */
    uint8_t extra_cnt; /* surcharges that are over */
    uint8_t extra_at[2];
    uint8_t cnt[TIME_END]; /* units granted by a reading of that instant, not given back */
    struct word word[WORDS_MAX];
    struct proc proc[PROCS];
};
_Static_assert(sizeof(struct state) % 8 == 0, "explore.h");

static uint8_t part_of(const struct config *c, uint8_t time)
{
    return (uint8_t)(1 + time / c->length); /* 0 is a word that was never used */
}

static uint32_t words(const struct config *c)
{
    return c->parts + (uint32_t)c->spare;
}

static void done(struct proc *p)
{
    *p = (struct proc){.calls_left = p->calls_left};
}

static bool cas(struct word *at, const struct proc *p, struct word next)
{
    bool same = at->part == p->seen.part && at->units == p->seen.units;
    *at = same ? next : *at;
    return same;
}

static void granted(const struct config *c, struct state *s, struct proc *p, const char **why)
{
    uint32_t span = c->parts * (uint32_t)c->length;
    s->cnt[p->now]++;
    for (uint32_t a = 0; a < TIME_END; a++) {
        uint32_t units = 0;
        for (uint32_t b = a; b < a + span && b < TIME_END; b++) {
            units += s->cnt[b];
            for (uint32_t i = 0; i < p->knows; i++) {
                units += s->extra_at[i] == b;
            }
        }
        if (a <= p->now && p->now < a + span && units > c->quota) {
            *why = "more than N in an interval of one span";
        }
    }
    *p = (struct proc){.pc = PC_HELD, .calls_left = p->calls_left, .now = p->now};
}

/* parts_sum, one word */
static void sum_word(const struct config *c, const struct state *s, struct proc *p)
{
    struct word w = s->word[p->i++];
    int32_t diff = w.part - part_of(c, p->now);
    int32_t oldest = c->mutant == MUTANT_FORGETS_OLDEST ? 1 - c->parts : -c->parts;
    bool ahead = w.part != 0 && diff > c->spare - 1;
    bool counts = w.part != 0 && diff >= oldest && !(c->mutant == MUTANT_NO_FASTER && diff > 0);
    if (ahead && c->mutant != MUTANT_NO_CLOCK_AHEAD && c->mutant != MUTANT_NO_AHEAD) {
        p->insane = 1;
    } else if (counts && !ahead) {
        p->sum = (uint8_t)(p->sum + w.units);
    }
}

/* The words are summed: by the clock again, does the permit stand? */
static void judge(const struct config *c, struct state *s, struct proc *p, const char **why)
{
    bool no_clock = c->mutant == MUTANT_NO_CLOCK_AHEAD || c->mutant == MUTANT_NO_CLOCK ||
                    c->mutant == MUTANT_SUM_FIRST;
    uint8_t moved = (uint8_t)(part_of(c, s->time) - part_of(c, p->now));
    bool fits =
        p->sum + (c->mutant == MUTANT_SUM_FIRST ? 1 : 0) <= c->quota || c->mutant == MUTANT_NO_SUM;
    bool yes = !p->insane && (no_clock || moved <= 1) && fits;
    p->i = p->sum = p->insane = 0;
    if (c->mutant == MUTANT_SUM_FIRST) {
        p->pc = PC_LOAD;
        if (!yes) {
            done(p);
        }
    } else if (yes) {
        granted(c, s, p, why);
    } else if (c->mutant == MUTANT_NO_WITHDRAWAL) {
        done(p);
    } else {
        p->pc = PC_BACK_LOAD;
    }
}

/* part_charge: load, CAS. True: it is over; `*charged` says how. */
static bool charge(const struct config *c, struct word *at, struct proc *p, bool load,
                   bool *charged)
{
    uint8_t part = part_of(c, p->now);
    *charged = false;
    if (load) {
        p->seen = *at;
        return false;
    }
    if (p->seen.part > part && c->mutant != MUTANT_OVERWRITES) {
        return true;
    }
    uint8_t have = p->seen.part == part ? p->seen.units : 0;
    *charged = cas(at, p, (struct word){part, (uint8_t)(have + 1)});
    p->seen = *charged ? (struct word){0, 0} : *at;
    return *charged;
}

/* part_give: load, CAS. True: it is over. */
static bool give_back(const struct config *c, struct word *at, struct proc *p, bool load)
{
    uint8_t part = part_of(c, p->now);
    if (load) {
        p->seen = *at;
        return false;
    }
    if ((p->seen.part != part && c->mutant != MUTANT_GIVE_ANY) || p->seen.units == 0) {
        return true;
    }
    struct word next = {p->seen.part, (uint8_t)(p->seen.units - 1)};
    if (c->mutant == MUTANT_GIVE_STORE) {
        *at = next;
        return true;
    }
    bool given = cas(at, p, next);
    p->seen = *at;
    return given;
}

static void access_step(const struct config *c, struct state *s, struct proc *p, const char **why)
{
    struct word *at = &s->word[part_of(c, p->now) % words(c)];
    bool charged;
    switch (p->pc) {
    case PC_CLOCK:
        p->now = s->time;
        p->knows = s->extra_cnt;
        p->pc = c->mutant == MUTANT_SUM_FIRST ? PC_SUM : PC_LOAD;
        break;
    case PC_LOAD:
    case PC_CAS:
        if (charge(c, at, p, p->pc == PC_LOAD, &charged)) {
            p->pc = PC_SUM;
            if (!charged) {
                done(p); /* its word bears a later part: it starts over */
            } else if (c->mutant == MUTANT_SUM_FIRST) {
                granted(c, s, p, why);
            }
        } else {
            p->pc = PC_CAS;
        }
        break;
    case PC_SUM:
        sum_word(c, s, p);
        p->pc = p->i == words(c) ? PC_CLOCK_AGAIN : PC_SUM;
        break;
    case PC_CLOCK_AGAIN:
        judge(c, s, p, why);
        break;
    case PC_ADD_CLOCK:
        p->now = s->time;
        p->pc = PC_ADD_LOAD;
        break;
    case PC_ADD_LOAD:
    case PC_ADD_CAS:
        if (charge(c, at, p, p->pc == PC_ADD_LOAD, &charged)) {
            s->extra_at[s->extra_cnt++] = p->now;
            done(p);
        } else {
            p->pc = PC_ADD_CAS;
        }
        break;
    default: { /* of a withdrawal, of a refund */
        bool load = p->pc == PC_BACK_LOAD || p->pc == PC_GIVE_LOAD;
        uint8_t next = p->pc <= PC_BACK_CAS ? PC_BACK_CAS : PC_GIVE_CAS;
        if (give_back(c, at, p, load)) {
            done(p);
        } else {
            p->pc = next;
        }
    }
    }
}

/* Actions: per process a step (a held permit is used), a kill, a refund, a surcharge; then a tick. */
enum { VERB_STEP, VERB_KILL, VERB_GIVE, VERB_ADD, VERBS };

static bool held_step(struct state *s, struct proc *p, uint32_t verb)
{
    if (verb == VERB_STEP) {
        done(p);
    } else if (verb == VERB_GIVE && s->gives_left > 0) {
        s->gives_left--;
        s->cnt[p->now]--;
        p->pc = PC_GIVE_LOAD;
    } else if (verb == VERB_ADD && s->adds_left > 0) {
        s->adds_left--;
        p->now = 0;
        p->pc = PC_ADD_CLOCK;
    } else {
        return false;
    }
    return true;
}

static bool step(const void *config, void *state, uint32_t action, const char **why)
{
    const struct config *c = config;
    struct state *s = state;
    if (action == VERBS * (uint32_t)c->procs) {
        s->time++;
        return s->time <= c->time_max;
    }
    struct proc *p = &s->proc[action / VERBS];
    uint32_t verb = action % VERBS;
    if (verb == VERB_KILL) {
        if (p->pc == PC_DEAD || p->pc == PC_IDLE || p->pc == PC_HELD || s->kills_left == 0) {
            return false;
        }
        s->kills_left--;
        s->killed = 1;
        *p = (struct proc){.pc = PC_DEAD};
        return true;
    }
    if (p->pc == PC_HELD) {
        return held_step(s, p, verb);
    }
    if (verb != VERB_STEP || p->pc == PC_DEAD || (p->pc == PC_IDLE && p->calls_left == 0)) {
        return false;
    }
    if (p->pc == PC_IDLE) {
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
    const struct state *at = state;
    bool quiet = !at->killed && at->extra_cnt == 0;
    for (uint32_t i = 0; i < c->procs && *why == NULL; i++) {
        struct state s = *at;
        struct proc *p = &s.proc[i];
        const char *other = NULL;
        uint32_t n = 0;
        quiet &= p->pc == PC_IDLE || p->pc == PC_HELD;
        while (p->pc != PC_IDLE && p->pc != PC_HELD && p->pc != PC_DEAD && n++ < ALONE_STEPS_MAX) {
            access_step(c, &s, p, &other);
        }
        *why = n > ALONE_STEPS_MAX ? "a call that runs alone does not end" : NULL;
    }
    for (uint32_t i = 0; quiet && i < words(c) && *why == NULL; i++) {
        struct word w = at->word[i];
        uint32_t units = 0;
        for (uint8_t t = 0; t < TIME_END; t++) {
            units += part_of(c, t) == w.part ? at->cnt[t] : 0U;
        }
        *why = w.part != 0 && w.units != units
                   ? "what is charged is not what is granted and not given back"
                   : NULL;
    }
}

static void print(const void *config, uint32_t action, const void *after)
{
    static const char *const verbs[VERBS] = {"", "is killed", "gives", "adds"};
    const struct config *c = config;
    const struct state *s = after;
    if (action == VERBS * (uint32_t)c->procs) {
        printf("%-28s", "tick");
    } else {
        printf("P%u %-9s next %-11s", action / VERBS, verbs[action % VERBS],
               pc_names[s->proc[action / VERBS].pc]);
    }
    printf(" time %2u part %2u ", s->time, part_of(c, s->time));
    for (uint32_t i = 0; i < words(c); i++) {
        printf(" {%u: %u}", s->word[i].part, s->word[i].units);
    }
    printf("\n");
}

/* name, mutant, must hold, processes, calls each, N, K, part, spare, kills, refunds, surcharges, last tick */
static const struct config configs[] = {
    {"parts: K=2, 4 words used again", MUTANT_NONE, true, 2, 2, 1, 2, 1, 2, 1, 1, 0, 7},
    {"parts: K=1, 5 words as in truth", MUTANT_NONE, true, 2, 2, 1, 1, 1, 4, 1, 0, 0, 7},
    {"parts: K=1 of two ticks, N=2, surcharge", MUTANT_NONE, true, 2, 2, 2, 1, 2, 2, 0, 1, 1, 5},
    {"parts: 3 processes", MUTANT_NONE, true, 3, 1, 2, 1, 1, 2, 1, 1, 0, 3},
    {"equivalent while clocks agree: no second clock reading", MUTANT_NO_CLOCK, true, 2, 2, 1, 2, 1,
     2, 0, 0, 0, 7},
    {"equivalent while clocks agree: no look at ids ahead", MUTANT_NO_AHEAD, true, 2, 2, 1, 2, 1, 2,
     0, 0, 0, 7},
    {"mutant: sum, then CAS (write skew)", MUTANT_SUM_FIRST, false, 2, 1, 1, 2, 1, 2, 0, 0, 0, 2},
    {"mutant: charge, sum, neither clock nor ids looked at", MUTANT_NO_CLOCK_AHEAD, false, 2, 2, 1,
     2, 1, 2, 0, 0, 0, 7},
    {"mutant: charges without a sum", MUTANT_NO_SUM, false, 2, 1, 1, 1, 1, 2, 0, 0, 0, 1},
    {"mutant: forgets the oldest part", MUTANT_FORGETS_OLDEST, false, 2, 1, 1, 1, 2, 2, 0, 0, 0, 3},
    {"mutant: does not count faster clocks' parts", MUTANT_NO_FASTER, false, 2, 1, 1, 2, 1, 2, 0, 0,
     0, 2},
    {"mutant: charged over a later part", MUTANT_OVERWRITES, false, 2, 2, 1, 1, 1, 2, 0, 0, 0, 6},
    {"mutant: refund whatever the id", MUTANT_GIVE_ANY, false, 2, 1, 1, 1, 1, 2, 0, 1, 0, 5},
    {"mutant: refund stored, not CAS", MUTANT_GIVE_STORE, false, 2, 1, 2, 1, 1, 2, 0, 1, 0, 0},
    {"mutant: no withdrawal", MUTANT_NO_WITHDRAWAL, false, 2, 1, 1, 1, 1, 2, 0, 0, 0, 0},
};

int main(int argc, char **argv)
{
    bool trace = argc > 1 && strcmp(argv[1], "--trace") == 0;
    uint32_t wrong = 0;
    printf("no seed: every interleaving is visited\n");
    for (size_t i = 0; i < sizeof(configs) / sizeof(configs[0]); i++) {
        const struct config *c = &configs[i];
        struct state first = {.kills_left = c->kills, .gives_left = c->gives, .adds_left = c->adds};
        for (uint32_t p = 0; p < c->procs; p++) {
            first.proc[p].calls_left = c->calls;
        }
        struct explore_model model = {
            c->name, sizeof(first), VERBS * (uint32_t)c->procs + 1, c, step, check, print};
        wrong += explore_judge(&model, &first, c->must_hold, trace);
    }
    printf("%u wrong\n", wrong);
    return wrong == 0 ? 0 : 1;
}
