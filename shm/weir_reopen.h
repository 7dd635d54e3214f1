/*
 * weir_reopen.h: the way back from a pause to the full rate, in one word.
 *
 * When a pause that an exchange asked for is over (weir_pause.h), nobody knows yet whether it would be obeyed at full rate. So permits come back in steps:
 *
 *   probe   one permit for the whole machine. Whoever asks first gets it; everybody else is refused until it has been answered. It is leased: if
 *           no answer is told within the provider's `reopen_lease_ns` (the prober was killed), the next who asks gets another one.
 *   ramp    once any call that left behind the pause was answered, and not by "stop": 1, 2, 4, 8 ... permits in steps of `reopen_step_ns`,
 *           WEIR_REOPEN_STEPS of them; then everything is as before.
 *
 * A probe that is told to stop begins the next pause, and with it this starts again. An operator's pause and an operator's resume have no way back: both are
 * decisions, not guesses.
 *
 *   since:40 (units of 2^20 ns, rounded down) | step:6 | count:16 | phase:2
 *
 * The word belongs to the pause that ended at `until` exactly if since >= until: a probe or ramp that began before is one of an earlier pause and
 * counts as none. So nobody has to reset the word when a pause begins, and between two words there is nothing that a death could tear apart. A word
 * that lies ahead of the clock was not written by anybody honest and counts as none too.
 *
 *   writers  traders and worker, by CAS (pair:reopen)      readers  permits of a provider whose pause words are not 0
 *   dies after claiming the probe    its lease ends, and another one probes
 *   dies after claiming a place in the ramp    a step lets through one permit less
 *   dies with an answer that it did not tell   as after claiming
 *
 * Promised: at most one probe per lease, at most 2^k permits in step k. Not promised: who probes. The limits themselves do not depend on it: this
 * only refuses.
 */
#ifndef WEIR_REOPEN_H
#define WEIR_REOPEN_H

#include "weir_pause.h"
#include "weir_weave.h"

#define WEIR_REOPEN_STEPS       8U
#define WEIR_REOPEN_SINCE_SHIFT 24U
#define WEIR_REOPEN_STEP_SHIFT  18U
#define WEIR_REOPEN_CNT_SHIFT   2U
#define WEIR_REOPEN_CNT_MASK    0xffffU

enum weir_reopen_phase {
    WEIR_REOPEN_NONE = 0,
    WEIR_REOPEN_PROBING = 1,
    WEIR_REOPEN_RAMPING = 2,
};

/* A provider's row says it. */
struct weir_reopen_rule {
    uint64_t lease_ns;
    uint64_t step_ns;
};

enum weir_reopen_verdict {
    WEIR_REOPEN_OPEN = 0,  /* the ramp is over: nothing holds anybody back */
    WEIR_REOPEN_PROBE = 1, /* you may be the probe: CAS to `next` first */
    WEIR_REOPEN_PART = 2,  /* this step has a place left: CAS to `next` first */
    WEIR_REOPEN_WAIT = 3,  /* not before `earliest_ns`, unless an answer comes first */
};

static inline uint64_t weir_reopen_make(uint64_t since_ns, uint32_t step, uint32_t cnt,
                                        enum weir_reopen_phase phase)
{
    return since_ns >> WEIR_PAUSE_TICK_BITS << WEIR_REOPEN_SINCE_SHIFT |
           (uint64_t)(step & 63U) << WEIR_REOPEN_STEP_SHIFT |
           (uint64_t)(cnt & WEIR_REOPEN_CNT_MASK) << WEIR_REOPEN_CNT_SHIFT | (uint64_t)phase;
}

static inline uint64_t weir_reopen_since_ns(uint64_t word)
{
    return word >> WEIR_REOPEN_SINCE_SHIFT << WEIR_PAUSE_TICK_BITS;
}

static inline uint32_t weir_reopen_step(uint64_t word)
{
    return (uint32_t)(word >> WEIR_REOPEN_STEP_SHIFT) & 63U;
}

static inline uint32_t weir_reopen_cnt(uint64_t word)
{
    return (uint32_t)(word >> WEIR_REOPEN_CNT_SHIFT) & WEIR_REOPEN_CNT_MASK;
}

