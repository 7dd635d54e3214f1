/*
 * cells_torture.c: traders at full speed on sliding windows in cells and in parts and on units in flight, killed at random and started again.
 *
 * Each takes two units of a window in cells and one unit in flight by one permit (route 0), or one unit of a window in parts (route 1); gives some back, ends
 * some as counted for less, and writes what it was granted into its own log before it goes on. The worker audits, and reaps what the dead hold. Two of them within
 * some ns come to sliding:undo and sliding:help.
 *
 * Oracle
 *   bound     in no interval of length W may more than N logged units arrive, each between the instant its permit was had and J after its clock reading;
 *             a permit whose use_by_ns is over is not used (a killed trader's last permit may miss)
 *   flight    with threads: a counter around each held unit never passes N
 *   refunds   with threads, in the end: each young stamp stands in as many cells, and each part holds as many units, as are logged and not given back
 *   reaped    in the end no unit is held
 *   sound     the audit finds no damage
 *
 * cells_torture [--seconds N] [--threads] [--seed N]
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

#define TRADERS   4U
#define LOG_MAX   200000U
#define QUOTA     40U
#define UNITS     3U
#define WINDOW_NS (20 * WEIR_NS_PER_MS)
#define JITTER_NS WEIR_NS_PER_MS

enum { LIMIT_CELLS, LIMIT_UNITS, LIMIT_PARTS, LIMIT_CNT };

static const struct fixture_spec spec = {
    .jitter_ns = JITTER_NS,
    .slack_ns = JITTER_NS / 2,
    .limit_cnt = LIMIT_CNT,
    .route_cnt = 2,
    .limit = {{.kind = WEIR_LIMIT_SLIDING_WINDOW,
               .form = WEIR_FORM_CELLS,
               .quota = QUOTA,
               .window_ns = WINDOW_NS},
              {.kind = WEIR_LIMIT_CONCURRENCY,
               .quota = UNITS,
               .window_ns = WINDOW_NS,
               .rest_ns = WEIR_NS_PER_MS / 10},
              {.kind = WEIR_LIMIT_SLIDING_WINDOW,
               .form = WEIR_FORM_PARTS,
               .quota = QUOTA,
               .window_ns = WINDOW_NS}},
    .route = {{.limit_cnt = 2, .limit = {LIMIT_CELLS, LIMIT_UNITS}, .cost = {2, 1}},
              {.limit_cnt = 1, .limit = {LIMIT_PARTS}, .cost = {1}}},
};

struct entry {
    uint64_t stamp_ns; /* of the permit */
    uint64_t had_ns;   /* when it was had: no call is made before */
    uint32_t limit;
    uint32_t units; /* 0: given back */
};

/* Its owner alone writes it. */
struct trader {
    uint64_t cnt;
    uint64_t life;
    uint64_t granted, refused, contended, given, late;
    struct entry log[LOG_MAX];
};

static struct fixture f;
static struct trader *trader; /* [TRADERS], shared */
static struct common {
    uint32_t stop;
    uint32_t flight;
    uint32_t flight_worst;
} * common;
static uint64_t seed = 1;
static bool threads;

static void flight_enter(void)
{
    uint32_t n = weir_fetch_add_u32(&common->flight, 1) + 1;               /* pair:torture R */
    uint32_t worst = weir_load_acquire_u32(&common->flight_worst);         /* pair:torture A */
    while (n > worst && !weir_cas_u32(&common->flight_worst, &worst, n)) { /* pair:torture R */
    }
}

