/*
 * sign_htx.c: HTX. Four parameters join those of the query, all are sorted by their names, and what is signed is "METHOD\nhost\npath\nparameters"; the signature,
 * base64 and percent-encoded, is the last parameter. A body is not signed. An Ed25519 key signs the same text; only SignatureMethod, which is part of it, differs.
 *
 * Source: www.htx.com/en-us/opend/newApiPages, "Authentication" ("Ed25519 Signature Method", "HmacSHA256 Signature Method"), and of the key pair HTX's own SDK
 * (github.com/HuobiRDCenter/huobi_Python, huobi/utils/api_signature_ED25519.py): the page's step 6 prints the other method's name in the text, the SDK signs "Ed25519".
 * The host is part of it: another endpoint needs another signature.
 */
#include "broker/sign/sign_schemes.h"

#define INSTANT_BYTES 32U

struct sign_room sign_htx_room(const struct sign_key *key, const struct sign_request *request)
{
    size_t parameters =
        strlen("AccessKeyId=&SignatureMethod=HmacSHA256&SignatureVersion=2&Timestamp=&") +
        3 * strlen(key->parts.key) + INSTANT_BYTES + request->query.bytes;
    size_t signature = strlen("&Signature=") + 3 * SIGN_BASE64_BYTES(sign_over_bytes(key));
    size_t whole = sign_over_room(key, strlen(request->method) + request->host.bytes +
                                           request->path.bytes + 3 + parameters);
    return (struct sign_room){.query_bytes =
                                  parameters + (signature > whole ? signature : whole) + 1};
}

static size_t name_bytes(struct sign_slice pair)
{
    const char *stop = memchr(pair.at, '=', pair.bytes);
    return stop != NULL ? (size_t)(stop - pair.at) : pair.bytes;
}

/* By the bytes of their names. */
static bool comes_before(struct sign_slice a, struct sign_slice b)
{
    size_t an = name_bytes(a);
    size_t bn = name_bytes(b);
    int order = memcmp(a.at, b.at, an < bn ? an : bn);
    return order < 0 || (order == 0 && an < bn);
}

/* Into its place among those that are sorted already; equal names keep their order. */
static bool sort_in(struct sign_slice *list, size_t *cnt, struct sign_slice pair)
{
    if (*cnt == SIGN_PARAMETERS_MAX) {
        return false;
    }
    size_t at = (*cnt)++;
    for (; at > 0 && comes_before(pair, list[at - 1]); at--) {
        list[at] = list[at - 1];
    }
    list[at] = pair;
    return true;
}

/* The four of its own, written once into `own`. */
static bool own_parameters(const struct sign_key *key, const struct sign_request *request,
                           struct sign_text *own, struct sign_slice *list, size_t *cnt)
{
    const char *const name[] = {"AccessKeyId=",
                                key->parts.scheme == SIGN_HTX ? "SignatureMethod=HmacSHA256"
                                                              : "SignatureMethod=Ed25519",
                                "SignatureVersion=2", "Timestamp="};
    bool ok = true;
    for (size_t i = 0; i < sizeof name / sizeof name[0]; i++) {
        size_t from = own->bytes;
        sign_put_text(own, name[i]);
        if (i == 0) {
            sign_put_percent(own, sign_slice(key->parts.key));
        } else if (i == 3) {
            char text[INSTANT_BYTES];
            struct sign_text instant = {.at = text, .cap_bytes = sizeof text};
            sign_put_instant(&instant, request->utc_ns, false);
            sign_put_percent(own, sign_written(&instant, 0));
            own->full = own->full || instant.full;
        }
        ok = sort_in(list, cnt, sign_written(own, from)) && ok;
    }
    return ok && !own->full;
}

bool sign_htx_call(const struct sign_key *key, const struct sign_request *request,
                   struct sign_result *result)
{
    struct sign_slice list[SIGN_PARAMETERS_MAX];
    size_t cnt = 0;
    char memory[1024];
    struct sign_text own = {.at = memory, .cap_bytes = sizeof memory};
    struct sign_text q = {.at = result->query, .cap_bytes = result->query_cap_bytes};
    unsigned char signature[SIGN_SIGNATURE_MAX];
    struct sign_slice rest = request->query;
    struct sign_slice pair;
    bool ok = own_parameters(key, request, &own, list, &cnt);
    while (ok && sign_next_pair(&rest, &pair)) {
        ok = pair.bytes == 0 || sort_in(list, &cnt, pair);
    }
    for (size_t i = 0; ok && i < cnt; i++) {
        sign_put_text(&q, i > 0 ? "&" : "");
        sign_put(&q, list[i]);
    }
    const struct sign_slice line_end = sign_slice("\n");
    const struct sign_slice part[] = {
        sign_slice(request->method), line_end, request->host, line_end, request->path, line_end,
        sign_written(&q, 0)};
    size_t bytes =
        ok && !q.full ? sign_over(key, &q, part, sizeof part / sizeof part[0], signature) : 0;
    char base64[SIGN_BASE64_BYTES(SIGN_SIGNATURE_MAX)];
    struct sign_text text = {.at = base64, .cap_bytes = sizeof base64};
    sign_put_base64(&text, signature, bytes);
    sign_put_text(&q, "&Signature=");
    sign_put_percent(&q, sign_written(&text, 0));
    result->query_bytes = q.bytes;
    sign_put(&q, (struct sign_slice){"", 1});
    sign_wipe(memory, sizeof memory); /* the key's name only, yet it is nobody's business */
    return bytes > 0 && !q.full;
}
