/*
 * bucket_model.c: the word of a token bucket (shm/weir_bucket.h) with takers, refunds, surcharges, kills and preemption at each access, while time runs.
 *
 * A refund is wrong by as much as its clock reading is old, and a preempted process has an old reading: so reading the clock is a step.
 *
 *   take   weir_permit.c time_read; weir_bucket_plan; CAS of step_take, planned again by weir_limit_take_again where somebody was faster
 *   give   weir_limit.c bucket_give: the count of refunds, the word, then the clock, weir_bucket_refund, CAS of both; after a lost CAS from the clock on
 *   add    weir_limit.c bucket_add: a surcharge goes into the word whether it fits or not, up to twice the bucket
 *
 * Oracle: units per instant of the grants' clock readings, of calls that may have been made, and nothing of the word.
 *   bound    at each grant: no interval [a, b] holds more than B + (b - a) / T units; surcharges count that ended before the taker read its clock
 *   refunds  while no time passes and nobody is killed, the word holds exactly what is granted and not given back
 *   alone    in every reachable state each live process ends its call by itself within ALONE_STEPS_MAX accesses
 *
 * bucket_model [--trace]
 */
#include <stdio.h>
#include <string.h>

#include "explore.h"

#define PROCS           3
#define TIME_MAX        6
#define UNIT            2 /* T: ticks per unit */
#define ALONE_STEPS_MAX 12

enum mutant {
    MUTANT_NONE,
    MUTANT_PLAIN_REFUND, /* TAT -= n*T: gives back what time already gave back */
    MUTANT_CLOCK_FIRST,  /* the refund reads the clock before it loads the word */
    MUTANT_CLOCK_ONCE,   /* the refund does not read it again after a lost CAS */
    MUTANT_GIVE_STORE,
    MUTANT_TAKE_STORE,
    MUTANT_GIVE_TWICE, /* a second settle is not refused */
    MUTANT_PAST,       /* the word is not brought up to now before it is charged */
    MUTANT_ADD_CLIPS,  /* a surcharge into a full bucket is forgotten */
    MUTANT_SAME_VALUE, /* the refund's CAS compares the word alone: it may have left and come back, the reading is older than that */
    MUTANT_COUNT_LATE, /* the refund reads the count behind the word */
};

struct config {
    const char *name;
    enum mutant mutant;
    bool must_hold;
    uint8_t procs;
    uint8_t calls;
    uint8_t burst; /* B, in units */
    uint8_t kills;
    uint8_t adds;
    uint8_t time_max;
};

enum pc {
    PC_IDLE,
    PC_CLOCK,
    PC_LOAD,
    PC_CAS,
    PC_HELD,
    PC_GIVE_COUNT,
    PC_GIVE_CLOCK,
    PC_GIVE_LOAD,
    PC_GIVE_CAS,
    PC_ADD_CLOCK,
    PC_ADD_LOAD,
    PC_ADD_CAS,
    PC_DEAD
};

static const char *const pc_names[] = {
    "idle",      "clock",    "load",      "cas",      "held",    "give:count", "give:clock",
    "give:load", "give:cas", "add:clock", "add:load", "add:cas", "dead"};

struct proc {
    uint8_t pc;
    uint8_t calls_left;
    uint8_t now; /* its last clock reading */
    uint8_t seen;
    uint8_t granted_at;
    uint8_t gives;   /* of this permit */
    uint8_t knows;   /* the surcharge was over when it read its clock */
    uint8_t refunds; /* their count, as it was loaded */
};

struct state {
    uint8_t time;
    uint8_t tat;
    uint8_t kills_left;
    uint8_t adds_left;
    uint8_t killed; /* ghost: from here on */
    uint8_t extra_units;
    uint8_t extra_at;
    uint8_t
        cnt[TIME_MAX + 1]; /* units granted by a clock reading of that instant and not given back */
    uint8_t refunds;       /* word[1] */
    uint8_t rsv;
    struct proc proc[PROCS];
};
_Static_assert(sizeof(struct state) % 8 == 0, "explore.h");

