/*
 * Foreign traffic on limits whose count falls all the time: somebody beside weir calls the same exchange from the same address, and only the exchange's headers
 * tell. Oracle: weir-sim, which counts all of it by the published rule: a rolling window (kept by weir as cells and as parts), a bucket that is filled lazily, a
 * counter that decays in steps. As exchanges do, it sometimes says -1, or nothing.
 *
 * Strategies (callers and a trader) want more than the rest all the time. Once the others have been seen, nobody exceeds: 0 violations; and of what the others leave at
 * least SHARE_MIN is used. When they have gone, all of it is, though the exchange then stands still for STALL_MS: what weir keeps free of a bucket for a slow way (weir_late.h) and what it
 * keeps for others once closed it, since each single call looked like others' again.
 *
 * A machine that is slow from the beginning holds so much of a bucket that nobody can tell others from calls on their way: such a kind is named, and judged only when they have gone.
 */
#include "rig.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

#define KINDS     4U
#define CALLERS   3U
#define LEARN_MS  6000U
#define LATER_MS  9000U /* ... at most so much longer */
#define RUN_MS    9300U /* whole spans W + J: strategies take what there is as soon as it is there */
#define EXPECT_MS 12500U /* what is expected of others is forgotten after four windows */
#define GONE_MS   6200U
#define STALL_MS  1500U
#define OTHERS_MS 100U /* a foreign call of each kind so often */
#define SHARE_MIN 0.95

static const struct {
    const char *name, *weir, *sim;
    unsigned cost;
    double per_s; /* what the exchange lets through, in calls */
    double form;  /* of it, what the kind can use: W / (W + J) */
    const char *told;
} kinds[KINDS] = {
    {"cells", "kind: sliding_window, quota: 300, window: 3s",
     "\"kind\": \"sliding_window\", \"quota\": 300, \"window_ms\": 3000", 1, 100, 3 / 3.1,
     ", rolls: true"},
    {"parts", "kind: sliding_window, quota: 30000, window: 3s",
     "\"kind\": \"sliding_window\", \"quota\": 30000, \"window_ms\": 3000", 100, 100, 3 / 3.131,
     ", rolls: true"},
    {"bucket", "kind: token_bucket, quota: 50, window: 1s, burst: 50",
     "\"kind\": \"token_bucket\", \"quota\": 50, \"refill_per_s\": 50", 1, 50, 1, ""},
    {"decay", "kind: token_bucket, quota: 50, window: 1s, burst: 100, step: 250ms",
     "\"kind\": \"decay\", \"quota\": 100, \"decay_per_s\": 50, \"step_ms\": 250", 1, 50, 1, ""},
};

/* Counters: of others, {answered, refused} of each kind; of ours from OURS on. */
#define OURS (2 * KINDS)
_Static_assert(OURS + 2 * KINDS <= 16, "as many as the rig has");

static void configure(struct rig *r)
{
    char json[4096], yaml[4096];
    size_t j = (size_t)snprintf(json, sizeof json,
                                "{\"latency_ms\": 2, \"jitter_ms\": 6, \"count_jitter_ms\": 5, "
                                "\"ban_after\": 0, \"limits\": [");
    size_t y = (size_t)snprintf(yaml, sizeof yaml, "broker: {name: rig}\nproviders:\n");
    for (unsigned k = 0; k < KINDS; k++) {
        j += (size_t)snprintf(
            json + j, sizeof json - j,
            "%s{\"name\": \"%s\", %s, \"counts\": \"listed\", \"reports\": [{\"header\": "
            "\"X-Left\", \"what\": \"remaining\", \"minus_one\": 0.05, \"missing\": 0.05}]}",
            k > 0 ? ", " : "", kinds[k].name, kinds[k].sim);
        y += (size_t)snprintf(
            yaml + y, sizeof yaml - y,
            "  - name: %s\n"
            "    clock: {source: none, max_jitter: 100ms}\n"
            "    limits: [{name: l, %s, foreign: {expect: adaptive}}]\n"
            "    feedback: [{header: x-left, limit: l, reports: remaining%s}]\n"
            "    throttle: {status: [429], default: 10ms, retry_after: none, reopen: {ramp: "
            "100ms}}\n"
            "    endpoints: [{name: a, url: \"http://127.0.0.1:$PORT\", connections: 16}]\n"
            "    routes:\n"
            "      - {name: get, method: GET, path: /k/%s, cost: {l: %u}, timeout: 3s}\n"
            "      - {name: own, transport: own, cost: {l: %u}}\n",
            kinds[k].name, kinds[k].weir, kinds[k].told, kinds[k].name, kinds[k].cost,
            kinds[k].cost);
    }
    j += (size_t)snprintf(json + j, sizeof json - j, "], \"routes\": [");
    for (unsigned k = 0; k < KINDS; k++) {
        j += (size_t)snprintf(json + j, sizeof json - j,
                              "%s{\"path\": \"GET /k/%s\", \"plays\": \"ok\", \"costs\": "
                              "[{\"limit\": \"%s\", \"cost\": %u}]}",
                              k > 0 ? ", " : "", kinds[k].name, kinds[k].name, kinds[k].cost);
    }
    (void)snprintf(json + j, sizeof json - j, "]}");
    rig_sim_start(r, json);
    rig_config(r, yaml, 0);
}

