/*
 * permit_model.c: all or none of two limits (shm/weir_permit.c) with refunds, kills, a clock that moves, and preemption at each access.
 *
 *   pass 1   pass_one: a load per limit; full: refused, nothing written
 *   pass 2   step_take, the second limit first where it is scarcer: CAS; somebody was faster: weir_limit_take_again plans that limit again; full now:
 *            roll_back, and the attempt starts over, ATTEMPTS times in all, then CONTENDED
 *   clock    the latch's sequence is read before pass 1 and again behind the last CAS (pass_two): moved: roll_back
 *   give     permit_correct: limit by limit a load and a CAS
 * The limits are counters here: how a word counts is bucket_model.c, window_model.c.
 *
 * Oracle: what is granted and not given back, of each limit.
 *   bound        at each grant at most N
 *   all or none  without a kill, whenever nobody is within a call, each word holds exactly that
 *   moved        nobody is granted by a clock that moved before its last charge
 *   undisturbed  where one limit is full from the start, callers of the other alone are refused only when theirs is full
 *   alone        in every reachable state each live process ends its call by itself within ALONE_STEPS_MAX accesses, and is not told CONTENDED
 *
 * permit_model [--trace]
 */
#include <stdio.h>
#include <string.h>

#include "explore.h"

#define PROCS           3
#define LIMITS          2
#define ATTEMPTS        2 /* 4 in truth */
#define ALONE_STEPS_MAX 40

enum mutant {
    MUTANT_NONE,
    MUTANT_NO_FIRST_PASS, /* takes, and rolls back where the next limit is full */
    MUTANT_NO_ROLL_BACK,  /* what was taken stays */
    MUTANT_ROLL_BACK_ALL, /* gives back what was not taken too */
    MUTANT_TAKE_STORE,    /* charged by a store */
    MUTANT_GRANT_EARLY,   /* granted by the first limit */
    MUTANT_NO_JUDGEMENT,  /* plans again after a lost CAS, and does not ask whether it still fits */
    MUTANT_CLOCK_ONCE,    /* the sequence is not read again */
    MUTANT_GIVE_FIRST,    /* gives back one limit only */
};

struct config {
    const char *name;
    enum mutant mutant;
    bool must_hold;
    uint8_t procs;
    uint8_t calls;
    uint8_t asks[PROCS]; /* a bit per limit */
    uint8_t quota[LIMITS];
    uint8_t used[LIMITS]; /* by others, for ever */
    uint8_t kills;
    uint8_t gives;
    uint8_t moves;
};

enum pc {
    PC_IDLE,
    PC_SEQ,
    PC_READ,
    PC_CAS,
    PC_AGAIN,
    PC_SEQ_AGAIN,
    PC_BACK_LOAD,
    PC_BACK_CAS,
    PC_HELD,
    PC_GIVE_LOAD,
    PC_GIVE_CAS,
    PC_DEAD
};

static const char *const pc_names[] = {"idle",  "seq",       "read",      "cas",
                                       "again", "seq:again", "back:load", "back:cas",
                                       "held",  "give:load", "give:cas",  "dead"};

struct proc {
    uint8_t pc;
    uint8_t calls_left;
    uint8_t attempt;
    uint8_t seq;
    uint8_t order; /* limit taken first */
    uint8_t n;     /* which step of the pass, the roll-back or the refund */
    uint8_t taken; /* a bit per limit */
    uint8_t seen[LIMITS];
    uint8_t contended;
    uint8_t rsv[6];
};

struct state {
    uint8_t used[LIMITS];
    uint8_t seq;
    uint8_t kills_left;
    uint8_t gives_left;
    uint8_t moves_left;
    uint8_t killed;          /* ghost, from here on */
    uint8_t granted[LIMITS]; /* and not given back; others' use too */
    uint8_t rsv[7];
    struct proc proc[PROCS];
};
_Static_assert(sizeof(struct state) % 8 == 0, "explore.h");

static bool asks(const struct config *c, const struct state *s, const struct proc *p, uint32_t l)
{
    return (c->asks[p - s->proc] >> l & 1) != 0;
}

