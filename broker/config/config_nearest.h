/*
 * config_nearest.h: what someone may have meant by an unknown word.
 */
#ifndef WEIR_CONFIG_NEAREST_H
#define WEIR_CONFIG_NEAREST_H

#include <stddef.h>

struct weir_config_section;

/* `did you mean "limits"?`, or, where nothing is near, the keys that there are. */
void weir_config_nearest_key(const struct weir_config_section *section, const char *key, char *out,
                             size_t bytes);

#endif
