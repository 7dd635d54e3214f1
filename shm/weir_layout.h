/*
 * weir_layout.h: every byte that processes share.
 *
 * Six kinds of segments, each a sealed memfd that starts with struct weir_shm_header. Sections are found by the header's table, never by
 * adding sizes; an absent section has cnt 0.
 *
 *   board    writer: worker (one line: supervisor)     readers: everyone, read-only for ever
 *     header | gate | supervisor | worker | clock | need_wakeup | block | provider[] | foreign[limit word] | limit[] | route[] |
 *     endpoint[] | ring_head[domain][5] | client[255] | tables[] | limit_view[limit word] | pace[limit word] |
 *     trial | trial_limit[limit of the shadow configuration] | journal | client_use[] | audit | audit_record[] |
 *     cache | cache_route[] | cache_head[] | cache_data (weir_cache.h) | health[endpoint, then group]
 *   permits  writers: traders, worker                  readers: the same
 *     header | limit_word[] | pause[hold] | cell[]
 *   ring d   writers: clients of domain d, worker      readers: the same
 *     header | ring[5] = { tail line, cells }           (weir_ring.h)
 *   arena i  writers: client i, worker                 readers: the same
 *     header | wake | meter[thread] | audit_ring[thread] | slot[] | request bytes[] | response pool
 *   ledger   writer and reader: worker                 survives it, never leaves the broker
 *     header | counters | limit_word[], cell[] (its own charges) | backoff[hold] | memory[limit word] | audit_ring |
 *     breaker[endpoint, then group]
 *   shadow i writer and reader: worker                 as the ledger, one per client
 *     header | shadow[slot] | doubt[slot]
 *
 * Rules: a 128-byte line has one stated writer. Nothing in permits, ring or arena is trusted by the worker. weir_layout.c
 * asserts what starts a line; tests/abi/layout_v1.txt pins every offset; the layout hash is computed from the same table. A field is
 * never reused: growth goes into `reserved` or into a new section.
 *
 * Who dies: a client in the middle of writing leaves only its own arena odd (the worker copies and checks) and at most one charge
 * too many in permits. A worker in the middle leaves latches whole (weir_latch.h) and counters at most one behind.
 */
#ifndef WEIR_LAYOUT_H
#define WEIR_LAYOUT_H

#include "weir_base.h"
#include "weir_clock.h"
#include "weir_histogram.h"
#include "weir_types.h"

#define WEIR_MAGIC         UINT64_C(0x3130524945570a1a) /* last byte 0x1a first: no text file begins so */
#define WEIR_ABI_MAJOR     1U
#define WEIR_ABI_MINOR     0U

#define WEIR_CLIENTS_MAX   255U /* handles have 8 bits; 255 is POISON's client */
#define WEIR_SLOTS_MAX     4096U
#define WEIR_DOMAINS_MAX   8U
#define WEIR_PROVIDERS_MAX 64U
#define WEIR_LIMITS_MAX    256U
#define WEIR_ROUTES_MAX    1024U
#define WEIR_ENDPOINTS_MAX 256U
#define WEIR_THREADS_MAX   8U /* handles of one attachment: weir_open and 7 times weir_dup */

/* The built-in route that the worker answers at once, for measuring the ring itself ("weir.nop"). */
#define WEIR_ROUTE_NOP UINT32_C(0xfffffffe)

/* ------------------------------------------------------------------------------------------------ header */

enum weir_segment_kind {
    WEIR_SEGMENT_BOARD = 1,
    WEIR_SEGMENT_PERMITS = 2,
    WEIR_SEGMENT_RING = 3,
    WEIR_SEGMENT_ARENA = 4,
    WEIR_SEGMENT_LEDGER = 5,
    WEIR_SEGMENT_SHADOW = 6,
};

enum weir_section_kind {
    WEIR_SECTION_UNSET = 0,
    WEIR_SECTION_GATE = 1,
    WEIR_SECTION_SUPERVISOR = 2,
    WEIR_SECTION_WORKER = 3,
    WEIR_SECTION_CLOCK = 4,
    WEIR_SECTION_NEED_WAKEUP = 5,
    WEIR_SECTION_BLOCK = 6,
    WEIR_SECTION_PROVIDER = 7,
    WEIR_SECTION_FOREIGN = 8,
    WEIR_SECTION_LIMIT = 9,
    WEIR_SECTION_ROUTE = 10,
    WEIR_SECTION_ENDPOINT = 11,
    WEIR_SECTION_RING_HEAD = 12,
    WEIR_SECTION_CLIENT = 13,
    WEIR_SECTION_TABLES = 14,
    WEIR_SECTION_LIMIT_WORD = 15,
    WEIR_SECTION_PAUSE = 16,
    WEIR_SECTION_RING = 17,
    WEIR_SECTION_WAKE = 18,
    WEIR_SECTION_METER = 19,
    WEIR_SECTION_SLOT = 20,
    WEIR_SECTION_REQUEST = 21,
    WEIR_SECTION_RESPONSE = 22,
    WEIR_SECTION_SHADOW = 23,
    WEIR_SECTION_LIMIT_VIEW = 24,
    WEIR_SECTION_LEDGER = 25,
    WEIR_SECTION_CELL = 26,
    WEIR_SECTION_BACKOFF = 27,
    WEIR_SECTION_PACE = 28,
    WEIR_SECTION_TRIAL = 29,
    WEIR_SECTION_TRIAL_LIMIT = 30,
    WEIR_SECTION_JOURNAL = 31,
    WEIR_SECTION_MEMORY = 32,
    WEIR_SECTION_CLIENT_USE = 33,
    WEIR_SECTION_AUDIT = 34,
    WEIR_SECTION_AUDIT_RECORD = 35,
    WEIR_SECTION_AUDIT_RING = 36,
    WEIR_SECTION_CACHE = 37,
    WEIR_SECTION_CACHE_ROUTE = 38,
    WEIR_SECTION_CACHE_HEAD = 39,
    WEIR_SECTION_CACHE_DATA = 40,
    WEIR_SECTION_HEALTH = 41,
    WEIR_SECTION_BREAKER = 42,
    WEIR_SECTION_DOUBT = 43,
    WEIR_SECTION_SIGN_IN = 44,
    WEIR_SECTION_CNT
};

