/*
 * config_check_egress.c: source addresses, keys that are one pool with others, and whom a stop is about.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "broker/config/config_check.h"
#include "broker/config/config_reader.h"

static const char *const kind_name[WEIR_SCOPE_KIND_CNT] = {"ip", "key", "account", "instrument"};

static void complain(struct weir_config_reader *reader, const struct weir_config_place *place,
                     const char *key, const char *why)
{
    struct weir_config_place child = weir_config_place_key(place, key);
    weir_config_error(reader, &child, "%s", why);
}

/* ---------------------------------------------------------------------------------------------- the pool's own value */

static bool kind_pooled(const struct weir_config_provider *p, unsigned kind)
{
    for (size_t i = 0; i < p->egress_cnt; i++) {
        if (kind == WEIR_SCOPE_IP && p->egress[i].is_pooled) {
            return true;
        }
    }
    for (size_t i = 0; i < p->auth.account_key_cnt; i++) {
        const struct weir_config_key *k = &p->auth.account_key[i];
        const char *value = kind == WEIR_SCOPE_KEY       ? k->name
                            : kind == WEIR_SCOPE_ACCOUNT ? k->account
                                                         : "";
        if (k->is_pooled && value[0] != '\0') {
            return true;
        }
    }
    return false;
}

void weir_config_pool_values(struct weir_config_reader *reader,
                             struct weir_config_provider *provider)
{
    for (unsigned kind = 0; kind < WEIR_SCOPE_KIND_CNT; kind++) {
        struct weir_config_strings *values = &provider->scope[kind];
        bool named = values->cnt > 0 && values->text[0][0] != '\0';
        if (!kind_pooled(provider, kind) || !named) {
            continue; /* without values: what names one is refused */
        }
        const char **text = weir_config_keep(reader, (values->cnt + 1) * sizeof *text);
        if (text != NULL) {
            text[0] = "";
            memcpy(text + 1, values->text, values->cnt * sizeof *text);
            values->text = text;
            values->cnt++;
            provider->is_pooled[kind] = true;
        }
    }
}

/* ---------------------------------------------------------------------------------------------- addresses */

static int family_of(const char *address)
{
    return strchr(address, ':') != NULL ? AF_INET6 : AF_INET;
}

/* Is `address` one that a socket may be bound to? Then it stands there as inet_ntop writes it. */
static bool address_read(struct weir_config_reader *reader, struct weir_config_egress *e)
{
    unsigned char bytes[16] = {0};
    static const unsigned char none[16];
    char text[INET6_ADDRSTRLEN];
    int family = family_of(e->address);
    bool ok = inet_pton(family, e->address, bytes) == 1 && memcmp(bytes, none, sizeof none) != 0 &&
              bytes[0] != (family == AF_INET6 ? 0xff : 0) &&
              (family == AF_INET6 || bytes[0] < 224) &&
              inet_ntop(family, bytes, text, sizeof text) != NULL;
    const char *kept = ok ? weir_config_keep_text(reader, text, strlen(text)) : NULL;
    e->address = kept != NULL ? kept : e->address;
    return ok;
}

static size_t value_find(const struct weir_config_strings *values, const char *wanted)
{
    size_t i = 0;
    while (i < values->cnt && strcmp(values->text[i], wanted) != 0) {
        i++;
    }
    return i;
}

/* One entry beside those before it. */
static void check_entry(struct weir_config_reader *reader, struct weir_config_provider *provider,
                        size_t i, const struct weir_config_place *item)
{
    struct weir_config_egress *e = &provider->egress[i];
    struct weir_config_place ip = weir_config_place_key(item, "ip");
    struct weir_config_place address = weir_config_place_key(item, "address");
    const struct weir_config_strings *values = &provider->scope[WEIR_SCOPE_IP];
    if (address.node != NULL) {
        e->line = address.node->line;
        e->column = address.node->column;
    }
    e->ip_idx = value_find(values, e->ip);
    if (e->ip_idx == values->cnt) {
        weir_config_error(reader, &ip, "scopes.ip has no such value: add it there");
    }
    if (!address_read(reader, e)) {
        weir_config_error(reader, &address,
                          "must be an address of this host, in digits: 203.0.113.7, 2001:db8::7");
        return;
    }
    for (size_t j = 0; j < i; j++) {
        const struct weir_config_egress *other = &provider->egress[j];
        if (strcmp(other->ip, e->ip) == 0) {
            weir_config_error(reader, &ip, "egress[%zu] has the same: remove one", j);
        } else if (strcmp(other->address, e->address) == 0) {
            weir_config_error(reader, &address, "egress[%zu] has the same: remove one", j);
        } else if (j == 0 && family_of(other->address) != family_of(e->address)) {
            weir_config_error(reader, &address,
                              "is of another family than egress[0].address = \"%s\": a host is "
                              "reached by one of them",
                              other->address);
        }
    }
}

