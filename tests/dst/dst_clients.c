/*
 * dst_clients.c: strategies. They use the real libclient, want more than there is, die anywhere, and note what they were told.
 *
 * A strategy that makes its own calls is a cooperating one: it looks at use_by_ns and writes in the same instant; what becomes of its call it
 * settles, or dies.
 */
#include "dst_clients.h"

#include <stdio.h>
#include <string.h>

struct dst_process dst_client_process[DST_CLIENTS_MAX];

static struct client client[DST_CLIENTS_MAX];
static bool quiet;
static bool idle[DST_CLIENTS_MAX];

uint64_t dst_call_cnt(void);
void dst_http_client_died(const struct dst_process *p);

/* ---------------------------------------------------------------------------------------------- requests */

static void note(struct client *c, weir_ticket ticket, uint64_t id)
{
    bool alone = c->open_cnt == 0;
    for (unsigned i = 0; i < OPEN_MAX; i++) {
        c->open[i].alone = false;
    }
    for (unsigned i = 0; i < OPEN_MAX; i++) {
        if (!c->open[i].used) {
            c->open[i] = (struct outstanding){true, ticket, id, alone};
            c->open_cnt++;
            return;
        }
    }
}

static struct outstanding *noted(struct client *c, weir_ticket ticket)
{
    for (unsigned i = 0; i < OPEN_MAX; i++) {
        if (c->open[i].used && c->open[i].ticket == ticket) {
            return &c->open[i];
        }
    }
    dst_broken("outcome", "an answer for ticket %llx, which is not open",
               (unsigned long long)ticket);
}

static void answered(struct client *c, const struct weir_response *r)
{
    struct outstanding *o = noted(c, r->ticket);
    dst_outcome(c->w, o->id, r);
    if (o->alone && r->result == WEIR_RESULT_NO_ROOM) {
        dst_broken("nothing left",
                   "call %llu found no room, though its client had nothing else open",
                   (unsigned long long)o->id);
    }
    o->used = false;
    c->open_cnt--;
    int rc = weir_release(c->w, r->ticket);
    if (rc != 0) {
        dst_broken("outcome", "release: %d", rc);
    }
}

/* Whom a call names: where nobody may choose its key surely one, else now and then. */
weir_scope_id dst_client_naming(struct client *c, unsigned provider, unsigned route,
                                dst_maker *named)
{
    const struct dst_provider *p = &dst_world.provider[provider];
    const struct dst_route *r = &p->route[route];
    weir_scope_id scope = WEIR_SCOPE_DEFAULT;
    char text[32];
    size_t n = 0;
    unsigned address = 0;
    unsigned key = 0;
    if (p->address_cnt > 0 && dst_chance(0.2)) {
        address = 1 + (unsigned)dst_below(p->address_cnt);
        n = (size_t)snprintf(text, sizeof text, "ip=a%u", address);
    }
    if (r->is_signed && p->key_cnt > 0 && (!r->any_key || dst_chance(0.2))) {
        key = 1 + (unsigned)dst_below(p->key_cnt);
        n += (size_t)snprintf(text + n, sizeof text - n, "%skey=k%u", n > 0 ? "," : "", key);
    }
    *named = DST_MAKER(address, key);
    if (n > 0 && weir_scope_find(c->w, p->name, text, &scope) != WEIR_OK) {
        dst_broken("simulator", "no scope %s", text);
    }
    return scope;
}

uint64_t dst_client_call(struct client *c, unsigned provider, unsigned route, bool brokered,
                         uint64_t deadline_ns)
{
    const struct dst_call call = {.provider = provider,
                                  .route = route,
                                  .idempotent = !dst_world.provider[provider].route[route].order,
                                  .brokered = brokered,
                                  .deadline_ns = deadline_ns,
                                  .submitted_at = dst_now,
                                  .client = c->me,
                                  .client_life = dst_client_process[c->me].life};
    return dst_call_new(&call);
}

void dst_client_choose(unsigned *provider, unsigned *route)
{
    *provider = (unsigned)dst_below(dst_world.provider_cnt);
    *route = (unsigned)dst_below(dst_world.provider[*provider].route_cnt);
}

