#include "broker/late.h"
#include "broker/log.h"
#include "broker/pair.h"
#include "broker/pause.h"
#include "broker/settle.h"
#include "broker/signer.h"
#include "broker/worker.h"
#include "shm/weir_atomic.h"
#include "shm/weir_clock.h"
#include "shm/weir_error.h"
#include "shm/weir_futex.h"
#include "shm/weir_weave.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

/* A connection that does not stand after so long counts as failed: another endpoint may do better. */
#define CONNECT_MAX_NS (3 * WEIR_NS_PER_S)

/* curl's callbacks carry only the transfer; there is one worker per process. */
static struct worker *the_worker;

static struct call *call_of(struct http_transfer *t)
{
    return (struct call *)(void *)((char *)t - offsetof(struct call, transfer));
}

/* ---------------------------------------------------------------------------------------------- how a call ends */

void exchange_ring(struct worker *w, struct client *c, uint32_t slot)
{
    struct weir_shm_slot *s = &c->slot[slot];
    uint64_t *done = &c->wake->done[slot / 64];
    uint64_t bit = UINT64_C(1) << (slot % 64);
    if ((weir_load_relaxed_u64(done) & bit) ==
        0) { /* relaxed: behind the fence; a bit that is still set need not move its line */
        WEIR_WEAVE("deliver:bit");
        weir_or_u64(done, bit); /* pair:done R */
    }
    if (weir_load_relaxed_u32(&s->waiter) != 0) { /* relaxed: behind the fence */
        WEIR_WEAVE("deliver:wake");
        weir_futex_wake((uint32_t *)(void *)&s->state,
                        1); /* the low half on little endian: state and thread */
    }
    if (!c->bell) {
        if (w->bell_cnt == WEIR_ARRAY_CNT(w->bell)) {
            exchange_bells(
                w); /* an index that was reaped and used again within one turn stands here twice */
        }
        c->bell = true;
        w->bell[w->bell_cnt++] = c;
    }
}

void exchange_deliver(struct worker *w, struct client *c, uint32_t slot, uint64_t word)
{
    WEIR_WEAVE("deliver:done");
    (void)weir_xchg_u64(&c->slot[slot].state,
                        weir_slot_with(word, WEIR_SLOT_DONE)); /* pair:slot R */
    WEIR_WEAVE("deliver:delivered");
    /* What was stored, then the look at bits and bells; the client announces or clears, and then looks at the state. (pair:slot-waiter) */
    weir_fence_after_rmw();
    exchange_ring(w, c, slot);
}

/* Once a turn, however many answers it brought: a system call each would cost more than the answer. */
void exchange_bells(struct worker *w)
{
    for (uint32_t i = 0; i < w->bell_cnt; i++) {
        struct client *c = w->bell[i];
        if (!c->bell) {
            continue; /* reaped meanwhile */
        }
        c->bell = false;
        WEIR_WEAVE("deliver:bell");
        weir_fence_full(); /* done bits, then the look at the bells (pair:armed) */
        if (weir_load_relaxed_u32(&c->wake->waiters) != 0) { /* relaxed: behind the fence */
            (void)weir_fetch_add_u32(&c->wake->completed, 1);
            weir_futex_wake(&c->wake->completed, INT32_MAX);
        }
        WEIR_WEAVE("deliver:rung");
        /* relaxed: behind the fence */
        if (weir_load_relaxed_u32(&c->wake->fd_armed) != 0 &&
            weir_xchg_u32(&c->wake->fd_armed, 0) != 0) { /* pair:armed A */
            /* A full socket means that the client has bytes to read: it is awake already. */
            (void)send(c->info.bell_fd, "", 1, MSG_DONTWAIT | MSG_NOSIGNAL);
        }
    }
    w->bell_cnt = 0;
}

