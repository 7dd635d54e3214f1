#!/bin/bash
# weir-sim from outside, by curl: answers, headers, counts, bans, faults, control paths, exit codes.
# usage: e2e.sh PATH-TO-weir-sim        exit: 0 passed, 1 failed, 77 skipped (no curl)
set -u
sim=${1:?usage: e2e.sh PATH-TO-weir-sim}
# shellcheck source=tests/sim/sim_lib.sh
. "$(dirname "$0")/sim_lib.sh"

weight='{"name":"w","kind":"fixed_window","quota":20,"window_ms":31622400000,"header":"x-mbx-used-weight-1m"}'
orders='{"name":"o","kind":"fixed_window","quota":2,"window_ms":31622400000,"scope":"key","counts":"orders","header":"x-mbx-order-count-1d"}'

test_command_line() {
    is 'help' "$("$sim" --help)" 'usage: weir-sim*'
    is 'version' "$("$sim" --version)" 'weir-sim [0-9]*'
    "$sim" --nonsense >/dev/null 2>&1
    is 'unknown option' $? 1
    is 'bad address' "$("$sim" --listen here 2>&1; echo $?)" \
        'weir-sim: --listen here: must be IPV4-ADDRESS:PORT*1'
    echo '{"limits": [{"name": "w", "kind": "leaky", "quota": 1}]}' >"$work/bad.json"
    is 'bad configuration' "$("$sim" --config "$work/bad.json" 2>&1; echo $?)" \
        "weir-sim: bad configuration: $work/bad.json: limits[[]0].kind=\"leaky\": must be one of \"fixed_window\", \"token_bucket\", *
2"
}

test_binance_paths() {
    sim_start '{"clock_offset_ms": 3600000}'
    is 'ping' "$(get "$url/api/v3/ping")" '{}'
    local ahead_ms=$(($(get "$url/api/v3/time" | tr -dc 0-9) - $(date +%s%3N)))
    is 'clock offset' $((ahead_ms > 3595000 && ahead_ms <= 3600000)) 1
    is 'time in µs' "$(get -H 'X-MBX-TIME-UNIT: MICROSECOND' "$url/api/v3/time" | tr -dc 0-9 | wc -c)" 16
    is 'exchangeInfo' "$(get "$url/api/v3/exchangeInfo")" \
        '*"rateLimitType":"REQUEST_WEIGHT","interval":"MINUTE","intervalNum":1,"limit":6000*"symbol":"BTCUSDT"*'
    is 'depth levels' "$(get "$url/api/v3/depth?symbol=ETHUSDT&limit=7" | grep -o '\["' | wc -l)" 14
    is 'depth of a cheap coin' "$(get "$url/api/v3/depth?symbol=FILUSDT&limit=5000")" '*"[0-9]*.[0-9]*0"]]}'
    is 'depth, no such symbol' "$(get "$url/api/v3/depth?symbol=NOPE")" '{"code":-1121,"msg":"Invalid symbol."}'
    is 'price' "$(get "$url/api/v3/ticker/price?symbol=BTCUSDT")" '{"symbol":"BTCUSDT","price":"64*"}'
    is '24hr' "$(get "$url/api/v3/ticker/24hr?symbol=BTCUSDT")" '*"lastPrice":"64*'
    is 'unknown path' "$(get "$url/api/v3/nowhere" -w '%{http_code}')" '{"code":-1121,*}404'
    is 'echo' "$(get "$url/echo?a=b%20c" -d hello)" '*"method":"POST"*"a":"b c"*"body":"hello"*'
    is 'bytes' "$(get "$url/bytes/30")" abcdefghijklmnopqrstuvwxyzabcd
    is 'chunked' "$(get -D - "$url/chunked/3" | tr -d '\r' | grep -v Date)" '*Transfer-Encoding: chunked*abc'
    is 'bytes, no number' "$(status "$url/bytes/x")" 400
}

