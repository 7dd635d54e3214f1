/*
 * permit_torture.c: traders at full speed on shared limits, killed at random and started again, while the clock is re-aligned.
 *
 * Each trader takes permits from a window of 20 ms and a bucket (route 0), settles some as not sent, and writes what it was granted
 * into its own log before it goes on. Half of them also ask for route 1, whose second limit is always full; the other half for route 2,
 * which is the first limit of route 1 alone.
 *
 * Oracle
 *   bound        in each window at most N units are logged as granted and not given back (a killed trader's last permit may miss)
 *   undisturbed  callers of the route that has room are never refused for the sake of those whose limit is full: with an endless
 *                quota, no try of route 2 is anything but granted (research/pitfalls.md 5)
 *   sound        the audit finds no damage
 *
 * Only two traders within some ns come to limit:plan_again; here they do.
 *
 * permit_torture [--seconds N] [--threads] [--seed N]
 */
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fixture.h"

#define TRADERS  4U
#define LOG_MAX  2000000U
#define QUOTA    40U
#define SHORT_NS (20 * WEIR_NS_PER_MS)

static const struct fixture_spec spec = {
    .jitter_ns = WEIR_NS_PER_MS,
    .slack_ns = WEIR_NS_PER_MS / 2,
    .limit_cnt = 4,
    .route_cnt = 3,
    .limit = {{.kind = WEIR_LIMIT_FIXED_WINDOW, .quota = QUOTA, .window_ns = SHORT_NS},
              {.kind = WEIR_LIMIT_TOKEN_BUCKET, .quota = 1000000, .window_ns = 10 * WEIR_NS_PER_S},
              {.kind = WEIR_LIMIT_FIXED_WINDOW, .quota = 10, .window_ns = 3600 * WEIR_NS_PER_S},
              {.kind = WEIR_LIMIT_FIXED_WINDOW, .quota = INT32_MAX, .window_ns = WEIR_NS_PER_S}},
    .route = {{.limit_cnt = 2, .limit = {0, 1}, .cost = {1, 1}},
              {.limit_cnt = 2, .limit = {3, 2}, .cost = {1, 1}},
              {.limit_cnt = 1, .limit = {3}, .cost = {1}}},
};

/* One trader's log: units granted in a short window, as window and sign. Its owner alone writes it. */
struct trader {
    uint64_t cnt;
    uint64_t granted, refused, contended, given, disturbed, undisturbed;
    uint64_t log[LOG_MAX]; /* window << 1 | given back */
};

static struct fixture f;
static struct trader *trader; /* [TRADERS], shared */
static uint32_t *stop;
static uint64_t seed = 1;

static void trader_log(struct trader *t, uint64_t entry)
{
    if (t->cnt < LOG_MAX) {
        t->log[t->cnt] = entry;
        weir_store_release_u64(
            &t->cnt, t->cnt + 1); /* pair:torture R: one word, whole when its owner dies */
    }
}

/* A call of the short window: log it before it could be sent; give some back. */
static void trade(struct trader *t, struct weir_permit_view *view, uint64_t *random)
{
    struct weir_permit p;
    int rc = weir_permit_take(view, 0, 0, NULL, WEIR_PRIORITY_CRITICAL, &p);
    t->granted += rc == WEIR_OK;
    t->refused += rc == WEIR_DENIED;
    t->contended += rc == WEIR_CONTENDED;
    if (rc != WEIR_OK) {
        return;
    }
    uint32_t windows = p.charge[0].windows;
    /* The call is made now at the earliest: a window that ended while we slept does not count it, though it was charged there. */
    uint32_t earliest = (uint32_t)(weir_clock_now(&view->time) / SHORT_NS);
    uint32_t over = weir_window_diff(earliest, p.charge[0].window) > 0 ? 1 : 0;
    for (uint32_t w = over; w < windows; w++) {
        trader_log(t, (uint64_t)(p.charge[0].window + w) << 1);
    }
    if (fixture_random_below(random, 4) == 0) {
        /* Out of the log first: a death in between errs to the side that the oracle allows. */
        for (uint32_t w = over; w < windows; w++) {
            trader_log(t, (uint64_t)(p.charge[0].window + w) << 1 | 1);
        }
        t->given += weir_permit_give(view, &p) == WEIR_OK;
    }
}

