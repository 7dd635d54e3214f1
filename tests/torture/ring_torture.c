/*
 * ring_torture.c: producers put at full speed and are killed at random moments; one consumer takes and keeps the books.
 *
 * Each producer is a process (with --threads a thread, so that ThreadSanitizer sees both sides) and hands over requests 0, 1, 2,
 * ...: it counts `begun`, writes the request's content, sets its slot word to SUBMITTED, puts the handle, sets `done`. A killed
 * producer is replaced at once; the new one goes on after the last number begun. The request that a kill cut short may run or
 * not.
 *
 * Oracle, by the consumer, which stands for the worker:
 *   - a request runs at most once, and only if it was begun; its content is the one written before its put;
 *   - at the end every request that was not cut short has run: nothing is lost;
 *   - honest producers: requests of one producer come in order, each handle taken can be claimed, and nothing is repaired;
 *   - with --scribble (one more process writes garbage over tail and cells) handles may be lost, forged or doubled: the slot
 *     word, claimed by CAS, and a sweep must still give the first two, work must go on in every second, and once the
 *     scribbler stops the ring must be as good as new.
 *
 * ring_torture [--seconds N] [--seed N] [--producers N] [--threads] [--scribble]
 *
 * Producers that find another one's entry not yet counted count it (ring:help): of two within some ns, so it is found here.
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "weir_atomic.h"
#include "weir_ring.h"

#define ORDER         8
#define CELLS         (1u << ORDER)
#define PRODUCERS_MAX 16
#define NUMBER_BITS   26 /* a handle is producer:6 | number:26 */
#define NUMBER_MAX    ((1u << NUMBER_BITS) - 1)
#define SLOTS         1024 /* of each producer; more than can be in the ring */
#define CUTS_MAX      65536
#define SWEEP_NS      (5 * WEIR_NS_PER_MS)

enum slot_state {
    SLOT_FREE = 0,
    SLOT_SUBMITTED = 1,
    SLOT_CLAIMED = 2,
};

/* Written by one producer, read by the consumer. */
struct book {
    uint32_t begun; /* the next number to begin */
    uint32_t done;  /* numbers below it have been handed over */
    uint64_t refused;
} WEIR_ALIGN_LINE;

struct request {
    uint32_t slot;    /* number << 2 | enum slot_state */
    uint32_t content; /* plain: the ring or the slot word orders it */
};

struct region {
    struct weir_shm_ring_head head;
    uint8_t ring[WEIR_LINE_BYTES + 8 * CELLS] WEIR_ALIGN_LINE;
    struct book book[PRODUCERS_MAX];
    struct request request[PRODUCERS_MAX][SLOTS];
    uint32_t stop;
    uint32_t scribble_stop;
};

/* The consumer's private account. */
struct account {
    uint32_t next;        /* honest: the lowest number that may come */
    uint32_t ran_cnt;     /* requests that ran */
    uint32_t ran_cut_cnt; /* of them, cut short by a kill */
    uint32_t cut_cnt;     /* requests cut short */
    uint32_t *cut;        /* their numbers, ascending */
    uint32_t ran[SLOTS];  /* the last number + 1 that ran in each slot */
    pid_t pid;
    pthread_t thread;
};

static struct region *region;
static struct weir_ring producer_view;
static struct weir_ring_consumer consumer_view;
static struct account account[PRODUCERS_MAX];
static uint32_t producer_cnt = 4;
static bool use_threads;
static bool use_scribble;
static uint64_t random_state;
static uint64_t kill_cnt;
static uint64_t dropped_cnt; /* handles that could not be claimed */
static uint64_t swept_cnt;

static uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * WEIR_NS_PER_S + (uint64_t)t.tv_nsec;
}

static void broken(const char *what)
{
    fprintf(stderr, "broken harness: %s: %s\n", what, strerror(errno));
    exit(99);
}

static void violated(const char *what, uint32_t p, uint32_t number)
{
    printf("VIOLATED: producer %u request %u: %s\n", p, number, what);
    exit(1); /* the children die with us: PR_SET_PDEATHSIG */
}

static uint32_t content_of(uint32_t p, uint32_t number)
{
    return (number * 2654435761u) ^ (p << 28);
}

