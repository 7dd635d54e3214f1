/* Three ways of getting a wish past the exchange's limits. */
#include "demo.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <x86intrin.h>

#define NS_PER_S  UINT64_C(1000000000)
#define ANSWER_NS UINT64_C(1000000000) /* an answer takes some 8 ms */

/* Time stamps for spans of some tens of nanoseconds, where clock_gettime would be half of what is measured. */
static double tick_ns;

static void ticks_learn(void)
{
    uint64_t t0 = demo_now_ns();
    uint64_t c0 = __rdtsc();
    demo_sleep_until(t0 + NS_PER_S / 50);
    tick_ns = (double)(demo_now_ns() - t0) / (double)(__rdtsc() - c0);
}

static void ticks_sample(struct demo_samples *samples, uint64_t from)
{
    demo_sample(samples, (uint64_t)((double)(__rdtsc() - from) * tick_ns));
}

static struct demo_answer own_call(struct demo_strategy *s, const struct demo_wish *wish)
{
    char query[256];
    char url[512];
    demo_wish_query(s, wish, query, sizeof query);
    (void)snprintf(url, sizeof url, "%s%s?%s", s->url, demo_kind_row[wish->kind].path, query);
    uint64_t from_ns = demo_now_ns();
    struct demo_answer answer = demo_http(demo_kind_row[wish->kind].method, url);
    free(answer.body);
    answer.body = NULL;
    if (answer.status != 0) {
        demo_sample(&s->result->call, demo_now_ns() - from_ns);
    }
    return answer;
}

static void own_call_counted(struct demo_strategy *s, struct demo_wish *wish, uint32_t status)
{
    if (status != 0) {
        demo_answered(s, wish, status);
        return;
    }
    s->result->broken++;
    demo_wish_end(s, wish); /* its outcome is unknown: an order is never sent twice */
}

/* ---------------------------------------------------------------------------------------------- alone */

/* A token bucket for each limit, refilled at the documented rate: what a bot's exchange library has. It knows of no other bot. */
struct bucket {
    double level, capacity, per_s;
    uint64_t at_ns;
};

static bool bucket_take(struct bucket *b, double units, uint64_t now_ns)
{
    b->level += (double)(now_ns - b->at_ns) * b->per_s / 1e9;
    b->level = b->level < b->capacity ? b->level : b->capacity;
    b->at_ns = now_ns;
    if (b->level < units) {
        return false;
    }
    b->level -= units;
    return true;
}

void demo_mode_alone(struct demo_strategy *s)
{
    uint64_t now_ns = demo_now_ns();
    struct bucket weight = {DEMO_QUOTA, DEMO_QUOTA, 100, now_ns};
    struct bucket orders = {20, 20, 10, now_ns};
    ticks_learn();
    for (;;) {
        uint64_t next_ns = demo_wishes(s);
        now_ns = demo_now_ns();
        if (now_ns >= s->end_ns) {
            return;
        }
        struct demo_wish *wish = demo_wish_first(s);
        if (wish == NULL) {
            demo_sleep_until(next_ns);
            continue;
        }
        uint64_t from = __rdtsc();
        now_ns = demo_now_ns();
        bool may = (wish->kind != DEMO_ORDER || bucket_take(&orders, 1, now_ns)) &&
                   bucket_take(&weight, demo_kind_row[wish->kind].weight, now_ns);
        ticks_sample(&s->result->permit, from);
        if (!may) {
            demo_sleep_until(now_ns + NS_PER_S / 100);
            continue;
        }
        s->result->granted++;
        struct demo_answer answer = own_call(s, wish);
        own_call_counted(s, wish, answer.status);
        if (answer.status == 429 || answer.status == 418) {
            uint64_t until_ns = demo_now_ns() + answer.retry_after_s * NS_PER_S;
            demo_sleep_until(until_ns < s->end_ns ? until_ns : s->end_ns);
        }
    }
}

/* ---------------------------------------------------------------------------------------------- through weir */

static bool attach(struct demo_strategy *s)
{
    struct weir_diag diag;
    struct weir_open_opts opts = {.struct_bytes = sizeof opts, .client_name = s->result->name};
    opts.role = s->result->mode == DEMO_CALL ? WEIR_ROLE_CALLER : WEIR_ROLE_TRADER;
    opts.patience_ns = 5 * NS_PER_S;
    if (weir_open(&s->weir, "demo", &opts, &diag) != 0) {
        demo_fail(s, "%s", diag.text);
        return false;
    }
    for (unsigned k = 0; k < DEMO_KIND_CNT; k++) {
        int rc = weir_route_find(s->weir, demo_kind_row[k].route, &s->route[k]);
        if (rc != 0) {
            demo_fail(s, "%s: %s", demo_kind_row[k].route, weir_strerror(rc));
            return false;
        }
    }
    uint64_t utc_ns = 0;
    uint64_t error_ns = 0;
    (void)weir_server_time(s->weir, "binance", &utc_ns, &error_ns);
    s->result->utc_offset_ns = (int64_t)(utc_ns - weir_now_ns(s->weir));
    return true;
}

