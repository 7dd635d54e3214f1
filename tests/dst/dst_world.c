/* dst_world.c: one seed's exchanges, limits, clients, and how much goes wrong. */
#include "dst.h"

#include "broker/config/config.h"
#include "shm/weir_base.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct dst_world dst_world;
struct weir_config *dst_config;

#define FILES_MAX 4096U

static size_t yaml_used;
static struct weir_config
    *parsed[FILES_MAX]; /* of this run: a worker may still have an earlier one */
static unsigned parsed_cnt;

static void __attribute__((format(printf, 1, 2))) put(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    yaml_used += (size_t)vsnprintf(dst_world.yaml + yaml_used, sizeof dst_world.yaml - yaml_used,
                                   format, args);
    va_end(args);
    if (yaml_used >= sizeof dst_world.yaml) {
        dst_broken("simulator", "the configuration is too long");
    }
}

static uint64_t between(uint64_t low, uint64_t high)
{
    return low + dst_below(high - low + 1);
}

static void limits_make(struct dst_provider *p)
{
    struct dst_limit *l = p->limit;
    /* The first one takes the clock's question too, so it is never small. */
    l[0] = (struct dst_limit){.name = "fixed",
                              .kind = DST_FIXED,
                              .quota = between(20, 80),
                              .window_ns = between(1, 6) * DST_S};
    l[1] = (struct dst_limit){.name = "long",
                              .kind = DST_FIXED,
                              .quota = between(200, 3000),
                              .window_ns = between(11, 60) * 60 * DST_S};
    l[2] = (struct dst_limit){
        .name = "bucket", .kind = DST_BUCKET, .quota = between(5, 40), .window_ns = DST_S};
    l[2].burst = l[2].quota + dst_below(20) + 4;
    l[3] = (struct dst_limit){.name = "cells",
                              .kind = DST_SLIDING,
                              .quota = between(8, 60),
                              .window_ns = between(1, 4) * DST_S};
    l[4] = (struct dst_limit){.name = "parts",
                              .kind = DST_SLIDING,
                              .quota = between(5000, 9000),
                              .window_ns = between(2, 5) * DST_S};
    l[5] = (struct dst_limit){
        .name = "units", .kind = DST_UNITS, .quota = between(2, 6), .window_ns = 0};
    p->limit_cnt = 6;
    p->jitter_ns = between(40, 120) * DST_MS;
}

/* Which of them count by address, and which by key. One of each surely does: cells, and parts. */
static void pool_make(struct dst_provider *p)
{
    bool both = dst_chance(0.4);
    if (both || dst_chance(0.6)) {
        p->address_cnt = (unsigned)between(2, 4);
        p->address_pool = p->address_cnt - (p->address_cnt > 2 && dst_chance(0.3));
    }
    if (both || p->address_cnt == 0) {
        p->key_cnt = (unsigned)between(2, 4);
        p->key_pool = p->key_cnt - (p->key_cnt > 2 && dst_chance(0.3));
    }
    for (unsigned i = 0; i < p->limit_cnt; i++) {
        /* Questions after orders take from the first one. */
        bool key = p->key_cnt > 0 && (i == 4 || (i > 0 && dst_chance(0.3)));
        bool address = p->address_cnt > 0 && dst_chance(0.5);
        p->limit[i].scope = i == 3 && p->address_cnt > 0 ? DST_ADDRESS
                            : key                        ? DST_KEY
                            : address                    ? DST_ADDRESS
                                                         : DST_ALL;
    }
    uint64_t hold = dst_below(3);
    p->hold = hold == DST_ADDRESS && p->address_cnt > 0 ? DST_ADDRESS
              : hold == DST_KEY && p->key_cnt > 0       ? DST_KEY
                                                        : DST_ALL;
}

