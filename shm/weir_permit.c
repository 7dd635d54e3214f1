#include "weir_permit.h"

#include "weir_atomic.h"
#include "weir_charge.h"
#include "weir_weave.h"

#include <string.h>

/*
 * What pass 1 leaves to pass 2 for one limit: as few words as possible, because each locked instruction first waits until all stores before
 * it have left the core. What a slow path needs besides is worked out again there.
 */
struct step {
    uint64_t *at;
    uint64_t seen;
    uint64_t next;
    uint64_t take;       /* first half of the charge: units:32 | index of the word:32 */
    uint64_t where;      /* second half: kind:8 | windows:8 | limit:16 | window:32 */
    uint64_t *at_second; /* of a straddle */
    uint64_t seen_second;
    uint64_t next_second;
};

/* One attempt's private state. */
struct attempt {
    struct weir_limit_time time;
    uint64_t clock_seq;
    uint64_t pause_word;
    uint32_t held;        /* not 0: the provider is being reopened, and a place has to be claimed */
    uint64_t earliest_ns; /* of the limit that refused */
    uint64_t owner;       /* of the units that this permit holds */
    /* by which class each limit judges this call; only of a route with shares */
    uint8_t judged[WEIR_PERMIT_LIMITS_MAX];
    struct step step[WEIR_PERMIT_LIMITS_MAX];
};

void weir_permit_self_find(struct weir_permit_self *self, const struct weir_tables *tables)
{
    memset(self->member, 0, sizeof self->member);
    for (uint32_t i = 0; i < tables->limit_cnt && i < WEIR_LIMITS_MAX; i++) {
        self->member[i] = (uint8_t)weir_share_member(&tables->limit[i], self->name, self->uid);
    }
}

static int tables_refresh(struct weir_permit_view *view)
{
    uint64_t word = weir_load_acquire_u64(&view->gate->tables); /* pair:tables A */
    int rc = weir_tables_resolve(&view->tables, word, view->tables_base, view->tables_cnt,
                                 view->tables_stride_bytes, &view->bounds);
    if (rc == WEIR_OK && view->self.known) {
        weir_permit_self_find(&view->self, &view->tables);
        view->member = view->self.member;
    }
    return rc;
}

/* relaxed: the rows in use were read behind an acquire; only a change sends us there again */
WEIR_INLINE int tables_current(struct weir_permit_view *view)
{
    return WEIR_LIKELY(weir_load_relaxed_u64(&view->gate->tables) == view->tables.word)
               ? WEIR_OK
               : tables_refresh(view);
}

int weir_permit_refresh(struct weir_permit_view *view)
{
    return tables_current(view);
}

/*
 * Copy the provider's clock and the epoch of its timeline. The epoch is raised after CLOSED is published, so one that is the same before
 * and after the copy belongs to it (or the copy says CLOSED).
 */
static const struct weir_permit_clock *clock_refresh(struct weir_permit_view *view,
                                                     uint32_t provider)
{
    const struct weir_shm_provider *p = &view->provider[provider];
    struct weir_permit_clock *cache = &view->clock[provider];
    for (int i = 0; i < WEIR_PERMIT_ATTEMPTS; i++) {
        uint64_t value[WEIR_SERVER_CLOCK_WORDS];
        uint64_t epoch = weir_load_acquire_u64(&p->clock_epoch); /* pair:epoch A */
        if (!weir_latch_read(&p->clock_seq, p->clock, value, WEIR_SERVER_CLOCK_WORDS,
                             &cache->seq)) {
            break;
        }
        memcpy(&cache->clock, value, sizeof cache->clock);
        cache->epoch = epoch;
        if (weir_load_acquire_u64(&p->clock_epoch) == epoch) { /* pair:epoch A */
            return cache;
        }
    }
    cache->seq = UINT64_MAX; /* of no publication: the next permit reads again */
    return NULL;
}

