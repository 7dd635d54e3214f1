/*
 * http_easy.c: a handle of libcurl: its options, where its sockets may go, what a transfer sets on it, and those that are kept for the next one.
 */
#include "broker/http_inside.h"

#include "broker/identity.h"
#include "broker/trust.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#define IDLE_MAX 256U /* easy handles kept per target */
#define AGENT    "weir/" WEIR_VERSION

/* A socket may only go to the address that was resolved for its target: whatever a name server says later changes nothing here. */
static bool address_allowed(const struct http_target *t, const struct sockaddr *sa)
{
    char text[INET6_ADDRSTRLEN];
    const void *at = sa->sa_family == AF_INET6
                         ? (const void *)&((const struct sockaddr_in6 *)(const void *)sa)->sin6_addr
                         : (const void *)&((const struct sockaddr_in *)(const void *)sa)->sin_addr;
    return (sa->sa_family == AF_INET || sa->sa_family == AF_INET6) &&
           inet_ntop(sa->sa_family, at, text, sizeof text) != NULL && strcmp(text, t->address) == 0;
}

static curl_socket_t on_open(void *arg, curlsocktype purpose, struct curl_sockaddr *address)
{
    struct http_easy *e = arg;
    struct http_target *t = e->transfer->target;
    http_unsent_look(e);
    if (purpose != CURLSOCKTYPE_IPCXN || !address_allowed(t, &address->addr)) {
        return CURL_SOCKET_BAD;
    }
    int fd = socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
    if (fd >= 0 && t->has_source) {
        /* The port is found when it connects, so that one address has all ports for each peer, not for all together. Where it cannot be set nothing is lost. */
        int one = 1;
        (void)setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
    }
    if (fd >= 0) {
        t->connections++;
        t->connects++;
    }
    return fd;
}

static int on_close(void *arg, curl_socket_t fd)
{
    struct http_target *t = arg;
    if (t->connections > 0) {
        t->connections--;
    }
    (void)shutdown(
        fd,
        SHUT_RDWR); /* a poll that is still armed pins the file: without this the peer would see no FIN */
    return close(fd);
}

static CURLcode on_tls(CURL *curl, void *ssl_ctx, void *arg)
{
    (void)curl;
    const struct http_target *t = arg;
    trust_apply(t->trust, ssl_ctx);
    if (!h2_end_watch(ssl_ctx, t->http2)) {
        return CURLE_OUT_OF_MEMORY;
    }
    return t->identity == NULL || identity_apply(t->identity, ssl_ctx) ? CURLE_OK
                                                                       : CURLE_SSL_CERTPROBLEM;
}

/* By a proxy; for https it makes a tunnel. */
static bool is_forwarded(const struct http_target *t)
{
    return t->proxy != NULL && t->trust == NULL;
}

/* "https://host:port" */
static size_t origin_bytes(const struct http_target *t)
{
    const char *host = strstr(t->base, "://") + 3;
    return (size_t)(host - t->base) + strcspn(host, "/");
}

/* Where its requests go, taken apart once: of a text curl does it for each transfer. */
static bool url_make(struct http_target *t)
{
    char origin[sizeof t->base] = "";
    memcpy(origin, t->base, origin_bytes(t));
    t->url = t->url != NULL ? t->url : curl_url();
    return t->url != NULL && curl_url_set(t->url, CURLUPART_URL, origin, 0) == CURLUE_OK;
}

