/*
 * config_schema.c: every key but those of routes, from the leaves up to the file as a whole.
 */
#include "broker/config/config_schema_words.h"

/* A table reads best as one. */
/* clang-format off */

static const struct weir_config_row quota_row[] = {
    {.key = "slots", TYPE(INTEGER), AT(quota, slot_max), RANGE(1, 255 * 4096), .def = "",
     .text = "Request slots of all its clients. Who asks for more than is left is refused (QUOTA_SLOTS)."},
    {.key = "memory", TYPE(SIZE), AT(quota, memory_max_bytes), RANGE(64 * KIB, 1024 * GIB), .def = "",
     .text = "Arenas of all its clients. Who asks for more than is left is refused (QUOTA_MEMORY). If unset: broker.memory alone."},
    {.key = "in_flight", TYPE(INTEGER), AT(quota, in_flight_max), RANGE(1, 255 * 4096), .def = "",
     .text = "Requests that the broker has taken and not yet answered. What comes above it is rejected at once (QUOTA_IN_FLIGHT)."},
    {.key = "rate", TYPE(INTEGER), AT(quota, rate_max), RANGE(1, 1000000), .def = "",
     .text = "Requests a second, and at once after a pause. What comes faster is rejected (QUOTA_RATE)."},
    {.key = "monitors", TYPE(INTEGER), AT(quota, monitor_max), RANGE(0, 64), .def = "64",
     .text = "Monitors that may be attached at once."},
};

static const struct weir_config_section quota_section = {
    .title = "broker.domains[].quota", .bytes = sizeof(struct weir_config_quota), ROWS(quota_row),
    .text = "What all clients of the domain may have together, so that a flood in it is refused by name and other domains go on. What is not set has no bound "
            "but those of the broker. The number of its clients is bounded by clients.",
};

static const struct weir_config_row domain_row[] = {
    {.key = "name", TYPE(NAME), AT(domain, name), NAME_RANGE, .def = "default",
     .text = "Names the domain's socket: clients open \"broker/domain\", or \"broker\" for the domain \"default\"."},
    {.key = "role", TYPE(ENUM), AT(domain, role), .def = "trader",
     CHOICES({"monitor", WEIR_ROLE_MONITOR}, {"caller", WEIR_ROLE_CALLER}, {"trader", WEIR_ROLE_TRADER}),
     .text = "The largest role that an attachment may ask for. A monitor looks; a caller also hands over requests; a "
             "trader also takes permits itself. All traders of a broker trust each other."},
    {.key = "uids", OF(INTEGER), AT(domain, uids), ID_RANGE, ENTRIES(0, 64), .def = "",
     .text = "User ids that may attach. Where both uids and gids are empty, only the broker's own user may."},
    {.key = "gids", OF(INTEGER), AT(domain, gids), ID_RANGE, ENTRIES(0, 64), .def = "",
     .text = "Group ids whose members may attach."},
    {.key = "clients", TYPE(INTEGER), AT(domain, client_max), RANGE(1, WEIR_CONFIG_CLIENT_MAX), .def = "64",
     .text = "How many processes may be attached at once. All domains together: at most 255."},
    {.key = "slots", TYPE(INTEGER), AT(domain, slot_max), RANGE(1, 4096), .def = "1024",
     .text = "How many requests one client may have under way at once."},
    {.key = "arena", TYPE(SIZE), AT(domain, arena_max_bytes), RANGE(64 * KIB, 4 * GIB), .def = "16MiB",
     .text = "The largest arena of one client: its slots, requests and responses."},
    {.key = "request", TYPE(SIZE), AT(domain, request_max_bytes), RANGE(1 * KIB, 16 * MIB), .def = "64KiB",
     .text = "The largest request: path, headers and body together."},
    {.key = "quota", TYPE(SECTION), AT(domain, quota), .def = "{}", .section = &quota_section,
     .text = "What all its clients may have together."},
};

static const struct weir_config_section domain_section = {
    .title = "broker.domains[]", .bytes = sizeof(struct weir_config_domain), ROWS(domain_row),
    .finish = weir_config_finish_domain,
    .text = "Who may attach, and with how much. Each domain has its own socket and its own ring; damage to a ring stays "
            "inside its domain. Without this list there is one domain, \"default\", with the defaults below.",
};

static const struct weir_config_row broker_row[] = {
    {.key = "name", TYPE(NAME), AT(broker, name), NAME_RANGE, .def = "default",
     .text = "What clients give to weir_open()."},
    {.key = "wake", TYPE(ENUM), AT(broker, wake), .def = "adaptive",
     CHOICES({"spin", WEIR_CONFIG_WAKE_SPIN}, {"sleep", WEIR_CONFIG_WAKE_SLEEP},
             {"adaptive", WEIR_CONFIG_WAKE_ADAPTIVE}),
     .text = "How the worker waits: spin costs one core and is fastest, sleep costs nothing when idle, adaptive spins a "
             "while and then sleeps."},
    {.key = "spin", TYPE(DURATION), AT(broker, spin_ns), RANGE(1 * US, 1 * SEC), .def = "50us",
     .text = "How long an adaptive worker spins before it sleeps."},
    {.key = "memory", TYPE(SIZE), AT(broker, memory_max_bytes), RANGE(4 * MIB, 1024 * GIB), .def = "64MiB",
     .text = "The cap on all shared segments together. Who attaches above it is refused."},
    {.key = "ring", TYPE(INTEGER), AT(broker, ring_cnt), RANGE(64, 65536), .def = "1024",
     .text = "Entries of each priority's ring, a power of two."},
    {.key = "audit", TYPE(INTEGER), AT(broker, audit_cnt), RANGE(0, 1 << 20), .def = "0",
     .text = "How many records are kept of who used what (weir audit): 0 for none, else 64 to 1048576 of 128 bytes each. Then a trader's "
             "arena also holds 258 KiB above its domain's cap. All of it counts against memory."},
    {.key = "cache", TYPE(SIZE), AT(broker, cache_bytes), RANGE(64 * KIB, 64 * MIB), .def = "1MiB",
     .text = "Memory for the answers of all routes with cache; none where there is no such route. When it is full, answers behind their time go, then those that nobody "
             "took of late. One answer takes at most a quarter of it. It counts against memory."},
    {.key = "last_good_every", TYPE(DURATION), AT(broker, last_good_every_ns), RANGE(100 * MS, 1 * HOUR), .def = "10s",
     .text = "How often kept answers of routes with last_good are written to state_dir, where there are new ones; and at a clean end. What an end by force loses "
             "is no more than that. Two files, each at most cache and an eighth of it large."},
    {.key = "log", TYPE(ENUM), AT(broker, log), .def = "info",
     CHOICES({"debug", WEIR_CONFIG_LOG_DEBUG}, {"info", WEIR_CONFIG_LOG_INFO}, {"warn", WEIR_CONFIG_LOG_WARN},
             {"error", WEIR_CONFIG_LOG_ERROR}),
     .text = "The least severe log line that is written."},
    {.key = "runtime_dir", TYPE(FILE), AT(broker, runtime_dir), RANGE(1, 80), .def = "",
     .text = "Where the sockets are. If unset: /run/weir for root, $XDG_RUNTIME_DIR/weir for others. The whole "
             "path of a socket is at most 107 bytes long."},
    {.key = "user", TYPE(STRING), AT(broker, user), RANGE(1, 31), .def = "",
     .text = "The user that the worker and the resolver become, where weird is started as root. If unset: weir where there is such a user, else "
             "nobody. root keeps them root without a capability, for machines that have no other user. Others than root may only name themselves."},
    {.key = "worker_memory", TYPE(SIZE), AT(broker, worker_memory_bytes), RANGE(64 * MIB, 1024 * GIB), .def = "1GiB",
     .text = "The most memory of its own that the worker may have, for calls under way and connections: RLIMIT_DATA. Shared segments do not count."},
    {.key = "shadow", TYPE(FILE), AT(broker, shadow), RANGE(1, 255), .def = "",
     .text = "A second configuration that is judged beside this one and refuses nothing: weir limits --shadow counts what it would "
             "have refused. It is read at the start, and refused like this one where it is wrong. weird --shadow goes before it."},
    {.key = "state_dir", TYPE(STRING), AT(broker, state_dir), RANGE(1, 200), .def = "",
     .text = "Where the journal is, which remembers across a crash of the whole machine what was used of limits above 10 min: an "
             "absolute path on a disk, or none to keep no journal. If unset: /var/lib/weir for root, "
             "$XDG_STATE_HOME/weir or ~/.local/state/weir for others."},
    {.key = "drain", TYPE(DURATION), AT(broker, drain_ns), RANGE(0, 1 * HOUR), .def = "10s",
     .text = "After SIGTERM, how long calls under way may take to end."},
    {.key = "core", TYPE(SIZE), AT(broker, core_max_bytes), RANGE(0, 1024 * GIB), .def = "0",
     .text = "The largest core that a crashed worker may leave, by the kernel's rule of core(5). 0: none. A core holds what "
             "clients sent and what exchanges answered. Where the configuration has secrets there is none, whatever this says."},
    {.key = "operators", OF(INTEGER), AT(broker, operators), ID_RANGE, ENTRIES(0, 64), .def = "",
     .text = "User ids that may pause, resume and block with weir ctl, besides the broker's own."},
    {.key = "domains", TYPE(SECTIONS), ITEMS(broker, domain), ENTRIES(1, WEIR_CONFIG_DOMAIN_MAX), .def = "{}",
     .section = &domain_section, .text = "Who may attach."},
};

