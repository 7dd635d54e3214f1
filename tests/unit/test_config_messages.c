/*
 * test_config_messages.c: refusals of the file as YAML, of keys, of the broker, limits and routes.
 */
#include "config_refusals.h"

static const struct refusal yaml_refusal[] = {
    {"{}", "t:1:1: providers: missing: must be a list of 1..64 maps"},
    {"a: [", "t:2:1: not YAML: did not find expected node content while parsing a flow node"},
    {"- a", "t:1:1: a configuration is a map of keys: begin with `broker:` or `providers:`"},
    {"x", "t:1:1: a configuration is a map of keys: begin with `broker:` or `providers:`"},
    {"a: 1\n---\nb: 2\n",
     "t:2:1: a second document ('---') begins: a configuration is one document"},
    {"a: &x 1\n", "t:1:4: anchors (&) and tags (!) are not used here: write the value itself"},
    {"a: *x\n", "t:1:4: aliases (*) are not used here: write the value itself"},
    {"a: !!int 1\n", "t:1:4: anchors (&) and tags (!) are not used here: write the value itself"},
    {"&x {a: 1}\n", "t:1:1: anchors (&) and tags (!) are not used here: write the value itself"},
    {"? [a]\n: 1\n", "t:1:3: a key must be a plain word"},
    {"a: \"x\\0y\"\n", "t:1:4: the text holds a NUL byte: remove it"},
    {"a: \001\n",
     "t:1:1: not YAML: control characters are not allowed, at byte 3: the file must be UTF-8 text"},
    {"[[[[[[[[[[[[[[[[[ ", "t:1:17: nested too deeply: at most 16 levels"},
};

static const struct refusal keys_refusal[] = {
    {DOC("broker: {nme: x}\n", "", LIMIT, ROUTE),
     "t:1:10: broker.nme: unknown key: did you mean name?"},
    {DOC("broker: {xyzzy: 1}\n", "", LIMIT, ROUTE),
     "t:1:10: broker.xyzzy: unknown key: the keys here are name, wake, spin, memory, ring, audit, "
     "cache, last_good_every, log, runtime_dir, user, worker_memory, shadow, state_dir, drain, "
     "core, operators, domains"},
    {DOC("broker: {name: a, name: b}\n", "", LIMIT, ROUTE),
     "t:1:19: name: written twice: it stands in line 1 already: remove one"},
    {DOC("", "  limits: []\n", LIMIT, ROUTE),
     "t:3:11: providers[0].limits: has 0 entries: must have 1..256"},
    {DOC("broker: {log: [info]}\n", "", LIMIT, ROUTE),
     "t:1:15: broker.log: must be one value: one of debug, info, warn, error"},
    {DOC("broker: {domains: {}}\n", "", LIMIT, ROUTE),
     "t:1:19: broker.domains: must be a list of 1..16 maps"},
    {DOC("broker: {domains: []}\n", "", LIMIT, ROUTE),
     "t:1:19: broker.domains: has 0 entries: must have 1..16"},
    {DOC("", "  clock: 5\n", LIMIT, ROUTE),
     "t:3:10: providers[0].clock = \"5\": must be a map of keys, such as source: ..."},
    {DOC("", "  scopes: {ip: main}\n", LIMIT, ROUTE),
     "t:3:16: providers[0].scopes.ip = \"main\": must be a list of 1..1024 entries, each letters, "
     "digits and -_.:/@+; 1..31 bytes"},
    {"providers:\n- {name: p}\n",
     "t:2:3: providers[0].limits: missing: must be a list of 1..256 maps"},
    {"broker: {}\n", "t:1:1: providers: missing: must be a list of 1..64 maps"},
    {"providers:\n- p\n", "t:2:3: providers[0] = \"p\": must be a map of keys, such as name: ..."},
    {"providers: []\n", "t:1:12: providers: has 0 entries: must have 1..64"},
};

