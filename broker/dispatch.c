#include "broker/egress.h"
#include "broker/log.h"
#include "broker/pair.h"
#include "broker/sign_in.h"
#include "broker/worker.h"
#include "shm/weir_atomic.h"
#include "shm/weir_weave.h"

#include <stdlib.h>
#include <string.h>

/* A refused queue is looked at again after so long even if its promised instant is later: a refund or a resume may have come. */
#define RETRY_MAX_NS (10 * WEIR_NS_PER_MS)

static struct queue *queue_of(struct worker *w, const struct call *c)
{
    return &w->queue[c->route * WEIR_PRIORITY_CNT + c->priority];
}

static void queue_mark(struct worker *w, uint32_t route, uint32_t priority)
{
    w->queue_busy[priority][route / 64] |= UINT64_C(1) << (route % 64);
}

/* Was its scope refused at the last look? Then a newcomer of it has to wait as well. */
static bool is_refused(const struct queue *q, const struct call *c)
{
    for (uint32_t i = 0; i < q->refused_cnt; i++) {
        const struct refused *r = &q->refused[i];
        if (r->scope == c->request.scope && (r->client == NULL || r->client == c->client)) {
            return true;
        }
    }
    return false;
}

static void queue_push(struct worker *w, struct call *c)
{
    struct queue *q = queue_of(w, c);
    c->stage = CALL_QUEUED;
    c->next = NULL;
    if (q->first == NULL || !is_refused(q, c)) {
        q->not_before_ns = 0;
    }
    if (q->first == NULL) {
        q->first = c;
        q->deadline_min_ns = c->deadline_ns;
    } else {
        q->last->next = c;
        q->deadline_min_ns = weir_min_u64(q->deadline_min_ns, c->deadline_ns);
    }
    q->last = c;
    queue_mark(w, c->route, c->priority);
    worker_due(w, c->deadline_ns);
}

void dispatch_again(struct worker *w, struct call *c)
{
    struct queue *q = queue_of(w, c);
    c->stage = CALL_QUEUED;
    c->stop = CALL_STOP_NONE;
    c->next = q->first;
    q->deadline_min_ns =
        q->first == NULL ? c->deadline_ns : weir_min_u64(q->deadline_min_ns, c->deadline_ns);
    q->first = c;
    q->not_before_ns = 0;
    if (q->last == NULL || c->next == NULL) {
        q->last = c;
    }
    queue_mark(w, c->route, c->priority);
    worker_due(w, w->now_ns);
}

static uint32_t room_needed(const struct worker *w, const struct call *c)
{
    return w->shared.tables.route[c->route].response_max_bytes + CALL_HEAD_MAX_BYTES;
}

static bool room_hold(struct worker *w, struct call *c)
{
    uint32_t bytes = room_needed(w, c);
    if (!client_room_hold(c->client, bytes, &c->room_off_bytes)) {
        return false;
    }
    c->room = c->client->response + c->room_off_bytes;
    c->room_bytes = bytes;
    struct weir_shm_shadow *sh = &c->client->shadow[c->slot];
    sh->pool_off_bytes = c->room_off_bytes;
    WEIR_WEAVE("room:held");
    weir_store_release_u32(&sh->pool_bytes, bytes); /* last: it says that there is room to free */
    return true;
}

void dispatch_ready(struct worker *w, struct call *c)
{
    if (!cache_offer(w, c, is_refused(queue_of(w, c), c))) {
        queue_push(w, c);
    }
}

void dispatch_enter(struct worker *w, struct call *c)
{
    if (c->client == NULL) {
        queue_push(w, c);
        return;
    }
    if (c->client->room_first == NULL && room_hold(w, c)) {
        dispatch_ready(w, c);
        return;
    }
    if (room_needed(w, c) > c->client->response_bytes) {
        call_end(w, c, WEIR_RESULT_NO_ROOM, WEIR_E_ARENA_TOO_LARGE); /* never fits: say so now */
        return;
    }
    c->stage = CALL_ROOM;
    c->next = NULL;
    if (c->client->room_first == NULL) {
        c->client->room_first = c;
    } else {
        c->client->room_last->next = c;
    }
    c->client->room_last = c;
    worker_due(w, c->deadline_ns);
}

