/*
 * trial.c: shadow mode. A second configuration is judged beside the live one, in limits of its own (dry_run.h), and refuses nothing.
 *
 * What is exact: each call that the broker makes, at the instant of its permit, with its own scope, class and units; one that is given back is given back here too.
 * What is not: permits that traders take themselves. The worker knows them as counts per route and class, four times a second. They are
 * judged at the route's configured costs, for the first value of each scope, spread evenly over the next quarter of a second; one that its trader
 * gave back stays charged, and units in flight (concurrency) cannot be judged: nobody says when such a call ends. The two are counted apart.
 *
 * A call that would have been refused takes nothing here, as if it had not been made; the broker there would have made it wait, or refused it. Pauses, leases and what
 * others use of the same limits are the live broker's affair and have no part in it.
 *
 * A trader's counts are its own word: at most TAKE_MAX of them are judged a tick, and no more than PENDING_MAX wait; the rest is counted as skipped.
 */
#include "broker/dry_run.h"
#include "broker/log.h"
#include "broker/server_clock.h"
#include "broker/worker.h"
#include "shm/weir_atomic.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SPREAD_TICKS 25U /* of 10 ms: what one fold brought is judged until the next */
#define TAKE_MAX     2000U
#define PENDING_MAX  50000U
#define LOOK_NS      (250 * WEIR_NS_PER_MS)

/* Where a route's costs go in the other configuration. */
struct trial_route {
    uint32_t other; /* its index there; UINT32_MAX: none */
    /* for each limit there: the place in the live route's costs whose units are meant; UINT32_MAX: its own cost */
    uint32_t from[WEIR_PERMIT_LIMITS_MAX];
};

struct trial {
    struct dry_run *run;
    struct trial_route *route; /* [live route] */
    uint32_t *provider;        /* [live provider] -> there; UINT32_MAX: none */
    /* [live provider][kind][live value] -> there; UINT32_MAX: none */
    uint32_t *scope[WEIR_PROVIDERS_MAX][WEIR_SCOPE_KIND_CNT];
    uint32_t scope_cnt[WEIR_PROVIDERS_MAX][WEIR_SCOPE_KIND_CNT];
    struct weir_server_clock
        seen[WEIR_PROVIDERS_MAX]; /* of the live providers, as last carried over */
    uint32_t *pending;            /* [live route * 5 + priority] */
    uint64_t pending_cnt;
    uint32_t ticks_left;
    uint64_t look_at_ns;
};

/* ---------------------------------------------------------------------------------------------- names to names */

static uint32_t provider_there(const struct weir_tables *there, const char *name)
{
    for (uint32_t i = 0; i < there->provider_cnt; i++) {
        if (strcmp(there->provider[i].name, name) == 0) {
            return i;
        }
    }
    return UINT32_MAX;
}

static void route_map(const struct weir_tables *live, const struct weir_tables *there, uint32_t r,
                      struct trial_route *to)
{
    char name[2 * WEIR_NAME_BYTES];
    const struct weir_shm_route_row *row = &live->route[r];
    (void)snprintf(name, sizeof name, "%s.%s", live->provider[row->provider].name, row->name);
    to->other = UINT32_MAX;
    if (weir_tables_route_find(there, name, &to->other) != WEIR_OK ||
        to->other >= there->route_cnt) {
        to->other = UINT32_MAX;
        return;
    }
    const struct weir_shm_route_row *other = &there->route[to->other];
    for (uint32_t i = 0; i < other->limit_cnt; i++) {
        to->from[i] = UINT32_MAX;
        for (uint32_t k = 0; k < row->limit_cnt; k++) {
            if (strcmp(live->limit[row->limit[k]].name, there->limit[other->limit[i]].name) == 0) {
                to->from[i] = k;
            }
        }
    }
}