static const struct refusal broker_refusal[] = {
    {DOC("broker: {ring: 100}\n", "", LIMIT, ROUTE),
     "t:1:16: broker.ring = \"100\": must be a power of two: 64, 128, 256, ... 65536"},
    {DOC("broker: {spin: 0s}\n", "", LIMIT, ROUTE),
     "t:1:16: broker.spin = \"0s\": must be 1us..1s"},
    {DOC("broker: {audit: 63}\n", "", LIMIT, ROUTE),
     "t:1:17: broker.audit = \"63\": must be 0, for no audit, or at least 64: fewer are "
     "overwritten "
     "before anybody reads them"},
    {DOC("broker: {audit: 1048577}\n", "", LIMIT, ROUTE),
     "t:1:17: broker.audit = \"1048577\": must be 0..1048576"},
    {DOC("broker: {audit: -1}\n", "", LIMIT, ROUTE),
     "t:1:17: broker.audit = \"-1\": must be a whole number: 0..1048576"},
    {DOC("broker: {memory: 64mb}\n", "", LIMIT, ROUTE),
     "t:1:18: broker.memory = \"64mb\": must be a whole number of bytes, or with a unit (KiB, MiB, "
     "GiB, KB, MB, GB): 4MiB..1024GiB"},
    {DOC("broker: {name: -x}\n", "", LIMIT, ROUTE),
     "t:1:16: broker.name = \"-x\": must be letters, digits, '-', '_' and '.', the first a letter "
     "or a digit"},
    {DOC("broker: {name: abcdefghijabcdefghijabcdefghijab}\n", "", LIMIT, ROUTE),
     "t:1:16: broker.name = \"abcdefghijabcdefghijabcdefghijab\": must be 1..31 bytes long"},
    {DOC("broker: {runtime_dir: run}\n", "", LIMIT, ROUTE),
     "t:1:23: broker.runtime_dir = \"run\": must be an absolute path of printable ASCII"},
    {DOC("broker: {state_dir: var/x}\n", "", LIMIT, ROUTE),
     "t:1:21: broker.state_dir = \"var/x\": must be an absolute path of printable ASCII, or none"},
    {DOC("broker: {state_dir: None}\n", "", LIMIT, ROUTE),
     "t:1:21: broker.state_dir = \"None\": must be an absolute path of printable ASCII, or none"},
    {DOC("broker: {domains: [{name: a, clients: 200}, {name: b, clients: 56}]}\n", "", LIMIT,
         ROUTE),
     "t:1:19: broker.domains: have 256 clients together: must be at most 255"},
    {DOC("broker: {domains: [{name: a}, {name: b}, {name: a}]}\n", "", LIMIT, ROUTE),
     "t:1:49: broker.domains[2].name = \"a\": domains[0] has this name already: give each its own"},
    {DOC("broker: {domains: [{arena: 128MiB}]}\n", "", LIMIT, ROUTE),
     "t:1:28: broker.domains[0].arena = \"128MiB\": must not be above broker.memory = 64MiB"},
    {DOC("broker: {domains: [{arena: 64KiB}]}\n", "", LIMIT, ROUTE),
     "t:1:20: broker.domains[0].request: must be below arena = 64KiB, which also holds the "
     "answers"},
};