/* A permit of `route` was had: log it, then let its call end in one of several ways. */
static void use(struct trader *t, struct weir_permit_view *view, uint32_t route,
                struct weir_permit *p, uint64_t *random)
{
    uint64_t way = fixture_random_below(random, 4);
    uint64_t cnt = weir_load_relaxed_u64(&t->cnt); /* relaxed: our own */
    struct entry *e = &t->log[cnt < LOG_MAX ? cnt : LOG_MAX - 1];
    uint64_t now_ns = weir_clock_now(&view->time);
    *e = (struct entry){.stamp_ns = p->granted_at_ns,
                        .had_ns = now_ns,
                        .limit = p->charge[0].limit,
                        .units = p->charge[0].units};
    bool unused = now_ns > p->use_by_ns || cnt >= LOG_MAX;
    t->late += unused;
    if (!unused) {
        weir_store_release_u64(&t->cnt,
                               cnt + 1); /* pair:torture R: one word, whole when its owner dies */
    }
    if (route == 0) {
        flight_enter();
        if (fixture_random_below(random, 8) == 0) {
            (void)usleep(50);
        }
        (void)weir_fetch_add_u32(&common->flight, UINT32_MAX); /* pair:torture R */
    }
    if (way == 0 ||
        unused) { /* out of the log first: a death in between errs to the side that the oracle allows */
        e->units = 0;
        t->given += weir_permit_give(view, p) == WEIR_OK;
    } else if (way == 1 && route == 0) {
        const struct weir_cost one = {.cnt = 2, .units = {1, 1}};
        e->units = 1;
        (void)weir_permit_end(view, p, &one);
    } else {
        (void)weir_permit_end(view, p, NULL);
    }
}