/* relaxed: the copy was read behind an acquire; only a change sends us there again */
WEIR_INLINE const struct weir_permit_clock *clock_current(struct weir_permit_view *view,
                                                          uint32_t provider)
{
    const struct weir_permit_clock *cache = &view->clock[provider];
    return WEIR_LIKELY(weir_load_relaxed_u64(&view->provider[provider].clock_seq) == cache->seq)
               ? cache
               : clock_refresh(view, provider);
}

const struct weir_permit_clock *weir_permit_clock_current(struct weir_permit_view *view,
                                                          uint32_t provider)
{
    return clock_current(view, provider);
}

const struct weir_server_clock *weir_permit_server_clock(struct weir_permit_view *view,
                                                         uint32_t provider, uint64_t *seq)
{
    const struct weir_permit_clock *c = clock_current(view, provider);
    *seq = c != NULL ? c->seq : 0;
    return c != NULL ? &c->clock : NULL;
}

struct weir_shm_limit_word *weir_permit_word(const struct weir_permit_view *view, uint32_t limit,
                                             weir_scope_id scope, uint32_t *index)
{
    const struct weir_shm_limit_row *row = &view->tables.limit[limit];
    uint32_t value = (uint32_t)(scope >> row->scope_shift) & 0xffffU;
    if (WEIR_UNLIKELY(value >= row->word_cnt || value < row->value_first)) {
        return NULL;
    }
    *index = row->word_first + value;
    return &view->word[*index];
}

int weir_permit_deny(struct weir_permit *permit, uint32_t reason, uint32_t limit,
                     uint64_t earliest_ns)
{
    permit->denial =
        (struct weir_denial){.reason = reason, .limit = limit, .earliest_ns = earliest_ns};
    permit->state = WEIR_PERMIT_NONE;
    return WEIR_DENIED;
}

static int deny_held(enum weir_hold hold, uint64_t earliest_ns, struct weir_permit *permit)
{
    return weir_permit_deny(permit,
                            hold == WEIR_HOLD_PAUSED ? WEIR_REASON_PAUSED : WEIR_REASON_REOPENING,
                            UINT32_MAX, earliest_ns);
}

/* A pause holds, or has held and the provider is being reopened. Only a look: what the limits refuse must not cost a place. */
static int gate_held(struct weir_permit_view *view, uint32_t provider, uint32_t place,
                     struct attempt *a, struct weir_permit *permit)
{
    uint64_t earliest_ns = 0;
    enum weir_hold hold = weir_hold_look(view, provider, place, &earliest_ns);
    a->held = hold == WEIR_HOLD_CLAIM;
    return hold == WEIR_HOLD_NONE || hold == WEIR_HOLD_CLAIM ? WEIR_OK
                                                             : deny_held(hold, earliest_ns, permit);
}

/* What stands before any limit: lease, block, pauses. */
WEIR_INLINE int gate_check(struct weir_permit_view *view, const struct weir_shm_route_row *route,
                           weir_scope_id scope, struct attempt *a, struct weir_permit *permit)
{
    uint64_t now_ns = a->time.now_ns;
    /* relaxed: an older lease ends earlier, so staleness is on the safe side */
    if (WEIR_UNLIKELY(now_ns >= weir_load_relaxed_u64(&view->gate->lease_until_ns))) {
        return weir_permit_deny(permit, WEIR_REASON_LEASE_ENDED, UINT32_MAX, UINT64_MAX);
    }
    /* relaxed: an operator's switch; the store becomes visible in its own time */
    if (WEIR_UNLIKELY((weir_load_relaxed_u32(&view->gate->block_all) |
                       weir_load_relaxed_u32(view->block)) != 0)) {
        return weir_permit_deny(permit, WEIR_REASON_BLOCKED, UINT32_MAX, UINT64_MAX);
    }
    /* relaxed, both: nothing is read behind a pause but the pause; whatever is not 0 is read again */
    uint32_t place = weir_hold_place(&view->tables, route, scope);
    a->pause_word = weir_load_relaxed_u64(&view->pause[place].word);
    uint64_t board = weir_load_relaxed_u64(&view->provider[place].pause);
    a->held = 0;
    return WEIR_LIKELY(weir_hold_open(a->pause_word, board))
               ? WEIR_OK
               : gate_held(view, route->provider, place, a, permit);
}

