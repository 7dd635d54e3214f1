/*
 * weir_straddle.h: give one window of a straddle back, once it is proven which window counted the call.
 *
 * A call that may be counted on either side of a window's edge is charged to both (weir_window.h). When its answer is here, the caller knows that
 * it was counted no earlier than it was sent and no later than its answer came. If that span of weir time, widened by the clock's error on
 * both sides, lies wholly inside one window of the server, the other window's charge is given back.
 *
 * Proof that N holds. Let [a, b] be the span in weir time, and |offset error| <= E' at every instant of it, E' = the published error grown by its
 * age, counted from the older of its sample and `a`. The server counted the call at an instant in [a + offset - E', b + offset + E']. If that
 * interval lies in window k, the call is not in window k' != k, so units(k') >= calls counted in k' holds after its units are taken from k'
 * as it did before: whatever the server counts in a window is still charged to it. k itself stays charged. Taken back by the kind's
 * own rule: only while the word bears that window's id, on the timeline and under the tables of the grant, never below zero.
 *
 * Conditions, each of which means "give nothing back": the clock is KNOWN; J + 2E' <= W, because a "wide" clock charges two windows for several
 * and each charge counts; the permit was granted in this epoch (a clock that was wide and is not any more was re-aligned, which raises it);
 * the window found is one of the two that were charged.
 *
 * A stamp that the server put into its answer gives no right of its own: one lying reply would take back a charge that is due. It can only
 * forbid: a stamp outside the span says that the times or the clock are wrong, and nothing is given back.
 *
 * Callers: the worker for brokered calls, on both of its accounts; whoever settles a permit with its own transport, by the times that it
 * knows itself: a = granted_at_ns, or the instant of the write; b = the instant at which the answer was seen. Order: as weir_limit_give.
 */
#ifndef WEIR_STRADDLE_H
#define WEIR_STRADDLE_H

#include "weir_permit.h"

/* When a call was counted, at the earliest and the latest, in weir time. */
struct weir_straddle_span {
    uint64_t from_ns;
    uint64_t to_ns;
    uint64_t stamp_utc_ns;   /* the server's own stamp in the answer; 0: none */
    uint64_t granularity_ns; /* of the stamp */
};

/*
 * The one window of `row` (a fixed_window) that held the whole span by `clock`; false where that is not certain. `now_ns` is not before
 * span->to_ns. Pure.
 */
bool weir_straddle_window(const struct weir_shm_limit_row *row,
                          const struct weir_server_clock *clock,
                          const struct weir_straddle_span *span, uint64_t now_ns, uint32_t *window);

/*
 * Give back what `span` proves was not counted. Returns a mask: bit i, charge i lost one of its windows and now names the other alone. The
 * permit is granted or sent, and stays so: before weir_permit_end, which corrects both windows and leaves `units` as they were. Any other state,
 * an older timeline or older tables: 0.
 * Caller: the thread that owns `view`.
 */
uint32_t weir_straddle_give(struct weir_permit_view *view, struct weir_permit *permit,
                            const struct weir_straddle_span *span);

#endif
