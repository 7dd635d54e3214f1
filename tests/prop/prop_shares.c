/*
 * prop_shares: random schedules of clients that share one limit, against the rule of shm/weir_share.h worked out anew from a log of grants.
 *
 * Windows: each answer is compared with the rule, each promise is tried, and what no share may ever cost is counted: units above the quota, a
 * critical call, the last units of a window whose shares are idle. Buckets: whoever calls no faster than its part is never refused, a class with a floor
 * never waits longer than its floor's spacing, and what is idle is lent.
 *
 *   prop_shares [--seconds S] [--seed X] [--schedules N]     exit 1 with the seed of the schedule that failed
 */
#include "fixture.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define CLIENTS   4U /* three with a share by name or uid, one without */
#define EVENTS    400U
#define START     (UINT64_C(1000) * WEIR_NS_PER_S)
#define GRANT_MAX 4096U

/* What a grant took, in our own books. */
struct entry {
    uint64_t window;
    uint32_t client, priority, units;
    bool live;
};

static struct {
    uint64_t seed, random, now_ns;
    struct fixture f;
    struct weir_permit_view view[CLIENTS];
    struct entry log[GRANT_MAX];
    struct weir_permit permit[GRANT_MAX];
    uint32_t log_cnt;
    uint32_t part_ppm[CLIENTS]; /* 0: none */
    uint32_t floor_ppm[WEIR_PRIORITY_CNT];
    uint32_t quota;
    uint64_t window_ns;
} s;

void weir_weave_hook(
    const char *name); /* of weir_weave.h; nothing happens between two accesses here */

void weir_weave_hook(const char *name)
{
    (void)name;
}

static uint64_t below(uint64_t n)
{
    return fixture_random_below(&s.random, n);
}

static void fail(const char *what)
{
    fprintf(stdout,
            "prop_shares: %s: repeat with --seed %" PRIu64 " --schedules 1 (now %" PRIu64 " ns)\n",
            what, s.seed, s.now_ns - START);
    exit(1);
}

static void expect(bool ok, const char *what)
{
    if (!ok) {
        fail(what);
    }
}

static void time_set(uint64_t now_ns)
{
    s.now_ns = now_ns;
    for (uint32_t c = 0; c < CLIENTS; c++) {
        fixture_time_set(&s.view[c], now_ns);
    }
}

static void limit_make(struct fixture_limit *l, uint32_t kind)
{
    static const char *const names[CLIENTS] = {"mm", "arb", "", "other"};
    uint32_t left = 1000000;
    s.quota = 20 + (uint32_t)below(200);
    s.window_ns = (1 + below(5)) * WEIR_NS_PER_S + below(1000);
    *l = (struct fixture_limit){
        .kind = kind, .quota = s.quota, .window_ns = s.window_ns, .dearest = 1};
    memset(s.part_ppm, 0, sizeof s.part_ppm);
    memset(s.floor_ppm, 0, sizeof s.floor_ppm);
    for (uint32_t c = 0; c < 3 && below(5) != 0; c++) {
        uint32_t ppm = 100000 + (uint32_t)below(230000);
        s.part_ppm[c] = ppm;
        left -= ppm;
        l->share[l->share_cnt++] = (struct weir_shm_share_row){
            .kind = c == 2 ? WEIR_SHARE_UID : WEIR_SHARE_CLIENT, .part_ppm = ppm, .uid = 1002};
        (void)snprintf(l->share[l->share_cnt - 1].name, WEIR_NAME_BYTES, "%s", names[c]);
    }
    if (l->share_cnt == 0 || below(2) == 0) {
        uint32_t ppm = weir_min_u64(left, 50000 + (uint32_t)below(150000)) & UINT32_MAX;
        s.floor_ppm[WEIR_PRIORITY_BACKGROUND] = ppm;
        l->share[l->share_cnt++] = (struct weir_shm_share_row){
            .kind = WEIR_SHARE_CLASS, .part_ppm = ppm, .priority = WEIR_PRIORITY_BACKGROUND};
    }
    if (below(2) == 0) {
        l->headroom_ppm[0] = (uint32_t)below(150000);
        l->headroom_ppm[1 + below(2)] = (uint32_t)below(200000);
    }
}

static void schedule_open(uint32_t kind)
{
    struct fixture_spec spec = {.slack_ns = WEIR_NS_PER_MS, .limit_cnt = 1, .route_cnt = 1};
    limit_make(&spec.limit[0], kind);
    spec.route[0] = (struct fixture_route){.limit_cnt = 1, .cost = {1}};
    s.log_cnt = 0;
    fixture_open(&s.f, &spec);
    for (uint32_t c = 0; c < CLIENTS; c++) {
        static const char *const names[CLIENTS] = {"mm", "arb", "unnamed", "nobody"};
        fixture_view(&s.f, &s.view[c], START);
        fixture_self(&s.view[c], names[c], 1000 + c);
    }
    time_set(START);
}

