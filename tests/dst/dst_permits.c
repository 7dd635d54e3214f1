/*
 * dst_permits.c: strategies that make their calls themselves: permits, and how they are settled.
 */
#include "dst_clients.h"

#include <stdio.h>

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
    weir_scope_id scope = dst_client_naming(c, provider, route, named);
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

void dst_client_trade(struct client *c)
{
    static struct dst_reply replies[DST_CLIENTS_MAX];
    struct dst_reply *reply = &replies[c->me];
    struct weir_permit permit;
    unsigned provider;
    unsigned route;
    char path[64];
    dst_client_choose(&provider, &route);
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
    uint64_t call = dst_client_call(c, provider, route, false, 0);
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
