/*
 * config_check_cache.c: what must hold between the keys that say which answers are kept.
 *
 * The rule behind all of it: an answer that lies on the board can be read by every process that may attach, of every domain and role. So nothing is kept that is not
 * said to be public; and nothing whose call does something, because whoever is given a kept answer has not made the call.
 */
#include "broker/config/config_check.h"
#include "broker/config/config_reader.h"
#include "broker/config/config_value.h"
#include "shm/weir_cache.h"

static void complain(struct weir_config_reader *reader, const struct weir_config_place *place,
                     const char *key, const char *why)
{
    struct weir_config_place child = weir_config_place_key(place, key);
    weir_config_error(reader, &child, "%s", why);
}

/* May an equal call be given the answer of another one? */
static void check_call(struct weir_config_reader *reader, const struct weir_config_route *route,
                       const struct weir_config_place *place)
{
    bool fetches = route->method == WEIR_METHOD_GET || route->method == WEIR_METHOD_HEAD;
    if (route->transport == WEIR_CONFIG_TRANSPORT_OWN) {
        complain(reader, place, "cache",
                 "has no use with transport: own, where weir sees no answer: remove it");
    } else if (route->is_signed) {
        complain(reader, place, "cache", "the answer to a signed call is nobody else's: remove it");
    } else if (route->share != WEIR_CONFIG_SHARE_PUBLIC) {
        complain(reader, place, "cache",
                 "needs share: public: answers are kept where every client can read them, and "
                 "this version keeps no others");
    } else if (!fetches && route->method != WEIR_METHOD_POST) {
        complain(reader, place, "cache",
                 "has no use with this method: GET, HEAD, or a POST that only asks");
    } else if (!route->is_idempotent) {
        complain(reader, place, "cache",
                 "needs a call that only asks: write idempotent: true where that is so, or remove "
                 "it");
    }
}

void weir_config_check_cache(struct weir_config_reader *reader,
                             const struct weir_config_route *route,
                             const struct weir_config_place *place)
{
    const struct {
        const char *key;
        bool used;
    } needy[] = {
        {"stale", route->stale_ns != 0},
        {"revalidate", route->revalidate_ns != 0},
        {"negative", route->negative_ns != 0},
        {"cache_control", route->cache_control == WEIR_CONFIG_CACHE_CONTROL_HONOUR},
        {"last_good", route->last_good_ns != 0},
    };
    for (size_t i = 0; i < WEIR_ARRAY_CNT(needy) && route->cache_ns == 0; i++) {
        if (needy[i].used) {
            complain(reader, place, needy[i].key,
                     "has no use without cache: write both, or remove it");
        }
    }
    if (route->cache_ns == 0) {
        return;
    }
    check_call(reader, route, place);
    if (route->revalidate_ns > route->stale_ns) {
        complain(reader, place, "revalidate",
                 "must be at most stale: no answer is given when it is older than cache and stale "
                 "together");
    }
}

uint64_t weir_config_cache_bytes(const struct weir_config *config, uint64_t *answer_max_bytes)
{
    uint64_t body_max_bytes = 0;
    bool any = false;
    for (size_t p = 0; p < config->provider_cnt; p++) {
        for (size_t r = 0; r < config->provider[p].route_cnt; r++) {
            const struct weir_config_route *route = &config->provider[p].route[r];
            if (route->cache_ns != 0) {
                any = true;
                body_max_bytes = weir_max_u64(body_max_bytes, route->response_max_bytes);
            }
        }
    }
    *answer_max_bytes = any ? body_max_bytes + WEIR_CACHE_HEAD_MAX_BYTES : 0;
    return any ? config->broker.cache_bytes : 0;
}

void weir_config_check_cache_room(struct weir_config_reader *reader,
                                  const struct weir_config *config,
                                  const struct weir_config_place *providers)
{
    uint64_t most_bytes = config->broker.cache_bytes / 4;
    char room[WEIR_CONFIG_NUMBER_BYTES];
    weir_config_number_write(WEIR_CONFIG_TYPE_SIZE, config->broker.cache_bytes, room);
    for (size_t p = 0; p < config->provider_cnt; p++) {
        const struct weir_config_provider *provider = &config->provider[p];
        struct weir_config_place at = weir_config_place_item(providers, p);
        struct weir_config_place routes = weir_config_place_key(&at, "routes");
        for (size_t r = 0; r < provider->route_cnt; r++) {
            const struct weir_config_route *route = &provider->route[r];
            struct weir_config_place item = weir_config_place_item(&routes, r);
            struct weir_config_place cache = weir_config_place_key(&item, "cache");
            if (route->cache_ns != 0 &&
                route->response_max_bytes + WEIR_CACHE_HEAD_MAX_BYTES > most_bytes) {
                weir_config_error(reader, &cache,
                                  "max_response and 8KiB for the head must be at most a quarter "
                                  "of broker.cache = %s: lower the one, or raise the other",
                                  room);
            }
        }
    }
}
