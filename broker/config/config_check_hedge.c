/*
 * config_check_hedge.c: when a call is sent a second time beside the first (providers[].hedge), and which may be.
 */
#include <string.h>

#include "broker/config/config.h"
#include "broker/config/config_check.h"
#include "broker/config/config_reader.h"
#include "broker/config/config_value.h"
#include "shm/weir_base.h"

#define AFTER_MIN_NS (1 * WEIR_NS_PER_MS)
#define AFTER_MAX_NS (60 * WEIR_NS_PER_S)

/* "p50".."p99", as millionths; 0: something else. */
static uint64_t percentile_of(const char *text)
{
    bool form = text[0] == 'p' && strlen(text) == 3 && text[1] >= '5' && text[1] <= '9' &&
                text[2] >= '0' && text[2] <= '9';
    return form ? (uint64_t)((text[1] - '0') * 10 + (text[2] - '0')) * 10000U : 0;
}

void weir_config_finish_hedge(struct weir_config_reader *reader, void *section,
                              const struct weir_config_place *place)
{
    struct weir_config_hedge *hedge = section;
    hedge->after_ppm = percentile_of(hedge->after);
    bool known =
        hedge->after_ppm != 0 ||
        (weir_config_number_read(WEIR_CONFIG_TYPE_DURATION, hedge->after, &hedge->after_ns) &&
         hedge->after_ns >= AFTER_MIN_NS && hedge->after_ns <= AFTER_MAX_NS);
    if (!known) {
        struct weir_config_place after = weir_config_place_key(place, "after");
        weir_config_error(reader, &after,
                          "must be a percentile of the route's own latency, p50..p99, or a "
                          "duration: 1ms..1m");
    }
}

/* Are there two who could make the same call: addresses, or keys? */
static bool has_pool(const struct weir_config_provider *provider)
{
    size_t addresses = 0;
    size_t keys = 0;
    for (size_t i = 0; i < provider->egress_cnt; i++) {
        addresses += provider->egress[i].is_pooled;
    }
    for (size_t i = 0; i < provider->auth.account_key_cnt; i++) {
        keys += provider->auth.account_key[i].is_pooled;
    }
    return addresses > 1 || keys > 1;
}

static void check_route(struct weir_config_reader *reader,
                        const struct weir_config_provider *provider,
                        struct weir_config_route *route, const struct weir_config_place *place)
{
    struct weir_config_place at = weir_config_place_key(place, "hedge");
    bool is_written = at.node != NULL;
    bool fetches = route->method == WEIR_METHOD_GET || route->method == WEIR_METHOD_HEAD;
    if (!is_written) {
        /* A signed one may bear a nonce that must not be overtaken: its author has to know. */
        route->is_hedged =
            provider->hedge.budget_ppm > 0 && fetches && route->is_idempotent && !route->is_signed;
    } else if (route->is_hedged && provider->hedge.budget_ppm == 0) {
        weir_config_error(reader, &at,
                          "has no use without hedge of the provider: write hedge: {} there for its "
                          "defaults, or remove this");
    } else if (route->is_hedged && route->transport == WEIR_CONFIG_TRANSPORT_OWN) {
        weir_config_error(reader, &at,
                          "has no use with transport: own, where weir makes no call: remove it");
    } else if (route->is_hedged && !route->is_idempotent) {
        weir_config_error(reader, &at,
                          "must be false where a call may be made only once: an order would be "
                          "placed twice");
    }
}

void weir_config_check_hedge(struct weir_config_reader *reader,
                             struct weir_config_provider *provider,
                             const struct weir_config_place *place)
{
    struct weir_config_place hedge = weir_config_place_key(place, "hedge");
    struct weir_config_place routes = weir_config_place_key(place, "routes");
    bool any = false;
    for (size_t i = 0; i < provider->route_cnt; i++) {
        struct weir_config_place item = weir_config_place_item(&routes, i);
        check_route(reader, provider, &provider->route[i], &item);
        any = any || provider->route[i].is_hedged;
    }
    if (provider->hedge.budget_ppm == 0) {
        return;
    }
    if (provider->endpoint_cnt < 2 && !has_pool(provider)) {
        weir_config_error(reader, &hedge,
                          "needs a second endpoint for the second call to go to, or another "
                          "address or key of a pool: add one, or remove this");
    } else if (!any) {
        weir_config_error(reader, &hedge,
                          "has no use: no route is a GET or HEAD that is not signed, and none says "
                          "hedge: true: remove it");
    }
}
