/*
 * worker.h: the data plane's state, shared by the files that make up the worker.
 *
 *   worker.c    start, the loop, wake modes, drain
 *   clients.c   attached clients: mapping, reaping, room for answers
 *   hush.h      whose rings and bells are left alone for the rest of a tick
 *   intake.c    ring entry or sweep -> a private, checked call
 *   dispatch.c  a checked call -> permit, endpoint, transfer
 *   exchange.c  the transfer's callbacks and the send gate: an attempt at one endpoint
 *   outcome.c   how a call ends: its permit is settled, its answer handed over, and it is counted
 *   deliver.c   DONE, and the bells of whoever sleeps on it
 *   calls.c     memory for calls, and what is kept back of it for libcurl
 *   request.c   path and headers, as curl wants them
 *   cache.c     answers that lie on the board for everybody (cache.h)
 *   coalesce.c  what calls have of them: given at once, given stale, made once for many; follow.c: who may wait for whom
 *   batch.c, batch_give.c  one call of another route for many of them (batch.h)
 *   answer.c    the head and body of an answer; what a status says to everybody
 *   probe.c     the worker's own calls: the time of each provider's clock
 *   quiesce.c   how it leaves the field to a successor
 *   keeper.c    what is due by time: lease, anchors, audits, meters
 *   operations.c  operators' orders: pause, resume, block, unblock
 *   hedge.c     which late calls are sent a second time, and which answer counts (hedge.h)
 *   doubt.c     what became of an order that got no answer (doubt.h)
 *   retry.c     which calls are tried again, and when (retry.h)
 *   pause.c     who stops a provider, and who lets it go again (pause.h)
 *   pair.c      charges on two accounts that a death leaves whole (pair.h)
 *   late.c      what buckets hold for calls that are counted late (late.h)
 *   pace.c      how fast each limit is being used
 *   trial.c     shadow mode: what another configuration would have refused
 *   ceiling.c   the journal ahead of the grants of long windows
 *   last_good_write.c  kept answers to disk, for a later broker (last_good.h)
 *   usage.c     who took how much of which limit
 *   audit.c     ... record by record
 *   endpoint.c  addresses of endpoints
 *   egress.c    source addresses and keys: which member of the pool makes a call (egress.h)
 *   choose.c    which endpoint makes a call, and what the call's end says about it: breaker, health, balance
 *   check.c     the worker's own calls: are the endpoints well?
 *   provider_headers.c  what each provider's calls bear by the configuration
 *   signer.c    keys, and the signed form of a call (signer.h)
 *   sign_in.c, sign_in_token.c, sign_in_cookie.c, sign_in_call.c  sessions: what calls bear that weir has to fetch first (sign_in.h)
 *
 * One thread. Everything here is private memory but for the mapped segments; nothing that a client can write is ever used without a
 * check of a private copy.
 */
#ifndef WEIR_BROKER_WORKER_H
#define WEIR_BROKER_WORKER_H

#include "broker/balance.h"
#include "broker/breaker.h"
#include "broker/ceiling.h"
#include "broker/clock_spread.h"
#include "broker/control.h"
#include "broker/doubt_rule.h"
#include "broker/health.h"
#include "broker/hear.h"
#include "broker/hedge.h"
#include "broker/http.h"
#include "broker/loop.h"
#include "broker/pool.h"
#include "broker/quota.h"
#include "broker/region.h"
#include "broker/retry.h"
#include "broker/retry_rule.h"
#include "broker/server_clock.h"
#include "broker/throttle.h"
#include "broker/tried.h"
#include "shm/weir_cache.h"
#include "shm/weir_health.h"
#include "shm/weir_request.h"
#include "shm/weir_slot.h"

struct worker;
struct reply;
struct late;
struct cache;
struct egress_source;
struct session;

#define CALL_HEAD_MAX_BYTES HEAR_HEAD_MAX_BYTES /* of an answer's head; more is TOO_LARGE */

/* How far the worker has taken the audit of one thread. */
struct audit_source {
    uint64_t taken;
    uint64_t dropped;
};

