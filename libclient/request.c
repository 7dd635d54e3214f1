/*
 * request.c: hand a request over, and take it back.
 *
 * Submit checks everything that can be checked here, so that the author of a call gets its error at the call; the worker checks its
 * own copy again. Only then a slot is claimed and filled: nothing after that can fail but a full ring.
 */
#include "handle.h"

#include "shm/weir_request.h"
#include "shm/weir_weave.h"

#include <string.h>
#include <unistd.h>

/* A route without a configured end still ends; the built-in one is answered in microseconds. */
#define TIMEOUT_DEFAULT_NS (10 * WEIR_NS_PER_S)

/* A checked request, before it is copied into its slot. */
struct draft {
    struct weir_request_spec spec;
    struct weir_shm_request request;
    uint64_t now_ns;
    uint16_t name_bytes[WEIR_REQUEST_HEADERS_MAX];
    uint16_t value_bytes[WEIR_REQUEST_HEADERS_MAX];
};

/* ---------------------------------------------------------------------------------------------- checks */

int weir_spec_copy(struct weir_request_spec *to, const struct weir_request_spec *from)
{
    *to = (struct weir_request_spec){.struct_bytes = sizeof *to};
    if (from == NULL || from->struct_bytes < sizeof from->struct_bytes) {
        return WEIR_E_ARGUMENT;
    }
    for (size_t i = sizeof *to; i < from->struct_bytes; i++) {
        if (((const char *)from)[i] != 0) {
            return WEIR_E_UNSUPPORTED; /* a field that this libweir does not know */
        }
    }
    memcpy(to, from, from->struct_bytes < sizeof *to ? from->struct_bytes : sizeof *to);
    return WEIR_OK;
}

/* May this client hand anything over now? A takeover's pause is waited out, 10 ms at most. */
static int gate_check(struct weir *w, uint64_t now_ns)
{
    /* relaxed: time alone decides */
    if (WEIR_UNLIKELY(now_ns >= weir_load_relaxed_u64(&w->view.gate->lease_until_ns)) &&
        !weir_board_await(w)) {
        return weir_attachment_ended(w->at) ? WEIR_E_STALE : WEIR_E_LEASE;
    }
    /* relaxed: an operator's switch; the store becomes visible in its own time */
    uint32_t block =
        weir_load_relaxed_u32(&w->view.gate->block_all) | weir_load_relaxed_u32(w->view.block);
    return block == 0 ? WEIR_OK : WEIR_E_BLOCKED;
}

static int units_check(const struct weir_tables *t, const struct weir_shm_route_row *route,
                       struct draft *d)
{
    const struct weir_cost *units = d->spec.units;
    if (units == NULL) {
        return WEIR_OK;
    }
    if (units->cnt != route->limit_cnt) {
        return WEIR_E_ARGUMENT;
    }
    d->request.unit_cnt = units->cnt;
    for (uint32_t i = 0; i < route->limit_cnt; i++) {
        if (units->units[i] > t->limit[route->limit[i]].quota) {
            return WEIR_E_COST;
        }
        d->request.units[i] = units->units[i];
    }
    return WEIR_OK;
}

static int scope_check(const struct weir_shm_provider_row *provider, weir_scope_id scope)
{
    for (unsigned k = 0; k < WEIR_SCOPE_KIND_CNT; k++) {
        uint32_t value = (uint32_t)(scope >> (16 * k)) & 0xffffU;
        if (value != 0 && value >= provider->scope_cnt[k]) {
            return WEIR_E_SCOPE_UNKNOWN;
        }
    }
    return WEIR_OK;
}