static void count(struct rig *r, unsigned first, unsigned kind, bool good)
{
    weir_fetch_add_u32(&r->shared->count[first + 2 * kind + (good ? 0 : 1)], 1);
}

static int others(struct rig *r, int arg)
{
    char path[32];
    uint64_t next_ns = rig_now_ns();
    (void)arg;
    while (weir_load_acquire_u32(&r->shared->stop) < 1) {
        for (unsigned k = 0; k < KINDS; k++) {
            (void)snprintf(path, sizeof path, "/k/%s", kinds[k].name);
            count(r, 0, k, rig_http(r, "GET", path, NULL, NULL, 0) == 200);
        }
        /* What a busy machine has missed is not made up for: a burst is nothing that anybody expects. */
        next_ns = weir_max_u64(next_ns + OTHERS_MS * WEIR_NS_PER_MS, rig_now_ns());
        while (rig_now_ns() < next_ns) {
            rig_sleep_ms(2);
        }
    }
    return 0;
}

static int caller(struct rig *r, int kind)
{
    char name[32];
    struct weir *w = rig_attach(r, WEIR_ROLE_CALLER);
    (void)snprintf(name, sizeof name, "%s.get", kinds[kind].name);
    const weir_route_id route = rig_route(w, name);
    while (weir_load_acquire_u32(&r->shared->stop) < 2) {
        struct weir_response a;
        const struct weir_request_spec spec = {.struct_bytes = sizeof spec, .route = route};
        if (weir_call(w, &spec, weir_now_ns(w) + 2900 * WEIR_NS_PER_MS, &a) == 0) {
            if (a.result == WEIR_RESULT_DONE) {
                count(r, OURS, (unsigned)kind, a.status == 200);
            }
            (void)weir_release(w, a.ticket);
        }
    }
    weir_close(w);
    return 0;
}

static int trader(struct rig *r, int kind)
{
    char name[32], path[32];
    struct weir *w = rig_attach(r, WEIR_ROLE_TRADER);
    (void)snprintf(name, sizeof name, "%s.own", kinds[kind].name);
    (void)snprintf(path, sizeof path, "/k/%s", kinds[kind].name);
    const weir_route_id route = rig_route(w, name);
    while (weir_load_acquire_u32(&r->shared->stop) < 2) {
        struct weir_permit p;
        uint64_t deadline_ns = weir_now_ns(w) + 100 * WEIR_NS_PER_MS;
        if (weir_permit_wait(w, route, WEIR_SCOPE_DEFAULT, NULL, WEIR_PRIORITY_MEDIUM, deadline_ns,
                             &p) != 0) {
            continue;
        }
        struct weir_outcome o = {.kind = WEIR_OUTCOME_NOT_SENT};
        if (weir_now_ns(w) < p.use_by_ns) {
            o.status = (uint32_t)rig_http(r, "GET", path, NULL, NULL, 0);
            o.kind = o.status != 0 ? WEIR_OUTCOME_ANSWERED : WEIR_OUTCOME_NO_ANSWER;
            count(r, OURS, (unsigned)kind, o.status == 200);
        }
        (void)weir_permit_settle(w, &p, &o);
        rig_sleep_ms(100 + rig_random(r, 100));
    }
    weir_close(w);
    return 0;
}

