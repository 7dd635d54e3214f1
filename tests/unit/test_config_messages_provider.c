/*
 * test_config_messages_provider.c: refusals of what a provider says of its endpoints, feedback, keys and the like, and warnings about keys.
 */
#include "config_refusals.h"

static const struct refusal providers_refusal[] = {
    {DOC("", "  clock: {field: t}\n", LIMIT, ROUTE),
     "t:3:10: providers[0].clock.path: missing: source: server asks this path for the time; or "
     "write header, or source: host"},
    {DOC("", "  clock: {path: /t}\n", LIMIT, ROUTE),
     "t:3:10: providers[0].clock.field: missing: source: server reads the time from this member of "
     "the JSON answer; or write header"},
    {DOC("", "  clock: {header: date, field: t}\n", LIMIT, ROUTE),
     "t:3:32: providers[0].clock.field = \"t\": has no use without path, whose answer it is a "
     "member "
     "of: write path, or header"},
    {DOC("", "  clock: {source: host, header: date}\n", LIMIT, ROUTE),
     "t:3:33: providers[0].clock.header = \"date\": has no use with this source: write source: "
     "server, or remove it"},
    {DOC("", "  clock: {header: date, unit: h}\n", LIMIT, ROUTE),
     "t:3:31: providers[0].clock.unit = \"h\": must be one of auto, s, ms, us, ns"},
    {DOC("", "  clock: {path: /t, field: t}\n", LIMIT, ROUTE),
     "t:2:3: providers[0].endpoints: missing: clock asks the provider for its time: write at least "
     "one, or clock: {source: host}"},
    {DOC("", "  throttle: {status: [99]}\n", LIMIT, ROUTE),
     "t:3:23: providers[0].throttle.status[0] = \"99\": must be 100..599"},
    {DOC("", "  throttle: {status: [600]}\n", LIMIT, ROUTE),
     "t:3:23: providers[0].throttle.status[0] = \"600\": must be 100..599"},
    {DOC("", "  throttle: {status: []}\n", LIMIT, ROUTE),
     "t:3:22: providers[0].throttle.status: has 0 entries: must have 1..16"},
    {DOC("", "  throttle: {default: 10m}\n", LIMIT, ROUTE),
     "t:3:23: providers[0].throttle.default = \"10m\": must not be above backoff.max = 5m"},
    {DOC("", "  throttle: {status: [429], ban: {status: [429, 403], pause: 10m}}\n", LIMIT, ROUTE),
     "t:3:49: providers[0].throttle.ban.status[1] = \"403\": is not in throttle.status: add it "
     "there"},
    {DOC("", "  throttle: {ban: {status: [429]}}\n", LIMIT, ROUTE),
     "t:3:19: providers[0].throttle.ban: status and pause belong together: write both, or neither"},
    {DOC("", "  throttle: {ban: {pause: 10m}}\n", LIMIT, ROUTE),
     "t:3:19: providers[0].throttle.ban: status and pause belong together: write both, or neither"},
    {DOC("", "  throttle: {ban: {status: [429], pause: 367d}}\n", LIMIT, ROUTE),
     "t:3:42: providers[0].throttle.ban.pause = \"367d\": must be 0s..366d"},
    {DOC("", "  throttle: {backoff: {factor: 0}}\n", LIMIT, ROUTE),
     "t:3:32: providers[0].throttle.backoff.factor = \"0\": must be 1..10"},
    {DOC("", "  throttle: {backoff: {jitter: 101%}}\n", LIMIT, ROUTE),
     "t:3:32: providers[0].throttle.backoff.jitter = \"101%\": must be 0%..100%"},
    {DOC("", "  throttle: {backoff: {quiet: 0s}}\n", LIMIT, ROUTE),
     "t:3:31: providers[0].throttle.backoff.quiet = \"0s\": must be 1ms..30d"},
    {DOC("", "  throttle: {reopen: {probe: 0s}}\n", LIMIT, ROUTE),
     "t:3:30: providers[0].throttle.reopen.probe = \"0s\": must be 10ms..1h"},
    {DOC("", "  throttle: {reopen: {steps: 3}}\n", LIMIT, ROUTE),
     "t:3:23: providers[0].throttle.reopen.steps: unknown key: the keys here are probe, ramp"},
    {DOC("", "  feedback: [{header: h, limit: x, reports: used}]\n", LIMIT, ROUTE),
     "t:3:33: providers[0].feedback[0].limit = \"x\": no such limit: p has l"},
    {DOC("", "  feedback: [{header: h, limit: l, reports: used}]\n",
         "{name: l, kind: concurrency, quota: 10}", ROUTE),
     "t:3:33: providers[0].feedback[0].limit = \"l\": is of kind concurrency: how many calls are "
     "in "
     "flight has changed by the time an answer is here; remove the entry"},
    {DOC("", "  feedback: [{header: h, limit: l, reports: reset}]\n",
         "{name: l, kind: sliding_window, quota: 10, window: 1s}", ROUTE),
     "t:3:45: providers[0].feedback[0].reports = \"reset\": must be used or remaining: only the "
     "window of a fixed_window ends at an instant that tells about the clock"},
    {DOC("", "  feedback: [{header: h, limit: l, reports: used, rolls: true}]\n", WINDOW, ROUTE),
     "t:3:58: providers[0].feedback[0].rolls = \"true\": has a use only for a limit of kind "
     "sliding_window"},
    {DOC("", "  feedback: [{header: h, limit: l, reports: remaining, of: 15}]\n",
         "{name: l, kind: token_bucket, quota: 10, window: 1s, burst: 20}", ROUTE),
     "t:3:60: providers[0].feedback[0].of = \"15\": must not be below the limit's burst = 20"},
    {DOC("", "  feedback: [{header: h, limit: l, reports: reset}]\n",
         "{name: l, kind: fixed_window, quota: 10, calendar: day}", ROUTE),
     "t:3:45: providers[0].feedback[0].reports = \"reset\": must be used or remaining: the ends of "
     "a "
     "calendar's windows are known"},
    {DOC("", "  feedback: [{limit: l, reports: used}]\n", WINDOW, ROUTE),
     "t:3:14: providers[0].feedback[0].header: missing: write header, or field for a member of the "
     "body"},
    {DOC("", "  feedback: [{header: h, field: f, limit: l, reports: used}]\n", WINDOW, ROUTE),
     "t:3:33: providers[0].feedback[0].field = \"f\": has no use beside header: write one entry "
     "for "
     "each"},
    {DOC("", "  feedback: [{header: h, limit: l, reports: used, unit: ms}]\n", WINDOW, ROUTE),
     "t:3:57: providers[0].feedback[0].unit = \"ms\": has a use only with reports: reset"},
    {DOC("", "  feedback: [{header: h, limit: l, reports: used, form: left}]\n", WINDOW, ROUTE),
     "t:3:57: providers[0].feedback[0].form = \"left\": has a use only with reports: reset"},
    {DOC("", "  feedback: [{header: h, limit: l, reports: used, of: 5}]\n", WINDOW, ROUTE),
     "t:3:55: providers[0].feedback[0].of = \"5\": has a use only with reports: remaining"},
    {DOC("", "  feedback: [{header: h, limit: l, reports: remaining, of: 5}]\n", WINDOW, ROUTE),
     "t:3:60: providers[0].feedback[0].of = \"5\": must not be below the limit's quota = 10"},
    {DOC("", "  feedback: [{header: h, limit: l, reports: left}]\n", WINDOW, ROUTE),
     "t:3:45: providers[0].feedback[0].reports = \"left\": must be one of used, remaining, reset"},
    {DOC("", "",
         "{name: l, kind: fixed_window, quota: 10, window: 1s, foreign: {expect: adaptive}}",
         ROUTE),
     "t:3:83: providers[0].limits[0].foreign.expect = \"adaptive\": needs feedback that reports "
     "used "
     "or remaining of this limit: without it nothing is ever seen of others"},
    {DOC("", "  throttle: {until_text: banned until}\n", LIMIT, ROUTE),
     "t:3:26: providers[0].throttle.until_text = \"banned until\": must have {time} behind the "
     "text "
     "that it is found by, as in \"banned until {time}\""},
    {DOC("", "  throttle: {until_text: '{time} is when'}\n", LIMIT, ROUTE),
     "t:3:26: providers[0].throttle.until_text = \"{time} is when\": must have {time} behind the "
     "text "
     "that it is found by, as in \"banned until {time}\""},
    {DOC("", "  throttle: {body: [{field: code}]}\n", LIMIT, ROUTE),
     "t:3:21: providers[0].throttle.body[0].equals: missing: must be printable ASCII; 1..255 "
     "bytes"},
    {DOC("", "  retry: {base: 2s, max: 1s}\n", LIMIT, ROUTE),
     "t:3:17: providers[0].retry.base = \"2s\": must not be above max = 1s"},
    {DOC("", "  hedge: {}\n  endpoints: [{name: e, url: 'http://h'}]\n", LIMIT,
         "{name: r, method: GET, path: /r, cost: {l: 1}}"),
     "t:3:10: providers[0].hedge: needs a second endpoint for the second call to go to, or "
     "another address or key of a pool: add one, or remove this"},
    {DOC("", "  hedge: {}\n  endpoints: [{name: e, url: 'http://h'}, {name: f, url: 'http://i'}]\n",
         LIMIT, "{name: r, method: POST, path: /r, cost: {l: 1}}"),
     "t:3:10: providers[0].hedge: has no use: no route is a GET or HEAD that is not signed, and "
     "none "
     "says hedge: true: remove it"},
    {DOC("", "  hedge: {}\n  endpoints: [{name: e, url: 'http://h'}, {name: f, url: 'http://i'}]\n",
         LIMIT, "{name: r, method: POST, path: /r, cost: {l: 1}, hedge: true}"),
     "t:6:67: providers[0].routes[0].hedge = \"true\": must be false where a call may be made only "
     "once: an order would be placed twice"},
    {DOC("", "  endpoints: [{name: e, url: 'http://h'}, {name: f, url: 'http://i'}]\n", LIMIT,
         "{name: r, method: GET, path: /r, cost: {l: 1}, hedge: true}"),
     "t:5:66: providers[0].routes[0].hedge = \"true\": has no use without hedge of the provider: "
     "write "
     "hedge: {} there for its defaults, or remove this"},
    {DOC("", "  hedge: {}\n  endpoints: [{name: e, url: 'http://h'}, {name: f, url: 'http://i'}]\n",
         LIMIT,
         "{name: r, method: GET, path: /r, cost: {l: 1}}, {name: s, transport: own, cost: {l: 1}, "
         "hedge: true}"),
     "t:6:107: providers[0].routes[1].hedge = \"true\": has no use with transport: own, where weir "
     "makes no call: remove it"},
    {DOC("", "  hedge: {after: p100}\n", LIMIT, ROUTE),
     "t:3:18: providers[0].hedge.after = \"p100\": must be a percentile of the route's own "
     "latency, "
     "p50..p99, or a duration: 1ms..1m"},
    {DOC("", "  hedge: {after: 0ms}\n", LIMIT, ROUTE),
     "t:3:18: providers[0].hedge.after = \"0ms\": must be a percentile of the route's own latency, "
     "p50..p99, or a duration: 1ms..1m"},
    {DOC("", "  hedge: {budget: 51%}\n", LIMIT, ROUTE),
     "t:3:19: providers[0].hedge.budget = \"51%\": must be 0.1%..50%"},
    {DOC("", "  scopes: {ip: [a, b, a]}\n", LIMIT, ROUTE),
     "t:3:23: providers[0].scopes.ip[2] = \"a\": ip[0] is the same: remove one"},
    {DOC("", "  scopes: {ip: [\"a,b\"]}\n", LIMIT, ROUTE),
     "t:3:17: providers[0].scopes.ip[0] = \"a,b\": must be letters, digits and -_.:/@+"},
    {DOC("", "  endpoints: [{name: e, url: 'ftp://h'}]\n", LIMIT, ROUTE),
     "t:3:30: providers[0].endpoints[0].url = \"ftp://h\": must be a URL that starts with http:// "
     "or https://"},
    {DOC("", "  endpoints: [{name: e, url: 'https://u@h'}]\n", LIMIT, ROUTE),
     "t:3:30: providers[0].endpoints[0].url: must be a URL without user and password: keys belong "
     "to `auth`"},
    {DOC("", "  endpoints: [{name: e, url: 'http://h', ca_file: /a}]\n", LIMIT, ROUTE),
     "t:3:51: providers[0].endpoints[0].ca_file = \"/a\": has no use with an http:// url: write "
     "https:// there, or remove it"},
    {DOC("",
         "  endpoints: [{name: e, url: 'https://h/a', ca_file: /a}, {name: f, url: "
         "'https://H:443/b'}]\n",
         LIMIT, ROUTE),
     "t:3:74: providers[0].endpoints[1].url = \"https://H:443/b\": is the server of endpoint e, "
     "which has another ca_file: "
     "connections are shared, so give both the same"},
    {DOC("",
         "  endpoints: [{name: e, url: 'http://h/a', proxy: 'http://127.0.0.1:1'}, {name: f, url: "
         "'http://h/b'}]\n",
         LIMIT, ROUTE),
     "t:3:89: providers[0].endpoints[1].url = \"http://h/b\": is the server of endpoint e, "
     "which has another proxy: connections are shared, so give both the same"},
    {DOC("", "  endpoints: [{name: e, url: 'https://h', client_cert: /c}]\n", LIMIT, ROUTE),
     "t:3:15: providers[0].endpoints[0].client_key: missing: a certificate and its key are given "
     "together"},
    {DOC("", "  endpoints: [{name: e, url: 'https://h', client_key: /c}]\n", LIMIT, ROUTE),
     "t:3:15: providers[0].endpoints[0].client_cert: missing: a certificate and its key are given "
     "together"},
    {DOC("", "  endpoints: [{name: e, url: 'http://h', client_cert: /c, client_key: /k}]\n", LIMIT,
         ROUTE),
     "t:3:55: providers[0].endpoints[0].client_cert = \"/c\": has no use with an http:// url: "
     "write "
     "https:// there, or remove it"},
    {DOC("", "  endpoints: [{name: e, url: 'https://h', proxy: 'http://proxy:3128'}]\n", LIMIT,
         ROUTE),
     "t:3:50: providers[0].endpoints[0].proxy = \"http://proxy:3128\": must be http://, an address "
     "in digits and a port, and nothing behind it"},
    {DOC("", "  endpoints: [{name: e, url: 'https://h', proxy: 'https://127.0.0.1:1'}]\n", LIMIT,
         ROUTE),
     "t:3:50: providers[0].endpoints[0].proxy = \"https://127.0.0.1:1\": must be http://, an "
     "address in digits and a port, and nothing behind it"},
    {DOC("", "  endpoints: [{name: e, url: 'https://h', proxy: 'http://[::1]:1/x'}]\n", LIMIT,
         ROUTE),
     "t:3:50: providers[0].endpoints[0].proxy = \"http://[::1]:1/x\": must be http://, an address "
     "in digits and a port, and nothing behind it"},
    {DOC("", "  endpoints: [{name: e, url: 'http://h', http: 2}]\n", LIMIT, ROUTE),
     "t:3:48: providers[0].endpoints[0].http = \"2\": 2 is agreed upon by TLS: write https:// in "
     "the url, or http: 1.1"},
    {DOC("", "  endpoints: [{name: e, url: 'https://h', http: 3}]\n", LIMIT, ROUTE),
     "t:3:49: providers[0].endpoints[0].http = \"3\": must be one of 1.1, 2"},
    {DOC("", "  headers: [{name: host, value: v}]\n", LIMIT, ROUTE),
     "t:3:20: providers[0].headers[0].name = \"host\": belongs to the broker: remove it"},
    {DOC("", "  headers: [{name: a, value: b}, {name: A, value: c}]\n", LIMIT, ROUTE),
     "t:3:41: providers[0].headers[1].name = \"A\": stands in this list already: remove one"},
    {DOC("", "  headers: [{name: a, value: \"hush\\nhush\"}]\n", LIMIT, ROUTE),
     "t:3:30: providers[0].headers[0].value: must hold no control character: is there a line end "
     "behind it?"},
    {DOC("", "  headers: [{name: a, value: ''}]\n", LIMIT, ROUTE),
     "t:3:30: providers[0].headers[0].value: must be 1..4096 bytes long"},
    {"providers:\n- name: a.b\n  limits: [{name: l, kind: token_bucket, quota: 10, window: 1s}]\n  "
     "routes: [{name: r, transport: own, cost: {l: 1}}]\n",
     "t:2:9: providers[0].name = \"a.b\": must not hold '.': the first '.' of \"provider.route\" "
     "ends the provider's name"},
    {"providers:\n- name: p\n  limits: [{name: l, kind: token_bucket, quota: 10, window: 1s}]\n  "
     "routes: [{name: r, transport: own, cost: {l: 1}}]\n- name: p\n  limits: [{name: l, kind: "
     "token_bucket, quota: 10, window: 1s}]\n  routes: [{name: r, transport: own, cost: {l: 1}}]\n",
     "t:5:9: providers[1].name = \"p\": providers[0] has this name already: give each its own"},
    {DOC("", "  balance: random\n", LIMIT, ROUTE),
     "t:3:12: providers[0].balance = \"random\": must be one of failover, round_robin, "
     "weighted_round_robin, least_latency, least_connections, two_choices"},
    {DOC("", "  endpoints: [{name: e, url: 'http://h', warm: 2}]\n", LIMIT, ROUTE),
     "t:3:48: providers[0].endpoints[0].warm = \"2\": has no use without health, whose checks keep "
     "connections warm: write it, or remove this"},
    {DOC("", "  endpoints: [{name: e, url: 'http://h', idle: 1500ms}]\n", LIMIT, ROUTE),
     "t:3:48: providers[0].endpoints[0].idle = \"1500ms\": must be whole seconds"},
    {DOC("", "  endpoints: [{name: e, url: 'http://h', age: 1001ms}]\n", LIMIT, ROUTE),
     "t:3:47: providers[0].endpoints[0].age = \"1001ms\": must be whole seconds"},
    {DOC("", "  endpoints: [{name: e, url: 'http://h', addresses: [10.0.0.0/8, 10.0.0.1/8]}]\n",
         LIMIT, ROUTE),
     "t:3:66: providers[0].endpoints[0].addresses[1] = \"10.0.0.1/8\": must be an address, or a "
     "network as 203.0.113.0/24 with no bit set behind its length"},
    {DOC("", "  endpoints: [{name: e, url: 'http://10.0.0.1', addresses: [10.0.1.0/24]}]\n", LIMIT,
         ROUTE),
     "t:3:60: providers[0].endpoints[0].addresses: does not hold the address that url names: "
     "10.0.0.1"},
    {DOC("", HOST, LIMIT, "{name: r, method: GET, path: /, cost: {l: 1}, group: g}"),
     "t:5:65: providers[0].routes[0].group = \"g\": has no use without breaker: write breaker: {} "
     "for its defaults, or remove this"},
    {DOC("", HOST "  breaker: {}\n", LIMIT, "{name: r, transport: own, cost: {l: 1}, group: g}"),
     "t:6:59: providers[0].routes[0].group = \"g\": has no use with transport: own, where weir "
     "makes no call: remove it"},
    {DOC("", "  health: {path: /}\n", LIMIT, ROUTE),
     "t:3:11: providers[0].health: has no use without endpoints: remove it"},
    {DOC("", HOST "  breaker: {failures: 0}\n", LIMIT, ROUTE),
     "t:4:23: providers[0].breaker.failures = \"0\": must be 1..1000"},
};

