/*
 * Sessions: a token endpoint whose refresh tokens are good for one use (RFC 6749, 6), and a cookie with a crumb (Yahoo). Knows no HTTP.
 *
 * A refresh token that comes a second time is counted and answered 400 invalid_grant, and so is one that was never given. All tokens hold the text "sim-token",
 * so that whoever looks for secrets finds them.
 */
#ifndef SIM_SESSION_H
#define SIM_SESSION_H

#include "sim_json.h"

#include <stddef.h>
#include <stdint.h>

enum {
    SIM_SESSION_TEXT_BYTES = 127,
    SIM_SESSION_PATH_MAX = 16,
    SIM_SESSION_ACCESS_MAX = 64,
    SIM_SESSION_PROOF_BYTES = 64
};

/* All empty: nothing is checked. */
struct sim_session_rule {
    char token[SIM_SESSION_TEXT_BYTES + 1];  /* "POST /oauth2/token" */
    char first[SIM_SESSION_TEXT_BYTES + 1];  /* the refresh token that is good at the start */
    int64_t lasts_s;                         /* access tokens and cookies */
    bool same;                               /* no new refresh token: the first one stays good */
    char server[SIM_SESSION_TEXT_BYTES + 1]; /* "": the answer names none */
    char cookie[SIM_SESSION_TEXT_BYTES + 1]; /* "GET /consent", answered 404 with a cookie */
    char crumb[SIM_SESSION_TEXT_BYTES + 1];
    char paths[SIM_SESSION_PATH_MAX]
              [SIM_SESSION_TEXT_BYTES + 1]; /* that want a token, or cookie and crumb */
    size_t path_cnt;
};

struct sim_session_access {
    char text[SIM_SESSION_PROOF_BYTES];
    int64_t until_mono_ns;
};

struct sim_session {
    int64_t given_cnt;  /* tokens given for a refresh token */
    int64_t issued_cnt; /* ... to a person */
    int64_t reused_cnt; /* ... asked for with one that was spent */
    int64_t unknown_cnt;
    int64_t good_cnt; /* calls with a proof in force */
    int64_t bad_cnt;
    int64_t cookie_cnt, crumb_cnt;
    int64_t crumb_bad_cnt;                                    /* asked for without the cookie */
    struct sim_session_access access[SIM_SESSION_ACCESS_MAX]; /* the latest */
    int64_t cookie_until_mono_ns;
    bool revoked; /* what was given before is not taken any more */
};

bool sim_session_read(const json_t *object, struct sim_session_rule *rule, struct sim_error *error);

/* Is `method` `path` this one of the rule? */
bool sim_session_is(const char *rule, const char *method, const char *path);
bool sim_session_wanted(const struct sim_session_rule *rule, const char *method, const char *path);

/* A refresh token has come. Returns the answer's object, and 200 or 400 in STATUS. */
json_t *sim_session_refresh(struct sim_session *session, const struct sim_session_rule *rule,
                            const char *grant, const char *token, int64_t now_mono_ns, int *status);

/* The value of Set-Cookie, and the crumb for a Cookie line; NULL: that is not the cookie. In static memory. */
const char *sim_session_cookie(struct sim_session *session, const struct sim_session_rule *rule,
                               int64_t now_mono_ns);
const char *sim_session_crumb(struct sim_session *session, const char *cookie, int64_t now_mono_ns);

/* May this call be made? AUTHORIZATION, COOKIE and CRUMB as they came; NULL: not there. */
bool sim_session_check(struct sim_session *session, const struct sim_session_rule *rule,
                       const char *authorization, const char *cookie, const char *crumb,
                       int64_t now_mono_ns);

/* A person fetches a new refresh token from the exchange's page: those before are not good any more. In static memory. */
const char *sim_session_issue(struct sim_session *session, const struct sim_session_rule *rule);

/* Nothing that was given so far is taken any more. */
void sim_session_revoke(struct sim_session *session);

json_t *sim_session_report(const struct sim_session *session);

#endif
