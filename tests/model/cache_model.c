/*
 * cache_model.c: answers on the board (shm/weir_cache.h): every interleaving of one writer, its deaths, and a reader.
 *
 * Two heads, A and B, and one granule of two words that only one of them can stand for at a time: each writing takes away whoever has the granule, and the head that
 * it writes. The reader looks for A again and again. Memory is weaker than x86: what stands between two fences happens in any order,
 * the writer's stores (two words of data, one of the head) and the reader's loads (the same), so the proof does not lean on TSO.
 *
 *   writer   take away: sequence of the granule's head + 1 (even) | fence | data, data, head in any order | release: sequence + 1 (odd)
 *   new one  the granule is whose head is odd; else nobody's
 *   reader   sequence, odd? | data, data, head in any order | fence | sequence again: the same? then it is a hit
 *
 * Oracle: a hit's words are all of the writing that the head's word names, and that writing was of A. In every state at most one head is whole.
 * Mutants must each break it.
 */
#include <stdio.h>
#include <string.h>

#include "explore.h"

enum mutant {
    MUTANT_NONE,
    MUTANT_ONE_LOOK,      /* the reader does not look at the sequence again */
    MUTANT_NO_FENCE,      /* the take-away may be seen behind the stores that follow it */
    MUTANT_NO_RELEASE,    /* the answer may be published before it is whole */
    MUTANT_NO_TAKE_AWAY,  /* the granule is used again while a head stands for it */
    MUTANT_SEQUENCE_BACK, /* the sequence says only whole or not */
    MUTANT_RECOVER_FREE,  /* a new writer takes the granule for nobody's */
    MUTANT_RECOVER_WHOLE, /* a new writer makes whole what it finds half written */
    MUTANT_EVEN_TOO,      /* the reader takes even heads as well */
};

struct config {
    const char *name;
    enum mutant mutant;
    uint8_t writes;
    uint8_t kills;
};

enum head { HEAD_NONE = 0, HEAD_A = 1, HEAD_B = 2 };

/* Stores that wait, loads that were made: a bit each. */
enum { WORD_DATA0 = 1, WORD_DATA1 = 2, WORD_HEAD = 4, WORD_AWAY = 8, WORD_ALL = 7 };

enum writer { WRITER_NEW, WRITER_IDLE, WRITER_TAKE, WRITER_STORE };
enum reader { READER_IDLE, READER_LOAD, READER_LOOK };

struct state {
    uint8_t sequence[3]; /* shared, by enum head */
    uint8_t named[3];    /* shared: the writing that the head's word says */
    uint8_t data[2];     /* shared: which writing each word is of */
    /* private to one life of the writer */
    uint8_t writer;
    uint8_t target;
    uint8_t owner; /* of the granule */
    uint8_t waiting;
    uint8_t away; /* the head whose sequence waits (no fence) */
    /* */
    uint8_t number; /* of the last writing that was begun */
    uint8_t of_a;   /* ghost: bit per writing: it was of A */
    uint8_t writes_left;
    uint8_t kills_left;
    uint8_t reader;
    uint8_t made;
    uint8_t seen_sequence, seen_named;
    uint8_t seen_data[2];
    uint8_t rsv;
};
_Static_assert(sizeof(struct state) % 8 == 0 && sizeof(struct state) <= EXPLORE_STATE_BYTES_MAX,
               "explore.h");

static void sequence_up(const struct config *c, struct state *s, uint8_t head)
{
    s->sequence[head] = c->mutant == MUTANT_SEQUENCE_BACK ? s->sequence[head] ^ 1U
                                                          : (uint8_t)(s->sequence[head] + 1U);
}

/* ---------------------------------------------------------------------------------------------- the writer */

