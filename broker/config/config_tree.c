/*
 * config_tree.c: libyaml's events into nodes, without recursion.
 *
 * A stack of open lists and maps stands for the path from the root. In a map, scalars come in pairs: `key` holds the first
 * one until the second arrives.
 */
#include "broker/config/config_tree.h"

#include <string.h>
#include <yaml.h>

#include "broker/config/config_env.h"
#include "broker/config/config_reader.h"

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

static uint32_t line_of(yaml_mark_t mark)
{
    return (uint32_t)mark.line + 1;
}

static uint32_t column_of(yaml_mark_t mark)
{
    return (uint32_t)mark.column + 1;
}

static void complain(struct builder *builder, yaml_mark_t mark, const char *text)
{
    weir_config_error_at(builder->reader, line_of(mark), column_of(mark), "%s", text);
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
static bool attach(struct builder *builder, struct weir_config_node *node, yaml_mark_t mark)
{
    if (!builder->depth) {
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
        weir_config_error_at(builder->reader, line_of(mark), column_of(mark),
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
                                         yaml_mark_t mark)
{
    struct weir_config_node *node = weir_config_scratch(builder->reader, sizeof(*node));
    if (node) {
        node->kind = kind;
        node->line = line_of(mark);
        node->column = column_of(mark);
    }
    return node;
}

static bool take_key(struct builder *builder, struct frame *frame, const char *text, size_t bytes,
                     yaml_mark_t mark)
{
    frame->key = weir_config_scratch_text(builder->reader, text, bytes);
    if (!frame->key) {
        return false;
    }
    frame->key_line = line_of(mark);
    frame->key_column = column_of(mark);
    const struct weir_config_node *before = weir_config_node_find(frame->node, frame->key);
    if (before) {
        frame->is_duplicate = true;
        weir_config_error_at(builder->reader, frame->key_line, frame->key_column,
                             "%s: written twice: it stands in line %u already: remove one",
                             frame->key, before->key_line);
    }
    return true;
}

static bool take_value(struct builder *builder, const char *text, yaml_mark_t mark)
{
    struct weir_config_node *node = new_node(builder, WEIR_CONFIG_NODE_SCALAR, mark);
    if (!node) {
        return false;
    }
    char value[WEIR_CONFIG_SCALAR_MAX_BYTES + 1] = "";
    node->is_broken = !weir_config_env_expand(builder->reader, text, node->line, node->column,
                                              value, sizeof(value));
    size_t value_bytes = node->is_broken ? 0 : strlen(value);
    node->text = weir_config_scratch_text(builder->reader, value, value_bytes);
    explicit_bzero(value, sizeof(value));
    if (strchr(text, '$') != NULL) {
        node->written = weir_config_scratch_text(builder->reader, text, strlen(text));
    }
    return node->text && attach(builder, node, mark);
}

static bool take_scalar(struct builder *builder, const yaml_event_t *event)
{
    yaml_mark_t mark = event->start_mark;
    const char *text = (const char *)event->data.scalar.value;
    size_t bytes = event->data.scalar.length;
    if (event->data.scalar.anchor || event->data.scalar.tag) {
        complain(builder, mark,
                 "anchors (&) and tags (!) are not used here: write the value itself");
        return false;
    }
    if (memchr(text, '\0', bytes)) {
        complain(builder, mark, "the text holds a NUL byte: remove it");
        return false;
    }
    if (bytes > WEIR_CONFIG_SCALAR_MAX_BYTES) {
        weir_config_error_at(builder->reader, line_of(mark), column_of(mark),
                             "the value is too long: at most %d bytes",
                             WEIR_CONFIG_SCALAR_MAX_BYTES);
        return false;
    }
    struct frame *frame = builder->depth ? &builder->frame[builder->depth - 1] : NULL;
    if (frame && frame->node->kind == WEIR_CONFIG_NODE_MAP && !frame->key) {
        return take_key(builder, frame, text, bytes, mark);
    }
    return take_value(builder, text, mark);
}

static bool open_node(struct builder *builder, enum weir_config_node_kind kind, bool is_marked,
                      yaml_mark_t mark)
{
    if (is_marked) {
        complain(builder, mark,
                 "anchors (&) and tags (!) are not used here: write the value itself");
        return false;
    }
    if (builder->depth == WEIR_CONFIG_DEPTH_MAX) {
        weir_config_error_at(builder->reader, line_of(mark), column_of(mark),
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

static bool take_event(struct builder *builder, const yaml_event_t *event)
{
    switch (event->type) {
    case YAML_DOCUMENT_START_EVENT:
        if (builder->document_cnt++) {
            complain(builder, event->start_mark,
                     "a second document ('---') begins: a configuration is one document");
            return false;
        }
        return true;
    case YAML_ALIAS_EVENT:
        complain(builder, event->start_mark,
                 "aliases (*) are not used here: write the value itself");
        return false;
    case YAML_SCALAR_EVENT:
        return take_scalar(builder, event);
    case YAML_SEQUENCE_START_EVENT:
        return open_node(builder, WEIR_CONFIG_NODE_LIST,
                         event->data.sequence_start.anchor || event->data.sequence_start.tag,
                         event->start_mark);
    case YAML_MAPPING_START_EVENT:
        return open_node(builder, WEIR_CONFIG_NODE_MAP,
                         event->data.mapping_start.anchor || event->data.mapping_start.tag,
                         event->start_mark);
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT:
        builder->depth--;
        return true;
    default: /* stream start and end, document end: nothing to keep */
        return true;
    }
}

/* libyaml knows the place only where it got as far as tokens; before that, the byte. */
static void complain_of_yaml(struct weir_config_reader *reader, const yaml_parser_t *parser)
{
    const char *problem = parser->problem ? parser->problem : "it cannot be read";
    if (parser->error == YAML_MEMORY_ERROR) {
        weir_config_error_at(reader, 0, 0, "the system gave no memory: free some and try again");
    } else if (parser->error == YAML_READER_ERROR) {
        weir_config_error_at(reader, line_of(parser->mark), column_of(parser->mark),
                             "not YAML: %s, at byte %zu: the file must be UTF-8 text", problem,
                             parser->problem_offset);
    } else {
        weir_config_error_at(reader, line_of(parser->problem_mark), column_of(parser->problem_mark),
                             "not YAML: %s%s%s", problem, parser->context ? " " : "",
                             parser->context ? parser->context : "");
    }
}

static bool run(struct builder *builder, yaml_parser_t *parser)
{
    bool is_done = false;
    while (!is_done) {
        yaml_event_t event;
        if (!yaml_parser_parse(parser, &event)) {
            complain_of_yaml(builder->reader, parser);
            return false;
        }
        is_done = event.type == YAML_STREAM_END_EVENT;
        bool is_good = take_event(builder, &event);
        yaml_event_delete(&event);
        if (!is_good) {
            return false;
        }
    }
    return true;
}

struct weir_config_node *weir_config_tree_build(struct weir_config_reader *reader, const char *buf,
                                                size_t bytes)
{
    yaml_parser_t parser;
    if (!yaml_parser_initialize(&parser)) {
        weir_config_error_at(reader, 0, 0, "the system gave no memory: free some and try again");
        return NULL;
    }
    yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&parser, (const unsigned char *)buf, bytes);

    struct builder builder = {.reader = reader};
    bool is_good = run(&builder, &parser);
    yaml_parser_delete(&parser);
    if (!is_good) {
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
