#!/bin/bash
# The configurations of tests/sim/exchanges over HTTP: each exchange counts, reports and refuses in its own words.
# The wanted answers come from the exchanges' documentation (research/rate_limits.md of issue 3), not from a run.
# usage: exchanges.sh PATH-TO-weir-sim        exit: 0 passed, 1 failed, 77 skipped (no curl)
set -u
sim=${1:?usage: exchanges.sh PATH-TO-weir-sim}
here=$(dirname "$0")
# shellcheck source=tests/sim/sim_lib.sh
. "$here/sim_lib.sh"

# exchange NAME [SED-SCRIPT]: a file of exchanges/, changed where a test cannot wait. Its clock is 1 s into a minute: no window ends for 9 s.
exchange() {
    sim_start "$(sed "${2:-}" "$here/exchanges/$1.json")"
    control POST clock "{\"offset_ms\": $((61000 - $(date +%s%3N) % 60000))}"
}

json() { get -H 'Content-Type: application/json' "$@"; }
report() { get "$url/sim/report"; }

# row NAME FIELD: of the report's first row of a limit
row() { report | tr '{' '\n' | grep "\"name\":\"$1\"" | head -1 | sed -n "s/.*\"$2\":\([^,}]*\).*/\1/p"; }

test_all_are_taken() {
    local file
    for file in "$here"/exchanges/*.json; do
        sim_start "$(cat "$file")"
        is "$(basename "$file"): no violation without a call" "$(report)" '*"violations":0,*'
        sim_stop
    done
}

# Keys are read off the tables of fields in the sources.
test_every_key_is_documented() {
    local key page missing=
    for key in $(sed -n 's/^ *{"\([a-z_]*\)", SIM_FIELD_.*/\1/p' "$here"/sim_*.c | sort -u); do
        for page in "$here/README.md" "$here/../../docs/man/weir-sim.1"; do
            sed 's/\\(dq/"/g' "$page" | grep -w "$key" >/dev/null || missing="$missing $key:$(basename "$page")"
        done
    done
    is 'keys without a word in README.md or weir-sim(1)' "$missing" ''
    sim_start '{}'
}

test_binance_spot() {
    exchange binance_spot 's/"minus_one": 0.02/"minus_one": 0/'
    local order=$url/api/v3/order
    is 'a good order has weight 0' "$(header x-mbx-used-weight-1m "$order" -d newClientOrderId=a)" 0
    is 'and counts as an order' "$(header x-mbx-order-count-10s "$order" -d newClientOrderId=b)" 2
    is 'a failed one pays' "$(header x-mbx-used-weight-1m "$order" -d newClientOrderId=a)" 1
    is 'and shows no order count' "$(header x-mbx-order-count-10s "$order" -d newClientOrderId=a)" ''
    is 'nor has it one' "$(header x-mbx-order-count-10s "$order" -d newClientOrderId=c)" 3
    is 'a cancel that worked is free' "$(header x-mbx-used-weight-1m -X DELETE "$order?origClientOrderId=a")" 2
    is 'one that did not pays' "$(header x-mbx-used-weight-1m -X DELETE "$order?origClientOrderId=a")" 3
    is 'depth has its weight' "$(header x-mbx-used-weight-1m "$url/api/v3/depth?symbol=BTCUSDT&limit=1000")" 53
    control POST use '{"limit": "orders_10s", "caller": "(none)", "units": -2}'
    is 'fills give order counts back' "$(header x-mbx-order-count-10s "$order" -d newClientOrderId=d)" 2
    control POST use '{"limit": "weight_1m", "caller": "127.0.0.1", "units": 6000}'
    is 'foreign use fills the minute' "$(get -w '%{http_code}' "$url/api/v3/ping")" '{"code":-1003,*}429'
    for _ in $(seq 9); do status "$url/api/v3/ping" >/dev/null; done
    is 'going on: banned until' "$(get -w '%{http_code}' "$url/api/v3/ping")" '*IP banned until [0-9]*}418'
    is 'another address is not' "$(get --interface 127.0.0.2 -w '%{http_code}' "$url/api/v3/ping")" '{}200'
}

