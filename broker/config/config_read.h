/*
 * config_read.h: the tree, row by row of the schema, into structs.
 */
#ifndef WEIR_CONFIG_READ_H
#define WEIR_CONFIG_READ_H

struct weir_config_place;
struct weir_config_reader;
struct weir_config_section;

/* Fill `base`, a zeroed struct of this section, from the map at `place`, or with defaults where there is none. */
void weir_config_read_section(struct weir_config_reader *reader,
                              const struct weir_config_section *section, void *base,
                              const struct weir_config_place *place);

#endif