static uint32_t slot_word(uint32_t number, enum slot_state state)
{
    return number << 2 | (uint32_t)state;
}

/* ---- the producer's side ---- */

static bool stopped(const uint32_t *flag)
{
    return weir_load_acquire_u32(flag) != 0; /* pair:torture-stop A */
}

static void submit(uint32_t p, uint32_t number)
{
    struct request *request = &region->request[p][number % SLOTS];
    request->content = content_of(p, number);
    /* pair:torture-slot R: the content */
    weir_store_release_u32(&request->slot, slot_word(number, SLOT_SUBMITTED));
    while (weir_ring_put(&producer_view, p << NUMBER_BITS | number) != WEIR_RING_OK) {
        weir_store_relaxed_u64(&region->book[p].refused,
                               region->book[p].refused + 1); /* statistics */
        /* The sweep may have found it: then there is nothing left to put. pair:torture-slot A */
        if (weir_load_acquire_u32(&request->slot) != slot_word(number, SLOT_SUBMITTED)) {
            return;
        }
        sched_yield();
    }
}

static void produce(uint32_t p)
{
    struct book *book = &region->book[p];
    while (!stopped(&region->stop)) {
        uint32_t number = weir_load_relaxed_u32(&book->begun); /* own word */
        if (number == NUMBER_MAX) {
            return;
        }
        const uint32_t *slot = &region->request[p][number % SLOTS].slot;
        while ((weir_load_acquire_u32(slot) & 3) ==
               SLOT_SUBMITTED) { /* pair:torture-slot A: reuse */
            if (stopped(&region->stop)) {
                return;
            }
            sched_yield();
        }
        weir_store_release_u32(&book->begun, number + 1); /* pair:torture-book R */
        submit(p, number);
        weir_store_release_u32(&book->done, number + 1); /* pair:torture-book R */
    }
}

static void *produce_thread(void *arg)
{
    produce((uint32_t)(uintptr_t)arg);
    return NULL;
}

static void scribble(uint64_t seed)
{
    struct weir_ring *view = &producer_view;
    while (!stopped(&region->scribble_stop)) {
        uint64_t r = next_random(&seed);
        uint64_t near =
            weir_load_relaxed_u64(view->head) + r % (4 * CELLS) - 2 * CELLS; /* any value */
        if ((r >> 20) % 4 == 0) {
            weir_store_relaxed_u64(view->tail,
                                   (r >> 24) % 4 == 0 ? next_random(&seed) : near); /* garbage */
        } else {
            uint64_t forged = (near >> ORDER) << 32 | (uint32_t)next_random(&seed);
            weir_store_relaxed_u64(&view->cell[(r >> 32) % CELLS], forged); /* garbage */
        }
        struct timespec pause = {.tv_nsec = (long)(r >> 40) % 60000};
        nanosleep(&pause, NULL);
    }
}

static void *scribble_thread(void *arg)
{
    scribble((uint64_t)(uintptr_t)arg);
    return NULL;
}

/* ---- the consumer's side ---- */

