/*
 * config.h: what weird runs with, as plain data.
 *
 * weir_config_load() turns a YAML file into one `struct weir_config`, or into a list of messages that say what is wrong where.
 * Whoever reads this structure reads checked values: every number is inside the range of its row in config_schema.c, every
 * default is filled in, every reference between parts is resolved to an index. Nothing in it changes after the load; it is
 * owned by the caller, shared with nobody, and freed as a whole. Strings are never NULL: "" means "not set".
 *
 * Keys that a later version acts upon are read and checked all the same, and named in a
 * warning that says what this version does instead.
 */
#ifndef WEIR_CONFIG_H
#define WEIR_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#include "broker/sign/sign.h"
#include "shm/weir_types.h"

/* Bounds of one configuration. They hold over the whole file, not per provider. */
#define WEIR_CONFIG_FILE_MAX_BYTES (1u << 20)
#define WEIR_CONFIG_DOMAIN_MAX     16
#define WEIR_CONFIG_CLIENT_MAX     255 /* of all domains together: a handle has 8 bits for the client */
#define WEIR_CONFIG_PROVIDER_MAX   64
#define WEIR_CONFIG_LIMIT_MAX      256
#define WEIR_CONFIG_ROUTE_MAX      1024
#define WEIR_CONFIG_ENDPOINT_MAX   256
#define WEIR_CONFIG_SCOPE_MAX      1024 /* values of one scope kind of one provider */

/* "provider.route" with its NUL. */
#define WEIR_CONFIG_ROUTE_NAME_BYTES (2 * WEIR_NAME_BYTES)

enum weir_config_wake {
    WEIR_CONFIG_WAKE_SPIN = 1,     /* the worker never sleeps: lowest latency, one core */
    WEIR_CONFIG_WAKE_SLEEP = 2,    /* it sleeps as soon as there is nothing to do */
    WEIR_CONFIG_WAKE_ADAPTIVE = 3, /* it spins for `spin_ns`, then sleeps */
};

enum weir_config_log {
    WEIR_CONFIG_LOG_DEBUG = 1,
    WEIR_CONFIG_LOG_INFO = 2,
    WEIR_CONFIG_LOG_WARN = 3,
    WEIR_CONFIG_LOG_ERROR = 4,
};

enum weir_config_clock_source {
    WEIR_CONFIG_CLOCK_NONE = 1,   /* the offset is unknown: a fixed window is granted in part */
    WEIR_CONFIG_CLOCK_SERVER = 2, /* ask the provider: `path`, `field` */
    WEIR_CONFIG_CLOCK_HOST = 3,   /* trust this machine's UTC within `error_ns` */
};

enum weir_config_retry_after {
    WEIR_CONFIG_RETRY_AFTER_SECONDS = 1, /* the header holds seconds, or a date (RFC 9110) */
    WEIR_CONFIG_RETRY_AFTER_MS = 2,
    WEIR_CONFIG_RETRY_AFTER_NONE = 3, /* there is none, or one that must not be believed */
};

enum weir_config_endpoint_role {
    WEIR_CONFIG_ENDPOINT_PRIMARY = 1,
    WEIR_CONFIG_ENDPOINT_SECONDARY = 2,
    WEIR_CONFIG_ENDPOINT_BACKUP = 3,
};

enum weir_config_transport {
    WEIR_CONFIG_TRANSPORT_WEIR = 1, /* the broker makes the call; permits may be taken as well */
    WEIR_CONFIG_TRANSPORT_OWN = 2,  /* permits only: no method, no path, no endpoint needed */
};

/* What an instant's number counts; auto: its magnitude tells, or it is a date. */
enum weir_config_unit {
    WEIR_CONFIG_UNIT_AUTO = 1,
    WEIR_CONFIG_UNIT_S = 2,
    WEIR_CONFIG_UNIT_MS = 3,
    WEIR_CONFIG_UNIT_US = 4,
    WEIR_CONFIG_UNIT_NS = 5,
};

enum weir_config_reports {
    WEIR_CONFIG_REPORTS_USED = 1,
    WEIR_CONFIG_REPORTS_REMAINING = 2,
    WEIR_CONFIG_REPORTS_RESET = 3, /* when the window ends */
};