/* Options that never change between transfers to the same target. */
static void easy_options(struct http *http, struct http_target *t, CURL *e)
{
    (void)curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
    (void)curl_easy_setopt(e, CURLOPT_HTTP_VERSION,
                           t->http2 && http->reads_ends ? (long)CURL_HTTP_VERSION_2TLS
                                                        : (long)CURL_HTTP_VERSION_1_1);
    (void)curl_easy_setopt(e, CURLOPT_ACCEPT_ENCODING, t->compressed ? "gzip, br, zstd" : NULL);
    (void)curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "http,https");
    (void)curl_easy_setopt(e, CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
    (void)curl_easy_setopt(e, CURLOPT_FOLLOWLOCATION, 0L);
    (void)curl_easy_setopt(e, CURLOPT_PROXY, t->proxy != NULL ? t->proxy : "");
    (void)curl_easy_setopt(e, CURLOPT_NOPROXY, t->proxy != NULL ? "" : "*");
    (void)curl_easy_setopt(e, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    (void)curl_easy_setopt(e, CURLOPT_HEADER, 1L); /* line_look */
    if (!is_forwarded(t)) {
        /* By the first it looks for a connection; the second only keeps 7.88 from making a text out of the first. */
        (void)curl_easy_setopt(e, CURLOPT_CURLU, t->url);
        (void)curl_easy_setopt(e, CURLOPT_URL, t->base);
    }
    (void)curl_easy_setopt(e, CURLOPT_PATH_AS_IS, 1L);
    (void)curl_easy_setopt(e, CURLOPT_QUICK_EXIT, 1L);
    (void)curl_easy_setopt(e, CURLOPT_BUFFERSIZE, 65536L);
    (void)curl_easy_setopt(e, CURLOPT_TCP_KEEPALIVE, 1L);
    (void)curl_easy_setopt(e, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    (void)curl_easy_setopt(e, CURLOPT_MAXAGE_CONN, t->idle_max_s);
    (void)curl_easy_setopt(e, CURLOPT_MAXLIFETIME_CONN, t->age_max_s);
    if (t->proxy != NULL) { /* for CONNECT; requests have it in their list */
        (void)curl_easy_setopt(e, CURLOPT_USERAGENT, AGENT);
    }
    (void)curl_easy_setopt(e, CURLOPT_SHARE, http->share);
    (void)curl_easy_setopt(e, CURLOPT_OPENSOCKETFUNCTION, on_open);
    (void)curl_easy_setopt(e, CURLOPT_CLOSESOCKETFUNCTION, on_close);
    (void)curl_easy_setopt(e, CURLOPT_CLOSESOCKETDATA, t);
    (void)curl_easy_setopt(e, CURLOPT_PREREQFUNCTION, http_on_gate);
    (void)curl_easy_setopt(e, CURLOPT_HEADERFUNCTION, http_on_head);
    (void)curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, http_on_data);
    /* Where certificates are believed they are there already: curl must open no file, and it would copy these names for each transfer, with TLS or without. */
    (void)curl_easy_setopt(e, CURLOPT_CAINFO, NULL);
    (void)curl_easy_setopt(e, CURLOPT_CAPATH, NULL);
    (void)curl_easy_setopt(e, CURLOPT_PROXY_CAINFO, NULL);
    (void)curl_easy_setopt(e, CURLOPT_PROXY_CAPATH, NULL);
    if (t->trust != NULL) {
        (void)curl_easy_setopt(e, CURLOPT_CA_CACHE_TIMEOUT, 0L); /* no store beside ours */
        (void)curl_easy_setopt(e, CURLOPT_SSL_CTX_FUNCTION, on_tls);
        (void)curl_easy_setopt(e, CURLOPT_SSL_CTX_DATA, t);
    }
}

struct http_easy *http_easy_take(struct http *http, struct http_target *t)
{
    struct http_easy *e = t->idle;
    if (e != NULL) {
        t->idle = e->next;
        t->idle_cnt--;
        return e;
    }
    e = url_make(t) ? calloc(1, sizeof *e) : NULL;
    if (e != NULL) {
        e->curl = curl_easy_init();
    }
    if (e == NULL || e->curl == NULL) {
        free(e);
        return NULL;
    }
    easy_options(http, t, e->curl);
    (void)curl_easy_setopt(e->curl, CURLOPT_OPENSOCKETDATA, e);
    (void)curl_easy_setopt(e->curl, CURLOPT_PREREQDATA, e);
    (void)curl_easy_setopt(e->curl, CURLOPT_HEADERDATA, e);
    (void)curl_easy_setopt(e->curl, CURLOPT_WRITEDATA, e);
    (void)curl_easy_setopt(e->curl, CURLOPT_PRIVATE, e);
    return e;
}

void http_easy_give(struct http_target *t, struct http_easy *e)
{
    e->transfer = NULL;
    h2_end_drop(e->reader);
    e->reader = NULL;
    if (e->has_request_target) {
        (void)curl_easy_setopt(e->curl, CURLOPT_REQUEST_TARGET, NULL);
        e->path_query[0] = '\0';
        e->has_request_target = false;
    }
    if (e->forbids) {
        http_reuse_set(e, true);
    }
    if (t->idle_cnt < IDLE_MAX) {
        e->next = t->idle;
        t->idle = e;
        t->idle_cnt++;
    } else {
        curl_easy_cleanup(e->curl);
        free(e);
    }
}

/* The options of method and body: each is set every time, because the handle remembers its last transfer. */
static void method_set(CURL *e, const struct http_transfer *t)
{
    static const char *const verb[] = {NULL, NULL, NULL, NULL, "PUT", "DELETE", "PATCH"};
    (void)curl_easy_setopt(e, CURLOPT_NOBODY, 0L);
    (void)curl_easy_setopt(e, CURLOPT_POSTFIELDS, NULL);
    (void)curl_easy_setopt(e, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)-1);
    (void)curl_easy_setopt(e, CURLOPT_HTTPGET, 1L);
    (void)curl_easy_setopt(e, CURLOPT_CUSTOMREQUEST, NULL);
    if (t->method == WEIR_METHOD_HEAD) {
        (void)curl_easy_setopt(e, CURLOPT_NOBODY, 1L);
        return;
    }
    if (t->body_bytes > 0 || t->method == WEIR_METHOD_POST || t->method == WEIR_METHOD_PUT ||
        t->method == WEIR_METHOD_PATCH) {
        (void)curl_easy_setopt(e, CURLOPT_POST, 1L);
        (void)curl_easy_setopt(e, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)t->body_bytes);
        (void)curl_easy_setopt(e, CURLOPT_POSTFIELDS, t->body_bytes > 0 ? t->body : "");
    }
    if (t->method == WEIR_METHOD_GET && t->body_bytes > 0) {
        (void)curl_easy_setopt(e, CURLOPT_CUSTOMREQUEST, "GET");
    } else {
        (void)curl_easy_setopt(e, CURLOPT_CUSTOMREQUEST, verb[t->method]);
    }
}

