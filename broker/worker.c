#include "broker/worker.h"

#include "broker/cage.h"
#include "broker/doubt.h"
#include "broker/egress.h"
#include "broker/hush.h"
#include "broker/identity.h"
#include "broker/last_good.h"
#include "broker/late.h"
#include "broker/log.h"
#include "broker/pair.h"
#include "broker/pause.h"
#include "broker/sign_in.h"
#include "broker/signer.h"
#include "broker/tables_build.h"
#include "broker/trust.h"
#include "shm/weir_atomic.h"
#include "shm/weir_limit_repair.h"
#include "shm/weir_weave.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#define LOOP_ENTRIES 1024U
#define EVENTS_MAX   256U
#define TAKE_MAX     256U

/* SIGTERM, for a worker whose supervisor is gone; else it is the supervisor's to say. */
static volatile sig_atomic_t terminate;

static void on_terminate(int signal)
{
    (void)signal;
    terminate = 1;
}

/* ---------------------------------------------------------------------------------------------- start */

/* A worker died in the middle of a re-alignment: what the words hold is anyone's guess, so they count as spent. */
static void clock_interrupted(struct worker *w, uint32_t provider,
                              const struct weir_server_clock *last,
                              const struct weir_server_clock *first, uint64_t now_ns)
{
    const struct weir_shm_provider_row *row = &w->shared.tables.provider[provider];
    struct weir_server_clock closed = last != NULL ? *last : *first;
    closed.state = WEIR_CLOCK_CLOSED;
    weir_server_clock_publish(&w->region->provider[provider], &closed);
    for (uint32_t i = 0; i < row->limit_cnt; i++) {
        const struct weir_shm_limit_row *l = &w->shared.tables.limit[row->limit_first + i];
        for (uint32_t k = l->word_first; k < l->word_first + l->word_cnt; k++) {
            const struct weir_limit_place at = {l, &w->region->word[k], NULL};
            const struct weir_limit_place own = {l, &w->region->own_word[k], NULL};
            if (l->kind == WEIR_LIMIT_FIXED_WINDOW) { /* the others know no server's clock */
                weir_limit_spend(&at, first, now_ns);
                weir_limit_spend(&own, first, now_ns);
            }
        }
    }
    ceiling_realigned(w, provider, NULL, now_ns);
    log_warn("realignment_interrupted", "s:s", "provider", w->provider[provider].config->name);
}

/* What a worker before us, or the broker before this one, knew of the provider's clock; else nothing. */
static void clock_take_over(struct worker *w, uint32_t provider, uint64_t now_ns)
{
    struct provider *p = &w->provider[provider];
    uint64_t seq = 0;
    const struct weir_server_clock *last = weir_permit_server_clock(&w->shared, provider, &seq);
    if (last != NULL && seq != 0 && last->state != WEIR_CLOCK_CLOSED) {
        p->published = *last; /* its error has grown with its age */
        clock_spread_go_on(&p->spread, last->jitter_ns, p->config->clock.max_jitter_ns, now_ns);
        if (last->state == WEIR_CLOCK_KNOWN &&
            p->config->clock.source == WEIR_CONFIG_CLOCK_SERVER) {
            server_clock_restore(&p->clock, last);
        }
        return;
    }
    struct weir_server_clock first =
        server_clock_unknown(now_ns, weir_clock_realtime_ns(), p->config->clock.max_jitter_ns);
    if (seq != 0) {
        clock_interrupted(w, provider, last, &first, now_ns);
    }
    p->published =
        first; /* nothing is charged on any timeline yet, or everything is spent on this one */
    weir_server_clock_publish(&w->region->provider[provider], &first);
}

