#include "broker/retry_rule.h"

#include "broker/backoff.h"

bool retry_status(uint32_t status, bool stop)
{
    switch (status) {
    case 408:
    case 500:
    case 502:
    case 503:
    case 504:
        return true;
    default:
        return stop;
    }
}

uint64_t retry_wait_ns(const struct weir_config_retry *config, uint32_t attempt, uint64_t told_ns,
                       uint64_t random)
{
    const struct backoff_rule rule = {.base_ns = config->base_ns,
                                      .factor = config->factor,
                                      .jitter_ppm = config->jitter_ppm,
                                      .max_ns = config->max_ns};
    return weir_max_u64(told_ns, backoff_pause_ns(&rule, attempt - 1, random));
}

void retry_budget_open(struct retry_budget *b)
{
    b->saved_ppm = (uint64_t)RETRY_RESERVE * BACKOFF_WHOLE_PPM;
}

void retry_budget_call(struct retry_budget *b, uint64_t budget_ppm)
{
    b->saved_ppm =
        weir_min_u64(b->saved_ppm + budget_ppm, (uint64_t)RETRY_RESERVE * BACKOFF_WHOLE_PPM);
}

bool retry_budget_take(struct retry_budget *b)
{
    bool enough = b->saved_ppm >= BACKOFF_WHOLE_PPM;
    b->saved_ppm -= enough ? BACKOFF_WHOLE_PPM : 0;
    return enough;
}
