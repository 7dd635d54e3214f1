/*
 * sign_plain.c: keys that are sent as they are. One in a header is among the key's fixed lines; one in a parameter is put behind the query.
 */
#include "broker/sign/sign_schemes.h"

struct sign_room sign_plain_room(const struct sign_key *key, const struct sign_request *request)
{
    const struct sign_parts *p = &key->parts;
    bool is_param = p->scheme == SIGN_API_KEY && p->param[0] != '\0';
    return (struct sign_room){.query_bytes = is_param ? request->query.bytes + strlen(p->param) +
                                                            3 * strlen(p->key) + 3
                                                      : 0};
}

bool sign_plain_call(const struct sign_key *key, const struct sign_request *request,
                     struct sign_result *result)
{
    const struct sign_parts *p = &key->parts;
    if (p->scheme != SIGN_API_KEY || p->param[0] == '\0') {
        return true;
    }
    struct sign_text q = {.at = result->query, .cap_bytes = result->query_cap_bytes};
    sign_put(&q, request->query);
    sign_put_text(&q, request->query.bytes > 0 ? "&" : "");
    sign_put_text(&q, p->param);
    sign_put_text(&q, "=");
    sign_put_percent(&q, sign_slice(p->key));
    result->query_bytes = q.bytes;
    sign_put(&q, (struct sign_slice){"", 1});
    return !q.full;
}
