#!/bin/bash
# Build weir five ways and run every test that meson knows. About ten minutes on two cores, from nothing.
#
#   scripts/test.sh [plain] [release] [asan] [tsan] [fuzz]       all five where none is named
#
#   plain   build        optimised, with symbols: every suite, the installed tree and a short demo too
#   release build-rel    as README.md has users build it: gcc warns of other things there. The unit suite
#   asan    build-asan   AddressSanitizer and UndefinedBehaviorSanitizer: every suite but the installed tree and the demo
#   tsan    build-tsan   ThreadSanitizer on C11 atomics (-Dchecked=true): the suites with threads
#   fuzz    build-fuzz   libFuzzer (clang), each target for some seconds
#
# Missing Debian packages are installed first (scripts/setup.sh says which). Needs no input and no network but apt's.
# The last line is "N passed, N failed", with ", N skipped" where tests were skipped. Exit: 0 none failed, 1 some did.
set -euo pipefail
cd "$(dirname "$0")/.."

passed=0
failed=0
skipped=0
started=$SECONDS
export LC_ALL=C.UTF-8
# The first error ends a test: what comes after it is noise.
export UBSAN_OPTIONS=${UBSAN_OPTIONS:-print_stacktrace=1:halt_on_error=1}
export TSAN_OPTIONS=${TSAN_OPTIONS:-halt_on_error=1}

# Suites whose tests do not mind company; all others measure time or kill processes, and run one at a time.
calm='lint unit model sim fuzz'

say() { printf '== %4d s  %s\n' $((SECONDS - started)) "$*"; }

# build FOLDER TARGETS MESON-OPTIONS...: a failure counts as one failed test, and the rest goes on. TARGETS is a pattern, '' for all.
build() {
    local folder=$1 pattern=$2 log
    shift 2
    log=$folder.log
    compile() {
        local -a targets=()
        ninja -C "$folder" build.ninja # configured anew where meson's files changed, so that the list below is right
        [ -z "$pattern" ] || mapfile -t targets < <(ninja -C "$folder" -t targets all | grep -oP "^$pattern(?=:)")
        ninja -C "$folder" "${targets[@]}"
    }
    say "$folder: building"
    if { { [ -f "$folder/build.ninja" ] || meson setup "$folder" "$@"; } && compile; } >"$log" 2>&1 </dev/null; then
        rm -f "$log"
        return 0
    fi
    tail -60 "$log"
    say "$folder: the build FAILED; its whole output is in $log"
    failed=$((failed + 1))
    return 1
}

# count FILE: add up meson's log of one run, one JSON object a line
count() {
    local ok bad skip
    read -r ok bad skip < <(python3 - "$1" <<'EOF'
import json, sys
results = [json.loads(line)["result"] for line in open(sys.argv[1])]
skip = results.count("SKIP")
ok = results.count("OK") + results.count("EXPECTEDFAIL")
print(ok, len(results) - ok - skip, skip)
EOF
    )
    passed=$((passed + ok))
    failed=$((failed + bad))
    skipped=$((skipped + skip))
}

# suites FOLDER LOG-NAME MESON-TEST-OPTIONS...: one run of meson test, counted
suites() {
    local folder=$1 log=$2
    shift 2
    local rc=0 all=$folder/meson-logs/$log.out json=$folder/meson-logs/$log.json
    rm -f "$json"
    meson test -C "$folder" --no-rebuild --logbase "$log" --print-errorlogs "$@" >"$all" 2>&1 </dev/null || rc=$?
    grep -vE '^(ninja: |Full log |Expected Fail|Unexpected Pass|$)' "$all" || true
    if [ -s "$json" ]; then
        count "$json"
    elif [ $rc != 0 ]; then
        say "$folder: meson test itself FAILED"
        failed=$((failed + 1))
    fi
}

# run_all FOLDER TIMEOUT-FACTOR [MORE-OPTIONS]: calm suites together, the others one by one
run_all() {
    local folder=$1 factor=$2 suite
    shift 2
    local -a together=() alone=()
    for suite in $calm; do
        together+=(--suite "$suite")
        alone+=(--no-suite "$suite")
    done
    say "$folder: tests that run beside each other: $calm"
    suites "$folder" calm -t "$factor" "${together[@]}" "$@"
    say "$folder: tests that run alone"
    suites "$folder" alone -t "$factor" --num-processes 1 "${alone[@]}" "$@"
}

plain() { build build '' -Dbuildtype=debugoptimized && run_all build 1; }
release() { build build-rel '' -Dbuildtype=release && suites build-rel unit --suite unit; }
# Not the judges of rates: they want a sender that keeps up, and what they run is run by the others too.
asan() { build build-asan '' -Db_sanitize=address,undefined -Db_lundef=false && run_all build-asan 3 --no-suite judge; }
tsan() {
    build build-tsan '' -Dchecked=true -Db_sanitize=thread -Db_lundef=false || return 0
    say 'build-tsan: tests with threads'
    suites build-tsan tsan -t 4 --num-processes 1 --suite unit --suite torture
}
fuzz() {
    # Only the targets: clang 14 cannot assemble some of ck's header, which the rest of the tree includes.
    CC=clang build build-fuzz 'tests/fuzz/fuzz_[a-z]+' -Dfuzz=true -Db_lundef=false || return 0
    say 'build-fuzz: fuzzing'
    suites build-fuzz fuzz --suite fuzz
}

for stage in "$@"; do
    case $stage in
    plain | release | asan | tsan | fuzz) ;;
    *) sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0" && exit 1 ;;
    esac
done
[ $# != 0 ] || set -- plain release asan tsan fuzz

scripts/setup.sh test
for stage in "$@"; do
    "$stage" || true
done
say 'done'
if [ $((passed + failed)) = 0 ]; then
    echo 'no test ran' >&2
    failed=1
fi
if [ $skipped = 0 ]; then
    echo "$passed passed, $failed failed"
else
    echo "$passed passed, $failed failed, $skipped skipped"
fi
[ $failed = 0 ]