/* The value of the same name; the first stands for the first where names are of no help. */
static bool scopes_map(struct trial *t, const struct weir_config_provider *live,
                       const struct weir_config_provider *there, uint32_t p)
{
    for (unsigned k = 0; k < WEIR_SCOPE_KIND_CNT; k++) {
        const struct weir_config_strings *from = &live->scope[k];
        const struct weir_config_strings *to = &there->scope[k];
        t->scope[p][k] = calloc(from->cnt, sizeof(uint32_t));
        t->scope_cnt[p][k] = (uint32_t)from->cnt;
        if (t->scope[p][k] == NULL) {
            return false;
        }
        for (size_t i = 0; i < from->cnt; i++) {
            uint32_t *value = &t->scope[p][k][i];
            *value = i == 0 ? 0 : UINT32_MAX;
            for (size_t n = 0; n < to->cnt; n++) {
                if (strcmp(from->text[i], to->text[n]) == 0) {
                    *value = (uint32_t)n;
                }
            }
        }
    }
    return true;
}

static bool names_map(struct worker *w, struct trial *t)
{
    const struct weir_tables *live = &w->shared.tables;
    const struct weir_tables *there = &t->run->view.tables;
    for (uint32_t r = 0; r < live->route_cnt; r++) {
        route_map(live, there, r, &t->route[r]);
    }
    for (uint32_t p = 0; p < live->provider_cnt; p++) {
        t->provider[p] = provider_there(there, live->provider[p].name);
        if (t->provider[p] != UINT32_MAX &&
            !scopes_map(t, &w->config->provider[p], &t->run->config->provider[t->provider[p]], p)) {
            return false;
        }
    }
    return true;
}

/* ---------------------------------------------------------------------------------------------- start */

/* What monitors read of the other configuration, which they do not have. */
static void board_fill(struct worker *w, const struct trial *t)
{
    struct weir_shm_trial *head = w->region->trial;
    const struct weir_tables *there = &t->run->view.tables;
    const char *path = w->config->broker.shadow;
    size_t bytes = strlen(path);
    size_t cut = bytes >= sizeof head->file ? bytes - sizeof head->file + 1 : 0;
    (void)snprintf(head->file, sizeof head->file, "%s", path + cut);
    for (uint32_t i = 0; i < w->region->trial_limit_cnt && i < there->limit_cnt; i++) {
        struct weir_shm_trial_limit *to = &w->region->trial_limit[i];
        const struct weir_shm_limit_row *row = &there->limit[i];
        char name[2 * WEIR_NAME_BYTES];
        memcpy(to->provider, there->provider[row->provider].name, sizeof to->provider);
        memcpy(to->name, row->name, sizeof to->name);
        to->kind = row->kind;
        to->rate_quota = row->rate_quota;
        to->quota = row->quota;
        to->window_ns = row->rate_window_ns;
        (void)snprintf(name, sizeof name, "%s.%s", to->provider, to->name);
        if (weir_tables_limit_find(&w->shared.tables, name, &to->live) != WEIR_OK) {
            to->live = UINT32_MAX;
        }
    }
    /* relaxed: for display, both; a worker before this one may have begun it */
    if (weir_load_relaxed_u64(&head->since_ns) == 0) {
        weir_store_relaxed_u64(&head->since_ns, worker_now(w));
    }
}

bool trial_open(struct worker *w)
{
    if (w->region->shadow == NULL || w->region->trial == NULL) {
        return true;
    }
    struct trial *t = calloc(1, sizeof *t);
    if (t == NULL) {
        return false;
    }
    t->run = w->region->shadow;
    t->route = calloc(w->region->route_cnt, sizeof *t->route);
    t->provider = calloc(w->region->provider_cnt, sizeof *t->provider);
    t->pending = calloc((size_t)w->region->route_cnt * WEIR_PRIORITY_CNT, sizeof *t->pending);
    if (t->route == NULL || t->provider == NULL || t->pending == NULL || !names_map(w, t)) {
        return false;
    }
    w->trial = t;
    dry_run_reap(t->run); /* what a worker before us held there */
    board_fill(w, t);
    trial_clocks(w);
    log_info("shadow_started", "s:s, s:i", "file", w->region->trial->file, "limits",
             (int)w->region->trial_limit_cnt);
    return true;
}

/* ---------------------------------------------------------------------------------------------- one call */

