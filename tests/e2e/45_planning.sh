#!/bin/bash
# Planning from outside: forecasts, budgets, shadow mode, and replays of logs whose outcome was counted by hand.
# usage: 45_planning.sh WEIR WEIRD WEIR-SIM FOLDER-OF-LOGS        exit: 0 passed, 1 failed
set -u
weir=${1:?usage: 45_planning.sh WEIR WEIRD WEIR-SIM FOLDER-OF-LOGS}
weird=${2:?}
sim=${3:?}
logs=${4:?}

work=$(mktemp -d)
export WEIR_RUNTIME_DIR=$work/run WEIR_NAME=planning
unset XDG_RUNTIME_DIR
mkdir "$WEIR_RUNTIME_DIR"
pids=()
passed=0
failed=0
# shellcheck source=tests/support/promise.sh
source "$(dirname "$0")/../support/promise.sh"
trap 'rc=$?; kill -9 "${pids[@]}" 2>/dev/null; wait 2>/dev/null; promise_status $rc "$work"; rc=$?; rm -rf "$work"; exit $rc' EXIT

# is WHAT GOT WANTED-PATTERN
is() {
    # shellcheck disable=SC2053 # the right side is a pattern on purpose
    if [[ $2 == $3 ]]; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        printf 'FAILED %s\n  got:    %s\n  wanted: %s\n' "$1" "$2" "$3"
    fi
}

# run ARGUMENTS: sets $out, $err, $rc
run() {
    out=$("$weir" "$@" 2>"$work/err")
    rc=$?
    err=$(<"$work/err")
}

# q EXPRESSION: of the JSON in $out, as `d`; l(NAME) is the limit of this name
q() {
    python3 -c '
import json, sys
d = json.load(sys.stdin)
def limits(o):
    if isinstance(o, dict):
        for k, v in o.items():
            if k == "limits": yield from v
            else: yield from limits(v)
    elif isinstance(o, list):
        for v in o: yield from limits(v)
def l(name): return next(x for x in limits(d) if x["name"] == name)
print(eval(sys.argv[1]))' "$1" <<<"$out" 2>&1
}

until_true() {
    local end=$((SECONDS + $1))
    shift
    while ! "$@" >/dev/null 2>&1; do
        [ $SECONDS -lt $end ] || return 1
        sleep 0.1
    done
}

# ------------------------------------------------------------------------------------------------ replay

# Counted by hand. A minute of 10 units, of which 20 % are kept for critical: with 50 s to go medium leaves 3, low 4. Two depths (3 each) pass, the
# low one does not (6+3+4), the critical one does (9), an order fills it, an order and a critical depth are too much; in the next
# minute two orders of sub pass, its third is refused by orders, main's dear one fills the minute, and 11 units never fit.
test_replay_window() {
    run replay "$logs/window.yaml" "$logs/window.jsonl" --json
    is 'window: exit' "$rc $err" '0 '
    is 'window: calls' "$(q 'd["calls"], d["made"], d["refused"], d["unreadable"], d["out_of_order"]')" '(12, 7, 5, 0, 0)'
    is 'window: weight' "$(q 'list(l("venue.weight")["refused"].values())')" '\[3, 0, 0, 1, 0\]'
    is 'window: for ever' "$(q 'l("venue.weight")["refused_for_ever"]')" 1
    is 'window: orders' "$(q 'list(l("venue.orders")["refused"].values())')" '\[1, 0, 0, 0, 0\]'
    is 'window: windows' "$(q '[(w["start"], w["scope"], w["calls"], w["units"], w["refused"]) for n in ("venue.weight", "venue.orders") for w in l(n)["bad_windows"]]')" \
        "\[('2026-11-22T06:41:00Z', 'ip', 7, 17, 3), ('2026-11-22T06:42:00Z', 'ip', 5, 22, 1), ('2026-11-22T06:42:00Z', 'account=sub', 3, 3, 1)\]"
    is 'window: no violation' "$(q '[sum(x["violations"].values()) for x in d["limits"]]')" '\[0, 0\]'
    run replay "$logs/window.yaml" "$logs/window.jsonl" --json --as-sent
    is 'window as sent' "$(q 'd["mode"], d["made"], list(l("venue.weight")["violations"].values()), [w["violations"] for w in l("venue.weight")["bad_windows"]], sum(l("venue.orders")["violations"].values())')" \
        "('as_sent', 12, \[6, 0, 0, 0, 0\], \[4, 2\], 1)"
    run replay "$logs/window.yaml" "$logs/window.jsonl"
    is 'window: text' "$out" '*12 calls, 2026-11-22T06:41:10Z .. 2026-11-22T06:42:00.006Z*7 granted, 5 refused (41.67 %)*venue.weight*3/0/0/1/0*the worst windows*'
}