static const struct weir_config_section broker_section = {
    .title = "broker", .bytes = sizeof(struct weir_config_broker), ROWS(broker_row),
    .finish = weir_config_finish_broker,
    .text = "The broker itself.",
};

#define UNIT_CHOICES                                                                               \
    CHOICES({"auto", WEIR_CONFIG_UNIT_AUTO}, {"s", WEIR_CONFIG_UNIT_S}, {"ms", WEIR_CONFIG_UNIT_MS}, \
            {"us", WEIR_CONFIG_UNIT_US}, {"ns", WEIR_CONFIG_UNIT_NS})

static const struct weir_config_row clock_row[] = {
    {.key = "source", TYPE(ENUM), AT(clock, source), .def = "server",
     CHOICES({"server", WEIR_CONFIG_CLOCK_SERVER}, {"host", WEIR_CONFIG_CLOCK_HOST}, {"none", WEIR_CONFIG_CLOCK_NONE}),
     .text = "server asks the provider for its time; host trusts this machine's UTC within error; none knows nothing, "
             "which is also what holds without a clock: of a fixed window only a part can then be granted safely."},
    {.key = "path", TYPE(PATH), AT(clock, path), TEXT_RANGE, .def = "",
     .text = "The path that answers with the time, asked every interval. Without it the time comes from the header of other "
             "calls' answers, and is unknown until the first."},
    {.key = "field", TYPE(STRING), AT(clock, field), TEXT_RANGE, .def = "",
     .text = "The member of the JSON answer to path that holds the time."},
    {.key = "header", TYPE(HEADER), AT(clock, header), RANGE(1, 63), .def = "",
     .text = "A header that holds the time, read from every answer of the provider: date, or one of its own. Two answers must "
             "agree before the clock moves."},
    {.key = "unit", TYPE(ENUM), AT(clock, unit), .def = "auto", UNIT_CHOICES,
     .text = "What the number in field or header counts since 1970 UTC. auto: its magnitude tells; or it is a date as in RFC 9110."},
    {.key = "interval", TYPE(DURATION), AT(clock, interval_ns), RANGE(1 * SEC, 1 * DAY), .def = "30s",
     .text = "How often to ask."},
    {.key = "error", TYPE(DURATION), AT(clock, error_ns), RANGE(1 * MS, 1 * MINUTE), .def = "250ms",
     .text = "For source: host, how far this machine's clock and the provider's can be apart."},
    {.key = "max_jitter", TYPE(DURATION), AT(clock, max_jitter_ns), RANGE(0, 1 * MINUTE), .def = "50ms",
     .text = "How much later than its permit a call may be counted, at least: half of it until the request is written, the rest for "
             "the whole way to the exchange's counter. Where answers take longer than that rest, weir allows for more by itself. A "
             "call within this span of a window's edge is charged to both windows."},
};

static const struct weir_config_section clock_section = {
    .title = "providers[].clock", .bytes = sizeof(struct weir_config_clock), ROWS(clock_row),
    .finish = weir_config_finish_clock,
    .text = "How weir knows the provider's time, by which the provider counts its windows.",
};

#define EXCHANGES_OWN \
    "each exchange words it in its own way: write okx, bitget, bybit, coinbase_exchange, htx, kraken or kraken_futures"

static const struct weir_config_row account_key_row[] = {
    {.key = "account", TYPE(SCOPE), AT(key, account), NAME_RANGE, .def = "",
     .text = "Whose key it is: a value of scopes.account. If unset: calls of any account."},
    {.key = "name", TYPE(SCOPE), AT(key, name), NAME_RANGE, .def = "",
     .text = "Which of its keys: a value of scopes.key. If unset: calls of any key."},
    {.key = "pool", TYPE(BOOLEAN), AT(key, is_pooled), .def = "false",
     .text = "Whether it is one of a pool: calls to routes with any_key that name neither account nor key are signed by the one whose limits have most room."},
    {.key = "key", TYPE(SECRET), AT(key, key), RANGE(0, 4096), .def = "", .text = "As auth.key."},
    {.key = "secret", TYPE(SECRET), AT(key, secret), RANGE(0, 4096), .def = "", .text = "As auth.secret."},
    {.key = "passphrase", TYPE(SECRET), AT(key, passphrase), RANGE(0, 4096), .def = "", .text = "As auth.passphrase."},
    {.key = "refresh_token", TYPE(SECRET), AT(key, refresh_token), RANGE(0, 4096), .def = "", .text = "As auth.refresh_token."},
};