/* The limits of an unsigned call: none that counts by key. */
static unsigned unkeyed(const struct dst_provider *p)
{
    unsigned mask = 0;
    for (unsigned i = 0; i < p->limit_cnt; i++) {
        mask |= p->limit[i].scope != DST_KEY ? 1U << i : 0;
    }
    return mask;
}

/* A call has to say whom a stop is about: it takes nothing of such a limit. */
static void hold_take(const struct dst_provider *p, struct dst_route *r)
{
    bool has = p->hold == DST_ALL || (p->hold == DST_KEY && !r->is_signed);
    for (unsigned i = 0; i < r->cost_cnt; i++) {
        has = has || p->limit[r->limit[i]].scope == p->hold;
    }
    if (!has) {
        r->limit[r->cost_cnt] = p->hold == DST_ADDRESS ? 3 : 4;
        r->cost[r->cost_cnt++] = 0;
    }
}

static uint64_t cost_of(const struct dst_limit *l)
{
    return strcmp(l->name, "parts") == 0 ? between(100, 400)
           : l->kind == DST_UNITS        ? 1
           : l->kind == DST_SLIDING      ? between(1, 3)
                                         : between(1, 2);
}

/* What a call costs in the end, where the exchange says so when it answers. */
static void settle_make(const struct dst_provider *p, struct dst_route *r)
{
    r->settle_cost = (unsigned)dst_below(r->cost_cnt);
    const struct dst_limit *l = &p->limit[r->limit[r->settle_cost]];
    uint64_t cost = r->cost[r->settle_cost];
    if (l->kind == DST_UNITS || dst_chance(0.15)) {
        return;
    }
    r->settle = dst_chance(0.4) ? DST_SETTLE_RULES
                                : (enum dst_settle)between(DST_SETTLE_RULES, DST_SETTLE_LIST);
    if (cost > 8 && r->settle == DST_SETTLE_LIST) {
        r->settle = DST_SETTLE_FIELD; /* no list of hundreds */
    }
    r->never_dearer = l->kind == DST_BUCKET;
    uint64_t more = r->never_dearer ? cost : between(cost, 3 * cost);
    r->success_units = r->failure_units = DST_AS_CHARGED;
    if (r->settle != DST_SETTLE_RULES) {
        return;
    }
    r->success_units = dst_chance(0.7) ? dst_below(cost) : DST_AS_CHARGED;
    r->failure_units = dst_chance(0.7) ? dst_chance(0.5) ? more : 0 : DST_AS_CHARGED;
    r->ok_field = dst_chance(0.7);
}

static void session_make(struct dst_provider *p)
{
    bool has = dst_chance(0.45) && p->key_cnt == 0 && !dst_world.liars && dst_world.journal;
    p->session = !has               ? DST_SESSION_NONE
                 : dst_chance(0.65) ? DST_SESSION_TOKEN
                                    : DST_SESSION_COOKIE;
    p->rotates = dst_chance(0.85);
    p->asks_by_get = dst_chance(0.3);
    p->second_use = dst_chance(0.6) ? 0 : (uint32_t)between(1, 2);
    p->given = 1;
}

static void routes_make(struct dst_provider *p)
{
    p->route_cnt = (unsigned)between(4, 6);
    for (unsigned i = 0; i < p->route_cnt; i++) {
        struct dst_route *r = &p->route[i];
        *r = (struct dst_route){.order = i % 2 == 1, .timeout_ns = between(300, 8000) * DST_MS};
        (void)snprintf(r->name, sizeof r->name, "r%u", i);
        /* The first ones are of one limit each, so that none hides behind another. */
        unsigned mask = i < 6 && dst_chance(0.6) ? 1U << ((i * 5 + 1) % p->limit_cnt) : 0;
        mask |= dst_chance(0.6) ? 1U << dst_below(p->limit_cnt) : 0;
        mask |= dst_chance(0.4) ? 1U << dst_below(p->limit_cnt) : 0;
        mask &= p->late ? ~4U : ~0U; /* a bucket is charged once: J is all it has */
        r->is_signed = (p->key_cnt > 0 || p->session != DST_SESSION_NONE) && dst_chance(0.7);
        r->any_key = r->is_signed && p->key_cnt > 0 && dst_chance(0.7);
        mask &= r->is_signed ? ~0U : unkeyed(p);
        mask = mask == 0 ? 1 : mask;
        for (unsigned k = 0; k < p->limit_cnt && r->cost_cnt < DST_COSTS_MAX; k++) {
            if ((mask >> k & 1U) != 0) {
                r->limit[r->cost_cnt] = k;
                r->cost[r->cost_cnt++] = cost_of(&p->limit[k]);
            }
        }
        if (p->settles) {
            settle_make(p, r);
        }
        hold_take(p, r);
    }
}

