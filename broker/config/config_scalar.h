/*
 * config_scalar.h: one scalar of the file into one field of a struct.
 */
#ifndef WEIR_CONFIG_SCALAR_H
#define WEIR_CONFIG_SCALAR_H

#include <stdbool.h>

#include "broker/config/config_value.h"

struct weir_config_place;
struct weir_config_reader;
struct weir_config_row;

/*
 * Read the scalar at `place` as `type`, within the row's bounds, into `field`. `type` is the row's own, or that of its
 * entries. Returns false after an error.
 */
bool weir_config_scalar_read(struct weir_config_reader *reader, const struct weir_config_row *row,
                             enum weir_config_type type, const struct weir_config_place *place,
                             void *field);

#endif