# 8 units, 2 a second, 25 % kept for critical, so medium has 5. At once: 6 medium (one refused), 4 critical (one refused). A unit takes 500.05 ms: at 500 ms
# it is not back, at 501 ms it is. At 2.6 s medium passes once. An exchange that refills exactly has one unit at 500 ms and none at 501.
test_replay_bucket() {
    run replay "$logs/bucket.yaml" "$logs/bucket.jsonl" --json
    is 'bucket' "$rc $(q 'd["made"], list(l("venue.smooth")["refused"].values()), sum(l("venue.smooth")["violations"].values())')" \
        '0 (10, \[2, 0, 2, 0, 0\], 0)'
    run replay "$logs/bucket.yaml" - --json --as-sent <"$logs/bucket.jsonl"
    is 'bucket as sent' "$(q 'd["log"], list(l("venue.smooth")["violations"].values())')" "('-', \[3, 0, 0, 0, 0\])"
}

# A day of New York begins at 04:00 UTC in July, so the fourth call of a is the fourth of its day and the fifth the first of the next. Of b 2 pass in any
# second. An order that succeeds is not counted: three do, one fails, one is not known to have ended well, and then both units are gone.
test_replay_kinds() {
    run replay "$logs/kinds.yaml" "$logs/kinds.jsonl" --json
    is 'kinds' "$rc $(q '[(x["name"], sum(x["refused"].values()), sum(x["violations"].values())) for x in d["limits"]]')" \
        "0 \[('venue.daily', 1, 0), ('venue.roll', 1, 0), ('venue.open', 0, 0), ('venue.orders', 1, 0)\]"
    is 'kinds: the day' "$(q 'l("venue.daily")["bad_windows"][0]["start"], l("venue.open")["judged"]')" "('2024-07-03T04:00:00Z', False)"
    run replay "$logs/kinds.yaml" "$logs/kinds.jsonl" --json --as-sent
    is 'kinds as sent' "$(q '[sum(x["violations"].values()) for x in d["limits"]]')" '\[1, 2, 0, 0\]'
}

# Three calls of one second are spread over it; a line of an earlier second is judged late; base paths and whole URLs are known.
test_replay_access_log() {
    run replay "$logs/window.yaml" "$logs/access.log" --json
    is 'access' "$rc $(q 'd["lines"], d["calls"], d["unreadable"], d["unknown_route"], d["out_of_order"], d["last"]')" \
        "0 (7, 5, 1, 1, 1, '2026-11-22T06:41:01.500Z')"
    is 'access: classes' "$(q 'list(l("venue.weight")["refused"].values())')" '\[0, 0, 1, 0, 1\]'
    is 'access: line' "$err" '*access.log:5: request = DELETE /api/v3/order: no route has this path*access.log:6: is 2000 ms older*access.log:7: time = ?31/Feb*'
    run replay "$logs/window.yaml" "$logs/access.log" --json --keep-time
    is 'access: kept' "$(q 'd["last"]')" '2026-11-22T06:41:01Z'
}

# 20 000 random calls: what permits let through is above no quota, and as sent the count is that of a dozen lines of python.
test_replay_random() {
    python3 - "$work" <<'EOF2'
import json, random, sys
random.seed(11)
t, over, sums = 1795329720 * 10**9, 0, {}
cost = {"depth": 3, "any": 1, "order": 1}
with open(sys.argv[1] + "/random.jsonl", "w") as f:
    for _ in range(20000):
        t += random.randrange(3 * 10**9)
        route = random.choice(list(cost))
        k = t // (60 * 10**9)
        sums[k] = sums.get(k, 0) + cost[route]
        over += sums[k] > 10
        f.write(json.dumps({"at": t, "route": "venue." + route, "priority": random.choice(["critical", "high", "medium", "low", "background"])}) + "\n")
open(sys.argv[1] + "/random.count", "w").write("%d %d" % (over, sum(v > 10 for v in sums.values())))
EOF2
    run replay "$logs/window.yaml" "$work/random.jsonl" --json
    is 'random: no violation' "$rc $(q '[sum(x["violations"].values()) for x in d["limits"]], d["refused"] > 1000, d["made"] > 1000')" '0 (\[0, 0\], True, True)'
    run replay "$logs/window.yaml" "$work/random.jsonl" --json --as-sent
    is 'random: as sent' "$(q '"%d %d" % (sum(l("venue.weight")["violations"].values()), l("venue.weight")["bad_windows_cnt"])')" "$(<"$work/random.count")"
}

