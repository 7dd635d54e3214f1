#include "weir_permit.h"

#include "weir_atomic.h"
#include "weir_futex.h"
#include "weir_weave.h"

/* How the charges of one permit are corrected. */
struct correction {
    bool made;            /* the call was made: units in flight are let go as such */
    uint16_t clock_epoch; /* of the grant */
    uint8_t priority;
    struct weir_limit_grant grant;
};

/* Fill the clock of `provider`; false while it is being re-aligned or cannot be read. */
static bool correct_time(struct weir_permit_view *view, uint32_t provider, struct correction *c,
                         struct weir_limit_time *time)
{
    const struct weir_permit_clock *clock = weir_permit_clock_current(view, provider);
    c->grant.epoch.now = &view->provider[provider].clock_epoch;
    c->grant.epoch.seen = clock != NULL ? clock->epoch : 0;
    time->now_ns = c->grant.now_ns;
    time->server = clock != NULL ? &clock->clock : NULL;
    time->error_ns = clock != NULL ? weir_server_clock_error_ns(&clock->clock, time->now_ns) : 0;
    return clock != NULL && clock->clock.state != WEIR_CLOCK_CLOSED;
}

/* The same for the shares that the charge belongs to. */
static void shares_correct(const struct weir_permit_view *view, const struct weir_limit_place *at,
                           const struct weir_charge *charge, uint32_t units,
                           const struct correction *c)
{
    uint32_t member = view->member[charge->limit];
    if (units > charge->units) {
        struct weir_charge more = *charge;
        more.units = units - charge->units;
        weir_share_take(at, &more, member, c->priority, c->grant.now_ns);
    } else {
        weir_share_give(at, charge, charge->units - units, member, c->priority,
                        c->grant.granted_at_ns, c->grant.now_ns);
    }
}

/* Correct one charge that counts in `units` in the end. Returns whether room came free. */
static bool charge_correct(struct weir_permit_view *view, const struct weir_charge *charge,
                           uint32_t units, struct correction *c)
{
    const struct weir_limit_place at = weir_permit_place(view, charge->limit, charge->word);
    struct weir_limit_time time = {.clock = &view->time};
    bool clock = correct_time(view, at.row->provider, c, &time);
    bool windows = charge->kind == WEIR_LIMIT_FIXED_WINDOW;
    if (view->meter.units != NULL) {
        weir_permit_count(view, charge->limit, (uint64_t)units - charge->units);
    }
    if (c->made && charge->kind == WEIR_LIMIT_CONCURRENCY) {
        return weir_limit_end(&at, charge, &c->grant);
    }
    struct weir_charge part = *charge;
    if (windows && (uint16_t)c->grant.epoch.seen != c->clock_epoch) {
        part.windows = 0; /* re-aligned since: its ids are another timeline's, and stay charged */
    }
    if (at.row->share_cnt > 0 && view->member != NULL) {
        shares_correct(view, &at, &part, units, c);
    }
    if (units > charge->units) {
        if (clock || !windows) {
            weir_limit_add(&at, &part, units - charge->units, &c->grant, &time);
        }
        return false;
    }
    part.units = charge->units - units;
    return weir_limit_give(&at, &part, &c->grant);
}

/*
 * A reload came since the grant (broker/reload.h): what was charged stays, because T, or a window's length, may be another one now. But limits keep their index, so what the
 * exchange counted beyond it is charged by the tables in force, and units in flight are let go: they are found by their owner.
 */
static void correct_after_reload(struct weir_permit_view *view, const struct weir_permit *permit,
                                 const struct weir_cost *units, struct correction *c)
{
    for (uint32_t i = 0; i < permit->charge_cnt; i++) {
        const struct weir_charge *charge = &permit->charge[i];
        const struct weir_limit_place at = weir_permit_place(view, charge->limit, charge->word);
        uint32_t count = units != NULL ? units->units[i] : charge->units;
        struct weir_charge part = *charge;
        struct weir_limit_time time = {.clock = &view->time};
        bool clock = correct_time(view, at.row->provider, c, &time);
        part.windows = 0;
        if (charge->kind == WEIR_LIMIT_CONCURRENCY) {
            if (c->made ? weir_limit_end(&at, charge, &c->grant)
                        : weir_limit_give(&at, charge, &c->grant)) {
                weir_permit_bell(&view->pause[at.row->provider]);
            }
        } else if (c->made && count > charge->units &&
                   (clock || charge->kind != WEIR_LIMIT_FIXED_WINDOW)) {
            weir_limit_add(&at, &part, count - charge->units, &c->grant, &time);
        }
    }
}

