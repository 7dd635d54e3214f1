/*
 * express_stepkill.c: a trader dies at every single instruction of a permit that goes the short way (shm/weir_express.h).
 *
 * The child has learnt the call, as a trader has after its first permit, and stops itself before the next one; the parent steps it by ptrace until it is over and looks
 * behind each instruction; at some it kills in truth (stepper.h). One route for each way: a bucket, a window, two, three and four limits, and two windows. Once with
 * words that nobody has used, which have to be asked in full, and once with words of the current windows, whose short question says yes.
 * With a rival: while the child stands behind instruction j, somebody else takes one permit, or takes all that is left, or the broker publishes its clock anew; then the
 * child goes on, and is looked at behind each instruction. So it also dies where it judges a word again (express:again), behind a lost CAS (express:lost), and while it
 * takes back what it had charged (permit:rolled_back_one).
 *
 * Oracle, after each death, for each limit:
 *   - the words are legal, and hold what the rival was granted plus the child's charge or nothing of it; all of it once it was granted;
 *   - another trader gets exactly what is left, at once, and then a refusal that names a limit; gives all back, and the words are as before.
 *
 * express_stepkill [--step N | --long | --part=K/N]      N: a rival at each Nth instruction (97); the walk itself visits every one. --long: every pair; --part: the Kth of N parts
 *                                                        of all pairs
 */
#include "stepper.h"

#include "fixture.h"
#include "weir_express.h"

#define KILL_STEP   13U /* killed in truth at each so manyth */
#define RIVAL_STEP  97U
#define NOW         (UINT64_C(1020) * WEIR_NS_PER_S + WEIR_NS_PER_S / 2) /* no window is about to end */
#define QUOTA       12U
#define LIMITS      4U
#define ROUTES      6U
#define PERMITS_MAX (QUOTA + 1)

enum rival { NOBODY, TAKES_ONE, TAKES_ALL, MOVES_CLOCK, RIVAL_CNT };

static const char *const rival_names[RIVAL_CNT] = {"alone", "another takes one",
                                                   "another takes all", "the clock is told anew"};

static const struct fixture_spec spec = {
    .jitter_ns = 5 * WEIR_NS_PER_MS,
    .slack_ns = WEIR_NS_PER_MS,
    .limit_cnt = LIMITS,
    .route_cnt = ROUTES,
    .limit = {{.kind = WEIR_LIMIT_FIXED_WINDOW, .quota = QUOTA, .window_ns = WEIR_NS_PER_S},
              {.kind = WEIR_LIMIT_TOKEN_BUCKET, .quota = QUOTA + 1, .window_ns = WEIR_NS_PER_S},
              {.kind = WEIR_LIMIT_FIXED_WINDOW, .quota = QUOTA, .window_ns = 60 * WEIR_NS_PER_S},
              {.kind = WEIR_LIMIT_TOKEN_BUCKET, .quota = QUOTA + 1, .window_ns = WEIR_NS_PER_S}},
    .route = {{1, {1}, {2}},
              {1, {0}, {3}},
              {2, {0, 1}, {2, 1}},
              {3, {2, 0, 1}, {1, 2, 3}},
              {4, {0, 1, 2, 3}, {2, 3, 1, 2}},
              {2, {2, 0}, {1, 2}}},
};

static struct fixture f;
static struct shared {
    struct weir_permit permit;
    volatile int32_t answer; /* of the victim's call; -1: it did not end */
    volatile int32_t is_short;
} * shared;
static uint32_t route;
static bool giving;
static bool begun; /* the windows bear their number already: who asks in short gets a yes */
static enum rival rival;
static uint32_t rivals_cost[LIMITS]; /* what the rival holds */
static uint32_t leaked;
static uint64_t checks;

static void violated(const char *what, uint32_t k)
{
    printf("VIOLATED at k=%u of route %u, %s: %s\n", k, route, rival_names[rival], what);
    exit(1);
}

/* Units of limit `l` that are taken. */
static uint32_t charged(uint32_t l)
{
    const uint64_t *w = f.memory->word[l].word;
    if (spec.limit[l].kind == WEIR_LIMIT_FIXED_WINDOW) {
        return (uint32_t)w[0] + (uint32_t)w[1];
    }
    uint64_t unit_ns = weir_bucket_unit_ns(spec.limit[l].window_ns, spec.limit[l].quota);
    return w[0] > NOW ? (uint32_t)((w[0] - NOW) / unit_ns) : 0;
}

static uint32_t cost_of(uint32_t l)
{
    for (uint32_t i = 0; i < spec.route[route].limit_cnt; i++) {
        if (spec.route[route].limit[i] == l) {
            return spec.route[route].cost[i];
        }
    }
    return 0;
}