/* One attached client, mapped. */
struct client {
    struct client_info info;
    bool live;         /* mapped; takes part */
    bool gone;         /* dead or left: nothing new, end what is queued, follow what is in flight */
    bool recovered;    /* it was there before this worker was */
    uint32_t offences; /* requests that no libweir makes */
    struct weir_segment arena, shadow_segment;
    struct weir_shm_wake *wake;
    char *meter;
    uint64_t meter_stride_bytes;
    uint32_t *meter_seen; /* private copy of all threads' counts at the last fold */
    struct weir_shm_slot *slot;
    char *request;
    uint64_t request_stride_bytes;
    char *response;
    uint64_t response_bytes;
    struct weir_shm_shadow *shadow;
    struct weir_shm_doubt *doubt; /* [slot]: in the same segment */
    struct pool pool;
    struct call **call;                  /* [slot]: the call in flight, or NULL */
    struct call *room_first, *room_last; /* checked calls that wait for room for their answer */
    uint32_t in_flight;
    bool bell;               /* something was delivered since the last look at its bells */
    uint32_t submitted_seen; /* wake->submitted at the last sweep */
    uint32_t cancelled_seen; /* wake->cancelled at the last bell ... */
    uint64_t cancels_at_ns;  /* ... and when it is looked at again, at the earliest */
    uint32_t
        bells_for_nothing; /* since the tick, or the last request that it brought (hush.h) ... */
    bool bell_hushed;      /* ... and too many: nobody polls it until the next tick */
    uint32_t unit_life;    /* what its units in flight bear (shm/weir_concurrency.h) */
    struct weir_permit_self self; /* its shares, by what the broker knows of it */
    uint64_t *brokered;           /* [limit]: units of calls made for it, and ... */
    uint64_t *brokered_seen;      /* ... how many of them are on the board */
    uint32_t claim_seen[WEIR_THREADS_MAX];
    char *audit_ring; /* of thread 0; NULL: none is kept */
    struct audit_source audit[WEIR_THREADS_MAX];
};

enum call_stage {
    CALL_QUEUED = 1,  /* waits for a permit or an endpoint */
    CALL_ROOM = 2,    /* waits for room in the arena */
    CALL_RUNNING = 3, /* curl has it */
    CALL_LATER = 4,   /* to be tried again at due_ns (retry.c) */
    CALL_FOLLOW = 5,  /* waits for the answer of an equal call (coalesce.c), or of a batch */
    CALL_HEDGED = 6,  /* its own attempt is over: waits for its hedge (hedge.c) */
    CALL_DOUBT = 7,   /* was sent, and the exchange is being asked after it (doubt.c) */
    CALL_GATHER = 8,  /* a batch, the worker's own, before it is made (batch.c) */
};

/* Why the send gate stopped a transfer. */
enum call_stop {
    CALL_STOP_NONE = 0,
    CALL_STOP_CANCEL = 1,   /* the client took it back */
    CALL_STOP_PERMIT = 2,   /* no permit now: queue again */
    CALL_STOP_RESEND = 3,   /* curl wanted to send a second time, and the call is not idempotent */
    CALL_STOP_LARGE = 4,    /* the answer is above its cap */
    CALL_STOP_EXPIRED = 5,  /* the deadline passed while it connected */
    CALL_STOP_UNSIGNED = 6, /* it could not be signed */
    CALL_STOP_SIGN_IN = 7,  /* its session is over: it waits for the next one */
};

/* How much of the answer's head has come. */
enum call_head {
    CALL_HEAD_NONE = 0,
    CALL_HEAD_INTERIM = 1, /* inside a 1xx: another one follows */
    CALL_HEAD_FINAL = 2,
    CALL_HEAD_WHOLE = 3, /* its blank line was seen */
};

/* An answer that another attempt may better; it lies in the call's room. */
struct kept_answer {
    uint32_t status; /* 0: none */
    uint32_t head_bytes, body_bytes;
    struct endpoint *endpoint;
    uint32_t member;
    uint64_t sent_ns, first_byte_ns;
};

/* What a passage of the send gate used up. Where nothing was written behind it that is put back. */
struct gate_found {
    uint32_t kept_status;
    bool throttled;
    bool may_renew, may_resend;
};

/* What is known of what became of a call (doubt.h). */
struct call_doubt {
    bool named;      /* it bears an id, and `question` is what would be asked */
    bool absent;     /* the exchange surely has it not, and nothing was written since */
    bool may_resend; /* one passage of the send gate is open to it */
    bool resent;
    bool recovered; /* from the ledger: its request is not believed */
    bool fits;      /* the answer that found it has its room */
    enum weir_doubt state;
    enum doubt_verdict verdict; /* of the last question; acted upon by doubt_turn */
    int error;
    uint64_t since_ns; /* when the attempt ended */
    uint64_t limit_ns; /* the end of patience */
    uint64_t wait_ns;
    struct call *asked; /* the question under way */
    struct call *asks;  /* this call is the question after that one */
};

