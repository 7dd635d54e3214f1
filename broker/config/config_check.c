/*
 * config_check.c: what must hold between the keys of the broker, and in the file as a whole.
 */
#include "broker/config/config_check.h"

#include <string.h>

#include "broker/config/config_reader.h"
#include "broker/config/config_value.h"

#define AUDIT_MIN 64U

void weir_config_check_names(struct weir_config_reader *reader, const void *entry, size_t cnt,
                             size_t stride, const struct weir_config_place *list)
{
    const char *name = entry;
    for (size_t i = 1; i < cnt; i++) {
        size_t j = 0;
        while (j < i && strcmp(name + i * stride, name + j * stride) != 0) {
            j++;
        }
        if (j < i) {
            struct weir_config_place item = weir_config_place_item(list, i);
            struct weir_config_place key = weir_config_place_key(&item, "name");
            weir_config_error(reader, &key, "%s[%zu] has this name already: give each its own",
                              list->key, j);
        }
    }
}

void weir_config_finish_domain(struct weir_config_reader *reader, void *section,
                               const struct weir_config_place *place)
{
    const struct weir_config_domain *domain = section;
    if (domain->request_max_bytes >= domain->arena_max_bytes) {
        char arena[WEIR_CONFIG_NUMBER_BYTES];
        weir_config_number_write(WEIR_CONFIG_TYPE_SIZE, domain->arena_max_bytes, arena);
        struct weir_config_place request = weir_config_place_key(place, "request");
        weir_config_error(reader, &request,
                          "must be below arena = %s, which also holds the answers", arena);
    }
}

static void check_domains(struct weir_config_reader *reader,
                          const struct weir_config_broker *broker,
                          const struct weir_config_place *place)
{
    struct weir_config_place list = weir_config_place_key(place, "domains");
    uint64_t client_max = 0;
    for (size_t i = 0; i < broker->domain_cnt; i++) {
        const struct weir_config_domain *domain = &broker->domain[i];
        client_max += domain->client_max;
        if (domain->arena_max_bytes > broker->memory_max_bytes) {
            char memory[WEIR_CONFIG_NUMBER_BYTES];
            weir_config_number_write(WEIR_CONFIG_TYPE_SIZE, broker->memory_max_bytes, memory);
            struct weir_config_place item = weir_config_place_item(&list, i);
            struct weir_config_place arena = weir_config_place_key(&item, "arena");
            weir_config_error(reader, &arena, "must not be above broker.memory = %s", memory);
        }
    }
    if (client_max > WEIR_CONFIG_CLIENT_MAX) {
        weir_config_error(reader, &list, "have %llu clients together: must be at most %d",
                          (unsigned long long)client_max, WEIR_CONFIG_CLIENT_MAX);
    }
    weir_config_check_names(reader, broker->domain, broker->domain_cnt, sizeof(*broker->domain),
                            &list);
}

void weir_config_finish_broker(struct weir_config_reader *reader, void *section,
                               const struct weir_config_place *place)
{
    const struct weir_config_broker *broker = section;
    if (broker->ring_cnt & (broker->ring_cnt - 1)) {
        struct weir_config_place ring = weir_config_place_key(place, "ring");
        weir_config_error(reader, &ring, "must be a power of two: 64, 128, 256, ... 65536");
    }
    if (broker->audit_cnt > 0 && broker->audit_cnt < AUDIT_MIN) {
        struct weir_config_place audit = weir_config_place_key(place, "audit");
        weir_config_error(reader, &audit,
                          "must be 0, for no audit, or at least %u: fewer are overwritten before "
                          "anybody reads them",
                          AUDIT_MIN);
    }
    /* A path, or the word that means that there is none. */
    const char *fault = weir_config_text_fault(WEIR_CONFIG_TYPE_FILE, broker->state_dir);
    if (broker->state_dir[0] != '\0' && strcmp(broker->state_dir, "none") != 0 && fault != NULL) {
        struct weir_config_place state_dir = weir_config_place_key(place, "state_dir");
        weir_config_error(reader, &state_dir, "must be %s, or none", fault);
    }
    check_domains(reader, broker, place);
}

/* An answer that no client has room for would make every call of the route fail. */
static void check_responses(struct weir_config_reader *reader, const struct weir_config *config,
                            const struct weir_config_place *providers)
{
    uint64_t arena_max_bytes = 0;
    for (size_t i = 0; i < config->broker.domain_cnt; i++) {
        arena_max_bytes = weir_max_u64(arena_max_bytes, config->broker.domain[i].arena_max_bytes);
    }
    char arena[WEIR_CONFIG_NUMBER_BYTES];
    weir_config_number_write(WEIR_CONFIG_TYPE_SIZE, arena_max_bytes, arena);
    for (size_t i = 0; i < config->provider_cnt; i++) {
        struct weir_config_place provider = weir_config_place_item(providers, i);
        struct weir_config_place routes = weir_config_place_key(&provider, "routes");
        for (size_t j = 0; j < config->provider[i].route_cnt; j++) {
            if (config->provider[i].route[j].response_max_bytes < arena_max_bytes) {
                continue;
            }
            struct weir_config_place route = weir_config_place_item(&routes, j);
            struct weir_config_place response = weir_config_place_key(&route, "max_response");
            weir_config_error(reader, &response,
                              "must be below the largest arena of broker.domains = %s", arena);
        }
    }
}