/* Two routes more, of answers that all may have: one symbol, and many. */
static void asks_make(struct dst_provider *p)
{
    unsigned k = (unsigned)dst_below(p->limit_cnt);
    k = (p->late && k == 2) || p->limit[k].scope == DST_KEY ? 0 : k;
    uint64_t cost = cost_of(&p->limit[k]);
    uint64_t timeout_ns = between(300, 8000) * DST_MS;
    p->route_all = p->route_cnt;
    p->shares = !dst_world.liars && dst_chance(0.6);
    p->batched = dst_chance(0.8);
    p->comma = dst_chance(0.5);
    p->cache_ns = dst_log_uniform(2, 2000) * DST_MS;
    p->stale_ns = dst_chance(0.5) ? dst_log_uniform(10, 2000) * DST_MS : 0;
    p->last_good_ns = dst_chance(0.6) ? dst_log_uniform(1, 60) * DST_S : 0;
    if (!p->shares) {
        return;
    }
    struct dst_route *one = &p->route[p->route_all++];
    *one = (struct dst_route){
        .name = "k", .cost_cnt = 1, .limit = {k}, .cost = {cost}, .timeout_ns = timeout_ns};
    hold_take(p, one);
    struct dst_route *many = &p->route[p->route_all++];
    *many = *one;
    (void)snprintf(many->name, sizeof many->name, "kb");
    many->cost[0] *= between(1, p->limit[k].kind == DST_UNITS ? 2 : 3);
    many->cost[0] = many->cost[0] < p->limit[k].quota ? many->cost[0] : p->limit[k].quota;
}

static void asks_put(const struct dst_provider *p)
{
    put(", share: public, cache: %llums", (unsigned long long)(p->cache_ns / DST_MS));
    if (p->stale_ns > 0) {
        put(", stale: %llums", (unsigned long long)(p->stale_ns / DST_MS));
    }
    if (p->stale_ns > 0 && dst_chance(0.5)) {
        put(", revalidate: %llums", (unsigned long long)(p->stale_ns / DST_MS));
    }
    if (p->last_good_ns > 0) {
        put(", last_good: %llus", (unsigned long long)(p->last_good_ns / DST_S));
    }
    if (dst_chance(0.3)) {
        put(", negative: 100ms");
    }
    if (p->batched) {
        put(", batch: {route: kb, param: s, item: s, when: %s",
            dst_chance(0.5) ? "always" : "cheaper");
        put("%s", dst_chance(0.5) ? ", gather: 5ms" : "");
        if (p->comma) {
            put(", names: comma, names_param: s, max: %llu", (unsigned long long)between(2, 6));
        }
        put("}");
    }
}