/* The limit of step `n` of pass 2: the scarcest first. */
static uint32_t limit_of(const struct proc *p)
{
    return p->n == 0 ? p->order : 1U - p->order;
}

static void done(struct proc *p)
{
    *p = (struct proc){.calls_left = p->calls_left};
}

static void refused(const struct config *c, const struct state *s, struct proc *p, uint32_t l,
                    const char **why)
{
    bool other_full = c->used[1 - l] == c->quota[1 - l];
    uint32_t used = s->granted[l];
    for (uint32_t i = 0; i < c->procs;
         i++) { /* whoever else asks this limit alone may be about to be granted it */
        used += c->asks[i] == 1U << l && (s->proc[i].taken >> l & 1) != 0;
    }
    if (other_full && c->asks[p - s->proc] == 1U << l && used < c->quota[l]) {
        *why = "refused for the sake of callers of another limit";
    }
    done(p);
}

static void granted(const struct config *c, struct state *s, struct proc *p, const char **why)
{
    for (uint32_t l = 0; l < LIMITS; l++) {
        s->granted[l] = (uint8_t)(s->granted[l] + asks(c, s, p, l));
        *why = s->granted[l] > c->quota[l] ? "more than N" : *why;
    }
    *p = (struct proc){.pc = PC_HELD, .calls_left = p->calls_left};
}

/* The attempt failed; roll back what it took. */
static void attempt_failed(const struct config *c, const struct state *s, struct proc *p)
{
    uint8_t all = c->asks[p - s->proc];
    p->taken =
        c->mutant == MUTANT_NO_ROLL_BACK ? 0 : (c->mutant == MUTANT_ROLL_BACK_ALL ? all : p->taken);
    *p = (struct proc){
        .pc = PC_BACK_LOAD, .calls_left = p->calls_left, .attempt = p->attempt, .taken = p->taken};
    while (p->n < LIMITS && (p->taken >> p->n & 1) == 0) {
        p->n++;
    }
    if (p->n == LIMITS) {
        *p = (struct proc){
            .pc = PC_SEQ, .calls_left = p->calls_left, .attempt = (uint8_t)(p->attempt + 1)};
        if (p->attempt == ATTEMPTS) {
            done(p);
            p->contended = 1;
        }
    }
}

static void pass_one(const struct config *c, struct state *s, struct proc *p, const char **why)
{
    if (asks(c, s, p, p->n)) {
        p->seen[p->n] = s->used[p->n];
        if (p->seen[p->n] >= c->quota[p->n] && (c->mutant != MUTANT_NO_FIRST_PASS || p->n == 0)) {
            refused(c, s, p, p->n, why);
            return;
        }
    }
    if (++p->n < LIMITS) {
        return;
    }
    p->order = asks(c, s, p, 1) &&
               (!asks(c, s, p, 0) || c->quota[1] - p->seen[1] < c->quota[0] - p->seen[0]);
    p->order = c->mutant == MUTANT_NO_FIRST_PASS ? !asks(c, s, p, 0) : p->order;
    p->n = 0;
    p->pc = PC_CAS;
}

static void pass_two(const struct config *c, struct state *s, struct proc *p, const char **why)
{
    uint32_t l = limit_of(p);
    if (p->pc == PC_AGAIN) { /* weir_limit_take_again */
        p->seen[l] = s->used[l];
        p->pc = PC_CAS;
        if (p->seen[l] >= c->quota[l] && c->mutant != MUTANT_NO_JUDGEMENT) {
            attempt_failed(c, s, p);
        }
        return;
    }
    if (p->seen[l] >= c->quota[l] && c->mutant == MUTANT_NO_FIRST_PASS) {
        attempt_failed(c, s, p);
        return;
    }
    if (s->used[l] != p->seen[l] && c->mutant != MUTANT_TAKE_STORE) {
        p->pc = PC_AGAIN;
        return;
    }
    s->used[l] = (uint8_t)(p->seen[l] + 1);
    p->taken = (uint8_t)(p->taken | 1U << l);
    p->n++;
    if (c->mutant == MUTANT_GRANT_EARLY) {
        granted(c, s, p, why);
    } else if (p->n == LIMITS || !asks(c, s, p, 1 - l)) {
        p->pc = PC_SEQ_AGAIN;
    }
}

