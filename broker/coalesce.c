/*
 * coalesce.c: what calls have of kept answers (cache.h): given at once, given stale, or made once for many.
 *
 * A call of a route with `cache` has a key. When it is ready to be queued:
 *
 *   a fresh answer is kept                      it ends with that                                             source CACHE
 *   one within `revalidate` of its fresh end    it ends with that; a call of the worker's own fetches anew    STALE
 *   a call of its key is in flight              it waits for that one's end (CALL_FOLLOW)                     CACHE
 *   a batch may bring it (batch.h)              it waits for that                                              CACHE
 *   else                                        it is made, and others may wait for it                        LIVE
 *
 * An answer of an earlier broker (last_good.h) is never fresh and never fetched anew for anybody: it stands where a stale one may stand, as DISK.
 *
 * and while it is queued: an answer that came meanwhile ends it before it takes a permit; where no permit is to be had now, or its queue was refused at the
 * last look, a stale answer ends it at once rather than at its deadline.
 *
 * How who waits ends, once and by its own deadline, is decided by how the call that it waits for ends:
 *
 *   an answer, of any status      the same answer as it came, unless its head forbids to share it: then each makes its own
 *   FAILED, NOT_SENT, TOO_LARGE   the same, for GET and HEAD: who asks again at once meets the same fault. Else its own attempt
 *   anything else                 its own attempt: a deadline, a cancel, a refusal are of one caller. The first of them is made, the others wait for it
 *   (failed, or ended by a stale answer)   a stale answer, where there is one, before all of that
 *
 * What holds the first one up must hold up who waits for it, too, or it is made itself, and the other one finds its answer (follow.c): where the first one is queued in a lower class; was
 * refused by a count, a pause or a share that is not the other's; will be tried again only behind the other's deadline; or owes its answer to an endpoint that went silent, and another one is well. And
 * where the first one had no time for another attempt, who has more makes its own. Who waits holds no permit and was not sent, so a worker's death leaves it CLAIMED: the next worker takes it as if nothing
 * had happened. Every way out is call_end.
 *
 * Retries (retry.h) come first: who waits, waits for the last attempt, and an answer that comes meanwhile ends the next one before it is made.
 * Stale instead of an error: REFUSED, EXPIRED, NOT_SENT, FAILED, TIMEOUT, and answers of 5xx or that say stop. The permit is settled by what truly happened.
 */
#include "broker/batch.h"
#include "broker/cache.h"
#include "broker/settle.h"
#include "shm/weir_atomic.h"
#include "shm/weir_weave.h"

#include <stdlib.h>
#include <string.h>

/* Those who are given a stale answer have it fetched anew, but not more often than this: an exchange that fails is not asked by each of them. */
#define REFRESH_AGAIN_NS (100 * WEIR_NS_PER_MS)

static struct weir_shm_cache_route *row_of(struct worker *w, const struct call *c)
{
    return &w->region->cache_route[c->route];
}

/* ---------------------------------------------------------------------------------------------- calls in flight, by key */

static struct call **flight_bucket(struct worker *w, const struct weir_cache_key *key)
{
    return &w->cache->flight[key->word[0] % CACHE_FLIGHTS];
}

static bool same_key(const struct call *c, const struct weir_cache_key *key)
{
    return c->key.word[0] == key->word[0] && c->key.word[1] == key->word[1];
}

static struct call *flight_find(struct worker *w, const struct weir_cache_key *key)
{
    struct call *c = *flight_bucket(w, key);
    while (c != NULL && !same_key(c, key)) {
        c = c->flight_next;
    }
    return c;
}

static void flight_remove(struct worker *w, struct call *c)
{
    struct call **at = flight_bucket(w, &c->key);
    while (*at != NULL && *at != c) {
        at = &(*at)->flight_next;
    }
    if (*at == c) {
        *at = c->flight_next;
    }
    c->flight_next = NULL;
    c->leads = false;
}

/* `c` is the one that others of its key wait for; who was it before keeps those who wait already. */
static void flight_add(struct worker *w, struct call *c)
{
    struct call *before = flight_find(w, &c->key);
    if (before != NULL) {
        flight_remove(w, before);
    }
    struct call **at = flight_bucket(w, &c->key);
    c->flight_next = *at;
    c->leads = true;
    *at = c;
}