static void settle_put(const struct dst_provider *p, const struct dst_route *r)
{
    const char *limit = p->limit[r->limit[r->settle_cost]].name;
    const char *comma = "";
    put(", settle: {");
    if (r->success_units != DST_AS_CHARGED) {
        put("success: {%s: %llu}", limit, (unsigned long long)r->success_units);
        comma = ", ";
    }
    if (r->failure_units != DST_AS_CHARGED) {
        put("%sfailure: {%s: %llu}", comma, limit, (unsigned long long)r->failure_units);
        comma = ", ";
    }
    if (r->ok_field) {
        put("%sok: {field: ok, equals: \"yes\"}", comma);
        comma = ", ";
    }
    if (r->settle == DST_SETTLE_FIELD) {
        put("%scounted: [{limit: %s, field: n}]", comma, limit);
    } else if (r->settle == DST_SETTLE_LIST) {
        put("%scounted: [{limit: %s, list: list, item: s, equals: \"y\"}]", comma, limit);
    }
    put("}");
}

/* What is written arrives within J/2 or never, so J later it is sure. */
static void doubt_put(const struct dst_provider *p)
{
    put(", doubt: {id: id, in: query, route: ask, query: \"id={id}\", found: id, absent: {status: "
        "[404]}, settled_after: %llums, patience: 1500ms, interval: 20ms%s, resend: %s}",
        (unsigned long long)(p->jitter_ns / DST_MS), dst_chance(0.5) ? ", unsure: [503]" : "",
        p->resends ? "true" : "false");
}

static void limit_put(const struct dst_provider *p, const struct dst_limit *l)
{
    static const char *const kinds[] = {"?", "fixed_window", "token_bucket", "sliding_window",
                                        "concurrency"};
    static const char *const scopes[] = {"account", "ip", "key"};
    put("      - {name: %s, kind: %s, quota: %llu, scope: %s", l->name, kinds[l->kind],
        (unsigned long long)l->quota, scopes[l->scope]);
    if (l->window_ns > 0) {
        put(", window: %llums", (unsigned long long)(l->window_ns / DST_MS));
    }
    if (l->kind == DST_BUCKET) {
        put(", burst: %llu", (unsigned long long)l->burst);
    }
    if (p->others && l->kind != DST_UNITS && l->window_ns < 600 * DST_S && dst_chance(0.5)) {
        put(", foreign: {expect: adaptive}");
    }
    put("}\n");
}

static void pool_put(const struct dst_provider *p)
{
    put("%s", p->address_cnt + p->key_cnt > 0 ? "    scopes: {" : "");
    for (unsigned i = 1; i <= p->address_cnt; i++) {
        put("%sa%u%s", i == 1 ? "ip: [" : ", ", i, i == p->address_cnt ? "]" : "");
    }
    put(p->address_cnt > 0 && p->key_cnt > 0 ? ", " : "");
    for (unsigned i = 1; i <= p->key_cnt; i++) {
        put("%sk%u%s", i == 1 ? "key: [" : ", ", i, i == p->key_cnt ? "]" : "");
    }
    put("%s%s", p->address_cnt + p->key_cnt > 0 ? "}\n" : "",
        p->address_cnt > 0 ? "    egress:\n" : "");
    for (unsigned i = 1; i <= p->address_cnt; i++) {
        put("      - {ip: a%u, address: 127.0.0.%u, pool: %s}\n", i, i + 1,
            i <= p->address_pool ? "true" : "false");
    }
    put("%s",
        p->key_cnt > 0 ? "    auth:\n      kind: api_key\n      header: x-key\n      keys:\n" : "");
    if (p->session == DST_SESSION_TOKEN) {
        put("    auth: {kind: oauth2, refresh_token: rt-%u, sign_in: {route: %s.token, margin: "
            "700ms, "
            "expired: [401], second_use: %u}}\n",
            p->given, p->name, p->second_use);
    } else if (p->session == DST_SESSION_COOKIE) {
        put("    auth: {kind: cookie, sign_in: {route: %s.cookie, crumb_route: %s.crumb, crumb: "
            "crumb, margin: 700ms, expired: [401], lifetime: 5s}}\n",
            p->name, p->name);
    }
    for (unsigned i = 1; i <= p->key_cnt; i++) {
        put("        - {name: k%u, key: key-%u, pool: %s}\n", i, i,
            i <= p->key_pool ? "true" : "false");
    }
}

