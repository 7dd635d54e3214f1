#!/usr/bin/env python3
"""Second hearing: which failures of a run of scripts/test.sh are final, and what is said in the end.

    scripts/hearing.py hear FOLDER RESULTS MESON-TEST-OPTIONS...   hear again, alone, what failed in FOLDER; nothing else may run
    scripts/hearing.py sum RESULTS                                 the closing line; exit 1 if anything failed

RESULTS is a directory with meson's log of each run of `meson test`, FOLDER:NAME.json; that of a second hearing is FOLDER.again. NAME.failed stands for a build or a run that came
to nothing.

Patient tests run beside builds because we chose so, and on machines that others use too. One that failed may have failed by that, so it is heard once more when nothing else runs. A failure
is final at once, and never heard again, where no lateness explains it:

    - a broken promise, or a sanitizer's report: by the exit status or by the words (tests/support/promise.h);
    - the test ended by a signal such as SIGSEGV or SIGABRT;
    - a test of a suite that measures no time (FINAL);
    - more than MANY in one build: that is no matter of time.

A test that passes then counts as passed, is named loudly, and is counted in the closing line.
"""
import json
import pathlib
import re
import signal
import subprocess
import sys

FINAL = {"lint", "unit", "model", "prop", "mutants", "crash", "torture", "threads", "fuzz"}
MANY = 10
SHOWN = 20  # lines of a failure

source = (pathlib.Path(__file__).resolve().parent.parent / "tests/support/promise.h").read_text()
PROMISE_EXIT = int(re.search(r"#define WEIR_PROMISE_EXIT (\d+)", source).group(1))
PROMISE_MARK = re.search(r'#define WEIR_PROMISE_MARK "(.*)"', source).group(1)
SANITIZER = re.compile(r"(ERROR|WARNING|SUMMARY): \w+Sanitizer|Sanitizer:DEADLYSIGNAL|: runtime error: ")
DEADLY = {-s for s in (signal.SIGSEGV, signal.SIGBUS, signal.SIGILL, signal.SIGFPE, signal.SIGABRT)}


def read(log):
    """Each test of one run: {name, suites, result, ...}"""
    for line in log.read_text().splitlines():
        t = json.loads(line)
        suites, _, t["test"] = t["name"].rpartition(" / ")
        t["suites"] = set(suites.split(":")[-1].split("+"))
        t["said"] = t.get("stdout", "") + "\n" + t.get("stderr", "")
        yield t


def failed(t):
    return t["result"] not in ("OK", "EXPECTEDFAIL", "SKIP")


def final(t):
    """Why it is not heard again; None: it is."""
    if t.get("returncode") == PROMISE_EXIT or PROMISE_MARK in t["said"]:
        return "a promise was broken"
    if SANITIZER.search(t["said"]):
        return "a sanitizer spoke"
    if t.get("returncode") in DEADLY:
        return f"it ended by {signal.Signals(-t['returncode']).name}"
    timeless = t["suites"] & FINAL
    if timeless:
        return f"suite {min(timeless)} measures no time"
    return None


def loud(text):
    print(f"**** {text}", flush=True)


def hear(folder, results, options):
    again = []
    for log in sorted(results.glob(f"{folder}:*.json")):
        for t in filter(failed, read(log)):
            why = final(t)
            if why:
                loud(f"not heard again: {t['test']}: {why}")
            else:
                again.append((t, log.stem.partition(":")[2]))
    if not again:
        return
    if len(again) > MANY:
        loud(f"not heard again: {len(again)} tests: so many do not fail by being late")
        return
    for t, run in again:
        print(f"== {folder}: {t['test']} is heard again, alone. It failed with {t['result']}, status {t.get('returncode')}; all that it said is in {folder}/meson-logs/{run}.txt:")
        told = [line for line in t["said"].splitlines() if re.search(r"FAIL|played again|got:|wanted", line)]
        print("\n".join(f"     {line[:400]}" for line in told[:SHOWN]), flush=True)
    base = pathlib.Path(folder) / "meson-logs"
    (base / "again.json").unlink(missing_ok=True)
    subprocess.run(["meson", "test", "-C", folder, "--no-rebuild", "--num-processes", "1", "--logbase", "again", "--print-errorlogs",
                    *options, *(t["test"] for t, _ in again)], stdin=subprocess.DEVNULL, check=False)
    heard = {}
    if (base / "again.json").exists():
        (results / f"{folder}.again").write_text((base / "again.json").read_text())
        heard = {t["test"]: t["result"] for t in read(results / f"{folder}.again")}
    for t, run in again:
        beside = "alone" if run == "alone" else "beside others"
        if heard.get(t["test"]) == "OK":
            loud(f"failed {beside}, passed alone: {t['test']} ({folder})")
        else:
            loud(f"failed {beside}, and alone again: {t['test']} ({folder})")


def close(results):
    passed = lost = skipped = saved = 0
    for log in sorted(results.glob("*.json")):
        folder = log.stem.partition(":")[0]
        second = results / f"{folder}.again"
        heard = {t["test"] for t in read(second) if t["result"] == "OK"} if second.exists() else set()
        for t in read(log):
            if not failed(t):
                skipped += t["result"] == "SKIP"
                passed += t["result"] != "SKIP"
            elif t["test"] in heard and not final(t):
                passed += 1
                saved += 1
                loud(f"passed at the second hearing only: {t['test']} ({folder})")
            else:
                lost += 1
    lost += len(list(results.glob("*.failed")))
    if passed + lost == 0:
        print("no test ran", file=sys.stderr)
        lost = 1
    print(f"{passed} passed, {lost} failed" + (f", {skipped} skipped" if skipped else "") +
          (f", {saved} at the second hearing" if saved else ""))
    return lost > 0


def main(argv):
    if len(argv) >= 4 and argv[1] == "hear":
        hear(argv[2], pathlib.Path(argv[3]), argv[4:])
        return 0
    if len(argv) == 3 and argv[1] == "sum":
        return int(close(pathlib.Path(argv[2])))
    print(__doc__, file=sys.stderr)
    return 2


sys.exit(main(sys.argv))
