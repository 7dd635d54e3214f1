/*
 * Every kind of limit against weir-sim, which counts by the exchanges' published rules and shares no code with weir: violations 0 whatever is killed, stopped,
 * late or wrong about the time, and the share of the quota that was used, as a table.
 *
 *   process_kinds SIM WEIRD [SEED] [--long]
 *
 * One run takes all kinds at once, each on a route of its own. Half of the strategies take permits and make their calls themselves, half hand them over; all
 * want more than there is, all the time. First nothing is disturbed ("calm"), and the shares are judged. Then strategies and the worker are killed, strategies
 * are stopped for 300 ms, and permits are given back unused, at random ("chaos"), and the shares are only printed: what a dead one had taken is lost until its
 * window ends. Violations count from the first call to the last. By default one run of 8 strategies, and one across midnight of a time zone; --long is the
 * matrix of 2, 8 and 32 strategies, three networks and clocks.
 *
 * The mean of the windows or spans is judged. Where the machine was busy with others it may fall short: then the run is made again, and of the third one the
 * best window or span is judged. A violation fails at once, unless a call was under way for longer than max_jitter, which nobody can promise here: then the
 * run proves nothing, and is made again.
 */
#include "kinds.h"

#include "sender.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#define STRATEGIES_MAX 32U
#define ATTEMPTS       3U
#define WARM_MS        2500U
#define SAMPLE_MS      100U

static struct samples samples;

static pid_t strategy(struct rig *r, unsigned i)
{
    return rig_fork(r, i % 2 == 0 ? sender_by_permit : sender_by_call, (int)i);
}

static void plan_make(struct rig *r, const struct run *x, const char *provider)
{
    static char path[KINDS_CNT][32];
    static char name[KINDS_CNT][32];
    sender_plan = (struct sender_plan){.route_cnt = KINDS_CNT,
                                       .calls = x->calls,
                                       .give_back = 16,
                                       .overdue_ns = x->max_jitter_ms * WEIR_NS_PER_MS,
                                       .port = r->port};
    for (unsigned i = 0; i < KINDS_CNT; i++) {
        (void)snprintf(path[i], sizeof path[i], "/k/%s", kinds[i].name);
        (void)snprintf(name[i], sizeof name[i], "%s.%s", provider, kinds[i].name);
        sender_plan.route[i].path = path[i];
        sender_plan.route[i].name = name[i];
    }
}

struct chaos {
    pid_t *pid;
    unsigned strategies;
    unsigned clients, workers, stops;
    pid_t stopped;
    uint64_t go_on_ns;
    uint64_t next_ns;
};

/* Somebody dies or stops, now and then. */
static void chaos_turn(struct rig *r, struct chaos *c)
{
    if (c->stopped != 0 && rig_now_ns() >= c->go_on_ns) {
        (void)kill(c->stopped, SIGCONT);
        c->stopped = 0;
    }
    if (rig_now_ns() < c->next_ns || c->stopped != 0) {
        return;
    }
    c->next_ns = rig_now_ns() + (150 + rig_random(r, 500)) * WEIR_NS_PER_MS;
    unsigned i = rig_random(r, c->strategies);
    unsigned what = rig_random(r, 10);
    pid_t worker = rig_process(r, "weird-worker");
    if (what < 5) {
        (void)kill(c->pid[i], SIGKILL);
        CHECK_INT(r, rig_wait(c->pid[i], 5000), 128 + SIGKILL);
        c->pid[i] = strategy(r, i);
        c->clients++;
    } else if (what < 7 && worker > 0) {
        (void)kill(worker, SIGKILL);
        c->workers++;
    } else {
        (void)kill(c->pid[i], SIGSTOP);
        c->stopped = c->pid[i];
        c->go_on_ns = rig_now_ns() + 300 * WEIR_NS_PER_MS;
        c->stops++;
    }
}

/* Sample for so long, with or without chaos. */
static void phase(struct rig *r, unsigned ms, struct chaos *c)
{
    uint64_t end_ns = rig_now_ns() + ms * WEIR_NS_PER_MS;
    while (rig_now_ns() < end_ns) {
        CHECK(r, kinds_sample(r, &samples), "the simulator answers");
        rig_sleep_ms(c == NULL ? SAMPLE_MS : SAMPLE_MS / 2);
        if (c != NULL) {
            chaos_turn(r, c);
        }
    }
    if (c != NULL && c->stopped != 0) {
        (void)kill(c->stopped, SIGCONT);
        c->stopped = 0;
    }
}