/*
 * One request on its way. Private; the part that must survive the worker is in the client's shadow. call_clear clears what stands before
 * `permit`; the rest is large and always written before it is read.
 */
struct call {
    struct http_transfer transfer;
    struct call *next;                /* in a queue, a room list, or the free list */
    struct call *all_prev, *all_next; /* every call that has not ended */
    struct client *client;            /* NULL: the worker's own */
    uint32_t slot;
    uint64_t claimed; /* the slot word as claimed */
    enum call_stage stage;
    enum call_stop stop;
    char *payload; /* copied once */
    uint32_t route;
    uint32_t priority;
    /* of this attempt (egress.h) */
    uint64_t scope;
    uint32_t member;
    const struct egress_source *from;
    bool idempotent;
    bool refused;   /* counted as refused, once */
    bool throttled; /* its answer said stop: it opens no way back */
    uint32_t late;  /* bit per charge: its units are held in a bucket (late.h) */
    uint64_t deadline_ns;
    uint64_t
        due_ns; /* running: the deadline, or the end of patience with its connection; later: when to try again */
    struct endpoint *endpoint;
    struct endpoint *pin; /* the only one that it may go to; NULL: any */
    struct breaker_ticket
        ticket; /* of the endpoint's breaker, from the start of an attempt to its end */
    struct breaker_ticket group_ticket;
    bool trying;                /* under way at `endpoint`, which has not been told its end */
    bool owed;                  /* written, and no byte of an answer seen */
    struct curl_slist *headers; /* its own; behind the last one stand the provider's */
    struct curl_slist *headers_last;
    struct call_sign *sign;  /* signer.c's; NULL: not signed */
    struct session *session; /* it is that one's own call, which signs in (sign_in.h) */
    bool renewed;   /* an answer said that its token was not taken, and it went back for that */
    bool may_renew; /* ... and one passage of the send gate is open to it */
    struct gate_found gate_found;
    uint32_t sends;
    uint32_t
        writes; /* of them, in the attempt under way: what curl sends again by itself counts too */
    uint32_t attempts; /* that ended and were to be tried again */
    uint64_t
        attempt_over_ns; /* another one would have been made, and over then: too late for its caller; 0: none */
    struct kept_answer kept;
    /* hedge.c's */
    struct call *hedge;    /* the same call, sent a second time; NULL: not now */
    struct call *hedge_of; /* what this one is sent beside: it has no slot, and lives no longer */
    struct call *hedge_prev, *hedge_next;
    bool hedge_waits; /* it may be hedged once it is late */
    bool hedge_stuck; /* it is late, and may be once its endpoint is suspect */
    bool hedged;      /* it was, once */
    struct tried tried;
    char *room; /* where the answer goes: head, then body */
    uint32_t room_off_bytes, room_bytes;
    enum call_head head;
    uint32_t head_status; /* as the head says */
    uint32_t head_bytes,
        body_bytes; /* in `room`, where its client can write: nothing is decided by what stands there */
    uint64_t retry_after_ns;
    uint64_t taken_ns, permitted_ns, sent_ns, first_byte_ns;
    /* of a route with `cache` (coalesce.c) */
    bool keyed;
    bool leads; /* calls of its key wait for it; it is in the table of those in flight */
    enum weir_source source;
    uint32_t heard_status; /* of its own answer, whatever is given instead */
    uint64_t age_ns;
    struct weir_cache_key key;
    struct call *lead; /* whose answer it waits for */
    struct call *follow_first, *follow_last;
    struct call *flight_next;
    struct batch *batch; /* it is one (batch.h) */
    bool alone;          /* a batch did not answer it: it is made by itself */
    struct call_doubt doubt;
    struct weir_denial denial;
    void (*internal_done)(struct worker *w, struct call *c,
                          enum weir_result result); /* own calls only */
    struct weir_cost units;
    struct weir_shm_request request; /* the checked copy */
    struct weir_permit permit;       /* on the shared words; `state` is cleared with the rest */
    struct weir_permit own_permit;   /* on the private account */
    struct hear hear;                /* what is decided by; its memory is kept */
    struct weir_permit trial_permit; /* in the shadow configuration */
    struct doubt_question question;
    struct weir_request_parts parts;
};

/* Who need not ask again. */
struct refused {
    uint64_t scope;
    const struct client *client; /* NULL: of every client */
};

/* Calls of one route and class that wait, in order of arrival within each scope. */
struct queue {
    struct call *first, *last;
    uint64_t not_before_ns;    /* nothing in it can start earlier */
    uint64_t deadline_min_ns;  /* no call in it expires earlier */
    struct refused refused[8]; /* what a limit refused at the last look */
    uint32_t refused_cnt;
};

