#include "broker/sign_in_inside.h"

#include "broker/backoff.h"
#include "broker/log.h"
#include "broker/secret.h"
#include "shm/weir_atomic.h"
#include "shm/weir_error.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct session *session; /* one worker per process */
static uint32_t session_cnt;

struct session *sign_in_first(void)
{
    return session;
}

uint32_t sign_in_session_cnt(void)
{
    return session_cnt;
}

struct session *sign_in_of(uint32_t provider, size_t key)
{
    for (uint32_t i = 0; i < session_cnt; i++) {
        if (session[i].provider == provider && session[i].key == key) {
            return &session[i];
        }
    }
    return NULL;
}

/* ---------------------------------------------------------------------------------------------- start */

static uint64_t answer_bytes(const struct weir_config *config, const struct session *s)
{
    const struct weir_config_sign_in *c = s->config;
    uint64_t bytes = config->provider[c->provider_idx].route[c->route_idx].response_max_bytes;
    if (c->crumb_route != NULL && c->crumb_route[0] != '\0') {
        bytes = weir_max_u64(
            bytes,
            config->provider[c->crumb_provider_idx].route[c->crumb_route_idx].response_max_bytes);
    }
    return bytes + CALL_HEAD_MAX_BYTES;
}

/* The pieces of one session, taken from `area`, or with NULL only counted. */
static size_t secret_take_all(const struct weir_config *config, struct session *s,
                              struct secret_area *area)
{
    struct session_secret *at = &s->secret;
    size_t bytes = 0;
    bool token = session_is_token(s);
    at->room_bytes = (size_t)answer_bytes(config, s);
    at->form_room_bytes = token ? sign_in_form_bytes(s->parts.key, s->parts.secret) : 0;
    struct piece {
        void *to;
        size_t bytes;
    } piece[] = {
        {&at->image, token ? SIGN_IN_RECORD_BYTES : 0},
        {&at->answer, token ? sizeof *at->answer : 0},
        {&at->form, at->form_room_bytes},
        {&at->line, token ? SIGN_TOKEN_MAX_BYTES + 64 : 0},
        {&at->jar, token ? 0 : sizeof *at->jar},
        {&at->jar_next, token ? 0 : sizeof *at->jar},
        {&at->cookie_line, token ? 0 : SIGN_IN_LINE_MAX_BYTES},
        {&at->crumb, token ? 0 : SIGN_IN_CRUMB_MAX_BYTES + 1},
        {&at->room, at->room_bytes},
    };
    for (size_t i = 0; i < WEIR_ARRAY_CNT(piece); i++) {
        size_t n = (size_t)weir_round_up(piece[i].bytes, WEIR_LINE_BYTES);
        if (area != NULL && n > 0) {
            char *memory = secret_take(area, n);
            memcpy(piece[i].to, &memory, sizeof memory);
        }
        bytes += n;
    }
    return bytes;
}

static void session_make(const struct weir_config *config, uint32_t provider, size_t key,
                         struct session *s)
{
    const struct weir_config_auth *auth = &config->provider[provider].auth;
    *s = (struct session){
        .auth = auth,
        .config = &auth->sign_in,
        .provider = provider,
        .key = key,
        .parts = weir_config_key_parts(auth, key),
        .fd = -1,
        .due_ns = 0,
        .again_ns = SIGN_IN_AGAIN_NS,
        .renew_ns = SIGN_IN_RENEW_NS,
        .state = WEIR_SIGN_IN_STARTING,
    };
}

