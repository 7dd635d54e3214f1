#include "broker/doubt.h"
#include "broker/egress.h"
#include "broker/pause.h"
#include "broker/sign_in.h"
#include "broker/signer.h"
#include "broker/worker.h"
#include "shm/weir_atomic.h"
#include "shm/weir_clock.h"
#include "shm/weir_error.h"
#include "shm/weir_weave.h"

#include <stdlib.h>

/* A connection that does not stand after so long counts as failed. Where another endpoint is in good state patience ends sooner (health_connect_ns). */
#define CONNECT_MAX_NS (3 * WEIR_NS_PER_S)
/* Looks at those that wait for one come together, so that thousands of them cost some looks and not one each. */
#define CONNECT_LOOK_NS (8 * WEIR_NS_PER_MS)

/*
 * How often one attempt may be written. curl 7.88 writes a call again by itself where a connection that it used before turns out dead, which is good once, and where its stream was refused
 * (HTTP/2), which a server can do for ever. Other endpoints, and retries, are attempts of their own.
 */
#define ATTEMPT_WRITES_MAX 2U

/* curl's callbacks carry only the transfer; there is one worker per process. */
static struct worker *the_worker;

static struct call *call_of(struct http_transfer *t)
{
    return (struct call *)(void *)((char *)t - offsetof(struct call, transfer));
}

/* ---------------------------------------------------------------------------------------------- the send gate */

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
    if (c->sends > 0 && !c->idempotent && !c->may_renew && !doubt_may_resend(c)) {
        board_add(&w->region->endpoint[c->endpoint->index].resends_stopped, 1);
        return stop(c, CALL_STOP_RESEND);
    }
    if (c->writes >= ATTEMPT_WRITES_MAX) {
        board_add(&w->region->endpoint[c->endpoint->index].resends_stopped, 1);
        return stop(c, CALL_STOP_RESEND);
    }
    if (now_ns < c->deadline_ns && c->client != NULL &&
        weir_load_relaxed_u32(&c->client->slot[c->slot].cancel) !=
            0) { /* relaxed: a request to stop; behind its deadline a call ends by that name */
        return stop(c, CALL_STOP_CANCEL);
    }
    if (now_ns + c->endpoint->answer_ns >= c->deadline_ns) {
        return stop(
            c,
            CALL_STOP_EXPIRED); /* it would be cut off on its way, and nobody would know what became of it */
    }
    if (!permit_usable(w, c, now_ns)) {
        /* Too old: nothing was written for it, so it goes back. Or curl sends again: that charge stays. This passage takes its own; a pause refuses here too. */
        weir_hold_unanswered(&w->shared, w->route[c->route].provider, &c->permit);
        call_give_back(w, c);
        call_permit_over(w, c);
        if (dispatch_permit(w, c) != WEIR_OK) {
            c->permit.state = WEIR_PERMIT_NONE;
            return stop(c, CALL_STOP_PERMIT);
        }
    }
    bool waits;
    if (c->sign != NULL && !signer_sign(w, c, weir_clock_realtime_ns(), &waits)) {
        return stop(c, waits ? CALL_STOP_SIGN_IN : CALL_STOP_UNSIGNED);
    }
    if (c->session != NULL) {
        sign_in_sent(w, c);
    }
    c->gate_found = (struct gate_found){.kept_status = c->kept.status,
                                        .throttled = c->throttled,
                                        .may_renew = c->may_renew,
                                        .may_resend = c->doubt.may_resend};
    c->may_renew = false;
    WEIR_WEAVE("gate:passed");
    c->permit.state = WEIR_PERMIT_SENT; /* consumed: nothing gives it back any more */
    c->own_permit.state = WEIR_PERMIT_SENT;
    c->sends++;
    c->writes++;
    c->sent_ns = now_ns;
    c->kept.status = 0; /* its room is the next answer's from here on */
    endpoint_sent(c, now_ns);
    c->throttled = false;
    c->head = CALL_HEAD_NONE;
    c->head_bytes = 0;
    c->body_bytes = 0;
    c->first_byte_ns = 0;
    if (c->client != NULL && c->hedge_of == NULL) {
        struct weir_shm_shadow *sh = &c->client->shadow[c->slot];
        sh->sends = c->sends;
        sh->sent_ns = now_ns;
        sh->member = c->member;
        sh->on_wire = c->hedge != NULL && c->hedge->sends > 0 ? 2 : 1;
        doubt_sending(w, c);
        WEIR_WEAVE("gate:sending");
        weir_store_release_u32(&sh->state, WEIR_SLOT_SENDING); /* pair:shadow R */
        WEIR_WEAVE("gate:shadow_sending");
        weir_store_release_u64(&c->client->slot[c->slot].state,
                               weir_slot_with(c->claimed, WEIR_SLOT_SENDING)); /* pair:slot R */
        WEIR_WEAVE("gate:open");
    }
    hedge_sent(w, c);
    board_add(&w->region->endpoint[c->endpoint->index].sent, 1); /* last: behind it curl writes */
    return true;
}