static bool providers_open(struct worker *w)
{
    uint32_t n = w->region->provider_cnt;
    const struct weir_tables *t = &w->shared.tables;
    w->provider = calloc(n, sizeof *w->provider);
    w->route = calloc(w->region->route_cnt, sizeof *w->route);
    if (w->provider == NULL || w->route == NULL) {
        return false;
    }
    uint64_t now_ns = worker_now(w);
    for (uint32_t p = 0; p < n; p++) {
        struct provider *pr = &w->provider[p];
        const struct weir_shm_provider_row *row = &t->provider[p];
        pr->config = &w->config->provider[p];
        pr->headers = provider_headers(p);
        retry_budget_open(&pr->retries);
        pr->clock_route = UINT32_MAX;
        pr->check_route = UINT32_MAX;
        for (uint32_t r = 0; r < row->route_cnt; r++) {
            struct route *route = &w->route[row->route_first + r];
            route->provider = p;
            route->config = r < pr->config->route_cnt ? &pr->config->route[r] : NULL;
            route->hears = hear_wanted(pr->config, route->config);
            route->path = route->config != NULL ? route->config->path : pr->config->clock.path;
            if (route->config != NULL) {
                route->hears = route->config->cache_ns != 0 ? HEAR_WHOLE : route->hears;
                continue;
            }
            if (strcmp(t->route[row->route_first + r].name, TABLES_CHECK_ROUTE) == 0) {
                pr->check_route = row->route_first + r;
                route->path = pr->config->health.path;
            } else {
                pr->clock_route = row->route_first + r;
            }
        }
        clock_take_over(w, p, now_ns);
    }
    return true;
}

static bool queues_open(struct worker *w)
{
    w->queue_words = (w->region->route_cnt + 63) / 64;
    w->queue = calloc((size_t)w->region->route_cnt * WEIR_PRIORITY_CNT + 1, sizeof *w->queue);
    bool ok = w->queue != NULL;
    for (unsigned p = 0; p < WEIR_PRIORITY_CNT; p++) {
        w->queue_busy[p] = calloc(w->queue_words + 1, sizeof(uint64_t));
        ok = ok && w->queue_busy[p] != NULL;
    }
    return ok;
}

static bool rings_open(struct worker *w)
{
    const struct region *r = w->region;
    for (uint32_t d = 0; d < r->domain_cnt; d++) {
        for (uint32_t p = 0; p < WEIR_PRIORITY_CNT; p++) {
            if (weir_ring_attach_consumer(
                    &w->ring[d][p], r->ring_base[d] + p * r->ring_stride_bytes,
                    &r->ring_head[d * WEIR_PRIORITY_CNT + p], r->ring_order) != WEIR_OK) {
                return false;
            }
        }
    }
    return true;
}

static bool not_started(const char *reason)
{
    log_error("worker_not_started", "s:s", "reason", reason);
    return false;
}

/* What needs files or calls that the cage forbids, and then the cage. Nothing that a client or the network wrote was looked at before. */
static bool go_in(struct worker *w)
{
    char text[256] = "no memory";
    if (loop_open(&w->loop, LOOP_ENTRIES, text, sizeof text) != 0 ||
        curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
        return not_started(text);
    }
    w->http = http_open(&w->loop);
    if (w->http == NULL || !provider_headers_open(w->config, text, sizeof text) ||
        !sign_in_open(w, text, sizeof text) || !signer_open(w->config, text, sizeof text) ||
        !trust_open(w->config) || !identity_open(w->config, text, sizeof text)) {
        return not_started(text);
    }
    weir_clock_source_init(&w->clock_source, weir_clock_tsc_usable());
    log_warm_up();
    if (w->region->cage != NULL &&
        cage_enter(w->region->cage, CAGE_WORKER, text, sizeof text) != 0) {
        return not_started(text);
    }
    return true;
}

static bool open_all(struct worker *w)
{
    region_permit_view(w->region, &w->shared, false);
    region_permit_view(w->region, &w->own, true);
    if (weir_permit_refresh(&w->shared) != WEIR_OK || weir_permit_refresh(&w->own) != WEIR_OK) {
        log_error("tables_damaged", "");
        return false;
    }
    if (!ceiling_open(w) || !providers_open(w) || !hedge_open(w) || !queues_open(w) ||
        !calls_open(w) || !endpoint_open(w) || !egress_open(w) || !choose_open(w) ||
        !rings_open(w) || !reply_open(w) || !late_open(w) || !pace_open(w) || !trial_open(w) ||
        !usage_open(w) || !audit_open(w) || !cache_open(w) || !last_good_start(w)) {
        return not_started("no memory");
    }
    return true;
}

static void board_open(struct worker *w)
{
    struct weir_shm_worker *b = w->region->worker;
    uint64_t now_ns = worker_now(w);
    weir_store_relaxed_u32(&b->pid, (uint32_t)getpid()); /* relaxed: for people, all four */
    weir_store_relaxed_u64(&b->started_ns, now_ns);
    weir_store_relaxed_u64(&b->heartbeat_ns, now_ns);
    weir_store_relaxed_u32(&w->region->gate->incarnation, w->region->gate->incarnation + 1);
    w->shared.owner =
        weir_owner_make(WEIR_OWNER_WORKER | (w->region->gate->incarnation & 0x3fffU), 0);
    w->own.owner = w->shared.owner;
    /* Relaxed: written by workers only. The next epoch: for this one a client may have rung already, and would not ring again. */
    w->sleep_epoch =
        ((weir_load_relaxed_u32(&w->region->need_wakeup->word) >> 1) + 1) & 0x7fffffffU;
}

