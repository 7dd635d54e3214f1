/*
 * test_client_permit.c: permits through weir.h: who may, how to wait, what settling does, and the names behind the ids.
 *
 * Oracle: the bucket's own arithmetic: 5 units, one back every 20 ms. Waiting times are checked against it with room for a busy machine: never
 * early, and woken by a bell long before the promised instant.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "fake_broker.h"
#include "weir_limit_repair.h"

#include "shm/weir_atomic.h"
#include "shm/weir_claim.h"
#include "shm/weir_pause.h"
#include "shm/weir_permit.h"

#include <pthread.h>
#include <unistd.h>

#define HIGH WEIR_PRIORITY_HIGH

struct stage {
    struct fake_broker f;
    struct weir *w;
};

static int setup(void **state)
{
    struct stage *s = aligned_alloc(WEIR_LINE_BYTES, weir_round_up(sizeof *s, WEIR_LINE_BYTES));
    assert_non_null(s);
    fake_broker_make(&s->f, WEIR_ROLE_TRADER);
    fake_broker_listen(&s->f);
    assert_int_equal(fake_broker_open(&s->f, WEIR_ROLE_TRADER, &s->w, NULL), WEIR_OK);
    *state = s;
    return 0;
}

static int teardown(void **state)
{
    struct stage *s = *state;
    weir_close(s->w);
    fake_broker_free(&s->f);
    free(s);
    return 0;
}

static struct weir_shm_meter_head *meter(const struct stage *s)
{
    return (void *)s->f.meter; /* thread 0 */
}

/* Returns how many permits that were. */
static uint32_t drain_bucket(struct stage *s, struct weir_permit *last)
{
    struct weir_permit p;
    uint32_t cnt = 0;
    while (weir_permit_try(s->w, FAKE_OWN, 0, NULL, HIGH, &p) == WEIR_OK) {
        *last = p;
        cnt++;
    }
    assert_int_equal(p.denial.reason, WEIR_REASON_LIMIT_FULL);
    return cnt;
}

static void try_and_peek(void **state)
{
    struct stage *s = *state;
    struct weir_permit p;
    const struct weir_cost dear = {.cnt = 1, .units = {6}};
    const struct weir_cost two = {.cnt = 2, .units = {1, 1}};
    assert_int_equal(weir_permit_peek(s->w, FAKE_OWN, 0, NULL, HIGH, &p), WEIR_OK);
    assert_int_equal(p.state, WEIR_PERMIT_NONE);
    assert_true(s->f.word[0].word[0] == 0); /* took nothing */
    assert_int_equal(weir_permit_try(s->w, FAKE_OWN, 0, NULL, HIGH, &p), WEIR_OK);
    assert_int_equal(p.charge_cnt, 1);
    assert_true(p.use_by_ns == p.granted_at_ns + 5 * WEIR_NS_PER_MS);
    uint32_t own = 1;
    int rc;
    do { /* one comes back every 20 ms, between the two calls too */
        own += drain_bucket(s, &p);
        rc = weir_permit_peek(s->w, FAKE_OWN, 0, NULL, HIGH, &p);
    } while (rc == WEIR_OK && own < 1000);
    assert_int_equal(rc, WEIR_DENIED);
    assert_int_equal(p.denial.limit, 0);
    /* Another account has its own bucket. */
    assert_int_equal(weir_permit_try(s->w, FAKE_OWN, UINT64_C(1) << 32, NULL, HIGH, &p), WEIR_OK);
    assert_int_equal(weir_permit_try(s->w, FAKE_OWN, UINT64_C(2) << 32, NULL, HIGH, &p),
                     WEIR_E_SCOPE_UNKNOWN);
    assert_int_equal(weir_permit_try(s->w, 99, 0, NULL, HIGH, &p), WEIR_E_ROUTE_UNKNOWN);
    assert_int_equal(weir_permit_try(s->w, FAKE_OWN, 0, &dear, HIGH, &p), WEIR_E_COST);
    assert_int_equal(weir_permit_try(s->w, FAKE_OWN, 0, &two, HIGH, &p), WEIR_E_ARGUMENT);
    assert_int_equal(weir_permit_try(s->w, FAKE_OWN, 0, NULL, (enum weir_priority)5, &p),
                     WEIR_E_PRIORITY);
    const uint32_t *granted = (const void *)(meter(s) + 1);
    assert_true(own >= 5);
    assert_int_equal(granted[FAKE_OWN * WEIR_PRIORITY_CNT + HIGH], own + 1);
}

