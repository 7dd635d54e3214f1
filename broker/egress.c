#include "broker/egress.h"

#include "broker/signer.h"
#include "shm/weir_error.h"
#include "shm/weir_hold.h"

#include <stdio.h>
#include <stdlib.h>

static bool has_pool(const struct worker *w, uint32_t route)
{
    return (w->shared.tables.route[route].flags & WEIR_ROUTE_POOLED) != 0;
}

/* Keys are the pool's to choose only where the route says that any will do. */
static bool any_key(const struct worker *w, uint32_t route)
{
    return (w->shared.tables.route[route].flags & WEIR_ROUTE_ANY_KEY) != 0;
}

bool egress_open(struct worker *w)
{
    for (uint32_t p = 0; p < w->region->provider_cnt; p++) {
        struct provider *pr = &w->provider[p];
        const struct weir_config_provider *config = pr->config;
        if (config->egress_cnt == 0) {
            continue;
        }
        pr->source_cnt = (uint32_t)config->scope[WEIR_SCOPE_IP].cnt;
        pr->source = calloc(pr->source_cnt, sizeof *pr->source);
        if (pr->source == NULL) {
            return false;
        }
        for (size_t i = 0; i < config->egress_cnt; i++) {
            struct egress_source *s = &pr->source[config->egress[i].ip_idx];
            s->index = (uint32_t)config->egress[i].ip_idx;
            (void)snprintf(s->text, sizeof s->text, HTTP_SOURCE_PREFIX "%s",
                           config->egress[i].address);
        }
        for (uint32_t i = 0; i < pr->endpoint_cnt; i++) {
            struct endpoint *e = &pr->endpoint[i];
            e->target.has_source = true;
            e->in_flight_from = calloc(pr->source_cnt, sizeof *e->in_flight_from);
            if (e->in_flight_from == NULL) {
                return false;
            }
        }
    }
    return true;
}

int egress_admit(const struct worker *w, uint32_t route, uint64_t scope)
{
    const struct weir_shm_route_row *row = &w->shared.tables.route[route];
    uint32_t word;
    if (has_pool(w, route)) {
        struct weir_member_choice choice;
        weir_member_begin(&choice, &w->shared, route, scope, any_key(w, route));
        scope = choice.scope;
    }
    int rc = signer_admit(w, route, scope); /* first: "which key?" says more than "which count?" */
    for (uint32_t i = 0; rc == WEIR_OK && i < row->limit_cnt; i++) {
        if (weir_permit_word(&w->shared, row->limit[i], scope, &word) == NULL) {
            rc = WEIR_E_SCOPE_UNKNOWN;
        }
    }
    return rc;
}

static void source_set(struct worker *w, struct call *c)
{
    const struct provider *p = &w->provider[w->route[c->route].provider];
    uint32_t value = (uint32_t)(c->scope >> (16 * WEIR_SCOPE_IP)) & 0xffffU;
    bool has = value < p->source_cnt && p->source[value].text[0] != '\0';
    c->from = has ? &p->source[value] : NULL;
}

/* The best who is left. */
static bool choose(struct worker *w, struct call *c, struct egress_turn *t)
{
    const struct weir_cost *units = c->units.cnt > 0 ? &c->units : NULL;
    if (!weir_member_next(&t->choice, &w->shared, units, c->priority, w->member_turn++)) {
        return false;
    }
    c->scope = t->choice.scope;
    c->member = t->choice.pair;
    source_set(w, c);
    return true;
}

void egress_begin(struct worker *w, struct call *c, struct egress_turn *t)
{
    t->is_denied = false;
    t->is_busy = false;
    t->choice = (struct weir_member_choice){.route = c->route}; /* nothing to choose */
    c->scope = c->request.scope;
    c->member = 0;
    if (has_pool(w, c->route)) {
        weir_member_begin(&t->choice, &w->shared, c->route, c->request.scope, any_key(w, c->route));
        c->scope = t->choice.scope;
        c->member = t->choice.pair;
        if (t->choice.chooses[WEIR_MEMBER_ADDRESS] || t->choice.chooses[WEIR_MEMBER_KEY]) {
            (void)choose(w, c, t); /* somebody is there */
        }
    }
    source_set(w, c);
}

bool egress_begin_beside(struct worker *w, struct call *c, uint32_t member, struct egress_turn *t)
{
    bool other = false;
    t->is_denied = false;
    t->is_busy = false;
    if (!has_pool(w, c->route)) {
        return false;
    }
    weir_member_begin(&t->choice, &w->shared, c->route, c->request.scope, any_key(w, c->route));
    t->choice.pair = member;
    for (unsigned half = 0; half < 2; half++) {
        uint64_t all = t->choice.open[half];
        bool skipped = weir_member_skip(&t->choice, (enum weir_member_half)half);
        other = other || skipped;
        t->choice.open[half] = skipped ? t->choice.open[half] : all;
    }
    return other && choose(w, c, t);
}

bool egress_denied(struct worker *w, struct call *c, struct egress_turn *t)
{
    if (!t->is_denied || c->denial.earliest_ns < t->denial.earliest_ns) {
        t->denial = c->denial;
    }
    t->is_denied = true;
    if (weir_member_refused(&t->choice, &w->shared, &c->denial) && choose(w, c, t)) {
        return true;
    }
    c->denial = t->denial;
    if (t->is_busy) { /* who had no connection free may have one soon, and would be granted */
        c->denial.earliest_ns = weir_min_u64(c->denial.earliest_ns, w->now_ns + WEIR_NS_PER_MS);
    }
    return false;
}

bool egress_busy(struct worker *w, struct call *c, struct egress_turn *t)
{
    t->is_busy = true;
    return weir_member_skip(&t->choice, WEIR_MEMBER_ADDRESS) && choose(w, c, t);
}

bool egress_other(const struct worker *w, const struct call *c)
{
    uint32_t provider = w->route[c->route].provider;
    const struct weir_shm_provider_row *row = &w->shared.tables.provider[provider];
    struct weir_member_choice choice;
    if (!has_pool(w, c->route) || row->hold_kind == 0) {
        return false;
    }
    weir_member_begin(&choice, &w->shared, c->route, c->request.scope, any_key(w, c->route));
    return choice
        .chooses[row->hold_kind - 1 == WEIR_SCOPE_IP ? WEIR_MEMBER_ADDRESS : WEIR_MEMBER_KEY];
}
