/*
 * sign_bybit.c: Bybit v5: instant, key, window, and what the call carries: the query of a GET, else the body.
 *
 * Source: bybit-exchange.github.io/docs/v5/guide, "Create A Request": timestamp + api_key + recv_window + (queryString | jsonBodyString); HMAC_SHA256 as hex,
 * RSA_SHA256 as base64.
 */
#include "broker/sign/sign_schemes.h"

struct sign_room sign_bybit_room(const struct sign_key *key, const struct sign_request *request)
{
    size_t own = sign_over_bytes(key);
    size_t signature = key->parts.scheme == SIGN_BYBIT ? 2 * own : SIGN_BASE64_BYTES(own);
    size_t lines = strlen("X-BAPI-TIMESTAMP: ") + SIGN_MS_DIGITS + strlen("X-BAPI-SIGN: ") + 2;
    size_t whole = sign_over_room(key, SIGN_MS_DIGITS + strlen(key->parts.key) + 20 +
                                           request->query.bytes + request->body.bytes);
    return (struct sign_room){.line_bytes = lines + (signature > whole ? signature : whole)};
}

static bool put_signature(const struct sign_key *key, const struct sign_slice *part,
                          size_t part_cnt, struct sign_text *t)
{
    unsigned char signature[SIGN_SIGNATURE_MAX];
    size_t bytes = sign_over(key, t, part, part_cnt, signature);
    if (key->parts.scheme == SIGN_BYBIT) {
        sign_put_hex(t, signature, bytes);
    } else {
        sign_put_base64(t, signature, bytes);
    }
    return bytes > 0;
}

bool sign_bybit_call(const struct sign_key *key, const struct sign_request *request,
                     struct sign_result *result)
{
    struct sign_lines lines = sign_lines_open(result);
    char text[64];
    struct sign_text t = {.at = text, .cap_bytes = sizeof text};
    sign_put_number(&t, request->utc_ns / 1000000);
    struct sign_slice instant = sign_written(&t, 0);
    sign_put_number(&t, key->parts.recv_window_ms);
    bool is_get = strcmp(request->method, "GET") == 0;
    const struct sign_slice part[] = {instant, sign_slice(key->parts.key),
                                      sign_written(&t, instant.bytes),
                                      is_get ? request->query : request->body};
    sign_put(sign_line(&lines, "X-BAPI-TIMESTAMP"), instant);
    sign_line_end(&lines);
    bool ok =
        put_signature(key, part, sizeof part / sizeof part[0], sign_line(&lines, "X-BAPI-SIGN"));
    sign_line_end(&lines);
    return sign_lines_close(&lines) && ok;
}
