/*
 * http_inside.h: the engine from inside. Only for http.c (the multi interface, its sockets and timers, what has finished), http_easy.c (a handle, and all that is set on it) and
 * http_answer.c (what passes between a handle and its server: the gate, and how the answer is framed).
 */
#ifndef WEIR_BROKER_HTTP_INSIDE_H
#define WEIR_BROKER_HTTP_INSIDE_H

#include "broker/h2_end.h"
#include "broker/http.h"

struct http_socket;

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

/* http_easy.c: a handle for a target, a kept one where there is one. NULL: no memory. */
struct http_easy *http_easy_take(struct http *http, struct http_target *t);
void http_easy_give(struct http_target *t, struct http_easy *e);
/* What this transfer asks for. */
CURLcode http_easy_set(struct http_easy *e, const struct http_transfer *t);

/* http_answer.c: curl's callbacks for gate, lines of a head, and body; `arg` is the handle. */
int http_on_gate(void *arg, char *ip, char *local_ip, int port, int local_port);
size_t http_on_head(char *at, size_t one, size_t bytes, void *arg);
size_t http_on_data(char *at, size_t one, size_t bytes, void *arg);
/* Was what passed the gate never written? Then its owner is told. Where curl begins anew, or has ended. */
void http_unsent_look(struct http_easy *e);
/* May the connection be used again behind this answer? */
void http_reuse_set(struct http_easy *e, bool may);
/* Was the answer cut off, though curl calls it a success? */
bool http_is_cut_short(const struct http_easy *e);

#endif
