/*
 * weir_limit.h: one limit of one permit, whatever its kind.
 *
 * The permit path (weir_permit.c) knows only these four steps; the arithmetic of a kind stands in its own header (weir_bucket.h,
 * weir_window.h). A new kind adds a header, its case in the four steps, and its row in docs/architecture.md.
 *
 *   plan    read the words, say yes or no, write nothing                      (pass 1)
 *   take    CAS what was planned; plan again if somebody was faster           (pass 2)
 *   give    undo a charge, by the kind's refund rule                          (rollback, settle)
 *   left    what could be taken now, for monitors
 *
 * All atomic accesses to limit words are here and in weir_limit_repair.c (pair:limit).
 */
#ifndef WEIR_LIMIT_H
#define WEIR_LIMIT_H

#include "weir_bucket.h"
#include "weir_window.h"

enum weir_limit_verdict {
    WEIR_LIMIT_YES = 0,
    WEIR_LIMIT_NO = 1,      /* full: `earliest_ns` says until when */
    WEIR_LIMIT_AGAIN = 2,   /* the word is ahead of our clock reading: read the clock again */
    WEIR_LIMIT_DAMAGED = 3, /* outside the legal range, however often the clock was read */
    WEIR_LIMIT_NEVER = 4,   /* the cost is above what this class may ever take */
};

/*
 * The timeline that a charge's window ids belong to. They are given back, or overwritten, only while `*now` is still `seen`: an id of the
 * timeline before may be that of a window now, full of others' charges.
 */
struct weir_limit_epoch {
    const uint64_t *now; /* the provider's clock_epoch */
    uint64_t seen;
};

/* What the clock says, read once per attempt. */
struct weir_limit_time {
    uint64_t now_ns;
    uint64_t error_ns;                      /* of the server clock, at now */
    const struct weir_server_clock *server; /* NULL where no limit of the route counts by windows */
    struct weir_limit_epoch epoch;          /* set where `server` is, for pass 2 */
};

struct weir_limit_plan {
    const struct weir_shm_limit_row *row;
    struct weir_shm_limit_word *word;
    const struct weir_shm_foreign *foreign;
    uint32_t units;
    uint32_t priority;
    /* filled by plan */
    uint32_t windows; /* words to change: 1, or 2 for a straddle */
    uint32_t window;
    uint32_t word_at[2]; /* index in word->word[] */
    uint64_t seen[2];
    uint64_t next[2];
    uint64_t earliest_ns;
    double calls_left; /* how many such calls still fit: the scarcest is taken first */
};

enum weir_limit_verdict weir_limit_plan(struct weir_limit_plan *plan,
                                        const struct weir_limit_time *time);

/* Pass 2. YES: charged. Anything else: nothing of this limit is charged. */
enum weir_limit_verdict weir_limit_take(struct weir_limit_plan *plan,
                                        const struct weir_limit_time *time);

/* Give a charge back at `now_ns`, by the kind's rule. Returns whether anything changed; a window's charge stays once its timeline is over. */
bool weir_limit_give(const struct weir_shm_limit_row *row, struct weir_shm_limit_word *word,
                     const struct weir_charge *charge, uint64_t granted_at_ns, uint64_t now_ns,
                     const struct weir_limit_epoch *epoch);

/* For monitors and weir_limit_get: the state of one limit word at one instant. */
struct weir_limit_state {
    uint32_t quota; /* units the limit has now (reduced while the clock is unknown) */
    uint32_t used;  /* own charges and foreign usage */
    uint32_t foreign;
    uint32_t left[WEIR_PRIORITY_CNT];
    uint64_t reset_ns; /* weir time at which used falls to 0 if nothing more is taken */
    bool damaged;
};

void weir_limit_state_get(struct weir_limit_state *state, const struct weir_shm_limit_row *row,
                          const struct weir_shm_limit_word *word,
                          const struct weir_shm_foreign *foreign,
                          const struct weir_limit_time *time);

#endif
