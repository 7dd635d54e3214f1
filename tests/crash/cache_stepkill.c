/*
 * cache_stepkill.c: the worker's death at every single instruction of putting an answer (shm/weir_cache.h).
 *
 * The victim puts a new answer for a key that has one, on the granules of another key's answer, which it takes away first. Oracle, after each instruction:
 *   - a look for either key finds the answer as it was, or as it will be, whole, or nothing;
 *   - once an old one is gone it stays gone; once the new one is there it stays there;
 *   - whoever writes next, with the same memory and no other knowledge, puts and takes away both keys as if nothing had happened.
 *
 * cache_stepkill [--step N]     1 = each instruction
 */
#include "stepper.h"

#include "shm/weir_cache.h"

#include <sys/mman.h>

#define HEADS      64U
#define DATA_BYTES 4096U
#define NOW        50U

struct region {
    struct weir_shm_cache_head head[HEADS] WEIR_ALIGN_LINE;
    uint64_t data[DATA_BYTES / 8] WEIR_ALIGN_LINE;
    volatile int over;
};

static struct region *m;
static struct weir_cache_view view;
static const struct weir_cache_key one = {{11, 0}};
static const struct weir_cache_key two = {{22, 8}}; /* of another set */
static char old_one[400], old_two[700], new_one[600];
static uint64_t looks;
static bool gone_one, gone_two, there;

static void put(uint32_t index, const struct weir_cache_key *key, uint32_t off, const char *body,
                size_t bytes)
{
    const struct weir_shm_cache_head as = {.key = {key->word[0], key->word[1]},
                                           .filled_ns = 1,
                                           .fresh_until_ns = 100,
                                           .stale_until_ns = 200,
                                           .data_off_bytes = off,
                                           .head_bytes = 5,
                                           .body_bytes = (uint32_t)bytes,
                                           .status = 200};
    weir_cache_put(&m->head[index], m->data, &as, "head\n", body);
}

static void victim(void)
{
    stepper_ready();
    weir_cache_take_away(&m->head[8]); /* `two` had the granules */
    weir_cache_take_away(&m->head[0]);
    put(0, &one, 1024, new_one, sizeof new_one);
    m->over = 1;
    for (;;) { /* it is killed here */
    }
}

static void violated(const char *what, uint32_t k)
{
    printf("VIOLATED at instruction %u: %s\n", k, what);
    exit(1);
}

/* 0: nothing; 1: `was`; 2: `is`. */
static int look_for(const struct weir_cache_key *key, const char *was, size_t was_bytes,
                    const char *is, size_t is_bytes, uint32_t k)
{
    char to[2048];
    struct weir_cache_answer a;
    looks++;
    if (weir_cache_find(&view, key, NOW, false, to, sizeof to, &a) != WEIR_CACHE_HIT) {
        return 0;
    }
    if (a.head_bytes == 5 && memcmp(to, "head\n", 5) == 0) {
        if (a.body_bytes == was_bytes && memcmp(to + 5, was, was_bytes) == 0) {
            return 1;
        }
        if (is != NULL && a.body_bytes == is_bytes && memcmp(to + 5, is, is_bytes) == 0) {
            return 2;
        }
    }
    violated("a torn answer", k);
    return 0;
}

/* A successor, which knows only what the memory says. */
static void successor(uint32_t k)
{
    static const char text[] = "of the next worker";
    uint64_t before = m->head[0].sequence;
    weir_cache_take_away(&m->head[0]);
    weir_cache_take_away(&m->head[8]);
    put(0, &one, 512, text, sizeof text);
    if (look_for(&one, text, sizeof text, NULL, 0, k) != 1 ||
        look_for(&two, old_two, sizeof old_two, NULL, 0, k) != 0) {
        violated("the next worker's answer is not found", k);
    }
    if (m->head[0].sequence <= before) {
        violated("a sequence came back", k);
    }
}

static bool look(uint32_t k)
{
    int is_one = look_for(&one, old_one, sizeof old_one, new_one, sizeof new_one, k);
    int is_two = look_for(&two, old_two, sizeof old_two, NULL, 0, k);
    if ((gone_one && is_one == 1) || (gone_two && is_two == 1) || (there && is_one != 2)) {
        violated("what was gone came back, or what was there went", k);
    }
    gone_one = gone_one || is_one != 1;
    gone_two = gone_two || is_two != 1;
    there = there || is_one == 2;
    if (is_one == 2 && is_two == 1) {
        violated("two answers on one granule", k);
    }
    bool over = m->over != 0;
    successor(k); /* the walker undoes it */
    return over;
}

static void reset(void)
{
    memset(m, 0, sizeof *m);
    gone_one = gone_two = there = false;
    put(0, &one, 0, old_one, sizeof old_one);
    put(8, &two, 1024, old_two, sizeof old_two);
}

int main(int argc, char **argv)
{
    uint32_t step = 1;
    if (argc == 3 && strcmp(argv[1], "--step") == 0) {
        step = (uint32_t)strtoul(argv[2], NULL, 10);
    }
    m = mmap(NULL, sizeof *m, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (step == 0 || m == MAP_FAILED ||
        !weir_cache_view_open(&view, m->head, HEADS, m->data, sizeof m->data)) {
        stepper_broken("set up");
    }
    memset(old_one, 'a', sizeof old_one);
    memset(old_two, 'b', sizeof old_two);
    memset(new_one, 'c', sizeof new_one);
    printf("no seed: every instruction is visited, by %u\n", step);
    reset();
    uint32_t steps = stepper_walk(victim, step, look, m, sizeof *m);
    if (!there || !gone_two) {
        violated("it never got there", steps);
    }
    /* In truth, at some. */
    for (uint32_t k = 0; k < steps; k += 1 + steps / 40) {
        reset();
        stepper_kill(stepper_start(victim), k);
        (void)look(k);
    }
    printf("stood at each of %u instructions, %llu looks, 0 violations\n", steps,
           (unsigned long long)looks);
    return 0;
}