static void submit(struct client *c, enum weir_priority priority)
{
    unsigned provider;
    unsigned route;
    char query[40];
    weir_ticket ticket;
    if (c->open_cnt == OPEN_MAX) {
        return;
    }
    dst_client_choose(&provider, &route);
    uint64_t deadline = dst_monotonic() + dst_log_uniform(5 * DST_MS, 10 * DST_S);
    uint64_t id = dst_client_call(c, provider, route, true, deadline);
    weir_scope_id scope = dst_client_naming(c, provider, route, &dst_call_at(id)->named);
    (void)snprintf(query, sizeof query, "id=%llu", (unsigned long long)id);
    const struct weir_request_spec spec = {
        .struct_bytes = sizeof spec,
        .route = c->route[provider][route],
        .scope = scope,
        .priority_set = 1,
        .priority = priority,
        .query = query,
        .body = "{}",
        .body_bytes = dst_world.provider[provider].route[route].order ? 2 : 0,
        .deadline_ns = deadline};
    int rc = weir_submit(c->w, &spec, &ticket);
    dst_trace("submit", id, (uint64_t)(int64_t)rc, 0);
    if (rc == 0) {
        note(c, ticket, id);
    } else {
        c->refused = c->refused || rc == WEIR_E_STALE;
        dst_unsendable(id, "not handed over");
        dst_call_at(id)->ended = true;
    }
}

/* For a symbol, of which others want the same. */
static void ask(struct client *c, enum weir_priority priority)
{
    unsigned provider = (unsigned)dst_below(dst_world.provider_cnt);
    const struct dst_provider *p = &dst_world.provider[provider];
    char query[16];
    weir_ticket ticket;
    if (!p->shares || c->open_cnt == OPEN_MAX) {
        return;
    }
    uint64_t deadline = dst_monotonic() + dst_log_uniform(5 * DST_MS, 10 * DST_S);
    uint64_t id = dst_client_call(c, provider, p->route_cnt, true, deadline);
    dst_call_at(id)->asks = true;
    dst_call_at(id)->symbol = dst_chance(0.02) ? DST_SYMBOLS : (unsigned)dst_below(DST_SYMBOLS);
    (void)snprintf(query, sizeof query, "s=A%u", dst_call_at(id)->symbol);
    const struct weir_request_spec spec = {.struct_bytes = sizeof spec,
                                           .route = c->route[provider][p->route_cnt],
                                           .priority_set = 1,
                                           .priority = priority,
                                           .query = query,
                                           .deadline_ns = deadline};
    int rc = weir_submit(c->w, &spec, &ticket);
    dst_trace("ask", id, (uint64_t)(int64_t)rc, 0);
    if (rc == 0) {
        note(c, ticket, id);
    } else {
        c->refused = c->refused || rc == WEIR_E_STALE;
        dst_call_at(id)->ended = true;
    }
}

static void poll_some(struct client *c)
{
    struct weir_response r;
    for (unsigned i = 0; i < 1 + dst_below(8); i++) {
        int rc = weir_poll(c->w, &r);
        if (rc == WEIR_OK) {
            answered(c, &r);
        } else if (rc == WEIR_E_CORRUPT) {
            dst_broken("outcome", "an answer that makes no sense");
        } else {
            return;
        }
    }
}

static struct outstanding *any_open(struct client *c)
{
    unsigned from = (unsigned)dst_below(OPEN_MAX);
    for (unsigned i = 0; i < OPEN_MAX; i++) {
        struct outstanding *o = &c->open[(from + i) % OPEN_MAX];
        if (o->used) {
            return o;
        }
    }
    return NULL;
}

/* False: the broker is gone, says libweir. */
static bool wait_one(struct client *c, uint64_t patience_ns)
{
    struct outstanding *o = any_open(c);
    struct weir_response r;
    if (o == NULL) {
        return true;
    }
    int rc = weir_wait(c->w, o->ticket, weir_now_ns(c->w) + patience_ns, &r);
    if (rc == WEIR_OK) {
        answered(c, &r);
    } else if (rc != WEIR_PENDING && rc != WEIR_E_STALE) {
        dst_broken("outcome", "wait for an open ticket: %d", rc);
    }
    return rc != WEIR_E_STALE;
}

static void cancel_one(struct client *c)
{
    struct outstanding *o = any_open(c);
    if (o == NULL) {
        return;
    }
    (void)dst_fault(DST_CANCELLED, 1);
    int rc = weir_cancel(c->w, o->ticket);
    dst_trace("cancel", o->id, (uint64_t)(int64_t)rc, 0);
    if (rc == WEIR_OK) {
        dst_unsendable(o->id, "taken back");
        dst_call_at(o->id)->ended = true;
        o->used = false;
        c->open_cnt--;
    } else if (rc != WEIR_E_CANCEL_LATE) {
        dst_broken("outcome", "cancel of an open ticket: %d", rc);
    }
}

/* ---------------------------------------------------------------------------------------------- a life */

