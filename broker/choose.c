/*
 * choose.c: which endpoint makes a call, and what the call's end says about it.
 *
 * Order of choice: the breaker of the route's group; then among endpoints that are known by address, not tried by this call, and not shut by their breaker,
 * the first role that has one in good state and with room, and in it the provider's balance; then, where none is in good state, the least doubtful one. An
 * endpoint whose breaker is half-open is tried at once by the next call that may be made twice; an order goes there only where nothing else is left.
 *
 * A breaker's word is on the board before the call goes on. Scores are worked out every tick (choose_turn).
 */
#include "broker/egress.h"
#include "broker/log.h"
#include "broker/sign_in.h"
#include "broker/worker.h"
#include "shm/weir_atomic.h"
#include "shm/weir_error.h"
#include "shm/weir_health.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DOWN_NS WEIR_NS_PER_S /* after a connection that failed; others are tried first meanwhile */

/* How much speaks against an endpoint that may be used. */
enum doubt {
    DOUBT_NONE = 0,
    DOUBT_QUIET,   /* it owes several answers, and has said nothing for longer than any took */
    DOUBT_SUSPECT, /* it owes an answer for too long */
    DOUBT_EJECTED,
    DOUBT_DOWN,
    DOUBT_PROBE, /* half-open, and the call cannot be made twice */
};

/* ---------------------------------------------------------------------------------------------- breakers */

static struct weir_shm_breaker *group_of(const struct worker *w, const struct call *c)
{
    uint32_t group = w->route[c->route].group;
    return group != UINT32_MAX ? &w->region->breaker[group] : NULL;
}

/* Relaxed, all of them: one writer, whole words, and nothing else is read by what they say. */
static void breaker_show(struct worker *w, uint32_t index)
{
    const struct weir_shm_breaker *b = &w->region->breaker[index];
    struct weir_shm_health *h = &w->region->health[index];
    weir_store_relaxed_u64(&h->breaker, weir_breaker_make(b->state, b->cause, b->until_ns));
    weir_store_relaxed_u64(&h->trips, b->trips);
}

static void breaker_changed(struct worker *w, uint32_t index)
{
    const struct weir_shm_breaker *b = &w->region->breaker[index];
    const struct weir_shm_health *h = &w->region->health[index];
    breaker_show(w, index);
    log_warn("breaker", "s:s, s:s, s:s, s:s, s:i", "provider",
             w->provider[h->provider].config->name, h->is_group != 0 ? "group" : "endpoint",
             h->name, "state", weir_breaker_name(b->state), "cause", weir_class_name(b->cause),
             "trips", (int)b->trips);
}

static struct breaker_ticket take(struct worker *w, const struct breaker_rule *rule, uint32_t index,
                                  uint64_t lease_until_ns)
{
    struct weir_shm_breaker *b = &w->region->breaker[index];
    struct breaker_ticket t = breaker_take(b, rule, w->now_ns, lease_until_ns);
    if (t.probe) {
        board_add(&w->region->health[index].probes, 1);
        breaker_show(w, index);
    }
    return t;
}

static void told(struct worker *w, const struct breaker_rule *rule, uint32_t index,
                 struct breaker_ticket *ticket, enum weir_call_class class)
{
    struct weir_shm_breaker *b = &w->region->breaker[index];
    bool probe = ticket->probe;
    if (breaker_told(b, rule, w->now_ns, ticket, class)) {
        breaker_changed(w, index);
    } else if (probe) {
        breaker_show(w, index);
    }
}

static void board_open(struct worker *w, uint32_t index, uint32_t provider, bool is_group,
                       const char *name)
{
    struct weir_shm_health *h = &w->region->health[index];
    h->provider = provider;
    h->is_group = is_group;
    (void)snprintf(h->name, sizeof h->name, "%s", name);
    weir_store_relaxed_u32(&h->score, 1000); /* relaxed: for display, until the first tick */
    breaker_restart(&w->region->breaker[index], &w->provider[provider].breaker, worker_now(w));
    breaker_show(w, index);
}

