/*
 * Every named instant (WEIR_WEAVE) of a client, of the worker and of the supervisor: the process is held there, and then killed, stopped or delayed.
 *
 *   process_weave SIM WEIRD [SEED] [--long | --part=K/N | --only NAME]
 *
 * A victim does all that a strategy can, and somebody makes trouble (weave_work.h). Which instants the processes pass is watched first. Then each of them, in random order:
 * killed, stopped or delayed by the seed. --long: by all three ways; --part: that for the Kth part of N of the names; --only tries one instant 30 times in each process
 * that passes it. What only a death brings about (recovery, reaping, a full ring) has its way below.
 *
 * All names are asked for that the programs have, weird, libweir and this test, but those of weave_names.def, which says who answers for them. A name that nobody was held
 * at fails the test; with --long, one that was not held at in each of the three ways.
 *
 * Oracles: while somebody stands at an instant, the others go on (a held client or supervisor: permits on the same words and calls; a held worker: permits).
 * After a kill of a client its index is free again in time; after a kill of the worker the next one answers; after one of the supervisor the next start goes on with the
 * same memory. In the end: each order exactly once and with a named outcome, nothing counted twice, no unit, slot or index left taken, no violation at the exchange.
 */
#include "shm/weir_audit.h"
#include "weave.h"
#include "weave_work.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PROGRESS_MS 3000U /* for one permit and one call of the others: busy machines, sanitizers */
#define REACH_MS    2500U
#define REAP_MS     3000U
#define SURVEY_MS   5000U
#define AUDITED     50000U
#define TRIES       4U /* of a name that nobody was held at yet */
#define ONLY_ROUNDS 6U

enum whom { CLIENT, WORKER, SUPERVISOR, WHOM_CNT };
enum ending { KILL, STOP, DELAY, ENDING_CNT };
static const char *const whom_text[] = {"client", "worker", "supervisor"};
static const char *const ending_text[] = {"killed", "stopped", "delayed"};

static struct weave_page *page;

struct tally {
    unsigned tried[WHOM_CNT][ENDING_CNT];
    unsigned missed;
    uint64_t reaped_worst_ns, back_worst_ns;
};

struct campaign {
    struct rig *r;
    struct weir *look; /* a monitor */
    pid_t pid[WHOM_CNT];
    pid_t neighbour[3];
    struct tally tally;
    struct place {
        char name[WEAVE_NAME_BYTES];
        enum whom whom;
        bool seen; /* by the survey */
        unsigned held[ENDING_CNT];
    } at[WHOM_CNT * WEAVE_NAMES_MAX];
    unsigned cnt;
    bool all; /* each in all three ways */
    unsigned rounds;
    unsigned part, parts;
    const char *only; /* NULL: all */
};

/* ---------------------------------------------------------------------------------------------- names */

/* Is this name another test's? */
static bool is_elsewhere(const char *name)
{
#define LIFE(scene, its)          \
    if (strcmp(name, its) == 0) { \
        return true;              \
    }
#define ELSEWHERE(its, test, why)                   \
    if (strncmp(name, its, sizeof(its) - 1) == 0) { \
        return true;                                \
    }
#include "weave_names.def"
#undef LIFE
#undef ELSEWHERE
    return false;
}

/* Is it among those that this run is about? */
static bool is_ours(const struct campaign *c, const char *name)
{
    unsigned sum = 0;
    for (const char *at = name; *at != '\0'; at++) {
        sum = sum * 31U + (unsigned char)*at;
    }
    return c->only != NULL ? strcmp(name, c->only) == 0 : sum % c->parts == c->part;
}

static struct place *place_of(struct campaign *c, enum whom whom, const char *name)
{
    unsigned i = 0;
    while (i < c->cnt && (c->at[i].whom != whom || strcmp(c->at[i].name, name) != 0)) {
        i++;
    }
    if (i == c->cnt) {
        c->at[c->cnt].whom = whom;
        (void)strncpy(c->at[c->cnt++].name, name, WEAVE_NAME_BYTES - 1);
    }
    return &c->at[i];
}

/* Which instants these processes pass. */
static void survey(struct campaign *c)
{
    for (unsigned w = 0; w < WHOM_CNT; w++) {
        weave_watch(page, w, c->pid[w]);
    }
    rig_sleep_ms(SURVEY_MS);
    for (unsigned w = 0; w < WHOM_CNT; w++) {
        weave_watch(page, w, 0);
        for (uint32_t i = 0; i < page->watch[w].seen_cnt; i++) {
            place_of(c, (enum whom)w, page->watch[w].seen[i].name)->seen = true;
        }
    }
}