struct weir_shm_section {
    uint32_t kind;         /* enum weir_section_kind */
    uint32_t cnt;          /* elements; 0 = absent */
    uint64_t stride_bytes; /* from one element to the next */
    uint64_t off_bytes;    /* from the start of the segment */
};

#define WEIR_SECTIONS_MAX 32

/* Written once by the supervisor before the segment is handed out; `magic` last, with release. */
struct weir_shm_header {
    uint64_t magic;
    uint32_t abi_major;
    uint32_t abi_minor;
    uint64_t layout_hash;
    /* random; equal in all segments of one broker, so that pieces of two are never mixed */
    uint64_t broker_id;
    uint32_t segment_kind;
    uint32_t section_cnt;
    uint64_t segment_bytes;
    uint64_t created_utc_ns; /* for people */
    char name[WEIR_NAME_BYTES];
    uint64_t reserved[5];
    struct weir_shm_section section[WEIR_SECTIONS_MAX];
} WEIR_ALIGN_LINE;

/* ------------------------------------------------------------------------------------------------ board */

/* What every permit looks at first. Writer: worker; `lease_until_ns` also the supervisor while no worker lives. */
struct weir_shm_gate {
    /* weir time; a permit after it is refused. Stored with release, loaded relaxed: time alone decides */
    uint64_t lease_until_ns;
    /* generation:32 | block index:32; released after the block is whole (pair:tables) */
    uint64_t tables;
    uint32_t block_all;   /* not 0: nobody is granted anything */
    uint32_t incarnation; /* of the worker; goes up at each restart */
    /* pid of the supervisor that has taken over; 0: nobody. Stored before the lease ends (weir_handover.h) */
    uint64_t successor;
    uint64_t reserved[12];
} WEIR_ALIGN_LINE;

/* Writer: supervisor. Relaxed stores; for monitors and for a client that asks whether anybody can attach. */
struct weir_shm_supervisor {
    uint64_t heartbeat_ns;
    uint64_t started_ns;
    uint32_t pid;
    uint32_t worker_restarts;
    uint64_t worker_died_ns;
    uint64_t
        worker_starts_at_ns; /* after a crash: when the next one is started; 0: at once, or it runs */
    uint32_t worker_crashes; /* in a row: each doubles the wait */
    uint32_t worker_signal;  /* that the last one died of; 0: it left by itself */
    uint64_t reserved[10];
} WEIR_ALIGN_LINE;

/* Writer: worker. Relaxed stores; for monitors. */
struct weir_shm_worker {
    uint64_t heartbeat_ns;
    uint64_t started_ns;
    uint32_t pid;
    uint32_t in_flight;         /* requests taken and not ended */
    uint64_t loop_cycle_max_ns; /* the longest turn of the loop since start */
    uint64_t loop_cycles;
    uint64_t wakes;         /* times it slept and was woken */
    uint64_t ring_taken;    /* entries taken from the rings */
    uint64_t ring_dropped;  /* entries that named no submitted request: stale, doubled or forged */
    uint64_t ring_repaired; /* cells and tails set right */
    uint64_t swept;         /* requests found by the sweep rather than by the ring */
    uint64_t limit_damaged; /* limit words found outside their legal range and set to spent */
    uint64_t client_reaped;
    uint64_t slot_reaped;        /* requests of dead clients that ended without a reader */
    uint64_t permit_reports;     /* pauses that traders reported */
    uint64_t limit_view_ns;      /* when the limit views and traders_pause were last copied */
    uint64_t client_quarantined; /* clients shut out for requests that no libweir makes */
} WEIR_ALIGN_LINE;

/* bit 0: the worker sleeps and wants a doorbell; bits 1..31: sleep epoch. Writer: worker, by exchange (pair:wakeup). */
struct weir_shm_need_wakeup {
    uint32_t word;
    uint32_t reserved[31];
} WEIR_ALIGN_LINE;

/* Who shut a client out. Both end by `weir ctl unblock`. */
enum weir_block {
    WEIR_BLOCK_NONE = 0,
    WEIR_BLOCK_OPERATOR = 1,
    WEIR_BLOCK_QUARANTINE = 2, /* the worker: it handed over what no libweir makes */
};

