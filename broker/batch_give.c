#include "broker/batch.h"
#include "broker/log.h"
#include "broker/settle.h"
#include "shm/weir_atomic.h"
#include "shm/weir_error.h"

#include <stdlib.h>
#include <string.h>

/* After a batch that failed there is none for so long, doubling with each in a row. */
#define AGAIN_NS     WEIR_NS_PER_S
#define AGAIN_MAX_NS (60 * WEIR_NS_PER_S)

static struct weir_shm_cache_route *row_of(struct worker *w, const struct batch *b)
{
    return &w->region->cache_route[b->route];
}

/* ---------------------------------------------------------------------------------------------- one element */

/* The answer that `e` makes: up to three pieces of the body. */
struct piece {
    const char *at;
    uint32_t bytes;
};

static uint32_t pieces_of(const struct worker *w, const struct batch *b,
                          const struct split_element *e, struct piece piece[3])
{
    bool list = w->route[b->route].config->batch.as == WEIR_CONFIG_BATCH_AS_LIST;
    uint32_t from = list ? e->from : e->at;
    piece[0] = (struct piece){b->body, list ? b->split.first : 0};
    piece[1] = (struct piece){b->body + from, e->at + e->bytes - from};
    piece[2] = (struct piece){b->body + b->split.end, list ? b->body_bytes - b->split.end : 0};
    return piece[0].bytes + piece[1].bytes + piece[2].bytes;
}

static void pieces_put(const struct piece piece[3], char *to)
{
    for (size_t i = 0; i < 3; i++) {
        memcpy(to, piece[i].at, piece[i].bytes);
        to += piece[i].bytes;
    }
}

/* ---------------------------------------------------------------------------------------------- keeping them */

struct keeper {
    struct batch *b;
    struct weir_shm_cache_head as; /* but for its key and length */
    char *scratch;                 /* of `scratch_bytes` */
    uint32_t scratch_bytes;
};

static struct weir_shm_cache_head *keep_one(struct worker *w, struct keeper *k,
                                            const struct split_element *e,
                                            const struct weir_cache_key *key)
{
    struct piece piece[3];
    uint32_t bytes = pieces_of(w, k->b, e, piece);
    if (bytes > k->scratch_bytes) {
        return NULL; /* more than an answer of the single route may have */
    }
    pieces_put(piece, k->scratch);
    k->as.key[0] = key->word[0];
    k->as.key[1] = key->word[1];
    k->as.body_bytes = bytes;
    if (!cache_put(w, &k->as, k->b->head, k->scratch)) {
        board_add(&row_of(w, k->b)->not_kept, 1);
        return NULL;
    }
    board_add(&row_of(w, k->b)->stored, 1);
    return cache_look(w, key);
}

/* The key of the call that asks for `e`, as most clients write it; false: it may be written in several ways. */
static bool key_of(const struct worker *w, const struct batch *b, const struct split_element *e,
                   struct weir_cache_key *key)
{
    const struct weir_config_batch *config = &w->route[b->route].config->batch;
    bool by_path = *config->param == '\0';
    char text[BATCH_CALL_MAX_BYTES];
    size_t bytes;
    if (!batch_call_make(config, &b->with, e->name, e->name_bytes, text, &bytes)) {
        return false;
    }
    const struct weir_cache_call call = {.seed = w->shared.tables.route[b->route].cache_seed,
                                         .path = by_path ? text : "",
                                         .query = by_path ? b->with.with : text,
                                         .path_bytes = by_path ? bytes : 0,
                                         .query_bytes = by_path ? b->with.with_bytes : bytes};
    return weir_cache_key_make(&call, key);
}

