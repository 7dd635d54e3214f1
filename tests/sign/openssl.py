#!/usr/bin/env python3
"""Key pairs, judged from outside: openssl(1) verifies with the public key what was signed with the private one.

openssl.py SIGN_ONE [SEED]      exit: 0 passed, 1 failed, 77 skipped (no openssl)

What a signature stands over is built here again, from the exchanges' documentation and not from weir's code, out of what would be sent. Keys are fresh, in each form in
which openssl writes them; calls are made by chance, with names that have to be percent-encoded. Keys of a wrong sort have to be refused, each with its own text.
"""
import base64
import json
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from urllib.parse import quote, unquote_to_bytes

SIGN_ONE = sys.argv[1]
SEED = int(sys.argv[2]) if len(sys.argv) > 2 else time.time_ns() & 0xFFFFFFFF
WORK = Path(tempfile.mkdtemp(prefix='weir-sign-'))
CHANCE = random.Random(SEED)
HOST, KEY, PHRASE = 'api.example.com', 'key/1', 'a pass phrase'


def openssl(*args, **more):
    return subprocess.run(['openssl', *map(str, args)], capture_output=True, **more)


def made(name, *args):
    """A private key and its public half."""
    private, public = WORK / f'{name}.pem', WORK / f'{name}.pub'
    for words in ([*args, '-out', private], ['pkey', '-in', private, '-pubout', '-out', public]):
        done = openssl(*words)
        assert done.returncode == 0, (words, done.stderr)
    return private


def rsa(bits):
    return made(f'rsa{bits}', 'genpkey', '-algorithm', 'RSA', '-pkeyopt', f'rsa_keygen_bits:{bits}')


def verified(public, message, signature, is_ed):
    (WORK / 'message').write_bytes(message)
    (WORK / 'signature').write_bytes(signature)
    if is_ed:
        done = openssl('pkeyutl', '-verify', '-pubin', '-inkey', public, '-rawin', '-in', WORK / 'message', '-sigfile', WORK / 'signature')
    else:
        done = openssl('dgst', '-sha256', '-verify', public, '-signature', WORK / 'signature', WORK / 'message')
    return done.returncode == 0


def sign(kind, private, method='GET', path='/', query='', body='', utc_ms=1700000000123):
    phrase = PHRASE if kind.startswith('bitget') else ''
    done = subprocess.run([SIGN_ONE, kind, KEY, phrase, method, HOST, path, query, body, str(utc_ms)], stdin=open(private, 'rb'), capture_output=True, text=True)
    if done.returncode != 0:
        return done.stdout.strip()
    return dict(line.split(': ', 1) for line in done.stdout.split('\n') if ': ' in line)


def parameters(query):
    return [pair.split('=', 1) for pair in query.split('&') if pair]


def taken_out(query, name):
    """The value of the last parameter, decoded from base64, and what stands before it."""
    rest, value = query.rsplit(f'&{name}=', 1)
    assert not set(value) & set('+/='), value
    return rest, base64.b64decode(unquote_to_bytes(value), validate=True)


# What is signed, of a call that was sent: (message, signature).

def binance(sent, method, path, query, body, utc_ms):
    rest, signature = taken_out(sent['query'], 'signature')
    assert sent['X-MBX-APIKEY'] == KEY
    assert sorted(parameters(rest)) == sorted(parameters(query) + [['timestamp', str(utc_ms)], ['recvWindow', '5000']])
    return (rest + body).encode(), signature


def bybit(sent, method, path, query, body, utc_ms):
    assert sent['X-BAPI-TIMESTAMP'] == str(utc_ms) and sent['query'] == query
    return f'{utc_ms}{KEY}5000{query if method == "GET" else body}'.encode(), base64.b64decode(sent['X-BAPI-SIGN'], validate=True)


def bitget(sent, method, path, query, body, utc_ms):
    assert sent['ACCESS-TIMESTAMP'] == str(utc_ms) and sent['query'] == query
    assert sent['ACCESS-KEY'] == KEY and sent['ACCESS-PASSPHRASE'] == PHRASE
    asked = b'?' + unquote_to_bytes(query) if query else b''
    return f'{utc_ms}{method}{path}'.encode() + asked + body.encode(), base64.b64decode(sent['ACCESS-SIGN'], validate=True)