/* ---------------------------------------------------------------------------------------------- events */

static void drain(struct worker *w)
{
    if (!w->draining) {
        w->draining = true;
        w->drain_until_ns = w->now_ns + w->config->broker.drain_ns;
        log_info("draining", "s:i", "in_flight", (int)w->call_cnt);
    }
}

static void control_event(struct worker *w)
{
    for (;;) {
        struct control_message m;
        int fds[CONTROL_FDS];
        size_t fd_cnt = CONTROL_FDS;
        ssize_t n = control_receive(w->control, &m, sizeof m, fds, &fd_cnt);
        if (n == 0) {
            log_warn("supervisor_gone", "s:s", "meaning",
                     "nobody can attach; calls and permits go on until the last client leaves or "
                     "this process gets SIGTERM; a new weird takes over");
            (void)close(w->control);
            w->control = -1;
            quiesce_end(w);
            quiesce_orphan(w);
            return;
        }
        if (n != (ssize_t)sizeof m) {
            break;
        }
        if (m.kind == CONTROL_ATTACH && fd_cnt == CONTROL_FDS) {
            m.client.arena_fd = fds[0];
            m.client.shadow_fd = fds[1];
            m.client.doorbell_fd = fds[2];
            m.client.bell_fd = fds[3];
            m.client.pidfd = fds[4];
            client_attach(w, &m.client, false);
        } else if (m.kind == CONTROL_GONE) {
            client_gone(w, m.client.index);
        } else if (m.kind == CONTROL_DRAIN) {
            drain(w);
        } else if (m.kind == CONTROL_QUIESCE) {
            quiesce_ask(w);
        } else if (m.kind == CONTROL_GO_ON) {
            quiesce_end(w);
        } else if (m.kind == CONTROL_OPERATE) {
            operations_event(w, &m.operation);
        }
    }
    loop_poll(&w->loop, LOOP_CONTROL, 0, 0, w->control, POLLIN, false);
}

/* An event may be older than the client that has its index now. */
static bool is_of_today(const struct worker *w, const struct loop_event *e)
{
    return (w->client_life[e->index] & 0xffffffU) == e->generation;
}

/* Its bell rang: because it takes calls back? The flags are looked at every tick too; this is sooner. Once a millisecond at most, whatever it writes. */
static void cancels_look(struct worker *w, struct client *c)
{
    uint32_t cnt = weir_load_relaxed_u32(&c->wake->cancelled); /* relaxed: a hint */
    if (cnt != c->cancelled_seen && !c->gone && c->in_flight > 0 && w->now_ns >= c->cancels_at_ns) {
        c->cancelled_seen = cnt;
        c->cancels_at_ns = w->now_ns + WEIR_NS_PER_MS;
        dispatch_cancel_flags(w, c);
    }
}

static void event(struct worker *w, const struct loop_event *e)
{
    struct client *c;
    switch (e->kind) {
    case LOOP_CURL:
        http_event(w->http, e);
        break;
    case LOOP_DOORBELL:
        /* The ring says what there is; the bell only woke us. A multishot poll that ended (overflow) is armed again. */
        c = &w->client[e->index];
        if (c->live && is_of_today(w, e)) {
            cancels_look(w, c);
            hush_rang(w, c);
        }
        if (!e->more && e->result >= 0 && c->live && is_of_today(w, e) && !c->bell_hushed) {
            loop_poll(&w->loop, LOOP_DOORBELL, w->client_life[e->index], e->index,
                      c->info.doorbell_fd, POLLIN, true);
        }
        break;
    case LOOP_PIDFD:
        if (e->result > 0 && is_of_today(w, e)) {
            client_gone(w, e->index);
        }
        break;
    case LOOP_CONTROL:
        if (e->result > 0) {
            control_event(w);
        }
        break;
    case LOOP_RESOLVER:
        if (endpoint_answer(
                w)) { /* else supervisor and resolver are gone: names keep their last address */
            loop_poll(&w->loop, LOOP_RESOLVER, 0, 0, w->resolver, POLLIN, false);
        }
        break;
    case LOOP_JOURNAL:
        ceiling_event(w, e);
        break;
    case LOOP_HANDOVER:
        quiesce_event(w, e);
        break;
    case LOOP_LAST_GOOD:
        last_good_event(w, e);
        break;
    case LOOP_SIGN_IN:
        sign_in_event(w, e);
        break;
    default:
        break;
    }
}

