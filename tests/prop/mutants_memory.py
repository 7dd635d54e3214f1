#!/usr/bin/python3
"""Do prop_memory and prop_rolling see a broken journal? Each mutant is one change to the planner, to what it writes, or to what is restored.

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
    ("a raise of an ended timeline counts", "broker/ceiling.c", "if (raise->epoch !=", "if (0 > 1 && raise->epoch !="),
    ("old ceilings survive a re-alignment", "broker/memory.c", "weir_store_relaxed_u64(&region->foreign[word].ceiling[i], 0);", ""),
    ("nothing floats", "broker/memory.c", "l->floating = (uint32_t)weir_min_u64(floating, quota);", "l->floating = 0;"),
    ("what floats is not counted", "broker/memory.c", "units += m->base_floating;", "units += 0;"),
    ("named windows are not counted", "broker/memory.c", "m->base_window[e] == k ? m->base_units[e] : 0;", "0;"),
    ("the base ends at once", "broker/memory.c", "x->now_ns + (named > 1 ? 2 : 1) * longest_ns + 2 * jitter_ns;", "x->now_ns + 1;"),
    ("the base is lost by the next write", "broker/memory.c", "m->base_until_ns != 0 ? m->base_units[e] : 0;", "0;"),
    ("a permit asks for no ceiling", "shm/weir_limit.h", "> weir_window_ceiling(p->foreign, k)", "> row->quota + weir_window_ceiling(p->foreign, k)"),
    ("no room for surcharges: windows", "broker/memory.c", "l->ahead = granted ? memory_ahead(m, row) : 0;", "l->ahead = 0;"),
]
ROLLING = [
    ("no room for surcharges: buckets", "broker/memory_rolling.c", "b->ahead = granted ? memory_ahead(m, row) : 0;", "b->ahead = 0;"),
    ("no room for surcharges: parts", "broker/ceiling.c", "raise->disk = raise->board + memory_ahead(m, row);", "raise->disk = raise->board;"),
    ("a bucket asks for no ceiling", "shm/weir_limit.h", "p->next[0] > weir_load_relaxed_u64(&p->foreign->ceiling[0])", "p->next[0] == 0"),
    ("a part asks for no ceiling", "shm/weir_sliding.c", "return (int64_t)(ceiling - (before + units)) >= 0;", "return ceiling + before + units > 0;"),
    ("the take asks for no ceiling, only the plan", "shm/weir_sliding.c", "        !parts_covered(p, parts_count(p->row, p->word, p->units), p->units)) {", "        (parts_count(p->row, p->word, p->units), false)) {"),
    ("the count is read behind the parts", "broker/memory_rolling.c", "    l->part_ns = row->part_ns;\n", "    l->part_ns = row->part_ns;\n    for (uint32_t i = 0; i < WEIR_JOURNAL_PARTS; i++) {\n        l->part[i] = part_larger(cell[i], own[i]);\n    }\n    WEIR_WEAVE(\"journal:parts\");\n    extra = (int64_t)(covered - region->word[word].word[0]);\n    l->extra = extra > 0 ? (uint32_t)extra : 0;\n    return;\n"),
    ("what may have come since is forgotten", "broker/memory_rolling.c", "uint64_t extra = (uint64_t)l->extra +", "uint64_t extra = UINT64_C(0) +"),
    ("UTC is believed that nobody keeps", "broker/memory_rolling.c", "weir_min_u64(from_error_ns, between_ns);", "from_error_ns == UINT64_MAX ? 0 : weir_min_u64(from_error_ns, between_ns);"),
    ("UTC is believed to the ns", "broker/memory_rolling.c", "    return between_ns - error_ns;", "    return between_ns;"),
    ("another boot's parts as old as in this one", "broker/memory_rolling.c", "                                          : since->passed_ns;\n    *age_ns = behind_ns + passed_ns;", "                                          : since->now_ns;\n    *age_ns = behind_ns + passed_ns;"),
    ("parts are restored a part too old", "shm/weir_sliding.c", "        part -= (uint32_t)back;", "        part -= (uint32_t)back + 1;"),
    ("a renewed call is not counted", "shm/weir_sliding.c", "        parts_count_added(row, word, charge->units);\n", ""),
    ("a bucket's ceiling reaches the board first", "broker/ceiling.c", "    if (have < from + lead_ns) {\n", "    if (have < from + lead_ns) {\n        weir_store_relaxed_u64(&r->foreign[raise->word].ceiling[0], from + lead_ns);\n"),
]


def survived(root, cc, prop, name, file, old, new):
    with tempfile.TemporaryDirectory(prefix="weir-mutant.") as tmp:
        for folder in ("shm", "broker"):
            shutil.copytree(root / folder, pathlib.Path(tmp) / folder)
        path = pathlib.Path(tmp) / file
        text = path.read_text()
        if text.count(old) != 1:
            sys.exit(f"mutants: '{name}' applies {text.count(old)} times to {file}: write it anew")
        path.write_text(text.replace(old, new))
        exe = f"{tmp}/prop"
        hooks = ["-DWEIR_WEAVE_HOOKS"] if prop == "prop_rolling" else []
        sources = [f"{root}/tests/prop/{prop}.c", f"{root}/tests/support/fixture.c"]
        sources += [f"{tmp}/broker/{n}.c" for n in ("memory", "memory_rolling", "server_clock")] + [str(p) for p in sorted(pathlib.Path(tmp, "shm").glob("*.c"))]
        subprocess.run([cc, "-std=gnu11", "-O1", "-w", "-D_GNU_SOURCE", *hooks, "-fno-strict-aliasing", f"-I{tmp}", f"-I{tmp}/shm",
                        f"-I{root}/tests/support", *sources, "-lxxhash", "-o", exe], check=True)
        run = subprocess.run([exe, "--seconds", "30"], capture_output=True, text=True, check=False)
        last = (run.stdout.strip().splitlines() or [f"status {run.returncode}"])[-1].split(": repeat")[0]
        print(f"{'caught  ' if run.returncode == 1 else 'SURVIVED'}  {name}: {last}", flush=True)
        return run.returncode != 1


def main():
    root = pathlib.Path(sys.argv[1])
    cc = sys.argv[2] if len(sys.argv) > 2 else "cc"
    survivors = sum(survived(root, cc, "prop_memory", *mutant) for mutant in MUTANTS)
    survivors += sum(survived(root, cc, "prop_rolling", *mutant) for mutant in ROLLING)
    print(f"{len(MUTANTS) + len(ROLLING)} mutants, {survivors} survived")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
