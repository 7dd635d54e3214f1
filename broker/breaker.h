/*
 * breaker.h: the breaker of one endpoint, or of one group of routes, as a pure state machine.
 *
 *            failures of the window >= rule.failure_cnt, and at least rule.failed_ppm of what ended
 *   CLOSED ----------------------------------------------------------------------------------------> OPEN
 *     ^                                                                                               |  rule.open_ns
 *     |  rule.probe_cnt probes answered well                                                          v
 *     +------------------------------------------------------------------------------------------- HALF_OPEN
 *                                                    a probe fails: OPEN again <-----------------------+
 *
 * Classes of ends (enum weir_call_class). Failures: TRANSPORT, SERVER, TIMEOUT. Answers: OK, BUSINESS. Neither: THROTTLE, BAN and NONE; being told to stop
 * is the pause's business (broker/pause.h), and a call that says nothing only gives its lease back. So throttling never opens a breaker.
 *
 * Leases and generations. A probe is a lease that ends at an instant: whoever holds it and dies, or never comes back, holds the others up until then and no
 * longer. Each change of state, each restart, and each end of the leases of a round is a new generation; an end that bears another generation than the
 * present one changes nothing. So a late answer of a former life can neither close nor open anything, nor give back a lease that is not its own. At most
 * rule.probe_cnt leases of one generation are out.
 *
 * Liveness (tests/prop/prop_breaker.c): from any state, if from now on whatever is asked is answered well, the breaker is closed after open_ns, one
 * BREAKER_LEASE_MAX_NS, and probe_cnt calls.
 *
 * The window is BREAKER_SLICES slices of an eighth each, so a failure counts for between 7/8 and 8/8 of it.
 *
 * State: struct weir_shm_breaker in the ledger. One writer, the worker; survives it. breaker_restart says what a new worker believes.
 * Source: M. Nygard, "Release It!" (circuit breaker); the ratio beside the count is Envoy's and Resilience4j's, so that five failures among thousands of
 * answers mean nothing. Own: leases with generations, because here a prober can be killed.
 */
#ifndef WEIR_BROKER_BREAKER_H
#define WEIR_BROKER_BREAKER_H

#include "shm/weir_health.h"
#include "shm/weir_layout.h"

#define BREAKER_LEASE_MAX_NS (60 * WEIR_NS_PER_S)

struct breaker_rule {
    uint32_t failure_cnt; /* 0: no breaker */
    uint32_t failed_ppm;
    uint32_t probe_cnt; /* at least 1 */
    uint64_t window_ns;
    uint64_t open_ns;
};

enum breaker_says {
    BREAKER_PASS = 0,
    BREAKER_PROBE = 1,  /* it may go, as one of the few that try */
    BREAKER_REFUSE = 2, /* not before an instant */
};

/* What a call holds from its start to its end. Zeroed: nothing. */
struct breaker_ticket {
    uint32_t generation;
    bool held;
    bool probe;
};

bool breaker_is_failure(enum weir_call_class class);
bool breaker_is_answer(enum weir_call_class class);

/* May a call go now? Changes nothing. `*earliest_ns` (REFUSE only): when to ask again, at the latest. */
enum breaker_says breaker_ask(const struct weir_shm_breaker *b, const struct breaker_rule *rule,
                              uint64_t now_ns, uint64_t *earliest_ns);

/* It goes. Only directly after breaker_ask has not refused at the same instant. `lease_until_ns`: when its answer is due; a probe's lease ends then. */
struct breaker_ticket breaker_take(struct weir_shm_breaker *b, const struct breaker_rule *rule,
                                   uint64_t now_ns, uint64_t lease_until_ns);

/* How it ended; clears the ticket, so that a second end says nothing. Returns whether the state changed. */
bool breaker_told(struct weir_shm_breaker *b, const struct breaker_rule *rule, uint64_t now_ns,
                  struct breaker_ticket *ticket, enum weir_call_class class);

/*
 * A worker starts on what the one before left. OPEN stays, for open_ns at most; HALF_OPEN stays without leases, since their calls died with the worker;
 * counts stay; what cannot be (a dead writer, another rule) begins again as CLOSED and empty.
 */
void breaker_restart(struct weir_shm_breaker *b, const struct breaker_rule *rule, uint64_t now_ns);

#endif
