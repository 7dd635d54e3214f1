/*
 * sign_in_rule.h: what a session is made of, without a worker, a disk or a network: records of refresh tokens, answers that bring them, cookies and crumbs.
 *
 * A refresh token of single use is a state: held, being spent, or refused for good. The record of it on disk says which, and what weir may do with it follows from
 * the record alone (sign_in_judge):
 *
 *   HELD      nobody has sent it
 *   SPENDING  it is about to be sent, or was: written, and on the disk, before the first byte leaves
 *   REFUSED   the exchange looked at it and said no
 *
 * Two slots of one page are written in turn, each with a checksum, so the record before lies whole on the disk until the next one does. What is read from the disk
 * or comes from an exchange is believed only by strict forms; all texts with secrets in them lie in memory that the caller gives and wipes.
 *
 * Pure. Callers: the worker (sign_in.c), tests, the fuzz target.
 */
#ifndef WEIR_BROKER_SIGN_IN_RULE_H
#define WEIR_BROKER_SIGN_IN_RULE_H

#include "broker/config/config.h"
#include "broker/sign/sign.h"
#include "shm/weir_base.h"

#define SIGN_IN_RECORD_BYTES 4096U
#define SIGN_IN_SLOTS        2U
#define SIGN_IN_FILE_BYTES   (SIGN_IN_SLOTS * SIGN_IN_RECORD_BYTES)
#define SIGN_IN_HOST_BYTES   256U

/* ---------------------------------------------------------------------------------------------- the record on disk */

enum sign_in_token_state { SIGN_IN_HELD = 1, SIGN_IN_SPENDING = 2, SIGN_IN_REFUSED = 3 };

struct sign_in_record {
    uint64_t checksum; /* XXH3-64 of all that follows */
    uint64_t magic;
    uint64_t sequence;    /* goes up with each write: the larger one counts */
    uint64_t identity[2]; /* whose it is: provider, account, key */
    uint64_t seed[2];     /* of the operator's token that this one descends from */
    uint64_t utc_ns;      /* for people */
    uint32_t version;
    uint32_t state; /* enum sign_in_token_state */
    uint32_t uses;  /* times that it was sent; SPENDING: with the one that is meant */
    uint32_t token_bytes;
    uint64_t reserved[2];
    char token[SIGN_TOKEN_MAX_BYTES];
};

/* Of names, and of a token. The second one stands in no place where the token itself does not. */
void sign_in_identity(const struct weir_config_provider *provider, size_t key, uint64_t out[2]);
void sign_in_seed(const char *token, uint64_t out[2]);

/* Make it whole: magic, version, checksum. */
void sign_in_seal(struct sign_in_record *record);

enum sign_in_found {
    SIGN_IN_FOUND_NOTHING, /* a new file */
    SIGN_IN_FOUND_RECORD,
    SIGN_IN_FOUND_DAMAGED, /* something is there, and no slot of it can be believed */
};

/* The newest record of `slots`, SIGN_IN_FILE_BYTES long, and where it lies. */
enum sign_in_found sign_in_find(const char *slots, const uint64_t identity[2],
                                const struct sign_in_record **record, uint32_t *slot);

/* What supervisor and workers know of a record beside the disk: the worker before may have died between the write and the first byte. */
struct sign_in_place {
    uint64_t
        written; /* sequence of the last SPENDING that a worker of this broker began to write; 0: none */
    uint64_t sent; /* ... that it sent */
    uint64_t
        at_stake; /* not 0: it was sent, and what became of it is not on the disk yet. Whoever ends the worker now ends the sign-in */
};

enum sign_in_begin {
    SIGN_IN_BEGIN_GIVEN,  /* with the operator's token */
    SIGN_IN_BEGIN_STORED, /* with the one on disk, which nobody has sent */
    SIGN_IN_BEGIN_AGAIN,  /* with the one on disk, which may be spent: second_use allows it */
    SIGN_IN_BEGIN_LOST,   /* it may be spent: not at all */
    SIGN_IN_BEGIN_REFUSED,
    SIGN_IN_BEGIN_DAMAGED,
};

enum sign_in_begin sign_in_judge(enum sign_in_found found, const struct sign_in_record *record,
                                 const uint64_t seed[2], const struct sign_in_place *place,
                                 uint64_t second_use_max);

