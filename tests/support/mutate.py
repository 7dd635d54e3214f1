"""What the runners of mutants share (tests/prop/mutants.py, tests/dst/mutants.py): a change to a copy of the sources, objects that know what they were made of, and how it is told."""
import pathlib
import subprocess


def edit(tree, edits):
    """Apply `file, old text, new text` and so on below `tree`; returns the files. LookupError: a text is not there once."""
    for file, old, new in zip(edits[0::3], edits[1::3], edits[2::3]):
        text = (tree / file).read_text()
        if text.count(old) != 1:
            raise LookupError(f"applies {text.count(old)} times to {file}: write it anew")
        (tree / file).write_text(text.replace(old, new))
    return edits[0::3]


def compile_source(cc, flags, source, out, cwd=None):
    """Compile `source` to `out`, with a list beside it of what was read."""
    subprocess.run([cc, *flags, "-MMD", "-MF", f"{out}.d", "-c", source, "-o", out], cwd=cwd, check=True)


def made_of(out):
    """The files that the compiler read for this object."""
    return pathlib.Path(f"{out}.d").read_text().replace("\\\n", " ").split()[1:]


def tell(verdicts):
    """Print each verdict (how it was caught, '' if it was not; its name; what was said) as it comes, and their number. Returns the exit status."""
    cnt = survived = 0
    for caught, name, what in verdicts:
        cnt += 1
        survived += not caught
        print(f"{caught or 'SURVIVED'}  {name}: {what}", flush=True)
    print(f"{cnt} mutants, {survived} survived")
    return 1 if survived else 0
