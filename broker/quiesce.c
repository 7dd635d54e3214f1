/*
 * quiesce.c: how a worker leaves the field to a successor (shm/weir_handover.h): it takes nothing new, follows what is on the wire, and goes. What it had taken and not
 * sent stays claimed in the ledger, and the successor's worker goes on with it as after a crash; permits flow all the while.
 *
 * Calls that may be sent again are waited for only briefly: repeating one costs a permit, and all others wait meanwhile. The others are waited for as long as a stop
 * would (broker.drain). A refresh token that was sent comes first: until its successor is on the disk nothing is held up, calls go on as before, and only no further sign-in is begun. Who dies
 * here: the worker, then it is as if it had become quiet at once; the successor, then all goes on (quiesce_end).
 *
 * A worker whose supervisor is dead does the supervisor's part of a handover too.
 */
#include "broker/handover.h"
#include "broker/last_good.h"
#include "broker/log.h"
#include "broker/sign_in.h"
#include "broker/worker.h"
#include "shm/weir_weave.h"

#include <poll.h>

#define READS_NS (250 * WEIR_NS_PER_MS)

enum { INDEX_LISTENER = 0, INDEX_TAKER = 1 };

static void begin(struct worker *w)
{
    w->quiescing = true;
    w->quiesce_since_ns = w->now_ns;
    WEIR_WEAVE("quiesce:begun");
    for (struct call *c = w->call_first, *next; c != NULL; c = next) {
        next = c->all_next;
        if (c->stage != CALL_RUNNING || c->sent_ns != 0 || c->hedge != NULL) {
            continue; /* with a hedge it was written: its connection was dead, and it has another one soon */
        }
        if (c->hedge_of != NULL) {
            hedge_back(w, c);
        } else { /* nothing written yet: it waits again */
            exchange_stop(w, c);
            dispatch_again(w, c);
        }
    }
    log_info("quiescing", "s:i", "in_flight", (int)w->call_cnt);
}

void quiesce_turn(struct worker *w)
{
    if (w->quiesce_asked && !w->quiescing && !sign_in_is_busy(w)) {
        begin(w);
    }
}

void quiesce_ask(struct worker *w)
{
    if (w->quiesce_asked) {
        return;
    }
    w->quiesce_asked = true;
    sign_in_quiesce(w);
    quiesce_turn(w);
    if (!w->quiescing) {
        WEIR_WEAVE("quiesce:waits");
        log_info("quiescing_waits", "s:s", "meaning",
                 "a sign-in is under way, and its answer is awaited first; calls go on");
    }
}

void quiesce_end(struct worker *w)
{
    if (w->quiesce_asked) {
        w->quiesce_asked = w->quiescing = false;
        sign_in_go_on(w);
        worker_due(w, w->now_ns);
        log_info("quiescing_ended", "s:s", "meaning", "nobody takes over: all goes on");
    }
}

bool quiesce_is_wire_free(const struct worker *w)
{
    uint64_t for_ns = w->now_ns - w->quiesce_since_ns;
    for (const struct call *c = w->call_first; c != NULL; c = c->all_next) {
        bool waits = c->stage == CALL_RUNNING && c->client != NULL &&
                     for_ns < (c->idempotent ? READS_NS : w->config->broker.drain_ns);
        if (waits) {
            return false;
        }
    }
    return true;
}

static void meters_fold(struct worker *w)
{
    deliver_bells(w);
    for (uint32_t i = 0; i < WEIR_CLIENTS_MAX; i++) {
        if (w->client[i].live) {
            client_fold_meters(w, &w->client[i]);
        }
    }
}

/* No supervisor: what it would do when its worker has left. Returns whether this worker leaves. */
static bool orphan_finish(struct worker *w)
{
    switch (handover_finish(w->region->handover, w->region)) {
    case HANDOVER_BACK:
        quiesce_end(w);
        keeper_lease(w, worker_now(w) + LEASE_NS);
        return false;
    case HANDOVER_GIVEN:
    case HANDOVER_BURNT:
    default:
        return true;
    }
}

bool quiesce_is_over(struct worker *w)
{
    if (!quiesce_is_wire_free(w) || ceiling_is_writing(w) || last_good_is_writing(w)) {
        return false;
    }
    meters_fold(w);
    WEIR_WEAVE("quiesce:over");
    return w->control >= 0 || orphan_finish(w);
}

/* ---------------------------------------------------------------------------------------------- without a supervisor */

static const struct client_info *client_next(void *arg, uint32_t from, int *socket)
{
    struct worker *w = arg;
    *socket = -1; /* it went with the supervisor */
    for (uint32_t i = from; i < WEIR_CLIENTS_MAX; i++) {
        if (w->client[i].live) {
            w->client[i].info.gone = w->client[i].gone;
            return &w->client[i].info;
        }
    }
    return NULL;
}

void quiesce_orphan(struct worker *w)
{
    const struct handover *h = w->region->handover;
    if (h != NULL && h->listener >= 0) {
        loop_poll(&w->loop, LOOP_HANDOVER, 0, INDEX_LISTENER, h->listener, POLLIN, false);
    }
}

static void taker_read(struct worker *w, struct handover *h)
{
    const struct handover_clients clients = {.next = client_next, .arg = w};
    switch (handover_read(h, w->region, &clients)) {
    case HANDOVER_LOST:
        quiesce_end(w);
        return;
    case HANDOVER_IS_READY:
        quiesce_ask(w);
        break;
    case HANDOVER_NOTHING:
    default:
        break;
    }
    loop_poll(&w->loop, LOOP_HANDOVER, w->handover_life, INDEX_TAKER, h->socket, POLLIN, false);
}

void quiesce_event(struct worker *w, const struct loop_event *e)
{
    struct handover *h = w->region->handover;
    if (e->result <= 0 || w->control >= 0) {
        return;
    }
    if (e->index == INDEX_LISTENER) {
        if (handover_accept(h)) {
            w->handover_life = (w->handover_life + 1) & 0xffffffU;
            loop_poll(&w->loop, LOOP_HANDOVER, w->handover_life, INDEX_TAKER, h->socket, POLLIN,
                      false);
        }
        quiesce_orphan(w);
    } else if (e->generation == w->handover_life && handover_is_on(h)) {
        taker_read(w, h);
    }
}