/* One switch per client (enum weir_block), 4 bytes wide for the atomics. Writer: worker. Relaxed: it need not be seen at once. */
struct weir_shm_block {
    uint32_t client[256];
} WEIR_ALIGN_LINE;

enum weir_clock_state {
    /* windows are counted by this machine's UTC with the reduced quota of weir_window.h */
    WEIR_CLOCK_UNKNOWN = 0,
    WEIR_CLOCK_KNOWN = 1,
    WEIR_CLOCK_CLOSED = 2, /* being re-aligned: nothing is granted for some microseconds */
};

/* The value behind a provider's clock latch. */
struct weir_server_clock {
    int64_t offset_ns; /* server UTC minus weir time */
    uint64_t error_ns; /* half-width of the interval that holds the truth, at sampled_at_ns */
    uint64_t sampled_at_ns;
    uint64_t drift_ppb; /* growth of the error with age */
    uint64_t jitter_ns; /* slack until the write + longest way until the exchange counts */
    uint64_t state;     /* enum weir_clock_state */
};
#define WEIR_SERVER_CLOCK_WORDS 6

/*
 * Writer: worker. Line 0 is read by every permit on this provider. Behind those of all providers stand more lines, for scope values that are held apart
 * (hold_kind of a provider row): of these only what is about pauses is used.
 */
struct weir_shm_provider {
    uint64_t clock_seq;
    uint64_t clock[2 * WEIR_SERVER_CLOCK_WORDS];
    /* the worker's own pause (weir_pause.h): may be long. Partner of permits' pause word */
    uint64_t pause;
    /* of the timeline: goes up after each CLOSED, so that window ids of two never mix (pair:epoch) */
    uint64_t clock_epoch;
    uint64_t balance; /* enum weir_balance that an operator has set; 0: as configured */
    /* line 1: for monitors */
    uint64_t throttled; /* answers that said stop: 429, 418, 403 */
    uint64_t paused_ns; /* sum of all pauses set */
    uint64_t clock_samples;
    uint64_t clock_realigned;
    uint64_t traders_pause; /* copy of the pause word in permits (weir_pause.h) */
    uint64_t reopen;        /* copy of the reopening word in permits (weir_reopen.h) */
    /* copies out of struct weir_shm_backoff */
    uint64_t backoff_until_ns;
    uint64_t backoff_last_ns;
    uint64_t backoff_steps;
    uint32_t backoff_level;
    uint32_t backoff_cause;
    uint64_t clock_ignored;   /* stamps that were no stamps, absurd, or doubted and not confirmed */
    uint64_t reports;         /* counts of limits that answers reported, and that were heeded */
    uint64_t reports_ignored; /* negative, garbage, of an older window, or of no certain one */
    uint64_t straddle_given;  /* windows given back by the proof of an answer */
    uint64_t
        overdue_charged; /* windows charged, and buckets held, for calls that were still open */
    uint64_t claims;     /* counts of limits that traders reported, and that were heeded */
} WEIR_ALIGN_LINE;

/*
 * What others used of a limit, as the server's answers show it: word[k & 1] = window k (low 32 bits) : 32 | units : 32, like the limit word
 * beside which it is added; a window that nothing is known of yet may bear what is expected (broker/feedback.h). One per limit word. Writer: worker,
 * relaxed stores of whole words; never written into our charges. Limits without windows: word[0] alone, {until, units} (weir_foreign_make). token_bucket:
 * word[1] = so much of it is held for calls of ours that are counted late (weir_late.h).
 */
struct weir_shm_foreign {
    uint64_t word[2];
    /* What the journal on disk covers; only for rows with a ceiling_step. fixed_window: [k & 1] = window k:32 | units:32 (weir_window.h);
     * token_bucket: [0] = TAT (weir_bucket.h); sliding_window: [0] = units taken since the start (weir_sliding.h) */
    uint64_t ceiling[2];
};

enum weir_journal_state {
    WEIR_JOURNAL_STATE_NONE = 0,    /* broker.state_dir: none */
    WEIR_JOURNAL_STATE_WORKS = 1,   /* the last write reached the disk */
    WEIR_JOURNAL_STATE_FAILING = 2, /* it did not: long windows stop at their ceilings */
};

/* The journal as it stands, for monitors. Writer: worker; the supervisor before the first worker starts. */
struct weir_shm_journal {
    uint32_t state; /* enum weir_journal_state */
    uint32_t found; /* enum weir_journal_verdict: the journal that this broker found at its start */
    uint32_t found_clean;   /* 1: its writer had stopped cleanly */
    int32_t error;          /* errno of the last failed write */
    uint64_t sequence;      /* of the last write that reached the disk */
    uint64_t generation;    /* starts of brokers on this journal */
    uint64_t written_at_ns; /* when the last write reached the disk */
    uint64_t writes;
    uint64_t failures;
    uint64_t sync_max_ns; /* the longest write with its fsync */
    uint64_t reserved[8];
} WEIR_ALIGN_LINE;

/*
 * A copy of one limit word of permits, for monitors, which do not get that segment; for kinds that live in cells {units used, weir time at which
 * they are all free again}. One per limit word. Writer: worker, relaxed, every
 * 10 ms while it audits; worker.limit_view_ns says when. A dead worker leaves an old copy: permits go on, the view does not.
 */
