/*
 * sign.h: how a call shows whose it is: one table of schemes, one file for each family.
 *
 * The caller says what it is about to send, this writes the signed form into the caller's memory. Nothing here knows permits, curl, clients or clocks, allocates
 * but for what OpenSSL does while it computes, or keeps anything of a call. Keys are read once (sign_key_open), in memory for keys (secret.h), and what is
 * derived from them on a stack is wiped before a function returns.
 *
 *   sign.c          the table, keys, room
 *   sign_text.c     bounded text: numbers, hex, base64, percent, instants
 *   sign_digest.c   OpenSSL: HMAC, SHA-256, Ed25519, RSA, ECDSA
 *   sign_query.c    Binance: parameters signed as they are sent
 *   sign_bybit.c    Bybit v5
 *   sign_prehash.c  OKX, Bitget, Coinbase Exchange: instant, method, path and body
 *   sign_kraken.c   Kraken spot (a nonce in the body) and futures
 *   sign_htx.c      HTX: sorted parameters under method and host
 *   sign_jwt.c      Coinbase: a token for each call
 *   sign_plain.c    keys that are sent as they are
 *
 * Of schemes with a session there is only a row here, so that what is asked of every scheme can be asked of them: broker/sign_in.h has what they send.
 *
 * To add a scheme: a value of enum sign_scheme, a row in sign.c, its functions in a file of its family, a choice in config_schema.c, a vector in
 * tests/unit/test_sign.c.
 */
#ifndef WEIR_BROKER_SIGN_H
#define WEIR_BROKER_SIGN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum sign_scheme {
    SIGN_NONE = 0, /* nothing is signed */
    SIGN_API_KEY,  /* the key in a header or a parameter */
    SIGN_BEARER,
    SIGN_HMAC_SHA256_QUERY, /* Binance and those that took its way over */
    SIGN_ED25519_QUERY,
    SIGN_RSA_QUERY,
    SIGN_BYBIT,
    SIGN_BYBIT_RSA,
    SIGN_OKX,
    SIGN_BITGET,
    SIGN_BITGET_RSA,
    SIGN_COINBASE_EXCHANGE,
    SIGN_COINBASE_ES256,
    SIGN_COINBASE_ED25519,
    SIGN_HTX,
    SIGN_HTX_ED25519,
    SIGN_KRAKEN,
    SIGN_KRAKEN_FUTURES,
    SIGN_OAUTH2, /* from here on: what a session has (broker/sign_in.h) */
    SIGN_COOKIE,
    SIGN_SCHEME_CNT,
};

#define SIGN_LINES_MAX       3U   /* header lines that differ from call to call */
#define SIGN_FIXED_MAX       3U   /* ... that are the same for each call of a key */
#define SIGN_RANDOM_BYTES    16U  /* what a scheme may want of chance */
#define SIGN_SIGNATURE_MAX   512U /* bytes of the longest: RSA with 4096 bits */
#define SIGN_PARAMETERS_MAX  256U /* of a query that has to be sorted */
#define SIGN_TOKEN_MAX_BYTES 4000U

struct sign_slice {
    const char *at;
    size_t bytes;
};

/* What the configuration says of one key. Texts are never NULL; "" is not set. */
struct sign_parts {
    enum sign_scheme scheme;
    const char *key;
    const char *secret;
    const char *passphrase;
    const char *token;  /* SIGN_OAUTH2: the operator's; NULL is not set either */
    const char *header; /* SIGN_API_KEY: one of the two */
    const char *param;
    uint64_t recv_window_ms; /* schemes that have one */
    uint64_t nonce_unit_ns;  /* SIGN_KRAKEN: 1 ms, 1 us or 1 ns */
};

/* The part that sign_key_fault() complains of. */
enum sign_part { SIGN_PART_KEY, SIGN_PART_SECRET, SIGN_PART_PASSPHRASE, SIGN_PART_TOKEN };

