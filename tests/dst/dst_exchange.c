/*
 * dst_exchange.c: the exchange, and the judge. It counts by the published rules, with its own clock, by the instant at which a request arrives; it shares no
 * code with shm/. It knows each call by the id in its query.
 *
 *   fixed      at most quota in each [k W, (k+1) W) of its UTC
 *   bucket     a level that falls by quota/W; never above burst
 *   sliding    at most quota in any (t - W, t]
 *   units      at most quota open
 */
#include "dst.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LOG_MAX 8192U

struct arrival {
    uint64_t at;
    uint64_t units;
};

struct count {
    uint64_t window; /* fixed */
    uint64_t units;
    double level; /* bucket */
    uint64_t level_at;
    struct arrival log[LOG_MAX]; /* sliding: a ring */
    unsigned log_first, log_cnt;
    uint64_t log_units;
    uint64_t open; /* units */
    uint64_t used_most;
};

static struct count count[DST_PROVIDERS_MAX][DST_LIMITS_MAX];
static struct dst_call *calls;
static uint64_t call_cnt, call_room;
static uint64_t arrivals;

/* ---------------------------------------------------------------------------------------------- calls by id */

uint64_t dst_call_new(const struct dst_call *c)
{
    if (call_cnt == call_room) {
        call_room = call_room * 2 + 4096;
        calls = __real_realloc(calls, call_room * sizeof *calls);
    }
    calls[call_cnt] = *c;
    return call_cnt++;
}

struct dst_call *dst_call_at(uint64_t id)
{
    if (id >= call_cnt) {
        dst_broken("outcome", "a call of id %llu was never made", (unsigned long long)id);
    }
    return &calls[id];
}

uint64_t dst_call_cnt(void);

uint64_t dst_call_cnt(void)
{
    return call_cnt;
}

uint64_t dst_exchange_arrivals(void)
{
    return arrivals;
}

void dst_exchange_reset(void)
{
    memset(count, 0, sizeof count);
    call_cnt = 0;
    arrivals = 0;
}

/* ---------------------------------------------------------------------------------------------- counting */

uint64_t dst_server_utc(const struct dst_provider *p, uint64_t at)
{
    return at + (uint64_t)(p->offset_ns + (int64_t)((__int128)at * p->drift_ppb / 1000000000));
}

/* Count one arrival on one limit. Returns how much stands there now; more than `*most` is too much. */
static uint64_t count_add(const struct dst_provider *p, const struct dst_limit *l, struct count *c,
                          uint64_t units, uint64_t *most)
{
    uint64_t id;
    *most = l->quota;
    switch (l->kind) {
    case DST_FIXED:
        id = dst_server_utc(p, dst_now) / l->window_ns;
        if (id != c->window) {
            c->window = id;
            c->units = 0;
        }
        return c->units += units;
    case DST_BUCKET:
        c->level -= (double)(dst_now - c->level_at) * (double)l->quota / (double)l->window_ns;
        c->level = c->level < 0 ? 0 : c->level;
        c->level_at = dst_now;
        c->level += (double)units;
        *most = l->burst;
        return (uint64_t)(c->level - 1e-6) + 1;
    case DST_SLIDING:
        while (c->log_cnt > 0 && c->log[c->log_first].at + l->window_ns <= dst_now) {
            c->log_units -= c->log[c->log_first].units;
            c->log_first = (c->log_first + 1) % LOG_MAX;
            c->log_cnt--;
        }
        if (c->log_cnt == LOG_MAX) {
            dst_broken("simulator", "too many arrivals in one span");
        }
        c->log[(c->log_first + c->log_cnt++) % LOG_MAX] = (struct arrival){dst_now, units};
        return c->log_units += units;
    default:
        return c->open += units;
    }
}

uint64_t dst_exchange_count(unsigned provider, unsigned limit, uint64_t *window)
{
    *window = count[provider][limit].window;
    return count[provider][limit].units;
}

/* "/rN?id=M". A liar's request may have any query: then `*id` is UINT64_MAX. */
static bool parse(const char *path, unsigned *route, uint64_t *id)
{
    unsigned long long n = 0;
    *id = UINT64_MAX;
    if (strncmp(path, "/time", 5) == 0) {
        *route = UINT32_MAX;
        return true;
    }
    int found = sscanf(path, "/r%u?id=%llu", route, &n);
    if (found == 2 && n < call_cnt && calls[n].route == *route) {
        *id = n;
    }
    return found == 2 ? *id != UINT64_MAX || dst_world.liars : found == 1 && dst_world.liars;
}

/* A call of `r` is charged on each limit of its route. Beside liars only what the broker itself sends is promised. */
static void charge(unsigned provider, const struct dst_route *r, uint64_t id, bool brokered)
{
    const struct dst_provider *p = &dst_world.provider[provider];
    for (unsigned i = 0; i < r->cost_cnt && (brokered || !dst_world.liars); i++) {
        const struct dst_limit *l = &p->limit[r->limit[i]];
        struct count *c = &count[provider][r->limit[i]];
        uint64_t most;
        uint64_t now = count_add(p, l, c, r->cost[i], &most);
        c->used_most = now > c->used_most ? now : c->used_most;
        dst_checks[DST_CHECK_QUOTA]++;
        dst_trace("count", r->limit[i], now, most);
        if (now > most) {
            dst_broken("never exceed",
                       "%s.%s: the exchange counts %llu of %llu: call %llu (%s) by %s, server time "
                       "%.6f s, window %.3f s",
                       p->name, l->name, (unsigned long long)now, (unsigned long long)most,
                       (unsigned long long)id, r->name, brokered ? "the broker" : "a trader",
                       (double)dst_server_utc(p, dst_now) / 1e9, (double)l->window_ns / 1e9);
        }
    }
}

