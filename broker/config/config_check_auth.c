/*
 * config_check_auth.c: keys that can sign, and routes that can be signed.
 */
#include <string.h>

#include "broker/config/config_check.h"
#include "broker/config/config_reader.h"

size_t weir_config_key_cnt(const struct weir_config_auth *auth)
{
    return auth->kind == SIGN_NONE ? 0 : auth->account_key_cnt > 0 ? auth->account_key_cnt : 1;
}

struct sign_parts weir_config_key_parts(const struct weir_config_auth *auth, size_t i)
{
    const struct weir_config_key *entry = auth->account_key_cnt > 0 ? &auth->account_key[i] : NULL;
    return (struct sign_parts){
        .scheme = auth->kind,
        .key = entry != NULL ? entry->key : auth->key,
        .secret = entry != NULL ? entry->secret : auth->secret,
        .passphrase = entry != NULL ? entry->passphrase : auth->passphrase,
        .token = entry != NULL ? entry->refresh_token : auth->refresh_token,
        .header = auth->header,
        .param = auth->kind == SIGN_COOKIE && auth->sign_in.crumb != NULL ? auth->sign_in.crumb
                                                                          : auth->param,
        .recv_window_ms = auth->recv_window_ns / WEIR_NS_PER_MS,
        .nonce_unit_ns = auth->nonce == WEIR_CONFIG_UNIT_MS   ? WEIR_NS_PER_MS
                         : auth->nonce == WEIR_CONFIG_UNIT_US ? WEIR_NS_PER_US
                                                              : 1,
    };
}

static bool is_for(const struct weir_config_key *key, size_t account_idx, size_t name_idx)
{
    return (key->account_idx == WEIR_CONFIG_SCOPE_ANY || key->account_idx == account_idx) &&
           (key->name_idx == WEIR_CONFIG_SCOPE_ANY || key->name_idx == name_idx);
}

size_t weir_config_key_find(const struct weir_config_auth *auth, size_t account_idx,
                            size_t name_idx)
{
    if (auth->account_key_cnt == 0) {
        return auth->kind != SIGN_NONE ? 0 : SIZE_MAX;
    }
    for (size_t i = 0; i < auth->account_key_cnt; i++) {
        if (is_for(&auth->account_key[i], account_idx, name_idx)) {
            return i;
        }
    }
    return SIZE_MAX;
}

static bool is_written(const struct weir_config_place *place, const char *key)
{
    return weir_config_node_find(place->node, key) != NULL;
}

static void complain(struct weir_config_reader *reader, const struct weir_config_place *place,
                     const char *key, const char *why)
{
    struct weir_config_place child = weir_config_place_key(place, key);
    weir_config_error(reader, &child, "%s", why);
}

/* ---------------------------------------------------------------------------------------------- which keys */

/* Keys that only some kinds know, and what they are where nobody wrote them. */
static void check_kind(struct weir_config_reader *reader, struct weir_config_auth *auth,
                       const struct weir_config_place *place)
{
    bool is_plain = auth->kind == SIGN_API_KEY;
    bool header = auth->header[0] != '\0';
    bool param = auth->param[0] != '\0';
    if (is_plain && header == param) {
        complain(reader, place, param ? "param" : "header",
                 param ? "has no use beside header: remove one"
                       : "missing: where does the key go? Write header, or param");
    }
    if (is_plain && weir_config_is_broker_header(auth->header)) {
        complain(reader, place, "header", "belongs to the broker: write another one");
    }
    if (!is_plain && (header || param)) {
        complain(reader, place, header ? "header" : "param",
                 "has no use with this kind, which knows its own: remove it");
    }
    if (!sign_has_recv_window(auth->kind) && is_written(place, "recv_window")) {
        complain(reader, place, "recv_window",
                 "has no use with this kind, which has no such window: remove it");
    }
    if (auth->recv_window_ns % WEIR_NS_PER_MS != 0) {
        complain(reader, place, "recv_window", "must be whole milliseconds");
    }
    if (!sign_has_nonce(auth->kind) && is_written(place, "nonce")) {
        complain(reader, place, "nonce", "has no use with this kind, which has none: remove it");
    }
    if (sign_has_recv_window(auth->kind) && auth->recv_window_ns == 0) {
        auth->recv_window_ns = 5 * WEIR_NS_PER_S;
    }
    if (sign_has_nonce(auth->kind) && auth->nonce == 0) {
        auth->nonce = WEIR_CONFIG_UNIT_US;
    }
}

