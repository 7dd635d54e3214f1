/*
 * dst_exchange.c: the exchange. It knows each call by the id in its query, answers, and says what a call cost in the end. Its counts are in dst_count.c.
 */
#include "dst.h"
#include "dst_session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct dst_call *calls;
static uint64_t call_cnt, call_room;
static uint64_t arrivals;
static uint64_t arrived_at;                                       /* the last one */
static uint64_t banned_until[DST_PROVIDERS_MAX][DST_VALUES_MAX];  /* by address */
static uint64_t refused_until[DST_PROVIDERS_MAX][DST_VALUES_MAX]; /* by key */

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
    dst_count_reset();
    call_cnt = 0;
    arrivals = 0;
    arrived_at = 0;
    memset(banned_until, 0, sizeof banned_until);
    memset(refused_until, 0, sizeof refused_until);
}

/* ---------------------------------------------------------------------------------------------- counting */

uint64_t dst_server_utc(const struct dst_provider *p, uint64_t at)
{
    return at + (uint64_t)(p->offset_ns + (int64_t)((__int128)at * p->drift_ppb / 1000000000));
}

#define ROUTE_TIME UINT32_MAX
#define ROUTE_ASK  (UINT32_MAX - 1) /* what became of an order? */
#define ROUTE_SIGN (UINT32_MAX - 2) /* weir signs in */

/* "/rN?id=M", "/ask?id=M", "/k?s=A3" or "/kb?s=A3,A5". A liar's request may have any query: then `*id` is UINT64_MAX. */
static bool parse(unsigned provider, const char *path, unsigned *route, uint64_t *id)
{
    const struct dst_provider *p = &dst_world.provider[provider];
    unsigned long long n = 0;
    *id = UINT64_MAX;
    if (strncmp(path, "/time", 5) == 0) {
        *route = ROUTE_TIME;
        return true;
    }
    if (p->session != DST_SESSION_NONE &&
        (strncmp(path, "/token", 6) == 0 || strncmp(path, "/cookie", 7) == 0 ||
         strncmp(path, "/crumb", 6) == 0)) {
        *route = ROUTE_SIGN;
        return true;
    }
    if (p->shares && path[1] == 'k') {
        *route = p->route_cnt + (path[2] == 'b');
        return true;
    }
    if (strncmp(path, "/ask", 4) == 0) {
        *route = ROUTE_ASK;
        *id = sscanf(path, "/ask?id=%llu", &n) == 1 && n < call_cnt ? n : UINT64_MAX;
        return *id != UINT64_MAX || dst_world.liars;
    }
    int found = sscanf(path, "/r%u?id=%llu", route, &n);
    if (found == 2 && n < call_cnt && calls[n].route == *route) {
        *id = n;
    }
    return found == 2 ? *id != UINT64_MAX || dst_world.liars : found == 1 && dst_world.liars;
}