#define SIGNED     "{name: r, method: POST, path: /o, cost: {l: 1}, signed: true}"
#define AUTH(keys) DOC("", HOST "  auth: {" keys "}\n", LIMIT, SIGNED)
#define ACCOUNTS(keys) \
    DOC("", HOST "  scopes: {account: [a, b], key: [x]}\n  auth: {" keys "}\n", LIMIT, SIGNED)

/* RFC 8037's, on one line */
#define ED25519_PEM                                                       \
    "-----BEGIN PRIVATE KEY-----\\n"                                      \
    "MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\\n" \
    "-----END PRIVATE KEY-----\\n"

static const struct refusal auth_refusal[] = {
    {DOC("", HOST, LIMIT, SIGNED),
     "t:5:68: providers[0].routes[0].signed = \"true\": the provider has no auth: write it, or "
     "remove this"},
    {DOC("", "  auth: {kind: bearer, key: k}\n", LIMIT,
         "{name: r, transport: own, cost: {l: 1}, signed: true}"),
     "t:5:60: providers[0].routes[0].signed = \"true\": has no use with transport: own, where you "
     "sign the call yourself: remove it"},
    {AUTH("kind: hmac"),
     "t:4:16: providers[0].auth.kind = \"hmac\": must be one of hmac_sha256_query, ed25519_query, "
     "rsa_query, bybit, bybit_rsa, okx, bitget, bitget_rsa, coinbase_exchange, coinbase_es256, "
     "coinbase_ed25519, htx, htx_ed25519, kraken, kraken_futures, api_key, bearer, oauth2, cookie"},
    {AUTH("kind: hmac_sha512_header"),
     "t:4:16: providers[0].auth.kind = \"hmac_sha512_header\": each exchange words it in its own "
     "way: write okx, bitget, bybit, coinbase_exchange, htx, kraken or kraken_futures"},
    {AUTH("key: k"),
     "t:4:9: providers[0].auth.kind: missing: must be one of hmac_sha256_query, ed25519_query, "
     "rsa_query, bybit, bybit_rsa, okx, bitget, bitget_rsa, coinbase_exchange, coinbase_es256, "
     "coinbase_ed25519, htx, htx_ed25519, kraken, kraken_futures, api_key, bearer, oauth2, cookie"},
    {AUTH("kind: bybit, key: k"),
     "t:4:9: providers[0].auth.secret: missing: this kind signs with it"},
    {AUTH("kind: bybit, secret: k"),
     "t:4:9: providers[0].auth.key: missing: the key's public name, as the exchange shows it"},
    {AUTH("kind: okx, key: k, secret: s"),
     "t:4:9: providers[0].auth.passphrase: missing: this kind sends it with each call"},
    {AUTH("kind: bybit, key: k, secret: s, passphrase: p"),
     "t:4:54: providers[0].auth.passphrase: has no use with this kind: remove it"},
    {AUTH("kind: bybit, key: k, secret: s, recv_window: 61s"),
     "t:4:55: providers[0].auth.recv_window = \"61s\": must be 1ms..1m"},
    {AUTH("kind: bybit, key: k, secret: s, recv_window: 1500us"),
     "t:4:55: providers[0].auth.recv_window = \"1500us\": must be whole milliseconds"},
    {AUTH("kind: htx, key: k, secret: s, recv_window: 5s"),
     "t:4:53: providers[0].auth.recv_window = \"5s\": has no use with this kind, which has no such "
     "window: remove it"},
    {AUTH("kind: htx, key: k, secret: s, nonce: us"),
     "t:4:47: providers[0].auth.nonce = \"us\": has no use with this kind, which has none: remove "
     "it"},
    {AUTH("kind: htx, key: k, secret: s, param: p"),
     "t:4:47: providers[0].auth.param = \"p\": has no use with this kind, which knows its own: "
     "remove it"},
    {AUTH("kind: api_key, key: k"),
     "t:4:9: providers[0].auth.header: missing: where does the key go? Write header, or param"},
    {AUTH("kind: api_key, key: k, header: x, param: y"),
     "t:4:51: providers[0].auth.param = \"y\": has no use beside header: remove one"},
    {AUTH("kind: api_key, key: k, header: Host"),
     "t:4:41: providers[0].auth.header = \"Host\": belongs to the broker: write another one"},
    {DOC("",
         "  endpoints: [{name: e, url: 'http://h', proxy: 'http://127.0.0.1:8'}]\n"
         "  auth: {kind: bearer, key: k}\n",
         LIMIT, SIGNED),
     "t:3:49: providers[0].endpoints[0].proxy = \"http://127.0.0.1:8\": has no use with an http:// "
     "url where calls are signed: write https:// there"},
    {AUTH("kind: kraken, key: k, secret: 'not base64'"),
     "t:4:40: providers[0].auth.secret: must be base64, as the exchange shows it: at most 512 "
     "bytes"},
    {AUTH("kind: ed25519_query, key: k, secret: s"),
     "t:4:47: providers[0].auth.secret: must be an Ed25519 private key: PEM (PKCS#8), or the "
     "base64 "
     "of its 32 bytes or of these and the public key's"},
    {AUTH("kind: rsa_query, key: k, secret: s"),
     "t:4:43: providers[0].auth.secret: must be an RSA private key of 2048..4096 bits in PEM form, "
     "whole: put it into a variable with its lines, or with \\n for each line end"},
    {AUTH("kind: htx_ed25519, key: k, secret: s"),
     "t:4:45: providers[0].auth.secret: must be an Ed25519 private key: PEM (PKCS#8), or the "
     "base64 "
     "of its 32 bytes or of these and the public key's"},
    {AUTH("kind: bitget_rsa, key: k, passphrase: p, secret: '" ED25519_PEM "'"),
     "t:4:59: providers[0].auth.secret: must be an RSA private key: this is an Ed25519 key"},
    {AUTH("kind: bitget_rsa, key: k, secret: '" ED25519_PEM "'"),
     "t:4:44: providers[0].auth.secret: must be an RSA private key: this is an Ed25519 key"},
    {AUTH("kind: htx, key: k, secret: '" ED25519_PEM "'"),
     "t:4:37: providers[0].auth.secret: is in PEM form: kinds with rsa, ed25519 or es256 in their "
     "names sign with such a key, this one with a text"},
    {AUTH("kind: htx_ed25519, key: k, passphrase: p, secret: '" ED25519_PEM "'"),
     "t:4:49: providers[0].auth.passphrase: has no use with this kind: remove it"},
    {DOC("", HOST "  auth: {kind: kraken, key: k, secret: c2Vj}\n", LIMIT,
         "{name: r, method: GET, path: /o, cost: {l: 1}, signed: true}"),
     "t:6:30: providers[0].routes[0].method = \"GET\": must be POST: the kind of auth signs a "
     "body, "
     "which bears the nonce"},
    {ACCOUNTS("kind: bybit, key: k, secret: s"),
     "t:5:9: providers[0].auth.keys: missing: scopes.account has 2 values: write one entry for "
     "each"},
    {ACCOUNTS("kind: bybit, keys: [{account: c, key: k, secret: s}]"),
     "t:5:40: providers[0].auth.keys[0].account = \"c\": scopes.account has no such value: add it "
     "there"},
    {ACCOUNTS("kind: bybit, keys: [{account: a, name: y, key: k, secret: s}]"),
     "t:5:49: providers[0].auth.keys[0].name = \"y\": scopes.key has no such value: add it there"},
    {ACCOUNTS("kind: bybit, keys: [{account: a, key: k, secret: s}, {name: x, key: l, secret: t}]"),
     "t:5:63: providers[0].auth.keys[1]: keys[0] is for the same calls: give each an account or a "
     "name of its own"},
    {ACCOUNTS("kind: bybit, key: k, keys: [{account: a, key: k, secret: s}]"),
     "t:5:28: providers[0].auth.key: has no use beside keys: remove one"},
    {ACCOUNTS("kind: bybit, keys: [{account: a, key: k}]"),
     "t:5:30: providers[0].auth.keys[0].secret: missing: this kind signs with it"},
};

