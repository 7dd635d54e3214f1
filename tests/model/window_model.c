/*
 * window_model.c: the two words of a fixed window (shm/weir_window.h) with straddles, refunds, surcharges, foreign use, kills and preemption at each
 * access, while time runs through several windows.
 *
 *   take      weir_permit.c time_read; weir_window_plan (one load a window); CAS of the first, then of the second window (step_take); where somebody was
 *             faster the first half goes back (weir_limit_take_again, window_give) and it is planned anew
 *   give      weir_limit.c window_give: only while the word bears the id, never below zero
 *   kept      the answer says which window counted a straddle: the other half is given back
 *   surcharge weir_limit.c windows_add: into the charged windows that are not over, and the current one behind them, up to twice the quota
 *   foreign   others' use stands in a word of its own on the board and is only added up (weir_window_fit)
 *
 * Oracle: for each window the units that the server may count there, by calls that were or may yet be made; nothing of the words.
 *   bound     at each grant, for each window that its call may be counted in: at most N, with foreign units and surcharges that were known when the taker
 *             read its clock
 *   refunds   without a kill, whenever nobody is within a call, each word holds exactly that
 *   alone     in every reachable state each live process ends its call by itself within ALONE_STEPS_MAX accesses
 *
 * window_model [--trace]
 */
#include <stdio.h>
#include <string.h>

#include "explore.h"

#define PROCS           2
#define WINDOWS         4
#define WINDOW          3 /* ticks */
#define TIME_MAX        8
#define ALONE_STEPS_MAX 24

enum mutant {
    MUTANT_NONE,
    MUTANT_NO_STRADDLE, /* one window is charged, though the call may reach the next */
    MUTANT_HALF_STAYS,  /* a straddle that finds the second window taken leaves the first charged */
    MUTANT_GIVE_ANY,    /* gives back whatever window the word bears */
    MUTANT_GIVE_STORE,  /* the refund is stored, not CAS */
    MUTANT_TAKE_STORE,  /* the charge is stored, not CAS */
    MUTANT_AHEAD,       /* charges over a word that bears a later window */
    MUTANT_GIVE_TWICE,  /* a second settle is not refused */
    MUTANT_MERGE,       /* max(own, the server's count) is written into our own word */
    MUTANT_ADD_CLIPS,   /* a surcharge into a full window is forgotten */
    MUTANT_FIRST_ONLY,  /* grants once the first half of a straddle is charged */
};

struct config {
    const char *name;
    enum mutant mutant;
    bool must_hold;
    uint8_t calls;
    uint8_t quota;
    uint8_t kills;
    uint8_t adds;
    uint8_t foreign;
    uint8_t time_first;
    uint8_t time_max;
};

enum pc {
    PC_IDLE,
    PC_CLOCK,
    PC_LOAD_0,
    PC_LOAD_1,
    PC_CAS_0,
    PC_CAS_1,
    PC_HALF_LOAD,
    PC_HALF_CAS,
    PC_HELD,
    PC_GIVE_LOAD,
    PC_GIVE_CAS,
    PC_ADD_LOAD,
    PC_ADD_CAS,
    PC_DEAD
};

static const char *const pc_names[] = {"idle",     "clock",     "load",     "load 2nd", "cas",
                                       "cas 2nd",  "half:load", "half:cas", "held",     "give:load",
                                       "give:cas", "add:load",  "add:cas",  "dead"};

struct word {
    uint8_t k;
    uint8_t units;
};

struct proc {
    uint8_t pc;
    uint8_t calls_left;
    uint8_t first;   /* window of the charge */
    uint8_t windows; /* 1 or 2 */
    uint8_t w;       /* which of them a refund or a surcharge is at */
    uint8_t last_w;
    uint8_t knows_extra;   /* surcharge and foreign units that were there when it read its clock */
    uint8_t knows_foreign; /* a bit a window */
    struct word seen[2];
    uint8_t gives;
    uint8_t rsv[3];
};

