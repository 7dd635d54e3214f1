#include "weir_permit.h"

#include "weir_atomic.h"
#include "weir_futex.h"
#include "weir_weave.h"

#include <string.h>

/* One attempt's private state. */
struct attempt {
    struct weir_limit_time time;
    uint64_t clock_seq;
    uint64_t pause_word;
    struct weir_limit_plan plan[WEIR_PERMIT_LIMITS_MAX];
};

int weir_permit_refresh(struct weir_permit_view *view)
{
    uint64_t word = weir_load_acquire_u64(&view->gate->tables); /* pair:tables A */
    if (WEIR_LIKELY(word == view->tables.word)) {
        return WEIR_OK;
    }
    return weir_tables_resolve(&view->tables, word, view->tables_base, view->tables_cnt,
                               view->tables_stride_bytes, &view->bounds);
}

const struct weir_server_clock *weir_permit_server_clock(struct weir_permit_view *view,
                                                         uint32_t provider, uint64_t *seq)
{
    const struct weir_shm_provider *p = &view->provider[provider];
    struct weir_permit_clock *cache = &view->clock[provider];
    uint64_t now_seq = weir_load_acquire_u64(&p->clock_seq); /* pair:latch A */
    if (WEIR_UNLIKELY(now_seq != cache->seq)) {
        uint64_t value[WEIR_SERVER_CLOCK_WORDS];
        if (!weir_latch_read(&p->clock_seq, p->clock, value, WEIR_SERVER_CLOCK_WORDS,
                             &cache->seq)) {
            cache->seq = 0;
            return NULL;
        }
        memcpy(&cache->clock, value, sizeof cache->clock);
    }
    *seq = cache->seq;
    return &cache->clock;
}

struct weir_shm_limit_word *weir_permit_word(const struct weir_permit_view *view, uint32_t limit,
                                             weir_scope_id scope, uint32_t *index)
{
    const struct weir_shm_limit_row *row = &view->tables.limit[limit];
    uint32_t value = (uint32_t)(scope >> row->scope_shift) & 0xffffU;
    if (WEIR_UNLIKELY(value >= row->word_cnt)) {
        return NULL;
    }
    *index = row->word_first + value;
    return &view->word[*index];
}

static int deny(struct weir_permit *permit, uint32_t reason, uint32_t limit, uint64_t earliest_ns)
{
    permit->denial =
        (struct weir_denial){.reason = reason, .limit = limit, .earliest_ns = earliest_ns};
    permit->state = WEIR_PERMIT_NONE;
    return WEIR_DENIED;
}

/* What stands before any limit: lease, block, pauses. */
static inline int gate_check(const struct weir_permit_view *view,
                             const struct weir_shm_route_row *route, struct attempt *a,
                             struct weir_permit *permit)
{
    uint64_t now_ns = a->time.now_ns;
    /* relaxed: an older lease ends earlier, so staleness is on the safe side */
    if (WEIR_UNLIKELY(now_ns >= weir_load_relaxed_u64(&view->gate->lease_until_ns))) {
        return deny(permit, WEIR_REASON_LEASE_ENDED, UINT32_MAX, UINT64_MAX);
    }
    /* relaxed: an operator's switch; the store becomes visible in its own time */
    if (WEIR_UNLIKELY((weir_load_relaxed_u32(&view->gate->block_all) |
                       weir_load_relaxed_u32(view->block)) != 0)) {
        return deny(permit, WEIR_REASON_BLOCKED, UINT32_MAX, UINT64_MAX);
    }
    a->pause_word = weir_load_acquire_u64(&view->pause[route->provider].word); /* pair:pause A */
    uint64_t board =
        weir_load_acquire_u64(&view->provider[route->provider].pause); /* pair:pause A */
    if (weir_pause_holds(a->pause_word, now_ns) || weir_pause_holds(board, now_ns)) {
        uint64_t until_ns =
            weir_max_u64(weir_pause_until_ns(a->pause_word), weir_pause_until_ns(board));
        return deny(permit, WEIR_REASON_PAUSED, UINT32_MAX, until_ns);
    }
    return WEIR_OK;
}