static void call_seen(struct dst_call *c, uint64_t id)
{
    dst_checks[DST_CHECK_ONCE]++;
    dst_checks[DST_CHECK_UNSEEN]++;
    c->seen++;
    if (!c->idempotent && c->seen > 1) {
        dst_broken("never twice", "order %llu arrives a second time", (unsigned long long)id);
    }
    if (c->unsendable) {
        dst_broken("outcome", "call %llu arrives, though its outcome was that it was not sent",
                   (unsigned long long)id);
    }
}

static void answer_make(unsigned provider, unsigned status, uint64_t id, bool clock,
                        struct dst_reply *out)
{
    const struct dst_provider *p = &dst_world.provider[provider];
    size_t n = (size_t)snprintf(out->head, sizeof out->head, "HTTP/1.1 %u X\r\n", status);
    if (out->retry_after_s > 0) {
        n += (size_t)snprintf(out->head + n, sizeof out->head - n, "Retry-After: %llu\r\n",
                              (unsigned long long)out->retry_after_s);
    }
    if (p->reports_used && p->limit[0].kind == DST_FIXED &&
        count[provider][0].window == dst_server_utc(p, dst_now) / p->limit[0].window_ns) {
        n += (size_t)snprintf(out->head + n, sizeof out->head - n, "X-Used: %llu\r\n",
                              (unsigned long long)count[provider][0].units);
    }
    (void)snprintf(out->head + n, sizeof out->head - n, "\r\n");
    out->status = status;
    if (clock && status == 200) {
        out->body_bytes =
            (size_t)snprintf(out->body, sizeof out->body, "{\"serverTime\":%llu}",
                             (unsigned long long)(dst_server_utc(p, dst_now) / DST_MS));
        return;
    }
    size_t pad = dst_log_uniform(1, 2800);
    out->body_bytes = (size_t)snprintf(out->body, sizeof out->body, "{\"id\":%llu,\"pad\":\"",
                                       (unsigned long long)id);
    memset(out->body + out->body_bytes, 'x', pad);
    out->body_bytes += pad;
    if (status == 200 && dst_fault(DST_ANSWER_LARGE, dst_world.mix.large)) {
        memset(out->body + out->body_bytes, 'y', 5000);
        out->body_bytes += 5000;
    }
    memcpy(out->body + out->body_bytes, "\"}", 2);
    out->body_bytes += 2;
}

static unsigned status_draw(struct dst_reply *out)
{
    out->retry_after_s = 0;
    if (dst_fault(DST_TOLD_429, dst_world.mix.told_429)) {
        out->retry_after_s = dst_below(4);
        return 429;
    }
    if (dst_fault(DST_TOLD_418, dst_world.mix.told_418)) {
        out->retry_after_s = 5 + dst_below(30);
        return 418;
    }
    return dst_fault(DST_ANSWER_5XX, dst_world.mix.e5xx) ? 503 : 200;
}

void dst_exchange_arrive(unsigned provider, const char *path, bool brokered, bool late,
                         struct dst_reply *out)
{
    struct dst_provider *p = &dst_world.provider[provider];
    unsigned route = 0;
    uint64_t id = UINT64_MAX;
    (void)late;
    arrivals++;
    if (!parse(path, &route, &id)) {
        dst_broken("exchange", "a request for %s", path);
    }
    dst_trace("arrive", provider, route, id);
    unsigned status = status_draw(out);
    if (route == UINT32_MAX) {
        answer_make(provider, status, 0, true, out);
        return;
    }
    struct dst_call *c = id != UINT64_MAX ? dst_call_at(id) : NULL;
    if (route >= p->route_cnt || (c != NULL && c->provider != provider)) {
        dst_broken("exchange", "call %llu arrives on another route", (unsigned long long)id);
    }
    charge(provider, &p->route[route], id, brokered);
    answer_make(provider, status, id, false, out);
    if (c != NULL) {
        call_seen(c, id);
        c->status = status;
    }
}

void dst_exchange_over(unsigned provider, const char *path, bool brokered)
{
    const struct dst_provider *p = &dst_world.provider[provider];
    unsigned route = 0;
    uint64_t id = 0;
    if (!parse(path, &route, &id) || route >= p->route_cnt || (dst_world.liars && !brokered)) {
        return;
    }
    const struct dst_route *r = &p->route[route];
    for (unsigned i = 0; i < r->cost_cnt; i++) {
        if (p->limit[r->limit[i]].kind == DST_UNITS) {
            count[provider][r->limit[i]].open -= r->cost[i];
        }
    }
}

/* How much of each limit was used at most, for people. */
void dst_exchange_print(void);

void dst_exchange_print(void)
{
    for (unsigned k = 0; k < dst_world.provider_cnt; k++) {
        const struct dst_provider *p = &dst_world.provider[k];
        for (unsigned i = 0; i < p->limit_cnt; i++) {
            (void)printf("  %s.%-8s at most %llu of %llu\n", p->name, p->limit[i].name,
                         (unsigned long long)count[k][i].used_most,
                         (unsigned long long)(p->limit[i].kind == DST_BUCKET ? p->limit[i].burst
                                                                             : p->limit[i].quota));
        }
    }
}
