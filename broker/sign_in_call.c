/*
 * sign_in_call.c: sessions as calls meet them: who waits for one, what is sent with a call, what an answer says of it, and the calls that sign in.
 */
#include "broker/sign_in_inside.h"

#include "broker/log.h"
#include "broker/signer.h"
#include "shm/weir_atomic.h"
#include "shm/weir_weave.h"

#include <string.h>

struct session *sign_in_of_call(const struct worker *w, const struct call *c)
{
    return c->client != NULL || c->doubt.asks != NULL ? signer_session(w, c->route, c->scope)
                                                      : NULL;
}

static bool is_good(const struct worker *w, const struct session *s)
{
    return s->generation != 0 && s->state != WEIR_SIGN_IN_ASTRAY && w->now_ns < s->good_until_ns;
}

bool sign_in_waits(struct worker *w, struct call *c)
{
    struct session *s = sign_in_of_call(w, c);
    if (s == NULL || is_good(w, s)) {
        return false;
    }
    bool never = s->state == WEIR_SIGN_IN_NONE || s->state == WEIR_SIGN_IN_LOST ||
                 s->state == WEIR_SIGN_IN_REFUSED || s->state == WEIR_SIGN_IN_OFF ||
                 s->state == WEIR_SIGN_IN_ASTRAY;
    uint64_t soon_ns = w->now_ns + WEIR_NS_PER_MS;
    c->denial = (struct weir_denial){.reason = WEIR_REASON_SIGN_IN,
                                     .limit = UINT32_MAX,
                                     .earliest_ns =
                                         never ? UINT64_MAX
                                         : s->step == STEP_REST && s->state != WEIR_SIGN_IN_UNKEPT
                                             ? weir_max_u64(s->due_ns, soon_ns)
                                             : soon_ns};
    if (!c->refused) { /* once for a call, however often it is looked at */
        c->refused = true;
        board_add(&s->board->refused, 1);
    }
    return true;
}

bool sign_in_leads(const struct worker *w, const struct call *c, const struct endpoint *e)
{
    const struct session *s = sign_in_of_call(w, c);
    return s == NULL || s->server[0] == '\0' || strcmp(e->config->url.host, s->server) == 0;
}

bool sign_in_proof(struct worker *w, const struct session *s, struct sign_in_proof *proof)
{
    *proof = (struct sign_in_proof){.line = session_is_token(s) ? s->secret.line : NULL,
                                    .crumb = session_is_token(s) ? "" : s->secret.crumb,
                                    .generation = s->generation};
    return s->generation != 0 && worker_now(w) < s->good_until_ns;
}

size_t sign_in_cookies_for(const struct session *s, const struct endpoint *e, char *to,
                           size_t cap_bytes)
{
    return sign_in_cookie_line(s->secret.jar, e->config->url.host, e->config->url.tls, to,
                               cap_bytes);
}

/* An answer said that what is in force is not taken: the next one is fetched now, if that was not asked for of late. */
static bool renew(struct worker *w, struct session *s)
{
    if (s->step != STEP_REST || !is_good(w, s)) {
        return true; /* it is under way, or awaited */
    }
    if (w->now_ns < s->renew_not_before_ns || s->state != WEIR_SIGN_IN_READY) {
        return false;
    }
    s->renew_not_before_ns = w->now_ns + s->renew_ns;
    s->renew_ns = weir_min_u64(2 * s->renew_ns, SIGN_IN_RENEW_MAX_NS);
    s->good_until_ns = w->now_ns; /* nothing is sent with it any more */
    s->due_ns = w->now_ns;
    worker_due(w, w->now_ns);
    board_add(&s->board->renewed, 1);
    log_warn("sign_in_renewed", "s:s, s:s, s:s, s:s", "provider",
             w->provider[s->provider].config->name, "account", s->board->account, "key",
             s->board->key, "meaning",
             "an answer said that the token was not taken: weir signs in once more");
    session_board(s);
    return true;
}

static bool is_expired(const struct session *s, uint32_t status)
{
    for (size_t i = 0; i < s->config->expired.cnt; i++) {
        if (s->config->expired.number[i] == status) {
            return true;
        }
    }
    return false;
}

bool sign_in_again(struct worker *w, struct call *c)
{
    struct session *s = c->sign != NULL && c->session == NULL ? sign_in_of_call(w, c) : NULL;
    if (s == NULL || !is_expired(s, c->transfer.status) || c->renewed || w->draining ||
        (c->client != NULL && c->client->gone) || w->now_ns >= c->deadline_ns) {
        return false;
    }
    /* Of an older one? Then the one in force has not been tried. */
    if (signer_generation(c) == s->generation && !renew(w, s)) {
        return false;
    }
    call_attempt_over(w, c, WEIR_RESULT_DONE);
    call_answer_keep(c);
    c->renewed = true;
    c->may_renew = true; /* one passage of the gate, for orders too: nothing was done */
    c->sent_ns = 0;
    c->writes = 0; /* another attempt, with all that curl may write in one */
    c->tried = tried_none();
    WEIR_WEAVE("session:again");
    dispatch_again(w, c);
    return true;
}

struct sign_in_request sign_in_request(const struct call *c)
{
    struct session *s = c->session;
    struct sign_in_request r = {NULL, NULL};
    if (session_is_token(s)) {
        r.query = c->parts.body_bytes == 0 ? s->secret.form : NULL;
    } else if (c->route == s->crumb_route && c->endpoint != NULL) {
        const struct weir_config_url *u = &c->endpoint->config->url;
        size_t bytes = sign_in_cookie_line(s->secret.jar_next, u->host, u->tls,
                                           s->secret.cookie_line, SIGN_IN_LINE_MAX_BYTES);
        r.line = bytes > 0 ? s->secret.cookie_line : NULL;
    }
    return r;
}

void sign_in_sent(struct worker *w, struct call *c)
{
    struct session *s = c->session;
    (void)w;
    if (session_is_token(s)) {
        s->place->sent =
            s->sequence; /* before a byte of it leaves: who dies behind this has spent it */
        /* no partner: the supervisor looks at it alone */
        weir_store_release_u64(&s->place->at_stake, s->sequence);
        WEIR_WEAVE("session:sent");
    }
}