/* A route by which weir asks for itself: what became of an order, and to sign in. */
static void own_put(const struct dst_provider *p, const char *name, const char *method,
                    bool is_signed)
{
    struct dst_route r = {.is_signed = is_signed, .cost_cnt = 1};
    hold_take(p, &r);
    put("      - {name: %s, method: %s, path: /%s, timeout: 1s, max_response: 4KiB, cost: {%s: "
        "1%s}%s%s}\n",
        name, method, name, p->limit[0].name,
        r.cost_cnt < 2           ? ""
        : p->hold == DST_ADDRESS ? ", cells: 0"
                                 : ", parts: 0",
        is_signed ? ", signed: true" : "", is_signed && p->key_cnt > 0 ? ", any_key: true" : "");
}

static void provider_put(unsigned index, const struct dst_provider *p)
{
    put("  - name: %s\n    clock: {", p->name);
    if (p->host_clock) {
        put("source: host, error: 20ms, max_jitter: %llums}\n",
            (unsigned long long)(p->jitter_ns / DST_MS));
    } else {
        put("path: /time, field: serverTime, interval: 5s, max_jitter: %llums}\n",
            (unsigned long long)(p->jitter_ns / DST_MS));
    }
    pool_put(p);
    put("    limits:\n");
    for (unsigned i = 0; i < p->limit_cnt; i++) {
        limit_put(p, &p->limit[i]);
    }
    if (p->reports_used || p->others) {
        put("    feedback:\n      - {header: x-t0, limit: fixed, reports: %s}\n",
            dst_tells_left(p) ? "remaining" : "used");
    }
    for (unsigned i = 2; p->others && i < 5; i++) {
        put("      - {header: x-t%u, limit: %s, reports: remaining%s}\n", i, p->limit[i].name,
            p->limit[i].kind == DST_SLIDING && dst_chance(0.5) ? ", rolls: true" : "");
    }
    static const char *const balances[] = {"failover",      "round_robin",
                                           "least_latency", "weighted_round_robin",
                                           "two_choices",   "least_connections"};
    put("    balance: %s\n", balances[dst_below(WEIR_ARRAY_CNT(balances))]);
    if (dst_chance(0.5)) {
        put("    breaker: {failures: %llu, window: %llus, open: %llums, probes: %llu}\n",
            (unsigned long long)between(1, 8), (unsigned long long)between(1, 10),
            (unsigned long long)between(100, 3000), (unsigned long long)between(1, 3));
    }
    bool reads = false;
    for (unsigned i = 0; i < p->route_cnt; i++) {
        reads = reads || !p->route[i].order;
    }
    bool hedged = reads && dst_chance(0.7);
    if (dst_chance(0.5)) {
        put("    retry: {attempts: %llu, base: %llums, factor: 2, budget: 50%%}\n",
            (unsigned long long)between(2, 4), (unsigned long long)dst_log_uniform(2, 300));
    }
    if (hedged) {
        static const char *const after[] = {"p50", "1ms", "1ms", "2ms", "20ms"};
        put("    hedge: {after: %s, budget: %llu%%}\n", after[dst_below(WEIR_ARRAY_CNT(after))],
            (unsigned long long)between(20, 50));
    }
    static const char *const holds[] = {"", ", scope: ip", ", scope: key"};
    put("    throttle: {status: [429, 418], retry_after: seconds, default: 500ms%s}\n    "
        "endpoints:\n",
        holds[p->hold]);
    bool peers = dst_chance(0.5);
    for (unsigned e = 0; e < 2; e++) {
        put("      - {name: e%u, url: \"http://127.0.0.1:%u\", role: %s, connections: %llu}\n", e,
            8000 + index * 10 + e, e == 0 || peers ? "primary" : "backup",
            (unsigned long long)between(2, 8));
    }
    put("    routes:\n");
    for (unsigned i = 0; i < p->route_all; i++) {
        const struct dst_route *r = &p->route[i];
        put("      - {name: %s, method: %s, path: /%s, timeout: %llums, max_response: 4KiB, cost: "
            "{",
            r->name, r->order ? "POST" : "GET", r->name,
            (unsigned long long)(r->timeout_ns / DST_MS));
        for (unsigned k = 0; k < r->cost_cnt; k++) {
            put("%s%s: %llu", k > 0 ? ", " : "", p->limit[r->limit[k]].name,
                (unsigned long long)r->cost[k]);
        }
        put("}");
        if (r->is_signed) {
            put(", signed: true%s%s", r->any_key ? ", any_key: true" : "",
                hedged && !r->order ? ", hedge: true" : "");
        }
        if (r->settle != DST_SETTLE_NONE) {
            settle_put(p, r);
        }
        if (p->shares && i == p->route_cnt) {
            asks_put(p);
        }
        if (r->order && p->asks) {
            doubt_put(p);
        }
        put("}\n");
    }
    if (p->asks) {
        own_put(p, "ask", "GET", p->key_cnt > 0 || p->session != DST_SESSION_NONE);
    }
    if (p->session == DST_SESSION_TOKEN) {
        own_put(p, "token", p->asks_by_get ? "GET" : "POST", false);
    } else if (p->session == DST_SESSION_COOKIE) {
        own_put(p, "cookie", "GET", false);
        own_put(p, "crumb", "GET", false);
    }
}

