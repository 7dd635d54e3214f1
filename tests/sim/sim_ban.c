#include "sim_ban.h"
#include "sim_clock.h"

bool sim_ban_holds(const struct sim_ban *ban, int64_t now_mono_ns)
{
    return ban->ban_cnt > 0 && now_mono_ns < ban->until_mono_ns;
}

/* Of the ban after CNT others. */
static int64_t length_ms(const struct sim_ban_rule *rule, int64_t cnt)
{
    double longest_ms = (double)rule->max_ms;
    double ms = (double)rule->first_ms;

    for (int64_t i = 0; i < cnt && ms < longest_ms; i++) {
        ms *= rule->growth;
        if (rule->growth <= 1) {
            break; /* it will not grow any more */
        }
    }
    return ms < longest_ms ? (int64_t)ms : rule->max_ms;
}

void sim_ban_refuse(const struct sim_ban_rule *rule, struct sim_ban *ban, int64_t now_mono_ns)
{
    ban->refused_cnt++;
    if (rule->extend) {
        ban->until_mono_ns = now_mono_ns + length_ms(rule, ban->ban_cnt - 1) * SIM_NS_PER_MS;
    }
}

bool sim_ban_violation(const struct sim_ban_rule *rule, struct sim_ban *ban, int64_t now_mono_ns)
{
    if (now_mono_ns - ban->span_from_mono_ns >= rule->window_ms * SIM_NS_PER_MS) {
        ban->violation_cnt = 0;
    }
    if (ban->violation_cnt == 0) {
        ban->span_from_mono_ns = now_mono_ns;
    }
    ban->violation_cnt++;
    if (rule->after == 0 || ban->violation_cnt < rule->after) {
        return false;
    }
    ban->past_ns += ban->until_mono_ns - ban->from_mono_ns;
    ban->from_mono_ns = now_mono_ns;
    ban->until_mono_ns = now_mono_ns + length_ms(rule, ban->ban_cnt) * SIM_NS_PER_MS;
    ban->ban_cnt++;
    ban->violation_cnt = 0;
    return true;
}

int64_t sim_ban_spent_ns(const struct sim_ban *ban, int64_t now_mono_ns)
{
    int64_t end_ns = sim_ban_holds(ban, now_mono_ns) ? now_mono_ns : ban->until_mono_ns;

    return ban->past_ns + end_ns - ban->from_mono_ns;
}
