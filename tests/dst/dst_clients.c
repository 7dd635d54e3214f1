/*
 * dst_clients.c: strategies. They use the real libclient, want more than there is, die anywhere, and note what they were told.
 *
 * A strategy that makes its own calls is a cooperating one: it looks at use_by_ns and writes in the same instant; what becomes of its call it
 * settles, or dies.
 */
#include "dst.h"

#include "libclient/handle.h"

#include <stdio.h>
#include <string.h>

#define OPEN_MAX 40U
#define SLOTS    48U

struct outstanding {
    bool used;
    weir_ticket ticket;
    uint64_t id;
    bool alone; /* nothing else has been open beside it */
};

struct client {
    struct weir *w;
    unsigned me;
    weir_route_id route[DST_PROVIDERS_MAX][DST_ROUTES_MAX];
    struct outstanding open[OPEN_MAX];
    unsigned open_cnt;
    uint64_t broker_life;
    bool trader;
    bool attentive; /* it looks whether the broker lives; others learn it from their calls only */
    bool refused;   /* a call of it was refused for good: there is no broker any more */
};

struct dst_process dst_client_process[DST_CLIENTS_MAX];

static struct client client[DST_CLIENTS_MAX];
static bool quiet;
static bool idle[DST_CLIENTS_MAX];

uint64_t dst_call_cnt(void);
void dst_http_client_died(const struct dst_process *p);

/* ---------------------------------------------------------------------------------------------- what they were told */

/* A read that was taken back may have left; then it says so. An order that is said to be taken back has not. */
static bool never_sent(const struct dst_call *c, const struct weir_response *a)
{
    enum weir_result r = a->result;
    return r == WEIR_RESULT_REFUSED || r == WEIR_RESULT_EXPIRED ||
           (r == WEIR_RESULT_CANCELLED && (a->sends == 0 || !c->idempotent)) ||
           r == WEIR_RESULT_REJECTED || r == WEIR_RESULT_NOT_SENT || r == WEIR_RESULT_NO_ROOM;
}

static void unsendable(uint64_t id, const char *why)
{
    struct dst_call *c = dst_call_at(id);
    c->unsendable = true;
    dst_checks[DST_CHECK_UNSEEN]++;
    if (c->seen > 0) {
        dst_broken("outcome", "call %llu ended as %s, and the exchange has seen it",
                   (unsigned long long)id, why);
    }
}

/* All of the body, because half of it may lie in another answer's room. */
static void body_check(uint64_t id, const struct weir_response *r)
{
    char want[48];
    const char *body = r->body;
    size_t n = (size_t)snprintf(want, sizeof want, "{\"id\":%llu,", (unsigned long long)id);
    bool good = r->body_bytes >= n + 2 && memcmp(body, want, n) == 0;
    const char *pad = good ? memmem(body, r->body_bytes, "\"pad\":\"", 7) : NULL;
    n = pad != NULL ? (size_t)(pad - body) + 7 : n;
    good = pad != NULL && r->body_bytes >= n + 2 && memcmp(body + r->body_bytes - 2, "\"}", 2) == 0;
    for (size_t i = n; good && i < r->body_bytes - 2; i++) {
        good = body[i] == 'x';
    }
    if (!good) {
        dst_broken("outcome", "call %llu got an answer that is not its own: %.*s",
                   (unsigned long long)id, (int)(r->body_bytes < 60 ? r->body_bytes : 60), body);
    }
}