void dispatch_room(struct worker *w, struct client *cl)
{
    while (cl->room_first != NULL && room_hold(w, cl->room_first)) {
        struct call *c = cl->room_first;
        cl->room_first = c->next;
        dispatch_ready(w, c);
    }
}

void dispatch_as(struct worker *w, const struct call *c)
{
    static const uint8_t nobody[WEIR_LIMITS_MAX]; /* the worker's own calls have no share */
    /* A question after an order is its client's. */
    const struct client *payer = c->doubt.asks != NULL ? c->doubt.asks->client : c->client;
    w->shared.member = payer != NULL ? payer->self.member : nobody;
    w->shared.meter.units = payer != NULL ? payer->brokered : w->own_units;
    w->shared.audit.client = payer != NULL ? (uint8_t)payer->info.index : WEIR_AUDIT_NOBODY;
}

int dispatch_permit(struct worker *w, struct call *c)
{
    dispatch_as(w, c);
    const struct weir_cost *units = c->units.cnt > 0 ? &c->units : NULL;
    pair_open_route(w, c->route, c->scope);
    /* The private account first: brokered calls alone never pass a limit, whatever traders write into the shared words. */
    int rc = weir_permit_take(&w->own, c->route, c->scope, units, c->priority, &c->own_permit);
    if (rc != WEIR_OK) {
        pair_close(w);
        c->denial = c->own_permit.denial;
        return rc;
    }
    audit_hold(w);
    rc = weir_permit_take(&w->shared, c->route, c->scope, units, c->priority, &c->permit);
    if (rc != WEIR_OK) {
        audit_granted(w, c, false);
        c->denial = c->permit.denial;
        (void)weir_permit_give(&w->own, &c->own_permit);
        pair_back(w);
        return rc;
    }
    pair_close(w);
    /* One instant for both, so that what is given back later is the same in both accounts and the private one stays below. */
    c->permit.granted_at_ns = c->own_permit.granted_at_ns;
    c->permit.use_by_ns = c->own_permit.use_by_ns;
    audit_granted(w, c, true);
    reply_charged(w, &c->permit, false);
    board_add(&w->region->route_stats[c->route].granted[c->priority], 1);
    c->permitted_ns = c->permit.granted_at_ns;
    trial_call(w, c);
    return WEIR_OK;
}

/* Once for a call, however often it is looked at, as with a trader who waits. */
static void count_refusal(struct worker *w, struct call *c)
{
    if (!c->refused && c->denial.limit < w->region->limit_cnt) {
        c->refused = true;
        board_add(&w->region->limit_stats[c->denial.limit].refused[c->priority], 1);
        audit_refused(w, c->client, c->denial.limit, c->priority, 1, WEIR_AUDIT_BY_BROKER);
    }
}

/* Will the promised instant come too late for this call? Pauses and leases may end sooner than they say; limits do not. */
static bool hopeless(const struct call *c, const struct weir_denial *d)
{
    return d->earliest_ns > c->deadline_ns &&
           (d->reason == WEIR_REASON_LIMIT_FULL || d->reason == WEIR_REASON_SHARE ||
            d->reason == WEIR_REASON_PAUSED || d->reason == WEIR_REASON_BREAKER ||
            d->reason == WEIR_REASON_SIGN_IN);
}

enum start {
    STARTED,
    ENDED,  /* or is to be tried again later */
    WAITS,  /* for a connection or an address: so do all behind it */
    DENIED, /* by a limit of its scope: those of other scopes may pass */
};

