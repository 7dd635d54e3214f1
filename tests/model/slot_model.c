/*
 * slot_model.c: the slot's state word under a ring that may lose, double and delay handles, a sweep, cancels, and kills.
 *
 * One slot, used for up to REQUESTS_MAX requests one after the other. The ring is reduced to what a damaged ring may do: any
 * handle that was ever put may be delivered at any time, any number of times, or never. The worker may be killed between any
 * two accesses; a new one goes on with the ledger (the private shadow), which survives it.
 *
 *   client   FREE(g) -> SUBMITTED(g+1), put the handle; perhaps CAS SUBMITTED -> CANCELLED; an end -> FREE
 *   worker   by a handle or by the sweep: shadow idle? word SUBMITTED? CAS SUBMITTED(g) -> CLAIMED(g);
 *            shadow := CLAIMED(g); word := SENDING(g); shadow := SENDING(g); send; word := DONE(g); shadow := idle
 *   new one  shadow SENDING: CAS SENDING(g) -> UNKNOWN(g), never sent again; shadow := idle
 *            shadow CLAIMED: nothing was sent, go on from there
 *            shadow idle, word CLAIMED: killed between claim and shadow; nothing was sent, go on from there
 *
 * Oracle
 *   - each request is sent at most once; a CANCELLED one never;
 *   - DONE is said only of a request that was sent; UNKNOWN never of one that ended otherwise;
 *   - in every reachable state, if nobody dies any more, a worker alone brings a submitted request to an end within
 *     WORKER_STEPS_MAX accesses, even if the ring lost its handle.
 * Mutants must each break it.
 */
#include <stdio.h>
#include <string.h>

#include "explore.h"

#define REQUESTS_MAX     2
#define WORKER_STEPS_MAX 20

enum mutant {
    MUTANT_NONE,
    MUTANT_CLAIM_STORE,  /* the worker claims by a store */
    MUTANT_CANCEL_STORE, /* the client cancels by a store */
    MUTANT_SEND_FIRST,   /* sends, then marks SENDING */
    MUTANT_SEND_AGAIN,   /* a new worker sends what it finds SENDING */
    MUTANT_NO_SWEEP,     /* the ring is trusted to lose nothing */
    MUTANT_IDLE_FIRST,   /* the shadow is idle before the word says DONE */
    MUTANT_NO_ADOPT,     /* a new worker leaves a CLAIMED word without a shadow alone */
};

struct config {
    const char *name;
    enum mutant mutant;
    uint8_t kills;
};

enum word {
    WORD_FREE,
    WORD_SUBMITTED,
    WORD_CLAIMED,
    WORD_SENDING,
    WORD_DONE,
    WORD_UNKNOWN,
    WORD_CANCELLED,
};

enum shadow {
    SHADOW_IDLE,
    SHADOW_CLAIMED,
    SHADOW_SENDING,
};

enum worker {
    WORKER_RECOVER, /* first thing of each worker: look at the shadow */
    WORKER_RECOVER_WORD,
    WORKER_IDLE,
    WORKER_CLAIM, /* saw SUBMITTED: CAS */
    WORKER_SHADOW_CLAIMED,
    WORKER_WORD_SENDING,
    WORKER_SHADOW_SENDING,
    WORKER_SEND,
    WORKER_WORD_END,
    WORKER_SHADOW_IDLE,
};

enum client {
    CLIENT_IDLE,
    CLIENT_PUT,    /* SUBMITTED, handle not yet put */
    CLIENT_WAIT,   /* put, or the ring was full */
    CLIENT_CANCEL, /* saw SUBMITTED, wants it back */
    CLIENT_DEAD,
};

struct state {
    uint8_t word; /* shared: enum word and the request it is about */
    uint8_t word_gen;
    uint8_t shadow; /* ledger */
    uint8_t shadow_gen;
    uint8_t worker; /* private to one life of the worker */
    uint8_t worker_gen;
    uint8_t client;
    uint8_t kills_left;
    uint8_t put_gen;                     /* handles 1 .. put_gen were put at some time */
    uint8_t sent[REQUESTS_MAX + 1];      /* ghost */
    uint8_t cancelled[REQUESTS_MAX + 1]; /* ghost */
    uint8_t rsv;
};
_Static_assert(sizeof(struct state) % 8 == 0, "explore.h");

/* An end was written for request `gen`. */
static void ghost_end(const struct state *s, enum word end, uint8_t gen, const char **why)
{
    if (end == WORD_DONE && s->sent[gen] == 0) {
        *why = "DONE, but it was never sent";
    }
}

static void worker_look(struct state *s)
{
    if (s->word == WORD_SUBMITTED) {
        s->worker = WORKER_CLAIM;
        s->worker_gen = s->word_gen;
    }
}

