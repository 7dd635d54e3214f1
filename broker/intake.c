#include "broker/doubt.h"
#include "broker/egress.h"
#include "broker/hush.h"
#include "broker/late.h"
#include "broker/log.h"
#include "broker/signer.h"
#include "broker/worker.h"
#include "shm/weir_atomic.h"
#include "shm/weir_error.h"
#include "shm/weir_weave.h"

#include <stdlib.h>
#include <string.h>

/* After so many entries from higher classes one lower class has its turn, so that none starves. */
#define TAKE_HIGH_MAX 16U

/* Copy the request line word by word: each shared word is read once. */
static void request_copy(struct weir_shm_request *to, const struct weir_shm_request *from)
{
    const uint64_t *src = (const void *)from;
    uint64_t words[sizeof *to / sizeof(uint64_t)];
    for (size_t i = 0; i < WEIR_ARRAY_CNT(words); i++) {
        words[i] =
            weir_load_relaxed_u64(&src[i]); /* relaxed: ordered by the acquire of the slot word */
    }
    memcpy(to, words, sizeof *to);
}

static bool header_allowed(const struct weir_config_route *route,
                           const struct weir_request_header *h)
{
    for (size_t i = 0; i < route->headers.cnt; i++) {
        const char *name = route->headers.text[i];
        if (strlen(name) == h->name_bytes && strncasecmp(name, h->name, h->name_bytes) == 0) {
            return true;
        }
    }
    return false;
}

/* Does the copy ask for something that this route does? Returns WEIR_OK or the reason. */
static int route_check(struct worker *w, struct call *c)
{
    const struct weir_tables *t = &w->shared.tables;
    if (c->request.route >= t->route_cnt || w->route[c->request.route].config == NULL) {
        return WEIR_E_ROUTE_UNKNOWN;
    }
    const struct weir_shm_route_row *row = &t->route[c->request.route];
    if ((row->flags & WEIR_ROUTE_OWN_TRANSPORT) != 0) {
        return WEIR_E_TRANSPORT;
    }
    if (c->request.priority >= WEIR_PRIORITY_CNT) {
        return WEIR_E_PRIORITY;
    }
    if (c->request.method != 0 && c->request.method != row->method) {
        return WEIR_E_METHOD;
    }
    for (uint32_t i = 0; i < c->request.unit_cnt && i < row->limit_cnt; i++) {
        if (c->request.units[i] < row->cost[i]) {
            return WEIR_E_COST; /* a client may declare a dearer call; what makes it cheap is not its word */
        }
    }
    if (c->request.unit_cnt != 0 && c->request.unit_cnt != row->limit_cnt) {
        return WEIR_E_COST;
    }
    return egress_admit(w, c->request.route, c->request.scope);
}

/* Take the payload out of shared memory and check it. */
static int payload_check(struct worker *w, struct call *c)
{
    const struct client *cl = c->client;
    uint64_t bytes = (uint64_t)c->request.path_bytes + c->request.query_bytes +
                     c->request.headers_bytes + c->request.body_bytes;
    if (bytes > cl->request_stride_bytes) {
        return WEIR_E_BODY_TOO_LARGE;
    }
    c->payload = malloc(bytes > 0 ? bytes : 1);
    if (c->payload == NULL) {
        return WEIR_E_MEMORY;
    }
    memcpy(c->payload, cl->request + c->slot * cl->request_stride_bytes, bytes);
    int rc = weir_request_parse(&c->request, c->payload, bytes, &c->parts);
    if (rc != WEIR_OK) {
        return rc;
    }
    const struct weir_config_route *route = w->route[c->route].config;
    if (c->parts.path_bytes > 0 &&
        (w->shared.tables.route[c->route].flags & WEIR_ROUTE_PATH_REST) == 0) {
        return WEIR_E_PATH_INVALID;
    }
    for (uint32_t i = 0; i < c->parts.header_cnt; i++) {
        const struct weir_request_header *h = &c->parts.header[i];
        if (!header_allowed(route, h) ||
            provider_headers_has(&w->provider[w->route[c->route].provider], h->name,
                                 h->name_bytes) ||
            signer_sends(w, c->route, h->name, h->name_bytes)) {
            return WEIR_E_HEADER_FORBIDDEN;
        }
    }
    return WEIR_OK;
}