static const struct refusal limits_refusal[] = {
    {DOC("", "", "{name: l, kind: fixed_window, quota: 10, window: 1s, shares: [{part: 10%}]}",
         ROUTE),
     "t:3:74: providers[0].limits[0].shares[0]: has neither client nor uid: a share is for a "
     "client or for a uid: write one"},
    {DOC("", "",
         "{name: l, kind: fixed_window, quota: 10, window: 1s, shares: [{client: a, uid: 5, part: "
         "10%}]}",
         ROUTE),
     "t:3:74: providers[0].limits[0].shares[0]: has both client and uid: a share is for a client "
     "or for a uid: write one"},
    {DOC("", "",
         "{name: l, kind: fixed_window, quota: 10, window: 1s, shares: [{client: 'a b', part: "
         "10%}]}",
         ROUTE),
     "t:3:83: providers[0].limits[0].shares[0].client = \"a b\": must be letters, digits, '-', '_' "
     "and '.', the first a letter or a digit"},
    {DOC("", "",
         "{name: l, kind: fixed_window, quota: 10, window: 1s, shares: [{client: a, part: 10%}, "
         "{client: a, part: 10%}]}",
         ROUTE),
     "t:3:98: providers[0].limits[0].shares[1]: is for the same clients as shares[0]: write one"},
    {DOC("", "",
         "{name: l, kind: fixed_window, quota: 10, window: 1s, shares: [{client: a, part: 100%}], "
         "floor: {background: 10%}}",
         ROUTE),
     "t:3:73: providers[0].limits[0].shares: shares and floor of a limit make 110% together, above "
     "100%: lower them"},
    {DOC("", "",
         "{name: l, kind: fixed_window, quota: 10, window: 1s, floor: {low: 60%, background: 60%}}",
         ROUTE),
     "t:3:72: providers[0].limits[0].floor: shares and floor of a limit make 120% together, above "
     "100%: lower them"},
    {DOC("", "",
         "{name: l, kind: fixed_window, quota: 10, window: 1s, shares: [{client: a, part: 0%}]}",
         ROUTE),
     "t:3:92: providers[0].limits[0].shares[0].part = \"0%\": must be 0.0001%..100%"},
    {DOC("", "", "{name: l, kind: fixed_window, quota: 10, window: 1s, floor: {critical: 10%}}",
         ROUTE),
     "t:3:73: providers[0].limits[0].floor.critical: unknown key: the keys here are medium, low, "
     "background"},
    {DOC("", "",
         "{name: l, kind: sliding_window, quota: 10, window: 1s, shares: [{client: a, part: 10%}]}",
         ROUTE),
     "t:3:75: providers[0].limits[0].shares: only a fixed_window or a token_bucket has shares: "
     "remove it"},
    {DOC("", "", "{name: l, kind: concurrency, quota: 10, floor: {low: 10%}}", ROUTE),
     "t:3:59: providers[0].limits[0].floor: only a fixed_window or a token_bucket has floors: "
     "remove it"},
    {DOC("", "", "{name: l, kind: fixed_window, quota: 5, window: 367d}", ROUTE),
     "t:3:60: providers[0].limits[0].window = \"367d\": must be 1ms..366d"},
    {DOC("", "", "{name: l, kind: fixed_window, quota: 0, window: 1s}", ROUTE),
     "t:3:49: providers[0].limits[0].quota = \"0\": must be 1..2147483647"},
    {DOC("", "", "{name: l, kind: fixed_window, quota: 2147483648, window: 1s}", ROUTE),
     "t:3:49: providers[0].limits[0].quota = \"2147483648\": must be 1..2147483647"},
    {DOC("", "", "{name: l, kind: fixed_window, quota: 5, window: 1s, burst: 6}", ROUTE),
     "t:3:71: providers[0].limits[0].burst = \"6\": has no use with kind: fixed_window, where all "
     "of quota = 5 may come at once: remove it"},
    {DOC("", "", "{name: l, kind: sliding_window, quota: 5, window: 1s, burst: 6}", ROUTE),
     "t:3:73: providers[0].limits[0].burst = \"6\": has no use with kind: sliding_window, where "
     "all "
     "of quota = 5 may come at once: remove it"},
    {DOC("", "", "{name: l, kind: sliding_window, quota: 5}", ROUTE),
     "t:3:12: providers[0].limits[0].window: missing: say how long the window of quota = 5 is"},
    {DOC("", "", "{name: l, kind: concurrency, quota: 5, window: 1s}", ROUTE),
     "t:3:59: providers[0].limits[0].window = \"1s\": kind: concurrency counts what is in flight, "
     "not what came in a window: remove it"},
    {DOC("", "", "{name: l, kind: concurrency, quota: 1025}", ROUTE),
     "t:3:48: providers[0].limits[0].quota = \"1025\": is above 1024, which kind: concurrency "
     "allows: each unit has an owner of its own"},
    {DOC("", "", "{name: l, kind: fixed_window, quota: 5, window: 1s, rest: 5ms}", ROUTE),
     "t:3:70: providers[0].limits[0].rest = \"5ms\": only units of kind: concurrency are let go: "
     "remove it"},
    {DOC("", "", "{name: l, kind: fixed_window, quota: 5, window: 1s, orphan_rest: 5s}", ROUTE),
     "t:3:77: providers[0].limits[0].orphan_rest = \"5s\": only units of kind: concurrency have an "
     "owner: remove it"},
    {DOC("", "", "{name: l, kind: concurrency, quota: 5, rest: 2s, orphan_rest: 1999ms}", ROUTE),
     "t:3:74: providers[0].limits[0].orphan_rest = \"1999ms\": must not be below rest = 2s: what a "
     "dead owner began ends no sooner than what somebody settled"},
    {DOC("", "  clock: {source: host, max_jitter: 80ms}\n",
         "{name: l, kind: concurrency, quota: 5, orphan_rest: 60ms}", ROUTE),
     "t:4:64: providers[0].limits[0].orphan_rest = \"60ms\": must not be below rest, by default "
     "clock.max_jitter = 80ms: what a dead owner began ends no sooner than what somebody settled"},
    {DOC("", "", "{name: l, kind: concurrency, quota: 5, orphan_rest: 25h}", ROUTE),
     "t:3:64: providers[0].limits[0].orphan_rest = \"25h\": must be 1us..1d"},
    {DOC("", "", "{name: l, kind: fixed_window, quota: 5, window: 1s, step: 1s}", ROUTE),
     "t:3:70: providers[0].limits[0].step = \"1s\": only a token_bucket decays in steps: remove "
     "it"},
    {DOC("", "", "{name: l, kind: token_bucket, quota: 5, window: 1s, calendar: day}", ROUTE),
     "t:3:74: providers[0].limits[0].calendar = \"day\": only a fixed_window begins at the edges "
     "of "
     "a calendar: remove it"},
    {DOC("", "", "{name: l, kind: fixed_window, quota: 5, window: 1s, time_zone: Europe/Rome}",
         ROUTE),
     "t:3:75: providers[0].limits[0].time_zone = \"Europe/Rome\": has no use without calendar: "
     "remove it"},
    {DOC("", "", "{name: l, kind: fixed_window, quota: 5, calendar: day, window: 1d}", ROUTE),
     "t:3:75: providers[0].limits[0].window = \"1d\": has no use with calendar, whose windows "
     "differ "
     "in length: remove one"},
    {DOC("", "", "{name: l, kind: fixed_window, quota: 5, calendar: day, time_zone: ../etc/passwd}",
         ROUTE),
     "t:3:78: providers[0].limits[0].time_zone = \"../etc/passwd\": no such zone in the system's "
     "tz "
     "database: write a name like America/New_York (package tzdata), or leave it out for UTC"},
    /* A folder of the database: libc takes it for UTC. */
    {DOC("", "", "{name: l, kind: fixed_window, quota: 5, calendar: day, time_zone: America}",
         ROUTE),
     "t:3:78: providers[0].limits[0].time_zone = \"America\": no such zone in the system's tz "
     "database: write a name like America/New_York (package tzdata), or leave it out for UTC"},
    {DOC("", "", "{name: l, kind: fixed_window, quota: 5, window: 0s}", ROUTE),
     "t:3:60: providers[0].limits[0].window = \"0s\": must be 1ms..366d"},
    {DOC("", "", "{name: l, kind: fixed_window, quota: 5, window: 3650d}", ROUTE),
     "t:3:60: providers[0].limits[0].window = \"3650d\": must be 1ms..366d"},
    {DOC("", "", "{name: l, kind: fixed_window, quota: 99999999999999999999, window: 1s}", ROUTE),
     "t:3:49: providers[0].limits[0].quota = \"99999999999999999999\": must be 1..2147483647"},
    {DOC("", "", "{name: l, kind: token_bucket, quota: 999000000, window: 1s}", ROUTE),
     "t:3:49: providers[0].limits[0].quota = \"999000000\": in window = 1s is one unit each 2 ns, "
     "rounded up: 49.9 % of the rate is lost, at most 0.1 % may be: use a coarser unit"},
    {DOC("", "", "{name: l, kind: token_bucket, quota: 1, window: 366d, burst: 2}", ROUTE),
     "t:3:73: providers[0].limits[0].burst = \"2\": takes longer than 366d to fill at quota = 1: "
     "lower it"},
    {DOC("", "",
         "{name: l, kind: token_bucket, quota: 10, window: 1s, headroom: {critical: 60%, high: "
         "40%}}",
         ROUTE),
     "t:3:75: providers[0].limits[0].headroom: keeps 10 of burst = 10 and leaves 0 to the lowest "
     "priority, but route r costs 1: lower the headroom"},
    {DOC("", "", "{name: l, kind: token_bucket, quota: 10, window: 1s, headroom: {critical: 10}}",
         ROUTE),
     "t:3:86: providers[0].limits[0].headroom.critical = \"10\": must be a number with '%' and at "
     "most 4 decimals: 0%..100%"},
    {DOC("", "", "{name: l, kind: token_bucket, quota: 10, window: 1s, headroom: {background: 1%}}",
         ROUTE),
     "t:3:76: providers[0].limits[0].headroom.background: unknown key: the keys here are critical, "
     "high, medium, low"},
    {DOC("", "",
         "{name: l, kind: token_bucket, quota: 10, window: 1s}, {name: l, kind: token_bucket, "
         "quota: 10, window: 1s}",
         ROUTE),
     "t:3:73: providers[0].limits[1].name = \"l\": limits[0] has this name already: give each its "
     "own"},
    {DOC("", "", "{name: l, kind: fixed_window, quota: 10, window: 1s, headroom: {critical: 55%}}",
         "{name: r, transport: own, cost: {l: 5}}"),
     "t:3:75: providers[0].limits[0].headroom: keeps 6 of quota = 10 and leaves 4 to the lowest "
     "priority, but route r costs 5: lower the headroom"},
};

