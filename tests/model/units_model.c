/*
 * units_model.c: units in flight (shm/weir_concurrency.h) with permits of one and two units, ends, refunds, stale settles, kills, a reaper, and preemption
 * at each access, while time runs.
 *
 *   take     weir_concurrency.c units_find (a load per cell, from the hint on), then per cell a load and a CAS to owner | serial; what was taken goes back
 *            where there are too few (owner_let_go), and it is planned anew
 *   end      weir_units_let_go: per cell that bears owner | serial a CAS to the settle's clock reading; a refund writes "never"
 *   reap     broker/units.c units_sweep: who died is known before the clock is read; weir_units_reap: per cell a load and a CAS, to O - J ahead of the clock
 *
 * Oracle: calls that the server may have in flight, and nothing of the cells: from the grant on, until J after the clock reading of the end, or O after the
 * death of who made it.
 *   bound    at each grant at most N units
 *   refunds  without a kill, whenever nobody is within a call, exactly the granted units are held
 *   reaped   once the reaper has run with everybody dead, nothing is held
 *   alone    in every reachable state each live process ends its call by itself within ALONE_STEPS_MAX accesses
 *
 * units_model [--trace]
 */
#include <stdio.h>
#include <string.h>

#include "explore.h"

#define PROCS           2
#define CELLS           3
#define REST            2 /* J, in ticks */
#define ORPHAN          3 /* O */
#define TIME_END        8
#define HELD            0x80
#define ALONE_STEPS_MAX 60

enum mutant {
    MUTANT_NONE,
    MUTANT_TAKE_STORE,  /* a unit is taken by a store */
    MUTANT_NO_REST,     /* a unit is free as soon as its call has ended */
    MUTANT_TAKES_HELD,  /* a held unit is as good as a rested one */
    MUTANT_NO_SERIAL,   /* a settle lets go whatever its owner holds */
    MUTANT_FIRST_ONLY,  /* grants two units by one */
    MUTANT_NO_UNDO,     /* a take that finds too few leaves what it took */
    MUTANT_END_ONE,     /* an end of two units lets go one */
    MUTANT_REAP_LIVING, /* the reaper does not ask who lives */
    MUTANT_REAP_FREE,   /* a dead owner's unit is free at once */
    MUTANT_REAP_REST,   /* a dead owner's unit rests like others */
    MUTANT_REAP_CLOCK,  /* the reaper's clock is read before it knows who died */
    MUTANT_NO_REAP,     /* nobody lets go what the dead hold */
};

struct config {
    const char *name;
    enum mutant mutant;
    bool must_hold;
    uint8_t calls;
    uint8_t units[PROCS];
    uint8_t cells; /* N */
    uint8_t kills;
    uint8_t reaps;
    uint8_t stale; /* settles of a permit that is over */
    uint8_t time_max;
};

enum pc {
    PC_IDLE,
    PC_CLOCK,
    PC_HINT,
    PC_FIND,
    PC_LOAD,
    PC_CAS,
    PC_UNDO,
    PC_HINT_STORE,
    PC_HELD,
    PC_END_CLOCK,
    PC_END,
    PC_DEAD
};

static const char *const pc_names[] = {"idle", "clock",      "hint", "find",      "load", "cas",
                                       "undo", "hint:store", "held", "end:clock", "end",  "dead"};

enum reaper { REAPER_IDLE, REAPER_CLOCK, REAPER_LOAD, REAPER_CAS };

struct proc {
    uint8_t pc;
    uint8_t calls_left;
    uint8_t serial;
    uint8_t now;
    uint8_t at;
    uint8_t i;     /* cells looked at */
    uint8_t found; /* or taken, or let go */
    uint8_t seen;
    uint8_t units; /* held */
    uint8_t refund;
    uint8_t stale; /* this end is of the permit before */
    uint8_t rsv[5];
};

struct state {
    uint8_t time;
    uint8_t hint;
    uint8_t cell[CELLS];
    uint8_t kills_left;
    uint8_t stale_left;
    uint8_t reaps_left;
    uint8_t reaper;
    uint8_t reaper_now;
    uint8_t reaper_dead; /* who it knows to be dead, a bit each */
    uint8_t reaper_at;
    uint8_t reaper_seen;
    uint8_t killed;         /* ghost, from here on */
    uint8_t reaped;         /* the reaper ran with everybody dead */
    uint8_t over[TIME_END]; /* units whose call ended then */
    uint8_t dead[TIME_END]; /* ... whose maker died then */
    uint8_t rsv;
    struct proc proc[PROCS];
};
_Static_assert(sizeof(struct state) % 8 == 0, "explore.h");

