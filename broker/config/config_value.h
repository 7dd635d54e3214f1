/*
 * config_value.h: what people write, and what weir computes with.
 *
 * Numbers with units and back, and the rules for texts that later meet a socket, a file system or an HTTP request. Pure
 * functions: no configuration, no messages.
 */
#ifndef WEIR_CONFIG_VALUE_H
#define WEIR_CONFIG_VALUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* 100 % in ppm. */
#define WEIR_CONFIG_WHOLE_PPM UINT64_C(1000000)

/* Enough for any number that weir_config_number_write() writes. */
#define WEIR_CONFIG_NUMBER_BYTES 32

enum weir_config_type {
    WEIR_CONFIG_TYPE_UNSET = 0,
    /* numbers: uint64_t */
    WEIR_CONFIG_TYPE_INTEGER,
    WEIR_CONFIG_TYPE_DURATION, /* ns */
    WEIR_CONFIG_TYPE_SIZE,     /* bytes */
    WEIR_CONFIG_TYPE_PERCENT,  /* ppm */
    /* choices */
    WEIR_CONFIG_TYPE_BOOLEAN, /* bool */
    WEIR_CONFIG_TYPE_ENUM,    /* an enum of its own */
    /* texts: char[WEIR_NAME_BYTES] for a name, const char * for the others */
    WEIR_CONFIG_TYPE_NAME,
    WEIR_CONFIG_TYPE_STRING,
    WEIR_CONFIG_TYPE_SECRET,
    WEIR_CONFIG_TYPE_SCOPE,  /* a value of a scope, without what weir_scope_find() splits at */
    WEIR_CONFIG_TYPE_HEADER, /* an HTTP field name */
    WEIR_CONFIG_TYPE_PATH,   /* of a request */
    WEIR_CONFIG_TYPE_FILE,   /* an absolute path on this machine */
    /* compounds */
    WEIR_CONFIG_TYPE_URL,      /* struct weir_config_url */
    WEIR_CONFIG_TYPE_LIST,     /* struct weir_config_strings or _numbers */
    WEIR_CONFIG_TYPE_UNITS,    /* a map limit -> units: struct weir_config_cost */
    WEIR_CONFIG_TYPE_SECTION,  /* a struct */
    WEIR_CONFIG_TYPE_SECTIONS, /* an array of structs */
};

bool weir_config_type_is_number(enum weir_config_type type);

/* Read a number with its unit; false if `text` has another form. What does not fit 64 bits is UINT64_MAX: above any range. */
bool weir_config_number_read(enum weir_config_type type, const char *text, uint64_t *number);

/* The shortest form that reads back to the same: 60000000000 ns is "1m". `out` has WEIR_CONFIG_NUMBER_BYTES. */
void weir_config_number_write(enum weir_config_type type, uint64_t number, char *out);

/* How a number of this type is written, for messages: "a whole number with a unit (...)". */
const char *weir_config_number_form(enum weir_config_type type);

/* What texts of this type look like, in general: "an absolute path". */
const char *weir_config_text_form(enum weir_config_type type);

/* NULL if `text` obeys the type's rule, else the rule. Lengths are the row's business. */
const char *weir_config_text_fault(enum weir_config_type type, const char *text);

/* The parts of a URL inside `text`, which stays as it is. */
struct weir_config_url_parts {
    const char *host;
    size_t host_bytes;
    const char *base_path;
    size_t base_path_bytes;
    uint16_t port;
    bool tls;
    bool ipv6;
};

/* NULL if `text` is a URL that weir can call, else the rule that it breaks. */
const char *weir_config_url_split(const char *text, struct weir_config_url_parts *parts);

#endif