static const struct refusal routes_refusal[] = {
    {DOC("", "", LIMIT, "{name: r, transport: own, cost: {k: 1}}"),
     "t:4:48: providers[0].routes[0].cost.k = \"1\": no such limit: p has l"},
    {DOC("", "", LIMIT, "{name: r, transport: own, cost: {l: 11}}"),
     "t:4:48: providers[0].routes[0].cost.l = \"11\": must not be above limits[0].burst = 10: it "
     "could never be granted"},
    {DOC("", "", LIMIT, "{name: r, transport: own, cost: {l: -1}}"),
     "t:4:48: providers[0].routes[0].cost.l = \"-1\": must be a whole number: 0..2147483647"},
    {DOC("", "", LIMIT, "{name: r, transport: own, cost: {l: 1}, settle: {success: {k: 0}}}"),
     "t:4:74: providers[0].routes[0].settle.success.k = \"0\": no such limit: p has l"},
    {DOC("", "", LIMIT ", {name: m, kind: token_bucket, quota: 10, window: 1s}",
         "{name: r, transport: own, cost: {l: 1}, settle: {failure: {m: 0}}}"),
     "t:4:74: providers[0].routes[0].settle.failure.m = \"0\": cost does not name limit m: only "
     "what was "
     "charged can be corrected: add it to cost, with 0 if need be"},
    {DOC("", "", LIMIT, "{name: r, transport: own, cost: {l: 1}, settle: {counted: [{limit: l}]}}"),
     "t:4:71: providers[0].routes[0].settle.counted[0]: has 0 of header, field, list and "
     "per_bytes: "
     "must have one: "
     "where the answer says what was counted"},
    {DOC("", "", LIMIT,
         "{name: r, transport: own, cost: {l: 1}, settle: {counted: [{limit: l, list: a, item: "
         "b}]}}"),
     "t:4:71: providers[0].routes[0].settle.counted[0]: list, item and equals belong together: "
     "write all three, or "
     "none"},
    {DOC("", "", LIMIT,
         "{name: r, transport: own, cost: {l: 1}, age_cost: [{limit: l, below: 5s, units: 11}]}"),
     "t:4:92: providers[0].routes[0].age_cost[0].units = \"11\": must not be above limits[0].burst "
     "= 10: it "
     "could never be granted"},
    {DOC("", "", LIMIT,
         "{name: r, transport: own, cost: {l: 1}, age_cost: [{limit: l, below: 5s, units: 3}, "
         "{limit: l, "
         "below: 5s, units: 2}]}"),
     "t:4:114: providers[0].routes[0].age_cost[1].below = \"5s\": must be above that of the "
     "bracket "
     "before it"},
    {DOC("", "", LIMIT ", {name: m, kind: token_bucket, quota: 10, window: 1s}",
         "{name: r, transport: own, cost: {l: 1, m: 1}, age_cost: [{limit: l, below: 5s, units: "
         "3}, {limit: m, "
         "below: 6s, units: 2}]}"),
     "t:4:110: providers[0].routes[0].age_cost[1].limit = \"m\": is another one than in "
     "age_cost[0]: "
     "one limit of a "
     "route may depend on age"},
    {DOC("", "", LIMIT, "{name: r, transport: own, cost: {}}"),
     "t:4:44: providers[0].routes[0].cost: has 0 entries: must have 1..8"},
    {DOC("", "", LIMIT, "{name: r, transport: own, cost: 1}"),
     "t:4:44: providers[0].routes[0].cost = \"1\": must be a map of 1..8 limits, each "
     "0..2147483647"},
    {DOC("", "", LIMIT,
         "{name: r, transport: own, cost: {a: 1, b: 1, c: 1, d: 1, e: 1, f: 1, g: 1, h: 1, i: 1}}"),
     "t:4:44: providers[0].routes[0].cost: has 9 entries: must have 1..8"},
    {DOC("", "", LIMIT, "{name: r, transport: own, cost: {'a b': 1}}"),
     "t:4:52: providers[0].routes[0].cost.a b = \"1\": a limit's name must be 1..31 letters, "
     "digits, '-', '_' and '.', the first a letter or a digit"},
    {DOC("", "", LIMIT,
         "{name: r, transport: own, cost: {l: 1}}, {name: r, transport: own, cost: {l: 1}}"),
     "t:4:60: providers[0].routes[1].name = \"r\": routes[0] has this name already: give each its "
     "own"},
    {DOC("", HOST, LIMIT, "{name: r, cost: {l: 1}, path: /a}"),
     "t:5:12: providers[0].routes[0].method: missing: weir makes the call; or write transport: "
     "own"},
    {DOC("", HOST, LIMIT, "{name: r, cost: {l: 1}, method: GET}"),
     "t:5:12: providers[0].routes[0].path: missing: weir makes the call; or write transport: own"},
    {DOC("", "", LIMIT, "{name: r, transport: own, path: /a, cost: {l: 1}}"),
     "t:4:44: providers[0].routes[0].path = \"/a\": has no use with transport: own, where weir "
     "makes no call: remove it"},
    {DOC("", "", LIMIT, "{name: r, method: GET, path: /a, cost: {l: 1}}"),
     "t:2:3: providers[0].endpoints: missing: weir makes the calls of route r: write at least one, "
     "or transport: own in every route"},
    {DOC("", HOST, LIMIT, "{name: r, method: get, path: /a, cost: {l: 1}}"),
     "t:5:30: providers[0].routes[0].method = \"get\": must be one of GET, HEAD, POST, PUT, "
     "DELETE, PATCH"},
    {DOC("", HOST, LIMIT, "{name: r, method: GET, path: a, cost: {l: 1}}"),
     "t:5:41: providers[0].routes[0].path = \"a\": must be a path that starts with '/'"},
    {DOC("", HOST, LIMIT, "{name: r, method: GET, path: /a//b, cost: {l: 1}}"),
     "t:5:41: providers[0].routes[0].path = \"/a//b\": must be a path without '//'"},
    {DOC("", HOST, LIMIT, "{name: r, method: GET, path: /../b, cost: {l: 1}}"),
     "t:5:41: providers[0].routes[0].path = \"/../b\": must be a path without '.' and '..' "
     "segments"},
    {DOC("", HOST, LIMIT, "{name: r, method: GET, path: \"/a\\tb\", cost: {l: 1}}"),
     "t:5:41: providers[0].routes[0].path = \"/a\\x09b\": must be a path of RFC 3986 characters "
     "that starts with '/', others as %XX, without query"},
    {DOC("", HOST, LIMIT, "{name: r, method: GET, path: /a, cost: {l: 1}, headers: [Host]}"),
     "t:5:69: providers[0].routes[0].headers[0] = \"Host\": belongs to the broker: remove it"},
    {DOC("", HOST, LIMIT, "{name: r, method: GET, path: /a, cost: {l: 1}, headers: [\"a: b\"]}"),
     "t:5:69: providers[0].routes[0].headers[0] = \"a: b\": must be the name of an HTTP header: "
     "letters, digits and !#$%&'*+-.^_`|~"},
    {DOC("", HOST, LIMIT, "{name: r, method: GET, path: /a, cost: {l: 1}, max_response: 16MiB}"),
     "t:5:73: providers[0].routes[0].max_response = \"16MiB\": must be below the largest arena of "
     "broker.domains = 16MiB"},
    {DOC("", HOST, LIMIT, "{name: r, method: GET, path: /a, cost: {l: 1}, stale: 1s}"),
     "t:5:66: providers[0].routes[0].stale = \"1s\": has no use without cache: write both, or "
     "remove it"},
    {DOC("", HOST, LIMIT, "{name: r, method: GET, path: /a, cost: {l: 1}, revalidate: 1s}"),
     "t:5:71: providers[0].routes[0].revalidate = \"1s\": has no use without cache: write both, or "
     "remove it"},
    {DOC("", HOST, LIMIT, "{name: r, method: GET, path: /a, cost: {l: 1}, negative: 1s}"),
     "t:5:69: providers[0].routes[0].negative = \"1s\": has no use without cache: write both, or "
     "remove it"},
    {DOC("", HOST, LIMIT, "{name: r, method: GET, path: /a, cost: {l: 1}, cache_control: honour}"),
     "t:5:74: providers[0].routes[0].cache_control = \"honour\": has no use without cache: write "
     "both, or remove it"},
    {DOC("", HOST, LIMIT, "{name: r, method: GET, path: /a, cost: {l: 1}, cache: 1s}"),
     "t:5:66: providers[0].routes[0].cache = \"1s\": needs share: public: answers are kept where "
     "every client can read them, and this version keeps no others"},
    {DOC("", HOST, LIMIT,
         "{name: r, method: GET, path: /a, cost: {l: 1}, share: public, signed: true, cache: 1s}"),
     "t:5:95: providers[0].routes[0].cache = \"1s\": the answer to a signed call is nobody else's: "
     "remove it"},
    {DOC("", HOST, LIMIT,
         "{name: r, method: POST, path: /a, cost: {l: 1}, share: public, cache: 1s}"),
     "t:5:82: providers[0].routes[0].cache = \"1s\": needs a call that only asks: write "
     "idempotent: "
     "true where that is so, or remove it"},
    {DOC("", HOST, LIMIT,
         "{name: r, method: DELETE, path: /a, cost: {l: 1}, share: public, cache: 1s}"),
     "t:5:84: providers[0].routes[0].cache = \"1s\": has no use with this method: GET, HEAD, or a "
     "POST that only asks"},
    {DOC("", HOST, LIMIT, "{name: r, transport: own, cost: {l: 1}, share: public, cache: 1s}"),
     "t:5:74: providers[0].routes[0].cache = \"1s\": has no use with transport: own, where weir "
     "sees "
     "no answer: remove it"},
    {DOC("", HOST, LIMIT,
         "{name: r, method: GET, path: /a, cost: {l: 1}, share: public, cache: 1s, stale: 1s, "
         "revalidate: 2s}"),
     "t:5:108: providers[0].routes[0].revalidate = \"2s\": must be at most stale: no answer is "
     "given "
     "when it is older than cache and stale together"},
    {DOC("", HOST, LIMIT, "{name: r, method: GET, path: /a, cost: {l: 1}, last_good: 1h}"),
     "t:5:70: providers[0].routes[0].last_good = \"1h\": has no use without cache: write both, or "
     "remove it"},
    {DOC("", HOST, LIMIT,
         "{name: r, method: GET, path: /a, cost: {l: 1}, share: public, cache: 1s, last_good: "
         "true}"),
     "t:5:96: providers[0].routes[0].last_good = \"true\": must be a whole number with a unit (ns, "
     "us, "
     "ms, s, m, h, d): 1ms..30d"},
    {DOC("", HOST, LIMIT,
         "{name: r, method: GET, path: /a, cost: {l: 1}, cache: 1s, last_good: 1h}"),
     "t:5:66: providers[0].routes[0].cache = \"1s\": needs share: public: answers are kept where "
     "every client can read them, and this version keeps no others"},
    {DOC("", HOST, LIMIT, "{name: r, method: GET, path: /a, cost: {l: 1}, share: everybody}"),
     "t:5:66: providers[0].routes[0].share = \"everybody\": must be one of private, public"},
    {DOC("", HOST, LIMIT,
         "{name: r, method: GET, path: /a, cost: {l: 1}, share: public, cache: 1s, max_response: "
         "300KiB}"),
     "t:5:81: providers[0].routes[0].cache = \"1s\": max_response and 8KiB for the head must be at "
     "most a quarter of broker.cache = 1MiB: lower the one, or raise the other"},
    {DOC("", "", LIMIT, "{name: r, transport: own, cost: {l: 1}, signed: yes}"),
     "t:4:60: providers[0].routes[0].signed = \"yes\": must be true or false"},
};