void cache_follow(struct worker *w, struct call *lead, struct call *c)
{
    WEIR_WEAVE("flight:follow");
    c->stage = CALL_FOLLOW;
    c->lead = lead;
    c->next = NULL;
    if (lead->follow_first == NULL) {
        lead->follow_first = c;
    } else {
        lead->follow_last->next = c;
    }
    lead->follow_last = c;
    w->cache->follow_due_ns = weir_min_u64(w->cache->follow_due_ns, follow_look_ns(w, c));
    worker_due(w, w->cache->follow_due_ns);
}

static void unfollow(struct call *c)
{
    struct call *lead = c->lead;
    struct call *before = NULL;
    for (struct call *k = lead->follow_first; k != NULL && k != c; k = k->next) {
        before = k;
    }
    if (before == NULL) {
        lead->follow_first = c->next;
    } else {
        before->next = c->next;
    }
    if (lead->follow_last == c) {
        lead->follow_last = before;
    }
    c->next = NULL;
    c->lead = NULL;
}

/* ---------------------------------------------------------------------------------------------- who waits for whom */

/* Who waits for `from`, which its endpoint holds up, waits for `to` instead: its own answer will be there sooner. Not who is of a higher class. */
static void followers_move(struct worker *w, struct call *from, struct call *to)
{
    for (struct call *c = from->follow_first, *next; c != NULL; c = next) {
        next = c->next;
        if (c->priority >= to->priority) {
            unfollow(c);
            cache_follow(w, to, c);
        }
    }
}

/* ---------------------------------------------------------------------------------------------- giving */

/* By the clock now: the turn may have begun before the call that is given the answer was submitted. */
uint64_t cache_age_ns(struct worker *w, uint64_t filled_ns)
{
    return weir_cache_age_ns(filled_ns, worker_now(w));
}

/* Make the kept answer `c`'s own. False: it does not fit its room. */
static bool give(struct worker *w, struct call *c, const struct weir_shm_cache_head *h,
                 enum weir_source source)
{
    if ((uint64_t)h->head_bytes + h->body_bytes > c->room_bytes) {
        return false;
    }
    memcpy(c->room, cache_bytes(w, h), (size_t)h->head_bytes + h->body_bytes);
    c->head_bytes = h->head_bytes;
    c->body_bytes = h->body_bytes;
    c->transfer.status = h->status;
    c->source = source;
    c->age_ns = cache_age_ns(w, h->filled_ns);
    c->endpoint = NULL;
    c->kept.status = 0; /* what an attempt of its own brought is given up for it */
    w->cache->touched[cache_index(w, h)] = 1;
    struct weir_shm_cache_route *row = row_of(w, c);
    board_add(source == WEIR_SOURCE_DISK    ? &row->disk
              : source == WEIR_SOURCE_STALE ? &row->stale
                                            : &row->hits,
              1);
    return true;
}

/* An answer that may still be given where nothing better is to be had; NULL: none. */
static struct weir_shm_cache_head *stale_look(struct worker *w, const struct call *c)
{
    if (!c->keyed || c->client == NULL || c->room == NULL) {
        return NULL;
    }
    struct weir_shm_cache_head *h = cache_look(w, &c->key);
    return h != NULL && worker_now(w) < h->stale_until_ns ? h : NULL;
}

bool cache_has_stale(struct worker *w, const struct call *c)
{
    return stale_look(w, c) != NULL;
}

static bool give_stale(struct worker *w, struct call *c)
{
    const struct weir_shm_cache_head *h = stale_look(w, c);
    if (h == NULL) {
        return false;
    }
    /* It may be fresh: somebody else's came meanwhile. */
    return give(w, c, h,
                h->source == WEIR_SOURCE_DISK       ? WEIR_SOURCE_DISK
                : worker_now(w) < h->fresh_until_ns ? WEIR_SOURCE_CACHE
                                                    : WEIR_SOURCE_STALE);
}

bool cache_again(struct worker *w, struct call *c)
{
    if (c->batch != NULL) {
        return batch_is_idle(w, c);
    }
    if (!c->keyed || c->client == NULL) {
        return false;
    }
    const struct weir_shm_cache_head *h = cache_look(w, &c->key);
    if (h == NULL || worker_now(w) >= h->fresh_until_ns || !give(w, c, h, WEIR_SOURCE_CACHE)) {
        return false;
    }
    call_end(w, c, WEIR_RESULT_DONE, 0);
    return true;
}