/* A call of `r` is charged on each limit of its route. Beside liars only what the broker itself sends is promised. */
static void charge(unsigned provider, dst_maker who, const struct dst_route *r, uint64_t id,
                   bool brokered)
{
    for (unsigned i = 0; i < r->cost_cnt && (brokered || !dst_world.liars); i++) {
        dst_count_arrive(provider, r->limit[i], who, id, r->cost[i],
                         brokered ? "by the broker" : "by a trader");
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

/* What the headers say of one limit. */
static size_t told_put(unsigned provider, dst_maker who, unsigned i, struct dst_reply *out,
                       size_t n)
{
    const struct dst_provider *p = &dst_world.provider[provider];
    const struct dst_limit *l = &p->limit[i];
    bool all = p->others && l->kind != DST_UNITS && i != 1;
    out->tells[i] = false;
    if (!all && !(p->reports_used && i == 0)) {
        return 0;
    }
    uint64_t most = l->kind == DST_BUCKET ? l->burst : l->quota;
    out->told[i] = dst_count_told(provider, i, who);
    if (p->others && dst_fault(DST_TOLD_NONSENSE, 0.03)) {
        return (size_t)snprintf(out->head + n, sizeof out->head - n, "X-T%u: -1\r\n", i);
    }
    bool left = l->kind != DST_FIXED || dst_tells_left(p);
    uint64_t n_left = most > out->told[i] ? most - out->told[i] : 0;
    out->tells[i] = left ? n_left > 0 : out->told[i] <= most; /* 0 left says no more than that */
    return (size_t)snprintf(out->head + n, sizeof out->head - n, "X-T%u: %llu\r\n", i,
                            (unsigned long long)(left ? n_left : out->told[i]));
}

/* The body up to its padding, and what the call cost in the end. */
static size_t settle_put(const struct dst_route *r, uint64_t id, struct dst_reply *out)
{
    size_t room = sizeof out->body;
    size_t n = (size_t)snprintf(out->body, room, "{\"id\":%llu,", (unsigned long long)id);
    out->settles = false;
    out->success = out->status == 200;
    if (r != NULL && r->settle != DST_SETTLE_NONE) {
        uint64_t cost = r->cost[r->settle_cost];
        bool bucket = r->never_dearer;
        if (r->ok_field && out->success && dst_chance(0.4)) {
            out->success = false;
        }
        n += (size_t)snprintf(out->body + n, room - n, "\"ok\":\"%s\",",
                              out->success ? "yes" : "no");
        uint64_t rule = out->success ? r->success_units : r->failure_units;
        out->units = rule == DST_AS_CHARGED ? cost : rule;
        uint64_t parts = dst_below((bucket ? cost : 2 * cost) + 1);
        if (r->settle == DST_SETTLE_FIELD) {
            out->units = parts;
            n +=
                (size_t)snprintf(out->body + n, room - n, "\"n\":%llu,", (unsigned long long)parts);
        } else if (r->settle == DST_SETTLE_LIST) {
            out->units = 0;
            n += (size_t)snprintf(out->body + n, room - n, "\"list\":[");
            for (uint64_t i = 0; i < cost; i++) {
                bool done = dst_chance(0.5);
                out->units += done;
                n += (size_t)snprintf(out->body + n, room - n, "%s{\"s\":\"%s\"}", i > 0 ? "," : "",
                                      done ? "y" : "n");
            }
            n += (size_t)snprintf(out->body + n, room - n, "],");
        }
        out->settles = true;
    }
    return n + (size_t)snprintf(out->body + n, room - n, "\"pad\":\"");
}

static void answer_make(unsigned provider, dst_maker who, const struct dst_route *r,
                        unsigned status, uint64_t id, struct dst_reply *out)
{
    const struct dst_provider *p = &dst_world.provider[provider];
    size_t n = (size_t)snprintf(out->head, sizeof out->head, "HTTP/1.1 %u X\r\n", status);
    if (out->retry_after_s > 0) {
        n += (size_t)snprintf(out->head + n, sizeof out->head - n, "Retry-After: %llu\r\n",
                              (unsigned long long)out->retry_after_s);
    }
    for (unsigned i = 0; i < p->limit_cnt; i++) {
        n += told_put(provider, who, i, out, n);
    }
    (void)snprintf(out->head + n, sizeof out->head - n, "\r\n");
    out->status = status;
    out->settles = false;
    if (r == NULL && status == 200) {
        out->body_bytes = (size_t)snprintf(
            out->body, sizeof out->body, "{\"%s\":%llu}", p->mute ? "none" : "serverTime",
            (unsigned long long)(dst_server_utc(p, dst_now) / DST_MS));
        return;
    }
    size_t pad = dst_log_uniform(1, 2800);
    out->body_bytes = settle_put(r, id, out);
    memset(out->body + out->body_bytes, 'x', pad);
    out->body_bytes += pad;
    if (status == 200 && dst_fault(DST_ANSWER_LARGE, dst_world.mix.large)) {
        memset(out->body + out->body_bytes, 'y', 5000);
        out->body_bytes += 5000;
    }
    memcpy(out->body + out->body_bytes, "\"}", 2);
    out->body_bytes += 2;
}

static size_t symbol_put(unsigned symbol, struct dst_reply *out, size_t n)
{
    n += (size_t)snprintf(out->body + n, sizeof out->body - n,
                          "{\"s\":\"A%u\",\"t\":%llu,\"pad\":\"", symbol,
                          (unsigned long long)dst_now);
    for (uint64_t pad = dst_below(120); pad > 0; pad--) {
        out->body[n++] = 'x';
    }
    memcpy(out->body + n, "\"}", 2);
    return n + 2;
}

/* Each symbol that the query names, or all. Now and then one is missing, stands there twice, or the answer ends early. */
static size_t symbols_put(const char *path, struct dst_reply *out)
{
    const char *at = strchr(path, '=');
    size_t n = 0;
    for (unsigned symbol = 0; symbol < DST_SYMBOLS; symbol++) {
        char name[4];
        (void)snprintf(name, sizeof name, "A%u", symbol);
        unsigned times = at != NULL && strstr(at, name) == NULL ? 0 : 1;
        if (times > 0 && dst_fault(DST_BATCH_ODD, 0.02)) {
            times = 2 * (unsigned)dst_below(2);
        }
        for (; times > 0; times--) {
            out->body[n] = n == 0 ? '[' : ',';
            n = symbol_put(symbol, out, n + 1);
        }
    }
    n += n == 0 ? (size_t)snprintf(out->body, sizeof out->body, "[") : 0;
    out->body[n] = ']';
    return n + !dst_fault(DST_BATCH_ODD, 0.02);
}

/* One that all may have, without an id: whose it is, its symbol says. */
static void ask_answer(unsigned provider, dst_maker who, const char *path, unsigned status,
                       struct dst_reply *out)
{
    bool many = path[2] == 'b';
    unsigned symbol = many ? 0 : (unsigned)(path[strlen(path) - 1] - '0');
    bool unknown = many ? strstr(path, "A8") != NULL : symbol >= DST_SYMBOLS;
    answer_make(provider, who, NULL, status == 200 && unknown ? 400 : status, 0, out);
    if (out->status == 200) {
        out->body_bytes = many ? symbols_put(path, out) : symbol_put(symbol, out, 0);
    }
}

/* An address that is banned hears so until it is over; a key that is refused is nobody. */
static unsigned status_of_maker(unsigned provider, dst_maker who, struct dst_reply *out)
{
    unsigned address = dst_made_by(who, DST_ADDRESS);
    unsigned key = dst_made_by(who, DST_KEY);
    if (address > 0 && dst_fault(DST_MEMBER_BANNED, dst_world.mix.banned)) {
        banned_until[provider][address] = dst_now + dst_log_uniform(DST_S, 10 * DST_S);
    }
    if (key > 0 && dst_fault(DST_KEY_REFUSED, dst_world.mix.key_refused)) {
        refused_until[provider][key] = dst_now + dst_log_uniform(100 * DST_MS, 10 * DST_S);
    }
    if (dst_now < banned_until[provider][address]) {
        out->retry_after_s = (banned_until[provider][address] - dst_now) / DST_S + 1;
        return address % 2 == 0 ? 418 : 429;
    }
    return dst_now < refused_until[provider][key] ? 401 : 0;
}

static unsigned status_draw(unsigned provider, dst_maker who, struct dst_reply *out)
{
    out->retry_after_s = 0;
    unsigned status = status_of_maker(provider, who, out);
    if (status != 0) {
        return status;
    }
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

/* Somebody asks after an order: it is in the book if it ever arrived. It takes one unit of the first limit, and counts like every call. */
static void asked(unsigned provider, dst_maker who, uint64_t id, unsigned status,
                  struct dst_reply *out)
{
    static const struct dst_route plain;
    bool there = id != UINT64_MAX && dst_call_at(id)->seen > 0;
    dst_count_arrive(provider, 0, who, UINT64_MAX, 1, "by the broker, to ask");
    answer_make(provider, who, &plain, status == 200 && !there ? 404 : status, id, out);
}

static void members_check(const struct dst_provider *p, const struct dst_route *r,
                          const struct dst_call *c, uint64_t id, dst_maker who)
{
    for (unsigned s = DST_ADDRESS; s <= DST_KEY; s++) {
        unsigned is = dst_made_by(who, (enum dst_scope)s);
        unsigned named = dst_made_by(c->named, (enum dst_scope)s);
        bool some = s == DST_ADDRESS ? p->address_cnt > 0 : r->is_signed && p->key_cnt > 0;
        unsigned pool = s == DST_ADDRESS ? p->address_pool : p->key_pool;
        dst_checks[DST_CHECK_MEMBER]++;
        if ((is > 0) != some || (named > 0 && is != named) || (named == 0 && is > pool)) {
            dst_broken("member", "call %llu comes from %s %u; it named %u, and %u are in the pool",
                       (unsigned long long)id, s == DST_ADDRESS ? "address" : "key", is, named,
                       pool);
        }
    }
}

/* An order goes out once more only where weir knows that nothing was done: it was told so, or has asked. */
static void order_leaves(struct dst_call *c, uint64_t id)
{
    dst_checks[DST_CHECK_ONCE]++;
    if (c->open > 0 && !c->asked) {
        dst_broken("never twice", "order %llu leaves again, and nobody knows what became of it",
                   (unsigned long long)id);
    }
    c->open = c->asked ? 1 : c->open + 1;
}

void dst_exchange_sent(unsigned provider, dst_maker who, const char *path,
                       const struct dst_bears *bears)
{
    unsigned route = 0;
    uint64_t id = UINT64_MAX;
    const struct dst_provider *p = &dst_world.provider[provider];
    bool known = parse(provider, path, &route, &id);
    bool asks = known && route == ROUTE_ASK;
    if (bears != NULL && known && !dst_world.liars) {
        bool is_signed = asks ? p->key_cnt > 0 || p->session != DST_SESSION_NONE
                              : route < p->route_all && p->route[route].is_signed;
        dst_session_leaves(provider, path, is_signed, bears);
    }
    if (id == UINT64_MAX || !(asks || route < p->route_cnt)) {
        return;
    }
    struct dst_call *c = dst_call_at(id);
    unsigned key = dst_made_by(who, DST_KEY);
    unsigned before = dst_made_by(c->sent_by, DST_KEY);
    if (!asks && p->address_cnt + p->key_cnt > 0) {
        members_check(p, &p->route[route], c, id, who);
    }
    /* Of an order that may be there nobody knows but the key that made it. */
    if (before > 0 && key != before && !c->idempotent && (asks || c->asked)) {
        dst_broken("member", "order %llu was sent with key %u, and is %s with key %u",
                   (unsigned long long)id, before, asks ? "asked after" : "sent again", key);
    }
    if (!asks && !c->idempotent) {
        order_leaves(c, id);
    }
    c->asked = c->asked || asks;
    c->sent_by = asks ? c->sent_by : who;
}

void dst_exchange_told(unsigned provider, const char *path, const struct dst_bears *bears,
                       const struct dst_reply *reply)
{
    unsigned route = 0;
    uint64_t id = UINT64_MAX;
    bool known = parse(provider, path, &route, &id);
    dst_session_heard(provider, path, bears, reply);
    if (known && id != UINT64_MAX && route < dst_world.provider[provider].route_cnt &&
        reply->turned && dst_call_at(id)->open > 0) {
        dst_call_at(id)->open--;
    }
}

/* Weir signs in. It takes one unit of the first limit. */
static void sign_in(unsigned provider, dst_maker who, const char *path, unsigned status,
                    const struct dst_bears *bears, struct dst_reply *out)
{
    static const struct dst_route plain;
    char line[96];
    dst_count_arrive(provider, 0, who, UINT64_MAX, 1, "by the broker, to sign in");
    static struct dst_reply body; /* large */
    status = dst_session_arrives(provider, path, status, bears, line, sizeof line, &body);
    answer_make(provider, who, &plain, status, 0, out);
    size_t n = strlen(out->head) - 2; /* before the empty line */
    (void)snprintf(out->head + n, sizeof out->head - n, "%s\r\n", line);
    memcpy(out->body, body.body, body.body_bytes);
    out->body_bytes = body.body_bytes;
}

void dst_exchange_arrive(unsigned provider, dst_maker who, const char *path,
                         const struct dst_bears *bears, struct dst_reply *out)
{
    bool brokered = bears != NULL;
    struct dst_provider *p = &dst_world.provider[provider];
    unsigned route = 0;
    uint64_t id = UINT64_MAX;
    arrivals++;
    dst_now +=
        dst_now == arrived_at; /* a call and an instant name one arrival: a call may come twice */
    arrived_at = out->arrived_at = dst_now;
    if (!parse(provider, path, &route, &id)) {
        dst_broken("exchange", "a request for %s", path);
    }
    dst_trace("arrive", (uint64_t)provider << 32 | who, route, id);
    unsigned status = status_draw(provider, who, out);
    out->turned = false;
    if (route == ROUTE_TIME) {
        answer_make(provider, who, NULL, status, 0, out);
        return;
    }
    if (route == ROUTE_SIGN && brokered) {
        sign_in(provider, who, path, status, bears, out);
        return;
    }
    bool is_signed = route == ROUTE_ASK || (route < p->route_cnt && p->route[route].is_signed);
    if (brokered && is_signed && p->session != DST_SESSION_NONE && status == 200 &&
        !dst_session_good(provider, bears)) {
        out->turned = dst_fault(DST_TURNED_AWAY, 1) || true;
        status = 401;
    }
    if (route == ROUTE_ASK) {
        asked(provider, who, id, status, out);
        return;
    }
    struct dst_call *c = id != UINT64_MAX ? dst_call_at(id) : NULL;
    if (route >= p->route_all || (c != NULL && c->provider != provider)) {
        dst_broken("exchange", "call %llu arrives on another route", (unsigned long long)id);
    }
    charge(provider, who, &p->route[route], id, brokered);
    if (route >= p->route_cnt) {
        ask_answer(provider, who, path, status, out);
        return;
    }
    answer_make(provider, who, &p->route[route], status, id, out);
    if (c != NULL) {
        if (out->turned) {
            c->turned++;
        } else {
            call_seen(c, id);
        }
        c->seen_by = who;
        c->status = status;
    }
}

void dst_exchange_over(unsigned provider, dst_maker who, const char *path, bool brokered)
{
    const struct dst_provider *p = &dst_world.provider[provider];
    unsigned route = 0;
    uint64_t id = 0;
    if (!parse(provider, path, &route, &id) || route >= p->route_all ||
        (dst_world.liars && !brokered)) {
        return;
    }
    const struct dst_route *r = &p->route[route];
    for (unsigned i = 0; i < r->cost_cnt; i++) {
        dst_count_over(provider, r->limit[i], who, r->cost[i]);
    }
}

/* The route and the id that a path names; NULL: the clock's question. */
static const struct dst_route *route_of(unsigned provider, const char *path, uint64_t *id)
{
    const struct dst_provider *p = &dst_world.provider[provider];
    unsigned route = 0;
    return parse(provider, path, &route, id) && route < p->route_all ? &p->route[route] : NULL;
}

void dst_exchange_settle(unsigned provider, dst_maker who, const char *path,
                         const struct dst_reply *reply)
{
    uint64_t id;
    const struct dst_route *r = route_of(provider, path, &id);
    if (r == NULL || !reply->settles) {
        return;
    }
    uint64_t cost = r->cost[r->settle_cost];
    if (reply->units != cost) {
        (void)dst_fault(reply->units < cost ? DST_REFUNDED : DST_SURCHARGED, 1);
    }
    dst_count_settle(provider, r->limit[r->settle_cost], who, id, reply->arrived_at, reply->units);
}

/* Was the call surely counted in the window that is current at the exchange, by whoever's clock? */
static bool window_is_sure(const struct dst_provider *p, const struct dst_limit *l, uint64_t from)
{
    uint64_t wide = 300 * DST_MS;
    return l->kind != DST_FIXED ||
           dst_server_utc(p, from - (from > wide ? wide : from)) / l->window_ns ==
               dst_server_utc(p, dst_now + wide) / l->window_ns;
}

void dst_exchange_heard(unsigned provider, dst_maker who, const char *path, bool brokered,
                        uint64_t sent_at, const struct dst_reply *reply)
{
    const struct dst_provider *p = &dst_world.provider[provider];
    uint64_t id;
    const struct dst_route *r = route_of(provider, path, &id);
    if (r == NULL) {
        return;
    }
    if (reply->settles) {
        dst_count_settled(provider, r->limit[r->settle_cost], who, id, reply->arrived_at);
    }
    for (unsigned i = 0; p->others && brokered && reply->status == 200 && i < r->cost_cnt; i++) {
        unsigned k = r->limit[i];
        const struct dst_limit *l = &p->limit[k];
        uint64_t window = dst_server_utc(p, reply->arrived_at) / l->window_ns;
        if (reply->tells[k] && reply->told[k] > 0 && window_is_sure(p, l, sent_at) &&
            (dst_check_proves(provider, k, reply->told[k]) ||
             dst_check_others(provider, k, window) > 0)) {
            dst_count_heard(provider, k, reply->arrived_at);
        }
    }
}

/* ---------------------------------------------------------------------------------------------- others */

static void others_event(void *arg, uint64_t provider, uint64_t left)
{
    static const unsigned shared[] = {0, 2, 3, 4};
    const struct dst_provider *p = &dst_world.provider[provider];
    (void)arg;
    if (!dst_faults_on()) {
        return;
    }
    unsigned k = shared[dst_below(4)];
    const struct dst_limit *l = &p->limit[k];
    dst_count_other((unsigned)provider, k, 1 + dst_below(l->quota / 6 + 1));
    uint64_t next = dst_log_uniform(2 * DST_MS, 400 * DST_MS);
    if (left == 0) { /* they rest */
        next += dst_log_uniform(DST_S, 20 * DST_S);
        left = dst_log_uniform(5, 400);
    }
    dst_at(dst_now + next, others_event, NULL, provider, left - 1);
}

void dst_exchange_others_start(void)
{
    for (unsigned i = 0; i < dst_world.provider_cnt; i++) {
        if (dst_world.provider[i].others) {
            dst_at(dst_now + dst_below(3 * DST_S), others_event, NULL, i, 50);
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
                         (unsigned long long)dst_count_most(k, i),
                         (unsigned long long)(p->limit[i].kind == DST_BUCKET ? p->limit[i].burst
                                                                             : p->limit[i].quota));
        }
    }
}