/* Half of the runs are calm in most ways, so that a fault stands alone; the others have all at once. */
static double draw(double p, double rate)
{
    return dst_chance(p) ? rate * (double)dst_log_uniform(1, 64) / 16 : 0;
}

static void mix_make(struct dst_mix *m)
{
    double p = dst_chance(0.3) ? 0.8 : 0.25;
    *m = (struct dst_mix){.refused = draw(p, 0.05),
                          .hung = draw(p, 0.01),
                          .unseen = draw(p, 0.02),
                          .seen = draw(p, 0.02),
                          .dead_reused = draw(p, 0.05),
                          .lost = draw(p, 0.01),
                          .cut = draw(p, 0.02),
                          .slow = draw(p, 0.03),
                          .e5xx = draw(p, 0.02),
                          .large = draw(p, 0.02),
                          .told_429 = draw(p, 0.004),
                          .told_418 = draw(p / 2, 0.0005),
                          .stall = draw(p, 0.0005),
                          .banned = draw(2 * p, 0.01),
                          .key_refused = draw(2 * p, 0.01),
                          .revoked = draw(2 * p, 0.01),
                          .sign_in_kill = draw(2 * p, 0.3),
                          .worker_kills_per_s = draw(2 * p, 0.3),
                          .client_kills_per_s = draw(2 * p, 0.3),
                          .broker_kills_per_s = draw(p, 0.04),
                          .host_per_s = draw(p / 2, 0.04),
                          .operate_per_s = draw(p / 2, 0.05),
                          .steps_per_s = draw(p / 2, 0.02),
                          .overflow = draw(p, 0.005),
                          .interrupted = draw(p, 0.02),
                          .takeovers_per_s = draw(2 * p, 0.2),
                          .reloads_per_s = draw(2 * p, 0.1),
                          .reload_stall = draw(0.5, 0.01),
                          .takeover_kill = draw(p, 0.05),
                          .disk_fail = draw(p, 0.1),
                          .disk_slow = draw(p, 0.02),
                          .kill_after = draw(p, 0.002),
                          .restarts_per_s = draw(p, 0.1),
                          .anew = draw(2 * p, 0.3)};
}