/* Route, class, scope, units, path, deadline. Fills the request line as far as they say. */
static int route_check(struct weir *w, struct draft *d)
{
    const struct weir_tables *t = &w->view.tables;
    const struct weir_request_spec *s = &d->spec;
    uint32_t priority = WEIR_PRIORITY_MEDIUM;
    uint64_t timeout_ns = 0;
    if (s->route != WEIR_ROUTE_NOP) {
        if (s->route >= t->route_cnt) {
            return WEIR_E_ROUTE_UNKNOWN;
        }
        const struct weir_shm_route_row *route = &t->route[s->route];
        if ((route->flags & WEIR_ROUTE_OWN_TRANSPORT) != 0) {
            return WEIR_E_TRANSPORT;
        }
        if (s->path_rest != NULL && s->path_rest[0] != '\0' &&
            (route->flags & WEIR_ROUTE_PATH_REST) == 0) {
            return WEIR_E_PATH_INVALID;
        }
        int rc = scope_check(&t->provider[route->provider], s->scope);
        rc = rc != WEIR_OK ? rc : units_check(t, route, d);
        if (rc != WEIR_OK) {
            return rc;
        }
        priority = route->priority;
        timeout_ns = route->timeout_ns;
    }
    priority = s->priority_set ? (uint32_t)s->priority : priority;
    if (priority >= WEIR_PRIORITY_CNT) {
        return WEIR_E_PRIORITY;
    }
    uint64_t asked_ns = s->deadline_ns != 0 ? s->deadline_ns : UINT64_MAX;
    d->request.deadline_ns =
        weir_min_u64(asked_ns, d->now_ns + (timeout_ns != 0 ? timeout_ns : TIMEOUT_DEFAULT_NS));
    d->request.route = s->route;
    d->request.priority = (uint8_t)priority;
    d->request.scope = s->scope;
    d->request.submitted_ns = d->now_ns;
    return asked_ns > d->now_ns ? WEIR_OK : WEIR_E_DEADLINE;
}

static int headers_measure(struct draft *d, size_t *bytes)
{
    const struct weir_request_spec *s = &d->spec;
    if (s->header_cnt > WEIR_REQUEST_HEADERS_MAX) {
        return WEIR_E_HEADER_INVALID;
    }
    if (s->header_cnt > 0 && s->headers == NULL) {
        return WEIR_E_ARGUMENT;
    }
    for (size_t i = 0; i < s->header_cnt; i++) {
        const struct weir_header *h = &s->headers[i];
        if (h->name == NULL || h->value == NULL) {
            return WEIR_E_ARGUMENT;
        }
        size_t name_bytes = strlen(h->name);
        size_t value_bytes = strlen(h->value);
        if (value_bytes > UINT16_MAX) {
            return WEIR_E_BODY_TOO_LARGE;
        }
        int rc = weir_request_header_check(h->name, name_bytes, h->value, value_bytes);
        if (rc != WEIR_OK) {
            return rc;
        }
        d->name_bytes[i] = (uint16_t)name_bytes; /* the check allows 256 */
        d->value_bytes[i] = (uint16_t)value_bytes;
        *bytes += 4 + name_bytes + value_bytes;
    }
    return WEIR_OK;
}

/* Every part valid by itself, and all together within one request's bytes. */
static int payload_check(const struct weir *w, struct draft *d)
{
    const struct weir_request_spec *s = &d->spec;
    size_t room = w->at->mem.request_stride_bytes;
    size_t path_bytes = s->path_rest != NULL ? strlen(s->path_rest) : 0;
    size_t query_bytes = s->query != NULL ? strlen(s->query) : 0;
    size_t headers_bytes = 0;
    if (s->body == NULL && s->body_bytes > 0) {
        return WEIR_E_ARGUMENT;
    }
    int rc = headers_measure(d, &headers_bytes);
    if (rc != WEIR_OK) {
        return rc;
    }
    if (s->body_bytes > room || path_bytes > room || query_bytes > room ||
        path_bytes + query_bytes + headers_bytes + s->body_bytes > room) {
        return WEIR_E_BODY_TOO_LARGE;
    }
    rc = weir_request_path_check(s->path_rest, path_bytes);
    rc = rc != WEIR_OK ? rc : weir_request_query_check(s->query, query_bytes);
    d->request.path_bytes = (uint32_t)path_bytes;
    d->request.query_bytes = (uint32_t)query_bytes;
    d->request.headers_bytes = (uint32_t)headers_bytes;
    d->request.header_cnt = (uint16_t)s->header_cnt;
    d->request.body_bytes = (uint32_t)s->body_bytes;
    return rc;
}