static const struct weir_config_section account_key_section = {
    .title = "providers[].auth.keys[]", .bytes = sizeof(struct weir_config_key), ROWS(account_key_row),
    .text = "The key of one account. No call may have two.",
};

static const struct weir_config_row sign_in_row[] = {
    {.key = "route", TYPE(STRING), AT(sign_in, route), TEXT_RANGE, .def = NULL,
     .text = "The route by which an access token, or the cookie, is fetched: \"provider.route\". Each such call costs what the route costs, and waits for its "
             "permit. Often the route of another provider, with the limits of the host that signs in. oauth2: a POST (the form is its body) or a GET (its query)."},
    {.key = "crumb_route", TYPE(STRING), AT(sign_in, crumb_route), TEXT_RANGE, .def = "",
     .text = "cookie: the route that answers the cookie with a crumb. If unset: there is none."},
    {.key = "crumb", TYPE(SCOPE), AT(sign_in, crumb), RANGE(1, 63), .def = "",
     .text = "cookie: the parameter of the query that bears the crumb."},
    {.key = "server", TYPE(STRING), AT(sign_in, server), TEXT_RANGE, .def = "",
     .text = "oauth2: the member of the answer that names the server for the calls (Questrade: api_server). It must be the host of one of the endpoints, and calls "
             "go to that one alone."},
    {.key = "expired", OF(INTEGER), AT(sign_in, expired), RANGE(400, 499), ENTRIES(1, 8), .def = "401",
     .text = "Answers of these statuses say that the token was not taken, and so that nothing was done: weir signs in anew, and makes the call once more."},
    {.key = "margin", TYPE(DURATION), AT(sign_in, margin_ns), RANGE(10 * MS, 1 * DAY), .def = "1m",
     .text = "So long before the end of the session the next one is fetched; at half of its time, where that is shorter than twice this."},
    {.key = "lifetime", TYPE(DURATION), AT(sign_in, lifetime_ns), RANGE(1 * SEC, 366 * DAY), .def = "30m",
     .text = "How long a session lasts where the answer does not say."},
    {.key = "second_use", TYPE(INTEGER), AT(sign_in, second_use_max), RANGE(0, 100), .def = "0",
     .text = "oauth2: how many times more a refresh token is sent that may have been spent: its answer never came. 0: never, the sign-in is lost until you give a "
             "new token. More than 0 is for exchanges that do not punish it."},
};

static const struct weir_config_section sign_in_section = {
    .title = "providers[].auth.sign_in", .bytes = sizeof(struct weir_config_sign_in), ROWS(sign_in_row),
    .text = "How weir signs itself in, and stays so (docs/http.md, \"Sessions\").",
};

static const struct weir_config_row auth_row[] = {
    {.key = "kind", TYPE(ENUM), AT(auth, kind), .def = NULL,
     CHOICES({"hmac_sha256_query", SIGN_HMAC_SHA256_QUERY}, {"ed25519_query", SIGN_ED25519_QUERY}, {"rsa_query", SIGN_RSA_QUERY},
             {"bybit", SIGN_BYBIT}, {"bybit_rsa", SIGN_BYBIT_RSA}, {"okx", SIGN_OKX}, {"bitget", SIGN_BITGET},
             {"bitget_rsa", SIGN_BITGET_RSA},
             {"coinbase_exchange", SIGN_COINBASE_EXCHANGE}, {"coinbase_es256", SIGN_COINBASE_ES256},
             {"coinbase_ed25519", SIGN_COINBASE_ED25519}, {"htx", SIGN_HTX}, {"htx_ed25519", SIGN_HTX_ED25519}, {"kraken", SIGN_KRAKEN},
             {"kraken_futures", SIGN_KRAKEN_FUTURES}, {"api_key", SIGN_API_KEY}, {"bearer", SIGN_BEARER},
             {"hmac_sha256_header", SIGN_SCHEME_CNT, .refused = EXCHANGES_OWN}, {"hmac_sha512_header", SIGN_SCHEME_CNT, .refused = EXCHANGES_OWN},
             {"oauth2", SIGN_OAUTH2}, {"cookie", SIGN_COOKIE}),
     .text = "How a call shows whose it is. The ones with _query are Binance's three; what each sends is in docs/http.md, \"Signing\"."},
    {.key = "key", TYPE(SECRET), AT(auth, key), RANGE(0, 4096), .def = "",
     .text = "The API key. Better ${VAR} than the key itself: the variable is wiped once it was read."},
    {.key = "secret", TYPE(SECRET), AT(auth, secret), RANGE(0, 4096), .def = "",
     .text = "What signs: a text, base64 or a private key in PEM form, as the exchange gave it."},
    {.key = "passphrase", TYPE(SECRET), AT(auth, passphrase), RANGE(0, 4096), .def = "",
     .text = "okx, bitget, bitget_rsa, coinbase_exchange: the third part."},
    {.key = "refresh_token", TYPE(SECRET), AT(auth, refresh_token), RANGE(0, 4096), .def = "",
     .text = "oauth2: the first refresh token, as the exchange gave it; key and secret are then client_id and client_secret, where it wants them. weir keeps "
             "the tokens that follow in broker.state_dir. Another one here begins anew with that."},
    {.key = "sign_in", TYPE(SECTION), AT(auth, sign_in), .def = "", .section = &sign_in_section,
     .text = "oauth2, cookie: how weir signs itself in."},
    {.key = "header", TYPE(HEADER), AT(auth, header), RANGE(1, 63), .def = "", .text = "api_key: the header that bears it."},
    {.key = "param", TYPE(SCOPE), AT(auth, param), RANGE(1, 63), .def = "", .text = "api_key: or the parameter of the query."},
    {.key = "recv_window", TYPE(DURATION), AT(auth, recv_window_ns), RANGE(1 * MS, 60 * SEC), .def = "",
     .text = "The _query kinds and bybit: how old a call may be when the exchange takes it up. Whole milliseconds. Default: 5s."},
    {.key = "nonce", TYPE(ENUM), AT(auth, nonce), .def = "",
     CHOICES({"ms", WEIR_CONFIG_UNIT_MS}, {"us", WEIR_CONFIG_UNIT_US}, {"ns", WEIR_CONFIG_UNIT_NS}),
     .text = "kraken: what its nonce counts since 1970. A key that was used with a finer one before refuses a coarser one for ever. Default: us."},
    {.key = "keys", TYPE(SECTIONS), ITEMS(auth, account_key), ENTRIES(1, WEIR_CONFIG_KEY_MAX), .def = "", .section = &account_key_section,
     .text = "In place of key, secret and passphrase, where the provider's scopes have several accounts or keys."},
};