/* One line per kind. True: every share is as wanted, by the mean, or by the best window or span where that is what counts. */
static bool table(struct rig *r, const struct run *x, const json_t *report, double calm_s,
                  double chaos_s, double end_s, bool last)
{
    bool good = true;
    (void)printf("%-7s %-38s %9s %10s %6s | %6s %6s %6s | %6s %6s\n", "limit", "kind", "granted",
                 "violations", "quota", "calm", "best", "wanted", "chaos", "best");
    for (unsigned i = 0; i < KINDS_CNT; i++) {
        const struct kind *k = &kinds[i];
        const json_t *row = kinds_limit_row(report, k->name);
        double granted = json_number_value(json_object_get(row, "granted"));
        struct share calm = kinds_share(k, x, &samples, report, calm_s, chaos_s);
        struct share chaos = kinds_share(k, x, &samples, report, chaos_s, end_s);
        double wanted = kinds_share_min(k, x);
        (void)printf("%-7s %-38s %9.0f %10.0f %6.0f | %6.3f %6.3f %6.3f | %6.3f %6.3f\n", k->name,
                     k->judges, granted, json_number_value(json_object_get(row, "violations")),
                     json_number_value(json_object_get(row, "quota")), calm.mean, calm.best, wanted,
                     chaos.mean, chaos.best);
        good = good && calm.mean >= wanted;
        if (last) {
            rig_check(r, calm.best >= wanted && granted > 0, __FILE__, __LINE__,
                      "%s: share %.3f in the best of its windows, wanted %.3f", k->name, calm.best,
                      wanted);
        }
    }
    return good;
}

/* Count and judge. False: this run proves nothing, make it again. */
static bool verdict(struct rig *r, const struct run *x, const struct chaos *c, double calm_s,
                    double chaos_s, double end_s, bool last)
{
    json_t *report = rig_json(r, "/sim/report");
    bool overdue = r->shared->count[SENDER_OVERDUE] > 0;
    long long violations = json_integer_value(json_object_get(report, "violations"));
    (void)printf("%u clients and %u workers killed, %u stopped\n", c->clients, c->workers,
                 c->stops);
    sender_print(r);
    bool used = table(r, x, report, calm_s, chaos_s, end_s, last);
    json_decref(report);
    if (violations > 0 && overdue && !last) {
        (void)printf("no judgement: calls were under way for longer than max_jitter\n");
        return false;
    }
    PROMISE_INT(r, violations, 0);
    CHECK_INT(r, r->shared->count[SENDER_REFUSED], 0);
    CHECK(r, r->shared->count[SENDER_GOOD] > 50 && r->shared->count[SENDER_CALLED] > 50,
          "both kinds of strategies took part");
    if (!used && !last) {
        (void)printf("again: too little was used: is the machine busy?\n");
    }
    return used;
}

static bool attempt(struct rig *r, const struct run *x, bool last)
{
    static unsigned runs;
    char provider[16];
    pid_t pid[STRATEGIES_MAX];
    struct chaos chaos = {.pid = pid, .strategies = x->strategies};
    (void)snprintf(provider, sizeof provider, "sim%u", ++runs);
    (void)printf(
        "\n%u strategies, clock %+d ms %+d ppm, each way 0..%u ms, max_jitter %u ms, fixed "
        "window %u ms, seed %u\n",
        x->strategies, x->offset_ms, x->drift_ppm, x->way_ms, x->max_jitter_ms, x->fixed_ms,
        r->seed);
    memset(r->shared, 0, sizeof *r->shared);
    samples.cnt = 0;
    r->port = 0;
    kinds_sim_start(r, x);
    kinds_configure(r, x, provider);
    plan_make(r, x, provider);
    rig_weird_start(r);
    for (unsigned i = 0; i < x->strategies; i++) {
        pid[i] = strategy(r, i);
    }
    phase(r, WARM_MS + 2 * x->max_jitter_ms, NULL);
    double calm_s = (double)rig_now_ns() / 1e9;
    phase(r, x->calm_ms, NULL);
    double chaos_s = (double)rig_now_ns() / 1e9;
    weir_store_release_u32(&r->shared->count[SENDER_TROUBLE], 1);
    phase(r, x->chaos_ms, &chaos);
    double end_s = (double)rig_now_ns() / 1e9;
    weir_store_release_u32(&r->shared->stop, 1);
    for (unsigned i = 0; i < x->strategies; i++) {
        CHECK_INT(r, rig_wait(pid[i], 10000), 0);
    }
    bool proves = verdict(r, x, &chaos, calm_s, chaos_s, end_s, last);
    CHECK_INT(r, rig_weird_stop(r, 15000), 0);
    rig_sim_stop(r);
    return proves;
}