static int ask(uint32_t client, unsigned priority, uint32_t units, bool look, struct weir_permit *p)
{
    const struct weir_cost cost = {.cnt = 1, .units = {units}};
    return (look ? weir_permit_look : weir_permit_take)(&s.view[client], 0, 0, &cost, priority, p);
}

/* ---------------------------------------------------------------------------------------------- windows */

static uint64_t logged(uint64_t window, uint32_t client, uint32_t priority)
{
    uint64_t units = 0;
    for (uint32_t i = 0; i < s.log_cnt; i++) {
        const struct entry *e = &s.log[i];
        units += e->live && e->window == window && (client == UINT32_MAX || e->client == client) &&
                         (priority == UINT32_MAX || e->priority == priority)
                     ? e->units
                     : 0;
    }
    return units;
}

static uint64_t claim(uint64_t part, uint64_t used, uint64_t left_ns)
{
    uint64_t unused = part > used ? part - used : 0;
    uint64_t due = (uint64_t)((unsigned __int128)part * left_ns / s.window_ns);
    return unused < due ? unused : due;
}

static uint64_t part(uint64_t whole, uint32_t ppm)
{
    return whole * ppm / 1000000;
}

/* The rule, from the log. */
static bool window_rule(uint32_t client, unsigned priority, uint32_t units)
{
    const struct weir_shm_limit_row *row = &s.view[0].tables.limit[0];
    uint64_t k = s.now_ns / s.window_ns;
    uint64_t left_ns = s.window_ns - s.now_ns % s.window_ns;
    uint64_t used = logged(k, UINT32_MAX, UINT32_MAX);
    uint64_t reserve[WEIR_PRIORITY_CNT];
    uint64_t floors = 0;
    for (unsigned p = 0; p < WEIR_PRIORITY_CNT; p++) {
        reserve[p] = weir_window_reserve(row, p, left_ns, s.quota);
        if (s.floor_ppm[p] > 0 && p != priority) {
            floors += claim(part(s.quota, s.floor_ppm[p]), logged(k, UINT32_MAX, p), left_ns);
        }
    }
    if (priority == WEIR_PRIORITY_CRITICAL) {
        return used + units <= s.quota;
    }
    if (s.floor_ppm[priority] > 0 &&
        logged(k, UINT32_MAX, priority) + units <= part(s.quota, s.floor_ppm[priority])) {
        return used + units + reserve[WEIR_PRIORITY_HIGH] <= s.quota;
    }
    uint64_t kept = reserve[priority];
    if (reserve[WEIR_PRIORITY_HIGH] + floors > kept) {
        kept = reserve[WEIR_PRIORITY_HIGH] + floors;
    }
    uint64_t whole = s.quota > kept ? s.quota - kept : 0;
    uint64_t claims = 0;
    for (uint32_t c = 0; c < CLIENTS; c++) {
        claims +=
            c != client ? claim(part(whole, s.part_ppm[c]), logged(k, c, UINT32_MAX), left_ns) : 0;
    }
    bool within = s.part_ppm[client] > 0 &&
                  logged(k, client, UINT32_MAX) + units <= part(whole, s.part_ppm[client]);
    return used + units + (within ? 0 : claims) <= whole;
}

static void promise_check(uint32_t client, unsigned priority, uint32_t units,
                          const struct weir_denial *d)
{
    struct weir_permit p;
    uint64_t was_ns = s.now_ns;
    expect(d->earliest_ns > was_ns, "a promise is not ahead");
    if (d->earliest_ns == UINT64_MAX) {
        return;
    }
    time_set(d->earliest_ns);
    expect(ask(client, priority, units, true, &p) == WEIR_OK, "a promise was not kept");
    uint64_t near_ns = (s.window_ns >> 18) + 2;
    if (d->earliest_ns > was_ns + near_ns) {
        time_set(d->earliest_ns - near_ns);
        expect(ask(client, priority, units, true, &p) == WEIR_DENIED, "a promise was late");
    }
    time_set(was_ns);
}

static void window_call(uint32_t client, unsigned priority, uint32_t units)
{
    struct weir_permit *p = &s.permit[s.log_cnt];
    bool rule = window_rule(client, priority, units);
    int rc = ask(client, priority, units, false, p);
    if (rc == WEIR_E_COST) {
        expect(!rule, "a cost was called too high that the rule lets pass");
        return;
    }
    expect((rc == WEIR_OK) == rule, rule ? "refused against the rule" : "granted against the rule");
    if (rc != WEIR_OK) {
        expect(priority != WEIR_PRIORITY_CRITICAL || p->denial.reason != WEIR_REASON_SHARE,
               "a critical call was refused for a share");
        if (p->denial.reason == WEIR_REASON_SHARE) {
            promise_check(client, priority, units, &p->denial);
        }
        return;
    }
    s.log[s.log_cnt++] = (struct entry){s.now_ns / s.window_ns, client, priority, units, true};
    expect(logged(s.now_ns / s.window_ns, UINT32_MAX, UINT32_MAX) <= s.quota, "above the quota");
}

