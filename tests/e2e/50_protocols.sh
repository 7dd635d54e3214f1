#!/bin/bash
# How a call reaches its server: HTTP/2 by agreement, a client's certificate, a proxy, compressed answers. The servers are nginx and tinyproxy; what arrived is read
# from what they say and from their logs.
# usage: 50_protocols.sh WEIR WEIRD        exit: 0 passed, 1 failed
set -u
weir=${1:?usage: 50_protocols.sh WEIR WEIRD}
weird=${2:?}

work=$(mktemp -d)
chmod 755 "$work" # nginx and tinyproxy may drop root
export WEIR_RUNTIME_DIR=$work/run WEIR_NAME=e2e
unset XDG_RUNTIME_DIR
mkdir "$WEIR_RUNTIME_DIR"
pids=()
passed=0
failed=0
# shellcheck source=tests/support/promise.sh
source "$(dirname "$0")/../support/promise.sh"
trap 'rc=$?; kill -9 "${pids[@]}" 2>/dev/null; wait 2>/dev/null; promise_status $rc "$work"; rc=$?; rm -rf "$work"; exit $rc' EXIT

# is WHAT GOT WANTED-PATTERN
is() {
    # shellcheck disable=SC2053 # the right side is a pattern on purpose
    if [[ $2 == $3 ]]; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        printf 'FAILED %s\n  got:    %s\n  wanted: %s\n' "$1" "$2" "$3"
    fi
}

until_true() {
    local end=$((SECONDS + $1))
    shift
    while ! "$@" >/dev/null 2>&1; do
        [ $SECONDS -lt $end ] || return 1
        sleep 0.1
    done
}

# call ROUTE MORE...: sets $out, $err, $rc
call() {
    out=$("$weir" call "$@" 2>"$work/err")
    rc=$?
    err=$(<"$work/err")
}

