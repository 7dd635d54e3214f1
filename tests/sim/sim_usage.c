#include "sim_usage.h"
#include "sim_clock.h"

#include <stdio.h>
#include <string.h>

static const char *const what_names[] = {
    "used",       "remaining",   "limit",      "reset_s",     "reset_ms",
    "reset_in_s", "reset_in_ms", "interval_s", "interval_ms", NULL,
};
static const char *const on_names[] = {"counted", "every", "success", "refused", NULL};

#define REPORT_AT(member) offsetof(struct sim_report_rule, member)

static const struct sim_field report_fields[] = {
    {"header", SIM_FIELD_TEXT, REPORT_AT(header), 1, SIM_HEADER_NAME_BYTES},
    {"field", SIM_FIELD_TEXT, REPORT_AT(field), 1, SIM_FIELD_PATH_BYTES},
    {"what", SIM_FIELD_NAME, REPORT_AT(what), .names = what_names, .required = true},
    {"on", SIM_FIELD_NAME, REPORT_AT(on), .names = on_names},
    {"missing", SIM_FIELD_NUMBER, REPORT_AT(missing), 0, 1},
    {"minus_one", SIM_FIELD_NUMBER, REPORT_AT(minus_one), 0, 1},
    {"text", SIM_FIELD_FLAG, REPORT_AT(text)},
    {0},
};

bool sim_header_check(const char *where, const char *key, const char *header,
                      struct sim_error *error)
{
    if (strspn(header, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-") !=
        strlen(header)) {
        return sim_error_set(error, "%s.%s=\"%s\": must be of letters, digits and '-'", where, key,
                             header);
    }
    return true;
}

static bool report_check(const struct sim_report_rule *rule, const char *where,
                         struct sim_error *error)
{
    if (!*rule->header == !*rule->field) {
        return sim_error_set(error, "%s: must name either a header or a field", where);
    }
    if (rule->text && *rule->header) {
        return sim_error_set(error, "%s.text: a header is always text: take it out", where);
    }
    return sim_header_check(where, "header", rule->header, error);
}

bool sim_reports_read(const json_t *list, const char *where, struct sim_reports *out,
                      struct sim_error *error)
{
    size_t cnt = json_array_size(list);

    if (!json_is_array(list) || cnt > SIM_REPORT_MAX) {
        return sim_error_set(error, "%s: must be a list of at most %d reports", where,
                             SIM_REPORT_MAX);
    }
    for (size_t i = 0; i < cnt; i++) {
        char place[96];

        snprintf(place, sizeof(place), "%s[%zu]", where, i);
        if (!sim_json_read(json_array_get(list, i), place, report_fields, &out->list[i], error) ||
            !report_check(&out->list[i], place, error)) {
            return false;
        }
    }
    out->cnt = cnt;
    return true;
}

void sim_usage_note(struct sim_usage_past *past, const struct sim_usage *usage, int64_t mono_ns)
{
    size_t at = past->cnt++ % SIM_USAGE_PAST_MAX;

    past->ring[at].mono_ns = mono_ns;
    past->ring[at].usage = *usage;
}

const struct sim_usage *sim_usage_at(const struct sim_usage_past *past, int64_t mono_ns)
{
    size_t kept = past->cnt < SIM_USAGE_PAST_MAX ? past->cnt : SIM_USAGE_PAST_MAX;
    const struct sim_usage *found = NULL;

    for (size_t i = past->cnt; i-- > past->cnt - kept;) {
        found = &past->ring[i % SIM_USAGE_PAST_MAX].usage;
        if (past->ring[i % SIM_USAGE_PAST_MAX].mono_ns <= mono_ns) {
            break;
        }
    }
    return found;
}

static int64_t up(int64_t value, int64_t unit)
{
    return value / unit + (value % unit > 0);
}

int64_t sim_usage_value(const struct sim_usage *usage, int what, int64_t now_utc_ns)
{
    int64_t left_ns = usage->reset_utc_ns > now_utc_ns ? usage->reset_utc_ns - now_utc_ns : 0;

    switch (what) {
    case SIM_REPORT_USED:
        return usage->used;
    case SIM_REPORT_REMAINING:
        return usage->remaining;
    case SIM_REPORT_LIMIT:
        return usage->limit;
    case SIM_REPORT_RESET_S:
        return up(usage->reset_utc_ns, SIM_NS_PER_S);
    case SIM_REPORT_RESET_MS:
        return up(usage->reset_utc_ns, SIM_NS_PER_MS);
    case SIM_REPORT_RESET_IN_S:
        return up(left_ns, SIM_NS_PER_S);
    case SIM_REPORT_RESET_IN_MS:
        return up(left_ns, SIM_NS_PER_MS);
    case SIM_REPORT_INTERVAL_S:
        return up(usage->interval_ms, 1000);
    default:
        return usage->interval_ms;
    }
}

bool sim_report_shown(const struct sim_report_rule *rule, bool counted, bool success, bool refused,
                      double missing_chance, double minus_chance, int64_t *value)
{
    const bool fits[] = {counted, true, counted && success, counted && refused};

    if (!fits[rule->on] || missing_chance < rule->missing) {
        return false;
    }
    if (minus_chance < rule->minus_one) {
        *value = -1;
    }
    return true;
}

bool sim_field_set(json_t *body, const char *path, json_t *value)
{
    const char *dot = strchr(path, '.');
    char key[SIM_FIELD_PATH_BYTES + 1];
    json_t *child;

    if (!json_is_object(body)) {
        json_decref(value);
        return false;
    }
    if (!dot) {
        json_object_set_new(body, path, value);
        return true;
    }
    snprintf(key, sizeof(key), "%.*s", (int)(dot - path), path);
    child = json_object_get(body, key);
    if (!child) {
        child = json_object();
        json_object_set_new(body, key, child);
    }
    return sim_field_set(child, dot + 1, value);
}
