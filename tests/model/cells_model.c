/*
 * cells_model.c: a sliding window in cells (shm/weir_sliding.h, "cells") with permits of one and two units, refunds, partial refunds, surcharges, kills and
 * preemption at each access, while time runs over more than two spans.
 *
 *   take       weir_sliding.c cells_plan: owed, cell_oldest (hint, its cell, the next ones, the help), cells_near (freed, the cell behind those that stay free,
 *              the cells), unsorted; cells_search where that is not certain. cells_take: unsorted, a CAS per cell, cells_undo, the hint, freed_shrink
 *   give       cells_give: unsorted, a CAS per cell from our stamp to "never", then freed. Partial: charge_correct (weir_settle.c) gives one of two
 *   surcharge  cells_add: cell_oldest, unsorted where it is aside, a CAS per old cell, cells_owe for the rest
 *
 * Oracle: when the calls that may have been made can arrive, and nothing of the cells: not before the instant of the grant, not later than J after its
 * clock reading (use_by_ns ends a permit that was asleep for longer).
 *   bound    at each grant: in no interval of length W may more than N units arrive; surcharges count that were over when the taker read its clock
 *   refunds  without a kill, whenever nobody is within a call, each young stamp stands in exactly as many cells as units count at that instant
 *   room     whoever is alone is granted exactly where as many cells are old as it takes and leaves free, whoever died where; not while somebody slept
 *            for a span amid a call
 *   alone    in every reachable state each live process ends its call by itself within ALONE_STEPS_MAX accesses
 *
 * cells_model [--trace]
 */
#include <stdio.h>
#include <string.h>

#include "explore.h"

#define PROCS           2
#define CELLS           8
#define UNITS           2
#define WINDOW          2
#define JITTER          1
#define SPAN            (WINDOW + JITTER)
#define HELP_MAX        3
#define TIME_END        9
#define ALONE_STEPS_MAX 60

enum mutant {
    MUTANT_NONE,
    MUTANT_TAKE_STORE,     /* cells are stamped by a store */
    MUTANT_HINT_TRUSTED,   /* the cell at the hint is taken whatever its stamp */
    MUTANT_FREED_TRUSTED,  /* so are those at `freed` */
    MUTANT_GIVE_ANY,       /* a refund empties the cell whatever it bears */
    MUTANT_GIVE_ALL,       /* a partial refund gives all back */
    MUTANT_NO_UNDO,        /* a take that finds the second cell taken leaves the first */
    MUTANT_FIRST_ONLY,     /* grants two units by one cell */
    MUTANT_NO_HELP,        /* nobody moves the hint for another */
    MUTANT_SHORT_SPAN,     /* S without the way to the server */
    MUTANT_ADD_OVERWRITES, /* a surcharge without an old cell takes a young one */
    MUTANT_ADD_FORGETS,    /* ... is forgotten */
    MUTANT_ADD_SILENT,     /* a surcharge says nothing of young cells that it passes */
    MUTANT_ADD_LATE,       /* nor of one before its first that was stamped by a later reading */
    MUTANT_BEHIND_ONLY, /* looks at one cell for those that stay free, where cells were given back */
    MUTANT_GIVE_SILENT, /* a give-back says nothing of the gap it leaves */
    MUTANT_LATE_SILENT, /* nor who takes behind one that read the clock later */
    MUTANT_PASS_SILENT, /* nor who moves the hint over a young cell */
    MUTANT_SORTED,      /* nobody counts, whatever was said */
};

struct config {
    const char *name;
    enum mutant mutant;
    bool must_hold;
    uint8_t calls[PROCS];
    uint8_t units[PROCS];
    uint8_t cells; /* N */
    uint8_t kills;
    uint8_t gives;
    uint8_t adds;
    uint8_t time_max;
    uint8_t more; /* units of a surcharge beyond the first */
};