/* Read the clock of this attempt. */
WEIR_INLINE int time_read(struct weir_permit_view *view, const struct weir_shm_route_row *route,
                          struct attempt *a, struct weir_permit *permit)
{
    a->time.now_ns = weir_clock_now(&view->time);
    a->time.error_ns = 0;
    a->time.server = NULL;
    a->time.epoch.now = NULL;
    a->time.epoch.seen = 0;
    if ((route->flags & WEIR_ROUTE_NEEDS_CLOCK) != 0) {
        const struct weir_permit_clock *clock = clock_current(view, route->provider);
        if (WEIR_UNLIKELY(clock == NULL || clock->clock.state == WEIR_CLOCK_CLOSED)) {
            return weir_permit_deny(permit, WEIR_REASON_CLOCK_MOVING, UINT32_MAX,
                                    a->time.now_ns + WEIR_NS_PER_MS);
        }
        a->clock_seq = clock->seq;
        a->time.server = &clock->clock;
        a->time.epoch.now = &view->provider[route->provider].clock_epoch;
        a->time.epoch.seen = clock->epoch;
        a->time.error_ns = weir_server_clock_error_ns(&clock->clock, a->time.now_ns);
    }
    return WEIR_OK;
}

/* Is the call one that this route can have? Looked at once, before the attempts. */
WEIR_INLINE int call_check(const struct weir_permit_view *view,
                           const struct weir_shm_route_row *route, weir_scope_id scope,
                           const struct weir_cost *units, unsigned priority)
{
    if (WEIR_UNLIKELY(priority >= WEIR_PRIORITY_CNT)) {
        return WEIR_E_PRIORITY;
    }
    if (WEIR_UNLIKELY(units != NULL && units->cnt != route->limit_cnt)) {
        return WEIR_E_ARGUMENT;
    }
    if (WEIR_UNLIKELY(
            scope != WEIR_SCOPE_DEFAULT || /* the first value of each kind always exists ... */
            (route->flags & WEIR_ROUTE_POOLED) != 0)) { /* ... but in a pool it is nobody */
        for (uint32_t i = 0; i < route->limit_cnt; i++) {
            uint32_t index;
            if (weir_permit_word(view, route->limit[i], scope, &index) == NULL) {
                return WEIR_E_SCOPE_UNKNOWN;
            }
        }
    }
    return WEIR_OK;
}

static int refuse(struct weir_permit_view *view, const struct weir_shm_route_row *route,
                  const struct attempt *a, uint32_t i, enum weir_limit_verdict verdict,
                  unsigned priority, bool count, struct weir_permit *permit)
{
    uint32_t limit = route->limit[i];
    if (verdict == WEIR_LIMIT_NEVER) {
        permit->denial.limit = limit;
        return WEIR_E_COST;
    }
    if (count) {
        weir_permit_count_one(view->meter.refused, limit * WEIR_PRIORITY_CNT + priority);
    }
    if (verdict == WEIR_LIMIT_NO) {
        return weir_permit_deny(permit, WEIR_REASON_LIMIT_FULL, limit, a->earliest_ns);
    }
    if (verdict == WEIR_LIMIT_JOURNAL) {
        if (count && view->ceiling_bell != NULL) {
            view->ceiling_bell(view);
        }
        return weir_permit_deny(permit, WEIR_REASON_JOURNAL, limit,
                                a->time.now_ns + WEIR_LIMIT_CEILING_NS);
    }
    if (verdict == WEIR_LIMIT_KEPT) {
        return weir_permit_deny(permit, WEIR_REASON_SHARE, limit, a->earliest_ns);
    }
    return weir_permit_deny(permit, WEIR_REASON_LIMIT_DAMAGED, limit,
                            a->time.now_ns + 10 * WEIR_NS_PER_MS);
}