/* Corrected later: given back, or counted as something else. */
static void window_settle(void)
{
    uint32_t i = (uint32_t)below(s.log_cnt);
    struct entry *e = &s.log[i];
    if (s.permit[i].state != WEIR_PERMIT_GRANTED || !e->live ||
        e->window != s.now_ns / s.window_ns) {
        return;
    }
    if (below(2) == 0) {
        expect(weir_permit_give(&s.view[e->client], &s.permit[i]) == WEIR_OK, "a give-back failed");
        e->live = false;
        return;
    }
    struct weir_cost counted = {.cnt = 1, .units = {(uint32_t)below(e->units + 1)}};
    expect(weir_permit_end(&s.view[e->client], &s.permit[i], &counted) == WEIR_OK, "an end failed");
    e->units = counted.units[0];
}

/* The last instant of a window: nothing is kept any more but headroom. */
static void window_lends(void)
{
    uint64_t end_ns = (s.now_ns / s.window_ns + 1) * s.window_ns;
    struct weir_permit p;
    uint64_t left = 0;
    time_set(end_ns - 1);
    uint64_t reserve =
        weir_window_reserve(&s.view[0].tables.limit[0], WEIR_PRIORITY_MEDIUM, 1, s.quota);
    left = logged(s.now_ns / s.window_ns, UINT32_MAX, UINT32_MAX) + reserve;
    bool room = left + 1 <= s.quota;
    expect(ask(3, WEIR_PRIORITY_MEDIUM, 1, true, &p) == (room ? WEIR_OK : WEIR_DENIED),
           "what was idle is not lent as the window ends");
}

static void window_schedule(void)
{
    schedule_open(WEIR_LIMIT_FIXED_WINDOW);
    for (uint32_t i = 0; i < EVENTS && s.log_cnt < GRANT_MAX - 1; i++) {
        time_set(s.now_ns + below(s.window_ns / 40));
        if (below(12) == 0 && s.log_cnt > 0) {
            window_settle();
        } else {
            bool critical = below(16) == 0;
            window_call((uint32_t)below(CLIENTS), critical ? 0 : 1 + (unsigned)below(4),
                        1 + (uint32_t)below(1 + s.quota / 12));
        }
    }
    window_lends();
    fixture_close(&s.f);
}

/* Whoever keeps pace is never refused within its part, by others of its class that take all they get. */
static void window_pacer(void)
{
    schedule_open(WEIR_LIMIT_FIXED_WINDOW);
    uint64_t from_ns = (START / s.window_ns + 1) * s.window_ns;
    struct weir_permit p;
    uint64_t taken = 0;
    uint64_t at_ns = from_ns;
    const unsigned class = WEIR_PRIORITY_MEDIUM;
    while (s.part_ppm[0] > 0 && at_ns < from_ns + s.window_ns) {
        time_set(at_ns);
        uint64_t whole =
            s.quota - weir_window_reserve(&s.view[0].tables.limit[0], class, s.window_ns, s.quota);
        uint64_t floors = part(s.quota, s.floor_ppm[WEIR_PRIORITY_BACKGROUND]);
        whole =
            weir_min_u64(whole, s.quota -
                                    weir_window_reserve(&s.view[0].tables.limit[0],
                                                        WEIR_PRIORITY_HIGH, s.window_ns, s.quota) -
                                    floors);
        uint64_t mine = part(whole, s.part_ppm[0]);
        /* Ahead of the pace of the largest part that it may have as headroom is released. */
        uint64_t due = part(s.quota, s.part_ppm[0]) * (at_ns - from_ns) / s.window_ns + 2;
        while (taken < mine && taken < due) {
            expect(ask(0, class, 1, false, &p) == WEIR_OK,
                   "who keeps pace was refused within its part");
            taken++;
        }
        while (ask(3, class, 1, false, &p) == WEIR_OK) {
        }
        at_ns += 1 + below(s.window_ns / 50);
    }
    fixture_close(&s.f);
}

/* ---------------------------------------------------------------------------------------------- buckets */

