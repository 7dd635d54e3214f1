#include "broker/tables_build.h"

#include "broker/tables_share.h"
#include "shm/weir_bucket.h"
#include "shm/weir_cache.h"
#include "shm/weir_concurrency.h"
#include "shm/weir_reopen.h"
#include "shm/weir_share.h"
#include "shm/weir_sliding.h"
#include "shm/weir_window.h"

#include <stdio.h>
#include <string.h>
#include <xxhash.h>

static bool has_clock_route(const struct weir_config_provider *p)
{
    return p->clock.source == WEIR_CONFIG_CLOCK_SERVER && p->endpoint_cnt > 0 &&
           p->clock.path[0] != '\0';
}

static bool has_check_route(const struct weir_config_provider *p)
{
    return p->health.path[0] != '\0' && p->endpoint_cnt > 0;
}

/* Routes of the worker's own. */
static uint32_t own_routes(const struct weir_config_provider *p)
{
    return (has_clock_route(p) ? 1U : 0U) + (has_check_route(p) ? 1U : 0U);
}

static uint32_t words_of(const struct weir_config_provider *p, const struct weir_config_limit *l)
{
    return (uint32_t)p->scope[l->scope].cnt;
}

/* The dearest cost on limit `l`, of any route. */
static uint64_t dearest_any(const struct weir_config_provider *p, size_t l)
{
    uint64_t units = 0;
    for (size_t r = 0; r < p->route_cnt; r++) {
        units = weir_max_u64(units, weir_config_route_dearest(&p->route[r], l));
    }
    return units;
}

/* Is the limit remembered on disk: does what was taken of it count for longer than 10 min? */
static bool is_long(const struct weir_config *config, const struct weir_config_limit *l)
{
    uint64_t counts_ns = l->window_ns;
    switch (l->kind) {
    case WEIR_LIMIT_TOKEN_BUCKET: /* until the whole bucket is full again */
        counts_ns = weir_muldiv_u64(l->window_ns, l->burst_units, l->quota_units);
        break;
    case WEIR_LIMIT_FIXED_WINDOW:
    case WEIR_LIMIT_SLIDING_WINDOW:
        break;
    case WEIR_LIMIT_CONCURRENCY: /* it ends with the call */
    case WEIR_LIMIT_UNSET:
        return false;
    }
    return counts_ns > WEIR_WINDOW_LONG_NS && strcmp(config->broker.state_dir, "none") != 0;
}

/* How a limit counts where it lives in cells, and how many each of its scope values has. Stamps of an earlier boot cannot be said in cells. */
static enum weir_limit_form form_of(const struct weir_config *config,
                                    const struct weir_config_provider *p, size_t l, uint32_t *cells)
{
    const struct weir_config_limit *limit = &p->limit[l];
    *cells = 0;
    switch (limit->kind) {
    case WEIR_LIMIT_SLIDING_WINDOW:
        if (!is_long(config, limit) && limit->quota_units <= WEIR_SLIDING_CELLS_MAX &&
            dearest_any(p, l) <= WEIR_SLIDING_UNITS_MAX) {
            *cells = (uint32_t)limit->quota_units;
            return WEIR_FORM_CELLS;
        }
        *cells = WEIR_SLIDING_WORDS;
        return WEIR_FORM_PARTS;
    case WEIR_LIMIT_CONCURRENCY:
        *cells = (uint32_t)limit->quota_units;
        return WEIR_FORM_UNITS;
    case WEIR_LIMIT_TOKEN_BUCKET:
    case WEIR_LIMIT_FIXED_WINDOW:
        *cells = tables_share_cnt(limit) * WEIR_SHARE_CELLS;
        break;
    case WEIR_LIMIT_UNSET:
        break;
    }
    return WEIR_FORM_NONE;
}

/*
 * Cells of one scope value begin on a line of their own. Where each unit of the quota has one, there are twice as many: a reload may raise the quota so far
 * (tables_follow.h).
 */
static uint32_t cell_stride(enum weir_limit_form form, uint32_t cells)
{
    uint32_t room = form == WEIR_FORM_CELLS || form == WEIR_FORM_UNITS ? 2 * cells : cells;
    return (uint32_t)weir_round_up(room, WEIR_LINE_BYTES / sizeof(uint64_t));
}

/* Lines of pauses that a provider has beside its own. */
static uint32_t holds_of(const struct weir_config_provider *p)
{
    uint32_t kind = p->throttle.hold_kind;
    return kind != 0 ? (uint32_t)p->scope[kind - 1].cnt - 1U : 0;
}