/*
 * The path is no part of the URL, or curl would take it apart, encode it and put it together again for each transfer. A proxy that forwards wants all of it in the request line: that text
 * is curl's to make.
 */
static CURLcode request_target_set(struct http_easy *e, const struct http_transfer *t)
{
    char text[4096];
    bool whole = is_forwarded(t->target);
    const char *prefix = t->target->base + (whole ? 0 : origin_bytes(t->target));
    size_t fixed = strlen(prefix);
    size_t rest = strlen(t->path_query);
    if (rest < sizeof e->path_query && e->path_query[0] != '\0' &&
        strcmp(e->path_query, t->path_query) == 0) {
        return CURLE_OK;
    }
    char *at = fixed + rest < sizeof text ? text : malloc(fixed + rest + 1);
    if (at == NULL) {
        return CURLE_OUT_OF_MEMORY;
    }
    memcpy(at, prefix, fixed);
    memcpy(at + fixed, t->path_query, rest + 1);
    CURLcode code = curl_easy_setopt(e->curl, whole ? CURLOPT_URL : CURLOPT_REQUEST_TARGET, at);
    if (at != text) {
        free(at);
    }
    e->path_query[0] = '\0';
    if (code == CURLE_OK && rest < sizeof e->path_query) {
        memcpy(e->path_query, t->path_query, rest + 1);
    }
    return code;
}

/* All lines of a request. Of CURLOPT_USERAGENT curl would make the same line for each transfer, before it looks for a connection. */
static struct curl_slist *lines_of(struct http_easy *e, const struct http_transfer *t)
{
    static char line[] = "User-Agent: " AGENT;
    static const size_t name_bytes = sizeof "User-Agent" - 1;
    struct curl_slist *first = t->headers != NULL ? t->headers : t->target->headers;
    for (const struct curl_slist *l = first; l != NULL; l = l->next) {
        if (strncasecmp(l->data, line, name_bytes) == 0 &&
            (l->data[name_bytes] == ':' || l->data[name_bytes] == ';')) {
            return first;
        }
    }
    e->agent = (struct curl_slist){line, first};
    return &e->agent;
}

static void options_set(struct http_easy *e, const struct http_transfer *t)
{
    bool plain = t->body_bytes == 0 && t->headers == NULL;
    if (!plain || e->method != t->method) {
        method_set(e->curl, t);
        (void)curl_easy_setopt(e->curl, CURLOPT_HTTPHEADER, lines_of(e, t));
        e->method = plain ? t->method : WEIR_METHOD_UNSET;
    }
    if (e->connect_to != t->target->connect_to) {
        (void)curl_easy_setopt(e->curl, CURLOPT_CONNECT_TO, t->target->connect_to);
        e->connect_to = t->target->connect_to;
    }
    if (e->source != t->source) {
        (void)curl_easy_setopt(e->curl, CURLOPT_INTERFACE, t->source);
        e->source = t->source;
    }
}

CURLcode http_easy_set(struct http_easy *e, const struct http_transfer *t)
{
    CURLcode code = request_target_set(e, t);
    options_set(e, t);
    return code;
}

void http_target_close(struct http_target *target)
{
    while (target->idle != NULL) {
        struct http_easy *e = target->idle;
        target->idle = e->next;
        curl_easy_cleanup(e->curl);
        free(e);
    }
    target->idle_cnt = 0;
    curl_url_cleanup(target->url);
    target->url = NULL;
    curl_slist_free_all(target->connect_to);
    target->connect_to = NULL;
}