/* What nobody has asked for takes half of the memory at most, and is the first to go; what somebody waits for comes last, so that it is there. */
static void keep_all(struct worker *w, struct keeper *k)
{
    struct batch *b = k->b;
    uint64_t left_bytes = w->region->cache->bytes / 2;
    for (uint32_t i = 0; i < b->split.cnt; i++) {
        const struct split_element *e = &b->split.element[i];
        struct weir_cache_key key;
        uint64_t bytes =
            weir_round_up((uint64_t)b->head_bytes + e->bytes, WEIR_CACHE_GRANULE_BYTES);
        if (e->twice || bytes > left_bytes || !key_of(w, b, e, &key)) {
            continue;
        }
        const struct weir_shm_cache_head *h = keep_one(w, k, e, &key);
        if (h != NULL) {
            left_bytes -= bytes;
            w->cache->touched[cache_index(w, h)] = 0;
        }
    }
    for (uint32_t i = 0; i < b->cnt; i++) {
        const struct split_element *e = split_find(&b->split, b->name[i].text, b->name[i].bytes);
        if (e != NULL) {
            (void)keep_one(w, k, e, &b->key[i]);
        }
    }
}

/* As of any answer of the single route (coalesce.c, keep): the ends count from when the batch was sent. */
static void keep(struct worker *w, struct batch *b)
{
    const struct weir_config_route *route = w->route[b->route].config;
    const struct call *c = b->call;
    uint64_t fresh_ns = weir_min_u64(route->cache_ns, b->say.max_age_ns);
    uint64_t stale_ns = b->say.must_revalidate ? 0 : route->stale_ns;
    uint64_t filled_ns = c->sent_ns > b->say.age_ns ? c->sent_ns - b->say.age_ns : 0;
    struct keeper k = {.b = b, .scratch_bytes = (uint32_t)route->response_max_bytes};
    if (filled_ns + fresh_ns + stale_ns <= w->now_ns) {
        return;
    }
    k.scratch = malloc(k.scratch_bytes);
    if (k.scratch == NULL) {
        return; /* those who wait are answered all the same */
    }
    k.as = (struct weir_shm_cache_head){.filled_ns = filled_ns,
                                        .fresh_until_ns = filled_ns + fresh_ns,
                                        .stale_until_ns = filled_ns + fresh_ns + stale_ns,
                                        .head_bytes = (uint16_t)b->head_bytes,
                                        .status = 200,
                                        .route = (uint16_t)b->route,
                                        .source = WEIR_SOURCE_LIVE};
    keep_all(w, &k);
    free(k.scratch);
}

/* ---------------------------------------------------------------------------------------------- the end of a batch */

/* Did the exchange do what was asked, as far as this route's `settle.ok` can tell? */
static bool is_ok(const struct worker *w, const struct call *c)
{
    const struct weir_config_settle *settle = &w->route[c->route].config->settle;
    const struct settle_answer answer = {.status = c->transfer.status,
                                         .answer_bytes = (uint64_t)c->head_bytes + c->body_bytes,
                                         .head = c->room,
                                         .head_bytes = c->head_bytes,
                                         .body = c->room + c->head_bytes,
                                         .body_bytes = c->body_bytes};
    return *settle->ok.field == '\0' || c->body_bytes > REPLY_JSON_MAX_BYTES ||
           settle_success(settle, &answer);
}

/* Cut the answer up; false: it cannot be used. The room of a call of the worker's own is private memory. */
static bool cut(struct worker *w, struct batch *b)
{
    const struct call *c = b->call;
    const struct weir_config_route *route = w->route[b->route].config;
    bool honour = route->cache_control == WEIR_CONFIG_CACHE_CONTROL_HONOUR;
    b->body = c->room + c->head_bytes;
    b->body_bytes = c->body_bytes;
    if (c->transfer.status != 200 || c->throttled || !is_ok(w, c) ||
        !cache_directives(c->room, c->head_bytes, honour, &b->say) ||
        !split_make(&b->split, b->body, b->body_bytes, route->batch.list, route->batch.item)) {
        return false;
    }
    b->head_bytes = (uint32_t)batch_head_make(c->room, c->head_bytes, b->head, sizeof b->head);
    return b->head_bytes > 0;
}

