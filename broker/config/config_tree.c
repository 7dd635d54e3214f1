/*
 * config_tree.c: events into nodes, without recursion.
 *
 * A stack of open lists and maps stands for the path from the root. In a map, scalars come in pairs: `key` holds the first
 * one until the second arrives. The events may be anybody's bytes (config_events.h): nothing of them is believed.
 */
#include "broker/config/config_tree.h"

#include <string.h>

#include "broker/config/config_env.h"
#include "broker/config/config_events.h"
#include "broker/config/config_reader.h"

/* Where an event stands in the file. */
struct mark {
    uint32_t line, column;
};

struct frame {
    struct weir_config_node *node;
    const char *key; /* waits for its value; NULL where a key comes next */
    uint32_t key_line, key_column;
    bool is_duplicate; /* the value that comes next belongs to nobody */
};

struct builder {
    struct weir_config_reader *reader;
    struct weir_config_node *root;
    struct frame frame[WEIR_CONFIG_DEPTH_MAX];
    size_t depth;
    size_t document_cnt;
};

static void complain(struct builder *builder, struct mark mark, const char *text)
{
    weir_config_error_at(builder->reader, mark.line, mark.column, "%s", text);
}

/* libyaml makes no such stream. Returns false. */
static bool forged(struct builder *builder, const char *what)
{
    weir_config_error_at(builder->reader, 0, 0,
                         "the parser's answer is forged: %s: this file broke into it, or it is a "
                         "bug of weir: report it",
                         what);
    return false;
}

const struct weir_config_node *weir_config_node_find(const struct weir_config_node *map,
                                                     const char *key)
{
    if (!map || map->kind != WEIR_CONFIG_NODE_MAP) {
        return NULL;
    }
    const struct weir_config_node *node = map->child;
    while (node && strcmp(node->key, key) != 0) {
        node = node->next;
    }
    return node;
}

const struct weir_config_node *weir_config_node_at(const struct weir_config_node *list, size_t idx)
{
    if (!list || list->kind != WEIR_CONFIG_NODE_LIST) {
        return NULL;
    }
    const struct weir_config_node *node = list->child;
    while (node && idx) {
        node = node->next;
        idx--;
    }
    return node;
}

/* Hang `node` into the open list or map. Returns false where the whole load must end. */
static bool attach(struct builder *builder, struct weir_config_node *node, struct mark mark)
{
    if (!builder->depth) {
        if (builder->root) {
            return forged(builder, "two roots");
        }
        builder->root = node;
        return true;
    }
    struct frame *frame = &builder->frame[builder->depth - 1];
    struct weir_config_node *parent = frame->node;
    if (parent->kind == WEIR_CONFIG_NODE_MAP) {
        node->key = frame->key;
        node->key_line = frame->key_line;
        node->key_column = frame->key_column;
        frame->key = NULL;
        if (frame->is_duplicate) {
            frame->is_duplicate = false;
            return true;
        }
    }
    size_t child_max =
        parent->kind == WEIR_CONFIG_NODE_MAP ? WEIR_CONFIG_MAP_MAX : WEIR_CONFIG_LIST_MAX;
    if (parent->child_cnt == child_max) {
        weir_config_error_at(builder->reader, mark.line, mark.column,
                             "too many entries: a %s holds at most %zu",
                             parent->kind == WEIR_CONFIG_NODE_MAP ? "map" : "list", child_max);
        return false;
    }
    if (parent->last) {
        parent->last->next = node;
    } else {
        parent->child = node;
    }
    parent->last = node;
    parent->child_cnt++;
    return true;
}

static struct weir_config_node *new_node(struct builder *builder, enum weir_config_node_kind kind,
                                         struct mark mark)
{
    struct weir_config_node *node = weir_config_scratch(builder->reader, sizeof(*node));
    if (node) {
        node->kind = kind;
        node->line = mark.line;
        node->column = mark.column;
    }
    return node;
}