struct state {
    uint8_t time;
    uint8_t kills_left;
    uint8_t adds_left;
    uint8_t foreign_left;
    struct word word[2];
    struct word foreign;
    uint8_t killed;         /* ghost: from here on */
    uint8_t cnt[WINDOWS];   /* our units that the server may count in that window */
    uint8_t extra[WINDOWS]; /* surcharges */
    uint8_t stood[WINDOWS]; /* foreign units that the server has counted there */
    uint8_t extra_known;    /* surcharges that are over */
    uint8_t rsv[8];
    struct proc proc[PROCS];
};
_Static_assert(sizeof(struct state) % 8 == 0, "explore.h");

static struct word *word_of(struct state *s, uint32_t k)
{
    return &s->word[k & 1];
}

static bool same(struct word a, struct word b)
{
    return a.k == b.k && a.units == b.units;
}

static uint8_t own(struct word w, uint32_t k)
{
    return w.k == k ? w.units : 0;
}

static void done(struct proc *p)
{
    *p = (struct proc){.calls_left = p->calls_left};
}

static void ghost_granted(const struct config *c, struct state *s, const struct proc *p,
                          uint8_t windows, const char **why)
{
    for (uint32_t k = p->first; k < p->first + (uint32_t)windows; k++) {
        s->cnt[k]++;
        uint32_t others = (p->knows_extra ? s->extra[k] : 0U) +
                          ((p->knows_foreign >> k & 1) != 0 ? s->stood[k] : 0U);
        if (s->cnt[k] + others > c->quota) {
            *why = "the server may count more than N in one window";
        }
    }
}

/* weir_window_fit of window p->first + w */
static void plan(const struct config *c, struct state *s, struct proc *p, uint32_t w)
{
    uint32_t k = p->first + w;
    struct word seen = *word_of(s, k);
    p->seen[w] = seen;
    bool ahead = seen.k > k && c->mutant != MUTANT_AHEAD;
    if (ahead || own(seen, k) + own(s->foreign, k) + 1U > c->quota) {
        done(
            p); /* refused, or starts over: either way this attempt is at its end, and nothing is charged */
    } else {
        p->pc = w + 1U < p->windows ? PC_LOAD_1 : PC_CAS_0;
    }
}

static void charge(const struct config *c, struct state *s, struct proc *p, uint32_t w,
                   const char **why)
{
    uint32_t k = p->first + w;
    struct word *at = word_of(s, k);
    if (!same(*at, p->seen[w]) && c->mutant != MUTANT_TAKE_STORE) {
        p->pc = w == 0 ? PC_LOAD_0 : (c->mutant == MUTANT_HALF_STAYS ? PC_LOAD_0 : PC_HALF_LOAD);
        return;
    }
    *at = (struct word){(uint8_t)k, (uint8_t)(own(p->seen[w], k) + 1)};
    if (w + 1U < p->windows && c->mutant != MUTANT_FIRST_ONLY) {
        p->pc = PC_CAS_1;
        return;
    }
    uint8_t charged = p->windows;
    /* What the server may do does not depend on what was charged. */
    uint8_t reach = (uint8_t)(c->mutant == MUTANT_NO_STRADDLE && p->last_w ? 2 : charged);
    ghost_granted(c, s, p, reach, why);
    p->pc = PC_HELD;
    p->seen[0] = p->seen[1] = (struct word){0, 0};
    p->knows_extra = 0;
    p->knows_foreign = 0;
}

/* window_give's CAS; true: it is over, with or without a change */
static bool give_back(const struct config *c, struct state *s, struct proc *p, uint32_t k)
{
    struct word *at = word_of(s, k);
    if ((p->seen[0].k != k && c->mutant != MUTANT_GIVE_ANY) || p->seen[0].units == 0) {
        return true;
    }
    if (!same(*at, p->seen[0]) && c->mutant != MUTANT_GIVE_STORE) {
        p->seen[0] = *at;
        return false;
    }
    *at = (struct word){p->seen[0].k, (uint8_t)(p->seen[0].units - 1)};
    return true;
}

