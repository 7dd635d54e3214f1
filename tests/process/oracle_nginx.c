/*
 * nginx's limit_req as the judge of token buckets: written by others, strict, and it knows nothing of weir. Several strategies with their own transport,
 * one that hands its calls over, kill -9 of them and of the worker: not one 429 at 95 % of its rate or more.
 *
 * What nginx counts (src/http/modules/ngx_http_limit_req_module.c, ngx_http_limit_req_lookup): per key, in thousandths of a request,
 *     excess = max(0, excess - rate * ms / 1000 + 1000),   refused where excess > burst * 1000,   excess = 0 at a key's first request.
 * A refused request leaves `excess` and its time as they are. So a request that is let pass leaves at most `burst` in the bucket and itself was one
 * more: the bucket holds burst + 1, and in any t ms of its clock at most burst + 1 + rate * t / 1000 pass. rate=Rr/s is R * 1000 thousandths a second, so that
 * R * ms is whole and nothing is lost to rounding (a rate per minute would be cut off: R * 1000 / 60). weir's bucket is therefore `quota: R, window: 1s,
 * burst: burst + 1`, cost 1.
 *
 * Its ms are ngx_current_msec: CLOCK_MONOTONIC_COARSE in whole ms, read when epoll_wait returns. A request may thus be judged at an instant up to one tick (4 ms at
 * HZ=250) and 1 ms before it was even sent, and the next one at the right time: that is a spread of the way, and belongs to max_jitter as the network's does.
 * weir takes J = max_jitter off its bucket: R * J of the burst + 1 are never used at once, and the rate is R less WEIR_BUCKET_DRIFT_PPM.
 */
#include "judge.h"

#include <stdio.h>

#define ATTEMPTS 4

struct row {
    unsigned rate_per_s, burst, max_jitter_ms, calls, run_ms;
};

static void row_run(struct rig *r, const struct row *row)
{
    char limit[160];
    bool good = false;
    bool again = true;
    (void)snprintf(limit, sizeof limit,
                   "{name: judged, kind: token_bucket, quota: %u, window: 1s, burst: %u}",
                   row->rate_per_s, row->burst + 1);
    for (unsigned i = 0; i < ATTEMPTS && !good && again; i++) {
        const struct judge_round round = {.limit = limit,
                                          .max_jitter_ms = row->max_jitter_ms,
                                          .strategies = 5,
                                          .calls = row->calls,
                                          .warm_ms = 400,
                                          .run_ms = row->run_ms,
                                          .rate_per_s = row->rate_per_s,
                                          .share_min = 0.95};
        struct judge nginx;
        judge_nginx_start(r, &nginx, row->rate_per_s, row->burst);
        good = judge_round(r, &nginx, &round, &again);
        judge_stop(&nginx);
    }
    rig_check(r, good, __FILE__, __LINE__,
              "nginx at %u/s, burst %u: wanted no refusal at 95 %% of its rate", row->rate_per_s,
              row->burst);
}

int main(int argc, char **argv)
{
    static const struct row row[] = {
        {.rate_per_s = 20, .burst = 5, .max_jitter_ms = 100, .calls = 2, .run_ms = 4000},
        {.rate_per_s = 200, .burst = 20, .max_jitter_ms = 50, .calls = 4, .run_ms = 3000},
        {.rate_per_s = 1000, .burst = 100, .max_jitter_ms = 50, .calls = 16, .run_ms = 3000},
    };
    struct rig r;
    rig_open(&r, "oracle_nginx", argc, argv, 75);
    (void)printf("here the oracle is nginx limit_req\n");
    for (unsigned i = 0; i < sizeof row / sizeof row[0]; i++) {
        row_run(&r, &row[i]);
    }
    return rig_close(&r);
}
