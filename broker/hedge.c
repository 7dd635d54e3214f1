#include "broker/hedge.h"

#include "broker/egress.h"
#include "broker/hedge_rule.h"
#include "broker/worker.h"
#include "shm/weir_hold.h"

#include <stdlib.h>
#include <string.h>

/* How often a percentile is worked out anew. */
#define LOOK_NS (100 * WEIR_NS_PER_MS)

/* A stuck call for which nobody had room, or a permit, is looked at again after so long. */
#define STUCK_NS (10 * WEIR_NS_PER_MS)

/* Calls that were written, of which nothing was heard, and which have no hedge: in the order of writing. */
struct waiting {
    struct call *first, *last;
};

/* One route that is hedged. */
struct hedge_route {
    struct waiting early; /* not late yet */
    struct waiting stuck; /* late, and the budget was spent */
    uint64_t late_ns;     /* so long after it was written a call is late; UINT64_MAX: not known */
    uint64_t look_at_ns;
    const struct weir_config_hedge *config;
    struct hedge_latency latency;
};

struct hedges {
    struct hedge_route **of; /* [route]; NULL: it is not hedged */
    struct hedge_route *route;
    uint32_t route_cnt;
    struct hedge_budget *budget; /* [provider] */
    uint64_t due_ns;             /* no call is late earlier */
    uint64_t stuck_due_ns;       /* no endpoint of a stuck one is suspect earlier */
};

static bool is_hedged(const struct worker *w, uint32_t route)
{
    return w->route[route].config != NULL && w->route[route].config->is_hedged;
}

bool hedge_open(struct worker *w)
{
    uint32_t cnt = 0;
    for (uint32_t r = 0; r < w->region->route_cnt; r++) {
        cnt += is_hedged(w, r);
    }
    if (cnt == 0) {
        return true;
    }
    struct hedges *all = calloc(1, sizeof *all);
    if (all == NULL) {
        return false;
    }
    w->hedges = all;
    all->due_ns = UINT64_MAX;
    all->stuck_due_ns = UINT64_MAX;
    all->of = calloc(w->region->route_cnt, sizeof(struct hedge_route *));
    all->route = calloc(cnt, sizeof *all->route);
    all->budget = calloc(w->region->provider_cnt, sizeof *all->budget);
    if (all->of == NULL || all->route == NULL || all->budget == NULL) {
        return false;
    }
    for (uint32_t r = 0; r < w->region->route_cnt; r++) {
        if (is_hedged(w, r)) {
            struct hedge_route *route = &all->route[all->route_cnt++];
            route->config = &w->provider[w->route[r].provider].config->hedge;
            route->late_ns = route->config->after_ppm == 0 ? route->config->after_ns : UINT64_MAX;
            all->of[r] = route;
        }
    }
    return true;
}

/* Where `c` is measured and may be hedged; NULL: it is not. */
static struct hedge_route *route_of(const struct worker *w, const struct call *c)
{
    return w->hedges != NULL && c->client != NULL && c->hedge_of == NULL ? w->hedges->of[c->route]
                                                                         : NULL;
}

/* ---------------------------------------------------------------------------------------------- who waits, and how long others waited */

static void unlink_waiting(struct hedge_route *r, struct call *c)
{
    if (!c->hedge_waits) {
        return;
    }
    struct waiting *at = c->hedge_stuck ? &r->stuck : &r->early;
    c->hedge_waits = false;
    c->hedge_stuck = false;
    *(c->hedge_prev != NULL ? &c->hedge_prev->hedge_next : &at->first) = c->hedge_next;
    *(c->hedge_next != NULL ? &c->hedge_next->hedge_prev : &at->last) = c->hedge_prev;
    c->hedge_prev = NULL;
    c->hedge_next = NULL;
}

static void link_waiting(struct hedge_route *r, struct call *c, bool stuck)
{
    struct waiting *at = stuck ? &r->stuck : &r->early;
    c->hedge_waits = true;
    c->hedge_stuck = stuck;
    c->hedge_prev = at->last;
    *(at->last != NULL ? &at->last->hedge_next : &at->first) = c;
    at->last = c;
}

static void look_again(struct worker *w, const struct hedge_route *r)
{
    if (r->early.first != NULL && r->late_ns != UINT64_MAX) {
        w->hedges->due_ns = weir_min_u64(w->hedges->due_ns, r->early.first->sent_ns + r->late_ns);
        worker_due(w, w->hedges->due_ns);
    }
}

static void sample(struct worker *w, struct hedge_route *r, uint64_t waited_ns, uint64_t now_ns)
{
    hedge_latency_add(&r->latency, waited_ns, now_ns);
    if (r->config->after_ppm != 0 && now_ns >= r->look_at_ns) {
        r->look_at_ns = now_ns + LOOK_NS;
        r->late_ns = hedge_latency_ns(&r->latency, (uint32_t)r->config->after_ppm);
        look_again(w, r);
    }
}