bool sign_in_open(struct worker *w, char *text, size_t text_bytes)
{
    static struct secret_area area; /* as long as the process */
    const struct weir_config *config = w->config;
    uint32_t cnt = sign_in_cnt(config);
    size_t bytes = 0;
    session = NULL; /* the simulator's workers are one process */
    session_cnt = 0;
    if (cnt == 0) {
        return true;
    }
    session = calloc(cnt, sizeof *session);
    if (session == NULL) {
        return false;
    }
    for (uint32_t p = 0; p < config->provider_cnt; p++) {
        const struct weir_config_auth *auth = &config->provider[p].auth;
        size_t keys = sign_has_session(auth->kind) ? weir_config_key_cnt(auth) : 0;
        for (size_t k = 0; k < keys && session_cnt < cnt; k++) {
            struct session *s = &session[session_cnt];
            session_make(config, p, k, s);
            s->nth = session_cnt++;
            bytes += secret_take_all(config, s, NULL);
        }
    }
    if (secret_open(&area, bytes, text, text_bytes) != 0) {
        return false;
    }
    for (uint32_t i = 0; i < cnt; i++) {
        struct session *s = &session[i];
        (void)secret_take_all(config, s, &area);
        const struct sign_in_files *files = w->region->sign_in;
        s->fd = files != NULL ? files->fd[i] : -1;
        s->place = files != NULL ? &files->place[i] : NULL;
        if (session_is_token(s) && !token_load(w, s)) {
            return false;
        }
    }
    return true;
}

void sign_in_start(struct worker *w)
{
    const struct weir_tables *t = &w->shared.tables;
    for (uint32_t i = 0; i < session_cnt; i++) {
        struct session *s = &session[i];
        const struct weir_config_sign_in *c = s->config;
        s->route = t->provider[c->provider_idx].route_first + (uint32_t)c->route_idx;
        s->crumb_route =
            c->crumb_route != NULL && c->crumb_route[0] != '\0'
                ? t->provider[c->crumb_provider_idx].route_first + (uint32_t)c->crumb_route_idx
                : UINT32_MAX;
        s->board = &w->region->sign_in_board[i];
        if (s->place != NULL) {
            /* no partner: the worker before is dead. weave: the supervisor at most waits a beat longer */
            weir_store_release_u64(&s->place->at_stake, 0);
        }
        s->board->provider = s->provider;
        const struct weir_config_key *key =
            s->auth->account_key_cnt > 0 ? &s->auth->account_key[s->key] : NULL;
        (void)snprintf(s->board->account, sizeof s->board->account, "%s",
                       key != NULL ? key->account : "");
        (void)snprintf(s->board->key, sizeof s->board->key, "%s", key != NULL ? key->name : "");
        session_board(s);
    }
}

void session_board(struct session *s)
{
    struct weir_shm_sign_in *b = s->board;
    if (b != NULL) { /* relaxed, all: for display */
        weir_store_relaxed_u32(&b->state, s->state);
        weir_store_relaxed_u32(&b->why, s->why);
        weir_store_relaxed_u32(&b->busy, s->step != STEP_REST);
        weir_store_relaxed_u64(&b->good_until_ns, s->generation != 0 ? s->good_until_ns : 0);
        weir_store_relaxed_u64(&b->next_ns, s->due_ns);
    }
}

/* ---------------------------------------------------------------------------------------------- what is due */

static bool is_over(const struct session *s)
{
    return s->state == WEIR_SIGN_IN_NONE || s->state == WEIR_SIGN_IN_LOST ||
           s->state == WEIR_SIGN_IN_REFUSED || s->state == WEIR_SIGN_IN_OFF;
}

void sign_in_turn(struct worker *w)
{
    for (uint32_t i = 0; i < session_cnt; i++) {
        struct session *s = &session[i];
        if (is_over(s) || (s->step != STEP_REST && s->step != STEP_UNKEPT)) {
            continue;
        }
        if (s->step == STEP_UNKEPT && session_is_leaving(w)) {
            s->due_ns = weir_min_u64(s->due_ns, w->now_ns + SIGN_IN_LEAVING_NS);
        }
        if (w->now_ns < s->due_ns) {
            worker_due(w, s->due_ns);
        } else if (s->step == STEP_UNKEPT) {
            token_write_again(w, s); /* leaving or not: it is the only token that there is */
        } else if (!session_is_leaving(w)) {
            if (session_is_token(s)) {
                token_begin(w, s);
            } else {
                cookie_begin(w, s);
            }
            session_board(s);
        }
    }
}

