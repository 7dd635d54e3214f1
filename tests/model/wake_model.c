/*
 * wake_model.c: NEED_WAKEUP and the bell, under x86-TSO store buffers: is a wake-up ever lost?
 *
 * Each thread has a store buffer of one entry that drains at any time; a locked instruction or a full fence waits for its own
 * buffer to be empty. The ring is a count of entries (its CAS is locked). The bell is an eventfd: a ring of it is remembered
 * until the sleeper wakes. NEED_WAKEUP = epoch << 1 | asleep; a producer rings once per epoch, by its private memo.
 *
 *   producer   publish (locked); load NEED; asleep bit set and not my memo: ring the bell; then memo := NEED
 *   worker     NEED := epoch|1; full fence; look at the ring: empty: sleep until the bell; NEED := next epoch|0; take all
 *
 * A killed producer's pidfd rings too. A stopped one rings nothing, and may be stopped for ever between publish and bell: its own
 * entry then waits for the next idle tick (the sleep is bounded). It must not silence the others.
 *
 * Oracle
 *   kills   no reachable state in which the worker sleeps, the bell is silent, something is in the ring, and no producer is
 *           about to do anything: that is a lost wake-up;
 *   stops   no producer ends its put silently beside a sleeping worker and a silent bell.
 * Mutants must break it.
 */
#include <stdio.h>
#include <string.h>

#include "explore.h"

#define PRODUCERS 2
#define NO_STORE  255

enum mutant {
    MUTANT_NONE,
    MUTANT_NO_WORKER_FENCE, /* the worker looks at the ring while its NEED store waits in the buffer */
    MUTANT_PLAIN_PUBLISH,   /* the producer publishes by a plain store, without a fence */
    MUTANT_LOOK_FIRST,      /* the worker looks at the ring before it sets NEED */
    MUTANT_NEED_FIRST,      /* the producer loads NEED before it publishes */
    MUTANT_PRODUCER_CLEARS, /* the producer clears NEED before it rings, so that only one rings */
    MUTANT_NO_PIDFD,        /* a death does not ring */
    MUTANT_SAME_EPOCH,      /* the epoch never moves: memos silence everybody */
};

struct config {
    const char *name;
    enum mutant mutant;
    bool must_hold;
    uint8_t puts;
    uint8_t sleeps;
    uint8_t kills;
    bool stops; /* the kills are stops: no pidfd rings */
};

enum producer_pc {
    PRODUCER_IDLE,
    PRODUCER_PUBLISH,
    PRODUCER_LOAD,
    PRODUCER_CLEAR,
    PRODUCER_RING,
    PRODUCER_DEAD,
};

enum worker_pc {
    WORKER_SET,
    WORKER_FENCE,
    WORKER_LOOK,
    WORKER_ASLEEP,
    WORKER_UNSET,
    WORKER_TAKE,
    WORKER_OVER, /* it has slept often enough for this model: it spins from now on and takes everything */
};

struct producer {
    uint8_t pc;
    uint8_t puts_left;
    uint8_t need; /* as loaded */
    uint8_t memo;
    uint8_t buffered; /* MUTANT_PLAIN_PUBLISH: 1 while its publication waits in the buffer */
};

struct state {
    uint8_t inside; /* entries in the ring */
    uint8_t need;   /* NEED_WAKEUP in memory */
    uint8_t bell;
    uint8_t worker;
    uint8_t worker_buffer; /* a NEED value that is not yet in memory, or NO_STORE */
    uint8_t epoch;
    uint8_t sleeps_left;
    uint8_t kills_left;
    uint8_t saw_empty; /* MUTANT_LOOK_FIRST */
    uint8_t silent;    /* ghost: a put ended silently beside a sleeper */
    uint8_t rsv[4];
    struct producer producer[PRODUCERS];
};
_Static_assert(sizeof(struct state) % 8 == 0, "explore.h");

static void producer_done(struct producer *p)
{
    p->pc = PRODUCER_IDLE;
    p->need = 0;
}

static bool producer_publish(const struct config *c, struct state *s, struct producer *p)
{
    if (c->mutant == MUTANT_PLAIN_PUBLISH) {
        if (p->buffered) {
            return false; /* one entry only: wait for the drain */
        }
        p->buffered = 1;
    } else {
        s->inside++;
    }
    return true;
}

static void producer_silent(struct state *s, struct producer *p)
{
    s->silent = s->worker == WORKER_ASLEEP && s->bell == 0 && s->inside > 0;
    producer_done(p);
}