struct weir_shm_limit_view {
    uint64_t word[2];     /* as in struct weir_shm_limit_word */
    uint64_t reserved[2]; /* kinds with more words */
};

/*
 * How fast one limit word is being used: own charges net of what was given back, in millionths of a unit per second (weir_forecast.h). One per limit
 * word. Writer: worker, relaxed, every 10 ms. A worker measures anew from its start: `since_ns` says from when on.
 */
struct weir_shm_pace {
    uint64_t short_micro;  /* average over about the last 10 s */
    uint64_t window_micro; /* over about the limit's window; no shorter than the other */
    uint64_t since_ns;     /* weir time; 0: nothing was measured yet */
    uint64_t reserved;
};
#define WEIR_PACE_SHORT_NS (10 * WEIR_NS_PER_S)

/*
 * Shadow mode: what a second configuration would have refused (broker/trial.h). Absent without one. Calls that the broker makes are judged exactly ("exact");
 * permits that traders take are known to it as counts alone ("folded"). Writer: worker, relaxed; the counts outlive it.
 */
struct weir_shm_trial {
    char file[96];     /* the end of the configuration's path */
    uint64_t since_ns; /* weir time; 0: not yet */
    uint64_t exact;    /* calls judged, refused ones too */
    uint64_t exact_refused;
    uint64_t folded;
    uint64_t folded_refused;
    uint64_t no_route; /* not judged: the other configuration has no such route */
    uint64_t no_scope; /* ... no such scope value */
    uint64_t skipped;  /* ... more than could be judged, or its clock was not readable */
    uint64_t reserved[12];
} WEIR_ALIGN_LINE;

/* One limit of the shadow configuration. Writer: worker, relaxed. */
struct weir_shm_trial_limit {
    uint64_t exact_refused[WEIR_PRIORITY_CNT];
    uint64_t folded_refused[WEIR_PRIORITY_CNT];
    uint64_t never; /* of them: the cost is above what the class may ever take there */
    uint64_t window_ns;
    char provider[WEIR_NAME_BYTES];
    char name[WEIR_NAME_BYTES];
    uint32_t kind; /* enum weir_limit_kind */
    uint32_t rate_quota;
    uint32_t quota;
    uint32_t live;        /* the limit of the same name that is in force; UINT32_MAX: none */
    uint32_t used_units;  /* the fullest of its scope values at the last look, */
    uint32_t quota_units; /* of so much */
    uint64_t reserved[9];
} WEIR_ALIGN_LINE;

/* Per limit, for monitors. Writer: worker, which folds in what the traders' meters say. */
struct weir_shm_limit_stats {
    uint64_t refused[WEIR_PRIORITY_CNT];
    uint64_t damaged;
    uint64_t units_reaped; /* concurrency: units of dead owners that came back */
    uint64_t
        claimed; /* foreign usage now that rests on traders' reports alone, of all scope values */
    uint64_t reserved[8];
} WEIR_ALIGN_LINE;

/* Per route, for monitors. Writer: worker. */
struct weir_shm_route_stats {
    uint64_t granted[WEIR_PRIORITY_CNT]; /* permits: traders' and the worker's own */
    uint64_t calls;                      /* requests taken */
    uint64_t results[12];                /* by enum weir_result */
    uint64_t statuses[6];                /* 1xx..5xx at 1..5, anything else at 0 */
    uint64_t bytes_in;
    uint64_t retries;              /* attempts after the first (broker/retry.h) */
    uint64_t retries_unaffordable; /* not made: the provider's budget was spent */
    uint64_t hedges;               /* sent beside a call that was late (broker/hedge.h) */
    uint64_t hedges_won;           /* ... and answered first */
    uint64_t hedges_unaffordable;  /* not made: the provider's budget was spent */
    uint64_t hedges_refused;       /* not made: no permit, no other sound endpoint, or a pause */
    uint64_t hedges_stalled;       /* made although: the endpoint had stopped answering */
    /* line 2: calls whose end was in doubt (broker/doubt.h) */
    uint64_t doubts;         /* calls that were asked after */
    uint64_t doubts_found;   /* ... the exchange had it */
    uint64_t doubts_absent;  /* ... it had it not: result ABSENT */
    uint64_t doubts_resent;  /* ... it had it not, and it was sent again */
    uint64_t doubts_unknown; /* ... nothing was to be found out */
    uint64_t doubts_asked;   /* questions */
    uint64_t doubts_unnamed; /* calls of a route with `doubt` without an id to ask by */
    uint64_t reserved2[9];
} WEIR_ALIGN_LINE;

enum weir_stage {
    WEIR_STAGE_QUEUE = 0,   /* submitted -> taken */
    WEIR_STAGE_PERMIT = 1,  /* taken -> permitted */
    WEIR_STAGE_CONNECT = 2, /* permitted -> sent: connection at hand, or made */
    WEIR_STAGE_SERVER = 3,  /* sent -> first byte */
    WEIR_STAGE_TOTAL = 4,   /* submitted -> delivered */
};
#define WEIR_STAGE_CNT 5

