#!/usr/bin/python3
"""Does prop_memory see a broken journal? Each mutant is one change to the planner, to what it writes, or to what is restored.

mutants_memory.py SOURCE_ROOT [CC]      exit 1: a mutant survived, or no longer applies
"""
import pathlib
import shutil
import subprocess
import sys
import tempfile

# name, file, the text as it stands, the text as it would be wrong
MUTANTS = [
    ("no budget while the clock is unknown", "broker/ceiling.c", "if (m->base_until_ns == 0 || clock", "if (m->base_until_ns != 1 || clock"),
    ("published though the write failed", "broker/ceiling.c", "        failed(w, c, -written);", "        succeeded(w, c);"),
    ("the slot that is on disk is written", "broker/ceiling.c", "c->slot = 1 - w->region->own->journal_slot;", "c->slot = 0;"),
    ("a raise of an ended timeline counts", "broker/ceiling.c", "if (raise->cnt == 0 ||", "if (raise->cnt == 0 || 0 > 1 &&"),
    ("old ceilings survive a re-alignment", "broker/memory.c", "weir_store_relaxed_u64(&region->foreign[word].ceiling[i], 0);", ""),
    ("nothing floats", "broker/memory.c", "l->floating = (uint32_t)weir_min_u64(floating, quota);", "l->floating = 0;"),
    ("what floats is not counted", "broker/memory.c", "units += m->base_floating;", "units += 0;"),
    ("named windows are not counted", "broker/memory.c", "m->base_window[e] == k ? m->base_units[e] : 0;", "0;"),
    ("the base ends at once", "broker/memory.c", "x->now_ns + (named > 1 ? 2 : 1) * longest_ns + 2 * jitter_ns;", "x->now_ns + 1;"),
    ("the base is lost by the next write", "broker/memory.c", "m->base_until_ns != 0 ? m->base_units[e] : 0;", "0;"),
    ("a permit asks for no ceiling", "shm/weir_limit.h", "> weir_window_ceiling(p->foreign, k)", "> row->quota + weir_window_ceiling(p->foreign, k)"),
]
def survived(root, cc, name, file, old, new):
    with tempfile.TemporaryDirectory(prefix="weir-mutant.") as tmp:
        for folder in ("shm", "broker"):
            shutil.copytree(root / folder, pathlib.Path(tmp) / folder)
        path = pathlib.Path(tmp) / file
        text = path.read_text()
        if text.count(old) != 1:
            sys.exit(f"mutants: '{name}' applies {text.count(old)} times to {file}: write it anew")
        path.write_text(text.replace(old, new))
        exe = f"{tmp}/prop"
        sources = [f"{root}/tests/prop/prop_memory.c", f"{root}/tests/support/fixture.c"]
        sources += [f"{tmp}/broker/{n}.c" for n in ("memory", "memory_rolling", "server_clock")] + [str(p) for p in sorted(pathlib.Path(tmp, "shm").glob("*.c"))]
        subprocess.run([cc, "-std=gnu11", "-O1", "-w", "-D_GNU_SOURCE", "-fno-strict-aliasing", f"-I{tmp}", f"-I{tmp}/shm",
                        f"-I{root}/tests/support", *sources, "-lxxhash", "-o", exe], check=True)
        run = subprocess.run([exe, "--seconds", "30"], capture_output=True, text=True, check=False)
        last = (run.stdout.strip().splitlines() or [f"status {run.returncode}"])[-1].split(": repeat")[0]
        print(f"{'caught  ' if run.returncode == 1 else 'SURVIVED'}  {name}: {last}", flush=True)
        return run.returncode != 1


def main():
    root = pathlib.Path(sys.argv[1])
    cc = sys.argv[2] if len(sys.argv) > 2 else "cc"
    survivors = sum(survived(root, cc, *mutant) for mutant in MUTANTS)
    print(f"{len(MUTANTS)} mutants, {survivors} survived")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