static void wait_for_room(void **state)
{
    struct stage *s = *state;
    struct weir_permit p;
    (void)drain_bucket(s, &p);
    uint32_t refused = *((const uint32_t *)(const void *)(meter(s) + 1) +
                         (size_t)FAKE_ROUTES * WEIR_PRIORITY_CNT + HIGH);
    uint64_t now_ns = weir_now_ns(s->w);
    /* The promise lies behind the deadline: at once. */
    assert_int_equal(weir_permit_wait(s->w, FAKE_OWN, 0, NULL, HIGH, now_ns + WEIR_NS_PER_MS, &p),
                     WEIR_DENIED);
    assert_true(weir_now_ns(s->w) < p.denial.earliest_ns);
    uint64_t earliest_ns = p.denial.earliest_ns;
    assert_int_equal(weir_permit_wait(s->w, FAKE_OWN, 0, NULL, HIGH, now_ns + WEIR_NS_PER_S, &p),
                     WEIR_OK);
    assert_true(p.granted_at_ns >= earliest_ns && p.granted_at_ns <= now_ns + WEIR_NS_PER_S);
    /* However often a waiter looks, it is refused once; where more than 20 ms went by in between, the second one never. */
    assert_in_range(*((const uint32_t *)(const void *)(meter(s) + 1) +
                      (size_t)FAKE_ROUTES * WEIR_PRIORITY_CNT + HIGH),
                    refused + 1, refused + 2);
    assert_int_equal(weir_permit_wait(s->w, 99, 0, NULL, HIGH, UINT64_MAX, &p),
                     WEIR_E_ROUTE_UNKNOWN);
}

/* What happens in another thread while somebody waits. */
struct helper {
    struct stage *s;
    struct weir *w;
    struct weir_permit permit;
    void (*what)(struct helper *);
    const struct weir_cost *units; /* what the waiter wants */
};

static void *helper_run(void *arg)
{
    struct helper *h = arg;
    /* Until somebody waits; on a busy machine it may have been served before it had to. */
    for (int i = 0; i < 10000 && weir_load_acquire_u32(&h->s->f.pause->waiters) == 0; i++) {
        (void)usleep(100); /* pair:waiters A */
    }
    (void)usleep(5000);
    h->what(h);
    return NULL;
}

static uint64_t wait_while(struct stage *s, struct helper *h, uint64_t limit_ns, int expected)
{
    pthread_t thread;
    struct weir_permit p;
    h->s = s;
    assert_int_equal(pthread_create(&thread, NULL, helper_run, h), 0);
    uint64_t before_ns = weir_now_ns(s->w);
    assert_int_equal(weir_permit_wait(s->w, FAKE_OWN, 0, h->units, HIGH, before_ns + limit_ns, &p),
                     expected);
    uint64_t took_ns = weir_now_ns(s->w) - before_ns;
    assert_int_equal(pthread_join(thread, NULL), 0);
    return took_ns;
}

static void give_back(struct helper *h)
{
    const struct weir_outcome o = {.kind = WEIR_OUTCOME_NOT_SENT};
    assert_int_equal(weir_permit_settle(h->w, &h->permit, &o), WEIR_OK);
}

static void resume(struct helper *h)
{
    weir_pause_resume(&h->s->f.pause->word);
    weir_permit_bell(h->s->f.pause);
}

static void unblock(struct helper *h)
{
    weir_store_relaxed_u32(&h->s->f.block->client[7], 0); /* relaxed: an operator's switch */
}