static void give(const struct config *c, struct state *s, struct proc *p)
{
    uint32_t k = p->first + (uint32_t)p->w;
    if (p->pc == PC_GIVE_LOAD) {
        p->seen[0] = *word_of(s, k);
        p->pc = PC_GIVE_CAS;
    } else if (give_back(c, s, p, k)) {
        p->pc = PC_GIVE_LOAD;
        p->seen[0] = (struct word){0, 0};
        if (p->w++ == p->last_w) {
            p->gives++;
            p->w = 0;
            if (c->mutant != MUTANT_GIVE_TWICE || p->gives == 2) {
                done(p);
            }
        }
    }
}

/* windows_add: one window after the other, p->w .. p->last_w */
static void add(const struct config *c, struct state *s, struct proc *p)
{
    uint32_t k = p->first + (uint32_t)p->w;
    struct word *at = word_of(s, k);
    uint32_t most = c->quota * (c->mutant == MUTANT_ADD_CLIPS ? 1U : 2U);
    if (p->pc == PC_ADD_LOAD) {
        p->seen[0] = *at;
        p->pc = PC_ADD_CAS;
        return;
    }
    if (p->seen[0].k <= k) {
        if (!same(*at, p->seen[0])) {
            p->seen[0] = *at;
            return;
        }
        uint32_t sum = own(p->seen[0], k) + 1U;
        *at = (struct word){(uint8_t)k, (uint8_t)(sum > most ? most : sum)};
    }
    p->pc = PC_ADD_LOAD;
    p->seen[0] = (struct word){0, 0};
    if (p->w++ == p->last_w) {
        s->extra_known = 1;
        done(p);
    }
}

static void access_step(const struct config *c, struct state *s, struct proc *p, const char **why)
{
    switch (p->pc) {
    case PC_CLOCK: /* time_read, weir_window_span_at: counted at now or up to one tick later */
        p->first = s->time / WINDOW;
        p->windows = s->time % WINDOW == WINDOW - 1 ? 2 : 1;
        p->last_w = (uint8_t)(p->windows - 1);
        if (c->mutant == MUTANT_NO_STRADDLE) {
            p->windows = 1;
        }
        p->knows_extra = s->extra_known;
        p->knows_foreign =
            (uint8_t)((s->stood[p->first] ? 1U << p->first : 0U) |
                      (p->first + 1U < WINDOWS && s->stood[p->first + 1] ? 2U << p->first : 0U));
        p->pc = PC_LOAD_0;
        break;
    case PC_LOAD_0:
        plan(c, s, p, 0);
        break;
    case PC_LOAD_1:
        plan(c, s, p, 1);
        break;
    case PC_CAS_0:
        charge(c, s, p, 0, why);
        break;
    case PC_CAS_1:
        charge(c, s, p, 1, why);
        break;
    case PC_HALF_LOAD:
        p->seen[0] = *word_of(s, p->first);
        p->pc = PC_HALF_CAS;
        break;
    case PC_HALF_CAS:
        p->pc = give_back(c, s, p, p->first) ? PC_LOAD_0 : PC_HALF_CAS;
        break;
    case PC_GIVE_LOAD:
    case PC_GIVE_CAS:
        give(c, s, p);
        break;
    default:
        add(c, s, p);
    }
}

/* A call was counted dearer than charged: by one unit, in one of its windows, whichever it was. */
static bool add_begin(const struct config *c, struct state *s, struct proc *p)
{
    uint8_t now = s->time / WINDOW;
    if (s->adds_left == 0 || now > p->first + 1) {
        return false;
    }
    (void)c;
    s->adds_left--;
    /* The charged windows that are not over; the current one, where the charge does not reach it: first .. last is without a gap. */
    uint8_t last = (uint8_t)(p->first + p->windows - 1);
    uint8_t reach = (uint8_t)(s->time % WINDOW == WINDOW - 1 ? now + 1 : now);
    uint8_t from = now > p->first ? now : p->first;
    uint8_t to = reach > last ? reach : last;
    for (uint8_t k = p->first; k <= last; k++) {
        s->extra[k] = (uint8_t)(s->extra[k] +
                                (k >= from)); /* over: nobody is granted anything there any more */
    }
    p->first = from;
    p->w = 0;
    p->last_w = (uint8_t)(to - from);
    p->pc = PC_ADD_LOAD;
    return true;
}

