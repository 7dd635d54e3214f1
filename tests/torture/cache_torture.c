/*
 * cache_torture.c: one writer, many readers, on few granules and few heads, so that everything is overwritten all the time.
 *
 * Each answer says in each of its words which key and which writing it is of, and its instants are made of the same number. Oracle of a reader: a copy is of the key that
 * it asked for, all its words are of one writing, and so are its lengths and instants; per key, writings never go back (what was taken away stays away). The writer keeps its
 * own account of granules: none is used by two heads.
 *
 * The writer is killed (a process, by SIGKILL at a random instant) and begun again with the same memory: it counts what odd heads hold and goes on. With --threads all
 * are threads of one process, for ThreadSanitizer, and the writer only forgets its account.
 *
 * cache_torture [--threads] [--seconds N] [--seed N]
 */
#include "shm/weir_cache.h"
#include "shm/weir_clock.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define HEADS    64U
#define GRANULES 96U
#define KEYS     40U
#define READERS  3U
#define BYTES    (GRANULES * WEIR_CACHE_GRANULE_BYTES)
#define FAR      (UINT64_C(1) << 40)

struct shared {
    struct weir_shm_cache_head head[HEADS] WEIR_ALIGN_LINE;
    uint64_t data[BYTES / 8] WEIR_ALIGN_LINE;
    uint64_t writing; /* the writer's number, kept over its death */
    uint32_t stop;
    uint32_t bad;
    uint64_t hits[READERS], misses[READERS], torn;
};

static struct shared *m;
static struct weir_cache_view view;
static uint64_t seed = 1;

static uint64_t next(uint64_t *s)
{
    *s ^= *s << 13;
    *s ^= *s >> 7;
    *s ^= *s << 17;
    return *s;
}

static struct weir_cache_key key_of(uint64_t k)
{
    return (struct weir_cache_key){{k + 1, k * UINT64_C(0x9e3779b97f4a7c15) >> 8}};
}

/* What every word of writing `n` of key `k` is. */
static uint64_t word_of(uint64_t k, uint64_t n)
{
    return n << 8 | k;
}

static uint32_t words_of(uint64_t n)
{
    return 1 + (uint32_t)(n * 2654435761U >> 8) % 120; /* up to four granules */
}

/* ---------------------------------------------------------------------------------------------- the writer */

struct writer {
    uint8_t used[GRANULES];
    uint64_t random;
};

static uint32_t granules_of(const struct weir_shm_cache_head *h)
{
    return (h->head_bytes + h->body_bytes + WEIR_CACHE_GRANULE_BYTES - 1) /
           WEIR_CACHE_GRANULE_BYTES;
}

static void mark(struct writer *w, const struct weir_shm_cache_head *h, int sign)
{
    uint32_t from = h->data_off_bytes / WEIR_CACHE_GRANULE_BYTES;
    for (uint32_t i = from; i < from + granules_of(h); i++) {
        if (i >= GRANULES || (sign > 0) == (w->used[i] != 0)) {
            (void)printf("VIOLATED: granule %u is used twice, or not at all\n", i);
            weir_store_relaxed_u32(&m->bad, 1);
            return;
        }
        w->used[i] = sign > 0;
    }
}

static bool is_whole(const struct weir_shm_cache_head *h)
{
    return (weir_load_relaxed_u64(&h->sequence) & 1U) != 0;
}

static void recover(struct writer *w)
{
    memset(w->used, 0, sizeof w->used);
    for (uint32_t i = 0; i < HEADS; i++) {
        if (is_whole(&m->head[i])) {
            mark(w, &m->head[i], +1);
        }
    }
}

static void take_away(struct writer *w, uint32_t i)
{
    if (is_whole(&m->head[i])) {
        mark(w, &m->head[i], -1);
        weir_cache_take_away(&m->head[i]);
    }
}