/* It has gone this way before: the second permit of a thread finds what the first one learnt. */
static void learn(struct weir_permit_view *view)
{
    struct weir_shm_limit_word saved[FIXTURE_WORDS];
    struct weir_permit p;
    fixture_view(&f, view, NOW);
    memcpy(saved, f.memory->word, sizeof saved);
    memset(f.memory->word, 0, sizeof saved);
    int rc = weir_permit_take(view, route, 0, NULL, 0, &p);
    memcpy(f.memory->word, saved, sizeof saved);
    const struct weir_express *e = &view->express[weir_express_slot(route, 0, 0)];
    shared->is_short = rc == WEIR_OK && weir_express_keeps(e, f.memory->gate.tables, route, 0, 0) &&
                       NOW - e->from_ns < e->length_ns;
}

static void victim(void)
{
    static struct weir_permit_view view;
    learn(&view);
    stepper_ready();
    shared->answer = giving ? weir_permit_give(&view, &shared->permit)
                            : weir_permit_take(&view, route, 0, NULL, 0, &shared->permit);
}

static void expect_sound(uint32_t k)
{
    struct weir_permit_view view;
    fixture_view(&f, &view, NOW);
    struct weir_server_clock clock = {.state = WEIR_CLOCK_KNOWN, .jitter_ns = spec.jitter_ns};
    for (uint32_t l = 0; l < LIMITS; l++) {
        const struct weir_limit_place at = fixture_place(&f, &view, l, false);
        const struct weir_limit_place own = fixture_place(&f, &view, l, true);
        if (weir_limit_audit(&at, &own, &clock, &view.time) != WEIR_LIMIT_SOUND) {
            violated("a word is damaged", k);
        }
    }
}

/* As many permits as there are, then a refusal. Returns how many. */
static uint32_t take_all(struct weir_permit_view *view, struct weir_permit permit[PERMITS_MAX],
                         uint32_t k)
{
    uint32_t cnt = 0;
    struct weir_permit p;
    int rc;
    while ((rc = weir_permit_take(view, route, 0, NULL, 0, &p)) == WEIR_OK) {
        if (cnt == PERMITS_MAX) {
            violated("more than the limit was granted", k);
        }
        permit[cnt++] = p;
    }
    if (rc != WEIR_DENIED || p.denial.reason != WEIR_REASON_LIMIT_FULL) {
        violated("a refusal that names no limit", k);
    }
    return cnt;
}

/* Others take what is left, exactly, and can give it all back. */
static void expect_others_proceed(uint32_t k)
{
    static struct weir_permit_view view;
    struct weir_permit permit[PERMITS_MAX];
    uint32_t before[LIMITS];
    uint32_t room = UINT32_MAX;
    fixture_view(&f, &view, NOW);
    for (uint32_t l = 0; l < LIMITS; l++) {
        before[l] = charged(l);
        if (cost_of(l) != 0) {
            uint32_t left = (QUOTA - before[l]) / cost_of(l);
            room = left < room ? left : room;
        }
    }
    if (take_all(&view, permit, k) != room) {
        violated("another trader does not get what is left", k);
    }
    for (uint32_t i = 0; i < room; i++) {
        if (weir_permit_give(&view, &permit[i]) != WEIR_OK) {
            violated("a permit cannot be given back", k);
        }
    }
    for (uint32_t l = 0; l < LIMITS; l++) {
        if (before[l] != charged(l)) {
            violated("giving back did not restore a word", k);
        }
    }
    checks++;
}

/* It stands, or died, behind instruction `k`. Returns whether the call was over. */
static bool verify(uint32_t k)
{
    bool over = shared->answer != -1;
    bool granted = !giving && shared->permit.state == WEIR_PERMIT_GRANTED;
    bool refused = !giving && over && shared->answer == WEIR_DENIED && rival == TAKES_ALL;
    bool any = false;
    if (over && shared->answer != WEIR_OK && !refused) {
        violated("the call's answer is wrong", k);
    }
    expect_sound(k);
    for (uint32_t l = 0; l < LIMITS; l++) {
        uint32_t has = charged(l);
        if (has != rivals_cost[l] && has != rivals_cost[l] + cost_of(l)) {
            violated("a limit holds a part of a charge", k);
        }
        bool whole = cost_of(l) == 0 || has != rivals_cost[l];
        if (granted && !whole) {
            violated("granted, and not charged", k);
        }
        if (((giving && over) || refused) && has != rivals_cost[l]) {
            violated("given back or refused, and still charged", k);
        }
        any |= has != rivals_cost[l];
    }
    leaked += any && !granted && !giving;
    expect_others_proceed(k);
    return over;
}

