/*
 * weir_health.h: how well endpoints are, on the board, and their breakers, in the ledger.
 *
 * The breaker's word on the board: state, cause and instant in one 8-byte word, so that whoever looks sees all three of one instant.
 *
 *   until_us:56 | cause:4 (enum weir_call_class) | state:4 (enum weir_breaker_state)
 *
 * The instant is weir time in microseconds, rounded up: open until then; half-open: the leases of the probes under way end then. One writer, the worker
 * (struct weir_shm_health); readers need no retry. When a breaker is open and its instant has passed, the next call is a probe.
 */
#ifndef WEIR_HEALTH_H
#define WEIR_HEALTH_H

#include "weir_layout.h"

#define WEIR_BREAKER_UNTIL_MAX_NS ((UINT64_C(1) << 56) - 1)

static inline uint64_t weir_breaker_make(unsigned state, unsigned cause, uint64_t until_ns)
{
    uint64_t us = weir_min_u64(until_ns, WEIR_BREAKER_UNTIL_MAX_NS * 255) / WEIR_NS_PER_US;
    us += until_ns % WEIR_NS_PER_US != 0 ? 1 : 0;
    return us << 8 | (cause & 15U) << 4 | (state & 15U);
}

static inline unsigned weir_breaker_state_of(uint64_t word)
{
    return (unsigned)(word & 15U);
}

static inline unsigned weir_breaker_cause_of(uint64_t word)
{
    return (unsigned)(word >> 4 & 15U);
}

static inline uint64_t weir_breaker_until_ns(uint64_t word)
{
    return (word >> 8) * WEIR_NS_PER_US;
}

enum weir_health_flag {
    WEIR_HEALTH_EJECTED = 1U << 0,  /* worse than its peers: left out for a while */
    WEIR_HEALTH_DOWN = 1U << 1,     /* a connection to it failed just now: others first */
    WEIR_HEALTH_SUSPECT = 1U << 2,  /* it owes an answer for much longer than usual: others first */
    WEIR_HEALTH_STARTING = 1U << 3, /* back from an ejection or an open breaker: its share grows */
};

/*
 * How well one endpoint is, or one group of routes (which has a breaker and counts alone). Elements 0.. are the endpoints in the order of the tables, groups
 * come behind them. Writer: worker, relaxed: breaker and flags at once, scores every 10 ms. A dead worker leaves an old picture; the next one goes on from
 * the ledger's breakers, and measures everything else anew.
 */
struct weir_shm_health {
    uint64_t breaker; /* weir_breaker_make: state, class that opened it, until when */
    uint32_t score;   /* 0..1000, docs/http.md */
    uint32_t flags;   /* enum weir_health_flag */
    uint32_t provider;
    uint32_t is_group;
    uint64_t latency_ns; /* peak EWMA, sent to first byte; 0: not known */
    /* the parts of the score, in millionths; all of them 1000000: nothing speaks against it */
    uint32_t success_ppm;
    uint32_t latency_ppm;
    uint32_t throttle_ppm;
    uint32_t fresh_ppm;
    uint32_t quota_ppm;
    uint32_t start_ppm; /* of its weight, while it comes back */
    uint64_t ejected_until_ns;
    uint64_t height;     /* as the last check told it; 0: none */
    uint64_t checked_ns; /* the last active check that was answered well */
    uint64_t checks;     /* active checks made */
    uint64_t trips;      /* times that the breaker opened */
    uint64_t ejections;
    uint64_t reserved0[3];
    /* line 1 */
    uint64_t count[WEIR_CLASS_CNT]; /* ends of attempts, by enum weir_call_class */
    uint64_t probes;                /* calls that tried it half-open */
    uint64_t reserved[3];
    char name[WEIR_NAME_BYTES]; /* of the endpoint or the group; written at the worker's start */
} WEIR_ALIGN_LINE;

#define WEIR_BREAKER_SLICES 8U

/*
 * One breaker (broker/breaker.h). Writer: worker, plain stores. A worker that dies in the middle leaves fields of two instants; its successor takes nothing
 * from here that it cannot check (breaker_restart).
 */
struct weir_shm_breaker {
    uint32_t state;      /* enum weir_breaker_state */
    uint32_t generation; /* goes up at each change of state: what was started before says nothing */
    uint32_t leased;     /* half-open: probes that have not been answered */
    uint32_t passed;     /* half-open: probes that were answered well */
    uint64_t until_ns;   /* open: nothing before; half-open: leases given out end */
    uint64_t slice;      /* the newest slice of the window: weir time / slice length */
    uint32_t failed[WEIR_BREAKER_SLICES]; /* [slice % SLICES] */
    uint32_t ended[WEIR_BREAKER_SLICES];  /* failed ones too */
    uint32_t trips;
    uint32_t cause; /* enum weir_call_class that opened it last */
    uint64_t reserved[3];
} WEIR_ALIGN_LINE;

#endif
