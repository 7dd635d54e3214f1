/*
 * weir_types.h: the public vocabulary of weir, installed beside weir.h.
 *
 * Programs include <weir.h>, which includes this file. Values are part of the ABI: they are never reused, and 0 always means
 * "unset" where a type has an unset value. Times are in nanoseconds on weir's timeline (weir_now_ns), durations too.
 */
#ifndef WEIR_TYPES_H
#define WEIR_TYPES_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Names (broker, provider, route, limit, endpoint, client) are NUL-terminated and at most 31 bytes long. */
#define WEIR_NAME_BYTES 32

/* A permit takes from at most so many limits. */
#define WEIR_PERMIT_LIMITS_MAX 8

/* Priorities, highest first. A lower class stops earlier: its limits keep headroom for the classes above it. */
enum weir_priority {
    WEIR_PRIORITY_CRITICAL = 0, /* cancels, hedges: may use a limit to its end */
    WEIR_PRIORITY_HIGH = 1,
    WEIR_PRIORITY_MEDIUM = 2,
    WEIR_PRIORITY_LOW = 3,
    WEIR_PRIORITY_BACKGROUND = 4,
};
#define WEIR_PRIORITY_CNT 5

/* Normal answers other than "done": positive. */
enum weir_answer {
    WEIR_OK = 0,
    WEIR_DENIED = 1,    /* not now: the permit's `denial` says which limit, and when to ask again */
    WEIR_CONTENDED = 2, /* others were faster four times in a row: ask again at once */
    WEIR_PENDING = 3,   /* the request has not ended yet */
    WEIR_EMPTY = 4,     /* nothing has ended since the last poll */
};

/* Failures: negative. weir_strerror() gives the text, weir_hint() the next step; the rows are in errors.def. */
enum weir_error {
    WEIR_E_ARGUMENT = -1,
    WEIR_E_MEMORY = -2,
    WEIR_E_SYSTEM = -3,
    WEIR_E_NO_BROKER = -4,
    WEIR_E_NOT_READY = -5,
    WEIR_E_PERMISSION = -6,
    WEIR_E_ROLE = -7,
    WEIR_E_ABI = -8,
    WEIR_E_LAYOUT = -9,
    WEIR_E_CORRUPT = -10,
    WEIR_E_TOO_MANY_CLIENTS = -11,
    WEIR_E_ARENA_TOO_LARGE = -12,
    WEIR_E_STALE = -13,
    WEIR_E_FORKED = -14,
    WEIR_E_HANDLES = -15,
    WEIR_E_ROUTE_UNKNOWN = -16,
    WEIR_E_SCOPE_UNKNOWN = -17,
    WEIR_E_COST = -18,
    WEIR_E_PRIORITY = -19,
    WEIR_E_SETTLED = -20,
    WEIR_E_NOT_TRADER = -21,
    WEIR_E_NOT_CALLER = -22,
    WEIR_E_TRANSPORT = -23,
    WEIR_E_BODY_TOO_LARGE = -24,
    WEIR_E_PATH_INVALID = -25,
    WEIR_E_HEADER_INVALID = -26,
    WEIR_E_HEADER_FORBIDDEN = -27,
    WEIR_E_METHOD = -28,
    WEIR_E_NO_SLOT = -29,
    WEIR_E_RING_FULL = -30,
    WEIR_E_DEADLINE = -31,
    WEIR_E_TICKET = -32,
    WEIR_E_CANCEL_LATE = -33,
    WEIR_E_UNSUPPORTED = -34,
    WEIR_E_BLOCKED = -35,
    WEIR_E_LEASE = -36,
    WEIR_E_NAME = -37,
    WEIR_E_LIMIT_UNKNOWN = -38,
    WEIR_E_CLIENT_UNKNOWN = -39,
    WEIR_E_QUOTA_SLOTS = -40,
    WEIR_E_QUOTA_MEMORY = -41,
    WEIR_E_QUOTA_IN_FLIGHT = -42,
    WEIR_E_QUOTA_RATE = -43,
    WEIR_E_KEY_MISSING = -44,
};

