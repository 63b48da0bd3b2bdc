"""The results of tests/gpu.sh as markdown for docs/benchmarks.md.

    python tests/gpu/bench/report.py FOLDER... > results.md

A folder has any of tests.json (GoogleTest), kernels.jsonl, training.jsonl, profile.jsonl and machine.txt; what is missing
is said to be. Of several folders, one for each run of the script, the later ones' rows of a case and program count.
"""
import json
import os
import sys

FIRST_STEP_GOAL = 3.0   # seconds, of the metrics
SPEED_GOAL = 1.15       # tokens/s of the best compiled peer
MEMORY_GOAL = 0.80      # peak memory of the same peer
COMPILED = ("torchtitan", "transformers-compiled")
# Llama-3.2-1B, 16,384 tokens a step on one H100: milliseconds that bandwidth (2.9 TB/s) and products (700 TFLOP/s) allow.
BUDGET_1B = {"GEMM": 174, "attention": 35, "elementwise": 22, "loss": 7.5, "optimizer": 13}


def text_of(path):
    """The file's text; "" where there is none."""
    if not os.path.exists(path):
        return ""
    with open(path) as file:
        return file.read()


def lines(folders, name):
    """JSON lines of all folders; a last line that was cut off is left out."""
    out = []
    for folder in folders:
        for line in text_of(os.path.join(folder, name)).splitlines():
            try:
                out.append(json.loads(line))
            except json.JSONDecodeError:
                pass
    return out


def table(head, rows):
    out = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join(out + ["| " + " | ".join(map(str, row)) + " |" for row in rows])


def tests(folders):
    results = [text for folder in folders if (text := text_of(os.path.join(folder, "tests.json")))]
    if not results:
        return "No test has run."
    cases = [t for suite in json.loads(results[-1])["testsuites"] for t in suite["testsuite"]]
    failed = [t["name"] for t in cases if t.get("failures")]
    skipped = sum(t.get("result") == "SKIPPED" for t in cases)
    return (f"{len(cases)} tests, {skipped} skipped, {len(failed)} failed" + (": " + ", ".join(failed) if failed else "") + ".")


def by_case(rows):
    """case -> program -> row, with the last row of each."""
    out = {}
    for row in rows:
        out.setdefault(row["case"], {})[row["program"]] = row
    return out


def measured(programs, ours):
    return {name: row for name, row in programs.items() if "tokens_per_s" in row and name.startswith("tessera") == ours}


def fastest(rows):
    return max(rows.values(), key=lambda row: row["tokens_per_s"]) if rows else None


def gib(row, key):
    return f"{row[key] / 2**30:.1f}" if row.get(key) else ""


def ratio(a, b):
    return f"{a / b:.2f}" if a and b else ""


def training_rows(programs):
    peer = fastest(measured(programs, False)) or {}
    for name, row in programs.items():
        if "tokens_per_s" not in row:
            yield [row["case"], name, "out of memory" if row.get("out_of_memory") else "failed"] + [""] * 8
            continue
        ours = name.startswith("tessera")
        yield [row["case"], name + ("" if row.get("tied", True) else " (untied head)"), f"{row['tokens_per_s']:,.0f}",
               f"{row['mfu']:.1f}", gib(row, "allocated_bytes"), gib(row, "reserved_bytes"),
               f"{row['smi_mib'] / 1024:.1f}" if row.get("smi_mib") else "", f"{row['step_seconds'][0]:.2f}",
               f"{row['first_step_seconds_from_start']:.1f}",
               ratio(row["tokens_per_s"], peer.get("tokens_per_s")) if ours else "",
               ratio(row.get("allocated_bytes"), peer.get("allocated_bytes")) if ours else ""]


def training(folders):
    rows = [row for programs in by_case(lines(folders, "training.jsonl")).values() for row in training_rows(programs)]
    if not rows:
        return "No training was measured."
    return ("Peak memory in GiB: the allocator's of tensors and of what it holds, and nvidia-smi's. The first step in seconds, "
            "by itself and from the start of the process. Ratios are to the fastest peer of the case.\n\n" +
            table(["Case", "Program", "tokens/s", "MFU %", "allocated", "reserved", "smi", "1st step", "from start",
                   "speed : peer", "memory : peer"], rows))