test_minus_one_and_missing() {
    exchange binance_spot 's/"minus_one": 0.02/"minus_one": 1/'
    is 'a header of -1' "$(header x-mbx-order-count-10s "$url/api/v3/order" -d newClientOrderId=a)" -1
    sim_stop
    exchange bitget 's/"missing": 0.3/"missing": 1/'
    is 'no header' "$(header x-mbx-used-remain-limit "$url/api/v2/spot/market/tickers")" ''
    sim_stop
    exchange bitget 's/"missing": 0.3/"missing": 0/'
    is 'left in this second' "$(header x-mbx-used-remain-limit "$url/api/v2/spot/market/tickers")" 19
}

test_binance_usdm() {
    exchange binance_usdm
    is 'depth by its limit' "$(header x-mbx-used-weight-1m "$url/fapi/v1/depth?limit=50")" 2
    is 'depth of 1000' "$(header x-mbx-used-weight-1m "$url/fapi/v1/depth?limit=1000")" 22
    is 'a batch: 5 of 10 s' "$(header x-mbx-order-count-10s "$url/fapi/v1/batchOrders" -d x=1)" 5
    is 'and 1 of 1 m' "$(header x-mbx-order-count-1m "$url/fapi/v1/batchOrders" -d x=1)" 2
    is 'and 5 of the address' "$(header x-mbx-used-weight-1m "$url/fapi/v1/batchOrders" -d x=1)" 37
    is 'time' "$(get "$url/fapi/v1/time")" '{"serverTime":[0-9]*}'
}

test_binance_sapi() {
    exchange binance_sapi
    is 'an endpoint' "$(header x-sapi-used-ip-weight-1m "$url/sapi/v1/capital/config/getall")" 10
    is 'another counts by itself' "$(header x-sapi-used-ip-weight-1m "$url/sapi/v1/system/status")" 1
    is 'by account' "$(header x-sapi-used-uid-weight-1m -X POST "$url/sapi/v1/asset/get-funding-asset")" 1
    is 'the report says which' "$(report)" '*"caller":"127.0.0.1 GET /sapi/v1/system/status"*'
}

test_okx() {
    exchange okx 's/"quota": 60,/"quota": 2,/; s/"quota": 300,/"quota": 3,/; s/"window_ms": 2000/"window_ms": 600000/'
    local order=$url/api/v5/trade/order
    is 'placed' "$(json "$order" -d '{"instId": "BTC-USDT", "clOrdId": "a"}')" '{"orderId":1,"clOrdId":"a"}'
    json "$order" -d '{"instId": "BTC-USDT", "clOrdId": "b"}' >/dev/null
    is 'refused inside 200' "$(json -w '%{http_code}' "$order" -d '{"instId": "BTC-USDT", "clOrdId": "c"}')" '{"code":"50011",*}200'
    is 'no Retry-After' "$(header retry-after "$order" -d '{"instId": "BTC-USDT"}')" ''
    is 'another instrument' "$(json "$order" -d '{"instId": "ETH-USDT", "clOrdId": "c"}')" '{"orderId":3,*'
    is 'another account' "$(json -H 'OK-ACCESS-KEY: k' "$order" -d '{"instId": "BTC-USDT", "clOrdId": "d"}')" '{"orderId":4,*'
    is 'a batch counts its orders' "$(json "$url/api/v5/trade/batch-orders" \
        -d '[{"clOrdId": "e"}, {"clOrdId": "f"}, {"clOrdId": "g"}, {"clOrdId": "h"}]')" '{"code":"50011",*'
    is 'report' "$(report | tr '{' '\n' | grep '"caller":"(none) BTC-USDT"')" '*"violations":2,"arrivals":4,*'
}

test_htx_spot() {
    exchange htx_spot
    local order=$url/v1/order/orders/place ends again
    is 'remaining' "$(header x-hb-ratelimit-requests-remain "$order?AccessKeyId=k" -d '{"client-order-id": "a"}')" 99
    ends=$(header x-hb-ratelimit-requests-expire "$order?AccessKeyId=k" -d '{"client-order-id": "b"}')
    again=$(header x-hb-ratelimit-requests-expire "$order?AccessKeyId=k" -d '{"client-order-id": "c"}')
    is 'the window keeps its end' "$((again == ends || again > ends + 1000))" 1
    is 'of at most 2 s' "$((ends - $(get "$url/v1/common/timestamp" | tr -dc 0-9) <= 2000))" 1
    is 'another endpoint' "$(header x-hb-ratelimit-requests-remain "$url/v1/order/batch-orders?AccessKeyId=k" -d '[]')" 4
}