enum pc {
    PC_IDLE,
    PC_CLOCK,
    PC_OWED,
    PC_HINT,
    PC_OLDEST,
    PC_HELP,
    PC_HELP_SAY,
    PC_HELP_CAS,
    PC_FREED,
    PC_BEHIND,
    PC_FREE_FREED,
    PC_FREE,
    PC_SORTED,
    PC_SEARCH,
    PC_BEFORE,
    PC_ASIDE_SAY,
    PC_CAS,
    PC_UNDO,
    PC_HINT_CAS,
    PC_SHRINK_LOAD,
    PC_SHRINK_CAS,
    PC_HELD,
    PC_GIVE_SAY,
    PC_GIVE,
    PC_GIVE_FREED,
    PC_ADD_CLOCK,
    PC_ADD_BEFORE,
    PC_ADD_LOAD,
    PC_ADD_SAY,
    PC_ADD_CAS,
    PC_ADD_HINT_CAS,
    PC_OWE_LOAD,
    PC_OWE_CAS,
    PC_DEAD,
};

static const char *const pc_names[] = {
    "idle",     "clock",     "owed",         "hint",       "oldest",    "help",       "help:say",
    "help:cas", "freed",     "behind",       "free:freed", "free",      "sorted",     "search",
    "before",   "aside:say", "cas",          "undo",       "hint:cas",  "shrink",     "shrink:cas",
    "held",     "give:say",  "give",         "give:freed", "add:clock", "add:before", "add:load",
    "add:say",  "add:cas",   "add:hint:cas", "owe:load",   "owe:cas",   "dead"};

struct freed {
    uint8_t at;
    uint8_t units;
};

struct owed {
    uint8_t until;
    uint8_t units;
};

struct proc {
    uint8_t pc;
    uint8_t calls_left;
    uint8_t now;   /* its clock reading; the stamp of what it holds */
    uint8_t at;    /* the hint; of a give-back the first cell that it emptied */
    uint8_t first; /* where it looks; then the first cell of what it holds */
    uint8_t i;     /* unit, cell, or step of a loop */
    uint8_t old;   /* old cells; of a give-back: not side by side */
    uint8_t stamp; /* of the cell at the hint; of a give-back its clock reading */
    uint8_t pick[UNITS];
    uint8_t seen[UNITS];
    struct freed freed;
    uint8_t kept;
    uint8_t units; /* of the permit that it holds */
    uint8_t knows;
    uint8_t given;
    uint8_t late; /* how old its reading was when it was granted */
    uint8_t left; /* units of a surcharge that have no cell yet */
    uint8_t rsv[4];
};

struct state {
    uint8_t time;
    uint8_t hint;
    struct freed freed;
    struct owed owed;
    uint8_t unsorted_until;
    uint8_t cell[CELLS];
    uint8_t kills_left;
    uint8_t gives_left;
    uint8_t adds_left;
    uint8_t killed;                    /* ghost, from here on */
    uint8_t slept;                     /* amid a call, for a span */
    uint8_t stale;                     /* somebody was granted what it can no longer use */
    uint8_t extra_cnt;                 /* surcharges that are over, */
    uint8_t extra_at[4];               /* and when */
    uint8_t cnt[JITTER + 1][TIME_END]; /* [how old the reading was][instant of the grant] */
    uint8_t rsv[4];
    struct proc proc[PROCS];
};
_Static_assert(sizeof(struct state) % 8 == 0, "explore.h");

static uint8_t wrap(const struct config *c, uint32_t i)
{
    return (uint8_t)(i % c->cells);
}

/* weir_sliding_old */
static bool old(const struct config *c, uint8_t stamp, uint8_t now)
{
    uint8_t span = c->mutant == MUTANT_SHORT_SPAN ? SPAN - 1 : SPAN;
    return stamp == 0 || (now >= stamp && now - stamp >= span);
}

static uint8_t owed_now(struct owed o, uint8_t now)
{
    return o.until > now ? o.units : 0;
}

static void done(struct proc *p)
{
    *p = (struct proc){.calls_left = p->calls_left};
}

/* Units that may arrive in [x, x + W). */
static uint32_t ghost_arrive(const struct state *s, uint32_t x, uint32_t extra_cnt)
{
    uint32_t units = 0;
    for (uint32_t e = 0; e < x + WINDOW && e < TIME_END; e++) {
        for (uint32_t late = 0; late <= JITTER; late++) {
            units += e + JITTER - late >= x ? s->cnt[late][e] : 0U;
        }
        for (uint32_t i = 0; i < extra_cnt; i++) {
            units += s->extra_at[i] == e && e >= x;
        }
    }
    return units;
}