/* A run of free granules; others are taken away until there is one. */
static uint32_t room(struct writer *w, uint32_t need)
{
    for (;;) { /* ends: at last everything is free */
        uint32_t run = 0;
        uint32_t start = (uint32_t)next(&w->random) % GRANULES;
        for (uint32_t i = start; i < start + GRANULES; i++) {
            run = i % GRANULES == 0 || w->used[i % GRANULES] != 0 ? 0 : run + 1;
            if (run == need) {
                return i % GRANULES + 1 - need;
            }
        }
        take_away(w, (uint32_t)next(&w->random) % HEADS);
    }
}

static void write_one(struct writer *w)
{
    uint64_t k = next(&w->random) % KEYS;
    struct weir_cache_key key = key_of(k);
    uint32_t set = weir_cache_set(&view, &key);
    uint64_t n = weir_load_relaxed_u64(&m->writing) + 1;
    uint64_t text[128];
    uint32_t words = words_of(n);
    weir_store_relaxed_u64(&m->writing, n);
    for (uint32_t i = 0; i < words; i++) {
        text[i] = word_of(k, n);
    }
    uint32_t at = set + (uint32_t)next(&w->random) % WEIR_CACHE_WAYS;
    for (uint32_t i = set; i < set + WEIR_CACHE_WAYS; i++) {
        if (is_whole(&m->head[i]) && m->head[i].key[0] == key.word[0]) {
            at = i; /* one head per key */
        }
    }
    take_away(w, at);
    uint32_t head_words = words / 2;
    const struct weir_shm_cache_head as = {
        .key = {key.word[0], key.word[1]},
        .filled_ns = n,
        .fresh_until_ns = n + FAR,
        .stale_until_ns = n + 2 * FAR,
        .data_off_bytes =
            room(w, (words * 8 + WEIR_CACHE_GRANULE_BYTES - 1) / WEIR_CACHE_GRANULE_BYTES) *
            WEIR_CACHE_GRANULE_BYTES,
        .head_bytes = (uint16_t)(head_words * 8),
        .body_bytes = (words - head_words) * 8,
        .status = 200,
        .route = (uint16_t)k};
    mark(w, &as, +1);
    weir_cache_put(&m->head[at], m->data, &as, (const char *)text,
                   (const char *)(text + head_words));
    if (next(&w->random) % 8 == 0) {
        take_away(w, (uint32_t)next(&w->random) % HEADS);
    }
}

static void *writer_run(void *arg)
{
    struct writer w = {.random = *(uint64_t *)arg};
    recover(&w);
    for (uint64_t i = 0; weir_load_relaxed_u32(&m->stop) == 0; i++) {
        write_one(&w);
        if (i % 4096 == 4095) {
            recover(&w);
        }
    }
    return NULL;
}

/* ---------------------------------------------------------------------------------------------- readers */

static void torn(const char *what, uint64_t k, uint64_t n)
{
    (void)printf("VIOLATED: %s: key %llu writing %llu\n", what, (unsigned long long)k,
                 (unsigned long long)n);
    (void)fflush(stdout);
    weir_store_relaxed_u32(&m->bad, 1);
}

static void read_one(uint64_t *random, uint64_t *last, uint64_t *hits, uint64_t *misses)
{
    uint64_t k = next(random) % KEYS;
    struct weir_cache_key key = key_of(k);
    struct weir_cache_answer a;
    uint64_t to[128];
    enum weir_cache_found found = weir_cache_find(&view, &key, 1, false, to, sizeof to, &a);
    if (found != WEIR_CACHE_HIT) {
        *misses += 1;
        return;
    }
    *hits += 1;
    uint64_t n = a.filled_ns;
    uint32_t words = words_of(n);
    if (a.head_bytes + a.body_bytes != words * 8 || a.head_bytes != words / 2 * 8 ||
        a.fresh_until_ns != n + FAR || a.stale_until_ns != n + 2 * FAR || a.route != k) {
        torn("a head of two writings", k, n);
        return;
    }
    for (uint32_t i = 0; i < words; i++) {
        if (to[i] != word_of(k, n)) {
            torn("bytes of another writing", k, n);
            return;
        }
    }
    if (n < last[k]) {
        torn("an older writing behind a newer one", k, n);
    }
    last[k] = n;
}

