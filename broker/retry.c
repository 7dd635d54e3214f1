#include "broker/retry.h"

#include "broker/egress.h"
#include "broker/pause.h"
#include "broker/worker.h"
#include "shm/weir_weave.h"

static bool is_safe(const struct call *c, enum retry_why why)
{
    switch (why) {
    case RETRY_UNSENT:
        return c->sends == 0 || c->idempotent;
    case RETRY_BROKEN:
        return c->idempotent;
    case RETRY_ANSWERED:
        return c->idempotent && retry_status(c->transfer.status,
                                             c->throttled && pause_cause_of(c->transfer.status) !=
                                                                 WEIR_PAUSE_BANNED);
    }
    return false;
}

bool retry_later(struct worker *w, struct call *c, enum retry_why why)
{
    struct provider *p = &w->provider[w->route[c->route].provider];
    const struct weir_config_retry *config = &p->config->retry;
    if (c->client == NULL || w->draining || !is_safe(c, why) ||
        c->attempts + 1 >= config->attempt_max) { /* 0: the provider is to be asked once */
        return false;
    }
    /* Retry-After is about whom it was told to: another member need not wait for it, and if there is none that may go, a pause holds this one back */
    bool elsewhere = c->throttled && egress_other(w, c);
    uint64_t told_ns = why == RETRY_ANSWERED && !elsewhere ? c->retry_after_ns : 0;
    uint64_t wait_ns = retry_wait_ns(config, c->attempts + 1, told_ns, worker_draw(w));
    uint64_t answer_ns = c->endpoint != NULL ? c->endpoint->answer_ns : 0;
    if (c->client->gone || w->now_ns + answer_ns >= c->deadline_ns ||
        wait_ns >= c->deadline_ns - w->now_ns - answer_ns) {
        c->attempt_over_ns = w->now_ns + wait_ns + answer_ns; /* its caller's matter alone */
        return false;
    }
    if (!retry_budget_take(&p->retries)) {
        board_add(&w->region->route_stats[c->route].retries_unaffordable, 1);
        return false;
    }
    call_attempt_over(w, c, why == RETRY_ANSWERED ? WEIR_RESULT_DONE : WEIR_RESULT_FAILED);
    if (why == RETRY_ANSWERED) {
        call_answer_keep(c);
    }
    board_add(&w->region->route_stats[c->route].retries, 1);
    c->attempts++;
    c->tried = tried_none();
    if (why != RETRY_UNSENT && c->endpoint != NULL && p->endpoint_cnt > 1) {
        tried_add(&c->tried, c->endpoint->bit); /* another one may do better */
    }
    c->sent_ns = 0;
    c->writes = 0;
    /* the attempt has ended on every account, the next one is nowhere yet */
    WEIR_WEAVE("retry:over");
    c->stage = CALL_LATER;
    c->due_ns = w->now_ns + wait_ns;
    w->retry_due_ns = weir_min_u64(w->retry_due_ns, c->due_ns);
    worker_due(w, c->due_ns);
    cache_later(w, c);
    return true;
}

void retry_turn(struct worker *w)
{
    if (w->now_ns < w->retry_due_ns) {
        worker_due(w, w->retry_due_ns);
        return;
    }
    w->retry_due_ns = UINT64_MAX;
    for (struct call *c = w->call_first; c != NULL; c = c->all_next) {
        if (c->stage != CALL_LATER) {
            continue;
        }
        if (w->now_ns >= c->due_ns) {
            dispatch_again(w, c);
        } else {
            w->retry_due_ns = weir_min_u64(w->retry_due_ns, c->due_ns);
        }
    }
    worker_due(w, w->retry_due_ns);
}