test_htx_futures() {
    exchange htx_futures 's/"quota": 72/"quota": 1/; s/"window_ms": 3000/"window_ms": 60000/'
    local order=$url/linear-swap-api/v1/swap_order
    is 'interval' "$(header ratelimit-interval "$order" -d '{"client_order_id": "a"}')" 60000
    is 'err_code 1032' "$(json "$order" -d '{"client_order_id": "b"}')" '{"status":"error","err_code":1032,*"ts":"[0-9]*"}'
    get "$url/linear-swap-api/v1/swap_contract_info" >/dev/null
    is 'what is public, by address' "$(row public counted)" 1
    is 'the refusal reports, too' "$(header ratelimit-remaining "$order" -d '{"client_order_id": "b"}')" 0
}

test_coinbase() {
    exchange coinbase_exchange
    local codes
    codes=$(for _ in $(seq 17); do printf '%s/products/BTC-USD\n-o /dev/null\n' "$url"; done | sed 's/^http/url = http/; s/^-o /output = /' >"$work/urls"
        curl -s -K "$work/urls" -w '%{http_code} ')
    is 'a burst of 15, and what fills meanwhile' "$codes" '200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 *'
    is 'the bucket was never passed unseen' "$(row public violations) $(grep -o 429 <<<"$codes" | wc -l)" "$(grep -o 429 <<<"$codes" | wc -l) *"
    get "$url/loans/lending-overview" >/dev/null
    is 'loans' "$(row loans counted)" 1
    is 'time in seconds' "$(get --interface 127.0.0.2 "$url/time")" '{"epoch":[0-9]*}'
    sim_stop
    exchange coinbase_advanced
    is 'time as a text' "$(get "$url/api/v3/brokerage/time")" '{"epochMillis":"[0-9]*"}'
}

test_kraken_rest() {
    exchange kraken_rest 's/"quota": 15/"quota": 5/; s/"decay_per_s": 0.33/"decay_per_s": 0.0001/'
    is 'orders cost nothing here' "$(get -X POST "$url/0/private/AddOrder" >/dev/null; row counter highest)" ''
    get -X POST "$url/0/private/Ledgers" >/dev/null
    get -X POST "$url/0/private/Balance" >/dev/null
    is 'counter' "$(row counter highest)" 3
    get -X POST "$url/0/private/TradesHistory" >/dev/null
    is 'an error in 200' "$(get -X POST -w '%{http_code}' "$url/0/private/Balance")" '{"error":[[]"EAPI:Rate limit exceeded"]}200'
    get -X POST "$url/0/private/Balance" >/dev/null
    get -X POST "$url/0/private/Balance" >/dev/null
    is 'going on locks the key' "$(get -X POST "$url/0/private/Balance")" '{"error":[[]"EService: Throttled: [0-9]*"]}'
    is 'not the address' "$(get -X POST -H 'API-Key: k' "$url/0/private/Balance")" '{}'
    is 'report' "$(report)" '*"bans":[[]{"key":"(none)",*'
    is 'unixtime' "$(get -H 'API-Key: j' "$url/0/public/Time")" '{"result":{"unixtime":[0-9]*}}'
}

test_kraken_trading() {
    exchange kraken_trading 's/"decay_per_s": 2,/"decay_per_s": 0.0001,/'
    local private=$url/0/private
    # All is doubled in that file: add 2; amend below 5 s 2 + 6; cancel below 5 s 16; a batch of three adds 3.
    json "$private/AddOrder" -d '{"pair": "XBTUSD", "cl_ord_id": "a"}' >/dev/null
    is 'add' "$(row trading counted)" 2
    json "$private/AmendOrder" -d '{"pair": "XBTUSD", "cl_ord_id": "a"}' >/dev/null
    is 'amend' "$(row trading counted)" 10
    json "$private/CancelOrder" -d '{"pair": "XBTUSD", "cl_ord_id": "a"}' >/dev/null
    is 'cancel' "$(row trading counted)" 26
    is 'a cancel of what is gone' "$(json -w '%{http_code}' "$private/CancelOrder" -d '{"pair": "XBTUSD", "cl_ord_id": "a"}')" '*does not exist*200'
    is 'is free' "$(row trading counted)" 26
    json "$private/AmendOrder" -d '{"pair": "XBTUSD", "cl_ord_id": "a"}' >/dev/null
    is 'a failed amend pays its fixed part' "$(row trading counted)" 28
    json "$private/AddOrderBatch" -d '{"pair": "XBTUSD", "orders": [{"cl_ord_id": "b"}, {"cl_ord_id": "c"}, {"cl_ord_id": "d"}]}' >/dev/null
    is 'a batch of adds' "$(row trading counted)" 31
    control POST use '{"limit": "trading", "caller": "(none) XBTUSD", "units": 88}'
    is 'full' "$(json "$private/AddOrder" -d '{"pair": "XBTUSD", "cl_ord_id": "e"}')" '{"error":[[]"EOrder:Rate limit exceeded"]}'
    is 'a batch cancel passes all the same' "$(json "$private/CancelOrderBatch" -d '{"pair": "XBTUSD", "orders": ["b", "c", "d"]}')" '*{"code":0,"msg":"OK"}]}}'
    is 'beyond the maximum' "$(row trading counter_max)" '16[67].*'
    is 'another pair' "$(json "$private/AddOrder" -d '{"pair": "ETHUSD", "cl_ord_id": "e"}')" '{"orderId":5,*'
}

