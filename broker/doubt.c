#include "broker/doubt.h"

#include "broker/log.h"
#include "broker/retry.h"
#include "broker/settle.h"
#include "shm/weir_atomic.h"
#include "shm/weir_error.h"

#include <stdlib.h>
#include <string.h>

/* Waits between questions double up to this, or to the configured interval. */
#define INTERVAL_MAX_NS (2 * WEIR_NS_PER_S)

static const struct weir_config_doubt *config_of(const struct worker *w, uint32_t route)
{
    const struct weir_config_route *r =
        route < w->region->route_cnt ? w->route[route].config : NULL;
    return r != NULL && r->doubt.id[0] != '\0' ? &r->doubt : NULL;
}

/* The route of the question, in the tables. */
static uint32_t route_of(const struct worker *w, const struct call *c,
                         const struct weir_config_doubt *config)
{
    return w->shared.tables.provider[w->route[c->route].provider].route_first +
           (uint32_t)config->route_idx;
}

static struct weir_shm_route_stats *stats_of(struct worker *w, const struct call *c)
{
    return &w->region->route_stats[c->route];
}

/* Due at `at_ns`, at the latest. */
static void due(struct worker *w, uint64_t at_ns)
{
    w->doubt_due_ns = weir_min_u64(w->doubt_due_ns, at_ns);
    worker_due(w, at_ns);
}

/* ---------------------------------------------------------------------------------------------- before it is sent */

void doubt_admit(struct worker *w, struct call *c)
{
    const struct weir_config_doubt *config = config_of(w, c->route);
    if (config == NULL || c->idempotent) {
        return;
    }
    c->doubt.named = doubt_compose(config, &c->parts, &c->question);
    if (!c->doubt.named) {
        board_add(&stats_of(w, c)->doubts_unnamed, 1);
    }
}

/* An order that any key of a pool may make is asked after, and sent again, with the key that made it: nobody else knows it. From whichever address. */
static uint64_t scope_of_maker(const struct call *c)
{
    const uint64_t address = UINT64_C(0xffff) << (16 * WEIR_SCOPE_IP);
    return (c->scope & ~address) | (c->request.scope & address);
}

void doubt_sending(struct worker *w, struct call *c)
{
    const struct weir_config_doubt *config = config_of(w, c->route);
    c->doubt.resent = c->doubt.resent || c->doubt.may_resend;
    c->doubt.may_resend = false;
    c->doubt.absent = false;
    if (config == NULL) {
        return;
    }
    const struct doubt_question *q = &c->question;
    struct weir_shm_doubt *row = &c->client->doubt[c->slot];
    row->named = c->doubt.named;
    row->generation = c->client->shadow[c->slot].generation;
    if (!c->doubt.named) {
        return;
    }
    row->route = route_of(w, c, config);
    row->priority = c->priority;
    row->scope = scope_of_maker(c);
    row->resent = c->doubt.resent;
    row->path_bytes = q->path_bytes;
    row->query_bytes = q->query_bytes;
    row->body_bytes = q->body_bytes;
    memcpy(row->id, q->id, sizeof row->id);
    memcpy(row->text, q->text, sizeof row->text);
}

void doubt_unsent(struct call *c, bool resend)
{
    if (resend) { /* in the ledger it stays the second sending: a successor sends nothing either way */
        c->doubt.may_resend = true;
        c->doubt.resent = false;
        c->doubt.absent = true;
    }
}

/* ---------------------------------------------------------------------------------------------- in doubt */

bool doubt_begin(struct worker *w, struct call *c, int error)
{
    const struct weir_config_doubt *config = config_of(w, c->route);
    if (config == NULL || c->client == NULL || !c->doubt.named) {
        return false;
    }
    call_attempt_over(w, c, WEIR_RESULT_FAILED);
    c->request.scope = scope_of_maker(c);
    if (c->doubt.state == WEIR_DOUBT_NONE) {
        board_add(&stats_of(w, c)->doubts, 1);
    }
    c->doubt.state = WEIR_DOUBT_UNKNOWN;
    c->doubt.verdict = DOUBT_NOTHING;
    c->doubt.error = error;
    c->doubt.since_ns = w->now_ns;
    /* A worker that stood still, or died and came late, asks for as long as another would have. */
    c->doubt.limit_ns = weir_max_u64(c->deadline_ns, w->now_ns) + config->patience_ns;
    c->doubt.wait_ns = config->interval_ns;
    c->stage = CALL_DOUBT;
    c->due_ns = w->now_ns;
    due(w, c->due_ns);
    return true;
}

bool doubt_answered(struct worker *w, struct call *c)
{
    const struct weir_config_doubt *config = config_of(w, c->route);
    if (config == NULL || !c->doubt.named) {
        return false;
    }
    bool open = doubt_is_unsure(config, c->transfer.status);
    if (c->doubt.resent) {
        const struct settle_answer answer = {.status = c->transfer.status,
                                             .body = hear_body_at(&c->hear),
                                             .body_bytes = c->hear.body_bytes};
        open = open || !settle_success(&w->route[c->route].config->settle, &answer);
    }
    if (!open) {
        return false;
    }
    call_attempt_over(w, c, WEIR_RESULT_DONE);
    call_answer_keep(c);
    return doubt_begin(w, c, 0);
}

