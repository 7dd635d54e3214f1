#include "sim_session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NS_PER_S = 1000000000 };

#define AT(member) offsetof(struct sim_session_rule, member)

struct document {
    struct sim_session_rule rule;
    const json_t *paths;
};

bool sim_session_read(const json_t *object, struct sim_session_rule *rule, struct sim_error *error)
{
    static const struct sim_field fields[] = {
        {"token", SIM_FIELD_TEXT, AT(token), 1, SIM_SESSION_TEXT_BYTES},
        {"first", SIM_FIELD_TEXT, AT(first), 1, SIM_SESSION_TEXT_BYTES},
        {"lasts_s", SIM_FIELD_INTEGER, AT(lasts_s), 1, 1e9},
        {"same", SIM_FIELD_FLAG, AT(same)},
        {"server", SIM_FIELD_TEXT, AT(server), 1, SIM_SESSION_TEXT_BYTES},
        {"cookie", SIM_FIELD_TEXT, AT(cookie), 1, SIM_SESSION_TEXT_BYTES},
        {"crumb", SIM_FIELD_TEXT, AT(crumb), 1, SIM_SESSION_TEXT_BYTES},
        {"paths", SIM_FIELD_JSON, offsetof(struct document, paths)},
        {0},
    };
    struct document document = {.rule = {.lasts_s = 1800}};

    if (!sim_json_read(object, "session", fields, &document, error)) {
        return false;
    }
    if (json_array_size(document.paths) > SIM_SESSION_PATH_MAX) {
        return sim_error_set(error, "session.paths: must be at most %d", SIM_SESSION_PATH_MAX);
    }
    for (size_t i = 0; i < json_array_size(document.paths); i++) {
        const char *text = json_string_value(json_array_get(document.paths, i));

        if (!text || strlen(text) > SIM_SESSION_TEXT_BYTES) {
            return sim_error_set(
                error, "session.paths[%zu]: must be a text such as \"GET /v1/accounts\"", i);
        }
        strcpy(document.rule.paths[document.rule.path_cnt++], text);
    }
    *rule = document.rule;
    return true;
}

bool sim_session_is(const char *rule, const char *method, const char *path)
{
    size_t bytes = strlen(method);

    return strncmp(rule, method, bytes) == 0 && rule[bytes] == ' ' &&
           strcmp(rule + bytes + 1, path) == 0;
}

bool sim_session_wanted(const struct sim_session_rule *rule, const char *method, const char *path)
{
    for (size_t i = 0; i < rule->path_cnt; i++) {
        if (sim_session_is(rule->paths[i], method, path)) {
            return true;
        }
    }
    return false;
}

/* How many refresh tokens are not good any more. */
static int64_t spent_cnt(const struct sim_session *session)
{
    return session->given_cnt + session->issued_cnt;
}

/* The refresh token behind `n` others. */
static const char *refresh_text(const struct sim_session_rule *rule, int64_t n)
{
    static char text[SIM_SESSION_TEXT_BYTES + 1];

    if (n == 0 || rule->same) {
        return rule->first;
    }
    snprintf(text, sizeof(text), "refresh/sim-token+%lld=", (long long)n);
    return text;
}

static json_t *grant_refused(int *status)
{
    *status = 400;
    return json_pack("{s:s, s:s}", "error", "invalid_grant", "error_description", "sim-token no");
}

json_t *sim_session_refresh(struct sim_session *session, const struct sim_session_rule *rule,
                            const char *grant, const char *token, int64_t now_mono_ns, int *status)
{
    struct sim_session_access *access;
    json_t *answer;

    if (!grant || strcmp(grant, "refresh_token") != 0 || !token ||
        strcmp(token, refresh_text(rule, spent_cnt(session))) != 0) {
        bool spent = false;

        for (int64_t n = 0; token && n < spent_cnt(session) && !spent; n++) {
            spent = strcmp(token, refresh_text(rule, n)) == 0;
        }
        session->reused_cnt += spent;
        session->unknown_cnt += !spent;
        return grant_refused(status);
    }
    access = &session->access[session->given_cnt++ % SIM_SESSION_ACCESS_MAX];
    snprintf(access->text, sizeof(access->text), "access/sim-token.%lld",
             (long long)session->given_cnt);
    access->until_mono_ns = now_mono_ns + rule->lasts_s * NS_PER_S;
    *status = 200;
    answer = json_pack("{s:s, s:s, s:I}", "access_token", access->text, "token_type", "Bearer",
                       "expires_in", (json_int_t)rule->lasts_s);
    if (!rule->same) {
        json_object_set_new(answer, "refresh_token",
                            json_string(refresh_text(rule, spent_cnt(session))));
    }
    if (*rule->server) {
        json_object_set_new(answer, "api_server", json_string(rule->server));
    }
    return answer;
}