static uint32_t members_of(const struct weir_config_provider *p)
{
    uint32_t cnt = 0;
    for (size_t i = 0; i < p->egress_cnt; i++) {
        cnt += p->egress[i].is_pooled;
    }
    for (size_t i = 0; i < p->auth.account_key_cnt; i++) {
        cnt += p->auth.account_key[i].is_pooled;
    }
    return cnt;
}

void tables_measure(const struct weir_config *config, struct tables_size *size)
{
    *size = (struct tables_size){.provider_cnt = (uint32_t)config->provider_cnt,
                                 .hold_cnt = (uint32_t)config->provider_cnt};
    for (size_t i = 0; i < config->provider_cnt; i++) {
        const struct weir_config_provider *p = &config->provider[i];
        size->limit_cnt += (uint32_t)p->limit_cnt;
        size->route_cnt += (uint32_t)p->route_cnt + own_routes(p);
        size->endpoint_cnt += (uint32_t)p->endpoint_cnt;
        size->group_cnt += (uint32_t)p->group_cnt;
        size->member_cnt += members_of(p);
        size->hold_cnt += holds_of(p);
        for (unsigned k = 0; k < WEIR_SCOPE_KIND_CNT; k++) {
            size->scope_cnt += (uint32_t)p->scope[k].cnt;
        }
        for (size_t l = 0; l < p->limit_cnt; l++) {
            uint32_t cells;
            enum weir_limit_form form = form_of(config, p, l, &cells);
            size->word_cnt += words_of(p, &p->limit[l]);
            size->cell_cnt += words_of(p, &p->limit[l]) * cell_stride(form, cells);
            size->edge_cnt += (uint32_t)p->limit[l].calendar.cnt;
            size->share_cnt += tables_share_cnt(&p->limit[l]);
        }
    }
    size->cell_cnt = size->cell_cnt > 0 ? size->cell_cnt : 1; /* a section is never empty */
    uint64_t bytes =
        sizeof(struct weir_shm_tables) + size->provider_cnt * sizeof(struct weir_shm_provider_row) +
        size->limit_cnt * sizeof(struct weir_shm_limit_row) +
        size->route_cnt * sizeof(struct weir_shm_route_row) +
        size->endpoint_cnt * sizeof(struct weir_shm_endpoint_row) +
        size->scope_cnt * sizeof(struct weir_shm_scope_row) +
        size->member_cnt * sizeof(struct weir_shm_member_row) + size->edge_cnt * sizeof(uint64_t) +
        size->share_cnt * sizeof(struct weir_shm_share_row);
    size->bytes = (uint32_t)weir_round_up(bytes, WEIR_LINE_BYTES);
}

/* The dearest cost on limit `l` among routes of class critical; among all routes where none is critical. */
static uint32_t dearest_critical(const struct weir_config_provider *p, size_t l)
{
    uint64_t critical = 0;
    uint64_t any = 0;
    for (size_t r = 0; r < p->route_cnt; r++) {
        uint64_t units = weir_config_route_dearest(&p->route[r], l);
        any = weir_max_u64(any, units);
        if (p->route[r].priority == WEIR_PRIORITY_CRITICAL) {
            critical = weir_max_u64(critical, units);
        }
    }
    return (uint32_t)(critical > 0 ? critical : any);
}

/*
 * What must stay free for the classes above `c`, at the window's start (`*full`) and to its end (`*floor`). Grows strictly by class wherever
 * the limit keeps any headroom at all; 0 for all classes where it keeps none, so that a quota of 1 stays usable.
 */
static void reserves(const struct weir_config_limit *l, uint32_t dearest,
                     uint32_t full[WEIR_PRIORITY_CNT], uint32_t floor[WEIR_PRIORITY_CNT])
{
    uint64_t sum_ppm = 0;
    for (unsigned c = 0; c < WEIR_PRIORITY_CNT; c++) {
        sum_ppm += l->headroom_ppm[c];
    }
    full[0] = 0;
    floor[0] = 0;
    uint64_t above_ppm = 0;
    for (unsigned c = 1; c < WEIR_PRIORITY_CNT; c++) {
        above_ppm += l->headroom_ppm[c - 1];
        uint64_t units = (l->burst_units * above_ppm + 999999U) / 1000000U;
        floor[c] = sum_ppm == 0 ? 0 : dearest + (c - 1);
        full[c] = sum_ppm == 0 ? 0 : (uint32_t)weir_max_u64(units, (uint64_t)full[c - 1] + 1);
        full[c] = full[c] > floor[c] ? full[c] : floor[c];
    }
}