/* A call that was to be sent has no permit. */
static enum start start_denied(struct worker *w, struct queue *q, struct call *c, int rc)
{
    if (rc == WEIR_CONTENDED) {
        q->not_before_ns = 0;
        worker_due(w, w->now_ns);
        return WAITS;
    }
    if (rc != WEIR_DENIED) {
        call_end(w, c, WEIR_RESULT_REJECTED, rc);
        return ENDED;
    }
    count_refusal(w, c);
    cache_denied(w, c);
    if (hopeless(c, &c->denial) || cache_has_stale(w, c)) {
        call_end(w, c, WEIR_RESULT_REFUSED, 0);
        return ENDED;
    }
    return DENIED;
}

/* No endpoint for it now. */
static enum start start_nowhere(struct worker *w, struct queue *q, struct call *c,
                                const struct choice *why)
{
    if (c->pin != NULL || (!why->busy && tried_any(&c->tried))) {
        if (!retry_later(w, c, RETRY_UNSENT)) {
            call_end(w, c, WEIR_RESULT_NOT_SENT, (int)c->transfer.code);
        }
        return ENDED;
    }
    if (why->shut &&
        !why->busy) { /* as with a pause: it waits while that can help, else it learns so now */
        c->denial = (struct weir_denial){
            .reason = WEIR_REASON_BREAKER, .limit = UINT32_MAX, .earliest_ns = why->earliest_ns};
        return start_denied(w, q, c, WEIR_DENIED);
    }
    /* a transfer's end, or an address, will free it */
    q->not_before_ns = why->busy ? 0 : w->now_ns + WEIR_NS_PER_MS;
    return WAITS;
}

/* Try to start a call that has been taken out of its queue. WAITS and DENIED: it goes back. */
static enum start start(struct worker *w, struct queue *q, struct call *c)
{
    struct choice why;
    if (cache_again(w, c)) {
        return ENDED;
    }
    struct egress_turn turn;
    struct endpoint *e;
    int rc = WEIR_OK;
    egress_begin(w, c, &turn);
    bool waits; /* for a session; before an endpoint is looked for: the session may name it */
    do {        /* each turn rules one member of the pool out */
        waits = sign_in_waits(w, c);
        e = waits ? NULL : endpoint_choose(w, c, &why);
        rc = waits ? WEIR_DENIED : e != NULL ? dispatch_permit(w, c) : WEIR_OK;
    } while (e == NULL && !waits ? why.busy && egress_busy(w, c, &turn)
                                 : rc == WEIR_DENIED && egress_denied(w, c, &turn));
    if (e == NULL && !turn.is_denied) {
        return start_nowhere(w, q, c, &why);
    }
    if (e == NULL &&
        !waits) { /* some are full, and some have no connection free: that may end first */
        c->denial = turn.denial;
        c->denial.earliest_ns = weir_min_u64(c->denial.earliest_ns, w->now_ns + WEIR_NS_PER_MS);
        rc = WEIR_DENIED;
    }
    if (rc != WEIR_OK) {
        return start_denied(w, q, c, rc);
    }
    if (!exchange_start(w, c, e)) {
        call_give_back(w, c);
        if (calls_reserve_use(w)) {
            q->not_before_ns = 0;
            worker_due(w, w->now_ns);
            return WAITS;
        }
        call_end(w, c, WEIR_RESULT_NOT_SENT, WEIR_E_MEMORY);
        return ENDED;
    }
    return STARTED;
}

/* Does what `denied` was told hold for `c` too: the same words, the same cost, and where there are shares the same client? */
static bool same_demand(const struct worker *w, const struct call *c, const struct call *denied)
{
    bool shared = (w->shared.tables.route[c->route].flags & WEIR_ROUTE_SHARED) != 0;
    return (!shared || c->client == denied->client) && c->request.scope == denied->request.scope &&
           c->units.cnt == denied->units.cnt &&
           memcmp(c->units.units, denied->units.units, c->units.cnt * sizeof c->units.units[0]) ==
               0;
}

static void queue_append(struct queue *q, struct call *c)
{
    c->next = NULL;
    if (q->first == NULL) {
        q->first = c;
    } else {
        q->last->next = c;
    }
    q->last = c;
    q->deadline_min_ns = weir_min_u64(q->deadline_min_ns, c->deadline_ns);
}