/* What one attachment may do; each role includes the ones before it. */
enum weir_role {
    WEIR_ROLE_MONITOR = 1, /* reads the board */
    WEIR_ROLE_CALLER = 2,  /* hands requests to the broker; never touches a limit word */
    WEIR_ROLE_TRADER = 3,  /* takes permits itself, at memory speed */
};

/* Why a permit was refused. */
enum weir_reason {
    WEIR_REASON_NONE = 0,
    WEIR_REASON_LIMIT_FULL = 1,  /* the limit has no room for this cost at this priority */
    WEIR_REASON_PAUSED = 2,      /* the provider told someone to stop, or an operator did */
    WEIR_REASON_LEASE_ENDED = 3, /* no broker owns the limits any more */
    WEIR_REASON_BLOCKED = 4,     /* an operator stopped this client, or all */
    /* a limit word is outside its legal range; the broker repairs it within 10 ms */
    WEIR_REASON_LIMIT_DAMAGED = 5,
    /* the provider's clock is being re-aligned: a matter of microseconds */
    WEIR_REASON_CLOCK_MOVING = 6,
    /* a pause is over, and permits come back in steps: one call tries first, the others wait for its answer or for the next step */
    WEIR_REASON_REOPENING = 7,
    /* a long window's next units are not in the journal on disk yet: some milliseconds, longer only if the disk fails */
    WEIR_REASON_JOURNAL = 8,
    /* the limit has room, but it is kept for the shares of other clients or the floor of another class */
    WEIR_REASON_SHARE = 9,
    /* every endpoint that may be tried has an open breaker, or the breaker of the route's group is open; only calls that the broker makes */
    WEIR_REASON_BREAKER = 10,
    /* the key's session is over, and weir is not signed in again; `earliest_ns` UINT64_MAX: not by itself. Only calls that the broker makes */
    WEIR_REASON_SIGN_IN = 11,
};

/* How far an endpoint, or a group of routes, is believed to work (broker/breaker.h). */
enum weir_breaker_state {
    WEIR_BREAKER_NONE = 0,      /* none is configured */
    WEIR_BREAKER_CLOSED = 1,    /* calls pass */
    WEIR_BREAKER_OPEN = 2,      /* nothing is sent until an instant */
    WEIR_BREAKER_HALF_OPEN = 3, /* some calls try it, the others wait or go elsewhere */
};

/* What the end of one attempt says about the endpoint that it was made at. */
enum weir_call_class {
    WEIR_CLASS_NONE = 0,      /* nothing: not sent, cancelled, cut off by its own short deadline */
    WEIR_CLASS_OK = 1,        /* answered */
    WEIR_CLASS_BUSINESS = 2,  /* answered 4xx: the endpoint works, the call was wrong */
    WEIR_CLASS_TRANSPORT = 3, /* no connection, or it died */
    WEIR_CLASS_SERVER = 4,    /* answered 5xx */
    WEIR_CLASS_TIMEOUT = 5,   /* no answer for much longer than usual */
    WEIR_CLASS_THROTTLE = 6,  /* told to stop: the pause's business */
    WEIR_CLASS_BAN = 7,       /* ... for long */
};
#define WEIR_CLASS_CNT 8

/* How calls are spread over the endpoints of one role (broker/balance.h). */
enum weir_balance {
    WEIR_BALANCE_UNSET = 0,
    WEIR_BALANCE_FAILOVER = 1,
    WEIR_BALANCE_ROUND_ROBIN = 2,
    WEIR_BALANCE_WEIGHTED_ROUND_ROBIN = 3,
    WEIR_BALANCE_LEAST_LATENCY = 4,
    WEIR_BALANCE_LEAST_CONNECTIONS = 5,
    WEIR_BALANCE_TWO_CHOICES = 6,
};
#define WEIR_BALANCE_CNT 7