/* The index of a value of a scope, which has to be there. */
static size_t scope_find(struct weir_config_reader *reader,
                         const struct weir_config_strings *values, const char *scope,
                         const char *wanted, const struct weir_config_place *place)
{
    for (size_t i = 0; i < values->cnt; i++) {
        if (strcmp(values->text[i], wanted) == 0) {
            return i;
        }
    }
    weir_config_error(reader, place, "scopes.%s has no such value: add it there", scope);
    return WEIR_CONFIG_SCOPE_ANY;
}

static void place_entries(struct weir_config_reader *reader, struct weir_config_provider *provider,
                          const struct weir_config_place *keys)
{
    struct weir_config_auth *auth = &provider->auth;
    for (size_t i = 0; i < auth->account_key_cnt; i++) {
        struct weir_config_key *key = &auth->account_key[i];
        struct weir_config_place item = weir_config_place_item(keys, i);
        struct weir_config_place account = weir_config_place_key(&item, "account");
        struct weir_config_place name = weir_config_place_key(&item, "name");
        key->account_idx = key->account[0] == '\0'
                               ? WEIR_CONFIG_SCOPE_ANY
                               : scope_find(reader, &provider->scope[WEIR_SCOPE_ACCOUNT], "account",
                                            key->account, &account);
        key->name_idx = key->name[0] == '\0' ? WEIR_CONFIG_SCOPE_ANY
                                             : scope_find(reader, &provider->scope[WEIR_SCOPE_KEY],
                                                          "key", key->name, &name);
        for (size_t j = 0; j < i; j++) {
            const struct weir_config_key *other = &auth->account_key[j];
            bool any_account = key->account_idx == WEIR_CONFIG_SCOPE_ANY ||
                               other->account_idx == WEIR_CONFIG_SCOPE_ANY ||
                               key->account_idx == other->account_idx;
            bool any_name = key->name_idx == WEIR_CONFIG_SCOPE_ANY ||
                            other->name_idx == WEIR_CONFIG_SCOPE_ANY ||
                            key->name_idx == other->name_idx;
            if (any_account && any_name) {
                weir_config_error(reader, &item,
                                  "keys[%zu] is for the same calls: give each an account or a "
                                  "name of its own",
                                  j);
                return;
            }
        }
    }
}

/* Either one key in auth itself, or a list. */
static bool check_where(struct weir_config_reader *reader, struct weir_config_provider *provider,
                        const struct weir_config_place *place)
{
    static const char *const part[] = {"key", "secret", "passphrase", "refresh_token"};
    struct weir_config_auth *auth = &provider->auth;
    size_t fault_cnt = reader->fault_cnt;
    struct weir_config_place keys = weir_config_place_key(place, "keys");
    if (auth->account_key_cnt > 0) {
        for (size_t i = 0; i < WEIR_ARRAY_CNT(part); i++) {
            if (is_written(place, part[i])) {
                struct weir_config_place own = weir_config_place_key(place, part[i]);
                own.is_secret = true;
                weir_config_error(reader, &own, "has no use beside keys: remove one");
                return false;
            }
        }
        place_entries(reader, provider, &keys);
    } else if (auth->kind != SIGN_COOKIE && (provider->scope[WEIR_SCOPE_ACCOUNT].cnt > 1 ||
                                             provider->scope[WEIR_SCOPE_KEY].cnt > 1)) {
        bool accounts = provider->scope[WEIR_SCOPE_ACCOUNT].cnt > 1;
        weir_config_error(reader, &keys,
                          "missing: scopes.%s has %zu values: write one entry for each",
                          accounts ? "account" : "key",
                          accounts ? provider->scope[WEIR_SCOPE_ACCOUNT].cnt
                                   : provider->scope[WEIR_SCOPE_KEY].cnt);
    }
    return reader->fault_cnt == fault_cnt;
}

