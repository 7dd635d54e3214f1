/*
 * weir_hold.h: what holds a provider's permits back besides its limits: the pauses (weir_pause.h) and the way back from them (weir_reopen.h).
 *
 * A provider is open while the instants of both its pause words are 0; that is all a permit looks at. Everything here is for the other case.
 *
 * Where the configuration says that a stop is about one scope value (throttle.scope: an address, a key, an account), each value has words of its own, and a
 * permit looks at those of its value alone. Which line they stand on is the *place* of a hold: the provider's index, but for values above 0 (hold_first).
 */
#ifndef WEIR_HOLD_H
#define WEIR_HOLD_H

#include "weir_reopen.h"
#include "weir_tables.h"
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

/* The line of scope value `value`, of the kind that the provider is held apart by. */
static inline uint32_t weir_hold_line(const struct weir_shm_provider_row *row, uint32_t provider,
                                      uint32_t value)
{
    bool own = value == 0 || row->hold_kind == 0 || value >= row->scope_cnt[row->hold_kind - 1];
    return own ? provider : row->hold_first + value - 1;
}

/* How many lines a provider has. */
static inline uint32_t weir_hold_cnt(const struct weir_shm_provider_row *row)
{
    return row->hold_kind == 0 ? 1 : row->scope_cnt[row->hold_kind - 1];
}

/* Where a call on `route` under `scope` is held. `scope` may be anything: what there is not is held with the provider's first value. */
static inline uint32_t weir_hold_place(const struct weir_tables *t,
                                       const struct weir_shm_route_row *route, weir_scope_id scope)
{
    if (WEIR_LIKELY((route->flags & WEIR_ROUTE_HELD_APART) == 0)) {
        return route->provider;
    }
    const struct weir_shm_provider_row *row = &t->provider[route->provider];
    uint32_t shift = row->hold_kind != 0 ? 16 * (row->hold_kind - 1) : 0;
    return weir_hold_line(row, route->provider, (uint32_t)(scope >> shift) & 0xffffU);
}

/* Where the call of a granted permit is held: by what it took. */
uint32_t weir_hold_of_permit(const struct weir_permit_view *view, uint32_t provider,
                             const struct weir_permit *permit);

/* Would a permit be let through? Writes nothing. Fills `*earliest_ns` where it would not; UINT64_MAX where an operator decides. */
enum weir_hold weir_hold_look(struct weir_permit_view *view, uint32_t provider, uint32_t place,
                              uint64_t *earliest_ns);

/*
 * Take the probe or a place in the ramp, with all charges of the permit made. Reads the words again: whatever began since `look` refuses. Fills
 * `*generation` with what the permit has to bear: that of the pause word, and the probe's ticket.
 */
enum weir_hold weir_hold_claim(struct weir_permit_view *view, uint32_t provider, uint32_t place,
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
