/* Wishes, and what becomes of them: the part that is the same whoever guards the limits. */
#include "demo.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define MS UINT64_C(1000000)

/*
 * One strategy wants 2 + 3.3 + 8 + 31 = 45 units of weight a second; the exchange allows 100 to all four together. A price that comes late is
 * worthless and a late order is dangerous; a cancel must go out, however late.
 */
const struct demo_kind_row demo_kind_row[DEMO_KIND_CNT] = {
    [DEMO_CANCEL] = {"binance.cancel", "DELETE", "/api/v3/order", 1, 500 * MS, 60000 * MS},
    [DEMO_ORDER] = {"binance.order", "POST", "/api/v3/order", 1, 300 * MS, 1000 * MS},
    [DEMO_TICKER] = {"binance.ticker", "GET", "/api/v3/ticker/price", 2, 250 * MS, 250 * MS},
    [DEMO_DEPTH] = {"binance.depth", "GET", "/api/v3/depth", 5, 160 * MS, 320 * MS},
};

uint64_t demo_now_ns(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 * MS + (uint64_t)t.tv_nsec;
}

void demo_sleep_until(uint64_t ns)
{
    struct timespec t = {.tv_sec = (time_t)(ns / (1000 * MS)), .tv_nsec = (long)(ns % (1000 * MS))};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) == EINTR) {
    }
}

void demo_sample(struct demo_samples *s, uint64_t ns)
{
    if (s->cnt < DEMO_SAMPLES_MAX) {
        s->ns[s->cnt++] = ns;
    }
}

void demo_fail(struct demo_strategy *s, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)vsnprintf(s->result->failure, sizeof s->result->failure, format, args);
    va_end(args);
}

void demo_event(struct demo_strategy *s, const struct demo_wish *wish, uint64_t from_ns,
                uint64_t to_ns, bool refused)
{
    struct demo_result *r = s->result;
    if (r->event_cnt < DEMO_SAMPLES_MAX) {
        r->event[r->event_cnt++] = (struct demo_event){
            .from_ns = from_ns, .to_ns = to_ns, .kind = wish->kind, .refused = refused};
    }
}

static void wish_add(struct demo_strategy *s, unsigned kind, uint64_t due_ns)
{
    s->result->wished++;
    if (s->pending_cnt == DEMO_PENDING_MAX) {
        s->result->refused++;
        return;
    }
    struct demo_wish *wish = &s->pending[s->pending_cnt++];
    *wish = (struct demo_wish){.kind = (uint8_t)kind, .due_ns = due_ns};
    wish->expires_ns = due_ns + demo_kind_row[kind].patience_ns;
    if (kind == DEMO_ORDER) {
        wish->order = ++s->order_last;
    } else if (kind == DEMO_CANCEL && s->live_cnt != 0) {
        wish->order = s->live[s->live_first];
        s->live_first = (s->live_first + 1) % DEMO_PENDING_MAX;
        s->live_cnt--;
    }
}

void demo_wish_end(struct demo_strategy *s, struct demo_wish *wish)
{
    size_t at = (size_t)(wish - s->pending);
    s->pending_cnt--;
    memmove(wish, wish + 1, (s->pending_cnt - at) * sizeof *wish);
}

uint64_t demo_wishes(struct demo_strategy *s)
{
    uint64_t now_ns = demo_now_ns();
    uint64_t next_ns = s->end_ns;
    for (unsigned k = 0; k < DEMO_KIND_CNT; k++) {
        for (; s->next_ns[k] <= now_ns; s->next_ns[k] += demo_kind_row[k].period_ns) {
            wish_add(s, k, s->next_ns[k]);
        }
        next_ns = s->next_ns[k] < next_ns ? s->next_ns[k] : next_ns;
    }
    for (uint32_t i = s->pending_cnt; i-- > 0;) {
        struct demo_wish *wish = &s->pending[i];
        if (wish->ticket != 0) {
            continue; /* its deadline is the broker's to keep */
        }
        if (wish->expires_ns <= now_ns) {
            s->result->refused++;
            demo_wish_end(s, wish);
        } else if (wish->expires_ns < next_ns) {
            next_ns = wish->expires_ns;
        }
    }
    return next_ns;
}

struct demo_wish *demo_wish_first(struct demo_strategy *s)
{
    struct demo_wish *first = NULL;
    for (uint32_t i = 0; i < s->pending_cnt; i++) {
        struct demo_wish *wish = &s->pending[i];
        if (wish->ticket == 0 && (first == NULL || wish->kind < first->kind)) {
            first = wish; /* within a kind the oldest stands first */
        }
    }
    return first;
}

void demo_wish_query(struct demo_strategy *s, const struct demo_wish *wish, char *out, size_t bytes)
{
    switch (wish->kind) {
    case DEMO_ORDER:
        /* The id makes a second copy visible: the exchange takes each only once. */
        (void)snprintf(
            out, bytes,
            "symbol=BTCUSDT&side=BUY&type=LIMIT&quantity=1&price=1&newClientOrderId=s%u-%u",
            s->index, wish->order);
        break;
    case DEMO_CANCEL:
        (void)snprintf(out, bytes, "symbol=BTCUSDT&origClientOrderId=s%u-%u", s->index,
                       wish->order);
        break;
    case DEMO_DEPTH:
        (void)snprintf(out, bytes, "symbol=BTCUSDT&limit=100");
        break;
    default:
        (void)snprintf(out, bytes, "symbol=BTCUSDT");
        break;
    }
}

void demo_answered(struct demo_strategy *s, struct demo_wish *wish, uint32_t status)
{
    struct demo_result *r = s->result;
    if (status == 429 || status == 418) {
        r->status_429 += status == 429;
        r->status_418 += status == 418;
        wish->ticket = 0;
        if (wish->kind > DEMO_ORDER) {
            demo_wish_end(s, wish); /* the next price is due soon */
        }
        return; /* an order or a cancel was not accepted, and may be tried again */
    }
    r->answered++;
    if (wish->kind == DEMO_CANCEL) {
        demo_sample(&r->cancel, demo_now_ns() - wish->due_ns);
    }
    if (wish->kind == DEMO_ORDER && status == 200) {
        r->orders++;
        if (s->live_cnt < DEMO_PENDING_MAX) {
            s->live[(s->live_first + s->live_cnt++) % DEMO_PENDING_MAX] = wish->order;
        }
    }
    demo_wish_end(s, wish);
}

void demo_strategy_run(struct demo_strategy *s)
{
    uint64_t now_ns = demo_now_ns();
    for (unsigned k = 0; k < DEMO_KIND_CNT; k++) {
        /* Spread the strategies over the period, as separate programs would be. */
        s->next_ns[k] = now_ns + demo_kind_row[k].period_ns * (s->index + 1) / DEMO_STRATEGIES;
    }
    switch (s->result->mode) {
    case DEMO_ALONE:
        demo_mode_alone(s);
        break;
    case DEMO_PERMIT:
        demo_mode_permit(s);
        break;
    case DEMO_CALL:
        demo_mode_call(s);
        break;
    }
    s->result->refused += s->pending_cnt; /* what did not get through before the end */
    s->result->finished = s->result->failure[0] == '\0';
}