/* Ask once. Returns 0, or the instant at which it is worth asking again. */
static uint64_t permit_ask(struct demo_strategy *s, struct demo_wish *wish,
                           struct weir_permit *permit)
{
    struct weir_route_info info;
    (void)weir_route_get(s->weir, s->route[wish->kind], &info);
    int rc;
    do {
        uint64_t from = __rdtsc();
        rc = weir_permit_try(s->weir, s->route[wish->kind], WEIR_SCOPE_DEFAULT, NULL, info.priority,
                             permit);
        ticks_sample(&s->result->permit, from);
    } while (rc == WEIR_CONTENDED);
    if (rc == 0) {
        uint64_t refused_ns = wish->refused_ns;
        if (refused_ns != 0 && wish->kind == DEMO_CANCEL) {
            demo_event(s, wish, refused_ns, permit->granted_at_ns, true);
        }
        demo_event(s, wish, permit->granted_at_ns, permit->granted_at_ns, false);
        s->result->granted++;
        return 0;
    }
    if (rc != WEIR_DENIED) {
        demo_fail(s, "weir_permit_try: %s", weir_strerror(rc));
        return UINT64_MAX;
    }
    if (wish->refused_ns == 0) {
        wish->refused_ns = weir_now_ns(s->weir);
    }
    return permit->denial.earliest_ns;
}

static void permit_use(struct demo_strategy *s, struct demo_wish *wish, struct weir_permit *permit)
{
    struct weir_outcome outcome = {.kind = WEIR_OUTCOME_NOT_SENT};
    if (weir_now_ns(s->weir) >= permit->use_by_ns) {
        /* We were held up: the window it was charged to may be over. Give it back, ask again. */
        s->result->granted--;
        (void)weir_permit_settle(s->weir, permit, &outcome);
        return;
    }
    uint64_t from_ns = weir_now_ns(s->weir);
    struct demo_answer answer = own_call(s, wish);
    outcome.status = answer.status;
    outcome.retry_after_ns = answer.retry_after_s * NS_PER_S;
    outcome.latency_ns = weir_now_ns(s->weir) - from_ns;
    if (answer.sent) {
        outcome.kind = answer.status != 0 ? WEIR_OUTCOME_ANSWERED : WEIR_OUTCOME_NO_ANSWER;
    }
    (void)weir_permit_settle(s->weir, permit, &outcome);
    own_call_counted(s, wish, answer.status);
}

/*
 * The wishes wait by kind, and one kind may be refused while another passes: ask for each kind's oldest, the most urgent first. Returns when to
 * look again.
 */
static uint64_t permit_turn(struct demo_strategy *s)
{
    uint64_t again_ns = demo_wishes(s);
    bool asked[DEMO_KIND_CNT] = {false};
    for (uint32_t i = 0; i < s->pending_cnt; i++) {
        asked[s->pending[i].kind] = true;
    }
    for (unsigned k = 0; k < DEMO_KIND_CNT; k++) {
        if (!asked[k]) {
            continue;
        }
        struct demo_wish *wish = s->pending;
        while (wish->kind != k) {
            wish++;
        }
        struct weir_permit permit;
        uint64_t earliest_ns = permit_ask(s, wish, &permit);
        if (earliest_ns == 0) {
            permit_use(s, wish, &permit);
            return 0; /* the call took a while: there may be something more urgent now */
        }
        again_ns = earliest_ns < again_ns ? earliest_ns : again_ns;
    }
    return again_ns;
}

void demo_mode_permit(struct demo_strategy *s)
{
    ticks_learn();
    if (!attach(s)) {
        return;
    }
    while (demo_now_ns() < s->end_ns && s->result->failure[0] == '\0') {
        uint64_t again_ns = permit_turn(s);
        if (again_ns != 0) {
            demo_sleep_until(again_ns < s->end_ns ? again_ns : s->end_ns);
        }
    }
    weir_close(s->weir);
}

/* ---------------------------------------------------------------------------------------------- calls by the broker */