/* An answer that all may have: of the symbol that was asked for, whole, and no older than it may be. Whatever was given was given behind the submission. */
static void ask_check(uint64_t id, const struct dst_call *c, const struct weir_response *r)
{
    const struct dst_provider *p = &dst_world.provider[c->provider];
    char text[192];
    unsigned symbol = UINT32_MAX;
    unsigned long long at = 0;
    int pad = 0;
    size_t n = r->body_bytes < sizeof text ? r->body_bytes : sizeof text - 1;
    dst_checks[DST_CHECK_AGE]++;
    memcpy(text, r->body, n);
    text[n] = '\0';
    if (r->status != 200) {
        return;
    }
    bool good = sscanf(text, "{\"s\":\"A%u\",\"t\":%llu,\"pad\":\"%n", &symbol, &at, &pad) == 2 &&
                pad > 0 && symbol == c->symbol && r->body_bytes < sizeof text &&
                strspn(text + pad, "x") + (size_t)pad + 2 == n && strcmp(text + n - 2, "\"}") == 0;
    if (!good) {
        dst_broken("outcome", "call %llu asked for A%u, and got %s", (unsigned long long)id,
                   c->symbol, text);
    }
    uint64_t age_ns = c->submitted_at > at ? c->submitted_at - at : 0;
    uint64_t most_ns = p->cache_ns + p->stale_ns;
    if (r->source == WEIR_SOURCE_DISK) {
        most_ns = p->last_good_ns;
        (void)dst_fault(DST_FROM_DISK, 1);
    }
    if (age_ns > most_ns + DST_MS) {
        dst_broken("age", "call %llu got an answer of %.6f s, where %.6f are allowed, source %u",
                   (unsigned long long)id, (double)age_ns / 1e9, (double)most_ns / 1e9, r->source);
    }
    if (age_ns > r->age_ns + DST_MS) {
        dst_broken("age", "call %llu: an answer of %.6f s is said to be of %.6f s, source %u",
                   (unsigned long long)id, (double)age_ns / 1e9, (double)r->age_ns / 1e9,
                   r->source);
    }
}

uint64_t dst_doubts[WEIR_DOUBT_CNT];

/* An order of a provider that is asked may end so, and then has not arrived and never will. */
static bool may_be_absent(const struct dst_call *c, const struct weir_response *r)
{
    return !c->idempotent && dst_world.provider[c->provider].asks &&
           r->doubt == WEIR_DOUBT_ABSENT && r->sends > 0;
}

/* The member that the answer names is the one that it arrived from. Of two arrivals nobody here knows which one was answered. */
static void member_check(struct weir *w, uint64_t id, const struct weir_response *r)
{
    const struct dst_call *c = dst_call_at(id);
    const struct dst_provider *p = &dst_world.provider[c->provider];
    char text[64] = "";
    unsigned address = 0;
    unsigned key = 0;
    if (p->address_cnt + p->key_cnt == 0 || c->seen + c->turned != 1 ||
        r->doubt == WEIR_DOUBT_FOUND) {
        return;
    }
    char full[48];
    weir_route_id route;
    (void)snprintf(full, sizeof full, "%s.%s", p->name, p->route[c->route].name);
    if (weir_route_find(w, full, &route) != WEIR_OK ||
        weir_member_name(w, route, r->member, text, sizeof text) != WEIR_OK) {
        return; /* no broker any more */
    }
    const char *at = strstr(text, "key=k");
    (void)sscanf(text, "ip=a%u", &address);
    (void)sscanf(at != NULL ? at : "", "key=k%u", &key);
    unsigned from = dst_made_by(c->seen_by, DST_ADDRESS);
    unsigned by = dst_made_by(c->seen_by, DST_KEY);
    dst_checks[DST_CHECK_MEMBER]++;
    if ((address != from && (address > 0 || from <= p->address_pool)) ||
        (key != by && (key > 0 || by <= p->key_pool))) {
        dst_broken("member",
                   "call %llu was answered to address %u, key %u, and is said to be \"%s\"",
                   (unsigned long long)id, from, by, text);
    }
}

