/*
 * aftermath.h: what one broker leaves to the next, so that no charge is forgotten.
 *
 * RUNTIME_DIR/NAME/
 *   lock     held (flock) by the supervisor and, by inheritance, by its worker: a second broker of the name cannot start while either lives,
 *            so two generations of limits never grant side by side
 *   running  exists from start to clean stop; bears the id of its broker. Found at start, it means that the broker before died: wait one lease
 *   state    written at a clean stop: the limit words, pauses and server clocks. Valid for the same boot only (times are CLOCK_MONOTONIC)
 *
 * Beside it, in a directory that outlives a reboot, is the journal (journal.h, memory.h). What counts, in this order:
 *
 *   a state, no `running`     exact: words, pauses and clocks are what they were at the stop, when permits had already ended
 *   a sound journal           limits above 10 min from it (exact where its writer stopped cleanly); shorter ones spent, buckets empty
 *   none of both              everything is spent: what was used is not known. Also at a first start, unless somebody vouches for it (--fresh)
 *
 * With broker.state_dir: none there is no journal, and without a state and without `running` nothing is known to have been used.
 */
#ifndef WEIR_BROKER_AFTERMATH_H
#define WEIR_BROKER_AFTERMATH_H

#include "broker/region.h"

enum aftermath {
    AFTERMATH_FRESH = 0,    /* nothing was left */
    AFTERMATH_RESTORED = 1, /* words, pauses and clocks are as they were */
    AFTERMATH_SPENT = 2,    /* counted as spent; after an unclean end the lease was waited for */
    AFTERMATH_JOURNAL = 3,  /* long windows from the journal, the rest spent */
};

/* Write our pid into the lock file: for whoever finds it held. */
void aftermath_lock_sign(int fd);

/*
 * Take the lock in `dir`. Returns the descriptor, to be kept open, or -1 with `text`. `patient`: where the supervisor that signed it is dead, wait some seconds for the
 * kernel to end its other processes. Only behind the question whether one of them lives and hands over: an orphan keeps the lock, and its clients do not wait for ever.
 */
int aftermath_lock(const char *dir, bool patient, char *text, size_t text_bytes);

/*
 * Bring the region to what is known, make this broker's journal, and mark it as running. region->journal is open; region->journal_board says afterwards what
 * was found. May sleep for one lease. Returns -1 with `text` on a system error, or where `fresh` is vouched for and a journal is there.
 */
int aftermath_enter(const char *dir, struct region *region, bool fresh, enum aftermath *found,
                    char *text, size_t text_bytes);

/* Write the state and the journal's last word, and say that the end was clean. Caller: the supervisor, after the lease has ended and the worker is gone. */
int aftermath_leave(const char *dir, struct region *region);

#endif
