/*
 * config_reader.h: one load under way, and how any part of it complains.
 *
 * A message names a place three times: line and column for the editor, a path of keys for the eye, the value for the doubt.
 * Places are built on the stack while the reader goes down, so that nothing is formatted unless something is wrong.
 */
#ifndef WEIR_CONFIG_READER_H
#define WEIR_CONFIG_READER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "broker/config/config.h"
#include "broker/config/config_tree.h"
#include "shm/weir_base.h"

struct weir_config_reader {
    const char *name; /* of the file */
    struct weir_config_diag *diag;
    struct weir_config_block *scratch;           /* the tree: gone after the load */
    struct weir_config_block *blocks;            /* the configuration itself */
    const char *warned[WEIR_CONFIG_WARNING_MAX]; /* texts said already: once a file is enough */
    size_t warned_cnt;
    struct weir_config_variable *variable; /* of secrets */
    size_t fault_cnt; /* parts found wrong: what depends on them stays unchecked */
};

/* Where in the tree: a member `key` of `up`, or its entry `idx` where `key` is NULL. */
struct weir_config_place {
    const struct weir_config_place *up; /* NULL: the file itself */
    const char *key;
    size_t idx;
    const struct weir_config_node *node; /* NULL: not written in the file */
    bool is_secret;                      /* messages must not show the value */
};

struct weir_config_place weir_config_place_key(const struct weir_config_place *up, const char *key);
struct weir_config_place weir_config_place_item(const struct weir_config_place *up, size_t idx);

/* file:line:column: TEXT */
void weir_config_error_at(struct weir_config_reader *reader, uint32_t line, uint32_t column,
                          const char *format, ...) WEIR_PRINTF(4, 5);

/* file:line:column: PATH = "VALUE": TEXT; the value only where it is a scalar and no secret. Counts as a fault. */
void weir_config_error(struct weir_config_reader *reader, const struct weir_config_place *place,
                       const char *format, ...) WEIR_PRINTF(3, 4);

/* file:line:column: PATH: TEXT; the same text is said once a load. */
void weir_config_warn_once(struct weir_config_reader *reader, const struct weir_config_place *place,
                           const char *text);

/* Memory of the configuration, and of the load; NULL after an error "no memory". */
void *weir_config_keep(struct weir_config_reader *reader, size_t bytes);
char *weir_config_keep_text(struct weir_config_reader *reader, const char *text, size_t bytes);
void *weir_config_scratch(struct weir_config_reader *reader, size_t bytes);
char *weir_config_scratch_text(struct weir_config_reader *reader, const char *text, size_t bytes);

/* config_secret.c: a secret was written as `written`, with ${VAR} in it: remember the names. NULL: as it stands. */
void weir_config_secret_note(struct weir_config_reader *reader, const char *written);

#endif