static void outcome(struct weir *w, uint64_t id, const struct weir_response *r)
{
    struct dst_call *c = dst_call_at(id);
    dst_checks[DST_CHECK_OUTCOME]++;
    dst_checks[DST_CHECK_TRUTH]++;
    dst_doubts[r->doubt % WEIR_DOUBT_CNT]++;
    dst_trace("outcome", id, r->result, r->status);
    if (c->ended) {
        dst_broken("outcome", "call %llu ended a second time", (unsigned long long)id);
    }
    c->ended = true;
    if (c->seen + c->turned > r->sends) {
        dst_broken("outcome", "call %llu was sent %u times, it says, and arrived %u times",
                   (unsigned long long)id, r->sends, c->seen + c->turned);
    }
    if (never_sent(c, r) || (r->result == WEIR_RESULT_ABSENT && may_be_absent(c, r))) {
        unsendable(id, weir_result_text(r->result));
    } else if (r->result == WEIR_RESULT_DONE && c->asks) {
        ask_check(id, c, r);
    } else if (r->result == WEIR_RESULT_DONE) {
        if (c->seen + c->turned == 0) {
            dst_broken("outcome", "call %llu was answered, and the exchange never saw it",
                       (unsigned long long)id);
        }
        if (r->status != c->status && c->seen + c->turned == 1 && r->doubt != WEIR_DOUBT_FOUND) {
            dst_broken("outcome", "call %llu: status %u, the exchange said %u",
                       (unsigned long long)id, r->status, c->status);
        }
        body_check(id, r);
        member_check(w, id, r);
    } else if (!c->idempotent &&
               (r->result == WEIR_RESULT_FAILED || r->result == WEIR_RESULT_TIMEOUT)) {
        dst_broken("outcome", "order %llu ended as %s, which is for calls that may be repeated",
                   (unsigned long long)id, weir_result_text(r->result));
    } else if (r->result == WEIR_RESULT_UNSET || r->result > WEIR_RESULT_TIMEOUT) {
        dst_broken("outcome", "call %llu has no named outcome: %u", (unsigned long long)id,
                   (unsigned)r->result);
    }
}

/* ---------------------------------------------------------------------------------------------- requests */

static void note(struct client *c, weir_ticket ticket, uint64_t id)
{
    bool alone = c->open_cnt == 0;
    for (unsigned i = 0; i < OPEN_MAX; i++) {
        c->open[i].alone = false;
    }
    for (unsigned i = 0; i < OPEN_MAX; i++) {
        if (!c->open[i].used) {
            c->open[i] = (struct outstanding){true, ticket, id, alone};
            c->open_cnt++;
            return;
        }
    }
}

static struct outstanding *noted(struct client *c, weir_ticket ticket)
{
    for (unsigned i = 0; i < OPEN_MAX; i++) {
        if (c->open[i].used && c->open[i].ticket == ticket) {
            return &c->open[i];
        }
    }
    dst_broken("outcome", "an answer for ticket %llx, which is not open",
               (unsigned long long)ticket);
}

static void answered(struct client *c, const struct weir_response *r)
{
    struct outstanding *o = noted(c, r->ticket);
    outcome(c->w, o->id, r);
    if (o->alone && r->result == WEIR_RESULT_NO_ROOM) {
        dst_broken("nothing left",
                   "call %llu found no room, though its client had nothing else open",
                   (unsigned long long)o->id);
    }
    o->used = false;
    c->open_cnt--;
    int rc = weir_release(c->w, r->ticket);
    if (rc != 0) {
        dst_broken("outcome", "release: %d", rc);
    }
}

/* Whom a call names: where nobody may choose its key surely one, else now and then. */
static weir_scope_id naming(struct client *c, unsigned provider, unsigned route, dst_maker *named)
{
    const struct dst_provider *p = &dst_world.provider[provider];
    const struct dst_route *r = &p->route[route];
    weir_scope_id scope = WEIR_SCOPE_DEFAULT;
    char text[32];
    size_t n = 0;
    unsigned address = 0;
    unsigned key = 0;
    if (p->address_cnt > 0 && dst_chance(0.2)) {
        address = 1 + (unsigned)dst_below(p->address_cnt);
        n = (size_t)snprintf(text, sizeof text, "ip=a%u", address);
    }
    if (r->is_signed && p->key_cnt > 0 && (!r->any_key || dst_chance(0.2))) {
        key = 1 + (unsigned)dst_below(p->key_cnt);
        n += (size_t)snprintf(text + n, sizeof text - n, "%skey=k%u", n > 0 ? "," : "", key);
    }
    *named = DST_MAKER(address, key);
    if (n > 0 && weir_scope_find(c->w, p->name, text, &scope) != WEIR_OK) {
        dst_broken("simulator", "no scope %s", text);
    }
    return scope;
}