static int bucket_row(struct weir_shm_limit_row *row, const struct weir_config_limit *l,
                      uint64_t jitter_ns, const uint32_t full[WEIR_PRIORITY_CNT], char *text,
                      size_t text_bytes)
{
    row->quota = (uint32_t)l->burst_units;
    row->unit_ns = weir_bucket_unit_ns(l->window_ns, (uint32_t)l->quota_units);
    if (row->unit_ns > (UINT64_C(1) << 61) / row->quota) {
        (void)snprintf(text, text_bytes,
                       "limit %s: a burst of %u would take %s to come back: use a smaller burst",
                       row->name, row->quota, "more than 73 years");
        return WEIR_E_ARGUMENT;
    }
    for (unsigned c = 0; c < WEIR_PRIORITY_CNT; c++) {
        uint64_t all_ns = (uint64_t)row->quota * row->unit_ns;
        /* A counter that decays in steps of q may stand r * q above the one that decays all the time (weir_bucket.h). */
        uint64_t kept_ns = (uint64_t)full[c] * row->unit_ns + jitter_ns + l->step_ns;
        if (kept_ns + row->unit_ns > all_ns) {
            (void)snprintf(text, text_bytes,
                           "limit %s: burst %u leaves nothing to class %u once max_jitter (%llu "
                           "ns), step (%llu ns) and headroom are taken off: "
                           "raise burst, or lower max_jitter",
                           row->name, row->quota, c, (unsigned long long)jitter_ns,
                           (unsigned long long)l->step_ns);
            return WEIR_E_ARGUMENT;
        }
        row->tolerance_ns[c] = all_ns - kept_ns;
    }
    return WEIR_OK;
}

static void window_row(struct weir_shm_limit_row *row, const struct weir_config_limit *l,
                       uint64_t jitter_ns, const uint32_t full[WEIR_PRIORITY_CNT],
                       const uint32_t floor[WEIR_PRIORITY_CNT])
{
    /* Over the longest window, so that the reserve never starts above what was configured. */
    uint64_t longest_ns = l->calendar.cnt > 0 ? l->calendar.longest_ns : l->window_ns;
    row->quota = (uint32_t)l->quota_units;
    for (unsigned c = 0; c < WEIR_PRIORITY_CNT; c++) {
        row->reserve_min[c] = floor[c];
        unsigned __int128 q = ((unsigned __int128)full[c] << 64) + longest_ns - 1;
        row->release_q64[c] = (uint64_t)(q / longest_ns);
    }
    uint64_t overlaps = 2 + (jitter_ns + l->window_ns - 1) / l->window_ns;
    row->quota_unaligned = (uint32_t)(l->quota_units / overlaps);
}

/*
 * What the ids of a limit's windows mean, whenever this configuration is read: the kind with the window's length, or with the calendar and its zone, whose
 * lengths depend on the day.
 */
static uint64_t shape(const struct weir_config_limit *l)
{
    if (l->calendar_unit == WEIR_CONFIG_CALENDAR_NONE) {
        return l->window_ns << 4 | (uint64_t)l->kind;
    }
    uint64_t unit = (uint64_t)l->calendar_unit << 4 | (uint64_t)l->kind;
    return XXH3_64bits_withSeed(l->time_zone, strlen(l->time_zone), unit);
}

/*
 * By how much the ceiling of a long limit is raised at a time: 0.5 % of what it holds, and at least the dearest call. 0: short, or nothing is kept on
 * disk.
 */
static uint32_t ceiling_step(const struct weir_config *config, const struct weir_config_provider *p,
                             size_t index)
{
    const struct weir_config_limit *l = &p->limit[index];
    uint64_t most = l->kind == WEIR_LIMIT_TOKEN_BUCKET ? l->burst_units : l->quota_units;
    if (!is_long(config, l)) {
        return 0;
    }
    uint64_t step = weir_max_u64((most + 199) / 200, dearest_any(p, index));
    return (uint32_t)weir_min_u64(step, most);
}

/* Units of limit `l` that `cost` counts; 0 where it does not name it. */
static uint64_t units_in(const struct weir_config_cost *cost, size_t cnt, size_t l)
{
    uint64_t units = 0;
    for (size_t i = 0; i < cnt; i++) {
        units = cost[i].limit_idx == l ? weir_max_u64(units, cost[i].units) : units;
    }
    return units;
}