# N free ports
ports() { python3 -c '
import socket, sys
s = [socket.socket() for _ in range(int(sys.argv[1]))]
[x.bind(("127.0.0.1", 0)) for x in s]
print(*[x.getsockname()[1] for x in s])' "$1"; }

# pair NAME ARGUMENTS: NAME.pem and NAME.key, signed by ca
pair() {
    openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$1" -keyout "$work/$1.key" -out "$work/$1.csr" 2>/dev/null
    openssl x509 -req -in "$work/$1.csr" -CA "$work/ca.pem" -CAkey "$work/ca.key" -CAcreateserial -days 2 -out "$work/$1.pem" -extfile <(echo "$2") 2>/dev/null
}

certificates() {
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=ca -keyout "$work/ca.key" -out "$work/ca.pem" 2>/dev/null
    pair server 'subjectAltName=IP:127.0.0.1,DNS:exchange.test'
    pair trader 'extendedKeyUsage=clientAuth'
    pair stranger 'extendedKeyUsage=clientAuth'
    openssl ec -aes128 -passout pass:x -in "$work/trader.key" -out "$work/locked.key" 2>/dev/null
    chmod 600 "$work"/*.key
}

servers() {
    local i user=
    [ "$(id -u)" != 0 ] || user='user root;'
    mkdir "$work/www"
    printf '{"answer": "%s"}\n' "$(printf 'again and %.0s' {1..400})" >"$work/www/large.json"
    printf '%02000000d' 7 | gzip -9 >"$work/www/bomb.json"
    head -c 300000 /dev/zero | tr '\0' x >"$work/www/slow.json"
    cat >"$work/nginx.conf" <<EOF2
$user
daemon off; master_process off; pid $work/nginx.pid; error_log $work/nginx.err emerg;
events { worker_connections 256; }
http {
  log_format seen '\$server_port \$request_uri \$status \$connection \$server_protocol \$http_accept_encoding';
  access_log $work/nginx.log seen;
  client_body_temp_path $work/t1; proxy_temp_path $work/t2; fastcgi_temp_path $work/t3; uwsgi_temp_path $work/t4; scgi_temp_path $work/t5;
  types { application/json json; }
  gzip on; gzip_min_length 100; gzip_types application/json;
  root $work/www;
  ssl_certificate $work/server.pem; ssl_certificate_key $work/server.key; ssl_client_certificate $work/ca.pem;
  ssl_session_cache shared:s:1m;
  server {
    listen 127.0.0.1:$h2 ssl http2; listen 127.0.0.1:$h2asked ssl; listen 127.0.0.1:$h1 ssl http2;
    location /hello { default_type text/plain; return 200 "\$server_protocol \$connection"; }
    location /slow { limit_rate 20k; try_files /slow.json =404; }
  }
  server {
    listen 127.0.0.1:$mtls ssl; listen 127.0.0.1:$nobody ssl; listen 127.0.0.1:$locked ssl; listen 127.0.0.1:$wrong ssl; ssl_verify_client on;
    location /hello { default_type text/plain; return 200 "\$ssl_client_verify \$ssl_client_s_dn \$ssl_session_reused"; }
  }
  server {
    listen 127.0.0.1:$plain; listen 127.0.0.1:$behind; listen 127.0.0.1:$tunnel ssl;
    location /hello { default_type text/plain; return 200 "\$http_via|\$http_x_secret"; }
    location /bomb.json { gzip off; add_header Content-Encoding gzip; }
  }
}
EOF2
    nginx -p "$work" -c "$work/nginx.conf" -e "$work/nginx.err" &
    pids+=($!)
    cat >"$work/proxy.conf" <<EOF2
Port $proxy
Listen 127.0.0.1
Timeout 30
LogFile "$work/proxy.log"
LogLevel Connect
MaxClients 20
Allow 127.0.0.1
EOF2
    tinyproxy -d -c "$work/proxy.conf" >/dev/null 2>&1 &
    pids+=($!)
    for i in $h2 $mtls $plain $proxy; do
        until_true 20 bash -c ": </dev/tcp/127.0.0.1/$i" || { echo "port $i does not listen: $(<"$work/nginx.err")"; exit 1; }
    done
}

# provider NAME URL MORE ROUTES
provider() {
    cat <<EOF2
  - name: $1
    clock: {source: host, error: 1ms}
    limits: [{name: n, kind: token_bucket, quota: 1000, window: 1s}]
    headers: [{name: x-secret, value: hush}]
    endpoints: [{name: $1, url: "$2", $3}]
    routes:
      - {name: hello, method: GET, path: /hello, cost: {n: 1}, timeout: 10s}
      - {name: large, method: GET, path: /large.json, cost: {n: 1}, timeout: 10s, max_response: 64KiB}
      - {name: bomb, method: GET, path: /bomb.json, cost: {n: 1}, timeout: 10s, max_response: 64KiB}
      - {name: slow, method: GET, path: /slow, cost: {n: 1}, timeout: 500ms, max_response: 400KiB}
EOF2
}

broker_start() {
    {
        echo 'broker: {name: e2e, state_dir: none, domains: [{name: default, arena: 4MiB}]}'
        echo 'providers:'
        provider h2 "https://127.0.0.1:$h2" "http: 2, ca_file: $work/ca.pem"
        provider h2asked "https://127.0.0.1:$h2asked" "http: 2, ca_file: $work/ca.pem"
        provider h1 "https://127.0.0.1:$h1" "ca_file: $work/ca.pem"
        provider mtls "https://127.0.0.1:$mtls" "ca_file: $work/ca.pem, client_cert: $work/trader.pem, client_key: $work/trader.key"
        provider nobody "https://127.0.0.1:$nobody" "ca_file: $work/ca.pem"
        provider locked "https://127.0.0.1:$locked" "ca_file: $work/ca.pem, client_cert: $work/trader.pem, client_key: $work/locked.key"
        provider wrong "https://127.0.0.1:$wrong" "ca_file: $work/ca.pem, client_cert: $work/trader.pem, client_key: $work/stranger.key"
        provider plain "http://127.0.0.1:$plain" "compressed: true"
        provider behind "http://127.0.0.1:$behind" "proxy: \"http://127.0.0.1:$proxy\""
        provider tunnel "https://127.0.0.1:$tunnel" "proxy: \"http://127.0.0.1:$proxy\", ca_file: $work/ca.pem"
    } >"$work/weir.yaml"
    http_proxy=http://127.0.0.1:1 https_proxy=http://127.0.0.1:1 ALL_PROXY=http://127.0.0.1:1 \
        "$weird" --config "$work/weir.yaml" --state-dir none >"$work/weird.out" 2>"$work/weird.err" &
    broker=$!
    pids+=("$broker")
    until_true 15 "$weir" stat || { echo "weird did not start: $(<"$work/weird.err")"; exit 1; }
}

test_http2() {
    call h2.hello
    is 'h2' "$rc $out" '0 HTTP/2.0 *'
    local first=${out##* }
    call h2.hello
    is 'h2: the same connection' "$rc $out" "0 HTTP/2.0 $first"
    call h2.slow
    is 'h2: its deadline' "$rc" 9
    call h2.hello
    is 'h2: not on the connection of a stream that was cut' "$rc ${out% *} $([ "${out##* }" != "$first" ] && echo another)" '0 HTTP/2.0 another'
    first=${out##* }
    call h2.large
    is 'h2: a body' "$rc $out" '0 {"answer": "again and *'
    call h2.hello
    is 'h2: goes on' "$out" "HTTP/2.0 $first"
    call h2asked.hello
    is 'h2: the server does not agree' "$rc $out" '0 HTTP/1.1 *'
    call h1.hello
    is 'h1: not asked for' "$rc $out" '0 HTTP/1.1 *'
}

test_identity() {
    call mtls.hello
    is 'certificate' "$rc $out" '0 SUCCESS CN=trader *'
    call nobody.hello
    is 'certificate: none' "$rc" 7
    is 'certificate: none' "$out" '*No required SSL certificate was sent*'
    call locked.hello
    is 'key with a pass phrase' "$rc" 8
    call wrong.hello
    is "another's key" "$rc" 8
    is 'said: pass phrase' "$(grep -c 'client_certificate_not_read.*locked.key.*opens without a pass phrase' "$work/weird.err")" 1
    is 'said: wrong key' "$(grep -c 'client_certificate_not_read.*stranger.key.*not the key of the certificate' "$work/weird.err")" 1
    is 'nothing of the key in the log' "$(grep -c -F "$(sed -n 2p "$work/trader.key")" "$work/weird.err")" 0
    # A next worker reads them again; the TLS session of the one before is gone with it.
    local worker
    worker=$(pgrep -P "$broker" -x weird-worker)
    kill -9 "$worker"
    until_true 10 bash -c "p=\$(pgrep -P $broker -x weird-worker) && [ \$p != $worker ]"
    call mtls.hello
    is 'certificate: a next worker' "$rc $out" '0 SUCCESS CN=trader .'
}

test_proxy() {
    call behind.hello
    is 'proxy' "$rc $out" '0 *tinyproxy*|hush'
    call tunnel.hello
    is 'tunnel: the proxy sees nothing of it' "$rc $out" '0 |hush'
    is 'proxy: its log' "$(grep -c "CONNECT 127.0.0.1:$tunnel" "$work/proxy.log")" 1
    is 'tunnel: its answer alone' "$(call tunnel.hello --json; grep -c -i established <<<"$out")" 0
    call plain.hello
    is "none of the environment's" "$rc $out" '0 |hush'
}

test_compressed() {
    local worker
    worker=$(pgrep -P "$broker" -x weird-worker)
    call plain.large
    is 'compressed' "$rc $out" '0 {"answer": "again and *'
    is 'compressed: asked for' "$(grep -c "^$plain /large.json 200 .* gzip, br, zstd" "$work/nginx.log")" 1
    call behind.large
    is 'compressed: not asked for' "$(grep -c "^$behind /large.json 200 .* -$" "$work/nginx.log")" 1
    call plain.bomb
    is 'bomb' "$rc" '[79]'
    is 'bomb: said' "$err" '*too_large*'
    call plain.hello
    is 'bomb: the worker lives' "$rc" 0
    is 'bomb: the same worker' "$(pgrep -P "$broker" -x weird-worker)" "$worker"
}

read -r h2 h2asked h1 mtls nobody locked wrong plain behind tunnel proxy <<<"$(ports 11)"
certificates
servers
broker_start
test_http2
test_identity
test_proxy
test_compressed
kill "$broker"
wait "$broker"
is 'clean stop' "$?" 0
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