/* NEED was loaded and the entry published: ring? */
static void producer_decide(const struct config *c, struct state *s, struct producer *p)
{
    bool asleep = (p->need & 1) != 0 && p->need != p->memo;
    if (!asleep) {
        producer_silent(s, p);
    } else {
        p->pc = c->mutant == MUTANT_PRODUCER_CLEARS ? PRODUCER_CLEAR : PRODUCER_RING;
    }
}

static bool producer_step(const struct config *c, struct state *s, struct producer *p)
{
    bool need_first = c->mutant == MUTANT_NEED_FIRST;
    if (p->pc == PRODUCER_IDLE) {
        if (p->puts_left == 0) {
            return false;
        }
        p->puts_left--;
        p->pc = need_first ? PRODUCER_LOAD : PRODUCER_PUBLISH;
    }
    switch (p->pc) {
    case PRODUCER_PUBLISH:
        if (!producer_publish(c, s, p)) {
            p->puts_left++;
            p->pc = PRODUCER_IDLE;
            return false;
        }
        if (need_first) {
            producer_decide(c, s, p);
        } else {
            p->pc = PRODUCER_LOAD;
        }
        return true;
    case PRODUCER_LOAD:
        p->need = s->need;
        if (need_first) {
            p->pc = PRODUCER_PUBLISH;
        } else {
            producer_decide(c, s, p);
        }
        return true;
    case PRODUCER_CLEAR:
        if (s->need == p->need) {
            s->need &= 0xfe;
            p->pc = PRODUCER_RING;
        } else {
            producer_silent(s, p);
        }
        return true;
    case PRODUCER_RING:
        s->bell = 1;
        p->memo = p->need;
        producer_done(p);
        return true;
    default:
        return false;
    }
}

static void worker_store(struct state *s, uint8_t need)
{
    s->worker_buffer = need;
}

static void worker_try_sleep(struct state *s, bool empty)
{
    s->saw_empty = 0;
    s->worker = empty ? WORKER_ASLEEP : WORKER_UNSET;
}

static bool worker_step(const struct config *c, struct state *s)
{
    bool look_first = c->mutant == MUTANT_LOOK_FIRST;
    switch (s->worker) {
    case WORKER_SET:
        if (s->worker_buffer != NO_STORE) {
            return false;
        }
        if (look_first && !s->saw_empty) {
            s->saw_empty = 1;
            s->worker = s->inside == 0 ? WORKER_SET : WORKER_TAKE;
            s->saw_empty = s->inside == 0;
            return true;
        }
        worker_store(s, (uint8_t)(s->epoch << 1 | 1));
        s->worker = c->mutant == MUTANT_NO_WORKER_FENCE ? WORKER_LOOK : WORKER_FENCE;
        return true;
    case WORKER_FENCE:
        if (s->worker_buffer != NO_STORE) {
            return false; /* waits for the drain */
        }
        if (look_first) {
            worker_try_sleep(s, true);
        } else {
            s->worker = WORKER_LOOK;
        }
        return true;
    case WORKER_LOOK:
        worker_try_sleep(s, s->inside == 0);
        return true;
    case WORKER_ASLEEP:
        if (s->bell == 0) {
            return false;
        }
        s->bell = 0;
        s->worker = WORKER_UNSET;
        return true;
    case WORKER_UNSET:
        if (s->worker_buffer != NO_STORE) {
            return false;
        }
        s->epoch = (uint8_t)(s->epoch + (c->mutant == MUTANT_SAME_EPOCH ? 0 : 1));
        worker_store(s, (uint8_t)(s->epoch << 1));
        s->worker = WORKER_TAKE;
        return true;
    case WORKER_TAKE:
        s->inside = 0;
        s->sleeps_left--;
        s->worker = s->sleeps_left == 0 ? WORKER_OVER : WORKER_SET;
        return true;
    default:
        return false;
    }
}

/* Actions: the worker, its buffer's drain, then for each producer: a step, its buffer's drain, a kill. */
#define ACTION_CNT (2 + 3 * PRODUCERS)

static bool step(const void *config, void *state, uint32_t action, const char **why)
{
    const struct config *c = config;
    struct state *s = state;
    (void)why;
    if (action == 0) {
        return worker_step(c, s);
    }
    if (action == 1) {
        if (s->worker_buffer == NO_STORE) {
            return false;
        }
        s->need = s->worker_buffer;
        s->worker_buffer = NO_STORE;
        return true;
    }
    struct producer *p = &s->producer[(action - 2) / 3];
    switch ((action - 2) % 3) {
    case 0:
        return producer_step(c, s, p);
    case 1:
        if (!p->buffered) {
            return false;
        }
        p->buffered = 0;
        s->inside++;
        return true;
    default:
        if (s->kills_left == 0 || p->pc == PRODUCER_DEAD) {
            return false;
        }
        s->kills_left--;
        *p = (struct producer){.pc = PRODUCER_DEAD,
                               .buffered = p->buffered}; /* its buffer still drains */
        if (c->mutant != MUTANT_NO_PIDFD && !c->stops) {
            s->bell = 1;
        }
        return true;
    }
}