bool choose_open(struct worker *w)
{
    uint32_t group_first = w->region->endpoint_cnt;
    for (uint32_t p = 0; p < w->region->provider_cnt; p++) {
        struct provider *pr = &w->provider[p];
        const struct weir_config_breaker *b = &pr->config->breaker;
        pr->quota_ppm = 1000000;
        pr->breaker = (struct breaker_rule){.failure_cnt = (uint32_t)b->failure_cnt,
                                            .failed_ppm = (uint32_t)b->failed_ppm,
                                            .probe_cnt = (uint32_t)b->probe_cnt,
                                            .window_ns = b->window_ns,
                                            .open_ns = b->open_ns};
        for (uint32_t i = 0; i < pr->endpoint_cnt; i++) {
            struct endpoint *e = &pr->endpoint[i];
            e->breaker = &w->region->breaker[e->index];
            e->board = &w->region->health[e->index];
            board_open(w, e->index, p, false, e->config->name);
        }
        const struct weir_shm_provider_row *row = &w->shared.tables.provider[p];
        for (uint32_t r = 0; r < row->route_cnt; r++) {
            struct route *route = &w->route[row->route_first + r];
            bool grouped =
                route->config != NULL && route->config->group_idx != WEIR_CONFIG_GROUP_NONE;
            route->group = grouped ? group_first + (uint32_t)route->config->group_idx : UINT32_MAX;
            if (grouped) {
                board_open(w, route->group, p, true, route->config->group);
            }
        }
        group_first += (uint32_t)pr->config->group_cnt;
    }
    return true;
}

/* ---------------------------------------------------------------------------------------------- the choice */

static enum weir_balance balance_of(const struct worker *w, uint32_t provider)
{
    uint64_t set = weir_load_relaxed_u64(&w->region->provider[provider].balance); /* our own */
    return set != WEIR_BALANCE_UNSET && set < WEIR_BALANCE_CNT
               ? (enum weir_balance)set
               : w->provider[provider].config->balance;
}

uint64_t endpoint_suspect_ns(const struct endpoint *e)
{
    return e->owed_cnt > 0 ? e->owed_since_ns + health_suspect_ns(&e->health) : UINT64_MAX;
}

static bool is_quiet(const struct endpoint *e, uint64_t now_ns)
{
    return now_ns > e->owed_since_ns &&
           health_is_quiet(&e->health, e->owed_cnt, now_ns - e->owed_since_ns);
}

static enum doubt doubt_of(struct endpoint *e, uint64_t now_ns)
{
    return now_ns < e->down_until_ns           ? DOUBT_DOWN
           : health_is_out(&e->health, now_ns) ? DOUBT_EJECTED
           : now_ns >= endpoint_suspect_ns(e)  ? DOUBT_SUSPECT
           : is_quiet(e, now_ns)               ? DOUBT_QUIET
                                               : DOUBT_NONE;
}

static bool is_tried(const struct call *c, const struct endpoint *e)
{
    return tried_has(&c->tried, e->bit);
}

/* Where the exchange has named one server for a session there is no choice. */
static bool may_go(const struct worker *w, const struct call *c, const struct endpoint *e)
{
    const char *server = w->provider[e->provider].config->auth.sign_in.server;
    return server == NULL || server[0] == '\0' || sign_in_leads(w, c, e);
}

static uint32_t weight_of(const struct endpoint *e, uint64_t now_ns)
{
    uint64_t thousandths = e->config->weight * health_start_ppm(&e->health, now_ns) / 1000U;
    return (uint32_t)weir_max_u64(thousandths, 1);
}

static struct endpoint *pick(struct worker *w, uint32_t provider, struct endpoint *const from[],
                             uint32_t cnt)
{
    struct provider *p = &w->provider[provider];
    enum weir_balance kind = balance_of(w, provider);
    bool turns = kind == WEIR_BALANCE_ROUND_ROBIN || kind == WEIR_BALANCE_WEIGHTED_ROUND_ROBIN;
    struct balance_candidate c[BALANCE_CANDIDATES_MAX];
    if (cnt == 1 || kind == WEIR_BALANCE_FAILOVER) {
        return from[0];
    }
    for (uint32_t i = 0; i < cnt; i++) {
        struct endpoint *e = from[i];
        if (turns && e == p->picked) {
            return e; /* it was its turn at the last look, and no permit was to be had */
        }
        c[i] = (struct balance_candidate){.place = (uint32_t)(e - p->endpoint),
                                          .weight = weight_of(e, w->now_ns),
                                          .in_flight = e->in_flight,
                                          .score = e->parts.score,
                                          .latency_ns = e->health.latency_ns,
                                          .current = &e->current};
    }
    struct endpoint *e = from[balance_pick(kind, &p->balance, c, cnt, &w->random)];
    p->picked = turns ? e : NULL;
    return e;
}

