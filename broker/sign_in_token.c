/*
 * sign_in_token.c: refresh tokens of single use: which one is in hand, what stands on the disk of it, and what an answer made of it (sign_in.h has the steps).
 */
#include "broker/sign_in_inside.h"

#include "broker/log.h"
#include "broker/sign/sign_text.h"
#include "shm/weir_atomic.h"
#include "shm/weir_clock.h"
#include "shm/weir_weave.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const char lost_meaning[] = "sign-in lost: the refresh token may be spent, and its answer "
                                   "never came; its calls are refused";
static const char next_step[] =
    "get a new refresh token from the exchange, write it into the configuration, and send SIGHUP";

static const char *provider_name(const struct worker *w, const struct session *s)
{
    return w->config->provider[s->provider].name;
}

static const char *account_of(const struct session *s)
{
    return s->auth->account_key_cnt > 0 ? s->auth->account_key[s->key].account : "";
}

static const char *key_of(const struct session *s)
{
    return s->auth->account_key_cnt > 0 ? s->auth->account_key[s->key].name : "";
}

static void token_set(struct session *s, const char *token, size_t bytes, uint32_t uses)
{
    struct sign_in_record *r = s->secret.image;
    explicit_bzero(r->token, sizeof r->token);
    memcpy(r->token, token, bytes);
    r->token_bytes = (uint32_t)bytes;
    r->uses = uses;
    r->state = SIGN_IN_HELD;
}

/* ---------------------------------------------------------------------------------------------- what was left */

static void over(struct session *s, enum weir_sign_in_state state, enum weir_sign_in_why why)
{
    s->state = state;
    s->why = why;
    s->due_ns = UINT64_MAX;
    s->step = STEP_REST;
}

static void tell(struct worker *w, const struct session *s, const char *event, const char *meaning)
{
    log_error(event, "s:s, s:s, s:s, s:s, s:s", "provider", provider_name(w, s), "account",
              account_of(s), "key", key_of(s), "meaning", meaning, "next_step", next_step);
}

static void begin_by(struct worker *w, struct session *s, enum sign_in_begin begin,
                     const struct sign_in_record *found)
{
    struct sign_in_record *r = s->secret.image;
    bool unsent =
        found != NULL && s->place->written == found->sequence && s->place->sent != found->sequence;
    if (begin != SIGN_IN_BEGIN_GIVEN && found != NULL) {
        uint32_t uses = found->uses;
        token_set(s, found->token, found->token_bytes,
                  found->state == SIGN_IN_SPENDING && unsent ? uses - 1 : uses);
        r->state = begin == SIGN_IN_BEGIN_STORED ? SIGN_IN_HELD : found->state;
    }
    switch (begin) {
    case SIGN_IN_BEGIN_GIVEN:
        token_set(s, s->parts.token, strlen(s->parts.token), 0);
        log_info("sign_in_begins", "s:s, s:s, s:s, s:b", "provider", provider_name(w, s), "account",
                 account_of(s), "key", key_of(s), "in_place_of_a_stored_token",
                 (int)(found != NULL));
        break;
    case SIGN_IN_BEGIN_STORED:
        break;
    case SIGN_IN_BEGIN_AGAIN:
        s->why = WEIR_SIGN_IN_WHY_DIED;
        break;
    case SIGN_IN_BEGIN_LOST:
        over(s, WEIR_SIGN_IN_LOST, WEIR_SIGN_IN_WHY_DIED);
        tell(w, s, "sign_in_lost", lost_meaning);
        break;
    case SIGN_IN_BEGIN_REFUSED:
        over(s, WEIR_SIGN_IN_REFUSED, WEIR_SIGN_IN_WHY_STATUS);
        tell(w, s, "sign_in_refused",
             "the exchange said no to this refresh token; its calls are refused");
        break;
    case SIGN_IN_BEGIN_DAMAGED:
        over(s, WEIR_SIGN_IN_LOST, WEIR_SIGN_IN_WHY_DISK);
        log_error("sign_in_lost", "s:s, s:s, s:s, s:s, s:s", "provider", provider_name(w, s),
                  "account", account_of(s), "key", key_of(s), "meaning",
                  "the file with its refresh token cannot be read, and the configured one may be "
                  "spent",
                  "next_step",
                  "move the file away, write a new refresh token into the configuration, and send "
                  "SIGHUP");
        break;
    }
}

bool token_load(struct worker *w, struct session *s)
{
    const struct sign_in_record *found = NULL;
    struct sign_in_record *r = s->secret.image;
    char *slots = s->secret.room; /* larger, and of memory for keys */
    if (s->parts.token == NULL || s->parts.token[0] == '\0') {
        over(s, WEIR_SIGN_IN_NONE, WEIR_SIGN_IN_WHY_NONE);
        return true;
    }
    if (s->fd < 0) {
        over(s, WEIR_SIGN_IN_OFF, WEIR_SIGN_IN_WHY_DISK);
        return true;
    }
    sign_in_identity(&w->config->provider[s->provider], s->key, r->identity);
    sign_in_seed(s->parts.token, r->seed);
    ssize_t n = pread(s->fd, slots, SIGN_IN_FILE_BYTES, 0);
    enum sign_in_found what = n == (ssize_t)SIGN_IN_FILE_BYTES
                                  ? sign_in_find(slots, r->identity, &found, &s->slot)
                                  : SIGN_IN_FOUND_DAMAGED;
    s->sequence = found != NULL ? found->sequence : 0;
    begin_by(w, s, sign_in_judge(what, found, r->seed, s->place, s->config->second_use_max), found);
    explicit_bzero(slots, SIGN_IN_FILE_BYTES);
    return true;
}