static void ghost_granted(const struct config *c, struct state *s, struct proc *p, uint8_t units,
                          const char **why)
{
    p->late = (uint8_t)(s->time - p->now);
    if (p->late > JITTER) {
        s->stale = 1; /* use_by_ns is over: it will not be sent */
        return;
    }
    s->cnt[p->late][s->time] = (uint8_t)(s->cnt[p->late][s->time] + units);
    for (uint32_t x = 0; x < TIME_END; x++) {
        if (x <= s->time + JITTER - (uint32_t)p->late && s->time < x + WINDOW &&
            ghost_arrive(s, x, p->knows) > c->cells) {
            *why = "more than N may arrive in an interval of one window";
        }
    }
}

/* Units granted by a reading of instant `t`. */
static uint32_t ghost_stamped(const struct state *s, uint32_t t)
{
    uint32_t units = 0;
    for (uint32_t late = 0; late <= JITTER && t + late < TIME_END; late++) {
        units += s->cnt[late][t + late];
    }
    return units;
}

static uint8_t units_of(const struct config *c, const struct state *s, const struct proc *p)
{
    return c->units[p - s->proc];
}

/* cells_unsorted: a loop that only raises the word, and so one step */
static void say_unsorted(struct state *s, uint8_t reading, bool silent)
{
    uint8_t until = (uint8_t)(reading + 2 * SPAN);
    s->unsorted_until = !silent && s->unsorted_until < until ? until : s->unsorted_until;
}

/* cell_oldest is at its end: the hint's cell is `at` */
static void found_oldest(struct proc *p, uint8_t at)
{
    p->at = at;
    p->i = 0;
    p->stamp = 0;
    p->pc = p->left > 0 ? PC_ADD_BEFORE : PC_FREED;
}

static void plan_hint(const struct config *c, struct state *s, struct proc *p)
{
    switch (p->pc) {
    case PC_HINT:
        p->at = s->hint;
        p->pc = PC_OLDEST;
        break;
    case PC_OLDEST:
        p->stamp = s->cell[p->at];
        p->i = 1;
        p->pc = PC_HELP;
        if (old(c, p->stamp, p->now) || c->mutant == MUTANT_HINT_TRUSTED ||
            c->mutant == MUTANT_NO_HELP) {
            found_oldest(p, p->at);
        }
        break;
    case PC_HELP: {
        uint8_t next = wrap(c, p->at + (uint32_t)p->i);
        uint8_t other = s->cell[next];
        if (other > p->stamp || next == p->at) {
            found_oldest(p, p->at);
        } else if (other < p->stamp) {
            p->pc = PC_HELP_SAY;
        } else if (p->i++ == HELP_MAX) {
            found_oldest(p, p->at);
        }
        break;
    }
    case PC_HELP_SAY:
        say_unsorted(s, p->now, c->mutant == MUTANT_PASS_SILENT);
        p->pc = PC_HELP_CAS;
        break;
    default: { /* PC_HELP_CAS */
        uint8_t next = wrap(c, p->at + (uint32_t)p->i);
        s->hint = s->hint == p->at ? next : s->hint;
        found_oldest(p, next);
    }
    }
}

/* Look at cells side by side: those given back, or those of the hint. */
static void run_begin(const struct config *c, const struct state *s, struct proc *p, bool freed)
{
    freed = freed && p->freed.units >= units_of(c, s, p);
    p->first = freed ? p->freed.at : p->at;
    p->pc = freed ? PC_FREE_FREED : PC_FREE;
    p->i = 0;
}

/* Are they others than those from the hint on? */
static bool aside(const struct config *c, const struct state *s, const struct proc *p)
{
    uint8_t last = (uint8_t)(units_of(c, s, p) - 1);
    return p->pick[0] != p->at || p->pick[last] != wrap(c, (uint32_t)p->at + last);
}

