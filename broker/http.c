#include "broker/http.h"

#include "broker/h2_end.h"
#include "broker/identity.h"
#include "broker/log.h"
#include "broker/trust.h"
#include "shm/weir_clock.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#define IDLE_MAX 256U /* easy handles kept per target */
#define AGENT    "weir/" WEIR_VERSION

/* What we know about one descriptor. Indexed by fd; the generation changes with every mask and every life. */
struct http_socket {
    uint32_t generation;
    uint8_t mask; /* CURL_POLL_*, as curl wants it */
    bool armed;
};

struct http {
    struct loop *loop;
    CURLM *multi;
    CURLSH *share;     /* TLS sessions: the multi shares connections by itself */
    uint64_t timer_ns; /* UINT64_MAX = none */
    struct http_socket *socket;
    size_t socket_cnt;
    bool reads_ends; /* of answers over HTTP/2; without it none is asked for */
};

/*
 * A handle that has been through a transfer keeps its options, and so does what it remembers here: an option that would be set to what
 * it is already is left alone. (Setting a dozen of them costs a microsecond.)
 */
struct http_easy {
    CURL *curl;
    struct http_easy *next; /* idle list */
    struct http_transfer *transfer;
    enum weir_method method; /* as set with no body and no headers; UNSET: something else was set */
    struct curl_slist agent; /* before the lines of a request that does not say who asks */
    struct curl_slist *connect_to;
    const char *source;
    bool has_request_target;
    /* Of the answer under way: lines of a head come, and one of them has begun; what the head has named; nobody can tell where it ends; its connection is used up. */
    bool in_head, in_line, has_length, chunked, broken, forbids;
    uint64_t length_bytes;
    bool passed;              /* the gate, on its way to a connection */
    struct h2_reader *reader; /* of the connection it was written to, if that may be HTTP/2 */
    char path_query[256];     /* of the request target as set; "" where it was longer, or none is */
};

static struct http_socket *socket_of(struct http *http, curl_socket_t fd)
{
    size_t i = (size_t)fd;
    if (i >= http->socket_cnt) {
        size_t cnt = weir_max_u64(64, weir_round_up(i + 1, 64));
        struct http_socket *grown = realloc(http->socket, cnt * sizeof *grown);
        if (grown == NULL) {
            return NULL;
        }
        memset(grown + http->socket_cnt, 0, (cnt - http->socket_cnt) * sizeof *grown);
        http->socket = grown;
        http->socket_cnt = cnt;
    }
    return &http->socket[i];
}

static void arm(struct http *http, curl_socket_t fd, struct http_socket *s)
{
    unsigned events = ((s->mask & CURL_POLL_IN) != 0 ? POLLIN | POLLRDHUP : 0U) |
                      ((s->mask & CURL_POLL_OUT) != 0 ? POLLOUT : 0U);
    if (events != 0 && !s->armed) {
        loop_poll(http->loop, LOOP_CURL, s->generation, (uint32_t)fd, fd, events, false);
        s->armed = true;
    }
}

static void disarm(struct http *http, curl_socket_t fd, struct http_socket *s)
{
    if (s->armed) {
        loop_poll_cancel(http->loop, LOOP_CURL, s->generation, (uint32_t)fd);
        s->armed = false;
    }
    s->generation++; /* what may still arrive belongs to the past */
}

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *socketp)
{
    (void)easy;
    (void)socketp;
    struct http *http = arg;
    struct http_socket *s = socket_of(http, fd);
    if (s == NULL) {
        return -1;
    }
    disarm(http, fd, s);
    s->mask = what == CURL_POLL_REMOVE ? 0 : (uint8_t)what;
    arm(http, fd, s);
    return 0;
}

static int on_timer(CURLM *multi, long timeout_ms, void *arg)
{
    (void)multi;
    struct http *http = arg;
    /* 0 is "at once": a new transfer starts in this turn, not after the next look at a clock. */
    http->timer_ns = timeout_ms < 0 ? UINT64_MAX
                     : timeout_ms == 0
                         ? 0
                         : weir_clock_monotonic_ns() + (uint64_t)timeout_ms * WEIR_NS_PER_MS;
    return 0;
}

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

/*
 * curl takes a kept connection that the server has reset for a good one (7.88: its look at it knows only the orderly end), fails to write, and begins anew with another one. Where it
 * passed the gate and no byte went out, say so. Curl counts what the socket took, over all its attempts; HTTP/2's framing is not in that count.
 */
static void unsent_look(struct http_easy *e)
{
    long written_bytes = -1;
    bool passed = e->passed;
    e->passed = false;
    if (passed && !e->transfer->target->http2 && e->transfer->unsent != NULL &&
        curl_easy_getinfo(e->curl, CURLINFO_REQUEST_SIZE, &written_bytes) == CURLE_OK &&
        written_bytes == 0) {
        e->transfer->unsent(e->transfer);
    }
}

