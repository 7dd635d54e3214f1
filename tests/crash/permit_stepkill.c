/*
 * permit_stepkill.c: a trader dies at every single instruction of a permit, and of giving it back.
 *
 * A child stops itself just before it takes a permit from three limits, two of them with a straddle; the parent steps it by ptrace until it is over and
 * looks behind each instruction; at some it kills in truth (stepper.h). A second child does the same with weir_permit_give.
 *
 * Oracle, after each death, for each limit:
 *   - the words are legal: the audit finds them sound;
 *   - what is charged is between what the child was granted and one permit: nothing is lost, at most one permit leaks;
 *   - another trader gets exactly what is left, at once, and then a refusal that names a limit; gives all back, and the words
 *     are as the dead one left them.
 *
 * permit_stepkill [--step N]      1 = every instruction (default)
 */
#include "stepper.h"

#include "fixture.h"

#define KILL_STEP 13U /* killed in truth at each so manyth */
#define NOW \
    (UINT64_C(1020) * WEIR_NS_PER_S - WEIR_NS_PER_MS) /* 1 ms before a second and a minute end */
#define QUOTA  12U
#define LIMITS 3U
#define SHOTS  4U

static const uint32_t cost[LIMITS] = {2, 3, 1};

static const struct fixture_spec spec = {
    .jitter_ns = 5 * WEIR_NS_PER_MS,
    .slack_ns = WEIR_NS_PER_MS,
    .limit_cnt = LIMITS,
    .route_cnt = 1,
    .limit = {{.kind = WEIR_LIMIT_FIXED_WINDOW, .quota = QUOTA, .window_ns = WEIR_NS_PER_S},
              {.kind = WEIR_LIMIT_TOKEN_BUCKET, .quota = QUOTA + 1, .window_ns = WEIR_NS_PER_S},
              {.kind = WEIR_LIMIT_FIXED_WINDOW, .quota = QUOTA, .window_ns = 60 * WEIR_NS_PER_S}},
    .route = {{.limit_cnt = LIMITS, .limit = {0, 1, 2}, .cost = {2, 3, 1}}},
};

static struct fixture f;
static struct shared {
    struct weir_permit permit;
    volatile int32_t answer; /* of the victim's call; -1: it did not end */
} * shared;
static uint32_t leaked;
static uint64_t checks;

static void violated(const char *what, uint32_t k)
{
    printf("VIOLATED at k=%u: %s\n", k, what);
    exit(1);
}

/* Units that limit `l` holds; word 1 is the second half of a straddle. */
static uint64_t charged(uint32_t l, uint32_t word)
{
    uint64_t w = f.memory->word[l].word[word];
    if (spec.limit[l].kind == WEIR_LIMIT_FIXED_WINDOW) {
        return (uint32_t)w;
    }
    uint64_t unit_ns = weir_bucket_unit_ns(spec.limit[l].window_ns, spec.limit[l].quota);
    return w > NOW ? (w - NOW) / unit_ns : 0;
}

static bool giving; /* what the victim does */