/* When to look at a call whose connection does not stand yet. */
static uint64_t connect_due_ns(const struct worker *w, const struct call *c, uint64_t now_ns)
{
    bool alone = c->pin != NULL || w->provider[c->endpoint->provider].endpoint_cnt < 2;
    uint64_t due_ns = now_ns + (alone ? CONNECT_MAX_NS : health_connect_ns(&c->endpoint->health));
    return weir_min_u64(c->deadline_ns, (due_ns / CONNECT_LOOK_NS + 1) * CONNECT_LOOK_NS);
}

/*
 * It passed the gate, and its connection was dead: nothing was written. Its permit stays charged, which errs against the user; all else is as before the gate, so an order may go on. In
 * the ledger it stays SENDING: whoever takes over asks, and does not send. A hedge is one of two, and idempotent: it may be counted as sent.
 */
static void on_unsent(struct http_transfer *t)
{
    struct worker *w = the_worker;
    struct call *c = call_of(t);
    if (c->hedge_of != NULL || c->sent_ns == 0 || c->sends == 0) {
        return;
    }
    weir_hold_unanswered(&w->shared, w->route[c->route].provider, &c->permit);
    call_attempt_over(w, c, WEIR_RESULT_FAILED);
    c->sends--;
    c->writes--;
    c->sent_ns = 0;
    c->kept.status = c->gate_found.kept_status;
    c->throttled = c->gate_found.throttled;
    c->may_renew = c->gate_found.may_renew;
    doubt_unsent(c, c->gate_found.may_resend);
    hedge_over(w, c);
    endpoint_unsent(c);
    c->due_ns = connect_due_ns(w, c, worker_now(w));
    w->running_due_ns = weir_min_u64(w->running_due_ns, c->due_ns);
    worker_due(w, c->due_ns);
}

/* ---------------------------------------------------------------------------------------------- the answer */

