#!/usr/bin/python3
"""Every limit that the exchanges publish: is it in examples/exchanges, does weir-sim judge it, and are the worked examples of docs/limits.md true?

exchanges.py SOURCE_ROOT WEIRD       exit: 0 all is so, 1 not

PUBLISHED is written from the exchanges' documentation (the summary table of the research for issue 3), not from the files that are compared with it. The numbers
of docs/limits.md, "In numbers", are asked of `weird --replay`: so many calls at once pass and one more does not, and the next one passes when the table says, within 2 %.
"""
import collections
import json
import pathlib
import re
import subprocess
import sys
from datetime import datetime, timezone
from fractions import Fraction

MINUTE, HOUR, DAY = 60, 3600, 86400
MONTH = "month"

Limit = collections.namedtuple("Limit", "how quota window step", defaults=(0,))


# How it is counted: in windows by the exchange's clock, from the first call on, in any interval, in a bucket, in a counter that falls in steps, at once; bytes in any interval.
def fixed(quota, window):
    return Limit("fixed", quota, window)


def first(quota, window):
    return Limit("first", quota, window)


def rolls(quota, window):
    return Limit("rolls", quota, window)


def bucket(burst, per_s):
    return Limit("bucket", burst, Fraction(per_s))


def decays(most, per_s, step):
    return Limit("decays", most, Fraction(per_s), step)


def at_once(quota):
    return Limit("at once", quota, 0)


def byte_rate(quota, window):
    return Limit("bytes", quota, window)


# exchange; file and provider of examples/exchanges; file of tests/sim/exchanges; its limits, each as often as it is published. A tuple of limits: of these tiers one.
PUBLISHED = [
    ("Binance spot", "binance-spot", "binance", "binance_spot", [fixed(6000, MINUTE), fixed(300000, 5 * MINUTE), fixed(100, 10), fixed(200000, DAY)]),
    ("Binance USD-M", "binance-usdm", "usdm", "binance_usdm", [fixed(2400, MINUTE), fixed(300, 10), fixed(1200, MINUTE)]),
    ("Binance /sapi", "binance-sapi", "sapi", "binance_sapi", [fixed(12000, MINUTE), fixed(180000, MINUTE)]),
    ("OKX v5", "okx", "okx", "okx", [rolls(60, 2)] * 3 + [rolls(300, 2), rolls(1000, 2), (rolls(20, 2), rolls(40, 2))]),
    ("HTX spot", "htx", "htx", "htx_spot", [first(100, 2)] * 2 + [first(5, 2), rolls(10, 1)]),
    ("HTX futures", "htx", "htx", "htx_futures", [first(72, 3)] * 2 + [first(120, 3), first(800, 1)]),
    ("Coinbase Exchange", "coinbase", "exchange", "coinbase_exchange", [bucket(15, 10), bucket(30, 15), bucket(20, 10), rolls(10, 1)]),
    ("Coinbase Advanced", "coinbase", "advanced", "coinbase_advanced", [rolls(30, 1), rolls(10, 1)]),
    ("Kraken spot REST", "kraken", "kraken", "kraken_rest", [(decays(15, "0.33", 2), decays(20, "0.5", 2), decays(20, 1, 2))]),
    # All is doubled: a batch of n costs n/2.
    ("Kraken trading", "kraken", "kraken", "kraken_trading",
     [(decays(120, 2, 1), decays(250, "4.68", 1), decays(360, "7.5", 1)), (at_once(60), at_once(80), at_once(225))]),
    ("Kraken futures", "kraken", "kraken_futures", "kraken_futures", [rolls(500, 10), bucket(100, Fraction(100, 600))]),
    ("Bybit v5", "bybit", "bybit", "bybit", [rolls(600, 5)] + [rolls(10, 1)] * 4 + [rolls(20, 1)] * 2 + [rolls(50, 1)]),
    ("Bitget v2", "bitget", "bitget", "bitget", [rolls(6000, MINUTE), rolls(20, 1)] + [rolls(10, 1)] * 2),
    ("Helius", "solana", "helius", "helius", [rolls(10, 1), rolls(2, 1), rolls(1, 1), fixed(1000000, MONTH)]),
    ("Jupiter", "solana", "jupiter", "jupiter", [rolls(60, MINUTE)]),
    ("Solana public RPC", "solana", "rpc", "solana", [rolls(100, 10), rolls(40, 10), rolls(40, 10), at_once(40), byte_rate(100000000, 30)]),
    ("Alpha Vantage", "equities", "alphavantage", "alpha_vantage", [rolls(25, DAY), rolls(1, 1)]),
    ("Finnhub", "equities", "finnhub", "finnhub", [first(60, MINUTE), rolls(30, 1)]),
    ("NewsAPI", "equities", "newsapi", "newsapi", [fixed(100, DAY), fixed(50, 12 * HOUR)]),
    ("Questrade", "equities", "questrade", "questrade",
     [first(30, 1), first(30000, HOUR), first(20, 1), first(15000, HOUR), first(10, 1), first(500, HOUR)]),
    ("Yahoo Finance", "equities", "yahoo", "yahoo", [rolls(360, HOUR)]),
    ("Raydium", "solana", "raydium", "raydium_orca", [rolls(10, 1)]),
    ("Orca", "solana", "orca", "raydium_orca", [rolls(10, 1)]),
]