/* One limit of a roll-back or of a refund: load, CAS. */
static void give_back(const struct config *c, struct state *s, struct proc *p)
{
    bool back = p->pc <= PC_BACK_CAS;
    if (p->pc == PC_BACK_LOAD || p->pc == PC_GIVE_LOAD) {
        p->seen[p->n] = s->used[p->n];
        p->pc++;
        return;
    }
    if (s->used[p->n] != p->seen[p->n]) {
        p->seen[p->n] = s->used[p->n];
        return;
    }
    s->used[p->n] = (uint8_t)(p->seen[p->n] - (p->seen[p->n] > 0));
    p->seen[p->n] = 0;
    p->taken = (uint8_t)(p->taken & ~(1U << p->n));
    if (c->mutant == MUTANT_GIVE_FIRST && !back) {
        p->taken = 0;
    }
    p->pc--;
    if (p->taken != 0) {
        p->n = 1;
    } else if (back) {
        enum mutant mutant = c->mutant;
        struct config plain = *c;
        plain.mutant = mutant == MUTANT_ROLL_BACK_ALL ? MUTANT_NONE : mutant;
        attempt_failed(&plain, s, p);
    } else {
        done(p);
    }
}

static void access_step(const struct config *c, struct state *s, struct proc *p, const char **why)
{
    switch (p->pc) {
    case PC_SEQ:
        p->seq = s->seq;
        p->pc = PC_READ;
        break;
    case PC_READ:
        pass_one(c, s, p, why);
        break;
    case PC_CAS:
    case PC_AGAIN:
        pass_two(c, s, p, why);
        break;
    case PC_SEQ_AGAIN:
        if (s->seq == p->seq || c->mutant == MUTANT_CLOCK_ONCE) {
            *why = s->seq != p->seq ? "granted by a clock that has moved" : *why;
            granted(c, s, p, why);
        } else {
            attempt_failed(c, s, p);
        }
        break;
    default:
        give_back(c, s, p);
    }
}

/* Actions: per process a step (a held permit is used), a kill, a refund; then the clock moves. */
enum { VERB_STEP, VERB_KILL, VERB_GIVE, VERBS };