/* A refusal: which limit, and the earliest instant at which the same call could pass if nobody else came first. */
struct weir_denial {
    uint32_t reason; /* enum weir_reason */
    /* index of the limit, for weir_limit_get; UINT32_MAX where no single limit is the cause */
    uint32_t limit;
    uint64_t earliest_ns; /* weir time; UINT64_MAX where it depends on somebody's decision */
};

/* How a request ended. Every request ends exactly once, with one of these. */
enum weir_result {
    WEIR_RESULT_UNSET = 0,
    /* an HTTP answer arrived whole; its status may still be an error of the exchange */
    WEIR_RESULT_DONE = 1,
    WEIR_RESULT_REFUSED = 2, /* not sent: no permit before the deadline; `denial` says why */
    WEIR_RESULT_EXPIRED = 3, /* not sent: the deadline passed while it waited */
    /* the client took it back. Not sent; or idempotent, and then `sends` says whether it had left */
    WEIR_RESULT_CANCELLED = 4,
    WEIR_RESULT_REJECTED = 5, /* not sent: the broker found the request invalid; `error` says why */
    WEIR_RESULT_NOT_SENT = 6, /* not sent: no connection; nothing reached the exchange */
    WEIR_RESULT_FAILED = 7,   /* sent, an idempotent call, and no whole answer came */
    /* sent, not idempotent, and no whole answer came: ask the exchange before repeating */
    WEIR_RESULT_OUTCOME_UNKNOWN = 8,
    WEIR_RESULT_TOO_LARGE = 9, /* sent and answered, but the answer is above the route's cap */
    WEIR_RESULT_NO_ROOM = 10, /* not sent: the arena had no room for an answer of the route's cap */
    /* sent, an idempotent call; the deadline passed before the whole answer came */
    WEIR_RESULT_TIMEOUT = 11,
    /* sent, not idempotent, no answer; asked afterwards, the exchange has it not, and surely will not (a route with `doubt`) */
    WEIR_RESULT_ABSENT = 12,
};
#define WEIR_RESULT_CNT 13

/* What was found out about a call that was written and got no answer that says what became of it (a route with `doubt`; docs/http.md). */
enum weir_doubt {
    WEIR_DOUBT_NONE =
        0, /* there was none, or the route has no `doubt`, or the call bore no id to ask by */
    WEIR_DOUBT_UNKNOWN = 1, /* the exchange was asked, and what it said settles nothing */
    WEIR_DOUBT_FOUND =
        2, /* the exchange has it: the answer here is the one to the question, not the one that was lost */
    WEIR_DOUBT_ABSENT = 3, /* the exchange has it not: result ABSENT */
    WEIR_DOUBT_RESENT =
        4, /* it had it not, and `resend` had it sent again: the answer is the one to that */
};
#define WEIR_DOUBT_CNT 5

/* HTTP methods that a route can have. */
enum weir_method {
    WEIR_METHOD_UNSET = 0,
    WEIR_METHOD_GET = 1,
    WEIR_METHOD_HEAD = 2,
    WEIR_METHOD_POST = 3,
    WEIR_METHOD_PUT = 4,
    WEIR_METHOD_DELETE = 5,
    WEIR_METHOD_PATCH = 6,
};

/* How a limit counts. */
enum weir_limit_kind {
    WEIR_LIMIT_UNSET = 0,
    WEIR_LIMIT_TOKEN_BUCKET = 1,
    WEIR_LIMIT_FIXED_WINDOW = 2,
    WEIR_LIMIT_SLIDING_WINDOW = 3, /* at most N in any interval of the window's length */
    WEIR_LIMIT_CONCURRENCY = 4, /* at most N in flight at once; held until the permit is settled */
};