# What the research does not say how it is counted stands as `rolls`. A published window of unknown phase is fulfilled by a rolling one, in weir and in weir-sim.
STRICTER = {"fixed": {"fixed", "rolls"}, "first": {"first", "rolls"}, "rolls": {"rolls"}, "bucket": {"bucket"}, "decays": {"decays"}, "at once": {"at once"},
            "bytes": {"bytes"}}
# Where weir-sim knows it by another name: whatever an endpoint may do counts by itself (`split`), so equal ones stand once; a window of a kind that only weir must not believe in.
SIM_KIND = {"fixed_window": "fixed", "fixed_from_first": "first", "sliding_window": "rolls", "concurrency": "at once", "bytes": "bytes"}

# How many orders may be open is no rate of calls: weir-sim has the kind (solana.json), and no order book. Bybit's spot is `order` with 20: the same kind, and a route cannot
# say "where category is not spot".
SIM_LACKS = {"Kraken trading": {"at once"}, "Bybit v5": {"rolls 20"}}

problems = []


def problem(text):
    problems.append(text)


def seconds(text):
    unit = {"ms": Fraction(1, 1000), "s": 1, "m": MINUTE, "h": HOUR, "d": DAY}
    return sum(int(n) * unit[u] for n, u in re.findall(r"(\d+)(ms|s|m|h|d)", text))


def example_limits(weird, path):
    """{provider: [Limit]}, as weird understood the file: --print-config is YAML of one scalar a line."""
    out = subprocess.run([weird, "--config", path, "--print-config"], capture_output=True, text=True, check=True).stdout
    found, provider, in_limits, limit = collections.defaultdict(list), None, False, None
    for line in out.splitlines():
        indent, (key, _, value) = len(line) - len(line.lstrip()), line.strip().removeprefix("- ").partition(": ")
        if line.startswith("  - name: "):
            provider = value.strip('"')
        if indent == 4:
            in_limits = key == "limits:"
        if in_limits and line.startswith("      - "):
            limit = {}
            found[provider].append(limit)
        if in_limits and indent in (6, 8) and limit is not None:
            limit[key] = value.strip('"')
    return {p: [example_limit(l) for l in limits] for p, limits in found.items()}


def example_limit(l):
    quota = int(l["quota"])
    if l["kind"] == "concurrency":
        return at_once(quota)
    if l.get("calendar", "none") != "none":
        return fixed(quota, {"month": MONTH, "day": DAY, "half_day": 12 * HOUR}[l["calendar"]])
    window = seconds(l["window"])
    if l["kind"] == "token_bucket":
        rate = Fraction(quota) / window
        step = seconds(l.get("step", "0s"))
        return decays(int(l["burst"]), rate, step) if step else bucket(int(l["burst"]), rate)
    if l["name"].startswith("kib_"):
        return byte_rate(quota * 1024, window)
    return fixed(quota, window) if l["kind"] == "fixed_window" else rolls(quota, window)


