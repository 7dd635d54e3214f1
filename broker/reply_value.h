/*
 * reply_value.h: numbers and instants out of what a provider sent: headers, members of a JSON body, text.
 *
 * Everything here is bounded and believes nothing: a value is either read whole, by a strict form, or it is no value. What the forms are:
 *
 *   number   digits, at most one '.', digits; at most 32 characters; blanks around are dropped. "-5" is NEGATIVE (Binance sends -1 where it
 *            does not know); NaN, 1e9, 0x10, "", "12 apples" and what does not fit 64 bits are GARBAGE
 *   instant  a number since 1970 UTC in s, ms, us or ns; its magnitude tells the unit where none is configured (they do not overlap from 1973
 *            to 5138). Or an IMF-fixdate, "Sun, 06 Nov 1994 08:49:37 GMT" (RFC 9110 5.6.7); the obsolete forms are GARBAGE
 *   body     JSON of at most REPLY_JSON_MAX_BYTES; jansson refuses more than 2048 levels, numbers beyond 64 bits, and doubled names
 *
 * Pure functions on bytes that need no NUL. Callers: the worker; the fuzz target.
 */
#ifndef WEIR_BROKER_REPLY_VALUE_H
#define WEIR_BROKER_REPLY_VALUE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define REPLY_JSON_MAX_BYTES (64U * 1024) /* a longer body is not looked into for members */
#define REPLY_TEXT_MAX_BYTES (8U * 1024)  /* texts are searched in the first 8 KiB */

struct reply_text {
    const char *at; /* into the answer, or into the JSON tree */
    size_t bytes;
};

enum reply_verdict {
    REPLY_VALUE = 0,
    REPLY_ABSENT = 1,
    REPLY_NEGATIVE = 2,
    REPLY_GARBAGE = 3,
};

/* `value` units and `decimals` digits behind the point: 12.5 is {125, 1}. */
struct reply_number {
    uint64_t value;
    uint32_t decimals;
};

/* What a stamp's number counts. */
enum reply_unit {
    REPLY_UNIT_AUTO = 0,
    REPLY_UNIT_S = 1,
    REPLY_UNIT_MS = 2,
    REPLY_UNIT_US = 3,
    REPLY_UNIT_NS = 4,
};

/* An instant or a duration: the truth lies in [ns, ns + granularity_ns). */
struct reply_instant {
    uint64_t ns;
    uint64_t granularity_ns;
};

/* The value of the first header `name` (lower case) in an answer's head: blanks around it dropped. ABSENT, or VALUE (which may be empty). */
enum reply_verdict reply_header(const char *head, size_t bytes, const char *name,
                                struct reply_text *value);

enum reply_verdict reply_number(struct reply_text text, struct reply_number *number);

/* Whole units, rounded up: of what was used, a part counts as one. */
enum reply_verdict reply_units(struct reply_text text, uint32_t *units, bool round_up);

/* A number of `unit`s since 1970, or a date. */
enum reply_verdict reply_instant(struct reply_text text, enum reply_unit unit,
                                 struct reply_instant *instant);

/* A number of `unit`s as a span; AUTO counts as seconds. */
enum reply_verdict reply_span(struct reply_text text, enum reply_unit unit,
                              struct reply_instant *span);

/* The tree of a body, to be given back with json_decref; NULL where it is too long or no JSON. */
json_t *reply_json(const char *body, size_t bytes);

/* The value at `path` inside a tree, of any kind; NULL: it is not there. */
const json_t *reply_at(const json_t *root, const char *path);

/*
 * The member at `path` ("a.b" looks inside a, "list.0" at the first of a list) as text: a string, or an integer or real written into `buffer`.
 * ABSENT where it is not there, GARBAGE where it is null, true, false, a list or an object.
 */
enum reply_verdict reply_member(const json_t *root, const char *path, char buffer[40],
                                struct reply_text *value);

/* Where `text` begins in the first REPLY_TEXT_MAX_BYTES of `body`; NULL: not there. An empty text is nowhere. */
const char *reply_find(const char *body, size_t bytes, const char *text, size_t text_bytes);

#endif