/* weir_owner_make: 1 | process | serial */
static uint8_t owner(const struct config *c, const struct state *s, const struct proc *p,
                     uint8_t serial)
{
    return (uint8_t)(HELD | (p - s->proc) << 4 | (c->mutant == MUTANT_NO_SERIAL ? 0 : serial));
}

/* weir_unit_free */
static bool is_free(const struct config *c, uint8_t cell, uint8_t now)
{
    if ((cell & HELD) != 0) {
        return c->mutant == MUTANT_TAKES_HELD;
    }
    return cell == 0 || (now >= cell && (now - cell >= REST || c->mutant == MUTANT_NO_REST));
}

static void done(struct proc *p)
{
    *p = (struct proc){.calls_left = p->calls_left, .serial = p->serial};
}

static void granted(const struct config *c, struct state *s, struct proc *p, uint8_t units,
                    const char **why)
{
    uint32_t flight = 0;
    p->pc = PC_HINT_STORE;
    p->units = units;
    for (uint32_t i = 0; i < PROCS; i++) {
        flight += s->proc[i].units;
    }
    for (uint32_t t = 0; t <= s->time; t++) {
        flight += (s->time - t < REST ? s->over[t] : 0U) + (s->time - t < ORPHAN ? s->dead[t] : 0U);
    }
    if (flight > c->cells) {
        *why = "more than N in flight";
    }
}

static void again(struct proc *p)
{
    *p = (struct proc){
        .pc = PC_HINT, .calls_left = p->calls_left, .serial = p->serial, .now = p->now};
}

/* The next cell of a loop; true: all were looked at. */
static bool next_cell(const struct config *c, struct proc *p)
{
    p->at = (uint8_t)((p->at + 1) % c->cells);
    p->seen = 0;
    return ++p->i == c->cells;
}

static void take(const struct config *c, struct state *s, struct proc *p, const char **why)
{
    uint8_t units = c->units[p - s->proc];
    switch (p->pc) {
    case PC_FIND: /* units_find */
        p->found = (uint8_t)(p->found + is_free(c, s->cell[p->at], p->now));
        if (p->found == units) {
            p->at = s->hint < c->cells ? p->at : 0;
            *p = (struct proc){.pc = PC_LOAD,
                               .calls_left = p->calls_left,
                               .serial = p->serial,
                               .now = p->now,
                               .at = p->at};
        } else if (next_cell(c, p)) {
            done(p);
        }
        break;
    case PC_LOAD: /* weir_units_take, from some cell on: it looks at all of them */
        p->seen = s->cell[p->at];
        p->pc = PC_CAS;
        if (!is_free(c, p->seen, p->now)) {
            p->pc = next_cell(c, p) ? PC_UNDO : PC_LOAD;
        }
        break;
    case PC_CAS:
        if (s->cell[p->at] == p->seen || c->mutant == MUTANT_TAKE_STORE) {
            s->cell[p->at] = owner(c, s, p, p->serial);
            p->found++;
        }
        p->pc = next_cell(c, p) ? PC_UNDO : PC_LOAD;
        if (p->found == units || (p->found > 0 && c->mutant == MUTANT_FIRST_ONLY)) {
            granted(c, s, p, units, why);
        }
        break;
    default: /* PC_UNDO: owner_let_go, one cell */
        if (p->i == c->cells) {
            p->i = 0;
        }
        if (s->cell[p->at] == owner(c, s, p, p->serial) && c->mutant != MUTANT_NO_UNDO) {
            s->cell[p->at] = 0;
        }
        if (next_cell(c, p)) {
            again(p);
        }
    }
}

/* weir_units_let_go, one cell */
static void end(const struct config *c, struct state *s, struct proc *p)
{
    uint8_t whose = owner(c, s, p, (uint8_t)(p->serial - (p->stale ? 1 : 0)));
    uint8_t most = c->mutant == MUTANT_END_ONE ? 1 : c->units[p - s->proc];
    if (s->cell[p->at] == whose) {
        s->cell[p->at] = p->refund ? 0 : p->now;
        p->found++;
    }
    if (next_cell(c, p) || p->found == most) {
        struct proc kept = *p;
        done(p);
        if (kept.stale && kept.units > 0) { /* back to the permit that it holds now */
            p->pc = PC_HELD;
            p->units = kept.units;
        }
    }
}

static void access_step(const struct config *c, struct state *s, struct proc *p, const char **why)
{
    switch (p->pc) {
    case PC_CLOCK:
        p->now = s->time;
        p->pc = PC_HINT;
        break;
    case PC_HINT:
        p->at = s->hint;
        p->pc = PC_FIND;
        break;
    case PC_HINT_STORE:
        s->hint = p->at;
        *p = (struct proc){
            .pc = PC_HELD, .calls_left = p->calls_left, .serial = p->serial, .units = p->units};
        break;
    case PC_END_CLOCK:
        p->now = s->time;
        if (!p->stale) {
            s->over[s->time] = (uint8_t)(s->over[s->time] + (p->refund ? 0 : p->units));
            p->units = 0;
        }
        p->pc = PC_END;
        break;
    case PC_END:
        end(c, s, p);
        break;
    default:
        take(c, s, p, why);
    }
}

