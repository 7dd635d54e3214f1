/*
 * HAProxy's http_req_rate as the judge of smoothed senders: not one 429 at 90 % of its rate or more, with kill -9 of strategies and of the worker.
 *
 * What HAProxy counts (include/haproxy/freq_ctr.h, freq_ctr_overshoot_period, read_freq_ctr_period): two windows that it lays itself, from the first call on,
 *     estimate = this window's calls + the last window's calls * (what is left of this window) / period,
 * the call itself included, and refused calls too. That is no limit that anybody can meet by bursts: a burst at the end of one window and one at the
 * beginning of the next are counted nearly in full. A sender of rate r whose arrivals in any t are at most B + r * t is estimated, e into the window of length P, at most
 *     B + r * e + (B + r * P) * (P - e) / P  =  r * P + B * (2 - e / P)  <=  r * P + 2 * B.
 * So weir's bucket is smooth (one unit at an instant: burst 1, and J * r on top, because weir takes J = max_jitter off the burst again), arrivals are
 * bounded by B = 1 + J * r, and r is the largest with r * P + 2 * B <= L, where L is the most that HAProxy lets pass (its rule is "gt L"). weir's burst is
 * a whole number, B rounded up.
 */
#include "judge.h"

#include <stdio.h>

#define ATTEMPTS 3

struct row {
    unsigned rate_per_s, period_s, max_jitter_ms, burst;
};

static void row_run(struct rig *r, const struct row *row)
{
    char limit[160];
    bool good = false;
    bool again = true;
    unsigned sum_max = row->rate_per_s * row->period_s;
    unsigned quota = sum_max - 2 * row->burst; /* in each period */
    (void)snprintf(limit, sizeof limit,
                   "{name: judged, kind: token_bucket, quota: %u, window: %us, burst: %u}", quota,
                   row->period_s, row->burst);
    for (unsigned i = 0; i < ATTEMPTS && !good && again; i++) {
        const struct judge_round round = {.limit = limit,
                                          .max_jitter_ms = row->max_jitter_ms,
                                          .strategies = 5,
                                          .calls = 2,
                                          .warm_ms = 200,
                                          .run_ms = 2 * row->period_s * 1000 + 500,
                                          .rate_per_s = row->rate_per_s,
                                          .share_min = 0.90};
        struct judge haproxy;
        judge_haproxy_start(r, &haproxy, sum_max, row->period_s);
        good = judge_round(r, &haproxy, &round, &again);
        judge_stop(&haproxy);
    }
    rig_check(r, good, __FILE__, __LINE__,
              "HAProxy at %u/s over %u s: wanted no refusal at 90 %% of its rate", row->rate_per_s,
              row->period_s);
}

int main(int argc, char **argv)
{
    static const struct row row[] = {
        {.rate_per_s = 20, .period_s = 4, .max_jitter_ms = 50, .burst = 2},
        {.rate_per_s = 50, .period_s = 3, .max_jitter_ms = 40, .burst = 3},
    };
    struct rig r;
    rig_open(&r, "oracle_haproxy", argc, argv, 85);
    (void)printf("here the oracle is HAProxy http_req_rate\n");
    for (unsigned i = 0; i < sizeof row / sizeof row[0]; i++) {
        row_run(&r, &row[i]);
    }
    return rig_close(&r);
}