void sign_in_event(struct worker *w, const struct loop_event *e)
{
    uint32_t nth = e->index / 2;
    struct session *s = nth < session_cnt ? &session[nth] : NULL;
    if (s == NULL || e->generation != s->life || s->events >= 2) {
        return;
    }
    s->result[e->index % 2] = e->result;
    if (++s->events < 2) {
        return;
    }
    int error = s->result[0] < 0                                 ? -s->result[0]
                : (uint32_t)s->result[0] != SIGN_IN_RECORD_BYTES ? ENOSPC
                : s->result[1] != 0                              ? -s->result[1]
                                                                 : 0;
    token_written(w, s, error);
    session_board(s);
}

void sign_in_quiesce(struct worker *w)
{
    for (uint32_t i = 0; i < session_cnt; i++) {
        struct call *c = session[i].call;
        if (c == NULL || c->sends > 0 || c->sent_ns != 0) {
            continue;
        }
        if (c->stage == CALL_RUNNING) {
            exchange_stop(w, c);
        } else if (c->stage == CALL_QUEUED) {
            dispatch_unlink(w, c);
        } else {
            continue;
        }
        call_end(w, c, WEIR_RESULT_CANCELLED, 0);
    }
}

void sign_in_go_on(struct worker *w)
{
    for (uint32_t i = 0; i < session_cnt; i++) {
        struct session *s = &session[i];
        if (s->step == STEP_UNKEPT) { /* it was tried often of late, and waits as if for long */
            s->again_ns = SIGN_IN_AGAIN_NS;
            s->due_ns = weir_min_u64(s->due_ns, w->now_ns + SIGN_IN_AGAIN_NS);
        }
    }
}

bool sign_in_is_busy(const struct worker *w)
{
    (void)w;
    for (uint32_t i = 0; i < session_cnt; i++) {
        if (session_is_token(&session[i]) && session[i].step != STEP_REST) {
            return true;
        }
    }
    return false;
}

/* ---------------------------------------------------------------------------------------------- a call of its own */

bool session_ask(struct worker *w, struct session *s, uint32_t route, size_t body_bytes,
                 void (*done)(struct worker *w, struct call *c, enum weir_result result))
{
    const struct weir_shm_route_row *row = &w->shared.tables.route[route];
    struct call *c = call_make(w);
    if (c == NULL) {
        return false;
    }
    c->session = s;
    c->route = route;
    c->room = s->secret.room;
    c->room_bytes = (uint32_t)s->secret.room_bytes;
    c->priority = WEIR_PRIORITY_CRITICAL; /* whatever waits for it may be */
    c->idempotent = false;                /* once: curl, too, may not send it again */
    c->request.submitted_ns = w->now_ns;
    c->taken_ns = w->now_ns;
    c->deadline_ns = w->now_ns + row->timeout_ns;
    c->parts.path = c->parts.query = "";
    c->parts.body = body_bytes > 0 ? s->secret.form : "";
    c->parts.body_bytes = (uint32_t)body_bytes;
    c->internal_done = done;
    s->call = c;
    s->step = STEP_CALL;
    board_add(&w->region->route_stats[route].calls, 1);
    dispatch_enter(w, c);
    return true;
}

bool session_answered(struct session *s, struct call *c, enum weir_result result)
{
    bool whole = result == WEIR_RESULT_DONE;
    s->call = NULL;
    s->asked_ns = c->sent_ns;
    s->status = whole || result == WEIR_RESULT_TOO_LARGE ? c->transfer.status : 0;
    c->room = NULL; /* it is ours: call_free must not */
    c->room_bytes = 0;
    if (c->hear.at != NULL) {
        explicit_bzero(c->hear.at, c->hear.room_bytes);
    }
    c->session = NULL;
    return whole;
}

void session_room_wipe(struct session *s)
{
    explicit_bzero(s->secret.room, s->secret.room_bytes);
    if (s->secret.form != NULL) {
        explicit_bzero(s->secret.form, s->secret.form_room_bytes);
    }
}

