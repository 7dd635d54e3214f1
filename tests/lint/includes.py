#!/usr/bin/python3
"""The arrows of docs/architecture.md: which folder may include which, which library is met in which folder, who may spell atomics.

includes.py SOURCE_ROOT      exit 1 with one line per breach
"""
import pathlib
import re
import sys

FOLDERS = {  # folder: folders whose headers it may include
    "shm": {"shm"},
    "broker": {"broker", "shm"},
    "libclient": {"libclient", "shm"},
    "monitor": {"monitor", "libclient", "shm"},
    "examples": {"examples", "libclient"},
    "bench": {"bench", "broker", "libclient", "monitor", "shm", "tests"},
    "tests": {"tests", "bench", "broker", "libclient", "monitor", "shm"},
}
LIBRARIES = {  # header: where it may be included
    "liburing.h": ("broker/", "bench/", "examples/", "tests/"),
    "curl/": ("broker/", "bench/", "examples/", "tests/"),
    "yaml.h": ("broker/config/", "tests/"),
    "microhttpd.h": ("tests/",),
    "jansson.h": ("broker/", "monitor/", "tests/", "bench/"),
    "cmocka.h": ("tests/",),
    "hiredis": ("bench/",),
    "ck_": ("shm/weir_atomic.h",),
    "stdatomic.h": ("tests/", "bench/"),
    "openssl/": ("broker/h2_end", "broker/identity", "broker/sign/sign_digest", "broker/trust", "tests/"),
    "seccomp.h": ("broker/cage", "tests/"),
    "sys/capability.h": ("broker/cage", "tests/"),
    "xxhash.h": ("shm/", "broker/", "tests/"),
}
PRODUCT = {"shm", "broker", "libclient", "monitor"}  # what shares memory goes through the one door
PUBLIC = {"weir_types.h"}  # installed beside weir.h
SIM = "tests/sim/"  # the oracle shares no code with shm/
ATOMIC = re.compile(r"\b(ck_pr_\w+|__atomic_\w+|__sync_\w+|_Atomic|atomic_(load|store|fetch|exchange)\w*)\b")
INCLUDE = re.compile(r'^\s*#\s*include\s+([<"])([^>"]+)[>"]', re.M)
COMMENT = re.compile(r"/\*.*?\*/", re.S)


def breaches(path, text, owner):
    top = path.split("/")[0]
    for _, header in INCLUDE.findall(text):
        home = owner.get(pathlib.PurePath(header).name)
        if home and home not in FOLDERS[top] and header not in PUBLIC:
            yield f"{path}: includes {header} of {home}/: {top}/ may include {', '.join(sorted(FOLDERS[top]))} only"
        if path.startswith(SIM) and home == "shm":
            yield f"{path}: includes {header}: the simulator shares no code with shm/"
        for name, places in LIBRARIES.items():
            if header.startswith(name) and not path.startswith(places or "-"):
                yield f"{path}: includes {header}: only {', '.join(places) or 'nobody'} may"
    if top in PRODUCT and path != "shm/weir_atomic.h":
        for m in ATOMIC.finditer(COMMENT.sub("", text)):
            yield f"{path}: spells {m.group(0)}: go through shm/weir_atomic.h"


def main():
    root = pathlib.Path(sys.argv[1])
    files = [p for top in FOLDERS for p in sorted((root / top).rglob("*.[ch]"))]
    owner = {p.name: p.relative_to(root).parts[0] for p in files if p.suffix == ".h"}
    found = [b for p in files for b in breaches(str(p.relative_to(root)), p.read_text(), owner)]
    print("\n".join(found) or f"{len(files)} files, every include follows an arrow")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