static void cookie_pair(const struct sim_session *session, char text[SIM_SESSION_PROOF_BYTES])
{
    snprintf(text, SIM_SESSION_PROOF_BYTES, "A1=sim-token-cookie-%lld",
             (long long)session->cookie_cnt);
}

const char *sim_session_cookie(struct sim_session *session, const struct sim_session_rule *rule,
                               int64_t now_mono_ns)
{
    static char text[256];
    char pair[SIM_SESSION_PROOF_BYTES];

    session->cookie_cnt++;
    session->revoked = false;
    session->cookie_until_mono_ns = now_mono_ns + rule->lasts_s * NS_PER_S;
    cookie_pair(session, pair);
    snprintf(text, sizeof(text), "%s; Max-Age=%lld; Path=/; HttpOnly; SameSite=Lax", pair,
             (long long)rule->lasts_s);
    return text;
}

/* Is it the cookie in force, whatever else stands beside it? */
static bool cookie_good(const struct sim_session *session, const char *cookie, int64_t now_mono_ns)
{
    char pair[SIM_SESSION_PROOF_BYTES];
    const char *at;

    cookie_pair(session, pair);
    at = cookie ? strstr(cookie, pair) : NULL;
    return session->cookie_cnt > 0 && !session->revoked &&
           now_mono_ns < session->cookie_until_mono_ns && at &&
           (at[strlen(pair)] == '\0' || at[strlen(pair)] == ';');
}

static void crumb_text(const struct sim_session *session, char text[SIM_SESSION_PROOF_BYTES])
{
    snprintf(text, SIM_SESSION_PROOF_BYTES, "crumb/sim-token.%lld", (long long)session->cookie_cnt);
}

const char *sim_session_crumb(struct sim_session *session, const char *cookie, int64_t now_mono_ns)
{
    static char text[SIM_SESSION_PROOF_BYTES];

    if (!cookie_good(session, cookie, now_mono_ns)) {
        session->crumb_bad_cnt++;
        return NULL;
    }
    session->crumb_cnt++;
    crumb_text(session, text);
    return text;
}

static bool access_good(const struct sim_session *session, const char *authorization,
                        int64_t now_mono_ns)
{
    static const char scheme[] = "Bearer ";

    if (!authorization || strncmp(authorization, scheme, sizeof(scheme) - 1) != 0) {
        return false;
    }
    for (int i = 0; i < SIM_SESSION_ACCESS_MAX; i++) {
        const struct sim_session_access *access = &session->access[i];

        if (now_mono_ns < access->until_mono_ns &&
            strcmp(access->text, authorization + sizeof(scheme) - 1) == 0) {
            return true;
        }
    }
    return false;
}

bool sim_session_check(struct sim_session *session, const struct sim_session_rule *rule,
                       const char *authorization, const char *cookie, const char *crumb,
                       int64_t now_mono_ns)
{
    char wanted[SIM_SESSION_PROOF_BYTES];
    bool good;

    crumb_text(session, wanted);
    good = *rule->cookie ? cookie_good(session, cookie, now_mono_ns) &&
                               (!*rule->crumb || (crumb && strcmp(crumb, wanted) == 0))
                         : access_good(session, authorization, now_mono_ns);
    session->good_cnt += good;
    session->bad_cnt += !good;
    return good;
}

const char *sim_session_issue(struct sim_session *session, const struct sim_session_rule *rule)
{
    session->issued_cnt++;
    return refresh_text(rule, spent_cnt(session));
}

void sim_session_revoke(struct sim_session *session)
{
    memset(session->access, 0, sizeof(session->access));
    session->revoked = true;
}

json_t *sim_session_report(const struct sim_session *session)
{
    return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "given",
                     (json_int_t)session->given_cnt, "reused", (json_int_t)session->reused_cnt,
                     "unknown", (json_int_t)session->unknown_cnt, "good",
                     (json_int_t)session->good_cnt, "bad", (json_int_t)session->bad_cnt, "cookies",
                     (json_int_t)session->cookie_cnt, "crumbs", (json_int_t)session->crumb_cnt,
                     "crumbs_refused", (json_int_t)session->crumb_bad_cnt);
}
