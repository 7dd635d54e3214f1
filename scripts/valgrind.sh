#!/bin/bash
# Memcheck over the test suite: what runs alone, and real processes: weird with all its children, weir, and libweir in the strategies of the tests.
#
#   scripts/valgrind.sh                        all: an hour and a half
#   scripts/valgrind.sh prop process_told ...  only these: suites (unit sim prop torture crash model e2e process) and programs, with their arguments in quotes
#   scripts/valgrind.sh --list                 what would run, and what cannot, with its reason
#
# Takes the plain build, in build/ (or BUILD). The cage is off (--cage off): valgrind refuses a seccomp filter. weir-sim is watched in its own suite only. Everything is some ten times
# slower, so suites run in reduced size, and process tests give themselves ten times the time (rig_slowness), or run in parts. What counts here are the reports: a test that failed is
# named and no more.
# A process that is killed has no list of leaks, but its errors are there. In the suite crash a death comes at an instant and not at an instruction (tests/crash/stepper.h); models stop at
# a million states (WEIR_EXPLORE_STATES). Each program has 170 s (LIMIT_S) and is ended then.
# The last line says how many processes were watched, how many reports there were, and what became of the programs. Exit: 0 no report, 1 some, or a unit test failed.
set -euo pipefail
cd "$(dirname "$0")/.."

build=$PWD/${BUILD:-build}
limit_s=${LIMIT_S:-170}

# NAME REASON: process tests that cannot run in it.
cannot() {
    cat <<'EOF2'
process_cage            the cage itself: valgrind refuses a seccomp filter
process_cage_break      the same
process_secrets         reads its worker's memory by address, which is valgrind's then; and wants a core
process_no_memory       RLIMIT_DATA: valgrind's own memory counts
process_no_uring        forbids io_uring by seccomp
process_faults          a preloaded library between weird and libc
process_weave           of a build with -Dweave=true
process_weave_lives     the same
EOF2
}
# NAME ARGUMENTS: those that would not end in their time. In parts they run all that they have, one part after the other; a reduced size is the only other way.
sized() {
    cat <<'EOF2'
process_bad_h2 --part=1/8
process_bad_h2 --part=2/8
process_bad_h2 --part=3/8
process_bad_h2 --part=4/8
process_bad_h2 --part=5/8
process_bad_h2 --part=6/8
process_bad_h2 --part=7/8
process_bad_h2 --part=8/8
process_last_good --only=clean_stop
process_last_good --only=kills
process_last_good --only=writers
process_last_good --only=disk_fails
process_last_good --only=refused
process_submit_stepkill --step=197
EOF2
}
# What judges rates wants a sender that keeps one; in valgrind none does, as with a sanitizer (suite judge). These are watched, and what they find of rates is not counted.
judges() { printf 'process_%s\n' never_exceed oracle_haproxy oracle_nginx; }
can() {
    local name
    for name in "$build"/tests/process/process_*; do
        name=${name##*/}
        [[ $name == *.* ]] || cannot | grep -q "^$name " || sized | grep "^$name " || echo "$name"
    done
}
# What a suite runs, a line each.
suite() {
    local name
    case $1 in
    prop) for name in permit reopen late breaker shares memory rolling; do echo "prop_$name --seconds 8"; done ;;
    torture)
        for name in ring permit cells cache; do printf '%s_torture --seconds 6\n%s_torture --threads --seconds 6\n' $name $name; done
        printf 'ring_torture --scribble --seconds 6\nring_torture --threads --scribble --seconds 6\nreopen_torture --seconds 6\n'
        ;;
    crash)
        for name in permit reopen cells cache; do echo "${name}_stepkill"; done
        printf 'ring_stepkill --pairs-step 4\nexpress_stepkill --step 7\n'
        ;;
    model) for name in bucket cache cells parts pause permit ring slot units wake window; do echo "${name}_model"; done ;;
    e2e) printf '%s\n' 40_monitor.sh 41_ctl.sh 45_planning.sh 46_audit.sh 50_protocols.sh ;;
    sim)
        for name in calendar config cost exchange kinds limit signature usage; do echo "test_sim_$name"; done
        printf '%s\n' 'weir-dst --seed 1 --runs 4 --hours 0.005' e2e.sh exchanges.sh
        ;;
    process) can ;;
    *) sized | grep "^$1 " || echo "$1" ;;
    esac
}
if [ "${1:-}" = --list ]; then
    for name in prop torture crash model e2e sim process; do suite $name; done
    cannot | sed 's/^/cannot: /'
    exit 0
