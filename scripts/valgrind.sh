#!/bin/bash
# Memcheck over the unit tests, and over real processes: weird with all its children, and libweir in the strategies of the tests.
#
#   scripts/valgrind.sh                        the unit suite, and all process tests that can run so: an hour
#   scripts/valgrind.sh process_told ...       only these; a name of suite prop, crash or torture is a program too
#   scripts/valgrind.sh --list                 what would run, and what cannot, with its reason
#
# Takes the plain build, in build/ (or BUILD). The cage is off (--cage off): valgrind refuses a seccomp filter. weir-sim is not watched. Everything is some ten times slower, so many
# process tests miss the times that they want: what counts here are the reports, and a test that failed is named and no more. A process that is killed has no list of leaks, but
# its errors are there. Each test has 170 s (LIMIT_S) and is ended then.
# The last line says how many processes were watched and how many reports there were. Exit: 0 no report, 1 some, or a unit test failed.
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
can() {
    local name
    for name in "$build"/tests/process/process_*; do
        name=${name##*/}
        [[ $name == *.* ]] || cannot | grep -q "^$name " || echo "$name"
    done
}
if [ "${1:-}" = --list ]; then
    can
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
chmod +x "$logs/weird"
export WEIR_TEST_SLOW=1 WEIR_UNDER=valgrind

reports_in() {
    find "$1" -type f -exec cat {} + | grep -cE '^==[0-9]+== (Invalid|Conditional|Use of|Syscall param|Mismatched|Source and|Argument|Jump to|.*definitely lost)' || true
}

failed=0
if [ $# = 0 ]; then
    meson test -C "$build" --no-rebuild --setup valgrind --suite unit --print-errorlogs || failed=1
    mapfile -t tests < <(can)
    set -- "${tests[@]}"
fi
processes=0
reports=0
for test in "$@"; do
    rc=0
    read -ra words <<<"$test" # with its own arguments, in quotes
    program=$(find "$build/tests" -name "${words[0]}" -type f -perm -u+x | head -1)
    args=("${words[@]:1}")
    case ${words[0]} in
    process_*) args=("$build/tests/sim/weir-sim" "$logs/weird" "${args[@]}") ;;
    esac
    mkdir "$logs/of"
    chmod 1777 "$logs/of"
    began=$SECONDS
    timeout -k 5 "$limit_s" valgrind "${options[@]}" "--log-file=$logs/of/%p" "$program" "${args[@]}" >"$logs/out" 2>&1 || rc=$?
    n=$(reports_in "$logs/of")
    cnt=$(find "$logs/of" -type f | wc -l)
    printf '%-24s %4d s %4d processes %3d reports  %s\n' "${words[0]}" $((SECONDS - began)) "$cnt" "$n" "$([ $rc = 0 ] && echo passed || echo "exit $rc")"
    [ "$n" = 0 ] || cat "$logs/of"/*
    [ $rc = 0 ] || grep FAILED "$logs/out" | head -3 | cut -c 1-200 || true
    processes=$((processes + cnt))
    reports=$((reports + n))
    rm -rf "$logs/of"
done

echo "$processes processes watched, $reports reports"
[ "$reports" = 0 ] && [ $failed = 0 ]