static void worker_recover(const struct config *c, struct state *s)
{
    s->worker_gen = s->shadow_gen;
    if (s->shadow == SHADOW_CLAIMED) {
        s->worker = c->mutant == MUTANT_SEND_FIRST ? WORKER_SEND : WORKER_WORD_SENDING;
    } else if (s->shadow == SHADOW_SENDING) {
        s->worker = c->mutant == MUTANT_SEND_AGAIN ? WORKER_SEND : WORKER_RECOVER_WORD;
    } else if (s->word == WORD_CLAIMED && c->mutant != MUTANT_NO_ADOPT) {
        s->worker = WORKER_SHADOW_CLAIMED;
        s->worker_gen = s->word_gen;
    } else {
        s->worker = WORKER_IDLE;
        s->worker_gen = 0;
    }
}

static void worker_send(struct state *s, const char **why)
{
    s->sent[s->worker_gen]++;
    if (s->sent[s->worker_gen] > 1) {
        *why = "sent twice";
    } else if (s->cancelled[s->worker_gen]) {
        *why = "sent, though the client was told that it is cancelled";
    }
}

static void worker_claim(const struct config *c, struct state *s)
{
    bool same = s->word == WORD_SUBMITTED && s->word_gen == s->worker_gen;
    if (same || c->mutant == MUTANT_CLAIM_STORE) {
        s->word = WORD_CLAIMED;
        s->word_gen = s->worker_gen;
        s->worker = WORKER_SHADOW_CLAIMED;
    } else {
        s->worker = WORKER_IDLE;
        s->worker_gen = 0;
    }
}

static void worker_end(const struct config *c, struct state *s)
{
    if (c->mutant == MUTANT_IDLE_FIRST && s->shadow != SHADOW_IDLE) {
        s->shadow = SHADOW_IDLE;
        s->shadow_gen = 0;
        return;
    }
    s->word = WORD_DONE;
    s->word_gen = s->worker_gen;
    s->worker = WORKER_SHADOW_IDLE;
}

/* One access of the worker. */
static void worker_step(const struct config *c, struct state *s, const char **why)
{
    bool send_first = c->mutant == MUTANT_SEND_FIRST;
    switch (s->worker) {
    case WORKER_RECOVER:
        worker_recover(c, s);
        break;
    case WORKER_RECOVER_WORD:
        if (s->word == WORD_SENDING && s->word_gen == s->shadow_gen) {
            s->word = WORD_UNKNOWN;
        }
        s->worker = WORKER_SHADOW_IDLE;
        break;
    case WORKER_CLAIM:
        worker_claim(c, s);
        break;
    case WORKER_SHADOW_CLAIMED:
        s->shadow = SHADOW_CLAIMED;
        s->shadow_gen = s->worker_gen;
        s->worker = send_first ? WORKER_SEND : WORKER_WORD_SENDING;
        break;
    case WORKER_WORD_SENDING:
        s->word = WORD_SENDING;
        s->word_gen = s->worker_gen;
        s->worker = WORKER_SHADOW_SENDING;
        break;
    case WORKER_SHADOW_SENDING:
        s->shadow = SHADOW_SENDING;
        s->worker = send_first ? WORKER_WORD_END : WORKER_SEND;
        break;
    case WORKER_SEND:
        worker_send(s, why);
        s->worker = send_first ? WORKER_WORD_SENDING : WORKER_WORD_END;
        break;
    case WORKER_WORD_END:
        worker_end(c, s);
        ghost_end(s, WORD_DONE, s->worker_gen, why);
        break;
    default: /* WORKER_SHADOW_IDLE */
        s->shadow = SHADOW_IDLE;
        s->shadow_gen = 0;
        s->worker = WORKER_IDLE;
        s->worker_gen = 0;
        break;
    }
}

static bool ended(uint8_t word)
{
    return word == WORD_DONE || word == WORD_UNKNOWN || word == WORD_CANCELLED;
}

enum action {
    ACTION_WORKER, /* its next access */
    ACTION_HANDLE, /* an idle worker is given a handle: the newest, or an old one; it looks at the word */
    ACTION_SWEEP,  /* an idle worker looks at the word without a handle */
    ACTION_CLIENT, /* the client's next access */
    ACTION_FULL,   /* the client's put finds the ring full, or loses the handle */
    ACTION_WANT,   /* the client decides to cancel */
    ACTION_KILL,   /* the worker dies, a new one starts */
    ACTION_KILL_CLIENT,
    ACTION_CNT,
};
static const char *const action_names[] = {
    "worker",      "worker gets a handle",   "worker sweeps",    "client",
    "put is lost", "client wants to cancel", "worker is killed", "client is killed"};

static bool client_step(const struct config *c, struct state *s)
{
    switch (s->client) {
    case CLIENT_IDLE:
        if (s->word != WORD_FREE || s->word_gen == REQUESTS_MAX) {
            return false;
        }
        s->word = WORD_SUBMITTED;
        s->word_gen++;
        s->client = CLIENT_PUT;
        return true;
    case CLIENT_PUT:
        s->put_gen = s->word_gen;
        s->client = CLIENT_WAIT;
        return true;
    case CLIENT_WAIT:
        if (!ended(s->word)) {
            return false;
        }
        s->word = WORD_FREE;
        s->client = CLIENT_IDLE;
        return true;
    case CLIENT_CANCEL:
        if (s->word == WORD_SUBMITTED || c->mutant == MUTANT_CANCEL_STORE) {
            s->word = WORD_CANCELLED;
            s->cancelled[s->word_gen] = 1;
        }
        s->client = CLIENT_WAIT;
        return true;
    default:
        return false;
    }
}