static bool take_key(struct builder *builder, struct frame *frame, const char *text, size_t bytes,
                     struct mark mark)
{
    frame->key = weir_config_scratch_text(builder->reader, text, bytes);
    if (!frame->key) {
        return false;
    }
    frame->key_line = mark.line;
    frame->key_column = mark.column;
    const struct weir_config_node *before = weir_config_node_find(frame->node, frame->key);
    if (before) {
        frame->is_duplicate = true;
        weir_config_error_at(builder->reader, frame->key_line, frame->key_column,
                             "%s: written twice: it stands in line %u already: remove one",
                             frame->key, before->key_line);
    }
    return true;
}

static bool take_value(struct builder *builder, const char *text, size_t bytes, struct mark mark)
{
    struct weir_config_node *node = new_node(builder, WEIR_CONFIG_NODE_SCALAR, mark);
    const char *written = weir_config_scratch_text(builder->reader, text, bytes);
    if (!node || !written) {
        return false;
    }
    char value[WEIR_CONFIG_SCALAR_MAX_BYTES + 1] = "";
    node->is_broken = !weir_config_env_expand(builder->reader, written, node->line, node->column,
                                              value, sizeof(value));
    size_t value_bytes = node->is_broken ? 0 : strlen(value);
    node->text = weir_config_scratch_text(builder->reader, value, value_bytes);
    explicit_bzero(value, sizeof(value));
    if (strchr(written, '$') != NULL) {
        node->written = written;
    }
    return node->text && attach(builder, node, mark);
}

static bool take_scalar(struct builder *builder, const struct weir_config_event *event,
                        const char *text)
{
    const struct mark mark = {.line = event->line, .column = event->column};
    if (event->is_marked) {
        complain(builder, mark,
                 "anchors (&) and tags (!) are not used here: write the value itself");
        return false;
    }
    if (memchr(text, '\0', event->bytes)) {
        complain(builder, mark, "the text holds a NUL byte: remove it");
        return false;
    }
    if (event->bytes > WEIR_CONFIG_SCALAR_MAX_BYTES) {
        weir_config_error_at(builder->reader, mark.line, mark.column,
                             "the value is too long: at most %d bytes",
                             WEIR_CONFIG_SCALAR_MAX_BYTES);
        return false;
    }
    struct frame *frame = builder->depth ? &builder->frame[builder->depth - 1] : NULL;
    if (frame && frame->node->kind == WEIR_CONFIG_NODE_MAP && !frame->key) {
        return take_key(builder, frame, text, event->bytes, mark);
    }
    return take_value(builder, text, event->bytes, mark);
}

static bool open_node(struct builder *builder, enum weir_config_node_kind kind, bool is_marked,
                      struct mark mark)
{
    if (is_marked) {
        complain(builder, mark,
                 "anchors (&) and tags (!) are not used here: write the value itself");
        return false;
    }
    if (builder->depth == WEIR_CONFIG_DEPTH_MAX) {
        weir_config_error_at(builder->reader, mark.line, mark.column,
                             "nested too deeply: at most %d levels", WEIR_CONFIG_DEPTH_MAX);
        return false;
    }
    const struct frame *frame = builder->depth ? &builder->frame[builder->depth - 1] : NULL;
    if (frame && frame->node->kind == WEIR_CONFIG_NODE_MAP && !frame->key) {
        complain(builder, mark, "a key must be a plain word");
        return false;
    }
    struct weir_config_node *node = new_node(builder, kind, mark);
    if (!node || !attach(builder, node, mark)) {
        return false;
    }
    builder->frame[builder->depth++] = (struct frame){.node = node};
    return true;
}

static bool close_node(struct builder *builder)
{
    if (!builder->depth || builder->frame[builder->depth - 1].key) {
        return forged(builder, "wrong nesting");
    }
    builder->depth--;
    return true;
}