/* In how many ways somebody was held there. */
static unsigned ways_held(const struct campaign *c, const char *name)
{
    unsigned ways = 0;
    for (unsigned how = 0; how < ENDING_CNT; how++) {
        bool held = false;
        for (unsigned k = 0; k < c->cnt && !held; k++) {
            held = c->at[k].held[how] > 0 && strcmp(c->at[k].name, name) == 0;
        }
        ways += held;
    }
    return ways;
}

static bool was_held(const struct place *at)
{
    return at->held[KILL] + at->held[STOP] + at->held[DELAY] > 0;
}

/* All names of all programs, but those that other tests answer for. */
static void names_check(struct campaign *c)
{
    const char *names[WEAVE_NAMES_MAX];
    uint32_t n = weave_known(page, names);
    unsigned asked = 0;
    unsigned enough = 0;
    CHECK(c->r, n > 100 && n <= WEAVE_NAMES_MAX, "names");
    for (uint32_t i = 0; i < n && n <= WEAVE_NAMES_MAX; i++) {
        if (is_elsewhere(names[i]) || !is_ours(c, names[i])) {
            continue;
        }
        unsigned ways = ways_held(c, names[i]);
        asked++;
        enough += ways >= (c->all ? (unsigned)ENDING_CNT : 1U);
        rig_check(c->r, ways > 0, __FILE__, __LINE__, "nobody was held at %s", names[i]);
        rig_check(c->r, ways == 0 || !c->all || ways == ENDING_CNT, __FILE__, __LINE__,
                  "held at %s in %u ways of %u", names[i], ways, (unsigned)ENDING_CNT);
    }
    (void)printf("%u names in weird, libweir and here; %u asked for, at %u of them somebody was "
                 "held%s\n",
                 n, asked, enough, c->all ? " in all three ways" : "");
}

/* ---------------------------------------------------------------------------------------------- deaths */

static void victim_reborn(struct campaign *c)
{
    struct rig *r = c->r;
    uint64_t reaped = rig_board_worker(c->look)->client_reaped;
    uint64_t from_ns = rig_now_ns();
    (void)kill(c->pid[CLIENT], SIGKILL);
    CHECK_INT(r, rig_wait(c->pid[CLIENT], 5000), 128 + SIGKILL);
    while (rig_board_worker(c->look)->client_reaped == reaped &&
           rig_now_ns() - from_ns < REAP_MS * WEIR_NS_PER_MS) {
        rig_sleep_ms(1);
    }
    uint64_t took_ns = rig_now_ns() - from_ns;
    CHECK(r, took_ns < REAP_MS * WEIR_NS_PER_MS, "the victim's index came back");
    c->tally.reaped_worst_ns = weir_max_u64(c->tally.reaped_worst_ns, took_ns);
    c->pid[CLIENT] = rig_fork(r, work_victim, (int)rig_random(r, 1000));
    CHECK(r, work_moves(r, WORK_VICTIM, PROGRESS_MS), "a new victim works");
}

static void worker_reborn(struct campaign *c)
{
    struct rig *r = c->r;
    uint64_t from_ns = rig_now_ns();
    (void)kill(c->pid[WORKER], SIGKILL);
    c->pid[WORKER] = rig_process_next(r, "weird-worker", c->pid[WORKER], 5000);
    CHECK(r, c->pid[WORKER] > 0, "a worker again");
    CHECK(r, work_moves(r, WORK_CALLS, 2 * PROGRESS_MS), "calls end again");
    c->tally.back_worst_ns = weir_max_u64(c->tally.back_worst_ns, rig_now_ns() - from_ns);
}

/* The next start takes over from the worker that is left, or waits for the lease; handles go on. */
static void supervisor_reborn(struct campaign *c)
{
    struct rig *r = c->r;
    uint32_t old = (uint32_t)c->pid[WORKER];
    (void)kill(r->weird, SIGKILL);
    (void)rig_wait(r->weird, 5000);
    r->weird = 0;
    weir_close(c->look);
    rig_weird_start(r);
    c->look = rig_attach(r, WEIR_ROLE_MONITOR);
    c->pid[SUPERVISOR] = r->weird;
    for (unsigned i = 0; i < PROGRESS_MS && rig_board_worker(c->look)->pid == old; i++) {
        rig_sleep_ms(1); /* the orphan is on its way out */
    }
    c->pid[WORKER] = (pid_t)rig_board_worker(c->look)->pid;
    CHECK(r, c->pid[WORKER] != (pid_t)old, "a worker of its own");
    (void)rig_wait((pid_t)old, 5000); /* ours by now: a dead one must not be taken for the next */
    CHECK(r, work_moves(r, WORK_CALLS, 2 * PROGRESS_MS), "calls end again");
}