/* Actions: per process a step (a held permit is used), a kill, a refund, each half of a straddle refunded, a surcharge; then a tick, and a foreign call. */
enum { VERB_STEP, VERB_KILL, VERB_GIVE, VERB_KEEP_FIRST, VERB_KEEP_SECOND, VERB_ADD, VERBS };

static bool held_step(const struct config *c, struct state *s, struct proc *p, uint32_t verb)
{
    bool both = p->last_w == 1 && p->windows == 2;
    switch (verb) {
    case VERB_STEP:
        done(p);
        return true;
    case VERB_GIVE:
        for (uint32_t w = 0; w <= p->last_w; w++) {
            s->cnt[p->first + w]--;
        }
        p->last_w = (uint8_t)(p->windows - 1);
        p->pc = PC_GIVE_LOAD;
        return true;
    case VERB_KEEP_FIRST:
    case VERB_KEEP_SECOND:
        if (!both) {
            return false;
        }
        p->w = p->last_w = verb == VERB_KEEP_FIRST;
        s->cnt[p->first + p->w]--;
        p->pc = PC_GIVE_LOAD;
        return true;
    case VERB_ADD:
        return add_begin(c, s, p);
    default:
        return false;
    }
}

static bool foreign_call(const struct config *c, struct state *s)
{
    uint8_t k = s->time / WINDOW;
    bool planning =
        false; /* whoever plans meanwhile may still count without it: an estimate is never newer than its news */
    for (uint32_t i = 0; i < PROCS; i++) {
        planning |= s->proc[i].pc >= PC_LOAD_0 && s->proc[i].pc <= PC_HALF_CAS;
    }
    if (s->foreign_left == 0 || planning) {
        return false;
    }
    s->foreign_left--;
    s->stood[k]++;
    if (c->mutant == MUTANT_MERGE) { /* the reply says: used = what the server has counted */
        struct word *at = word_of(s, k);
        uint8_t used = s->stood[k];
        *at = (struct word){k, own(*at, k) > used ? own(*at, k) : used};
    } else {
        s->foreign = (struct word){k, (uint8_t)(own(s->foreign, k) + 1)};
    }
    return true;
}