/* Read the clock of this attempt. */
static inline int time_read(struct weir_permit_view *view, const struct weir_shm_route_row *route,
                            struct attempt *a, struct weir_permit *permit)
{
    a->time = (struct weir_limit_time){.now_ns = weir_clock_now(&view->time)};
    if ((route->flags & WEIR_ROUTE_NEEDS_CLOCK) != 0) {
        /* The epoch first: it is raised after CLOSED is published, so a new one never goes with the old clock. (pair:epoch A) */
        a->time.epoch.now = &view->provider[route->provider].clock_epoch;
        a->time.epoch.seen = weir_load_acquire_u64(a->time.epoch.now);
        a->time.server = weir_permit_server_clock(view, route->provider, &a->clock_seq);
        if (WEIR_UNLIKELY(a->time.server == NULL || a->time.server->state == WEIR_CLOCK_CLOSED)) {
            return deny(permit, WEIR_REASON_CLOCK_MOVING, UINT32_MAX,
                        a->time.now_ns + WEIR_NS_PER_MS);
        }
        a->time.error_ns = weir_server_clock_error_ns(a->time.server, a->time.now_ns);
    }
    return WEIR_OK;
}

/* Is the call one that this route can have? Looked at once, before the attempts. */
static inline int call_check(const struct weir_permit_view *view,
                             const struct weir_shm_route_row *route, weir_scope_id scope,
                             const struct weir_cost *units, unsigned priority)
{
    if (WEIR_UNLIKELY(priority >= WEIR_PRIORITY_CNT)) {
        return WEIR_E_PRIORITY;
    }
    if (WEIR_UNLIKELY(units != NULL && units->cnt != route->limit_cnt)) {
        return WEIR_E_ARGUMENT;
    }
    if (WEIR_UNLIKELY(scope !=
                      WEIR_SCOPE_DEFAULT)) { /* the first value of each kind always exists */
        for (uint32_t i = 0; i < route->limit_cnt; i++) {
            uint32_t index;
            if (weir_permit_word(view, route->limit[i], scope, &index) == NULL) {
                return WEIR_E_SCOPE_UNKNOWN;
            }
        }
    }
    return WEIR_OK;
}

static int refuse(const struct weir_permit_view *view, const struct weir_shm_route_row *route,
                  const struct attempt *a, uint32_t i, enum weir_limit_verdict verdict, bool count,
                  struct weir_permit *permit)
{
    uint32_t limit = route->limit[i];
    if (verdict == WEIR_LIMIT_NEVER) {
        permit->denial.limit = limit;
        return WEIR_E_COST;
    }
    if (count && view->meter.refused != NULL) {
        uint32_t *n = &view->meter.refused[limit * WEIR_PRIORITY_CNT + a->plan[i].priority];
        weir_store_relaxed_u32(n, weir_load_relaxed_u32(n) + 1); /* relaxed: own line, statistics */
    }
    if (verdict == WEIR_LIMIT_NO) {
        return deny(permit, WEIR_REASON_LIMIT_FULL, limit, a->plan[i].earliest_ns);
    }
    return deny(permit, WEIR_REASON_LIMIT_DAMAGED, limit, a->time.now_ns + 10 * WEIR_NS_PER_MS);
}

/* What one permit asks: the arguments of the call, once they are checked. */
struct ask {
    const struct weir_shm_route_row *route;
    weir_scope_id scope;
    const struct weir_cost *units;
    unsigned priority;
};

/* Pass 1. `*worst` is the limit that refused; `*scarcest` the one to take first. */
static inline enum weir_limit_verdict pass_one(const struct weir_permit_view *view,
                                               const struct ask *ask, struct attempt *a,
                                               uint32_t *worst, uint32_t *scarcest)
{
    uint32_t cnt = ask->route->limit_cnt;
    *scarcest = 0;
    for (uint32_t i = 0; i < cnt; i++) {
        struct weir_limit_plan *p = &a->plan[i];
        uint32_t limit = ask->route->limit[i];
        p->row = &view->tables.limit[limit];
        p->word_index =
            p->row->word_first + ((uint32_t)(ask->scope >> p->row->scope_shift) & 0xffffU);
        p->word = &view->word[p->word_index];
        p->foreign = &view->foreign[p->word_index];
        p->units = ask->units != NULL ? ask->units->units[i] : ask->route->cost[i];
        p->priority = ask->priority;
        enum weir_limit_verdict v = weir_limit_plan(p, &a->time);
        if (WEIR_UNLIKELY(v != WEIR_LIMIT_YES)) {
            *worst = i;
            return v;
        }
        /* room / price compared without dividing */
        const struct weir_limit_plan *best = &a->plan[*scarcest];
        if (i > 0 &&
            (unsigned __int128)p->room * best->price < (unsigned __int128)best->room * p->price) {
            *scarcest = i;
        }
    }
    return WEIR_LIMIT_YES;
}

