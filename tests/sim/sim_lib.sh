# shellcheck shell=bash disable=SC2154 # sim: set by the script that sources this
# Sourced by the tests that drive weir-sim with curl. $sim: the program. Each function test_* of the script is one test,
# run by tests_run; a test starts the simulator once.
command -v curl >/dev/null || { echo "skipped: curl is not installed"; exit 77; }

work=$(mktemp -d)
sim_pid=
passed=0
failed=0
# shellcheck source=tests/support/promise.sh
source "$(dirname "${BASH_SOURCE[0]}")/../support/promise.sh"
trap 'rc=$?; sim_stop; promise_status $rc "$work"; rc=$?; rm -rf "$work"; exit $rc' EXIT

# start CONFIG-JSON: sets $url once the simulator says where it listens
sim_start() {
    printf '%s' "$1" >"$work/sim.json"
    : >"$work/out"
    "$sim" --config "$work/sim.json" --listen 127.0.0.1:0 >"$work/out" 2>>"$work/err" &
    sim_pid=$!
    for _ in $(seq 600); do
        url=http://$(sed -n 's/^weir-sim listening on //p' "$work/out")
        [ "$url" != http:// ] && return
        sleep 0.05
    done
    echo "weir-sim did not start: $(cat "$work/err")"
    exit 1
}

sim_stop() {
    [ -n "$sim_pid" ] || return 0
    kill "$sim_pid"
    wait "$sim_pid"
    sim_rc=$?
    sim_pid=
}

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

get() { curl -sS --max-time 5 "$@" 2>&1; }
status() { curl -s --max-time 5 -o /dev/null -w '%{http_code}' "$@"; }
rc() { curl -s --max-time 5 -o /dev/null "$@"; echo $?; }
header() { get -D - -o /dev/null "${@:2}" | tr -d '\r' | sed -n "s/^$1: //Ip"; }
control() { get -o /dev/null -X "$1" "$url/sim/$2" -d "${3:-}"; }

tests_run() {
    local test
    for test in $(declare -F | sed -n 's/^declare -f \(test_\)/\1/p'); do
        sim_rc=0
        "$test"
        sim_stop
        is "$test: the simulator ends cleanly" "$sim_rc" 0
    done
    echo "$passed passed, $failed failed"
    [ "$failed" -eq 0 ]
}
