/*
 * config_check_provider.c: what must hold between the keys of one provider.
 */
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "broker/config/config_address.h"
#include "broker/config/config_check.h"
#include "broker/config/config_reader.h"
#include "broker/config/config_value.h"

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

void weir_config_finish_clock(struct weir_config_reader *reader, void *section,
                              const struct weir_config_place *place)
{
    struct weir_config_clock *clock = section;
    if (!place->node) {
        clock->source = WEIR_CONFIG_CLOCK_NONE;
        return;
    }
    bool asks = clock->source == WEIR_CONFIG_CLOCK_SERVER;
    if (asks && !clock->path[0] && !clock->header[0]) {
        complain(reader, place, "path",
                 "missing: source: server asks this path for the time; or write header, or "
                 "source: host");
    }
    if (asks && clock->path[0] && !clock->field[0] && !clock->header[0]) {
        complain(reader, place, "field",
                 "missing: source: server reads the time from this member of the JSON answer; or "
                 "write header");
    }
    if (clock->field[0] && !clock->path[0] && clock->header[0]) {
        complain(reader, place, "field",
                 "has no use without path, whose answer it is a member of: write path, or header");
    }
    if (clock->header[0] && !asks) {
        complain(reader, place, "header",
                 "has no use with this source: write source: server, or remove it");
    }
}

static void check_identity(struct weir_config_reader *reader,
                           const struct weir_config_endpoint *endpoint,
                           const struct weir_config_place *place)
{
    if (!endpoint->client_cert[0] != !endpoint->client_key[0]) {
        complain(reader, place, endpoint->client_cert[0] ? "client_key" : "client_cert",
                 "missing: a certificate and its key are given together");
    } else if (endpoint->client_cert[0] && !endpoint->url.tls) {
        complain(reader, place, "client_cert",
                 "has no use with an http:// url: write https:// there, or remove it");
    }
}

/* An IPv4 address, or an IPv6 one. */
static bool is_address(const struct weir_config_url *url)
{
    struct in6_addr address;
    return inet_pton(url->ipv6 ? AF_INET6 : AF_INET, url->host, &address) == 1;
}

static void check_proxy(struct weir_config_reader *reader,
                        const struct weir_config_endpoint *endpoint,
                        const struct weir_config_place *place)
{
    const struct weir_config_url *proxy = &endpoint->proxy;
    if (proxy->text && (proxy->tls || proxy->base_path[0] || !is_address(proxy))) {
        complain(reader, place, "proxy",
                 "must be http://, an address in digits and a port, and nothing behind it");
    }
}

/* Whole seconds where curl knows no others; addresses that are some, and hold the one that url names. */
static void check_connections(struct weir_config_reader *reader,
                              const struct weir_config_endpoint *endpoint,
                              const struct weir_config_place *place)
{
    const struct {
        const char *key;
        uint64_t ns;
    } whole[] = {{"idle", endpoint->idle_ns}, {"age", endpoint->age_ns}};
    for (size_t i = 0; i < WEIR_ARRAY_CNT(whole); i++) {
        if (whole[i].ns % WEIR_NS_PER_S != 0) {
            complain(reader, place, whole[i].key, "must be whole seconds");
        }
    }
    struct weir_config_place list = weir_config_place_key(place, "addresses");
    if (endpoint->addresses.cnt > 0 && endpoint->proxy.text != NULL) {
        weir_config_error(reader, &list,
                          "has no use with proxy, which resolves the name itself: remove it");
        return;
    }
    bool allowed = endpoint->addresses.cnt == 0;
    for (size_t i = 0; i < endpoint->addresses.cnt; i++) {
        if (!weir_config_address_ok(endpoint->addresses.text[i])) {
            struct weir_config_place item = weir_config_place_item(&list, i);
            weir_config_error(reader, &item,
                              "must be an address, or a network as 203.0.113.0/24 with no bit set "
                              "behind its length");
            return;
        }
        allowed =
            allowed || weir_config_address_in(endpoint->url.host, endpoint->addresses.text[i]);
    }
    if (!allowed && weir_config_address_ok(endpoint->url.host)) {
        weir_config_error(reader, &list, "does not hold the address that url names: %s",
                          endpoint->url.host);
    }
}