/* One endpoint as it runs. */
struct endpoint {
    const struct weir_config_endpoint *config;
    struct http_target target;
    struct curl_slist *retired; /* former connect_to lists */
    uint32_t index;             /* in the tables */
    uint32_t provider;
    uint32_t bit; /* index within the provider, for tried.h */
    uint32_t in_flight;
    uint32_t *in_flight_from; /* [source address]; NULL: there are none */
    bool numeric;
    uint64_t asked_at_ns; /* when the resolver was last asked; 0: never */
    int resolver_error;   /* what it answered last; 0: an address */
    uint64_t resolved_at_ns;
    uint64_t
        answer_ns; /* how long the first byte takes of late, sent to seen: half of what it would be on average */
    uint64_t down_until_ns; /* could not connect: others first */
    struct weir_shm_breaker *breaker;
    struct weir_shm_health *board;
    struct health health;
    struct health_parts parts; /* of the last look */
    int64_t current;           /* weighted_round_robin's */
    uint32_t owed_cnt;         /* calls that wait for the first byte of their answer */
    uint64_t owed_since_ns;    /* nothing was heard of it since, though something was owed */
    uint64_t check_at_ns;
    uint32_t checking; /* checks under way */
};

struct provider {
    const struct weir_config_provider *config;
    struct curl_slist *headers; /* of every call, linked; not for curl_slist_free_all */
    struct endpoint *endpoint;  /* sorted by role */
    uint32_t endpoint_cnt;
    struct server_clock clock;
    struct clock_spread spread;
    struct weir_server_clock published;
    uint64_t published_at_ns;
    uint64_t probe_at_ns;
    bool probing;
    uint32_t clock_route; /* UINT32_MAX: none */
    uint32_t check_route; /* the same */
    struct breaker_rule breaker;
    struct balance_state balance;
    struct egress_source *source; /* [value of scopes.ip]; NULL: no egress */
    uint32_t source_cnt;
    struct endpoint *picked; /* by a turn that has not begun yet: it stays whose turn it is */
    uint32_t quota_ppm;      /* the least headroom of its limits */
    struct retry_budget retries;
};

struct route {
    const struct weir_config_route *config; /* NULL: the worker's own */
    const char *path;
    uint32_t group; /* index of its breaker; UINT32_MAX: none */
    enum hear_what hears;
    uint32_t provider;
};

struct worker {
    const struct weir_config *config;
    struct region *region;
    struct loop loop;
    struct http *http;
    int control; /* to the supervisor; -1 when it is gone */
    int resolver;
    struct weir_permit_view shared, own; /* `own` looks at no shares: it is one user of the limit */
    struct reply *reply;                 /* reply.c's: others' usage, by limit word */
    struct late *late;                   /* late.c's */
    struct weir_clock_source clock_source;
    struct provider *provider;
    struct endpoint *endpoint;
    struct route *route;
    struct pacer *pacer; /* [limit word] */
    struct trial *trial; /* NULL: no shadow configuration */
    struct client client[WEIR_CLIENTS_MAX];
    /* goes up with each attach: events of a former client are dropped */
    uint32_t client_life[WEIR_CLIENTS_MAX];
    struct weir_ring_consumer ring[WEIR_DOMAINS_MAX][WEIR_PRIORITY_CNT];
    struct queue *queue;                     /* [route * 5 + priority] */
    uint64_t *queue_busy[WEIR_PRIORITY_CNT]; /* bit per route: the queue is not empty */
    uint32_t queue_words;
    uint64_t *own_units; /* [limit], of its own calls */
    struct call *call_free;
    struct call *call_spare; /* for call_refused: there whenever none is on its way */
    uint64_t memory_told_ns;
    void *reserve; /* memory that requests do not get (calls.c); NULL: libcurl has it */
    uint32_t reserve_calls;
    struct call *call_first; /* all that have not ended */
    uint32_t call_cnt;
    struct quota_flow flow[WEIR_DOMAINS_MAX];
    uint64_t now_ns;  /* weir time at the start of this turn */
    uint64_t next_ns; /* when the loop must turn again, at the latest */
    uint32_t sleep_epoch;
    uint32_t take_domain[WEIR_PRIORITY_CNT]; /* whose turn it is */
    uint32_t sweep_domains; /* bit per domain: its ring was damaged, look at the slots */
    uint32_t
        hush_domains; /* bit per domain: its rings are left alone until the next tick (hush.h) */
    uint32_t hush_entries[WEIR_DOMAINS_MAX];
    uint64_t hush_told_ns[WEIR_DOMAINS_MAX];
    uint32_t member_turn; /* decides between members with equal headroom */
    uint32_t taken_high;  /* ring entries taken since a lower class had its turn */
    bool draining;
    bool quiesce_asked; /* a successor waits, or a reload */
    bool quiescing;     /* for it: nothing new is taken or started */
    uint64_t quiesce_since_ns;
    uint32_t handover_life; /* of connections of takers: events of a former one are dropped */
    uint64_t drain_until_ns;
    uint64_t tick_at_ns, second_at_ns, fold_at_ns;
    struct hedges *hedges;             /* hedge.c's; NULL: no route is hedged */
    uint64_t doubt_due_ns;             /* no call in doubt is to be looked at earlier */
    uint64_t running_due_ns;           /* no running call is due earlier */
    uint64_t retry_due_ns;             /* no call is to be tried again earlier */
    uint64_t random;                   /* state of the jitter's generator (pause.c) */
    struct ceilings *ceilings;         /* NULL: no journal is kept */
    struct audit *audit;               /* NULL: none is kept */
    struct cache *cache;               /* NULL: no route keeps answers */
    struct last_good_write *last_good; /* NULL: no answers go to disk */
    struct client *bell[WEIR_CLIENTS_MAX + 1];
    uint32_t bell_cnt;
};

