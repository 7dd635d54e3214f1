/*
 * permit_kinds.c: the other kinds of limits, settling, and waiting.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "libclient/handle.h"
#include "permit.h"
#include "shm/weir_atomic.h"
#include "shm/weir_clock.h"

/* ---------------------------------------------------------------------------------------------- take and settle */

static int take_and_settle(struct permit_member *me, uint32_t cnt,
                           const struct weir_outcome *outcome, struct stats_hist *hist,
                           struct duel_why *why)
{
    struct permit_client *c = &me->client;
    int wrong = 0;
    DUEL_LOOP(cnt, hist, {
        wrong |= weir_permit_try(c->weir, c->route, WEIR_SCOPE_DEFAULT, NULL, WEIR_PRIORITY_MEDIUM,
                                 &c->permit);
        wrong |= weir_permit_settle(c->weir, &c->permit, outcome);
    });
    return wrong == 0 ? 0
                      : duel_fail(why, "a permit or its settle failed: %s",
                                  weir_reason_text(c->permit.denial.reason));
}

static int given_back(void *self, uint32_t cnt, struct stats_hist *hist, struct duel_why *why)
{
    static const struct weir_outcome not_sent = {.kind = WEIR_OUTCOME_NOT_SENT};
    return take_and_settle(self, cnt, &not_sent, hist, why);
}

static int succeeded(void *self, uint32_t cnt, struct stats_hist *hist, struct duel_why *why)
{
    static const struct weir_outcome success = {.kind = WEIR_OUTCOME_ANSWERED, .status = 200};
    return take_and_settle(self, cnt, &success, hist, why);
}

static int taken(void *self, uint32_t cnt, struct stats_hist *hist, struct duel_why *why)
{
    struct permit_member *me = self;
    return permit_batch(&me->client, 0, cnt, hist, why);
}

/*
 * Nobody could take entries as fast as a loop of nothing but permits writes them; a full ring would be measured, which is cheaper. So the writer is told, by its
 * own copy, that all were taken. The worker finds a head that it does not believe, and says so once in 10 ms.
 */
static int audited(void *self, uint32_t cnt, struct stats_hist *hist, struct duel_why *why)
{
    struct permit_client *c = &((struct permit_member *)self)->client;
    struct weir_audit *audit = &c->weir->view.audit;
    int wrong = 0;
    if (audit->ring == NULL) {
        return duel_fail(why, "the broker keeps no audit");
    }
    audit->taken = audit->head; /* a batch is half a ring */
    DUEL_LOOP(cnt, hist, {
        wrong |= weir_permit_try(c->weir, c->route, WEIR_SCOPE_DEFAULT, NULL, WEIR_PRIORITY_MEDIUM,
                                 &c->permit);
    });
    return wrong == 0
               ? 0
               : duel_fail(why, "a permit failed: %s", weir_reason_text(c->permit.denial.reason));
}

int bench_permit_1_audit(const struct bench *bench, struct bench_result *result)
{
    struct permit_crowd crowd = {.route = "bench.bucket",
                                 .floor = permit_floor_one,
                                 .subject = audited,
                                 .cnt = 1,
                                 .audit_cnt = 4096};
    return permit_measure(bench, &crowd, result);
}

int bench_permit_sliding(const struct bench *bench, struct bench_result *result)
{
    struct permit_crowd crowd = {
        .route = "bench.cells", .floor = permit_floor_two, .subject = given_back, .cnt = 1};
    return permit_measure(bench, &crowd, result);
}

int bench_permit_sliding_parts(const struct bench *bench, struct bench_result *result)
{
    struct permit_crowd crowd = {
        .route = "bench.parts", .floor = permit_floor_one, .subject = taken, .cnt = 1};
    return permit_measure(bench, &crowd, result);
}

int bench_permit_concurrency(const struct bench *bench, struct bench_result *result)
{
    struct permit_crowd crowd = {
        .route = "bench.units", .floor = permit_floor_two, .subject = succeeded, .cnt = 1};
    return permit_measure(bench, &crowd, result);
}

int bench_settle(const struct bench *bench, struct bench_result *result)
{
    struct permit_crowd crowd = {
        .route = "bench.free", .floor = permit_floor_two, .subject = succeeded, .cnt = 1};
    return permit_measure(bench, &crowd, result);
}

/* ---------------------------------------------------------------------------------------------- waiting */

/* A broker, and one attached client in this process. */
static int wait_open(const struct bench *bench, struct rig_weird *weird,
                     struct permit_client *client, const char *route, struct bench_result *result)
{
    struct rig_weird_spec spec = {.wake = "sleep", .core = bench_core(bench, 1)};
    struct duel_why why;
    if (rig_weird_start(bench, weird, &spec, result) != 0) {
        return -1;
    }
    (void)duel_pin(bench_core(bench, 0));
    if (!permit_open(weird, route, client, &why)) {
        rig_weird_stop(weird);
        return bench_fail(result, "%s", why.text);
    }
    return 0;
}

