/*
 * aftermath.h: what one broker leaves to the next, so that no charge is forgotten.
 *
 * RUNTIME_DIR/NAME/
 *   lock     held (flock) by the supervisor and, by inheritance, by its worker: a second broker of the name cannot start while either lives,
 *            so two generations of limits never grant side by side
 *   running  exists from start to clean stop. Found at start, it means that the broker before died: wait one lease, count everything as spent
 *   state    written at a clean stop: the limit words, pauses and server clocks. Valid for the same boot only (times are CLOCK_MONOTONIC)
 *
 * A restored state is what it was at the stop, when permits had already ended. Without a state and without `running` nothing is known to have
 * been used: the first start.
 */
#ifndef WEIR_BROKER_AFTERMATH_H
#define WEIR_BROKER_AFTERMATH_H

#include "broker/region.h"

enum aftermath {
    AFTERMATH_FRESH = 0,    /* nothing was left */
    AFTERMATH_RESTORED = 1, /* words, pauses and clocks are as they were */
    AFTERMATH_SPENT = 2,    /* an unclean end: counted as spent, the lease was waited for */
};

/* Take the lock in `dir`. Returns the descriptor, to be kept open, or -1 with `text`. */
int aftermath_lock(const char *dir, char *text, size_t text_bytes);

/* Bring the region to what is known, and mark this broker as running. May sleep for one lease. Returns -1 with `text` on a system error. */
int aftermath_enter(const char *dir, struct region *region, enum aftermath *found, char *text,
                    size_t text_bytes);

/* Write the state and say that the end was clean. Caller: the supervisor, after the lease has ended and the worker is gone. */
int aftermath_leave(const char *dir, const struct region *region);

#endif
