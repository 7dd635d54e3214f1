/*
 * sign_text.h: bounded text. What does not fit sets `full`, and nothing is written behind the end; look once, at the end.
 */
#ifndef WEIR_BROKER_SIGN_TEXT_H
#define WEIR_BROKER_SIGN_TEXT_H

#include "broker/sign/sign.h"

#include <string.h>

struct sign_text {
    char *at;
    size_t cap_bytes; /* a NUL not counted: callers that want one put it */
    size_t bytes;
    bool full;
};

static inline struct sign_slice sign_slice(const char *text)
{
    return (struct sign_slice){text, strlen(text)};
}

static inline struct sign_slice sign_written(const struct sign_text *t, size_t from)
{
    return (struct sign_slice){t->at + from, t->bytes - from};
}

void sign_put(struct sign_text *t, struct sign_slice s);
void sign_put_text(struct sign_text *t, const char *text);
void sign_put_number(struct sign_text *t, uint64_t number);
void sign_put_hex(struct sign_text *t, const unsigned char *at, size_t bytes);
void sign_put_base64(struct sign_text *t, const unsigned char *at, size_t bytes);
/* RFC 4648, 5: '-', '_', without '='. */
void sign_put_base64url(struct sign_text *t, const unsigned char *at, size_t bytes);
/* RFC 3986: all but unreserved characters as %XX. */
void sign_put_percent(struct sign_text *t, struct sign_slice s);
/* The opposite; what is no %XX stays. */
void sign_put_unpercent(struct sign_text *t, struct sign_slice s);
/* 2020-12-08T09:08:57, and where `with_ms` .715Z behind it. */
void sign_put_instant(struct sign_text *t, uint64_t utc_ns, bool with_ms);

/* Decode base64 with or without '=' at its end, line ends allowed. Bytes written to `out`, or -1: no base64, or more than `cap`. */
long sign_base64_decode(struct sign_slice text, unsigned char *out, size_t cap_bytes);

/* Is there a parameter of this name in a=b&c=d? */
bool sign_has_parameter(struct sign_slice query, const char *name);

/* The next of a list of pairs between '&'; false at the end. */
bool sign_next_pair(struct sign_slice *rest, struct sign_slice *pair);

#endif
