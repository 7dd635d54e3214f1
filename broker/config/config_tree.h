/*
 * config_tree.h: a YAML file as a tree of nodes that know where they stand.
 *
 * This layer knows what YAML says (config_events.h) and nothing of weir: it bounds what a file may hold (size, depth, entries), refuses what we do not use
 * (anchors, aliases, tags, several documents), finds duplicate keys, and expands ${VAR} in values. Because that happens after
 * libyaml has found the structure, a variable's content is only ever a value and cannot add keys.
 */
#ifndef WEIR_CONFIG_TREE_H
#define WEIR_CONFIG_TREE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct weir_config_reader;

#define WEIR_CONFIG_DEPTH_MAX        16
#define WEIR_CONFIG_MAP_MAX          64
#define WEIR_CONFIG_LIST_MAX         1024
#define WEIR_CONFIG_SCALAR_MAX_BYTES 4096

enum weir_config_node_kind {
    WEIR_CONFIG_NODE_SCALAR = 1,
    WEIR_CONFIG_NODE_LIST = 2,
    WEIR_CONFIG_NODE_MAP = 3,
};

struct weir_config_node {
    enum weir_config_node_kind kind;
    uint32_t line, column; /* of the value, from 1 */
    uint32_t key_line, key_column;
    const char *key;     /* in a map */
    const char *text;    /* a scalar's, expanded */
    const char *written; /* the same before that; NULL: nothing was expanded */
    size_t child_cnt;    /* of a list or a map */
    struct weir_config_node *child, *last, *next;
    bool is_broken; /* already complained about: do not do it twice */
};

/*
 * The root node, a map, from a stream of config_events.h, which may be any bytes; NULL with an error in the reader's diag. Errors that leave a usable tree are only noted
 * there. Memory: at most some ten times the stream's bytes.
 */
struct weir_config_node *weir_config_tree_build(struct weir_config_reader *reader,
                                                const char *stream, size_t bytes);

/* A map's member, NULL if it has none of that name or `map` is NULL. */
const struct weir_config_node *weir_config_node_find(const struct weir_config_node *map,
                                                     const char *key);

/* A list's entry, NULL if there are fewer or `list` is NULL. */
const struct weir_config_node *weir_config_node_at(const struct weir_config_node *list, size_t idx);

#endif