static void response_fill(struct worker *w, const struct call *c, enum weir_result result,
                          int error)
{
    bool whole = result == WEIR_RESULT_DONE;
    const struct weir_shm_response r = {
        .result = result,
        .status = whole || result == WEIR_RESULT_TOO_LARGE ? c->transfer.status : 0,
        .error = error,
        .endpoint = c->endpoint != NULL ? c->endpoint->index : UINT32_MAX,
        .denial_reason = c->denial.reason,
        .denial_limit = c->denial.limit,
        .denial_earliest_ns = c->denial.earliest_ns,
        .headers_off_bytes = whole ? c->room_off_bytes : 0,
        .headers_bytes = whole ? c->head_bytes : 0,
        .body_off_bytes = whole ? c->room_off_bytes + c->head_bytes : 0,
        .body_bytes = whole ? c->body_bytes : 0,
        .submitted_ns = c->request.submitted_ns,
        .taken_ns = c->taken_ns,
        .permitted_ns = c->permitted_ns,
        .sent_ns = c->sent_ns,
        .first_byte_ns = c->first_byte_ns,
        .done_ns = w->now_ns,
        .delivered_ns = worker_now(w),
        .sends = c->sends,
        .connects = c->transfer.connected,
        .source = whole ? (uint32_t)c->source : 0,
        .age_ns = whole ? c->age_ns : 0,
    };
    c->client->slot[c->slot].response = r;
}

static void stage_add(struct worker *w, uint32_t endpoint, enum weir_stage stage, uint64_t from_ns,
                      uint64_t to_ns)
{
    if (from_ns != 0 && to_ns >= from_ns) {
        weir_histogram_add(&w->region->endpoint[endpoint].stage[stage], to_ns - from_ns);
    }
}

static void count_end(struct worker *w, const struct call *c, enum weir_result result)
{
    if (c->route >= w->region->route_cnt) {
        return;
    }
    struct provider *p = &w->provider[w->route[c->route].provider];
    if (c->client != NULL && (c->sends > 0 || c->source <= WEIR_SOURCE_LIVE)) {
        retry_budget_call(&p->retries, p->config->retry.budget_ppm);
    }
    struct weir_shm_route_stats *r = &w->region->route_stats[c->route];
    board_add(&r->results[result < WEIR_ARRAY_CNT(r->results) ? result : 0], 1);
    if (result == WEIR_RESULT_DONE) {
        uint32_t kind = c->transfer.status / 100;
        board_add(&r->statuses[kind >= 1 && kind <= 5 ? kind : 0], 1);
        board_add(&r->bytes_in, c->source == WEIR_SOURCE_LIVE ? c->body_bytes : 0);
    }
    if (c->endpoint != NULL && result == WEIR_RESULT_DONE) {
        uint32_t e = c->endpoint->index;
        stage_add(w, e, WEIR_STAGE_QUEUE, c->request.submitted_ns, c->taken_ns);
        stage_add(w, e, WEIR_STAGE_PERMIT, c->taken_ns, c->permitted_ns);
        stage_add(w, e, WEIR_STAGE_CONNECT, c->permitted_ns, c->sent_ns);
        stage_add(w, e, WEIR_STAGE_SERVER, c->sent_ns, c->first_byte_ns);
        stage_add(w, e, WEIR_STAGE_TOTAL, c->request.submitted_ns, w->now_ns);
    }
}

static void log_end(struct worker *w, const struct call *c, enum weir_result result, int error)
{
    bool grave = result == WEIR_RESULT_OUTCOME_UNKNOWN || result == WEIR_RESULT_FAILED ||
                 result == WEIR_RESULT_TOO_LARGE;
    /* An order of a dead client has no reader but the log. */
    bool orphan = c->client != NULL && c->client->gone && c->sends > 0;
    enum weir_config_log level = grave || orphan ? WEIR_CONFIG_LOG_WARN : WEIR_CONFIG_LOG_DEBUG;
    if (level < w->config->broker.log) {
        return;
    }
    const char *route =
        c->route < w->region->route_cnt ? w->shared.tables.route[c->route].name : "?";
    log_event(level, "call_ended", "s:I, s:s, s:i, s:s, s:i, s:i, s:i, s:b", "correlation",
              (long long)c->request.correlation, "route", route, "client",
              c->client != NULL ? (int)c->client->info.index : -1, "result",
              weir_result_name(result), "status", (int)c->transfer.status, "error", error, "sends",
              (int)c->sends, "client_gone", (int)orphan);
}