static uint64_t call_make(struct client *c, unsigned provider, unsigned route, bool brokered,
                          uint64_t deadline_ns)
{
    const struct dst_call call = {.provider = provider,
                                  .route = route,
                                  .idempotent = !dst_world.provider[provider].route[route].order,
                                  .brokered = brokered,
                                  .deadline_ns = deadline_ns,
                                  .submitted_at = dst_now,
                                  .client = c->me,
                                  .client_life = dst_client_process[c->me].life};
    return dst_call_new(&call);
}

static void choose(unsigned *provider, unsigned *route)
{
    *provider = (unsigned)dst_below(dst_world.provider_cnt);
    *route = (unsigned)dst_below(dst_world.provider[*provider].route_cnt);
}

static void submit(struct client *c, enum weir_priority priority)
{
    unsigned provider;
    unsigned route;
    char query[40];
    weir_ticket ticket;
    if (c->open_cnt == OPEN_MAX) {
        return;
    }
    choose(&provider, &route);
    uint64_t deadline = dst_monotonic() + dst_log_uniform(5 * DST_MS, 10 * DST_S);
    uint64_t id = call_make(c, provider, route, true, deadline);
    weir_scope_id scope = naming(c, provider, route, &dst_call_at(id)->named);
    (void)snprintf(query, sizeof query, "id=%llu", (unsigned long long)id);
    const struct weir_request_spec spec = {
        .struct_bytes = sizeof spec,
        .route = c->route[provider][route],
        .scope = scope,
        .priority_set = 1,
        .priority = priority,
        .query = query,
        .body = "{}",
        .body_bytes = dst_world.provider[provider].route[route].order ? 2 : 0,
        .deadline_ns = deadline};
    int rc = weir_submit(c->w, &spec, &ticket);
    dst_trace("submit", id, (uint64_t)(int64_t)rc, 0);
    if (rc == 0) {
        note(c, ticket, id);
    } else {
        c->refused = c->refused || rc == WEIR_E_STALE;
        unsendable(id, "not handed over");
        dst_call_at(id)->ended = true;
    }
}

/* For a symbol, of which others want the same. */
static void ask(struct client *c, enum weir_priority priority)
{
    unsigned provider = (unsigned)dst_below(dst_world.provider_cnt);
    const struct dst_provider *p = &dst_world.provider[provider];
    char query[16];
    weir_ticket ticket;
    if (!p->shares || c->open_cnt == OPEN_MAX) {
        return;
    }
    uint64_t deadline = dst_monotonic() + dst_log_uniform(5 * DST_MS, 10 * DST_S);
    uint64_t id = call_make(c, provider, p->route_cnt, true, deadline);
    dst_call_at(id)->asks = true;
    dst_call_at(id)->symbol = dst_chance(0.02) ? DST_SYMBOLS : (unsigned)dst_below(DST_SYMBOLS);
    (void)snprintf(query, sizeof query, "s=A%u", dst_call_at(id)->symbol);
    const struct weir_request_spec spec = {.struct_bytes = sizeof spec,
                                           .route = c->route[provider][p->route_cnt],
                                           .priority_set = 1,
                                           .priority = priority,
                                           .query = query,
                                           .deadline_ns = deadline};
    int rc = weir_submit(c->w, &spec, &ticket);
    dst_trace("ask", id, (uint64_t)(int64_t)rc, 0);
    if (rc == 0) {
        note(c, ticket, id);
    } else {
        c->refused = c->refused || rc == WEIR_E_STALE;
        dst_call_at(id)->ended = true;
    }
}

static void poll_some(struct client *c)
{
    struct weir_response r;
    for (unsigned i = 0; i < 1 + dst_below(8); i++) {
        int rc = weir_poll(c->w, &r);
        if (rc == WEIR_OK) {
            answered(c, &r);
        } else if (rc == WEIR_E_CORRUPT) {
            dst_broken("outcome", "an answer that makes no sense");
        } else {
            return;
        }
    }
}

static struct outstanding *any_open(struct client *c)
{
    unsigned from = (unsigned)dst_below(OPEN_MAX);
    for (unsigned i = 0; i < OPEN_MAX; i++) {
        struct outstanding *o = &c->open[(from + i) % OPEN_MAX];
        if (o->used) {
            return o;
        }
    }
    return NULL;
}

