#!/bin/bash
# Build weir five ways and run every test that meson knows. Twelve to fifteen minutes on two cores, from nothing.
#
#   scripts/test.sh [plain] [release] [asan] [tsan] [fuzz]       all five where none is named
#
#   plain   build        optimised, with symbols: every suite, the installed tree and a short demo too
#   release build-rel    as README.md has users build it: gcc warns of other things there. The unit suite
#   asan    build-asan   AddressSanitizer and UndefinedBehaviorSanitizer: every suite that runs code of weir and measures no rates
#   tsan    build-tsan   ThreadSanitizer on C11 atomics (-Dchecked=true): the suites with threads
#   fuzz    build-fuzz   libFuzzer (clang), each target for some seconds
#
# Missing Debian packages are installed first (scripts/setup.sh says which). Needs no input and no network but apt's.
# The last line is "N passed, N failed", then ", N skipped" where tests were skipped, ", N at the second hearing" where some of those that passed did so only then. Exit: 0
# none failed, 1 some did.
#
# Tests are of three sorts. Calm ones compute: as many at a time as there are cores. Patient ones (tests/process) are real processes that mostly
# sleep: four at a time, and meanwhile what is calm goes on, and other stages. All others want both cores or measure time: one by one on a machine that does nothing else.
#
# A test that failed is heard once more, alone, when everything else of its stage has ended: it ran beside builds because this script chose so. That is said loudly, and what the first failure said
# stays in the log and in BUILD/meson-logs. Not so what no lateness explains: a broken promise, a sanitizer's report, a test of a suite that measures no time (scripts/hearing.py).
set -euo pipefail
cd "$(dirname "$0")/.."

started=$SECONDS
export LC_ALL=C.UTF-8
# The first error ends a test: what comes after it is noise.
export UBSAN_OPTIONS=${UBSAN_OPTIONS:-print_stacktrace=1:halt_on_error=1}
export TSAN_OPTIONS=${TSAN_OPTIONS:-halt_on_error=1}

calm='lint unit model sim prop crash torture'

# Of each run of meson test its log, one JSON object a line, FOLDER:NAME.json, that of a second hearing as FOLDER.again, and an empty file NAME.failed for what came not so far.
results=$(mktemp -d)
meanwhile=
finish() {
    [ -z "$meanwhile" ] || kill -- "-$meanwhile" 2>/dev/null || true
    rm -rf "$results"
}
trap finish EXIT

say() { printf '== %4d s  %s\n' $((SECONDS - started)) "$*"; }

# needed FOLDER SUITE...: the targets that the tests of these suites run
needed() {
    python3 - "$@" <<'EOF'
import json, os, subprocess, sys
folder, suites = sys.argv[1], set(sys.argv[2:])
known = json.loads(subprocess.check_output(["meson", "introspect", folder, "--tests", "--targets"]))
ids = {i for t in known["tests"] if suites & {s.split(":")[-1] for s in t["suite"]} for i in t["depends"]}
print("\n".join(os.path.relpath(t["filename"][0], os.path.realpath(folder)) for t in known["targets"] if t["id"] in ids))
EOF
}

# build FOLDER SUITES MESON-OPTIONS...: what these suites need, '' for everything. A failure counts as one failed test, and the rest goes on.
build() {
    local folder=$1 suites=$2 log
    shift 2
    log=$folder.log
    compile() {
        local -a targets=()
        ninja -C "$folder" build.ninja # configured anew where meson's files changed, so that the list below is right
        # shellcheck disable=SC2086 # words on purpose
        [ -z "$suites" ] || mapfile -t targets < <(needed "$folder" $suites)
        ninja -C "$folder" "${targets[@]}"
    }
    say "$folder: building"
    if { { [ -f "$folder/build.ninja" ] || meson setup "$folder" "$@"; } && compile; } >"$log" 2>&1 </dev/null; then
        rm -f "$log" "$results/$folder.failed"
        return 0
    fi
    tail -60 "$log"
    say "$folder: the build FAILED; its whole output is in $log"
    : >"$results/$folder.failed"
    return 1
}