/* End what has expired, and (`denied` given) what cannot make it either; it learns so now. The rest stays, in its order. */
static void queue_filter(struct worker *w, struct queue *q, const struct call *denied)
{
    struct call *c = q->first;
    const struct weir_denial d = denied != NULL ? denied->denial : (struct weir_denial){0};
    q->first = NULL;
    q->last = NULL;
    q->deadline_min_ns = UINT64_MAX;
    while (c != NULL) {
        struct call *next = c->next;
        bool late = denied != NULL && c != denied && same_demand(w, c, denied) && hopeless(c, &d);
        if (late) {
            c->denial = d;
            call_end(w, c, WEIR_RESULT_REFUSED, 0);
        } else if (w->now_ns >= c->deadline_ns && c != denied) {
            call_end(w, c, WEIR_RESULT_EXPIRED, 0);
        } else {
            queue_append(q, c);
        }
        c = next;
    }
}

static void queue_take_out(struct queue *q, struct call *before, const struct call *c)
{
    if (before == NULL) {
        q->first = c->next;
    } else {
        before->next = c->next;
    }
    q->last = q->last == c ? before : q->last;
}

static void queue_put_back(struct queue *q, struct call *before, struct call *c)
{
    c->next = before == NULL ? q->first : before->next;
    if (before == NULL) {
        q->first = c;
    } else {
        before->next = c;
    }
    q->last = c->next == NULL ? c : q->last;
}

/* Remember a refused scope and when to ask again. Returns whether the walk may go on behind it. */
static bool queue_refuse(struct worker *w, struct queue *q, const struct call *c)
{
    uint64_t again_ns = weir_min_u64(c->denial.earliest_ns, w->now_ns + RETRY_MAX_NS);
    q->not_before_ns = weir_min_u64(q->not_before_ns, again_ns);
    /* What is kept from one client may be another's share. */
    q->refused[q->refused_cnt++] = (struct refused){
        c->request.scope, c->denial.reason == WEIR_REASON_SHARE ? c->client : NULL};
    return q->refused_cnt < WEIR_ARRAY_CNT(q->refused);
}

/* Try the calls in their order. One that a limit of its scope refuses holds up its own scope, not the others. */
static void queue_walk(struct worker *w, struct queue *q)
{
    struct call *before = NULL;
    struct call *denied = NULL;
    struct call *c = q->first;
    bool on = true;
    q->refused_cnt = 0;
    q->not_before_ns = UINT64_MAX;
    while (on && c != NULL) {
        if (is_refused(q, c) && !cache_has_stale(w, c)) {
            before = c;
            c = c->next;
            continue;
        }
        queue_take_out(q, before, c);
        enum start s = start(w, q, c);
        if (s == DENIED || s == WAITS) {
            queue_put_back(q, before, c);
            on = s == DENIED && queue_refuse(w, q, c);
            denied = s == DENIED && c->denial.earliest_ns > q->deadline_min_ns ? c : denied;
            before = c;
        }
        c = before == NULL ? q->first : before->next;
    }
    if (denied != NULL) {
        queue_filter(w, q, denied);
    }
}

/* Start what can start from one queue. */
static void queue_turn(struct worker *w, struct queue *q)
{
    if (q->first != NULL && w->now_ns >= q->deadline_min_ns) {
        queue_filter(w, q, NULL);
    }
    if (q->first != NULL && w->now_ns >= q->not_before_ns) {
        queue_walk(w, q);
    }
    if (q->first != NULL) {
        worker_due(w, q->deadline_min_ns);
        if (q->not_before_ns > 0) { /* 0: it waits for the end of a transfer, not for a time */
            worker_due(w, q->not_before_ns);
        }
    }
}