/* The worker's whole life. `info` is the supervisor's table of clients, inherited by fork. Returns the exit status. */
int worker_run(const struct weir_config *config, struct region *region,
               const struct client_info *info, uint32_t info_cnt, int control, int resolver);

static inline uint64_t worker_now(struct worker *w)
{
    return weir_clock_now(&w->shared.time);
}

/* The loop must turn again at `at_ns` or before. */
static inline void worker_due(struct worker *w, uint64_t at_ns)
{
    if (at_ns < w->next_ns) {
        w->next_ns = at_ns;
    }
}

/* Add to a counter on the board. Relaxed: this thread is its only writer. */
static inline void board_add(uint64_t *counter, uint64_t n)
{
    weir_store_relaxed_u64(counter, weir_load_relaxed_u64(counter) + n);
}

/* clients.c */
/* Take a client in. Without memory for it, it stays there unmapped and client_retry is for it. */
void client_attach(struct worker *w, const struct client_info *info, bool recovered);
/* Once more, for one that is not live and has slots. Caller: every tick. */
void client_retry(struct worker *w, struct client *c);
void client_gone(struct worker *w, uint32_t index);
/* Without a supervisor nobody tells of a client that closes and lives on: its end of the bell does. One system call. Caller: keeper.c; a worker at its start */
void clients_closed(struct worker *w);
void client_reap_if_idle(struct worker *w, struct client *c);
/* Hold room for one answer; frees what the client has released when there is none. */
bool client_room_hold(struct client *c, uint32_t bytes, uint32_t *off_bytes);
void client_room_release(struct client *c, uint32_t slot);
void client_fold_meters(struct worker *w, struct client *c);

/* intake.c */
unsigned intake_rings(struct worker *w, unsigned max);
bool intake_ready(struct worker *w);
/* Look at every slot of a client for requests that the ring lost. */
void intake_sweep(struct worker *w, struct client *c);
/* Take the request in `slot` if it is submitted. `tag` UINT32_MAX = do not compare. */
bool intake_claim(struct worker *w, struct client *c, uint32_t slot, uint32_t tag);
/* Put a call that a dead worker had claimed back on its way, or end it (clients.c, after a restart). */
void intake_recover(struct worker *w, struct client *c, uint32_t slot);

/* calls.c */
bool calls_open(struct worker *w);
/* A new call; NULL: there is no memory. */
struct call *call_make(struct worker *w);
/* After a NULL: a call that can only be ended, which its caller does before it makes another one. Needs no memory. */
struct call *call_refused(struct worker *w);
/* libcurl found no memory for a call of which nothing was written: let it have what was kept back, and begin the call again. False: it has that already. */
bool calls_reserve_use(struct worker *w);
/* Is what was kept back in use, and most of the calls of then are still here? Then no more are taken. */
bool calls_are_too_many(const struct worker *w);
void calls_tick(struct worker *w); /* keep something back again */

