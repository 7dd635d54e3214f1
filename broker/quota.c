#include "broker/quota.h"

#include "shm/weir_types.h"

#include <stdio.h>

int quota_attach(const struct weir_config_domain *domain, const struct quota_held *held,
                 uint32_t slot_cnt, uint64_t bytes, char *text, size_t text_bytes)
{
    const struct weir_config_quota *q = &domain->quota;
    if (held->client_cnt >= domain->client_max) {
        (void)snprintf(text, text_bytes, "all %llu places of domain %s are taken",
                       (unsigned long long)domain->client_max, domain->name);
        return WEIR_E_TOO_MANY_CLIENTS;
    }
    if (q->slot_max != 0 && held->slot_cnt + slot_cnt > q->slot_max) {
        (void)snprintf(text, text_bytes,
                       "%u slots asked; domain %s has %llu together, of which %llu are taken",
                       slot_cnt, domain->name, (unsigned long long)q->slot_max,
                       (unsigned long long)held->slot_cnt);
        return WEIR_E_QUOTA_SLOTS;
    }
    if (q->memory_max_bytes != 0 && held->bytes + bytes > q->memory_max_bytes) {
        (void)snprintf(
            text, text_bytes,
            "an arena of %llu bytes asked; domain %s has %llu together, of which %llu are "
            "taken",
            (unsigned long long)bytes, domain->name, (unsigned long long)q->memory_max_bytes,
            (unsigned long long)held->bytes);
        return WEIR_E_QUOTA_MEMORY;
    }
    return WEIR_OK;
}

/* A bucket of one second's worth: GCRA, as in shm/weir_bucket.h, with one writer. */
static bool rate_take(uint64_t rate, struct quota_flow *flow, uint64_t now_ns)
{
    uint64_t each_ns = (WEIR_NS_PER_S + rate - 1) / rate;
    uint64_t full_at_ns = weir_max_u64(flow->full_at_ns, now_ns) + each_ns;
    if (full_at_ns > now_ns + each_ns * rate) {
        return false;
    }
    flow->full_at_ns = full_at_ns;
    return true;
}

int quota_submit(const struct weir_config_quota *quota, struct quota_flow *flow, uint64_t now_ns)
{
    if (quota->in_flight_max != 0 && flow->in_flight >= quota->in_flight_max) {
        return WEIR_E_QUOTA_IN_FLIGHT;
    }
    if (quota->rate_max != 0 && !rate_take(quota->rate_max, flow, now_ns)) {
        return WEIR_E_QUOTA_RATE;
    }
    return WEIR_OK;
}