enum weir_config_form {
    WEIR_CONFIG_FORM_EPOCH = 1, /* an instant, UTC */
    WEIR_CONFIG_FORM_LEFT = 2,  /* a span from now */
};

enum weir_config_expect {
    WEIR_CONFIG_EXPECT_OFF = 1,
    WEIR_CONFIG_EXPECT_ADAPTIVE =
        2, /* what others used in the last windows is kept free in the next */
};

struct weir_config_strings {
    const char **text;
    size_t cnt;
};

struct weir_config_numbers {
    uint64_t *number;
    size_t cnt;
};

/* What all clients of a domain may have together. 0: no bound but those of the broker. */
struct weir_config_quota {
    uint64_t slot_max;
    uint64_t memory_max_bytes;
    uint64_t in_flight_max;
    uint64_t rate_max; /* requests a second */
    uint64_t monitor_max;
};

/* Who may attach, and with how much. One socket, one ring. */
struct weir_config_domain {
    char name[WEIR_NAME_BYTES];
    enum weir_role role; /* the largest role granted */
    struct weir_config_numbers uids;
    struct weir_config_numbers gids; /* both lists empty: the broker's own uid */
    uint64_t client_max;
    uint64_t slot_max;          /* per client */
    uint64_t arena_max_bytes;   /* per client */
    uint64_t request_max_bytes; /* largest request: path, headers and body together */
    struct weir_config_quota quota;
};

struct weir_config_broker {
    char name[WEIR_NAME_BYTES];
    enum weir_config_wake wake;
    enum weir_config_log log;
    uint64_t spin_ns;            /* wake: adaptive, how long before it sleeps */
    uint64_t memory_max_bytes;   /* all segments together */
    uint64_t ring_cnt;           /* entries of each priority's ring: a power of two */
    uint64_t cache_bytes;        /* of answers, where a route keeps any */
    uint64_t last_good_every_ns; /* between two snapshots of them on disk */
    uint64_t audit_cnt;          /* records that are kept of who used what; 0: none */
    uint64_t drain_ns;           /* SIGTERM: how long calls in flight may take to end */
    uint64_t core_max_bytes;     /* of a core of the worker; 0: none */
    struct weir_config_numbers
        operators;    /* uids that may use `weir ctl`, besides the broker's own */
    const char *user; /* "": as weird's own, or for root weir or nobody; of worker and resolver */
    uint64_t worker_memory_bytes; /* of its own: what the segments hold does not count */
    const char *shadow;           /* "": none; a configuration that is judged beside this one */
    const char *runtime_dir;      /* "": /run/weir for root, else $XDG_RUNTIME_DIR/weir */
    const char
        *state_dir; /* "": /var/lib/weir for root, else $XDG_STATE_HOME/weir; "none": no journal */
    struct weir_config_domain *domain; /* at least one */
    size_t domain_cnt;
};

struct weir_config_clock {
    enum weir_config_clock_source source;
    const char *path; /* source: server; "": the time is read from other calls' answers only */
    const char
        *field; /* member of the JSON answer to `path` that holds the time; "": `header` does */
    const char *header;         /* of every answer; lower case; "": none */
    enum weir_config_unit unit; /* of `field` and `header` */
    uint64_t interval_ns;
    uint64_t error_ns; /* source: host */
    uint64_t max_jitter_ns;
};

/* The key of one account, or of one of its keys, where the provider has several. */
struct weir_config_key {
    const char *account; /* "": whatever the account */
    const char *name;    /* of scopes.key; "": whatever the key */
    size_t account_idx;  /* in the provider's scopes; WEIR_CONFIG_SCOPE_ANY */
    size_t name_idx;
    const char *key;
    const char *secret;
    const char *passphrase;
    const char *refresh_token;
    bool is_pooled; /* one of those that may make a call which names none */
};

#define WEIR_CONFIG_SCOPE_ANY  SIZE_MAX
#define WEIR_CONFIG_KEY_MAX    64 /* of one provider */
#define WEIR_CONFIG_EGRESS_MAX 32 /* likewise */

/* A source address of this host, by the name that limits of scope ip count by. */
struct weir_config_egress {
    const char *ip;
    size_t ip_idx;       /* in the provider's scopes */
    const char *address; /* in digits, as inet_ntop writes it */
    bool is_pooled;
    uint32_t line, column; /* of `address`, for whoever looks whether this host has it */
};