static void trader_run(uint32_t index, uint64_t random)
{
    static __thread struct weir_permit_view view;
    struct trader *t = &trader[index];
    fixture_view(&f, &view, 0);
    weir_clock_init(&view.time, NULL, 0); /* real time */
    while (weir_load_acquire_u32(stop) == 0) {
        struct weir_permit p;
        for (int i = 0; i < 20; i++) {
            trade(t, &view, &random);
        }
        if (index % 2 == 0) { /* its second limit is full: refused, and it must leave no trace */
            (void)weir_permit_take(&view, 1, 0, NULL, WEIR_PRIORITY_CRITICAL, &p);
        } else { /* shares only the first of those limits */
            int rc = weir_permit_take(&view, 2, 0, NULL, WEIR_PRIORITY_CRITICAL, &p);
            t->undisturbed += rc == WEIR_OK;
            t->disturbed += rc == WEIR_DENIED && p.denial.reason == WEIR_REASON_LIMIT_FULL;
        }
    }
}

static void *trader_thread(void *arg)
{
    trader_run((uint32_t)(uintptr_t)arg, seed + (uintptr_t)arg);
    return NULL;
}

static pid_t trader_fork(uint32_t index, uint64_t random)
{
    pid_t pid = fork();
    if (pid == 0) {
        trader_run(index, random);
        _exit(0);
    }
    if (pid < 0) {
        perror("broken harness: fork");
        exit(99);
    }
    return pid;
}

/* Close, carry everything over to the same timeline, open: ids stay comparable, and every step of a re-alignment is taken. */
static void realign(struct weir_permit_view *view, const struct weir_server_clock *clock)
{
    struct weir_server_clock closed = *clock;
    closed.state = WEIR_CLOCK_CLOSED;
    fixture_server_clock(&f, &closed);
    /* After CLOSED: what was granted until then may lie in a window that had not begun by an older reading. */
    uint64_t now_ns = weir_clock_now(&view->time);
    for (uint32_t l = 0; l < spec.limit_cnt; l++) {
        weir_limit_realign(&view->tables.limit[l], &f.memory->word[l], clock, clock, now_ns);
    }
}

/* The worker: audits, publishes a sample, by which every permit under way starts over, and re-aligns now and then. */
static uint64_t worker_turn(struct weir_permit_view *view, uint64_t turn, uint64_t *damaged)
{
    struct weir_server_clock clock = {.state = WEIR_CLOCK_KNOWN, .jitter_ns = spec.jitter_ns};
    if (turn % 40 == 39) {
        realign(view, &clock);
    }
    fixture_server_clock(&f, &clock);
    for (uint32_t l = 0; l < spec.limit_cnt; l++) {
        const struct weir_limit_place at = fixture_place(&f, view, l, false);
        const struct weir_limit_place own = fixture_place(&f, view, l, true);
        *damaged += weir_limit_audit(&at, &own, &clock, &view->time) != WEIR_LIMIT_SOUND;
    }
    return weir_clock_now(&view->time);
}

