#include "weir_request.h"

#include <string.h>
#include <strings.h>

static bool is_alnum(unsigned char c)
{
    return (c >= '0' && c <= '9') || ((c | 32U) >= 'a' && (c | 32U) <= 'z');
}

static bool is_hex(unsigned char c)
{
    return (c >= '0' && c <= '9') || ((c | 32U) >= 'a' && (c | 32U) <= 'f');
}

static bool in_set(unsigned char c, const char *set)
{
    return c != '\0' && strchr(set, c) != NULL;
}

/* RFC 3986 pchar without '%', plus what `also` allows. */
static bool is_pchar(unsigned char c, const char *also)
{
    return is_alnum(c) || in_set(c, "-._~!$&'()*+,;=:@") || in_set(c, also);
}

static bool chars_ok(const char *text, size_t bytes, const char *also)
{
    for (size_t i = 0; i < bytes; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c == '%') {
            if (bytes - i < 3 || !is_hex((unsigned char)text[i + 1]) ||
                !is_hex((unsigned char)text[i + 2])) {
                return false;
            }
            i += 2;
        } else if (!is_pchar(c, also)) {
            return false;
        }
    }
    return true;
}

/* Undo percent-encoding for one segment's dots: "%2e" is a dot to many servers. Returns whether the segment is "." or "..". */
static bool is_dot_segment(const char *segment, size_t bytes)
{
    size_t dots = 0;
    for (size_t i = 0; i < bytes; dots++) {
        if (segment[i] == '.') {
            i += 1;
        } else if (bytes - i >= 3 && strncasecmp(segment + i, "%2e", 3) == 0) {
            i += 3;
        } else {
            return false;
        }
    }
    return dots == 1 || dots == 2;
}

/* An encoded '/', '\\' or control byte: servers that decode before they split would see another path than the one checked here. */
static bool hides_structure(const char *path, size_t bytes)
{
    for (size_t i = 0; i + 2 < bytes; i++) {
        unsigned char high = (unsigned char)path[i + 1];
        unsigned char low = (unsigned char)path[i + 2] | 32U;
        if (path[i] == '%' && ((high == '2' && low == 'f') || (high == '5' && low == 'c') ||
                               high == '0' || high == '1' || (high == '7' && low == 'f'))) {
            return true;
        }
    }
    return false;
}

int weir_request_path_check(const char *path, size_t bytes)
{
    if (bytes == 0) {
        return WEIR_OK;
    }
    if (path[0] == '/' || !chars_ok(path, bytes, "/") || hides_structure(path, bytes)) {
        return WEIR_E_PATH_INVALID;
    }
    for (size_t start = 0; start <= bytes;) {
        const char *slash = start < bytes ? memchr(path + start, '/', bytes - start) : NULL;
        size_t end = slash != NULL ? (size_t)(slash - path) : bytes;
        if ((end == start && end < bytes) || is_dot_segment(path + start, end - start)) {
            return WEIR_E_PATH_INVALID; /* "//", "." or ".." */
        }
        start = end + 1;
    }
    return WEIR_OK;
}

int weir_request_query_check(const char *query, size_t bytes)
{
    /* '[' ']' '"' '{' '}' are not RFC 3986 query characters; exchanges that want JSON lists take them percent-encoded. */
    return chars_ok(query, bytes, "/?") ? WEIR_OK : WEIR_E_PATH_INVALID;
}

/* Headers that frame the message, choose the host, or speak for the connection: the broker's alone. */
static bool is_forbidden(const char *name, size_t bytes)
{
    static const char *const names[] = {
        "host",   "content-length", "transfer-encoding", "connection", "upgrade",  "te", "trailer",
        "expect", "keep-alive",     "accept-encoding",   "via",        "forwarded"};
    for (size_t i = 0; i < WEIR_ARRAY_CNT(names); i++) {
        if (strlen(names[i]) == bytes && strncasecmp(names[i], name, bytes) == 0) {
            return true;
        }
    }
    return bytes >= 6 && strncasecmp(name, "proxy-", 6) == 0;
}