/* How weir signs itself in (broker/sign_in.h): auth.kind oauth2 and cookie. */
struct weir_config_sign_in {
    const char *route;       /* "provider.route", by which the token or the cookie is fetched */
    const char *crumb_route; /* likewise the crumb; "": there is none */
    const char *crumb;       /* the parameter that bears it */
    const char *server;      /* member of a token's answer that names the server; "": none */
    struct weir_config_numbers expired; /* statuses that say that the token was not taken */
    uint64_t margin_ns;
    uint64_t lifetime_ns;
    uint64_t second_use_max;
    size_t provider_idx, route_idx;
    size_t crumb_provider_idx, crumb_route_idx;
};

/* How calls to routes with `signed: true` are signed. */
struct weir_config_auth {
    enum sign_scheme kind; /* SIGN_NONE: nothing is signed */
    const char *key;       /* these four, or account_key */
    const char *secret;
    const char *passphrase;
    const char *refresh_token;
    struct weir_config_sign_in sign_in;
    const char *header; /* api_key: where it goes; one of the two */
    const char *param;
    uint64_t recv_window_ns;
    enum weir_config_unit nonce; /* what it counts */
    struct weir_config_key *account_key;
    size_t account_key_cnt;
};

/* Edges of the windows of a calendar, computed when the file is read. Edge i begins window first_id + i. */
struct weir_config_calendar {
    uint64_t *edge_utc_ns;
    size_t cnt; /* 0: the window has a fixed length */
    uint64_t first_id;
    uint64_t shortest_ns, longest_ns;
};

enum weir_config_calendar_unit {
    WEIR_CONFIG_CALENDAR_NONE = 0,
    WEIR_CONFIG_CALENDAR_HALF_DAY = 1,
    WEIR_CONFIG_CALENDAR_DAY = 2,
    WEIR_CONFIG_CALENDAR_MONTH = 3,
};

/* Usage of a limit by others. */
struct weir_config_foreign {
    enum weir_config_expect expect;
};

/* A part of a limit for the clients of a name, or of a user. */
struct weir_config_share {
    const char *client; /* "": by uid */
    uint64_t uid;       /* WEIR_CONFIG_UID_NONE: by name */
    uint64_t part_ppm;
};

#define WEIR_CONFIG_UID_NONE  UINT32_MAX
#define WEIR_CONFIG_SHARE_MAX 8 /* of one limit */

struct weir_config_limit {
    char name[WEIR_NAME_BYTES];
    enum weir_limit_kind kind;
    enum weir_scope_kind scope;
    uint64_t quota_units; /* per window; a token bucket refills quota / window */
    uint64_t window_ns;
    uint64_t burst_units; /* the most that can be taken at once; a fixed window's is its quota */
    uint64_t step_ns;     /* token_bucket: the server lets its counter decay in steps of so long */
    uint64_t rest_ns;     /* concurrency: how long a unit rests once it is let go; 0: max_jitter */
    uint64_t orphan_rest_ns; /* ... once its owner is dead; 0: as long as any */
    enum weir_config_calendar_unit calendar_unit;
    const char *time_zone; /* of a calendar: a name of the tz database, "" = UTC */
    struct weir_config_calendar calendar;
    uint64_t headroom_ppm[WEIR_PRIORITY_CNT]; /* of burst_units, kept against the classes below */
    struct weir_config_foreign foreign;
    uint64_t floor_ppm
        [WEIR_PRIORITY_CNT]; /* of burst_units, kept against the classes above but critical */
    struct weir_config_share *share;
    size_t share_cnt;
};

/* One of `header` and `field` is set. */
struct weir_config_feedback {
    const char *header; /* lower case */
    const char *field;  /* member of a JSON body */
    char limit[WEIR_NAME_BYTES];
    size_t limit_idx; /* in the provider's limit[] */
    enum weir_config_reports reports;
    uint64_t of_units;          /* remaining: the provider's quota; filled in from the limit's */
    enum weir_config_unit unit; /* reset */
    enum weir_config_form form; /* reset */
    bool rolls;                 /* the count is of a rolling window */
};

struct weir_config_throttle_body {
    const char *field;
    const char *equals;
};

