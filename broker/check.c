/*
 * check.c: the worker's own calls to find out how endpoints are, where the configuration has `health`. Each endpoint is asked every interval, give or take a
 * tenth so that endpoints do not march in step, by as many calls at once as connections are to be kept warm (curl reuses the first idle one, so only
 * concurrent calls warm several). One round is under way at a time. They take permits like everyone else, as class background: where there is no room they end without
 * a word. What they find goes the way of all calls (endpoint_told); besides, a check that is answered in time ends an ejection, and any tells the height.
 */
#include "broker/log.h"
#include "broker/worker.h"
#include "shm/weir_atomic.h"
#include "shm/weir_weave.h"

#include <stdlib.h>

#define FIRST_WITHIN_NS WEIR_NS_PER_S /* after a start, so that clocks and addresses come first */

/* How far the endpoint says it has come. */
static void height_look(struct worker *w, const struct call *c, struct endpoint *e)
{
    const char *path = w->provider[e->provider].config->health.height;
    char buffer[40];
    struct reply_text text;
    struct reply_number number;
    if (path[0] == '\0') {
        return;
    }
    json_t *root = reply_json(hear_body_at(&c->hear), c->hear.body_bytes);
    if (root != NULL && reply_member(root, path, buffer, &text) == REPLY_VALUE &&
        reply_number(text, &number) == REPLY_VALUE && number.decimals == 0) {
        e->health.height = number.value;
    } else {
        log_warn("health_height_refused", "s:s, s:s", "endpoint", e->config->name, "field", path);
    }
    json_decref(root);
}

static void on_check_done(struct worker *w, struct call *c, enum weir_result result)
{
    struct endpoint *e = c->pin;
    e->checking -= e->checking > 0 ? 1U : 0U;
    if (result == WEIR_RESULT_DONE && c->transfer.status / 100 == 2) {
        weir_store_relaxed_u64(&e->board->checked_ns, w->now_ns); /* relaxed: for display */
        if (!endpoint_still_ill(c)) {
            endpoint_back(w, e);
        }
        height_look(w, c, e);
    }
}

static void check_start(struct worker *w, struct endpoint *e)
{
    const struct provider *p = &w->provider[e->provider];
    uint32_t room_bytes =
        w->shared.tables.route[p->check_route].response_max_bytes + CALL_HEAD_MAX_BYTES;
    char *room = malloc(room_bytes);
    struct call *c = room != NULL ? call_make(w) : NULL;
    if (c == NULL) { /* the next round asks */
        free(room);
        return;
    }
    c->route = p->check_route;
    c->room_bytes = room_bytes;
    c->room = room;
    c->pin = e;
    c->priority = WEIR_PRIORITY_BACKGROUND;
    c->idempotent = true;
    c->request.submitted_ns = w->now_ns;
    c->taken_ns = w->now_ns;
    c->deadline_ns = w->now_ns + p->config->health.timeout_ns;
    c->parts.path = c->parts.query = c->parts.body = "";
    c->internal_done = on_check_done;
    e->checking++;
    board_add(&e->board->checks, 1);
    WEIR_WEAVE("check:made");
    dispatch_enter(w, c);
}

/* `span` less up to a fifth of it, plus a tenth. */
static uint64_t jittered(struct worker *w, uint64_t span_ns)
{
    uint64_t swing_ns = span_ns / 5;
    return span_ns - swing_ns / 2 +
           (uint64_t)((unsigned __int128)balance_random(&w->random) * swing_ns >> 64);
}

void check_turn(struct worker *w)
{
    for (uint32_t i = 0; i < w->region->endpoint_cnt && !w->draining && !w->quiescing; i++) {
        struct endpoint *e = &w->endpoint[i];
        const struct provider *p = &w->provider[e->provider];
        if (p->check_route == UINT32_MAX || e->checking > 0 || w->now_ns < e->check_at_ns ||
            e->target.address[0] == '\0') {
            continue;
        }
        if (e->check_at_ns == 0) {
            e->check_at_ns = w->now_ns + jittered(w, FIRST_WITHIN_NS);
            continue;
        }
        e->check_at_ns = w->now_ns + jittered(w, p->config->health.interval_ns);
        for (uint64_t n = weir_max_u64(e->config->warm_cnt, 1); n > 0; n--) {
            check_start(w, e);
        }
    }
}

uint32_t check_now(struct worker *w, uint32_t provider)
{
    struct provider *p = &w->provider[provider];
    for (uint32_t i = 0; i < p->endpoint_cnt && p->check_route != UINT32_MAX; i++) {
        p->endpoint[i].check_at_ns = 1; /* long ago */
    }
    return p->check_route != UINT32_MAX ? p->endpoint_cnt : 0;
}