static const struct weir_config_section auth_section = {
    .title = "providers[].auth", .bytes = sizeof(struct weir_config_auth), ROWS(auth_row),
    .text = "How calls to routes with signed: true are signed. Only the worker knows the keys; they are never printed and never logged.",
};

static const struct weir_config_row egress_row[] = {
    {.key = "ip", TYPE(SCOPE), AT(egress, ip), NAME_RANGE, .def = NULL,
     .text = "Its name: a value of scopes.ip. Limits of scope ip have a count for each."},
    {.key = "address", TYPE(STRING), AT(egress, address), RANGE(2, 45), .def = NULL,
     .text = "In digits, of this host: 203.0.113.7 or 2001:db8::7. Looked for when weird starts."},
    {.key = "pool", TYPE(BOOLEAN), AT(egress, is_pooled), .def = "true",
     .text = "Whether calls that name no address may leave from it. false: only those that name it."},
};

static const struct weir_config_section egress_section = {
    .title = "providers[].egress[]", .bytes = sizeof(struct weir_config_egress), ROWS(egress_row),
    .text = "Addresses of this host from which calls leave, all IPv4 or all IPv6, one for each value of scopes.ip. A call that names none "
            "(weir_scope_find) leaves from the one of the pool whose limits have most room, and is charged to its counts. The connections of an endpoint are "
            "counted for each address.",
};

#define SCOPE_ROW(name, idx, meaning)                                                              \
    {.key = name, OF(SCOPE), NTH(struct weir_config_strings, idx), NAME_RANGE,                     \
     ENTRIES(1, WEIR_CONFIG_SCOPE_MAX), .def = "", .text = meaning}

static const struct weir_config_row scopes_row[] = {
    SCOPE_ROW("ip", WEIR_SCOPE_IP, "Egress addresses."),
    SCOPE_ROW("key", WEIR_SCOPE_KEY, "API keys, by a name of yours, never the key itself."),
    SCOPE_ROW("account", WEIR_SCOPE_ACCOUNT, "Accounts and sub-accounts."),
    SCOPE_ROW("instrument", WEIR_SCOPE_INSTRUMENT, "Instruments, where a limit is counted for each."),
};

static const struct weir_config_section scopes_section = {
    .title = "providers[].scopes", .bytes = WEIR_SCOPE_KIND_CNT * sizeof(struct weir_config_strings), ROWS(scopes_row),
    .text = "The values by which limits are counted. A limit of scope account has one count for each account listed here. "
            "Where a kind is not listed it has one value without a name.",
};

#define HEADROOM_ROW(name, idx)                                                                    \
    {.key = name, TYPE(PERCENT), NTH(uint64_t, idx), RANGE(0, WHOLE), .def = "0%",                 \
     .text = "The part that only this class and those above it may use."}

static const struct weir_config_row headroom_row[] = {
    HEADROOM_ROW("critical", WEIR_PRIORITY_CRITICAL),
    HEADROOM_ROW("high", WEIR_PRIORITY_HIGH),
    HEADROOM_ROW("medium", WEIR_PRIORITY_MEDIUM),
    HEADROOM_ROW("low", WEIR_PRIORITY_LOW),
};

static const struct weir_config_section headroom_section = {
    .title = "providers[].limits[].headroom", .bytes = WEIR_PRIORITY_CNT * sizeof(uint64_t), ROWS(headroom_row),
    .text = "What stays free for higher priorities. A class may use the limit less the headroom of all classes above it.",
};

static const struct weir_config_row foreign_row[] = {
    {.key = "expect", TYPE(ENUM), AT(foreign, expect), .def = "off",
     CHOICES({"off", WEIR_CONFIG_EXPECT_OFF}, {"adaptive", WEIR_CONFIG_EXPECT_ADAPTIVE}),
     .text = "adaptive: the most that others used in any of the last windows stays free in each new one, before the first "
             "answer tells. Needs feedback for the limit. off: others are seen when an answer shows them."},
};

static const struct weir_config_section foreign_section = {
    .title = "providers[].limits[].foreign", .bytes = sizeof(struct weir_config_foreign), ROWS(foreign_row),
    .text = "Usage by others, as feedback shows it.",
};

#define FLOOR_ROW(name, idx)                                                                       \
    {.key = name, TYPE(PERCENT), NTH(uint64_t, idx), RANGE(0, WHOLE), .def = "0%",                 \
     .text = "The part that this class can always get, but for what critical calls take."}

static const struct weir_config_row floor_row[] = {
    FLOOR_ROW("medium", WEIR_PRIORITY_MEDIUM),
    FLOOR_ROW("low", WEIR_PRIORITY_LOW),
    FLOOR_ROW("background", WEIR_PRIORITY_BACKGROUND),
};

static const struct weir_config_section floor_section = {
    .title = "providers[].limits[].floor", .bytes = WEIR_PRIORITY_CNT * sizeof(uint64_t), ROWS(floor_row),
    .text = "What low classes can always get, so that they are not starved while the classes above use the limit up: a part that the headroom of "
            "high, medium and low does not take from them, and that higher classes but critical leave free. Released as the window ends. For "
            "fixed_window and token_bucket.",
};

static const struct weir_config_row share_row[] = {
    {.key = "client", TYPE(STRING), AT(share, client), NAME_RANGE, .def = "",
     .text = "The clients that have it, by the name that they give to weir_open(). Either this or uid."},
    {.key = "uid", TYPE(INTEGER), AT(share, uid), RANGE(0, WEIR_CONFIG_UID_NONE), .def = "4294967295",
     .text = "The clients that have it, by their user. 4294967295: by name."},
    {.key = "part", TYPE(PERCENT), AT(share, part_ppm), RANGE(1, WHOLE), .def = NULL,
     .text = "The part of the limit that they can always get. All parts and floors of a limit together: at most 100%."},
};

static const struct weir_config_section share_section = {
    .title = "providers[].limits[].shares[]", .bytes = sizeof(struct weir_config_share), ROWS(share_row),
    .finish = weir_config_finish_share,
    .text = "Who gets how much of a limit. Clients can always get their part; what they leave idle is lent to others, more and more as the window "
            "ends. Critical calls are never refused for shares. For fixed_window and token_bucket. A client has the first share that fits it.",
};

