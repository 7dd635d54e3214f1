#include "broker/backoff.h"

#include "shm/weir_pause.h"

uint64_t backoff_nominal_ns(const struct backoff_rule *rule, uint32_t level)
{
    uint64_t ns = weir_min_u64(rule->base_ns, rule->max_ns);
    for (uint32_t i = 0; i < level && rule->factor > 1 && ns < rule->max_ns; i++) {
        ns = ns > rule->max_ns / rule->factor ? rule->max_ns : ns * rule->factor;
    }
    return ns;
}

uint64_t backoff_pause_ns(const struct backoff_rule *rule, uint32_t level, uint64_t random)
{
    uint64_t ns = backoff_nominal_ns(rule, level);
    uint64_t swing_ns = weir_muldiv_u64(ns, rule->jitter_ppm, BACKOFF_WHOLE_PPM);
    return weir_min_u64(ns - swing_ns + weir_mulhi_u64(random, 2 * swing_ns + 1), rule->max_ns);
}

uint32_t backoff_next_level(const struct weir_shm_backoff *state, const struct backoff_rule *rule,
                            uint64_t now_ns)
{
    if (state->last_ns == 0) {
        return 0;
    }
    uint64_t quiet_ns = now_ns > state->until_ns ? now_ns - state->until_ns : 0;
    uint64_t fallen = quiet_ns / rule->quiet_ns;
    /* A level above the longest pause would have to be waited down again for nothing. */
    bool longest = backoff_nominal_ns(rule, state->level) >= rule->max_ns;
    uint64_t next = (uint64_t)state->level + (longest ? 0 : 1);
    return (uint32_t)weir_min_u64(next > fallen ? next - fallen : 0, BACKOFF_LEVEL_MAX);
}

/* No step: the rest of a burst, or what came too late. */
static enum backoff_step tell_old(struct weir_shm_backoff *state, const struct backoff_event *event,
                                  uint64_t told_ns)
{
    bool holds = event->now_ns < state->until_ns;
    if (told_ns > state->until_ns && (holds || event->cause == WEIR_PAUSE_BANNED)) {
        state->until_ns = told_ns;
        state->cause = event->cause;
    }
    return event->now_ns < state->until_ns ? BACKOFF_SAME : BACKOFF_LATE;
}

enum backoff_step backoff_tell(struct weir_shm_backoff *state, const struct backoff_rule *rule,
                               const struct backoff_event *event)
{
    uint64_t latest_ns = event->most_ns > 0 ? event->now_ns + event->most_ns : UINT64_MAX;
    uint64_t told_ns = weir_min_u64(event->told_until_ns, latest_ns);
    if (event->left_ns < state->resumed_ns) {
        return BACKOFF_LATE;
    }
    if (event->left_ns < state->until_ns) {
        return tell_old(state, event, told_ns);
    }
    uint32_t level = backoff_next_level(state, rule, event->now_ns);
    /* Whose word counts only so far must not raise the level beyond it: the next step may be another's. */
    while (event->most_ns > 0 && level > 0 && backoff_nominal_ns(rule, level) > event->most_ns) {
        level--;
    }
    uint64_t until_ns = event->now_ns + backoff_pause_ns(rule, level, event->random);
    state->until_ns = weir_max_u64(weir_min_u64(until_ns, latest_ns), told_ns);
    state->cause = event->cause;
    state->last_ns = event->now_ns;
    state->level = level;
    state->generation++;
    state->steps++;
    return BACKOFF_NEW;
}