/* Requests that libweir would have refused itself: so many, and whoever made them is shut out. An honest client makes none. */
#define OFFENCES_MAX 16U

/* libweir checks the same before it hands a request over; what it cannot know, it does not. */
static bool is_offence(int rc)
{
    return rc != WEIR_E_MEMORY && rc != WEIR_E_HEADER_FORBIDDEN && rc != WEIR_E_UNSUPPORTED &&
           rc != WEIR_E_METHOD && rc != WEIR_E_SCOPE_UNKNOWN && rc != WEIR_E_KEY_MISSING;
}

static void reject(struct worker *w, struct call *c, int rc)
{
    struct client *cl = c->client;
    board_add(&w->region->client[cl->info.index].rejected, 1);
    if (is_offence(rc) && ++cl->offences == OFFENCES_MAX) {
        weir_store_relaxed_u32(&w->region->block->client[cl->info.index],
                               WEIR_BLOCK_QUARANTINE); /* relaxed: this thread asks it */
        board_add(&w->region->worker->client_quarantined, 1);
        log_error("client_quarantined", "s:i, s:s, s:i, s:i, s:i, s:s, s:s", "client",
                  (int)cl->info.index, "name", cl->info.name, "client_pid", (int)cl->info.pid,
                  "uid", (int)cl->info.uid, "offences", (int)cl->offences, "last",
                  weir_error_name(rc), "next_step",
                  "end it, or let it in again by: weir ctl unblock");
    }
    call_end(w, c, WEIR_RESULT_REJECTED, rc);
}

/* Fill the call from its checked copy and send it on, or end it with the reason. */
static void admit(struct worker *w, struct call *c)
{
    const struct weir_shm_route_row *row;
    if (weir_load_relaxed_u32(&w->region->block->client[c->client->info.index]) !=
        WEIR_BLOCK_NONE) { /* relaxed: our own switch; first: whoever is shut out costs no more than this */
        call_end(w, c, WEIR_RESULT_REJECTED, WEIR_E_BLOCKED);
        return;
    }
    int rc = route_check(w, c);
    if (rc == WEIR_OK) {
        c->route = c->request.route;
        c->priority = c->request.priority;
        c->scope = c->request.scope;
        rc = payload_check(w, c);
    }
    if (rc != WEIR_OK) {
        reject(w, c, rc);
        return;
    }
    row = &w->shared.tables.route[c->route];
    c->idempotent = (row->flags & WEIR_ROUTE_IDEMPOTENT) != 0;
    c->units.cnt = c->request.unit_cnt;
    memcpy(c->units.units, c->request.units, sizeof c->units.units);
    uint64_t latest_ns = c->taken_ns + row->timeout_ns;
    c->deadline_ns =
        c->request.deadline_ns != 0 ? weir_min_u64(c->request.deadline_ns, latest_ns) : latest_ns;
    c->client->shadow[c->slot].deadline_ns = c->deadline_ns;
    c->client->shadow[c->slot].idempotent = c->idempotent;
    board_add(&w->region->route_stats[c->route].calls, 1);
    cache_admit(w, c);
    doubt_admit(w, c);
    if (w->draining) {
        call_end(w, c, WEIR_RESULT_REJECTED, WEIR_E_STALE);
    } else {
        dispatch_enter(w, c);
    }
}

