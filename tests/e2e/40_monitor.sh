#!/bin/bash
# weir from outside, against a living broker, a broken one and none: texts, JSON and exit codes.
# usage: 40_monitor.sh WEIR WEIRD WEIR-SIM        exit: 0 passed, 1 failed
set -u
weir=${1:?usage: 40_monitor.sh WEIR WEIRD WEIR-SIM}
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

# until SECONDS COMMAND...: whether it came true in time
until_true() {
    local end=$((SECONDS + $1))
    shift
    while ! "$@" >/dev/null 2>&1; do
        [ $SECONDS -lt $end ] || return 1
        sleep 0.1
    done
}

broker_start() {
    "$weird" --config "$work/weir.yaml" --state-dir none >"$work/weird.out" 2>"$work/weird.err" &
    broker=$!
    pids+=("$broker")
    # a broker that follows a dead one waits for the lease of that one to end
    until_true 15 "$weir" stat || { echo "weird did not start: $(<"$work/weird.err")"; exit 1; }
}

# number KEY: a number from the JSON in $out, by the first line that has the key
number() { sed -n "s/^ *\"$1\": \([0-9]*\),*\$/\1/p" <<<"$out" | head -1; }

test_without_broker() {
    run stat
    is 'absent: exit' $rc 4
    is 'absent: text' "$err" "weir: cannot attach: name=e2e path=*/e2e/default.sock: no broker runs under this name: start it*"
    is 'absent: nothing on stdout' "$out" ''
    run limits --nonsense
    is 'usage: exit' $rc 1
    is 'usage: text' "$err" "weir: limits: unknown option '--nonsense': see weir limits --help"
    run zork
    is 'command: text' "$err" "weir: unknown command 'zork': it is one of stat, limits, audit, call, ctl, replay, inspect"
    run stat --name a/b
    is 'name: text' "$err" "*'a/b' is no name: use letters, digits,*"
    run --version
    is 'version' "$out" 'weir [0-9]*'
    for command in stat limits audit call ctl inspect; do
        run $command --help
        is "help of $command" "$rc $out" "0 usage: weir $command*"
    done
    run inspect --json
    is 'inspect: no JSON' "$rc $err" "1 weir: inspect: unknown option '--json': see weir inspect --help"
    run inspect --journal
    is 'inspect: a journal has a file' "$rc $err" "1 weir: inspect: option '--journal' wants a value: see weir inspect --help"
    run inspect --layout
    is 'layout' "$rc $out" '0 weir_shm_section - 0 24*weir_shm_gate lease_until_ns 0 8*'
    head -c 5000 /dev/urandom >"$work/noise"
    run inspect --check --image "$work/noise"
    is 'noise: exit' $rc 5
    run stat --image "$work/nothing"
    is 'no image: exit' $rc 4
}

clock_known() { "$weir" limits --json | grep -q '"state": "known"'; }

test_alive() {
    until_true 10 clock_known
    run stat
    is 'stat' "$rc $out" '0 broker e2e: up*supervisor*worker*lease*endpoints*exchange.api*routes*exchange.depth*clients*'
    is 'stat: no message' "$err" ''
    run limits
    is 'limits' "$rc $out" '0 exchange*clock*pause*weight_1m*6000*orders*account=sub*smooth*bucket*'
    run limits --routes
    is 'routes' "$out" '*exchange.depth*GET*medium*2s*weird*weight_1m 5*exchange.order*POST*critical*'
    for command in 'stat --json' 'limits --json' 'limits --routes --json'; do
        # shellcheck disable=SC2086 # two words on purpose
        run $command
        is "$command" "$rc $(python3 -m json.tool <<<"$out" >/dev/null && echo json)" '0 json'
    done
    run inspect --check
    is 'check' "$rc $out" '0 board of e2e: *0 findings'
    run inspect --dump gate
    is 'dump' "$rc $out" '0 gate?0?.lease_until_ns 0x*'
    run inspect --dump zork
    is 'dump: unknown' "$rc $err" "1 weir: inspect: the board has no section 'zork'*"
    run stat --domain other
    is 'domain' "$rc $err" "4 *the broker has no domain 'other'*"
    run inspect --save "$work/board.img"
    is 'save' $rc 0
    run inspect --check --image "$work/board.img"
    is 'check of a file' "$rc $out" '0 *0 findings'
    run limits --image "$work/board.img"
    is 'limits of a file' "$rc $out" '0 exchange*weight_1m*'
}