/* ---------------------------------------------------------------------------------------------- tokens */

/* grant_type=refresh_token and what goes with it, percent-encoded, with its NUL. Returns its bytes without that; 0: no room. */
size_t sign_in_form_bytes(const char *id, const char *secret);
size_t sign_in_form(char *to, size_t cap_bytes, const struct sign_in_record *record, const char *id,
                    const char *secret);

/* What a good answer brought. In memory for keys. */
struct sign_in_answer {
    uint32_t access_bytes; /* 0: none */
    uint32_t refresh_bytes;
    uint64_t lasts_ns;               /* 0: it does not say */
    char server[SIGN_IN_HOST_BYTES]; /* host, in lower case; "": none */
    char access[SIGN_TOKEN_MAX_BYTES + 1];
    char refresh[SIGN_TOKEN_MAX_BYTES + 1];
};

enum sign_in_says {
    SIGN_IN_SAYS_NOTHING, /* not the form of RFC 6749, 5.1 */
    SIGN_IN_SAYS_TOKEN,   /* a refresh token, but no access token that can be used */
    SIGN_IN_SAYS_ALL,
};

/* Read an answer of status 2xx. `server`: the member that names it; "": none is wanted. What jansson takes meanwhile is wiped. */
enum sign_in_says sign_in_read(const char *body, size_t bytes, const char *server,
                               struct sign_in_answer *answer);

/* "error" of RFC 6749, 5.2, if it is one of those that the RFC lists; "other". Fit for a log. */
const char *sign_in_error(const char *body, size_t bytes);

/* What the end of a token's call means for the refresh token that it bore. */
enum sign_in_end {
    SIGN_IN_END_UNSENT,  /* no byte of it left, or the exchange said "too many": held, as before */
    SIGN_IN_END_GOOD,    /* 2xx: look into it, even where it says stop as well */
    SIGN_IN_END_REFUSED, /* looked at, and refused: 400, 401, 403 */
    SIGN_IN_END_UNSURE,  /* anything else: it may be spent */
};

enum sign_in_end sign_in_end_of(bool sent, bool answered, bool throttled, uint32_t status);

/* When a session is over, and when the next one is fetched. */
struct sign_in_times {
    uint64_t good_until_ns;
    uint64_t due_ns;
};
struct sign_in_times sign_in_times(uint64_t from_ns, uint64_t lasts_ns, uint64_t margin_ns);

/* ---------------------------------------------------------------------------------------------- cookies */

#define SIGN_IN_COOKIES_MAX     16U
#define SIGN_IN_JAR_BYTES       4096U
#define SIGN_IN_LINE_MAX_BYTES  (SIGN_IN_JAR_BYTES + 64U)
#define SIGN_IN_CRUMB_MAX_BYTES 128U

struct sign_in_cookie {
    uint32_t pair_off, pair_bytes; /* "name=value" in the jar's text */
    uint32_t domain_off, domain_bytes;
    bool host_only; /* for that host alone (RFC 6265, 5.3) */
    bool secure;
};

/* In memory for keys. */
struct sign_in_jar {
    uint32_t cookie_cnt;
    uint32_t text_bytes;
    uint64_t lasts_ns; /* the shortest Max-Age; 0: none says */
    struct sign_in_cookie cookie[SIGN_IN_COOKIES_MAX];
    char text[SIGN_IN_JAR_BYTES];
};

/*
 * Fill the jar from the Set-Cookie lines of an answer of `host`. Left out: what is for a path or for a domain that `host` is not in (RFC 6265, 5.3 6; also a domain without a
 * dot), what has Max-Age 0 or less, what does not fit. False: there is none.
 */
bool sign_in_cookies(struct sign_in_jar *jar, const char *head, size_t bytes, const char *host);

/* "Cookie: a=b; c=d" of those that may go to `host`, with its NUL. Returns the bytes without that; 0: none may, or no room. */
size_t sign_in_cookie_line(const struct sign_in_jar *jar, const char *host, bool tls, char *to,
                           size_t cap_bytes);

/* A crumb is one word of printable ASCII, and no JSON or HTML. False: it is none. */
bool sign_in_crumb(const char *body, size_t bytes, char to[SIGN_IN_CRUMB_MAX_BYTES + 1]);

#endif