/* False: the broker is gone, says libweir. */
static bool wait_one(struct client *c, uint64_t patience_ns)
{
    struct outstanding *o = any_open(c);
    struct weir_response r;
    if (o == NULL) {
        return true;
    }
    int rc = weir_wait(c->w, o->ticket, weir_now_ns(c->w) + patience_ns, &r);
    if (rc == WEIR_OK) {
        answered(c, &r);
    } else if (rc != WEIR_PENDING && rc != WEIR_E_STALE) {
        dst_broken("outcome", "wait for an open ticket: %d", rc);
    }
    return rc != WEIR_E_STALE;
}

static void cancel_one(struct client *c)
{
    struct outstanding *o = any_open(c);
    if (o == NULL) {
        return;
    }
    (void)dst_fault(DST_CANCELLED, 1);
    int rc = weir_cancel(c->w, o->ticket);
    dst_trace("cancel", o->id, (uint64_t)(int64_t)rc, 0);
    if (rc == WEIR_OK) {
        unsendable(o->id, "taken back");
        dst_call_at(o->id)->ended = true;
        o->used = false;
        c->open_cnt--;
    } else if (rc != WEIR_E_CANCEL_LATE) {
        dst_broken("outcome", "cancel of an open ticket: %d", rc);
    }
}

/* ---------------------------------------------------------------------------------------------- permits */

/* What a strategy reads from an answer as the broker does from its own. */
static bool counted(const struct dst_route *r, const struct dst_reply *reply,
                    struct weir_cost *cost)
{
    if (!reply->settles || (r->settle != DST_SETTLE_FIELD && r->settle != DST_SETTLE_LIST)) {
        return false;
    }
    *cost = (struct weir_cost){.cnt = r->cost_cnt};
    for (unsigned i = 0; i < r->cost_cnt; i++) {
        cost->units[i] = (uint32_t)(i == r->settle_cost ? reply->units : r->cost[i]);
    }
    return true;
}

static bool told(unsigned provider, const struct dst_route *r, const struct dst_reply *reply,
                 struct weir_told *out)
{
    const struct dst_provider *p = &dst_world.provider[provider];
    *out = (struct weir_told){.cnt = r->cost_cnt};
    for (unsigned i = 0; i < r->cost_cnt; i++) {
        out->kind[i] = reply->tells[r->limit[i]] ? WEIR_TOLD_USED : WEIR_TOLD_NOTHING;
        out->units[i] = (uint32_t)reply->told[r->limit[i]];
    }
    return p->others && dst_chance(0.3);
}

static void settle(struct client *c, struct weir_permit *permit, enum weir_outcome_kind kind,
                   const struct dst_reply *reply, unsigned provider, unsigned r)
{
    const struct dst_route *route = &dst_world.provider[provider].route[r];
    struct weir_cost cost;
    struct weir_told tell;
    const struct weir_outcome outcome = {
        .kind = kind,
        .status = reply != NULL ? reply->status : 0,
        .retry_after_ns = reply != NULL ? reply->retry_after_s * DST_S : 0,
        .verdict = reply == NULL || !reply->settles ? WEIR_VERDICT_BY_STATUS
                   : reply->success                 ? WEIR_VERDICT_SUCCESS
                                                    : WEIR_VERDICT_FAILURE,
        .counted = reply != NULL && counted(route, reply, &cost) ? &cost : NULL,
        .told = reply != NULL && told(provider, route, reply, &tell) ? &tell : NULL};
    int rc = weir_permit_settle(c->w, permit, &outcome);
    dst_trace("settle", (uint64_t)kind, permit->route, (uint64_t)(int64_t)rc);
    if (rc != WEIR_OK) {
        dst_broken("outcome", "settle: %d", rc);
    }
}

/* Who makes it: a strategy asks, and goes by what it is told. */
static weir_scope_id member_best(struct client *c, unsigned provider, unsigned route,
                                 enum weir_priority priority, dst_maker *named)
{
    weir_scope_id scope = naming(c, provider, route, named);
    if (dst_world.provider[provider].address_cnt + dst_world.provider[provider].key_cnt > 0) {
        int rc = weir_scope_best(c->w, c->route[provider][route], scope, NULL, priority, &scope);
        if (rc < 0 && rc != WEIR_E_STALE && rc != WEIR_E_LEASE) {
            dst_broken("outcome", "weir_scope_best: %d", rc);
        }
    }
    return scope;
}