static void call_free(struct worker *w, struct call *c)
{
    if (c->all_prev != NULL) {
        c->all_prev->all_next = c->all_next;
    } else {
        w->call_first = c->all_next;
    }
    if (c->all_next != NULL) {
        c->all_next->all_prev = c->all_prev;
    }
    if (c->headers_last != NULL) {
        c->headers_last->next = NULL; /* what follows is the provider's */
    }
    curl_slist_free_all(c->headers);
    signer_end(c);
    free(c->payload);
    if (c->client == NULL) {
        free(c->room);
    }
    if (w->call_spare == NULL) {
        w->call_spare = c;
    } else {
        c->next = w->call_free;
        w->call_free = c;
    }
    w->call_cnt--;
}

/*
 * A call that was written to a connection and comes back to the queue (curl sent it a second time, or a worker died) may end there by words that
 * promise "not sent". They would be a lie.
 */
static enum weir_result truthful(const struct call *c, enum weir_result result)
{
    switch (result) {
    case WEIR_RESULT_REFUSED:
    case WEIR_RESULT_EXPIRED:
    case WEIR_RESULT_CANCELLED:
    case WEIR_RESULT_REJECTED:
    case WEIR_RESULT_NOT_SENT:
    case WEIR_RESULT_NO_ROOM:
        break;
    default:
        return result;
    }
    if (c->sends == 0) {
        return result;
    }
    if (!c->idempotent) {
        return WEIR_RESULT_OUTCOME_UNKNOWN;
    }
    return result == WEIR_RESULT_EXPIRED || result == WEIR_RESULT_REFUSED ? WEIR_RESULT_TIMEOUT
                                                                          : WEIR_RESULT_FAILED;
}

/* The permit was used, or is too old to be: its charges stay, units in flight are let go. */
static void permit_over(struct worker *w, struct call *c)
{
    if (c->permit.state == WEIR_PERMIT_GRANTED || c->permit.state == WEIR_PERMIT_SENT) {
        dispatch_as(w, c);
        (void)weir_permit_end(&w->own, &c->own_permit, NULL);
        (void)weir_permit_end(&w->shared, &c->permit, NULL);
        late_end(w, c, NULL);
        trial_end(w, c);
    }
}

/*
 * An answer whose body would tell success from failure, and which nobody could read to its end: neither rule holds, and the call stays as it was charged. (By the
 * status alone a 200 that says no inside would be taken for a success, and given back what the exchange keeps.)
 */
static bool answer_is_dark(const struct worker *w, const struct call *c, enum weir_result result)
{
    const struct weir_config_route *route = w->route[c->route].config;
    return route != NULL && *route->settle.ok.field != '\0' && c->transfer.status / 100 == 2 &&
           (result == WEIR_RESULT_TOO_LARGE || c->body_bytes > REPLY_JSON_MAX_BYTES);
}

/* What the exchange counted of an answered call. False: as the rules say. */
static bool answer_counted(struct worker *w, const struct call *c, enum weir_result result,
                           bool *success, struct weir_cost *units)
{
    const struct weir_config_route *route = w->route[c->route].config;
    *success = c->transfer.status / 100 == 2;
    if (route == NULL || !settle_asks(&route->settle) || result != WEIR_RESULT_DONE) {
        return false;
    }
    const struct settle_answer answer = {.status = c->transfer.status,
                                         .answer_bytes = (uint64_t)c->head_bytes + c->body_bytes,
                                         .head = hear_head_at(&c->hear),
                                         .head_bytes = c->hear.head_bytes,
                                         .body = hear_body_at(&c->hear),
                                         .body_bytes = c->hear.body_bytes};
    *success = settle_success(&route->settle, &answer);
    if (!weir_permit_rule(&w->shared, &c->permit, *success, units)) {
        return false;
    }
    settle_counted(route, &answer, units);
    return true;
}