static void ghost_granted(const struct config *c, struct state *s, const struct proc *p,
                          const char **why)
{
    s->cnt[p->now]++;
    for (uint32_t a = 0; a <= TIME_MAX; a++) {
        uint32_t units = 0;
        for (uint32_t b = a; b <= TIME_MAX; b++) {
            units += s->cnt[b] + (p->knows && s->extra_at == b ? s->extra_units : 0U);
            if (a <= p->now && p->now <= b && units * UNIT > c->burst * UNIT + (b - a)) {
                *why = "more than B + r*t in some interval";
            }
        }
    }
}

static void load(const struct state *s, struct proc *p)
{
    p->seen = s->tat;
}

static bool cas(struct state *s, const struct proc *p, bool store, uint8_t next)
{
    bool same = s->tat == p->seen;
    if (same || store) {
        s->tat = next;
    }
    return same || store;
}

/* Of both words. A tick is half a unit, so that values come back often. */
static bool cas_pair(const struct config *c, struct state *s, const struct proc *p, bool store,
                     uint8_t next)
{
    if (s->refunds != p->refunds && !store && c->mutant != MUTANT_SAME_VALUE) {
        return false;
    }
    bool done = cas(s, p, store, next);
    s->refunds = (uint8_t)(s->refunds + done);
    return done;
}

static uint8_t larger(uint8_t a, uint8_t b)
{
    return a > b ? a : b;
}

static void done(struct proc *p)
{
    *p = (struct proc){.pc = PC_IDLE, .calls_left = p->calls_left};
}

static void take(const struct config *c, struct state *s, struct proc *p, const char **why)
{
    uint8_t start = c->mutant == MUTANT_PAST ? p->seen : larger(p->seen, p->now);
    switch (p->pc) {
    case PC_CLOCK: /* time_read */
        p->now = s->time;
        p->knows = s->extra_units > 0;
        p->pc = PC_LOAD;
        break;
    case PC_LOAD: /* weir_bucket_plan */
        load(s, p);
        start = c->mutant == MUTANT_PAST ? p->seen : larger(p->seen, p->now);
        p->pc = PC_CAS;
        if (start + UNIT > p->now + c->burst * UNIT) {
            done(p); /* refused */
        }
        break;
    default: /* PC_CAS: step_take, take_once */
        if (!cas(s, p, c->mutant == MUTANT_TAKE_STORE, (uint8_t)(start + UNIT))) {
            p->pc = PC_LOAD;
            break;
        }
        p->pc = PC_HELD;
        p->granted_at = p->now;
        ghost_granted(c, s, p, why);
        p->seen = 0;
        p->knows = 0;
    }
}

static uint8_t refunded(const struct config *c, const struct proc *p)
{
    uint8_t elapsed = c->mutant == MUTANT_PLAIN_REFUND ? 0 : (uint8_t)(p->now - p->granted_at);
    uint8_t credit = elapsed < UNIT ? (uint8_t)(UNIT - elapsed) : 0;
    return p->seen > credit ? (uint8_t)(p->seen - credit) : 0;
}

