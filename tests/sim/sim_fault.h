/*
 * Faults: what goes wrong on purpose, for which calls, how often. A call takes
 * the first fault that matches it. Faults spoil the answer, not the call: it
 * is counted and an order is accepted, except under reset_before_count.
 */
#ifndef SIM_FAULT_H
#define SIM_FAULT_H

#include "sim_json.h"

#include <stdbool.h>
#include <stdint.h>

/* The order is that of the names in sim_fault.c. */
enum sim_fault_kind {
    SIM_FAULT_RESET,              /* RST instead of an answer */
    SIM_FAULT_RESET_BEFORE_COUNT, /* RST, and the exchange never saw the call */
    SIM_FAULT_STALL,              /* silence, then the connection is closed */
    SIM_FAULT_HALF_BODY,          /* announces the body, sends half, closes */
    SIM_FAULT_STATUS,             /* another status in place of the answer */
    SIM_FAULT_SLOW_FIRST_BYTE,    /* the right answer, late */
    SIM_FAULT_CLOSE_IDLE,         /* answers, then closes without having said so */
    SIM_FAULT_ACCEPT_LATE,        /* RST now; the exchange takes the call delay_ms later */
};

enum { SIM_FAULT_MAX = 64, SIM_FAULT_ENDLESS = -1 };

struct sim_fault {
    int kind;
    char method[8]; /* "" = any */
    char path[128]; /* "" = any outside /sim/ */
    int64_t status;
    int64_t retry_after_s; /* SIM_FAULT_STATUS: 0 = no Retry-After */
    int64_t delay_ms;      /* before the fault shows */
    int64_t count;         /* times left; SIM_FAULT_ENDLESS */
    double probability;
    bool reused_only; /* only on a connection that has answered before */
    int64_t hit_cnt;
};

struct sim_faults {
    struct sim_fault list[SIM_FAULT_MAX];
    int cnt;
};

bool sim_fault_read(const json_t *object, const char *where, struct sim_fault *out,
                    struct sim_error *error);

/* False when the list is full. */
bool sim_fault_add(struct sim_faults *faults, const struct sim_fault *fault);

/* The fault that this call takes, used up by one; kind, status and delays of
   the copy in OUT. False: none. CHANCE is uniform in [0, 1). */
bool sim_fault_take(struct sim_faults *faults, const char *method, const char *path, bool reused,
                    double chance, struct sim_fault *out);

json_t *sim_faults_json(const struct sim_faults *faults);

#endif