/* ---------------------------------------------------------------------------------------------- the disk */

static void record_write(struct worker *w, struct session *s, enum session_step step)
{
    struct sign_in_record *r = s->secret.image;
    uint32_t to = s->slot ^ 1U;
    r->sequence = s->sequence + 1;
    r->utc_ns = weir_clock_realtime_ns();
    sign_in_seal(r);
    if (step == STEP_INTENT) {
        s->place->written =
            r->sequence; /* before the kernel is asked: what is found on the disk is ours, or of before us */
    }
    s->step = step;
    s->life = (s->life + 1) & 0xffffffU;
    s->events = 0;
    WEIR_WEAVE("session:write");
    loop_write_token(&w->loop, s->life, s->nth, s->fd, r, SIGN_IN_RECORD_BYTES,
                     (uint64_t)to * SIGN_IN_RECORD_BYTES);
}

void token_write_again(struct worker *w, struct session *s)
{
    record_write(w, s, STEP_KEEP);
}

static void not_kept(struct worker *w, struct session *s, int error)
{
    bool only_here = s->step == STEP_KEEP;
    if (s->state != WEIR_SIGN_IN_UNKEPT) {
        log_error("sign_in_not_kept", "s:s, s:s, s:s, s:s, s:s, s:s", "provider",
                  provider_name(w, s), "account", account_of(s), "key", key_of(s), "reason",
                  strerror(error), "meaning",
                  only_here ? "the new refresh token is in the worker's memory alone, and is not "
                              "used before it is kept; do not stop weird"
                            : "nothing is sent before the disk takes it",
                  "next_step", "make room or repair the disk; it is tried again");
    }
    session_failed(w, s, WEIR_SIGN_IN_WHY_DISK, 0);
    if (only_here) {
        s->step = STEP_UNKEPT;
        s->state = WEIR_SIGN_IN_UNKEPT;
    }
}

/* What became of the token that was sent is on the disk, or nothing more will be: nobody need spare this worker for it. */
static void stake_end(const struct session *s)
{
    if (s->step == STEP_REST) {
        /* no partner: as it was set. weave: the supervisor at most waits a beat longer */
        weir_store_release_u64(&s->place->at_stake, 0);
    }
}

static void token_asked(struct worker *w, struct call *c, enum weir_result result);

/* SPENDING is on the disk: now it may leave. */
static void intent_written(struct worker *w, struct session *s)
{
    struct sign_in_record *r = s->secret.image;
    WEIR_WEAVE("session:intent");
    s->secret.form_bytes =
        sign_in_form(s->secret.form, s->secret.form_room_bytes, r, s->parts.key, s->parts.secret);
    bool is_post = w->shared.tables.route[s->route].method == WEIR_METHOD_POST;
    if (session_is_leaving(w) || s->secret.form_bytes == 0 ||
        !session_ask(w, s, s->route, is_post ? s->secret.form_bytes : 0, token_asked)) {
        r->state = SIGN_IN_HELD;
        r->uses--;
        record_write(w, s, STEP_UNDO);
    }
}

static void kept(struct worker *w, struct session *s)
{
    struct sign_in_answer *a = s->secret.answer;
    WEIR_WEAVE("session:kept");
    if (s->secret.image->state == SIGN_IN_REFUSED) {
        over(s, WEIR_SIGN_IN_REFUSED, WEIR_SIGN_IN_WHY_STATUS);
        return;
    }
    if (a->access_bytes == 0) {
        session_failed(w, s, WEIR_SIGN_IN_WHY_ANSWER, 0);
        return;
    }
    struct sign_text line = {.at = s->secret.line, .cap_bytes = SIGN_TOKEN_MAX_BYTES + 63};
    explicit_bzero(s->secret.line, SIGN_TOKEN_MAX_BYTES + 64);
    sign_put_text(&line, "Authorization: Bearer ");
    sign_put(&line, (struct sign_slice){a->access, a->access_bytes});
    (void)snprintf(s->server, sizeof s->server, "%s", a->server);
    uint64_t lasts_ns = a->lasts_ns;
    explicit_bzero(a, sizeof *a);
    session_ready(w, s, lasts_ns);
}