/* What a limit is counted by. A scope id names one value for each of them. */
enum weir_scope_kind {
    WEIR_SCOPE_IP = 0,
    WEIR_SCOPE_KEY = 1,
    WEIR_SCOPE_ACCOUNT = 2,
    WEIR_SCOPE_INSTRUMENT = 3,
};
#define WEIR_SCOPE_KIND_CNT 4

/* A route of the configuration, by its place in the tables. Valid for the life of the attachment. */
typedef uint32_t weir_route_id;

/* One value for each scope kind: value of kind k in bits 16k..16k+15. 0 is the first value of each, the usual case. */
typedef uint64_t weir_scope_id;
#define WEIR_SCOPE_DEFAULT ((weir_scope_id)0)

/* A call's cost where it depends on the call: units from each limit of the route, in the route's order of limits. */
struct weir_cost {
    uint32_t cnt; /* the route's number of limits */
    uint32_t units[WEIR_PERMIT_LIMITS_MAX];
};

/* What a permit took from one limit: enough to give it back. Written by weir, read by nobody else. */
struct weir_charge {
    uint32_t word;  /* index of the limit's words */
    uint32_t units; /* units taken */
    uint32_t
        window; /* first window (fixed_window), cell or part (sliding_window), unit (concurrency) */
    uint16_t limit;  /* index of the limit in the tables */
    uint8_t windows; /* windows charged: 1, or 2 where the arrival was ambiguous */
    uint8_t kind;    /* enum weir_limit_kind */
};

/*
 * A permit: the right to make one call before `use_by_ns`. The caller owns the memory; weir keeps no pointer to it. Copying it
 * does not give a second right: settle one copy only.
 */
struct weir_permit {
    uint64_t granted_at_ns; /* weir time of the grant */
    /* write the request before this instant, or settle with WEIR_OUTCOME_NOT_SENT and ask again */
    uint64_t use_by_ns;
    struct weir_denial denial; /* filled with the answer WEIR_DENIED */
    uint32_t route;
    /* generation:20, so that a late 429 of this permit does not pause again; probe's ticket:11; it is the probe:1 */
    uint32_t pause_generation;
    uint8_t state; /* 0 none, 1 granted, 2 settled, 3 sent */
    uint8_t priority;
    uint16_t charge_cnt;
    uint16_t tables_generation; /* under which tables it was granted */
    uint16_t clock_epoch;       /* on which timeline its windows lie */
    struct weir_charge charge[WEIR_PERMIT_LIMITS_MAX];
    /* where a limit of the route lives in cells, else not touched: who holds its units (concurrency), and what its cells are stamped with */
    uint64_t owner;
    uint64_t stamp_ns;
};

/* Where the answer of a request came from. */
enum weir_source {
    WEIR_SOURCE_UNSET = 0, /* there is none */
    WEIR_SOURCE_LIVE = 1,  /* the exchange, for this request */
    WEIR_SOURCE_CACHE =
        2, /* fresh by the route's `cache`; or of another client's equal call, as it came */
    WEIR_SOURCE_STALE =
        3, /* behind that, within the route's `stale`: nothing better was to be had, or it is being fetched */
    WEIR_SOURCE_DISK = 4, /* an earlier broker fetched it */
};

/* What became of a call that was made with a permit. */
enum weir_outcome_kind {
    WEIR_OUTCOME_UNSET = 0,
    WEIR_OUTCOME_NOT_SENT = 1, /* no byte was written: the permit is given back */
    /* an HTTP answer came; `status` and `retry_after_ns` are looked at */
    WEIR_OUTCOME_ANSWERED = 2,
    WEIR_OUTCOME_NO_ANSWER = 3, /* sent, and nothing is known: the charge stays */
};

/* Did the exchange do what was asked? */
enum weir_verdict {
    WEIR_VERDICT_BY_STATUS = 0, /* 2xx: yes */
    WEIR_VERDICT_SUCCESS = 1,
    WEIR_VERDICT_FAILURE = 2, /* for exchanges that say no in the body of a 200 */
};

