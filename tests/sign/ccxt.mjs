// What ccxt (npm) makes of the same calls at the same time: the golden file of test_sign_ccxt.c.
//
//   node tests/sign/ccxt.mjs FOLDER >tests/sign/ccxt_golden.json     FOLDER holds node_modules/ccxt
//
// Each case names a scheme of broker/sign, its key, the call as a strategy hands it to weir, and what ccxt would send. ccxt's own sign() runs, offline, with time, nonce
// and chance fixed. The keys were made for this file and open nothing.
import { createRequire } from 'node:module';
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';

const folder = resolve(process.argv[2] ?? '.');
const ccxt = createRequire(folder + '/x.js')('ccxt');
const keys = JSON.parse(readFileSync(new URL('./ccxt_keys.json', import.meta.url)));

const T = 1700000000123; // ms
const RANDOM = '00112233445566778899aabbccddeeff';
const KEY = 'Kvm0PUZE6mv9SD5-VNHk4HlWF';
const SECRET = 'NhqPtmdSJYdKjVHjA7PZj4Mge3R5YNiP1e3UZjInClVN65XAbvqqM6A7H5fATj0j';
const BASE64 = 'kQH5HW/8p1uGOVjbgWA7FunAmGO8lsSUXNsu3eow76sz84Q18fWxnyRzBHCd3pd5nE9qa99HAZtuZuj6F1huXg==';
const PASS = 'a pass phrase: 1';

function exchange(id, secret, more = {}) {
    const e = new ccxt[id]({ apiKey: KEY, secret, password: PASS, ...more });
    e.milliseconds = () => T;
    e.seconds = () => Math.floor(T / 1000);
    e.randomBytes = () => RANDOM;
    return e;
}

const form = (e, p) => e.urlencode(p);
const json = (e, p) => e.json(p);
const nothing = () => '';

// scheme, exchange, secret, then api, path, method, parameters, and how a strategy would write query and body
const calls = [];
function add(scheme, id, secret, api, path, method, params, query, body, more = {}) {
    const e = exchange(id, secret, more.exchange);
    more.prepare?.(e);
    const q = query(e, params);
    const b = body(e, params);
    const s = e.sign(path, api, method, structuredClone(params));
    const url = new URL(s.url);
    const at = s.url.indexOf(url.pathname);
    const sent = s.url.slice(at).split('?');
    const headers = {};
    for (const [name, value] of Object.entries(s.headers ?? {})) {
        if (!/^(content-type|accept|referer|x-channel-api-code)$/i.test(name)) {
            headers[name] = value;
        }
    }
    calls.push({
        name: `${scheme} ${method} ${path}`, scheme, key: e.apiKey, secret, passphrase: more.passphrase ?? '',
        recv_window_ms: more.window ?? 5000, method, host: url.hostname, path: url.pathname, query: q, body: b,
        utc_ms: T, random: RANDOM, in_query: more.in_query ?? false,
        sent: { path: sent[0], query: sent[1] ?? '', body: s.body ?? '', headers },
    });
}

const order = { symbol: 'LTCBTC', side: 'BUY', type: 'LIMIT', timeInForce: 'GTC', quantity: '1', price: '0.1', newClientOrderId: 'x-1' };
const binance = { prepare: (e) => { e.options.recvWindow = 10000; }, window: 10000 };
add('hmac_sha256_query', 'binance', SECRET, 'private', 'account', 'GET', {}, form, nothing, binance);
add('hmac_sha256_query', 'binance', SECRET, 'private', 'openOrders', 'GET', { symbol: 'LTCBTC' }, form, nothing, binance);
add('hmac_sha256_query', 'binance', SECRET, 'private', 'order', 'POST', order, nothing, form, binance);
add('hmac_sha256_query', 'binance', SECRET, 'private', 'order', 'DELETE', { symbol: 'LTCBTC', origClientOrderId: 'a/b:c' }, form, nothing, binance);
add('hmac_sha256_query', 'binance', SECRET, 'fapiPrivate', 'order', 'PUT', { symbol: 'BTCUSDT', orderId: '5' }, nothing, form, binance);
// The signature of a key pair goes into the query, where ccxt has it in the body: the same bytes in another place.
add('ed25519_query', 'binance', keys.ed25519, 'private', 'openOrders', 'GET', { symbol: 'LTCBTC' }, form, nothing, binance);
add('ed25519_query', 'binance', keys.ed25519, 'private', 'order', 'POST', order, form, nothing, { ...binance, in_query: true });
add('rsa_query', 'binance', keys.rsa, 'private', 'openOrders', 'GET', { symbol: 'LTCBTC' }, form, nothing, binance);
add('rsa_query', 'binance', keys.rsa, 'private', 'order', 'POST', order, form, nothing, { ...binance, in_query: true });