static void planned(const struct config *c, const struct state *s, struct proc *p)
{
    p->first = p->pick[0];
    p->i = 0;
    p->old = 0;
    p->pc = aside(c, s, p) ? PC_ASIDE_SAY : PC_BEFORE;
}

static void search_begin(struct proc *p)
{
    p->pc = PC_SEARCH;
    p->i = 0;
    p->pick[0] = p->pick[1] = p->seen[0] = p->seen[1] = 0;
}

/* A cell of a run. Are all old, that is certain but for what stands beside the cells. */
static void plan_run(const struct config *c, const struct state *s, struct proc *p)
{
    uint8_t at = wrap(c, p->first + (uint32_t)p->i);
    bool trusted = c->mutant == MUTANT_HINT_TRUSTED ||
                   (c->mutant == MUTANT_FREED_TRUSTED && p->pc == PC_FREE_FREED);
    p->pick[p->i] = at;
    p->seen[p->i++] = s->cell[at];
    if (!old(c, s->cell[at], p->now) && !trusted) {
        p->pick[0] = p->pick[1] = p->seen[0] = p->seen[1] = 0;
        if (p->pc == PC_FREE_FREED) {
            run_begin(c, s, p, false);
        } else {
            p->pc = PC_SORTED;
        }
    } else if (p->i == units_of(c, s, p)) {
        if (p->kept > 0 && c->mutant != MUTANT_BEHIND_ONLY) {
            search_begin(p);
        } else {
            planned(c, s, p);
        }
    }
}

static void plan_cells(const struct config *c, struct state *s, struct proc *p)
{
    uint8_t units = units_of(c, s, p);
    switch (p->pc) {
    case PC_FREED:
        p->freed = s->freed;
        p->pc = PC_BEHIND;
        if (p->kept == 0) {
            run_begin(c, s, p, true);
        }
        break;
    case PC_BEHIND:
        p->pc = PC_SORTED;
        if (old(c, s->cell[wrap(c, p->at + units - 1U + p->kept)], p->now)) {
            run_begin(c, s, p, true);
        }
        break;
    case PC_SORTED:
        if (s->unsorted_until <= p->now || c->mutant == MUTANT_SORTED) {
            done(p);
        } else {
            search_begin(p);
        }
        break;
    case PC_SEARCH: {
        uint8_t at = wrap(c, p->at + (uint32_t)p->i++);
        if (old(c, s->cell[at], p->now)) {
            if (p->old < units) {
                p->pick[p->old] = at;
                p->seen[p->old] = s->cell[at];
            }
            p->old++;
        }
        if (p->old >= units + p->kept) {
            planned(c, s, p);
        } else if (p->i == c->cells) {
            done(p);
        }
        break;
    }
    case PC_BEFORE: {
        uint8_t before = s->cell[wrap(c, p->first + c->cells - 1U)];
        p->pc = before > p->now && c->mutant != MUTANT_LATE_SILENT ? PC_ASIDE_SAY : PC_CAS;
        break;
    }
    default:
        plan_run(c, s, p);
    }
}

static void take(const struct config *c, struct state *s, struct proc *p, const char **why)
{
    uint8_t units = units_of(c, s, p);
    uint8_t *cell = &s->cell[p->pick[p->i]];
    switch (p->pc) {
    case PC_ASIDE_SAY:
        say_unsorted(s, p->now, false);
        p->pc = PC_CAS;
        break;
    case PC_CAS:
        if (*cell != p->seen[p->i] && c->mutant != MUTANT_TAKE_STORE) {
            p->pc = p->i > 0 && c->mutant != MUTANT_NO_UNDO ? PC_UNDO : PC_OWED;
            p->i = 0;
            break;
        }
        *cell = p->now;
        p->i++;
        if (p->i == units || c->mutant == MUTANT_FIRST_ONLY) {
            ghost_granted(c, s, p, units, why);
            p->units = units;
            p->pc = PC_HINT_CAS;
        }
        break;
    case PC_UNDO: /* two units at most: only the first can stand */
        *cell = *cell == p->now ? p->seen[0] : *cell;
        p->pc = PC_OWED;
        break;
    case PC_HINT_CAS:
        if (!aside(c, s, p) && s->hint == p->first) {
            s->hint = wrap(c, p->first + (uint32_t)units);
        }
        p->pc = PC_SHRINK_LOAD;
        break;
    case PC_SHRINK_LOAD:
        p->freed = s->freed;
        p->pc = p->freed.units >= units && p->freed.at == p->first ? PC_SHRINK_CAS : PC_HELD;
        break;
    default:
        if (s->freed.at == p->freed.at && s->freed.units == p->freed.units) {
            s->freed = (struct freed){wrap(c, p->first + (uint32_t)units),
                                      (uint8_t)(p->freed.units - units)};
        }
        p->pc = PC_HELD;
    }
    if (p->pc == PC_HELD) {
        *p = (struct proc){.pc = PC_HELD,
                           .calls_left = p->calls_left,
                           .now = p->now,
                           .first = p->first,
                           .units = p->units,
                           .late = p->late};
    }
}