static void woken_early(void **state)
{
    struct stage *s = *state;
    const struct weir_cost all = {.cnt = 1, .units = {5}};
    struct helper h = {.what = give_back, .units = &all};
    assert_int_equal(weir_dup(s->w, &h.w), WEIR_OK);
    /* A refund: without it the whole bucket comes back after 100 ms. */
    assert_int_equal(weir_permit_try(h.w, FAKE_OWN, 0, &all, HIGH, &h.permit), WEIR_OK);
    assert_true(wait_while(s, &h, WEIR_NS_PER_S, WEIR_OK) < 5 * FAKE_BUCKET_NS - WEIR_NS_PER_MS);
    /* A resume. */
    h.units = NULL;
    h.what = resume;
    (void)weir_pause_begin(&s->f.pause->word, weir_now_ns(s->w) + 30 * WEIR_NS_PER_S,
                           WEIR_PAUSE_OPERATOR);
    assert_true(wait_while(s, &h, 60 * WEIR_NS_PER_S, WEIR_OK) < 5 * WEIR_NS_PER_S);
    /* A block ends: nobody rings, so it is asked again. */
    h.what = unblock;
    s->f.block->client[7] = 1;
    assert_true(wait_while(s, &h, 60 * WEIR_NS_PER_S, WEIR_OK) < 5 * WEIR_NS_PER_S);
    weir_close(h.w);
}

static void blocked_until_deadline(void **state)
{
    struct stage *s = *state;
    struct weir_permit p;
    uint64_t deadline_ns = weir_now_ns(s->w) + 25 * WEIR_NS_PER_MS;
    s->f.gate->block_all = 1;
    assert_int_equal(weir_permit_wait(s->w, FAKE_OWN, 0, NULL, HIGH, deadline_ns, &p), WEIR_DENIED);
    assert_int_equal(p.denial.reason, WEIR_REASON_BLOCKED);
    assert_true(weir_now_ns(s->w) >= deadline_ns);
    s->f.gate->block_all = 0;
    s->f.gate->lease_until_ns = 1;
    assert_int_equal(weir_permit_wait(s->w, FAKE_OWN, 0, NULL, HIGH, 0, &p), WEIR_DENIED);
    assert_int_equal(p.denial.reason, WEIR_REASON_LEASE_ENDED);
}

static void settle(void **state)
{
    struct stage *s = *state;
    struct weir_permit p;
    struct weir_permit older;
    struct weir_outcome o = {.kind = WEIR_OUTCOME_NOT_SENT};
    memset(&p, 0, sizeof p);
    assert_int_equal(weir_permit_settle(s->w, &p, &o), WEIR_E_ARGUMENT);
    assert_int_equal(weir_permit_try(s->w, FAKE_OWN, 0, NULL, HIGH, &p), WEIR_OK);
    o.kind = WEIR_OUTCOME_UNSET;
    assert_int_equal(weir_permit_settle(s->w, &p, &o), WEIR_E_ARGUMENT);
    o.kind = WEIR_OUTCOME_NOT_SENT;
    assert_int_equal(weir_permit_settle(s->w, &p, &o), WEIR_OK);
    assert_int_equal(weir_permit_settle(s->w, &p, &o), WEIR_E_SETTLED);
    o = (struct weir_outcome){.kind = WEIR_OUTCOME_ANSWERED, .status = 200};
    assert_int_equal(weir_permit_try(s->w, FAKE_OWN, 0, NULL, HIGH, &older), WEIR_OK);
    assert_int_equal(weir_permit_try(s->w, FAKE_OWN, 0, NULL, HIGH, &p), WEIR_OK);
    assert_int_equal(weir_permit_settle(s->w, &p, &o), WEIR_OK);
    assert_true(s->f.pause->word == 0);
    /* 429: everybody pauses, for what the answer said. */
    assert_int_equal(weir_permit_try(s->w, FAKE_OWN, 0, NULL, HIGH, &p), WEIR_OK);
    o = (struct weir_outcome){
        .kind = WEIR_OUTCOME_ANSWERED, .status = 429, .retry_after_ns = 2 * WEIR_NS_PER_S};
    assert_int_equal(weir_permit_settle(s->w, &p, &o), WEIR_OK);
    assert_int_equal(weir_permit_settle(s->w, &p, &o), WEIR_E_SETTLED);
    assert_int_equal(weir_permit_try(s->w, FAKE_OWN, 0, NULL, HIGH, &p), WEIR_DENIED);
    assert_int_equal(p.denial.reason, WEIR_REASON_PAUSED);
    uint64_t ahead_ns = p.denial.earliest_ns - weir_now_ns(s->w);
    assert_true(ahead_ns > WEIR_NS_PER_S && ahead_ns <= 2 * WEIR_NS_PER_S + 2 * WEIR_NS_PER_MS);
    /* After a resume, a late 418 of an older permit does not pause again. */
    weir_pause_resume(&s->f.pause->word);
    o.status = 418;
    assert_int_equal(weir_permit_settle(s->w, &older, &o), WEIR_OK);
    assert_int_equal(weir_permit_try(s->w, FAKE_OWN, 0, NULL, HIGH, &p), WEIR_OK);
    /* One trader's word holds 60 s at most; without Retry-After 1 s. */
    o.retry_after_ns = UINT64_MAX;
    assert_int_equal(weir_permit_settle(s->w, &p, &o), WEIR_OK);
    uint64_t until_ns = weir_pause_until_ns(s->f.pause->word);
    assert_true(until_ns <= weir_now_ns(s->w) + WEIR_PAUSE_TRADER_MAX_NS + 2 * WEIR_NS_PER_MS);
    assert_int_equal(weir_pause_cause(s->f.pause->word), WEIR_PAUSE_BANNED);
    assert_int_equal(meter(s)->settled, 5);
}

