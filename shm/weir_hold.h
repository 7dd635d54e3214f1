/*
 * weir_hold.h: what holds a provider's permits back besides its limits: the pauses (weir_pause.h) and the way back from them (weir_reopen.h).
 *
 * A provider is open while the instants of both its pause words are 0; that is all a permit looks at. Everything here is for the other case.
 */
#ifndef WEIR_HOLD_H
#define WEIR_HOLD_H

#include "weir_reopen.h"
#include "weir_types.h"

struct weir_permit_view;

/* Bits of weir_permit.pause_generation beside the generation. */
#define WEIR_HOLD_TICKET_SHIFT WEIR_PAUSE_GENERATION_BITS
#define WEIR_HOLD_PROBE        (UINT32_C(1) << 31)

enum weir_hold {
    WEIR_HOLD_NONE = 0, /* let it through */
    WEIR_HOLD_CLAIM =
        1, /* a probe or a place in the ramp: look says that one is free, claim that it has been taken */
    WEIR_HOLD_PAUSED = 2,    /* until `earliest_ns` */
    WEIR_HOLD_REOPENING = 3, /* others go first; not before `earliest_ns` but for an answer */
    WEIR_HOLD_CONTENDED = 4, /* claim only: others were faster WEIR_PERMIT_ATTEMPTS times */
};

/* Does this pair of pause words leave the provider open? The fast path's whole question. */
static inline bool weir_hold_open(uint64_t traders, uint64_t board)
{
    return (traders | board) >> WEIR_PAUSE_UNTIL_SHIFT == 0;
}

/* Would a permit be let through? Writes nothing. Fills `*earliest_ns` where it would not; UINT64_MAX where an operator decides. */
enum weir_hold weir_hold_look(struct weir_permit_view *view, uint32_t provider,
                              uint64_t *earliest_ns);

/*
 * Take the probe or a place in the ramp, with all charges of the permit made. Reads the words again: whatever began since `look` refuses. Fills
 * `*generation` with what the permit has to bear: that of the pause word, and the probe's ticket.
 */
enum weir_hold weir_hold_claim(struct weir_permit_view *view, uint32_t provider,
                               uint32_t *generation, uint64_t *earliest_ns);

/*
 * The outcomes of a call that was made with `permit`. Callers: whoever settles. Cost where the provider is open: two loads.
 *   answered     the exchange answered, and not by "stop": opens the ramp if the call left behind the pause
 *   unanswered   it was not sent, or nothing came: if it was the probe, another one may try
 *   throttled    the exchange said stop: everybody pauses until `until_ns`; for traders, who cap it at WEIR_PAUSE_TRADER_MAX_NS ahead
 */
void weir_hold_answered(struct weir_permit_view *view, uint32_t provider,
                        const struct weir_permit *permit);
void weir_hold_unanswered(struct weir_permit_view *view, uint32_t provider,
                          const struct weir_permit *permit);
enum weir_pause_told weir_hold_throttled(struct weir_permit_view *view, uint32_t provider,
                                         const struct weir_permit *permit, uint64_t until_ns,
                                         enum weir_pause_cause cause);

/* Was this permit granted before a pause that holds now, or that the provider is being reopened from? Then it must not be used any more. */
bool weir_hold_before(struct weir_permit_view *view, uint32_t provider,
                      const struct weir_permit *permit);

#endif
