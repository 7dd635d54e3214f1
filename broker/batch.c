#include "broker/batch.h"

#include "shm/weir_atomic.h"

#include <stdlib.h>
#include <string.h>

#define BAD_FOR_NS (60 * WEIR_NS_PER_S)

static const struct weir_config_batch *config_of(const struct worker *w, uint32_t route)
{
    return &w->route[route].config->batch;
}

static bool same_key(const struct weir_cache_key *a, const struct weir_cache_key *b)
{
    return a->word[0] == b->word[0] && a->word[1] == b->word[1];
}

bool batch_open(struct worker *w)
{
    w->cache->plan = calloc(w->region->route_cnt, sizeof(struct batch_plan *));
    for (uint32_t r = 0; w->cache->plan != NULL && r < w->region->route_cnt; r++) {
        const struct weir_config_route *config = w->route[r].config;
        if (config == NULL || config->cache_ns == 0 || *config->batch.route == '\0') {
            continue;
        }
        w->cache->plan[r] = calloc(1, sizeof(struct batch_plan));
        if (w->cache->plan[r] == NULL) {
            return false;
        }
    }
    return w->cache->plan != NULL;
}

/* ---------------------------------------------------------------------------------------------- who joins */

static bool is_bad(const struct worker *w, const struct batch_plan *plan,
                   const struct weir_cache_key *key)
{
    for (uint32_t i = 0; i < BATCH_BAD_MAX; i++) {
        if (plan->bad[i].key == key->word[0] && w->now_ns < plan->bad[i].until_ns) {
            return true;
        }
    }
    return false;
}

void batch_refused(struct worker *w, const struct call *c)
{
    struct batch_plan *plan = w->cache->plan[c->route];
    if (plan != NULL && !is_bad(w, plan, &c->key)) {
        plan->bad[plan->bad_next++ % BATCH_BAD_MAX] =
            (struct batch_bad){c->key.word[0], w->now_ns + BAD_FOR_NS};
    }
}

/* Is it a call that a batch may make now? Then what it asks for. */
static bool may_join(const struct worker *w, const struct call *c, struct batch_want *want)
{
    const struct batch_plan *plan = w->cache->plan[c->route];
    const struct weir_config_batch *config = config_of(w, c->route);
    if (plan == NULL || c->alone || w->draining || w->quiescing ||
        w->now_ns < plan->not_before_ns || c->units.cnt > 0 || c->parts.header_cnt > 0 ||
        c->parts.body_bytes > 0 ||
        (uint16_t)(c->request.scope >> (16 * WEIR_SCOPE_INSTRUMENT)) != 0) {
        return false;
    }
    return w->now_ns + config->gather_ns + 2 * batch_took_ns(plan, w->now_ns) < c->deadline_ns &&
           !is_bad(w, plan, &c->key) &&
           batch_want_read(config, c->parts.path, c->parts.path_bytes, c->parts.query,
                           c->parts.query_bytes, want);
}

/* Where it stands; `cnt`: nowhere. Looked for from `from` on, and then before it. */
static uint32_t place_of(const struct batch *b, const struct weir_cache_key *key, uint32_t from)
{
    for (uint32_t n = 0; n < b->cnt; n++) {
        uint32_t i = from + n < b->cnt ? from + n : from + n - b->cnt;
        if (same_key(&b->key[i], key)) {
            return i;
        }
    }
    return b->cnt;
}

static bool has(const struct batch *b, const struct weir_cache_key *key)
{
    return place_of(b, key, 0) < b->cnt;
}

bool batch_brings(const struct worker *w, uint32_t route, const struct weir_cache_key *key)
{
    for (const struct batch *b = w->cache->batch_first; b != NULL; b = b->next) {
        if (b->route == route && has(b, key)) {
            return true;
        }
    }
    return false;
}

/* Does what it was sent for cover `c`, and will its answer be young enough? */
static bool under_way(const struct worker *w, const struct batch *b, const struct call *c)
{
    const struct call *lead = b->call;
    bool running = lead->stage == CALL_RUNNING;
    if (b->late || (config_of(w, b->route)->names != WEIR_CONFIG_BATCH_ALL && !has(b, &c->key))) {
        return false;
    }
    if (running && lead->sent_ns > 0 &&
        w->now_ns > lead->sent_ns + w->route[b->route].config->cache_ns / 2) {
        return false;
    }
    return running || lead->priority <= c->priority; /* none waits behind a lower class */
}

