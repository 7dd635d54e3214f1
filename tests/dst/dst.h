/*
 * dst.h: the deterministic simulator of a whole weir: its parts, and who owns what.
 *
 *   dst_run.c        actors (coroutines), virtual time, the event queue, points: who runs, who stops, who dies
 *   dst_wrap.c       the C library's calls of the code under test: clocks, futex, memory, mappings, descriptors (linked by --wrap)
 *   dst_disk.c       the files of runtime and state directory: what is written, what is on disk, what a crash leaves
 *   dst_loop.c       broker/loop.h: the worker's io_uring
 *   dst_http.c       broker/http.h: curl and the connections
 *   dst_flight.c     requests on their way, and traders' own calls
 *   dst_exchange.c   the exchange: answers, and knows each call by its id
 *   dst_session.c    ... its tokens and cookies, and what is promised of them
 *   dst_count.c      ... and its counts, by its published rules: never exceed
 *   dst_broker.c     the supervisor's part: segments, attach, lives of the worker, control messages
 *   dst_attach.c     ... and its clients: attach, bells, deaths, new boards
 *   dst_handover.c   the sockets of a takeover
 *   dst_reload.c     SIGHUP, and what its configurations are
 *   dst_clients.c    strategies, by the real libclient; dst_permits.c: those that make their calls themselves; dst_outcome.c: what they are told
 *   dst_faults.c     what goes wrong, when
 *   dst_check.c      the promises
 *   dst_world.c      one seed's configuration
 *   dst_main.c       the command line
 *
 * One process, one thread. The code under test runs unchanged in actors; a dead process is an actor that is never resumed, whose memory, mappings
 * and descriptors are taken back. Every choice comes from one generator, so one seed is one exact run.
 */
#ifndef DST_H
#define DST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "shm/weir_types.h"

#define DST_US UINT64_C(1000)
#define DST_MS UINT64_C(1000000)
#define DST_S  UINT64_C(1000000000)

/* ---- dst_run.c: randomness */

uint64_t dst_random(void);
uint64_t dst_below(uint64_t n); /* [0, n); n > 0 */
bool dst_chance(double p);
uint64_t dst_log_uniform(uint64_t low, uint64_t high); /* each order of magnitude alike */

/* ---- time and events */

extern uint64_t dst_now;       /* ns since the run began: nobody in the simulation sees it */
uint64_t dst_monotonic(void);  /* CLOCK_MONOTONIC of the host; begins anew when it reboots */
uint64_t dst_utc(void);        /* CLOCK_REALTIME of the host */
extern int64_t dst_utc_offset; /* moved by clock steps */
extern uint64_t dst_boot_at;   /* dst_now of the last boot */
extern uint64_t dst_boot_number;

typedef void (*dst_event_fn)(void *arg, uint64_t a, uint64_t b);
void dst_at(uint64_t at, dst_event_fn fn, void *arg, uint64_t a, uint64_t b);

/* ---- processes and actors */

struct dst_block;

struct dst_process {
    const char *name;
    uint64_t life; /* goes up with each birth */
    bool live;
    struct dst_block *blocks; /* its heap */
    struct dst_map *map;
    size_t map_cnt, map_room;
    int *fd;
    size_t fd_cnt, fd_room;
    long kill_in;             /* points until it dies; 0: not condemned */
    uint64_t stall_max;       /* how long a stop of it lasts at most; 0: never stopped */
    bool steady;              /* between the send gate and the send: it is not stopped for long */
    struct dst_process *heir; /* forked from it: has its mappings and descriptors too */
    void (*died)(struct dst_process *); /* clean-up of what others hold of it */
};

extern struct dst_process *dst_cur; /* who runs; NULL: the simulator */

struct dst_actor;
void dst_born(struct dst_process *p, void (*body)(void *), void *arg);
void dst_kill(struct dst_process *p); /* now, or at once when it runs itself */
void dst_block(uint64_t until,
               const void *word); /* the running actor sleeps; `word`: a futex word it waits on */
void dst_wake_word(const void *word, int cnt);
void dst_wake_process(struct dst_process *p); /* whatever it sleeps on */
void dst_hold(
    bool on); /* while on, points do nothing (pieces that the supervisor does for others) */
void dst_run_until(uint64_t at);
void dst_run_reset(uint64_t seed);
void dst_passed(uint64_t ns); /* the running code took so long */

/* ---- what was seen */

void dst_trace(const char *what, uint64_t a, uint64_t b,
               uint64_t c); /* into the hash; printed with --trace */