/* Two whole words into place: built narrow on the stack and copied, a charge would wait for its own stores. */
static inline void charge_fill(struct weir_charge *c, const struct weir_limit_plan *p,
                               uint32_t limit)
{
    const uint64_t take = (uint64_t)p->units << 32 | p->word_index;
    const uint64_t where = (uint64_t)p->row->kind << 56 | (uint64_t)p->windows << 48 |
                           (uint64_t)limit << 32 | p->window;
    _Static_assert(
        offsetof(struct weir_charge, units) == 4 && offsetof(struct weir_charge, window) == 8 &&
            offsetof(struct weir_charge, limit) == 12 &&
            offsetof(struct weir_charge, windows) == 14 && offsetof(struct weir_charge, kind) == 15,
        "as composed above, little endian");
    memcpy(c, &take, sizeof take);
    memcpy((char *)c + sizeof take, &where, sizeof where);
}

/* Undo what pass 2 has taken so far: bit i of `taken`. Windows of a timeline that has ended stay charged. */
static void roll_back(struct weir_permit_view *view, const struct weir_shm_route_row *route,
                      struct attempt *a, uint32_t taken)
{
    uint64_t now_ns = weir_clock_now(&view->time);
    for (uint32_t i = 0; i < route->limit_cnt; i++) {
        if ((taken >> i & 1U) != 0) {
            struct weir_charge c;
            charge_fill(&c, &a->plan[i], route->limit[i]);
            (void)weir_limit_give(a->plan[i].row, a->plan[i].word, &c, a->time.now_ns, now_ns,
                                  &a->time.epoch);
            WEIR_WEAVE("permit:rolled_back_one");
        }
    }
    if (view->meter.head != NULL) {
        uint32_t *n = &view->meter.head->rolled_back;
        weir_store_relaxed_u32(n, weir_load_relaxed_u32(n) + 1); /* relaxed: own line, statistics */
    }
}

