/*
 * sign_schemes.h: what a family gives to the table in sign.c.
 */
#ifndef WEIR_BROKER_SIGN_SCHEMES_H
#define WEIR_BROKER_SIGN_SCHEMES_H

#include "broker/sign/sign_digest.h"
#include "broker/sign/sign_text.h"

#define SIGN_BASE64_BYTES(n) (((n) + 2) / 3 * 4)

/* Begin a header line: "name: ". sign_line_end() closes it. */
struct sign_lines {
    struct sign_text text;
    struct sign_result *result;
};
struct sign_lines sign_lines_open(struct sign_result *result);
struct sign_text *sign_line(struct sign_lines *lines, const char *name);
void sign_line_end(struct sign_lines *lines);
/* Did all of it fit? */
bool sign_lines_close(const struct sign_lines *lines);

typedef struct sign_room sign_room_fn(const struct sign_key *key,
                                      const struct sign_request *request);
typedef bool sign_call_fn(const struct sign_key *key, const struct sign_request *request,
                          struct sign_result *result);

sign_room_fn sign_query_room, sign_bybit_room, sign_prehash_room, sign_kraken_room,
    sign_kraken_futures_room, sign_htx_room, sign_jwt_room, sign_plain_room;
sign_call_fn sign_query_call, sign_bybit_call, sign_prehash_call, sign_kraken_call,
    sign_kraken_futures_call, sign_htx_call, sign_jwt_call, sign_plain_call;

/* Milliseconds of an instant in 13 digits, which it has from 2001 to 2286. */
#define SIGN_MS_DIGITS 13U
static inline bool sign_instant_good(uint64_t utc_ns)
{
    return utc_ns / 1000000 >= UINT64_C(1000000000000) &&
           utc_ns / 1000000 < UINT64_C(10000000000000);
}

/* The pair of a scheme (sign.c). */
enum sign_pair sign_pair_of(enum sign_scheme scheme);

/*
 * Sign the parts, one behind the other, by HMAC-SHA256 or by the key's pair. A pair signs one piece of memory: they are laid behind the text of `t` for that, which
 * needs the room and is as before when this returns. Bytes written to `out` of SIGN_SIGNATURE_MAX; 0: no.
 */
size_t sign_over(const struct sign_key *key, struct sign_text *t, const struct sign_slice *part,
                 size_t part_cnt, unsigned char *out);
/* How many bytes it writes, and what has to be laid behind `t` where the parts have so many. */
size_t sign_over_bytes(const struct sign_key *key);
static inline size_t sign_over_room(const struct sign_key *key, size_t parts_bytes)
{
    return sign_pair_of(key->parts.scheme) == SIGN_PAIR_NONE ? 0 : parts_bytes;
}

#endif