/* dispatch.c */
void dispatch_enter(struct worker *w, struct call *c); /* a checked call: hold room, queue it */
/* It holds room: ended by a kept answer, put to wait for an equal call's, or queued. */
void dispatch_ready(struct worker *w, struct call *c);
void dispatch_again(struct worker *w, struct call *c); /* back to the head of its queue */
void dispatch_turn(struct worker *w);                  /* start what can start, end what cannot */
void dispatch_expire(struct worker *w);
void dispatch_room(struct worker *w, struct client *c); /* room may have come free */
void dispatch_unlink(struct worker *w, struct call *c); /* out of the list it waits in, if any */
void dispatch_cancel_client(struct worker *w, struct client *c);
/* Its client takes some back. Calls on the wire too, but for what is not to be repeated, and what others wait for. */
void dispatch_cancel_flags(struct worker *w, struct client *c);
/* Take both permits, private account first. Fills c->denial on WEIR_DENIED. */
int dispatch_permit(struct worker *w, struct call *c);
/* The shared view takes and corrects what this call's client has a share of. */
void dispatch_as(struct worker *w, const struct call *c);

/* pause.c: 64 random bits, for jitter only. */
uint64_t worker_draw(struct worker *w);

/* exchange.c */
bool exchange_start(struct worker *w, struct call *c, struct endpoint *e);
/* End a running transfer at once. What was written stays charged, what was not is given back. */
void exchange_stop(struct worker *w, struct call *c);
void exchange_due(struct worker *w); /* end running calls whose time is over */

/* request.c. Lists live until call_free; the path is the caller's to free. NULL or false: there is no memory */
bool request_headers_make(struct call *c);
struct curl_slist *request_headers_all(struct worker *w, struct call *c);
char *request_path_make(const struct worker *w, const struct call *c);

/* outcome.c */
/* The permit was used, or is too old to be: its charges stay. Nothing where there is none. */
void call_permit_over(struct worker *w, struct call *c);
/* Settle the permit of an attempt that ended as `result`; the call goes on without one. */
void call_attempt_over(struct worker *w, struct call *c, enum weir_result result);
/* A permit that was not used is given back. */
void call_give_back(struct worker *w, struct call *c);
/* The answer stays in the room until another attempt is written. */
void call_answer_keep(struct call *c);
/* For one without a slot; others end by call_end. */
void call_free(struct worker *w, struct call *c);
/* End a call: deliver, count, free. The only way out. */
void call_end(struct worker *w, struct call *c, enum weir_result result, int error);

/* deliver.c */
/* Say DONE to the client and wake it; the response line must be whole. */
void deliver_done(struct worker *w, struct client *c, uint32_t slot, uint64_t word);
/* The bells alone: for an answer whose worker died between DONE and them. */
void deliver_ring(struct worker *w, struct client *c, uint32_t slot);
/* Wake whoever sleeps on what was delivered since the last call. */
void deliver_bells(struct worker *w);

/* cache.c. `cache_open` before any client */
bool cache_open(struct worker *w);
/* What its threads say that they took. Caller: the fold of its meters */
void cache_fold(struct worker *w, struct client *c);

/* coalesce.c. A checked call: has it a key? */
void cache_admit(struct worker *w, struct call *c);
/* Before it is queued; `refused`: no permit is to be had for it now. True: it has ended, or waits for an equal call. */
bool cache_offer(struct worker *w, struct call *c, bool refused);
/* Before it takes a permit: true, and it has ended, where an answer came meanwhile. */
bool cache_again(struct worker *w, struct call *c);
/* Is there an answer that may be given to it where no permit is to be had? Ended as REFUSED it gets that. */
bool cache_has_stale(struct worker *w, const struct call *c);
/* It has no permit now: those who wait for it need not, where they can have a stale answer. */
void cache_denied(struct worker *w, struct call *lead);
/* It is to be tried again at due_ns: who cannot wait so long need not. Caller: retry.c, last */
void cache_later(struct worker *w, struct call *lead);
/* How a call truly ended, and who waited for it. */
struct cache_end {
    struct call *first;
    enum weir_result truth;
    bool shared;     /* its answer may be another's ... */
    bool forbidden;  /* ... or says itself that it may not */
    uint64_t age_ns; /* of the answer, as it says itself */
    bool bad;        /* the exchange failed: who can have a stale answer is better off with that */
};
/* For call_end alone: its answer is kept; a stale one may take its place, and then `*result` is DONE. Says where the answer comes from. */
struct cache_end cache_ended(struct worker *w, struct call *c, enum weir_result *result);
/* ... and last, before `lead` is freed: those who waited. */
void cache_followers(struct worker *w, struct call *lead, const struct cache_end *end, int error);
void cache_turn(struct worker *w); /* end those who waited too long */
/* Wait for the answer of `lead`, in its list. Caller: coalesce.c, batch.c */
void cache_follow(struct worker *w, struct call *lead, struct call *c);
/* follow.c. May `c` wait for `lead`, of its key, as things stand? Not where it would wait for what does not concern it, or in vain. */
bool follow_may(struct worker *w, const struct call *lead, const struct call *c);
/* Was the lead refused by something that would refuse `c` as well? Of one key they differ in account, key, address, client and what they say that they cost. */
bool follow_same_refusal(const struct worker *w, const struct call *lead, const struct call *c);
/* Does it owe its answer to an endpoint that has gone silent, while another one is well? Who was not sent is better off there. */
bool follow_is_stalled(struct worker *w, const struct call *lead);
/* Does `c` wait for an element of a batch's answer? Else for an equal call. */
bool follow_is_batched(const struct call *c);
/* Is it to wait no longer? What it waits for is stalled, or a batch that leaves it just the time for a call of its own. When that is to be asked again, at its deadline at the latest. */
bool follow_is_held_up(struct worker *w, const struct call *c);
uint64_t follow_look_ns(const struct worker *w, const struct call *c);
/* When its request was written, in age by now; how long its answer may be given. Caller: batch_give.c */
uint64_t cache_age_ns(struct worker *w, uint64_t filled_ns);