static int wait_once(struct permit_client *c, struct stats_hist *late)
{
    int rc = weir_permit_try(c->weir, c->route, WEIR_SCOPE_DEFAULT, NULL, WEIR_PRIORITY_MEDIUM,
                             &c->permit);
    if (rc != WEIR_DENIED || c->permit.denial.reason != WEIR_REASON_LIMIT_FULL) {
        return rc == WEIR_OK || rc == WEIR_DENIED || rc == WEIR_CONTENDED ? 0 : rc;
    }
    uint64_t promised_ns = c->permit.denial.earliest_ns;
    rc = weir_permit_wait(c->weir, c->route, WEIR_SCOPE_DEFAULT, NULL, WEIR_PRIORITY_MEDIUM,
                          promised_ns + WEIR_NS_PER_S, &c->permit);
    uint64_t now_ns = weir_now_ns(c->weir);
    if (rc == WEIR_OK) {
        stats_hist_add(late, now_ns > promised_ns ? now_ns - promised_ns : 0);
    }
    return rc;
}

int bench_wait_overshoot(const struct bench *bench, struct bench_result *result)
{
    static struct stats_hist late;
    struct rig_weird weird;
    struct permit_client client;
    int rc = 0;
    memset(&late, 0, sizeof(late));
    if (wait_open(bench, &weird, &client, "bench.paced", result) != 0) {
        return -1;
    }
    uint64_t end_ns =
        weir_clock_monotonic_ns() + (uint64_t)(bench->opts.row_s * (double)WEIR_NS_PER_S);
    while (rc == 0 && weir_clock_monotonic_ns() < end_ns) {
        rc = wait_once(&client, &late);
    }
    weir_close(client.weir);
    rig_weird_stop(&weird);
    if (rc != 0 || late.cnt == 0) {
        return bench_fail(result, "weir_permit_wait answered %d", rc);
    }
    result->measured = true;
    result->has_tail = true;
    result->p50 = stats_hist_quantile(&late, 0.5);
    result->p99 = stats_hist_quantile(&late, 0.99);
    result->p999 = stats_hist_quantile(&late, 0.999);
    result->value = result->p50;
    snprintf(result->note, sizeof(result->note),
             "%llu waits; sleeps to 100 us before the instant, spins the rest",
             (unsigned long long)late.cnt);
    return 0;
}

/* ---------------------------------------------------------------------------------------------- fairness */

#define FAIR_CNT 8U

struct fair_slot {
    uint64_t granted;
    uint64_t reserved[15];
} WEIR_ALIGN_LINE;

static void fair_member(const struct rig_weird *weird, struct fair_slot *slot, uint64_t start_ns,
                        uint64_t end_ns)
{
    struct permit_client c;
    struct duel_why why;
    if (!permit_open(weird, "bench.busy", &c, &why)) {
        _exit(1);
    }
    while (weir_clock_monotonic_ns() < start_ns) {
        usleep(100);
    }
    while (weir_clock_monotonic_ns() < end_ns) {
        int rc = weir_permit_wait(c.weir, c.route, WEIR_SCOPE_DEFAULT, NULL, WEIR_PRIORITY_MEDIUM,
                                  weir_now_ns(c.weir) + WEIR_NS_PER_S, &c.permit);
        /* relaxed: read once this process has ended */
        weir_store_relaxed_u64(&slot->granted, slot->granted + (rc == WEIR_OK));
    }
    weir_close(c.weir);
    _exit(0);
}

static void fair_judge(const struct fair_slot *slot, struct bench_result *result)
{
    uint64_t least = UINT64_MAX;
    uint64_t most = 0;
    uint64_t sum = 0;
    for (unsigned i = 0; i < FAIR_CNT; i++) {
        least = weir_min_u64(least, slot[i].granted);
        most = weir_max_u64(most, slot[i].granted);
        sum += slot[i].granted;
    }
    result->measured = most > 0;
    result->value = most > 0 ? (double)least / (double)most : 0;
    snprintf(result->note, sizeof(result->note),
             "%llu permits in all, %llu the least, %llu the most; the order among waiters is not "
             "promised",
             (unsigned long long)sum, (unsigned long long)least, (unsigned long long)most);
}

int bench_fairness_8(const struct bench *bench, struct bench_result *result)
{
    struct rig_weird weird;
    struct rig_weird_spec spec = {.wake = "sleep", .core = -1};
    pid_t pid[FAIR_CNT];
    struct fair_slot *slot = duel_share(FAIR_CNT * sizeof(*slot));
    if (!slot || rig_weird_start(bench, &weird, &spec, result) != 0) {
        return slot ? -1 : bench_fail(result, "no memory");
    }
    uint64_t start_ns = weir_clock_monotonic_ns() + WEIR_NS_PER_S / 2;
    uint64_t end_ns = start_ns + (uint64_t)(bench->opts.row_s * (double)WEIR_NS_PER_S);
    bool ok = true;
    for (unsigned i = 0; i < FAIR_CNT; i++) {
        pid[i] = fork();
        if (pid[i] == 0) {
            fair_member(&weird, &slot[i], start_ns, end_ns);
        }
        ok &= pid[i] > 0;
    }
    for (unsigned i = 0; i < FAIR_CNT; i++) {
        int status = 0;
        ok &= pid[i] > 0 && waitpid(pid[i], &status, 0) == pid[i] && status == 0;
    }
    rig_weird_stop(&weird);
    if (ok) {
        fair_judge(slot, result);
    }
    munmap(slot, FAIR_CNT * sizeof(*slot));
    return ok ? 0 : bench_fail(result, "a member could not attach");
}