/* An answer that is here before the window's edge proves that the next window did not count the call; a stamp of the exchange's may forbid it. */
static void settle_straddle(void **state)
{
    struct stage *s = *state;
    struct weir_permit p;
    const uint64_t now_ns = weir_now_ns(s->w);
    const uint64_t w_ns = 60 * WEIR_NS_PER_S;
    /* 10 s before an edge, and calls may be counted 20 s late: charged to both. */
    const struct weir_server_clock clock = {.state = WEIR_CLOCK_KNOWN,
                                            .offset_ns =
                                                (int64_t)(100 * w_ns - 10 * WEIR_NS_PER_S - now_ns),
                                            .sampled_at_ns = now_ns,
                                            .jitter_ns = 20 * WEIR_NS_PER_S};
    weir_server_clock_publish(s->f.provider, &clock);
    struct weir_outcome o = {.kind = WEIR_OUTCOME_ANSWERED, .status = 200};
    for (uint32_t i = 0; i < 2; i++) {
        assert_int_equal(weir_permit_try(s->w, FAKE_FILES, 0, NULL, HIGH, &p), WEIR_OK);
        assert_int_equal(p.charge[1].windows, 2);
        o.server_utc_ns = i == 0 ? 0 : 100 * w_ns + WEIR_NS_PER_S; /* "it is past the edge" */
        o.server_granularity_ns = 1;
        assert_int_equal(weir_permit_settle(s->w, &p, &o), WEIR_OK);
        assert_int_equal((uint32_t)s->f.word[2].word[1], 2 * (i + 1)); /* window 99 */
        assert_int_equal((uint32_t)s->f.word[2].word[0], 2 * i);       /* window 100 */
    }
}

