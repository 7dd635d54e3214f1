/*
 * batch_split.h: an answer that stands for many, cut into its elements. Pure.
 *
 * The grammar is jansson's, one value at a time: it says where each ends, so an element is its bytes as they came, and memory holds one element's tree and a row for each
 * element, however long the answer is. Only brackets, commas and colons around them are read here. The answer must be JSON to its last byte, of the form that the
 * configuration states; else nothing of it is used. Names that stand there twice are marked: which of two is meant nobody knows.
 *
 * Bounds: SPLIT_BODY_MAX_BYTES, SPLIT_ELEMENTS_MAX, SPLIT_NAME_MAX_BYTES; jansson's 2048 levels; within an element no member twice.
 * Callers: batch.c; unit/test_batch_split, the fuzz target.
 */
#ifndef WEIR_BROKER_BATCH_SPLIT_H
#define WEIR_BROKER_BATCH_SPLIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SPLIT_BODY_MAX_BYTES (16U << 20)
#define SPLIT_ELEMENTS_MAX   16384U
#define SPLIT_NAME_MAX_BYTES 63U /* of the name of an element; a longer one has none */

struct split_element {
    uint32_t at, bytes; /* of the value, in the body */
    uint32_t from;      /* ... of the member with its name, where elements are members; else `at` */
    bool twice;
    uint8_t name_bytes;
    char name[SPLIT_NAME_MAX_BYTES + 1]; /* decoded, UTF-8 */
};

struct split {
    struct split_element *element; /* those that have a name, in their order */
    uint32_t cnt, room;
    uint32_t *table; /* by hash of the name: index + 1 */
    uint32_t table_mask;
    uint32_t first, end; /* where the first element begins and the last one ends */
};

/*
 * Cut `body`. `list` is the path to the elements ("result.list"; "": the body itself). `item` is the member of each element that holds its name; "": the elements are the
 * members of an object, and are named by it. False: it is no such answer, or memory ran out. split_free in both cases.
 */
bool split_make(struct split *split, const char *body, size_t bytes, const char *list,
                const char *item);
void split_free(struct split *split);

/* The element of this name; NULL: none, or more than one. */
const struct split_element *split_find(const struct split *split, const char *name, size_t bytes);

#endif