static struct weir_config *parse(void)
{
    static struct weir_config_diag diag;
    struct weir_config *config =
        parsed_cnt < FILES_MAX ? weir_config_parse(dst_world.yaml, yaml_used, "seed", &diag) : NULL;
    if (config == NULL) {
        weir_config_diag_print(stderr, &diag);
        (void)fprintf(stderr, "%s\n", dst_world.yaml);
        dst_broken("simulator", "the configuration of this seed is refused");
    }
    parsed[parsed_cnt++] = config;
    if (dst_tracing) {
        (void)printf("%s", dst_world.yaml);
    }
    return config;
}

static struct weir_config *write_and_parse(uint64_t ring)
{
    yaml_used = 0;
    put("broker: {name: dst, wake: %s, memory: 64MiB, cache: 64KiB, ring: %llu, state_dir: %s, "
        "drain: 2s, last_good_every: 300ms, log: "
        "info, domains: [{clients: 40, arena: 256KiB}]}\nproviders:\n",
        dst_world.spins ? "adaptive" : "sleep", (unsigned long long)ring,
        dst_world.journal ? "/state" : "none");
    for (unsigned i = 0; i < dst_world.provider_cnt; i++) {
        provider_put(i, &dst_world.provider[i]);
    }
    return parse();
}

/* The dearest call on a limit. */
static uint64_t dearest(const struct dst_provider *p, unsigned limit)
{
    uint64_t most = 1;
    for (unsigned i = 0; i < p->route_all; i++) {
        for (unsigned k = 0; k < p->route[i].cost_cnt; k++) {
            bool here = p->route[i].limit[k] == limit && p->route[i].cost[k] > most;
            most = here ? p->route[i].cost[k] : most;
        }
    }
    return most;
}

/* Another number for one limit, as an operator would write it; now and then one that a reload cannot bring. */
static void limit_redraw(const struct dst_provider *p, unsigned i, struct dst_limit *l, bool start)
{
    uint64_t least = dearest(p, i);
    uint64_t small = dst_world.mix.host_per_s > 0 ? 30 : 200;
    switch (l->kind) {
    case DST_FIXED:
        l->quota = i == 0 ? between(20, 80) : between(small, 15 * small);
        l->window_ns = i == 0 && dst_chance(0.3) ? between(1, 6) * DST_S : l->window_ns;
        l->window_ns =
            i == 1 && start && dst_chance(0.2) ? between(11, 60) * 60 * DST_S : l->window_ns;
        break;
    case DST_BUCKET:
        l->quota = dst_chance(0.4) ? between(5, 40) : l->quota;
        l->burst = l->quota + dst_below(20) + 4;
        break;
    case DST_SLIDING:
        l->quota = i == 3 ? between(8, 60) : between(5000, 9000);
        l->window_ns = i == 3 && dst_chance(0.3) ? between(1, 4) * DST_S : l->window_ns;
        l->window_ns = i == 4 && start && dst_chance(0.3) ? between(2, 5) * DST_S : l->window_ns;
        break;
    default:
        l->quota +=
            dst_chance(start ? 0.5 : 0.9) ? dst_below(4) : UINT64_MAX; /* one less is refused */
        l->quota = l->quota == 0 ? 1 : l->quota;
        break;
    }
    l->quota = l->quota < least ? least : l->quota;
}

/* What stands in the world as a file; then the world is as it `was`. */
static void file_make(struct dst_file *out, const struct dst_file *was, uint64_t ring)
{
    out->config = write_and_parse(ring);
    for (unsigned p = 0; p < dst_world.provider_cnt; p++) {
        struct dst_provider *x = &dst_world.provider[p];
        memcpy(out->limit[p], x->limit, sizeof out->limit[p]);
        memcpy(x->limit, was->limit[p], sizeof was->limit[p]);
        out->jitter_ns[p] = x->jitter_ns;
        x->jitter_ns = was->jitter_ns[p];
    }
}

