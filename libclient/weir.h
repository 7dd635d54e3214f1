/*
 * weir.h: permits and HTTP calls through shared memory.
 *
 * A strategy opens a broker by name, finds its routes once, and then either takes permits (tens of nanoseconds, its own transport) or hands
 * whole requests to the broker. This header is the manual; weir(7) tells the same as a story.
 *
 * Conventions
 *   - Functions return 0 for done, a positive enum weir_answer for a normal other answer, a negative WEIR_E_* for a failure.
 *   - Times are nanoseconds on weir's timeline (weir_now_ns); a deadline is an instant, never a duration. UINT64_MAX = no deadline of one's own
 *     (a request still ends by its route's timeout).
 *   - One handle belongs to one thread. weir_dup gives another thread its own. Nothing here takes a lock.
 *   - The library never prints, never exits, starts no thread, installs no signal handler. weir_open and weir_dup allocate; nothing else does.
 *   - fork: a handle belongs to the process that opened it; in a child every function that can answer an error answers WEIR_E_FORKED, before it
 *     touches anything shared. There weir_close only frees the child's copy. Open again in the child.
 *   - Functions that read the broker's tables (names, limits, permits, submit) answer WEIR_E_CORRUPT when these are not what their header says.
 *   - Any process may be killed at any instruction; nobody else waits for it.
 */
#ifndef WEIR_H
#define WEIR_H

#include "weir_types.h"