static const struct weir_config_row limit_row[] = {
    {.key = "name", TYPE(NAME), AT(limit, name), NAME_RANGE, .def = NULL, .text = "Named in the cost of routes."},
    {.key = "kind", TYPE(ENUM), AT(limit, kind), .def = NULL,
     CHOICES({"token_bucket", WEIR_LIMIT_TOKEN_BUCKET}, {"fixed_window", WEIR_LIMIT_FIXED_WINDOW},
             {"sliding_window", WEIR_LIMIT_SLIDING_WINDOW}, {"concurrency", WEIR_LIMIT_CONCURRENCY}),
     .text = "token_bucket: refills all the time. fixed_window: the count goes to 0 at the edges of the provider's clock. "
             "sliding_window: so many in any window, wherever it begins; also right where nobody says how the provider counts. "
             "concurrency: so many in flight at once; a permit holds its units until it is settled."},
    {.key = "quota", TYPE(INTEGER), AT(limit, quota_units), UNIT_RANGE, .def = NULL,
     .text = "Units per window. A token bucket refills quota units in each window."},
    {.key = "window", TYPE(DURATION), AT(limit, window_ns), RANGE(1 * MS, 366 * DAY), .def = "",
     .text = "The window's length. A fixed window begins at a multiple of it since 1970-01-01 UTC. Required, but for a calendar and for kind: "
             "concurrency."},
    {.key = "calendar", TYPE(ENUM), AT(limit, calendar_unit), .def = "none",
     CHOICES({"none", WEIR_CONFIG_CALENDAR_NONE}, {"half_day", WEIR_CONFIG_CALENDAR_HALF_DAY},
             {"day", WEIR_CONFIG_CALENDAR_DAY}, {"month", WEIR_CONFIG_CALENDAR_MONTH}),
     .text = "fixed_window only, instead of window: half days (from 00:00 and 12:00), days or months of time_zone, whatever their length."},
    {.key = "time_zone", TYPE(STRING), AT(limit, time_zone), RANGE(1, 63), .def = "",
     .text = "Of calendar: a name of the tz database, such as America/New_York. Default: UTC."},
    {.key = "step", TYPE(DURATION), AT(limit, step_ns), RANGE(1 * MS, 1 * HOUR), .def = "",
     .text = "token_bucket only: the provider lets its counter decay in steps of this length (Kraken: 1s) and may stand so much higher "
             "than one that decays all the time."},
    {.key = "rest", TYPE(DURATION), AT(limit, rest_ns), RANGE(1 * US, 1 * HOUR), .def = "",
     .text = "concurrency only: how long a unit rests once its call has ended, because the provider may still count it. Default: the "
             "provider's clock.max_jitter."},
    {.key = "orphan_rest", TYPE(DURATION), AT(limit, orphan_rest_ns), RANGE(1 * US, 1 * DAY), .def = "",
     .text = "concurrency only: how long a unit rests whose owner has died or left without settling it, and each unit at the start of a broker "
             "that has another one before it: until the provider has ended by itself what they began, such as an exchange that cancels the orders of "
             "who fell silent. At least rest. Default: rest."},
    {.key = "burst", TYPE(INTEGER), AT(limit, burst_units), UNIT_RANGE, .def = "",
     .text = "token_bucket only: the most that can be taken at one instant. Default: the quota."},
    {.key = "scope", TYPE(ENUM), AT(limit, scope), .def = "ip",
     CHOICES({"ip", WEIR_SCOPE_IP}, {"key", WEIR_SCOPE_KEY}, {"account", WEIR_SCOPE_ACCOUNT},
             {"instrument", WEIR_SCOPE_INSTRUMENT}),
     .text = "What the provider counts by."},
    {.key = "headroom", TYPE(SECTION), AT(limit, headroom_ppm), .def = "{}", .section = &headroom_section,
     .text = "What stays free for higher priorities."},
    {.key = "foreign", TYPE(SECTION), AT(limit, foreign), .def = "{}", .section = &foreign_section,
     .text = "What others use of it: calls from the same address or key that weir does not make."},
    {.key = "floor", TYPE(SECTION), AT(limit, floor_ppm), .def = "{}", .section = &floor_section,
     .text = "What low priorities can always get."},
    {.key = "shares", TYPE(SECTIONS), ITEMS(limit, share), ENTRIES(0, WEIR_CONFIG_SHARE_MAX), .def = "",
     .section = &share_section, .text = "Parts of the limit for clients."},
};

static const struct weir_config_section limit_section = {
    .title = "providers[].limits[]", .bytes = sizeof(struct weir_config_limit), ROWS(limit_row),
    .finish = weir_config_finish_limit,
    .text = "The counted rules of the provider.",
};

static const struct weir_config_row feedback_row[] = {
    {.key = "header", TYPE(HEADER), AT(feedback, header), RANGE(1, 63), .def = "",
     .text = "The response header. Either this or field."},
    {.key = "field", TYPE(STRING), AT(feedback, field), TEXT_RANGE, .def = "",
     .text = "The member of the JSON answer: a.b looks inside a, list.0 at the first of a list. Bodies of up to 64 KiB."},
    {.key = "limit", TYPE(NAME), AT(feedback, limit), NAME_RANGE, .def = NULL,
     .text = "The limit that it tells about, of any kind but concurrency. Heeded on answers to routes that take from this limit."},
    {.key = "reports", TYPE(ENUM), AT(feedback, reports), .def = NULL,
     CHOICES({"used", WEIR_CONFIG_REPORTS_USED}, {"remaining", WEIR_CONFIG_REPORTS_REMAINING},
             {"reset", WEIR_CONFIG_REPORTS_RESET}),
     .text = "used counts up, remaining counts down, both with this call in it; reset says when the window ends, fixed_window only."},
    {.key = "of", TYPE(INTEGER), AT(feedback, of_units), UNIT_RANGE, .def = "",
     .text = "remaining only: the quota from which the provider counts down. Default: the limit's quota; a token bucket's burst."},
    {.key = "unit", TYPE(ENUM), AT(feedback, unit), .def = "auto", UNIT_CHOICES,
     .text = "reset only: what its number counts. auto: by magnitude; seconds with form: left."},
    {.key = "form", TYPE(ENUM), AT(feedback, form), .def = "epoch",
     CHOICES({"epoch", WEIR_CONFIG_FORM_EPOCH}, {"left", WEIR_CONFIG_FORM_LEFT}),
     .text = "reset only: an instant since 1970 UTC, or what is left from now."},
    {.key = "rolls", TYPE(BOOLEAN), AT(feedback, rolls), .def = "false",
     .text = "sliding_window only: the provider documents that its window rolls, so what left the window is out of its count at once. false holds for "
             "windows of any kind, and uses less of the quota where answers are rare."},
};

static const struct weir_config_section feedback_section = {
    .title = "providers[].feedback[]", .bytes = sizeof(struct weir_config_feedback), ROWS(feedback_row),
    .finish = weir_config_finish_feedback,
    .text = "Where the provider tells its own count, so that usage from elsewhere is seen and taken off.",
};

static const struct weir_config_row throttle_body_row[] = {
    {.key = "field", TYPE(STRING), AT(throttle_body, field), TEXT_RANGE, .def = NULL,
     .text = "The member: a.b looks inside a, list.0 at the first of a list."},
    {.key = "equals", TYPE(STRING), AT(throttle_body, equals), TEXT_RANGE, .def = NULL,
     .text = "Its value as text: 10006 is also \"10006\"."},
};

static const struct weir_config_section throttle_body_section = {
    .title = "providers[].throttle.body[]", .bytes = sizeof(struct weir_config_throttle_body), ROWS(throttle_body_row),
    .text = "Members of a JSON answer that say stop whatever the status. Bodies of up to 64 KiB are looked at.",
};