/* A check goes to its own endpoint or nowhere. */
static struct endpoint *pinned(struct worker *w, const struct call *c, struct choice *why)
{
    const struct breaker_rule *rule = &w->provider[c->pin->provider].breaker;
    why->shut = breaker_ask(c->pin->breaker, rule, w->now_ns, &why->earliest_ns) == BREAKER_REFUSE;
    return why->shut || c->pin->target.address[0] == '\0' || is_tried(c, c->pin) ? NULL : c->pin;
}

static bool group_shut(struct worker *w, const struct call *c, struct choice *why)
{
    const struct weir_shm_breaker *b = group_of(w, c);
    const struct breaker_rule *rule = &w->provider[w->route[c->route].provider].breaker;
    why->shut =
        b != NULL && (breaker_ask(b, rule, w->now_ns, &why->earliest_ns) == BREAKER_REFUSE ||
                      (c->hedge_of != NULL && b->state != WEIR_BREAKER_CLOSED));
    return why->shut;
}

/* What the walk over the endpoints has found so far. */
struct found {
    struct endpoint *good[BALANCE_CANDIDATES_MAX]; /* of one role */
    uint32_t good_cnt;
    struct endpoint *least; /* the least doubtful */
    enum doubt doubt;
};

/* Look at one endpoint. Returns true where it is to be tried at once. */
static bool look(struct worker *w, const struct call *c, struct endpoint *e, struct found *f,
                 struct choice *why)
{
    uint64_t earliest_ns = UINT64_MAX;
    if (e->target.address[0] == '\0' || is_tried(c, e) || !may_go(w, c, e)) {
        return false;
    }
    enum breaker_says says =
        breaker_ask(e->breaker, &w->provider[e->provider].breaker, w->now_ns, &earliest_ns);
    if (says == BREAKER_REFUSE) {
        why->shut = true;
        why->earliest_ns = weir_min_u64(why->earliest_ns, earliest_ns);
        return false;
    }
    uint32_t under_way = c->from != NULL ? e->in_flight_from[c->from->index] : e->in_flight;
    if (under_way >= e->config->connection_max) {
        why->busy = true;
        return false;
    }
    if (says == BREAKER_PROBE && c->idempotent && c->hedge_of == NULL) {
        return true;
    }
    enum doubt doubt = says == BREAKER_PROBE ? DOUBT_PROBE : doubt_of(e, w->now_ns);
    if (doubt == DOUBT_NONE) {
        f->good[f->good_cnt++] = e;
    } else if (f->least == NULL || doubt < f->doubt) {
        f->least = e;
        f->doubt = doubt;
    }
    return false;
}

struct endpoint *endpoint_choose(struct worker *w, const struct call *c, struct choice *why)
{
    uint32_t provider = w->route[c->route].provider;
    struct provider *p = &w->provider[provider];
    struct found f; /* large: only what is counted is ever read */
    f.good_cnt = 0;
    f.least = NULL;
    f.doubt = DOUBT_NONE;
    *why = (struct choice){.earliest_ns = UINT64_MAX};
    if (group_shut(w, c, why)) {
        return NULL;
    }
    if (c->pin != NULL) {
        return pinned(w, c, why);
    }
    for (uint32_t i = 0; i < p->endpoint_cnt; i++) {
        struct endpoint *e = &p->endpoint[i];
        if (f.good_cnt > 0 && e->config->role != f.good[0]->config->role) {
            break; /* sorted by role */
        }
        if (look(w, c, e, &f, why)) {
            return e;
        }
    }
    if (f.good_cnt > 0) {
        return pick(w, provider, f.good, f.good_cnt);
    }
    /* a full one that works is worth waiting for; a hedge is worth nothing at a doubtful one */
    return why->busy || c->hedge_of != NULL ? NULL : f.least;
}