/*
 * The largest surcharge that a settled call can bring by the rules of its route: so much the journal is ahead of the ceilings on the board. Where only the
 * answer tells, it is taken for as dear as the dearest call; larger ones are learnt (broker/ceiling.h).
 */
static uint32_t ceiling_ahead(const struct weir_config_provider *p, size_t l, uint32_t step)
{
    uint64_t ahead = 0;
    for (size_t r = 0; r < p->route_cnt && step != 0; r++) {
        const struct weir_config_route *route = &p->route[r];
        const struct weir_config_settle *s = &route->settle;
        uint64_t cost = units_in(route->cost, route->cost_cnt, l);
        uint64_t dear = weir_max_u64(units_in(s->success, s->success_cnt, l),
                                     units_in(s->failure, s->failure_cnt, l));
        ahead = weir_max_u64(ahead, dear > cost ? dear - cost : 0);
        for (size_t i = 0; i < s->counted_cnt; i++) {
            ahead = s->counted[i].limit_idx == l ? weir_max_u64(ahead, dearest_any(p, l)) : ahead;
        }
    }
    return (uint32_t)weir_min_u64(ahead, p->limit[l].burst_units);
}

/* Where the next limit's words, cells, edges and shares go. */
struct limit_at {
    uint32_t word;
    uint32_t cell;
    uint64_t *edge;
    struct weir_shm_share_row *share;
};

static void calendar_row(struct weir_shm_limit_row *row, const struct weir_config_limit *l,
                         const struct limit_at *at)
{
    if (l->calendar.cnt == 0) {
        return;
    }
    memcpy(at->edge, l->calendar.edge_utc_ns, l->calendar.cnt * sizeof *at->edge);
    row->calendar_cnt = (uint32_t)l->calendar.cnt;
    row->calendar_id = l->calendar.first_id;
    row->calendar_off_bytes = (uint32_t)((const char *)at->edge - (const char *)row);
}

/* What stays free for the classes above, all the time: these kinds have no end of a window at which to release it. */
static int cells_row(struct weir_shm_limit_row *row, const struct weir_config_limit *l,
                     uint64_t jitter_ns, const uint32_t full[WEIR_PRIORITY_CNT], char *text,
                     size_t text_bytes)
{
    row->quota = (uint32_t)l->quota_units;
    for (unsigned c = 0; c < WEIR_PRIORITY_CNT; c++) {
        row->reserve_min[c] = full[c];
        if (full[c] >= row->quota) {
            (void)snprintf(text, text_bytes,
                           "limit %s: quota %u leaves nothing to class %u once headroom is taken "
                           "off: lower the headroom",
                           row->name, row->quota, c);
            return WEIR_E_ARGUMENT;
        }
    }
    if (l->kind == WEIR_LIMIT_CONCURRENCY) {
        row->span_ns = l->rest_ns == 0 ? jitter_ns : l->rest_ns;
        row->ahead_ns = l->orphan_rest_ns > row->span_ns ? l->orphan_rest_ns - row->span_ns : 0;
        row->ahead_peak_ns = 0; /* tables_follow.h */
        return WEIR_OK;
    }
    row->span_ns = weir_sliding_span_ns(l->window_ns, jitter_ns);
    row->part_ns = weir_sliding_part_ns(row->span_ns);
    row->part_inverse = weir_window_inverse(row->part_ns);
    return WEIR_OK;
}