/* ---------------------------------------------------------------------------------------------- fetching anew for those who are given a stale one */

static void on_refreshed(struct worker *w, struct call *c, enum weir_result result)
{
    (void)w;
    (void)c;
    (void)result; /* what came was kept with that of every call */
}

/* The worker's own copy of `of`, whose answer all may have. Takes a permit of the same class like everyone. */
static void refresh(struct worker *w, const struct call *of)
{
    uint64_t bytes = (uint64_t)of->request.path_bytes + of->request.query_bytes +
                     of->request.headers_bytes + of->request.body_bytes;
    uint32_t room_bytes =
        w->shared.tables.route[of->route].response_max_bytes + CALL_HEAD_MAX_BYTES;
    char *room = malloc(room_bytes);
    char *payload = malloc(bytes > 0 ? bytes : 1);
    struct call *c = room != NULL && payload != NULL ? call_make(w) : NULL;
    if (c == NULL) { /* who asks next tries again */
        free(room);
        free(payload);
        return;
    }
    c->route = of->route;
    c->priority = of->priority;
    c->idempotent = true;
    c->units = of->units;
    c->request = of->request;
    c->request.submitted_ns = w->now_ns;
    c->taken_ns = w->now_ns;
    c->deadline_ns = w->now_ns + w->shared.tables.route[c->route].timeout_ns;
    c->room_bytes = room_bytes;
    c->room = room;
    c->payload = payload;
    memcpy(c->payload, of->payload, bytes);
    (void)weir_request_parse(&c->request, c->payload, bytes, &c->parts); /* it was parsed before */
    c->internal_done = on_refreshed;
    c->keyed = true;
    c->key = of->key;
    board_add(&row_of(w, c)->refreshed, 1);
    if (!batch_join(w, c)) {
        flight_add(w, c);
        dispatch_enter(w, c);
    }
}

static void refresh_if_due(struct worker *w, const struct call *c,
                           const struct weir_shm_cache_head *h)
{
    uint64_t *at_ns = &w->cache->refresh_at_ns[cache_index(w, h)];
    if (!w->draining && !w->quiescing && w->now_ns >= *at_ns && flight_find(w, &c->key) == NULL &&
        !batch_brings(w, c->route, &c->key)) {
        *at_ns = w->now_ns + REFRESH_AGAIN_NS;
        refresh(w, c);
    }
}

/* ---------------------------------------------------------------------------------------------- a call comes */

void cache_admit(struct worker *w, struct call *c)
{
    const struct weir_shm_route_row *row = &w->shared.tables.route[c->route];
    if (w->cache == NULL || (row->flags & WEIR_ROUTE_CACHED) == 0) {
        return;
    }
    const struct weir_cache_call call = {
        .seed = row->cache_seed,
        .instrument = (uint32_t)(c->request.scope >> (16 * WEIR_SCOPE_INSTRUMENT)) & 0xffffU,
        .header_cnt = c->parts.header_cnt,
        .header = c->parts.header,
        .path = c->parts.path,
        .query = c->parts.query,
        .body = c->parts.body,
        .path_bytes = c->parts.path_bytes,
        .query_bytes = c->parts.query_bytes,
        .body_bytes = c->parts.body_bytes};
    c->keyed = weir_cache_key_make(&call, &c->key);
}

