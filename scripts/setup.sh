#!/bin/bash
# Install the Debian packages that weir needs: exactly those that are missing, none when all are there.
#
#   scripts/setup.sh           what building and the demo need
#   scripts/setup.sh test      and what the tests need
#
# Needs root, or sudo, only when something is missing. The network is used by apt-get alone.
# Exit: 0 all there, 1 this machine does not fit, or the packages cannot be had.
set -euo pipefail

# package, and what it is for
build_packages='
gcc                     the compiler
libc6-dev               the C library, for compiling
meson                   the build: what to do
ninja-build             the build: doing it
pkgconf                 finds the libraries
libck-dev               atomics (shm/weir_atomic.h)
libxxhash-dev           names and checksums
liburing-dev            the one wait point of the worker
libcurl4-openssl-dev    HTTP and TLS
libyaml-dev             the configuration
libssl-dev              signatures, and the certificates that are believed, read before the cage closes
libseccomp-dev          the cage of the worker: system calls
libcap-dev              the cage of the worker: capabilities
libjansson-dev          JSON: logs, reports
libmicrohttpd-dev       weir-sim, the exchange simulator
libhiredis-dev          weir-bench compares with Redis
tzdata                  days and months of a time zone
libcmocka-dev           unit tests, which are built with the rest
'
test_packages='
g++                     weir.h is tried from C++
clang                   fuzzing, by libFuzzer
libclang-rt-14-dev      the runtime of libFuzzer
python3                 lint tests, mutants
curl                    asks weir-sim from outside
nginx-light             the server that weir-bench measures against, and a judge of token buckets
openssl                 certificates for tests
tinyproxy               the proxy that calls go through in a test
haproxy                 a judge of smoothed senders
redis-server            the peer that weir-bench measures against
procps                  ps, pgrep in the tests with processes
mandoc                  the man pages are checked and rendered
'

say() { printf 'setup: %s\n' "$*"; }
fail() {
    printf 'setup: %s\n' "$*" >&2
    exit 1
}

check_machine() {
    local id version
    id=$(sed -n 's/^ID=//p' /etc/os-release 2>/dev/null || true)
    version=$(sed -n 's/^VERSION_ID="\(.*\)"$/\1/p' /etc/os-release 2>/dev/null || true)
    [ "$(uname -sm)" = 'Linux x86_64' ] ||
        fail "this is $(uname -sm); weir runs on x86-64 Linux only: the clock reads its TSC"
    [ "$id $version" = 'debian 12' ] ||
        say "this is ${id:-unknown} $version; weir is made and tested on Debian 12, so packages may be named otherwise here"
    if ! command -v dpkg-query apt-get >/dev/null; then
        fail "no dpkg or apt-get here: install by hand: $(names)"
    fi
}

names() { awk 'NF {printf "%s ", $1}' <<<"$wanted"; }

missing() {
    local name
    for name in $(names); do
        [ "$(dpkg-query -W -f '${db:Status-Status}' "$name" 2>/dev/null)" = installed ] || echo "$name"
    done
}

# A package that brings a server would start it at once. weir wants the programs only: policy-rc.d says no to every start while we
# install, and what was put there is taken away again. Where the machine has a policy of its own it stays as it is.
policy=/usr/sbin/policy-rc.d
policy_ours=
services_forbid() {
    [ ! -e "$policy" ] || return 0
    policy_ours=1
    trap services_allow EXIT
    "${as_root[@]}" sh -c "printf '#!/bin/sh\nexit 101\n' >'$policy' && chmod 755 '$policy'"
}
services_allow() {
    [ -z "$policy_ours" ] || "${as_root[@]}" rm -f "$policy"
    policy_ours=
}

# Nor shall they come up at the next boot, unless they were here before.
services_disable() {
    local name unit
    command -v systemctl >/dev/null || return 0
    for name in "$@"; do
        unit=${name%-light}
        case $name in
        nginx-light | redis-server | haproxy) "${as_root[@]}" systemctl disable "$unit" >/dev/null 2>&1 || true ;;
        esac
    done
}

install() {
    local -a packages=("$@")
    local name
    say "these Debian packages are missing and will be installed by apt-get:"
    for name in "${packages[@]}"; do
        grep "^$name " <<<"$wanted" | sed 's/^/setup:   /'
    done
    as_root=()
    if [ "$(id -u)" != 0 ]; then
        command -v sudo >/dev/null ||
            fail "that needs root and there is no sudo: run as root: apt-get install --no-install-recommends ${packages[*]}"
        as_root=(sudo)
    fi
    as_root+=(env DEBIAN_FRONTEND=noninteractive)
    if ! apt-cache show "${packages[@]}" >/dev/null 2>&1; then
        say "apt-get update: the package lists are not there yet"
        "${as_root[@]}" apt-get -q update </dev/null
    fi
    services_forbid
    "${as_root[@]}" apt-get -q -y --no-install-recommends install "${packages[@]}" </dev/null ||
        fail "apt-get could not install them: see above; if a file was not found, run apt-get update and try again"
    services_allow
    services_disable "${packages[@]}"
}

wanted=$build_packages
case ${1:-build} in
build) ;;
test) wanted+=$test_packages ;;
*) fail "usage: scripts/setup.sh [build | test]" ;;
esac
check_machine
mapfile -t absent < <(missing)
if [ "${#absent[@]}" != 0 ]; then
    install "${absent[@]}"
    mapfile -t absent < <(missing)
    [ "${#absent[@]}" = 0 ] || fail "still missing: ${absent[*]}"
fi
say "all $(names | wc -w) packages are there"
