/*
 * How an exchange says no: any status, any body, Retry-After or none. 200 with
 * a code or a text in the body is a refusal too.
 */
#ifndef SIM_REFUSAL_H
#define SIM_REFUSAL_H

#include "sim_json.h"

enum { SIM_REFUSAL_BODY_BYTES = 1024 };

struct sim_refusal {
    int64_t status;   /* 0: not configured, Binance's words */
    bool retry_after; /* a header, in seconds */
    bool json;        /* the body is JSON; else text */
    char body[SIM_REFUSAL_BODY_BYTES + 1];
};

/* What the words %limit% %quota% %retry_s% %until_ms% %until_s% %now_ms%
   %now_s% in a body stand for. */
struct sim_refusal_facts {
    const char *limit;
    int64_t quota;
    int64_t retry_s;
    int64_t until_utc_ms;
    int64_t now_utc_ms;
};

bool sim_refusal_read(const json_t *object, const char *where, struct sim_refusal *out,
                      struct sim_error *error);

/* The body with its words filled in, malloc'd; NULL without memory. */
char *sim_refusal_body(const struct sim_refusal *refusal, const struct sim_refusal_facts *facts);

#endif