/* A claimed slot becomes a call. The shadow is written before anything is done with it. */
static void claim(struct worker *w, struct client *cl, uint32_t slot, uint64_t word)
{
    struct call *c = calls_are_too_many(w) ? NULL : call_make(w);
    bool refused = c == NULL;
    struct weir_shm_shadow *sh = &cl->shadow[slot];
    c = refused ? call_refused(w) : c;
    client_room_release(cl, slot); /* the answer of the slot's former life */
    c->client = cl;
    c->slot = slot;
    c->claimed = word;
    c->taken_ns = worker_now(w);
    request_copy(&c->request, &cl->slot[slot].request);
    c->request.correlation = w->region->own->correlation_next++;
    /* FREE first, CLAIMED last: killed between them, nothing of the slot's former life is taken for this one. */
    WEIR_WEAVE("intake:claimed");
    weir_store_release_u32(&sh->state, WEIR_SLOT_FREE); /* pair:shadow R */
    WEIR_WEAVE("intake:shadow_free");
    sh->generation = weir_slot_gen(word);
    sh->route = c->request.route;
    sh->sends = 0;
    sh->deadline_ns = 0;
    sh->taken_ns = c->taken_ns;
    sh->sent_ns = 0;
    sh->correlation = c->request.correlation;
    sh->idempotent = 0;
    sh->member = 0;
    sh->hedge_member = 0;
    WEIR_WEAVE("intake:shadow_filled");
    weir_store_release_u32(&sh->state, WEIR_SLOT_CLAIMED); /* pair:shadow R */
    WEIR_WEAVE("intake:shadow_claimed");
    hush_brought(cl);
    cl->call[slot] = c;
    cl->in_flight++;
    board_add(&w->region->client[cl->info.index].submitted, 1);
    int rc = refused ? WEIR_E_MEMORY
                     : quota_submit(&w->config->broker.domain[cl->info.domain].quota,
                                    &w->flow[cl->info.domain], c->taken_ns);
    w->flow[cl->info.domain].in_flight++;
    if (rc != WEIR_OK) {
        c->route = c->request.route < w->region->route_cnt ? c->request.route
                                                           : UINT32_MAX; /* for the counters */
        board_add(&w->region->client[cl->info.index].rejected, 1);
        call_end(w, c, WEIR_RESULT_REJECTED, rc);
    } else if (c->request.route == WEIR_ROUTE_NOP) {
        call_end(w, c, WEIR_RESULT_DONE, 0);
    } else {
        admit(w, c);
    }
}

bool intake_claim(struct worker *w, struct client *c, uint32_t slot, uint32_t tag)
{
    if (slot >= c->info.slot_cnt || c->call[slot] != NULL) {
        return false; /* in flight already, whatever the client's word says now */
    }
    uint64_t word = weir_load_acquire_u64(&c->slot[slot].state); /* pair:slot A */
    if (weir_slot_state(word) != WEIR_SLOT_SUBMITTED ||
        (tag != UINT32_MAX && (weir_slot_gen(word) & 4095U) != tag)) {
        return false;
    }
    WEIR_WEAVE("intake:claim");
    if (!weir_cas_u64(&c->slot[slot].state, &word,
                      weir_slot_with(word, WEIR_SLOT_CLAIMED))) { /* pair:slot R */
        return false;                                             /* cancelled in this instant */
    }
    claim(w, c, slot, weir_slot_with(word, WEIR_SLOT_CLAIMED));
    return true;
}

/* Of a life of the slot that is or was: cancelled meanwhile, or the sweep was faster. Honest clients leave such entries; one of a life to come is forged. */
static bool is_stale(const struct client *c, uint32_t slot, uint32_t tag)
{
    if (slot >= c->info.slot_cnt) {
        return false;
    }
    uint32_t gen = weir_slot_gen(weir_load_acquire_u64(&c->slot[slot].state)); /* pair:slot A */
    return ((gen - tag) & 4095U) < 2048U;
}