def sim_limits(path):
    limits = []
    for l in json.loads(path.read_text())["limits"]:
        kind = l["kind"]
        if kind == "token_bucket":
            limits.append(bucket(l["quota"], Fraction(str(l["refill_per_s"]))))
        elif kind == "decay":
            limits.append(decays(l["quota"], Fraction(str(l["decay_per_s"])), l["step_ms"] // 1000))
        elif kind == "concurrency":
            limits.append(at_once(l["quota"]))
        else:
            window = {"day": DAY, "month": MONTH}[l["every"]] if "every" in l else Fraction(l["window_ms"], 1000)
            limits.append(Limit(SIM_KIND[kind], l["quota"], window))
    return limits


def same(published, have):
    if have.how not in STRICTER[published.how]:
        return False
    if published.how == "bytes":  # in KiB, rounded down
        return published.quota - 1024 < have.quota <= published.quota and have.window == published.window
    if published.how in ("bucket", "decays"):
        return have.quota == published.quota and abs(have.window / published.window - 1) < Fraction(1, 10**6) and have.step == published.step
    return have.quota == published.quota and have.window == published.window


def tiers_of(wanted):
    return (wanted,) if isinstance(wanted, Limit) else wanted


def compare(what, published, have, once):
    """Each published limit has one of its own in `have`; with `once` equal ones may share."""
    left = list(have)
    for wanted in published:
        tiers = tiers_of(wanted)
        match = next((h for h in left if any(same(t, h) for t in tiers)), None)
        if match is None:
            problem(f"{what}: nothing counts {', or '.join(f'{t.how} {t.quota} / {t.window}' for t in tiers)}")
        elif not once:
            left.remove(match)


def check_published(root, weird):
    examples = {}
    for name, example, provider, sim, published in PUBLISHED:
        if example not in examples:
            examples[example] = example_limits(weird, root / f"examples/exchanges/{example}.yaml")
        compare(f"{example}.yaml, {provider} ({name})", published, examples[example].get(provider, []), once=False)
        lacks = SIM_LACKS.get(name, set())
        judged = [p for p in published if not any({t.how, f"{t.how} {t.quota}"} & lacks for t in tiers_of(p))]
        compare(f"tests/sim/exchanges/{sim}.json ({name})", judged, sim_limits(root / f"tests/sim/exchanges/{sim}.json"), once=True)
    for name, published in (("examples/exchanges/*.yaml", {e for _, e, _, _, _ in PUBLISHED}), ("tests/sim/exchanges/*.json", {s for _, _, _, s, _ in PUBLISHED})):
        there = {p.stem for p in root.glob(name)}
        if there != published:
            problem(f"{name}: not compared with what is published: {sorted(there ^ published)}")


# ---------------------------------------------------------------------------------------------- docs/limits.md, "In numbers"

# 2 s into windows of any length, months too.
START_NS = int(datetime(2026, 12, 1, 0, 0, 2, tzinfo=timezone.utc).timestamp()) * 10**9


def made(weird, path, calls):
    run = subprocess.run([weird, "--config", path, "--replay", "-", "--json"], input="".join(json.dumps(c) + "\n" for c in calls), capture_output=True, text=True, check=False)
    return json.loads(run.stdout)["made"] if run.returncode == 0 else run.stderr.strip()


def check_numbers(root, weird):
    text = (root / "docs/limits.md").read_text()
    section = text.partition("### In numbers\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (.+?) \| `([a-z-]+\.yaml)` \| `([\w.]+)`(?:, (\d+) of `(\w+)`)? \| (\d+) \| ([\d.]+) (ms|s|h) \|", section, re.MULTILINE)
    for name, file, route, units, limit, cnt, after, unit in rows:
        path = root / "examples/exchanges" / file
        call = {"route": route, **({"units": {limit: int(units)}} if units else {})}
        at = [{"at": START_NS, **call}] * int(cnt)
        after_ns = int(Fraction(after) * {"ms": 10**6, "s": 10**9, "h": HOUR * 10**9}[unit])
        have = made(weird, path, at + [{"at": START_NS, **call}] * 2)
        if have != int(cnt):
            problem(f"docs/limits.md: {name}, {route}: {cnt} at once, but {have}")
        have = made(weird, path, at + [{"at": START_NS + after_ns * 98 // 100, **call}, {"at": START_NS + after_ns * 102 // 100, **call}])
        if have != int(cnt) + 1:
            problem(f"docs/limits.md: {name}, {route}: one more after {after} {unit}: {have} of {int(cnt) + 2}, not {int(cnt) + 1}")
    missing = {name for name, _, _, _, _ in PUBLISHED} - {row[0] for row in rows}
    if missing:
        problem(f"docs/limits.md: no worked example of {sorted(missing)}")


def main():
    root, weird = pathlib.Path(sys.argv[1]), sys.argv[2]
    check_published(root, weird)
    check_numbers(root, weird)
    for text in problems:
        print(text)
    print(f"{len(PUBLISHED)} exchanges, {len(problems)} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