test_weights_and_bans() {
    sim_start "{\"trust_sim_ip\": true, \"ban_after\": 2, \"ban_first_ms\": 700, \"limits\": [$weight]}"
    is 'used weight' "$(header x-mbx-used-weight-1m "$url/api/v3/depth?symbol=BTCUSDT")" 5
    is 'used weight adds up' "$(header x-mbx-used-weight-1m "$url/api/v3/ping")" 6
    is 'another address' "$(header x-mbx-used-weight-1m -H 'X-Sim-Ip: 10.0.0.9' "$url/api/v3/ping")" 1
    is 'an address of odd bytes keeps its row' \
        "$(get -o /dev/null -H $'X-Sim-Ip: \xff' "$url/api/v3/ping"; get "$url/sim/report")" '*"caller":"(unprintable)"*'
    is 'tools cost nothing' "$(header x-mbx-used-weight-1m "$url/bytes/1")" ''
    is 'beyond the quota' "$(get -w '%{http_code}' "$url/api/v3/exchangeInfo")" '{"code":-1003,*}429'
    is 'Retry-After of 429' "$(header retry-after "$url/api/v3/ping")" '[1-9]*'
    is 'going on' "$(get -w '%{http_code}' "$url/api/v3/ping")" '{"code":-1003,*IP banned until*}418'
    is 'Retry-After of 418' "$(header retry-after "$url/bytes/1")" 1
    is 'others are not banned' "$(status -H 'X-Sim-Ip: 10.0.0.9' "$url/api/v3/ping")" 200
    sleep 0.8
    is 'ban ends' "$(status "$url/bytes/1")" 200
    is 'report' "$(get "$url/sim/report")" \
        '*"arrivals":11,*"highest":28,"violations":3,*"bans":[[]{"ip":"127.0.0.1",*"bans":1,"refused_while_banned":2}]*"418":2,"429":2,*'
    control POST reset
    is 'reset' "$(get "$url/sim/report")" '*"arrivals":0,"limits":[[]],"violations":0,*'
}

test_window_boundary() {
    sim_start '{"limits": [{"name":"w","kind":"fixed_window","quota":1,"window_ms":400}]}'
    is 'first' "$(status "$url/api/v3/ping")" 200
    # The next call may open a window of its own; sooner or later two meet in one.
    is 'two in one window' "$(until [ "$(status "$url/api/v3/ping")" = 429 ]; do :; done; echo 429)" 429
    sleep 0.4
    is 'next window' "$(status "$url/api/v3/ping")" 200
    control POST clock '{"offset_ms": 86400000}'
    is 'shifted clock: another window' "$(status "$url/api/v3/ping")" 200
    is 'Date follows' "$(header date "$url/api/v3/ping" | cut -c6-16)" "$(date -u -d '+1 day' +'%d %b %Y')"
}

test_token_bucket() {
    sim_start '{"limits": [{"name":"b","kind":"token_bucket","quota":2,"refill_per_s":1,"counts":"requests"}]}'
    is 'burst' "$(status "$url/api/v3/ping") $(status "$url/api/v3/ping")" '200 200'
    is 'empty' "$(status "$url/api/v3/ping")" 429
    sleep 1.1
    is 'refilled' "$(status "$url/api/v3/ping")" 200
    is 'report of a bucket' "$(get "$url/sim/report")" \
        '*"kind":"token_bucket",*"highest":2,"violations":1,*"level_min":0.*"deficit_max":0.*'
}

test_orders() {
    sim_start "{\"limits\": [$weight, $orders]}"
    local order=$url/api/v3/order
    is 'place by form' "$(get "$order" -H 'X-MBX-APIKEY: k' -d 'symbol=BTCUSDT&newClientOrderId=a%2D1')" \
        '{"symbol":"BTCUSDT","orderId":1,*"clientOrderId":"a-1",*"status":"NEW"}'
    is 'query' "$(get "$order?symbol=BTCUSDT&origClientOrderId=a-1")" '*"orderId":1,*"status":"NEW"}'
    is 'place again, by query' "$(get -X POST "$order?newClientOrderId=a-1" -H 'X-MBX-APIKEY: k')" '{"code":-2010,*'
    is 'order count of a key' "$(header x-mbx-order-count-1d -X POST "$order" -H 'X-MBX-APIKEY: j')" 1
    is 'too many orders' "$(get -w '%{http_code}' -X POST "$order?newClientOrderId=a-2" -H 'X-MBX-APIKEY: k')" \
        '{"code":-1015,*}429'
    is 'bad client id' "$(get -X POST "$order?newClientOrderId=a%20b" -H 'X-MBX-APIKEY: j')" '{"code":-1100,*'
    is 'cancel' "$(get -X DELETE "$order?orderId=1")" '*"orderId":1,*"status":"CANCELED"}'
    is 'cancel again' "$(get -X DELETE "$order?orderId=1")" '{"code":-2011,*'
    is 'no such order' "$(get "$order?orderId=99")" '{"code":-2013,*'
    is 'duplicates' "$(get "$url/sim/report")" \
        '*"orders":{"accepted":3,"distinct":2,"duplicates":1,"duplicate_ids":[[]"a-1"]}}'
    is 'list' "$(get "$url/sim/orders")" '[[]{"client_order_id":"a-1","order_id":1,"first_us":*,"times":2},*'
}