static struct batch *find(const struct worker *w, const struct call *c,
                          const struct batch_want *want)
{
    const struct weir_config_batch *config = config_of(w, c->route);
    for (struct batch *b = w->cache->batch_first; b != NULL; b = b->next) {
        bool same = b->route == c->route && b->scope == c->request.scope &&
                    b->with.with_bytes == want->with_bytes &&
                    memcmp(b->with.with, want->with, want->with_bytes) == 0;
        bool room = config->names == WEIR_CONFIG_BATCH_ALL || b->cnt < config->name_max;
        if (same && (b->open ? room || has(b, &c->key) : under_way(w, b, c))) {
            return b;
        }
    }
    return NULL;
}

/* One that gathers, with nobody in it. NULL: no memory. */
static struct batch *make(struct worker *w, const struct call *first, const struct batch_want *want)
{
    const struct weir_config_batch *config = config_of(w, first->route);
    const struct weir_shm_provider_row *row =
        &w->shared.tables.provider[w->route[first->route].provider];
    struct batch *b = calloc(1, sizeof *b);
    struct call *c = b != NULL ? call_make(w) : NULL;
    if (c == NULL) {
        free(b);
        return NULL;
    }
    c->stage = CALL_GATHER;
    c->batch = b;
    c->route = row->route_first + (uint32_t)config->route_idx;
    c->priority = first->priority;
    c->idempotent = true;
    c->request = (struct weir_shm_request){.route = c->route,
                                           .priority = (uint8_t)c->priority,
                                           .scope = first->request.scope,
                                           .submitted_ns = w->now_ns,
                                           .correlation = w->region->own->correlation_next++};
    c->taken_ns = w->now_ns;
    c->deadline_ns = w->now_ns + config->gather_ns + w->shared.tables.route[c->route].timeout_ns;
    c->internal_done = batch_ended;
    b->call = c;
    b->route = first->route;
    b->scope = first->request.scope;
    b->open = true;
    b->close_ns = w->now_ns + config->gather_ns;
    b->with = *want;
    b->next = w->cache->batch_first;
    w->cache->batch_first = b;
    worker_due(w, b->close_ns);
    return b;
}

static bool name_add(struct batch *b, const struct weir_cache_key *key,
                     const struct batch_name *name)
{
    if (has(b, key)) {
        return true;
    }
    if (b->cnt == b->room) {
        uint32_t room = b->room == 0 ? 16 : 2 * b->room;
        struct batch_name *names = realloc(b->name, room * sizeof *names);
        b->name = names != NULL ? names : b->name;
        struct weir_cache_key *keys = names != NULL ? realloc(b->key, room * sizeof *keys) : NULL;
        if (keys == NULL) {
            return false;
        }
        b->key = keys;
        b->room = room;
    }
    b->name[b->cnt] = *name;
    b->key[b->cnt++] = *key;
    return true;
}

bool batch_join(struct worker *w, struct call *c)
{
    struct batch_want want;
    if (!may_join(w, c, &want)) {
        return false;
    }
    struct batch *b = find(w, c, &want);
    b = b != NULL ? b : make(w, c, &want);
    if (b == NULL || !name_add(b, &c->key, &want.name)) {
        return false; /* an empty one ends when its gathering is over */
    }
    if (b->open && c->priority < b->call->priority) { /* it is queued by the highest of them */
        b->call->priority = c->priority;
        b->call->request.priority = (uint8_t)c->priority;
    }
    /* It was expected in the first half of the time that is left when it has gathered (may_join); the second one is for a call of its own */
    uint64_t made_ns = weir_max_u64(w->now_ns, b->open ? b->close_ns : 0);
    c->due_ns = made_ns + (c->deadline_ns - weir_min_u64(made_ns, c->deadline_ns)) / 2;
    cache_follow(w, b->call, c);
    return true;
}

/* ---------------------------------------------------------------------------------------------- when it is made */

void batch_leave(struct worker *w, struct batch *b)
{
    struct batch **at = &w->cache->batch_first;
    while (*at != NULL && *at != b) {
        at = &(*at)->next;
    }
    if (*at == b) {
        *at = b->next;
    }
}