/* throttle: backoff; the first pause is throttle.default */
struct weir_config_backoff {
    uint64_t factor;
    uint64_t jitter_ppm;
    uint64_t max_ns;
    uint64_t quiet_ns;
};

/* throttle: ban */
struct weir_config_ban {
    struct weir_config_numbers status; /* each is in throttle.status too; none: no such pause */
    uint64_t pause_ns;                 /* at least */
};

/* throttle: reopen */
struct weir_config_reopen {
    uint64_t probe_ns; /* so long a probe may go unanswered */
    uint64_t ramp_ns;  /* from its answer to the full rate */
};

struct weir_config_throttle {
    struct weir_config_numbers status; /* HTTP status that mean "too many" */
    const char *header;                /* an answer that bears it; lower case; "": none */
    struct weir_config_throttle_body *body;
    size_t body_cnt;
    struct weir_config_strings text; /* anywhere in the first 8 KiB of the body */
    const char *until_text;          /* text with {time} in it; "": none */
    enum weir_config_retry_after retry_after;
    uint32_t hold_kind;  /* what a stop is about: 1 + enum weir_scope_kind; 0: the provider */
    uint64_t default_ns; /* the pause where the answer names none: the first */
    struct weir_config_ban ban;
    struct weir_config_backoff backoff;
    struct weir_config_reopen reopen;
};

enum weir_config_http {
    WEIR_CONFIG_HTTP_1_1 = 0,
    WEIR_CONFIG_HTTP_2 = 1, /* where the server agrees (ALPN), else 1.1 */
};

/* `text` as it was written; the parts are checked: no user, no query, no fragment. */
struct weir_config_url {
    const char *text;
    const char *host; /* a name, an IPv4 address, or an IPv6 address without brackets; lower case */
    const char *base_path; /* "" or "/v1": never ends in '/', to be put before a route's path */
    uint16_t port;
    bool tls;  /* https */
    bool ipv6; /* `host` needs brackets in a URL */
};

struct weir_config_endpoint {
    char name[WEIR_NAME_BYTES];
    struct weir_config_url url;
    enum weir_config_endpoint_role role;
    uint64_t weight;
    uint64_t connection_max;
    const char *ca_file;     /* "": the system's store */
    const char *client_cert; /* "": none; else client_key is there too */
    const char *client_key;
    struct weir_config_url proxy; /* `text` NULL: none; else http://, a numeric host, no path */
    enum weir_config_http http;
    bool is_compressed;  /* answers may come compressed, and are delivered unpacked */
    uint64_t idle_ns;    /* a connection that was idle for longer is not used again */
    uint64_t age_ns;     /* nor one that is older; 0: any age */
    uint64_t warm_cnt;   /* connections that checks keep warm */
    uint64_t address_ns; /* how long an address that was resolved counts */
    struct weir_config_strings addresses; /* the only ones that may be connected to; none: any */
};

struct weir_config_retry {
    uint64_t attempt_max;
    uint64_t base_ns;
    uint64_t factor;
    uint64_t jitter_ppm;
    uint64_t max_ns;
    uint64_t budget_ppm;
};

/* Sending a late call a second time, beside the first (broker/hedge.h). */
struct weir_config_hedge {
    const char *after;
    uint64_t after_ppm;  /* a percentile of the route's latency, as `after` says; 0: ... */
    uint64_t after_ns;   /* ... so long after it was written */
    uint64_t budget_ppm; /* 0: no call is */
};

struct weir_config_breaker {
    uint64_t failure_cnt; /* 0: no breaker */
    uint64_t failed_ppm;
    uint64_t window_ns;
    uint64_t open_ns;
    uint64_t probe_cnt;
};

struct weir_config_health {
    const char *path;   /* "": no checks */
    const char *height; /* member of the answer; "": none */
    uint64_t behind_max;
    uint64_t interval_ns;
    uint64_t timeout_ns;
};

struct weir_config_cost {
    char limit[WEIR_NAME_BYTES];
    size_t limit_idx; /* in the provider's limit[] */
    uint64_t units;
};