static void check_total(struct weir_config_reader *reader, const struct weir_config_place *place,
                        const char *what, size_t cnt, size_t max)
{
    if (cnt > max) {
        weir_config_error(reader, place, "have %zu %s together: must be at most %zu", cnt, what,
                          max);
    }
}

/* The first key about the connection itself in which two endpoints differ; NULL: none. */
static const char *connected_otherwise(const struct weir_config_endpoint *a,
                                       const struct weir_config_endpoint *b)
{
    const char *proxy_a = a->proxy.text != NULL ? a->proxy.text : "";
    const char *proxy_b = b->proxy.text != NULL ? b->proxy.text : "";
    return strcmp(a->ca_file, b->ca_file) != 0           ? "ca_file"
           : strcmp(a->client_cert, b->client_cert) != 0 ? "client_cert"
           : strcmp(a->client_key, b->client_key) != 0   ? "client_key"
           : strcmp(proxy_a, proxy_b) != 0               ? "proxy"
           : a->http != b->http                          ? "http"
                                                         : NULL;
}

/* The endpoint before [p][e] that is the same server and is connected otherwise, and by which key; NULL: there is none. */
static const struct weir_config_endpoint *same_server(const struct weir_config *config, size_t p,
                                                      size_t e, const char **key)
{
    const struct weir_config_endpoint *it = &config->provider[p].endpoint[e];
    for (size_t i = 0; i <= p; i++) {
        for (size_t j = 0; j < (i < p ? config->provider[i].endpoint_cnt : e); j++) {
            const struct weir_config_endpoint *other = &config->provider[i].endpoint[j];
            bool same = other->url.tls == it->url.tls && other->url.port == it->url.port &&
                        strcmp(other->url.host, it->url.host) == 0;
            *key = same ? connected_otherwise(it, other) : NULL;
            if (*key != NULL) {
                return other;
            }
        }
    }
    return NULL;
}

/* Connections to one server are shared, so there is one answer to the questions how it is reached, whether it is believed, and as whom. */
static void check_connections(struct weir_config_reader *reader, const struct weir_config *config,
                              const struct weir_config_place *providers)
{
    for (size_t p = 0; p < config->provider_cnt; p++) {
        struct weir_config_place provider = weir_config_place_item(providers, p);
        struct weir_config_place endpoints = weir_config_place_key(&provider, "endpoints");
        for (size_t e = 0; e < config->provider[p].endpoint_cnt; e++) {
            const char *key;
            const struct weir_config_endpoint *other = same_server(config, p, e, &key);
            if (other != NULL) {
                struct weir_config_place item = weir_config_place_item(&endpoints, e);
                struct weir_config_place url = weir_config_place_key(&item, "url");
                weir_config_error(reader, &url,
                                  "is the server of endpoint %s, which has another %s: "
                                  "connections are shared, so give both the same",
                                  other->name, key);
            }
        }
    }
}

void weir_config_finish_root(struct weir_config_reader *reader, void *section,
                             const struct weir_config_place *place)
{
    struct weir_config *config = section;
    struct weir_config_place providers = weir_config_place_key(place, "providers");
    size_t limit_cnt = 0;
    size_t route_cnt = 0;
    size_t endpoint_cnt = 0;
    for (size_t i = 0; i < config->provider_cnt; i++) {
        limit_cnt += config->provider[i].limit_cnt;
        route_cnt += config->provider[i].route_cnt;
        endpoint_cnt += config->provider[i].endpoint_cnt;
    }
    check_total(reader, &providers, "limits", limit_cnt, WEIR_CONFIG_LIMIT_MAX);
    check_total(reader, &providers, "routes", route_cnt, WEIR_CONFIG_ROUTE_MAX);
    check_total(reader, &providers, "endpoints", endpoint_cnt, WEIR_CONFIG_ENDPOINT_MAX);
    weir_config_check_names(reader, config->provider, config->provider_cnt,
                            sizeof(*config->provider), &providers);
    check_responses(reader, config, &providers);
    check_connections(reader, config, &providers);
    weir_config_check_egress_shared(reader, config, &providers);
    weir_config_check_sign_in(reader, config, &providers);
    weir_config_check_cache_room(reader, config, &providers);
}