static void give(const struct config *c, struct state *s, struct proc *p)
{
    bool clock_first = c->mutant == MUTANT_CLOCK_FIRST;
    switch (p->pc) {
    case PC_GIVE_COUNT:
        p->refunds = s->refunds;
        p->pc = c->mutant == MUTANT_COUNT_LATE ? PC_GIVE_CLOCK
                : clock_first                  ? PC_GIVE_CLOCK
                                               : PC_GIVE_LOAD;
        break;
    case PC_GIVE_LOAD:
        load(s, p);
        p->pc = clock_first                      ? PC_GIVE_CAS
                : c->mutant == MUTANT_COUNT_LATE ? PC_GIVE_COUNT
                                                 : PC_GIVE_CLOCK;
        break;
    case PC_GIVE_CLOCK:
        p->now = s->time;
        p->pc = clock_first ? PC_GIVE_LOAD : PC_GIVE_CAS;
        break;
    default: /* PC_GIVE_CAS */
        if (refunded(c, p) != p->seen &&
            !cas_pair(c, s, p, c->mutant == MUTANT_GIVE_STORE, refunded(c, p))) {
            load(s, p); /* a failed CAS says what it saw, of both */
            p->refunds = s->refunds;
            p->pc = clock_first || c->mutant == MUTANT_CLOCK_ONCE ? PC_GIVE_CAS : PC_GIVE_CLOCK;
            break;
        }
        p->gives++;
        p->pc = c->mutant == MUTANT_GIVE_TWICE && p->gives < 2 ? PC_GIVE_COUNT : p->pc;
        if (p->pc == PC_GIVE_CAS) {
            done(p);
        }
    }
}

static void add(const struct config *c, struct state *s, struct proc *p)
{
    uint8_t most = (uint8_t)(p->now + c->burst * UNIT * (c->mutant == MUTANT_ADD_CLIPS ? 1 : 2));
    if (p->pc == PC_ADD_CLOCK) {
        p->now = s->time;
        p->pc = PC_ADD_LOAD;
        return;
    }
    if (p->pc == PC_ADD_LOAD) {
        load(s, p);
        p->pc = PC_ADD_CAS;
        return;
    }
    uint8_t next = (uint8_t)(larger(p->seen, p->now) + UNIT);
    next = next > most ? most : next;
    if (next > p->seen && !cas(s, p, false, next)) {
        load(s, p);
        return;
    }
    s->extra_units = 1;
    s->extra_at = p->now;
    done(p);
}

static void access_step(const struct config *c, struct state *s, struct proc *p, const char **why)
{
    switch (p->pc) {
    case PC_GIVE_COUNT:
    case PC_GIVE_CLOCK:
    case PC_GIVE_LOAD:
    case PC_GIVE_CAS:
        give(c, s, p);
        break;
    case PC_ADD_LOAD:
    case PC_ADD_CLOCK:
    case PC_ADD_CAS:
        add(c, s, p);
        break;
    default:
        take(c, s, p, why);
    }
}

/* Actions: per process a step (a granted call is made), a kill, a refund, a surcharge; then a tick of the clock. */
enum { VERB_STEP, VERB_KILL, VERB_GIVE, VERB_ADD, VERBS };

static bool step(const void *config, void *state, uint32_t action, const char **why)
{
    const struct config *c = config;
    struct state *s = state;
    if (action == VERBS * (uint32_t)c->procs) {
        s->time++;
        return s->time <= c->time_max;
    }
    struct proc *p = &s->proc[action / VERBS];
    switch (action % VERBS) {
    case VERB_STEP:
        if (p->pc == PC_HELD) {
            done(p);
        } else if (p->pc == PC_IDLE && p->calls_left > 0) {
            p->calls_left--;
            p->pc = PC_CLOCK;
        } else if (p->pc == PC_IDLE || p->pc == PC_DEAD) {
            return false;
        } else {
            access_step(c, s, p, why);
        }
        return true;
    case VERB_KILL:
        if (p->pc == PC_DEAD || p->pc == PC_IDLE || s->kills_left == 0) {
            return false;
        }
        s->kills_left--;
        s->killed = 1;
        *p = (struct proc){.pc = PC_DEAD};
        return true;
    case VERB_GIVE:
        if (p->pc != PC_HELD) {
            return false;
        }
        s->cnt[p->granted_at]--; /* the call was not made, and will not be */
        p->pc = c->mutant == MUTANT_COUNT_LATE ? PC_GIVE_LOAD : PC_GIVE_COUNT;
        return true;
    default:
        if (p->pc != PC_HELD || s->adds_left == 0) {
            return false;
        }
        s->adds_left--;
        p->pc = PC_ADD_CLOCK;
        return true;
    }
}