/* cells_give of p->units units: those that bear the stamp, from p->first on */
static void give(const struct config *c, struct state *s, struct proc *p)
{
    if (p->pc == PC_GIVE_SAY) {
        say_unsorted(s, p->stamp, c->mutant == MUTANT_GIVE_SILENT);
        p->pc = PC_GIVE;
        return;
    }
    if (p->pc == PC_GIVE_FREED) {
        s->freed = (struct freed){p->at, p->given};
        done(p);
        return;
    }
    uint8_t at = wrap(c, p->first + (uint32_t)p->i++);
    if (s->cell[at] == p->now || c->mutant == MUTANT_GIVE_ANY) {
        s->cell[at] = 0;
        p->at = p->given == 0 ? at : p->at;
        p->old |= at != wrap(c, p->at + (uint32_t)p->given);
        p->given++;
    }
    if (p->given == p->units || p->i == c->cells) {
        p->i = 0;
        p->pc = PC_GIVE_FREED;
        if (p->given == 0 || p->old) {
            done(p);
        }
    }
}

static void added(const struct config *c, struct state *s, struct proc *p)
{
    for (uint32_t i = 0; i <= c->more; i++) {
        s->extra_at[s->extra_cnt++] = p->now;
    }
    done(p);
}

/* cells_owe's CAS */
static void owe(const struct config *c, struct state *s, struct proc *p)
{
    uint8_t until = (uint8_t)(p->now + SPAN);
    if (s->owed.until != p->freed.at || s->owed.units != p->freed.units) {
        p->pc = PC_OWE_LOAD;
        return;
    }
    s->owed = (struct owed){s->owed.until > until ? s->owed.until : until,
                            (uint8_t)(p->left + owed_now(s->owed, p->now))};
    if (c->mutant == MUTANT_ADD_FORGETS) {
        s->owed = (struct owed){0, 0};
    }
    added(c, s, p);
}

/* The cell is young, or was taken by another: what is taken behind it is out of order. */
static void add_next(const struct config *c, struct proc *p)
{
    p->old = 1;
    p->at = wrap(c, p->at + 1U);
    p->pc = ++p->i == c->cells ? PC_OWE_LOAD : PC_ADD_LOAD;
}

static void add(const struct config *c, struct state *s, struct proc *p)
{
    switch (p->pc) {
    case PC_ADD_CLOCK:
        p->now = s->time;
        p->left = (uint8_t)(c->more + 1);
        p->pc = PC_HINT;
        break;
    case PC_ADD_BEFORE:
        p->old = s->cell[wrap(c, p->at + c->cells - 1U)] > p->now && c->mutant != MUTANT_ADD_LATE;
        p->pc = PC_ADD_LOAD;
        break;
    case PC_ADD_LOAD:
        p->stamp = s->cell[p->at];
        p->pc = p->old ? PC_ADD_SAY : PC_ADD_CAS;
        if (!old(c, p->stamp, p->now) && c->mutant != MUTANT_ADD_OVERWRITES) {
            add_next(c, p);
        }
        break;
    case PC_ADD_SAY:
        say_unsorted(s, p->now, c->mutant == MUTANT_ADD_SILENT);
        p->pc = PC_ADD_CAS;
        break;
    case PC_ADD_CAS:
        if (s->cell[p->at] == p->stamp) {
            s->cell[p->at] = p->now;
            p->pc = PC_ADD_HINT_CAS;
        } else {
            add_next(c, p);
        }
        break;
    case PC_ADD_HINT_CAS:
        s->hint = s->hint == p->at ? wrap(c, p->at + 1U) : s->hint;
        if (--p->left == 0) {
            added(c, s, p);
        } else {
            uint8_t aside = p->old;
            add_next(c, p);
            p->old = aside;
        }
        break;
    case PC_OWE_LOAD:
        p->freed = (struct freed){s->owed.until, s->owed.units};
        p->pc = PC_OWE_CAS;
        break;
    default:
        owe(c, s, p);
    }
}

