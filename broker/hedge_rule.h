/*
 * hedge_rule.h: what of hedging is arithmetic (hedge.h says the whole rule). Pure; one owner, no clock of its own.
 *
 * When is an answer late? `after: pNN` of a route is the nearest-rank percentile of how long its calls waited for their first byte of late, rounded up to the edge of its
 * bucket (12.5 %, weir_histogram.h), so that it is never earlier than it should be. "Of late" is three slices, each of 10 s and of 20 calls at least: some 30 s of a busy
 * route, the last 40 to 60 calls of a quiet one. Below 20 calls nothing is known, and nothing is hedged. (Finagle's WindowedPercentileHistogram has 3 slices of 10 s.)
 *
 * A call that is stopped before its first byte (its hedge won, its client took it back, its deadline came) waited longer than is known. It counts with the time that it
 * had waited where that is past the percentile, and else not at all: what is above a percentile moves it by its number alone, so hedges that win do not make the percentile
 * fall.
 */
#ifndef WEIR_BROKER_HEDGE_RULE_H
#define WEIR_BROKER_HEDGE_RULE_H

#include "shm/weir_histogram.h"

#include <stdbool.h>
#include <stdint.h>

#define HEDGE_SLICES      3U
#define HEDGE_SLICE_NS    (10 * WEIR_NS_PER_S)
#define HEDGE_SAMPLES_MIN 20U
#define HEDGE_RESERVE     5U

struct hedge_latency {
    uint32_t count[HEDGE_SLICES][WEIR_HISTOGRAM_BUCKETS];
    uint32_t total[HEDGE_SLICES];
    uint32_t slice; /* that is being filled */
    uint64_t since_ns;
};

/* A call waited so long. */
void hedge_latency_add(struct hedge_latency *l, uint64_t waited_ns, uint64_t now_ns);

/* Below which `ppm` millionths of the calls were answered; UINT64_MAX: not enough is known. */
uint64_t hedge_latency_ns(const struct hedge_latency *l, uint32_t ppm);

/*
 * At most `budget` of all calls have a hedge: each call that ends puts `budget` of one aside, HEDGE_RESERVE at most are kept, each hedge takes one. It begins with none. So of all
 * calls so far at most `budget` were hedged, and of any n in a row at most budget * n + HEDGE_RESERVE (Finagle's BackupRequestFilter, maxExtraLoad).
 */
struct hedge_budget {
    uint64_t saved_ppm;
};

void hedge_budget_call(struct hedge_budget *b, uint64_t budget_ppm);
bool hedge_budget_has(const struct hedge_budget *b);
/* Caller: who has asked. */
void hedge_budget_take(struct hedge_budget *b);

#endif