static int compare_u32(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a;
    uint32_t y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

static bool was_cut(const struct account *a, uint32_t number)
{
    return a->cut_cnt > 0 &&
           bsearch(&number, a->cut, a->cut_cnt, sizeof(number), compare_u32) != NULL;
}

/* Claims and runs a request. False: the slot does not hold it as SUBMITTED. */
static bool claim_and_run(uint32_t p, uint32_t number)
{
    struct request *request = &region->request[p][number % SLOTS];
    struct account *a = &account[p];
    uint32_t expected = slot_word(number, SLOT_SUBMITTED);
    /* pair:torture-slot A: the content. pair:torture-slot R: the slot may be used again, see the content's check below */
    uint32_t seen = weir_load_acquire_u32(&request->slot);
    if (seen != expected) {
        return false;
    }
    uint32_t content = request->content; /* the slot is not reused before it is claimed */
    if (!weir_cas_u32(&request->slot, &expected, slot_word(number, SLOT_CLAIMED))) {
        return false;
    }
    if (content != content_of(p, number)) {
        violated("its content is not what was written before the put", p, number);
    }
    if (a->ran[number % SLOTS] > number) {
        violated("it ran twice, or after a later one in its slot", p, number);
    }
    if (number >= weir_load_acquire_u32(&region->book[p].begun)) { /* pair:torture-book A */
        violated("it was never begun", p, number);
    }
    a->ran[number % SLOTS] = number + 1;
    a->ran_cnt++;
    a->ran_cut_cnt += was_cut(a, number);
    return true;
}

/* Honest producers: in order, with gaps only where a kill cut a request short, and always claimable. */
static void expect_next(uint32_t p, uint32_t number)
{
    struct account *a = &account[p];
    if (number < a->next) {
        violated("taken twice, or out of order", p, number);
    }
    for (; a->next < number; a->next++) {
        if (!was_cut(a, a->next)) {
            violated("lost", p, a->next);
        }
    }
    a->next = number + 1;
    /* Before the slot word is looked at: here the ring alone carries the order (pair ring-publish). */
    if (region->request[p][number % SLOTS].content != content_of(p, number)) {
        violated("its content cannot be read after the take", p, number);
    }
}

static int take_one(void)
{
    uint32_t handle = 0;
    int rc = weir_ring_take(&consumer_view, &handle);
    if (rc != WEIR_RING_OK) {
        return rc;
    }
    uint32_t p = handle >> NUMBER_BITS;
    uint32_t number = handle & NUMBER_MAX;
    if (!use_scribble) {
        if (p >= producer_cnt) {
            violated("nobody has this handle", p, number);
        }
        expect_next(p, number);
    }
    if (p >= producer_cnt || !claim_and_run(p, number)) {
        dropped_cnt++;
        if (!use_scribble) {
            violated("taken, but not submitted", p, number);
        }
    }
    return rc;
}

static void sweep(void)
{
    for (uint32_t p = 0; p < producer_cnt; p++) {
        for (uint32_t i = 0; i < SLOTS; i++) {
            uint32_t word =
                weir_load_acquire_u32(&region->request[p][i].slot); /* pair:torture-slot A */
            if ((word & 3) == SLOT_SUBMITTED && claim_and_run(p, word >> 2)) {
                swept_cnt++;
            }
        }
    }
}

/* ---- life and death ---- */

static pid_t child_start(void (*body)(uint64_t), uint64_t arg)
{
    pid_t parent = getpid();
    pid_t pid = fork();
    if (pid < 0) {
        broken("fork");
    }
    if (pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() == parent) {
            body(arg);
        }
        _exit(0);
    }
    return pid;
}

static void produce_body(uint64_t p)
{
    produce((uint32_t)p);
}

static void producer_start(uint32_t p)
{
    if (!use_threads) {
        account[p].pid = child_start(produce_body, p);
    } else if (pthread_create(&account[p].thread, NULL, produce_thread, (void *)(uintptr_t)p) !=
               0) {
        broken("pthread_create");
    }
}

/* After the producer is gone: its last request, if begun and not done, was cut short. */
static void producer_gone(uint32_t p)
{
    struct account *a = &account[p];
    uint32_t begun = weir_load_acquire_u32(&region->book[p].begun); /* pair:torture-book A */
    uint32_t done = weir_load_acquire_u32(&region->book[p].done);   /* pair:torture-book A */
    uint32_t number = begun - 1;
    bool known = a->cut_cnt > 0 && a->cut[a->cut_cnt - 1] == number; /* two died at one number */
    if (done >= begun || known) {
        return;
    }
    if (a->cut_cnt == CUTS_MAX) {
        broken("too many kills: give fewer --seconds");
    }
    a->cut[a->cut_cnt++] = number;
    a->ran_cut_cnt += a->ran[number % SLOTS] == number + 1; /* it ran before the kill was seen */
    for (uint32_t i = 0; i < CELLS; i++) { /* what was published before the death comes out ... */
        (void)take_one();
    }
    swept_cnt += claim_and_run(p, number); /* ... else it was not, and the sweep finds it */
}