static void check_families(struct weir_config_reader *reader,
                           const struct weir_config_provider *provider,
                           const struct weir_config_place *place)
{
    struct weir_config_place endpoints = weir_config_place_key(place, "endpoints");
    for (size_t i = 0; i < provider->endpoint_cnt; i++) {
        const struct weir_config_endpoint *e = &provider->endpoint[i];
        bool proxied = e->proxy.text != NULL;
        const char *host = proxied ? e->proxy.host : e->url.host;
        unsigned char bytes[16];
        int family = family_of(host);
        if (inet_pton(family, host, bytes) == 1 &&
            family != family_of(provider->egress[0].address)) {
            struct weir_config_place item = weir_config_place_item(&endpoints, i);
            struct weir_config_place at = weir_config_place_key(&item, proxied ? "proxy" : "url");
            weir_config_error(reader, &at,
                              "is of another family than egress[0].address = \"%s\", from which "
                              "it cannot be reached",
                              provider->egress[0].address);
        }
    }
}

static bool has_limit(const struct weir_config_provider *provider, unsigned kind)
{
    for (size_t i = 0; i < provider->limit_cnt; i++) {
        if ((unsigned)provider->limit[i].scope == kind) {
            return true;
        }
    }
    return false;
}

static void check_addresses(struct weir_config_reader *reader,
                            struct weir_config_provider *provider,
                            const struct weir_config_place *place)
{
    struct weir_config_place list = weir_config_place_key(place, "egress");
    const struct weir_config_strings *values = &provider->scope[WEIR_SCOPE_IP];
    size_t fault_cnt = reader->fault_cnt;
    size_t pooled_cnt = 0;
    for (size_t i = 0; i < provider->egress_cnt; i++) {
        struct weir_config_place item = weir_config_place_item(&list, i);
        check_entry(reader, provider, i, &item);
        pooled_cnt += provider->egress[i].is_pooled;
    }
    if (reader->fault_cnt != fault_cnt) {
        return;
    }
    check_families(reader, provider, place);
    for (size_t v = 0; v < values->cnt; v++) {
        size_t i = 0;
        while (i < provider->egress_cnt && provider->egress[i].ip_idx != v) {
            i++;
        }
        if (i == provider->egress_cnt && values->text[v][0] != '\0') {
            weir_config_error(reader, &list, "scopes.ip has \"%s\", and no address is for it",
                              values->text[v]);
        }
    }
    if (pooled_cnt == 1) {
        weir_config_error(reader, &list,
                          "has one address in the pool: add another one, or write pool: false");
    }
    if (!has_limit(provider, WEIR_SCOPE_IP)) {
        weir_config_error(reader, &list,
                          "no limit has scope: ip, so nothing counts them apart: give the limits "
                          "their scope, or remove this");
    }
}

/* ---------------------------------------------------------------------------------------------- keys */