/* How a count that the exchange reported is meant. */
enum weir_told_kind {
    WEIR_TOLD_NOTHING = 0,
    WEIR_TOLD_USED = 1,      /* counts up, this call in it */
    WEIR_TOLD_REMAINING = 2, /* counts down from the limit's quota (token_bucket: its burst) */
};

/* What the answer told of the exchange's own counts, by limit, in the route's order of limits. Leave out what is -1 or no number. */
struct weir_told {
    uint32_t cnt;                          /* the route's number of limits */
    uint32_t kind[WEIR_PERMIT_LIMITS_MAX]; /* enum weir_told_kind */
    uint32_t units[WEIR_PERMIT_LIMITS_MAX];
};

/* Zero the struct, then set what you know. */
struct weir_outcome {
    uint32_t kind;           /* enum weir_outcome_kind */
    uint32_t status;         /* HTTP status, 0 if none */
    uint64_t retry_after_ns; /* duration from the Retry-After header, 0 if none */
    uint64_t latency_ns;     /* send to answer, 0 if unknown */
    uint32_t verdict;        /* enum weir_verdict; which of the route's `settle` rules holds */
    uint32_t reserved;
    /* ANSWERED: what the exchange counted, by limit, where you know better than the rules (a batch of which a part was done, bytes). NULL: the rules */
    const struct weir_cost *counted;
    /* ANSWERED: the exchange's own UTC in the answer and what it is rounded to (a Date header: 1 s), 0 if none: where it contradicts our clock, a call
     * that was charged to two windows stays charged to both */
    uint64_t server_utc_ns;
    uint64_t server_granularity_ns;
    /* ANSWERED: what the exchange said that it has counted, for limits that the configuration's `feedback` names. It can only add to what others are known
     * to use, for a minute at most. NULL: nothing */
    const struct weir_told *told;
};

/* ---- planning ahead: weir_limit_forecast */

/* What was seen of a limit at one instant. Written by weir, read by nobody else: kept so that a later forecast can tell the pace. */
struct weir_limit_reading {
    uint64_t at_ns; /* 0: nothing was read */
    uint64_t word[2];
    uint32_t window;
    uint32_t epoch;
};

/* Millionths: of a unit per second, and of a whole. */
#define WEIR_MILLION UINT64_C(1000000)

/*
 * What a limit will do, if what was seen goes on. `now_ns` is the instant that all of it is said for; instants are weir time, UINT64_MAX: never as
 * things are. Shares are in millionths.
 */
struct weir_forecast {
    uint64_t now_ns;
    uint32_t units;    /* the cost that the two instants below are about */
    uint32_t priority; /* ... and its class */
    uint32_t quota_units;
    uint32_t used_units;
    uint32_t left_units[WEIR_PRIORITY_CNT];
    /* net of what was given back, in millionths of a unit per second, measured over the last `pace_over_ns`; 0: nothing was measured yet */
    uint64_t pace_micro;
    uint64_t pace_over_ns;
    uint64_t reset_ns; /* a window's end; a bucket: full again if nothing more is taken */
    uint64_t
        earliest_ns; /* the cost passes this limit then, if nobody else comes: exact by the kind's rule */
    uint64_t
        empty_ns; /* at this pace the cost finds no room from then on; UINT64_MAX: not before the reset */
    /* at this pace, used when the window ends: may be above the quota; 0 where the kind has no window */
    uint64_t at_reset_units;
    /* the budget, by the average since its window began rather than by the pace of late */
    uint32_t gone_ppm; /* how much of the window is over; 0 where the kind has no window */
    uint32_t used_ppm; /* how much of the quota is used */
    /* used_ppm / gone_ppm: above 1000000 the quota will not last; a bucket: its pace against its refill; 0: too early to say */
    uint64_t burn_ppm;
    uint64_t burn_empty_ns; /* at that average the quota is used up then; UINT64_MAX: it lasts */
    struct weir_limit_reading reading;
};

#ifdef __cplusplus
}
#endif

#endif