/* Line 5 is the login's route, line 8 the auth. */
#define SESSION(login, keys)                                                                   \
    "providers:\n- name: login\n  endpoints: [{name: e, url: 'https://h'}]\n  limits: [" LIMIT \
    "]\n  routes: [" login                                                                     \
    "]\n- name: p\n  endpoints: [{name: f, url: 'https://g'}]\n  auth: {" keys                 \
    "}\n  limits: [" LIMIT "]\n  routes: [" SIGNED "]\n"
#define LOGIN   "{name: r, method: POST, path: /t, cost: {l: 1}}"
#define CONSENT "{name: r, method: GET, path: /t, cost: {l: 1}}"

static const struct refusal session_refusal[] = {
    {SESSION(LOGIN, "kind: oauth2, refresh_token: t"),
     "t:8:9: providers[1].auth.sign_in: missing: by which route does weir sign itself in?"},
    {SESSION(LOGIN, "kind: oauth2, key: k, sign_in: {route: login.r}"),
     "t:8:9: providers[1].auth.refresh_token: missing: the refresh token that the exchange gave"},
    {SESSION(LOGIN, "kind: oauth2, refresh_token: 'a b', sign_in: {route: login.r}"),
     "t:8:39: providers[1].auth.refresh_token: must be printable ASCII without blanks: is there a "
     "line end behind it?"},
    {SESSION(LOGIN, "kind: oauth2, refresh_token: t, passphrase: p, sign_in: {route: login.r}"),
     "t:8:54: providers[1].auth.passphrase: has no use with this kind: remove it"},
    {SESSION(LOGIN, "kind: bearer, key: k, sign_in: {route: login.r}"),
     "t:8:41: providers[1].auth.sign_in: has no use with this kind, which needs no session: remove "
     "it"},
    {SESSION(LOGIN, "kind: bearer, key: k, refresh_token: t"),
     "t:8:47: providers[1].auth.refresh_token: has no use with this kind: remove it"},
    {SESSION(LOGIN, "kind: oauth2, refresh_token: t, sign_in: {route: login.s}"),
     "t:8:59: providers[1].auth.sign_in.route = \"login.s\": no such route: write it as "
     "provider.route, and below that provider's routes"},
    {SESSION("{name: r, transport: own, cost: {l: 1}}",
             "kind: oauth2, refresh_token: t, sign_in: {route: login.r}"),
     "t:8:59: providers[1].auth.sign_in.route = \"login.r\": has transport: own, so weir cannot "
     "call it"},
    {SESSION(LOGIN, "kind: oauth2, refresh_token: t, sign_in: {route: p.r}"),
     "t:8:59: providers[1].auth.sign_in.route = \"p.r\": has signed: true, and there is nothing to "
     "sign with before it was called"},
    {SESSION("{name: r, method: PUT, path: /t, cost: {l: 1}}",
             "kind: oauth2, refresh_token: t, sign_in: {route: login.r}"),
     "t:8:59: providers[1].auth.sign_in.route = \"login.r\": must be a POST or a GET"},
    {SESSION("{name: r, method: POST, path: /t/*, cost: {l: 1}}",
             "kind: oauth2, refresh_token: t, sign_in: {route: login.r}"),
     "t:8:59: providers[1].auth.sign_in.route = \"login.r\": must have a whole path: weir has "
     "nothing to put in the place of *"},
    {SESSION("{name: r, method: POST, path: /t, cost: {l: 1}, max_response: 1MiB}",
             "kind: oauth2, refresh_token: t, sign_in: {route: login.r}"),
     "t:8:59: providers[1].auth.sign_in.route = \"login.r\": must have a max_response of at most "
     "64KiB: its answer lies in locked memory"},
    {SESSION("{name: r, method: GET, path: /t, cost: {l: 1}, share: public, cache: 1s}",
             "kind: oauth2, refresh_token: t, sign_in: {route: login.r}"),
     "t:8:59: providers[1].auth.sign_in.route = \"login.r\": has cache: what signs in is shared "
     "with nobody"},
    {SESSION(LOGIN, "kind: oauth2, refresh_token: t, sign_in: {route: login.r, crumb: c}"),
     "t:8:75: providers[1].auth.sign_in.crumb = \"c\": has no use with kind: oauth2: remove it"},
    {SESSION(LOGIN,
             "kind: oauth2, refresh_token: t, sign_in: {route: login.r, crumb_route: login.r}"),
     "t:8:81: providers[1].auth.sign_in.crumb_route = \"login.r\": has no use with kind: oauth2: "
     "remove it"},
    {SESSION(LOGIN, "kind: oauth2, refresh_token: t, sign_in: {route: login.r, expired: [500]}"),
     "t:8:78: providers[1].auth.sign_in.expired[0] = \"500\": must be 400..499"},
    {SESSION(LOGIN, "kind: oauth2, refresh_token: t, sign_in: {margin: 1s}"),
     "t:8:51: providers[1].auth.sign_in.route: missing: must be printable ASCII; 1..255 bytes"},
    {"broker: {state_dir: none}\n" SESSION(
         LOGIN, "kind: oauth2, refresh_token: t, sign_in: {route: login.r}"),
     "t:9:16: providers[1].auth.kind = \"oauth2\": needs broker.state_dir: a refresh token is good "
     "for one use, and the next one must outlive a crash"},
    {SESSION(CONSENT, "kind: cookie"),
     "t:8:9: providers[1].auth.sign_in: missing: by which route does weir sign itself in?"},
    {SESSION(LOGIN, "kind: cookie, sign_in: {route: login.r}"),
     "t:8:41: providers[1].auth.sign_in.route = \"login.r\": must be a GET"},
    {SESSION(CONSENT, "kind: cookie, key: k, sign_in: {route: login.r}"),
     "t:8:29: providers[1].auth.key: has no use with this kind: remove it"},
    {SESSION(CONSENT, "kind: cookie, refresh_token: k, sign_in: {route: login.r}"),
     "t:8:39: providers[1].auth.refresh_token: has no use with this kind: remove it"},
    {SESSION(CONSENT, "kind: cookie, sign_in: {route: login.r, crumb: c}"),
     "t:8:33: providers[1].auth.sign_in.crumb_route: missing: where is the crumb fetched?"},
    {SESSION(CONSENT, "kind: cookie, sign_in: {route: login.r, crumb_route: login.r}"),
     "t:8:33: providers[1].auth.sign_in.crumb: missing: which parameter bears the crumb?"},
    {SESSION(CONSENT, "kind: cookie, sign_in: {route: login.r, server: s}"),
     "t:8:58: providers[1].auth.sign_in.server = \"s\": has no use with kind: cookie: remove it"},
    {SESSION(CONSENT, "kind: cookie, sign_in: {route: login.r, second_use: 1}"),
     "t:8:62: providers[1].auth.sign_in.second_use = \"1\": has no use with kind: cookie: remove "
     "it"},
    {SESSION(CONSENT, "kind: cookie, keys: [{key: k}], sign_in: {route: login.r}"),
     "t:8:30: providers[1].auth.keys: has no use with kind: cookie, which is of no account: remove "
     "it"},
};