static void die(struct campaign *c, enum whom whom)
{
    static void (*const reborn[])(struct campaign *) = {victim_reborn, worker_reborn,
                                                        supervisor_reborn};
    reborn[whom](c);
}

/* ---------------------------------------------------------------------------------------------- one instant */

/* It stands there: the others go on, and then its end. */
static void end(struct campaign *c, struct place *at, enum ending how)
{
    struct rig *r = c->r;
    pid_t pid = c->pid[at->whom];
    at->held[how]++;
    c->tally.tried[at->whom][how]++;
    rig_check(r, work_moves(r, WORK_PERMITS, PROGRESS_MS), __FILE__, __LINE__,
              "permits go on while the %s stands at %s", whom_text[at->whom], at->name);
    if (at->whom == CLIENT) {
        rig_check(r, work_moves(r, WORK_CALLS, PROGRESS_MS), __FILE__, __LINE__,
                  "calls go on while the client stands at %s", at->name);
    }
    if (how == KILL) {
        die(c, at->whom);
        return;
    }
    if (how == STOP) {
        (void)kill(pid, SIGSTOP);
        weave_go(page);
        rig_sleep_ms(20 + rig_random(r, 60));
        (void)kill(pid, SIGCONT);
    } else {
        rig_sleep_ms(20 + rig_random(r, 60));
        weave_go(page);
    }
    rig_check(r, work_moves(r, at->whom == CLIENT ? WORK_VICTIM : WORK_CALLS, PROGRESS_MS),
              __FILE__, __LINE__, "the %s goes on behind %s", whom_text[at->whom], at->name);
}

/* Only when the exchange's clock has jumped. */
static bool is_seldom(const char *name)
{
    return strncmp(name, "realign:", 8) == 0;
}

/* Returns whether it came there. */
static bool at_instant(struct campaign *c, struct place *at, enum ending how)
{
    unsigned after = was_held(at) ? rig_random(c->r, 3) : 0;
    bool seldom = is_seldom(at->name);
    uint32_t turns = work_at(c->r, WORK_VICTIM);
    if (weave_hold(page, c->pid[at->whom], at->name, seldom ? 0 : after,
                   seldom ? 3 * REACH_MS : REACH_MS) == 0) {
        (void)printf("the %s did not come to %s in %u turns of the victim\n", whom_text[at->whom],
                     at->name, work_at(c->r, WORK_VICTIM) - turns);
        c->tally.missed++;
        return false;
    }
    end(c, at, how);
    return true;
}

static void all_instants(struct campaign *c)
{
    static unsigned order[WHOM_CNT * WEAVE_NAMES_MAX * ENDING_CNT];
    unsigned cnt = c->cnt * ENDING_CNT;
    for (unsigned i = 0; i < cnt; i++) {
        unsigned k = rig_random(c->r, i + 1);
        order[i] = order[k];
        order[k] = i;
    }
    unsigned one = rig_random(c->r, ENDING_CNT);
    for (unsigned n = 0; n < 2 * cnt && c->r->failures == 0; n++) {
        unsigned i = n % cnt;
        struct place *at = &c->at[order[i] / ENDING_CNT];
        enum ending how = (enum ending)(order[i] % ENDING_CNT);
        bool skip = (!c->all && (order[i] / ENDING_CNT + how) % ENDING_CNT != one) ||
                    is_seldom(at->name) != (n < cnt); /* the seldom ones first */
        if (!skip && is_ours(c, at->name) && (c->all || !is_elsewhere(at->name))) {
            (void)at_instant(c, at, how);
        }
    }
}

/* A name that was passed too seldom to be met: those who were seen there a few times, or, where nobody was, each of them once. */
static void again(struct campaign *c, const char *name, enum ending how)
{
    bool seen = false;
    for (unsigned w = 0; w < WHOM_CNT; w++) {
        seen |= place_of(c, (enum whom)w, name)->seen;
    }
    for (unsigned n = 0; n < (seen ? TRIES : 1U); n++) {
        for (unsigned w = 0; w < WHOM_CNT && c->r->failures == 0; w++) {
            struct place *at = place_of(c, (enum whom)w, name);
            if ((at->seen || !seen) && at_instant(c, at, how)) {
                return;
            }
        }
    }
}