bool cache_offer(struct worker *w, struct call *c, bool refused)
{
    if (!c->keyed || c->client == NULL) {
        return false;
    }
    uint64_t now_ns = worker_now(w);
    const struct weir_config_route *route = w->route[c->route].config;
    const struct weir_shm_cache_head *h = cache_look(w, &c->key);
    if (h != NULL && now_ns < h->fresh_until_ns && give(w, c, h, WEIR_SOURCE_CACHE)) {
        call_end(w, c, WEIR_RESULT_DONE, 0);
        return true;
    }
    if (h != NULL && h->source != WEIR_SOURCE_DISK && now_ns < h->stale_until_ns &&
        now_ns < h->fresh_until_ns + route->revalidate_ns && give(w, c, h, WEIR_SOURCE_STALE)) {
        refresh_if_due(w, c, h);
        call_end(w, c, WEIR_RESULT_DONE, 0);
        return true;
    }
    if (refused && give_stale(w, c)) { /* now rather than at its deadline */
        call_end(w, c, WEIR_RESULT_DONE, 0);
        return true;
    }
    struct call *lead = flight_find(w, &c->key);
    if (lead != NULL && follow_may(w, lead, c)) {
        cache_follow(w, lead, c);
        return true;
    }
    if (batch_join(w, c)) {
        return true;
    }
    /* Who will be refused, too, and sooner, is nobody for others to wait for. */
    bool in_vain = lead != NULL && lead->stage == CALL_QUEUED &&
                   lead->denial.earliest_ns > c->deadline_ns && follow_same_refusal(w, lead, c);
    if (!in_vain) {
        flight_add(w, c);
    }
    if (lead != NULL && follow_is_stalled(w, lead)) {
        followers_move(w, lead, c);
    }
    board_add(&row_of(w, c)->misses, 1);
    return false;
}

/* A batch did not answer it: it is made by itself. */
static void make_alone(struct worker *w, struct call *c)
{
    c->alone = true;
    if (c->client == NULL) {
        flight_add(w, c);
    }
    dispatch_ready(w, c);
    worker_due(w, w->now_ns); /* its queue may have had its turn already */
}

/* A batch has no permit now: will it come too late for who waits? A breaker of the batch's says nothing of the single call. */
static bool is_too_late(const struct call *lead, const struct call *c)
{
    return lead->batch != NULL && c->route != lead->route &&
           (lead->denial.reason == WEIR_REASON_BREAKER ||
            lead->denial.earliest_ns > c->deadline_ns);
}

/* It goes its own way: `lead` is held up by what is not its business. */
static void let_go(struct worker *w, struct call *c)
{
    unfollow(c);
    dispatch_ready(w, c);
    worker_due(w, w->now_ns); /* its queue may have had its turn already */
}

void cache_denied(struct worker *w, struct call *lead)
{
    for (struct call *c = lead->follow_first, *next; c != NULL; c = next) {
        next = c->next;
        if (give_stale(w, c)) {
            unfollow(c);
            call_end(w, c, WEIR_RESULT_DONE, 0);
        } else if (is_too_late(lead, c)) {
            unfollow(c);
            make_alone(w, c);
        } else if (lead->batch == NULL && c->client != NULL && !follow_may(w, lead, c)) {
            let_go(w, c);
        } else {
            continue;
        }
        next = lead->follow_first; /* an end may free others: begin again, with one less */
    }
}

void cache_later(struct worker *w, struct call *lead)
{
    for (struct call *c = lead->follow_first, *next; c != NULL; c = next) {
        next = c->next;
        if (!follow_may(w, lead, c)) {
            let_go(w, c);
            next = lead->follow_first; /* as above */
        }
    }
}

/* ---------------------------------------------------------------------------------------------- a call ends */

/* Is what the worker heard the whole answer, and may others have it? */
static bool heard_whole(const struct call *c)
{
    return c->source == WEIR_SOURCE_LIVE && c->hear.head_bytes == c->head_bytes &&
           c->hear.body_bytes == c->body_bytes && c->head_bytes > 0;
}

static bool is_negative(uint32_t status)
{
    return status == 400 || status == 404 || status == 405 || status == 410 || status == 422;
}

/* Did the exchange do what was asked, by the route's `settle.ok` where it has one? */
static bool is_good(struct worker *w, const struct call *c)
{
    const struct weir_config_settle *settle = &w->route[c->route].config->settle;
    const struct settle_answer answer = {.status = c->transfer.status,
                                         .answer_bytes = (uint64_t)c->head_bytes + c->body_bytes,
                                         .head = hear_head_at(&c->hear),
                                         .head_bytes = c->hear.head_bytes,
                                         .body = hear_body_at(&c->hear),
                                         .body_bytes = c->hear.body_bytes};
    return c->transfer.status == 200 && !c->throttled &&
           (*settle->ok.field == '\0' || settle_success(settle, &answer));
}