/* Is the permit one that can be settled now? `*same`: under the tables of its grant. */
static int correct_check(struct weir_permit_view *view, struct weir_permit *permit, bool made,
                         bool *same)
{
    if (permit->state == WEIR_PERMIT_SETTLED || (permit->state == WEIR_PERMIT_SENT && !made)) {
        return WEIR_E_SETTLED;
    }
    if ((permit->state != WEIR_PERMIT_GRANTED && permit->state != WEIR_PERMIT_SENT) ||
        permit->charge_cnt > WEIR_PERMIT_LIMITS_MAX) {
        return WEIR_E_ARGUMENT;
    }
    int rc = weir_permit_refresh(view);
    if (rc != WEIR_OK) {
        return rc;
    }
    /* Otherwise the rows it was charged by are gone, their units may mean something else: the charge stays. */
    *same = permit->tables_generation == (uint16_t)(view->tables.word >> 32);
    for (uint32_t i = 0; i < permit->charge_cnt; i++) {
        const struct weir_charge *c = &permit->charge[i];
        if (c->limit >= view->tables.limit_cnt || c->word >= view->bounds.word_cnt ||
            c->kind != view->tables.limit[c->limit].kind ||
            c->word - view->tables.limit[c->limit].word_first >=
                view->tables.limit[c->limit].word_cnt) {
            return WEIR_E_ARGUMENT;
        }
    }
    permit->state = WEIR_PERMIT_SETTLED;
    if (!made && permit->route < view->tables.route_cnt) {
        weir_hold_unanswered(view, view->tables.route[permit->route].provider, permit);
    }
    return WEIR_OK;
}

static int permit_correct(struct weir_permit_view *view, struct weir_permit *permit, bool made,
                          const struct weir_cost *units)
{
    bool same = false;
    if (units != NULL && units->cnt != permit->charge_cnt) {
        return permit->state == WEIR_PERMIT_SETTLED ? WEIR_E_SETTLED : WEIR_E_ARGUMENT;
    }
    int rc = correct_check(view, permit, made, &same);
    if (rc != WEIR_OK) {
        return rc;
    }
    struct correction c = {.made = made,
                           .clock_epoch = permit->clock_epoch,
                           .priority = permit->priority,
                           .grant = {.granted_at_ns = permit->granted_at_ns,
                                     .stamp_ns = permit->stamp_ns,
                                     .now_ns = weir_clock_now(&view->time),
                                     .owner = permit->owner,
                                     .tables = &view->gate->tables,
                                     .tables_seen = view->tables.word,
                                     .clock = &view->time}};
    for (uint32_t i = 0; same && i < permit->charge_cnt; i++) {
        const struct weir_charge *charge = &permit->charge[i];
        uint32_t count = units != NULL ? units->units[i] : charge->units;
        if (charge_correct(view, charge, made ? count : 0, &c)) {
            weir_permit_bell(&view->pause[view->tables.limit[charge->limit].provider]);
        }
    }
    /* A reload may come between: what was added by the former T may then be too little. (pair:tables A) */
    if (!same || weir_load_acquire_u64(&view->gate->tables) != c.grant.tables_seen) {
        rc = weir_permit_refresh(view);
        if (rc != WEIR_OK) {
            return rc;
        }
        correct_after_reload(view, permit, units, &c);
    }
    if (view->audit.ring != NULL && same) {
        weir_audit_corrected(view, permit, made, units, c.grant.now_ns);
    }
    return WEIR_OK;
}

int weir_permit_give(struct weir_permit_view *view, struct weir_permit *permit)
{
    return permit_correct(view, permit, false, NULL);
}

int weir_permit_end(struct weir_permit_view *view, struct weir_permit *permit,
                    const struct weir_cost *units)
{
    return permit_correct(view, permit, true, units);
}

bool weir_permit_rule(struct weir_permit_view *view, const struct weir_permit *permit, bool success,
                      struct weir_cost *units)
{
    /* By other tables than those of the grant nothing is corrected anyway. */
    if (permit->route >= view->tables.route_cnt ||
        permit->charge_cnt != view->tables.route[permit->route].limit_cnt) {
        return false;
    }
    const struct weir_shm_route_row *row = &view->tables.route[permit->route];
    *units = (struct weir_cost){.cnt = permit->charge_cnt};
    for (uint32_t i = 0; i < units->cnt; i++) {
        uint32_t rule = success ? row->settle_success[i] : row->settle_failure[i];
        units->units[i] = rule == WEIR_SETTLE_AS_CHARGED ? permit->charge[i].units : rule;
    }
    return true;
}

int weir_permit_answered(struct weir_permit_view *view, struct weir_permit *permit, bool success,
                         const struct weir_cost *counted)
{
    struct weir_cost units;
    int rc = counted == NULL ? weir_permit_refresh(view) : WEIR_OK;
    if (rc == WEIR_OK && counted == NULL && weir_permit_rule(view, permit, success, &units)) {
        counted = &units;
    }
    return rc != WEIR_OK ? rc : weir_permit_end(view, permit, counted);
}

void weir_permit_bell(struct weir_shm_pause *pause)
{
    weir_fence_full(); /* what made room, then the look at `waiters`: the other half is in permit_wait (pair:waiters) */
    if (WEIR_UNLIKELY(weir_load_relaxed_u32(&pause->waiters) != 0)) {
        weir_store_relaxed_u32(&pause->waiters, 0); /* relaxed: whoever still waits sets it again */
        WEIR_WEAVE("bell:permits");
        (void)weir_fetch_add_u32(&pause->changed, 1); /* pair:changed R */
        weir_futex_wake(&pause->changed, INT32_MAX);
    }
}
