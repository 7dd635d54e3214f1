/*
 * config_env.h: ${VAR} and ${VAR:default} inside a value.
 */
#ifndef WEIR_CONFIG_ENV_H
#define WEIR_CONFIG_ENV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct weir_config_reader;

/*
 * Expand `text` into `out`, NUL behind it. `$$` is a '$'; a default is taken as it stands, and only where the variable is not
 * set at all: one that is set to nothing is nothing. Returns false after an error at line:column.
 */
bool weir_config_env_expand(struct weir_config_reader *reader, const char *text, uint32_t line,
                            uint32_t column, char *out, size_t out_bytes);

#endif