static void check(const void *config, const void *state, const char **why)
{
    const struct config *c = config;
    const struct state *s = state;
    if (c->stops) {
        *why = s->silent ? "a stopped producer silences the others" : NULL;
        return;
    }
    if (s->worker != WORKER_ASLEEP || s->bell || s->inside == 0 || s->worker_buffer != NO_STORE) {
        return;
    }
    for (uint32_t i = 0; i < PRODUCERS; i++) {
        const struct producer *p = &s->producer[i];
        if ((p->pc != PRODUCER_IDLE && p->pc != PRODUCER_DEAD) || p->buffered) {
            return;
        }
    }
    *why = "a wake-up is lost: the worker sleeps beside an entry";
}

static void print(const void *config, uint32_t action, const void *after)
{
    static const char *const worker[] = {"set", "fence", "look", "asleep", "unset", "take", "over"};
    static const char *const producer[] = {"idle", "publish", "load", "clear", "ring", "dead"};
    static const char *const what[] = {"step", "drain", "kill"};
    const struct state *s = after;
    (void)config;
    if (action < 2) {
        printf("worker %-6s", what[action]);
    } else {
        printf("P%u     %-6s", (action - 2) / 3, what[(action - 2) % 3]);
    }
    printf(" inside %u need %u bell %u worker next %s, P0 %s, P1 %s\n", s->inside, s->need, s->bell,
           worker[s->worker], producer[s->producer[0].pc], producer[s->producer[1].pc]);
}

static const struct config configs[] = {
    {"NEED_WAKEUP with a full fence", MUTANT_NONE, true, 2, 3, 1},
    {"NEED_WAKEUP with a full fence, more", MUTANT_NONE, true, 3, 4, 2},
    {"NEED_WAKEUP, producers stopped", MUTANT_NONE, true, 2, 3, 1, true},
    {"mutant: no fence in the worker", MUTANT_NO_WORKER_FENCE, false, 1, 1, 0},
    {"mutant: published by a plain store", MUTANT_PLAIN_PUBLISH, false, 1, 1, 0},
    {"mutant: looks, then sets NEED", MUTANT_LOOK_FIRST, false, 1, 1, 0},
    {"mutant: loads NEED, then publishes", MUTANT_NEED_FIRST, false, 1, 1, 0},
    {"mutant: producers clear NEED", MUTANT_PRODUCER_CLEARS, false, 1, 1, 1, true},
    {"mutant: a death does not ring", MUTANT_NO_PIDFD, false, 1, 1, 1},
    {"mutant: one epoch for ever", MUTANT_SAME_EPOCH, false, 2, 2, 0},
};

int main(int argc, char **argv)
{
    bool trace = argc > 1 && strcmp(argv[1], "--trace") == 0;
    uint32_t wrong = 0;
    printf("no seed: every interleaving is visited\n");
    for (size_t i = 0; i < sizeof(configs) / sizeof(configs[0]); i++) {
        const struct config *c = &configs[i];
        struct state first = {.worker_buffer = NO_STORE,
                              .sleeps_left = c->sleeps,
                              .kills_left = c->kills,
                              .epoch = 1};
        for (uint32_t p = 0; p < PRODUCERS; p++) {
            first.producer[p].puts_left = c->puts;
        }
        struct explore_model model = {c->name, sizeof(first), ACTION_CNT, c, step, check, print};
        struct explore_result result;
        explore(&model, &first, 10000000, &result);
        printf("%-38s 2Px%u, %u sleeps, %s=%u %8llu states %9llu steps  %s\n", c->name, c->puts,
               c->sleeps, c->stops ? "stops" : "kills", c->kills,
               (unsigned long long)result.state_cnt, (unsigned long long)result.transition_cnt,
               explore_outcome(&result));
        if (result.why != NULL && (trace || c->must_hold)) {
            explore_print_trace(&model, &first, &result);
        }
        wrong += explore_is_wrong(&result, c->must_hold);
    }
    printf("%u wrong\n", wrong);
    return wrong == 0 ? 0 : 1;
}