static bool attach(struct client *c)
{
    char name[32];
    struct weir_diag diag;
    (void)snprintf(name, sizeof name, "client%u", c->me);
    const struct weir_open_opts opts = {.struct_bytes = sizeof opts,
                                        .role = c->trader ? WEIR_ROLE_TRADER : WEIR_ROLE_CALLER,
                                        .slots = SLOTS,
                                        .response_bytes = dst_chance(0.3) ? 40960 : 131072,
                                        .client_name = name};
    if (weir_open(&c->w, "dst", &opts, &diag) != WEIR_OK) {
        return false;
    }
    c->broker_life = dst_broker_life();
    for (unsigned p = 0; p < dst_world.provider_cnt; p++) {
        for (unsigned r = 0; r < dst_world.provider[p].route_all; r++) {
            char full[48];
            (void)snprintf(full, sizeof full, "%s.%s", dst_world.provider[p].name,
                           dst_world.provider[p].route[r].name);
            if (weir_route_find(c->w, full, &c->route[p][r]) != WEIR_OK) {
                dst_broken("simulator", "no route %s", full);
            }
        }
    }
    return true;
}

/* The broker lives, as far as it can be seen. */
static bool lives(const struct client *c)
{
    return c->broker_life == dst_broker_life() && dst_broker_up();
}

static bool goes_on(const struct client *c)
{
    return c->attentive ? lives(c) : !c->refused;
}

/* One word of whatever this trader may write: limits, cells, pauses, ring, its own arena. Random, or near what stands there. */
static void scribble(struct client *c)
{
    const struct weir_attachment *at = c->w->at;
    const struct weir_segment *const all[] = {&at->permits, &at->permits, &at->ring, &at->arena};
    const struct weir_segment *s = all[dst_below(4)];
    uint64_t words = (s->bytes - sizeof(struct weir_shm_header)) / sizeof(uint64_t);
    uint64_t near = dst_below(4) == 0 ? words : words < 4096 ? words : 4096;
    uint64_t *word =
        (uint64_t *)(void *)((char *)s->base + sizeof(struct weir_shm_header)) + dst_below(near);
    switch (dst_below(4)) {
    case 0:
        *word = dst_random();
        break;
    case 1:
        *word += dst_below(16) - 8;
        break;
    case 2:
        *word ^= UINT64_C(1) << dst_below(64);
        break;
    default:
        *word = 0;
        break;
    }
    (void)dst_fault(DST_SCRIBBLED, 1);
}

/* A liar: it hands requests over by hand, with what comes, and reads nothing. Its own calls are not judged. */
static void lie(struct client *c)
{
    const struct weir_client_arena *m = &c->w->at->mem;
    for (uint64_t n = dst_below(40); n > 0; n--) {
        scribble(c);
    }
    uint32_t slot = (uint32_t)dst_below(m->slot_cnt);
    struct weir_shm_request *q = &m->slot[slot].request;
    q->route = (uint32_t)dst_below(DST_ROUTES_MAX + 2);
    q->priority = (uint8_t)dst_below(6);
    q->scope = 0;
    q->query_bytes = (uint32_t)dst_below(8);
    q->path_bytes = q->headers_bytes = q->header_cnt = 0;
    q->body_bytes = dst_chance(0.1) ? (uint32_t)dst_random() : 0;
    q->unit_cnt = dst_chance(0.9) ? 0 : (uint16_t)dst_below(5);
    q->deadline_ns = dst_monotonic() + dst_below(3 * DST_S);
    memcpy(m->request + slot * m->request_stride_bytes, "x=12345", 8);
    uint32_t generation = (uint32_t)dst_random();
    m->slot[slot].state = weir_slot_word(generation, WEIR_SLOT_SUBMITTED, 0);
    (void)weir_ring_put(
        &c->w->board->level[dst_below(WEIR_PRIORITY_CNT)],
        weir_handle_make(dst_chance(0.9) ? c->w->at->client : (uint32_t)dst_below(8), slot,
                         generation));
    weir_doorbell(c->w, true);
}

static enum weir_priority any_class(void)
{
    return (enum weir_priority)dst_below(WEIR_PRIORITY_CNT);
}

/* Everything that it has, at once: rings fill. */
static void flood(struct client *c)
{
    enum weir_priority priority = any_class();
    while (c->open_cnt < OPEN_MAX && goes_on(c)) {
        unsigned before = c->open_cnt;
        submit(c, priority);
        if (c->open_cnt == before) {
            return;
        }
    }
}

/* With nothing else open: what is not given back shows here. */
static void alone(struct client *c)
{
    for (unsigned i = 0; i < 50 && c->open_cnt > 0 && goes_on(c); i++) {
        (void)wait_one(c, 200 * DST_MS);
    }
    submit(c, any_class());
    (void)wait_one(c, DST_S);
}