/* The call has ended. What was sent counts as the answer or the route's rules say; without an answer it stays charged. */
static void permit_settle(struct worker *w, struct call *c, enum weir_result result)
{
    bool answered = result == WEIR_RESULT_DONE || result == WEIR_RESULT_TOO_LARGE;
    if (c->permit.state != WEIR_PERMIT_SENT || !answered) {
        permit_over(w, c);
        return;
    }
    bool success;
    struct weir_cost units;
    const struct weir_cost *counted =
        answer_counted(w, c, result, &success, &units) ||
                weir_permit_rule(&w->shared, &c->permit, success, &units)
            ? &units
            : NULL;
    dispatch_as(w, c);
    pair_open_permit(w, &c->own_permit);
    if (answer_is_dark(w, c, result)) {
        counted = NULL; /* as it was charged, and moved on so if it was late */
        (void)weir_permit_end(&w->own, &c->own_permit, counted);
        (void)weir_permit_end(&w->shared, &c->permit, counted);
    } else {
        (void)weir_permit_answered(&w->own, &c->own_permit, success, counted);
        (void)weir_permit_answered(&w->shared, &c->permit, success, counted);
    }
    pair_close(w);
    late_end(w, c, counted);
    trial_answered(w, c, success);
}

void call_attempt_over(struct worker *w, struct call *c, enum weir_result result)
{
    permit_settle(w, c, result);
    c->permit.state = WEIR_PERMIT_NONE;
    c->own_permit.state = WEIR_PERMIT_NONE;
}

/* Nothing was written since an answer came: no later misfortune is a better one. Returns whether there is such an answer. */
static bool answer_restore(struct call *c)
{
    if (c->kept.status == 0) {
        return false;
    }
    c->transfer.status = c->kept.status;
    c->head_bytes = c->kept.head_bytes;
    c->body_bytes = c->kept.body_bytes;
    c->endpoint = c->kept.endpoint;
    c->sent_ns = c->kept.sent_ns;
    c->first_byte_ns = c->kept.first_byte_ns;
    return true;
}

void call_end(struct worker *w, struct call *c, enum weir_result result, int error)
{
    struct client *cl = c->client;
    permit_settle(w, c, result);
    if (answer_restore(c)) {
        result = WEIR_RESULT_DONE;
        error = 0;
    }
    result = truthful(c, result);
    log_end(w, c, result, error);
    c->heard_status = c->transfer.status;
    const struct cache_end cached = cache_ended(w, c, &result);
    audit_ended(w, c, result);
    count_end(w, c, result);
    if (cl == NULL) {
        c->internal_done(w, c, result);
        cache_followers(w, c, &cached, error);
        call_free(w, c);
        return;
    }
    struct weir_shm_shadow *sh = &cl->shadow[c->slot];
    uint32_t kept = result == WEIR_RESULT_DONE ? c->head_bytes + c->body_bytes : 0;
    uint32_t held = sh->pool_bytes;
    if (sh->pool_bytes > 0) {
        sh->pool_bytes = pool_trim(&cl->pool, sh->pool_off_bytes, sh->pool_bytes, kept);
    }
    bool freed = sh->pool_bytes < held;
    WEIR_WEAVE("end:trimmed");
    response_fill(w, c, result, result == cached.truth ? error : 0);
    WEIR_WEAVE("end:filled");
    weir_store_release_u32(
        &sh->state,
        WEIR_SLOT_DONE); /* pair:shadow R: the response is whole; a successor only delivers it */
    WEIR_WEAVE("end:shadow_done");
    cl->call[c->slot] = NULL;
    cl->in_flight--;
    quota_ended(&w->flow[cl->info.domain]);
    exchange_deliver(w, cl, c->slot, c->claimed);
    board_add(&w->region->client[cl->info.index].ended, 1);
    if (cl->gone) {
        board_add(&w->region->worker->slot_reaped, 1);
    }
    cache_followers(w, c, &cached, error);
    call_free(w, c);
    if (cl->gone) {
        client_reap_if_idle(w, cl);
    } else if (freed && cl->room_first != NULL) {
        dispatch_room(
            w,
            cl); /* only then: a look at a full pool is not cheap, and the tick looks again anyway */
    }
}

/* ---------------------------------------------------------------------------------------------- the send gate */