static curl_socket_t on_open(void *arg, curlsocktype purpose, struct curl_sockaddr *address)
{
    struct http_easy *e = arg;
    struct http_target *t = e->transfer->target;
    unsent_look(e);
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

/* May the connection be used again behind this answer? */
static void reuse_set(struct http_easy *e, bool may)
{
    e->forbids = !may;
    (void)curl_easy_setopt(e->curl, CURLOPT_FORBID_REUSE, may ? 0L : 1L);
}

/* The value of the header `name`, which has its colon; NULL: this line is another one. */
static const char *value_of(const char *line, size_t bytes, const char *name, const char **end)
{
    size_t n = strlen(name);
    if (bytes < n || strncasecmp(line, name, n) != 0) {
        return NULL;
    }
    const char *at = line + n;
    *end = line + bytes;
    while (at < *end && (*at == ' ' || *at == '\t')) {
        at++;
    }
    while (*end > at && strchr(" \t\r\n", (*end)[-1]) != NULL) {
        (*end)--;
    }
    return at;
}

/*
 * What curl 7.88 lets pass of a head that does not say where its answer ends (RFC 9112, 6.3): several lengths, of which it takes the last, and one that no number holds, with which it
 * reads to the end of the connection. And a length beside chunks: curl goes by the chunks, as it should, but keeps the connection. Returns false: nobody can tell what is the answer.
 */
static bool framing_look(struct http_easy *e, const char *line, size_t bytes)
{
    const char *end;
    const char *at = value_of(line, bytes, "content-length:", &end);
    if (bytes > 5 && memcmp(line, "HTTP/", 5) == 0) {
        e->has_length = e->chunked =
            false; /* another head: the one before was an interim answer's */
    }
    if (at != NULL) {
        uint64_t n = 0;
        bool good = end > at && end - at < 19; /* so long a number fits */
        for (; good && at < end; at++) {
            good = *at >= '0' && *at <= '9';
            n = 10 * n + (uint64_t)(*at - '0');
        }
        e->broken = !good || (e->has_length && n != e->length_bytes);
        e->has_length = true;
        e->length_bytes = n;
        return !e->broken;
    }
    e->chunked = e->chunked || value_of(line, bytes, "transfer-encoding:", &end) != NULL;
    if (e->has_length &&
        e->chunked) { /* whoever stands between may see another end: RFC 9112, 6.1 */
        reuse_set(e, false);
    }
    return true;
}

/* The empty line behind a head: is it the head of the answer, or an interim one with another behind it? curl goes on behind each 1xx but 101, which nobody asked for. */
static bool head_ends(const struct http_easy *e, const char *line)
{
    long status = 0;
    (void)curl_easy_getinfo(e->curl, CURLINFO_RESPONSE_CODE, &status);
    return (line[0] == '\r' || line[0] == '\n') && (status / 100 != 1 || status == 101);
}

static size_t on_head(char *at, size_t one, size_t bytes, void *arg)
{
    (void)one;
    struct http_easy *e = arg;
    struct http_transfer *t = e->transfer;
    e->in_line = false;
    if (e->in_head && bytes > 0) {
        e->in_head = !head_ends(e, at);
    }
    if (t->target->http2 && bytes > 7 && memcmp(at, "HTTP/1.", 7) == 0) { /* it did not agree */
        reuse_set(e, true);
    }
    return framing_look(e, at, bytes) && t->head(t, at, bytes) ? bytes : 0;
}

/*
 * A piece of a line of the head, before curl keeps it (CURLOPT_HEADER); on_head gets the line behind that. A line that goes on with the one before (obs-fold, which RFC 9112, 5.2 forbids servers)
 * must not come so far: curl 7.88 joins it to the last header that it kept (data->state.prevhead), and where the line is a head's first that header was the last answer's of this handle, and is
 * freed. Later versions clear the pointer.
 */
static bool line_look(struct http_easy *e, const char *piece)
{
    if (!e->in_line && (piece[0] == ' ' || piece[0] == '\t')) {
        e->broken = true;
    }
    e->in_line = true;
    return !e->broken;
}

static size_t on_data(char *at, size_t one, size_t bytes, void *arg)
{
    (void)one;
    struct http_easy *e = arg;
    if (e->in_head && bytes > 0) {
        return line_look(e, at) ? bytes : 0;
    }
    return e->transfer->data(e->transfer, at, bytes);
}

/* The answer was ended by its server: its stream took nothing along. */
static void on_ended(void *arg)
{
    reuse_set(arg, true);
}

/* A request is about to be written to a connection that may speak HTTP/2: it is closed behind it, unless the answer is ended. */
static void end_watch(struct http_easy *e)
{
    struct curl_tlssessioninfo *tls = NULL;
    h2_end_drop(e->reader);
    e->reader = NULL;
    if (curl_easy_getinfo(e->curl, CURLINFO_TLS_SSL_PTR, &tls) == CURLE_OK && tls != NULL &&
        tls->backend == CURLSSLBACKEND_OPENSSL) {
        e->reader = h2_end_begin(tls->internals, on_ended, e);
    }
    reuse_set(e, false);
}

static int on_gate(void *arg, char *ip, char *local_ip, int port, int local_port)
{
    (void)ip;
    (void)port;
    (void)local_port;
    struct http_easy *e = arg;
    struct http_transfer *t = e->transfer;
    e->in_head = true; /* of this sending, should curl send again */
    e->in_line = false;
    if (t->source != NULL && strcmp(local_ip, t->source + sizeof HTTP_SOURCE_PREFIX - 1) != 0) {
        return CURL_PREREQFUNC_ABORT; /* another member's connection: its count is not ours to use */
    }
    unsent_look(e);
    if (!t->gate(t)) {
        return CURL_PREREQFUNC_ABORT;
    }
    e->passed = true;
    if (t->target->http2) {
        end_watch(e);
    }
    if (t->request_target != NULL) { /* read behind this, where curl writes the request line */
        e->has_request_target = true;
        return curl_easy_setopt(e->curl, CURLOPT_REQUEST_TARGET, t->request_target) == CURLE_OK
                   ? CURL_PREREQFUNC_OK
                   : CURL_PREREQFUNC_ABORT;
    }
    return CURL_PREREQFUNC_OK;
}

struct http *http_open(struct loop *loop)
{
    struct http *http = calloc(1, sizeof *http);
    if (http == NULL) {
        return NULL;
    }
    http->loop = loop;
    http->timer_ns = UINT64_MAX;
    http->reads_ends = h2_end_open();
    if (!http->reads_ends) {
        log_warn("http2_off", "s:s, s:s", "reason", "this libcurl does not read through OpenSSL",
                 "meaning", "endpoints with http: 2 are asked in HTTP/1.1");
    }
    http->multi = curl_multi_init();
    http->share = curl_share_init();
    if (http->multi == NULL || http->share == NULL) {
        free(http);
        return NULL;
    }
    (void)curl_share_setopt(http->share, CURLSHOPT_SHARE,
                            CURL_LOCK_DATA_SSL_SESSION); /* one thread: no lock functions */
    (void)curl_multi_setopt(http->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
    (void)curl_multi_setopt(http->multi, CURLMOPT_SOCKETDATA, http);
    (void)curl_multi_setopt(http->multi, CURLMOPT_TIMERFUNCTION, on_timer);
    (void)curl_multi_setopt(http->multi, CURLMOPT_TIMERDATA, http);
    (void)curl_multi_setopt(http->multi, CURLMOPT_PIPELINING, CURLPIPE_NOTHING);
    (void)curl_multi_setopt(http->multi, CURLMOPT_MAXCONNECTS, 1024L);
    return http;
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
    (void)curl_easy_setopt(e, CURLOPT_PREREQFUNCTION, on_gate);
    (void)curl_easy_setopt(e, CURLOPT_HEADERFUNCTION, on_head);
    (void)curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, on_data);
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

static struct http_easy *easy_take(struct http *http, struct http_target *t)
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

static void easy_give(struct http_target *t, struct http_easy *e)
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
        reuse_set(e, true);
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

bool http_start(struct http *http, struct http_transfer *t)
{
    struct http_easy *e = easy_take(http, t->target);
    if (e == NULL) {
        return false;
    }
    CURLcode code = request_target_set(e, t);
    options_set(e, t);
    e->transfer = t;
    e->in_head = true;
    e->in_line = e->has_length = e->chunked = e->broken = e->passed = false;
    t->easy = e;
    t->code = CURLE_OK;
    t->status = 0;
    t->connected = false;
    if (code != CURLE_OK || curl_multi_add_handle(http->multi, e->curl) != CURLM_OK) {
        easy_give(t->target, e);
        t->easy = NULL;
        return false;
    }
    return true;
}

/* `closes`: and its connection with it, if it is not over. */
static void transfer_drop(struct http *http, struct http_transfer *t, bool closes)
{
    CURL *curl = t->easy->curl;
    if (closes) {
        (void)curl_easy_setopt(curl, CURLOPT_FORBID_REUSE, 1L);
    }
    (void)curl_multi_remove_handle(http->multi, curl);
    if (closes) {
        (void)curl_easy_setopt(curl, CURLOPT_FORBID_REUSE, 0L); /* the handle is kept */
    }
    easy_give(t->target, t->easy);
    t->easy = NULL;
}

void http_stop(struct http *http, struct http_transfer *t)
{
    if (t->easy != NULL) {
        /* HTTP/2: curl would keep the connection, less the window of the lost stream. */
        transfer_drop(http, t, t->target->http2);
    }
}

void http_event(struct http *http, const struct loop_event *event)
{
    struct http_socket *s = event->index < http->socket_cnt ? &http->socket[event->index] : NULL;
    if (s == NULL || (s->generation & 0xffffffU) != event->generation || event->result < 0) {
        return; /* a poll of the descriptor's former life, or one that was taken back */
    }
    s->armed = false;
    int what = 0;
    if ((event->result & (POLLIN | POLLHUP | POLLRDHUP)) != 0) {
        what |= CURL_CSELECT_IN;
    }
    if ((event->result & POLLOUT) != 0) {
        what |= CURL_CSELECT_OUT;
    }
    if ((event->result & POLLERR) != 0) {
        what |= CURL_CSELECT_IN | CURL_CSELECT_OUT |
                CURL_CSELECT_ERR; /* never ERR alone: curl would fail a new transfer */
    }
    uint32_t generation = s->generation;
    int running;
    (void)curl_multi_socket_action(http->multi, (curl_socket_t)event->index, what, &running);
    s = &http->socket[event->index]; /* the table may have moved */
    if (s->generation == generation) {
        arm(http, (curl_socket_t)event->index, s);
    }
}

/* What curl 7.88 may call success over HTTP/2: a stream that ended before its body was whole (h2_end.h). */
static bool cut_short(const struct http_easy *e)
{
    long version = 0;
    curl_off_t got = 0;
    (void)curl_easy_getinfo(e->curl, CURLINFO_HTTP_VERSION, &version);
    (void)curl_easy_getinfo(e->curl, CURLINFO_SIZE_DOWNLOAD_T, &got);
    return version == CURL_HTTP_VERSION_2_0 && !h2_end_is_whole(e->reader, (uint64_t)got);
}

/* Say what is wrong with a certificate, once a minute. curl has one code for all. */
static void certificate_tell(CURL *curl, struct http_target *t)
{
    long verdict = 0;
    uint64_t now_ns = weir_clock_monotonic_ns();
    if (t->refused_at_ns != 0 && now_ns - t->refused_at_ns < 60 * WEIR_NS_PER_S) {
        return;
    }
    t->refused_at_ns = now_ns;
    (void)curl_easy_getinfo(curl, CURLINFO_SSL_VERIFYRESULT, &verdict);
    log_error("certificate_refused", "s:s, s:s, s:s", "endpoint", t->base, "reason",
              trust_reason(verdict), "meaning", "nothing was sent to it");
}

/* Hand finished transfers back. A done callback may start others. */
static bool collect(struct http *http)
{
    bool any = false;
    int left;
    CURLMsg *m;
    while ((m = curl_multi_info_read(http->multi, &left)) != NULL) {
        struct http_easy *e = NULL;
        long value = 0;
        (void)curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, &e);
        struct http_transfer *t = e->transfer;
        t->code = m->data.result;
        (void)curl_easy_getinfo(m->easy_handle, CURLINFO_RESPONSE_CODE, &value);
        t->status = (uint32_t)value;
        if (t->code != CURLE_OK) {
            unsent_look(e);
        }
        value = 0;
        (void)curl_easy_getinfo(m->easy_handle, CURLINFO_NUM_CONNECTS, &value);
        t->connected = value > 0;
        if (t->code == CURLE_OK && t->target->http2 && cut_short(e)) {
            t->code = CURLE_PARTIAL_FILE;
        }
        if (e->broken) {
            t->code = CURLE_WEIRD_SERVER_REPLY;
        } else if (t->code == CURLE_PEER_FAILED_VERIFICATION) {
            certificate_tell(m->easy_handle, t->target);
        }
        transfer_drop(http, t, false);
        t->done(t);
        any = true;
    }
    return any;
}

void http_turn(struct http *http, uint64_t now_ns)
{
    /* An answer can be complete without another event, and a new transfer is kicked by a timer of 0: go on until all is quiet. */
    for (int i = 0; i < 16; i++) {
        if (http->timer_ns <= now_ns) {
            int running;
            http->timer_ns = UINT64_MAX;
            (void)curl_multi_socket_action(http->multi, CURL_SOCKET_TIMEOUT, 0, &running);
        }
        if (!collect(http) && http->timer_ns > now_ns) {
            return;
        }
        now_ns = weir_clock_monotonic_ns();
    }
}

uint64_t http_next_ns(const struct http *http)
{
    return http->timer_ns;
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
