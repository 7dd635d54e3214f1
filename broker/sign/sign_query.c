/*
 * sign_query.c: Binance. The query and the body, one behind the other as they are sent, are signed; timestamp, recvWindow and signature are parameters themselves.
 *
 * Source: developers.binance.com, "Request Security": "SIGNED request example" for HMAC, RSA and Ed25519 keys. The signature of HMAC is hex, that of the others
 * base64, percent-encoded.
 *
 * Where the parameters go: to those of the caller, in the body if there is one. The signature of a key pair always goes into the query, because its length is
 * not known before, and that of a body is told to the connection first; Binance takes parameters from both places.
 *
 * A timestamp or recvWindow that the caller wrote is left as it is, and none is added: two would be refused.
 */
#include "broker/sign/sign_schemes.h"

static bool in_body(const struct sign_key *key, const struct sign_request *request)
{
    return key->parts.scheme == SIGN_HMAC_SHA256_QUERY && request->body.bytes > 0;
}

static bool caller_says(const struct sign_request *request, const char *name)
{
    return sign_has_parameter(request->query, name) || sign_has_parameter(request->body, name);
}

static void put_parameter(struct sign_text *t, const char *name)
{
    sign_put_text(t, t->bytes > 0 ? "&" : "");
    sign_put_text(t, name);
    sign_put_text(t, "=");
}

/* What is signed, but for the other place's part. */
static void put_parameters(const struct sign_key *key, const struct sign_request *request,
                           struct sign_slice own, struct sign_text *t)
{
    if (!caller_says(request, "timestamp")) {
        put_parameter(t, "timestamp");
        sign_put_number(t, request->utc_ns / 1000000);
    }
    if (own.bytes > 0) {
        sign_put_text(t, t->bytes > 0 ? "&" : "");
        sign_put(t, own);
    }
    if (!caller_says(request, "recvWindow")) {
        put_parameter(t, "recvWindow");
        sign_put_number(t, key->parts.recv_window_ms);
    }
}

struct sign_room sign_query_room(const struct sign_key *key, const struct sign_request *request)
{
    char window[24];
    struct sign_text number = {.at = window, .cap_bytes = sizeof window};
    sign_put_number(&number, key->parts.recv_window_ms);
    bool body = in_body(key, request);
    size_t n = body ? request->body.bytes : request->query.bytes;
    if (!caller_says(request, "timestamp")) {
        n += strlen("timestamp=") + SIGN_MS_DIGITS + (n > 0);
    }
    if (!caller_says(request, "recvWindow")) {
        n += strlen("recvWindow=") + number.bytes + (n > 0);
    }
    n += strlen("signature=") + (n > 0);
    enum sign_pair pair = sign_pair_of(key->parts.scheme);
    if (body) {
        return (struct sign_room){.body_bytes = n + 2UL * SIGN_SHA256_BYTES};
    }
    size_t signature = pair == SIGN_PAIR_NONE
                           ? 2UL * SIGN_SHA256_BYTES
                           : 3 * SIGN_BASE64_BYTES(sign_pair_bytes(pair, key->pair));
    /* A pair signs one piece of memory: the body is laid behind the query for that. */
    return (struct sign_room){
        .query_bytes = n + (signature > request->body.bytes ? signature : request->body.bytes) + 1};
}

static bool put_signature(const struct sign_key *key, const struct sign_request *request, bool body,
                          struct sign_text *t)
{
    unsigned char signature[SIGN_SIGNATURE_MAX];
    struct sign_slice own = sign_written(t, 0);
    enum sign_pair kind = sign_pair_of(key->parts.scheme);
    size_t bytes = 0;
    if (kind == SIGN_PAIR_NONE) {
        const struct sign_slice part[] = {body ? request->query : own, body ? own : request->body};
        bytes = sign_hmac(SIGN_SHA256, key->raw, part, 2, signature) ? SIGN_SHA256_BYTES : 0;
    } else {
        size_t from = t->bytes;
        sign_put(t, request->body);
        bytes = t->full ? 0 : sign_pair_sign(kind, key->pair, sign_written(t, 0), signature);
        t->bytes = from;
    }
    put_parameter(t, "signature");
    if (kind == SIGN_PAIR_NONE) {
        sign_put_hex(t, signature, bytes);
    } else {
        char base64[SIGN_BASE64_BYTES(SIGN_SIGNATURE_MAX)];
        struct sign_text text = {.at = base64, .cap_bytes = sizeof base64};
        sign_put_base64(&text, signature, bytes);
        sign_put_percent(t, sign_written(&text, 0));
    }
    return bytes > 0;
}

bool sign_query_call(const struct sign_key *key, const struct sign_request *request,
                     struct sign_result *result)
{
    bool body = in_body(key, request);
    struct sign_text t = {.at = body ? result->body : result->query,
                          .cap_bytes = body ? result->body_cap_bytes : result->query_cap_bytes};
    put_parameters(key, request, body ? request->body : request->query, &t);
    bool ok = put_signature(key, request, body, &t);
    *(body ? &result->body_bytes : &result->query_bytes) = t.bytes;
    if (!body) {
        sign_put(&t, (struct sign_slice){"", 1});
    }
    return ok && !t.full;
}
