#!/bin/bash
# weir ctl from outside: what it does, what it refuses to whom, what monitors and the log say of it.
# usage: 41_ctl.sh WEIR WEIRD WEIR-SIM        exit: 0 passed, 1 failed
set -u
weir=${1:?usage: 41_ctl.sh WEIR WEIRD WEIR-SIM}
weird=${2:?}
sim=${3:?}

work=$(mktemp -d)
chmod 755 "$work" # a foreign user must reach the socket to be refused by it
export WEIR_RUNTIME_DIR=$work/run WEIR_NAME=e2e
unset XDG_RUNTIME_DIR
mkdir "$WEIR_RUNTIME_DIR"
pids=()
passed=0
failed=0
skipped=''
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
    "$weird" --config "$work/weir.yaml" --state-dir none >"$work/weird.out" 2>>"$work/weird.err" &
    broker=$!
    pids+=("$broker")
    until_true 15 "$weir" stat || { echo "weird did not start: $(<"$work/weird.err")"; exit 1; }
}

test_words() {
    run ctl --help
    is 'help' "$rc $out" '0 usage: weir ctl pause PROVIDER*'
    run ctl
    is 'no order' "$rc $err" '1 weir: ctl: no such order: it is one of pause, resume, block, unblock, balance, check: see weir ctl --help'
    run ctl zork
    is 'unknown order' "$err" "weir: ctl: no such order zork: it is one of *"
    run ctl pause
    is 'no target' "$err" "weir: ctl: pause: name a provider: see *"
    run ctl pause ex/change
    is 'bad target' "$err" "weir: ctl: no name ex/change: name a provider: see *"
    for word in 5 -3s 0s 1y 400d 99999999999999999999s; do
        run ctl pause exchange -- "$word"
        is "duration $word" "$rc $err" "1 weir: ctl: no duration $word: give 500ms, 30s, 10m, 2h, 1d (at most 366d) or until-resume: *"
    done
    run ctl resume exchange 10s
    is 'one too many' "$err" 'weir: ctl: one word too many 10s: remove it: *'
    run ctl balance exchange
    is 'no kind' "$rc $err" '1 weir: ctl: no such balance: it is one of failover, round_robin, weighted_round_robin, least_latency, least_connections, two_choices, configured: *'
    run ctl balance exchange random
    is 'unknown kind' "$rc $err" '1 weir: ctl: no such balance random: it is one of *'
    run ctl check exchange now
    is 'one too many for check' "$err" 'weir: ctl: one word too many now: remove it: *'
    run ctl pause exchange --reason "$(printf '%0200d' 0)"
    is 'long reason' "$rc $err" '1 weir: ctl: --reason is too long: at most 95 characters: *'
    run ctl pause exchange
    is 'no broker' "$rc $err" '4 weir: cannot pause: target=exchange name=e2e path=*: no broker runs under this name: *'
}

test_pause() {
    run ctl pause exchange 1h --reason 'the exchange is being repaired'
    is 'pause' "$rc $out" '0 exchange is paused for 3600.0* s'
    run limits
    is 'limits says it' "$out" '*pause  *m* more: by an operator (set by broker)*'
    run stat
    is 'stat says it' "$out" '*paused      exchange: *by an operator*'
    run call exchange.ping --timeout 200ms
    is 'a call is refused' "$rc $err" '8 *'
    run ctl pause exchange 10s
    is 'never shorter' "$rc $out" '0 exchange is paused for 3[56]*'
    run ctl resume exchange
    is 'resume' "$rc $out" '0 exchange goes on'
    run call exchange.ping
    is 'a call goes through' $rc 0
    run ctl pause exchange until-resume --json
    is 'until-resume' "$rc $out" '0 {*"order": "pause"*"reached": 1*"text": "exchange is paused until it is resumed"*'
    run limits
    is 'limits: until resumed' "$out" '*pause  until it is resumed: by an operator (set by broker)*'
    run limits --json
    is 'limits --json' "$out" '*"phase": "none"*'
    run inspect --check
    is 'the board is sound' "$rc" 0
    run ctl resume exchange
    run ctl pause zork
    is 'unknown provider' "$rc $err" "1 weir: cannot pause: target=zork name=e2e path=*: there is no provider 'zork': list them: weir limits"
}

