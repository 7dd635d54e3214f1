#include "sim_path.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const plays_names[] = {
    "built_in", "ok",          "place",        "amend",  "cancel",
    "query",    "batch_place", "batch_cancel", "quotes", NULL,
};
static const char *const methods[] = {"GET", "POST", "PUT", "DELETE", "PATCH", "ANY", NULL};

struct path_document {
    struct sim_path path;
    const json_t *costs;
    const json_t *body;
};

#define PATH_AT(member) offsetof(struct path_document, member)

static const struct sim_field path_fields[] = {
    {"path", SIM_FIELD_TEXT, PATH_AT(path.name), 5, SIM_PATH_NAME_BYTES, .required = true},
    {"plays", SIM_FIELD_NAME, PATH_AT(path.plays), .names = plays_names},
    {"weight", SIM_FIELD_INTEGER, PATH_AT(path.weight), 0, 1000000},
    {"orders", SIM_FIELD_INTEGER, PATH_AT(path.orders), 0, 1000000},
    {"costs", SIM_FIELD_JSON, PATH_AT(costs)},
    {"id", SIM_FIELD_TEXT, PATH_AT(path.id), 1, SIM_PARAM_BYTES},
    {"items", SIM_FIELD_TEXT, PATH_AT(path.items), 0, SIM_PARAM_BYTES},
    {"body", SIM_FIELD_JSON, PATH_AT(body)},
    {"fail_status", SIM_FIELD_INTEGER, PATH_AT(path.fail_status), 200, 599},
    {0},
};

/* "POST /v5/order/create" into its parts. */
static bool name_split(struct sim_path *path, const char *where, struct sim_error *error)
{
    const char *space = strchr(path->name, ' ');
    size_t method_bytes = space ? (size_t)(space - path->name) : 0;
    size_t path_bytes;
    size_t i = 0;

    while (methods[i] && (strlen(methods[i]) != method_bytes ||
                          strncmp(methods[i], path->name, method_bytes) != 0)) {
        i++;
    }
    if (!methods[i] || space[1] != '/' || strchr(space + 1, ' ') ||
        strncmp(space + 1, "/sim/", 5) == 0) {
        return sim_error_set(error,
                             "%s.path=\"%s\": must be METHOD /path, of GET, POST, PUT, DELETE, "
                             "PATCH or ANY, and not under /sim/",
                             where, path->name);
    }
    snprintf(path->method, sizeof(path->method), "%s",
             strcmp(methods[i], "ANY") == 0 ? "" : methods[i]);
    snprintf(path->path, sizeof(path->path), "%s", space + 1);
    path_bytes = strlen(path->path);
    path->prefix = path->path[path_bytes - 1] == '*';
    if (path->prefix) {
        path->path[path_bytes - 1] = '\0';
    }
    return true;
}

static bool batch(const struct sim_path *path)
{
    return path->plays == SIM_PLAYS_BATCH_PLACE || path->plays == SIM_PLAYS_BATCH_CANCEL;
}

static bool costs_read(const json_t *list, const char *where, const struct sim_limit_rule *limits,
                       size_t limit_cnt, struct sim_path *path, struct sim_error *error)
{
    size_t cnt = json_array_size(list);
    size_t partial_cnt = 0;

    if (!json_is_array(list) || cnt > SIM_COST_MAX) {
        return sim_error_set(error, "%s.costs: must be a list of at most %d costs", where,
                             SIM_COST_MAX);
    }
    for (size_t i = 0; i < cnt; i++) {
        struct sim_cost_rule *cost = &path->costs[i];
        char place[64];

        snprintf(place, sizeof(place), "%s.costs[%zu]", where, i);
        if (!sim_cost_read(json_array_get(list, i), place, limits, limit_cnt, cost, error)) {
            return false;
        }
        for (size_t before = 0; before < i; before++) {
            if (path->costs[before].limit == cost->limit) {
                return sim_error_set(error, "%s.limit=\"%s\": already in costs[%zu]", place,
                                     cost->limit_name, before);
            }
        }
        if ((cost->per_item > 0 || cost->partial) && !batch(path)) {
            return sim_error_set(error,
                                 "%s.per_item: only a route that plays batch_place or batch_cancel "
                                 "has items",
                                 place);
        }
        if (cost->by_age.cnt > 0 && !*path->id) {
            return sim_error_set(error, "%s.age_brackets: the route's id must say which order",
                                 place);
        }
        partial_cnt += cost->partial;
    }
    if (partial_cnt > 1) {
        return sim_error_set(error, "%s.costs: only one may be partial", where);
    }
    path->cost_cnt = cnt;
    return true;
}

static bool body_take(const json_t *body, const char *where, struct sim_path *path,
                      struct sim_error *error)
{
    char *text = json_dumps(body, JSON_COMPACT);
    bool fits = text && strlen(text) <= SIM_PATH_BODY_BYTES;

    if (fits) {
        snprintf(path->body, sizeof(path->body), "%s", text);
    }
    free(text);
    return fits ||
           sim_error_set(error, "%s.body: must have at most %d bytes", where, SIM_PATH_BODY_BYTES);
}

static bool plays_check(const struct sim_path *path, const json_t *object, const char *where,
                        struct sim_error *error)
{
    if (path->plays >= SIM_PLAYS_PLACE && path->plays != SIM_PLAYS_QUOTES && !*path->id) {
        return sim_error_set(error, "%s.id: missing: a route that plays \"%s\" needs it", where,
                             plays_names[path->plays]);
    }
    if (!batch(path) && json_object_get(object, "items")) {
        return sim_error_set(error, "%s.items: a route that plays \"%s\" has none: take it out",
                             where, plays_names[path->plays]);
    }
    if (*path->body && path->plays != SIM_PLAYS_OK) {
        return sim_error_set(error, "%s.body: only a route that plays \"ok\" has one: take it out",
                             where);
    }
    return true;
}

bool sim_path_read(const json_t *object, const char *where, const struct sim_limit_rule *limits,
                   size_t limit_cnt, struct sim_path *out, struct sim_error *error)
{
    struct path_document *read = calloc(1, sizeof(*read));
    struct sim_path *path;
    bool good;

    if (!read) {
        return sim_error_set(error, "%s: out of memory", where);
    }
    path = &read->path;
    path->weight = SIM_PATH_UNSET;
    path->orders = SIM_PATH_UNSET;
    path->fail_status = 400;
    good = sim_json_read(object, where, path_fields, read, error) &&
           name_split(path, where, error) &&
           (!read->body || body_take(read->body, where, path, error)) &&
           plays_check(path, object, where, error) &&
           (!read->costs || costs_read(read->costs, where, limits, limit_cnt, path, error));
    if (good) {
        *out = *path;
    }
    free(read);
    return good;
}

const struct sim_path *sim_path_find(const struct sim_path *paths, size_t path_cnt,
                                     const char *method, const char *path)
{
    for (size_t i = 0; i < path_cnt; i++) {
        const struct sim_path *row = &paths[i];
        bool same = row->prefix ? strncmp(path, row->path, strlen(row->path)) == 0
                                : strcmp(path, row->path) == 0;

        if (same && (!*row->method || strcmp(row->method, method) == 0)) {
            return row;
        }
    }
    return NULL;
}
