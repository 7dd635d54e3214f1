/*
 * config_schema.h: the one table of every key that weir.yaml knows.
 *
 * A row says what a key is, what it may be, what it is when nobody wrote it, where the value goes, and what it means. Reading,
 * checking, printing and the man page are walks over these rows, so they cannot drift apart. To add a key: a field in
 * config.h, a row in config_schema.c.
 */
#ifndef WEIR_CONFIG_SCHEMA_H
#define WEIR_CONFIG_SCHEMA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "broker/config/config_value.h"

struct weir_config_node;
struct weir_config_place;
struct weir_config_reader;
struct weir_config_section;

/* One value of an enum; the last of an array has no text. */
struct weir_config_choice {
    const char *text;
    unsigned value;
    const char *later;   /* accepted, and what happens instead; NULL: this version acts on it */
    const char *refused; /* known, and why it cannot be had; NULL: it can */
};

struct weir_config_row {
    const char *key;
    enum weir_config_type type;
    enum weir_config_type item; /* of a list */
    size_t offset;              /* of the value in its section's struct */
    size_t cnt_offset;          /* of the number of entries: SECTIONS and UNITS */
    uint64_t min, max;          /* of a number, or of a text's bytes; of each entry in a list */
    uint64_t cnt_min, cnt_max;  /* of entries */

    /*
     * The value where the key is absent, as one would write it; entries of a list behind ", ". NULL: the key is required.
     * "": nothing is set (0, "", no entries). "{}": a section with its own defaults, or a
     * list of one such section.
     */
    const char *def;

    const struct weir_config_choice *choice;
    const struct weir_config_section *section;
    const char *text;  /* for the man page: one or two sentences */
    const char *later; /* accepted, and what happens instead; NULL: this version acts on it */
};

struct weir_config_section {
    const char *title; /* "providers[].limits[]" */
    const char *text;
    size_t bytes; /* of its struct */
    const struct weir_config_row *row;
    size_t row_cnt;

    /* Called once the rows are read without an error: fills what depends on other keys, and checks across them. */
    void (*finish)(struct weir_config_reader *reader, void *section,
                   const struct weir_config_place *place);
};

/* Room for weir_config_row_allowed(). */
#define WEIR_CONFIG_ALLOWED_BYTES 320

/* What a row allows, for messages and the man page: "1ms..366d", "one of spin, sleep, adaptive". */
void weir_config_row_allowed(const struct weir_config_row *row, char *out, size_t bytes);

/* Of each entry of providers[].routes. */
extern const struct weir_config_section weir_config_route_section;

/* The file as a whole. */
extern const struct weir_config_section weir_config_root;

#endif