struct look {
    uint64_t at_ns;
    double violations[KINDS];
    uint32_t count[16];
};

static void look(struct rig *r, struct look *l)
{
    json_t *report = rig_json(r, "/sim/report");
    size_t i;
    const json_t *row;
    memset(l, 0, sizeof *l);
    l->at_ns = rig_now_ns();
    memcpy(l->count, r->shared->count, sizeof l->count);
    json_array_foreach(json_object_get(report, "limits"), i, row)
    {
        const char *name = json_string_value(json_object_get(row, "name"));
        for (unsigned k = 0; k < KINDS && name != NULL; k++) {
            if (strcmp(name, kinds[k].name) == 0) {
                l->violations[k] = json_number_value(json_object_get(row, "violations"));
            }
        }
    }
    json_decref(report);
}

/* What was used between two looks of what the others left, as a part. */
static double share_of(unsigned k, const struct look *a, const struct look *b)
{
    double s = (double)(b->at_ns - a->at_ns) / 1e9;
    double theirs = b->count[2 * k] - a->count[2 * k];
    double ours = b->count[OURS + 2 * k] - a->count[OURS + 2 * k];
    return ours / ((kinds[k].per_s * s - theirs) * kinds[k].form);
}

/* What others use of a kind, and what is held of it besides, as weir sees it. */
static void words_of(struct weir *w, unsigned k, uint32_t *others, uint32_t *held)
{
    const struct weir_shm_foreign *f =
        rig_board(w, WEIR_SECTION_FOREIGN, sizeof(struct weir_shm_foreign));
    uint64_t now_ns = weir_now_ns(w);
    *held = weir_foreign_rolling(weir_load_relaxed_u64(&f[k].word[1]), now_ns);
    *others = weir_foreign_rolling(weir_load_relaxed_u64(&f[k].word[0]), now_ns);
    *others = *others > *held ? *others - *held : 0;
}

/* What holds each kind back: for whoever reads why a span was not enough. */
static void tell(struct weir *w, const struct look *a, const struct look *b)
{
    const struct weir_shm_provider *p =
        rig_board(w, WEIR_SECTION_PROVIDER, sizeof(struct weir_shm_provider));
    uint64_t now_ns = weir_now_ns(w);
    for (unsigned k = 0; k < KINDS; k++) {
        uint32_t others, held;
        uint64_t until_ns = weir_pause_until_ns(weir_load_relaxed_u64(&p[k].pause));
        words_of(w, k, &others, &held);
        (void)printf(
            "  %-7s share %.3f: %u answered, %u refused; others %u, held %u; paused for %llu ms, "
            "%llu steps of backoff, level %u, reopening %u\n",
            kinds[k].name, share_of(k, a, b), b->count[OURS + 2 * k] - a->count[OURS + 2 * k],
            b->count[OURS + 2 * k + 1] - a->count[OURS + 2 * k + 1], others, held,
            (unsigned long long)(until_ns > now_ns ? until_ns - now_ns : 0) / WEIR_NS_PER_MS,
            (unsigned long long)weir_load_relaxed_u64(&p[k].backoff_steps),
            weir_load_relaxed_u32(&p[k].backoff_level),
            (unsigned)(weir_load_relaxed_u64(&p[k].reopen) & 3U));
    }
    (void)fflush(stdout);
}

/* Sleep, and look; again where the machine had other things to do: a lost turn is lost room. Returns whether all kinds of `set` are used enough. */
static bool span(struct rig *r, struct weir *w, unsigned set, unsigned ms, struct look *from,
                 struct look *to)
{
    bool enough = false;
    for (int i = 0; i < 3 && !enough; i++) {
        enough = true;
        look(r, from);
        rig_sleep_ms(ms);
        look(r, to);
        for (unsigned k = 0; k < KINDS; k++) {
            enough &= (set >> k & 1U) == 0 || share_of(k, from, to) >= SHARE_MIN;
        }
        if (!enough) {
            tell(w, from, to);
        }
    }
    return enough;
}

