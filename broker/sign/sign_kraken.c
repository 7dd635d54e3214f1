/*
 * sign_kraken.c: Kraken spot: base64 of HMAC-SHA512 by the decoded secret over path and SHA256(nonce + body). The body bears the nonce too: in front of the
 * caller's parameters, or in the caller's JSON. Kraken futures: the same with SHA256(parameters + path), where the path begins behind "/derivatives", and no
 * nonce, which is optional there.
 *
 * Sources: docs.kraken.com/api/docs/guides/spot-rest-auth and .../futures-rest.
 */
#include "broker/sign/sign_schemes.h"

static bool is_json(const struct sign_request *request)
{
    return request->body.bytes > 0 && request->body.at[0] == '{';
}

static uint64_t nonce_of(const struct sign_key *key, const struct sign_request *request)
{
    return request->nonce_ns / key->parts.nonce_unit_ns;
}

/* 13, 16 or 19: as many as any instant from 2001 to 2286 has. */
static size_t nonce_digits(const struct sign_key *key)
{
    return key->parts.nonce_unit_ns == 1      ? SIGN_MS_DIGITS + 6
           : key->parts.nonce_unit_ns == 1000 ? SIGN_MS_DIGITS + 3
                                              : SIGN_MS_DIGITS;
}

/* {} or { } has no member: no comma behind the nonce. */
static bool is_empty_object(struct sign_slice body)
{
    size_t i = 1;
    while (i < body.bytes && strchr(" \t\r\n", body.at[i]) != NULL) {
        i++;
    }
    return i < body.bytes && body.at[i] == '}';
}

static void put_body(const struct sign_key *key, const struct sign_request *request,
                     struct sign_text *t)
{
    if (is_json(request)) {
        sign_put_text(t, "{\"nonce\":\"");
        sign_put_number(t, nonce_of(key, request));
        sign_put_text(t, is_empty_object(request->body) ? "\"" : "\",");
        sign_put(t, (struct sign_slice){request->body.at + 1, request->body.bytes - 1});
        return;
    }
    sign_put_text(t, "nonce=");
    sign_put_number(t, nonce_of(key, request));
    sign_put_text(t, request->body.bytes > 0 ? "&" : "");
    sign_put(t, request->body);
}

struct sign_room sign_kraken_room(const struct sign_key *key, const struct sign_request *request)
{
    size_t added = nonce_digits(key);
    if (is_json(request)) {
        added += strlen("\"nonce\":\"\"") + !is_empty_object(request->body);
    } else {
        added += strlen("nonce=") + (request->body.bytes > 0);
    }
    return (struct sign_room){.line_bytes =
                                  strlen("API-Sign: ") + SIGN_BASE64_BYTES(SIGN_SHA512_BYTES) + 1,
                              .body_bytes = request->body.bytes + added};
}

static bool put_line(const struct sign_key *key, struct sign_result *result, const char *name,
                     const struct sign_slice *part, size_t part_cnt)
{
    struct sign_lines lines = sign_lines_open(result);
    unsigned char signature[SIGN_SHA512_BYTES];
    bool ok = sign_hmac(SIGN_SHA512, key->raw, part, part_cnt, signature);
    sign_put_base64(sign_line(&lines, name), signature, ok ? sizeof signature : 0);
    sign_line_end(&lines);
    return sign_lines_close(&lines) && ok;
}

bool sign_kraken_call(const struct sign_key *key, const struct sign_request *request,
                      struct sign_result *result)
{
    unsigned char hash[SIGN_SHA256_BYTES];
    char text[24];
    struct sign_text nonce = {.at = text, .cap_bytes = sizeof text};
    struct sign_text body = {.at = result->body, .cap_bytes = result->body_cap_bytes};
    sign_put_number(&nonce, nonce_of(key, request));
    put_body(key, request, &body);
    result->body_bytes = body.bytes;
    const struct sign_slice hashed[] = {sign_written(&nonce, 0), sign_written(&body, 0)};
    if (body.full || nonce.bytes != nonce_digits(key) || !sign_sha256(hashed, 2, hash)) {
        return false;
    }
    const struct sign_slice part[] = {request->path, {(const char *)hash, sizeof hash}};
    return put_line(key, result, "API-Sign", part, 2);
}

struct sign_room sign_kraken_futures_room(const struct sign_key *key,
                                          const struct sign_request *request)
{
    (void)key;
    (void)request;
    return (struct sign_room){.line_bytes =
                                  strlen("Authent: ") + SIGN_BASE64_BYTES(SIGN_SHA512_BYTES) + 1};
}

bool sign_kraken_futures_call(const struct sign_key *key, const struct sign_request *request,
                              struct sign_result *result)
{
    static const char base[] = "/derivatives";
    unsigned char hash[SIGN_SHA256_BYTES];
    struct sign_slice path = request->path;
    if (path.bytes > strlen(base) && memcmp(path.at, base, strlen(base)) == 0 &&
        path.at[strlen(base)] == '/') {
        path.at += strlen(base);
        path.bytes -= strlen(base);
    }
    const struct sign_slice hashed[] = {request->query, request->body, path};
    if (!sign_sha256(hashed, 3, hash)) {
        return false;
    }
    const struct sign_slice part[] = {{(const char *)hash, sizeof hash}};
    return put_line(key, result, "Authent", part, 1);
}