void token_written(struct worker *w, struct session *s, int error)
{
    enum session_step step = s->step;
    if (error == 0) {
        s->slot ^= 1U;
        s->sequence = s->secret.image->sequence;
    }
    switch (step) {
    case STEP_INTENT:
        if (error == 0) {
            intent_written(w, s);
        } else {
            s->secret.image->uses--;
            s->secret.image->state = SIGN_IN_HELD;
            not_kept(w, s, error);
        }
        break;
    case STEP_KEEP:
        if (error == 0) {
            kept(w, s);
        } else {
            not_kept(w, s, error);
        }
        break;
    case STEP_UNDO: /* where it failed SPENDING stays there: a worker that finds it errs against the user */
        s->step = STEP_REST;
        break;
    case STEP_REST:
    case STEP_CALL:
    case STEP_UNKEPT:
        break;
    }
    stake_end(s);
}

void token_begin(struct worker *w, struct session *s)
{
    struct sign_in_record *r = s->secret.image;
    if (r->uses >
        0) { /* it was sent before, and what became of it is not known: only by second_use */
        board_add(&s->board->second_uses, 1);
        log_warn("sign_in_token_sent_again", "s:s, s:s, s:s, s:i, s:s", "provider",
                 provider_name(w, s), "account", account_of(s), "key", key_of(s), "uses",
                 (int)r->uses + 1, "meaning",
                 "this refresh token may be spent: sign_in.second_use allows to send it again");
    }
    r->state = SIGN_IN_SPENDING;
    r->uses++;
    record_write(w, s, STEP_INTENT);
}

/* ---------------------------------------------------------------------------------------------- the answer */

/* Nothing of it left, or it was not looked at: as it was. */
static void unsent(struct worker *w, struct session *s, const struct call *c)
{
    struct sign_in_record *r = s->secret.image;
    session_failed(w, s, c->sends == 0 ? WEIR_SIGN_IN_WHY_UNSENT : WEIR_SIGN_IN_WHY_STOPPED,
                   c->retry_after_ns);
    r->uses--;
    r->state = r->uses == 0 ? SIGN_IN_HELD : SIGN_IN_SPENDING;
    record_write(w, s, STEP_UNDO);
}

/* It may be spent. SPENDING is on the disk, and stays. */
static void unsure(struct worker *w, struct session *s, enum weir_sign_in_why why)
{
    bool again = s->secret.image->uses <= s->config->second_use_max;
    session_failed(w, s, why, 0);
    if (!again) {
        over(s, WEIR_SIGN_IN_LOST, why);
        tell(w, s, "sign_in_lost", lost_meaning);
        session_board(s);
    }
}

static void refused(struct worker *w, struct session *s, const char *error)
{
    log_error("sign_in_refused", "s:s, s:s, s:s, s:i, s:s, s:s, s:s", "provider",
              provider_name(w, s), "account", account_of(s), "key", key_of(s), "status",
              (int)s->status, "error", error, "meaning",
              "the exchange said no to this refresh token; its calls are refused", "next_step",
              next_step);
    board_add(&s->board->failed, 1);
    over(s, WEIR_SIGN_IN_REFUSED, WEIR_SIGN_IN_WHY_STATUS);
    s->secret.image->state = SIGN_IN_REFUSED;
    record_write(w, s, STEP_KEEP);
}

/* `stopped`: it is whole, and said stop. */
static void answered(struct worker *w, struct session *s, const struct call *c, const char *body,
                     size_t bytes, bool stopped)
{
    struct sign_in_answer *a = s->secret.answer;
    const char *server = s->config->server != NULL ? s->config->server : "";
    enum sign_in_says says = sign_in_read(body, bytes, server, a);
    if (says == SIGN_IN_SAYS_NOTHING && stopped) {
        unsent(w, s, c);
        return;
    }
    if (says == SIGN_IN_SAYS_NOTHING) {
        unsure(w, s, WEIR_SIGN_IN_WHY_ANSWER);
        return;
    }
    if (a->refresh_bytes > 0) {
        token_set(s, a->refresh, a->refresh_bytes, 0);
    } else { /* RFC 6749, 6: it stays good */
        s->secret.image->state = SIGN_IN_HELD;
        s->secret.image->uses = 0;
    }
    record_write(w, s, STEP_KEEP);
}

static void token_asked(struct worker *w, struct call *c, enum weir_result result)
{
    struct session *s = c->session;
    uint32_t head_bytes = c->head_bytes;
    uint32_t body_bytes = c->body_bytes;
    bool whole = session_answered(s, c, result);
    bool heard = whole || result == WEIR_RESULT_TOO_LARGE;
    const char *body = s->secret.room + head_bytes;
    WEIR_WEAVE("session:answered");
    switch (sign_in_end_of(c->sends > 0, heard, c->throttled, s->status)) {
    case SIGN_IN_END_UNSENT:
        unsent(w, s, c);
        break;
    case SIGN_IN_END_GOOD:
        answered(w, s, c, body, whole ? body_bytes : 0, whole && c->throttled);
        break;
    case SIGN_IN_END_REFUSED:
        refused(w, s, whole ? sign_in_error(body, body_bytes) : "other");
        break;
    case SIGN_IN_END_UNSURE:
        unsure(w, s, heard ? WEIR_SIGN_IN_WHY_STATUS : WEIR_SIGN_IN_WHY_SILENT);
        break;
    }
    session_room_wipe(s);
    session_board(s);
    stake_end(s);
}
