#!/bin/bash
# The demo as a test: with the right configuration it passes, with a quota above the exchange's it must say which promise broke.
# usage: demo_test.sh WEIR-DEMO WEIR-SIM WEIRD CONFIG-FOLDER       exit: 0 passed, 1 failed
set -euo pipefail
demo=$1 sim=$2 weird=$3 config=$4
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# run CONFIG-FOLDER WORK-FOLDER SECONDS
run() { "$demo" --sim "$sim" --weird "$weird" --config "$1" --work "$2" --seconds "$3"; }

# Beside each other: they sleep most of the time.
mkdir "$work/right" "$work/wrong"
cp "$config/sim.json" "$work/wrong"
sed 's/quota: 200,/quota: 260,/' "$config/weir.yaml" >"$work/wrong/weir.yaml"
run "$work/wrong" "$work/wrong" 8 >"$work/out" 2>&1 &

if ! run "$config" "$work/right" 10; then
    cat "$work/right"/*.log
    kill $!
    exit 1
fi

if wait $!; then
    cat "$work/out"
    echo "FAILED: a quota above the exchange's broke no promise"
    exit 1
fi
grep 'BROKEN  no 429' "$work/out"
