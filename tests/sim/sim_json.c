#include "sim_json.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool sim_error_set(struct sim_error *error, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(error->text, sizeof(error->text), format, args);
    va_end(args);
    return false;
}

/* What the user wrote, short enough for one line of a message. */
static void value_describe(const json_t *value, char *out, size_t out_bytes)
{
    char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);

    snprintf(out, out_bytes, "%.60s", text ? text : "?");
    free(text);
}

static void allowed_describe(const struct sim_field *field, char *out, size_t out_bytes)
{
    size_t used = 0;

    switch (field->kind) {
    case SIM_FIELD_INTEGER:
        snprintf(out, out_bytes, "an integer from %.0f to %.0f", field->min, field->max);
        break;
    case SIM_FIELD_NUMBER:
        snprintf(out, out_bytes, "a number from %g to %g", field->min, field->max);
        break;
    case SIM_FIELD_FLAG:
        snprintf(out, out_bytes, "true or false");
        break;
    case SIM_FIELD_TEXT:
        snprintf(out, out_bytes, "a text of %.0f to %.0f bytes", field->min, field->max);
        break;
    case SIM_FIELD_NAME:
        for (size_t i = 0; field->names[i] && used < out_bytes; i++) {
            used += (size_t)snprintf(out + used, out_bytes - used, "%s\"%s\"", i ? ", " : "one of ",
                                     field->names[i]);
        }
        break;
    case SIM_FIELD_JSON:
        snprintf(out, out_bytes, "a list or an object");
        break;
    case SIM_FIELD_ANY:
        snprintf(out, out_bytes, "any JSON");
        break;
    }
}

static bool name_find(const char *const *names, const char *name, int *out)
{
    for (int i = 0; name && names[i]; i++) {
        if (strcmp(names[i], name) == 0) {
            *out = i;
            return true;
        }
    }
    return false;
}

static bool in_range(const struct sim_field *field, double value)
{
    return value >= field->min && value <= field->max;
}

static bool text_take(const struct sim_field *field, const json_t *value, char *out)
{
    size_t text_bytes = json_string_length(value);

    if (!json_is_string(value) || !in_range(field, (double)text_bytes) ||
        strlen(json_string_value(value)) != text_bytes) {
        return false;
    }
    memcpy(out, json_string_value(value), text_bytes + 1);
    return true;
}

/* False: the value is not what the field allows. */
static bool value_take(const struct sim_field *field, const json_t *value, void *member)
{
    switch (field->kind) {
    case SIM_FIELD_INTEGER:
        if (!json_is_integer(value) || !in_range(field, (double)json_integer_value(value))) {
            return false;
        }
        *(int64_t *)member = json_integer_value(value);
        return true;
    case SIM_FIELD_NUMBER:
        if (!json_is_number(value) || !in_range(field, json_number_value(value))) {
            return false;
        }
        *(double *)member = json_number_value(value);
        return true;
    case SIM_FIELD_FLAG:
        if (!json_is_boolean(value)) {
            return false;
        }
        *(bool *)member = json_is_true(value);
        return true;
    case SIM_FIELD_TEXT:
        return text_take(field, value, member);
    case SIM_FIELD_NAME:
        return name_find(field->names, json_string_value(value), member);
    case SIM_FIELD_JSON:
        *(const json_t **)member = value;
        return json_is_array(value) || json_is_object(value);
    case SIM_FIELD_ANY:
        *(const json_t **)member = value;
        return true;
    }
    return false;
}

static const struct sim_field *field_find(const struct sim_field *fields, const char *key)
{
    for (; fields->key; fields++) {
        if (strcmp(fields->key, key) == 0) {
            return fields;
        }
    }
    return NULL;
}

static bool unknown_key(const char *where, const char *dot, const char *key,
                        const struct sim_field *fields, struct sim_error *error)
{
    char keys[SIM_ERROR_BYTES - 160] = "";
    size_t used = 0;

    for (; fields->key && used < sizeof(keys); fields++) {
        used += (size_t)snprintf(keys + used, sizeof(keys) - used, "%s%s", used ? ", " : "",
                                 fields->key);
    }
    return sim_error_set(error, "%s%s%.40s: unknown key: allowed are %s", where, dot, key, keys);
}

bool sim_json_read(const json_t *object, const char *where, const struct sim_field *fields,
                   void *out, struct sim_error *error)
{
    const char *dot = *where ? "." : "";
    char shown[80];
    char allowed[240] = "";
    const char *key;
    json_t *value;

    if (!json_is_object(object)) {
        return sim_error_set(error, "%s: must be an object {…}", *where ? where : "the document");
    }
    /* jansson has no const iterator; nothing is changed here. */
    json_object_foreach((json_t *)(uintptr_t)object, key, value)
    {
        const struct sim_field *field = field_find(fields, key);

        if (!field) {
            return unknown_key(where, dot, key, fields, error);
        }
        if (!value_take(field, value, (char *)out + field->offset)) {
            value_describe(value, shown, sizeof(shown));
            allowed_describe(field, allowed, sizeof(allowed));
            return sim_error_set(error, "%s%s%s=%s: must be %s", where, dot, key, shown, allowed);
        }
    }
    for (const struct sim_field *field = fields; field->key; field++) {
        if (field->required && !json_object_get(object, field->key)) {
            allowed_describe(field, allowed, sizeof(allowed));
            return sim_error_set(error, "%s%s%s: missing: must be %s", where, dot, field->key,
                                 allowed);
        }
    }
    return true;
}
