#include "broker/signer.h"
#include "broker/worker.h"

#include <stdlib.h>
#include <string.h>

/* "name: value" for curl, which wants NUL-terminated lines; both parts were checked for control characters. */
static bool header_add(struct call *c, const struct weir_request_header *h)
{
    char text[1024];
    size_t bytes = (size_t)h->name_bytes + h->value_bytes + 3;
    char *line = bytes <= sizeof text ? text : malloc(bytes);
    if (line == NULL) {
        return false;
    }
    memcpy(line, h->name, h->name_bytes);
    /* curl drops "Name:" with nothing behind it; "Name;" sends it with an empty value. */
    memcpy(line + h->name_bytes, h->value_bytes > 0 ? ": " : "; ", 2);
    size_t at = h->name_bytes + (h->value_bytes > 0 ? 2U : 1U);
    memcpy(line + at, h->value, h->value_bytes);
    line[at + h->value_bytes] = '\0';
    struct curl_slist *list = curl_slist_append(c->headers, line);
    if (line != text) {
        free(line);
    }
    if (list != NULL) {
        c->headers = list;
    }
    return list != NULL;
}

bool request_headers_make(struct call *c)
{
    if (c->headers != NULL) {
        return true; /* made for an earlier attempt */
    }
    c->headers = c->parts.body_bytes > 0 ? curl_slist_append(NULL, "Expect:")
                                         : NULL; /* no 100-continue delay */
    for (uint32_t i = 0; i < c->parts.header_cnt; i++) {
        if (!header_add(c, &c->parts.header[i])) {
            return false;
        }
    }
    c->headers_last = c->headers;
    while (c->headers_last != NULL && c->headers_last->next != NULL) {
        c->headers_last = c->headers_last->next;
    }
    return true;
}

/* All lines of a call; NULL: the target's alone. Those that are not its own follow by a link, which call_free takes away. */
struct curl_slist *request_headers_all(struct worker *w, struct call *c)
{
    struct curl_slist *more =
        c->sign != NULL ? signer_headers(c) : w->provider[w->route[c->route].provider].headers;
    if (c->headers_last == NULL) {
        return c->sign != NULL ? more : NULL;
    }
    c->headers_last->next = more;
    return c->headers;
}

/* The route's path, with the client's rest and query. Checked text only. */
char *request_path_make(const struct worker *w, const struct call *c)
{
    const char *path = w->route[c->route].path;
    size_t fixed = strlen(path);
    if ((w->shared.tables.route[c->route].flags & WEIR_ROUTE_PATH_REST) != 0) {
        fixed--; /* the star */
    }
    char *text = malloc(fixed + c->parts.path_bytes + c->parts.query_bytes + 2);
    if (text == NULL) {
        return NULL;
    }
    size_t n = fixed;
    memcpy(text, path, fixed);
    memcpy(text + n, c->parts.path, c->parts.path_bytes);
    n += c->parts.path_bytes;
    if (c->parts.query_bytes > 0) {
        text[n++] = '?';
        memcpy(text + n, c->parts.query, c->parts.query_bytes);
        n += c->parts.query_bytes;
    }
    text[n] = '\0';
    return text;
}