static void give_back(struct worker *w, struct call *c)
{
    if (c->permit.state == WEIR_PERMIT_GRANTED) {
        reply_charged(w, &c->permit, true);
        dispatch_as(w, c);
        (void)weir_permit_give(
            &w->own, &c->own_permit); /* first: the private account never exceeds the shared one */
        (void)weir_permit_give(&w->shared, &c->permit);
        trial_give(w, c);
    }
}

/* Is the permit still good for one send, now? */
static bool permit_usable(struct worker *w, const struct call *c, uint64_t now_ns)
{
    return c->permit.state == WEIR_PERMIT_GRANTED && now_ns <= c->permit.use_by_ns &&
           !weir_hold_before(&w->shared, w->route[c->route].provider, &c->permit);
}

static bool stop(struct call *c, enum call_stop why)
{
    c->stop = why;
    return false;
}

/* CURLOPT_PREREQFUNCTION: the connection stands, nothing is written. Each passage consumes exactly one valid permit. */
static bool on_gate(struct http_transfer *t)
{
    struct worker *w = the_worker;
    struct call *c = call_of(t);
    uint64_t now_ns = worker_now(w);
    if (c->sends > 0 && !c->idempotent) {
        board_add(&w->region->endpoint[c->endpoint->index].resends_stopped, 1);
        return stop(c, CALL_STOP_RESEND);
    }
    if (c->client != NULL && weir_load_relaxed_u32(&c->client->slot[c->slot].cancel) !=
                                 0) { /* relaxed: a request to stop */
        return stop(c, CALL_STOP_CANCEL);
    }
    if (now_ns + c->endpoint->answer_ns >= c->deadline_ns) {
        return stop(
            c,
            CALL_STOP_EXPIRED); /* it would be cut off on its way, and nobody would know what became of it */
    }
    if (!permit_usable(w, c, now_ns)) {
        /* Too old, or curl sends again: the old charge stays, this passage takes its own. A pause refuses here too. */
        weir_hold_unanswered(&w->shared, w->route[c->route].provider, &c->permit);
        permit_over(w, c);
        if (dispatch_permit(w, c) != WEIR_OK) {
            c->permit.state = WEIR_PERMIT_NONE;
            return stop(c, CALL_STOP_PERMIT);
        }
    }
    if (c->sign != NULL && !signer_sign(w, c, weir_clock_realtime_ns())) {
        return stop(c, CALL_STOP_UNSIGNED);
    }
    WEIR_WEAVE("gate:passed");
    c->permit.state = WEIR_PERMIT_SENT; /* consumed: nothing gives it back any more */
    c->own_permit.state = WEIR_PERMIT_SENT;
    c->sends++;
    c->sent_ns = now_ns;
    c->kept.status = 0; /* its room is the next answer's from here on */
    endpoint_sent(c, now_ns);
    c->throttled = false;
    c->head = CALL_HEAD_NONE;
    c->head_bytes = 0;
    c->body_bytes = 0;
    c->first_byte_ns = 0;
    if (c->client != NULL) {
        struct weir_shm_shadow *sh = &c->client->shadow[c->slot];
        sh->sends = c->sends;
        sh->sent_ns = now_ns;
        WEIR_WEAVE("gate:sending");
        weir_store_release_u32(&sh->state, WEIR_SLOT_SENDING); /* pair:shadow R */
        WEIR_WEAVE("gate:shadow_sending");
        weir_store_release_u64(&c->client->slot[c->slot].state,
                               weir_slot_with(c->claimed, WEIR_SLOT_SENDING)); /* pair:slot R */
        WEIR_WEAVE("gate:open");
    }
    board_add(&w->region->endpoint[c->endpoint->index].sent, 1); /* last: behind it curl writes */
    return true;
}

/* ---------------------------------------------------------------------------------------------- the answer */

static bool on_head(struct http_transfer *t, const char *line, size_t bytes)
{
    struct call *c = call_of(t);
    if (c->owed) { /* its first line */
        endpoint_heard(c, worker_now(the_worker));
    }
    return answer_head(the_worker, c, line, bytes) || stop(c, CALL_STOP_LARGE);
}

