#!/usr/bin/python3
"""Files that have grown beyond one sitting. Warns above 650 lines, fails above 900.

size.py SOURCE_ROOT
"""
import pathlib
import sys

WARN = 650
FAIL = 900


def main():
    root = pathlib.Path(sys.argv[1])
    worst = 0
    for top in ("shm", "broker", "libclient", "monitor", "bench", "tests", "examples"):
        for p in sorted((root / top).rglob("*.[ch]")):
            lines = len(p.read_text().splitlines())
            worst = max(worst, lines)
            if lines > WARN:
                print(f"{p.relative_to(root)}: {lines} lines: {'split it' if lines > FAIL else 'warning: it grows long'}")
    print(f"longest file: {worst} lines")
    return 1 if worst > FAIL else 0


if __name__ == "__main__":
    sys.exit(main())