static void kill_one(void)
{
    uint32_t p = (uint32_t)(next_random(&random_state) % producer_cnt);
    if (kill(account[p].pid, SIGKILL) != 0 || waitpid(account[p].pid, NULL, 0) != account[p].pid) {
        broken("kill");
    }
    kill_cnt++;
    producer_gone(p);
    producer_start(p);
}

static void producers_end(void)
{
    weir_store_release_u32(&region->stop, 1); /* pair:torture-stop R */
    for (uint32_t p = 0; p < producer_cnt; p++) {
        /* It may be waiting for room: take while it leaves. */
        while (use_threads ? pthread_tryjoin_np(account[p].thread, NULL) != 0
                           : waitpid(account[p].pid, NULL, WNOHANG) == 0) {
            if (take_one() != WEIR_RING_OK && use_scribble) {
                sweep();
            }
        }
        producer_gone(p);
    }
}

/* ---- the run ---- */

static void consume(uint64_t end_ns)
{
    uint64_t kill_at_ns = now_ns();
    uint64_t sweep_at_ns = kill_at_ns;
    uint64_t watch_at_ns = kill_at_ns + 2 * WEIR_NS_PER_S;
    uint64_t watch_ran = 0;
    for (uint64_t now = now_ns(); now < end_ns; now = now_ns()) {
        for (uint32_t i = 0; i < 64 && take_one() == WEIR_RING_OK; i++) {
        }
        if (use_scribble && now >= sweep_at_ns) {
            sweep();
            sweep_at_ns = now + SWEEP_NS;
        }
        if (!use_threads && now >= kill_at_ns) {
            kill_one();
            kill_at_ns = now + next_random(&random_state) % (8 * WEIR_NS_PER_MS);
        }
        if (now >= watch_at_ns) {
            uint64_t ran = 0;
            for (uint32_t p = 0; p < producer_cnt; p++) {
                ran += account[p].ran_cnt;
            }
            if (ran == watch_ran) {
                violated("nothing ran for two seconds", 0, (uint32_t)ran);
            }
            watch_ran = ran;
            watch_at_ns = now + 2 * WEIR_NS_PER_S;
        }
    }
}

/* Nobody else is left: what is inside comes out, then the ring must be as good as new. */
static void expect_good(void)
{
    int rc;
    for (uint32_t i = 0; (rc = take_one()) != WEIR_RING_EMPTY; i++) {
        if (i > 4 * CELLS) {
            violated("the ring does not become empty", 0, i);
        }
    }
    sweep();
    uint64_t repaired = consumer_view.tail_repaired + consumer_view.cell_poisoned;
    /* A tail one lap of damage behind costs tries: two rounds bring every cell into order. */
    for (uint32_t round = 0; round < 3; round++) {
        for (uint32_t i = 0; i < CELLS; i++) {
            uint32_t handle = 0;
            if (weir_ring_put(&producer_view, i) == WEIR_RING_OK) {
                continue;
            }
            if (!use_scribble || round == 2) {
                violated("a put fails on a ring that is not full", 0, i);
            }
            while (weir_ring_take(&consumer_view, &handle) != WEIR_RING_EMPTY) {
            }
        }
        for (uint32_t i = 0; i < CELLS; i++) {
            uint32_t handle = UINT32_MAX;
            int got = weir_ring_take(&consumer_view, &handle);
            if ((got != WEIR_RING_OK || handle != i) && (!use_scribble || round == 2)) {
                violated("order or content at the end", 0, i);
            }
        }
        uint32_t handle = 0;
        while (weir_ring_take(&consumer_view, &handle) != WEIR_RING_EMPTY) {
        }
    }
    if (!use_scribble &&
        (repaired != 0 || consumer_view.tail_repaired + consumer_view.cell_poisoned != 0)) {
        violated("something was repaired though everybody is honest", 0, 0);
    }
}