static size_t on_data(struct http_transfer *t, const char *bytes, size_t cnt)
{
    struct call *c = call_of(t);
    if (!answer_data(the_worker, c, bytes, cnt)) {
        (void)stop(c, CALL_STOP_LARGE);
        return 0;
    }
    return cnt;
}

/* ---------------------------------------------------------------------------------------------- start and end of a transfer */

/* What the end of this attempt says about the endpoint. */
static enum weir_call_class class_of(const struct worker *w, const struct call *c,
                                     const struct http_transfer *t)
{
    if (t->code == CURLE_OK || c->stop == CALL_STOP_LARGE) {
        uint32_t status = t->status;
        return c->throttled    ? (pause_cause_of(status) == WEIR_PAUSE_BANNED ? WEIR_CLASS_BAN
                                                                              : WEIR_CLASS_THROTTLE)
               : status >= 500 ? WEIR_CLASS_SERVER
               : status >= 400 ? WEIR_CLASS_BUSINESS
                               : WEIR_CLASS_OK;
    }
    if (c->stop == CALL_STOP_RESEND) {
        return WEIR_CLASS_TRANSPORT; /* the connection died under it */
    }
    if (c->stop != CALL_STOP_NONE) {
        return WEIR_CLASS_NONE; /* we stopped it */
    }
    /* A caller's short deadline is no fault of the endpoint's: only an answer that is late by its own standards is. */
    bool late = t->code == CURLE_OPERATION_TIMEDOUT || w->now_ns >= c->deadline_ns;
    uint64_t since_ns = c->sent_ns > 0 ? c->sent_ns : c->permitted_ns;
    bool by_far =
        w->now_ns > since_ns && health_is_late(&c->endpoint->health, w->now_ns - since_ns);
    if (c->sent_ns == 0) {
        return late && !by_far ? WEIR_CLASS_NONE : WEIR_CLASS_TRANSPORT;
    }
    return !late ? WEIR_CLASS_TRANSPORT : by_far ? WEIR_CLASS_TIMEOUT : WEIR_CLASS_NONE;
}

/* Nothing reached the exchange: try another endpoint, or say so. */
static void not_sent(struct worker *w, struct call *c)
{
    struct endpoint *e = c->endpoint;
    give_back(w, c);
    board_add(&w->region->endpoint[e->index].failures, 1);
    c->tried |= 1U << e->bit;
    if (w->now_ns < c->deadline_ns && endpoint_other(w, c)) {
        dispatch_again(w, c);
    } else if (!retry_later(w, c, RETRY_UNSENT)) {
        call_end(w, c, w->now_ns >= c->deadline_ns ? WEIR_RESULT_EXPIRED : WEIR_RESULT_NOT_SENT,
                 (int)c->transfer.code);
    }
}

/* The send gate or a cap stopped it. */
static void stopped(struct worker *w, struct call *c)
{
    switch (c->stop) {
    case CALL_STOP_CANCEL:
        give_back(w, c);
        call_end(w, c, WEIR_RESULT_CANCELLED, 0);
        break;
    case CALL_STOP_EXPIRED:
        give_back(w, c);
        call_end(w, c, WEIR_RESULT_EXPIRED, 0);
        break;
    case CALL_STOP_UNSIGNED:
        give_back(w, c);
        call_end(w, c, WEIR_RESULT_NOT_SENT, WEIR_E_SYSTEM);
        break;
    case CALL_STOP_PERMIT:
        c->sent_ns = 0;
        dispatch_again(w, c);
        break;
    case CALL_STOP_LARGE:
        call_end(w, c, WEIR_RESULT_TOO_LARGE, 0);
        break;
    default:
        call_end(w, c, WEIR_RESULT_OUTCOME_UNKNOWN, (int)c->transfer.code);
        break;
    }
}

/* What the end of a call that was sent says about a pause that is over. "Stop" was heard with the head. */
static void tell_hold(struct worker *w, struct call *c, bool answered)
{
    uint32_t provider = w->route[c->route].provider;
    if (answered && !c->throttled) {
        weir_hold_answered(&w->shared, provider, &c->permit);
    } else if (!answered) {
        weir_hold_unanswered(&w->shared, provider, &c->permit);
    }
}