static void *reader_run(void *arg)
{
    uint32_t who = (uint32_t)(uintptr_t)arg;
    uint64_t random = seed * 77 + who + 1;
    uint64_t last[KEYS] = {0};
    uint64_t hits = 0;
    uint64_t misses = 0;
    while (weir_load_relaxed_u32(&m->stop) == 0 && weir_load_relaxed_u32(&m->bad) == 0) {
        read_one(&random, last, &hits, &misses);
    }
    m->hits[who] = hits;
    m->misses[who] = misses;
    return NULL;
}

/* ---------------------------------------------------------------------------------------------- the run */

static void with_threads(unsigned seconds)
{
    pthread_t thread[READERS + 1];
    uint64_t random = seed;
    (void)pthread_create(&thread[READERS], NULL, writer_run, &random);
    for (uint32_t i = 0; i < READERS; i++) {
        (void)pthread_create(&thread[i], NULL, reader_run, (void *)(uintptr_t)i);
    }
    for (unsigned i = 0; i < seconds * 10 && weir_load_relaxed_u32(&m->bad) == 0; i++) {
        (void)usleep(100000);
    }
    weir_store_relaxed_u32(&m->stop, 1);
    for (uint32_t i = 0; i <= READERS; i++) {
        (void)pthread_join(thread[i], NULL);
    }
}

static pid_t fork_run(void *(*run)(void *), void *arg)
{
    (void)fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        (void)run(arg);
        (void)fflush(stdout);
        _exit(0);
    }
    return pid;
}

static unsigned with_processes(unsigned seconds)
{
    pid_t reader[READERS];
    unsigned deaths = 0;
    uint64_t random = seed;
    uint64_t life_us =
        getenv("WEIR_UNDER") != NULL ? 300000 : 3000; /* valgrind's first steps take long */
    uint64_t end_ns = weir_clock_monotonic_ns() + seconds * WEIR_NS_PER_S;
    for (uint32_t i = 0; i < READERS; i++) {
        reader[i] = fork_run(reader_run, (void *)(uintptr_t)i);
    }
    while (weir_clock_monotonic_ns() < end_ns && weir_load_relaxed_u32(&m->bad) == 0) {
        (void)next(&random);
        pid_t writer = fork_run(writer_run, &random);
        (void)usleep((useconds_t)(next(&random) % life_us));
        (void)kill(writer, SIGKILL);
        (void)waitpid(writer, NULL, 0);
        deaths++;
    }
    weir_store_relaxed_u32(&m->stop, 1);
    for (uint32_t i = 0; i < READERS; i++) {
        (void)waitpid(reader[i], NULL, 0);
    }
    return deaths;
}

int main(int argc, char **argv)
{
    bool threads = false;
    unsigned seconds = 3;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--threads") == 0) {
            threads = true;
        } else if (strcmp(argv[i], "--seconds") == 0 && i + 1 < argc) {
            seconds = (unsigned)atoi(argv[++i]);
        } else if (strcmp(argv[i], "--seed") == 0 && i + 1 < argc) {
            seed = strtoull(argv[++i], NULL, 10);
        } else {
            (void)fprintf(stderr, "cache_torture [--threads] [--seconds N] [--seed N]\n");
            return 1;
        }
    }
    m = mmap(NULL, sizeof *m, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (m == MAP_FAILED || !weir_cache_view_open(&view, m->head, HEADS, m->data, sizeof m->data)) {
        return 99;
    }
    (void)printf("cache_torture: seed %llu, %s\n", (unsigned long long)seed,
                 threads ? "threads" : "processes");
    unsigned deaths = 0;
    if (threads) {
        with_threads(seconds);
    } else {
        deaths = with_processes(seconds);
    }
    uint64_t hits = 0;
    uint64_t misses = 0;
    for (uint32_t i = 0; i < READERS; i++) {
        hits += m->hits[i];
        misses += m->misses[i];
    }
    (void)printf("%llu writings, %u deaths of the writer, %llu hits, %llu misses: %s\n",
                 (unsigned long long)m->writing, deaths, (unsigned long long)hits,
                 (unsigned long long)misses, m->bad != 0 ? "VIOLATED" : "0 violations");
    return m->bad != 0 || hits == 0 ? 1 : 0;
}