static void access_step(const struct config *c, struct state *s, struct proc *p, const char **why)
{
    bool gives = p->pc >= PC_GIVE_SAY && p->pc <= PC_GIVE_FREED;
    uint8_t reading = gives ? p->stamp : p->now;
    s->slept |= reading > 0 && s->time - reading >= SPAN;
    if (p->pc >= PC_ADD_CLOCK) {
        add(c, s, p);
    } else if (gives) {
        give(c, s, p);
    } else if (p->pc >= PC_ASIDE_SAY) {
        take(c, s, p, why);
    } else if (p->pc >= PC_FREED) {
        plan_cells(c, s, p);
    } else if (p->pc >= PC_HINT) {
        plan_hint(c, s, p);
    } else if (p->pc == PC_CLOCK) {
        p->now = s->time;
        p->knows = s->extra_cnt;
        p->pc = PC_OWED;
    } else { /* PC_OWED: beside_units */
        *p = (struct proc){.pc = PC_HINT,
                           .calls_left = p->calls_left,
                           .now = p->now,
                           .knows = p->knows,
                           .kept = owed_now(s->owed, p->now)};
        if (units_of(c, s, p) + p->kept > c->cells) {
            done(p);
        }
    }
}

/* Actions: per process a step (a held permit is used), a kill, a refund, a refund of one of two units, a surcharge; then a tick. */
enum { VERB_STEP, VERB_KILL, VERB_GIVE, VERB_GIVE_ONE, VERB_ADD, VERBS };

static bool held_step(const struct config *c, struct state *s, struct proc *p, uint32_t verb)
{
    uint8_t back = verb == VERB_GIVE ? p->units : 1;
    switch (verb) {
    case VERB_STEP:
        done(p);
        return true;
    case VERB_GIVE:
    case VERB_GIVE_ONE:
        if (s->gives_left == 0 || (verb == VERB_GIVE_ONE && p->units < 2)) {
            return false;
        }
        s->gives_left--;
        if (p->late <= JITTER) {
            uint8_t *cnt = &s->cnt[p->late][p->now + p->late];
            *cnt = (uint8_t)(*cnt - back);
        }
        p->units = c->mutant == MUTANT_GIVE_ALL ? p->units : back;
        p->stamp = s->time;
        p->pc = PC_GIVE_SAY;
        return true;
    default:
        if (s->adds_left == 0) {
            return false;
        }
        s->adds_left--;
        *p = (struct proc){.pc = PC_ADD_CLOCK, .calls_left = p->calls_left};
        return true;
    }
}