static void run(struct rig *r, const struct run *x)
{
    for (unsigned i = 0; i < ATTEMPTS && !attempt(r, x, i + 1 == ATTEMPTS); i++) {
    }
}

static void calendar_verdict(struct rig *r, unsigned quota)
{
    json_t *report = rig_json(r, "/sim/report");
    const json_t *windows = json_object_get(kinds_limit_row(report, "day"), "windows");
    double used[2] = {0, 0};
    for (size_t i = 0; i < 2; i++) {
        used[i] = json_number_value(json_object_get(json_array_get(windows, i), "used")) / quota;
    }
    sender_print(r);
    (void)printf("share of the day that ends %.3f, of the one that begins %.3f\n", used[0],
                 used[1]);
    CHECK_INT(r, json_array_size(windows), 2);
    PROMISE_INT(r, json_integer_value(json_object_get(report, "violations")), 0);
    /* Each of at most a dozen kills may take a permit with it that was not used. */
    CHECK(r, used[1] >= 0.93, "the new day is used");
    json_decref(report);
}

/* A calendar's window across its edge, with kills on both sides of it. */
static void calendar(struct rig *r)
{
    const unsigned before_ms = 6000;
    const unsigned quota = 300;
    pid_t pid[4];
    struct chaos chaos = {.pid = pid, .strategies = 4};
    memset(r->shared, 0, sizeof *r->shared);
    samples.cnt = 0;
    kinds_calendar_start(r, quota, before_ms);
    sender_plan = (struct sender_plan){.route_cnt = 1,
                                       .route = {{.name = "calendar.day", .path = "/k/day"}},
                                       .calls = 16,
                                       .overdue_ns = 80 * WEIR_NS_PER_MS,
                                       .port = r->port};
    rig_weird_start(r);
    for (unsigned i = 0; i < 4; i++) {
        pid[i] = strategy(r, i);
    }
    phase(r, before_ms + 3000, &chaos);
    weir_store_release_u32(&r->shared->stop, 1);
    for (unsigned i = 0; i < 4; i++) {
        CHECK_INT(r, rig_wait(pid[i], 10000), 0);
    }
    calendar_verdict(r, quota);
    CHECK_INT(r, rig_weird_stop(r, 15000), 0);
    rig_sim_stop(r);
}

/* 2, 8 and 32 strategies; a near exchange, a far one that is ahead and gains, a far one that is behind and loses. */
static void matrix(struct rig *r)
{
    static const unsigned strategies[] = {2, 8, 32};
    static const unsigned calls[] = {40, 16, 4};
    static const struct run net[] = {
        {.way_ms = 10, .max_jitter_ms = 120, .fixed_ms = 6000, .calm_ms = 14000},
        {.offset_ms = 500,
         .drift_ppm = 200,
         .way_ms = 200,
         .max_jitter_ms = 600,
         .fixed_ms = 30000,
         .calm_ms = 62000},
        {.offset_ms = -500,
         .drift_ppm = -200,
         .way_ms = 100,
         .max_jitter_ms = 300,
         .fixed_ms = 15000,
         .calm_ms = 32000},
    };
    for (unsigned n = 0; n < sizeof net / sizeof net[0]; n++) {
        for (unsigned i = 0; i < sizeof strategies / sizeof strategies[0]; i++) {
            struct run x = net[n];
            x.strategies = strategies[i];
            x.calls = calls[i];
            x.chaos_ms = 20000;
            run(r, &x);
        }
    }
}

int main(int argc, char **argv)
{
    struct rig r;
    bool everything = argc > 3 && strcmp(argv[argc - 1], "--long") == 0;
    rig_open(&r, "kinds", everything ? argc - 1 : argc, argv, everything ? 3600 : 170);
    if (everything) {
        matrix(&r);
    } else {
        const struct run x = {.strategies = 8,
                              .calls = 8,
                              .offset_ms = rig_random(&r, 2) == 0 ? 500 : -500,
                              .drift_ppm = 200,
                              .way_ms = 15,
                              .max_jitter_ms = 120,
                              .fixed_ms = 6000,
                              .calm_ms = 13000,
                              .chaos_ms = 10000};
        run(&r, &x);
    }
    calendar(&r);
    return rig_close(&r);
}