static int entry_order(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a;
    uint64_t y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

/* Units per window over all logs; returns the largest, and the number of breaches. */
static uint32_t books(uint64_t *windows, uint64_t *breaches)
{
    uint64_t cnt = 0;
    uint64_t *all = calloc((size_t)TRADERS * LOG_MAX, sizeof *all);
    for (uint32_t i = 0; i < TRADERS; i++) {
        memcpy(all + cnt, trader[i].log, trader[i].cnt * sizeof *all);
        cnt += trader[i].cnt;
    }
    qsort(all, cnt, sizeof *all, entry_order);
    int64_t worst = 0;
    *windows = 0;
    *breaches = 0;
    for (uint64_t i = 0; i < cnt;) {
        uint64_t k = all[i] >> 1;
        int64_t sum = 0;
        for (; i < cnt && all[i] >> 1 == k; i++) {
            sum += (all[i] & 1) != 0 ? -1 : 1;
        }
        worst = sum > worst ? sum : worst;
        *breaches += sum > (int64_t)QUOTA;
        (*windows)++;
    }
    free(all);
    return (uint32_t)worst;
}

static uint64_t run(bool threads, uint64_t seconds, uint64_t *damaged)
{
    pid_t pid[TRADERS] = {0};
    pthread_t thread[TRADERS];
    uint64_t random = seed;
    uint64_t deaths = 0;
    struct weir_permit_view view;
    fixture_view(&f, &view, 0);
    weir_clock_init(&view.time, NULL, 0);
    uint64_t until_ns = weir_clock_now(&view.time) + seconds * WEIR_NS_PER_S;
    for (uint32_t i = 0; i < TRADERS; i++) {
        if (threads) {
            (void)pthread_create(&thread[i], NULL, trader_thread, (void *)(uintptr_t)i);
        } else {
            pid[i] = trader_fork(i, fixture_random(&random));
        }
    }
    for (uint64_t turn = 0; worker_turn(&view, turn, damaged) < until_ns; turn++) {
        (void)usleep(2000 + (useconds_t)fixture_random_below(&random, 6000));
        uint32_t victim = (uint32_t)fixture_random_below(&random, TRADERS);
        if (!threads) {
            (void)kill(pid[victim], SIGKILL);
            (void)waitpid(pid[victim], NULL, 0);
            deaths++;
            pid[victim] = trader_fork(victim, fixture_random(&random));
        }
    }
    weir_store_release_u32(stop, 1); /* pair:torture R */
    for (uint32_t i = 0; i < TRADERS; i++) {
        if (threads) {
            (void)pthread_join(thread[i], NULL);
        } else {
            (void)waitpid(pid[i], NULL, 0);
        }
    }
    return deaths;
}

static int judge(uint64_t deaths, uint64_t damaged)
{
    uint64_t windows;
    uint64_t breaches;
    uint32_t worst = books(&windows, &breaches);
    static struct trader sum;
    for (uint32_t i = 0; i < TRADERS; i++) {
        sum.granted += trader[i].granted;
        sum.refused += trader[i].refused;
        sum.contended += trader[i].contended;
        sum.given += trader[i].given;
        sum.disturbed += trader[i].disturbed;
        sum.undisturbed += trader[i].undisturbed;
    }
    printf("%" PRIu64 " granted, %" PRIu64 " refused, %" PRIu64 " contended, %" PRIu64
           " given back, %" PRIu64 " deaths\n",
           sum.granted, sum.refused, sum.contended, sum.given, deaths);
    printf("%" PRIu64 " windows, at most %u of %u units in one, %" PRIu64 " breaches; %" PRIu64
           " damaged words\n",
           windows, worst, QUOTA, breaches, damaged);
    printf("beside callers whose second limit is full: %" PRIu64 " granted, %" PRIu64
           " disturbed; the full limit holds %u of 10\n",
           sum.undisturbed, sum.disturbed,
           (uint32_t)weir_max_u64((uint32_t)f.memory->word[2].word[0],
                                  (uint32_t)f.memory->word[2].word[1]));
    bool good = breaches == 0 && damaged == 0 && sum.disturbed == 0 && windows > 10 &&
                worst + 2 >= QUOTA && sum.undisturbed > 0;
    printf("%s\n", good ? "0 violations" : "VIOLATED");
    return good ? 0 : 1;
}

int main(int argc, char **argv)
{
    bool threads = false;
    uint64_t seconds = 3;
    for (int i = 1; i < argc; i++) {
        threads |= strcmp(argv[i], "--threads") == 0;
        if (i + 1 < argc && strcmp(argv[i], "--seconds") == 0) {
            seconds = strtoull(argv[i + 1], NULL, 10);
        }
        if (i + 1 < argc && strcmp(argv[i], "--seed") == 0) {
            seed = strtoull(argv[i + 1], NULL, 10);
        }
    }
    size_t bytes = TRADERS * sizeof *trader + 4096;
    trader = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE,
                  -1, 0);
    if (trader == MAP_FAILED) {
        perror("broken harness: mmap");
        return 99;
    }
    stop = (uint32_t *)(void *)(trader + TRADERS);
    printf("seed %" PRIu64 ", %u %s, %" PRIu64 " s\n", seed, TRADERS,
           threads ? "threads" : "processes", seconds);
    (void)fflush(stdout);
    fixture_open(&f, &spec);
    f.memory->word[2].word[0] = 0;
    uint64_t damaged = 0;
    uint64_t hour = weir_clock_monotonic_ns() / spec.limit[2].window_ns;
    f.memory->word[2].word[hour & 1] = weir_window_word((uint32_t)hour, 10);
    uint64_t deaths = run(threads, seconds, &damaged);
    return judge(deaths, damaged);
}