static void check_keys(struct weir_config_reader *reader, const struct weir_config_auth *auth,
                       const struct weir_config_place *place)
{
    static const char *const part_key[] = {"key", "secret", "passphrase", "refresh_token"};
    struct weir_config_place keys = weir_config_place_key(place, "keys");
    for (size_t i = 0; i < weir_config_key_cnt(auth); i++) {
        struct weir_config_place item = weir_config_place_item(&keys, i);
        const struct weir_config_place *at = auth->account_key_cnt > 0 ? &item : place;
        struct sign_parts parts = weir_config_key_parts(auth, i);
        enum sign_part part;
        if (parts.key[0] == '\0' && parts.secret[0] == '\0' && parts.passphrase[0] == '\0' &&
            parts.token[0] == '\0' && auth->kind != SIGN_COOKIE) {
            weir_config_warn_once(
                reader, at, "no key is set, so calls to signed routes are refused (KEY_MISSING)");
            continue;
        }
        const char *fault = sign_key_fault(&parts, &part);
        if (fault != NULL) {
            struct weir_config_place own = weir_config_place_key(at, part_key[part]);
            own.is_secret = true;
            weir_config_error(reader, &own, "%s", fault);
        }
    }
}

/* ---------------------------------------------------------------------------------------------- which routes */

static const char *method_name(enum weir_method method)
{
    static const char *const name[] = {
        [WEIR_METHOD_UNSET] = "",     [WEIR_METHOD_GET] = "GET", [WEIR_METHOD_HEAD] = "HEAD",
        [WEIR_METHOD_POST] = "POST",  [WEIR_METHOD_PUT] = "PUT", [WEIR_METHOD_DELETE] = "DELETE",
        [WEIR_METHOD_PATCH] = "PATCH"};
    return name[method];
}

static bool costs(const struct weir_config_route *route, const struct weir_config_limit *limit)
{
    for (size_t k = 0; k < route->cost_cnt; k++) {
        if (strcmp(route->cost[k].limit, limit->name) == 0 && route->cost[k].units > 0) {
            return true;
        }
    }
    return false;
}

/* Are calls of one key one after the other by this limit? Not where two of them may have a unit each: of two addresses, or two instruments. */
static bool keeps_alone(const struct weir_config_provider *provider,
                        const struct weir_config_limit *limit)
{
    return limit->kind == WEIR_LIMIT_CONCURRENCY && limit->quota_units == 1 &&
           (limit->scope == WEIR_SCOPE_KEY || limit->scope == WEIR_SCOPE_ACCOUNT ||
            provider->scope[limit->scope].cnt <= 1);
}

/* A nonce that is overtaken on its way is refused: only one call at a time keeps them in order, of whichever signed route. */
static bool is_alone(const struct weir_config_provider *provider,
                     const struct weir_config_route *route)
{
    for (size_t i = 0; i < provider->limit_cnt; i++) {
        bool all = keeps_alone(provider, &provider->limit[i]) && costs(route, &provider->limit[i]);
        for (size_t k = 0; k < provider->route_cnt && all; k++) {
            all = !provider->route[k].is_signed || costs(&provider->route[k], &provider->limit[i]);
        }
        if (all) {
            return true;
        }
    }
    return false;
}

