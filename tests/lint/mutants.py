#!/usr/bin/python3
"""Does each mutant of tests/prop and tests/dst still name text that is there, once? CI compiles a third of them a day: a stale one would be found days later.

mutants.py SOURCE_ROOT      exit 1: one does not
"""
import importlib.util
import pathlib
import sys

LISTS = [("tests/prop/mutants.py", ("shm", "broker", ".")), ("tests/dst/mutants.py", (".",))]


def mutants(path):
    spec = importlib.util.spec_from_file_location("mutants_" + path.parent.name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.MUTANTS


def main():
    root = pathlib.Path(sys.argv[1])
    stale = cnt = 0
    for name, folders in LISTS:
        for mutant in mutants(root / name):
            texts = [t for t in mutant[1:] if isinstance(t, str)]
            for at in range(0, len(texts) - 2, 3):
                files = [f for f in (root / folder / texts[at] for folder in folders) if f.exists()]
                found = files[0].read_text().count(texts[at + 1]) if files else 0
                cnt += 1
                if found != 1:
                    stale += 1
                    print(f"{name}: '{mutant[0]}' applies {found} times to {texts[at]}: write it anew", file=sys.stderr)
    print(f"{cnt} texts of mutants, {stale} stale")
    return 1 if stale else 0


sys.exit(main())