void weir_config_finish_endpoint(struct weir_config_reader *reader, void *section,
                                 const struct weir_config_place *place)
{
    const struct weir_config_endpoint *endpoint = section;
    if (endpoint->ca_file[0] && !endpoint->url.tls) {
        complain(reader, place, "ca_file",
                 "has no use with an http:// url: write https:// there, or remove it");
    }
    check_identity(reader, endpoint, place);
    check_proxy(reader, endpoint, place);
    if (endpoint->http == WEIR_CONFIG_HTTP_2 && !endpoint->url.tls) {
        complain(reader, place, "http",
                 "2 is agreed upon by TLS: write https:// in the url, or http: 1.1");
    }
    check_connections(reader, endpoint, place);
}

void weir_config_finish_retry(struct weir_config_reader *reader, void *section,
                              const struct weir_config_place *place)
{
    const struct weir_config_retry *retry = section;
    if (retry->base_ns > retry->max_ns) {
        char max[WEIR_CONFIG_NUMBER_BYTES];
        weir_config_number_write(WEIR_CONFIG_TYPE_DURATION, retry->max_ns, max);
        struct weir_config_place base = weir_config_place_key(place, "base");
        weir_config_error(reader, &base, "must not be above max = %s", max);
    }
}

void weir_config_finish_ban(struct weir_config_reader *reader, void *section,
                            const struct weir_config_place *place)
{
    const struct weir_config_ban *ban = section;
    if ((ban->status.cnt == 0) != (ban->pause_ns == 0)) {
        weir_config_error(reader, place,
                          "status and pause belong together: write both, or neither");
    }
}

/* A status of `ban` is a stop in the first place. */
static void check_ban(struct weir_config_reader *reader,
                      const struct weir_config_throttle *throttle,
                      const struct weir_config_place *place)
{
    struct weir_config_place ban = weir_config_place_key(place, "ban");
    struct weir_config_place list = weir_config_place_key(&ban, "status");
    for (size_t i = 0; i < throttle->ban.status.cnt; i++) {
        size_t k = 0;
        while (k < throttle->status.cnt &&
               throttle->status.number[k] != throttle->ban.status.number[i]) {
            k++;
        }
        if (k == throttle->status.cnt) {
            struct weir_config_place item = weir_config_place_item(&list, i);
            weir_config_error(reader, &item, "is not in throttle.status: add it there");
        }
    }
}

void weir_config_finish_throttle(struct weir_config_reader *reader, void *section,
                                 const struct weir_config_place *place)
{
    const struct weir_config_throttle *throttle = section;
    check_ban(reader, throttle, place);
    if (throttle->default_ns > throttle->backoff.max_ns) {
        char max[WEIR_CONFIG_NUMBER_BYTES];
        weir_config_number_write(WEIR_CONFIG_TYPE_DURATION, throttle->backoff.max_ns, max);
        struct weir_config_place first = weir_config_place_key(place, "default");
        weir_config_error(reader, &first, "must not be above backoff.max = %s", max);
    }
}

/* Headers by which the broker keeps request and connection apart from the next ones. */
bool weir_config_is_broker_header(const char *header)
{
    static const char *const owned[] = {
        "host",    "connection", "content-length", "transfer-encoding", "te", "trailer",
        "upgrade", "keep-alive", "expect",         "proxy-connection",
    };
    for (size_t i = 0; i < WEIR_ARRAY_CNT(owned); i++) {
        if (strcmp(header, owned[i]) == 0) {
            return true;
        }
    }
    return false;
}

void weir_config_finish_header(struct weir_config_reader *reader, void *section,
                               const struct weir_config_place *place)
{
    const struct weir_config_header *header = section;
    if (weir_config_is_broker_header(header->name)) {
        complain(reader, place, "name", "belongs to the broker: remove it");
    }
    for (const char *at = header->value; *at; at++) {
        if ((unsigned char)*at < ' ' || *at == 0x7f) {
            struct weir_config_place value = weir_config_place_key(place, "value");
            value.is_secret = true;
            weir_config_error(reader, &value,
                              "must hold no control character: is there a line end behind it?");
            return;
        }
    }
}

/* Each header once; and what is meant for one server only should not be readable on the way there. */
static void check_fixed_headers(struct weir_config_reader *reader,
                                const struct weir_config_provider *provider,
                                const struct weir_config_place *place)
{
    struct weir_config_place list = weir_config_place_key(place, "headers");
    for (size_t i = 1; i < provider->header_cnt; i++) {
        for (size_t j = 0; j < i; j++) {
            if (strcmp(provider->header[i].name, provider->header[j].name) == 0) {
                struct weir_config_place item = weir_config_place_item(&list, i);
                complain(reader, &item, "name", "stands in this list already: remove one");
            }
        }
    }
    for (size_t i = 0; i < provider->endpoint_cnt && provider->header_cnt > 0; i++) {
        if (!provider->endpoint[i].url.tls) {
            weir_config_warn_once(
                reader, &list,
                "an endpoint is http://, so these are sent readable for everybody on the way");
        }
    }
}

