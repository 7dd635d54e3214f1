#!/usr/bin/python3
"""Each CAS and each publication of production code stands at a named instant, so that a test can hold a process there.

weave.py SOURCE_ROOT               exit 1 with one line per access without WEIR_WEAVE("...") beside it, in the same function
                                   and one per wrong row of tests/process/weave_names.def
weave.py SOURCE_ROOT BINARY...     the same, and: none of these programs, built without the hooks, has a trace of them

Where no instant is wanted a comment says why: "weave: REASON".
"""
import pathlib
import re
import sys

CHANGE = re.compile(r"\bweir_(cas|cas_pair|store_release|xchg|fetch_add|or|and)_u\d+\(")
HOOK = re.compile(r'\bWEIR_WEAVE\("([^"]*)"\)')
EXEMPT = re.compile(r"\bweave: \w+")
NAME = re.compile(r"[a-z]+:[a-z]+([_-][a-z]+)*")
NAME_MAX = 39  # WEAVE_NAME_BYTES of tests/support/weave.h, with its end
NAMES_MAX = 256  # WEAVE_NAMES_MAX
LIFE = re.compile(r'^LIFE\(\w+, +"([^"]+)"\)$', re.M)
ELSEWHERE = re.compile(r'^ELSEWHERE\("([^"]+)", +"([^"]+)", +"[^"]+"\)$', re.M)
LIST = "tests/process/weave_names.def"  # who answers for what process_weave does not hold anybody at
NEAR = 5  # lines around an access in which its instant stands
DOORS = {"weir_atomic.h", "weir_weave.h"}  # what defines them


def around(lines, at):
    """The lines near `at`, not beyond its function."""
    first, last = at, at
    while first > 0 and at - first < NEAR and lines[first - 1] != "}":
        first -= 1
    while last + 1 < len(lines) and last - at < NEAR and lines[last] != "}":
        last += 1
    return "\n".join(lines[first:last + 1])


def answered(root, names):
    """What is wrong with the list of names that process_weave leaves to others."""
    text = (root / LIST).read_text()
    lives, others = LIFE.findall(text), ELSEWHERE.findall(text)
    if len(lives) + len(others) != len(re.findall(r"^(?:LIFE|ELSEWHERE)\(", text, re.M)):
        yield f"{LIST}: a row that is none"
    for name in lives:
        if name not in names:
            yield f"{LIST}: no such instant: {name}"
    for name, test in others:
        if not any(n.startswith(name) for n in names):
            yield f"{LIST}: no such instant: {name}"
        path = root / "tests" / test
        if not path.is_file() or name not in path.read_text():
            yield f"{LIST}: {name}: {test} does not speak of it"


def main():
    root = pathlib.Path(sys.argv[1])
    found, names, changes, exempt = [], set(), 0, 0
    for top in ("shm", "broker", "libclient"):
        for p in sorted((root / top).rglob("*.[ch]")):
            if p.name in DOORS:
                continue
            lines = p.read_text().splitlines()
            for i, line in enumerate(lines):
                where = f"{p.relative_to(root)}:{i + 1}"
                for name in HOOK.findall(line):
                    names.add(name)
                    if not NAME.fullmatch(name) or len(name) > NAME_MAX:
                        found.append(f"{where}: a name is AREA:INSTANT, {NAME_MAX} bytes at most: {name}")
                if not CHANGE.search(line):
                    continue
                changes += 1
                near = around(lines, i)
                if not HOOK.search(near):
                    if EXEMPT.search(near):
                        exempt += 1
                    else:
                        found.append(f"{where}: a change of shared memory without a named instant: {line.strip()}")
    if len(names) > NAMES_MAX:
        found.append(f"tests/support/weave.h: WEAVE_NAMES_MAX {NAMES_MAX}: there are {len(names)} names")
    found += answered(root, names)
    for path in sys.argv[2:]:
        image = pathlib.Path(path).read_bytes()
        traces = [n for n in sorted(names) if n.encode() + b"\0" in image]
        traces += [t for t in ("weir_weave_hook", "\0weir_weave\0") if t.encode() in image]
        found += [f"{path}: has {t!r}: the hooks are in it" for t in traces]
    print("\n".join(found) or f"{changes} changes, {len(names)} names, {exempt} exempt with a reason; {len(sys.argv) - 2} programs without a trace")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