/* ---------------------------------------------------------------------------------------------- hand over */

static char *put(char *at, const void *from, size_t bytes)
{
    if (bytes > 0) {
        memcpy(at, from, bytes);
    }
    return at + bytes;
}

/* Copy a draft into its slot: path | query | headers | body, without gaps. All lengths were measured once. */
static void slot_fill(const struct weir *w, uint32_t index, const struct draft *d)
{
    const struct weir_client_arena *m = &w->at->mem;
    const struct weir_request_spec *s = &d->spec;
    char *at = m->request + index * m->request_stride_bytes;
    at = put(at, s->path_rest, d->request.path_bytes);
    at = put(at, s->query, d->request.query_bytes);
    for (size_t i = 0; i < s->header_cnt; i++) {
        at += weir_request_header_put(at, 4U + d->name_bytes[i] + d->value_bytes[i],
                                      s->headers[i].name, d->name_bytes[i], s->headers[i].value,
                                      d->value_bytes[i]);
    }
    (void)put(at, s->body, d->request.body_bytes);
    struct weir_shm_slot *slot = &m->slot[index];
    slot->request = d->request; /* plain: the worker reads it after it has seen SUBMITTED */
    weir_store_relaxed_u32(&slot->waiter, 0); /* relaxed: published by SUBMITTED */
    weir_store_relaxed_u32(&slot->cancel, 0); /* relaxed: published by SUBMITTED */
}

void weir_doorbell(struct weir *w, bool always)
{
    const uint64_t one = 1;
    weir_fence_after_rmw(); /* the CAS that published, then the look at NEED_WAKEUP (pair:wakeup A, the worker's half: set, then look) */
    uint32_t need =
        weir_load_relaxed_u32(&w->board->need_wakeup->word); /* relaxed: behind the fence */
    if (always || ((need & 1U) != 0 && need != w->last_rung)) {
        ssize_t n = write(w->at->doorbell_fd, &one, sizeof one);
        (void)n;             /* fails only when the counter is full, and then it rings anyway */
        w->last_rung = need; /* after the write: killed between the two, the bell is rung again */
    }
}

/* Put the handle into its ring. On a full ring the slot is taken back, unless the worker's sweep was faster. */
static int publish(struct weir *w, uint32_t index, uint64_t submitted, uint32_t priority)
{
    struct weir_shm_slot *slot = &w->at->mem.slot[index];
    uint32_t handle = weir_handle_make(w->at->client, index, weir_slot_gen(submitted));
    int rc = weir_ring_put(&w->board->level[priority], handle);
    if (WEIR_UNLIKELY(rc == WEIR_RING_FULL)) {
        uint64_t seen = submitted;
        WEIR_WEAVE("slot:take_back");
        if (weir_cas_u64(&slot->state, &seen,
                         weir_slot_with(submitted, WEIR_SLOT_CANCELLED))) { /* pair:slot R */
            weir_slot_free(w, index, submitted);
            weir_doorbell(w,
                          true); /* a full ring and a sleeping worker: wake it for the next try */
            return WEIR_E_RING_FULL;
        }
    }
    WEIR_WEAVE("slot:queued");
    /* BUSY: nothing is in the ring, but the slot says SUBMITTED and the sweep finds it. */
    weir_doorbell(w, rc != WEIR_RING_OK);
    return WEIR_OK;
}