static bool writer_begin(const struct config *c, struct state *s, uint8_t target)
{
    if (s->writer == WRITER_NEW && target == HEAD_A) { /* one way to begin anew */
        s->owner = HEAD_NONE;
        for (uint8_t h = HEAD_A; h <= HEAD_B; h++) {
            if (c->mutant == MUTANT_RECOVER_WHOLE && (s->sequence[h] & 1U) == 0 &&
                s->sequence[h] != 0) {
                sequence_up(c, s, h);
            }
            if ((s->sequence[h] & 1U) != 0 && c->mutant != MUTANT_RECOVER_FREE) {
                s->owner = h;
            }
        }
        s->writer = WRITER_IDLE;
        return true;
    }
    if (s->writer != WRITER_IDLE || s->writes_left == 0) {
        return false;
    }
    s->writes_left--;
    s->target = target;
    s->number++;
    s->of_a |= (uint8_t)(target == HEAD_A ? 1U << s->number : 0);
    s->writer = WRITER_TAKE;
    return true;
}

/* One head a step: whoever has the granule, then the target. With one granule the target is whole only where it has it. */
static bool writer_take(const struct config *c, struct state *s)
{
    if (s->writer != WRITER_TAKE) {
        return false;
    }
    s->waiting = WORD_ALL;
    s->writer = WRITER_STORE;
    if (s->owner != HEAD_NONE && c->mutant != MUTANT_NO_TAKE_AWAY) {
        if (c->mutant == MUTANT_NO_FENCE) {
            s->waiting |= WORD_AWAY;
            s->away = s->owner;
        } else {
            sequence_up(c, s, s->owner);
        }
    }
    if (c->mutant == MUTANT_NO_TAKE_AWAY && (s->sequence[s->target] & 1U) != 0) {
        sequence_up(c, s, s->target); /* only what it writes itself */
    }
    s->owner = HEAD_NONE;
    return true;
}

static bool writer_store(const struct config *c, struct state *s, uint8_t word)
{
    if (s->writer != WRITER_STORE || (s->waiting & word) == 0) {
        return false;
    }
    s->waiting &= (uint8_t)~word;
    if (word == WORD_AWAY) {
        sequence_up(c, s, s->away);
        s->away = 0;
    } else if (word == WORD_HEAD) {
        s->named[s->target] = s->number;
    } else {
        s->data[word == WORD_DATA1] = s->number;
    }
    return true;
}

static bool writer_publish(const struct config *c, struct state *s)
{
    if (s->writer != WRITER_STORE ||
        (s->waiting != 0 && (c->mutant != MUTANT_NO_RELEASE || s->waiting == WORD_ALL))) {
        return false;
    }
    if ((s->sequence[s->target] & 1U) != 0) {
        return false; /* the mutant without release published already */
    }
    sequence_up(c, s, s->target);
    s->owner = s->target;
    if (s->waiting == 0) {
        s->writer = WRITER_IDLE;
    }
    return true;
}

/* The mutant's late stores are all made: it goes on. */
static bool writer_late(const struct config *c, struct state *s)
{
    if (c->mutant != MUTANT_NO_RELEASE || s->writer != WRITER_STORE || s->waiting != 0 ||
        (s->sequence[s->target] & 1U) == 0) {
        return false;
    }
    s->writer = WRITER_IDLE;
    return true;
}

static bool writer_die(struct state *s)
{
    if (s->kills_left == 0 || s->writer == WRITER_NEW) {
        return false;
    }
    s->kills_left--;
    s->writer = WRITER_NEW;
    s->waiting = s->target = s->owner = s->away = 0;
    return true;
}

/* ---------------------------------------------------------------------------------------------- the reader */

static bool reader_look(const struct config *c, struct state *s, const char **why)
{
    if (s->reader == READER_IDLE) {
        if ((s->sequence[HEAD_A] & 1U) == 0 &&
            (c->mutant != MUTANT_EVEN_TOO || s->sequence[HEAD_A] == 0)) {
            return false; /* a miss: the same as no look */
        }
        s->seen_sequence = s->sequence[HEAD_A];
        s->made = 0;
        s->reader = READER_LOAD;
        return true;
    }
    if (s->reader != READER_LOOK) {
        return false;
    }
    bool hit = c->mutant == MUTANT_ONE_LOOK || s->sequence[HEAD_A] == s->seen_sequence;
    if (hit && (s->seen_data[0] != s->seen_named || s->seen_data[1] != s->seen_named)) {
        *why = "a hit of two writings";
    }
    if (hit && ((uint32_t)s->of_a >> s->seen_named & 1U) == 0) {
        *why = "a hit of another key's answer";
    }
    s->reader = READER_IDLE;
    s->seen_sequence = s->seen_named = s->seen_data[0] = s->seen_data[1] = s->made = 0;
    return true;
}