test_kraken_futures() {
    exchange kraken_futures 's/"quota": 500/"quota": 30/'
    json "$url/derivatives/api/v3/batchorder" -d '{"batchOrder": [{"cliOrdId": "a"}, {"cliOrdId": "b"}]}' >/dev/null
    is 'a batch: 9 + n' "$(row derivatives counted)" 11
    get "$url/derivatives/api/v3/fills?lastFillTime=1" >/dev/null
    is 'fills since: 25, refused' "$(row derivatives violations)" 1
    get "$url/history/v2/account-log?count=50" >/dev/null
    is 'history by count' "$(row history counted)" 2
}

test_bybit() {
    exchange bybit 's/"window_ms": 1000/"window_ms": 600000/'
    local key='X-BAPI-API-KEY: bot-1' batch answer
    is 'left' "$(header x-bapi-limit-status -H "$key" "$url/v5/order/create" -d '{"orderLinkId": "a"}')" 9
    is 'one account, two keys' "$(header x-bapi-limit-status -H 'X-BAPI-API-KEY: bot-2' "$url/v5/order/create" -d '{"orderLinkId": "b"}')" 8
    is 'limit' "$(header x-bapi-limit -H "$key" "$url/v5/order/realtime")" 50
    is 'Timenow and time' "$(get -D - "$url/v5/order/realtime" | tr -d '\r')" '*Timenow: [0-9]*{"time":[0-9]*}'
    is 'time in ns' "$(get "$url/v5/market/time")" '*"timeSecond":"??????????","timeNano":"???????????????????"}*'
    # 5 are left, 8 are sent: the first 5 succeed, the rest fails.
    control POST use '{"limit": "batch", "caller": "desk POST /v5/order/create-batch", "units": 5}'
    batch='{"request": ['$(for i in 1 2 3 4 5 6 7 8; do printf '{"orderLinkId": "n%s"},' $i; done)
    answer=$(json -H "$key" "$url/v5/order/create-batch" -d "${batch%,}]}")
    is 'partial grant' "$answer" '*{"orderId":[1-9]*,"orderLinkId":"n5"},{"orderId":0,"orderLinkId":"n6"}*'
    is 'five are good' "$(grep -o '"code":0,"msg":"OK"' <<<"$answer" | wc -l)" 5
    is 'three are not' "$(grep -o '"code":10006,"msg":"Too many visits!"' <<<"$answer" | wc -l)" 3
    is 'report' "$(row batch partial)/$(row batch granted)/$(row batch violations)" 1/5/1
    is 'none is left: 10006' "$(json -H "$key" "$url/v5/order/create-batch" -d '{"request": [{"orderLinkId": "z"}]}')" '{"retCode":10006,*'
    control POST use '{"limit": "ip", "caller": "127.0.0.1", "units": 600}'
    is 'the address: 403' "$(get -w '%{http_code}' "$url/v5/order/realtime")" '403, access too frequent403'
    is 'and then a ban' "$(report)" '*"bans":[[]{"ip":"127.0.0.1","banned_now":true*'
}

