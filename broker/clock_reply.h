/*
 * clock_reply.h: what one answer says about the provider's clock.
 *
 * An answer gives one sample at most, the finest of:
 *
 *   stamp    the member `clock.field` of the answer to `clock.path`, or the header `clock.header` of any answer
 *   reset    a feedback entry with `reports: reset`: the window's end lies behind the answer, its start before
 *   drop     a count of `used` that fell to a quarter between two answers: the window's edge lies between them
 *
 * The last two are for fixed windows whose edges are multiples of W, and only while the clock is known well enough to say which edge. All go
 * through server_clock.h, where a second answer must confirm what one says. A stamp more than 366 days from this machine's UTC is ignored.
 */
#ifndef WEIR_BROKER_CLOCK_REPLY_H
#define WEIR_BROKER_CLOCK_REPLY_H

#include "broker/reply_value.h"
#include "broker/worker.h"

/* The server's UTC at some instant between sending and the first byte: in [stamp, stamp + granularity]. */
struct clock_evidence {
    bool found;
    uint64_t sent_ns; /* of the earlier of the two answers, for a drop */
    uint64_t received_ns;
    uint64_t stamp_ns;
    uint64_t granularity_ns;
};

/* A stamp read by the configuration's unit. Counts what is none. */
void clock_stamp(struct worker *w, const struct call *c, struct reply_text text,
                 struct clock_evidence *e);

/* "The window ends at": an instant, or what is left. `window_ns` is the limit's. */
void clock_reset(struct worker *w, const struct call *c, const struct weir_config_feedback *f,
                 struct reply_text text, uint64_t window_ns, struct clock_evidence *e);

/* The window's edge lay in [from_ns, to_ns] of weir time. */
void clock_drop(struct worker *w, uint32_t provider, uint64_t from_ns, uint64_t to_ns,
                uint64_t window_ns, struct clock_evidence *e);

/* One call was answered: take the evidence, if there is any, and what its round trip says; publish what changed. */
void clock_answered(struct worker *w, const struct call *c, const struct clock_evidence *e);

#endif
