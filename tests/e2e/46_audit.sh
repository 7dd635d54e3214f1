#!/bin/bash
# weir audit from outside: what calls leave behind, by time, client and limit; followed, saved, overwritten; and replayed.
# usage: 46_audit.sh WEIR WEIRD WEIR-SIM        exit: 0 passed, 1 failed
set -u
weir=${1:?usage: 46_audit.sh WEIR WEIRD WEIR-SIM}
weird=${2:?}
sim=${3:?}

work=$(mktemp -d)
export WEIR_RUNTIME_DIR=$work/run WEIR_NAME=e2e
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

until_true() {
    local end=$((SECONDS + $1))
    shift
    while ! "$@" >/dev/null 2>&1; do
        [ $SECONDS -lt $end ] || return 1
        sleep 0.1
    done
}

clock_known() { "$weir" limits --json | grep -q '"state": "known"'; }

# broker_start AUDIT
broker_start() {
    cat >"$work/weir.yaml" <<EOF2
broker: {name: e2e, audit: $1}
providers:
  - name: exchange
    clock: {path: /api/v3/time, field: serverTime, interval: 1h, max_jitter: 50ms}
    scopes: {account: [main, sub]}
    limits:
      - {name: weight_1m, kind: fixed_window, quota: 6000, window: 1m}
      - {name: orders, kind: fixed_window, quota: 100, window: 10s, scope: account}
    endpoints: [{name: api, url: "http://$address"}]
    routes:
      - {name: depth, method: GET, path: /api/v3/depth, cost: {weight_1m: 5}}
      - {name: order, method: POST, path: /api/v3/order, cost: {weight_1m: 1, orders: 1}, priority: critical}
EOF2
    "$weird" --config "$work/weir.yaml" --state-dir none >"$work/weird.out" 2>"$work/weird.err" &
    broker=$!
    pids+=("$broker")
    until_true 15 clock_known || { echo "weird did not start: $(<"$work/weird.err")"; exit 1; }
}

broker_stop() {
    kill "$broker"
    wait "$broker"
}

# lines PATTERN: of $out
lines() { grep -c -- "$1" <<<"$out"; }

# q EXPRESSION: python over the lines of $work/log as `d`
q() { python3 -c 'import json, sys; d = [json.loads(line) for line in open(sys.argv[2])]; print(eval(sys.argv[1]))' "$1" "$work/log"; }

# r EXPRESSION: python over the report in $out as `r`
r() { python3 -c 'import json, sys; r = json.load(sys.stdin); print(eval(sys.argv[1]))' "$1" <<<"$out"; }

# All taken: the worker looks every 10 ms.
settle() { until_true 20 test "$("$weir" audit --json | grep -c '"audit":"ended"')" -ge "$1"; }

test_usage() {
    run audit --zork
    is 'option' "$rc $err" "1 weir: audit: unknown option '--zork': see weir audit --help"
    run audit zork
    is 'argument' "$rc $err" "1 weir: audit: 'zork' is one argument too many: see weir audit --help"
    for when in yesterday 2026-11-22 2026-02-30T00:00:00Z 5d -3 ''; do
        run audit "--since=$when"
        is "since $when" "$rc $err" "1 weir: audit: --since=$when: is neither a duration up to a day (10m, 90s) nor an instant such as 2026-11-22T06:41:35Z"
    done
    run audit --follow --image "$work/none"
    is 'follow a file' "$rc $err" '1 weir: audit: --follow and --image exclude each other: a saved board does not change'
    run audit
    is 'no broker' "$rc $err" '4 weir: cannot attach: name=e2e *'
    run audit --help
    is 'help' "$rc $out" '0 usage: weir audit*'
}

test_none_is_kept() {
    broker_start 0
    run audit
    is 'none' "$rc $out $err" '1  weir: audit: this broker keeps no audit: set broker.audit in its configuration'
    broker_stop
}

test_calls() {
    for _ in 1 2 3 4; do
        "$weir" call exchange.depth symbol=BTCUSDT limit=5 >/dev/null 2>&1
    done
    "$weir" call --scope account=sub exchange.order symbol=BTCUSDT side=BUY type=MARKET quantity=1 >/dev/null 2>&1
    settle 5
    run audit
    is 'text' "$rc $out" '0 AT *CLIENT*EVENT*WHAT*weird*worker*incarnation 1*weir_call*broker*granted*medium*exchange.depth  weight_1m 5*ended*exchange.depth  done 200*critical*exchange.order  account=sub  weight_1m 1  orders 1*ended*'
    is 'rows' "$(lines ' granted .*exchange.depth') $(lines ' ended ')" '4 5'
    run audit --limit orders
    is 'by limit' "$(lines ' granted ') $(lines ' ended ') $(lines 'depth')" '1 1 0'
    run audit --limit exchange.zork
    is 'by no limit' "$rc $(lines exchange)" '0 0'
    run audit --client weir_call --json
    is 'by client' "$(lines '"client":"weir_call"') $(lines '"client":"weird"')" '10 1' # and that a worker began
    run audit --client nobody
    is 'by nobody' "$rc $(lines exchange)" '0 0'
    run audit --since 60m
    is 'since an hour' "$(lines ' ended ')" 5
    run audit --since 2031-01-01T00:00:00Z
    is 'since the future' "$rc $(lines ' ended ')" '0 0'
    run inspect --check
    is 'check' "$rc $out" '0 *0 findings'
    "$weir" inspect --save "$work/board.img"
    run audit --image "$work/board.img"
    is 'of a file' "$rc $(lines ' ended ')" '0 5'
}

