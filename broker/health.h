/*
 * health.h: how well one endpoint is, from what its calls say: a score of 0..1000, and who is so much worse than its peers that it is left out.
 *
 *   score = 1000 * S * L * T * F * Q          (docs/http.md has the reasons; every part is 1 where nothing speaks against the endpoint)
 *
 *   S  success     (answers + 1) / (answers + failures + 1), each end weighing e^(-age / 10 s)
 *   L  latency     1/2 + 1/2 * min(1, (best + 1 ms) / own), by peak EWMA against the best endpoint of the provider
 *   T  throttling  1 - stops / ends, each weighing e^(-age / 60 s)
 *   F  freshness   1 - min(1, behind / max_behind) / 2, behind = the highest height of any endpoint less its own; only where health.height is configured
 *   Q  quota       3/4 + 1/4 * the least headroom of the provider's limits
 *
 * Peak EWMA (Twitter's Finagle, "PeakEwma"): an answer that took longer than the average becomes the average at once; shorter ones pull it down by
 * e^(-time since the last / 10 s). So a stall is seen with the first late answer, and forgiven slowly.
 *
 * Ejection (in the spirit of Envoy's outlier detection, but by comparisons that make sense with two): an endpoint is left out when OUTLIER_ROW attempts in a row
 * failed, or when both it and the best of its peers have OUTLIER_ENDS recent ends and its S is OUTLIER_GAP below that peer's. Envoy's mean less
 * 1.9 standard deviations cannot be reached with two hosts, whatever they do. At most half of a provider's endpoints are out at a time, one at least where there are
 * two, and never the last one that works. Out for EJECT_BASE_NS times the ejections in a row, EJECT_MAX_NS at most; an active check that is
 * answered ends it. Whoever comes back starts slowly: a tenth of its weight, all of it after START_NS (nginx' slow_start).
 *
 * Pure: state and instants in, decisions out. One owner, the worker; private memory: a new worker measures anew.
 */
#ifndef WEIR_BROKER_HEALTH_H
#define WEIR_BROKER_HEALTH_H

#include "shm/weir_layout.h"

#define HEALTH_SUCCESS_NS  (10 * WEIR_NS_PER_S)
#define HEALTH_THROTTLE_NS (60 * WEIR_NS_PER_S)
#define HEALTH_LATENCY_NS  (10 * WEIR_NS_PER_S)
#define HEALTH_SLACK_NS    WEIR_NS_PER_MS

#define OUTLIER_ROW        5U
#define OUTLIER_ENDS       10.0
#define OUTLIER_GAP        0.3
#define EJECT_BASE_NS      (5 * WEIR_NS_PER_S)
#define EJECT_MAX_NS       (60 * WEIR_NS_PER_S)
#define START_NS           (10 * WEIR_NS_PER_S)
#define START_PPM          100000U

#define QUIET_OWED         5U

struct health {
    double answers, failures; /* decayed, as of ends_at_ns */
    uint64_t ends_at_ns;
    double stops, all; /* decayed, as of stops_at_ns */
    uint64_t stops_at_ns;
    double latency_ns; /* peak EWMA; 0: nothing known */
    uint64_t latency_at_ns;
    double usual_ns,
        spread_ns; /* mean and mean deviation (RFC 6298, 2): one spike does not stay in them for seconds, as it does in the peak */
    double connect_ns; /* the same, of connections: begun to standing */
    uint64_t connect_at_ns;
    uint32_t failed_row;       /* failures since the last answer */
    uint32_t ejected_row;      /* ejections, less one for each EJECT_MAX_NS of peace */
    uint64_t ejected_until_ns; /* 0: it is not out */
    uint64_t ejected_at_ns;
    uint64_t starts_at_ns; /* when it came back; 0: long ago */
    uint64_t height;
};

/* What is known beside the endpoint itself. */
struct health_peers {
    double best_latency_ns; /* the least of any endpoint of the provider; 0: none known */
    uint64_t best_height;
    uint64_t behind_max; /* 0: heights are not looked at */
    uint32_t quota_ppm;  /* the least headroom */
};

struct health_parts {
    uint32_t score;
    uint32_t success_ppm, latency_ppm, throttle_ppm, fresh_ppm, quota_ppm;
};

/* An attempt at it ended. */
void health_told(struct health *h, enum weir_call_class class, uint64_t now_ns);

/* An answer's first byte came so long after it was sent. */
void health_latency(struct health *h, uint64_t took_ns, uint64_t now_ns);

/* The score and its parts, now. */
struct health_parts health_score(const struct health *h, const struct health_peers *peers,
                                 uint64_t now_ns);

/*
 * Should `h[me]` be left out now? Looks at all `cnt` endpoints of its provider; `usable[i]`: it has an address and no breaker keeps it shut. Never where that
 * would leave nobody, or more than half out.
 */
bool health_outlier(struct health *const h[], const bool usable[], uint32_t cnt, uint32_t me,
                    uint64_t now_ns);

void health_eject(struct health *h, uint64_t now_ns);

/* Is it out? Ends an ejection whose time is over. */
bool health_is_out(struct health *h, uint64_t now_ns);

/* It is back: out no more, or its breaker has closed. */
void health_return(struct health *h, uint64_t now_ns);

/* The part of its weight that it has: 1000000 but for START_NS after a return. */
uint32_t health_start_ppm(const struct health *h, uint64_t now_ns);

/* So long an answer may be owed before that says that something is wrong: 4 times the peak EWMA, and 50 ms at least; 1 s where nothing is known. */
uint64_t health_late_ns(const struct health *h);
bool health_is_late(const struct health *h, uint64_t owed_ns);

/* So long nothing may be heard while answers are owed before others are asked instead: as health_late_ns, or by what is usual, 4 times the mean or 8/3 of the mean and four deviations, where that is less. */
uint64_t health_suspect_ns(const struct health *h);

/*
 * Nothing at all was heard of it for `silent_ns`, and `owed_cnt` answers are owed. True from QUIET_OWED answers and 1.5 times the peak EWMA on, or what is usual (1.5 times the mean, or the mean and
 * four deviations, whichever is more) where that is less, 10 ms at least: that one answer is
 * late happens, that all of several are, is the endpoint. Good enough to ask another one first, which costs nothing; not to call anything failed.
 */
bool health_is_quiet(const struct health *h, uint32_t owed_cnt, uint64_t silent_ns);

/* A connection stood so long after it was begun. */
void health_connected(struct health *h, uint64_t took_ns, uint64_t now_ns);

/* So long a connection may take before another endpoint is worth more: 4 times the peak EWMA of those that stood, and 100 ms at least; 1 s where nothing is known. */
uint64_t health_connect_ns(const struct health *h);

#endif
