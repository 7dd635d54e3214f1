/*
 * permit.c: permits for a strategy with its own transport. The rules are in shm/weir_permit.c; here is who may ask, and how to wait.
 */
#include "handle.h"

#include "shm/weir_claim.h"
#include "shm/weir_futex.h"
#include "shm/weir_straddle.h"

/* A sleeper is late by so much at most on an idle core; the rest of the way is spun. */
#define SPIN_AHEAD_NS (100 * WEIR_NS_PER_US)
/* How often a refusal is asked again that has no promised instant: somebody's decision. */
#define DECISION_NS (10 * WEIR_NS_PER_MS)
/* ... and one that weir itself ends soon: a word under repair, a clock that is being re-aligned. */
#define REPAIR_NS (200 * WEIR_NS_PER_US)
/* A pause without a Retry-After; the worker makes it longer where it escalates. */
#define PAUSE_DEFAULT_NS WEIR_NS_PER_S

/* Does the board refuse because its broker has gone, and is there a newer one? The clocks of a board that was left stay closed. */
static bool is_moved(struct weir *w, int rc, const struct weir_permit *permit)
{
    return rc == WEIR_DENIED &&
           (permit->denial.reason == WEIR_REASON_LEASE_ENDED ||
            (permit->denial.reason == WEIR_REASON_CLOCK_MOVING && weir_board_left(w))) &&
           weir_board_follow(w);
}

/* Apart from weir_permit_try, which keeps no frame for what is rare. */
static __attribute__((noinline)) int not_ours(const struct weir *w)
{
    return weir_handle_ours(w) ? WEIR_E_NOT_TRADER : WEIR_E_FORKED;
}

__attribute__((noinline)) int weir_permit_long_way(struct weir_permit_view *view,
                                                   weir_route_id route, weir_scope_id scope,
                                                   const struct weir_cost *units, unsigned priority,
                                                   struct weir_permit *permit)
{
    struct weir *w = weir_of_view(view);
    int rc = weir_permit_take_long(view, route, scope, units, priority, permit);
    return is_moved(w, rc, permit)
               ? weir_permit_take_long(view, route, scope, units, priority, permit)
               : rc;
}

int weir_permit_try(struct weir *w, weir_route_id route, weir_scope_id scope,
                    const struct weir_cost *units, enum weir_priority priority,
                    struct weir_permit *permit)
{
    if (WEIR_UNLIKELY(!weir_handle_ours(w) || w->role != WEIR_ROLE_TRADER)) {
        return not_ours(w);
    }
    struct weir_express *e = weir_permit_express(&w->view, route, scope, units, (unsigned)priority);
    return WEIR_LIKELY(e != NULL)
               ? e->way(&w->view, e, permit)
               : weir_permit_long_way(&w->view, route, scope, units, (unsigned)priority, permit);
}

int weir_permit_peek(struct weir *w, weir_route_id route, weir_scope_id scope,
                     const struct weir_cost *units, enum weir_priority priority,
                     struct weir_permit *permit)
{
    if (WEIR_UNLIKELY(!weir_handle_ours(w))) {
        return WEIR_E_FORKED;
    }
    if (WEIR_UNLIKELY(w->role != WEIR_ROLE_TRADER)) {
        return WEIR_E_NOT_TRADER;
    }
    permit->state = WEIR_PERMIT_NONE;
    int rc = weir_permit_look(&w->view, route, scope, units, (unsigned)priority, permit);
    return is_moved(w, rc, permit)
               ? weir_permit_look(&w->view, route, scope, units, (unsigned)priority, permit)
               : rc;
}

/* ---------------------------------------------------------------------------------------------- wait */

/* One call that waits. */
struct waiter {
    struct weir *w;
    weir_route_id route;
    weir_scope_id scope;
    const struct weir_cost *units;
    unsigned priority;
    uint64_t deadline_ns;
    struct weir_permit *permit;
};

/* Would it pass now? Like a try, but takes and counts nothing: a waiter is refused once, however often it looks. */
static int look(const struct waiter *t)
{
    int rc = weir_permit_look(&t->w->view, t->route, t->scope, t->units, t->priority, t->permit);
    return is_moved(t->w, rc, t->permit)
               ? weir_permit_look(&t->w->view, t->route, t->scope, t->units, t->priority, t->permit)
               : rc;
}

/*
 * When to ask again after this refusal; `*promised` says that asking earlier is pointless unless the bell rings. A reopening is no promise: the probe's
 * answer may come long before its lease ends, and rings.
 */
static uint64_t ask_again_ns(const struct weir *w, const struct weir_denial *d, uint64_t now_ns,
                             bool *promised)
{
    *promised = d->earliest_ns != UINT64_MAX &&
                (d->reason == WEIR_REASON_LIMIT_FULL || d->reason == WEIR_REASON_SHARE ||
                 d->reason == WEIR_REASON_PAUSED);
    if (*promised || (d->reason == WEIR_REASON_REOPENING && d->earliest_ns > now_ns)) {
        return d->earliest_ns;
    }
    bool brief = d->reason == WEIR_REASON_CLOCK_MOVING || d->reason == WEIR_REASON_LIMIT_DAMAGED ||
                 (d->reason == WEIR_REASON_LEASE_ENDED && weir_board_left(w));
    return now_ns + (brief ? REPAIR_NS : DECISION_NS);
}

