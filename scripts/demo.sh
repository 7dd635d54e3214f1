#!/bin/bash
# Build weir and show what it is for: four strategies on one exchange limit, each for itself, then through weir. About a minute.
#
#   scripts/demo.sh [--seconds 8..300] [--keep]
#
# --seconds N   how long each of the two runs lasts (default 20)
# --keep        leave exchange and broker running afterwards, until Ctrl-C, to look at them
#
# Missing Debian packages are installed first (scripts/setup.sh says which). Nothing leaves this machine: the exchange is weir-sim.
# Exit: 0 weir kept its promises, 1 it did not, or something failed.
set -euo pipefail
cd "$(dirname "$0")/.."

for word in "$@"; do
    case $word in
    -h | --help) sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0" && exit 0 ;;
    esac
done

scripts/setup.sh build
build=${WEIR_BUILD:-build}
log=$(mktemp)
echo "demo: building in $build (the first time takes about a minute)"
if ! { { [ -f "$build/build.ninja" ] || meson setup "$build"; } && ninja -C "$build"; } >"$log" 2>&1 </dev/null; then
    tail -40 "$log"
    echo "demo: the build failed: its whole output is in $log" >&2
    exit 1
fi
rm -f "$log"

work=$(mktemp -d)
echo "demo: logs and sockets of this run are in $work"
echo
rc=0
"$build/tests/demo/weir-demo" --sim "$build/tests/sim/weir-sim" --weird "$build/broker/weird" \
    --config tests/demo --work "$work" "$@" </dev/null || rc=$?
if [ $rc = 0 ]; then
    rm -rf "$work"
else
    echo "demo: failed; the logs are in $work" >&2
fi

cat <<END

What to try next
  scripts/demo.sh --keep            leave it running; from another shell, with what it prints:
    $build/monitor/weir limits --watch   each limit: used, left, when it starts anew, refusals
    $build/monitor/weir stat             calls, latencies, clients
    $build/monitor/weir call binance.depth symbol=BTCUSDT
  tests/demo/weir.yaml              set a quota to 250, or headroom to 0%, and see what changes
  examples/*.c                      three strategies to copy, each a page long
  $build/bench/weir-bench permit    what a permit costs, against its floor
  examples/weir.yaml                Binance's limits: copy it, then weird --check --config FILE
END
exit $rc