static void call_submit(struct demo_strategy *s, struct demo_wish *wish)
{
    char query[256];
    struct weir_request_spec spec = {.struct_bytes = sizeof spec, .route = s->route[wish->kind]};
    demo_wish_query(s, wish, query, sizeof query);
    spec.query = query;
    /* A deadline also ends a call that is on its way. So it leaves time for the answer, and patience ends by weir_cancel. */
    spec.deadline_ns = wish->expires_ns + ANSWER_NS;
    int rc = weir_submit(s->weir, &spec, &wish->ticket);
    if (rc == WEIR_E_DEADLINE) {
        s->result->refused++;
        demo_wish_end(s, wish);
    } else if (rc != 0) {
        demo_fail(s, "weir_submit: %s: %s", weir_strerror(rc), weir_hint(rc));
    }
}

static void call_ended(struct demo_strategy *s, const struct weir_response *response)
{
    struct demo_wish *wish = s->pending;
    while (wish->ticket != response->ticket) {
        wish++;
    }
    if (response->sends != 0) { /* a permit of a call that was taken back was given back */
        s->result->granted++;
        demo_event(s, wish, response->permitted_ns, response->permitted_ns, false);
    }
    if (wish->kind == DEMO_CANCEL && response->taken_ns != 0) {
        /* The first millisecond is the way from the ring to the first try, not a refusal. */
        uint64_t from_ns = response->taken_ns + NS_PER_S / 1000;
        uint64_t to_ns = response->permitted_ns != 0 ? response->permitted_ns : response->done_ns;
        if (to_ns > from_ns) {
            demo_event(s, wish, from_ns, to_ns, true);
        }
    }
    switch (response->result) {
    case WEIR_RESULT_DONE:
        demo_sample(&s->result->call, response->delivered_ns - response->permitted_ns);
        demo_answered(s, wish, response->status);
        return;
    case WEIR_RESULT_CANCELLED: /* by us: no permit while it was of use */
    case WEIR_RESULT_REFUSED:
    case WEIR_RESULT_EXPIRED:
        s->result->refused++;
        break;
    default:
        s->result->broken++;
        demo_fail(s, "%s: %s, error %d", demo_kind_row[wish->kind].route,
                  weir_result_text(response->result), response->error);
        break;
    }
    demo_wish_end(s, wish);
}

/*
 * Take back what is of no use any more. What the worker has already ends by itself: cancelled, or answered where it was on its way. Returns the next
 * instant at which there is something to take back.
 */
static uint64_t calls_expire(struct demo_strategy *s, uint64_t now_ns, uint64_t next_ns)
{
    for (uint32_t i = s->pending_cnt; i-- > 0;) {
        struct demo_wish *wish = &s->pending[i];
        if (wish->ticket == 0 || wish->taken_back) {
            continue;
        }
        if (wish->expires_ns <= now_ns || now_ns >= s->end_ns) {
            wish->taken_back = true;
            if (weir_cancel(s->weir, wish->ticket) == 0) {
                s->result->refused++;
                demo_wish_end(s, wish);
            }
        } else if (wish->expires_ns < next_ns) {
            next_ns = wish->expires_ns;
        }
    }
    return next_ns;
}

static uint32_t in_flight(const struct demo_strategy *s)
{
    uint32_t cnt = 0;
    for (uint32_t i = 0; i < s->pending_cnt; i++) {
        cnt += s->pending[i].ticket != 0;
    }
    return cnt;
}

/* Everything that is due goes to the broker at once; it has them wait for their permits in order of priority. */
static void calls_submit(struct demo_strategy *s)
{
    struct demo_wish *wish;
    while (s->result->failure[0] == '\0' && (wish = demo_wish_first(s)) != NULL) {
        call_submit(s, wish);
    }
}

void demo_mode_call(struct demo_strategy *s)
{
    if (!attach(s)) {
        return;
    }
    struct pollfd wake = {.fd = weir_fd(s->weir), .events = POLLIN};
    bool over = false;
    while (s->result->failure[0] == '\0' && !(over && in_flight(s) == 0)) {
        struct weir_response response;
        uint64_t now_ns = demo_now_ns();
        uint64_t next_ns = now_ns + NS_PER_S;
        over = now_ns >= s->end_ns;
        if (!over) {
            next_ns = demo_wishes(s);
            calls_submit(s);
        }
        next_ns = calls_expire(s, now_ns, next_ns);
        while (weir_poll(s->weir, &response) == 0) {
            call_ended(s, &response);
            (void)weir_release(s->weir, response.ticket);
        }
        (void)poll(&wake, 1, next_ns > now_ns ? (int)((next_ns - now_ns) / 1000000) + 1 : 0);
    }
    weir_close(s->weir);
}