static bool step(const void *config, void *state, uint32_t action, const char **why)
{
    const struct config *c = config;
    struct state *s = state;
    if (action == VERBS * PROCS) {
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

static bool between(const struct proc *p)
{
    return p->pc == PC_IDLE || p->pc == PC_HELD || p->pc == PC_DEAD;
}

static bool run_alone(const struct config *c, struct state *s, struct proc *p)
{
    const char *other = NULL;
    uint32_t n = 0;
    while (!between(p) && n++ < ALONE_STEPS_MAX) {
        access_step(c, s, p, &other);
    }
    return n <= ALONE_STEPS_MAX;
}

/* Nobody is within a call: what do the cells say, and is a unit to be had? */
static void check_quiet(const struct config *c, const struct state *at, const char **why)
{
    uint32_t any_old = 0;
    for (uint32_t t = 1; t <= at->time && !at->killed && !at->stale && at->extra_cnt == 0; t++) {
        uint32_t bear = 0;
        for (uint32_t i = 0; i < c->cells; i++) {
            bear += at->cell[i] == t;
        }
        if (at->time - t < SPAN && bear != ghost_stamped(at, t)) {
            *why = "what is charged is not what is granted and not given back";
        }
    }
    for (uint32_t i = 0; i < c->cells; i++) {
        any_old += old(c, at->cell[i], at->time);
    }
    for (uint32_t i = 0; i < PROCS && !at->slept && *why == NULL; i++) {
        struct state s = *at;
        s.proc[i] = (struct proc){.pc = PC_CLOCK};
        bool room = any_old >= c->units[i] + (uint32_t)owed_now(at->owed, at->time);
        if (!run_alone(c, &s, &s.proc[i])) {
            *why = "a call that runs alone does not end";
        } else if (room != (s.proc[i].pc == PC_HELD)) {
            *why = room ? "alone, and refused beside old cells"
                        : "alone, and granted where too few cells are old";
        }
    }
}

static void check(const void *config, const void *state, const char **why)
{
    const struct config *c = config;
    const struct state *at = state;
    bool quiet = true;
    for (uint32_t i = 0; i < PROCS && *why == NULL; i++) {
        struct state s = *at;
        quiet &= between(&s.proc[i]);
        *why = run_alone(c, &s, &s.proc[i]) ? NULL : "a call that runs alone does not end";
    }
    if (quiet && *why == NULL) {
        check_quiet(c, at, why);
    }
}

static void print(const void *config, uint32_t action, const void *after)
{
    static const char *const verbs[VERBS] = {"", "is killed", "gives", "gives one", "adds"};
    const struct config *c = config;
    const struct state *s = after;
    char who[48];
    (void)snprintf(who, sizeof who, action < VERBS * PROCS ? "P%u %s next %s" : "tick",
                   action / VERBS, verbs[action % VERBS],
                   pc_names[s->proc[action / VERBS % PROCS].pc]);
    printf("%-32s time %u hint %u freed %u+%u owed %u<%u  ", who, s->time, s->hint, s->freed.at,
           s->freed.units, s->owed.units, s->owed.until);
    for (uint32_t i = 0; i < c->cells; i++) {
        printf("[%u]", s->cell[i]);
    }
    printf("\n");
}

/* name, mutant, must hold, calls and units of each, N, kills, refunds, surcharges, last tick, units of a surcharge beyond one */
static const struct config configs[] = {
    {"cells: N=1, single units, two spans", MUTANT_NONE, true, {2, 2}, {1, 1}, 1, 1, 0, 0, 8},
    {"cells: N=2, single units, refunds", MUTANT_NONE, true, {3, 1}, {1, 1}, 2, 0, 2, 0, 5},
    {"cells: N=3, two units and one, refunds", MUTANT_NONE, true, {2, 1}, {2, 1}, 3, 1, 1, 0, 4},
    {"cells: N=3, two units each", MUTANT_NONE, true, {2, 2}, {2, 2}, 3, 0, 1, 0, 1},
    {"cells: N=2, surcharge, refund", MUTANT_NONE, true, {3, 1}, {1, 1}, 2, 0, 1, 1, 4},
    {"cells: N=3, single units, refunds", MUTANT_NONE, true, {4, 1}, {1, 1}, 3, 0, 1, 0, 4},
    {"cells: N=4, single units, two refunds", MUTANT_NONE, true, {4, 2}, {1, 1}, 4, 0, 2, 0, 2},
    {"cells: N=4, surcharges, refunds", MUTANT_NONE, true, {5, 1}, {1, 1}, 4, 0, 2, 2, 1},
    {"cells: N=7, two surcharges of two", MUTANT_NONE, true, {1, 1}, {1, 1}, 7, 0, 0, 2, 2, 1},
    {"cells: N=4, surcharge, two units", MUTANT_NONE, true, {1, 1}, {1, 2}, 4, 0, 0, 1, 4, 0},
    {"mutant: stamped by a store", MUTANT_TAKE_STORE, false, {1, 1}, {1, 1}, 1, 0, 0, 0, 1},
    {"mutant: the hint is trusted", MUTANT_HINT_TRUSTED, false, {1, 1}, {1, 1}, 1, 0, 0, 0, 1},
    {"mutant: freed is trusted", MUTANT_FREED_TRUSTED, false, {3, 2}, {1, 1}, 2, 0, 2, 0, 2},
    {"mutant: a refund empties what others took",
     MUTANT_GIVE_ANY,
     false,
     {2, 2},
     {1, 1},
     1,
     0,
     1,
     0,
     6},
    {"mutant: a partial refund gives all back",
     MUTANT_GIVE_ALL,
     false,
     {1, 1},
     {2, 1},
     2,
     0,
     1,
     0,
     1},
    {"mutant: no undo", MUTANT_NO_UNDO, false, {2, 2}, {2, 1}, 3, 0, 1, 0, 2},
    {"mutant: granted by the first of two cells",
     MUTANT_FIRST_ONLY,
     false,
     {1, 1},
     {2, 1},
     2,
     0,
     0,
     0,
     1},
    {"mutant: nobody helps the hint", MUTANT_NO_HELP, false, {2, 1}, {1, 1}, 2, 1, 0, 0, 2},
    {"mutant: a span without the way", MUTANT_SHORT_SPAN, false, {1, 1}, {1, 1}, 1, 0, 0, 0, 4},
    {"mutant: a surcharge overwrites a young cell",
     MUTANT_ADD_OVERWRITES,
     false,
     {4, 2},
     {1, 1},
     3,
     0,
     1,
     1,
     3},
    {"mutant: a surcharge that finds no cell is forgotten",
     MUTANT_ADD_FORGETS,
     false,
     {3, 2},
     {1, 1},
     2,
     0,
     1,
     1,
     2},
    {"mutant: one cell is looked at for those that stay free",
     MUTANT_BEHIND_ONLY,
     false,
     {5, 1},
     {1, 1},
     4,
     0,
     2,
     2,
     1},
    {"mutant: a surcharge passes young cells, and nobody told",
     MUTANT_ADD_SILENT,
     false,
     {1, 1},
     {1, 1},
     7,
     0,
     0,
     2,
     2,
     1},
    {"mutant: a surcharge behind a later reading, and nobody told",
     MUTANT_ADD_LATE,
     false,
     {1, 1},
     {1, 2},
     4,
     0,
     0,
     1,
     4,
     0},
    {"mutant: nobody counts", MUTANT_SORTED, false, {4, 2}, {1, 1}, 3, 0, 1, 0, 5},
    {"mutant: a gap that nobody was told of",
     MUTANT_GIVE_SILENT,
     false,
     {4, 3},
     {1, 1},
     4,
     0,
     2,
     0,
     2},
    {"mutant: overtaken, and nobody told",
     MUTANT_LATE_SILENT,
     false,
     {1, 2},
     {1, 1},
     3,
     0,
     0,
     0,
     5},
    {"mutant: a young cell passed, and nobody told",
     MUTANT_PASS_SILENT,
     false,
     {4, 2},
     {1, 1},
     3,
     0,
     1,
     0,
     5},
};

int main(int argc, char **argv)
{
    bool trace = argc > 1 && strcmp(argv[1], "--trace") == 0;
    uint32_t wrong = 0;
    printf("no seed: every interleaving is visited\n");
    for (size_t i = 0; i < sizeof(configs) / sizeof(configs[0]); i++) {
        const struct config *c = &configs[i];
        struct state first = {
            .time = 1, .kills_left = c->kills, .gives_left = c->gives, .adds_left = c->adds};
        for (uint32_t p = 0; p < PROCS; p++) {
            first.proc[p].calls_left = c->calls[p];
        }
        struct explore_model model = {c->name, sizeof(first), VERBS * PROCS + 1, c, step,
                                      check,   print};
        wrong += explore_judge(&model, &first, c->must_hold, trace);
    }
    printf("%u wrong\n", wrong);
    return wrong == 0 ? 0 : 1;
}
