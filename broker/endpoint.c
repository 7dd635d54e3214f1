#include "broker/config/config_address.h"
#include "broker/identity.h"
#include "broker/log.h"
#include "broker/resolver.h"
#include "broker/trust.h"
#include "broker/worker.h"
#include "shm/weir_atomic.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define ASK_AGAIN_NS    (2 * WEIR_NS_PER_S)
#define ADDRESS_REFUSED INT32_MAX /* where getaddrinfo's errors stand */

/* A transfer under way still reads the old list: it is freed once none is. */
static void retire(struct endpoint *e)
{
    struct curl_slist *last = e->target.connect_to;
    while (last != NULL && last->next != NULL) {
        last = last->next;
    }
    if (last != NULL) {
        last->next = e->retired; /* behind the entry that curl takes: the first match */
        e->retired = e->target.connect_to;
    }
}

static void address_set(struct worker *w, struct endpoint *e, const char *address)
{
    const struct weir_config_url *u = &e->config->url;
    struct weir_shm_endpoint *board = &w->region->endpoint[e->index];
    e->resolved_at_ns = worker_now(w);
    weir_store_relaxed_u64(&board->resolved_at_ns, e->resolved_at_ns); /* relaxed: statistics */
    if (strcmp(e->target.address, address) == 0) {
        return;
    }
    (void)snprintf(e->target.address, sizeof e->target.address, "%s", address);
    memcpy(board->address, e->target.address, sizeof board->address);
    if (!e->numeric) {
        char entry[RESOLVER_HOST_BYTES + RESOLVER_ADDRESS_BYTES + 32];
        bool v6 = strchr(address, ':') != NULL;
        (void)snprintf(entry, sizeof entry, "%s:%u:%s%s%s:%u", u->host, u->port, v6 ? "[" : "",
                       address, v6 ? "]" : "", u->port);
        struct curl_slist *list = curl_slist_append(NULL, entry);
        if (list != NULL) {
            /* Idle handles still name the old list; every start sets the new one before curl looks. */
            retire(e);
            e->target.connect_to = list;
        }
    }
    log_info("endpoint_resolved", "s:s, s:s", "endpoint", e->config->name, "address", address);
}

/* Is it one of those that the configuration names? A socket goes to target.address alone, so what is refused here is never connected to. */
static bool address_allowed(const struct endpoint *e, const char *address)
{
    const struct weir_config_strings *rules = &e->config->addresses;
    bool allowed = rules->cnt == 0;
    for (size_t i = 0; i < rules->cnt && !allowed; i++) {
        allowed = weir_config_address_in(address, rules->text[i]);
    }
    return allowed;
}

static void ask(struct worker *w, struct endpoint *e)
{
    struct resolver_question q = {.id = e->index};
    (void)snprintf(q.host, sizeof q.host, "%s", e->config->url.host);
    if (send(w->resolver, &q, sizeof q, MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)sizeof q) {
        e->asked_at_ns = w->now_ns;
    }
}

bool endpoint_answer(struct worker *w)
{
    struct resolver_answer a;
    ssize_t n;
    while ((n = recv(w->resolver, &a, sizeof a, MSG_DONTWAIT)) > 0) {
        if (n != (ssize_t)sizeof a || a.id >= w->region->endpoint_cnt ||
            memchr(a.address, '\0', sizeof a.address) == NULL) {
            continue;
        }
        struct endpoint *e = NULL;
        for (uint32_t i = 0; i < w->region->endpoint_cnt; i++) {
            e = w->endpoint[i].index == a.id ? &w->endpoint[i] : e;
        }
        if (e == NULL || strcmp(a.host, e->config->url.host) != 0) {
            continue;
        }
        if (a.error == 0 && !address_allowed(e, a.address)) {
            if (e->resolver_error != ADDRESS_REFUSED) {
                log_warn("endpoint_address_refused", "s:s, s:s, s:b", "endpoint", e->config->name,
                         "address", a.address, "kept_last", (int)(e->target.address[0] != '\0'));
            }
            e->resolver_error = ADDRESS_REFUSED;
        } else if (a.error == 0 && resolver_is_numeric(a.address)) {
            e->resolver_error = 0;
            address_set(w, e, a.address);
        } else if (a.error != e->resolver_error) { /* once for each change, not every two seconds */
            e->resolver_error = a.error;
            log_warn("endpoint_not_resolved", "s:s, s:i, s:b", "endpoint", e->config->name,
                     "resolver_error", a.error, "kept_last", (int)(e->target.address[0] != '\0'));
        }
    }
    return n < 0 && (errno == EAGAIN || errno == EINTR);
}

