/*
 * config_check_batch.c: what must hold between a route and the one that answers for many of its calls.
 *
 * A batch answers calls of anybody, so what holds for kept answers holds here too: only public, unsigned calls that fetch. Its elements become kept answers, so the single
 * route has `cache`. Nothing of a limit that is counted by instrument: a batch has none, or many.
 */
#include "broker/config/config_check.h"
#include "broker/config/config_reader.h"

#include <string.h>

static void complain(struct weir_config_reader *reader, const struct weir_config_place *place,
                     const char *key, const char *why)
{
    struct weir_config_place child = weir_config_place_key(place, key);
    weir_config_error(reader, &child, "%s", why);
}

static bool is_written(const struct weir_config_place *place, const char *key)
{
    return weir_config_place_key(place, key).node != NULL;
}

/* Letters, digits and -._~: what stands in a query as it is. */
static bool is_plain(const char *text)
{
    return text[strspn(
               text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")] == '\0';
}

static bool ends_in_star(const char *path)
{
    size_t n = strlen(path);
    return n > 0 && path[n - 1] == '*';
}

/* Which call is it of? */
static void check_single(struct weir_config_reader *reader, const struct weir_config_route *route,
                         const struct weir_config_place *at)
{
    const struct weir_config_batch *b = &route->batch;
    bool star = ends_in_star(route->path);
    if (route->cache_ns == 0 || route->method != WEIR_METHOD_GET) {
        complain(
            reader, at, "route",
            "has no use here: a batch answers calls of a GET with cache: write cache, or remove "
            "batch");
    }
    if (*b->param == '\0' && !star) {
        complain(reader, at, "param",
                 "missing: which query parameter of a single call names what it asks for? Or let "
                 "path end in /*");
    } else if (*b->param != '\0' && star) {
        complain(reader, at, "param",
                 "has no use with a path that ends in *, whose rest is the name: remove it");
    } else if (!is_plain(b->param)) {
        complain(reader, at, "param", "must be of letters, digits and -._~");
    }
    struct weir_config_place with = weir_config_place_key(at, "with");
    for (size_t i = 0; i < b->with.cnt; i++) {
        struct weir_config_place item = weir_config_place_item(&with, i);
        const char *name = b->with.text[i];
        if (!is_plain(name)) {
            weir_config_error(reader, &item, "must be of letters, digits and -._~");
        } else if (strcmp(name, b->param) == 0 || strcmp(name, b->names_param) == 0) {
            weir_config_error(reader, &item, "is the parameter that holds names: remove it here");
        }
    }
}

/* How does the batch name things? */
static void check_names(struct weir_config_reader *reader, const struct weir_config_batch *b,
                        const struct weir_config_place *at)
{
    if (b->names == WEIR_CONFIG_BATCH_ALL) {
        static const char *const idle[] = {"names_param", "max"};
        for (size_t i = 0; i < WEIR_ARRAY_CNT(idle); i++) {
            if (is_written(at, idle[i])) {
                complain(reader, at, idle[i],
                         "has no use with names: all, where the call names nothing: remove it");
            }
        }
    } else if (*b->names_param == '\0') {
        complain(reader, at, "names_param",
                 "missing: names: json and comma say them in this query parameter");
    } else if (!is_plain(b->names_param)) {
        complain(reader, at, "names_param", "must be of letters, digits and -._~");
    }
}

static bool by_instrument(const struct weir_config_provider *provider,
                          const struct weir_config_route *route)
{
    for (size_t i = 0; i < route->cost_cnt; i++) {
        size_t k = 0;
        while (k < provider->limit_cnt &&
               strcmp(provider->limit[k].name, route->cost[i].limit) != 0) {
            k++;
        }
        if (k < provider->limit_cnt && provider->limit[k].scope == WEIR_SCOPE_INSTRUMENT) {
            return true;
        }
    }
    return false;
}

static void check_route(struct weir_config_reader *reader,
                        const struct weir_config_provider *provider,
                        const struct weir_config_route *route, const struct weir_config_place *at)
{
    const struct weir_config_route *many = &provider->route[route->batch.route_idx];
    if (many == route) {
        complain(reader, at, "route", "is this route itself: name the one that answers for many");
    } else if (many->transport != WEIR_CONFIG_TRANSPORT_WEIR || many->method != WEIR_METHOD_GET ||
               many->is_signed || ends_in_star(many->path)) {
        complain(reader, at, "route",
                 "must be a GET that weir makes, unsigned, with a path that does not end in *");
    } else if (many->response_max_bytes > UINT64_C(16) << 20) {
        complain(reader, at, "route",
                 "its max_response must be at most 16MiB: longer answers are not taken apart");
    } else if (by_instrument(provider, route) || by_instrument(provider, many)) {
        complain(reader, at, "route",
                 "a limit of one of both routes counts by instrument, of which a batch has many: "
                 "remove batch");
    }
}

void weir_config_check_batch(struct weir_config_reader *reader,
                             struct weir_config_provider *provider,
                             const struct weir_config_place *place)
{
    struct weir_config_place routes = weir_config_place_key(place, "routes");
    for (size_t i = 0; i < provider->route_cnt; i++) {
        struct weir_config_route *route = &provider->route[i];
        struct weir_config_batch *b = &route->batch;
        struct weir_config_place item = weir_config_place_item(&routes, i);
        struct weir_config_place at = weir_config_place_key(&item, "batch");
        if (*b->route == '\0') {
            continue;
        }
        check_single(reader, route, &at);
        check_names(reader, b, &at);
        while (b->route_idx < provider->route_cnt &&
               strcmp(provider->route[b->route_idx].name, b->route) != 0) {
            b->route_idx++;
        }
        if (b->route_idx == provider->route_cnt) {
            complain(reader, &at, "route", "no such route of this provider");
            b->route_idx = i;
        } else {
            check_route(reader, provider, route, &at);
        }
    }
}