/* How many sends of this call may still be counted by the exchange: a successor holds so many, each for its member of a pool. */
static void wire_tell(const struct call *c, uint32_t cnt)
{
    c->client->shadow[c->slot].on_wire = (uint16_t)cnt;
}

void hedge_sent(struct worker *w, struct call *c)
{
    struct hedge_route *r = route_of(w, c);
    if (c->hedge_of != NULL) {
        struct weir_shm_shadow *sh = &c->client->shadow[c->slot];
        bool both = c->hedge_of->stage == CALL_RUNNING;
        c->hedge_of->sends++;
        sh->sends = c->hedge_of->sends;
        sh->hedge_member = c->member; /* first: on_wire says that somebody may look */
        sh->member = both ? sh->member : c->member;
        wire_tell(c, both ? 2 : 1);
        if (c->sends == 1) {
            board_add(&w->region->route_stats[c->route].hedges, 1);
        }
    }
    if (r == NULL || c->hedged) {
        return;
    }
    unlink_waiting(r, c); /* curl sends it again */
    link_waiting(r, c, false);
    look_again(w, r);
}

void hedge_heard(struct worker *w, struct call *c)
{
    struct hedge_route *r = route_of(w, c);
    uint64_t now_ns = worker_now(w);
    if (r != NULL && now_ns >= c->sent_ns) {
        unlink_waiting(r, c);
        sample(w, r, now_ns - c->sent_ns, now_ns);
    }
}

void hedge_over(struct worker *w, struct call *c)
{
    struct hedge_route *r = route_of(w, c);
    uint64_t now_ns = worker_now(w);
    if (r == NULL) {
        return;
    }
    unlink_waiting(r, c);
    /* It was given up. How long it would have waited is not known: longer than that. */
    bool silent = c->trying && c->sent_ns != 0 && c->first_byte_ns == 0 && now_ns > c->sent_ns;
    if (silent && r->late_ns != UINT64_MAX && now_ns - c->sent_ns >= r->late_ns) {
        sample(w, r, now_ns - c->sent_ns, now_ns);
    }
}

void hedge_paid(struct worker *w, const struct call *c)
{
    const struct hedge_route *r = route_of(w, c);
    if (r != NULL) {
        hedge_budget_call(&w->hedges->budget[w->route[c->route].provider], r->config->budget_ppm);
    }
}

/* ---------------------------------------------------------------------------------------------- sending the second */

/* The second call: what it is asked is the first one's, all that is told and taken its own. */
static struct call *copy_of(struct worker *w, struct call *of)
{
    char *room = malloc(of->room_bytes > 0 ? of->room_bytes : 1);
    struct call *c = room != NULL ? call_make(w) : NULL;
    if (c == NULL) {
        free(room);
        return NULL;
    }
    c->room = room;
    c->room_bytes = of->room_bytes;
    c->hedge_of = of;
    c->client = of->client;
    c->slot = of->slot;
    c->claimed = of->claimed;
    c->route = of->route;
    c->idempotent = true;
    c->deadline_ns = of->deadline_ns;
    c->taken_ns = of->taken_ns;
    c->units = of->units;
    c->request = of->request;
    c->scope = of->scope;
    c->member = of->member;
    c->from = of->from;
    c->parts = of->parts; /* they lie in the first one's payload, which outlives this */
    c->tried = of->tried;
    tried_add(&c->tried, of->endpoint->bit);
    return c;
}

/* Is it worth a thought? */
static bool may(const struct worker *w, const struct call *c)
{
    return c->stage == CALL_RUNNING && !c->hedged && !c->client->gone && !w->draining &&
           w->now_ns + c->endpoint->answer_ns < c->deadline_ns;
}

/* Is nobody paused where this call would be held? */
static bool is_open(const struct worker *w, const struct call *c)
{
    uint32_t place =
        weir_hold_place(&w->shared.tables, &w->shared.tables.route[c->route], c->scope);
    /* relaxed: a hint; the permit looks for itself */
    return weir_hold_open(weir_load_relaxed_u64(&w->region->pause[place].word),
                          weir_load_relaxed_u64(&w->region->provider[place].pause));
}

static bool start_at(struct worker *w, struct call *hedge, struct endpoint *e)
{
    if (!exchange_start(w, hedge, e)) {
        call_give_back(w, hedge);
        return false;
    }
    return true;
}

