/*
 * weir_request.h: what a request may contain. The same check runs twice.
 *
 * libweir runs it before a request is handed over, so that its author gets the error at the call. The worker runs it again on its private copy,
 * because whoever shares memory with it may write anything. Neither knows the other's answer.
 *
 * A client never gives a URL, a host or a method string. It names a route; what it may add is a path rest (only on routes whose configured
 * path ends in a slash and a star), a query, headers from the route's list, and a body.
 *
 *   path rest   RFC 3986 pchar and '/', percent-encoded where needed; no "//", no "." or ".." segment, not starting with '/', and
 *               no encoded slash, backslash or control byte, by which a ".." could hide
 *   query       RFC 3986 query characters
 *   headers     RFC 9110 token names; values without control characters but TAB; never those that frame or route a message
 *
 * Source: RFC 3986 3.3, 3.4; RFC 9110 5.1, 5.5; libcurl-security(3): curl sends header strings as they are.
 */
#ifndef WEIR_REQUEST_H
#define WEIR_REQUEST_H

#include "weir_layout.h"

#define WEIR_REQUEST_HEADERS_MAX 32U

/* One header inside a payload. Not NUL-terminated. */
struct weir_request_header {
    const char *name;
    const char *value;
    uint32_t name_bytes;
    uint32_t value_bytes;
};

/* A request's payload, taken apart. Pointers lead into the payload. */
struct weir_request_parts {
    const char *path;
    const char *query;
    const char *body;
    uint32_t path_bytes, query_bytes, body_bytes;
    uint32_t header_cnt;
    struct weir_request_header header[WEIR_REQUEST_HEADERS_MAX];
};

/* Each returns WEIR_OK or the named error. Pure functions; safe on any bytes. */
int weir_request_path_check(const char *path, size_t bytes);   /* WEIR_E_PATH_INVALID */
int weir_request_query_check(const char *query, size_t bytes); /* WEIR_E_PATH_INVALID */
int weir_request_header_check(const char *name, size_t name_bytes, const char *value,
                              size_t value_bytes); /* _HEADER_* */

/*
 * Take `payload_bytes` bytes apart as `request` says and check every part. Returns WEIR_OK, or WEIR_E_BODY_TOO_LARGE (lengths beyond the
 * payload), WEIR_E_PATH_INVALID, WEIR_E_HEADER_INVALID, WEIR_E_HEADER_FORBIDDEN. `request` must be a private copy.
 */
int weir_request_parse(const struct weir_shm_request *request, const char *payload,
                       size_t payload_bytes, struct weir_request_parts *parts);

/* Append one header in payload form at `at`; returns the bytes written, or 0 when they do not fit `room_bytes`. */
size_t weir_request_header_put(char *at, size_t room_bytes, const char *name, size_t name_bytes,
                               const char *value, size_t value_bytes);

#endif
