/*
 * sign_prehash.c: OKX v5, Bitget, Coinbase Exchange. All three sign instant, method, path with query, and body, by HMAC-SHA256 in base64; they differ in how the
 * instant is written, and the last one's secret is base64. Bitget takes RSA keys too: SHA-256, PKCS#1 v1.5, over the same text, in the same header.
 *
 * Sources: www.okx.com/docs-v5, "Making Requests"; www.bitget.com/api-doc, "Signature"; docs.cdp.coinbase.com/exchange, "Signing a Message".
 *
 * Bitget signs the query as it was before it was percent-encoded, which its text does not say; ccxt found it with names that are not ASCII. RSA: Bitget's sample
 * (api-doc/common/signature-samaple/rsa) and its SDK (github.com/BitgetLimited/v3-bitget-api-sdk), which build one text for both sorts of keys. Where a query has to be
 * percent-encoded they differ: the Python SDK signs it decoded, for HMAC and RSA alike, as here; the sample and RSA in the Node one as it is sent.
 */
#include "broker/sign/sign_schemes.h"

#define INSTANT_BYTES 32U

static bool is_bitget(enum sign_scheme scheme)
{
    return scheme == SIGN_BITGET || scheme == SIGN_BITGET_RSA;
}

struct sign_room sign_prehash_room(const struct sign_key *key, const struct sign_request *request)
{
    size_t names = strlen("CB-ACCESS-TIMESTAMP: ") + strlen("CB-ACCESS-SIGN: ");
    size_t decoded = is_bitget(key->parts.scheme) ? request->query.bytes : 0;
    size_t whole =
        sign_over_room(key, INSTANT_BYTES + strlen(request->method) + request->path.bytes + 1 +
                                request->query.bytes + request->body.bytes);
    return (struct sign_room){.line_bytes = names + INSTANT_BYTES +
                                            SIGN_BASE64_BYTES(sign_over_bytes(key)) + 2 + decoded +
                                            whole};
}

static void put_instant(enum sign_scheme scheme, uint64_t utc_ns, struct sign_text *t)
{
    if (scheme == SIGN_OKX) {
        sign_put_instant(t, utc_ns, true);
    } else {
        sign_put_number(t, utc_ns / (is_bitget(scheme) ? 1000000 : 1000000000));
    }
}

bool sign_prehash_call(const struct sign_key *key, const struct sign_request *request,
                       struct sign_result *result)
{
    enum sign_scheme scheme = key->parts.scheme;
    const char *instant_name = scheme == SIGN_OKX  ? "OK-ACCESS-TIMESTAMP"
                               : is_bitget(scheme) ? "ACCESS-TIMESTAMP"
                                                   : "CB-ACCESS-TIMESTAMP";
    const char *sign_name = scheme == SIGN_OKX  ? "OK-ACCESS-SIGN"
                            : is_bitget(scheme) ? "ACCESS-SIGN"
                                                : "CB-ACCESS-SIGN";
    struct sign_lines lines = sign_lines_open(result);
    unsigned char signature[SIGN_SIGNATURE_MAX];
    struct sign_text *t = sign_line(&lines, instant_name);
    size_t from = t->bytes;
    put_instant(scheme, request->utc_ns, t);
    struct sign_slice instant = sign_written(t, from);
    sign_line_end(&lines);
    t = sign_line(&lines, sign_name);
    from = t->bytes;
    struct sign_slice query = request->query;
    if (is_bitget(scheme)) { /* decoded where the signature will stand */
        sign_put_unpercent(t, query);
        query = sign_written(t, from);
    }
    const struct sign_slice part[] = {
        instant,       sign_slice(request->method),
        request->path, sign_slice(query.bytes > 0 ? "?" : ""),
        query,         request->body,
    };
    size_t bytes = t->full ? 0 : sign_over(key, t, part, sizeof part / sizeof part[0], signature);
    t->bytes = from;
    sign_put_base64(t, signature, bytes);
    sign_line_end(&lines);
    return sign_lines_close(&lines) && bytes > 0;
}