test_replay_bad_input() {
    run replay
    is 'replay: usage' "$rc $err" '1 weir: replay: wants a configuration and a log: see weir replay --help'
    run replay --zork a b
    is 'replay: option' "$rc $err" "1 weir: replay: unknown option '--zork'*"
    run replay "$logs/window.yaml" "$work/nothing"
    is 'replay: no log' "$rc $err" '1 weird: cannot replay: */nothing: No such file or directory'
    run replay "$work/nothing.yaml" "$logs/window.jsonl"
    is 'replay: no configuration' "$rc $err" '2 error: */nothing.yaml: cannot be read:*'
    run replay "$logs/window.yaml" "$logs/access.log" --provider zork
    is 'replay: provider' "$rc $err" '1 weird: cannot replay: zork: the configuration has no such provider'
    head -c 300000 /dev/urandom >"$work/noise"
    run replay "$logs/window.yaml" "$work/noise"
    is 'replay: noise' "$rc $out $err" '1  *more lines like these*no line is a call of this configuration*'
    { head -c 70000 /dev/zero | tr '\0' x; echo; head -1 "$logs/window.jsonl"; printf '%s' '{"at"'; } >"$work/long"
    run replay "$logs/window.yaml" "$work/long" --json
    is 'replay: a long line' "$rc $(q 'd["calls"], d["unreadable"]') $err" '0 (1, 2) *long:1: longer than 65536 bytes*long:3: no JSON object*'
    "$weird" --config "$logs/window.yaml" --as-sent >/dev/null 2>"$work/err"
    is 'weird: stray option' "$? $(<"$work/err")" '1 weird: --as-sent, --keep-time, --provider and --json want --replay LOG'
}

# ------------------------------------------------------------------------------------------------ a live broker

scope_of() { q "next(s for s in l('$1')['scopes'] if s['scope'] == '$2')['$3']"; }