/* Was it the batch's own fault? Not if it had no permit, or nobody waited for it. */
static bool has_failed(const struct call *c, enum weir_result result)
{
    return result == WEIR_RESULT_DONE ? !c->throttled
           : result == WEIR_RESULT_TIMEOUT
               ? true
               : result == WEIR_RESULT_FAILED || result == WEIR_RESULT_NOT_SENT ||
                     result == WEIR_RESULT_TOO_LARGE;
}

static void rest(struct worker *w, struct batch *b, enum weir_result result)
{
    struct batch_plan *plan = w->cache->plan[b->route];
    uint64_t for_ns = AGAIN_NS << weir_min_u64(plan->failures, 6);
    for_ns = weir_min_u64(for_ns, AGAIN_MAX_NS);
    plan->failures++;
    plan->not_before_ns = w->now_ns + for_ns;
    board_add(&row_of(w, b)->batches_failed, 1);
    log_warn("batch_failed", "s:s, s:s, s:i, s:i, s:i, s:s", "route",
             w->shared.tables.route[b->route].name, "result", weir_result_name(result), "status",
             (int)b->call->transfer.status, "names", (int)b->cnt, "none_for_ms",
             (int)(for_ns / WEIR_NS_PER_MS), "next_step",
             "calls are made singly meanwhile: look whether batch's list, item and max fit the "
             "exchange's answer");
}

void batch_ended(struct worker *w, struct call *c, enum weir_result result)
{
    struct batch *b = c->batch;
    struct batch_plan *plan = w->cache->plan[b->route];
    batch_leave(w, b);
    if (c->sent_ns > 0 && w->now_ns > c->sent_ns) {
        uint64_t took_ns = w->now_ns - c->sent_ns;
        uint64_t before_ns = batch_took_ns(plan, w->now_ns);
        plan->took_ns = weir_max_u64(took_ns, (7 * before_ns + took_ns) / 8);
        plan->took_at_ns = w->now_ns;
    }
    if (result == WEIR_RESULT_DONE && cut(w, b)) {
        plan->failures = 0;
        keep(w, b);
    } else if (has_failed(c, result)) {
        b->head_bytes = 0;
        rest(w, b, result);
    }
}

bool batch_give(struct worker *w, struct call *c, const struct call *lead)
{
    const struct batch *b = lead->batch;
    const struct weir_config_route *route = w->route[b->route].config;
    struct piece piece[3];
    uint32_t i = 0;
    while (i < b->cnt &&
           (b->key[i].word[0] != c->key.word[0] || b->key[i].word[1] != c->key.word[1])) {
        i++;
    }
    const struct split_element *e = b->head_bytes > 0 && i < b->cnt
                                        ? split_find(&b->split, b->name[i].text, b->name[i].bytes)
                                        : NULL;
    uint64_t age_ns = cache_age_ns(w, lead->sent_ns) + b->say.age_ns;
    if (e == NULL || (c->taken_ns > lead->sent_ns && age_ns > route->cache_ns + route->stale_ns)) {
        return false;
    }
    uint64_t bytes = (uint64_t)b->head_bytes + pieces_of(w, b, e, piece);
    if (bytes > c->room_bytes) {
        return false;
    }
    memcpy(c->room, b->head, b->head_bytes);
    pieces_put(piece, c->room + b->head_bytes);
    c->head_bytes = b->head_bytes;
    c->body_bytes = (uint32_t)bytes - b->head_bytes;
    c->transfer.status = 200;
    c->source = WEIR_SOURCE_CACHE;
    c->age_ns = age_ns;
    c->kept.status = 0;
    c->endpoint = NULL;
    board_add(&w->region->cache_route[c->route].batched, 1);
    return true;
}

void batch_free(struct call *lead)
{
    struct batch *b = lead->batch;
    split_free(&b->split);
    free(b->name);
    free(b->key);
    free(b);
    lead->batch = NULL;
}
