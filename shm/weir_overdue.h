/*
 * weir_overdue.h: a call that was sent and is not answered stays charged, in each later window too.
 *
 * The theorem of weir_window.h holds for calls that are counted within J of their permit. A call that is still open after that (a stalled
 * connection, a lost segment) may be counted at any time until its answer or its end, so from then on it is charged to every window that comes,
 * as it may be counted in that one. So a late arrival finds its units in the window that counts it, and the sum stays at most N:
 *
 *   Let the caller run at least every `ahead_ns`. At each run the charge covers every window that [now - E, now + ahead + E] touches. Until the next run
 *   the server's clock stays inside that span, so whatever window the call is counted in holds its units before. Charges of the call in windows that
 *   are over end with them.
 *
 * A sliding window knows no windows to come: the call's own units are granted anew, as it were, with the stamp of this run (cells) or in its part (parts). Each unit
 * stands in one place, as before; it is young for a span from the last run on, so a late arrival lies within J of a stamp as the theorem of
 * weir_sliding.h asks, if runs are J apart at most.
 *
 * A token bucket keeps its one charge; what is held of it while the call is open, and where the charge is moved at its end: weir_late.h.
 *
 * What is charged here was not asked for: a window that was full before it is overdrawn, and then a late arrival may exceed. Only a
 * connection that is cut at J would be certain; the broker's calls end at their deadline.
 *
 * Caller: the worker, for its own calls, on both of its accounts. Nobody charges for a trader whose process hangs: its permits say use_by_ns, and the way
 * behind that is J's. Order: CAS (pair:limit), undone by nobody: a window ends.
 */
#ifndef WEIR_OVERDUE_H
#define WEIR_OVERDUE_H

#include "weir_permit.h"

/*
 * Charge the windows that are current, or will be within `ahead_ns`, for every fixed_window of a permit whose call is open, and renew its units in
 * every sliding_window. Its charges then name those windows and stamps. Returns a mask of the charges that changed. On another timeline than the grant's (windows were re-aligned) the permit moves to
 * the new one and is charged anew. Clock not KNOWN, tables changed, or a span of more than two windows: 0, nothing changed.
 */
uint32_t weir_overdue_charge(struct weir_permit_view *view, struct weir_permit *permit,
                             uint64_t ahead_ns);

#endif