static void check_headers(struct weir_config_reader *reader, const struct weir_config_route *route,
                          const struct weir_config_place *place)
{
    struct weir_config_place list = weir_config_place_key(place, "headers");
    for (size_t i = 0; i < route->headers.cnt; i++) {
        if (weir_config_is_broker_header(route->headers.text[i])) {
            struct weir_config_place item = weir_config_place_item(&list, i);
            weir_config_error(reader, &item, "belongs to the broker: remove it");
        }
    }
}

/* RFC 9110, 9.2.2: repeating these leaves the server as one call would. */
static bool is_idempotent_method(enum weir_method method)
{
    return method == WEIR_METHOD_GET || method == WEIR_METHOD_HEAD || method == WEIR_METHOD_PUT ||
           method == WEIR_METHOD_DELETE;
}

void weir_config_finish_route(struct weir_config_reader *reader, void *section,
                              const struct weir_config_place *place)
{
    struct weir_config_route *route = section;
    bool is_own = route->transport == WEIR_CONFIG_TRANSPORT_OWN;
    static const char *const called[] = {"method", "path"};
    for (size_t i = 0; i < WEIR_ARRAY_CNT(called); i++) {
        if (is_own && is_written(place, called[i])) {
            complain(reader, place, called[i],
                     "has no use with transport: own, where weir makes no call: remove it");
        } else if (!is_own && !is_written(place, called[i])) {
            complain(reader, place, called[i],
                     "missing: weir makes the call; or write transport: own");
        }
    }
    if (!is_written(place, "idempotent")) {
        route->is_idempotent = is_idempotent_method(route->method);
    }
    weir_config_check_cache(reader, route, place);
    check_headers(reader, route, place);
}

static void finish_scopes(struct weir_config_reader *reader, struct weir_config_provider *provider,
                          const struct weir_config_place *place)
{
    static const char *const kind_key[WEIR_SCOPE_KIND_CNT] = {
        [WEIR_SCOPE_IP] = "ip",
        [WEIR_SCOPE_KEY] = "key",
        [WEIR_SCOPE_ACCOUNT] = "account",
        [WEIR_SCOPE_INSTRUMENT] = "instrument",
    };
    struct weir_config_place scopes = weir_config_place_key(place, "scopes");
    for (size_t kind = 0; kind < WEIR_SCOPE_KIND_CNT; kind++) {
        struct weir_config_strings *values = &provider->scope[kind];
        if (!values->cnt) {
            values->text = weir_config_keep(reader, sizeof(*values->text));
            if (values->text) {
                values->text[0] = "";
                values->cnt = 1;
            }
        }
        struct weir_config_place list = weir_config_place_key(&scopes, kind_key[kind]);
        for (size_t i = 1; i < values->cnt; i++) {
            size_t j = 0;
            while (j < i && strcmp(values->text[i], values->text[j]) != 0) {
                j++;
            }
            if (j < i) {
                struct weir_config_place item = weir_config_place_item(&list, i);
                weir_config_error(reader, &item, "%s[%zu] is the same: remove one", kind_key[kind],
                                  j);
            }
        }
    }
    weir_config_pool_values(reader, provider);
}

static void check_endpoints(struct weir_config_reader *reader,
                            const struct weir_config_provider *provider,
                            const struct weir_config_place *place)
{
    if (provider->endpoint_cnt) {
        return;
    }
    struct weir_config_place endpoints = weir_config_place_key(place, "endpoints");
    for (size_t i = 0; i < provider->route_cnt; i++) {
        if (provider->route[i].transport == WEIR_CONFIG_TRANSPORT_WEIR) {
            weir_config_error(reader, &endpoints,
                              "missing: weir makes the calls of route %s: write at least one, or "
                              "transport: own in every route",
                              provider->route[i].name);
            return;
        }
    }
    if (provider->clock.source == WEIR_CONFIG_CLOCK_SERVER) {
        weir_config_error(reader, &endpoints,
                          "missing: clock asks the provider for its time: write at least one, or "
                          "clock: {source: host}");
    }
}

static void warn_of_blind_windows(struct weir_config_reader *reader,
                                  const struct weir_config_provider *provider,
                                  const struct weir_config_place *place)
{
    struct weir_config_place limits = weir_config_place_key(place, "limits");
    for (size_t i = 0; i < provider->limit_cnt; i++) {
        if (provider->limit[i].kind == WEIR_LIMIT_FIXED_WINDOW &&
            provider->clock.source == WEIR_CONFIG_CLOCK_NONE) {
            struct weir_config_place item = weir_config_place_item(&limits, i);
            weir_config_warn_once(
                reader, &item,
                "a fixed window without a clock: less than half of the quota can be granted "
                "safely: write clock: {path, field}, or clock: {source: host}");
        }
    }
}