/* What one permit asks: the arguments of the call, once they are checked. */
struct ask {
    const struct weir_shm_route_row *route;
    weir_scope_id scope;
    const struct weir_cost *units;
    unsigned priority;
};

/* What limit `i` of the call is asked as `priority`, before it is planned. Returns the index of its word. */
WEIR_INLINE uint32_t plan_ask(struct weir_permit_view *view, const struct ask *ask, uint32_t i,
                              unsigned priority, struct weir_limit_plan *p)
{
    p->row = &view->tables.limit[ask->route->limit[i]];
    uint32_t index = p->row->word_first + ((uint32_t)(ask->scope >> p->row->scope_shift) & 0xffffU);
    p->word = &view->word[index];
    p->cell_base = view->cell;
    p->index = index;
    weir_prefetch_write(p->word);
    p->foreign = &view->foreign[index];
    p->units = ask->units != NULL ? ask->units->units[i] : ask->route->cost[i];
    p->priority = priority;
    return index;
}

/* Keep what pass 2 and the charge need of a plan that says yes. */
WEIR_INLINE void step_fill(struct step *s, const struct weir_limit_plan *p, uint32_t limit,
                           uint32_t index)
{
    s->at = p->at[0];
    s->seen = p->seen[0];
    s->next = p->next[0];
    s->take = weir_charge_take(p->units, index);
    s->where = weir_charge_where(p->row->kind, p->windows, limit, p->window);
    if (WEIR_UNLIKELY(p->windows == 2)) {
        s->at_second = p->at[1];
        s->seen_second = p->seen[1];
        s->next_second = p->next[1];
    }
}

WEIR_INLINE uint32_t step_windows(const struct step *s)
{
    return (uint32_t)(s->where >> 48) & 255U;
}

/* What the shares of limit `i` say: by which class it judges the call, and whether what it has is kept for others. */
static enum weir_limit_verdict shares_judge(struct weir_permit_view *view, const struct ask *ask,
                                            struct attempt *a, uint32_t i, uint64_t *earliest_ns)
{
    uint32_t limit = ask->route->limit[i];
    const struct weir_shm_limit_row *row = &view->tables.limit[limit];
    uint32_t index = row->word_first + ((uint32_t)(ask->scope >> row->scope_shift) & 0xffffU);
    const struct weir_share_ask share = {.row = row,
                                         .word = &view->word[index],
                                         .cell = weir_limit_cells(view->cell, row, index),
                                         .foreign = &view->foreign[index],
                                         .units = ask->units != NULL ? ask->units->units[i]
                                                                     : ask->route->cost[i],
                                         .priority = ask->priority,
                                         .member = view->member[limit]};
    unsigned judged = ask->priority;
    enum weir_limit_verdict v = row->share_cnt == 0
                                    ? WEIR_LIMIT_YES
                                    : weir_share_judge(&share, &a->time, &judged, earliest_ns);
    a->judged[i] = (uint8_t)judged;
    return v;
}

/*
 * Pass 1. `*worst` is the limit that refused; `*scarcest` the one to take first. With `shared` the shares are asked too; what they promise holds for the
 * limit as well, so a refusal bears it, by whichever of the two it is.
 */