/* Keep the answer, if it is one to be kept. Returns whether others may have it at all; `*age_ns`: how old it calls itself. */
static bool keep(struct worker *w, const struct call *c, uint64_t *age_ns)
{
    const struct weir_config_route *route = w->route[c->route].config;
    struct cache_directives say;
    if (!cache_directives(hear_head_at(&c->hear), c->hear.head_bytes,
                          route->cache_control == WEIR_CONFIG_CACHE_CONTROL_HONOUR, &say)) {
        board_add(&row_of(w, c)->not_kept, 1);
        return false;
    }
    *age_ns = say.age_ns;
    bool good = is_good(w, c);
    bool negative = !good && !c->throttled && is_negative(c->transfer.status);
    uint64_t fresh_ns = good ? route->cache_ns : negative ? route->negative_ns : 0;
    fresh_ns = weir_min_u64(fresh_ns, say.max_age_ns);
    uint64_t stale_ns = good && !say.must_revalidate ? route->stale_ns : 0;
    uint64_t filled_ns = c->sent_ns > say.age_ns ? c->sent_ns - say.age_ns : 0;
    bool over = fresh_ns + stale_ns == 0 || filled_ns + fresh_ns + stale_ns <= w->now_ns;
    /* For a later broker it is worth keeping though this one gives it to nobody. */
    bool later = route->last_good_ns != 0 && good && !say.must_revalidate;
    if (c->transfer.status / 100 == 5 || (!good && !negative) || (over && !later)) {
        return true; /* what was kept before stays: it may still be given stale */
    }
    const struct weir_shm_cache_head as = {
        .key = {c->key.word[0], c->key.word[1]},
        .filled_ns = filled_ns,
        .fresh_until_ns = filled_ns + fresh_ns,
        .stale_until_ns = filled_ns + fresh_ns + stale_ns,
        .body_bytes = c->hear.body_bytes,
        .head_bytes =
            (uint16_t)cache_head_clean(hear_head_at(&c->hear), c->hear.head_bytes, w->cache->clean),
        .status = (uint16_t)c->transfer.status,
        .route = (uint16_t)c->route,
        .source = WEIR_SOURCE_LIVE};
    if (!cache_put(w, &as, w->cache->clean, hear_body_at(&c->hear))) {
        board_add(&row_of(w, c)->not_kept, 1);
        return true;
    }
    board_add(negative ? &row_of(w, c)->stored_negative : &row_of(w, c)->stored, 1);
    return true;
}

/* May a stale answer stand in for this end? */
static bool is_bad(const struct call *c, enum weir_result result)
{
    switch (result) {
    case WEIR_RESULT_REFUSED:
    case WEIR_RESULT_EXPIRED:
    case WEIR_RESULT_NOT_SENT:
    case WEIR_RESULT_FAILED:
    case WEIR_RESULT_TIMEOUT:
        return true;
    case WEIR_RESULT_DONE:
        return c->source == WEIR_SOURCE_LIVE && (c->throttled || c->transfer.status >= 500);
    default:
        return false;
    }
}

struct cache_end cache_ended(struct worker *w, struct call *c, enum weir_result *result)
{
    struct cache_end end = {.truth = *result};
    c->source = *result == WEIR_RESULT_DONE && c->source == WEIR_SOURCE_UNSET ? WEIR_SOURCE_LIVE
                                                                              : c->source;
    if (!c->keyed && c->batch == NULL) {
        return end;
    }
    if (c->lead != NULL) {
        unfollow(c);
    }
    if (c->leads) {
        flight_remove(w, c);
    }
    end.first = c->follow_first;
    c->follow_first = NULL;
    c->follow_last = NULL;
    if (*result == WEIR_RESULT_DONE && c->keyed && heard_whole(c)) {
        end.shared = keep(w, c, &end.age_ns);
        end.forbidden = !end.shared;
        if (is_negative(c->transfer.status)) {
            batch_refused(w, c);
        }
    }
    bool own =
        *result == WEIR_RESULT_REFUSED || *result == WEIR_RESULT_EXPIRED; /* its own deadline */
    if (is_bad(c, *result)) {
        end.bad = !own;
        if (give_stale(w, c)) {
            *result = WEIR_RESULT_DONE;
            end.bad = true;
        }
    }
    return end;
}

