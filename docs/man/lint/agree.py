#!/usr/bin/env python3
"""The pages must agree with the sources.

agree.py SOURCE_ROOT           compare, say what differs, exit 1 if anything does
agree.py SOURCE_ROOT --update  write the examples into the pages first

  examples  the text after '.\\" example: NAME' is docs/man/examples/NAME, which is compiled; each example stands in a page or a guide;
            a guide marks it by '<!-- example: NAME -->'
  errors    the ERRORS of a page are those that weir.h names for its functions
  names     every function of libweir.map stands in the NAME of one page, and in meson.build as its page or an alias
  log       weird(8) lists every event that broker/ logs, and no other
"""
import re
import sys
from pathlib import Path

GUIDE = re.compile(r'^<!-- example: (\S+) -->\n```\w+\n(.*?)^```$', re.M | re.S)
EXAMPLE = re.compile(r'^\.\\" example: (\S+)\n\.Bd -literal -offset indent\n(.*?)^\.Ed$', re.M | re.S)


def escaped(text):
    lines = text.replace('\\', '\\e').replace('\t', '    ').splitlines()
    return ''.join(('\\&' if line[:1] in ".'" and line else '') + line + '\n' for line in lines)


def examples(man, update):
    faults, shown = [], set()
    for page in sorted(man.glob('*.[1-8]')):
        text = page.read_text()

        def put(match):
            name = match[1]
            shown.add(name)
            right = escaped((man / 'examples' / name).read_text())
            if right != match[2] and not update:
                faults.append(f'{page.name}: differs from examples/{name}: run agree.py ROOT --update')
            return f'.\\" example: {name}\n.Bd -literal -offset indent\n{right}.Ed'

        new = EXAMPLE.sub(put, text)
        if update and new != text:
            page.write_text(new)
    for guide in sorted(man.parent.glob('*.md')):
        for name, here in GUIDE.findall(guide.read_text()):
            shown.add(name)
            if here != (man / 'examples' / name).read_text():
                faults.append(f'{guide.name}: differs from examples/{name}')
    for path in sorted((man / 'examples').glob('*.[cy]*')):
        if path.name not in shown:
            faults.append(f'examples/{path.name} stands in no page')
    return faults


def header_errors(root):
    """What weir.h's comments name, by function. All comments since the prototype before belong to one."""
    known = set(re.findall(r'^X\((\w+),', (root / 'shm/errors.def').read_text(), re.M))
    text = (root / 'libclient/weir.h').read_text()
    text = text[text.index('-- attach */'):]
    found, comment = {}, ''
    for part in re.finditer(r'/\*(.*?)\*/|WEIR_API[^;]*?\b(weir_\w+)\(', text, re.S):
        if part[2]:
            found[part[2]] = {n for n in re.findall(r'(?<![A-Z])(?:WEIR_E)?_([A-Z][A-Z_]+)\b', comment) if n in known}
            comment = ''
        else:
            comment += part[1]
    return found


def names_of(page):
    name = page.split('.Sh NAME', 1)[1].split('.Nd', 1)[0]
    return re.findall(r'^\.Nm (weir_\w+)', name, re.M)


def errors(root, man):
    faults, owner = [], {}
    header = header_errors(root)
    for page in sorted(man.glob('*.3')):
        text = page.read_text()
        functions = names_of(text)
        for function in functions:
            if function in owner:
                faults.append(f'{page.name}: {function} also stands in {owner[function]}')
            owner[function] = page.name
        section = re.search(r'^\.Sh ERRORS\n(.*?)(?=^\.Sh )', text, re.M | re.S)
        here = set(re.findall(r'\bWEIR_E_(\w+)', section[1])) if section else set()
        there = set().union(*(header.get(f, set()) for f in functions))
        for name in sorted(there - here):
            faults.append(f'{page.name}: ERRORS lacks WEIR_E_{name}, which weir.h names')
        # every function with an error can answer these two: weir.h, "Conventions"
        for name in sorted(here - there - {'FORKED', 'CORRUPT'}):
            faults.append(f'{page.name}: weir.h does not name WEIR_E_{name} for {", ".join(functions)}')
    public = re.findall(r'^\s+(weir_\w+);', (root / 'libclient/libweir.map').read_text(), re.M)
    build = (man / 'meson.build').read_text()
    for function in public:
        if function not in owner:
            faults.append(f'{function} has no page')
        elif f"'{function}" not in build:
            faults.append(f'{function} is neither a page nor an alias in docs/man/meson.build')
    return faults


def log(root, man):
    logged = set()
    for path in (root / 'broker').glob('*.c'):
        logged |= set(re.findall(r'\blog_(?:debug|info|warn|error)\(\s*"(\w+)"', path.read_text()))
    section = re.search(r'^\.Ss Log\n(.*?)(?=^\.S[sh] )', (man / 'weird.8').read_text(), re.M | re.S)[1]
    listed = set(re.findall(r'^\.It Li (\w+)', section, re.M))
    return ([f'weird.8: Log lacks {e}' for e in sorted(logged - listed)] +
            [f'weird.8: nobody logs {e}' for e in sorted(listed - logged)])


def main():
    root = Path(sys.argv[1])
    man = root / 'docs/man'
    faults = examples(man, '--update' in sys.argv) + errors(root, man) + log(root, man)
    print('\n'.join(faults))
    return 1 if faults else 0


if __name__ == '__main__':
    sys.exit(main())