test_helius_and_jupiter() {
    exchange helius
    local rpc="$url/?api-key=k"
    is 'send' "$(json -w '%{http_code}' "$rpc" -d '{"method": "sendTransaction"}')" '*200'
    is 'one per second' "$(json -w '%{http_code}' "$rpc" -d '{"method": "sendTransaction"}')" '*429'
    json "$rpc" -d '{"method": "getAsset"}' >/dev/null
    is 'a group of its own' "$(row das counted)" 1
    is 'other methods are free of it' "$(json -w '%{http_code}' "$rpc" -d '{"method": "getSlot"}')" '*200'
    is 'a month' "$(row credits every)" '"month"'
    sim_stop
    exchange jupiter 's/"quota": 60/"quota": 2/'
    is 'left of another tier' "$(control POST limit '{"limit": "minute", "quota": 3}'; status -H 'x-api-key: key-9' "$url/swap/v1/quote"; row minute quota)" 2003
    control POST limit '{"limit": "minute", "quota": 2}'
    is 'keys of one account share' "$(status -H 'x-api-key: key-1' "$url/swap/v1/quote") $(status -H 'x-api-key: key-2' "$url/swap/v1/quote") \
$(status -H 'x-api-key: key-1' "$url/swap/v1/quote") $(status -H 'x-api-key: key-3' "$url/swap/v1/quote")" '200 200 429 200'
}

test_solana() {
    exchange solana 's/"quota": 40, "window_ms"/"quota": 4, "window_ms"/; s/"quota": 40, "scope"/"quota": 1, "scope"/; s/100000000/1000/'
    is 'a method' "$(json "$url/" -d '{"method": "getSlot"}')" '*"result":0}'
    for _ in 1 2; do json "$url/" -d '{"method": "getSlot"}' >/dev/null; done
    is 'connections in 10 s' "$(row connects_10s highest)" 3
    is 'and at once' "$(row connections highest)/$(row connections in_progress)" 1/0
    is 'kept open: still in progress' "$(curl -s --max-time 5 -o /dev/null "$url/" -d '{"method": "a"}' \
        --next -s --max-time 5 "$url/sim/report" | tr '{' '\n' | sed -n 's/.*"name":"connections".*"in_progress":\([0-9]*\).*/\1/p')" 1
    is 'too many connects' "$(status "$url/" -d '{"method": "b"}')" 429
    get --interface 127.0.0.2 "$url/bytes/5000" >/dev/null
    is 'bytes are paid afterwards' "$(status --interface 127.0.0.2 "$url/bytes/1") $(row bytes_30s highest)" '429 5[0-9][0-9][0-9]'
}

test_concurrency() {
    sim_start '{"latency_ms": 2000, "limits": [{"name": "c", "kind": "concurrency", "quota": 2, "counts": "requests",
        "refuse": {"status": 429, "body": "busy with %quota%"}}], "ban_after": 0}'
    local i
    for i in 1 2; do get -o /dev/null "$url/api/v3/ping" & done
    sleep 0.8
    is 'a third is refused' "$(get "$url/api/v3/ping")" 'busy with 2'
    for i in $(jobs -p | grep -v "^$sim_pid$"); do wait "$i"; done
    is 'and passes when they are answered' "$(status "$url/api/v3/ping")" 200
    is 'report' "$(row c highest)/$(row c violations)/$(row c in_progress)" 2/1/0
    get --max-time 0.2 "$url/api/v3/ping" >/dev/null
    is 'a client that went away is still in progress' "$(row c in_progress)" 1
    control POST reset
    sleep 2.3
    is 'its end after a reset hurts nobody' "$(status "$url/api/v3/ping")/$(row c in_progress)" 200/0
}

test_equities() {
    exchange alpha_vantage
    is 'a quote' "$(get "$url/query?apikey=k")" '{"Global Quote":*'
    is 'a text in 200' "$(get -w '%{http_code}' "$url/query?apikey=k")" '{"Note":"Please consider*}200'
    control POST use '{"limit": "day", "caller": "j", "units": 25}'
    is 'the day' "$(get "$url/query?apikey=j")" '{"Information":"*rate limit is 25 requests per day."}'
    sim_stop
    exchange finnhub
    is 'remaining' "$(header x-ratelimit-remaining "$url/api/v1/news?token=k")" 55
    local reset now
    reset=$(header x-ratelimit-reset -H 'X-Finnhub-Token: j' "$url/api/v1/quote")
    now=$(date +%s)
    is 'reset: about a minute from now, in seconds' "$((reset > now - 90 && reset < now + 150))" 1 # its clock begins at a minute
    sim_stop
    exchange newsapi
    is 'a day of New York' "$(get "$url/v2/everything?apiKey=k" >/dev/null; row day every)" '"day"'
    sim_stop
    exchange questrade
    is 'remaining of the hour' "$(header x-ratelimit-remaining -H 'Authorization: Bearer x' "$url/v1/markets/quotes/1")" 14999
    is 'orders have an hour of their own' "$(header x-ratelimit-remaining -H 'Authorization: Bearer x' "$url/v1/accounts/1/orders" -d x=1)" 499
    sim_stop
    exchange yahoo 's/"quota": 5,/"quota": 1,/'
    get "$url/v1/test/getcrumb" >/dev/null
    is 'no crumb' "$(get -w '%{http_code}' "$url/v1/test/getcrumb")" 'Too Many Requests200'
}