# What is exported is what was taken, and replayed it is as much again.
test_replay() {
    "$weir" audit --json >"$work/log"
    is 'order of time' "$(q 'all(a["at"] <= b["at"] for a, b in zip(d, d[1:]))')" True
    is 'numbers' "$(q 'sorted(x["number"] for x in d) == list(range(1, len(d) + 1))')" True
    local granted units
    granted=$(q 'sum(x["audit"] == "granted" for x in d)')
    units=$(q 'sum(x["charged"]["weight_1m"] for x in d if "charged" in x)')
    is 'what the calls cost' "$(q 'sum(x["charged"]["weight_1m"] for x in d if "charged" in x and x["client"] == "weir_call")')" 21
    for how in '' --as-sent; do
        # shellcheck disable=SC2086 # none or one word
        out=$("$weir" replay "$work/weir.yaml" - --json $how <"$work/log")
        is "replay $how" "$(r 'r["calls"], r["made"], r["refused"], r["unreadable"], r["unknown_route"], r["out_of_order"], r["missing"]')" "($granted, $granted, 0, 0, 0, 0, 0)"
        is "replay $how: units" "$(r '[l["units"] for l in r["limits"]]')" "\[$units, 1\]"
    done
    # a tighter configuration refuses some of it
    sed 's/quota: 6000/quota: 12/' "$work/weir.yaml" >"$work/tight.yaml"
    out=$("$weir" audit --json | "$weir" replay "$work/tight.yaml" - --json) # another probe may have come
    is 'replay: tighter' "$(r "r['calls'] >= $granted, r['refused'] > 0")" "(True, True)"
}

test_follow() {
    "$weir" audit --follow --json --since 1ms >"$work/log" 2>"$work/follow.err" &
    local follower=$!
    pids+=("$follower")
    sleep 0.3
    for _ in 1 2 3; do
        "$weir" call exchange.depth symbol=BTCUSDT limit=5 >/dev/null 2>&1
    done
    until_true 20 sh -c "[ \$(grep -c '\"ended\"' '$work/log') = 3 ]"
    kill -INT "$follower"
    wait "$follower"
    is 'follow: exit' "$? $(<"$work/follow.err")" '0 '
    is 'follow' "$(q '[x["audit"] for x in d]')" "\['granted', 'ended', 'granted', 'ended', 'granted', 'ended'\]"
    rm "$work/log" # what is waited for below is the new follower's
    "$weir" audit --follow >"$work/log" 2>"$work/follow.err" &
    follower=$!
    pids+=("$follower")
    until_true 20 grep -q ended "$work/log"
    broker_stop
    until_true 20 grep -q 'the broker has ended: trying again' "$work/follow.err"
    broker_start 64
    until_true 20 sh -c "[ \$(grep -c 'incarnation 1' '$work/log') = 2 ]"
    is 'follow: the next broker' "$(grep -c 'incarnation 1' "$work/log")" 2
    kill "$follower"
    wait "$follower"
}

test_overwritten() {
    for _ in {1..40}; do
        "$weir" call exchange.depth symbol=BTCUSDT limit=5 >/dev/null 2>&1
    done
    until_true 20 sh -c "'$weir' audit --json | grep -q '\"number\":8[0-9]'"
    "$weir" audit --json >"$work/log"
    is 'lost: kept' "$(q 'sum(x["audit"] != "lost" for x in d)')" 64
    is 'lost: said first' "$(q 'd[0]["audit"], d[0]["count"] == max(x.get("number", 0) for x in d) - 64')" "('lost', True)"
    run audit
    is 'lost: text' "$out" '*-- * records were overwritten before they were read here*'
    run replay "$work/weir.yaml" "$work/log"
    is 'lost: replay' "$out" "*the audit lacks $(q 'd[0]["count"]') records: calls among them are not counted here*"
    run audit --since 1ms
    is 'lost: not asked for' "$(lines overwritten)" 0
    broker_stop
}

# Not across the edge of a minute, where a call is charged to both and a broker that starts counts on the worst.
second=$((10#$(date +%S)))
[ $second -gt 1 ] && [ $second -lt 45 ] || sleep $(((62 - second) % 60))
"$sim" >"$work/sim.out" 2>"$work/sim.err" &
pids+=($!)
until_true 20 grep -q listening "$work/sim.out" || { echo "weir-sim did not start"; exit 1; }
address=$(sed -n 's/^weir-sim listening on //p' "$work/sim.out")
PATH=$(dirname "$weird"):$PATH # weir replay becomes weird
test_usage
test_none_is_kept
broker_start 5000
test_calls
test_replay
test_follow
test_overwritten
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