static bool scope_map(const struct trial *t, uint32_t provider,
                      const struct weir_shm_route_row *other, weir_scope_id from, weir_scope_id *to)
{
    *to = WEIR_SCOPE_DEFAULT;
    for (uint32_t i = 0; i < other->limit_cnt; i++) {
        uint32_t kind = t->run->view.tables.limit[other->limit[i]].scope_kind;
        uint32_t value = (uint32_t)(from >> (16 * kind)) & 0xffffU;
        uint32_t there =
            value < t->scope_cnt[provider][kind] ? t->scope[provider][kind][value] : UINT32_MAX;
        if (there == UINT32_MAX) {
            return false;
        }
        *to = (*to & ~(UINT64_C(0xffff) << (16 * kind))) | (weir_scope_id)there << (16 * kind);
    }
    return true;
}

static void units_map(const struct trial_route *r, const struct weir_shm_route_row *other,
                      const struct weir_cost *from, struct weir_cost *to)
{
    to->cnt = other->limit_cnt;
    for (uint32_t i = 0; i < other->limit_cnt; i++) {
        to->units[i] =
            from != NULL && r->from[i] < from->cnt ? from->units[r->from[i]] : other->cost[i];
    }
}

/* Ask there, count here. `permit` is the grant, if it is one. */
static void judge(struct worker *w, uint32_t route, weir_scope_id scope,
                  const struct weir_cost *units, uint32_t priority, bool exact,
                  struct weir_permit *permit)
{
    struct trial *t = w->trial;
    struct weir_shm_trial *head = w->region->trial;
    const struct trial_route *r = &t->route[route];
    const struct weir_tables *there = &t->run->view.tables;
    weir_scope_id to;
    struct weir_cost cost;
    permit->state = WEIR_PERMIT_NONE;
    if (r->other == UINT32_MAX) {
        board_add(&head->no_route, 1);
        return;
    }
    const struct weir_shm_route_row *other = &there->route[r->other];
    if (!scope_map(t, w->route[route].provider, other, scope, &to)) {
        board_add(&head->no_scope, 1);
        return;
    }
    units_map(r, other, units, &cost);
    int rc = weir_permit_take(&t->run->view, r->other, to, &cost, priority, permit);
    bool refused = (rc == WEIR_DENIED && permit->denial.limit < w->region->trial_limit_cnt) ||
                   (rc == WEIR_E_COST && permit->denial.limit < w->region->trial_limit_cnt);
    if (rc != WEIR_OK && !refused) {
        board_add(&head->skipped, 1);
        return;
    }
    board_add(exact ? &head->exact : &head->folded, 1);
    if (refused) {
        struct weir_shm_trial_limit *l = &w->region->trial_limit[permit->denial.limit];
        board_add(exact ? &head->exact_refused : &head->folded_refused, 1);
        board_add(exact ? &l->exact_refused[priority] : &l->folded_refused[priority], 1);
        board_add(&l->never, rc == WEIR_E_COST);
    }
}

void trial_call(struct worker *w, struct call *c)
{
    if (w->trial != NULL) {
        judge(w, c->route, c->scope, c->units.cnt > 0 ? &c->units : NULL, c->priority, true,
              &c->trial_permit);
    }
}

void trial_give(struct worker *w, struct call *c)
{
    if (w->trial != NULL && c->trial_permit.state == WEIR_PERMIT_GRANTED) {
        (void)weir_permit_give(&w->trial->run->view, &c->trial_permit);
    }
}

void trial_end(struct worker *w, struct call *c)
{
    if (w->trial != NULL && c->trial_permit.state == WEIR_PERMIT_GRANTED) {
        (void)weir_permit_end(&w->trial->run->view, &c->trial_permit, NULL);
    }
}

void trial_answered(struct worker *w, struct call *c, bool success)
{
    if (w->trial != NULL && c->trial_permit.state == WEIR_PERMIT_GRANTED) {
        (void)weir_permit_answered(&w->trial->run->view, &c->trial_permit, success, NULL);
    }
}

/* ---------------------------------------------------------------------------------------------- what traders took */

void trial_folded(struct worker *w, uint32_t route, uint32_t priority, uint32_t cnt)
{
    struct trial *t = w->trial;
    if (t == NULL) {
        return;
    }
    uint32_t room = (uint32_t)(PENDING_MAX - weir_min_u64(t->pending_cnt, PENDING_MAX));
    uint32_t taken = cnt < room ? cnt : room;
    board_add(&w->region->trial->skipped, cnt - taken);
    t->pending[route * WEIR_PRIORITY_CNT + priority] += taken;
    t->pending_cnt += taken;
    t->ticks_left = SPREAD_TICKS;
}

