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
#include "sim_path.h"
#include "sim_route.h"
#include "sim_session.h"
#include "sim_signature.h"
#include "sim_stamp.h"

enum { SIM_LIMIT_MAX = 16, SIM_ACCOUNT_MAX = 64, SIM_KEY_BYTES = 127 };

/* Several keys of one account share the counts of scope `account`. */
struct sim_account {
    char key[SIM_KEY_BYTES + 1];
    char account[SIM_KEY_BYTES + 1];
};

struct sim_config {
    int64_t clock_offset_ms;
    int64_t clock_drift_ppm;
    bool clock_drift_spans;
    struct sim_limit_rule limits[SIM_LIMIT_MAX];
    size_t limit_cnt;
    struct sim_ban_rule ban;
    int ban_scope; /* SIM_SCOPE_IP or SIM_SCOPE_KEY: who is banned */
    struct sim_refusal ban_refuse;
    struct sim_weights weights;
    struct sim_path paths[SIM_PATH_MAX];
    size_t path_cnt;
    struct sim_stamps times;
    bool trust_sim_ip;
    char key_header[SIM_HEADER_NAME_BYTES + 1];
    char key_param[SIM_PARAM_BYTES + 1]; /* of the query; "" = none */
    struct sim_account accounts[SIM_ACCOUNT_MAX];
    size_t account_cnt;
    struct sim_signature_rule signature;
    struct sim_session_rule session;
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

/* The list `limits`, in place of the default ones: sim_config_limit.c. */
bool sim_config_limits_read(const json_t *list, struct sim_config *config, struct sim_error *error);
void sim_config_limits_default(struct sim_config *config);

const char *sim_limit_kind_name(int kind);
const char *sim_limit_scope_name(int scope);
const char *sim_limit_every_name(int every);

#endif