static void victim(void)
{
    static struct weir_permit_view view;
    fixture_view(&f, &view, NOW);
    stepper_ready();
    shared->answer = giving ? weir_permit_give(&view, &shared->permit)
                            : weir_permit_take(&view, 0, 0, NULL, 0, &shared->permit);
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

/* Others take what is left, exactly, and can give it all back. */
static void expect_others_proceed(uint32_t k)
{
    struct weir_permit_view view;
    struct weir_permit permit[QUOTA];
    uint64_t room = UINT64_MAX;
    uint64_t before[LIMITS];
    fixture_view(&f, &view, NOW);
    for (uint32_t l = 0; l < LIMITS; l++) {
        before[l] = charged(l, 0) << 32 | charged(l, 1);
        uint64_t used = weir_max_u64(charged(l, 0), charged(l, 1));
        room = weir_min_u64(room, (QUOTA - used) / cost[l]);
    }
    for (uint32_t i = 0; i < room; i++) {
        if (weir_permit_take(&view, 0, 0, NULL, 0, &permit[i]) != WEIR_OK) {
            violated("another trader is refused where there is room", k);
        }
    }
    struct weir_permit over;
    if (weir_permit_take(&view, 0, 0, NULL, 0, &over) != WEIR_DENIED ||
        over.denial.reason != WEIR_REASON_LIMIT_FULL) {
        violated("more than the limit was granted", k);
    }
    for (uint32_t i = 0; i < room; i++) {
        if (weir_permit_give(&view, &permit[i]) != WEIR_OK) {
            violated("a permit cannot be given back", k);
        }
    }
    for (uint32_t l = 0; l < LIMITS; l++) {
        if (before[l] != (charged(l, 0) << 32 | charged(l, 1))) {
            violated("giving back did not restore a word", k);
        }
    }
    checks++;
}

/* The memory before a take, or before giving back what was taken. */
static void prepare(void)
{
    memset(f.memory->word, 0, sizeof f.memory->word);
    memset(&shared->permit, 0, sizeof shared->permit);
    if (giving) {
        static struct weir_permit_view view;
        fixture_view(&f, &view, NOW);
        if (weir_permit_take(&view, 0, 0, NULL, 0, &shared->permit) != WEIR_OK) {
            stepper_broken("take");
        }
    }
    shared->answer = -1;
}

/* It stands, or died, behind instruction `k`. Returns whether the call was over. */
static bool verify(uint32_t k)
{
    bool over = shared->answer != -1;
    bool must = !giving && shared->permit.state == WEIR_PERMIT_GRANTED;
    bool any = false;
    if (over && shared->answer != WEIR_OK) {
        violated("the call's answer is wrong", k);
    }
    expect_sound(k);
    for (uint32_t l = 0; l < LIMITS; l++) {
        for (uint32_t w = 0; w < 2; w++) {
            bool used = w == 0 || spec.limit[l].kind == WEIR_LIMIT_FIXED_WINDOW;
            uint64_t c = used ? charged(l, w) : cost[l];
            if (c != cost[l] && c != 0) {
                violated("a limit holds a part of a charge", k);
            }
            if (c == 0 && must) {
                violated("granted, and not charged", k);
            }
            if (giving && over && used && c != 0) {
                violated("given back, and still charged", k);
            }
            any |= used && c != 0;
        }
    }
    leaked += any && !must;
    expect_others_proceed(k);
    return over;
}

/* It stands at each instruction of a take or of giving back, and dies at some. */
static void kill_everywhere(bool give, uint32_t step)
{
    giving = give;
    leaked = 0;
    prepare();
    uint32_t cnt = stepper_walk(victim, step, verify, f.memory, sizeof *f.memory);
    printf("stands at every %u of %u instructions of a %s: charge left without an owner at %u\n",
           step, cnt, give ? "give" : "take", leaked);
    for (uint32_t k = 0; k < cnt; k += KILL_STEP * step) {
        prepare();
        stepper_kill(stepper_start(victim), k);
        (void)verify(k);
    }
}

int main(int argc, char **argv)
{
    uint32_t step =
        argc == 3 && strcmp(argv[1], "--step") == 0 ? (uint32_t)strtoul(argv[2], NULL, 10) : 1;
    if (step == 0) {
        fprintf(stderr, "permit_stepkill: --step=0: give 1 or more\n");
        return 1;
    }
    fixture_open(&f, &spec);
    shared = (void *)(f.memory->tables + sizeof f.memory->tables - sizeof(struct shared));
    printf("no seed: instructions are visited in order, every %u\n", step);
    kill_everywhere(false, step);
    kill_everywhere(true, step);
    printf("%llu instants verified, 0 violations\n", (unsigned long long)checks);
    fixture_close(&f);
    return 0;
}