static bool reaper_step(const struct config *c, struct state *s)
{
    uint8_t dead = 0;
    for (uint32_t i = 0; i < PROCS; i++) {
        dead = (uint8_t)(dead | (s->proc[i].pc == PC_DEAD) << i);
    }
    bool clock_first = c->mutant == MUTANT_REAP_CLOCK;
    uint8_t cell = s->cell[s->reaper_at];
    switch (s->reaper) {
    case REAPER_IDLE:
        if (s->reaps_left == 0 || (dead == 0 && !clock_first && c->mutant != MUTANT_REAP_LIVING)) {
            return false;
        }
        s->reaps_left--;
        s->reaper_dead = clock_first ? 0 : dead;
        s->reaper_now = clock_first ? s->time : 0;
        s->reaper = REAPER_CLOCK;
        return true;
    case REAPER_CLOCK:
        s->reaper_dead = clock_first ? dead : s->reaper_dead;
        s->reaper_now = clock_first ? s->reaper_now : s->time;
        s->reaper = REAPER_LOAD;
        return true;
    case REAPER_LOAD:
        s->reaper_seen = cell;
        s->reaper = REAPER_CAS;
        if ((cell & HELD) != 0 &&
            (c->mutant == MUTANT_REAP_LIVING || (s->reaper_dead >> (cell >> 4 & 7) & 1) != 0) &&
            c->mutant != MUTANT_NO_REAP) {
            return true;
        }
        break;
    default:
        if (cell == s->reaper_seen) {
            uint32_t ahead = c->mutant == MUTANT_REAP_REST ? 0 : ORPHAN - REST;
            s->cell[s->reaper_at] =
                c->mutant == MUTANT_REAP_FREE ? 0 : (uint8_t)(s->reaper_now + ahead);
        }
    }
    s->reaper = REAPER_LOAD;
    s->reaper_seen = 0;
    if (++s->reaper_at == c->cells) {
        s->reaped = s->reaper_dead == (1 << PROCS) - 1;
        s->reaper = s->reaper_at = s->reaper_now = s->reaper_dead = 0;
    }
    return true;
}

/* Actions: per process a step (a held permit's call ends), a kill, a refund, a settle of the permit before; then a tick, and the reaper. */
enum { VERB_STEP, VERB_KILL, VERB_GIVE, VERB_STALE, VERBS };

static bool begin_end(struct state *s, struct proc *p, uint32_t verb)
{
    if (verb == VERB_STALE && (s->stale_left == 0 || p->serial < 2)) {
        return false;
    }
    s->stale_left = (uint8_t)(s->stale_left - (verb == VERB_STALE));
    p->refund = verb == VERB_GIVE;
    p->stale = verb == VERB_STALE;
    p->units = verb == VERB_GIVE ? 0 : p->units;
    p->pc = PC_END_CLOCK;
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
        return reaper_step(c, s);
    }
    struct proc *p = &s->proc[action / VERBS];
    uint32_t verb = action % VERBS;
    if (verb == VERB_KILL) {
        if (p->pc == PC_DEAD || s->kills_left == 0) {
            return false;
        }
        s->kills_left--;
        s->killed = 1;
        s->dead[s->time] = (uint8_t)(s->dead[s->time] + p->units);
        *p = (struct proc){.pc = PC_DEAD};
        return true;
    }
    if (p->pc == PC_HELD) {
        return begin_end(s, p, verb);
    }
    if (verb != VERB_STEP || p->pc == PC_DEAD || (p->pc == PC_IDLE && p->calls_left == 0)) {
        return false;
    }
    if (p->pc == PC_IDLE) {
        p->calls_left--;
        p->serial++;
        p->pc = PC_CLOCK;
    } else {
        access_step(c, s, p, why);
    }
    return true;
}

static void check_quiet(const struct config *c, const struct state *s, const char **why)
{
    uint32_t held = 0;
    uint32_t granted_units = 0;
    for (uint32_t i = 0; i < c->cells; i++) {
        held += (s->cell[i] & HELD) != 0;
    }
    for (uint32_t i = 0; i < PROCS; i++) {
        granted_units += s->proc[i].units;
    }
    if (!s->killed && held != granted_units) {
        *why = "what is held is not what is granted";
    } else if (s->reaped && held > 0) {
        *why = "a dead owner's unit does not come back";
    }
}