/* The phase behind the pause that ended at `until_ns`. */
static inline enum weir_reopen_phase weir_reopen_phase(uint64_t word, uint64_t until_ns,
                                                       uint64_t now_ns)
{
    uint64_t since_ns = weir_reopen_since_ns(word);
    uint32_t phase = (uint32_t)word & 3U;
    bool ours = since_ns >= until_ns && since_ns <= now_ns;
    return ours && phase <= WEIR_REOPEN_RAMPING ? (enum weir_reopen_phase)phase : WEIR_REOPEN_NONE;
}

/*
 * May a permit pass now, behind a pause that ended at `until_ns` <= now? `now_ns` must have been read after `word`, so that an honest word never lies
 * ahead. Fills `*next` with PROBE and PART, `*earliest_ns` with WAIT.
 */
static inline enum weir_reopen_verdict weir_reopen_ask(const struct weir_reopen_rule *rule,
                                                       uint64_t word, uint64_t until_ns,
                                                       uint64_t now_ns, uint64_t *next,
                                                       uint64_t *earliest_ns)
{
    uint64_t since_ns = weir_reopen_since_ns(word);
    enum weir_reopen_phase phase = weir_reopen_phase(word, until_ns, now_ns);
    if (phase == WEIR_REOPEN_NONE ||
        (phase == WEIR_REOPEN_PROBING && now_ns - since_ns >= rule->lease_ns)) {
        *next = weir_reopen_make(now_ns, 0, 0, WEIR_REOPEN_PROBING);
        return WEIR_REOPEN_PROBE;
    }
    if (phase == WEIR_REOPEN_PROBING) {
        *earliest_ns = since_ns + rule->lease_ns;
        return WEIR_REOPEN_WAIT;
    }
    uint64_t step = rule->step_ns > 0 ? (now_ns - since_ns) / rule->step_ns : WEIR_REOPEN_STEPS;
    if (step >= WEIR_REOPEN_STEPS) {
        return WEIR_REOPEN_OPEN;
    }
    /* A step ahead of us: this core's clock is a hair behind that of the core which wrote it. */
    uint32_t cnt = weir_reopen_step(word) > step    ? UINT32_MAX
                   : weir_reopen_step(word) == step ? weir_reopen_cnt(word)
                                                    : 0;
    if (cnt >= UINT32_C(1) << step) {
        *earliest_ns = since_ns + (step + 1) * rule->step_ns;
        return WEIR_REOPEN_WAIT;
    }
    *next = weir_reopen_make(since_ns, (uint32_t)step, cnt + 1, WEIR_REOPEN_RAMPING);
    return WEIR_REOPEN_PART;
}

/* What a permit remembers of a probe, to give back that one and no other. */
static inline uint32_t weir_reopen_ticket(uint64_t word)
{
    return (uint32_t)(word >> WEIR_REOPEN_SINCE_SHIFT) & 0x7ffU;
}

/*
 * A call that left behind the pause was answered, and not by "stop": the ramp begins, if none has. `now_ns` as above. Returns whether the word is to
 * become `*next`.
 */
static inline bool weir_reopen_begins(uint64_t word, uint64_t until_ns, uint64_t now_ns,
                                      uint64_t *next)
{
    *next = weir_reopen_make(now_ns, 0, 0, WEIR_REOPEN_RAMPING);
    return weir_reopen_phase(word, until_ns, now_ns) != WEIR_REOPEN_RAMPING;
}

/* Is the ramp behind this pause over? */
static inline bool weir_reopen_over(const struct weir_reopen_rule *rule, uint64_t word,
                                    uint64_t until_ns, uint64_t now_ns)
{
    return weir_reopen_phase(word, until_ns, now_ns) == WEIR_REOPEN_RAMPING &&
           now_ns - weir_reopen_since_ns(word) >= WEIR_REOPEN_STEPS * rule->step_ns;
}

/* The probe of this ticket was not sent, or nothing came back: let another one try. Returns whether it was still the one. */
static inline bool weir_reopen_give(uint64_t *at, uint32_t ticket)
{
    uint64_t seen = weir_load_acquire_u64(at); /* pair:reopen A */
    WEIR_WEAVE("reopen:give");
    return (seen & 3U) == WEIR_REOPEN_PROBING && weir_reopen_ticket(seen) == ticket &&
           weir_cas_u64(at, &seen, 0); /* pair:reopen R */
}

#endif