struct warning {
    const char *text;
    const char *warning; /* the only one */
};

#define KRAKEN                                                                            \
    "  endpoints: [{name: e, url: 'https://h'}]\n  auth: {kind: kraken, key: k, secret: " \
    "c2Vj}\n"
#define ALONE(name, scope) "{name: " name ", kind: concurrency, quota: 1, scope: " scope "}"

static const struct warning auth_warning[] = {
    {DOC("",
         "  endpoints: [{name: e, url: 'https://h'}]\n  auth: {kind: bybit, key: k, secret: s}\n",
         LIMIT, SIGNED),
     "t:4:9: providers[0].auth: no clock is asked, so calls bear this machine's time: write clock, "
     "or see that NTP runs"},
    {DOC("", HOST "  clock: {source: host}\n  auth: {kind: bybit, key: k, secret: s}\n", LIMIT,
         SIGNED),
     "t:5:9: providers[0].auth: an endpoint is http://, so keys are sent readable for everybody on "
     "the way"},
    {DOC("", "  endpoints: [{name: e, url: 'https://h'}]\n  auth: {kind: bearer, key: k}\n", LIMIT,
         "{name: r, method: POST, path: /o, cost: {l: 1}}"),
     "t:4:9: providers[0].auth: no route has signed: true, so these keys are used by no call"},
    {DOC("",
         "  endpoints: [{name: e, url: 'https://h'}]\n  auth: {kind: kraken, key: k, secret: "
         "c2Vj}\n",
         LIMIT, SIGNED),
     "t:6:52: providers[0].routes[0].cost: two calls at once may overtake each other, and the "
     "exchange refuses the smaller nonce: let all signed routes cost one limit of kind concurrency "
     "with quota 1 and scope key, or give the key a nonce window there"},
    /* Each route alone, and not both together. */
    {DOC("", KRAKEN, ALONE("l", "key") ", " ALONE("m", "key"),
         SIGNED ", {name: s, method: POST, path: /s, cost: {m: 1}, signed: true}"),
     "t:6:52: providers[0].routes[0].cost: two calls at once may overtake each other, and the "
     "exchange refuses the smaller nonce: let all signed routes cost one limit of kind concurrency "
     "with quota 1 and scope key, or give the key a nonce window there"},
    /* One call of each instrument at a time: two of one key. */
    {DOC("", KRAKEN "  scopes: {instrument: [a, b]}\n", ALONE("l", "instrument"), SIGNED),
     "t:7:52: providers[0].routes[0].cost: two calls at once may overtake each other, and the "
     "exchange refuses the smaller nonce: let all signed routes cost one limit of kind concurrency "
     "with quota 1 and scope key, or give the key a nonce window there"},
};