fi

logs=$(mktemp -d)
chmod 1777 "$logs" # the worker has given up its user
trap 'rm -rf "$logs"' EXIT

options=(-q --vgdb=no --fair-sched=yes --trace-children=yes '--trace-children-skip=*/weir-sim,*/nginx,*/haproxy' --leak-check=full
    --show-leak-kinds=definite "--suppressions=$PWD/tests/valgrind.supp")
cat >"$logs/weird" <<EOF2
#!/bin/bash
exec "$build/broker/weird" "\$@" --cage off
EOF2
# For tests that are scripts, which start the programs by themselves.
for name in broker/weird monitor/weir tests/sim/weir-sim; do
    {
        printf '#!/bin/bash\nexec valgrind'
        printf ' %q' "${options[@]}" "--log-file=$logs/of/%p" "$build/$name"
        printf ' "$@"%s\n' "$([ $name != broker/weird ] || echo ' --cage off')"
    } >"$logs/vg-${name##*/}"
done
chmod +x "$logs/weird" "$logs"/vg-*
export WEIR_TEST_SLOW=1 WEIR_UNDER=valgrind WEIR_EXPLORE_STATES=${WEIR_EXPLORE_STATES:-1000000}

reports_in() {
    find "$1" -type f -exec cat {} + | grep -cE '^==[0-9]+== (Invalid|Conditional|Use of|Syscall param|Mismatched|Source and|Argument|Jump to|.*definitely lost)' || true
}

failed=0
[ $# != 0 ] || set -- unit sim prop torture crash model e2e process
tests=()
for word in "$@"; do
    if [ "$word" = unit ]; then
        meson test -C "$build" --no-rebuild --setup valgrind --suite unit --print-errorlogs || failed=1
    else
        mapfile -t -O ${#tests[@]} tests < <(suite "$word")
    fi
done
set -- "${tests[@]}"
processes=0
reports=0
passed=0
missed=0
judged=0
for test in "$@"; do
    rc=0
    read -ra words <<<"$test" # with its own arguments, in quotes
    program=$(find "$build/tests" -name "${words[0]}" -type f -perm -u+x | head -1)
    command=(valgrind "${options[@]}" "--log-file=$logs/of/%p" "$program" "${words[@]:1}")
    case ${words[0]} in
    process_*) command=(valgrind "${options[@]}" "--log-file=$logs/of/%p" "$program" "$build/tests/sim/weir-sim" "$logs/weird" "${words[@]:1}") ;;
    4*.sh) command=(bash "tests/e2e/${words[0]}" "$logs/vg-weir" "$logs/vg-weird" "$build/tests/sim/weir-sim" "$PWD/tests/e2e/replay") ;;
    5*.sh) command=(bash "tests/e2e/${words[0]}" "$logs/vg-weir" "$logs/vg-weird") ;;
    *.sh) command=(bash "tests/sim/${words[0]}" "$logs/vg-weir-sim") ;;
    esac
    mkdir "$logs/of"
    chmod 1777 "$logs/of"
    began=$SECONDS
    timeout -k 5 "$limit_s" "${command[@]}" >"$logs/out" 2>&1 || rc=$?
    n=$(reports_in "$logs/of")
    cnt=$(find "$logs/of" -type f | wc -l)
    if [ $rc = 0 ]; then
        passed=$((passed + 1)) end=passed
    elif judges | grep -qx "${words[0]}" && [ $rc = 1 ]; then
        judged=$((judged + 1)) end='ended; its rates are not judged'
    else
        missed=$((missed + 1)) end="exit $rc"
    fi
    printf '%-44s %4d s %4d processes %3d reports  %s\n' "${words[*]}" $((SECONDS - began)) "$cnt" "$n" "$end"
    [ "$n" = 0 ] || cat "$logs/of"/*
    [[ $end != exit* ]] || grep FAILED "$logs/out" | head -3 | cut -c 1-200 || true
    processes=$((processes + cnt))
    reports=$((reports + n))
    rm -rf "$logs/of"
done

echo "$processes processes watched, $reports reports; $passed programs passed, $missed failed, $judged judges of rates ended"
[ "$reports" = 0 ] && [ $failed = 0 ]
