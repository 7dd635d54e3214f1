#include "broker/batch_split.h"

#include "broker/reply_value.h"

#include <stdlib.h>
#include <string.h>

#include <xxhash.h>

struct cursor {
    const char *body;
    size_t bytes, at;
    const char *item;
    struct split *out;
};

static void blank(struct cursor *c)
{
    while (c->at < c->bytes && (c->body[c->at] == ' ' || c->body[c->at] == '\t' ||
                                c->body[c->at] == '\n' || c->body[c->at] == '\r')) {
        c->at++;
    }
}

/* The next character that is none of the blanks, if it is this one. */
static bool take(struct cursor *c, char what)
{
    blank(c);
    if (c->at == c->bytes || c->body[c->at] != what) {
        return false;
    }
    c->at++;
    return true;
}

/* The value that begins here; the cursor stands behind it. NULL: it is none. */
static json_t *value(struct cursor *c)
{
    json_error_t error;
    blank(c);
    json_t *v =
        json_loadb(c->body + c->at, c->bytes - c->at,
                   JSON_DECODE_ANY | JSON_DISABLE_EOF_CHECK | JSON_REJECT_DUPLICATES, &error);
    if (v != NULL) {
        c->at += (size_t)error.position; /* where it ended: jansson says so without an error too */
    }
    return v;
}

static bool skip(struct cursor *c)
{
    json_t *v = value(c);
    json_decref(v);
    return v != NULL;
}

static bool element_add(struct cursor *c, size_t from, size_t at, struct reply_text name)
{
    struct split *s = c->out;
    s->first = s->first == 0 ? (uint32_t)from : s->first;
    s->end = (uint32_t)c->at;
    if (name.bytes == 0 || name.bytes > SPLIT_NAME_MAX_BYTES) {
        return true; /* nobody can ask for it */
    }
    if (s->cnt == s->room) {
        uint32_t room = s->room == 0 ? 256 : 2 * s->room;
        struct split_element *more =
            room <= SPLIT_ELEMENTS_MAX ? realloc(s->element, room * sizeof *more) : NULL;
        if (more == NULL) {
            return false;
        }
        s->element = more;
        s->room = room;
    }
    struct split_element *e = &s->element[s->cnt++];
    *e = (struct split_element){.at = (uint32_t)at,
                                .bytes = (uint32_t)(c->at - at),
                                .from = (uint32_t)from,
                                .name_bytes = (uint8_t)name.bytes};
    memcpy(e->name, name.at, name.bytes);
    return true;
}

/* An entry of a list, which names itself. */
static bool entry(struct cursor *c)
{
    char buffer[40];
    struct reply_text name = {"", 0};
    blank(c);
    size_t at = c->at;
    json_t *v = value(c);
    if (v == NULL) {
        return false;
    }
    if (reply_member(v, c->item, buffer, &name) != REPLY_VALUE) {
        name.bytes = 0;
    }
    bool ok = element_add(c, at, at, name);
    json_decref(v);
    return ok;
}

/* A member of an object, by its name. */
static bool member(struct cursor *c)
{
    blank(c);
    size_t from = c->at;
    json_t *key = value(c);
    bool ok = json_is_string(key) && take(c, ':');
    blank(c);
    size_t at = c->at;
    ok = ok && skip(c) &&
         element_add(c, from, at,
                     (struct reply_text){json_string_value(key), json_string_length(key)});
    json_decref(key);
    return ok;
}

/* The elements: each an entry of a list, or a member of an object. */
static bool elements(struct cursor *c)
{
    bool named = *c->item == '\0';
    if (!take(c, named ? '{' : '[')) {
        return false;
    }
    if (take(c, named ? '}' : ']')) {
        return true;
    }
    do { /* ends: each round reads a byte at least */
        if (!(named ? member(c) : entry(c))) {
            return false;
        }
    } while (take(c, ','));
    return take(c, named ? '}' : ']');
}

/* From the value that begins here down to the elements. Depth: the parts of the path. */
static bool descend(struct cursor *c, const char *path)
{
    size_t part = strcspn(path, ".");
    bool found = false;
    if (*path == '\0') {
        return elements(c);
    }
    if (!take(c, '{')) {
        return false;
    }
    do { /* ends: each round reads a byte at least */
        blank(c);
        json_t *key = value(c);
        bool ok = json_is_string(key) && take(c, ':');
        bool here = ok && json_string_length(key) == part &&
                    memcmp(json_string_value(key), path, part) == 0;
        json_decref(key);
        ok = ok && !(here && found); /* twice: which one is meant? */
        found = found || here;
        if (!ok || !(here ? descend(c, path + part + (path[part] == '.')) : skip(c))) {
            return false;
        }
    } while (take(c, ','));
    return take(c, '}') && found;
}

static uint32_t *place(const struct split *s, const char *name, size_t bytes)
{
    uint32_t i = (uint32_t)XXH3_64bits(name, bytes) & s->table_mask;
    while (s->table[i] != 0) { /* ends: half of the table is free */
        const struct split_element *e = &s->element[s->table[i] - 1];
        if (e->name_bytes == bytes && memcmp(e->name, name, bytes) == 0) {
            break;
        }
        i = (i + 1) & s->table_mask;
    }
    return &s->table[i];
}

static bool index_make(struct split *s)
{
    uint32_t places = 16;
    while (places < 2 * s->cnt) {
        places *= 2;
    }
    s->table = calloc(places, sizeof *s->table);
    s->table_mask = places - 1;
    for (uint32_t i = 0; s->table != NULL && i < s->cnt; i++) {
        uint32_t *at = place(s, s->element[i].name, s->element[i].name_bytes);
        if (*at != 0) {
            s->element[*at - 1].twice = true;
            s->element[i].twice = true;
        } else {
            *at = i + 1;
        }
    }
    return s->table != NULL;
}

bool split_make(struct split *split, const char *body, size_t bytes, const char *list,
                const char *item)
{
    struct cursor c = {body, bytes, 0, item, split};
    *split = (struct split){.element = NULL};
    /* A NUL is in no JSON, but jansson may step over one, and then miscounts where a value ends. */
    if (bytes > SPLIT_BODY_MAX_BYTES || memchr(body, '\0', bytes) != NULL || !descend(&c, list)) {
        return false;
    }
    blank(&c);
    return c.at == bytes && index_make(split);
}

void split_free(struct split *split)
{
    free(split->element);
    free(split->table);
    *split = (struct split){.element = NULL};
}

const struct split_element *split_find(const struct split *split, const char *name, size_t bytes)
{
    uint32_t at = *place(split, name, bytes);
    return at != 0 && !split->element[at - 1].twice ? &split->element[at - 1] : NULL;
}