static int limit_row(struct weir_shm_limit_row *row, const struct weir_config *config,
                     const struct weir_config_provider *p, size_t index, uint32_t provider,
                     const struct limit_at *at, char *text, size_t text_bytes)
{
    const struct weir_config_limit *l = &p->limit[index];
    uint32_t full[WEIR_PRIORITY_CNT];
    uint32_t floor[WEIR_PRIORITY_CNT];
    reserves(l, dearest_critical(p, index), full, floor);
    row->kind = l->kind;
    row->provider = provider;
    row->word_first = at->word;
    row->word_cnt = words_of(p, l);
    row->form = form_of(config, p, index, &row->cell_cnt);
    row->cell_first = at->cell;
    row->cell_stride = cell_stride((enum weir_limit_form)row->form, row->cell_cnt);
    row->quota_peak = 0; /* tables_follow.h */
    row->scope_kind = l->scope;
    row->value_first = p->is_pooled[l->scope] ? 1 : 0;
    row->scope_shift = 16U * (uint32_t)l->scope;
    /* units in flight have no window: one for what divides by it */
    uint64_t window_ns = l->kind == WEIR_LIMIT_CONCURRENCY ? WEIR_NS_PER_S : l->window_ns;
    row->window_ns = window_ns;
    row->window_inverse = weir_window_inverse(window_ns);
    row->rate_window_ns = window_ns;
    row->shape = shape(l);
    row->rate_quota = (uint32_t)l->quota_units;
    row->ceiling_step = ceiling_step(config, p, index);
    row->ceiling_ahead = ceiling_ahead(p, index, row->ceiling_step);
    memcpy(row->name, l->name, sizeof row->name);
    for (unsigned c = 0; c < WEIR_PRIORITY_CNT; c++) {
        row->headroom_ppm[c] = (uint32_t)l->headroom_ppm[c];
    }
    const struct tables_share share = {l, full, (uint32_t)dearest_any(p, index)};
    int rc;
    switch (l->kind) {
    case WEIR_LIMIT_TOKEN_BUCKET:
        rc = bucket_row(row, l, p->clock.max_jitter_ns, full, text, text_bytes);
        return rc != WEIR_OK ? rc : tables_share_rows(row, at->share, &share, text, text_bytes);
    case WEIR_LIMIT_FIXED_WINDOW:
        window_row(row, l, p->clock.max_jitter_ns, full, floor);
        calendar_row(row, l, at);
        return tables_share_rows(row, at->share, &share, text, text_bytes);
    case WEIR_LIMIT_SLIDING_WINDOW:
    case WEIR_LIMIT_CONCURRENCY:
        return cells_row(row, l, p->clock.max_jitter_ns, full, text, text_bytes);
    case WEIR_LIMIT_UNSET:
        break;
    }
    return WEIR_E_ARGUMENT;
}

/* What a route owes to a limit. */
static uint32_t route_flag(const struct weir_shm_limit_row *limit)
{
    uint32_t shared = limit->share_cnt > 0 ? WEIR_ROUTE_SHARED : 0U;
    switch ((enum weir_limit_kind)limit->kind) {
    case WEIR_LIMIT_FIXED_WINDOW:
        return WEIR_ROUTE_NEEDS_CLOCK | shared;
    case WEIR_LIMIT_SLIDING_WINDOW:
    case WEIR_LIMIT_CONCURRENCY:
        return WEIR_ROUTE_IN_CELLS;
    case WEIR_LIMIT_TOKEN_BUCKET:
    case WEIR_LIMIT_UNSET:
        break;
    }
    return shared;
}

/* ... and to the pool, and to whom a stop may be about. Once its costs are there. */
static void route_apart(struct weir_shm_route_row *row, const struct weir_config_provider *p,
                        const struct weir_shm_limit_row *limit)
{
    uint32_t hold = p->throttle.hold_kind;
    row->flags |= members_of(p) > 0 ? WEIR_ROUTE_POOLED : 0U;
    for (uint32_t i = 0; i < row->limit_cnt && hold != 0; i++) {
        row->flags |= limit[row->limit[i]].scope_kind == hold - 1 ? WEIR_ROUTE_HELD_APART : 0U;
    }
}

static void route_costs(struct weir_shm_route_row *row, const struct weir_config_route *r,
                        uint32_t limit_first, const struct weir_shm_limit_row *limit)
{
    row->limit_cnt = (uint32_t)r->cost_cnt;
    for (size_t c = 0; c < r->cost_cnt; c++) {
        row->limit[c] = (uint16_t)(limit_first + r->cost[c].limit_idx);
        row->cost[c] = (uint32_t)r->cost[c].units;
        row->flags |= route_flag(&limit[row->limit[c]]);
    }
}

/* The place of a limit among those of a route, which names it. */
static uint32_t slot_of(const struct weir_config_route *r, size_t limit_idx)
{
    uint32_t slot = 0;
    while (slot + 1 < r->cost_cnt && r->cost[slot].limit_idx != limit_idx) {
        slot++;
    }
    return slot;
}

static void settle_rule(uint32_t rule[WEIR_PERMIT_LIMITS_MAX], const struct weir_config_route *r,
                        const struct weir_config_cost *cost, size_t cnt)
{
    for (uint32_t i = 0; i < WEIR_PERMIT_LIMITS_MAX; i++) {
        rule[i] = WEIR_SETTLE_AS_CHARGED;
    }
    for (size_t i = 0; i < cnt; i++) {
        rule[slot_of(r, cost[i].limit_idx)] = (uint32_t)cost[i].units;
    }
}

