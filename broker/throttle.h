/*
 * throttle.h: does this answer say "stop", and until when?
 *
 * An answer is throttled when any of the provider's `throttle` rules holds: its status is listed, it bears the header, a member of its JSON
 * body has the listed value (Bybit: retCode 10006 in HTTP 200), or the text stands in its body (Alpha Vantage: a sentence in HTTP 200). Texts are
 * searched in the first 8 KiB, members in bodies of up to 64 KiB (reply_value.h): what says stop is short.
 *
 * Status and header are known when the head is whole, so the pause stands before the body has come; the body is looked at when it is whole.
 * "Banned until" texts give an absolute instant of the server's UTC. It is heeded only on an answer that is throttled by a rule, and only
 * if it lies ahead and at most 366 days: nothing that a body says alone stops anybody.
 *
 * Pure functions. What becomes of a verdict is answer.c's.
 */
#ifndef WEIR_BROKER_THROTTLE_H
#define WEIR_BROKER_THROTTLE_H

#include "broker/config/config.h"
#include "broker/reply_value.h"

enum throttle_by {
    THROTTLE_NOT = 0,
    THROTTLE_BY_STATUS = 1,
    THROTTLE_BY_HEADER = 2,
    THROTTLE_BY_BODY = 3, /* a member's value */
    THROTTLE_BY_TEXT = 4,
};

/* By what the head says. */
enum throttle_by throttle_head(const struct weir_config_throttle *config, uint32_t status,
                               const char *head, size_t bytes);

/* How long such an answer asks for by its status alone (throttle.ban); 0: its status says nothing of that. */
uint64_t throttle_ban_ns(const struct weir_config_throttle *config, uint32_t status);

/*
 * What a Retry-After says that is a number: `*for_ns`. ABSENT: the provider's is not looked at (throttle.retry_after: none). NEGATIVE, GARBAGE: no pause follows from
 * it: no number (it may be a date: answer.c), beyond 64 bits, or above 366 days, which no exchange means.
 */
enum reply_verdict throttle_retry_after(const struct weir_config_throttle *config,
                                        struct reply_text text, uint64_t *for_ns);

/* By what the body says. */
enum throttle_by throttle_body(const struct weir_config_throttle *config, const char *body,
                               size_t bytes);

/*
 * "banned until 1659146400000" by the configured pattern: text, then {time}. False where it is not there, not a number, not ahead of
 * `now_utc_ns` or more than 366 days ahead.
 */
bool throttle_until(const struct weir_config_throttle *config, const char *body, size_t bytes,
                    uint64_t now_utc_ns, uint64_t *until_utc_ns);

/* For the log: "status", "header", "body", "text". */
const char *throttle_by_name(enum throttle_by by);

#endif
