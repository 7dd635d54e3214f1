/*
 * sign_in_cookie.c: a cookie, and the crumb that goes with it. Both are fetched anew by each worker: they cost a call or two, and nobody owns the last one.
 */
#include "broker/sign_in_inside.h"

#include "shm/weir_weave.h"

#include <string.h>

static void over(struct worker *w, struct session *s)
{
    struct sign_in_jar *jar = s->secret.jar;
    s->secret.jar = s->secret.jar_next;
    s->secret.jar_next = jar;
    explicit_bzero(jar, sizeof *jar);
    session_ready(w, s, s->secret.jar->lasts_ns);
}

static void on_crumb(struct worker *w, struct call *c, enum weir_result result)
{
    struct session *s = c->session;
    const char *body = s->secret.room + c->head_bytes;
    uint32_t body_bytes = c->body_bytes;
    uint64_t asked_ns = s->asked_ns; /* the cookie's: it is the older one */
    char crumb[SIGN_IN_CRUMB_MAX_BYTES + 1];
    bool whole = session_answered(s, c, result);
    s->asked_ns = asked_ns;
    WEIR_WEAVE("session:crumb");
    if (!whole || c->throttled) {
        session_failed(w, s,
                       c->throttled    ? WEIR_SIGN_IN_WHY_STOPPED
                       : c->sends == 0 ? WEIR_SIGN_IN_WHY_UNSENT
                                       : WEIR_SIGN_IN_WHY_SILENT,
                       c->retry_after_ns);
    } else if (s->status != 200) {
        session_failed(w, s, WEIR_SIGN_IN_WHY_STATUS, 0);
    } else if (!sign_in_crumb(body, body_bytes, crumb)) {
        session_failed(w, s, WEIR_SIGN_IN_WHY_ANSWER, 0);
    } else {
        memcpy(s->secret.crumb, crumb, sizeof crumb);
        over(w, s);
    }
    explicit_bzero(crumb, sizeof crumb);
    explicit_bzero(s->secret.cookie_line, SIGN_IN_LINE_MAX_BYTES);
    session_room_wipe(s);
    session_board(s);
}

/* Whatever the status says: Yahoo gives its cookie with a 404. */
static void on_cookie(struct worker *w, struct call *c, enum weir_result result)
{
    struct session *s = c->session;
    uint32_t head_bytes = c->head_bytes;
    const struct endpoint *e = c->endpoint;
    bool whole = session_answered(s, c, result);
    bool heard = whole || result == WEIR_RESULT_TOO_LARGE; /* its head is whole */
    bool has = heard && !c->throttled && s->status < 500 && e != NULL &&
               sign_in_cookies(s->secret.jar_next, s->secret.room, head_bytes, e->config->url.host);
    WEIR_WEAVE("session:cookie");
    if (!heard || c->throttled) {
        session_failed(w, s,
                       c->throttled    ? WEIR_SIGN_IN_WHY_STOPPED
                       : c->sends == 0 ? WEIR_SIGN_IN_WHY_UNSENT
                                       : WEIR_SIGN_IN_WHY_SILENT,
                       c->retry_after_ns);
    } else if (!has) {
        session_failed(w, s, s->status >= 500 ? WEIR_SIGN_IN_WHY_STATUS : WEIR_SIGN_IN_WHY_ANSWER,
                       0);
    } else if (s->crumb_route == UINT32_MAX) {
        over(w, s);
    } else if (session_is_leaving(w) || !session_ask(w, s, s->crumb_route, 0, on_crumb)) {
        session_failed(w, s, WEIR_SIGN_IN_WHY_UNSENT, 0);
    }
    if (s->step != STEP_CALL) {
        session_room_wipe(s);
    }
    session_board(s);
}

void cookie_begin(struct worker *w, struct session *s)
{
    if (!session_ask(w, s, s->route, 0, on_cookie)) {
        session_failed(w, s, WEIR_SIGN_IN_WHY_UNSENT, 0);
    }
}
