/* dst_faults.c: what goes wrong from outside: deaths, orders of operators, clocks. What goes wrong inside a call is drawn where it happens. */
#include "dst.h"

#include "shm/weir_attach.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

uint64_t dst_faults[DST_FAULT_CNT];
bool dst_allowed[DST_FAULT_CNT];

const char *const dst_fault_names[DST_FAULT_CNT] = {
    [DST_MEMBER_BANNED] = "member-banned",
    [DST_KEY_REFUSED] = "key-refused",
    [DST_BESIDE] = "hedged-beside",
    [DST_SIGN_IN_KILLED] = "sign-in-killed",
    [DST_SESSION_REVOKED] = "session-revoked",
    [DST_SESSION_ENDED] = "session-ended",
    [DST_TOKEN_ODD] = "token-odd",
    [DST_TOKEN_GIVEN] = "token-given",
    [DST_SECOND_USE] = "second-use",
    [DST_TURNED_AWAY] = "turned-away",
    [DST_WORKER_KILLED] = "worker-killed",
    [DST_CLIENT_KILLED] = "client-killed",
    [DST_BROKER_KILLED] = "broker-killed",
    [DST_SUPERVISOR_KILLED] = "supervisor-killed",
    [DST_BROKER_STOPPED] = "broker-stopped",
    [DST_HOST_CRASHED] = "host-crashed",
    [DST_STALLED] = "stalled",
    [DST_CONNECT_REFUSED] = "connect-refused",
    [DST_CONNECT_HUNG] = "connect-hung",
    [DST_RESET_UNSEEN] = "reset-unseen",
    [DST_RESET_SEEN] = "reset-seen",
    [DST_DEAD_REUSED] = "dead-reused",
    [DST_ANSWER_LOST] = "answer-lost",
    [DST_ANSWER_CUT] = "answer-cut",
    [DST_ANSWER_SLOW] = "answer-slow",
    [DST_ANSWER_5XX] = "answer-5xx",
    [DST_ANSWER_LARGE] = "answer-large",
    [DST_TOLD_429] = "told-429",
    [DST_TOLD_418] = "told-418",
    [DST_DISK_WRITE_FAILED] = "disk-write",
    [DST_DISK_WRITE_SHORT] = "disk-short",
    [DST_DISK_SYNC_FAILED] = "disk-sync",
    [DST_DISK_SLOW] = "disk-slow",
    [DST_DISK_TORN] = "disk-torn",
    [DST_UTC_STEPPED] = "utc-stepped",
    [DST_PAUSED] = "paused",
    [DST_RESUMED] = "resumed",
    [DST_BLOCKED] = "blocked",
    [DST_SCRIBBLED] = "scribbled",
    [DST_BELL_CUT] = "bell-cut",
    [DST_NEVER_READ] = "never-read",
    [DST_PERMIT_DROPPED] = "permit-dropped",
    [DST_CANCELLED] = "cancelled",
    [DST_OTHERS_CALLED] = "others-called",
    [DST_TOLD_NONSENSE] = "told-nonsense",
    [DST_COUNTED_LATE] = "counted-late",
    [DST_REFUNDED] = "refunded",
    [DST_SURCHARGED] = "surcharged",
    [DST_CQ_OVERFLOW] = "cq-overflow",
    [DST_READ_SHORT] = "read-short",
    [DST_INTERRUPTED] = "interrupted",
    [DST_TAKEOVER] = "takeover",
    [DST_TAKEN_OVER] = "taken-over",
    [DST_TAKEOVER_KILLED] = "takeover-killed",
    [DST_BATCH_ODD] = "batch-odd",
    [DST_HEDGED] = "hedged",
    [DST_RELOAD] = "reload",
    [DST_RELOADED] = "reloaded",
    [DST_RELOAD_REFUSED] = "reload-refused",
    [DST_FROM_DISK] = "answer-from-disk",
    [DST_STARTED_ANEW] = "started-anew",
};

static bool on;

bool dst_faults_on(void)
{
    return on;
}

bool dst_fault(enum dst_fault f, double p)
{
    bool hit =
        p > 0 &&
        dst_chance(p); /* drawn whatever is allowed, so that --faults keeps the rest of the run */
    if (!hit || !on || !dst_allowed[f]) {
        return false;
    }
    dst_faults[f]++;
    return true;
}

/* Condemn a process: it dies some points from now, at a store. */
static void condemn(struct dst_process *p)
{
    if (p->live && p->kill_in == 0) {
        p->kill_in = (long)dst_log_uniform(1, 3000);
    }
}

static void host_crash(void)
{
    for (unsigned i = 0; i < DST_CLIENTS_MAX; i++) {
        dst_kill(&dst_client_process[i]);
    }
    dst_kill(&dst_worker_process);
    dst_kill(&dst_supervisors[0]);
    dst_kill(&dst_supervisors[1]);
    dst_disk_host_crashed();
    dst_boot_number++;
    dst_now += dst_log_uniform(DST_S, 20 * DST_S); /* it boots */
    dst_boot_at = dst_now;
    dst_trace("host crashed", dst_boot_number, 0, 0);
}

static void worker_kill(void)
{
    if (dst_fault(DST_WORKER_KILLED, 1)) {
        condemn(&dst_worker_process);
    }
}

static void client_kill(void)
{
    if (dst_fault(DST_CLIENT_KILLED, 1)) {
        condemn(&dst_client_process[dst_below(dst_world.client_cnt)]);
    }
}

static void broker_kill(void)
{
    uint64_t what = dst_below(4);
    if (what == 0 && dst_fault(DST_BROKER_STOPPED, 1)) {
        dst_broker_stop();
    } else if (what == 1 && dst_fault(DST_SUPERVISOR_KILLED, 1)) {
        dst_kill(&dst_supervisor_process);
    } else if (what > 1 && dst_fault(DST_BROKER_KILLED, 1)) {
        dst_kill(&dst_worker_process);
        dst_kill(&dst_supervisor_process);
    }
}

static void takeover(void)
{
    if (dst_fault(DST_TAKEOVER, 1)) {
        dst_broker_takeover();
    }
}

static void reload(void)
{
    if (dst_fault(DST_RELOAD, 1)) {
        dst_broker_reload();
    }
}

static void restart(void)
{
    if (dst_fault(DST_BROKER_STOPPED, 1)) {
        dst_broker_stop();
    }
}

static void host_kill(void)
{
    if (dst_fault(DST_HOST_CRASHED, 1)) {
        host_crash();
    }
}

static void sign_in_event(void *arg, uint64_t what, uint64_t b)
{
    (void)arg;
    (void)b;
    if (what == 0) {
        host_crash();
    } else {
        dst_kill(&dst_supervisor_process);
        dst_kill(&dst_worker_process);
    }
}

/* Until the answer is in force: the worker alone, with its supervisor, or the host. */
void dst_faults_sign_in(void)
{
    if (!dst_fault(DST_SIGN_IN_KILLED, dst_world.mix.sign_in_kill)) {
        return;
    }
    uint64_t at = dst_now + dst_log_uniform(10 * DST_US, 400 * DST_MS);
    uint64_t what = dst_below(6);
    if (what == 0 && dst_world.mix.host_per_s > 0) {
        dst_at(at, sign_in_event, NULL, 0, 0);
    } else if (what == 1) {
        dst_at(at, sign_in_event, NULL, 1, 0);
    } else {
        dst_worker_process.kill_in = (long)dst_log_uniform(1, 3000);
    }
}

static void operate(void)
{
    char target[16];
    const char *provider = dst_world.provider[dst_below(dst_world.provider_cnt)].name;
    switch (dst_below(4)) {
    case 0:
        if (dst_fault(DST_PAUSED, 1)) {
            dst_broker_operate(WEIR_OPERATION_PAUSE, provider,
                               dst_log_uniform(100 * DST_MS, 20 * DST_S));
        }
        break;
    case 1:
        if (dst_fault(DST_RESUMED, 1)) {
            dst_broker_operate(WEIR_OPERATION_RESUME, provider, 0);
        }
        break;
    case 2:
        (void)snprintf(target, sizeof target, "%u", (unsigned)dst_below(4));
        if (dst_fault(DST_BLOCKED, 1)) {
            dst_broker_operate(WEIR_OPERATION_BLOCK, target, 0);
        }
        break;
    default:
        for (unsigned i = 0; i < 4; i++) {
            (void)snprintf(target, sizeof target, "%u", i);
            dst_broker_operate(WEIR_OPERATION_UNBLOCK, target, 0);
        }
        break;
    }
}

static void step(void)
{
    if (dst_fault(DST_UTC_STEPPED, 1)) {
        int64_t by = (int64_t)dst_log_uniform(DST_MS, 100 * DST_S);
        dst_utc_offset += dst_chance(0.5) ? by : -by;
        dst_trace("utc", (uint64_t)by, 0, 0);
    }
}

static const struct {
    size_t rate; /* offset in struct dst_mix */
    void (*does)(void);
} hazard[] = {
    {offsetof(struct dst_mix, worker_kills_per_s), worker_kill},
    {offsetof(struct dst_mix, client_kills_per_s), client_kill},
    {offsetof(struct dst_mix, broker_kills_per_s), broker_kill},
    {offsetof(struct dst_mix, host_per_s), host_kill},
    {offsetof(struct dst_mix, operate_per_s), operate},
    {offsetof(struct dst_mix, steps_per_s), step},
    {offsetof(struct dst_mix, takeovers_per_s), takeover},
    {offsetof(struct dst_mix, reloads_per_s), reload},
    {offsetof(struct dst_mix, restarts_per_s), restart},
};

static double rate_of(unsigned i)
{
    double rate;
    memcpy(&rate, (const char *)&dst_world.mix + hazard[i].rate, sizeof rate);
    return rate;
}

static void hazard_event(void *arg, uint64_t i, uint64_t b)
{
    (void)arg;
    (void)b;
    if (!on) {
        return;
    }
    hazard[i].does();
    dst_at(dst_now + dst_below((uint64_t)(2e9 / rate_of((unsigned)i)) + 1), hazard_event, NULL, i,
           0);
}

void dst_faults_start(void)
{
    on = true;
    for (unsigned i = 0; i < sizeof hazard / sizeof hazard[0]; i++) {
        double rate = rate_of(i);
        if (rate > 0) {
            dst_at(dst_now + DST_S + dst_below((uint64_t)(2e9 / rate) + 1), hazard_event, NULL, i,
                   0);
        }
    }
}

void dst_faults_stop(void)
{
    on = false;
    memset(&dst_world.mix, 0, sizeof dst_world.mix);
    dst_worker_process.kill_in = 0;
    dst_supervisors[0].kill_in = dst_supervisors[1].kill_in = 0; /* condemned in a takeover */
    for (unsigned i = 0; i < DST_CLIENTS_MAX; i++) {
        dst_client_process[i].kill_in = 0;
    }
}
