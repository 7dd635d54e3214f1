#!/usr/bin/python3
"""Every system call of the cage stands in docs/security.md with its reason, and nothing else does.

cage.py SOURCE_ROOT [--update]      exit 1 with one line for each difference; --update writes the tables
"""
import pathlib
import re
import sys

ROW = re.compile(r'^CALL\((\w+), (\w+), (\w+), "([^"]+)"\)$', re.M)
TITLE = {"WORKER": "worker", "RESOLVER": "resolver", "PARSER": "parser"}
CONDITION = {
    "ANY": "", "NOT_EXECUTABLE": "not executable", "INTERNET": "AF_INET, AF_INET6", "LOCAL": "AF_UNIX", "ROUTING": "AF_NETLINK",
    "ITSELF": "its own pid", "NOTHING_NAMED": "AT_EMPTY_PATH", "TO_READ": "only to read", "FLAGS": "flags, seals",
    "REFUSED": "**never**: EPERM", "NON_BLOCKING": "FIONBIO, FIONREAD", "SANITIZER": "sanitizer builds only",
}


def table(rows, who):
    lines = [f"<!-- calls: {who} -->", "| call | only | because |", "|--|--|--|"]
    lines += [f"| `{call}` | {CONDITION[condition]} | {reason} |" for w, call, condition, reason in rows if w == who]
    return "\n".join(lines + ["<!-- end -->"])


def main():
    root = pathlib.Path(sys.argv[1])
    source = (root / "broker/cage_calls.def").read_text()
    page = root / "docs/security.md"
    text = page.read_text()
    rows = ROW.findall(source)
    found = []
    if len(rows) != len(re.findall(r"^CALL\(", source, re.M)):
        found.append("broker/cage_calls.def: a CALL row is not one line CALL(WHO, call, CONDITION, \"reason\")")
    for who, call, condition, reason in rows:
        if who not in TITLE or condition not in CONDITION or len(reason) < 4:
            found.append(f"broker/cage_calls.def: {call}: who, condition or reason is not one")
    new = text
    for who in TITLE:
        block = re.compile(rf"<!-- calls: {who} -->.*?<!-- end -->", re.S)
        if not block.search(text):
            found.append(f"docs/security.md: has no table <!-- calls: {who} --> ... <!-- end -->")
        new = block.sub(lambda _, who=who: table(rows, who), new)
    if "--update" in sys.argv:
        page.write_text(new)
    elif new != text:
        found.append("docs/security.md: the tables differ from broker/cage_calls.def: tests/lint/cage.py . --update")
    print("\n".join(found) or f"{len(rows)} system calls, each with its reason")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