/* It was sent, and its connection died without a whole answer: an idempotent call goes to another endpoint, with a permit of its own. */
static bool goes_elsewhere(struct worker *w, struct call *c)
{
    c->tried |= 1U << c->endpoint->bit;
    if (!c->idempotent || w->now_ns >= c->deadline_ns || !endpoint_other(w, c)) {
        return false;
    }
    call_attempt_over(w, c, WEIR_RESULT_FAILED);
    c->sent_ns = 0;
    dispatch_again(w, c);
    return true;
}

static void on_done(struct http_transfer *t)
{
    struct worker *w = the_worker;
    struct call *c = call_of(t);
    w->now_ns = worker_now(w);
    if (t->code == CURLE_OK) {
        reply_answered(w, c); /* first: its body may say stop */
    }
    endpoint_told(w, c, class_of(w, c, t));
    if (c->sent_ns > 0) {
        tell_hold(w, c, t->code == CURLE_OK || c->stop == CALL_STOP_LARGE);
    }
    if (t->code == CURLE_OK) {
        uint64_t answer_ns = c->first_byte_ns > c->sent_ns ? c->first_byte_ns - c->sent_ns : 0;
        c->endpoint->answer_ns = (7 * c->endpoint->answer_ns + answer_ns / 2) / 8;
        if (!retry_later(w, c, RETRY_ANSWERED)) {
            call_end(w, c, WEIR_RESULT_DONE, 0);
        }
    } else if (c->stop != CALL_STOP_NONE) {
        stopped(w, c);
    } else if (c->sent_ns == 0) { /* this attempt wrote nothing */
        not_sent(w, c);
    } else {
        board_add(&w->region->endpoint[c->endpoint->index].failures, 1);
        /* curl rounds to milliseconds: its own word for "late" counts too. */
        bool is_late = w->now_ns >= c->deadline_ns || t->code == CURLE_OPERATION_TIMEDOUT;
        enum weir_result late = is_late ? WEIR_RESULT_TIMEOUT : WEIR_RESULT_FAILED;
        if (!is_late && (goes_elsewhere(w, c) || retry_later(w, c, RETRY_BROKEN))) {
            return;
        }
        call_end(w, c, c->idempotent ? late : WEIR_RESULT_OUTCOME_UNKNOWN, (int)t->code);
    }
}

/* "name: value" for curl, which wants NUL-terminated lines; both parts were checked for control characters. */
static bool header_add(struct call *c, const struct weir_request_header *h)
{
    char text[1024];
    size_t bytes = (size_t)h->name_bytes + h->value_bytes + 3;
    char *line = bytes <= sizeof text ? text : malloc(bytes);
    if (line == NULL) {
        return false;
    }
    memcpy(line, h->name, h->name_bytes);
    /* curl drops "Name:" with nothing behind it; "Name;" sends it with an empty value. */
    memcpy(line + h->name_bytes, h->value_bytes > 0 ? ": " : "; ", 2);
    size_t at = h->name_bytes + (h->value_bytes > 0 ? 2U : 1U);
    memcpy(line + at, h->value, h->value_bytes);
    line[at + h->value_bytes] = '\0';
    struct curl_slist *list = curl_slist_append(c->headers, line);
    if (line != text) {
        free(line);
    }
    if (list != NULL) {
        c->headers = list;
    }
    return list != NULL;
}

static bool headers_make(struct call *c)
{
    if (c->headers != NULL) {
        return true; /* made for an earlier attempt */
    }
    c->headers = c->parts.body_bytes > 0 ? curl_slist_append(NULL, "Expect:")
                                         : NULL; /* no 100-continue delay */
    for (uint32_t i = 0; i < c->parts.header_cnt; i++) {
        if (!header_add(c, &c->parts.header[i])) {
            return false;
        }
    }
    c->headers_last = c->headers;
    while (c->headers_last != NULL && c->headers_last->next != NULL) {
        c->headers_last = c->headers_last->next;
    }
    return true;
}