static void act(struct client *c)
{
    if (dst_world.liars && c->me == 0) {
        lie(c);
        return;
    }
    switch (dst_below(c->trader ? 12 : 9)) {
    case 0:
    case 1:
    case 2:
    case 3:
        for (uint64_t n = 1 + dst_below(3); n > 0; n--) {
            submit(c, any_class());
        }
        for (uint64_t n = dst_below(6); n > 0; n--) {
            ask(c, any_class());
        }
        break;
    case 4:
        poll_some(c);
        break;
    case 5:
        if (dst_chance(0.1)) {
            alone(c);
        } else {
            (void)wait_one(c, dst_log_uniform(DST_MS, DST_S));
        }
        break;
    case 6:
        if (dst_chance(0.3)) {
            cancel_one(c);
        } else if (dst_fault(DST_NEVER_READ, 0.002)) {
            dst_block(dst_now + 5 * DST_S, NULL);
        }
        break;
    case 7: /* in the instant in which the worker may take it */
        submit(c, any_class());
        cancel_one(c);
        break;
    case 8:
        if (dst_chance(0.05)) {
            flood(c);
        }
        break;
    default:
        dst_client_trade(c);
        break;
    }
}

/* End what is open. Over when nothing is, or the broker is gone. */
static void finish(struct client *c)
{
    while (c->open_cnt > 0 && lives(c) && wait_one(c, 200 * DST_MS)) {
    }
}

static void session(struct client *c)
{
    uint64_t rounds = dst_log_uniform(20, 5000);
    c->attentive = dst_chance(0.5) || dst_world.liars;
    c->refused = false;
    while (rounds-- > 0 && goes_on(c) && !quiet) {
        act(c);
        dst_block(dst_now + dst_log_uniform(dst_world.think_ns / 16 + 1, dst_world.think_ns), NULL);
    }
    if (quiet || dst_chance(0.5)) {
        finish(c);
    }
    bool all = lives(c);
    weir_close(c->w);
    if (all) { /* what it had queued was taken back; what was in flight, nobody will tell us */
        memset(c->open, 0, sizeof c->open);
        c->open_cnt = 0;
    }
}

static void client_body(void *arg)
{
    struct client *c = arg;
    for (;;) {
        memset(c->open, 0, sizeof c->open);
        c->open_cnt = 0;
        while (quiet || !attach(c)) {
            idle[c->me] = quiet;
            dst_block(dst_now + dst_log_uniform(DST_MS, 200 * DST_MS), NULL);
        }
        idle[c->me] = false;
        session(c);
        dst_block(dst_now + dst_log_uniform(DST_MS, 50 * DST_MS), NULL);
    }
}

static void respawn_event(void *arg, uint64_t me, uint64_t b)
{
    (void)arg;
    (void)b;
    if (!dst_client_process[me].live) {
        client[me].trader = dst_chance(0.5) || (dst_world.liars && me == 0);
        dst_born(&dst_client_process[me], client_body, &client[me]);
    }
}

static void client_died(struct dst_process *p)
{
    unsigned me = (unsigned)(p - dst_client_process);
    dst_trace("client died", me, p->life, 0);
    dst_http_client_died(p);
    dst_broker_client_died(me);
    dst_at(dst_now + dst_log_uniform(100 * DST_US, 300 * DST_MS), respawn_event, NULL, me, 0);
}

void dst_clients_reset(void)
{
    static char names[DST_CLIENTS_MAX][16];
    memset(client, 0, sizeof client);
    quiet = false;
    for (unsigned i = 0; i < DST_CLIENTS_MAX; i++) {
        (void)snprintf(names[i], sizeof names[i], "client%u", i);
        dst_client_process[i].name = names[i];
        dst_client_process[i].died = client_died;
        dst_client_process[i].stall_max = 3 * DST_S;
        client[i].me = i;
        idle[i] = false;
    }
}

void dst_clients_start(void)
{
    for (unsigned i = 0; i < dst_world.client_cnt; i++) {
        dst_at(dst_now + dst_below(20 * DST_MS), respawn_event, NULL, i, 0);
    }
}

void dst_clients_quiet(bool on)
{
    quiet = on;
}

bool dst_clients_idle(void)
{
    for (unsigned i = 0; i < dst_world.client_cnt; i++) {
        if (!idle[i]) {
            return false;
        }
    }
    return true;
}

void dst_client_respawn(unsigned me)
{
    respawn_event(NULL, me, 0);
}