/* Where an answer says what the exchange counted: exactly one of header, field, list and per_bytes. */
struct weir_config_counted {
    char limit[WEIR_NAME_BYTES];
    size_t limit_idx;   /* in the provider's limit[] */
    const char *header; /* a number, lower case name */
    const char *field;  /* a member of the body that is a number */
    const char *list;   /* a list in the body: its entries whose member `item` equals `equals` */
    const char *item;
    const char *equals;
    uint64_t per_bytes; /* a unit for each so many bytes of the answer, head and body */
};

/* Success is a status of 2xx, and where `field` is not "" a member of the body that equals `equals`. */
struct weir_config_settle_ok {
    const char *field;
    const char *equals;
};

/* What the exchange counts in the end, where that is not the cost. */
struct weir_config_settle {
    struct weir_config_cost *success; /* of a call that succeeded */
    size_t success_cnt;
    struct weir_config_cost *failure; /* of one that did not */
    size_t failure_cnt;
    struct weir_config_settle_ok ok;
    struct weir_config_counted *counted; /* what the answer says */
    size_t counted_cnt;
};

/* A cost that depends on the age of what the call touches. */
struct weir_config_age {
    char limit[WEIR_NAME_BYTES];
    size_t limit_idx; /* in the provider's limit[] */
    uint64_t below_ns;
    uint64_t units;
};

enum weir_config_sharing {
    WEIR_CONFIG_SHARE_PRIVATE = 1,
    WEIR_CONFIG_SHARE_PUBLIC = 2,
};

enum weir_config_cache_control {
    WEIR_CONFIG_CACHE_CONTROL_IGNORE = 1,
    WEIR_CONFIG_CACHE_CONTROL_HONOUR = 2,
};

enum weir_config_batch_names {
    WEIR_CONFIG_BATCH_ALL = 1,   /* the call names nothing: its answer has everything */
    WEIR_CONFIG_BATCH_JSON = 2,  /* names=["A","B"], percent-encoded */
    WEIR_CONFIG_BATCH_COMMA = 3, /* names=A,B */
};

enum weir_config_batch_as {
    WEIR_CONFIG_BATCH_AS_ELEMENT = 1,
    WEIR_CONFIG_BATCH_AS_LIST = 2,
};

enum weir_config_batch_when {
    WEIR_CONFIG_BATCH_CHEAPER = 1,
    WEIR_CONFIG_BATCH_ALWAYS = 2,
};

/* One call for many single ones of a route. */
struct weir_config_batch {
    char route[WEIR_NAME_BYTES]; /* "": none */
    size_t route_idx;            /* in the provider's route[] */
    const char *param; /* of a single call, which holds its name; "": the rest of its path does */
    struct weir_config_strings with; /* parameters that a single call may have too, passed on */
    enum weir_config_batch_names names;
    const char *names_param; /* of the batch call; "" for ALL */
    uint64_t name_max;       /* in one call */
    const char *list;        /* where the elements are in the answer; "": it is the list */
    const char *item;        /* the member with an element's name; "": members of an object */
    enum weir_config_batch_as as;
    uint64_t gather_ns;
    enum weir_config_batch_when when;
};

/* Where a call bears its client order id. */
enum weir_config_doubt_in {
    WEIR_CONFIG_DOUBT_QUERY = 1,
    WEIR_CONFIG_DOUBT_FORM = 2,       /* of the body */
    WEIR_CONFIG_DOUBT_PARAMETERS = 3, /* query or form: once in both together */
    WEIR_CONFIG_DOUBT_JSON = 4,       /* a member of the body */
    WEIR_CONFIG_DOUBT_HEADER = 5,
};

enum weir_config_doubt_resend {
    WEIR_CONFIG_DOUBT_NEVER_RESEND = 1,
    WEIR_CONFIG_DOUBT_RESEND = 2,
};

/* An answer by which the exchange has no such order: all that is set must hold. */
struct weir_config_doubt_absent {
    struct weir_config_numbers status; /* none: no answer does */
    const char *field;                 /* with `equals` */
    const char *equals;
    const char *empty; /* a list or map in the answer that has no entries */
};

/* How it is found out what became of a call that got no answer (broker/doubt.h). In texts of questions {id} and {NAME} stand for what the call bears. */
struct weir_config_doubt {
    const char *id; /* name of the id; "": the route has no `doubt` */
    enum weir_config_doubt_in in;
    const char *route; /* of the question */
    size_t route_idx;  /* in the provider's route[] */
    const char *path;  /* rest of its path */
    const char *query;
    const char *body;
    const char *found; /* member of the answer that is the id again */
    struct weir_config_doubt_absent absent;
    struct weir_config_numbers unsure; /* statuses that leave it open what became of the call */
    uint64_t settled_after_ns;
    uint64_t patience_ns;
    uint64_t interval_ns;
    enum weir_config_doubt_resend resend;
};

