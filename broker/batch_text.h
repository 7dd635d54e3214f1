/*
 * batch_text.h: what a single call names, and how a batch says it. Pure functions on bytes; nothing here is believed to be NUL-terminated.
 *
 * A name is 1 to 63 bytes of UTF-8 without control characters, as it is behind its percent-encoding. Quotes, backslashes and percent signs are letters like others: the JSON list is
 * made by jansson, and all but letters, digits and -._~ goes out percent-encoded. What cannot be said surely (a '+', which some take for a blank; a comma in a comma list; a bad
 * encoding; a parameter twice; a parameter that the configuration does not list) is no name: such a call is made by itself.
 */
#ifndef WEIR_BROKER_BATCH_TEXT_H
#define WEIR_BROKER_BATCH_TEXT_H

#include "broker/batch_split.h"
#include "broker/config/config.h"

#define BATCH_WITH_MAX_BYTES 255U

struct batch_name {
    uint8_t bytes;
    char text[SPLIT_NAME_MAX_BYTES];
};

/* A single call, as far as batches go. */
struct batch_want {
    struct batch_name name;
    uint8_t with_bytes;
    char with[BATCH_WITH_MAX_BYTES]; /* "a=1&b=2": passed on, in the configuration's order */
};

/* What a call of path rest and query asks for; false: it is to be made by itself. */
bool batch_want_read(const struct weir_config_batch *config, const char *path, size_t path_bytes,
                     const char *query, size_t query_bytes, struct batch_want *want);

/* The query of a batch for `cnt` names (of which some may be equal). malloc'd, not terminated; NULL: no memory. */
char *batch_query_make(const struct weir_config_batch *config, const struct batch_want *with,
                       const struct batch_name *name, size_t cnt, size_t *bytes);

/*
 * Path rest or query of the single call for `name`, as any client would write it that writes none of these letters in two ways; false: it has others.
 * `to` has BATCH_CALL_MAX_BYTES.
 */
#define BATCH_CALL_MAX_BYTES 512U
bool batch_call_make(const struct weir_config_batch *config, const struct batch_want *with,
                     const char *name, size_t name_bytes, char *to, size_t *bytes);

/*
 * The head of an answer that is cut out of a batch: status line, Date and Content-Type; the rest spoke of the whole (lengths, tags, what was used). `to` has `room`. Returns
 * the bytes; 0: they do not fit, or there is no status line.
 */
size_t batch_head_make(const char *head, size_t bytes, char *to, size_t room);

#endif