bool endpoint_sound(struct worker *w, const struct call *c)
{
    struct provider *p = &w->provider[w->route[c->route].provider];
    uint64_t earliest_ns;
    for (uint32_t i = 0; i < p->endpoint_cnt && c->pin == NULL; i++) {
        struct endpoint *e = &p->endpoint[i];
        uint32_t under_way = c->from != NULL ? e->in_flight_from[c->from->index] : e->in_flight;
        if (e != c->endpoint && e->target.address[0] != '\0' && !is_tried(c, e) &&
            under_way < e->config->connection_max && doubt_of(e, w->now_ns) == DOUBT_NONE &&
            breaker_ask(e->breaker, &p->breaker, w->now_ns, &earliest_ns) == BREAKER_PASS) {
            return true;
        }
    }
    return false;
}

bool endpoint_other(struct worker *w, const struct call *c)
{
    const struct provider *p = &w->provider[w->route[c->route].provider];
    uint64_t earliest_ns;
    for (uint32_t i = 0; i < p->endpoint_cnt && c->pin == NULL; i++) {
        const struct endpoint *e = &p->endpoint[i];
        if (e->target.address[0] != '\0' && !is_tried(c, e) && may_go(w, c, e) &&
            breaker_ask(e->breaker, &p->breaker, w->now_ns, &earliest_ns) != BREAKER_REFUSE) {
            return true;
        }
    }
    return false;
}

/* ---------------------------------------------------------------------------------------------- what its end says */

void endpoint_took(struct worker *w, struct call *c)
{
    struct endpoint *e = c->endpoint;
    struct provider *p = &w->provider[e->provider];
    uint32_t group = w->route[c->route].group;
    e->in_flight++;
    if (c->from != NULL) {
        e->in_flight_from[c->from->index]++;
    }
    board_add(&w->region->endpoint[e->index].requests, 1);
    c->trying = true;
    c->owed = false;
    c->ticket = take(w, &p->breaker, e->index, c->deadline_ns);
    c->group_ticket = group != UINT32_MAX ? take(w, &p->breaker, group, c->deadline_ns)
                                          : (struct breaker_ticket){0};
    p->picked = p->picked == e ? NULL : p->picked;
}

void endpoint_sent(struct call *c, uint64_t now_ns)
{
    struct endpoint *e = c->endpoint;
    if (!c->owed) {
        c->owed = true;
        e->owed_since_ns = e->owed_cnt == 0 ? now_ns : e->owed_since_ns;
        e->owed_cnt++;
    }
}

static void owes_no_more(struct call *c)
{
    if (c->owed) {
        c->owed = false;
        c->endpoint->owed_cnt -= c->endpoint->owed_cnt > 0 ? 1U : 0U;
    }
}

void endpoint_unsent(struct call *c)
{
    owes_no_more(c);
}

void endpoint_heard(struct call *c, uint64_t now_ns)
{
    owes_no_more(c);
    c->endpoint->owed_since_ns = now_ns; /* it speaks: what is owed still is owed from here on */
}

bool endpoint_still_ill(const struct call *c)
{
    return c->pin != NULL && c->pin->health.ejected_until_ns != 0 &&
           c->first_byte_ns > c->sent_ns && c->sent_ns != 0 &&
           health_is_late(&c->pin->health, c->first_byte_ns - c->sent_ns);
}

void endpoint_back(struct worker *w, struct endpoint *e)
{
    e->down_until_ns = 0;
    if (health_is_out(&e->health, w->now_ns)) {
        health_return(&e->health, w->now_ns);
    }
}