static void check(const void *config, const void *state, const char **why)
{
    const struct config *c = config;
    const struct state *at = state;
    bool quiet = true;
    for (uint32_t i = 0; i < PROCS && *why == NULL; i++) {
        struct state s = *at;
        struct proc *p = &s.proc[i];
        const char *other = NULL;
        uint32_t n = 0;
        quiet &= p->pc == PC_IDLE || p->pc == PC_HELD || p->pc == PC_DEAD;
        while (p->pc != PC_IDLE && p->pc != PC_HELD && p->pc != PC_DEAD && n++ < ALONE_STEPS_MAX) {
            access_step(c, &s, p, &other);
        }
        *why = n > ALONE_STEPS_MAX ? "a call that runs alone does not end" : NULL;
    }
    if (quiet && *why == NULL) {
        check_quiet(c, at, why);
    }
}

static void print(const void *config, uint32_t action, const void *after)
{
    static const char *const verbs[VERBS] = {"", "is killed", "gives", "settles stale"};
    const struct config *c = config;
    const struct state *s = after;
    if (action < VERBS * PROCS) {
        printf("P%u %-13s next %-10s", action / VERBS, verbs[action % VERBS],
               pc_names[s->proc[action / VERBS].pc]);
    } else {
        printf("%-31s", action == VERBS * PROCS ? "tick" : "reaper");
    }
    printf(" time %u hint %u ", s->time, s->hint);
    for (uint32_t i = 0; i < c->cells; i++) {
        printf((s->cell[i] & HELD) != 0 ? " [held %02x]" : " [%u]", s->cell[i]);
    }
    printf("\n");
}

/* name, mutant, must hold, calls each, units of each, N, kills, sweeps of the reaper, stale settles, last tick */
static const struct config configs[] = {
    {"units: N=1, rests", MUTANT_NONE, true, 3, {1, 1}, 1, 1, 1, 0, 6},
    {"units: N=2, two units and one", MUTANT_NONE, true, 2, {2, 1}, 2, 1, 1, 0, 4},
    {"units: N=3, two units each", MUTANT_NONE, true, 2, {2, 2}, 3, 0, 0, 0, 3},
    {"units: N=2, stale settles, everybody dies", MUTANT_NONE, true, 2, {1, 1}, 2, 2, 2, 2, 3},
    {"mutant: taken by a store", MUTANT_TAKE_STORE, false, 1, {1, 1}, 1, 0, 0, 0, 1},
    {"mutant: no rest", MUTANT_NO_REST, false, 2, {1, 1}, 1, 0, 0, 0, 3},
    {"mutant: takes what is held", MUTANT_TAKES_HELD, false, 1, {1, 1}, 1, 0, 0, 0, 1},
    {"mutant: a settle lets go what another permit holds",
     MUTANT_NO_SERIAL,
     false,
     3,
     {1, 1},
     1,
     0,
     0,
     1,
     4},
    {"mutant: granted by the first of two units",
     MUTANT_FIRST_ONLY,
     false,
     1,
     {2, 1},
     2,
     0,
     0,
     0,
     1},
    {"mutant: no undo", MUTANT_NO_UNDO, false, 2, {2, 1}, 2, 0, 0, 0, 1},
    {"mutant: an end of two lets go one", MUTANT_END_ONE, false, 1, {2, 1}, 2, 0, 0, 0, 1},
    {"mutant: the reaper does not ask who lives",
     MUTANT_REAP_LIVING,
     false,
     2,
     {1, 1},
     1,
     0,
     1,
     0,
     3},
    {"mutant: a dead owner's unit is free at once",
     MUTANT_REAP_FREE,
     false,
     2,
     {1, 1},
     1,
     1,
     1,
     0,
     3},
    {"mutant: a dead owner's unit rests like others",
     MUTANT_REAP_REST,
     false,
     2,
     {1, 1},
     1,
     1,
     1,
     0,
     4},
    {"mutant: the reaper's clock before who died",
     MUTANT_REAP_CLOCK,
     false,
     2,
     {1, 1},
     1,
     1,
     1,
     0,
     5},
    {"mutant: nobody reaps", MUTANT_NO_REAP, false, 1, {1, 1}, 1, 2, 1, 0, 1},
};

int main(int argc, char **argv)
{
    bool trace = argc > 1 && strcmp(argv[1], "--trace") == 0;
    uint32_t wrong = 0;
    printf("no seed: every interleaving is visited\n");
    for (size_t i = 0; i < sizeof(configs) / sizeof(configs[0]); i++) {
        const struct config *c = &configs[i];
        struct state first = {
            .time = 1, .kills_left = c->kills, .reaps_left = c->reaps, .stale_left = c->stale};
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
