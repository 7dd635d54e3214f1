#include "broker/doubt_rule.h"

#include "broker/config/config_doubt.h"
#include "broker/reply_value.h"
#include "shm/weir_error.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#define NAME_MAX_BYTES 64U

/* What a call bears under one name, decoded. */
struct value {
    char text[WEIR_DOUBT_ID_BYTES + 1];
    uint32_t cnt; /* how often it was there; anything but 1 is no value */
    bool bad;     /* too long, or not printable ASCII */
};

static void value_take(struct value *v, const char *text, size_t bytes)
{
    v->cnt++;
    v->bad = v->bad || bytes == 0 || bytes > WEIR_DOUBT_ID_BYTES;
    for (size_t i = 0; i < bytes && !v->bad; i++) {
        v->bad = text[i] <= ' ' || text[i] > '~';
    }
    if (!v->bad) {
        memcpy(v->text, text, bytes);
        v->text[bytes] = '\0';
    }
}

static bool is_good(const struct value *v)
{
    return v->cnt == 1 && !v->bad;
}

/* ---------------------------------------------------------------------------------------------- parameters */

static int hex(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/* Undo percent-encoding. Returns the bytes written; SIZE_MAX: it has another form, or does not fit. */
static size_t decode(const char *at, size_t bytes, char *out, size_t room)
{
    size_t n = 0;
    for (size_t i = 0; i < bytes; i++, n++) {
        if (n == room || at[i] == '+') {
            return SIZE_MAX;
        }
        out[n] = at[i];
        if (at[i] == '%') {
            int high = i + 2 < bytes ? hex(at[i + 1]) : -1;
            int low = i + 2 < bytes ? hex(at[i + 2]) : -1;
            if (high < 0 || low < 0) {
                return SIZE_MAX;
            }
            out[n] = (char)(16 * high + low);
            i += 2;
        }
    }
    return n;
}

/* a=b&c=d */
static void parameters_look(const char *at, size_t bytes, const char *name, size_t name_bytes,
                            struct value *v)
{
    const char *end = at + bytes;
    while (at < end) {
        const char *stop = memchr(at, '&', (size_t)(end - at));
        stop = stop != NULL ? stop : end;
        const char *equals = memchr(at, '=', (size_t)(stop - at));
        const char *name_end = equals != NULL ? equals : stop;
        char text[NAME_MAX_BYTES + WEIR_DOUBT_ID_BYTES + 1];
        size_t n = decode(at, (size_t)(name_end - at), text, NAME_MAX_BYTES);
        if (n == name_bytes && memcmp(text, name, n) == 0) {
            const char *value = equals != NULL ? equals + 1 : stop;
            size_t m = decode(value, (size_t)(stop - value), text, WEIR_DOUBT_ID_BYTES + 1);
            value_take(v, text, m == SIZE_MAX ? 0 : m);
        }
        at = stop + 1;
    }
}

static void header_look(const struct weir_request_parts *parts, const char *name, size_t name_bytes,
                        struct value *v)
{
    for (uint32_t i = 0; i < parts->header_cnt; i++) {
        const struct weir_request_header *h = &parts->header[i];
        if (h->name_bytes == name_bytes && strncasecmp(h->name, name, name_bytes) == 0) {
            value_take(v, h->value, h->value_bytes);
        }
    }
}

static void member_look(const json_t *root, const char *name, size_t name_bytes, struct value *v)
{
    char path[NAME_MAX_BYTES];
    char buffer[40];
    struct reply_text text;
    if (name_bytes >= sizeof path) {
        return;
    }
    memcpy(path, name, name_bytes);
    path[name_bytes] = '\0';
    const json_t *at = root != NULL ? reply_at(root, path) : NULL;
    if (at != NULL && !json_is_real(at) && reply_member(root, path, buffer, &text) == REPLY_VALUE) {
        value_take(v, text.at, text.bytes);
    }
}

/* ---------------------------------------------------------------------------------------------- the question */

struct source {
    const struct weir_config_doubt *config;
    const struct weir_request_parts *parts;
    json_t *root; /* of a JSON body */
};

static void look(const struct source *s, const char *name, size_t name_bytes, struct value *v)
{
    const struct weir_request_parts *p = s->parts;
    enum weir_config_doubt_in in = s->config->in;
    *v = (struct value){.cnt = 0};
    if (in == WEIR_CONFIG_DOUBT_QUERY || in == WEIR_CONFIG_DOUBT_PARAMETERS) {
        parameters_look(p->query, p->query_bytes, name, name_bytes, v);
    }
    if (in == WEIR_CONFIG_DOUBT_FORM || in == WEIR_CONFIG_DOUBT_PARAMETERS) {
        parameters_look(p->body, p->body_bytes, name, name_bytes, v);
    }
    if (in == WEIR_CONFIG_DOUBT_JSON) {
        member_look(s->root, name, name_bytes, v);
    }
    if (in == WEIR_CONFIG_DOUBT_HEADER) {
        header_look(p, name, name_bytes, v);
    }
}

static bool put(struct doubt_question *q, uint32_t *at, const char *text, size_t bytes)
{
    if (bytes > sizeof q->text - *at) {
        return false;
    }
    memcpy(q->text + *at, text, bytes);
    *at += (uint32_t)bytes;
    return true;
}

/* RFC 3986, 2.3: what is not unreserved is encoded. */
static bool put_value(struct doubt_question *q, uint32_t *at, const char *text)
{
    for (; *text != '\0'; text++) {
        char c = *text;
        char encoded[4] = {c, '\0'};
        bool plain = (c >= '0' && c <= '9') || ((c | 32) >= 'a' && (c | 32) <= 'z') || c == '-' ||
                     c == '.' || c == '_' || c == '~';
        if (!plain) {
            (void)snprintf(encoded, sizeof encoded, "%%%02X", (unsigned)(unsigned char)c);
        }
        if (!put(q, at, encoded, plain ? 1 : 3)) {
            return false;
        }
    }
    return true;
}

/* Append one text with its names filled in. Returns its length, or UINT32_MAX. */
static uint32_t fill(const struct source *s, const char *text, struct doubt_question *q,
                     uint32_t *at)
{
    uint32_t from = *at;
    struct weir_config_piece piece;
    while (weir_config_piece_next(&text, &piece)) {
        struct value v;
        bool ok = true;
        if (weir_config_piece_is_id(&piece)) {
            ok = put_value(q, at, q->id);
        } else if (piece.is_name) {
            look(s, piece.at, piece.bytes, &v);
            ok = is_good(&v) && put_value(q, at, v.text);
        } else {
            ok = put(q, at, piece.at, piece.bytes);
        }
        if (!ok) {
            return UINT32_MAX;
        }
    }
    return *at - from;
}

static bool compose(const struct source *s, struct doubt_question *q)
{
    const struct weir_config_doubt *config = s->config;
    struct value id;
    uint32_t at = 0;
    look(s, config->id, strlen(config->id), &id);
    if (!is_good(&id)) {
        return false;
    }
    memcpy(q->id, id.text, sizeof q->id);
    q->path_bytes = fill(s, config->path, q, &at);
    q->query_bytes = q->path_bytes != UINT32_MAX ? fill(s, config->query, q, &at) : UINT32_MAX;
    q->body_bytes = q->query_bytes != UINT32_MAX ? fill(s, config->body, q, &at) : UINT32_MAX;
    return q->body_bytes != UINT32_MAX &&
           weir_request_path_check(q->text, q->path_bytes) == WEIR_OK &&
           weir_request_query_check(q->text + q->path_bytes, q->query_bytes) == WEIR_OK;
}

bool doubt_compose(const struct weir_config_doubt *config, const struct weir_request_parts *parts,
                   struct doubt_question *q)
{
    struct source s = {.config = config, .parts = parts};
    if (config->in == WEIR_CONFIG_DOUBT_JSON) {
        s.root = reply_json(parts->body, parts->body_bytes);
    }
    bool ok = compose(&s, q);
    json_decref(s.root);
    return ok;
}

/* ---------------------------------------------------------------------------------------------- the answer */

/* Is `text` the value at `path` below `at`? '*' stands for each entry. `left`: values that may still be looked at. */
static bool bears(const json_t *at, const char *path, const char *text, unsigned *left)
{
    if (at == NULL || *left == 0) {
        return false;
    }
    (*left)--;
    if (*path == '\0') {
        char number[40];
        if (json_is_integer(at)) {
            (void)snprintf(number, sizeof number, "%" JSON_INTEGER_FORMAT, json_integer_value(at));
            return strcmp(number, text) == 0;
        }
        return json_is_string(at) && strcmp(json_string_value(at), text) == 0;
    }
    size_t n = strcspn(path, ".");
    const char *rest = path + n + (path[n] == '.');
    if (n != 1 || *path != '*') {
        char part[NAME_MAX_BYTES];
        (void)snprintf(part, sizeof part, "%.*s", (int)n, path);
        return n < sizeof part && bears(reply_at(at, part), rest, text, left);
    }
    size_t i;
    const char *key;
    json_t *entry;
    json_array_foreach(at, i, entry)
    {
        if (bears(entry, rest, text, left)) {
            return true;
        }
    }
    json_object_foreach((json_t *)(uintptr_t)at, key, entry)
    {
        if (bears(entry, rest, text, left)) {
            return true;
        }
    }
    return false;
}

#define LOOKS_MAX 10000U

static bool is_empty(const json_t *at)
{
    return (json_is_array(at) && json_array_size(at) == 0) ||
           (json_is_object(at) && json_object_size(at) == 0);
}

static bool says_absent(const struct weir_config_doubt_absent *absent, uint32_t status,
                        const json_t *root)
{
    bool named = false;
    unsigned left = LOOKS_MAX;
    for (size_t i = 0; i < absent->status.cnt; i++) {
        named = named || absent->status.number[i] == status;
    }
    return named &&
           (absent->field[0] == '\0' || bears(root, absent->field, absent->equals, &left)) &&
           (absent->empty[0] == '\0' || (root != NULL && is_empty(reply_at(root, absent->empty))));
}

enum doubt_verdict doubt_read(const struct weir_config_doubt *config, const char *id,
                              uint32_t status, const char *body, size_t body_bytes)
{
    unsigned left = LOOKS_MAX;
    json_t *root = reply_json(body, body_bytes);
    bool found = status / 100 == 2 && bears(root, config->found, id, &left);
    bool absent = !found && says_absent(&config->absent, status, root);
    json_decref(root);
    return found ? DOUBT_FOUND : absent ? DOUBT_ABSENT : DOUBT_NOTHING;
}

bool doubt_is_unsure(const struct weir_config_doubt *config, uint32_t status)
{
    for (size_t i = 0; i < config->unsure.cnt; i++) {
        if (config->unsure.number[i] == status) {
            return true;
        }
    }
    return false;
}
