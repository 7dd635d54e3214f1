/*
 * Reading a JSON object against a table of fields: whoever accepts JSON (the
 * configuration, the control paths) states what is allowed once, and an
 * unknown key, a wrong type or a value out of range is answered with its
 * place, its value and what is allowed. Nothing is clamped or guessed.
 */
#ifndef SIM_JSON_H
#define SIM_JSON_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SIM_ERROR_BYTES = 512 };

struct sim_error {
    char text[SIM_ERROR_BYTES];
};

/* The C type behind each kind is named at its right. */
enum sim_field_kind {
    SIM_FIELD_INTEGER, /* int64_t */
    SIM_FIELD_NUMBER,  /* double */
    SIM_FIELD_FLAG,    /* bool */
    SIM_FIELD_TEXT,    /* char[]; max = longest text in bytes, the array holds one more */
    SIM_FIELD_NAME,    /* int: index into names */
    SIM_FIELD_JSON,    /* const json_t *, borrowed: read by the caller; a list or an object */
    SIM_FIELD_ANY,     /* the same, of any type */
};

struct sim_field {
    const char *key;
    enum sim_field_kind kind;
    size_t offset; /* of the member in the struct that is filled */
    double min;
    double max;
    const char *const *names; /* SIM_FIELD_NAME only, ends with NULL */
    bool required;
};

/* Fills OUT from OBJECT; members whose key is absent keep their value. WHERE
   names the object in messages ("limits[2]", or "" for the top). False: ERROR
   says why, and OUT may be partly filled. FIELDS ends with a NULL key. */
bool sim_json_read(const json_t *object, const char *where, const struct sim_field *fields,
                   void *out, struct sim_error *error);

/* Writes a message; returns false, so that a check can end with it. */
bool sim_error_set(struct sim_error *error, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif
