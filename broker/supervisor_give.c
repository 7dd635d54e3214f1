/*
 * supervisor_give.c: a successor asks, our worker comes to rest, and all is given.
 */
#include "broker/supervisor_inside.h"

#include "broker/log.h"
#include "shm/weir_atomic.h"
#include "shm/weir_weave.h"

#include <signal.h>

/* A taker that asks nothing for so long hangs. */
#define TAKER_MAX_NS (10 * WEIR_NS_PER_S)

void giver_end(struct supervisor *s)
{
    enum handover_end end = handover_finish(&s->handover, &s->region);
    s->left = end != HANDOVER_BACK;
    s->left_status = end == HANDOVER_GIVEN ? 0 : 1;
    if (!s->left) {
        WEIR_WEAVE("lease:back");
        weir_store_release_u64(&s->region.gate->lease_until_ns, /* no partner: compared with time */
                               weir_clock_monotonic_ns() + LEASE_NS);
        supervisor_worker_start(s);
    }
}

static const struct client_info *client_next(void *arg, uint32_t from, int *socket)
{
    struct supervisor *s = arg;
    for (uint32_t i = from; i < WEIR_CLIENTS_MAX; i++) {
        if (s->admission.used[i]) {
            *socket = admission_socket(&s->admission, i);
            return &s->admission.client[i];
        }
    }
    return NULL;
}

void giver_lost(struct supervisor *s)
{
    const struct control_message go_on = {.kind = CONTROL_GO_ON};
    if (s->quiesce_told && s->worker_control >= 0) {
        (void)control_send(s->worker_control, &go_on, sizeof go_on, NULL, 0);
    }
    s->quiesce_told = false;
}

void giver_event(struct supervisor *s, uint32_t index)
{
    const struct handover_clients clients = {
        .next = client_next, .arg = s, .listener = s->admission.listener};
    if (index == 0) {
        if (handover_accept(&s->handover)) {
            reload_lost(s); /* who comes has a configuration of its own */
            s->quiesce_told = false;
            supervisor_watch(s, s->handover.socket, WATCH_HANDOVER, 1);
        }
        return;
    }
    switch (handover_is_on(&s->handover) ? handover_read(&s->handover, &s->region, &clients)
                                         : HANDOVER_NOTHING) {
    case HANDOVER_LOST:
        giver_lost(s);
        break;
    case HANDOVER_IS_READY:
        if (s->worker_control < 0) {
            giver_end(s); /* no worker lives: there is nothing to wait for */
        } else {
            supervisor_tell(s);
        }
        break;
    case HANDOVER_NOTHING:
    default:
        break;
    }
}

static void make_way_beat(struct supervisor *s, uint64_t now_ns)
{
    switch (quiet_judge(s, s->handover.since_ns, now_ns)) {
    case QUIET_KILL:
        log_warn("worker_hangs", "s:s", "meaning", "it is killed, and the successor goes on");
        (void)kill(s->worker_pid, SIGKILL);
        break;
    case QUIET_GIVE_UP:
        log_warn("takeover_ended", "s:i, s:s", "taker", (int)s->handover.taker_pid, "meaning",
                 "the worker has a refresh token that no disk takes: this broker goes on");
        handover_refuse(&s->handover, "it has a refresh token that no disk takes, and would lose "
                                      "its sign-in: look for sign_in_not_kept in its log");
        giver_lost(s);
        break;
    case QUIET_WAIT:
        break;
    }
}

void giver_beat(struct supervisor *s, uint64_t now_ns)
{
    struct handover *h = &s->handover;
    if (h->stage == HANDOVER_ASKS && now_ns - h->since_ns > TAKER_MAX_NS) {
        log_warn("takeover_hangs", "s:i", "taker", (int)h->taker_pid);
        handover_drop(h);
    } else if (h->stage == HANDOVER_READY && s->worker_pid > 0) {
        make_way_beat(s, now_ns);
    }
}