WEIR_INLINE enum weir_limit_verdict pass_one(struct weir_permit_view *view, const struct ask *ask,
                                             struct attempt *a, bool shared, uint32_t *worst,
                                             uint32_t *scarcest)
{
    uint64_t least_room = 0;
    uint64_t least_price = 0;
    *scarcest = 0;
    for (uint32_t i = 0; i < ask->route->limit_cnt; i++) {
        struct weir_limit_plan p;
        uint64_t kept_until_ns = 0;
        enum weir_limit_verdict kept =
            shared ? shares_judge(view, ask, a, i, &kept_until_ns) : WEIR_LIMIT_YES;
        uint32_t index = plan_ask(view, ask, i, shared ? a->judged[i] : ask->priority, &p);
        enum weir_limit_verdict v = weir_limit_plan(&p, &a->time);
        if (WEIR_UNLIKELY(v != WEIR_LIMIT_YES)) {
            *worst = i;
            a->earliest_ns = v != WEIR_LIMIT_NO      ? 0
                             : kept == WEIR_LIMIT_NO ? kept_until_ns
                                                     : p.earliest_ns;
            if (v == WEIR_LIMIT_JOURNAL) {
                weir_store_relaxed_u64(&p.word->ceiling_wanted, p.units); /* relaxed: a hint */
            }
            return v;
        }
        if (shared && kept != WEIR_LIMIT_YES) {
            *worst = i;
            a->earliest_ns = kept_until_ns;
            return kept == WEIR_LIMIT_NO ? WEIR_LIMIT_KEPT : kept;
        }
        step_fill(&a->step[i], &p, ask->route->limit[i], index);
        /* room / price compared without dividing */
        if (i == 0 ||
            (unsigned __int128)p.room * least_price < (unsigned __int128)least_room * p.price) {
            *scarcest = i;
            least_room = p.room;
            least_price = p.price;
        }
    }
    return WEIR_LIMIT_YES;
}

/*
 * Undo what pass 2 has taken so far: bit i of `taken`. Windows of a timeline that has ended stay charged, and so does all that was taken by other tables, but for
 * units in flight, which nobody else would let go.
 */
static void roll_back(struct weir_permit_view *view, const struct weir_shm_route_row *route,
                      struct attempt *a, uint32_t taken)
{
    const struct weir_limit_grant grant = {.granted_at_ns = a->time.now_ns,
                                           .stamp_ns = a->time.now_ns,
                                           .now_ns = weir_clock_now(&view->time),
                                           .owner = a->owner,
                                           .epoch = a->time.epoch,
                                           .tables = &view->gate->tables,
                                           .tables_seen = view->tables.word,
                                           .clock = &view->time};
    bool same = weir_load_acquire_u64(&view->gate->tables) == view->tables.word; /* pair:tables A */
    for (uint32_t i = 0; i < route->limit_cnt; i++) {
        bool held = view->tables.limit[route->limit[i]].kind == WEIR_LIMIT_CONCURRENCY;
        if ((taken >> i & 1U) != 0 && (same || held)) {
            struct weir_charge c;
            weir_charge_fill(&c, a->step[i].take, a->step[i].where);
            const struct weir_limit_place at = weir_permit_place(view, route->limit[i], c.word);
            (void)weir_limit_give(&at, &c, &grant);
            WEIR_WEAVE("permit:rolled_back_one");
        }
    }
    if (view->meter.head != NULL) {
        weir_permit_count_one(&view->meter.head->rolled_back, 0);
    }
}

/* Somebody was faster on limit `i`. `half`: the first window of its straddle is charged. */
static bool step_again(struct weir_permit_view *view, const struct ask *ask, struct attempt *a,
                       uint32_t i, bool half, bool shared)
{
    struct weir_limit_plan p;
    uint32_t index = plan_ask(view, ask, i, shared ? a->judged[i] : ask->priority, &p);
    p.window = (uint32_t)a->step[i].where;
    if (weir_limit_take_again(&p, &a->time, half) != WEIR_LIMIT_YES) {
        return false;
    }
    step_fill(&a->step[i], &p, ask->route->limit[i], index);
    return true;
}