static const struct weir_config_row ban_row[] = {
    {.key = "status", OF(INTEGER), AT(ban, status), RANGE(100, 599), ENTRIES(0, 16), .def = "",
     .text = "Those of throttle.status that mean a ban."},
    {.key = "pause", TYPE(DURATION), AT(ban, pause_ns), RANGE(0, 366 * DAY), .def = "0s",
     .text = "How long to be quiet then, at least: what the provider's documentation asks for."},
};

static const struct weir_config_section ban_section = {
    .title = "providers[].throttle.ban", .bytes = sizeof(struct weir_config_ban), ROWS(ban_row),
    .finish = weir_config_finish_ban,
    .text = "Where some statuses mean a ban of known length that the answer does not name (Bybit: 403, ten minutes).",
};

static const struct weir_config_row backoff_row[] = {
    {.key = "factor", TYPE(INTEGER), AT(backoff, factor), RANGE(1, 10), .def = "2",
     .text = "Each pause is this many times the one before, where the provider says stop to a call that left after that one."},
    {.key = "jitter", TYPE(PERCENT), AT(backoff, jitter_ppm), RANGE(0, WHOLE), .def = "25%",
     .text = "How much a pause differs from that by chance, up and down, so that several machines do not come back together."},
    {.key = "max", TYPE(DURATION), AT(backoff, max_ns), RANGE(1 * MS, 1 * DAY), .def = "5m",
     .text = "The longest pause that backoff makes. What the answer names may be longer."},
    {.key = "quiet", TYPE(DURATION), AT(backoff, quiet_ns), RANGE(1 * MS, 30 * DAY), .def = "1m",
     .text = "After each such time without a stop the next pause is one factor shorter again."},
};

static const struct weir_config_section backoff_section = {
    .title = "providers[].throttle.backoff", .bytes = sizeof(struct weir_config_backoff), ROWS(backoff_row),
    .text = "How pauses grow where the provider says stop again and again. The first is throttle.default.",
};

static const struct weir_config_row reopen_row[] = {
    {.key = "probe", TYPE(DURATION), AT(reopen, probe_ns), RANGE(10 * MS, 1 * HOUR), .def = "5s",
     .text = "After a pause one call tries, and the others wait for its answer: so long. Then another one tries."},
    {.key = "ramp", TYPE(DURATION), AT(reopen, ramp_ns), RANGE(0, 1 * HOUR), .def = "10s",
     .text = "From that answer to the full rate: in eight steps 1, 2, 4 ... 128 permits are granted. 0s: the full rate at once."},
};

static const struct weir_config_section reopen_section = {
    .title = "providers[].throttle.reopen", .bytes = sizeof(struct weir_config_reopen), ROWS(reopen_row),
    .text = "How calls come back after a pause that the provider asked for.",
};

static const struct weir_config_row throttle_row[] = {
    {.key = "status", OF(INTEGER), AT(throttle, status), RANGE(100, 599), ENTRIES(1, 16), .def = "429",
     .text = "HTTP status codes that mean \"too many\": nobody calls this provider until the pause is over."},
    {.key = "header", TYPE(HEADER), AT(throttle, header), RANGE(1, 63), .def = "",
     .text = "An answer that bears this header says stop too."},
    {.key = "body", TYPE(SECTIONS), ITEMS(throttle, body), ENTRIES(1, 16), .def = "", .section = &throttle_body_section,
     .text = "Members of the JSON answer that say stop, also in HTTP 200."},
    {.key = "text", OF(STRING), AT(throttle, text), TEXT_RANGE, ENTRIES(0, 16), .def = "",
     .text = "Texts that say stop wherever they stand in the first 8 KiB of an answer, also in HTTP 200."},
    {.key = "until_text", TYPE(STRING), AT(throttle, until_text), TEXT_RANGE, .def = "",
     .text = "How an answer that says stop names the instant: a text with {time} in it, such as \"banned until {time}\". A number "
             "since 1970 UTC, its unit by magnitude."},
    {.key = "retry_after", TYPE(ENUM), AT(throttle, retry_after), .def = "seconds",
     CHOICES({"seconds", WEIR_CONFIG_RETRY_AFTER_SECONDS}, {"ms", WEIR_CONFIG_RETRY_AFTER_MS},
             {"none", WEIR_CONFIG_RETRY_AFTER_NONE}),
     .text = "What the Retry-After header holds; none: do not look at it."},
    {.key = "scope", TYPE(ENUM), AT(throttle, hold_kind), .def = "provider",
     CHOICES({"provider", 0}, {"ip", 1 + WEIR_SCOPE_IP}, {"key", 1 + WEIR_SCOPE_KEY}, {"account", 1 + WEIR_SCOPE_ACCOUNT}),
     .text = "Whom a stop is about. provider: all calls pause. ip, key, account: those of the address, key or account whose call was told; others go on. Only "
             "where the exchange documents that it counts and bans so."},
    {.key = "default", TYPE(DURATION), AT(throttle, default_ns), RANGE(1 * MS, 1 * DAY), .def = "1s",
     .text = "The pause where the answer names none, or a shorter one: give or take backoff.jitter, and longer where the "
             "provider says stop again."},
    {.key = "ban", TYPE(SECTION), AT(throttle, ban), .def = "{}", .section = &ban_section,
     .text = "Statuses that mean a longer pause."},
    {.key = "backoff", TYPE(SECTION), AT(throttle, backoff), .def = "{}", .section = &backoff_section,
     .text = "How pauses grow where the provider says stop again and again."},
    {.key = "reopen", TYPE(SECTION), AT(throttle, reopen), .def = "{}", .section = &reopen_section,
     .text = "How calls come back after a pause."},
};

static const struct weir_config_section throttle_section = {
    .title = "providers[].throttle", .bytes = sizeof(struct weir_config_throttle), ROWS(throttle_row),
    .finish = weir_config_finish_throttle,
    .text = "What to do when the provider says stop.",
};