# suites FOLDER NAME MESON-TEST-OPTIONS...: one run of meson test
suites() {
    local folder=$1 name=$2
    shift 2
    local rc=0 all=$folder/meson-logs/$name.out json=$folder/meson-logs/$name.json
    rm -f "$json"
    say "$folder: $name tests"
    meson test -C "$folder" --no-rebuild --logbase "$name" --print-errorlogs "$@" >"$all" 2>&1 </dev/null || rc=$?
    {
        grep -vE '^(ninja: |Full log |(Expected Fail|Unexpected Pass|Skipped|Timeout|Fail): +0|$)' "$all" || true
        say "$folder: $name tests done"
    }
    if [ -s "$json" ]; then
        cp "$json" "$results/$folder:$name.json"
    elif [ $rc != 0 ]; then
        say "$folder: meson test itself FAILED"
        : >"$results/$folder:$name.failed"
    fi
}

# run_all FOLDER TIMEOUT-FACTOR MORE-OPTIONS...: all tests, and beside the patient ones whatever is in $beside
run_all() {
    local folder=$1 factor=$2 suite job
    shift 2
    local -a together=() alone=()
    for suite in $calm; do
        together+=(--suite "$suite")
        alone+=(--no-suite "$suite")
    done
    set -m # a process group of its own, which can be ended as one
    {
        # Not SCHED_IDLE: measured beside three busy loops, four processes that wake each millisecond had to wait as long (99.9 %: 4 ms).
        renice -n 19 -p $BASHPID >/dev/null
        suites "$folder" calm -t $((4 * factor)) "${together[@]}" "$@"
        for job in "${beside[@]}"; do
            $job || true
        done
    } &
    meanwhile=$!
    set +m
    suites "$folder" patient -t "$factor" --num-processes 4 --suite patient "$@"
    wait $meanwhile || true
    meanwhile=
    suites "$folder" alone -t "$factor" --num-processes 1 --no-suite patient "${alone[@]}" "$@"
    scripts/hearing.py hear "$folder" "$results" -t "$factor" || : >"$results/$folder:again.failed"
}

build_plain() { build build '' -Dbuildtype=debugoptimized; }
# With less optimisation and plainer symbols it is built in half the time. With the named instants, so that process_weave has something to hold.
build_asan() {
    build build-asan 'lint unit sim prop torture process e2e' -Db_sanitize=address,undefined -Db_lundef=false -Doptimization=1 -Dc_args=-g1 \
        -Dweave=true
}

plain() { build_plain && run_all build 1; }
release() { build build-rel '' -Dbuildtype=release && suites build-rel unit -t 4 --suite unit; }
# Not the models, in which there is no code of weir, nor what goes instruction by instruction: it would step through the sanitizer. Not the judges of rates: they want a
# sender that keeps up, and what they run is run by the others too.
asan() { build_asan && run_all build-asan 3 --no-suite model --no-suite crash --no-suite judge; }
tsan() {
    build build-tsan 'threads torture' -Dchecked=true -Db_sanitize=thread -Db_lundef=false -Doptimization=1 -Dc_args=-g1 || return 0
    suites build-tsan tsan -t 4 --suite threads --suite torture
}
fuzz() {
    # Only the targets: clang 14 cannot assemble some of ck's header, which the rest of the tree includes.
    CC=clang build build-fuzz fuzz -Dfuzz=true -Db_lundef=false || return 0
    suites build-fuzz fuzz -t 4 --suite fuzz
}

for stage in "$@"; do
    case $stage in
    plain | release | asan | tsan | fuzz) ;;
    *) sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0" && exit 1 ;;
    esac
done
[ $# != 0 ] || set -- plain release asan tsan fuzz

scripts/setup.sh test
while [ $# != 0 ]; do
    stage=$1
    shift
    beside=()
    case $stage in
    plain | asan) # the stages that follow and only compute, and the next one's build
        while [[ ${1:-} =~ ^(release|tsan|fuzz)$ ]]; do
            beside+=("$1")
            shift
        done
        [ $# = 0 ] || beside+=("build_$1")
        ;;
    esac
    "$stage" || for job in "${beside[@]}"; do # it was not built, so nothing runs beside it
        "$job" || true
    done
done
say 'done'

scripts/hearing.py sum "$results"