/* Relaxed, all of them: for monitors and clients that look. */
static void show(struct endpoint *e, enum doubt doubt, uint64_t now_ns)
{
    struct weir_shm_health *b = e->board;
    const struct health_parts *parts = &e->parts;
    bool shut = e->breaker->state == WEIR_BREAKER_OPEN;
    uint32_t start_ppm = health_start_ppm(&e->health, now_ns);
    uint32_t flags =
        (doubt == DOUBT_EJECTED ? WEIR_HEALTH_EJECTED : 0U) |
        (now_ns < e->down_until_ns ? WEIR_HEALTH_DOWN : 0U) |
        (now_ns >= endpoint_suspect_ns(e) || is_quiet(e, now_ns) ? WEIR_HEALTH_SUSPECT : 0U) |
        (start_ppm < 1000000U ? WEIR_HEALTH_STARTING : 0U);
    weir_store_relaxed_u32(&b->score, shut ? 0 : parts->score);
    weir_store_relaxed_u32(&b->flags, flags);
    weir_store_relaxed_u64(&b->latency_ns, (uint64_t)e->health.latency_ns);
    weir_store_relaxed_u32(&b->success_ppm, parts->success_ppm);
    weir_store_relaxed_u32(&b->latency_ppm, parts->latency_ppm);
    weir_store_relaxed_u32(&b->throttle_ppm, parts->throttle_ppm);
    weir_store_relaxed_u32(&b->fresh_ppm, parts->fresh_ppm);
    weir_store_relaxed_u32(&b->quota_ppm, parts->quota_ppm);
    weir_store_relaxed_u32(&b->start_ppm, start_ppm);
    weir_store_relaxed_u64(&b->ejected_until_ns, e->health.ejected_until_ns);
    weir_store_relaxed_u64(&b->height, e->health.height);
}

/* Is it so much worse than the others of its provider that it is left out? */
static void eject_if_worse(struct worker *w, struct endpoint *e)
{
    struct provider *p = &w->provider[e->provider];
    struct health *h[BALANCE_CANDIDATES_MAX];
    bool usable[BALANCE_CANDIDATES_MAX];
    uint64_t earliest_ns;
    if (p->endpoint_cnt < 2 || health_is_out(&e->health, w->now_ns)) {
        return;
    }
    for (uint32_t i = 0; i < p->endpoint_cnt; i++) {
        struct endpoint *o = &p->endpoint[i];
        (void)health_is_out(&o->health, w->now_ns); /* those whose time is over are back */
        h[i] = &o->health;
        usable[i] = o->target.address[0] != '\0' && w->now_ns >= o->down_until_ns &&
                    breaker_ask(o->breaker, &p->breaker, w->now_ns, &earliest_ns) == BREAKER_PASS;
    }
    if (health_outlier(h, usable, p->endpoint_cnt, (uint32_t)(e - p->endpoint), w->now_ns)) {
        health_eject(&e->health, w->now_ns);
        board_add(&e->board->ejections, 1);
        show(e, DOUBT_EJECTED, w->now_ns);
        log_warn("endpoint_ejected", "s:s, s:s, s:I", "provider", p->config->name, "endpoint",
                 e->config->name, "for_ms",
                 (long long)((e->health.ejected_until_ns - w->now_ns) / WEIR_NS_PER_MS));
    }
}

void endpoint_told(struct worker *w, struct call *c, enum weir_call_class class)
{
    struct endpoint *e = c->endpoint;
    if (!c->trying) {
        return;
    }
    struct provider *p = &w->provider[e->provider];
    uint32_t group = w->route[c->route].group;
    c->trying = false;
    owes_no_more(c);
    e->in_flight -= e->in_flight > 0 ? 1U : 0U;
    if (c->from != NULL && e->in_flight_from[c->from->index] > 0) {
        e->in_flight_from[c->from->index]--;
    }
    board_add(&e->board->count[class], 1);
    bool was_closed = e->breaker->state == WEIR_BREAKER_CLOSED;
    told(w, &p->breaker, e->index, &c->ticket, class);
    if (group != UINT32_MAX) {
        /* That an endpoint cannot be reached says nothing of a part of the API: others may. */
        told(w, &p->breaker, group, &c->group_ticket,
             class == WEIR_CLASS_TRANSPORT ? WEIR_CLASS_NONE : class);
        board_add(&w->region->health[group].count[class], 1);
    }
    health_told(&e->health, class, w->now_ns);
    if (breaker_is_failure(class)) {
        e->down_until_ns = class == WEIR_CLASS_TRANSPORT ? w->now_ns + DOWN_NS : e->down_until_ns;
        eject_if_worse(w, e);
        return;
    }
    if (breaker_is_answer(class)) {
        e->down_until_ns = 0;
        /* What it took while it was out would make its illness its standard: nothing would be late any more. */
        if (c->first_byte_ns > c->sent_ns && c->sent_ns != 0 && e->health.ejected_until_ns == 0) {
            health_latency(&e->health, c->first_byte_ns - c->sent_ns, w->now_ns);
        }
        if (!was_closed && e->breaker->state == WEIR_BREAKER_CLOSED) {
            health_return(&e->health, w->now_ns);
        }
    }
}