static void missed_instants(struct campaign *c)
{
    const char *names[WEAVE_NAMES_MAX];
    uint32_t n = weave_known(page, names);
    unsigned one = rig_random(c->r, ENDING_CNT);
    for (uint32_t i = 0; n <= WEAVE_NAMES_MAX && i < n && c->r->failures == 0; i++) {
        if (is_elsewhere(names[i]) || !is_ours(c, names[i]) || c->only != NULL) {
            continue;
        }
        for (unsigned how = 0; how < ENDING_CNT; how++) {
            bool held = false;
            for (unsigned k = 0; k < c->cnt && !held; k++) {
                held = strcmp(c->at[k].name, names[i]) == 0 &&
                       (c->all ? c->at[k].held[how] > 0 : was_held(&c->at[k]));
            }
            if (!held && (c->all || how == one)) {
                again(c, names[i], (enum ending)how);
            }
        }
    }
}

/* ---------------------------------------------------------------------------------------------- what only a death brings */

/* Somebody dies at `first`; then a worker, perhaps the next one, comes to `name`. */
static const struct {
    enum whom whom;
    const char *first;
    const char *name;
} behind[] = {
    {WORKER, "intake:claimed", "recover:unclaim"},
    {WORKER, "gate:open", "recover:call"},
    {WORKER, "intake:shadow_claimed", "recover:again"},
    {CLIENT, "units:taken", "units:reap"},
};

static void behind_death(struct campaign *c, unsigned which, enum ending how)
{
    struct rig *r = c->r;
    struct place *at = place_of(c, WORKER, behind[which].name);
    enum whom whom = behind[which].whom;
    if (weave_hold(page, c->pid[whom], behind[which].first, 0, REACH_MS) == 0) {
        c->tally.missed++;
        return;
    }
    pid_t dead = c->pid[whom];
    weave_arm(page, WEAVE_ANYBODY, at->name, 0); /* whoever stood there stands on */
    (void)kill(dead, SIGKILL);
    if (whom == CLIENT) {
        CHECK_INT(r, rig_wait(dead, 5000), 128 + SIGKILL);
        c->pid[CLIENT] = rig_fork(r, work_victim, (int)rig_random(r, 1000));
    }
    pid_t pid = weave_await(page, REACH_MS);
    c->pid[WORKER] = rig_process_next(r, "weird-worker", whom == WORKER ? dead : 0, 5000);
    if (pid == 0) {
        c->tally.missed++;
        return;
    }
    CHECK_INT(r, pid, c->pid[WORKER]);
    end(c, at, how);
}

/* No worker takes anything, and a client hands over more than the ring holds. */
static void full_ring(struct campaign *c, const char *name, enum ending how)
{
    struct rig *r = c->r;
    struct place *at = place_of(c, CLIENT, name);
    (void)kill(c->pid[WORKER], SIGSTOP);
    weir_store_release_u32(&r->shared->count[WORK_FLOOD], 1);
    pid_t pid = weave_hold(page, c->pid[CLIENT], at->name, 0, REACH_MS);
    weir_store_release_u32(&r->shared->count[WORK_FLOOD], 0);
    (void)kill(c->pid[WORKER], SIGCONT);
    if (pid == 0) {
        c->tally.missed++;
        return;
    }
    end(c, at, how);
}

/* Behind a crash the supervisor waits a second for the next worker, and holds the lease meanwhile. */
static void without_worker(struct campaign *c, enum ending how)
{
    struct rig *r = c->r;
    struct place *at = place_of(c, SUPERVISOR, "lease:supervisor");
    pid_t old = c->pid[WORKER];
    weave_arm(page, (uint32_t)c->pid[SUPERVISOR], at->name, 0);
    weir_store_release_u32(&r->shared->count[WORK_GONE], how == KILL);
    (void)kill(old, SIGABRT);
    if (weave_await(page, REACH_MS) == 0) {
        c->tally.missed++;
    } else {
        end(c, at, how);
    }
    if (c->pid[WORKER] == old) {
        c->pid[WORKER] = rig_process_next(r, "weird-worker", old, 5000);
    }
}