/* A key that can sign. Made once, read only after. */
struct sign_key {
    struct sign_parts parts;           /* texts in memory for keys, which outlive this */
    const char *fixed[SIGN_FIXED_MAX]; /* lines "name: value" for each call, in memory for keys */
    uint32_t fixed_cnt;
    struct sign_slice raw; /* the secret as it is used: decoded where it is base64 */
    void *pair;            /* EVP_PKEY; NULL where the scheme has none */
};

/* What is about to be sent. Nothing is NUL-terminated but `method`. */
struct sign_request {
    const char *method;      /* "GET" */
    struct sign_slice host;  /* without a port */
    struct sign_slice path;  /* whole, as it is sent, without the query */
    struct sign_slice query; /* without '?' */
    struct sign_slice body;
    uint64_t utc_ns;             /* the exchange's clock */
    uint64_t nonce_ns;           /* larger than that of any call before; a multiple of the unit */
    const unsigned char *random; /* SIGN_RANDOM_BYTES */
};

/* How much room the signed form takes. */
struct sign_room {
    size_t line_bytes;  /* all lines with their NULs, at most */
    size_t query_bytes; /* with NUL, at most; 0: the query stays as it is */
    size_t body_bytes;  /* exactly; 0: the body stays as it is */
};

/* The signed form. The caller gives the three pieces of memory, of at least the room. */
struct sign_result {
    char *lines; /* each "name: value" with its NUL */
    size_t lines_cap_bytes;
    char *query; /* the whole query, with NUL */
    size_t query_cap_bytes;
    char *body; /* the whole body */
    size_t body_cap_bytes;
    const char *line[SIGN_LINES_MAX]; /* filled: in `lines` */
    uint32_t line_cnt;
    size_t query_bytes; /* filled, without NUL */
    size_t body_bytes;
};

/* What the rest of weird asks of a scheme. */
bool sign_has_session(enum sign_scheme scheme); /* its calls bear what weir has fetched */
bool sign_has_recv_window(enum sign_scheme scheme);
bool sign_has_nonce(enum sign_scheme scheme);
bool sign_wants_secret(enum sign_scheme scheme);
bool sign_wants_passphrase(enum sign_scheme scheme);
/* Can it sign calls of this method? */
bool sign_method_allowed(enum sign_scheme scheme, const char *method);
/* Does it send a header of this name? Then nobody else may. */
bool sign_sends_header(const struct sign_parts *parts, const char *name, size_t bytes);

/* NULL, or what is wrong with a key whose parts are set, and with which of them. Never names the value. */
const char *sign_key_fault(const struct sign_parts *parts, enum sign_part *part);

/* Memory for keys that sign_key_open() will take, at most. */
size_t sign_key_bytes(const struct sign_parts *parts);

/* OpenSSL's own memory for keys: private keys of `cnt` schemes with a pair. Once, before sign_key_open(). False where it cannot be locked. */
bool sign_open(size_t cnt);
bool sign_has_pair(enum sign_scheme scheme);

/* Make `key` of `parts`; `memory` has sign_key_bytes(). False where sign_key_fault() has something to say, or without memory. */
bool sign_key_open(struct sign_key *key, const struct sign_parts *parts, char *memory);
void sign_key_close(struct sign_key *key); /* `memory` is the caller's to wipe */

/* The nonce behind `last_ns`, at `utc_ns`, of a key that counts in `unit_ns`: UTC, or where that is no larger, one unit more than the last. */
uint64_t sign_nonce(uint64_t last_ns, uint64_t utc_ns, uint64_t unit_ns);

/* Room for the signed form of a call of this method, path, query and body. Depends on no clock. */
struct sign_room sign_room(const struct sign_key *key, const struct sign_request *request);

/*
 * Write the signed form. May be called again for the same call: each time it is signed anew. False: nothing may be sent (no memory, no chance, more parameters
 * than can be sorted, an instant outside 2001..2286).
 */
bool sign_call(const struct sign_key *key, const struct sign_request *request,
               struct sign_result *result);

#endif