/* What the answer told goes to the worker by the meter; nonsense does not, and is refused where it can be. */
static void told_counts_are_claimed(void **state)
{
    struct stage *s = *state;
    struct weir_permit p;
    struct weir_told told = {.cnt = 1, .kind = {WEIR_TOLD_REMAINING}, .units = {2}};
    struct weir_outcome o = {.kind = WEIR_OUTCOME_ANSWERED, .status = 200, .told = &told};
    struct weir_shm_claim c[WEIR_CLAIMS];
    uint32_t seen = 0;
    assert_int_equal(weir_permit_try(s->w, FAKE_OWN, 0, NULL, HIGH, &p), WEIR_OK);
    assert_int_equal(weir_permit_settle(s->w, &p, &o), WEIR_OK);
    assert_int_equal(weir_claim_take(meter(s), &seen, c), 1);
    assert_int_equal((uint32_t)c[0].what, 3); /* of 5 */
    assert_int_equal(c[0].what >> 32, p.charge[0].word);
    assert_true(c[0].sent_ns == p.granted_at_ns && c[0].seen_ns >= c[0].sent_ns);
    assert_int_equal(weir_claim_take(meter(s), &seen, c), 0);
    told.units[0] = 6; /* more left than there is */
    assert_int_equal(weir_permit_try(s->w, FAKE_OWN, 0, NULL, HIGH, &p), WEIR_OK);
    assert_int_equal(weir_permit_settle(s->w, &p, &o), WEIR_OK);
    assert_int_equal(weir_claim_take(meter(s), &seen, c), 0);
    assert_int_equal(weir_permit_try(s->w, FAKE_OWN, 0, NULL, HIGH, &p), WEIR_OK);
    told.kind[0] = WEIR_TOLD_REMAINING + 1;
    assert_int_equal(weir_permit_settle(s->w, &p, &o), WEIR_E_ARGUMENT);
    told.kind[0] = WEIR_TOLD_USED;
    told.cnt = WEIR_PERMIT_LIMITS_MAX + 1;
    assert_int_equal(weir_permit_settle(s->w, &p, &o), WEIR_E_ARGUMENT);
    told.cnt = 1;
    assert_int_equal(weir_permit_settle(s->w, &p, &o), WEIR_OK);
    assert_int_equal(weir_claim_take(meter(s), &seen, c), 1);
    assert_int_equal((uint32_t)c[0].what, 6);
    for (uint32_t i = 0; i < 9; i++) { /* more than there are places for: the last ones */
        weir_claim_put(meter(s), &(struct weir_shm_claim){.what = i});
    }
    assert_int_equal(weir_claim_take(meter(s), &seen, c), WEIR_CLAIMS - 1);
    assert_int_equal(c[0].what, 6);
    assert_int_equal(c[2].what, 8);
    seen = meter(s)->claim_cnt + 7; /* whatever a stranger wrote */
    assert_true(weir_claim_take(meter(s), &seen, c) < WEIR_CLAIMS);
}

static uint64_t units_counted(const struct stage *s)
{
    return *(const uint64_t *)(const void *)(s->f.meter +
                                             weir_meter_units_off_bytes(FAKE_ROUTES, 2));
}

/* The meter counts units, not calls: as given, as counted in the end, and nothing for what was not made. */
static void meters_units(void **state)
{
    struct stage *s = *state;
    struct weir_permit p;
    const struct weir_cost three = {.cnt = 1, .units = {3}};
    const struct weir_cost one = {.cnt = 1, .units = {1}};
    struct weir_outcome o = {.kind = WEIR_OUTCOME_NOT_SENT};
    assert_int_equal(weir_permit_try(s->w, FAKE_OWN, 0, &three, HIGH, &p), WEIR_OK);
    assert_true(units_counted(s) == 3);
    assert_int_equal(weir_permit_settle(s->w, &p, &o), WEIR_OK);
    assert_true(units_counted(s) == 0);
    assert_int_equal(weir_permit_try(s->w, FAKE_OWN, 0, &three, HIGH, &p), WEIR_OK);
    o = (struct weir_outcome){.kind = WEIR_OUTCOME_ANSWERED, .status = 200, .counted = &one};
    assert_int_equal(weir_permit_settle(s->w, &p, &o), WEIR_OK);
    assert_true(units_counted(s) == 1);
    assert_int_equal(weir_permit_try(s->w, FAKE_OWN, 0, &one, HIGH, &p), WEIR_OK);
    o.counted = &three;
    assert_int_equal(weir_permit_settle(s->w, &p, &o), WEIR_OK);
    assert_true(units_counted(s) == 4);
    /* What was refused took nothing. */
    uint64_t full;
    int rc;
    do { /* until none came back in between */
        (void)drain_bucket(s, &p);
        full = units_counted(s);
        rc = weir_permit_try(s->w, FAKE_OWN, 0, NULL, HIGH, &p);
    } while (rc == WEIR_OK && full < 1000);
    assert_int_equal(rc, WEIR_DENIED);
    assert_true(units_counted(s) == full);
}

