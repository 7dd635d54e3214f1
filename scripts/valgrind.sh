#!/bin/bash
# Memcheck over the unit tests, and over real processes: weird with all its children, and libweir in the strategies of the tests.
#
#   scripts/valgrind.sh                        the unit suite and the process tests below, about 10 minutes
#   scripts/valgrind.sh process_told ...       only these process tests
#
# Takes the plain build, in build/. The cage is off (--cage off): valgrind refuses a seccomp filter. weir-sim is not watched. Everything is some ten times slower, so not
# every process test can pass (worker_kill and takeover want things in time); what counts here is the reports. A process that is killed has no list of leaks, but its errors are there.
# The last line says how many processes were watched and how many reports there were. Exit: 0 no report, 1 some or a failed test.
set -euo pipefail
cd "$(dirname "$0")/.."

build=$PWD/build
logs=$(mktemp -d)
chmod 1777 "$logs" # the worker has given up its user
trap 'rm -rf "$logs"' EXIT

options=(-q --vgdb=no --fair-sched=yes --trace-children=yes '--trace-children-skip=*/weir-sim,*/nginx' --leak-check=full --show-leak-kinds=definite
    "--suppressions=$PWD/tests/valgrind.supp" "--log-file=$logs/%p")
cat >"$logs/weird" <<EOF2
#!/bin/bash
exec "$build/broker/weird" "\$@" --cage off
EOF2
chmod +x "$logs/weird"

failed=0
if [ $# = 0 ]; then
    meson test -C "$build" --no-rebuild --setup valgrind --suite unit --print-errorlogs || failed=1
    set -- process_told process_bad_request process_bad_attach process_http_raw process_audit process_worker_kill process_takeover
fi
for test in "$@"; do
    rc=0
    valgrind "${options[@]}" "$build/tests/process/$test" "$build/tests/sim/weir-sim" "$logs/weird" >"$logs/out" 2>&1 || rc=$?
    printf '%-24s %s\n' "$test" "$([ $rc = 0 ] && echo passed || { echo "exit $rc"; grep FAILED "$logs/out" | head -5; })"
done

reports=$(cat "$logs"/[0-9]* | grep -cE '^==[0-9]+== (Invalid|Conditional|Use of|Syscall param|Mismatched|Source and|Argument|Jump to|.*definitely lost)' || true)
[ "$reports" = 0 ] || cat "$logs"/[0-9]*
echo "$(find "$logs" -name '[0-9]*' | wc -l) processes watched, $reports reports"
[ "$reports" = 0 ] && [ $failed = 0 ]
