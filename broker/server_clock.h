/*
 * server_clock.h: what the exchange's clock shows, with a bound on the error.
 *
 * Each sample is an interval that surely holds the offset (server UTC minus weir time): a reply that left us at t0 and was back at t1 and
 * bears the stamp s with granularity g was stamped in between, so the offset lies in [s - t1, s + g - t0]. Each bound is widened by what two
 * quartz clocks may have drifted apart since it was seen.
 *
 * One reply may lie, so no bound counts until a second reply confirms it: of all lower bounds the second highest is in force, of all upper
 * bounds the second lowest. Theorem: while at most one sample of those kept is false, the interval holds the truth. Proof: of the two
 * highest lower bounds one at least is true, and the second highest is not above it; so above. That is Marzullo's intersection with one
 * faulty source, in two words a side. The very first sample stands alone until the second comes: there is nothing to compare it with.
 *
 * A sample that has no instant in common with the interval says that the server's clock was stepped, or it lies. It is kept as a doubt: the
 * next reply decides. If that agrees with the doubt and not with us, the two are the new clock and windows are re-aligned; else the doubt
 * is dropped and counted.
 *
 * Pure arithmetic: no I/O, no atomics. Source: Cristian 1989; Marzullo & Owicki 1983; research/rate_limits.md 3.3.
 */
#ifndef WEIR_BROKER_SERVER_CLOCK_H
#define WEIR_BROKER_SERVER_CLOCK_H

#include "shm/weir_bucket.h"
#include "shm/weir_layout.h"

/*
 * What the two clocks may drift apart: the same that buckets and sliding windows allow for. Cheap quartz promises 50 ppm each, but a host that NTP is pulling
 * into line runs off by more. With less than the truth the intersection would close in on a wrong offset, and say that it is sure.
 */
#define SERVER_CLOCK_DRIFT_PPB (WEIR_BUCKET_DRIFT_PPM * 1000U)

/* A reply that took longer says nothing worth keeping, and a stamp may be so coarse (a window's length) at most. */
#define SERVER_CLOCK_SPAN_MAX_NS (UINT64_C(32) * 86400 * WEIR_NS_PER_S)

struct server_clock_bound {
    int64_t ns;
    uint64_t at_ns; /* weir time at which it was seen */
};

struct server_clock {
    bool known;
    bool confirmed; /* two samples at least: the second of each pair is in force */
    bool doubted;   /* `doubt` holds a sample that disagreed */
    struct server_clock_bound low[2];  /* the highest, and the one in force */
    struct server_clock_bound high[2]; /* the lowest, and the one in force */
    struct server_clock_bound doubt[2];
    uint64_t sampled_at_ns;
};

enum server_clock_step {
    SERVER_CLOCK_REFINED = 0, /* the truth lies in the old interval and in the new one */
    SERVER_CLOCK_REALIGNED =
        1, /* first sample, or a step that a second one confirmed: charges must be carried over */
    SERVER_CLOCK_REFUSED = 2, /* the sample contradicts itself */
    SERVER_CLOCK_DOUBTED = 3, /* it contradicts what is known: nothing changed, ask again */
};

/* Take one sample. Times in weir ns, the stamp in UTC ns, granularity in ns. One reply gives one sample: two would confirm each other. */
enum server_clock_step server_clock_sample(struct server_clock *clock, uint64_t sent_ns,
                                           uint64_t received_ns, uint64_t stamp_utc_ns,
                                           uint64_t granularity_ns);

/* The interval in force at `now_ns`. Only while `known`. */
void server_clock_interval(const struct server_clock *clock, uint64_t now_ns, int64_t *low_ns,
                           int64_t *high_ns);

/* What is published at `now_ns`: centre and half-width. */
struct weir_server_clock server_clock_value(const struct server_clock *clock, uint64_t now_ns,
                                            uint64_t jitter_ns);

/* Go on with what another worker, or the broker before this one, had published as KNOWN. */
void server_clock_restore(struct server_clock *clock, const struct weir_server_clock *published);

/* A clock that is this machine's own UTC, true within `error_ns`. */
struct weir_server_clock server_clock_host(uint64_t now_ns, uint64_t utc_ns, uint64_t error_ns,
                                           uint64_t jitter_ns);

/* A clock of which nothing is known: windows by this machine's UTC, with the reduced quota. */
struct weir_server_clock server_clock_unknown(uint64_t now_ns, uint64_t utc_ns, uint64_t jitter_ns);

#endif