bool doubt_recover(struct worker *w, struct call *c)
{
    const struct weir_shm_shadow *sh = &c->client->shadow[c->slot];
    const struct weir_shm_doubt *row = &c->client->doubt[c->slot];
    const struct weir_config_doubt *config = config_of(w, sh->route);
    if (config == NULL || sh->idempotent != 0 || row->named == 0 ||
        row->generation != sh->generation || row->route != route_of(w, c, config)) {
        return false;
    }
    c->request.scope = row->scope;
    c->scope = row->scope;
    c->priority = row->priority;
    c->deadline_ns = sh->deadline_ns;
    c->room_off_bytes = sh->pool_off_bytes;
    c->room_bytes = sh->pool_bytes;
    c->room = c->client->response + sh->pool_off_bytes;
    c->question = (struct doubt_question){.path_bytes = row->path_bytes,
                                          .query_bytes = row->query_bytes,
                                          .body_bytes = row->body_bytes};
    memcpy(c->question.id, row->id, sizeof row->id);
    memcpy(c->question.text, row->text, sizeof row->text);
    c->doubt.named = true;
    c->doubt.resent = row->resent != 0;
    c->doubt.recovered = true;
    return true;
}

void doubt_forget(struct call *c)
{
    if (c->doubt.asked != NULL) {
        c->doubt.asked->doubt.asks = NULL;
        c->doubt.asked = NULL;
    }
}

/* ---------------------------------------------------------------------------------------------- the question */

/* Into the call's room, where its client can write: nothing is read there afterwards. */
static void answer_take(struct call *c, const struct call *q)
{
    size_t bytes = (size_t)q->head_bytes + q->body_bytes;
    c->doubt.fits = bytes <= c->room_bytes;
    if (c->doubt.fits) {
        memcpy(c->room, q->room, bytes);
        c->head_bytes = q->head_bytes;
        c->body_bytes = q->body_bytes;
    }
    c->transfer.status = q->transfer.status;
    c->endpoint = q->endpoint;
    c->first_byte_ns = q->first_byte_ns;
}

static void on_asked(struct worker *w, struct call *q, enum weir_result result)
{
    struct call *c = q->doubt.asks;
    if (c == NULL) {
        return; /* it has ended meanwhile: the worker leaves */
    }
    const struct weir_config_doubt *config = config_of(w, c->route);
    enum doubt_verdict says = result == WEIR_RESULT_DONE
                                  ? doubt_read(config, c->question.id, q->transfer.status,
                                               q->room + q->head_bytes, q->body_bytes)
                                  : DOUBT_NOTHING;
    if (q->throttled && says == DOUBT_ABSENT) {
        says =
            DOUBT_NOTHING; /* who says stop has not looked; but an order that it shows is there */
    }
    uint64_t settled_ns = c->doubt.since_ns + config->settled_after_ns;
    q->doubt.asks = NULL;
    c->doubt.asked = NULL;
    /* No wait outlasts the patience: it ends then, not at the next question. */
    c->due_ns = weir_min_u64(w->now_ns + c->doubt.wait_ns, c->doubt.limit_ns);
    c->doubt.wait_ns =
        weir_max_u64(config->interval_ns, weir_min_u64(2 * c->doubt.wait_ns, INTERVAL_MAX_NS));
    if (says == DOUBT_ABSENT && q->sent_ns < settled_ns) {
        says = DOUBT_NOTHING;
        c->due_ns = settled_ns > w->now_ns ? weir_min_u64(c->due_ns, settled_ns) : w->now_ns;
    }
    c->doubt.verdict = says;
    if (says == DOUBT_FOUND) {
        answer_take(c, q);
    }
    c->due_ns = says == DOUBT_NOTHING ? c->due_ns : w->now_ns;
    due(w, c->due_ns);
}

/* Ask once. It takes a permit like every call, and may wait for it. */
static void ask(struct worker *w, struct call *c)
{
    const struct weir_config_doubt *config = config_of(w, c->route);
    uint32_t route = route_of(w, c, config);
    const struct weir_shm_route_row *row = &w->shared.tables.route[route];
    uint32_t room_bytes = row->response_max_bytes + CALL_HEAD_MAX_BYTES;
    char *room = malloc(room_bytes);
    struct call *q = room != NULL ? call_make(w) : NULL;
    if (q == NULL) {
        free(room);
        c->due_ns = weir_min_u64(w->now_ns + c->doubt.wait_ns, c->doubt.limit_ns);
        return;
    }
    q->route = route;
    q->room = room;
    q->room_bytes = room_bytes;
    q->priority = c->priority;
    q->idempotent = true;
    q->request.scope = c->request.scope;
    q->request.submitted_ns = w->now_ns;
    q->taken_ns = w->now_ns;
    q->deadline_ns = weir_min_u64(c->doubt.limit_ns, w->now_ns + row->timeout_ns);
    q->question = c->question; /* its own: it may outlive the call */
    q->parts.path = q->question.text;
    q->parts.path_bytes = q->question.path_bytes;
    q->parts.query = q->parts.path + q->parts.path_bytes;
    q->parts.query_bytes = q->question.query_bytes;
    q->parts.body = q->parts.query + q->parts.query_bytes;
    q->parts.body_bytes = q->question.body_bytes;
    q->internal_done = on_asked;
    q->doubt.asks = c;
    c->doubt.asked = q;
    c->due_ns = c->doubt.limit_ns;
    board_add(&stats_of(w, c)->doubts_asked, 1);
    board_add(&w->region->route_stats[route].calls, 1);
    dispatch_enter(w, q);
}