/* The answer that `lead` heard, for `c` too. `says_ns`: how old it called itself when it came. */
static bool give_heard(struct worker *w, struct call *c, const struct call *lead, uint64_t says_ns)
{
    const struct weir_config_route *route = w->route[c->route].config;
    uint64_t age_ns = cache_age_ns(w, lead->sent_ns) + says_ns;
    if (c->taken_ns > lead->sent_ns && age_ns > route->cache_ns + route->stale_ns) {
        return false; /* it came when the other one was on its way, and that took too long */
    }
    uint32_t head_bytes = (uint32_t)cache_head_clean(hear_head_at(&lead->hear),
                                                     lead->hear.head_bytes, w->cache->clean);
    if ((uint64_t)head_bytes + lead->hear.body_bytes > c->room_bytes) {
        return false;
    }
    memcpy(c->room, w->cache->clean, head_bytes);
    memcpy(c->room + head_bytes, hear_body_at(&lead->hear), lead->hear.body_bytes);
    c->head_bytes = head_bytes;
    c->body_bytes = lead->hear.body_bytes;
    c->transfer.status = lead->heard_status;
    c->source = WEIR_SOURCE_CACHE;
    c->kept.status = 0;
    c->endpoint = NULL;
    c->age_ns = age_ns;
    board_add(&row_of(w, c)->coalesced, 1);
    return true;
}

/* End `c` as `lead` ended; false: it is to make its own attempt. */
static bool end_alike(struct worker *w, struct call *c, const struct call *lead,
                      const struct cache_end *end, int error)
{
    uint32_t method = w->shared.tables.route[c->route].method;
    bool fetches = method == WEIR_METHOD_GET || method == WEIR_METHOD_HEAD;
    if (end->bad && give_stale(w, c)) {
        call_end(w, c, WEIR_RESULT_DONE, 0);
        return true;
    }
    if (lead->attempt_over_ns != 0 && c->deadline_ns > lead->attempt_over_ns) {
        return false; /* it has the time for another attempt */
    }
    if (end->truth == WEIR_RESULT_DONE && end->shared && give_heard(w, c, lead, end->age_ns)) {
        call_end(w, c, WEIR_RESULT_DONE, 0);
        return true;
    }
    if (fetches && (end->truth == WEIR_RESULT_FAILED || end->truth == WEIR_RESULT_NOT_SENT ||
                    end->truth == WEIR_RESULT_TOO_LARGE)) {
        call_end(w, c, end->truth, error);
        return true;
    }
    return false;
}

void cache_followers(struct worker *w, struct call *lead, const struct cache_end *end, int error)
{
    for (struct call *c = end->first, *next; c != NULL; c = next) {
        next = c->next;
        c->next = NULL;
        c->lead = NULL;
        if (lead->batch != NULL && c->route != lead->route) {
            if (batch_give(w, c, lead)) {
                call_end(w, c, WEIR_RESULT_DONE, 0);
            } else {
                make_alone(w, c);
            }
            continue;
        }
        if (!end_alike(w, c, lead, end, error)) {
            c->keyed =
                c->keyed && !end->forbidden; /* nobody waits for an answer that is one caller's */
            dispatch_ready(w, c);
        }
    }
    if (lead->batch != NULL) {
        batch_free(lead);
    }
}

/* Its batch is late, or that or the call that it follows owes its answer to an endpoint that went silent: it goes its own way. */
static void leave_held_up(struct worker *w, struct call *c)
{
    if (follow_is_batched(c)) {
        c->lead->batch->late = true;
        unfollow(c);
        make_alone(w, c);
    } else {
        let_go(w, c);
    }
}

void cache_turn(struct worker *w)
{
    if (w->cache == NULL) {
        return;
    }
    if (w->now_ns < w->cache->follow_due_ns) {
        worker_due(w, w->cache->follow_due_ns);
        return;
    }
    w->cache->follow_due_ns = UINT64_MAX;
    for (struct call *c = w->call_first, *next; c != NULL; c = next) {
        next = c->all_next;
        if (c->stage != CALL_FOLLOW) {
            continue;
        }
        if (w->now_ns >= c->deadline_ns) {
            call_end(w, c, WEIR_RESULT_EXPIRED, 0);
            next = w->call_first; /* an end may free others: begin again */
            continue;
        }
        if (follow_is_held_up(w, c)) {
            leave_held_up(w, c);
            next = w->call_first; /* ends: it waits for that one no more */
            continue;
        }
        w->cache->follow_due_ns = weir_min_u64(w->cache->follow_due_ns, follow_look_ns(w, c));
    }
    worker_due(w, w->cache->follow_due_ns);
}
