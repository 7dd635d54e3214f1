/*
 * The configuration: Binance's spot rules by default, changed by a JSON file.
 * The reference table is in README.md.
 */
#ifndef SIM_CONFIG_H
#define SIM_CONFIG_H

#include "sim_ban.h"
#include "sim_fault.h"
#include "sim_json.h"
#include "sim_limit.h"
#include "sim_route.h"

enum { SIM_LIMIT_MAX = 16 };

struct sim_config {
    int64_t clock_offset_ms;
    struct sim_limit_rule limits[SIM_LIMIT_MAX];
    size_t limit_cnt;
    struct sim_ban_rule ban;
    struct sim_weights weights;
    bool trust_sim_ip;
    int64_t latency_ms; /* from counting to the answer */
    int64_t jitter_ms;
    int64_t count_delay_ms; /* from arrival to counting */
    int64_t count_jitter_ms;
    int64_t seed;
    struct sim_faults faults;
};

void sim_config_default(struct sim_config *config);

/* Each fills CONFIG from the default. False: ERROR says what is wrong and what
   is allowed. */
bool sim_config_read(const char *text, struct sim_config *config, struct sim_error *error);
bool sim_config_load(const char *path, struct sim_config *config, struct sim_error *error);

const char *sim_limit_kind_name(int kind);
const char *sim_limit_scope_name(int scope);

#endif
