/* Calls in progress at once, or connections open at once. */
#include "sim_kind.h"

static void busy_sum(struct sim_limit_count *count, struct sim_instant now)
{
    count->busy_unit_ns += count->in_progress * (now.mono_ns - count->busy_at_mono_ns);
    count->busy_at_mono_ns = now.mono_ns;
}

static void concurrency_open(const struct sim_limit_rule *rule, struct sim_limit_count *count,
                             struct sim_instant now)
{
    (void)rule;
    count->busy_at_mono_ns = now.mono_ns;
}

static double concurrency_used(const struct sim_limit_rule *rule,
                               const struct sim_limit_count *count, struct sim_instant now)
{
    (void)rule;
    (void)now;
    return (double)count->in_progress;
}

static int64_t concurrency_add(const struct sim_limit_rule *rule, struct sim_limit_count *count,
                               int64_t units, struct sim_instant now)
{
    (void)rule;
    busy_sum(count, now);
    count->in_progress += units;
    return 0;
}

static void concurrency_take_back(const struct sim_limit_rule *rule, struct sim_limit_count *count,
                                  int64_t receipt, int64_t units, struct sim_instant now)
{
    (void)rule;
    (void)receipt;
    sim_limit_end(count, units, now);
}

static int64_t no_ns(const struct sim_limit_rule *rule, const struct sim_limit_count *count,
                     struct sim_instant now)
{
    (void)rule;
    (void)count;
    (void)now;
    return 0;
}

/* Nobody knows when a call will end. */
static int64_t unknown_ns(const struct sim_limit_rule *rule, const struct sim_limit_count *count,
                          double missing, struct sim_instant now)
{
    (void)missing;
    return no_ns(rule, count, now);
}

const struct sim_kind sim_kind_concurrency = {
    .open = concurrency_open,
    .used = concurrency_used,
    .add = concurrency_add,
    .take_back = concurrency_take_back,
    .wait_ns = unknown_ns,
    .reset_ns = no_ns,
};

void sim_limit_end(struct sim_limit_count *count, int64_t units, struct sim_instant now)
{
    busy_sum(count, now);
    count->last_mono_ns = now.mono_ns;
    count->in_progress -= units < count->in_progress ? units : count->in_progress;
}