/* Where a worker goes that follows another, and where it cannot be met otherwise. */
static void rare_instant(struct campaign *c, unsigned which, enum ending how)
{
    static const char *const name[] = {"slot:take_back", "ring:full", "lease:supervisor"};
    if (which < WEIR_ARRAY_CNT(behind)) {
        if (is_ours(c, behind[which].name)) {
            behind_death(c, which, how);
        }
        return;
    }
    which -= (unsigned)WEIR_ARRAY_CNT(behind);
    if (!is_ours(c, name[which])) {
        return;
    }
    if (which == 2) {
        without_worker(c, how);
    } else {
        full_ring(c, name[which], how);
    }
}

static unsigned missed_before(struct campaign *c, unsigned which, enum ending how)
{
    unsigned missed = c->tally.missed;
    rare_instant(c, which, how);
    return c->tally.missed - missed;
}

static void rare_instants(struct campaign *c)
{
    unsigned one = rig_random(c->r, ENDING_CNT);
    for (unsigned how = 0; how < ENDING_CNT && c->only == NULL; how++) {
        for (unsigned i = 0; (c->all || how == one) && i < WEIR_ARRAY_CNT(behind) + 3; i++) {
            for (unsigned n = 0; n < TRIES && c->r->failures == 0; n++) {
                if (missed_before(c, i, (enum ending)how) == 0) {
                    break;
                }
            }
        }
    }
}

/* ---------------------------------------------------------------------------------------------- what is left */

/* Each entry of each ring is on the board once, in its order, whoever died between writing and taking it. */
static void audited_once(struct campaign *c)
{
    static uint32_t next[WEIR_CLIENTS_MAX + 1][WEIR_THREADS_MAX]; /* place of the next, + 1 */
    static uint16_t life[WEIR_CLIENTS_MAX + 1];
    const struct weir_shm_audit *head = rig_board(c->look, WEIR_SECTION_AUDIT, sizeof *head);
    const struct weir_shm_audit_record *record =
        rig_board(c->look, WEIR_SECTION_AUDIT_RECORD, sizeof *record);
    uint64_t written = weir_load_acquire_u64(&head->written);
    uint64_t cnt = written < AUDITED ? written : AUDITED;
    unsigned twice = 0;
    unsigned holes = 0;
    for (uint64_t k = written - cnt; k < written; k++) {
        const struct weir_shm_audit_record *a = &record[k % AUDITED];
        bool own = a->reporter == WEIR_AUDIT_BY_BROKER;
        uint32_t who = own ? WEIR_CLIENTS_MAX : a->client;
        holes += a->number != k + 1;
        if (a->kind > WEIR_AUDIT_SETTLED || who > WEIR_CLIENTS_MAX) {
            continue;
        }
        if (!own && life[who] != a->life) {
            memset(next[who], 0, sizeof next[who]);
            life[who] = a->life;
        }
        uint32_t *n = &next[who][a->thread % WEIR_THREADS_MAX];
        twice += a->place + 1 <= *n;
        *n = a->place + 1;
    }
    (void)printf("%llu records of the audit\n", (unsigned long long)written);
    PROMISE_INT(c->r, holes, 0);
    PROMISE_INT(c->r, twice, 0);
}

/* Nobody is attached but the one who looks, and nothing is held any more. */
static void nothing_left(struct campaign *c)
{
    struct rig *r = c->r;
    struct weir *w = rig_attach(r, WEIR_ROLE_TRADER);
    struct weir_limit_info info;
    unsigned live = 0;
    bool found = false;
    rig_sleep_ms(500); /* a unit that was let go stays taken for max_jitter */
    for (uint32_t i = 0; i < w->view.tables.limit_cnt; i++) {
        CHECK_INT(r, weir_limit_get(w, i, 0, &info), 0);
        if (info.kind == WEIR_LIMIT_CONCURRENCY) {
            found = true;
            PROMISE_INT(r, info.used_units, 0);
        }
    }
    CHECK(r, found, "the units were looked at");
    /* Nobody lied here: what an honest death leaves is no damage, and costs nobody a window. */
    const struct weir_shm_limit_stats *stats =
        rig_board(c->look, WEIR_SECTION_LIMIT, sizeof *stats);
    for (uint32_t i = 0; i < w->view.tables.limit_cnt; i++) {
        bool torn = w->view.tables.limit[i].provider == 2;
        rig_promise(r, torn || stats[i].damaged == 0, __FILE__, __LINE__, "%s: damaged %llu times",
                    w->view.tables.limit[i].name, (unsigned long long)stats[i].damaged);
        rig_check(r, !torn || stats[i].damaged > 0, __FILE__, __LINE__, "%s: damage was not seen",
                  w->view.tables.limit[i].name);
    }
    PROMISE_INT(r, rig_board_worker(c->look)->ring_repaired, 0);
    weir_close(w);
    for (int i = 0; i < 300; i++, rig_sleep_ms(10)) {
        live = 0;
        for (uint32_t k = 0; k < WEIR_CLIENTS_MAX; k++) {
            live += rig_board_client(c->look, k)->state != WEIR_CLIENT_FREE;
        }
        if (live == 0) {
            break;
        }
    }
    CHECK_INT(r, live, 0);
}

