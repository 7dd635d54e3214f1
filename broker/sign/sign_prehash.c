/*
 * sign_prehash.c: OKX v5, Bitget, Coinbase Exchange. All three sign instant, method, path with query, and body, by HMAC-SHA256 in base64; they differ in how the
 * instant is written, and the last one's secret is base64.
 *
 * Sources: www.okx.com/docs-v5, "Making Requests"; www.bitget.com/api-doc, "Signature"; docs.cdp.coinbase.com/exchange, "Signing a Message".
 *
 * Bitget signs the query as it was before it was percent-encoded, which its text does not say; ccxt found it with names that are not ASCII.
 */
#include "broker/sign/sign_schemes.h"

#define INSTANT_BYTES 32U

struct sign_room sign_prehash_room(const struct sign_key *key, const struct sign_request *request)
{
    size_t names = strlen("CB-ACCESS-TIMESTAMP: ") + strlen("CB-ACCESS-SIGN: ");
    size_t decoded = key->parts.scheme == SIGN_BITGET ? request->query.bytes : 0;
    return (struct sign_room){.line_bytes = names + INSTANT_BYTES +
                                            SIGN_BASE64_BYTES(SIGN_SHA256_BYTES) + 2 + decoded};
}

static void put_instant(enum sign_scheme scheme, uint64_t utc_ns, struct sign_text *t)
{
    if (scheme == SIGN_OKX) {
        sign_put_instant(t, utc_ns, true);
    } else {
        sign_put_number(t, utc_ns / (scheme == SIGN_BITGET ? 1000000 : 1000000000));
    }
}

bool sign_prehash_call(const struct sign_key *key, const struct sign_request *request,
                       struct sign_result *result)
{
    enum sign_scheme scheme = key->parts.scheme;
    const char *instant_name = scheme == SIGN_OKX      ? "OK-ACCESS-TIMESTAMP"
                               : scheme == SIGN_BITGET ? "ACCESS-TIMESTAMP"
                                                       : "CB-ACCESS-TIMESTAMP";
    const char *sign_name = scheme == SIGN_OKX      ? "OK-ACCESS-SIGN"
                            : scheme == SIGN_BITGET ? "ACCESS-SIGN"
                                                    : "CB-ACCESS-SIGN";
    struct sign_lines lines = sign_lines_open(result);
    unsigned char signature[SIGN_SHA256_BYTES];
    struct sign_text *t = sign_line(&lines, instant_name);
    size_t from = t->bytes;
    put_instant(scheme, request->utc_ns, t);
    struct sign_slice instant = sign_written(t, from);
    sign_line_end(&lines);
    t = sign_line(&lines, sign_name);
    from = t->bytes;
    struct sign_slice query = request->query;
    if (scheme == SIGN_BITGET) { /* decoded where the signature will stand */
        sign_put_unpercent(t, query);
        query = sign_written(t, from);
        t->bytes = from;
    }
    const struct sign_slice part[] = {
        instant,       sign_slice(request->method),
        request->path, sign_slice(query.bytes > 0 ? "?" : ""),
        query,         request->body,
    };
    bool ok =
        !t->full && sign_hmac(SIGN_SHA256, key->raw, part, sizeof part / sizeof part[0], signature);
    sign_put_base64(t, signature, ok ? sizeof signature : 0);
    sign_line_end(&lines);
    return sign_lines_close(&lines) && ok;
}
