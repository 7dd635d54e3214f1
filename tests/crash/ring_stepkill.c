/*
 * ring_stepkill.c: kills a producer at every single instruction of a put, and lets stopped ones go on late.
 *
 * A child stops itself just before weir_ring_put(); the parent steps it k instructions by ptrace and kills it there, for each k
 * until the put is over. Both share the ring's memory.
 *
 * Oracle, after each death:
 *   - the ring holds the victim's entry 0 or 1 times, and 1 times once the put is over; nothing else is in it;
 *   - it changes from 0 to 1 at one k and stays (the publish CAS is the only instant that matters);
 *   - a new producer fills the ring to exactly n, FULL follows, and everything comes out in order; nothing is repaired.
 * Pairs: A is stopped after k1 instructions, B after k2, both at the same position of the ring; `laps` whole rings pass by; then
 * B dies and A goes on to its end. A's put must answer by itself and be in the ring exactly as it says.
 *
 * ring_stepkill [--pairs-step N]    1 = every pair of instructions; the default visits every second
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "stepper.h"
#include "weir_ring.h"

#define ORDER     6
#define CELLS     (1u << ORDER)
#define VICTIM    0xabcu
#define STEPS_MAX 4000
#define START     (UINT64_C(5) << ORDER)

struct region {
    struct weir_shm_ring_head head;
    uint8_t ring[WEIR_LINE_BYTES + 8 * CELLS] WEIR_ALIGN_LINE;
    volatile int32_t answer; /* of the victim's put; -1: it did not end */
};

static struct region *region;
static struct weir_ring producer;
static struct weir_ring_consumer consumer;
static uint64_t checks;

static void violated(const char *what, uint32_t k1, uint32_t k2)
{
    printf("VIOLATED at k1=%u k2=%u: %s\n", k1, k2, what);
    exit(1);
}

static void ring_reset(uint32_t inside)
{
    if (weir_ring_format(region->ring, &region->head, ORDER, START) != 0 ||
        weir_ring_attach(&producer, region->ring, &region->head, ORDER) != 0 ||
        weir_ring_attach_consumer(&consumer, region->ring, &region->head, ORDER) != 0) {
        stepper_broken("format");
    }
    region->answer = -1;
    for (uint32_t i = 0; i < inside; i++) {
        if (weir_ring_put(&producer, i) != WEIR_RING_OK) {
            stepper_broken("fill");
        }
    }
}

static uint32_t victims_handle;

static void victim(void)
{
    stepper_ready();
    region->answer = weir_ring_put(&producer, victims_handle);
}

/* A child that stands at its stop, just before the put. */
static pid_t victim_start(uint32_t handle)
{
    victims_handle = handle;
    return stepper_start(victim);
}

/* Lets it go on to its end. */
static void victim_resume(pid_t pid)
{
    int status = 0;
    if (ptrace(PTRACE_DETACH, pid, NULL, NULL) != 0 || waitpid(pid, &status, 0) != pid ||
        !WIFEXITED(status)) {
        stepper_broken("resume");
    }
}

/* Takes all; returns how often `handle` was among them. `*others` counts the rest. */
static uint32_t drain(uint32_t handle, uint32_t *others)
{
    uint32_t found = 0;
    uint32_t got = 0;
    *others = 0;
    for (;;) {
        int rc = weir_ring_take(&consumer, &got);
        if (rc == WEIR_RING_EMPTY) {
            return found;
        }
        if (rc != WEIR_RING_OK) {
            return UINT32_MAX;
        }
        if (got == handle) {
            found++;
        } else {
            (*others)++;
        }
    }
}

/* The ring is as good as new: n go in, in order they come out, and no consumer ever had to repair anything. */
static void expect_good(uint32_t k1, uint32_t k2)
{
    uint32_t got = 0;
    for (uint32_t i = 0; i < CELLS; i++) {
        if (weir_ring_put(&producer, i) != WEIR_RING_OK) {
            violated("a put fails on a ring that is not full", k1, k2);
        }
    }
    if (weir_ring_put(&producer, 0) != WEIR_RING_FULL) {
        violated("no FULL at n", k1, k2);
    }
    for (uint32_t i = 0; i < CELLS; i++) {
        if (weir_ring_take(&consumer, &got) != WEIR_RING_OK || got != i) {
            violated("order or content", k1, k2);
        }
    }
    if (weir_ring_take(&consumer, &got) != WEIR_RING_EMPTY) {
        violated("no EMPTY at 0", k1, k2);
    }
    if (consumer.tail_repaired + consumer.cell_poisoned != 0) {
        violated("something was repaired", k1, k2);
    }
    checks++;
}