/* ---------------------------------------------------------------------------------------------- what follows */

/* warn: where somebody may want to look at the account. */
static void settled_log(struct worker *w, const struct call *c, enum weir_doubt state)
{
    const char *route = w->shared.tables.route[c->route].name;
    long long correlation = (long long)c->request.correlation;
    long long after_ms = (long long)((w->now_ns - c->doubt.since_ns) / WEIR_NS_PER_MS);
    if (state == WEIR_DOUBT_UNKNOWN || state == WEIR_DOUBT_RESENT) {
        log_warn("doubt_settled", "s:I, s:s, s:s, s:I, s:b", "correlation", correlation, "route",
                 route, "doubt", weir_doubt_name(state), "after_ms", after_ms, "recovered",
                 (int)c->doubt.recovered);
    } else {
        log_info("doubt_settled", "s:I, s:s, s:s, s:I, s:b", "correlation", correlation, "route",
                 route, "doubt", weir_doubt_name(state), "after_ms", after_ms, "recovered",
                 (int)c->doubt.recovered);
    }
}

static void end(struct worker *w, struct call *c, enum weir_doubt state, enum weir_result result)
{
    c->doubt.state = state;
    settled_log(w, c, state);
    call_end(w, c, result, result == WEIR_RESULT_OUTCOME_UNKNOWN ? c->doubt.error : 0);
}

static bool may_send_again(const struct worker *w, const struct call *c)
{
    const struct weir_config_doubt *config = config_of(w, c->route);
    uint64_t answer_ns = c->endpoint != NULL ? c->endpoint->answer_ns : 0;
    return config->resend == WEIR_CONFIG_DOUBT_RESEND && !c->doubt.resent && !c->doubt.recovered &&
           !c->client->gone && !w->draining && w->now_ns + answer_ns < c->deadline_ns &&
           weir_load_relaxed_u32(&c->client->slot[c->slot].cancel) ==
               0; /* relaxed: a request to stop (pair:cancel A) */
}

/* The exchange has it not, and will not. */
static void absent(struct worker *w, struct call *c)
{
    c->doubt.absent = true;
    if (may_send_again(w, c)) {
        settled_log(w, c, WEIR_DOUBT_RESENT);
        board_add(&stats_of(w, c)->doubts_resent, 1);
        c->doubt.state = WEIR_DOUBT_RESENT;
        c->doubt.may_resend = true;
        c->kept.status = 0;
        c->sent_ns = 0;
        c->writes = 0;
        c->tried = tried_none();
        dispatch_again(w, c);
        return;
    }
    if (c->doubt.resent && c->kept.status != 0) {
        end(w, c, WEIR_DOUBT_RESENT, WEIR_RESULT_DONE); /* the exchange refused the second one */
        return;
    }
    c->kept.status = 0;
    end(w, c, WEIR_DOUBT_ABSENT, WEIR_RESULT_ABSENT);
}

/* Returns whether the call has left the list, or others may have. */
static bool look(struct worker *w, struct call *c)
{
    if (c->doubt.verdict == DOUBT_FOUND) {
        c->kept.status = 0;
        end(w, c, WEIR_DOUBT_FOUND, c->doubt.fits ? WEIR_RESULT_DONE : WEIR_RESULT_TOO_LARGE);
        return true;
    }
    if (c->doubt.verdict == DOUBT_ABSENT) {
        absent(w, c);
        return true;
    }
    if (w->now_ns >= c->doubt.limit_ns && c->doubt.asked == NULL) {
        end(w, c, WEIR_DOUBT_UNKNOWN, WEIR_RESULT_OUTCOME_UNKNOWN);
        return true;
    }
    if (w->now_ns >= c->due_ns && c->doubt.asked == NULL) {
        ask(w, c);
    }
    return false;
}

void doubt_turn(struct worker *w)
{
    if (w->now_ns < w->doubt_due_ns) {
        worker_due(w, w->doubt_due_ns);
        return;
    }
    w->doubt_due_ns = UINT64_MAX;
    for (struct call *c = w->call_first, *next; c != NULL; c = next) {
        next = c->all_next;
        if (c->stage != CALL_DOUBT) {
            continue;
        }
        if (look(w, c)) {
            next = w->call_first; /* an end may free others: begin again */
            w->doubt_due_ns = UINT64_MAX;
        } else if (c->doubt.asked == NULL) {
            w->doubt_due_ns = weir_min_u64(w->doubt_due_ns, c->due_ns);
        }
    }
    worker_due(w, w->doubt_due_ns);
}
