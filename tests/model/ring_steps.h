/*
 * ring_steps.h: shm/weir_ring.c again, cut into single accesses to shared memory, with the ghost queue that judges it.
 *
 * A thread's `pc` names the access that it makes next; the names are those of the WEIR_WEAVE marks in weir_ring.c. Positions and
 * cycles are 8 bits wide here, which small runs never exhaust.
 */
#ifndef WEIR_TESTS_RING_STEPS_H
#define WEIR_TESTS_RING_STEPS_H

#include "explore.h"

#define CELLS_MAX   4
#define THREADS_MAX 6
#define GHOST_MAX   24

enum mutant {
    MUTANT_NONE,
    MUTANT_UNSIGNED_FULL,      /* tail - head compared unsigned */
    MUTANT_NO_FULL,            /* no full test at all */
    MUTANT_JUDGE_FIRST,        /* tail judged before head is loaded again */
    MUTANT_TAIL_STORE,         /* tail stored instead of CAS */
    MUTANT_HEAD_BEFORE_TAIL,   /* the producer's head is older than its tail */
    MUTANT_NO_HELP,            /* a lagging tail is waited for */
    MUTANT_PUBLISH_STORE,      /* the cell stored instead of CAS */
    MUTANT_PUBLISH_AFTER_TAIL, /* position claimed first, published after: the classic ring */
    MUTANT_TAKE_STORE,         /* head stored instead of CAS, with two consumers */
    MUTANT_POISON_STORE,       /* a hole poisoned by a store: an entry published just now is lost */
    MUTANT_EMPTY_ONE_LOOK,     /* EMPTY and holes judged without loading head again */
    SAME_HEAD_BEFORE_CELL,     /* harmless: the producer's head is older than its cell */
    SAME_FULL_ONE_LOOK,        /* harmless: FULL without loading tail again */
};

struct config {
    const char *name;
    enum mutant mutant;
    uint8_t cells; /* a power of two */
    uint8_t producers;
    uint8_t puts; /* calls of each producer */
    uint8_t consumers;
    uint8_t takes; /* calls of each consumer */
    uint8_t kills;
};

/* Where a thread is: the access it makes next. */
enum pc {
    PC_IDLE = 0,
    PC_PUT_TAIL,
    PC_PUT_CELL,
    PC_PUT_HEAD,
    PC_HELP,
    PC_FULL,
    PC_PUBLISH,
    PC_ADVANCE,
    PC_TAKE_HEAD,
    PC_TAKE_CELL,
    PC_TAKE,
    PC_TAKE_TAIL,
    PC_RECHECK,
    PC_POISON,
    PC_REPAIR,
    PC_DEAD,
};
extern const char *const ring_pc_names[];

struct cell {
    uint8_t cycle;
    uint8_t handle;
};

struct thread {
    uint8_t pc;
    uint8_t calls_left;
    uint8_t tail;
    uint8_t head;
    struct cell seen;
    uint8_t could_refuse; /* ghost: was it full (empty) at an instant of this call? */
    uint8_t rsv;
};

struct state {
    uint8_t tail;
    uint8_t head;
    uint8_t kills_left;
    uint8_t published; /* ghost */
    uint8_t taken;     /* ghost */
    uint8_t rsv[3];
    struct cell cell[CELLS_MAX];
    uint8_t ghost[GHOST_MAX];
    struct thread thread[THREADS_MAX];
};
_Static_assert(sizeof(struct state) % 8 == 0 && sizeof(struct state) <= EXPLORE_STATE_BYTES_MAX,
               "explore.h");

/* Threads 0 .. producers - 1 put, the others take. */
bool ring_is_producer(const struct config *c, uint32_t t);

/* Entries that are inside, by the ghost queue. */
uint8_t ring_ghost_inside(const struct state *s);

/* The next access of thread t; an idle thread begins a call with it. `*why` set: the oracle is broken. */
void ring_step(const struct config *c, struct state *s, uint32_t t, const char **why);

#endif