/* By another member of the pool than the first attempt's: the one with the most headroom, or the next that passes. */
static bool start_other(struct worker *w, struct call *hedge)
{
    struct egress_turn turn;
    struct choice why;
    if (!egress_begin_beside(w, hedge, hedge->hedge_of->member, &turn)) {
        return false;
    }
    for (;;) { /* each turn rules one member of the pool out */
        struct endpoint *e = endpoint_choose(w, hedge, &why);
        if (e == NULL) {
            if (!why.busy || !egress_busy(w, hedge, &turn)) {
                return false;
            }
            continue;
        }
        hedge->denial = (struct weir_denial){.reason = WEIR_REASON_PAUSED};
        int rc = is_open(w, hedge) ? dispatch_permit(w, hedge) : WEIR_DENIED;
        if (rc == WEIR_OK) {
            return start_at(w, hedge, e);
        }
        if (rc != WEIR_DENIED || !egress_denied(w, hedge, &turn)) {
            return false;
        }
    }
}

/* By the first attempt's own member. */
static bool start_same(struct worker *w, struct call *hedge)
{
    const struct call *first = hedge->hedge_of;
    struct choice why;
    hedge->scope = first->scope;
    hedge->member = first->member;
    hedge->from = first->from;
    struct endpoint *e = is_open(w, hedge) ? endpoint_choose(w, hedge, &why) : NULL;
    return e != NULL && dispatch_permit(w, hedge) == WEIR_OK && start_at(w, hedge, e);
}

/* Endpoint, member, permit, transfer: all now, or nothing. Another endpoint by another member; else by the same one; else the same endpoint by another. */
static bool start(struct worker *w, struct call *hedge)
{
    const struct call *first = hedge->hedge_of;
    if (start_other(w, hedge) || start_same(w, hedge)) {
        return true;
    }
    hedge->tried = first->tried;
    return start_other(w, hedge);
}

static bool send_second(struct worker *w, struct call *c, uint32_t priority)
{
    struct call *hedge = copy_of(w, c);
    if (hedge == NULL) {
        return false;
    }
    hedge->priority = priority;
    if (!start(w, hedge)) {
        call_free(w, hedge);
        return false;
    }
    c->hedge = hedge;
    c->hedged = true;
    return true;
}

static void try_one(struct worker *w, struct hedge_route *r, struct call *c)
{
    struct hedge_budget *budget = &w->hedges->budget[w->route[c->route].provider];
    struct weir_shm_route_stats *stats = &w->region->route_stats[c->route];
    if (!may(w, c)) {
        return;
    }
    if (!hedge_budget_has(budget)) {
        board_add(&stats->hedges_unaffordable, 1);
        link_waiting(r, c, true);
        w->hedges->stuck_due_ns =
            weir_min_u64(w->hedges->stuck_due_ns, endpoint_suspect_ns(c->endpoint));
        return;
    }
    if (!send_second(w, c, (uint32_t)weir_max_u64(c->priority, WEIR_PRIORITY_LOW))) {
        board_add(&stats->hedges_refused, 1);
        return;
    }
    hedge_budget_take(budget);
}

/* The stuck ones of one route: as many seconds as they need, where their endpoint has stopped answering. */
static void stuck_turn(struct worker *w, struct hedge_route *r)
{
    for (struct call *c = r->stuck.first, *next; c != NULL; c = next) {
        uint64_t suspect_ns = endpoint_suspect_ns(c->endpoint);
        bool wanted = w->now_ns >= suspect_ns && may(w, c);
        next = c->hedge_next; /* a second one that starts ends no call */
        if (wanted && endpoint_sound(w, c) && send_second(w, c, c->priority)) {
            unlink_waiting(r, c);
            board_add(&w->region->route_stats[c->route].hedges_stalled, 1);
        } else if (!wanted && w->now_ns >= suspect_ns) {
            unlink_waiting(r, c); /* its deadline leaves no time for an answer */
        } else {
            uint64_t again_ns = weir_max_u64(suspect_ns, w->now_ns + STUCK_NS);
            w->hedges->stuck_due_ns = weir_min_u64(w->hedges->stuck_due_ns, again_ns);
        }
    }
}

void hedge_turn(struct worker *w)
{
    struct hedges *all = w->hedges;
    if (all == NULL) {
        return;
    }
    if (w->now_ns >= all->due_ns) {
        all->due_ns = UINT64_MAX;
        for (uint32_t i = 0; i < all->route_cnt; i++) {
            struct hedge_route *r = &all->route[i];
            while (r->early.first != NULL && r->late_ns != UINT64_MAX &&
                   w->now_ns >= r->early.first->sent_ns + r->late_ns) { /* each takes one out */
                struct call *c = r->early.first;
                unlink_waiting(r, c);
                try_one(w, r, c);
            }
            look_again(w, r);
        }
    }
    if (w->now_ns >= all->stuck_due_ns) {
        all->stuck_due_ns = UINT64_MAX;
        for (uint32_t i = 0; i < all->route_cnt; i++) {
            stuck_turn(w, &all->route[i]);
        }
    }
    worker_due(w, weir_min_u64(all->due_ns, all->stuck_due_ns));
}