static void names(void **state)
{
    struct stage *s = *state;
    weir_route_id route;
    weir_scope_id scope;
    uint32_t limit;
    struct weir_route_info r;
    assert_int_equal(weir_route_find(s->w, "sim.files", &route), WEIR_OK);
    assert_int_equal(route, FAKE_FILES);
    assert_int_equal(weir_route_find(s->w, "sim.nothing", &route), WEIR_E_ROUTE_UNKNOWN);
    assert_int_equal(weir_route_find(s->w, "weir.nop", &route), WEIR_OK);
    assert_int_equal(weir_route_get(s->w, route, &r), WEIR_OK);
    assert_string_equal(r.name, "nop");
    assert_int_equal(weir_route_get(s->w, 99, &r), WEIR_E_ROUTE_UNKNOWN);
    assert_int_equal(weir_route_get(s->w, FAKE_FILES, &r), WEIR_OK);
    assert_string_equal(r.provider, "sim");
    assert_int_equal(r.limit_cnt, 2);
    assert_int_equal(r.cost[1], 2);
    assert_int_equal(r.method, WEIR_METHOD_GET);
    assert_int_equal(weir_scope_find(s->w, "sim", "account=b", &scope), WEIR_OK);
    assert_true(scope == UINT64_C(1) << 32);
    assert_int_equal(weir_scope_find(s->w, "sim", "account=c", &scope), WEIR_E_SCOPE_UNKNOWN);
    assert_int_equal(weir_limit_find(s->w, "sim.window", &limit), WEIR_OK);
    assert_int_equal(limit, 1);
    assert_int_equal(weir_limit_find(s->w, "sim.x", &limit), WEIR_E_LIMIT_UNKNOWN);
}

static void limits_and_time(void **state)
{
    struct stage *s = *state;
    struct weir_limit_info l;
    struct weir_permit p;
    uint64_t utc_ns;
    uint64_t error_ns;
    (void)drain_bucket(s, &p);
    assert_int_equal(weir_limit_get(s->w, 0, 0, &l), WEIR_OK);
    assert_int_equal(l.quota_units, 5);
    assert_int_equal(l.left_units[HIGH], 0);
    assert_true(l.reset_ns > weir_now_ns(s->w));
    assert_int_equal(weir_limit_get(s->w, 2, 0, &l), WEIR_E_LIMIT_UNKNOWN);
    assert_int_equal(weir_limit_get(s->w, 0, UINT64_C(2) << 32, &l), WEIR_E_SCOPE_UNKNOWN);
    assert_int_equal(weir_limit_get(s->w, 1, 0, &l), WEIR_OK);
    assert_int_equal(l.quota_units, 20); /* the server's clock is unknown */
    assert_int_equal(weir_server_time(s->w, "sim", &utc_ns, &error_ns), WEIR_DENIED);
    assert_int_equal(weir_server_time(s->w, "x", &utc_ns, &error_ns), WEIR_E_SCOPE_UNKNOWN);
    const struct weir_server_clock clock = {.offset_ns = 1000000,
                                            .error_ns = 50,
                                            .sampled_at_ns = weir_now_ns(s->w),
                                            .state = WEIR_CLOCK_KNOWN};
    uint64_t value[WEIR_SERVER_CLOCK_WORDS];
    memcpy(value, &clock, sizeof value);
    weir_latch_write(&s->f.provider->clock_seq, s->f.provider->clock, value,
                     WEIR_SERVER_CLOCK_WORDS);
    uint64_t before_ns = weir_now_ns(s->w);
    assert_int_equal(weir_server_time(s->w, "sim", &utc_ns, &error_ns), WEIR_OK);
    assert_true(utc_ns >= before_ns + 1000000 && utc_ns < before_ns + WEIR_NS_PER_S);
    assert_true(error_ns == 50);
    assert_int_equal(weir_limit_get(s->w, 1, 0, &l), WEIR_OK);
    assert_int_equal(l.quota_units, 40);
}

