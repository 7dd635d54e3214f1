/*
 * weir_sliding.h: limit kind sliding_window, at most N units in any interval of length W, wherever it begins.
 *
 * For servers that count a rolling window, and for those whose windows nobody has told us (research/rate_limits.md 3.2). No clock of the
 * server is needed. Span S = W + J, widened by WEIR_BUCKET_DRIFT_PPM: J is the slack until the call is written plus the longest way until it is
 * counted, and the server's W may last a little longer than ours.
 *
 * Theorem (both forms). Permits with clock readings ("stamps") in any half-open interval of length S hold at most N units. A server's
 * interval of length W holds only arrivals of calls stamped in an interval of length W + J <= S, so it counts at most N.
 *
 * Form "cells" (N <= WEIR_SLIDING_CELLS_MAX, cost <= WEIR_SLIDING_UNITS_MAX): N cells, each the stamp of the unit that was last granted on it. A unit is
 * granted on a cell only if the cell's stamp is S or more behind, by one CAS from the old stamp to the new.
 *   Proof. Two stamps of one cell are at least S apart, so each cell has at most one in an interval of length S, and there are N cells. One exception does
 *   no harm: whoever read the clock before a unit was taken and given back finds "never", and may stamp less than S after the grant before that one.
 *   But it does so at an instant that is S later, and so is its call; use_by_ns, counted from its stamp, says whether it may still be made.
 *   `hint` says which cell was stamped longest ago. It is only a hint: whoever finds its cell young and the next one older helps it on, so a
 *   process killed between its CAS and the hint blocks nobody, and a wrong hint costs time, never safety.
 *   Giving back writes 0 ("never") over the stamp, in as many cells as still bear it; `freed` remembers where, so that the next one finds it.
 *   Room. Whoever asks alone is granted exactly when as many cells are old as it takes and leaves free, wherever they lie. Stamps ascend from the hint on, so that its
 *   cells say it, until one is given back, taken elsewhere, renewed, or passed while young; whoever does that first says so in `unsorted_until_ns`, and until then all cells
 *   are looked at before anybody is refused. Beyond this only a process hides room, its own units' for a lap at most, that slept a whole span amid a permit.
 *   A surcharge (a settled call that cost more) takes old cells too; what finds none is noted in `owed` and stands beside the cells for one span.
 *   A concurrent reader sees whole stamps. A writer that dies leaves a unit too many taken, for one span.
 *
 * Form "parts" (any N): the span is cut into K = WEIR_SLIDING_PARTS parts of length P = ceil(S / K); one word {part id:32 | units:32} for each of the last K + 4.
 * A permit charges its own part, then adds up all parts that may matter, then reads the clock again:
 *   sum > N, or the clock moved by more than one part: it takes its charge back and asks again.
 *   Proof. Take permits in an interval of length S and the one that charged last. Its interval covers at most K + 1 parts up to its own, and
 *   parts of later stamps. All others had charged before, and none of their words is reused before the id moves by K + 4, which the second
 *   clock reading excludes; so its sum held all of them. Sum-then-charge is write skew (41 violating grants in 1.5 s), charge-then-sum
 *   without the second reading still 2: a preempted checker's words were recycled (research/pitfalls.md 4).
 *   Throughput K / (K + 1) of W / (W + J). Two that charge at once may both withdraw: lock-free, answered CONTENDED.
 *
 * Memory (form parts; a window above 10 min takes it whatever its N). A permit also needs the units charged since the start, its own among them, to be at most
 * the ceiling on the board, which is published once a journal is on disk that holds {parts, E = ceiling - units charged when the parts were read}.
 * Charge, count, then compare; what fails gives the charge back and leaves the count, so that the count never falls.
 *   Proof. The journal reads the count before the parts: what it counts is in the parts it holds. Any other permit of this ceiling or an older one added its units
 *   to a count that only rises and came out at the ceiling at most, so all of them together have at most E units. Who restores charges the parts as they
 *   were, and E units at the instant of the restore, which is no earlier than any of these permits. So it errs by E, at most the step.
 *
 * What stays free for higher classes (headroom) is a number of units for the whole time: a sliding window has no end at which to release it.
 *
 * Source: the rolling log of ccxt and of Bybit v5 ("rolling time window"); research/rate_limits.md 3.1, 3.4.
 */
#ifndef WEIR_SLIDING_H
#define WEIR_SLIDING_H

#include "weir_bucket.h"
#include "weir_window.h"

#define WEIR_SLIDING_CELLS_MAX 4096U
/* A permit of more units would hold more CASes between two passes than is good for its neighbours. */
#define WEIR_SLIDING_UNITS_MAX 8U
#define WEIR_SLIDING_PARTS     100U
/* One for the part that is being filled, two that faster clocks may have begun, one that is never read. */
#define WEIR_SLIDING_WORDS (WEIR_SLIDING_PARTS + 4U)

/*
 * The part of weir time 0. Parts that were filled in an earlier boot have ids below it; above 0 all the same, for ids that wrapped would share their
 * words with others.
 */
#define WEIR_SLIDING_PART_FIRST (2U * WEIR_SLIDING_WORDS)

/* How `cell` of a limit row is used. */
enum weir_limit_form {
    WEIR_FORM_NONE = 0,
    WEIR_FORM_CELLS = 1, /* sliding_window: a stamp per unit */
    WEIR_FORM_PARTS = 2, /* sliding_window: units per part of the span */
    WEIR_FORM_UNITS = 3, /* concurrency: an owner per unit */
};

/* W + J, widened by the drift allowance. */
static inline uint64_t weir_sliding_span_ns(uint64_t window_ns, uint64_t jitter_ns)
{
    unsigned __int128 wide = (unsigned __int128)window_ns * (1000000U + WEIR_BUCKET_DRIFT_PPM);
    return (uint64_t)((wide + 999999U) / 1000000U) + jitter_ns;
}

/* The length of a part: K of them cover the span. */
static inline uint64_t weir_sliding_part_ns(uint64_t span_ns)
{
    return (span_ns + WEIR_SLIDING_PARTS - 1) / WEIR_SLIDING_PARTS;
}

/* The part that `now_ns` lies in, and how far it has come. */
static inline uint32_t weir_sliding_part(const struct weir_shm_limit_row *row, uint64_t now_ns,
                                         uint64_t *into_ns)
{
    return (uint32_t)weir_window_at(now_ns, row->part_ns, row->part_inverse, into_ns) +
           WEIR_SLIDING_PART_FIRST;
}

/* May a cell that was stamped at `stamp_ns` be granted again? 0: it never was. A stamp ahead of our clock is another core's, and young. */
static inline bool weir_sliding_old(uint64_t stamp_ns, uint64_t now_ns, uint64_t span_ns)
{
    return stamp_ns == 0 || (now_ns >= stamp_ns && now_ns - stamp_ns >= span_ns);
}

/* `freed`: where units were given back of late. index:32 | units:32; units 0: nowhere. A hint as `hint` is. */
static inline uint64_t weir_sliding_freed(uint32_t index, uint32_t units)
{
    return (uint64_t)index << 32 | units;
}

#endif