static bool reader_load(struct state *s, uint8_t word)
{
    if (s->reader != READER_LOAD || (s->made & word) != 0) {
        return false;
    }
    s->made |= word;
    if (word == WORD_HEAD) {
        s->seen_named = s->named[HEAD_A];
    } else {
        s->seen_data[word == WORD_DATA1] = s->data[word == WORD_DATA1];
    }
    if (s->made == WORD_ALL) {
        s->reader = READER_LOOK;
    }
    return true;
}

/* ---------------------------------------------------------------------------------------------- exploring */

static const char *const action_names[] = {
    "writer: begin A",  "writer: begin B", "writer: take away", "writer: data 0",
    "writer: data 1",   "writer: head",    "writer: late away", "writer: publish",
    "writer: late end", "writer: dies",    "reader: sequence",  "reader: data 0",
    "reader: data 1",   "reader: head",
};

static bool step(const void *config, void *state, uint32_t action, const char **why)
{
    const struct config *c = config;
    struct state *s = state;
    switch (action) {
    case 0:
    case 1:
        return writer_begin(c, s, action == 0 ? HEAD_A : HEAD_B);
    case 2:
        return writer_take(c, s);
    case 3:
    case 4:
    case 5:
    case 6:
        return writer_store(c, s, (uint8_t)(1U << (action - 3)));
    case 7:
        return writer_publish(c, s);
    case 8:
        return writer_late(c, s);
    case 9:
        return writer_die(s);
    case 10:
        return reader_look(c, s, why);
    default:
        return reader_load(s, (uint8_t)(1U << (action - 11)));
    }
}

static void check(const void *config, const void *state, const char **why)
{
    const struct state *s = state;
    (void)config;
    if ((s->sequence[HEAD_A] & 1U) != 0 && (s->sequence[HEAD_B] & 1U) != 0) {
        *why = "two heads stand for one granule";
    }
}

static void print(const void *config, uint32_t action, const void *after)
{
    const struct state *s = after;
    (void)config;
    (void)printf("  %-18s A %u:%u  B %u:%u  data %u %u  reader %u\n", action_names[action],
                 s->sequence[HEAD_A], s->named[HEAD_A], s->sequence[HEAD_B], s->named[HEAD_B],
                 s->data[0], s->data[1], s->reader);
}

int main(int argc, char **argv)
{
    static const struct config configs[] = {
        {"four writings", MUTANT_NONE, 4, 0},
        {"five writings, two deaths", MUTANT_NONE, 5, 2},
        {"one look", MUTANT_ONE_LOOK, 3, 0},
        {"no fence", MUTANT_NO_FENCE, 3, 0},
        {"no release", MUTANT_NO_RELEASE, 3, 0},
        {"no take-away", MUTANT_NO_TAKE_AWAY, 3, 0},
        {"sequence goes back", MUTANT_SEQUENCE_BACK, 4, 0},
        {"new writer takes the granule for free", MUTANT_RECOVER_FREE, 3, 1},
        {"new writer makes whole what is not", MUTANT_RECOVER_WHOLE, 3, 1},
        {"even heads too", MUTANT_EVEN_TOO, 3, 0},
    };
    bool trace = argc > 1 && strcmp(argv[1], "--trace") == 0;
    uint32_t wrong = 0;
    for (size_t i = 0; i < sizeof configs / sizeof configs[0]; i++) {
        const struct config *c = &configs[i];
        const struct explore_model model = {.name = c->name,
                                            .state_bytes = sizeof(struct state),
                                            .action_cnt = 14,
                                            .config = c,
                                            .step = step,
                                            .check = check,
                                            .print = print};
        const struct state first = {
            .writer = WRITER_IDLE, .writes_left = c->writes, .kills_left = c->kills};
        wrong += explore_judge(&model, &first, c->mutant == MUTANT_NONE, trace);
    }
    return wrong != 0;
}
