/*
 * What an exchange tells about a limit: which number, in which header or field
 * of the body, on which answers, and how it goes wrong (missing, -1, late).
 */
#ifndef SIM_USAGE_H
#define SIM_USAGE_H

#include "sim_json.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    SIM_HEADER_NAME_BYTES = 64,
    SIM_FIELD_PATH_BYTES = 64,
    SIM_REPORT_MAX = 8,
    SIM_USAGE_PAST_MAX = 32
};

/* The order of each enum is the order of its names in sim_usage.c. */
enum sim_report_what {
    SIM_REPORT_USED,
    SIM_REPORT_REMAINING,
    SIM_REPORT_LIMIT,
    SIM_REPORT_RESET_S, /* epoch, rounded up */
    SIM_REPORT_RESET_MS,
    SIM_REPORT_RESET_IN_S, /* from now, rounded up */
    SIM_REPORT_RESET_IN_MS,
    SIM_REPORT_INTERVAL_S,
    SIM_REPORT_INTERVAL_MS
};
enum sim_report_on { SIM_ON_COUNTED, SIM_ON_EVERY, SIM_ON_SUCCESS, SIM_ON_REFUSED };

struct sim_report_rule {
    char header[SIM_HEADER_NAME_BYTES + 1]; /* one of the two is "" */
    char field[SIM_FIELD_PATH_BYTES + 1]; /* "rate.left": in the body, when that is a JSON object */
    int what;
    int on;
    double missing;   /* share of the answers that lack it */
    double minus_one; /* share of the answers that say -1 */
    bool text;        /* a field: "12" in place of 12 */
};

struct sim_reports {
    struct sim_report_rule list[SIM_REPORT_MAX];
    size_t cnt;
    int64_t delay_ms; /* each answer quotes an instant drawn from so long ago until now */
};

struct sim_usage {
    int64_t used;
    int64_t remaining;
    int64_t limit;
    int64_t interval_ms;
    int64_t reset_utc_ns;
};

/* The last states of a count, oldest first after the oldest was overwritten. */
struct sim_usage_past {
    struct {
        int64_t mono_ns;
        struct sim_usage usage;
    } ring[SIM_USAGE_PAST_MAX];
    size_t cnt; /* ever noted */
};

bool sim_reports_read(const json_t *list, const char *where, struct sim_reports *out,
                      struct sim_error *error);

void sim_usage_note(struct sim_usage_past *past, const struct sim_usage *usage, int64_t mono_ns);

/* The state at MONO_NS, or the oldest that is kept; NULL when none ever was. */
const struct sim_usage *sim_usage_at(const struct sim_usage_past *past, int64_t mono_ns);

int64_t sim_usage_value(const struct sim_usage *usage, int what, int64_t now_utc_ns);

/* True: this answer carries it. The chances are uniform in [0, 1); *VALUE turns
   to -1 by MINUS_CHANCE. */
bool sim_report_shown(const struct sim_report_rule *rule, bool counted, bool success, bool refused,
                      double missing_chance, double minus_chance, int64_t *value);

/* Headers are letters, digits and '-'. False: ERROR names WHERE.KEY. */
bool sim_header_check(const char *where, const char *key, const char *header,
                      struct sim_error *error);

/* Sets BODY.a.b for the path "a.b", making objects on the way. Takes over
   VALUE. False: something on the way is no object. */
bool sim_field_set(json_t *body, const char *path, json_t *value);

#endif