/* Who waits for it looks now, not at the next tick. */
static void waiters_wake(struct worker *w, const struct session *s)
{
    const struct weir_shm_provider_row *row = &w->shared.tables.provider[s->provider];
    for (uint32_t i = 0; i < row->route_cnt * WEIR_PRIORITY_CNT; i++) {
        w->queue[row->route_first * WEIR_PRIORITY_CNT + i].not_before_ns = 0;
    }
    worker_due(w, w->now_ns);
}

static bool server_is_known(const struct worker *w, const struct session *s)
{
    const struct weir_config_provider *p = w->provider[s->provider].config;
    bool known = s->config->server == NULL || s->config->server[0] == '\0';
    for (size_t i = 0; i < p->endpoint_cnt; i++) {
        known = known || strcmp(p->endpoint[i].url.host, s->server) == 0;
    }
    return known;
}

void session_ready(struct worker *w, struct session *s, uint64_t lasts_ns)
{
    uint64_t lasts = lasts_ns != 0 ? lasts_ns : s->config->lifetime_ns;
    struct sign_in_times times = sign_in_times(s->asked_ns, lasts, s->config->margin_ns);
    s->generation++;
    s->good_until_ns = times.good_until_ns;
    s->due_ns = weir_max_u64(times.due_ns, w->now_ns + WEIR_NS_PER_S / 10);
    s->again_ns = SIGN_IN_AGAIN_NS;
    s->renew_ns = w->now_ns >= s->renew_not_before_ns ? SIGN_IN_RENEW_NS : s->renew_ns;
    s->step = STEP_REST;
    s->why = WEIR_SIGN_IN_WHY_NONE;
    bool known = server_is_known(w, s);
    s->state = known ? WEIR_SIGN_IN_READY : WEIR_SIGN_IN_ASTRAY;
    board_add(&s->board->done, 1);
    if (known) {
        log_info("signed_in", "s:s, s:s, s:s, s:I", "provider",
                 w->provider[s->provider].config->name, "account", s->board->account, "key",
                 s->board->key, "lasts_s", (long long)(lasts / WEIR_NS_PER_S));
    } else {
        log_error("sign_in_astray", "s:s, s:s, s:s, s:s", "provider",
                  w->provider[s->provider].config->name, "server", s->server, "meaning",
                  "the exchange sends our calls to a server that is no endpoint: they are refused",
                  "next_step", "write an endpoint for it, stop weird and start it");
    }
    session_board(s);
    waiters_wake(w, s);
}

void session_failed(struct worker *w, struct session *s, enum weir_sign_in_why why,
                    uint64_t told_ns)
{
    const struct backoff_rule rule = {.base_ns = s->again_ns,
                                      .factor = 1,
                                      .jitter_ppm = BACKOFF_WHOLE_PPM / 5,
                                      .max_ns = SIGN_IN_AGAIN_MAX_NS};
    uint64_t wait_ns = weir_max_u64(told_ns, backoff_pause_ns(&rule, 0, worker_draw(w)));
    s->again_ns = weir_min_u64(2 * s->again_ns, SIGN_IN_AGAIN_MAX_NS);
    s->step = STEP_REST;
    s->why = why;
    s->due_ns = w->now_ns + wait_ns;
    bool good = s->generation != 0 && w->now_ns < s->good_until_ns;
    s->state = good ? s->state : WEIR_SIGN_IN_WAITING;
    board_add(&s->board->failed, 1);
    log_warn("sign_in_failed", "s:s, s:s, s:s, s:s, s:i, s:b, s:I", "provider",
             w->provider[s->provider].config->name, "account", s->board->account, "key",
             s->board->key, "why", weir_sign_in_why_name(why), "status", (int)s->status,
             "session_in_force", (int)good, "again_in_ms", (long long)(wait_ns / WEIR_NS_PER_MS));
    session_board(s);
}