/* Per endpoint, for monitors. Writer: worker. */
struct weir_shm_endpoint {
    uint32_t in_flight;
    uint32_t connections; /* open now */
    uint64_t connects;    /* opened since start */
    uint64_t requests;
    uint64_t failures;        /* no whole answer */
    uint64_t resends_stopped; /* second passages of the send gate that were refused */
    uint64_t resolved_at_ns;
    uint64_t last_status;
    uint64_t address_family;
    char address[48]; /* numeric, as connected to; rewritten only when it changes */
    /* times the send gate let a call pass. Never less than what left this machine, and more only by what a worker did not write because it was killed
     * behind the gate, or because the connection was dead */
    uint64_t sent;
    uint64_t reserved[1];
    struct weir_shm_histogram stage[WEIR_STAGE_CNT];
} WEIR_ALIGN_LINE;

enum weir_client_state {
    WEIR_CLIENT_FREE = 0,
    WEIR_CLIENT_LIVE = 1,
    WEIR_CLIENT_GONE = 2, /* dead or closed, with calls still in flight */
};

/* Writer: worker. `state` is stored last with release. */
struct weir_shm_client {
    uint32_t state;
    uint32_t pid;
    uint32_t uid;
    uint32_t role;
    uint32_t domain;
    uint32_t slot_cnt;
    uint64_t arena_bytes;
    uint64_t attached_ns;
    uint64_t submitted;
    uint64_t ended;
    uint64_t rejected; /* requests that failed validation */
    uint64_t forged;   /* handles that named nothing of this client */
    uint64_t granted;  /* permits taken by itself: its own word for it */
    uint64_t in_flight;
    char name[WEIR_NAME_BYTES];
    uint32_t life; /* how many clients have had this index, it included; never cleared */
    uint32_t reserved0;
    uint64_t reserved[16];
} WEIR_ALIGN_LINE;

/*
 * What one client took from one limit. Writer: worker, every 250 ms, relaxed; for monitors. Element client * limits + limit. Corrected where calls were: given
 * back, or counted as something else.
 */
struct weir_shm_client_use {
    uint64_t traded;   /* units by its own permits, since it attached: its own word for it */
    uint64_t brokered; /* units by calls that the broker made for it: exact */
    uint64_t
        recent; /* of both: in this window; where there is none, or a shorter one than 1 s, in this minute */
    uint64_t recent_from_ns; /* weir time at which that began */
};

/* ------------------------------------------------------------------------------------------------ tables */

/*
 * What the configuration says, compiled for the permit path: immutable blocks. Block k lies in section TABLES at k * stride; the
 * gate's `tables` word names the current one; a reload writes another one (broker/reload.h), beginning with the one that was left longest ago.
 */
struct weir_shm_tables {
    uint64_t checksum; /* XXH3-64 over the rest of the used block */
    uint32_t generation;
    uint32_t used_bytes;
    uint32_t provider_cnt, provider_off_bytes; /* struct weir_shm_provider_row */
    uint32_t limit_cnt, limit_off_bytes;       /* struct weir_shm_limit_row */
    uint32_t route_cnt, route_off_bytes;       /* struct weir_shm_route_row */
    uint32_t endpoint_cnt, endpoint_off_bytes; /* struct weir_shm_endpoint_row */
    uint32_t scope_cnt, scope_off_bytes;       /* struct weir_shm_scope_row */
    uint32_t member_cnt, member_off_bytes;     /* struct weir_shm_member_row */
    uint64_t reserved[8];
} WEIR_ALIGN_LINE;

struct weir_shm_provider_row {
    char name[WEIR_NAME_BYTES];
    uint32_t limit_first, limit_cnt;
    uint32_t route_first, route_cnt;
    uint32_t endpoint_first, endpoint_cnt;
    uint64_t jitter_ns;                      /* configured: slack + way */
    uint64_t slack_ns;                       /* a permit must be written to the wire within this */
    uint32_t scope_cnt[WEIR_SCOPE_KIND_CNT]; /* values of each kind; at least 1 */
    uint64_t reopen_lease_ns; /* so long a probe may go without an answer (weir_reopen.h) */
    uint64_t reopen_step_ns;  /* length of one step of the ramp behind it */
    /* what a stop is about (weir_hold.h): 1 + enum weir_scope_kind; 0: the whole provider */
    uint32_t hold_kind;
    uint32_t
        hold_first; /* value v > 0 of that kind is held by pause, backoff and board line hold_first + v - 1; value 0 by the provider's own */
    uint32_t member_first, member_cnt; /* its pool (weir_member.h) */
} WEIR_ALIGN_LINE;