int weir_request_header_check(const char *name, size_t name_bytes, const char *value,
                              size_t value_bytes)
{
    if (name_bytes == 0 || name_bytes > 256) {
        return WEIR_E_HEADER_INVALID;
    }
    for (size_t i = 0; i < name_bytes; i++) {
        unsigned char c = (unsigned char)name[i];
        if (!is_alnum(c) && !in_set(c, "!#$%&'*+-.^_`|~")) {
            return WEIR_E_HEADER_INVALID;
        }
    }
    for (size_t i = 0; i < value_bytes; i++) {
        unsigned char c = (unsigned char)value[i];
        if ((c < 0x20 && c != '\t') || c == 0x7f) {
            return WEIR_E_HEADER_INVALID;
        }
    }
    return is_forbidden(name, name_bytes) ? WEIR_E_HEADER_FORBIDDEN : WEIR_OK;
}

static uint32_t u16_at(const char *p)
{
    uint16_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

static int headers_parse(const char *at, size_t bytes, uint32_t cnt,
                         struct weir_request_parts *parts)
{
    if (cnt > WEIR_REQUEST_HEADERS_MAX) {
        return WEIR_E_HEADER_INVALID;
    }
    size_t off = 0;
    for (uint32_t i = 0; i < cnt; i++) {
        if (bytes - off < 4) {
            return WEIR_E_HEADER_INVALID;
        }
        struct weir_request_header *h = &parts->header[i];
        h->name_bytes = u16_at(at + off);
        h->value_bytes = u16_at(at + off + 2);
        off += 4;
        if (bytes - off < (size_t)h->name_bytes + h->value_bytes) {
            return WEIR_E_HEADER_INVALID;
        }
        h->name = at + off;
        h->value = at + off + h->name_bytes;
        off += (size_t)h->name_bytes + h->value_bytes;
        int rc = weir_request_header_check(h->name, h->name_bytes, h->value, h->value_bytes);
        if (rc != WEIR_OK) {
            return rc;
        }
    }
    parts->header_cnt = cnt;
    return off == bytes ? WEIR_OK : WEIR_E_HEADER_INVALID;
}

int weir_request_parse(const struct weir_shm_request *request, const char *payload,
                       size_t payload_bytes, struct weir_request_parts *parts)
{
    uint64_t sum = (uint64_t)request->path_bytes + request->query_bytes + request->headers_bytes +
                   request->body_bytes;
    if (sum > payload_bytes) {
        return WEIR_E_BODY_TOO_LARGE;
    }
    parts->header_cnt = 0;
    parts->path = payload;
    parts->path_bytes = request->path_bytes;
    parts->query = parts->path + parts->path_bytes;
    parts->query_bytes = request->query_bytes;
    const char *headers = parts->query + parts->query_bytes;
    parts->body = headers + request->headers_bytes;
    parts->body_bytes = request->body_bytes;
    int rc = weir_request_path_check(parts->path, parts->path_bytes);
    rc = rc != WEIR_OK ? rc : weir_request_query_check(parts->query, parts->query_bytes);
    return rc != WEIR_OK
               ? rc
               : headers_parse(headers, request->headers_bytes, request->header_cnt, parts);
}

size_t weir_request_header_put(char *at, size_t room_bytes, const char *name, size_t name_bytes,
                               const char *value, size_t value_bytes)
{
    if (name_bytes > UINT16_MAX || value_bytes > UINT16_MAX ||
        room_bytes < 4 + name_bytes + value_bytes) {
        return 0;
    }
    const uint16_t lengths[2] = {(uint16_t)name_bytes, (uint16_t)value_bytes};
    memcpy(at, lengths, 4);
    memcpy(at + 4, name, name_bytes);
    memcpy(at + 4 + name_bytes, value, value_bytes);
    return 4 + name_bytes + value_bytes;
}