/* batch.c: make what has gathered. Caller: the turn, before calls are started */
void batch_turn(struct worker *w);

/* answer.c: take one line of the head, or a piece of the body; false = more than its cap */
bool answer_head(struct worker *w, struct call *c, const char *line, size_t bytes);
bool answer_data(struct worker *w, struct call *c, const char *bytes, size_t cnt);

/* answer.c: an answer says stop. Counts it and pauses, once for each answer. Caller: answer.c (head), reply.c (body) */
void answer_throttled(struct worker *w, struct call *c, enum throttle_by by);
/* The body of such an answer names the instant, in the server's UTC: the pause lasts until then at least. */
void answer_banned_until(struct worker *w, struct call *c, uint64_t until_utc_ns);

/* reply.c: what a whole answer tells besides its content: others' usage, which window counted it, the server's time, a stop in its body */
bool reply_open(struct worker *w);
void reply_answered(struct worker *w, struct call *c);
/* Permits that the worker took for a call, or (`given`) gave back unsent. */
void reply_charged(struct worker *w, const struct weir_permit *permit, bool given);
void reply_realigned(struct worker *w, uint32_t provider);
/* Do answers tell what others use of this limit word? */
bool reply_counts(const struct worker *w, uint32_t index);
/* ... of one without windows: are others proven to use it (rolling.h), so that all of it that may be theirs is kept from us? */
bool reply_shared(const struct worker *w, uint32_t index);
void reply_tick(struct worker *w); /* every 10 ms: look at the words, publish */

/* clock_reply.c: the server's clock from answers */
struct clock_evidence; /* clock_reply.h */
uint64_t clock_jitter_ns(const struct provider *p);
/* The server's UTC now; this machine's where it is not known. */
uint64_t clock_server_utc_ns(struct worker *w, uint32_t provider);

/* probe.c */
void probe_turn(struct worker *w);
/* Publish a provider's clock, carrying charges over to its windows where that is needed. */
void probe_publish(struct worker *w, uint32_t provider, const struct weir_server_clock *next);

/* usage.c: what clients took of limits, for monitors. `usage_open` before any client. */
bool usage_open(struct worker *w);
void usage_attach(struct worker *w, struct client *c, bool recovered);
void usage_fold(struct worker *w, struct client *c);

/* audit.c: what clients did, on the board for whoever asks later (weir_audit.h). Nothing where none is kept. `audit_open` before any client. */
bool audit_open(struct worker *w);
void audit_began(struct worker *w); /* once this worker has its number */
void audit_attach(struct worker *w, struct client *c, bool recovered);
void audit_turn(struct worker *w); /* each tick */
/* What weir_permit_take grants from here on is no entry; then: this was granted. Between them a caller puts its instants right. */
void audit_hold(struct worker *w);
void audit_granted(struct worker *w, const struct call *c, bool granted);
/* Everything that a client and the worker have written so far: when it is folded, and before its index is another's. */
void audit_take(struct worker *w, struct client *c);
/* `c` NULL: the worker's own call. */
void audit_refused(struct worker *w, const struct client *c, uint32_t limit, uint32_t priority,
                   uint32_t cnt, enum weir_audit_reporter reporter);
void audit_ended(struct worker *w, const struct call *c, enum weir_result result);