static void name_routes(struct weir_config_reader *reader, struct weir_config_provider *provider,
                        const struct weir_config_place *place)
{
    if (strchr(provider->name, '.')) {
        complain(reader, place, "name",
                 "must not hold '.': the first '.' of \"provider.route\" ends the provider's name");
    }
    for (size_t i = 0; i < provider->route_cnt; i++) {
        struct weir_config_route *route = &provider->route[i];
        snprintf(route->full_name, sizeof(route->full_name), "%s.%s", provider->name, route->name);
    }
}

/* Number the groups in the order in which routes name them. */
static void number_groups(struct weir_config_provider *provider)
{
    for (size_t i = 0; i < provider->route_cnt; i++) {
        struct weir_config_route *route = &provider->route[i];
        size_t j = 0;
        while (j < i && strcmp(provider->route[j].group, route->group) != 0) {
            j++;
        }
        route->group_idx = !route->group[0] ? WEIR_CONFIG_GROUP_NONE
                           : j < i          ? provider->route[j].group_idx
                                            : provider->group_cnt++;
    }
}

/* Keys of an endpoint or a route that have no use without a section of the provider. */
static void check_needs(struct weir_config_reader *reader,
                        const struct weir_config_provider *provider,
                        const struct weir_config_place *place)
{
    struct weir_config_place endpoints = weir_config_place_key(place, "endpoints");
    struct weir_config_place routes = weir_config_place_key(place, "routes");
    for (size_t i = 0; i < provider->endpoint_cnt && !provider->health.path[0]; i++) {
        if (provider->endpoint[i].warm_cnt > 0) {
            struct weir_config_place item = weir_config_place_item(&endpoints, i);
            complain(reader, &item, "warm",
                     "has no use without health, whose checks keep connections warm: write it, or "
                     "remove this");
        }
    }
    for (size_t i = 0; i < provider->route_cnt; i++) {
        const struct weir_config_route *route = &provider->route[i];
        struct weir_config_place item = weir_config_place_item(&routes, i);
        if (route->group[0] && provider->breaker.failure_cnt == 0) {
            complain(reader, &item, "group",
                     "has no use without breaker: write breaker: {} for its defaults, or remove "
                     "this");
        } else if (route->group[0] && route->transport == WEIR_CONFIG_TRANSPORT_OWN) {
            complain(reader, &item, "group",
                     "has no use with transport: own, where weir makes no call: remove it");
        }
    }
    if (provider->health.path[0] && !provider->endpoint_cnt) {
        complain(reader, place, "health", "has no use without endpoints: remove it");
    }
}

static void check_all_names(struct weir_config_reader *reader,
                            const struct weir_config_provider *provider,
                            const struct weir_config_place *place)
{
    struct weir_config_place limits = weir_config_place_key(place, "limits");
    struct weir_config_place endpoints = weir_config_place_key(place, "endpoints");
    struct weir_config_place routes = weir_config_place_key(place, "routes");
    weir_config_check_names(reader, provider->limit, provider->limit_cnt, sizeof(*provider->limit),
                            &limits);
    weir_config_check_names(reader, provider->endpoint, provider->endpoint_cnt,
                            sizeof(*provider->endpoint), &endpoints);
    weir_config_check_names(reader, provider->route, provider->route_cnt, sizeof(*provider->route),
                            &routes);
}

void weir_config_finish_provider(struct weir_config_reader *reader, void *section,
                                 const struct weir_config_place *place)
{
    struct weir_config_provider *provider = section;
    name_routes(reader, provider, place);
    check_all_names(reader, provider, place);
    weir_config_check_rests(reader, provider, place);
    finish_scopes(reader, provider, place);
    check_endpoints(reader, provider, place);
    check_fixed_headers(reader, provider, place);
    weir_config_check_auth(reader, provider, place);
    weir_config_check_batch(reader, provider, place);
    number_groups(provider);
    check_needs(reader, provider, place);
    weir_config_check_hedge(reader, provider, place);
    warn_of_blind_windows(reader, provider, place);
    weir_config_check_budget(reader, provider, place);
    weir_config_check_egress(reader, provider, place);
    weir_config_check_feedback(reader, provider, place);
    weir_config_check_doubt(reader, provider, place);
}