/* One ring entry. What it names is looked up in private tables; a wrong one costs a counter. */
static void entry(struct worker *w, uint32_t domain, uint32_t handle)
{
    uint32_t index = weir_handle_client(handle);
    struct client *c = index < WEIR_CLIENTS_MAX ? &w->client[index] : NULL;
    WEIR_WEAVE("intake:taken");
    board_add(&w->region->worker->ring_taken, 1);
    if (c == NULL || !c->live || c->gone || c->info.domain != domain ||
        !intake_claim(w, c, weir_handle_slot(handle), weir_handle_tag(handle))) {
        board_add(&w->region->worker->ring_dropped, 1);
        hush_dropped(w, domain);
        if (c != NULL && c->live && c->info.domain == domain &&
            !is_stale(c, weir_handle_slot(handle), weir_handle_tag(handle))) {
            board_add(&w->region->client[index].forged, 1);
        }
    }
}

static bool take_one(struct worker *w, unsigned priority)
{
    uint32_t cnt = w->region->domain_cnt;
    for (uint32_t n = 0; n < cnt; n++) {
        uint32_t d = (w->take_domain[priority] + n) %
                     cnt; /* in turn: a flood in one domain does not hide the others */
        uint32_t handle;
        if (hush_is_on(w, d)) {
            continue;
        }
        int rc = weir_ring_take(&w->ring[d][priority], &handle);
        if (rc == WEIR_RING_OK) {
            w->take_domain[priority] = d + 1;
            entry(w, d, handle);
            return true;
        }
        if (rc == WEIR_RING_CORRUPT) {
            hush_dropped(w, d);
            w->sweep_domains |=
                1U
                << d; /* somebody scribbles: the slots say what the ring does not, at the next tick */
        }
    }
    return false;
}

unsigned intake_rings(struct worker *w, unsigned max)
{
    unsigned cnt = 0;
    while (cnt < max) {
        unsigned p = 0;
        if (w->taken_high >= TAKE_HIGH_MAX) {
            /* The lower classes' turn: from the lowest up, so that background work moves even under a flood. */
            w->taken_high = 0;
            for (p = WEIR_PRIORITY_CNT - 1; p > 0 && !take_one(w, p); p--) {
            }
            cnt += p > 0 ? 1 : 0;
        }
        for (p = 0; p < WEIR_PRIORITY_CNT && !take_one(w, p); p++) {
        }
        if (p == WEIR_PRIORITY_CNT) {
            break;
        }
        w->taken_high += p < WEIR_PRIORITY_CNT - 1 ? 1 : 0;
        cnt++;
    }
    return cnt;
}

bool intake_ready(struct worker *w)
{
    for (uint32_t d = 0; d < w->region->domain_cnt; d++) {
        for (unsigned p = 0; p < WEIR_PRIORITY_CNT; p++) {
            if (!hush_is_on(w, d) && weir_ring_ready(&w->ring[d][p])) {
                return true;
            }
        }
    }
    return false;
}

void intake_sweep(struct worker *w, struct client *c)
{
    c->submitted_seen = weir_load_relaxed_u32(&c->wake->submitted); /* relaxed: a hint */
    for (uint32_t s = 0; s < c->info.slot_cnt && c->live && !c->gone; s++) {
        if (intake_claim(w, c, s, UINT32_MAX)) {
            board_add(&w->region->worker->swept, 1);
        }
    }
}

/*
 * The worker that died had told its shadow, but perhaps not the client, or the other way round. Returns true when nothing is left to do.
 * The order of its writes (claim: slot, shadow; send: shadow, slot; end: response, shadow, slot) says what each difference means.
 */
static bool recover_words(struct worker *w, struct client *c, uint32_t slot, uint64_t word)
{
    const struct weir_shm_shadow *sh = &c->shadow[slot];
    enum weir_slot_state state = weir_slot_state(word);
    bool held = state == WEIR_SLOT_CLAIMED || state == WEIR_SLOT_SENDING;
    bool same = sh->generation == weir_slot_gen(word);
    if (held && same && sh->state == WEIR_SLOT_DONE) {
        deliver_done(w, c, slot, word); /* the answer lies there, only the word was missing */
        return true;
    }
    if (state == WEIR_SLOT_DONE && same) {
        deliver_ring(w, c, slot); /* it may have died between the word and the bells */
        return true;
    }
    if (held && (!same || sh->state == WEIR_SLOT_FREE)) {
        /* Claimed, and the worker died before it wrote the shadow: surely not sent. The sweep takes it again. */
        WEIR_WEAVE("recover:unclaim");
        (void)weir_cas_u64(&c->slot[slot].state, &word,
                           weir_slot_with(word, WEIR_SLOT_SUBMITTED)); /* pair:slot R */
        return true;
    }
    return sh->state != WEIR_SLOT_CLAIMED && sh->state != WEIR_SLOT_SENDING;
}