static dst_maker maker_of(unsigned provider, unsigned route, weir_scope_id scope)
{
    bool key = dst_world.provider[provider].route[route].is_signed;
    return DST_MAKER(scope >> (16 * WEIR_SCOPE_IP) & 0xffffU,
                     key ? scope >> (16 * WEIR_SCOPE_KEY) & 0xffffU : 0);
}

static void trade(struct client *c)
{
    static struct dst_reply replies[DST_CLIENTS_MAX];
    struct dst_reply *reply = &replies[c->me];
    struct weir_permit permit;
    unsigned provider;
    unsigned route;
    char path[64];
    choose(&provider, &route);
    weir_route_id id = c->route[provider][route];
    enum weir_priority priority = (enum weir_priority)dst_below(WEIR_PRIORITY_CNT);
    dst_maker named;
    weir_scope_id scope = member_best(c, provider, route, priority, &named);
    int rc = dst_chance(0.5)
                 ? weir_permit_try(c->w, id, scope, NULL, priority, &permit)
                 : weir_permit_wait(c->w, id, scope, NULL, priority,
                                    weir_now_ns(c->w) + dst_below(500 * DST_MS), &permit);
    if (rc != WEIR_OK) {
        c->refused =
            c->refused || (rc == WEIR_DENIED && permit.denial.reason == WEIR_REASON_LEASE_ENDED);
        return;
    }
    dst_trace("permit", provider, route, permit.granted_at_ns);
    if (dst_chance(0.1)) {
        dst_block(dst_now + dst_log_uniform(10 * DST_US, dst_world.provider[provider].jitter_ns),
                  NULL); /* it dawdles */
    }
    if (dst_chance(0.05)) {
        settle(c, &permit, WEIR_OUTCOME_NOT_SENT, NULL, provider, route);
        return;
    }
    if (dst_fault(DST_PERMIT_DROPPED, 0.01)) {
        dst_kill(dst_cur); /* a permit that is never settled, with its units */
    }
    uint64_t now = dst_monotonic(); /* this look and the send are one instant */
    if (now > permit.use_by_ns) {
        settle(c, &permit, WEIR_OUTCOME_NOT_SENT, NULL, provider, route);
        return;
    }
    uint64_t call = call_make(c, provider, route, false, 0);
    dst_call_at(call)->named = named;
    (void)snprintf(path, sizeof path, "/%s?id=%llu", dst_world.provider[provider].route[route].name,
                   (unsigned long long)call);
    dst_maker who = maker_of(provider, route, scope);
    bool there =
        dst_trader_call(provider, who, path, dst_log_uniform(50 * DST_MS, 5 * DST_S), reply);
    settle(c, &permit, there ? WEIR_OUTCOME_ANSWERED : WEIR_OUTCOME_NO_ANSWER, there ? reply : NULL,
           provider, route);
    if (there) {
        dst_exchange_heard(provider, who, path, false, reply->sent_at, reply);
    }
}

/* ---------------------------------------------------------------------------------------------- a life */

static bool attach(struct client *c)
{
    char name[32];
    struct weir_diag diag;
    (void)snprintf(name, sizeof name, "client%u", c->me);
    const struct weir_open_opts opts = {.struct_bytes = sizeof opts,
                                        .role = c->trader ? WEIR_ROLE_TRADER : WEIR_ROLE_CALLER,
                                        .slots = SLOTS,
                                        .response_bytes = dst_chance(0.3) ? 40960 : 131072,
                                        .client_name = name};
    if (weir_open(&c->w, "dst", &opts, &diag) != WEIR_OK) {
        return false;
    }
    c->broker_life = dst_broker_life();
    for (unsigned p = 0; p < dst_world.provider_cnt; p++) {
        for (unsigned r = 0; r < dst_world.provider[p].route_all; r++) {
            char full[48];
            (void)snprintf(full, sizeof full, "%s.%s", dst_world.provider[p].name,
                           dst_world.provider[p].route[r].name);
            if (weir_route_find(c->w, full, &c->route[p][r]) != WEIR_OK) {
                dst_broken("simulator", "no route %s", full);
            }
        }
    }
    return true;
}