/* A limit that lives in cells. */
static bool step_take_cells(struct weir_permit_view *view, const struct ask *ask, struct attempt *a,
                            uint32_t i)
{
    struct weir_limit_plan p;
    uint32_t index = plan_ask(view, ask, i, ask->priority, &p);
    p.owner = a->owner;
    p.cell = weir_limit_cells(p.cell_base, p.row, index);
    a->time.clock = &view->time;
    if (weir_limit_take_cells(&p, &a->time) != WEIR_LIMIT_YES) {
        return false;
    }
    step_fill(&a->step[i], &p, ask->route->limit[i], index);
    return true;
}

/* Charge one limit. */
WEIR_INLINE bool step_take(struct weir_permit_view *view, const struct ask *ask, struct attempt *a,
                           uint32_t i, bool shared)
{
    const struct step *s = &a->step[i];
    uint64_t seen = s->seen;
    uint32_t windows = step_windows(s);
    if (WEIR_UNLIKELY(windows == 0)) {
        return s->take >> 32 == 0 || step_take_cells(view, ask, a, i); /* a cost of 0 */
    }
    WEIR_WEAVE("limit:planned");
    if (WEIR_UNLIKELY(!weir_cas_u64(s->at, &seen, s->next))) { /* pair:limit R */
        return step_again(view, ask, a, i, false, shared);
    }
    WEIR_WEAVE("limit:charged");
    if (WEIR_LIKELY(windows == 1)) {
        return true;
    }
    seen = s->seen_second;
    if (weir_cas_u64(s->at_second, &seen, s->next_second)) { /* pair:limit R */
        WEIR_WEAVE("limit:charged_both");
        return true;
    }
    return step_again(view, ask, a, i, true, shared);
}

/* Pass 2: all charged, or nothing. */
WEIR_INLINE bool pass_two(struct weir_permit_view *view, const struct ask *ask, struct attempt *a,
                          uint32_t scarcest, bool shared)
{
    const struct weir_shm_route_row *route = ask->route;
    uint32_t taken = 0;
    for (uint32_t n = 0; n < route->limit_cnt; n++) {
        uint32_t i = n == 0 ? scarcest : (n <= scarcest ? n - 1 : n);
        if (WEIR_UNLIKELY(!step_take(view, ask, a, i, shared))) {
            roll_back(view, route, a, taken);
            return false;
        }
        taken |= 1U << i;
    }
    /* The charges above are locked operations, so this load cannot pass them: a re-alignment that began before it is seen here,
     * one that begins later sees the charges. (pair:latch A) */
    if ((route->flags & WEIR_ROUTE_NEEDS_CLOCK) != 0 &&
        WEIR_UNLIKELY(weir_load_acquire_u64(&view->provider[route->provider].clock_seq) !=
                      a->clock_seq)) {
        roll_back(view, route, a, taken);
        return false;
    }
    /* Likewise for a reload, which publishes its tables before it looks at any word. (pair:tables A) */
    if (WEIR_UNLIKELY(weir_load_acquire_u64(&view->gate->tables) != view->tables.word)) {
        roll_back(view, route, a, taken);
        return false;
    }
    return true;
}

WEIR_INLINE void permit_fill(struct weir_permit_view *view, weir_route_id id,
                             const struct weir_shm_route_row *route, const struct attempt *a,
                             unsigned priority, struct weir_permit *permit)
{
    const uint64_t state =
        weir_permit_state_word(view->tables.word, route->limit_cnt, priority, WEIR_PERMIT_GRANTED);
    weir_permit_head_fill(permit, a->time.now_ns, view->tables.provider[route->provider].slack_ns,
                          id, weir_pause_generation(a->pause_word),
                          state | a->time.epoch.seen << WEIR_PERMIT_EPOCH_SHIFT);
    if (WEIR_UNLIKELY((route->flags & WEIR_ROUTE_IN_CELLS) != 0)) {
        permit->owner = a->owner;
        permit->stamp_ns = a->time.now_ns;
    }
    bool count = view->meter.units != NULL;
    for (uint32_t i = 0; i < route->limit_cnt; i++) {
        const struct step *s = &a->step[i];
        weir_charge_fill(&permit->charge[i], s->take, s->where);
        if (count) { /* the limit's index is in the charge */
            weir_permit_count(view, (uint32_t)(s->where >> 32) & 0xffffU, s->take >> 32);
        }
    }
    weir_permit_count_one(view->meter.granted, id * WEIR_PRIORITY_CNT + priority);
    if (WEIR_UNLIKELY(view->audit.ring != NULL)) { /* last: the account may have what it has not */
        weir_audit_granted(view, permit);
    }
}

