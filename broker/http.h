/*
 * http.h: HTTP on libcurl's multi interface, driven by the loop.
 *
 * One transfer is one attempt at one endpoint. The engine knows nothing of permits or clients; it calls back at four points:
 *
 *   gate   the connection stands and not one byte of the request is written: may it be? (CURLOPT_PREREQFUNCTION). libcurl 7.88 re-sends GET and
 *          POST by itself when a reused connection turns out dead, and asks here again, so this is the only place that sees every send
 *   head   one line of the answer's head
 *   data   bytes of the body; taking fewer than offered ends the transfer
 *   done   once per transfer, always last (deadlines are the caller's: http_stop); the transfer may be freed or started again in it
 *
 * Rules of research/queues_curl_shm.md B1-B5 that hold here: one-shot polls, re-armed after each action; generations in user_data;
 * shutdown before close where a poll is armed; numeric CONNECT_TO; no redirects, cookies, netrc or environment; admission is
 * the caller's job, so curl never queues; finished transfers are collected after every action, before the worker may sleep.
 *
 * HTTP/1.1, unless a target wants HTTP/2. Its faults in 7.88 are kept away thus: one stream at a time on a connection (no multiplexing), so nothing that
 * goes wrong in one call is another's; a connection is used again only where its server ended the answer, or what the stream took along of the connection's window would be lost to it; an
 * answer that its server did not end is an error, whatever curl says of it (h2_end.h). Where libcurl cannot be watched so, HTTP/1.1 is spoken.
 *
 * A head that does not say where its answer ends (two lengths, a length that is no number; RFC 9112, 6.3), or has a line that goes on in the next one, is CURLE_WEIRD_SERVER_REPLY and the end of its connection. One with a
 * length beside chunks is read by its chunks, and its connection is used up.
 *
 * Compressed answers come unpacked to `data`; the head is the server's, so its Content-Length and Content-Encoding are those of what was on the wire.
 *
 * A transfer may name the address of this host that it leaves from. curl binds the socket, and uses a connection again only for transfers of the same one; before the gate is
 * asked, the address that the socket has is compared with it, and a transfer on any other connection ends as CURLE_ABORTED_BY_CALLBACK without a byte written.
 *
 * curl's handles stay behind this header; callers see only its lists (curl_slist) and codes (CURLcode).
 */
#ifndef WEIR_BROKER_HTTP_H
#define WEIR_BROKER_HTTP_H

#include "broker/loop.h"
#include "shm/weir_types.h"

#include <curl/curl.h>

#define HTTP_SOURCE_PREFIX "host!" /* curl: an address, not the name of an interface */

struct http;
struct http_easy;
struct trust;
struct identity;

/* One base URL with the address that it stands for now. Owned by endpoint.c; outlives its transfers. */
struct http_target {
    char base[320];                  /* "https://host:port/base" */
    struct curl_slist *connect_to;   /* "host:port:address:port"; NULL where the host is numeric */
    struct curl_slist *headers;      /* of every request that has none of its own; NULL: none */
    long idle_max_s;                 /* a connection that was idle for longer is not used again */
    long age_max_s;                  /* nor one that is older; 0: any */
    const struct trust *trust;       /* whose certificates are believed; NULL: http:// */
    const struct identity *identity; /* who we are; NULL: the server is told nothing */
    const char *proxy;               /* "http://address:port"; NULL: none */
    bool http2;                      /* wanted; the server may not want it */
    bool compressed;                 /* answers are asked for in gzip, br or zstd */
    bool has_source;                 /* its transfers name the address that they leave from */
    char address
        [48]; /* the only one that a socket for this target may go to, the proxy's where there is one; "" = not known yet */
    uint32_t connections;   /* open sockets */
    uint64_t connects;      /* opened since start */
    uint64_t refused_at_ns; /* its certificate was refused, and the log says so; 0: never */
    CURLU *url;             /* of the base less its path; the handles share it */
    struct http_easy *idle; /* handles kept for this target, linked */
    uint32_t idle_cnt;
};

struct http_transfer {
    /* filled by the caller before http_start */
    struct http_target *target;
    enum weir_method method;
    const char *
        source; /* "host!192.0.2.7": the address that it leaves from, outlives the engine; NULL: the kernel's choice */
    const char *path_query;     /* "/api/v3/depth?symbol=X"; copied */
    struct curl_slist *headers; /* must live until done; NULL: the target's */
    const void *body;           /* must live until done */
    size_t body_bytes;
    bool (*gate)(struct http_transfer *t);
    bool (*head)(struct http_transfer *t, const char *line, size_t bytes);
    size_t (*data)(struct http_transfer *t, const char *bytes, size_t cnt);
    /*
     * The gate let it pass, and then the connection was found dead before a byte was written: it was not sent. Followed by another connection and the gate, or by `done`. May
     * not end the transfer.
     */
    void (*unsent)(struct http_transfer *t);
    void (*done)(struct http_transfer *t);
    /*
     * Set by `gate`: path and query as they are sent, in place of path_query; NULL: those. The gate may also change what `body` and the texts of `headers` hold,
     * but no length of a body and no list: curl reads them behind it.
     */
    const char *request_target;
    /* filled by the engine before done */
    CURLcode code;
    uint32_t status;
    bool connected; /* a new connection was made for it */
    /* the engine's own */
    struct http_easy *easy;
};

/* Open the engine. NULL without memory. `loop` must outlive it. Caller: the worker, once; curl_global_init must have been called. */
struct http *http_open(struct loop *loop);

/* Start a transfer. False when curl refuses it (no memory, a URL it cannot read): done is not called then. */
bool http_start(struct http *http, struct http_transfer *t);

/* End a transfer now; done is not called. Closes its connection if the request was on the way. */
void http_stop(struct http *http, struct http_transfer *t);

/* A poll event of kind LOOP_CURL. */
void http_event(struct http *http, const struct loop_event *event);

/* Run curl's timers that are due and collect what has finished, until nothing is left to collect. Caller: every turn of the loop. */
void http_turn(struct http *http, uint64_t now_ns);

/* When curl wants its next turn; UINT64_MAX = whenever something happens. */
uint64_t http_next_ns(const struct http *http);

void http_target_close(struct http_target *target);

#endif