static const struct weir_config_row endpoint_row[] = {
    {.key = "name", TYPE(NAME), AT(endpoint, name), NAME_RANGE, .def = NULL, .text = "For statistics and messages."},
    {.key = "url", TYPE(URL), AT(endpoint, url), TEXT_RANGE, .def = NULL,
     .text = "http or https, a host, and if need be a port and a path that is put before each route's."},
    {.key = "role", TYPE(ENUM), AT(endpoint, role), .def = "primary",
     CHOICES({"primary", WEIR_CONFIG_ENDPOINT_PRIMARY}, {"secondary", WEIR_CONFIG_ENDPOINT_SECONDARY},
             {"backup", WEIR_CONFIG_ENDPOINT_BACKUP}),
     .text = "Calls go to the primaries while one works, then to the secondaries, then to the backups."},
    {.key = "weight", TYPE(INTEGER), AT(endpoint, weight), RANGE(1, 1000), .def = "1",
     .text = "The share of this endpoint among those of its role."},
    {.key = "connections", TYPE(INTEGER), AT(endpoint, connection_max), RANGE(1, 1024), .def = "8",
     .text = "The most connections open at once."},
    {.key = "idle", TYPE(DURATION), AT(endpoint, idle_ns), RANGE(1 * SEC, 1 * DAY), .def = "118s",
     .text = "A connection that nobody used for so long is closed instead of used again. Whole seconds."},
    {.key = "age", TYPE(DURATION), AT(endpoint, age_ns), RANGE(1 * SEC, 30 * DAY), .def = "",
     .text = "A connection that is older is closed instead of used again, so that changes behind the name are seen. If unset: any age."},
    {.key = "warm", TYPE(INTEGER), AT(endpoint, warm_cnt), RANGE(0, 64), .def = "0",
     .text = "So many connections are kept warm: each check asks so many times at once. Needs health. Each costs a permit of class background."},
    {.key = "address_ttl", TYPE(DURATION), AT(endpoint, address_ns), RANGE(1 * SEC, 1 * DAY), .def = "60s",
     .text = "How long the address of a host name counts before it is asked for again. Where that fails the last one stays."},
    {.key = "addresses", OF(STRING), AT(endpoint, addresses), RANGE(1, 63), ENTRIES(0, 32), .def = "",
     .text = "The only addresses that may be connected to: 203.0.113.7, 203.0.113.0/24, 2001:db8::/32. What a name server says beside them is "
             "not believed. If unset: any that the name has."},
    {.key = "ca_file", TYPE(FILE), AT(endpoint, ca_file), TEXT_RANGE, .def = "",
     .text = "Certificates (PEM) that may vouch for this host, instead of the system's."},
    {.key = "client_cert", TYPE(FILE), AT(endpoint, client_cert), TEXT_RANGE, .def = "",
     .text = "The certificate (PEM, its chain behind it) that says to the host who we are."},
    {.key = "client_key", TYPE(FILE), AT(endpoint, client_key), TEXT_RANGE, .def = "",
     .text = "The private key (PEM, without a pass phrase) of client_cert."},
    {.key = "proxy", TYPE(URL), AT(endpoint, proxy), TEXT_RANGE, .def = "",
     .text = "An HTTP proxy through which the host is reached: http://, an address in digits, and a port. It looks up the host's name, too. "
             "The environment's http_proxy is never looked at."},
    {.key = "http", TYPE(ENUM), AT(endpoint, http), .def = "1.1",
     CHOICES({"1.1", WEIR_CONFIG_HTTP_1_1}, {"2", WEIR_CONFIG_HTTP_2}),
     .text = "2: HTTP/2 where an https host agrees, one call at a time on each connection; else 1.1."},
    {.key = "compressed", TYPE(BOOLEAN), AT(endpoint, is_compressed), .def = "false",
     .text = "Whether the host is asked for compressed answers (gzip, br, zstd). They are delivered unpacked; max_response counts what is delivered."},
};

static const struct weir_config_section endpoint_section = {
    .title = "providers[].endpoints[]", .bytes = sizeof(struct weir_config_endpoint), ROWS(endpoint_row),
    .finish = weir_config_finish_endpoint,
    .text = "The hosts that answer for the provider. At least one, unless every route has transport: own.",
};

static const struct weir_config_row retry_row[] = {
    {.key = "attempts", TYPE(INTEGER), AT(retry, attempt_max), RANGE(1, 20), .def = "3",
     .text = "The most attempts, the first included."},
    {.key = "base", TYPE(DURATION), AT(retry, base_ns), RANGE(1 * MS, 10 * MINUTE), .def = "1s",
     .text = "The wait before the second attempt."},
    {.key = "factor", TYPE(INTEGER), AT(retry, factor), RANGE(1, 10), .def = "2",
     .text = "Each wait is this many times the one before."},
    {.key = "jitter", TYPE(PERCENT), AT(retry, jitter_ppm), RANGE(0, WHOLE), .def = "25%",
     .text = "How much of a wait is left to chance."},
    {.key = "max", TYPE(DURATION), AT(retry, max_ns), RANGE(1 * MS, 1 * DAY), .def = "5m", .text = "The longest wait."},
    {.key = "budget", TYPE(PERCENT), AT(retry, budget_ppm), RANGE(0, WHOLE), .def = "20%",
     .text = "The most retries, as a part of all calls."},
};

static const struct weir_config_section retry_section = {
    .title = "providers[].retry", .bytes = sizeof(struct weir_config_retry), ROWS(retry_row),
    .finish = weir_config_finish_retry,
    .text = "Trying idempotent calls again.",
};

static const struct weir_config_row hedge_row[] = {
    {.key = "after", TYPE(STRING), AT(hedge, after), RANGE(1, 15), .def = "p95",
     .text = "How late: p50 to p99, that percentile of how long the route's calls wait for their first byte of late; or a duration, 1ms to 1m."},
    {.key = "budget", TYPE(PERCENT), AT(hedge, budget_ppm), RANGE(WHOLE / 1000, WHOLE / 2), .def = "5%",
     .text = "The most calls that are sent a second time, as a part of all calls that may be."},
};

static const struct weir_config_section hedge_section = {
    .title = "providers[].hedge", .bytes = sizeof(struct weir_config_hedge), ROWS(hedge_row),
    .finish = weir_config_finish_hedge,
    .text = "Sending a call a second time, to another endpoint, where the first answer is late; the first good answer counts. Each takes a permit of its own, at most of class low, "
            "if one is free at once. Needs two endpoints.",
};

static const struct weir_config_row breaker_row[] = {
    {.key = "failures", TYPE(INTEGER), AT(breaker, failure_cnt), RANGE(1, 1000), .def = "5",
     .text = "So many failures within window open the breaker."},
    {.key = "window", TYPE(DURATION), AT(breaker, window_ns), RANGE(100 * MS, 1 * HOUR), .def = "10s",
     .text = "See failures."},
    {.key = "part", TYPE(PERCENT), AT(breaker, failed_ppm), RANGE(0, WHOLE), .def = "50%",
     .text = "... if they are at least so great a part of what ended within window."},
    {.key = "open", TYPE(DURATION), AT(breaker, open_ns), RANGE(100 * MS, 1 * HOUR), .def = "30s",
     .text = "How long nothing is sent."},
    {.key = "probes", TYPE(INTEGER), AT(breaker, probe_cnt), RANGE(1, 100), .def = "1",
     .text = "How many calls try it afterwards. All of them must be answered well to close it; one that fails opens it again."},
};

static const struct weir_config_section breaker_section = {
    .title = "providers[].breaker", .bytes = sizeof(struct weir_config_breaker), ROWS(breaker_row),
    .text = "Leaving an endpoint alone that fails: each endpoint has a breaker of its own, and so has each group that routes name. Failures are connections "
            "that fail or die, answers of 5xx, and answers that stay away for much longer than usual. An answer of 4xx is an answer. Being told to stop "
            "is no failure: see throttle.",
};