/* Line 0 and 1 are what a permit reads; line 2 is for people. */
struct weir_shm_limit_row {
    uint32_t kind; /* enum weir_limit_kind */
    uint32_t provider;
    uint32_t word_first; /* first index of limit words; one per scope value */
    uint32_t word_cnt;
    uint32_t scope_shift; /* 16 * enum weir_scope_kind */
    uint32_t quota;       /* units per window; bucket: units of the full bucket (burst) */
    uint64_t window_ns;
    uint64_t window_inverse; /* floor(2^64 / window_ns): division by multiplication */
    uint64_t unit_ns;        /* bucket: T, the time that one unit takes to come back, rounded up */
    uint64_t tolerance_ns[WEIR_PRIORITY_CNT]; /* bucket: B*T less headroom less jitter, per class */
    uint64_t release_q64[WEIR_PRIORITY_CNT];  /* window: headroom per ns left, Q64 */
    /* window: what stays free for the classes above, to the end */
    uint32_t reserve_min[WEIR_PRIORITY_CNT];
    /* window: floor(N / (2 + ceil(J/W))), while the clock is not known */
    uint32_t quota_unaligned;
    /* kinds that live in cells: those of scope value v are cell_cnt from cell_first + v * cell_stride on */
    uint32_t cell_first;
    uint32_t cell_stride;
    uint32_t cell_cnt;
    uint32_t form; /* enum weir_limit_form */
    uint64_t
        span_ns; /* sliding: W + J, widened; concurrency: how long a unit rests once it is let go */
    uint64_t part_ns; /* sliding, form parts */
    uint64_t part_inverse;
    /* window of a calendar: its edges (server UTC, ns) lie so far behind this row, and the first one begins window calendar_id. 0: every window is
     * window_ns long; else that is the shortest */
    uint32_t calendar_off_bytes;
    uint32_t calendar_cnt;
    uint64_t calendar_id;
    /* window, or time to drain, above 10 min: a grant needs a ceiling on disk, which is raised by so much at a time. 0: none needed */
    uint32_t ceiling_step;
    /* ... and so much more than the board says stands on disk, for surcharges between two writes */
    uint32_t ceiling_ahead;
    /* window: what its ids mean, the same at each start of the same configuration: for what is kept on disk */
    uint64_t shape;
    /* its shares lie so far behind this row (struct weir_shm_share_row); their words are cells. 0: none */
    uint32_t share_off_bytes;
    uint32_t share_cnt;
    uint32_t share_min; /* bucket: units that a claim never falls below; the dearest cost */
    /* the largest quota that was in force since the segment was made (broker/reload.h): words may bear so much, whatever the quota is now. 0: `quota` */
    uint32_t quota_peak;
    uint32_t
        value_first; /* 1: scope value 0 stands for any member of the pool, and is never charged */
    uint32_t reserved0;
    uint64_t reserved[1];
    /* line 2 */
    char name[WEIR_NAME_BYTES];
    uint32_t headroom_ppm[WEIR_PRIORITY_CNT];
    uint32_t scope_kind;
    uint64_t rate_window_ns; /* as configured: quota per this */
    uint32_t rate_quota;
    uint32_t reserved2;
    /* concurrency: a unit of a dead owner rests for so much longer than span_ns; who reaps it writes an instant so far ahead (weir_concurrency.h) */
    uint64_t ahead_ns;
    /* so far ahead one may stand, whichever tables were in force since the segment was made (broker/tables_follow.h). 0: ahead_ns */
    uint64_t ahead_peak_ns;
    uint64_t reserved3[5];
} WEIR_ALIGN_LINE;

/* What an entry of a limit's shares is for. */
enum weir_share_kind {
    WEIR_SHARE_CLIENT = 1, /* clients of this name */
    WEIR_SHARE_UID = 2,    /* clients of this user */
    WEIR_SHARE_CLASS = 3,  /* all calls of this class: a floor */
};

#define WEIR_SHARES_MAX 12U /* entries of one limit: 8 for clients, 4 for classes */

/* A part of a limit (weir_share.h). */
struct weir_shm_share_row {
    uint32_t kind; /* enum weir_share_kind */
    uint32_t part_ppm;
    uint32_t uid;
    uint32_t priority;
    char name[WEIR_NAME_BYTES];
};

enum weir_route_flag {
    WEIR_ROUTE_OWN_TRANSPORT = 1U << 0,
    WEIR_ROUTE_IDEMPOTENT = 1U << 1,
    WEIR_ROUTE_SIGNED = 1U << 2,
    WEIR_ROUTE_NEEDS_CLOCK = 1U << 3, /* has a limit that counts by windows */
    /* the configured path ends in a slash and star: the client may append */
    WEIR_ROUTE_PATH_REST = 1U << 4,
    WEIR_ROUTE_IN_CELLS =
        1U << 5, /* has a limit that lives in cells: its permits bear an owner and a stamp */
    WEIR_ROUTE_SHARED = 1U << 6,      /* has a limit with shares (weir_share.h) */
    WEIR_ROUTE_CACHED = 1U << 7,      /* its answers are kept on the board (weir_cache.h) */
    WEIR_ROUTE_POOLED = 1U << 8,      /* its provider has a pool (weir_member.h) */
    WEIR_ROUTE_ANY_KEY = 1U << 9,     /* signed, and by whichever key of the pool */
    WEIR_ROUTE_HELD_APART = 1U << 10, /* a stop is about one scope value (hold_kind) */
};

#define WEIR_AGE_BRACKETS_MAX  8
#define WEIR_SETTLE_AS_CHARGED UINT32_MAX