/* The memory before a take, or before giving back what was taken. */
static void prepare(void)
{
    memset(f.memory->word, 0, sizeof f.memory->word);
    memset(&shared->permit, 0, sizeof shared->permit);
    memset(rivals_cost, 0, sizeof rivals_cost);
    static struct weir_permit_view view;
    fixture_view(&f, &view, NOW);
    if (begun) {
        struct weir_permit p;
        if (weir_permit_take(&view, route, 0, NULL, 0, &p) != WEIR_OK) {
            stepper_broken("take");
        }
        for (uint32_t l = 0; l < LIMITS; l++) {
            bool windows = spec.limit[l].kind == WEIR_LIMIT_FIXED_WINDOW;
            f.memory->word[l].word[0] &= windows ? ~(uint64_t)UINT32_MAX : 0;
            f.memory->word[l].word[1] &= windows ? ~(uint64_t)UINT32_MAX : 0;
        }
    }
    if (giving) {
        if (weir_permit_take(&view, route, 0, NULL, 0, &shared->permit) != WEIR_OK) {
            stepper_broken("take");
        }
    }
    shared->answer = -1;
}

/* What happens while the child stands there. */
static void rival_acts(uint32_t k)
{
    static struct weir_permit_view view;
    struct weir_permit permit[PERMITS_MAX];
    uint32_t cnt = 0;
    fixture_view(&f, &view, NOW);
    if (rival == MOVES_CLOCK) {
        fixture_server_clock(&f, &(struct weir_server_clock){.state = WEIR_CLOCK_KNOWN,
                                                             .jitter_ns = spec.jitter_ns});
    } else if (rival == TAKES_ALL) {
        cnt = take_all(&view, permit, k);
    } else {
        cnt = weir_permit_take(&view, route, 0, NULL, 0, &permit[0]) == WEIR_OK;
    }
    for (uint32_t l = 0; l < LIMITS; l++) {
        rivals_cost[l] = cnt * cost_of(l);
    }
}

static uint32_t alone(void)
{
    rival = NOBODY;
    leaked = 0;
    prepare();
    uint32_t cnt = stepper_walk(victim, 1, verify, f.memory, sizeof *f.memory);
    if (shared->is_short == 0) {
        printf("FAILED: route %u does not go the short way\n", route);
        exit(1);
    }
    printf("route %u%s: stands at each of %u instructions of a %s: charge left without an owner at "
           "%u\n",
           route, begun ? ", begun" : "", cnt, giving ? "give" : "take", leaked);
    for (uint32_t k = 0; k < cnt; k += KILL_STEP) {
        prepare();
        stepper_kill(stepper_start(victim), k);
        (void)verify(k);
    }
    return cnt;
}

static void with_rival(uint32_t cnt, uint32_t first, uint32_t step)
{
    uint32_t longest = 0;
    leaked = 0;
    for (uint32_t j = first; j < cnt; j += step) {
        prepare();
        pid_t pid = stepper_start(victim);
        if (!stepper_step(pid, j)) {
            if (!stepper_naps()) {
                stepper_broken("the call ended early");
            }
            continue;
        }
        rival_acts(j);
        uint32_t k = stepper_walk_on(pid, j, 1, verify, f.memory, sizeof *f.memory);
        longest = k > longest ? k : longest;
    }
    printf("route %u, %s at every %u of %u instructions from %u on: up to %u instructions, charge "
           "left at %u\n",
           route, rival_names[rival], step, cnt, first, longest, leaked);
}

int main(int argc, char **argv)
{
    uint32_t step = RIVAL_STEP;
    uint32_t part = 0; /* 0: rivals begin at instructions of their own */
    if (argc == 2 && strcmp(argv[1], "--long") == 0) {
        part = 1;
        step = 1;
    } else if (argc == 2 && sscanf(argv[1], "--part=%u/%u", &part, &step) == 2) {
        if (part < 1 || part > step) {
            fprintf(stderr, "express_stepkill: %s: a part is K/N, K from 1 to N\n", argv[1]);
            return 1;
        }
    } else if (argc == 3 && strcmp(argv[1], "--step") == 0) {
        step = (uint32_t)strtoul(argv[2], NULL, 10);
    }
    if (step == 0) {
        fprintf(stderr, "express_stepkill: --step=0: give 1 or more\n");
        return 1;
    }
    fixture_open(&f, &spec);
    shared = (void *)(f.memory->tables + sizeof f.memory->tables - sizeof(struct shared));
    printf("no seed: every instruction is visited, rivals at every %u\n", step);
    for (route = 0; route < ROUTES; route++) {
        giving = true;
        begun = false;
        (void)alone();
        giving = false;
        for (int times = 0; times < 2; times++, begun = true) {
            uint32_t cnt = alone();
            for (rival = TAKES_ONE; rival < RIVAL_CNT; rival++) {
                with_rival(cnt, part > 0 ? part - 1 : (uint32_t)rival, step);
            }
        }
    }
    printf("%llu instants verified, 0 violations\n", (unsigned long long)checks);
    fixture_close(&f);
    return 0;
}