paced() { "$weir" limits --forecast --json | python3 -c '
import json, sys
limits = json.load(sys.stdin)["providers"][0]["limits"]
sys.exit(not (limits[0]["scopes"][0]["pace_per_s"] or 0) > 0)'; }

test_forecast() {
    run limits --forecast
    is 'forecast: nothing used' "$rc $out" '0 exchange  at * UTC*LIMIT *PACE*LASTS*DEAREST CALL*PASSES*weight_1m*depth 5 medium*now*'
    for _ in 1 2 3 4 5 6 7 8; do
        run call exchange.depth symbol=BTCUSDT
        is 'call' $rc 0
    done
    run call exchange.rare
    is 'call: rare' $rc 0
    until_true 5 paced
    run limits --forecast --json
    is 'forecast: json' "$rc $(scope_of daily account=main used_units) $(scope_of daily account=sub used_units)" '0 8 0'
    is 'forecast: pace' "$(q 'l("weight_1m")["scopes"][0]["pace_per_s"] > 0 and l("weight_1m")["scopes"][0]["pace_over_ns"] > 0')" True
    is 'forecast: a rolling window' "$(q '(lambda s: (s["used_units"], s["pace_per_s"] > 0, s["earliest_in_ns"]))(l("roll")["scopes"][0])')" '(16, True, 0)'
    is 'forecast: in flight' "$(q 'l("open")["scopes"][0]["pace_per_s"]')" None
    is 'forecast: nobody takes' "$(scope_of daily account=sub pace_per_s)" 0.0
    is 'forecast: dearest' "$(q 'l("weight_1m")["dearest"]')" "{'route': 'exchange.depth', 'units': 5, 'priority': 'medium'}"
    # one unit an hour, and it is taken: what passes next passes when the window ends
    is 'forecast: full' "$(q '(lambda s: s["earliest_in_ns"] >= s["reset_in_ns"] > 0 and s["empty_in_ns"] == 0)(l("rare")["scopes"][0])')" True
    is 'forecast: free' "$(scope_of daily account=main earliest_in_ns)" 0
    run limits --forecast
    is 'forecast: text' "$out" '*rare*1/1*100*FULL*'
    run limits --budget
    is 'budget' "$rc $out" '0 exchange  at *BUDGET*BURN*VERDICT*daily*account=main*#*8/1000*rare*1/1*SPENT until *'
    run limits --budget --json
    is 'budget: json' "$(q '[x["name"] for x in d["providers"][0]["limits"]]')" "\['daily', 'rare'\]"
    is 'budget: used' "$(scope_of daily account=main budget)" "{'used_ppm': 8000, 'window_gone_ppm':*"
    run inspect --save "$work/board.img"
    run limits --forecast --image "$work/board.img"
    is 'forecast of a file' "$rc $out" '0 exchange?*rare*FULL*'
    run limits --forecast --budget
    is 'forecast: two views' "$rc $err" '1 weir: limits: *views of their own: give one'
    run limits --forecast --watch 0.2 --zork
    is 'forecast: option' $rc 1
}

# 8 calls of depth and one of rare; the other configuration allows 5 a day, has no route `rare`, and knows no `weight_1m`.
test_shadow() {
    run limits --shadow --json
    is 'shadow: exact' "$rc $(q 'd["shadow"]["brokered_would_refuse"], d["shadow"]["traders"], d["shadow"]["unknown_route"]')" '0 (3, 0, 1)'
    is 'shadow: limit' "$(q 'list(l("exchange.daily")["would_refuse_brokered"].values()), l("exchange.daily")["live_quota_units"], l("exchange.other")["live_quota_units"]')" \
        '(\[0, 0, 3, 0, 0\], 1000, None)'
    run limits --shadow
    is 'shadow: text' "$out" "*/shadow.yaml, judged beside the live one*3 would have been refused*exchange.daily*(new)*"
    run inspect --check
    is 'shadow: check' "$rc $out" '0 *0 findings'
}

test_shadow_refused() {
    sed 's/quota: 5/quota: 0/' "$work/shadow.yaml" >"$work/bad.yaml"
    "$weird" --config "$work/weir.yaml" --shadow "$work/bad.yaml" >/dev/null 2>"$work/err"
    is 'shadow: broken' "$? $(<"$work/err")" '2 error: */bad.yaml:4:*quota = "0": must be 1..2147483647*'
    "$weird" --config "$work/weir.yaml" --shadow "$work/shadow.yaml" --check >"$work/out" 2>&1
    is 'shadow: checked' "$? $(<"$work/out")" '0 *ok*'
}

clock_known() { "$weir" limits --json | grep -q '"state": "known"'; }

broker_start() {
    "$sim" >"$work/sim.out" 2>"$work/sim.err" &
    pids+=($!)
    until_true 5 grep -q listening "$work/sim.out" || { echo "weir-sim did not start"; exit 1; }
    local url
    url=http://$(sed -n 's/^weir-sim listening on //p' "$work/sim.out")
    cat >"$work/weir.yaml" <<EOF2
broker: {name: planning}
providers:
  - name: exchange
    clock: {path: /api/v3/time, field: serverTime, max_jitter: 50ms}
    limits:
      - {name: weight_1m, kind: fixed_window, quota: 6000, window: 1m, scope: ip, headroom: {critical: 10%}}
      - {name: daily, kind: fixed_window, quota: 1000, window: 1d, scope: account}
      - {name: rare, kind: fixed_window, quota: 1, window: 1h, scope: key}
      - {name: roll, kind: sliding_window, quota: 50, window: 1m, scope: instrument}
      - {name: open, kind: concurrency, quota: 4, scope: instrument}
    scopes: {account: [main, sub]}
    endpoints: [{name: api, url: "$url"}]
    routes:
      - {name: depth, method: GET, path: /api/v3/depth, cost: {weight_1m: 5, daily: 1, roll: 2}}
      - {name: rare, method: GET, path: /api/v3/ping, cost: {rare: 1, open: 1}}
EOF2
    cat >"$work/shadow.yaml" <<EOF2
providers:
  - name: exchange
    limits:
      - {name: daily, kind: fixed_window, quota: 5, window: 1d, scope: account}
      - {name: other, kind: token_bucket, quota: 100, window: 1s}
    clock: {path: /api/v3/time, field: serverTime, max_jitter: 50ms}
    scopes: {account: [main, sub]}
    endpoints: [{name: api, url: "$url"}]
    routes:
      - {name: depth, method: GET, path: /api/v3/depth, cost: {daily: 1, other: 1}}
EOF2
    "$weird" --config "$work/weir.yaml" --shadow "$work/shadow.yaml" --state-dir none >"$work/weird.out" 2>"$work/weird.err" &
    pids+=($!)
    until_true 15 clock_known || { echo "weird did not start: $(<"$work/weird.err")"; exit 1; }
}

PATH=$(dirname "$weird"):$PATH # weir replay becomes weird
test_replay_window
test_replay_bucket
test_replay_kinds
test_replay_access_log
test_replay_random
test_replay_bad_input
broker_start
test_forecast
test_shadow
test_shadow_refused
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
