/*
 * supervisor_quiet.c: how long the supervisor waits for a worker that makes way, for a successor or for a reload.
 *
 * Calls it follows for `broker.drain` at most. Before that it may wait for a sign-in, with its calls going on; whoever kills it in that time loses the refresh token. So that time does not count,
 * and a token that no disk takes is worth more than a takeover or a reload: they are given up, and may be tried again.
 */
#include "broker/supervisor_inside.h"

/* A worker that is so much later than it should have been quiet hangs. */
#define QUIET_MAX_NS (3 * WEIR_NS_PER_S)

enum quiet quiet_judge(struct supervisor *s, uint64_t since_ns, uint64_t now_ns)
{
    if (sign_in_at_stake(&s->region)) {
        s->at_stake_ns = now_ns;
        return now_ns - since_ns > sign_in_longest_ns(s->config) + QUIET_MAX_NS ? QUIET_GIVE_UP
                                                                                : QUIET_WAIT;
    }
    uint64_t from_ns = weir_max_u64(since_ns, s->at_stake_ns);
    return now_ns - from_ns > s->config->broker.drain_ns + QUIET_MAX_NS ? QUIET_KILL : QUIET_WAIT;
}
