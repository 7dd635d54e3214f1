/*
 * weir_permit.h: the permit path. One permit takes from all limits of its route, or from none. Taking is in weir_permit.c, its short way for usual
 * calls in weir_express.c, what corrects a charge once the outcome is known (give, end, answered, and the bell that tells waiters) in weir_settle.c.
 *
 * Two passes. Pass 1 reads every word and refuses without writing anything, so a full limit never disturbs callers of
 * another. Pass 2 charges by CAS, scarcest limit first; if one refuses now, what was taken is given back and pass 1 starts again, at most
 * WEIR_PERMIT_ATTEMPTS times. Before them stand the gate (lease, block), the pauses and the way back from them (weir_hold.h), and the provider's
 * clock; a place in a reopening is claimed last, behind all charges.
 *
 *   writers  any number of traders and the worker, on the limit words, by CAS
 *   dies between two CASes   what was charged stays charged: too few permits for one window, never too many. The worker counts it
 *                            when it finds it (ledger), nobody waits.
 *   dies before settling     the charge stays until its window ends or its bucket refills
 *
 * Promise 1 rests on: charge before send; straddle (weir_window.h); the clock's sequence looked at after the charges; use_by_ns, which
 * bounds what a lease that ends meanwhile lets out; refunds only by the kinds' rules. After the last CAS the clock's sequence is read
 * again: if the worker began to re-align the windows meanwhile, the permit starts over, and its window charges stay: they may lie in
 * windows that no longer mean what they meant, and the worker carries them over.
 * For the same reason a permit is given back only under the tables and on the timeline of its grant.
 *
 * No lock, no system call, no allocation, no loop without a bound. Cost: one clock reading, two loads and one CAS per limit.
 */
#ifndef WEIR_PERMIT_H
#define WEIR_PERMIT_H

#include "weir_atomic.h"
#include "weir_audit.h"
#include "weir_express.h"
#include "weir_hold.h"
#include "weir_limit.h"
#include "weir_pause.h"
#include "weir_share.h"
#include "weir_tables.h"

#define WEIR_PERMIT_ATTEMPTS 4

enum weir_permit_state {
    WEIR_PERMIT_NONE = 0,
    WEIR_PERMIT_GRANTED = 1,
    WEIR_PERMIT_SETTLED = 2,
    WEIR_PERMIT_SENT =
        3, /* used up by a send: can be ended, not given back. Set by whoever sends */
};

/* A thread's own counters in its arena (struct weir_shm_meter_head and what follows); all NULL for the worker's private account. */
struct weir_meter {
    struct weir_shm_meter_head *head;
    uint32_t *granted; /* [route][priority] */
    uint32_t *refused; /* [limit][priority] */
    uint64_t *units;   /* [limit] */
};

/* A provider's clock as last copied from its latch. */
struct weir_permit_clock {
    uint64_t seq;
    uint64_t epoch; /* of the timeline that `clock` belongs to */
    struct weir_server_clock clock;
};

/* Who a trader says it is, and its shares by the tables in use. The worker has one of these per client instead. */
struct weir_permit_self {
    bool known;
    uint32_t uid;
    char name[WEIR_NAME_BYTES];
    uint8_t member[WEIR_LIMITS_MAX];
};

/* Find the shares of whoever `self` is. Caller: whoever owns it, each time that the tables change. */
void weir_permit_self_find(struct weir_permit_self *self, const struct weir_tables *tables);

/* Everything that one thread needs to take permits. Private to the thread; pointers lead into mapped segments. */
struct weir_permit_view {
    const struct weir_shm_gate *gate;
    const uint32_t *block;                    /* this client's switch */
    const struct weir_shm_provider *provider; /* [provider], board */
    const struct weir_shm_foreign *foreign;   /* [word], board */
    struct weir_shm_limit_word *word;         /* [word], permits (or the worker's ledger) */
    uint64_t *cell;                           /* beside `word` */
    uint64_t owner;                           /* of units held by this thread: weir_owner_make */
    uint32_t serial;                          /* of its permits that hold units */
    struct weir_shm_pause *pause;             /* [provider], permits */
    /* the worker's private account: pauses hold, but the places of a reopening are the shared words' to give */
    bool account_only;
    /* called where a permit is refused for want of a ceiling (weir_window.h), so that the worker need not sleep on until its next look; NULL: nobody is told */
    void (*ceiling_bell)(struct weir_permit_view *view);
    /* what a call that is kept does where the short way has no answer (weir_express.h); NULL: weir_permit_take_long */
    weir_long_way *long_way;
    const void *tables_base; /* section TABLES */
    /* [limit]: the entry + 1 of the limit's shares that the caller has (weir_share.h); NULL: shares are not looked at */
    const uint8_t *member;
    uint32_t tables_cnt;
    uint64_t tables_stride_bytes;
    struct weir_tables_bounds bounds;
    struct weir_tables tables;
    struct weir_clock time;
    struct weir_meter meter;
    struct weir_audit audit; /* of what this view takes and corrects */
    struct weir_permit_clock clock[WEIR_PROVIDERS_MAX];
    struct weir_express express[WEIR_EXPRESS_CNT];
    struct weir_permit_self self;
};

