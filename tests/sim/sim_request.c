#include "sim_request.h"

#include <microhttpd.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *sim_request_query(const struct sim_request *request, const char *name)
{
    return MHD_lookup_connection_value(request->connection, MHD_GET_ARGUMENT_KIND, name);
}

const char *sim_request_header(const struct sim_request *request, const char *name)
{
    return MHD_lookup_connection_value(request->connection, MHD_HEADER_KIND, name);
}

/* The still encoded value of NAME in a=b&c=d, or NULL. */
static const char *form_find(const struct sim_request *request, const char *name,
                             size_t *value_bytes)
{
    size_t name_bytes = strlen(name);
    const char *pair = request->body;
    const char *end = pair ? pair + request->body_bytes : NULL;

    while (pair < end) {
        const char *stop = memchr(pair, '&', (size_t)(end - pair));
        size_t pair_bytes = (size_t)((stop ? stop : end) - pair);

        if (pair_bytes > name_bytes && pair[name_bytes] == '=' &&
            memcmp(pair, name, name_bytes) == 0) {
            *value_bytes = pair_bytes - name_bytes - 1;
            return pair + name_bytes + 1;
        }
        pair += pair_bytes + (stop != NULL);
    }
    return NULL;
}

bool sim_request_has(const struct sim_request *request, const char *name)
{
    size_t value_bytes;

    return sim_request_query(request, name) || form_find(request, name, &value_bytes) ||
           json_object_get(request->json, name);
}

/* A text or a whole number at the top of the body. */
static bool json_param(const json_t *body, const char *name, char *out, size_t out_bytes)
{
    const json_t *value = json_object_get(body, name);

    if (json_is_integer(value)) {
        return (size_t)snprintf(out, out_bytes, "%lld", (long long)json_integer_value(value)) <
               out_bytes;
    }
    return json_is_string(value) &&
           (size_t)snprintf(out, out_bytes, "%s", json_string_value(value)) < out_bytes;
}

bool sim_request_param(const struct sim_request *request, const char *name, char *out,
                       size_t out_bytes)
{
    const char *value = sim_request_query(request, name);

    size_t value_bytes;

    if (value) {
        return (size_t)snprintf(out, out_bytes, "%s", value) < out_bytes;
    }
    value = form_find(request, name, &value_bytes);
    if (!value && request->json) {
        return json_param(request->json, name, out, out_bytes);
    }
    if (!value || value_bytes >= out_bytes) {
        return false;
    }
    memcpy(out, value, value_bytes);
    out[value_bytes] = '\0';
    MHD_http_unescape(out);
    return true;
}

/* xorshift64*: small, seeded, the same draws in every run. */
double sim_random_draw(struct sim *sim)
{
    uint64_t x = sim->random_state;

    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    sim->random_state = x;
    return (double)((x * UINT64_C(2685821657736338717)) >> 11) / (double)(UINT64_C(1) << 53);
}

static enum MHD_Result value_collect(void *object, enum MHD_ValueKind kind, const char *key,
                                     const char *value)
{
    (void)kind;
    json_object_set_new(object, key, value ? json_string(value) : json_null());
    return MHD_YES;
}

static json_t *values_json(const struct sim_request *request, enum MHD_ValueKind kind)
{
    json_t *object = json_object();

    MHD_get_connection_values(request->connection, kind, value_collect, object);
    return object;
}

json_t *sim_request_query_json(const struct sim_request *request)
{
    return values_json(request, MHD_GET_ARGUMENT_KIND);
}

json_t *sim_request_headers_json(const struct sim_request *request)
{
    return values_json(request, MHD_HEADER_KIND);
}

void sim_request_body_add(struct sim_request *request, const char *data, size_t data_bytes)
{
    char *body = NULL;

    if (data_bytes <= SIM_BODY_MAX_BYTES - request->body_bytes) {
        body = realloc(request->body, request->body_bytes + data_bytes);
    }
    if (!body) {
        request->body_too_long = true;
        return;
    }
    memcpy(body + request->body_bytes, data, data_bytes);
    request->body = body;
    request->body_bytes += data_bytes;
}

void sim_answer_text(struct sim_request *request, int status, const char *type, char *body,
                     size_t body_bytes)
{
    free(request->answer.body);
    request->answer =
        (struct sim_answer){.status = status, .type = type, .body = body, .body_bytes = body_bytes};
}

void sim_answer_json(struct sim_request *request, int status, json_t *root)
{
    /* 9 digits: a share of 0.7 reads 0.7, not 0.69999999999999996. */
    char *text = json_dumps(root, JSON_COMPACT | JSON_REAL_PRECISION(9));

    json_decref(root);
    sim_answer_text(request, status, "application/json;charset=UTF-8", text,
                    text ? strlen(text) : 0);
}

void sim_answer_error(struct sim_request *request, int status, int code, const char *format, ...)
{
    char message[SIM_ERROR_BYTES];
    va_list args;

    va_start(args, format);
    vsnprintf(message, sizeof(message), format, args);
    va_end(args);
    sim_answer_json(request, status, json_pack("{s:i, s:s}", "code", code, "msg", message));
}