#define WEIR_CONFIG_GROUP_NONE SIZE_MAX

struct weir_config_route {
    char name[WEIR_NAME_BYTES];
    char full_name[WEIR_CONFIG_ROUTE_NAME_BYTES]; /* "binance.depth", for weir_route_find() */
    enum weir_config_transport transport;
    enum weir_method method;       /* unset for transport: own */
    const char *path;              /* "" for transport: own */
    struct weir_config_cost *cost; /* in the order of the file, at most WEIR_PERMIT_LIMITS_MAX */
    size_t cost_cnt;
    struct weir_config_settle settle;
    struct weir_config_age *age; /* ascending, all of one limit that `cost` names */
    size_t age_cnt;
    uint64_t timeout_ns; /* of one call, where the request's own deadline is not earlier */
    enum weir_priority priority;
    bool is_signed;     /* by the provider's auth */
    bool any_key;       /* ... with whichever key of the pool */
    bool is_idempotent; /* may be sent again after a connection died under it */
    bool is_hedged;     /* ... and beside the first one, where the provider hedges */
    uint64_t response_max_bytes;
    struct weir_config_strings headers; /* request headers that a client may set; lower case */
    const char *group;                  /* "": none */
    size_t group_idx;                   /* among the provider's; WEIR_CONFIG_GROUP_NONE */
    enum weir_config_sharing share;
    uint64_t
        cache_ns; /* 0: answers are not kept. After that: while `revalidate_ns`, and at most `stale_ns` */
    uint64_t stale_ns;
    uint64_t revalidate_ns;
    uint64_t negative_ns;
    enum weir_config_cache_control cache_control;
    struct weir_config_batch batch;
    struct weir_config_doubt doubt;
    uint64_t last_good_ns; /* how old an answer of an earlier broker may be; 0: none is given */
};

/* A header that the broker sends with every call to the provider. */
struct weir_config_header {
    const char *name;  /* lower case */
    const char *value; /* a secret */
};

struct weir_config_provider {
    char name[WEIR_NAME_BYTES]; /* without '.': the first '.' of "provider.route" ends it */
    struct weir_config_clock clock;
    struct weir_config_auth auth;
    struct weir_config_strings scope[WEIR_SCOPE_KIND_CNT]; /* never empty; "" is the unnamed */
    bool
        is_pooled[WEIR_SCOPE_KIND_CNT]; /* its first value, "", stands for any member of the pool */
    struct weir_config_egress *egress;
    size_t egress_cnt;
    struct weir_config_limit *limit;
    size_t limit_cnt;
    struct weir_config_feedback *feedback;
    size_t feedback_cnt;
    struct weir_config_throttle throttle;
    struct weir_config_header *header;
    size_t header_cnt;
    struct weir_config_endpoint *endpoint; /* none only where every route has transport: own */
    size_t endpoint_cnt;
    enum weir_balance balance;
    size_t group_cnt; /* names of groups that its routes bear */
    struct weir_config_retry retry;
    struct weir_config_hedge hedge;
    struct weir_config_breaker breaker;
    struct weir_config_health health;
    struct weir_config_route *route;
    size_t route_cnt;
};

struct weir_config_block; /* memory of one configuration */

/* A variable of the environment that a secret was made of. */
struct weir_config_variable {
    const char *name;
    struct weir_config_variable *next;
};

struct weir_config {
    struct weir_config_broker broker;
    struct weir_config_provider *provider; /* at least one */
    size_t provider_cnt;
    struct weir_config *shadow; /* what broker.shadow names, loaded: weird.c sets it; NULL: none */
    struct weir_config_variable *variable; /* of all secrets */
    struct weir_config_block *blocks;      /* private: what weir_config_free() gives back */
};

/*
 * What a load found. Each text is a whole line for a person:
 *
 *   weir.yaml:14:22: providers[0].limits[1].window = "0s": must be 1ms..366d
 *
 * Counts go on past the arrays' ends, so that "and 7 more" can be said. Secrets are never in a text.
 */