void intake_recover(struct worker *w, struct client *c, uint32_t slot)
{
    struct weir_shm_shadow *sh = &c->shadow[slot];
    uint64_t word = weir_load_acquire_u64(&c->slot[slot].state); /* pair:slot A */
    if (recover_words(w, c, slot, word)) {
        return;
    }
    bool sent =
        sh->state ==
        WEIR_SLOT_SENDING; /* pair:shadow A: a successor is forked after the death, which orders all */
    bool again = !sent || sh->idempotent != 0;
    struct call *k = call_make(w);
    bool refused = k == NULL;
    k = refused ? call_refused(w) : k;
    k->client = c;
    k->slot = slot;
    k->claimed = weir_slot_word(sh->generation, WEIR_SLOT_CLAIMED, weir_slot_thread(word));
    k->taken_ns = sh->taken_ns;
    k->sent_ns = sent ? sh->sent_ns : 0;
    k->sends = sh->sends;
    k->idempotent = sh->idempotent != 0; /* it may end below, and be named by it */
    request_copy(&k->request, &c->slot[slot].request);
    k->request.correlation = sh->correlation;
    WEIR_WEAVE("recover:call");
    k->route = sh->route;
    bool doubted = sent && !refused && doubt_recover(w, k);
    if (!doubted) {
        client_room_release(c, slot);
    }
    c->call[slot] = k;
    c->in_flight++;
    w->flow[c->info.domain].in_flight++;
    log_warn("call_recovered", "s:I, s:i, s:b, s:b", "correlation", (long long)sh->correlation,
             "client", (int)c->info.index, "sent", (int)sent, "repeated", (int)(again && !refused));
    if (sent && sh->route < w->shared.tables.route_cnt) {
        bool own = k->request.unit_cnt == w->shared.tables.route[sh->route].limit_cnt;
        const uint32_t member[] = {sh->member, sh->hedge_member};
        for (uint32_t n = 0; n < (sh->on_wire > 1 ? 2U : 1U); n++) { /* it, and its hedge */
            uint64_t scope =
                weir_member_scope(&w->shared.tables, w->shared.tables.route[sh->route].provider,
                                  k->request.scope, member[n]);
            late_orphan(w, sh->route, scope, own ? k->request.units : NULL);
        }
    }
    if (refused) {
        call_end(w, k, sent ? WEIR_RESULT_OUTCOME_UNKNOWN : WEIR_RESULT_NOT_SENT, WEIR_E_MEMORY);
    } else if (doubted && doubt_begin(w, k, WEIR_E_STALE)) {
        WEIR_WEAVE("recover:doubt");
    } else if (!again || sh->route >= w->shared.tables.route_cnt || k->request.route != sh->route) {
        call_end(w, k, sent && !sh->idempotent ? WEIR_RESULT_OUTCOME_UNKNOWN : WEIR_RESULT_NOT_SENT,
                 WEIR_E_STALE);
    } else if (worker_now(w) >= sh->deadline_ns && sh->deadline_ns != 0) {
        call_end(w, k, sent ? WEIR_RESULT_TIMEOUT : WEIR_RESULT_EXPIRED, 0);
    } else {
        if (sh->deadline_ns != 0) { /* 0: it died before it had looked at the request's own */
            k->request.deadline_ns = sh->deadline_ns;
        }
        WEIR_WEAVE("recover:again");
        weir_store_release_u32(&sh->state, WEIR_SLOT_CLAIMED); /* pair:shadow R */
        admit(w, k);
    }
}
