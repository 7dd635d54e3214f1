/* Tokens, cookies and crumbs, and the calls that want one. */
#include "sim_request.h"

#include <stdlib.h>
#include <string.h>

static void text_answer(struct sim_request *request, int status, const char *text)
{
    char *body = strdup(text);

    sim_answer_text(request, status, "text/plain;charset=UTF-8", body, body ? strlen(body) : 0);
}

static void token_answer(struct sim_request *request, int64_t now_mono_ns)
{
    struct sim *sim = request->sim;
    char grant[64];
    char token[512];
    bool has_grant = sim_request_param(request, "grant_type", grant, sizeof(grant));
    bool has_token = sim_request_param(request, "refresh_token", token, sizeof(token));
    int status;
    json_t *root =
        sim_session_refresh(&sim->exchange.session, &sim->config.session, has_grant ? grant : NULL,
                            has_token ? token : NULL, now_mono_ns, &status);

    sim_answer_json(request, status, root);
}

bool sim_login_answer(struct sim_request *request)
{
    struct sim *sim = request->sim;
    const struct sim_session_rule *rule = &sim->config.session;
    struct sim_session *session = &sim->exchange.session;
    int64_t now_mono_ns = sim_clock_now(&sim->clock).mono_ns;
    const char *cookie = sim_request_header(request, "Cookie");

    if (sim_session_is(rule->token, request->method, request->path)) {
        token_answer(request, now_mono_ns);
        return true;
    }
    if (sim_session_is(rule->cookie, request->method, request->path)) {
        text_answer(request, 404, "");
        request->answer.cookie = sim_session_cookie(session, rule, now_mono_ns);
        return true;
    }
    if (sim_session_is(rule->crumb, request->method, request->path)) {
        const char *crumb = sim_session_crumb(session, cookie, now_mono_ns);

        text_answer(request, crumb ? 200 : 401, crumb ? crumb : "");
        return true;
    }
    if (sim_session_wanted(rule, request->method, request->path) &&
        !sim_session_check(session, rule, sim_request_header(request, "Authorization"), cookie,
                           sim_request_query(request, "crumb"), now_mono_ns)) {
        sim_answer_error(request, 401, 1017, "Access token is invalid");
        return true;
    }
    return false;
}