test_call() {
    run limits --json
    local before
    before=$(number used_units)
    run call exchange.depth symbol=BTCUSDT limit=5
    is 'call' "$rc $out" '0 {"lastUpdateId":*'
    is 'call: outcome' "$err" 'weir: exchange.depth: done, status 200, * bytes*weir: time: queue *permit *server *; total *'
    sleep 0.1
    run limits --json
    is 'call: seen in limits' $(($(number used_units) - before >= 5)) 1
    run limits --by client
    is 'by client: whoever called has left' "$rc $out" '0 no client that is attached has taken anything yet'
    run limits --by client --json
    is 'by client: json' "$rc $(python3 -m json.tool <<<"$out" >/dev/null && echo json) $out" '0 json *"uses": *'
    run limits --by limit
    is 'by what' "$rc $err" '1 weir: limits: --by=limit: usage is listed by client: write --by client'
    run call exchange.echo 'a b=c&d' --header 'X-Test: yes'
    is 'call: encoded' "$rc $err $out" '0 *"query":{"a b":"c&d"}*'
    run call exchange.bytes --path 20 --json
    is 'call: json' "$rc $out" '0 {*"result": "done"*"body": "abcdefghijklmnopqrst"*'
    run call exchange.missing
    is 'call: 404' $rc 7
    run call exchange.zork
    is 'call: route' "$rc $err" '1 weir: cannot call: route=exchange.zork: the configuration has no such route*'
    run call exchange.depth symbol
    is 'call: pair' "$rc $err" "1 weir: call: 'symbol' is no key=value*"
    run call exchange.refused --timeout 100ms
    run call exchange.refused --timeout 100ms
    is 'call: refused' "$rc $err" '8 weir: exchange.refused: refused: limit_full*'
}

test_deaths() {
    run stat --json
    local worker
    worker=$(sed -n '/"worker"/,$p' <<<"$out" | sed -n 's/^ *"pid": \([0-9]*\),*$/\1/p' | head -1)
    "$weir" stat --watch 0.2 >"$work/watch.out" 2>"$work/watch.err" &
    local watch=$!
    pids+=("$watch")
    for _ in {1..100}; do # it has begun: before, it could not see a change
        [ ! -s "$work/watch.out" ] || break
        sleep 0.1
    done
    sleep 0.5
    kill -9 "$worker"
    sleep 1
    for _ in {1..100}; do
        ! grep -q 'incarnation 1 -> 2' "$work/watch.err" || break
        sleep 0.1
    done
    run stat
    is 'worker killed' "$rc $out" '0 broker e2e: up*incarnation 2*restarts    1, the last death *'
    is 'watch: worker' "$(<"$work/watch.err")" '*the worker was restarted: incarnation 1 -> 2*'

    kill -STOP "$broker"
    run stat
    is 'stopped' "$rc $err" '3 *the broker did not answer within 2 s: it is stopped or stuck*'
    kill -9 "$broker"
    wait "$broker" 2>/dev/null
    run stat
    is 'dead' "$rc $err" '3 *the broker is dead: its socket is left*'
    run call exchange.ping
    is 'dead: call' $rc 3
    sleep 0.5
    is 'watch: dead' "$(<"$work/watch.err")" '*name=e2e: the broker has ended*(trying again)*'
    broker_start
    sleep 0.8
    is 'watch: another broker' "$(<"$work/watch.err")" '*name=e2e: another broker answers now*'
    is 'watch: rates' "$(<"$work/watch.out")" '*permits/s*'
    kill -INT "$watch"
    wait "$watch"
    is 'watch: exit' $? 0
    kill -TERM "$broker"
    wait "$broker"
    run stat
    is 'after the end' $rc '[34]'
}

"$sim" >"$work/sim.out" 2>"$work/sim.err" &
pids+=($!)
until_true 5 grep -q listening "$work/sim.out" || { echo "weir-sim did not start"; exit 1; }
cat >"$work/weir.yaml" <<EOF
broker: {name: e2e, memory: 64MiB}
providers:
  - name: exchange
    clock: {path: /api/v3/time, field: serverTime, max_jitter: 50ms}
    limits:
      - {name: weight_1m, kind: fixed_window, quota: 6000, window: 1m, scope: ip, headroom: {critical: 10%}}
      - {name: orders_10s, kind: fixed_window, quota: 100, window: 10s, scope: account}
      - {name: smooth, kind: token_bucket, quota: 10, window: 1s, burst: 20}
      - {name: rare, kind: fixed_window, quota: 1, window: 1h, scope: account}
    scopes: {account: [main, sub]}
    endpoints:
      - {name: api, url: "http://$(sed -n 's/^weir-sim listening on //p' "$work/sim.out")", role: primary, connections: 4}
    routes:
      - {name: ping, method: GET, path: /api/v3/ping, cost: {weight_1m: 1}}
      - {name: depth, method: GET, path: /api/v3/depth, cost: {weight_1m: 5, smooth: 1}, timeout: 2s}
      - {name: bytes, method: GET, path: /bytes/*, cost: {weight_1m: 1}}
      - {name: echo, method: GET, path: /echo, cost: {weight_1m: 1}, headers: [X-Test]}
      - {name: missing, method: GET, path: /zork, cost: {weight_1m: 1}}
      - {name: refused, method: GET, path: /api/v3/ping, cost: {rare: 1}}
      - {name: order, method: POST, path: /api/v3/order, cost: {weight_1m: 1, orders_10s: 1}, priority: critical}
EOF

test_without_broker
broker_start
test_alive
test_call
test_deaths
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