static bool on_head(struct http_transfer *t, const char *line, size_t bytes)
{
    struct call *c = call_of(t);
    if (c->owed) { /* its first line */
        endpoint_heard(c, worker_now(the_worker));
        hedge_heard(the_worker, c);
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
    if (t->code == CURLE_OK && endpoint_still_ill(c)) {
        return WEIR_CLASS_NONE;
    }
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
    if (c->stop != CALL_STOP_NONE || (t->code == CURLE_OUT_OF_MEMORY && c->sent_ns == 0)) {
        return WEIR_CLASS_NONE; /* we stopped it, or had no memory for it */
    }
    /* A caller's short deadline is no fault of the endpoint's: only an answer that is late by its own standards is. */
    bool late = t->code == CURLE_OPERATION_TIMEDOUT || w->now_ns >= c->deadline_ns;
    uint64_t since_ns = c->sent_ns > 0 ? c->sent_ns : c->permitted_ns;
    bool by_far =
        w->now_ns > since_ns && health_is_late(&c->endpoint->health, w->now_ns - since_ns);
    if (c->sent_ns == 0) {
        bool no_way =
            w->now_ns > since_ns && w->now_ns - since_ns >= health_connect_ns(&c->endpoint->health);
        return late && !by_far && !no_way ? WEIR_CLASS_NONE : WEIR_CLASS_TRANSPORT;
    }
    return !late ? WEIR_CLASS_TRANSPORT : by_far ? WEIR_CLASS_TIMEOUT : WEIR_CLASS_NONE;
}

/* Nothing reached the exchange: try another endpoint, or say so. */
static void not_sent(struct worker *w, struct call *c)
{
    struct endpoint *e = c->endpoint;
    call_give_back(w, c);
    if (c->transfer.code == CURLE_OUT_OF_MEMORY && w->now_ns < c->deadline_ns &&
        calls_reserve_use(w)) {
        dispatch_again(w, c);
        return;
    }
    board_add(&w->region->endpoint[e->index].failures, 1);
    tried_add(&c->tried, e->bit);
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
        call_give_back(w, c);
        call_end(w, c, WEIR_RESULT_CANCELLED, 0);
        break;
    case CALL_STOP_EXPIRED:
        call_give_back(w, c);
        call_end(w, c, WEIR_RESULT_EXPIRED, 0);
        break;
    case CALL_STOP_UNSIGNED:
        call_give_back(w, c);
        call_end(w, c, WEIR_RESULT_NOT_SENT, WEIR_E_SYSTEM);
        break;
    case CALL_STOP_SIGN_IN:
        call_give_back(w, c);
        c->sent_ns = 0;
        dispatch_again(w, c);
        break;
    case CALL_STOP_PERMIT:
        c->sent_ns = 0;
        dispatch_again(w, c);
        break;
    case CALL_STOP_LARGE:
        call_end(w, c, WEIR_RESULT_TOO_LARGE, 0);
        break;
    default:
        if (!doubt_begin(w, c, (int)c->transfer.code)) {
            call_end(w, c, WEIR_RESULT_OUTCOME_UNKNOWN, (int)c->transfer.code);
        }
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
    tried_add(&c->tried, c->endpoint->bit);
    if (!c->idempotent || w->now_ns >= c->deadline_ns || !endpoint_other(w, c)) {
        return false;
    }
    call_attempt_over(w, c, WEIR_RESULT_FAILED);
    c->sent_ns = 0;
    c->writes = 0;
    dispatch_again(w, c);
    return true;
}

/* An attempt is over, and with it what weir has of the call: try on, or end it. */
static void conclude(struct worker *w, struct call *c)
{
    CURLcode code = c->transfer.code;
    if (code == CURLE_OK) {
        if (!sign_in_again(w, c) && !doubt_answered(w, c) && !retry_later(w, c, RETRY_ANSWERED)) {
            call_end(w, c, WEIR_RESULT_DONE, 0);
        }
    } else if (c->stop != CALL_STOP_NONE && !(c->stop == CALL_STOP_RESEND && c->idempotent)) {
        stopped(w, c);
    } else if (c->sent_ns == 0) { /* this attempt wrote nothing */
        not_sent(w, c);
    } else {
        board_add(&w->region->endpoint[c->endpoint->index].failures, 1);
        /* curl rounds to milliseconds: its own word for "late" counts too. */
        bool is_late = w->now_ns >= c->deadline_ns || code == CURLE_OPERATION_TIMEDOUT;
        enum weir_result late = is_late ? WEIR_RESULT_TIMEOUT : WEIR_RESULT_FAILED;
        if (!is_late && (goes_elsewhere(w, c) || retry_later(w, c, RETRY_BROKEN))) {
            return;
        }
        if (doubt_begin(w, c, (int)code)) {
            return;
        }
        call_end(w, c, c->idempotent ? late : WEIR_RESULT_OUTCOME_UNKNOWN, (int)code);
    }
}

static void on_done(struct http_transfer *t)
{
    struct worker *w = the_worker;
    struct call *c = call_of(t);
    w->now_ns = worker_now(w);
    if (t->code == CURLE_OUT_OF_MEMORY && c->stop == CALL_STOP_NONE && c->head == CALL_HEAD_FINAL) {
        c->stop = CALL_STOP_LARGE; /* curl's word for a line of the head above its own bound */
    }
    if (t->code == CURLE_OK) {
        reply_answered(w, c); /* first: its body may say stop */
        uint64_t answer_ns = c->first_byte_ns > c->sent_ns ? c->first_byte_ns - c->sent_ns : 0;
        c->endpoint->answer_ns = (7 * c->endpoint->answer_ns + answer_ns / 2) / 8;
    }
    if (t->connected && c->sent_ns > c->permitted_ns) {
        health_connected(&c->endpoint->health, c->sent_ns - c->permitted_ns, w->now_ns);
    }
    hedge_over(w, c);
    endpoint_told(w, c, class_of(w, c, t));
    if (c->sent_ns > 0) {
        tell_hold(w, c, t->code == CURLE_OK || c->stop == CALL_STOP_LARGE);
    }
    if (!hedge_ended(w, &c)) {
        conclude(w, c);
    }
}

bool exchange_start(struct worker *w, struct call *c, struct endpoint *e)
{
    char *path = request_path_make(w, c);
    c->endpoint = e;
    if (path == NULL || !request_headers_make(c) || !signer_start(w, c) ||
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
        .source = c->from != NULL ? c->from->text : NULL,
        .method = (enum weir_method)w->shared.tables.route[c->route].method,
        .path_query = path,
        .headers = request_headers_all(w, c),
        .body = c->parts.body,
        .body_bytes = c->parts.body_bytes,
        .gate = on_gate,
        .head = on_head,
        .data = on_data,
        .unsent = on_unsent,
        .done = on_done,
    };
    if (c->sign != NULL) {
        signer_body(c, &c->transfer);
    }
    bool ok = http_start(w->http, &c->transfer);
    free(path);
    if (ok) {
        c->stage = CALL_RUNNING;
        c->due_ns = connect_due_ns(w, c, w->now_ns);
        w->running_due_ns = weir_min_u64(w->running_due_ns, c->due_ns);
        endpoint_took(w, c);
    }
    return ok;
}

/* It has no connection yet: is it worth while to wait on? Then until `due_ns`. */
static bool connects_on(struct worker *w, struct call *c)
{
    uint64_t end_ns = weir_min_u64(c->deadline_ns, c->permitted_ns + CONNECT_MAX_NS);
    if (w->now_ns >= end_ns || endpoint_sound(w, c)) {
        return false;
    }
    c->due_ns =
        weir_min_u64(end_ns, connect_due_ns(w, c, w->now_ns)); /* others may be better then */
    return true;
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
        if (w->now_ns >= c->due_ns &&
            (c->sent_ns == 0 ? !connects_on(w, c) : w->now_ns >= c->deadline_ns)) {
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
    bool silent = c->sent_ns != 0 && c->first_byte_ns == 0;
    uint64_t now_ns = worker_now(w);
    bool late =
        silent && now_ns > c->sent_ns && health_is_late(&c->endpoint->health, now_ns - c->sent_ns);
    http_stop(w->http, &c->transfer);
    hedge_over(w, c);
    endpoint_told(w, c, late ? WEIR_CLASS_TIMEOUT : WEIR_CLASS_NONE);
    call_give_back(w, c);
    if (c->permit.state == WEIR_PERMIT_SENT) {
        weir_hold_unanswered(&w->shared, w->route[c->route].provider, &c->permit);
        call_attempt_over(w, c, WEIR_RESULT_FAILED);
    }
}