/* What is ours; the rest is the rig's. */
static void arguments(struct campaign *c, int *argc, char **argv)
{
    const char *last = *argc > 3 ? argv[*argc - 1] : "";
    c->rounds = 1;
    c->parts = 1;
    if (strcmp(last, "--long") == 0) {
        c->all = true;
        *argc -= 1;
    } else if (sscanf(last, "--part=%u/%u", &c->part, &c->parts) == 2 && c->part >= 1 &&
               c->part <= c->parts) {
        c->all = true;
        c->part--;
        *argc -= 1;
    } else if (*argc > 4 && strcmp(argv[*argc - 2], "--only") == 0) {
        c->all = true;
        c->rounds = ONLY_ROUNDS;
        c->only = last;
        *argc -= 2;
    }
}

static void start(struct campaign *c)
{
    static char state[96];
    struct rig *r = c->r;
    work_configure(r, state, sizeof state);
    r->option = "--fresh"; /* the first start only */
    rig_weird_start(r);
    r->option = NULL;
    c->look = rig_attach(r, WEIR_ROLE_MONITOR);
    c->neighbour[0] = rig_fork(r, work_by_permit, 0);
    c->neighbour[1] = rig_fork(r, work_by_call, 0);
    c->neighbour[2] = rig_fork(r, work_trouble, 2);
    c->pid[CLIENT] = rig_fork(r, work_victim, 0);
    c->pid[WORKER] = rig_process(r, "weird-worker");
    c->pid[SUPERVISOR] = r->weird;
    CHECK(r, work_moves(r, WORK_VICTIM, PROGRESS_MS) && work_moves(r, WORK_CALLS, PROGRESS_MS),
          "all work");
    survey(c);
    (void)printf("%u instants on the way of a client, of the worker and of the supervisor\n",
                 c->cnt);
}

static void stop(struct campaign *c)
{
    struct rig *r = c->r;
    weir_store_release_u32(&r->shared->stop, 1);
    CHECK_INT(r, rig_wait(c->pid[CLIENT], 10000), 0);
    for (unsigned i = 0; i < WEIR_ARRAY_CNT(c->neighbour); i++) {
        CHECK_INT(r, rig_wait(c->neighbour[i], 20000), 0);
    }
    for (unsigned w = 0; w < WHOM_CNT; w++) {
        (void)printf("%s:", whom_text[w]);
        for (unsigned e = 0; e < ENDING_CNT; e++) {
            (void)printf(" %u %s", c->tally.tried[w][e], ending_text[e]);
        }
        (void)printf("\n");
    }
    (void)printf("%u not reached in time; a dead client's index back after %.1f ms at worst, calls "
                 "after a worker's death %.1f ms at worst\n",
                 c->tally.missed, (double)c->tally.reaped_worst_ns / 1e6,
                 (double)c->tally.back_worst_ns / 1e6);
}

int main(int argc, char **argv)
{
    struct rig r;
    static struct campaign c;
    (void)setvbuf(stdout, NULL, _IOLBF, 0);
    c.r = &r;
    char path[96];
    arguments(&c, &argc, argv);
    rig_open(&r, "weave", argc, argv, c.all ? 3600 : 580);
    (void)snprintf(path, sizeof path, "%s/weave", r.dir);
    page = weave_open(path);
    if (page == NULL) {
        perror(path);
        return 99;
    }
    start(&c);
    for (unsigned round = 0; round < c.rounds; round++) {
        all_instants(&c);
        rare_instants(&c);
    }
    missed_instants(&c);
    stop(&c);
    if (c.only == NULL && r.failures == 0) {
        names_check(&c);
    }
    nothing_left(&c);
    audited_once(&c);
    rig_orders_check(&r, true);
    PROMISE_INT(&r, rig_report(&r, "violations"), 0);
    CHECK(&r, work_at(&r, WORK_DONE) > 100, "the neighbour's calls were made");
    weir_close(c.look);
    CHECK_INT(&r, rig_weird_stop(&r, 15000), 0);
    return rig_close(&r);
}