static bool step(const void *config, void *state, uint32_t action, const char **why)
{
    const struct config *c = config;
    struct state *s = state;
    if (action == VERBS * (uint32_t)c->procs) {
        s->seq++;
        return s->moves_left-- > 0;
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
    if (verb == VERB_GIVE) {
        if (p->pc != PC_HELD || s->gives_left == 0) {
            return false;
        }
        s->gives_left--;
        for (uint32_t l = 0; l < LIMITS; l++) {
            s->granted[l] = (uint8_t)(s->granted[l] - asks(c, s, p, l));
        }
        p->taken = c->asks[p - s->proc];
        p->n = (p->taken & 1) == 0;
        p->pc = PC_GIVE_LOAD;
        return true;
    }
    if (p->pc == PC_DEAD || (p->pc == PC_IDLE && p->calls_left == 0)) {
        return false;
    }
    if (p->pc == PC_HELD) {
        done(p);
    } else if (p->pc == PC_IDLE) {
        *p = (struct proc){.pc = PC_SEQ, .calls_left = (uint8_t)(p->calls_left - 1)};
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
    for (uint32_t i = 0; i < c->procs && *why == NULL; i++) {
        struct state s = *at;
        struct proc *p = &s.proc[i];
        const char *other = NULL;
        uint32_t n = 0;
        bool fresh = p->pc == PC_SEQ && p->attempt == 0;
        quiet &= p->pc == PC_IDLE || p->pc == PC_HELD;
        while (p->pc != PC_IDLE && p->pc != PC_HELD && p->pc != PC_DEAD && n++ < ALONE_STEPS_MAX) {
            access_step(c, &s, p, &other);
        }
        if (n > ALONE_STEPS_MAX || (fresh && p->contended && c->mutant != MUTANT_NO_FIRST_PASS)) {
            *why = "a call that runs alone does not end, or not well";
        }
    }
    for (uint32_t l = 0; quiet && l < LIMITS && *why == NULL; l++) {
        *why = at->used[l] != at->granted[l]
                   ? "what is charged is not what is granted and not given back"
                   : NULL;
    }
}

static void print(const void *config, uint32_t action, const void *after)
{
    static const char *const verbs[VERBS] = {"", "is killed", "gives"};
    const struct config *c = config;
    const struct state *s = after;
    if (action == VERBS * (uint32_t)c->procs) {
        printf("%-28s", "the clock moves");
    } else {
        printf("P%u %-9s next %-10s", action / VERBS, verbs[action % VERBS],
               pc_names[s->proc[action / VERBS].pc]);
    }
    printf("  %u of %u, %u of %u\n", s->used[0], c->quota[0], s->used[1], c->quota[1]);
}

/* name, mutant, must hold, processes, calls each, limits asked, N, others' use, kills, refunds, moves of the clock */
static const struct config configs[] = {
    {"permit: two limits, 2 processes",
     MUTANT_NONE,
     true,
     2,
     2,
     {3, 3, 0},
     {2, 1},
     {0, 0},
     1,
     2,
     1},
    {"permit: two limits, 3 processes",
     MUTANT_NONE,
     true,
     3,
     1,
     {3, 3, 1},
     {2, 1},
     {0, 0},
     1,
     1,
     0},
    {"permit: each its own, one both", MUTANT_NONE, true, 3, 1, {3, 1, 2}, {1, 1}, {0, 0}, 1, 1, 1},
    {"permit: the second limit is full",
     MUTANT_NONE,
     true,
     3,
     2,
     {3, 1, 1},
     {3, 1},
     {0, 1},
     0,
     0,
     0},
    {"mutant: take and roll back, no reading pass",
     MUTANT_NO_FIRST_PASS,
     false,
     2,
     1,
     {3, 1, 0},
     {1, 1},
     {0, 1},
     0,
     0,
     0},
    {"mutant: no roll-back", MUTANT_NO_ROLL_BACK, false, 2, 1, {3, 2, 0}, {2, 1}, {0, 0}, 0, 0, 1},
    {"mutant: gives back what it did not take",
     MUTANT_ROLL_BACK_ALL,
     false,
     3,
     1,
     {3, 3, 1},
     {2, 1},
     {0, 0},
     0,
     0,
     0},
    {"mutant: charged by a store",
     MUTANT_TAKE_STORE,
     false,
     2,
     1,
     {3, 3, 0},
     {1, 1},
     {0, 0},
     0,
     0,
     0},
    {"mutant: granted by the first limit",
     MUTANT_GRANT_EARLY,
     false,
     2,
     1,
     {3, 2, 0},
     {1, 1},
     {0, 0},
     0,
     0,
     0},
    {"mutant: a lost CAS is not judged again",
     MUTANT_NO_JUDGEMENT,
     false,
     2,
     1,
     {3, 3, 0},
     {1, 1},
     {0, 0},
     0,
     0,
     0},
    {"mutant: the clock's sequence is read once",
     MUTANT_CLOCK_ONCE,
     false,
     2,
     1,
     {3, 3, 0},
     {1, 1},
     {0, 0},
     0,
     0,
     1},
    {"mutant: a refund of one limit",
     MUTANT_GIVE_FIRST,
     false,
     2,
     1,
     {3, 3, 0},
     {1, 1},
     {0, 0},
     0,
     1,
     0},
};

int main(int argc, char **argv)
{
    bool trace = argc > 1 && strcmp(argv[1], "--trace") == 0;
    uint32_t wrong = 0;
    printf("no seed: every interleaving is visited\n");
    for (size_t i = 0; i < sizeof(configs) / sizeof(configs[0]); i++) {
        const struct config *c = &configs[i];
        struct state first = {.used = {c->used[0], c->used[1]},
                              .granted = {c->used[0], c->used[1]},
                              .kills_left = c->kills,
                              .gives_left = c->gives,
                              .moves_left = c->moves};
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