/* quiesce.c */
void quiesce_ask(struct worker *w);
void quiesce_turn(struct worker *w); /* each turn: begin, once no sign-in is under way */
void quiesce_end(struct worker *w);  /* nobody takes over: as before */
/* Is nothing on the wire that is waited for? Only while quiescing. */
bool quiesce_is_wire_free(const struct worker *w);
/* May it leave? Without a supervisor it hands over itself then, and blocks for that. */
bool quiesce_is_over(struct worker *w);
/* The supervisor is gone: listen for a new one. */
void quiesce_orphan(struct worker *w);
void quiesce_event(struct worker *w, const struct loop_event *e);

/* units.c: let go the units in flight of owners that are dead */
void units_sweep(struct worker *w);

/* operations.c: what an operator ordered, as the supervisor relayed it; answers over w->control */
void operations_event(struct worker *w, const struct control_operation *operation);

/* keeper.c */
void keeper_turn(struct worker *w);
void keeper_lease(struct worker *w, uint64_t until_ns);

/* pace.c */
bool pace_open(struct worker *w);
void pace_turn(struct worker *w); /* each tick */

/* trial.c */
bool trial_open(struct worker *w);
void trial_turn(struct worker *w);   /* each tick */
void trial_clocks(struct worker *w); /* the live clocks have moved */
/* A call was permitted: would it have been there? */
void trial_call(struct worker *w, struct call *c);
/* ... and was not made. */
void trial_give(struct worker *w, struct call *c);
/* ... and is over: units in flight are let go. */
void trial_end(struct worker *w, struct call *c);
/* ... or was answered: charges are corrected by the other configuration's rules. */
void trial_answered(struct worker *w, struct call *c, bool success);
/* Traders say that they took so many permits of a route since the last fold. */
void trial_folded(struct worker *w, uint32_t route, uint32_t priority, uint32_t cnt);

/* provider_headers.c: what each provider's calls bear by the configuration. False without memory, with `text`. Caller: the worker before the cage, once */
bool provider_headers_open(const struct weir_config *config, char *text, size_t text_bytes);
struct curl_slist *provider_headers(uint32_t provider); /* NULL: none */
/* Does the provider's configuration send a header of this name? Then a client may not. */
bool provider_headers_has(const struct provider *p, const char *name, size_t bytes);

/* endpoint.c */
bool endpoint_open(struct worker *w);
void endpoint_turn(struct worker *w);
bool endpoint_answer(struct worker *w); /* false: the resolver's socket has ended */

/* choose.c. Order: endpoint_choose, then the permits, then exchange_start, which says endpoint_took. */
bool choose_open(struct worker *w); /* behind endpoint_open */
/* Why there is no endpoint for a call. */
struct choice {
    bool busy;            /* one would do, but has as many calls as it may */
    bool shut;            /* a breaker keeps it from going */
    uint64_t earliest_ns; /* shut: when to ask again, at the latest */
};
/* The endpoint that is to make the call now; NULL, with the reason. Takes nothing. */
struct endpoint *endpoint_choose(struct worker *w, const struct call *c, struct choice *why);
/* Is there another one that it has not tried, now or once a call has ended? */
bool endpoint_other(struct worker *w, const struct call *c);
/* Is there another one that it has not tried, in good state and with room, now? */
bool endpoint_sound(struct worker *w, const struct call *c);
/* From when on `e` has been silent for too long, if it says nothing until then; UINT64_MAX: it owes nothing. */
uint64_t endpoint_suspect_ns(const struct endpoint *e);
/* An attempt begins; its request is written; a byte of its answer came; it ended so. */
void endpoint_took(struct worker *w, struct call *c);
void endpoint_sent(struct call *c, uint64_t now_ns);
void endpoint_unsent(struct call *c); /* ... but for a dead connection: it was not */
void endpoint_heard(struct call *c, uint64_t now_ns);
void endpoint_told(struct worker *w, struct call *c, enum weir_call_class class);
/* A check of an ejected one was answered, but as late as what it was ejected for: that says nothing, and it stays out for its time. */
bool endpoint_still_ill(const struct call *c);
/* A check was answered: whatever kept it out is over. */
void endpoint_back(struct worker *w, struct endpoint *e);
void choose_turn(struct worker *w);   /* each tick: scores and flags on the board */
void choose_second(struct worker *w); /* each second: headroom of the limits */

/* check.c */
void check_turn(struct worker *w); /* each tick */
/* An operator wants to know now. Returns how many endpoints are asked. */
uint32_t check_now(struct worker *w, uint32_t provider);

#endif