static void check_keys(struct weir_config_reader *reader,
                       const struct weir_config_provider *provider,
                       const struct weir_config_place *place)
{
    struct weir_config_place auth = weir_config_place_key(place, "auth");
    struct weir_config_place keys = weir_config_place_key(&auth, "keys");
    const struct weir_config_key *first = NULL;
    size_t pooled_cnt = 0;
    for (size_t i = 0; i < provider->auth.account_key_cnt; i++) {
        const struct weir_config_key *k = &provider->auth.account_key[i];
        struct weir_config_place item = weir_config_place_item(&keys, i);
        if (!k->is_pooled) {
            continue;
        }
        first = first == NULL ? k : first;
        pooled_cnt++;
        if (k->account[0] == '\0' && k->name[0] == '\0') {
            complain(reader, &item, "pool",
                     "has no use without an account or a name, by which its limits count: write "
                     "one");
            return;
        }
        if ((k->account[0] == '\0') != (first->account[0] == '\0') ||
            (k->name[0] == '\0') != (first->name[0] == '\0')) {
            complain(reader, &item, "pool",
                     "keys of a pool have an account all of them or none, and so with names");
            return;
        }
    }
    if (pooled_cnt == 1) {
        weir_config_error(reader, &keys,
                          "has one key in the pool: add another one, or write pool: false");
    }
    bool counted =
        first != NULL && ((first->name[0] != '\0' && has_limit(provider, WEIR_SCOPE_KEY)) ||
                          (first->account[0] != '\0' && has_limit(provider, WEIR_SCOPE_ACCOUNT)));
    if (first != NULL && !counted) {
        weir_config_error(reader, &keys,
                          "no limit has scope: %s, so nothing counts the keys of the pool apart: "
                          "give the limits their scope, or write pool: false",
                          first->name[0] != '\0' ? "key" : "account");
    }
}

/* ---------------------------------------------------------------------------------------------- routes and stops */

/* Does it take from a limit that counts by this kind? */
static bool takes(const struct weir_config_provider *provider,
                  const struct weir_config_route *route, unsigned kind)
{
    for (size_t i = 0; i < route->cost_cnt; i++) {
        if ((unsigned)provider->limit[route->cost[i].limit_idx].scope == kind) {
            return true;
        }
    }
    return false;
}

/* The worker asks for this path itself, and has no key. */
static bool is_asked(const struct weir_config_provider *p, const struct weir_config_route *r)
{
    return r->method == WEIR_METHOD_GET &&
           ((p->clock.path[0] != '\0' && strcmp(r->path, p->clock.path) == 0) ||
            (p->health.path[0] != '\0' && strcmp(r->path, p->health.path) == 0));
}

static void check_route(struct weir_config_reader *reader,
                        const struct weir_config_provider *provider,
                        const struct weir_config_route *route, const struct weir_config_place *item)
{
    bool keys = provider->is_pooled[WEIR_SCOPE_KEY] || provider->is_pooled[WEIR_SCOPE_ACCOUNT];
    struct weir_config_place cost = weir_config_place_key(item, "cost");
    if (route->any_key && (!route->is_signed || !keys)) {
        complain(reader, item, "any_key",
                 !route->is_signed ? "has no use without signed: true: write it, or remove this"
                                   : "no key of auth.keys has pool: true: write it there, or "
                                     "remove this");
    }
    for (unsigned kind = WEIR_SCOPE_KEY; kind <= WEIR_SCOPE_ACCOUNT; kind++) {
        if (provider->is_pooled[kind] && is_asked(provider, route) &&
            takes(provider, route, kind)) {
            weir_config_error(reader, &cost,
                              "clock and health ask for this path without a key, so it cannot "
                              "take from a limit of scope %s: use another path, or another scope",
                              kind_name[kind]);
        }
    }
    uint32_t hold = provider->throttle.hold_kind;
    if (hold != 0 && (hold - 1 == WEIR_SCOPE_IP || route->is_signed) &&
        !takes(provider, route, hold - 1)) {
        weir_config_error(reader, &cost,
                          "takes from no limit of scope %s, so nobody knows whom a stop is about "
                          "(throttle.scope): name one, be it with 0",
                          kind_name[hold - 1]);
    }
}

