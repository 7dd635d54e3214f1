/*
 * config_check_sign_in.c: sessions: which keys they take, and the routes by which weir signs itself in.
 */
#include <string.h>

#include "broker/config/config_check.h"
#include "broker/config/config_reader.h"

/* Its answers lie in locked memory. */
#define ANSWER_MAX_BYTES ((uint64_t)65536)
#define SESSIONS_MAX     ((size_t)256) /* SIGN_IN_SESSIONS_MAX */

static void complain(struct weir_config_reader *reader, const struct weir_config_place *place,
                     const char *key, const char *why)
{
    struct weir_config_place child = weir_config_place_key(place, key);
    weir_config_error(reader, &child, "%s", why);
}

static bool is_written(const struct weir_config_place *place, const char *key)
{
    return weir_config_node_find(place->node, key) != NULL;
}

static bool is_set(const char *text)
{
    return text != NULL && text[0] != '\0';
}

/* ---------------------------------------------------------------------------------------------- keys */

static void check_cookie(struct weir_config_reader *reader, const struct weir_config_sign_in *s,
                         const struct weir_config_place *place, const struct weir_config_place *at)
{
    if (is_written(place, "keys")) {
        complain(reader, place, "keys",
                 "has no use with kind: cookie, which is of no account: remove it");
    }
    if (is_set(s->server)) {
        complain(reader, at, "server", "has no use with kind: cookie: remove it");
    }
    if (is_written(at, "second_use")) {
        complain(reader, at, "second_use", "has no use with kind: cookie: remove it");
    }
    if (is_set(s->crumb) != is_set(s->crumb_route)) {
        complain(reader, at, is_set(s->crumb) ? "crumb_route" : "crumb",
                 is_set(s->crumb) ? "missing: where is the crumb fetched?"
                                  : "missing: which parameter bears the crumb?");
    }
}

void weir_config_check_session(struct weir_config_reader *reader,
                               const struct weir_config_auth *auth,
                               const struct weir_config_place *place)
{
    struct weir_config_place at = weir_config_place_key(place, "sign_in");
    const struct weir_config_sign_in *s = &auth->sign_in;
    if (!sign_has_session(auth->kind)) {
        if (is_written(place, "sign_in")) {
            weir_config_error(reader, &at,
                              "has no use with this kind, which needs no session: remove it");
        }
        return;
    }
    if (!is_set(s->route)) {
        weir_config_error(reader, &at, "missing: by which route does weir sign itself in?");
        return;
    }
    if (auth->kind == SIGN_COOKIE) {
        check_cookie(reader, s, place, &at);
        return;
    }
    if (is_set(s->crumb_route) || is_set(s->crumb)) {
        complain(reader, &at, is_set(s->crumb) ? "crumb" : "crumb_route",
                 "has no use with kind: oauth2: remove it");
    }
}

/* ---------------------------------------------------------------------------------------------- routes */

static const struct weir_config_route *route_find(const struct weir_config *config,
                                                  const char *name, size_t *provider, size_t *route)
{
    for (size_t p = 0; p < config->provider_cnt; p++) {
        const struct weir_config_provider *it = &config->provider[p];
        for (size_t r = 0; r < it->route_cnt; r++) {
            if (strcmp(it->route[r].full_name, name) == 0) {
                *provider = p;
                *route = r;
                return &it->route[r];
            }
        }
    }
    return NULL;
}

/* NULL: weir can sign itself in by it. */
static const char *route_fault(const struct weir_config_route *route, bool is_token)
{
    size_t path_bytes = strlen(route->path);
    if (route->transport != WEIR_CONFIG_TRANSPORT_WEIR) {
        return "has transport: own, so weir cannot call it";
    }
    if (route->is_signed) {
        return "has signed: true, and there is nothing to sign with before it was called";
    }
    if (is_token && route->method != WEIR_METHOD_GET && route->method != WEIR_METHOD_POST) {
        return "must be a POST or a GET";
    }
    if (!is_token && route->method != WEIR_METHOD_GET) {
        return "must be a GET";
    }
    if (path_bytes >= 2 && strcmp(route->path + path_bytes - 2, "/*") == 0) {
        return "must have a whole path: weir has nothing to put in the place of *";
    }
    if (route->cache_ns != 0) {
        return "has cache: what signs in is shared with nobody";
    }
    return route->response_max_bytes > ANSWER_MAX_BYTES
               ? "must have a max_response of at most 64KiB: its answer lies in locked memory"
               : NULL;
}

static void check_route(struct weir_config_reader *reader, const struct weir_config *config,
                        const struct weir_config_place *at, const char *key, const char *name,
                        bool is_token, size_t *provider, size_t *route)
{
    const struct weir_config_route *r = route_find(config, name, provider, route);
    const char *fault =
        r == NULL ? "no such route: write it as provider.route, and below that provider's routes"
                  : route_fault(r, is_token);
    if (fault != NULL) {
        complain(reader, at, key, fault);
        return;
    }
    for (size_t i = 0; i < config->provider[*provider].endpoint_cnt; i++) {
        if (!config->provider[*provider].endpoint[i].url.tls) {
            struct weir_config_place child = weir_config_place_key(at, key);
            weir_config_warn_once(reader, &child,
                                  "an endpoint of that provider is http://, so what signs in is "
                                  "sent readable for everybody on the way");
        }
    }
}

void weir_config_check_sign_in(struct weir_config_reader *reader, struct weir_config *config,
                               const struct weir_config_place *providers)
{
    size_t session_cnt = 0;
    for (size_t p = 0; p < config->provider_cnt; p++) {
        struct weir_config_auth *auth = &config->provider[p].auth;
        struct weir_config_sign_in *s = &auth->sign_in;
        if (!sign_has_session(auth->kind) || !is_set(s->route)) {
            continue;
        }
        struct weir_config_place provider = weir_config_place_item(providers, p);
        struct weir_config_place place = weir_config_place_key(&provider, "auth");
        struct weir_config_place at = weir_config_place_key(&place, "sign_in");
        bool is_token = auth->kind == SIGN_OAUTH2;
        session_cnt += weir_config_key_cnt(auth);
        if (session_cnt > SESSIONS_MAX) {
            weir_config_error(reader, &place,
                              "has %zu sessions with those before: must be at most %zu",
                              session_cnt, SESSIONS_MAX);
        }
        if (is_token && strcmp(config->broker.state_dir, "none") == 0) {
            complain(reader, &place, "kind",
                     "needs broker.state_dir: a refresh token is good for one use, and the next "
                     "one must outlive a crash");
        }
        check_route(reader, config, &at, "route", s->route, is_token, &s->provider_idx,
                    &s->route_idx);
        if (is_set(s->crumb_route)) {
            check_route(reader, config, &at, "crumb_route", s->crumb_route, false,
                        &s->crumb_provider_idx, &s->crumb_route_idx);
        }
    }
}