struct weir_shm_route_row {
    uint32_t provider;
    uint32_t limit_cnt;
    uint16_t limit[WEIR_PERMIT_LIMITS_MAX];
    uint32_t cost[WEIR_PERMIT_LIMITS_MAX];
    uint32_t flags;
    uint32_t method;   /* enum weir_method */
    uint32_t priority; /* default class */
    uint32_t response_max_bytes;
    uint64_t timeout_ns;
    uint64_t cache_seed; /* what keys of its answers begin with */
    uint64_t reserved[5];
    /* line 1 */
    char name[WEIR_NAME_BYTES]; /* without the provider's */
    /* what the exchange counts in the end, by limit: of a call that succeeded, of one that did not; WEIR_SETTLE_AS_CHARGED: no correction */
    uint32_t settle_success[WEIR_PERMIT_LIMITS_MAX];
    uint32_t settle_failure[WEIR_PERMIT_LIMITS_MAX];
    uint64_t reserved2[4];
    /* line 2: costs by age (weir_age.h) */
    uint64_t age_below_ns[WEIR_AGE_BRACKETS_MAX]; /* ascending */
    uint32_t age_units[WEIR_AGE_BRACKETS_MAX];
    uint32_t age_cnt;  /* 0: no cost depends on age */
    uint32_t age_slot; /* place of the limit in `limit` */
    uint64_t reserved3[3];
} WEIR_ALIGN_LINE;

struct weir_shm_endpoint_row {
    char name[WEIR_NAME_BYTES];
    char host[64]; /* shown to monitors; cut if longer */
    uint32_t provider;
    uint32_t port;
    uint32_t role; /* 0 primary, 1 secondary, 2 backup */
    uint32_t connections_max;
    uint32_t tls;
    uint32_t weight;
    uint64_t reserved[1];
} WEIR_ALIGN_LINE;

/* A named scope value: weir_scope_find looks here. */
struct weir_shm_scope_row {
    char name[WEIR_NAME_BYTES];
    uint32_t provider;
    uint32_t kind;  /* enum weir_scope_kind */
    uint32_t value; /* 0.. */
    uint32_t reserved;
};

/* A member of a provider's pool: one source address, or one key (weir_member.h). Those of a provider lie side by side, addresses first. */
struct weir_shm_member_row {
    uint64_t scope; /* the values that it stands for, each in its place of a weir_scope_id */
    uint32_t provider;
    uint32_t kinds; /* bit per enum weir_scope_kind that it names */
};

/* ------------------------------------------------------------------------------------------------ permits */

/*
 * The state of one limit for one scope value, alone on its line. By kind:
 *   token_bucket   word[0] = TAT in ns of weir time; word[1] = how often units were given back (weir_bucket.h); owed = ns of units that were ever given
 *                  back, noted before they are (weir_limit.c)
 *   fixed_window   word[k & 1] = window k (low 32 bits) : 32 | units : 32
 *   sliding_window word[0] = hint: the cell stamped longest ago; word[1] = hint: cells given back (weir_sliding.h); the count is in CELL
 *                  owed = units that a surcharge found no cell for, and until when (weir_foreign_make). In form parts: word[0] = units charged
 *                  since the start, word[1] = those of them that no permit asked for; both only where a journal is kept, both only go up
 *   concurrency    word[0] = hint: a cell that may be free; the count is in CELL
 * Writers: traders and worker, by CAS only (pair:limit). A dead writer leaves a whole word: at worst one charge too many.
 */
struct weir_shm_limit_word {
    uint64_t word[2];
    /* units that a permit was refused for want of a ceiling; the worker raises it and says 0. A hint, relaxed */
    uint64_t ceiling_wanted;
    uint64_t owed;
    uint64_t
        unsorted_until_ns; /* sliding_window in cells: till then cells may stand out of the order of their stamps. A hint */
    uint64_t reserved[11];
} WEIR_ALIGN_LINE;

/*
 * Per provider: what traders report, and the bell of those who wait. Writers: traders, worker, by CAS. Behind those of all providers stand more, for scope
 * values that are held apart; the bell is always the provider's.
 */
struct weir_shm_pause {
    uint64_t word;    /* weir_pause.h */
    uint32_t changed; /* futex: goes up at refunds, resumes and reloads while somebody waits */
    uint32_t waiters; /* hint: somebody sleeps on `changed` */
    uint64_t reopen;  /* weir_reopen.h: the way back from a pause to the full rate */
    uint64_t reserved[13];
} WEIR_ALIGN_LINE;

/* ------------------------------------------------------------------------------------------------ arena */

/*
 * Tells one client from another that had its index before: of the instant at which its arena was made. Client and worker read it once, at attach. A
 * client that changes it is a stranger to its own units.
 */
static inline uint32_t weir_client_life(const struct weir_shm_header *arena)
{
    return (uint32_t)(arena->created_utc_ns >> 10) & 0xffffU;
}

/* The client's bells. Writers: client (waiters, armed), worker (done bits, completed). */
struct weir_shm_wake {
    /* bit per slot: may have ended; the worker sets, a poll clears. A stale bit costs a look (pair:done) */
    uint64_t done[WEIR_SLOTS_MAX / 64];
    uint32_t completed; /* futex: goes up at an end while somebody sleeps on it */
    uint32_t waiters;   /* client: somebody sleeps on `completed` */
    uint32_t fd_armed;  /* client: send a byte to my fd at the next end (pair:armed) */
    uint32_t reserved0;
    uint64_t reserved1[14];
    /* a line that the worker reads only every 10 ms, so that submitting moves none between cores */
    uint32_t submitted; /* client: bumped after each submit; a hint for the sweep */
    uint32_t cancelled; /* client: bumped behind each slot.cancel, before the doorbell */
    uint64_t reserved3[15];
} WEIR_ALIGN_LINE;