/*
 * All is charged; the provider is being reopened: take the place that the gate saw, or give everything back. WEIR_CONTENDED: start over. Last, so that
 * whoever has claimed the probe does hold a permit.
 */
static int place_claim(struct weir_permit_view *view, const struct ask *ask, struct attempt *a,
                       struct weir_permit *permit)
{
    const struct weir_shm_route_row *route = ask->route;
    uint32_t generation = 0;
    uint64_t earliest_ns = 0;
    enum weir_hold hold =
        weir_hold_claim(view, route->provider, weir_hold_place(&view->tables, route, ask->scope),
                        &generation, &earliest_ns);
    if (hold == WEIR_HOLD_CLAIM || hold == WEIR_HOLD_NONE) {
        a->held = generation;
        return WEIR_OK;
    }
    roll_back(view, route, a, (1U << route->limit_cnt) - 1U);
    return hold == WEIR_HOLD_CONTENDED ? WEIR_CONTENDED : deny_held(hold, earliest_ns, permit);
}

/* Count a permit for the shares that it belongs to: after the limits, so that whoever dies here left them right. */
static void shares_take(const struct weir_permit_view *view, const struct weir_permit *permit)
{
    WEIR_WEAVE("share:permitted");
    for (uint32_t i = 0; i < permit->charge_cnt; i++) {
        const struct weir_charge *c = &permit->charge[i];
        const struct weir_limit_place at = weir_permit_place(view, c->limit, c->word);
        weir_share_take(&at, c, view->member[c->limit], permit->priority, permit->granted_at_ns);
    }
}

/* The attempts of one call; with `look` only pass 1, and nothing is counted. */
WEIR_INLINE int attempts(struct weir_permit_view *view, weir_route_id id, const struct ask *ask,
                         bool look, bool shared, struct weir_permit *permit)
{
    struct attempt a;
    enum weir_limit_verdict verdict = WEIR_LIMIT_YES;
    uint32_t worst = 0;
    a.owner = 0;
    if (WEIR_UNLIKELY((ask->route->flags & WEIR_ROUTE_IN_CELLS) != 0)) {
        a.owner = view->owner | (view->serial++ & WEIR_OWNER_SERIAL_MASK);
    }
    for (int n = 0; n < WEIR_PERMIT_ATTEMPTS; n++) {
        uint32_t scarcest;
        if (WEIR_UNLIKELY(n > 0 &&
                          weir_load_relaxed_u64(&view->gate->tables) != view->tables.word)) {
            break; /* relaxed: a hint; by these rows nothing is granted any more */
        }
        int rc = time_read(view, ask->route, &a, permit);
        rc = rc != WEIR_OK ? rc : gate_check(view, ask->route, ask->scope, &a, permit);
        if (WEIR_UNLIKELY(rc != WEIR_OK)) {
            return rc;
        }
        verdict = pass_one(view, ask, &a, shared, &worst, &scarcest);
        if (WEIR_UNLIKELY(verdict != WEIR_LIMIT_YES && verdict != WEIR_LIMIT_AGAIN)) {
            if (!look && ask->units == NULL) { /* who is refused asks again */
                weir_express_learn(view, id, ask->scope, ask->priority, a.time.now_ns);
            }
            return refuse(view, ask->route, &a, worst, verdict, ask->priority, !look, permit);
        }
        if (look && verdict == WEIR_LIMIT_YES) {
            return WEIR_OK;
        }
        if (WEIR_LIKELY(verdict == WEIR_LIMIT_YES && pass_two(view, ask, &a, scarcest, shared))) {
            bool held = a.held != 0;
            rc = WEIR_UNLIKELY(held) ? place_claim(view, ask, &a, permit) : WEIR_OK;
            if (WEIR_LIKELY(rc == WEIR_OK)) {
                permit_fill(view, id, ask->route, &a, ask->priority, permit);
                if (ask->units == NULL) {
                    weir_express_learn(view, id, ask->scope, ask->priority, a.time.now_ns);
                }
                permit->pause_generation = WEIR_UNLIKELY(held) ? a.held : permit->pause_generation;
                if (shared) {
                    shares_take(view, permit);
                }
            }
            if (WEIR_LIKELY(rc != WEIR_CONTENDED)) {
                return rc;
            }
        }
    }
    if (verdict == WEIR_LIMIT_AGAIN &&
        weir_load_relaxed_u64(&view->gate->tables) == view->tables.word) { /* relaxed: as above */
        /* Four clock readings, and the word still bears a window that has not come: nobody honest wrote that. */
        return refuse(view, ask->route, &a, worst, WEIR_LIMIT_DAMAGED, ask->priority, !look,
                      permit);
    }
    if (view->meter.head != NULL) {
        weir_permit_count_one(&view->meter.head->contended, 0);
    }
    return WEIR_CONTENDED;
}