/* The broker lives, as far as it can be seen. */
static bool lives(const struct client *c)
{
    return c->broker_life == dst_broker_life() && dst_broker_up();
}

static bool goes_on(const struct client *c)
{
    return c->attentive ? lives(c) : !c->refused;
}

/* One word of whatever this trader may write: limits, cells, pauses, ring, its own arena. Random, or near what stands there. */
static void scribble(struct client *c)
{
    const struct weir_attachment *at = c->w->at;
    const struct weir_segment *const all[] = {&at->permits, &at->permits, &at->ring, &at->arena};
    const struct weir_segment *s = all[dst_below(4)];
    uint64_t words = (s->bytes - sizeof(struct weir_shm_header)) / sizeof(uint64_t);
    uint64_t near = dst_below(4) == 0 ? words : words < 4096 ? words : 4096;
    uint64_t *word =
        (uint64_t *)(void *)((char *)s->base + sizeof(struct weir_shm_header)) + dst_below(near);
    switch (dst_below(4)) {
    case 0:
        *word = dst_random();
        break;
    case 1:
        *word += dst_below(16) - 8;
        break;
    case 2:
        *word ^= UINT64_C(1) << dst_below(64);
        break;
    default:
        *word = 0;
        break;
    }
    (void)dst_fault(DST_SCRIBBLED, 1);
}

/* A liar: it hands requests over by hand, with what comes, and reads nothing. Its own calls are not judged. */
static void lie(struct client *c)
{
    const struct weir_client_arena *m = &c->w->at->mem;
    for (uint64_t n = dst_below(40); n > 0; n--) {
        scribble(c);
    }
    uint32_t slot = (uint32_t)dst_below(m->slot_cnt);
    struct weir_shm_request *q = &m->slot[slot].request;
    q->route = (uint32_t)dst_below(DST_ROUTES_MAX + 2);
    q->priority = (uint8_t)dst_below(6);
    q->scope = 0;
    q->query_bytes = (uint32_t)dst_below(8);
    q->path_bytes = q->headers_bytes = q->header_cnt = 0;
    q->body_bytes = dst_chance(0.1) ? (uint32_t)dst_random() : 0;
    q->unit_cnt = dst_chance(0.9) ? 0 : (uint16_t)dst_below(5);
    q->deadline_ns = dst_monotonic() + dst_below(3 * DST_S);
    memcpy(m->request + slot * m->request_stride_bytes, "x=12345", 8);
    uint32_t generation = (uint32_t)dst_random();
    m->slot[slot].state = weir_slot_word(generation, WEIR_SLOT_SUBMITTED, 0);
    (void)weir_ring_put(
        &c->w->board->level[dst_below(WEIR_PRIORITY_CNT)],
        weir_handle_make(dst_chance(0.9) ? c->w->at->client : (uint32_t)dst_below(8), slot,
                         generation));
    weir_doorbell(c->w, true);
}

static enum weir_priority any_class(void)
{
    return (enum weir_priority)dst_below(WEIR_PRIORITY_CNT);
}

/* Everything that it has, at once: rings fill. */
static void flood(struct client *c)
{
    enum weir_priority priority = any_class();
    while (c->open_cnt < OPEN_MAX && goes_on(c)) {
        unsigned before = c->open_cnt;
        submit(c, priority);
        if (c->open_cnt == before) {
            return;
        }
    }
}

/* With nothing else open: what is not given back shows here. */
static void alone(struct client *c)
{
    for (unsigned i = 0; i < 50 && c->open_cnt > 0 && goes_on(c); i++) {
        (void)wait_one(c, 200 * DST_MS);
    }
    submit(c, any_class());
    (void)wait_one(c, DST_S);
}