#define WEIR_CLAIMS 4U

/* What one reply told a trader (weir_claim.h). Weir time. */
struct weir_shm_claim {
    uint64_t sent_ns; /* its permit's grant */
    uint64_t seen_ns; /* when it was settled */
    uint64_t what;    /* limit word:32 | units used:32 */
};

/*
 * One thread's own counts, so that the permit path writes no shared line. Writer: the thread. Reader: worker, which takes
 * differences modulo 2^32 and adds them to the board. u32 granted[route][5], then u32 refused[limit][5], then from the next multiple of
 * 8 bytes on u64 units[limit]: taken less given back, modulo 2^64.
 */
struct weir_shm_meter_head {
    uint32_t route_cnt;
    uint32_t limit_cnt;
    uint32_t settled;
    uint32_t contended;
    uint32_t rolled_back;
    uint32_t claim_cnt; /* ever; the last ones are in `claim` (pair:claim) */
    struct weir_shm_claim claim[WEIR_CLAIMS];
    uint32_t reserved[2];
} WEIR_ALIGN_LINE;

/* Where `units` of a meter begins, from the meter's start; and what a meter with it takes. */
static inline uint64_t weir_meter_units_off_bytes(uint32_t route_cnt, uint32_t limit_cnt)
{
    uint64_t counts = ((uint64_t)route_cnt + limit_cnt) * WEIR_PRIORITY_CNT * sizeof(uint32_t);
    return weir_round_up(sizeof(struct weir_shm_meter_head) + counts, sizeof(uint64_t));
}

static inline uint64_t weir_meter_bytes(uint32_t route_cnt, uint32_t limit_cnt)
{
    return weir_meter_units_off_bytes(route_cnt, limit_cnt) + limit_cnt * sizeof(uint64_t);
}

/* Slot states; the word is gen:32 | state:8 | thread:8 | 0:16 (weir_slot.h). */

/* What a client asks. Copied once by the worker; only the copy is looked at. 128 bytes. */
struct weir_shm_request {
    uint32_t route;
    uint8_t priority;
    uint8_t method; /* 0 = the route's own */
    uint16_t header_cnt;
    uint64_t scope;
    uint64_t deadline_ns;
    uint64_t submitted_ns;
    uint64_t correlation;
    /* payload in the request area: path rest | query | headers | body, without gaps */
    uint32_t path_bytes;
    uint32_t query_bytes;
    uint32_t headers_bytes; /* each: u16 name bytes | u16 value bytes | name | value */
    uint32_t body_bytes;
    uint32_t unit_cnt; /* 0 = the route's costs */
    uint32_t units[WEIR_PERMIT_LIMITS_MAX];
    uint32_t reserved[9];
};

/* What the worker answers. Written before the state word says DONE. 128 bytes. */
struct weir_shm_response {
    uint32_t result; /* enum weir_result */
    uint32_t status; /* HTTP status, 0 if none */
    /* enum weir_error, with REJECTED; the CURLcode with NOT_SENT, FAILED, OUTCOME_UNKNOWN */
    int32_t error;
    uint32_t endpoint;
    uint32_t denial_reason;
    uint32_t denial_limit;
    uint64_t denial_earliest_ns;
    uint32_t headers_off_bytes; /* in the response pool */
    uint32_t headers_bytes;     /* lines as received, each ended by CR LF */
    uint32_t body_off_bytes;
    uint32_t body_bytes;
    uint64_t submitted_ns, taken_ns, permitted_ns, sent_ns, first_byte_ns, done_ns, delivered_ns;
    uint32_t sends;    /* passages of the send gate */
    uint16_t connects; /* 1: the connection was made for this call */
    uint16_t doubt;    /* enum weir_doubt */
    uint32_t source;   /* enum weir_source, with DONE */
    uint32_t member;   /* of the pool: who made it (weir_member.h); 0: none */
    uint64_t age_ns;   /* of the answer, when it was given; 0: it came for this call */
};

/* Line 0: client and worker by CAS; line 1: client; line 2: worker. */
struct weir_shm_slot {
    uint64_t state;  /* weir_slot.h */
    uint32_t waiter; /* client: a thread sleeps on the low half of `state` */
    uint32_t cancel; /* client: stop if you can */
    uint64_t reserved[14];
    struct weir_shm_request request;
    struct weir_shm_response response;
} WEIR_ALIGN_LINE;

/* ------------------------------------------------------------------------------------------------ table of the layout */

struct weir_layout_field {
    const char *type;
    const char *field; /* "" = the whole type */
    uint32_t off_bytes;
    uint32_t bytes;
};

/* Every shared field, in a fixed order: printed by `weir inspect --layout`, pinned by tests/abi, hashed into the header. */
extern const struct weir_layout_field weir_layout_fields[];
extern const size_t weir_layout_field_cnt;

/* XXH3-64 over the table above and the ABI major: equal hashes mean equal layouts. */
uint64_t weir_layout_hash(void);

/* The text of a segment or section kind; "?" for an unknown one. */
const char *weir_segment_name(uint32_t kind);
const char *weir_section_name(uint32_t kind);

#endif
