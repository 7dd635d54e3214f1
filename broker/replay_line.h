/*
 * replay_line.h: one line of a recorded log, as a call of the configuration.
 *
 * Two forms, told apart line by line. A line that begins with '{' is weir's own: {"at": TIME, "route": "provider.route"}, and where they differ from the
 * configuration "priority", "scope", "units": {limit: n}, "status": HTTP status; members that are not known are ignored. A line of weir audit --json has
 * "audit" besides: only those that say "granted" are calls; others tell how many records are missing, or nothing. TIME is RFC 3339 or an integer of ns since 1970. Any
 * other line is an access log in the common or combined form: [time], then the request in quotes, matched to routes by method and the longest path.
 *
 * A log is hostile input: any bytes are a call or a text that says why not.
 */
#ifndef WEIR_BROKER_REPLAY_LINE_H
#define WEIR_BROKER_REPLAY_LINE_H

#include "broker/config/config.h"
#include "shm/weir_tables.h"

struct replay_call {
    uint64_t utc_ns;
    bool whole_second; /* an access log: any time within the second */
    bool several;      /* another route of the same length fits as well */
    bool has_units;
    uint64_t missing; /* NO_CALL: so many records are missing here */
    uint32_t status;  /* of the answer; 0: not known */
    uint32_t route;
    uint32_t priority;
    weir_scope_id scope;
    struct weir_cost units;
};

enum replay_verdict {
    REPLAY_CALL = 0,
    REPLAY_UNREADABLE = 1,
    REPLAY_UNKNOWN_ROUTE = 2,
    REPLAY_NO_CALL = 3, /* another record of an audit */
};

/* What lines are matched against. */
struct replay_names {
    const struct weir_config *config;
    const struct weir_tables *tables;
    const char *provider; /* only this one's routes in access logs; NULL: all */
};

/* Understand one line of `bytes` bytes, NUL-terminated, without its line end. Fills `call`, or `text` with the reason. */
enum replay_verdict replay_line_read(const struct replay_names *names, char *line, size_t bytes,
                                     struct replay_call *call, char *text, size_t text_bytes);

#endif