static bool worker_given(const struct config *c, struct state *s, enum action action)
{
    bool possible = action == ACTION_HANDLE ? s->put_gen > 0 : c->mutant != MUTANT_NO_SWEEP;
    if (s->worker != WORKER_IDLE || !possible) {
        return false;
    }
    worker_look(s);
    return true;
}

static bool step(const void *config, void *state, uint32_t action, const char **why)
{
    const struct config *c = config;
    struct state *s = state;
    switch (action) {
    case ACTION_WORKER:
        if (s->worker == WORKER_IDLE) {
            return false;
        }
        worker_step(c, s, why);
        return true;
    case ACTION_HANDLE:
    case ACTION_SWEEP:
        return worker_given(c, s, action);
    case ACTION_CLIENT:
        return client_step(c, s);
    case ACTION_FULL:
        if (s->client != CLIENT_PUT) {
            return false;
        }
        s->client = CLIENT_WAIT;
        return true;
    case ACTION_WANT:
        if (s->client != CLIENT_WAIT || s->word != WORD_SUBMITTED) {
            return false;
        }
        s->client = CLIENT_CANCEL;
        return true;
    case ACTION_KILL:
        if (s->kills_left == 0) {
            return false;
        }
        s->kills_left--;
        s->worker = WORKER_RECOVER;
        s->worker_gen = 0;
        return true;
    default: /* ACTION_KILL_CLIENT */
        if (s->client == CLIENT_DEAD) {
            return false;
        }
        s->client = CLIENT_DEAD;
        return true;
    }
}

/* Nobody dies any more and the ring delivers nothing: the worker alone must end what was submitted. */
static void check(const void *config, const void *state, const char **why)
{
    const struct config *c = config;
    struct state s = *(const struct state *)state;
    for (uint32_t i = 0; i < WORKER_STEPS_MAX && *why == NULL; i++) {
        if (s.worker != WORKER_IDLE) {
            worker_step(c, &s, why);
        } else if (!worker_given(c, &s, ACTION_SWEEP)) {
            break;
        }
    }
    bool idle = s.worker == WORKER_IDLE && s.shadow == SHADOW_IDLE;
    if (*why == NULL && (!idle || (s.word != WORD_FREE && !ended(s.word)))) {
        *why = "a submitted request never ends";
    }
}

static void print(const void *config, uint32_t action, const void *after)
{
    static const char *const words[] = {"FREE", "SUBMITTED", "CLAIMED",  "SENDING",
                                        "DONE", "UNKNOWN",   "CANCELLED"};
    static const char *const shadows[] = {"idle", "CLAIMED", "SENDING"};
    const struct state *s = after;
    (void)config;
    printf("%-22s word %s(%u) shadow %s(%u)\n", action_names[action], words[s->word], s->word_gen,
           shadows[s->shadow], s->shadow_gen);
}

static const struct config configs[] = {
    {"slot word, ledger, sweep", MUTANT_NONE, 3},
    {"mutant: claimed by a store", MUTANT_CLAIM_STORE, 0},
    {"mutant: cancelled by a store", MUTANT_CANCEL_STORE, 0},
    {"mutant: sent before it is marked SENDING", MUTANT_SEND_FIRST, 1},
    {"mutant: SENDING is sent again", MUTANT_SEND_AGAIN, 1},
    {"mutant: no sweep", MUTANT_NO_SWEEP, 0},
    {"mutant: shadow idle before the word ends", MUTANT_IDLE_FIRST, 1},
    {"mutant: CLAIMED without a shadow is left", MUTANT_NO_ADOPT, 1},
};

int main(int argc, char **argv)
{
    bool trace = argc > 1 && strcmp(argv[1], "--trace") == 0;
    uint32_t wrong = 0;
    printf("no seed: every interleaving is visited\n");
    for (size_t i = 0; i < sizeof(configs) / sizeof(configs[0]); i++) {
        const struct config *c = &configs[i];
        struct state first = {.kills_left = c->kills, .worker = WORKER_RECOVER};
        struct explore_model model = {c->name, sizeof(first), ACTION_CNT, c, step, check, print};
        struct explore_result result;
        explore(&model, &first, 10000000, &result);
        printf("%-46s kills=%u %8llu states %9llu steps  %s\n", c->name, c->kills,
               (unsigned long long)result.state_cnt, (unsigned long long)result.transition_cnt,
               explore_outcome(&result));
        bool must_hold = c->mutant == MUTANT_NONE;
        if (result.why != NULL && (trace || must_hold)) {
            explore_print_trace(&model, &first, &result);
        }
        wrong += explore_is_wrong(&result, must_hold);
    }
    printf("%u wrong\n", wrong);
    return wrong == 0 ? 0 : 1;
}