test_actual_cost() {
    sim_start '{"limits": [{"name": "points", "kind": "token_bucket", "quota": 1000, "refill_per_s": 0.001, "counts": "listed",
        "reports": [{"field": "extensions.cost.left", "what": "remaining"}, {"field": "used", "what": "used", "text": true}]}],
        "routes": [{"path": "POST /graphql", "costs": [{"limit": "points", "cost": 100, "actual": [7, 7], "field": "extensions.cost.actual"}]}]}'
    is 'the answer says what it cost' "$(json "$url/graphql" -d '{}')" '{"extensions":{"cost":{"actual":7,"left":993}},"used":"7"}'
    is 'report' "$(row points corrected)/$(row points counted)" -93/7
}

test_stale_reports() {
    sim_start '{"limits": [{"name": "w", "kind": "fixed_window", "quota": 1000, "window_ms": 31622400000, "report_delay_ms": 5000,
        "reports": [{"header": "used", "what": "used"}]}]}'
    local values
    values=$(for _ in $(seq 30); do header used "$url/api/v3/ping"; done)
    is 'some are old' "$((30 > $(tail -1 <<<"$values") || $(sort -nu <<<"$values" | wc -l) < 30))" 1
    is 'some come out of order' "$(sort -n <<<"$values" | cmp -s - <(echo "$values"); echo $?)" 1
    is 'none is from the future' "$(sort -n <<<"$values" | tail -1)" '[0-9]*'
    is 'the count itself is right' "$(row w highest)" 30
}

test_clock() {
    sim_start '{"clock_drift_ppm": 100000, "times": [{"header": "x-now-us", "unit": "us"}]}'
    local before_us server_us after_us first_us least_us most_us
    now_us() { header x-now-us "$url/echo"; }
    look() { before_us=$(date +%s%6N) server_us=$(now_us) after_us=$(date +%s%6N); } # its clock was read between the two
    look
    least_us=$((server_us - before_us)) most_us=$((server_us - after_us)) first_us=$after_us
    sleep 1
    look
    least_us=$((server_us - after_us - least_us)) most_us=$((server_us - before_us - most_us))
    is "drifts by a tenth ($least_us to $most_us us)" "$((most_us > 80000 && least_us < (after_us - first_us) / 5))" 1
    control POST clock '{"offset_ms": 0, "drift_ppm": 0}'
    control POST clock '{"step_ms": -7200000, "after_ms": 1500}'
    is 'not yet' "$((($(now_us) - $(date +%s%6N)) > -3600000000))" 1
    sleep 1.7
    is 'stepped' "$((($(now_us) - $(date +%s%6N)) < -3600000000))" 1
    is 'Date steps, too' "$(header date "$url/echo" | cut -c18-19)" "$(date -u -d '-2 hours' +%H)"
    is 'nothing to do' "$(get "$url/sim/clock" -d '{}')" '*one of offset_ms, drift_ppm and step_ms must be given*'
    is 'no step' "$(get "$url/sim/clock" -d '{"drift_ppm": 1, "after_ms": 1}')" '*after_ms: only step_ms waits: take it out*'
    is 'no such limit' "$(get "$url/sim/limit" -d '{"limit": "x", "quota": 1}')" '*limit=*: no limit has this name*'
    is 'no quota' "$(get "$url/sim/limit" -d '{"limit": "x", "quota": 0}')" '*quota=0: must be an integer from 1 to 1000000000000*'
    is 'no such limit to use' "$(get "$url/sim/use" -d '{"limit": "x", "caller": "y", "units": 1}')" '*limit=*: no limit has this name*'
}

tests_run