static unsigned events_turn(struct worker *w)
{
    struct loop_event events[EVENTS_MAX];
    unsigned cnt =
        loop_take(&w->loop, events, EVENTS_MAX); /* copied out first: callbacks queue new polls */
    for (unsigned i = 0; i < cnt; i++) {
        event(w, &events[i]);
    }
    return cnt;
}

/* ---------------------------------------------------------------------------------------------- the loop */

/* Say that a doorbell is wanted, look once more, and sleep (research/queues_curl_shm.md A3.5). */
static void sleep_until(struct worker *w, uint64_t at_ns)
{
    uint32_t *need = &w->region->need_wakeup->word;
    (void)weir_xchg_u32(need, w->sleep_epoch << 1 | 1U); /* pair:wakeup R */
    WEIR_WEAVE("worker:sleepy");
    weir_fence_full(); /* the flag before the look at the rings; a producer publishes before it looks at the flag */
    uint64_t now_ns = worker_now(w);
    if ((w->quiescing || !intake_ready(w)) && now_ns < at_ns) {
        loop_wait(&w->loop, at_ns - now_ns);
        board_add(&w->region->worker->wakes, 1);
    } else {
        loop_pump(
            &w->loop); /* something is due again and again: completions are still to be fetched */
    }
    w->sleep_epoch = (w->sleep_epoch + 1) & 0x7fffffffU;
    WEIR_WEAVE("worker:awake");
    weir_store_release_u32(need, w->sleep_epoch << 1); /* pair:wakeup R */
}

/* May the worker leave? */
static bool finished(struct worker *w)
{
    if (w->quiescing) {
        return quiesce_is_over(w);
    }
    if (w->draining) {
        return (w->call_cnt == 0 && !sign_in_is_busy(w)) || w->now_ns >= w->drain_until_ns;
    }
    if (w->control >= 0) {
        return false;
    }
    for (uint32_t i = 0; i < WEIR_CLIENTS_MAX; i++) {
        if (w->client[i].live) {
            return false; /* the supervisor is gone, but somebody still trades */
        }
    }
    return true;
}

static void measure(struct worker *w, uint64_t started_ns)
{
    struct weir_shm_worker *b = w->region->worker;
    uint64_t cycle_ns = worker_now(w) - started_ns;
    if (cycle_ns > weir_load_relaxed_u64(&b->loop_cycle_max_ns)) { /* relaxed: our own */
        weir_store_relaxed_u64(&b->loop_cycle_max_ns, cycle_ns);
    }
    board_add(&b->loop_cycles, 1);
}

/* One turn; returns whether there was anything to do. */
static bool turn(struct worker *w)
{
    w->now_ns = worker_now(w);
    w->next_ns = UINT64_MAX;
    uint64_t started_ns = w->now_ns;
    uint32_t calls = w->call_cnt;
    unsigned busy = events_turn(w);
    if (terminate != 0 && w->control < 0) {
        drain(w);
    }
    busy += w->quiescing ? 0 : intake_rings(w, TAKE_MAX);
    deliver_bells(w); /* what ended at once should not wait for the rest of the turn */
    keeper_turn(w);
    sign_in_turn(w);
    quiesce_turn(w);
    if (!w->quiescing) {
        probe_turn(w);
        retry_turn(w);
        batch_turn(w);
        doubt_turn(w);
        dispatch_turn(w);
        hedge_turn(w);
    }
    if (!w->quiescing || !quiesce_is_wire_free(w)) {
        ceiling_turn(w); /* after those who may have been refused for want of one */
    }
    http_turn(w->http, w->now_ns);
    exchange_due(w);
    cache_turn(w);
    deliver_bells(w);
    measure(w, started_ns);
    return busy > 0 || w->call_cnt < calls; /* an end may have made room for another start */
}