/* ---------------------------------------------------------------------------------------------- the board */

static struct health_peers peers_of(const struct provider *p)
{
    struct health_peers peers = {
        .behind_max = p->config->health.height[0] != '\0' ? p->config->health.behind_max : 0,
        .quota_ppm = p->quota_ppm};
    for (uint32_t i = 0; i < p->endpoint_cnt; i++) {
        const struct health *h = &p->endpoint[i].health;
        bool better = h->latency_ns > 0.0 &&
                      (peers.best_latency_ns <= 0.0 || h->latency_ns < peers.best_latency_ns);
        peers.best_latency_ns = better ? h->latency_ns : peers.best_latency_ns;
        peers.best_height = weir_max_u64(peers.best_height, h->height);
    }
    return peers;
}

void choose_turn(struct worker *w)
{
    for (uint32_t p = 0; p < w->region->provider_cnt; p++) {
        struct provider *pr = &w->provider[p];
        const struct health_peers peers = peers_of(pr);
        for (uint32_t i = 0; i < pr->endpoint_cnt; i++) {
            struct endpoint *e = &pr->endpoint[i];
            bool was_out = e->health.ejected_until_ns != 0;
            enum doubt doubt = health_is_out(&e->health, w->now_ns) ? DOUBT_EJECTED : DOUBT_NONE;
            if (was_out && doubt == DOUBT_NONE) {
                log_info("endpoint_back", "s:s, s:s", "provider", pr->config->name, "endpoint",
                         e->config->name);
            }
            e->parts = health_score(&e->health, &peers, w->now_ns);
            show(e, doubt, w->now_ns);
        }
    }
}

/* The least part of any limit that is left, of its fullest scope value; where a pool chooses between them, of its emptiest. */
static uint32_t headroom_ppm(const struct worker *w, uint32_t provider, uint64_t now_ns)
{
    const struct weir_shm_provider_row *row = &w->shared.tables.provider[provider];
    uint32_t least_ppm = 1000000;
    struct weir_limit_time time = {.now_ns = now_ns, .server = &w->provider[provider].published};
    time.error_ns = weir_server_clock_error_ns(time.server, now_ns);
    for (uint32_t i = 0; i < row->limit_cnt; i++) {
        const struct weir_shm_limit_row *l = &w->shared.tables.limit[row->limit_first + i];
        uint64_t best_ppm = 0;
        for (uint32_t k = l->word_first + l->value_first; k < l->word_first + l->word_cnt; k++) {
            const struct weir_limit_place at = {l, &w->region->word[k],
                                                weir_limit_cells(w->region->cell, l, k)};
            struct weir_limit_state state;
            weir_limit_state_get(&state, &at, &w->region->foreign[k], &time);
            uint32_t left = state.quota > state.used ? state.quota - state.used : 0;
            uint64_t ppm = state.quota > 0 ? UINT64_C(1000000) * left / state.quota : 0;
            best_ppm = weir_max_u64(best_ppm, ppm);
            least_ppm = l->value_first == 0 ? (uint32_t)weir_min_u64(least_ppm, ppm) : least_ppm;
        }
        least_ppm = l->value_first != 0 ? (uint32_t)weir_min_u64(least_ppm, best_ppm) : least_ppm;
    }
    return least_ppm;
}

void choose_second(struct worker *w)
{
    uint64_t now_ns = worker_now(w);
    for (uint32_t p = 0; p < w->region->provider_cnt; p++) {
        /* One endpoint has nobody to be compared with; the score's other parts are enough for people. */
        w->provider[p].quota_ppm = headroom_ppm(w, p, now_ns);
    }
}
