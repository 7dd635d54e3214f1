/*
 * reopen_torture.c: many threads at one reopening word at once.
 *
 * Each round is one pause that has just ended: all threads ask at the same instant, and go on asking; one of them is the probe, answers, and one place of the
 * first step is left. Then the next pause. In every third round the probe is given back instead, in every fourth told to stop.
 *
 * Oracle: in each round exactly one probe (one more where one was given back), and after an answer exactly one more permit; the bucket holds exactly what
 * was granted.
 *
 * reopen_torture [--seconds N]
 */
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "fixture.h"

#define THREADS  6U
#define TRIES    40U
#define PATIENCE 20000000U /* a round that never ends is wrong too */
#define TICK     (UINT64_C(1) << WEIR_PAUSE_TICK_BITS)
#define QUOTA    100000U

static struct fixture f;
static pthread_barrier_t barrier;
static uint64_t now_ns = UINT64_C(5000) << 30;
static uint64_t round_nr;
static bool over;
static uint32_t probes, places, given, told; /* of this round */

static void add(uint32_t *count)
{
    (void)weir_fetch_add_u32(count, 1);
}

static void outcome(struct weir_permit_view *view, struct weir_permit *p)
{
    if ((p->pause_generation & WEIR_HOLD_PROBE) == 0) {
        add(&places);
    } else if (round_nr % 3 == 0 &&
               weir_load_acquire_u32(&given) == 0) { /* no partner: one prober at a time */
        add(&given);
        add(&probes);
        if (weir_permit_give(view, p) != WEIR_OK) {
            abort();
        }
    } else if (round_nr % 4 == 0) {
        add(&probes);
        add(&told);
        if (weir_hold_throttled(view, 0, p, now_ns + 1000 * TICK, WEIR_PAUSE_THROTTLED) !=
            WEIR_PAUSE_BEGUN) {
            abort();
        }
    } else {
        add(&probes);
        weir_hold_answered(view, 0, p);
    }
}

static bool is_complete(void)
{
    return weir_load_acquire_u32(&told) + weir_load_acquire_u32(&places) > 0; /* no partner */
}

static void *thread_run(void *arg)
{
    struct weir_permit_view view;
    (void)arg;
    for (;;) {
        (void)pthread_barrier_wait(&barrier); /* the round stands */
        if (over) {
            return NULL;
        }
        fixture_view(&f, &view, now_ns);
        /* Until the round has had all that it may have, and some tries more. */
        for (unsigned i = 0, patience = 0; i < TRIES && patience < PATIENCE; patience++) {
            struct weir_permit p;
            if (weir_permit_take(&view, 0, 0, NULL, 0, &p) == WEIR_OK) {
                outcome(&view, &p);
            }
            if (is_complete()) {
                i++;
            } else if (patience > TRIES) {
                (void)sched_yield();
            }
        }
        (void)pthread_barrier_wait(&barrier); /* all are done with it */
    }
}

static void round_begin(void)
{
    round_nr++;
    now_ns += 4000 * TICK;
    probes = places = given = told = 0;
    uint32_t generation = weir_pause_generation(f.memory->pause.word);
    f.memory->pause.word = weir_pause_make(now_ns - TICK, WEIR_PAUSE_THROTTLED, generation);
    f.memory->word[0].word[0] = 0;
}

static void round_check(void)
{
    uint32_t probes_wanted = 1 + given;
    uint32_t places_wanted = told > 0 ? 0 : 1;
    if (probes != probes_wanted || places != places_wanted) {
        printf("VIOLATED in round %llu: %u probes (wanted %u), %u places (wanted %u)\n",
               (unsigned long long)round_nr, probes, probes_wanted, places, places_wanted);
        exit(1);
    }
    uint64_t unit_ns = weir_bucket_unit_ns(WEIR_NS_PER_S, QUOTA);
    uint64_t charged = (f.memory->word[0].word[0] - now_ns) / unit_ns;
    if (charged != probes + places - given) {
        printf("VIOLATED in round %llu: %llu units are charged for %u permits\n",
               (unsigned long long)round_nr, (unsigned long long)charged, probes + places - given);
        exit(1);
    }
}

int main(int argc, char **argv)
{
    unsigned long seconds =
        argc == 3 && strcmp(argv[1], "--seconds") == 0 ? strtoul(argv[2], NULL, 10) : 2;
    static const struct fixture_spec spec = {
        .slack_ns = WEIR_NS_PER_MS,
        .reopen_lease_ns = 1000 * TICK,
        .reopen_step_ns = 1000 * TICK,
        .limit_cnt = 1,
        .route_cnt = 1,
        .limit = {{.kind = WEIR_LIMIT_TOKEN_BUCKET, .quota = QUOTA, .window_ns = WEIR_NS_PER_S}},
        .route = {{.limit_cnt = 1, .limit = {0}, .cost = {1}}}};
    pthread_t thread[THREADS];
    printf("no seed: the schedule is the machine's; oracle: counts of each round\n");
    fixture_open(&f, &spec);
    if (pthread_barrier_init(&barrier, NULL, THREADS + 1) != 0) {
        return 99;
    }
    for (unsigned i = 0; i < THREADS; i++) {
        if (pthread_create(&thread[i], NULL, thread_run, NULL) != 0) {
            return 99;
        }
    }
    for (time_t end = time(NULL) + (time_t)seconds; time(NULL) < end;) {
        round_begin();
        (void)pthread_barrier_wait(&barrier);
        (void)pthread_barrier_wait(&barrier);
        round_check();
    }
    over = true;
    (void)pthread_barrier_wait(&barrier);
    for (unsigned i = 0; i < THREADS; i++) {
        (void)pthread_join(thread[i], NULL);
    }
    printf("%llu rounds of %u threads, 0 violations\n", (unsigned long long)round_nr, THREADS);
    fixture_close(&f);
    return 0;
}