/* Nonces arrive in their order: nothing is said. */
static const char *const in_order[] = {
    DOC("", KRAKEN, ALONE("l", "key") ", " ALONE("m", "key"),
        SIGNED ", {name: s, method: POST, path: /s, cost: {l: 1}, signed: true}, "
               "{name: t, method: GET, path: /t, cost: {m: 1}}"),
    DOC("", KRAKEN, ALONE("l", "ip"), SIGNED), /* of which there is one */
    DOC("", KRAKEN, ALONE("l", "key") ", " ALONE("m", "key"),
        SIGNED ", {name: s, method: POST, path: /s, cost: {l: 1, m: 1}, signed: true}"),
};

static void test_auth(void **state)
{
    (void)state;
    static struct weir_config_diag diag;
    refusals_check(auth_refusal, sizeof(auth_refusal) / sizeof(auth_refusal[0]));
    refusals_check(session_refusal, sizeof(session_refusal) / sizeof(session_refusal[0]));
    for (size_t i = 0; i < sizeof(auth_warning) / sizeof(auth_warning[0]); i++) {
        const char *text = auth_warning[i].text;
        struct weir_config *config = weir_config_parse(text, strlen(text), "t", &diag);
        assert_non_null(config);
        assert_int_equal(diag.warning_cnt, 1);
        assert_string_equal(diag.warning[0].text, auth_warning[i].warning);
        weir_config_free(config);
    }
    for (size_t i = 0; i < sizeof(in_order) / sizeof(in_order[0]); i++) {
        struct weir_config *config =
            weir_config_parse(in_order[i], strlen(in_order[i]), "t", &diag);
        if (config == NULL || diag.warning_cnt > 0) {
            fail_msg("%s", config == NULL ? diag.error[0].text : diag.warning[0].text);
        }
        weir_config_free(config);
    }
}

static void test_providers(void **state)
{
    (void)state;
    refusals_check(providers_refusal, sizeof(providers_refusal) / sizeof(providers_refusal[0]));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_providers),
        cmocka_unit_test(test_auth),
    };
    return cmocka_run_group_tests_name("config_messages_provider", tests, NULL, NULL);
}