static void report(double seconds)
{
    uint64_t ran = 0;
    uint64_t cut = 0;
    uint64_t refused = 0;
    for (uint32_t p = 0; p < producer_cnt; p++) {
        struct account *a = &account[p];
        uint32_t begun = weir_load_acquire_u32(&region->book[p].begun); /* pair:torture-book A */
        if (a->ran_cnt - a->ran_cut_cnt != begun - a->cut_cnt) {
            violated("requests that were done did not run", p,
                     begun - a->cut_cnt - (a->ran_cnt - a->ran_cut_cnt));
        }
        ran += a->ran_cnt;
        cut += a->cut_cnt;
        refused += weir_load_relaxed_u64(&region->book[p].refused); /* statistics */
    }
    if (ran == 0 || (!use_threads && kill_cnt == 0)) {
        broken("nothing was tried");
    }
    printf("%.1f s, %u producers%s%s: %llu kills, %llu requests ran, %llu cut short, %llu refused, "
           "%llu dropped, "
           "%llu swept, %llu tails and %llu cells repaired: 0 violations\n",
           seconds, producer_cnt, use_threads ? ", threads" : "", use_scribble ? ", scribbler" : "",
           (unsigned long long)kill_cnt, (unsigned long long)ran, (unsigned long long)cut,
           (unsigned long long)refused, (unsigned long long)dropped_cnt,
           (unsigned long long)swept_cnt, (unsigned long long)consumer_view.tail_repaired,
           (unsigned long long)consumer_view.cell_poisoned);
}

static void region_make(void)
{
    region = mmap(NULL, sizeof(*region), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (region == MAP_FAILED) {
        broken("mmap");
    }
    uint64_t start =
        next_random(&random_state) % 3 == 0 ? UINT64_MAX - 100000 : weir_ring_start(ORDER);
    if (weir_ring_format(region->ring, &region->head, ORDER, start) != 0 ||
        weir_ring_attach(&producer_view, region->ring, &region->head, ORDER) != 0 ||
        weir_ring_attach_consumer(&consumer_view, region->ring, &region->head, ORDER) != 0) {
        broken("format");
    }
    for (uint32_t p = 0; p < producer_cnt; p++) {
        account[p].cut = calloc(CUTS_MAX, sizeof(uint32_t));
        if (account[p].cut == NULL) {
            broken("calloc");
        }
    }
}

static double arguments(int argc, char **argv)
{
    double seconds = 2;
    random_state = now_ns();
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : "";
        if (strcmp(argv[i], "--threads") == 0) {
            use_threads = true;
        } else if (strcmp(argv[i], "--scribble") == 0) {
            use_scribble = true;
        } else if (strcmp(argv[i], "--seconds") == 0) {
            seconds = atof(value);
            i++;
        } else if (strcmp(argv[i], "--seed") == 0) {
            random_state = strtoull(value, NULL, 0);
            i++;
        } else if (strcmp(argv[i], "--producers") == 0) {
            producer_cnt = (uint32_t)strtoul(value, NULL, 10);
            i++;
        } else {
            fprintf(stderr, "ring_torture: unknown argument: %s\n", argv[i]);
            exit(1);
        }
    }
    if (producer_cnt < 1 || producer_cnt > PRODUCERS_MAX || seconds <= 0 || random_state == 0) {
        fprintf(stderr, "ring_torture: give 1..%u producers, seconds > 0 and a seed other than 0\n",
                PRODUCERS_MAX);
        exit(1);
    }
    return seconds;
}

int main(int argc, char **argv)
{
    double seconds = arguments(argc, argv);
    printf("seed 0x%llx\n", (unsigned long long)random_state);
    fflush(stdout);
    region_make();
    uint64_t seed = next_random(&random_state) | 1;
    pid_t scribbler = 0;
    pthread_t scribbler_thread = 0;
    for (uint32_t p = 0; p < producer_cnt; p++) {
        producer_start(p);
    }
    if (use_scribble && use_threads) {
        (void)pthread_create(&scribbler_thread, NULL, scribble_thread, (void *)(uintptr_t)seed);
    } else if (use_scribble) {
        scribbler = child_start(scribble, seed);
    }
    consume(now_ns() + (uint64_t)(seconds * 1e9));
    if (use_scribble) {
        weir_store_release_u32(&region->scribble_stop, 1); /* pair:torture-stop R */
        if (use_threads ? pthread_join(scribbler_thread, NULL) != 0
                        : waitpid(scribbler, NULL, 0) != scribbler) {
            broken("scribbler");
        }
    }
    producers_end();
    expect_good();
    report(seconds);
    return 0;
}