static const struct weir_config_row health_row[] = {
    {.key = "path", TYPE(PATH), AT(health, path), TEXT_RANGE, .def = NULL,
     .text = "What to ask for. A GET; it takes what the route of this path costs, or else 1 of each limit of scope ip, as class background."},
    {.key = "interval", TYPE(DURATION), AT(health, interval_ns), RANGE(1 * SEC, 1 * DAY), .def = "30s",
     .text = "How often each endpoint is asked."},
    {.key = "timeout", TYPE(DURATION), AT(health, timeout_ns), RANGE(10 * MS, 1 * MINUTE), .def = "5s",
     .text = "How long an answer may take."},
    {.key = "height", TYPE(STRING), AT(health, height), TEXT_RANGE, .def = "",
     .text = "The member of the JSON answer that says how far the endpoint has come: a slot, a block, a sequence. Who is behind the others scores less."},
    {.key = "max_behind", TYPE(INTEGER), AT(health, behind_max), RANGE(1, 1000000000), .def = "50",
     .text = "So far behind the highest one the score is halved."},
};

static const struct weir_config_section health_section = {
    .title = "providers[].health", .bytes = sizeof(struct weir_config_health), ROWS(health_row),
    .text = "Asking endpoints whether they are well.",
};

static const struct weir_config_row header_row[] = {
    {.key = "name", TYPE(HEADER), AT(header, name), RANGE(1, 63), .def = NULL,
     .text = "Its name. A client cannot set a header of this name, whatever the route lists."},
    {.key = "value", TYPE(SECRET), AT(header, value), RANGE(1, 4096), .def = NULL,
     .text = "Its value, kept like a key. Better ${VAR} than the value itself: the variable is wiped once it was read."},
};

static const struct weir_config_section header_section = {
    .title = "providers[].headers[]", .bytes = sizeof(struct weir_config_header), ROWS(header_row),
    .finish = weir_config_finish_header,
    .text = "What every call to the provider bears, such as an API key. Only the worker sends them; clients, segments, logs and "
            "messages never show them.",
};

static const struct weir_config_row provider_row[] = {
    {.key = "name", TYPE(NAME), AT(provider, name), NAME_RANGE, .def = NULL,
     .text = "The first part of \"provider.route\", hence without '.'."},
    {.key = "clock", TYPE(SECTION), AT(provider, clock), .def = "{}", .section = &clock_section,
     .text = "How weir knows the provider's time."},
    {.key = "auth", TYPE(SECTION), AT(provider, auth), .def = "", .section = &auth_section,
     .text = "How calls are signed, and with which keys."},
    {.key = "scopes", TYPE(SECTION), AT(provider, scope), .def = "{}", .section = &scopes_section,
     .text = "The values by which limits are counted."},
    {.key = "limits", TYPE(SECTIONS), ITEMS(provider, limit), ENTRIES(1, WEIR_CONFIG_LIMIT_MAX), .def = NULL,
     .section = &limit_section, .text = "The counted rules."},
    {.key = "feedback", TYPE(SECTIONS), ITEMS(provider, feedback), ENTRIES(1, WEIR_CONFIG_LIMIT_MAX), .def = "",
     .section = &feedback_section, .text = "Where the provider tells its own count."},
    {.key = "throttle", TYPE(SECTION), AT(provider, throttle), .def = "{}", .section = &throttle_section,
     .text = "What to do when the provider says stop."},
    {.key = "headers", TYPE(SECTIONS), ITEMS(provider, header), ENTRIES(1, 16), .def = "",
     .section = &header_section, .text = "What every call bears."},
    {.key = "egress", TYPE(SECTIONS), ITEMS(provider, egress), ENTRIES(1, WEIR_CONFIG_EGRESS_MAX), .def = "",
     .section = &egress_section, .text = "Source addresses. If unset the kernel chooses."},
    {.key = "endpoints", TYPE(SECTIONS), ITEMS(provider, endpoint), ENTRIES(1, WEIR_CONFIG_ENDPOINT_MAX), .def = "",
     .section = &endpoint_section, .text = "The hosts that answer."},
    {.key = "balance", TYPE(ENUM), AT(provider, balance), .def = "two_choices",
     CHOICES({"failover", WEIR_BALANCE_FAILOVER}, {"round_robin", WEIR_BALANCE_ROUND_ROBIN},
             {"weighted_round_robin", WEIR_BALANCE_WEIGHTED_ROUND_ROBIN}, {"least_latency", WEIR_BALANCE_LEAST_LATENCY},
             {"least_connections", WEIR_BALANCE_LEAST_CONNECTIONS}, {"two_choices", WEIR_BALANCE_TWO_CHOICES}),
     .text = "How calls are spread over endpoints of one role. failover: the first that works takes all. two_choices: of two at random the one that is healthier "
             "for what it has to do. weir ctl balance changes it while weird runs."},
    {.key = "retry", TYPE(SECTION), AT(provider, retry), .def = "", .section = &retry_section,
     .text = "Trying again what is safe to try again. Without it every call is made once."},
    {.key = "hedge", TYPE(SECTION), AT(provider, hedge), .def = "", .section = &hedge_section,
     .text = "Sending late calls a second time. If unset no call is."},
    {.key = "breaker", TYPE(SECTION), AT(provider, breaker), .def = "", .section = &breaker_section,
     .text = "Leaving an endpoint alone that fails. If unset there is none."},
    {.key = "health", TYPE(SECTION), AT(provider, health), .def = "", .section = &health_section,
     .text = "Asking endpoints whether they are well. If unset their health comes from the calls alone."},
    {.key = "routes", TYPE(SECTIONS), ITEMS(provider, route), ENTRIES(1, WEIR_CONFIG_ROUTE_MAX), .def = NULL,
     .section = &weir_config_route_section, .text = "The calls that clients may make."},
};

static const struct weir_config_section provider_section = {
    .title = "providers[]", .bytes = sizeof(struct weir_config_provider), ROWS(provider_row),
    .finish = weir_config_finish_provider,
    .text = "One API with its own rules.",
};

static const struct weir_config_row root_row[] = {
    {.key = "broker", TYPE(SECTION), .offset = offsetof(struct weir_config, broker), .def = "{}",
     .section = &broker_section, .text = "The broker itself."},
    {.key = "providers", TYPE(SECTIONS), .offset = offsetof(struct weir_config, provider),
     .cnt_offset = offsetof(struct weir_config, provider_cnt), ENTRIES(1, WEIR_CONFIG_PROVIDER_MAX), .def = NULL,
     .section = &provider_section, .text = "The APIs that are called."},
};

const struct weir_config_section weir_config_root = {
    .title = "", .bytes = sizeof(struct weir_config), ROWS(root_row),
    .finish = weir_config_finish_root,
    .text = "The whole file. All providers together have at most 256 limits, 256 endpoints and 1024 routes.",
};