const bybit = { prepare: (e) => { e.options.recvWindow = 5000; } };
const raw = (e, p) => e.rawencode(p);
add('bybit', 'bybit', SECRET, 'private', 'v5/position/list', 'GET', { category: 'linear', symbol: 'BTCUSDT' }, raw, nothing, bybit);
add('bybit', 'bybit', SECRET, 'private', 'v5/order/create', 'POST', { category: 'linear', symbol: 'BTCUSDT', side: 'Buy', qty: '0.001' }, nothing, json, bybit);
add('bybit_rsa', 'bybit', keys.rsa, 'private', 'v5/position/list', 'GET', { category: 'linear' }, raw, nothing, bybit);
add('bybit_rsa', 'bybit', keys.rsa, 'private', 'v5/order/create', 'POST', { category: 'spot', qty: '1' }, nothing, json, bybit);

const phrase = { passphrase: PASS };
add('okx', 'okx', SECRET, 'private', 'account/balance', 'GET', { ccy: 'BTC' }, form, nothing, phrase);
add('okx', 'okx', SECRET, 'private', 'account/config', 'GET', {}, form, nothing, phrase);
add('okx', 'okx', SECRET, 'private', 'trade/order', 'POST', { instId: 'BTC-USDT', tdMode: 'cash', side: 'buy', sz: '2', clOrdId: 'b15' }, nothing, json, phrase);

add('bitget', 'bitget', SECRET, ['private', 'spot'], 'v2/spot/account/assets', 'GET', { coin: 'USDT', assetType: 'hold_only' },
    (e, p) => e.urlencode(e.keysort(p)), nothing, phrase);
add('bitget', 'bitget', SECRET, ['private', 'spot'], 'v2/spot/trade/orderInfo', 'GET', { clientOid: 'grüß 1' }, form, nothing, phrase);
add('bitget', 'bitget', SECRET, ['private', 'spot'], 'v2/spot/trade/place-order', 'POST', { symbol: 'BTCUSDT', side: 'buy', size: '1' }, nothing, json, phrase);

add('coinbase_exchange', 'coinbaseexchange', BASE64, 'private', 'accounts', 'GET', {}, form, nothing, phrase);
add('coinbase_exchange', 'coinbaseexchange', BASE64, 'private', 'orders', 'GET', { status: 'open', limit: 5 }, form, nothing, phrase);
add('coinbase_exchange', 'coinbaseexchange', BASE64, 'private', 'orders', 'POST', { product_id: 'BTC-USD', side: 'buy', size: '1' }, nothing, json, phrase);

const cloud = { exchange: { apiKey: 'd2efa49a-369c-43d7-a60e-ae26e28853c2' } };
add('coinbase_ed25519', 'coinbase', keys.ed25519_base64, ['v3', 'private'], 'brokerage/accounts', 'GET', { limit: 5 }, form, nothing, cloud);
add('coinbase_ed25519', 'coinbase', keys.ed25519_base64, ['v3', 'private'], 'brokerage/orders', 'POST', { product_id: 'BTC-USD' }, nothing, json, cloud);

add('htx', 'htx', SECRET, ['spot', 'private'], 'v1/account/accounts', 'GET', {}, form, nothing);
add('htx', 'htx', SECRET, ['spot', 'private'], 'v1/order/openOrders', 'GET', { symbol: 'btcusdt', 'account-id': '1' }, form, nothing);
add('htx', 'htx', SECRET, ['spot', 'private'], 'v1/order/orders/place', 'POST', { symbol: 'btcusdt', amount: '1', 'client-order-id': 'c-1' }, nothing, json);

add('kraken', 'kraken', BASE64, 'private', 'Balance', 'POST', {}, nothing, form);
add('kraken', 'kraken', BASE64, 'private', 'AddOrder', 'POST', { ordertype: 'limit', pair: 'XBTUSD', price: '37500', type: 'buy', volume: '1.25' }, nothing, form);
add('kraken', 'kraken', BASE64, 'private', 'AddOrderBatch', 'POST', { pair: 'XBTUSD', orders: [{ type: 'buy', volume: '1' }] }, nothing, json);

add('kraken_futures', 'krakenfutures', BASE64, 'private', 'openorders', 'GET', {}, form, nothing);
add('kraken_futures', 'krakenfutures', BASE64, 'private', 'sendorder', 'POST', { orderType: 'lmt', symbol: 'PI_XBTUSD', size: 1 }, form, nothing);

console.log(JSON.stringify({ ccxt: ccxt.version, calls }, null, 1));
