/* The exchange's time in its answers: a header or a field, in s, ms, us or ns. */
#ifndef SIM_STAMP_H
#define SIM_STAMP_H

#include "sim_usage.h"

enum { SIM_STAMP_MAX = 8, SIM_STAMP_PATH_BYTES = 136 };

struct sim_stamp_rule {
    char header[SIM_HEADER_NAME_BYTES + 1]; /* one of the two is "" */
    char field[SIM_FIELD_PATH_BYTES + 1];
    char path[SIM_STAMP_PATH_BYTES + 1]; /* only there; "" = on every answer */
    int unit;
    bool text; /* a field: "12" in place of 12 */
};

struct sim_stamps {
    struct sim_stamp_rule list[SIM_STAMP_MAX];
    size_t cnt;
};

bool sim_stamps_read(const json_t *list, struct sim_stamps *out, struct sim_error *error);

/* Cut off, as clocks read: never later than UTC_NS. */
int64_t sim_stamp_value(const struct sim_stamp_rule *rule, int64_t utc_ns);

#endif
