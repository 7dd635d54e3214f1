/*
 * config_mem.c: memory that is given back all at once.
 */
#include "config_mem.h"

#include <stdalign.h>
#include <stdlib.h>
#include <string.h>

struct weir_config_block {
    struct weir_config_block *next;
    size_t bytes;
    alignas(max_align_t) unsigned char data[];
};

void *weir_config_mem_get(struct weir_config_block **list, size_t bytes)
{
    struct weir_config_block *block = calloc(1, sizeof(*block) + bytes);
    if (!block) {
        return NULL;
    }
    block->bytes = bytes;
    block->next = *list;
    *list = block;
    return block->data;
}

char *weir_config_mem_copy(struct weir_config_block **list, const char *text, size_t bytes)
{
    char *copy = weir_config_mem_get(list, bytes + 1);
    if (copy) {
        memcpy(copy, text, bytes);
    }
    return copy;
}

void weir_config_mem_free(struct weir_config_block *list)
{
    while (list) {
        struct weir_config_block *next = list->next;
        explicit_bzero(list->data, list->bytes);
        free(list);
        list = next;
    }
}