#define WEIR_CONFIG_TEXT_BYTES  480
#define WEIR_CONFIG_ERROR_MAX   20
#define WEIR_CONFIG_WARNING_MAX 20

struct weir_config_message {
    uint32_t line;   /* from 1; 0 where the file as a whole is meant */
    uint32_t column; /* from 1, in characters */
    char text[WEIR_CONFIG_TEXT_BYTES];
};

struct weir_config_diag {
    size_t error_cnt;
    size_t warning_cnt;
    struct weir_config_message error[WEIR_CONFIG_ERROR_MAX];
    struct weir_config_message warning[WEIR_CONFIG_WARNING_MAX];
};

/*
 * Who runs libyaml. `run` turns a file's bytes into the stream of config_events.h in `out`, which has `room` bytes, and returns how many they are; or -1 with `why`. What
 * it answers is checked as if a stranger had sent it. weird's is a process of its own (broker/parser.h).
 */
struct weir_config_parser {
    ssize_t (*run)(void *arg, const char *buf, size_t bytes, char *out, size_t room, char *why,
                   size_t why_bytes);
    void *arg;
};

/*
 * Read and check a configuration. Returns it, to be freed with weir_config_free(), or NULL with at least one error in `diag`.
 * `diag` is written anew by each call, and may hold warnings next to a good configuration. `${VAR}` is looked up in the
 * environment of this process. All may be called from any thread that has no setenv() beside it. `parser` NULL: libyaml runs in this process.
 */
struct weir_config *weir_config_load(const char *path, const struct weir_config_parser *parser,
                                     struct weir_config_diag *diag);

/* The same from memory; `name` stands for the file in messages. The bytes need no NUL and may be anything at all. */
struct weir_config *weir_config_parse_by(const struct weir_config_parser *parser, const char *buf,
                                         size_t bytes, const char *name,
                                         struct weir_config_diag *diag);

/* The same with libyaml in this process: tests, the simulator. */
struct weir_config *weir_config_parse(const char *buf, size_t bytes, const char *name,
                                      struct weir_config_diag *diag);

/* Keys of a provider: its entries, or the one that stands in auth itself; 0 without auth. */
size_t weir_config_key_cnt(const struct weir_config_auth *auth);
struct sign_parts weir_config_key_parts(const struct weir_config_auth *auth, size_t i);
/* The key of calls of these scope values; SIZE_MAX: none. */
size_t weir_config_key_find(const struct weir_config_auth *auth, size_t account_idx,
                            size_t name_idx);

/* Has this host all addresses of `egress`? One socket is bound to each. False with a whole line of text, `name` being the file's. Caller: weird, at its start and check. */
bool weir_config_egress_try(const struct weir_config *config, const char *name, char *text,
                            size_t text_bytes);

/* The bytes of all secrets, with their NULs. */
size_t weir_config_secret_bytes(struct weir_config *config);

/* Move all secrets to `to`, which has room for them and outlives the configuration; wiped where they were. */
void weir_config_secret_move(struct weir_config *config, char *to);

/* Wipe the variables that secrets were made of out of this process's environment, and with it out of /proc/PID/environ. Nothing can be loaded with them afterwards. */
void weir_config_secret_env_wipe(const struct weir_config *config);

/* Give back everything, secrets wiped. NULL is allowed. */
void weir_config_free(struct weir_config *config);

/* Print every message, one a line, errors first, and how many found no place. */
void weir_config_diag_print(FILE *out, const struct weir_config_diag *diag);

/* Print the configuration as it is in force: YAML with every default written out, which loads to the same. Secrets are "***". */
void weir_config_print(FILE *out, const struct weir_config *config);

/* Print weir.yaml(5), made from the schema, as mdoc. */
void weir_config_print_schema_man(FILE *out);

/* The bytes for answers: 0 where no route keeps any. `*answer_max_bytes`: the largest one with its head. */
uint64_t weir_config_cache_bytes(const struct weir_config *config, uint64_t *answer_max_bytes);

/* The most that a call of `route` takes of the provider's limit[limit_idx], at any age. */
uint64_t weir_config_route_dearest(const struct weir_config_route *route, size_t limit_idx);

#endif
