/*
 * sign_helper.h: the kinds' names, and one call signed with a fresh key in memory of exactly the size that was asked for, guarded at its end.
 */
#ifndef WEIR_TESTS_SIGN_HELPER_H
#define WEIR_TESTS_SIGN_HELPER_H

#include "broker/sign/sign.h"

#include <stdlib.h>
#include <string.h>

/* SIGN_NONE: no scheme that signs a call by itself has this name. */
static inline enum sign_scheme scheme_named(const char *name)
{
    static const char *const known[SIGN_OAUTH2] = {
        [SIGN_API_KEY] = "api_key",
        [SIGN_BEARER] = "bearer",
        [SIGN_HMAC_SHA256_QUERY] = "hmac_sha256_query",
        [SIGN_ED25519_QUERY] = "ed25519_query",
        [SIGN_RSA_QUERY] = "rsa_query",
        [SIGN_BYBIT] = "bybit",
        [SIGN_BYBIT_RSA] = "bybit_rsa",
        [SIGN_OKX] = "okx",
        [SIGN_BITGET] = "bitget",
        [SIGN_BITGET_RSA] = "bitget_rsa",
        [SIGN_COINBASE_EXCHANGE] = "coinbase_exchange",
        [SIGN_COINBASE_ES256] = "coinbase_es256",
        [SIGN_COINBASE_ED25519] = "coinbase_ed25519",
        [SIGN_HTX] = "htx",
        [SIGN_HTX_ED25519] = "htx_ed25519",
        [SIGN_KRAKEN] = "kraken",
        [SIGN_KRAKEN_FUTURES] = "kraken_futures",
    };
    for (unsigned i = 1; i < SIGN_OAUTH2; i++) {
        if (strcmp(known[i], name) == 0) {
            return (enum sign_scheme)i;
        }
    }
    return SIGN_NONE;
}

struct signed_call {
    char *key_memory;
    struct sign_key key;
    struct sign_room room;
    char *memory[3]; /* lines, query, body, each with GUARD behind it */
    struct sign_result result;
};

#define GUARD "guard"

static inline char *guarded(size_t bytes)
{
    char *at = calloc(1, bytes + sizeof GUARD);
    memcpy(at + bytes, GUARD, sizeof GUARD);
    return at;
}

static inline bool guard_whole(const char *at, size_t bytes)
{
    return memcmp(at + bytes, GUARD, sizeof GUARD) == 0;
}

/* False: the key cannot be read, or the call cannot be signed. */
static inline bool signed_open(struct signed_call *s, const struct sign_parts *parts,
                               const struct sign_request *request)
{
    memset(s, 0, sizeof *s);
    s->key_memory = guarded(sign_key_bytes(parts));
    if (!sign_key_open(&s->key, parts, s->key_memory)) {
        return false;
    }
    s->room = sign_room(&s->key, request);
    const size_t bytes[3] = {s->room.line_bytes, s->room.query_bytes, s->room.body_bytes};
    for (size_t i = 0; i < 3; i++) {
        s->memory[i] = guarded(bytes[i]);
    }
    s->result = (struct sign_result){.lines = s->memory[0],
                                     .lines_cap_bytes = bytes[0],
                                     .query = s->memory[1],
                                     .query_cap_bytes = bytes[1],
                                     .body = s->memory[2],
                                     .body_cap_bytes = bytes[2]};
    return sign_call(&s->key, request, &s->result);
}

/* Did it keep to its room, and the body to its length? */
static inline bool signed_within(const struct signed_call *s)
{
    return guard_whole(s->key_memory, sign_key_bytes(&s->key.parts)) &&
           guard_whole(s->memory[0], s->room.line_bytes) &&
           guard_whole(s->memory[1], s->room.query_bytes) &&
           guard_whole(s->memory[2], s->room.body_bytes) &&
           (s->room.body_bytes == 0 || s->result.body_bytes == s->room.body_bytes);
}

static inline void signed_close(struct signed_call *s)
{
    sign_key_close(&s->key);
    for (size_t i = 0; i < 3; i++) {
        free(s->memory[i]);
    }
    free(s->key_memory);
}

/* The value of a line of the call or of its key; NULL: there is none. */
static inline const char *signed_line(const struct signed_call *s, const char *name)
{
    size_t bytes = strlen(name);
    for (uint32_t i = 0; i < s->result.line_cnt + s->key.fixed_cnt; i++) {
        const char *line =
            i < s->result.line_cnt ? s->result.line[i] : s->key.fixed[i - s->result.line_cnt];
        if (strncmp(line, name, bytes) == 0 && strncmp(line + bytes, ": ", 2) == 0) {
            return line + bytes + 2;
        }
    }
    return NULL;
}

static inline struct sign_slice slice(const char *text)
{
    return (struct sign_slice){text, strlen(text)};
}

#endif