/* One client calls as fast as its part allows, the others as fast as they can. */
static void bucket_schedule(void)
{
    schedule_open(WEIR_LIMIT_TOKEN_BUCKET);
    const struct weir_shm_limit_row *row = &s.view[0].tables.limit[0];
    uint64_t paced_ns =
        s.part_ppm[0] > 0 ? row->unit_ns * 1000000 / s.part_ppm[0] + 1 : UINT64_MAX / 2;
    /* A part that does not hold one call is refused by the configuration. */
    if (row->tolerance_ns[WEIR_PRIORITY_HIGH] / 1000000 * s.floor_ppm[WEIR_PRIORITY_BACKGROUND] <
            row->unit_ns + 1000 ||
        weir_share_depth_ns(row, weir_share_rows(row), row->share_cnt) / 1000000 * s.part_ppm[0] <
            row->unit_ns + 1000) {
        fixture_close(&s.f);
        return;
    }
    uint64_t floor_ppm = s.floor_ppm[WEIR_PRIORITY_BACKGROUND];
    uint64_t floor_ns = floor_ppm > 0 ? row->unit_ns * 1000000 / floor_ppm + 1 : UINT64_MAX / 2;
    uint64_t next_ns = s.part_ppm[0] > 0 ? START + below(3 * s.window_ns) : UINT64_MAX;
    uint64_t floor_at_ns = floor_ppm > 0 ? START + below(3 * s.window_ns) : UINT64_MAX;
    uint64_t granted = 0;
    bool idle = below(2) == 0; /* nobody but the one without a share calls */
    struct weir_permit p;
    uint64_t burst = row->tolerance_ns[WEIR_PRIORITY_MEDIUM] / row->unit_ns;
    while (idle && ask(3, WEIR_PRIORITY_MEDIUM, 1, false, &p) == WEIR_OK) {
        granted++;
    }
    expect(!idle || granted + row->share_cnt + 1 >= burst,
           "an idle share keeps more than one call");
    /* What a share borrows is no debt: its own rate begins at once. */
    if (!idle && s.part_ppm[0] > 0 && below(2) == 0) {
        while (ask(0, WEIR_PRIORITY_MEDIUM, 1, false, &p) == WEIR_OK) {
            granted++;
        }
        next_ns = s.now_ns + paced_ns;
    }
    while (s.now_ns < START + 4 * s.window_ns) {
        uint64_t step_ns = 1 + below(4 * row->unit_ns);
        time_set(s.now_ns + step_ns);
        if (!idle && s.now_ns >= next_ns) {
            expect(ask(0, WEIR_PRIORITY_MEDIUM, 1, false, &p) == WEIR_OK,
                   "a share's own rate was refused");
            next_ns = s.now_ns + paced_ns + (below(20) == 0 ? below(s.window_ns) : 0);
            granted++;
        }
        if (!idle && s.now_ns >= floor_at_ns) {
            expect(ask(3, WEIR_PRIORITY_BACKGROUND, 1, false, &p) == WEIR_OK,
                   "a floor's own rate was refused");
            floor_at_ns = s.now_ns + floor_ns + (below(20) == 0 ? below(s.window_ns) : 0);
            granted++;
        }
        for (uint32_t c = idle ? 3 : 1; c < CLIENTS; c++) {
            while (ask(c, idle ? WEIR_PRIORITY_MEDIUM : 2 + (unsigned)below(2), 1, false, &p) ==
                   WEIR_OK) {
                granted++;
            }
        }
    }
    uint64_t most = s.quota + (s.now_ns - START) / row->unit_ns + 1;
    expect(granted <= most, "above the bucket's rate");
    /* All rate of the last three windows; the step to the next look, and what idle shares keep, are left over once. */
    uint64_t least = 3 * s.window_ns / row->unit_ns;
    expect(!idle || granted + 8 >= least, "what was idle is not lent");
    fixture_close(&s.f);
}

int main(int argc, char **argv)
{
    uint64_t seconds = 4;
    uint64_t schedules = UINT64_MAX;
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    uint64_t seed = (uint64_t)now.tv_nsec ^ (uint64_t)now.tv_sec << 20;
    for (int i = 1; i + 1 < argc; i += 2) {
        uint64_t n = strtoull(argv[i + 1], NULL, 0);
        *(strcmp(argv[i], "--seed") == 0      ? &seed
          : strcmp(argv[i], "--seconds") == 0 ? &seconds
                                              : &schedules) = n;
    }
    printf("prop_shares: --seed %" PRIu64 "\n", seed);
    uint64_t until = (uint64_t)now.tv_sec + seconds;
    uint64_t done = 0;
    while (done < schedules && (schedules != UINT64_MAX || (uint64_t)now.tv_sec < until)) {
        s.seed = seed + done;
        s.random = s.seed;
        switch (below(3)) {
        case 0:
            window_schedule();
            break;
        case 1:
            window_pacer();
            break;
        default:
            bucket_schedule();
        }
        done++;
        (void)clock_gettime(CLOCK_MONOTONIC, &now);
    }
    printf("%" PRIu64 " schedules\n", done);
    return 0;
}