static void route_row(struct weir_shm_route_row *row, const struct weir_config_provider *p,
                      const struct weir_config_route *r, uint32_t provider, uint32_t limit_first,
                      const struct weir_shm_limit_row *limit)
{
    row->provider = provider;
    row->method = r->method;
    row->priority = r->priority;
    row->response_max_bytes = (uint32_t)r->response_max_bytes;
    row->timeout_ns = r->timeout_ns;
    memcpy(row->name, r->name, sizeof row->name);
    row->flags = (r->transport == WEIR_CONFIG_TRANSPORT_OWN ? WEIR_ROUTE_OWN_TRANSPORT : 0U) |
                 (r->is_idempotent ? WEIR_ROUTE_IDEMPOTENT : 0U) |
                 (r->is_signed ? WEIR_ROUTE_SIGNED : 0U) | (r->any_key ? WEIR_ROUTE_ANY_KEY : 0U);
    size_t n = strlen(r->path);
    if (n >= 2 && strcmp(r->path + n - 2, "/*") == 0) {
        row->flags |= WEIR_ROUTE_PATH_REST;
    }
    if (r->cache_ns != 0) {
        row->flags |= WEIR_ROUTE_CACHED;
        row->cache_seed = weir_cache_seed(p->name, r->name, r->method, r->path);
    }
    route_costs(row, r, limit_first, limit);
    route_apart(row, p, limit);
    settle_rule(row->settle_success, r, r->settle.success, r->settle.success_cnt);
    settle_rule(row->settle_failure, r, r->settle.failure, r->settle.failure_cnt);
    for (size_t i = 0; i < r->age_cnt; i++) {
        row->age_slot = slot_of(r, r->age[i].limit_idx);
        row->age_below_ns[i] = r->age[i].below_ns;
        row->age_units[i] = (uint32_t)r->age[i].units;
    }
    row->age_cnt = (uint32_t)r->age_cnt;
}

/* A question of the worker's own: what a GET route of the same path costs, else 1 of each limit of scope ip. */
static void own_route_row(struct weir_shm_route_row *row, const struct weir_config_provider *p,
                          const char *path, uint32_t provider, uint32_t limit_first,
                          const struct weir_shm_limit_row *limit)
{
    row->provider = provider;
    row->method = WEIR_METHOD_GET;
    row->flags = WEIR_ROUTE_IDEMPOTENT;
    memset(row->settle_success, 0xff, sizeof row->settle_success); /* WEIR_SETTLE_AS_CHARGED */
    memset(row->settle_failure, 0xff, sizeof row->settle_failure);
    for (size_t r = 0; r < p->route_cnt; r++) {
        if (p->route[r].method == WEIR_METHOD_GET && strcmp(p->route[r].path, path) == 0) {
            route_costs(row, &p->route[r], limit_first, limit);
            return;
        }
    }
    for (size_t l = 0; l < p->limit_cnt && row->limit_cnt < WEIR_PERMIT_LIMITS_MAX; l++) {
        if (p->limit[l].scope == WEIR_SCOPE_IP) {
            row->limit[row->limit_cnt] = (uint16_t)(limit_first + l);
            row->cost[row->limit_cnt++] = 1;
            row->flags |= route_flag(&limit[limit_first + l]);
        }
    }
}

/* The worker's question for the time. */
static void clock_route_row(struct weir_shm_route_row *row, const struct weir_config_provider *p,
                            uint32_t provider, uint32_t limit_first,
                            const struct weir_shm_limit_row *limit)
{
    row->priority = WEIR_PRIORITY_CRITICAL;
    row->response_max_bytes = 4096;
    row->timeout_ns = 2 * WEIR_NS_PER_S;
    memcpy(row->name, TABLES_CLOCK_ROUTE, sizeof TABLES_CLOCK_ROUTE);
    own_route_row(row, p, p->clock.path, provider, limit_first, limit);
    route_apart(row, p, limit);
}

/* ... and for an endpoint's health. */
static void check_route_row(struct weir_shm_route_row *row, const struct weir_config_provider *p,
                            uint32_t provider, uint32_t limit_first,
                            const struct weir_shm_limit_row *limit)
{
    row->priority = WEIR_PRIORITY_BACKGROUND;
    row->response_max_bytes = 65536;
    row->timeout_ns = p->health.timeout_ns;
    memcpy(row->name, TABLES_CHECK_ROUTE, sizeof TABLES_CHECK_ROUTE);
    own_route_row(row, p, p->health.path, provider, limit_first, limit);
    route_apart(row, p, limit);
}