/*
 * Sleep until `until_ns` or until the provider's bell. The order of the four steps is the waiter's half of a Dekker pair; the bell's half is
 * weir_permit_bell: it makes room, then looks at `waiters`; we say that we wait, then look for room.
 */
static int sleep_until(const struct waiter *t, uint64_t until_ns)
{
    struct weir_permit_view *view = &t->w->view;
    struct weir_shm_pause *pause = &view->pause[view->tables.route[t->route].provider];
    uint32_t seen = weir_load_acquire_u32(&pause->changed); /* pair:changed A */
    weir_store_relaxed_u32(&pause->waiters, 1); /* relaxed: ordered by the fence below */
    weir_fence_full();                          /* pair:waiters */
    int rc = look(t);
    if (rc == WEIR_DENIED) {
        (void)weir_futex_wait_until(&pause->changed, seen, weir_own_clock_ns(t->w, until_ns));
    }
    return rc;
}

/* Wait out one refusal. Returns WEIR_OK when it is time to take again, else the answer to give. */
static int wait_out(const struct waiter *t)
{
    int rc = WEIR_DENIED;
    for (uint64_t now_ns = weir_now_ns(t->w); rc == WEIR_DENIED; now_ns = weir_now_ns(t->w)) {
        bool promised;
        uint64_t again_ns = ask_again_ns(t->w, &t->permit->denial, now_ns, &promised);
        if (now_ns >= t->deadline_ns || (promised && again_ns > t->deadline_ns)) {
            return WEIR_DENIED;
        }
        again_ns = weir_min_u64(again_ns, t->deadline_ns);
        if (again_ns > now_ns + SPIN_AHEAD_NS) {
            rc = sleep_until(t, again_ns - SPIN_AHEAD_NS);
        } else {
            weir_cpu_relax();
        }
        rc = rc == WEIR_DENIED ? look(t) : rc;
    }
    return rc == WEIR_CONTENDED ? WEIR_OK : rc;
}

int weir_permit_wait(struct weir *w, weir_route_id route, weir_scope_id scope,
                     const struct weir_cost *units, enum weir_priority priority,
                     uint64_t deadline_ns, struct weir_permit *permit)
{
    const struct waiter t = {.w = w,
                             .route = route,
                             .scope = scope,
                             .units = units,
                             .priority = (unsigned)priority,
                             .deadline_ns = deadline_ns,
                             .permit = permit};
    for (;;) { /* ends by the deadline: each turn either returns or has waited */
        int rc = weir_permit_try(w, route, scope, units, priority, permit);
        if (rc == WEIR_DENIED) {
            rc = wait_out(&t);
            if (rc != WEIR_OK) {
                return rc;
            }
        } else if (rc != WEIR_CONTENDED) {
            return rc;
        }
        if (rc == WEIR_CONTENDED && weir_now_ns(w) >= deadline_ns) {
            return rc;
        }
        weir_cpu_relax();
    }
}

/* ---------------------------------------------------------------------------------------------- settle */

static uint32_t pause_cause(uint32_t status)
{
    return status == 429                    ? WEIR_PAUSE_THROTTLED
           : status == 418 || status == 403 ? WEIR_PAUSE_BANNED
                                            : WEIR_PAUSE_NONE;
}

/* An answer came: either it said stop, and nobody calls this provider for a while, or it may open the way back from such a pause. */
static int hold_tell(struct weir *w, const struct weir_permit *permit,
                     const struct weir_outcome *outcome)
{
    struct weir_permit_view *view = &w->view;
    int rc = weir_permit_refresh(view);
    if (rc != WEIR_OK) {
        return rc;
    }
    if (permit->route >= view->tables.route_cnt) {
        return WEIR_E_ARGUMENT;
    }
    uint32_t provider = view->tables.route[permit->route].provider;
    uint32_t cause = pause_cause(outcome->status);
    if (WEIR_LIKELY(cause == WEIR_PAUSE_NONE)) {
        weir_hold_answered(view, provider, permit);
        return WEIR_OK;
    }
    uint64_t pause_ns = outcome->retry_after_ns != 0 ? outcome->retry_after_ns : PAUSE_DEFAULT_NS;
    pause_ns = weir_min_u64(pause_ns, WEIR_PAUSE_TRADER_MAX_NS);
    (void)weir_hold_throttled(view, provider, permit, weir_now_ns(w) + pause_ns,
                              (enum weir_pause_cause)cause);
    return WEIR_OK;
}

/* Nobody knows what became of it: if it was the probe of a reopening another one may try. */
static int hold_let_go(struct weir *w, const struct weir_permit *permit)
{
    struct weir_permit_view *view = &w->view;
    int rc = weir_permit_refresh(view);
    if (rc == WEIR_OK && permit->route < view->tables.route_cnt) {
        weir_hold_unanswered(view, view->tables.route[permit->route].provider, permit);
    }
    return rc;
}