def htx(sent, method, path, query, body, utc_ms):
    rest, signature = taken_out(sent['query'], 'Signature')
    instant = time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(utc_ms // 1000))
    own = {'AccessKeyId': KEY, 'SignatureMethod': 'Ed25519', 'SignatureVersion': '2', 'Timestamp': instant}
    wanted = sorted(parameters(query) + [[name, quote(value, safe='')] for name, value in own.items()], key=lambda pair: pair[0].encode())
    assert parameters(rest) == wanted, (rest, wanted)
    return '\n'.join([method, HOST, path, '&'.join('='.join(pair) for pair in wanted)]).encode(), signature


def url64(text):
    return base64.urlsafe_b64decode(text + '=' * (-len(text) % 4))


def coinbase(sent, method, path, query, body, utc_ms):
    message, _, signature = sent['Authorization'].removeprefix('Bearer ').rpartition('.')
    head, claims = (json.loads(url64(part)) for part in message.split('.'))
    signature = url64(signature)
    uri = f'{method} {HOST}{path}'
    assert head['kid'] == claims['sub'] == KEY and claims['nbf'] == utc_ms // 1000 and claims['exp'] == utc_ms // 1000 + 120
    if head['alg'] == 'ES256': # r and s, as openssl has them
        assert claims['uri'] == uri and len(signature) == 64
        numbers = b''.join(b'\x02' + bytes([len(n)]) + n for n in (whole(signature[:32]), whole(signature[32:])))
        signature = b'\x30' + bytes([len(numbers)]) + numbers
    else:
        assert head['alg'] == 'EdDSA' and claims['uris'] == [uri]
    return message.encode(), signature


def whole(number):
    """DER: the shortest form that is not negative."""
    number = number.lstrip(b'\0') or b'\0'
    return b'\0' + number if number[0] & 0x80 else number


def word():
    return quote(''.join(CHANCE.choice('abcXYZ019-_.~ /:+&=ä币') for _ in range(CHANCE.randint(1, 9))), safe='')


def call():
    names = {word() for _ in range(CHANCE.randint(0, 5))}
    query = '&'.join(f'{name}={word()}' for name in sorted(names, key=lambda _: CHANCE.random()))
    method = CHANCE.choice(['GET', 'POST', 'DELETE'])
    body = json.dumps({word(): word() for _ in range(3)}) if method == 'POST' else ''
    return method, '/api/v1/' + word(), query, body, CHANCE.randint(10**12, 4 * 10**12)


def judge(kind, signed_over, keys):
    for private in keys:
        public, is_ed = private.with_suffix('.pub'), 'ed25519' in kind
        for _ in range(4):
            one = call()
            sent = sign(kind, private, *one)
            assert isinstance(sent, dict), (kind, private.name, one, sent)
            message, signature = signed_over(sent, *one)
            assert verified(public, message, signature, is_ed), (kind, private.name, one, sent)
        other = bytearray(message)
        other[CHANCE.randrange(len(other))] ^= 1
        assert not verified(public, bytes(other), signature, is_ed), 'the judge lets everything pass'
        print(f'{kind}: {private.name}: 4 calls verified')


def refused(kind, private, begins):
    said = sign(kind, private)
    assert isinstance(said, str) and said.startswith(begins), (kind, private.name, said)
    print(f'{kind}: {private.name}: {said}')


def main():
    print(f'seed {SEED}')
    ed = made('ed25519', 'genpkey', '-algorithm', 'ED25519')
    p256 = made('p256', 'ecparam', '-name', 'prime256v1', '-genkey', '-noout') # SEC 1
    p256_8 = made('p256_pkcs8', 'genpkey', '-algorithm', 'EC', '-pkeyopt', 'ec_paramgen_curve:P-256')
    p384 = made('p384', 'genpkey', '-algorithm', 'EC', '-pkeyopt', 'ec_paramgen_curve:P-384')
    short, normal, long = rsa(1024), rsa(2048), rsa(4096)
    old = made('rsa_pkcs1', 'rsa', '-in', normal, '-traditional')
    locked = WORK / 'locked.pem'
    assert openssl('pkey', '-in', normal, '-aes128', '-passout', 'pass:x', '-out', locked).returncode == 0
    old_locked = WORK / 'old_locked.pem'
    assert openssl('rsa', '-in', normal, '-traditional', '-aes128', '-passout', 'pass:x', '-out', old_locked).returncode == 0

    judge('ed25519_query', binance, [ed])
    judge('rsa_query', binance, [normal, old])
    judge('bybit_rsa', bybit, [normal, long])
    judge('bitget_rsa', bitget, [normal, old, long])
    judge('htx_ed25519', htx, [ed])
    judge('coinbase_es256', coinbase, [p256, p256_8])
    judge('coinbase_ed25519', coinbase, [ed])

    for kind in ('htx_ed25519', 'ed25519_query'):
        refused(kind, normal, 'must be an Ed25519 private key: this is an RSA key')
        refused(kind, p256, 'must be an Ed25519 private key: this is a key of curve P-256')
        refused(kind, p384, 'must be an Ed25519 private key: this is a key of another curve')
    for kind in ('bitget_rsa', 'bybit_rsa', 'rsa_query'):
        refused(kind, ed, 'must be an RSA private key: this is an Ed25519 key')
        refused(kind, p256_8, 'must be an RSA private key: this is a key of curve P-256')
        refused(kind, p384, 'must be an RSA private key: this is a key of another')
        refused(kind, short, 'must be an RSA private key of 2048..4096 bits: this one')
        refused(kind, normal.with_suffix('.pub'), 'is a public key')
        refused(kind, locked, 'is a private key under a password')
        refused(kind, old_locked, 'is a private key under a password')
    refused('coinbase_es256', ed, 'must be a private key of curve P-256: this is an Ed25519 key')
    refused('coinbase_es256', normal, 'must be a private key of curve P-256: this is an RSA key')
    refused('coinbase_es256', p384, 'must be a private key of curve P-256: this is a key of another')
    for kind in ('htx', 'bitget', 'kraken', 'hmac_sha256_query'):
        refused(kind, ed, 'is in PEM form')
    print('passed')


if shutil.which('openssl') is None:
    print('skipped: no openssl')
    sys.exit(77)
try:
    main()
finally:
    shutil.rmtree(WORK)