test_faults() {
    sim_start "{\"limits\": [$weight], \"faults\": [{\"kind\": \"status\", \"path\": \"/echo\", \"status\": 502, \"retry_after_s\": 7}]}"
    is 'status from the configuration' "$(status "$url/echo")" 502
    is 'Retry-After of a fault' "$(header retry-after "$url/echo")" 7
    control DELETE fault
    is 'cleared' "$(status "$url/echo")" 200

    control POST fault '{"kind": "reset", "count": 1}'
    is 'reset' "$(rc "$url/api/v3/ping")" 56
    is 'reset was counted' "$(header x-mbx-used-weight-1m "$url/api/v3/ping")" 2
    control POST fault '{"kind": "reset_before_count", "count": 1, "method": "GET"}'
    is 'reset before counting' "$(rc "$url/api/v3/ping")" 56
    is 'was not counted' "$(header x-mbx-used-weight-1m "$url/api/v3/ping")" 3
    control POST fault '{"kind": "half_body", "count": 1}'
    is 'half body' "$(rc "$url/bytes/100000")" 18
    control POST fault '{"kind": "half_body", "count": 1}'
    is 'half body, chunked' "$(rc "$url/chunked/100000")" 18
    control POST fault '{"kind": "stall", "count": 1}'
    is 'stall outlasts the client' "$(curl -s --max-time 0.3 "$url/echo"; echo $?)" 28
    control POST fault '{"kind": "stall", "count": 1, "delay_ms": 50}'
    is 'stall ends without an answer' "$(rc "$url/echo")" 52
    control POST fault '{"kind": "slow_first_byte", "count": 1, "delay_ms": 300}'
    is 'slow first byte' "$(get -o /dev/null -w '%{time_starttransfer}\n' "$url/echo" | awk '{print ($1 >= 0.3)}')" 1
    control POST fault '{"kind": "close_idle", "count": 1}'
    is 'close idle' "$(get -o /dev/null -o /dev/null -w '%{http_code}/%{num_connects} ' "$url/bytes/1" "$url/bytes/1")" \
        '200/1 200/1 '
    control POST fault '{"kind": "reset", "count": 1, "reused_only": true}'
    is 'reset on a reused connection: curl sends again by itself' \
        "$(get -o /dev/null -o /dev/null -w '%{http_code} ' "$url/api/v3/ping" "$url/api/v3/ping")" '200 200 '
    is 'and it was counted twice' "$(header x-mbx-used-weight-1m "$url/api/v3/ping")" 7
    is 'bad fault' "$(get "$url/sim/fault" -d '{"kind": "status", "status": 99}')" \
        '{"code":-1,"msg":"status=99: must be an integer from 200 to 599"}'
    is 'listed' "$(get "$url/sim/fault")" '[[]{"kind":"reset",*"hits":1}*'
    is 'unknown control' "$(status "$url/sim/nothing")" 404
}

test_latency() {
    sim_start "{\"latency_ms\": 3000, \"count_delay_ms\": 1500, \"limits\": [$weight]}"
    get -o /dev/null "$url/api/v3/ping" &
    local waiting=$!
    sleep 0.5
    is 'counted late' "$(get "$url/sim/report")" '*"arrivals":0,*'
    local tries=100
    until [[ "$(get "$url/sim/report")" == *'"arrivals":1,'* ]] || [ $((tries--)) = 0 ]; do
        sleep 0.05
    done
    is 'counted before the answer' "$(get "$url/sim/report")" '*"arrivals":1,*"by_status":{"none":0}*'
    wait $waiting
    is 'answered' "$(get "$url/sim/report")" '*"by_status":{"200":1,"none":0}*'
    # Two hundred slow answers side by side take as long as one.
    local began_ms
    began_ms=$(date +%s%3N)
    curl --no-progress-meter --parallel --parallel-immediate --parallel-max 200 -o /dev/null \
        "$url/bytes/[1-200]" 2>/dev/null
    local took_ms=$(($(date +%s%3N) - began_ms))
    is "200 slow calls at once (took $took_ms ms)" $((took_ms < 12000)) 1
    is 'all arrived' "$(get "$url/sim/report")" '*"GET /bytes/":200*'
    get -o /dev/null "$url/api/v3/ping" >/dev/null &
    sleep 0.1
    sim_stop
    is 'SIGTERM ends it, calls waiting or not' "$sim_rc $(cat "$work/err")" '0 '
}

# Out and back are drawn apart, from their own ranges.
test_asymmetric_jitter() {
    sim_start "{\"count_delay_ms\": 10, \"count_jitter_ms\": 190, \"latency_ms\": 5, \"seed\": 7, \"limits\": [$weight]}"
    local i least_ms most_ms
    for i in $(seq 20); do get -o /dev/null -w '%{time_starttransfer}\n' "$url/bytes/$i"; done >"$work/times"
    least_ms=$(sort -n "$work/times" | head -1 | awk '{print int($1 * 1000)}')
    most_ms=$(sort -n "$work/times" | tail -1 | awk '{print int($1 * 1000)}')
    is "none below both floors (least $least_ms ms)" $((least_ms >= 15)) 1
    is "and not all the same (most $most_ms ms)" $((most_ms - least_ms > 50)) 1
}

tests_run
