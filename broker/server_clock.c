#include "broker/server_clock.h"

enum server_clock_step server_clock_sample(struct server_clock *clock, uint64_t sent_ns,
                                           uint64_t received_ns, uint64_t stamp_utc_ns,
                                           uint64_t granularity_ns)
{
    if (received_ns < sent_ns) {
        return SERVER_CLOCK_REFUSED;
    }
    int64_t low = (int64_t)(stamp_utc_ns - received_ns);
    int64_t high = (int64_t)(stamp_utc_ns + granularity_ns - sent_ns);
    enum server_clock_step step = SERVER_CLOCK_REALIGNED;
    if (clock->known) {
        uint64_t age = received_ns > clock->sampled_at_ns ? received_ns - clock->sampled_at_ns : 0;
        int64_t drift = (int64_t)weir_muldiv_u64(age, SERVER_CLOCK_DRIFT_PPB, WEIR_NS_PER_S) + 1;
        int64_t old_low = clock->low_ns - drift;
        int64_t old_high = clock->high_ns + drift;
        if (low <= old_high && old_low <= high) {
            low = low > old_low ? low : old_low;
            high = high < old_high ? high : old_high;
            step = SERVER_CLOCK_REFINED;
        }
    }
    *clock = (struct server_clock){
        .known = true, .low_ns = low, .high_ns = high, .sampled_at_ns = received_ns};
    return step;
}

struct weir_server_clock server_clock_value(const struct server_clock *clock, uint64_t jitter_ns)
{
    uint64_t width = (uint64_t)(clock->high_ns - clock->low_ns);
    return (struct weir_server_clock){
        .offset_ns = clock->low_ns + (int64_t)(width / 2),
        .error_ns = width / 2 + 1,
        .sampled_at_ns = clock->sampled_at_ns,
        .drift_ppb = SERVER_CLOCK_DRIFT_PPB,
        .jitter_ns = jitter_ns,
        .state = WEIR_CLOCK_KNOWN,
    };
}

struct weir_server_clock server_clock_host(uint64_t now_ns, uint64_t utc_ns, uint64_t error_ns,
                                           uint64_t jitter_ns)
{
    return (struct weir_server_clock){
        .offset_ns = (int64_t)(utc_ns - now_ns),
        .error_ns = error_ns,
        .sampled_at_ns = now_ns,
        .drift_ppb = 0, /* the configuration's word covers it: the host's clock is disciplined */
        .jitter_ns = jitter_ns,
        .state = WEIR_CLOCK_KNOWN,
    };
}

struct weir_server_clock server_clock_unknown(uint64_t now_ns, uint64_t utc_ns, uint64_t jitter_ns)
{
    struct weir_server_clock c = server_clock_host(now_ns, utc_ns, 0, jitter_ns);
    c.state = WEIR_CLOCK_UNKNOWN;
    return c;
}