static int submit(struct weir *w, const struct weir_request_spec *spec, const uint64_t *deadline_ns,
                  weir_ticket *out)
{
    struct draft d;
    if (WEIR_UNLIKELY(!weir_handle_ours(w))) {
        return WEIR_E_FORKED;
    }
    if (w->role == WEIR_ROLE_MONITOR) {
        return WEIR_E_NOT_CALLER;
    }
    int rc = out != NULL ? weir_spec_copy(&d.spec, spec) : WEIR_E_ARGUMENT;
    d.spec.deadline_ns = deadline_ns != NULL ? *deadline_ns : d.spec.deadline_ns;
    memset(&d.request, 0, sizeof d.request);
    d.now_ns = weir_now_ns(w);
    rc = rc != WEIR_OK ? rc : gate_check(w, d.now_ns);
    rc = rc != WEIR_OK ? rc : weir_permit_refresh(&w->view);
    rc = rc != WEIR_OK ? rc : route_check(w, &d);
    rc = rc != WEIR_OK ? rc : payload_check(w, &d);
    if (rc != WEIR_OK) {
        return rc;
    }
    uint64_t word;
    uint32_t index = weir_slot_claim(w, &word);
    if (index == UINT32_MAX) {
        return WEIR_E_NO_SLOT;
    }
    if (d.spec.route != WEIR_ROUTE_NOP &&
        (w->view.tables.route[d.spec.route].flags & WEIR_ROUTE_CACHED) != 0 &&
        weir_kept_try(w, &d.spec, &w->view.tables.route[d.spec.route], index, word, d.now_ns)) {
        *out = (uint64_t)weir_slot_gen(word) << 32 | index;
        return WEIR_OK;
    }
    slot_fill(w, index, &d);
    uint64_t submitted = weir_slot_with(word, WEIR_SLOT_SUBMITTED);
    WEIR_WEAVE("slot:filled");
    weir_store_release_u64(&w->at->mem.slot[index].state, submitted); /* pair:slot R */
    WEIR_WEAVE("slot:submitted");
    (void)weir_fetch_add_u32(&w->at->mem.wake->submitted, 1); /* a hint for the sweep, no partner */
    rc = publish(w, index, submitted, d.request.priority);
    if (rc == WEIR_OK) {
        *out = (uint64_t)weir_slot_gen(word) << 32 | index;
    }
    return rc;
}

int weir_submit(struct weir *w, const struct weir_request_spec *spec, weir_ticket *out)
{
    return submit(w, spec, NULL, out);
}

int weir_submit_until(struct weir *w, const struct weir_request_spec *spec, uint64_t deadline_ns,
                      weir_ticket *out)
{
    return submit(w, spec, &deadline_ns, out);
}

/* ---------------------------------------------------------------------------------------------- take back */

int weir_cancel(struct weir *w, weir_ticket ticket)
{
    uint64_t word;
    if (!weir_handle_ours(w)) {
        return WEIR_E_FORKED;
    }
    if (weir_kept_of(w, ticket) != NULL) {
        return WEIR_E_CANCEL_LATE;
    }
    struct weir_shm_slot *slot = weir_ticket_slot(w, ticket, &word);
    if (slot == NULL) {
        return WEIR_E_TICKET;
    }
    WEIR_WEAVE("slot:cancel");
    if (weir_slot_state(word) == WEIR_SLOT_SUBMITTED &&
        weir_cas_u64(&slot->state, &word,
                     weir_slot_with(word, WEIR_SLOT_CANCELLED))) { /* pair:slot R */
        weir_slot_free(w, (uint32_t)ticket, word);
        return WEIR_OK;
    }
    if (weir_slot_state(word) != WEIR_SLOT_DONE) {
        weir_store_release_u32(&slot->cancel, 1); /* pair:cancel R */
        WEIR_WEAVE("slot:cancel_late");
        (void)weir_fetch_add_u32(&w->at->mem.wake->cancelled, 1); /* a hint, no partner */
        weir_doorbell(w, true);
    }
    return WEIR_E_CANCEL_LATE;
}

int weir_release(struct weir *w, weir_ticket ticket)
{
    uint64_t word;
    if (!weir_handle_ours(w)) {
        return WEIR_E_FORKED;
    }
    struct weir_kept *kept = weir_kept_of(w, ticket);
    if (kept != NULL) {
        weir_kept_leave(w, kept, WEIR_KEPT_NONE);
        weir_slot_free(w, (uint32_t)ticket, kept->word);
        return WEIR_OK;
    }
    if (weir_ticket_slot(w, ticket, &word) == NULL) {
        return WEIR_E_TICKET;
    }
    if (weir_slot_state(word) != WEIR_SLOT_DONE) {
        return WEIR_PENDING;
    }
    weir_slot_free(w, (uint32_t)ticket, word);
    return WEIR_OK;
}
