#include "broker/doubt.h"
#include "broker/late.h"
#include "broker/log.h"
#include "broker/pair.h"
#include "broker/settle.h"
#include "broker/signer.h"
#include "broker/worker.h"
#include "shm/weir_atomic.h"
#include "shm/weir_error.h"
#include "shm/weir_weave.h"

#include <stdlib.h>

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
        .member = c->sends > 0 && c->source <= WEIR_SOURCE_LIVE ? c->member : 0,
        .age_ns = whole ? c->age_ns : 0,
        .doubt = (uint16_t)(result == WEIR_RESULT_ABSENT ? WEIR_DOUBT_ABSENT : c->doubt.state),
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
        hedge_paid(w, c);
    }
    struct weir_shm_route_stats *r = &w->region->route_stats[c->route];
    if (result == WEIR_RESULT_ABSENT) {
        board_add(&r->doubts_absent, 1);
    } else {
        board_add(&r->results[result < WEIR_ARRAY_CNT(r->results) ? result : 0], 1);
        board_add(c->doubt.state == WEIR_DOUBT_FOUND ? &r->doubts_found : &r->doubts_unknown,
                  c->doubt.state == WEIR_DOUBT_FOUND || c->doubt.state == WEIR_DOUBT_UNKNOWN);
    }
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

void call_free(struct worker *w, struct call *c)
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
    if (c->client == NULL || c->hedge_of != NULL) {
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
        return c->doubt.absent ? WEIR_RESULT_ABSENT : WEIR_RESULT_OUTCOME_UNKNOWN;
    }
    if (result == WEIR_RESULT_CANCELLED) {
        return result; /* it promises nothing: `sends` says whether it left */
    }
    return result == WEIR_RESULT_EXPIRED || result == WEIR_RESULT_REFUSED ? WEIR_RESULT_TIMEOUT
                                                                          : WEIR_RESULT_FAILED;
}

void call_give_back(struct worker *w, struct call *c)
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

/* The permit was used, or is too old to be: its charges stay, units in flight are let go. */
void call_permit_over(struct worker *w, struct call *c)
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
        call_permit_over(w, c);
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
    if (answer_is_dark(w, c, result)) {
        counted = NULL; /* as it was charged, and moved on so if it was late */
        (void)weir_permit_end(&w->own, &c->own_permit, counted);
        (void)weir_permit_end(&w->shared, &c->permit, counted);
    } else {
        if (counted != NULL) {
            pair_open_permit(w, &c->own_permit, counted);
        }
        (void)weir_permit_answered(&w->own, &c->own_permit, success, counted);
        (void)weir_permit_answered(&w->shared, &c->permit, success, counted);
        pair_close(w);
    }
    late_end(w, c, counted);
    trial_answered(w, c, success);
}

void call_attempt_over(struct worker *w, struct call *c, enum weir_result result)
{
    permit_settle(w, c, result);
    c->permit.state = WEIR_PERMIT_NONE;
    c->own_permit.state = WEIR_PERMIT_NONE;
}

void call_answer_keep(struct call *c)
{
    c->kept = (struct kept_answer){.status = c->transfer.status,
                                   .head_bytes = c->head_bytes,
                                   .body_bytes = c->body_bytes,
                                   .endpoint = c->endpoint,
                                   .member = c->member,
                                   .sent_ns = c->sent_ns,
                                   .first_byte_ns = c->first_byte_ns};
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
    c->member = c->kept.member;
    c->sent_ns = c->kept.sent_ns;
    c->first_byte_ns = c->kept.first_byte_ns;
    return true;
}

void call_end(struct worker *w, struct call *c, enum weir_result result, int error)
{
    struct client *cl = c->client;
    hedge_drop(w, c);
    hedge_over(w, c);
    doubt_forget(c);
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
    deliver_done(w, cl, c->slot, c->claimed);
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