/* After some time the word of each kind shows somebody. Returns the set of kinds that do. */
static unsigned seen(struct rig *r, struct weir *w)
{
    uint32_t others[KINDS], held[KINDS];
    unsigned set = 0;
    rig_sleep_ms(LEARN_MS);
    for (unsigned ms = 0; set != (1U << KINDS) - 1 && ms < LATER_MS; ms += 50) {
        rig_sleep_ms(ms > 0 ? 50 : 0);
        set = 0;
        for (unsigned k = 0; k < KINDS; k++) {
            words_of(w, k, &others[k], &held[k]);
            set |= (others[k] >= kinds[k].cost ? 1U : 0U) << k;
        }
    }
    for (unsigned k = 0; k < KINDS; k++) {
        bool is = (set >> k & 1U) != 0;
        (void)printf("%-7s %u units of others, %u held%s\n", kinds[k].name, others[k], held[k],
                     is ? "" : ": the machine is too slow to tell others from our own");
        CHECK(r, is || held[k] > kinds[k].per_s / 4, "others were seen");
    }
    return set;
}

/* The exchange counts nothing and answers nobody for a while. */
static void stall(struct rig *r)
{
    CHECK_INT(r, kill(r->sim, SIGSTOP), 0);
    rig_sleep_ms(STALL_MS);
    CHECK_INT(r, kill(r->sim, SIGCONT), 0);
}

static void judge(struct rig *r, struct weir *w, unsigned set, const struct look *learnt,
                  const struct look l[4])
{
    const struct weir_shm_provider *p =
        rig_board(w, WEIR_SECTION_PROVIDER, sizeof(struct weir_shm_provider));
    for (unsigned k = 0; k < KINDS; k++) {
        double after = l[3].violations[k] - learnt->violations[k];
        double share = share_of(k, &l[0], &l[1]);
        double alone = share_of(k, &l[2], &l[3]);
        (void)printf("%-7s others %3u calls; violations while learning %2.0f, then %2.0f; "
                     "share of the rest %.3f; alone %.3f; %llu reports, %llu ignored\n",
                     kinds[k].name, l[3].count[2 * k], learnt->violations[k], after, share, alone,
                     (unsigned long long)p[k].reports, (unsigned long long)p[k].reports_ignored);
        if ((set >> k & 1U) != 0) {
            CHECK_INT(r, after, 0);
        }
        CHECK_INT(r, l[3].violations[k] - l[2].violations[k], 0);
        CHECK(r, p[k].reports > 100 && p[k].reports_ignored > 0, "answers were heeded");
    }
}

int main(int argc, char **argv)
{
    struct rig r;
    pid_t pid[KINDS * (CALLERS + 1)];
    struct look learnt, l[4];
    rig_open(&r, "rolling", argc, argv, 115);
    configure(&r);
    rig_weird_start(&r);
    struct weir *w = rig_attach(&r, WEIR_ROLE_CALLER);
    pid_t other = rig_fork(&r, others, 0);
    for (size_t i = 0; i < WEIR_ARRAY_CNT(pid); i++) {
        pid[i] = rig_fork(&r, i < KINDS ? trader : caller, (int)(i % KINDS));
    }
    const unsigned set = seen(&r, w);
    look(&r, &learnt);
    CHECK(&r, span(&r, w, set, RUN_MS, &l[0], &l[1]), "what others leave is used");
    weir_store_release_u32(&r.shared->stop, 1);
    CHECK_INT(&r, rig_wait(other, 8000), 0);
    stall(&r);
    rig_sleep_ms(EXPECT_MS);
    CHECK(&r, span(&r, w, UINT32_MAX, GONE_MS, &l[2], &l[3]), "all is used when they have gone");
    judge(&r, w, set, &learnt, l);
    weir_store_release_u32(&r.shared->stop, 2);
    for (size_t i = 0; i < WEIR_ARRAY_CNT(pid); i++) {
        CHECK_INT(&r, rig_wait(pid[i], 8000), 0);
    }
    weir_close(w);
    CHECK_INT(&r, rig_weird_stop(&r, 15000), 0);
    return rig_close(&r);
}