#ifdef __cplusplus
extern "C" {
#endif

#define WEIR_API __attribute__((visibility("default")))

struct weir; /* one thread's handle */

/* A message for people, filled where a function takes one: what failed, with which value, why, what to do next. */
struct weir_diag {
    int error; /* the same value that the function returned */
    char text[512];
};

/* ------------------------------------------------------------------------------------------- attach */

/* Zero the struct, set `struct_bytes`, then what you want; 0 and NULL mean the default. Only grows at its end. */
struct weir_open_opts {
    size_t struct_bytes; /* sizeof(struct weir_open_opts) */
    enum weir_role role; /* default WEIR_ROLE_TRADER */
    const char *domain;  /* default "default" */
    /* default $WEIR_RUNTIME_DIR, else /run/weir, else $XDG_RUNTIME_DIR/weir */
    const char *runtime_dir;
    const char *client_name; /* shown by weir stat; default: the program's name */
    uint32_t slots;          /* requests in flight at once; default 64 */
    /* path, query, headers and body of one request together; default 2048 */
    uint32_t request_bytes;
    uint64_t
        response_bytes; /* room for answers, at least max_response + 8 KiB of each route called; default: what makes the arena 1 MiB */
    uint64_t patience_ns; /* wait so long for a broker that is absent or starting; default 0 */
    uint64_t spin_ns; /* waits spin so long before they sleep; default 20 us, 1 = hardly at all */
};

/*
 * Attach to the broker `name` (NULL = "default") and give this thread a handle. `opts` and `diag` may be NULL.
 * Returns 0, or WEIR_E_NO_BROKER, _NOT_READY (starting, or no answer within 5 s), _PERMISSION, _ROLE, _ABI, _LAYOUT, _CORRUPT, _TOO_MANY_CLIENTS,
 * _ARENA_TOO_LARGE, _QUOTA_SLOTS, _QUOTA_MEMORY, _NAME, _ARGUMENT, _UNSUPPORTED (options of a newer weir.h), _MEMORY, _SYSTEM; `*out` is NULL then and `diag` says more:
 *   cannot attach: name=prod path=/run/weir/prod/default.sock: the broker is dead and left its socket behind: start it again: ...
 * Cost: about a millisecond.
 */
WEIR_API int weir_open(struct weir **out, const char *name, const struct weir_open_opts *opts,
                       struct weir_diag *diag);

/*
 * A handle on the same attachment for another thread; at most 8 in all. Returns 0, WEIR_E_HANDLES, _MEMORY, _CORRUPT, _ARGUMENT (NULL),
 * _FORKED. May be called by any thread while `w` stays open. A closed handle's place comes back once its last request has ended.
 */
WEIR_API int weir_dup(struct weir *w, struct weir **out);

/*
 * Close this handle: what it had queued is taken back, what is in flight is followed to its end by the broker, its responses are released. The last
 * one detaches. Permits stay charged. NULL is allowed.
 */
WEIR_API void weir_close(struct weir *w);

/*
 * Is the broker alive? 0; WEIR_E_STALE when the supervisor is gone: nobody can attach, while permits and requests go on as long as its
 * worker lives, which is until the last client closes. A weird that is started then goes on with that worker's memory, and this handle with it: 0 again
 * soon. Where both are gone: close every handle, start weird, open. WEIR_E_LEASE when the lease has ended: nothing is granted. A takeover
 * (weird --takeover) is followed without a word, but for a monitor: its handle is WEIR_E_STALE then. Cost: one system call.
 */
WEIR_API int weir_check(struct weir *w);

/* ------------------------------------------------------------------------------------------- names, once at start-up */

/* "provider.route" → id. 0 or WEIR_E_ROUTE_UNKNOWN. "weir.nop" is answered by the worker at once: for measuring.
 * It costs nothing, so it has no permit: weir_submit and weir_call take it, weir_permit_try does not. */
WEIR_API int weir_route_find(struct weir *w, const char *name, weir_route_id *out);

/* "account=a,instrument=BTC-USDT" → id; kinds left out take their first value; where the provider has a pool of addresses or keys they stand for any of its members:
 * a request is then made by the one with the most headroom, a permit wants weir_scope_best. 0, WEIR_E_SCOPE_UNKNOWN (no such value, or no such provider),
 * WEIR_E_ARGUMENT (not of the form kind=value,...; NULL). */
WEIR_API int weir_scope_find(struct weir *w, const char *provider, const char *scope,
                             weir_scope_id *out);

/* "provider.limit" → index, as in weir_denial.limit. 0 or WEIR_E_LIMIT_UNKNOWN. */
WEIR_API int weir_limit_find(struct weir *w, const char *name, uint32_t *out);

/* What a route is. Strings lie in the configuration's tables: good until it has been reloaded twice, and for 60 s at least; copy what is kept. */
struct weir_route_info {
    const char *provider;
    const char *name;
    enum weir_method method;
    enum weir_priority priority; /* its default class */
    uint32_t limit_cnt;
    uint32_t limit[WEIR_PERMIT_LIMITS_MAX]; /* order of struct weir_cost.units */
    uint32_t cost[WEIR_PERMIT_LIMITS_MAX];
    int own_transport; /* 1: permits only */
    int idempotent;
    uint64_t timeout_ns;
    uint32_t response_max_bytes;
};
/* 0 or WEIR_E_ROUTE_UNKNOWN. */
WEIR_API int weir_route_get(struct weir *w, weir_route_id route, struct weir_route_info *out);

/*
 * What a call on `route` costs now that cancels or amends an order made, or last amended, at `born_ns` (weir time; when its answer came): the route's
 * costs, and of the limit with age brackets the dearest that is possible within the provider's max_jitter. `*cheaper_at_ns` (may be NULL) is when it
 * falls, UINT64_MAX if it does not. Hand `*out` to weir_permit_try or to a request's `units`. 0, WEIR_E_ROUTE_UNKNOWN, _ARGUMENT, _CORRUPT, _FORKED.
 * Rule: Kraken's trading rate limits.
 */
WEIR_API int weir_cost_at_age(struct weir *w, weir_route_id route, uint64_t born_ns,
                              struct weir_cost *out, uint64_t *cheaper_at_ns);

/* The state of a limit now. 0, WEIR_CONTENDED (ask again), WEIR_E_LIMIT_UNKNOWN, _SCOPE_UNKNOWN, _NOT_TRADER (callers and monitors ask `weir limits`). */
struct weir_limit_info {
    const char *provider;
    const char *name;
    enum weir_limit_kind kind;
    uint32_t quota_units; /* what may be charged now; smaller while the server's clock is unknown */
    uint32_t used_units;
    uint32_t left_units[WEIR_PRIORITY_CNT];
    uint64_t reset_ns; /* when used falls to 0 if nothing more is taken */
};
WEIR_API int weir_limit_get(struct weir *w, uint32_t limit, weir_scope_id scope,
                            struct weir_limit_info *out);

/* What to forecast. Zero the struct, set `struct_bytes`, then what you want. Only grows at its end. */
struct weir_forecast_ask {
    size_t struct_bytes;         /* sizeof(struct weir_forecast_ask) */
    enum weir_priority priority; /* whose room; 0 is critical */
    uint32_t units; /* the cost that is to pass; 0: the dearest that a route has on this limit */
    /* a forecast of the same limit and scope that you kept: the pace is then measured from it until now. NULL: the worker's measure, over 10 s */
    const struct weir_forecast *before;
};

/*
 * What the limit will do if what was seen goes on: left, pace, exhausted at, the earliest instant for a cost, next reset, and how a budget burns. `ask`
 * NULL: the dearest cost, as critical. `*out` is self-contained; keep it and name it as `before` later. Takes nothing.
 * 0, WEIR_CONTENDED (the provider's clock was being written: ask again), WEIR_E_LIMIT_UNKNOWN, _SCOPE_UNKNOWN, _PRIORITY, _UNSUPPORTED (an ask of a newer
 * weir.h), _NOT_TRADER (callers and monitors ask `weir limits --forecast`), _ARGUMENT, _CORRUPT, _FORKED. No system call. Cost: some microseconds.
 * `earliest_ns` looks at this limit alone, with its floors and the caller's own share; weir_permit_peek looks at all of a route's, at the pauses and the lease.
 */
WEIR_API int weir_limit_forecast(struct weir *w, uint32_t limit, weir_scope_id scope,
                                 const struct weir_forecast_ask *ask, struct weir_forecast *out);

/* "provider.endpoint", or the name of a group of routes as "provider.group" → index, for weir_health_get. 0, WEIR_E_SCOPE_UNKNOWN, _ARGUMENT (NULL), _CORRUPT, _FORKED. */
WEIR_API int weir_endpoint_find(struct weir *w, const char *name, uint32_t *out);

/* How well an endpoint is, or whether a group of routes works: what the broker has learnt from its calls. docs/http.md has the formulas. */
struct weir_endpoint_health {
    uint32_t score; /* 0 (nothing is sent to it) .. 1000 */
    enum weir_breaker_state breaker;
    enum weir_call_class cause; /* what opened the breaker last */
    int ejected;                /* 1: worse than its peers, left out for a while */
    uint64_t breaker_until_ns;  /* open: nothing is sent before; a call after it is a probe */
    uint64_t latency_ns;        /* peak EWMA, sent to first byte; 0: not known */
    uint64_t height;            /* health.height, as the last check told it; 0: none */
    uint64_t checked_ns;        /* the last check that was answered well; 0: none */
};

/*
 * The state of endpoint or group `index` now, for any role: some loads from the board, no system call, tens of ns. What is a word there is whole (breaker, cause and
 * instant are one); the rest may be of two instants. A broker whose worker is dead shows its last picture. 0, WEIR_E_SCOPE_UNKNOWN, _ARGUMENT, _FORKED.
 */
WEIR_API int weir_health_get(struct weir *w, uint32_t index, struct weir_endpoint_health *out);

/* ------------------------------------------------------------------------------------------- time */

/* Now, on weir's timeline: the broker's CLOCK_MONOTONIC in ns. The only source of deadlines. Works in a forked child too. Cost: about 10 ns. */
WEIR_API uint64_t weir_now_ns(struct weir *w);

/* The provider's UTC now, true within `*error_ns`: for timestamps in signed calls. 0; WEIR_DENIED while it is unknown; WEIR_E_SCOPE_UNKNOWN (no
 * such provider). */
WEIR_API int weir_server_time(struct weir *w, const char *provider, uint64_t *utc_ns,
                              uint64_t *error_ns);

/* ------------------------------------------------------------------------------------------- permits (role trader) */

/*
 * Take a permit for one call on `route`, now or not at all: from all limits of the route or from none. `units` NULL = the route's own costs.
 * Returns 0 and fills `*permit`; WEIR_DENIED and fills permit->denial (which limit, and the earliest instant at which it could pass);
 * WEIR_CONTENDED (ask again at once); WEIR_E_ROUTE_UNKNOWN, _SCOPE_UNKNOWN, _COST (could never pass), _PRIORITY, _ARGUMENT (units->cnt is not the
 * route's number of limits), _NOT_TRADER, _CORRUPT, _FORKED.
 * Write the request before permit->use_by_ns. Settle each permit; one that is not settled stays charged, which is safe but wasteful.
 * Cost: tens of ns; no system call, no lock, no allocation.
 * Rule: two passes, straddle charging, GCRA: weir_limits(7), with the proofs.
 */
WEIR_API int weir_permit_try(struct weir *w, weir_route_id route, weir_scope_id scope,
                             const struct weir_cost *units, enum weir_priority priority,
                             struct weir_permit *permit);

/*
 * The same, but wait until `deadline_ns`: sleeps to the promised instant less 100 us, spins the rest, wakes early at refunds and
 * resumes. Returns as weir_permit_try; WEIR_DENIED at once when the promised instant (a full limit, a pause) lies behind the deadline. A block or an ended
 * lease has no such instant: it is asked again every 10 ms until the deadline. The order among waiters is not promised.
 */
WEIR_API int weir_permit_wait(struct weir *w, weir_route_id route, weir_scope_id scope,
                              const struct weir_cost *units, enum weir_priority priority,
                              uint64_t deadline_ns, struct weir_permit *permit);

/*
 * Which member of the provider's pool would make this call: `*out` is `scope` with the address that it leaves open, and with the key where the route has any_key or
 * transport: own. What `scope` names stays as it is, so a call that is one account's is not moved. Takes nothing, so another may be faster: ask again when the permit is
 * denied. The most headroom: (left - cost) / quota of the limit where that is least. 0: it would be granted now. WEIR_DENIED: nobody would; `*out` is who
 * could pass first, for weir_permit_wait. WEIR_CONTENDED, and errors, as weir_permit_try. Send the call from that address, with that key: weir_scope_text says their names.
 * Cost: some hundred ns for each member.
 */
WEIR_API int weir_scope_best(struct weir *w, weir_route_id route, weir_scope_id scope,
                             const struct weir_cost *units, enum weir_priority priority,
                             weir_scope_id *out);

/* The names of a scope's values for the provider of `route`, "ip=a,key=b"; "" where none has a name. 0, WEIR_E_ROUTE_UNKNOWN, _ARGUMENT, _CORRUPT, _FORKED. Any role. */
WEIR_API int weir_scope_text(struct weir *w, weir_route_id route, weir_scope_id scope, char *text,
                             size_t bytes);

/* May I, and if not why and when? Takes nothing. Answers as weir_permit_try; on 0 the permit itself is not valid. */
WEIR_API int weir_permit_peek(struct weir *w, weir_route_id route, weir_scope_id scope,
                              const struct weir_cost *units, enum weir_priority priority,
                              struct weir_permit *permit);

/*
 * Say what became of the call. WEIR_OUTCOME_NOT_SENT gives the permit back. WEIR_OUTCOME_ANSWERED corrects the charge to what the exchange counted:
 * `counted` where you give it, else by the route's `settle` rules (Binance: a successful order costs no weight); less is given back, more is charged
 * whether it fits or not; and where the call can only have been counted in one of the two windows that it was charged to, the other is given back (so settle
 * as soon as the answer is here). All but NOT_SENT let go what a concurrency limit holds. WEIR_OUTCOME_ANSWERED with status 429, 418 or 403 pauses the provider for
 * everyone, for `retry_after_ns` (1 s where it is 0; at most 60 s on a trader's word), unless the permit is older than the last resume. These three
 * are fixed: the provider's `throttle` in the configuration is for calls that the broker makes. A permit that was granted before a re-alignment of
 * the provider's clock keeps its charges.
 * Returns 0, WEIR_E_SETTLED the second time, WEIR_E_ARGUMENT for a permit that was never granted or an outcome that does not exist, _NOT_TRADER,
 * _CORRUPT, _FORKED.
 */
WEIR_API int weir_permit_settle(struct weir *w, struct weir_permit *permit,
                                const struct weir_outcome *outcome);

/* ------------------------------------------------------------------------------------------- requests (roles caller, trader) */

struct weir_header {
    const char *name;
    const char *value;
};

/* Zero the struct, set `struct_bytes` and `route`, then what the call needs. Copied by weir_submit; may be reused at once. */
struct weir_request_spec {
    size_t struct_bytes; /* sizeof(struct weir_request_spec) */
    weir_route_id route;
    int priority_set; /* 0: the route's own class */
    enum weir_priority priority;
    weir_scope_id scope;
    const struct weir_cost *units; /* NULL: the route's costs */
    const char *path_rest; /* only on routes whose configured path ends in a slash and a star */
    const char *query;     /* without '?', percent-encoded */
    const struct weir_header *
        headers; /* only names that the route's `headers` lists; another ends as REJECTED, WEIR_E_HEADER_FORBIDDEN */
    size_t header_cnt;
    const void *body;
    size_t body_bytes;
    /* used by weir_submit; weir_call has its own argument. 0 or UINT64_MAX: the route's timeout */
    uint64_t deadline_ns;
};

/* Names one request of this attachment until it is released. */
typedef uint64_t weir_ticket;

/*
 * How a request ended and what came back. Pointers lead into shared memory that is this process' alone to read; they are valid until
 * weir_release. `headers` are lines as received, each ended by CR LF; neither they nor `body` are NUL-terminated.
 */
struct weir_response {
    weir_ticket ticket;
    enum weir_result result;
    uint32_t status; /* HTTP status, 0 if none */
    int error; /* negative: WEIR_E_* (REJECTED: why; STALE: a worker died under it); positive: a CURLcode (NOT_SENT, FAILED, TIMEOUT, OUTCOME_UNKNOWN) */
    struct weir_denial denial;
    const char *headers;
    size_t headers_bytes;
    const void *body;
    size_t body_bytes;
    uint32_t endpoint; /* index of the endpoint that served it; UINT32_MAX if none */
    uint32_t sends;    /* times it was written to a connection */
    /* weir time of each stage; 0 where it was not reached */
    uint64_t submitted_ns, taken_ns, permitted_ns, sent_ns, first_byte_ns, done_ns, delivered_ns;
    uint32_t source; /* enum weir_source: DONE, and where the answer comes from */
    /*
     * enum weir_doubt, of a route with `doubt` in the configuration: what was found out about a call that was written and got no answer.
     *   NONE      there was no doubt, or the call bore no id to ask by: with OUTCOME_UNKNOWN ask the exchange yourself
     *   UNKNOWN   the exchange was asked, and it is still not known: OUTCOME_UNKNOWN, or DONE with the answer that proved nothing (`unsure`)
     *   FOUND     the exchange has it: DONE, and status, headers and body are those of the answer to the question (GET order), not to the order
     *   ABSENT    the exchange has it not, asked `settled_after` it was cut off or later: result ABSENT
     *   RESENT    it had it not, and `resend: true` had it sent again, with the same id: the answer is the one to that
     */
    uint32_t doubt;
    uint32_t
        member; /* of the provider's pool: who sent it last (weir_member_name); 0: nobody of one */
    uint32_t reserved;
    /* of the answer when it was given: the exchange made it no longer ago than this. 0 where source is LIVE */
    uint64_t age_ns;
};

/*
 * Hand one request over and go on. Returns 0 and the ticket, or WEIR_E_NO_SLOT, _RING_FULL, _BODY_TOO_LARGE, _PATH_INVALID, _HEADER_INVALID,
 * _HEADER_FORBIDDEN, _ROUTE_UNKNOWN, _SCOPE_UNKNOWN, _COST, _TRANSPORT, _PRIORITY, _DEADLINE, _NOT_CALLER, _STALE, _LEASE, _BLOCKED, _ARGUMENT, _UNSUPPORTED,
 * _CORRUPT, _FORKED: then nothing was handed over.
 * Where the route has `cache` and its answer is fresh on the board, the request ends at once with a copy of that (source CACHE): poll gives it before all others, nothing was handed
 * over. A handle that has asked for weir_fd hands it over all the same, so that the descriptor rings; the answer is the same.
 * Cost: a copy and two CAS; a system call only if the worker sleeps.
 */
WEIR_API int weir_submit(struct weir *w, const struct weir_request_spec *spec, weir_ticket *out);

/*
 * Take one request of this handle that has ended, in no promised order. 0 and `*out`; WEIR_EMPTY; WEIR_E_STALE when nothing is left and weir_fd's other
 * end is closed; WEIR_E_CORRUPT for an answer that makes no sense (out->ticket is to be released all the same); WEIR_E_NOT_CALLER, _FORKED. Each
 * is given once by poll, and not by poll once wait has given it. No system call unless weir_fd is in use.
 */
WEIR_API int weir_poll(struct weir *w, struct weir_response *out);

/*
 * Wait for one request until `deadline_ns`: spins, then sleeps. 0 and `*out`; WEIR_PENDING at the deadline (the request goes on);
 * WEIR_E_TICKET; WEIR_E_STALE when the supervisor is gone and no answer came within its time; WEIR_E_CORRUPT as weir_poll; WEIR_E_NOT_CALLER, _FORKED.
 */
WEIR_API int weir_wait(struct weir *w, weir_ticket ticket, uint64_t deadline_ns,
                       struct weir_response *out);

/*
 * Take a request back. 0: it was not sent and never will be (the ticket is gone). WEIR_E_CANCEL_LATE: the worker has it, and will stop it now: it ends as CANCELLED, whose
 * `sends` says whether it had left. What is not idempotent and was written is followed to its end instead, for only its answer says what became of it; so is a call that others
 * wait for. The outcome is still to be waited for; the same when it has ended already. WEIR_E_TICKET.
 */
WEIR_API int weir_cancel(struct weir *w, weir_ticket ticket);

/* Give the slot and the answer's memory back. Each ended request is released once. 0, WEIR_E_TICKET, or WEIR_PENDING while it has not ended. */
WEIR_API int weir_release(struct weir *w, weir_ticket ticket);

/*
 * weir_submit and weir_wait in one, until `deadline_ns` or the route's timeout, whichever is earlier; at the latest 1 s after it. An order in doubt is asked after for its
 * route's `doubt.patience` beyond that: PENDING then, and weir_wait has its end.
 *   0                 it has ended: `*out` says how; release out->ticket
 *   WEIR_E_DEADLINE   the time passed and nobody had taken it: taken back, certainly not sent, nothing to release
 *   WEIR_PENDING      the time passed and the worker still has it; it was asked to stop. out->ticket is to be waited for, and released
 *   an error of weir_submit: nothing was handed over; WEIR_E_STALE, WEIR_E_CORRUPT with out->ticket != 0: as weir_wait
 */
WEIR_API int weir_call(struct weir *w, const struct weir_request_spec *spec, uint64_t deadline_ns,
                       struct weir_response *out);

/*
 * Copy the answer to `spec` that the broker keeps for everybody (routes with `cache` and `share: public`) to `to`: without a request, a permit, a ring entry or a
 * system call. `max_age_ns` 0: only one that is fresh by the route's `cache`; else also a stale one that is no older, as long as the route's `stale` lets it be given. out->headers and
 * out->body lead into `to`; there is nothing to release; out->source and out->age_ns say what it is. weir_submit and weir_call look there by themselves, for fresh ones.
 * Any role, monitors too. It does not ask whether the broker lives: an answer is as old as age_ns says.
 * Returns 0; WEIR_EMPTY: there is none (or it is just being written); WEIR_E_BODY_TOO_LARGE: `bytes` are too few, out->headers_bytes and out->body_bytes say how many are
 * needed; WEIR_E_ROUTE_UNKNOWN, _ARGUMENT, _UNSUPPORTED, _CORRUPT, _FORKED. Cost: some 100 ns and the copy.
 */
WEIR_API int weir_cache_get(struct weir *w, const struct weir_request_spec *spec,
                            uint64_t max_age_ns, void *to, size_t bytes, struct weir_response *out);

/* Who weir_response.member is: "ip=a,key=b", "" for 0. 0, WEIR_E_ROUTE_UNKNOWN, _ARGUMENT, _CORRUPT, _FORKED. Any role. */
WEIR_API int weir_member_name(struct weir *w, weir_route_id route, uint32_t member, char *text,
                              size_t bytes);

/*
 * A descriptor that becomes readable when a request ends, for epoll, io_uring, asyncio; or WEIR_E_HANDLES, _NOT_CALLER, _FORKED. Poll with weir_poll until
 * WEIR_EMPTY once after this call and after each wake-up: that arms it again. It may wake for nothing. One per attachment: the handle that asks first
 * has it until it closes (WEIR_E_HANDLES for others); threads that each run an event loop open one attachment each. Never read, write or close it.
 */
WEIR_API int weir_fd(struct weir *w);

/* ------------------------------------------------------------------------------------------- texts */

WEIR_API const char *weir_strerror(int error); /* what failed; never NULL */
WEIR_API const char *weir_hint(int error);     /* what to do next; never NULL */
WEIR_API const char *weir_reason_text(uint32_t reason);
WEIR_API const char *weir_result_text(uint32_t result);
WEIR_API const char *weir_version(void); /* "0.1.0" */

#ifdef __cplusplus
}
#endif

#endif