/* Returns false where the whole load must end. */
static bool take_event(struct builder *builder, const struct weir_config_event *event,
                       const char *text)
{
    const struct mark mark = {.line = event->line, .column = event->column};
    switch (event->kind) {
    case WEIR_CONFIG_EVENT_DOCUMENT:
        if (builder->document_cnt++) {
            complain(builder, mark,
                     "a second document ('---') begins: a configuration is one document");
            return false;
        }
        return true;
    case WEIR_CONFIG_EVENT_ALIAS:
        complain(builder, mark, "aliases (*) are not used here: write the value itself");
        return false;
    case WEIR_CONFIG_EVENT_SCALAR:
        return take_scalar(builder, event, text);
    case WEIR_CONFIG_EVENT_LIST:
        return open_node(builder, WEIR_CONFIG_NODE_LIST, event->is_marked, mark);
    case WEIR_CONFIG_EVENT_MAP:
        return open_node(builder, WEIR_CONFIG_NODE_MAP, event->is_marked, mark);
    case WEIR_CONFIG_EVENT_CLOSE:
        return close_node(builder);
    case WEIR_CONFIG_EVENT_END:
        return builder->depth ? forged(builder, "wrong nesting") : true;
    case WEIR_CONFIG_EVENT_NO_MEMORY:
        weir_config_error_at(builder->reader, 0, 0,
                             "the system gave no memory: free some and try again");
        return false;
    case WEIR_CONFIG_EVENT_BAD:
        weir_config_error_at(builder->reader, mark.line, mark.column, "not YAML: %.*s",
                             (int)event->bytes, text);
        return false;
    case WEIR_CONFIG_EVENT_MANY:
        complain(builder, mark, "too many parts: is this the configuration?");
        return false;
    default:
        return forged(builder, "an unknown event");
    }
}

/* Are the numbers of an event such that its text can be looked at? */
static bool event_check(struct builder *builder, const struct weir_config_event *event, size_t left)
{
    const uint32_t place_max = WEIR_CONFIG_FILE_MAX_BYTES + 2;
    const size_t max = event->kind == WEIR_CONFIG_EVENT_SCALAR ? WEIR_CONFIG_SCALAR_MAX_BYTES + 1
                       : event->kind == WEIR_CONFIG_EVENT_BAD  ? WEIR_CONFIG_EVENT_BAD_MAX_BYTES
                                                               : 0;
    if (event->line - 1 >= place_max || event->column - 1 >= place_max) {
        return forged(builder, "a place outside of the file");
    }
    if (event->bytes > max) {
        return forged(builder, "a text that is too long");
    }
    return event->bytes <= left || forged(builder, "it is cut off");
}

/* Until END, or the first event that ends the load. */
static bool run(struct builder *builder, const char *stream, size_t bytes)
{
    struct weir_config_event event = {0};
    size_t at = 0;
    while (event.kind != WEIR_CONFIG_EVENT_END) { /* each turn takes bytes */
        if (bytes - at < sizeof(event)) {
            return forged(builder, "it is cut off");
        }
        memcpy(&event, stream + at, sizeof(event));
        at += sizeof(event);
        if (!event_check(builder, &event, bytes - at) ||
            !take_event(builder, &event, stream + at)) {
            return false;
        }
        at += event.bytes;
    }
    return at == bytes || forged(builder, "more behind its end");
}

struct weir_config_node *weir_config_tree_build(struct weir_config_reader *reader,
                                                const char *stream, size_t bytes)
{
    struct builder builder = {.reader = reader};
    if (!run(&builder, stream, bytes)) {
        return NULL;
    }
    if (!builder.root) {
        weir_config_error_at(reader, 0, 0,
                             "empty: a configuration needs at least `providers`, see weir.yaml(5)");
        return NULL;
    }
    if (builder.root->kind != WEIR_CONFIG_NODE_MAP) {
        weir_config_error_at(reader, builder.root->line, builder.root->column,
                             "a configuration is a map of keys: begin with `broker:` or "
                             "`providers:`");
        return NULL;
    }
    return builder.root;
}