/* The entry that is kept for this kind of call, whose `way` takes its permit; NULL: the long way takes it. */
static inline struct weir_express *weir_permit_express(struct weir_permit_view *view,
                                                       weir_route_id route, weir_scope_id scope,
                                                       const struct weir_cost *units,
                                                       unsigned priority)
{
    struct weir_express *e = &view->express[weir_express_slot(route, scope, priority)];
    /* relaxed: the rows in use were read behind an acquire; only a change sends us there again */
    uint64_t tables = weir_load_relaxed_u64(&view->gate->tables);
    return WEIR_LIKELY(weir_express_keeps(e, tables, route, scope, priority) && units == NULL)
               ? e
               : NULL;
}

/*
 * Take a permit. `units` NULL = the route's costs. Fills `*permit` on WEIR_OK; fills permit->denial on WEIR_DENIED.
 * Returns WEIR_OK, WEIR_DENIED, WEIR_CONTENDED, or WEIR_E_ROUTE_UNKNOWN, WEIR_E_SCOPE_UNKNOWN, WEIR_E_COST, WEIR_E_PRIORITY,
 * WEIR_E_ARGUMENT, WEIR_E_CORRUPT. Caller: the thread that owns `view`.
 */
int weir_permit_take(struct weir_permit_view *view, weir_route_id route, weir_scope_id scope,
                     const struct weir_cost *units, unsigned priority, struct weir_permit *permit);

/* The same from the beginning, for any call: what weir_permit_take does where the short way (weir_express.h) does not know the case. */
int weir_permit_take_long(struct weir_permit_view *view, weir_route_id route, weir_scope_id scope,
                          const struct weir_cost *units, unsigned priority,
                          struct weir_permit *permit);

/* Fill a refusal. Returns WEIR_DENIED. Caller: the permit path. */
int weir_permit_deny(struct weir_permit *permit, uint32_t reason, uint32_t limit,
                     uint64_t earliest_ns);

/* Pass 1 only: would it pass now? Takes nothing, counts nothing. Answers as weir_permit_take. */
int weir_permit_look(struct weir_permit_view *view, weir_route_id route, weir_scope_id scope,
                     const struct weir_cost *units, unsigned priority, struct weir_permit *permit);

/* Give all charges of a granted permit back: the call was not made. Once: WEIR_E_SETTLED afterwards. */
int weir_permit_give(struct weir_permit_view *view, struct weir_permit *permit);

/*
 * The call was made, and this is what the exchange counted: `units`, one for each limit of the route (NULL: as charged). Less gives the rest back, more is charged
 * whether it fits or not; units in flight are let go. Once: WEIR_E_SETTLED afterwards. WEIR_E_ARGUMENT, WEIR_E_CORRUPT as weir_permit_give.
 */
int weir_permit_end(struct weir_permit_view *view, struct weir_permit *permit,
                    const struct weir_cost *units);

/*
 * The call was answered: weir_permit_end with `counted`, or where it is NULL with what the route's `settle` rule says for its success or its failure.
 */
int weir_permit_answered(struct weir_permit_view *view, struct weir_permit *permit, bool success,
                         const struct weir_cost *counted);

/* What the route's rule for this outcome says of a permit, by limit. False: nothing (another table's permit). */
bool weir_permit_rule(struct weir_permit_view *view, const struct weir_permit *permit, bool success,
                      struct weir_cost *units);

/* Bring view->tables up to the gate's word. Returns WEIR_OK or WEIR_E_CORRUPT. Cheap when nothing changed. */
int weir_permit_refresh(struct weir_permit_view *view);

/* A provider's clock, from the cache or its latch; NULL when the latch could not be read. Fills `*seq`. */
const struct weir_server_clock *weir_permit_server_clock(struct weir_permit_view *view,
                                                         uint32_t provider, uint64_t *seq);

/* The limit word of `limit` under `scope`; NULL when the limit has no such scope value. */
struct weir_shm_limit_word *weir_permit_word(const struct weir_permit_view *view, uint32_t limit,
                                             weir_scope_id scope, uint32_t *index);

/* The same as it was copied, with the epoch of its timeline; NULL as above. */
const struct weir_permit_clock *weir_permit_clock_current(struct weir_permit_view *view,
                                                          uint32_t provider);

/* The words of limit word `index`, which is one of `limit`. */
static inline struct weir_limit_place weir_permit_place(const struct weir_permit_view *view,
                                                        uint32_t limit, uint32_t index)
{
    const struct weir_shm_limit_row *row = &view->tables.limit[limit];
    return (struct weir_limit_place){
        .row = row, .word = &view->word[index], .cell = weir_limit_cells(view->cell, row, index)};
}

/* More units of a limit, or modulo 2^64 less, by this thread. Only where it has a meter. */
WEIR_INLINE void weir_permit_count(struct weir_permit_view *view, uint32_t limit, uint64_t units)
{
    weir_count_u64(&view->meter.units[limit], units);
}

/* One more of `counts[i]`, by this thread. NULL: it has no meter. */
WEIR_INLINE void weir_permit_count_one(uint32_t *counts, uint32_t i)
{
    if (WEIR_LIKELY(counts != NULL)) {
        weir_count_u32(&counts[i], 1);
    }
}

/* Wake those who wait for room or for a resume on this provider. Cost: one load, and a system call only if somebody waits. */
void weir_permit_bell(struct weir_shm_pause *pause);

#endif
