#include "sim_fault.h"

#include <string.h>

/* Long enough for every client timeout in tests, short enough to end. */
static const int64_t stall_default_ms = 60000;
static const int64_t slow_default_ms = 1000;

static const char *const kind_names[] = {
    "reset",           "reset_before_count", "stall",       "half_body", "status",
    "slow_first_byte", "close_idle",         "accept_late", NULL,
};

#define FAULT_AT(member) offsetof(struct sim_fault, member)

static const struct sim_field fault_fields[] = {
    {"kind", SIM_FIELD_NAME, FAULT_AT(kind), .names = kind_names, .required = true},
    {"method", SIM_FIELD_TEXT, FAULT_AT(method), 1, sizeof(((struct sim_fault *)0)->method) - 1},
    {"path", SIM_FIELD_TEXT, FAULT_AT(path), 1, sizeof(((struct sim_fault *)0)->path) - 1},
    {"status", SIM_FIELD_INTEGER, FAULT_AT(status), 200, 599},
    {"retry_after_s", SIM_FIELD_INTEGER, FAULT_AT(retry_after_s), 0, 86400},
    {"delay_ms", SIM_FIELD_INTEGER, FAULT_AT(delay_ms), 0, 3600000},
    {"count", SIM_FIELD_INTEGER, FAULT_AT(count), 1, 1e9},
    {"probability", SIM_FIELD_NUMBER, FAULT_AT(probability), 0, 1},
    {"reused_only", SIM_FIELD_FLAG, FAULT_AT(reused_only)},
    {0},
};

bool sim_fault_read(const json_t *object, const char *where, struct sim_fault *out,
                    struct sim_error *error)
{
    enum { DELAY_UNSET = -1 };

    *out = (struct sim_fault){
        .status = 503, .count = SIM_FAULT_ENDLESS, .probability = 1.0, .delay_ms = DELAY_UNSET};
    if (!sim_json_read(object, where, fault_fields, out, error)) {
        return false;
    }
    if (out->delay_ms == DELAY_UNSET) {
        out->delay_ms = out->kind == SIM_FAULT_STALL             ? stall_default_ms
                        : out->kind == SIM_FAULT_SLOW_FIRST_BYTE ? slow_default_ms
                        : out->kind == SIM_FAULT_ACCEPT_LATE     ? slow_default_ms
                                                                 : 0;
    }
    return true;
}

bool sim_fault_add(struct sim_faults *faults, const struct sim_fault *fault)
{
    if (faults->cnt == SIM_FAULT_MAX) {
        return false;
    }
    faults->list[faults->cnt++] = *fault;
    return true;
}

static bool fault_matches(const struct sim_fault *fault, const char *method, const char *path,
                          bool reused)
{
    return fault->count != 0 && (!*fault->method || strcmp(fault->method, method) == 0) &&
           (!*fault->path || strcmp(fault->path, path) == 0) && (reused || !fault->reused_only);
}

bool sim_fault_take(struct sim_faults *faults, const char *method, const char *path, bool reused,
                    double chance, struct sim_fault *out)
{
    for (int i = 0; i < faults->cnt; i++) {
        struct sim_fault *fault = &faults->list[i];

        if (fault_matches(fault, method, path, reused) && chance < fault->probability) {
            fault->hit_cnt++;
            fault->count -= fault->count != SIM_FAULT_ENDLESS;
            *out = *fault;
            return true;
        }
    }
    return false;
}

json_t *sim_faults_json(const struct sim_faults *faults)
{
    json_t *list = json_array();

    for (int i = 0; i < faults->cnt; i++) {
        const struct sim_fault *fault = &faults->list[i];

        json_array_append_new(
            list,
            json_pack("{s:s, s:s, s:s, s:I, s:I, s:I, s:I, s:f, s:b, s:I}", "kind",
                      kind_names[fault->kind], "method", fault->method, "path", fault->path,
                      "status", (json_int_t)fault->status, "retry_after_s",
                      (json_int_t)fault->retry_after_s, "delay_ms", (json_int_t)fault->delay_ms,
                      "count_left", (json_int_t)fault->count, "probability", fault->probability,
                      "reused_only", fault->reused_only, "hits", (json_int_t)fault->hit_cnt));
    }
    return list;
}