/* Names whose callers have all gone. Callers stand in the order of their names, but for those who name one again: thousands are looked at once each. */
static void names_drop(struct batch *b)
{
    uint32_t cnt = 0;
    uint32_t at = 0;
    bool *wanted = b->cnt > 0 ? calloc(b->cnt, sizeof *wanted) : NULL;
    if (wanted == NULL) {
        return; /* to ask for more than is wanted does no harm */
    }
    for (const struct call *c = b->call->follow_first; c != NULL; c = c->next) {
        at = place_of(b, &c->key, at < b->cnt ? at : 0);
        if (at < b->cnt) {
            wanted[at] = true;
        }
    }
    for (uint32_t i = 0; i < b->cnt; i++) {
        if (wanted[i]) {
            b->name[cnt] = b->name[i];
            b->key[cnt++] = b->key[i];
        }
    }
    free(wanted);
    b->cnt = cnt;
}

/* What a call of the route takes of a limit. */
static uint64_t cost_of(const struct weir_shm_route_row *row, uint16_t limit)
{
    uint64_t units = 0;
    for (uint32_t i = 0; i < row->limit_cnt; i++) {
        units += row->limit[i] == limit ? row->cost[i] : 0;
    }
    return units;
}

/* Less of some limit and more of none than one call for each name. */
static bool is_cheaper(const struct worker *w, const struct batch *b)
{
    const struct weir_shm_route_row *many = &w->shared.tables.route[b->call->route];
    const struct weir_shm_route_row *one = &w->shared.tables.route[b->route];
    bool less = false;
    for (uint32_t i = 0; i < many->limit_cnt; i++) {
        if (many->cost[i] > cost_of(one, many->limit[i]) * b->cnt) {
            return false;
        }
    }
    for (uint32_t i = 0; i < one->limit_cnt; i++) {
        less = less || cost_of(many, one->limit[i]) < (uint64_t)one->cost[i] * b->cnt;
    }
    return less;
}

/* Room and query; then it is a call like any other. */
static bool query_put(struct worker *w, struct batch *b)
{
    struct call *c = b->call;
    size_t bytes;
    uint32_t room_bytes = w->shared.tables.route[c->route].response_max_bytes + CALL_HEAD_MAX_BYTES;
    c->payload = batch_query_make(config_of(w, b->route), &b->with, b->name, b->cnt, &bytes);
    if (c->payload == NULL || bytes > UINT16_MAX) {
        return false;
    }
    c->request.query_bytes = (uint32_t)bytes;
    c->room = malloc(room_bytes);
    c->room_bytes = room_bytes;
    return c->room != NULL &&
           weir_request_parse(&c->request, c->payload, bytes, &c->parts) == WEIR_OK;
}

/* Its gathering is over: it is made, or all make their own calls. */
static void close_one(struct worker *w, struct batch *b)
{
    b->open = false;
    names_drop(b);
    bool wanted = b->cnt > 0 &&
                  (config_of(w, b->route)->when == WEIR_CONFIG_BATCH_ALWAYS || is_cheaper(w, b));
    if (!wanted || !query_put(w, b)) {
        call_end(w, b->call, WEIR_RESULT_CANCELLED, 0);
        return;
    }
    board_add(&w->region->cache_route[b->route].batches, 1);
    cache_admit(w, b->call); /* its whole answer may be kept too, where its route says so */
    dispatch_enter(w, b->call);
}

void batch_turn(struct worker *w)
{
    if (w->cache == NULL) {
        return;
    }
    for (struct batch *b = w->cache->batch_first, *next; b != NULL; b = next) {
        next = b->next;
        if (b->open &&
            (w->now_ns >= b->close_ns || (config_of(w, b->route)->names != WEIR_CONFIG_BATCH_ALL &&
                                          b->cnt >= config_of(w, b->route)->name_max))) {
            close_one(w, b);
            next = w->cache->batch_first; /* an end may free others: begin again */
        } else if (b->open) {
            worker_due(w, b->close_ns);
        }
    }
}

bool batch_is_idle(struct worker *w, struct call *c)
{
    if (c->follow_first != NULL) {
        return false;
    }
    call_end(w, c, WEIR_RESULT_CANCELLED, 0);
    return true;
}