/* One victim, killed after each k. Returns the number of instructions until the put was over. */
static uint32_t kill_everywhere(uint32_t inside)
{
    bool was_in = false;
    for (uint32_t k = 0; k < STEPS_MAX; k++) {
        ring_reset(inside);
        pid_t pid = victim_start(VICTIM);
        bool alive = stepper_step(pid, k);
        bool over = region->answer != -1;
        if (alive) {
            stepper_end(pid);
        }
        uint32_t others = 0;
        uint32_t found = drain(VICTIM, &others);
        bool full = inside == CELLS;
        if (found > 1 || others != inside) {
            violated("entries were lost or doubled", k, 0);
        }
        if ((over && region->answer != (full ? WEIR_RING_FULL : WEIR_RING_OK)) ||
            (over && found != (full ? 0 : 1))) {
            violated("the put's answer is wrong", k, 0);
        }
        if (was_in && found == 0 && !stepper_naps()) {
            violated("an entry that was published is gone at a later instruction", k, 0);
        }
        was_in = found == 1;
        expect_good(k, 0);
        if (over) {
            return k;
        }
    }
    stepper_broken("the put does not end");
    return 0;
}

/* A stopped after k1, B after k2, whole laps pass, B dies, A goes on. */
static void pair(uint32_t k1, uint32_t k2, uint32_t laps)
{
    ring_reset(0);
    pid_t a = victim_start(VICTIM);
    if (!stepper_step(a, k1)) {
        if (!stepper_naps()) {
            stepper_broken("k1 is too large");
        }
        return;
    }
    pid_t b = victim_start(VICTIM + 1);
    bool b_alive = stepper_step(b, k2);
    uint32_t others = 0;
    uint32_t found_a = 0;
    uint32_t found_b = 0;
    for (uint32_t i = 0; i < laps * CELLS + 1; i++) {
        uint32_t got = 0;
        if (weir_ring_put(&producer, i) != WEIR_RING_OK) {
            violated("a put fails while others are stopped", k1, k2);
        }
        while (weir_ring_take(&consumer, &got) == WEIR_RING_OK) {
            found_a += got == VICTIM;
            found_b += got == VICTIM + 1;
            others += got != VICTIM && got != VICTIM + 1;
        }
    }
    if (b_alive) {
        stepper_end(b);
    }
    victim_resume(a);
    uint32_t late = 0;
    found_a += drain(VICTIM, &late);
    if (region->answer != WEIR_RING_OK || found_a != 1) {
        violated("a put that was stopped did not end with its entry in the ring once", k1, k2);
    }
    if (found_b > 1 || late != 0 || others != laps * CELLS + 1) {
        violated("entries of others were lost or doubled", k1, k2);
    }
    expect_good(k1, k2);
}

int main(int argc, char **argv)
{
    uint32_t pairs_step = 2;
    if (argc == 3 && strcmp(argv[1], "--pairs-step") == 0) {
        pairs_step = (uint32_t)strtoul(argv[2], NULL, 10);
    }
    if (pairs_step == 0) {
        fprintf(stderr, "ring_stepkill: --pairs-step=0: give 1 or more\n");
        return 1;
    }
    region = mmap(NULL, sizeof(*region), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (region == MAP_FAILED) {
        stepper_broken("mmap");
    }
    printf("no seed: every instruction is visited; pairs: every %u\n", pairs_step);
    uint32_t steps = kill_everywhere(0);
    uint32_t steps_full = kill_everywhere(CELLS);
    (void)kill_everywhere(CELLS - 1);
    printf("killed at each of %u instructions of a put and its way out (%u when full)\n", steps,
           steps_full);
    uint32_t pair_cnt = 0;
    for (uint32_t k1 = 0; k1 < steps; k1 += pairs_step) {
        for (uint32_t k2 = k1 % pairs_step; k2 <= steps; k2 += pairs_step) {
            pair(k1, k2, pair_cnt % 3);
            pair_cnt++;
        }
    }
    printf("%u pairs, %llu rings verified, 0 violations\n", pair_cnt, (unsigned long long)checks);
    return 0;
}