void dst_world_undo(struct dst_file *out)
{
    struct dst_file was;
    for (unsigned p = 0; p < dst_world.provider_cnt; p++) {
        struct dst_provider *x = &dst_world.provider[p];
        memcpy(was.limit[p], x->limit, sizeof was.limit[p]);
        was.jitter_ns[p] = x->jitter_ns;
        memcpy(x->limit, out->limit[p], sizeof out->limit[p]);
    }
    file_make(out, &was, 64);
}

void dst_world_redraw(struct dst_file *out, bool start)
{
    struct dst_file was;
    for (unsigned p = 0; p < dst_world.provider_cnt; p++) {
        struct dst_provider *x = &dst_world.provider[p];
        memcpy(was.limit[p], x->limit, sizeof was.limit[p]);
        was.jitter_ns[p] = x->jitter_ns;
        x->jitter_ns = start && dst_chance(0.3) ? between(40, 120) * DST_MS : x->jitter_ns;
        for (unsigned i = 0; i < x->limit_cnt; i++) {
            if (dst_chance(0.4)) {
                limit_redraw(x, i, &x->limit[i], start);
            }
        }
    }
    /* a ring has its size for good */
    file_make(out, &was, !start && dst_chance(0.05) ? 128 : 64);
}

void dst_world_make(uint64_t seed)
{
    memset(&dst_world, 0, sizeof dst_world);
    dst_world.seed = seed;
    dst_world.burst_shift = (int)between(4, 12);
    dst_world.client_cnt = (unsigned)between(2, 6);
    dst_world.think_ns = dst_log_uniform(DST_MS, 80 * DST_MS);
    dst_world.provider_cnt = dst_chance(0.3) ? 2 : 1;
    dst_world.journal = dst_chance(0.8);
    dst_world.liars = dst_chance(0.15) && dst_allowed[DST_SCRIBBLED];
    for (unsigned i = 0; i < dst_world.provider_cnt; i++) {
        struct dst_provider *p = &dst_world.provider[i];
        (void)snprintf(p->name, sizeof p->name, "x%u", i);
        limits_make(p);
        uint64_t kind = dst_world.liars ? 9 : dst_below(10);
        p->settles = kind < 3;
        p->others = (kind >= 3 && kind < 6) && dst_allowed[DST_OTHERS_CALLED];
        p->counts_refused = dst_chance(0.5);
        bool pool = dst_chance(0.4) && !p->others && !dst_world.liars;
        if (pool) {
            pool_make(p);
        }
        session_make(p);
        p->late = kind == 6 && dst_allowed[DST_COUNTED_LATE];
        routes_make(p);
        asks_make(p);
        p->reports_used = !p->others && dst_chance(0.4);
        p->mute = !p->others && !p->reports_used && dst_chance(0.2);
        p->asks = dst_chance(0.6);
        p->resends = dst_chance(0.5);
        p->offset_ns = dst_utc_offset + (int64_t)dst_below(4 * DST_S) - (int64_t)(2 * DST_S);
        p->drift_ppb = (int64_t)dst_below(80000) - 40000;
    }
    mix_make(&dst_world.mix);
    for (unsigned i = 0; dst_world.mix.host_per_s > 0 && i < dst_world.provider_cnt; i++) {
        dst_world.provider[i].limit[1].quota = between(30, 150); /* to be used up within the run */
    }
    if (!dst_world.journal) {
        dst_world.mix.host_per_s =
            0; /* without one, what was used before a reboot is not known: weir.yaml(5) says so */
    }
    if ((dst_world.mix.reloads_per_s > 0 || dst_world.mix.anew > 0) &&
        dst_chance(0.5)) { /* limits are used up */
        dst_world.think_ns = dst_log_uniform(DST_MS, 8 * DST_MS);
    }
    dst_world.utc_kept = dst_world.mix.steps_per_s <= 0 && dst_chance(0.7);
    dst_world.spins = !dst_chance(0.9);
    while (parsed_cnt > 0) {
        weir_config_free(parsed[--parsed_cnt]);
    }
    dst_config = write_and_parse(64);
}