static void trader_run(uint32_t index, uint64_t random)
{
    static __thread struct weir_permit_view view;
    struct trader *t = &trader[index];
    fixture_view(&f, &view, 0);
    weir_clock_init(&view.time, NULL, 0); /* real time */
    view.owner =
        weir_owner_make(index + 1, (uint32_t)weir_load_acquire_u64(&t->life)); /* pair:torture A */
    while (weir_load_acquire_u32(&common->stop) == 0) {                        /* pair:torture A */
        struct weir_permit p;
        uint32_t route = fixture_random_below(&random, 2) == 0;
        int rc = weir_permit_take(&view, route, 0, NULL, WEIR_PRIORITY_CRITICAL, &p);
        t->granted += rc == WEIR_OK;
        t->refused += rc == WEIR_DENIED;
        t->contended += rc == WEIR_CONTENDED;
        if (rc == WEIR_OK) {
            use(t, &view, route, &p, &random);
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
    weir_store_release_u64(&trader[index].life, trader[index].life + 1); /* pair:torture R */
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

static bool owner_lives(uint64_t cell, const void *arg)
{
    uint32_t owner = weir_owner_of(cell);
    return arg == NULL && owner >= 1 && owner <= TRADERS &&
           weir_owner_life(cell) == (uint16_t)trader[owner - 1].life;
}

/* The worker: audits, and reaps; with `all` dead whatever is held. */
static uint64_t worker_turn(struct weir_permit_view *view, bool all, uint64_t *damaged,
                            uint64_t *reaped)
{
    const struct weir_server_clock clock = {.state = WEIR_CLOCK_KNOWN, .jitter_ns = JITTER_NS};
    for (uint32_t l = 0; l < spec.limit_cnt; l++) {
        const struct weir_limit_place at = fixture_place(&f, view, l, false);
        const struct weir_limit_place own = fixture_place(&f, view, l, true);
        *damaged += weir_limit_audit(&at, &own, &clock, &view->time) != WEIR_LIMIT_SOUND;
        if (l == LIMIT_UNITS) {
            *reaped += weir_units_reap(at.row, at.cell, weir_clock_now(&view->time), owner_lives,
                                       all ? view : NULL);
        }
    }
    return weir_clock_now(&view->time);
}

static uint64_t run(struct weir_permit_view *view, uint64_t seconds, uint64_t *damaged,
                    uint64_t *reaped)
{
    pid_t pid[TRADERS] = {0};
    pthread_t thread[TRADERS];
    uint64_t random = seed;
    uint64_t deaths = 0;
    uint64_t until_ns = weir_clock_now(&view->time) + seconds * WEIR_NS_PER_S;
    for (uint32_t i = 0; i < TRADERS; i++) {
        if (threads) {
            (void)pthread_create(&thread[i], NULL, trader_thread, (void *)(uintptr_t)i);
        } else {
            pid[i] = trader_fork(i, fixture_random(&random));
        }
    }
    while (worker_turn(view, false, damaged, reaped) < until_ns) {
        (void)usleep(2000 + (useconds_t)fixture_random_below(&random, 6000));
        uint32_t victim = (uint32_t)fixture_random_below(&random, TRADERS);
        if (!threads) {
            (void)kill(pid[victim], SIGKILL);
            (void)waitpid(pid[victim], NULL, 0);
            deaths++;
            pid[victim] = trader_fork(victim, fixture_random(&random));
        }
    }
    weir_store_release_u32(&common->stop, 1); /* pair:torture R */
    for (uint32_t i = 0; i < TRADERS; i++) {
        if (threads) {
            (void)pthread_join(thread[i], NULL);
        } else {
            (void)waitpid(pid[i], NULL, 0);
        }
    }
    return deaths;
}

/* ---------------------------------------------------------------------------------------------- judge */

static int u64_order(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a;
    uint64_t y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

/* How many of the sorted values are below `x`. */
static uint64_t below(const uint64_t *sorted, uint64_t cnt, uint64_t x)
{
    uint64_t low = 0;
    while (low < cnt) {
        uint64_t middle = low + (cnt - low) / 2;
        if (sorted[middle] < x) {
            low = middle + 1;
        } else {
            cnt = middle;
        }
    }
    return low;
}

/* The most units that may arrive in an interval of length W: not before they were had, not later than J after their stamp. */
static uint64_t most_arrivals(uint32_t limit, uint64_t *units)
{
    uint64_t max = 2 * (uint64_t)TRADERS * LOG_MAX;
    uint64_t *first = malloc(max * sizeof *first);
    uint64_t *last = malloc(max * sizeof *last);
    uint64_t cnt = 0;
    uint64_t most = 0;
    for (uint32_t i = 0; i < TRADERS; i++) {
        for (uint64_t k = 0; k < trader[i].cnt; k++) {
            const struct entry *e = &trader[i].log[k];
            for (uint32_t u = 0; u < e->units && e->limit == limit && cnt < max; u++) {
                first[cnt] = e->had_ns;
                last[cnt++] = weir_max_u64(e->had_ns, e->stamp_ns + JITTER_NS);
            }
        }
    }
    qsort(first, cnt, sizeof *first, u64_order);
    qsort(last, cnt, sizeof *last, u64_order);
    for (uint64_t i = 0; i < cnt;
         i++) { /* intervals that begin with somebody's last instant hold the most */
        most =
            weir_max_u64(most, below(first, cnt, last[i] + WINDOW_NS) - below(last, cnt, last[i]));
    }
    free(first);
    free(last);
    *units = cnt;
    return most;
}

/* Units that the logs have for stamps in [from, to) of a limit. */
static uint64_t logged(uint32_t limit, uint64_t from_ns, uint64_t to_ns)
{
    uint64_t units = 0;
    for (uint32_t i = 0; i < TRADERS; i++) {
        for (uint64_t k = 0; k < trader[i].cnt; k++) {
            const struct entry *e = &trader[i].log[k];
            units +=
                e->limit == limit && e->stamp_ns >= from_ns && e->stamp_ns < to_ns ? e->units : 0;
        }
    }
    return units;
}

/* Cells and parts that do not hold what the logs say, nobody having died. */
static uint64_t miscounted(const struct weir_permit_view *view, uint64_t now_ns)
{
    const struct weir_limit_place cells = fixture_place(&f, view, LIMIT_CELLS, false);
    const struct weir_limit_place parts = fixture_place(&f, view, LIMIT_PARTS, false);
    uint64_t wrong = 0;
    for (uint32_t i = 0; i < cells.row->cell_cnt; i++) {
        uint64_t bear = 0;
        for (uint32_t k = 0; k < cells.row->cell_cnt; k++) {
            bear += cells.cell[k] == cells.cell[i];
        }
        bool young = !weir_sliding_old(cells.cell[i], now_ns, cells.row->span_ns);
        wrong += young && bear != logged(LIMIT_CELLS, cells.cell[i], cells.cell[i] + 1);
    }
    for (uint32_t i = 0; i < WEIR_SLIDING_WORDS; i++) {
        uint64_t part =
            weir_window_id(parts.cell[i]) -
            WEIR_SLIDING_PART_FIRST; /* the low bits of its number: the rest is that of now */
        uint64_t now = now_ns / parts.row->part_ns;
        part += now - (uint32_t)now;
        bool recent = parts.cell[i] != 0 && now - part <= WEIR_SLIDING_PARTS;
        wrong += recent && (uint32_t)parts.cell[i] != logged(LIMIT_PARTS, part * parts.row->part_ns,
                                                             (part + 1) * parts.row->part_ns);
    }
    return wrong;
}

static int judge(struct weir_permit_view *view, uint64_t deaths, uint64_t damaged, uint64_t reaped)
{
    uint64_t cells;
    uint64_t parts;
    uint64_t at_end = 0;
    struct trader *sum = calloc(1, sizeof *sum);
    uint64_t wrong = threads ? miscounted(view, weir_clock_now(&view->time)) : 0;
    uint64_t most_cells = most_arrivals(LIMIT_CELLS, &cells);
    uint64_t most_parts = most_arrivals(LIMIT_PARTS, &parts);
    (void)worker_turn(view, true, &damaged, &at_end);
    const struct weir_limit_place units = fixture_place(&f, view, LIMIT_UNITS, false);
    uint32_t held = 0;
    for (uint32_t i = 0; i < units.row->cell_cnt; i++) {
        held += weir_unit_held(units.cell[i]);
    }
    for (uint32_t i = 0; i < TRADERS; i++) {
        sum->granted += trader[i].granted;
        sum->refused += trader[i].refused;
        sum->contended += trader[i].contended;
        sum->given += trader[i].given;
        sum->late += trader[i].late;
    }
    printf("%" PRIu64 " deaths; %" PRIu64 " granted, %" PRIu64 " refused, %" PRIu64
           " contended, %" PRIu64 " given back, %" PRIu64 " had too late\n",
           deaths, sum->granted, sum->refused, sum->contended, sum->given, sum->late);
    printf("cells: %" PRIu64 " units, at most %" PRIu64 " of %u in a window; parts: %" PRIu64
           ", at most %" PRIu64 "; %" PRIu64 " miscounted\n",
           cells, most_cells, QUOTA, parts, most_parts, wrong);
    printf("units: %" PRIu64 " reaped, %" PRIu64 " at the end, %u held; %" PRIu64
           " damaged words\n",
           reaped, at_end, held, damaged);
    if (threads) {
        printf("at most %u of %u in flight\n", common->flight_worst, UNITS);
    }
    bool good = most_cells <= QUOTA && most_parts <= QUOTA && most_cells > QUOTA / 2 &&
                most_parts > QUOTA / 2 && wrong == 0 && damaged == 0 && held == 0;
    /* A killed trader leaves the counter too high; and what lives leaves nothing to reap. */
    good = good && (!threads || (common->flight_worst <= UNITS && reaped == 0 && at_end == 0));
    printf("%s\n", good ? "0 violations" : "VIOLATED");
    free(sum);
    return good ? 0 : 1;
}

int main(int argc, char **argv)
{
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
    size_t bytes = TRADERS * sizeof *trader + sizeof *common;
    trader = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE,
                  -1, 0);
    if (trader == MAP_FAILED) {
        perror("broken harness: mmap");
        return 99;
    }
    common = (struct common *)(void *)(trader + TRADERS);
    printf("seed %" PRIu64 ", %u %s, %" PRIu64 " s\n", seed, TRADERS,
           threads ? "threads" : "processes", seconds);
    (void)fflush(stdout);
    fixture_open(&f, &spec);
    static struct weir_permit_view view;
    uint64_t damaged = 0;
    uint64_t reaped = 0;
    fixture_view(&f, &view, 0);
    weir_clock_init(&view.time, NULL, 0);
    uint64_t deaths = run(&view, seconds, &damaged, &reaped);
    return judge(&view, deaths, damaged, reaped);
}