void weir_config_check_egress(struct weir_config_reader *reader,
                              struct weir_config_provider *provider,
                              const struct weir_config_place *place)
{
    struct weir_config_place routes = weir_config_place_key(place, "routes");
    struct weir_config_place throttle = weir_config_place_key(place, "throttle");
    uint32_t hold = provider->throttle.hold_kind;
    size_t fault_cnt = reader->fault_cnt;
    if (provider->egress_cnt > 0) {
        check_addresses(reader, provider, place);
    }
    check_keys(reader, provider, place);
    if (hold != 0 && provider->scope[hold - 1].cnt < 2) {
        struct weir_config_place scope = weir_config_place_key(&throttle, "scope");
        weir_config_error(reader, &scope, "has no use where scopes.%s has not two values at least",
                          kind_name[hold - 1]);
    }
    if (reader->fault_cnt != fault_cnt) {
        return;
    }
    for (size_t i = 0; i < provider->route_cnt; i++) {
        struct weir_config_place item = weir_config_place_item(&routes, i);
        check_route(reader, provider, &provider->route[i], &item);
    }
}

/* ---------------------------------------------------------------------------------------------- all providers */

/* May curl use a connection of one for the other? */
static bool is_shared(const struct weir_config_endpoint *a, const struct weir_config_endpoint *b)
{
    bool server = a->url.tls == b->url.tls && a->url.port == b->url.port &&
                  strcmp(a->url.host, b->url.host) == 0;
    bool proxy = a->proxy.text != NULL && b->proxy.text != NULL && !a->url.tls && !b->url.tls &&
                 strcmp(a->proxy.text, b->proxy.text) == 0;
    return server || proxy;
}

static void check_pair(struct weir_config_reader *reader, const struct weir_config *config,
                       size_t p, size_t other, const struct weir_config_place *providers)
{
    const struct weir_config_provider *a = &config->provider[p];
    const struct weir_config_provider *b = &config->provider[other];
    struct weir_config_place provider = weir_config_place_item(providers, p);
    struct weir_config_place endpoints = weir_config_place_key(&provider, "endpoints");
    for (size_t i = 0; i < a->endpoint_cnt; i++) {
        for (size_t j = 0; j < b->endpoint_cnt; j++) {
            if (is_shared(&a->endpoint[i], &b->endpoint[j])) {
                struct weir_config_place item = weir_config_place_item(&endpoints, i);
                struct weir_config_place url = weir_config_place_key(&item, "url");
                weir_config_error(reader, &url,
                                  "is the server of provider %s, and only one of the two has "
                                  "egress: connections are shared, so write it for both",
                                  b->name);
                return;
            }
        }
    }
}

void weir_config_check_egress_shared(struct weir_config_reader *reader,
                                     const struct weir_config *config,
                                     const struct weir_config_place *providers)
{
    for (size_t p = 0; p < config->provider_cnt; p++) {
        for (size_t i = 0; i < p; i++) {
            if ((config->provider[p].egress_cnt > 0) != (config->provider[i].egress_cnt > 0)) {
                check_pair(reader, config, p, i, providers);
            }
        }
    }
}

/* ---------------------------------------------------------------------------------------------- this host */

/* 0, or the system's reason. */
static int try_bind(const char *address)
{
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
    struct sockaddr_in v4 = {.sin_family = AF_INET};
    int family = family_of(address);
    bool is6 = family == AF_INET6;
    (void)inet_pton(family, address, is6 ? (void *)&v6.sin6_addr : (void *)&v4.sin_addr);
    const struct sockaddr *sa = is6 ? (const void *)&v6 : (const void *)&v4;
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int reason = fd < 0 || bind(fd, sa, is6 ? sizeof v6 : sizeof v4) != 0 ? errno : 0;
    if (fd >= 0) {
        (void)close(fd);
    }
    return reason;
}

bool weir_config_egress_try(const struct weir_config *config, const char *name, char *text,
                            size_t text_bytes)
{
    for (size_t p = 0; p < config->provider_cnt; p++) {
        for (size_t i = 0; i < config->provider[p].egress_cnt; i++) {
            const struct weir_config_egress *e = &config->provider[p].egress[i];
            int reason = try_bind(e->address);
            if (reason != 0) {
                (void)snprintf(text, text_bytes,
                               "%s:%u:%u: providers[%zu].egress[%zu].address = \"%s\": no call can "
                               "leave from there: %s: see the addresses of this host by: ip addr",
                               name, e->line, e->column, p, i, e->address, strerrordesc_np(reason));
                return false;
            }
        }
    }
    return true;
}
