#include "broker/server_clock.h"

/* How far a bound may have moved since it was seen. */
static int64_t drift_ns(uint64_t at_ns, uint64_t now_ns)
{
    uint64_t age_ns = now_ns > at_ns ? now_ns - at_ns : 0;
    return (int64_t)weir_muldiv_u64(age_ns, SERVER_CLOCK_DRIFT_PPB, WEIR_NS_PER_S) + (age_ns != 0);
}

static int64_t low_at(const struct server_clock_bound *b, uint64_t now_ns)
{
    return b->ns - drift_ns(b->at_ns, now_ns);
}

static int64_t high_at(const struct server_clock_bound *b, uint64_t now_ns)
{
    return b->ns + drift_ns(b->at_ns, now_ns);
}

void server_clock_interval(const struct server_clock *clock, uint64_t now_ns, int64_t *low_ns,
                           int64_t *high_ns)
{
    *low_ns = low_at(&clock->low[clock->confirmed], now_ns);
    *high_ns = high_at(&clock->high[clock->confirmed], now_ns);
}

/* Keep the two highest lower bounds, the two lowest upper bounds. */
static void insert(struct server_clock *clock, struct server_clock_bound low,
                   struct server_clock_bound high)
{
    if (!clock->known) {
        clock->low[0] = low;
        clock->high[0] = high;
        clock->known = true;
        return;
    }
    uint64_t now_ns = weir_max_u64(low.at_ns, clock->sampled_at_ns);
    if (low_at(&low, now_ns) > low_at(&clock->low[0], now_ns)) {
        clock->low[1] = clock->low[0];
        clock->low[0] = low;
    } else if (!clock->confirmed || low_at(&low, now_ns) > low_at(&clock->low[1], now_ns)) {
        clock->low[1] = low;
    }
    if (high_at(&high, now_ns) < high_at(&clock->high[0], now_ns)) {
        clock->high[1] = clock->high[0];
        clock->high[0] = high;
    } else if (!clock->confirmed || high_at(&high, now_ns) < high_at(&clock->high[1], now_ns)) {
        clock->high[1] = high;
    }
    clock->confirmed = true;
}

enum server_clock_step server_clock_sample(struct server_clock *clock, uint64_t sent_ns,
                                           uint64_t received_ns, uint64_t stamp_utc_ns,
                                           uint64_t granularity_ns)
{
    /* All four below 2^62, so that no sum of them overflows. */
    const uint64_t most = UINT64_C(1) << 62;
    if (received_ns < sent_ns || received_ns - sent_ns > SERVER_CLOCK_SPAN_MAX_NS ||
        granularity_ns > SERVER_CLOCK_SPAN_MAX_NS || received_ns >= most || stamp_utc_ns >= most) {
        return SERVER_CLOCK_REFUSED;
    }
    const struct server_clock_bound low = {(int64_t)(stamp_utc_ns - received_ns), received_ns};
    const struct server_clock_bound high = {(int64_t)(stamp_utc_ns + granularity_ns - sent_ns),
                                            received_ns};
    enum server_clock_step step = SERVER_CLOCK_REFINED;
    if (!clock->known) {
        step = SERVER_CLOCK_REALIGNED;
    } else {
        int64_t known_low;
        int64_t known_high;
        server_clock_interval(clock, received_ns, &known_low, &known_high);
        if (low.ns > known_high || high.ns < known_low) {
            bool agreed = clock->doubted && low.ns <= high_at(&clock->doubt[1], received_ns) &&
                          high.ns >= low_at(&clock->doubt[0], received_ns);
            if (!agreed) {
                clock->doubted = true;
                clock->doubt[0] = low;
                clock->doubt[1] = high;
                return SERVER_CLOCK_DOUBTED;
            }
            struct server_clock next = {0};
            insert(&next, clock->doubt[0], clock->doubt[1]);
            *clock = next;
            step = SERVER_CLOCK_REALIGNED;
        }
    }
    insert(clock, low, high);
    clock->doubted = false;
    clock->sampled_at_ns = weir_max_u64(clock->sampled_at_ns, received_ns);
    return step;
}

struct weir_server_clock server_clock_value(const struct server_clock *clock, uint64_t now_ns,
                                            uint64_t jitter_ns)
{
    int64_t low_ns;
    int64_t high_ns;
    now_ns = weir_max_u64(now_ns, clock->sampled_at_ns);
    server_clock_interval(clock, now_ns, &low_ns, &high_ns);
    /* Two that contradict each other may both be in force for an instant; a width below 0 would be read as a huge one. */
    uint64_t width_ns = high_ns > low_ns ? (uint64_t)(high_ns - low_ns) : 0;
    return (struct weir_server_clock){
        .offset_ns = low_ns + (int64_t)(width_ns / 2),
        .error_ns = width_ns / 2 + 1,
        .sampled_at_ns = now_ns,
        .drift_ppb = SERVER_CLOCK_DRIFT_PPB,
        .jitter_ns = jitter_ns,
        .state = WEIR_CLOCK_KNOWN,
    };
}

void server_clock_restore(struct server_clock *clock, const struct weir_server_clock *published)
{
    const struct server_clock_bound low = {published->offset_ns - (int64_t)published->error_ns,
                                           published->sampled_at_ns};
    const struct server_clock_bound high = {published->offset_ns + (int64_t)published->error_ns,
                                            published->sampled_at_ns};
    *clock = (struct server_clock){.known = true,
                                   .confirmed = true,
                                   .low = {low, low},
                                   .high = {high, high},
                                   .sampled_at_ns = published->sampled_at_ns};
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
