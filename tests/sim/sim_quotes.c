/* Quotes of 200 symbols S0 … S199, one, some or all, as exchanges that have a call for many give them. */
#include "sim_request.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { QUOTE_CNT = 200, NAME_BYTES = 64 };

static bool known(const char *name)
{
    char *end;
    long n = *name == 'S' ? strtol(name + 1, &end, 10) : -1;
    char same[NAME_BYTES];

    snprintf(same, sizeof(same), "S%ld", n);
    return n >= 0 && n < QUOTE_CNT && strcmp(same, name) == 0;
}

/* NULL = no such symbol, which fails the whole call. */
static json_t *quote(const struct sim_request *request, const char *name)
{
    int64_t utc_ns = sim_clock_now(&request->sim->clock).utc_ns;

    return known(name) ? json_pack("{s:s, s:I}", "symbol", name, "time",
                                   (json_int_t)(utc_ns / SIM_NS_PER_MS))
                       : NULL;
}

/* ["A","B"] or A,B. NULL = neither. */
static json_t *names_of(const char *text)
{
    json_t *names = *text == '[' ? json_loads(text, 0, NULL) : json_array();

    while (*text != '[' && *text) {
        size_t n = strcspn(text, ",");

        json_array_append_new(names, json_stringn(text, n));
        text += n + (text[n] == ',');
    }
    return names;
}

static json_t *some(const struct sim_request *request, const char *text)
{
    json_t *names = names_of(text);
    json_t *list = json_array();

    for (size_t i = 0; i < json_array_size(names); i++) {
        const char *name = json_string_value(json_array_get(names, i));

        /* appending NULL fails, and leaves the list shorter */
        json_array_append_new(list, quote(request, name ? name : ""));
    }
    if (json_array_size(names) == 0 || json_array_size(list) != json_array_size(names)) {
        json_decref(list);
        list = NULL;
    }
    json_decref(names);
    return list;
}

static json_t *all(const struct sim_request *request)
{
    json_t *list = json_array();
    char name[NAME_BYTES];

    for (int i = 0; i < QUOTE_CNT; i++) {
        snprintf(name, sizeof(name), "S%d", i);
        json_array_append_new(list, quote(request, name));
    }
    return list;
}

void sim_quotes_answer(struct sim_request *request)
{
    const char *one = sim_request_query(request, "symbol");
    const char *many = sim_request_query(request, "symbols");
    json_t *answer = one ? quote(request, one) : many ? some(request, many) : all(request);

    if (!answer) {
        sim_answer_error(request, 400, -1121, "Invalid symbol.");
        return;
    }
    sim_answer_json(request, 200, answer);
}