static void idle(struct worker *w, uint64_t idle_since_ns)
{
    enum weir_config_wake wake = w->config->broker.wake;
    bool spin =
        wake == WEIR_CONFIG_WAKE_SPIN || (wake == WEIR_CONFIG_WAKE_ADAPTIVE &&
                                          w->now_ns - idle_since_ns < w->config->broker.spin_ns);
    if (spin) {
        loop_pump(&w->loop);
        weir_cpu_relax();
        return;
    }
    sleep_until(w, weir_min_u64(w->next_ns, http_next_ns(w->http)));
}

/* What is still in flight when the drain's time is over: named outcomes for all. */
static void abandon(struct worker *w)
{
    while (w->call_first != NULL) {
        struct call *c = w->call_first;
        bool sent = c->sends > 0;
        if (c->hedge_of != NULL) { /* no call of anybody's */
            hedge_drop(w, c->hedge_of);
            continue;
        }
        if (c->stage == CALL_RUNNING) {
            http_stop(w->http, &c->transfer);
        }
        dispatch_unlink(w, c); /* the end of another one may look into that list */
        call_end(w, c,
                 !sent           ? WEIR_RESULT_REJECTED
                 : c->idempotent ? WEIR_RESULT_FAILED
                                 : WEIR_RESULT_OUTCOME_UNKNOWN,
                 WEIR_E_STALE);
    }
}

static void leave(struct worker *w)
{
    if (w->quiescing) { /* the lease is the supervisor's to end, or the successor's already */
        log_info("worker_quiet", "s:i", "left_for_the_next", (int)w->call_cnt);
        return;
    }
    abandon(w);
    late_leave(w);
    deliver_bells(w);
    keeper_lease(w, 0); /* nobody owns the limits any more: permits stop now, not in five seconds */
    for (uint32_t i = 0; i < WEIR_CLIENTS_MAX; i++) {
        if (w->client[i].live) {
            client_fold_meters(w, &w->client[i]);
        }
    }
    log_info("worker_left", "s:b", "drained", (int)w->draining);
}

int worker_run(const struct weir_config *config, struct region *region,
               const struct client_info *info, uint32_t info_cnt, int control, int resolver)
{
    static struct worker worker; /* large; zeroed; one per process */
    struct worker *w = &worker;
    log_open(config->broker.log, "worker");
    (void)prctl(PR_SET_NAME, "weird-worker");
    (void)signal(SIGPIPE, SIG_IGN);
    (void)signal(SIGINT, SIG_IGN); /* the supervisor hears it and tells us to drain */
    (void)signal(SIGHUP, SIG_IGN);
    (void)signal(SIGXFSZ,
                 SIG_IGN); /* a journal at its file size limit is a failed write, not an end */
    (void)signal(SIGTERM, on_terminate);
    (void)unsetenv("SSLKEYLOGFILE"); /* curl would write session keys there */
    w->config = config;
    w->region = region;
    w->control = control;
    w->resolver = resolver;
    if (!go_in(w) || !open_all(w)) {
        return 2;
    }
    board_open(w);
    w->running_due_ns = UINT64_MAX;
    w->retry_due_ns = UINT64_MAX;
    w->now_ns = worker_now(w);
    sign_in_start(w);
    audit_began(w);
    pair_undo(w);  /* before the first audit */
    late_start(w); /* behind it: this charges both accounts */
    pause_open(w); /* before the lease: no permit may slip through where a pause holds */
    keeper_turn(w);
    loop_poll(&w->loop, LOOP_CONTROL, 0, 0, control, POLLIN, false);
    loop_poll(&w->loop, LOOP_RESOLVER, 0, 0, resolver, POLLIN, false);
    for (uint32_t i = 0; i < info_cnt; i++) {
        client_attach(w, &info[i], true);
    }
    /* Who closed while no supervisor lived, and before somebody took over, could not say so. */
    clients_closed(w);
    log_info("worker_started", "s:i, s:i", "incarnation", (int)region->gate->incarnation, "clients",
             (int)info_cnt);
    uint64_t idle_since_ns = w->now_ns;
    while (!finished(w)) {
        if (turn(w)) {
            idle_since_ns = w->now_ns;
            loop_pump(&w->loop);
        } else {
            idle(w, idle_since_ns);
        }
        if (WEIR_UNLIKELY(loop_lost(&w->loop) != 0)) {
            log_error("completions_lost", "s:i, s:s", "events", (int)loop_lost(&w->loop), "meaning",
                      "the kernel had no memory for them: this worker ends, and the next one goes "
                      "on with its calls");
            return 3;
        }
    }
    leave(w);
    return 0;
}
