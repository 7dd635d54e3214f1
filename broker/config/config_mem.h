/*
 * config_mem.h: memory that is given back all at once.
 *
 * A configuration, and the tree it is read from, are many small pieces with one life. Each piece is a block of its own, so
 * that the sanitizers see its bounds, on a list that its owner keeps.
 */
#ifndef WEIR_CONFIG_MEM_H
#define WEIR_CONFIG_MEM_H

#include <stddef.h>

struct weir_config_block;

/* Zeroed memory for any type, put on `list`; NULL when the system gives none. */
void *weir_config_mem_get(struct weir_config_block **list, size_t bytes);

/* A copy of `bytes` bytes with a NUL behind them. */
char *weir_config_mem_copy(struct weir_config_block **list, const char *text, size_t bytes);

/* Wipe and free the whole list: some of the pieces are secrets. */
void weir_config_mem_free(struct weir_config_block *list);

#endif
