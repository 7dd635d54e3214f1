/*
 * doubt_rule.h: who an order is, what is to be asked after it, and what the answer says. (broker/doubt.h has the whole.)
 *
 * The id and what else the question needs are taken from the checked copy of a request, before it is sent. Nothing is guessed: a call has an id only if it
 * stands where the configuration says, exactly once, not empty, 64 bytes of printable ASCII at most. Percent-encoding is undone (names too, so that no
 * second one hides), '+' is refused, because it is a blank to some servers and itself to others. In a question every value is percent-encoded
 * again (RFC 3986, 2.1), so none can add a parameter or leave its path segment.
 *
 * The answer to a question is believed only where it is about that order: FOUND needs a status of 2xx and the same id in it; ABSENT all that the configuration
 * asks for. Anything else says nothing. Bodies of up to REPLY_JSON_MAX_BYTES are looked into.
 *
 * Pure functions, safe on any bytes. Callers: the worker; tests.
 */
#ifndef WEIR_BROKER_DOUBT_RULE_H
#define WEIR_BROKER_DOUBT_RULE_H

#include "broker/config/config.h"
#include "shm/weir_layout_ledger.h"
#include "shm/weir_request.h"

struct doubt_question {
    uint32_t path_bytes, query_bytes, body_bytes; /* of `text`, in this order */
    char id[WEIR_DOUBT_ID_BYTES + 1];
    char text[WEIR_DOUBT_TEXT_BYTES];
};

/* Fill `q` from a checked request. False: it bears no usable id, or not what the question needs, or the question is too long. */
bool doubt_compose(const struct weir_config_doubt *config, const struct weir_request_parts *parts,
                   struct doubt_question *q);

enum doubt_verdict {
    DOUBT_NOTHING = 0,
    DOUBT_FOUND = 1,
    DOUBT_ABSENT = 2, /* when it was asked: surely only if that was late enough */
};

enum doubt_verdict doubt_read(const struct weir_config_doubt *config, const char *id,
                              uint32_t status, const char *body, size_t body_bytes);

/* Does an answer of this status leave it open what became of the call? */
bool doubt_is_unsure(const struct weir_config_doubt *config, uint32_t status);

#endif