static void forecasts(void **state)
{
    struct stage *s = *state;
    struct weir_forecast f;
    struct weir_forecast later;
    struct weir_permit p;
    struct weir_forecast_ask ask = {
        .struct_bytes = sizeof ask, .priority = WEIR_PRIORITY_HIGH, .units = 1};
    assert_int_equal(weir_limit_forecast(s->w, 0, 0, &ask, &f), WEIR_OK);
    assert_true(f.pace_over_ns == 0); /* nobody measured yet */
    assert_true(f.earliest_ns == f.now_ns && f.left_units[HIGH] == 5);

    (void)drain_bucket(s, &p);
    assert_int_equal(weir_permit_peek(s->w, FAKE_OWN, 0, NULL, WEIR_PRIORITY_HIGH, &p),
                     WEIR_DENIED);
    ask.before = &f;
    assert_int_equal(weir_limit_forecast(s->w, 0, 0, &ask, &later), WEIR_OK);
    /* the same promise as a denial's */
    assert_true(later.earliest_ns == p.denial.earliest_ns);
    assert_true(later.empty_ns == later.now_ns && later.used_units == 5);
    assert_true(later.pace_over_ns == later.now_ns - f.now_ns);
    /* five units since then; how long that took is the machine's affair */
    uint64_t taken_micro =
        (uint64_t)((unsigned __int128)later.pace_micro * later.pace_over_ns / WEIR_NS_PER_S);
    assert_in_range(taken_micro, 3 * WEIR_MILLION - 1000, 6 * WEIR_MILLION);

    /* what the worker measured */
    s->f.pace[0] = (struct weir_shm_pace){.short_micro = 7 * WEIR_MILLION, .since_ns = 1};
    assert_int_equal(weir_limit_forecast(s->w, 0, 0, NULL, &f), WEIR_OK);
    assert_true(f.pace_micro == 7 * WEIR_MILLION && f.pace_over_ns == WEIR_PACE_SHORT_NS);
    assert_int_equal(f.units, 1); /* the dearest cost of a route */
    assert_int_equal(f.priority, WEIR_PRIORITY_CRITICAL);

    assert_int_equal(weir_limit_forecast(s->w, 2, 0, NULL, &f), WEIR_E_LIMIT_UNKNOWN);
    assert_int_equal(weir_limit_forecast(s->w, 0, UINT64_C(2) << 32, NULL, &f),
                     WEIR_E_SCOPE_UNKNOWN);
    assert_int_equal(weir_limit_forecast(s->w, 0, 0, NULL, NULL), WEIR_E_ARGUMENT);
    ask.priority = (enum weir_priority)WEIR_PRIORITY_CNT;
    assert_int_equal(weir_limit_forecast(s->w, 0, 0, &ask, &f), WEIR_E_PRIORITY);
    assert_int_equal(weir_limit_forecast(s->w, 0, 0, &(struct weir_forecast_ask){0}, &f),
                     WEIR_E_ARGUMENT);
    struct {
        struct weir_forecast_ask ask;
        uint64_t more;
    } newer = {.ask = {.struct_bytes = sizeof newer}, .more = 1};
    assert_int_equal(weir_limit_forecast(s->w, 0, 0, &newer.ask, &f), WEIR_E_UNSUPPORTED);
    newer.more = 0;
    assert_int_equal(weir_limit_forecast(s->w, 0, 0, &newer.ask, &f), WEIR_OK);
}

static void texts(void **state)
{
    (void)state;
    assert_string_equal(weir_version(), "0.1.0");
    assert_string_equal(weir_strerror(WEIR_E_STALE), "the broker is gone");
    assert_string_equal(weir_hint(WEIR_E_FORKED),
                        "open a handle of its own in the child, after fork");
    assert_non_null(weir_strerror(-999));
    assert_non_null(weir_hint(-999));
    assert_string_equal(weir_reason_text(WEIR_REASON_PAUSED), "paused");
    assert_string_equal(weir_result_text(WEIR_RESULT_OUTCOME_UNKNOWN), "outcome_unknown");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(try_and_peek),           TEST(wait_for_room),   TEST(woken_early),
        TEST(blocked_until_deadline), TEST(settle),          TEST(told_counts_are_claimed),
        TEST(meters_units),           TEST(settle_straddle), TEST(names),
        TEST(limits_and_time),        TEST(forecasts),       cmocka_unit_test(texts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