/* As `attempts`, for a route with shares: out of line, so that the others stay short. */
static int attempts_shared(struct weir_permit_view *view, weir_route_id id, const struct ask *ask,
                           bool look, struct weir_permit *permit)
{
    return attempts(view, id, ask, look, true, permit);
}

WEIR_INLINE int enter(struct weir_permit_view *view, weir_route_id route, weir_scope_id scope,
                      const struct weir_cost *units, unsigned priority, bool look,
                      struct weir_permit *permit)
{
    permit->state = WEIR_PERMIT_NONE; /* whatever comes: an older grant in this memory is over */
    int rc = tables_current(view);
    if (WEIR_UNLIKELY(rc != WEIR_OK)) {
        return rc;
    }
    if (WEIR_UNLIKELY(route >= view->tables.route_cnt)) {
        return WEIR_E_ROUTE_UNKNOWN;
    }
    const struct ask ask = {
        .route = &view->tables.route[route], .scope = scope, .units = units, .priority = priority};
    rc = call_check(view, ask.route, scope, units, priority);
    if (WEIR_UNLIKELY(rc != WEIR_OK)) {
        return rc;
    }
    if (WEIR_UNLIKELY((ask.route->flags & WEIR_ROUTE_SHARED) != 0 && view->member != NULL)) {
        const struct ask out_of_line = ask; /* so that the other one may stay in registers */
        return attempts_shared(view, route, &out_of_line, look, permit);
    }
    return attempts(view, route, &ask, look, false, permit);
}

int weir_permit_take_long(struct weir_permit_view *view, weir_route_id route, weir_scope_id scope,
                          const struct weir_cost *units, unsigned priority,
                          struct weir_permit *permit)
{
    int rc = enter(view, route, scope, units, priority, false, permit);
    /* relaxed: a hint. A reload came in between: by its tables it is another question */
    if (rc == WEIR_CONTENDED && weir_load_relaxed_u64(&view->gate->tables) != view->tables.word) {
        rc = enter(view, route, scope, units, priority, false, permit);
    }
    return rc;
}

int weir_permit_look(struct weir_permit_view *view, weir_route_id route, weir_scope_id scope,
                     const struct weir_cost *units, unsigned priority, struct weir_permit *permit)
{
    return enter(view, route, scope, units, priority, true, permit);
}