/* ---------------------------------------------------------------------------------------------- the end of one of them */

/* A good answer, or one that no other can better. "Not you" is about whoever asked: `other`, on its way, may be another member of the pool. */
static bool is_good(const struct call *c, const struct call *other)
{
    bool not_you = (c->transfer.status == 401 || c->transfer.status == 403) && other != NULL &&
                   other->member != c->member;
    return c->stop == CALL_STOP_LARGE || (c->transfer.code == CURLE_OK && !not_you &&
                                          !retry_status(c->transfer.status, c->throttled));
}

/* The permit of an attempt that is over, and was not the call's last word. */
static void settle(struct worker *w, struct call *c)
{
    call_give_back(w, c); /* if it was not used */
    call_attempt_over(w, c, c->transfer.code == CURLE_OK ? WEIR_RESULT_DONE : WEIR_RESULT_FAILED);
}

static void end(struct worker *w, struct call *hedge)
{
    struct call *c = hedge->hedge_of;
    c->hedge = NULL;
    wire_tell(c, 1);
    call_free(w, hedge);
}

/* The first attempt is over: all that the hedge is and has is the call's own from here on. */
static void adopt(struct worker *w, struct call *c, struct call *hedge)
{
    const struct hear hear = c->hear;
    bool answered = hedge->transfer.code == CURLE_OK;
    c->stage = CALL_RUNNING;
    c->transfer.code = hedge->transfer.code;
    c->transfer.status = hedge->transfer.status;
    c->transfer.connected = hedge->transfer.connected;
    c->stop = hedge->stop;
    c->endpoint = hedge->endpoint;
    c->scope = hedge->scope;
    c->member = hedge->member;
    c->from = hedge->from;
    c->throttled = hedge->throttled;
    c->retry_after_ns = hedge->retry_after_ns;
    c->permitted_ns = hedge->permitted_ns;
    c->sent_ns = hedge->sent_ns;
    c->writes = hedge->writes;
    c->first_byte_ns = hedge->first_byte_ns;
    c->permit = hedge->permit;
    c->own_permit = hedge->own_permit;
    c->trial_permit = hedge->trial_permit;
    c->late = hedge->late;
    hedge->trial_permit.state = WEIR_PERMIT_NONE;
    if (answered) { /* else what was heard is still that of the answer that is kept */
        c->hear = hedge->hear;
        hedge->hear = hear;
        memcpy(c->room, hedge->room, (size_t)hedge->head_bytes + hedge->body_bytes);
        c->head = hedge->head;
        c->head_status = hedge->head_status;
        c->head_bytes = hedge->head_bytes;
        c->body_bytes = hedge->body_bytes;
        c->kept.status = 0;
    }
    end(w, hedge);
}

static bool first_ended(struct worker *w, struct call *c)
{
    bool last_word = is_good(c, c->hedge) || c->stop == CALL_STOP_CANCEL ||
                     w->now_ns >= c->deadline_ns ||
                     (c->sent_ns != 0 && c->transfer.code == CURLE_OPERATION_TIMEDOUT);
    if (last_word) {
        hedge_drop(w, c);
        return false;
    }
    if (c->transfer.code == CURLE_OK) {
        call_answer_keep(c);
    }
    settle(w, c);
    tried_add(&c->tried, c->endpoint->bit);
    c->stage = CALL_HEDGED;
    if (c->hedge->sends > 0) { /* first: it is the one that is left */
        c->client->shadow[c->slot].member = c->hedge->member;
    }
    wire_tell(c, 1);
    return true;
}

bool hedge_ended(struct worker *w, struct call **at)
{
    struct call *c = *at;
    struct call *first = c->hedge_of;
    if (first == NULL) {
        return c->hedge != NULL && first_ended(w, c);
    }
    bool good = is_good(c, first->stage == CALL_RUNNING ? first : NULL);
    if (first->stage == CALL_RUNNING && !good) {
        settle(w, c);
        tried_add(&first->tried, c->endpoint->bit);
        end(w, c);
        return true;
    }
    if (good) {
        board_add(&w->region->route_stats[c->route].hedges_won, 1);
    }
    if (first->stage == CALL_RUNNING) {
        exchange_stop(w, first);
    }
    adopt(w, first, c);
    *at = first;
    return false;
}

void hedge_drop(struct worker *w, struct call *c)
{
    if (c->hedge != NULL) {
        exchange_stop(w, c->hedge);
        end(w, c->hedge);
    }
}

void hedge_back(struct worker *w, struct call *hedge)
{
    struct call *c = hedge->hedge_of;
    hedge_drop(w, c);
    if (c->stage == CALL_HEDGED) {
        c->sent_ns = 0;
        c->writes = 0;
        dispatch_again(w, c);
    }
}