/* This tick's share of what waits: even over the ticks that are left. */
static void pending_turn(struct worker *w)
{
    struct trial *t = w->trial;
    uint32_t rows = w->region->route_cnt * WEIR_PRIORITY_CNT;
    uint32_t budget = TAKE_MAX;
    uint32_t ticks = t->ticks_left > 0 ? t->ticks_left : 1;
    for (uint32_t i = 0; i < rows && t->pending_cnt > 0 && budget > 0; i++) {
        uint32_t share = (t->pending[i] + ticks - 1) / ticks;
        share = share < budget ? share : budget;
        for (uint32_t n = 0; n < share; n++) {
            struct weir_permit permit;
            judge(w, i / WEIR_PRIORITY_CNT, WEIR_SCOPE_DEFAULT, NULL, i % WEIR_PRIORITY_CNT, false,
                  &permit);
            if (permit.state == WEIR_PERMIT_GRANTED) {
                dry_run_let_go(t->run, &permit); /* its end is not known */
            }
        }
        t->pending[i] -= share;
        t->pending_cnt -= share;
        budget -= share;
    }
    t->ticks_left -= t->ticks_left > 0;
}

/* ---------------------------------------------------------------------------------------------- clocks, and a look */

/* The live providers' clocks, with the other configuration's jitter; where that one does not ask for the time, it does not know it. */
void trial_clocks(struct worker *w)
{
    struct trial *t = w->trial;
    for (uint32_t p = 0; t != NULL && p < w->region->provider_cnt; p++) {
        const struct weir_server_clock *live = &w->provider[p].published;
        if (t->provider[p] == UINT32_MAX || memcmp(&t->seen[p], live, sizeof *live) == 0) {
            continue;
        }
        const struct weir_config_clock *c = &t->run->config->provider[t->provider[p]].clock;
        struct weir_server_clock to = *live;
        if (c->source == WEIR_CONFIG_CLOCK_NONE) {
            to = server_clock_unknown(w->now_ns, weir_clock_realtime_ns(), c->max_jitter_ns);
        }
        to.jitter_ns = c->max_jitter_ns;
        dry_run_clock_set(t->run, t->provider[p], &to, worker_now(w));
        t->seen[p] = *live;
    }
}

/* How full its limits are: of several scope values the fullest. */
static void limits_look(struct worker *w)
{
    struct trial *t = w->trial;
    const struct weir_tables *there = &t->run->view.tables;
    for (uint32_t i = 0; i < w->region->trial_limit_cnt && i < there->limit_cnt; i++) {
        const struct weir_shm_limit_row *row = &there->limit[i];
        struct weir_shm_trial_limit *to = &w->region->trial_limit[i];
        struct weir_limit_time time = {.now_ns = weir_clock_now(&t->run->view.time)};
        struct weir_limit_state s, fullest = {0};
        uint64_t seq;
        time.server = weir_permit_server_clock(&t->run->view, row->provider, &seq);
        if (time.server == NULL) {
            continue;
        }
        time.error_ns = weir_server_clock_error_ns(time.server, time.now_ns);
        for (uint32_t v = 0; v < row->word_cnt; v++) {
            uint32_t k = row->word_first + v;
            const struct weir_limit_place at = {row, &t->run->region.word[k],
                                                weir_limit_cells(t->run->region.cell, row, k)};
            weir_limit_state_get(&s, &at, &t->run->region.foreign[k], &time);
            fullest = v == 0 || s.used > fullest.used ? s : fullest;
        }
        /* relaxed: for display, both */
        weir_store_relaxed_u32(&to->used_units, fullest.used);
        weir_store_relaxed_u32(&to->quota_units, fullest.quota);
    }
}

void trial_turn(struct worker *w)
{
    if (w->trial == NULL) {
        return;
    }
    pending_turn(w);
    if (w->now_ns >= w->trial->look_at_ns) {
        limits_look(w);
        w->trial->look_at_ns = w->now_ns + LOOK_NS;
    }
}
