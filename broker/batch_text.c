#include "broker/batch_text.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static bool is_plain(char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '.' || c == '_' || c == '~';
}

static int hex(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/* jansson knows UTF-8. */
static bool is_utf8(const char *text, size_t bytes)
{
    json_t *s = json_stringn(text, bytes);
    json_decref(s);
    return s != NULL;
}

static bool name_read(const struct weir_config_batch *config, const char *from, size_t bytes,
                      struct batch_name *name)
{
    bool ascii = true;
    name->bytes = 0;
    for (size_t i = 0; i < bytes; i++) {
        int c = (unsigned char)from[i];
        if (c == '%') {
            int high = i + 2 < bytes ? hex(from[i + 1]) : -1;
            int low = high >= 0 ? hex(from[i + 2]) : -1;
            if (i + 2 < bytes && low >= 0) {
                c = high * 16 + low;
                i += 2;
            } else {
                return false;
            }
        } else if (c == '+') {
            return false;
        }
        if (c < ' ' || c == 0x7f || name->bytes == sizeof name->text ||
            (c == ',' && config->names == WEIR_CONFIG_BATCH_COMMA)) {
            return false;
        }
        ascii = ascii && c < 0x80;
        name->text[name->bytes++] = (char)c;
    }
    return name->bytes > 0 && (ascii || is_utf8(name->text, name->bytes));
}

/* One parameter "name=value" of a query. */
struct param {
    const char *at;
    size_t bytes, name_bytes;
};

static bool is_named(const struct param *p, const char *name)
{
    return strlen(name) == p->name_bytes && memcmp(p->at, name, p->name_bytes) == 0;
}

/* Which of the parameters that are passed on is it? `with.cnt`: none. */
static size_t with_index(const struct weir_config_batch *config, const struct param *p)
{
    size_t i = 0;
    while (i < config->with.cnt && !is_named(p, config->with.text[i])) {
        i++;
    }
    return i;
}

static bool with_put(struct batch_want *want, const struct param *p)
{
    size_t amp = want->with_bytes > 0;
    if (p->bytes == 0) {
        return true;
    }
    if (want->with_bytes + amp + p->bytes > sizeof want->with) {
        return false;
    }
    want->with[want->with_bytes] = '&';
    memcpy(want->with + want->with_bytes + amp, p->at, p->bytes);
    want->with_bytes = (uint8_t)(want->with_bytes + amp + p->bytes);
    return true;
}

bool batch_want_read(const struct weir_config_batch *config, const char *path, size_t path_bytes,
                     const char *query, size_t query_bytes, struct batch_want *want)
{
    struct param with[8] = {{NULL, 0, 0}};
    bool by_path = *config->param == '\0';
    bool named = by_path && name_read(config, path, path_bytes, &want->name);
    want->with_bytes = 0;
    if (by_path ? !named || memchr(path, '/', path_bytes) != NULL : path_bytes > 0) {
        return false;
    }
    for (size_t from = 0; from < query_bytes;) { /* ends: `from` goes up each time */
        const char *end = memchr(query + from, '&', query_bytes - from);
        size_t to = end != NULL ? (size_t)(end - query) : query_bytes;
        const char *equals = memchr(query + from, '=', to - from);
        const struct param p = {query + from, to - from,
                                equals != NULL ? (size_t)(equals - query) - from : to - from};
        size_t i = with_index(config, &p);
        if (!by_path && is_named(&p, config->param)) {
            if (named || equals == NULL ||
                !name_read(config, equals + 1, to - (size_t)(equals + 1 - query), &want->name)) {
                return false;
            }
            named = true;
        } else if (i == config->with.cnt || with[i].bytes > 0) {
            return false; /* unknown, or twice */
        } else {
            with[i] = p;
        }
        from = to + 1;
    }
    for (size_t i = 0; i < config->with.cnt; i++) {
        named = named && with_put(want, &with[i]);
    }
    return named;
}

/* ---------------------------------------------------------------------------------------------- the batch's own query */

struct text {
    char *at;
    size_t bytes, room;
};

static void put(struct text *t, const char *from, size_t bytes)
{
    if (t->at != NULL && bytes <= t->room - t->bytes) {
        memcpy(t->at + t->bytes, from, bytes);
        t->bytes += bytes;
    }
}

static void put_encoded(struct text *t, const char *from, size_t bytes)
{
    static const char digits[] = "0123456789ABCDEF";
    for (size_t i = 0; i < bytes; i++) {
        unsigned char c = (unsigned char)from[i];
        const char code[3] = {'%', digits[c >> 4], digits[c & 15]};
        put(t, is_plain(from[i]) ? from + i : code, is_plain(from[i]) ? 1 : 3);
    }
}

static bool is_first(const struct batch_name *name, size_t i)
{
    for (size_t k = 0; k < i; k++) {
        if (name[k].bytes == name[i].bytes &&
            memcmp(name[k].text, name[i].text, name[i].bytes) == 0) {
            return false;
        }
    }
    return true;
}

/* ["A","B"], by jansson; malloc'd. */
static char *list_make(const struct batch_name *name, size_t cnt)
{
    json_t *list = json_array();
    bool ok = list != NULL;
    for (size_t i = 0; ok && i < cnt; i++) {
        ok = !is_first(name, i) ||
             json_array_append_new(list, json_stringn(name[i].text, name[i].bytes)) == 0;
    }
    char *text = ok ? json_dumps(list, JSON_COMPACT) : NULL;
    json_decref(list);
    return text;
}

char *batch_query_make(const struct weir_config_batch *config, const struct batch_want *with,
                       const struct batch_name *name, size_t cnt, size_t *bytes)
{
    bool all = config->names == WEIR_CONFIG_BATCH_ALL;
    char *list = config->names == WEIR_CONFIG_BATCH_JSON ? list_make(name, cnt) : NULL;
    size_t names_bytes = list != NULL ? strlen(list) : cnt * (SPLIT_NAME_MAX_BYTES + 1);
    struct text t = {NULL, 0, all ? 1 : 3 * names_bytes + strlen(config->names_param) + 2};
    t.room += with->with_bytes;
    t.at = list != NULL || config->names != WEIR_CONFIG_BATCH_JSON ? malloc(t.room) : NULL;
    put(&t, with->with, with->with_bytes);
    if (!all) {
        put(&t, "&", with->with_bytes > 0);
        put(&t, config->names_param, strlen(config->names_param));
        put(&t, "=", 1);
    }
    if (list != NULL) {
        put_encoded(&t, list, strlen(list));
    } else if (!all) {
        for (size_t i = 0; i < cnt; i++) {
            if (is_first(name, i)) {
                put(&t, ",", i > 0);
                put_encoded(&t, name[i].text, name[i].bytes);
            }
        }
    }
    free(list);
    *bytes = t.bytes;
    return t.at;
}

bool batch_call_make(const struct weir_config_batch *config, const struct batch_want *with,
                     const char *name, size_t name_bytes, char *to, size_t *bytes)
{
    struct text t = {to, 0, BATCH_CALL_MAX_BYTES};
    for (size_t i = 0; i < name_bytes; i++) {
        if (!is_plain(name[i])) {
            return false;
        }
    }
    if (*config->param != '\0') {
        put(&t, with->with, with->with_bytes);
        put(&t, "&", with->with_bytes > 0);
        put(&t, config->param, strlen(config->param));
        put(&t, "=", 1);
    }
    put(&t, name, name_bytes);
    *bytes = t.bytes;
    return true;
}

size_t batch_head_make(const char *head, size_t bytes, char *to, size_t room)
{
    static const char *const kept[] = {"date:", "content-type:"};
    struct text t = {to, 0, room};
    size_t wanted = 2;
    for (size_t at = 0, n = 0; at < bytes; at += n) {
        const char *end = memchr(head + at, '\n', bytes - at);
        n = end != NULL ? (size_t)(end - head) + 1 - at : bytes - at;
        bool keep = at == 0;
        for (size_t i = 0; i < 2 && !keep; i++) {
            keep = n > strlen(kept[i]) && strncasecmp(head + at, kept[i], strlen(kept[i])) == 0;
        }
        wanted += keep ? n : 0;
        put(&t, head + at, keep ? n : 0);
    }
    put(&t, "\r\n", 2);
    return wanted == t.bytes && t.bytes > 2 ? t.bytes : 0;
}
