#!/usr/bin/python3
"""Does each mutant of tests/prop and tests/dst still name text that is there, once? CI compiles a third of them a day: a stale one would be found days later.

mutants.py SOURCE_ROOT      exit 1: one does not
"""
import importlib.util
import pathlib
import sys

# folders in which the files are that a list names
LISTS = [("tests/prop/mutants.py", ("shm", ".")), ("tests/dst/mutants.py", (".",))]


def load(path):
    spec = importlib.util.spec_from_file_location("mutants_" + path.parent.name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def mutants(module):
    """All that the list has: by program where it has several, whatever their lists are called. A list of mutants that no program runs would be forgotten."""
    if not hasattr(module, "PROGRAMS"):
        return list(module.MUTANTS)
    run = [mutants for mutants, *_ in module.PROGRAMS.values()]
    for name, value in vars(module).items():
        if name.endswith("MUTANTS") and not any(value is m for m in run):
            sys.exit(f"mutants: {name} of {module.__name__} belongs to no program")
    return [mutant for mutants in run for mutant in mutants]


def main():
    root = pathlib.Path(sys.argv[1])
    stale = cnt = 0
    for name, folders in LISTS:
        for mutant in mutants(load(root / name)):
            texts = [t for t in mutant[1:] if isinstance(t, str)]
            now = {}  # what the file is once the edits before have been made
            for at in range(0, len(texts) - 2, 3):
                file, old, new = texts[at:at + 3]
                paths = [root / folder / file for folder in folders if (root / folder / file).exists()]
                text = now.get(file) or (paths[0].read_text() if paths else "")
                now[file] = text.replace(old, new)
                cnt += 1
                if text.count(old) != 1 or old == new:
                    stale += 1
                    print(f"{name}: '{mutant[0]}' applies {text.count(old)} times to {file}: write it anew", file=sys.stderr)
    print(f"{cnt} texts of mutants, {stale} stale")
    return 1 if stale else 0


sys.exit(main())
