#!/usr/bin/python3
"""The second hearing of scripts/test.sh: what is heard again, what is not, and what the closing line says of both. With a project of some shell scripts, which fail as tests do.

hearing.py SOURCE_ROOT
"""
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

# name, suites, run of meson test, what it does; $1 is a file that is there from the second time on.
TESTS = [
    ("good", ["process", "patient"], "patient", "exit 0"),
    ("late", ["process", "patient"], "patient", 'echo "FAILED late.c:7: took 3 s"; [ -e "$1" ]'),
    ("late_alone", ["process"], "alone", '[ -e "$1" ]'),
    ("rig", ["e2e", "patient"], "patient", '[ -e "$1" ] || exit 99'),
    ("wrong", ["process", "patient"], "patient", "exit 1"),
    ("skipped", ["process", "patient"], "patient", "exit 77"),
    ("skipped_later", ["process", "patient"], "patient", '[ -e "$1" ] || exit 1; exit 77'),
    # All of these would pass the second time.
    ("promise", ["process", "patient"], "patient", '[ -e "$1" ] || exit 98'),
    ("promise_said", ["process", "patient"], "patient", '[ -e "$1" ] || { echo "BROKEN PROMISE rig.c:1: violations = 1, wanted 0"; exit 1; }'),
    ("asan", ["process", "patient"], "patient", '[ -e "$1" ] || { echo "==7==ERROR: AddressSanitizer: heap-use-after-free" >&2; exit 1; }'),
    ("ubsan", ["process", "patient"], "patient", '[ -e "$1" ] || { echo "a.c:3:1: runtime error: signed integer overflow" >&2; exit 1; }'),
    ("fault", ["process", "patient"], "patient", "its own script below"),
    ("pure", ["unit"], "calm", '[ -e "$1" ]'),
    ("pure_too", ["sim", "prop"], "calm", '[ -e "$1" ]'),
]
SAVED = {"late": "beside others", "late_alone": "alone", "rig": "beside others"}
FINAL = {"promise": "a promise was broken", "promise_said": "a promise was broken", "asan": "a sanitizer spoke", "ubsan": "a sanitizer spoke",
         "fault": "it ended by SIGSEGV", "pure": "suite unit measures no time", "pure_too": "suite prop measures no time"}
TWICE = {"wrong": "beside others", "skipped_later": "beside others"}

wrong = 0


def wants(good, what, out):
    global wrong
    if not good:
        wrong += 1
        print(f"FAILED {what}\n{out}")


def run(*words):
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def project(hearing, work):
    """In `work`, which is where FOLDER is looked for."""
    lines = ["project('tiny', meson_version: '>=0.60')"]
    for name, suites, _, does in TESTS:
        script = work / f"{name}.sh"
        script.write_text(f'#!/bin/sh\n({does})\nrc=$?\necho once >>"$1"\nexit $rc\n')
        script.chmod(0o755)
        lines.append(f"test('{name}', find_program('{name}.sh'), args: ['{work}/{name}.seen'], suite: {suites})")
    (work / "meson.build").write_text("\n".join(lines) + "\n")
    # The test itself, or meson sees an exit status.
    (work / "fault.sh").write_text('#!/bin/sh\nseen=$(cat "$1" 2>/dev/null)\necho once >>"$1"\n[ -n "$seen" ] || kill -SEGV $$\n')
    results = work / "results"
    results.mkdir()
    rc, out = run("meson", "setup", "tiny", ".")
    wants(rc == 0, "meson setup", out)
    for name in ("calm", "patient", "alone"):
        tests = [t[0] for t in TESTS if t[2] == name]
        run("meson", "test", "-C", "tiny", "--logbase", name, *tests)
        shutil.copy(f"tiny/meson-logs/{name}.json", results / f"tiny:{name}.json")
    rc, out = run(hearing, "hear", "tiny", results, "-t", "1")
    wants(rc == 0, "hear", out)
    for name, why in FINAL.items():
        wants(f"**** not heard again: {name}: {why}\n" in out, f"{name} is final", out)
    for name, where in SAVED.items():
        wants(f"**** failed {where}, passed alone: {name} (tiny)\n" in out, f"{name} is saved", out)
    for name, where in TWICE.items():
        wants(f"**** failed {where}, and alone again: {name} (tiny)\n" in out, f"{name} fails twice", out)
    wants("FAILED late.c:7: took 3 s" in out, "what the first failure said", out)
    wants("late.c:7" in pathlib.Path("tiny/meson-logs/patient.txt").read_text(), "and all of it is kept", out)
    for name, *_ in TESTS:
        times = len((work / f"{name}.seen").read_text().splitlines())
        wants(times == (2 if name in SAVED or name in TWICE else 1), f"{name} ran {times} times", out)
    rc, out = run(hearing, "sum", results)
    wants(rc == 1 and out.endswith(f"\n{1 + len(SAVED)} passed, {len(FINAL) + len(TWICE)} failed, 1 skipped, {len(SAVED)} at the second hearing\n"),
          "the closing line", out)


def log(path, *results):
    path.write_text("".join(json.dumps({"name": f"weir:process+patient / t{i}", "stdout": "", "result": r, "returncode": int(r != "OK")}) + "\n"
                            for i, r in enumerate(results)))


def closing(hearing, work):
    results = work / "closing"
    results.mkdir()
    rc, out = run(hearing, "sum", results)
    wants(rc == 1 and out.startswith("no test ran\n0 passed, 1 failed") or "0 passed, 1 failed\n" in out, "no test at all", out)
    log(results / "build:patient.json", "OK", "OK")
    rc, out = run(hearing, "sum", results)
    wants(rc == 0 and out == "2 passed, 0 failed\n", "nothing to say", out)
    # build's hearing is not build-asan's
    log(results / "build-asan:patient.json", "FAIL", "OK")
    log(results / "build.again", "OK")
    rc, out = run(hearing, "sum", results)
    wants(rc == 1 and out == "3 passed, 1 failed\n", "each build has its own", out)
    log(results / "build-asan.again", "OK")
    rc, out = run(hearing, "sum", results)
    wants(rc == 0 and out.endswith("\n4 passed, 0 failed, 1 at the second hearing\n"), "heard again", out)
    (results / "build-rel.failed").touch()
    rc, out = run(hearing, "sum", results)
    wants(rc == 1 and out.endswith("\n4 passed, 1 failed, 1 at the second hearing\n"), "a build failed", out)
    # So many are no matter of time. There is no such folder: it is not looked into.
    log(results / "none:patient.json", *["FAIL"] * 11)
    rc, out = run(hearing, "hear", "none", results)
    wants("**** not heard again: 11 tests" in out, "too many", out)


def main():
    hearing = str(pathlib.Path(sys.argv[1]).resolve() / "scripts/hearing.py")
    with tempfile.TemporaryDirectory() as name:
        os.chdir(name)
        work = pathlib.Path(name)
        project(hearing, work)
        closing(hearing, work)
    print(f"{len(TESTS)} tests, {wrong} wrong")
    return wrong > 0


sys.exit(main())