static void check(const void *config, const void *state, const char **why)
{
    const struct config *c = config;
    const struct state *at = state;
    bool quiet = true;
    for (uint32_t i = 0; i < c->procs && *why == NULL; i++) {
        struct state s = *at;
        uint32_t n = 0;
        const char *other = NULL;
        quiet &= s.proc[i].pc == PC_IDLE || s.proc[i].pc == PC_HELD;
        while (s.proc[i].pc != PC_IDLE && s.proc[i].pc != PC_HELD && s.proc[i].pc != PC_DEAD &&
               n++ < ALONE_STEPS_MAX) {
            access_step(c, &s, &s.proc[i], &other);
        }
        *why = n > ALONE_STEPS_MAX ? "a call that runs alone does not end" : NULL;
    }
    if (*why == NULL && quiet && !at->killed && at->time == 0 &&
        at->tat != (at->cnt[0] + at->extra_units) * UNIT) {
        *why = "what is charged is not what is granted and not given back";
    }
}

static void print(const void *config, uint32_t action, const void *after)
{
    static const char *const verbs[VERBS] = {"", "is killed", "gives", "adds"};
    const struct config *c = config;
    const struct state *s = after;
    if (action == VERBS * (uint32_t)c->procs) {
        printf("tick                     time %u tat %u\n", s->time, s->tat);
        return;
    }
    printf("P%u %-9s next: %-10s time %u tat %u\n", action / VERBS, verbs[action % VERBS],
           pc_names[s->proc[action / VERBS].pc], s->time, s->tat);
}

/* name, mutant, must hold, processes, calls each, B, kills, surcharges, ticks */
static const struct config configs[] = {
    {"bucket: 2 processes, B=1", MUTANT_NONE, true, 2, 2, 1, 1, 0, 6},
    {"bucket: 2 processes, B=2, surcharge", MUTANT_NONE, true, 2, 2, 2, 1, 1, 4},
    {"bucket: 3 processes, B=2", MUTANT_NONE, true, 3, 1, 2, 1, 0, 4},
    {"mutant: plain TAT -= n*T", MUTANT_PLAIN_REFUND, false, 2, 2, 1, 0, 0, 6},
    {"mutant: the refund's clock is read before its word", MUTANT_CLOCK_FIRST, false, 2, 2, 1, 0, 0,
     6},
    {"mutant: the clock is not read again after a lost CAS", MUTANT_CLOCK_ONCE, false, 2, 3, 2, 0,
     0, 6},
    {"mutant: refund stored, not CAS", MUTANT_GIVE_STORE, false, 2, 2, 2, 0, 0, 6},
    {"mutant: charge stored, not CAS", MUTANT_TAKE_STORE, false, 2, 1, 1, 0, 0, 6},
    {"mutant: settled twice", MUTANT_GIVE_TWICE, false, 2, 2, 2, 0, 0, 6},
    {"mutant: an idle bucket saves up", MUTANT_PAST, false, 2, 2, 1, 0, 0, 6},
    {"mutant: a surcharge into a full bucket is forgotten", MUTANT_ADD_CLIPS, false, 2, 2, 2, 0, 1,
     6},
    {"bucket: 2 processes, B=2, three calls", MUTANT_NONE, true, 2, 3, 2, 0, 0, 4},
    {"mutant: the refund's CAS compares the word alone", MUTANT_SAME_VALUE, false, 2, 2, 2, 0, 1,
     4},
    {"mutant: the count of refunds is read behind the word", MUTANT_COUNT_LATE, false, 2, 3, 2, 0,
     1, 5},
};

int main(int argc, char **argv)
{
    bool trace = argc > 1 && strcmp(argv[1], "--trace") == 0;
    uint32_t wrong = 0;
    printf("no seed: every interleaving is visited\n");
    for (size_t i = 0; i < sizeof(configs) / sizeof(configs[0]); i++) {
        const struct config *c = &configs[i];
        struct state first = {.kills_left = c->kills, .adds_left = c->adds};
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
