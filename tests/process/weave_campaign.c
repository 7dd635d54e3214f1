/*
 * Every named instant (WEIR_WEAVE) of a client, of the worker and of the supervisor: the process is held there, and then killed, stopped or delayed.
 *
 *   process_weave SIM WEIRD [SEED] [--long | --only NAME]
 *
 * A victim does all that a strategy can, and somebody makes trouble (weave_work.h). Which instants the processes pass is watched first. Then each of them, in random order:
 * killed, stopped or delayed by the seed; --long goes round ten times by all three ways, with later passages of the same instant; --only tries one instant
 * 30 times in each process that passes it. What only a death brings about (recovery, reaping, a full ring) has its way below; what only a broker's start, stop or
 * takeover does is process_weave_lives'; the few that are left stand in `elsewhere` with who goes there. A name of shm/ or libclient/ that nobody reached fails the test.
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
        bool reached;
    } at[WHOM_CNT * WEAVE_NAMES_MAX];
    unsigned cnt;
    unsigned rounds;
    const char *only; /* NULL: all */
};

/* ---------------------------------------------------------------------------------------------- names */

/* Where others go. A name that begins as one of these is not asked for here. */
static const struct {
    const char *name;
    const char *who;
} elsewhere[] = {
    {"takeover:", "process_weave_lives"},
    {"handover:", "process_weave_lives"},
    {"quiesce:", "process_weave_lives"},
    {"tables:built", "process_weave_lives"},
    {"journal:slot", "process_weave_lives"},
    {"journal:made", "process_weave_lives"},
    {"journal:renamed", "process_weave_lives"},
    {"journal:lea", "process_weave_lives"},
    {"journal:left", "process_weave_lives"},
    {"lease:end", "process_weave_lives"},
    {"lease:back", "process_weave_lives"},
    {"memory:resolve", "a window of the journal that meets a clock: process_memory, weir-dst"},
    {"rejoin:welcomed", "process_weave_lives"},
    {"rejoin:connected",
     "a broker that died before it told its clients of the next: process_takeover_kill"},
    {"rejoin:marked", "as above"},
    {"board:", "process_weave_lives"},
    {"cache:", "a worker that keeps an answer: crash/cache_stepkill, torture/cache_torture"},
    {"ring:poison", "no honest client leaves a hole: model/ring_model, crash/ring_stepkill"},
    {"ring:repair-tail", "no honest client moves tail: crash/ring_stepkill, process_hostile"},
    {"ring:help", "of two producers within some ns: model/ring_model, torture/ring_torture"},
    {"express:lost", "of two traders within some ns: model/permit_model, crash/permit_stepkill"},
    {"express:again", "as above"},
    {"limit:plan_again", "as above"},
    {"sliding:undo", "as above: model/cells_model"},
    {"sliding:help", "as above: model/cells_model"},
    {"permit:rolled_back_one", "as above: model/permit_model"},
    {"sliding:withdrawn", "at a full limit within some ns: model/parts_model, prop_permit"},
};

static const char *who_else(const char *name)
{
    for (unsigned i = 0; i < WEIR_ARRAY_CNT(elsewhere); i++) {
        if (strncmp(name, elsewhere[i].name, strlen(elsewhere[i].name)) == 0) {
            return elsewhere[i].who;
        }
    }
    return NULL;
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
            (void)place_of(c, (enum whom)w, page->watch[w].seen[i].name);
        }
    }
}