static const struct refusal batch_refusal[] = {
    {DOC("", HOST, LIMIT,
         "{name: r, method: GET, path: /a, cost: {l: 1}, batch: {route: b, param: s}}, {name: b, "
         "method: GET, path: /b, cost: {l: 1}}"),
     "t:5:74: providers[0].routes[0].batch.route = \"b\": has no use here: a batch answers calls "
     "of a GET with cache: write cache, or remove batch"},
    {DOC("", HOST, LIMIT,
         "{name: r, method: GET, path: /a, cost: {l: 1}, share: public, cache: 1s, batch: {route: "
         "b, param: s}}"),
     "t:5:100: providers[0].routes[0].batch.route = \"b\": no such route of this provider"},
    {DOC("", HOST, LIMIT,
         "{name: r, method: GET, path: /a, cost: {l: 1}, share: public, cache: 1s, batch: {route: "
         "r, param: s}}"),
     "t:5:100: providers[0].routes[0].batch.route = \"r\": is this route itself: name the one that "
     "answers for many"},
    {DOC("", HOST, LIMIT,
         "{name: r, method: GET, path: /a, cost: {l: 1}, share: public, cache: 1s, batch: {route: "
         "b}}, {name: b, method: GET, path: /b, cost: {l: 1}}"),
     "t:5:92: providers[0].routes[0].batch.param: missing: which query parameter of a single call "
     "names what it asks for? Or let path end in /*"},
    {DOC("", HOST, LIMIT,
         "{name: r, method: GET, path: '/a/*', cost: {l: 1}, share: public, cache: 1s, batch: "
         "{route: b, param: s}}, {name: b, method: GET, path: /b, cost: {l: 1}}"),
     "t:5:114: providers[0].routes[0].batch.param = \"s\": has no use with a path that ends in *, "
     "whose rest is the name: remove it"},
    {DOC("", HOST, LIMIT,
         "{name: r, method: GET, path: /a, cost: {l: 1}, share: public, cache: 1s, batch: {route: "
         "b, param: 'a b'}}, {name: b, method: GET, path: /b, cost: {l: 1}}"),
     "t:5:110: providers[0].routes[0].batch.param = \"a b\": must be of letters, digits and -._~"},
    {DOC("", HOST, LIMIT,
         "{name: r, method: GET, path: /a, cost: {l: 1}, share: public, cache: 1s, batch: {route: "
         "b, param: s, with: [s]}}, {name: b, method: GET, path: /b, cost: {l: 1}}"),
     "t:5:120: providers[0].routes[0].batch.with[0] = \"s\": is the parameter that holds names: "
     "remove it here"},
    {DOC("", HOST, LIMIT,
         "{name: r, method: GET, path: /a, cost: {l: 1}, share: public, cache: 1s, batch: {route: "
         "b, param: s, with: ['a=b']}}, {name: b, method: GET, path: /b, cost: {l: 1}}"),
     "t:5:120: providers[0].routes[0].batch.with[0] = \"a=b\": must be of letters, digits and "
     "-._~"},
    {DOC("", HOST, LIMIT,
         "{name: r, method: GET, path: /a, cost: {l: 1}, share: public, cache: 1s, batch: {route: "
         "b, param: s, max: 9}}, {name: b, method: GET, path: /b, cost: {l: 1}}"),
     "t:5:118: providers[0].routes[0].batch.max = \"9\": has no use with names: all, where the "
     "call names nothing: remove it"},
    {DOC("", HOST, LIMIT,
         "{name: r, method: GET, path: /a, cost: {l: 1}, share: public, cache: 1s, batch: {route: "
         "b, param: s, names: json}}, {name: b, method: GET, path: /b, cost: {l: 1}}"),
     "t:5:92: providers[0].routes[0].batch.names_param: missing: names: json and comma say them in "
     "this query parameter"},
    {DOC("", HOST, LIMIT,
         "{name: r, method: GET, path: /a, cost: {l: 1}, share: public, cache: 1s, batch: {route: "
         "b, param: s, names: comma, names_param: 'a&'}}, {name: b, method: GET, path: /b, cost: "
         "{l: 1}}"),
     "t:5:140: providers[0].routes[0].batch.names_param = \"a&\": must be of letters, digits and "
     "-._~"},
    {DOC("", HOST, LIMIT,
         "{name: r, method: GET, path: /a, cost: {l: 1}, share: public, cache: 1s, batch: {route: "
         "b, param: s}}, {name: b, method: POST, path: /b, cost: {l: 1}}"),
     "t:5:100: providers[0].routes[0].batch.route = \"b\": must be a GET that weir makes, "
     "unsigned, with a path that does not end in *"},
    {DOC("", HOST, LIMIT,
         "{name: r, method: GET, path: /a, cost: {l: 1}, share: public, cache: 1s, batch: {route: "
         "b, param: s}}, {name: b, method: GET, path: /b, cost: {l: 1}, max_response: 17MiB}"),
     "t:5:100: providers[0].routes[0].batch.route = \"b\": its max_response must be at most 16MiB: "
     "longer answers are not taken apart"},
    {DOC("", HOST, LIMIT,
         "{name: r, method: GET, path: /a, cost: {l: 1}, share: public, cache: 1s, batch: {route: "
         "b, param: s, gather: 2s}}, {name: b, method: GET, path: /b, cost: {l: 1}}"),
     "t:5:121: providers[0].routes[0].batch.gather = \"2s\": must be 100us..1s"},
    {DOC("", HOST, LIMIT,
         "{name: r, method: GET, path: /a, cost: {l: 1}, share: public, cache: 1s, batch: {route: "
         "b, param: s, when: never}}, {name: b, method: GET, path: /b, cost: {l: 1}}"),
     "t:5:119: providers[0].routes[0].batch.when = \"never\": must be one of cheaper, always"},
    {DOC("", HOST, LIMIT,
         "{name: r, method: GET, path: /a, cost: {l: 1}, share: public, cache: 1s, batch: {param: "
         "s}}"),
     "t:5:92: providers[0].routes[0].batch.route: missing: must be letters, digits, '-', '_' and "
     "'.', the first a letter or a digit; 1..31 bytes"},
    {DOC("", HOST, "{name: l, kind: token_bucket, quota: 10, window: 1s, scope: instrument}",
         "{name: r, method: GET, path: /a, cost: {l: 1}, share: public, cache: 1s, batch: {route: "
         "b, param: s}}, {name: b, method: GET, path: /b, cost: {l: 1}}"),
     "t:5:100: providers[0].routes[0].batch.route = \"b\": a limit of one of both routes counts by "
     "instrument, of which a batch has many: remove batch"},
};

static void test_yaml(void **state)
{
    (void)state;
    refusals_check(yaml_refusal, sizeof(yaml_refusal) / sizeof(yaml_refusal[0]));
}

static void test_keys(void **state)
{
    (void)state;
    refusals_check(keys_refusal, sizeof(keys_refusal) / sizeof(keys_refusal[0]));
}

static void test_broker(void **state)
{
    (void)state;
    refusals_check(broker_refusal, sizeof(broker_refusal) / sizeof(broker_refusal[0]));
}

static void test_limits(void **state)
{
    (void)state;
    refusals_check(limits_refusal, sizeof(limits_refusal) / sizeof(limits_refusal[0]));
}

static void test_routes(void **state)
{
    (void)state;
    refusals_check(routes_refusal, sizeof(routes_refusal) / sizeof(routes_refusal[0]));
    refusals_check(batch_refusal, sizeof(batch_refusal) / sizeof(batch_refusal[0]));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_yaml),   cmocka_unit_test(test_keys),   cmocka_unit_test(test_broker),
        cmocka_unit_test(test_limits), cmocka_unit_test(test_routes),
    };
    return cmocka_run_group_tests_name("config_messages", tests, NULL, NULL);
}