static void act(struct client *c)
{
    if (dst_world.liars && c->me == 0) {
        lie(c);
        return;
    }
    switch (dst_below(c->trader ? 12 : 9)) {
    case 0:
    case 1:
    case 2:
    case 3:
        for (uint64_t n = 1 + dst_below(3); n > 0; n--) {
            submit(c, any_class());
        }
        for (uint64_t n = dst_below(6); n > 0; n--) {
            ask(c, any_class());
        }
        break;
    case 4:
        poll_some(c);
        break;
    case 5:
        if (dst_chance(0.1)) {
            alone(c);
        } else {
            (void)wait_one(c, dst_log_uniform(DST_MS, DST_S));
        }
        break;
    case 6:
        if (dst_chance(0.3)) {
            cancel_one(c);
        } else if (dst_fault(DST_NEVER_READ, 0.002)) {
            dst_block(dst_now + 5 * DST_S, NULL);
        }
        break;
    case 7: /* in the instant in which the worker may take it */
        submit(c, any_class());
        cancel_one(c);
        break;
    case 8:
        if (dst_chance(0.05)) {
            flood(c);
        }
        break;
    default:
        trade(c);
        break;
    }
}

/* End what is open. Over when nothing is, or the broker is gone. */
static void finish(struct client *c)
{
    while (c->open_cnt > 0 && lives(c) && wait_one(c, 200 * DST_MS)) {
    }
}

static void session(struct client *c)
{
    uint64_t rounds = dst_log_uniform(20, 5000);
    c->attentive = dst_chance(0.5) || dst_world.liars;
    c->refused = false;
    while (rounds-- > 0 && goes_on(c) && !quiet) {
        act(c);
        dst_block(dst_now + dst_log_uniform(dst_world.think_ns / 16 + 1, dst_world.think_ns), NULL);
    }
    if (quiet || dst_chance(0.5)) {
        finish(c);
    }
    bool all = lives(c);
    weir_close(c->w);
    if (all) { /* what it had queued was taken back; what was in flight, nobody will tell us */
        memset(c->open, 0, sizeof c->open);
        c->open_cnt = 0;
    }
}

static void client_body(void *arg)
{
    struct client *c = arg;
    for (;;) {
        memset(c->open, 0, sizeof c->open);
        c->open_cnt = 0;
        while (quiet || !attach(c)) {
            idle[c->me] = quiet;
            dst_block(dst_now + dst_log_uniform(DST_MS, 200 * DST_MS), NULL);
        }
        idle[c->me] = false;
        session(c);
        dst_block(dst_now + dst_log_uniform(DST_MS, 50 * DST_MS), NULL);
    }
}

static void respawn_event(void *arg, uint64_t me, uint64_t b)
{
    (void)arg;
    (void)b;
    if (!dst_client_process[me].live) {
        client[me].trader = dst_chance(0.5) || (dst_world.liars && me == 0);
        dst_born(&dst_client_process[me], client_body, &client[me]);
    }
}

static void client_died(struct dst_process *p)
{
    unsigned me = (unsigned)(p - dst_client_process);
    dst_trace("client died", me, p->life, 0);
    dst_http_client_died(p);
    dst_broker_client_died(me);
    dst_at(dst_now + dst_log_uniform(100 * DST_US, 300 * DST_MS), respawn_event, NULL, me, 0);
}

void dst_clients_reset(void)
{
    static char names[DST_CLIENTS_MAX][16];
    memset(client, 0, sizeof client);
    quiet = false;
    for (unsigned i = 0; i < DST_CLIENTS_MAX; i++) {
        (void)snprintf(names[i], sizeof names[i], "client%u", i);
        dst_client_process[i].name = names[i];
        dst_client_process[i].died = client_died;
        dst_client_process[i].stall_max = 3 * DST_S;
        client[i].me = i;
        idle[i] = false;
    }
}

void dst_clients_start(void)
{
    for (unsigned i = 0; i < dst_world.client_cnt; i++) {
        dst_at(dst_now + dst_below(20 * DST_MS), respawn_event, NULL, i, 0);
    }
}

void dst_clients_quiet(bool on)
{
    quiet = on;
}

bool dst_clients_idle(void)
{
    for (unsigned i = 0; i < dst_world.client_cnt; i++) {
        if (!idle[i]) {
            return false;
        }
    }
    return true;
}

void dst_client_respawn(unsigned me)
{
    respawn_event(NULL, me, 0);
}