void endpoint_turn(struct worker *w)
{
    for (uint32_t i = 0; i < w->region->endpoint_cnt; i++) {
        struct endpoint *e = &w->endpoint[i];
        if (e->numeric) {
            continue;
        }
        if (e->in_flight == 0) {
            curl_slist_free_all(e->retired);
            e->retired = NULL;
        }
        /* no connection: it may have moved */
        bool old = e->target.address[0] == '\0' || w->now_ns < e->down_until_ns ||
                   w->now_ns - e->resolved_at_ns > e->config->address_ns;
        if (old && (e->asked_at_ns == 0 || w->now_ns - e->asked_at_ns > ASK_AGAIN_NS)) {
            ask(w, e);
        }
    }
}

/* An address as inet_ntop writes it: sockets are compared with that text. "0:0:0:0:0:0:0:1" is "::1". */
static void numeric_canonical(const char *host, char out[RESOLVER_ADDRESS_BYTES])
{
    unsigned char address[sizeof(struct in6_addr)];
    int family = strchr(host, ':') != NULL ? AF_INET6 : AF_INET;
    if (inet_pton(family, host, address) != 1 ||
        inet_ntop(family, address, out, RESOLVER_ADDRESS_BYTES) == NULL) {
        (void)snprintf(out, RESOLVER_ADDRESS_BYTES, "%s", host);
    }
}

static int by_role(const void *a, const void *b)
{
    const struct endpoint *x = a;
    const struct endpoint *y = b;
    if (x->config->role != y->config->role) {
        return x->config->role < y->config->role ? -1 : 1;
    }
    return x->index < y->index ? -1 : 1;
}

bool endpoint_open(struct worker *w)
{
    uint32_t index = 0;
    w->endpoint = calloc(w->region->endpoint_cnt + 1, sizeof *w->endpoint);
    if (w->endpoint == NULL) {
        return false;
    }
    for (uint32_t p = 0; p < w->region->provider_cnt; p++) {
        struct provider *pr = &w->provider[p];
        pr->endpoint = &w->endpoint[index];
        pr->endpoint_cnt = (uint32_t)pr->config->endpoint_cnt;
        for (uint32_t i = 0; i < pr->endpoint_cnt; i++, index++) {
            struct endpoint *e = &w->endpoint[index];
            e->config = &pr->config->endpoint[i];
            e->index = index;
            e->provider = p;
        }
        qsort(pr->endpoint, pr->endpoint_cnt, sizeof *pr->endpoint, by_role);
        for (uint32_t i = 0; i < pr->endpoint_cnt; i++) {
            struct endpoint *e = &pr->endpoint[i];
            const struct weir_config_url *u = &e->config->url;
            e->bit = i;
            bool proxied = e->config->proxy.text != NULL; /* then it is the proxy that resolves */
            const char *address_of = proxied ? e->config->proxy.host : u->host;
            e->numeric = resolver_is_numeric(address_of);
            e->target.headers = pr->headers;
            e->target.idle_max_s = (long)(e->config->idle_ns / WEIR_NS_PER_S);
            e->target.age_max_s = (long)(e->config->age_ns / WEIR_NS_PER_S);
            e->target.trust = u->tls ? trust_find(e->config->ca_file) : NULL;
            e->target.identity =
                e->config->client_cert[0] != '\0' ? identity_find(e->config) : NULL;
            e->target.proxy = e->config->proxy.text;
            e->target.http2 = e->config->http == WEIR_CONFIG_HTTP_2;
            e->target.compressed = e->config->is_compressed;
            (void)snprintf(e->target.base, sizeof e->target.base, "%s://%s%s%s:%u%s",
                           u->tls ? "https" : "http", u->ipv6 ? "[" : "", u->host,
                           u->ipv6 ? "]" : "", u->port, u->base_path);
            if (e->numeric) {
                char address[RESOLVER_ADDRESS_BYTES];
                numeric_canonical(address_of, address);
                address_set(w, e, address);
            }
        }
    }
    return true;
}