static bool step(const void *config, void *state, uint32_t action, const char **why)
{
    const struct config *c = config;
    struct state *s = state;
    if (action == VERBS * PROCS) {
        s->time++;
        return s->time <= c->time_max;
    }
    if (action > VERBS * PROCS) {
        return foreign_call(c, s);
    }
    struct proc *p = &s->proc[action / VERBS];
    uint32_t verb = action % VERBS;
    if (verb == VERB_KILL) {
        if (p->pc == PC_DEAD || p->pc == PC_IDLE || s->kills_left == 0) {
            return false;
        }
        s->kills_left--;
        s->killed = 1;
        *p = (struct proc){.pc = PC_DEAD};
        return true;
    }
    if (p->pc == PC_HELD) {
        return held_step(c, s, p, verb);
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
    bool quiet = !at->killed;
    for (uint32_t i = 0; i < PROCS && *why == NULL; i++) {
        struct state s = *at;
        struct proc *p = &s.proc[i];
        uint32_t n = 0;
        const char *other = NULL;
        quiet &= p->pc == PC_IDLE || p->pc == PC_HELD;
        while (p->pc != PC_IDLE && p->pc != PC_HELD && p->pc != PC_DEAD && n++ < ALONE_STEPS_MAX) {
            access_step(c, &s, p, &other);
        }
        *why = n > ALONE_STEPS_MAX ? "a call that runs alone does not end" : NULL;
    }
    for (uint32_t i = 0;
         i < 2 && quiet && at->extra_known == 0 && c->mutant != MUTANT_MERGE && *why == NULL; i++) {
        if ((at->word[i].k & 1) == i && at->word[i].units != at->cnt[at->word[i].k]) {
            *why = "what is charged is not what is granted and not given back";
        }
    }
}

static void print(const void *config, uint32_t action, const void *after)
{
    static const char *const verbs[VERBS] = {"",          "is killed", "gives",
                                             "keeps 1st", "keeps 2nd", "adds"};
    const struct state *s = after;
    (void)config;
    char who[40];
    (void)snprintf(
        who, sizeof who,
        action < VERBS * PROCS ? "P%u %s next %s" : (action == VERBS * PROCS ? "tick" : "foreign"),
        action / VERBS, verbs[action % VERBS], pc_names[s->proc[action / VERBS % PROCS].pc]);
    printf("%-36s time %u  {%u: %u} {%u: %u} foreign {%u: %u}\n", who, s->time, s->word[0].k,
           s->word[0].units, s->word[1].k, s->word[1].units, s->foreign.k, s->foreign.units);
}

/* name, mutant, must hold, calls each, N, kills, surcharges, foreign calls, first and last tick */
static const struct config configs[] = {
    {"window: N=1, three windows", MUTANT_NONE, true, 3, 1, 1, 0, 0, 2, 8},
    {"window: N=2, straddles, foreign use", MUTANT_NONE, true, 2, 2, 1, 0, 1, 2, 6},
    {"window: N=2, surcharge", MUTANT_NONE, true, 3, 2, 1, 1, 0, 2, 5},
    {"mutant: no straddle", MUTANT_NO_STRADDLE, false, 1, 1, 0, 0, 0, 2, 3},
    {"mutant: granted by the first half", MUTANT_FIRST_ONLY, false, 1, 1, 0, 0, 0, 2, 3},
    {"mutant: half a straddle stays", MUTANT_HALF_STAYS, false, 1, 2, 0, 0, 0, 2, 3},
    {"mutant: refund whatever the id", MUTANT_GIVE_ANY, false, 2, 1, 0, 0, 0, 0, 8},
    {"mutant: refund stored, not CAS", MUTANT_GIVE_STORE, false, 2, 2, 0, 0, 0, 0, 0},
    {"mutant: charge stored, not CAS", MUTANT_TAKE_STORE, false, 1, 1, 0, 0, 0, 0, 0},
    {"mutant: charged over a later window", MUTANT_AHEAD, false, 2, 1, 0, 0, 0, 0, 6},
    {"mutant: settled twice", MUTANT_GIVE_TWICE, false, 2, 1, 0, 0, 0, 0, 0},
    {"mutant: max-merge of the server's count into our word", MUTANT_MERGE, false, 2, 2, 0, 0, 2, 2,
     3},
    {"mutant: a surcharge into a full window is forgotten", MUTANT_ADD_CLIPS, false, 2, 2, 0, 1, 0,
     0, 0},
};

int main(int argc, char **argv)
{
    bool trace = argc > 1 && strcmp(argv[1], "--trace") == 0;
    uint32_t wrong = 0;
    printf("no seed: every interleaving is visited\n");
    for (size_t i = 0; i < sizeof(configs) / sizeof(configs[0]); i++) {
        const struct config *c = &configs[i];
        struct state first = {.time = c->time_first,
                              .kills_left = c->kills,
                              .adds_left = c->adds,
                              .foreign_left = c->foreign};
        for (uint32_t p = 0; p < PROCS; p++) {
            first.proc[p].calls_left = c->calls;
        }
        struct explore_model model = {c->name, sizeof(first), VERBS * PROCS + 2, c, step,
                                      check,   print};
        wrong += explore_judge(&model, &first, c->must_hold, trace);
    }
    printf("%u wrong\n", wrong);
    return wrong == 0 ? 0 : 1;
}