/* Where the rows of a block lie, and how many are filled. */
struct build {
    const struct weir_config *config;
    struct weir_shm_provider_row *provider;
    struct weir_shm_limit_row *limit;
    struct weir_shm_route_row *route;
    struct weir_shm_endpoint_row *endpoint;
    struct weir_shm_scope_row *scope;
    struct weir_shm_member_row *member;
    uint32_t limit_cnt, route_cnt, endpoint_cnt, scope_cnt, member_cnt;
    uint32_t hold_next; /* the next line of pauses */
    struct limit_at at;
    char *text;
    size_t text_bytes;
};

static void endpoint_row(struct weir_shm_endpoint_row *row, const struct weir_config_endpoint *e,
                         uint32_t provider)
{
    row->provider = provider;
    row->port = e->url.port;
    row->role = (uint32_t)e->role - 1U;
    row->connections_max = (uint32_t)e->connection_max;
    row->tls = e->url.tls;
    row->weight = (uint32_t)e->weight;
    memcpy(row->name, e->name, sizeof row->name);
    (void)snprintf(row->host, sizeof row->host, "%.63s", e->url.host);
}

static void scope_rows(struct build *b, const struct weir_config_provider *p, uint32_t provider)
{
    for (uint32_t k = 0; k < WEIR_SCOPE_KIND_CNT; k++) {
        for (uint32_t v = 0; v < p->scope[k].cnt; v++) {
            struct weir_shm_scope_row *row = &b->scope[b->scope_cnt++];
            row->provider = provider;
            row->kind = k;
            row->value = v;
            (void)snprintf(row->name, sizeof row->name, "%.31s", p->scope[k].text[v]);
        }
    }
}

static void member_row(struct build *b, uint32_t provider, unsigned kind, size_t value)
{
    struct weir_shm_member_row *row = &b->member[b->member_cnt];
    row->provider = provider;
    if (value != WEIR_CONFIG_SCOPE_ANY) {
        row->scope |= (uint64_t)value << (16 * kind);
        row->kinds |= 1U << kind;
    }
}

/* Addresses first: weir_member.h. */
static void member_rows(struct build *b, const struct weir_config_provider *p, uint32_t provider)
{
    for (size_t i = 0; i < p->egress_cnt; i++) {
        if (p->egress[i].is_pooled) {
            member_row(b, provider, WEIR_SCOPE_IP, p->egress[i].ip_idx);
            b->member_cnt++;
        }
    }
    for (size_t i = 0; i < p->auth.account_key_cnt; i++) {
        const struct weir_config_key *key = &p->auth.account_key[i];
        if (key->is_pooled) {
            member_row(b, provider, WEIR_SCOPE_KEY, key->name_idx);
            member_row(b, provider, WEIR_SCOPE_ACCOUNT, key->account_idx);
            b->member_cnt++;
        }
    }
}

/* Can the time be asked for before it is known? Otherwise it never would be. */
static int clock_route_check(struct build *b, const struct weir_config_provider *p,
                             const struct weir_shm_route_row *clock)
{
    for (uint32_t i = 0; i < clock->limit_cnt; i++) {
        const struct weir_shm_limit_row *l = &b->limit[clock->limit[i]];
        if (l->kind == WEIR_LIMIT_FIXED_WINDOW && l->quota_unaligned < clock->cost[i]) {
            (void)snprintf(b->text, b->text_bytes,
                           "provider %s: limit %s leaves %u of %u while the server's clock is "
                           "unknown, and asking for the time costs %u: "
                           "raise the quota, or name a GET route for %s that does not take from it",
                           p->name, l->name, l->quota_unaligned, l->quota, clock->cost[i],
                           p->clock.path);
            return WEIR_E_ARGUMENT;
        }
    }
    return WEIR_OK;
}