/* Pass 2: all charged, or nothing. */
static inline bool pass_two(struct weir_permit_view *view, const struct weir_shm_route_row *route,
                            struct attempt *a, uint32_t scarcest)
{
    uint32_t taken = 0;
    for (uint32_t step = 0; step < route->limit_cnt; step++) {
        uint32_t i = step == 0 ? scarcest : (step <= scarcest ? step - 1 : step);
        if (WEIR_UNLIKELY(weir_limit_take(&a->plan[i], &a->time) != WEIR_LIMIT_YES)) {
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
    return true;
}

static inline void permit_fill(struct weir_permit_view *view, weir_route_id id,
                               const struct weir_shm_route_row *route, const struct attempt *a,
                               unsigned priority, struct weir_permit *permit)
{
    permit->granted_at_ns = a->time.now_ns;
    permit->use_by_ns = a->time.now_ns + view->tables.provider[route->provider].slack_ns;
    permit->route = id;
    permit->pause_generation = weir_pause_generation(a->pause_word);
    permit->state = WEIR_PERMIT_GRANTED;
    permit->priority = (uint8_t)priority;
    permit->charge_cnt = (uint16_t)route->limit_cnt;
    permit->tables_generation = (uint16_t)(view->tables.word >> 32);
    permit->clock_epoch = (uint16_t)a->time.epoch.seen;
    for (uint32_t i = 0; i < route->limit_cnt; i++) {
        charge_fill(&permit->charge[i], &a->plan[i], route->limit[i]);
    }
    if (view->meter.granted != NULL) {
        uint32_t *n = &view->meter.granted[id * WEIR_PRIORITY_CNT + priority];
        weir_store_relaxed_u32(n, weir_load_relaxed_u32(n) + 1); /* relaxed: own line, statistics */
    }
}

/* The attempts of one call; with `look` only pass 1, and nothing is counted. */
static inline int attempts(struct weir_permit_view *view, weir_route_id id, const struct ask *ask,
                           bool look, struct weir_permit *permit)
{
    struct attempt a;
    enum weir_limit_verdict verdict = WEIR_LIMIT_YES;
    uint32_t worst = 0;
    for (int n = 0; n < WEIR_PERMIT_ATTEMPTS; n++) {
        uint32_t scarcest;
        int rc = time_read(view, ask->route, &a, permit);
        rc = rc != WEIR_OK ? rc : gate_check(view, ask->route, &a, permit);
        if (WEIR_UNLIKELY(rc != WEIR_OK)) {
            return rc;
        }
        verdict = pass_one(view, ask, &a, &worst, &scarcest);
        if (WEIR_UNLIKELY(verdict != WEIR_LIMIT_YES && verdict != WEIR_LIMIT_AGAIN)) {
            return refuse(view, ask->route, &a, worst, verdict, !look, permit);
        }
        if (look && verdict == WEIR_LIMIT_YES) {
            return WEIR_OK;
        }
        if (WEIR_LIKELY(verdict == WEIR_LIMIT_YES && pass_two(view, ask->route, &a, scarcest))) {
            permit_fill(view, id, ask->route, &a, ask->priority, permit);
            return WEIR_OK;
        }
    }
    if (verdict == WEIR_LIMIT_AGAIN) {
        /* Four clock readings, and the word still bears a window that has not come: nobody honest wrote that. */
        return refuse(view, ask->route, &a, worst, WEIR_LIMIT_DAMAGED, !look, permit);
    }
    if (view->meter.head != NULL) {
        uint32_t *c = &view->meter.head->contended;
        weir_store_relaxed_u32(c, weir_load_relaxed_u32(c) + 1); /* relaxed: own line, statistics */
    }
    return WEIR_CONTENDED;
}

static inline int enter(struct weir_permit_view *view, weir_route_id route, weir_scope_id scope,
                        const struct weir_cost *units, unsigned priority, bool look,
                        struct weir_permit *permit)
{
    permit->state = WEIR_PERMIT_NONE; /* whatever comes: an older grant in this memory is over */
    int rc = weir_permit_refresh(view);
    if (WEIR_UNLIKELY(rc != WEIR_OK)) {
        return rc;
    }
    if (WEIR_UNLIKELY(route >= view->tables.route_cnt)) {
        return WEIR_E_ROUTE_UNKNOWN;
    }
    const struct ask ask = {
        .route = &view->tables.route[route], .scope = scope, .units = units, .priority = priority};
    rc = call_check(view, ask.route, scope, units, priority);
    return rc != WEIR_OK ? rc : attempts(view, route, &ask, look, permit);
}

int weir_permit_take(struct weir_permit_view *view, weir_route_id route, weir_scope_id scope,
                     const struct weir_cost *units, unsigned priority, struct weir_permit *permit)
{
    return enter(view, route, scope, units, priority, false, permit);
}

int weir_permit_look(struct weir_permit_view *view, weir_route_id route, weir_scope_id scope,
                     const struct weir_cost *units, unsigned priority, struct weir_permit *permit)
{
    return enter(view, route, scope, units, priority, true, permit);
}

int weir_permit_give(struct weir_permit_view *view, struct weir_permit *permit)
{
    if (permit->state == WEIR_PERMIT_SETTLED) {
        return WEIR_E_SETTLED;
    }
    if (permit->state != WEIR_PERMIT_GRANTED || permit->charge_cnt > WEIR_PERMIT_LIMITS_MAX) {
        return WEIR_E_ARGUMENT;
    }
    int rc = weir_permit_refresh(view);
    if (rc != WEIR_OK) {
        return rc;
    }
    permit->state = WEIR_PERMIT_SETTLED;
    if (permit->tables_generation != (uint16_t)(view->tables.word >> 32)) {
        return WEIR_OK; /* the rows it was charged by are gone, their units may mean something else: the charge stays */
    }
    uint64_t now_ns = weir_clock_now(&view->time);
    for (uint32_t i = 0; i < permit->charge_cnt; i++) {
        const struct weir_charge *c = &permit->charge[i];
        if (c->limit >= view->tables.limit_cnt || c->word >= view->bounds.word_cnt) {
            return WEIR_E_ARGUMENT;
        }
        const struct weir_shm_limit_row *row = &view->tables.limit[c->limit];
        struct weir_limit_epoch epoch = {.now = &view->provider[row->provider].clock_epoch};
        epoch.seen = weir_load_acquire_u64(epoch.now); /* pair:epoch A */
        if (c->kind == WEIR_LIMIT_FIXED_WINDOW && (uint16_t)epoch.seen != permit->clock_epoch) {
            continue; /* re-aligned since: its ids are another timeline's */
        }
        if (weir_limit_give(row, &view->word[c->word], c, permit->granted_at_ns, now_ns, &epoch)) {
            weir_permit_bell(&view->pause[row->provider]);
        }
    }
    return WEIR_OK;
}

void weir_permit_bell(struct weir_shm_pause *pause)
{
    weir_fence_full(); /* what made room, then the look at `waiters`: the other half is in permit_wait (pair:waiters) */
    if (WEIR_UNLIKELY(weir_load_relaxed_u32(&pause->waiters) != 0)) {
        weir_store_relaxed_u32(&pause->waiters, 0); /* relaxed: whoever still waits sets it again */
        (void)weir_fetch_add_u32(&pause->changed, 1); /* pair:changed R */
        weir_futex_wake(&pause->changed, INT32_MAX);
    }
}