void dispatch_turn(struct worker *w)
{
    for (unsigned p = 0; p < WEIR_PRIORITY_CNT; p++) {
        for (uint32_t i = 0; i < w->queue_words; i++) {
            uint64_t bits = w->queue_busy[p][i];
            while (bits != 0) {
                uint32_t route = i * 64 + (uint32_t)__builtin_ctzll(bits);
                bits &= bits - 1;
                struct queue *q = &w->queue[route * WEIR_PRIORITY_CNT + p];
                queue_turn(w, q);
                if (q->first == NULL) {
                    w->queue_busy[p][i] &= ~(UINT64_C(1) << (route % 64));
                }
            }
        }
    }
}

void dispatch_expire(struct worker *w)
{
    for (uint32_t i = 0; i < WEIR_CLIENTS_MAX; i++) {
        struct client *cl = &w->client[i];
        if (!cl->live || cl->room_first == NULL) {
            continue;
        }
        dispatch_room(w, cl);
        struct call *c = cl->room_first;
        cl->room_first = NULL;
        while (c != NULL) {
            struct call *next = c->next;
            c->next = NULL;
            if (w->now_ns >= c->deadline_ns) {
                call_end(w, c, WEIR_RESULT_NO_ROOM, 0);
            } else {
                if (cl->room_first == NULL) {
                    cl->room_first = c;
                } else {
                    cl->room_last->next = c;
                }
                cl->room_last = c;
            }
            c = next;
        }
    }
}

void dispatch_unlink(struct worker *w, struct call *c)
{
    if (c->stage != CALL_QUEUED && c->stage != CALL_ROOM) {
        return;
    }
    struct call **first = c->stage == CALL_ROOM ? &c->client->room_first : &queue_of(w, c)->first;
    struct call **last = c->stage == CALL_ROOM ? &c->client->room_last : &queue_of(w, c)->last;
    struct call *before = NULL;
    for (struct call *k = *first; k != NULL; before = k, k = k->next) {
        if (k != c) {
            continue;
        }
        if (before == NULL) {
            *first = c->next;
        } else {
            before->next = c->next;
        }
        if (*last == c) {
            *last = before;
        }
        return;
    }
}

/*
 * `wire`: also what may be on the wire. Not an order, whose answer is the only thing that says what became of it; not a call that others wait for, who would have to pay for another
 * one; and not the calls of a dead client, whose connections are worth more than its room.
 */
static void cancel(struct worker *w, struct call *c, bool wire)
{
    if (worker_now(w) >= c->deadline_ns) {
        return; /* weir_call takes back what is late, too: it ends in this turn by the name of its deadline, with a kept answer if there is one */
    }
    if (c->stage == CALL_RUNNING) {
        bool followed = c->sent_ns != 0 && (!wire || !c->idempotent || c->follow_first != NULL);
        if (!followed) { /* what was not written is given back */
            exchange_stop(w, c);
            call_end(w, c, WEIR_RESULT_CANCELLED, 0);
        }
        return;
    }
    if (c->stage == CALL_HEDGED && (!wire || c->follow_first != NULL)) {
        return;
    }
    if (c->stage == CALL_DOUBT) {
        return; /* it was on the wire, and is still followed */
    }
    dispatch_unlink(w, c);
    call_end(w, c, WEIR_RESULT_CANCELLED, 0); /* or what is true of one that was sent */
}

void dispatch_cancel_client(struct worker *w, struct client *cl)
{
    for (uint32_t s = 0; s < cl->info.slot_cnt && cl->in_flight > 0; s++) {
        if (cl->call[s] != NULL) {
            cancel(w, cl->call[s], false);
        }
    }
}

void dispatch_cancel_flags(struct worker *w, struct client *cl)
{
    for (uint32_t s = 0; s < cl->info.slot_cnt && cl->in_flight > 0; s++) {
        if (cl->call[s] != NULL &&
            weir_load_relaxed_u32(&cl->slot[s].cancel) !=
                0) { /* relaxed: a request to stop, and nothing else is read with it (pair:cancel A) */
            cancel(w, cl->call[s], true);
        }
    }
}
