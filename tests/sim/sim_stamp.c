#include "sim_stamp.h"
#include "sim_clock.h"

#include <stdio.h>

static const char *const unit_names[] = {"s", "ms", "us", "ns", NULL};
static const int64_t unit_ns[] = {SIM_NS_PER_S, SIM_NS_PER_MS, 1000, 1};

#define STAMP_AT(member) offsetof(struct sim_stamp_rule, member)

static const struct sim_field stamp_fields[] = {
    {"header", SIM_FIELD_TEXT, STAMP_AT(header), 1, SIM_HEADER_NAME_BYTES},
    {"field", SIM_FIELD_TEXT, STAMP_AT(field), 1, SIM_FIELD_PATH_BYTES},
    {"path", SIM_FIELD_TEXT, STAMP_AT(path), 1, SIM_STAMP_PATH_BYTES},
    {"unit", SIM_FIELD_NAME, STAMP_AT(unit), .names = unit_names, .required = true},
    {"text", SIM_FIELD_FLAG, STAMP_AT(text)},
    {0},
};

static bool stamp_check(const struct sim_stamp_rule *rule, const char *where,
                        struct sim_error *error)
{
    if (!*rule->header == !*rule->field) {
        return sim_error_set(error, "%s: must name either a header or a field", where);
    }
    if (rule->text && *rule->header) {
        return sim_error_set(error, "%s.text: a header is always text: take it out", where);
    }
    if (*rule->path && *rule->path != '/') {
        return sim_error_set(error, "%s.path=\"%s\": must begin with '/'", where, rule->path);
    }
    return sim_header_check(where, "header", rule->header, error);
}

bool sim_stamps_read(const json_t *list, struct sim_stamps *out, struct sim_error *error)
{
    size_t cnt = json_array_size(list);

    if (!json_is_array(list) || cnt > SIM_STAMP_MAX) {
        return sim_error_set(error, "times: must be a list of at most %d times", SIM_STAMP_MAX);
    }
    for (size_t i = 0; i < cnt; i++) {
        char where[32];

        snprintf(where, sizeof(where), "times[%zu]", i);
        if (!sim_json_read(json_array_get(list, i), where, stamp_fields, &out->list[i], error) ||
            !stamp_check(&out->list[i], where, error)) {
            return false;
        }
    }
    out->cnt = cnt;
    return true;
}

int64_t sim_stamp_value(const struct sim_stamp_rule *rule, int64_t utc_ns)
{
    return utc_ns / unit_ns[rule->unit] - (utc_ns % unit_ns[rule->unit] < 0);
}
