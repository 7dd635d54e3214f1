#!/bin/bash
# The demo as a test: with the right configuration it passes, with a quota above the exchange's it must say which promise broke.
# usage: demo_test.sh WEIR-DEMO WEIR-SIM WEIRD CONFIG-FOLDER       exit: 0 passed, 1 failed
set -euo pipefail
demo=$1 sim=$2 weird=$3 config=$4
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

run() { "$demo" --sim "$sim" --weird "$weird" --config "$1" --work "$work" --seconds "$2"; }

if ! run "$config" 10; then
    cat "$work"/*.log
    exit 1
fi

mkdir "$work/wrong"
cp "$config/sim.json" "$work/wrong"
sed 's/quota: 200,/quota: 260,/' "$config/weir.yaml" >"$work/wrong/weir.yaml"
if run "$work/wrong" 8 >"$work/out" 2>&1; then
    cat "$work/out"
    echo "FAILED: a quota above the exchange's broke no promise"
    exit 1
fi
grep 'BROKEN  no 429' "$work/out"