/*
 * The answer is here, so the call was counted between its permit and now: where that lies in one window of the exchange, the other one that it was
 * charged to is given back.
 */
static void straddles_give(struct weir *w, struct weir_permit *permit,
                           const struct weir_outcome *outcome)
{
    bool any = false;
    for (uint32_t i = 0; i < permit->charge_cnt && i < WEIR_PERMIT_LIMITS_MAX; i++) {
        any |= permit->charge[i].windows == 2;
    }
    if (any) {
        const struct weir_straddle_span span = {.from_ns = permit->granted_at_ns,
                                                .to_ns = weir_clock_now(&w->view.time),
                                                .stamp_utc_ns = outcome->server_utc_ns,
                                                .granularity_ns = outcome->server_granularity_ns};
        (void)weir_straddle_give(&w->view, permit, &span);
    }
}

static bool told_valid(const struct weir_told *told)
{
    bool valid = told->cnt <= WEIR_PERMIT_LIMITS_MAX;
    for (uint32_t i = 0; valid && i < told->cnt; i++) {
        valid = told->kind[i] <= WEIR_TOLD_REMAINING;
    }
    return valid;
}

/* Hand the worker what the answer told of the exchange's counts. More left than there is says nothing. */
static void claims_put(struct weir *w, const struct weir_permit *permit,
                       const struct weir_told *told)
{
    struct weir_permit_view *view = &w->view;
    const struct weir_shm_route_row *route = &view->tables.route[permit->route];
    for (uint32_t i = 0; i < told->cnt && i < route->limit_cnt; i++) {
        uint32_t limit = route->limit[i];
        uint32_t quota = view->tables.limit[limit].quota;
        bool down = told->kind[i] == WEIR_TOLD_REMAINING;
        for (uint32_t k = 0; k < permit->charge_cnt && k < WEIR_PERMIT_LIMITS_MAX; k++) {
            const struct weir_charge *c = &permit->charge[k];
            if (told->kind[i] == WEIR_TOLD_NOTHING || c->limit != limit ||
                (down && told->units[i] > quota)) {
                continue;
            }
            uint32_t used = down ? quota - told->units[i] : told->units[i];
            const struct weir_shm_claim claim = {.sent_ns = permit->granted_at_ns,
                                                 .seen_ns = weir_clock_now(&view->time),
                                                 .what = (uint64_t)c->word << 32 | used};
            weir_claim_put(view->meter.head, &claim);
        }
    }
}

static int answered(struct weir *w, struct weir_permit *permit, const struct weir_outcome *outcome)
{
    bool success = outcome->verdict == WEIR_VERDICT_BY_STATUS
                       ? outcome->status / 100 == 2
                       : outcome->verdict == WEIR_VERDICT_SUCCESS;
    straddles_give(w, permit, outcome);
    if (outcome->told != NULL &&
        permit->tables_generation == (uint16_t)(w->view.tables.word >> 32)) {
        claims_put(w, permit, outcome->told);
    }
    return weir_permit_answered(&w->view, permit, success, outcome->counted);
}

int weir_permit_settle(struct weir *w, struct weir_permit *permit,
                       const struct weir_outcome *outcome)
{
    if (WEIR_UNLIKELY(!weir_handle_ours(w))) {
        return WEIR_E_FORKED;
    }
    if (WEIR_UNLIKELY(w->role != WEIR_ROLE_TRADER)) {
        return WEIR_E_NOT_TRADER;
    }
    if (permit->state == WEIR_PERMIT_SETTLED) {
        return WEIR_E_SETTLED;
    }
    if ((permit->state != WEIR_PERMIT_GRANTED && permit->state != WEIR_PERMIT_SENT) ||
        outcome->kind < WEIR_OUTCOME_NOT_SENT || outcome->kind > WEIR_OUTCOME_NO_ANSWER ||
        outcome->verdict > WEIR_VERDICT_FAILURE ||
        (outcome->told != NULL && !told_valid(outcome->told))) {
        return WEIR_E_ARGUMENT;
    }
    if (weir_board_left(w)) {
        (void)weir_board_follow(
            w); /* what is given back lies on the timeline of the board in force */
    }
    int rc = WEIR_OK;
    if (outcome->kind == WEIR_OUTCOME_NOT_SENT) {
        rc = weir_permit_give(&w->view, permit);
    } else if (outcome->kind == WEIR_OUTCOME_ANSWERED) {
        rc = hold_tell(w, permit, outcome);
        rc = rc != WEIR_OK ? rc : answered(w, permit, outcome);
    } else {
        rc = hold_let_go(w, permit);
        /* the charge stays, what is held is let go */
        rc = rc != WEIR_OK ? rc : weir_permit_end(&w->view, permit, NULL);
    }
    if (rc == WEIR_OK) {
        permit->state = WEIR_PERMIT_SETTLED;
        uint32_t *n = &w->view.meter.head->settled;
        weir_store_relaxed_u32(n, weir_load_relaxed_u32(n) + 1); /* relaxed: own line, statistics */
    }
    return rc;
}