static int provider_rows(struct build *b, uint32_t index)
{
    const struct weir_config_provider *p = &b->config->provider[index];
    struct weir_shm_provider_row *row = &b->provider[index];
    memcpy(row->name, p->name, sizeof row->name);
    row->jitter_ns = p->clock.max_jitter_ns;
    row->slack_ns = p->clock.max_jitter_ns / 2;
    row->reopen_lease_ns = p->throttle.reopen.probe_ns;
    row->reopen_step_ns = p->throttle.reopen.ramp_ns / WEIR_REOPEN_STEPS;
    row->limit_first = b->limit_cnt;
    row->limit_cnt = (uint32_t)p->limit_cnt;
    row->route_first = b->route_cnt;
    row->route_cnt = (uint32_t)p->route_cnt + own_routes(p);
    row->endpoint_first = b->endpoint_cnt;
    row->endpoint_cnt = (uint32_t)p->endpoint_cnt;
    for (unsigned k = 0; k < WEIR_SCOPE_KIND_CNT; k++) {
        row->scope_cnt[k] = (uint32_t)p->scope[k].cnt;
    }
    scope_rows(b, p, index);
    row->hold_kind = p->throttle.hold_kind;
    row->hold_first = b->hold_next;
    b->hold_next += holds_of(p);
    row->member_first = b->member_cnt;
    row->member_cnt = members_of(p);
    member_rows(b, p, index);
    for (size_t l = 0; l < p->limit_cnt; l++) {
        struct weir_shm_limit_row *lr = &b->limit[b->limit_cnt++];
        int rc = limit_row(lr, b->config, p, l, index, &b->at, b->text, b->text_bytes);
        if (rc != WEIR_OK) {
            return rc;
        }
        b->at.word += lr->word_cnt;
        b->at.cell += lr->word_cnt * lr->cell_stride;
        b->at.edge += lr->calendar_cnt;
        b->at.share += lr->share_cnt;
    }
    for (size_t r = 0; r < p->route_cnt; r++) {
        route_row(&b->route[b->route_cnt++], p, &p->route[r], index, row->limit_first, b->limit);
    }
    if (has_clock_route(p)) {
        const struct weir_shm_route_row *clock = &b->route[b->route_cnt];
        clock_route_row(&b->route[b->route_cnt++], p, index, row->limit_first, b->limit);
        int rc = clock_route_check(b, p, clock);
        if (rc != WEIR_OK) {
            return rc;
        }
    }
    if (has_check_route(p)) {
        check_route_row(&b->route[b->route_cnt++], p, index, row->limit_first, b->limit);
    }
    for (size_t e = 0; e < p->endpoint_cnt; e++) {
        endpoint_row(&b->endpoint[b->endpoint_cnt++], &p->endpoint[e], index);
    }
    return WEIR_OK;
}

int tables_build(const struct weir_config *config, const struct tables_size *size,
                 uint32_t generation, struct weir_shm_tables *block, char *text, size_t text_bytes)
{
    uint32_t off = sizeof *block;
    block->generation = generation;
    block->used_bytes = size->bytes;
    block->provider_cnt = size->provider_cnt;
    block->provider_off_bytes = off;
    off += size->provider_cnt * (uint32_t)sizeof(struct weir_shm_provider_row);
    block->limit_cnt = size->limit_cnt;
    block->limit_off_bytes = off;
    off += size->limit_cnt * (uint32_t)sizeof(struct weir_shm_limit_row);
    block->route_cnt = size->route_cnt;
    block->route_off_bytes = off;
    off += size->route_cnt * (uint32_t)sizeof(struct weir_shm_route_row);
    block->endpoint_cnt = size->endpoint_cnt;
    block->endpoint_off_bytes = off;
    off += size->endpoint_cnt * (uint32_t)sizeof(struct weir_shm_endpoint_row);
    block->scope_cnt = size->scope_cnt;
    block->scope_off_bytes = off;
    off += size->scope_cnt * (uint32_t)sizeof(struct weir_shm_scope_row);
    block->member_cnt = size->member_cnt;
    block->member_off_bytes = off;
    off += size->member_cnt * (uint32_t)sizeof(struct weir_shm_member_row);
    char *at = (char *)block;
    struct build b = {
        .config = config,
        .provider = (void *)(at + block->provider_off_bytes),
        .limit = (void *)(at + block->limit_off_bytes),
        .route = (void *)(at + block->route_off_bytes),
        .endpoint = (void *)(at + block->endpoint_off_bytes),
        .scope = (void *)(at + block->scope_off_bytes),
        .member = (void *)(at + block->member_off_bytes),
        .hold_next = size->provider_cnt,
        .at = {.edge = (void *)(at + off),
               .share = (void *)(at + off + size->edge_cnt * sizeof(uint64_t))},
        .text = text,
        .text_bytes = text_bytes,
    };
    for (uint32_t i = 0; i < config->provider_cnt; i++) {
        int rc = provider_rows(&b, i);
        if (rc != WEIR_OK) {
            return rc;
        }
    }
    block->checksum = weir_tables_checksum(block);
    return WEIR_OK;
}