/* Names that this program has (those of shm/ and libclient/; the broker's are not in it), nobody was held at, and no other test answers for. */
static void unreached(struct campaign *c)
{
    const char *const *names;
    uint32_t n = weave_names(&names);
    for (uint32_t i = 0; i < n; i++) {
        bool again = false;
        bool reached = false;
        for (uint32_t k = 0; k < i && !again; k++) {
            again = strcmp(names[k], names[i]) == 0;
        }
        for (unsigned k = 0; k < c->cnt && !reached; k++) {
            reached = c->at[k].reached && strcmp(c->at[k].name, names[i]) == 0;
        }
        if (!again && !reached && who_else(names[i]) == NULL) {
            rig_check(c->r, false, __FILE__, __LINE__, "nobody was held at %s", names[i]);
        }
    }
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
    at->reached = true;
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

static void at_instant(struct campaign *c, struct place *at, enum ending how)
{
    unsigned after = at->reached ? rig_random(c->r, 3) : 0;
    bool seldom = strncmp(at->name, "realign:", 8) == 0;
    if (weave_hold(page, c->pid[at->whom], at->name, seldom ? 0 : after,
                   seldom ? 3 * REACH_MS : REACH_MS) == 0) {
        (void)printf("the %s did not come to %s in time\n", whom_text[at->whom], at->name);
        c->tally.missed++;
        return;
    }
    end(c, at, how);
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
    for (unsigned i = 0; i < cnt && c->r->failures == 0; i++) {
        struct place *at = &c->at[order[i] / ENDING_CNT];
        enum ending how = (enum ending)(order[i] % ENDING_CNT);
        if (c->rounds == 1 && who_else(at->name) != NULL) {
            continue; /* it came here by chance */
        }
        bool skip = c->rounds == 1 && (order[i] / ENDING_CNT + how) % ENDING_CNT != one;
        if (!skip && (c->only == NULL || strcmp(at->name, c->only) == 0)) {
            at_instant(c, at, how);
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

/* Without a worker the supervisor holds the lease. It starts the next one only when it goes on. */
static void without_worker(struct campaign *c, enum ending how)
{
    struct rig *r = c->r;
    struct place *at = place_of(c, SUPERVISOR, "lease:supervisor");
    pid_t old = c->pid[WORKER];
    weave_arm(page, (uint32_t)c->pid[SUPERVISOR], at->name, 0);
    (void)kill(old, SIGKILL);
    if (weave_await(page, REACH_MS) == 0) {
        c->tally.missed++;
    } else {
        end(c, at, how);
    }
    if (c->pid[WORKER] == old) {
        c->pid[WORKER] = rig_process_next(r, "weird-worker", old, 5000);
    }
}

static void rare_instants(struct campaign *c)
{
    unsigned one = rig_random(c->r, ENDING_CNT);
    for (unsigned how = 0; how < ENDING_CNT && c->r->failures == 0 && c->only == NULL; how++) {
        if (c->rounds == 1 && how != one) {
            continue;
        }
        for (unsigned i = 0; i < WEIR_ARRAY_CNT(behind); i++) {
            behind_death(c, i, (enum ending)how);
        }
        full_ring(c, "slot:take_back", (enum ending)how);
        full_ring(c, "ring:full", (enum ending)how);
        without_worker(c, (enum ending)how);
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
    CHECK_INT(c->r, holes, 0);
    CHECK_INT(c->r, twice, 0);
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
            CHECK_INT(r, info.used_units, 0);
        }
    }
    CHECK(r, found, "the units were looked at");
    /* Nobody lied here: what an honest death leaves is no damage, and costs nobody a window. */
    const struct weir_shm_limit_stats *stats =
        rig_board(c->look, WEIR_SECTION_LIMIT, sizeof *stats);
    for (uint32_t i = 0; i < w->view.tables.limit_cnt; i++) {
        bool torn = w->view.tables.limit[i].provider == 2;
        rig_check(r, torn == (stats[i].damaged > 0), __FILE__, __LINE__, "%s: damaged %llu times",
                  w->view.tables.limit[i].name, (unsigned long long)stats[i].damaged);
    }
    CHECK_INT(r, rig_board_worker(c->look)->ring_repaired, 0);
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
    c->rounds = 1;
    if (*argc > 3 && strcmp(argv[*argc - 1], "--long") == 0) {
        c->rounds = 10;
        *argc -= 1;
    } else if (*argc > 4 && strcmp(argv[*argc - 2], "--only") == 0) {
        c->rounds = 30;
        c->only = argv[*argc - 1];
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
    c.r = &r;
    char path[96];
    arguments(&c, &argc, argv);
    rig_open(&r, "weave", argc, argv, c.rounds > 1 ? 3600 : 580);
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
    stop(&c);
    if (c.only == NULL && r.failures == 0) {
        unreached(&c);
    }
    nothing_left(&c);
    audited_once(&c);
    rig_orders_check(&r, true);
    CHECK_INT(&r, rig_report(&r, "violations"), 0);
    CHECK(&r, work_at(&r, WORK_DONE) > 100, "the neighbour's calls were made");
    weir_close(c.look);
    CHECK_INT(&r, rig_weird_stop(&r, 15000), 0);
    return rig_close(&r);
}