def goal(met, text):
    return f"* {'met' if met else 'MISSED'}: {text}"


def goals_of(case, programs):
    """The goals of one case beside what was measured."""
    own = measured(programs, True)
    best = fastest({name: row for name, row in own.items() if "float8" not in name})
    if best is None or not best.get("goal"):
        return
    peer = fastest({name: row for name, row in measured(programs, False).items() if name.startswith(COMPILED)})
    rate, first = best["tokens_per_s"], best["step_seconds"][0]
    yield goal(rate >= best["goal"], f"{case}: {rate:,.0f} tokens/s ({best['program']}), goal {best['goal']:,.0f}")
    yield goal(first <= FIRST_STEP_GOAL, f"{case}: first step {first:.2f} s, goal {FIRST_STEP_GOAL:g} s")
    if peer is None:
        yield f"* not known: {case}: no compiled peer was measured"
        return
    speed = rate / peer["tokens_per_s"]
    yield goal(speed >= SPEED_GOAL, f"{case}: {speed:.2f} x the best compiled peer ({peer['program']}), goal {SPEED_GOAL:g} x")
    # Of our runs that are fast enough beside it, the one with the least memory.
    least = min([row for row in own.values() if row.get("allocated_bytes") and "float8" not in row["program"] and
                 row["tokens_per_s"] >= SPEED_GOAL * peer["tokens_per_s"]] or [best],
                key=lambda row: row.get("allocated_bytes", 0))
    if least.get("allocated_bytes") and peer.get("allocated_bytes"):
        share = least["allocated_bytes"] / peer["allocated_bytes"]
        yield goal(share <= MEMORY_GOAL, f"{case}: {share:.2f} of that peer's peak memory ({least['program']}, "
                   f"{least['tokens_per_s'] / peer['tokens_per_s']:.2f} x its speed), goal {MEMORY_GOAL:g}")


def goals(folders):
    out = [line for case, programs in by_case(lines(folders, "training.jsonl")).items() for line in goals_of(case, programs)]
    return "\n".join(out) or "No case with a goal was measured."


def profile(folders):
    """Kernel tables of kernel_table.py, one for each program."""
    out = []
    for programs in by_case(lines(folders, "profile.jsonl")).values():
        for name, row in programs.items():
            groups = dict(row["groups"])
            budget = BUDGET_1B if row["case"] == "1b-4096" else {}
            share = [[group, f"{ms:.2f}", f"{100 * ms / row['step_ms']:.1f}", budget.get(group, "")]
                     for group, ms in groups.items()]
            top = [[k["group"], f"`{k['name']}`", f"{k['count']:.1f}", f"{k['ms']:.3f}"] for k in row["top"]]
            out.append(f"**{row['case']}, {name}**: {row['step_ms']:.1f} ms a step over {row['steps']} steps\n\n" +
                       table(["Group", "ms", "% of step", "budget ms"], share) + "\n\n" +
                       table(["Group", "Kernel", "a step", "ms a step"], top))
    return "\n\n".join(out) or "Nothing was profiled."


def kernels(folders):
    rows = lines(folders, "kernels.jsonl")
    if not rows:
        return "No kernel was measured."
    head = list(rows[0])
    show = lambda value: f"{value:.4g}" if isinstance(value, float) else value
    return table(head, [[show(row.get(key, "")) for key in head] for row in rows])


def main():
    folders = sys.argv[1:]
    machines = dict.fromkeys(text_of(os.path.join(folder, "machine.txt")).strip() for folder in folders)
    print("Machine:", "; ".join(filter(None, machines)) or "unknown")
    for title, part in (("Goals", goals), ("Training", training), ("Profile", profile), ("Tests", tests),
                        ("Kernels", kernels)):
        print(f"\n### {title}\n\n{part(folders)}")


if __name__ == "__main__":
    main()
