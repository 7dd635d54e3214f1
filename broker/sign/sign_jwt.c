/*
 * sign_jwt.c: Coinbase (CDP keys; Advanced Trade): a token of its own for each call, bound to method, host and path, good for two minutes.
 *
 * Source: docs.cdp.coinbase.com/get-started/authentication/jwt-authentication. Keys of curve P-256 sign ES256, Ed25519 keys EdDSA (RFC 7515, RFC 8037). What the
 * token says of an Ed25519 key is as Coinbase's CDP SDK writes it, with `uris` and an audience.
 */
#include "broker/sign/sign_schemes.h"

#define LIFE_S      120U
#define HEADER_MORE 160U /* beside the key's name: {"alg":...,"nonce":...} */
#define CLAIMS_MORE 192U

static size_t header_bytes(const struct sign_key *key)
{
    return strlen(key->parts.key) + HEADER_MORE;
}

static size_t claims_bytes(const struct sign_key *key, const struct sign_request *request)
{
    return strlen(key->parts.key) + strlen(request->method) + request->host.bytes +
           request->path.bytes + CLAIMS_MORE;
}

struct sign_room sign_jwt_room(const struct sign_key *key, const struct sign_request *request)
{
    size_t header = header_bytes(key);
    size_t claims = claims_bytes(key, request);
    /* Behind the line the JSON is laid while it is made; what it becomes is 4/3 as long. */
    return (struct sign_room){.line_bytes = strlen("Authorization: Bearer ") +
                                            SIGN_BASE64_BYTES(header) + SIGN_BASE64_BYTES(claims) +
                                            SIGN_BASE64_BYTES(64UL) + 4 + header + claims};
}

static void put_header(const struct sign_key *key, const struct sign_request *request,
                       struct sign_text *t)
{
    bool is_ed = key->parts.scheme == SIGN_COINBASE_ED25519;
    sign_put_text(t, is_ed ? "{\"alg\":\"EdDSA\",\"typ\":\"JWT\",\"kid\":\""
                           : "{\"alg\":\"ES256\",\"typ\":\"JWT\",\"kid\":\"");
    sign_put_text(t, key->parts.key);
    sign_put_text(t, "\",\"nonce\":\"");
    sign_put_hex(t, request->random, SIGN_RANDOM_BYTES);
    sign_put_text(t, "\"}");
}

static void put_uri(const struct sign_request *request, struct sign_text *t)
{
    sign_put_text(t, request->method);
    sign_put_text(t, " ");
    sign_put(t, request->host);
    sign_put(t, request->path);
}

static void put_claims(const struct sign_key *key, const struct sign_request *request,
                       struct sign_text *t)
{
    bool is_ed = key->parts.scheme == SIGN_COINBASE_ED25519;
    uint64_t now_s = request->utc_ns / 1000000000;
    sign_put_text(t, is_ed ? "{\"aud\":[\"cdp_service\"],\"iss\":\"cdp\",\"nbf\":"
                           : "{\"iss\":\"cdp\",\"nbf\":");
    sign_put_number(t, now_s);
    sign_put_text(t, ",\"exp\":");
    sign_put_number(t, now_s + LIFE_S);
    sign_put_text(t, ",\"sub\":\"");
    sign_put_text(t, key->parts.key);
    if (is_ed) {
        sign_put_text(t, "\",\"iat\":");
        sign_put_number(t, now_s);
        sign_put_text(t, ",\"uris\":[\"");
        put_uri(request, t);
        sign_put_text(t, "\"]}");
    } else {
        sign_put_text(t, "\",\"uri\":\"");
        put_uri(request, t);
        sign_put_text(t, "\"}");
    }
}

bool sign_jwt_call(const struct sign_key *key, const struct sign_request *request,
                   struct sign_result *result)
{
    size_t json_bytes = header_bytes(key) + claims_bytes(key, request);
    if (result->lines_cap_bytes < json_bytes) {
        return false;
    }
    struct sign_lines lines = sign_lines_open(result);
    lines.text.cap_bytes -= json_bytes;
    struct sign_text json = {.at = result->lines + lines.text.cap_bytes, .cap_bytes = json_bytes};
    struct sign_text *t = sign_line(&lines, "Authorization");
    sign_put_text(t, "Bearer ");
    size_t from = t->bytes;
    put_header(key, request, &json);
    sign_put_base64url(t, (const unsigned char *)json.at, json.bytes);
    sign_put_text(t, ".");
    json.bytes = 0;
    put_claims(key, request, &json);
    sign_put_base64url(t, (const unsigned char *)json.at, json.bytes);
    unsigned char signature[SIGN_SIGNATURE_MAX];
    size_t bytes = json.full || t->full ? 0
                                        : sign_pair_sign(sign_pair_of(key->parts.scheme), key->pair,
                                                         sign_written(t, from), signature);
    sign_put_text(t, ".");
    sign_put_base64url(t, signature, bytes);
    sign_line_end(&lines);
    return sign_lines_close(&lines) && bytes > 0;
}
