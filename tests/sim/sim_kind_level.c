/* Levels that time moves: the token bucket, and its mirror, the decaying counter. */
#include "sim_kind.h"

#include <math.h>

static double seconds(int64_t ns)
{
    return (double)ns / (double)SIM_NS_PER_S;
}

/* ---- token_bucket ---- */

static double filled(const struct sim_limit_rule *rule, double level, int64_t elapsed_ns)
{
    return fmin((double)rule->quota, level + seconds(elapsed_ns) * rule->refill_per_s);
}

static double bucket_level(const struct sim_limit_rule *rule, const struct sim_limit_count *count,
                           struct sim_instant now)
{
    return filled(rule, count->level, now.mono_ns - count->level_at_mono_ns);
}

static void bucket_open(const struct sim_limit_rule *rule, struct sim_limit_count *count,
                        struct sim_instant now)
{
    count->level = (double)rule->quota;
    count->level_min = count->level;
    count->debt_level = count->level;
    count->level_at_mono_ns = now.mono_ns;
}

static double bucket_used(const struct sim_limit_rule *rule, const struct sim_limit_count *count,
                          struct sim_instant now)
{
    return (double)rule->quota - bucket_level(rule, count, now);
}

static int64_t bucket_add(const struct sim_limit_rule *rule, struct sim_limit_count *count,
                          int64_t units, struct sim_instant now)
{
    double level = bucket_level(rule, count, now) - (double)units;

    /* Both are filled lazily, "by the time since the previous request". */
    count->debt_level = filled(rule, count->debt_level, now.mono_ns - count->level_at_mono_ns);
    count->level = fabs(level) < SIM_LEVEL_ROUNDING ? 0.0 : level;
    count->level_at_mono_ns = now.mono_ns;
    count->level_min = fmin(count->level_min, count->level);
    return 0;
}

static void bucket_take_back(const struct sim_limit_rule *rule, struct sim_limit_count *count,
                             int64_t receipt, int64_t units, struct sim_instant now)
{
    (void)receipt;
    (void)now;
    count->level = filled(rule, count->level + (double)units, 0);
    count->debt_level = filled(rule, count->debt_level + (double)units, 0);
}

static int64_t bucket_wait_ns(const struct sim_limit_rule *rule,
                              const struct sim_limit_count *count, double missing,
                              struct sim_instant now)
{
    (void)count;
    (void)now;
    return (int64_t)(missing / rule->refill_per_s * (double)SIM_NS_PER_S);
}

/* Until it is full. */
static int64_t bucket_reset_ns(const struct sim_limit_rule *rule,
                               const struct sim_limit_count *count, struct sim_instant now)
{
    return bucket_wait_ns(rule, count, bucket_used(rule, count, now), now);
}

static double bucket_allowed(const struct sim_limit_rule *rule, const struct sim_limit_count *count)
{
    return (double)rule->quota +
           seconds(count->last_mono_ns - count->first_mono_ns) * rule->refill_per_s;
}

const struct sim_kind sim_kind_token_bucket = {
    .open = bucket_open,
    .used = bucket_used,
    .add = bucket_add,
    .take_back = bucket_take_back,
    .wait_ns = bucket_wait_ns,
    .reset_ns = bucket_reset_ns,
    .allowed = bucket_allowed,
};

/* ---- decay: the server walks its counters at ticks, all callers' alike ---- */

static int64_t step_ns(const struct sim_limit_rule *rule)
{
    return rule->step_ms * SIM_NS_PER_MS;
}

static double decayed(const struct sim_limit_rule *rule, int64_t from_mono_ns, int64_t to_mono_ns)
{
    if (rule->step_ms == 0) {
        return seconds(to_mono_ns - from_mono_ns) * rule->decay_per_s;
    }
    return (double)(to_mono_ns / step_ns(rule) - from_mono_ns / step_ns(rule)) *
           (seconds(step_ns(rule)) * rule->decay_per_s);
}

static double decay_used(const struct sim_limit_rule *rule, const struct sim_limit_count *count,
                         struct sim_instant now)
{
    return fmax(0.0, count->level - decayed(rule, count->level_at_mono_ns, now.mono_ns));
}

static void decay_open(const struct sim_limit_rule *rule, struct sim_limit_count *count,
                       struct sim_instant now)
{
    (void)rule;
    count->level_at_mono_ns = now.mono_ns;
}

static int64_t decay_add(const struct sim_limit_rule *rule, struct sim_limit_count *count,
                         int64_t units, struct sim_instant now)
{
    count->level = decay_used(rule, count, now) + (double)units;
    count->level_at_mono_ns = now.mono_ns;
    count->level_max = fmax(count->level_max, count->level);
    return 0;
}

static void decay_take_back(const struct sim_limit_rule *rule, struct sim_limit_count *count,
                            int64_t receipt, int64_t units, struct sim_instant now)
{
    (void)rule;
    (void)receipt;
    (void)now;
    count->level = fmax(0.0, count->level - (double)units);
}

static int64_t decay_wait_ns(const struct sim_limit_rule *rule, const struct sim_limit_count *count,
                             double missing, struct sim_instant now)
{
    double per_step = seconds(step_ns(rule)) * rule->decay_per_s;
    int64_t ticks;

    (void)count;
    if (rule->step_ms == 0) {
        return (int64_t)(missing / rule->decay_per_s * (double)SIM_NS_PER_S);
    }
    ticks = (int64_t)ceil(missing / per_step - SIM_LEVEL_ROUNDING);
    return (now.mono_ns / step_ns(rule) + ticks) * step_ns(rule) - now.mono_ns;
}

/* Until it is zero. */
static int64_t decay_reset_ns(const struct sim_limit_rule *rule,
                              const struct sim_limit_count *count, struct sim_instant now)
{
    double used = decay_used(rule, count, now);

    return used > 0 ? decay_wait_ns(rule, count, used, now) : 0;
}

static double decay_allowed(const struct sim_limit_rule *rule, const struct sim_limit_count *count)
{
    return (double)rule->quota + decayed(rule, count->first_mono_ns, count->last_mono_ns);
}

const struct sim_kind sim_kind_decay = {
    .open = decay_open,
    .used = decay_used,
    .add = decay_add,
    .take_back = decay_take_back,
    .wait_ns = decay_wait_ns,
    .reset_ns = decay_reset_ns,
    .allowed = decay_allowed,
};
