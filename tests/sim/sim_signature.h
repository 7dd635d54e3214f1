/*
 * Signed calls, as Binance checks them: the key of the header is known, the timestamp is not too old and not of the future, and HMAC-SHA256 over query and body,
 * as they came, is the parameter `signature`. Knows no HTTP.
 */
#ifndef SIM_SIGNATURE_H
#define SIM_SIGNATURE_H

#include "sim_json.h"

#include <stddef.h>
#include <stdint.h>

enum { SIM_SIGNATURE_KEY_MAX = 16, SIM_SIGNATURE_PATH_MAX = 16, SIM_SIGNATURE_BYTES = 127 };

struct sim_signature_key {
    char key[SIM_SIGNATURE_BYTES + 1];
    char secret[SIM_SIGNATURE_BYTES + 1];
};

/* No path: nothing is checked. */
struct sim_signature_rule {
    struct sim_signature_key keys[SIM_SIGNATURE_KEY_MAX];
    size_t key_cnt;
    char paths[SIM_SIGNATURE_PATH_MAX][SIM_SIGNATURE_BYTES + 1]; /* "POST /api/v3/order" */
    size_t path_cnt;
};

enum sim_signature_verdict {
    SIM_SIGNATURE_GOOD,
    SIM_SIGNATURE_UNKNOWN, /* no such key */
    SIM_SIGNATURE_MISSING, /* no timestamp, or no signature */
    SIM_SIGNATURE_LATE,    /* the timestamp is outside recvWindow, or a second ahead */
    SIM_SIGNATURE_BAD,
    SIM_SIGNATURE_VERDICT_CNT
};

/* What came so far, and which signatures were among it. */
struct sim_signatures {
    int64_t verdict_cnt[SIM_SIGNATURE_VERDICT_CNT];
    int64_t repeated_cnt; /* the same signature once more: nobody signed anew */
    uint64_t *seen;       /* a hash set; NULL = none yet */
    size_t seen_cnt;
};

/* {"secrets": {"key": "secret"}, "paths": ["POST /api/v3/order"]} */
bool sim_signature_read(const json_t *object, struct sim_signature_rule *rule,
                        struct sim_error *error);

bool sim_signature_wanted(const struct sim_signature_rule *rule, const char *method,
                          const char *path);

/* Judges and counts. QUERY is still encoded, without '?'; both may be NULL. */
enum sim_signature_verdict sim_signature_check(struct sim_signatures *signatures,
                                               const struct sim_signature_rule *rule,
                                               const char *key, const char *query, const char *body,
                                               size_t body_bytes, int64_t now_utc_ms);

void sim_signatures_clear(struct sim_signatures *signatures);
json_t *sim_signatures_report(const struct sim_signatures *signatures);

#endif