/* All lines of a call; NULL: the target's alone. Those that are not its own follow by a link, which call_free takes away. */
static struct curl_slist *headers_all(struct worker *w, struct call *c)
{
    struct curl_slist *more =
        c->sign != NULL ? signer_headers(c) : w->provider[w->route[c->route].provider].headers;
    if (c->headers_last == NULL) {
        return c->sign != NULL ? more : NULL;
    }
    c->headers_last->next = more;
    return c->headers;
}

/* The route's path, with the client's rest and query. Checked text only. */
static char *path_make(const struct worker *w, const struct call *c)
{
    const char *path = w->route[c->route].path;
    size_t fixed = strlen(path);
    if ((w->shared.tables.route[c->route].flags & WEIR_ROUTE_PATH_REST) != 0) {
        fixed--; /* the star */
    }
    char *text = malloc(fixed + c->parts.path_bytes + c->parts.query_bytes + 2);
    if (text == NULL) {
        return NULL;
    }
    size_t n = fixed;
    memcpy(text, path, fixed);
    memcpy(text + n, c->parts.path, c->parts.path_bytes);
    n += c->parts.path_bytes;
    if (c->parts.query_bytes > 0) {
        text[n++] = '?';
        memcpy(text + n, c->parts.query, c->parts.query_bytes);
        n += c->parts.query_bytes;
    }
    text[n] = '\0';
    return text;
}

bool exchange_start(struct worker *w, struct call *c, struct endpoint *e)
{
    char *path = path_make(w, c);
    c->endpoint = e;
    if (path == NULL || !headers_make(c) || !signer_start(w, c) ||
        !hear_reserve(&c->hear, w->route[c->route].hears,
                      w->shared.tables.route[c->route].response_max_bytes)) {
        free(path);
        return false;
    }
    the_worker = w;
    c->stop = CALL_STOP_NONE;
    c->head = CALL_HEAD_NONE;
    c->head_bytes = 0;
    c->body_bytes = 0;
    c->transfer = (struct http_transfer){
        .target = &e->target,
        .method = (enum weir_method)w->shared.tables.route[c->route].method,
        .path_query = path,
        .headers = headers_all(w, c),
        .body = c->parts.body,
        .body_bytes = c->parts.body_bytes,
        .gate = on_gate,
        .head = on_head,
        .data = on_data,
        .done = on_done,
    };
    if (c->sign != NULL) {
        signer_body(c, &c->transfer);
    }
    bool ok = http_start(w->http, &c->transfer);
    free(path);
    if (ok) {
        c->stage = CALL_RUNNING;
        c->due_ns = weir_min_u64(c->deadline_ns, w->now_ns + CONNECT_MAX_NS);
        w->running_due_ns = weir_min_u64(w->running_due_ns, c->due_ns);
        endpoint_took(w, c);
    }
    return ok;
}

/* Running calls whose time is over. curl's own timers would cost two tree nodes a transfer and know only milliseconds. */
void exchange_due(struct worker *w)
{
    if (w->now_ns < w->running_due_ns) {
        worker_due(w, w->running_due_ns);
        return;
    }
    w->running_due_ns = UINT64_MAX;
    for (struct call *c = w->call_first, *next; c != NULL; c = next) {
        next = c->all_next;
        if (c->stage != CALL_RUNNING) {
            continue;
        }
        if (w->now_ns >= c->due_ns && (c->sent_ns == 0 || w->now_ns >= c->deadline_ns)) {
            c->transfer.code = CURLE_OPERATION_TIMEDOUT;
            http_stop(w->http, &c->transfer);
            on_done(&c->transfer);
            next = w->call_first; /* an end may free others: begin again */
            continue;
        }
        c->due_ns = c->sent_ns > 0 ? c->deadline_ns : c->due_ns;
        w->running_due_ns = weir_min_u64(w->running_due_ns, c->due_ns);
    }
    worker_due(w, w->running_due_ns);
}

void exchange_stop(struct worker *w, struct call *c)
{
    http_stop(w->http, &c->transfer);
    endpoint_told(w, c, WEIR_CLASS_NONE);
    give_back(w, c);
}