static void check_route(struct weir_config_reader *reader,
                        const struct weir_config_provider *provider,
                        const struct weir_config_route *route,
                        const struct weir_config_place *place)
{
    if (route->transport == WEIR_CONFIG_TRANSPORT_OWN) {
        complain(reader, place, "signed",
                 "has no use with transport: own, where you sign the call yourself: remove it");
        return;
    }
    if (provider->auth.kind == SIGN_NONE) {
        complain(reader, place, "signed", "the provider has no auth: write it, or remove this");
        return;
    }
    if (!sign_method_allowed(provider->auth.kind, method_name(route->method))) {
        complain(reader, place, "method",
                 "must be POST: the kind of auth signs a body, which bears the nonce");
    }
    if (sign_has_nonce(provider->auth.kind) && !is_alone(provider, route)) {
        struct weir_config_place cost = weir_config_place_key(place, "cost");
        weir_config_warn_once(
            reader, &cost,
            "two calls at once may overtake each other, and the exchange refuses the smaller "
            "nonce: let all signed routes cost one limit of kind concurrency with quota 1 and "
            "scope key, or give the key a nonce window there");
    }
}

static void warn_of_rest(struct weir_config_reader *reader,
                         const struct weir_config_provider *provider,
                         const struct weir_config_place *place, size_t signed_cnt)
{
    enum sign_scheme kind = provider->auth.kind;
    bool has_instant =
        sign_wants_secret(kind) && kind != SIGN_KRAKEN && kind != SIGN_KRAKEN_FUTURES;
    if (signed_cnt == 0) {
        weir_config_warn_once(reader, place,
                              "no route has signed: true, so these keys are used by no call");
    }
    if (has_instant && provider->clock.source == WEIR_CONFIG_CLOCK_NONE) {
        weir_config_warn_once(reader, place,
                              "no clock is asked, so calls bear this machine's time: write clock, "
                              "or see that NTP runs");
    }
    for (size_t i = 0; i < provider->endpoint_cnt; i++) {
        if (!provider->endpoint[i].url.tls) {
            weir_config_warn_once(
                reader, place,
                "an endpoint is http://, so keys are sent readable for everybody on the way");
        }
    }
}

/* What the gate puts in place of path and query has no host, which a proxy needs where it does not only tunnel. */
static void check_proxies(struct weir_config_reader *reader,
                          const struct weir_config_provider *provider,
                          const struct weir_config_place *place)
{
    struct weir_config_place endpoints = weir_config_place_key(place, "endpoints");
    for (size_t i = 0; i < provider->endpoint_cnt; i++) {
        if (provider->endpoint[i].proxy.text != NULL && !provider->endpoint[i].url.tls) {
            struct weir_config_place item = weir_config_place_item(&endpoints, i);
            complain(reader, &item, "proxy",
                     "has no use with an http:// url where calls are signed: write https:// there");
        }
    }
}

void weir_config_check_auth(struct weir_config_reader *reader,
                            struct weir_config_provider *provider,
                            const struct weir_config_place *place)
{
    struct weir_config_place routes = weir_config_place_key(place, "routes");
    struct weir_config_place auth = weir_config_place_key(place, "auth");
    size_t signed_cnt = 0;
    size_t fault_cnt = reader->fault_cnt;
    for (size_t i = 0; i < provider->route_cnt; i++) {
        if (provider->route[i].is_signed) {
            struct weir_config_place item = weir_config_place_item(&routes, i);
            check_route(reader, provider, &provider->route[i], &item);
            signed_cnt++;
        }
    }
    if (provider->auth.kind == SIGN_NONE) {
        return;
    }
    check_kind(reader, &provider->auth, &auth);
    weir_config_check_session(reader, &provider->auth, &auth);
    check_proxies(reader, provider, place);
    if (check_where(reader, provider, &auth)) {
        check_keys(reader, &provider->auth, &auth);
    }
    if (reader->fault_cnt == fault_cnt) {
        warn_of_rest(reader, provider, &auth, signed_cnt);
    }
}