test_block() {
    run ctl block all --reason 'mad'
    is 'block all' "$rc $out" '0 every client is blocked'
    run stat
    is 'stat: blocked' "$out" '*blocked by an operator*'
    run call exchange.ping
    is 'a call is refused' "$rc" 6
    run ctl unblock all
    is 'unblock all' "$rc $out" '0 every client is unblocked, but *'
    run call exchange.ping
    is 'a call goes through' $rc 0
    run ctl block zork
    is 'unknown client' "$rc $err" "1 weir: cannot block: target=zork *: no client 'zork' is attached: list the clients: weir stat"
}

test_endpoints() {
    run ctl balance exchange round_robin --reason 'one more host'
    is 'balance' "$rc $out" '0 exchange balances by round_robin'
    run ctl balance exchange configured --json
    is 'balance as configured' "$rc $out" '0 {*"order": "balance"*"text": "exchange balances by two_choices, as configured"*'
    run ctl balance zork failover
    is 'balance of nobody' "$rc $err" "1 weir: cannot balance: target=zork *: there is no provider 'zork': *"
    run ctl check exchange
    is 'nothing to check' "$rc $err" '* weir: cannot check: target=exchange *: exchange has no health in the configuration: *'
    run stat
    is 'stat shows health' "$out" '*HEALTH *SCORE *BREAKER*exchange.*1000*'
    run stat --json
    is 'stat --json shows health' "$out" '*"health": *"breaker": "none"*"score": *'
}

test_log() {
    is 'audit' "$(grep -c '"event":"operated"' "$work/weird.err")" '[1-9]*'
    is 'audit: reason and uid' "$(grep '"operation":"pause"' "$work/weird.err" | head -1)" \
        "*\"target\":\"exchange\",\"uid\":$(id -u),*\"reason\":\"the exchange is being repaired\"*"
}

# Another user: not even with the socket open to all.
test_stranger() {
    if [ "$(id -u)" != 0 ] || ! setpriv --reuid=65534 --clear-groups true 2>/dev/null; then
        skipped=' (another uid: skipped, this is not root)'
        return
    fi
    cp "$weir" "$work/weir" # the build tree may be closed to it
    cp "$(dirname "$weir")"/../libclient/libweir.so.* "$work/" 2>/dev/null
    chmod 755 "$work/weir" "$WEIR_RUNTIME_DIR"
    err=$(LD_LIBRARY_PATH=$work setpriv --reuid=65534 --clear-groups "$work/weir" ctl pause exchange 1s 2>&1)
    is 'a stranger' "$? $err" '6 weir: cannot pause: target=exchange *: uid 65534 is no operator: name it in broker.operators'
    run limits
    is 'a stranger changes nothing' "$out" '*pause  none*'
    is 'a stranger is logged' "$(grep -c '"event":"operation_refused"' "$work/weird.err")" 1
    kill -TERM "$broker"
    wait "$broker"
    sed -i 's/^broker: {/broker: {operators: [65534], /' "$work/weir.yaml"
    broker_start
    err=$(LD_LIBRARY_PATH=$work setpriv --reuid=65534 --clear-groups "$work/weir" ctl pause exchange 1s 2>&1)
    is 'an operator of the list' "$? $err" '0 exchange is paused for *'
}

"$sim" --listen 127.0.0.1:0 >"$work/sim.out" 2>&1 &
pids+=($!)
until_true 10 grep -q listening "$work/sim.out"
port=$(sed -n 's/.*:\([0-9]*\)$/\1/p' "$work/sim.out" | head -1)
cat >"$work/weir.yaml" <<END
broker: {name: e2e}
providers:
  - name: exchange
    clock: {source: host}
    limits:
      - {name: smooth, kind: token_bucket, quota: 1000, window: 1s}
    endpoints:
      - {name: api, url: "http://127.0.0.1:$port"}
    routes:
      - {name: ping, method: GET, path: /api/v3/ping, cost: {smooth: 1}}
END

test_words
broker_start
test_pause
test_block
test_endpoints
test_log
test_stranger
echo "$passed passed, $failed failed$skipped"
[ "$failed" = 0 ]