void dst_say(const char *format, ...)
    __attribute__((format(printf, 1, 2))); /* printed with --trace only */
_Noreturn void dst_broken(const char *promise, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
uint64_t dst_hash(void);
extern bool dst_tracing;

/* ---- counters, printed at the end */

enum dst_fault {
    DST_WORKER_KILLED,
    DST_CLIENT_KILLED,
    DST_BROKER_KILLED,
    DST_SUPERVISOR_KILLED,
    DST_BROKER_STOPPED,
    DST_HOST_CRASHED,
    DST_STALLED,
    DST_CONNECT_REFUSED,
    DST_CONNECT_HUNG,
    DST_RESET_UNSEEN,
    DST_RESET_SEEN,
    DST_DEAD_REUSED,
    DST_ANSWER_LOST,
    DST_ANSWER_CUT,
    DST_ANSWER_SLOW,
    DST_ANSWER_5XX,
    DST_ANSWER_LARGE,
    DST_TOLD_429,
    DST_TOLD_418,
    DST_DISK_WRITE_FAILED,
    DST_DISK_WRITE_SHORT,
    DST_DISK_SYNC_FAILED,
    DST_DISK_SLOW,
    DST_DISK_TORN,
    DST_UTC_STEPPED,
    DST_PAUSED,
    DST_RESUMED,
    DST_BLOCKED,
    DST_SCRIBBLED,
    DST_BELL_CUT,
    DST_NEVER_READ,
    DST_PERMIT_DROPPED,
    DST_CANCELLED,
    DST_OTHERS_CALLED,
    DST_TOLD_NONSENSE,
    DST_COUNTED_LATE,
    DST_REFUNDED,
    DST_SURCHARGED,
    DST_CQ_OVERFLOW,
    DST_READ_SHORT,
    DST_INTERRUPTED,
    DST_TAKEOVER,
    DST_TAKEN_OVER,
    DST_TAKEOVER_KILLED,
    DST_BATCH_ODD,
    DST_HEDGED,
    DST_RELOAD,
    DST_RELOADED,
    DST_RELOAD_REFUSED,
    DST_FROM_DISK,
    DST_STARTED_ANEW,
    DST_MEMBER_BANNED, /* an address is told to stop, for itself alone, and means it */
    DST_KEY_REFUSED,   /* a key is not believed for a while */
    DST_BESIDE,        /* hedged by another member of the pool */
    DST_SIGN_IN_KILLED, /* somebody dies between the send of a refresh token and the use of what came of it */
    DST_SESSION_REVOKED,
    DST_SESSION_ENDED, /* ... with all its tokens */
    DST_TOKEN_ODD,     /* an answer with tokens that nobody can read */
    DST_TOKEN_GIVEN,   /* a person writes a new one into the configuration */
    DST_SECOND_USE,    /* of a token that may be spent */
    DST_TURNED_AWAY,   /* a call whose token is not taken */
    DST_FAULT_CNT,
};

enum dst_check {
    DST_CHECK_QUOTA,   /* never exceed: at each arrival, each limit */
    DST_CHECK_OTHERS,  /* ... with what others are known to use */
    DST_CHECK_SETTLED, /* a surcharge that is known, and stands against the quota from now on */
    DST_CHECK_ONCE,    /* never twice: at each arrival of an order */
    DST_CHECK_OUTCOME, /* exactly one, named */
    DST_CHECK_TRUTH,   /* ... and true */
    DST_CHECK_UNSEEN,  /* what was said not to be sent never arrives */
    DST_CHECK_LIVE,    /* a request whose time is over has ended */
    DST_CHECK_PAUSE,   /* who was told to stop stops */
    DST_CHECK_SOUND, /* no honest word is found damaged; the private account stays below the shared one */
    DST_CHECK_JOURNAL,  /* what is charged is covered on disk */
    DST_CHECK_HANDOVER, /* permits stand still briefly */
    DST_CHECK_AGE,      /* no answer is given beyond its time, or said to be younger than it is */
    DST_CHECK_LEAK,     /* nothing is left when all is quiet */
    DST_CHECK_MEMBER,   /* who sends is who pays, and whom the call named */
    DST_CHECK_SINGLE,   /* a refresh token is sent once, and the disk says so first */
    DST_CHECK_TOKEN,    /* what a call bears is in force, and is on the disk */
    DST_CHECK_CNT,
};

extern uint64_t dst_faults[DST_FAULT_CNT];
extern uint64_t dst_checks[DST_CHECK_CNT];
extern uint64_t dst_doubts[WEIR_DOUBT_CNT]; /* calls that were told so */
extern const char *const dst_fault_names[DST_FAULT_CNT];
extern const char *const dst_check_names[DST_CHECK_CNT];
extern bool dst_allowed[DST_FAULT_CNT]; /* --faults */

bool dst_fault(enum dst_fault f, double p); /* by chance, if allowed; counts */

/* ---- dst_world.c */

#define DST_LIMITS_MAX    8
#define DST_ROUTES_MAX    8
#define DST_PROVIDERS_MAX 2
#define DST_COSTS_MAX     4
#define DST_VALUES_MAX    5 /* of one kind of scope; 0: it counts by none */

/* Whom a limit counts, or a stop is about. */
enum dst_scope { DST_ALL, DST_ADDRESS, DST_KEY };

/* Who made a call: its source address and its key, each numbered from 1; 0: the host chose, or it bears none. */
typedef uint32_t dst_maker;
#define DST_MAKER(address, key) ((dst_maker)((uint32_t)(key) << 16 | (uint32_t)(address)))

static inline unsigned dst_made_by(dst_maker who, enum dst_scope scope)
{
    return scope == DST_ADDRESS ? who & 0xffffU : scope == DST_KEY ? who >> 16 : 0;
}

enum dst_kind { DST_FIXED = 1, DST_BUCKET, DST_SLIDING, DST_UNITS };

struct dst_limit {
    char name[16];
    enum dst_kind kind;
    enum dst_scope scope;
    uint64_t quota;
    uint64_t window_ns;
    uint64_t burst;
};

enum dst_session { DST_SESSION_NONE, DST_SESSION_TOKEN, DST_SESSION_COOKIE };

enum dst_settle { DST_SETTLE_NONE, DST_SETTLE_RULES, DST_SETTLE_FIELD, DST_SETTLE_LIST };
#define DST_AS_CHARGED UINT64_MAX
#define DST_SYMBOLS    8U /* A0 .. A7; A8 is asked for too, and is none */

struct dst_route {
    char name[16];
    bool order; /* POST, not idempotent */
    unsigned cost_cnt;
    unsigned limit[DST_COSTS_MAX];
    uint64_t cost[DST_COSTS_MAX];
    uint64_t timeout_ns;
    /* settle: what the call costs in the end on limit[settle_cost] */
    enum dst_settle settle;
    unsigned settle_cost;
    uint64_t success_units, failure_units; /* DST_AS_CHARGED: no rule */
    bool ok_field;                         /* 200 alone is no success */
    bool never_dearer;
    bool is_signed, any_key;
};

struct dst_provider {
    char name[16];
    unsigned limit_cnt, route_cnt;
    struct dst_limit limit[DST_LIMITS_MAX];
    struct dst_route route[DST_ROUTES_MAX];
    uint64_t jitter_ns; /* J */
    bool reports_used;  /* a header says how much of limit 0 is used, or left */
    bool others; /* somebody else calls too; headers tell of each limit but `long` and units */
    bool
        counts_refused; /* ... and may take more than there is: then headers tell that none is left */
    bool settles;       /* routes have settle rules */
    bool late;          /* it counts some calls later than max_jitter allows */
    /* Answers that all may have: route[route_cnt] asks for one symbol, the next one for many. */
    bool shares, batched, comma;
    uint64_t cache_ns, stale_ns, last_good_ns;
    unsigned route_all; /* with these */
    bool host_clock;
    bool mute;         /* it never says what time it is */
    bool asks;         /* orders in doubt are asked after: routes have `doubt` */
    bool resends;      /* ... and sent again where they are surely absent */
    int64_t offset_ns; /* of the exchange's UTC from dst_now */
    int64_t drift_ppb;
    uint64_t stepped_at;
    /* A pool: addresses and keys, the last of each maybe outside of it. 0: none. */
    unsigned address_cnt, key_cnt, address_pool, key_pool;
    enum dst_scope hold; /* throttle.scope */
    enum dst_session session;
    bool rotates;        /* each answer brings another refresh token */
    bool asks_by_get;    /* the refresh token stands in the query */
    uint32_t second_use; /* sign_in.second_use */
    uint32_t given;      /* the refresh token that the configuration names */
};

/* Half of the exchanges tell what is left of the fixed window, not what is used. */
static inline bool dst_tells_left(const struct dst_provider *p)
{
    return p->limit[0].quota % 2 == 1;
}

struct dst_mix { /* how often what goes wrong in this run; 0: never */
    double refused, hung, unseen, seen, dead_reused, lost, cut, slow, e5xx, large, told_429,
        told_418;
    double stall, clock_cut;
    double banned, key_refused, revoked, sign_in_kill;
    double worker_kills_per_s, client_kills_per_s, broker_kills_per_s, host_per_s, operate_per_s,
        steps_per_s, takeovers_per_s, reloads_per_s, restarts_per_s;
    double anew; /* of starts: with another configuration */
    double takeover_kill, reload_stall;
    double overflow, interrupted;
    double disk_fail, disk_slow, scribble;
    double kill_after; /* ... a moment that matters: chance that the worker is condemned there */
};

struct dst_world {
    uint64_t seed;
    unsigned provider_cnt;
    struct dst_provider provider[DST_PROVIDERS_MAX];
    struct dst_mix mix;
    unsigned client_cnt;
    bool spins; /* wake: adaptive */
    bool liars; /* somebody scribbles: only what the broker alone promises is checked */
    bool journal;
    bool utc_kept;     /* adjtimex says that UTC is right, and it is */
    uint64_t think_ns; /* between two actions of a client */
    int burst_shift;   /* how long somebody runs before another does: 1 .. 2^burst_shift points */
    char yaml[16384];
};

extern struct dst_world dst_world;
struct weir_config;
extern struct weir_config *dst_config; /* in force, and what the exchanges have */
void dst_world_make(uint64_t seed);

/* What an operator has written since: other numbers, at the same places. `start`: for a start, which may bring more than a reload. */
struct dst_file {
    struct weir_config *config;
    struct dst_limit limit[DST_PROVIDERS_MAX][DST_LIMITS_MAX];
    uint64_t jitter_ns[DST_PROVIDERS_MAX];
};
void dst_world_redraw(struct dst_file *out, bool start);
void dst_world_undo(struct dst_file *out); /* the limits that stand in it */

uint64_t dst_server_utc(const struct dst_provider *p, uint64_t at);

/* ---- dst_exchange.c */

/* What a request bears of its session: numbers; 0: none. */
struct dst_bears {
    uint32_t refresh, access, cookie, crumb;
};

enum dst_answer { DST_ANSWERED, DST_SILENT };

struct dst_reply {
    unsigned status;
    uint64_t retry_after_s;
    uint64_t sent_at, arrived_at;
    bool settles; /* ... the cost, to `units` */
    bool success;
    bool turned; /* away: its token is not taken */
    uint64_t units;
    bool tells[DST_LIMITS_MAX];
    uint64_t told[DST_LIMITS_MAX]; /* used */
    char head[512];
    char body[8192];
    size_t body_bytes;
};

/* Calls known by id. */
struct dst_call {
    uint32_t provider, route;
    bool idempotent, brokered;
    uint32_t seen;     /* times that the exchange counted it */
    uint32_t answered; /* whole answers that it wrote */
    unsigned status;   /* of the last of them */
    bool unsendable;   /* ended as surely not sent: may never arrive */
    bool ended;
    uint64_t deadline_ns;  /* CLOCK_MONOTONIC, as the client asked; 0: by the route */
    uint64_t submitted_at; /* dst_now */
    bool asks;             /* for a symbol: its answer may be anybody's, and it has no id */
    unsigned symbol;
    unsigned client;
    uint64_t client_life;
    dst_maker named;   /* whom it wants; 0: whoever */
    dst_maker sent_by; /* ... the last one that wrote it */
    dst_maker seen_by; /* ... and that it arrived from */
    bool asked;        /* somebody has asked what became of it */
    uint32_t turned;   /* times that it arrived with a token that was not taken: nothing was done */
    uint32_t open;     /* sends of it of which weir does not know that nothing was done */
};

uint64_t dst_call_new(const struct dst_call *c);
struct dst_call *dst_call_at(uint64_t id);

void dst_exchange_reset(void);
/* A request arrives at dst_now. `late`: it was on its way for longer than J allows. Fills the answer. */
void dst_exchange_arrive(unsigned provider, dst_maker who, const char *path,
                         const struct dst_bears *bears,
                         struct dst_reply *out); /* NULL: a trader's */
/* It leaves, by this member. */
void dst_exchange_sent(unsigned provider, dst_maker who, const char *path,
                       const struct dst_bears *bears);
/* weir is about to take the answer in. */
void dst_exchange_told(unsigned provider, const char *path, const struct dst_bears *bears,
                       const struct dst_reply *reply);
void dst_exchange_over(unsigned provider, dst_maker who, const char *path,
                       bool brokered); /* answered or cut: its unit in flight is free */
uint64_t dst_exchange_arrivals(void);
/* The answer is decided: refunds and surcharges stand from now on. */
void dst_exchange_settle(unsigned provider, dst_maker who, const char *path,
                         const struct dst_reply *reply);
/* weir has taken the answer in. `brokered`: with what it tells of others. */
void dst_exchange_heard(unsigned provider, dst_maker who, const char *path, bool brokered,
                        uint64_t sent_at, const struct dst_reply *reply);
void dst_exchange_others_start(void);

/* ---- dst_count.c: of each limit one count for each value of its scope, which the maker says */

void dst_count_reset(void);
void dst_count_arrive(unsigned provider, unsigned limit, dst_maker maker, uint64_t id,
                      uint64_t units, const char *who);
void dst_count_over(unsigned provider, unsigned limit, dst_maker maker, uint64_t units);
void dst_count_other(unsigned provider, unsigned limit, uint64_t units);
uint64_t dst_count_told(unsigned provider, unsigned limit, dst_maker maker);
/* The exchange has another limit. Until dst_count_changed says so, what was permitted by the one before may still arrive: the larger one is what counts. */
void dst_count_change(unsigned provider, unsigned limit, const struct dst_limit *next);
/* ... and a bucket of it holds no more than it can. */
void dst_count_cut(unsigned provider, unsigned limit);
void dst_count_changed(uint64_t settled_at);
void dst_count_heard(unsigned provider, unsigned limit, uint64_t counted_at);
void dst_count_forget(void);
void dst_count_forget_surcharges(void);
void dst_count_settle(unsigned provider, unsigned limit, dst_maker maker, uint64_t id, uint64_t at,
                      uint64_t units);
void dst_count_settled(unsigned provider, unsigned limit, dst_maker maker, uint64_t id,
                       uint64_t at);
uint64_t dst_count_most(unsigned provider, unsigned limit); /* of whichever member */
uint64_t dst_exchange_count(unsigned provider, unsigned limit, unsigned value,
                            uint64_t *window); /* of a fixed window, without surcharges */

/* ---- dst_http.c */

void dst_http_reset(void);
void dst_http_worker_died(void);
unsigned dst_http_open_cnt(void);
void dst_http_traders_end(void);
/* A trader's own call: returns when it is answered or cut. Caller: a client actor. */
bool dst_trader_call(unsigned provider, dst_maker who, const char *path, uint64_t patience_ns,
                     struct dst_reply *out);

/* ---- dst_loop.c */

struct worker;
extern struct worker *dst_worker; /* as soon as one has opened its loop */
void dst_loop_reset(void);
void dst_loop_worker_died(void);
void dst_loop_post(int kind, uint32_t generation, uint32_t index, int result, bool more);
void dst_loop_doorbell(int fd);
void dst_loop_process_died(int pidfd);
void dst_loop_control(void);
void dst_loop_handover(void);

/* ---- dst_disk.c: descriptors from DST_FD_FILE on */

void dst_disk_reset(void);
void dst_disk_host_crashed(void);
void dst_disk_worker_died(void);
bool dst_disk_path(const char *path);
int dst_disk_open(const char *path, int flags);
long dst_disk_read(int fd, void *at, size_t bytes);
long dst_disk_write(int fd, const void *at, size_t bytes,
                    int64_t off); /* off -1: where it stands */
int dst_disk_sync(int fd);
int dst_disk_rename(const char *from, const char *to);
int dst_disk_unlink(const char *path);
bool dst_disk_exists(const char *path);
int64_t dst_disk_size(int fd);
void dst_disk_truncate(int fd, size_t bytes);
void dst_disk_close(int fd);
int dst_disk_inode(const char *path); /* -1: none */
int dst_disk_inode_fd(int fd);
const void *dst_disk_durable(const char *path, size_t *bytes);
const void *dst_disk_durable_prefix(const char *path,
                                    size_t *bytes); /* of the one that begins so */
long dst_disk_read_at(int fd, void *at, size_t bytes, size_t off);

/* ---- pseudo descriptors */

#define DST_FD_FILE     1000000
#define DST_FD_DOORBELL 2000000 /* + client index * 2^16 + attach number */
#define DST_FD_BELL     3000000
#define DST_FD_PID      4000000
#define DST_FD_CONTROL  5000000
#define DST_FD_RESOLVER 5000001
#define DST_FD_LINK     6000000 /* a client's connection to the supervisor: numbered as its doorbell */
#define DST_FD_LISTENER 8000000 /* a takeover */
#define DST_FD_GIVER    8000001
#define DST_FD_TAKER    8000002
#define DST_FD_LOCK     8000003
#define DST_FD_REJOIN   8000004
#define DST_FD_WORKER   8000005 /* the supervisor's end of what it has with its worker */
#define DST_FD_FIRST    DST_FD_FILE

/* ---- dst_broker.c */

extern struct dst_process dst_worker_process, dst_supervisors[2];
extern struct dst_process *dst_supervisor; /* which is in power; the other one may be taking over */
#define dst_supervisor_process (*dst_supervisor)
struct region;
struct region *dst_region(void); /* NULL: no broker */
bool dst_broker_up(void);
bool dst_worker_up(void);
uint64_t dst_worker_since(void);
uint64_t dst_broker_life(void);
void dst_broker_reset(void);
void dst_broker_start(void);
void dst_broker_stop(void); /* clean: drain, write the state */
void dst_broker_operate(unsigned operation, const char *target, uint64_t duration_ns);
void dst_broker_client_died(unsigned client);
unsigned dst_broker_attached(void);
uint64_t dst_broker_worker_lives(void);
void dst_broker_doorbell(int fd);
bool dst_broker_pid_dead(int pidfd);
bool dst_broker_bell_closed(int fd);
void dst_broker_takeover(void); /* weird --takeover */
void dst_broker_reload(void);   /* another file, and SIGHUP */
bool dst_broker_calm(void);     /* nobody takes over, and no reload is under way */
bool dst_reload_is_near(void);  /* a SIGHUP, and the tables are not changed yet */
struct msghdr;
ssize_t dst_broker_welcome(int fd, struct msghdr *m);
void dst_broker_knocks(const void *hello);
void dst_broker_rejoined(int link);
void dst_broker_knocked(void);

/* ---- dst_handover.c */

void dst_handover_reset(void);
void dst_handover_died(const struct dst_process *p);
bool dst_handover_waits(void);
uint64_t dst_handover_ended_at(void);
bool dst_handover_ready(int fd);
bool dst_handover_close(int fd); /* false: not one of its */
int dst_handover_send(int fd, const void *message, size_t bytes, const int *fds, size_t fd_cnt);
ssize_t dst_handover_receive(int fd, void *message, size_t bytes, int *fds, size_t *fd_cnt);

/* ---- dst_clients.c */

#define DST_CLIENTS_MAX 12

extern struct dst_process dst_client_process[DST_CLIENTS_MAX];
void dst_clients_reset(void);
void dst_clients_start(void);
void dst_clients_quiet(bool on); /* end what is open, then do nothing */
bool dst_clients_idle(void);
void dst_client_respawn(unsigned client);

/* ---- dst_faults.c, dst_check.c */

void dst_faults_start(void);
void dst_faults_stop(void);
bool dst_faults_on(void);
void dst_faults_sign_in(void); /* a refresh token leaves */
void dst_check_start(void);
void dst_check_quiet(void); /* all is over: what is left? */
void dst_check_told_stop(unsigned provider, dst_maker who, uint64_t sent_at, uint64_t until);
void dst_check_resumed(unsigned provider);
void dst_check_gate(unsigned provider, dst_maker who);
struct call;
void dst_check_payer(const struct call *c, dst_maker who); /* the permit that it leaves with */
void dst_check_beside(const struct call *hedge);           /* it has been given its member */
/* Is a count of the first limit, heard now and of the current window, more than weir can have used itself? */
bool dst_check_proves(unsigned provider, unsigned limit, uint64_t told_units);
/* What the board says that others surely use: no claims, and nothing that is held for late calls. */
uint64_t dst_check_others(unsigned provider, unsigned limit, uint64_t window);
void dst_check_reset(void);

/* The real ones, where the wrapped would belong to a process. */
void *__real_malloc(size_t bytes);
void *__real_calloc(size_t n, size_t bytes);
void *__real_realloc(void *p, size_t bytes);
void __real_free(void *p);

/* dst_wrap.c */
void dst_process_release(struct dst_process *p);
void dst_process_fd(struct dst_process *p, int fd);
void dst_heap_reset(void);

#endif
