#!/bin/bash
# What `ninja install` puts in place, used from outside the tree: programs, library, header, pkg-config, man pages, examples.
# usage: installed.sh SOURCE-DIR BUILD-DIR CC CXX        exit: 0 passed, 1 failed, 77 skipped (no meson, no C++)
set -euo pipefail
source_dir=${1:?usage: installed.sh SOURCE-DIR BUILD-DIR CC CXX}
build_dir=${2:?}
cc=${3:?}
cxx=${4:?}
for program in meson pkg-config nm "$cc" "$cxx"; do
    command -v "$program" >/dev/null || { echo "skipped: $program is not installed"; exit 77; }
done

work=$(mktemp -d)
root=$work/root
pids=()
failed=0
finish() {
    for pid in ${pids[@]+"${pids[@]}"}; do kill "$pid" 2>/dev/null || true; done
    wait 2>/dev/null || true
    rm -rf "$work"
}
trap finish EXIT

# is WHAT GOT WANTED
is() {
    if [ "$2" = "$3" ]; then
        echo "ok     $1"
    else
        failed=$((failed + 1))
        printf 'FAILED %s\n  got:    %s\n  wanted: %s\n' "$1" "$2" "$3"
    fi
}

# in_place PATTERN: one file of the installed tree
in_place() {
    is "in place: $1" "$(find "$root" -path "$root/*/$1" | wc -l)" 1
}

# Programs are compiled with pkg-config's flags and nothing else; the sysroot turns the prefix into our folder.
flags() {
    env PKG_CONFIG_SYSROOT_DIR="$root" PKG_CONFIG_LIBDIR="$pc_dir" pkg-config --cflags --libs "$@"
}

test_files() {
    local page
    for program in sbin/weird bin/weir bin/weir-sim bin/weir-bench; do
        in_place "$program"
        is "runs: $program" "$("$(find "$root" -path "*/$program")" --version 2>&1 | cut -d' ' -f1)" "${program#*/}"
    done
    for page in "$source_dir"/docs/man/*.[1-8]; do
        in_place "man/man${page##*.}/${page##*/}"
    done
    in_place include/weir/weir.h
    in_place include/weir/weir_types.h
    in_place doc/weir/examples/weir.yaml
    is 'headers: the public ones only' "$(find "$root" -name '*.h' | wc -l)" 2
}

# libweir.so.1 exports what weir.h declares, each name with a version, and nothing else.
test_symbols() {
    local exported declared
    # symbol@@VERSION
    exported=$(nm -D --defined-only "$lib_dir/libweir.so.1" | awk '$2 != "A" {print $3}' | sort)
    declared=$(grep -A1 '^WEIR_API' "$source_dir/libclient/weir.h" | grep -o '\bweir_[a-z0-9_]*(' | tr -d '(' | sort -u)
    is 'symbols: all have a version' "$(grep -cv '^weir_[a-z0-9_]*@@WEIR_[0-9.]*$' <<<"$exported" || true)" 0
    is 'symbols: those of weir.h' "$(cut -d@ -f1 <<<"$exported")" "$declared"
    is 'soname' "$(objdump -p "$lib_dir/libweir.so.1" | awk '$1 == "SONAME" {print $2}')" libweir.so.1
}

test_programs() {
    local wanted
    wanted=$(printf 'version: %s\ntext: no broker answers under this name\nopen: no broker' \
        "$(sed -n "s/^ *version: '\(.*\)',/\1/p" "$source_dir/meson.build" | head -1)")
    cp "$source_dir/tests/install/program.c" "$work/program.c"
    cp "$source_dir/tests/install/program.c" "$work/program.cc"
    # shellcheck disable=SC2046 # flags are words
    "$cc" -std=c11 -Wall -Wextra -Wpedantic -Werror -o "$work/in_c" "$work/program.c" $(flags weir)
    is 'a program in C' "$("$work/in_c")" "$wanted"
    # shellcheck disable=SC2046 # flags are words
    "$cxx" -std=c++17 -Wall -Wextra -Wpedantic -Werror -o "$work/in_cxx" "$work/program.cc" $(flags weir)
    is 'a program in C++' "$("$work/in_cxx")" "$wanted"
}

# broker_start CONFIG: weir-sim and weird as they were installed
broker_start() {
    local url
    echo '{"latency_ms": 1}' >"$work/sim.json"
    "$root"/usr/local/bin/weir-sim --config "$work/sim.json" --listen 127.0.0.1:0 >"$work/sim.out" 2>&1 &
    pids+=($!)
    for _ in $(seq 100); do
        url=$(sed -n 's/^weir-sim listening on //p' "$work/sim.out")
        [ -z "$url" ] || break
        sleep 0.05
    done
    sim_url=http://$url
    # The example's configuration, with the simulator in the exchange's place.
    sed -e "s|https://api.binance.com|$sim_url|" -e '/api1.binance.com/d' "$1" >"$work/weir.yaml"
    mkdir "$work/run"
    export WEIR_RUNTIME_DIR=$work/run
    "$root"/usr/local/sbin/weird --config "$work/weir.yaml" --state-dir none 2>"$work/weird.log" &
    pids+=($!)
    for _ in $(seq 200); do
        ! grep -q clock_realigned "$work/weird.log" || return 0
        sleep 0.05
    done
    cat "$work/weird.log"
    echo 'FAILED weird did not learn the time of weir-sim'
    exit 1
}

# The examples, from their installed sources, on the example's configuration.
test_examples() {
    local dir=$root/usr/local/share/doc/weir/examples name libs
    broker_start "$dir/weir.yaml"
    for name in own_transport make_calls epoll_loop; do
        libs=weir
        # libcurl is the system's: no sysroot for it
        # shellcheck disable=SC2046 # flags are words
        "$cc" -std=gnu11 -Wall -Wextra -Werror -o "$work/$name" "$dir/$name.c" $(flags "$libs") \
            $([ "$name" != own_transport ] || pkg-config --cflags --libs libcurl)
    done
    is 'own_transport' "$("$work/own_transport" default binance.depth "$sim_url/api/v3/depth?symbol=BTCUSDT" | sort | uniq -c | sed 's/^ *//')" \
        '10 sent, status 200'
    is 'make_calls' "$("$work/make_calls" | grep -c '^status 200')" 5
    is 'epoll_loop' "$("$work/epoll_loop")" '100 answered with 200, 0 otherwise'
    is 'an unknown route' "$("$work/make_calls" default binance.zork 2>&1 | cut -d: -f1-2)" 'binance.zork: the configuration has no such route'
    is 'no broker' "$("$work/make_calls" nobody 2>&1 | cut -d: -f1)" 'cannot attach'
}

DESTDIR=$root meson install -C "$build_dir" --no-rebuild --quiet
pc_dir=$(dirname "$(find "$root" -name weir.pc)")
lib_dir=$(dirname "$(find "$root" -name libweir.so.1)")
export LD_LIBRARY_PATH=$lib_dir
test_files
test_symbols
test_programs
test_examples
echo "$failed failed"
[ $failed = 0 ]
